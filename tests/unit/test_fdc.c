/* test_fdc.c - the floppy controller and the DMA controllers that it works with. */
#include "device_fixture.h"

#include "devices/fdc.h"

static struct fdc *fdc;
static struct i8237 *dma;
enum { BUFFER = 0x20000 };

static u8 in(u16 port) { return (u8)bus_io_read(bus, port, 1); }
static void out(u16 port, u8 v) { bus_io_write(bus, port, 1, v); }

static void setup(void)
{
    char err[256];
    fixture_open();
    dma = device_new(bus, &i8237_class);
    ck_assert(device_init(&dma->dev, err, sizeof err));
    bus_map_io(bus, 0x00, 16, &dma->dev, I8237_REGION_LOW);
    bus_map_io(bus, 0xc0, 32, &dma->dev, I8237_REGION_HIGH);
    bus_map_io(bus, 0x80, 16, &dma->dev, I8237_REGION_PAGE);
    device_new(bus, &i8237_class);      /* not initialised: fini must cope */
    fdc = device_new(bus, &fdc_class);
    fdc->irq = fixture_line(6);
    fdc->dma = dma;
    fdc->dma_channel = 2;
    fdc->drive[0].block = image("a", 2880, 512, false, true);
    fdc->drive[1].present = true;
    ck_assert_msg(device_init(&fdc->dev, err, sizeof err), "%s", err);
    bus_map_io(bus, 0x3f0, 6, &fdc->dev, FDC_REGION_MAIN);
    bus_map_io(bus, 0x3f7, 1, &fdc->dev, FDC_REGION_DIR);
    bus_reset(bus);
    out(0xd6, 0xc0);        /* cascade */
    out(0xd4, 0);
}

static void byte_out(u8 v)
{
    ck_assert_uint_eq(in(0x3f4) & 0xc0, 0x80);
    out(0x3f5, v);
}

static void command(const u8 *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        byte_out(bytes[i]);
}

#define COMMAND(...) command((const u8[]) { __VA_ARGS__ }, sizeof (const u8[]) { __VA_ARGS__ })

static u8 result[16];

static unsigned results(void)
{
    unsigned n = 0;
    while ((in(0x3f4) & 0xd0) == 0xd0 && n < sizeof result)
        result[n++] = in(0x3f5);
    return n;
}

static void sense(u8 st0, u8 pcn)
{
    COMMAND(0x08);
    ck_assert_uint_eq(results(), 2);
    ck_assert_uint_eq(result[0], st0);
    ck_assert_uint_eq(result[1], pcn);
}

/* Reset, motors on, 500 kbit/s, DMA mode, head of drive 0 on track 0. */
static void start(void)
{
    out(0x3f2, 0x00);
    out(0x3f2, 0x3c);
    settle();
    ck_assert(irq_level[6]);
    for (unsigned i = 0; i < 4; i++)
        sense((u8)(0xc0 | i), 0);
    ck_assert(!irq_level[6]);
    out(0x3f7, 0);
    COMMAND(0x03, 0xdf, 0x02);
    COMMAND(0x07, 0x00);
    settle();
    ck_assert(irq_level[6]);
    sense(0x20, 0);
}

static void seek(u8 cylinder)
{
    COMMAND(0x0f, 0x00, cylinder);
    settle();
    sense(0x20, cylinder);
}

static void dma_program(u8 mode, u32 address, unsigned bytes)
{
    out(0x0a, 6);
    out(0x0c, 0);
    out(0x0b, mode | 2);
    out(0x04, (u8)address);
    out(0x04, (u8)(address >> 8));
    out(0x81, (u8)(address >> 16));
    out(0x05, (u8)(bytes - 1));
    out(0x05, (u8)((bytes - 1) >> 8));
    out(0x0a, 2);
}

static u64 lba(unsigned c, unsigned h, unsigned s) { return (c * 2 + h) * 18 + s - 1; }

static void check_memory(u32 at, u64 sector)
{
    u8 buf[512];
    physmap_read(phys, at, buf, 512);
    for (unsigned i = 0; i < 512; i++)
        ck_assert_uint_eq(buf[i], pattern(sector, i));
}

