/* interp_x87_trig.c - the transcendental instructions: FSIN FCOS FSINCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1.
 *
 * x87_trig.c computes; here are the stack and the C2 of arguments out of range. SDM 1 8.3.6, 8.3.7, SDM 2A chapter 3.
 */
#include "cpu/fpu.h"
#include "cpu/interp.h"

/* C2 for an argument of 2^63 or more: registers stay, the guest is to reduce it. */
static bool out_of_range(struct vcpu *c)
{
    x87_set_cc(c, X87_C1 | X87_C2, X87_C2);
    return true;
}

static bool sine(struct vcpu *c, const struct insn *in, enum x87_trig f)
{
    struct x87_calc k = x87_calc_begin(c);
    struct f80 r = f80_indefinite;
    x87_note(c, in);
    if (x87_empty(c, 0)) {
        x87_set_cc(c, X87_C2, 0);
        if (!x87_stack_underflow(c))
            return true;
    } else {
        if (!x87_trig(&k, f, x87_get(c, 0), &r))
            return out_of_range(c);
        x87_set_cc(c, X87_C2, 0);
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 0, r);
    return true;
}

bool in_fsin(struct vcpu *c, const struct insn *in) { return sine(c, in, X87_SIN); }
bool in_fcos(struct vcpu *c, const struct insn *in) { return sine(c, in, X87_COS); }

/* FSINCOS and FPTAN: ST(0) becomes the first result, then the second is pushed. */
static bool two_results(struct vcpu *c, const struct insn *in, bool tangent)
{
    struct x87_calc k = x87_calc_begin(c);
    struct f80 a = x87_get(c, 0), first = f80_indefinite, second = f80_indefinite;
    x87_note(c, in);
    if (x87_empty(c, 0) || !x87_empty(c, 7)) {
        x87_set_cc(c, X87_C2, 0);
        if (!(x87_empty(c, 0) ? x87_stack_underflow(c) : x87_stack_overflow(c)))
            return true;
    } else {
        if (!(tangent ? x87_trig(&k, X87_TAN, a, &first) : x87_sin_cos(&k, a, &first, &second)))
            return out_of_range(c);
        if (tangent)
            second = f80_is_nan(first) ? first : f80_make(false, F80_BIAS, F80_INT);
        x87_set_cc(c, X87_C2, 0);
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 0, first);
    x87_push(c, second);
    return true;
}

bool in_fsincos(struct vcpu *c, const struct insn *in) { return two_results(c, in, false); }
bool in_fptan(struct vcpu *c, const struct insn *in) { return two_results(c, in, true); }

bool in_f2xm1(struct vcpu *c, const struct insn *in)
{
    struct x87_calc k = x87_calc_begin(c);
    struct f80 r = f80_indefinite;
    x87_note(c, in);
    if (x87_empty(c, 0)) {
        if (!x87_stack_underflow(c))
            return true;
    } else {
        r = x87_2xm1(&k, x87_get(c, 0));
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 0, r);
    return true;
}

/* ST(1) := f(ST(1), ST(0)), pop. */
static bool two_operands(struct vcpu *c, const struct insn *in, x87_op2 *fn)
{
    struct x87_calc k = x87_calc_begin(c);
    struct f80 r = f80_indefinite;
    x87_note(c, in);
    if (x87_empty(c, 0) || x87_empty(c, 1)) {
        if (!x87_stack_underflow(c))
            return true;
    } else {
        r = fn(&k, x87_get(c, 1), x87_get(c, 0));
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 1, r);
    x87_pop(c);
    return true;
}

bool in_fpatan(struct vcpu *c, const struct insn *in) { return two_operands(c, in, x87_atan2); }
bool in_fyl2x(struct vcpu *c, const struct insn *in) { return two_operands(c, in, x87_ylog2x); }
bool in_fyl2xp1(struct vcpu *c, const struct insn *in) { return two_operands(c, in, x87_ylog2xp1); }
