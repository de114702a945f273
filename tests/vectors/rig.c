/* rig.c - a CPU with RAM and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vectors/vectors.h"

static u32 port_in(void *ctx, u16 port, unsigned bytes) { return 0xffffffff; }
static void port_out(void *ctx, u16 port, unsigned bytes, u32 value) {}
static int interrupt_ack(void *ctx) { return -1; }
static u64 tsc(void *ctx) { return 0; }
static void nothing(void *ctx) {}
static u64 read_msr(void *ctx, u32 msr) { return 0; }
static void write_msr(void *ctx, u32 msr, u64 value) {}
static void set_base(void *ctx, u64 base) {}
static void ferr(void *ctx, bool level) {}

static const struct cpu_host host = {
    .port_in = port_in, .port_out = port_out, .interrupt_ack = interrupt_ack, .tsc = tsc, .wait = nothing, .timer_due = nothing,
    .apic_read_msr = read_msr, .apic_write_msr = write_msr, .apic_set_base = set_base, .ferr = ferr, .shutdown = nothing,
};

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

bool rig_run_to_halt(struct rig *r, unsigned limit)
{
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
