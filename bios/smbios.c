/* smbios.c - what the machine is called and made of: SMBIOS 2.8 (DMTF DSP0134).
 *
 * Structure 0 (BIOS) is left to SeaBIOS, which adds its own with its true version when it finds none, and completes the
 * entry point (addresses, checksums).
 */
#include "bios/private.h"

#include <stdio.h>

enum { ENTRY_POINT = 31, DIMM_MAX_MIB = 16384 };

struct table { struct bytes b; unsigned count; size_t longest, start, strings; };

/* A structure: formatted area, then strings in order of their numbers, then a zero. */
static void begin(struct table *t, u8 type, u16 handle)
{
    t->start = t->b.n;
    t->strings = 0;
    bytes_int(&t->b, type, 1);
    bytes_int(&t->b, 0, 1);                 /* length of the formatted area: end() */
    bytes_int(&t->b, handle, 2);
}

static void end(struct table *t, const char *const *strings)
{
    t->b.data[t->start + 1] = (u8)(t->b.n - t->start);
    if (!strings || !*strings)
        bytes_int(&t->b, 0, 1);
    for (; strings && *strings; strings++)
        bytes_add(&t->b, *strings, strlen(*strings) + 1);
    bytes_int(&t->b, 0, 1);
    t->count++;
    if (t->b.n - t->start > t->longest)
        t->longest = t->b.n - t->start;
}

#define INT(value, bytes) bytes_int(&t->b, value, bytes)

static void system_information(struct table *t)
{
    begin(t, 1, 0x100);
    INT(1, 1);                              /* maker, product, version; no serial number */
    INT(2, 1);
    INT(3, 1);
    INT(0, 1);
    bytes_grow(&t->b, 16);                  /* UUID: not set */
    INT(6, 1);                              /* woken up by the power switch */
    INT(0, 2);                              /* SKU, family */
    end(t, (const char *const[]){ "shadow86", "Standard PC (i440FX + PIIX, 1996)", "0.1", NULL });
}

static void enclosure(struct table *t)
{
    begin(t, 3, 0x300);
    INT(1, 1);
    INT(1, 1);                              /* type: other */
    INT(0, 3);
    INT(0x030303, 3);                       /* boot-up, power supply, thermal state: safe */
    INT(2, 1);                              /* security: unknown */
    INT(0, 4);
    INT(0, 4);                              /* height, power cords, contained elements */
    INT(0, 1);                              /* SKU */
    end(t, (const char *const[]){ "shadow86", NULL });
}

static void processor(struct table *t, unsigned n)
{
    char socket[16];

    snprintf(socket, sizeof(socket), "CPU %u", n);
    begin(t, 4, (u16)(0x400 + n));
    INT(1, 1);
    INT(3, 1);                              /* central processor */
    INT(1, 1);                              /* family: other */
    INT(2, 1);
    INT(0, 8);                              /* ID: ask CPUID */
    INT(0, 1);
    INT(0, 1);                              /* voltage */
    INT(0, 6);                              /* clocks: unknown */
    INT(0x41, 1);                           /* populated, enabled */
    INT(1, 1);                              /* upgrade: other */
    INT(0xffffffffffff, 6);                 /* no cache handles */
    INT(0, 3);                              /* serial number, tag, part number */
    INT(0x010101, 3);                       /* cores, enabled, threads */
    INT(1 << 2, 2);                         /* 64-bit capable */
    INT(1, 2);
    end(t, (const char *const[]){ socket, "shadow86", NULL });
}

static unsigned dimm_count(u64 mib) { return (unsigned)((mib + DIMM_MAX_MIB - 1) / DIMM_MAX_MIB); }

static void memory_array(struct table *t, u64 mib)
{
    u64 kib = mib << 10;

    begin(t, 16, 0x1000);
    INT(1, 1);                              /* location: other */
    INT(3, 1);                              /* use: system memory */
    INT(6, 1);                              /* multi-bit ECC: reads never fail */
    INT(kib < 0x80000000 ? kib : 0x80000000, 4);
    INT(0xfffe, 2);                         /* no error structure */
    INT(dimm_count(mib), 2);
    INT(kib < 0x80000000 ? 0 : mib << 20, 8);
    end(t, NULL);
}

