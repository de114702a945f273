/* devices.c - hostile actions on devices: random accesses, and enough sense to get deeper into each model. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static struct fuzz *f;

static u64 any_value(void) { return one_in(3) ? below(256) : random_integer(); }

static void out(u16 port, unsigned bytes, u32 v) { bus_io_write(f->pc->bus, port, bytes, v); }
static u32 in(u16 port, unsigned bytes) { return bus_io_read(f->pc->bus, port, bytes); }
static void outb(u16 port, u32 v) { out(port, 1, v & 0xff); }

u32 fuzz_ram(const struct fuzz *g)
{
    u32 end = one_in(4) ? (u32)g->pc->ram->size : 0xa0000;
    return below(end);
}

u64 fuzz_address(const struct fuzz *g)
{
    static const u64 places[] = {
        0, 0x9fff0, 0xa0000, 0xa8000, 0xb8000, 0xbfffc, 0xc0000, 0xe0000, 0xf0000, 0xffff0, 0x100000, 0xe0000000,
        0xfd000000, 0xfebf0000, 0xfec00000, 0xfec00010, 0xfed00000, 0xfed000f0, 0xfee00000, 0xfee000b0,
         0xfee00300, 0xfffc0000, 0xfffffff0, 0xfffffffc, 0x100000000, 0xfffffffff000, 0xffffffffffff0,
         0xfffffffffffffff0, 0xffffffffffffffff,
    };
    switch (below(8)) {
    case 0: case 1: return places[below(ARRAY_LEN(places))] + below(64);
    case 2: return g->pc->ram->size - below(64);
    case 3: return random_integer();
    default: return fuzz_ram(g);
    }
}

void fuzz_poke(struct fuzz *g, gpa at, const void *bytes, unsigned n) { physmap_write(g->pc->phys, at, bytes, n); }

/* --- anything ---------------------------------------------------------------------------------------------------- */

static u16 any_port(void)
{
    static const u16 ranges[][2] = {
        { 0x00, 16 }, { 0x20, 2 }, { 0x40, 4 }, { 0x60, 5 }, { 0x70, 4 }, { 0x80, 16 }, { 0x92, 1 }, { 0xa0, 2 },
        { 0xb2, 2 }, { 0xc0, 32 }, { 0xed, 1 }, { 0xf0, 2 }, { 0x170, 8 }, { 0x1ce, 3 }, { 0x1f0, 8 }, { 0x2f8, 8 },
        { 0x376, 1 }, { 0x3b0, 48 }, { 0x3f0, 16 }, { 0x402, 1 }, { 0x4d0, 2 }, { 0x501, 4 }, { 0x510, 12 },
        { 0x600, 64 }, { 0x700, 16 }, { 0xafe0, 4 }, { 0xb100, 16 }, { 0xc000, 16 }, { 0xcf8, 8 },
    };
    if (one_in(16))
        return (u16)random_u64();
    const u16 *r = ranges[below(ARRAY_LEN(ranges))];
    return (u16)(r[0] + below(r[1]));
}

static void any_io(void)
{
    const unsigned bytes = 1u << below(3);
    const u16 port = any_port();
    if (one_in(3))
        in(port, bytes);
    else
        out(port, bytes, (u32)any_value());
}

static void any_mmio(void)
{
    const u64 at = one_in(3) ? fuzz_address(f) : (u64[]){ 0xfec00000, 0xfed00000, 0xfee00000, 0xfebf0000, 0xa0000,
                                                          0xe0000000 }[below(6)] + below(0x1000);
    u8 buf[64];
    random_fill(buf, sizeof(buf), FILL_ANY);
    const unsigned n = one_in(4) ? 1 + below(64) : 1u << below(4);
    if (one_in(3))
        physmap_read(f->pc->phys, at, buf, n);
    else
        physmap_write(f->pc->phys, at, buf, n);
}

/* --- buses ------------------------------------------------------------------------------------------------------- */

