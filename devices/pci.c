/* pci.c - the PCI bus: configuration headers, base address registers, interrupt pins, DMA.
 *
 * PCI Local Bus Specification 3.0, chapter 6. Each device keeps its configuration space as bytes beside two masks: what
 * the guest may write and what writing one clears. After every write the device's BARs are looked at again, and those
 * whose address or decoding changed are moved on the bus.
 *
 * INTx# pins: PIRQ n is the wired OR of the pins that the board connects to it; slot s, pin p go to PIRQ
 * (s - 1 + p) mod 4 (pin 0 = INTA#), the swizzle that SeaBIOS and the _PRT of PIIX3 boards expect.
 */
#include "devices/pci.h"

#include <stdio.h>
#include <stdlib.h>

enum { CMD_IO = 1, CMD_MEMORY = 2, CMD_MASTER = 4, CMD_INTX_DISABLE = 0x400, STATUS_INTERRUPT = 8 };
enum { REG_VENDOR = 0x00, REG_DEVICE = 0x02, REG_COMMAND = 0x04, REG_STATUS = 0x06, REG_REVISION = 0x08,
       REG_CLASS = 0x09,
       REG_HEADER_TYPE = 0x0e, REG_BAR0 = 0x10, REG_SUBVENDOR = 0x2c, REG_SUBSYSTEM = 0x2e, REG_ROM = 0x30,
       REG_INT_LINE = 0x3c, REG_INT_PIN = 0x3d };
enum { BAR_COUNT = 6, BAR_ROM = 6, PIRQS = 4 };

struct pci_bus {
    struct bus *bus;
    irq_fn *pirq;
    void *pirq_ctx;
    struct pci_device *device[256];     /* by devfn */
    bool pin[256];                      /* level that each function drives on its INTx# */
    unsigned asserted[PIRQS];           /* how many functions pull a PIRQ */
};

struct pci_bus *pci_bus_new(struct bus *b, irq_fn *pirq, void *ctx)
{
    struct pci_bus *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->bus = b;
    p->pirq = pirq;
    p->pirq_ctx = ctx;
    return p;
}

static void bar_forget(struct pci_bus *b, struct pci_bar *bar)
{
    if (bar->kind != PCI_BAR_NONE && bar->kind != PCI_BAR_IO)
        physmap_remove(bus_physmap(b->bus), &bar->region);
}

void pci_bus_free(struct pci_bus *b)
{
    for (unsigned i = 0; b && i < ARRAY_LEN(b->device); i++) {
        if (!b->device[i])
            continue;
        for (unsigned n = 0; n < BAR_COUNT; n++)
            bar_forget(b, &b->device[i]->bar[n]);
        bar_forget(b, &b->device[i]->rom);
    }
    free(b);
}

static u16 get16(const struct pci_device *p, unsigned reg)
{
    return (u16)(p->config[reg] | p->config[reg + 1] << 8);
}

static u32 get32(const struct pci_device *p, unsigned reg)
{
    return get16(p, reg) | (u32)get16(p, reg + 2) << 16;
}

static void put16(u8 *bytes, unsigned reg, u16 v)
{
    bytes[reg] = (u8)v;
    bytes[reg + 1] = (u8)(v >> 8);
}

static void put32(u8 *bytes, unsigned reg, u32 v)
{
    put16(bytes, reg, (u16)v);
    put16(bytes, reg + 2, (u16)(v >> 16));
}

/* --------------------------------------------------------------------------------------- base addresses ----- */

static bool is_memory(const struct pci_bar *b)
{
    return b->kind == PCI_BAR_MEM32 || b->kind == PCI_BAR_MEM64 || b->kind == PCI_BAR_PREFETCH32;
}

static u64 bar_mmio_read(void *ctx, u64 offset, unsigned bytes)
{
    struct pci_bar *b = ctx;
    struct device *d = &b->owner->dev;
    if (!d->class->read)
        return ~0ull;
    if (!d->class->byte_wide)
        return d->class->read(d, b->number, (u32)offset, bytes);
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)(d->class->read(d, b->number, (u32)offset + i, 1) & 0xff) << (8 * i);
    return v;
}

