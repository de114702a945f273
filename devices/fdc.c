/* fdc.c - the floppy disk controller: see fdc.h. Intel 82078 and 82077AA data sheets, AT mode.
 *
 * A command comes byte by byte, is executed by the timer (seeks have timers of their own, so that they overlap), moves its data
 * sector by sector, and leaves its result bytes. The medium is a raw image: every track has the sectors 1..n of 512 bytes with IDs
 * that match their place, which is what the search for an ID compares with. Speed is that of a very fast drive: no rotation,
 * short seeks. In non-DMA mode the controller waits for the processor as long as it takes: no overruns.
 * A raw image cannot hold deleted data marks or foreign sector formats: WRITE DELETED writes normal sectors, FORMAT TRACK writes the
 * sectors that have a place in the image. An image may be shorter than the disk. SCAN, SAVE/RESTORE, OPTION, DRIVE SPECIFICATION and POWERDOWN are invalid commands.
 */
#include <stdio.h>
#include <string.h>

#include "devices/fdc.h"

enum { SECTOR = 512, SIZE_CODE = 2, LAST_CYLINDER = 83 };
enum { SECTOR_NS = 30000, SEEK_NS = 100000, STEP_NS = 10000, RESET_NS = 100000 };
enum { DOR_SELECT = 0x03, DOR_RUN = 0x04 /* not reset */, DOR_GATE = 0x08, DOR_MOTOR0 = 0x10 };
enum { MSR_CMD_BUSY = 0x10, MSR_NON_DMA = 0x20, MSR_DIO = 0x40, MSR_RQM = 0x80 };
enum { ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLLING = 0xc0, ST0_SEEK_END = 0x20, ST0_EQUIPMENT = 0x10 };
enum { ST1_MA = 0x01, ST1_NW = 0x02, ST1_ND = 0x04, ST1_DE = 0x20, ST1_EN = 0x80 };
enum { ST2_WC = 0x10, ST2_DD = 0x20, ST2_CM = 0x40, ST2_BC = 0x02 };
enum { ST3_WP = 0x40, ST3_READY = 0x20, ST3_T0 = 0x10, ST3_TWO_SIDES = 0x08 };
enum { CMD_MT = 0x80, CMD_SK = 0x20 };
enum { CFG_IMPLIED_SEEK = 0x40, CFG_NO_POLL = 0x10 };
enum { DIR_CHANGED = 0x80 };
enum { R500 = 1, R300 = 2, R250 = 4, R1000 = 8 };

/* Forty-track disks turn faster in a 1.2 MB drive, which makes 300 kbit/s of their 250. */
static const struct fdc_format formats[] = {
    /* KB   cyl heads sectors  rates        drive */
    { 160,  40, 1,     8,      R250 | R300, 1 },
    { 180,  40, 1,     9,      R250 | R300, 1 },
    { 320,  40, 2,     8,      R250 | R300, 1 },
    { 360,  40, 2,     9,      R250 | R300, 1 },
    { 400,  40, 2,    10,      R250 | R300, 1 },
    { 640,  80, 2,     8,      R250,        3 },
    { 720,  80, 2,     9,      R250,        3 },
    { 800,  80, 2,    10,      R250,        3 },
    { 820,  82, 2,    10,      R250,        3 },
    { 1200, 80, 2,    15,      R500,        2 },
    { 1440, 80, 2,    18,      R500,        4 },
    { 1476, 82, 2,    18,      R500,        4 },
    { 1494, 83, 2,    18,      R500,        4 },
    { 1600, 80, 2,    20,      R500,        4 },
    { 1680, 80, 2,    21,      R500,        4 },
    { 1722, 82, 2,    21,      R500,        4 },
    { 1743, 83, 2,    21,      R500,        4 },
    { 2880, 80, 2,    36,      R1000,       5 },
};
enum { DRIVE_144 = 4 };

/* An image of another size is the beginning of a disk: boot sectors and rescue floppies come without the empty rest. */
const struct fdc_format *fdc_format_by_size(u64 bytes)
{
    const struct fdc_format *larger = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        const struct fdc_format *f = &formats[i];
        if (bytes == f->kbytes * 1024ull)
            return f;
        if (!larger && bytes < f->kbytes * 1024ull && (f->kbytes == 1440 || f->kbytes == 2880))
            larger = f;
    }
    return larger;
}

