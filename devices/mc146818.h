/* mc146818.h - real-time clock and CMOS RAM.
 *
 * pc.c fills irq and start_time and the configuration bytes, and maps the regions.
 */
#ifndef SHADOW86_MC146818_H
#define SHADOW86_MC146818_H

#include "devices/device.h"

enum mc146818_region {
    MC146818_REGION_STANDARD,   /* ports 70-71: clock and the first 128 bytes */
    MC146818_REGION_EXTENDED,   /* ports 72-73: another 128 bytes of RAM (PIIX3) */
};

struct mc146818 {
    struct device dev;
    struct irq irq;             /* IRQ 8, high while a reason is pending */
    s64 start_time;             /* what the clock shows at guest time 0: seconds since 1970-01-01 in the guest's zone */
    u8 index[2];                /* as written to 70 and 72; bit 7 of the first masks NMI */
    u8 data[256];               /* CMOS; time registers are made on the fly unless SET or the divider holds them */
    /* private */
    s128 offset_ns;             /* shown time = guest time + offset; the guest's years can be far away */
    unsigned weekday_offset;    /* the day of the week that the guest set against the calendar's */
    s128 seen_ns;               /* flags in register C are complete up to this moment (shown time) */
    u64 seen_ticks;             /* the same in 32768 Hz ticks of guest time, for the periodic flag */
    struct timer timer;
};

extern const struct device_class mc146818_class;

/* Configuration bytes (not the clock's registers). */
static inline void mc146818_set(struct mc146818 *m, u8 reg, u8 v) { m->data[reg] = v; }
static inline u8 mc146818_get(const struct mc146818 *m, u8 reg) { return m->data[reg]; }

#endif
