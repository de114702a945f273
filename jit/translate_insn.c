/* translate_insn.c - instructions that the host may execute as they are: vectors, MMX, x87, bit manipulation. They become
 * `need` (once a unit and kind), `ptr` for the memory operand, and `insn`; host_backend.can_insn says which.
 *
 * x87 instructions but the control ones leave FIP, FOP, FDP behind (SDM 1 8.1.8). Here that is one store of a constant, x87_note,
 * and for those with a memory operand its offset; need.c makes the registers from it. Of several notes between which the unit
 * cannot be left only the last counts: it takes the place of the one before.
 *
 * LDMXCSR and FLDCW are looked at first: with an exception unmasked the instructions that follow are the interpreter's, so it
 * executes this one. What is loaded is the temporary that was looked at, not memory, which others may write meanwhile.
 */
#include "cpu/fpu.h"
#include "cpu/interp.h"
#include "cpu/vcpu.h"
#include "jit/translate.h"

bool tr_insn_can(const struct insn *in) { return host_backend.can_insn(in); }

/* --- availability --------------------------------------------------------------------------------------------------- */

static void need(struct trans *t, enum ir_unit_kind kind)
{
    if (t->needed >> kind & 1)
        return;
    ir_add(t->u, IR_OP_need, 0, IR_NONE, IR_NONE)->imm = kind;
    t->needed |= (u8)(1 << kind);
    if (kind == IR_NEED_X87) {
        t->x87_based = false;
        t->x87_noted = 0;
        t->x87_seg = 0;
    }
}

static void needs(struct trans *t, const struct insn *in)
{
    const u32 attr = insn_rows[in->row].attr;
    if (attr & ATTR_X87)
        need(t, IR_NEED_X87);
    if (attr & ATTR_MMX)
        need(t, IR_NEED_MMX);
    if (attr & ATTR_SSE)
        need(t, in->vex ? IR_NEED_AVX : IR_NEED_SSE);
}

static bool switched_off(const struct trans *t, u32 attr)
{
    return (attr & ATTR_SSE && !t->opt->vec) || (attr & (ATTR_X87 | ATTR_MMX) && !t->opt->x87);
}

/* --- x87: the last instruction and its operand ------------------------------------------------------------------------ */

static struct ir_ins *put_field(struct trans *t, enum ir_field field, unsigned size, ir_val v, u64 imm)
{
    struct ir_ins *ins = ir_add(t->u, IR_OP_put, size, IR_NONE, v);
    ins->row = (u16)field;
    ins->imm = (s64)imm;
    return ins;
}

static bool is_noted(const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    return row->attr & ATTR_X87 && !(row->attr & ATTR_NOWAIT) && row->run != in_fldcw;
}

/* The note before, if the unit cannot be left between it and here. (Operations may have moved: translate.c's `count`.) */
static struct ir_ins *note_that_counts(const struct trans *t)
{
    struct ir_ins *before = t->x87_noted ? &t->u->ins[t->x87_noted - 1] : NULL;
    if (!before || before->op != IR_OP_put || before->row != IR_FIELD_x87_note)
        return NULL;
    for (const struct ir_ins *ins = before; ins < &t->u->ins[t->u->count]; ins++)
        if (ir_rows[ins->op].attr & (IR_SIDE | IR_END | IR_FAULT))
            return NULL;
    return before;
}

static void note_operand(struct trans *t, const struct insn *in)
{
    const u32 seg = X87_SEG | (u32)in->addrsize << X87_SEG_SIZE | in->seg;
    put_field(t, IR_FIELD_x87_ea, 8, tr_effective(t, in, in->addrsize), 0);  /* upper bits: no matter */
    if (t->x87_seg != seg)
        put_field(t, IR_FIELD_x87_seg, 4, IR_IMM, seg);
    t->x87_seg = seg;
}

/* pc of this unit, or the instruction's own address if it is too far from there for a note. */
static s32 note_base(struct trans *t)
{
    const bool far = t->start > X87_NOTE_OFFSET_MAX || t->start < -X87_NOTE_OFFSET_MAX;
    if (!t->x87_based || far) {
        const ir_val base = ir_temp(t->u);
        ir_add(t->u, IR_OP_lea, 8, base, IR_PC)->disp = far ? t->start : 0;
        put_field(t, IR_FIELD_x87_pc, 8, base, 0);
        t->x87_noted = 0;
    }
    t->x87_based = !far;
    return far ? 0 : t->start;
}

static void note(struct trans *t, const struct insn *in)
{
    const u32 offset = (u32)note_base(t), value = offset << X87_NOTE_FOP | (in->imm2 & ((1u << X87_NOTE_FOP) - 1));
    if (in->modrm_mem)
        note_operand(t, in);
    struct ir_ins *before = note_that_counts(t);
    if (before) {
        before->imm = value;
        return;
    }
    put_field(t, IR_FIELD_x87_note, 4, IR_IMM, value);
    t->x87_noted = t->u->count;
}