/* ------------------------------------------------------------------------------------ lines ----- */

static void update_irq(struct fdc *f)
{
    bool level = f->irq_wanted && f->dor & DOR_GATE && f->dor & DOR_RUN;
    if (level == f->irq_line)
        return;
    f->irq_line = level;
    irq_set(f->irq, level);
}

static void interrupt(struct fdc *f, bool on)
{
    f->irq_wanted = on;
    update_irq(f);
}

static u64 now(const struct fdc *f)
{
    return clock_now(f->dev.clock);
}

static struct fdc_drive *drive(struct fdc *f, unsigned unit)
{
    return unit < 2 && f->drive[unit].present ? &f->drive[unit] : NULL;
}

/* The track under the head can be read: a medium, turning, at the data rate it was written with, on this side. */
static bool readable(struct fdc *f)
{
    const struct fdc_drive *d = drive(f, f->unit);
    return d && d->format && f->dor & DOR_MOTOR0 << f->unit && d->format->rates >> f->rate & 1 &&
        f->head < d->format->heads && d->cylinder < d->format->cylinders;
}

static void dreq(struct fdc *f, bool on)
{
    if (f->dma)
        i8237_dreq(f->dma, f->dma_channel, on && f->dor & DOR_GATE);
}

/* ------------------------------------------------------------------------------------ results ----- */

static void result_phase(struct fdc *f, unsigned n)
{
    f->result_len = (u8)n;
    f->result_pos = 0;
    f->command_len = 0;
    f->phase = n ? FDC_RESULT : FDC_COMMAND;
}

static void one_result(struct fdc *f, u8 value)
{
    f->result[0] = value;
    result_phase(f, 1);
}

/* The seven bytes that end every command with data. */
static void finish_data(struct fdc *f, u8 code)
{
    dreq(f, false);
    const u8 bytes[7] = { (u8)(code | f->head << 2 | f->unit), f->st1, f->st2, f->c, f->h, f->r, f->n };
    memcpy(f->result, bytes, 7);
    result_phase(f, 7);
    interrupt(f, true);
}

static void fail_data(struct fdc *f, u8 st1, u8 st2)
{
    f->st1 |= st1;
    f->st2 |= st2;
    finish_data(f, ST0_ABNORMAL);
}

/* The ID that follows the sector just moved: data sheet, "Result phase table". */
static void advance_id(struct fdc *f)
{
    if (f->r != f->eot) {
        f->r++;
        return;
    }
    f->r = 1;
    if (!(f->command[0] & CMD_MT) || f->h & 1)
        f->c++;
    if (f->command[0] & CMD_MT)
        f->h ^= 1;
}

/* ------------------------------------------------------------------------------ sector by sector ----- */

static void sector_step(struct fdc *f);

static void later(struct fdc *f, u64 ns)
{
    f->phase = FDC_BUSY;
    timer_set(&f->timer, now(f) + ns);
}

static u8 operation(const struct fdc *f)
{
    return f->command[0] & 0x1f;
}

enum { OP_READ_TRACK = 0x02, OP_WRITE = 0x05, OP_READ = 0x06, OP_WRITE_DELETED = 0x09, OP_READ_ID = 0x0a, OP_READ_DELETED = 0x0c,
    OP_FORMAT = 0x0d, OP_VERIFY = 0x16 };

static bool is_write(u8 op)
{
    return op == OP_WRITE || op == OP_WRITE_DELETED || op == OP_FORMAT;
}

static u64 image_offset(const struct fdc *f, const struct fdc_drive *d, unsigned sector)
{
    return (((u64)d->cylinder * d->format->heads + f->head) * d->format->sectors + sector - 1) * SECTOR;
}

/* A sector that an image ends before is empty, and cannot be written. */
static bool read_image(struct fdc *f, const struct fdc_drive *d, unsigned sector)
{
    u64 at = image_offset(f, d, sector);
    if (at + SECTOR <= block_size(d->block))
        return block_read(d->block, at, f->buffer, SECTOR);
    memset(f->buffer, 0, SECTOR);
    return true;
}

