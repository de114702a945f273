/* bus.c - the I/O port space, memory-mapped device ranges, the list of devices.
 *
 * The 65536 ports are a table of indices into a list of mappings (0: nothing there), kept up to date when ranges come
 * and go, so that an access is two loads. Mappings may overlap: the one made last is seen and the earlier one comes
 * back when it goes (PCI BARs that the guest moves across each other).
 *
 * An access that lies in one mapping reaches the device whole; one that straddles mappings, or goes to a device that
 * knows only bytes, is split into bytes, low address first, as the ISA bus's byte swapper does.
 */
#include <stdio.h>
#include <stdlib.h>

#include "devices/device.h"

#define PORTS 0x10000u
#define MAX_MAPPINGS 1024u

struct io_mapping {
    u16 port;
    u32 count;              /* 0: free */
    unsigned region;
    struct device *device;
    u64 order;              /* the larger, the later it was made */
};

struct mmio_mapping {
    struct region region;
    struct device *device;
    unsigned number;
    struct mmio_mapping *next;
};

struct bus {
    struct physmap *phys;
    struct clock *clock;
    struct device *first, **last;
    u16 table[PORTS];
    struct io_mapping io[MAX_MAPPINGS];     /* [0] is not used */
    u64 order;
    struct mmio_mapping *mmio;
};

struct bus *bus_new(struct physmap *phys, struct clock *clock)
{
    struct bus *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    b->phys = phys;
    b->clock = clock;
    b->last = &b->first;
    return b;
}

void bus_free(struct bus *b)
{
    if (!b)
        return;
    for (struct device *d = b->first; d; d = d->next)
        if (d->class->fini)
            d->class->fini(d);
    while (b->mmio) {
        struct mmio_mapping *m = b->mmio;
        b->mmio = m->next;
        physmap_remove(b->phys, &m->region);
        free(m);
    }
    while (b->first) {
        struct device *d = b->first;
        b->first = d->next;
        free(d);
    }
    free(b);
}

struct clock *bus_clock(struct bus *b)
{
    return b->clock;
}

struct physmap *bus_physmap(struct bus *b)
{
    return b->phys;
}

void *device_new(struct bus *b, const struct device_class *class)
{
    assert(class->size >= sizeof(struct device));
    struct device *d = calloc(1, class->size);
    if (!d)
        abort();
    d->class = class;
    d->bus = b;
    d->clock = b->clock;
    *b->last = d;
    b->last = &d->next;
    return d;
}

bool device_init(struct device *d, char *err, size_t errlen)
{
    return !d->class->init || d->class->init(d, err, errlen);
}

void bus_reset(struct bus *b)
{
    for (struct device *d = b->first; d; d = d->next)
        if (d->class->reset)
            d->class->reset(d);
}

struct device *bus_first(struct bus *b)
{
    return b->first;
}

/* ---------------------------------------------------------------------------------------------- I/O ports ----- */

void bus_map_io(struct bus *b, u16 port, unsigned count, struct device *d, unsigned region)
{
    if (count > PORTS - port)
        count = PORTS - port;
    for (unsigned i = 1; i < MAX_MAPPINGS; i++) {
        if (b->io[i].count)
            continue;
        b->io[i] = (struct io_mapping){ port, count, region, d, ++b->order };
        for (unsigned p = port; p < port + count; p++)
            b->table[p] = (u16)i;
        return;
    }
    assert(!"too many port mappings");      /* the machine has a fixed number of devices with a few ranges each */
}

static u16 topmost(const struct bus *b, unsigned port)
{
    u16 best = 0;
    for (unsigned i = 1; i < MAX_MAPPINGS; i++) {
        const struct io_mapping *m = &b->io[i];
        if (port >= m->port && port < m->port + m->count && (!best || m->order > b->io[best].order))
            best = (u16)i;
    }
    return best;
}

void bus_unmap_io(struct bus *b, u16 port, unsigned count, struct device *d)
{
    for (unsigned i = 1; i < MAX_MAPPINGS; i++) {
        struct io_mapping *m = &b->io[i];
        if (!m->count || m->port != port || m->device != d || (m->count != count && port + count <= PORTS))
            continue;
        unsigned end = m->port + m->count;
        m->count = 0;
        for (unsigned p = port; p < end; p++)
            if (b->table[p] == i)
                b->table[p] = topmost(b, p);
        return;
    }
}

