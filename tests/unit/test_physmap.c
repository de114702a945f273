/* test_physmap.c - the physical map: overlaps, MMIO splitting, ROM, A20, dirty logs, code pages. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "mmu/mmu.h"

static char err[200];
static struct physmap *map;
static struct ram *ram;
static struct region low;

/* A device that remembers the pieces it was asked for. */
struct seen { u64 offset; unsigned bytes; u64 value; bool write; };
static struct seen seen[64];
static unsigned seen_count;
static struct region *vanishing;

static u64 dev_read(void *ctx, u64 offset, unsigned bytes)
{
    seen[seen_count++] = (struct seen){ offset, bytes, 0, false };
    if (vanishing)
        physmap_change(map, vanishing, vanishing->start, false);
    return 0x8877665544332211u;
}

static void dev_write(void *ctx, u64 offset, unsigned bytes, u64 value)
{
    seen[seen_count++] = (struct seen){ offset, bytes, value, true };
}

static const struct mmio_ops narrow = { dev_read, dev_write, false }, wide = { dev_read, dev_write, true };

static void setup(void)
{
    map = physmap_new();
    ram = ram_new(1 << 20, err, sizeof(err));
    ck_assert_ptr_nonnull(ram);
    low = (struct region){ .name = "ram", .size = 1 << 20, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(map, &low);
    seen_count = 0;
    vanishing = NULL;
}

static void teardown(void)
{
    physmap_free(map);
    ram_free(ram);
}

START_TEST(test_ram_sparse)
{
    struct ram *big = ram_new((u64)16 << 30, err, sizeof(err));
    ck_assert_msg(big != NULL, "%s", err);
    big->base[((u64)16 << 30) - 1] = 7;
    ck_assert_int_eq(big->base[0], 0);
    ram_free(big);
    ck_assert_ptr_null(ram_new(1234, err, sizeof(err)));
    ck_assert_ptr_null(ram_new(0, err, sizeof(err)));
    ck_assert_uint_gt(strlen(err), 0);
}
END_TEST

START_TEST(test_holes)
{
    u8 buf[16];

    physmap_write_int(map, 0x1000, 4, 0x12345678);
    ck_assert_uint_eq(physmap_read_int(map, 0x1000, 4), 0x12345678);
    ck_assert_uint_eq(physmap_read_int(map, 0x1001, 2), 0x3456);
    ck_assert_uint_eq(physmap_read_int(map, 0x200000, 8), ~(u64)0);
    physmap_write_int(map, 0x200000, 8, 1);
    /* across the end of RAM */
    physmap_write_int(map, 0xffffc, 8, 0x1122334455667788);
    ck_assert_uint_eq(physmap_read_int(map, 0xffffc, 8), 0xffffffff55667788);
    /* across the end of the address space */
    memset(buf, 0, sizeof(buf));
    physmap_read(map, UINT64_MAX - 3, buf, sizeof(buf));
    for (unsigned i = 0; i < sizeof(buf); i++)
        ck_assert_uint_eq(buf[i], 0xff);
    physmap_write(map, UINT64_MAX - 3, buf, sizeof(buf));
    ck_assert_uint_eq(physmap_read_int(map, 0, 4), 0);
    physmap_wrote(map, UINT64_MAX - 3, UINT64_MAX);
    ck_assert_ptr_null(physmap_ptr(map, UINT64_MAX, 2, false));
    ck_assert_ptr_eq(physmap_ptr(map, 0x1000, 0xff000, true), ram->base + 0x1000);
    ck_assert_ptr_null(physmap_ptr(map, 0x1000, 0xff001, true));
    ck_assert_ptr_null(physmap_ptr(map, 0x1000, 0, true));
}
END_TEST

START_TEST(test_priorities)
{
    struct ram *rom = ram_new(0x20000, err, sizeof(err)), *smram = ram_new(0x20000, err, sizeof(err));
    struct region vga = { .name = "vga", .start = 0xa0000, .size = 0x20000, .priority = 2, .kind = REGION_MMIO,
                          .enabled = true, .ops = &narrow };
    struct region smm = { .name = "smram", .start = 0xa0000, .size = 0x20000, .priority = 3, .kind = REGION_RAM,
                          .ram = smram };
    struct region bios = { .name = "bios", .start = 0xe0000, .size = 0x20000, .priority = 2, .kind = REGION_ROM,
                           .enabled = true, .ram = rom };
    memset(rom->base, 0x5a, 0x20000);
    physmap_add(map, &vga);
    physmap_add(map, &smm);
    physmap_add(map, &bios);
    ck_assert_uint_eq(physmap_read_int(map, 0xe1234, 1), 0x5a);
    physmap_write_int(map, 0xe1234, 1, 1);
    ck_assert_uint_eq(rom->base[0x1234], 0x5a);
    ck_assert_ptr_null(physmap_ptr(map, 0xe0000, 1, true));
    ck_assert_ptr_eq(physmap_ptr(map, 0xe0000, 0x20000, false), rom->base);
    physmap_read_int(map, 0xa0000, 1);
    ck_assert_uint_eq(seen_count, 1);
    physmap_change(map, &smm, smm.start, true);
    physmap_write_int(map, 0xa0000, 1, 0x77);
    ck_assert_uint_eq(seen_count, 1);
    ck_assert_uint_eq(smram->base[0], 0x77);
    physmap_change(map, &smm, smm.start, false);
    /* shadow RAM: the same region becomes RAM (PAM), then goes away */
    bios.kind = REGION_RAM;
    physmap_changed(map);
    physmap_write_int(map, 0xe1234, 1, 1);
    ck_assert_uint_eq(rom->base[0x1234], 1);
    physmap_remove(map, &bios);
    physmap_remove(map, &bios);
    ck_assert_uint_eq(physmap_read_int(map, 0xe1234, 1), 0);
    /* of equal priorities the later one */
    struct region over = { .name = "over", .start = 0x2000, .size = 0x1000, .kind = REGION_ROM, .enabled = true, .ram = rom,
                           .ram_offset = 0x1000 };
    physmap_add(map, &over);
    ck_assert_uint_eq(physmap_read_int(map, 0x2000, 1), 0x5a);
    ck_assert_uint_eq(physmap_read_int(map, 0x3000, 1), 0);
    /* a region larger than its memory ends with it */
    struct region bad = { .name = "bad", .start = 0x10000000, .size = 1 << 30, .kind = REGION_RAM, .enabled = true,
                          .ram = smram, .ram_offset = 0x1f000 };
    physmap_add(map, &bad);
    ck_assert_ptr_nonnull(physmap_ptr(map, 0x10000000, 0x1000, true));
    ck_assert_uint_eq(physmap_read_int(map, 0x10001000, 4), 0xffffffff);
    /* one that reaches the top of the address space */
    struct region top = { .name = "top", .start = UINT64_MAX - 0xfff, .size = 0x2000, .kind = REGION_MMIO, .enabled = true,
                          .ops = &narrow };
    physmap_add(map, &top);
    seen_count = 0;
    physmap_read_int(map, UINT64_MAX, 1);
    ck_assert_uint_eq(seen_count, 1);
    ck_assert_uint_eq(seen[0].offset, 0xfff);
    physmap_remove(map, &top);
    physmap_remove(map, &bad);
    physmap_remove(map, &over);
    physmap_remove(map, &vga);
    physmap_remove(map, &smm);
    ram_free(rom);
    ram_free(smram);
}
END_TEST

START_TEST(test_mmio_split)
{
    static const struct { bool wide; unsigned offset, bytes, pieces; unsigned size[5]; } row[] = {
        { false, 0, 8, 2, { 4, 4 } },        { true, 0, 8, 1, { 8 } },       { true, 4, 8, 2, { 4, 4 } },
        { false, 1, 4, 3, { 1, 2, 1 } },     { false, 2, 4, 2, { 2, 2 } },   { false, 3, 2, 2, { 1, 1 } },
        { false, 4, 1, 1, { 1 } },           { false, 0, 7, 3, { 4, 2, 1 } }, { true, 8, 16, 2, { 8, 8 } },
    };
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        struct region r = { .name = "dev", .start = 0x400000, .size = 64, .kind = REGION_MMIO, .enabled = true,
                            .ops = row[i].wide ? &wide : &narrow };
        u8 buf[16] = { 0 };
        physmap_add(map, &r);
        for (unsigned write = 0; write < 2; write++) {
            seen_count = 0;
            if (write)
                physmap_write(map, 0x400000 + row[i].offset, buf, row[i].bytes);
            else
                physmap_read(map, 0x400000 + row[i].offset, buf, row[i].bytes);
            ck_assert_uint_eq(seen_count, row[i].pieces);
            u64 at = row[i].offset;
            for (unsigned k = 0; k < seen_count; k++) {
                ck_assert_uint_eq(seen[k].bytes, row[i].size[k]);
                ck_assert_uint_eq(seen[k].offset, at);
                ck_assert_uint_eq(seen[k].write, write);
                at += seen[k].bytes;
            }
        }
        /* the last bytes of the region: the rest of the access is a hole */
        seen_count = 0;
        ck_assert_uint_eq(physmap_read_int(map, 0x400000 + 60, 8) >> 32, 0xffffffff);
        ck_assert_uint_eq(seen_count, 1);
        physmap_remove(map, &r);
    }
}
END_TEST

