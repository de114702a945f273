/* test_ir.c - the IR: building, text and back, every complaint of the verifier, and every operation in the evaluator:
 * arithmetic against the interpreter's functions on random operands, the rest on cases written by hand.
 */
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/interp_forms.h"
#include "jit/ir.h"
#include "tests/unit/vec_guest.h"

static u64 rng = 88172645463325252u;
static u64 rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}
static unsigned pick(unsigned n) { return (unsigned)(rnd() >> 20) % n; }
/* All ones, single bits, small and arbitrary numbers. */
static u64 value(void)
{
    switch (pick(6)) {
    case 0: return (u64)(s64)(s32)(pick(5) - 2);
    case 1: return (u64)1 << pick(64);
    case 2: return ((u64)1 << pick(64)) - 1;
    case 3: return (u64)0x8080808080808080 >> pick(8);
    default: return rnd();
    }
}

static struct ir_unit unit, other;
static char err[300];

#define G(reg) ((ir_val)(IR_G + (reg)))
static void parse(const char *text) { ck_assert_msg(ir_parse(&unit, text, err, sizeof err), "%s\n%s", err, text); }
static void check(void) { ck_assert_msg(ir_check(&unit, err, sizeof err), "%s", err); }

/* --- building --------------------------------------------------------------------------------------------------- */

START_TEST(table)
{
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        const struct ir_row *row = &ir_rows[op];
        ck_assert_str_eq(ir_op_name((enum ir_op)op), row->name);
        ck_assert_msg(!(row->fw & ~(IR_FLAGS | IR_MASK_OWN)), "%s", row->name);
        ck_assert_msg(!(row->fr & ~(IR_FLAGS | IR_MASK_OWN | IR_MASK_CC)), "%s", row->name);
        for (unsigned i = 0; i < op; i++)
            ck_assert_str_ne(row->name, ir_rows[i].name);
    }
    ck_assert_str_eq(ir_op_name(IR_OP_COUNT), "?");
    const struct ir_row *add = &ir_rows[IR_OP_add];
    ck_assert(add->role[0] == IR_ROLE_X && add->role[1] == IR_ROLE_R && add->role[2] == IR_ROLE_NONE && add->fw == IR_FLAGS && !add->fr);
    ck_assert(ir_rows[IR_OP_div].attr == (IR_IMPLICIT | IR_FAULT) && ir_rows[IR_OP_jmp].attr == IR_END);
}
END_TEST

START_TEST(defaults)
{
    ir_begin(&unit, 0x1234);
    ck_assert(unit.mode == 0x1234 && !unit.count && !unit.guests && !unit.temps && !unit.full && unit.flags_in == IR_FLAGS);
    ir_guest(&unit, NULL, 0x10, 0x13);
    ir_val t = ir_temp(&unit);
    ck_assert_uint_eq(t, IR_T);
    struct ir_ins *ins = ir_add(&unit, IR_OP_adc, 4, G(GPR_RAX), t);
    ck_assert(ins->op == IR_OP_adc && ins->size == 4 && ins->d == G(GPR_RAX) && ins->a == t && ins->gi == 0);
    ck_assert(ins->fdef == IR_FLAGS && ins->fuse == IR_C && ins->flive == IR_FLAGS && !ins->fexit && !ins->imm && !ins->p);
    ir_guest(&unit, NULL, 0x13, 0x20);
    ins = ir_add(&unit, IR_OP_jcc, 0, IR_NONE, IR_NONE);
    ck_assert(ins->gi == 1 && ins->fuse == IR_FLAGS && ins->fexit == IR_FLAGS);
    ck_assert(ir_set_cc(ins, CC_LE)->cc == CC_LE && ins->fuse == (IR_Z | IR_S | IR_O));
    ck_assert(ir_add(&unit, IR_OP_rol, 4, t, IR_IMM)->fuse == 0);
    ck_assert(ir_add(&unit, IR_OP_rol, 4, t, t)->fuse == (IR_O | IR_C));
    ck_assert(ir_add(&unit, IR_OP_shld, 4, t, t)->fuse == IR_FLAGS);
    ck_assert(ir_add(&unit, IR_OP_rcl, 4, t, IR_IMM)->fuse == IR_C);
    ck_assert(ir_add(&unit, IR_OP_rcl, 4, t, t)->fuse == (IR_O | IR_C));
    ins = ir_add(&unit, IR_OP_interp, 0, IR_NONE, IR_NONE);
    ck_assert(ins->fdef == 0 && ins->fuse == IR_FLAGS);
    ck_assert(unit.guests == 2 && unit.offset[0] == 0x10 && unit.offset[1] == 0x13 && unit.offset[2] == 0x20 && unit.count == 8);
}
END_TEST

START_TEST(full)
{
    ir_begin(&unit, 0);
    for (unsigned i = 0; i < IR_MAX_INS; i++)
        ck_assert(ir_add(&unit, IR_OP_clc, 0, IR_NONE, IR_NONE) == &unit.ins[i]);
    ck_assert(!unit.full);
    ck_assert(ir_add(&unit, IR_OP_clc, 0, IR_NONE, IR_NONE) && unit.full && unit.count == IR_MAX_INS);
    ir_begin(&unit, 0);
    for (unsigned i = 0; i < IR_MAX_TEMPS; i++)
        ck_assert_uint_eq(ir_temp(&unit), IR_T + i);
    ck_assert(!unit.full);
    ck_assert(ir_temp(&unit) < IR_T + IR_MAX_TEMPS && unit.full);
    ir_begin(&unit, 0);
    for (unsigned i = 0; i < IR_MAX_GUEST; i++)
        ir_guest(&unit, NULL, 0, 1);
    ck_assert(!unit.full);
    ir_guest(&unit, NULL, 0, 1);
    ck_assert(unit.full && unit.guests == IR_MAX_GUEST);
    ck_assert(!ir_check(&unit, err, sizeof err));
    ck_assert_str_eq(err, "the unit is full");
}
END_TEST

START_TEST(conditions)      /* a condition changes with the flags that ir_cc_flags names and with no others */
{
    struct vcpu *c = calloc(1, sizeof *c);
    for (unsigned cc = 0; cc < 16; cc++) {
        u16 seen = 0;
        for (unsigned n = 0; n < 2000; n++) {
            u32 flags = (u32)rnd() & IR_FLAGS, bit = 1u << pick(12) & IR_FLAGS;
            flags_set_status(c, flags);
            bool was = flags_condition(c, cc);
            flags_set_status(c, flags ^ bit);
            if (flags_condition(c, cc) != was)
                seen |= (u16)bit;
        }
        ck_assert_msg(seen == ir_cc_flags(cc), "condition %u: %x", cc, seen);
    }
    free(c);
}
END_TEST

/* --- text ------------------------------------------------------------------------------------------------------- */

static ir_val some_register(void)
{
    switch (pick(7)) {
    case 0: return (ir_val)(IR_H + pick(4));
    case 1: return (ir_val)(IR_V + pick(16));
    case 2: return (ir_val)(IR_MMX + pick(8));
    case 3: return (ir_val)(IR_ST + pick(8));
    case 4: case 5: return (ir_val)(IR_T + pick(IR_MAX_TEMPS));
    default: return G(pick(16));
    }
}
static s32 some_disp(void) { return pick(3) ? (s32)pick(64) - 32 : (s32)value(); }

/* Any operand, at most one immediate and one in memory, where the operation has no other use for their fields. */
static ir_val some_operand(struct ir_ins *ins, bool imm, bool mem)
{
    unsigned kind = pick(4);
    if (kind == 0 && imm && ins->d != IR_IMM && ins->a != IR_IMM && ins->b != IR_IMM) {
        ins->imm = (s64)value();
        return IR_IMM;
    }
    if (kind == 1 && mem && !ins->p) {
        ins->p = (ir_val)(IR_T + pick(IR_MAX_TEMPS));
        ins->disp = some_disp();
        return IR_MEM;
    }
    return some_register();
}

static bool one_of(unsigned op, const enum ir_op *list, unsigned n)
{
    while (n--)
        if (list[n] == op)
            return true;
    return false;
}
#define ONE_OF(op, ...) one_of(op, (const enum ir_op[]){ __VA_ARGS__ }, sizeof((enum ir_op[]){ __VA_ARGS__ }) / sizeof(enum ir_op))

/* An operation with everything that its text can say, whether it makes sense or not. */
static struct ir_ins some_ins(unsigned op)
{
    struct ir_ins ins = { .op = (u8)op, .size = (u8)(1u << pick(6)), .bits = (u8)pick(128) };
    const struct ir_row *row = &ir_rows[op];
    bool offset = ONE_OF(op, IR_OP_jcc, IR_OP_jz, IR_OP_jnz, IR_OP_jmp, IR_OP_call), address = ONE_OF(op, IR_OP_lea, IR_OP_ptr, IR_OP_code);
    bool imm = offset || ONE_OF(op, IR_OP_imul3, IR_OP_count, IR_OP_need), back = op == IR_OP_call || op == IR_OP_icall;
    ir_val *const v[4] = { &ins.d, &ins.a, &ins.b, &ins.c };
    for (unsigned i = 0; i < 4 && !address; i++)
        if (row->role[i] != IR_ROLE_NONE && (op != IR_OP_insn || pick(4)))
            *v[i] = op == IR_OP_get ? some_register() : some_operand(&ins, !imm, !back);
    if (address) {
        ins.d = some_register();
        ins.a = pick(3) ? some_register() : pick(2) ? IR_PC : IR_NONE;
        ins.b = pick(2) ? some_register() : IR_NONE;
        ins.scale = (u8)(ins.b ? pick(4) : 0);
        ins.disp = some_disp();
    }
    if (op == IR_OP_ptr) {
        ins.size2 = (u8)pick(6);
        ins.cc = (u8)pick(3);
        ins.addrsize = (u8)(2u << pick(3));
    }
    if (op == IR_OP_movzx || op == IR_OP_movsx)
        ins.size2 = (u8)(1u << pick(3));
    if (row->fr == IR_MASK_CC)
        ins.cc = (u8)pick(16);
    if (op == IR_OP_get || op == IR_OP_put)
        ins.row = (u16)pick(IR_FIELD_COUNT);
    if (op == IR_OP_insn) {
        ins.row = (u16)pick(insn_row_count);
        ins.bits = 0;
    }
    if (imm)
        ins.imm = op == IR_OP_need ? pick(6) : (s64)value();
    if (back)
        ins.disp = some_disp();
    ins.fdef = (u16)rnd() & IR_FLAGS;
    ins.fuse = (u16)rnd() & IR_FLAGS;
    ins.flive = (u16)rnd() & IR_FLAGS;
    ins.fexit = (u16)rnd() & IR_FLAGS;
    return ins;
}

