/* test_translate.c - guest integer code -> IR: what units consist of, and what they do, against the interpreter.
 *
 * The differential part makes random instances of every row of insn.def that the integer families translate, alone and
 * in sequences, in six modes. Each program becomes a unit, is verified (ir_check) and evaluated (ir_eval); then the
 * interpreter executes as many instructions from the same state as the unit says it has executed, and registers,
 * defined flags, RIP, the count and all memory must agree. A unit that leaves for the interpreter must have changed nothing of
 * that instruction. TRANSLATE_SEED and TRANSLATE_EFFORT (environment) make it run on other and on more programs.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/operand.h"
#include "jit/jit_private.h"
#include "jit/translate.h"
#include "tests/native/encode.c"
#include "tests/native/values.c"

enum { RAM_SIZE = 256 << 10, CODE = 0x8000, DATA = 0x10000, DATA_BYTES_USED = 0x20000, STACK = 0x38000 };
/* How the CPU runs: code size, then what is unusual about segments. */
enum setup { LONG64, FLAT32, SEGMENTED32, REAL16, FLAT16, STACK16, SETUPS };
static const char *const setup_names[SETUPS] = { "64-bit", "32-bit flat", "32-bit segmented", "real", "16-bit flat",
                                                 "32-bit with a 16-bit stack" };

static struct ram *ram;
static struct physmap *phys;
static struct region region;
static struct vcpu *c;
static struct jit *jit;
static enum setup setup;

static void nothing(void *ctx) {}

static void set_segment(unsigned i, u64 base, u32 limit, bool big, bool code)
{
    c->seg[i].base = base;
    c->seg[i].limit = limit;
    c->seg[i].attr = (u16)(SEG_S | SEG_P | SEG_A | SEG_W | (code ? SEG_CODE : 0) | (big ? SEG_D | SEG_G : 0));
    c->seg[i].unusable = 0;
}

/* 1 GiB one to one, accessed and dirty: nothing in memory changes by walks. */
static void page_tables(void)
{
    u64 pml4 = 0x2027, pdpt = 0xe7;
    memset(ram->base + 0x1000, 0, 2 * PAGE_SIZE);
    memcpy(ram->base + 0x1000, &pml4, 8);
    memcpy(ram->base + 0x2000, &pdpt, 8);
    mmu_flush_all(&c->mmu);
}

