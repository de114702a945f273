/* test_vga.c - the VGA through its ports and memory, the picture it makes, and the PNG writer. */
#include "device_fixture.h"

#include <zlib.h>

#include "devices/png.h"
#include "devices/vga.h"

static struct vga *vga;
enum { LFB = 0xe0000000u, MMIO = 0xe1000000u };

static u8 in(u16 port) { return (u8)bus_io_read(bus, port, 1); }
static void out(u16 port, u8 v) { bus_io_write(bus, port, 1, v); }
static void indexed(u16 port, u8 index, u8 v) { bus_io_write(bus, port, 2, index | v << 8); }
static u8 peek(u32 a) { return (u8)physmap_read_int(phys, a, 1); }
static void poke(u32 a, u8 v) { physmap_write_int(phys, a, 1, v); }
static void vbe(u16 index, u16 v) { bus_io_write(bus, 0x1ce, 2, index); bus_io_write(bus, 0x1cf, 2, v); }
static u16 vbe_get(u16 index) { bus_io_write(bus, 0x1ce, 2, index); return (u16)bus_io_read(bus, 0x1cf, 2); }

static void setup(void)
{
    char err[256];
    fixture_open();
    vga = device_new(bus, &vga_class);
    vga->pci.pci = pci;
    vga->pci.devfn = 16;
    ck_assert_msg(device_init(&vga->pci.dev, err, sizeof err), "%s", err);
    bus_map_io(bus, 0x3b0, 48, &vga->pci.dev, VGA_REGION_PORTS);
    bus_map_io(bus, 0x1ce, 3, &vga->pci.dev, VGA_REGION_DISPI);
    bus_map_mmio(bus, 0xa0000, 0x20000, 2, &vga->pci.dev, VGA_REGION_WINDOW);
    pci_config_write(pci, 0, 16, 0x10, 4, LFB);
    pci_config_write(pci, 0, 16, 0x18, 4, MMIO);
    pci_config_write(pci, 0, 16, 0x04, 2, 3);
}

