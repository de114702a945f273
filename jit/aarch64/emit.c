/* emit.c - from IR operations to host code: the walk over the unit, and where operands are.
 *
 * Temporaries get one of the scratch registers at their definition and give it back after their last use; the translator never
 * needs more at a time, and if it does, the unit is given up (e->full) and made smaller.
 */
#include "jit/aarch64/emit.h"
#include "jit/jit_private.h"

#include <string.h>

const u8 host_of_gpr[16] = { X19, X20, X21, X22, X23, X24, X25, X26, X8, X9, X10, X11, X12, X13, X14, X15 };

unsigned emit_home(struct emit *e, ir_val v)
{
    if (ir_is_gpr(v))
        return host_of_gpr[v - IR_G];
    return ir_is_temp(v) ? e->temp_reg[v - IR_T] : NO_REG;
}

unsigned emit_scratch(struct emit *e)
{
    for (unsigned i = 0; i < SCRATCH_COUNT; i++) {
        if (!(e->taken >> i & 1)) {
            e->taken |= (u8)(1 << i);
            return i;
        }
    }
    e->full = true;
    return X0;
}

static bool holds_temp(struct emit *e, unsigned reg)
{
    for (unsigned t = 0; t < e->u->temps; t++)
        if (e->temp_reg[t] == reg)
            return true;
    return false;
}

void emit_release(struct emit *e, unsigned reg)
{
    if (reg < SCRATCH_COUNT && !holds_temp(e, reg))
        e->taken &= (u8)~(1 << reg);
}

/* --- operands ---------------------------------------------------------------------------------------------------------- */

/* Those that are in no register of their own, zero-extended. */
static unsigned fetch(struct emit *e, ir_val v, unsigned size)
{
    if (v == IR_MEM && e->loaded != NO_REG)
        return e->loaded;
    unsigned reg = emit_scratch(e);
    if (v == IR_MEM)
        ldr(e, size, reg, emit_home(e, e->ins->p), (u32)e->ins->disp);
    else if (ir_is_high(v))
        ubfx(e, reg, host_of_gpr[v - IR_H], 8, 8);
    else
        mov_imm(e, reg, size == 8 ? (u64)e->ins->imm : (u64)e->ins->imm & (((u64)1 << 8 * size) - 1));
    return reg;
}

unsigned emit_in(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_home(e, v);
    return reg != NO_REG ? reg : fetch(e, v, size);
}

unsigned emit_in_zero(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_home(e, v), s;
    if (reg == NO_REG)
        return fetch(e, v, size);
    if (size == 8)
        return reg;
    s = emit_scratch(e);
    if (size == 4)
        mov(e, false, s, reg);
    else
        ubfm(e, false, s, reg, 0, 8 * size - 1);
    return s;
}

unsigned emit_in_sign(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_home(e, v), s;
    if (size == 8)
        return emit_in(e, v, size);
    s = emit_scratch(e);
    if (reg != NO_REG)
        sbfm(e, true, s, reg, 0, 8 * size - 1);
    else if (v == IR_MEM)
        ldrs(e, size, s, emit_home(e, e->ins->p), (u32)e->ins->disp);
    else if (ir_is_high(v))
        sbfm(e, true, s, host_of_gpr[v - IR_H], 8, 15);
    else
        mov_imm(e, s, (u64)((s64)((u64)e->ins->imm << (64 - 8 * size)) >> (64 - 8 * size)));
    return s;
}

unsigned emit_out(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_home(e, v);
    if (reg != NO_REG && (ir_is_temp(v) || size >= 4))
        return reg;
    return emit_scratch(e);
}

static void define(struct emit *e, ir_val v, unsigned reg)
{
    unsigned own = reg;
    if (reg >= SCRATCH_COUNT || holds_temp(e, reg)) {
        own = emit_scratch(e);
        mov(e, true, own, reg);
    }
    e->temp_reg[v - IR_T] = (u8)own;
}

void emit_done(struct emit *e, ir_val v, unsigned reg, unsigned size)
{
    unsigned home = emit_home(e, v);
    if (ir_is_temp(v) && home == NO_REG) {
        define(e, v, reg);
        return;
    }
    if (home == reg)
        return;
    if (v == IR_MEM && e->loaded != NO_REG) {
        emit_release(e, reg);
        return;
    }
    if (v == IR_MEM)
        str(e, size, reg, emit_home(e, e->ins->p), (u32)e->ins->disp);
    else if (ir_is_high(v))
        bfi(e, host_of_gpr[v - IR_H], reg, 8, 8);
    else if (size >= 4 || ir_is_temp(v))
        mov(e, size != 4, home, reg);
    else
        bfi(e, home, reg, 0, 8 * size);
    emit_release(e, reg);
}

/* --- the walk ------------------------------------------------------------------------------------------------------ */

static void note_use(struct emit *e, ir_val v, unsigned index)
{
    if (ir_is_temp(v))
        e->last_use[v - IR_T] = (u16)index;
}