static void check_result(u8 st0, u8 st1, u8 st2, u8 c, u8 h, u8 r)
{
    settle();
    ck_assert(irq_level[6]);
    ck_assert_uint_eq(results(), 7);
    ck_assert(!irq_level[6]);
    ck_assert_uint_eq(result[0], st0);
    ck_assert_uint_eq(result[1], st1);
    ck_assert_uint_eq(result[2], st2);
    ck_assert_uint_eq(result[3], c);
    ck_assert_uint_eq(result[4], h);
    ck_assert_uint_eq(result[5], r);
    ck_assert_uint_eq(result[6], 2);
}

START_TEST(basics)
{
    ck_assert_uint_eq(fdc_cmos_types(fdc), 0x44);
    ck_assert_uint_eq(in(0x3f4), 0);            /* held in reset after power-on */
    start();
    COMMAND(0x08);                              /* nothing to sense */
    ck_assert_uint_eq(results(), 1);
    ck_assert_uint_eq(result[0], 0x80);
    COMMAND(0x1f);
    ck_assert_uint_eq(results(), 1);
    ck_assert_uint_eq(result[0], 0x80);
    COMMAND(0x10);
    ck_assert_uint_eq(results(), 1);
    ck_assert_uint_eq(result[0], 0x90);
    COMMAND(0x04, 0x00);
    ck_assert_uint_eq(results(), 1);
    ck_assert_uint_eq(result[0], 0x38);
    COMMAND(0x13, 0, 0x57, 3);
    COMMAND(0x94);
    ck_assert_uint_eq(results(), 1);
    ck_assert_uint_eq(result[0], 0x10);
    COMMAND(0x0e);
    ck_assert_uint_eq(results(), 10);
    ck_assert_uint_eq(result[4], 0xdf);
    ck_assert_uint_eq(result[8], 0x57);
    ck_assert_uint_eq(result[7] & 0x80, 0x80);
    out(0x3f2, 0x08);                           /* locked: survives; polling is off: no interrupt */
    unsigned edges = irq_edges[6];
    out(0x3f2, 0x0c);
    settle();
    ck_assert_uint_eq(irq_edges[6], edges);
    COMMAND(0x0e);
    results();
    ck_assert_uint_eq(result[8], 0x57);
}
END_TEST

START_TEST(disk_change)
{
    char err[256];
    start();
    ck_assert_uint_eq(in(0x3f7) & 0x80, 0x80);
    seek(1);
    ck_assert_uint_eq(in(0x3f7) & 0x80, 0);
    ck_assert(fdc_change_medium(fdc, 0, NULL, err, sizeof err));
    ck_assert_uint_eq(in(0x3f7) & 0x80, 0x80);
    seek(0);
    ck_assert_uint_eq(in(0x3f7) & 0x80, 0x80);
    struct block *odd = image("odd", 5761, 512, false, true);
    ck_assert(!fdc_change_medium(fdc, 0, odd, err, sizeof err));
    ck_assert_ptr_nonnull(strstr(err, "more than a floppy"));
    block_close(odd);
    ck_assert(fdc_change_medium(fdc, 0, image("b", 1440, 512, true, false), err, sizeof err));
    COMMAND(0x4a, 0x00);
    settle();
    ck_assert_uint_eq(results(), 7);
    ck_assert_uint_eq(result[0], 0x40);
    ck_assert_uint_eq(result[1], 0x01);         /* 720 KiB at 500 kbit/s: no address marks */
    out(0x3f7, 2);
    COMMAND(0x4a, 0x00);
    check_result(0x00, 0, 0, 0, 0, 1);
}
END_TEST

START_TEST(read_dma)
{
    start();
    seek(5);
    dma_program(0x44, BUFFER, 3 * 512);
    COMMAND(0x46, 0x04, 5, 1, 4, 2, 18, 0x1b, 0xff);
    check_result(0x04, 0, 0, 5, 1, 7);
    for (unsigned i = 0; i < 3; i++)
        check_memory(BUFFER + i * 512, lba(5, 1, 4 + i));
    ck_assert_uint_eq(in(0x08) & 0x04, 0x04);           /* terminal count of channel 2 */
    ck_assert_uint_eq(in(0x08) & 0x04, 0x00);

    dma_program(0x44, BUFFER, 36 * 512);                /* a whole cylinder, both sides */
    COMMAND(0xe6, 0x00, 5, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x04, 0, 0, 6, 0, 1);
    for (unsigned i = 0; i < 36; i++)
        check_memory(BUFFER + i * 512, lba(5, 0, 1) + i);

    dma_program(0x44, BUFFER, 3 * 512);                 /* no terminal count at the end of the track */
    COMMAND(0x46, 0x00, 5, 0, 17, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x80, 0, 6, 0, 1);

    dma_program(0x44, BUFFER, 512);                     /* masked until later */
    out(0x0a, 6);
    COMMAND(0x46, 0x00, 5, 0, 1, 2, 18, 0x1b, 0xff);
    settle();
    ck_assert(!irq_level[6]);
    out(0x0a, 2);
    check_result(0x00, 0, 0, 5, 0, 2);
}
END_TEST

