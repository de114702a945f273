/* vga_render.c - from display memory to pixels: CRTC addressing, shift registers, attribute controller, DAC.
 *
 * A picture is made scan line by scan line as the hardware makes it: the CRTC's address (ma) and row scan (ra) counters give the
 * address of each character clock, four bytes are fetched there and become eight (text: nine) dots. The result has one
 * pixel per dot (per two dots in 256-colour modes), and scan lines that only repeat (double scan, tall rows of graphics modes) are
 * left out: mode 13h gives 320x200. Registers are read when the picture is made; changes in the middle of a frame do not show.
 * Left out: borders, skew, shift/load of 16 and 32 bits, blinking in graphics modes. IBM VGA hardware reference, "CRT Controller".
 */
#include "devices/vga.h"

#define MAX_COLUMNS 256u

enum { SR1_8DOTS = 0x01, SR1_HALF_CLOCK = 0x08, SR1_OFF = 0x20 };
enum { CR9_DOUBLE_SCAN = 0x80, CR14_DOUBLEWORD = 0x40, CR14_COUNT_BY_4 = 0x20, CR17_COUNT_BY_2 = 0x08, CR17_DOUBLE_LINES = 0x04,
    CR17_BYTE = 0x40, CR17_MA15 = 0x20, CR17_SYNC = 0x80 };
enum { AR10_8BIT = 0x40, AR10_PAN_SPLIT = 0x20, AR10_P54 = 0x80, AR_PAS = 0x20 };
enum { GC5_INTERLEAVE = 0x20, GC5_256 = 0x40 };

void vga_timing(const struct vga *v, struct vga_timing *t)
{
    const u8 *cr = v->crtc;
    unsigned factor = cr[0x17] & CR17_DOUBLE_LINES ? 2 : 1;
    t->columns = cr[1] + 1u;
    t->total_chars = cr[0] + 5u;
    t->lines = ((cr[0x12] | (cr[7] & 0x02) << 7 | (cr[7] & 0x40) << 3) + 1u) * factor;
    t->total_lines = ((cr[6] | (cr[7] & 0x01) << 8 | (cr[7] & 0x20) << 4) + 2u) * factor;
    t->retrace_start = (cr[0x10] | (cr[7] & 0x04) << 6 | (cr[7] & 0x80) << 2) * factor;
    t->retrace_lines = (((cr[0x11] - cr[0x10]) & 15u) ? ((cr[0x11] - cr[0x10]) & 15u) : 16) * factor;
    t->dots = v->seq[1] & SR1_8DOTS ? 8 : 9;
    u64 hz = (v->misc >> 2 & 3) == 1 ? 28322000 : 25175000;
    if (v->seq[1] & SR1_HALF_CLOCK)
        hz /= 2;
    t->line_ns = (u64)t->total_chars * t->dots * NS_PER_SEC / hz;
    t->frame_ns = (u64)t->total_chars * t->dots * t->total_lines * NS_PER_SEC / hz;
    if (t->frame_ns < NS_PER_SEC / 200) {       /* not programmed yet, or nonsense: some steady frame rate */
        t->frame_ns = NS_PER_SEC / 60;
        t->line_ns = t->frame_ns / t->total_lines;
    }
}

bool vga_is_on(const struct vga *v)
{
    if (vbe_active(v))
        return v->attr_index & AR_PAS;
    return (v->attr_index & AR_PAS) && !(v->seq[1] & SR1_OFF) && (v->crtc[0x17] & CR17_SYNC);
}

u32 vga_dac(const struct vga *v, u8 pel)
{
    const u8 *c = v->dac[pel & v->dac_mask];
    if (vbe_active(v) && v->vbe[VBE_ENABLE] & VBE_8BIT_DAC)
        return (u32)c[0] << 16 | (u32)c[1] << 8 | c[2];
    u32 rgb = 0;
    for (unsigned i = 0; i < 3; i++)        /* six bits */
        rgb = rgb << 8 | (c[i] & 0x3f) << 2 | (c[i] & 0x3f) >> 4;
    return rgb;
}