static bool is_whole(const struct bus *b, u16 port, unsigned bytes)
{
    u16 first = b->table[port];
    if (port + bytes > PORTS || b->io[first].device->class->byte_wide)
        return false;
    for (unsigned i = 1; i < bytes; i++)
        if (b->table[port + i] != first)
            return false;
    return true;
}

static u32 byte_read(struct bus *b, u16 port)
{
    const struct io_mapping *m = &b->io[b->table[port]];
    if (!b->table[port] || !m->device->class->read)
        return 0xff;
    return m->device->class->read(m->device, m->region, port - m->port, 1) & 0xff;
}

static void byte_write(struct bus *b, u16 port, u32 value)
{
    const struct io_mapping *m = &b->io[b->table[port]];
    if (b->table[port] && m->device->class->write)
        m->device->class->write(m->device, m->region, port - m->port, 1, value & 0xff);
}

u32 bus_io_read(struct bus *b, u16 port, unsigned bytes)
{
    const struct io_mapping *m = &b->io[b->table[port]];
    if (b->table[port] && bytes > 1 && is_whole(b, port, bytes)) {
        if (!m->device->class->read)
            return bytes == 4 ? 0xffffffff : 0xffff;
        u32 v = m->device->class->read(m->device, m->region, port - m->port, bytes);
        return bytes == 2 ? v & 0xffff : v;
    }
    u32 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= byte_read(b, (u16)(port + i)) << (8 * i);
    return v;
}

void bus_io_write(struct bus *b, u16 port, unsigned bytes, u32 value)
{
    const struct io_mapping *m = &b->io[b->table[port]];
    if (b->table[port] && bytes > 1 && is_whole(b, port, bytes)) {
        if (m->device->class->write)
            m->device->class->write(m->device, m->region, port - m->port, bytes,
                                    bytes == 2 ? value & 0xffff : value);
        return;
    }
    for (unsigned i = 0; i < bytes; i++)
        byte_write(b, (u16)(port + i), value >> (8 * i));
}

void bus_print_io(struct bus *b, void (*out)(const char *line, void *ctx), void *ctx)
{
    char line[128];
    for (unsigned p = 0; p < PORTS;) {
        unsigned i = b->table[p], start = p;
        while (p < PORTS && b->table[p] == i)
            p++;
        if (!i)
            continue;
        snprintf(line, sizeof line, "%04x-%04x %s", start, p - 1, b->io[i].device->class->name);
        out(line, ctx);
    }
}

/* ------------------------------------------------------------------------------------------------- memory ----- */

static u64 mmio_read(void *ctx, u64 offset, unsigned bytes)
{
    struct mmio_mapping *m = ctx;
    if (!m->device->class->read)
        return ~0ull;
    if (!m->device->class->byte_wide)
        return m->device->class->read(m->device, m->number, (u32)offset, bytes);
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)(m->device->class->read(m->device, m->number, (u32)offset + i, 1) & 0xff) << (8 * i);
    return v;
}

static void mmio_write(void *ctx, u64 offset, unsigned bytes, u64 value)
{
    struct mmio_mapping *m = ctx;
    if (!m->device->class->write)
        return;
    if (!m->device->class->byte_wide) {
        m->device->class->write(m->device, m->number, (u32)offset, bytes, (u32)value);
        return;
    }
    for (unsigned i = 0; i < bytes; i++)
        m->device->class->write(m->device, m->number, (u32)offset + i, 1, (value >> (8 * i)) & 0xff);
}

static const struct mmio_ops mmio_ops = { .read = mmio_read, .write = mmio_write };

struct region *bus_map_mmio(struct bus *b, gpa start, u64 size, int priority, struct device *d, unsigned region)
{
    struct mmio_mapping *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    m->device = d;
    m->number = region;
    m->region = (struct region){ .name = d->class->name, .start = start, .size = size, .priority = priority,
                                 .kind = REGION_MMIO, .enabled = true, .ops = &mmio_ops, .ctx = m };
    m->next = b->mmio;
    b->mmio = m;
    physmap_add(b->phys, &m->region);
    return &m->region;
}
