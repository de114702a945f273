/* x87_series.c - the functions behind the x87's transcendental instructions, in 128-bit fixed point.
 *
 * Each argument is split into the nearest multiple of 1/64, whose value is in a table, and a rest of at most 2^-7, for which
 * a Taylor series of 7 to 13 terms goes down to 2^-123 of the result or less. Tables are nearest values (x87_tables.h).
 *
 * Error. A fraction is an integer times 2^-128. mul_high loses less than 3 units; a Horner step multiplies the error so far
 * by x < 2^-7, so that a series is off by less than 5 units, of which its narrow part (64 bits, below) may make one. What is
 * added to a table's value is off by less than 16 units with all its factors, and the sum is not below 2^-7, the smallest that
 * a table's value other than 0 or 1 comes with: 2^-128 * 16 * 2^7 = 2^-117. Near 0 (table entry 0) results are products of
 * normalized numbers (struct wide), whose relative errors of some 2^-127 add up to less than 2^-122 with the series'
 * truncation. So the rounding to 64 bits is wrong for one operand in 2^52 at most, and by no more than 2^-52 ulp.
 *
 * Trigonometric arguments are reduced with the 66-bit pi of the FPUs (SDM 1 8.3.8), exactly.
 */
#include "cpu/x87_series.h"

#include "cpu/x87_tables.h"

#define TOP ((u128)1 << 127)

/* --- fractions --- */

/* a * b / 2^128, or up to 2 less. */
static inline u128 mul_high(u128 a, u128 b)
{
    const u64 ah = (u64)(a >> 64), al = (u64)a, bh = (u64)(b >> 64), bl = (u64)b;
    return (u128)ah * bh + (u64)((u128)ah * bl >> 64) + (u64)((u128)al * bh >> 64);
}

static inline u64 mul_high64(u64 a, u64 b) { return (u64)((u128)a * b >> 64); }

static inline u128 negate_if(u128 v, bool negative) { return (v ^ -(u128)negative) + negative; }

static inline u128 difference(u128 a, u128 b, bool *negative)
{
    *negative = a < b;
    return *negative ? b - a : a - b;
}

static inline int leading_zeros(u128 v)
{
    const u64 high = (u64)(v >> 64);
    return high ? __builtin_clzll(high) : 64 + __builtin_clzll((u64)v);
}

/* c[0] + c[1] x + .. + c[n-1] x^(n-1), or with alternating signs. The terms from `narrow` on, x^narrow < 2^-60, need 64 bits. */
static inline u128 series(u128 x, const u128 *c, unsigned n, unsigned narrow, bool alternate)
{
    const u64 x_high = (u64)(x >> 64);
    u64 low = (u64)(c[n - 1] >> 64);
    for (unsigned i = n - 1; i-- > narrow;) {
        const u64 m = mul_high64(x_high, low);
        low = (u64)(c[i] >> 64) + (alternate ? -m : m);
    }
    u128 sum = (u128)low << 64;
    for (unsigned i = narrow; i-- > 0;) {
        const u128 m = mul_high(x, sum);
        sum = c[i] + (alternate ? -m : m);
    }
    return sum;
}

/* --- normalized numbers --- */

/* v * 2^exp as a number; v is not 0. */
static inline struct wide normalize(u128 v, int exp, bool sign)
{
    const int lead = leading_zeros(v);
    return (struct wide){ v << lead, exp - 1 - lead, sign };
}

/* a * v, v a fraction of at least 1/4. */
static inline struct wide times_fraction(struct wide a, u128 v)
{
    return normalize(mul_high(a.mant, v), a.exp + 1, a.sign);
}

/* The fraction of |a| < 1. */
static inline u128 fraction(struct wide a)
{
    return a.exp < -128 ? 0 : a.mant >> (-1 - a.exp);
}

/* floor((2^192 - 1) / d) - 2^64: the reciprocal with which 3 words are divided by 2. N. Moeller, T. Granlund, "Improved
 * division by invariant integers" (2011), algorithm 6. */
