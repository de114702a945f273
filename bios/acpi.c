/* acpi.c - ACPI tables, handed to the BIOS through QEMU's table loader. ACPI 1.0b (chapter 5), HPET specification 1.0a.
 *
 * Two fw_cfg files hold the tables with pointers as offsets and checksums as zeros; "etc/table-loader" is a script that tells
 * the BIOS where to put the files, which pointers to relocate and which checksums to compute. RSDP and FADT are those of
 * ACPI 1.0, which every system since Windows 98 accepts.
 *
 * The BIOS places the PIIX4's power management block at 600h (SeaBIOS since 1.8); the FADT and the DSDT say so.
 */
#include "bios/blobs.h"
#include "bios/bytes.h"
#include "bios/private.h"

#include <stdio.h>

#define RSDP_FILE "etc/acpi/rsdp"
#define TABLES_FILE "etc/acpi/tables"

enum { PM_BASE = 0x600, GPE_BASE = 0xafe0, SMI_COMMAND = 0xb2, SMI_ACPI_ENABLE = 0xf1, SMI_ACPI_DISABLE = 0xf0,
       SCI_INTERRUPT = 9, CMOS_CENTURY = 0x32 };
enum { APIC_BASE = 0xfee00000, IOAPIC_BASE = 0xfec00000, HPET_BASE = 0xfed00000, PCI_HOLE_END = 0xfebfffff };
enum { HEADER = 36, HEADER_LENGTH = 4, HEADER_CHECKSUM = 9 };
enum { MADT_ACTIVE_HIGH_LEVEL = 0xd };

/* ------------------------------------------------------------------------------- QEMU's table loader script ----- */

enum loader_command { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER, LOADER_ADD_CHECKSUM };
enum loader_zone { ZONE_HIGH = 1, ZONE_FSEG };
enum { LOADER_ENTRY = 128, LOADER_NAME = 56 };

static u8 *loader_entry(struct bytes *script, enum loader_command command, const char *file)
{
    u8 *e = bytes_grow(script, LOADER_ENTRY);
    put_le(e, command, 4);
    memcpy(e + 4, file, strlen(file));
    return e + 4 + LOADER_NAME;
}

static void loader_allocate(struct bytes *script, const char *file, u32 align, enum loader_zone zone)
{
    u8 *e = loader_entry(script, LOADER_ALLOCATE, file);
    put_le(e, align, 4);
    e[4] = zone;
}

/* 32 bits at `offset` of file hold an offset in `target`. */
static void loader_pointer(struct bytes *script, const char *file, size_t offset, const char *target)
{
    u8 *e = loader_entry(script, LOADER_ADD_POINTER, file);
    memcpy(e, target, strlen(target));
    put_le(e + LOADER_NAME, offset, 4);
    e[LOADER_NAME + 4] = 4;
}

static void loader_checksum(struct bytes *script, const char *file, size_t offset, size_t start, size_t bytes)
{
    u8 *e = loader_entry(script, LOADER_ADD_CHECKSUM, file);
    put_le(e, offset, 4);
    put_le(e + 4, start, 4);
    put_le(e + 8, bytes, 4);
}

/* -------------------------------------------------------------------------------------------- the tables ----- */

static size_t table_begin(struct bytes *t, const char *signature, u8 revision)
{
    bytes_align(t, 16);
    size_t at = t->n;
    bytes_add(t, signature, 4);
    bytes_int(t, 0, 4);             /* length: table_end */
    bytes_int(t, revision, 1);
    bytes_int(t, 0, 1);             /* checksum: the loader */
    bytes_add(t, "SHDW86SHADOW86", 14);
    bytes_int(t, 1, 4);
    bytes_add(t, "SH86", 4);
    bytes_int(t, 1, 4);
    return at;
}

static size_t table_end(struct bytes *t, struct bytes *script, size_t at)
{
    put_le(t->data + at + HEADER_LENGTH, t->n - at, 4);
    loader_checksum(script, TABLES_FILE, at + HEADER_CHECKSUM, at, t->n - at);
    return at;
}

static void pointer(struct bytes *t, struct bytes *script, size_t target)
{
    loader_pointer(script, TABLES_FILE, t->n, TABLES_FILE);
    bytes_int(t, target, 4);
}

/* 5.2.6: read and written by firmware and system; 64-byte aligned, no checksum. */
static size_t add_facs(struct bytes *t)
{
    bytes_align(t, 64);
    size_t at = t->n;
    u8 *f = bytes_grow(t, 64);
    memcpy(f, "FACS", 4);
    put_le(f + 4, 64, 4);
    return at;
}