static void bar_mmio_write(void *ctx, u64 offset, unsigned bytes, u64 value)
{
    struct pci_bar *b = ctx;
    struct device *d = &b->owner->dev;
    if (!d->class->write)
        return;
    if (!d->class->byte_wide)
        d->class->write(d, b->number, (u32)offset, bytes, (u32)value);
    else
        for (unsigned i = 0; i < bytes; i++)
            d->class->write(d, b->number, (u32)offset + i, 1, (value >> (8 * i)) & 0xff);
}

static const struct mmio_ops bar_ops = { .read = bar_mmio_read, .write = bar_mmio_write };

static void bar_unmap(struct pci_device *p, struct pci_bar *b)
{
    if (!b->mapped)
        return;
    b->mapped = false;
    if (b->kind == PCI_BAR_IO)
        bus_unmap_io(p->dev.bus, (u16)b->address, b->size, &p->dev);
    else
        physmap_change(bus_physmap(p->dev.bus), &b->region, b->region.start, false);
}

static void bar_map(struct pci_device *p, struct pci_bar *b, u64 address)
{
    b->address = address;
    b->mapped = true;
    if (b->kind == PCI_BAR_IO)
        bus_map_io(p->dev.bus, (u16)address, b->size, &p->dev, b->number);
    else
        physmap_change(bus_physmap(p->dev.bus), &b->region, address, true);
}

static u64 bar_address(const struct pci_device *p, const struct pci_bar *b)
{
    unsigned reg = b->number == BAR_ROM ? REG_ROM : REG_BAR0 + 4 * b->number;
    u64 a = get32(p, reg) & ~((u64)b->size - 1);
    if (b->kind == PCI_BAR_MEM64)
        a |= (u64)get32(p, reg + 4) << 32;
    return a;
}

/* Does the device decode this BAR at `a`? Address 0 and the top of the space (all ones while the guest measures the
 * size) are not decoded: bridges don't pass such cycles on and mapping them would hide RAM or the BIOS. */
static bool bar_decodes(const struct pci_device *p, const struct pci_bar *b, u64 a)
{
    u16 command = get16(p, REG_COMMAND);
    if (b->number == BAR_ROM && !(p->config[REG_ROM] & 1))
        return false;
    if (b->kind == PCI_BAR_IO)
        return (command & CMD_IO) && a && a + b->size <= 0x10000;
    u64 limit = b->kind == PCI_BAR_MEM64 && a >> 32 ? 1ull << 46 : 0xfec00000;
    return (command & CMD_MEMORY) && a && a + b->size <= limit;
}

static void bar_update(struct pci_device *p, struct pci_bar *b)
{
    if (b->kind == PCI_BAR_NONE)
        return;
    u64 a = bar_address(p, b);
    bool decodes = bar_decodes(p, b, a);
    if (b->mapped == decodes && (!decodes || b->address == a))
        return;
    bar_unmap(p, b);
    if (decodes)
        bar_map(p, b, a);
}

static void bars_update(struct pci_device *p)
{
    for (unsigned i = 0; i < BAR_COUNT; i++)
        bar_update(p, &p->bar[i]);
    bar_update(p, &p->rom);
}

/* Makes the register's read-only bits and write mask; size is a power of two. */
static void bar_define(struct pci_device *p, struct pci_bar *b, unsigned n, enum pci_bar_kind kind, u32 size)
{
    static const u8 type_bits[] = { [PCI_BAR_IO] = 1, [PCI_BAR_MEM64] = 4, [PCI_BAR_PREFETCH32] = 8 };
    unsigned reg = n == BAR_ROM ? REG_ROM : REG_BAR0 + 4 * n;
    assert(size && !(size & (size - 1)));
    b->kind = kind;
    b->size = size;
    b->owner = p;
    b->number = (u8)n;
    put32(p->wmask, reg, ~(size - 1) | (n == BAR_ROM));
    if (n != BAR_ROM)
        put32(p->config, reg, kind < ARRAY_LEN(type_bits) ? type_bits[kind] : 0);
    if (kind == PCI_BAR_MEM64)
        put32(p->wmask, reg + 4, 0xffffffff);
    if (!is_memory(b))
        return;
    struct region *r = &b->region;
    r->name = p->dev.class->name;
    r->size = size;
    r->priority = 1;
    r->enabled = false;
    if (!r->ram) {
        r->kind = REGION_MMIO;
        if (!r->ops) {
            r->ops = &bar_ops;
            r->ctx = b;
        }
    }
    physmap_add(bus_physmap(p->dev.bus), r);
}

