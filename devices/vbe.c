/* vbe.c - the Bochs VBE interface ("dispi"): an index and a data register, linear frame buffers up to the size of the memory.
 *
 * Facts from the interface's description in the Bochs VGA BIOS (vbe_display_api.txt), version B0C5. While enabled it takes the place
 * of the CRTC's timing; the DAC and the legacy window stay. Every register combination gives a picture that lies inside the memory:
 * what does not fit is cut down when the mode is enabled or a register is written.
 */
#include "devices/vga.h"

enum { VBE_MAX_XRES = 2560, VBE_MAX_YRES = 1600, VBE_MAX_BPP = 32 };
#define VBE_VERSION_FIRST 0xb0c0
#define VBE_VERSION_LAST 0xb0c5

static unsigned bits_in_memory(unsigned bpp)
{
    return bpp == 15 ? 16 : bpp;
}

static u32 plane_limit(const struct vga *v)     /* bytes that a line may lie in */
{
    return v->vbe[VBE_BPP] == 4 ? VGA_VRAM_BYTES / 4 : VGA_VRAM_BYTES;
}

static u32 line_bytes(unsigned bpp, unsigned width)
{
    return bpp == 4 ? width / 8 : width * bits_in_memory(bpp) / 8;
}

/* Makes the registers consistent; needs: VBE enabled. */
static void fit(struct vga *v)
{
    u16 *r = v->vbe;
    switch (r[VBE_BPP]) {
    case 4: case 8: case 15: case 16: case 24: case 32: break;
    default: r[VBE_BPP] = 8;
    }
    r[VBE_XRES] = r[VBE_XRES] < 8 ? 8 : r[VBE_XRES] > VBE_MAX_XRES ? VBE_MAX_XRES : r[VBE_XRES] & ~7;
    if (r[VBE_VIRT_WIDTH] < r[VBE_XRES])
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    r[VBE_VIRT_WIDTH] &= (u16)~7;
    v->vbe_line_bytes = line_bytes(r[VBE_BPP], r[VBE_VIRT_WIDTH]);
    u32 rows = plane_limit(v) / v->vbe_line_bytes;      /* 65535 * 4 bytes fit 64 times */
    r[VBE_VIRT_HEIGHT] = (u16)(rows > 0xffff ? 0xffff : rows);
    u32 most = rows < VBE_MAX_YRES ? rows : VBE_MAX_YRES;
    r[VBE_YRES] = r[VBE_YRES] < 1 ? 1 : r[VBE_YRES] > most ? (u16)most : r[VBE_YRES];
    if (r[VBE_X_OFFSET] > r[VBE_VIRT_WIDTH] - r[VBE_XRES])
        r[VBE_X_OFFSET] = (u16)(r[VBE_VIRT_WIDTH] - r[VBE_XRES]);
    if (r[VBE_Y_OFFSET] > rows - r[VBE_YRES])
        r[VBE_Y_OFFSET] = (u16)(rows - r[VBE_YRES]);
}

/* Like Bochs, enabling brings the window to A0000 with the addressing of the mode: not every driver does that itself. */
static void set_window(struct vga *v)
{
    bool planar = v->vbe[VBE_BPP] == 4;
    v->gc[6] = (v->gc[6] & ~0x0f) | 0x05;
    v->gc[5] = (v->gc[5] & ~0x60) | (planar ? 0 : 0x40);
    v->seq[2] = 0x0f;
    v->seq[4] = planar ? 0x06 : 0x0e;
    v->seq[1] &= (u8)~0x08;
}

static void enable(struct vga *v, u16 value)
{
    u16 *r = v->vbe;
    u16 changed = r[VBE_ENABLE] ^ value;
    if (changed & VBE_8BIT_DAC)             /* colours keep their meaning when the DAC's width changes */
        for (unsigned i = 0; i < 256 * 3; i++) {
            u8 *c = &v->dac[i / 3][i % 3];
            *c = value & VBE_8BIT_DAC ? (u8)(*c << 2 | *c >> 4) : *c >> 2;
        }
    r[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB | VBE_NOCLEAR);
    if (!(value & VBE_ENABLED)) {
        r[VBE_BANK] = 0;
        return;
    }
    if (changed & VBE_ENABLED) {
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
        r[VBE_X_OFFSET] = r[VBE_Y_OFFSET] = 0;
        r[VBE_BANK] = 0;
    }
    fit(v);
    if (changed & VBE_ENABLED) {
        set_window(v);
        if (!(value & VBE_NOCLEAR))
            memset(v->vram->base, 0, (size_t)v->vbe_line_bytes * r[VBE_YRES] * (r[VBE_BPP] == 4 ? 4 : 1));
    }
}