static void set_mode(void)
{
    if (setup == REAL16) {
        for (unsigned i = 0; i < SEG_COUNT; i++)
            segment_set_real(c, i, i == SEG_CS ? CODE >> 4 : i == SEG_SS ? 0x2800 : (u16)(0x1000 + i * 0x200));
        segment_refresh(c);
        return;
    }
    struct cpu_flat_start s = { .eip = CODE, .esp = STACK, .cs = 8, .ds = 16 };
    cpu_start_flat(c, &s);
    if (setup == SEGMENTED32) {
        set_segment(SEG_CS, 0x3000, 0x2ffff, true, true);
        set_segment(SEG_DS, 0x4000, 0x17fff, true, false);
        set_segment(SEG_SS, 0x1000, 0x37fff, true, false);
        set_segment(SEG_FS, 0x12345, 0xfff, true, false);
    } else if (setup == FLAT16) {
        c->seg[SEG_CS].attr &= (u16)~SEG_D;
    } else if (setup == STACK16) {
        set_segment(SEG_SS, 0x28000, 0xffff, false, false);
    } else if (setup == LONG64) {
        page_tables();
        c->cr0 |= CR0_PG;
        c->cr4 |= CR4_PAE;
        c->cr3 = 0x1000;
        c->efer |= EFER_LME | EFER_LMA;
        c->seg[SEG_CS].attr = (u16)((c->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
        c->seg[SEG_FS].base = 0x10100;
        c->seg[SEG_GS].base = (u64)-0x3000;
    }
    segment_refresh(c);
    sysreg_refresh_mmu(c);
}

static u32 mode_word(void)
{
    static const u8 log2[9] = { [2] = 0, [4] = 1, [8] = 2 };
    u32 mode = log2[c->code_size] | (u32)log2[c->stack_size] << MODE_STACK_SHIFT | (u32)c->mmu.view << MODE_VIEW_SHIFT;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (c->code_size == 8 ? i < SEG_FS : c->seg[i].flat_read && (i == SEG_CS || c->seg[i].flat_write))
            mode |= 1u << (MODE_FLAT_SHIFT + i);
    return mode | (c->cpl == 3 ? MODE_USER : 0) | (in_protected_mode(c) ? MODE_PROTECTED : 0);
}

static void machine(enum setup how)
{
    static const struct cpu_host host = { .wait = nothing, .shutdown = nothing, .timer_due = nothing };
    static const struct jit_options defaults = {
#define X(name, value, text) .name = value,
        JIT_OPTIONS(X)
#undef X
    };
    char err[256];
    setup = how;
    phys = physmap_new();
    ram = ram_new(RAM_SIZE, err, sizeof err);
    region = (struct region){ .name = "ram", .size = RAM_SIZE, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(phys, &region);
    c = vcpu_new("max", phys, &host, NULL, err, sizeof err);
    ck_assert_msg(c != NULL, "%s", err);
    set_mode();
    jit = calloc(1, sizeof *jit);
    jit->cpu = c;
    jit->opt = defaults;
    jit->mode = mode_word();
}

static void machine_end(void)
{
    free(jit);
    vcpu_free(c);
    physmap_free(phys);
    ram_free(ram);
}

/* --- units -------------------------------------------------------------------------------------------------------- */

static struct ir_unit unit;
static struct translate_result result;
static char text[1 << 16];

static void add_line(void *ctx, const char *line)
{
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, "%s\n", line);
}
static const char *show(void)
{
    text[0] = 0;
    ir_print(&unit, add_line, NULL);
    return text;
}

static gla code_base(void) { return c->code_size == 8 ? 0 : c->seg[SEG_CS].base; }

/* The unit at a linear address that is also the physical one. */
static bool make(gla at)
{
    char err[300];
    c->rip = at - code_base();
    c->jit.pc = c->rip - (at & ~PAGE_MASK);
    if (!translate_unit(jit, c, &unit, at, ram->base + at, &result))
        return false;
    ck_assert_msg(ir_check(&unit, err, sizeof err), "%s: %s\n%s", setup_names[setup], err, show());
    ck_assert_uint_ge(result.ranges, 1);
    ck_assert_uint_eq(result.range[0].at, at);
    return true;
}

static void place_code(gla at, const void *bytes, unsigned n) { memcpy(ram->base + at, bytes, n); }
#define MAKE(at, s) (place_code(at, s, sizeof(s) - 1), make(at))
static const struct ir_ins *last(void) { return &unit.ins[unit.count - 1]; }
static unsigned count_of(enum ir_op op)
{
    unsigned n = 0;
    for (unsigned i = 0; i < unit.count; i++)
        n += unit.ins[i].op == op;
    return n;
}

START_TEST(ends_of_units)
{
    machine(LONG64);
    ck_assert(MAKE(CODE, "\x01\xd8\xc3"));                      /* add eax, ebx; ret */
    ck_assert_uint_eq(unit.guests, 2);
    ck_assert_int_eq(last()->op, IR_OP_ret);
    ck_assert_uint_eq(result.range[0].bytes, 3);
    ck_assert(MAKE(CODE, "\x01\xd8\xeb\x10"));                  /* jmp +16 */
    ck_assert_int_eq(last()->op, IR_OP_jmp);
    ck_assert_int_eq(last()->imm, 20);
    ck_assert(!(last()->bits & IR_POLL));
    ck_assert(MAKE(CODE, "\x01\xd8\xeb\xfc"));                  /* jmp $-2: back to the start */
    ck_assert_int_eq(last()->imm, 0);
    ck_assert(last()->bits & IR_POLL);
    ck_assert(MAKE(CODE, "\xe8\x10\x00\x00\x00"));              /* call */
    ck_assert_int_eq(last()->op, IR_OP_call);
    ck_assert_int_eq(last()->imm, 21);
    ck_assert_int_eq(last()->disp, 5);
    ck_assert(MAKE(CODE, "\xff\xd0"));                          /* call rax */
    ck_assert_int_eq(last()->op, IR_OP_icall);
    ck_assert_int_eq(last()->disp, 2);
    ck_assert(MAKE(CODE, "\xff\x20"));                          /* jmp [rax] */
    ck_assert_int_eq(last()->op, IR_OP_ijmp);
    ck_assert(MAKE(CODE, "\xe8\x00\x00\x00\x00\x58\xc3"));      /* call next; pop rax; ret */
    ck_assert_uint_eq(unit.guests, 3);
    ck_assert_uint_eq(count_of(IR_OP_call), 0);
    machine_end();
}
END_TEST

START_TEST(conditional_branches)
{
    machine(LONG64);
    ck_assert(MAKE(CODE, "\x74\x10\x75\x10\xc3"));              /* je; jne; ret */
    ck_assert_uint_eq(unit.guests, 3);
    ck_assert_uint_eq(count_of(IR_OP_jcc), 2);
    ck_assert(MAKE(CODE, "\x90\x75\xfd\xc3"));                  /* nop; jne start: what follows is another unit's */
    ck_assert_uint_eq(unit.guests, 2);
    ck_assert(unit.ins[0].bits & IR_POLL);
    ck_assert_int_eq(last()->op, IR_OP_jmp);
    ck_assert_int_eq(last()->imm, 3);
    jit->opt.super = 0;
    ck_assert(MAKE(CODE, "\x74\x10\xc3"));
    ck_assert_uint_eq(unit.guests, 1);
    ck_assert_int_eq(last()->imm, 2);
    jit->opt.super = 1;
    jit->super = true;                                          /* a superblock follows the jump */
    ck_assert(MAKE(CODE, "\xff\xc0\xeb\x02\xcc\xcc\xff\xc0\xc3"));
    ck_assert_uint_eq(unit.guests, 4);
    ck_assert_int_eq(last()->op, IR_OP_ret);
    ck_assert_uint_eq(result.ranges, 2);
    ck_assert_uint_eq(result.range[0].bytes, 4);
    ck_assert_uint_eq(result.range[1].at, CODE + 6);
    ck_assert(MAKE(CODE, "\x90\x03\x06\x75\xfc\xc3"));        /* nop; l: add eax, [rsi]; jnz l; ret: four times */
    ck_assert_uint_eq(unit.guests, 9);
    ck_assert_uint_eq(count_of(IR_OP_ptr), 4);
    ck_assert_uint_eq(count_of(IR_OP_jcc), 4);
    ck_assert_uint_eq(result.ranges, 1);
    ck_assert_uint_eq(result.range[0].bytes, 5);
    for (unsigned i = 0, n = 0; i < unit.count; i++)
        if (unit.ins[i].op == IR_OP_jcc) {
            n++;
            ck_assert_uint_eq(unit.ins[i].cc, n == 4 ? CC_NE : CC_E);
            ck_assert_int_eq(unit.ins[i].imm, n == 4 ? 1 : 5);
            ck_assert_uint_eq(unit.ins[i].bits, n == 4 ? IR_POLL | IR_LIKELY : 0);
        }
    ck_assert_int_eq(last()->imm, 5);
    ck_assert(MAKE(CODE, "\x03\x06\xe2\xfc\xc3"));            /* l: add eax, [rsi]; loop l */
    ck_assert_uint_eq(count_of(IR_OP_jz), 3);
    ck_assert_uint_eq(count_of(IR_OP_jnz), 1);
    machine_end();
}
END_TEST

START_TEST(what_is_left)
{
    machine(LONG64);
    ck_assert(!MAKE(CODE, "\x06"));                             /* no such instruction first: the interpreter's */
    ck_assert_ptr_nonnull(result.reason);
    ck_assert(MAKE(CODE, "\x0f\x0b"));                          /* ud2 */
    ck_assert_int_eq(last()->op, IR_OP_step);
    ck_assert(MAKE(CODE, "\x90\x0f\x0b"));
    ck_assert_int_eq(last()->op, IR_OP_step);
    ck_assert_uint_eq(last()->gi, 1);
    ck_assert(MAKE(CODE, "\x90\x06"));                          /* no such instruction */
    ck_assert_int_eq(last()->op, IR_OP_step);
    ck_assert(MAKE(CODE, "\x90\xf0\x01\xd8"));                  /* lock add eax, ebx */
    ck_assert_int_eq(last()->op, IR_OP_step);
    ck_assert(MAKE(CODE, "\x0f\x00\xe0\xc3"));                  /* verr ax; ret */
    ck_assert_int_eq(unit.ins[0].op, IR_OP_interp);
    ck_assert_uint_eq(unit.ins[0].fdef, IR_Z);
    ck_assert_int_eq(last()->op, IR_OP_ret);
    jit->mode |= MODE_USER;
    ck_assert(MAKE(CODE, "\x90\xf4"));                          /* hlt */
    ck_assert_int_eq(last()->op, IR_OP_step);
    machine_end();
}
END_TEST

START_TEST(page_ends)
{
    machine(LONG64);
    gla end = CODE + PAGE_SIZE;
    memset(ram->base + end - 64, 0x90, 128);
    ck_assert(make(end - 8));
    ck_assert_uint_eq(unit.guests, 8);
    ck_assert_int_eq(last()->op, IR_OP_jmp);
    ck_assert_int_eq(last()->imm, PAGE_SIZE);
    ck_assert_uint_eq(result.range[0].bytes, 8);
    ck_assert(MAKE(end - 4, "\x90\x90\x81\xc0\x01\x00\x00\x00"));       /* add eax, 1 crosses */
    ck_assert_uint_eq(unit.guests, 2);
    ck_assert_int_eq(last()->imm, PAGE_SIZE - 2);
    ck_assert(!make(end - 2));
    ck_assert(MAKE(end - 2, "\xeb\x7e"));
    ck_assert_int_eq(last()->imm, PAGE_SIZE + 0x7e);
    ck_assert(MAKE(end - 5, "\xe8\x10\x00\x00\x00"));
    ck_assert_int_eq(last()->disp, PAGE_SIZE);
    machine_end();
}
END_TEST

/* Long units end in time, whatever they are made of. */
START_TEST(lengths)
{
    machine(LONG64);
    memset(ram->base + CODE, 0x90, 200);
    ck_assert(make(CODE));
    ck_assert_uint_eq(unit.guests, IR_MAX_GUEST);
    ck_assert_int_eq(last()->imm, IR_MAX_GUEST);
    jit->max_guests = 5;
    ck_assert(make(CODE));
    ck_assert_uint_eq(unit.guests, 5);
    jit->max_guests = 0;
    jit->mode |= MODE_COUNT_INSNS;
    for (unsigned i = 0; i < 400; i += 4)
        place_code(CODE + i, "\x0f\xab\x04\x88", 4);           /* bts [rax + rcx * 4], eax */
    ck_assert(make(CODE));
    ck_assert_uint_gt(unit.guests, 20);
    machine_end();
}
END_TEST

START_TEST(other_modes)
{
    machine(REAL16);
    ck_assert(MAKE(CODE, "\x40\xeb\x10"));                      /* inc ax; jmp */
    ck_assert_int_eq(last()->op, IR_OP_jmp);
    ck_assert_int_eq(last()->imm, 0x13);
    ck_assert(MAKE(CODE, "\xe8\x10\x00"));
    ck_assert_int_eq(last()->op, IR_OP_call);
    ck_assert(MAKE(CODE, "\x0f\x00\xc0"));                      /* sldt: not in real mode */
    ck_assert_int_eq(last()->op, IR_OP_step);
    machine_end();
    machine(FLAT32);
    ck_assert(MAKE(CODE, "\x40\xeb\x10"));
    ck_assert_int_eq(last()->op, IR_OP_jmp);
    ck_assert(MAKE(CODE, "\x66\xe9\x10\x00"));                  /* wraps at 64 KiB: by RIP */
    ck_assert_int_eq(last()->op, IR_OP_ijmp);
    ck_assert(MAKE(CODE, "\x66\x74\x10\xc3"));
    ck_assert_int_eq(last()->op, IR_OP_ijmp);
    ck_assert_uint_eq(unit.guests, 1);
    machine_end();
}
END_TEST

/* --- against the interpreter -------------------------------------------------------------------------------------- */

enum { MAX_PROGRAM = 12 };
struct state { u64 gpr[GPR_COUNT]; struct lazy_flags lazy; u32 eflags; u64 icount; };
static struct state start, unit_end;
static u8 start_memory[RAM_SIZE], unit_memory[RAM_SIZE];

static void save(struct state *s, u8 *memory)
{
    memcpy(s->gpr, c->gpr, sizeof s->gpr);
    s->lazy = c->lazy;
    s->eflags = c->eflags;
    s->icount = c->icount;
    memcpy(memory, ram->base, RAM_SIZE);
}
static void restore(const struct state *s, const u8 *memory)
{
    memcpy(c->gpr, s->gpr, sizeof s->gpr);
    c->lazy = s->lazy;
    c->eflags = s->eflags;
    c->icount = s->icount;
    memcpy(ram->base, memory, RAM_SIZE);
}

static const struct { const struct tr_row *rows; const unsigned *count; } families[] = {
    { tr_alu_rows, &tr_alu_count }, { tr_move_rows, &tr_move_count }, { tr_shift_rows, &tr_shift_count },
    { tr_bits_rows, &tr_bits_count }, { tr_flow_rows, &tr_flow_count }, { tr_stack_rows, &tr_stack_count },
};
static bool is_ours(unsigned row)
{
    for (unsigned f = 0; f < ARRAY_LEN(families); f++)
        for (unsigned i = 0; i < *families[f].count; i++)
            if (families[f].rows[i].run == insn_rows[row].run)
                return true;
    return false;
}

/* MOV with an offset and no base: an address in the data mostly. */
static void aim_offset(struct insn *in, u8 *bytes)
{
    u64 to = DATA + below(DATA_BYTES_USED) - (c->code_size == 8 && in->seg < SEG_FS ? 0 : c->seg[in->seg].base);
    if (in->modrm_mem || (in->op[0].kind != OP_MEM && in->op[1].kind != OP_MEM) || one_in(8))
        return;
    memcpy(bytes + in->len - in->addrsize, &to, in->addrsize);
    ck_assert(insn_decode(in, bytes, 15, c->code_size, c->model.features) == DECODE_OK);
}

/* Random bytes of the row at `to`; false: none in this mode. */
static bool make_insn(unsigned row, u8 *to, struct insn *in)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        struct test_case t = { .mode = c->code_size, .row = row };
        if (!encode_row(&t))
            return false;
        if (insn_decode(in, t.bytes, 15, c->code_size, c->model.features) == DECODE_OK && in->row == row) {
            aim_offset(in, t.bytes);
            memcpy(to, t.bytes, in->len);
            return true;
        }
    }
    return false;
}

