/* bios.h - what the machine finds at power-on: ROMs, the contents of fw_cfg (memory map, ACPI, SMBIOS, boot order), and
 * kernels loaded directly (Linux, Multiboot, PVH). */
#ifndef SHADOW86_BIOS_H
#define SHADOW86_BIOS_H

#include "cpu/cpu.h"
#include "devices/fw_cfg.h"
#include "devices/pc.h"
#include "mmu/mmu.h"

/* rom.c: maps the BIOS image so that it ends at 4 GiB, with its last 128 KiB also below 1 MiB (the chipset's PAM
 * registers decide what is seen there; i440fx.c asks for the ROM through *rom). */
bool bios_load_rom(const struct pc_config *cfg, struct ram **rom, u64 *size, char *err, size_t errlen);
/* Finds a file (vgabios-stdvga.bin...) in bios_dirs; reads it into a ram padded to a power of two. */
bool bios_load_option_rom(const struct pc_config *cfg, const char *name, struct ram **rom, u64 *size, char *err, size_t errlen);

/* e820.c, acpi.c, smbios.c, boot.c: everything that goes into fw_cfg for this machine. */
struct bios_machine { u64 ram_below_4g, ram_above_4g; unsigned cpus; };
bool bios_fill_fw_cfg(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen);

/* linux.c, multiboot.c, pvh.c: recognizes the kernel and puts what is needed into fw_cfg (with an option ROM of our own or the one that
 * SeaBIOS finds under "genroms/"), so that the BIOS initialises the machine first and then starts it. */
bool bios_load_kernel(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen);

#endif
