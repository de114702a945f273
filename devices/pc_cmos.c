/* pc_cmos.c - what the BIOS finds in CMOS RAM: memory sizes, drives, boot order.
 *
 * Bytes 0Eh-33h as IBM's AT BIOS defined them; 34h-35h, 38h-39h, 3Dh, 5Bh-5Dh, 5Fh as Bochs and QEMU added them and
 * SeaBIOS reads.
 */
#include <string.h>

#include "devices/pc_private.h"

enum { CMOS_FLOPPY = 0x10, CMOS_DISK = 0x12, CMOS_EQUIPMENT = 0x14, CMOS_BASE_KB = 0x15, CMOS_EXT_KB = 0x17,
       CMOS_DISK_TYPE = 0x19, CMOS_DISK_GEOMETRY = 0x1b, CMOS_EXT_KB_POST = 0x30, CMOS_ABOVE_16M = 0x34,
       CMOS_BOOT3 = 0x38,
       CMOS_TRANSLATION = 0x39, CMOS_BOOT12 = 0x3d, CMOS_ABOVE_4G = 0x5b, CMOS_CPUS = 0x5f };
enum { EQUIPMENT_FLOPPY = 0x01, EQUIPMENT_FPU = 0x02, EQUIPMENT_MOUSE = 0x04 };
enum { TYPE_USER = 47, GEOMETRY_BYTES = 9, NO_FLOPPY_SIGNATURE_CHECK = 0x01 };

static void put16(struct mc146818 *r, u8 reg, u64 v)
{
    mc146818_set(r, reg, (u8)v);
    mc146818_set(r, reg + 1, (u8)(v >> 8));
}

static u64 at_most(u64 v, u64 limit) { return v < limit ? v : limit; }
static u64 above(u64 v, u64 floor) { return v > floor ? v - floor : 0; }

static void fill_memory(struct pc *p)
{
    u64 ext_kb = at_most(above(p->ram_below_4g, 1 << 20) >> 10, 0xffff);
    put16(p->rtc, CMOS_BASE_KB, at_most(p->ram_below_4g >> 10, 640));
    put16(p->rtc, CMOS_EXT_KB, ext_kb);
    put16(p->rtc, CMOS_EXT_KB_POST, ext_kb);
    put16(p->rtc, CMOS_ABOVE_16M, at_most(above(p->ram_below_4g, 16 << 20) >> 16, 0xffff));
    put16(p->rtc, CMOS_ABOVE_4G, p->ram_above_4g >> 16);
    mc146818_set(p->rtc, CMOS_ABOVE_4G + 2, (u8)(p->ram_above_4g >> 32));
    mc146818_set(p->rtc, CMOS_CPUS, 0);         /* number of CPUs minus one */
}

/* A disk of the primary cable: user-defined type, its geometry. */
static void fill_disk(struct pc *p, unsigned unit)
{
    struct ide_geometry g;
    u8 at = (u8)(CMOS_DISK_GEOMETRY + unit * GEOMETRY_BYTES);
    if (!ide_disk_geometry(p->ide, unit, &g))
        return;
    mc146818_set(p->rtc, CMOS_DISK, mc146818_get(p->rtc, CMOS_DISK) | (unit ? 0x0f : 0xf0));
    mc146818_set(p->rtc, (u8)(CMOS_DISK_TYPE + unit), TYPE_USER);
    put16(p->rtc, at, g.cylinders);
    mc146818_set(p->rtc, at + 2, (u8)g.heads);
    put16(p->rtc, at + 3, 0xffff);              /* no write precompensation */
    mc146818_set(p->rtc, at + 5, (u8)(0xc0 | (g.heads > 8) << 3));
    put16(p->rtc, at + 6, g.cylinders);         /* landing zone */
    mc146818_set(p->rtc, at + 8, (u8)g.sectors);
}

static void fill_drives(struct pc *p)
{
    u8 equipment = EQUIPMENT_FPU | EQUIPMENT_MOUSE, translation = 0;
    unsigned floppies = p->fdc->drive[0].present + p->fdc->drive[1].present;
    if (floppies)
        equipment |= (u8)(EQUIPMENT_FLOPPY | (floppies - 1) << 6);
    mc146818_set(p->rtc, CMOS_FLOPPY, fdc_cmos_types(p->fdc));
    mc146818_set(p->rtc, CMOS_EQUIPMENT, equipment);
    fill_disk(p, 0);
    fill_disk(p, 1);
    for (unsigned unit = 0; unit < 4; unit++) {
        struct ide_geometry g;
        if (ide_disk_geometry(p->ide, unit, &g))
            translation |= (u8)((g.bios_translation & 3) << (2 * unit));
    }
    mc146818_set(p->rtc, CMOS_TRANSLATION, translation);
}

static u8 boot_code(char letter)
{
    static const char letters[] = "acdn";
    const char *at = letter ? strchr(letters, letter) : NULL;
    return at ? (u8)(at - letters + 1) : 0;
}

static void fill_boot_order(struct pc *p)
{
    const char *order = p->cfg.boot_order ? p->cfg.boot_order : "cad";
    u8 code[3] = { 0 };
    for (unsigned i = 0; i < 3 && order[i]; i++)
        code[i] = boot_code(order[i]);
    mc146818_set(p->rtc, CMOS_BOOT12, (u8)(code[1] << 4 | code[0]));
    mc146818_set(p->rtc, CMOS_BOOT3, (u8)(code[2] << 4 | NO_FLOPPY_SIGNATURE_CHECK));
}

void pc_cmos_fill(struct pc *p)
{
    fill_memory(p);
    fill_drives(p);
    fill_boot_order(p);
}