/* The register values of the IBM BIOS's modes. */
struct mode { u8 misc, seq[4], crtc[25], attr[4] /* 10h-13h */, gc[9]; };
static const struct mode mode_3 = { 0x67, { 0x00, 0x03, 0x00, 0x02 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
    { 0x0c, 0x00, 0x0f, 0x08 }, { 0, 0, 0, 0, 0, 0x10, 0x0e, 0x00, 0xff } };
static const struct mode mode_4 = { 0x63, { 0x09, 0x03, 0x00, 0x02 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff },
    { 0x01, 0x00, 0x03, 0x00 }, { 0, 0, 0, 0, 0, 0x30, 0x0f, 0x00, 0xff } };
static const struct mode mode_6 = { 0x63, { 0x01, 0x01, 0x00, 0x06 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff },
    { 0x01, 0x00, 0x01, 0x00 }, { 0, 0, 0, 0, 0, 0x00, 0x0d, 0x00, 0xff } };
static const struct mode mode_12 = { 0xe3, { 0x01, 0x0f, 0x00, 0x06 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff },
    { 0x01, 0x00, 0x0f, 0x00 }, { 0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff } };
static const struct mode mode_13 = { 0x63, { 0x01, 0x0f, 0x00, 0x0e },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
    { 0x41, 0x00, 0x0f, 0x00 }, { 0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff } };

static u32 color(unsigned i)        /* what set_mode puts into DAC entry i */
{
    unsigned r = i & 0x3f, g = i * 3 & 0x3f, b = i * 7 & 0x3f;
    return (r << 2 | r >> 4) << 16 | (g << 2 | g >> 4) << 8 | (b << 2 | b >> 4);
}

static void set_mode(const struct mode *m)
{
    out(0x3c2, m->misc);
    for (u8 i = 0; i < 4; i++)
        indexed(0x3c4, i + 1, m->seq[i]);
    indexed(0x3d4, 0x11, 0);
    for (u8 i = 0; i < 25; i++)
        indexed(0x3d4, i, m->crtc[i]);
    for (u8 i = 0; i < 9; i++)
        indexed(0x3ce, i, m->gc[i]);
    in(0x3da);
    for (u8 i = 0; i < 16; i++) {
        out(0x3c0, i);
        out(0x3c0, i);
    }
    for (u8 i = 0; i < 4; i++) {
        out(0x3c0, 0x10 + i);
        out(0x3c0, m->attr[i]);
    }
    out(0x3c0, 0x20);
    out(0x3c8, 0);
    for (unsigned i = 0; i < 256; i++) {
        out(0x3c9, (u8)i);
        out(0x3c9, (u8)(i * 3));
        out(0x3c9, (u8)(i * 7));
    }
}

static u32 pixels[1280 * 1024];
static struct display_size size;

static void render(unsigned width, unsigned height)
{
    size = vga->display.size(vga->display.ctx);
    ck_assert_uint_eq(size.width, width);
    ck_assert_uint_eq(size.height, height);
    vga->display.render(vga->display.ctx, pixels);
}

static u32 pixel(unsigned x, unsigned y) { return pixels[y * size.width + x]; }

START_TEST(off_after_reset)
{
    char text[100] = "x";
    size = vga->display.size(vga->display.ctx);
    ck_assert_uint_eq(size.width | size.height, 0);
    ck_assert(!vga->display.text(vga->display.ctx, text, sizeof text));
    ck_assert_str_eq(text, "");
    vga->display.render(vga->display.ctx, pixels);
}
END_TEST

static void print(unsigned row, unsigned column, const char *s, u8 attr)
{
    for (; *s; s++, column++)
        physmap_write_int(phys, 0xb8000 + (row * 80 + column) * 2, 2, (u8)*s | attr << 8);
}

static void load_glyph(u8 code, unsigned font, const u8 *rows, unsigned n)
{
    indexed(0x3c4, 2, 4);
    indexed(0x3c4, 4, 7);
    indexed(0x3ce, 5, 0);
    indexed(0x3ce, 6, 4);
    for (unsigned i = 0; i < n; i++)
        poke(0xa0000 + font * 0x2000 + code * 32 + i, rows[i]);
    indexed(0x3c4, 2, 3);
    indexed(0x3c4, 4, 2);
    indexed(0x3ce, 5, 0x10);
    indexed(0x3ce, 6, 0x0e);
}

START_TEST(text_mode)
{
    static char text[8192];
    static const u8 glyph[16] = { 0x81, 0xff };
    set_mode(&mode_3);
    for (unsigned i = 0; i < 80 * 25; i++)
        physmap_write_int(phys, 0xb8000 + i * 2, 2, 0x0720);
    print(0, 0, "Hello", 0x1e);
    print(24, 78, "\xb3\x01", 7);
    ck_assert(vga->display.text(vga->display.ctx, text, sizeof text));
    ck_assert_int_eq(strncmp(text, "Hello\n\n", 7), 0);
    ck_assert_ptr_nonnull(strstr(text, " \xe2\x94\x82\xe2\x98\xba\n"));
    unsigned lines = 0;
    for (char *p = text; *p; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 25);
    ck_assert(vga->display.text(vga->display.ctx, text, 5));     /* cut, never overrun */
    ck_assert_str_eq(text, "Hell");
    ck_assert_uint_eq(peek(0xb8000), 'H');
    ck_assert_uint_eq(peek(0xb8001), 0x1e);

    load_glyph('H', 0, glyph, 16);
    ck_assert_uint_eq(peek(0xb8000), 'H');
    render(720, 400);
    ck_assert_uint_eq(pixel(0, 0), color(14));
    ck_assert_uint_eq(pixel(1, 0), color(1));
    ck_assert_uint_eq(pixel(7, 0), color(14));
    ck_assert_uint_eq(pixel(8, 0), color(1));          /* ninth dot: background */
    ck_assert_uint_eq(pixel(7, 1), color(14));
    ck_assert_uint_eq(pixel(7, 2), color(1));
    ck_assert_uint_eq(pixel(20, 50), color(0));
    print(0, 0, "\xc4", 0x1e);                          /* line graphics repeat dot 8 */
    load_glyph(0xc4, 0, glyph, 16);
    render(720, 400);
    ck_assert_uint_eq(pixel(8, 0), color(14));

    indexed(0x3d4, 0x0e, 0);                            /* cursor in row 1, column 3: scan lines 13 and 14 */
    indexed(0x3d4, 0x0f, 83);
    instructions = 0;
    render(720, 400);
    ck_assert_uint_eq(pixel(3 * 9, 16 + 13), color(7));
    ck_assert_uint_eq(pixel(3 * 9 + 8, 16 + 14), color(7));
    ck_assert_uint_eq(pixel(3 * 9, 16 + 12), color(0));
    ck_assert_uint_eq(pixel(4 * 9, 16 + 13), color(0));
    indexed(0x3d4, 0x0a, 0x2d);
    render(720, 400);
    ck_assert_uint_eq(pixel(3 * 9, 16 + 13), color(0));

    print(0, 5, "H", 0x87);                             /* blinks: 16 frames on, 16 off */
    render(720, 400);
    ck_assert_uint_eq(pixel(45, 0), color(7));
    instructions = 17 * (NS_PER_SEC / 70);
    render(720, 400);
    ck_assert_uint_eq(pixel(45, 0), color(0));

    indexed(0x3d4, 0x0d, 80);                           /* start address: one row down */
    ck_assert(vga->display.text(vga->display.ctx, text, sizeof text));
    ck_assert_int_eq(text[0], '\n');
    indexed(0x3d4, 0x0d, 0);
    indexed(0x3d4, 0x18, 199);                          /* split: the start of memory again from line 200 */
    indexed(0x3d4, 0x07, 0x0f);
    indexed(0x3d4, 0x09, 0x0f);
    print(0, 0, "top", 7);
    ck_assert(vga->display.text(vga->display.ctx, text, sizeof text));
    char *again = strstr(text + 3, "top");
    ck_assert_ptr_nonnull(again);
    lines = 0;
    for (char *p = text; p < again; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 13);                       /* 12 rows and a half above */
}
END_TEST

START_TEST(two_fonts)
{
    set_mode(&mode_3);
    load_glyph('A', 0, (const u8[]) { 0x80 }, 1);
    load_glyph('A', 1, (const u8[]) { 0x01 }, 1);
    print(0, 0, "A", 0x07);
    print(0, 1, "A", 0x0f);
    indexed(0x3c4, 3, 0x20);        /* with bit 3: font at 8 KiB */
    indexed(0x3c4, 1, 0x01);        /* eight dots */
    indexed(0x3d4, 0x0a, 0x20);
    render(640, 400);
    ck_assert_uint_eq(pixel(0, 0), color(7));
    ck_assert_uint_eq(pixel(7, 0), color(0));
    ck_assert_uint_eq(pixel(8, 0), color(0));
    ck_assert_uint_eq(pixel(15, 0), color(15));
}
END_TEST

START_TEST(mode_13h)
{
    set_mode(&mode_13);
    for (unsigned i = 0; i < 320 * 200; i++)
        poke(0xa0000 + i, (u8)(i * 5 + i / 320));
    render(320, 200);
    for (unsigned i = 0; i < 320 * 200; i++)
        ck_assert_uint_eq(pixels[i], color((u8)(i * 5 + i / 320)));
    ck_assert_uint_eq(physmap_read_int(phys, 0xa0001, 4), 0x140f0a05u);
    out(0x3c6, 0x0f);
    render(320, 200);
    ck_assert_uint_eq(pixels[7], color(35 & 15));
}
END_TEST

/* Mode X: chain-4 off, byte addressing; four pages, planes by map mask. */
START_TEST(mode_x)
{
    set_mode(&mode_13);
    indexed(0x3c4, 4, 0x06);
    indexed(0x3d4, 0x14, 0x00);
    indexed(0x3d4, 0x17, 0xe3);
    for (unsigned p = 0; p < 4; p++) {
        indexed(0x3c4, 2, (u8)(1 << p));
        for (unsigned i = 0; i < 80 * 200; i++)
            poke(0xa0000 + 0x4000 + i, (u8)(i * 4 + p + i / 80));
    }
    indexed(0x3d4, 0x0c, 0x40);
    render(320, 200);
    for (unsigned y = 0; y < 200; y++)
        for (unsigned x = 0; x < 320; x++)
            ck_assert_uint_eq(pixel(x, y), color((u8)(y * 320 + x + y)));
    in(0x3da);
    out(0x3c0, 0x33);       /* panning by one pixel: 2 */
    out(0x3c0, 2);
    render(320, 200);
    ck_assert_uint_eq(pixel(0, 0), color(1));
    indexed(0x3ce, 4, 2);
    ck_assert_uint_eq(peek(0xa4001), 6);
}
END_TEST

START_TEST(mode_12h_write_modes)
{
    set_mode(&mode_12);
    indexed(0x3ce, 0, 0x05);            /* set/reset on planes 0-3: colour 5 under the bit mask */
    indexed(0x3ce, 1, 0x0f);
    indexed(0x3ce, 8, 0xf0);
    peek(0xa0000);
    poke(0xa0000, 0x00);
    indexed(0x3ce, 1, 0x00);
    indexed(0x3ce, 8, 0x0c);
    indexed(0x3ce, 5, 0x02);            /* write mode 2: the CPU's low bits are the colour */
    peek(0xa0000);
    poke(0xa0000, 0x0a);
    render(640, 480);
    static const u8 expect[8] = { 5, 5, 5, 5, 10, 10, 0, 0 };
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(pixel(i, 0), color(expect[i]));
    indexed(0x3ce, 5, 0x01);            /* write mode 1: copies the latches */
    peek(0xa0000);
    poke(0xa0050, 0xff);
    indexed(0x3ce, 5, 0x03);            /* write mode 3: the rotated CPU byte is the mask */
    indexed(0x3ce, 3, 0x01);
    indexed(0x3ce, 8, 0xff);
    indexed(0x3ce, 0, 0x0f);
    peek(0xa0050);
    poke(0xa0050, 0x03);                /* rotated: 81 */
    render(640, 480);
    static const u8 second[8] = { 15, 5, 5, 5, 10, 10, 0, 15 };
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(pixel(i, 1), color(second[i]));
    indexed(0x3ce, 5, 0x08);            /* read mode 1: where is colour 10? */
    indexed(0x3ce, 2, 10);
    indexed(0x3ce, 7, 0x0f);
    ck_assert_uint_eq(peek(0xa0050), 0x0c);
    indexed(0x3ce, 7, 0x00);
    ck_assert_uint_eq(peek(0xa0050), 0xff);
    indexed(0x3ce, 5, 0x00);
    indexed(0x3ce, 3, 0x18);            /* XOR */
    indexed(0x3c4, 2, 0x01);
    indexed(0x3ce, 4, 0);
    u8 before = peek(0xa0050);
    poke(0xa0050, 0xff);
    ck_assert_uint_eq(peek(0xa0050), before ^ 0xff);
}
END_TEST

START_TEST(cga_modes)
{
    set_mode(&mode_4);
    poke(0xb8000, 0x1b);            /* 0 1 2 3 */
    poke(0xb8001, 0xe4);
    poke(0xba000, 0xff);            /* odd lines */
    poke(0xb8050, 0x55);
    render(320, 200);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(pixel(i, 0), color(i < 4 ? i : 7 - i));
    ck_assert_uint_eq(pixel(3, 1), color(3));
    ck_assert_uint_eq(pixel(0, 2), color(1));
    set_mode(&mode_6);
    for (unsigned i = 0; i < 0x8000; i++)
        poke(0xb8000 + i, 0);
    poke(0xb8000, 0xa0);
    poke(0xba000 + 79, 0x01);
    render(640, 200);
    ck_assert_uint_eq(pixel(0, 0), color(1));
    ck_assert_uint_eq(pixel(1, 0), color(0));
    ck_assert_uint_eq(pixel(2, 0), color(1));
    ck_assert_uint_eq(pixel(639, 1), color(1));
    ck_assert_uint_eq(pixel(638, 1), color(0));
}
END_TEST

START_TEST(vbe_modes)
{
    static const struct { u16 bpp; u8 bytes[4]; u32 rgb; } cases[] = {
        { 8, { 33 }, 0 }, { 15, { 0x1f, 0x7c }, 0xff00ff }, { 16, { 0xe0, 0x07 }, 0x00ff00 }, { 24, { 1, 2, 3 }, 0x030201 },
        { 32, { 0x11, 0x22, 0x33, 0xff }, 0x332211 } };
    set_mode(&mode_3);
    ck_assert_uint_eq(vbe_get(VBE_ID), 0xb0c5);
    ck_assert_uint_eq(vbe_get(VBE_MEMORY_64K), 256);
    vbe(VBE_ENABLE, VBE_GETCAPS);
    ck_assert_uint_eq(vbe_get(VBE_BPP), 32);
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned bytes = (cases[i].bpp + 7u) / 8;
        vbe(VBE_ENABLE, 0);
        vbe(VBE_XRES, 800);
        vbe(VBE_YRES, 600);
        vbe(VBE_BPP, cases[i].bpp);
        vbe(VBE_ENABLE, VBE_ENABLED | VBE_LFB);
        ck_assert_uint_eq(vbe_get(VBE_VIRT_WIDTH), 800);
        render(800, 600);
        ck_assert_uint_eq(pixel(0, 0), cases[i].bpp == 8 ? color(0) : 0);
        vbe(VBE_VIRT_WIDTH, 1024);
        vbe(VBE_X_OFFSET, 3);
        vbe(VBE_Y_OFFSET, 2);
        physmap_write(phys, LFB + (2 * 1024 + 3 + 5) * bytes, cases[i].bytes, bytes);
        render(800, 600);
        ck_assert_uint_eq(pixel(5, 0), cases[i].bpp == 8 ? color(33) : cases[i].rgb);
        vbe(VBE_BANK, 1);
        poke(0xa0010, 0x77);
        ck_assert_uint_eq(physmap_read_int(phys, LFB + 0x10010, 1), 0x77);
        physmap_write_int(phys, 0xa0020, 4, 0x12345678);
        ck_assert_uint_eq(physmap_read_int(phys, LFB + 0x10020, 4), 0x12345678);
        ck_assert_uint_eq(physmap_read_int(phys, 0xa0020, 4), 0x12345678);
    }
    vbe(VBE_XRES, 65535);           /* what does not fit is cut */
    vbe(VBE_YRES, 65535);
    vbe(VBE_VIRT_WIDTH, 65535);
    vbe(VBE_X_OFFSET, 65535);
    vbe(VBE_Y_OFFSET, 65535);
    ck_assert_uint_le(vbe_get(VBE_VIRT_WIDTH) * 4u * (vbe_get(VBE_Y_OFFSET) + vbe_get(VBE_YRES)), VGA_VRAM_BYTES);
    vbe(VBE_ENABLE, 0);
    vbe(VBE_XRES, 640);             /* 16 colours in planes */
    vbe(VBE_YRES, 480);
    vbe(VBE_BPP, 4);
    vbe(VBE_ENABLE, VBE_ENABLED);
    indexed(0x3c4, 2, 0x0a);
    indexed(0x3ce, 1, 0);
    indexed(0x3ce, 5, 0);
    indexed(0x3ce, 8, 0xff);
    indexed(0x3ce, 3, 0);
    poke(0xa0000 + 80, 0x40);
    render(640, 480);
    ck_assert_uint_eq(pixel(1, 1), color(10));
    ck_assert_uint_eq(pixel(2, 1), color(0));
    vbe(VBE_ENABLE, 0);
    set_mode(&mode_3);
    render(720, 400);
}
END_TEST

