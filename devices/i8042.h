/* i8042.h - keyboard controller with a PS/2 keyboard and mouse. */
#ifndef SHADOW86_I8042_H
#define SHADOW86_I8042_H

#include "devices/device.h"
#include "devices/ps2.h"

enum i8042_region { I8042_REGION_DATA, I8042_REGION_COMMAND };      /* ports 60 and 64 */

struct i8042 {
    struct device dev;
    struct irq irq1, irq12;             /* filled by pc.c, as are the next three */
    struct irq a20;                     /* A20 gate: the output port's bit 1 */
    const bool *a20_state;              /* how the gate stands: others drive it too */
    void (*reset_request)(void *ctx);   /* output port bit 0 went low */
    void *reset_ctx;
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    /* private */
    u8 status, ram[32];                 /* ram[0] is the command byte */
    u8 command;                         /* waits for a byte at port 60; 0: none */
    u8 data;                            /* output buffer; keeps its value after it was read */
    bool from_device;                   /* it came over a wire, so that the next byte needs its time */
    u8 answers[16], answer_count;       /* of the controller itself, ahead of the devices' bytes */
    bool break_prefix;                  /* translation: F0 was swallowed */
    struct timer timer;                 /* pause between two bytes of a device */
};

extern const struct device_class i8042_class;

#endif
