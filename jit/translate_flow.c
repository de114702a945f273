/* translate_flow.c - near transfers: JMP CALL RET Jcc LOOP JrCXZ. SDM 2; the counterpart of cpu/interp_flow.c.
 *
 * Direct exits name an offset from the unit's page. That is right where RIP is as wide as the address, and in 16-bit
 * code, since units lie in the part of a page that is inside of CS and below 64 KiB (unit_part): an exit either stays
 * in there, or is looked up by the dispatcher, which truncates RIP (code_link.wraps).
 * Left are 16-bit operands in 32-bit code. There the target is computed from IR_PC at run time and looked up (ijmp);
 * conditional branches choose between two such targets, and end the unit.
 *
 * A target beyond CS's limit or not canonical faults when it is fetched from, not at the branch.
 */
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "jit/translate.h"

static bool direct(const struct trans *t, unsigned opsize) { return opsize != 2 || t->code_size == 2; }

/* Offset of a relative branch's target. Outside 64-bit mode it is taken modulo 2^32. */
static s64 target_offset(const struct trans *t, const struct insn *in)
{
    s64 offset = (s64)in->imm + t->end;
    return t->code_size == 8 ? offset : (s32)offset;
}
/* False: so far away that no exit can name it. */
static bool in_reach(struct trans *t, s64 offset)
{
    t->reason = "branch by more than 2 GiB";
    return offset == (s32)offset;
}

/* RIP of an offset, truncated to `width` bytes. */
static ir_val rip_of(struct trans *t, s64 offset, unsigned width)
{
    ir_val v = ir_temp(t->u);
    tr_lea(t, t->code_size == 8 ? 8 : 4, v, IR_PC, (s32)offset);
    return t->code_size == 8 ? v : tr_load(t, width, tr_val(v));
}
static ir_val next_rip(struct trans *t) { return rip_of(t, t->end, 4); }

static struct ir_ins *side(struct trans *t, enum ir_op op, unsigned size, ir_val a, s64 offset)
{
    struct ir_ins *ins = ir_add(t->u, op, size, IR_NONE, a);
    ins->imm = offset;
    if (offset <= t->start)
        ins->bits |= IR_POLL | IR_LIKELY;
    return ins;
}

static void indirect(struct trans *t, enum ir_op op, ir_val rip)
{
    struct ir_ins *ins = ir_add(t->u, op, 8, IR_NONE, rip);
    ins->bits |= IR_POLL;
    ins->disp = op == IR_OP_icall ? t->end : 0;
}

void tr_goto(struct trans *t, s64 offset)
{
    struct ir_ins *ins = ir_add(t->u, IR_OP_jmp, 8, IR_NONE, IR_NONE);
    ins->imm = offset;
    if (offset <= t->start)
        ins->bits |= IR_POLL;
}

/* --- JMP, CALL, RET ----------------------------------------------------------------------------------------------- */

/* The RIP in a register or memory, zero-extended. A copy if the instruction changes the register. */
static ir_val indirect_target(struct trans *t, const struct insn *in, bool pushes)
{
    struct tr_operand v = tr_operand(t, in, 0, IR_READ);
    if (v.v != IR_MEM && in->opsize == 8 && !(pushes && v.v == tr_g(GPR_RSP)))
        return v.v;
    return tr_load(t, in->opsize, v);
}

static enum tr_result tr_jmp(struct trans *t, const struct insn *in)
{
    s64 offset = target_offset(t, in);
    if (in->op[0].kind != OP_REL) {
        indirect(t, IR_OP_ijmp, indirect_target(t, in, false));
        return TR_END;
    }
    if (!in_reach(t, offset))
        return TR_STEP;
    if (!direct(t, in->opsize))
        indirect(t, IR_OP_ijmp, rip_of(t, offset, in->opsize));
    else if (offset == t->end)
        return TR_NEXT;
    else
        tr_goto(t, offset);
    return TR_END;
}

static void push_return(struct trans *t, unsigned n)
{
    unsigned stack = mode_stack_size(t->mode);
    ir_val p = tr_ptr(t, SEG_SS, tr_g(GPR_RSP), -(int)n, stack, n, IR_WRITE), v = ir_temp(t->u);
    tr_lea(t, n == 8 ? 8 : 4, v, IR_PC, t->end);
    tr_op(t, IR_OP_mov, n, tr_at(p), tr_val(v));
    tr_lea(t, stack, tr_g(GPR_RSP), tr_g(GPR_RSP), -(int)n);
}

/* CALL to the next instruction is how position-independent code asks where it is: nothing returns from it. */
static enum tr_result call_relative(struct trans *t, const struct insn *in)
{
    s64 offset = target_offset(t, in);
    if (!in_reach(t, offset))
        return TR_STEP;
    push_return(t, in->opsize);
    if (!direct(t, in->opsize)) {
        indirect(t, IR_OP_ijmp, rip_of(t, offset, in->opsize));
        return TR_END;
    }
    if (offset == t->end)
        return TR_NEXT;
    struct ir_ins *ins = ir_add(t->u, IR_OP_call, 8, IR_NONE, IR_NONE);
    ins->imm = offset;
    ins->disp = t->end;
    ins->bits |= IR_POLL;
    return TR_END;
}

