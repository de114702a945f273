/* x87_round.c - rounds and packs an 80-bit result as the x87 does; stands in for SoftFloat's s_roundPackToExtF80.c.
 *
 * Ours. All 80-bit operations of SoftFloat end here with the infinitely precise result (a significand of 64 bits and 64
 * more with a sticky last bit). SoftFloat's own version cannot tell whether it rounded up, and knows masked responses
 * only.
 * SDM 1, 4.8.4 (rounding), 8.5.4 to 8.5.6 (overflow, underflow, inexact), 8.1.5.2 (precision control).
 */
#include <stdbool.h>
#include <stdint.h>
#include "platform.h"
#include "internals.h"
#include "softfloat.h"
#include "softfloat_x87.h"

typedef unsigned __int128 u128;

enum { EXP_MAX = 0x7fff, BIAS_ADJUST = 24576 };

_Thread_local struct softfloat_x87 softfloat_x87;

static extFloat80_t pack(bool sign, int32_t exp, uint64_t sig)
{
    extFloat80_t z;
    z.signExp = (uint16_t)(sign << 15 | exp);
    z.signif = sig;
    return z;
}

/* Does the rounding mode take a value with these bits below the unit away from zero? odd: the unit's bit is set. */
static bool goes_up(bool sign, u128 rest, u128 half, bool odd)
{
    switch (softfloat_roundingMode) {
    case softfloat_round_near_even: return rest > half || (rest == half && odd);
    case softfloat_round_near_maxMag: return rest >= half;
    case softfloat_round_min: return sign && rest;
    case softfloat_round_max: return !sign && rest;
    default: return false;
    }
}

struct rounded { uint64_t sig; bool carry, inexact, up; };

/* Rounds v to a multiple of 2^drop (drop: 64, 75, 104); carry: the result is 2^128. */
static struct rounded round_at(bool sign, u128 v, unsigned drop)
{
    u128 unit = (u128)1 << drop, rest = v & (unit - 1), kept = v - rest;
    struct rounded r = { .inexact = rest != 0, .up = goes_up(sign, rest, unit >> 1, v >> drop & 1) };
    if (r.up) {
        kept += unit;
        r.carry = kept == 0;
    }
    r.sig = (uint64_t)(kept >> 64);
    return r;
}

static u128 shift_right_sticky(u128 v, uint32_t n)
{
    if (n == 0)
        return v;
    if (n > 127)
        return v != 0;
    return v >> n | ((v << (128 - n)) != 0);
}

static extFloat80_t overflow(bool sign, unsigned drop)
{
    softfloat_exceptionFlags |= softfloat_flag_overflow | softfloat_flag_inexact;
    softfloat_x87.rounded_up = goes_up(sign, 3, 2, true);
    return softfloat_x87.rounded_up ? pack(sign, EXP_MAX, (uint64_t)1 << 63)
                                    : pack(sign, EXP_MAX - 1, UINT64_MAX << (drop - 64));
}

/* Too small for a normal number, and the underflow exception is masked. */
static extFloat80_t denormal(bool sign, int32_t exp, u128 v, unsigned drop, bool tiny)
{
    struct rounded r = round_at(sign, shift_right_sticky(v, (uint32_t)(1 - exp)), drop);
    if (r.inexact)
        softfloat_exceptionFlags |= softfloat_flag_inexact | (tiny ? softfloat_flag_underflow : 0);
    softfloat_x87.rounded_up = r.up;
    return pack(sign, r.sig >> 63, r.sig);
}

extFloat80_t softfloat_roundPackToExtF80(bool sign, int_fast32_t exp, uint_fast64_t sig, uint_fast64_t sigExtra,
                                         uint_fast8_t roundingPrecision)
{
    unsigned drop = roundingPrecision == 32 ? 104 : roundingPrecision == 64 ? 75 : 64;
    u128 v = (u128)sig << 64 | sigExtra;
    softfloat_x87.rounded_up = false;
    if (!v)
        return pack(sign, 0, 0);
    struct rounded r = round_at(sign, v, drop);
    if (exp <= 0) {
        bool tiny = exp < 0 || !r.carry;
        if (!(tiny && softfloat_x87.underflow_unmasked))
            return denormal(sign, (int32_t)exp, v, drop, tiny);
        softfloat_exceptionFlags |= softfloat_flag_underflow;
        exp += BIAS_ADJUST;
        if (exp <= 0) {         /* only FSCALE gets so far */
            softfloat_exceptionFlags |= softfloat_flag_inexact;
            return pack(sign, 0, 0);
        }
    }
    if (r.carry) {
        r.sig = (uint64_t)1 << 63;
        exp++;
    }
    if (exp >= EXP_MAX) {
        if (!softfloat_x87.overflow_unmasked)
            return overflow(sign, drop);
        softfloat_exceptionFlags |= softfloat_flag_overflow;
        exp -= BIAS_ADJUST;
        if (exp >= EXP_MAX) {   /* FSCALE again */
            softfloat_exceptionFlags |= softfloat_flag_inexact;
            softfloat_x87.rounded_up = true;
            return pack(sign, EXP_MAX, (uint64_t)1 << 63);
        }
    }
    if (r.inexact)
        softfloat_exceptionFlags |= softfloat_flag_inexact;
    softfloat_x87.rounded_up = r.up;
    return pack(sign, (int32_t)exp, r.sig);
}
