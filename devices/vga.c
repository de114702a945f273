/* vga.c - the registers of a standard VGA, its PCI function and its ranges: see vga.h.
 *
 * The legacy ranges are always decoded, as on a card that is the only display. The retrace bits of input status 1 follow guest time.
 * No vertical retrace interrupt: the PC's BIOS and drivers leave it off and most cards did not wire it.
 * IBM VGA hardware reference; the layout of BAR 2 is that of QEMU's stdvga (docs/specs/standard-vga): VGA ports from 3c0 at 400h,
 * dispi registers at 500h.
 */
#include <stdio.h>
#include <string.h>

#include "devices/vga.h"

enum { MISC_COLOR = 0x01 };
enum { CR11_PROTECT = 0x80 };
enum { AR_PAS = 0x20 };
enum { IS1_BLANK = 0x01, IS1_RETRACE = 0x08 };

/* ----------------------------------------------------------------------------- registers ----- */

static u8 input_status_1(struct vga *v)
{
    struct vga_timing t;
    vga_timing(v, &t);
    u64 in_frame = clock_now(v->pci.dev.clock) % t.frame_ns;
    unsigned line = (unsigned)(in_frame / (t.line_ns ? t.line_ns : 1));
    u64 in_line = in_frame % (t.line_ns ? t.line_ns : 1);
    u8 status = 0;
    if (line >= t.lines || in_line * t.total_chars >= t.columns * t.line_ns)
        status |= IS1_BLANK;
    /* A retrace that lies outside the frame would never be seen by guests that wait for it. */
    unsigned start = t.retrace_start < t.total_lines ? t.retrace_start : t.total_lines - 1;
    if (line >= start && line < start + t.retrace_lines)
        status |= IS1_RETRACE | IS1_BLANK;
    v->attr_flip_flop = false;
    return status;
}

static void attr_write(struct vga *v, u8 value)
{
    static const u8 masks[32] = { [0 ... 15] = 0x3f, [0x10] = 0xef, [0x11] = 0xff, [0x12] = 0x3f, [0x13] = 0x0f, [0x14] = 0x0f };
    v->attr_flip_flop = !v->attr_flip_flop;
    if (v->attr_flip_flop) {
        v->attr_index = value & 0x3f;
        return;
    }
    unsigned n = v->attr_index & 0x1f;
    if (n < 16 && v->attr_index & AR_PAS)
        return;             /* the palette belongs to the display while it is on */
    v->attr[n] = value & masks[n];
}

static u8 dac_max(const struct vga *v)
{
    return v->vbe[VBE_ENABLE] & VBE_8BIT_DAC ? 0xff : 0x3f;
}

static u8 dac_read(struct vga *v)
{
    u8 value = v->dac[v->dac_read_index][v->dac_component];
    if (++v->dac_component == 3) {
        v->dac_component = 0;
        v->dac_read_index++;
    }
    return value;
}

/* A colour changes when its third component arrives. */
static void dac_write(struct vga *v, u8 value)
{
    v->dac_latch[v->dac_component] = value & dac_max(v);
    if (++v->dac_component == 3) {
        v->dac_component = 0;
        memcpy(v->dac[v->dac_write_index++], v->dac_latch, 3);
    }
}

static u8 crtc_read(struct vga *v)
{
    switch (v->crtc_index) {
    case 0x22: return v->latch[v->gc[4] & 3];       /* undocumented, but everywhere */
    case 0x24: return v->attr_flip_flop ? 0x80 : 0;
    default: return v->crtc_index < 0x19 ? v->crtc[v->crtc_index] : 0;
    }
}

static void crtc_write(struct vga *v, u8 value)
{
    unsigned n = v->crtc_index;
    if (n >= 0x19)
        return;
    if (n < 8 && v->crtc[0x11] & CR11_PROTECT) {
        if (n == 7)         /* all but the line compare bit */
            v->crtc[7] = (u8)((v->crtc[7] & ~0x10) | (value & 0x10));
        return;
    }
    v->crtc[n] = value;
}

static void seq_write(struct vga *v, u8 value)
{
    static const u8 masks[8] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
    v->seq[v->seq_index] = value & masks[v->seq_index];
}

static void gc_write(struct vga *v, u8 value)
{
    static const u8 masks[16] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
    v->gc[v->gc_index] = value & masks[v->gc_index];
}