static u64 random_register(void)
{
    u64 v = random_integer();
    switch (below(4)) {
    case 0: return DATA + below(DATA_BYTES_USED);
    case 1: return below(64);
    case 2: return c->code_size == 8 ? v : (u32)v;
    default: return (u64)((s64)(v << 16) >> 16);
    }
}

static void random_state(const struct insn *in)
{
    for (unsigned i = 0; i < 16; i++)
        c->gpr[i] = random_register();
    c->rsp = STACK - below(64);
    if (setup == REAL16 || setup == STACK16)
        c->rsp = (random_u64() & (u64)~0xffff) | (0x8000 + below(64));
    if (one_in(3))
        c->rbp = c->rsp + below(64);
    if (one_in(4))
        c->rcx = below(5);
    if (one_in(16))
        c->rsp = random_register();
    u64 seg = c->code_size == 8 && in->seg < SEG_FS ? 0 : c->seg[in->seg].base;
    if (in->modrm_mem && in->base < GPR_RIP && !one_in(10))
        c->gpr[in->base] += DATA + below(DATA_BYTES_USED) - seg - operand_ea(c, in);
    if (in->run == in_xlat)
        c->rbx = DATA + below(DATA_BYTES_USED - 256) - seg;
    if ((in->run == in_div || in->run == in_idiv) && !one_in(4)) {
        c->rax = below(2000) - (in->run == in_idiv ? 1000u : 0);
        c->rdx = in->run == in_idiv ? (u64)((s64)c->rax >> 63) : 0;
    }
    flags_set_status(c, (u32)random_u64() & EFL_STATUS);
    for (unsigned i = 0; i < 512; i++) {
        u64 v = random_register();
        memcpy(ram->base + DATA + below(DATA_BYTES_USED - 8), &v, 8);
    }
}

