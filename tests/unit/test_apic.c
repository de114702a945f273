/* test_apic.c - local APIC, I/O APIC, HPET. */
#include "device_fixture.h"
#include "devices/hpet.h"
#include "devices/ioapic.h"

static struct lapic_bus apics;
static struct lapic *cpu[2];
static struct ioapic *ioapic;
static struct hpet *hpet;
static unsigned nmis, inits, sipis;
static u8 sipi_vector;
static bool legacy;

static void on_nmi(void *ctx) { nmis++; }
static void on_init(void *ctx) { inits++; }
static void on_sipi(void *ctx, u8 v) { sipis++; sipi_vector = v; }
static void on_legacy(void *ctx, bool on) { legacy = on; }
static void pin(void *ctx, int n, bool level) { ioapic_set(ioapic, (unsigned)n, level); }

#define BASE(n) (0xfee00000 + (n) * 0x1000)     /* the second CPU's page is moved so that both can be reached */
static void wr(unsigned n, u32 reg, u32 v) { physmap_write_int(phys, BASE(n) + reg, 4, v); }
static u32 rd(unsigned n, u32 reg) { return (u32)physmap_read_int(phys, BASE(n) + reg, 4); }
static void io_wr(u32 reg, u32 v)
{
    physmap_write_int(phys, IOAPIC_BASE, 4, reg);
    physmap_write_int(phys, IOAPIC_BASE + 0x10, 4, v);
}
static u32 io_rd(u32 reg)
{
    physmap_write_int(phys, IOAPIC_BASE, 4, reg);
    return (u32)physmap_read_int(phys, IOAPIC_BASE + 0x10, 4);
}

static void setup(void)
{
    fixture_open();
    memset(&apics, 0, sizeof apics);
    nmis = inits = sipis = 0;
    ioapic = device_new(bus, &ioapic_class);
    ioapic->bus = &apics;
    apics.eoi = ioapic_eoi;
    apics.eoi_ctx = ioapic;
    bus_map_mmio(bus, IOAPIC_BASE, 0x1000, 2, &ioapic->dev, 0);
    for (unsigned n = 0; n < 2; n++) {
        struct lapic *l = cpu[n] = device_new(bus, &lapic_class);
        l->bus = &apics;
        l->initial_id = n;
        l->bsp = n == 0;
        l->intr = fixture_line((int)n);
        l->nmi = on_nmi;
        l->init = on_init;
        l->sipi = on_sipi;
        l->mmio = bus_map_mmio(bus, BASE(n), 0x1000, 3, &l->dev, 0);
        ck_assert(device_init(&l->dev, NULL, 0));
    }
    hpet = device_new(bus, &hpet_class);
    for (int i = 0; i < 24; i++)
        hpet->pin[i] = (struct irq){ pin, NULL, i };
    hpet->legacy[0] = fixture_line(8);
    hpet->legacy[1] = fixture_line(9);
    hpet->legacy_mode = on_legacy;
    hpet_set_region(hpet, bus_map_mmio(bus, HPET_BASE, 0x1000, 2, &hpet->dev, 0));
    ck_assert(device_init(&hpet->dev, NULL, 0));
    bus_reset(bus);
    lapic_set_base(cpu[1], BASE(1) | 0x800);
    wr(0, 0xf0, 0x1ff);
    wr(1, 0xf0, 0x1ff);
}

START_TEST(virtual_wire)
{
    lapic_set_base(cpu[0], BASE(0));            /* off: LINT0 is INTR */
    lapic_lint(cpu[0], 0, true);
    ck_assert(irq_level[0]);
    ck_assert_int_eq(lapic_ack(cpu[0]), LAPIC_ACK_EXTINT);
    lapic_lint(cpu[0], 0, false);
    ck_assert(!irq_level[0]);
    lapic_set_base(cpu[0], BASE(0) | 0x900);
    wr(0, 0xf0, 0x1ff);
    wr(0, 0x350, 0x8700);
    lapic_lint(cpu[0], 0, true);
    ck_assert(irq_level[0]);
    wr(0, 0x350, 0x18700);
    ck_assert(!irq_level[0]);
    wr(0, 0x360, 0x400);
    lapic_lint(cpu[0], 1, true);
    ck_assert_uint_eq(nmis, 1);
}
END_TEST

