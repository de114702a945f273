/* i8254.h - programmable interval timer: three 16-bit counters at 1.193182 MHz.
 *
 * pc.c fills irq0 and unserved, maps ports 40-43 as region 0; port61.c drives gate 2 and looks at output 2.
 */
#ifndef SHADOW86_I8254_H
#define SHADOW86_I8254_H

#include "devices/device.h"

#define I8254_HZ 1193182u

struct i8254_counter {
    u8 control;             /* RW, mode and BCD bits of the control word, as status reads them */
    u8 mode;                /* 0..5 */
    bool gate;
    bool loaded;            /* a count is in CE: counting, or (modes 1, 5) has been triggered */
    bool has_cr;            /* a full count was written since the control word */
    bool null_count;        /* CR not yet transferred to CE */
    u32 cr, n;              /* counts 1..65536: count register; what the counting element was loaded with */
    s64 start;              /* tick at which CE held n */
    bool frozen;            /* gate low holds the count */
    s64 frozen_elapsed;
    bool reload_pending;    /* modes 2, 3: cr takes over at tick reload_at */
    s64 reload_at;
    u8 write_low;
    bool write_second, read_second;
    bool count_latched, status_latched;
    u16 count_latch;
    u8 status_latch;
};

struct i8254 {
    struct device dev;
    struct irq irq0;                        /* OUT 0 */
    /* has the last tick not been taken by the CPU yet? NULL: ticks never wait */
    bool (*unserved)(void *ctx);
    void *unserved_ctx;
    /* private */
    struct i8254_counter counter[3];
    struct timer edge;                      /* next rising edge of OUT 0 */
    s64 edge_tick;
    struct timer catch_up;
    u32 owed;                               /* ticks that could not be delivered in time */
};

extern const struct device_class i8254_class;

void i8254_gate2(struct i8254 *p, bool level);
bool i8254_out(struct i8254 *p, unsigned counter);

#endif
