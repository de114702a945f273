/* i8237.h - the two 8237A DMA controllers of the PC/AT and their page registers.
 *
 * Channels 0-3 move bytes, 5-7 move words, 4 is the cascade. A device raises DREQ with i8237_dreq; when its channel can run
 * (unmasked, controllers enabled) the `granted` function that it attached is called, at once or later, and moves data
 * with i8237_transfer. Intel 8237A data sheet; 82371SB (PIIX3) data sheet, section DMA registers.
 */
#ifndef SHADOW86_I8237_H
#define SHADOW86_I8237_H

#include "devices/device.h"

enum i8237_region {             /* what pc.c maps */
    I8237_REGION_LOW,           /* ports 00-0f: channels 0-3 */
    I8237_REGION_HIGH,          /* ports c0-df: channels 4-7, registers at even addresses */
    I8237_REGION_PAGE,          /* ports 80-8f */
};

enum i8237_direction { I8237_TO_MEMORY, I8237_FROM_MEMORY };

struct i8237_channel {
    u16 base_address, base_count;       /* as written */
    u16 address, count;                 /* current; count is the number of transfers minus one */
    u8 mode;
    void (*granted)(void *ctx);
    void *ctx;
};

struct i8237_chip {
    struct i8237_channel channel[4];
    u8 command, status, mask, request;  /* status: bits 0-3 terminal count reached, since last read */
    u8 dreq;                            /* lines as the devices drive them */
    bool flip_flop;                     /* next byte of a 16-bit register is the high one */
    u8 temporary;
};

struct i8237 {
    struct device dev;
    struct i8237_chip chip[2];
    u8 page[16];                        /* ports 80-8f; those that belong to no channel are plain storage */
    bool in_service;                    /* granted() is running: its register writes do not call it again */
};

extern const struct device_class i8237_class;

/* granted(ctx) is called while DREQ is up and the channel can run; it may call i8237_transfer and i8237_dreq. */
void i8237_attach(struct i8237 *d, unsigned channel, void (*granted)(void *ctx), void *ctx);
void i8237_dreq(struct i8237 *d, unsigned channel, bool level);
bool i8237_can_run(const struct i8237 *d, unsigned channel);
/* Moves up to `bytes` (channels 5-7: a multiple of 2) between buf and the memory that the channel points at, until terminal
 * count; returns how many were moved. *tc: terminal count was reached with the last of them. A channel programmed for the
 * other direction moves nothing useful, as on the real bus: buf is filled with ones or thrown away. */
unsigned i8237_transfer(struct i8237 *d, unsigned channel, enum i8237_direction dir, void *buf, unsigned bytes, bool *tc);

#endif