START_TEST(round_trip)
{
    char text[256], again[256];
    for (unsigned n = 0; n < IR_OP_COUNT * 400; n++) {
        struct ir_ins ins = some_ins(n % IR_OP_COUNT);
        ck_assert(ir_print_ins(text, sizeof text, &ins, true) == text);
        parse(text);
        ck_assert_msg(unit.count == 1 && unit.guests == 1, "%s", text);
        ir_print_ins(again, sizeof again, &unit.ins[0], true);
        ck_assert_msg(!memcmp(&unit.ins[0], &ins, sizeof ins), "%s\n%s", text, again);
        /* without flags: those that ir_add sets */
        ir_print_ins(text, sizeof text, &ins, false);
        parse(text);
        ir_begin(&other, 0);
        struct ir_ins *added = ir_add(&other, (enum ir_op)ins.op, ins.size, ins.d, ins.a);
        if (ir_rows[ins.op].fr == IR_MASK_CC)
            ir_set_cc(added, ins.cc);
        ins.fdef = added->fdef;
        ins.fuse = added->fuse;
        ins.flive = added->flive;
        ins.fexit = added->fexit;
        ck_assert_msg(!memcmp(&unit.ins[0], &ins, sizeof ins), "%s", text);
    }
}
END_TEST

static struct { char text[1 << 17]; size_t n; } printed;
static void add_line(void *ctx, const char *text)
{
    printed.n += (size_t)snprintf(printed.text + printed.n, sizeof printed.text - printed.n, "%s\n", text);
    ck_assert_uint_lt(printed.n, sizeof printed.text);
}
static void print(const struct ir_unit *u)
{
    printed.n = 0;
    ir_print(u, add_line, NULL);
}

START_TEST(round_trip_units)
{
    for (unsigned n = 0; n < 60; n++) {
        ir_begin(&other, (u32)rnd());
        other.flags_in = (u16)rnd() & IR_FLAGS;
        unsigned guests = 1 + pick(IR_MAX_GUEST);
        for (unsigned g = 0; g < guests; g++) {
            s32 at = (s32)pick(8192) - 4096;
            ir_guest(&other, NULL, at, at + 3);
            for (unsigned i = pick(10); i > 0; i--) {
                struct ir_ins ins = some_ins(pick(IR_OP_COUNT));
                ins.gi = (u8)g;
                *ir_add(&other, IR_OP_clc, 0, 0, 0) = ins;
            }
        }
        other.temps = IR_MAX_TEMPS - 1 + (u16)pick(2);
        print(&other);
        parse(printed.text);
        bool last_temp = strstr(printed.text, "t511");
        ck_assert(unit.mode == other.mode && unit.guests == other.guests && unit.flags_in == other.flags_in);
        ck_assert_uint_eq(unit.temps, last_temp ? IR_MAX_TEMPS : other.temps);
        ck_assert_uint_eq(unit.count, other.count);
        ck_assert(!memcmp(unit.ins, other.ins, sizeof unit.ins[0] * unit.count));
        ck_assert(!memcmp(unit.offset, other.offset, sizeof unit.offset[0] * (guests + 1u)));
    }
}
END_TEST

START_TEST(text_as_documented)
{
    static const char *const lines[] = {
        "add.8 rax, [t1+16] lock {f OSZAPC, use C, live ZC}", "ptr.8 t1 = ds:[rbx+rcx*4-8] write align {}",
        "ptr.2 t0 = ss:[rsp-2] addr2 tlb {live OSZAPC}", "ptr.4 t0 = gs:[0x12345] rw addr4 {}", "ptr.4 t0 = es:[0] {}",
        "ptr.16 t2 = fs:[rax*8] {}", "movzx.8.1 rax, ah {}", "cmov.4:ne rcx, [t0] {use Z}", "lea.8 t2 = [pc+0x1234] {}",
        "get.8 t3 = fs_base {}", "put.4 eflags, t4 {}", "jcc:e 0x40 poll likely {use Z, live O, exit C}", "icall.8 t5 return 0x1f {}",
        "call 0x100 return -0x1 poll {}", "jz.4 rcx, -0x10 {}", "mov.8 r15, -0x8000000000000000 {}", "imul3.4 r9, r10, -7 {}",
        "need x87 {}", "count 12 {}", "interp {f C}", "mul.1 bh {}", "shld.2 [t511], dx, cl {}",
    };
    char text[200];
    for (unsigned i = 0; i + 1 < ARRAY_LEN(lines); i++) {
        parse(lines[i]);
        ck_assert_str_eq(ir_print_ins(text, sizeof text, &unit.ins[0], true), lines[i]);
    }
    ck_assert(!ir_parse(&unit, lines[ARRAY_LEN(lines) - 1], err, sizeof err));      /* registers have their 64-bit names */
    unsigned row = 0;
    while (strcmp(insn_rows[row].name, "pshufd"))
        row++;
    snprintf(text, sizeof text, "insn.16 pshufd#%u xmm0, xmm15, 27", row);
    parse(text);
    ck_assert(unit.ins[0].row == row && unit.ins[0].d == IR_V && unit.ins[0].a == IR_V + 15 && unit.ins[0].b == IR_IMM && unit.ins[0].imm == 27);
    parse("; nothing\n\nunit 0x7 flags ZC temps 9\nguest 0x10 ; nop\n  clc\nguest 0x20\r\n\tstep ; behind\nend 0x21\n");
    ck_assert(unit.mode == 7 && unit.flags_in == (IR_Z | IR_C) && unit.temps == 9 && unit.guests == 2 && unit.count == 2);
    ck_assert(unit.ins[0].gi == 0 && unit.ins[1].gi == 1 && unit.offset[0] == 16 && unit.offset[1] == 32 && unit.offset[2] == 33);
    print(&unit);
    ck_assert_str_eq(printed.text, "unit 0x7 flags ZC temps 9\nguest 0x10\n    clc {f C, live OSZAPC}\nguest 0x20\n"
                                   "    step {use OSZAPC, live OSZAPC}\nend 0x21\n");
    struct ir_ins bad = { .op = IR_OP_COUNT };
    ck_assert_int_eq(*ir_print_ins(text, sizeof text, &bad, true), 0x3f);
    ck_assert_str_eq(ir_print_ins(text, 6, &unit.ins[0], true), "clc {");
}
END_TEST

START_TEST(guests_as_comments)
{
    struct insn in;
    static const u8 nop[] = { 0x48, 0x01, 0xd8 };
    ck_assert_int_eq(insn_decode(&in, nop, sizeof nop, 8, NULL), DECODE_OK);
    ir_begin(&unit, 2);
    ir_guest(&unit, &in, 0x10, 0x13);
    ir_add(&unit, IR_OP_step, 0, IR_NONE, IR_NONE);
    print(&unit);
    ck_assert_ptr_nonnull(strstr(printed.text, "guest 0x10    ; add rax, rbx\n"));
    ck_assert(ir_parse(&other, printed.text, err, sizeof err) && other.count == 1);
}
END_TEST

START_TEST(parse_errors)
{
    static const struct { const char *text, *error; } cases[] = {
        { "frob.8 rax", "line 1: no such operation" },
        { "clc\nadd.8 rax", "line 2: , is missing" },
        { "add.8 rax, ", "line 1: a number is missing" },
        { "add.8 rax, rbx, rcx", "line 1: something is left over at the end of the line" },
        { "add.256 rax, rbx", "line 1: number out of range" },
        { "movzx.8 rax, rbx", "line 1: the source's size is missing" },
        { "jcc 0x10", "line 1: a condition is missing" },
        { "jcc:xx 0x10", "line 1: no such condition" },
        { "mov.8 rax, 0x10000000000000000", "line 1: number too large" },
        { "mov.8 rax, t512", "line 1: number out of range" },
        { "mov.8 rax, [t1+t2*4]", "line 1: an operand in memory has no index" },
        { "mov.8 rax, [t1", "line 1: ] is missing" },
        { "lea.8 rax, [rbx]", "line 1: = is missing" },
        { "lea.8 rax = [rbx*3]", "line 1: scale is not 1, 2, 4 or 8" },
        { "lea.8 rax = rbx", "line 1: [ is missing" },
        { "lea.8 5 = [rbx]", "line 1: a register is missing" },
        { "ptr.8 t1 = [rbx]", "line 1: a segment is missing" },
        { "ptr.8 t1 = ds [rbx]", "line 1: : is missing" },
        { "get.8 t1 = bogus", "line 1: no such field" },
        { "call 0x10", "line 1: `return` is missing" },
        { "insn.8 nop rax", "line 1: # and the row's number are missing" },
        { "insn.8 bogus#1 rax", "line 1: that row has another name" },
        { "clc {g C}", "line 1: f, use, live or exit is missing" },
        { "clc {f Q}", "line 1: no such flag" },
        { "clc {f C", "line 1: } is missing" },
    };
    char small[8];
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_msg(!ir_parse(&unit, cases[i].text, err, sizeof err), "%s", cases[i].text);
        ck_assert_str_eq(err, cases[i].error);
    }
    ck_assert(!ir_parse(&unit, "x", small, sizeof small) && !strcmp(small, "line 1:"));
    static char many[(IR_MAX_INS + 2) * 4], longer[600];
    for (unsigned i = 0; i <= IR_MAX_INS; i++)
        memcpy(many + i * 4, "clc\n", 4);
    ck_assert(!ir_parse(&unit, many, err, sizeof err));
    ck_assert_str_eq(err, "line 641: too many operations");
    memset(longer, ' ', sizeof longer - 1);
    memcpy(longer + 500, "clc", 3);
    ck_assert(!ir_parse(&unit, longer, err, sizeof err));
    ck_assert_str_eq(err, "line 1: line too long");
}
END_TEST