/* The CRTC and status ports stand at 3bx or 3dx. */
static bool decodes(const struct vga *v, u16 port)
{
    return (port >= 0x3c0 && port < 0x3d0) || (v->misc & MISC_COLOR ? port >= 0x3d0 : port < 0x3c0);
}

static u8 port_read(struct vga *v, u16 port)
{
    if (!decodes(v, port))
        return 0xff;
    switch (port) {
    case 0x3c0: return v->attr_index;
    case 0x3c1: return v->attr[v->attr_index & 0x1f];
    case 0x3c2: return 0x10;            /* switch sense: a colour monitor loads the DAC */
    case 0x3c3: return 0x01;
    case 0x3c4: return v->seq_index;
    case 0x3c5: return v->seq[v->seq_index];
    case 0x3c6: return v->dac_mask;
    case 0x3c7: return v->dac_reading ? 3 : 0;
    case 0x3c8: return v->dac_write_index;
    case 0x3c9: return dac_read(v);
    case 0x3ca: return v->feature;
    case 0x3cc: return v->misc;
    case 0x3ce: return v->gc_index;
    case 0x3cf: return v->gc[v->gc_index];
    case 0x3b4: case 0x3d4: return v->crtc_index;
    case 0x3b5: case 0x3d5: return crtc_read(v);
    case 0x3ba: case 0x3da: return input_status_1(v);
    default: return 0xff;
    }
}

static void port_write(struct vga *v, u16 port, u8 value)
{
    if (!decodes(v, port))
        return;
    switch (port) {
    case 0x3c0: attr_write(v, value); break;
    case 0x3c2: v->misc = value & 0xef; break;
    case 0x3c4: v->seq_index = value & 7; break;
    case 0x3c5: seq_write(v, value); break;
    case 0x3c6: v->dac_mask = value; break;
    case 0x3c7: v->dac_read_index = value; v->dac_component = 0; v->dac_reading = true; break;
    case 0x3c8: v->dac_write_index = value; v->dac_component = 0; v->dac_reading = false; break;
    case 0x3c9: dac_write(v, value); break;
    case 0x3ce: v->gc_index = value & 15; break;
    case 0x3cf: gc_write(v, value); break;
    case 0x3b4: case 0x3d4: v->crtc_index = value & 0x3f; break;
    case 0x3b5: case 0x3d5: crtc_write(v, value); break;
    case 0x3ba: case 0x3da: v->feature = value & 0x0b; break;
    }
}

/* -------------------------------------------------------------------------------- ranges ----- */

static u32 dispi_read(struct vga *v, u32 reg)
{
    return reg == 0 ? v->vbe_index : vbe_read(v, v->vbe_index);
}

static void dispi_write(struct vga *v, u32 reg, u32 value)
{
    if (reg == 0)
        v->vbe_index = (u16)value;
    else
        vbe_write(v, v->vbe_index, (u16)value);
}

static u32 mmio_read8(struct vga *v, u32 reg)
{
    if (reg >= 0x400 && reg < 0x420)
        return port_read(v, (u16)(0x3c0 + reg - 0x400));
    if (reg >= 0x500 && reg < 0x500 + VBE_REGISTERS * 2)
        return vbe_read(v, (reg - 0x500) / 2) >> (reg & 1) * 8 & 0xff;
    return 0xff;        /* 0-3ff: no EDID */
}

static u32 mmio_read(struct vga *v, u32 reg, unsigned bytes)
{
    u32 value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= mmio_read8(v, reg + i) << i * 8;
    return value;
}

static void mmio_write(struct vga *v, u32 reg, unsigned bytes, u32 value)
{
    if (reg >= 0x500 && reg + bytes <= 0x500 + VBE_REGISTERS * 2) {     /* registers are written whole */
        for (unsigned i = 0; i + 1 < bytes && !(reg & 1); i += 2)
            vbe_write(v, (reg + i - 0x500) / 2, (u16)(value >> i * 8));
        return;
    }
    for (unsigned i = 0; i < bytes; i++, reg++)
        if (reg >= 0x400 && reg < 0x420)
            port_write(v, (u16)(0x3c0 + reg - 0x400), (u8)(value >> i * 8));
}

/* Words and longs in the window of a linear VBE mode need no splitting. */
static u8 *linear_window(struct vga *v, u32 offset, unsigned bytes)
{
    u64 at = (u64)v->vbe[VBE_BANK] * 0x10000 + offset;
    bool fits = vbe_active(v) && v->vbe[VBE_BPP] != 4 && offset + bytes <= 0x10000 && at + bytes <= v->vram->size;
    return fits ? v->vram->base + at : NULL;
}

