/* pc.c - the machine: its parts, their addresses, and the wires between them. An i440FX/PIIX3 board as QEMU's "pc"
 * has it.
 *
 * Interrupts: a line (GSI) 0-15 goes to the 8259 pair and to the I/O APIC, where line 0 arrives at pin 2 (pin 0 has
 * the 8259s' INT); 16-23 are I/O APIC pins that only the HPET uses. Several sources can pull one line; it is high
 * while one of them does.
 *
 * Memory: RAM up to 3 GiB from 0 (with the hole a0000-fffff, which the host bridge fills as PAM and SMRAM say), the
 * rest from 4 GiB; the BIOS ends at 4 GiB and shows its last 128 KiB below 1 MiB, and one MiB below the top too, so
 * that a CPU that is reset while A20 is off finds its reset vector.
 */
#include "devices/pc.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bios/bios.h"
#include "cpu/cpuid.h"
#include "devices/debug_exit.h"
#include "devices/debugcon.h"
#include "devices/pc_private.h"
#include "devices/port61.h"
#include "devices/port92.h"
#include "devices/post_port.h"
#include "devices/uart16550.h"

#define LOW_RAM_MAX (3ull << 30)
#define FOUR_GIB (1ull << 32)
#define BIOS_LOW_MAX 0x20000u

/* Who can pull an interrupt line: bits of pc.gsi_sources. */
enum pc_source { SOURCE_DEVICE = 1, SOURCE_SECOND = 2 /* COM3, COM4 share with COM1, COM2 */, SOURCE_PIRQ = 4,
                 SOURCE_HPET = 8, SOURCE_SCI = 16 };
enum { IRQ_TIMER = 0, IRQ_KEYBOARD = 1, IRQ_COM2 = 3, IRQ_COM1 = 4, IRQ_FLOPPY = 6, IRQ_RTC = 8, IRQ_SCI = 9,
       IRQ_MOUSE = 12,
       IRQ_FPU = 13, IRQ_IDE0 = 14, IRQ_IDE1 = 15, PIN_8259 = 0, PIN_TIMER = 2 };
enum { DEVFN_HOST = 0, DEVFN_PIIX3 = 1 << 3, DEVFN_IDE = 1 << 3 | 1, DEVFN_PM = 1 << 3 | 3, DEVFN_VGA = 2 << 3 };
enum { PRIORITY_RAM, PRIORITY_ROM, PRIORITY_WINDOW };

/* ------------------------------------------------------------------------------------------------------ lines ----- */

static void gsi_drive(struct pc *p, unsigned gsi, u8 source, bool level)
{
    u8 before = p->gsi_sources[gsi], now = (u8)(level ? before | source : before & ~source);
    p->gsi_sources[gsi] = now;
    if (!before == !now)
        return;
    if (gsi < 16)
        i8259_set(p->pic, gsi, now);
    ioapic_set(p->ioapic, gsi == IRQ_TIMER ? PIN_TIMER : gsi, now);
}

static void gsi_set(void *ctx, int n, bool level)       /* n: GSI, source in bits 15:8 */
{
    gsi_drive(ctx, (unsigned)n & 0xff, (u8)(n >> 8), level);
}

static struct irq gsi_line(struct pc *p, unsigned gsi, enum pc_source source)
{
    return (struct irq){ gsi_set, p, (int)(gsi | (unsigned)source << 8) };
}

/* PIT and RTC lose their lines to the HPET in legacy replacement mode. */
static void pit_set(void *ctx, int n, bool level)
{
    struct pc *p = ctx;
    p->pit_level = level;
    if (!p->hpet_legacy)
        gsi_drive(p, IRQ_TIMER, SOURCE_DEVICE, level);
}

static void rtc_set(void *ctx, int n, bool level)
{
    struct pc *p = ctx;
    p->rtc_level = level;
    if (!p->hpet_legacy)
        gsi_drive(p, IRQ_RTC, SOURCE_DEVICE, level);
}

