/* test_kernel_load.c - kernels that -kernel takes: what the option ROM is told to load and where, and every way in which a
 * file can be wrong. The ROM itself is run by the boot tests; here its table of DMA descriptors is executed by hand. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "bios/bios.h"

#include <elf.h>    /* after mmu.h: it defines PF_W and others as macros */

static char err[400];
static struct physmap *map;
static struct bus *bus;
static struct fw_cfg *f;
static struct pc_config cfg;
static struct bios_machine machine;
static u8 *memory;                          /* what the guest would find after the ROM has run */
enum { MEMORY = 64 << 20 };

static void setup(void)
{
    map = physmap_new();
    bus = bus_new(map, NULL);
    f = device_new(bus, &fw_cfg_class);
    ck_assert(device_init((struct device *)f, err, sizeof(err)));
    cfg = (struct pc_config){ .vga = "std" };
    machine = (struct bios_machine){ .ram_below_4g = MEMORY, .cpus = 1 };
    memory = malloc(MEMORY);
    memset(memory, 0xee, MEMORY);
    *err = 0;
}

static void teardown(void)
{
    free(memory);
    bus_free(bus);
    physmap_free(map);
}

static u64 le(const void *p, unsigned n)
{
    u64 v = 0;
    while (n--)
        v = v << 8 | ((const u8 *)p)[n];
    return v;
}
static u64 be(const u8 *p, unsigned n)
{
    u64 v = 0;
    while (n--)
        v = v << 8 | *p++;
    return v;
}
static void put(void *p, u64 v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ((u8 *)p)[i] = (u8)(v >> 8 * i);
}

static bool load(const void *image, size_t n)
{
    cfg.kernel_image = image;
    cfg.kernel_image_size = n;
    *err = 0;
    bool ok = bios_load_kernel(f, &cfg, &machine, err, sizeof(err));
    ck_assert_msg(ok == !*err, "%s", err);
    return ok;
}

/* Checks the ROM and executes its descriptors; returns its parameters: kind, then words from e820_table on. */
static void run_rom(u32 parameter[9])
{
    size_t n;
    const u8 *rom = fw_cfg_file(f, "genroms/kernelboot.bin", &n);
    ck_assert(rom && n == 4096 && rom[0] == 0x55 && rom[1] == 0xaa && rom[2] == 8);
    u8 sum = 0, pnp = 0;
    for (unsigned i = 0; i < 4096; i++)
        sum += rom[i];
    for (unsigned i = 0; i < 32; i++)
        pnp += rom[0x20 + i];
    ck_assert(!sum && !pnp && !memcmp(rom + le(rom + 0x1a, 2), "$PnP", 4));
    ck_assert_uint_lt(le(rom + 0x20 + 26, 2), 0x800);
    parameter[0] = (u32)le(rom + 0x44, 2);
    for (unsigned i = 0; i < 8; i++)
        parameter[1 + i] = (u32)le(rom + 0x48 + 4 * i, 4);
    unsigned count = (unsigned)le(rom + 0x46, 2);
    ck_assert_uint_le(count, 128);
    u16 item = 0;
    u32 at = 0;
    for (unsigned i = 0; i < count; i++) {
        const u8 *d = rom + 0x800 + 16 * i;
        u32 control = (u32)be(d, 4), bytes = (u32)be(d + 4, 4);
        u64 to = be(d + 8, 8);
        ck_assert(control & 2);
        if (control & 8) {
            item = (u16)(control >> 16);
            at = 0;
        }
        ck_assert_uint_le(to + bytes, MEMORY);
        fw_cfg_contents(f, item, at, memory + to, bytes);
        at += bytes;
    }
}