START_TEST(test_mmio_value)
{
    struct region r = { .name = "dev", .start = 0x400000, .size = 0x1000, .kind = REGION_MMIO, .enabled = true, .ops = &narrow };
    physmap_add(map, &r);
    ck_assert_uint_eq(physmap_read_int(map, 0x400000, 8), 0x4433221144332211);
    ck_assert_uint_eq(physmap_read_int(map, 0x400000, 2), 0x2211);
    seen_count = 0;
    physmap_write_int(map, 0x400000, 8, 0x1122334455667788);
    ck_assert_uint_eq(seen[0].value, 0x55667788);
    ck_assert_uint_eq(seen[1].value, 0x11223344);
    /* the device takes itself away in the middle of an access */
    vanishing = &r;
    ck_assert_uint_eq(physmap_read_int(map, 0x400000, 8), 0xffffffff44332211);
    physmap_remove(map, &r);
}
END_TEST

START_TEST(test_a20)
{
    ck_assert(physmap_a20(map));
    physmap_set_a20(map, false);
    ck_assert(!physmap_a20(map));
    ck_assert_uint_eq(physmap_read_int(map, 0x100000, 1), 0xff);     /* devices are not behind the gate */
    physmap_set_a20(map, true);
    ck_assert(physmap_a20(map));
}
END_TEST

