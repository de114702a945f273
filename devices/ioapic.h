/* ioapic.h - 82093AA I/O APIC: 24 pins. pc.c fills bus and maps the register page. */
#ifndef SHADOW86_IOAPIC_H
#define SHADOW86_IOAPIC_H

#include "devices/lapic.h"

#define IOAPIC_BASE 0xfec00000u
enum { IOAPIC_PINS = 24 };

struct ioapic {
    struct device dev;
    struct lapic_bus *bus;
    /* private */
    u8 id, select;
    u32 lines;                      /* levels of the pins */
    u64 redirection[IOAPIC_PINS];
};

extern const struct device_class ioapic_class;

void ioapic_set(struct ioapic *a, unsigned pin, bool level);
void ioapic_eoi(void *ioapic, u8 vector);       /* for lapic_bus.eoi */

#endif
