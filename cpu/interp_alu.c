/* interp_alu.c - ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, MUL IMUL DIV IDIV, sign extension of the
 * accumulator, decimal adjustment. SDM 2.
 *
 * Each of the nine two-operand operations exists in a general form (in_add...) and in forms for each kind of operands and
 * width, made from one inline function; alu_choose hands them to the block builder.
 * Undefined flags: multiplication sets SF ZF PF from the low half and clears AF; division leaves all flags.
 */
#include "cpu/interp_forms.h"

enum alu { ALU_add, ALU_or, ALU_adc, ALU_sbb, ALU_and, ALU_sub, ALU_xor, ALU_cmp, ALU_test, ALU_COUNT };

static inline __attribute__((always_inline)) u64 alu_compute(struct vcpu *c, enum alu op, unsigned n, u64 a, u64 b)
{
    switch (op) {
    case ALU_add: return flags_add(c, n, a, b);
    case ALU_or: return flags_logic(c, n, a | b);
    case ALU_adc: return flags_adc(c, n, a, b);
    case ALU_sbb: return flags_sbb(c, n, a, b);
    case ALU_and: case ALU_test: return flags_logic(c, n, a & b);
    case ALU_xor: return flags_logic(c, n, a ^ b);
    default: return flags_sub(c, n, a, b);
    }
}

static inline __attribute__((always_inline)) bool alu_writes(enum alu op)
{
    return op != ALU_cmp && op != ALU_test;
}

/* --- forms ---------------------------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) bool alu_to_register(struct vcpu *c, const struct insn *in, enum alu op,
                                                                  enum form form, unsigned n)
{
    u64 a = form_reg(c, &in->op[0], n), b;
    if (form == FORM_RM) {
        if (!form_load(c, in, n, &b))
            return false;
    } else {
        b = form == FORM_RR ? form_reg(c, &in->op[1], n) : in->imm;
    }
    u64 r = alu_compute(c, op, n, a, b);
    if (alu_writes(op))
        form_set_reg(c, &in->op[0], n, r);
    return true;
}

static inline __attribute__((always_inline)) bool alu_to_memory(struct vcpu *c, const struct insn *in, enum alu op,
                                                                enum form form, unsigned n)
{
    u64 a, b = form == FORM_MR ? form_reg(c, &in->op[1], n) : in->imm;
    if (!alu_writes(op)) {
        if (!form_load(c, in, n, &a))
            return false;
        alu_compute(c, op, n, a, b);
        return true;
    }
    u8 *p = form_rmw(c, in, n, &a);
    if (unlikely(!p))
        return false;
    form_rmw_end(p, n, alu_compute(c, op, n, a, b));
    return true;
}

#define ALU_FORM(op, n) \
    static bool op##_rr##n(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, alu_to_register(c, in, ALU_##op, FORM_RR, n)); } \
    static bool op##_ri##n(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, alu_to_register(c, in, ALU_##op, FORM_RI, n)); } \
    static bool op##_rm##n(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, alu_to_register(c, in, ALU_##op, FORM_RM, n)); } \
    static bool op##_mr##n(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, alu_to_memory(c, in, ALU_##op, FORM_MR, n)); } \
    static bool op##_mi##n(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, alu_to_memory(c, in, ALU_##op, FORM_MI, n)); }
#define ALU_GENERAL(op) \
    bool in_##op(struct vcpu *c, const struct insn *in) { return alu_general(c, in, ALU_##op); }
#define ALU_OPS(X) X(add) X(or) X(adc) X(sbb) X(and) X(sub) X(xor) X(cmp) X(test)
#define ALU_FORMS(op) ALU_FORM(op, 1) ALU_FORM(op, 2) ALU_FORM(op, 4) ALU_FORM(op, 8)

static inline __attribute__((always_inline)) bool alu_general(struct vcpu *c, const struct insn *in, enum alu op)
{
    u64 a, b;
    unsigned n = in->op[0].size;
    if (alu_writes(op) ? !operand_rmw(c, in, 0, &a) : !operand_read(c, in, 0, &a))
        return false;
    if (!operand_read(c, in, 1, &b))
        return false;
    u64 r = alu_compute(c, op, n, a, b);
    return !alu_writes(op) || operand_write(c, in, 0, r);
}

ALU_OPS(ALU_GENERAL)
ALU_OPS(ALU_FORMS)

interp_fn *alu_choose(const struct insn *in)
{
#define WIDTHS(op, form) { op##_##form##1, op##_##form##2, op##_##form##4, op##_##form##8 }
#define ROW(op) [ALU_##op] = { [FORM_RR] = WIDTHS(op, rr), [FORM_RI] = WIDTHS(op, ri), [FORM_RM] = WIDTHS(op, rm), \
                               [FORM_MR] = WIDTHS(op, mr), [FORM_MI] = WIDTHS(op, mi) },
#define GENERAL(op) [ALU_##op] = in_##op,
    static interp_fn *const forms[ALU_COUNT][FORM_COUNT][4] = { ALU_OPS(ROW) };
    static interp_fn *const general[ALU_COUNT] = { ALU_OPS(GENERAL) };
#undef WIDTHS
#undef ROW
#undef GENERAL
    enum form form = form_of(in);
    int width = form_width(in->op[0].size);
    if (form == FORM_COUNT || width < 0)
        return in->chain;
    for (unsigned op = 0; op < ALU_COUNT; op++)
        if (general[op] == in->run)
            return forms[op][form][width];
    return in->chain;
}

/* --- one operand ---------------------------------------------------------------------------------------------- */

