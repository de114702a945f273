/* interp_sse_fp.c - SSE to AVX floating-point arithmetic: ADD SUB MUL DIV SQRT MIN MAX CMP COMIS UCOMIS ROUND DPPS DPPD
 * ADDSUB HADD HSUB RCP RSQRT.
 *
 * Every function reads its sources, computes all lanes (sse_math.h), lets MXCSR decide, and writes. Scalar forms take
 * the rest of the low 128 bits from operand 1. RCP and RSQRT differ between processors by design; ours are rounded to
 * 12 bits of fraction, which keeps the documented error of 1.5 * 2^-12. SDM 1 11.4, SDM 2 chapters 3 to 5.
 */
#include "cpu/interp.h"
#include "cpu/operand.h"
#include "cpu/sse_math.h"

typedef u64 op2_fn(struct sse *s, bool dbl, u64 a, u64 b);
typedef u64 op1_fn(struct sse *s, bool dbl, u64 a);

static inline bool finish(struct vcpu *c, const struct insn *in, const struct sse *s, const union vec *r)
{
    return sse_finish(c, s) && operand_write_vec(c, in, 0, r);
}

static inline bool sources(struct vcpu *c, const struct insn *in, union vec *a, union vec *b)
{
    return sse_read(c, in, 1, a) && sse_read(c, in, 2, b);
}

ALWAYS_INLINE bool packed2(struct vcpu *c, const struct insn *in, bool dbl, op2_fn *op)
{
    union vec a, b, r = { { 0 } };
    if (!sources(c, in, &a, &b))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, dbl); i++)
        sse_put(&r, dbl, i, op(&s, dbl, sse_get(&a, dbl, i), sse_get(&b, dbl, i)));
    return finish(c, in, &s, &r);
}

ALWAYS_INLINE bool packed1(struct vcpu *c, const struct insn *in, bool dbl, op1_fn *op)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, dbl); i++)
        sse_put(&r, dbl, i, op(&s, dbl, sse_get(&a, dbl, i)));
    return finish(c, in, &s, &r);
}

/* The result of a scalar form, if MXCSR lets it pass. */
ALWAYS_INLINE bool finish_scalar(struct vcpu *c, const struct insn *in, const struct sse *s, bool dbl, u64 bits)
{
    if (!sse_finish(c, s))
        return false;
    sse_write_scalar(c, in, dbl, bits);
    return true;
}

ALWAYS_INLINE bool scalar2(struct vcpu *c, const struct insn *in, bool dbl, op2_fn *op)
{
    u64 a = sse_get(&c->vec[in->op[1].reg], dbl, 0), b;
    if (!sse_read_scalar(c, in, 2, dbl, &b))
        return false;
    struct sse s = sse_begin(c);
    a = op(&s, dbl, a, b);
    return finish_scalar(c, in, &s, dbl, a);
}

ALWAYS_INLINE bool scalar1(struct vcpu *c, const struct insn *in, bool dbl, op1_fn *op)
{
    u64 b;
    if (!sse_read_scalar(c, in, 2, dbl, &b))
        return false;
    struct sse s = sse_begin(c);
    b = op(&s, dbl, b);
    return finish_scalar(c, in, &s, dbl, b);
}

#define ARITHMETIC2(F) F(add) F(sub) F(mul) F(div) F(min) F(max)
#define F(name) \
    bool in_##name##ps(struct vcpu *c, const struct insn *in) { return packed2(c, in, false, sse_##name); } \
    bool in_##name##pd(struct vcpu *c, const struct insn *in) { return packed2(c, in, true, sse_##name); } \
    bool in_##name##ss(struct vcpu *c, const struct insn *in) { return scalar2(c, in, false, sse_##name); } \
    bool in_##name##sd(struct vcpu *c, const struct insn *in) { return scalar2(c, in, true, sse_##name); }
ARITHMETIC2(F)
#undef F

