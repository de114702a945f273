/* i440fx.h - host bridge: configuration mechanism #1, PAM, SMRAM, reset control. */
#ifndef SHADOW86_I440FX_H
#define SHADOW86_I440FX_H

#include "devices/pci.h"

enum i440fx_region { I440FX_REGION_CONFIG = 8 /* ports cf8-cff */ };
enum i440fx_reset { I440FX_RESET_SOFT, I440FX_RESET_HARD };
enum { I440FX_PAM_SEGMENTS = 13 };

struct i440fx {
    struct pci_device pci;
    struct ram *ram;            /* filled by pc.c: the RAM under a0000-fffff is at the same offsets */
    struct ram *bios;           /* filled by pc.c: its last 128 KiB show at e0000-fffff; may be smaller */
    u64 bios_size;
    void (*reset_request)(void *ctx, enum i440fx_reset kind);
    void *reset_ctx;
    /* private */
    u32 config_address;
    u8 reset_control;
    struct i440fx_pam { struct region region; struct i440fx *bridge; u8 mode; } pam[I440FX_PAM_SEGMENTS];
    struct region smram;
};

extern const struct device_class i440fx_class;

#endif