/* ---- Linux ---- */
static u8 *bzimage(unsigned protocol, unsigned sects, size_t body, size_t *n)
{
    *n = (sects + 1) * 512 + body;
    u8 *k = calloc(1, *n);
    for (size_t i = 0; i < body; i++)
        k[(sects + 1) * 512 + i] = (u8)(i * 7);
    k[0x1f1] = (u8)sects;
    put(k + 0x1f4, (body + 15) / 16, 4);
    put(k + 0x1fe, 0xaa55, 2);
    memcpy(k + 0x202, "HdrS", 4);
    put(k + 0x206, protocol, 2);
    k[0x211] = 1;
    put(k + 0x22c, 0x37ffffff, 4);
    put(k + 0x238, 2047, 4);
    put(k + 0x258, 0x1000000, 8);
    put(k + 0x260, 0x800000, 4);
    return k;
}

static char *temp_file(const void *data, size_t n)
{
    static char path[64];
    strcpy(path, "/tmp/shadow86-test-XXXXXX");
    FILE *file = fdopen(mkstemp(path), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, n, file), n);
    fclose(file);
    return path;
}

START_TEST(test_linux)
{
    size_t n;
    u8 *k = bzimage(0x20f, 20, 100001, &n);
    u32 p[9];
    char *initrd = temp_file("initrd!", 7);
    cfg.append = "console=ttyS0 vga=0x317";
    cfg.initrd_file = initrd;
    ck_assert_msg(load(k, n), "%s", err);
    remove(initrd);
    run_rom(p);
    ck_assert_uint_eq(p[0], 0);
    ck_assert_uint_eq(p[6] & 0xffff, 0x1000);
    ck_assert(p[6] >> 16 > 0xfe00 && p[6] >> 16 <= 0xfff0);
    ck_assert_str_eq((char *)memory + 0x20000, cfg.append);
    ck_assert(!memcmp(memory + 0x100000, k + 21 * 512, 100001));
    const u8 *s = memory + 0x10000;
    ck_assert_uint_eq(s[0x210], 0xff);
    ck_assert_uint_eq(s[0x211], 0x81);
    ck_assert_uint_eq(le(s + 0x228, 4), 0x20000);
    ck_assert_uint_eq(le(s + 0x1fa, 2), 0x317);
    ck_assert_uint_eq(le(s + 0x21c, 4), 7);
    u64 at = le(s + 0x218, 4);
    ck_assert(at % 4096 == 0 && at >= 0x1800000 && at + 7 <= MEMORY - (256 << 10));
    ck_assert(!memcmp(memory + at, "initrd!", 7));
    /* from a file: the same memory */
    u8 *same = malloc(MEMORY);
    memcpy(same, memory, MEMORY);
    memset(memory, 0xee, MEMORY);
    char kernel[64];
    strcpy(kernel, temp_file(k, n));
    cfg.kernel_image = NULL;
    cfg.kernel_file = kernel;
    cfg.initrd_file = initrd = temp_file("initrd!", 7);
    ck_assert_msg(bios_load_kernel(f, &cfg, &machine, err, sizeof(err)), "%s", err);
    remove(kernel);
    remove(initrd);
    run_rom(p);
    ck_assert(!memcmp(memory + 0x10000, same + 0x10000, 21 * 512) && !memcmp(memory + 0x100000, same + 0x100000, 100001) &&
              !memcmp(memory + at, "initrd!", 7));
    free(same);
    cfg.kernel_file = NULL;
    /* other firmware finds it under the usual keys */
    ck_assert_uint_eq(le(fw_cfg_item(f, FW_CFG_KERNEL_SIZE, &n), 4), 100001);
    ck_assert_uint_eq(le(fw_cfg_item(f, FW_CFG_CMDLINE_SIZE, &n), 4), strlen(cfg.append) + 1);
    free(k);
}
END_TEST