/* Starts moving buffer[0..bytes) to or from the host. */
static void move_data(struct fdc *f, bool to_host, u32 bytes)
{
    f->phase = FDC_EXECUTION;
    f->to_host = to_host;
    f->data_pos = 0;
    f->data_len = bytes;
    if (f->dma_mode)
        dreq(f, true);
    else
        interrupt(f, true);
}

/* Was the sector searched for the wrong way: why is it not there? */
static bool find_sector(struct fdc *f)
{
    const struct fdc_drive *d = drive(f, f->unit);
    if (!readable(f)) {
        fail_data(f, ST1_MA, 0);
        return false;
    }
    if (f->c != d->cylinder) {
        fail_data(f, ST1_ND, f->c == 0xff ? ST2_BC : ST2_WC);
        return false;
    }
    if (f->h != f->head || f->n != SIZE_CODE || f->r < 1 || f->r > d->format->sectors) {
        fail_data(f, ST1_ND, 0);
        return false;
    }
    f->physical = f->r;
    return true;
}

/* After a sector: on to the next one, or the end. */
static void sector_over(struct fdc *f)
{
    u8 op = operation(f);
    bool last = f->r == f->eot && (!(f->command[0] & CMD_MT) || f->head == 1);
    bool counted = op == OP_READ_TRACK || (op == OP_VERIFY && f->command[1] & 0x80);
    if (f->r == f->eot && !last && !f->tc)
        f->head ^= 1;
    advance_id(f);
    if (counted && --f->sectors_left == 0) {
        finish_data(f, 0);
    } else if (f->tc || f->st2 & ST2_CM || (last && op == OP_VERIFY)) {
        finish_data(f, 0);
    } else if (last && op != OP_READ_TRACK) {
        fail_data(f, ST1_EN, 0);
    } else {
        later(f, SECTOR_NS);
    }
}

static void format_next(struct fdc *f);
static void format_received(struct fdc *f);

static void write_received(struct fdc *f)
{
    struct fdc_drive *d = drive(f, f->unit);
    memset(f->buffer + f->data_pos, 0, SECTOR - f->data_pos);   /* TC in the middle of a sector: zeros follow */
    if (!d || !d->format || !block_write(d->block, image_offset(f, d, f->physical), f->buffer, SECTOR))
        fail_data(f, ST1_DE, ST2_DD);
    else
        sector_over(f);
}

/* The host has moved all bytes of the sector, or terminal count has come. */
static void data_moved(struct fdc *f)
{
    dreq(f, false);
    if (!f->dma_mode)
        interrupt(f, false);
    if (operation(f) == OP_FORMAT)
        format_received(f);
    else if (is_write(operation(f)))
        write_received(f);
    else
        sector_over(f);
}

/* The 8237 has given us the bus. */
static void dma_granted(void *ctx)
{
    struct fdc *f = ctx;
    bool tc;
    if (f->phase != FDC_EXECUTION || !f->dma_mode)
        return;
    f->data_pos += i8237_transfer(f->dma, f->dma_channel, f->to_host ? I8237_TO_MEMORY : I8237_FROM_MEMORY,
        f->buffer + f->data_pos, f->data_len - f->data_pos, &tc);
    f->tc |= tc;
    if (tc || f->data_pos == f->data_len)
        data_moved(f);
}

static void read_sector(struct fdc *f)
{
    struct fdc_drive *d = drive(f, f->unit);
    if (operation(f) == OP_READ_TRACK) {        /* physical order from the index hole; IDs are only compared */
        if (!readable(f)) {
            fail_data(f, ST1_MA, 0);
            return;
        }
        if (f->r != f->physical || f->c != d->cylinder || f->h != f->head || f->n != SIZE_CODE)
            f->st1 |= ST1_ND;
        if (f->physical > d->format->sectors)
            f->physical = 1;
    } else if (!find_sector(f)) {
        return;
    }
    if (!read_image(f, d, f->physical)) {
        fail_data(f, ST1_DE, ST2_DD);
        return;
    }
    if (operation(f) == OP_READ_TRACK)
        f->physical++;
    if (operation(f) == OP_READ_DELETED) {      /* we have normal data marks only */
        if (f->command[0] & CMD_SK) {
            sector_over(f);
            return;
        }
        f->st2 |= ST2_CM;
    }
    if (operation(f) == OP_VERIFY)
        sector_over(f);
    else
        move_data(f, true, SECTOR);
}

