/* pass_dead.c - what nobody uses goes.
 *
 * Backward, with the set of temporaries that are used later. An operation without any other effect goes if its
 * temporary is not among them and the flags that it defines are not live: moves, address arithmetic, loads through a
 * pointer that has been checked, comparisons, CLC and the like. What may leave the unit stays, and so does ptr even
 * if its pointer is not used: the guest's access may fault. Guest registers are never dead: any FAULT operation shows
 * all of them.
 *
 * With an operation go its reads of flags, so others may be dead now; and what it defined holds nothing any more,
 * while flive in front of it may still name the flags that stood there before. So flive is made again, and the walk
 * repeated: whoever compares states (-accel check) believes flive.
 *
 * needs: flive, fexit   breaks: nothing
 */
#include "jit/pass.h"

#include <string.h>

struct used { u64 word[(IR_MAX_TEMPS + 63) / 64]; };

static bool is_used(const struct used *s, ir_val t) { return s->word[(t - IR_T) / 64] >> (t - IR_T) % 64 & 1; }
static void set_used(struct used *s, ir_val t) { s->word[(t - IR_T) / 64] |= (u64)1 << (t - IR_T) % 64; }
static void clear_used(struct used *s, ir_val t) { s->word[(t - IR_T) / 64] &= ~((u64)1 << (t - IR_T) % 64); }

/* It changes nothing but its operands and flags. */
static bool is_plain(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_OP_ptr: case IR_OP_put: case IR_OP_count: case IR_OP_insn: case IR_OP_interp:
        return false;
    default:
        return !(ir_rows[ins->op].attr & (IR_FAULT | IR_SIDE | IR_END | IR_IMPLICIT));
    }
}

static bool is_dead(const struct ir_ins *ins, const struct used *s)
{
    if (!is_plain(ins) || ins->fdef & ins->flive)
        return false;
    for (unsigned set = ir_rows[ins->op].written; set; set &= set - 1) {
        ir_val v = pass_value(ins, (unsigned)__builtin_ctz(set));
        if (v != IR_NONE && (!ir_is_temp(v) || is_used(s, v)))
            return false;
    }
    return true;
}

/* One walk. Did something go that flags depended on? */
static bool sweep(struct ir_unit *u)
{
    struct used s = { 0 };
    bool flags = false;
    for (unsigned i = u->count; i-- > 0;) {
        struct ir_ins *ins = &u->ins[i];
        const struct ir_row *row = &ir_rows[ins->op];
        if (is_dead(ins, &s)) {
            flags |= (ins->fdef | ins->fuse) != 0;
            pass_remove(ins);
            continue;
        }
        for (unsigned set = row->written & ~row->read; set; set &= set - 1)
            if (ir_is_temp(pass_value(ins, (unsigned)__builtin_ctz(set))))
                clear_used(&s, pass_value(ins, (unsigned)__builtin_ctz(set)));
        for (unsigned set = row->read; set; set &= set - 1)
            if (ir_is_temp(pass_value(ins, (unsigned)__builtin_ctz(set))))
                set_used(&s, pass_value(ins, (unsigned)__builtin_ctz(set)));
        if (ir_is_temp(ins->p))
            set_used(&s, ins->p);
    }
    pass_compact(u);
    return flags;
}

void pass_dead(struct ir_unit *u, struct pass_env *env)
{
    while (sweep(u) && strcmp(env->opt->skip, "flags"))
        pass_flags_within(u, env->opt->exactflags);
}
