/* piix4_pm.c - Intel 82371AB (PIIX4), function 3: power management. 8086:7113.
 *
 * Data sheet 290562, chapters 7 (registers) and ACPI 1.0 chapter 4.7 (the meaning of PM1). Fixed events: timer carry,
 * power button, global release; the SCI is their enabled OR with the general-purpose events, which QEMU's firmware
 * tables put at afe0. There is no system management mode: writes to the SMI command port act at once on what the BIOS
 * would do (ACPI enable f1h, disable f0h), and DEVACTB.APMC_EN reads as set from the start so that the BIOS does not
 * install a handler that nobody would call.
 *
 * The SMBus has no devices: every transaction ends with "no acknowledge".
 */
#include "devices/piix4_pm.h"

#include <stdio.h>

enum { REG_PMBA = 0x40, REG_DEVACTB = 0x58, REG_PMREGMISC = 0x80, REG_SMBBA = 0x90, REG_SMBHSTCFG = 0xd2 };
enum { PM1_TIMER = 1 << 0, PM1_GLOBAL = 1 << 5, PM1_POWER_BUTTON = 1 << 8, PM1_RTC = 1 << 10, PM1_WAKE = 1 << 15 };
enum { PM1_STATUS_BITS = PM1_TIMER | 1 << 4 | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC | PM1_WAKE,
       PM1_ENABLE_BITS = PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC };
enum { SCI_EN = 1 << 0, SLP_TYP_SHIFT = 10, SLP_EN = 1 << 13, CONTROL_BITS = SCI_EN | 1 << 1 | 7 << SLP_TYP_SHIFT };
enum { SLEEP_SOFT_OFF = 0, SLEEP_TO_DISK = 2 };     /* SLP_TYP as the chip and QEMU's DSDT number them */
enum { APM_ACPI_ENABLE = 0xf1, APM_ACPI_DISABLE = 0xf0 };
enum { SMB_STATUS, SMB_SLAVE_STATUS, SMB_CONTROL, SMB_COMMAND, SMB_ADDRESS, SMB_DATA0, SMB_DATA1, SMB_BLOCK };
enum { SMB_START = 0x40, SMB_INTEN = 0x01, SMB_DEV_ERR = 0x04, SMB_STATUS_BITS = 0x1e };
enum { PM_PORTS = 64, SMBUS_PORTS = 16 };

/* ------------------------------------------------------------------------------------------- timer and SCI ----- */

static u64 timer_ticks(const struct piix4_pm *p)
{
    return ns_to_ticks(clock_now(p->pci.dev.clock), PM_TIMER_HZ);
}

/* Notes carries of bit 23 since the last look and arms the timer for the next if it matters. */
static void timer_update(struct piix4_pm *p)
{
    u64 carries = timer_ticks(p) >> 23;
    if (carries != p->overflows_seen)
        p->status |= PM1_TIMER;
    p->overflows_seen = carries;
    bool wanted = (p->enable & PM1_TIMER) && !(p->status & PM1_TIMER);
    timer_set(&p->overflow, wanted ? ticks_to_ns((carries + 1) << 23, PM_TIMER_HZ) : TIMER_NEVER);
}

static void sci_update(struct piix4_pm *p)
{
    timer_update(p);
    bool fixed = (p->status & p->enable & PM1_ENABLE_BITS) && (p->control & SCI_EN);
    bool gpe = (p->gpe_status & p->gpe_enable) && (p->control & SCI_EN);
    bool smbus = (p->smbus[SMB_CONTROL] & SMB_INTEN) && (p->smbus[SMB_STATUS] & SMB_STATUS_BITS) &&
                 (p->pci.config[REG_SMBHSTCFG] >> 1 & 7) == 4;
    irq_set(p->sci, fixed || gpe || smbus);
}

static void overflow_fire(void *ctx)
{
    sci_update(ctx);
}

void piix4_pm_powerbutton(struct piix4_pm *p)
{
    p->status |= PM1_POWER_BUTTON;
    sci_update(p);
}

void piix4_pm_gpe(struct piix4_pm *p, unsigned n)
{
    p->gpe_status |= (u16)(1u << (n & 15));
    sci_update(p);
}

static void sleep_enter(struct piix4_pm *p)
{
    unsigned type = p->control >> SLP_TYP_SHIFT & 7;
    if (type == SLEEP_SOFT_OFF || type == SLEEP_TO_DISK)
        p->power_off(p->power_ctx);
    else
        p->status |= PM1_WAKE;      /* states that the tables don't offer: awake again at once */
}

