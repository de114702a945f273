/* ide.c - the PIIX3's IDE function: ports, drive selection, interrupts, resets, and the clockwork of commands.
 *
 * Both drives of a cable latch what is written to the command block, the selected one answers reads. A command sets BSY and runs in
 * steps from the channel's timer a few microseconds later, so that the guest sees BSY, DRQ and the interrupt in the order of
 * real drives; a guest that polls the status does not have to wait for the timer's thread. Resets cancel the pending step.
 * The compatibility ports are decoded when the command register (I/O space) and the IDE timing register (bit 15) say so.
 * ATA/ATAPI-6, chapters 7 and 9; 82371SB (PIIX3) data sheet, function 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/ide.h"

enum { IDETIM = 0x40, SIDETIM = 0x44, IDETIM_DECODE_HIGH = 0x80 /* bit 15, in the high byte */ };
enum { STEP_NS = 2000, RESET_NS = 20000 };
enum { CMD_DEVICE_RESET = 0x08, CMD_DIAGNOSTIC = 0x90 };

static struct ide_drive *selected(struct ide_channel *c)
{
    return &c->drive[c->selected];
}

/* ------------------------------------------------------------------------------ clockwork ----- */

static void update_line(struct ide_channel *c)
{
    bool level = selected(c)->present && selected(c)->intrq && !(c->control & ATA_NIEN);
    if (level == c->line)
        return;
    c->line = level;
    if (level)
        bmdma_interrupt(c);
    irq_set(c->ide->irq[c->index], level);
}

void ide_raise(struct ide_drive *d)
{
    d->intrq = true;
    update_line(d->channel);
}

static void lower(struct ide_drive *d)
{
    d->intrq = false;
    update_line(d->channel);
}

void ide_later(struct ide_drive *d, ide_step *step, u64 ns)
{
    struct ide_channel *c = d->channel;
    d->status = (u8)((d->status & ~ATA_DRQ) | ATA_BSY);
    d->pending = step;
    c->busy = d;
    timer_set(&c->timer, clock_now(c->ide->pci.dev.clock) + ns);
}

/* The drive forgets what it was doing. */
static void cancel(struct ide_drive *d)
{
    struct ide_channel *c = d->channel;
    if (c->busy == d) {
        c->busy = NULL;
        timer_cancel(&c->timer);
    }
    d->pending = d->data_done = d->dma_run = NULL;
    d->dma_wanted = false;
    d->pos = d->end = 0;
    d->status &= (u8)~(ATA_BSY | ATA_DRQ);
}

void ide_finish(struct ide_drive *d)
{
    d->status = (u8)((d->status & ~(ATA_BSY | ATA_DRQ | ATA_ERR | ATA_DF)) | ATA_DRDY | ATA_DSC);
    ide_raise(d);
}

void ide_fail(struct ide_drive *d, u8 error)
{
    d->error = error;
    d->status = (u8)((d->status & ~(ATA_BSY | ATA_DRQ)) | ATA_DRDY | ATA_DSC | ATA_ERR);
    ide_raise(d);
}

void ide_abort(struct ide_drive *d)
{
    ide_fail(d, ATA_ABRT);
}

void ide_data(struct ide_drive *d, bool to_host, u32 from, u32 to, ide_step *done)
{
    assert(from < to && to <= IDE_BUFFER);
    d->data_in = to_host;
    d->pos = from;
    d->end = to;
    d->data_done = done;
    d->status = (u8)((d->status & ~ATA_BSY) | ATA_DRQ);
}

void ide_dma_request(struct ide_drive *d, bool to_memory, ide_step *run)
{
    d->dma_wanted = true;
    d->dma_to_memory = to_memory;
    d->dma_run = run;
    d->status = (u8)((d->status & ~ATA_DRQ) | ATA_BSY);
    if (bmdma_started(d->channel))
        ide_dma_started(d->channel);
}

void ide_dma_started(struct ide_channel *c)
{
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        if (d->dma_wanted && !c->busy)
            ide_later(d, d->dma_run, STEP_NS);
    }
}

bool ide_dma_move(struct ide_drive *d, bool to_memory, ide_step *run)
{
    d->pos += bmdma_transfer(d->channel, d->buffer + d->pos, d->end - d->pos, to_memory);
    d->dma_wanted = d->pos < d->end;
    d->dma_run = run;
    return !d->dma_wanted;
}

/* --------------------------------------------------------------------------------- resets ----- */