START_TEST(priorities)
{
    wr(0, 0x300, 0x44051);      /* self IPIs */
    wr(0, 0x300, 0x44042);
    ck_assert(irq_level[0]);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x51);
    ck_assert_uint_eq(rd(0, 0xa0), 0x50);
    ck_assert(!irq_level[0]);
    wr(0, 0x300, 0x44061);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x61);
    wr(0, 0xb0, 0);
    ck_assert(!irq_level[0]);
    wr(0, 0xb0, 0);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x42);
    wr(0, 0xb0, 0);
    lapic_write_msr(cpu[0], 0x808, 5 << 4);     /* CR8 = 5 */
    wr(0, 0x300, 0x44055);
    ck_assert(!irq_level[0]);
    ck_assert_int_eq(lapic_ack(cpu[0]), LAPIC_ACK_NONE);
    ck_assert_uint_eq(rd(0, 0x220), 1u << 21);      /* IRR of 64-95 */
    lapic_write_msr(cpu[0], 0x808, 4 << 4);
    ck_assert(irq_level[0]);
}
END_TEST

START_TEST(ipis)
{
    wr(0, 0x310, 1 << 24);
    wr(0, 0x300, 0x4030);
    ck_assert(!irq_level[0] && irq_level[1]);
    ck_assert_int_eq(lapic_ack(cpu[1]), 0x30);
    wr(1, 0xb0, 0);
    wr(0, 0x300, 0xc4031);      /* all but self */
    ck_assert(!irq_level[0] && irq_level[1]);
    wr(0, 0x300, 0x84032);      /* all */
    ck_assert(irq_level[0]);
    wr(0, 0x300, 0x4500);       /* INIT, SIPI */
    wr(0, 0x300, 0x4609);
    wr(0, 0x300, 0x8500);       /* INIT de-assert: nothing */
    ck_assert_uint_eq(inits, 1);
    ck_assert(sipis == 1 && sipi_vector == 9);
    wr(0, 0x300, 0x4400);
    ck_assert_uint_eq(nmis, 1);
}
END_TEST

START_TEST(logical_destinations)
{
    wr(0, 0xd0, 0x01000000);
    wr(1, 0xd0, 0x02000000);
    wr(0, 0x310, 0x02000000);
    wr(0, 0x300, 0x4835);
    ck_assert(!irq_level[0] && irq_level[1]);
    wr(0, 0x310, 0x03000000);
    wr(1, 0x80, 0x80);
    wr(0, 0x300, 0x4936);       /* lowest priority: CPU 0 */
    ck_assert(irq_level[0]);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x36);
    wr(0, 0xe0, 0x0fffffff);    /* cluster model: cluster 0, member 1 */
    wr(0, 0x310, 0x01000000);
    wr(0, 0x300, 0x4837);
    wr(0, 0xb0, 0);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x37);
}
END_TEST

START_TEST(errors)
{
    wr(0, 0x370, 0xfe);
    wr(0, 0x300, 0x44005);      /* illegal vector */
    ck_assert_int_eq(lapic_ack(cpu[0]), 0xfe);
    ck_assert_uint_eq(rd(0, 0x280), 0);
    wr(0, 0x280, 0);
    ck_assert_uint_eq(rd(0, 0x280), 0x20);
    wr(0, 0x370, 0x05);         /* an error vector that is illegal itself */
    wr(0, 0x300, 0x44005);
    rd(0, 0x3f0);
    wr(0, 0x280, 0);
    ck_assert_uint_eq(rd(0, 0x280), 0xe0);
}
END_TEST

