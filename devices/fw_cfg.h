/* fw_cfg.h - QEMU's firmware configuration device: selector at port 0x510, data at 0x511, DMA at 0x514.
 * Contents are made in bios/. Format: QEMU docs/specs/fw_cfg. */
#ifndef SHADOW86_FW_CFG_H
#define SHADOW86_FW_CFG_H

#include "devices/device.h"

enum fw_cfg_key {   /* numbers that SeaBIOS and kernels know */
    FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03, FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05, FW_CFG_MACHINE_ID = 0x06, FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08, FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b, FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f, FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11, FW_CFG_INITRD_DATA = 0x12, FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15, FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17, FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19, FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_NOTHING = 0x3fff,            /* never exists: reads as zeros */
    FW_CFG_IRQ0_OVERRIDE = 0x8002,      /* x86's own keys have bit 15 set */
};

/* pc.c maps these I/O ranges. */
enum fw_cfg_region { FW_CFG_REGION_PORTS /* 2 ports at 0x510 */, FW_CFG_REGION_DMA /* 8 ports at 0x514 */ };
#define FW_CFG_MAX_NAME 55              /* without the NUL */

extern const struct device_class fw_cfg_class;
struct fw_cfg;
/* The device copies the data. Numeric helpers store little-endian. */
void fw_cfg_add(struct fw_cfg *f, u16 key, const void *data, size_t n);
void fw_cfg_add_u16(struct fw_cfg *f, u16 key, u16 v);
void fw_cfg_add_u32(struct fw_cfg *f, u16 key, u32 v);
void fw_cfg_add_u64(struct fw_cfg *f, u16 key, u64 v);
void fw_cfg_add_string(struct fw_cfg *f, u16 key, const char *s);           /* with its NUL */
void fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t n);    /* name: at most FW_CFG_MAX_NAME */
/* The same without the copy: data comes from malloc and belongs to the device now. */
void fw_cfg_take(struct fw_cfg *f, u16 key, void *data, size_t n);
/* n bytes of an open file from `offset` on, read when the guest reads them: what is large need not be held in memory as well. The
 * device closes fd; name is for the message when the file has become shorter, whose end reads as zeros then. */
void fw_cfg_add_open(struct fw_cfg *f, u16 key, int fd, u64 offset, u32 n, const char *name);
/* What is there (NULL if nothing, or an open file); good until it is replaced. */
const void *fw_cfg_item(const struct fw_cfg *f, u16 key, size_t *n);
const void *fw_cfg_file(const struct fw_cfg *f, const char *name, size_t *n);
/* What the guest reads there from `offset` on, zeros behind the end. Not const: an open file may have to be complained of. False: that. */
bool fw_cfg_contents(struct fw_cfg *f, u16 key, u32 offset, void *to, u32 bytes);

#endif
