/* lapic.h - local APIC of one CPU, and the bus that joins it to other local APICs and the I/O APIC.
 *
 * pc.c fills bus, id, bsp, mmio and the hooks. SDM 3A chapter 11 (xAPIC and x2APIC).
 */
#ifndef SHADOW86_LAPIC_H
#define SHADOW86_LAPIC_H

#include "devices/device.h"

#define LAPIC_BASE 0xfee00000u
#define LAPIC_MAX_CPUS 8

enum lapic_delivery { LAPIC_FIXED, LAPIC_LOWEST, LAPIC_SMI, LAPIC_REMOTE_READ, LAPIC_NMI, LAPIC_INIT, LAPIC_SIPI,
                      LAPIC_EXTINT };
enum { LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,
       LAPIC_LVTS };

struct lapic_message { u32 dest; u8 vector; enum lapic_delivery mode; bool logical, level; };

struct lapic;
struct lapic_bus {
    struct lapic *cpu[LAPIC_MAX_CPUS];
    unsigned count;
    void (*eoi)(void *ctx, u8 vector);      /* end of a level-triggered interrupt: the I/O APIC */
    void *eoi_ctx;
};

struct lapic {
    struct device dev;
    struct lapic_bus *bus;
    u32 initial_id;
    bool bsp;
    struct region *mmio;            /* the register page; moved by lapic_set_base */
    struct irq intr;                /* INTR of the CPU: a vector or an ExtINT waits */
    void (*nmi)(void *ctx);
    void (*init)(void *ctx);
    void (*sipi)(void *ctx, u8 vector);
    void *ctx;
    /* private */
    u64 base;                       /* IA32_APIC_BASE */
    u32 id, tpr, ldr, dfr, svr, esr, esr_pending;
    u64 icr;
    u32 lvt[LAPIC_LVTS];
    u32 irr[8], isr[8], tmr[8];
    bool lint[2];                   /* levels of the pins */
    bool extint;                    /* an ExtINT message waits */
    u32 divide, initial_count;
    u64 count_start;                /* ns when the count was loaded */
    u64 tsc_deadline;               /* TSC before TSC_ADJUST; 0: disarmed */
    struct timer timer;
};

extern const struct device_class lapic_class;

void lapic_bus_send(struct lapic_bus *b, const struct lapic_message *m);
void lapic_set_base(struct lapic *l, u64 base);         /* IA32_APIC_BASE was written */
void lapic_init_reset(struct lapic *l);                 /* INIT#: all but the ID */
void lapic_lint(struct lapic *l, unsigned pin, bool level);     /* LINT0: the 8259's INTR; LINT1: NMI */
/* The CPU takes an interrupt: a vector, LAPIC_ACK_EXTINT if the 8259 is to be asked, LAPIC_ACK_NONE. */
enum { LAPIC_ACK_NONE = -1, LAPIC_ACK_EXTINT = -2 };
int lapic_ack(struct lapic *l);
/* 800h-83fh, 6e0h (deadline before TSC_ADJUST), 808h as CR8 << 4 */
u64 lapic_read_msr(struct lapic *l, u32 msr);
void lapic_write_msr(struct lapic *l, u32 msr, u64 value);

#endif