bool in_inc(struct vcpu *c, const struct insn *in)
{
    u64 a;
    return operand_rmw(c, in, 0, &a) && operand_write(c, in, 0, flags_inc(c, in->op[0].size, a));
}

bool in_dec(struct vcpu *c, const struct insn *in)
{
    u64 a;
    return operand_rmw(c, in, 0, &a) && operand_write(c, in, 0, flags_dec(c, in->op[0].size, a));
}

bool in_neg(struct vcpu *c, const struct insn *in)
{
    u64 a;
    return operand_rmw(c, in, 0, &a) && operand_write(c, in, 0, flags_sub(c, in->op[0].size, 0, a));
}

bool in_not(struct vcpu *c, const struct insn *in)
{
    u64 a;
    return operand_rmw(c, in, 0, &a) && operand_write(c, in, 0, ~a);
}

#define UNARY_OPS(X) X(inc, flags_inc(c, n, a)) X(dec, flags_dec(c, n, a)) X(neg, flags_sub(c, n, 0, a)) X(not, ~a)
#define UNARY(name, result) \
    FORM_INLINE u64 name##_value(struct vcpu *c, unsigned n, u64 a) { return result; } \
    UNARY_FORM(name, 1) UNARY_FORM(name, 2) UNARY_FORM(name, 4) UNARY_FORM(name, 8)
#define UNARY_FORM(name, n) \
    static bool name##_r##n(struct vcpu *c, const struct insn *in) \
    { \
        form_set_reg(c, &in->op[0], n, name##_value(c, n, form_reg(c, &in->op[0], n))); \
        return form_next(c, in); \
    } \
    static bool name##_m##n(struct vcpu *c, const struct insn *in) \
    { \
        u64 a; \
        u8 *p = form_rmw(c, in, n, &a); \
        if (likely(p)) \
            form_rmw_end(p, n, name##_value(c, n, a)); \
        return form_run(c, in, p); \
    }
UNARY_OPS(UNARY)

interp_fn *unary_choose(const struct insn *in)
{
#define UNARY_ROW(name, result) \
    { in_##name, { { name##_r1, name##_r2, name##_r4, name##_r8 }, { name##_m1, name##_m2, name##_m4, name##_m8 } } },
    static const struct { interp_fn *general, *forms[2][4]; } ops[] = { UNARY_OPS(UNARY_ROW) };
    bool memory = in->op[0].kind == OP_MEM;
    int width = form_width(in->op[0].size);
    if (width < 0 || (!memory && !form_is_reg(&in->op[0])))
        return in->chain;
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].general == in->run)
            return ops[i].forms[memory][width];
    return in->chain;
}

/* --- multiplication ------------------------------------------------------------------------------------------- */

static void multiply_flags(struct vcpu *c, unsigned n, u64 low, bool overflow)
{
    flags_result(c, n, low);
    c->lazy.carry = flags_carry_word(overflow, overflow, false);
}

/* rDX:rAX (AX for bytes) = high:low */
static void write_pair(struct vcpu *c, unsigned n, u64 high, u64 low)
{
    if (n == 1) {
        gpr_write(c, GPR_RAX, 2, (low & 0xff) | (high & 0xff) << 8);
    } else {
        gpr_write(c, GPR_RAX, n, low);
        gpr_write(c, GPR_RDX, n, high);
    }
}

bool in_mul(struct vcpu *c, const struct insn *in)
{
    u64 b;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 0, &b))
        return false;
    u128 p = (u128)gpr_read(c, GPR_RAX, n) * b;
    u64 high = (u64)(p >> (8 * n));
    write_pair(c, n, high, (u64)p);
    multiply_flags(c, n, (u64)p, flags_truncate(n, high) != 0);
    return true;
}

