/* sse_math.h - one lane of SSE, AVX and FMA floating-point arithmetic, as bit patterns of 32 or 64 bits.
 *
 * A lane function takes and returns a pattern in a u64; `dbl` says whether it is a double and is a constant where these
 * functions are inlined. Flags of all lanes gather in struct sse, apart for exceptions found before a result (IE DE ZE)
 * and after it (OE UE PE), and go to MXCSR by sse_finish. SDM 1 11.5 (exceptions), 4.8.3.5 (NaNs), 10.2.3 (DAZ, FZ).
 *
 * The common case goes through the host's own arithmetic: everything masked, rounding to nearest, PE set already (it is
 * sticky), operands and result normal numbers. Then no flag can change, and both IEEE 754 hosts give the same bits.
 */
#ifndef SHADOW86_SSE_MATH_H
#define SHADOW86_SSE_MATH_H

#include <string.h>

#include "cpu/fpu.h"
#include "cpu/operand.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

struct sse {
    u32 mxcsr;
    u8 pre, post;       /* FP_* of all lanes so far */
    bool fast;
    bool recheck;       /* the lane just done overflowed or underflowed unmasked: is it inexact as well? */
};

static inline struct sse sse_begin(const struct vcpu *c)
{
    u32 m = c->mxcsr;
    softfloat_roundingMode = fpu_soft_rounding(m >> MXCSR_RC_SHIFT & 3);
    softfloat_exceptionFlags = 0;
    return (struct sse){ .mxcsr = m, .fast = (m & (MXCSR_RC | MXCSR_MASKS | FP_PE)) == (MXCSR_MASKS | FP_PE) };
}
static inline bool sse_finish(struct vcpu *c, const struct sse *s) { return fpu_sse_signal(c, s->pre, s->post); }

/* --- formats --- */
ALWAYS_INLINE u64 sse_sign_bit(bool dbl) { return dbl ? (u64)1 << 63 : (u64)1 << 31; }
ALWAYS_INLINE u64 sse_exp_bits(bool dbl) { return dbl ? 0x7ff0000000000000 : 0x7f800000; }
ALWAYS_INLINE u64 sse_quiet_bit(bool dbl) { return dbl ? (u64)1 << 51 : (u64)1 << 22; }
ALWAYS_INLINE u64 sse_indefinite(bool dbl) { return dbl ? 0xfff8000000000000 : 0xffc00000; }
ALWAYS_INLINE bool sse_is_nan(bool dbl, u64 v) { return (v & ~sse_sign_bit(dbl)) > sse_exp_bits(dbl); }
ALWAYS_INLINE bool sse_is_snan(bool dbl, u64 v) { return sse_is_nan(dbl, v) && !(v & sse_quiet_bit(dbl)); }
ALWAYS_INLINE bool sse_is_denormal(bool dbl, u64 v) { return !(v & sse_exp_bits(dbl)) && v & ~sse_sign_bit(dbl); }
/* Not zero, denormal, infinite or NaN. */
ALWAYS_INLINE bool sse_is_normal(bool dbl, u64 v)
{
    u64 one = sse_quiet_bit(dbl) << 1;      /* of the exponent */
    return (v & sse_exp_bits(dbl)) - one < sse_exp_bits(dbl) - one;
}

/* DAZ: denormal operands are zeros. */
ALWAYS_INLINE u64 sse_operand(const struct sse *s, bool dbl, u64 v)
{
    return s->mxcsr & MXCSR_DAZ && sse_is_denormal(dbl, v) ? v & sse_sign_bit(dbl) : v;
}

/* At least one is a NaN: the first one that is, made quiet. */
ALWAYS_INLINE u64 sse_nan(struct sse *s, bool dbl, u64 a, u64 b)
{
    if (sse_is_snan(dbl, a) || sse_is_snan(dbl, b))
        s->pre |= FP_IE;
    return (sse_is_nan(dbl, a) ? a : b) | sse_quiet_bit(dbl);
}

/* Flags of the SoftFloat operation that gave r; underflow as MXCSR wants it (exact tiny results count if underflow is
 * unmasked or flushed). denormal: an operand was. */
