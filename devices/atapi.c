/* atapi.c - CD-ROM drives: the PACKET interface and the multimedia commands. ATA/ATAPI-6 8.23-8.25, 9.8; SFF-8020i, MMC-2, SPC-2.
 *
 * The medium is one data track of 2048-byte sectors, a DVD if it is larger than a CD. The answer to a packet lies in buffer[0..cd_end);
 * reads refill the buffer from `lba` while cd_left counts down. By PIO the host takes it in blocks of at most the byte count limit that it
 * gave, each announced with the count and an interrupt. An opened tray keeps its medium, so that closing it brings it back.
 * Audio commands, writing and CD changers are left out.
 */
#include <stdio.h>
#include <string.h>

#include "devices/cdsector.h"
#include "devices/ide.h"

enum { STEP_NS = 2000, READ_NS = 5000 };
enum { KEY_NONE, KEY_NOT_READY = 2, KEY_MEDIUM = 3, KEY_ILLEGAL = 5, KEY_ATTENTION = 6 };
enum { ASC_READ_ERROR = 0x11, ASC_LIST_LENGTH = 0x1a, ASC_OPCODE = 0x20, ASC_RANGE = 0x21, ASC_FIELD = 0x24, ASC_PARAMETER = 0x26,
    ASC_MEDIUM_CHANGED = 0x28, ASC_RESET = 0x29, ASC_INCOMPATIBLE = 0x30, ASC_SAVING = 0x39, ASC_NO_MEDIUM = 0x3a,
    ASC_LOCKED = 0x53, ASC_TRACK_MODE = 0x64 };
enum { F_ATTENTION_OK = 0x01 /* runs in spite of a unit attention */, F_MEDIUM = 0x02 /* needs a medium */,
    F_KEEP_SENSE = 0x04 };
enum { PART_SYNC = 0x80, PART_SUBHEADER = 0x40, PART_HEADER = 0x20, PART_USER = 0x10, PART_EDC = 0x08, PART_C2 = 0x06 };
enum { EVENT_NONE, EVENT_EJECT, EVENT_NEW, EVENT_REMOVED };
#define CD_MAX_SECTORS (90u * 60 * 75)      /* more than that is a DVD */
#define LEAD_OUT 0xaau

static u16 get16(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static u32 get24(const u8 *p) { return (u32)p[0] << 16 | get16(p + 1); }
static u32 get32(const u8 *p) { return (u32)get16(p) << 16 | get16(p + 2); }
static void put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8); p[1] = (u8)v; }
static void put32(u8 *p, u32 v) { put16(p, v >> 16); put16(p + 2, v); }

static bool has_medium(const struct ide_drive *d) { return d->block && !d->tray_open; }
static bool is_dvd(const struct ide_drive *d) { return has_medium(d) && d->sectors > CD_MAX_SECTORS; }

/* ------------------------------------------------------------------------------ end of a packet ----- */

static void set_sense(struct ide_drive *d, u8 key, u8 asc, u8 ascq)
{
    d->sense_key = key;
    d->asc = asc;
    d->ascq = ascq;
}

static void check_condition(struct ide_drive *d, u8 key, u8 asc, u8 ascq)
{
    set_sense(d, key, asc, ascq);
    d->tf.reg[IDE_COUNT][0] = ATAPI_CD | ATAPI_IO;
    ide_fail(d, (u8)(key << 4 | (key == KEY_ILLEGAL ? ATA_ABRT : 0)));
}

static void illegal(struct ide_drive *d, u8 asc)
{
    check_condition(d, KEY_ILLEGAL, asc, 0);
}

static void packet_done(struct ide_drive *d)
{
    d->tf.reg[IDE_COUNT][0] = ATAPI_CD | ATAPI_IO;
    d->error = 0;
    ide_finish(d);
}

/* ---------------------------------------------------------------------------------- data to the host ----- */

static u32 sector_bytes(const struct ide_drive *d)
{
    u8 parts = d->cd_parts;
    return (parts & PART_SYNC ? 12u : 0) + (parts & PART_HEADER ? 4u : 0) + (parts & PART_USER ? 2048u : 0) +
        (parts & PART_EDC ? 288u : 0);
}

static u8 *append(u8 *out, const u8 *from, unsigned n)
{
    memcpy(out, from, n);
    return out + n;
}

static bool read_raw(struct ide_drive *d, u32 lba, u8 *out)
{
    u8 raw[CD_RAW_SECTOR];
    if (!block_read(d->block, (u64)lba * IDE_CD_SECTOR, raw + 16, IDE_CD_SECTOR))
        return false;
    cdsector_make(raw, lba);
    if (d->cd_parts & PART_SYNC)
        out = append(out, raw, 12);
    if (d->cd_parts & PART_HEADER)
        out = append(out, raw + 12, 4);
    if (d->cd_parts & PART_USER)
        out = append(out, raw + 16, IDE_CD_SECTOR);
    if (d->cd_parts & PART_EDC)
        append(out, raw + 2064, 288);
    return true;
}