START_TEST(test_dirty)
{
    _Atomic u64 dirty[4] = { 0 };
    struct ram *vram = ram_new(256 * 4096, err, sizeof(err));
    struct region r = { .name = "vram", .start = 0xe0000000, .size = 256 * 4096, .kind = REGION_RAM, .enabled = true,
                        .ram = vram, .log_dirty = true, .dirty = dirty };
    /* a hole in its middle: bits count from the region's start all the same */
    struct region over = { .name = "regs", .start = 0xe0040000, .size = 0x1000, .priority = 1, .kind = REGION_MMIO,
                           .enabled = true, .ops = &narrow };
    physmap_add(map, &r);
    physmap_add(map, &over);
    physmap_write_int(map, 0xe0000fff, 2, 0);
    ck_assert_uint_eq(dirty[0], 3);
    physmap_write_int(map, 0xe0041000, 1, 0);
    ck_assert_uint_eq(dirty[1], 2);
    physmap_wrote(map, 0xe00fe000, 0x2000);
    ck_assert_uint_eq(dirty[3], (u64)3 << 62);
    physmap_remove(map, &over);
    physmap_remove(map, &r);
    ram_free(vram);
}
END_TEST

/* ---- code pages ---- */
static struct { gpa a; u64 bytes; } written[64];
static unsigned written_count, kicks;
static u64 on_written(void *ctx, gpa a, u64 bytes)
{
    if (written_count < 64) {
        written[written_count].a = a;
        written[written_count].bytes = bytes;
    }
    written_count++;
    return ~(u64)0;
}
static void on_kick(void *ctx) { kicks++; }

static void *foreign_write(void *arg)
{
    for (unsigned i = 0; i < 200; i++)
        physmap_write_int(map, 0x5040 + i % 2 * 0x1000, 1, i);
    return NULL;
}

static void *foreign_change(void *arg)
{
    physmap_change(map, arg, 0x5000, true);
    return NULL;
}

START_TEST(test_code_own_thread)
{
    written_count = kicks = 0;
    codepages_set_owner(map, on_written, on_kick, NULL);
    codepages_mark(map, 0x5ff0, 0x20);          /* the last chunk of one page, the first of the next */
    physmap_write_int(map, 0x5fbf, 1, 0);
    ck_assert_uint_eq(written_count, 0);
    physmap_write_int(map, 0x5fbf, 2, 0);
    ck_assert_uint_eq(written_count, 1);
    ck_assert_uint_eq(written[0].a, 0x5fbf);
    ck_assert_uint_eq(written[0].bytes, 2);
    u8 big[0x3000] = { 0 };
    physmap_write(map, 0x4800, big, sizeof(big));
    ck_assert_uint_eq(written_count, 3);        /* never across a page */
    ck_assert_uint_eq(written[1].a, 0x5000);
    ck_assert_uint_eq(written[2].a, 0x6000);
    codepages_clear(map, 0x5123);
    physmap_write_int(map, 0x5ff0, 4, 0);
    ck_assert_uint_eq(written_count, 3);
    physmap_write_int(map, 0x603f, 1, 0);
    ck_assert_uint_eq(written_count, 4);
    ck_assert_uint_eq(kicks, 0);
    /* holes and the end of memory */
    codepages_mark(map, 0xfffff, 16);
    codepages_mark(map, 0x10000000, 16);
    codepages_clear(map, 0x10000000);
}
END_TEST

