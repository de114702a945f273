/* test_pci.c - configuration space, BARs, interrupt routing, the host bridge's memory, power management. */
#include "device_fixture.h"
#include "devices/i440fx.h"
#include "devices/piix3.h"
#include "devices/piix4_pm.h"

struct probe { struct pci_device pci; u32 last; };

static u32 probe_read(struct device *d, unsigned region, u32 reg, unsigned bytes) { return 0x10000 * region + reg; }
static void probe_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    ((struct probe *)d)->last = region << 24 | reg << 16 | (value & 0xffff);
}

static bool probe_init(struct device *d, char *err, size_t errlen)
{
    struct probe *p = (struct probe *)d;
    pci_init(&p->pci, 0x1234, 0x5678, 0x020000, 1);
    pci_set_bar(&p->pci, 0, PCI_BAR_IO, 16);
    pci_set_bar(&p->pci, 1, PCI_BAR_MEM32, 0x1000);
    pci_set_bar(&p->pci, 2, PCI_BAR_MEM64, 0x10000);
    pci_set_pin(&p->pci, 1);
    return true;
}
static void probe_reset(struct device *d) { pci_reset((struct pci_device *)d); }
static const struct device_class probe_class = { .name = "probe", .size = sizeof(struct probe), .init = probe_init,
                                                 .reset = probe_reset, .read = probe_read, .write = probe_write };

static struct pci_bus *board;
static struct probe *probe[2];
static struct i440fx *host;
static struct piix3 *piix3;
static struct piix4_pm *pm;
static struct ram *bios;
static unsigned resets, offs;
static enum i440fx_reset reset_kind;

static void on_reset(void *ctx, enum i440fx_reset kind) { resets++; reset_kind = kind; }
static void on_off(void *ctx) { offs++; }

static void *new_at(const struct device_class *class, u8 devfn)
{
    struct pci_device *d = device_new(bus, class);
    d->pci = board;
    d->devfn = devfn;
    return d;
}

static void setup(void)
{
    char err[100];
    fixture_open();
    resets = offs = 0;
    piix3 = device_new(bus, &piix3_class);
    board = pci_bus_new(bus, piix3_pirq, piix3);
    piix3->pci.pci = board;
    piix3->pci.devfn = 8;
    for (int i = 0; i < 16; i++)
        piix3->irq[i] = fixture_line(i);
    bios = ram_new(0x20000, err, sizeof err);
    memset(bios->base, 0xb1, bios->size);
    host = new_at(&i440fx_class, 0);
    host->ram = ram;
    host->bios = bios;
    host->bios_size = bios->size;
    host->reset_request = on_reset;
    pm = new_at(&piix4_pm_class, 8 | 3);
    pm->sci = fixture_line(9);
    pm->power_off = on_off;
    bus_map_io(bus, 0xb2, 2, &pm->pci.dev, PIIX4_PM_REGION_APM);
    bus_map_io(bus, 0xafe0, 4, &pm->pci.dev, PIIX4_PM_REGION_GPE);
    for (unsigned i = 0; i < 2; i++)
        probe[i] = new_at(&probe_class, (u8)(3 << 3 | i << 5));
    bus_map_io(bus, 0xcf8, 8, &host->pci.dev, I440FX_REGION_CONFIG);
    for (struct device *d = bus_first(bus); d; d = d->next)
        ck_assert(device_init(d, err, sizeof err));
    bus_reset(bus);
}

static void teardown(void)
{
    pci_bus_free(board);
    fixture_close();
    ram_free(bios);
}

static void select_reg(u8 devfn, u8 reg) { bus_io_write(bus, 0xcf8, 4, 0x80000000 | devfn << 8 | (reg & 0xfc)); }
static u32 cfg_read(u8 devfn, u8 reg, unsigned bytes)
{
    select_reg(devfn, reg);
    return bus_io_read(bus, (u16)(0xcfc + (reg & 3)), bytes);
}
static void cfg_write(u8 devfn, u8 reg, unsigned bytes, u32 v)
{
    select_reg(devfn, reg);
    bus_io_write(bus, (u16)(0xcfc + (reg & 3)), bytes, v);
}

