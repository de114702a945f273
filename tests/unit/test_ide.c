/* test_ide.c - the IDE function as a driver sees it: disks by PIO and DMA, CD drives, errors, resets, hostile input. */
#include "device_fixture.h"

#include "devices/ide.h"

#define SECTORS 5000u
#define CD_SECTORS 400u

static struct ide *ide;
static u16 base, control;           /* ports of the channel under test */
enum { BM = 0xc000, PRD = 0x1000, BUFFER = 0x10000 };

static u8 in(u16 port) { return (u8)bus_io_read(bus, port, 1); }
static void out(u16 port, u8 v) { bus_io_write(bus, port, 1, v); }
static u16 in16(u16 port) { return (u16)bus_io_read(bus, port, 2); }

static void channel(unsigned n)
{
    base = n ? 0x170 : 0x1f0;
    control = n ? 0x376 : 0x3f6;
}

/* A disk on the primary master, a CD on the secondary master. */
static void setup(void)
{
    char err[256];
    fixture_open();
    ide = device_new(bus, &ide_class);
    ide->pci.pci = pci;
    ide->pci.devfn = 9;
    ide->unit[0] = (struct ide_unit) { image("disk", SECTORS, 512, false, true), false, true };
    ide->unit[2] = (struct ide_unit) { image("cd", CD_SECTORS, 2048, true, false), true, true };
    ide->irq[0] = fixture_line(14);
    ide->irq[1] = fixture_line(15);
    ck_assert_msg(device_init(&ide->pci.dev, err, sizeof err), "%s", err);
    bus_map_io(bus, 0x1f0, 8, &ide->pci.dev, IDE_REGION_COMMAND0);
    bus_map_io(bus, 0x3f6, 1, &ide->pci.dev, IDE_REGION_CONTROL0);
    bus_map_io(bus, 0x170, 8, &ide->pci.dev, IDE_REGION_COMMAND1);
    bus_map_io(bus, 0x376, 1, &ide->pci.dev, IDE_REGION_CONTROL1);
    pci_config_write(pci, 0, 9, 0x20, 4, BM);
    pci_config_write(pci, 0, 9, 0x04, 2, 5);
    pci_config_write(pci, 0, 9, 0x40, 4, 0x80008000);
    channel(0);
}

static u8 wait_ready(void)
{
    settle();
    u8 s = in(base + 7);
    ck_assert_msg(!(s & ATA_BSY), "still busy");
    return s;
}

static void address(u64 lba, unsigned count)
{
    out(base + 2, (u8)count);
    out(base + 3, (u8)lba);
    out(base + 4, (u8)(lba >> 8));
    out(base + 5, (u8)(lba >> 16));
    out(base + 6, (u8)(0xe0 | (lba >> 24 & 15)));
}

static u8 command(u8 cmd)
{
    out(base + 7, cmd);
    return wait_ready();
}

static void read_block(u8 *buf, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        u16 v = in16(base);
        buf[i] = (u8)v;
        buf[i + 1] = (u8)(v >> 8);
    }
}

static void write_block(const u8 *buf, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2)
        bus_io_write(bus, base, 2, buf[i] | buf[i + 1] << 8);
}

static void check_sector(const u8 *p, u64 lba)
{
    for (unsigned i = 0; i < 512; i++)
        ck_assert_uint_eq(p[i], pattern(lba, i));
}

static u16 word(const u8 *p, unsigned n) { return (u16)(p[n * 2] | p[n * 2 + 1] << 8); }

START_TEST(identify)
{
    u8 p[512], sum = 0;
    ck_assert_uint_eq(command(0xec), ATA_DRDY | ATA_DSC | ATA_DRQ);
    read_block(p, 512);
    ck_assert_uint_eq(in(base + 7), ATA_DRDY | ATA_DSC);
    for (unsigned i = 0; i < 512; i++)
        sum += p[i];
    ck_assert_uint_eq(sum, 0);
    ck_assert_uint_eq(p[510], 0xa5);
    ck_assert_uint_eq(word(p, 60) | word(p, 61) << 16, SECTORS);
    ck_assert_uint_eq(word(p, 100), SECTORS);
    ck_assert_uint_eq(word(p, 1), SECTORS / (16 * 63));
    ck_assert_uint_eq(word(p, 3), 16);
    ck_assert_uint_eq(word(p, 6), 63);
    ck_assert_int_eq(memcmp(p + 54, "HSDAWO68H RADDSI K", 18), 0);
    ck_assert_uint_eq(irq_edges[14], 1);
    struct ide_geometry g;
    ck_assert(ide_disk_geometry(ide, 0, &g));
    ck_assert_uint_eq(g.heads, 16);
    ck_assert(!ide_disk_geometry(ide, 1, &g));
    ck_assert(!ide_disk_geometry(ide, 2, &g));
    channel(1);
    ck_assert_uint_eq(command(0xec) & (ATA_ERR | ATA_DRQ), ATA_ERR);
    ck_assert_uint_eq(in(base + 1), ATA_ABRT);
    ck_assert_uint_eq(in(base + 4), 0x14);
    ck_assert_uint_eq(in(base + 5), 0xeb);
    ck_assert_uint_eq(command(0xa1) & (ATA_ERR | ATA_DRQ), ATA_DRQ);
    read_block(p, 512);
    ck_assert_uint_eq(word(p, 0), 0x85c0);
}
END_TEST

