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
static u32 flags_get(const struct vcpu *c)
{
    return (c->jit.flags >> 8 & (EFL_STATUS & 0xff)) | (c->jit.flags & 1 ? EFL_OF : 0);
}
static void flags_put(struct vcpu *c, u32 eflags)
{
    c->jit.flags = (eflags & (EFL_STATUS & 0xff)) << 8 | (eflags & EFL_OF ? 1 : 0);
}

const struct backend host_backend = {
    .name = "x86-64",
    .init = entry_init,
    .emit = emit,
    .can_insn = insn_can,
    .enter = entry_enter,
    .patch = patch,
    .flags_get = flags_get,
    .flags_put = flags_put,
    .group_pointers = 1,
};
