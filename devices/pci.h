/* pci.h - PCI configuration space, BARs and interrupt pins. Implemented by pci.c (mechanism #1 lives in i440fx.c).
 *
 * A PCI device's struct starts with struct pci_device. PCI Local Bus Specification 3.0, chapter 6.
 */
#ifndef SHADOW86_PCI_H
#define SHADOW86_PCI_H

#include "devices/device.h"

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_PREFETCH32 };

struct pci_bar {
    enum pci_bar_kind kind;
    u32 size;                   /* a power of two */
    struct region region;       /* memory BARs: the owner fills kind/ram/ops for RAM-backed BARs before pci_set_bar;
                                   else accesses come to class->read/write with region = BAR number */
    bool mapped;
    u64 address;                /* where it is decoded now */
    struct pci_device *owner;   /* pci.c */
    u8 number;                  /* 0..5, 6 for the ROM; pci.c */
};

struct pci_device {
    struct device dev;
    struct pci_bus *pci;
    u8 devfn;                   /* slot << 3 | function */
    u8 config[256];             /* what the guest reads */
    u8 wmask[256];              /* bits the guest may write */
    u8 w1c[256];                /* bits cleared by writing one */
    struct pci_bar bar[6];
    struct pci_bar rom;
    /* Called after the guest wrote configuration space (already merged); may be NULL. */
    void (*config_written)(struct pci_device *p, u8 reg, unsigned bytes);
};

struct pci_bus;
struct pci_bus *pci_bus_new(struct bus *b, irq_fn *pirq, void *ctx);    /* pirq(ctx, n = PIRQ 0..3, level): shared lines ORed */
void pci_bus_free(struct pci_bus *b);       /* before bus_free: takes the devices' BARs off the physical map */
/* Registers p at devfn and fills the standard header. Call in the class's init; pci and devfn are set before. */
void pci_init(struct pci_device *p, u16 vendor, u16 device, u32 class_code /* 24 bits */, u8 revision);
void pci_set_subsystem(struct pci_device *p, u16 vendor, u16 id);
void pci_set_bar(struct pci_device *p, unsigned n, enum pci_bar_kind kind, u32 size);
void pci_set_ram_bar(struct pci_device *p, unsigned n, struct ram *ram, u32 size);     /* memory BAR backed by RAM */
void pci_set_rom(struct pci_device *p, struct ram *rom, u32 size);
void pci_set_pin(struct pci_device *p, u8 pin /* 1 = INTA# */);
void pci_irq(struct pci_device *p, bool level);             /* drives the device's INTx# */
struct irq pci_irq_line(struct pci_device *p);
void pci_reset(struct pci_device *p);                       /* command register and BARs back to power-on; call in reset */
u32 pci_config_read(struct pci_bus *b, u8 bus, u8 devfn, u8 reg, unsigned bytes);
void pci_config_write(struct pci_bus *b, u8 bus, u8 devfn, u8 reg, unsigned bytes, u32 value);
bool pci_bus_master(const struct pci_device *p);            /* command register bit 2 */
void pci_dma_read(struct pci_device *p, gpa a, void *buf, u64 bytes);     /* nothing is transferred without bus mastering */
void pci_dma_write(struct pci_device *p, gpa a, const void *buf, u64 bytes);
void pci_print(struct pci_bus *b, void (*out)(const char *line, void *ctx), void *ctx); /* "info pci" */

#endif
