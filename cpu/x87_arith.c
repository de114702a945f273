/* x87_arith.c - arithmetic on 80-bit values with the x87's rules: exceptions, NaNs, precision control, C1.
 *
 * SoftFloat adds, subtracts, multiplies, divides, takes roots and rounds; here is what it does not know: unsupported
 * formats, the denormal-operand exception, operations that IEEE 754 lacks. Nothing here touches a vCPU except
 * x87_calc_begin and x87_calc_commit: an instruction computes first and commits when nothing can fault any more.
 *
 * Order of exceptions (SDM 1 4.9.2): unsupported format or SNaN, QNaN (no exception at all), other invalid
 * operations and zero divide, denormal operand, then what rounding finds. SDM 1 8.2 to 8.5.
 */
#include "cpu/fpu.h"

/* --- the frame of a computation --- */

struct x87_calc x87_calc_begin(const struct vcpu *c)
{
    static const u8 precision[4] = { 32, 80, 64, 80 };      /* 1 is reserved */
    u16 cw = c->x87.cw;
    softfloat_roundingMode = fpu_soft_rounding(cw >> X87_RC_SHIFT);
    extF80_roundingPrecision = precision[cw >> 8 & 3];
    softfloat_exceptionFlags = 0;
    softfloat_x87 = (struct softfloat_x87){ .overflow_unmasked = !(cw & FP_OE), .underflow_unmasked = !(cw & FP_UE) };
    return (struct x87_calc){ .cw = cw };
}

void x87_calc_collect(struct x87_calc *k)
{
    k->flags |= (u16)fpu_soft_flags();
    k->up = softfloat_x87.rounded_up;
    softfloat_exceptionFlags = 0;
    softfloat_x87.rounded_up = false;
}

bool x87_calc_commit(struct vcpu *c, const struct x87_calc *k)
{
    bool stopped = k->flags & FP_PRE & ~k->cw;
    x87_set_cc(c, X87_C1, k->up && !stopped ? X87_C1 : 0);
    return x87_signal(c, stopped ? k->flags & FP_PRE : k->flags, FP_PRE);
}

struct f80 x87_invalid(struct x87_calc *k)
{
    k->flags |= FP_IE;
    return f80_indefinite;
}

/* The x87 picks one of two NaNs by kind and significand (SDM 1 table 4-7), as SoftFloat's 8086-SSE variant does. */
bool x87_special2(struct x87_calc *k, struct f80 a, struct f80 b, struct f80 *r)
{
    if (likely(f80_exp(a) != F80_EXP && f80_exp(b) != F80_EXP && !f80_is_unsupported(a) && !f80_is_unsupported(b)))
        return false;
    if (f80_is_unsupported(a) || f80_is_unsupported(b)) {
        *r = x87_invalid(k);
        return true;
    }
    if (!f80_is_nan(a) && !f80_is_nan(b))
        return false;
    if (f80_is_snan(a) || f80_is_snan(b))
        k->flags |= FP_IE;
    *r = f80_from_soft(extF80_add(f80_to_soft(a), f80_to_soft(b)));
    softfloat_exceptionFlags = 0;
    return true;
}

bool x87_special1(struct x87_calc *k, struct f80 a, struct f80 *r)
{
    if (f80_is_unsupported(a)) {
        *r = x87_invalid(k);
        return true;
    }
    if (!f80_is_nan(a))
        return false;
    if (f80_is_snan(a))
        k->flags |= FP_IE;
    *r = f80_quiet(a);
    return true;
}

struct f80 x87_round(struct x87_calc *k, bool sign, int exp, u64 sig, u64 extra)
{
    extFloat80_t softfloat_roundPackToExtF80(bool, int_fast32_t, uint_fast64_t, uint_fast64_t, uint_fast8_t);
    struct f80 r = f80_from_soft(softfloat_roundPackToExtF80(sign, exp, sig, extra, 80));
    x87_calc_collect(k);
    return r;
}

/* --- the operations that SoftFloat has --- */

static inline struct f80 binary(struct x87_calc *k, struct f80 a, struct f80 b,
                                extFloat80_t op(extFloat80_t, extFloat80_t))
{
    struct f80 r;
    if (x87_special2(k, a, b, &r))
        return r;
    r = f80_from_soft(op(f80_to_soft(a), f80_to_soft(b)));
    x87_calc_collect(k);
    if (!(k->flags & (FP_IE | FP_ZE)) && (k->denormal || f80_is_denormal(a) || f80_is_denormal(b)))
        k->flags |= FP_DE;
    return r;
}

