/* debug_exit.h - QEMU's isa-debug-exit: a write ends the run with exit status (value << 1) | 1. */
#ifndef SHADOW86_DEBUG_EXIT_H
#define SHADOW86_DEBUG_EXIT_H

#include "devices/device.h"

struct debug_exit {
    struct device dev;
    void (*quit)(void *ctx, int status);    /* filled by pc.c */
    void *ctx;
};

extern const struct device_class debug_exit_class;

#endif