static void write_sector(struct fdc *f)
{
    if (find_sector(f))
        move_data(f, false, SECTOR);
}

static void read_id(struct fdc *f)
{
    struct fdc_drive *d = drive(f, f->unit);
    if (!readable(f)) {
        fail_data(f, ST1_MA, 0);
        return;
    }
    d->next_sector = d->next_sector % d->format->sectors + 1;
    f->c = d->cylinder;
    f->h = f->head;
    f->r = d->next_sector;
    f->n = SIZE_CODE;
    finish_data(f, 0);
}

/* FORMAT TRACK: four bytes of ID from the host for each sector; command: N, sectors, gap, filler. */
static void format_next(struct fdc *f)
{
    if (!drive(f, f->unit) || !f->drive[f->unit].format || !(f->dor & DOR_MOTOR0 << f->unit)) {
        fail_data(f, ST1_MA, 0);
        return;
    }
    if (!f->sectors_left || f->tc) {
        finish_data(f, 0);
        return;
    }
    move_data(f, false, 4);
}

static void format_received(struct fdc *f)
{
    struct fdc_drive *d = drive(f, f->unit);
    f->sectors_left--;
    if (f->data_pos < 4) {          /* TC within an ID ends the track */
        finish_data(f, 0);
        return;
    }
    f->c = f->buffer[0];
    f->h = f->buffer[1];
    f->r = f->buffer[2];
    f->n = f->buffer[3];
    u8 filler = f->command[5];
    memset(f->buffer, filler, SECTOR);
    bool has_place = readable(f) && f->c == d->cylinder && f->h == f->head && f->n == SIZE_CODE && f->r >= 1 &&
        f->r <= d->format->sectors;
    if (has_place && !block_write(d->block, image_offset(f, d, f->r), f->buffer, SECTOR))
        fail_data(f, ST1_DE, ST2_DD);
    else
        later(f, STEP_NS);
}

static void sector_step(struct fdc *f)
{
    struct fdc_drive *d = drive(f, f->unit);
    u8 op = operation(f);
    if (is_write(op) && d && d->block && block_readonly(d->block))
        fail_data(f, ST1_NW, 0);
    else if (op == OP_FORMAT)
        format_next(f);
    else if (op == OP_READ_ID)
        read_id(f);
    else if (is_write(op))
        write_sector(f);
    else
        read_sector(f);
}

static void timer_fired(void *ctx)
{
    sector_step(ctx);
}

/* --------------------------------------------------------------------------------------- seeks ----- */

static void step_to(struct fdc_drive *d, u8 cylinder)
{
    if (d->cylinder != cylinder && d->block)
        d->changed = false;         /* DSKCHG goes away with the first step pulse */
    d->cylinder = cylinder;
}

static void seek_done(void *ctx)
{
    struct fdc_seek *s = ctx;
    struct fdc *f = s->fdc;
    s->active = false;
    s->pending = true;
    f->pcn[s->unit] = s->target;
    interrupt(f, true);
}

/* The head moves now, the interrupt comes later. */
static void start_seek(struct fdc *f, unsigned unit, u8 target, u8 st0)
{
    struct fdc_seek *s = &f->seek[unit];
    s->unit = (u8)unit;
    s->target = target;
    s->st0 = (u8)(st0 | ST0_SEEK_END | unit);
    s->active = true;
    s->pending = false;
    timer_set(&s->timer, now(f) + SEEK_NS);
    result_phase(f, 0);
}