START_TEST(vbe_8bit_dac_and_mmio)
{
    set_mode(&mode_3);
    physmap_write_int(phys, MMIO + 0x500 + VBE_XRES * 2, 2, 640);
    physmap_write_int(phys, MMIO + 0x500 + VBE_YRES * 2, 2, 480);
    physmap_write_int(phys, MMIO + 0x500 + VBE_BPP * 2, 2, 8);
    physmap_write_int(phys, MMIO + 0x500 + VBE_ENABLE * 2, 2, VBE_ENABLED | VBE_8BIT_DAC);
    ck_assert_uint_eq(physmap_read_int(phys, MMIO + 0x500, 2), 0xb0c5);
    poke(MMIO + 0x400 + 8, 1);      /* 3c8 */
    poke(MMIO + 0x400 + 9, 0xab);
    poke(MMIO + 0x400 + 9, 0xcd);
    poke(MMIO + 0x400 + 9, 0xef);
    poke(LFB, 1);
    render(640, 480);
    ck_assert_uint_eq(pixel(0, 0), 0xabcdef);
    peek(MMIO + 0x41a);
    poke(MMIO + 0x400, 0x00);       /* attribute index without PAS: the screen goes dark, as Linux does it */
    size = vga->display.size(vga->display.ctx);
    ck_assert_uint_eq(size.width, 0);
    ck_assert_uint_eq(physmap_read_int(phys, MMIO, 1), 0xff);
}
END_TEST

