/* cpu_machine.h - a machine for tests of the privileged architecture: one CPU, 4 MiB of RAM, a host that records.
 *
 * Layout: GDT at 0x1000, IDT at 0x2000, TSS at 0x3000, a second TSS at 0x3800, LDT at 0x4000, page tables from 0x5000,
 * inner stack below 0x20000, code at 0x10000, outer stack below 0x30000. Handler of vector n: HANDLER(n), in code that
 * never runs. Everything in static functions, so that a suite is one program.
 */
#ifndef SHADOW86_TESTS_CPU_MACHINE_H
#define SHADOW86_TESTS_CPU_MACHINE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/vcpu.h"

enum { GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, TSS2 = 0x3800, LDT = 0x4000, TABLES = 0x5000, CODE = 0x10000,
       STACK0 = 0x20000, STACK3 = 0x30000, DATA = 0x40000, RAM_SIZE = 4 << 20 };
#define HANDLER(n) (0x8000u + (n) * 16u)

/* Selectors of the GDT that machine_protected makes. */
enum { S_CODE = 0x08, S_DATA = 0x10, S_CODE3 = 0x18, S_DATA3 = 0x20, S_TSS = 0x28, S_LDT = 0x30, S_GATE = 0x38,
       S_CONF = 0x40, S_ABSENT = 0x48, S_TSS2 = 0x50, S_RO = 0x58, S_TASKGATE = 0x60, S_CODE64 = 0x68, S_CODE16 = 0x70,
       S_DATA16 = 0x78, S_XONLY = 0x80, S_TSS16 = 0x88, S_GDT_END = 0x98 };

struct machine {
    struct ram *ram;
    struct physmap *map;
    struct region region;
    struct vcpu *cpu;
    int vector;                 /* what interrupt_ack answers */
    unsigned shutdowns, waits;
    u16 port;
    u32 port_value;
    u64 tsc;
};
static struct machine m;
#define C (m.cpu)

static u32 host_in(void *ctx, u16 port, unsigned bytes) { m.port = port; return m.port_value; }
static void host_out(void *ctx, u16 port, unsigned bytes, u32 v) { m.port = port; m.port_value = v; }
static int host_ack(void *ctx) { int v = m.vector; cpu_clear_request(C, CPU_INTR); m.vector = -1; return v; }
static u64 host_tsc(void *ctx) { return m.tsc; }
static void host_wait(void *ctx) { m.waits++; cpu_request(C, CPU_STOP); }
static void host_shutdown(void *ctx) { m.shutdowns++; }
static const struct cpu_host host = { .port_in = host_in, .port_out = host_out, .interrupt_ack = host_ack, .tsc = host_tsc,
                                      .wait = host_wait, .shutdown = host_shutdown };

static inline void put(u32 a, unsigned bytes, u64 v) { physmap_write(m.map, a, &v, bytes); }
static inline u64 get(u32 a, unsigned bytes) { u64 v = 0; physmap_read(m.map, a, &v, bytes); return v; }

static inline u64 make_descriptor(u32 base, u32 limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 |
        (u64)flags << 52 | (u64)(base >> 24) << 56;
}
static inline u64 make_gate(u16 sel, u32 offset, unsigned access, unsigned count)
{
    return (offset & 0xffff) | (u64)sel << 16 | (u64)count << 32 | (u64)access << 40 | (u64)(offset >> 16) << 48;
}
static inline void set_descriptor(u16 sel, u64 d) { put(GDT + (sel & ~7u), 8, d); }
static inline void set_gate(u8 vector, u64 g) { put(IDT + vector * 8u, 8, g); }

static inline void machine_new(const char *model)
{
    char err[256] = "";
    memset(&m, 0, sizeof m);
    m.vector = -1;
    m.ram = ram_new(RAM_SIZE, err, sizeof err);
    ck_assert_msg(m.ram, "%s", err);
    m.map = physmap_new();
    m.region = (struct region){ .name = "ram", .size = RAM_SIZE, .kind = REGION_RAM, .enabled = true, .ram = m.ram };
    physmap_add(m.map, &m.region);
    m.cpu = vcpu_new(model, m.map, &host, NULL, err, sizeof err);
    ck_assert_msg(m.cpu, "%s", err);
}

static inline void machine_free(void)
{
    vcpu_free(m.cpu);
    physmap_free(m.map);
    ram_free(m.ram);
}

static inline void code(const void *bytes, unsigned n) { physmap_write(m.map, CODE, bytes, n); }
#define CODE_BYTES(...) code((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))
static inline void step(unsigned n) { while (n--) cpu_step(C); }
/* Runs these bytes at CODE as one instruction. */
#define RUN(...) do { CODE_BYTES(__VA_ARGS__); C->rip = CODE; cpu_step(C); } while (0)

