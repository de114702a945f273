/* i8259.h - the pair of 8259A interrupt controllers of the PC/AT.
 *
 * pc.c fills intr and maps the regions. Lines 0-7 are the master's, 8-15 the slave's, whose INT is the master's input
 * 2.
 */
#ifndef SHADOW86_I8259_H
#define SHADOW86_I8259_H

#include "devices/device.h"

enum i8259_region {         /* what pc.c maps */
    I8259_REGION_MASTER,    /* ports 20-21 */
    I8259_REGION_SLAVE,     /* ports a0-a1 */
    I8259_REGION_ELCR,      /* ports 4d0-4d1 */
};

struct i8259_chip {
    u8 irr, imr, isr;
    u8 lines;               /* level of the eight inputs */
    u8 elcr, elcr_mask;     /* level-triggered inputs; those that may be */
    u8 vector;              /* ICW2: bits 7:3 */
    u8 cascade;             /* ICW3 */
    u8 icw4;
    u8 icw_step;            /* the ICW that a write to the odd port goes to; 0: OCW1 */
    bool single, needs_icw4;    /* ICW1: SNGL, IC4 */
    bool special_mask, poll, read_isr, rotate_aeoi;
    u8 lowest;              /* input with the lowest priority: 7 unless rotated */
};

struct i8259 {
    struct device dev;
    struct irq intr;        /* the pair's INT output */
    struct i8259_chip chip[2];
};

extern const struct device_class i8259_class;

void i8259_set(struct i8259 *p, unsigned line, bool level);
bool i8259_intr(const struct i8259 *p);             /* the INT output */
u8 i8259_ack(struct i8259 *p);                      /* the two INTA cycles: the vector */
bool i8259_waiting(const struct i8259 *p, unsigned line);   /* requested, not masked, not yet acknowledged */

#endif
