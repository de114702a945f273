/* e820.c - where the RAM is, in the two forms that firmware reads: fw_cfg's "etc/e820" and CMOS bytes.
 *
 * The BIOS takes what it needs for itself (EBDA, ROM area, tables at the top) out of this map.
 */
#include "bios/private.h"

enum { E820_RAM = 1 };

void bios_fill_e820(struct fw_cfg *f, const struct bios_machine *m)
{
    const struct { u64 start, bytes; } ram[] = { { 0, m->ram_below_4g }, { (u64)4 << 30, m->ram_above_4g } };
    struct bytes b = { 0 };

    for (unsigned i = 0; i < ARRAY_LEN(ram); i++) {
        if (!ram[i].bytes)
            continue;
        bytes_int(&b, ram[i].start, 8);
        bytes_int(&b, ram[i].bytes, 8);
        bytes_int(&b, E820_RAM, 4);
    }
    fw_cfg_add_file(f, "etc/e820", b.data, b.n);
    free(b.data);
}

static u64 at_most(u64 v, u64 max) { return v < max ? v : max; }

static void set16(bios_cmos_fn *set, void *ctx, u8 reg, u64 v)
{
    set(ctx, reg, (u8)v);
    set(ctx, reg + 1, (u8)(v >> 8));
}

/* The letter's device as the BIOS numbers it, 0 if it has none. */
static u8 boot_device(const char *order, unsigned n)
{
    if (n >= strlen(order))
        return 0;
    switch (order[n]) {
    case 'a': case 'b': return 1;
    case 'c': return 2;
    case 'd': return 3;
    case 'n': return 4;
    default: return 0;
    }
}

void bios_fill_cmos(const struct pc_config *cfg, const struct bios_machine *m, bios_cmos_fn *set, void *ctx)
{
    u64 below = m->ram_below_4g, from_16m = below > 16 << 20 ? below - (16 << 20) : 0;
    u64 from_1m = below > 1 << 20 ? below - (1 << 20) : 0;
    const char *order = cfg->boot_order ? cfg->boot_order : "cad";

    set16(set, ctx, 0x15, 640);                                     /* KiB of conventional memory */
    set16(set, ctx, 0x17, at_most(from_1m >> 10, 0xffff));          /* KiB from 1 MiB on */
    set16(set, ctx, 0x30, at_most(from_1m >> 10, 0xffff));          /* the same */
    set16(set, ctx, 0x34, at_most(from_16m >> 16, 0xffff));         /* 64 KiB blocks from 16 MiB on */
    set(ctx, 0x5b, (u8)(m->ram_above_4g >> 16));                    /* 64 KiB blocks from 4 GiB on, 24 bits */
    set(ctx, 0x5c, (u8)(m->ram_above_4g >> 24));
    set(ctx, 0x5d, (u8)(m->ram_above_4g >> 32));
    set(ctx, 0x5f, (u8)(m->cpus - 1));
    set(ctx, 0x3d, (u8)(boot_device(order, 1) << 4 | boot_device(order, 0)));
    set(ctx, 0x38, (u8)(boot_device(order, 2) << 4 | 1));           /* bit 0: any first sector of a floppy will do */
}
