/* vga.h - standard VGA with the Bochs VBE extensions: PCI function 1234:1111.
 *
 * pc.c fills pci.pci/pci.devfn and (optionally) rom, calls device_init, and maps the legacy ranges as the regions below; the frame
 * buffer is BAR 0, the registers in memory BAR 2. vga->display is what the monitor and windows look at.
 * The model: vga.c (registers), vga_memory.c (the window at A0000), vga_render.c (pixels), vga_text.c (characters), vbe.c.
 */
#ifndef SHADOW86_VGA_H
#define SHADOW86_VGA_H

#include "devices/display.h"
#include "devices/pci.h"

enum vga_region {               /* regions 0-5 are BARs */
    VGA_REGION_MMIO = 2,
    VGA_REGION_PORTS = 8,       /* ports 3b0-3df (48 of them) */
    VGA_REGION_DISPI = 9,       /* ports 1ce-1d0: index, data (16 bits at 1cf or 1d0) */
    VGA_REGION_WINDOW = 10,     /* memory a0000-bffff, over RAM */
};

#define VGA_VRAM_BYTES (16u << 20)

enum vbe_register { VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_WIDTH, VBE_VIRT_HEIGHT,
    VBE_X_OFFSET, VBE_Y_OFFSET, VBE_MEMORY_64K, VBE_REGISTERS };
enum vbe_enable { VBE_ENABLED = 0x01, VBE_GETCAPS = 0x02, VBE_8BIT_DAC = 0x20, VBE_LFB = 0x40, VBE_NOCLEAR = 0x80 };

struct vga {
    struct pci_device pci;
    struct ram *rom;            /* VGA BIOS, or NULL; filled by pc.c */
    u32 rom_bytes;              /* a power of two */
    struct display display;     /* made by init */
    /* private */
    struct ram *vram;
    u8 misc, feature;
    u8 seq_index, seq[8];
    u8 crtc_index, crtc[32];
    u8 gc_index, gc[16];
    u8 attr_index, attr[32];    /* attr_index: bit 5 (PAS) as written */
    bool attr_flip_flop;        /* next write to 3c0 is data */
    u8 dac_mask, dac_read_index, dac_write_index, dac_component;
    bool dac_reading;
    u8 dac_latch[3], dac[256][3];
    u8 latch[4];
    u16 vbe_index, vbe[VBE_REGISTERS];
    u32 vbe_line_bytes;         /* of the virtual screen; in 4-bit modes, of one plane */
};

extern const struct device_class vga_class;

/* ------------------------------------------------------------------- between the files of the model ----- */

/* vga_memory.c: offset from a0000 */
u8 vga_memory_read(struct vga *v, u32 offset);
void vga_memory_write(struct vga *v, u32 offset, u8 value);

/* vga_render.c */
struct display_size vga_size(void *ctx);
void vga_render(void *ctx, u32 *pixels);
struct vga_timing {             /* what the CRTC's registers say */
    unsigned columns, total_chars;      /* character clocks of a line: visible, all */
    unsigned lines, total_lines;        /* scan lines of a frame: visible, all */
    unsigned retrace_start, retrace_lines;
    unsigned dots;                      /* per character: 8 or 9 */
    u64 line_ns, frame_ns;
};
void vga_timing(const struct vga *v, struct vga_timing *t);
static inline bool vga_is_text(const struct vga *v) { return !(v->gc[6] & 1) && !(v->vbe[VBE_ENABLE] & 1); }
bool vga_is_on(const struct vga *v);
u32 vga_dac(const struct vga *v, u8 pel);                   /* 0x00RRGGBB; the pixel mask is applied */
u8 vga_attribute(const struct vga *v, u8 index);            /* four bits through the palette registers to a DAC index */

/* The CRTC's walk down the screen, one scan line after the other. */
struct vga_scan { unsigned line; u16 ma; u8 ra; bool half, split; };
void vga_scan_start(const struct vga *v, struct vga_scan *s);
void vga_scan_next(const struct vga *v, struct vga_scan *s);
u16 vga_fetch_address(const struct vga *v, const struct vga_scan *s, unsigned column);  /* in each plane */
static inline const u8 *vga_fetch(const struct vga *v, const struct vga_scan *s, unsigned column)
{
    return v->vram->base + vga_fetch_address(v, s, column) * 4u;
}

/* vga_text.c */
void vga_text_line(const struct vga *v, const struct vga_scan *s, u8 *dots, unsigned columns);  /* DAC indices */
bool vga_text_read(void *ctx, char *buf, size_t size);

/* vbe.c */
u16 vbe_read(struct vga *v, unsigned index);
void vbe_write(struct vga *v, unsigned index, u16 value);
void vbe_reset(struct vga *v);
void vbe_render(struct vga *v, const u32 *pens, u32 *pixels);
static inline bool vbe_active(const struct vga *v) { return v->vbe[VBE_ENABLE] & VBE_ENABLED; }

#endif
