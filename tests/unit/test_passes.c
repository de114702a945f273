/* test_passes.c - the passes over the IR: text in, text out (tests/ir/pass_*.txt); units made at random, which have to
 * do the same before and after each pass; flags beyond the exits, against the interpreter.
 *
 * A case of tests/ir:
 *
 *   test NAME
 *   passes fold group         which ones, in this order
 *   options liveness=off      as for -accel jit
 *   kept 2                    pointers that group may keep in memory (without: none; one in a register)
 *   straddled 2               the guest instruction at that offset may lead no group
 *   code 0x40 31 c0           guest bytes on the unit's page (several lines)
 *   in
 *   ...                       a unit for ir_parse
 *   out
 *   ...                       its operations afterwards; with flags, and `flags_in`, if one of the passes is `flags`
 *   end
 */
#include "cpu_machine.h"

#include <stdio.h>

#include "cpu/flags.h"
#include "jit/pass.h"

enum { MODE64 = 2 | 2 << MODE_STACK_SHIFT, MODE32 = 1 | 1 << MODE_STACK_SHIFT, MODE_FLAT = 0x3f << MODE_FLAT_SHIFT };

static struct jit_options options;
static struct translate_result ranges;

static struct pass_env environment(u32 offset)
{
    ranges = (struct translate_result){ 0 };
    C->rip = CODE + offset;
    return (struct pass_env){ .c = C, .pa = CODE + offset, .host = m.ram->base + CODE + offset, .ranges = &ranges,
                              .opt = &options, .group_pointers = 1 };
}

static void set_options(const char *text)
{
    char err[100];
    ck_assert_msg(jit_options_parse(&options, text, err, sizeof err), "%s", err);
    options.verify = 1;
}

static const struct pass *find_pass(const char *name)
{
    for (unsigned i = 0; i < pass_count; i++)
        if (!strcmp(passes[i].name, name))
            return &passes[i];
    ck_abort_msg("no pass '%s'", name);
    return NULL;
}

static void check_unit(const struct ir_unit *u, const char *when, const char *what)
{
    char err[200];
    if (!ir_check(u, err, sizeof err)) {
        char line[200];
        for (unsigned i = 0; i < u->count; i++)
            fprintf(stderr, "%3u gi %u  %s\n", i, u->ins[i].gi, ir_print_ins(line, sizeof line, &u->ins[i], true));
        ck_abort_msg("%s, %s: %s", what, when, err);
    }
}

/* --- text ----------------------------------------------------------------------------------------------------------
 * */

struct text { char s[8192]; size_t n; };

static void append(struct text *t, const char *line)
{
    t->n += (size_t)snprintf(t->s + t->n, sizeof t->s - t->n, "%s\n", line);
    ck_assert_uint_lt(t->n, sizeof t->s);
}

static char *trim(char *line)
{
    while (*line == ' ')
        line++;
    char *end = line + strcspn(line, ";\n");
    while (end > line && end[-1] == ' ')
        end--;
    *end = 0;
    return line;
}

static const char *flag_names(u16 flags)
{
    static char text[8];
    static const char letters[6] = "OSZAPC";
    static const u16 bits[6] = { IR_O, IR_S, IR_Z, IR_A, IR_P, IR_C };
    unsigned n = 0;
    for (unsigned i = 0; i < 6; i++)
        if (flags & bits[i])
            text[n++] = letters[i];
    text[n] = 0;
    return n ? text : "none";
}

struct test_case { char name[80], passes[80], options[80]; unsigned kept; u64 no_group; struct text in, out; unsigned line; };

static void run_case(const char *file, struct test_case *t)
{
    static struct ir_unit u;
    static struct text got;
    char err[200], line[256];
    bool flags = strstr(t->passes, "flags");
    struct pass_env env = environment(0);
    env.kept_pointers = t->kept;
    env.no_group = t->no_group;
    set_options(t->options);
    memset(&u, 0, sizeof u);
    ck_assert_msg(ir_parse(&u, t->in.s, err, sizeof err), "%s:%u: %s: %s", file, t->line, t->name, err);
    check_unit(&u, "as parsed", t->name);
    for (char *name = strtok(t->passes, " "); name; name = strtok(NULL, " ")) {
        find_pass(name)->run(&u, &env);
        check_unit(&u, name, t->name);
    }
    got.n = 0;
    got.s[0] = 0;
    for (unsigned i = 0; i < u.count; i++)
        append(&got, ir_print_ins(line, sizeof line, &u.ins[i], flags));
    if (flags) {
        snprintf(line, sizeof line, "flags_in %s", flag_names(u.flags_in));
        append(&got, line);
    }
    ck_assert_msg(!strcmp(got.s, t->out.s), "%s:%u: %s: got\n%sinstead of\n%s", file, t->line, t->name, got.s,
                  t->out.s);
}

static void put_code(const char *text)
{
    char *at;
    u32 offset = (u32)strtoul(text, &at, 0);
    for (char *end; *at; at = end) {
        unsigned long byte = strtoul(at, &end, 16);
        if (end == at)
            break;
        put(CODE + offset++, 1, byte);
    }
}