static enum tr_result tr_call(struct trans *t, const struct insn *in)
{
    if (in->op[0].kind == OP_REL)
        return call_relative(t, in);
    ir_val rip = indirect_target(t, in, true);
    push_return(t, in->opsize);
    indirect(t, direct(t, in->opsize) ? IR_OP_icall : IR_OP_ijmp, rip);
    return TR_END;
}

static enum tr_result tr_ret(struct trans *t, const struct insn *in)
{
    unsigned n = in->opsize, stack = mode_stack_size(t->mode);
    unsigned drop = in->op[0].kind == OP_IMM ? (u16)in->imm : 0;
    ir_val p = tr_ptr(t, SEG_SS, tr_g(GPR_RSP), 0, stack, n, IR_READ), rip = tr_load(t, n, tr_at(p));
    tr_lea(t, stack, tr_g(GPR_RSP), tr_g(GPR_RSP), (s32)(n + drop));
    indirect(t, direct(t, n) ? IR_OP_ret : IR_OP_ijmp, rip);
    return TR_END;
}

/* --- conditional branches ----------------------------------------------------------------------------------------- */

static void choose(struct trans *t, ir_val rip, ir_val other, unsigned cc)
{
    ir_set_cc(ir_add(t->u, IR_OP_cmov, 8, rip, other), cc);
}

static enum tr_result tr_jcc(struct trans *t, const struct insn *in)
{
    s64 offset = target_offset(t, in);
    if (!in_reach(t, offset))
        return TR_STEP;
    if (direct(t, in->opsize)) {
        ir_set_cc(side(t, IR_OP_jcc, 8, IR_NONE, offset), in->imm2 & 15);
        return TR_SIDE;
    }
    ir_val rip = next_rip(t);
    choose(t, rip, rip_of(t, offset, in->opsize), in->imm2 & 15);
    indirect(t, IR_OP_ijmp, rip);
    return TR_END;
}

enum counting { COUNT_LOOP, COUNT_LOOPE, COUNT_LOOPNE, COUNT_JCXZ };

/* Where exits have to be computed: a test of rCX between saved flags. */
static void count_indirect(struct trans *t, const struct insn *in, enum counting kind)
{
    struct ir_unit *u = t->u;
    ir_val rip = next_rip(t), flags = ir_temp(u);
    ir_add(u, IR_OP_getfl, 4, flags, IR_NONE);
    if (kind == COUNT_LOOPE || kind == COUNT_LOOPNE)
        choose(t, rip, rip_of(t, target_offset(t, in), in->opsize), kind == COUNT_LOOPE ? CC_E : CC_NE);
    ir_add(u, IR_OP_test, in->addrsize, tr_g(GPR_RCX), tr_g(GPR_RCX));
    if (kind == COUNT_LOOPE || kind == COUNT_LOOPNE)
        choose(t, rip, next_rip(t), CC_E);
    else
        choose(t, rip, rip_of(t, target_offset(t, in), in->opsize), kind == COUNT_LOOP ? CC_NE : CC_E);
    ir_add(u, IR_OP_putfl, 4, IR_NONE, flags);
    indirect(t, IR_OP_ijmp, rip);
}

static enum tr_result counting(struct trans *t, const struct insn *in, enum counting kind)
{
    s64 offset = target_offset(t, in);
    ir_val count = tr_g(GPR_RCX);
    if (kind != COUNT_JCXZ)
        tr_lea(t, in->addrsize, count, count, -1);
    if (!direct(t, in->opsize)) {
        count_indirect(t, in, kind);
        return TR_END;
    }
    if (kind == COUNT_JCXZ || kind == COUNT_LOOP) {
        side(t, kind == COUNT_LOOP ? IR_OP_jnz : IR_OP_jz, in->addrsize, count, offset);
    } else {
        side(t, IR_OP_jz, in->addrsize, count, t->end);
        ir_set_cc(side(t, IR_OP_jcc, 8, IR_NONE, offset), kind == COUNT_LOOPE ? CC_E : CC_NE);
    }
    return TR_SIDE;
}
static enum tr_result tr_loop(struct trans *t, const struct insn *in) { return counting(t, in, COUNT_LOOP); }
static enum tr_result tr_loope(struct trans *t, const struct insn *in) { return counting(t, in, COUNT_LOOPE); }
static enum tr_result tr_loopne(struct trans *t, const struct insn *in) { return counting(t, in, COUNT_LOOPNE); }
static enum tr_result tr_jcxz(struct trans *t, const struct insn *in) { return counting(t, in, COUNT_JCXZ); }

#define ROW(name) { in_##name, tr_##name }
const struct tr_row tr_flow_rows[] = {
    ROW(jmp), ROW(call), ROW(ret), ROW(jcc), ROW(loop), ROW(loope), ROW(loopne), ROW(jcxz),
};
const unsigned tr_flow_count = ARRAY_LEN(tr_flow_rows);
