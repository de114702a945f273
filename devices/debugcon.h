/* debugcon.h - the Bochs debug console: bytes written to the port (0x402) go to the host. */
#ifndef SHADOW86_DEBUGCON_H
#define SHADOW86_DEBUGCON_H

#include "devices/chardev.h"
#include "devices/device.h"

struct debugcon {
    struct device dev;
    struct chardev *out;        /* filled by pc.c; NULL: dropped */
};

extern const struct device_class debugcon_class;

#endif
