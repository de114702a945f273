/* ata.c - disks: the ATA command set. ATA/ATAPI-6 (T13 1410D), chapter 8; CHS addresses as in ATA-3.
 *
 * A row per command code. Reads and writes differ in how they address (28 bits or CHS, 48 bits), how much the host moves per
 * interrupt, and who moves it: that is in the row too. Left out because the identify data does not offer them: security, host protected
 * area (READ NATIVE MAX works), queueing, long reads and writes, CompactFlash commands, logs.
 */
#include <stdio.h>
#include <string.h>

#include "devices/ide.h"

#define MAX_MULTIPLE 16u
#define MAX_LBA28 0x0fffffffull
#define MAX_LBA48 0xffffffffffffull

enum { STEP_NS = 2000, NEXT_NS = 1000 };
enum { F_48 = 0x01, F_MULTIPLE = 0x02, F_FUA = 0x04, F_VERIFY = 0x08 };

struct ata_row { u8 first, last; void (*run)(struct ide_drive *d, u8 flags); u8 flags; };
static const struct ata_row *find_row(u8 command);

/* --------------------------------------------------------------------------------- geometry ----- */

static void default_geometry(u64 sectors, struct ide_geometry *g)
{
    u64 cylinders = sectors / (16 * 63);
    g->heads = 16;
    g->sectors = 63;
    g->cylinders = cylinders > 16383 ? 16383 : cylinders < 1 ? 1 : (unsigned)cylinders;
    if (sectors < 16 * 63) {        /* tiny images: all of it in one track */
        g->heads = 1;
        g->sectors = sectors < 63 ? (unsigned)sectors : 63;
        g->cylinders = (unsigned)(sectors / g->sectors);
    }
    g->bios_translation = g->cylinders <= 1024 ? 0 : 1;
}

/* The end of a partition is on a cylinder boundary: its last head and sector tell the geometry that the disk was
 * partitioned with. Up to 16 heads it is the drive's own, more are a BIOS translation. */
static bool geometry_from_mbr(struct block *b, u64 sectors, struct ide_geometry *g)
{
    u8 mbr[IDE_SECTOR];
    if (!block_read(b, 0, mbr, sizeof mbr) || mbr[510] != 0x55 || mbr[511] != 0xaa)
        return false;
    for (const u8 *p = mbr + 0x1be; p < mbr + 0x1fe; p += 16) {
        u32 length = p[12] | (u32)p[13] << 8 | (u32)p[14] << 16 | (u32)p[15] << 24;
        unsigned heads = p[5] + 1u, per_track = p[6] & 63;
        if (!p[4] || !length || heads < 2 || !per_track || heads > 16)
            continue;
        u64 cylinders = sectors / (heads * per_track);
        if (cylinders < 1 || cylinders > 16383)
            continue;
        *g = (struct ide_geometry) { (unsigned)cylinders, heads, per_track, cylinders <= 1024 ? 0 : 1 };
        return true;
    }
    return false;
}

void ide_guess_geometry(struct block *b, struct ide_geometry *g)
{
    u64 sectors = block_size(b) / IDE_SECTOR;
    if (!geometry_from_mbr(b, sectors, g))
        default_geometry(sectors, g);
}

/* -------------------------------------------------------------------------------- addresses ----- */

static u8 reg(const struct ide_drive *d, unsigned n)
{
    return d->tf.reg[n][0];
}

/* False: the CHS address does not exist. */
static bool get_address(const struct ide_drive *d, bool lba48, u64 *lba)
{
    const u8 (*r)[2] = d->tf.reg;
    u64 low = r[IDE_LBA_LOW][0] | (u64)r[IDE_LBA_MID][0] << 8 | (u64)r[IDE_LBA_HIGH][0] << 16;
    if (lba48) {
        *lba = low | (u64)r[IDE_LBA_LOW][1] << 24 | (u64)r[IDE_LBA_MID][1] << 32 | (u64)r[IDE_LBA_HIGH][1] << 40;
        return true;
    }
    if (d->tf.device & ATA_LBA) {
        *lba = low | (u64)(d->tf.device & 15) << 24;
        return true;
    }
    unsigned sector = r[IDE_LBA_LOW][0], cylinder = r[IDE_LBA_MID][0] | r[IDE_LBA_HIGH][0] << 8, head = d->tf.device & 15;
    if (!d->chs_valid || !sector || sector > d->cur_sectors || head >= d->cur_heads || cylinder >= d->cur_cylinders)
        return false;
    *lba = ((u64)cylinder * d->cur_heads + head) * d->cur_sectors + sector - 1;
    return true;
}