static u64 reciprocal(u64 d1, u64 d0)
{
    u64 v = (u64)(~((u128)d1 << 64) / d1), p = d1 * v + d0;
    if (p < d0) {
        v--;
        if (p >= d1) {
            v--;
            p -= d1;
        }
        p -= d1;
    }
    const u128 t = (u128)v * d0;
    p += (u64)(t >> 64);
    if (p < (u64)(t >> 64)) {
        v--;
        if (((u128)p << 64 | (u64)t) >= ((u128)d1 << 64 | d0))
            v--;
    }
    return v;
}

/* The same paper's algorithm 5: one word of the quotient of rest:0 and d, rest < d; rest becomes the remainder. */
static u64 quotient_word(u128 *rest, u128 d, u64 v)
{
    const u64 d1 = (u64)(d >> 64), d0 = (u64)d, u2 = (u64)(*rest >> 64), u1 = (u64)*rest;
    const u128 q = (u128)v * u2 + *rest;
    u64 q1 = (u64)(q >> 64) + 1;
    u128 r = ((u128)(u1 - (q1 - 1) * d1) << 64) - (u128)d0 * (q1 - 1) - d;
    if ((u64)(r >> 64) >= (u64)q) {
        q1--;
        r += d;
    }
    if (r >= d) {
        q1++;
        r -= d;
    }
    *rest = r;
    return q1;
}

/* The quotient's first 128 bits; the last one is also set if there are more. Its sign is a's. */
static struct wide divide(struct wide a, struct wide b)
{
    const bool below = a.mant < b.mant;
    const u64 v = reciprocal((u64)(b.mant >> 64), (u64)b.mant);
    u128 rest = below ? a.mant : a.mant - b.mant;       /* else the first bit is 1 */
    const u64 high = quotient_word(&rest, b.mant, v), low = quotient_word(&rest, b.mant, v);
    const u128 q = (u128)high << 64 | low;
    const u128 more = rest != 0 || (!below && q & 1);
    return (struct wide){ (below ? q : q >> 1 | TOP) | more, a.exp - b.exp - below, a.sign };
}

struct wide series_times(struct wide a, bool sign, int exp, u64 mant)
{
    const u128 low = (u128)(u64)a.mant * mant, high = (u128)(u64)(a.mant >> 64) * mant + (u64)(low >> 64);
    struct wide r = { high, a.exp + exp + 1, a.sign != sign };
    if (!(high & TOP)) {
        r.mant = high << 1 | (u64)low >> 63;
        r.exp--;
    }
    return r;
}

/* --- sine, cosine, tangent --- */

enum { STEP = 6 };      /* tables go in steps of 2^-STEP */
static const u128 half = (u128)1 << (127 - STEP);       /* of a step */

struct angle series_reduce(int exp, u64 mant)
{
    const u128 half_pi = (u128)0x3 << 64 | 0x243f6a8885a308d3;      /* pi/2 = half_pi * 2^-65 */
    const u64 inverse = 0xa2f9836e4e44152a;                         /* floor(2^129 / half_pi) */
    if (exp < -1)
        return (struct angle){ (u128)mant << (exp + 65), false, 0 };
    u64 quotient = mul_high64(mant, inverse) >> (62 - exp) >> 1;    /* at most 2 too small */
    u128 rest = ((u128)mant << (exp + 2)) - half_pi * quotient;     /* |a| = mant * 2^(exp + 2) * 2^-65 */
    while (rest >= half_pi) {
        rest -= half_pi;
        quotient++;
    }
    const bool negative = rest > half_pi - rest;
    if (negative) {
        rest = half_pi - rest;
        quotient++;
    }
    return (struct angle){ rest << 63, negative, (unsigned)quotient & 3 };
}

/* Of the angle without its quadrant. */
static inline void sin_cos(struct angle a, struct wide *sine, struct wide *cosine)
{
    const unsigned i = (unsigned)((a.fraction + half) >> (128 - STEP));
    bool below;
    const u128 d = difference(a.fraction, (u128)i << (128 - STEP), &below), d2 = mul_high(d, d);
    const u128 s = series(d2, sin_terms, ARRAY_LEN(sin_terms), 5, true);
    const u128 c = series(d2, cos_terms, ARRAY_LEN(cos_terms), 5, true);
    if (!i) {
        *sine = times_fraction(normalize(a.fraction, 0, a.negative), s);
        *cosine = normalize(c, 0, false);
        return;
    }
    const struct sin_cos *t = &sin_cos_table[i];
    const u128 ds = mul_high(d, s);
    *sine = normalize(mul_high(t->sin, c) + negate_if(mul_high(t->cos, ds), below), 0, a.negative);
    *cosine = normalize(mul_high(t->cos, c) - negate_if(mul_high(t->sin, ds), below), 0, false);
}