static unsigned run_file(const char *name)
{
    static struct test_case t;
    char path[512], buf[256];
    unsigned line = 0, cases = 0;
    enum { HEAD, IN, OUT } part = HEAD;
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof path, "%.*s/../ir/%s", slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".", name);
    FILE *f = fopen(path, "r");
    ck_assert_msg(f, "cannot read %s", path);
    while (fgets(buf, sizeof buf, f)) {
        char *s = trim(buf);
        line++;
        if (!*s)
            continue;
        if (!strncmp(s, "test ", 5)) {
            memset(&t, 0, sizeof t);
            memset(m.ram->base + CODE, 0xf4, PAGE_SIZE);
            snprintf(t.name, sizeof t.name, "%s", s + 5);
            t.line = line;
            part = HEAD;
        } else if (!strncmp(s, "passes ", 7)) {
            snprintf(t.passes, sizeof t.passes, "%s", s + 7);
        } else if (!strncmp(s, "options ", 8)) {
            snprintf(t.options, sizeof t.options, "%s", s + 8);
        } else if (!strncmp(s, "kept ", 5)) {
            t.kept = (unsigned)atoi(s + 5);
        } else if (!strncmp(s, "straddled ", 10)) {
            t.no_group |= jit_group_bit(atoi(s + 10));
        } else if (!strncmp(s, "code ", 5)) {
            put_code(s + 5);
        } else if (part == HEAD) {
            ck_assert_msg(!strcmp(s, "in"), "%s:%u: '%s'", name, line, s);
            part = IN;
        } else if (!strcmp(s, "out")) {
            part = OUT;
        } else if (!strcmp(s, "end") && part == OUT) {
            run_case(name, &t);
            part = HEAD;
            cases++;
        } else {
            append(part == IN ? &t.in : &t.out, s);
        }
    }
    fclose(f);
    return cases;
}

static void check_file(const char *name, unsigned least)
{
    machine_protected();
    unsigned n = run_file(name);
    ck_assert_msg(n >= least, "%s has only %u cases", name, n);
    machine_free();
}
START_TEST(text_flags) { check_file("pass_flags.txt", 12); } END_TEST
START_TEST(text_fold) { check_file("pass_fold.txt", 10); } END_TEST
START_TEST(text_group) { check_file("pass_group.txt", 12); } END_TEST
START_TEST(text_adjust) { check_file("pass_adjust.txt", 5); } END_TEST
START_TEST(text_dead) { check_file("pass_dead.txt", 5); } END_TEST
START_TEST(text_all) { check_file("pass_all.txt", 2); } END_TEST

/* --- flags: what is looked at is recorded --------------------------------------------------------------------------
 * */

static u16 live_at_jump(u32 from, s64 to, const char *opt)
{
    static struct ir_unit u;
    struct pass_env env = environment(from);
    set_options(opt);
    ir_begin(&u, (C->code_size == 8 ? MODE64 : MODE32) | MODE_FLAT | MODE_PROTECTED);
    ir_guest(&u, NULL, (s32)from, (s32)from + 2);
    ir_add(&u, IR_OP_jmp, 8, IR_NONE, IR_NONE)->imm = to;
    ranges.range[ranges.ranges++] = (struct code_range){ CODE + from, 2 };
    pass_flags(&u, &env);
    ck_assert_uint_eq(u.flags_in, u.ins[0].flive);
    ck_assert_uint_eq(u.ins[0].fexit, u.ins[0].flive);
    return u.flags_in;
}

static bool is_marked(gpa a) { return atomic_load(&m.ram->code[a >> PAGE_SHIFT]) >> (a >> 6 & 63) & 1; }

START_TEST(ranges_recorded)
{
    machine_protected();
    memset(m.ram->base + CODE, 0x90, 2 * PAGE_SIZE);
    put(CODE + 0x100, 2, 0xc031);                   /* xor eax, eax */
    ck_assert_uint_eq(live_at_jump(0x20, 0x100, NULL), 0);
    ck_assert_uint_eq(ranges.ranges, 2);
    ck_assert_uint_eq(ranges.range[0].at, CODE + 0x20);
    ck_assert_uint_eq(ranges.range[1].at, CODE + 0x100);
    ck_assert_uint_eq(ranges.range[1].bytes, 2);
    ck_assert(is_marked(CODE + 0x100) && !is_marked(CODE + 0x140) && !is_marked(CODE + 0xc0));
    /* behind the unit's own bytes: one range */
    put(CODE + 0x24, 2, 0xc031);
    ck_assert_uint_eq(live_at_jump(0x20, 0x22, NULL), 0);
    ck_assert_uint_eq(ranges.ranges, 1);
    ck_assert_uint_eq(ranges.range[0].bytes, 6);
    /* and before them */
    put(CODE + 0x1e, 2, 0xc031);
    ck_assert_uint_eq(live_at_jump(0x20, 0x1e, NULL), 0);
    ck_assert_uint_eq(ranges.range[0].at, CODE + 0x1e);
    ck_assert_uint_eq(ranges.range[0].bytes, 4);
    /* switched off */
    ck_assert_uint_eq(live_at_jump(0x20, 0x100, "liveness=off"), IR_FLAGS);
    ck_assert_uint_eq(live_at_jump(0x20, 0x100, "exactflags=on"), IR_FLAGS);
    ck_assert_uint_eq(ranges.ranges, 1);
    machine_free();
}
END_TEST

