/* vga_text.c - text modes: characters from plane 0, attributes from plane 1, fonts from plane 2; and the screen as UTF-8.
 *
 * A font is 256 characters of 32 bytes, at one of eight places (sequencer register 3); attribute bit 3 chooses between two of
 * them. Nine-dot characters repeat dot 8 in C0-DF (line graphics) if the attribute controller says so.
 */
#include "devices/vga.h"

enum { AR10_MONO = 0x02, AR10_LINE_GRAPHICS = 0x04, AR10_BLINK = 0x08 };

struct text_state {         /* what does not change within a line */
    const u8 *font[2];      /* of the characters without and with attribute bit 3 */
    unsigned dots;
    bool blink_phase, cursor_line, underline_line;
    u16 cursor;             /* address in the planes */
};

/* 16 KiB steps, the odd 8 KiB with the high bit. */
static const u8 *font_at(const struct vga *v, unsigned select)
{
    return v->vram->base + (((select & 3) << 14 | (select & 4) << 11) * 4u) + 2;
}

static void text_state(const struct vga *v, const struct vga_scan *s, struct text_state *t)
{
    const u8 *cr = v->crtc;
    struct vga_timing timing;
    vga_timing(v, &timing);
    u64 frame = clock_now(v->pci.dev.clock) / timing.frame_ns;
    t->dots = timing.dots;
    t->font[0] = font_at(v, (v->seq[3] & 3u) | (v->seq[3] >> 2 & 4u));
    t->font[1] = font_at(v, (v->seq[3] >> 2 & 3u) | (v->seq[3] >> 3 & 4u));
    t->blink_phase = (v->attr[0x10] & AR10_BLINK) && (frame & 16);
    unsigned first = cr[0x0a] & 0x1f, last = cr[0x0b] & 0x1f;
    t->cursor_line = !(cr[0x0a] & 0x20) && s->ra >= first && s->ra <= last && !(frame & 8);
    /* The comparator sees the counter, so that the cursor is where the counter has that value in the present mode. */
    struct vga_scan at = { .ma = (u16)((cr[0x0e] << 8 | cr[0x0f]) + (cr[0x0b] >> 5 & 3)), .ra = s->ra, .split = true };
    t->cursor = (u16)(vga_fetch_address(v, &at, 0));
    t->underline_line = (v->attr[0x10] & AR10_MONO) && s->ra == (cr[0x14] & 0x1f);
}

static void character(const struct vga *v, const struct text_state *t, const u8 *cell, u8 ra, bool cursor, u8 *dots)
{
    u8 code = cell[0], attr = cell[1];
    u8 fg = attr & 15, bg = attr >> 4;
    u8 bits = t->font[attr >> 3 & 1][(code * 32u + ra) * 4];
    if (v->attr[0x10] & AR10_BLINK) {
        bg &= 7;
        if (t->blink_phase && attr & 0x80)
            bits = 0;
    }
    bool ninth = (bits & 1) && (v->attr[0x10] & AR10_LINE_GRAPHICS) && code >= 0xc0 && code <= 0xdf;
    if (t->underline_line && (attr & 0x07) == 1) {
        bits = 0xff;
        ninth = true;
    }
    if (cursor) {
        bits = 0xff;
        ninth = true;
    }
    fg = vga_attribute(v, fg);
    bg = vga_attribute(v, bg);
    for (unsigned i = 0; i < 8; i++)
        dots[i] = bits & 0x80 >> i ? fg : bg;
    if (t->dots == 9)
        dots[8] = ninth ? fg : bg;
}

void vga_text_line(const struct vga *v, const struct vga_scan *s, u8 *dots, unsigned columns)
{
    struct text_state t;
    text_state(v, s, &t);
    for (unsigned c = 0; c < columns; c++, dots += t.dots) {
        u16 address = vga_fetch_address(v, s, c);
        character(v, &t, v->vram->base + address * 4u, s->ra, t.cursor_line && address == t.cursor, dots);
    }
}

/* --------------------------------------------------------------------------- as UTF-8 ----- */

/* Code page 437 as the font of every VGA BIOS draws it; 0 and ff are blank. */
static const u16 cp437[256] = {
    0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022, 0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a, 0x266b, 0x263c,
    0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8, 0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc,
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f,
    0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f,
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x7b, 0x7c, 0x7d, 0x7e, 0x2302,
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
    0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9, 0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
    0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
    0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
    0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248, 0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x0020,
};

struct text_out { char *buf; size_t size, used; bool full; };

/* Whole characters only; once one did not fit nothing follows. */
static void put(struct text_out *o, u16 code)
{
    char c[3];
    unsigned n;
    if (code < 0x80) {
        c[0] = (char)code;
        n = 1;
    } else if (code < 0x800) {
        c[0] = (char)(0xc0 | code >> 6);
        c[1] = (char)(0x80 | (code & 0x3f));
        n = 2;
    } else {
        c[0] = (char)(0xe0 | code >> 12);
        c[1] = (char)(0x80 | (code >> 6 & 0x3f));
        c[2] = (char)(0x80 | (code & 0x3f));
        n = 3;
    }
    if (o->full || o->used + n + 1 > o->size) {
        o->full = true;
        return;
    }
    memcpy(o->buf + o->used, c, n);
    o->used += n;
}

static void put_row(const struct vga *v, const struct vga_scan *s, unsigned columns, struct text_out *o)
{
    unsigned last = columns;
    while (last && cp437[vga_fetch(v, s, last - 1)[0]] == ' ')
        last--;
    for (unsigned c = 0; c < last; c++)
        put(o, cp437[vga_fetch(v, s, c)[0]]);
    put(o, '\n');
}

bool vga_text_read(void *ctx, char *buf, size_t size)
{
    const struct vga *v = ctx;
    struct text_out o = { .buf = buf, .size = size };
    struct vga_timing t;
    struct vga_scan s;
    if (size)
        buf[0] = 0;
    if (!size || !vga_is_on(v) || !vga_is_text(v))
        return false;
    vga_timing(v, &t);
    vga_scan_start(v, &s);
    bool row_begins = true;         /* a row scrolled half out of sight counts too */
    for (unsigned y = 0; y < t.lines; y++) {
        if (row_begins)
            put_row(v, &s, t.columns, &o);
        bool had_split = s.split;
        u16 ma = s.ma;
        u8 ra = s.ra;
        vga_scan_next(v, &s);
        row_begins = s.ma != ma || s.split != had_split || (s.ra == 0 && ra != 0);
    }
    buf[o.used] = 0;
    return true;
}
