/* multiboot.c - kernels by the Multiboot Specification 0.6.96: ELF files (32 and 64 bit) and images with load addresses in
 * the header.
 *
 * All that the kernel is told lies in one block below 1 MiB: the information structure, the memory map (filled in by
 * the option ROM), the list of modules, the strings. Modules follow the kernel, each on a page boundary.
 */
#include "bios/private.h"

#include <stdio.h>

enum { SEARCH = 8192, HEADER_MAGIC = 0x1badb002, BOOT_MAGIC = 0x2badb002 };
enum header_flag { PAGE_ALIGN = 1 << 0, MEMORY_INFO = 1 << 1, VIDEO_MODE = 1 << 2, AOUT_KLUDGE = 1 << 16 };
enum info_flag { INFO_MEMORY = 1 << 0, INFO_BOOT_DEVICE = 1 << 1, INFO_CMDLINE = 1 << 2, INFO_MODS = 1 << 3, INFO_MMAP = 1 << 6,
                 INFO_LOADER_NAME = 1 << 9, INFO_FRAMEBUFFER = 1 << 12 };
enum info_field { MEM_LOWER = 4, BOOT_DEVICE = 12, CMDLINE = 16, MODS_COUNT = 20, MODS_ADDR = 24, MMAP_LENGTH = 44, MMAP_ADDR = 48,
                  LOADER_NAME = 64, FRAMEBUFFER_ADDR = 88, FRAMEBUFFER_PITCH = 96, FRAMEBUFFER_WIDTH = 100,
                  FRAMEBUFFER_HEIGHT = 104, FRAMEBUFFER_BPP = 108, FRAMEBUFFER_TYPE = 109, INFO_BYTES = 128 };
enum { MMAP_ROOM = 128, MMAP_ENTRY = 24, MOD_ENTRY = 16, INFO_MAX = 0x40000, FRAMEBUFFER_EGA_TEXT = 2 };
#define MAX_MODULES_BYTES ((u64)3 << 30)

static const u32 info_places[] = { 0x10000, 0x50000 };      /* the first that the kernel leaves free */

struct header { u64 offset; u32 flags; u32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; };

static bool find_header(const struct kernel_image *image, struct header *h)
{
    for (u64 at = 0; at + 12 <= image->size && at + 12 <= SEARCH; at += 4) {
        const u8 *p = image->data + at;
        u32 flags = (u32)get_le(p + 4, 4);
        if (get_le(p, 4) != HEADER_MAGIC || (u32)(HEADER_MAGIC + flags + get_le(p + 8, 4)))
            continue;
        *h = (struct header){ .offset = at, .flags = flags };
        if (flags & AOUT_KLUDGE && at + 32 <= image->size) {
            h->header_addr = (u32)get_le(p + 12, 4);
            h->load_addr = (u32)get_le(p + 16, 4);
            h->load_end_addr = (u32)get_le(p + 20, 4);
            h->bss_end_addr = (u32)get_le(p + 24, 4);
            h->entry_addr = (u32)get_le(p + 28, 4);
        }
        return true;
    }
    return false;
}

bool multiboot_is(const struct kernel_image *image)
{
    struct header h;
    return find_header(image, &h);
}

/* The addresses of the header as a single segment. 3.1.3 */
static bool kludge_program(const struct kernel_image *image, const struct header *h, struct elf_program *p, char *err, size_t errlen)
{
    u32 before = h->header_addr - h->load_addr;         /* bytes of the segment before the header */
    u64 offset = h->offset - before, left = image->size - offset;
    u64 bytes = h->load_end_addr ? (u64)h->load_end_addr - h->load_addr : left;
    u64 memory = h->bss_end_addr ? (u64)h->bss_end_addr - h->load_addr : bytes;

    memset(p, 0, sizeof(*p));
    if (h->offset + 32 > image->size || h->header_addr < h->load_addr || before > h->offset || bytes > left ||
        (h->load_end_addr && h->load_end_addr < h->load_addr) || (h->bss_end_addr && memory < bytes)) {
        snprintf(err, errlen, "%s: the addresses in its Multiboot header do not fit the file (truncated?)", image->name);
        return false;
    }
    p->count = 1;
    p->segment[0] = (struct elf_segment){ h->load_addr, offset, bytes, memory };
    p->entry = h->entry_addr;
    return true;
}

