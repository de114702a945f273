/* test_fw_cfg.c - the fw_cfg device as a guest sees it, and what bios/ puts into it: boot order, e820, ACPI tables after the
 * loader's script has run, SMBIOS. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bios/bios.h"

static char err[300];
static struct physmap *map;
static struct ram *ram;
static struct region low;
static struct bus *bus;
static struct fw_cfg *f;

static void setup(void)
{
    map = physmap_new();
    ram = ram_new(1 << 20, err, sizeof(err));
    low = (struct region){ .name = "ram", .size = 1 << 20, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(map, &low);
    bus = bus_new(map, NULL);
    f = device_new(bus, &fw_cfg_class);
    ck_assert(device_init((struct device *)f, err, sizeof(err)));
    bus_map_io(bus, 0x510, 2, (struct device *)f, FW_CFG_REGION_PORTS);
    bus_map_io(bus, 0x514, 8, (struct device *)f, FW_CFG_REGION_DMA);
}

static void teardown(void)
{
    bus_free(bus);
    physmap_free(map);
    ram_free(ram);
}

static void select_key(u16 key) { bus_io_write(bus, 0x510, 2, key); }
static u8 next(void) { return (u8)bus_io_read(bus, 0x511, 1); }
static u64 be(const u8 *p, unsigned n)
{
    u64 v = 0;
    while (n--)
        v = v << 8 | *p++;
    return v;
}
static void to_be(u8 *p, u64 v, unsigned n)
{
    while (n--) {
        p[n] = (u8)v;
        v >>= 8;
    }
}
static u64 le(const void *p, unsigned n)
{
    u64 v = 0;
    while (n--)
        v = v << 8 | ((const u8 *)p)[n];
    return v;
}

/* Runs a descriptor at 1000h; returns its control word afterwards. */
static u32 dma(u32 control, u32 length, u64 address)
{
    to_be(ram->base + 0x1000, control, 4);
    to_be(ram->base + 0x1004, length, 4);
    to_be(ram->base + 0x1008, address, 8);
    bus_io_write(bus, 0x514, 4, 0);
    bus_io_write(bus, 0x518, 4, __builtin_bswap32(0x1000));
    return (u32)be(ram->base + 0x1000, 4);
}

START_TEST(test_ports)
{
    select_key(FW_CFG_SIGNATURE);
    ck_assert(next() == 'Q' && next() == 'E' && next() == 'M' && next() == 'U');
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(next(), 0);
    select_key(FW_CFG_ID);
    ck_assert_uint_eq(next(), 3);
    fw_cfg_add_u16(f, 0x0e, 0x1234);
    fw_cfg_add_u64(f, 3, 0x1122334455667788);
    fw_cfg_add_string(f, 0x8003, "x");
    select_key(0x400e);                     /* the write channel's bit is not part of the key */
    ck_assert(next() == 0x34 && next() == 0x12 && next() == 0);
    select_key(3);
    ck_assert_uint_eq(next(), 0x88);
    select_key(0x8003);
    ck_assert(next() == 'x' && next() == 0);
    select_key(3);
    fw_cfg_add_u16(f, 3, 7);                /* replaced while selected */
    ck_assert(next() == 7 && next() == 0 && next() == 0);
    select_key(0x3000);
    ck_assert_uint_eq(next(), 0);
    /* accesses that mean nothing */
    bus_io_write(bus, 0x510, 1, 3);
    bus_io_write(bus, 0x511, 1, 3);
    bus_io_write(bus, 0x518, 2, 3);
    bus_io_read(bus, 0x510, 2);
    ck_assert_uint_eq(bus_io_read(bus, 0x514, 4), 0x554d4551);      /* "QEMU" */
    ck_assert_uint_eq(bus_io_read(bus, 0x518, 4), 0x47464320);      /* " CFG" */
    ck_assert_uint_eq(bus_io_read(bus, 0x519, 1), 'C');
}
END_TEST

