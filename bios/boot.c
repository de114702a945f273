/* boot.c - the rest of what SeaBIOS reads from fw_cfg: sizes, boot order, boot menu. SeaBIOS docs/Runtime_config.md.
 */
#include "bios/private.h"

#include <stdio.h>

#define DEFAULT_ORDER "cad"

static void line(struct bytes *b, const char *path)
{
    bytes_add(b, path, strlen(path));
    bytes_add(b, "\n", 1);
}

static void ide_lines(struct bytes *b, const struct pc_config *cfg, bool cdrom)
{
    for (unsigned i = 0; i < ARRAY_LEN(cfg->ide); i++) {
        if (cfg->ide[i].present && cfg->ide[i].cdrom == cdrom) {
            char path[64];
            snprintf(path, sizeof(path), "/pci@i0cf8/ide@1,1/drive@%u/disk@%u", i / 2, i % 2);
            line(b, path);
        }
    }
}

/* OpenFirmware device paths, one per line, the first to try first, with a NUL at the end. */
static void boot_order(struct fw_cfg *f, const struct pc_config *cfg)
{
    struct bytes b = { 0 };

    if (cfg->kernel_file || cfg->kernel_image)
        line(&b, "/rom@" KERNELBOOT_ROM_NAME);
    for (const char *c = cfg->boot_order ? cfg->boot_order : DEFAULT_ORDER; *c; c++) {
        switch (*c) {
        case 'a': line(&b, "/pci@i0cf8/isa@1/fdc@03f0/floppy@0"); break;
        case 'b': line(&b, "/pci@i0cf8/isa@1/fdc@03f0/floppy@1"); break;
        case 'c': ide_lines(&b, cfg, false); break;
        case 'd': ide_lines(&b, cfg, true); break;
        default: break;             /* n: a network adapter's ROM registers itself */
        }
    }
    if (b.n)
        b.data[b.n - 1] = 0;
    fw_cfg_add_file(f, "bootorder", b.data, b.n);
    free(b.data);
}

static void add_file_int(struct fw_cfg *f, const char *name, u64 v, unsigned bytes)
{
    u8 le[8];
    put_le(le, v, 8);
    fw_cfg_add_file(f, name, le, bytes);
}

static void boot_menu(struct fw_cfg *f, const struct pc_config *cfg)
{
    fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, cfg->boot_menu);
    if (cfg->boot_menu_timeout_ms)
        add_file_int(f, "etc/boot-menu-wait", cfg->boot_menu_timeout_ms < 0xffff ? cfg->boot_menu_timeout_ms : 0xffff, 2);
    add_file_int(f, "etc/boot-fail-wait", UINT32_MAX, 4);      /* stop there instead of starting anew after a minute */
}

bool bios_fill_fw_cfg(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen)
{
    /* S0..S5: bit 7 the state exists, low bits its SLP_TYP as in dsdt.asl */
    static const u8 system_states[6] = { 128, 0, 0, 1, 128 | 2, 128 };
    static const u8 uuid[16];

    fw_cfg_add(f, FW_CFG_UUID, uuid, sizeof(uuid));
    fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, m->ram_below_4g + m->ram_above_4g);
    fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, cfg->vga && !strcmp(cfg->vga, "none"));
    fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (u16)m->cpus);
    fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (u16)m->cpus);
    fw_cfg_add_u32(f, FW_CFG_IRQ0_OVERRIDE, 1);
    fw_cfg_add_file(f, "etc/system-states", system_states, sizeof(system_states));
    boot_order(f, cfg);
    boot_menu(f, cfg);
    bios_fill_e820(f, m);
    bios_fill_smbios(f, m);
    return bios_fill_acpi(f, cfg, m, err, errlen);
}
