/* emit.c - from IR operations to host code: the walk over the unit, and where operands are.
 *
 * Temporaries get one of the three scratch registers at their definition and give it back after their last use; the
 * translator never needs more at a time, and if it does, the unit is given up (e->full) and made smaller.
 *
 * AH, CH, DH, BH: the register that holds them is stored to its place in the vCPU in front of the operation, which then
 * works on the byte there; afterwards it is loaded again if it was written. Slow, rare, and right with any partner
 * (a byte register that needs REX cannot meet AH in one instruction).
 */
#include "jit/jit_private.h"
#include "jit/x86_64/emit.h"

#include <string.h>

const u8 host_of_gpr[16] = {
    [GPR_RAX] = RAX, [GPR_RCX] = R14, [GPR_RDX] = RDX, [GPR_RBX] = RBX, [GPR_RSP] = R15, [GPR_RBP] = R13,
    [GPR_RSI] = RSI, [GPR_RDI] = RDI, [GPR_R8] = R8, [GPR_R9] = R9, [GPR_R10] = NO_REG, [GPR_R11] = NO_REG,
    [GPR_R12] = R12, [GPR_R13] = NO_REG, [GPR_R14] = NO_REG, [GPR_R15] = NO_REG,
};
const u8 scratch_regs[SCRATCH_COUNT] = { R10, R11, RCX };

static s32 gpr_disp(unsigned gpr) { return VCPU_DISP(gpr[0]) + (s32)gpr * 8; }

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
            return scratch_regs[i];
        }
    }
    e->full = true;
    return RCX;
}

static int scratch_number(unsigned reg)
{
    for (int i = 0; i < SCRATCH_COUNT; i++)
        if (scratch_regs[i] == reg)
            return i;
    return -1;
}

void emit_release(struct emit *e, unsigned reg)
{
    int n = scratch_number(reg);
    if (n >= 0 && !e->temps_in[n])
        e->taken &= (u8)~(1 << n);
}

struct rm emit_rm(struct emit *e, ir_val v)
{
    if (ir_is_gpr(v))
        return host_of_gpr[v - IR_G] != NO_REG ? rm_reg(host_of_gpr[v - IR_G]) : rm_vcpu(gpr_disp(v - IR_G));
    if (ir_is_high(v))
        return rm_vcpu(gpr_disp(v - IR_H) + 1);
    if (v == IR_MEM) {
        struct rm m = e->operand[e->ins->p - IR_T];
        m.disp += e->ins->disp;
        return m;
    }
    return rm_reg(emit_home(e, v));
}

/* mov reg, v at that size, zero-extended (or more than asked for, from a register). */
static void load(struct emit *e, unsigned reg, ir_val v, unsigned size)
{
    struct rm from = emit_rm(e, v);
    if (v == IR_IMM)
        emit_mov_imm(e, reg, size == 8 ? (u64)e->ins->imm : (u32)e->ins->imm);
    else if (!from.mem)
        enc(e, (struct enc){ .w = size == 8 }, 0x8b, reg, from);
    else if (size >= 4)
        enc(e, (struct enc){ .w = size == 8 }, 0x8b, reg, from);
    else
        enc(e, (struct enc){ 0 }, size == 2 ? 0x0fb7 : 0x0fb6, reg, from);
}

void emit_mov_imm(struct emit *e, unsigned reg, u64 v)
{
    if (v == (u32)v) {
        if (reg & 8)
            put8(e, 0x41);
        put_opcode(e, (u8)(0xb8 | (reg & 7)));
        put32(e, (u32)v);
    } else if ((s64)v == (s32)v) {
        enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0xc7, 0, rm_reg(reg));
        put32(e, (u32)v);
    } else {
        put8(e, reg & 8 ? 0x49 : 0x48);
        put_opcode(e, (u8)(0xb8 | (reg & 7)));
        put64(e, v);
    }
}

unsigned emit_use(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_home(e, v);
    if (reg == NO_REG) {
        reg = emit_scratch(e);
        load(e, reg, v, size);
    }
    return reg;
}

/* A copy that may be changed, in a scratch register. */
unsigned emit_copy(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_scratch(e);
    load(e, reg, v, size);
    return reg;
}

void emit_load(struct emit *e, unsigned reg, ir_val v, unsigned size) { load(e, reg, v, size); }

