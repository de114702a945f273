/* debugcon.c - one port. Reads give E9h, by which SeaBIOS recognizes it. */
#include "devices/debugcon.h"

enum { SIGNATURE = 0xe9 };

static u32 debugcon_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    return SIGNATURE;
}

static void debugcon_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct debugcon *c = (struct debugcon *)d;
    u8 v = (u8)value;
    if (c->out)
        chardev_write(c->out, &v, 1);
}

const struct device_class debugcon_class = {
    .name = "isa-debugcon", .size = sizeof(struct debugcon), .read = debugcon_read, .write = debugcon_write,
        .byte_wide = true,
};