bool in_sqrtps(struct vcpu *c, const struct insn *in) { return packed1(c, in, false, sse_sqrt); }
bool in_sqrtpd(struct vcpu *c, const struct insn *in) { return packed1(c, in, true, sse_sqrt); }
bool in_sqrtss(struct vcpu *c, const struct insn *in) { return scalar1(c, in, false, sse_sqrt); }
bool in_sqrtsd(struct vcpu *c, const struct insn *in) { return scalar1(c, in, true, sse_sqrt); }

/* --- approximations: no exceptions, no MXCSR; denormals count as zeros in and out --- */

/* Bits of an unsigned real number mant * 2^(exp - 12), mant in [2^12, 2^13], as a float; exp is not yet biased. */
static u32 approximate_pack(u32 sign, int exp, u32 mant)
{
    if (mant >> 13) {
        mant >>= 1;
        exp++;
    }
    if (exp + 127 <= 0)
        return sign;
    return sign | (u32)(exp + 127) << 23 | (mant & 0xfff) << 11;
}

ALWAYS_INLINE u64 sse_rcp(struct sse *s, bool dbl, u64 v)
{
    u32 sign = (u32)v & 0x80000000, exp = (u32)v >> 23 & 0xff;
    u64 mant = (v & 0x7fffff) | 0x800000;
    if (sse_is_nan(false, v))
        return v | sse_quiet_bit(false);
    if (!exp)
        return sign | 0x7f800000;
    if (exp == 0xff)
        return sign;
    /* 1 / (1.f * 2^e) = (2 / 1.f) * 2^(-e - 1), 2 / 1.f in (1, 2] */
    u32 q = (u32)((((u64)1 << 37) / mant + 1) >> 1);
    return approximate_pack(sign, 126 - (int)exp, q);
}

/* Largest r with r * r <= v. */
static u32 integer_sqrt(u64 v)
{
    u32 r = 0;
    for (u32 bit = (u32)1 << 31; bit; bit >>= 1)
        if ((u64)(r | bit) * (r | bit) <= v)
            r |= bit;
    return r;
}

ALWAYS_INLINE u64 sse_rsqrt(struct sse *s, bool dbl, u64 v)
{
    u32 sign = (u32)v & 0x80000000, exp = (u32)v >> 23 & 0xff;
    u64 mant = (v & 0x7fffff) | 0x800000;
    if (sse_is_nan(false, v))
        return v | sse_quiet_bit(false);
    if (!exp)
        return sign | 0x7f800000;
    if (sign)
        return sse_indefinite(false);
    if (exp == 0xff)
        return 0;
    /* v = m * 2^(2h) with m in [1, 4): 1/sqrt(v) = 2/sqrt(m) * 2^(-h-1), 2/sqrt(m) in (1, 2] */
    int e = (int)exp - 127, half = e >> 1;
    mant <<= e & 1;         /* m * 2^23 */
    u32 root = integer_sqrt(((u64)1 << 51) / mant);     /* 2/sqrt(m) * 2^13 = sqrt(4 / m * 2^26) */
    return approximate_pack(0, -half - 1, (root + 1) >> 1);
}

bool in_rcpps(struct vcpu *c, const struct insn *in) { return packed1(c, in, false, sse_rcp); }
bool in_rcpss(struct vcpu *c, const struct insn *in) { return scalar1(c, in, false, sse_rcp); }
bool in_rsqrtps(struct vcpu *c, const struct insn *in) { return packed1(c, in, false, sse_rsqrt); }
bool in_rsqrtss(struct vcpu *c, const struct insn *in) { return scalar1(c, in, false, sse_rsqrt); }

/* --- compares --- */

/* SDM 2A table 3-1 (CMPPD): relations for which predicate 0..15 is true; does it signal? (16..31: the opposite) */
static const struct { u8 true_if; bool signaling; } predicates[16] = {
    { SSE_EQ, false },                      { SSE_LT, true },
    { SSE_LT | SSE_EQ, true },              { SSE_UN, false },
    { SSE_LT | SSE_GT | SSE_UN, false },    { SSE_EQ | SSE_GT | SSE_UN, true },
    { SSE_GT | SSE_UN, true },              { SSE_LT | SSE_EQ | SSE_GT, false },
    { SSE_EQ | SSE_UN, false },             { SSE_LT | SSE_UN, true },
    { SSE_LT | SSE_EQ | SSE_UN, true },     { 0, false },
    { SSE_LT | SSE_GT, false },             { SSE_EQ | SSE_GT, true },
    { SSE_GT, true },                       { SSE_LT | SSE_EQ | SSE_GT | SSE_UN, false },
};