START_TEST(test_linux_old)
{
    size_t n;
    u32 p[9];
    u8 *k = bzimage(0x200, 4, 5000, &n);
    k[0x1f1] = 0;                           /* setup_sects 0 means 4 */
    k[0x211] = 0;                           /* a zImage */
    cfg.append = "root=/dev/hda1";
    ck_assert_msg(load(k, n), "%s", err);
    run_rom(p);
    ck_assert_uint_eq(p[6] & 0xffff, 0x9000);
    ck_assert(!memcmp(memory + 0x10000, k + 5 * 512, 5000));
    ck_assert_uint_eq(le(memory + 0x90020, 2), 0xa33f);
    ck_assert_str_eq((char *)memory + 0x90000 + le(memory + 0x90022, 2), cfg.append);
    k[0x211] = 1;                           /* a bzImage of that age */
    ck_assert_msg(load(k, n), "%s", err);
    run_rom(p);
    ck_assert(!memcmp(memory + 0x100000, k + 5 * 512, 5000));
    free(k);
}
END_TEST

START_TEST(test_linux_wrong)
{
    static const struct { unsigned at, bytes; u64 value; const char *message; } row[] = {
        { 0x206, 2, 0x105, "protocol 1.05" },
        { 0x1f4, 4, 0x10000, "truncated" },
        { 0x1f1, 1, 250, "truncated" },
        { 0x260, 4, 0x3000000, "needs memory up to" },
        { 0x260, 4, 0xffffffff, "needs memory up to" },
        { 0x202, 1, 'X', "no Linux bzImage, Multiboot or PVH kernel" },
        { 0x238, 4, 3, "at most 3 characters" },
    };
    size_t n;
    cfg.append = "quiet";
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        u8 *k = bzimage(0x20f, 20, 100000, &n);
        put(k + row[i].at, row[i].value, row[i].bytes);
        ck_assert(!load(k, n));
        ck_assert_msg(strstr(err, row[i].message) && !strchr(err, '\n'), "%u: %s", i, err);
        free(k);
    }
    u8 *k = bzimage(0x20f, 20, 100000, &n);
    for (size_t cut = 0; cut < n; cut += cut < 12000 ? 7 : 4001)
        ck_assert(!load(k, cut));
    machine.ram_below_4g = 1 << 20;
    ck_assert(!load(k, n));
    machine.ram_below_4g = 26 << 20;        /* kernel fits, kernel with initrd does not */
    ck_assert(load(k, n));
    void *big = calloc(1, 4 << 20);
    char *initrd = temp_file(big, 4 << 20);
    cfg.initrd_file = initrd;
    ck_assert(!load(k, n));
    ck_assert_ptr_nonnull(strstr(err, "does not fit"));
    remove(initrd);
    free(big);
    cfg.initrd_file = "/nonexistent/initrd";
    ck_assert(!load(k, n));
    ck_assert_ptr_nonnull(strstr(err, "/nonexistent/initrd"));
    free(k);
    cfg.kernel_image = NULL;
    cfg.kernel_file = "/tmp";
    ck_assert(!bios_load_kernel(f, &cfg, &machine, err, sizeof(err)));
    cfg.kernel_file = NULL;
    ck_assert(bios_load_kernel(f, &cfg, &machine, err, sizeof(err)));      /* nothing to do */
}
END_TEST

/* ---- ELF ---- */
struct image { u8 data[16384]; size_t n; };