struct f80 x87_add(struct x87_calc *k, struct f80 a, struct f80 b) { return binary(k, a, b, extF80_add); }
struct f80 x87_sub(struct x87_calc *k, struct f80 a, struct f80 b) { return binary(k, a, b, extF80_sub); }
struct f80 x87_mul(struct x87_calc *k, struct f80 a, struct f80 b) { return binary(k, a, b, extF80_mul); }
struct f80 x87_div(struct x87_calc *k, struct f80 a, struct f80 b) { return binary(k, a, b, extF80_div); }

struct f80 x87_sqrt(struct x87_calc *k, struct f80 a)
{
    struct f80 r;
    if (x87_special1(k, a, &r))
        return r;
    r = f80_from_soft(extF80_sqrt(f80_to_soft(a)));
    x87_calc_collect(k);
    if (!(k->flags & FP_IE) && f80_is_denormal(a))
        k->flags |= FP_DE;
    return r;
}

/* Is |a| above |b|? Both finite and not unsupported. */
static bool magnitude_above(struct f80 a, struct f80 b)
{
    extFloat80_t x = f80_to_soft(a), y = f80_to_soft(b);
    unsigned ex = x.signExp & F80_EXP, ey = y.signExp & F80_EXP;
    return ex != ey ? ex > ey : x.signif > y.signif;
}

struct f80 x87_round_int(struct x87_calc *k, struct f80 a)
{
    struct f80 r;
    if (x87_special1(k, a, &r))
        return r;
    r = f80_from_soft(extF80_roundToInt(f80_to_soft(a), softfloat_roundingMode, true));
    x87_calc_collect(k);
    k->up = magnitude_above(r, a);
    if (f80_is_denormal(a))
        k->flags |= FP_DE;
    return r;
}

/* --- scaling, taking apart, remainders --- */

/* The integer part of b, clipped to what moves any exponent out of range. */
static int scale_factor(struct f80 b)
{
    int exp = (int)f80_exp(b) - F80_BIAS;
    if (exp < 0)
        return 0;
    int n = exp > 16 ? 1 << 17 : (int)(b.mant >> (63 - exp));
    return f80_sign(b) ? -n : n;
}

/* FSCALE: a * 2^trunc(b), SDM 2A table "FSCALE Results". */
struct f80 x87_scale(struct x87_calc *k, struct f80 a, struct f80 b)
{
    struct f80 r;
    if (x87_special2(k, a, b, &r))
        return r;
    if (f80_is_inf(b) && (f80_sign(b) ? f80_is_inf(a) : f80_is_zero(a)))
        return x87_invalid(k);
    if (f80_is_denormal(a) || f80_is_denormal(b))
        k->flags |= FP_DE;
    if (f80_is_inf(b))
        return f80_sign(b) ? f80_zero(f80_sign(a)) : f80_inf(f80_sign(a));
    if (f80_is_inf(a) || f80_is_zero(a))
        return a;
    int exp;
    u64 mant = f80_normalize(a, &exp);
    return x87_round(k, f80_sign(a), exp + scale_factor(b), mant, 0);
}

/* FXTRACT: returns the significand, *exponent what takes its place. */
struct f80 x87_extract(struct x87_calc *k, struct f80 a, struct f80 *exponent)
{
    struct f80 r;
    if (x87_special1(k, a, &r)) {
        *exponent = r;
        return r;
    }
    if (f80_is_inf(a)) {
        *exponent = f80_inf(false);
        return a;
    }
    if (f80_is_zero(a)) {
        k->flags |= FP_ZE;
        *exponent = f80_inf(true);
        return a;
    }
    if (f80_is_denormal(a))
        k->flags |= FP_DE;
    int exp;
    u64 mant = f80_normalize(a, &exp);
    *exponent = x87_from_int(exp - F80_BIAS);
    return f80_make(f80_sign(a), F80_BIAS, mant);
}

static u16 quotient_cc(u64 q)
{
    return (u16)((q & 4 ? X87_C0 : 0) | (q & 2 ? X87_C3 : 0) | (q & 1 ? X87_C1 : 0));
}

/* The remainder is exact: rounding only packs it. */
static struct f80 pack_remainder(struct x87_calc *k, bool sign, int exp, u128 rem)
{
    if (!rem)
        return f80_zero(sign);
    unsigned lead = rem >> 64 ? 0 : (unsigned)__builtin_clzll((u64)rem);
    return x87_round(k, sign, exp - (int)lead, (u64)rem << lead, 0);
}