/* One instruction in the interpreter. False: a fault. */
static bool interpret(const struct insn *in)
{
    u64 rip = c->rip;
    struct insn copy = *in;
    interp_prepare(&copy);
    c->rip = rip + in->len;
    if (copy.run(c, &copy)) {
        c->icount++;
        if (c->code_size != 8)
            c->rip = (u32)c->rip;
        return true;
    }
    c->rip = rip;
    return false;
}

static bool is_shift(const struct insn *in)
{
    for (unsigned i = 0; i < tr_shift_count; i++)
        if (tr_shift_rows[i].run == in->run)
            return true;
    return false;
}

/* Follows which flags are undefined; false: the instruction reads one that is. */
static bool track_flags(const struct insn *in, u16 *undefined)
{
    const struct insn_row *row = &insn_rows[in->row];
    u16 reads = row->attr & ATTR_CC ? ir_cc_flags(in->imm2) : row->reads, undef = row->undef;
    if (reads & *undefined)
        return false;
    if (!is_shift(in)) {
        *undefined = (u16)((*undefined & ~row->writes) | undef);
        return true;
    }
    unsigned i = in->op[2].kind == OP_NONE ? 1 : 2, mask = in->op[0].size == 8 ? 63 : 31;
    unsigned count = (in->op[i].kind == OP_IMM ? in->imm : c->rcx) & mask;
    if (!count)
        return true;
    if (count == 1)
        undef &= (u16)~IR_O;
    *undefined = (u16)((*undefined & ~(row->writes | (count == 1 ? IR_O : 0))) | undef);
    return true;
}