START_TEST(registers)
{
    set_mode(&mode_3);
    ck_assert_uint_eq(in(0x3cc), 0x67);
    ck_assert_uint_eq(in(0x3b4), 0xff);             /* colour: nothing at 3bx */
    indexed(0x3d4, 0x11, 0x80);
    indexed(0x3d4, 0x00, 0x12);
    out(0x3d4, 0);
    ck_assert_uint_eq(in(0x3d5), 0x5f);             /* protected */
    indexed(0x3d4, 0x07, 0x00);
    out(0x3d4, 7);
    ck_assert_uint_eq(in(0x3d5), 0x0f);             /* except line compare */
    out(0x3c7, 5);
    ck_assert_uint_eq(in(0x3c7), 3);
    ck_assert_uint_eq(in(0x3c9), 5);
    ck_assert_uint_eq(in(0x3c9), 15);
    ck_assert_uint_eq(in(0x3c9), 35);
    ck_assert_uint_eq(in(0x3c9), 6);
    in(0x3da);
    out(0x3c0, 0x31);
    ck_assert_uint_eq(in(0x3c1), 0);
    out(0x3c0, 0x07);
    in(0x3da);
    out(0x3c0, 0x31);
    ck_assert_uint_eq(in(0x3c1), 7);
    out(0x3c2, 0x66);                               /* monochrome addresses */
    ck_assert_uint_eq(in(0x3d4), 0xff);
    ck_assert_uint_eq(in(0x3b4), 7);
}
END_TEST

