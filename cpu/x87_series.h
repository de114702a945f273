/* x87_series.h - sine, cosine, tangent, arc tangent, 2^x - 1 and log2 to more bits than any x87 result has: private to
 * x87_trig.c, which knows the special cases and rounds. Portable integer arithmetic: the same bits on every host.
 */
#ifndef SHADOW86_X87_SERIES_H
#define SHADOW86_X87_SERIES_H

#include "cpu/types.h"

/* mant * 2^(exp - 127), the top bit of mant set; its sign. */
struct wide {
    u128 mant;
    int exp;
    bool sign;
};

static inline struct wide wide_make(bool sign, int exp, u64 mant)
{
    return (struct wide){ (u128)mant << 64, exp, sign };
}

/* Operands are mant * 2^(exp - 63), mant normalized; the relative error of all results is below 2^-116. */

/* Of an angle in [-pi/4, pi/4] with -34 <= exp or that has been reduced: quadrant * pi/2 more is the argument. */
struct angle {
    u128 fraction;      /* of the absolute value */
    bool negative;
    unsigned quadrant;
};
struct angle series_reduce(int exp, u64 mant);      /* -34 <= exp <= 62 */
void series_sin_cos(struct angle a, struct wide *sine, struct wide *cosine);
struct wide series_tan(struct angle a);

struct wide series_atan2(u64 my, u64 mx, int diff, bool x_negative);    /* of my/mx * 2^diff; positive */
struct wide series_2xm1(bool sign, int exp, u64 mant);                  /* exp <= -1 */
struct wide series_log2(int exp, u64 mant);                             /* not of 1 */
struct wide series_log2p1(bool sign, int exp, u64 mant);                /* of 1 + x, x > -1 */
struct wide series_times(struct wide a, bool sign, int exp, u64 mant);

#endif
