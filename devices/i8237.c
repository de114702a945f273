/* i8237.c - the DMA controllers: see i8237.h. Intel 8237A data sheet; ISA wiring as in the PC/AT.
 *
 * The addresses that the controllers put on the bus are 16 bits, the page registers supply the rest: A16-A23 for byte
 * channels, A17-A23 for word channels (whose address register counts words). A transfer never carries into the page.
 * Memory-to-memory transfers do not work in a PC (channel 0's page register serves refresh) and are left out, and so are
 * the signals' active levels and timing bits of the command register.
 */
#include <stdio.h>
#include <string.h>

#include "devices/i8237.h"

enum { CMD_DISABLE = 0x04 };
enum { MODE_TRANSFER = 0x0c, MODE_VERIFY = 0x00, MODE_WRITE = 0x04, MODE_READ = 0x08, MODE_AUTO = 0x10, MODE_DOWN = 0x20,
    MODE_SERVICE = 0xc0, MODE_BLOCK = 0x80, MODE_CASCADE = 0xc0 };

/* Page register (port - 80h) of each channel; 4 is the cascade, its register (8fh) is used for refresh. */
static const u8 page_of[8] = { 0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa };

static bool chip_can_run(const struct i8237_chip *c, unsigned n)
{
    return !(c->command & CMD_DISABLE) && !(c->mask >> n & 1) && (c->channel[n].mode & MODE_SERVICE) != MODE_CASCADE;
}

/* Channels 0-3 also need the way through channel 4, which has to be in cascade mode. */
bool i8237_can_run(const struct i8237 *d, unsigned channel)
{
    const struct i8237_chip *upper = &d->chip[1];
    if (channel >= 4)
        return channel != 4 && channel < 8 && chip_can_run(upper, channel - 4);
    bool cascade = !(upper->command & CMD_DISABLE) && !(upper->mask & 1) &&
        (upper->channel[0].mode & MODE_SERVICE) == MODE_CASCADE;
    return cascade && chip_can_run(&d->chip[0], channel);
}

static gpa channel_address(const struct i8237 *d, unsigned channel)
{
    u16 address = d->chip[channel / 4].channel[channel % 4].address;
    u32 page = d->page[page_of[channel]];
    return channel < 4 ? page << 16 | address : (page & 0xfe) << 16 | (u32)address << 1;
}

/* One transfer done. Terminal count is the wrap of the count from 0 to ffff. */
static bool advance(struct i8237_chip *c, unsigned n)
{
    struct i8237_channel *ch = &c->channel[n];
    ch->address = (u16)(ch->mode & MODE_DOWN ? ch->address - 1 : ch->address + 1);
    if (ch->count--)
        return false;
    c->status |= (u8)(1 << n);
    c->request &= (u8)~(1 << n);
    if (ch->mode & MODE_AUTO) {
        ch->address = ch->base_address;
        ch->count = ch->base_count;
    } else {
        c->mask |= (u8)(1 << n);
    }
    return true;
}

/* The run of transfers that is contiguous in memory (upwards, no wrap of the address, up to terminal count). */
static unsigned contiguous(const struct i8237_channel *ch, unsigned units)
{
    unsigned n = (unsigned)ch->count + 1;
    if (ch->mode & MODE_DOWN)
        n = 1;
    if (n > 0x10000u - ch->address)
        n = 0x10000u - ch->address;
    return n < units ? n : units;
}

static void move(struct i8237 *d, unsigned channel, enum i8237_direction dir, u8 *buf, unsigned bytes)
{
    u8 kind = d->chip[channel / 4].channel[channel % 4].mode & MODE_TRANSFER;
    struct physmap *memory = bus_physmap(d->dev.bus);
    if (kind == MODE_WRITE && dir == I8237_TO_MEMORY)
        physmap_write(memory, channel_address(d, channel), buf, bytes);
    else if (kind == MODE_READ && dir == I8237_FROM_MEMORY)
        physmap_read(memory, channel_address(d, channel), buf, bytes);
    else if (dir == I8237_FROM_MEMORY)      /* verify, or the wrong way round: nobody drives the bus */
        memset(buf, 0xff, bytes);
}

unsigned i8237_transfer(struct i8237 *d, unsigned channel, enum i8237_direction dir, void *buf, unsigned bytes, bool *tc)
{
    unsigned unit = channel < 4 ? 1 : 2, done = 0;
    *tc = false;
    while (bytes - done >= unit && !*tc && i8237_can_run(d, channel)) {
        struct i8237_chip *c = &d->chip[channel / 4];
        unsigned n = contiguous(&c->channel[channel % 4], (bytes - done) / unit);
        move(d, channel, dir, (u8 *)buf + done, n * unit);
        done += n * unit;
        while (n--)
            *tc = advance(c, channel % 4);
    }
    return done;
}

/* A software request makes a channel without a device run to its terminal count (block mode): reads go nowhere, writes
 * store what the floating bus says. */
static void software_request(struct i8237 *d, unsigned channel)
{
    u8 ones[256];
    bool tc = false;
    enum i8237_direction dir = (d->chip[channel / 4].channel[channel % 4].mode & MODE_TRANSFER) == MODE_READ ?
        I8237_FROM_MEMORY : I8237_TO_MEMORY;
    for (unsigned i = 0; i < 0x20000 / sizeof ones && !tc; i++) {
        memset(ones, 0xff, sizeof ones);
        if (!i8237_transfer(d, channel, dir, ones, sizeof ones, &tc))
            break;
    }
}

