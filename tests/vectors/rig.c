/* rig.c - a CPU with RAM and nothing else, run by the engine of -accel.
 *
 * The interpreter goes step by step. With the translator, code runs until HLT waits. What does not come to its HLT is ended by
 * a limit of instructions where that is low (then units are not linked to each other), else by a timer.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "jit/jit.h"
#include "tests/vectors/vectors.h"

static u32 port_in(void *ctx, u16 port, unsigned bytes) { return 0xffffffff; }
static void port_out(void *ctx, u16 port, unsigned bytes, u32 value) {}
static int interrupt_ack(void *ctx) { return -1; }
static u64 tsc(void *ctx) { return 0; }
static void nothing(void *ctx) {}
static void stop(void *ctx) { cpu_request(((struct rig *)ctx)->cpu, CPU_STOP); }
static u64 read_msr(void *ctx, u32 msr) { return 0; }
static void write_msr(void *ctx, u32 msr, u64 value) {}
static void set_base(void *ctx, u64 base) {}
static void ferr(void *ctx, bool level) {}

static const struct cpu_host host = {
    .port_in = port_in, .port_out = port_out, .interrupt_ack = interrupt_ack, .tsc = tsc, .wait = stop, .timer_due = stop,
    .apic_read_msr = read_msr, .apic_write_msr = write_msr, .apic_set_base = set_base, .ferr = ferr, .shutdown = nothing,
};

static bool translated;
static struct jit_options jit;

bool rig_set_engine(const char *accel, char *err, size_t errlen)
{
    char keys[300];
    translated = strncmp(accel, "interp", 6);
    if (!translated)
        return true;
    bool check = !strncmp(accel, "check", 5);
    if (strncmp(accel, check ? "check" : "jit", check ? 5 : 3)) {
        snprintf(err, errlen, "no such engine; there are jit, check and interp");
        return false;
    }
    snprintf(keys, sizeof keys, "hot=0,cache=16,check=%s%s", check ? "on" : "off", accel + (check ? 5 : 3));
    return jit_options_parse(&jit, keys, err, errlen);
}

bool rig_translates(void) { return translated; }

struct rig *rig_new(const char *cpu_model)
{
    char err[300];
    struct rig *r = calloc(1, sizeof *r);
    if (!r || !(r->ram = ram_new(RIG_RAM_BYTES, err, sizeof err)))
        abort();
    r->phys = physmap_new();
    r->region = (struct region){ .name = "ram", .size = RIG_RAM_BYTES, .kind = REGION_RAM, .enabled = true, .ram = r->ram };
    physmap_add(r->phys, &r->region);
    physmap_set_a20(r->phys, true);
    r->cpu = vcpu_new(cpu_model, r->phys, &host, r, err, sizeof err);
    if (!r->cpu) {
        fprintf(stderr, "run-vectors: %s\n", err);
        exit(2);
    }
    if (translated && !jit_new(r->cpu, &jit, err, sizeof err)) {
        fprintf(stderr, "run-vectors: %s\n", err);
        exit(2);
    }
    return r;
}

void rig_free(struct rig *r)
{
    vcpu_free(r->cpu);
    physmap_free(r->phys);
    ram_free(r->ram);
    free(r);
}

void rig_write(struct rig *r, gpa a, const void *buf, size_t n) { physmap_write(r->phys, a, buf, n); }
void rig_read(struct rig *r, gpa a, void *buf, size_t n) { physmap_read(r->phys, a, buf, n); }

/* Steps of a case of one instruction, which may be each iteration of a REP; here they are one. */
enum { LIMIT_SHORT = 100000, LIMIT_TRANSLATED = 500 };
static struct vcpu *running;
static void too_long(int signal) { cpu_request(running, CPU_STOP); }

static bool run_translated(struct rig *r, unsigned limit)
{
    const struct itimerval seconds = { .it_value.tv_sec = 60 }, none = { 0 };
    running = r->cpu;
    if (limit <= LIMIT_SHORT)
        cpu_set_icount_limit(r->cpu, cpu_icount(r->cpu) + LIMIT_TRANSLATED);
    signal(SIGALRM, too_long);
    setitimer(ITIMER_REAL, &seconds, NULL);
    if (!r->cpu->halted)
        cpu_run(r->cpu);
    setitimer(ITIMER_REAL, &none, NULL);
    return r->cpu->halted;
}

bool rig_run_to_halt(struct rig *r, unsigned limit)
{
    if (translated)
        return run_translated(r, limit);
    for (unsigned i = 0; i < limit && !r->cpu->halted; i++)
        cpu_step(r->cpu);
    return r->cpu->halted;
}

void rig_enter_real_mode(struct rig *r)
{
    vcpu_reset(r->cpu);
    for (unsigned s = 0; s < SEG_COUNT; s++)
        segment_set_real(r->cpu, s, 0);
    segment_refresh(r->cpu);
}