static void seek(struct fdc *f)
{
    unsigned unit = f->command[1] & 3;
    struct fdc_drive *d = drive(f, unit);
    int target = f->command[2], at = d ? d->cylinder : f->pcn[unit];
    int steps = target - f->pcn[unit];
    if (f->command[0] & 0x80) {             /* RELATIVE SEEK: bit 6 is the direction, inwards if set */
        steps = f->command[0] & 0x40 ? target : -target;
        target = (f->pcn[unit] + steps) & 0xff;
    }
    at += steps;                            /* the mechanics stop at both ends */
    if (d)
        step_to(d, (u8)(at < 0 ? 0 : at > LAST_CYLINDER ? LAST_CYLINDER : at));
    start_seek(f, unit, (u8)target, f->command[1] & 4);
}

/* At most 80 step pulses: no track 0 signal by then is an equipment check. */
static void recalibrate(struct fdc *f)
{
    unsigned unit = f->command[1] & 3;
    struct fdc_drive *d = drive(f, unit);
    u8 left = d && d->cylinder > 80 ? d->cylinder - 80 : 0;
    if (d)
        step_to(d, left);
    start_seek(f, unit, 0, d && !left ? 0 : ST0_ABNORMAL | ST0_EQUIPMENT);
}

static void sense_interrupt(struct fdc *f)
{
    interrupt(f, false);
    if (f->reset_senses) {
        unsigned unit = 4u - f->reset_senses--;
        f->result[0] = (u8)(ST0_POLLING | unit);
        f->result[1] = f->pcn[unit];
        result_phase(f, 2);
        return;
    }
    bool more = false;
    struct fdc_seek *found = NULL;
    for (unsigned i = 0; i < 4; i++) {
        more |= found && f->seek[i].pending;
        if (!found && f->seek[i].pending)
            found = &f->seek[i];
    }
    if (!found) {
        one_result(f, ST0_INVALID);
        return;
    }
    found->pending = false;
    f->result[0] = found->st0;
    f->result[1] = f->pcn[found->unit];
    result_phase(f, 2);
    interrupt(f, more);
}

/* ------------------------------------------------------------------------------- other commands ----- */

static void begin_data(struct fdc *f)
{
    const u8 *c = f->command;
    u8 op = operation(f);
    f->unit = c[1] & 3;
    f->head = c[1] >> 2 & 1;
    f->st1 = f->st2 = 0;
    f->tc = false;
    f->dma_mode = !(f->specify[1] & 1);
    f->physical = 1;
    if (op == OP_FORMAT) {
        f->sectors_left = c[3];
        f->n = c[2];
    } else if (op != OP_READ_ID) {
        f->c = c[2];
        f->h = c[3];
        f->r = c[4];
        f->n = c[5];
        f->eot = f->last_eot = c[6];
        f->sectors_left = op == OP_VERIFY ? c[8] : f->eot;
        if (!f->sectors_left)
            f->sectors_left = 256;
        struct fdc_drive *d = drive(f, f->unit);
        if (f->config & CFG_IMPLIED_SEEK && d && f->c <= LAST_CYLINDER) {
            step_to(d, f->c);
            f->pcn[f->unit] = f->c;
        }
    }
    later(f, SECTOR_NS);
}

static void specify(struct fdc *f)
{
    memcpy(f->specify, f->command + 1, 2);
    result_phase(f, 0);
}

static void sense_drive(struct fdc *f)
{
    unsigned unit = f->command[1] & 3;
    const struct fdc_drive *d = drive(f, unit);
    u8 st3 = (u8)((f->command[1] & 7) | ST3_READY | ST3_TWO_SIDES);
    if (d && d->cylinder == 0)
        st3 |= ST3_T0;
    if (d && d->block && block_readonly(d->block))
        st3 |= ST3_WP;
    one_result(f, st3);
}

static void configure(struct fdc *f)
{
    f->config = f->command[2] & 0x7f;
    f->pretrack = f->command[3];
    result_phase(f, 0);
}

static void perpendicular(struct fdc *f)
{
    u8 v = f->command[1];
    if (v & 0x80)       /* OW: the drive bits may be written */
        f->perpendicular = v & 0x3c;
    f->perpendicular = (f->perpendicular & 0x3c) | (v & 3);
    result_phase(f, 0);
}