/* Two segments: 1000h bytes (2000h in memory) at `address`, 100h bytes behind it; a Multiboot header or a PVH note. */
static void make_elf(struct image *im, bool elf64, u64 address, bool multiboot, bool note)
{
    memset(im, 0, sizeof(*im));
    im->n = 0x3200;
    for (unsigned i = 0x1000; i < im->n; i++)
        im->data[i] = (u8)(i >> 4 ^ i);
    if (elf64) {
        Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
                         .e_machine = EM_X86_64, .e_version = 1, .e_entry = 0xffffffff80000010, .e_phoff = 0x40, .e_ehsize = 64,
                         .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3 };
        Elf64_Phdr h[3] = { { .p_type = PT_LOAD, .p_offset = 0x1000, .p_vaddr = 0xffffffff80000000, .p_paddr = address, .p_filesz = 0x1000, .p_memsz = 0x2000 },
                            { .p_type = PT_LOAD, .p_offset = 0x2000, .p_vaddr = 0xffffffff80010000, .p_paddr = address + 0x3000, .p_filesz = 0x100, .p_memsz = 0x100 },
                            { .p_type = PT_NOTE, .p_offset = 0x3000, .p_filesz = note ? 32 : 0 } };
        memcpy(im->data, &e, sizeof(e));
        memcpy(im->data + 0x40, h, sizeof(h));
    } else {
        Elf32_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
                         .e_machine = EM_386, .e_version = 1, .e_entry = (u32)address + 0x10, .e_phoff = 0x40, .e_ehsize = 52,
                         .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 3 };
        Elf32_Phdr h[3] = { { .p_type = PT_LOAD, .p_offset = 0x1000, .p_vaddr = 0xc0000000, .p_paddr = (u32)address, .p_filesz = 0x1000, .p_memsz = 0x2000 },
                            { .p_type = PT_LOAD, .p_offset = 0x2000, .p_vaddr = 0xc0010000, .p_paddr = (u32)address + 0x3000, .p_filesz = 0x100, .p_memsz = 0x100 },
                            { .p_type = PT_NOTE, .p_offset = 0x3000, .p_filesz = note ? 32 : 0 } };
        memcpy(im->data, &e, sizeof(e));
        memcpy(im->data + 0x40, h, sizeof(h));
    }
    if (multiboot) {
        put(im->data + 0x1004, 0x1badb002, 4);
        put(im->data + 0x1008, 3, 4);
        put(im->data + 0x100c, (u32)-(0x1badb002 + 3), 4);
    }
    if (note) {                             /* another note first */
        static const u8 notes[] = { 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'X', 'e', 'n', 0,
                                    4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0, 0x20, 0, 0x10, 0 };
        memcpy(im->data + 0x3000, notes, sizeof(notes));
        put(im->data + 0x40 + (elf64 ? 2 * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_filesz)
                                     : 2 * sizeof(Elf32_Phdr) + offsetof(Elf32_Phdr, p_filesz)), sizeof(notes), 4);
    }
}

static void check_segments(const struct image *im, u64 address)
{
    ck_assert(!memcmp(memory + address, im->data + 0x1000, 0x1000));
    for (unsigned i = 0x1000; i < 0x2000; i++)
        ck_assert_uint_eq(memory[address + i], 0);
    ck_assert_uint_eq(memory[address + 0x2000], 0xee);
    ck_assert(!memcmp(memory + address + 0x3000, im->data + 0x2000, 0x100));
}