/* 70 frames a second, with blanking between the lines and a retrace in each frame. */
START_TEST(retrace)
{
    set_mode(&mode_3);
    unsigned retraces = 0, lines = 0;
    u8 last = 0;
    for (instructions = 0; instructions < NS_PER_SEC / 10; instructions += 2000) {
        u8 now = in(0x3da);
        retraces += now & ~last & 8;
        lines += now & ~last & 1;
        last = now;
    }
    ck_assert_uint_eq(retraces / 8, 7);
    ck_assert_uint_ge(lines, 7 * 350);
    ck_assert_uint_le(lines, 7 * 410);
}
END_TEST

START_TEST(fuzz)
{
    static u32 big[2560 * 1600];
    static char text[5000];
    srand(7);
    for (unsigned i = 0; i < 3000; i++) {
        for (unsigned n = 0; n < 60; n++) {
            unsigned r = (unsigned)rand();
            switch (r >> 8 & 7) {
            case 0: case 1: out((u16)(0x3b0 + r % 48), (u8)(r >> 16)); break;
            case 2: indexed((const u16[]) { 0x3c4, 0x3ce, 0x3d4, 0x3b4 }[r & 3], (u8)(r >> 12 & 31), (u8)(r >> 20)); break;
            case 3: vbe((u16)(r % 12), (u16)((u32)rand() >> (r >> 16 & 15))); break;
            case 4: physmap_write_int(phys, 0xa0000 + (u32)rand() % 0x1fffc, 4, (u32)rand()); break;
            case 5: physmap_read_int(phys, 0xa0000 + (u32)rand() % 0x1fffc, 4); break;
            case 6: physmap_write_int(phys, MMIO + (r & 0xffc), 4, (u32)rand()); break;
            default: in((u16)(0x3b0 + r % 48)); break;
            }
        }
        in(0x3da);
        out(0x3c0, 0x20);
        if (i % 20 == 0) {
            size = vga->display.size(vga->display.ctx);
            ck_assert_uint_le((u64)size.width * size.height, ARRAY_LEN(big));
            vga->display.render(vga->display.ctx, big);
            vga->display.text(vga->display.ctx, text, sizeof text);
        }
    }
}
END_TEST