START_TEST(test_directory)
{
    static const char *const names[] = { "etc/zero", "bootorder", "etc/a", "opt/the-longest-name-that-fits-into-the-directory-entry" };
    for (unsigned i = 0; i < 4; i++)
        fw_cfg_add_file(f, names[i], names[i], strlen(names[i]));
    fw_cfg_add_file(f, "etc/a", "new", 3);
    select_key(FW_CFG_FILE_DIR);
    u8 dir[4 + 4 * 64];
    for (unsigned i = 0; i < sizeof(dir); i++)
        dir[i] = next();
    ck_assert_uint_eq(be(dir, 4), 4);
    const char *before = "";
    for (unsigned i = 0; i < 4; i++) {
        const u8 *e = dir + 4 + 64 * i;
        ck_assert_int_lt(strcmp(before, (const char *)e + 8), 0);
        before = (const char *)e + 8;
        ck_assert_uint_eq(be(e + 4, 2), FW_CFG_FILE_FIRST + i);
        size_t n;
        const char *data = fw_cfg_file(f, before, &n);
        ck_assert_uint_eq(be(e, 4), n);
        select_key((u16)be(e + 4, 2));
        for (unsigned k = 0; k < n; k++)
            ck_assert_uint_eq(next(), (u8)data[k]);
    }
    size_t n;
    ck_assert(!memcmp(fw_cfg_file(f, "etc/a", &n), "new", 3) && n == 3);
    ck_assert_ptr_null(fw_cfg_file(f, "etc/b", &n));
    /* many, in random order */
    unsigned seed = 1;
    for (unsigned i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof(name), "opt/%u", (unsigned)rand_r(&seed) % 300);
        fw_cfg_add_file(f, name, name, strlen(name));
    }
    const u8 *d = fw_cfg_item(f, FW_CFG_FILE_DIR, &n);
    unsigned files = (unsigned)be(d, 4);
    ck_assert_uint_eq(n, 4 + 64 * files);
    for (unsigned i = 1; i < files; i++)
        ck_assert_int_lt(strcmp((const char *)d + 4 + 64 * (i - 1) + 8, (const char *)d + 4 + 64 * i + 8), 0);
}
END_TEST

START_TEST(test_dma)
{
    u8 data[300];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (u8)(i + 1);
    fw_cfg_add(f, 0x11, data, sizeof(data));
    memset(ram->base + 0x2000, 0xee, 0x1000);
    ck_assert_uint_eq(dma(0x11 << 16 | 8 | 2, 100, 0x2000), 0);
    ck_assert(!memcmp(ram->base + 0x2000, data, 100) && ram->base[0x2000 + 100] == 0xee);
    ck_assert_uint_eq(dma(2, 100, 0x2064), 0);              /* goes on */
    ck_assert(!memcmp(ram->base + 0x2000, data, 200));
    ck_assert_uint_eq(dma(4, 50, 0), 0);                    /* skips */
    ck_assert_uint_eq(next(), data[250]);                   /* ports and DMA share the position */
    ck_assert_uint_eq(dma(2, 0x100, 0x3000), 0);            /* zeros behind the end */
    ck_assert(!memcmp(ram->base + 0x3000, data + 251, 49));
    for (unsigned i = 49; i < 0x100; i++)
        ck_assert_uint_eq(ram->base[0x3000 + i], 0);
    ck_assert_uint_eq(dma(0x3fff << 16 | 8 | 2, 16, 0x2000), 0);
    ck_assert_uint_eq(ram->base[0x2000], 0);
    ck_assert_uint_eq(dma(0x11 << 16 | 8 | 16, 4, 0x2000), 1);      /* nothing can be written */
    ck_assert_uint_eq(dma(0x11 << 16 | 8, 4, 0x2000), 0);           /* only selects */
    ck_assert_uint_eq(next(), 1);
    /* hostile: enormous, beyond memory, at the end of the address space */
    ck_assert_uint_eq(dma(0x11 << 16 | 8 | 2, 0xffffffff, 0x80000), 0);
    ck_assert_uint_eq(dma(2, 0xffffffff, 0), 0);                    /* over its own descriptor, too */
    dma(0x11 << 16 | 8 | 2, 0xffffffff, UINT64_MAX - 5);
    ck_assert_uint_eq(ram->base[0], 0);
    ck_assert_uint_eq(dma(4, 0xffffffff, 0), 0);
    ck_assert_uint_eq(dma(4, 0xffffffff, 0), 0);
    ck_assert_uint_eq(next(), 0);
    bus_io_write(bus, 0x514, 4, 0xffffffff);
    bus_io_write(bus, 0x518, 4, 0xffffffff);                        /* a descriptor where nothing is */
    bus_reset(bus);
    ck_assert_uint_eq(next(), 'Q');
}
END_TEST

