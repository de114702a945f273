/* translate_shift.c - shifts and rotates. SDM 2; the counterpart of cpu/interp_shift.c.
 *
 * The rows of counts other than 1 call OF undefined, but it is defined whenever the count happens to be 1. And a count
 * of 0, which only CL can have here, leaves all flags: so what a shift by CL defines it also reads.
 */
#include "cpu/interp.h"
#include "jit/translate.h"

/* A count of 0: the operand is written as it was. 32 bits: that clears the register's upper half. */
static enum tr_result unchanged(struct trans *t, struct tr_operand d)
{
    if (d.v != IR_MEM && d.size == 4)
        tr_op(t, IR_OP_mov, 4, d, d);
    return TR_NEXT;
}

static unsigned masked(unsigned size, u64 count) { return count & (size == 8 ? 63 : 31); }

static void shift_flags(struct ir_ins *ins, const struct insn *in, bool by_cl, unsigned count)
{
    const struct insn_row *row = &insn_rows[in->row];
    u16 may = ir_rows[ins->op].fw;
    if (by_cl) {
        ins->fdef = may & (row->writes | row->undef);
        ins->fuse = ins->fdef | (row->reads & IR_FLAGS);
    } else {
        ins->fdef = may & (row->writes | (count == 1 ? IR_O : 0));
        ins->fuse = row->reads & IR_FLAGS;
    }
}

static enum tr_result shift(struct trans *t, const struct insn *in, enum ir_op op)
{
    bool by_cl = in->op[1].kind != OP_IMM;
    struct tr_operand d = tr_operand(t, in, 0, IR_RW), a = tr_val(tr_g(GPR_RCX));
    unsigned count = masked(d.size, in->imm);
    if (!by_cl && !count)
        return unchanged(t, d);
    shift_flags(tr_op(t, op, d.size, d, by_cl ? a : tr_imm(count)), in, by_cl, count);
    return TR_NEXT;
}
#define SHIFT(name) \
    static enum tr_result tr_##name(struct trans *t, const struct insn *in) { return shift(t, in, IR_OP_##name); }
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)
SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)

/* Counts above 16 of 16-bit operands are undefined, and processors differ: only the interpreter knows what we do. */
static enum tr_result double_shift(struct trans *t, const struct insn *in, enum ir_op op)
{
    bool by_cl = in->op[2].kind != OP_IMM;
    unsigned count = masked(in->op[0].size, in->imm);
    if (in->op[0].size == 2 && (by_cl || count > 16)) {
        t->reason = "16-bit double shift by more than 16";
        return TR_INTERP;
    }
    struct tr_operand d = tr_operand(t, in, 0, IR_RW), a = tr_operand(t, in, 1, IR_READ);
    if (!by_cl && !count)
        return unchanged(t, d);
    struct ir_ins *ins = tr_op(t, op, d.size, d, a);
    ins->b = by_cl ? tr_g(GPR_RCX) : IR_IMM;
    ins->imm = by_cl ? 0 : count;
    shift_flags(ins, in, by_cl, count);
    return TR_NEXT;
}
static enum tr_result tr_shld(struct trans *t, const struct insn *in) { return double_shift(t, in, IR_OP_shld); }
static enum tr_result tr_shrd(struct trans *t, const struct insn *in) { return double_shift(t, in, IR_OP_shrd); }

#define ROW(name) { in_##name, tr_##name }
const struct tr_row tr_shift_rows[] = {
    ROW(shl), ROW(shr), ROW(sar), ROW(rol), ROW(ror), ROW(rcl), ROW(rcr), ROW(shld), ROW(shrd),
};
const unsigned tr_shift_count = ARRAY_LEN(tr_shift_rows);