/* Of a move, whose result is written last: the register of a source that nobody needs any more. */
static unsigned dying_source(struct emit *e)
{
    const struct ir_ins *ins = e->ins;
    ir_val v[2] = { ins->a, ins->b };
    if (ins->op != IR_OP_mov && ins->op != IR_OP_movzx && ins->op != IR_OP_movsx && ins->op != IR_OP_lea)
        return NO_REG;
    for (unsigned i = 0; i < 2; i++)
        if (ir_is_temp(v[i]) && e->last_use[v[i] - IR_T] == e->index && emit_home(e, v[i]) != NO_REG)
            return emit_home(e, v[i]);
    return NO_REG;
}

unsigned emit_def(struct emit *e, ir_val v)
{
    unsigned reg = emit_home(e, v);
    if (reg != NO_REG)
        return reg;
    reg = ir_is_temp(v) ? dying_source(e) : NO_REG;
    if (reg == NO_REG)
        reg = emit_scratch(e);
    if (ir_is_temp(v)) {
        e->temp_reg[v - IR_T] = (u8)reg;
        e->temps_in[scratch_number(reg)]++;
    }
    return reg;
}

void emit_defined(struct emit *e, ir_val v, unsigned reg, unsigned size)
{
    if (emit_home(e, v) == reg)
        return;
    if (size == 4 && ir_is_gpr(v))
        size = 8;       /* 32-bit results clear the upper half: the register's is clear already */
    enc(e, (struct enc){ .prefix = size == 2 ? 0x66 : 0, .w = size == 8, .reg8 = size == 1 }, size == 1 ? 0x88 : 0x89, reg,
        emit_rm(e, v));
    emit_release(e, reg);
}

/* --- the walk ------------------------------------------------------------------------------------------------------ */

static void note_use(struct emit *e, ir_val v, unsigned index)
{
    if (!ir_is_temp(v))
        return;
    e->last_use[v - IR_T] = e->reach[v - IR_T] = (u16)index;
    if (e->again_of[v - IR_T])
        e->reach[e->again_of[v - IR_T] - IR_T] = (u16)index;
}

static void note_again(struct emit *e, const struct ir_ins *ins, unsigned index)
{
    e->again_of[ins->d - IR_T] = ins->p;
    e->kept_until[ins->p - IR_T] = (u16)index;
    note_use(e, ins->d, index);
}