ALWAYS_INLINE bool compare(struct vcpu *c, const struct insn *in, bool dbl, bool packed)
{
    union vec a, b, r = { { 0 } };
    if (!sources(c, in, &a, &b))
        return false;
    struct sse s = sse_begin(c);
    unsigned p = in->imm & (in->vex ? 31 : 7);
    bool signaling = predicates[p & 15].signaling ^ (p >> 4);
    if (!packed)
        r = a;
    for (unsigned i = 0; i < (packed ? sse_lanes(in, dbl) : 1); i++) {
        enum sse_order o = sse_compare(&s, dbl, sse_get(&a, dbl, i), sse_get(&b, dbl, i), signaling);
        sse_put(&r, dbl, i, predicates[p & 15].true_if & o ? ~(u64)0 : 0);
    }
    return finish(c, in, &s, &r);
}

bool in_cmpps(struct vcpu *c, const struct insn *in) { return compare(c, in, false, true); }
bool in_cmppd(struct vcpu *c, const struct insn *in) { return compare(c, in, true, true); }
bool in_cmpss(struct vcpu *c, const struct insn *in) { return compare(c, in, false, false); }
bool in_cmpsd(struct vcpu *c, const struct insn *in) { return compare(c, in, true, false); }

ALWAYS_INLINE bool compare_flags(struct vcpu *c, const struct insn *in, bool dbl, bool signaling)
{
    u64 b;
    if (!sse_read_scalar(c, in, 1, dbl, &b))
        return false;
    struct sse s = sse_begin(c);
    enum sse_order o = sse_compare(&s, dbl, sse_get(&c->vec[in->op[0].reg], dbl, 0), b, signaling);
    if (!sse_finish(c, &s))
        return false;
    rflags_put(c, EFL_STATUS, (o & (SSE_EQ | SSE_UN) ? EFL_ZF : 0) | (o & SSE_UN ? EFL_PF : 0) |
                              (o & (SSE_LT | SSE_UN) ? EFL_CF : 0));
    return true;
}

bool in_comiss(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, false, true); }
bool in_comisd(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, true, true); }
bool in_ucomiss(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, false, false); }
bool in_ucomisd(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, true, false); }

/* --- rounding to integers --- */

/* imm: 1:0 rounding control, 2 use MXCSR's instead, 3 do not report PE (SDM 2B, ROUNDPD). */
ALWAYS_INLINE u64 round_lane(struct sse *s, bool dbl, u64 v, u8 imm)
{
    v = sse_operand(s, dbl, v);
    if (sse_is_nan(dbl, v))
        return sse_nan(s, dbl, v, v);
    uint_fast8_t mode = imm & 4 ? softfloat_roundingMode : fpu_soft_rounding(imm & 3);
    u64 r = dbl ? f64_roundToInt((float64_t){ v }, mode, !(imm & 8)).v
                : f32_roundToInt((float32_t){ (u32)v }, mode, !(imm & 8)).v;
    return sse_result(s, dbl, r, false);
}

ALWAYS_INLINE bool round_packed(struct vcpu *c, const struct insn *in, bool dbl)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, dbl); i++)
        sse_put(&r, dbl, i, round_lane(&s, dbl, sse_get(&a, dbl, i), (u8)in->imm));
    return finish(c, in, &s, &r);
}

ALWAYS_INLINE bool round_scalar(struct vcpu *c, const struct insn *in, bool dbl)
{
    u64 b;
    if (!sse_read_scalar(c, in, 2, dbl, &b))
        return false;
    struct sse s = sse_begin(c);
    b = round_lane(&s, dbl, b, (u8)in->imm);
    return finish_scalar(c, in, &s, dbl, b);
}