static char why[1 << 17];
static const char *describe(const struct insn *program, unsigned n)
{
    char line[100];
    u64 rip = start.gpr[GPR_RIP];
    size_t at = (size_t)snprintf(why, sizeof why, "%s\n", setup_names[setup]);
    for (unsigned i = 0; i < n; rip += program[i++].len)
        at += (size_t)snprintf(why + at, sizeof why - at, "  %s\n", insn_print(line, sizeof line, &program[i], rip));
    for (unsigned i = 0; i < 16; i++)
        at += (size_t)snprintf(why + at, sizeof why - at, "  %2u before %016llx unit %016llx interpreter %016llx\n", i,
            (unsigned long long)start.gpr[i], (unsigned long long)unit_end.gpr[i], (unsigned long long)c->gpr[i]);
    snprintf(why + at, sizeof why - at, "%s", show());
    return why;
}

/* A transfer to where no code can be: the interpreter faults at the branch, the unit leaves for the target. */
static bool target_is_bad(u64 rip) { return c->code_size == 8 ? !is_canonical(rip) : rip > c->seg[SEG_CS].limit; }

enum verdict { DONE, LEFT, UNKNOWN };

/* The interpreter executes what the unit says it has executed. */
static enum verdict replay(const struct insn *program, unsigned n, struct ir_left l, u16 *undefined)
{
    bool leaving = l.how == IR_OP_step;
    unsigned executed = l.gi + !leaving;
    for (unsigned i = 0; i < executed; i++) {
        if (!track_flags(&program[i], undefined))
            return UNKNOWN;
        bool ok = interpret(&program[i]);
        if (!ok && i + 1 == executed && !leaving && target_is_bad(l.rip))
            return UNKNOWN;
        ck_assert_msg(ok, "only the interpreter faults (%u) at %u\n%s", c->exc.vector, i, describe(program, n));
    }
    if (c->code_size == 2 && !leaving && program[l.gi].opsize == 2)
        unit_end.gpr[GPR_RIP] = (u16)unit_end.gpr[GPR_RIP];     /* code_link.wraps */
    return executed ? DONE : LEFT;
}