static u32 be32(const u8 *p) { return (u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }

START_TEST(png)
{
    char path[128], err[256];
    static u32 image_in[37 * 11];
    static u8 file[8192], raw[(37 * 3 + 1) * 11 + 1];
    for (unsigned i = 0; i < ARRAY_LEN(image_in); i++)
        image_in[i] = (u32)rand() & 0xffffff;
    snprintf(path, sizeof path, "%s/a.png", dir);
    ck_assert(png_write(path, image_in, 37, 11, err, sizeof err));
    FILE *f = fopen(path, "rb");
    size_t n = fread(file, 1, sizeof file, f);
    fclose(f);
    ck_assert_mem_eq(file, "\x89PNG\r\n\x1a\n", 8);
    ck_assert_uint_eq(be32(file + 16), 37);
    ck_assert_uint_eq(be32(file + 20), 11);
    uLongf raw_bytes = sizeof raw;
    for (u8 *c = file + 8; c < file + n; c += 12 + be32(c)) {
        ck_assert_uint_eq(crc32(0, c + 4, be32(c) + 4), be32(c + 8 + be32(c)));
        if (!memcmp(c + 4, "IDAT", 4))
            ck_assert_int_eq(uncompress(raw, &raw_bytes, c + 8, be32(c)), Z_OK);
    }
    ck_assert_uint_eq(raw_bytes, sizeof raw - 1);
    for (unsigned y = 0; y < 11; y++) {
        u8 *row = raw + y * (37 * 3 + 1);
        ck_assert_uint_eq(row[0], 1);
        for (unsigned i = 4; i <= 37 * 3; i++)
            row[i] = (u8)(row[i] + row[i - 3]);
        for (unsigned x = 0; x < 37; x++)
            ck_assert_uint_eq(be32(row + x * 3 + 1) >> 8, image_in[y * 37 + x]);
    }
    ck_assert(!png_write("/nonexistent/a.png", image_in, 37, 11, err, sizeof err));
    ck_assert_ptr_nonnull(strstr(err, "/nonexistent/a.png: No such file"));
    ck_assert(!png_write(path, image_in, 0, 11, err, sizeof err));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vga");
    TCase *t = tcase_create("vga");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, off_after_reset);
    tcase_add_test(t, text_mode);
    tcase_add_test(t, two_fonts);
    tcase_add_test(t, mode_13h);
    tcase_add_test(t, mode_x);
    tcase_add_test(t, mode_12h_write_modes);
    tcase_add_test(t, cga_modes);
    tcase_add_test(t, vbe_modes);
    tcase_add_test(t, vbe_8bit_dac_and_mmio);
    tcase_add_test(t, registers);
    tcase_add_test(t, retrace);
    tcase_add_test(t, fuzz);
    tcase_add_test(t, png);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