ALWAYS_INLINE u64 sse_result(struct sse *s, bool dbl, u64 r, bool denormal)
{
    unsigned f = fpu_soft_flags();
    softfloat_exceptionFlags = 0;
    if (f & (FP_IE | FP_ZE)) {
        s->pre |= f & (FP_IE | FP_ZE);
        return r;
    }
    if (denormal)
        s->pre |= FP_DE;
    if (f & FP_UE || sse_is_denormal(dbl, r)) {
        if (!(s->mxcsr & FP_UE << MXCSR_MASK_SHIFT)) {
            f |= FP_UE;
        } else if (s->mxcsr & MXCSR_FZ) {
            f |= FP_UE | FP_PE;
            r &= sse_sign_bit(dbl);
        }
    }
    if (unlikely(f & (FP_OE | FP_UE) & ~(s->mxcsr >> MXCSR_MASK_SHIFT))) {
        s->recheck = true;
        f &= ~(unsigned)FP_PE;
    }
    s->post |= f;
    return r;
}

/* Unmasked overflow and underflow report PE only if the result were inexact with an unlimited exponent (SDM 1 4.9.1.4,
 * 4.9.1.5). x op y (op z): done once more in the quadruple format. */
enum sse_arith { SSE_ADD, SSE_SUB, SSE_MUL, SSE_DIV, SSE_FMA, SSE_NARROW /* x, double to float */ };
void sse_recheck(struct sse *s, bool dbl, enum sse_arith op, u64 x, u64 y, u64 z);

/* --- the host's arithmetic --- */

ALWAYS_INLINE u64 sse_host(bool dbl, enum sse_arith op, u64 a, u64 b)
{
    u64 bits = 0;
    if (dbl) {
        double x, y, z;
        memcpy(&x, &a, 8);
        memcpy(&y, &b, 8);
        z = op == SSE_ADD ? x + y : op == SSE_SUB ? x - y : op == SSE_MUL ? x * y : x / y;
        memcpy(&bits, &z, 8);
        return bits;
    }
    u32 p = (u32)a, q = (u32)b, r;
    float x, y, z;
    memcpy(&x, &p, 4);
    memcpy(&y, &q, 4);
    z = op == SSE_ADD ? x + y : op == SSE_SUB ? x - y : op == SSE_MUL ? x * y : x / y;
    memcpy(&r, &z, 4);
    return r;
}

/* Both exponents of operands and result inside the normal range; the lowest one is left out, as rounding may reach it
 * from below. */
ALWAYS_INLINE bool sse_fast(const struct sse *s, bool dbl, enum sse_arith op, u64 a, u64 b, u64 *r)
{
    if (!s->fast || !sse_is_normal(dbl, a) || !sse_is_normal(dbl, b))
        return false;
    *r = sse_host(dbl, op, a, b);
    return sse_is_normal(dbl, *r) && (*r & sse_exp_bits(dbl)) != sse_quiet_bit(dbl) << 1;
}

/* --- lanes --- */
ALWAYS_INLINE u64 sse_soft(bool dbl, enum sse_arith op, u64 a, u64 b)
{
    float64_t x = { a }, y = { b };
    float32_t p = { (u32)a }, q = { (u32)b };
    switch (op) {
    case SSE_ADD: return dbl ? f64_add(x, y).v : f32_add(p, q).v;
    case SSE_SUB: return dbl ? f64_sub(x, y).v : f32_sub(p, q).v;
    case SSE_MUL: return dbl ? f64_mul(x, y).v : f32_mul(p, q).v;
    default: return dbl ? f64_div(x, y).v : f32_div(p, q).v;
    }
}

ALWAYS_INLINE u64 sse_arith(struct sse *s, bool dbl, enum sse_arith op, u64 a, u64 b)
{
    u64 r;
    if (likely(sse_fast(s, dbl, op, a, b, &r)))
        return r;
    a = sse_operand(s, dbl, a);
    b = sse_operand(s, dbl, b);
    if (unlikely(sse_is_nan(dbl, a) || sse_is_nan(dbl, b)))
        return sse_nan(s, dbl, a, b);
    r = sse_result(s, dbl, sse_soft(dbl, op, a, b), sse_is_denormal(dbl, a) || sse_is_denormal(dbl, b));
    if (unlikely(s->recheck))
        sse_recheck(s, dbl, op, a, b, 0);
    return r;
}

ALWAYS_INLINE u64 sse_add(struct sse *s, bool dbl, u64 a, u64 b) { return sse_arith(s, dbl, SSE_ADD, a, b); }
ALWAYS_INLINE u64 sse_sub(struct sse *s, bool dbl, u64 a, u64 b) { return sse_arith(s, dbl, SSE_SUB, a, b); }
ALWAYS_INLINE u64 sse_mul(struct sse *s, bool dbl, u64 a, u64 b) { return sse_arith(s, dbl, SSE_MUL, a, b); }
ALWAYS_INLINE u64 sse_div(struct sse *s, bool dbl, u64 a, u64 b) { return sse_arith(s, dbl, SSE_DIV, a, b); }

