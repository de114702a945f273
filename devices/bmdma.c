/* bmdma.c - the bus master of each IDE channel. Programming Interface for Bus Master IDE Controller, revision 1.0 (SFF-8038i).
 *
 * Eight bytes of registers per channel: command, status, physical region descriptor table. An entry is a 32-bit address, a
 * 16-bit byte count (even; 0 is 64 KiB) and, in bit 63, the mark of the last entry. When the table ends, Active goes off; when the drive
 * is done before the table ends, Active stays on until the guest stops the channel. A table that is too short leaves the
 * drive waiting, as on real hardware. Every entry moves at least two bytes, so that no table makes us run forever.
 */
#include "devices/ide.h"

enum { CMD_START = 0x01, CMD_TO_MEMORY = 0x08 };
enum { ST_ACTIVE = 0x01, ST_ERROR = 0x02, ST_INTERRUPT = 0x04, ST_CAPABLE = 0x60 };

void bmdma_reset(struct ide_channel *c)
{
    c->bm = (struct ide_bmdma) { 0 };
}

void bmdma_interrupt(struct ide_channel *c)
{
    c->bm.status |= ST_INTERRUPT;
}

bool bmdma_started(const struct ide_channel *c)
{
    return (c->bm.status & ST_ACTIVE) && pci_bus_master(&c->ide->pci);
}

static void load_entry(struct ide_channel *c)
{
    struct ide_bmdma *b = &c->bm;
    u8 e[8];
    pci_dma_read(&c->ide->pci, b->next, e, sizeof e);
    b->address = (u32)e[0] | (u32)e[1] << 8 | (u32)e[2] << 16 | (u32)e[3] << 24;
    b->address &= ~1u;
    b->count = (e[4] | (u32)e[5] << 8) & 0xfffe;
    if (!b->count)
        b->count = 0x10000;
    b->last = e[7] & 0x80;
    b->next = (b->next & 0xffff0000) | ((b->next + 8) & 0xffff);    /* the table does not cross 64 KiB */
}

static void end_of_table(struct ide_bmdma *b)
{
    if (!b->count && b->last)
        b->status &= (u8)~ST_ACTIVE;
}

u32 bmdma_transfer(struct ide_channel *c, void *buf, u32 bytes, bool to_memory)
{
    struct ide_bmdma *b = &c->bm;
    u32 done = 0;
    if (to_memory != !!(b->command & CMD_TO_MEMORY))    /* the drive and the bus master wait for each other */
        return 0;
    while (done < bytes && bmdma_started(c)) {
        if (!b->count)
            load_entry(c);
        u32 n = b->count < bytes - done ? b->count : bytes - done;
        if (to_memory)
            pci_dma_write(&c->ide->pci, b->address, (u8 *)buf + done, n);
        else
            pci_dma_read(&c->ide->pci, b->address, (u8 *)buf + done, n);
        b->address += n;
        b->count -= n;
        done += n;
        end_of_table(b);
    }
    return done;
}

static u8 read_byte(struct ide_channel *c, u32 reg)
{
    ide_catch_up(c);
    switch (reg) {
    case 0: return c->bm.command;
    case 2: return c->bm.status;
    case 4: case 5: case 6: case 7: return (u8)(c->bm.table >> (reg - 4) * 8);
    default: return 0;
    }
}

static void write_command(struct ide_channel *c, u8 value)
{
    struct ide_bmdma *b = &c->bm;
    u8 before = b->command;
    b->command = value & (CMD_START | CMD_TO_MEMORY);
    if (!(value & CMD_START)) {
        b->status &= (u8)~ST_ACTIVE;        /* what it was doing is lost */
        b->count = 0;
    } else if (!(before & CMD_START)) {
        b->status |= ST_ACTIVE;
        b->next = b->table;
        b->count = 0;
        b->last = false;
    }
    if (bmdma_started(c))
        ide_dma_started(c);
}

static void write_byte(struct ide_channel *c, u32 reg, u8 value)
{
    struct ide_bmdma *b = &c->bm;
    switch (reg) {
    case 0:
        write_command(c, value);
        break;
    case 2:         /* error and interrupt are cleared by writing one, "drive capable" is plain storage */
        b->status = (u8)((b->status & ~ST_CAPABLE & ~(value & (ST_ERROR | ST_INTERRUPT))) | (value & ST_CAPABLE));
        break;
    case 4: case 5: case 6: case 7:
        b->table = (b->table & ~(0xffu << (reg - 4) * 8)) | (u32)value << (reg - 4) * 8;
        b->table &= ~3u;
        break;
    }
}

u32 bmdma_read(struct ide *ide, u32 reg, unsigned bytes)
{
    u32 value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (u32)read_byte(&ide->channel[(reg + i) >> 3 & 1], (reg + i) & 7) << i * 8;
    return value;
}

void bmdma_write(struct ide *ide, u32 reg, unsigned bytes, u32 value)
{
    for (unsigned i = 0; i < bytes; i++)
        write_byte(&ide->channel[(reg + i) >> 3 & 1], (reg + i) & 7, (u8)(value >> i * 8));
}
