/* piix3.h - PCI-to-ISA bridge of the 82371SB: routes PIRQA-D# to ISA interrupts. */
#ifndef SHADOW86_PIIX3_H
#define SHADOW86_PIIX3_H

#include "devices/pci.h"

struct piix3 {
    struct pci_device pci;
    struct irq irq[16];         /* filled by pc.c: what the bridge drives on each ISA interrupt */
    /* private */
    bool pirq[4];
    u16 driven;                 /* ISA interrupts that are high because of a PIRQ */
};

extern const struct device_class piix3_class;

void piix3_pirq(void *piix3, int n, bool level);    /* irq_fn for pci_bus_new */

#endif