static void put_address(struct ide_drive *d, bool lba48, u64 lba)
{
    u8 (*r)[2] = d->tf.reg;
    if (lba48) {
        r[IDE_LBA_LOW][1] = (u8)(lba >> 24);
        r[IDE_LBA_MID][1] = (u8)(lba >> 32);
        r[IDE_LBA_HIGH][1] = (u8)(lba >> 40);
    } else if (d->tf.device & ATA_LBA) {
        d->tf.device = (u8)((d->tf.device & 0xf0) | (lba >> 24 & 15));
    } else if (d->cur_heads && d->cur_sectors) {
        u64 track = lba / d->cur_sectors, cylinder = track / d->cur_heads;
        d->tf.device = (u8)((d->tf.device & 0xf0) | track % d->cur_heads);
        lba = (lba % d->cur_sectors + 1) | (cylinder & 0xffff) << 8;
    }
    r[IDE_LBA_LOW][0] = (u8)lba;
    r[IDE_LBA_MID][0] = (u8)(lba >> 8);
    r[IDE_LBA_HIGH][0] = (u8)(lba >> 16);
}

static void put_count(struct ide_drive *d, bool lba48, u32 count)
{
    d->tf.reg[IDE_COUNT][0] = (u8)count;
    if (lba48)
        d->tf.reg[IDE_COUNT][1] = (u8)(count >> 8);
}

static bool is48(const struct ide_drive *d)
{
    return find_row(d->command)->flags & F_48;
}

/* ------------------------------------------------------------------------- reads and writes ----- */

/* The registers say where it went wrong and how much is left. */
static void transfer_failed(struct ide_drive *d, u8 error, bool device_fault)
{
    put_address(d, is48(d), d->lba);
    put_count(d, is48(d), d->left);
    if (device_fault)
        d->status |= ATA_DF;
    ide_fail(d, error);
}

/* The registers name the last sector that was moved. */
static void transfer_done(struct ide_drive *d)
{
    put_address(d, is48(d), d->lba - 1);
    put_count(d, is48(d), 0);
}

/* Starts a command that names sectors; false if it has failed already. */
static bool begin(struct ide_drive *d, u8 flags)
{
    u32 count = reg(d, IDE_COUNT);
    if (flags & F_48)
        count |= (u32)d->tf.reg[IDE_COUNT][1] << 8;
    d->left = count ? count : flags & F_48 ? 65536 : 256;
    d->pos = d->end = 0;
    d->power = 0xff;
    if ((flags & F_MULTIPLE) && !d->multiple) {
        ide_abort(d);
        return false;
    }
    if (!get_address(d, flags & F_48, &d->lba)) {
        ide_fail(d, ATA_IDNF);
        return false;
    }
    return true;
}

/* How many of at most `max` sectors can be moved next; 0: the address is beyond the end, the command has failed. */
static u32 next_run(struct ide_drive *d, u32 max)
{
    u32 n = d->left < max ? d->left : max;
    if (d->lba >= d->sectors) {
        transfer_failed(d, ATA_IDNF, false);
        return 0;
    }
    return n < d->sectors - d->lba ? n : (u32)(d->sectors - d->lba);
}

static u32 per_interrupt(const struct ide_drive *d)
{
    return find_row(d->command)->flags & F_MULTIPLE ? d->multiple : 1;
}

static bool read_sectors(struct ide_drive *d, u32 n)
{
    if (!block_read(d->block, d->lba * IDE_SECTOR, d->buffer, (size_t)n * IDE_SECTOR)) {
        transfer_failed(d, ATA_UNC, false);
        return false;
    }
    d->lba += n;
    d->left -= n;
    return true;
}

static bool write_sectors(struct ide_drive *d, u32 n)
{
    if (!block_write(d->block, d->lba * IDE_SECTOR, d->buffer, (size_t)n * IDE_SECTOR)) {
        transfer_failed(d, ATA_ABRT, true);
        return false;
    }
    d->lba += n;
    d->left -= n;
    return true;
}

