/* translate_string.c - MOVS CMPS STOS LODS SCAS. SDM 2; the counterpart of cpu/interp_string.c.
 *
 * Without a repeat prefix they are a load or store, and LEAs that move rSI and rDI on, for DF = 0: a guard in front leaves
 * the other direction to the interpreter, once a unit (nothing but STD, CLD, POPF and far transfers changes DF).
 * With one, they are `interp`, whose usual case a backend has in line (x86_64/emit_string.c); the interpreter's functions move whole
 * runs at a time, too. INS and OUTS are its own: a device is behind them.
 */
#include "cpu/interp.h"
#include "cpu/vcpu.h"
#include "jit/translate.h"

static void guard_forward(struct trans *t)
{
    if (t->df_clear)
        return;
    const ir_val v = ir_temp(t->u);
    ir_add(t->u, IR_OP_get, 4, v, IR_NONE)->row = IR_FIELD_eflags;
    struct ir_ins *and = ir_add(t->u, IR_OP_and, 4, v, IR_IMM);
    and->imm = EFL_DF;
    and->fdef = 0;
    ir_add(t->u, IR_OP_guard, 4, IR_NONE, v);
    t->df_clear = true;
}

static ir_val source(struct trans *t, const struct insn *in, unsigned n)
{
    return tr_ptr(t, in->seg, tr_g(GPR_RSI), 0, in->addrsize, n, IR_READ);
}
static ir_val target(struct trans *t, const struct insn *in, unsigned n, enum ir_access access)
{
    return tr_ptr(t, SEG_ES, tr_g(GPR_RDI), 0, in->addrsize, n, access);
}
static void advance(struct trans *t, const struct insn *in, unsigned reg, unsigned n)
{
    tr_lea(t, in->addrsize, tr_g(reg), tr_g(reg), (s32)n);
}

static bool repeated(struct trans *t, const struct insn *in)
{
    t->reason = "REP";
    return in->rep;
}

static enum tr_result tr_movs(struct trans *t, const struct insn *in)
{
    const unsigned n = in->op[0].size;
    if (repeated(t, in))
        return TR_INTERP;
    guard_forward(t);
    const ir_val from = source(t, in, n), to = target(t, in, n, IR_WRITE);
    const ir_val v = tr_load(t, n, tr_at(from));
    tr_op(t, IR_OP_mov, n, tr_at(to), tr_val(v));
    advance(t, in, GPR_RSI, n);
    advance(t, in, GPR_RDI, n);
    return TR_NEXT;
}

static enum tr_result tr_stos(struct trans *t, const struct insn *in)
{
    const unsigned n = in->op[0].size;
    if (repeated(t, in))
        return TR_INTERP;
    guard_forward(t);
    const ir_val to = target(t, in, n, IR_WRITE);
    tr_op(t, IR_OP_mov, n, tr_at(to), tr_val(tr_g(GPR_RAX)));
    advance(t, in, GPR_RDI, n);
    return TR_NEXT;
}

static enum tr_result tr_lods(struct trans *t, const struct insn *in)
{
    const unsigned n = in->op[1].size;
    if (repeated(t, in))
        return TR_INTERP;
    guard_forward(t);
    const ir_val from = source(t, in, n);
    tr_op(t, IR_OP_mov, n, tr_val(tr_g(GPR_RAX)), tr_at(from));
    advance(t, in, GPR_RSI, n);
    return TR_NEXT;
}

static enum tr_result tr_cmps(struct trans *t, const struct insn *in)
{
    const unsigned n = in->op[0].size;
    if (repeated(t, in))
        return TR_INTERP;
    guard_forward(t);
    const ir_val a = source(t, in, n), b = target(t, in, n, IR_READ);
    const ir_val v = tr_load(t, n, tr_at(a));
    tr_op(t, IR_OP_cmp, n, tr_val(v), tr_at(b));
    advance(t, in, GPR_RSI, n);
    advance(t, in, GPR_RDI, n);
    return TR_NEXT;
}

static enum tr_result tr_scas(struct trans *t, const struct insn *in)
{
    const unsigned n = in->op[1].size;
    if (repeated(t, in))
        return TR_INTERP;
    guard_forward(t);
    const ir_val b = target(t, in, n, IR_READ);
    tr_op(t, IR_OP_cmp, n, tr_val(tr_g(GPR_RAX)), tr_at(b));
    advance(t, in, GPR_RDI, n);
    return TR_NEXT;
}

#define ROW(name) { in_##name, tr_##name }
const struct tr_row tr_string_rows[] = { ROW(movs), ROW(stos), ROW(lods), ROW(cmps), ROW(scas) };
const unsigned tr_string_count = ARRAY_LEN(tr_string_rows);
