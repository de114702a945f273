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
#include "jit/pass.h"
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

static bool in_vcpu(ir_val v) { return ir_is_gpr(v) && host_of_gpr[v - IR_G] == NO_REG; }
static u32 gpr_bit(ir_val v) { return 1u << (v - IR_G); }

/* --- scratch registers, and what they mirror ------------------------------------------------------------------------- */

/* A free one, if possible one that mirrors nothing, else the one whose value was used longest ago. RCX last for temporaries:
 * it is wanted for counts, and mirrors live longest there. */
static unsigned take_scratch(struct emit *e, bool temp)
{
    static const u8 order[2][SCRATCH_COUNT] = { { 2, 0, 1 }, { 0, 1, 2 } };
    unsigned best = SCRATCH_COUNT;
    for (unsigned i = 0; i < SCRATCH_COUNT; i++) {
        const unsigned n = order[temp][i];
        if ((e->taken | e->pinned) >> n & 1 || (temp && n == 2 && best < SCRATCH_COUNT))
            continue;
        if (best == SCRATCH_COUNT || (e->mirrors[best] && (!e->mirrors[n] || e->used_at[n] < e->used_at[best])))
            best = n;
    }
    if (best == SCRATCH_COUNT) {
        e->full = true;
        best = 2;
    }
    e->taken |= (u8)(1 << best);
    e->whole &= (u8)~(1 << best);
    e->mirrors[best] = 0;
    return scratch_regs[best];
}

unsigned emit_scratch(struct emit *e) { return take_scratch(e, false); }

void emit_forget(struct emit *e, unsigned reg)
{
    for (unsigned n = 0; n < SCRATCH_COUNT; n++)
        if (reg == scratch_regs[n] || reg == NO_REG)
            e->mirrors[n] = 0;
}

static void forget_value(struct emit *e, u32 gprs)
{
    for (unsigned n = 0; n < SCRATCH_COUNT; n++)
        e->mirrors[n] &= (u16)~gprs;
}

/* The number of the scratch register that mirrors v; SCRATCH_COUNT: none does. */
static unsigned mirror_of(const struct emit *e, ir_val v)
{
    unsigned n = 0;
    while (n < SCRATCH_COUNT && !(in_vcpu(v) && e->mirrors[n] & gpr_bit(v)))
        n++;
    return n;
}

static int scratch_number(unsigned reg)
{
    for (int i = 0; i < SCRATCH_COUNT; i++)
        if (scratch_regs[i] == reg)
            return i;
    return -1;
}

void emit_mirrors(struct emit *e, ir_val v, unsigned reg)
{
    const int n = scratch_number(reg);
    if (!in_vcpu(v))
        return;
    forget_value(e, gpr_bit(v));
    if (n < 0)
        return;
    e->mirrors[n] |= (u16)gpr_bit(v);
    e->used_at[n] = e->index;
}

void emit_stored(struct emit *e, ir_val v, unsigned reg)
{
    emit_mirrors(e, v, reg);
    if (in_vcpu(v))
        e->fresh |= (u16)gpr_bit(v);
}

unsigned emit_at(struct emit *e, ir_val v)
{
    const unsigned n = mirror_of(e, v);
    if (n == SCRATCH_COUNT)
        return emit_home(e, v);
    e->pinned |= (u8)(1 << n);
    e->used_at[n] = e->index;
    return scratch_regs[n];
}

/* Of the others, one must be left for the operation, which expects v in memory. */
struct rm emit_from(struct emit *e, ir_val v)
{
    const unsigned n = mirror_of(e, v);
    const unsigned all = (1 << SCRATCH_COUNT) - 1;
    if (n < SCRATCH_COUNT && (e->taken | e->pinned | 1u << n) != all)
        return rm_reg(emit_at(e, v));
    return emit_rm(e, v);
}