void pci_set_bar(struct pci_device *p, unsigned n, enum pci_bar_kind kind, u32 size)
{
    assert(n < BAR_COUNT);
    bar_define(p, &p->bar[n], n, kind, size);
}

void pci_set_ram_bar(struct pci_device *p, unsigned n, struct ram *ram, u32 size)
{
    assert(n < BAR_COUNT);
    p->bar[n].region.kind = REGION_RAM;
    p->bar[n].region.ram = ram;
    bar_define(p, &p->bar[n], n, PCI_BAR_PREFETCH32, size);
}

void pci_set_rom(struct pci_device *p, struct ram *rom, u32 size)
{
    p->rom.region.kind = REGION_ROM;
    p->rom.region.ram = rom;
    bar_define(p, &p->rom, BAR_ROM, PCI_BAR_MEM32, size);
}

/* -------------------------------------------------------------------------------------------- the header ----- */

void pci_init(struct pci_device *p, u16 vendor, u16 device, u32 class_code, u8 revision)
{
    assert(p->pci && !p->pci->device[p->devfn]);
    p->pci->device[p->devfn] = p;
    put16(p->config, REG_VENDOR, vendor);
    put16(p->config, REG_DEVICE, device);
    p->config[REG_REVISION] = revision;
    p->config[REG_CLASS] = (u8)class_code;
    put16(p->config, REG_CLASS + 1, (u16)(class_code >> 8));
    put16(p->wmask, REG_COMMAND, CMD_IO | CMD_MEMORY | CMD_MASTER | 0x140 /* parity, SERR# */ | CMD_INTX_DISABLE);
    put16(p->w1c, REG_STATUS, 0xf900);
    p->wmask[0x0c] = 0xff;              /* cache line size, latency timer: kept, without effect */
    p->wmask[0x0d] = 0xff;
    p->wmask[REG_INT_LINE] = 0xff;
    /* Function 0 tells whether the slot has others, whichever is registered first. */
    for (unsigned f = 1; f < 8; f++)
        if (p->pci->device[(p->devfn & 0xf8) | f] && p->pci->device[p->devfn & 0xf8])
            p->pci->device[p->devfn & 0xf8]->config[REG_HEADER_TYPE] |= 0x80;
}

void pci_set_subsystem(struct pci_device *p, u16 vendor, u16 id)
{
    put16(p->config, REG_SUBVENDOR, vendor);
    put16(p->config, REG_SUBSYSTEM, id);
}

void pci_set_pin(struct pci_device *p, u8 pin)
{
    p->config[REG_INT_PIN] = pin;
}

void pci_reset(struct pci_device *p)
{
    put16(p->config, REG_COMMAND, 0);
    put16(p->config, REG_STATUS, get16(p, REG_STATUS) & 0x06ff);
    p->config[REG_INT_LINE] = 0;
    for (unsigned i = 0; i < BAR_COUNT; i++) {
        if (p->bar[i].kind == PCI_BAR_NONE)
            continue;
        put32(p->config, REG_BAR0 + 4 * i, get32(p, REG_BAR0 + 4 * i) & 15 & (p->bar[i].size - 1));
        if (p->bar[i].kind == PCI_BAR_MEM64)
            put32(p->config, REG_BAR0 + 4 * i + 4, 0);
    }
    if (p->rom.kind != PCI_BAR_NONE)
        put32(p->config, REG_ROM, 0);
    bars_update(p);
    pci_irq(p, false);
}

/* --------------------------------------------------------------------------------------------- interrupts ----- */

static void pin_drive(struct pci_device *p, bool level)
{
    struct pci_bus *b = p->pci;
    if (b->pin[p->devfn] == level || !p->config[REG_INT_PIN])
        return;
    b->pin[p->devfn] = level;
    unsigned n = ((p->devfn >> 3) - 1u + p->config[REG_INT_PIN] - 1u) % PIRQS;
    unsigned before = b->asserted[n];
    b->asserted[n] += level ? 1 : -1u;
    if (!before != !b->asserted[n])
        b->pirq(b->pirq_ctx, (int)n, level);
}