START_TEST(mechanism_one)
{
    ck_assert_uint_eq(cfg_read(0, 0, 4), 0x12378086);
    ck_assert_uint_eq(cfg_read(8, 2, 2), 0x7000);
    ck_assert_uint_eq(cfg_read(8, 0x0e, 1), 0x80);      /* more functions */
    ck_assert_uint_eq(cfg_read(8 | 3, 0x0a, 2), 0x0680);
    ck_assert_uint_eq(cfg_read(0xf8, 0, 4), 0xffffffff);
    bus_io_write(bus, 0xcf8, 4, 0x80010000);            /* another bus */
    ck_assert_uint_eq(bus_io_read(bus, 0xcfc, 4), 0xffffffff);
    bus_io_write(bus, 0xcf8, 4, 0);                     /* not enabled */
    ck_assert_uint_eq(bus_io_read(bus, 0xcfc, 4), 0xffffffff);
    cfg_write(0, 0, 4, 0);                              /* read only */
    ck_assert_uint_eq(cfg_read(0, 0, 4), 0x12378086);
    cfg_read(0x18, 0xfc, 4);
    ck_assert_uint_eq(bus_io_read(bus, 0xcff, 4) >> 8, 0xffffff);
}
END_TEST

START_TEST(bars)
{
    cfg_write(0x18, 0x10, 4, 0xffffffff);
    ck_assert_uint_eq(cfg_read(0x18, 0x10, 4), 0xfffffff1);
    cfg_write(0x18, 0x14, 4, 0xffffffff);
    ck_assert_uint_eq(cfg_read(0x18, 0x14, 4), 0xfffff000);
    cfg_write(0x18, 0x18, 4, 0xffffffff);
    ck_assert_uint_eq(cfg_read(0x18, 0x18, 4), 0xffff0004);
    cfg_write(0x18, 0x20, 4, 0xffffffff);               /* no such BAR */
    ck_assert_uint_eq(cfg_read(0x18, 0x20, 4), 0);
    cfg_write(0x18, 0x10, 4, 0xc000);
    cfg_write(0x18, 0x14, 4, 0xe0000000);
    cfg_write(0x18, 0x18, 4, 0x80000000);
    cfg_write(0x18, 0x1c, 4, 0x1);
    ck_assert_uint_eq(bus_io_read(bus, 0xc004, 4), 0xffffffff);
    cfg_write(0x18, 0x04, 2, 3);
    ck_assert_uint_eq(bus_io_read(bus, 0xc004, 4), 4);
    ck_assert_uint_eq(physmap_read_int(phys, 0xe0000008, 4), 0x10008);
    physmap_write_int(phys, 0x180000010ull, 2, 0xabcd);
    ck_assert_uint_eq(probe[0]->last, 0x0210abcd);
    cfg_write(0x18, 0x14, 4, 0xe1000000);
    ck_assert_uint_eq(physmap_read_int(phys, 0xe0000008, 4), 0xffffffff);
    ck_assert_uint_eq(physmap_read_int(phys, 0xe1000008, 4), 0x10008);
    cfg_write(0x18, 0x04, 2, 0);
    ck_assert_uint_eq(physmap_read_int(phys, 0xe1000008, 4), 0xffffffff);
    ck_assert_uint_eq(bus_io_read(bus, 0xc004, 4), 0xffffffff);
}
END_TEST

START_TEST(bus_mastering)
{
    u32 v = 0;
    physmap_write_int(phys, 0x1000, 4, 0x12345678);
    pci_dma_read(&probe[0]->pci, 0x1000, &v, 4);
    ck_assert_uint_eq(v, 0xffffffff);
    cfg_write(0x18, 4, 2, 4);
    pci_dma_read(&probe[0]->pci, 0x1000, &v, 4);
    ck_assert_uint_eq(v, 0x12345678);
}
END_TEST

