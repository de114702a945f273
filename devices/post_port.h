/* post_port.h - ports that a PC decodes for their side effect only: 80h (power-on codes, delays) and EDh (delays). */
#ifndef SHADOW86_POST_PORT_H
#define SHADOW86_POST_PORT_H

#include "devices/device.h"

struct post_port {
    struct device dev;
    u8 latch;               /* last byte: "info post" */
};

extern const struct device_class post_port_class;

#endif