/* ------------------------------------------------------------------------------------------ register blocks ----- */

static u8 pm_read(struct piix4_pm *p, u32 reg)
{
    timer_update(p);
    u32 timer = (u32)timer_ticks(p) & 0xffffff;
    switch (reg) {
    case 0x00: case 0x01: return (u8)(p->status >> (8 * reg));
    case 0x02: case 0x03: return (u8)(p->enable >> (8 * (reg - 2)));
    case 0x04: case 0x05: return (u8)(p->control >> (8 * (reg - 4)));
    case 0x08: case 0x09: case 0x0a: return (u8)(timer >> (8 * (reg - 8)));
    case 0x0b: return 0;
    default: return p->pm[reg];
    }
}

static void put_byte(u16 *reg, unsigned n, u8 v, u16 mask)
{
    u16 bits = (u16)(0xffu << (8 * n)) & mask;
    *reg = (u16)((*reg & ~bits) | ((u16)(v << (8 * n)) & bits));
}

static void pm_write(struct piix4_pm *p, u32 reg, u8 v)
{
    timer_update(p);
    switch (reg) {
    case 0x00: case 0x01:
        p->status &= (u16)~((v << (8 * reg)) & PM1_STATUS_BITS);
        break;
    case 0x02: case 0x03:
        put_byte(&p->enable, reg - 2, v, PM1_ENABLE_BITS);
        break;
    case 0x04: case 0x05:
        put_byte(&p->control, reg - 4, v, CONTROL_BITS);
        if (reg == 0x05 && (v & (SLP_EN >> 8)))
            sleep_enter(p);
        break;
    case 0x08: case 0x09: case 0x0a: case 0x0b:
        break;
    case 0x0c: case 0x0d: case 0x18: case 0x19: case 0x1c: case 0x1d: case 0x1e: case 0x1f:
        p->pm[reg] &= (u8)~v;       /* GPSTS, GLBSTS, DEVSTS: cleared by ones */
        break;
    case 0x14: case 0x15: case 0x30: case 0x31: case 0x32:
        break;                      /* P_LVL2, P_LVL3, inputs: read only */
    default:
        p->pm[reg] = v;
    }
    sci_update(p);
}

static u32 smbus_read(struct piix4_pm *p, u32 reg)
{
    return reg == SMB_BLOCK ? 0 : p->smbus[reg];    /* nobody ever filled the block buffer */
}

static void smbus_write(struct piix4_pm *p, u32 reg, u8 v)
{
    switch (reg) {
    case SMB_STATUS:
        p->smbus[reg] &= (u8)~(v & SMB_STATUS_BITS);
        break;
    case SMB_SLAVE_STATUS:
        p->smbus[reg] &= (u8)~v;
        break;
    case SMB_CONTROL:
        p->smbus[reg] = v & (u8)~SMB_START;
        if (v & SMB_START)
            p->smbus[SMB_STATUS] |= SMB_DEV_ERR;
        break;
    default:
        p->smbus[reg] = v;
    }
    sci_update(p);
}

static u8 gpe_read(struct piix4_pm *p, u32 reg)
{
    return (u8)((reg < 2 ? p->gpe_status : p->gpe_enable) >> (8 * (reg & 1)));
}

static void gpe_write(struct piix4_pm *p, u32 reg, u8 v)
{
    if (reg < 2)
        p->gpe_status &= (u16)~(v << (8 * reg));
    else
        put_byte(&p->gpe_enable, reg - 2, v, 0xffff);
    sci_update(p);
}

static void apm_write(struct piix4_pm *p, u32 reg, u8 v)
{
    p->apm[reg] = v;
    if (reg == 0 && v == APM_ACPI_ENABLE)
        p->control |= SCI_EN;
    if (reg == 0 && v == APM_ACPI_DISABLE)
        p->control &= (u16)~SCI_EN;
    sci_update(p);
}

static u32 block_read_byte(struct piix4_pm *p, unsigned region, u32 reg)
{
    switch (region) {
    case PIIX4_PM_REGION_PM: return pm_read(p, reg);
    case PIIX4_PM_REGION_SMBUS: return smbus_read(p, reg);
    case PIIX4_PM_REGION_APM: return p->apm[reg];
    default: return gpe_read(p, reg);
    }
}

static u32 block_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct piix4_pm *p = (struct piix4_pm *)d;
    u32 v = 0;
    if (region == PIIX4_PM_REGION_PM && reg == 8 && bytes == 4)     /* in one piece: it runs */
        return (u32)timer_ticks(p) & 0xffffff;
    for (unsigned i = 0; i < bytes; i++)
        v |= block_read_byte(p, region, reg + i) << (8 * i);
    return v;
}

