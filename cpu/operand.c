/* operand.c - operands of any kind: the general path of operand.h. SDM 2 chapter 2. */
#include "cpu/flags.h"
#include "cpu/operand.h"

bool operand_read(struct vcpu *c, const struct insn *in, unsigned i, u64 *v)
{
    const struct operand *o = &in->op[i];
    switch (o->kind) {
    case OP_GPR: *v = gpr_read(c, o->reg, o->size); return true;
    case OP_GPRH: *v = gpr_read8(c, o); return true;
    case OP_MEM: return mem_read(c, in->seg, operand_ea(c, in), o->size, v);
    case OP_IMM: *v = flags_truncate(o->size, o->reg ? in->imm2 : in->imm); return true;
    case OP_SREG: *v = c->seg[o->reg].sel; return true;
    default: return cpu_fault(c, EXC_UD);
    }
}

bool operand_write(struct vcpu *c, const struct insn *in, unsigned i, u64 v)
{
    const struct operand *o = &in->op[i];
    switch (o->kind) {
    case OP_GPR: gpr_write(c, o->reg, o->size, v); return true;
    case OP_GPRH: gpr_write8(c, o, (u8)v); return true;
    case OP_MEM: return mem_write(c, in->seg, operand_ea(c, in), o->size, v);
    default: return cpu_fault(c, EXC_UD);
    }
}

bool operand_rmw(struct vcpu *c, const struct insn *in, unsigned i, u64 *v)
{
    const struct operand *o = &in->op[i];
    if (o->kind == OP_MEM && !mem_probe_write(c, in->seg, operand_ea(c, in), o->size))
        return false;
    return operand_read(c, in, i, v);
}

/* --- vectors -------------------------------------------------------------------------------------------------- */

/* Rows say which forms want their memory operand aligned; the linear address counts. */
static bool vec_aligned(const struct vcpu *c, const struct insn *in, const struct operand *o, u64 ea)
{
    u32 attr = insn_rows[in->row].attr;
    if (o->size < 16 || !(attr & (in->vex ? ATTR_VALIGN : ATTR_ALIGN)))
        return true;
    u64 base = in_64bit_mode(c) && in->seg < SEG_FS ? 0 : c->seg[in->seg].base;
    return !((ea + base) & (o->size - 1u));
}

static bool read_vec_memory(struct vcpu *c, const struct insn *in, const struct operand *o, union vec *v)
{
    u64 ea = operand_ea(c, in);
    if (!vec_aligned(c, in, o, ea))
        return cpu_fault_code(c, EXC_GP, 0);
    return mem_read_buf(c, in->seg, ea, v, o->size);
}

bool operand_read_vec(struct vcpu *c, const struct insn *in, unsigned i, union vec *v)
{
    const struct operand *o = &in->op[i];
    union vec t = { { 0 } };
    unsigned bytes = o->size <= sizeof(t) ? o->size : sizeof(t);
    switch (o->kind) {
    case OP_VEC: memcpy(&t, &c->vec[o->reg], bytes); break;
    case OP_MMX: memcpy(&t, &c->x87.r[o->reg & 7].mant, bytes < 8 ? bytes : 8); break;
    case OP_GPR: t.q[0] = gpr_read(c, o->reg, o->size); break;
    case OP_MEM:
        if (o->size > sizeof(t))
            return cpu_fault(c, EXC_UD);
        if (!read_vec_memory(c, in, o, &t))
            return false;
        break;
    default: return cpu_fault(c, EXC_UD);
    }
    *v = t;
    return true;
}

static bool write_vec_memory(struct vcpu *c, const struct insn *in, const struct operand *o, const union vec *v)
{
    u64 ea = operand_ea(c, in);
    if (o->size > sizeof(*v))
        return cpu_fault(c, EXC_UD);
    if (!vec_aligned(c, in, o, ea))
        return cpu_fault_code(c, EXC_GP, 0);
    return mem_write_buf(c, in->seg, ea, v, o->size);
}

bool operand_write_vec(struct vcpu *c, const struct insn *in, unsigned i, const union vec *v)
{
    const struct operand *o = &in->op[i];
    switch (o->kind) {
    case OP_VEC:
        memcpy(&c->vec[o->reg], v, in->vl == 32 ? 32 : 16);
        if (in->vex && in->vl < 32)
            memset(&c->vec[o->reg].q[2], 0, 16);
        return true;
    case OP_MMX:
        c->x87.r[o->reg & 7].mant = v->q[0];
        c->x87.r[o->reg & 7].se = 0xffff;
        return true;
    case OP_GPR: gpr_write(c, o->reg, o->size, v->q[0]); return true;
    case OP_MEM: return write_vec_memory(c, in, o, v);
    default: return cpu_fault(c, EXC_UD);
    }
}
