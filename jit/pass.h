/* pass.h - the passes over a unit, and what they share. Private to jit/; pass.c has the order. */
#ifndef SHADOW86_PASS_H
#define SHADOW86_PASS_H

#include "jit/translate.h"

void pass_flags(struct ir_unit *u, struct pass_env *env);
void pass_fold(struct ir_unit *u, struct pass_env *env);
void pass_group(struct ir_unit *u, struct pass_env *env);
void pass_adjust(struct ir_unit *u, struct pass_env *env);
void pass_dead(struct ir_unit *u, struct pass_env *env);

/* --- pass_flags.c: flive, fuse and flags_in again, from what is live at the exits (fexit). After operations that
 * define flags have gone: flive must not name a flag that holds nothing any more. exact: jit_options.exactflags --- */
void pass_flags_within(struct ir_unit *u, bool exact);

/* --- pass.c: shared --- */
/* An operation that goes: marked, and taken out by pass_compact at the end of the pass. */
static inline void pass_remove(struct ir_ins *ins) { ins->op = IR_OP_COUNT; }
static inline bool pass_removed(const struct ir_ins *ins) { return ins->op == IR_OP_COUNT; }
void pass_compact(struct ir_unit *u);

/* Operands by number: 0 d, 1 a, 2 b, 3 c. */
static inline ir_val *pass_operand(struct ir_ins *ins, unsigned i)
{
    return i == 0 ? &ins->d : i == 1 ? &ins->a : i == 2 ? &ins->b : &ins->c;
}
static inline ir_val pass_value(const struct ir_ins *ins, unsigned i)
{
    return i == 0 ? ins->d : i == 1 ? ins->a : i == 2 ? ins->b : ins->c;
}

/* General registers, bit per enum gpr, that the operation may write, and may read or write (implicit ones included). */
u32 pass_gpr_written(const struct ir_ins *ins);
u32 pass_gpr_touched(const struct ir_ins *ins);

/* The operation may leave the unit, or shows the guest's registers to somebody else. */
static inline bool pass_observes(const struct ir_ins *ins)
{
    return !pass_removed(ins) && ir_rows[ins->op].attr & (IR_FAULT | IR_SIDE | IR_END);
}

static inline u64 pass_truncate(u64 v, unsigned bytes) { return bytes >= 8 ? v : v & (((u64)1 << 8 * bytes) - 1); }
static inline s64 pass_sign_extend(u64 v, unsigned bytes)
{
    unsigned shift = bytes >= 8 ? 0 : 64 - 8 * bytes;
    return (s64)(v << shift) >> shift;
}
static inline bool pass_fits(s64 v) { return v == (s32)v; }

#endif