static bool program(const struct kernel_image *image, struct elf_program *p, char *err, size_t errlen)
{
    struct header h;

    find_header(image, &h);
    if (h.flags & 0xffff & ~(PAGE_ALIGN | MEMORY_INFO | VIDEO_MODE)) {
        snprintf(err, errlen, "%s needs Multiboot features that are unknown here (flags %x)", image->name, h.flags);
        return false;
    }
    if (h.flags & AOUT_KLUDGE)
        return kludge_program(image, &h, p, err, errlen);
    if (!elf_image_is(image)) {
        snprintf(err, errlen, "%s has a Multiboot header, but neither load addresses in it nor is it an ELF file", image->name);
        return false;
    }
    return elf_image_read(image, p, err, errlen);
}

/* ---------------------------------------------------------------------------------------------- modules ----- */

struct modules { struct bytes list /* MOD_ENTRY each, string as an offset into strings */, strings, data; };

/* "file arguments,file arguments"; a doubled comma is one comma. Returns what follows the element. */
static const char *next_module(const char *spec, struct bytes *element)
{
    for (; *spec; spec++) {
        if (*spec == ',' && *++spec != ',') {
            bytes_add(element, "", 1);
            return spec;
        }
        bytes_add(element, spec, 1);
    }
    bytes_add(element, "", 1);
    return NULL;
}

static bool add_module(struct modules *m, const char *text, u64 base, char *err, size_t errlen)
{
    size_t name = strcspn(text, " ");
    char *path = strndup(text, name);
    struct bytes file;
    bool ok = path && file_read(path, MAX_MODULES_BYTES - m->data.n, &file, err, errlen);

    free(path);
    if (!ok)
        return false;
    bytes_align(&m->data, PAGE_SIZE);
    bytes_int(&m->list, base + m->data.n, 4);
    bytes_int(&m->list, base + m->data.n + file.n, 4);
    bytes_int(&m->list, m->strings.n, 4);
    bytes_int(&m->list, 0, 4);
    bytes_add(&m->strings, text, strlen(text) + 1);
    bytes_add(&m->data, file.data, file.n);
    free(file.data);
    return true;
}

