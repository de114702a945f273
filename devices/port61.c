/* port61.c - system control port B of the PC/AT (PIIX3 data sheet, NMI status and control register).
 *
 * 0 gate of counter 2, 1 speaker data enable, 2 and 3 PERR# and IOCHK# off (read back, no such errors here), 4
 * toggles with every refresh request (15.085 us apart), 5 output of counter 2, 6 IOCHK#, 7 SERR#.
 */
#include "devices/port61.h"

enum { GATE2 = 0x01, SPEAKER = 0x02, WRITABLE = 0x0f, REFRESH = 0x10, OUT2 = 0x20 };
#define REFRESH_NS 15085u

static u32 port61_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct port61 *p = (struct port61 *)d;
    u32 v = p->latch;
    if (clock_now(d->clock) / REFRESH_NS & 1)
        v |= REFRESH;
    if (i8254_out(p->pit, 2))
        v |= OUT2;
    return v;
}

static void port61_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct port61 *p = (struct port61 *)d;
    p->latch = value & WRITABLE;
    i8254_gate2(p->pit, value & GATE2);
}

bool port61_speaker(struct port61 *p)
{
    return (p->latch & SPEAKER) && i8254_out(p->pit, 2);
}

static void port61_reset(struct device *d)
{
    port61_write(d, 0, 0, 1, 0);
}

const struct device_class port61_class = {
    .name = "port61", .size = sizeof(struct port61), .reset = port61_reset, .read = port61_read, .write = port61_write,
    .byte_wide = true,
};