START_TEST(parse_noise)     /* any text is read or refused, in bounds */
{
    char text[256];
    static const char letters[] = "abcdlmoprstx0123456789.,:;[]{}+-*=#_ \nOSZ";
    for (unsigned n = 0; n < 40000; n++) {
        struct ir_ins ins = some_ins(pick(IR_OP_COUNT));
        ir_print_ins(text, sizeof text, &ins, true);
        size_t len = strlen(text);
        for (unsigned i = 1 + pick(3); i > 0; i--)
            text[pick((unsigned)len)] = letters[pick(sizeof letters - 1)];
        if (pick(4) == 0)
            text[pick((unsigned)len)] = 0;
        if (ir_parse(&unit, text, err, sizeof err))
            ir_check(&unit, err, sizeof err);
    }
}
END_TEST

/* --- the verifier ----------------------------------------------------------------------------------------------- */

#define AREA "ptr.32 t0 = ds:[rbx] rw\n"
/* Every operation at least once, in units that are right. */
static const char *const good[] = {
    "mov.8 rax, 0x123456789abcdef\nmov.4 rbx, 0xffffffff\nmov.4 rbx, -1\nmov.1 ah, 255\nmov.1 ah, bh\nstep",
    AREA "mov.8 [t0+24], rax\nmov.1 [t0+31], ch\nmov.8 t1, [t0]\nadd.8 t1, 5\nmov.8 rcx, t1\njmp 0x1000 poll",
    AREA "movzx.8.4 rax, rbx\nmovzx.4.1 rcx, [t0+31]\nmovsx.2.1 t1, dh\nlea.8 t2 = [t1+rax*8-4]\nlea.2 rax = [pc+4]\nlea.4 rsi = [5]\nstep",
    "guest 0\ncode.16 t0 = [0x10]\nsame.8 [t0], 0x123456789abcdef\nsame.1 [t0+15], 255\nmovsx.8.1 rax, [t0+8]\nguest 1\nptr.8 t1 = ds:[rbx] write apart\nmov.8 [t1], rax\nstep",
    AREA "xchg.8 rax, [t0] lock\nxchg.1 [t0], ah\nxchg.2 rax, rbx\nbswap.8 rax\nbswap.4 rcx\nstep",
    "cmov.8:g rax, rbx\nsetcc.1:p ah\ncdq.2\ncdq.8\nget.8 t0 = ds_base\nget.4 rax = fs_base\nput.2 x87_cw, 0x37f\nput.8 gs_base, t0\nstep",
    AREA "add.8 [t0], -0x80000000\nor.1 [t0+1], 255 lock\nadc.2 rax, 0xffff\nsbb.4 rax, [t0+28]\nand.8 rax, rbx\nsub.8 rax, 1\n"
         "xor.8 rax, rax\ncmp.1 [t0], ah\ntest.8 rax, 1\ninc.8 [t0] lock\ndec.1 ah\nneg.2 rax\nnot.8 [t0] lock\nxadd.8 [t0], rax lock\n"
         "cmpxchg.8 [t0], rbx lock\nimul.8 rax, [t0]\nimul3.2 rax, [t0], -5\nmul.1 ah\nimul1.8 [t0]\nstep",
    "div.1 bh\nstep", "idiv.8 rbx\nicall.8 rax return 0x10 poll",
    AREA "shl.1 [t0], 31\nshr.8 rax, 63\nsar.8 rax, rcx\nrol.2 rax, ch\nror.1 ah, 1\nrcl.4 rax, rcx\nrcr.8 [t0], 5\nshld.2 [t0], rax, 17\nshrd.8 rax, rbx, rcx\nstep",
    AREA "bt.8 rax, 255\nbts.2 [t0], rax lock\nbtr.4 rax, rbx\nbtc.8 [t0], 3 lock\nbsf.8 rax, [t0]\nbsr.2 rax, rbx\nstep",
    "getfl.1 ah {use SZAPC, live OSZAPC}\ngetfl.4 t0\nputfl.1 ah {f SZAPC, live OSZAPC}\nputfl.4 t0\nclc\nstc\ncmc\nstep",
    "need sse\nneed mmx\nguard.1 ah\nguard.8 rdi\nstep", "count 3\ninterp {f C, use C, live OSZAPC}\njcc:a 0x10 poll likely\njz.2 rcx, -0x20 likely\njnz.8 rcx, 0x5\nijmp.8 rax poll",
    AREA "again.32 t1, [t0]\nmov.8 rax, [t1+24]\nmov.8 [t1], rax\nagain.32 t2, [t0]\nadd.4 [t2+28], 1\nstep",
    "call 0x20 return 0x5 poll", "ret.8 rdi", "ijmp.2 rdi",
    /* flags: from before the unit, from an operation; a count of 0 where nothing is live */
    "unit 0 flags C\nadc.8 rax, 1\njcc:e 4\nstep", "unit 0\nshl.8 rax, rcx {f OSZAPC}\nstep {}",
    "guest 0\nptr.1 t0 = ds:[rax]\nmov.1 rax, [t0]\nguest 1\nptr.1 t1 = ds:[rax]\nmov.1 rax, [t0]\nstep",
};

START_TEST(verifier_accepts)
{
    bool seen[IR_OP_COUNT] = { [IR_OP_insn] = true };
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        parse(good[i]);
        ck_assert_msg(ir_check(&unit, err, sizeof err), "%s\n%s", err, good[i]);
        for (unsigned k = 0; k < unit.count; k++)
            seen[unit.ins[k].op] = true;
    }
    for (unsigned op = 0; op < IR_OP_COUNT; op++)
        ck_assert_msg(seen[op], "no unit has %s", ir_rows[op].name);
}
END_TEST