static void find_last_uses(struct emit *e)
{
    for (unsigned i = 0; i < e->u->count; i++) {
        const struct ir_ins *ins = &e->u->ins[i];
        e->pointers += ins->op == IR_OP_ptr;
        note_use(e, ins->d, i);
        if (ins->op == IR_OP_again)         /* not a use of p's register */
            continue;
        note_use(e, ins->a, i);
        note_use(e, ins->b, i);
        note_use(e, ins->c, i);
        note_use(e, ins->p, i);
    }
}

static void free_temp(struct emit *e, ir_val v)
{
    if (!ir_is_temp(v) || e->last_use[v - IR_T] != e->index || e->temp_reg[v - IR_T] == NO_REG)
        return;
    unsigned reg = e->temp_reg[v - IR_T];
    e->temp_reg[v - IR_T] = NO_REG;
    emit_release(e, reg);
}

static void emit_one(struct emit *e, const struct ir_ins *ins)
{
    u32 at = e->at;
    e->ins = ins;
    if (ins->bits & IR_LOCK && ins->d == IR_MEM)
        emit_atomic(e, ins);
    else
        emit_ops[ins->op](e, ins);
    if (is_check(ins))
        e->checks += e->at - at;
    if (!(ins->flive & IR_NZCV))
        e->flags = FLAGS_DEAD;
    free_temp(e, ins->d);
    free_temp(e, ins->a);
    free_temp(e, ins->b);
    free_temp(e, ins->c);
    free_temp(e, ins->p);
}

/* Does the unit need flags in the host's when it starts (its first operation on flags reads them)? Otherwise `entry` is the
 * main entrance, and flags that it only passes on stay in memory. To an indirect jump they go in the host's, but each check of an
 * address costs two instructions more then, as much as the way to memory or back. */
static bool wants_host_flags(const struct ir_unit *u)
{
    unsigned checks = 0;
    for (unsigned i = 0; i < u->count; i++) {
        const struct ir_ins *ins = &u->ins[i];
        if (ins->op == IR_OP_ret || ins->op == IR_OP_ijmp || ins->op == IR_OP_icall)
            return checks < 2;
        if (ins->op == IR_OP_need || ins->op == IR_OP_interp || ir_rows[ins->op].attr & IR_END)
            return false;
        checks += ins->op == IR_OP_ptr;
        if (ins->fuse & IR_NZCV || ins->fdef)
            return true;
    }
    return false;
}

/* The entrances; the main code follows. */
static void emit_entrances(struct emit *e)
{
    bool host = wants_host_flags(e->u), any = e->u->flags_in & IR_NZCV, wide = mode_code_size(e->u->mode) == 8;
    e->inverted = false;
    e->operands = e->loaded = NO_REG;
    u32 over = 0;
    if (any && host) {
        e->out->entry = e->at;
        e->flags = FLAGS_SAVED;
        flags_to_host(e);
        over = branch(e);
    }
    e->out->entry_jump = e->at;
    add_any(e, wide, PAGE_REG, RIP_REG, -(s64)(e->u->offset[0] & (PAGE_SIZE - 1)));
    store(e, 8, PAGE_REG, VCPU_OFF(jit.pc));
    e->out->entry_host = e->at;
    e->flags = any ? FLAGS_HOST : FLAGS_DEAD;
    if (over) {
        emit_fill(e, over, e->at);
        return;
    }
    if (any) {
        flags_save(e);
        e->flags = FLAGS_SAVED;
    }
    e->out->entry = e->at;
}

bool emit_unit(struct jit *j, u8 *rw, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room)
{
    static _Thread_local struct emit emit;
    struct emit *e = &emit;
    memset(e, 0, offsetof(struct emit, temp_reg));
    e->j = j;
    e->u = u;
    e->out = out;
    e->rw = rw;
    e->at = e->counted = at;
    e->end = at + room;
    e->tails = e->links.count = e->differs = 0;
    memset(e->temp_reg, NO_REG, u->temps);
    kept_begin(&e->kept, u);
    find_last_uses(e);
    out->profiles = 0;
    out->profile = out->counted ? code_alloc(j, e->pointers * sizeof(struct code_profile)) : NULL;
    emit_entrances(e);
    e->ins = &u->ins[0];
    if (out->crosses)
        emit_crosses(e);
    if (out->counted)
        emit_executed(e);
    for (unsigned i = 0; i < u->count && !e->full; i++) {
        e->index = (u16)i;
        if (j->op_at)
            j->op_at[i] = e->at;
        emit_one(e, &u->ins[i]);
    }
    if (j->op_at)
        j->op_at[u->count] = e->at;
    if (!e->full)
        emit_tails(e);
    out->size = e->at - at;
    out->flags_in = u->flags_in;
    if (!e->full)
        code_changed(j, at, out->size);
    return !e->full;
}

emit_fn *const emit_ops[IR_OP_COUNT] = {
#define IR(name, ...) [IR_OP_##name] = emit_##name,
#include "jit/ir.def"
};
