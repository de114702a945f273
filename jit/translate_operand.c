/* translate_operand.c - operands of guest instructions as IR values. SDM 2 chapter 2; SDM 1 3.7.5.
 *
 * A memory operand becomes one `ptr`, which computes the address at its width, checks it and yields a host address;
 * after that memory is an operand like a register. All `ptr` of an instruction come before its first change.
 *
 * RIP-relative addresses count from IR_PC: in->disp is relative to the next instruction, whose offset is t->end.
 */
#include "jit/translate.h"

#include "cpu/flags.h"
#include "jit/jit_private.h"

struct address { ir_val base, index; s32 disp; };

struct ir_ins *tr_lea(struct trans *t, unsigned size, ir_val d, ir_val base, s32 disp)
{
    struct ir_ins *ins = ir_add(t->u, IR_OP_lea, size, d, base);
    ins->disp = size == 2 ? (s16)disp : disp;
    return ins;
}

/* Base and displacement; what does not fit into 32 bits goes into a temporary. Addresses of 2 and 4 bytes are taken
 * modulo their width, so that their displacement always fits. */
static struct address address_of(struct trans *t, const struct insn *in)
{
    struct address a = { .base = in->base == GPR_NONE ? IR_NONE : tr_g(in->base),
                         .index = in->index == GPR_NONE ? IR_NONE : tr_g(in->index), .disp = (s32)in->disp };
    if (in->base == GPR_RIP) {
        s64 disp = (s64)in->disp + t->end;
        a.base = IR_PC;
        a.disp = (s32)disp;
        if (in->addrsize == 8 && disp != (s32)disp) {
            a.base = ir_temp(t->u);
            a.disp = (s32)in->disp;
            tr_lea(t, 8, a.base, IR_PC, t->end);
        }
    } else if (in->addrsize == 8 && (s64)in->disp != a.disp) {     /* MOV with a 64-bit offset: no base, no index */
        a.base = ir_temp(t->u);
        a.disp = 0;
        ir_add(t->u, IR_OP_mov, 8, a.base, IR_IMM)->imm = (s64)in->disp;
    }
    return a;
}

static struct ir_ins *add_ptr(struct trans *t, unsigned seg, struct address a, unsigned scale, unsigned addrsize,
                              unsigned bytes, enum ir_access access)
{
    ir_val p = ir_temp(t->u);
    struct ir_ins *ins = ir_add(t->u, IR_OP_ptr, bytes, p, a.base);
    ins->b = a.index;
    ins->scale = (u8)scale;
    ins->disp = a.disp;
    ins->addrsize = (u8)addrsize;
    ins->size2 = (u8)seg;
    ins->cc = (u8)access;
    return ins;
}

ir_val tr_address(struct trans *t, const struct insn *in, unsigned bytes, enum ir_access access, unsigned bits)
{
    struct ir_ins *ins = add_ptr(t, in->seg, address_of(t, in), in->scale, in->addrsize, bytes, access);
    ins->bits |= (u8)bits;
    return ins->d;
}

ir_val tr_ptr(struct trans *t, unsigned seg, ir_val base, s32 disp, unsigned addrsize, unsigned bytes,
              enum ir_access access)
{
    return add_ptr(t, seg, (struct address){ .base = base, .disp = disp }, 0, addrsize, bytes, access)->d;
}

/* Truncated to the address size and then zero-extended to `size`. */
ir_val tr_effective(struct trans *t, const struct insn *in, unsigned size)
{
    struct address a = address_of(t, in);
    ir_val v = ir_temp(t->u);
    unsigned width = size < in->addrsize ? size : in->addrsize;
    struct ir_ins *ins = tr_lea(t, width, v, a.base, a.disp);
    ins->b = a.index;
    ins->scale = in->scale;
    if (size <= in->addrsize)
        return v;
    ir_val wide = ir_temp(t->u);
    ir_add(t->u, IR_OP_movzx, size, wide, v)->size2 = in->addrsize;
    return wide;
}

/* A constant that varies is loaded from the code that it stands in. */
static void load_constant(struct trans *t, const struct insn *in, struct tr_operand *r)
{
    unsigned bytes = self_loads(t->j, in, t->start);
    if (!bytes)
        return;
    ir_val p = ir_temp(t->u);
    ir_add(t->u, IR_OP_code, bytes, p, IR_NONE)->disp = t->start + in->len - (s32)bytes;
    if (bytes >= r->size) {
        r->v = tr_load(t, bytes, tr_at(p));
        return;
    }
    r->v = ir_temp(t->u);
    struct ir_ins *ins = ir_add(t->u, IR_OP_movsx, 8, r->v, IR_MEM);
    ins->size2 = (u8)bytes;
    ins->p = p;
}

struct tr_operand tr_operand(struct trans *t, const struct insn *in, unsigned i, enum ir_access access)
{
    const struct operand *o = &in->op[i];
    struct tr_operand r = { .size = o->size };
    switch (o->kind) {
    case OP_GPR: r.v = tr_g(o->reg); break;
    case OP_GPRH: r.v = (ir_val)(IR_H + o->reg); break;
    case OP_VEC: r.v = (ir_val)(IR_V + o->reg); break;
    case OP_MMX: r.v = (ir_val)(IR_MMX + (o->reg & 7)); break;
    case OP_ST: r.v = (ir_val)(IR_ST + (o->reg & 7)); break;
    case OP_IMM:
        r.v = IR_IMM;
        r.imm = (s64)flags_sign_extend(o->size, o->reg ? in->imm2 : in->imm);
        if (unlikely(t->j->self.on))
            load_constant(t, in, &r);
        break;
    case OP_MEM:
        r.v = IR_MEM;
        r.p = tr_address(t, in, o->size, access, 0);
        break;
    default: break;
    }
    return r;
}

static void place(struct ir_ins *ins, struct tr_operand o)
{
    if (o.v == IR_MEM) {
        ins->p = o.p;
        ins->disp = o.disp;
    } else if (o.v == IR_IMM)
        ins->imm = o.imm;
}

void tr_lock(struct trans *t, struct ir_ins *ins)
{
    ins->bits |= IR_LOCK;
    for (unsigned i = t->u->count; host_backend.aligned_locks && ins->size > 1 && i--;) {
        struct ir_ins *ptr = &t->u->ins[i];
        if (ptr->op == IR_OP_ptr && ptr->d == ins->p) {
            ptr->bits |= IR_ALIGN;
            return;
        }
    }
}

struct ir_ins *tr_op(struct trans *t, enum ir_op op, unsigned size, struct tr_operand d, struct tr_operand a)
{
    const struct insn *in = t->u->guest[t->gi];
    struct ir_ins *ins = ir_add(t->u, op, size, d.v, a.v);
    place(ins, d);
    place(ins, a);
    ins->fdef &= insn_rows[in->row].writes;
    if (in->lock && d.v == IR_MEM)
        tr_lock(t, ins);
    return ins;
}

ir_val tr_load(struct trans *t, unsigned size, struct tr_operand a)
{
    ir_val v = ir_temp(t->u);
    struct ir_ins *ins = ir_add(t->u, size == 8 ? IR_OP_mov : IR_OP_movzx, 8, v, a.v);
    if (size < 8)
        ins->size2 = (u8)size;
    place(ins, a);
    return v;
}
