/* x87_trig.c - FSIN FCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1: special cases, rounding, exceptions.
 *
 * x87_series.c computes values to more than 116 bits; they are rounded to 64 bits once, as the control word says: the error
 * is far below 0.51 ulp and the same on every host.
 *
 * Arguments of the trigonometric functions are reduced with the 66-bit pi of the FPUs themselves (SDM 1 8.3.8), by
 * exact integer arithmetic: results for large arguments, and near multiples of pi, are those of hardware rather than of
 * mathematics. FPATAN's special cases, FYL2X's and so on are the tables of SDM 2A chapter 3.
 */
#include "cpu/fpu.h"
#include "cpu/x87_series.h"

/* How the exact value differs from a result before rounding. */
enum beyond { EXACT, BELOW, ABOVE, INEXACT };

static struct f80 round_wide(struct x87_calc *k, struct wide v, enum beyond beyond)
{
    if (beyond == BELOW) {
        v.mant--;
        if (!(v.mant >> 127)) {
            v.mant = v.mant << 1 | 1;
            v.exp--;
        }
    } else if (beyond != EXACT) {
        v.mant |= 1;
    }
    struct f80 r = x87_round(k, v.sign, v.exp + F80_BIAS, (u64)(v.mant >> 64), (u64)v.mant);
    k->flags |= FP_PE;          /* these instructions take exact results for inexact ones */
    if (f80_is_denormal(r))
        k->flags |= FP_UE;
    return r;
}

static void note_denormals(struct x87_calc *k, struct f80 a, struct f80 b)
{
    if (f80_is_denormal(a) || f80_is_denormal(b))
        k->flags |= FP_DE;
}

/* --- sine, cosine, tangent --- */

enum { TINY = -34 };        /* below 2^TINY the second term of a series is less than 2^-66 of the first */

/* x itself but for the last bit, or 1 but for the last bit. */
static struct f80 trig_tiny(struct x87_calc *k, enum x87_trig f, bool sign, int exp, u64 mant)
{
    if (f == X87_COS)
        return round_wide(k, wide_make(false, 0, F80_INT), BELOW);
    return round_wide(k, wide_make(sign, exp, mant), f == X87_SIN ? BELOW : ABOVE);
}

/* NaNs, infinities, zeros. */
static bool trig_special(struct x87_calc *k, enum x87_trig f, struct f80 a, struct f80 *r)
{
    if (x87_special1(k, a, r))
        return true;
    if (f80_is_inf(a))
        *r = x87_invalid(k);
    else if (f80_is_zero(a))
        *r = f == X87_COS ? f80_make(false, F80_BIAS, F80_INT) : a;
    else
        return false;
    return true;
}

bool x87_trig(struct x87_calc *k, enum x87_trig f, struct f80 a, struct f80 *r)
{
    if (trig_special(k, f, a, r))
        return true;
    if (f80_exp(a) >= F80_BIAS + 63)
        return false;
    note_denormals(k, a, a);
    int exp;
    u64 mant = f80_normalize(a, &exp);
    exp -= F80_BIAS;
    if (exp < TINY) {
        *r = trig_tiny(k, f, f80_sign(a), exp, mant);
        return true;
    }
    const struct angle angle = series_reduce(exp, mant);
    struct wide sine, cosine;
    if (f == X87_TAN)
        sine = series_tan(angle);
    else
        series_sin_cos(angle, &sine, &cosine);
    sine.sign ^= f80_sign(a);
    *r = round_wide(k, f == X87_COS ? cosine : sine, INEXACT);
    return true;
}

bool x87_sin_cos(struct x87_calc *k, struct f80 a, struct f80 *sine, struct f80 *cosine)
{
    const int exp = (int)f80_exp(a) - F80_BIAS;
    if (exp < TINY || exp >= 63 || f80_is_unsupported(a))
        return x87_trig(k, X87_SIN, a, sine) && x87_trig(k, X87_COS, a, cosine);
    struct wide s, c;
    series_sin_cos(series_reduce(exp, a.mant), &s, &c);
    s.sign ^= f80_sign(a);
    *sine = round_wide(k, s, INEXACT);
    *cosine = round_wide(k, c, INEXACT);
    return true;
}

/* --- arc tangent --- */

/* SDM 2A table "FPATAN Results": multiples of pi/4. */
static bool atan2_special(struct x87_calc *k, struct f80 y, struct f80 x, struct f80 *r)
{
    static const u128 pi = (u128)0xc90fdaa22168c234 << 64 | 0xc4c6628b80dc1cd1;
    static const u128 three_pi = (u128)0x96cbe3f9990e91a7 << 64 | 0x9394c9e8a0a5159d;
    static const struct wide multiples[5] = { [1] = { pi, -1, false }, { pi, 0, false }, { three_pi, 1, false }, { pi, 1, false } };
    static const int eighths[2][2] = { { 1, 3 }, { 2, 2 } };        /* pi/4 times; [x finite][x negative], y infinite */
    int quarter_pi;
    if (f80_is_inf(y))
        quarter_pi = eighths[!f80_is_inf(x)][f80_sign(x)];
    else if (f80_is_zero(y) || f80_is_inf(x))
        quarter_pi = f80_sign(x) ? 4 : 0;
    else if (f80_is_zero(x))
        quarter_pi = 2;
    else
        return false;
    if (!quarter_pi) {
        *r = f80_zero(f80_sign(y));
        return true;
    }
    struct wide v = multiples[quarter_pi];
    v.sign = f80_sign(y);
    *r = round_wide(k, v, INEXACT);
    return true;
}