/* Serves what can run, the lowest channel first. Called after each change of a line or register. */
static void serve(struct i8237 *d)
{
    if (d->in_service)
        return;
    d->in_service = true;
    for (unsigned n = 0; n < 8; n++) {
        struct i8237_chip *c = &d->chip[n / 4];
        struct i8237_channel *ch = &c->channel[n % 4];
        if ((c->dreq >> (n % 4) & 1) && ch->granted && i8237_can_run(d, n))
            ch->granted(ch->ctx);
        else if ((c->request >> (n % 4) & 1) && (ch->mode & MODE_SERVICE) == MODE_BLOCK && i8237_can_run(d, n))
            software_request(d, n);
    }
    d->in_service = false;
}

void i8237_attach(struct i8237 *d, unsigned channel, void (*granted)(void *ctx), void *ctx)
{
    assert(channel < 8 && channel != 4);
    d->chip[channel / 4].channel[channel % 4].granted = granted;
    d->chip[channel / 4].channel[channel % 4].ctx = ctx;
}

void i8237_dreq(struct i8237 *d, unsigned channel, bool level)
{
    struct i8237_chip *c = &d->chip[channel / 4];
    u8 bit = (u8)(1 << (channel % 4));
    c->dreq = level ? c->dreq | bit : c->dreq & (u8)~bit;
    if (level)
        serve(d);
}

static void master_clear(struct i8237_chip *c)
{
    c->command = c->status = c->request = c->temporary = 0;
    c->mask = 0x0f;
    c->flip_flop = false;
}

static u8 read_half(struct i8237_chip *c, u16 value)
{
    c->flip_flop = !c->flip_flop;
    return (u8)(c->flip_flop ? value : value >> 8);
}

static void write_half(struct i8237_chip *c, u16 *base, u16 *current, u8 v)
{
    *base = (u16)(c->flip_flop ? (*base & 0x00ff) | v << 8 : (*base & 0xff00) | v);
    *current = *base;
    c->flip_flop = !c->flip_flop;
}

static u8 read_chip(struct i8237_chip *c, unsigned reg)
{
    if (reg < 8)
        return read_half(c, reg & 1 ? c->channel[reg / 2].count : c->channel[reg / 2].address);
    switch (reg) {
    case 8: {       /* reading the status clears its terminal counts */
        u8 v = (u8)(c->status | (c->dreq | c->request) << 4);
        c->status = 0;
        return v;
    }
    case 13: return c->temporary;
    case 15: return (u8)(c->mask | 0xf0);       /* 82371SB: the mask can be read here */
    default: return 0xff;
    }
}

static void write_chip(struct i8237_chip *c, unsigned reg, u8 v)
{
    u8 bit = (u8)(1 << (v & 3));
    if (reg < 8) {
        struct i8237_channel *ch = &c->channel[reg / 2];
        write_half(c, reg & 1 ? &ch->base_count : &ch->base_address, reg & 1 ? &ch->count : &ch->address, v);
        return;
    }
    switch (reg) {
    case 8: c->command = v; break;
    case 9: c->request = v & 4 ? c->request | bit : c->request & (u8)~bit; break;
    case 10: c->mask = v & 4 ? c->mask | bit : c->mask & (u8)~bit; break;
    case 11: c->channel[v & 3].mode = v & 0xfc; break;
    case 12: c->flip_flop = false; break;
    case 13: master_clear(c); break;
    case 14: c->mask = 0; break;
    case 15: c->mask = v & 0x0f; break;
    }
}

static u32 i8237_read(struct device *dev, unsigned region, u32 reg, unsigned bytes)
{
    struct i8237 *d = (struct i8237 *)dev;
    switch (region) {
    case I8237_REGION_LOW: return read_chip(&d->chip[0], reg & 15);
    case I8237_REGION_HIGH: return read_chip(&d->chip[1], reg >> 1 & 15);
    default: return d->page[reg & 15];
    }
}

static void i8237_write(struct device *dev, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct i8237 *d = (struct i8237 *)dev;
    if (region == I8237_REGION_PAGE) {
        d->page[reg & 15] = (u8)value;
        return;
    }
    if (region == I8237_REGION_LOW)
        write_chip(&d->chip[0], reg & 15, (u8)value);
    else
        write_chip(&d->chip[1], reg >> 1 & 15, (u8)value);
    serve(d);
}

static void i8237_reset(struct device *dev)
{
    struct i8237 *d = (struct i8237 *)dev;
    for (unsigned i = 0; i < 2; i++) {
        master_clear(&d->chip[i]);
        for (unsigned n = 0; n < 4; n++) {
            struct i8237_channel *ch = &d->chip[i].channel[n];
            ch->base_address = ch->base_count = ch->address = ch->count = 0;
            ch->mode = 0;
        }
    }
    memset(d->page, 0, sizeof d->page);
}

static void i8237_print(struct device *dev, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct i8237 *d = (struct i8237 *)dev;
    for (unsigned n = 0; n < 8; n++) {
        const struct i8237_chip *c = &d->chip[n / 4];
        const struct i8237_channel *ch = &c->channel[n % 4];
        char line[96];
        snprintf(line, sizeof line, "channel %u: address %06llx count %04x mode %02x%s%s", n,
            (unsigned long long)channel_address(d, n), ch->count, ch->mode, c->mask >> (n % 4) & 1 ? " masked" : "",
            c->dreq >> (n % 4) & 1 ? " DREQ" : "");
        out(line, ctx);
    }
}

const struct device_class i8237_class = { .name = "i8237", .size = sizeof(struct i8237), .reset = i8237_reset,
    .read = i8237_read, .write = i8237_write, .byte_wide = true, .print = i8237_print };
