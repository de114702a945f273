/* interp_mmx.c - what exists only with MMX registers: EMMS, moves between MMX and XMM, PSHUFW, MOVNTQ, MASKMOVQ.
 *
 * The MMX forms of everything else share their functions with SSE (interp_sse_*.c); vec_write gives every one of them
 * MMX's effect on the x87 unit. SDM 1 chapter 9, SDM 3A chapter 13.
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

/* SDM 3A table 13-1: all tags empty, TOP 0, everything else unchanged. */
bool in_emms(struct vcpu *c, const struct insn *in)
{
    c->x87.sw &= (u16)~0x3800;
    c->x87.empty = 0xff;
    return true;
}

/* One whole source to the destination, zero-extended by the reads. */
static bool copy(struct vcpu *c, const struct insn *in)
{
    union vec v;
    return operand_read_vec(c, in, 1, &v) && vec_write(c, in, &v);
}

bool in_movq2dq(struct vcpu *c, const struct insn *in)
{
    return copy(c, in);
}

bool in_movdq2q(struct vcpu *c, const struct insn *in)
{
    return copy(c, in);
}

bool in_movntq(struct vcpu *c, const struct insn *in)
{
    return copy(c, in);
}

bool in_pshufw(struct vcpu *c, const struct insn *in)
{
    union vec s, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned i = 0; i < 4; i++)
        r.w[i] = s.w[vec_imm(in) >> 2 * i & 3];
    return vec_write(c, in, &r);
}