START_TEST(ranges_run_out)
{
    static struct ir_unit u;
    machine_protected();
    memset(m.ram->base + CODE, 0x90, PAGE_SIZE);
    set_options(NULL);
    struct pass_env env = environment(0);
    ir_begin(&u, MODE32 | MODE_FLAT | MODE_PROTECTED);
    ir_guest(&u, NULL, 0, 2);
    for (unsigned i = 0; i < 10; i++) {
        put(CODE + 0x180 * (i + 1), 2, 0xc031);
        ir_add(&u, IR_OP_jz, 4, IR_NONE, IR_G)->imm = 0x180 * (i + 1);
    }
    ir_add(&u, IR_OP_jmp, 8, IR_NONE, IR_NONE)->imm = 0x180;
    ranges.range[ranges.ranges++] = (struct code_range){ CODE, 2 };
    pass_flags(&u, &env);
    ck_assert_uint_eq(ranges.ranges, CODE_RANGES);
    unsigned dead = 0;
    for (unsigned i = 0; i < u.count; i++)
        dead += u.ins[i].fexit == 0;
    ck_assert_uint_eq(dead, CODE_RANGES);       /* 0x180 twice */
    ck_assert_uint_eq(u.flags_in, IR_FLAGS);
    machine_free();
}
END_TEST

/* Other pages: only while the fetch TLB has them, and with cross=on. */
START_TEST(other_pages)
{
    gpa pa;
    const u8 *host_byte;
    machine_protected();
    memset(m.ram->base + CODE, 0x90, 3 * PAGE_SIZE);
    put(CODE + 0x1100, 2, 0xc031);
    put(CODE - 0x1000 + 0x100, 2, 0xc031);
    ck_assert_uint_eq(live_at_jump(0x20, 0x1100, NULL), IR_FLAGS);
    ck_assert(mmu_fetch(&C->mmu, CODE, C->mmu.view, &pa, &host_byte));
    ck_assert_uint_eq(live_at_jump(0x20, 0x1100, NULL), IR_FLAGS);
    ck_assert(mmu_fetch(&C->mmu, CODE + 0x1000, C->mmu.view, &pa, &host_byte));
    ck_assert_uint_eq(live_at_jump(0x20, 0x1100, NULL), 0);
    ck_assert_uint_eq(ranges.ranges, 2);
    ck_assert_uint_eq(ranges.range[1].at, CODE + 0x1100);
    ck_assert(is_marked(CODE + 0x1100));
    ck_assert_uint_eq(live_at_jump(0x20, 0x1100, "cross=off"), IR_FLAGS);
    ck_assert(mmu_fetch(&C->mmu, CODE - 0x1000, C->mmu.view, &pa, &host_byte));
    ck_assert_uint_eq(live_at_jump(0x20, 0x100 - 0x1000, NULL), 0);
    /* an instruction on two pages */
    put(CODE + 0xfff, 2, 0xc031);
    ck_assert_uint_eq(live_at_jump(0x20, 0xfff, NULL), IR_FLAGS);
    machine_free();
}
END_TEST

/* --- at random -----------------------------------------------------------------------------------------------------
 * */

static u64 seed = 88172645463325252u;
static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1du >> 11;
}
static unsigned below(unsigned n) { return (unsigned)(rnd() % n); }
static bool one_in(unsigned n) { return !below(n); }

/* Flags beyond the exits. Code of short instructions and jumps between them; from the same state, once with all flags
 * right and once with those wrong that were found dead, the interpreter has to do the same. Nothing here leaves a flag
 * undefined that the interpreter then keeps (MUL, BT): such a flag is dead before, and may be read. */
static unsigned random_insn(u8 *p, unsigned at, const u16 *starts, unsigned count)
{
    static const struct { u8 n, b[3]; } plain[] = {
        { 2, { 0x31, 0xc0 } }, { 2, { 0x01, 0xd8 } }, { 2, { 0x11, 0xc8 } }, { 1, { 0x40 } }, { 1, { 0x4b } },
        { 1, { 0xf8 } },
        { 1, { 0xf5 } }, { 1, { 0x9f } }, { 1, { 0x9e } }, { 2, { 0xd3, 0xe0 } }, { 3, { 0xc1, 0xe0, 4 } },
        { 3, { 0xc1, 0xd8, 2 } },
        { 2, { 0xd1, 0xd0 } }, { 3, { 0xc1, 0xe0, 0x20 } }, { 2, { 0x89, 0xc1 } }, { 3, { 0x0f, 0x94, 0xc2 } },
        { 3, { 0x0f, 0x42, 0xc3 } }, { 2, { 0x39, 0xd8 } }, { 2, { 0xf7, 0xd8 } }, { 2, { 0xf6, 0xd2 } },
        { 1, { 0x9c } }, { 1, { 0x58 } }, { 3, { 0x8d, 0x40, 5 } }, { 2, { 0xa8, 0x10 } },
    };
    if (one_in(4) && count) {
        static const u8 jumps[] = { 0xeb, 0x72, 0x74, 0x75, 0x78, 0x7a, 0x7c, 0x77, 0xe3, 0xe1, 0xe2, 0x70 };
        int to = (int)starts[below(count)] - (int)(at + 2);
        if (to >= -128) {
            p[0] = jumps[below(sizeof jumps)];
            p[1] = (u8)to;
            return 2;
        }
    }
    unsigned k = below(ARRAY_LEN(plain));
    memcpy(p, plain[k].b, plain[k].n);
    return plain[k].n;
}