START_TEST(timer_modes)
{
    wr(0, 0x320, 0x40);
    wr(0, 0x3e0, 0x0b);         /* divide by 1: 1 GHz */
    wr(0, 0x380, 100000);
    instructions += 40000;
    ck_assert_uint_eq(rd(0, 0x390), 60000);
    wr(0, 0x3e0, 0x00);         /* by 2 from here */
    instructions += 20000;
    ck_assert_uint_eq(rd(0, 0x390), 50000);
    instructions += 100000;
    clock_run(timeline);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x40);
    wr(0, 0xb0, 0);
    ck_assert_uint_eq(rd(0, 0x390), 0);
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
    wr(0, 0x320, 0x20041);      /* periodic */
    wr(0, 0x380, 10000);
    for (unsigned i = 0; i < 10; i++) {
        instructions = clock_deadline(timeline);
        clock_run(timeline);
        ck_assert_int_eq(lapic_ack(cpu[0]), 0x41);
        wr(0, 0xb0, 0);
    }
    wr(0, 0x320, 0x40042);      /* TSC deadline */
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
    lapic_write_msr(cpu[0], 0x6e0, (instructions + 500) * 2);
    ck_assert_uint_eq(clock_deadline(timeline), instructions + 500);
    instructions += 500;
    clock_run(timeline);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x42);
    ck_assert_uint_eq(lapic_read_msr(cpu[0], 0x6e0), 0);
}
END_TEST

START_TEST(x2apic)
{
    lapic_set_base(cpu[1], BASE(1) | 0xc00);
    ck_assert_uint_eq(rd(1, 0x20), 0xffffffff);         /* the page is gone */
    ck_assert_uint_eq(lapic_read_msr(cpu[1], 0x802), 1);
    ck_assert_uint_eq(lapic_read_msr(cpu[1], 0x80d), 2);
    lapic_write_msr(cpu[1], 0x83f, 0x77);
    ck_assert_int_eq(lapic_ack(cpu[1]), 0x77);
    lapic_write_msr(cpu[1], 0x80b, 0);
    lapic_write_msr(cpu[1], 0x830, (u64)1 << 32 | 0x78);
    ck_assert_int_eq(lapic_ack(cpu[1]), 0x78);
    ck_assert_uint_eq(lapic_read_msr(cpu[1], 0x830), (u64)1 << 32 | 0x78);
}
END_TEST

START_TEST(software_disable)
{
    wr(0, 0x320, 0x40);
    wr(0, 0xf0, 0xff);
    ck_assert_uint_eq(rd(0, 0x320), 0x10040);
    wr(0, 0x320, 0x40);
    ck_assert_uint_eq(rd(0, 0x320), 0x10040);
    wr(0, 0x300, 0x44051);
    ck_assert(!irq_level[0]);
}
END_TEST

START_TEST(ioapic_edge_and_level)
{
    ck_assert_uint_eq(io_rd(1), 0x170020);
    io_wr(0x10 + 2 * 4, 0x51);
    ioapic_set(ioapic, 4, true);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x51);
    wr(0, 0xb0, 0);
    ck_assert(!irq_level[0]);
    io_wr(0x10 + 2 * 11, 0x8061);
    ioapic_set(ioapic, 11, true);
    ck_assert_uint_eq(io_rd(0x10 + 2 * 11), 0xc061);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x61);
    wr(0, 0xb0, 0);                             /* still high: comes again */
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x61);
    ioapic_set(ioapic, 11, false);
    wr(0, 0xb0, 0);
    ck_assert(!irq_level[0]);
    ck_assert_uint_eq(io_rd(0x10 + 2 * 11), 0x8061);
    io_wr(0x10 + 2 * 5, 0x10052);               /* masked edge: lost */
    ioapic_set(ioapic, 5, true);
    io_wr(0x10 + 2 * 5, 0x52);
    ck_assert(!irq_level[0]);
    io_wr(0x11 + 2 * 6, 1u << 24);
    io_wr(0x10 + 2 * 6, 0x53);
    ioapic_set(ioapic, 6, true);
    ck_assert(irq_level[1]);
    io_wr(0xff, 1);                             /* no such register */
    ck_assert_uint_eq(io_rd(0x70), 0);
}
END_TEST