/* What a drive leaves in its registers after a reset, a diagnostic, or a command that it does not know (ATA/ATAPI-6 9.12). */
void ide_signature(struct ide_drive *d)
{
    static const u8 disk[6] = { 0, 0, 1, 1, 0, 0 }, cd[6] = { 0, 0, 1, 1, 0x14, 0xeb };
    for (unsigned i = IDE_COUNT; i <= IDE_LBA_HIGH; i++) {
        d->tf.reg[i][0] = d->cdrom ? cd[i] : disk[i];
        d->tf.reg[i][1] = 0;
    }
    d->tf.device = d->cdrom ? d->tf.device & ATA_DEV : 0;
}

/* Both drives are through with SRST, RESET- or EXECUTE DEVICE DIAGNOSTIC: no error (01h), CD drives not yet ready. */
static void post_diagnostic(struct ide_channel *c)
{
    c->selected = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        ide_signature(d);
        d->tf.device = 0;
        d->error = 0x01;
        d->status = d->cdrom ? 0 : ATA_DRDY | ATA_DSC;
    }
}

static void reset_drives(struct ide_channel *c, bool hard)
{
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        cancel(d);
        d->intrq = false;
        d->status = ATA_BSY;
        if (d->cdrom)
            atapi_reset(d, hard);
        else
            ata_reset(d, hard);
    }
    c->selected = 0;
    update_line(c);
}

static void diagnostic_done(struct ide_channel *c)
{
    c->reset_pending = false;
    post_diagnostic(c);
}

/* EXECUTE DEVICE DIAGNOSTIC: drive 0 interrupts for both. */
static void diagnostic_step(struct ide_drive *d)
{
    post_diagnostic(d->channel);
    ide_raise(&d->channel->drive[0]);
}

static void execute_diagnostic(struct ide_channel *c)
{
    for (unsigned i = 0; i < 2; i++) {
        cancel(&c->drive[i]);
        c->drive[i].intrq = false;
        c->drive[i].status = ATA_BSY;
    }
    update_line(c);
    ide_later(&c->drive[0], diagnostic_step, RESET_NS);
}

static void write_control(struct ide_channel *c, u8 value)
{
    u8 before = c->control;
    c->control = value & (ATA_NIEN | ATA_SRST | ATA_HOB);
    if (value & ~before & ATA_SRST) {
        c->reset_pending = false;
        timer_cancel(&c->timer);
        reset_drives(c, false);
    } else if (before & ~value & ATA_SRST) {
        c->reset_pending = true;
        timer_set(&c->timer, clock_now(c->ide->pci.dev.clock) + RESET_NS);
    }
    update_line(c);
}

/* ------------------------------------------------------------------------ the command block ----- */

static void timer_fired(void *ctx)
{
    struct ide_channel *c = ctx;
    struct ide_drive *d = c->busy;
    if (c->reset_pending) {
        diagnostic_done(c);
        return;
    }
    if (!d)
        return;
    ide_step *step = d->pending;
    c->busy = NULL;
    d->pending = NULL;
    step(d);
}

void ide_catch_up(struct ide_channel *c)
{
    if (timer_armed(&c->timer) && clock_now(c->ide->pci.dev.clock) >= c->timer.deadline) {
        timer_cancel(&c->timer);
        timer_fired(c);
    }
}

/* DEVICE RESET (CD drives only) works even while BSY: ATA/ATAPI-6 8.10. */
static void device_reset(struct ide_drive *d)
{
    u8 device = d->tf.device & ATA_DEV;
    cancel(d);
    lower(d);
    atapi_reset(d, false);
    ide_signature(d);
    d->tf.device = device;
    d->error = 0x01;
    d->status = 0;
}

static void write_command(struct ide_channel *c, u8 command)
{
    struct ide_drive *d = selected(c);
    if (!c->drive[0].present && !c->drive[1].present)
        return;
    if (command == CMD_DEVICE_RESET && d->present && d->cdrom) {
        device_reset(d);
        return;
    }
    if (c->reset_pending || c->control & ATA_SRST || d->status & ATA_BSY)
        return;
    if (command == CMD_DIAGNOSTIC) {
        execute_diagnostic(c);
        return;
    }
    if (!d->present || d->sleeping)
        return;
    cancel(d);
    lower(d);
    d->status &= (u8)~(ATA_ERR | ATA_DF);
    d->error = 0;
    d->command = command;
    ide_later(d, d->cdrom ? atapi_command : ata_command, STEP_NS);
}