/* 16-bit code at 0:CODE does not exist: real mode tests run at CODE >> 4 : 0. */
static inline void machine_real(void)
{
    machine_new("max");
    segment_set_real(C, SEG_CS, CODE >> 4);
    segment_set_real(C, SEG_SS, 0x1000);
    segment_set_real(C, SEG_DS, 0);
    C->rip = 0;
    C->rsp = 0xf000;
    for (unsigned i = 0; i < 256; i++)
        put(i * 4, 4, HANDLER(i) >> 4 << 16);
}

static inline void make_gdt(void)
{
    set_descriptor(S_CODE, make_descriptor(0, 0xfffff, 0x9b, 0xc));
    set_descriptor(S_DATA, make_descriptor(0, 0xfffff, 0x93, 0xc));
    set_descriptor(S_CODE3, make_descriptor(0, 0xfffff, 0xfb, 0xc));
    set_descriptor(S_DATA3, make_descriptor(0, 0xfffff, 0xf3, 0xc));
    set_descriptor(S_TSS, make_descriptor(TSS, 0x2067, 0x8b, 0));
    set_descriptor(S_LDT, make_descriptor(LDT, 0xff, 0x82, 0));
    set_descriptor(S_GATE, make_gate(S_CODE, HANDLER(0x80), 0xec, 0));
    set_descriptor(S_CONF, make_descriptor(0, 0xfffff, 0x9f, 0xc));
    set_descriptor(S_ABSENT, make_descriptor(0, 0xfffff, 0x73, 0xc));
    set_descriptor(S_TSS2, make_descriptor(TSS2, 0x67, 0x89, 0));
    set_descriptor(S_RO, make_descriptor(0, 0xfffff, 0x91, 0xc));
    set_descriptor(S_TASKGATE, make_gate(S_TSS2, 0, 0xe5, 0));
    set_descriptor(S_CODE64, make_descriptor(0, 0xfffff, 0x9b, 0xa));
    set_descriptor(S_CODE16, make_descriptor(0, 0xffff, 0x9b, 0));
    set_descriptor(S_DATA16, make_descriptor(0, 0xffff, 0x92, 0));
    set_descriptor(S_XONLY, make_descriptor(0, 0xfffff, 0x99, 0xc));
    set_descriptor(S_TSS16, make_descriptor(TSS2, 0x2b, 0x81, 0));
}

/* 32-bit protected mode at CPL 0, no paging, interrupt gates of DPL 0 for all vectors (3, 4 and 0x80: DPL 3). */
static inline void machine_protected(void)
{
    struct cpu_flat_start s = { .eip = CODE, .esp = STACK0, .cs = S_CODE, .ds = S_DATA, .gdt_base = GDT,
                                .gdt_limit = S_GDT_END - 1 };
    machine_new("max");
    make_gdt();
    cpu_start_flat(C, &s);
    for (unsigned i = 0; i < 256; i++)
        set_gate((u8)i, make_gate(S_CODE, HANDLER(i), i == 3 || i == 4 || i == 0x80 ? 0xee : 0x8e, 0));
    C->idtr.base = IDT;
    C->idtr.limit = 0x7ff;
    put(TSS + 4, 4, STACK0);
    put(TSS + 8, 4, S_DATA);
    put(TSS + 102, 2, 0x68);
    C->tr = (struct segment){ .base = TSS, .limit = 0x2067, .sel = S_TSS, .attr = 0x8b };
}

/* As if the kernel had returned to CPL 3. */
static inline void enter_user(void)
{
    C->cpl = 3;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        C->seg[i].sel = i == SEG_CS ? S_CODE3 | 3 : S_DATA3 | 3;
        C->seg[i].attr |= SEG_DPL;
    }
    C->rsp = STACK3;
    segment_refresh(C);
}

static inline u32 stack32(unsigned slot) { return (u32)get((u32)C->rsp + slot * 4, 4); }

/* The handler of `vector` is about to run, with this error code. */
static inline void check_fault(unsigned vector, u32 error, int line)
{
    ck_assert_msg(C->rip == HANDLER(vector), "line %d: rip %llx instead of handler %u at %x (last fault %u error %x)", line,
        (unsigned long long)C->rip, vector, HANDLER(vector), C->exc.vector, C->exc.error);
    if (C->code_size == 4)
        ck_assert_msg(stack32(0) == error, "line %d: error code %x instead of %x", line, stack32(0), error);
}
#define FAULT(vector, error) check_fault(vector, error, __LINE__)
#define AT(address) ck_assert_msg(C->rip == (address), "rip %llx instead of %llx", (unsigned long long)C->rip, \
    (unsigned long long)(address))

static inline int run_suite(Suite *s)
{
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