START_TEST(write_dma)
{
    u8 buf[1024];
    start();
    seek(79);
    memset(buf, 0x5a, sizeof buf);
    physmap_write(phys, BUFFER, buf, sizeof buf);
    dma_program(0x48, BUFFER, 700);                     /* the rest of the second sector is zeros */
    COMMAND(0x45, 0x00, 79, 0, 17, 2, 18, 0x1b, 0xff);
    check_result(0x00, 0, 0, 80, 0, 1);
    ck_assert(block_read(fdc->drive[0].block, lba(79, 0, 17) * 512, buf, 1024));
    ck_assert_uint_eq(buf[0], 0x5a);
    ck_assert_uint_eq(buf[699], 0x5a);
    ck_assert_uint_eq(buf[700], 0);
    ck_assert_uint_eq(buf[1023], 0);
}
END_TEST

START_TEST(errors)
{
    static const struct { u8 cmd, unit, c, h, r, n; u8 st0, st1, st2; } cases[] = {
        { 0x46, 0, 6, 0, 1, 2,  0x40, 0x04, 0x10 },     /* another cylinder */
        { 0x46, 0, 0xff, 0, 1, 2, 0x40, 0x04, 0x02 },   /* a bad one */
        { 0x46, 0, 5, 1, 1, 2,  0x40, 0x04, 0 },        /* head in the ID differs */
        { 0x46, 0, 5, 0, 19, 2, 0x40, 0x04, 0 },
        { 0x46, 0, 5, 0, 0, 2,  0x40, 0x04, 0 },
        { 0x46, 0, 5, 0, 1, 3,  0x40, 0x04, 0 },        /* 1024-byte sectors */
        { 0x46, 1, 5, 0, 1, 2,  0x41, 0x01, 0 },        /* no disk */
        { 0x46, 2, 5, 0, 1, 2,  0x42, 0x01, 0 },        /* no drive */
    };
    start();
    seek(5);
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        dma_program(0x44, BUFFER, 512);
        COMMAND(cases[i].cmd, cases[i].unit, cases[i].c, cases[i].h, cases[i].r, cases[i].n, 18, 0x1b, 0xff);
        settle();
        ck_assert_uint_eq(results(), 7);
        ck_assert_uint_eq(result[0], cases[i].st0);
        ck_assert_uint_eq(result[1], cases[i].st1);
        ck_assert_uint_eq(result[2], cases[i].st2);
    }
    char err[256];
    ck_assert(fdc_change_medium(fdc, 0, image("ro", 2880, 512, true, false), err, sizeof err));
    COMMAND(0x45, 0x00, 5, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x02, 0, 5, 0, 1);
    COMMAND(0x04, 0x00);
    results();
    ck_assert_uint_eq(result[0] & 0x40, 0x40);
    COMMAND(0x07, 0x03);                                /* recalibrating nothing */
    settle();
    sense(0x73, 0);
}
END_TEST