/* FPREM (nearest = false) and FPREM1. Exponents that differ by 64 or more take several steps: this one lowers the
 * difference by 32 to 63, as SDM 2A's "FPREM" has it, and sets C2. */
struct f80 x87_rem(struct x87_calc *k, struct f80 a, struct f80 b, bool nearest, u16 *cc)
{
    struct f80 r;
    *cc = X87_NO_QUOTIENT;
    if (x87_special2(k, a, b, &r))
        return r;
    if (f80_is_inf(a) || f80_is_zero(b))
        return x87_invalid(k);
    *cc = 0;
    if (f80_is_denormal(a) || f80_is_denormal(b))
        k->flags |= FP_DE;
    if (f80_is_zero(a))
        return a;
    int ea, eb = 0;
    u64 ma = f80_normalize(a, &ea), mb = f80_is_inf(b) ? 0 : f80_normalize(b, &eb);
    bool sign = f80_sign(a);
    int d = ea - eb;
    if (f80_is_inf(b) || d < (nearest ? -1 : 0))
        return x87_round(k, sign, ea, ma, 0);
    if (d >= 64) {
        int step = 32 + d % 32;
        *cc = X87_C2;
        return pack_remainder(k, sign, eb + d - step, ((u128)ma << step) % mb);
    }
    u128 num = d < 0 ? ma : (u128)ma << d, den = d < 0 ? (u128)mb << 1 : mb;
    u64 q = (u64)(num / den);
    u128 rem = num % den;
    if (nearest && (rem > den - rem || (rem == den - rem && (q & 1)))) {
        rem = den - rem;
        sign = !sign;
        q++;
    }
    *cc = quotient_cc(q);
    return rem ? pack_remainder(k, sign, d < 0 ? ea : eb, rem) : f80_zero(f80_sign(a));
}

/* --- comparison --- */

static u16 ordered(struct f80 a, struct f80 b)
{
    if (f80_is_zero(a) && f80_is_zero(b))
        return X87_C3;
    if (f80_sign(a) != f80_sign(b))
        return f80_sign(a) ? X87_C0 : 0;
    if (magnitude_above(a, b))
        return f80_sign(a) ? X87_C0 : 0;
    if (magnitude_above(b, a))
        return f80_sign(a) ? 0 : X87_C0;
    return X87_C3;
}

u16 x87_compare(struct x87_calc *k, struct f80 a, struct f80 b, bool quiet)
{
    bool unsupported = f80_is_unsupported(a) || f80_is_unsupported(b);
    if (unsupported || f80_is_nan(a) || f80_is_nan(b)) {
        if (unsupported || !quiet || f80_is_snan(a) || f80_is_snan(b))
            k->flags |= FP_IE;
        return X87_C3 | X87_C2 | X87_C0;
    }
    if (k->denormal || f80_is_denormal(a) || f80_is_denormal(b))
        k->flags |= FP_DE;
    return ordered(a, b);
}

/* --- conversions --- */

struct f80 x87_from_f32(struct x87_calc *k, u32 v)
{
    bool sign = v >> 31;
    unsigned exp = v >> 23 & 0xff;
    u64 frac = v & 0x7fffff;
    if (exp == 0xff)
        return f80_make(sign, F80_EXP, F80_INT | frac << 40);
    if (exp)
        return f80_make(sign, exp + F80_BIAS - 127, F80_INT | frac << 40);
    if (!frac)
        return f80_zero(sign);
    k->denormal = true;
    int lead = __builtin_clzll(frac);
    return f80_make(sign, (unsigned)(F80_BIAS - 126 - (lead - 40)), frac << lead);
}

struct f80 x87_from_f64(struct x87_calc *k, u64 v)
{
    bool sign = v >> 63;
    unsigned exp = v >> 52 & 0x7ff;
    u64 frac = v & 0xfffffffffffff;
    if (exp == 0x7ff)
        return f80_make(sign, F80_EXP, F80_INT | frac << 11);
    if (exp)
        return f80_make(sign, exp + F80_BIAS - 1023, F80_INT | frac << 11);
    if (!frac)
        return f80_zero(sign);
    k->denormal = true;
    int lead = __builtin_clzll(frac);
    return f80_make(sign, (unsigned)(F80_BIAS - 1022 - (lead - 11)), frac << lead);
}

struct f80 x87_from_int(s64 v)
{
    if (!v)
        return f80_zero(false);
    u64 mag = v < 0 ? -(u64)v : (u64)v;
    int lead = __builtin_clzll(mag);
    return f80_make(v < 0, (unsigned)(F80_BIAS + 63 - lead), mag << lead);
}

