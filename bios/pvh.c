/* pvh.c - ELF kernels with Xen's PVH entry (Linux vmlinux with CONFIG_PVH, FreeBSD): Xen docs/misc/pvh,
 * xen/include/public/arch-x86/hvm/start_info.h.
 *
 * The kernel is entered in 32-bit mode with EBX at a hvm_start_info, which lies with the memory map, the command line
 * and the list of modules (the initrd) in one block below 1 MiB. The option ROM adds the map and the RSDP's address.
 */
#include "bios/private.h"

#include <stdio.h>
#include <unistd.h>

enum { START_MAGIC = 0x336ec578, INFO_PLACE = 0x10000, INFO_MAX = 0x40000, MMAP_ROOM = 128, MMAP_ENTRY = 24 };
enum start_info { VERSION = 4, NR_MODULES = 12, MODLIST_PADDR = 16, CMDLINE_PADDR = 24, RSDP_PADDR = 32, MEMMAP_PADDR = 40,
                  MEMMAP_ENTRIES = 48, INFO_BYTES = 64, MODULE_BYTES = 32 };
#define MAX_INITRD ((u64)3 << 30)

/* Any ELF file that gets here: if it is damaged, the message says so. */
bool pvh_is(const struct kernel_image *image) { return elf_image_is(image); }

/* Gives it to fw_cfg; *at: where it goes. */
static bool load_initrd(struct kernelboot *k, const char *path, u64 kernel_end, u64 *bytes, u64 *at, char *err, size_t errlen)
{
    int fd = file_open(path, MAX_INITRD, bytes, err, errlen);
    if (fd < 0)
        return false;
    u64 top = kernelboot_top(k->m);
    *at = top > *bytes ? (top - *bytes) & PAGE_MASK : 0;
    if (*at < kernel_end) {
        close(fd);
        snprintf(err, errlen, "-initrd %s (%llu KiB) does not fit into memory together with the kernel: the machine has %llu MiB (-m)",
                 path, (unsigned long long)((*bytes + 1023) >> 10), (unsigned long long)(k->m->ram_below_4g >> 20));
        return false;
    }
    kernelboot_copy(k, FW_CFG_INITRD_DATA, true, (u32)*at, (u32)*bytes);
    fw_cfg_add_open(k->f, FW_CFG_INITRD_DATA, fd, 0, (u32)*bytes, path);
    return true;
}

static void make_info(struct bytes *b, const char *cmdline, u64 initrd, u64 initrd_bytes)
{
    u64 modlist = INFO_BYTES, memmap = modlist + MODULE_BYTES, text = memmap + MMAP_ROOM * MMAP_ENTRY;
    u8 *info = bytes_grow(b, text);

    put_le(info, START_MAGIC, 4);
    put_le(info + VERSION, 1, 4);
    put_le(info + CMDLINE_PADDR, INFO_PLACE + text, 8);
    put_le(info + MEMMAP_PADDR, INFO_PLACE + memmap, 8);
    if (initrd_bytes) {
        put_le(info + NR_MODULES, 1, 4);
        put_le(info + MODLIST_PADDR, INFO_PLACE + modlist, 8);
        put_le(info + modlist, initrd, 8);
        put_le(info + modlist + 8, initrd_bytes, 8);
    }
    bytes_add(b, cmdline, strlen(cmdline) + 1);
}

bool pvh_load(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen)
{
    const char *cmdline = cfg->append ? cfg->append : "";
    struct elf_program p;
    struct bytes info = { 0 };
    u64 low_end, high_end, at = 0, initrd_bytes = 0;

    if (!elf_image_read(image, &p, err, errlen))
        return false;
    if (!p.has_pvh_entry) {
        snprintf(err, errlen, "%s is no Linux bzImage, Multiboot or PVH kernel", image->name);
        return false;
    }
    if (!elf_image_load(k, image, &p, &low_end, &high_end, err, errlen))
        return false;
    if (low_end > INFO_PLACE || p.pvh_entry > UINT32_MAX || strlen(cmdline) > INFO_MAX / 2) {
        snprintf(err, errlen, "%s: %s", image->name, low_end > INFO_PLACE ? "it leaves no room below 1 MiB"
                 : p.pvh_entry > UINT32_MAX ? "its entry is above 4 GiB" : "the command line is too long");
        return false;
    }
    if (cfg->initrd_file && !load_initrd(k, cfg->initrd_file, high_end, &initrd_bytes, &at, err, errlen))
        return false;
    make_info(&info, cmdline, at, initrd_bytes);
    kernelboot_copy(k, FW_CFG_SETUP_DATA, true, INFO_PLACE, (u32)info.n);
    fw_cfg_take(k->f, FW_CFG_SETUP_DATA, info.data, info.n);
    if (kernelboot_end(k, &(struct kernelboot_parameters){
            .kind = KERNEL_PVH, .e820_table = INFO_PLACE + INFO_BYTES + MODULE_BYTES, .e820_room = MMAP_ROOM,
            .e820_result = INFO_PLACE + MEMMAP_ENTRIES, .rsdp_result = INFO_PLACE + RSDP_PADDR, .entry = (u32)p.pvh_entry,
            .ebx = INFO_PLACE }))
        return true;
    snprintf(err, errlen, "%s has too many segments", image->name);
    return false;
}