START_TEST(test_multiboot)
{
    struct image im;
    u32 p[9];
    for (unsigned elf64 = 0; elf64 < 2; elf64++) {
        make_elf(&im, elf64, 0x100000, true, false);
        char module[64];
        strcpy(module, temp_file("one", 3));
        char *second = temp_file("second", 6), spec[200];
        snprintf(spec, sizeof(spec), "%s a=1,,2, %s", module, second);
        cfg.initrd_file = spec;
        cfg.append = "hello world";
        ck_assert_msg(load(im.data, im.n), "%s", err);
        remove(module);
        remove(second);
        run_rom(p);
        check_segments(&im, 0x100000);
        ck_assert(p[0] == 1 && p[6] == 0x100010 && p[7] == 0x2badb002 && p[8] == 0x10000);
        const u8 *info = memory + 0x10000;
        u32 flags = (u32)le(info, 4);
        ck_assert_uint_eq(flags, 1 | 2 | 4 | 8 | 64 | 512 | 4096);
        ck_assert_str_eq((char *)memory + le(info + 16, 4), "built-in-guest hello world");
        ck_assert_str_eq((char *)memory + le(info + 64, 4), "shadow86");
        ck_assert_uint_eq(le(info + 20, 4), 2);
        const u8 *mods = memory + le(info + 24, 4);
        snprintf(spec, sizeof(spec), "%s a=1,2", module);
        ck_assert_str_eq((char *)memory + le(mods + 8, 4), spec);
        ck_assert(le(mods, 4) % 4096 == 0 && le(mods, 4) >= 0x103100 && le(mods + 4, 4) == le(mods, 4) + 3);
        ck_assert(le(mods + 16, 4) % 4096 == 0 && le(mods + 16, 4) >= le(mods + 4, 4));
        ck_assert(!memcmp(memory + le(mods, 4), "one", 3) && !memcmp(memory + le(mods + 16, 4), "second", 6));
        /* the ROM's part: table and its length */
        ck_assert_uint_eq(p[1], le(info + 48, 4));
        ck_assert(p[2] == 128 && p[3] == 0x1002c && p[4] == 0x10004 && p[5] == 0);
    }
    /* a kernel where the information usually is */
    make_elf(&im, false, 0x18000, true, false);
    cfg.initrd_file = NULL;
    ck_assert_msg(load(im.data, im.n), "%s", err);
    run_rom(p);
    ck_assert_uint_eq(p[8], 0x50000);
    check_segments(&im, 0x18000);
    /* ROM, hole, BIOS data, beyond the end */
    static const u64 bad[] = { 0, 0x7000, 0x8f000, 0xa0000, 0xf0000, 0xff000, MEMORY - 0x1000, 0xfffff000 };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        make_elf(&im, false, bad[i], true, false);
        ck_assert(!load(im.data, im.n));
    }
    make_elf(&im, true, UINT64_MAX - 0xfff, true, false);
    ck_assert(!load(im.data, im.n));
}
END_TEST

START_TEST(test_multiboot_kludge)
{
    u8 k[4096] = { 0 };
    u32 p[9];
    static const struct { u32 header, load, load_end, bss_end; bool ok; } row[] = {
        { 0x100040, 0x100000, 0, 0, true },
        { 0x100040, 0x100000, 0x100800, 0x102000, true },
        { 0x100040, 0x100040, 0x100800, 0x102000, true },
        { 0x100040, 0x100000, 0x101001, 0, false },         /* more than the file */
        { 0x100040, 0x100041, 0, 0, false },                /* header before the segment */
        { 0x200040, 0x100000, 0, 0, false },                /* segment begins before the file */
        { 0x100040, 0x100000, 0x0fffff, 0, false },
        { 0x100040, 0x100000, 0x100800, 0x100400, false },
        { 0x100040, 0x100000, 0x100800, 0xffffffff, false },
    };
    for (unsigned i = 0; i < sizeof(k); i++)
        k[i] = (u8)(i * 3);
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        const u32 words[] = { 0x1badb002, 0x10003, -(0x1badb002u + 0x10003), row[i].header, row[i].load, row[i].load_end, row[i].bss_end, 0x100100 };
        for (unsigned w = 0; w < 8; w++)
            put(k + 0x40 + 4 * w, words[w], 4);
        ck_assert_msg(load(k, sizeof(k)) == row[i].ok, "%u %s", i, err);
        if (!row[i].ok)
            continue;
        run_rom(p);
        ck_assert_uint_eq(p[6], 0x100100);
        u32 before = row[i].header - row[i].load, n = row[i].load_end ? row[i].load_end - row[i].load : 4096;
        ck_assert(!memcmp(memory + row[i].load, k + 0x40 - before, n));
        if (row[i].bss_end)
            ck_assert(memory[row[i].load_end] == 0 && memory[row[i].bss_end - 1] == 0);
    }
    ck_assert(!load(k, 0x50));              /* the header itself is cut */
    put(k + 0x44, 0x10013, 4);              /* a feature that nobody knows */
    put(k + 0x48, -(0x1badb002u + 0x10013), 4);
    ck_assert(!load(k, sizeof(k)) && strstr(err, "flags"));
    put(k + 0x44, 3, 4);
    put(k + 0x48, -(0x1badb002u + 3), 4);
    ck_assert(!load(k, sizeof(k)) && strstr(err, "ELF"));
}
END_TEST