struct f80 x87_atan2(struct x87_calc *k, struct f80 y, struct f80 x)
{
    struct f80 r;
    if (x87_special2(k, y, x, &r))
        return r;
    note_denormals(k, y, x);
    if (atan2_special(k, y, x, &r))
        return r;
    int ey, ex;
    u64 my = f80_normalize(y, &ey), mx = f80_normalize(x, &ex);
    struct wide v = series_atan2(my, mx, ey - ex, f80_sign(x));
    v.sign = f80_sign(y);
    return round_wide(k, v, INEXACT);
}

/* --- 2^x - 1 --- */

/* Defined for -1 <= a <= 1 (SDM 2A, F2XM1). Beyond, the value comes back unchanged, except for infinities. */
struct f80 x87_2xm1(struct x87_calc *k, struct f80 a)
{
    struct f80 r;
    if (x87_special1(k, a, &r))
        return r;
    if (f80_is_inf(a))
        return f80_sign(a) ? f80_make(true, F80_BIAS, F80_INT) : a;
    if (f80_is_zero(a))
        return a;
    note_denormals(k, a, a);
    if (f80_exp(a) >= F80_BIAS) {   /* 1 gives 1, -1 gives -1/2 */
        k->flags |= FP_PE;
        return f80_exp(a) == F80_BIAS && a.mant == F80_INT && f80_sign(a) ? f80_make(true, F80_BIAS - 1, F80_INT) : a;
    }
    int exp;
    u64 mant = f80_normalize(a, &exp);
    return round_wide(k, series_2xm1(f80_sign(a), exp - F80_BIAS, mant), INEXACT);
}

/* --- logarithms --- */

/* y * log, y finite and not zero. */
static struct f80 times_log(struct x87_calc *k, struct f80 y, struct wide log, enum beyond beyond)
{
    int exp;
    const u64 mant = f80_normalize(y, &exp);
    return round_wide(k, series_times(log, f80_sign(y), exp - F80_BIAS, mant), beyond);
}

/* y times a logarithm that is infinite, or y infinite: sign of the logarithm, and whether it is zero. */
static struct f80 infinite_product(struct x87_calc *k, struct f80 y, bool log_negative, bool log_zero)
{
    if (f80_is_inf(y) ? log_zero : f80_is_zero(y))
        return x87_invalid(k);
    return f80_inf(f80_sign(y) != log_negative);
}

/* FYL2X: y * log2(x), SDM 2A table "FYL2X Results". */
struct f80 x87_ylog2x(struct x87_calc *k, struct f80 y, struct f80 x)
{
    struct f80 r;
    if (x87_special2(k, y, x, &r))
        return r;
    if (f80_is_zero(x)) {
        if (!f80_is_zero(y) && !f80_is_inf(y))
            k->flags |= FP_ZE;
        return infinite_product(k, y, true, false);
    }
    if (f80_sign(x))
        return x87_invalid(k);
    int exp;
    u64 mant = f80_normalize(x, &exp);
    exp -= F80_BIAS;
    bool one = exp == 0 && mant == F80_INT;
    if (f80_is_inf(x) || f80_is_inf(y)) {
        r = infinite_product(k, y, exp < 0, one);
        if (!(k->flags & FP_IE))
            note_denormals(k, y, x);
        return r;
    }
    note_denormals(k, y, x);
    if (one || f80_is_zero(y))
        return f80_zero(f80_sign(y) != (exp < 0));
    const bool power = mant == F80_INT;
    const u64 whole = (u64)(exp < 0 ? -exp : exp);
    const struct wide log = power ? wide_make(exp < 0, 63 - __builtin_clzll(whole), whole << __builtin_clzll(whole))
                                  : series_log2(exp, mant);
    return times_log(k, y, log, power ? EXACT : INEXACT);
}

/* FYL2XP1: y * log2(x + 1). Defined for |x| up to 1 - sqrt(1/2); beyond, the function goes on while it exists. */
struct f80 x87_ylog2xp1(struct x87_calc *k, struct f80 y, struct f80 x)
{
    struct f80 r;
    bool sign = f80_sign(x);
    if (x87_special2(k, y, x, &r))
        return r;
    if (sign && f80_is_inf(x))
        return x87_invalid(k);
    if (f80_is_inf(x) || f80_is_inf(y)) {
        r = infinite_product(k, y, sign, f80_is_zero(x));
        if (!(k->flags & FP_IE))
            note_denormals(k, y, x);
        return r;
    }
    note_denormals(k, y, x);
    if (f80_is_zero(x) || f80_is_zero(y))
        return f80_zero(f80_sign(y) != sign);
    if (sign && f80_exp(x) >= F80_BIAS) {       /* -1 and below: undefined, CPUs return the operand */
        k->flags |= FP_PE;
        return x;
    }
    int exp;
    const u64 mant = f80_normalize(x, &exp);
    return times_log(k, y, series_log2p1(sign, exp - F80_BIAS, mant), INEXACT);
}