static void block_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct piix4_pm *p = (struct piix4_pm *)d;
    for (unsigned i = 0; i < bytes; i++) {
        u8 v = (u8)(value >> (8 * i));
        switch (region) {
        case PIIX4_PM_REGION_PM: pm_write(p, reg + i, v); break;
        case PIIX4_PM_REGION_SMBUS: smbus_write(p, reg + i, v); break;
        case PIIX4_PM_REGION_APM: apm_write(p, reg + i, v); break;
        default: gpe_write(p, reg + i, v);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------- device ----- */

static void place(struct piix4_pm *p, u16 *now, u16 base, unsigned ports, unsigned region)
{
    if (*now == base)
        return;
    if (*now)
        bus_unmap_io(p->pci.dev.bus, *now, ports, &p->pci.dev);
    *now = base;
    if (base)
        bus_map_io(p->pci.dev.bus, base, ports, &p->pci.dev, region);
}

static void config_written(struct pci_device *pci, u8 reg, unsigned bytes)
{
    struct piix4_pm *p = (struct piix4_pm *)pci;
    const u8 *c = pci->config;
    u16 pm = (u16)((c[REG_PMBA] | c[REG_PMBA + 1] << 8) & 0xffc0);
    u16 smbus = (u16)((c[REG_SMBBA] | c[REG_SMBBA + 1] << 8) & 0xfff0);
    place(p, &p->pm_base, c[REG_PMREGMISC] & 1 ? pm : 0, PM_PORTS, PIIX4_PM_REGION_PM);
    place(p, &p->smbus_base, c[REG_SMBHSTCFG] & 1 ? smbus : 0, SMBUS_PORTS, PIIX4_PM_REGION_SMBUS);
    sci_update(p);
}

static bool pm_init(struct device *d, char *err, size_t errlen)
{
    struct piix4_pm *p = (struct piix4_pm *)d;
    u8 *w = p->pci.wmask;
    pci_init(&p->pci, 0x8086, 0x7113, 0x068000, 0x03);
    pci_set_subsystem(&p->pci, 0x1af4, 0x1100);
    pci_set_pin(&p->pci, 1);
    p->pci.config_written = config_written;
    w[REG_PMBA] = 0xc0;
    w[REG_PMBA + 1] = 0xff;
    memset(&w[0x44], 0xff, 0x78 - 0x44);        /* counters, general-purpose inputs, device activity, resources */
    w[REG_PMREGMISC] = 0x01;
    w[REG_SMBBA] = 0xf0;
    w[REG_SMBBA + 1] = 0xff;
    memset(&w[REG_SMBHSTCFG], 0xff, 4);
    w[REG_SMBHSTCFG] = 0x0f;
    timer_init(&p->overflow, d->clock, overflow_fire, p);
    return true;
}

static void pm_reset(struct device *d)
{
    struct piix4_pm *p = (struct piix4_pm *)d;
    u8 *c = p->pci.config;
    pci_reset(&p->pci);
    c[0x06] = 0x80;
    c[0x07] = 0x02;
    memset(&c[0x40], 0, 0xc0);
    c[REG_PMBA] = c[REG_SMBBA] = 0x01;
    c[REG_DEVACTB + 3] = 0x02;                  /* APMC_EN: see the head */
    c[0x5f] = 0x10;                             /* device resources: ports of the board that exist */
    c[0x63] = 0x60;
    c[0x67] = (p->serial_ports & 1 ? 0x08 : 0) | (p->serial_ports & 2 ? 0x90 : 0);
    memset(p->pm, 0, sizeof p->pm);
    memset(p->smbus, 0, sizeof p->smbus);
    p->status = p->enable = p->control = p->gpe_status = p->gpe_enable = 0;
    p->apm[0] = p->apm[1] = 0;
    p->overflows_seen = timer_ticks(p) >> 23;
    config_written(&p->pci, 0, 1);
}

static void pm_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct piix4_pm *p = (struct piix4_pm *)d;
    char line[128];
    snprintf(line, sizeof line, "PM at %04x: status %04x enable %04x control %04x; GPE status %04x enable %04x",
             p->pm_base,
             p->status, p->enable, p->control, p->gpe_status, p->gpe_enable);
    out(line, ctx);
}

const struct device_class piix4_pm_class = {
    .name = "piix4-pm", .size = sizeof(struct piix4_pm), .init = pm_init, .reset = pm_reset, .read = block_read,
    .write = block_write, .print = pm_print,
};