u16 vbe_read(struct vga *v, unsigned index)
{
    bool caps = v->vbe[VBE_ENABLE] & VBE_GETCAPS;
    switch (index) {
    case VBE_XRES: return caps ? VBE_MAX_XRES : v->vbe[index];
    case VBE_YRES: return caps ? VBE_MAX_YRES : v->vbe[index];
    case VBE_BPP: return caps ? VBE_MAX_BPP : v->vbe[index];
    case VBE_MEMORY_64K: return VGA_VRAM_BYTES >> 16;
    default: return index < VBE_REGISTERS ? v->vbe[index] : 0;
    }
}

void vbe_write(struct vga *v, unsigned index, u16 value)
{
    switch (index) {
    case VBE_ID:
        if (value >= VBE_VERSION_FIRST && value <= VBE_VERSION_LAST)
            v->vbe[VBE_ID] = value;
        return;
    case VBE_XRES: case VBE_YRES: case VBE_BPP: case VBE_VIRT_WIDTH: case VBE_X_OFFSET: case VBE_Y_OFFSET:
        v->vbe[index] = value;
        break;
    case VBE_BANK:
        v->vbe[index] = value & ((VGA_VRAM_BYTES >> 16) - 1);
        return;
    case VBE_ENABLE:
        enable(v, value);
        return;
    default:            /* virtual height and memory size follow from the others */
        return;
    }
    if (vbe_active(v))
        fit(v);
}

void vbe_reset(struct vga *v)
{
    memset(v->vbe, 0, sizeof v->vbe);
    v->vbe[VBE_ID] = VBE_VERSION_LAST;
    v->vbe_index = 0;
    v->vbe_line_bytes = 0;
}

/* ------------------------------------------------------------------------------ pixels ----- */

static void planar_pixels(const struct vga *v, const u8 *row, unsigned x, unsigned n, const u32 *pens, u32 *out)
{
    for (; n--; x++) {
        const u8 *p = row + x / 8 * 4;
        unsigned bit = 7 - x % 8;
        *out++ = pens[vga_attribute(v, (u8)((p[0] >> bit & 1) | (p[1] >> bit & 1) << 1 | (p[2] >> bit & 1) << 2 |
            (p[3] >> bit & 1) << 3))];
    }
}

static u32 widen(unsigned value, unsigned bits)
{
    return value << (8 - bits) | value >> (2 * bits - 8);
}

static u32 pixel_15(const u8 *p)
{
    unsigned v = p[0] | p[1] << 8;
    return widen(v >> 10 & 31, 5) << 16 | widen(v >> 5 & 31, 5) << 8 | widen(v & 31, 5);
}

static u32 pixel_16(const u8 *p)
{
    unsigned v = p[0] | p[1] << 8;
    return widen(v >> 11, 5) << 16 | widen(v >> 5 & 63, 6) << 8 | widen(v & 31, 5);
}

static u32 pixel_24(const u8 *p)
{
    return (u32)p[2] << 16 | (u32)p[1] << 8 | p[0];
}

static void packed_pixels(unsigned bpp, const u8 *p, unsigned n, const u32 *pens, u32 *out)
{
    unsigned step = bits_in_memory(bpp) / 8;
    for (; n--; p += step)
        *out++ = bpp == 8 ? pens[*p] : bpp == 15 ? pixel_15(p) : bpp == 16 ? pixel_16(p) : pixel_24(p);
}

void vbe_render(struct vga *v, const u32 *pens, u32 *pixels)
{
    const u16 *r = v->vbe;
    unsigned bpp = r[VBE_BPP], width = r[VBE_XRES];
    for (unsigned y = 0; y < r[VBE_YRES]; y++, pixels += width) {
        u32 row = (r[VBE_Y_OFFSET] + y) * v->vbe_line_bytes;
        if (bpp == 4)
            planar_pixels(v, v->vram->base + row * 4, r[VBE_X_OFFSET], width, pens, pixels);
        else
            packed_pixels(bpp, v->vram->base + row + r[VBE_X_OFFSET] * bits_in_memory(bpp) / 8, width, pens, pixels);
    }
}