/* A part of a file that the device reads when the guest does, and that is made shorter meanwhile. */
START_TEST(test_open_file)
{
    char path[] = "/tmp/shadow86-test-XXXXXX", said[300] = "";
    u8 data[40000];
    int fd = mkstemp(path);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (u8)(i * 7 + (i >> 8));
    ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
    unlink(path);
    fw_cfg_add(f, 0x12, "x", 1);            /* replaced */
    fw_cfg_add_open(f, 0x12, dup(fd), 100, sizeof(data) - 200, "the-initrd");
    ck_assert_uint_eq(dma(0x12 << 16 | 8 | 2, 40000, 0x2000), 0);
    ck_assert(!memcmp(ram->base + 0x2000, data + 100, 39800) && !ram->base[0x2000 + 39800] && !ram->base[0x2000 + 39999]);
    select_key(0x12);
    ck_assert(next() == data[100] && next() == data[101]);

    FILE *err_file = tmpfile();
    int err_fd = dup(2);
    dup2(fileno(err_file), 2);
    ck_assert_int_eq(ftruncate(fd, 20000), 0);
    u32 status = dma(0x12 << 16 | 8 | 2, 39800, 0x2000), again = dma(0x12 << 16 | 8 | 2, 39800, 0x10000);
    dup2(err_fd, 2);
    close(err_fd);
    rewind(err_file);
    said[fread(said, 1, sizeof(said) - 1, err_file)] = 0;
    fclose(err_file);
    ck_assert(status == 1 && again == 1);
    ck_assert(!memcmp(ram->base + 0x2000, data + 100, 19900) && !memcmp(ram->base + 0x10000, data + 100, 19900));
    for (unsigned i = 19900; i < 39800; i++)
        ck_assert_uint_eq(ram->base[0x2000 + i], 0);
    ck_assert_str_eq(said, "shadow86: the-initrd: the file has become shorter since it was opened; the guest reads zeros\n");
    fw_cfg_add_u16(f, 0x12, 7);
    select_key(0x12);
    ck_assert_uint_eq(next(), 7);
    close(fd);
}
END_TEST

/* ---- contents ---- */
static struct pc_config cfg;
static struct bios_machine machine;

static void fill(void) { ck_assert_msg(bios_fill_fw_cfg(f, &cfg, &machine, err, sizeof(err)), "%s", err); }

static void fill_setup(void)
{
    setup();
    cfg = (struct pc_config){ .vga = "std" };
    machine = (struct bios_machine){ .ram_below_4g = 512 << 20, .cpus = 1 };
}

START_TEST(test_bootorder)
{
    static const struct { const char *order; const char *file; bool kernel; const char *expect; } row[] = {
        { NULL, NULL, false, "/pci@i0cf8/ide@1,1/drive@0/disk@0\n/pci@i0cf8/ide@1,1/drive@1/disk@1\n"
          "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n/pci@i0cf8/ide@1,1/drive@1/disk@0" },
        { "d", NULL, false, "/pci@i0cf8/ide@1,1/drive@1/disk@0" },
        { "ab", NULL, false, "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n/pci@i0cf8/isa@1/fdc@03f0/floppy@1" },
        { "n", NULL, false, "" },
        { "d", NULL, true, "/rom@genroms/kernelboot.bin\n/pci@i0cf8/ide@1,1/drive@1/disk@0" },
    };
    cfg.ide[0].present = cfg.ide[2].present = cfg.ide[3].present = cfg.ide[2].cdrom = true;
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        cfg.boot_order = row[i].order;
        cfg.kernel_file = row[i].kernel ? "x" : NULL;
        fill();
        size_t n;
        const char *got = fw_cfg_file(f, "bootorder", &n);
        ck_assert_uint_eq(n, strlen(row[i].expect) + (n != 0));
        if (n)
            ck_assert_str_eq(got, row[i].expect);
    }
}
END_TEST