static u32 status_of(struct lazy_flags lazy)
{
    struct lazy_flags kept = c->lazy;
    c->lazy = lazy;
    u32 status = flags_status(c);
    c->lazy = kept;
    return status;
}

/* Status flags that are the guest's where a unit has left: who leaves in front of an instruction keeps what is live there. */
static u16 good_flags(struct ir_left l)
{
    u16 good = l.flags;
    for (unsigned i = 0; i < unit.count && l.how == IR_OP_step; i++)
        if (unit.ins[i].gi == l.gi && ir_rows[unit.ins[i].op].attr & IR_FAULT)
            good &= unit.ins[i].flive;
    return good;
}

#define AGREE(condition, format, ...) \
    ck_assert_msg(condition, format ", left by %s at %u\n%s", __VA_ARGS__, ir_op_name(l.how), l.gi, describe(program, n))

static enum verdict compare(const struct insn *program, unsigned n, struct ir_left l)
{
    u16 undefined = 0;
    enum verdict v = replay(program, n, l, &undefined);
    if (v == UNKNOWN)
        return v;
    u32 flags = flags_status(c), theirs = status_of(unit_end.lazy), defined = good_flags(l) & ~(u32)undefined;
    u64 rip = unit_end.gpr[GPR_RIP], count = unit_end.icount - start.icount;
    for (unsigned i = 0; i < 16; i++)
        AGREE(c->gpr[i] == unit_end.gpr[i], "register %u", i);
    AGREE(c->rip == rip, "rip %llx, not %llx", (unsigned long long)rip, (unsigned long long)c->rip);
    AGREE(!((flags ^ theirs) & defined), "flags %x, not %x (of %x)", theirs, flags, defined);
    AGREE(!memcmp(unit_memory, ram->base, RAM_SIZE), "memory%s", "");
    AGREE(!(unit.mode & MODE_COUNT_INSNS) || count == c->icount - start.icount, "count %llu", (unsigned long long)count);
    return v;
}