/* Fills the buffer with the next sectors; false: the command has failed. */
static bool refill(struct ide_drive *d, u32 room)
{
    u32 bytes = sector_bytes(d), n = room / bytes;
    n = n < 1 ? 1 : n > d->cd_left ? d->cd_left : n;
    bool ok = has_medium(d);
    if (ok && d->cd_parts == PART_USER) {
        ok = block_read(d->block, d->lba * IDE_CD_SECTOR, d->buffer, (size_t)n * IDE_CD_SECTOR);
    } else {
        for (u32 i = 0; ok && i < n; i++)
            ok = read_raw(d, (u32)d->lba + i, d->buffer + i * bytes);
    }
    if (!ok) {
        if (has_medium(d))
            check_condition(d, KEY_MEDIUM, ASC_READ_ERROR, 0);
        else
            check_condition(d, KEY_NOT_READY, ASC_NO_MEDIUM, 0);
        return false;
    }
    d->lba += n;
    d->cd_left -= n;
    d->pos = 0;
    d->cd_end = n * bytes;
    return true;
}

static void pio_in_taken(struct ide_drive *d);

static void pio_in_step(struct ide_drive *d)
{
    if (d->pos >= d->cd_end) {
        if (!d->cd_left) {
            packet_done(d);
            return;
        }
        if (!refill(d, d->byte_limit))
            return;
    }
    u32 n = d->cd_end - d->pos;
    if (n > d->byte_limit)
        n = d->byte_limit;
    d->tf.reg[IDE_COUNT][0] = ATAPI_IO;
    d->tf.reg[IDE_LBA_MID][0] = (u8)n;
    d->tf.reg[IDE_LBA_HIGH][0] = (u8)(n >> 8);
    ide_data(d, true, d->pos, d->pos + n, pio_in_taken);
    ide_raise(d);
}

static void pio_in_taken(struct ide_drive *d)
{
    ide_later(d, pio_in_step, STEP_NS);
}

static void dma_in_step(struct ide_drive *d)
{
    if (d->pos >= d->cd_end) {
        if (!refill(d, IDE_BUFFER))
            return;
    }
    d->end = d->cd_end;
    if (!ide_dma_move(d, true, dma_in_step))
        return;
    if (d->cd_left)
        ide_dma_request(d, true, dma_in_step);
    else
        packet_done(d);
}

static void send(struct ide_drive *d)
{
    d->tf.reg[IDE_COUNT][0] = ATAPI_IO;
    if (d->packet_dma)
        ide_dma_request(d, true, dma_in_step);
    else
        pio_in_step(d);
}

/* The answer is buffer[0..bytes), of which the host allowed `allocated`. */
static void answer(struct ide_drive *d, u32 bytes, u32 allocated)
{
    d->pos = 0;
    d->cd_end = bytes < allocated ? bytes : allocated;
    d->cd_left = 0;
    if (d->cd_end)
        send(d);
    else
        packet_done(d);
}

static u8 *clear_buffer(struct ide_drive *d, u32 bytes)
{
    return memset(d->buffer, 0, bytes);
}

/* Reads sectors; parts as in READ CD. */
static void read_sectors(struct ide_drive *d, u32 lba, u32 count, u8 parts)
{
    if (lba > d->sectors || count > d->sectors - lba) {
        illegal(d, ASC_RANGE);
        return;
    }
    d->lba = lba;
    d->cd_parts = parts;
    d->cd_left = sector_bytes(d) ? count : 0;
    d->pos = d->cd_end = 0;
    if (!d->cd_left) {
        packet_done(d);
        return;
    }
    ide_later(d, send, READ_NS);
}

/* ---------------------------------------------------------------------------- data from the host ----- */

static void out_received(struct ide_drive *d)
{
    ide_later(d, d->cd_out_done, STEP_NS);
}

static void dma_out_step(struct ide_drive *d)
{
    if (ide_dma_move(d, false, dma_out_step))
        d->cd_out_done(d);
}

/* A parameter list of at most 64 KiB goes to buffer[0..cd_end). The limit for PIO blocks is honoured by asking for one block:
 * lists are shorter than any limit in use, and a host with a smaller one gets an error. */