START_TEST(test_e820_and_menu)
{
    size_t n;
    machine.ram_below_4g = (u64)3 << 30;
    machine.ram_above_4g = (u64)13 << 30;
    cfg.boot_menu = true;
    cfg.boot_menu_timeout_ms = 70000;
    fill();
    const u8 *e = fw_cfg_file(f, "etc/e820", &n);
    ck_assert_uint_eq(n, 40);
    ck_assert(le(e, 8) == 0 && le(e + 8, 8) == machine.ram_below_4g && le(e + 16, 4) == 1);
    ck_assert(le(e + 20, 8) == (u64)4 << 30 && le(e + 28, 8) == machine.ram_above_4g && le(e + 36, 4) == 1);
    ck_assert_uint_eq(le(fw_cfg_item(f, FW_CFG_RAM_SIZE, &n), 8), (u64)16 << 30);
    ck_assert_uint_eq(le(fw_cfg_item(f, FW_CFG_BOOT_MENU, &n), 2), 1);
    ck_assert_uint_eq(le(fw_cfg_file(f, "etc/boot-menu-wait", &n), 2), 0xffff);
}
END_TEST

static u8 cmos[128];
static void set_cmos(void *ctx, u8 reg, u8 v) { cmos[reg] = v; }

START_TEST(test_cmos)
{
    machine = (struct bios_machine){ .ram_below_4g = (u64)3 << 30, .ram_above_4g = (u64)13 << 30, .cpus = 1 };
    cfg.boot_order = "dca";
    bios_fill_cmos(&cfg, &machine, set_cmos, NULL);
    ck_assert(cmos[0x15] == 0x80 && cmos[0x16] == 2);
    ck_assert(cmos[0x17] == 0xff && cmos[0x31] == 0xff);
    ck_assert_uint_eq(cmos[0x34] | cmos[0x35] << 8, (((u64)3 << 30) - (16 << 20)) >> 16);
    ck_assert_uint_eq(cmos[0x5b] | cmos[0x5c] << 8 | cmos[0x5d] << 16, ((u64)13 << 30) >> 16);
    ck_assert(cmos[0x3d] == 0x23 && cmos[0x38] == 0x11 && cmos[0x5f] == 0);
    machine = (struct bios_machine){ .ram_below_4g = 4 << 20, .cpus = 2 };
    bios_fill_cmos(&cfg, &machine, set_cmos, NULL);
    ck_assert(cmos[0x17] == 0 && cmos[0x18] == 12 && cmos[0x34] == 0 && cmos[0x5f] == 1);
}
END_TEST

static u8 sum(const u8 *p, size_t n)
{
    u8 s = 0;
    while (n--)
        s += *p++;
    return s;
}

/* A BIOS: places the files, runs the script. */
static u8 tables[65536], rsdp[64];
enum { TABLES_AT = 0x7fe0000, RSDP_AT = 0xf5000 };
static u8 *loader_file(const u8 *name, size_t *n)
{
    const void *data = fw_cfg_file(f, (const char *)name, n);
    ck_assert_ptr_nonnull(data);
    return strstr((const char *)name, "rsdp") ? rsdp : tables;
}

static void run_loader(void)
{
    size_t n, size, target_size;
    const u8 *script = fw_cfg_file(f, "etc/table-loader", &n);
    ck_assert(script && n % 128 == 0);
    for (const u8 *e = script; e < script + n; e += 128) {
        u8 *file = loader_file(e + 4, &size), *target;
        const u8 *a = e + 60;
        switch (le(e, 4)) {
        case 1:
            memcpy(file, fw_cfg_file(f, (const char *)e + 4, &size), size);
            ck_assert_uint_eq(a[4], file == rsdp ? 2 : 1);
            break;
        case 2:
            target = loader_file(a, &target_size);
            ck_assert_uint_eq(a[60], 4);
            ck_assert_uint_le(le(a + 56, 4) + 4, size);
            u64 v = le(file + le(a + 56, 4), 4);
            ck_assert_uint_lt(v, target_size);
            v += target == rsdp ? RSDP_AT : TABLES_AT;
            for (unsigned i = 0; i < 4; i++)
                file[le(a + 56, 4) + i] = (u8)(v >> 8 * i);
            break;
        case 3:
            ck_assert_uint_le(le(a + 4, 4) + le(a + 8, 4), size);
            ck_assert_uint_eq(file[le(a, 4)], 0);
            file[le(a, 4)] = (u8)-sum(file + le(a + 4, 4), le(a + 8, 4));
            break;
        default: ck_abort_msg("unknown command");
        }
    }
}