static const struct { const char *text, *what; } wrong[] = {
    /* sizes */
    { "mov.3 rax, rbx\nstep", "the size cannot be 3" },
    { "mov.16 rax, rbx\nstep", "the size cannot be 16" },
    { "mov rax, rbx\nstep", "the size cannot be 0" },
    { "bswap.2 rax\nstep", "the size cannot be 2" },
    { "cmov.1:e rax, rbx\nstep", "the size cannot be 1" },
    { "setcc.4:e rax\nstep", "the size cannot be 4" },
    { "movzx.4.4 rax, rbx\nstep", "the source's size cannot be 4" },
    { "movsx.4.3 rax, rbx\nstep", "the source's size cannot be 3" },
    { "ptr t0 = ds:[rax]\nstep", "a ptr to nothing" },
    { "get.8 rax = es_sel\nstep", "the field has 2 bytes" },
    { "put.2 mxcsr, rax\nstep", "the field has 4 bytes" },
    /* kinds */
    { "mov.8 rax, _\nstep", "operand a is of the wrong kind" },
    { "mov.8 5, rax\nstep", "operand d is of the wrong kind" },
    { "mov.8 xmm0, rax\nstep", "operand d is of the wrong kind" },
    { "add.8 rax, st0\nstep", "operand a is of the wrong kind" },
    { "add.8 rax, mm1\nstep", "operand a is of the wrong kind" },
    { "add.8 rax, pc\nstep", "operand a is of the wrong kind" },
    { "lea.8 rax = [ah]\nstep", "operand a is of the wrong kind" },
    { "lea.8 rax = [rbx+pc*1]\nstep", "operand b is of the wrong kind" },
    { "ptr.8 rax = ds:[rbx]\nstep", "operand d is of the wrong kind" },
    { AREA "lea.8 [t0] = [rax]\nstep", "line" },
    { AREA "imul.8 [t0], rax\nstep", "operand d is of the wrong kind" },
    { AREA "shl.8 rax, [t0]\nstep", "operand a is of the wrong kind" },
    { AREA "ijmp.8 [t0]\nstep", "operand a is of the wrong kind" },
    { "shld.8 rax, 5, rcx\nstep", "operand a is of the wrong kind" },
    { "jz.8 5, 0x10\nstep", "operand a is of the wrong kind" },
    { "add.4 rax, ah\nstep", "operand a is a byte register" },
    { "movzx.4.2 rax, ah\nstep", "operand a is a byte register" },
    { "shl.2 ah, 1\nstep", "operand d is a byte register" },
    /* memory */
    { "mov.8 rax, [_]\nstep", "a memory operand without an address" },
    { "mov.8 rax, [rbx]\nstep", "a memory operand without an address" },
    { "unit 0 flags C temps 1\nmov.8 rax, [t0]\nstep", "t0 is no address: no ptr has defined it" },
    { "mov.8 t0, rbx\nmov.8 rax, [t0]\nstep", "t0 is no address: no ptr has defined it" },
    { AREA "mov.8 rax, [t0+25]\nstep", "the access is outside of the 32 bytes that t0 stands for" },
    { AREA "mov.8 rax, [t0-1]\nstep", "the access is outside of the 32 bytes that t0 stands for" },
    { AREA "movzx.8.2 rax, [t0+31]\nstep", "the access is outside of the 32 bytes that t0 stands for" },
    { "ptr.8 t0 = ds:[rbx]\nmov.8 [t0], rax\nstep", "t0 is for reading only" },
    { "code.8 t0 = [0x10]\nmov.8 [t0], rax\nstep", "t0 is for reading only" },
    { "code.8 t0 = [0x10]\nsame.8 [t0+1], 5\nstep", "the access is outside of the 8 bytes that t0 stands for" },
    { "ptr.8 t0 = ds:[rbx]\nxchg.8 rax, [t0]\nstep", "t0 is for reading only" },
    { AREA "mov.8 [t0], [t0]\nstep", "two operands in memory" },
    { AREA "guest 1\ninterp\nguest 2\nmov.8 rax, [t0]\nstep", "the address t0 is used behind an interp" },
    { AREA "again.32 t1, [t0]\nmov.8 rax, [t1+25]\nstep", "the access is outside of the 32 bytes that t1 stands for" },
    { AREA "again.16 t1, [t0]\nstep", "t0 is not all that a ptr has defined" },
    { AREA "again.16 t1, [t0+16]\nstep", "t0 is not all that a ptr has defined" },
    { AREA "again.32 t1, [t0]\nagain.32 t2, [t1]\nstep", "t1 is not all that a ptr has defined" },
    { "ptr.8 t0 = ds:[rbx]\nagain.8 t1, [t0]\nmov.8 [t1], rax\nstep", "t1 is for reading only" },
    { AREA "guest 1\ninterp\nguest 2\nagain.32 t1, [t0]\nstep", "the address t0 is used behind an interp" },
    /* temporaries */
    { "mov.8 rax, t0\nstep", "t0 is not defined yet" },
    { "add.8 t0, rax\nstep", "t0 is not defined yet" },
    { "mov.8 t0, rax\nmov.8 t0, rbx\nstep", "t0 is defined a second time" },
    { AREA "ptr.32 t0 = ds:[rbx]\nstep", "t0 is defined a second time" },
    { AREA "mov.8 rax, t0\nstep", "t0 is a host address: it can only be one" },
    { AREA "add.8 t0, 8\nstep", "t0 is a host address: it can only be one" },
    { AREA "lea.8 rax = [t0+8]\nstep", "t0 is a host address: it can only be one" },
    /* immediates */
    { "add.8 rax, 0x80000000\nstep", "the immediate does not fit" },
    { "add.1 rax, 256\nstep", "the immediate does not fit" },
    { "add.1 rax, -129\nstep", "the immediate does not fit" },
    { "mov.4 rax, 0x100000000\nstep", "the immediate does not fit" },
    { "imul3.2 rax, rbx, 0x10000\nstep", "the immediate does not fit" },
    { "shl.4 rax, 32\nstep", "an immediate shift count is masked and not 0" },
    { "shl.8 rax, 0\nstep", "an immediate shift count is masked and not 0" },
    { "shrd.8 rax, rbx, 64\nstep", "an immediate shift count is masked and not 0" },
    { "jmp 0x80000000", "the offset does not fit in 32 bits" },
    { "need 4\nstep", "there is no such kind of state" },
    { "count -1\nstep", "the count is out of range" },
    /* words */
    { "mov.8 rax, rbx lock\nstep", "a word that does not belong to the operation" },
    { "add.8 rax, rbx likely\nstep", "a word that does not belong to the operation" },
    { "jmp 0x10 likely", "a word that does not belong to the operation" },
    { "add.8 rax, rbx lock\nstep", "lock without an operand in memory" },
    { "ptr.10 t0 = ds:[rax] align\nstep", "only a power of two can be aligned to" },
    /* flags */
    { "mov.8 rax, rbx {f C}\nstep", "it defines flags that it cannot" },
    { "inc.8 rax {f C}\nstep", "it defines flags that it cannot" },
    { "putfl.1 rax {f O}\nstep", "OF is not in a byte" },
    { "jcc:e 0x10 {use C, live OSZAPC}\nstep", "it reads flags that it does not say" },
    { "adc.8 rax, 1 {f OSZAPC, live OSZAPC}\nstep", "it reads flags that it does not say" },
    { "shl.8 rax, rcx {f OSZAPC, live OSZAPC}\nstep", "it reads flags that it does not say" },
    { "unit 0 flags Z\nadc.8 rax, 1\nstep", "it reads flags that are not defined" },
    { "unit 0\ncmp.8 rax, rbx {f OSZAPC, live Z}\njcc:b 0x10\nstep", "it reads flags that are not defined" },
    { "cmp.8 rax, rbx {f Z, live Z}\nmov.8 rax, 1 {}\njcc:e 0x10\nstep", "it reads flags that are not defined" },
    /* order */
    { "mov.8 rax, rbx", "the unit does not end" },
    { "jmp 0x10\nstep", "more operations follow the end" },
    { "step\nmov.8 rax, rbx", "more operations follow the end" },
    { "mov.8 rax, rbx\nptr.8 t0 = ds:[rax]\nstep", "it may leave after its guest instruction has changed something" },
    { AREA "mov.1 [t0], 1\nguard.8 rax\nstep", "it may leave after its guest instruction has changed something" },
    { "cmp.8 rax, rbx\ndiv.8 rbx\nstep", "it may leave after its guest instruction has changed something" },
    { "cdq.8\nidiv.8 rbx\nstep", "it may leave after its guest instruction has changed something" },
    { "div.8 rbx\nneed sse\nstep", "it may leave after its guest instruction has changed something" },
    { "put.4 mxcsr, 5\ninterp\nstep", "it may leave after its guest instruction has changed something" },
    { "", "the unit is empty" },
};

START_TEST(verifier_refuses)
{
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
        if (!ir_parse(&unit, wrong[i].text, err, sizeof err)) {
            ck_assert_msg(!strcmp(wrong[i].what, "line"), "%s\n%s", err, wrong[i].text);
            continue;
        }
        ck_assert_msg(!ir_check(&unit, err, sizeof err), "accepted:\n%s", wrong[i].text);
        const char *what = strrchr(err, ':');
        ck_assert_msg(strstr(err, wrong[i].what) != NULL, "%s instead of: %s\n%s", err, wrong[i].what, wrong[i].text);
        ck_assert_msg(unit.count == 0 || what != NULL, "%s", err);
    }
}
END_TEST

/* What text cannot say. */
static void refuse(const char *text, const char *what, unsigned at, void (*change)(struct ir_ins *ins))
{
    parse(text);
    change(&unit.ins[at]);
    ck_assert_msg(!ir_check(&unit, err, sizeof err), "accepted: %s", what);
    ck_assert_msg(strstr(err, what) != NULL, "%s instead of: %s", err, what);
}
static void bad_op(struct ir_ins *ins) { ins->op = IR_OP_COUNT; }
static void bad_scale(struct ir_ins *ins) { ins->scale = 4; }
static void bad_segment(struct ir_ins *ins) { ins->size2 = 6; }
static void bad_access(struct ir_ins *ins) { ins->cc = 3; }
static void bad_addrsize(struct ir_ins *ins) { ins->addrsize = 1; }
static void bad_cc(struct ir_ins *ins) { ins->cc = 16; ins->fuse = IR_FLAGS; }
static void bad_row(struct ir_ins *ins) { ins->row = 0xffff; }
static void bad_gi(struct ir_ins *ins) { ins->gi = 1; }
static void back_to_0(struct ir_ins *ins) { ins->gi = 0; }
static void bad_value(struct ir_ins *ins) { ins->a = 60; }
static void bad_temp(struct ir_ins *ins) { ins->a = IR_T + IR_MAX_TEMPS; }
static void bad_mask(struct ir_ins *ins) { ins->flive |= 1 << 9; }
static void bad_exit(struct ir_ins *ins) { ins->fexit = 2; }
static void extra_c(struct ir_ins *ins) { ins->c = G(0); }
static void two_immediates(struct ir_ins *ins) { ins->d = IR_IMM; }
static void as_insn(struct ir_ins *ins) { ins->op = IR_OP_insn; ins->row = 0; ins->fuse = ins->fdef = 0; }
static void large_insn(struct ir_ins *ins) { as_insn(ins); ins->size = 33; }
static void empty_insn(struct ir_ins *ins) { as_insn(ins); ins->size = 0; }

START_TEST(verifier_refuses_fields)
{
    refuse("step", "there is no such operation", 0, bad_op);
    refuse("lea.8 rax = [rbx]\nstep", "scale is 0..3", 0, bad_scale);
    refuse("ptr.8 t0 = ds:[rbx]\nstep", "no such segment or access", 0, bad_segment);
    refuse("ptr.8 t0 = ds:[rbx]\nstep", "no such segment or access", 0, bad_access);
    refuse("ptr.8 t0 = ds:[rbx]\nstep", "the address size is 2, 4 or 8", 0, bad_addrsize);
    refuse("jcc:e 0x10\nstep", "there is no such condition", 0, bad_cc);
    refuse("get.8 rax = ds_base\nstep", "there is no field 65535", 0, bad_row);
    refuse("step", "there is no guest instruction 1", 0, bad_gi);
    refuse("guest 0\nclc\nguest 1\nclc\nstep", "it goes back to guest instruction 0", 2, back_to_0);
    refuse("mov.8 rax, rbx\nstep", "operand a is of the wrong kind", 0, bad_value);
    refuse("mov.8 rax, rbx\nstep", "t512 is beyond the unit's 0 temporaries", 0, bad_temp);
    refuse("clc\nstep", "masks hold status flags only", 0, bad_mask);
    refuse("jcc:e 4\nstep", "masks hold status flags only", 0, bad_exit);
    refuse("clc\nstep", "operand c is of the wrong kind", 0, extra_c);
    refuse("add.8 rax, 5\nstep", "two immediates", 0, two_immediates);
    refuse("add.8 rax, rbx\nstep", "the size is not 1..32", 0, large_insn);
    refuse("add.8 rax, rbx\nstep", "the size is not 1..32", 0, empty_insn);
    refuse("add.8 t0, rbx\nadd.8 rcx, t0\nstep", "t0 is not defined yet", 1, as_insn);
    parse("step");
    unit.flags_in = 2;
    ck_assert(!ir_check(&unit, err, sizeof err));
    ck_assert_str_eq(err, "masks hold status flags only");
    /* an insn may define a temporary, and have no operands at all */
    parse("add.8 t0, rbx\nmov.8 rax, t0\nclc\nstep");
    as_insn(&unit.ins[0]);
    as_insn(&unit.ins[2]);
    check();
    /* a flag that the guest instruction left undefined may be read */
    static const u8 imul[] = { 0x0f, 0xaf, 0xc3 };
    struct insn in;
    ck_assert_int_eq(insn_decode(&in, imul, sizeof imul, 8, NULL), DECODE_OK);
    parse("imul.4 rax, rbx {f OC, live OC}\nguest 3\njcc:e 0x10\nstep");
    ck_assert(!ir_check(&unit, err, sizeof err));
    unit.guest[0] = &in;
    check();
}
END_TEST