static void receive(struct ide_drive *d, u32 bytes, ide_step *done)
{
    d->cd_end = bytes;
    d->cd_out_done = done;
    if (!bytes) {
        done(d);
        return;
    }
    d->tf.reg[IDE_COUNT][0] = 0;
    if (d->packet_dma) {
        d->pos = 0;
        d->end = bytes;
        ide_dma_request(d, false, dma_out_step);
        return;
    }
    if (bytes > d->byte_limit) {
        illegal(d, ASC_LIST_LENGTH);
        return;
    }
    d->tf.reg[IDE_LBA_MID][0] = (u8)bytes;
    d->tf.reg[IDE_LBA_HIGH][0] = (u8)(bytes >> 8);
    ide_data(d, false, 0, bytes, out_received);
    ide_raise(d);
}

/* ------------------------------------------------------------------------------- status commands ----- */

static void test_unit_ready(struct ide_drive *d)
{
    packet_done(d);
}

/* Fixed format, SPC-2 7.20. Reading the sense data clears it; a pending unit attention is told and cleared too. */
static void request_sense(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 18);
    if (!d->sense_key && d->unit_attention) {
        set_sense(d, KEY_ATTENTION, d->unit_attention, 0);
        d->unit_attention = 0;
    }
    p[0] = 0x70;
    p[2] = d->sense_key;
    p[7] = 10;
    p[12] = d->asc;
    p[13] = d->ascq;
    set_sense(d, KEY_NONE, 0, 0);
    answer(d, 18, d->packet[4]);
}

static void text(u8 *p, const char *s, unsigned bytes)
{
    size_t n = strlen(s);
    for (unsigned i = 0; i < bytes; i++)
        p[i] = i < n ? (u8)s[i] : ' ';
}

static void inquiry(struct ide_drive *d)
{
    u32 allocated = get16(d->packet + 3);
    u8 *p = clear_buffer(d, 64);
    p[0] = 0x05;        /* CD/DVD */
    if (d->packet[1] & 1) {         /* vital product data: the list of pages, and the serial number */
        p[1] = d->packet[2];
        if (d->packet[2] == 0x00) {
            p[3] = 2;
            p[5] = 0x80;
            answer(d, 6, allocated);
        } else if (d->packet[2] == 0x80) {
            p[3] = 8;
            snprintf((char *)p + 4, 9, "SH%06u", d->channel->index * 2 + d->index + 1);
            answer(d, 12, allocated);
        } else {
            illegal(d, ASC_FIELD);
        }
        return;
    }
    if (d->packet[2]) {
        illegal(d, ASC_FIELD);
        return;
    }
    p[1] = 0x80;        /* removable */
    p[2] = 0x00;
    p[3] = 0x21;        /* ATAPI version 2, response format 1 */
    p[4] = 31;
    text(p + 8, "SHADOW86", 8);
    text(p + 16, "DVD-ROM", 16);
    text(p + 32, "0.1", 4);
    answer(d, 36, allocated);
}

static void start_stop(struct ide_drive *d)
{
    bool load_eject = d->packet[4] & 2, start = d->packet[4] & 1;
    if (load_eject && !start && d->locked && !d->tray_open) {
        check_condition(d, has_medium(d) ? KEY_ILLEGAL : KEY_NOT_READY, ASC_LOCKED, 2);
        return;
    }
    if (load_eject && start == d->tray_open) {
        d->tray_open = !start;
        d->media_event = d->block ? start ? EVENT_NEW : EVENT_REMOVED : EVENT_NONE;
        if (start && d->block)
            d->unit_attention = ASC_MEDIUM_CHANGED;
    }
    packet_done(d);
}

static void prevent_allow(struct ide_drive *d)
{
    d->locked = d->packet[4] & 1;
    packet_done(d);
}

static void get_event_status(struct ide_drive *d)
{
    u32 allocated = get16(d->packet + 7);
    u8 *p = clear_buffer(d, 8);
    if (!(d->packet[1] & 1)) {      /* only polling */
        illegal(d, ASC_FIELD);
        return;
    }
    p[3] = 0x10;                    /* we know media events */
    if (!(d->packet[4] & 0x10)) {
        p[1] = 2;
        p[2] = 0x80;                /* no event available */
        answer(d, 4, allocated);
        return;
    }
    p[1] = 6;
    p[2] = 0x04;
    p[4] = d->media_event;
    p[5] = (u8)(d->tray_open | has_medium(d) << 1);
    if (allocated > 4)
        d->media_event = EVENT_NONE;
    answer(d, 8, allocated);
}

static void mechanism_status(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 8);
    p[1] = d->tray_open ? 0x10 : 0;
    answer(d, 8, get16(d->packet + 8));
}

/* --------------------------------------------------------------------------------- mode pages ----- */

