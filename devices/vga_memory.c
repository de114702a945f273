/* vga_memory.c - the CPU's view of display memory through the window at A0000: the graphics controller.
 *
 * Four planes of 64 KiB. Byte n of plane p is kept at vram[4 n + p], so that one 32-bit word holds what a character clock
 * fetches. The addresses in the planes are those of the hardware: odd/even leaves bit 0 of the address out (bit 16 takes its
 * place in a 128 KiB window), chain-4 leaves out bits 0 and 1 likewise; the CRTC's word and doubleword modes are the counterpart.
 * The page bit of the miscellaneous output register (bit 5), which selects the other half of odd/even memory on
 * the EGA, is set by every BIOS and has no effect.
 * In VBE modes of eight and more bits per pixel the window is a 64 KiB bank of linear memory.
 * IBM VGA hardware reference, "Graphics Controller".
 */
#include "devices/vga.h"

enum { SR_MAP_MASK = 2, SR_MEMORY_MODE = 4 };
enum { SR4_SEQUENTIAL = 0x04, SR4_CHAIN4 = 0x08 };
enum { GC_SET_RESET, GC_ENABLE_SET_RESET, GC_COLOR_COMPARE, GC_ROTATE, GC_READ_MAP, GC_MODE, GC_MISC, GC_DONT_CARE, GC_BIT_MASK };
enum { GC5_READ_MODE = 0x08, GC5_ODD_EVEN = 0x10, GC6_CHAIN_ODD_EVEN = 0x02 };
enum { MISC_RAM = 0x02 };

struct place { u32 offset; unsigned plane; };      /* plane: what the low address bits select */

/* False: the address is outside the present window. */
static bool window_offset(const struct vga *v, u32 *offset)
{
    static const struct { u32 start, size; } windows[4] = {
        { 0x00000, 0x20000 }, { 0x00000, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 } };
    unsigned map = v->gc[GC_MISC] >> 2 & 3;
    if (!(v->misc & MISC_RAM) || *offset < windows[map].start || *offset - windows[map].start >= windows[map].size)
        return false;
    *offset -= windows[map].start;
    return true;
}

static u8 *linear(const struct vga *v, u32 offset)
{
    u64 at = (u64)v->vbe[VBE_BANK] * 0x10000 + offset;
    return offset < 0x10000 && at < v->vram->size ? v->vram->base + at : NULL;
}

static bool is_linear(const struct vga *v)
{
    return vbe_active(v) && v->vbe[VBE_BPP] != 4;
}

/* Where the four planes' bytes for this address start. */
static u8 *planes_at(const struct vga *v, u32 offset)
{
    u32 at = offset & 0xffff;
    if (v->seq[SR_MEMORY_MODE] & SR4_CHAIN4)
        at = (at & 0xfffc) | (offset >> 16 & 3);
    else if (v->gc[GC_MISC] & GC6_CHAIN_ODD_EVEN)
        at = (at & 0xfffe) | (v->gc[GC_MISC] & 0x0c ? 0 : offset >> 16 & 1);
    if (vbe_active(v))      /* planar VBE modes have more than 64 KiB per plane */
        at += (u32)v->vbe[VBE_BANK] * 0x10000 % (VGA_VRAM_BYTES / 4);
    return v->vram->base + at * 4;
}

static u8 color_compare(const struct vga *v)
{
    u8 differs = 0;
    for (unsigned p = 0; p < 4; p++)
        if (v->gc[GC_DONT_CARE] >> p & 1)
            differs |= v->latch[p] ^ (v->gc[GC_COLOR_COMPARE] >> p & 1 ? 0xff : 0);
    return (u8)~differs;
}

u8 vga_memory_read(struct vga *v, u32 offset)
{
    if (is_linear(v)) {
        const u8 *p = linear(v, offset);
        return p ? *p : 0xff;
    }
    if (!window_offset(v, &offset))
        return 0xff;
    memcpy(v->latch, planes_at(v, offset), 4);
    if (v->seq[SR_MEMORY_MODE] & SR4_CHAIN4)
        return v->latch[offset & 3];
    if (v->gc[GC_MODE] & GC5_READ_MODE)
        return color_compare(v);
    unsigned map = v->gc[GC_READ_MAP] & 3;
    if (v->gc[GC_MODE] & GC5_ODD_EVEN)
        map = (map & 2) | (offset & 1);
    return v->latch[map];
}

static u8 rotate(const struct vga *v, u8 value)
{
    unsigned n = v->gc[GC_ROTATE] & 7;
    return (u8)(value >> n | value << (8 - n));
}

static u8 combine(const struct vga *v, u8 value, u8 latch)
{
    switch (v->gc[GC_ROTATE] >> 3 & 3) {
    case 1: return value & latch;
    case 2: return value | latch;
    case 3: return value ^ latch;
    default: return value;
    }
}

static u8 set_reset(const struct vga *v, unsigned plane)
{
    return v->gc[GC_SET_RESET] >> plane & 1 ? 0xff : 0;
}

/* What goes to a plane in the present write mode, merged with the latch under the bit mask. */
static u8 write_value(const struct vga *v, u8 cpu, unsigned plane)
{
    u8 mask = v->gc[GC_BIT_MASK], value, latch = v->latch[plane];
    switch (v->gc[GC_MODE] & 3) {
    case 0:
        value = v->gc[GC_ENABLE_SET_RESET] >> plane & 1 ? set_reset(v, plane) : rotate(v, cpu);
        break;
    case 1:
        return latch;
    case 2:
        value = cpu >> plane & 1 ? 0xff : 0;
        break;
    default:
        mask &= rotate(v, cpu);
        value = set_reset(v, plane);
        break;
    }
    return (u8)((combine(v, value, latch) & mask) | (latch & ~mask));
}

void vga_memory_write(struct vga *v, u32 offset, u8 value)
{
    if (is_linear(v)) {
        u8 *p = linear(v, offset);
        if (p)
            *p = value;
        return;
    }
    if (!window_offset(v, &offset))
        return;
    u8 enabled = v->seq[SR_MAP_MASK] & 0x0f;
    if (v->seq[SR_MEMORY_MODE] & SR4_CHAIN4)
        enabled &= (u8)(1 << (offset & 3));
    else if (!(v->seq[SR_MEMORY_MODE] & SR4_SEQUENTIAL))
        enabled &= offset & 1 ? 0x0a : 0x05;
    u8 *planes = planes_at(v, offset);
    for (unsigned p = 0; p < 4; p++)
        if (enabled >> p & 1)
            planes[p] = write_value(v, value, p);
}
