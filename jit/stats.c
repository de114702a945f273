/* stats.c - counters: what the translator did, how code was left and why, which instructions the interpreter had to run.
 *
 * Names are those of JIT_COUNTERS; interp_<mnemonic> counts instructions that code left to the interpreter, whether it went on
 * behind them or not. Executed instructions are told only where they are counted (count=on, -icount). Reasons (not_translated_...) count places in translated code, not executions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jit/jit_private.h"

u64 jit_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

void stats_reason(struct jit *j, const char *why)
{
    for (unsigned i = 0; why && i < REASONS; i++) {
        if (!j->reason[i].why)
            j->reason[i].why = why;
        if (j->reason[i].why != why)
            continue;
        j->reason[i].n++;
        return;
    }
}

struct item { void (*item)(void *ctx, const char *name, u64 value); void *ctx; };

/* "interp_" + mnemonic, spaces and the like as underscores. */
static void named(const struct item *to, const char *prefix, const char *name, u64 value)
{
    char text[96];
    snprintf(text, sizeof text, "%s_%s", prefix, name);
    for (char *p = text; *p; p++)
        if (*p == ' ')
            *p = '_';
    to->item(to->ctx, text, value);
}

/* Rows of the same mnemonic together, where the first of them stands. */
static void by_mnemonic(const struct jit *j, const struct item *to)
{
    for (unsigned i = 0; i < insn_row_count; i++) {
        u64 n = 0;
        bool first = true;
        for (unsigned k = 0; k < i && first; k++)
            first = strcmp(insn_rows[k].name, insn_rows[i].name);
        for (unsigned k = i; k < insn_row_count && first; k++)
            if (!strcmp(insn_rows[k].name, insn_rows[i].name))
                n += j->interpreted[k];
        if (n)
            named(to, "interp", insn_rows[i].name, n);
    }
}

void jit_stats(struct vcpu *c, void (*item)(void *ctx, const char *name, u64 value), void *ctx)
{
    const struct jit *j = jit_of(c);
    const struct item to = { item, ctx };
    if (!j)
        return;
    if (j->opt.count || c->icount_limit != UINT64_MAX) {
        item(ctx, "insns_executed", c->icount);
        item(ctx, "host_insns_executed", c->jit.host_insns);
        item(ctx, "host_checks_executed", c->jit.host_checks);
    }
#define X(name) item(ctx, #name, j->count.name);
    JIT_COUNTERS(X)
#undef X
    item(ctx, "code_cache_bytes", codecache_used(j));
    for (unsigned i = 0; i < REASONS && j->reason[i].why; i++)
        named(&to, "not_translated", j->reason[i].why, j->reason[i].n);
    by_mnemonic(j, &to);
}

static void print_item(void *ctx, const char *name, u64 value)
{
    fprintf(ctx, "%s %llu\n", name, (unsigned long long)value);
}

void stats_write(struct jit *j)
{
    if (!*j->opt.stats)
        return;
    FILE *f = fopen(j->opt.stats, "we");
    if (!f) {
        fprintf(stderr, "shadow86: stats=%s: cannot be written\n", j->opt.stats);
        return;
    }
    jit_stats(j->cpu, print_item, f);
    fclose(f);
}