/* SFF-8020i table 51 onwards, MMC-2 5.5. Returns the length; in `changeable` the bits that MODE SELECT may alter. */
static unsigned mode_page(const struct ide_drive *d, u8 page, u8 *p, unsigned control)
{
    static const u8 default_error[8] = { 0x01, 6, 0x00, 5 }, default_audio[16] = { 0x0e, 14, 4, [8] = 1, 255, 2, 255 };
    bool changeable = control == 1;
    switch (page) {
    case 0x01:
        memcpy(p, control == 2 ? default_error : d->mode_error, 8);
        if (changeable)
            memcpy(p, (const u8[8]) { 0x01, 6, 0xff, 0xff }, 8);
        return 8;
    case 0x0d:          /* CD device parameters: 60 seconds, 75 frames */
        memcpy(p, changeable ? (const u8[8]) { 0x0d, 6 } : (const u8[8]) { 0x0d, 6, 0, 0x0d, 0, 60, 0, 75 }, 8);
        return 8;
    case 0x0e:
        memcpy(p, control == 2 ? default_audio : d->mode_audio, 16);
        if (changeable)
            memcpy(p, (const u8[16]) { 0x0e, 14, 0x06, [8] = 0x0f, 0xff, 0x0f, 0xff }, 16);
        return 16;
    case 0x2a:          /* capabilities: reads CD-R/RW, DVD-ROM; mode 2, tray, lock, eject; 16x */
        memset(p, 0, 22);
        p[0] = 0x2a;
        p[1] = 20;
        if (changeable)
            return 22;
        p[2] = 0x3b;
        p[4] = 0x70;
        p[5] = 0x00;
        p[6] = (u8)(0x29 | (d->locked ? 2 : 0));
        put16(p + 8, 16 * 176);
        put16(p + 12, IDE_BUFFER / 1024);
        put16(p + 14, 16 * 176);
        return 22;
    default:
        return 0;
    }
}

static void mode_sense(struct ide_drive *d)
{
    bool ten = d->packet[0] == 0x5a;
    u8 page = d->packet[2] & 0x3f;
    unsigned control = d->packet[2] >> 6, header = ten ? 8 : 4, n = header;
    static const u8 all[] = { 0x01, 0x0d, 0x0e, 0x2a };
    u8 *p = clear_buffer(d, 256);
    if (control == 3) {
        illegal(d, ASC_SAVING);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        if (page == 0x3f || page == all[i])
            n += mode_page(d, all[i], p + n, control);
    if (n == header) {
        illegal(d, ASC_FIELD);
        return;
    }
    u8 medium = d->tray_open ? 0x71 : has_medium(d) ? 0x01 : 0x70;
    if (ten) {
        put16(p, n - 2);
        p[2] = medium;
    } else {
        p[0] = (u8)(n - 1);
        p[1] = medium;
    }
    answer(d, n, ten ? get16(d->packet + 7) : d->packet[4]);
}

static void mode_select_done(struct ide_drive *d)
{
    bool ten = d->packet[0] == 0x55;
    u32 header = ten ? 8 : 4;
    const u8 *p = d->buffer;
    if (d->cd_end < header) {
        if (d->cd_end)
            illegal(d, ASC_LIST_LENGTH);
        else
            packet_done(d);
        return;
    }
    u32 at = header + (ten ? get16(p + 6) : p[3]);      /* past block descriptors */
    while (at + 2 <= d->cd_end) {
        u32 n = p[at + 1] + 2u;
        if (n > d->cd_end - at) {
            illegal(d, ASC_LIST_LENGTH);
            return;
        }
        u8 page = p[at] & 0x3f;
        if (page == 0x01 && n == 8) {
            memcpy(d->mode_error + 2, p + at + 2, 2);
        } else if (page == 0x0e && n == 16) {
            memcpy(d->mode_audio + 2, p + at + 2, 14);
        } else if (page != 0x0d && page != 0x2a) {
            illegal(d, ASC_PARAMETER);
            return;
        }
        at += n;
    }
    packet_done(d);
}

static void mode_select(struct ide_drive *d)
{
    receive(d, d->packet[0] == 0x55 ? get16(d->packet + 7) : d->packet[4], mode_select_done);
}

/* ------------------------------------------------------------------------------- configuration ----- */

struct feature { u16 code; u8 version_persistent_current; u8 bytes; u8 data[8]; u8 needs; };
enum { NEEDS_NOTHING, NEEDS_MEDIUM, NEEDS_CD, NEEDS_DVD };

/* MMC-2 / Mt. Fuji features. The middle column is version << 2 | persistent << 1; current is added below. */
static const struct feature features[] = {
    { 0x0000, 0x02, 8, { 0x00, 0x10, 0, 0, 0x00, 0x08, 0, 0 }, NEEDS_NOTHING },     /* profiles: DVD-ROM, CD-ROM */
    { 0x0001, 0x02, 4, { 0, 0, 0, 2 /* ATAPI */ },             NEEDS_NOTHING },     /* core */
    { 0x0002, 0x02, 4, { 0 },                                  NEEDS_NOTHING },     /* morphing: polled events */
    { 0x0003, 0x02, 4, { 0x29 /* tray, eject, lock */ },       NEEDS_NOTHING },     /* removable medium */
    { 0x0010, 0x00, 8, { 0, 0, 0x08, 0x00, 0, 1, 0, 0 },       NEEDS_MEDIUM },      /* random readable: 2048, 1 */
    { 0x001d, 0x00, 0, { 0 },                                  NEEDS_MEDIUM },      /* multi-read */
    { 0x001e, 0x00, 4, { 0 },                                  NEEDS_CD },          /* CD read */
    { 0x001f, 0x00, 0, { 0 },                                  NEEDS_DVD },         /* DVD read */
};

static bool feature_current(const struct ide_drive *d, const struct feature *f)
{
    switch (f->needs) {
    case NEEDS_MEDIUM: return has_medium(d);
    case NEEDS_CD: return has_medium(d) && !is_dvd(d);
    case NEEDS_DVD: return is_dvd(d);
    default: return true;
    }
}

static void get_configuration(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 256);
    unsigned which = d->packet[1] & 3, first = get16(d->packet + 2), n = 8;
    u16 profile = !has_medium(d) ? 0 : is_dvd(d) ? 0x0010 : 0x0008;
    if (which == 3) {
        illegal(d, ASC_FIELD);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(features); i++) {
        const struct feature *f = &features[i];
        bool current = feature_current(d, f);
        if (f->code < first || (which == 1 && !current) || (which == 2 && f->code != first))
            continue;
        put16(p + n, f->code);
        p[n + 2] = (u8)(f->version_persistent_current | current);
        p[n + 3] = f->bytes;
        memcpy(p + n + 4, f->data, f->bytes);
        if (f->code == 0) {         /* which profile is current */
            p[n + 6] = profile == 0x0010;
            p[n + 10] = profile == 0x0008;
        }
        n += 4u + f->bytes;
    }
    put32(p, n - 4);
    put16(p + 6, profile);
    answer(d, n, get16(d->packet + 7));
}

