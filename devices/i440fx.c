/* i440fx.c - Intel 440FX host bridge (82441FX), as far as software sees it. PCI function 00.0, 8086:1237.
 *
 * Configuration mechanism #1 at CF8/CFC and the reset control register at CF9 (which is the PIIX3's on the board, but
 * shares the bridge's ports); data sheet 290549, 3.2: PAM registers 59h-5fh, SMRAM 72h.
 *
 * PAM: each segment between c0000 and fffff reads from and writes to DRAM or PCI, chosen separately. Behind PCI there
 * is the BIOS ROM at e0000-fffff and nothing below. Of the four combinations DRAM/DRAM is a RAM region, DRAM/PCI a
 * ROM region over DRAM, PCI/PCI no region (the ROM's own shows), PCI/DRAM (shadowing in place) goes through two
 * functions.
 *
 * SMRAM: only D_OPEN matters, which shows the DRAM under the VGA window: the CPU has no system management mode.
 */
#include "devices/i440fx.h"

#include <stdio.h>

enum { REG_PAM0 = 0x59, REG_SMRAM = 0x72 };
enum { SMRAM_OPEN = 0x40, SMRAM_CLOSED = 0x20, SMRAM_LOCK = 0x10, SMRAM_ENABLE = 0x08, SMRAM_BASE = 0x02 };
enum { PAM_READ = 1, PAM_WRITE = 2 };
enum { CF9_HARD = 0x02, CF9_RESET = 0x04 };
enum { PRIORITY_SHADOW = 3 };       /* over RAM, BARs, the low BIOS and the VGA window */

/* Offset into the BIOS image of address a in e0000-fffff; false: the image is too small to reach it. */
static bool bios_offset(const struct i440fx *h, gpa a, u64 *offset)
{
    u64 from_end = 0x100000 - a;
    if (a < 0xe0000 || from_end > h->bios_size)
        return false;
    *offset = h->bios_size - from_end;
    return true;
}

static u64 mixed_read(void *ctx, u64 offset, unsigned bytes)
{
    struct i440fx_pam *s = ctx;
    u64 v = 0, at;
    for (unsigned i = 0; i < bytes; i++) {
        bool rom = bios_offset(s->bridge, s->region.start + offset + i, &at);
        v |= (u64)(rom ? s->bridge->bios->base[at] : 0xff) << (8 * i);
    }
    return v;
}

static void mixed_write(void *ctx, u64 offset, unsigned bytes, u64 value)
{
    struct i440fx_pam *s = ctx;
    memcpy(s->bridge->ram->base + s->region.start + offset, &value, bytes);     /* both little-endian */
}

static const struct mmio_ops mixed_ops = { .read = mixed_read, .write = mixed_write };

static void pam_segment(struct i440fx_pam *s, u8 mode)
{
    struct region *r = &s->region;
    s->mode = mode;
    r->enabled = mode != 0;
    r->kind = mode == (PAM_READ | PAM_WRITE) ? REGION_RAM : mode == PAM_READ ? REGION_ROM : REGION_MMIO;
}

/* Segment 0 is f0000-fffff (59h bits 5:4); 1.. are 16 KiB each from c0000 (5ah bits 1:0, 5:4, 5bh ...). */
static u8 pam_mode(const struct i440fx *h, unsigned n)
{
    if (n == 0)
        return h->pci.config[REG_PAM0] >> 4 & 3;
    return h->pci.config[REG_PAM0 + (n + 1) / 2] >> (n & 1 ? 0 : 4) & 3;
}

static void map_update(struct i440fx *h)
{
    bool changed = false;
    for (unsigned n = 0; n < I440FX_PAM_SEGMENTS; n++) {
        u8 mode = pam_mode(h, n);
        if (mode == h->pam[n].mode)
            continue;
        pam_segment(&h->pam[n], mode);
        changed = true;
    }
    u8 smram = h->pci.config[REG_SMRAM];
    bool open = (smram & SMRAM_OPEN) && (smram & SMRAM_ENABLE);
    if (open != h->smram.enabled) {
        h->smram.enabled = open;
        changed = true;
    }
    if (changed)
        physmap_changed(bus_physmap(h->pci.dev.bus));
}

static void config_written(struct pci_device *p, u8 reg, unsigned bytes)
{
    struct i440fx *h = (struct i440fx *)p;
    u8 *smram = &p->config[REG_SMRAM];
    if (*smram & SMRAM_LOCK) {              /* until the next reset only D_CLS can be changed */
        *smram &= (u8)~SMRAM_OPEN;
        p->wmask[REG_SMRAM] = SMRAM_CLOSED;
    }
    map_update(h);
}

