/* target.c - the AArch64 backend as jit/backend.h wants it.
 */
#include "jit/aarch64/emit.h"
#include "jit/jit_private.h"

#include <string.h>

static bool emit(struct jit *j, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room)
{
    return emit_unit(j, j->rw, u, out, at, room);
}

static void write_insn(struct jit *j, u32 at, u32 insn)
{
    u32 old;
    memcpy(&old, j->rw + at, 4);
    if (old == insn)
        return;
    memcpy(j->rw + at, &insn, 4);
    code_changed(j, at, 4);
}

/* A conditional branch that does not reach `to` goes by the island in front of the stub. */
static void patch(struct jit *j, const struct code_link *link, u32 to)
{
    const u32 island = link->stub - 4;
    u32 insn, jump = 0x14000000;
    memcpy(&insn, j->rw + link->at, 4);
    if (!branch_reaches(insn, link->at, to, &insn)) {
        if (!branch_reaches(jump, island, to, &jump) || !branch_reaches(insn, link->at, island, &insn))
            return;     /* an unconditional one beyond 128 MiB: it keeps its stub */
        write_insn(j, island, jump);
    }
    write_insn(j, link->at, insn);
}

/* See emit.h for the form. */
static u32 flags_get(const struct vcpu *c)
{
    const u32 f = c->jit.flags, result = (u32)c->jit.flag_a, operands = (u32)(c->jit.flag_a >> 32);
    return (f >> 31 & 1 ? EFL_SF : 0) | (f >> 30 & 1 ? EFL_ZF : 0) | (f >> 29 & 1 ? EFL_CF : 0) | (f >> 28 & 1 ? EFL_OF : 0) |
           (__builtin_parity(result & 0xff) ? 0 : EFL_PF) | ((result ^ operands) & 16 ? EFL_AF : 0);
}
static void put_flags(struct vcpu *c, u32 eflags)
{
    c->jit.flags = (eflags & EFL_SF ? 1u << 31 : 0) | (eflags & EFL_ZF ? 1u << 30 : 0) | (eflags & EFL_CF ? 1u << 29 : 0) |
                   (eflags & EFL_OF ? 1u << 28 : 0);
    c->jit.flag_a = (eflags & EFL_PF ? 0 : 1) | (eflags & EFL_AF ? (u64)16 << 32 : 0);
}

bool host_has_all, host_has_none;

const struct backend host_backend = {
    .name = "AArch64",
    .init = entry_init,
    .emit = emit,
    .can_insn = insn_can,
    .enter = entry_enter,
    .underflow = &underflow_code,
    .set_returns = entry_set_returns,
    .patch = patch,
    .flags_get = flags_get,
    .flags_put = put_flags,
    .group_pointers = 3,
    .self_checks = true,
    .aligned_locks = true,
    .kept_pointers = JIT_POINTERS,
};
