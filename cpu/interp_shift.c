/* interp_shift.c - shifts and rotates. SDM 2, RCL/RCR/ROL/ROR, SAL/SAR/SHL/SHR, SHLD, SHRD, RORX, SARX/SHLX/SHRX.
 *
 * The count is taken modulo 32 (64 with 64-bit operands); a zero count changes nothing. Where the manual leaves OF open
 * (counts other than 1) it follows the formula for a count of 1 applied to the result, as processors do; AF is cleared
 * by shifts. SHLD and SHRD of 16 bits by more than 16 shift dst:src:dst.
 */
#include "cpu/interp_forms.h"

static unsigned masked_count(unsigned n, u64 count) { return count & (n == 8 ? 63 : 31); }

static void shift_flags(struct vcpu *c, unsigned n, u64 r, bool cf, bool of)
{
    flags_result(c, n, r);
    c->lazy.carry = flags_carry_word(cf, of, false);
}

/* CF and OF only. */
static void rotate_flags(struct vcpu *c, bool cf, bool of)
{
    c->lazy.carry = flags_carry_word(cf, of, flags_af(c));
}

static bool top(unsigned n, u64 v) { return v >> (8 * n - 1) & 1; }
static bool below_top(unsigned n, u64 v) { return v >> (8 * n - 2) & 1; }

/* --- the operations: a is zero-extended, count is masked and not zero ------------------------------------------- */

static u64 shift_left(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    u64 before = count - 1 >= 8 * n ? 0 : a << (count - 1);
    u64 r = flags_truncate(n, before << 1);
    bool cf = top(n, before);
    shift_flags(c, n, r, cf, cf ^ top(n, r));
    return r;
}

static u64 shift_right(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    u64 before = a >> (count - 1), r = before >> 1;
    shift_flags(c, n, r, before & 1, top(n, r) ^ below_top(n, r));
    return r;
}

static u64 shift_arith(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    s64 before = (s64)flags_sign_extend(n, a) >> (count - 1);
    u64 r = flags_truncate(n, (u64)(before >> 1));
    shift_flags(c, n, r, before & 1, false);
    return r;
}

static u64 rotate_left(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    unsigned bits = 8 * n, k = count % bits;
    u64 r = k ? flags_truncate(n, a << k | a >> (bits - k)) : a;
    rotate_flags(c, r & 1, (r & 1) ^ top(n, r));
    return r;
}

static u64 rotate_right(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    unsigned bits = 8 * n, k = count % bits;
    u64 r = k ? flags_truncate(n, a >> k | a << (bits - k)) : a;
    rotate_flags(c, top(n, r), top(n, r) ^ below_top(n, r));
    return r;
}

/* Through carry: a rotation of 8n + 1 bits, CF on top. A full turn still sets OF. */
static u64 rotate_carry(struct vcpu *c, unsigned n, u64 a, unsigned left)
{
    unsigned bits = 8 * n + 1;
    u128 v = (u128)flags_cf(c) << (8 * n) | a;
    v = (v << left | v >> (bits - left)) & (((u128)1 << bits) - 1);
    u64 r = flags_truncate(n, (u64)v);
    bool cf = v >> (8 * n) & 1;
    c->lazy.carry = flags_carry_word(cf, cf ^ top(n, r), flags_af(c));
    return r;
}

static u64 rotate_carry_left(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    return rotate_carry(c, n, a, count % (8 * n + 1));
}

static u64 rotate_carry_right(struct vcpu *c, unsigned n, u64 a, unsigned count)
{
    unsigned bits = 8 * n + 1;
    u64 r = rotate_carry(c, n, a, bits - count % bits);
    rotate_flags(c, flags_cf(c), top(n, r) ^ below_top(n, r));
    return r;
}

/* --- instructions --------------------------------------------------------------------------------------------- */

typedef u64 shift_fn(struct vcpu *c, unsigned n, u64 a, unsigned count);

FORM_INLINE bool shift(struct vcpu *c, const struct insn *in, shift_fn *op)
{
    u64 a, count;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 1, &count) || !operand_rmw(c, in, 0, &a))
        return false;
    count = masked_count(n, count);
    return operand_write(c, in, 0, count ? op(c, n, a, (unsigned)count) : a);
}

#define SHIFT(name, op) bool in_##name(struct vcpu *c, const struct insn *in) { return shift(c, in, op); }
SHIFT(shl, shift_left)
SHIFT(shr, shift_right)
SHIFT(sar, shift_arith)
SHIFT(rol, rotate_left)
SHIFT(ror, rotate_right)
SHIFT(rcl, rotate_carry_left)
SHIFT(rcr, rotate_carry_right)

/* Register by a non-zero immediate, register by CL. */
FORM_INLINE bool shift_imm(struct vcpu *c, const struct insn *in, unsigned n, shift_fn *op)
{
    u64 a = flags_truncate(n, form_reg(c, &in->op[0], n));
    form_set_reg(c, &in->op[0], n, op(c, n, a, masked_count(n, in->imm)));
    return true;
}
FORM_INLINE bool shift_cl(struct vcpu *c, const struct insn *in, unsigned n, shift_fn *op)
{
    unsigned count = masked_count(n, c->rcx);
    u64 a = flags_truncate(n, form_reg(c, &in->op[0], n));
    form_set_reg(c, &in->op[0], n, count ? op(c, n, a, count) : a);
    return true;
}
FORM_INLINE bool shift_mem(struct vcpu *c, const struct insn *in, unsigned n, shift_fn *op)
{
    u64 a;
    u8 *p = form_rmw(c, in, n, &a);
    if (unlikely(!p))
        return false;
    form_rmw_end(p, n, op(c, n, a, masked_count(n, in->imm)));
    return true;
}
#define SHIFT_FORM(name, op, n) \
    static bool name##_i##n(struct vcpu *c, const struct insn *in) { return form_run(c, in, shift_imm(c, in, n, op)); } \
    static bool name##_c##n(struct vcpu *c, const struct insn *in) { return form_run(c, in, shift_cl(c, in, n, op)); } \
    static bool name##_m##n(struct vcpu *c, const struct insn *in) { return form_run(c, in, shift_mem(c, in, n, op)); }