ALWAYS_INLINE u64 sse_sqrt(struct sse *s, bool dbl, u64 a)
{
    a = sse_operand(s, dbl, a);
    if (unlikely(sse_is_nan(dbl, a)))
        return sse_nan(s, dbl, a, a);
    u64 r = dbl ? f64_sqrt((float64_t){ a }).v : f32_sqrt((float32_t){ (u32)a }).v;
    return sse_result(s, dbl, r, sse_is_denormal(dbl, a));
}

/* How a and b stand to each other, as one bit. */
enum sse_order { SSE_LT = 1, SSE_EQ = 2, SSE_GT = 4, SSE_UN = 8 };

/* signaling: a QNaN raises IE too. */
ALWAYS_INLINE enum sse_order sse_compare(struct sse *s, bool dbl, u64 a, u64 b, bool signaling)
{
    const u64 sign = sse_sign_bit(dbl);
    a = sse_operand(s, dbl, a);
    b = sse_operand(s, dbl, b);
    if (unlikely(sse_is_nan(dbl, a) || sse_is_nan(dbl, b))) {
        if (signaling || sse_is_snan(dbl, a) || sse_is_snan(dbl, b))
            s->pre |= FP_IE;
        return SSE_UN;
    }
    if (unlikely(sse_is_denormal(dbl, a) || sse_is_denormal(dbl, b)))
        s->pre |= FP_DE;
    if (a == b || !((a | b) & ~sign))
        return SSE_EQ;
    if ((a ^ b) & sign)
        return a & sign ? SSE_LT : SSE_GT;
    return (a < b) == !(a & sign) ? SSE_LT : SSE_GT;
}

/* MINxx, MAXxx: the second operand unless the first one is strictly less (greater); any NaN raises IE. */
ALWAYS_INLINE u64 sse_select(struct sse *s, bool dbl, u64 a, u64 b, enum sse_order first_if)
{
    return sse_operand(s, dbl, sse_compare(s, dbl, a, b, true) == first_if ? a : b);
}
ALWAYS_INLINE u64 sse_min(struct sse *s, bool dbl, u64 a, u64 b) { return sse_select(s, dbl, a, b, SSE_LT); }
ALWAYS_INLINE u64 sse_max(struct sse *s, bool dbl, u64 a, u64 b) { return sse_select(s, dbl, a, b, SSE_GT); }

/* --- lanes of a register --- */
ALWAYS_INLINE u64 sse_get(const union vec *v, bool dbl, unsigned i) { return dbl ? v->q[i] : v->d[i]; }
ALWAYS_INLINE void sse_put(union vec *v, bool dbl, unsigned i, u64 bits)
{
    if (dbl)
        v->q[i] = bits;
    else
        v->d[i] = (u32)bits;
}

/* --- operands: as operand_read_vec and operand_write_vec, but registers are taken whole and in line --- */
ALWAYS_INLINE bool sse_read(struct vcpu *c, const struct insn *in, unsigned i, union vec *v)
{
    if (in->op[i].kind != OP_VEC)
        return operand_read_vec(c, in, i, v);
    *v = c->vec[in->op[i].reg];
    return true;
}

/* The lowest lane of operand i. */
ALWAYS_INLINE bool sse_read_scalar(struct vcpu *c, const struct insn *in, unsigned i, bool dbl, u64 *bits)
{
    if (in->op[i].kind != OP_VEC)
        return operand_read(c, in, i, bits);
    *bits = sse_get(&c->vec[in->op[i].reg], dbl, 0);
    return true;
}

/* Register operand 0 := bits in its lowest lane, the rest of 128 bits from operand 1. */
ALWAYS_INLINE void sse_write_scalar(struct vcpu *c, const struct insn *in, bool dbl, u64 bits)
{
    union vec *to = &c->vec[in->op[0].reg];
    if (in->op[1].reg != in->op[0].reg) {
        to->q[0] = c->vec[in->op[1].reg].q[0];
        to->q[1] = c->vec[in->op[1].reg].q[1];
    }
    sse_put(to, dbl, 0, bits);
    if (in->vex)
        to->q[2] = to->q[3] = 0;
}

ALWAYS_INLINE unsigned sse_lanes(const struct insn *in, bool dbl) { return in->vl / (dbl ? 8u : 4u); }

#endif
