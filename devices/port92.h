/* port92.h - system control port A: fast A20 gate and fast reset. */
#ifndef SHADOW86_PORT92_H
#define SHADOW86_PORT92_H

#include "devices/device.h"

struct port92 {
    struct device dev;
    struct irq a20;                     /* filled by pc.c */
    const bool *a20_state;              /* how the gate stands: the keyboard controller drives it too */
    void (*reset_request)(void *ctx);
    void *reset_ctx;
    u8 latch;
};

extern const struct device_class port92_class;

#endif
