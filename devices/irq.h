/* irq.h - an interrupt (or any other) line as a value: handed to a device when the machine is wired, so that no device
 * knows what its line ends in. */
#ifndef SHADOW86_IRQ_H
#define SHADOW86_IRQ_H

#include "cpu/types.h"

typedef void irq_fn(void *ctx, int n, bool level);
struct irq { irq_fn *set; void *ctx; int n; };

/* Drives the line; a line that is connected to nothing may be driven too. Under the machine lock. */
static inline void irq_set(struct irq line, bool level)
{
    if (line.set)
        line.set(line.ctx, line.n, level);
}

#endif
