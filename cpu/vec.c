/* vec.c - operands and commit of vector instructions. The contract is in vec.h. */
#include "cpu/vec.h"

#define X87_SW_TOP 0x3800

void vec_mmx_commit(struct vcpu *c, const struct insn *in)
{
    if (in->op[0].kind == OP_MMX || in->op[1].kind == OP_MMX) {
        c->x87.sw &= (u16)~X87_SW_TOP;
        c->x87.empty = 0;
    }
}

union vec vec_xmm(const struct vcpu *c, const struct insn *in, unsigned i)
{
    union vec v = c->vec[in->op[i].reg];
    v.q[2] = v.q[3] = 0;
    return v;
}

bool vec_read_scalar(struct vcpu *c, const struct insn *in, unsigned i, u64 *v)
{
    if (in->op[i].kind != OP_GPR)
        return operand_read(c, in, i, v);
    *v = c->gpr[in->op[i].reg];
    return true;
}

bool vec_write(struct vcpu *c, const struct insn *in, const union vec *v)
{
    if (in->op[0].kind == OP_GPR)
        c->gpr[in->op[0].reg] = in->op[0].size == 8 ? v->q[0] : v->d[0];
    else if (!operand_write_vec(c, in, 0, v))
        return false;
    vec_mmx_commit(c, in);
    return true;
}

bool vec_check_aligned(struct vcpu *c, const struct insn *in, unsigned bytes, enum access access)
{
    gla a;
    if (!mem_linear(c, in->seg, operand_ea(c, in), bytes, access, &a))
        return false;
    return a % bytes == 0 || cpu_fault_code(c, EXC_GP, 0);
}