struct state { u64 gpr[16], rip, icount; u32 flags; };
static void save(struct state *s)
{
    memcpy(s->gpr, C->gpr, sizeof s->gpr);
    s->rip = C->rip;
    s->icount = C->icount;
    s->flags = flags_status(C);
}
static void load(const struct state *s)
{
    memcpy(C->gpr, s->gpr, sizeof s->gpr);
    C->rip = s->rip;
    C->icount = s->icount;
    flags_set_status(C, s->flags);
}

enum { LOOK_STEPS = 30 };
static void trace(const struct state *from, u32 change, struct state out[LOOK_STEPS])
{
    load(from);
    memset(m.ram->base + STACK0 - 0x800, 0x5a, 0x800);
    flags_set_status(C, from->flags ^ change);
    for (unsigned i = 0; i < LOOK_STEPS; i++) {
        interp_step(C);
        save(&out[i]);
    }
}

START_TEST(look_ahead_random)
{
    static struct state right[LOOK_STEPS], wrong[LOOK_STEPS];
    unsigned dead_found = 0;
    machine_protected();
    for (unsigned round = 0; round < 3000; round++) {
        u8 bytes[200];
        u16 starts[80];
        unsigned count = 0, at = 0;
        memset(bytes, 0x90, sizeof bytes);
        while (at < 160 && count < 80) {
            starts[count] = (u16)at;
            at += random_insn(&bytes[at], at, starts, count);
            count++;
        }
        bytes[at] = 0xeb;
        bytes[at + 1] = (u8)(0x100 - (at + 2) < 0x80 ? 0 : -8);
        code(bytes, sizeof bytes);
        u32 to = starts[below(count)];
        u16 live = live_at_jump(0x800, to, NULL), dead = IR_FLAGS & ~live;
        dead_found += dead != 0;
        struct state s = { .rip = CODE + to };
        for (unsigned r = 0; r < 16; r++)
            s.gpr[r] = (u32)(one_in(2) ? below(4) : rnd());
        s.gpr[GPR_RSP] = STACK0 - 0x400;
        s.flags = (u32)rnd() & IR_FLAGS;
        trace(&s, 0, right);
        trace(&s, dead & (u32)rnd(), wrong);
        u16 differ = dead;
        for (unsigned i = 0; i < LOOK_STEPS; i++) {
            ck_assert_msg(right[i].rip == wrong[i].rip && !memcmp(right[i].gpr, wrong[i].gpr, sizeof right[i].gpr) &&
                              !((right[i].flags ^ wrong[i].flags) & ~(u32)differ),
                          "round %u, from %x (byte %02x), live %s, step %u to %llx: dead flags were read "
                          "(eax %llx %llx, flags %x %x)",
                          round, to, bytes[to], flag_names(live), i, (unsigned long long)right[i].rip,
                          (unsigned long long)right[i].gpr[0], (unsigned long long)wrong[i].gpr[0], right[i].flags,
                          wrong[i].flags);
        }
    }
    ck_assert_uint_gt(dead_found, 1000);
    machine_free();
}
END_TEST

/* --- random units --------------------------------------------------------------------------------------------------
 * */

enum { DATA_PAGES = 4, WORK = DATA, WORK_BYTES = DATA_PAGES * 4096 };
static struct ir_unit *U;
static unsigned W;              /* bytes of an address */

static ir_val any_gpr(void) { return (ir_val)(IR_G + below(16)); }
/* Not a base register: those keep pointing at memory. */
static ir_val free_gpr(void)
{
    static const u8 regs[] = { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RDI, GPR_R8, GPR_R9, GPR_R12, GPR_R15 };
    return (ir_val)(IR_G + regs[below(sizeof regs)]);
}
static ir_val base_gpr(void)
{
    static const u8 regs[] = { GPR_RSP, GPR_RSP, GPR_RBP, GPR_RBX, GPR_RSI };
    return (ir_val)(IR_G + regs[below(sizeof regs)]);
}
static unsigned any_size(void) { return 1u << below(4); }
static unsigned wide_size(void) { return 4u << below(2); }
static s64 any_imm(unsigned size)
{
    s64 v = one_in(3) ? (s64)below(16) - 8 : (s32)rnd();
    return pass_sign_extend((u64)v, size > 4 ? 4 : size);
}