/* ir_eval reaches memory through the TLB as it stands. */
static void warm_tlb(void)
{
    for (gla a = 0; a < RAM_SIZE; a += PAGE_SIZE) {
        u8 v;
        if ((a & (gla)~PAGE_SIZE) == CODE)
            continue;
        ck_assert(mmu_read(&c->mmu, a, &v, 1, c->mmu.view) && mmu_write(&c->mmu, a, &v, 1, c->mmu.view));
    }
}

/* What the passes make of it must do the same. */
static void improve(gla at)
{
    char err[300];
    struct pass_env env = { .j = jit, .c = c, .pa = at, .host = ram->base + at, .ranges = &result, .opt = &jit->opt };
    env.group_pointers = 3;
    passes_run(&unit, &env);
    ck_assert_msg(ir_check(&unit, err, sizeof err), "%s: %s\n%s", setup_names[setup], err, show());
}

static enum verdict run_program(const struct insn *program, unsigned n, gla at)
{
    jit->mode = mode_word() | (one_in(2) ? MODE_COUNT_INSNS : 0);
    if (!make(at))
        return UNKNOWN;
    if (one_in(2))
        improve(at);
    warm_tlb();
    save(&start, start_memory);
    struct ir_left l = ir_eval(&unit, c);
    save(&unit_end, unit_memory);
    restore(&start, start_memory);
    if (setup == LONG64 && memcmp(unit_memory + 0x1000, start_memory + 0x1000, 2 * PAGE_SIZE))
        return UNKNOWN;         /* it has written to the page tables: what the TLB still knows is chance */
    return compare(program, n, l);
}

