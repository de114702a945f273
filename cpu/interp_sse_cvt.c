/* interp_sse_cvt.c - conversions of SSE, AVX and F16C: CVTxx2yy, CVTTxx2yy, VCVTPH2PS, VCVTPS2PH.
 *
 * To integers: out of range or NaN gives IE and the integer indefinite (80..0), denormals are inexact but raise no DE.
 * Forms with an MMX register switch the x87 to MMX state before #XM is decided, as CPUs do, but after memory.
 * SDM 1 11.4.1.6, 14.4, SDM 2A.
 */
#include "cpu/interp.h"
#include "cpu/operand.h"
#include "cpu/sse_math.h"
#include "cpu/vec.h"

/* --- one lane --- */

ALWAYS_INLINE u64 widen(struct sse *s, u64 v)
{
    v = sse_operand(s, false, v);
    u64 r = f32_to_f64((float32_t){ (u32)v }).v;
    return sse_result(s, true, r, sse_is_denormal(false, v));
}

ALWAYS_INLINE u64 narrow(struct sse *s, u64 v)
{
    v = sse_operand(s, true, v);
    u64 r = f64_to_f32((float64_t){ v }).v;
    r = sse_result(s, false, r, sse_is_denormal(true, v));
    if (unlikely(s->recheck))
        sse_recheck(s, false, SSE_NARROW, v, 0, 0);
    return r;
}

ALWAYS_INLINE u64 from_int(struct sse *s, bool dbl, s64 v)
{
    u64 r = dbl ? i64_to_f64(v).v : i64_to_f32(v).v;
    return sse_result(s, dbl, r, false);
}

/* bytes: 4 or 8, of the integer. */
ALWAYS_INLINE u64 to_int(struct sse *s, bool dbl, u64 v, unsigned bytes, bool truncate)
{
    v = sse_operand(s, dbl, v);
    uint_fast8_t mode = truncate ? softfloat_round_minMag : softfloat_roundingMode;
    float64_t d = { v };
    float32_t f = { (u32)v };
    u64 r;
    if (bytes == 8)
        r = (u64)(dbl ? f64_to_i64(d, mode, true) : f32_to_i64(f, mode, true));
    else
        r = (u32)(dbl ? f64_to_i32(d, mode, true) : f32_to_i32(f, mode, true));
    unsigned flags = fpu_soft_flags();
    softfloat_exceptionFlags = 0;
    s->pre |= flags & FP_IE;
    s->post |= flags & FP_PE;
    return r;
}

/* --- packed --- */

static inline bool finish(struct vcpu *c, const struct insn *in, const struct sse *s, const union vec *r)
{
    return sse_finish(c, s) && operand_write_vec(c, in, 0, r);
}

static inline bool finish_scalar(struct vcpu *c, const struct insn *in, const struct sse *s, bool dbl, u64 bits)
{
    if (!sse_finish(c, s))
        return false;
    sse_write_scalar(c, in, dbl, bits);
    return true;
}

bool in_cvtps2pd(struct vcpu *c, const struct insn *in)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, true); i++)
        r.q[i] = widen(&s, a.d[i]);
    return finish(c, in, &s, &r);
}

bool in_cvtpd2ps(struct vcpu *c, const struct insn *in)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, true); i++)
        r.d[i] = (u32)narrow(&s, a.q[i]);
    return finish(c, in, &s, &r);
}

bool in_cvtdq2ps(struct vcpu *c, const struct insn *in)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, false); i++)
        r.d[i] = (u32)from_int(&s, false, a.sd[i]);
    return finish(c, in, &s, &r);
}

bool in_cvtdq2pd(struct vcpu *c, const struct insn *in)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, true); i++)
        r.q[i] = from_int(&s, true, a.sd[i]);
    return finish(c, in, &s, &r);
}

/* Doublewords out of floats or doubles; what is left of the destination becomes zero. */
ALWAYS_INLINE bool to_dwords(struct vcpu *c, const struct insn *in, bool dbl, bool truncate)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, dbl); i++)
        r.d[i] = (u32)to_int(&s, dbl, sse_get(&a, dbl, i), 4, truncate);
    return finish(c, in, &s, &r);
}

bool in_cvtps2dq(struct vcpu *c, const struct insn *in) { return to_dwords(c, in, false, false); }
bool in_cvttps2dq(struct vcpu *c, const struct insn *in) { return to_dwords(c, in, false, true); }
bool in_cvtpd2dq(struct vcpu *c, const struct insn *in) { return to_dwords(c, in, true, false); }
bool in_cvttpd2dq(struct vcpu *c, const struct insn *in) { return to_dwords(c, in, true, true); }

/* --- scalar --- */

bool in_cvtss2sd(struct vcpu *c, const struct insn *in)
{
    u64 b;
    if (!sse_read_scalar(c, in, 2, false, &b))
        return false;
    struct sse s = sse_begin(c);
    b = widen(&s, b);
    return finish_scalar(c, in, &s, true, b);
}

bool in_cvtsd2ss(struct vcpu *c, const struct insn *in)
{
    u64 b;
    if (!sse_read_scalar(c, in, 2, true, &b))
        return false;
    struct sse s = sse_begin(c);
    b = narrow(&s, b);
    return finish_scalar(c, in, &s, false, b);
}