static ir_val ptr(ir_val base, s32 disp, unsigned size, enum ir_access access)
{
    struct ir_ins *ins = ir_add(U, IR_OP_ptr, size, ir_temp(U), base);
    ins->disp = disp;
    ins->addrsize = (u8)W;
    ins->size2 = base == IR_G + GPR_RSP ? SEG_SS : SEG_DS;
    ins->cc = (u8)access;
    if (one_in(16) && !(size & (size - 1)))
        ins->bits |= IR_ALIGN;
    return ins->d;
}
static ir_val any_ptr(unsigned size, enum ir_access access)
{
    if (one_in(5)) {        /* through a sum */
        ir_val t = ir_temp(U);
        struct ir_ins *lea = ir_add(U, IR_OP_lea, W, t, base_gpr());
        lea->disp = (s32)below(64);
        return ptr(t, (s32)below(32), size, access);
    }
    if (one_in(12)) {
        ir_val t = ir_temp(U);
        ir_add(U, IR_OP_mov, W, t, base_gpr());
        return ptr(t, (s32)below(32), size, access);
    }
    return ptr(base_gpr(), (s32)below(160) - 40, size, access);
}
static struct ir_ins *mem(struct ir_ins *ins, ir_val p)
{
    ins->p = p;
    return ins;
}
static struct ir_ins *imm(struct ir_ins *ins, s64 v)
{
    ins->imm = v;
    return ins;
}
static void step_sp(s32 n) { ir_add(U, IR_OP_lea, W, IR_G + GPR_RSP, IR_G + GPR_RSP)->disp = n; }