static const u8 *table_at(u64 address, const char *signature, u32 length)
{
    const u8 *t = tables + (address - TABLES_AT);
    ck_assert(address >= TABLES_AT && address < TABLES_AT + sizeof(tables));
    ck_assert_msg(!memcmp(t, signature, 4), "%.4s", (const char *)t);
    if (length)
        ck_assert_uint_eq(le(t + 4, 4), length);
    if (memcmp(signature, "FACS", 4))
        ck_assert_uint_eq(sum(t, le(t + 4, 4)), 0);
    return t;
}

static const u8 *find_constant(const u8 *dsdt, const char *name)
{
    for (u32 i = 36; i + 10 < le(dsdt + 4, 4); i++)
        if (dsdt[i] == 8 && !memcmp(dsdt + i + 1, name, 4) && dsdt[i + 5] == 0x0c)
            return dsdt + i + 6;
    ck_abort_msg("no %s", name);
    return NULL;
}

START_TEST(test_acpi)
{
    static const char *const listed[] = { "FACP", "SSDT", "APIC", "HPET", "WAET" };
    cfg.serial[0] = (struct chardev *)&cfg;     /* only looked at for being there */
    machine.cpus = 3;
    machine.ram_below_4g = (u64)3 << 30;
    fill();
    run_loader();
    ck_assert(!memcmp(rsdp, "RSD PTR ", 8) && rsdp[15] == 0 && sum(rsdp, 20) == 0);
    const u8 *rsdt = table_at(le(rsdp + 16, 4), "RSDT", 36 + 4 * ARRAY_LEN(listed)), *t[5];
    for (unsigned i = 0; i < ARRAY_LEN(listed); i++)
        t[i] = table_at(le(rsdt + 36 + 4 * i, 4), listed[i], 0);
    ck_assert_uint_eq(le(t[0] + 4, 4), 116);
    const u8 *facs = table_at(le(t[0] + 36, 4), "FACS", 64);
    ck_assert_uint_eq((TABLES_AT + (facs - tables)) % 64, 0);
    const u8 *dsdt = table_at(le(t[0] + 40, 4), "DSDT", 0);
    ck_assert_uint_eq(le(find_constant(dsdt, "PCIB"), 4), 0xc0000000);
    ck_assert_uint_eq(le(find_constant(dsdt, "COMP"), 4) & 15, 1);
    ck_assert(le(t[0] + 46, 2) == 9 && le(t[0] + 56, 4) == 0x600 && le(t[0] + 76, 4) == 0x608 && t[0][91] == 4);
    ck_assert_uint_eq(le(t[2] + 4, 4), 44 + 3 * 8 + 12 + 5 * 10 + 6);
    u32 at = 44, lapics = 0;
    while (at < le(t[2] + 4, 4)) {
        ck_assert_uint_ge(t[2][at + 1], 6);
        lapics += t[2][at] == 0;
        at += t[2][at + 1];
    }
    ck_assert_uint_eq(at, le(t[2] + 4, 4));
    ck_assert_uint_eq(lapics, 3);
    ck_assert_uint_eq(le(t[1] + 4, 4), 36 + 1 + 2 + 5 + 3 * 13);
    ck_assert_uint_eq(le(t[3] + 44, 8), 0xfed00000);
    machine.cpus = 200;
    ck_assert(!bios_fill_fw_cfg(f, &cfg, &machine, err, sizeof(err)));
}
END_TEST