static bool read_modules(struct modules *m, const char *spec, u64 base, char *err, size_t errlen)
{
    while (spec) {
        struct bytes element = { 0 };
        spec = next_module(spec, &element);
        const char *text = (const char *)element.data + strspn((const char *)element.data, " ");
        bool ok = !*text || add_module(m, text, base, err, errlen);
        free(element.data);
        if (!ok)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------ information ----- */

static u32 info_place(const struct elf_program *p)
{
    for (unsigned i = 0; i < ARRAY_LEN(info_places); i++) {
        bool free = true;
        for (unsigned s = 0; s < p->count; s++)
            free &= p->segment[s].address + p->segment[s].bytes <= info_places[i] ||
                    p->segment[s].address >= info_places[i] + INFO_MAX;
        if (free)
            return info_places[i];
    }
    return 0;
}

static void info_framebuffer(u8 *info)
{
    put_le(info + FRAMEBUFFER_ADDR, 0xb8000, 8);
    put_le(info + FRAMEBUFFER_PITCH, 160, 4);
    put_le(info + FRAMEBUFFER_WIDTH, 80, 4);
    put_le(info + FRAMEBUFFER_HEIGHT, 25, 4);
    info[FRAMEBUFFER_BPP] = 16;
    info[FRAMEBUFFER_TYPE] = FRAMEBUFFER_EGA_TEXT;
}

static u64 info_string(struct bytes *b, u32 base, const char *s)
{
    u64 at = base + b->n;
    bytes_add(b, s, strlen(s) + 1);
    return at;
}

/* Strings and the module list behind the fixed part; then the fixed part, whose address no longer changes. */
static void make_info(struct bytes *b, u32 base, const struct modules *m, const struct kernel_image *image, const struct pc_config *cfg)
{
    size_t mods = m->list.n / MOD_ENTRY;
    u32 flags = INFO_MEMORY | INFO_BOOT_DEVICE | INFO_CMDLINE | INFO_MODS | INFO_MMAP | INFO_LOADER_NAME;

    bytes_grow(b, INFO_BYTES + MMAP_ROOM * MMAP_ENTRY);
    size_t list = b->n;
    bytes_add(b, m->list.data, m->list.n);
    size_t strings = b->n;
    bytes_add(b, m->strings.data, m->strings.n);
    for (size_t i = 0; i < mods; i++) {
        u8 *string = b->data + list + i * MOD_ENTRY + 8;
        put_le(string, base + strings + get_le(string, 4), 4);
    }
    u64 loader = info_string(b, base, "shadow86");
    u64 cmdline = base + b->n;
    bytes_add(b, image->name, strlen(image->name));
    if (cfg->append && *cfg->append) {
        bytes_add(b, " ", 1);
        bytes_add(b, cfg->append, strlen(cfg->append));
    }
    bytes_add(b, "", 1);

    u8 *info = b->data;
    if (!cfg->vga || strcmp(cfg->vga, "none")) {
        flags |= INFO_FRAMEBUFFER;
        info_framebuffer(info);
    }
    put_le(info, flags, 4);
    put_le(info + BOOT_DEVICE, 0x8000ffff, 4);          /* the first disk, no partition */
    put_le(info + CMDLINE, cmdline, 4);
    put_le(info + MODS_COUNT, mods, 4);
    put_le(info + MODS_ADDR, mods ? base + list : 0, 4);
    put_le(info + MMAP_ADDR, base + INFO_BYTES, 4);
    put_le(info + LOADER_NAME, loader, 4);
}

static bool finish(struct kernelboot *k, const struct kernel_image *image, const struct elf_program *p, struct bytes *info, u32 base,
                   char *err, size_t errlen)
{
    if (info->n > INFO_MAX) {
        snprintf(err, errlen, "%s: the command lines of kernel and modules are longer than %d bytes", image->name, INFO_MAX);
        return false;
    }
    kernelboot_copy(k, FW_CFG_SETUP_DATA, true, base, (u32)info->n);
    fw_cfg_take(k->f, FW_CFG_SETUP_DATA, info->data, info->n);
    info->data = NULL;
    if (kernelboot_end(k, &(struct kernelboot_parameters){
            .kind = KERNEL_MULTIBOOT, .e820_table = base + INFO_BYTES, .e820_room = MMAP_ROOM, .e820_result = base + MMAP_LENGTH,
            .memory_result = base + MEM_LOWER, .entry = (u32)p->entry, .eax = BOOT_MAGIC, .ebx = base }))
        return true;
    snprintf(err, errlen, "%s has too many segments", image->name);
    return false;
}

bool multiboot_load(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen)
{
    struct elf_program p;
    struct modules m = { 0 };
    struct bytes info = { 0 };
    u64 low_end, high_end;

    if (!program(image, &p, err, errlen) || !elf_image_load(k, image, &p, &low_end, &high_end, err, errlen))
        return false;
    u32 base = info_place(&p);
    if (!base || p.entry > UINT32_MAX) {
        snprintf(err, errlen, "%s: %s", image->name, base ? "its entry is above 4 GiB" : "it leaves no room below 1 MiB");
        return false;
    }
    u64 at = (high_end + PAGE_SIZE - 1) & PAGE_MASK;
    bool ok = read_modules(&m, cfg->initrd_file, at, err, errlen);
    if (ok && m.data.n) {
        struct kernel_image modules = { .name = "-initrd" };
        ok = kernelboot_room(k, &modules, at, at + m.data.n, err, errlen);
        if (ok) {
            kernelboot_copy(k, FW_CFG_INITRD_DATA, true, (u32)at, (u32)m.data.n);
            fw_cfg_take(k->f, FW_CFG_INITRD_DATA, m.data.data, m.data.n);
            m.data.data = NULL;
        }
    }
    if (ok) {
        make_info(&info, base, &m, image, cfg);
        ok = finish(k, image, &p, &info, base, err, errlen);
    }
    free(m.list.data);
    free(m.strings.data);
    free(m.data.data);
    free(info.data);
    return ok;
}
