/* piix3.c - Intel 82371SB (PIIX3), function 0: the PCI-to-ISA bridge. 8086:7000.
 *
 * Data sheet 290550, 2.1 (configuration registers). PIRQRC[A:D] at 60h-63h: bit 7 off, bits 3:0 the ISA interrupt.
 * Several PIRQs on one interrupt are ORed. The other registers keep what is written; decoding of the BIOS, the keyboard
 * controller and so on is always on. The ELCR ports live in i8259.c, the reset control port in i440fx.c.
 */
#include "devices/piix3.h"

#include <stdio.h>

enum { REG_PIRQ = 0x60, PIRQ_OFF = 0x80 };

/* Legend: register, its value after reset, bits that can be written (data sheet, 2.1). */
static const struct { u8 reg, reset, mask; } registers[] = {
    { 0x4c, 0x4d, 0x7f }, { 0x4e, 0x03, 0xff }, { 0x4f, 0x00, 0x01 },
    { 0x60, 0x80, 0x8f }, { 0x61, 0x80, 0x8f }, { 0x62, 0x80, 0x8f }, { 0x63, 0x80, 0x8f },
    { 0x69, 0x02, 0xfe }, { 0x6a, 0x00, 0xf7 }, { 0x70, 0x80, 0xcf }, { 0x76, 0x0c, 0x8f }, { 0x77, 0x0c, 0x8f },
    { 0x78, 0x02, 0xff }, { 0x79, 0x00, 0xff }, { 0x80, 0x00, 0x7f }, { 0x82, 0x00, 0x0f },
    { 0xa0, 0x08, 0x1f }, { 0xa2, 0x00, 0xff }, { 0xa3, 0x00, 0x01 }, { 0xa4, 0x00, 0xff }, { 0xa5, 0x00, 0xff },
    { 0xa6, 0x00, 0xff }, { 0xa7, 0x00, 0xff }, { 0xa8, 0x0f, 0xff }, { 0xaa, 0x00, 0xff }, { 0xab, 0x00, 0xff },
    { 0xac, 0x00, 0xff }, { 0xae, 0x00, 0xff },
};

static void route(struct piix3 *p)
{
    u16 high = 0;
    for (unsigned n = 0; n < 4; n++) {
        u8 rc = p->pci.config[REG_PIRQ + n];
        if (p->pirq[n] && !(rc & PIRQ_OFF))
            high |= (u16)(1u << (rc & 15));
    }
    u16 changed = high ^ p->driven;
    p->driven = high;
    for (unsigned i = 0; i < 16; i++)
        if (changed >> i & 1)
            irq_set(p->irq[i], high >> i & 1);
}

void piix3_pirq(void *piix3, int n, bool level)
{
    struct piix3 *p = piix3;
    p->pirq[n & 3] = level;
    route(p);
}

static void config_written(struct pci_device *pci, u8 reg, unsigned bytes)
{
    route((struct piix3 *)pci);
}

static bool piix3_init(struct device *d, char *err, size_t errlen)
{
    struct piix3 *p = (struct piix3 *)d;
    pci_init(&p->pci, 0x8086, 0x7000, 0x060100, 0x00);
    pci_set_subsystem(&p->pci, 0x1af4, 0x1100);
    p->pci.config_written = config_written;
    for (unsigned i = 0; i < ARRAY_LEN(registers); i++)
        p->pci.wmask[registers[i].reg] = registers[i].mask;
    return true;
}

static void piix3_reset(struct device *d)
{
    struct piix3 *p = (struct piix3 *)d;
    pci_reset(&p->pci);
    p->pci.config[0x04] = 0x07;         /* I/O, memory and bus mastering cannot be turned off */
    p->pci.wmask[0x04] = 0x00;
    p->pci.config[0x07] = 0x02;         /* DEVSEL# timing: medium */
    for (unsigned i = 0; i < ARRAY_LEN(registers); i++)
        p->pci.config[registers[i].reg] = registers[i].reset;
    route(p);
}

static void piix3_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct piix3 *p = (struct piix3 *)d;
    char line[80];
    snprintf(line, sizeof line, "PIRQA-D to %02x %02x %02x %02x, levels %d%d%d%d", p->pci.config[0x60],
             p->pci.config[0x61],
             p->pci.config[0x62], p->pci.config[0x63], p->pirq[0], p->pirq[1], p->pirq[2], p->pirq[3]);
    out(line, ctx);
}

const struct device_class piix3_class = {
    .name = "piix3", .size = sizeof(struct piix3), .init = piix3_init, .reset = piix3_reset, .print = piix3_print,
};