/* Without a write cache, and for forced unit access, the data is safe before the guest hears of it. */
static void write_done(struct ide_drive *d)
{
    transfer_done(d);
    if ((!d->write_cache || find_row(d->command)->flags & F_FUA) && !block_flush(d->block)) {
        d->status |= ATA_DF;
        ide_abort(d);
        return;
    }
    ide_finish(d);
}

static void pio_read_step(struct ide_drive *d);

static void pio_read_done(struct ide_drive *d)
{
    if (d->left) {
        ide_later(d, pio_read_step, NEXT_NS);
        return;
    }
    transfer_done(d);
    d->status = ATA_DRDY | ATA_DSC;     /* no interrupt after the last block */
}

static void pio_read_step(struct ide_drive *d)
{
    u32 n = next_run(d, per_interrupt(d));
    if (!n || !read_sectors(d, n))
        return;
    ide_data(d, true, 0, n * IDE_SECTOR, pio_read_done);
    ide_raise(d);
}

static void read_pio(struct ide_drive *d, u8 flags)
{
    if (begin(d, flags))
        pio_read_step(d);
}

static void pio_write_step(struct ide_drive *d);

static void pio_write_received(struct ide_drive *d)
{
    ide_later(d, pio_write_step, NEXT_NS);
}

/* Asks for the next block of data. */
static void pio_write_ask(struct ide_drive *d)
{
    u32 n = next_run(d, per_interrupt(d));
    if (n)
        ide_data(d, false, 0, n * IDE_SECTOR, pio_write_received);
}

static void pio_write_step(struct ide_drive *d)
{
    if (!write_sectors(d, d->end / IDE_SECTOR))
        return;
    if (!d->left) {
        write_done(d);
        return;
    }
    pio_write_ask(d);
    if (d->status & ATA_DRQ)
        ide_raise(d);
}

static bool writable(struct ide_drive *d)
{
    if (!block_readonly(d->block))
        return true;
    ide_fail(d, ATA_ABRT | 0x40 /* WP */);
    return false;
}

static void write_pio(struct ide_drive *d, u8 flags)
{
    if (writable(d) && begin(d, flags))
        pio_write_ask(d);               /* no interrupt before the first block */
}

static void dma_read_step(struct ide_drive *d)
{
    if (d->pos == d->end) {
        u32 n = next_run(d, IDE_BUFFER / IDE_SECTOR);
        if (!n || !read_sectors(d, n))
            return;
        d->pos = 0;
        d->end = n * IDE_SECTOR;
    }
    if (!ide_dma_move(d, true, dma_read_step))
        return;
    if (d->left) {
        ide_dma_request(d, true, dma_read_step);
        return;
    }
    transfer_done(d);
    ide_finish(d);
}

static void dma_write_step(struct ide_drive *d)
{
    if (d->pos == d->end) {
        u32 n = next_run(d, IDE_BUFFER / IDE_SECTOR);
        if (!n)
            return;
        d->pos = 0;
        d->end = n * IDE_SECTOR;
    }
    if (!ide_dma_move(d, false, dma_write_step) || !write_sectors(d, d->end / IDE_SECTOR))
        return;
    if (d->left)
        ide_dma_request(d, false, dma_write_step);
    else
        write_done(d);
}

static void read_dma(struct ide_drive *d, u8 flags)
{
    if (begin(d, flags))
        ide_dma_request(d, true, dma_read_step);
}

static void write_dma(struct ide_drive *d, u8 flags)
{
    if (writable(d) && begin(d, flags))
        ide_dma_request(d, false, dma_write_step);
}

static void verify_step(struct ide_drive *d)
{
    u32 n = next_run(d, IDE_BUFFER / IDE_SECTOR);
    if (!n || !read_sectors(d, n))
        return;
    if (d->left) {
        ide_later(d, verify_step, NEXT_NS);
        return;
    }
    transfer_done(d);
    ide_finish(d);
}

static void verify(struct ide_drive *d, u8 flags)
{
    if (begin(d, flags))
        verify_step(d);
}

static void seek(struct ide_drive *d, u8 flags)
{
    u64 lba;
    if (get_address(d, false, &lba) && lba < d->sectors)
        ide_finish(d);
    else
        ide_fail(d, ATA_IDNF);
}

/* READ BUFFER and WRITE BUFFER: one sector of the drive's memory. */
static void buffer_read_done(struct ide_drive *d)
{
    d->status = ATA_DRDY | ATA_DSC;
}

