/* softfloat_x87.h - what the x87 needs to know about a rounding beyond SoftFloat's flags.
 *
 * Ours, not part of SoftFloat. The state goes with softfloat_roundingMode and the others: one per thread, set before an
 * operation, looked at after it. x87_round.c reads and writes it.
 */
#ifndef SHADOW86_SOFTFLOAT_X87_H
#define SHADOW86_SOFTFLOAT_X87_H

#include <stdbool.h>
#include <stdint.h>

struct softfloat_x87 {
    bool overflow_unmasked;     /* in: an overflow delivers the result with its exponent 24576 too low (SDM 1 8.5.4) */
    bool underflow_unmasked;    /* in: the same for tiny results, 24576 too high, exact ones included (SDM 1 8.5.5) */
    bool rounded_up;            /* out: the magnitude was rounded up: C1 */
};
extern _Thread_local struct softfloat_x87 softfloat_x87;

#endif