START_TEST(test_smbios)
{
    size_t n, m;
    machine.ram_above_4g = (u64)40 << 30;
    machine.cpus = 2;
    fill();
    const u8 *e = fw_cfg_file(f, "etc/smbios/smbios-anchor", &n), *t = fw_cfg_file(f, "etc/smbios/smbios-tables", &m);
    ck_assert(n == 31 && !memcmp(e, "_SM_", 4) && !memcmp(e + 16, "_DMI_", 5));
    ck_assert(sum(e, 31) == 0 && sum(e + 16, 15) == 0);
    ck_assert_uint_eq(le(e + 22, 2), m);
    unsigned count = 0, longest = 0, types[256] = { 0 };
    for (size_t at = 0; at < m; count++) {
        size_t start = at;
        types[t[at]]++;
        ck_assert_uint_ge(t[at + 1], 4);
        for (at += t[at + 1]; at + 1 < m && (t[at] || t[at + 1]); at++)
            ;
        at += 2;
        ck_assert_uint_le(at, m);
        if (at - start > longest)
            longest = (unsigned)(at - start);
    }
    ck_assert_uint_eq(le(e + 28, 2), count);
    ck_assert_uint_eq(le(e + 8, 2), longest);
    ck_assert(types[1] == 1 && types[3] == 1 && types[4] == 2 && types[16] == 1 && types[17] == 3 && types[19] == 2);
    ck_assert(types[32] == 1 && types[127] == 1 && types[0] == 0);
}
END_TEST

START_TEST(test_roms)
{
    struct ram *rom;
    u64 size;
    static const char *const dirs[] = { "/nonexistent", "/tmp", NULL };
    cfg.bios_dirs = dirs;
    cfg.bios_file = "no-such-bios.bin";
    ck_assert(!bios_load_rom(&cfg, &rom, &size, err, sizeof(err)));
    ck_assert(!bios_load_option_rom(&cfg, "no-such-rom.bin", &rom, &size, err, sizeof(err)));
    char path[] = "/tmp/shadow86-test-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    ck_assert_ptr_nonnull(file);
    u8 data[65536] = { 0x55, 0xaa, 1 };
    cfg.bios_file = path;
    ck_assert(!bios_load_rom(&cfg, &rom, &size, err, sizeof(err)));        /* empty */
    ck_assert_uint_eq(fwrite(data, 1, 5000, file), 5000);
    fflush(file);
    ck_assert(!bios_load_rom(&cfg, &rom, &size, err, sizeof(err)));        /* no multiple of 64 KiB */
    ck_assert_msg(bios_load_option_rom(&cfg, path, &rom, &size, err, sizeof(err)), "%s", err);
    ck_assert(size == 8192 && rom->base[1] == 0xaa && rom->base[5000] == 0xff);
    ram_free(rom);
    ck_assert_msg(bios_load_option_rom(&cfg, path + 5, &rom, &size, err, sizeof(err)), "%s", err);     /* found in /tmp */
    ram_free(rom);
    ck_assert_uint_eq(fwrite(data, 1, 65536 - 5000, file), 65536 - 5000);
    fflush(file);
    ck_assert_msg(bios_load_rom(&cfg, &rom, &size, err, sizeof(err)), "%s", err);
    ck_assert_uint_eq(size, 65536);
    ram_free(rom);
    rewind(file);
    ck_assert_uint_eq(fwrite("no", 1, 2, file), 2);
    fflush(file);
    ck_assert(!bios_load_option_rom(&cfg, path, &rom, &size, err, sizeof(err)));
    fclose(file);
    remove(path);
    cfg.bios_file = "/tmp";
    ck_assert(!bios_load_rom(&cfg, &rom, &size, err, sizeof(err)));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fw_cfg");
    TCase *device = tcase_create("device"), *contents = tcase_create("contents");

    tcase_add_checked_fixture(device, setup, teardown);
    tcase_set_timeout(device, 60);
    tcase_add_test(device, test_ports);
    tcase_add_test(device, test_directory);
    tcase_add_test(device, test_dma);
    tcase_add_test(device, test_open_file);
    suite_add_tcase(s, device);
    tcase_add_checked_fixture(contents, fill_setup, teardown);
    tcase_add_test(contents, test_bootorder);
    tcase_add_test(contents, test_e820_and_menu);
    tcase_add_test(contents, test_cmos);
    tcase_add_test(contents, test_acpi);
    tcase_add_test(contents, test_smbios);
    tcase_add_test(contents, test_roms);
    suite_add_tcase(s, contents);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