/* --- the evaluator ---------------------------------------------------------------------------------------------- */

enum { PC = 0x400000 };
static struct guest *guest;
static struct vcpu *cpu;

static void setup(void)
{
    guest = guest_new();
    cpu = guest->cpu;
    cpu->jit.pc = PC;
}
static void teardown(void) { guest_free(guest); }

struct state { u64 gpr[16]; u32 flags; u8 data[64]; };
static struct state save(void)
{
    struct state s = { .flags = flags_status(cpu) };
    memcpy(s.gpr, cpu->gpr, sizeof s.gpr);
    memcpy(s.data, guest->data, sizeof s.data);
    return s;
}
static void restore(const struct state *s)
{
    memcpy(cpu->gpr, s->gpr, sizeof s->gpr);
    memcpy(guest->data, s->data, sizeof s->data);
    flags_set_status(cpu, s->flags);
}
static struct state random_state(void)
{
    struct state s = { .flags = (u32)rnd() & IR_FLAGS };
    bool equal = pick(5) == 0, short_dividend = pick(2);
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = equal && i ? s.gpr[0] : value();
    if (short_dividend)
        s.gpr[GPR_RDX] = pick(3) ? 0 : ~(u64)0;
    for (unsigned i = 0; i < sizeof s.data; i += 8) {
        u64 v = equal ? s.gpr[0] : value();
        memcpy(s.data + i, &v, 8);
    }
    return s;
}

/* Kinds of operands that an operation is tried with. */
enum { TR = 1 /* register */, TM = 2 /* memory */, TI = 4 /* immediate */, TC = 8 /* count: immediate or CL */, TG = 16 /* not AH.. */ };
static const struct versus { enum ir_op op; interp_fn *run; u8 sizes, d, a, b; bool carries_on; } versus[] = {
    { IR_OP_mov, in_mov, 15, TR | TM, TR | TM | TI, 0, true }, { IR_OP_movzx, in_movzx, 14, TR | TG, TR | TM, 0, true },
    { IR_OP_movsx, in_movsx, 14, TR | TG, TR | TM, 0, true }, { IR_OP_xchg, in_xchg, 15, TR | TM, TR, 0, false },
    { IR_OP_bswap, in_bswap, 12, TR | TG, 0, 0, true }, { IR_OP_cmov, in_cmovcc, 14, TR | TG, TR | TM, 0, true },
    { IR_OP_setcc, in_setcc, 1, TR | TM, 0, 0, true },
    { IR_OP_add, in_add, 15, TR | TM, TR | TM | TI, 0, true }, { IR_OP_or, in_or, 15, TR | TM, TR | TM | TI, 0, true },
    { IR_OP_adc, in_adc, 15, TR | TM, TR | TM | TI, 0, true }, { IR_OP_sbb, in_sbb, 15, TR | TM, TR | TM | TI, 0, true },
    { IR_OP_and, in_and, 15, TR | TM, TR | TM | TI, 0, true }, { IR_OP_sub, in_sub, 15, TR | TM, TR | TM | TI, 0, true },
    { IR_OP_xor, in_xor, 15, TR | TM, TR | TM | TI, 0, true }, { IR_OP_cmp, in_cmp, 15, TR | TM, TR | TM | TI, 0, true },
    { IR_OP_test, in_test, 15, TR | TM, TR | TM | TI, 0, true },
    { IR_OP_inc, in_inc, 15, TR | TM, 0, 0, true }, { IR_OP_dec, in_dec, 15, TR | TM, 0, 0, true },
    { IR_OP_neg, in_neg, 15, TR | TM, 0, 0, true }, { IR_OP_not, in_not, 15, TR | TM, 0, 0, true },
    { IR_OP_xadd, in_xadd, 15, TR | TM, TR, 0, false }, { IR_OP_cmpxchg, in_cmpxchg, 15, TR | TM, TR, 0, false },
    { IR_OP_imul, in_imul, 14, TR | TG, TR | TM, 0, true }, { IR_OP_imul3, in_imul, 14, TR | TG, TR | TM, TI, true },
    { IR_OP_mul, in_mul, 15, 0, TR | TM, 0, true }, { IR_OP_imul1, in_imul, 15, 0, TR | TM, 0, true },
    { IR_OP_div, in_div, 15, 0, TR | TM, 0, true }, { IR_OP_idiv, in_idiv, 15, 0, TR | TM, 0, true },
    { IR_OP_cdq, in_cwd, 2, 0, 0, 0, true }, { IR_OP_cdq, in_cdq, 4, 0, 0, 0, true }, { IR_OP_cdq, in_cqo, 8, 0, 0, 0, true },
    { IR_OP_shl, in_shl, 15, TR | TM, TC, 0, true }, { IR_OP_shr, in_shr, 15, TR | TM, TC, 0, true },
    { IR_OP_sar, in_sar, 15, TR | TM, TC, 0, true }, { IR_OP_rol, in_rol, 15, TR | TM, TC, 0, true },
    { IR_OP_ror, in_ror, 15, TR | TM, TC, 0, true }, { IR_OP_rcl, in_rcl, 15, TR | TM, TC, 0, true },
    { IR_OP_rcr, in_rcr, 15, TR | TM, TC, 0, true },
    { IR_OP_shld, in_shld, 14, TR | TM | TG, TR | TG, TC, true }, { IR_OP_shrd, in_shrd, 14, TR | TM | TG, TR | TG, TC, true },
    { IR_OP_bt, in_bt, 14, TR | TM | TG, TR | TI | TG, 0, true }, { IR_OP_bts, in_bts, 14, TR | TM | TG, TR | TI | TG, 0, true },
    { IR_OP_btr, in_btr, 14, TR | TM | TG, TR | TI | TG, 0, true }, { IR_OP_btc, in_btc, 14, TR | TM | TG, TR | TI | TG, 0, true },
    { IR_OP_bsf, in_bsf, 14, TR | TG, TR | TM, 0, false }, { IR_OP_bsr, in_bsr, 14, TR | TG, TR | TM, 0, false },
    { IR_OP_clc, in_clc, 1, 0, 0, 0, true }, { IR_OP_stc, in_stc, 1, 0, 0, 0, true }, { IR_OP_cmc, in_cmc, 1, 0, 0, 0, true },
};

static bool is_extension(unsigned op) { return op == IR_OP_movzx || op == IR_OP_movsx; }

/* Chooses an operand: fills that of the instruction, returns that of the operation. */
static ir_val choose(struct insn *in, unsigned i, unsigned kinds, unsigned size, bool memory_used, struct ir_ins *ins)
{
    struct operand *o = &in->op[i];
    unsigned kind;
    if (kinds & TC) {
        unsigned count = 1 + pick(ins->size == 8 ? 63 : 31);
        *o = pick(2) ? (struct operand){ OP_IMM, 0, 1 } : (struct operand){ OP_GPR, GPR_RCX, 1 };
        in->imm = count;
        ins->imm = o->kind == OP_IMM ? count : 0;
        return o->kind == OP_IMM ? IR_IMM : G(GPR_RCX);
    }
    do
        kind = 1u << pick(3);
    while (!(kinds & kind) || (kind == TM && memory_used));
    if (kind == TI) {
        u64 v = size == 8 ? (u64)(s64)(s32)value() : flags_sign_extend(size, value());
        *o = (struct operand){ OP_IMM, 0, (u8)size };
        in->imm = v;
        ins->imm = pick(2) && size < 8 ? (s64)flags_truncate(size, v) : (s64)v;
        return IR_IMM;
    }
    if (kind == TM) {
        u32 at = pick(64 - size);
        *o = (struct operand){ OP_MEM, 0, (u8)size };
        in->disp = GUEST_DATA + at;
        ins->p = IR_T;
        ins->disp = (s32)at;
        return IR_MEM;
    }
    bool high = size == 1 && !(kinds & TG) && pick(3) == 0;
    *o = (struct operand){ high ? OP_GPRH : OP_GPR, (u8)pick(high ? 4 : 16), (u8)size };
    return high ? (ir_val)(IR_H + o->reg) : G(o->reg);
}

static void add_ptr(void)
{
    struct ir_ins *ptr = ir_add(&unit, IR_OP_ptr, 64, ir_temp(&unit), IR_NONE);
    ptr->disp = GUEST_DATA;
    ptr->size2 = SEG_DS;
    ptr->cc = IR_RW;
    ptr->addrsize = 8;
}