u8 vga_attribute(const struct vga *v, u8 index)
{
    u8 pel = v->attr[index & v->attr[0x12] & 15] & 0x3f;
    if (v->attr[0x10] & AR10_P54)
        pel = (u8)((pel & 0x0f) | (v->attr[0x14] & 0x03) << 4);
    return (u8)(pel | (v->attr[0x14] & 0x0c) << 4);
}

/* ------------------------------------------------------------------------------------- CRTC ----- */

void vga_scan_start(const struct vga *v, struct vga_scan *s)
{
    *s = (struct vga_scan) { .ma = (u16)(v->crtc[0x0c] << 8 | v->crtc[0x0d]), .ra = v->crtc[8] & 0x1f };
}

void vga_scan_next(const struct vga *v, struct vga_scan *s)
{
    const u8 *cr = v->crtc;
    unsigned compare = cr[0x18] | (cr[7] & 0x10) << 4 | (cr[9] & 0x40) << 3;
    if (s->line++ == compare) {
        s->ma = 0;
        s->ra = 0;
        s->half = false;
        s->split = true;
        return;
    }
    if (cr[9] & CR9_DOUBLE_SCAN) {
        s->half = !s->half;
        if (s->half)
            return;
    }
    if (s->ra == (cr[9] & 0x1f)) {
        s->ra = 0;
        s->ma = (u16)(s->ma + cr[0x13] * 2);
    } else {
        s->ra = (s->ra + 1) & 0x1f;
    }
}

u16 vga_fetch_address(const struct vga *v, const struct vga_scan *s, unsigned column)
{
    const u8 *cr = v->crtc;
    bool pan = !(s->split && v->attr[0x10] & AR10_PAN_SPLIT);
    unsigned step = cr[0x14] & CR14_COUNT_BY_4 ? 2 : cr[0x17] & CR17_COUNT_BY_2 ? 1 : 0;
    u16 ma = (u16)(s->ma + (pan ? cr[8] >> 5 & 3 : 0) + (column >> step));
    u16 address = ma;
    if (cr[0x14] & CR14_DOUBLEWORD)
        address = (u16)(ma << 2 | ma >> 14);
    else if (!(cr[0x17] & CR17_BYTE))
        address = (u16)(ma << 1 | (ma >> (cr[0x17] & CR17_MA15 ? 15 : 13) & 1));
    if (!(cr[0x17] & 1))        /* CGA and Hercules: the row scan selects an 8 KiB bank */
        address = (u16)((address & ~0x2000) | (s->ra & 1) << 13);
    if (!(cr[0x17] & 2))
        address = (u16)((address & ~0x4000) | (s->ra & 2) << 13);
    return address;
}

/* Scan lines that make one line of the picture. */
static unsigned line_step(const struct vga *v)
{
    unsigned step = v->crtc[9] & CR9_DOUBLE_SCAN ? 2 : 1;
    if (!vga_is_text(v) && (v->crtc[0x17] & 3) == 3)
        step *= (v->crtc[9] & 0x1fu) + 1;
    return step;
}

/* ------------------------------------------------------------------------- graphics modes ----- */

/* Each fills eight dots per character clock with DAC indices. */
static void planar_line(const struct vga *v, const struct vga_scan *s, u8 *dots, unsigned columns)
{
    for (unsigned c = 0; c < columns; c++) {
        const u8 *p = vga_fetch(v, s, c);
        for (int bit = 7; bit >= 0; bit--)
            *dots++ = vga_attribute(v, (u8)((p[0] >> bit & 1) | (p[1] >> bit & 1) << 1 | (p[2] >> bit & 1) << 2 |
                (p[3] >> bit & 1) << 3));
    }
}

