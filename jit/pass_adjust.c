/* pass_adjust.c - several steps of one register become one.
 *
 * Three PUSHes are, after grouping, three stores off one pointer and RSP = RSP - 8 three times. Only an operation
 * that may leave the unit, or one that reads RSP, can tell that from one RSP = RSP - 24 at the first of them. So a
 * sum or copy (lea r = [x + n], mostly r = r + n) is remembered, and the next step of r goes into it. ADD and SUB of
 * a constant are steps as well if nobody reads their flags. On the way a move or sum off r into another register (MOV
 * RBP, RSP) changes places with a step and gets its displacement. Whatever else reads or writes r, or may leave, ends
 * that.
 *
 * needs: flive   breaks: nothing
 */
#include "jit/pass.h"

#include <string.h>

struct held { s16 at[16]; };        /* per guest register: the sum that can take in more, -1: none */

/* A step of a guest register by a constant; *n: how far. */
static bool is_step(const struct ir_ins *ins, s64 *n)
{
    if (!ir_is_gpr(ins->d) || ins->size < 4)
        return false;
    if (ins->op == IR_OP_lea && ins->a == ins->d && ins->b == IR_NONE) {
        *n = ins->disp;
        return true;
    }
    if ((ins->op != IR_OP_add && ins->op != IR_OP_sub) || ins->a != IR_IMM || ins->fdef & ins->flive ||
        !pass_fits(ins->imm))
        return false;
    *n = ins->op == IR_OP_add ? ins->imm : -ins->imm;
    return true;
}

static void make_lea(struct ir_ins *ins, ir_val a, s64 disp)
{
    ins->op = IR_OP_lea;
    ins->a = a;
    ins->b = IR_NONE;
    ins->scale = 0;
    ins->disp = (s32)disp;
    ins->imm = 0;
    ins->fdef = ins->fuse = 0;
}

/* r is a register or the PC plus a constant. */
static bool is_sum(const struct ir_ins *ins, s64 *n)
{
    if (is_step(ins, n))
        return true;
    if (!ir_is_gpr(ins->d) || ins->size < 4 || ins->b != IR_NONE)
        return false;
    *n = ins->op == IR_OP_lea ? ins->disp : 0;
    return ins->op == IR_OP_lea || (ins->op == IR_OP_mov && ir_is_gpr(ins->a));
}

static ir_val base_of(const struct ir_ins *sum)
{
    return sum->op == IR_OP_lea || sum->op == IR_OP_mov ? sum->a : sum->d;
}

/* The operation at i steps a register: what stands before takes that in. */
static bool merge_step(struct ir_unit *u, struct held *h, unsigned i)
{
    struct ir_ins *ins = &u->ins[i];
    s64 n, m;
    if (!is_step(ins, &n))
        return false;
    s16 *held = &h->at[ins->d - IR_G];
    if (*held >= 0) {
        struct ir_ins *before = &u->ins[*held];
        if (before->size == ins->size && is_sum(before, &m) && pass_fits(n + m)) {
            make_lea(before, base_of(before), n + m);
            pass_remove(ins);
            return true;
        }
    }
    *held = (s16)i;
    return true;
}

/* The operation at i is a move or sum off r into another guest register, and a step of r stands before it: they
 * change places. */
static bool pass_by(struct ir_unit *u, struct held *h, unsigned i)
{
    struct ir_ins *ins = &u->ins[i];
    s64 n;
    if ((ins->op != IR_OP_lea && ins->op != IR_OP_mov) || !ir_is_gpr(ins->a) || !ir_is_gpr(ins->d) ||
        h->at[ins->a - IR_G] < 0 || ins->d == ins->a || (ins->op == IR_OP_lea && ins->b != IR_NONE))
        return false;
    unsigned at = (unsigned)h->at[ins->a - IR_G];
    struct ir_ins step = u->ins[at];
    if (ins->size < 4 || ins->size > step.size || !is_step(&step, &n))
        return false;
    s64 sum = n + (ins->op == IR_OP_lea ? ins->disp : 0);
    if (!pass_fits(n) || !pass_fits(sum))
        return false;
    make_lea(&step, step.d, n);         /* flags may be live where it goes */
    step.gi = ins->gi;
    step.flive = ins->flive;
    make_lea(ins, ins->a, sum);
    h->at[ins->d - IR_G] = -1;
    memmove(&u->ins[at], &u->ins[at + 1], (i - at) * sizeof(step));
    u->ins[i] = step;
    for (unsigned r = 0; r < 16; r++)
        h->at[r] -= h->at[r] > (s16)at;
    h->at[step.d - IR_G] = (s16)i;
    return true;
}

void pass_adjust(struct ir_unit *u, struct pass_env *env)
{
    struct held h;
    s64 n;
    memset(&h, -1, sizeof h);
    for (unsigned i = 0; i < u->count; i++) {
        if (pass_observes(&u->ins[i])) {
            memset(&h, -1, sizeof h);
            continue;
        }
        if (merge_step(u, &h, i) || pass_by(u, &h, i))
            continue;
        for (u32 set = pass_gpr_touched(&u->ins[i]); set; set &= set - 1)
            h.at[__builtin_ctz(set)] = -1;
        if (is_sum(&u->ins[i], &n))
            h.at[u->ins[i].d - IR_G] = (s16)i;
    }
    pass_compact(u);
}