/* ------------------------------------------------------------------------------------------------ cf8 - cff ----- */

static void reset_control_write(struct i440fx *h, u8 v)
{
    bool rising = (v & CF9_RESET) && !(h->reset_control & CF9_RESET);
    h->reset_control = v & (CF9_HARD | CF9_RESET);
    if (rising && h->reset_request)
        h->reset_request(h->reset_ctx, v & CF9_HARD ? I440FX_RESET_HARD : I440FX_RESET_SOFT);
}

static u32 host_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct i440fx *h = (struct i440fx *)d;
    u32 a = h->config_address;
    if (reg == 0 && bytes == 4)
        return a;
    if (reg == 1 && bytes == 1)
        return h->reset_control;
    if (reg < 4 || !(a & 0x80000000))
        return 0xffffffff;
    return pci_config_read(h->pci.pci, (u8)(a >> 16), (u8)(a >> 8), (u8)((a & 0xfc) + (reg - 4)), bytes);
}

static void host_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct i440fx *h = (struct i440fx *)d;
    u32 a = h->config_address;
    if (reg == 0 && bytes == 4)
        h->config_address = value & 0x80fffffc;
    else if (reg == 1 && bytes == 1)
        reset_control_write(h, (u8)value);
    else if (reg >= 4 && (a & 0x80000000))
        pci_config_write(h->pci.pci, (u8)(a >> 16), (u8)(a >> 8), (u8)((a & 0xfc) + (reg - 4)), bytes, value);
}

/* ---------------------------------------------------------------------------------------------------- device ----- */

static void region_init(struct i440fx *h, struct region *r, const char *name, gpa start, u64 size)
{
    *r = (struct region){ .name = name, .start = start, .size = size, .priority = PRIORITY_SHADOW, .kind = REGION_RAM,
                          .ram = h->ram, .ram_offset = start };
    physmap_add(bus_physmap(h->pci.dev.bus), r);
}

static bool host_init(struct device *d, char *err, size_t errlen)
{
    struct i440fx *h = (struct i440fx *)d;
    pci_init(&h->pci, 0x8086, 0x1237, 0x060000, 0x02);
    pci_set_subsystem(&h->pci, 0x1af4, 0x1100);
    for (unsigned n = 0; n < I440FX_PAM_SEGMENTS; n++) {
        struct i440fx_pam *s = &h->pam[n];
        region_init(h, &s->region, "pam", n ? 0xc0000 + (n - 1) * 0x4000u : 0xf0000, n ? 0x4000 : 0x10000);
        s->bridge = h;
        s->region.ops = &mixed_ops;
        s->region.ctx = s;
    }
    region_init(h, &h->smram, "smram", 0xa0000, 0x20000);
    h->pci.config_written = config_written;
    memset(&h->pci.wmask[REG_PAM0], 0x33, 7);
    h->pci.wmask[REG_PAM0] = 0x30;
    return true;
}

static void host_reset(struct device *d)
{
    struct i440fx *h = (struct i440fx *)d;
    pci_reset(&h->pci);
    memset(&h->pci.config[REG_PAM0], 0, 7);
    h->pci.config[REG_SMRAM] = SMRAM_BASE;
    h->pci.wmask[REG_SMRAM] = SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE;
    h->pci.config[0x04] = 0x06;             /* memory and bus mastering are always on */
    h->pci.wmask[0x04] = 0x40;
    h->config_address = 0;
    h->reset_control = 0;
    map_update(h);
}

static void host_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct i440fx *h = (struct i440fx *)d;
    char line[128];
    snprintf(line, sizeof line, "PAM %02x %02x %02x %02x %02x %02x %02x SMRAM %02x", h->pci.config[0x59],
             h->pci.config[0x5a], h->pci.config[0x5b], h->pci.config[0x5c], h->pci.config[0x5d], h->pci.config[0x5e],
             h->pci.config[0x5f], h->pci.config[REG_SMRAM]);
    out(line, ctx);
}

static void host_fini(struct device *d)
{
    struct i440fx *h = (struct i440fx *)d;
    for (unsigned n = 0; n < I440FX_PAM_SEGMENTS; n++)
        physmap_remove(bus_physmap(d->bus), &h->pam[n].region);
    physmap_remove(bus_physmap(d->bus), &h->smram);
}

const struct device_class i440fx_class = {
    .name = "i440fx", .size = sizeof(struct i440fx), .init = host_init, .reset = host_reset, .fini = host_fini,
    .read = host_read, .write = host_write, .print = host_print,
};