static void hpet_legacy_mode(void *ctx, bool on)
{
    struct pc *p = ctx;
    p->hpet_legacy = on;
    gsi_drive(p, IRQ_TIMER, SOURCE_DEVICE, !on && p->pit_level);
    gsi_drive(p, IRQ_RTC, SOURCE_DEVICE, !on && p->rtc_level);
}

static void pic_int(void *ctx, int n, bool level)
{
    struct pc *p = ctx;
    lapic_lint(p->lapic, 0, level);
    ioapic_set(p->ioapic, PIN_8259, level);
}

static bool timer_irq_waits(void *ctx)
{
    struct pc *p = ctx;
    return !p->hpet_legacy && i8259_waiting(p->pic, IRQ_TIMER);
}

static void a20_set(void *ctx, int n, bool level)
{
    struct pc *p = ctx;
    p->a20 = level;
    physmap_set_a20(p->phys, level);
}

static void soft_reset(void *ctx) { pc_soft_reset(ctx); }

static void cf9_reset(void *ctx, enum i440fx_reset kind)
{
    if (kind == I440FX_RESET_HARD)
        pc_hard_reset(ctx);
    else
        pc_soft_reset(ctx);
}

static void power_off(void *ctx) { pc_finish(ctx, PC_POWEROFF, 0); }
static void debug_quit(void *ctx, int status) { pc_finish(ctx, PC_DEBUG_EXIT, status); }
static void cpu_nmi(void *ctx) { cpu_request(((struct pc *)ctx)->cpu, CPU_NMI); }
static void cpu_sipi_message(void *ctx, u8 vector) { cpu_sipi(((struct pc *)ctx)->cpu, vector); }

static void cpu_init_message(void *ctx)
{
    struct pc *p = ctx;
    lapic_init_reset(p->lapic);
    cpu_request(p->cpu, CPU_INIT);
}

/* ----------------------------------------------------------------------------------------------------- memory ----- */

static void map_memory(struct pc *p, const char *name, struct ram *ram, u64 offset, gpa start, u64 size, int priority,
                       enum region_kind kind)
{
    if (!size)
        return;
    assert(p->region_count < ARRAY_LEN(p->regions));
    struct region *r = &p->regions[p->region_count++];
    *r = (struct region){ .name = name, .start = start, .size = size, .priority = priority, .kind = kind,
                          .enabled = true, .ram = ram, .ram_offset = offset };
    physmap_add(p->phys, r);
}

static void lock_machine(void *ctx) { machine_lock(); }
static void unlock_machine(void *ctx) { machine_unlock(); }