static ir_val copy_to_temp(ir_val v, unsigned size)
{
    ir_val t = ir_temp(&unit);
    ir_add(&unit, IR_OP_mov, size, t, v);
    return t;
}

/* One instruction and the operation that ought to do the same, perhaps with temporaries in place of registers. */
static struct ir_ins make_pair(const struct versus *v, struct insn *in)
{
    unsigned size;
    do
        size = 1u << pick(4);
    while (!(v->sizes & size));
    struct ir_ins ins = { .op = (u8)v->op, .size = (u8)size, .cc = (u8)pick(16), .flive = IR_FLAGS, .fuse = IR_FLAGS };
    unsigned a_size = size, i = 0;
    if (is_extension(v->op)) {
        do
            a_size = 1u << pick(v->op == IR_OP_movzx ? 2 : 3);
        while (a_size >= size);
        ins.size2 = (u8)a_size;
    }
    *in = (struct insn){ .mode = 8, .opsize = (u8)size, .addrsize = 8, .seg = SEG_DS, .base = GPR_NONE, .index = GPR_NONE };
    in->imm2 = ins.cc;
    if (v->d)
        ins.d = choose(in, i++, v->d, size, false, &ins);
    bool reaches_far = v->op >= IR_OP_bt && v->op <= IR_OP_btc && ins.d == IR_MEM;      /* the interpreter's; not the IR's */
    if (v->a)
        ins.a = choose(in, i++, reaches_far ? TI : v->a, a_size, ins.d == IR_MEM, &ins);
    if (v->b)
        ins.b = choose(in, i++, v->b, size, true, &ins);
    if (v->op == IR_OP_imul3)
        ins.b = IR_NONE;
    ins.fdef = (u16)(pick(3) ? IR_FLAGS : rnd() & IR_FLAGS) & ir_rows[v->op].fw;
    return ins;
}

static void build(const struct versus *v, struct ir_ins ins)
{
    ir_begin(&unit, 2);
    ir_guest(&unit, NULL, 0x10, 0x14);
    add_ptr();
    ir_val d = ins.d;
    bool temp_d = v->carries_on && ir_is_gpr(d) && pick(3) == 0;
    if (v->carries_on && ins.a && ins.a != IR_IMM && pick(3) == 0) {
        unsigned size = is_extension(ins.op) ? ins.size2 : ins.op >= IR_OP_shl && ins.op <= IR_OP_rcr ? 1 : ins.size;
        ins.a = copy_to_temp(ins.a, size);
        if (ins.a != IR_MEM && unit.ins[unit.count - 1].a == IR_MEM) {
            unit.ins[unit.count - 1].p = ins.p;
            unit.ins[unit.count - 1].disp = ins.disp;
            ins.p = ins.d == IR_MEM ? ins.p : IR_NONE;
        }
    }
    if (temp_d) {
        bool defines = ir_rows[ins.op].role[0] == IR_ROLE_W;
        ins.d = defines ? ir_temp(&unit) : copy_to_temp(d, ins.size);
    }
    *ir_add(&unit, IR_OP_clc, 0, 0, 0) = ins;
    if (temp_d && ir_rows[ins.op].role[0] != IR_ROLE_R)
        ir_add(&unit, IR_OP_mov, ins.size, d, ins.d);
    ir_add(&unit, IR_OP_jmp, 0, IR_NONE, IR_NONE)->imm = 0x20;
}

START_TEST(against_interpreter)
{
    const struct versus *v = &versus[_i];
    unsigned done = 0, left_out = 0;
    char text[200];
    for (unsigned n = 0; n < 4000; n++) {
        struct insn in;
        struct ir_ins ins = make_pair(v, &in);
        struct state start = random_state();
        build(v, ins);
        check();
        ir_print_ins(text, sizeof text, &ins, true);
        restore(&start);
        bool ok = v->run(cpu, &in);
        struct state want = save();
        restore(&start);
        cpu->rip = 1;
        struct ir_left left = ir_eval(&unit, cpu);
        struct state got = save();
        u16 fdef = ins.fdef;
        if (!ok) {
            ck_assert_msg(left.how == IR_OP_step && left.rip == PC + 0x10, "%s: does not leave", text);
            ck_assert_msg(!memcmp(&start, &got, sizeof got), "%s: left and changed", text);
            left_out++;
            continue;
        }
        ck_assert_msg(left.how == IR_OP_jmp && left.rip == PC + 0x20 && cpu->rip == left.rip && left.flags == IR_FLAGS, "%s", text);
        ck_assert_msg(got.flags == ((want.flags & fdef) | (start.flags & ~(u32)fdef)), "%s: flags %x instead of %x, before %x", text,
                      got.flags, want.flags, start.flags);
        for (unsigned r = 0; r < 16; r++)
            ck_assert_msg(got.gpr[r] == want.gpr[r], "%s: register %u is %llx instead of %llx", text, r,
                          (unsigned long long)got.gpr[r], (unsigned long long)want.gpr[r]);
        ck_assert_msg(!memcmp(got.data, want.data, sizeof got.data), "%s: memory", text);
        done++;
    }
    ck_assert_uint_gt(done, 400);
    ck_assert(left_out ? v->op == IR_OP_div || v->op == IR_OP_idiv : v->op != IR_OP_div && v->op != IR_OP_idiv);
}
END_TEST

static struct ir_left eval(const char *text)
{
    parse(text);
    check();
    return ir_eval(&unit, cpu);
}
#define STAYS(text) ck_assert_int_eq(eval(text "\njmp 0x80").how, IR_OP_jmp)
#define LEAVES(text) ck_assert_int_eq(eval(text "\njmp 0x80").how, IR_OP_step)

START_TEST(moves)
{
    cpu->rax = 0x1122334455667788;
    cpu->rbx = 0x1000;
    cpu->rcx = 3;
    STAYS("lea.8 rdx = [rbx+rcx*8-1]\nlea.4 rsi = [rax]\nlea.2 rdi = [rax+rax*2]\nlea.8 r8 = [pc+0x123]\nlea.4 r9 = [-1]\nlea.8 r10 = [rcx*4]");
    ck_assert_uint_eq(cpu->rdx, 0x1017);
    ck_assert_uint_eq(cpu->rsi, 0x55667788);
    ck_assert_uint_eq(cpu->rdi & 0xffff, (u16)(0x7788 * 3));
    ck_assert_uint_eq(cpu->r8, PC + 0x123);
    ck_assert_uint_eq(cpu->r9, 0xffffffff);
    ck_assert_uint_eq(cpu->r10, 12);
    STAYS("mov.1 t0, ah\nmov.8 rax, t0");       /* what stands above a byte in a temporary is nobody's */
    ck_assert_uint_eq(cpu->rax, 0xa5a5a5a5a5a5a577);
    STAYS("mov.8 r11, 0x123456789abcdef0\nmov.4 r11, -1\nmov.8 r12, -1");
    ck_assert_uint_eq(cpu->r11, 0xffffffff);
    ck_assert_uint_eq(cpu->r12, ~(u64)0);
    cpu->rax = 0x1111;
    STAYS("count 5\nxchg.1 rax, ah");
    ck_assert_uint_eq(cpu->icount, 5);
}
END_TEST

START_TEST(flags_as_data)
{
    for (unsigned n = 0; n < 200; n++) {
        u32 flags = (u32)rnd() & IR_FLAGS, from = (u32)rnd();
        flags_set_status(cpu, flags);
        cpu->rax = cpu->rbx = 0;
        STAYS("getfl.4 rax\ngetfl.1 bh\nmov.4 t0, rax\nmov.8 rcx, t0");
        ck_assert_uint_eq(cpu->rax, flags);
        ck_assert_uint_eq(cpu->rbx, (flags & 0xff) << 8);
        ck_assert_uint_eq(flags_status(cpu), flags);
        cpu->rdx = from;
        STAYS("putfl.4 rdx {f OZC, live OSZAPC}");
        u32 mask = IR_O | IR_Z | IR_C;
        ck_assert_uint_eq(flags_status(cpu), (flags & ~mask) | (from & mask));
        STAYS("putfl.1 dh {f SZAPC, live OSZAPC}");
        ck_assert_uint_eq(flags_status(cpu), (flags & 0) | (from & IR_O) | (from >> 8 & (IR_FLAGS & 0xff)));
    }
}
END_TEST

START_TEST(dead_flags)
{
    cpu->rax = cpu->rbx = 5;
    struct ir_left left = eval("cmp.8 rax, rbx {f OSZAPC, live Z}\nmov.8 rcx, 1 {live Z}\njcc:ne 0x10 {use Z, live Z, exit Z}\njmp 0x80 {live Z, exit Z}");
    ck_assert_uint_eq(left.flags, IR_Z);
    ck_assert_uint_eq(flags_status(cpu), IR_FLAGS & ~IR_P);     /* Z is right, P was 1, the others 0 */
    left = eval("cmp.8 rax, rbx\njcc:e 0x10 {use Z, live ZC, exit C}\njmp 0x80");
    ck_assert(left.how == IR_OP_jcc && left.flags == IR_C && flags_status(cpu) == (IR_FLAGS & ~(IR_Z | IR_P | IR_C)));
    /* dead before, defined again */
    left = eval("clc {f C, live OSZAP}\nstc\njmp 0x80 {live OSZAPC, exit OSZAPC}");
    ck_assert(left.flags == IR_FLAGS && flags_cf(cpu));
    /* where the unit is left for the interpreter, only what was live before is good */
    left = eval("cmp.8 rax, rax {f OSZAPC, live ZC}\nguest 4\nguard.8 rax\njmp 0x80");
    ck_assert(left.how == IR_OP_step && left.gi == 1 && left.rip == PC + 4 && left.flags == (IR_Z | IR_C));
}
END_TEST

