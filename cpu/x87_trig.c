/* x87_trig.c - FSIN FCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1: values and exceptions.
 *
 * Everything is computed with SoftFloat's 113-bit quadruple format, from tables and Taylor series whose terms go on
 * until they are below 2^-113 of the result, and rounded to 64 bits once, as the control word says: the error is far
 * below 0.51 ulp and the same on every host. Exponents that do not fit the quadruple format as the operands stand
 * (y * log2 x, y / x) are taken off first and put back at the rounding (struct scaled).
 *
 * Arguments of the trigonometric functions are reduced with the 66-bit pi of the FPUs themselves (SDM 1 8.3.8), by
 * exact integer arithmetic: results for large arguments, and near multiples of pi, are those of hardware rather than of
 * mathematics. FPATAN's special cases, FYL2X's and so on are the tables of SDM 2A chapter 3.
 */
#include "cpu/fpu.h"

#define F128(hi, lo) { { (lo), (hi) } }

/* 1/n!, n = 0..31 */
static const float128_t inv_factorial[] = {
    F128(0x3fff000000000000, 0x0000000000000000), F128(0x3fff000000000000, 0x0000000000000000),
    F128(0x3ffe000000000000, 0x0000000000000000), F128(0x3ffc555555555555, 0x5555555555555555),
    F128(0x3ffa555555555555, 0x5555555555555555), F128(0x3ff8111111111111, 0x1111111111111111),
    F128(0x3ff56c16c16c16c1, 0x6c16c16c16c16c17), F128(0x3ff2a01a01a01a01, 0xa01a01a01a01a01a),
    F128(0x3fefa01a01a01a01, 0xa01a01a01a01a01a), F128(0x3fec71de3a556c73, 0x38faac1c88e50017),
    F128(0x3fe927e4fb7789f5, 0xc72ef016d3ea6679), F128(0x3fe5ae64567f544e, 0x38fe747e4b837dc7),
    F128(0x3fe21eed8eff8d89, 0x7b544da987acfe85), F128(0x3fde6124613a86d0, 0x97ca38331d23af68),
    F128(0x3fda93974a8c07c9, 0xd20badf145dfa3e5), F128(0x3fd6ae7f3e733b81, 0xf11d8656b0ee8cb0),
    F128(0x3fd2ae7f3e733b81, 0xf11d8656b0ee8cb0), F128(0x3fce952c77030ad4, 0xa6b2605197771b00),
    F128(0x3fca6827863b97d9, 0x77bb004886a2c2ab), F128(0x3fc62f49b4681415, 0x724ca1ec3b7b9675),
    F128(0x3fc1e542ba402022, 0x507a9cad2bf8f0bb), F128(0x3fbd71b8ef6dcf57, 0x18bef146fcee6e45),
    F128(0x3fb90ce396db7f85, 0x29450c90b7f338ec), F128(0x3fb4761b41316381, 0x9d97b8704dd7f628),
    F128(0x3faff2cf01972f57, 0x7cca4b4067ca9d8a), F128(0x3fab3f3ccdd165fa, 0x8d4e44a419776f11),
    F128(0x3fa688e85fc6a4e5, 0x9a38f2050ba6b015), F128(0x3fa1d1ab1c2dccea, 0x320a9a18f15d4277),
    F128(0x3f9d0a18a2635085, 0xd373c5c51c354a8d), F128(0x3f98259f98b4358a, 0xd7abe30e7766f129),
    F128(0x3f933932c5047d60, 0xe60caded4c2989c5), F128(0x3f8e434d2e783f5b, 0xc42e1ee46fa6bfc4),
};
/* 1/(2n+1), n = 0..13 */
static const float128_t inv_odd[] = {
    F128(0x3fff000000000000, 0x0000000000000000), F128(0x3ffd555555555555, 0x5555555555555555),
    F128(0x3ffc999999999999, 0x999999999999999a), F128(0x3ffc249249249249, 0x2492492492492492),
    F128(0x3ffbc71c71c71c71, 0xc71c71c71c71c71c), F128(0x3ffb745d1745d174, 0x5d1745d1745d1746),
    F128(0x3ffb3b13b13b13b1, 0x3b13b13b13b13b14), F128(0x3ffb111111111111, 0x1111111111111111),
    F128(0x3ffae1e1e1e1e1e1, 0xe1e1e1e1e1e1e1e2), F128(0x3ffaaf286bca1af2, 0x86bca1af286bca1b),
    F128(0x3ffa861861861861, 0x8618618618618618), F128(0x3ffa642c8590b216, 0x42c8590b21642c86),
    F128(0x3ffa47ae147ae147, 0xae147ae147ae147b), F128(0x3ffa2f684bda12f6, 0x84bda12f684bda13),
};
/* atan(i/16), i = 0..16 */
static const float128_t atan_table[] = {
    F128(0, 0), F128(0x3ffaff55bb72cfde, 0x9c6d964f25b81c5c),
    F128(0x3ffbfd5ba9aac2f6, 0xdc65912f313e7d11), F128(0x3ffc7b97b4bce5b0, 0x2268f6169f103939),
    F128(0x3ffcf5b75f92c80d, 0xd62adb8f3debef44), F128(0x3ffd362773707ebc, 0xbcd38b576931a4f6),
    F128(0x3ffd6f61941e4def, 0x08e715464245b9fd), F128(0x3ffda64eec3cc23f, 0xcb6c84f92bd2003d),
    F128(0x3ffddac670561bb4, 0xf68adfc88bd97875), F128(0x3ffe0657e94db30c, 0xfc5496d41396c34a),
    F128(0x3ffe1e00babdefeb, 0x3f36b906bc2ccb88), F128(0x3ffe345f01cce37b, 0xb440844df1c440a0),
    F128(0x3ffe4978fa3269ee, 0x12483350fe548afb), F128(0x3ffe5d58987169b1, 0x810028e4bc5e7ca4),
    F128(0x3ffe700a7c578463, 0x3ce7965b4aa42149), F128(0x3ffe819d0b7158a4, 0xcc8113bac588dd26),
    F128(0x3ffe921fb54442d1, 0x8469898cc51701b8),
};
/* log2(i/32), i = 23..45 */
static const float128_t log2_table[] = {
    F128(0xbffde7df5fe538ab, 0x34efb515ac93b444), F128(0xbffda8ff971810a5, 0xe1817fd3b7d7e5d1),
    F128(0xbffd6cb0f6865c8e, 0xa036da8120164a05), F128(0xbffd32bfee370ee6, 0x865a24978de359f3),
    F128(0xbffcf5fd8a9063e3, 0x4908fef64f0f62e8), F128(0xbffc8a8980abfbd3, 0x2666a9b7e2df60d3),
    F128(0xbffc22dadc2ab349, 0x6d2d23af3271ce45), F128(0xbffb7d60496cfbb4, 0xc673b4511f8c2b4e),
    F128(0xbffa77394c9d958d, 0x55de5c380fe0871d), F128(0, 0),
    F128(0x3ffa6bad3758efd8, 0x7313606f096b7c11), F128(0x3ffb663f6fac9131, 0x67ccc53826144576),
    F128(0x3ffc08c588cda79e, 0x39627bc6fd0a5529), F128(0x3ffc5c01a39fbd68, 0x79fa00b120a068bb),
    F128(0x3ffcacf5e2db4ec9, 0x3efe11ecbc018363), F128(0x3ffcfbc16b902680, 0xa23a8d998a784ef3),
    F128(0x3ffd24407ab0e073, 0x98245b94ba44c03c), F128(0x3ffd49a784bcd1b8, 0xafe492bf6ff4dafe),
    F128(0x3ffd6e221cd9d0cd, 0xe578d520b44f703c), F128(0x3ffd91bba891f170, 0x8b4b2b5056b869c5),
    F128(0x3ffdb47ebf73882a, 0x0a4146ef8fd8a279), F128(0x3ffdd6753e032ea0, 0xefe3ebe199055553),
    F128(0x3ffdf7a8568cb06c, 0xece1931800450f5b),
};
/* 2^(i/16), i = -16..16 */
static const float128_t exp2_table[] = {
    F128(0x3ffe000000000000, 0x0000000000000000), F128(0x3ffe0b5586cf9890, 0xf6298b92b71842aa),
    F128(0x3ffe172b83c7d517, 0xadcdf7c8c50eb14a), F128(0x3ffe2387a6e75623, 0x866c1fadb1c15cb6),
    F128(0x3ffe306fe0a31b71, 0x52de8d5a46305c86), F128(0x3ffe3dea64c12342, 0x235b41223e13d774),
    F128(0x3ffe4bfdad5362a2, 0x71d4397afec42e21), F128(0x3ffe5ab07dd48542, 0x958c93015191eb34),
    F128(0x3ffe6a09e667f3bc, 0xc908b2fb1366ea95), F128(0x3ffe7a11473eb018, 0x6d7d51023f6cda1f),
    F128(0x3ffe8ace5422aa0d, 0xb5ba7c55a192c9bb), F128(0x3ffe9c49182a3f09, 0x01c7c46b071f2be6),
    F128(0x3ffeae89f995ad3a, 0xd5e8734d1773205a), F128(0x3ffec199bdd85529, 0xc2220cb12a091ba6),
    F128(0x3ffed5818dcfba48, 0x725da05aeb66e0dd), F128(0x3ffeea4afa2a490d, 0x9858f73a18f5db30),
    F128(0x3fff000000000000, 0x0000000000000000), F128(0x3fff0b5586cf9890, 0xf6298b92b71842aa),
    F128(0x3fff172b83c7d517, 0xadcdf7c8c50eb14a), F128(0x3fff2387a6e75623, 0x866c1fadb1c15cb6),
    F128(0x3fff306fe0a31b71, 0x52de8d5a46305c86), F128(0x3fff3dea64c12342, 0x235b41223e13d774),
    F128(0x3fff4bfdad5362a2, 0x71d4397afec42e21), F128(0x3fff5ab07dd48542, 0x958c93015191eb34),
    F128(0x3fff6a09e667f3bc, 0xc908b2fb1366ea95), F128(0x3fff7a11473eb018, 0x6d7d51023f6cda1f),
    F128(0x3fff8ace5422aa0d, 0xb5ba7c55a192c9bb), F128(0x3fff9c49182a3f09, 0x01c7c46b071f2be6),
    F128(0x3fffae89f995ad3a, 0xd5e8734d1773205a), F128(0x3fffc199bdd85529, 0xc2220cb12a091ba6),
    F128(0x3fffd5818dcfba48, 0x725da05aeb66e0dd), F128(0x3fffea4afa2a490d, 0x9858f73a18f5db30),
    F128(0x4000000000000000, 0x0000000000000000),
};
static const float128_t f_one = F128(0x3fff000000000000, 0x0000000000000000);
static const float128_t f_half_pi = F128(0x3fff921fb54442d1, 0x8469898cc51701b8);
static const float128_t f_pi = F128(0x4000921fb54442d1, 0x8469898cc51701b8);
static const float128_t f_ln2 = F128(0x3ffe62e42fefa39e, 0xf35793c7673007e6);
static const float128_t f_two_over_ln2 = F128(0x400071547652b82f, 0xe1777d0ffda0d23a);