/* ------------------------------------------------------------------------------ about the medium ----- */

static void read_capacity(struct ide_drive *d)
{
    u8 *p = d->buffer;
    put32(p, (u32)(d->sectors - 1));
    put32(p + 4, IDE_CD_SECTOR);
    answer(d, 8, 8);
}

static void put_address(u8 *p, bool msf, u32 lba)
{
    if (!msf) {
        put32(p, lba);
        return;
    }
    p[0] = 0;
    cdsector_msf(p + 1, lba);
}

/* Formats 0: tracks; MMC-2 6.1.22. */
static u32 toc_tracks(const struct ide_drive *d, u8 *p, bool msf, unsigned from)
{
    u32 n = 4;
    if (from <= 1) {
        p[n + 1] = 0x14;            /* data track, copies of Q channel not kept */
        p[n + 2] = 1;
        put_address(p + n + 4, msf, 0);
        n += 8;
    }
    p[n + 1] = 0x14;
    p[n + 2] = LEAD_OUT;
    put_address(p + n + 4, msf, (u32)d->sectors);
    return n + 8;
}

static u32 toc_session(u8 *p, bool msf)
{
    p[5] = 0x14;
    p[6] = 1;
    put_address(p + 8, msf, 0);
    return 12;
}

/* Format 2: the Q channel of the lead-in: first and last track, lead-out, track 1. */
static u32 toc_raw(const struct ide_drive *d, u8 *p)
{
    static const u8 points[] = { 0xa0, 0xa1, 0xa2, 1 };
    u32 n = 4;
    for (unsigned i = 0; i < ARRAY_LEN(points); i++, n += 11) {
        p[n] = 1;                   /* session */
        p[n + 1] = 0x14;
        p[n + 3] = points[i];
        if (points[i] == 0xa0 || points[i] == 0xa1)
            p[n + 8] = 1;
        else
            cdsector_msf(p + n + 8, points[i] == 0xa2 ? (u32)d->sectors : 0);
    }
    return n;
}

static void read_toc(struct ide_drive *d)
{
    const u8 *c = d->packet;
    bool msf = c[1] & 2;
    unsigned format = c[2] & 15 ? c[2] & 15 : c[9] >> 6;    /* SFF-8020i has it in the control byte */
    u8 *p = clear_buffer(d, 64);
    u32 n;
    p[2] = p[3] = 1;                /* first and last track or session */
    if (format == 0 && c[6] > 1 && c[6] != LEAD_OUT) {
        illegal(d, ASC_FIELD);
        return;
    }
    switch (format) {
    case 0: n = toc_tracks(d, p, msf, c[6]); break;
    case 1: n = toc_session(p, msf); break;
    case 2: n = toc_raw(d, p); break;
    default: illegal(d, ASC_FIELD); return;
    }
    put16(p, n - 2);
    answer(d, n, get16(c + 7));
}

