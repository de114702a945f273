/* debug_exit.c - a port for tests: the guest chooses the emulator's exit status, which is always odd. Reads give 0. */
#include "devices/debug_exit.h"

static u32 debug_exit_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    return 0;
}

static void debug_exit_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct debug_exit *e = (struct debug_exit *)d;
    e->quit(e->ctx, (int)(value << 1 | 1) & 0xff);
}

const struct device_class debug_exit_class = {
    .name = "isa-debug-exit", .size = sizeof(struct debug_exit), .read = debug_exit_read, .write = debug_exit_write,
};