/* --- the quadruple format --- */

/* Series are evaluated to nearest, whatever the guest asked for; flags raised on the way do not count. */
struct saved_mode { uint_fast8_t rounding; };
static struct saved_mode quad_begin(void)
{
    struct saved_mode s = { softfloat_roundingMode };
    softfloat_roundingMode = softfloat_round_near_even;
    return s;
}
static void quad_end(struct saved_mode s)
{
    softfloat_roundingMode = s.rounding;
    softfloat_exceptionFlags = 0;
}

/* mant * 2^(exp - 63), mant normalized. */
static float128_t quad_make(bool sign, int exp, u64 mant)
{
    u64 frac = mant << 1;
    return (float128_t){ { frac << 48, (u64)sign << 63 | (u64)(exp + F80_BIAS) << 48 | frac >> 16 } };
}

static float128_t quad_from_int(u64 v)
{
    return v ? quad_make(false, 63 - __builtin_clzll(v), v << __builtin_clzll(v)) : (float128_t){ { 0, 0 } };
}

static float128_t quad_negate(float128_t v) { return (float128_t){ { v.v[0], v.v[1] ^ (u64)1 << 63 } }; }
static bool quad_sign(float128_t v) { return v.v[1] >> 63; }
static int quad_exp(float128_t v) { return (int)(v.v[1] >> 48 & 0x7fff) - F80_BIAS; }

