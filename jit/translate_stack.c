/* translate_stack.c - PUSH, POP, LEAVE. SDM 2; the counterpart of cpu/interp_stack.c.
 *
 * rSP moves by LEA, which leaves the flags and, at 16 bits, the upper part of the register alone. All addresses are
 * computed from the rSP in force before the instruction, so that they can be checked before anything changes.
 *
 * Left to the interpreter: PUSHA, POPA, ENTER; POP to memory based on ESP where the stack has 16 bits.
 */
#include "cpu/interp.h"
#include "jit/translate.h"

static unsigned stack_size(const struct trans *t) { return mode_stack_size(t->mode); }

static void move_sp(struct trans *t, ir_val from, int by) { tr_lea(t, stack_size(t), tr_g(GPR_RSP), from, by); }

static ir_val stack_ptr(struct trans *t, unsigned base, int disp, unsigned bytes, enum ir_access access)
{
    return tr_ptr(t, SEG_SS, tr_g(base), disp, stack_size(t), bytes, access);
}

static enum tr_result tr_push(struct trans *t, const struct insn *in)
{
    unsigned n = in->opsize;
    struct tr_operand v = tr_operand(t, in, 0, IR_READ);
    if (v.v == IR_MEM)
        v = tr_val(tr_load(t, n, v));
    ir_val p = stack_ptr(t, GPR_RSP, -(int)n, n, IR_WRITE);
    tr_op(t, IR_OP_mov, n, tr_at(p), v);
    move_sp(t, tr_g(GPR_RSP), -(int)n);
    return TR_NEXT;
}

/* The address of the destination counts from rSP as it is afterwards. */
static enum tr_result pop_memory(struct trans *t, const struct insn *in)
{
    unsigned n = in->opsize;
    struct insn moved = *in;
    if (in->base == GPR_RSP) {
        if (stack_size(t) < in->addrsize || stack_size(t) == 2) {
            t->reason = "POP to memory based on a narrow rSP";
            return TR_INTERP;
        }
        moved.disp += n;
        if (in->addrsize == 8 && (s64)moved.disp != (s32)moved.disp) {
            t->reason = "POP to memory with a large displacement";
            return TR_INTERP;
        }
    }
    ir_val v = tr_load(t, n, tr_at(stack_ptr(t, GPR_RSP, 0, n, IR_READ)));
    ir_val p = tr_address(t, &moved, n, IR_WRITE, 0);
    tr_op(t, IR_OP_mov, n, tr_at(p), tr_val(v));
    move_sp(t, tr_g(GPR_RSP), (int)n);
    return TR_NEXT;
}

/* POP rSP: what was popped stays. */
static enum tr_result tr_pop(struct trans *t, const struct insn *in)
{
    unsigned n = in->opsize;
    if (in->op[0].kind == OP_MEM)
        return pop_memory(t, in);
    ir_val p = stack_ptr(t, GPR_RSP, 0, n, IR_READ);
    if (in->op[0].reg != GPR_RSP) {
        tr_op(t, IR_OP_mov, n, tr_val(tr_g(in->op[0].reg)), tr_at(p));
        move_sp(t, tr_g(GPR_RSP), (int)n);
        return TR_NEXT;
    }
    ir_val v = tr_load(t, n, tr_at(p));
    if (n < stack_size(t))      /* rSP's upper part moves on */
        move_sp(t, tr_g(GPR_RSP), (int)n);
    tr_op(t, IR_OP_mov, n, tr_val(tr_g(GPR_RSP)), tr_val(v));
    return TR_NEXT;
}

static enum tr_result tr_leave(struct trans *t, const struct insn *in)
{
    unsigned n = in->opsize;
    ir_val p = stack_ptr(t, GPR_RBP, 0, n, IR_READ);
    move_sp(t, tr_g(GPR_RBP), (int)n);
    tr_op(t, IR_OP_mov, n, tr_val(tr_g(GPR_RBP)), tr_at(p));
    return TR_NEXT;
}

#define ROW(name) { in_##name, tr_##name }
const struct tr_row tr_stack_rows[] = { ROW(push), ROW(pop), ROW(leave) };
const unsigned tr_stack_count = ARRAY_LEN(tr_stack_rows);