START_TEST(absent)
{
    out(base + 6, 0xb0);            /* the slave that is not there: the master answers, status 0 */
    ck_assert_uint_eq(in(base + 7), 0);
    out(base + 7, 0xec);
    settle();
    ck_assert_uint_eq(in(base + 7), 0);
    ck_assert_uint_eq(irq_edges[14], 0);
    out(base + 2, 0x55);
    ck_assert_uint_eq(in(base + 2), 0x55);
    pci_config_write(pci, 0, 9, 0x40, 2, 0);        /* decoding off */
    ck_assert_uint_eq(in(base + 7), 0xff);
}
END_TEST

/* The order of BSY, DRQ and interrupts through a multi-sector read. */
START_TEST(pio_read_order)
{
    u8 buf[512];
    address(10, 3);
    out(base + 7, 0x20);
    ck_assert_uint_eq(in(control), ATA_BSY | ATA_DRDY | ATA_DSC);
    ck_assert(!irq_level[14]);
    for (unsigned i = 0; i < 3; i++) {
        settle();
        ck_assert(irq_level[14]);
        ck_assert_uint_eq(in(control) & (ATA_BSY | ATA_DRQ), ATA_DRQ);
        ck_assert(irq_level[14]);                   /* the alternate status does not acknowledge */
        in(base + 7);
        ck_assert(!irq_level[14]);
        read_block(buf, 512);
        check_sector(buf, 10 + i);
    }
    settle();
    ck_assert_uint_eq(irq_edges[14], 3);
    ck_assert_uint_eq(in(base + 7), ATA_DRDY | ATA_DSC);
    ck_assert_uint_eq(in(base + 3), 12);
    ck_assert_uint_eq(in(base + 2), 0);
    ck_assert_uint_eq(in16(base), 0xffff);
}
END_TEST

START_TEST(pio_write_and_modes)
{
    static const struct { u8 write, read; unsigned count, per_irq; bool lba48; } cases[] = {
        { 0x30, 0x20, 5, 1, false }, { 0x34, 0x24, 5, 1, true }, { 0xc5, 0xc4, 19, 4, false }, { 0x39, 0x29, 9, 4, true },
        { 0x3c, 0x20, 2, 1, false }, { 0xce, 0x29, 4, 4, true },
    };
    static u8 data[20 * 512], back[20 * 512];
    out(base + 2, 4);
    ck_assert_uint_eq(command(0xc6) & ATA_ERR, 0);
    for (unsigned c = 0; c < ARRAY_LEN(cases); c++) {
        u64 lba = 1000 + c * 50;
        for (unsigned i = 0; i < sizeof data; i++)
            data[i] = (u8)rand();
        for (unsigned pass = 0; pass < 2; pass++) {
            if (cases[c].lba48)
                address(0, 0);
            address(lba, cases[c].count);
            unsigned edges = irq_edges[14], blocks = 0;
            u8 s = command(pass ? cases[c].read : cases[c].write);
            for (unsigned left = cases[c].count; left; blocks++) {
                unsigned n = left < cases[c].per_irq ? left : cases[c].per_irq;
                ck_assert_uint_eq(s & (ATA_DRQ | ATA_ERR), ATA_DRQ);
                if (pass)
                    read_block(back + (cases[c].count - left) * 512, n * 512);
                else
                    write_block(data + (cases[c].count - left) * 512, n * 512);
                left -= n;
                s = wait_ready();
            }
            ck_assert_uint_eq(s, ATA_DRDY | ATA_DSC);
            ck_assert_uint_eq(irq_edges[14] - edges, blocks);
        }
        ck_assert_mem_eq(data, back, cases[c].count * 512);
    }
}
END_TEST