void series_sin_cos(struct angle a, struct wide *sine, struct wide *cosine)
{
    struct wide s, c;
    sin_cos(a, &s, &c);
    *sine = a.quadrant & 1 ? c : s;
    *cosine = a.quadrant & 1 ? s : c;
    sine->sign ^= a.quadrant >> 1;
    cosine->sign ^= (a.quadrant + 1) >> 1 & 1;
}

struct wide series_tan(struct angle a)
{
    struct wide s, c, r;
    sin_cos(a, &s, &c);
    r = a.quadrant & 1 ? divide(c, s) : divide(s, c);
    r.sign = s.sign != (a.quadrant & 1);
    return r;
}

/* --- arc tangent --- */

/* u - u^3/3, u < 2^-40. Here quotients that lie on a half-way case, or nearly so, are not rare: the difference is cut off, and
 * from an exact quotient, which is an even one, a little more is taken away. */
static struct wide atan_small(struct wide u)
{
    const u128 cube = mul_high(u.mant, mul_high(mul_high(u.mant, u.mant), atan_terms[1]));
    const int shift = -2 * u.exp - 2;
    const u128 less = shift < 128 ? cube >> shift : 0;
    return normalize(u.mant - less - !(u.mant & 1), u.exp + 1, false);
}

/* atan(y/x * 2^-shift), y/x * 2^-shift <= 1. With c the nearest multiple of 1/64: atan(u) = atan(c) + atan((u - c) / (1 + u c)).
 * In *value, or if c is 0 in the number returned, which else is 0. */
static struct wide atan_ratio(u64 y, u64 x, int shift, u128 *value)
{
    const unsigned i = shift > STEP + 1 ? 0 : (unsigned)(((((y >> 32) << (STEP + 1)) / (x >> 32) >> shift) + 1) >> 1);
    struct wide w;
    bool below = false;
    if (!i) {
        w = divide(wide_make(false, -shift, y), wide_make(false, 0, x));
        if (shift > 40)
            return atan_small(w);
    } else {
        const u128 far = (u128)x << shift, num = difference((u128)y << STEP, far * i, &below);
        *value = atan_table[i];
        if (!num)
            return (struct wide){ 0 };
        w = divide(normalize(num, 0, below), normalize((far << STEP) + (u128)y * i, 0, false));
    }
    const u128 f = fraction(w), s = series(mul_high(f, f), atan_terms, ARRAY_LEN(atan_terms), 5, true);
    if (i)
        *value += negate_if(mul_high(f, s), below);
    else
        w = times_fraction(w, s);
    return i ? (struct wide){ 0 } : w;
}

struct wide series_atan2(u64 my, u64 mx, int diff, bool x_negative)
{
    const u128 pi = U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);      /* * 2^-126 */
    const bool steep = diff > 0 || (diff == 0 && my > mx);
    u128 value = 0;
    const struct wide small = steep ? atan_ratio(mx, my, diff, &value) : atan_ratio(my, mx, -diff, &value);
    if (small.mant && !steep && !x_negative)
        return small;
    if (small.mant)
        value = fraction(small);
    if (steep)
        value = x_negative ? (pi >> 1) + (value >> 2) : (pi >> 1) - (value >> 2);
    else
        value = x_negative ? pi - (value >> 2) : value;
    return normalize(value, steep || x_negative ? 2 : 0, false);
}

/* --- 2^x - 1 --- */

