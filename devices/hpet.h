/* hpet.h - high precision event timer: 64-bit counter at 100 MHz, three comparators.
 *
 * pc.c fills the hooks and maps the page with bus_map_mmio, then calls hpet_set_region for 64-bit accesses.
 */
#ifndef SHADOW86_HPET_H
#define SHADOW86_HPET_H

#include "devices/device.h"

#define HPET_BASE 0xfed00000u
#define HPET_HZ 100000000u
enum { HPET_TIMERS = 3 };

struct hpet_timer {
    struct hpet *hpet;
    u32 config;             /* low half of the configuration register */
    u64 comparator, period;
    u64 seen;               /* the counter when the comparator was last known to lie ahead */
    bool line;              /* level driven for it */
    struct timer timer;
};

struct hpet {
    struct device dev;
    struct irq pin[24];     /* I/O APIC inputs */
    struct irq legacy[2];   /* IRQ 0 and IRQ 8 in legacy replacement mode */
    void (*legacy_mode)(void *ctx, bool on);    /* on: disconnects the PIT and the RTC from them */
    void *ctx;
    /* private */
    u64 config, status;
    u64 count;              /* main counter when it last stopped */
    u64 start_ns;           /* when it was started; counts while config bit 0 is set */
    struct hpet_timer timers[HPET_TIMERS];
};

extern const struct device_class hpet_class;

void hpet_set_region(struct hpet *h, struct region *r);

#endif