static void memory_device(struct table *t, unsigned n, u64 mib)
{
    char locator[16];

    snprintf(locator, sizeof(locator), "DIMM %u", n);
    begin(t, 17, (u16)(0x1100 + n));
    INT(0x1000, 2);
    INT(0xfffe, 2);
    INT(0xffff, 2);                         /* widths: unknown */
    INT(0xffff, 2);
    INT(mib, 2);
    INT(9, 1);                              /* form factor: DIMM */
    INT(0, 1);
    INT(1, 1);
    INT(0, 1);
    INT(7, 1);                              /* type: RAM */
    INT(1 << 1, 2);                         /* detail: other */
    INT(0, 2);                              /* speed */
    INT(0x00000002, 4);                     /* maker; serial number, tag, part number: none */
    INT(0, 1);                              /* rank */
    INT(0, 4);
    INT(0, 2);
    INT(0, 6);                              /* voltages */
    end(t, (const char *const[]){ locator, "shadow86", NULL });
}

static void mapped_address(struct table *t, unsigned n, u64 start, u64 bytes)
{
    bool wide = start + bytes > (u64)4 << 40;

    if (!bytes)
        return;
    begin(t, 19, (u16)(0x1300 + n));
    INT(wide ? 0xffffffff : start >> 10, 4);
    INT(wide ? 0xffffffff : ((start + bytes) >> 10) - 1, 4);
    INT(0x1000, 2);
    INT(1, 1);
    INT(wide ? start : 0, 8);
    INT(wide ? start + bytes - 1 : 0, 8);
    end(t, NULL);
}

static void boot_status(struct table *t)
{
    begin(t, 32, 0x2000);
    INT(0, 6);
    INT(0, 1);                              /* no errors */
    end(t, NULL);
}

static u8 negative_sum(const u8 *p, size_t n)
{
    u8 sum = 0;
    while (n--)
        sum += *p++;
    return (u8)-sum;
}

/* 5.2.1; the table's address and both checksums are completed by the BIOS */
static void entry_point(u8 e[ENTRY_POINT], const struct table *t)
{
    memcpy(e, "_SM_", 4);
    e[5] = ENTRY_POINT;
    e[6] = 2;
    e[7] = 8;
    put_le(e + 8, t->longest, 2);
    memcpy(e + 16, "_DMI_", 5);
    put_le(e + 22, t->b.n, 2);
    put_le(e + 28, t->count, 2);
    e[30] = 0x28;
    e[21] = negative_sum(e + 16, 15);
    e[4] = negative_sum(e, ENTRY_POINT);
}

void bios_fill_smbios(struct fw_cfg *f, const struct bios_machine *m)
{
    struct table table = { 0 }, *t = &table;
    u64 mib = (m->ram_below_4g + m->ram_above_4g) >> 20;
    u8 entry[ENTRY_POINT] = { 0 };

    system_information(t);
    enclosure(t);
    for (unsigned i = 0; i < m->cpus; i++)
        processor(t, i);
    memory_array(t, mib);
    for (unsigned i = 0; i < dimm_count(mib) && i < 64; i++) {
        u64 left = mib - (u64)i * DIMM_MAX_MIB;
        memory_device(t, i, left < DIMM_MAX_MIB ? left : DIMM_MAX_MIB);
    }
    mapped_address(t, 0, 0, m->ram_below_4g);
    mapped_address(t, 1, (u64)4 << 30, m->ram_above_4g);
    boot_status(t);
    begin(t, 127, 0x7f00);
    end(t, NULL);
    entry_point(entry, t);
    fw_cfg_add_file(f, "etc/smbios/smbios-anchor", entry, sizeof(entry));
    fw_cfg_add_file(f, "etc/smbios/smbios-tables", t->b.data, t->b.n);
    free(t->b.data);
}