START_TEST(other_reads)
{
    start();
    seek(2);
    for (unsigned i = 1; i <= 19; i++) {                /* READ ID sees the sectors pass */
        COMMAND(0x4a, 0x04);
        check_result(0x04, 0, 0, 2, 1, (u8)(i > 18 ? i - 18 : i));
    }
    dma_program(0x44, BUFFER, 18 * 512);
    COMMAND(0x42, 0x00, 2, 0, 1, 2, 18, 0x1b, 0xff);    /* READ TRACK */
    check_result(0x00, 0, 0, 3, 0, 1);
    for (unsigned i = 0; i < 18; i++)
        check_memory(BUFFER + i * 512, lba(2, 0, 1) + i);
    COMMAND(0x56, 0x80, 2, 0, 3, 2, 18, 0x1b, 4);       /* VERIFY four sectors: no DMA */
    check_result(0x00, 0, 0, 2, 0, 7);
    COMMAND(0x56, 0x00, 2, 0, 3, 2, 20, 0x1b, 0xff);
    check_result(0x40, 0x04, 0, 2, 0, 19);
    dma_program(0x44, BUFFER, 2 * 512);                 /* READ DELETED finds a normal mark: one sector, CM */
    COMMAND(0x4c, 0x00, 2, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x00, 0, 0x40, 2, 0, 2);
    COMMAND(0x13, 0, 0x40, 0);                          /* implied seek */
    dma_program(0x44, BUFFER, 512);
    COMMAND(0x46, 0x00, 40, 0, 9, 2, 18, 0x1b, 0xff);
    check_result(0x00, 0, 0, 40, 0, 10);
    check_memory(BUFFER, lba(40, 0, 9));
    COMMAND(0xcf, 0x00, 3);                             /* relative seek inwards */
    settle();
    sense(0x20, 43);
    COMMAND(0x8f, 0x00, 10);
    settle();
    sense(0x20, 33);
}
END_TEST

START_TEST(format)
{
    u8 ids[18 * 4], buf[512];
    start();
    seek(3);
    for (unsigned i = 0; i < 18; i++)
        memcpy(ids + i * 4, (const u8[4]) { 3, 1, (u8)(i * 7 % 18 + 1), 2 }, 4);
    physmap_write(phys, BUFFER, ids, sizeof ids);
    dma_program(0x48, BUFFER, sizeof ids);
    COMMAND(0x4d, 0x04, 2, 18, 0x54, 0xf6);
    settle();
    ck_assert_uint_eq(results(), 7);
    ck_assert_uint_eq(result[0], 0x04);
    for (unsigned r = 1; r <= 18; r++) {
        ck_assert(block_read(fdc->drive[0].block, lba(3, 1, r) * 512, buf, 512));
        ck_assert(buf[0] == 0xf6 && buf[511] == 0xf6);
    }
    ck_assert(block_read(fdc->drive[0].block, lba(4, 0, 1) * 512, buf, 512));
    ck_assert_uint_eq(buf[5], pattern(lba(4, 0, 1), 5));
}
END_TEST

START_TEST(short_image)
{
    char err[256];
    start();
    ck_assert(fdc_change_medium(fdc, 0, image("short", 3, 512, false, true), err, sizeof err));
    dma_program(0x44, BUFFER, 4 * 512);
    COMMAND(0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
    check_result(0x00, 0, 0, 0, 0, 5);
    check_memory(BUFFER + 1024, 2);
    ck_assert_uint_eq(physmap_read_int(phys, BUFFER + 1536 + 511, 1), 0);
    dma_program(0x48, BUFFER, 512);
    COMMAND(0x45, 0x00, 0, 0, 4, 2, 18, 0x1b, 0xff);
    check_result(0x40, 0x20, 0x20, 0, 0, 4);
    ck_assert_uint_eq(fdc_format_by_size(512)->kbytes, 1440);
    ck_assert_uint_eq(fdc_format_by_size(360 * 1024)->kbytes, 360);
    ck_assert_uint_eq(fdc_format_by_size(2000 * 1024)->kbytes, 2880);
}
END_TEST

START_TEST(without_dma)
{
    start();
    COMMAND(0x03, 0xdf, 0x03);
    COMMAND(0x46, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff);
    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = 0; i < 512; i++) {
            settle();
            ck_assert(irq_level[6]);
            ck_assert_uint_eq(in(0x3f4), 0xf0);
            ck_assert_uint_eq(in(0x3f5), pattern(16 + s, i));
        }
    check_result(0x40, 0x80, 0, 1, 0, 1);               /* only a TC would end it well */
    COMMAND(0x45, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        settle();
        ck_assert_uint_eq(in(0x3f4), 0xb0);
        out(0x3f5, (u8)~i);
    }
    check_result(0x40, 0x80, 0, 1, 0, 1);
    u8 buf[512];
    ck_assert(block_read(fdc->drive[0].block, 17 * 512, buf, 512));
    ck_assert(buf[0] == 0xff && buf[511] == 0);
}
END_TEST

/* --------------------------------------------------------------------------------- 8237 alone ----- */