START_TEST(chs)
{
    u8 buf[512];
    out(base + 2, 17);              /* 17 sectors, 9 heads */
    out(base + 6, 0xa8);
    ck_assert_uint_eq(command(0x91) & ATA_ERR, 0);
    out(base + 2, 1);
    out(base + 3, 5);
    out(base + 4, 3);
    out(base + 5, 0);
    out(base + 6, 0xa7);
    ck_assert_uint_eq(command(0x20) & (ATA_DRQ | ATA_ERR), ATA_DRQ);
    read_block(buf, 512);
    check_sector(buf, (3 * 9 + 7) * 17 + 4);
    static const struct { u8 sector, cylinder_low, head; } bad[] = { { 0, 0, 0 }, { 18, 0, 0 }, { 1, 0, 9 }, { 1, 200, 0 } };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        out(base + 2, 1);
        out(base + 3, bad[i].sector);
        out(base + 4, bad[i].cylinder_low);
        out(base + 6, 0xa0 | bad[i].head);
        ck_assert_uint_eq(command(0x20) & ATA_ERR, ATA_ERR);
        ck_assert_uint_eq(in(base + 1), ATA_IDNF);
    }
}
END_TEST

START_TEST(errors)
{
    u8 buf[512];
    address(SECTORS - 1, 2);        /* the first sector comes, then the end is noticed */
    ck_assert_uint_eq(command(0x20) & (ATA_DRQ | ATA_ERR), ATA_DRQ);
    read_block(buf, 512);
    ck_assert_uint_eq(wait_ready() & (ATA_DRQ | ATA_ERR), ATA_ERR);
    ck_assert_uint_eq(in(base + 1), ATA_IDNF);
    ck_assert_uint_eq(in(base + 2), 1);
    ck_assert_uint_eq(in(base + 3) | in(base + 4) << 8, SECTORS);
    static const u8 unknown[] = { 0x00, 0x22, 0x87, 0xf1, 0xf9, 0xa0, 0xff };
    for (unsigned i = 0; i < ARRAY_LEN(unknown); i++) {
        ck_assert_uint_eq(command(unknown[i]) & ATA_ERR, ATA_ERR);
        ck_assert_uint_eq(in(base + 1), ATA_ABRT);
    }
    out(base + 2, 0);
    command(0xc6);
    address(0, 1);
    ck_assert_uint_eq(command(0xc4) & ATA_ERR, ATA_ERR);
    out(base + 2, 3);
    ck_assert_uint_eq(command(0xc6) & ATA_ERR, ATA_ERR);
    address(SECTORS, 1);
    ck_assert_uint_eq(command(0x70) & ATA_ERR, ATA_ERR);
    address(SECTORS - 1, 1);
    ck_assert_uint_eq(command(0x70) & ATA_ERR, 0);
    address(0, 0);
    ck_assert_uint_eq(command(0x40) & ATA_ERR, 0);
    address(SECTORS - 10, 0);
    ck_assert_uint_eq(command(0x40) & ATA_ERR, ATA_ERR);
}
END_TEST

START_TEST(small_commands)
{
    ck_assert_uint_eq(command(0xe5) & ATA_ERR, 0);
    ck_assert_uint_eq(in(base + 2), 0xff);
    command(0xe0);
    command(0xe5);
    ck_assert_uint_eq(in(base + 2), 0x00);
    address(0, 0);
    ck_assert_uint_eq(command(0xf8) & ATA_ERR, 0);
    ck_assert_uint_eq(in(base + 3) | in(base + 4) << 8, SECTORS - 1);
    ck_assert_uint_eq(command(0xe7) & ATA_ERR, 0);
    ck_assert_uint_eq(command(0xea) & ATA_ERR, 0);
    out(base + 4, 0x4f);
    out(base + 5, 0xc2);
    out(base + 1, 0xda);
    ck_assert_uint_eq(command(0xb0) & ATA_ERR, 0);
    ck_assert_uint_eq(in(base + 4), 0x4f);
    out(base + 1, 0x03);
    out(base + 2, 0x45);
    ck_assert_uint_eq(command(0xef) & ATA_ERR, 0);
    out(base + 2, 0x99);
    ck_assert_uint_eq(command(0xef) & ATA_ERR, ATA_ERR);
    ck_assert_uint_eq(command(0x90) & ATA_ERR, 0);
    ck_assert_uint_eq(in(base + 1), 1);
    command(0xe6);                  /* SLEEP: only a reset wakes it */
    out(base + 7, 0xec);
    settle();
    ck_assert_uint_eq(in(base + 7) & (ATA_BSY | ATA_DRQ), 0);
    out(control, 4);
    out(control, 0);
    settle();
    ck_assert_uint_eq(command(0xec) & ATA_DRQ, ATA_DRQ);
}
END_TEST