static void gen_push(void)
{
    ir_val p = ptr(IR_G + GPR_RSP, -(s32)W, W, IR_WRITE);
    mem(imm(ir_add(U, IR_OP_mov, W, IR_MEM, one_in(3) ? IR_IMM : any_gpr()), any_imm(W)), p);
    step_sp(-(s32)W);
}
static void gen_pop(void)
{
    ir_val p = ptr(IR_G + GPR_RSP, 0, W, IR_READ), t = ir_temp(U), r = free_gpr();
    mem(ir_add(U, IR_OP_mov, W, t, IR_MEM), p);
    step_sp((s32)W);
    ir_add(U, IR_OP_mov, W, r, t);
}
static void gen_load(void)
{
    unsigned size = any_size();
    ir_val p = any_ptr(size, IR_READ);
    if (size < 8 && one_in(2)) {
        struct ir_ins *ins = mem(ir_add(U, one_in(2) ? IR_OP_movzx : IR_OP_movsx, 8, free_gpr(), IR_MEM), p);
        ins->size2 = (u8)size;
    } else {
        mem(ir_add(U, IR_OP_mov, size, free_gpr(), IR_MEM), p);
    }
}
static void gen_store(void)
{
    unsigned size = any_size();
    ir_val p = any_ptr(size, IR_WRITE);
    mem(imm(ir_add(U, IR_OP_mov, size, IR_MEM, one_in(3) ? IR_IMM : any_gpr()), any_imm(size)), p);
}
static void gen_rmw(void)
{
    static const u8 ops[] = { IR_OP_add, IR_OP_sub, IR_OP_xor, IR_OP_and, IR_OP_or, IR_OP_adc };
    unsigned size = any_size();
    ir_val p = any_ptr(size, IR_RW);
    if (one_in(4))
        mem(ir_add(U, one_in(2) ? IR_OP_inc : IR_OP_neg, size, IR_MEM, IR_NONE), p);
    else
        mem(ir_add(U, ops[below(sizeof ops)], size, IR_MEM, any_gpr()), p);
}
/* Two accesses of one instruction. */
static void gen_copy(void)
{
    unsigned size = any_size();
    ir_val from = any_ptr(size, IR_READ), to = any_ptr(size, IR_WRITE), t = ir_temp(U);
    mem(ir_add(U, IR_OP_mov, size, t, IR_MEM), from);
    mem(ir_add(U, IR_OP_mov, size, IR_MEM, t), to);
}
static void gen_alu(void)
{
    static const u8 ops[] = { IR_OP_add, IR_OP_or, IR_OP_adc, IR_OP_sbb, IR_OP_and, IR_OP_sub, IR_OP_xor };
    unsigned size = any_size();
    imm(ir_add(U, ops[below(sizeof ops)], size, free_gpr(), one_in(2) ? IR_IMM : any_gpr()), any_imm(size));
}
static void gen_one(void)
{
    static const u8 ops[] = { IR_OP_inc, IR_OP_dec, IR_OP_neg, IR_OP_not };
    ir_add(U, ops[below(sizeof ops)], any_size(), free_gpr(), IR_NONE);
}
static void gen_high(void)
{
    ir_add(U, one_in(2) ? IR_OP_mov : IR_OP_add, 1, (ir_val)(IR_H + (one_in(2) ? 0 : 2)), IR_G + GPR_RCX);
}
static void gen_shift(void)
{
    static const u8 ops[] = { IR_OP_shl, IR_OP_shr, IR_OP_sar, IR_OP_rol, IR_OP_ror, IR_OP_rcl, IR_OP_rcr };
    unsigned op = ops[below(sizeof ops)], size = any_size();
    if (one_in(2)) {
        imm(ir_add(U, (enum ir_op)op, size, free_gpr(), IR_IMM), 1 + below(31));
        return;
    }
    ir_val count = IR_G + GPR_RCX;
    if (one_in(2)) {
        ir_val t = ir_temp(U);
        ir_add(U, IR_OP_mov, one_in(2) ? 1 : 8, t, count);
        count = t;
    }
    struct ir_ins *ins = ir_add(U, (enum ir_op)op, size, free_gpr(), count);
    ins->fuse |= ins->fdef;     /* a count of 0 */
}
static void gen_compare(void)
{
    unsigned size = any_size();
    imm(ir_add(U, one_in(2) ? IR_OP_cmp : IR_OP_test, size, any_gpr(), one_in(2) ? IR_IMM : any_gpr()), any_imm(size));
}
static void gen_exit(void)
{
    s64 to = (s64)below(200);
    if (one_in(2))
        ir_set_cc(imm(ir_add(U, IR_OP_jcc, 8, IR_NONE, IR_NONE), to), below(16));
    else
        imm(ir_add(U, one_in(2) ? IR_OP_jz : IR_OP_jnz, any_size(), IR_NONE, free_gpr()), to);
}
static void gen_condition(void)
{
    if (one_in(2))
        ir_set_cc(ir_add(U, IR_OP_setcc, 1, free_gpr(), IR_NONE), below(16));
    else
        ir_set_cc(ir_add(U, IR_OP_cmov, wide_size(), free_gpr(), any_gpr()), below(16));
}
static void gen_lea(void)
{
    ir_val base = one_in(4) ? IR_PC : one_in(5) ? IR_NONE : any_gpr();
    struct ir_ins *ins = ir_add(U, IR_OP_lea, wide_size(), free_gpr(), base);
    ins->disp = one_in(3) ? 0 : (s32)any_imm(4);
    if (one_in(3)) {
        ins->b = any_gpr();
        ins->scale = (u8)below(4);
    }
}
/* Temporaries: constants, copies, sums, some of them for nothing. */
static void gen_temps(void)
{
    ir_val t = ir_temp(U), s = ir_temp(U);
    unsigned size = wide_size();
    imm(ir_add(U, IR_OP_mov, 8, t, one_in(2) ? IR_IMM : any_gpr()), any_imm(8));
    if (one_in(2))
        ir_add(U, IR_OP_mov, 8, free_gpr(), any_gpr());     /* the copy may be of an old value now */
    ir_add(U, IR_OP_lea, size, s, t)->disp = (s32)below(8);
    if (one_in(3))
        ir_add(U, IR_OP_add, size, s, t);
    switch (below(5)) {
    case 0: ir_add(U, IR_OP_xor, size, free_gpr(), s); break;
    case 1: ir_add(U, IR_OP_mov, size, free_gpr(), s); break;
    case 2: ir_add(U, IR_OP_movzx, 8, free_gpr(), t)->size2 = 2; break;
    case 3: ir_add(U, IR_OP_cmp, size, t, s); break;
    default: break;
    }
}
static void gen_flags(void)
{
    ir_val t = ir_temp(U);
    switch (below(5)) {
    case 0: ir_add(U, IR_OP_clc, 0, IR_NONE, IR_NONE); break;
    case 1: ir_add(U, IR_OP_cmc, 0, IR_NONE, IR_NONE); break;
    case 2: ir_add(U, IR_OP_stc, 0, IR_NONE, IR_NONE); break;
    default:
        ir_add(U, IR_OP_getfl, 4, t, IR_NONE);
        if (one_in(2))
            ir_add(U, IR_OP_putfl, 4, IR_NONE, t);
        else
            ir_add(U, IR_OP_mov, 4, free_gpr(), t);
    }
}
static void gen_odd(void)
{
    unsigned size = any_size();
    switch (below(9)) {
    case 0: ir_add(U, IR_OP_xchg, size, free_gpr(), free_gpr()); break;
    case 1: ir_add(U, IR_OP_xadd, size, free_gpr(), free_gpr()); break;
    case 2: ir_add(U, IR_OP_cmpxchg, size, free_gpr(), any_gpr()); break;
    case 3: ir_add(U, IR_OP_mul, size, IR_NONE, any_gpr()); break;
    case 4: ir_add(U, IR_OP_div, size, IR_NONE, any_gpr()); break;
    case 5: ir_add(U, IR_OP_cdq, wide_size(), IR_NONE, IR_NONE); break;
    case 6: ir_add(U, IR_OP_bsf, wide_size(), free_gpr(), any_gpr()); break;
    case 7: ir_add(U, IR_OP_bswap, wide_size(), free_gpr(), IR_NONE); break;
    default: imm(ir_add(U, IR_OP_count, 8, IR_NONE, IR_NONE), below(5)); break;
    }
}
/* The stack pointer as compilers move it. */
static void gen_frame(void)
{
    s32 n = (s32)(W * below(6));
    switch (below(4)) {
    case 0: ir_add(U, IR_OP_mov, W, IR_G + GPR_RBP, IR_G + GPR_RSP); break;
    case 1: imm(ir_add(U, IR_OP_sub, W, IR_G + GPR_RSP, IR_IMM), n); break;
    case 2: imm(ir_add(U, IR_OP_add, W, IR_G + GPR_RSP, IR_IMM), n); break;
    default: ir_add(U, IR_OP_lea, W, one_in(2) ? IR_G + GPR_RSI : free_gpr(), IR_G + GPR_RSP)->disp = n; break;
    }
}
static void gen_guard(void) { ir_add(U, IR_OP_guard, 1, IR_NONE, IR_G + GPR_R15); }