static void lock(struct fdc *f)
{
    f->locked = f->command[0] & 0x80;
    one_result(f, f->locked ? 0x10 : 0);
}

static void dump_registers(struct fdc *f)
{
    const u8 bytes[10] = { f->pcn[0], f->pcn[1], f->pcn[2], f->pcn[3], f->specify[0], f->specify[1], f->last_eot,
        (u8)(f->locked << 7 | f->perpendicular), f->config, f->pretrack };
    memcpy(f->result, bytes, sizeof bytes);
    result_phase(f, sizeof bytes);
}

static void version(struct fdc *f) { one_result(f, 0x90); }         /* enhanced controller */
static void part_id(struct fdc *f) { one_result(f, 0x01); }         /* 82078, 44 pins */
static void invalid(struct fdc *f) { one_result(f, ST0_INVALID); }

/* ---------------------------------------------------------------------------------- the FIFO ----- */

/*  value, mask of the fixed bits, bytes, function */
static const struct fdc_row { u8 code, mask, bytes; void (*run)(struct fdc *f); } rows[] = {
    { 0x02, 0x9f, 9, begin_data },          /* READ TRACK */
    { 0x03, 0xff, 3, specify },
    { 0x04, 0xff, 2, sense_drive },
    { 0x05, 0x3f, 9, begin_data },          /* WRITE DATA */
    { 0x06, 0x1f, 9, begin_data },          /* READ DATA */
    { 0x07, 0xff, 2, recalibrate },
    { 0x08, 0xff, 1, sense_interrupt },
    { 0x09, 0x3f, 9, begin_data },          /* WRITE DELETED DATA */
    { 0x0a, 0xbf, 2, begin_data },          /* READ ID */
    { 0x0c, 0x1f, 9, begin_data },          /* READ DELETED DATA */
    { 0x0d, 0xbf, 6, begin_data },          /* FORMAT TRACK */
    { 0x0e, 0xff, 1, dump_registers },
    { 0x0f, 0xff, 3, seek },
    { 0x8f, 0xbf, 3, seek },                /* RELATIVE SEEK */
    { 0x10, 0xff, 1, version },
    { 0x12, 0xff, 2, perpendicular },
    { 0x13, 0xff, 4, configure },
    { 0x14, 0x7f, 1, lock },
    { 0x16, 0x1f, 9, begin_data },          /* VERIFY */
    { 0x18, 0xff, 1, part_id },
};

static const struct fdc_row *find_row(u8 code)
{
    static const struct fdc_row unknown = { .bytes = 1, .run = invalid };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if ((code & rows[i].mask) == rows[i].code)
            return &rows[i];
    return &unknown;
}

static bool seek_pending(const struct fdc *f)
{
    return f->seek[0].pending || f->seek[1].pending || f->seek[2].pending || f->seek[3].pending;
}

static void command_byte(struct fdc *f, u8 value)
{
    f->command[f->command_len++] = value;
    const struct fdc_row *row = find_row(f->command[0]);
    if (f->command_len == 1 && !seek_pending(f) && f->command[0] != 0x08)
        interrupt(f, false);        /* of a reset or a command whose result nobody asked for */
    if (f->command_len >= row->bytes)
        row->run(f);
}

static void data_byte_moved(struct fdc *f)
{
    interrupt(f, false);
    if (++f->data_pos == f->data_len)
        data_moved(f);
    else
        interrupt(f, true);
}

static void fifo_write(struct fdc *f, u8 value)
{
    if (!(f->dor & DOR_RUN) || timer_armed(&f->reset_timer))
        return;
    if (f->phase == FDC_COMMAND) {
        command_byte(f, value);
    } else if (f->phase == FDC_EXECUTION && !f->dma_mode && !f->to_host) {
        f->buffer[f->data_pos] = value;
        data_byte_moved(f);
    }
}

static u8 fifo_read(struct fdc *f)
{
    if (f->phase == FDC_EXECUTION && !f->dma_mode && f->to_host) {
        u8 value = f->buffer[f->data_pos];
        data_byte_moved(f);
        return value;
    }
    if (f->phase != FDC_RESULT)
        return 0xff;
    if (f->result_len == 7)         /* reading the result of a data command takes its interrupt back */
        interrupt(f, false);
    u8 value = f->result[f->result_pos++];
    if (f->result_pos == f->result_len)
        f->phase = FDC_COMMAND;
    return value;
}