static void config_write(unsigned devfn, unsigned reg, unsigned bytes, u32 v)
{
    out(0xcf8, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
    out((u16)(0xcfc + (reg & 3)), bytes, v);
}

static unsigned any_devfn(void)
{
    static const u8 devfns[] = { 0, 8, 9, 11, 16 };
    return one_in(20) ? below(256) : devfns[below(5)];
}

static void pci_config(void)
{
    const unsigned devfn = any_devfn();
    switch (below(6)) {
    case 0: config_write(devfn, 0x10 + 4 * below(6), 4, (u32)fuzz_address(f)); break;
    case 1: config_write(devfn, 0x04, 2, below(8)); break;
    case 2: config_write(devfn, 0x30, 4, (u32)fuzz_address(f) | below(2)); break;
    case 3: config_write(0, 0x59 + below(7), 1, below(256)); break;         /* PAM */
    case 4: config_write(0, 0x72, 1, below(256)); break;                    /* SMRAM */
    default: config_write(devfn, below(256), 1u << below(3), (u32)any_value()); break;
    }
    if (one_in(3))
        in((u16)(0xcfc + below(4)), 1u << below(3));
}

/* The places that firmware gives the devices, so that what follows finds them. */
static void pci_sane(void)
{
    config_write(9, 0x20, 4, 0xc001);
    config_write(9, 0x04, 2, 5);
    config_write(9, 0x40, 4, 0x80008000);   /* the IDE ports are decoded */
    config_write(11, 0x40, 4, 0x601);
    config_write(11, 0x80, 1, 1);
    config_write(11, 0x90, 4, 0x701);
    config_write(11, 0xd2, 1, 9);
    config_write(16, 0x10, 4, 0xe0000000);
    config_write(16, 0x18, 4, 0xfebf0000);
    config_write(16, 0x04, 2, 7);
}

/* --- storage ----------------------------------------------------------------------------------------------------- */

static void ide_bus_master(unsigned channel, bool to_memory)
{
    struct { u32 address; u16 bytes, flags; } prd[4];
    const u16 base = (u16)(0xc000 + channel * 8);
    const u32 table = one_in(6) ? (u32)fuzz_address(f) : fuzz_ram(f) & ~3u;
    for (unsigned i = 0; i < 4; i++) {
        prd[i].address = (u32)fuzz_address(f);
        prd[i].bytes = one_in(3) ? 0 : (u16)any_value();
        prd[i].flags = one_in(3) ? 0x8000 : (u16)(random_u64() & 0x7fff);
    }
    fuzz_poke(f, table, prd, sizeof(prd));
    out((u16)(base + 4), 4, table);
    outb((u16)(base + 2), 6);
    outb(base, to_memory ? 8 : 0);
    outb(base, (to_memory ? 8 : 0) | 1);
    if (one_in(4))
        outb(base, 0);
}

static void wait_a_little(void)
{
    clock_skip(f->pc->clock, below(3) * 10000000ull);
    clock_run(f->pc->clock);
}

static void ide_packet(u16 base)
{
    static const u8 commands[] = { 0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x35, 0x42, 0x43,
                                    0x44, 0x46, 0x4a, 0x51, 0x52, 0x55, 0x5a, 0xa8, 0xad, 0xb9, 0xbd, 0xbe };
    u8 cdb[12];
    random_fill(cdb, 8, one_in(2) ? FILL_ANY : FILL_COUNTS);
    memset(cdb + 8, (int)below(4), 4);
    cdb[0] = one_in(8) ? (u8)below(256) : commands[below(ARRAY_LEN(commands))];
    if (one_in(2))
        memset(cdb + 2, 0, 4);
    if (one_in(2))
        cdb[9] = (u8)(cdb[0] == 0xbe ? 0xf8 : below(256));
    if (one_in(2))
        cdb[5] = (u8)below(200);
    for (unsigned i = 0; i < 12; i += 2)
        out(base, 2, (u32)(cdb[i] | cdb[i + 1] << 8));
    wait_a_little();
}

static void ide_transfer(u16 base)
{
    const bool write = one_in(3);
    for (unsigned i = below(one_in(8) ? 3000 : 300); i; i--) {
        if (write)
            out(base, one_in(2) ? 2 : 4, (u32)random_u64());
        else
            in(base, one_in(8) ? 1 : one_in(2) ? 2 : 4);
        if (i % 128 == 0)
            wait_a_little();
    }
}

/* Registers, command, data; most of the time for a drive that exists. */
static void ide(void)
{
    static const u8 commands[] = { 0x00, 0x08, 0x10, 0x20, 0x21, 0x24, 0x25, 0x27, 0x29, 0x2f, 0x30, 0x31,
                                    0x34, 0x35, 0x39, 0x3f, 0x40, 0x42, 0x70, 0x90, 0x91, 0xa0, 0xa0, 0xa0,
                                    0xa1, 0xb0, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe0, 0xe1, 0xe3, 0xe5, 0xe6,
                                     0xe7,
                                   0xea, 0xec, 0xef, 0xf5, 0xf8, 0xf9 };
    static const u8 drives[] = { 0, 0, 1, 2 };
    const unsigned drive = drives[below(4)], channel = drive >> 1;
    const u16 base = channel ? 0x170 : 0x1f0;
    const u8 command = one_in(8) ? (u8)below(256) : drive && one_in(2) ? 0xa0 : commands[below(ARRAY_LEN(commands))];
    if (one_in(8))
        pci_sane();
    if (one_in(2))
        outb((u16)(base + 0x206), one_in(20) ? below(8) : below(2) << 1);
    outb((u16)(base + 6), 0xa0 | (drive & 1) << 4 | (one_in(2) ? 0x40 : 0) | (one_in(6) ? below(16) : 0));
    wait_a_little();
    for (unsigned i = 1 + below(2); i; i--) {
        outb((u16)(base + 1), one_in(2) ? below(4) : below(256));
        outb((u16)(base + 2), one_in(2) ? below(4) : any_value() & 0xff);
        for (unsigned r = 3; r < 6; r++)
            outb((u16)(base + r), one_in(2) ? below(2) : any_value() & 0xff);
    }
    if (one_in(2))
        ide_bus_master(channel, one_in(2));
    outb((u16)(base + 7), command);
    wait_a_little();
    if (command == 0xa0)
        ide_packet(base);
    ide_transfer(base);
    if (one_in(2))
        in((u16)(base + 7), 1);
}

static void dma_8237(void)
{
    const unsigned channel = one_in(2) ? 2 : below(8);
    static const u8 pages[8] = { 0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a };
    const unsigned step = channel < 4 ? 1 : 2;
    const u16 base = channel < 4 ? 0 : 0xc0;
    const u64 address = fuzz_address(f);
    outb((u16)(base + 12 * step), 0);
    for (unsigned i = 0; i < 2; i++)
        outb((u16)(base + (channel & 3) * 2 * step), (address >> (8 * i)) & 0xff);
    for (unsigned i = 0; i < 2; i++)
        outb((u16)(base + ((channel & 3) * 2 + 1) * step), any_value() & 0xff);
    outb(pages[channel], address >> 16 & 0xff);
    outb((u16)(base + 11 * step), (below(64) << 2) | (channel & 3));
    outb((u16)(base + 10 * step), channel & 3);
    if (one_in(4))
        outb((u16)(base + (8 + below(8)) * step), any_value() & 0xff);
}

static void floppy(void)
{
    static const u8 commands[] = { 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x0e,
                                    0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x18, 0x19, 0x1d, 0x33, 0x34, 0x8e,
                                   0x8f, 0xcf };
    if (one_in(3))
        dma_8237();
    outb(0x3f2, one_in(8) ? below(256) : 0x3c | below(2));
    if (one_in(4))
        outb(0x3f7, below(4));
    outb(0x3f5, (one_in(8) ? below(256) : commands[below(ARRAY_LEN(commands))]) | (one_in(2) ? 0xc0 : 0));
    for (unsigned i = below(10); i; i--)
        outb(0x3f5, one_in(2) ? below(4) : any_value() & 0xff);
    for (unsigned i = below(one_in(8) ? 1100 : 16); i; i--)
        if (one_in(8))
            outb(0x3f5, below(256));
        else
            in(one_in(4) ? 0x3f4 : 0x3f5, 1);
}

/* --- others ------------------------------------------------------------------------------------------------------ */

static u32 swap32(u32 v) { return __builtin_bswap32(v); }

static void fw_cfg(void)
{
    if (one_in(3)) {
        out(0x510, 2, one_in(2) ? below(64) : (u32)random_u64());
        for (unsigned i = below(40); i; i--)
            in(0x511, 1);
        return;
    }
    struct { u32 control, length; u64 address; } access;
    const u64 at = fuzz_address(f), to = fuzz_address(f);
    access.control = swap32(below(32) | (one_in(2) ? below(64) << 16 : 0));
    access.length = swap32(one_in(8) ? (u32)random_integer() : below(5000));
    access.address = __builtin_bswap64(to);
    fuzz_poke(f, at, &access, sizeof(access));
    out(0x514, 4, swap32((u32)(at >> 32)));
    out(0x518, 4, swap32((u32)at));
}

static void vga_registers(void)
{
    static const u16 index[] = { 0x3c4, 0x3ce, 0x3d4, 0x3b4 };
    switch (below(6)) {
    case 0: case 1: {
        const u16 port = index[below(4)];
        out(port, 2, below(port == 0x3c4 ? 8 : port == 0x3ce ? 16 : 32) | (u32)any_value() << 8);
        break;
    }
    case 2:
        in(0x3da, 1);
        outb(0x3c0, below(64));
        outb(0x3c0, any_value() & 0xff);
        outb(0x3c0, 0x20);
        break;
    case 3: outb(0x3c2, any_value() & 0xff); break;
    case 4: outb((u16)(0x3c6 + below(4)), any_value() & 0xff); break;
    default:
        out(0x1ce, 2, below(12));
        out((u16)(0x1cf + below(2)), 2, one_in(2) ? (u32)any_value() : below(2000));
        break;
    }
}

static void vga_mode(void)
{
    static const u16 bpp[] = { 4, 8, 15, 16, 24, 32 };
    const u16 values[] = { 0, one_in(4) ? (u16)any_value() : (u16)below(2600),
                           one_in(4) ? (u16)any_value() : (u16)below(1700),
                           bpp[below(6)], (u16)(0x41 | below(256)), (u16)below(300), (u16)any_value(), (u16)any_value(),
                           (u16)any_value(), (u16)any_value() };
    for (unsigned i = 1; i < ARRAY_LEN(values); i++) {
        out(0x1ce, 2, i);
        out(0x1cf, 2, values[i]);
    }
    if (one_in(3)) {
        out(0x1ce, 2, 4);
        out(0x1cf, 2, 0);
    }
}

static void vga_look(void)
{
    const struct display *d = pc_display(f->pc);
    if (!d)
        return;
    const struct display_size size = d->size(d->ctx);
    const size_t text = 1 + below(one_in(3) ? 8 : 40000);
    char *buf = malloc(text);
    d->text(d->ctx, buf, text);
    (void)strlen(buf);
    free(buf);
    if (!size.width || !size.height)
        return;
    u32 *pixels = malloc((size_t)size.width * size.height * 4);
    d->render(d->ctx, pixels);
    free(pixels);
}

static void vga(void)
{
    for (unsigned i = below(6); i; i--)
        vga_registers();
    if (one_in(5))
        vga_mode();
    for (unsigned i = below(6); i; i--) {
        const u64 at = (one_in(2) ? 0xa0000 + below(0x20000) : 0xe0000000 + below(0x1000000)), v = random_u64();
        if (one_in(2))
            physmap_write(f->pc->phys, at, &v, 1 + below(8));
        else
            physmap_read_int(f->pc->phys, at, 1 + below(8));
    }
    if (one_in(3))
        vga_look();
}

static void apics(void)
{
    static const u16 registers[] = { 0x20, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x310, 0x320, 0x330,
                                      0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0 };
    if (one_in(2)) {
        physmap_write_int(f->pc->phys, 0xfee00000u + registers[below(ARRAY_LEN(registers))], 4, any_value());
        return;
    }
    physmap_write_int(f->pc->phys, 0xfec00000, 4, one_in(8) ? below(256) : below(0x40));
    physmap_write_int(f->pc->phys, 0xfec00010, 4, one_in(2) ? (u64)(0x20 + below(16)) | below(32) << 11 : any_value());
    for (unsigned i = below(3); i; i--)
        ioapic_set(f->pc->ioapic, below(24), below(2));
}

static void hpet(void)
{
    static const u16 registers[] = { 0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128, 0x140, 0x148 };
    const u16 reg = registers[below(ARRAY_LEN(registers))];
    physmap_write_int(f->pc->phys, 0xfed00000u + reg, one_in(2) ? 4 : 8, reg == 0x10 ? below(4) : any_value());
    physmap_read_int(f->pc->phys, 0xfed00000u + below(0x400), 1u << below(4));
}

static void timers_of_the_board(void)
{
    switch (below(4)) {
    case 0:
        outb(0x43, any_value() & 0xff);
        for (unsigned i = below(3); i; i--)
            outb((u16)(0x40 + below(3)), one_in(2) ? below(3) : below(256));
        break;
    case 1: outb(0x61, below(16)); in(0x61, 1); break;
    case 2: outb(0x70, below(128)); outb(0x71, any_value() & 0xff); break;
    default: outb(0x70, 10 + below(3)); outb(0x71, below(256)); in(0x71, 1); break;
    }
}

static void keyboard_controller(void)
{
    static const u8 commands[] = { 0x20, 0x60, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad, 0xae, 0xc0, 0xd0, 0xd1,
                                    0xd2, 0xd3, 0xd4, 0xdd, 0xdf, 0xe0, 0xf0, 0xfe };
    static const u8 device[] = { 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xf0, 0xf2, 0xf3,
                                  0xf4, 0xf5, 0xf6, 0xfa, 0xfc, 0xfe, 0xff };
    switch (below(5)) {
    case 0: outb(0x64, one_in(4) ? below(256) : commands[below(ARRAY_LEN(commands))]); break;
    case 1: outb(0x60, one_in(2) ? 0xe0 + below(32) : below(256)); break;
    case 2: in(one_in(2) ? 0x60 : 0x64, 1); break;
    case 3:
        if (one_in(2))
            outb(0x64, 0xd4);           /* to the mouse */
        outb(0x60, one_in(3) ? below(256) : device[below(ARRAY_LEN(device))]);
        wait_a_little();
        in(0x60, 1);
        break;
    default:
        if (one_in(2))
            pc_key(f->pc, (u16)(below(128) | (one_in(2) ? 0xe000 : 0)), one_in(2));
        else
            pc_mouse(f->pc, (int)random_integer(), (int)random_integer(), (int)random_integer(), below(256));
    }
}

static void serial(void)
{
    struct chardev *line = f->pc->cfg.serial[0];
    u8 bytes[40];
    outb((u16)(0x3f8 + below(8)), any_value() & 0xff);
    in((u16)(0x3f8 + below(8)), 1);
    if (line && one_in(2)) {
        random_fill(bytes, sizeof(bytes), FILL_ANY);
        chardev_inject(line, bytes, below(sizeof(bytes) + 1));
    }
}

static void interrupt_controllers(void)
{
    outb((u16)((one_in(2) ? 0x20 : 0xa0) + below(2)), any_value() & 0xff);
    i8259_set(f->pc->pic, below(16), below(2));
    if (one_in(2))
        outb((u16)(0x4d0 + below(2)), below(256));
    if (one_in(3))
        i8259_ack(f->pc->pic);
}

static void power_management(void)
{
    out((u16)(0x600 + below(16)), 1u << below(3), (u32)any_value());
    in((u16)(0x600 + below(16)), 1u << below(3));
    if (one_in(8))
        pc_powerbutton(f->pc);
    out((u16)(0xafe0 + below(4)), 1, below(256));
    outb((u16)(0x700 + below(16)), any_value() & 0xff);
}

static void time_passes(void)
{
    static const u64 steps[] = { 0, 1, 1000, 838096, 1000000, 55000000, NS_PER_SEC, 100 * NS_PER_SEC,
                                 86400 * NS_PER_SEC };
    clock_skip(f->pc->clock, steps[below(one_in(10) ? ARRAY_LEN(steps) : 7)]);
    clock_run(f->pc->clock);
}

static void ignore_line(const char *line, void *ctx) {}

static void monitor(void)
{
    physmap_print(f->pc->phys, ignore_line, NULL);
    bus_print_io(f->pc->bus, ignore_line, NULL);
    for (struct device *d = bus_first(f->pc->bus); d; d = d->next)
        if (d->class->print)
            d->class->print(d, ignore_line, NULL);
}

static void a20(void) { outb(0x92, below(2) << 1); }

static void reset(void)
{
    if (one_in(4))
        pc_hard_reset(f->pc);
    else if (one_in(2))
        bus_reset(f->pc->bus);
    else
        outb(0xcf9, below(8));
}

static void media(void)
{
    char err[200];
    if (one_in(2))
        pc_change_cd(f->pc, below(4), NULL, err, sizeof(err));
    else
        pc_change_floppy(f->pc, below(2), NULL, err, sizeof(err));
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const struct action { void (*act)(void); const char *name; unsigned weight; } actions[] = {
    { any_io, "any port", 12 }, { any_mmio, "any memory", 8 }, { pci_config, "PCI configuration", 8 }, 
    { pci_sane, "BARs", 3 },
    { ide, "IDE", 10 }, { dma_8237, "8237", 3 }, { floppy, "floppy", 6 }, { fw_cfg, "fw_cfg", 4 }, { vga, "VGA", 10 },
    { apics, "APICs", 6 }, { hpet, "HPET", 5 }, { timers_of_the_board, "PIT, RTC", 5 }, 
    { keyboard_controller, "8042", 4 },
    { serial, "serial", 3 }, { interrupt_controllers, "8259", 4 }, { power_management, "PM", 3 }, 
    { time_passes, "timers", 10 },
    { monitor, "monitor", 1 }, { a20, "A20", 1 }, { reset, "reset", 1 }, { media, "media", 1 },
};

void fuzz_devices(struct fuzz *g, unsigned count)
{
    unsigned total = 0;
    for (unsigned i = 0; i < ARRAY_LEN(actions); i++)
        total += actions[i].weight;
    f = g;
    machine_lock();
    if (one_in(4))
        pci_sane();
    while (count--) {
        const struct action *a = actions;
        for (unsigned r = below(total); r >= a->weight; a++)
            r -= a->weight;
        fuzz_doing(a->name);
        a->act();
    }
    machine_unlock();
}