#define SHIFT_OPS(X, n) X(shl, shift_left, n) X(shr, shift_right, n) X(sar, shift_arith, n) X(rol, rotate_left, n) \
    X(ror, rotate_right, n)
SHIFT_OPS(SHIFT_FORM, 1)
SHIFT_OPS(SHIFT_FORM, 2)
SHIFT_OPS(SHIFT_FORM, 4)
SHIFT_OPS(SHIFT_FORM, 8)

interp_fn *shift_choose(const struct insn *in)
{
    enum { IMM, CL, MEM_IMM };
#define WIDTHS(name, form) { name##_##form##1, name##_##form##2, name##_##form##4, name##_##form##8 }
#define ROW(name, op, n) { in_##name, { WIDTHS(name, i), WIDTHS(name, c), WIDTHS(name, m) } },
    static const struct { interp_fn *general, *forms[3][4]; } ops[] = { SHIFT_OPS(ROW, 0) };
    int width = form_width(in->op[0].size);
    bool imm = in->op[1].kind == OP_IMM && in->op[1].reg == 0, memory = in->op[0].kind == OP_MEM;
    if (width < 0 || (!memory && !form_is_reg(&in->op[0])) || (imm && !masked_count(in->op[0].size, in->imm)) ||
        (!imm && (memory || in->op[1].kind != OP_GPR)))
        return in->chain;
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].general == in->run)
            return ops[i].forms[memory ? MEM_IMM : imm ? IMM : CL][width];
    return in->chain;
}

/* --- double shifts -------------------------------------------------------------------------------------------- */

bool in_shld(struct vcpu *c, const struct insn *in)
{
    u64 a, b, count, r;
    bool cf;
    unsigned n = in->op[0].size, bits = 8 * n;
    if (!operand_read(c, in, 2, &count) || !operand_rmw(c, in, 0, &a) || !operand_read(c, in, 1, &b))
        return false;
    count = masked_count(n, count);
    if (!count)
        return operand_write(c, in, 0, a);
    if (n == 2) {
        u64 v = a << 32 | b << 16 | a;
        r = (u16)(v << count >> 32);
        cf = v >> (48 - count) & 1;
    } else {
        r = flags_truncate(n, a << count | b >> (bits - count));
        cf = a >> (bits - count) & 1;
    }
    if (!operand_write(c, in, 0, r))
        return false;
    shift_flags(c, n, r, cf, cf ^ top(n, r));
    return true;
}

bool in_shrd(struct vcpu *c, const struct insn *in)
{
    u64 a, b, count, r;
    bool cf;
    unsigned n = in->op[0].size, bits = 8 * n;
    if (!operand_read(c, in, 2, &count) || !operand_rmw(c, in, 0, &a) || !operand_read(c, in, 1, &b))
        return false;
    count = masked_count(n, count);
    if (!count)
        return operand_write(c, in, 0, a);
    if (n == 2) {
        u64 v = a << 32 | b << 16 | a;
        r = (u16)(v >> count);
        cf = v >> (count - 1) & 1;
    } else {
        r = flags_truncate(n, a >> count | b << (bits - count));
        cf = a >> (count - 1) & 1;
    }
    if (!operand_write(c, in, 0, r))
        return false;
    shift_flags(c, n, r, cf, top(n, r) ^ below_top(n, r));
    return true;
}

/* --- BMI2: no flags ------------------------------------------------------------------------------------------- */

bool in_rorx(struct vcpu *c, const struct insn *in)
{
    u64 a;
    unsigned n = in->op[0].size, k = masked_count(n, in->imm);
    if (!operand_read(c, in, 1, &a))
        return false;
    gpr_write(c, in->op[0].reg, n, k ? a >> k | a << (8 * n - k) : a);
    return true;
}

static bool read_shiftx(struct vcpu *c, const struct insn *in, u64 *a, unsigned *count)
{
    if (!operand_read(c, in, 1, a))
        return false;
    *count = masked_count(in->op[0].size, c->gpr[in->op[2].reg]);
    return true;
}

bool in_shlx(struct vcpu *c, const struct insn *in)
{
    u64 a;
    unsigned k;
    if (!read_shiftx(c, in, &a, &k))
        return false;
    gpr_write(c, in->op[0].reg, in->op[0].size, a << k);
    return true;
}

bool in_shrx(struct vcpu *c, const struct insn *in)
{
    u64 a;
    unsigned k;
    if (!read_shiftx(c, in, &a, &k))
        return false;
    gpr_write(c, in->op[0].reg, in->op[0].size, a >> k);
    return true;
}

bool in_sarx(struct vcpu *c, const struct insn *in)
{
    u64 a;
    unsigned k;
    if (!read_shiftx(c, in, &a, &k))
        return false;
    gpr_write(c, in->op[0].reg, in->op[0].size, (u64)((s64)flags_sign_extend(in->op[0].size, a) >> k));
    return true;
}