START_TEST(interrupt_routing)
{
    /* slot 3 INTA# is PIRQC, slot 7 INTA# as well */
    cfg_write(8, 0x62, 1, 11);
    pci_irq(&probe[0]->pci, true);
    ck_assert(irq_level[11]);
    pci_irq(&probe[1]->pci, true);
    pci_irq(&probe[0]->pci, false);
    ck_assert(irq_level[11]);
    cfg_write(8, 0x62, 1, 10);
    ck_assert(irq_level[10] && !irq_level[11]);
    cfg_write(0x38, 4, 2, 0x400);                       /* INTx disable */
    ck_assert(!irq_level[10]);
    ck_assert_uint_eq(cfg_read(0x38, 6, 2) & 8, 8);
    cfg_write(0x38, 4, 2, 0);
    ck_assert(irq_level[10]);
    cfg_write(8, 0x62, 1, 0x80);
    ck_assert(!irq_level[10]);
    bus_reset(bus);
    ck_assert_uint_eq(cfg_read(8, 0x62, 1), 0x80);
}
END_TEST

static void expect_at(gpa a, u8 read)
{
    u8 v;
    physmap_read(phys, a, &v, 1);
    ck_assert_uint_eq(v, read);
}

START_TEST(pam)
{
    struct region rom = { .name = "bios", .start = 0xe0000, .size = 0x20000, .priority = 1, .kind = REGION_ROM,
                          .enabled = true, .ram = bios };
    physmap_add(phys, &rom);
    ram->base[0xf1234] = 0x11;
    expect_at(0xf1234, 0xb1);
    cfg_write(0, 0x59, 1, 0x10);                /* reads from DRAM, writes to PCI */
    expect_at(0xf1234, 0x11);
    physmap_write_int(phys, 0xf1234, 1, 0x22);
    expect_at(0xf1234, 0x11);
    cfg_write(0, 0x59, 1, 0x20);                /* the other way: shadowing in place */
    physmap_write_int(phys, 0xf1234, 1, 0x33);
    expect_at(0xf1234, 0xb1);
    cfg_write(0, 0x59, 1, 0x30);
    expect_at(0xf1234, 0x33);
    physmap_write_int(phys, 0xf1234, 1, 0x44);
    expect_at(0xf1234, 0x44);
    cfg_write(0, 0x5a, 1, 0x31);                /* c0000: read; c4000: both */
    cfg_write(0, 0x5f, 1, 0x30);                /* ec000 */
    physmap_write_int(phys, 0xc4000, 1, 0x55);
    expect_at(0xc4000, 0x55);
    physmap_write_int(phys, 0xec000, 1, 0x66);
    expect_at(0xec000, 0x66);
    expect_at(0xe8000, 0xb1);
    bus_reset(bus);
    expect_at(0xf1234, 0xb1);
    physmap_remove(phys, &rom);
}
END_TEST

START_TEST(smram_lock)
{
    cfg_write(0, 0x72, 1, 0x4a);
    ck_assert(host->smram.enabled);
    cfg_write(0, 0x72, 1, 0x1a);
    ck_assert(!host->smram.enabled);
    cfg_write(0, 0x72, 1, 0x4a);
    ck_assert(!host->smram.enabled);
    ck_assert_uint_eq(cfg_read(0, 0x72, 1), 0x1a);
}
END_TEST

START_TEST(reset_control)
{
    bus_io_write(bus, 0xcf9, 1, 0x02);
    ck_assert_uint_eq(resets, 0);
    bus_io_write(bus, 0xcf9, 1, 0x06);
    ck_assert(resets == 1 && reset_kind == I440FX_RESET_HARD);
    bus_io_write(bus, 0xcf9, 1, 0x00);
    bus_io_write(bus, 0xcf9, 1, 0x04);
    ck_assert(resets == 2 && reset_kind == I440FX_RESET_SOFT);
}
END_TEST

#define PM 0x600
static void pm_on(void)
{
    cfg_write(8 | 3, 0x40, 4, PM | 1);
    cfg_write(8 | 3, 0x80, 1, 1);
}