static bool imul_wide(struct vcpu *c, const struct insn *in)
{
    u64 b;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 0, &b))
        return false;
    s128 p = (s128)(s64)flags_sign_extend(n, c->rax) * (s64)flags_sign_extend(n, b);
    write_pair(c, n, (u64)(p >> (8 * n)), (u64)p);
    multiply_flags(c, n, (u64)p, p != (s64)flags_sign_extend(n, (u64)p));
    return true;
}

bool in_imul(struct vcpu *c, const struct insn *in)
{
    u64 a, b;
    unsigned n = in->op[0].size;
    if (in->op[1].kind == OP_NONE)
        return imul_wide(c, in);
    bool three = in->op[2].kind != OP_NONE;
    if (!operand_read(c, in, three ? 1 : 0, &a) || !operand_read(c, in, three ? 2 : 1, &b))
        return false;
    if (three)
        b = in->imm;
    s128 p = (s128)(s64)flags_sign_extend(n, a) * (s64)flags_sign_extend(n, b);
    multiply_flags(c, n, (u64)p, p != (s64)flags_sign_extend(n, (u64)p));
    gpr_write(c, in->op[0].reg, n, (u64)p);
    return true;
}

/* IMUL with a register destination. */
FORM_INLINE void imul_form(struct vcpu *c, const struct insn *in, unsigned n, u64 a, u64 b)
{
    s128 p = (s128)(s64)flags_sign_extend(n, a) * (s64)flags_sign_extend(n, b);
    multiply_flags(c, n, (u64)p, p != (s64)flags_sign_extend(n, (u64)p));
    gpr_write(c, in->op[0].reg, n, (u64)p);
}
FORM_INLINE bool imul_load(struct vcpu *c, const struct insn *in, unsigned n, bool three)
{
    u64 v;
    if (unlikely(!form_load(c, in, n, &v)))
        return false;
    imul_form(c, in, n, v, three ? in->imm : c->gpr[in->op[0].reg]);
    return true;
}
#define IMUL_FORM(n) \
    static bool imul_rr##n(struct vcpu *c, const struct insn *in) \
    { \
        imul_form(c, in, n, c->gpr[in->op[0].reg], c->gpr[in->op[1].reg]); \
        return form_next(c, in); \
    } \
    static bool imul_rri##n(struct vcpu *c, const struct insn *in) \
    { \
        imul_form(c, in, n, c->gpr[in->op[1].reg], in->imm); \
        return form_next(c, in); \
    } \
    static bool imul_rm##n(struct vcpu *c, const struct insn *in) \
    { \
        return form_run(c, in, imul_load(c, in, n, false)); \
    } \
    static bool imul_rmi##n(struct vcpu *c, const struct insn *in) \
    { \
        return form_run(c, in, imul_load(c, in, n, true)); \
    }
IMUL_FORM(4)
IMUL_FORM(8)

interp_fn *imul_choose(const struct insn *in)
{
    static interp_fn *const forms[2][2][2] = {      /* width 4, 8; memory; immediate */
        { { imul_rr4, imul_rri4 }, { imul_rm4, imul_rmi4 } }, { { imul_rr8, imul_rri8 }, { imul_rm8, imul_rmi8 } } };
    bool memory = in->op[1].kind == OP_MEM, three = in->op[2].kind != OP_NONE;
    if ((!memory && in->op[1].kind != OP_GPR) || in->op[0].size < 4)
        return in->chain;
    return forms[in->op[0].size == 8][memory][three];
}

/* --- division ------------------------------------------------------------------------------------------------- */

static u128 read_pair(const struct vcpu *c, unsigned n)
{
    if (n == 1)
        return (u16)c->rax;
    return (u128)gpr_read(c, GPR_RDX, n) << (8 * n) | gpr_read(c, GPR_RAX, n);
}

bool in_div(struct vcpu *c, const struct insn *in)
{
    u64 d;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 0, &d))
        return false;
    if (d == 0)
        return cpu_fault(c, EXC_DE);
    u128 a = read_pair(c, n);
    if (n <= 4) {       /* 64 by 32 bits: no library call */
        u64 q = (u64)a / d;
        if (q != flags_truncate(n, q))
            return cpu_fault(c, EXC_DE);
        write_pair(c, n, (u64)a % d, q);
        return true;
    }
    if ((u64)(a >> 64) >= d)
        return cpu_fault(c, EXC_DE);
    write_pair(c, n, (u64)(a % d), (u64)(a / d));
    return true;
}