static u8 main_status(const struct fdc *f)
{
    u8 v = 0;
    if (!(f->dor & DOR_RUN) || timer_armed(&f->reset_timer))
        return 0;
    for (unsigned i = 0; i < 4; i++)
        if (f->seek[i].active || f->seek[i].pending)
            v |= (u8)(1 << i);
    switch (f->phase) {
    case FDC_COMMAND: return v | MSR_RQM | (f->command_len ? MSR_CMD_BUSY : 0);
    case FDC_RESULT: return v | MSR_RQM | MSR_DIO | MSR_CMD_BUSY;
    case FDC_BUSY: return v | MSR_CMD_BUSY | (f->dma_mode ? 0 : MSR_NON_DMA);
    default: return v | MSR_CMD_BUSY | (f->dma_mode ? 0 : MSR_NON_DMA | MSR_RQM | (f->to_host ? MSR_DIO : 0));
    }
}

/* ------------------------------------------------------------------------------------- resets ----- */

static void cancel(struct fdc *f)
{
    timer_cancel(&f->timer);
    timer_cancel(&f->reset_timer);
    for (unsigned i = 0; i < 4; i++) {
        timer_cancel(&f->seek[i].timer);
        f->seek[i].active = f->seek[i].pending = false;
        f->pcn[i] = 0;
    }
    f->reset_senses = 0;
    f->tc = false;
    result_phase(f, 0);
    dreq(f, false);
    interrupt(f, false);
    if (!f->locked) {
        f->config = 0x20;           /* FIFO off, polling on */
        f->pretrack = 0;
    }
    f->perpendicular &= 0x3c;
}

/* The drives are polled and found ready: one interrupt, four results to sense. */
static void reset_over(void *ctx)
{
    struct fdc *f = ctx;
    if (f->config & CFG_NO_POLL)
        return;
    f->reset_senses = 4;
    interrupt(f, true);
}

static void write_dor(struct fdc *f, u8 value)
{
    u8 before = f->dor;
    f->dor = value;
    if (!(value & DOR_RUN) && before & DOR_RUN)
        cancel(f);
    else if (value & DOR_RUN && !(before & DOR_RUN))
        timer_set(&f->reset_timer, now(f) + RESET_NS);
    update_irq(f);
    if (f->phase == FDC_EXECUTION && f->dma_mode)
        dreq(f, true);
}

static void write_dsr(struct fdc *f, u8 value)
{
    f->rate = value & 3;
    if (value & 0x80 && f->dor & DOR_RUN) {
        cancel(f);
        timer_set(&f->reset_timer, now(f) + RESET_NS);
    }
}

/* A guest that polls need not wait for the timers' thread. */
static void catch_up(struct fdc *f)
{
    struct timer *timers[6] = { &f->timer, &f->reset_timer };
    for (unsigned i = 0; i < 4; i++)
        timers[2 + i] = &f->seek[i].timer;
    for (unsigned i = 0; i < ARRAY_LEN(timers); i++) {
        struct timer *t = timers[i];
        if (timer_armed(t) && now(f) >= t->deadline) {
            timer_cancel(t);
            t->fire(t->ctx);
        }
    }
}

static u8 read_dir(struct fdc *f)
{
    unsigned unit = f->dor & DOR_SELECT;
    const struct fdc_drive *d = drive(f, unit);
    bool motor = f->dor & DOR_MOTOR0 << unit;
    return d && motor && (d->changed || !d->block) ? DIR_CHANGED : 0;
}

static u32 fdc_read(struct device *dev, unsigned region, u32 reg, unsigned bytes)
{
    struct fdc *f = (struct fdc *)dev;
    catch_up(f);
    if (region == FDC_REGION_DIR)
        return read_dir(f);
    switch (reg) {
    case 2: return f->dor;
    case 3: return f->tdr | 0xfc;
    case 4: return main_status(f);
    case 5: return fifo_read(f);
    default: return 0xff;           /* status registers A and B are not there in AT mode */
    }
}