static void find_last_uses(struct emit *e)
{
    for (unsigned i = 0; i < e->u->count; i++) {
        const struct ir_ins *ins = &e->u->ins[i];
        e->pointers += ins->op == IR_OP_ptr;
        if (ins->op == IR_OP_again) {
            note_again(e, ins, i);
            continue;
        }
        note_use(e, ins->d, i);
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
    int n = scratch_number(reg);
    e->temp_reg[v - IR_T] = NO_REG;
    if (n >= 0 && !--e->temps_in[n])
        e->taken &= (u8)~(1 << n);
}

static bool is_written(const struct ir_row *row, unsigned i)
{
    return row->role[i] == IR_ROLE_W || row->role[i] == IR_ROLE_X;
}

static void high_bytes(struct emit *e, const struct ir_ins *ins, bool store)
{
    const struct ir_row *row = &ir_rows[ins->op];
    ir_val v[2] = { ins->d, ins->a };
    for (unsigned i = 0; i < 2; i++) {
        unsigned reg = ir_is_high(v[i]) ? host_of_gpr[v[i] - IR_H] : NO_REG;
        if (reg == NO_REG || (!store && !is_written(row, i)))
            continue;
        /* XCHG AL, AH: the low byte has changed in the register, the other one in memory */
        if (!store && v[!i] == IR_G + (v[i] - IR_H) && is_written(row, !i))
            enc(e, (struct enc){ .reg8 = true }, 0x88, reg, rm_vcpu(gpr_disp(v[i] - IR_H)));
        enc(e, (struct enc){ .w = true }, store ? 0x89 : 0x8b, reg, rm_vcpu(gpr_disp(v[i] - IR_H)));
    }
}

/* EFLAGS in front of an operation: what it reads, and what it leaves alone while others change, must be there. */
static void flags_before(struct emit *e, const struct ir_ins *ins)
{
    u16 kept = ins->flive & (u16)~ins->fdef;
    if (ins->fuse || (ins->fdef && kept))
        flags_to_host(e);
}

static void flags_after(struct emit *e, const struct ir_ins *ins)
{
    if (!ins->fdef)
        return;
    e->flags = ins->flive ? FLAGS_HOST : FLAGS_DEAD;
    e->flag_def = (u16)(e->index + 1);
}

static void emit_one(struct emit *e, const struct ir_ins *ins)
{
    bool high = ir_is_high(ins->d) || ir_is_high(ins->a);
    bool own = ins->op == IR_OP_interp || ins->op == IR_OP_putfl || ins->op == IR_OP_getfl;     /* see to flags themselves */
    e->ins = ins;
    if (high)
        high_bytes(e, ins, true);
    if (!own)
        flags_before(e, ins);
    if (!own && !ins->fdef && ir_rows[ins->op].fw & IR_FLAGS)   /* arithmetic that the guest does not see */
        flags_clobber(e, ins->flive);
    emit_ops[ins->op](e, ins);
    if (!own)
        flags_after(e, ins);
    if (high)
        high_bytes(e, ins, false);
    free_temp(e, ins->d);
    free_temp(e, ins->a);
    free_temp(e, ins->b);
    free_temp(e, ins->c);
    free_temp(e, ins->p);
}

/* Does the unit need flags in the host's when it starts (its first operation on flags reads them)? Otherwise `entry` is the
 * main entrance, and flags that it only passes on stay in memory. */
static bool wants_host_flags(const struct ir_unit *u)
{
    for (unsigned i = 0; i < u->count && u->flags_in; i++) {
        const struct ir_ins *ins = &u->ins[i];
        if (ins->op == IR_OP_ptr || ins->op == IR_OP_need || ins->op == IR_OP_guard || ins->op == IR_OP_interp || ins->op == IR_OP_same ||
            ir_rows[ins->op].attr & IR_END)
            return false;
        if (ins->fuse || ins->fdef)
            return true;
    }
    return false;
}

/* From an indirect jump: R11 = RIP. */
static void entry_jump(struct emit *e)
{
    e->out->entry_jump = e->at;
    enc(e, (struct enc){ .w = mode_code_size(e->u->mode) == 8 }, 0x8d, R11, rm_mem(R11, -e->u->offset[0]));
    enc(e, (struct enc){ .w = true }, 0x89, R11, rm_vcpu(VCPU_DISP(jit.pc)));
}

/* The entrances; the main code follows. */
static void emit_entrances(struct emit *e)
{
    if (!e->u->flags_in) {
        entry_jump(e);
        e->out->entry = e->out->entry_host = e->at;
        e->flags = FLAGS_DEAD;
    } else if (wants_host_flags(e->u)) {
        entry_jump(e);
        e->out->entry = e->at;
        e->flags = FLAGS_SAVED;
        flags_to_host(e);
        e->out->entry_host = e->at;
        e->flags = FLAGS_HOST;
    } else {
        e->out->entry_host = e->at;
        e->flags = FLAGS_HOST;
        flags_save(e);
        u32 over = emit_jump(e);
        entry_jump(e);
        emit_fill(e, over, e->at);
        e->out->entry = e->at;
        e->flags = FLAGS_SAVED;
        e->exact_form = false;
    }
}

bool emit_unit(struct jit *j, u8 *rw, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room)
{
    static _Thread_local struct emit emit;
    struct emit *e = &emit;
    memset(e, 0, offsetof(struct emit, operand));
    e->j = j;
    e->u = u;
    e->out = out;
    e->rw = rw;
    e->at = at;
    e->end = at + room;
    e->tails = e->links = e->differs = 0;
    memset(e->temp_reg, NO_REG, u->temps);
    memset(e->again_of, 0, u->temps * sizeof(e->again_of[0]));
    memset(e->kept_until, 0, u->temps * sizeof(e->kept_until[0]));
    find_last_uses(e);
    out->profiles = 0;
    out->profile = out->executed ? code_alloc(j, e->pointers * sizeof(struct code_profile)) : NULL;
    e->ins = &u->ins[0];
    emit_entrances(e);
    if (out->crosses)
        emit_crosses(e);
    if (out->executed)
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
        emit_tails(e, at + room);
    out->size = e->at - at;
    out->flags_in = u->flags_in;
    return !e->full;
}