static u32 window_read(struct vga *v, u32 offset, unsigned bytes)
{
    u32 value = 0;
    const u8 *p = linear_window(v, offset, bytes);
    for (unsigned i = 0; i < bytes; i++)
        value |= (u32)(p ? p[i] : vga_memory_read(v, offset + i)) << i * 8;
    return value;
}

static void window_write(struct vga *v, u32 offset, unsigned bytes, u32 value)
{
    u8 *p = linear_window(v, offset, bytes);
    for (unsigned i = 0; i < bytes; i++, value >>= 8) {
        if (p)
            p[i] = (u8)value;
        else
            vga_memory_write(v, offset + i, (u8)value);
    }
}

static u32 vga_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct vga *v = (struct vga *)d;
    u32 value = 0;
    switch (region) {
    case VGA_REGION_WINDOW: return window_read(v, reg, bytes);
    case VGA_REGION_MMIO: return mmio_read(v, reg, bytes);
    case VGA_REGION_DISPI: return dispi_read(v, reg);
    default:
        for (unsigned i = 0; i < bytes; i++)
            value |= (u32)port_read(v, (u16)(0x3b0 + reg + i)) << i * 8;
        return value;
    }
}

static void vga_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct vga *v = (struct vga *)d;
    switch (region) {
    case VGA_REGION_WINDOW: window_write(v, reg, bytes, value); break;
    case VGA_REGION_MMIO: mmio_write(v, reg, bytes, value); break;
    case VGA_REGION_DISPI: dispi_write(v, reg, value); break;
    default:
        for (unsigned i = 0; i < bytes; i++)
            port_write(v, (u16)(0x3b0 + reg + i), (u8)(value >> i * 8));
    }
}

/* ------------------------------------------------------------------------------- life ----- */

static void vga_reset(struct device *d)
{
    struct vga *v = (struct vga *)d;
    pci_reset(&v->pci);
    v->misc = v->feature = 0;
    v->seq_index = v->crtc_index = v->gc_index = v->attr_index = 0;
    memset(v->seq, 0, sizeof v->seq);
    memset(v->crtc, 0, sizeof v->crtc);
    memset(v->gc, 0, sizeof v->gc);
    memset(v->attr, 0, sizeof v->attr);
    memset(v->dac, 0, sizeof v->dac);
    memset(v->latch, 0, sizeof v->latch);
    v->attr_flip_flop = v->dac_reading = false;
    v->dac_mask = 0xff;
    v->dac_read_index = v->dac_write_index = v->dac_component = 0;
    vbe_reset(v);
}

static bool vga_init(struct device *d, char *err, size_t errlen)
{
    struct vga *v = (struct vga *)d;
    v->vram = ram_new(VGA_VRAM_BYTES, err, errlen);
    if (!v->vram)
        return false;
    pci_init(&v->pci, 0x1234, 0x1111, 0x030000, 0);
    pci_set_ram_bar(&v->pci, 0, v->vram, VGA_VRAM_BYTES);
    pci_set_bar(&v->pci, VGA_REGION_MMIO, PCI_BAR_MEM32, 4096);
    if (v->rom)
        pci_set_rom(&v->pci, v->rom, v->rom_bytes);
    v->display = (struct display) { .ctx = v, .size = vga_size, .render = vga_render, .text = vga_text_read };
    vga_reset(d);
    return true;
}

static void vga_fini(struct device *d)
{
    struct vga *v = (struct vga *)d;
    if (v->vram)
        ram_free(v->vram);
    v->vram = NULL;
}

static void vga_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct vga *v = (struct vga *)d;
    struct display_size size = vga_size(v);
    char line[128];
    snprintf(line, sizeof line, "%s, %ux%u, bits per pixel: %u, start %04x", !vga_is_on(v) ? "off" : vga_is_text(v) ? "text" :
        vbe_active(v) ? "VBE" : "graphics", size.width, size.height, vbe_active(v) ? v->vbe[VBE_BPP] : 0u,
        v->crtc[0x0c] << 8 | v->crtc[0x0d]);
    out(line, ctx);
}

const struct device_class vga_class = { .name = "VGA", .size = sizeof(struct vga), .init = vga_init, .reset = vga_reset,
    .fini = vga_fini, .read = vga_read, .write = vga_write, .print = vga_print };