static void fdc_write(struct device *dev, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct fdc *f = (struct fdc *)dev;
    catch_up(f);
    if (region == FDC_REGION_DIR) {
        f->rate = value & 3;
        return;
    }
    switch (reg) {
    case 2: write_dor(f, (u8)value); break;
    case 3: f->tdr = value & 3; break;
    case 4: write_dsr(f, (u8)value); break;
    case 5: fifo_write(f, (u8)value); break;
    }
}

/* ---------------------------------------------------------------------------------------- life ----- */

static void fdc_reset(struct device *dev)
{
    struct fdc *f = (struct fdc *)dev;
    f->dor = 0;
    f->tdr = 0;
    f->rate = 2;
    f->locked = false;
    f->perpendicular = 0;
    f->last_eot = 0;
    memset(f->specify, 0, sizeof f->specify);
    for (unsigned i = 0; i < 2; i++)
        f->drive[i].changed = true;
    cancel(f);
}

static bool set_medium(struct fdc_drive *d, struct block *medium, char *err, size_t errlen)
{
    const struct fdc_format *format = medium ? fdc_format_by_size(block_size(medium)) : NULL;
    if (medium && !format) {
        snprintf(err, errlen, "%s: %llu bytes are more than a floppy disk holds (at most 2880 KiB)", block_file(medium),
            (unsigned long long)block_size(medium));
        return false;
    }
    d->block = medium;
    d->format = format;
    d->changed = true;
    d->next_sector = 0;
    return true;
}

static bool fdc_init(struct device *dev, char *err, size_t errlen)
{
    struct fdc *f = (struct fdc *)dev;
    timer_init(&f->timer, dev->clock, timer_fired, f);
    timer_init(&f->reset_timer, dev->clock, reset_over, f);
    for (unsigned i = 0; i < 4; i++) {
        f->seek[i].fdc = f;
        timer_init(&f->seek[i].timer, dev->clock, seek_done, &f->seek[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct fdc_drive *d = &f->drive[i];
        d->present |= d->block != NULL;
        if (!set_medium(d, d->block, err, errlen))
            return false;
        d->type = !d->present ? 0 : d->format ? d->format->drive_type : DRIVE_144;
    }
    if (f->dma)
        i8237_attach(f->dma, f->dma_channel, dma_granted, f);
    fdc_reset(dev);
    return true;
}

static void fdc_fini(struct device *dev)
{
    struct fdc *f = (struct fdc *)dev;
    for (unsigned i = 0; i < 2; i++) {
        block_close(f->drive[i].block);
        f->drive[i].block = NULL;
        f->drive[i].format = NULL;
    }
}

u8 fdc_cmos_types(const struct fdc *f)
{
    return (u8)(f->drive[0].type << 4 | f->drive[1].type);
}

bool fdc_change_medium(struct fdc *f, unsigned unit, struct block *medium, char *err, size_t errlen)
{
    struct fdc_drive *d = drive(f, unit);
    if (!d) {
        snprintf(err, errlen, "there is no floppy drive %u", unit);
        return false;
    }
    struct block *old = d->block;
    if (!set_medium(d, medium, err, errlen))
        return false;
    block_close(old);
    return true;
}

static void fdc_print(struct device *dev, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct fdc *f = (struct fdc *)dev;
    for (unsigned i = 0; i < 2; i++) {
        const struct fdc_drive *d = &f->drive[i];
        char line[512];
        if (!d->present)
            continue;
        snprintf(line, sizeof line, "drive %u: type %u, %s, cylinder %u, motor %s%s", i, d->type,
            d->block ? block_file(d->block) : "no medium", d->cylinder, f->dor & DOR_MOTOR0 << i ? "on" : "off",
            d->changed ? ", changed" : "");
        out(line, ctx);
    }
}

const struct device_class fdc_class = { .name = "82078", .size = sizeof(struct fdc), .init = fdc_init, .reset = fdc_reset,
    .fini = fdc_fini, .read = fdc_read, .write = fdc_write, .byte_wide = true, .print = fdc_print };