/* After a narrowing: C1, and the underflow of an exact tiny result, which only an unmasked exception reports. */
static void narrowed(struct x87_calc *k, struct f80 from, struct f80 to, bool denormal)
{
    x87_calc_collect(k);
    if (denormal && !(k->cw & FP_UE))
        k->flags |= FP_UE;
    k->up = k->flags & FP_PE && magnitude_above(to, from);
}

u32 x87_to_f32(struct x87_calc *k, struct f80 v)
{
    if (f80_is_unsupported(v)) {
        x87_invalid(k);
        return 0xffc00000;
    }
    u32 r = extF80_to_f32(f80_to_soft(v)).v;
    struct x87_calc unused = { 0 };
    narrowed(k, v, x87_from_f32(&unused, r), unused.denormal || (!(r & 0x7f800000) && r << 1));
    return r;
}

u64 x87_to_f64(struct x87_calc *k, struct f80 v)
{
    if (f80_is_unsupported(v)) {
        x87_invalid(k);
        return 0xfff8000000000000;
    }
    u64 r = extF80_to_f64(f80_to_soft(v)).v;
    struct x87_calc unused = { 0 };
    struct f80 back = x87_from_f64(&unused, r);
    narrowed(k, v, back, unused.denormal);
    return r;
}

/* |v| rounded to an integer that fits 64 bits; false: it does not. */
static bool integer_magnitude(struct x87_calc *k, struct f80 v, unsigned rc, u64 *mag, bool *inexact)
{
    int exp = (int)f80_exp(v) - F80_BIAS;
    if (exp > 63)
        return false;
    u128 fixed = (u128)v.mant << 64;        /* 64 bits of integer, 64 of fraction */
    int shift = 63 - exp;
    if (shift > 127)
        fixed = v.mant != 0;
    else if (shift > 0)
        fixed = fixed >> shift | ((fixed << (128 - shift)) != 0);
    u64 frac = (u64)fixed, half = F80_INT;
    *mag = (u64)(fixed >> 64);
    *inexact = frac != 0;
    bool up = rc == 0 ? frac > half || (frac == half && (*mag & 1)) : rc != 3 && frac && f80_sign(v) == (rc == 1);
    k->up = up;
    *mag += up;
    return !(up && !*mag);
}

s64 x87_to_int(struct x87_calc *k, struct f80 v, unsigned bytes, bool truncate)
{
    s64 indefinite = (s64)((u64)-1 << (8 * bytes - 1));
    u64 mag, limit = (u64)1 << (8 * bytes - 1);
    bool inexact;
    unsigned rc = truncate ? 3 : k->cw >> X87_RC_SHIFT & 3;
    if (f80_is_unsupported(v) || !integer_magnitude(k, v, rc, &mag, &inexact) || mag > limit - !f80_sign(v)) {
        k->up = false;
        k->flags |= FP_IE;
        return indefinite;
    }
    if (inexact)
        k->flags |= FP_PE;
    return (s64)(f80_sign(v) ? -mag : mag);
}

void x87_to_bcd(struct x87_calc *k, struct f80 v, u8 bcd[10])
{
    static const u8 indefinite[10] = { [7] = 0xc0, 0xff, 0xff };
    u64 mag;
    bool inexact;
    if (f80_is_unsupported(v) || !integer_magnitude(k, v, k->cw >> X87_RC_SHIFT & 3, &mag, &inexact) ||
        mag > 999999999999999999) {
        k->up = false;
        k->flags |= FP_IE;
        memcpy(bcd, indefinite, sizeof(indefinite));
        return;
    }
    if (inexact)
        k->flags |= FP_PE;
    for (unsigned i = 0; i < 9; i++, mag /= 100)
        bcd[i] = (u8)(mag / 10 % 10 << 4 | mag % 10);
    bcd[9] = f80_sign(v) ? 0x80 : 0;
}

/* Digits above 9 give an undefined result (SDM 2A, FBLD): they count as 10 to 15. */
struct f80 x87_from_bcd(const u8 bcd[10])
{
    u64 mag = 0;
    for (unsigned i = 9; i-- > 0;)
        mag = mag * 100 + (bcd[i] >> 4) * 10 + (bcd[i] & 15);
    struct f80 r = x87_from_int((s64)mag);      /* below 1.7 * 10^18 */
    return bcd[9] & 0x80 ? f80_negate(r) : r;
}