static bool build_memory(struct pc *p, char *err, size_t errlen)
{
    u64 size = p->cfg.ram_bytes;
    p->ram_below_4g = size < LOW_RAM_MAX ? size : LOW_RAM_MAX;
    p->ram_above_4g = size - p->ram_below_4g;
    p->phys = physmap_new();
    physmap_set_lock(p->phys, lock_machine, unlock_machine, NULL);
    p->ram = ram_new(size, err, errlen);
    if (!p->ram || !bios_load_rom(&p->cfg, &p->bios, &p->bios_size, err, errlen))
        return false;
    map_memory(p, "ram", p->ram, 0, 0, 0xa0000, PRIORITY_RAM, REGION_RAM);
    map_memory(p, "ram", p->ram, 1 << 20, 1 << 20, p->ram_below_4g - (1 << 20), PRIORITY_RAM, REGION_RAM);
    map_memory(p, "ram-high", p->ram, p->ram_below_4g, FOUR_GIB, p->ram_above_4g, PRIORITY_RAM, REGION_RAM);
    u64 low = p->bios_size < BIOS_LOW_MAX ? p->bios_size : BIOS_LOW_MAX, at = p->bios_size - low;
    map_memory(p, "bios", p->bios, 0, FOUR_GIB - p->bios_size, p->bios_size, PRIORITY_ROM, REGION_ROM);
    map_memory(p, "bios-isa", p->bios, at, (1 << 20) - low, low, PRIORITY_ROM, REGION_ROM);
    map_memory(p, "bios-a20", p->bios, at, FOUR_GIB - (1 << 20) - low, low, PRIORITY_ROM, REGION_ROM);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ parts ----- */
/* Each build_* makes devices, fills in their wires and maps them; false: one line in err. */

static bool build_apics(struct pc *p, char *err, size_t errlen)
{
    p->ioapic = device_new(p->bus, &ioapic_class);
    p->ioapic->bus = &p->apic_bus;
    p->apic_bus.eoi = ioapic_eoi;
    p->apic_bus.eoi_ctx = p->ioapic;
    bus_map_mmio(p->bus, IOAPIC_BASE, PAGE_SIZE, PRIORITY_WINDOW, &p->ioapic->dev, 0);

    struct lapic *l = device_new(p->bus, &lapic_class);
    l->bus = &p->apic_bus;
    l->bsp = true;
    l->intr = (struct irq){ pc_intr, p, 0 };
    l->nmi = cpu_nmi;
    l->init = cpu_init_message;
    l->sipi = cpu_sipi_message;
    l->ctx = p;
    l->mmio = bus_map_mmio(p->bus, LAPIC_BASE, PAGE_SIZE, PRIORITY_WINDOW + 10, &l->dev, 0);
    p->lapic = l;
    return device_init(&p->ioapic->dev, err, errlen) && device_init(&l->dev, err, errlen);
}

static bool build_pic(struct pc *p, char *err, size_t errlen)
{
    p->pic = device_new(p->bus, &i8259_class);
    p->pic->intr = (struct irq){ pic_int, p, 0 };
    bus_map_io(p->bus, 0x20, 2, &p->pic->dev, I8259_REGION_MASTER);
    bus_map_io(p->bus, 0xa0, 2, &p->pic->dev, I8259_REGION_SLAVE);
    bus_map_io(p->bus, 0x4d0, 2, &p->pic->dev, I8259_REGION_ELCR);
    return device_init(&p->pic->dev, err, errlen);
}

static bool build_timers(struct pc *p, char *err, size_t errlen)
{
    p->pit = device_new(p->bus, &i8254_class);
    p->pit->irq0 = (struct irq){ pit_set, p, 0 };
    p->pit->unserved = p->cfg.icount ? NULL : timer_irq_waits;
    p->pit->unserved_ctx = p;
    bus_map_io(p->bus, 0x40, 4, &p->pit->dev, 0);

    struct port61 *port61 = device_new(p->bus, &port61_class);
    port61->pit = p->pit;
    bus_map_io(p->bus, 0x61, 1, &port61->dev, 0);

    time_t now = time(NULL);
    struct tm tm;
    p->rtc = device_new(p->bus, &mc146818_class);
    p->rtc->irq = (struct irq){ rtc_set, p, 0 };
    p->rtc->start_time = (s64)now + p->cfg.rtc_offset;
    if (p->cfg.rtc_localtime && localtime_r(&now, &tm))
        p->rtc->start_time += tm.tm_gmtoff;
    bus_map_io(p->bus, 0x70, 2, &p->rtc->dev, MC146818_REGION_STANDARD);
    bus_map_io(p->bus, 0x72, 2, &p->rtc->dev, MC146818_REGION_EXTENDED);

    p->hpet = device_new(p->bus, &hpet_class);
    for (unsigned i = 0; i < PC_GSIS; i++)
        p->hpet->pin[i] = gsi_line(p, i, SOURCE_HPET);
    p->hpet->legacy[0] = gsi_line(p, IRQ_TIMER, SOURCE_HPET);
    p->hpet->legacy[1] = gsi_line(p, IRQ_RTC, SOURCE_HPET);
    p->hpet->legacy_mode = hpet_legacy_mode;
    p->hpet->ctx = p;
    hpet_set_region(p->hpet, bus_map_mmio(p->bus, HPET_BASE, PAGE_SIZE, PRIORITY_WINDOW, &p->hpet->dev, 0));
    return device_init(&p->pit->dev, err, errlen) && device_init(&port61->dev, err, errlen) &&
           device_init(&p->rtc->dev, err, errlen) && device_init(&p->hpet->dev, err, errlen);
}

static void *pci_new(struct pc *p, const struct device_class *class, u8 devfn)
{
    struct pci_device *d = device_new(p->bus, class);
    d->pci = p->pci;
    d->devfn = devfn;
    return d;
}

static bool build_bridges(struct pc *p, char *err, size_t errlen)
{
    /* The PCI bus calls the bridge, which hangs on the bus: the bridge's struct is made first. */
    p->piix3 = device_new(p->bus, &piix3_class);
    p->pci = pci_bus_new(p->bus, piix3_pirq, p->piix3);
    p->piix3->pci.pci = p->pci;
    p->piix3->pci.devfn = DEVFN_PIIX3;
    for (unsigned i = 0; i < ARRAY_LEN(p->piix3->irq); i++)
        p->piix3->irq[i] = gsi_line(p, i, SOURCE_PIRQ);

    p->host = pci_new(p, &i440fx_class, DEVFN_HOST);
    p->host->ram = p->ram;
    p->host->bios = p->bios;
    p->host->bios_size = p->bios_size;
    p->host->reset_request = cf9_reset;
    p->host->reset_ctx = p;
    bus_map_io(p->bus, 0xcf8, 8, &p->host->pci.dev, I440FX_REGION_CONFIG);

    p->pm = pci_new(p, &piix4_pm_class, DEVFN_PM);
    p->pm->sci = gsi_line(p, IRQ_SCI, SOURCE_SCI);
    p->pm->power_off = power_off;
    p->pm->power_ctx = p;
    p->pm->serial_ports = (u8)((p->cfg.serial[0] ? 1 : 0) | (p->cfg.serial[1] ? 2 : 0));
    bus_map_io(p->bus, 0xb2, 2, &p->pm->pci.dev, PIIX4_PM_REGION_APM);
    bus_map_io(p->bus, 0xafe0, 4, &p->pm->pci.dev, PIIX4_PM_REGION_GPE);
    return device_init(&p->host->pci.dev, err, errlen) && device_init(&p->piix3->pci.dev, err, errlen) &&
           device_init(&p->pm->pci.dev, err, errlen);
}

static bool build_input(struct pc *p, char *err, size_t errlen)
{
    p->kbc = device_new(p->bus, &i8042_class);
    p->kbc->irq1 = gsi_line(p, IRQ_KEYBOARD, SOURCE_DEVICE);
    p->kbc->irq12 = gsi_line(p, IRQ_MOUSE, SOURCE_DEVICE);
    p->kbc->a20 = (struct irq){ a20_set, p, 0 };
    p->kbc->a20_state = &p->a20;
    p->kbc->reset_request = soft_reset;
    p->kbc->reset_ctx = p;
    bus_map_io(p->bus, 0x60, 1, &p->kbc->dev, I8042_REGION_DATA);
    bus_map_io(p->bus, 0x64, 1, &p->kbc->dev, I8042_REGION_COMMAND);

    struct port92 *port92 = device_new(p->bus, &port92_class);
    port92->a20 = (struct irq){ a20_set, p, 0 };
    port92->a20_state = &p->a20;
    port92->reset_request = soft_reset;
    port92->reset_ctx = p;
    bus_map_io(p->bus, 0x92, 1, &port92->dev, 0);

    p->coprocessor = device_new(p->bus, &coprocessor_class);
    p->coprocessor->irq13 = gsi_line(p, IRQ_FPU, SOURCE_DEVICE);
    bus_map_io(p->bus, 0xf0, 2, &p->coprocessor->dev, 0);
    return device_init(&p->kbc->dev, err, errlen) && device_init(&port92->dev, err, errlen) &&
           device_init(&p->coprocessor->dev, err, errlen);
}

static bool build_storage(struct pc *p, char *err, size_t errlen)
{
    p->dma = device_new(p->bus, &i8237_class);
    bus_map_io(p->bus, 0x00, 16, &p->dma->dev, I8237_REGION_LOW);
    bus_map_io(p->bus, 0xc0, 32, &p->dma->dev, I8237_REGION_HIGH);
    bus_map_io(p->bus, 0x80, 16, &p->dma->dev, I8237_REGION_PAGE);

    p->fdc = device_new(p->bus, &fdc_class);
    p->fdc->irq = gsi_line(p, IRQ_FLOPPY, SOURCE_DEVICE);
    p->fdc->dma = p->dma;
    p->fdc->dma_channel = 2;
    for (unsigned i = 0; i < ARRAY_LEN(p->cfg.floppy); i++) {
        p->fdc->drive[i].present = p->cfg.floppy[i].present || p->cfg.floppy[i].block;
        p->fdc->drive[i].block = p->cfg.floppy[i].block;
        p->cfg.floppy[i].block = NULL;
    }
    bus_map_io(p->bus, 0x3f0, 6, &p->fdc->dev, FDC_REGION_MAIN);
    bus_map_io(p->bus, 0x3f7, 1, &p->fdc->dev, FDC_REGION_DIR);

    p->ide = pci_new(p, &ide_class, DEVFN_IDE);
    p->ide->irq[0] = gsi_line(p, IRQ_IDE0, SOURCE_DEVICE);
    p->ide->irq[1] = gsi_line(p, IRQ_IDE1, SOURCE_DEVICE);
    for (unsigned i = 0; i < ARRAY_LEN(p->cfg.ide); i++) {
        const struct pc_drive *d = &p->cfg.ide[i];
        p->ide->unit[i] = (struct ide_unit){ d->block, d->cdrom, d->present || d->block };
        p->cfg.ide[i].block = NULL;
    }
    bus_map_io(p->bus, 0x1f0, 8, &p->ide->pci.dev, IDE_REGION_COMMAND0);
    bus_map_io(p->bus, 0x3f6, 1, &p->ide->pci.dev, IDE_REGION_CONTROL0);
    bus_map_io(p->bus, 0x170, 8, &p->ide->pci.dev, IDE_REGION_COMMAND1);
    bus_map_io(p->bus, 0x376, 1, &p->ide->pci.dev, IDE_REGION_CONTROL1);
    return device_init(&p->dma->dev, err, errlen) && device_init(&p->fdc->dev, err, errlen) &&
           device_init(&p->ide->pci.dev, err, errlen);
}

static bool build_vga(struct pc *p, char *err, size_t errlen)
{
    u64 rom_bytes = 0;
    if (p->cfg.vga && !strcmp(p->cfg.vga, "none"))
        return true;
    if (!bios_load_option_rom(&p->cfg, "vgabios-stdvga.bin", &p->vga_rom, &rom_bytes, err, errlen))
        return false;
    p->vga = pci_new(p, &vga_class, DEVFN_VGA);
    p->vga->rom = p->vga_rom;
    p->vga->rom_bytes = (u32)rom_bytes;
    bus_map_io(p->bus, 0x3b0, 48, &p->vga->pci.dev, VGA_REGION_PORTS);
    bus_map_io(p->bus, 0x1ce, 3, &p->vga->pci.dev, VGA_REGION_DISPI);
    bus_map_mmio(p->bus, 0xa0000, 0x20000, PRIORITY_WINDOW, &p->vga->pci.dev, VGA_REGION_WINDOW);
    return device_init(&p->vga->pci.dev, err, errlen);
}

static bool build_serial(struct pc *p, char *err, size_t errlen)
{
    static const struct { u16 port; u8 irq; enum pc_source source; } com[PC_MAX_SERIAL] = {
        { 0x3f8, IRQ_COM1, SOURCE_DEVICE }, { 0x2f8, IRQ_COM2, SOURCE_DEVICE },
        { 0x3e8, IRQ_COM1, SOURCE_SECOND }, { 0x2e8, IRQ_COM2, SOURCE_SECOND },
    };
    for (unsigned i = 0; i < PC_MAX_SERIAL; i++) {
        if (!p->cfg.serial[i])
            continue;
        struct uart16550 *u = device_new(p->bus, &uart16550_class);
        u->irq = gsi_line(p, com[i].irq, com[i].source);
        u->line = p->cfg.serial[i];
        bus_map_io(p->bus, com[i].port, 8, &u->dev, 0);
        if (!device_init(&u->dev, err, errlen))
            return false;
    }
    return true;
}

static bool build_debug(struct pc *p, char *err, size_t errlen)
{
    struct post_port *post = device_new(p->bus, &post_port_class);
    bus_map_io(p->bus, 0xed, 1, &post->dev, 0);

    struct debugcon *console = device_new(p->bus, &debugcon_class);
    console->out = p->cfg.debugcon;
    bus_map_io(p->bus, p->cfg.debugcon_port ? p->cfg.debugcon_port : 0x402, 1, &console->dev, 0);
    if (!device_init(&post->dev, err, errlen) || !device_init(&console->dev, err, errlen))
        return false;
    if (!p->cfg.has_debug_exit)
        return true;
    struct debug_exit *e = device_new(p->bus, &debug_exit_class);
    e->quit = debug_quit;
    e->ctx = p;
    bus_map_io(p->bus, p->cfg.debug_exit_port ? p->cfg.debug_exit_port : 0x501,
               p->cfg.debug_exit_size ? p->cfg.debug_exit_size : 2, &e->dev, 0);
    return device_init(&e->dev, err, errlen);
}

static bool build_firmware(struct pc *p, char *err, size_t errlen)
{
    struct bios_machine m = { p->ram_below_4g, p->ram_above_4g, 1 };
    p->fw_cfg = device_new(p->bus, &fw_cfg_class);
    struct device *d = (struct device *)p->fw_cfg;
    bus_map_io(p->bus, 0x510, 2, d, FW_CFG_REGION_PORTS);
    bus_map_io(p->bus, 0x514, 8, d, FW_CFG_REGION_DMA);
    if (!device_init(d, err, errlen) || !bios_fill_fw_cfg(p->fw_cfg, &p->cfg, &m, err, errlen))
        return false;
    if (!p->cfg.kernel_file && !p->cfg.kernel_image)
        return true;
    return bios_load_kernel(p->fw_cfg, &p->cfg, &m, err, errlen);
}

/* In the order of reset. */
static bool build_parts(struct pc *p, char *err, size_t errlen)
{
    static bool (*const steps[])(struct pc *p, char *err, size_t errlen) = {
        build_apics, build_pic, build_bridges, build_timers, build_input, build_storage, build_vga, build_serial,
        build_debug, build_firmware,
    };
    for (unsigned i = 0; i < ARRAY_LEN(steps); i++)
        if (!steps[i](p, err, errlen))
            return false;
    pc_cmos_fill(p);
    bus_reset(p->bus);
    return true;
}

static bool build(struct pc *p, char *err, size_t errlen)
{
    struct cpu_model model;
    if (p->cfg.ram_bytes < 1 << 20 || p->cfg.ram_bytes % (1 << 20)) {
        snprintf(err, errlen, "memory size must be a positive number of MiB");
        return false;
    }
    if (!cpuid_model(&model, p->cfg.cpu_model, err, errlen) || !build_memory(p, err, errlen))
        return false;
    p->has_apic = cpu_has(&model, CPUID_APIC);
    p->bus = bus_new(p->phys, p->clock);
    machine_lock();
    bool ok = build_parts(p, err, errlen);
    machine_unlock();
    if (!ok)
        return false;
    p->cpu = vcpu_new(p->cfg.cpu_model, p->phys, &pc_cpu_host, p, err, errlen);
    if (!p->cpu)
        return false;
    vcpu_reset(p->cpu);
    return true;
}

struct pc *pc_new(const struct pc_config *cfg, char *err, size_t errlen)
{
    struct pc *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->cfg = *cfg;
    p->a20 = true;
    p->clock = clock_new();
    pc_run_init(p);
    for (unsigned i = 0; i < PC_MAX_SERIAL; i++)
        p->chardevs[i] = cfg->serial[i];
    p->chardevs[PC_MAX_SERIAL] = cfg->debugcon;
    if (build(p, err, errlen))
        return p;
    pc_free(p);
    return NULL;
}

static void close_blocks(struct pc_drive *drives, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (drives[i].block)
            block_close(drives[i].block);
}

/* A chardev can serve several purposes (debug console and serial line on one terminal): it is closed once. */
static void close_chardevs(struct pc *p)
{
    for (unsigned i = 0; i < ARRAY_LEN(p->chardevs); i++) {
        if (!p->chardevs[i])
            continue;
        for (unsigned n = i + 1; n < ARRAY_LEN(p->chardevs); n++)
            if (p->chardevs[n] == p->chardevs[i])
                p->chardevs[n] = NULL;
        chardev_close(p->chardevs[i]);
    }
}

void pc_free(struct pc *p)
{
    if (!p)
        return;
    pc_run_fini(p);
    bool taken = pc_lock();
    pci_bus_free(p->pci);
    bus_free(p->bus);
    for (unsigned i = 0; i < p->region_count; i++)
        physmap_remove(p->phys, &p->regions[i]);
    close_blocks(p->cfg.ide, ARRAY_LEN(p->cfg.ide));
    close_blocks(p->cfg.floppy, ARRAY_LEN(p->cfg.floppy));
    close_chardevs(p);
    pc_unlock(taken);
    if (p->cpu)
        vcpu_free(p->cpu);
    physmap_free(p->phys);
    ram_free(p->ram);
    ram_free(p->bios);
    ram_free(p->vga_rom);
    clock_free(p->clock);
    free(p);
}

/* -------------------------------------------------------------------------------------------- for the monitor ----- */

struct vcpu *pc_cpu(struct pc *p) { return p->cpu; }
struct bus *pc_bus(struct pc *p) { return p->bus; }
struct pci_bus *pc_pci(struct pc *p) { return p->pci; }
struct physmap *pc_physmap(struct pc *p) { return p->phys; }
const struct display *pc_display(struct pc *p) { return p->vga ? &p->vga->display : NULL; }

void pc_key(struct pc *p, u16 key, bool down)
{
    bool taken = pc_lock();
    ps2_keyboard_key(&p->kbc->keyboard, key, down);
    pc_unlock(taken);
}

void pc_mouse(struct pc *p, int dx, int dy, int dz, unsigned buttons)
{
    bool taken = pc_lock();
    ps2_mouse_move(&p->kbc->mouse, dx, dy, dz, buttons);
    pc_unlock(taken);
}

bool pc_change_cd(struct pc *p, unsigned ide_unit, struct block *medium, char *err, size_t errlen)
{
    bool taken = pc_lock();
    bool ok = ide_change_cd(p->ide, ide_unit, medium, false, err, errlen);
    pc_unlock(taken);
    return ok;
}

bool pc_change_floppy(struct pc *p, unsigned unit, struct block *medium, char *err, size_t errlen)
{
    bool taken = pc_lock();
    bool ok = fdc_change_medium(p->fdc, unit, medium, err, errlen);
    pc_unlock(taken);
    return ok;
}