static void read_buffer(struct ide_drive *d, u8 flags)
{
    ide_data(d, true, 0, IDE_SECTOR, buffer_read_done);
    ide_raise(d);
}

static void write_buffer(struct ide_drive *d, u8 flags)
{
    ide_data(d, false, 0, IDE_SECTOR, ide_finish);
}

/* --------------------------------------------------------------------------- IDENTIFY DEVICE ----- */

static void identify_modes(const struct ide_drive *d, u8 *p)
{
    u8 mode = d->transfer_mode;
    ide_put16(p, 49, 0x2f00);           /* standby timer, IORDY, LBA, DMA */
    ide_put16(p, 50, 0x4000);
    ide_put16(p, 51, 0x0200);
    ide_put16(p, 53, 0x0007);           /* words 54-58, 64-70, 88 are valid */
    ide_put16(p, 63, (u16)(0x0007 | (mode >= 0x20 && mode <= 0x22 ? 0x100 << (mode & 3) : 0)));
    ide_put16(p, 64, 0x0003);           /* PIO 3 and 4 */
    for (unsigned w = 65; w <= 68; w++)
        ide_put16(p, w, 120);           /* ns per cycle */
    ide_put16(p, 88, (u16)(0x003f | (mode >= 0x40 && mode <= 0x45 ? 0x100 << (mode & 7) : 0)));
    ide_put16(p, 93, d->index ? 0x6b00 : 0x600b);       /* diagnostics passed, jumper, 80 wires */
}

/* Words 82-84 say what there is, 85-87 what is switched on. */
static void identify_features(const struct ide_drive *d, u8 *p)
{
    ide_put16(p, 80, 0x0070);           /* ATA/ATAPI-4, 5, 6 */
    ide_put16(p, 82, 0x7069);           /* NOP, buffer commands, read-ahead, write cache, power, SMART */
    ide_put16(p, 83, 0x7408);           /* FLUSH CACHE (EXT), 48-bit, advanced power management */
    ide_put16(p, 84, 0x4040);           /* forced unit access */
    ide_put16(p, 85, (u16)(0x7008 | d->smart_enabled | d->write_cache << 5 | d->read_ahead << 6));
    ide_put16(p, 86, (u16)(0x3400 | (d->apm ? 8 : 0)));
    ide_put16(p, 87, 0x4040);
    ide_put16(p, 91, d->apm);
}

static void identify_size(const struct ide_drive *d, u8 *p)
{
    u32 chs = d->cur_cylinders * d->cur_heads * d->cur_sectors;
    u64 lba28 = d->sectors < MAX_LBA28 ? d->sectors : MAX_LBA28;
    ide_put16(p, 1, (u16)d->geometry.cylinders);
    ide_put16(p, 3, (u16)d->geometry.heads);
    ide_put16(p, 4, (u16)(d->geometry.sectors * IDE_SECTOR));
    ide_put16(p, 5, IDE_SECTOR);
    ide_put16(p, 6, (u16)d->geometry.sectors);
    ide_put16(p, 54, (u16)d->cur_cylinders);
    ide_put16(p, 55, (u16)d->cur_heads);
    ide_put16(p, 56, (u16)d->cur_sectors);
    ide_put16(p, 57, (u16)chs);
    ide_put16(p, 58, (u16)(chs >> 16));
    ide_put16(p, 60, (u16)lba28);
    ide_put16(p, 61, (u16)(lba28 >> 16));
    for (unsigned i = 0; i < 4; i++)
        ide_put16(p, 100 + i, (u16)(d->sectors >> i * 16));
}

static void identify(struct ide_drive *d, u8 flags)
{
    u8 *p = d->buffer, sum = 0;
    char serial[21];
    memset(p, 0, IDE_SECTOR);
    ide_put16(p, 0, 0x0040);            /* fixed disk */
    snprintf(serial, sizeof serial, "SH%05u", d->channel->index * 2 + d->index + 1);
    ide_identify_string(p + 20, serial, 20);
    ide_put16(p, 20, 3);                /* dual-ported buffer with read cache */
    ide_put16(p, 21, IDE_BUFFER / IDE_SECTOR);
    ide_put16(p, 22, 4);
    ide_identify_string(p + 46, "0.1", 8);
    ide_identify_string(p + 54, "SHADOW86 HARDDISK", 40);
    ide_put16(p, 47, 0x8000 | MAX_MULTIPLE);
    ide_put16(p, 48, 1);                /* 32-bit access to the data port works */
    ide_put16(p, 59, (u16)(d->multiple ? 0x100 | d->multiple : 0));
    identify_size(d, p);
    identify_modes(d, p);
    identify_features(d, p);
    p[510] = 0xa5;
    for (unsigned i = 0; i < 511; i++)
        sum += p[i];
    p[511] = (u8)-sum;
    ide_data(d, true, 0, IDE_SECTOR, buffer_read_done);
    ide_raise(d);
}