/* A register from emit_use is overwritten by the result, which it is to be for. Not if a temporary is in it. */
bool emit_take(struct emit *e, unsigned reg)
{
    const int n = scratch_number(reg);
    if (n < 0 || e->temps_in[n])
        return false;
    e->taken |= (u8)(1 << n);
    e->mirrors[n] = 0;
    return true;
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
    const unsigned n = mirror_of(e, v);
    const struct rm from = n < SCRATCH_COUNT ? rm_reg(scratch_regs[n]) : emit_rm(e, v);
    if (v == IR_IMM)
        emit_mov_imm(e, reg, size == 8 ? (u64)e->ins->imm : (u32)e->ins->imm);
    else if (!from.mem || size >= 4)
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

/* What lives in the vCPU is loaded whole, so that the register mirrors it from there on. */
unsigned emit_use(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_at(e, v);
    if (reg == NO_REG) {
        reg = emit_scratch(e);
        load(e, reg, v, in_vcpu(v) ? 8 : size);
        emit_mirrors(e, v, reg);
    }
    return reg;
}

/* A copy that may be changed, in a scratch register: the mirror itself if the operation writes v. */
unsigned emit_copy(struct emit *e, ir_val v, unsigned size)
{
    const unsigned n = mirror_of(e, v);
    if (n < SCRATCH_COUNT && !((e->taken | e->pinned) >> n & 1) && pass_gpr_written(e->ins) & gpr_bit(v)) {
        e->taken |= (u8)(1 << n);
        e->mirrors[n] = 0;
        e->whole = (u8)(e->whole | 1 << n);
        return scratch_regs[n];
    }
    unsigned reg = emit_scratch(e);
    load(e, reg, v, in_vcpu(v) ? 8 : size);
    if (in_vcpu(v))
        e->whole = (u8)(e->whole | 1 << scratch_number(reg));
    return reg;
}

/* Is v looked at soon, so that it pays to have it in a register? */
bool emit_wanted(const struct emit *e, ir_val v)
{
    enum { SOON = 12 };
    for (unsigned i = e->index + 1u; i < e->u->count && i <= (unsigned)e->index + SOON; i++) {
        const struct ir_ins *ins = &e->u->ins[i];
        if (ins->op == IR_OP_interp || ir_rows[ins->op].attr & IR_END)
            return false;
        if (pass_gpr_touched(ins) & gpr_bit(v))
            return true;
    }
    return false;
}

/* A copy to work on, which is stored back as a whole, instead of the memory? Not if the operation is short of registers;
 * parts are never stored alone if it can be helped, since what is loaded whole afterwards would wait for them. */
bool emit_by_register(struct emit *e, ir_val v)
{
    const u8 busy = e->taken | e->pinned, left = (u8)~busy & 7;
    if (!in_vcpu(v) || !(left & (left - 1)))
        return false;
    return e->ins->size < 8 || mirror_of(e, v) < SCRATCH_COUNT || emit_wanted(e, v);
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
        reg = take_scratch(e, ir_is_temp(v));
    emit_forget(e, reg);
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
    const int n = scratch_number(reg);
    if (ir_is_gpr(v) && (size == 4 || (n >= 0 && e->whole >> n & 1)))
        size = 8;       /* 32-bit results clear the upper half: the register's is clear already */
    enc(e, (struct enc){ .prefix = size == 2 ? 0x66 : 0, .w = size == 8, .reg8 = size == 1 }, size == 1 ? 0x88 : 0x89, reg,
        emit_rm(e, v));
    emit_release(e, reg);
    if (in_vcpu(v) && size == 8)
        emit_stored(e, v, reg);
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

/* Operations that need RCX: for a count, for JRCXZ. */
static bool needs_rcx(const struct emit *e, const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_OP_shl: case IR_OP_shr: case IR_OP_sar: case IR_OP_rol: case IR_OP_ror: case IR_OP_rcl: case IR_OP_rcr:
        return ins->a != IR_IMM;
    case IR_OP_shld: case IR_OP_shrd: return ins->b != IR_IMM;
    case IR_OP_jz: case IR_OP_jnz: return ins->flive && e->flags == FLAGS_HOST;
    default: return false;
    }
}

/* Before an operation: what temporaries that it changes mirror is lost. */
static void mirrors_before(struct emit *e, const struct ir_ins *ins)
{
    e->fresh = 0;
    e->whole = 0;
    const ir_val v[2] = { ins->d, ins->a };
    for (unsigned i = 0; i < 2; i++)
        if ((is_written(&ir_rows[ins->op], i) || ins->op == IR_OP_insn) && ir_is_temp(v[i]) && emit_home(e, v[i]) != NO_REG)
            emit_forget(e, emit_home(e, v[i]));
    if (needs_rcx(e, ins)) {
        emit_forget(e, RCX);
        e->pinned = 4;
    }
}

/* Behind it: guest registers that it has written otherwise than through emit_stored. */
static void mirrors_after(struct emit *e, const struct ir_ins *ins)
{
    forget_value(e, pass_gpr_written(ins) & ~(u32)e->fresh);
    e->pinned = 0;
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
    mirrors_before(e, ins);
    if (!own && !ins->fdef && ir_rows[ins->op].fw & IR_FLAGS)   /* arithmetic that the guest does not see */
        flags_clobber(e, ins->flive);
    u32 insns = e->insns;
    emit_ops[ins->op](e, ins);
    if (is_check(ins))
        e->checks += e->insns - insns;
    if (!own)
        flags_after(e, ins);
    mirrors_after(e, ins);
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
    e->tails = e->links.count = e->differs = 0;
    memset(e->temp_reg, NO_REG, u->temps);
    memset(e->again_of, 0, u->temps * sizeof(e->again_of[0]));
    kept_begin(&e->kept, u);
    find_last_uses(e);
    out->profiles = 0;
    out->profile = out->counted ? code_alloc(j, e->pointers * sizeof(struct code_profile)) : NULL;
    e->ins = &u->ins[0];
    emit_entrances(e);
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
        emit_tails(e, at + room);
    out->size = e->at - at;
    out->flags_in = u->flags_in;
    return !e->full;
}
