/* emit_atomic.c - operations with IR_LOCK: memory is changed in one step, whoever else looks at it or changes it (devices' threads,
 * other vCPUs), and with acquire and release.
 *
 * What was in memory comes into a register by one instruction where the host has LSE (LDADDAL, SWPAL, CASAL...), else by a loop of LDAXR
 * and STLXR. What else the operation does (flags, results in registers) is then the plain operation's code on that register; what
 * that would write to memory goes nowhere. So in most cases, flags being dead, nothing follows.
 *
 * An address that is no multiple of the operand's size would trap: ptr has IR_ALIGN then (backend.aligned_locks), and the
 * interpreter has to do it.
 */
#include "jit/aarch64/emit.h"

bool host_has_lse;

enum {
    LDADDAL = 0x38e00000, LDCLRAL = 0x38e01000, LDEORAL = 0x38e02000, LDSETAL = 0x38e03000, SWPAL = 0x38e08000, CASAL = 0x08e0fc00,
    LDAXR = 0x085ffc00, STLXR = 0x0800fc00,
};
/* The second operand, as the instruction wants it. */
enum second { AS_IS, NEGATED, INVERTED, BIT, ONE, MINUS_ONE, NOTHING };

/* lse 0: there is no such instruction. alu: the same in a loop; 0: the new value is the second operand. */
struct rmw { u32 lse, alu; u8 second; };
static const struct rmw operations[IR_OP_COUNT] = {
    [IR_OP_add] = { LDADDAL, ADD, AS_IS }, [IR_OP_xadd] = { LDADDAL, ADD, AS_IS }, [IR_OP_sub] = { LDADDAL, ADD, NEGATED },
    [IR_OP_inc] = { LDADDAL, ADD, ONE }, [IR_OP_dec] = { LDADDAL, ADD, MINUS_ONE },
    [IR_OP_and] = { LDCLRAL, BIC, INVERTED }, [IR_OP_or] = { LDSETAL, ORR, AS_IS }, [IR_OP_xor] = { LDEORAL, EOR, AS_IS },
    [IR_OP_not] = { LDEORAL, EOR, MINUS_ONE }, [IR_OP_xchg] = { SWPAL, 0, AS_IS },
    [IR_OP_bts] = { LDSETAL, ORR, BIT }, [IR_OP_btr] = { LDCLRAL, BIC, BIT }, [IR_OP_btc] = { LDEORAL, EOR, BIT },
    [IR_OP_neg] = { 0, SUB, NOTHING }, [IR_OP_adc] = { 0, ADC, AS_IS }, [IR_OP_sbb] = { 0, SBC, AS_IS },
};

static u32 of_size(const struct ir_ins *ins) { return (u32)__builtin_ctz(ins->size) << 30; }
static u64 mask_of(unsigned size) { return size == 8 ? ~(u64)0 : ((u64)1 << 8 * size) - 1; }

/* --- the second operand ----------------------------------------------------------------------------------------------- */

static unsigned constant(struct emit *e, const struct ir_ins *ins, u64 v)
{
    v &= mask_of(ins->size);
    if (!v)
        return XZR;
    mov_imm(e, X16, v);
    return X16;
}

static unsigned bit_number(struct emit *e, const struct ir_ins *ins)
{
    const unsigned number = emit_in(e, ins->a, ins->size);
    unsigned count = number;
    if (ins->size < 4)
        ubfx(e, count = X17, number, 0, 4);
    mov_imm(e, X16, 1);
    rrr(e, LSLV, ins->size == 8, X16, X16, count);
    emit_release(e, number);
    return X16;
}

/* In a register, which may be X16; bits above the size are anything. */
static unsigned second_operand(struct emit *e, const struct ir_ins *ins, enum second how)
{
    const bool imm = ins->a == IR_IMM;
    if (how == NOTHING)
        return XZR;
    if (how == ONE || how == MINUS_ONE)
        return constant(e, ins, how == ONE ? 1 : ~(u64)0);
    if (imm && how == BIT)
        return constant(e, ins, (u64)1 << ((unsigned)ins->imm & (8u * ins->size - 1)));
    if (imm)
        return constant(e, ins, how == NEGATED ? -(u64)ins->imm : how == INVERTED ? ~(u64)ins->imm : (u64)ins->imm);
    if (how == BIT)
        return bit_number(e, ins);
    const unsigned a = emit_in(e, ins->a, ins->size);
    if (how == AS_IS)
        return a;
    rrr(e, how == NEGATED ? SUB : ORN, ins->size == 8, X16, XZR, a);
    emit_release(e, a);
    return X16;
}

/* --- memory ------------------------------------------------------------------------------------------------------------ */

static unsigned address(struct emit *e, const struct ir_ins *ins)
{
    unsigned p = emit_home(e, ins->p), sum;
    if (!ins->disp)
        return p;
    add_any(e, true, sum = emit_scratch(e), p, ins->disp);
    return sum;
}