/* --- operands --------------------------------------------------------------------------------------------------------- */

/* Operand 0 is the destination, but for these. */
static bool reads_operand_0(interp_fn *run) { return run == in_fld || run == in_fild || run == in_fbld; }

/* CMPXCHG16B demands it (#GP); across a cache line an atomic access is one that some hosts trap. */
static bool exchanges(interp_fn *run) { return run == in_cmpxchg8b || run == in_cmpxchg16b; }

static unsigned alignment(const struct insn *in, const struct operand *o)
{
    if (exchanges(insn_rows[in->row].run))
        return IR_ALIGN;
    return o->size >= 16 && insn_rows[in->row].attr & (in->vex ? ATTR_VALIGN : ATTR_ALIGN) ? IR_ALIGN : 0;
}

static enum ir_access access_of(const struct insn *in, unsigned i)
{
    interp_fn *run = insn_rows[in->row].run;
    return i || reads_operand_0(run) ? IR_READ : exchanges(run) ? IR_RW : IR_WRITE;
}

static ir_val address(struct trans *t, const struct insn *in)
{
    for (unsigned i = 0; i < 4; i++) {
        const struct operand *o = &in->op[i];
        if (o->kind == OP_MEM)
            return tr_address(t, in, o->size, access_of(in, i), alignment(in, o));
    }
    return IR_NONE;
}

static ir_val value(const struct operand *o)
{
    switch (o->kind) {
    case OP_GPR: return (ir_val)(IR_G + o->reg);
    case OP_VEC: return (ir_val)(IR_V + o->reg);
    case OP_MMX: return (ir_val)(IR_MMX + o->reg);
    case OP_ST: return (ir_val)(IR_ST + o->reg);
    case OP_IMM: return IR_IMM;
    case OP_MEM: return IR_MEM;
    default: return IR_NONE;
    }
}

static struct ir_ins *append(struct trans *t, const struct insn *in, ir_val d)
{
    const struct insn_row *row = &insn_rows[in->row];
    struct ir_ins *ins = ir_add(t->u, IR_OP_insn, in->vl ? in->vl : in->opsize, d, value(&in->op[1]));
    ins->b = value(&in->op[2]);
    ins->c = value(&in->op[3]);
    ins->row = in->row;
    ins->imm = (s64)in->imm;
    ins->fdef = row->writes & IR_FLAGS;
    ins->fuse = row->reads & IR_FLAGS;
    return ins;
}

/* --- control words ---------------------------------------------------------------------------------------------------- */

static void op_imm(struct trans *t, enum ir_op op, ir_val d, u32 imm)
{
    struct ir_ins *ins = ir_add(t->u, op, 4, d, IR_IMM);
    ins->imm = (s32)imm;
    ins->fdef = 0;
}

/* masks: bits that must be set; refused: bits that must not. */
static enum tr_result load_control(struct trans *t, const struct insn *in, unsigned bytes, u32 masks, u32 refused)
{
    const ir_val p = tr_address(t, in, bytes, IR_READ, 0), v = ir_temp(t->u), bad = ir_temp(t->u);
    struct ir_ins *load = ir_add(t->u, bytes == 2 ? IR_OP_movzx : IR_OP_mov, 4, v, IR_MEM);
    load->size2 = bytes == 2 ? 2 : 0;
    load->p = p;
    ir_add(t->u, IR_OP_mov, 4, bad, v);
    op_imm(t, IR_OP_xor, bad, masks);
    op_imm(t, IR_OP_and, bad, masks | refused);
    ir_add(t->u, IR_OP_guard, 4, IR_NONE, bad);
    append(t, in, v);
    return TR_NEXT;
}

/* --- the translation -------------------------------------------------------------------------------------------------- */

enum tr_result tr_insn(struct trans *t, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    if (switched_off(t, row->attr)) {
        t->reason = "switched off";
        return TR_INTERP;
    }
    if (in->vex && !(t->mode & MODE_PROTECTED)) {
        t->reason = "VEX outside of protected mode";
        return TR_INTERP;
    }
    needs(t, in);
    if (row->run == in_ldmxcsr)
        return load_control(t, in, 4, MXCSR_MASKS, ~(u32)MXCSR_VALID);
    if (row->run == in_fldcw)
        return load_control(t, in, 2, FP_ALL, 0);
    const ir_val p = address(t, in);
    if (is_noted(in))
        note(t, in);
    append(t, in, value(&in->op[0]))->p = p;
    return TR_NEXT;
}