typedef void gen_fn(void);
static gen_fn *const gens[] = { gen_push, gen_push, gen_push, gen_pop, gen_pop, gen_load, gen_load, gen_load, gen_store,
    gen_store, gen_rmw, gen_copy, gen_alu, gen_alu, gen_one, gen_high, gen_shift, gen_compare, gen_compare, gen_exit,
    gen_condition, gen_lea, gen_temps, gen_temps, gen_flags, gen_odd, gen_frame, gen_frame, gen_guard };

static void generate(struct ir_unit *u)
{
    unsigned n = 1 + below(16);
    U = u;
    ir_begin(u, (W == 8 ? MODE64 : MODE32) | MODE_FLAT | MODE_PROTECTED);
    for (unsigned i = 0; i < n; i++) {
        ir_guest(u, NULL, (s32)(0x800 + 4 * i), (s32)(0x804 + 4 * i));
        gens[below(ARRAY_LEN(gens))]();
    }
    ir_guest(u, NULL, (s32)(0x800 + 4 * n), (s32)(0x804 + 4 * n));
    switch (below(4)) {
    case 0: ir_add(u, IR_OP_step, 0, IR_NONE, IR_NONE); break;
    case 1: ir_add(u, IR_OP_ret, 8, IR_NONE, any_gpr()); break;
    default: ir_add(u, IR_OP_jmp, 8, IR_NONE, IR_NONE)->imm = below(200); break;
    }
}

struct world { struct state cpu; u8 memory[WORK_BYTES]; };
static void world_save(struct world *w)
{
    save(&w->cpu);
    memcpy(w->memory, m.ram->base + WORK, WORK_BYTES);
}
static void world_load(const struct world *w)
{
    load(&w->cpu);
    memcpy(m.ram->base + WORK, w->memory, WORK_BYTES);
}
static void world_random(struct world *w)
{
    for (unsigned r = 0; r < 16; r++)
        w->cpu.gpr[r] = one_in(2) ? below(5) : rnd() << 8 ^ rnd();
    static const u8 bases[] = { GPR_RSP, GPR_RBP, GPR_RBX, GPR_RSI };
    for (unsigned i = 0; i < 4; i++) {
        u64 middle = WORK + 0x1000 * (1 + below(2)) + (one_in(8) ? below(0x80) : 0x200 + 8 * below(0x180));
        w->cpu.gpr[bases[i]] = middle;
    }
    w->cpu.gpr[GPR_RBP] = one_in(2) ? w->cpu.gpr[GPR_RSP] + 0x20 : w->cpu.gpr[GPR_RBP];
    w->cpu.gpr[GPR_R15] = one_in(8);
    w->cpu.flags = (u32)rnd() & IR_FLAGS;
    w->cpu.rip = CODE + 0x800;
    w->cpu.icount = 100;
    for (unsigned i = 0; i < WORK_BYTES; i += 8) {
        u64 v = rnd() << 20 ^ rnd();
        memcpy(w->memory + i, &v, 8);
    }
}

static void fail_unit(const struct ir_unit *before, const struct ir_unit *after, const char *what, const char *pass,
                      unsigned round)
{
    char line[256];
    for (unsigned k = 0; k < 2; k++) {
        const struct ir_unit *u = k ? after : before;
        fprintf(stderr, "%s:\n", k ? "after" : "before");
        for (unsigned i = 0; i < u->count; i++)
            fprintf(stderr, "%3u gi %u  %s\n", i, u->ins[i].gi, ir_print_ins(line, sizeof line, &u->ins[i], true));
    }
    ck_abort_msg("round %u, %s: %s", round, pass, what);
}

/* The operations before guest instruction gi, then out. */
static void cut(struct ir_unit *to, const struct ir_unit *from, unsigned gi)
{
    *to = *from;
    to->count = 0;
    while (from->ins[to->count].gi < gi)
        to->count++;
    ir_add(to, IR_OP_step, 0, IR_NONE, IR_NONE)->gi = (u8)gi;
}

/* Flags live before the operations of gi that can leave: nothing is defined between these. */
static u16 live_where_left(const struct ir_unit *u, unsigned gi)
{
    unsigned i = 0;
    while (i + 1 < u->count && (u->ins[i].gi != gi || !(ir_rows[u->ins[i].op].attr & (IR_FAULT | IR_END))))
        i++;
    return (u16)((u->ins[i].flive & ~u->ins[i].fdef) | u->ins[i].fuse);
}

struct totals { unsigned same, early, grouped, units; };