START_TEST(test_pvh)
{
    struct image im;
    u32 p[9];
    for (unsigned elf64 = 0; elf64 < 2; elf64++) {
        make_elf(&im, elf64, 0x100000, false, true);
        char *initrd = temp_file("initrd!", 7);
        cfg.initrd_file = initrd;
        cfg.append = "hello";
        ck_assert_msg(load(im.data, im.n), "%s", err);
        remove(initrd);
        run_rom(p);
        check_segments(&im, 0x100000);
        ck_assert(p[0] == 2 && p[6] == 0x100020 && p[8] == 0x10000);
        const u8 *info = memory + 0x10000;
        ck_assert(le(info, 4) == 0x336ec578 && le(info + 4, 4) == 1 && le(info + 12, 4) == 1);
        ck_assert_str_eq((char *)memory + le(info + 24, 8), "hello");
        const u8 *mod = memory + le(info + 16, 8);
        ck_assert(!memcmp(memory + le(mod, 8), "initrd!", 7) && le(mod + 8, 8) == 7);
        ck_assert(p[1] == le(info + 40, 8) && p[3] == 0x10030 && p[5] == 0x10020);
    }
    make_elf(&im, true, 0x100000, false, false);
    ck_assert(!load(im.data, im.n) && strstr(err, "no Linux bzImage, Multiboot or PVH kernel"));
    /* another processor, another byte order */
    make_elf(&im, true, 0x100000, false, true);
    put(im.data + 18, EM_AARCH64, 2);
    ck_assert(!load(im.data, im.n) && strstr(err, "processor"));
    make_elf(&im, true, 0x100000, false, true);
    im.data[EI_DATA] = ELFDATA2MSB;
    ck_assert(!load(im.data, im.n));
}
END_TEST

/* Cut and mutated files: any answer but a crash or a descriptor outside of the machine's memory. */
START_TEST(test_damaged)
{
    struct image im;
    unsigned seed = 4711, loaded = 0;
    u32 p[9];
    for (unsigned kind = 0; kind < 4; kind++) {
        make_elf(&im, kind & 1, 0x100000, kind < 2, kind >= 2);
        for (size_t cut = 0; cut < 0x2100; cut += 61) {
            u8 *exact = malloc(cut ? cut : 1);          /* so that a sanitizer sees what reads beyond it */
            memcpy(exact, im.data, cut);
            ck_assert(!load(exact, cut));
            free(exact);
        }
        for (unsigned n = 0; n < 3000; n++) {
            make_elf(&im, kind & 1, 0x100000, kind < 2, kind >= 2);
            for (unsigned m = rand_r(&seed) % 4 + 1; m; m--) {
                unsigned where = (unsigned)rand_r(&seed) % 4;
                unsigned at = where == 0 ? (unsigned)rand_r(&seed) % 64 : where == 1 ? 0x40 + (unsigned)rand_r(&seed) % 168
                              : where == 2 ? 0x1000 + (unsigned)rand_r(&seed) % 32 : 0x3000 + (unsigned)rand_r(&seed) % 40;
                im.data[at] = rand_r(&seed) & 1 ? (u8)rand_r(&seed) : (u8[]){ 0, 1, 0x7f, 0xff }[rand_r(&seed) % 4];
            }
            u8 *exact = malloc(im.n);
            memcpy(exact, im.data, im.n);
            if (load(exact, im.n)) {
                run_rom(p);
                loaded++;
            }
            free(exact);
        }
    }
    ck_assert_uint_gt(loaded, 100);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kernel_load");
    TCase *t = tcase_create("kernel_load");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_linux);
    tcase_add_test(t, test_linux_old);
    tcase_add_test(t, test_linux_wrong);
    tcase_add_test(t, test_multiboot);
    tcase_add_test(t, test_multiboot_kludge);
    tcase_add_test(t, test_pvh);
    tcase_add_test(t, test_damaged);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
