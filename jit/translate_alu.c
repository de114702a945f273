/* translate_alu.c - ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, MUL IMUL DIV IDIV, sign extension of the
 * accumulator. SDM 2; the counterpart of cpu/interp_alu.c.
 *
 * Decimal adjustment (DAA and the like, SALC) is left to the interpreter.
 */
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "jit/translate.h"

static enum tr_result two(struct trans *t, const struct insn *in, enum ir_op op, enum ir_access access)
{
    struct tr_operand d = tr_operand(t, in, 0, access), a = tr_operand(t, in, 1, IR_READ);
    tr_op(t, op, d.size, d, a);
    return TR_NEXT;
}
#define TWO(name, access) \
    static enum tr_result tr_##name(struct trans *t, const struct insn *in) { return two(t, in, IR_OP_##name, access); }
TWO(add, IR_RW)
TWO(or, IR_RW)
TWO(adc, IR_RW)
TWO(sbb, IR_RW)
TWO(and, IR_RW)
TWO(sub, IR_RW)
TWO(xor, IR_RW)
TWO(cmp, IR_READ)
TWO(test, IR_READ)

static enum tr_result one(struct trans *t, const struct insn *in, enum ir_op op)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_RW);
    tr_op(t, op, d.size, d, tr_val(IR_NONE));
    return TR_NEXT;
}
#define ONE(name) \
    static enum tr_result tr_##name(struct trans *t, const struct insn *in) { return one(t, in, IR_OP_##name); }
ONE(inc)
ONE(dec)
ONE(neg)
ONE(not)

/* --- multiplication and division: rDX:rAX are the operation's own ------------------------------------------------- */

static enum tr_result wide(struct trans *t, const struct insn *in, enum ir_op op)
{
    struct tr_operand a = tr_operand(t, in, 0, IR_READ);
    tr_op(t, op, a.size, tr_val(IR_NONE), a);
    return TR_NEXT;
}
static enum tr_result tr_mul(struct trans *t, const struct insn *in) { return wide(t, in, IR_OP_mul); }
static enum tr_result tr_div(struct trans *t, const struct insn *in) { return wide(t, in, IR_OP_div); }
static enum tr_result tr_idiv(struct trans *t, const struct insn *in) { return wide(t, in, IR_OP_idiv); }

static enum tr_result tr_imul(struct trans *t, const struct insn *in)
{
    if (in->op[1].kind == OP_NONE)
        return wide(t, in, IR_OP_imul1);
    if (in->op[2].kind == OP_NONE)
        return two(t, in, IR_OP_imul, IR_RW);
    struct tr_operand d = tr_operand(t, in, 0, IR_RW), a = tr_operand(t, in, 1, IR_READ);
    tr_op(t, IR_OP_imul3, d.size, d, a)->imm = (s64)flags_sign_extend(d.size, in->imm);
    return TR_NEXT;
}

/* --- sign extension of the accumulator ---------------------------------------------------------------------------- */

static enum tr_result extend_accumulator(struct trans *t, unsigned size)
{
    ir_add(t->u, IR_OP_movsx, size, tr_g(GPR_RAX), tr_g(GPR_RAX))->size2 = (u8)(size / 2);
    return TR_NEXT;
}
static enum tr_result tr_cbw(struct trans *t, const struct insn *in) { return extend_accumulator(t, 2); }
static enum tr_result tr_cwde(struct trans *t, const struct insn *in) { return extend_accumulator(t, 4); }
static enum tr_result tr_cdqe(struct trans *t, const struct insn *in) { return extend_accumulator(t, 8); }

static enum tr_result extend_to_rdx(struct trans *t, unsigned size)
{
    ir_add(t->u, IR_OP_cdq, size, IR_NONE, IR_NONE);
    return TR_NEXT;
}
static enum tr_result tr_cwd(struct trans *t, const struct insn *in) { return extend_to_rdx(t, 2); }
static enum tr_result tr_cdq(struct trans *t, const struct insn *in) { return extend_to_rdx(t, 4); }
static enum tr_result tr_cqo(struct trans *t, const struct insn *in) { return extend_to_rdx(t, 8); }

#define ROW(name) { in_##name, tr_##name }
const struct tr_row tr_alu_rows[] = {
    ROW(add), ROW(or), ROW(adc), ROW(sbb), ROW(and), ROW(sub), ROW(xor), ROW(cmp), ROW(test),
    ROW(inc), ROW(dec), ROW(neg), ROW(not), ROW(mul), ROW(imul), ROW(div), ROW(idiv),
    ROW(cbw), ROW(cwde), ROW(cdqe), ROW(cwd), ROW(cdq), ROW(cqo),
};
const unsigned tr_alu_count = ARRAY_LEN(tr_alu_rows);