START_TEST(soft_reset)
{
    address(0, 4);
    out(base + 7, 0x20);
    out(control, ATA_SRST);
    ck_assert_uint_eq(in(base + 7), ATA_BSY);
    settle();
    ck_assert_uint_eq(in(base + 7), ATA_BSY);
    out(control, ATA_NIEN);
    ck_assert_uint_eq(in(base + 7), ATA_BSY);
    settle();
    ck_assert_uint_eq(in(base + 7), ATA_DRDY | ATA_DSC);
    ck_assert_uint_eq(in(base + 1), 1);
    ck_assert_uint_eq(in(base + 2), 1);
    ck_assert_uint_eq(in(base + 3), 1);
    ck_assert_uint_eq(in(base + 4) | in(base + 5), 0);
    command(0xe7);
    ck_assert_uint_eq(irq_edges[14], 0);        /* nIEN */
    out(base + 7, 0xe7);
    settle();
    out(control, 0);
    ck_assert_uint_eq(irq_edges[14], 1);        /* still pending */
    channel(1);
    out(control, ATA_SRST);
    out(control, 0);
    settle();
    ck_assert_uint_eq(in(base + 7), 0);
    ck_assert_uint_eq(in(base + 4) | in(base + 5) << 8, 0xeb14);
}
END_TEST

/* ------------------------------------------------------------------------------------- DMA ----- */

static void prd(unsigned n, u32 addr, u32 bytes, bool last)
{
    physmap_write_int(phys, PRD + n * 8, 4, addr);
    physmap_write_int(phys, PRD + n * 8 + 4, 4, (bytes & 0xffff) | (last ? 0x80000000u : 0));
}

static u16 bm(void) { return (u16)(BM + (base == 0x170 ? 8 : 0)); }

static void bm_start(bool to_memory)
{
    bus_io_write(bus, bm() + 4, 4, PRD);
    out(bm() + 2, 0x66);
    out(bm(), to_memory ? 8 : 0);
    out(bm(), to_memory ? 9 : 1);
}

START_TEST(dma)
{
    static u8 buf[600 * 512];
    prd(0, BUFFER, 0x10000, false);                     /* 0: 64 KiB */
    prd(1, BUFFER + 0x10000, 6, false);
    prd(2, BUFFER + 0x10006, 0x10000, false);
    prd(3, BUFFER + 0x20006, 0x10000, false);
    prd(4, BUFFER + 0x30006, 0x10000, false);
    prd(5, BUFFER + 0x40006, 600 * 512 - 0x40006, true);
    address(0, 2);                                      /* 48 bits: 600 sectors = 258h */
    address(123, 0x58);
    out(base + 7, 0x25);
    settle();
    ck_assert_uint_eq(in(control) & ATA_BSY, ATA_BSY);  /* waits for the bus master */
    bm_start(true);
    settle();
    ck_assert(irq_level[14]);
    ck_assert_uint_eq(in(bm() + 2) & 7, 4);             /* interrupt, not active */
    ck_assert_uint_eq(in(base + 7), ATA_DRDY | ATA_DSC);
    out(bm(), 0);
    physmap_read(phys, BUFFER, buf, sizeof buf);
    for (unsigned i = 0; i < 600; i++)
        check_sector(buf + i * 512, 123 + i);

    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (u8)rand();
    physmap_write(phys, BUFFER, buf, sizeof buf);
    address(0, 2);
    address(2000, 0x58);
    bm_start(false);
    ck_assert_uint_eq(command(0x35), ATA_DRDY | ATA_DSC);
    out(bm(), 0);
    static u8 back[600 * 512];
    ck_assert(block_read(ide_medium(ide, 0), 2000 * 512, back, sizeof back));
    ck_assert_mem_eq(buf, back, sizeof buf);
}
END_TEST