/* The value of an integer that dsdt.asl names: NameOp, name, DWordPrefix. */
static bool dsdt_patch(u8 *aml, size_t n, const char *name, u32 value)
{
    for (size_t i = HEADER; i + 10 <= n; i++) {
        if (aml[i] == 0x08 && !memcmp(aml + i + 1, name, 4) && aml[i + 5] == 0x0c) {
            put_le(aml + i + 6, value, 4);
            return true;
        }
    }
    return false;
}

/* SeaBIOS puts PCI memory above the RAM, at 2, 3 or 3.5 GiB. */
static u32 pci_hole_start(u64 ram_below_4g)
{
    return ram_below_4g <= 0x80000000 ? 0x80000000 : ram_below_4g <= 0xc0000000 ? 0xc0000000 : 0xe0000000;
}

static size_t add_dsdt(struct bytes *t, struct bytes *script, const struct pc_config *cfg, const struct bios_machine *m)
{
    u32 ports = 0x10000;            /* keeps the constant's size visible */

    for (unsigned i = 0; i < PC_MAX_SERIAL; i++)
        ports |= cfg->serial[i] ? 1u << i : 0;
    bytes_align(t, 16);
    size_t at = t->n;
    bytes_add(t, bios_dsdt_aml, bios_dsdt_aml_size);
    u8 *aml = t->data + at;
    bool patched = dsdt_patch(aml, bios_dsdt_aml_size, "PCIB", pci_hole_start(m->ram_below_4g)) &&
                   dsdt_patch(aml, bios_dsdt_aml_size, "PCIE", PCI_HOLE_END) &&
                   dsdt_patch(aml, bios_dsdt_aml_size, "COMP", ports);
    assert(patched);
    (void)patched;
    aml[HEADER_CHECKSUM] = 0;
    return table_end(t, script, at);
}

/* The processors: Scope (\_SB) { Processor (CPnn, n, 0, 0) {} ... }, 16.2.5. */
static size_t add_ssdt(struct bytes *t, struct bytes *script, unsigned cpus)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t at = table_begin(t, "SSDT", 1);
    u32 body = 2 + 5 + 13 * cpus;   /* PkgLength counts its own two bytes */

    bytes_int(t, 0x10, 1);
    bytes_int(t, 0x40 | (body & 15), 1);
    bytes_int(t, body >> 4, 1);
    bytes_add(t, "\\_SB_", 5);
    for (unsigned i = 0; i < cpus; i++) {
        u8 cpu[13] = { 0x5b, 0x83, 11, 'C', 'P', (u8)hex[i >> 4 & 15], (u8)hex[i & 15], (u8)i };
        bytes_add(t, cpu, sizeof(cpu));
    }
    return table_end(t, script, at);
}

/* 5.2.5, 116 bytes */
static size_t add_fadt(struct bytes *t, struct bytes *script, size_t facs, size_t dsdt)
{
    enum { WBINVD = 1 << 0, PROC_C1 = 1 << 2, NO_SLEEP_BUTTON = 1 << 5, RTC_S4 = 1 << 7 };
    size_t at = table_begin(t, "FACP", 1);

    pointer(t, script, facs);
    pointer(t, script, dsdt);
    bytes_int(t, 1, 1);                     /* INT_MODEL: APIC */
    bytes_int(t, 0, 1);
    bytes_int(t, SCI_INTERRUPT, 2);
    bytes_int(t, SMI_COMMAND, 4);
    bytes_int(t, SMI_ACPI_ENABLE, 1);
    bytes_int(t, SMI_ACPI_DISABLE, 1);
    bytes_int(t, 0, 2);                     /* S4BIOS_REQ */
    bytes_int(t, PM_BASE, 4);               /* PM1a_EVT_BLK */
    bytes_int(t, 0, 4);
    bytes_int(t, PM_BASE + 4, 4);           /* PM1a_CNT_BLK */
    bytes_int(t, 0, 8);                     /* PM1b_CNT_BLK, PM2_CNT_BLK */
    bytes_int(t, PM_BASE + 8, 4);           /* PM_TMR_BLK */
    bytes_int(t, GPE_BASE, 4);
    bytes_int(t, 0, 4);
    bytes_int(t, 4, 1);                     /* lengths: PM1_EVT, PM1_CNT, PM2_CNT, PM_TM, GPE0, GPE1 */
    bytes_int(t, 2, 1);
    bytes_int(t, 0, 1);
    bytes_int(t, 4, 1);
    bytes_int(t, 4, 1);
    bytes_int(t, 0, 3);                     /* GPE1 length and base, reserved */
    bytes_int(t, 0xfff, 2);                 /* no C2 */
    bytes_int(t, 0xfff, 2);                 /* no C3 */
    bytes_int(t, 0, 4);                     /* FLUSH_SIZE, FLUSH_STRIDE: WBINVD works */
    bytes_int(t, 0, 4);                     /* duty cycle, RTC alarm: none */
    bytes_int(t, CMOS_CENTURY, 1);
    bytes_int(t, 0, 3);
    bytes_int(t, WBINVD | PROC_C1 | NO_SLEEP_BUTTON | RTC_S4, 4);      /* the power button is a fixed one */
    return table_end(t, script, at);
}