START_TEST(dma_modes)
{
    u8 buf[16] = { 1, 2, 3, 4, 5, 6, 7, 8 }, memory[16];
    bool tc;
    memset(memory, 0, sizeof memory);
    dma_program(0x64, BUFFER + 7, 8);                   /* downwards */
    ck_assert_uint_eq(i8237_transfer(dma, 2, I8237_TO_MEMORY, buf, 16, &tc), 8);
    ck_assert(tc);
    physmap_read(phys, BUFFER, memory, 8);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(memory[i], 8 - i);
    ck_assert(!i8237_can_run(dma, 2));                  /* masked by terminal count */
    dma_program(0x54, BUFFER, 4);                       /* auto-initialize */
    ck_assert_uint_eq(i8237_transfer(dma, 2, I8237_TO_MEMORY, buf, 4, &tc), 4);
    ck_assert(tc);
    ck_assert_uint_eq(i8237_transfer(dma, 2, I8237_TO_MEMORY, buf + 4, 4, &tc), 4);
    physmap_read(phys, BUFFER, memory, 4);
    ck_assert_mem_eq(memory, buf + 4, 4);
    dma_program(0x40, BUFFER, 4);                       /* verify: memory stays */
    ck_assert_uint_eq(i8237_transfer(dma, 2, I8237_TO_MEMORY, buf, 4, &tc), 4);
    physmap_read(phys, BUFFER, memory, 4);
    ck_assert_mem_eq(memory, buf + 4, 4);
    dma_program(0x44, 0x2fffe, 4);                      /* no carry into the page register */
    ck_assert_uint_eq(i8237_transfer(dma, 2, I8237_TO_MEMORY, buf, 4, &tc), 4);
    physmap_read(phys, 0x20000, memory, 2);
    ck_assert_mem_eq(memory, buf + 2, 2);
    out(0xd8, 0);                                       /* channel 5: words */
    out(0xd6, 0x45);
    out(0xc4, 0x00);
    out(0xc4, 0x80);
    out(0x8b, 0x03);
    out(0xc6, 1);
    out(0xc6, 0);
    out(0xd4, 1);
    ck_assert_uint_eq(i8237_transfer(dma, 5, I8237_TO_MEMORY, buf, 16, &tc), 4);
    physmap_read(phys, 0x30000, memory, 4);
    ck_assert_mem_eq(memory, buf, 4);
    out(0x08, 4);                                       /* controller disabled */
    dma_program(0x44, BUFFER, 4);
    ck_assert(!i8237_can_run(dma, 2));
    out(0x0d, 0);
    ck_assert_uint_eq(in(0x0f) & 15, 15);
}
END_TEST

START_TEST(fuzz)
{
    srand(99);
    for (unsigned i = 0; i < 300000; i++) {
        static const u16 ports[] = { 0x3f5, 0x3f5, 0x3f5, 0x3f5, 0x3f5, 0x3f5, 0x3f7, 0x3f4, 0x3f2 };
        u16 port = rand() % 10 ? ports[(unsigned)rand() % ARRAY_LEN(ports)] : (u16)((const u8[]) { 0, 0x80, 0xc0 }[rand() % 3] + rand() % 16);
        if (port == 0x3f2 && rand() % 8)
            out(port, 0x3c);
        else if (rand() % 3)
            out(port, rand() % 4 ? (u8)rand() : (const u8[]) { 0x46, 0x45, 0x4d, 0x42, 0x4a, 0x0f, 0x07, 0x08 }[rand() & 7]);
        else
            in(port);
        if (rand() % 5 == 0)
            settle();
    }
    out(0x0d, 0);
    out(0xda, 0);
    out(0xd6, 0xc0);
    out(0xd4, 0);
    fdc->drive[0].cylinder = 0;     /* may be beyond the reach of one RECALIBRATE */
    start();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fdc");
    TCase *t = tcase_create("fdc");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, basics);
    tcase_add_test(t, disk_change);
    tcase_add_test(t, read_dma);
    tcase_add_test(t, write_dma);
    tcase_add_test(t, errors);
    tcase_add_test(t, other_reads);
    tcase_add_test(t, format);
    tcase_add_test(t, short_image);
    tcase_add_test(t, without_dma);
    tcase_add_test(t, dma_modes);
    tcase_add_test(t, fuzz);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