/* sum of coef[first + i * step] * x^i for i = 0..n-1 */
static float128_t series(float128_t x, const float128_t *coef, unsigned first, unsigned step, unsigned n)
{
    float128_t sum = coef[first + (n - 1) * step];
    for (unsigned i = n - 1; i-- > 0;)
        sum = f128_add(f128_mul(sum, x), coef[first + i * step]);
    return sum;
}

/* A result before rounding: value * 2^scale; beyond: how the exact value differs from a value that fits. */
enum beyond { EXACT, BELOW, ABOVE, INEXACT };
struct scaled { float128_t value; int scale; enum beyond beyond; };

static struct f80 round_scaled(struct x87_calc *k, struct scaled s)
{
    u128 sig = ((u128)((s.value.v[1] & 0xffffffffffff) | (u64)1 << 48) << 64 | s.value.v[0]) << 15;
    int exp = quad_exp(s.value) + s.scale + F80_BIAS;
    if (s.beyond == BELOW) {
        sig--;
        if (!(sig >> 127)) {
            sig = sig << 1 | 1;
            exp--;
        }
    } else if (s.beyond != EXACT) {
        sig |= 1;
    }
    struct f80 r = x87_round(k, quad_sign(s.value), exp, (u64)(sig >> 64), (u64)sig);
    k->flags |= FP_PE;          /* these instructions take exact results for inexact ones */
    if (f80_is_denormal(r))
        k->flags |= FP_UE;
    return r;
}

