/* translate_move.c - MOV and its relatives, LEA, XCHG, XLAT, CMOVcc, SETcc, LAHF, SAHF, CLC STC CMC, NOPs. SDM 2;
 * the counterpart of cpu/interp_move.c.
 */
#include "cpu/interp.h"
#include "jit/translate.h"

static enum tr_result tr_mov(struct trans *t, const struct insn *in)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_WRITE), a = tr_operand(t, in, 1, IR_READ);
    tr_op(t, IR_OP_mov, d.size, d, a);
    return TR_NEXT;
}

static enum tr_result extend(struct trans *t, const struct insn *in, enum ir_op op)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_WRITE), a = tr_operand(t, in, 1, IR_READ);
    if (a.size >= d.size)       /* MOVSXD of 32 or 16 bits, MOVZX r16, r/m16 */
        tr_op(t, IR_OP_mov, d.size, d, a);
    else
        tr_op(t, op, d.size, d, a)->size2 = a.size;
    return TR_NEXT;
}
static enum tr_result tr_movzx(struct trans *t, const struct insn *in) { return extend(t, in, IR_OP_movzx); }
static enum tr_result tr_movsx(struct trans *t, const struct insn *in) { return extend(t, in, IR_OP_movsx); }

/* One operation where the address is as wide as the register, or a 32-bit one that is zero-extended anyway. */
static enum tr_result tr_lea_insn(struct trans *t, const struct insn *in)
{
    unsigned size = in->op[0].size;
    struct ir_unit *u = t->u;
    ir_val d = tr_g(in->op[0].reg);
    if (size == 8 && in->addrsize == 4)
        size = 4;
    ir_val v = tr_effective(t, in, size);
    struct ir_ins *last = &u->ins[u->count - 1];
    if (!u->full && last->d == v) {
        last->d = d;
        u->temps--;
    } else
        ir_add(u, IR_OP_mov, size, d, v);
    return TR_NEXT;
}

/* --- XCHG, XLAT --------------------------------------------------------------------------------------------------- */

static enum tr_result tr_xchg(struct trans *t, const struct insn *in)
{
    unsigned memory = in->op[1].kind == OP_MEM;     /* whichever operand the table calls first */
    struct tr_operand d = tr_operand(t, in, memory, IR_RW), a = tr_operand(t, in, !memory, IR_RW);
    if (d.v != IR_MEM && d.v == a.v) {
        if (d.size == 4)                            /* clears the upper half */
            tr_op(t, IR_OP_mov, 4, d, d);
        return TR_NEXT;
    }
    struct ir_ins *ins = tr_op(t, IR_OP_xchg, d.size, d, a);
    if (d.v == IR_MEM)
        tr_lock(t, ins);
    return TR_NEXT;
}

static enum tr_result tr_xlat(struct trans *t, const struct insn *in)
{
    ir_val index = tr_load(t, 1, tr_val(tr_g(GPR_RAX)));
    ir_val p = tr_ptr(t, in->seg, tr_g(GPR_RBX), 0, in->addrsize, 1, IR_READ);
    t->u->ins[t->u->count - 1].b = index;
    tr_op(t, IR_OP_mov, 1, tr_val(tr_g(GPR_RAX)), tr_at(p));
    return TR_NEXT;
}

/* --- conditions --------------------------------------------------------------------------------------------------- */

static enum tr_result tr_cmovcc(struct trans *t, const struct insn *in)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_RW), a = tr_operand(t, in, 1, IR_READ);
    ir_set_cc(tr_op(t, IR_OP_cmov, d.size, d, a), in->imm2 & 15);
    return TR_NEXT;
}

static enum tr_result tr_setcc(struct trans *t, const struct insn *in)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_WRITE);
    ir_set_cc(tr_op(t, IR_OP_setcc, 1, d, tr_val(IR_NONE)), in->imm2 & 15);
    return TR_NEXT;
}

/* --- flags -------------------------------------------------------------------------------------------------------- */

/* Bit 1 of the flags reads as 1. */
static enum tr_result tr_lahf(struct trans *t, const struct insn *in)
{
    ir_val flags = ir_temp(t->u), fixed = ir_temp(t->u);
    ir_add(t->u, IR_OP_getfl, 1, flags, IR_NONE)->fuse = IR_FLAGS & ~IR_O;
    tr_lea(t, 4, fixed, flags, 2);
    ir_add(t->u, IR_OP_mov, 1, IR_H, fixed);
    return TR_NEXT;
}

static enum tr_result tr_sahf(struct trans *t, const struct insn *in)
{
    tr_op(t, IR_OP_putfl, 1, tr_val(IR_NONE), tr_val(IR_H));
    return TR_NEXT;
}

static enum tr_result flag(struct trans *t, enum ir_op op)
{
    tr_op(t, op, 4, tr_val(IR_NONE), tr_val(IR_NONE));
    return TR_NEXT;
}
static enum tr_result tr_clc(struct trans *t, const struct insn *in) { return flag(t, IR_OP_clc); }
static enum tr_result tr_stc(struct trans *t, const struct insn *in) { return flag(t, IR_OP_stc); }
static enum tr_result tr_cmc(struct trans *t, const struct insn *in) { return flag(t, IR_OP_cmc); }

/* No access, even where there is a memory operand. */
static enum tr_result tr_nop(struct trans *t, const struct insn *in) { return TR_NEXT; }

#define ROW(name) { in_##name, tr_##name }
#define NOP(name) { in_##name, tr_nop }
const struct tr_row tr_move_rows[] = {
    ROW(mov), { in_movnti, tr_mov }, ROW(movzx), ROW(movsx), { in_movsxd, tr_movsx }, { in_lea, tr_lea_insn },
    ROW(xchg), ROW(xlat), ROW(cmovcc), ROW(setcc), ROW(lahf), ROW(sahf), ROW(clc), ROW(stc), ROW(cmc),
    NOP(nop), NOP(pause), NOP(endbr32), NOP(endbr64), NOP(prefetch), NOP(prefetchw), NOP(prefetchwt1),
    NOP(prefetchnta), NOP(prefetcht0), NOP(prefetcht1), NOP(prefetcht2),
};
const unsigned tr_move_count = ARRAY_LEN(tr_move_rows);