static void compare(const struct ir_unit *before, const struct ir_unit *after, const char *pass, unsigned round,
                    struct totals *n)
{
    static struct world start, a, b;
    static struct ir_unit part;
    world_random(&start);
    world_load(&start);
    struct ir_left x = ir_eval(before, C);
    world_save(&a);
    world_load(&start);
    struct ir_left y = ir_eval(after, C);
    world_save(&b);
    if (x.how == y.how && x.gi == y.gi) {
        n->same++;
    } else {        /* a check for several accesses may leave earlier */
        if (y.how != IR_OP_step || y.gi > x.gi || !after->count)
            fail_unit(before, after, "another way out", pass, round);
        n->early++;
        cut(&part, before, y.gi);
        world_load(&start);
        x = ir_eval(&part, C);
        world_save(&a);
        if (x.how != IR_OP_step || x.gi != y.gi)
            fail_unit(before, after, "left where the guest instruction is not reached", pass, round);
    }
    if (x.rip != y.rip || a.cpu.icount != b.cpu.icount)
        fail_unit(before, after, "RIP or count", pass, round);
    for (unsigned r = 0; r < 16; r++)
        if (a.cpu.gpr[r] != b.cpu.gpr[r]) {
            char what[80];
            snprintf(what, sizeof what, "register %u is %llx, not %llx", r, (unsigned long long)b.cpu.gpr[r],
                     (unsigned long long)a.cpu.gpr[r]);
            fail_unit(before, after, what, pass, round);
        }
    if (memcmp(a.memory, b.memory, WORK_BYTES))
        fail_unit(before, after, "memory", pass, round);
    u16 live = x.flags & y.flags;
    if (y.how == IR_OP_step)
        live &= live_where_left(after, y.gi);
    if ((a.cpu.flags ^ b.cpu.flags) & live)
        fail_unit(before, after, "flags", pass, round);
}

/* Each pass alone, flags and each other one, all of them. */
static void random_units(unsigned rounds)
{
    static struct ir_unit before, after;
    struct totals n = { 0 };
    for (unsigned round = 0; round < rounds; round++) {
        generate(&before);
        ck_assert(!before.full);
        check_unit(&before, "as generated", "random");
        for (unsigned which = 0; which < 2 * pass_count; which++) {
            struct pass_env env = environment(0x800);
            const char *name = which == pass_count ? "all" : passes[which % pass_count].name;
            env.group_pointers = 1 + below(3);
            env.kept_pointers = below(4);
            after = before;
            if (which == pass_count) {
                passes_run(&after, &env);
            } else {
                if (which > pass_count)
                    pass_flags(&after, &env);
                passes[which % pass_count].run(&after, &env);
            }
            check_unit(&after, name, "random");
            unsigned same = n.same;
            for (unsigned k = 0; k < 3; k++)
                compare(&before, &after, name, round, &n);
            n.units++;
            n.grouped += !strcmp(name, "group") && after.count < before.count;
            ck_assert_msg(!strcmp(name, "group") || which == pass_count || n.same == same + 3, "%s leaves early", name);
        }
    }
    ck_assert_uint_gt(n.grouped, rounds / 8);
    ck_assert_uint_gt(n.same, 20 * n.early);
    ck_assert_uint_gt(n.early, 0);
}

START_TEST(random32)
{
    set_options(NULL);
    machine_protected();
    C->jit.pc = CODE;
    memset(m.ram->base + CODE, 0x90, PAGE_SIZE);
    CODE_BYTES(0x31, 0xc0, 0x11, 0xc8, 0x74, 0x10, 0x01, 0xd8, 0x0f, 0x94, 0xc0, 0x9c);
    W = 4;
    random_units(2500);
    machine_free();
}
END_TEST

START_TEST(random64)
{
    set_options(NULL);
    machine_protected();
    C->jit.pc = CODE;
    C->code_size = C->stack_size = 8;
    memset(m.ram->base + CODE, 0x90, PAGE_SIZE);
    CODE_BYTES(0x31, 0xc0, 0x11, 0xc8, 0x74, 0x10, 0x01, 0xd8, 0x0f, 0x94, 0xc0, 0x9c);
    W = 8;
    random_units(2500);
    machine_free();
}
END_TEST

/* `skip` leaves a pass out, by its name. */
START_TEST(skip)
{
    static struct ir_unit u;
    machine_protected();
    for (unsigned k = 0; k < 2; k++) {
        struct pass_env env = environment(0);
        set_options(k ? "skip=dead" : NULL);
        ir_begin(&u, MODE32 | MODE_FLAT);
        ir_guest(&u, NULL, 0, 1);
        imm(ir_add(&u, IR_OP_mov, 4, ir_temp(&u), IR_IMM), 5);
        ir_add(&u, IR_OP_step, 0, IR_NONE, IR_NONE);
        passes_run(&u, &env);
        ck_assert_uint_eq(u.count, 1 + k);
    }
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("passes");
    TCase *t = tcase_create("passes");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, text_flags);
    tcase_add_test(t, text_fold);
    tcase_add_test(t, text_group);
    tcase_add_test(t, text_adjust);
    tcase_add_test(t, text_dead);
    tcase_add_test(t, text_all);
    tcase_add_test(t, ranges_recorded);
    tcase_add_test(t, ranges_run_out);
    tcase_add_test(t, other_pages);
    tcase_add_test(t, look_ahead_random);
    tcase_add_test(t, random32);
    tcase_add_test(t, random64);
    tcase_add_test(t, skip);
    suite_add_tcase(s, t);
    return run_suite(s);
}