/* ------------------------------------------------------------------------------ other commands ----- */

static void nop(struct ide_drive *d, u8 flags)
{
    ide_abort(d);       /* that is what NOP does */
}

static void recalibrate(struct ide_drive *d, u8 flags)
{
    ide_finish(d);
}

/* A translation may be anything that fits; one that does not makes CHS commands fail (ATA-3 7.7). */
static void init_parameters(struct ide_drive *d, u8 flags)
{
    unsigned sectors = reg(d, IDE_COUNT), heads = (d->tf.device & 15) + 1u;
    u64 cylinders = sectors ? d->sectors / (heads * sectors) : 0;
    d->chs_valid = cylinders != 0;
    if (!d->chs_valid) {
        ide_abort(d);
        return;
    }
    d->cur_heads = heads;
    d->cur_sectors = sectors;
    d->cur_cylinders = cylinders > 65535 ? 65535 : (unsigned)cylinders;
    ide_finish(d);
}

static void set_multiple(struct ide_drive *d, u8 flags)
{
    u8 n = reg(d, IDE_COUNT);
    if (n > MAX_MULTIPLE || (n & (n - 1))) {
        d->multiple = 0;
        ide_abort(d);
        return;
    }
    d->multiple = n;
    ide_finish(d);
}

static void set_features(struct ide_drive *d, u8 flags)
{
    ide_set_features(d);
}

static void power(struct ide_drive *d, u8 flags)
{
    ide_power(d);
}

static void flush(struct ide_drive *d, u8 flags)
{
    if (block_flush(d->block)) {
        ide_finish(d);
        return;
    }
    d->status |= ATA_DF;
    ide_abort(d);
}

static void native_max(struct ide_drive *d, u8 flags)
{
    u64 last = d->sectors - 1;
    if (!(flags & F_48) && last > MAX_LBA28 - 1)
        last = MAX_LBA28 - 1;
    put_address(d, flags & F_48, last);
    ide_finish(d);
}

/* Attribute rows of the SMART data: id, flags, normalized value and worst, raw; threshold. */
static const struct { u8 id; u16 flags; u8 value; u8 threshold; } smart_attributes[] = {
    { 1, 0x0003, 100, 6 },      /* raw read error rate */
    { 4, 0x0002, 100, 20 },     /* start/stop count */
    { 5, 0x0003, 100, 36 },     /* reallocated sectors */
    { 9, 0x0003, 100, 0 },      /* power-on hours */
    { 12, 0x0003, 100, 0 },     /* power cycles */
};

static void smart_page(struct ide_drive *d, bool thresholds)
{
    u8 *p = d->buffer, sum = 0;
    memset(p, 0, IDE_SECTOR);
    p[0] = 1;           /* structure revision */
    for (unsigned i = 0; i < ARRAY_LEN(smart_attributes); i++) {
        u8 *row = p + 2 + i * 12;
        row[0] = smart_attributes[i].id;
        if (thresholds) {
            row[1] = smart_attributes[i].threshold;
        } else {
            row[1] = (u8)smart_attributes[i].flags;
            row[3] = row[4] = smart_attributes[i].value;
        }
    }
    if (!thresholds) {
        p[368] = 0x02;          /* offline data collection never started; SMART saves on power changes */
        p[369] = 0;
        p[370] = 0x01;
    }
    for (unsigned i = 0; i < 511; i++)
        sum += p[i];
    p[511] = (u8)-sum;
    ide_data(d, true, 0, IDE_SECTOR, buffer_read_done);
    ide_raise(d);
}

