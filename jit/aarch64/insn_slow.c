/* insn_slow.c - floating-point instructions that the host's do not do as x86 does: a NaN that is made or was signalling, denormals,
 * overflow, underflow, division by zero. Translated code sees that by FPSR before it has changed a register (insn.c), and the
 * interpreter's function does all of the instruction again.
 */
#include "jit/aarch64/insn.h"

#include "cpu/flags.h"

static bool names(const struct insn *in, unsigned reg)
{
    for (unsigned i = 0; i < 4; i++)
        if (in->op[i].kind == OP_VEC && in->op[i].reg == reg)
            return true;
    return false;
}

/* All state is in the vCPU. What was read of memory stands in for an operand there, by way of a register that the instruction does
 * not name: general registers need not be what they were. */
void insn_slow(struct vcpu *c, const struct code_call *call, const union vec *memory)
{
    struct insn in = call->in;
    unsigned spare = 0;
    while (names(&in, spare))
        spare++;
    const union vec keep = c->vec[spare];
    for (unsigned i = 0; i < 4; i++)
        if (in.op[i].kind == OP_MEM) {
            in.op[i].kind = OP_VEC;
            in.op[i].reg = (u8)spare;
            c->vec[spare] = *memory;
        }
    insn_rows[in.row].run(c, &in);
    c->vec[spare] = keep;
}

/* COMIS, UCOMIS: returns NZCV with C the inverse of CF; PF and AF are where the backend keeps them. */
u64 insn_slow_compare(struct vcpu *c, const struct code_call *call, const union vec *memory)
{
    insn_slow(c, call, memory);
    const u32 status = flags_status(c);
    c->jit.flag_a = status & EFL_PF ? 0 : 1;
    return (status & EFL_ZF ? (u64)1 << 30 : 0) | (status & EFL_CF ? 0 : (u64)1 << 29);
}