/* The loop's end: starts again if somebody else has been there. */
static void store_back(struct emit *e, const struct ir_ins *ins, unsigned v, unsigned p, u32 again)
{
    put32(e, STLXR | of_size(ins) | X17 << 16 | p << 5 | v);
    emit_fill(e, branch_zero(e, false, X17, true), again);
}

/* old = [p], [p] = old op x. LR is used. */
static void change(struct emit *e, const struct ir_ins *ins, unsigned old, unsigned p, unsigned x)
{
    const struct rmw *r = &operations[ins->op];
    if (r->lse && host_has_lse) {
        put32(e, r->lse | of_size(ins) | x << 16 | p << 5 | old);
        return;
    }
    const u32 again = e->at;
    put32(e, LDAXR | of_size(ins) | p << 5 | old);
    if (ins->op == IR_OP_neg)
        rrr(e, SUB, ins->size == 8, LR, XZR, old);
    else if (r->alu)
        rrr(e, r->alu, ins->size == 8, LR, old, x);
    store_back(e, ins, r->alu ? LR : x, p, again);
}

/* old = [p]; if that is RAX, [p] = a. */
static void compare_and_change(struct emit *e, const struct ir_ins *ins, unsigned old, unsigned p, unsigned a)
{
    const unsigned rax = host_of_gpr[GPR_RAX];
    if (host_has_lse) {
        mov(e, true, old, rax);
        put32(e, CASAL | of_size(ins) | old << 16 | p << 5 | a);
        return;
    }
    const u32 again = e->at;
    put32(e, LDAXR | of_size(ins) | p << 5 | old);
    rrr(e, EOR, ins->size == 8, X16, old, rax);
    if (ins->size < 4)
        ubfx(e, X16, X16, 0, 8u * ins->size);
    const u32 differ = branch_zero(e, ins->size == 8, X16, true);
    store_back(e, ins, a, p, again);
    emit_fill(e, differ, e->at);
}

/* --- the rest of the operation -------------------------------------------------------------------------------------------- */

static bool any_flags(const struct ir_ins *ins) { return ins->fdef & ins->flive & (IR_NZCV | IR_P | IR_A); }

/* The flags of operation op, with memory's old value for IR_MEM. */
static void old_flags(struct emit *e, const struct ir_ins *ins, enum ir_op op, ir_val d, ir_val a, unsigned old)
{
    struct ir_ins plain = *ins;
    if (!any_flags(ins))
        return;
    plain.op = op;
    plain.d = d;
    plain.a = a;
    e->loaded = (u8)old;
    emit_ops[op](e, &plain);
    e->loaded = NO_REG;
    e->taken |= (u8)(1 << old);     /* it was given back, but is as it was */
}

/* A failed comparison loads all of RAX, a good one leaves its upper half alone. */
static void new_rax(struct emit *e, const struct ir_ins *ins, unsigned old)
{
    const unsigned rax = host_of_gpr[GPR_RAX];
    if (ins->size == 8) {
        mov(e, true, rax, old);
    } else if (ins->size < 4) {
        bfi(e, rax, old, 0, 8u * ins->size);
    } else {
        rrr(e, EOR, false, X16, rax, old);
        const u32 same = branch_zero(e, false, X16, false);
        mov(e, false, rax, old);
        emit_fill(e, same, e->at);
    }
}

static void emit_atomic_cmpxchg(struct emit *e, const struct ir_ins *ins)
{
    const unsigned p = address(e, ins), a = emit_in(e, ins->a, ins->size), old = emit_scratch(e);
    compare_and_change(e, ins, old, p, a);
    emit_release(e, p);
    emit_release(e, a);
    old_flags(e, ins, IR_OP_cmp, IR_G + GPR_RAX, IR_MEM, old);
    new_rax(e, ins, old);
    emit_release(e, old);
}

void emit_atomic(struct emit *e, const struct ir_ins *ins)
{
    if (ins->op == IR_OP_cmpxchg) {
        emit_atomic_cmpxchg(e, ins);
        return;
    }
    if (ins->op == IR_OP_adc || ins->op == IR_OP_sbb)
        flags_carry(e, ins->op == IR_OP_sbb);
    const unsigned p = address(e, ins), x = second_operand(e, ins, operations[ins->op].second), old = emit_scratch(e);
    change(e, ins, old, p, x);
    emit_release(e, p);
    emit_release(e, x);
    if (ins->op == IR_OP_bts || ins->op == IR_OP_btr || ins->op == IR_OP_btc)
        old_flags(e, ins, IR_OP_bt, IR_MEM, ins->a, old);
    else
        old_flags(e, ins, ins->op == IR_OP_xadd ? IR_OP_add : ins->op, IR_MEM, ins->a, old);
    if (ins->op == IR_OP_xadd || ins->op == IR_OP_xchg)
        emit_done(e, ins->a, old, ins->size);
    else
        emit_release(e, old);
}