ALWAYS_INLINE bool scalar_from_int(struct vcpu *c, const struct insn *in, bool dbl)
{
    u64 v;
    if (!operand_read(c, in, 2, &v))
        return false;
    struct sse s = sse_begin(c);
    v = from_int(&s, dbl, in->op[2].size == 8 ? (s64)v : (s32)v);
    return finish_scalar(c, in, &s, dbl, v);
}

bool in_cvtsi2ss(struct vcpu *c, const struct insn *in) { return scalar_from_int(c, in, false); }
bool in_cvtsi2sd(struct vcpu *c, const struct insn *in) { return scalar_from_int(c, in, true); }

ALWAYS_INLINE bool scalar_to_int(struct vcpu *c, const struct insn *in, bool dbl, bool truncate)
{
    u64 v;
    if (!sse_read_scalar(c, in, 1, dbl, &v))
        return false;
    struct sse s = sse_begin(c);
    v = to_int(&s, dbl, v, in->op[0].size, truncate);
    return sse_finish(c, &s) && operand_write(c, in, 0, v);
}

bool in_cvtss2si(struct vcpu *c, const struct insn *in) { return scalar_to_int(c, in, false, false); }
bool in_cvtsd2si(struct vcpu *c, const struct insn *in) { return scalar_to_int(c, in, true, false); }
bool in_cvttss2si(struct vcpu *c, const struct insn *in) { return scalar_to_int(c, in, false, true); }
bool in_cvttsd2si(struct vcpu *c, const struct insn *in) { return scalar_to_int(c, in, true, true); }

/* --- with MMX registers --- */

ALWAYS_INLINE bool from_mmx(struct vcpu *c, const struct insn *in, bool dbl)
{
    union vec a, r = c->vec[in->op[0].reg];
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < 2; i++)
        sse_put(&r, dbl, i, from_int(&s, dbl, a.sd[i]));
    vec_mmx_commit(c, in);
    return finish(c, in, &s, &r);
}

bool in_cvtpi2ps(struct vcpu *c, const struct insn *in) { return from_mmx(c, in, false); }
bool in_cvtpi2pd(struct vcpu *c, const struct insn *in) { return from_mmx(c, in, true); }

ALWAYS_INLINE bool to_mmx(struct vcpu *c, const struct insn *in, bool dbl, bool truncate)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < 2; i++)
        r.d[i] = (u32)to_int(&s, dbl, sse_get(&a, dbl, i), 4, truncate);
    vec_mmx_commit(c, in);
    return sse_finish(c, &s) && vec_write(c, in, &r);
}

bool in_cvtps2pi(struct vcpu *c, const struct insn *in) { return to_mmx(c, in, false, false); }
bool in_cvttps2pi(struct vcpu *c, const struct insn *in) { return to_mmx(c, in, false, true); }
bool in_cvtpd2pi(struct vcpu *c, const struct insn *in) { return to_mmx(c, in, true, false); }
bool in_cvttpd2pi(struct vcpu *c, const struct insn *in) { return to_mmx(c, in, true, true); }

/* --- half precision: MXCSR.DAZ and FZ do not apply to the halves; denormal halves raise no DE --- */

bool in_vcvtph2ps(struct vcpu *c, const struct insn *in)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    struct sse s = sse_begin(c);
    for (unsigned i = 0; i < sse_lanes(in, false); i++)
        r.d[i] = f16_to_f32((float16_t){ a.w[i] }).v;
    s.pre = fpu_soft_flags() & FP_IE;
    return finish(c, in, &s, &r);
}

ALWAYS_INLINE u16 to_half(struct sse *s, u32 v)
{
    v = (u32)sse_operand(s, false, v);
    u16 r = f32_to_f16((float32_t){ v }).v;
    unsigned f = fpu_soft_flags();
    softfloat_exceptionFlags = 0;
    if (f & FP_IE) {
        s->pre |= FP_IE;
        return r;
    }
    if (sse_is_denormal(false, v))
        s->pre |= FP_DE;
    if (!(r & 0x7c00) && r & 0x3ff && !(s->mxcsr & FP_UE << MXCSR_MASK_SHIFT))
        f |= FP_UE;         /* unmasked: exact tiny results as well */
    if (f & (FP_OE | FP_UE) & ~(s->mxcsr >> MXCSR_MASK_SHIFT)) {
        /* PE only if 11 bits do not hold the significand, see sse_recheck */
        u32 mant = v & 0x7f800000 ? (v & 0x7fffff) | 0x800000 : v & 0x7fffff;
        mant <<= __builtin_clz(mant);
        f = (f & ~(unsigned)FP_PE) | (mant << 11 ? FP_PE : 0);
    }
    s->post |= f;
    return r;
}

/* imm: 1:0 rounding control, 2 use MXCSR's instead. The destination may be memory: its faults come first. */
bool in_vcvtps2ph(struct vcpu *c, const struct insn *in)
{
    union vec a, r = { { 0 } };
    if (!sse_read(c, in, 1, &a))
        return false;
    if (in->op[0].kind == OP_MEM && !mem_probe_write(c, in->seg, operand_ea(c, in), in->op[0].size))
        return false;
    struct sse s = sse_begin(c);
    if (!(in->imm & 4))
        softfloat_roundingMode = fpu_soft_rounding(in->imm & 3);
    for (unsigned i = 0; i < sse_lanes(in, false); i++)
        r.w[i] = to_half(&s, a.d[i]);
    return finish(c, in, &s, &r);
}
