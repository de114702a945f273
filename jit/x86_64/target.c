/* target.c - the x86-64 backend as jit/backend.h wants it.
 */
#include "jit/jit_private.h"
#include "jit/x86_64/emit.h"

#include <string.h>

static bool emit(struct jit *j, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room)
{
    return emit_unit(j, j->rw, u, out, at, room);
}

static void patch(struct jit *j, const struct code_link *link, u32 to)
{
    u32 distance = to - (link->at + 4);
    memcpy(j->rw + link->at, &distance, sizeof distance);
}

/* See emit_flags.c for the form. */
static u32 computed_flags(const struct vcpu *c)
{
    unsigned how = (u8)c->jit.flags - FLAG_FIRST, kind = how >> FLAG_KIND_SHIFT, top = (8u << (how & 3)) - 1;
    u64 mask = ~(u64)0 >> (63 - top), a = c->jit.flag_a, b = c->jit.flag_b, r, carries;
    if (!(how & FLAG_B))
        b = (u64)(s64)((s32)c->jit.flags >> FLAG_IMM_SHIFT);
    switch (kind) {
    case FLAG_ADD: r = a, a -= b, carries = (a & b) | ((a | b) & ~r); break;
    case FLAG_SUB: r = a, a += b, carries = (~a & b) | ((~a | b) & r); break;
    case FLAG_CMP: r = a - b, carries = (~a & b) | ((~a | b) & r); break;
    default: r = a, carries = 0;
    }
    u32 f = (carries >> top & 1 ? EFL_CF : 0) | (carries >> 3 & 1 ? EFL_AF : 0) | (r >> top & 1 ? EFL_SF : 0);
    if (top && (carries >> top ^ carries >> (top - 1)) & 1)
        f |= EFL_OF;
    return f | (r & mask ? 0 : EFL_ZF) | (__builtin_parity(r & 0xff) ? 0 : EFL_PF);
}

static u32 flags_get(const struct vcpu *c)
{
    if ((u8)c->jit.flags >= FLAG_FIRST)
        return computed_flags(c);
    return (c->jit.flags >> 8 & (EFL_STATUS & 0xff)) | (c->jit.flags & 1 ? EFL_OF : 0);
}
static void flags_put(struct vcpu *c, u32 eflags)
{
    c->jit.flags = (eflags & (EFL_STATUS & 0xff)) << 8 | (eflags & EFL_OF ? 1 : 0);
}

bool host_has_all, host_has_none;

const struct backend host_backend = {
    .name = "x86-64",
    .init = entry_init,
    .emit = emit,
    .can_insn = insn_can,
    .enter = entry_enter,
    .underflow = &underflow_code,
    .set_returns = entry_set_returns,
    .patch = patch,
    .flags_get = flags_get,
    .flags_put = flags_put,
    .group_pointers = 1,
    .kept_pointers = JIT_POINTERS,
    .self_checks = true,
    .plain_links = true,
};
