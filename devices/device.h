/* device.h - what a device is, and the bus it hangs on.
 *
 * A device is one file with one struct that starts with struct device, and one const struct device_class. It learns
 * its lines, its clock, its host side (disk, terminal) through fields that pc.c fills before `init`; its addresses
 * are chosen by pc.c (ISA) or by the guest (PCI BARs). All functions are called under the machine lock.
 */
#ifndef SHADOW86_DEVICE_H
#define SHADOW86_DEVICE_H

#include "cpu/types.h"
#include "devices/clock.h"
#include "devices/irq.h"
#include "mmu/mmu.h"

struct device;
struct bus;

struct device_class {
    const char *name;           /* as -device and the monitor say it; the data sheet's name for chips */
    size_t size;                /* of the device's struct */
    bool (*init)(struct device *d, char *err, size_t errlen);   /* false: one line in err; may be NULL */
    void (*reset)(struct device *d);                            /* power-on state; may be NULL */
    void (*fini)(struct device *d);                             /* flush and free; may be NULL */
    /* `region` tells a device's ranges apart (the number given when it was mapped); reg is the offset in the range;
     * bytes is 1, 2 or 4 and reg + bytes stays inside the range. A device that knows only bytes sets byte_wide and wider
     * accesses are split, low byte first, as the ISA bus does. */
    u32 (*read)(struct device *d, unsigned region, u32 reg, unsigned bytes);
    void (*write)(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value);
    bool byte_wide;
    void (*print)(struct device *d, void (*out)(const char *line, void *ctx), void *ctx);   /* "info DEVICE"; may be NULL */
};

struct device { const struct device_class *class; struct bus *bus; struct clock *clock; struct device *next; };

/* The bus: I/O ports, memory-mapped ranges, the list of devices. bus.c */
struct bus *bus_new(struct physmap *phys, struct clock *clock);
void bus_free(struct bus *b);                   /* fini and free every device */
struct physmap *bus_physmap(struct bus *b);
struct clock *bus_clock(struct bus *b);
/* Allocates a zeroed device of the class and puts it on the bus; then the caller fills fields and calls device_init. */
void *device_new(struct bus *b, const struct device_class *class);
bool device_init(struct device *d, char *err, size_t errlen);
void bus_reset(struct bus *b);                  /* resets every device in order of creation */
struct device *bus_first(struct bus *b);        /* walk with ->next */

/* Ports [port, port + count) go to the device as region `region`. The later mapping wins; unmapping restores the earlier
 * one. Unmapped ports read as all ones and ignore writes. */
void bus_map_io(struct bus *b, u16 port, unsigned count, struct device *d, unsigned region);
void bus_unmap_io(struct bus *b, u16 port, unsigned count, struct device *d);
/* Memory range; returns the region for physmap_change / physmap_remove. priority as in mmu.h. */
struct region *bus_map_mmio(struct bus *b, gpa start, u64 size, int priority, struct device *d, unsigned region);
u32 bus_io_read(struct bus *b, u16 port, unsigned bytes);
void bus_io_write(struct bus *b, u16 port, unsigned bytes, u32 value);
void bus_print_io(struct bus *b, void (*out)(const char *line, void *ctx), void *ctx);

#endif