/* x = i/64 + f: 2^x - 1 = (t - 1) + t (2^f - 1) with t = 2^(i/64). */
struct wide series_2xm1(bool sign, int exp, u64 mant)
{
    const struct wide x = wide_make(sign, exp, mant);
    const u128 v = fraction(x);
    unsigned i = (unsigned)((v >> (127 - STEP)) + 1) >> 1;
    i -= i >> STEP;     /* 64 is not in the table: f is then below 2^-6 */
    bool below;
    const u128 f = difference(v, (u128)i << (128 - STEP), &below);
    const bool negative = sign != below;
    const u128 s = negative ? series(f, exp2_terms, ARRAY_LEN(exp2_terms), 9, true)
                            : series(f, exp2_terms, ARRAY_LEN(exp2_terms), 9, false);
    if (!i)
        return times_fraction(x, s);
    const u128 e = mul_high(f, s);
    if (!sign) {
        const u128 part = exp2_table[i];
        return normalize(part + negate_if(e + mul_high(part, e), negative), 0, false);
    }
    const u128 part = exp2_table[64 - i] >> 1;      /* t = 1/2 + part */
    return normalize((TOP - part) - negate_if((e >> 1) + mul_high(part, e), negative), 0, true);
}

/* --- logarithms --- */

/* log2((1 + z) / (1 - z)) = 2/ln 2 (z + z^3/3 + ..), |z| <= 2^-7.5 */
static struct wide log2_ratio(struct wide num, struct wide den)
{
    const struct wide z = divide(num, den);
    const u128 f = fraction(z), s = series(mul_high(f, f), log2_terms, ARRAY_LEN(log2_terms), 4, false);
    struct wide r = times_fraction(z, s);
    r.exp += 2;
    return r;
}

/* whole + part as a number */
static struct wide mixed(s64 whole, u128 part)
{
    const bool sign = whole < 0;
    if (sign) {
        part = -part;
        whole = -whole - (part != 0);
    }
    if (!whole)
        return normalize(part, 0, sign);
    const int lead = __builtin_clzll((u64)whole);
    const u128 mant = (u128)((u64)whole << lead) << 64 | part >> (64 - lead);
    return (struct wide){ mant, 63 - lead, sign };
}

/* log2 of mant * 2^(exp - 127): mant is brought to [0.707, 1.414] and compared with the nearest c = i/64. */
static struct wide log2_wide(int exp, u128 mant)
{
    u128 m = mant;      /* * 2^-127 */
    if ((u64)(mant >> 64) > 0xb504f333f9de6484) {
        m >>= 1;
        exp++;
    }
    const unsigned i = (unsigned)((m >> (126 - STEP)) + 1) >> 1;
    const u128 c = (u128)i << (127 - STEP);
    bool below;
    const u128 num = difference(m, c, &below);
    struct wide v = { 0 };
    if (num)
        v = log2_ratio(normalize(num, 1, below), normalize((m >> 1) + (c >> 1), 2, false));
    if (i == 64 && !exp)
        return v;
    const u128 part = log2_table[i - 45], add = num ? fraction(v) : 0;
    const u128 sum = below ? part - add : part + add;
    const s64 carry = below ? -(s64)(part < add) : sum < part;
    return mixed(exp - (i < 64) + carry, sum);
}

struct wide series_log2(int exp, u64 mant) { return log2_wide(exp, (u128)mant << 64); }

struct wide series_log2p1(bool sign, int exp, u64 mant)
{
    const u128 m = (u128)mant << 64;
    if (exp < -STEP - 1) {      /* x = (1 + z) / (1 - z) - 1: z = x / (2 + x) */
        const u128 x = exp < -128 ? 0 : m >> (-1 - exp) >> 1;   /* * 2^-126, so that 2 is TOP */
        const struct wide den = sign ? normalize(TOP - (x >> 1), 2, false) : normalize(TOP + (x >> 1), 2, false);
        return log2_ratio((struct wide){ m, exp, sign }, den);
    }
    if (exp < 0) {
        const u128 x = m >> -exp;
        const struct wide v = sign ? normalize(TOP - x, 1, false) : (struct wide){ TOP + x, 0, false };
        return log2_wide(v.exp, v.mant);
    }
    const u128 one = exp < 128 ? TOP >> exp : 0, sum = m + one;
    return sum < m ? log2_wide(exp + 1, sum >> 1 | TOP) : log2_wide(exp, sum);
}