static void read_disc_information(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 34);
    put16(p, 32);
    p[2] = 0x0e;        /* complete, last session complete */
    p[3] = p[4] = p[5] = p[6] = 1;
    p[7] = 0x20;        /* unrestricted use */
    memset(p + 16, 0xff, 8);
    answer(d, 34, get16(d->packet + 7));
}

static void read_track_information(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 28);
    u32 which = get32(d->packet + 2);
    bool known = (d->packet[1] & 3) == 0 ? which < d->sectors : which == 1;
    if (!known) {
        illegal(d, ASC_FIELD);
        return;
    }
    put16(p, 26);
    p[2] = p[3] = 1;
    p[5] = 0x04;        /* data track */
    p[6] = 0x01;        /* mode 1 */
    put32(p + 24, (u32)d->sectors);
    answer(d, 28, get16(d->packet + 7));
}

static void read_header(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 8);
    u32 lba = get32(d->packet + 2);
    if (lba >= d->sectors) {
        illegal(d, ASC_RANGE);
        return;
    }
    p[0] = 1;
    put_address(p + 4, d->packet[1] & 2, lba);
    answer(d, 8, get16(d->packet + 7));
}

static void read_subchannel(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 24);
    u32 allocated = get16(d->packet + 7), n = 4, lba = d->lba < d->sectors ? (u32)d->lba : 0;
    p[1] = 0x15;        /* no audio status */
    if (d->packet[2] & 0x40) {
        p[4] = d->packet[3];
        switch (d->packet[3]) {
        case 1:
            p[5] = 0x14;
            p[6] = p[7] = 1;
            put_address(p + 8, d->packet[1] & 2, lba);
            put_address(p + 12, false, lba);
            if (d->packet[1] & 2) {         /* relative to the track: no lead-in in it */
                p[12] = 0;
                p[13] = (u8)(lba / 4500);
                p[14] = (u8)(lba / 75 % 60);
                p[15] = (u8)(lba % 75);
            }
            n = 16;
            break;
        case 2: case 3:                     /* catalogue number, ISRC: none */
            n = 24;
            break;
        default:
            illegal(d, ASC_FIELD);
            return;
        }
    }
    put16(p + 2, n - 4);
    answer(d, n, allocated);
}

/* Formats 0 (physical), 1 (copyright), 4 (manufacturer) of a single-layer DVD; MMC-2 6.1.20. */
static void read_dvd_structure(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, 4 + 2048);
    u32 n;
    if (!is_dvd(d)) {
        check_condition(d, KEY_ILLEGAL, ASC_INCOMPATIBLE, 2);
        return;
    }
    switch (d->packet[7]) {
    case 0:
        p[4] = 0x01;            /* DVD-ROM, part version 1 */
        p[5] = 0x0f;            /* 120 mm, no maximum rate */
        p[6] = 0x01;            /* one layer with read-only data */
        put32(p + 8, 0x30000);
        put32(p + 12, 0x30000 + (u32)d->sectors - 1);
        n = 4 + 2048;
        break;
    case 1: n = 8; break;
    case 4: n = 4 + 2048; break;
    default: illegal(d, ASC_FIELD); return;
    }
    put16(p, n - 2);
    answer(d, n, get16(d->packet + 8));
}

/* -------------------------------------------------------------------------------------- reading ----- */

static void read_10(struct ide_drive *d)
{
    read_sectors(d, get32(d->packet + 2), get16(d->packet + 7), PART_USER);
}

static void read_12(struct ide_drive *d)
{
    read_sectors(d, get32(d->packet + 2), get32(d->packet + 6), PART_USER);
}

static void verify_10(struct ide_drive *d)
{
    read_sectors(d, get32(d->packet + 2), get16(d->packet + 7), 0);
}

static void seek_10(struct ide_drive *d)
{
    read_sectors(d, get32(d->packet + 2), 1, 0);
}

/* READ CD and READ CD MSF: byte 9 chooses parts of the sector; we have mode 1 sectors only. */
static void read_cd_parts(struct ide_drive *d, u32 lba, u32 count)
{
    unsigned type = d->packet[1] >> 2 & 7;
    u8 parts = d->packet[9] & 0xf8;
    if (type != 0 && type != 2) {
        illegal(d, ASC_TRACK_MODE);
        return;
    }
    if (d->packet[9] & PART_C2 || d->packet[10] & 7) {      /* error pointers, subchannel data */
        illegal(d, ASC_FIELD);
        return;
    }
    read_sectors(d, lba, count, parts & (u8)~PART_SUBHEADER);   /* mode 1 has no subheader */
}

