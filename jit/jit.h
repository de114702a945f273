/* jit.h - the translator as others see it.
 *
 * jit/ turns hot guest code into host code: decode (cpu/) -> translate.c -> IR -> passes -> backend -> code cache ->
 * dispatch.c, which runs it. A vCPU has either none (the interpreter alone) or one translator. Everything happens on the
 * vCPU's thread.
 */
#ifndef SHADOW86_JIT_H
#define SHADOW86_JIT_H

#include <stdio.h>

#include "cpu/types.h"

struct vcpu;

/* Keys of -accel jit,key=value: one row each, JIT_OPTION(name, default, text). on/off ones are 1/0. */
#define JIT_OPTIONS(X) \
    X(chain, 1, "on|off: jump from unit to unit without the dispatcher") \
    X(cross, 1, "on|off: chain across pages") \
    X(returns, 1, "on|off: pair returns with their calls") \
    X(indirect, 1, "on|off: look up indirect branches in translated code") \
    X(liveness, 1, "on|off: drop flags that the direct successors overwrite") \
    X(exactflags, 0, "on|off: keep flags that nobody reads for exception and interrupt frames") \
    X(sites, 1, "on|off: remember the last page at each access") \
    X(group, 1, "on|off: one check for accesses off the same base") \
    X(super, 1, "on|off: units that go on through branches") \
    X(self, 3, "N: code checks itself where code has been overwritten N times (0: never, 1: all code does)") \
    X(vec, 1, "on|off: SSE and AVX on the host's vector unit") \
    X(x87, 1, "on|off: x87 on the host's") \
    X(hot, 2, "N: executions by the interpreter before code is translated") \
    X(ripe, 64, "N: the same for code that is often overwritten, between changes") \
    X(hotter, 500, "N: executions before a unit is made again as a superblock") \
    X(cache, 128, "N: MiB of code cache") \
    X(oldest, 1, "on|off: a full cache loses its oldest part, not all") \
    X(tlb, 1, "on|off: the TLB grows and shrinks with what is used") \
    X(granules, 1, "on|off: large pages have entries of 2 MiB in the TLB") \
    X(limit, 0, "N: translate only the first N units (0: all)") \
    X(count, 0, "on|off: count executed instructions exactly") \
    X(verify, 0, "on|off: check the IR of every unit") \
    X(check, 0, "on|off: run the interpreter in lockstep, stop at the first difference") \
    X(sample, 64, "N: check: a unit that has agreed N times is compared once in N times from then on; 0: every time")
struct jit_options {
#define X(name, value, text) u32 name;
    JIT_OPTIONS(X)
#undef X
    char stats[256];        /* file for the counters at exit, "" for none */
    char skip[64];          /* a pass to leave out */
    char dump[256];         /* check: where to save the reproducer */
};
/* Fills o with the defaults, then with "key=value,key=value" (may be NULL). False: one line in err names the key. */
bool jit_options_parse(struct jit_options *o, const char *text, char *err, size_t errlen);
void jit_options_help(FILE *to);

bool jit_available(void);   /* there is a backend for this host */
/* Gives c a translator; from then on cpu_run uses it. False: one line in err. */
bool jit_new(struct vcpu *c, const struct jit_options *o, char *err, size_t errlen);
void jit_free(struct vcpu *c);          /* writes the statistics */
void jit_run(struct vcpu *c);           /* cpu_run with a translator: as interp_run */
/* Name and value of every counter. */
void jit_stats(struct vcpu *c, void (*item)(void *ctx, const char *name, u64 value), void *ctx);

#endif
