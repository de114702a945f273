/* uart16550.h - 16550A serial port. pc.c fills irq and line. */
#ifndef SHADOW86_UART16550_H
#define SHADOW86_UART16550_H

#include "devices/chardev.h"
#include "devices/device.h"

enum { UART16550_FIFO = 16 };

struct uart16550 {
    struct device dev;
    struct irq irq;
    struct chardev *line;       /* NULL: nothing is connected */
    /* private */
    u8 ier, fcr, lcr, mcr, lsr, msr, scr;
    u16 divisor;
    u8 rx[UART16550_FIFO], rx_errors[UART16550_FIFO];   /* errors: LSR bits that belong to the byte */
    unsigned rx_head, rx_count;
    u8 shown;                   /* what RBR reads while nothing new is there */
    bool thre_pending;          /* transmitter-empty interrupt not yet seen by reading IIR or writing THR */
    bool timeout;               /* bytes below the trigger level have waited four character times */
    struct timer timeout_timer;
};

extern const struct device_class uart16550_class;

#endif