START_TEST(dma_table_sizes)
{
    prd(0, BUFFER, 8192, true);     /* larger than the transfer: the channel stays active */
    address(1, 1);
    bm_start(true);
    ck_assert_uint_eq(command(0xc8) & ATA_ERR, 0);
    ck_assert_uint_eq(in(bm() + 2) & 7, 5);
    out(bm(), 0);
    ck_assert_uint_eq(in(bm() + 2) & 7, 4);
    out(bm() + 2, 4);
    ck_assert_uint_eq(in(bm() + 2) & 7, 0);

    prd(0, BUFFER, 512, true);      /* smaller: the drive waits, the channel is done */
    address(1, 2);
    bm_start(true);
    out(base + 7, 0xc8);
    settle();
    ck_assert_uint_eq(in(bm() + 2) & 7, 0);
    ck_assert_uint_eq(in(base + 7) & ATA_BSY, ATA_BSY);
    prd(0, BUFFER + 512, 512, true);    /* a second table lets it finish */
    bm_start(true);
    settle();
    ck_assert_uint_eq(in(base + 7), ATA_DRDY | ATA_DSC);
    u8 buf[1024];
    physmap_read(phys, BUFFER, buf, sizeof buf);
    check_sector(buf, 1);
    check_sector(buf + 512, 2);

    address(1, 2);                  /* the wrong direction: nothing moves, SRST helps */
    bm_start(false);
    out(base + 7, 0xc8);
    settle();
    ck_assert_uint_eq(in(base + 7) & ATA_BSY, ATA_BSY);
    out(control, 4);
    out(control, 0);
    ck_assert_uint_eq(wait_ready(), ATA_DRDY | ATA_DSC);
}
END_TEST

START_TEST(readonly_disk)
{
    char err[256];
    struct ide *second = device_new(bus, &ide_class);
    second->pci.pci = pci;
    second->pci.devfn = 17;
    second->unit[0] = (struct ide_unit) { image("ro", 100, 512, true, false), false, true };
    ck_assert(device_init(&second->pci.dev, err, sizeof err));
    bus_map_io(bus, 0x1e8, 8, &second->pci.dev, IDE_REGION_COMMAND0);
    pci_config_write(pci, 0, 17, 0x04, 2, 1);
    pci_config_write(pci, 0, 17, 0x40, 2, 0x8000);
    base = 0x1e8;
    address(0, 1);
    ck_assert_uint_eq(command(0x30) & (ATA_ERR | ATA_DRQ), ATA_ERR);
    ck_assert_uint_eq(in(base + 1), ATA_ABRT | 0x40);
    address(5, 1);
    ck_assert_uint_eq(command(0x20) & (ATA_ERR | ATA_DRQ), ATA_DRQ);
}
END_TEST

START_TEST(geometry_from_partition_table)
{
    struct block *b = image("mbr", 2000, 512, false, false);
    struct ide_geometry g;
    u8 mbr[512] = { [510] = 0x55, 0xaa };
    const u8 entry[16] = { 0x80, 0, 1, 0, 6, 9, 17, 10, 17, 0, 0, 0, 0x80, 1, 0, 0 };
    memcpy(mbr + 0x1be, entry, 16);
    ck_assert(block_write(b, 0, mbr, 512));
    ide_guess_geometry(b, &g);
    ck_assert_uint_eq(g.heads, 10);
    ck_assert_uint_eq(g.sectors, 17);
    ck_assert_uint_eq(g.cylinders, 2000 / 170);
    block_close(b);
}
END_TEST

/* ---------------------------------------------------------------------------------- ATAPI ----- */

static u8 answer[60000];
static unsigned answer_bytes, answer_blocks;

/* Sends a packet; takes what comes in blocks; returns the last status. */
static u8 packet(const u8 *cdb, unsigned limit)
{
    out(base + 1, 0);
    out(base + 4, (u8)limit);
    out(base + 5, (u8)(limit >> 8));
    u8 s = command(0xa0);
    ck_assert_uint_eq(s & (ATA_DRQ | ATA_ERR), ATA_DRQ);
    ck_assert_uint_eq(in(base + 2) & 3, ATAPI_CD);
    write_block(cdb, 12);
    answer_bytes = answer_blocks = 0;
    for (s = wait_ready(); s & ATA_DRQ; s = wait_ready(), answer_blocks++) {
        unsigned n = in(base + 4) | in(base + 5) << 8;
        ck_assert_uint_eq(in(base + 2) & 3, ATAPI_IO);
        ck_assert(n > 0 && (n <= limit || !limit));
        ck_assert_uint_le(answer_bytes + n, sizeof answer - 2);
        read_block(answer + answer_bytes, n + (n & 1));
        answer_bytes += n;
    }
    ck_assert_uint_eq(in(base + 2) & 3, ATAPI_CD | ATAPI_IO);
    return s;
}

static void sense(u8 key, u8 asc)
{
    const u8 cdb[12] = { 0x03, [4] = 18 };
    ck_assert_uint_eq(packet(cdb, 64) & ATA_ERR, 0);
    ck_assert_uint_eq(answer_bytes, 18);
    ck_assert_uint_eq(answer[2], key);
    ck_assert_uint_eq(answer[12], asc);
}

static const u8 test_ready[12];