/* Instructions of these rows at a random place, UD2 behind. */
static enum verdict try_rows(const unsigned *rows, unsigned n)
{
    struct insn program[MAX_PROGRAM];
    if (setup == LONG64)
        page_tables();          /* the program before may have written there */
    gla at = CODE + below(PAGE_SIZE - 16 * (MAX_PROGRAM + 1)), end = at;
    for (unsigned i = 0; i < n; i++) {
        if (!make_insn(rows[i], ram->base + end, &program[i]))
            return UNKNOWN;
        end += program[i].len;
    }
    place_code(end, "\x0f\x0b", 2);
    c->rip = at - code_base();
    random_state(&program[0]);
    return run_program(program, n, at);
}

static unsigned ours[1024], ours_count;
static void find_ours(void)
{
    ours_count = 0;
    for (unsigned row = 0; row < insn_row_count; row++)
        if (is_ours(row))
            ours[ours_count++] = row;
}

static void seed(u64 n)
{
    const char *s = getenv("TRANSLATE_SEED");
    random_seed((s ? strtoull(s, NULL, 0) : 1) * 1000 + n);
}
static unsigned effort(unsigned n)
{
    const char *s = getenv("TRANSLATE_EFFORT");
    return n * (s ? (unsigned)atoi(s) : 1);
}

/* Every row alone: most of its instances have to be executed in the unit itself. */
START_TEST(rows)
{
    machine(_i);
    seed((u64)_i);
    find_ours();
    ck_assert_uint_gt(ours_count, 200);
    for (unsigned i = 0; i < ours_count; i++) {
        unsigned tries = effort(16), done = 0, left = 0;
        for (unsigned n = 0; n < tries; n++) {
            enum verdict v = try_rows(&ours[i], 1);
            done += v == DONE;
            left += v == LEFT;
        }
        ck_assert_msg(!left || done * 8 >= left, "%s, %s (row %u): %u executed, %u left to the interpreter",
            setup_names[setup], insn_rows[ours[i]].name, ours[i], done, left);
    }
    machine_end();
}
END_TEST

START_TEST(sequences)
{
    unsigned done = 0, tries = effort(800);
    machine(_i);
    seed(100 + (u64)_i);
    find_ours();
    for (unsigned n = 0; n < tries; n++) {
        unsigned length = 2 + below(MAX_PROGRAM - 2), pick[MAX_PROGRAM];
        for (unsigned i = 0; i < length; i++)
            pick[i] = ours[below(ours_count)];
        done += try_rows(pick, length) == DONE;
    }
    ck_assert_uint_gt(done, tries / 10);
    machine_end();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("translate");
    TCase *t = tcase_create("units"), *d = tcase_create("differential");
    tcase_add_test(t, ends_of_units);
    tcase_add_test(t, conditional_branches);
    tcase_add_test(t, what_is_left);
    tcase_add_test(t, page_ends);
    tcase_add_test(t, lengths);
    tcase_add_test(t, other_modes);
    suite_add_tcase(s, t);
    tcase_set_timeout(d, 250);
    tcase_add_loop_test(d, rows, 0, SETUPS);
    tcase_add_loop_test(d, sequences, 0, SETUPS);
    suite_add_tcase(s, d);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