bool in_idiv(struct vcpu *c, const struct insn *in)
{
    u64 raw;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 0, &raw))
        return false;
    s64 d = (s64)flags_sign_extend(n, raw);
    if (d == 0)
        return cpu_fault(c, EXC_DE);
    u128 pair = read_pair(c, n);
    s128 a = n == 8 ? (s128)pair : n == 4 ? (s64)(u64)pair : n == 2 ? (s32)(u32)pair : (s16)(u16)pair;
    /* On magnitudes: the most negative dividend by -1 would overflow the host's division. */
    u128 ua = a < 0 ? -(u128)a : (u128)a, ud = d < 0 ? -(u128)d : (u128)d;
    u128 uq = ua / ud, limit = (u128)1 << (8 * n - 1);
    bool negative = (a < 0) != (d < 0);
    if (negative ? uq > limit : uq >= limit)
        return cpu_fault(c, EXC_DE);
    u64 rem = (u64)(ua % ud);
    write_pair(c, n, a < 0 ? -rem : rem, negative ? -(u64)uq : (u64)uq);
    return true;
}

/* --- sign extension of the accumulator (98, 99) ---------------------------------------------------------------- */

static bool extend_accumulator(struct vcpu *c, unsigned n)
{
    gpr_write(c, GPR_RAX, n, flags_sign_extend(n / 2, c->rax));
    return true;
}
bool in_cbw(struct vcpu *c, const struct insn *in) { return extend_accumulator(c, 2); }
bool in_cwde(struct vcpu *c, const struct insn *in) { return extend_accumulator(c, 4); }
bool in_cdqe(struct vcpu *c, const struct insn *in) { return extend_accumulator(c, 8); }

static bool extend_to_rdx(struct vcpu *c, unsigned n)
{
    gpr_write(c, GPR_RDX, n, (u64)((s64)flags_sign_extend(n, c->rax) >> 63));
    return true;
}
bool in_cwd(struct vcpu *c, const struct insn *in) { return extend_to_rdx(c, 2); }
bool in_cdq(struct vcpu *c, const struct insn *in) { return extend_to_rdx(c, 4); }
bool in_cqo(struct vcpu *c, const struct insn *in) { return extend_to_rdx(c, 8); }

/* --- decimal adjustment: SDM 2, pseudocode of each; OF (undefined) is cleared ------------------------------------ */

static void decimal_result(struct vcpu *c, u8 al, bool cf, bool af)
{
    gpr_write(c, GPR_RAX, 1, al);
    flags_result(c, 1, al);
    c->lazy.carry = flags_carry_word(cf, false, af);
}

bool in_daa(struct vcpu *c, const struct insn *in)
{
    u8 old = (u8)c->rax, al = old;
    bool old_cf = flags_cf(c), af = (al & 15) > 9 || flags_af(c);
    bool cf = old > 0x99 || old_cf;
    if (af)
        al += 6;
    if (cf)
        al += 0x60;
    decimal_result(c, al, cf, af);
    return true;
}

bool in_das(struct vcpu *c, const struct insn *in)
{
    u8 old = (u8)c->rax, al = old;
    bool old_cf = flags_cf(c), af = (al & 15) > 9 || flags_af(c), cf = false;
    if (af) {
        cf = old_cf || al < 6;
        al -= 6;
    }
    if (old > 0x99 || old_cf) {
        al -= 0x60;
        cf = true;
    }
    decimal_result(c, al, cf, af);
    return true;
}

/* AAA and AAS: ax moves by 0x106 if the low digit needs it; only CF and AF are defined. */
static bool ascii_adjust(struct vcpu *c, int sign)
{
    u16 ax = (u16)c->rax;
    bool adjust = (ax & 15) > 9 || flags_af(c);
    if (adjust)
        ax = (u16)(sign > 0 ? ax + 0x106 : ax - 0x106);
    ax &= 0xff0f;
    gpr_write(c, GPR_RAX, 2, ax);
    flags_result(c, 1, ax);
    c->lazy.carry = flags_carry_word(adjust, false, adjust);
    return true;
}
bool in_aaa(struct vcpu *c, const struct insn *in) { return ascii_adjust(c, 1); }
bool in_aas(struct vcpu *c, const struct insn *in) { return ascii_adjust(c, -1); }

bool in_aam(struct vcpu *c, const struct insn *in)
{
    u8 base = (u8)in->imm, al = (u8)c->rax;
    if (base == 0)
        return cpu_fault(c, EXC_DE);
    gpr_write(c, GPR_RAX, 2, (unsigned)(al / base) << 8 | al % base);
    flags_logic(c, 1, al % base);
    return true;
}

bool in_aad(struct vcpu *c, const struct insn *in)
{
    u8 al = (u8)(c->rax + (c->rax >> 8 & 0xff) * (u8)in->imm);
    gpr_write(c, GPR_RAX, 2, al);
    flags_logic(c, 1, al);
    return true;
}

bool in_salc(struct vcpu *c, const struct insn *in)
{
    gpr_write(c, GPR_RAX, 1, flags_cf(c) ? 0xff : 0);
    return true;
}
