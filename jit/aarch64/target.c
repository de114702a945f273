/* target.c - AArch64 hosts: there is no backend yet. The interpreter runs everything (frontend/main.c says so).
 */
#include "jit/backend.h"

static bool can_insn(const struct insn *in) { return false; }

const struct backend host_backend = { .name = "none", .can_insn = can_insn };

void jit_reset_returns(struct vcpu *c) {}
void jit_returns_push(struct vcpu *c) {}
void jit_returns_pop(struct vcpu *c) {}