static struct f80 round_quad(struct x87_calc *k, float128_t v)
{
    return round_scaled(k, (struct scaled){ v, 0, INEXACT });
}

static void note_denormals(struct x87_calc *k, struct f80 a, struct f80 b)
{
    if (f80_is_denormal(a) || f80_is_denormal(b))
        k->flags |= FP_DE;
}

/* --- sine, cosine, tangent --- */

enum { TINY = -34 };        /* below 2^TINY the second term of a series is less than 2^-66 of the first */

/* Returns |a| minus quadrant * pi/2, in [-pi/4, pi/4]; |a| < 2^63. */
static float128_t reduce(u64 mant, int exp, unsigned *quadrant)
{
    const u128 half_pi = (u128)0x3 << 64 | 0x243f6a8885a308d3;      /* pi/2 = half_pi * 2^-65 */
    *quadrant = 0;
    if (exp < -1)
        return quad_make(false, exp, mant);
    u128 n = (u128)mant << (exp + 2), r = n % half_pi;      /* |a| = n * 2^-65 */
    *quadrant = (unsigned)(n / half_pi) & 3;
    bool negative = r > half_pi - r;
    if (negative) {
        r = half_pi - r;
        *quadrant = (*quadrant + 1) & 3;
    }
    float128_t high = quad_from_int((u64)(r >> 32)), low = quad_from_int((u64)r & 0xffffffff);
    const float128_t shift_high = quad_make(false, 32 - 65, F80_INT), shift_low = quad_make(false, -65, F80_INT);
    float128_t v = f128_add(f128_mul(high, shift_high), f128_mul(low, shift_low));
    return negative ? quad_negate(v) : v;
}

static float128_t alternate(float128_t r2) { return quad_negate(r2); }

static float128_t quad_sin(float128_t r)
{
    return f128_mul(r, series(alternate(f128_mul(r, r)), inv_factorial, 1, 2, 15));
}
static float128_t quad_cos(float128_t r)
{
    return series(alternate(f128_mul(r, r)), inv_factorial, 0, 2, 15);
}

static float128_t trig_value(enum x87_trig f, float128_t r, unsigned quadrant)
{
    if (f == X87_TAN) {
        float128_t s = quad_sin(r), t = quad_cos(r);
        return quadrant & 1 ? quad_negate(f128_div(t, s)) : f128_div(s, t);
    }
    unsigned q = quadrant + (f == X87_COS);
    float128_t v = q & 1 ? quad_cos(r) : quad_sin(r);
    return q & 2 ? quad_negate(v) : v;
}

/* x itself but for the last bit, or 1 but for the last bit. */
static struct f80 trig_tiny(struct x87_calc *k, enum x87_trig f, bool sign, int exp, u64 mant)
{
    if (f == X87_COS)
        return round_scaled(k, (struct scaled){ f_one, 0, BELOW });
    return round_scaled(k, (struct scaled){ quad_make(sign, 0, mant), exp, f == X87_SIN ? BELOW : ABOVE });
}

