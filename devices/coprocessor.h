/* coprocessor.h - the PC/AT's glue around the x87's error output. */
#ifndef SHADOW86_COPROCESSOR_H
#define SHADOW86_COPROCESSOR_H

#include "devices/device.h"

struct coprocessor { struct device dev; struct irq irq13; };    /* irq13 is filled by pc.c, which maps ports f0-f1 */

extern const struct device_class coprocessor_class;

void coprocessor_ferr(struct coprocessor *c, bool level);

#endif
