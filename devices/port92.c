/* port92.c - system control port A (PIIX3 data sheet, port 92h): bit 0 resets the CPU when it rises, bit 1 is the A20
 * gate. The other bits keep what was written, as on PS/2 boards (activity lights, CMOS password lock). */
#include "devices/port92.h"

enum { FAST_RESET = 0x01, A20 = 0x02 };

static u32 port92_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct port92 *p = (struct port92 *)d;
    return (p->latch & ~(u32)A20) | (*p->a20_state ? A20 : 0);
}

static void port92_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct port92 *p = (struct port92 *)d;
    bool rising = (value & ~p->latch) & FAST_RESET;
    p->latch = (u8)value;
    irq_set(p->a20, value & A20);
    if (rising)
        p->reset_request(p->reset_ctx);
}

static void port92_reset(struct device *d)
{
    ((struct port92 *)d)->latch = 0;
}

const struct device_class port92_class = {
    .name = "port92", .size = sizeof(struct port92), .reset = port92_reset, .read = port92_read, .write = port92_write,
    .byte_wide = true,
};