void pci_irq(struct pci_device *p, bool level)
{
    p->config[REG_STATUS] = (u8)((p->config[REG_STATUS] & ~STATUS_INTERRUPT) | (level ? STATUS_INTERRUPT : 0));
    pin_drive(p, level && !(get16(p, REG_COMMAND) & CMD_INTX_DISABLE));
}

static void pin_set(void *ctx, int n, bool level)
{
    pci_irq(ctx, level);
}

struct irq pci_irq_line(struct pci_device *p)
{
    return (struct irq){ pin_set, p, 0 };
}

/* ------------------------------------------------------------------------------------ configuration cycles ----- */

u32 pci_config_read(struct pci_bus *b, u8 bus, u8 devfn, u8 reg, unsigned bytes)
{
    struct pci_device *p = bus ? NULL : b->device[devfn];
    u32 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u32)(p && reg + i < 256 ? p->config[reg + i] : 0xff) << (8 * i);
    return v;
}

void pci_config_write(struct pci_bus *b, u8 bus, u8 devfn, u8 reg, unsigned bytes, u32 value)
{
    struct pci_device *p = bus ? NULL : b->device[devfn];
    if (!p)
        return;
    for (unsigned i = 0; i < bytes && reg + i < 256; i++) {
        u8 v = (u8)(value >> (8 * i)), *c = &p->config[reg + i];
        *c = (u8)((*c & ~p->wmask[reg + i]) | (v & p->wmask[reg + i]));
        *c &= (u8)~(v & p->w1c[reg + i]);
    }
    bars_update(p);
    pin_drive(p, (p->config[REG_STATUS] & STATUS_INTERRUPT) && !(get16(p, REG_COMMAND) & CMD_INTX_DISABLE));
    if (p->config_written)
        p->config_written(p, reg, bytes);
}

/* --------------------------------------------------------------------------------------------------- DMA ----- */

bool pci_bus_master(const struct pci_device *p)
{
    return get16(p, REG_COMMAND) & CMD_MASTER;
}

void pci_dma_read(struct pci_device *p, gpa a, void *buf, u64 bytes)
{
    if (pci_bus_master(p))
        physmap_read(bus_physmap(p->dev.bus), a, buf, bytes);
    else
        memset(buf, 0xff, bytes);       /* a master abort reads as ones */
}

void pci_dma_write(struct pci_device *p, gpa a, const void *buf, u64 bytes)
{
    if (pci_bus_master(p))
        physmap_write(bus_physmap(p->dev.bus), a, buf, bytes);
}

/* ---------------------------------------------------------------------------------------------- "info pci" ----- */

static void print_bar(const struct pci_bar *b, void (*out)(const char *line, void *ctx), void *ctx)
{
    char line[128], name[8], where[32];
    if (b->kind == PCI_BAR_NONE)
        return;
    snprintf(name, sizeof name, b->number == BAR_ROM ? "ROM" : "BAR%u", b->number & 7u);
    if (b->mapped)
        snprintf(where, sizeof where, "0x%llx", (unsigned long long)b->address);
    else
        snprintf(where, sizeof where, "not mapped");
    snprintf(line, sizeof line, "      %s: %s, 0x%x bytes, %s", name, b->kind == PCI_BAR_IO ? "I/O" : "memory", b->size,
             where);
    out(line, ctx);
}

void pci_print(struct pci_bus *b, void (*out)(const char *line, void *ctx), void *ctx)
{
    char line[128];
    for (unsigned i = 0; i < 256; i++) {
        struct pci_device *p = b->device[i];
        if (!p)
            continue;
        snprintf(line, sizeof line, "  00:%02x.%u %04x:%04x class %02x%02x %s", i >> 3, i & 7, get16(p, REG_VENDOR),
                 get16(p, REG_DEVICE), p->config[0x0b], p->config[0x0a], p->dev.class->name);
        out(line, ctx);
        if (p->config[REG_INT_PIN]) {
            snprintf(line, sizeof line, "      pin %c, IRQ %u", 'A' + p->config[REG_INT_PIN] - 1,
                     p->config[REG_INT_LINE]);
            out(line, ctx);
        }
        for (unsigned n = 0; n < BAR_COUNT; n++)
            print_bar(&p->bar[n], out, ctx);
        print_bar(&p->rom, out, ctx);
    }
}
