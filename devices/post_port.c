/* post_port.c - keeps the last byte written. Port 80h is the first of the DMA page registers on a PC (i8237.c); this
 * one serves boards' other delay port. */
#include "devices/post_port.h"

#include <stdio.h>

static u32 post_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    return ((struct post_port *)d)->latch;
}

static void post_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    ((struct post_port *)d)->latch = (u8)value;
}

static void post_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    char line[32];
    snprintf(line, sizeof line, "last code %02x", ((struct post_port *)d)->latch);
    out(line, ctx);
}

const struct device_class post_port_class = {
    .name = "post", .size = sizeof(struct post_port), .read = post_read, .write = post_write, .byte_wide = true,
    .print = post_print,
};