static void interleaved_line(const struct vga *v, const struct vga_scan *s, u8 *dots, unsigned columns)
{
    for (unsigned c = 0; c < columns; c++) {
        const u8 *p = vga_fetch(v, s, c);
        for (unsigned half = 0; half < 2; half++)
            for (int bit = 6; bit >= 0; bit -= 2)
                *dots++ = vga_attribute(v, (u8)((p[half] >> bit & 3) | (p[half + 2] >> bit & 3) << 2));
    }
}

/* Shift 256: nibbles; the attribute controller joins two of them unless AR10 says otherwise. */
static void nibble_line(const struct vga *v, const struct vga_scan *s, u8 *dots, unsigned columns)
{
    bool join = v->attr[0x10] & AR10_8BIT;
    u8 mask = (u8)((v->attr[0x12] & 15) * 0x11);
    for (unsigned c = 0; c < columns; c++) {
        const u8 *p = vga_fetch(v, s, c);
        for (unsigned i = 0; i < 4; i++, dots += 2) {
            dots[0] = join ? p[i] & mask : vga_attribute(v, p[i] >> 4);
            dots[1] = join ? p[i] & mask : vga_attribute(v, p[i] & 15);
        }
    }
}

typedef void line_fn(const struct vga *v, const struct vga_scan *s, u8 *dots, unsigned columns);

static line_fn *choose_line(const struct vga *v)
{
    if (vga_is_text(v))
        return vga_text_line;
    return v->gc[5] & GC5_256 ? nibble_line : v->gc[5] & GC5_INTERLEAVE ? interleaved_line : planar_line;
}

/* Dots that pixel panning moves the line to the left. In nine-dot modes 8 means none. */
static unsigned panning(const struct vga *v, const struct vga_scan *s, unsigned dots)
{
    unsigned pan = v->attr[0x13] & 15;
    if (s->split && v->attr[0x10] & AR10_PAN_SPLIT)
        return 0;
    if (dots == 9)
        return pan >= 8 ? 0 : pan + 1;
    return pan & 7;
}

struct frame { unsigned dots, columns, dots_per_pixel, step; struct display_size size; };

static void frame_layout(const struct vga *v, struct frame *f)
{
    struct vga_timing t;
    vga_timing(v, &t);
    f->dots = vga_is_text(v) ? t.dots : 8;
    f->columns = t.columns;
    f->dots_per_pixel = !vga_is_text(v) && v->gc[5] & GC5_256 && v->attr[0x10] & AR10_8BIT ? 2 : 1;
    f->step = line_step(v);
    f->size.width = f->columns * f->dots / f->dots_per_pixel;
    f->size.height = (t.lines + f->step - 1) / f->step;
}

struct display_size vga_size(void *ctx)
{
    const struct vga *v = ctx;
    struct frame f;
    if (!vga_is_on(v))
        return (struct display_size) { 0, 0 };
    if (vbe_active(v))
        return (struct display_size) { v->vbe[VBE_XRES], v->vbe[VBE_YRES] };
    frame_layout(v, &f);
    return f.size;
}

void vga_render(void *ctx, u32 *pixels)
{
    struct vga *v = ctx;
    struct frame f;
    struct vga_scan s;
    u8 dots[(MAX_COLUMNS + 2) * 9];
    u32 pens[256];
    if (!vga_is_on(v))
        return;
    for (unsigned i = 0; i < 256; i++)
        pens[i] = vga_dac(v, (u8)i);
    if (vbe_active(v)) {
        vbe_render(v, pens, pixels);
        return;
    }
    frame_layout(v, &f);
    line_fn *line = choose_line(v);
    vga_scan_start(v, &s);
    for (unsigned y = 0; y < f.size.height; y++) {
        const u8 *d = dots + panning(v, &s, f.dots);
        line(v, &s, dots, f.columns + 1);
        for (unsigned x = 0; x < f.size.width; x++, d += f.dots_per_pixel)
            *pixels++ = pens[*d];
        for (unsigned i = 0; i < f.step; i++)
            vga_scan_next(v, &s);
    }
}