START_TEST(hpet_counts)
{
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE, 8), 0x009896808086a201);
    physmap_write_int(phys, HPET_BASE + 0xf0, 8, 0xfffffff0);
    physmap_write_int(phys, HPET_BASE + 0x10, 4, 1);
    instructions += 1000;
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0xf0, 8), 0xfffffff0ull + 100);
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0xf4, 4), 1);
    physmap_write_int(phys, HPET_BASE + 0x10, 4, 0);
    instructions += 1000;
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0xf0, 8), 0xfffffff0ull + 100);
}
END_TEST

START_TEST(hpet_legacy_periodic)
{
    physmap_write_int(phys, HPET_BASE + 0x100, 4, 0x4c);            /* periodic, enabled, set value */
    physmap_write_int(phys, HPET_BASE + 0x108, 8, 5000);
    physmap_write_int(phys, HPET_BASE + 0x108, 8, 2000);
    physmap_write_int(phys, HPET_BASE + 0x10, 4, 3);
    ck_assert(legacy);
    u64 start = instructions;
    static const u64 at[] = { 50000, 70000, 90000 };
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_msg(clock_deadline(timeline) - start == at[i], "%u: %ld", i, (long)clock_deadline(timeline));
        instructions = clock_deadline(timeline);
        clock_run(timeline);
        ck_assert_uint_eq(irq_edges[8], i + 1);
    }
    physmap_write_int(phys, HPET_BASE + 0x10, 4, 0);
    ck_assert(!legacy && !irq_level[8]);
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
}
END_TEST

/* Nobody would notice its matches, so it keeps nobody awake; its comparator moves on all the same. */
START_TEST(hpet_silent_periodic)
{
    physmap_write_int(phys, HPET_BASE + 0x100, 4, 0x48);            /* periodic, set value, no interrupt */
    physmap_write_int(phys, HPET_BASE + 0x108, 8, 5000);
    physmap_write_int(phys, HPET_BASE + 0x108, 8, 2000);
    physmap_write_int(phys, HPET_BASE + 0x10, 4, 1);
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
    instructions += 10 * 4990;
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0x108, 8), 5000);
    instructions += 10 * 10;
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0x108, 8), 7000);
    instructions += 10 * 6500;
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0x108, 8), 13000);
    physmap_write_int(phys, HPET_BASE + 0x100, 4, 0xc | 16 << 9);   /* with interrupt: at 13000 */
    ck_assert_uint_eq(clock_deadline(timeline), instructions + 10 * 1500);
    physmap_write_int(phys, HPET_BASE + 0x100, 4, 0x8);
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
}
END_TEST

START_TEST(hpet_one_shot_level)
{
    io_wr(0x10 + 2 * 20, 0x8071);
    physmap_write_int(phys, HPET_BASE + 0x140, 4, 20 << 9 | 6);     /* timer 2: level, pin 20 */
    physmap_write_int(phys, HPET_BASE + 0x148, 8, 300);
    physmap_write_int(phys, HPET_BASE + 0x10, 4, 1);
    instructions += 3000;
    clock_run(timeline);
    ck_assert_uint_eq(physmap_read_int(phys, HPET_BASE + 0x20, 4), 4);
    ck_assert_int_eq(lapic_ack(cpu[0]), 0x71);
    physmap_write_int(phys, HPET_BASE + 0x20, 4, 4);
    wr(0, 0xb0, 0);
    ck_assert(!irq_level[0]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("apic");
    TCase *t = tcase_create("apic");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_add_test(t, virtual_wire);
    tcase_add_test(t, priorities);
    tcase_add_test(t, ipis);
    tcase_add_test(t, logical_destinations);
    tcase_add_test(t, errors);
    tcase_add_test(t, timer_modes);
    tcase_add_test(t, x2apic);
    tcase_add_test(t, software_disable);
    tcase_add_test(t, ioapic_edge_and_level);
    tcase_add_test(t, hpet_counts);
    tcase_add_test(t, hpet_legacy_periodic);
    tcase_add_test(t, hpet_silent_periodic);
    tcase_add_test(t, hpet_one_shot_level);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
