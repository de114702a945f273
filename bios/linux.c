/* linux.c - Linux bzImages and zImages by the boot protocol, 2.00 and later. Linux Documentation/arch/x86/boot.rst.
 *
 * The file begins with the setup code (real mode), whose header at 1f1h tells and is told everything; the rest is the
 * protected-mode part. Setup goes to 10000h (old kernels: 90000h), the command line behind it, the protected-mode part to
 * 1 MiB (old or small kernels: 10000h), the initrd as high as the kernel allows. The option ROM enters the setup code,
 * which asks the BIOS for the memory map itself.
 */
#include "bios/private.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_INITRD ((u64)3 << 30)

enum setup_header {
    SETUP_SECTS = 0x1f1, SYSSIZE = 0x1f4, VID_MODE = 0x1fa, BOOT_FLAG = 0x1fe, MAGIC = 0x202, PROTOCOL = 0x206,
    TYPE_OF_LOADER = 0x210, LOADFLAGS = 0x211, RAMDISK_IMAGE = 0x218, RAMDISK_SIZE = 0x21c, HEAP_END_PTR = 0x224,
    CMD_LINE_PTR = 0x228, INITRD_ADDR_MAX = 0x22c, XLOADFLAGS = 0x236, CMDLINE_SIZE = 0x238, PREF_ADDRESS = 0x258,
    INIT_SIZE = 0x260, HEADER_END = 0x268,
    OLD_CMD_LINE_MAGIC = 0x20, OLD_CMD_LINE_OFFSET = 0x22,
};
enum { LOADED_HIGH = 1, CAN_USE_HEAP = 0x80, XLF_CAN_BE_LOADED_ABOVE_4G = 2, LOADER_UNKNOWN = 0xff };
enum { INITRD_MAX_OLD = 0x37ffffff, CMDLINE_MAX_OLD = 255 };

struct plan {
    const struct kernel_image *image;
    unsigned protocol;
    u32 setup, setup_bytes, cmdline, cmdline_bytes, kernel, initrd;
    u64 kernel_bytes, kernel_end, initrd_max, initrd_bytes;
    int initrd_fd;
};

bool linux_is(const struct kernel_image *image)
{
    return image->size >= PROTOCOL + 2 && get_le(image->data + BOOT_FLAG, 2) == 0xaa55 &&
           !memcmp(image->data + MAGIC, "HdrS", 4);
}

static u64 field(const struct plan *p, unsigned offset, unsigned bytes)
{
    return offset + bytes <= p->image->size ? get_le(p->image->data + offset, bytes) : 0;
}

/* "vga=" of the command line is the loader's business. */
static bool video_mode(const char *cmdline, u16 *mode)
{
    static const struct { const char *name; u16 mode; } names[] = { { "normal", 0xffff }, { "ext", 0xfffe }, { "ask", 0xfffd } };

    for (const char *at = cmdline; (at = strstr(at, "vga=")); at++) {
        if (at != cmdline && at[-1] != ' ')
            continue;
        at += 4;
        for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
            if (!strncmp(at, names[i].name, strlen(names[i].name))) {
                *mode = names[i].mode;
                return true;
            }
        }
        char *end;
        unsigned long n = strtoul(at, &end, 0);
        *mode = (u16)n;
        return end != at && n <= 0xffff;
    }
    return false;
}

static bool truncated(const struct plan *p, char *err, size_t errlen)
{
    snprintf(err, errlen, "%s is a Linux kernel, but the file is truncated", p->image->name);
    return false;
}