static void read_cd(struct ide_drive *d)
{
    read_cd_parts(d, get32(d->packet + 2), get24(d->packet + 6));
}

static void read_cd_msf(struct ide_drive *d)
{
    const u8 *c = d->packet;
    u32 from = (c[3] * 60u + c[4]) * 75 + c[5], to = (c[6] * 60u + c[7]) * 75 + c[8];
    if (from < 150 || to < from)
        illegal(d, ASC_FIELD);
    else
        read_cd_parts(d, from - 150, to - from);
}

static void accept(struct ide_drive *d)
{
    packet_done(d);
}

static void no_audio(struct ide_drive *d)
{
    illegal(d, ASC_TRACK_MODE);
}

/* --------------------------------------------------------------------------- the packet table ----- */

static const struct packet_row { u8 opcode; u8 flags; void (*run)(struct ide_drive *d); } rows[] = {
    { 0x00, F_MEDIUM,                      test_unit_ready },
    { 0x01, F_MEDIUM,                      accept },                /* REZERO UNIT */
    { 0x03, F_ATTENTION_OK | F_KEEP_SENSE, request_sense },
    { 0x12, F_ATTENTION_OK,                inquiry },
    { 0x15, 0,                             mode_select },           /* (6) */
    { 0x1a, 0,                             mode_sense },            /* (6) */
    { 0x1b, 0,                             start_stop },
    { 0x1e, 0,                             prevent_allow },
    { 0x25, F_MEDIUM,                      read_capacity },
    { 0x28, F_MEDIUM,                      read_10 },
    { 0x2b, F_MEDIUM,                      seek_10 },
    { 0x2f, F_MEDIUM,                      verify_10 },
    { 0x42, F_MEDIUM,                      read_subchannel },
    { 0x43, F_MEDIUM,                      read_toc },
    { 0x44, F_MEDIUM,                      read_header },
    { 0x45, F_MEDIUM,                      no_audio },              /* PLAY AUDIO (10) */
    { 0x46, F_ATTENTION_OK,                get_configuration },
    { 0x47, F_MEDIUM,                      no_audio },              /* PLAY AUDIO MSF */
    { 0x4a, F_ATTENTION_OK,                get_event_status },
    { 0x4b, F_MEDIUM,                      no_audio },              /* PAUSE/RESUME */
    { 0x4e, F_MEDIUM,                      accept },                /* STOP PLAY/SCAN */
    { 0x51, F_MEDIUM,                      read_disc_information },
    { 0x52, F_MEDIUM,                      read_track_information },
    { 0x55, 0,                             mode_select },           /* (10) */
    { 0x5a, 0,                             mode_sense },            /* (10) */
    { 0xa5, F_MEDIUM,                      no_audio },              /* PLAY AUDIO (12) */
    { 0xa8, F_MEDIUM,                      read_12 },
    { 0xad, F_MEDIUM,                      read_dvd_structure },
    { 0xb9, F_MEDIUM,                      read_cd_msf },
    { 0xbb, 0,                             accept },                /* SET CD SPEED */
    { 0xbd, 0,                             mechanism_status },
    { 0xbe, F_MEDIUM,                      read_cd },
};

static void execute_packet(struct ide_drive *d)
{
    const struct packet_row *row = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(rows) && !row; i++)
        if (rows[i].opcode == d->packet[0])
            row = &rows[i];
    if (d->unit_attention && !(row && row->flags & F_ATTENTION_OK)) {
        u8 asc = d->unit_attention;
        d->unit_attention = 0;
        check_condition(d, KEY_ATTENTION, asc, 0);
        return;
    }
    if (!row) {
        illegal(d, ASC_OPCODE);
        return;
    }
    if (!(row->flags & F_KEEP_SENSE))
        set_sense(d, KEY_NONE, 0, 0);
    if (row->flags & F_MEDIUM && !has_medium(d)) {
        check_condition(d, KEY_NOT_READY, ASC_NO_MEDIUM, d->tray_open ? 2 : 1);
        return;
    }
    row->run(d);
}

static void packet_received(struct ide_drive *d)
{
    memcpy(d->packet, d->buffer, sizeof d->packet);
    ide_later(d, execute_packet, STEP_NS);
}

/* ------------------------------------------------------------------------------- ATA commands ----- */

/* Byte count limit: ATA/ATAPI-6 8.23.5: an odd limit that is not the whole transfer counts as one less; 0 would not let anything through
 * and is taken for the maximum, as drives do. */