START_TEST(fields)
{
    for (unsigned field = 0; field < IR_FIELD_COUNT; field++) {
        unsigned size = 1;
        ir_begin(&unit, 2);
        ir_guest(&unit, NULL, 0, 1);
        for (; size <= 8; size *= 2) {
            unit.count = 0;
            ir_add(&unit, IR_OP_put, size, IR_NONE, G(GPR_RAX))->row = (u16)field;
            ir_add(&unit, IR_OP_get, size, G(GPR_RBX), IR_NONE)->row = (u16)field;
            ir_add(&unit, IR_OP_jmp, 0, IR_NONE, IR_NONE);
            if (ir_check(&unit, err, sizeof err))
                break;
        }
        ck_assert_uint_le(size, 8);
        cpu->rax = 0x8899aabbccddee00 + field;
        cpu->rbx = 0;
        ck_assert_int_eq(ir_eval(&unit, cpu).how, IR_OP_jmp);
        ck_assert_uint_eq(cpu->rbx, flags_truncate(size, cpu->rax));
        cpu->jit.pc = PC;
    }
    ck_assert_uint_eq(cpu->cr2, 0x8899aabbccddee00 + IR_FIELD_cr2);
    ck_assert_uint_eq(cpu->seg[SEG_GS].base, 0x8899aabbccddee00 + IR_FIELD_gs_base);
    ck_assert_uint_eq(cpu->mxcsr, 0xccddee00 + IR_FIELD_mxcsr);
}
END_TEST

START_TEST(pointers)
{
    u64 v = 0x0123456789abcdef;
    memcpy(guest->data + 8, &v, 8);
    cpu->exc.vector = 0xee;
    cpu->rbx = GUEST_DATA;
    cpu->rcx = 2;
    STAYS("ptr.8 t0 = ds:[rbx+rcx*4]\nmov.8 rax, [t0]\nmovzx.4.2 rdx, [t0+6]");
    ck_assert_uint_eq(cpu->rax, v);
    ck_assert_uint_eq(cpu->rdx, 0x0123);
    /* 32-bit addresses, FS's base, the others' is ignored */
    cpu->rsi = 0xffffffff00000000 | GUEST_DATA;
    cpu->seg[SEG_FS].base = GUEST_DATA + 16;
    cpu->seg[SEG_ES].base = 0x1234;
    STAYS("ptr.8 t0 = es:[rsi+8] addr4\nptr.8 t1 = fs:[-8] rw\nmov.8 rdi, [t0]\nadd.8 [t1], 1");
    ck_assert_uint_eq(cpu->rdi, v);
    memcpy(&v, guest->data + 8, 8);
    ck_assert_uint_eq(v, 0x0123456789abcdf0);
    LEAVES("ptr.8 t0 = ds:[rsi]");              /* not mapped */
    LEAVES("ptr.1 t0 = ds:[rbx+8192]");
    STAYS("ptr.1 t0 = ds:[rbx+8191] write");
    LEAVES("ptr.2 t0 = ds:[rbx+8191]");         /* two pages */
    LEAVES("ptr.2 t0 = ds:[rbx+4095]");
    STAYS("ptr.2 t0 = ds:[rbx+4094]");
    cpu->rdi = (u64)1 << 62;
    LEAVES("ptr.1 t0 = ds:[rdi]");              /* not canonical */
    LEAVES("ptr.16 t0 = ds:[rbx+8] align");
    STAYS("ptr.16 t0 = ds:[rbx+16] align tlb");
    cpu->access_checks = CHECK_BREAK;
    LEAVES("ptr.1 t0 = ds:[rbx]");
    cpu->access_checks = 0;
    /* a read-only page, a page with code */
    guest_pte(guest, 0x4000 + 8, 0x9000 | 0x65);
    mmu_flush_all(&cpu->mmu);
    STAYS("ptr.4 t0 = ds:[rbx+4096]");
    LEAVES("ptr.4 t0 = ds:[rbx+4096] write");
    LEAVES("ptr.4 t0 = ds:[rbx+4096] rw");
    codepages_mark(guest->phys, 0x8000, 64);
    STAYS("ptr.4 t0 = ds:[rbx+60]");
    STAYS("ptr.4 t0 = ds:[rbx+64] write");
    LEAVES("ptr.4 t0 = ds:[rbx+61] rw");
    LEAVES("ptr.4 t0 = ds:[rbx+60] write");
    ck_assert_uint_eq(cpu->exc.vector, 0xee);   /* nothing was noted */
}
END_TEST

/* A unit that checks itself, at GUEST_DATA. */
START_TEST(own_code)
{
    const u64 v = 0x0123456789abcdef;
    memcpy(guest->data + 8, &v, 8);
    cpu->jit.pc = GUEST_DATA;
    STAYS("code.8 t0 = [0x8]\nsame.8 [t0], 0x0123456789abcdef\nsame.2 [t0+6], 0x0123\nmovsx.8.1 rax, [t0]\n");
    ck_assert_uint_eq(cpu->rax, ~(u64)0x10);
    LEAVES("code.8 t0 = [0x8]\nsame.8 [t0], 0x0123456789abcdee");
    LEAVES("code.8 t0 = [0x8]\nsame.4 [t0+4], 0x01234566");
    /* the unit is made of the bytes 8..15 of the page */
    cpu->rbx = GUEST_DATA;
    ck_assert_int_eq(eval("guest 8\nptr.8 t0 = ds:[rbx] write apart\njmp 0x80\nend 16").how, IR_OP_jmp);
    ck_assert_int_eq(eval("guest 8\nptr.1 t0 = ds:[rbx+16] write apart\njmp 0x80\nend 16").how, IR_OP_jmp);
    ck_assert_int_eq(eval("guest 8\nptr.8 t0 = ds:[rbx+1] write apart\njmp 0x80\nend 16").how, IR_OP_step);
    ck_assert_int_eq(eval("guest 8\nptr.1 t0 = ds:[rbx+15] write apart\njmp 0x80\nend 16").how, IR_OP_step);
    ck_assert_int_eq(eval("guest 8\nptr.32 t0 = ds:[rbx] rw apart\njmp 0x80\nend 16").how, IR_OP_step);
    ck_assert_int_eq(eval("guest 8\nptr.8 t0 = ds:[rbx+8] write\njmp 0x80\nend 16").how, IR_OP_jmp);
}
END_TEST

START_TEST(pointers_outside_64bit)
{
    guest_mode(guest, 4);
    guest->ram->base[0x9010] = 0x77;
    cpu->seg[SEG_DS].base = 0x9000;
    cpu->seg[SEG_DS].limit = 0xff;
    segment_refresh(cpu);
    cpu->rbx = 0xffff0010;
    STAYS("ptr.1 t0 = ds:[rbx] addr2\nmov.1 rax, [t0]");
    ck_assert_uint_eq(cpu->rax & 0xff, 0x77);
    LEAVES("ptr.1 t0 = ds:[rbx] addr4");
    STAYS("ptr.4 t0 = ds:[0xfc] addr4");
    LEAVES("ptr.4 t0 = ds:[0xfd] addr4");
    LEAVES("ptr.1 t0 = es:[0x200000] addr4");   /* nothing there */
    STAYS("ptr.1 t0 = es:[0x2000] addr4");
    cpu->seg[SEG_ES].unusable = 1;
    segment_refresh(cpu);
    LEAVES("ptr.1 t0 = es:[0x2000] addr4");
    cpu->jit.pc = 0xfffff000;                   /* RIP has 32 bits */
    ck_assert_uint_eq(eval("jmp 0x1004").rip, 4);
}
END_TEST