/* What the header says, and where the parts go. */
static bool plan_kernel(struct plan *p, struct kernelboot *k, const char *cmdline, char *err, size_t errlen)
{
    const struct kernel_image *image = p->image;
    unsigned sectors = image->data[SETUP_SECTS] ? image->data[SETUP_SECTS] : 4;

    p->protocol = (unsigned)get_le(image->data + PROTOCOL, 2);
    if (p->protocol < 0x200) {
        snprintf(err, errlen, "%s is a Linux kernel with boot protocol %u.%02u; 2.00 or later is needed", image->name,
                 p->protocol >> 8, p->protocol & 0xff);
        return false;
    }
    p->setup_bytes = (sectors + 1) * 512;
    if (image->size < HEADER_END || image->size <= p->setup_bytes)
        return truncated(p, err, errlen);
    p->kernel_bytes = image->size - p->setup_bytes;
    u64 syssize = field(p, SYSSIZE, p->protocol >= 0x204 ? 4 : 2) * 16;
    if (p->kernel_bytes + 15 < syssize)
        return truncated(p, err, errlen);

    u64 cmdline_max = p->protocol >= 0x206 ? field(p, CMDLINE_SIZE, 4) : CMDLINE_MAX_OLD;
    if (cmdline_max > 0xf000)
        cmdline_max = 0xf000;
    if (strlen(cmdline) > cmdline_max) {
        snprintf(err, errlen, "-append: %s takes a command line of at most %llu characters, this has %zu", image->name,
                 (unsigned long long)cmdline_max, strlen(cmdline));
        return false;
    }
    p->cmdline_bytes = (u32)strlen(cmdline) + 1;
    bool high = field(p, LOADFLAGS, 1) & LOADED_HIGH, modern = p->protocol >= 0x202 && high;
    p->kernel = high ? 0x100000 : 0x10000;
    p->setup = modern ? 0x10000 : 0x90000;
    p->cmdline = modern ? 0x20000 : 0x9a000 - ((p->cmdline_bytes + 15) & ~15u);
    if (p->setup_bytes + 0x1000 > p->cmdline - p->setup) {
        snprintf(err, errlen, "%s: its setup code is too large (%u bytes)", image->name, p->setup_bytes);
        return false;
    }
    p->kernel_end = p->kernel + p->kernel_bytes;
    if (!kernelboot_room(k, image, p->kernel, p->kernel_end, err, errlen))
        return false;
    if (p->protocol >= 0x20a) {                 /* where it unpacks itself to */
        u64 at = field(p, PREF_ADDRESS, 8), size = field(p, INIT_SIZE, 4);
        if (at >= KERNELBOOT_HIGH_START && at < (u64)4 << 30 && at + size > p->kernel_end)
            p->kernel_end = at + size;
        if (!kernelboot_room(k, image, p->kernel, p->kernel_end, err, errlen))
            return false;
    }
    p->initrd_max = p->protocol >= 0x203 ? field(p, INITRD_ADDR_MAX, 4) : INITRD_MAX_OLD;
    if (p->protocol >= 0x20c && field(p, XLOADFLAGS, 2) & XLF_CAN_BE_LOADED_ABOVE_4G)
        p->initrd_max = UINT32_MAX;
    return true;
}

static bool plan_initrd(struct plan *p, struct kernelboot *k, const char *file, char *err, size_t errlen)
{
    p->initrd_fd = file_open(file, MAX_INITRD, &p->initrd_bytes, err, errlen);
    if (p->initrd_fd < 0)
        return false;
    u64 top = kernelboot_top(k->m), size = p->initrd_bytes;
    u64 lowest = p->kernel_end > KERNELBOOT_HIGH_START ? p->kernel_end : KERNELBOOT_HIGH_START;
    if (top > p->initrd_max + 1)
        top = p->initrd_max + 1;
    if (top < size || ((top - size) & PAGE_MASK) < lowest) {
        snprintf(err, errlen, "-initrd %s (%llu KiB) does not fit into memory together with %s: the machine has %llu MiB (-m)",
                 file, (unsigned long long)((size + 1023) >> 10), p->image->name, (unsigned long long)(k->m->ram_below_4g >> 20));
        return false;
    }
    p->initrd = (u32)((top - size) & PAGE_MASK);
    return true;
}

/* The loader's fields of the header. */
static void fill_setup(const struct plan *p, u8 *setup, const char *cmdline)
{
    u16 mode;

    setup[TYPE_OF_LOADER] = LOADER_UNKNOWN;
    if (p->protocol >= 0x201) {
        setup[LOADFLAGS] |= CAN_USE_HEAP;
        put_le(setup + HEAP_END_PTR, p->cmdline - p->setup - 0x200 - 0x400 /* the stack */, 2);
    }
    if (p->protocol >= 0x202) {
        put_le(setup + CMD_LINE_PTR, p->cmdline, 4);
    } else {
        put_le(setup + OLD_CMD_LINE_MAGIC, 0xa33f, 2);
        put_le(setup + OLD_CMD_LINE_OFFSET, p->cmdline - p->setup, 2);
    }
    if (p->initrd_fd >= 0) {
        put_le(setup + RAMDISK_IMAGE, p->initrd, 4);
        put_le(setup + RAMDISK_SIZE, p->initrd_bytes, 4);
    }
    if (video_mode(cmdline, &mode))
        put_le(setup + VID_MODE, mode, 2);
}