static void write_register(struct ide_channel *c, u32 reg, u8 value)
{
    if (reg == IDE_STATUS) {
        write_command(c, value);
        return;
    }
    if (c->reset_pending || selected(c)->status & ATA_BSY)
        return;         /* the drive's processor does not look */
    for (unsigned i = 0; i < 2; i++) {
        struct ide_taskfile *tf = &c->drive[i].tf;
        if (reg == IDE_DEVICE) {
            tf->device = value;
        } else {
            tf->reg[reg][1] = tf->reg[reg][0];
            tf->reg[reg][0] = value;
        }
    }
    if (reg == IDE_DEVICE) {
        c->selected = !!(value & ATA_DEV);
        update_line(c);
    }
    c->control &= (u8)~ATA_HOB;     /* ATA/ATAPI-6 7.8: a write to the command block clears HOB */
}

/* The drive that answers, or NULL. Drive 0 answers for a missing drive 1, with status 0. */
static struct ide_drive *answering(struct ide_channel *c)
{
    if (selected(c)->present)
        return selected(c);
    return c->selected && c->drive[0].present ? &c->drive[0] : NULL;
}

static u8 read_status(struct ide_channel *c)
{
    ide_catch_up(c);
    return selected(c)->present ? selected(c)->status : 0;
}

static u8 read_register(struct ide_channel *c, u32 reg)
{
    struct ide_drive *d = answering(c);
    if (reg == IDE_STATUS) {
        u8 status = read_status(c);
        if (selected(c)->present)
            lower(selected(c));
        return status;
    }
    if (!d)
        return 0;       /* an empty cable reads as zero: BSY pulled down, nobody ready */
    ide_catch_up(c);
    switch (reg) {
    case IDE_FEATURES: return d->error;
    case IDE_DEVICE: return (u8)((d->tf.device & ~ATA_DEV) | 0xa0 | (c->selected ? ATA_DEV : 0));
    default: return d->tf.reg[reg][c->control & ATA_HOB ? 1 : 0];
    }
}

/* ------------------------------------------------------------------------------- data port ----- */

static void data_moved(struct ide_drive *d)
{
    ide_step *done = d->data_done;
    if (d->pos < d->end)
        return;
    d->status &= (u8)~ATA_DRQ;
    d->data_done = NULL;
    if (done)
        done(d);
}

static u16 read_data(struct ide_channel *c)
{
    struct ide_drive *d = selected(c);
    if (!d->present || !(d->status & ATA_DRQ) || !d->data_in || d->pos >= d->end)
        return 0xffff;
    u16 v = d->buffer[d->pos];
    v |= (u16)((d->pos + 1 < IDE_BUFFER ? d->buffer[d->pos + 1] : 0) << 8);
    d->pos += 2;
    data_moved(d);
    return v;
}

static void write_data(struct ide_channel *c, u16 value)
{
    struct ide_drive *d = selected(c);
    if (!d->present || !(d->status & ATA_DRQ) || d->data_in || d->pos >= d->end)
        return;
    d->buffer[d->pos] = (u8)value;
    if (d->pos + 1 < IDE_BUFFER)
        d->buffer[d->pos + 1] = (u8)(value >> 8);
    d->pos += 2;
    data_moved(d);
}

/* --------------------------------------------------------------------------------- ranges ----- */

static bool decodes(const struct ide *ide, unsigned channel)
{
    return (ide->pci.config[0x04] & 1) && (ide->pci.config[IDETIM + channel * 2 + 1] & IDETIM_DECODE_HIGH);
}

static u32 command_read(struct ide_channel *c, u32 reg, unsigned bytes)
{
    u32 value = 0;
    if (reg == IDE_DATA && bytes >= 2) {
        value = read_data(c);
        return bytes == 4 ? value | (u32)read_data(c) << 16 : value;
    }
    for (unsigned i = 0; i < bytes; i++)
        value |= (u32)(reg + i == IDE_DATA ? read_data(c) & 0xff : read_register(c, reg + i)) << i * 8;
    return value;
}

static void command_write(struct ide_channel *c, u32 reg, unsigned bytes, u32 value)
{
    if (reg == IDE_DATA) {      /* the data port is 16 bits wide; a byte goes out with an empty high half */
        write_data(c, (u16)(bytes == 1 ? value & 0xff : value));
        if (bytes == 4)
            write_data(c, (u16)(value >> 16));
        return;
    }
    for (unsigned i = 0; i < bytes; i++)
        write_register(c, reg + i, (u8)(value >> i * 8));
}