bool in_roundps(struct vcpu *c, const struct insn *in) { return round_packed(c, in, false); }
bool in_roundpd(struct vcpu *c, const struct insn *in) { return round_packed(c, in, true); }
bool in_roundss(struct vcpu *c, const struct insn *in) { return round_scalar(c, in, false); }
bool in_roundsd(struct vcpu *c, const struct insn *in) { return round_scalar(c, in, true); }

/* --- across lanes --- */

ALWAYS_INLINE bool add_sub(struct vcpu *c, const struct insn *in, bool dbl)
{
    union vec a, b, r = { { 0 } };
    if (!sources(c, in, &a, &b))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, dbl); i++)
        sse_put(&r, dbl, i, sse_arith(&s, dbl, i & 1 ? SSE_ADD : SSE_SUB, sse_get(&a, dbl, i), sse_get(&b, dbl, i)));
    return finish(c, in, &s, &r);
}

bool in_addsubps(struct vcpu *c, const struct insn *in) { return add_sub(c, in, false); }
bool in_addsubpd(struct vcpu *c, const struct insn *in) { return add_sub(c, in, true); }

/* In each 128 bits: neighbours of the first source, then neighbours of the second. */
ALWAYS_INLINE bool horizontal(struct vcpu *c, const struct insn *in, bool dbl, enum sse_arith op)
{
    union vec a, b, r = { { 0 } };
    const unsigned n = dbl ? 2 : 4;
    if (!sources(c, in, &a, &b))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, dbl); i++) {
        unsigned base = i / n * n, k = i % n;
        const union vec *v = k < n / 2 ? &a : &b;
        unsigned from = base + 2 * (k % (n / 2));
        sse_put(&r, dbl, i, sse_arith(&s, dbl, op, sse_get(v, dbl, from), sse_get(v, dbl, from + 1)));
    }
    return finish(c, in, &s, &r);
}

bool in_haddps(struct vcpu *c, const struct insn *in) { return horizontal(c, in, false, SSE_ADD); }
bool in_haddpd(struct vcpu *c, const struct insn *in) { return horizontal(c, in, true, SSE_ADD); }
bool in_hsubps(struct vcpu *c, const struct insn *in) { return horizontal(c, in, false, SSE_SUB); }
bool in_hsubpd(struct vcpu *c, const struct insn *in) { return horizontal(c, in, true, SSE_SUB); }

/* Dot products: products chosen by imm[7:4], summed in pairs, stored where imm[3:0] says. Each step's exceptions are
 * decided before the next step (SDM 2A, DPPS). */
ALWAYS_INLINE bool step_faults(struct sse *s, unsigned *earlier)
{
    if ((s->pre | s->post) & ~(s->mxcsr >> MXCSR_MASK_SHIFT) & FP_ALL)
        return true;
    *earlier |= s->pre | s->post;
    s->pre = s->post = 0;
    return false;
}

ALWAYS_INLINE bool dot_product(struct vcpu *c, const struct insn *in, bool dbl)
{
    union vec a, b, p = { { 0 } }, r = { { 0 } };
    const unsigned n = dbl ? 2 : 4, lanes = sse_lanes(in, dbl), imm = (u8)in->imm;
    unsigned earlier = 0;       /* flags of the steps that are done */
    if (!sources(c, in, &a, &b))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < lanes; i++)
        if (imm >> (4 + i % n) & 1)
            sse_put(&p, dbl, i, sse_mul(&s, dbl, sse_get(&a, dbl, i), sse_get(&b, dbl, i)));
    for (unsigned width = 1; width < n && !step_faults(&s, &earlier); width *= 2)
        for (unsigned i = 0; i < lanes; i += 2 * width)
            sse_put(&p, dbl, i, sse_add(&s, dbl, sse_get(&p, dbl, i), sse_get(&p, dbl, i + width)));
    for (unsigned i = 0; i < lanes; i++)
        sse_put(&r, dbl, i, imm >> (i % n) & 1 ? sse_get(&p, dbl, i / n * n) : 0);
    c->mxcsr |= earlier;
    return finish(c, in, &s, &r);
}

bool in_dpps(struct vcpu *c, const struct insn *in) { return dot_product(c, in, false); }
bool in_dppd(struct vcpu *c, const struct insn *in) { return dot_product(c, in, true); }