static void publish_kernel(const struct plan *p, struct kernelboot *k)
{
    int fd = p->image->fd >= 0 ? fcntl(p->image->fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (fd >= 0)
        fw_cfg_add_open(k->f, FW_CFG_KERNEL_DATA, fd, p->setup_bytes, (u32)p->kernel_bytes, p->image->name);
    else
        fw_cfg_add(k->f, FW_CFG_KERNEL_DATA, p->image->data + p->setup_bytes, p->kernel_bytes);
}

/* The items are those that other firmware (OVMF) reads a kernel from, too. */
static void publish(struct plan *p, struct kernelboot *k, const char *cmdline, const char *initrd)
{
    u8 *setup = malloc(p->setup_bytes);

    if (!setup)
        abort();
    memcpy(setup, p->image->data, p->setup_bytes);
    fill_setup(p, setup, cmdline);
    fw_cfg_add_u32(k->f, FW_CFG_SETUP_ADDR, p->setup);
    fw_cfg_add_u32(k->f, FW_CFG_SETUP_SIZE, p->setup_bytes);
    fw_cfg_take(k->f, FW_CFG_SETUP_DATA, setup, p->setup_bytes);
    fw_cfg_add_u32(k->f, FW_CFG_CMDLINE_ADDR, p->cmdline);
    fw_cfg_add_u32(k->f, FW_CFG_CMDLINE_SIZE, p->cmdline_bytes);
    fw_cfg_add(k->f, FW_CFG_CMDLINE_DATA, cmdline, p->cmdline_bytes);
    fw_cfg_add_u32(k->f, FW_CFG_KERNEL_ADDR, p->kernel);
    fw_cfg_add_u32(k->f, FW_CFG_KERNEL_SIZE, (u32)p->kernel_bytes);
    publish_kernel(p, k);
    kernelboot_copy(k, FW_CFG_SETUP_DATA, true, p->setup, p->setup_bytes);
    kernelboot_copy(k, FW_CFG_CMDLINE_DATA, true, p->cmdline, p->cmdline_bytes);
    kernelboot_copy(k, FW_CFG_KERNEL_DATA, true, p->kernel, (u32)p->kernel_bytes);
    if (p->initrd_fd >= 0) {
        u32 n = (u32)p->initrd_bytes;
        fw_cfg_add_u32(k->f, FW_CFG_INITRD_ADDR, p->initrd);
        fw_cfg_add_u32(k->f, FW_CFG_INITRD_SIZE, n);
        fw_cfg_add_open(k->f, FW_CFG_INITRD_DATA, p->initrd_fd, 0, n, initrd);
        p->initrd_fd = -1;
        kernelboot_copy(k, FW_CFG_INITRD_DATA, true, p->initrd, n);
    }
}

bool linux_load(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen)
{
    const char *cmdline = cfg->append ? cfg->append : "";
    struct plan p = { .image = image, .initrd_fd = -1 };
    bool ok = plan_kernel(&p, k, cmdline, err, errlen) &&
              (!cfg->initrd_file || plan_initrd(&p, k, cfg->initrd_file, err, errlen));

    if (ok) {
        publish(&p, k, cmdline, cfg->initrd_file);
        /* The stack ends at the command line: SP in the upper half of the word, the segment in the lower. */
        u32 sp = (p.cmdline - p.setup - 16) & 0xfffc;
        ok = kernelboot_end(k, &(struct kernelboot_parameters){ .kind = KERNEL_LINUX, .entry = sp << 16 | p.setup >> 4 });
    }
    if (p.initrd_fd >= 0)
        close(p.initrd_fd);
    return ok;
}