START_TEST(exits)
{
    struct ir_left left;
    cpu->rcx = 0xffffffff00000000;
    cpu->rax = 0x7fff12345678;
    flags_set_status(cpu, IR_Z);
    static const struct { const char *text; u8 how; u64 rip; } cases[] = {
        { "jmp -0x10 poll", IR_OP_jmp, PC - 16 },
        { "jcc:e 0x1000\njmp 0x20", IR_OP_jcc, PC + 0x1000 },
        { "jcc:ne 0x1000 likely\njmp 0x20", IR_OP_jmp, PC + 0x20 },
        { "jz.4 rcx, 0x30\njmp 0x20", IR_OP_jz, PC + 0x30 },
        { "jz.8 rcx, 0x30\njmp 0x20", IR_OP_jmp, PC + 0x20 },
        { "jnz.8 rcx, 0x30\njmp 0x20", IR_OP_jnz, PC + 0x30 },
        { "jnz.4 rcx, 0x30\njmp 0x20", IR_OP_jmp, PC + 0x20 },
        { "call 0x100 return 0x5", IR_OP_call, PC + 0x100 },
        { "ijmp.8 rax", IR_OP_ijmp, 0x7fff12345678 },
        { "ijmp.4 rax", IR_OP_ijmp, 0x12345678 },
        { "icall.8 rax return 0x5", IR_OP_icall, 0x7fff12345678 },
        { "ret.2 rax", IR_OP_ret, 0x5678 },
        { "step", IR_OP_step, PC },
        { "guest 0x10\nguard.4 rcx\nguest 0x14\nguard.8 rcx\njmp 0x20", IR_OP_step, PC + 0x14 },
        { "guest 0x10\nclc\nguest 0x11\nstep", IR_OP_step, PC + 0x11 },
        { "guest 0x10\ninterp\njmp 0x20", IR_OP_step, PC + 0x10 },      /* no instruction is known */
        { "guest 0x10\nptr.1 t0 = ds:[0]\njmp 0x20", IR_OP_step, PC + 0x10 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        left = eval(cases[i].text);
        ck_assert_msg(left.how == cases[i].how && left.rip == cases[i].rip && cpu->rip == left.rip, "%s: %s to %llx", cases[i].text,
                      ir_op_name(left.how), (unsigned long long)left.rip);
    }
    ck_assert_uint_eq(eval("guest 0\nclc\nguest 1\nguard.8 rcx\nstep").gi, 1);
}
END_TEST

START_TEST(needs)
{
    cpu->exc.vector = 0xee;
    STAYS("need sse");
    STAYS("need avx");
    STAYS("need x87");
    STAYS("need mmx");
    cpu->cr0 |= CR0_TS;
    LEAVES("need sse");
    LEAVES("need avx");
    LEAVES("need x87");
    LEAVES("need mmx");
    cpu->cr0 &= ~(u64)CR0_TS;
    cpu->cr4 &= ~(u64)CR4_OSXSAVE;
    LEAVES("need avx");
    STAYS("need sse");
    cpu->cr0 |= CR0_EM;
    LEAVES("need mmx");
    ck_assert_uint_eq(cpu->exc.vector, 0xee);
}
END_TEST

/* A unit for one guest instruction at offset 0x10: `text`, in which # stands for its row. */
static struct insn guest_insn;
static struct ir_left eval_guest(const char *bytes, unsigned n, const char *text)
{
    char full[300], row[40];
    ck_assert_int_eq(insn_decode(&guest_insn, (const u8 *)bytes, n, 8, NULL), DECODE_OK);
    ck_assert_uint_eq(guest_insn.len, n);
    snprintf(row, sizeof row, "%s#%u", insn_rows[guest_insn.row].name, guest_insn.row);
    const char *mark = strchr(text, '#');
    if (mark)
        snprintf(full, sizeof full, "guest 0x10\n%.*s%s%s", (int)(mark - text), text, row, mark + 1);
    else
        snprintf(full, sizeof full, "guest 0x10\n%s", text);
    parse(full);
    unit.guest[0] = &guest_insn;
    check();
    return ir_eval(&unit, cpu);
}
#define INSN_STAYS(bytes, text) ck_assert_int_eq(eval_guest(bytes, sizeof(bytes) - 1, text "\njmp 0x80").how, IR_OP_jmp)
#define INSN_LEAVES(bytes, text) ck_assert_int_eq(eval_guest(bytes, sizeof(bytes) - 1, text "\njmp 0x80").how, IR_OP_step)

START_TEST(insns)
{
    memset(guest->data, 3, 64);
    memset(cpu->vec, 1, sizeof cpu->vec);
    cpu->rbx = 0;       /* the IR's operands count, not the instruction's own */
    cpu->rsi = GUEST_DATA;
    INSN_STAYS("\x66\x0f\xfc\x0b", "ptr.32 t0 = ds:[rsi]\ninsn.16 # xmm5, xmm5, [t0+16]");      /* paddb xmm1, [rbx] */
    for (unsigned i = 0; i < 32; i++)
        ck_assert_uint_eq(cpu->vec[5].b[i], i < 16 ? 4 : 1);
    INSN_STAYS("\x66\x0f\x70\xca\x00", "insn.16 # xmm6, xmm5, 0xe4");      /* pshufd xmm1, xmm2, 0 */
    ck_assert_uint_eq(cpu->vec[6].d[3], 0x04040404);
    INSN_LEAVES("\x0f\x28\x0b", "ptr.32 t0 = ds:[rsi]\ninsn.16 # xmm1, [t0+8]");   /* movaps xmm1, [rbx]: not aligned */
    /* temporaries: r8 and r9 are used, and stay as they are */
    cpu->r8 = 8;
    cpu->r9 = 9;
    cpu->rax = 0x55667788;
    INSN_STAYS("\x66\x0f\x6e\xd0", "mov.4 t0, rax\ninsn.16 # xmm2, t0");    /* movd xmm2, eax */
    ck_assert_uint_eq(cpu->vec[2].q[0], 0x55667788);
    INSN_STAYS("\x66\x0f\x7e\xd0", "insn.16 # t0, xmm5\nmov.4 rcx, t0");    /* movd eax, xmm2 */
    ck_assert_uint_eq(cpu->rcx, 0x04040404);
    INSN_STAYS("\xf3\x4d\x0f\xb8\xc1", "mov.8 t0, rax\ninsn.8 # r8, t0 {f OSZAPC, live OSZAPC}");   /* popcnt r8, r9 */
    ck_assert(cpu->r8 == 16 && cpu->r9 == 9 && flags_status(cpu) == 0);
    cpu->r8 = 8;
    INSN_STAYS("\xf3\x4d\x0f\xb8\xc1", "mov.8 rax, 0\nmov.8 t0, rax\ninsn.8 # rdx, t0 {f Z, live OSZAPC}");
    ck_assert(cpu->rdx == 0 && cpu->r8 == 8 && flags_status(cpu) == IR_Z);
    /* LDMXCSR from what has been loaded; a fault of the instruction */
    INSN_STAYS("\x0f\xae\x13", "mov.4 t0, 0x1f00\ninsn.4 # t0");
    ck_assert_uint_eq(cpu->mxcsr, 0x1f00);
    INSN_LEAVES("\x0f\xae\x13", "mov.4 t0, -1\ninsn.4 # t0");
    /* x87 and MMX */
    double one = 1.0;
    cpu->x87.empty = 0xff;
    cpu->x87.cw = 0x37f;
    memcpy(guest->data + 8, &one, 8);
    INSN_STAYS("\xdd\x03", "ptr.32 t0 = ds:[rsi]\ninsn.8 # [t0+8]");       /* fld qword [rbx] */
    ck_assert_uint_eq(cpu->x87.r[cpu->x87.sw >> 11 & 7].se, 0x3fff);
    ck_assert_uint_eq(cpu->x87.fdp, GUEST_DATA + 8);
    cpu->x87.r[3].mant = 0x0101;
    INSN_STAYS("\x0f\xfc\xc1", "insn.8 # mm3, mm3, mm3");                   /* paddb mm0, mm1 */
    ck_assert_uint_eq(cpu->x87.r[3].mant, 0x0202);
    /* BMI: AH.. as operands, an address relative to RIP */
    cpu->jit.pc = GUEST_DATA - 0x19;
    INSN_STAYS("\xf3\x48\x0f\xb8\x05\x00\x00\x00\x00", "insn.8 # rax");     /* popcnt rax, [rip]: its own operand */
    ck_assert_uint_eq(cpu->rax, 16);
    cpu->jit.pc = PC;
    INSN_STAYS("\x90", "insn #");                                           /* nop: no operands */
    unit.ins[0].row++;                                                      /* not the unit's guest instruction */
    ck_assert_int_eq(ir_eval(&unit, cpu).how, IR_OP_step);
}
END_TEST

START_TEST(interpreted)
{
    cpu->rax = 1;
    cpu->rbx = 2;
    flags_set_status(cpu, IR_FLAGS);
    INSN_STAYS("\x48\x01\xd8", "interp {f OSZAPC, live OSZAPC}");       /* add rax, rbx */
    ck_assert(cpu->rax == 3 && flags_status(cpu) == IR_P);
    struct ir_left left = eval_guest("\x48\x8b\x03", 3, "interp\njmp 0x80");    /* mov rax, [rbx]: faults */
    ck_assert(left.how == IR_OP_step && left.rip == PC + 0x10 && cpu->rax == 3);
    /* RIP-relative, as decoded alone and as in a block of the interpreter */
    INSN_STAYS("\x48\x8d\x05\x20\x00\x00\x00", "interp");               /* lea rax, [rip + 0x20] */
    ck_assert_uint_eq(cpu->rax, PC + 0x37);
    guest_insn.base = GPR_BLOCK;
    guest_insn.end = 0x57;
    guest_insn.disp += 0x57;
    cpu->rax = 0;
    ck_assert_int_eq(ir_eval(&unit, cpu).how, IR_OP_jmp);
    ck_assert_uint_eq(cpu->rax, PC + 0x37);
    /* something is to be looked at; an interrupt that IF holds back is not */
    cpu_raise(cpu, PEND_INTR);
    INSN_STAYS("\x48\x01\xd8", "interp");
    cpu->eflags |= EFL_IF;
    left = eval_guest("\x48\x01\xd8", 3, "interp\njmp 0x80");
    ck_assert(left.how == IR_OP_interp && left.rip == PC + 0x13);
    atomic_store(&cpu->pending, 0);
    left = eval_guest("\xeb\x05", 2, "interp\njmp 0x80");               /* jmp: it went elsewhere */
    ck_assert(left.how == IR_OP_interp && left.rip == PC + 0x17);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ir");
    TCase *t = tcase_create("ir");
    TCase *e = tcase_create("eval");
    tcase_set_timeout(t, 120);
    tcase_set_timeout(e, 120);
    tcase_add_test(t, table);
    tcase_add_test(t, defaults);
    tcase_add_test(t, full);
    tcase_add_test(t, conditions);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, round_trip_units);
    tcase_add_test(t, text_as_documented);
    tcase_add_test(t, guests_as_comments);
    tcase_add_test(t, parse_errors);
    tcase_add_test(t, parse_noise);
    tcase_add_test(t, verifier_accepts);
    tcase_add_test(t, verifier_refuses);
    tcase_add_test(t, verifier_refuses_fields);
    tcase_add_checked_fixture(e, setup, teardown);
    tcase_add_loop_test(e, against_interpreter, 0, ARRAY_LEN(versus));
    tcase_add_test(e, moves);
    tcase_add_test(e, flags_as_data);
    tcase_add_test(e, dead_flags);
    tcase_add_test(e, fields);
    tcase_add_test(e, pointers);
    tcase_add_test(e, own_code);
    tcase_add_test(e, pointers_outside_64bit);
    tcase_add_test(e, exits);
    tcase_add_test(e, needs);
    tcase_add_test(e, insns);
    tcase_add_test(e, interpreted);
    suite_add_tcase(s, t);
    suite_add_tcase(s, e);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