START_TEST(test_code_aliases)
{
    struct region again = { .name = "again", .start = 0x800000, .size = 0x1000, .kind = REGION_RAM, .enabled = true,
                            .ram = ram, .ram_offset = 0x5000 };
    written_count = 0;
    codepages_set_owner(map, on_written, on_kick, NULL);
    physmap_add(map, &again);
    codepages_mark(map, 0x5000, 4);
    physmap_write_int(map, 0x800001, 1, 0);
    ck_assert_uint_eq(written_count, 2);
    ck_assert(written[0].a == 0x5001 || written[1].a == 0x5001);
    /* the alias goes away: whatever was decoded there is stale, what was decoded at 0x5000 is not */
    written_count = 0;
    physmap_remove(map, &again);
    ck_assert_uint_eq(written_count, 1);
    ck_assert_uint_eq(written[0].a, 0x800000);
    /* covered by a ROM and uncovered: twice */
    struct ram *rom = ram_new(0x1000, err, sizeof(err));
    struct region cover = { .name = "rom", .start = 0x5000, .size = 0x1000, .priority = 1, .kind = REGION_ROM, .ram = rom };
    physmap_add(map, &cover);
    written_count = 0;
    physmap_change(map, &cover, 0x5000, true);
    ck_assert_uint_eq(written_count, 1);
    ck_assert_uint_eq(written[0].a, 0x5000);
    codepages_mark(map, 0x5000, 1);
    physmap_change(map, &cover, 0x5000, false);
    ck_assert_uint_eq(written_count, 2);
    physmap_remove(map, &cover);
    ram_free(rom);
}
END_TEST

START_TEST(test_code_other_thread)
{
    struct mmu m;
    pthread_t t;
    u8 v;
    struct region move = { .name = "move", .start = 0x5000, .size = 0x1000, .priority = 1, .kind = REGION_MMIO, .ops = &narrow };

    written_count = kicks = 0;
    codepages_set_owner(map, on_written, on_kick, NULL);
    physmap_add(map, &move);
    mmu_init(&m, map, 40);
    ck_assert(mmu_read(&m, 0x5000, &v, 1, VIEW_KERNEL));       /* this thread runs the CPU */
    codepages_mark(map, 0x5040, 64);
    codepages_mark(map, 0x6040, 64);
    pthread_create(&t, NULL, foreign_write, NULL);
    pthread_join(t, NULL);
    ck_assert_uint_eq(written_count, 0);
    ck_assert_uint_gt(kicks, 0);
    codepages_drain(map);
    ck_assert_uint_eq(written_count, 2);
    ck_assert_uint_eq(written[0].a, 0x5040);
    ck_assert_uint_eq(written[0].bytes, 64);
    codepages_drain(map);
    ck_assert_uint_eq(written_count, 2);
    /* a map change by another thread takes effect with the drain */
    ck_assert(mmu_hit_read(&m, 0x5000, 1) != NULL);
    pthread_create(&t, NULL, foreign_change, &move);
    pthread_join(t, NULL);
    ck_assert(mmu_hit_read(&m, 0x5000, 1) != NULL);
    codepages_drain(map);
    ck_assert_uint_eq(written_count, 3);
    ck_assert(mmu_hit_read(&m, 0x5000, 1) == NULL);
    mmu_fini(&m);
    physmap_remove(map, &move);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("physmap");
    TCase *t = tcase_create("physmap");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_ram_sparse);
    tcase_add_test(t, test_holes);
    tcase_add_test(t, test_priorities);
    tcase_add_test(t, test_mmio_split);
    tcase_add_test(t, test_mmio_value);
    tcase_add_test(t, test_a20);
    tcase_add_test(t, test_dirty);
    tcase_add_test(t, test_code_own_thread);
    tcase_add_test(t, test_code_aliases);
    tcase_add_test(t, test_code_other_thread);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
