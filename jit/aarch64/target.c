/* target.c - AArch64 hosts: there is no backend yet. The interpreter runs everything (frontend/main.c says so).
 */
#include "jit/backend.h"

const struct backend host_backend = { .name = "none" };

void jit_reset_returns(struct vcpu *c) {}
void jit_returns_push(struct vcpu *c) {}
void jit_returns_pop(struct vcpu *c) {}