static u32 ide_read(struct device *dev, unsigned region, u32 reg, unsigned bytes)
{
    struct ide *ide = (struct ide *)dev;
    if (region == IDE_REGION_BMDMA)
        return bmdma_read(ide, reg, bytes);
    unsigned n = region >= IDE_REGION_COMMAND1;
    if (!decodes(ide, n))
        return ~0u;
    if (region == IDE_REGION_COMMAND0 || region == IDE_REGION_COMMAND1)
        return command_read(&ide->channel[n], reg, bytes);
    return read_status(&ide->channel[n]);
}

static void ide_write(struct device *dev, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct ide *ide = (struct ide *)dev;
    if (region == IDE_REGION_BMDMA) {
        bmdma_write(ide, reg, bytes, value);
        return;
    }
    unsigned n = region >= IDE_REGION_COMMAND1;
    if (!decodes(ide, n))
        return;
    ide_catch_up(&ide->channel[n]);
    if (region == IDE_REGION_COMMAND0 || region == IDE_REGION_COMMAND1)
        command_write(&ide->channel[n], reg, bytes, value);
    else
        write_control(&ide->channel[n], (u8)value);
}

/* ----------------------------------------------------------------------- shared by drives ----- */

/* IDENTIFY strings have the first character of a pair in the high byte. */
void ide_identify_string(u8 *p, const char *text, unsigned bytes)
{
    size_t n = strlen(text);
    for (unsigned i = 0; i < bytes; i++)
        p[i ^ 1] = i < n ? (u8)text[i] : ' ';
}

static bool valid_transfer_mode(u8 mode)
{
    return mode <= 0x01 || (mode >= 0x08 && mode <= 0x0c) || (mode >= 0x20 && mode <= 0x22) || (mode >= 0x40 && mode <= 0x45);
}

void ide_set_features(struct ide_drive *d)
{
    u8 value = d->tf.reg[IDE_COUNT][0];
    switch (d->tf.reg[IDE_FEATURES][0]) {
    case 0x02: case 0x82: d->write_cache = d->tf.reg[IDE_FEATURES][0] == 0x02; break;
    case 0x55: case 0xaa: d->read_ahead = d->tf.reg[IDE_FEATURES][0] == 0xaa; break;
    case 0x66: case 0xcc: d->revert_defaults = d->tf.reg[IDE_FEATURES][0] == 0xcc; break;
    case 0x05: d->apm = value; break;
    case 0x85: d->apm = 0; break;
    case 0x03:
        if (!valid_transfer_mode(value)) {
            ide_abort(d);
            return;
        }
        if (value >= 0x20)
            d->transfer_mode = value;
        break;
    default:
        ide_abort(d);
        return;
    }
    if (!d->write_cache && d->block && !block_flush(d->block)) {
        ide_abort(d);
        return;
    }
    ide_finish(d);
}

void ide_power(struct ide_drive *d)
{
    u8 op = d->command & 0x0f;
    if (d->command < 0xe0)      /* 94h-99h are the old names of e0-e6, without e4 */
        op = op < 8 ? op - 4 : op - 3;
    switch (op) {
    case 0: case 2: d->power = 0x00; break;
    case 1: case 3: d->power = 0x80; break;
    case 5: d->tf.reg[IDE_COUNT][0] = d->power; break;
    case 6: d->sleeping = true; break;
    }
    if (op != 5 && op != 1 && op != 3 && d->block && !block_flush(d->block)) {     /* the cache goes out before the motor stops */
        ide_abort(d);
        return;
    }
    ide_finish(d);
}

/* ----------------------------------------------------------------------------------- life ----- */

bool ide_disk_geometry(const struct ide *ide, unsigned unit, struct ide_geometry *g)
{
    const struct ide_drive *d = &ide->channel[unit / 2 & 1].drive[unit & 1];
    if (unit >= 4 || !d->present || d->cdrom)
        return false;
    *g = d->geometry;
    return true;
}

struct block *ide_medium(const struct ide *ide, unsigned unit)
{
    return unit < 4 ? ide->channel[unit / 2].drive[unit & 1].block : NULL;
}