static void cd_ready(void)
{
    channel(1);
    ck_assert_uint_eq(packet(test_ready, 64) & ATA_ERR, ATA_ERR);
    ck_assert_uint_eq(in(base + 1) >> 4, 6);        /* power-on: unit attention */
    sense(6, 0x29);
    ck_assert_uint_eq(packet(test_ready, 64), ATA_DRDY | ATA_DSC);
}

static void check_cd(const u8 *p, u32 lba)
{
    for (unsigned i = 0; i < 2048; i++)
        ck_assert_uint_eq(p[i], pattern(lba, i));
}

START_TEST(cd_read)
{
    static const struct { unsigned limit, blocks; } limits[] = { { 2048, 5 }, { 0xfffe, 1 }, { 0, 1 }, { 4096, 3 }, { 512, 20 },
        { 5001, 3 } };
    cd_ready();
    const u8 cdb[12] = { 0x28, 0, 0, 0, 0, 77, 0, 0, 5 };
    for (unsigned i = 0; i < ARRAY_LEN(limits); i++) {
        unsigned edges = irq_edges[15];
        ck_assert_uint_eq(packet(cdb, limits[i].limit) & ATA_ERR, 0);
        ck_assert_uint_eq(answer_bytes, 5 * 2048);
        ck_assert_uint_eq(answer_blocks, limits[i].blocks);
        ck_assert_uint_eq(irq_edges[15] - edges, limits[i].blocks + 1);
        for (unsigned s = 0; s < 5; s++)
            check_cd(answer + s * 2048, 77 + s);
    }
    const u8 twelve[12] = { 0xa8, 0, 0, 0, 1, 0x8f, 0, 0, 0, 1 };
    ck_assert_uint_eq(packet(twelve, 2048) & ATA_ERR, 0);
    check_cd(answer, CD_SECTORS - 1);
    const u8 beyond[12] = { 0x28, 0, 0, 0, 1, 0x8f, 0, 0, 2 };
    ck_assert_uint_eq(packet(beyond, 2048) & ATA_ERR, ATA_ERR);
    sense(5, 0x21);
    const u8 nothing[12] = { 0x28, 0, 0, 0, 0, 1 };
    ck_assert_uint_eq(packet(nothing, 2048) & ATA_ERR, 0);
    ck_assert_uint_eq(answer_bytes, 0);
}
END_TEST

START_TEST(cd_dma)
{
    const u8 cdb[12] = { 0x28, 0, 0, 0, 0, 3, 0, 1, 0 };
    static u8 buf[256 * 2048];
    cd_ready();
    for (unsigned i = 0; i < 8; i++)
        prd(i, BUFFER + i * 0x10000, 0x10000, i == 7);
    out(base + 1, 1);
    command(0xa0);
    write_block(cdb, 12);
    bm_start(true);
    settle();
    ck_assert_uint_eq(in(base + 7), ATA_DRDY | ATA_DSC);
    ck_assert_uint_eq(in(bm() + 2) & 7, 4);
    physmap_read(phys, BUFFER, buf, sizeof buf);
    for (unsigned i = 0; i < 256; i++)
        check_cd(buf + i * 2048, 3 + i);
}
END_TEST

START_TEST(cd_information)
{
    cd_ready();
    ck_assert_uint_eq(packet((const u8[12]) { 0x25 }, 64) & ATA_ERR, 0);
    ck_assert_uint_eq(answer_bytes, 8);
    ck_assert_uint_eq(answer[2] << 8 | answer[3], CD_SECTORS - 1);
    ck_assert_uint_eq(answer[6], 8);
    packet((const u8[12]) { 0x12, [4] = 36 }, 64);
    ck_assert_uint_eq(answer_bytes, 36);
    ck_assert_uint_eq(answer[0], 5);
    packet((const u8[12]) { 0x12, [4] = 5 }, 64);       /* odd and short */
    ck_assert_uint_eq(answer_bytes, 5);
    packet((const u8[12]) { 0x43, [8] = 100 }, 64);
    ck_assert_uint_eq(answer_bytes, 20);
    ck_assert_uint_eq(answer[14], 0xaa);
    ck_assert_uint_eq(answer[18] << 8 | answer[19], CD_SECTORS);
    packet((const u8[12]) { 0x43, 2, [6] = 0xaa, [8] = 100 }, 64);
    ck_assert_uint_eq(answer_bytes, 12);
    ck_assert_uint_eq(answer[9] * 4500 + answer[10] * 75 + answer[11], CD_SECTORS + 150);
    packet((const u8[12]) { 0x43, 0, 1, [8] = 12 }, 64);
    ck_assert_uint_eq(answer_bytes, 12);
    packet((const u8[12]) { 0x43, 0, 0, [8] = 48, 0x80 }, 64);      /* raw, the old way */
    ck_assert_uint_eq(answer_bytes, 48);
    ck_assert_uint_eq(answer[7], 0xa0);
    ck_assert_uint_eq(packet((const u8[12]) { 0x43, 0, 0, 0, 0, 0, 2, 0, 12 }, 64) & ATA_ERR, ATA_ERR);
    sense(5, 0x24);
    packet((const u8[12]) { 0x46, [8] = 255 }, 256);
    ck_assert_uint_eq(answer[7], 8);                    /* profile CD-ROM */
    packet((const u8[12]) { 0x5a, 0, 0x2a, [8] = 255 }, 256);
    ck_assert_uint_eq(answer_bytes, 8 + 22);
    packet((const u8[12]) { 0x1a, 0, 0x3f, 0, 255 }, 256);
    ck_assert_uint_eq(answer_bytes, 4u + 8 + 8 + 16 + 22);
    packet((const u8[12]) { 0x51, [8] = 34 }, 256);
    ck_assert_uint_eq(answer_bytes, 34);
    ck_assert_uint_eq(packet((const u8[12]) { 0xf7 }, 64) & ATA_ERR, ATA_ERR);
    sense(5, 0x20);
}
END_TEST

