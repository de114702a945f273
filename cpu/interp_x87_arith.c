/* interp_x87_arith.c - x87 arithmetic and comparisons: FADD FSUB FMUL FDIV, their integer, reversed and popping forms,
 * FSQRT FRNDINT FSCALE FPREM FPREM1 FXTRACT, FCOM FUCOM FCOMI FUCOMI FICOM FTST.
 *
 * Shape of each: read memory (the only fault there can be), note the pointers, look for a stack fault, compute with
 * x87_arith.c, commit. An unmasked exception that is found before the result leaves registers and TOP as they were.
 * SDM 1 8.3, SDM 2A chapter 3.
 */
#include "cpu/fpu.h"
#include "cpu/interp.h"
#include "cpu/operand.h"

enum how { REVERSE = 1, INTEGER = 2, POP = 4, POP2 = 8, QUIET = 16 };

/* Operand 1: a register, a real or an integer in memory. */
static bool load_source(struct vcpu *c, const struct insn *in, unsigned how, struct x87_calc *k, struct f80 *v)
{
    const struct operand *o = &in->op[1];
    if (o->kind == OP_ST) {
        *v = x87_get(c, o->reg);
        return true;
    }
    u64 raw;
    if (!operand_read(c, in, 1, &raw))
        return false;
    if (how & INTEGER)
        *v = x87_from_int(o->size == 2 ? (s16)raw : (s32)raw);
    else
        *v = o->size == 4 ? x87_from_f32(k, (u32)raw) : x87_from_f64(k, raw);
    return true;
}

static bool source_empty(const struct vcpu *c, const struct insn *in)
{
    return in->op[1].kind == OP_ST && x87_empty(c, in->op[1].reg);
}

static bool arith(struct vcpu *c, const struct insn *in, x87_op2 *fn, unsigned how)
{
    struct x87_calc k = x87_calc_begin(c);
    unsigned dst = in->op[0].reg;
    struct f80 src, r;
    if (!load_source(c, in, how, &k, &src))
        return false;
    x87_note(c, in);
    if (unlikely(x87_empty(c, dst) || source_empty(c, in))) {
        if (!x87_stack_underflow(c))
            return true;
        r = f80_indefinite;
    } else {
        struct f80 old = x87_get(c, dst);
        r = how & REVERSE ? fn(&k, src, old) : fn(&k, old, src);
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, dst, r);
    if (how & POP)
        x87_pop(c);
    return true;
}

/* One operand, ST(0), replaced by the result. */
static bool unary(struct vcpu *c, const struct insn *in, x87_op1 *fn)
{
    struct x87_calc k = x87_calc_begin(c);
    x87_note(c, in);
    struct f80 r = f80_indefinite;
    if (x87_empty(c, 0)) {
        if (!x87_stack_underflow(c))
            return true;
    } else {
        r = fn(&k, x87_get(c, 0));
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 0, r);
    return true;
}

bool in_fadd(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_add, 0); }
bool in_fmul(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_mul, 0); }
bool in_fsub(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_sub, 0); }
bool in_fsubr(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_sub, REVERSE); }
bool in_fdiv(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_div, 0); }
bool in_fdivr(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_div, REVERSE); }
bool in_faddp(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_add, POP); }
bool in_fmulp(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_mul, POP); }
bool in_fsubp(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_sub, POP); }
bool in_fsubrp(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_sub, POP | REVERSE); }
bool in_fdivp(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_div, POP); }
bool in_fdivrp(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_div, POP | REVERSE); }
bool in_fiadd(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_add, INTEGER); }
bool in_fimul(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_mul, INTEGER); }
bool in_fisub(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_sub, INTEGER); }
bool in_fisubr(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_sub, INTEGER | REVERSE); }
bool in_fidiv(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_div, INTEGER); }
bool in_fidivr(struct vcpu *c, const struct insn *in) { return arith(c, in, x87_div, INTEGER | REVERSE); }

bool in_fsqrt(struct vcpu *c, const struct insn *in) { return unary(c, in, x87_sqrt); }
bool in_frndint(struct vcpu *c, const struct insn *in) { return unary(c, in, x87_round_int); }

bool in_fscale(struct vcpu *c, const struct insn *in)
{
    struct x87_calc k = x87_calc_begin(c);
    x87_note(c, in);
    struct f80 r = f80_indefinite;
    if (x87_empty(c, 0) || x87_empty(c, 1)) {
        if (!x87_stack_underflow(c))
            return true;
    } else {
        r = x87_scale(&k, x87_get(c, 0), x87_get(c, 1));
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 0, r);
    return true;
}