static void packet(struct ide_drive *d)
{
    u8 features = d->tf.reg[IDE_FEATURES][0];
    u32 limit = d->tf.reg[IDE_LBA_MID][0] | (u32)d->tf.reg[IDE_LBA_HIGH][0] << 8;
    if (features & 0x02) {      /* overlapped */
        ide_abort(d);
        return;
    }
    d->packet_dma = features & 0x01;
    d->byte_limit = limit == 0 || limit == 0xffff ? 0xfffe : limit > 1 ? limit & ~1u : 2;
    d->tf.reg[IDE_COUNT][0] = ATAPI_CD;
    ide_data(d, false, 0, sizeof d->packet, packet_received);
}

static void identify_done(struct ide_drive *d)
{
    d->status = ATA_DRDY | ATA_DSC;
}

static void identify_packet(struct ide_drive *d)
{
    u8 *p = clear_buffer(d, IDE_SECTOR), mode = d->transfer_mode, sum = 0;
    char serial[21];
    ide_put16(p, 0, 0x85c0);        /* ATAPI, CD-ROM, removable, DRQ soon after PACKET, 12-byte packets */
    snprintf(serial, sizeof serial, "SH%05u", d->channel->index * 2 + d->index + 1);
    ide_identify_string(p + 20, serial, 20);
    ide_identify_string(p + 46, "0.1", 8);
    ide_identify_string(p + 54, "SHADOW86 DVD-ROM", 40);
    ide_put16(p, 49, 0x0f00);       /* IORDY, LBA, DMA */
    ide_put16(p, 50, 0x4000);
    ide_put16(p, 51, 0x0200);
    ide_put16(p, 53, 0x0006);
    ide_put16(p, 63, (u16)(0x0007 | (mode >= 0x20 && mode <= 0x22 ? 0x100 << (mode & 3) : 0)));
    ide_put16(p, 64, 0x0003);
    for (unsigned w = 65; w <= 68; w++)
        ide_put16(p, w, 120);
    ide_put16(p, 80, 0x0070);
    ide_put16(p, 82, 0x4218);       /* NOP, DEVICE RESET, PACKET, power management */
    ide_put16(p, 83, 0x4000);
    ide_put16(p, 84, 0x4000);
    ide_put16(p, 85, 0x4218);
    ide_put16(p, 87, 0x4000);
    ide_put16(p, 88, (u16)(0x003f | (mode >= 0x40 && mode <= 0x45 ? 0x100 << (mode & 7) : 0)));
    ide_put16(p, 93, d->index ? 0x6b00 : 0x600b);
    p[510] = 0xa5;
    for (unsigned i = 0; i < 511; i++)
        sum += p[i];
    p[511] = (u8)-sum;
    ide_data(d, true, 0, IDE_SECTOR, identify_done);
    ide_raise(d);
}

/* Commands of disks leave the signature, so that the host knows what it is talking to. */
static void not_a_disk(struct ide_drive *d)
{
    ide_signature(d);
    ide_abort(d);
}

void atapi_command(struct ide_drive *d)
{
    switch (d->command) {
    case 0xa0: packet(d); break;
    case 0xa1: identify_packet(d); break;
    case 0x20: case 0xec: not_a_disk(d); break;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe5: case 0xe6: ide_power(d); break;
    case 0xef: ide_set_features(d); break;
    default: ide_abort(d); break;
    }
}

/* -------------------------------------------------------------------------------------- life ----- */

void atapi_medium_changed(struct ide_drive *d, struct block *medium)
{
    if (d->block)
        block_close(d->block);
    d->block = medium;
    d->sectors = medium ? block_size(medium) / IDE_CD_SECTOR : 0;
    d->tray_open = !medium;
    d->media_event = medium ? EVENT_NEW : EVENT_REMOVED;
    d->unit_attention = medium ? ASC_MEDIUM_CHANGED : 0;
    if (!medium)
        d->locked = false;
}

void atapi_init(struct ide_drive *d)
{
    d->sectors = d->block ? block_size(d->block) / IDE_CD_SECTOR : 0;
}

void atapi_reset(struct ide_drive *d, bool hard)
{
    d->sleeping = false;
    d->power = 0xff;
    set_sense(d, KEY_NONE, 0, 0);
    if (!hard)
        return;
    d->transfer_mode = 0x22;
    d->write_cache = true;          /* nothing to flush */
    d->locked = false;
    d->tray_open = false;
    d->media_event = EVENT_NONE;
    d->unit_attention = ASC_RESET;
    mode_page(d, 0x01, d->mode_error, 2);
    mode_page(d, 0x0e, d->mode_audio, 2);
}