/* A raw sector: its EDC divides, its parities vanish. */
START_TEST(cd_raw_sector)
{
    cd_ready();
    const u8 cdb[12] = { 0xbe, 0, 0, 0, 0, 16, 0, 0, 1, 0xf8 };
    ck_assert_uint_eq(packet(cdb, 0xfffe) & ATA_ERR, 0);
    ck_assert_uint_eq(answer_bytes, 2352);
    const u8 *p = answer;
    ck_assert(p[0] == 0 && p[1] == 0xff && p[11] == 0);
    ck_assert(p[12] == 0x00 && p[13] == 0x02 && p[14] == 0x16 && p[15] == 1);
    check_cd(p + 16, 16);
    u32 crc = 0;
    for (unsigned i = 0; i < 2068; i++) {
        crc ^= p[i];
        for (unsigned b = 0; b < 8; b++)
            crc = crc >> 1 ^ (crc & 1 ? 0xd8018001 : 0);
    }
    ck_assert_uint_eq(crc, 0);
    const u8 *d = p + 12;
    for (unsigned col = 0; col < 86; col++) {       /* P: 24 data bytes and two parities, sum zero */
        u8 sum = 0;
        for (unsigned i = 0; i < 26; i++)
            sum ^= d[col + i * 86];
        ck_assert_uint_eq(sum, 0);
    }
    for (unsigned q = 0; q < 52; q++) {
        u8 sum = 0;
        for (unsigned i = 0; i < 43; i++)
            sum ^= d[((q >> 1) * 86 + (q & 1) + i * 88) % 2236];
        ck_assert_uint_eq(sum ^ d[2236 + q] ^ d[2236 + 52 + q], 0);
    }
    const u8 user[12] = { 0xb9, 0, 0, 0, 2, 16, 0, 2, 18, 0x10 };
    ck_assert_uint_eq(packet(user, 0xfffe) & ATA_ERR, 0);
    ck_assert_uint_eq(answer_bytes, 4096);
    check_cd(answer + 2048, 17);
    const u8 audio[12] = { 0xbe, 4, 0, 0, 0, 16, 0, 0, 1, 0x10 };
    ck_assert_uint_eq(packet(audio, 0xfffe) & ATA_ERR, ATA_ERR);
    sense(5, 0x64);
}
END_TEST

START_TEST(cd_change)
{
    char err[256];
    cd_ready();
    packet((const u8[12]) { 0x1e, [4] = 1 }, 64);
    ck_assert(!ide_change_cd(ide, 2, NULL, false, err, sizeof err));
    ck_assert_uint_eq(packet((const u8[12]) { 0x1b, [4] = 2 }, 64) & ATA_ERR, ATA_ERR);
    sense(5, 0x53);
    packet((const u8[12]) { 0x4a, 1, [4] = 0x10, [8] = 8 }, 64);
    ck_assert_uint_eq(answer[4], 1);                    /* somebody wants it out */
    packet((const u8[12]) { 0x1e }, 64);
    ck_assert(ide_change_cd(ide, 2, NULL, false, err, sizeof err));
    ck_assert_uint_eq(packet(test_ready, 64) & ATA_ERR, ATA_ERR);
    sense(2, 0x3a);
    ck_assert(ide_change_cd(ide, 2, image("cd2", 50, 2048, true, false), false, err, sizeof err));
    ck_assert_uint_eq(packet(test_ready, 64) & ATA_ERR, ATA_ERR);
    sense(6, 0x28);
    packet((const u8[12]) { 0x25 }, 64);
    ck_assert_uint_eq(answer[3], 49);
    packet((const u8[12]) { 0x1b, [4] = 2 }, 64);       /* the guest opens and closes the tray */
    ck_assert_uint_eq(packet(test_ready, 64) & ATA_ERR, ATA_ERR);
    sense(2, 0x3a);
    packet((const u8[12]) { 0x1b, [4] = 3 }, 64);
    packet(test_ready, 64);
    ck_assert_uint_eq(packet(test_ready, 64) & ATA_ERR, 0);
    ck_assert(!ide_change_cd(ide, 0, NULL, true, err, sizeof err));
    ck_assert(!ide_change_cd(ide, 9, NULL, true, err, sizeof err));
}
END_TEST