static bool remainder_step(struct vcpu *c, const struct insn *in, bool nearest)
{
    struct x87_calc k = x87_calc_begin(c);
    x87_note(c, in);
    struct f80 r = f80_indefinite;
    u16 cc = 0;
    x87_set_cc(c, X87_C2, 0);
    if (x87_empty(c, 0) || x87_empty(c, 1)) {
        if (!x87_stack_underflow(c))
            return true;
    } else {
        r = x87_rem(&k, x87_get(c, 0), x87_get(c, 1), nearest, &cc);
        if (!x87_calc_commit(c, &k))
            return true;
        x87_set_cc(c, cc == X87_NO_QUOTIENT ? X87_C1 | X87_C2 : X87_CC, cc & X87_CC);
    }
    x87_put(c, 0, r);
    return true;
}
bool in_fprem(struct vcpu *c, const struct insn *in) { return remainder_step(c, in, false); }
bool in_fprem1(struct vcpu *c, const struct insn *in) { return remainder_step(c, in, true); }

bool in_fxtract(struct vcpu *c, const struct insn *in)
{
    struct x87_calc k = x87_calc_begin(c);
    struct f80 exponent = f80_indefinite, significand = f80_indefinite;
    x87_note(c, in);
    if (x87_empty(c, 0)) {
        if (!x87_stack_underflow(c))
            return true;
    } else if (!x87_empty(c, 7)) {
        if (!x87_stack_overflow(c))
            return true;
    } else {
        significand = x87_extract(&k, x87_get(c, 0), &exponent);
        if (!x87_calc_commit(c, &k))
            return true;
    }
    x87_put(c, 0, exponent);
    x87_push(c, significand);
    return true;
}

/* --- comparisons --- */

/* Compares ST(0) with v. False: an unmasked exception; the result is there all the same, but no pop. */
static bool compare_values(struct vcpu *c, struct x87_calc *k, struct f80 v, bool empty, bool quiet, u16 *cc)
{
    *cc = X87_C3 | X87_C2 | X87_C0;
    if (unlikely(x87_empty(c, 0) || empty))
        return x87_stack_underflow(c);
    *cc = x87_compare(k, x87_get(c, 0), v, quiet);
    return x87_calc_commit(c, k);
}

static void pops(struct vcpu *c, unsigned how)
{
    if (how & (POP | POP2))
        x87_pop(c);
    if (how & POP2)
        x87_pop(c);
}

/* FCOM and its kin: the result goes to C3, C2, C0. */
static bool compare(struct vcpu *c, const struct insn *in, unsigned how)
{
    struct x87_calc k = x87_calc_begin(c);
    struct f80 v = x87_get(c, 1);       /* FCOMPP, FUCOMPP name no operands */
    bool implied = in->op[1].kind == OP_NONE;
    u16 cc;
    if (!implied && !load_source(c, in, how, &k, &v))
        return false;
    x87_note(c, in);
    bool pop = compare_values(c, &k, v, implied ? x87_empty(c, 1) : source_empty(c, in), how & QUIET, &cc);
    x87_set_cc(c, X87_C3 | X87_C2 | X87_C0, cc);
    if (pop)
        pops(c, how);
    return true;
}

/* FCOMI and its kin: the result goes to ZF, PF, CF. */
static bool compare_flags(struct vcpu *c, const struct insn *in, unsigned how)
{
    struct x87_calc k = x87_calc_begin(c);
    u16 cc;
    x87_note(c, in);
    bool pop = compare_values(c, &k, x87_get(c, in->op[1].reg), source_empty(c, in), how & QUIET, &cc);
    rflags_put(c, EFL_STATUS, (cc & X87_C3 ? EFL_ZF : 0) | (cc & X87_C2 ? EFL_PF : 0) | (cc & X87_C0 ? EFL_CF : 0));
    if (pop)
        pops(c, how);
    return true;
}

bool in_fcom(struct vcpu *c, const struct insn *in) { return compare(c, in, 0); }
bool in_fcomp(struct vcpu *c, const struct insn *in) { return compare(c, in, POP); }
bool in_fcompp(struct vcpu *c, const struct insn *in) { return compare(c, in, POP2); }
bool in_fucom(struct vcpu *c, const struct insn *in) { return compare(c, in, QUIET); }
bool in_fucomp(struct vcpu *c, const struct insn *in) { return compare(c, in, QUIET | POP); }
bool in_fucompp(struct vcpu *c, const struct insn *in) { return compare(c, in, QUIET | POP2); }
bool in_ficom(struct vcpu *c, const struct insn *in) { return compare(c, in, INTEGER); }
bool in_ficomp(struct vcpu *c, const struct insn *in) { return compare(c, in, INTEGER | POP); }
bool in_fcomi(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, 0); }
bool in_fcomip(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, POP); }
bool in_fucomi(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, QUIET); }
bool in_fucomip(struct vcpu *c, const struct insn *in) { return compare_flags(c, in, QUIET | POP); }

bool in_ftst(struct vcpu *c, const struct insn *in)
{
    struct x87_calc k = x87_calc_begin(c);
    u16 cc;
    x87_note(c, in);
    compare_values(c, &k, f80_zero(false), false, false, &cc);
    x87_set_cc(c, X87_C3 | X87_C2 | X87_C0, cc);
    return true;
}