/* 5.2.8 */
static size_t add_madt(struct bytes *t, struct bytes *script, unsigned cpus)
{
    static const struct { u8 irq, gsi, flags; } overrides[] = {
        { 0, 2, 0 },                        /* the timer comes in at input 2 */
        { 5, 5, MADT_ACTIVE_HIGH_LEVEL }, { 9, 9, MADT_ACTIVE_HIGH_LEVEL },
        { 10, 10, MADT_ACTIVE_HIGH_LEVEL }, { 11, 11, MADT_ACTIVE_HIGH_LEVEL },
    };
    size_t at = table_begin(t, "APIC", 1);

    bytes_int(t, APIC_BASE, 4);
    bytes_int(t, 1, 4);                     /* there are 8259s as well */
    for (unsigned i = 0; i < cpus; i++) {
        u8 lapic[8] = { 0, 8, (u8)i, (u8)i, 1 };
        bytes_add(t, lapic, sizeof(lapic));
    }
    u8 ioapic[12] = { 1, 12, 0 };
    put_le(ioapic + 4, IOAPIC_BASE, 4);
    bytes_add(t, ioapic, sizeof(ioapic));
    for (unsigned i = 0; i < ARRAY_LEN(overrides); i++) {
        u8 o[10] = { 2, 10, 0, overrides[i].irq, overrides[i].gsi, 0, 0, 0, overrides[i].flags };
        bytes_add(t, o, sizeof(o));
    }
    u8 nmi[6] = { 4, 6, 0xff, 0, 0, 1 };    /* of all processors at LINT1 */
    bytes_add(t, nmi, sizeof(nmi));
    return table_end(t, script, at);
}

/* HPET specification 3.2.4 */
static size_t add_hpet(struct bytes *t, struct bytes *script)
{
    size_t at = table_begin(t, "HPET", 1);

    bytes_int(t, 0x8086a201, 4);            /* as the low half of the capabilities register */
    bytes_int(t, 0, 4);                     /* in memory space */
    bytes_int(t, HPET_BASE, 8);
    bytes_int(t, 0, 1);
    bytes_int(t, 100, 2);                   /* least ticks of a periodic interrupt */
    bytes_int(t, 0, 1);
    return table_end(t, script, at);
}

/* "Windows ACPI Emulated Devices Table": the PM timer need not be read three times. */
static size_t add_waet(struct bytes *t, struct bytes *script)
{
    size_t at = table_begin(t, "WAET", 1);

    bytes_int(t, 1 << 1, 4);
    return table_end(t, script, at);
}

/* 5.2.4.1: 20 bytes, revision 0 */
static void add_rsdp(struct fw_cfg *f, struct bytes *script, size_t rsdt)
{
    u8 rsdp[20] = "RSD PTR ";

    memcpy(rsdp + 9, "SHDW86", 6);
    put_le(rsdp + 16, rsdt, 4);
    loader_pointer(script, RSDP_FILE, 16, TABLES_FILE);
    loader_checksum(script, RSDP_FILE, 8, 0, sizeof(rsdp));
    fw_cfg_add_file(f, RSDP_FILE, rsdp, sizeof(rsdp));
}

bool bios_fill_acpi(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen)
{
    struct bytes t = { 0 }, script = { 0 };
    size_t listed[5];

    if (m->cpus > 128) {
        snprintf(err, errlen, "more than 128 CPUs do not fit into the ACPI tables");
        return false;
    }
    loader_allocate(&script, RSDP_FILE, 16, ZONE_FSEG);
    loader_allocate(&script, TABLES_FILE, 64, ZONE_HIGH);
    size_t facs = add_facs(&t);
    size_t dsdt = add_dsdt(&t, &script, cfg, m);
    listed[0] = add_fadt(&t, &script, facs, dsdt);
    listed[1] = add_ssdt(&t, &script, m->cpus);
    listed[2] = add_madt(&t, &script, m->cpus);
    listed[3] = add_hpet(&t, &script);
    listed[4] = add_waet(&t, &script);
    size_t rsdt = table_begin(&t, "RSDT", 1);
    for (unsigned i = 0; i < ARRAY_LEN(listed); i++)
        pointer(&t, &script, listed[i]);
    table_end(&t, &script, rsdt);
    add_rsdp(f, &script, rsdt);
    fw_cfg_add_file(f, TABLES_FILE, t.data, t.n);
    fw_cfg_add_file(f, "etc/table-loader", script.data, script.n);
    free(t.data);
    free(script.data);
    return true;
}