START_TEST(cd_mode_select)
{
    cd_ready();
    const u8 cdb[12] = { 0x55, 0x10, [8] = 16 };
    u8 list[16] = { [8] = 0x01, 6, 0x20, 9 };
    out(base + 1, 0);
    out(base + 4, 0);
    out(base + 5, 2);
    command(0xa0);
    write_block(cdb, 12);
    ck_assert_uint_eq(wait_ready() & (ATA_DRQ | ATA_ERR), ATA_DRQ);
    ck_assert_uint_eq(in(base + 2) & 3, 0);
    ck_assert_uint_eq(in(base + 4), 16);
    write_block(list, 16);
    ck_assert_uint_eq(wait_ready(), ATA_DRDY | ATA_DSC);
    packet((const u8[12]) { 0x5a, 0, 0x01, [8] = 255 }, 256);
    ck_assert_uint_eq(answer[10], 0x20);
    ck_assert_uint_eq(answer[11], 9);
    packet((const u8[12]) { 0x5a, 0, 0x81, [8] = 255 }, 256);
    ck_assert_uint_eq(answer[10], 0);
}
END_TEST

/* Anything at all written to the ports: no crash, no hang, and a reset brings the drives back. */
START_TEST(fuzz)
{
    srand(12345);
    for (unsigned round = 0; round < 20000; round++) {
        channel((unsigned)rand() & 1);
        unsigned r = (unsigned)rand() % 20;
        if (r < 7)
            out((u16)(base + 1 + (unsigned)rand() % 6), (u8)rand());
        else if (r < 9)
            out(base + 7, rand() & 1 ? (u8)rand() : (const u8[]) { 0x20, 0xc8, 0xca, 0x25, 0x35, 0xa0, 0xc4, 0xc5 }[rand() & 7]);
        else if (r < 14)
            for (int i = rand() % 300; i >= 0; i--)
                bus_io_write(bus, base, rand() & 1 ? 2 : 4, (u32)rand() & (rand() & 1 ? 0xffffffff : 0x000000ff));
        else if (r < 16)
            for (int i = rand() % 600; i >= 0; i--)
                bus_io_read(bus, base, (const u8[]) { 1, 2, 4 }[rand() % 3]);
        else if (r == 16)
            bus_io_write(bus, (u16)(BM + rand() % 16), 1, (u32)rand());
        else if (r == 17)
            prd((unsigned)rand() % 8, (u32)rand() % (5 << 20), (u32)rand(), rand() & 1);
        else if (r == 18)
            bm_start(rand() & 1);
        else
            settle();
        if (rand() % 300 == 0)
            out(control, (u8)rand());
    }
    settle();
    for (unsigned c = 0; c < 2; c++) {
        channel(c);
        out(control, ATA_SRST);
        out(control, 0);
        settle();
        ck_assert_uint_eq(in(base + 7), c ? 0 : ATA_DRDY | ATA_DSC);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ide");
    TCase *t = tcase_create("ide");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, identify);
    tcase_add_test(t, absent);
    tcase_add_test(t, pio_read_order);
    tcase_add_test(t, pio_write_and_modes);
    tcase_add_test(t, chs);
    tcase_add_test(t, errors);
    tcase_add_test(t, small_commands);
    tcase_add_test(t, soft_reset);
    tcase_add_test(t, dma);
    tcase_add_test(t, dma_table_sizes);
    tcase_add_test(t, readonly_disk);
    tcase_add_test(t, geometry_from_partition_table);
    tcase_add_test(t, cd_read);
    tcase_add_test(t, cd_dma);
    tcase_add_test(t, cd_information);
    tcase_add_test(t, cd_raw_sector);
    tcase_add_test(t, cd_change);
    tcase_add_test(t, cd_mode_select);
    tcase_add_test(t, fuzz);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
