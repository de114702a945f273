/* private.h - what the files of bios/ know of each other, and nobody else. */
#ifndef SHADOW86_BIOS_PRIVATE_H
#define SHADOW86_BIOS_PRIVATE_H

#include "bios/bios.h"
#include "bios/bytes.h"

/* ---- what fills fw_cfg: acpi.c, smbios.c, e820.c ---- */
bool bios_fill_acpi(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen);
void bios_fill_smbios(struct fw_cfg *f, const struct bios_machine *m);
void bios_fill_e820(struct fw_cfg *f, const struct bios_machine *m);

/* ---- rom.c: regular files. Empty ones and ones larger than `max` are errors. ---- */
/* A descriptor, *size: how large the file is. -1: error. */
int file_open(const char *path, u64 max, u64 *size, char *err, size_t errlen);
/* All of it in memory (from malloc). */
bool file_read(const char *path, u64 max, struct bytes *out, char *err, size_t errlen);
bool file_read_open(int fd, const char *path, u64 size, struct bytes *out, char *err, size_t errlen);

/* ---- kernel_load.c, kernelboot.c: a kernel that our option ROM starts ---- */
struct kernel_image {
    const u8 *data;
    u64 size;
    const char *name;           /* for messages and command lines: the file, or "built-in-guest" */
    int fd;                     /* of the file; -1: none */
};

enum kernel_kind { KERNEL_LINUX, KERNEL_MULTIBOOT, KERNEL_PVH };    /* numbers that kernelboot.S knows */
struct kernelboot_parameters {  /* see kernelboot.S */
    enum kernel_kind kind;
    u32 e820_table, e820_room, e820_result, memory_result, rsdp_result, entry, eax, ebx;
};

struct kernelboot { u8 *rom; unsigned descriptors; struct fw_cfg *f; const struct bios_machine *m; };

enum { KERNELBOOT_ROM = 4096, KERNELBOOT_TABLE = 0x800, KERNELBOOT_DESCRIPTORS = (KERNELBOOT_ROM - KERNELBOOT_TABLE) / 16 };
#define KERNELBOOT_LOW_START 0x8000u    /* memory that a kernel may be loaded to: below 1 MiB ... */
#define KERNELBOOT_LOW_END 0x90000u
#define KERNELBOOT_HIGH_START 0x100000u /* ... and from there to kernelboot_top() */
#define KERNELBOOT_ROM_NAME "genroms/kernelboot.bin"

void kernelboot_begin(struct kernelboot *k, struct fw_cfg *f, const struct bios_machine *m);
/* The ROM has the device copy the next n bytes of the item to an address (from its beginning if `first`), or zeros. */
void kernelboot_copy(struct kernelboot *k, u16 key, bool first, u32 to, u32 n);
void kernelboot_zero(struct kernelboot *k, u32 to, u32 n);
/* false: more pieces than the ROM holds. Gives the ROM to fw_cfg. */
bool kernelboot_end(struct kernelboot *k, const struct kernelboot_parameters *p);
/* End of the RAM below 4 GiB that the BIOS does not use for itself. */
u64 kernelboot_top(const struct bios_machine *m);
/* May the kernel be loaded to [start, end)? */
bool kernelboot_room(const struct kernelboot *k, const struct kernel_image *image, u64 start, u64 end, char *err, size_t errlen);

/* elf_image.c: the loadable segments of an ELF file, through libelf. */
enum { ELF_SEGMENTS = 48 };
struct elf_segment { u64 address, file_offset, file_bytes, bytes; };    /* physical address; sorted as in the file */
struct elf_program {
    unsigned count;
    struct elf_segment segment[ELF_SEGMENTS];
    u64 entry;                  /* physical */
    bool has_pvh_entry;
    u64 pvh_entry;
};
bool elf_image_is(const struct kernel_image *image);
bool elf_image_read(const struct kernel_image *image, struct elf_program *p, char *err, size_t errlen);
/* Checks that the segments fit into memory, puts their data into the item FW_CFG_KERNEL_DATA and has the ROM load them.
 * *low_end and *high_end: where the loaded image ends below and above 1 MiB (start of that memory if there is nothing). */
bool elf_image_load(struct kernelboot *k, const struct kernel_image *image, const struct elf_program *p, u64 *low_end,
                    u64 *high_end, char *err, size_t errlen);

/* Each returns false with a line in err. *_is: does it look like one? */
bool linux_is(const struct kernel_image *image);
bool linux_load(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen);
bool multiboot_is(const struct kernel_image *image);
bool multiboot_load(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen);
bool pvh_is(const struct kernel_image *image);
bool pvh_load(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen);

#endif
