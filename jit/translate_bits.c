/* translate_bits.c - BT BTS BTR BTC BSF BSR, BSWAP, XADD, CMPXCHG. SDM 2; the counterpart of cpu/interp_bits.c.
 *
 * Left to the interpreter: CMPXCHG8B and CMPXCHG16B. TZCNT, LZCNT, POPCNT, BMI, ADX, MOVBE, CRC32: translate_insn.c.
 */
#include "cpu/interp.h"
#include "jit/translate.h"

/* --- bits --------------------------------------------------------------------------------------------------------- */

/* A bit number in a register is signed and reaches beyond a memory operand: in units of the operand's size, from its
 * address on. The shift defines no flags: it is part of the address. */
static struct tr_operand bit_memory(struct trans *t, const struct insn *in, enum ir_access access)
{
    unsigned n = in->op[0].size, log2 = n == 8 ? 3 : n == 4 ? 2 : 1;
    ir_val unit = ir_temp(t->u), number = tr_g(in->op[1].reg), ea;
    if (in->index == GPR_NONE && in->base < GPR_RIP && (s64)in->disp == (s32)in->disp)
        ea = tr_g(in->base);
    else
        ea = tr_effective(t, in, in->addrsize);
    struct ir_ins *ins = ir_add(t->u, n == 8 ? IR_OP_mov : IR_OP_movsx, 8, unit, number);
    if (n < 8)
        ins->size2 = (u8)n;
    ins = ir_add(t->u, IR_OP_sar, 8, unit, IR_IMM);
    ins->imm = 3 + log2;
    ins->fdef = ins->fuse = 0;
    ir_val p = tr_ptr(t, in->seg, ea, ea == tr_g(in->base) ? (s32)in->disp : 0, in->addrsize, n, access);
    ins = &t->u->ins[t->u->count - 1];
    ins->b = unit;
    ins->scale = (u8)log2;
    return (struct tr_operand){ .v = IR_MEM, .p = p, .size = (u8)n };
}

static enum tr_result bit(struct trans *t, const struct insn *in, enum ir_op op)
{
    enum ir_access access = op == IR_OP_bt ? IR_READ : IR_RW;
    bool far = in->op[0].kind == OP_MEM && in->op[1].kind != OP_IMM;
    struct tr_operand d = far ? bit_memory(t, in, access) : tr_operand(t, in, 0, access);
    struct tr_operand a = tr_operand(t, in, 1, IR_READ);
    a.imm &= 8 * d.size - 1;
    tr_op(t, op, d.size, d, a);
    return TR_NEXT;
}
static enum tr_result tr_bt(struct trans *t, const struct insn *in) { return bit(t, in, IR_OP_bt); }
static enum tr_result tr_bts(struct trans *t, const struct insn *in) { return bit(t, in, IR_OP_bts); }
static enum tr_result tr_btr(struct trans *t, const struct insn *in) { return bit(t, in, IR_OP_btr); }
static enum tr_result tr_btc(struct trans *t, const struct insn *in) { return bit(t, in, IR_OP_btc); }

static enum tr_result two(struct trans *t, const struct insn *in, enum ir_op op)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_RW), a = tr_operand(t, in, 1, IR_READ);
    tr_op(t, op, d.size, d, a);
    return TR_NEXT;
}
static enum tr_result tr_bsf(struct trans *t, const struct insn *in) { return two(t, in, IR_OP_bsf); }
static enum tr_result tr_bsr(struct trans *t, const struct insn *in) { return two(t, in, IR_OP_bsr); }

/* --- bytes, exchanges --------------------------------------------------------------------------------------------- */

/* 16 bits: undefined; processors store zero. */
static enum tr_result tr_bswap(struct trans *t, const struct insn *in)
{
    struct tr_operand d = tr_operand(t, in, 0, IR_RW);
    if (d.size == 2)
        tr_op(t, IR_OP_mov, 2, d, tr_imm(0));
    else
        tr_op(t, IR_OP_bswap, d.size, d, tr_val(IR_NONE));
    return TR_NEXT;
}

static enum tr_result tr_xadd(struct trans *t, const struct insn *in) { return two(t, in, IR_OP_xadd); }
static enum tr_result tr_cmpxchg(struct trans *t, const struct insn *in) { return two(t, in, IR_OP_cmpxchg); }

#define ROW(name) { in_##name, tr_##name }
const struct tr_row tr_bits_rows[] = {
    ROW(bt), ROW(bts), ROW(btr), ROW(btc), ROW(bsf), ROW(bsr), ROW(bswap), ROW(xadd), ROW(cmpxchg),
};
const unsigned tr_bits_count = ARRAY_LEN(tr_bits_rows);
