/* coprocessor.c - FERR# raises IRQ 13; a write to port F0h takes the request away (PIIX3 data sheet, "coprocessor error
 * register"). IGNNE# needs no model: handlers continue with non-waiting instructions. */
#include "devices/coprocessor.h"

void coprocessor_ferr(struct coprocessor *c, bool level)
{
    irq_set(c->irq13, level);
}

static u32 ports_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    return 0xff;
}

static void ports_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    irq_set(((struct coprocessor *)d)->irq13, false);
}

static void ports_reset(struct device *d)
{
    irq_set(((struct coprocessor *)d)->irq13, false);
}

const struct device_class coprocessor_class = {
    .name = "coprocessor", .size = sizeof(struct coprocessor), .reset = ports_reset, .read = ports_read,
    .write = ports_write, .byte_wide = true,
};
