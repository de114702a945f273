/* piix4_pm.h - ACPI power management and SMBus function of the PIIX4.
 *
 * pc.c fills sci and power_off, maps the fixed regions. The PM and SMBus blocks are placed by the guest.
 */
#ifndef SHADOW86_PIIX4_PM_H
#define SHADOW86_PIIX4_PM_H

#include "devices/pci.h"

enum piix4_pm_region {
    PIIX4_PM_REGION_PM = 8,     /* at PMBA, 64 ports */
    PIIX4_PM_REGION_SMBUS,      /* at SMBBA, 16 ports */
    PIIX4_PM_REGION_APM,        /* ports b2-b3: SMI command and status */
    PIIX4_PM_REGION_GPE,        /* ports afe0-afe3: general-purpose events */
};

#define PM_TIMER_HZ 3579545u

struct piix4_pm {
    struct pci_device pci;
    struct irq sci;                     /* IRQ 9 */
    void (*power_off)(void *ctx);       /* S4, S5 */
    void *power_ctx;
    u8 serial_ports;                    /* bits 0, 1: COM1, COM2 exist */
    /* private */
    u16 pm_base, smbus_base;            /* where the blocks are mapped; 0: nowhere */
    u16 status, enable, control;        /* PMSTS, PMEN, PMCNTRL */
    u8 pm[64];                          /* the rest of the block: kept, without effect */
    u64 overflows_seen;                 /* carries out of bit 23 (either way) that are in `status` already */
    struct timer overflow;
    u16 gpe_status, gpe_enable;
    u8 apm[2];
    u8 smbus[16];
};

extern const struct device_class piix4_pm_class;

void piix4_pm_powerbutton(struct piix4_pm *p);
void piix4_pm_gpe(struct piix4_pm *p, unsigned n);      /* raises event n */

#endif