bool x87_trig(struct x87_calc *k, enum x87_trig f, struct f80 a, struct f80 *r)
{
    if (x87_special1(k, a, r))
        return true;
    if (f80_is_inf(a)) {
        *r = x87_invalid(k);
        return true;
    }
    if (f80_is_zero(a)) {
        *r = f == X87_COS ? f80_make(false, F80_BIAS, F80_INT) : a;
        return true;
    }
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
    struct saved_mode mode = quad_begin();
    unsigned quadrant;
    float128_t v = reduce(mant, exp, &quadrant);
    v = trig_value(f, v, quadrant);
    if (f != X87_COS && f80_sign(a))
        v = quad_negate(v);
    quad_end(mode);
    *r = round_quad(k, v);
    return true;
}

/* --- arc tangent --- */

/* atan(u), 0 <= u <= 1: a table in steps of 1/16, and for the rest atan(u) - atan(c) = atan((u - c) / (1 + u c)). */
static float128_t quad_atan(float128_t u)
{
    const float128_t sixteen = quad_make(false, 4, F80_INT), half = quad_make(false, -1, F80_INT);
    float128_t scaled = f128_add(f128_mul(u, sixteen), half), w = u;
    int exp = quad_exp(scaled);
    unsigned i = exp < 0 ? 0 : (unsigned)(((scaled.v[1] & 0xffffffffffff) | (u64)1 << 48) >> (48 - exp));
    if (i) {
        float128_t c = f128_mul(quad_from_int(i), quad_make(false, -4, F80_INT));
        w = f128_div(f128_sub(u, c), f128_add(f_one, f128_mul(u, c)));
    }
    float128_t sum = f128_mul(w, series(alternate(f128_mul(w, w)), inv_odd, 0, 1, 13));
    return f128_add(atan_table[i], sum);
}

/* SDM 2A table "FPATAN Results": multiples of pi/4. */
static bool atan2_special(struct x87_calc *k, struct f80 y, struct f80 x, struct f80 *r)
{
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
    struct saved_mode mode = quad_begin();
    float128_t v = f128_mul(f_pi, quad_from_int((u64)quarter_pi));
    v.v[1] -= (u64)2 << 48;
    quad_end(mode);
    *r = round_quad(k, f80_sign(y) ? quad_negate(v) : v);
    return true;
}

/* atan of (ratio * 2^diff) in all quadrants; ratio in (1/2, 2). */
static struct scaled atan_ratio(u64 my, u64 mx, int diff, bool x_negative)
{
    float128_t a = quad_make(false, 0, my), b = quad_make(false, 0, mx), v;
    if (diff < -80 && !x_negative)
        return (struct scaled){ f128_div(a, b), diff, BELOW };
    if (diff > 200 || diff < -200) {        /* far below the last bit of pi or pi/2 */
        v = diff > 0 ? f_half_pi : f_pi;
        return (struct scaled){ v, 0, INEXACT };
    }
    bool steep = diff > 0 || (diff == 0 && my > mx);
    float128_t u = steep ? f128_div(b, a) : f128_div(a, b);
    u = f128_mul(u, quad_make(false, steep ? -diff : diff, F80_INT));
    v = quad_atan(u);
    if (steep)
        v = x_negative ? f128_add(f_half_pi, v) : f128_sub(f_half_pi, v);
    else if (x_negative)
        v = f128_sub(f_pi, v);
    return (struct scaled){ v, 0, INEXACT };
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
    struct saved_mode mode = quad_begin();
    struct scaled s = atan_ratio(my, mx, ey - ex, f80_sign(x));
    quad_end(mode);
    if (f80_sign(y))
        s.value = quad_negate(s.value);
    return round_scaled(k, s);
}

/* --- 2^x - 1 --- */

