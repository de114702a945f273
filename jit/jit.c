/* jit.c - a vCPU's translator: made, put into the interpreter's place, taken away. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "cpu/icache.h"
#include "jit/jit_private.h"

static const struct cpu_engine engine = {
    .run = jit_run, .code_written = invalidate_written, .free = jit_free,
};

static void destroy(struct jit *j)
{
    check_free(j);
    codecache_free(j);
    units_free(j);
    self_free(j);
    free(j->interpreted);
    free(j);
}

bool jit_new_with(struct vcpu *c, const struct jit_options *o, const struct backend *backend, char *err, size_t errlen)
{
    struct jit *j = calloc(1, sizeof(*j));
    if (!j)
        goto no_memory;
    j->cpu = c;
    j->backend = backend;
    j->opt = *o;
    j->mode = ~0u;
    if (getrandom(&j->last_generation, sizeof j->last_generation, 0) != sizeof j->last_generation) {
        snprintf(err, errlen, "no random numbers from the host (getrandom)");
        destroy(j);
        return false;
    }
    c->jit.no_key = invalidate_next_generation(j);
    j->interpreted = calloc(insn_row_count, sizeof(*j->interpreted));
    if (!j->interpreted || !units_new(j))
        goto no_memory;
    if (!codecache_new(j, err, errlen)) {
        destroy(j);
        return false;
    }
    self_new(j);
    if (!o->check)
        icache_small(c);
    c->mmu.tlb_fixed = !o->tlb;
    c->mmu.tlb_no_granules = !o->granules;
    c->jit.jit = j;
    c->engine = &engine;
    return true;
no_memory:
    snprintf(err, errlen, "no memory for the translator");
    if (j)
        destroy(j);
    return false;
}

bool jit_available(void) { return host_backend.emit; }

bool jit_new(struct vcpu *c, const struct jit_options *o, char *err, size_t errlen)
{
    return jit_new_with(c, o, &host_backend, err, errlen);
}

void jit_free(struct vcpu *c)
{
    struct jit *j = jit_of(c);
    if (!j)
        return;
    stats_write(j);
    c->jit.jit = NULL;
    c->engine = NULL;
    destroy(j);
}