bool ide_change_cd(struct ide *ide, unsigned unit, struct block *medium, bool force, char *err, size_t errlen)
{
    struct ide_drive *d = &ide->channel[unit / 2 & 1].drive[unit & 1];
    if (unit >= 4 || !d->present || !d->cdrom) {
        snprintf(err, errlen, "IDE unit %u is no CD drive", unit);
        return false;
    }
    if (d->locked && !d->tray_open && d->block && !force) {
        d->media_event = 1;         /* the guest may unlock and eject it now */
        snprintf(err, errlen, "the guest has locked the tray of this CD drive (force the eject, or unmount it there)");
        return false;
    }
    atapi_medium_changed(d, medium);
    return true;
}

static void ide_reset(struct device *dev)
{
    struct ide *ide = (struct ide *)dev;
    pci_reset(&ide->pci);
    memset(ide->pci.config + IDETIM, 0, 8);
    for (unsigned i = 0; i < 2; i++) {
        struct ide_channel *c = &ide->channel[i];
        timer_cancel(&c->timer);
        c->busy = NULL;
        c->reset_pending = false;
        c->control = 0;
        bmdma_reset(c);
        reset_drives(c, true);
        post_diagnostic(c);
    }
}

static bool attach(struct ide *ide, unsigned unit, char *err, size_t errlen)
{
    struct ide_drive *d = &ide->channel[unit / 2].drive[unit & 1];
    struct ide_unit *u = &ide->unit[unit];
    d->channel = &ide->channel[unit / 2];
    d->index = unit & 1;
    d->present = u->present;
    d->cdrom = u->present && u->cdrom;
    d->block = u->block;
    if (!d->present)
        return true;
    d->buffer = calloc(1, IDE_BUFFER);
    if (!d->buffer) {
        snprintf(err, errlen, "IDE: out of memory");
        return false;
    }
    if (d->cdrom) {
        atapi_init(d);
        return true;
    }
    return ata_init(d, err, errlen);
}

static bool ide_init(struct device *dev, char *err, size_t errlen)
{
    struct ide *ide = (struct ide *)dev;
    pci_init(&ide->pci, 0x8086, 0x7010, 0x010180 /* compatibility mode, bus master */, 0);
    pci_set_bar(&ide->pci, IDE_REGION_BMDMA, PCI_BAR_IO, 16);
    memset(ide->pci.wmask + IDETIM, 0xff, 5);
    ide->pci.config[0x06] = 0x80;       /* status: fast back-to-back, medium DEVSEL# */
    ide->pci.config[0x07] = 0x02;
    bool ok = true;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_channel *c = &ide->channel[i];
        c->ide = ide;
        c->index = i;
        timer_init(&c->timer, dev->clock, timer_fired, c);
        ok = ok && attach(ide, i * 2, err, errlen) && attach(ide, i * 2 + 1, err, errlen);
    }
    if (ok)
        ide_reset(dev);
    return ok;
}

static void ide_fini(struct device *dev)
{
    struct ide *ide = (struct ide *)dev;
    for (unsigned i = 0; i < 2; i++) {
        if (ide->channel[i].ide)
            timer_cancel(&ide->channel[i].timer);
        for (unsigned n = 0; n < 2; n++) {
            struct ide_drive *d = &ide->channel[i].drive[n];
            /* Before init took them over, the blocks are still in unit[]. */
            block_close(d->channel ? d->block : ide->unit[i * 2 + n].block);
            free(d->buffer);
            d->block = NULL;
            d->buffer = NULL;
            ide->unit[i * 2 + n].block = NULL;
        }
    }
}

static void ide_print(struct device *dev, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct ide *ide = (struct ide *)dev;
    for (unsigned unit = 0; unit < 4; unit++) {
        const struct ide_drive *d = &ide->channel[unit / 2].drive[unit & 1];
        char line[512];
        if (!d->present)
            continue;
        snprintf(line, sizeof line, "%s %s: %s, %s%s, status %02x error %02x command %02x", unit / 2 ? "secondary" : "primary",
            unit & 1 ? "slave" : "master", d->cdrom ? "CD" : "disk", d->block ? block_file(d->block) : "no medium",
            d->tray_open ? ", tray open" : d->locked ? ", locked" : "", d->status, d->error, d->command);
        out(line, ctx);
    }
}

const struct device_class ide_class = { .name = "piix3-ide", .size = sizeof(struct ide), .init = ide_init, .reset = ide_reset,
    .fini = ide_fini, .read = ide_read, .write = ide_write, .print = ide_print };