static void smart(struct ide_drive *d, u8 flags)
{
    u8 op = reg(d, IDE_FEATURES);
    if (reg(d, IDE_LBA_MID) != 0x4f || reg(d, IDE_LBA_HIGH) != 0xc2 || (!d->smart_enabled && op != 0xd8)) {
        ide_abort(d);
        return;
    }
    switch (op) {
    case 0xd0: case 0xd1: smart_page(d, op == 0xd1); return;
    case 0xd2: case 0xd3: break;        /* attribute autosave: nothing to save */
    case 0xd8: case 0xd9: d->smart_enabled = op == 0xd8; break;
    case 0xda: break;                   /* RETURN STATUS: 4f/c2 stay, no threshold exceeded */
    default: ide_abort(d); return;
    }
    ide_finish(d);
}

/* ------------------------------------------------------------------------------ the command table ----- */

/*  first last  function         flags */
static const struct ata_row rows[] = {
    { 0x00, 0x00, nop,             0 },
    { 0x10, 0x1f, recalibrate,     0 },
    { 0x20, 0x21, read_pio,        0 },
    { 0x24, 0x24, read_pio,        F_48 },
    { 0x25, 0x25, read_dma,        F_48 },
    { 0x27, 0x27, native_max,      F_48 },
    { 0x29, 0x29, read_pio,        F_48 | F_MULTIPLE },
    { 0x30, 0x31, write_pio,       0 },
    { 0x34, 0x34, write_pio,       F_48 },
    { 0x35, 0x35, write_dma,       F_48 },
    { 0x39, 0x39, write_pio,       F_48 | F_MULTIPLE },
    { 0x3c, 0x3c, write_pio,       F_FUA },             /* WRITE VERIFY */
    { 0x3d, 0x3d, write_dma,       F_48 | F_FUA },
    { 0x40, 0x41, verify,          0 },
    { 0x42, 0x42, verify,          F_48 },
    { 0x70, 0x7f, seek,            0 },
    { 0x91, 0x91, init_parameters, 0 },
    { 0x94, 0x99, power,           0 },
    { 0xb0, 0xb0, smart,           0 },
    { 0xc4, 0xc4, read_pio,        F_MULTIPLE },
    { 0xc5, 0xc5, write_pio,       F_MULTIPLE },
    { 0xc6, 0xc6, set_multiple,    0 },
    { 0xc8, 0xc9, read_dma,        0 },
    { 0xca, 0xcb, write_dma,       0 },
    { 0xce, 0xce, write_pio,       F_48 | F_MULTIPLE | F_FUA },
    { 0xe0, 0xe3, power,           0 },
    { 0xe4, 0xe4, read_buffer,     0 },
    { 0xe5, 0xe6, power,           0 },
    { 0xe7, 0xe7, flush,           0 },
    { 0xe8, 0xe8, write_buffer,    0 },
    { 0xea, 0xea, flush,           F_48 },
    { 0xec, 0xec, identify,        0 },
    { 0xef, 0xef, set_features,    0 },
    { 0xf8, 0xf8, native_max,      0 },
};

static const struct ata_row *find_row(u8 command)
{
    static const struct ata_row unknown = { .run = nop };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (command >= rows[i].first && command <= rows[i].last)
            return &rows[i];
    return &unknown;
}

void ata_command(struct ide_drive *d)
{
    const struct ata_row *row = find_row(d->command);
    row->run(d, row->flags);
}

bool ata_init(struct ide_drive *d, char *err, size_t errlen)
{
    if (!d->block) {
        snprintf(err, errlen, "IDE disk without an image");
        return false;
    }
    d->sectors = block_size(d->block) / IDE_SECTOR;
    if (!d->sectors || d->sectors > MAX_LBA48) {
        snprintf(err, errlen, "%s: %llu bytes are no size for an IDE disk", block_file(d->block),
            (unsigned long long)block_size(d->block));
        return false;
    }
    ide_guess_geometry(d->block, &d->geometry);
    return true;
}

/* A soft reset keeps what SET FEATURES 66h asked to keep. */
void ata_reset(struct ide_drive *d, bool hard)
{
    d->sleeping = false;
    d->power = 0xff;
    if (!hard && !d->revert_defaults)
        return;
    d->cur_cylinders = d->geometry.cylinders;
    d->cur_heads = d->geometry.heads;
    d->cur_sectors = d->geometry.sectors;
    d->chs_valid = true;
    d->multiple = MAX_MULTIPLE;
    d->write_cache = d->read_ahead = d->smart_enabled = true;
    d->apm = 0;
    if (hard) {
        d->transfer_mode = 0x22;
        d->revert_defaults = true;
    }
}
