/* bios.h - what the machine finds at power-on: ROMs, the contents of fw_cfg (memory map, ACPI, SMBIOS, boot order), and
 * kernels loaded directly (Linux, Multiboot, PVH). */
#ifndef SHADOW86_BIOS_H
#define SHADOW86_BIOS_H

#include "cpu/cpu.h"
#include "devices/fw_cfg.h"
#include "devices/pc.h"
#include "mmu/mmu.h"

/* rom.c: the BIOS image. pc.c maps it so that it ends at 4 GiB, with its last 128 KiB also below 1 MiB (the chipset's PAM
 * registers decide what is seen there; i440fx.c asks for the ROM through *rom). size is a multiple of 64 KiB. */
bool bios_load_rom(const struct pc_config *cfg, struct ram **rom, u64 *size, char *err, size_t errlen);
/* Finds a file (vgabios-stdvga.bin...) in bios_dirs; reads it into a ram padded to a power of two. */
bool bios_load_option_rom(const struct pc_config *cfg, const char *name, struct ram **rom, u64 *size, char *err, size_t errlen);

/* e820.c, acpi.c, smbios.c, boot.c: everything that goes into fw_cfg for this machine. */
struct bios_machine { u64 ram_below_4g, ram_above_4g; unsigned cpus; };
bool bios_fill_fw_cfg(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen);
/* The CMOS bytes in which firmware looks for memory sizes, number of CPUs and boot devices (mc146818_set through set()). */
typedef void bios_cmos_fn(void *ctx, u8 reg, u8 value);
void bios_fill_cmos(const struct pc_config *cfg, const struct bios_machine *m, bios_cmos_fn *set, void *ctx);

/* kernel_load.c; linux.c, multiboot.c, pvh.c: recognizes the kernel and puts what is needed into fw_cfg, with an option ROM of our own
 * (kernelboot.S), so that the BIOS initialises the machine first and then starts it. Without a kernel in cfg nothing happens. */
bool bios_load_kernel(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen);

#endif
