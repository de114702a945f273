/* interp_fma.c - FMA3: VFMADD VFMSUB VFNMADD VFNMSUB VFMADDSUB VFMSUBADD, orders 132, 213 and 231, packed and scalar.
 *
 * result = (negated) x * y +/- z, rounded once. Digits name the operands that are x, y and z: in 132 operand 1 (the
 * destination) times operand 3, plus operand 2. A NaN comes from the first of x, y, z that is one, whatever the signs;
 * SDM 1 14.5.2 and table 14-17.
 */
#include "cpu/interp.h"
#include "cpu/operand.h"
#include "cpu/sse_math.h"

enum sign { NEG_PRODUCT = 1, NEG_ADDEND = 2, SUB_EVEN = 4 /* ADDSUB */, SUB_ODD = 8 /* SUBADD */ };
enum form { FORM_132, FORM_213, FORM_231 };

static u64 nan3(struct sse *s, bool dbl, u64 x, u64 y, u64 z)
{
    if (sse_is_snan(dbl, x) || sse_is_snan(dbl, y) || sse_is_snan(dbl, z))
        s->pre |= FP_IE;
    return (sse_is_nan(dbl, x) ? x : sse_is_nan(dbl, y) ? y : z) | sse_quiet_bit(dbl);
}

ALWAYS_INLINE u64 fused(struct sse *s, bool dbl, u64 x, u64 y, u64 z, unsigned sign)
{
    x = sse_operand(s, dbl, x);
    y = sse_operand(s, dbl, y);
    z = sse_operand(s, dbl, z);
    if (unlikely(sse_is_nan(dbl, x) || sse_is_nan(dbl, y) || sse_is_nan(dbl, z)))
        return nan3(s, dbl, x, y, z);
    bool denormal = sse_is_denormal(dbl, x) || sse_is_denormal(dbl, y) || sse_is_denormal(dbl, z);
    x ^= sign & NEG_PRODUCT ? sse_sign_bit(dbl) : 0;
    z ^= sign & NEG_ADDEND ? sse_sign_bit(dbl) : 0;
    u64 r = dbl ? f64_mulAdd((float64_t){ x }, (float64_t){ y }, (float64_t){ z }).v
                : f32_mulAdd((float32_t){ (u32)x }, (float32_t){ (u32)y }, (float32_t){ (u32)z }).v;
    r = sse_result(s, dbl, r, denormal);
    if (unlikely(s->recheck))
        sse_recheck(s, dbl, SSE_FMA, x, y, z);
    return r;
}

ALWAYS_INLINE bool lanes(struct vcpu *c, const struct insn *in, enum form form, bool dbl, bool packed, unsigned sign)
{
    union vec v[3], r;
    for (unsigned i = 0; i < 3; i++)
        if (!sse_read(c, in, i, &v[i]))
            return false;
    const union vec *x = form == FORM_132 ? &v[0] : &v[1];
    const union vec *y = form == FORM_213 ? &v[0] : &v[2];
    const union vec *z = form == FORM_132 ? &v[1] : form == FORM_213 ? &v[2] : &v[0];
    struct sse s = sse_begin(c);
    r = v[0];
    for (unsigned i = 0; i < (packed ? sse_lanes(in, dbl) : 1); i++) {
        unsigned flip = sign & (i & 1 ? SUB_ODD : SUB_EVEN) ? NEG_ADDEND : 0;
        sse_put(&r, dbl, i, fused(&s, dbl, sse_get(x, dbl, i), sse_get(y, dbl, i), sse_get(z, dbl, i), sign | flip));
    }
    return sse_finish(c, &s) && operand_write_vec(c, in, 0, &r);
}

/* name, signs */
#define FMA_ALL(F) F(fmadd, 0) F(fmsub, NEG_ADDEND) F(fnmadd, NEG_PRODUCT) F(fnmsub, NEG_PRODUCT | NEG_ADDEND)
#define FMA_PACKED(F) F(fmaddsub, SUB_EVEN) F(fmsubadd, SUB_ODD)

#define PACKED(name, form, sign) \
    bool in_v##name##form##ps(struct vcpu *c, const struct insn *in) \
    { return lanes(c, in, FORM_##form, false, true, sign); } \
    bool in_v##name##form##pd(struct vcpu *c, const struct insn *in) \
    { return lanes(c, in, FORM_##form, true, true, sign); }
#define SCALAR(name, form, sign) \
    bool in_v##name##form##ss(struct vcpu *c, const struct insn *in) \
    { return lanes(c, in, FORM_##form, false, false, sign); } \
    bool in_v##name##form##sd(struct vcpu *c, const struct insn *in) \
    { return lanes(c, in, FORM_##form, true, false, sign); }
#define F(name, sign) PACKED(name, 132, sign) PACKED(name, 213, sign) PACKED(name, 231, sign)
FMA_ALL(F)
FMA_PACKED(F)
#undef F
#define F(name, sign) SCALAR(name, 132, sign) SCALAR(name, 213, sign) SCALAR(name, 231, sign)
FMA_ALL(F)
#undef F