/* x = i/16 + f: 2^(i/16) * (e^(f ln 2) - 1) + (2^(i/16) - 1) */
static float128_t quad_2xm1(float128_t x, bool sign, u64 mant, int exp)
{
    /* |x| * 16 rounded to an integer; exp <= -1 here */
    int i = exp < -5 ? 0 : (int)(((mant >> (59 - exp - 1)) + 1) >> 1);
    i = sign ? -i : i;
    float128_t whole = quad_from_int((u64)(i < 0 ? -i : i)), f = x;
    if (i) {
        whole = f128_mul(whole, quad_make(i < 0, -4, F80_INT));
        f = f128_sub(x, whole);
    }
    float128_t w = f128_mul(f, f_ln2), e = f128_mul(w, series(w, inv_factorial, 1, 1, 18));
    if (!i)
        return e;
    float128_t base = exp2_table[i + 16];
    return f128_add(f128_mul(base, e), f128_sub(base, f_one));
}

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
    exp -= F80_BIAS;
    struct saved_mode mode = quad_begin();
    struct scaled s = { .beyond = INEXACT };
    if (exp < -70) {
        s.value = f128_mul(quad_make(f80_sign(a), 0, mant), f_ln2);
        s.scale = exp;
    } else {
        s.value = quad_2xm1(quad_make(f80_sign(a), exp, mant), f80_sign(a), mant, exp);
    }
    quad_end(mode);
    return round_scaled(k, s);
}

/* --- logarithms --- */

/* log2((1 + z) / (1 - z)) = 2/ln2 * (z + z^3/3 + ...), |z| < 1/80 */
static float128_t log2_series(float128_t z)
{
    return f128_mul(f128_mul(z, f_two_over_ln2), series(f128_mul(z, z), inv_odd, 0, 1, 10));
}

/* log2(m * 2^e), m in [1, 2): m is brought to [0.707, 1.414] and compared with the nearest c = i/32. */
static float128_t quad_log2(float128_t m, int e)
{
    const float128_t sqrt2 = quad_make(false, 0, 0xb504f333f9de6484);
    if (f128_lt(sqrt2, m)) {
        m.v[1] -= (u64)1 << 48;
        e++;
    }
    unsigned i = (unsigned)((((m.v[1] & 0xffffffffffff) | (u64)1 << 48) >> (48 - 6 - quad_exp(m))) + 1) >> 1;
    float128_t c = f128_mul(quad_from_int(i), quad_make(false, -5, F80_INT));
    float128_t v = log2_series(f128_div(f128_sub(m, c), f128_add(m, c)));
    if (i != 32)
        v = f128_add(log2_table[i - 23], v);
    if (!e)
        return v;
    float128_t whole = quad_from_int((u64)(e < 0 ? -e : e));
    return f128_add(v, e < 0 ? quad_negate(whole) : whole);
}

/* y * log, y finite and not zero. */
static struct f80 times_log(struct x87_calc *k, struct f80 y, float128_t log, bool exact)
{
    int exp;
    u64 mant = f80_normalize(y, &exp);
    struct saved_mode mode = quad_begin();
    float128_t v = f128_mul(log, quad_make(f80_sign(y), 0, mant));
    quad_end(mode);
    return round_scaled(k, (struct scaled){ v, exp - F80_BIAS, exact ? EXACT : INEXACT });
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
    struct saved_mode mode = quad_begin();
    float128_t log;
    if (mant == F80_INT) {
        log = quad_from_int((u64)(exp < 0 ? -exp : exp));
        log = exp < 0 ? quad_negate(log) : log;
    } else {
        log = quad_log2(quad_make(false, 0, mant), exp);
    }
    quad_end(mode);
    return times_log(k, y, log, mant == F80_INT);
}

/* log2(1 + x) for finite x > -1, x not zero; *scale: a power of two to multiply with. */
static float128_t quad_log2p1(struct f80 x, int *scale)
{
    int exp;
    u64 mant = f80_normalize(x, &exp);
    exp -= F80_BIAS;
    *scale = 0;
    if (exp < -120) {       /* x / ln 2, and no quadruple number is that small */
        *scale = exp + 1;
        return f128_mul(quad_make(f80_sign(x), -2, mant), f_two_over_ln2);
    }
    float128_t v = quad_make(f80_sign(x), exp, mant);
    if (exp < -6)
        return log2_series(f128_div(v, f128_add(v, quad_make(false, 1, F80_INT))));
    v = f128_add(v, f_one);
    int e = quad_exp(v);
    v.v[1] = (v.v[1] & 0xffffffffffff) | (u64)F80_BIAS << 48;
    return quad_log2(v, e);
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
    int scale, exp;
    u64 mant = f80_normalize(y, &exp);
    struct saved_mode mode = quad_begin();
    float128_t v = quad_log2p1(x, &scale);
    v = f128_mul(v, quad_make(f80_sign(y), 0, mant));
    quad_end(mode);
    return round_scaled(k, (struct scaled){ v, exp - F80_BIAS + scale, INEXACT });
}