START_TEST(pm_timer)
{
    ck_assert_uint_eq(bus_io_read(bus, PM + 8, 4), 0xffffffff);
    pm_on();
    instructions = 0;
    ck_assert_uint_eq(bus_io_read(bus, PM + 8, 4), 0);
    instructions = NS_PER_SEC;
    ck_assert_uint_eq(bus_io_read(bus, PM + 8, 4), 3579545);
    bus_io_write(bus, PM + 2, 2, 1);                    /* overflow interrupt */
    bus_io_write(bus, PM + 4, 2, 1);
    instructions = clock_deadline(timeline);
    clock_run(timeline);
    ck_assert_uint_eq(bus_io_read(bus, PM + 8, 4), 1u << 23);
    ck_assert(irq_level[9]);
    ck_assert_uint_eq(bus_io_read(bus, PM, 2), 1);
    bus_io_write(bus, PM, 2, 1);
    ck_assert(!irq_level[9]);
    ck_assert(clock_deadline(timeline) != TIMER_NEVER);
}
END_TEST

START_TEST(power_button_and_off)
{
    pm_on();
    piix4_pm_powerbutton(pm);
    ck_assert(!irq_level[9]);
    bus_io_write(bus, PM + 2, 2, 0x100);
    ck_assert(!irq_level[9]);
    bus_io_write(bus, 0xb2, 1, 0xf1);                   /* ACPI enable */
    ck_assert_uint_eq(bus_io_read(bus, PM + 4, 2), 1);
    ck_assert(irq_level[9]);
    bus_io_write(bus, PM, 2, 0x100);
    ck_assert(!irq_level[9]);
    piix4_pm_gpe(pm, 1);
    bus_io_write(bus, 0xafe2, 2, 2);
    ck_assert(irq_level[9]);
    bus_io_write(bus, 0xafe0, 2, 2);
    ck_assert(!irq_level[9]);
    bus_io_write(bus, PM + 4, 2, 0x2000 | 3 << 10);
    ck_assert_uint_eq(offs, 0);
    ck_assert_uint_eq(bus_io_read(bus, PM, 2), 0x8000);
    bus_io_write(bus, PM + 4, 2, 0x2000);
    ck_assert_uint_eq(offs, 1);
    bus_io_write(bus, 0xb2, 1, 0xf0);
    ck_assert_uint_eq(bus_io_read(bus, PM + 4, 2) & 1, 0);
}
END_TEST

START_TEST(smbus_is_empty)
{
    cfg_write(8 | 3, 0x90, 4, 0x701);
    cfg_write(8 | 3, 0xd2, 1, 9);
    bus_io_write(bus, 0x704, 1, 0xa1);
    bus_io_write(bus, 0x702, 1, 0x48);
    ck_assert_uint_eq(bus_io_read(bus, 0x700, 1), 4);
    bus_io_write(bus, 0x700, 1, 0xff);
    ck_assert_uint_eq(bus_io_read(bus, 0x700, 1), 0);
}
END_TEST

START_TEST(random_configuration_writes)
{
    u32 seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        u32 r = seed >> 8;
        seed = seed * 1664525 + 1013904223;
        static const u8 functions[] = { 0, 8, 11, 0x18, 0x38 };
        cfg_write(functions[r % 5], (u8)(r >> 4), 1u << (r >> 12 & 1 ? 2 : r >> 13 & 1), seed);
    }
    bus_reset(bus);
    ck_assert_uint_eq(cfg_read(0, 0, 4), 0x12378086);
    expect_at(0x1000, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pci");
    TCase *t = tcase_create("pci");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, mechanism_one);
    tcase_add_test(t, bars);
    tcase_add_test(t, bus_mastering);
    tcase_add_test(t, interrupt_routing);
    tcase_add_test(t, pam);
    tcase_add_test(t, smram_lock);
    tcase_add_test(t, reset_control);
    tcase_add_test(t, pm_timer);
    tcase_add_test(t, power_button_and_off);
    tcase_add_test(t, smbus_is_empty);
    tcase_add_test(t, random_configuration_writes);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
