/* ioapic.c - I/O APIC: turns the levels of 24 pins into messages to the local APICs.
 *
 * 82093AA data sheet 290566, 3.0 (registers); version 20h, which adds the EOI register of later chips. Level-triggered
 * pins are sent once and again after the EOI message while the line is still high (remote IRR); an edge on a masked
 * pin is lost, as the data sheet says. Lines are active-high signals here whatever the polarity bit says: a board's
 * inverters are not modelled. Messages arrive at once, so delivery status always reads idle.
 */
#include "devices/ioapic.h"

#include <stdio.h>

enum { MMIO_SELECT = 0x00, MMIO_WINDOW = 0x10, MMIO_EOI = 0x40 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_REDIRECTION = 0x10 };
enum { RTE_LOGICAL = 1 << 11, RTE_REMOTE_IRR = 1 << 14, RTE_LEVEL = 1 << 15, RTE_MASKED = 1 << 16 };
#define RTE_WRITABLE 0xff0000000001afffull
#define VERSION (0x20 | (IOAPIC_PINS - 1) << 16)

static void send(struct ioapic *a, unsigned pin)
{
    u64 *rte = &a->redirection[pin];
    u32 dest = (u32)(*rte >> 56);
    bool level = *rte & RTE_LEVEL;
    struct lapic_message m = { .dest = dest == 0xff ? 0xffffffff : dest, .vector = (u8)*rte, .mode = *rte >> 8 & 7,
                               .logical = *rte & RTE_LOGICAL, .level = level };
    if (level && (m.mode == LAPIC_FIXED || m.mode == LAPIC_LOWEST))
        *rte |= RTE_REMOTE_IRR;
    lapic_bus_send(a->bus, &m);
}

/* A level-triggered pin that is high, open and not yet sent. */
static void level_check(struct ioapic *a, unsigned pin)
{
    u64 rte = a->redirection[pin];
    if ((a->lines >> pin & 1) && (rte & RTE_LEVEL) && !(rte & (RTE_MASKED | RTE_REMOTE_IRR)))
        send(a, pin);
}

void ioapic_set(struct ioapic *a, unsigned pin, bool level)
{
    if (pin >= IOAPIC_PINS)
        return;
    bool rising = level && !(a->lines >> pin & 1);
    a->lines = (a->lines & ~(1u << pin)) | (u32)level << pin;
    if (a->redirection[pin] & RTE_LEVEL)
        level_check(a, pin);
    else if (rising && !(a->redirection[pin] & RTE_MASKED))
        send(a, pin);
}

void ioapic_eoi(void *ioapic, u8 vector)
{
    struct ioapic *a = ioapic;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        u64 *rte = &a->redirection[pin];
        if (!(*rte & RTE_REMOTE_IRR) || (u8)*rte != vector)
            continue;
        *rte &= ~(u64)RTE_REMOTE_IRR;
        level_check(a, pin);
    }
}

static u32 register_read(struct ioapic *a)
{
    unsigned n = (a->select - REG_REDIRECTION) / 2u;
    switch (a->select) {
    case REG_ID: case REG_ARBITRATION: return (u32)a->id << 24;
    case REG_VERSION: return VERSION;
    default:
        if (a->select < REG_REDIRECTION || n >= IOAPIC_PINS)
            return 0;
        return (u32)(a->redirection[n] >> (a->select & 1 ? 32 : 0));
    }
}

static void register_write(struct ioapic *a, u32 v)
{
    unsigned n = (a->select - REG_REDIRECTION) / 2u, shift = a->select & 1 ? 32 : 0;
    if (a->select == REG_ID)
        a->id = v >> 24 & 15;
    if (a->select < REG_REDIRECTION || n >= IOAPIC_PINS)
        return;
    u64 mask = RTE_WRITABLE & (0xffffffffull << shift), *rte = &a->redirection[n];
    *rte = (*rte & ~mask) | ((u64)v << shift & mask);
    if (!(*rte & RTE_LEVEL))
        *rte &= ~(u64)RTE_REMOTE_IRR;       /* edge: Linux switches the mode to get rid of a stuck remote IRR */
    level_check(a, n);
}

static u32 ioapic_read(struct device *d, unsigned region, u32 offset, unsigned bytes)
{
    struct ioapic *a = (struct ioapic *)d;
    u32 v = (offset & ~3u) == MMIO_SELECT ? a->select : (offset & ~3u) == MMIO_WINDOW ? register_read(a) : 0;
    return v >> (8 * (offset & 3));
}

static void ioapic_write(struct device *d, unsigned region, u32 offset, unsigned bytes, u32 value)
{
    struct ioapic *a = (struct ioapic *)d;
    if (offset == MMIO_SELECT)
        a->select = (u8)value;
    else if (offset == MMIO_WINDOW && bytes == 4)
        register_write(a, value);
    else if (offset == MMIO_EOI)
        ioapic_eoi(a, (u8)value);
}

static void ioapic_reset(struct device *d)
{
    struct ioapic *a = (struct ioapic *)d;
    a->id = a->select = 0;
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        a->redirection[i] = RTE_MASKED;
}

static void ioapic_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    static const char *const modes[] = { "fixed", "lowest", "smi", "?", "nmi", "init", "?", "extint" };
    struct ioapic *a = (struct ioapic *)d;
    char line[128];
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        u64 r = a->redirection[i];
        snprintf(line, sizeof line, "pin %2u: vector %02x %-6s %s dest %02x %s%s%s%s", i, (u8)r, modes[r >> 8 & 7],
                 r & RTE_LOGICAL ? "logical" : "physical", (u8)(r >> 56), r & RTE_LEVEL ? "level" : "edge",
                 r & RTE_MASKED ? " masked" : "", r & RTE_REMOTE_IRR ? " remote-irr" : "",
                 a->lines >> i & 1 ? " high" : "");
        out(line, ctx);
    }
}

const struct device_class ioapic_class = {
    .name = "ioapic", .size = sizeof(struct ioapic), .reset = ioapic_reset, .read = ioapic_read, .write = ioapic_write,
    .print = ioapic_print,
};
