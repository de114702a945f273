/* test_i8254.c - counters, latches, read-back, outputs of all modes, IRQ 0, port 61h. */
#include "device_fixture.h"
#include "devices/port61.h"

static struct i8254 *pit;
static bool busy;       /* the CPU has not taken the last tick */

static void out(u16 port, u8 v) { bus_io_write(bus, port, 1, v); }
static u8 in(u16 port) { return (u8)bus_io_read(bus, port, 1); }
static bool unserved(void *ctx) { return busy; }

static void setup(void)
{
    fixture_open();
    instructions = 0;
    busy = false;
    pit = device_new(bus, &i8254_class);
    pit->irq0 = fixture_line(0);
    pit->unserved = unserved;
    ck_assert(device_init(&pit->dev, NULL, 0));
    struct port61 *p = device_new(bus, &port61_class);
    p->pit = pit;
    bus_map_io(bus, 0x40, 4, &pit->dev, 0);
    bus_map_io(bus, 0x61, 1, &p->dev, 0);
    bus_reset(bus);
}

/* Moves time to just after the given tick, firing what is due on the way. */
static void at_tick(u64 tick)
{
    u64 target = ticks_to_ns(tick, I8254_HZ);
    while (clock_deadline(timeline) <= target) {
        instructions = clock_deadline(timeline) > instructions ? clock_deadline(timeline) : instructions;
        clock_run(timeline);
    }
    instructions = target;
}

static void load(unsigned counter, u8 mode, u16 count)
{
    out(0x43, (u8)(counter << 6 | 0x30 | mode << 1));
    out((u16)(0x40 + counter), (u8)count);
    out((u16)(0x40 + counter), (u8)(count >> 8));
}

static u16 count_of(unsigned counter)
{
    out(0x43, (u8)(counter << 6));
    u8 low = in((u16)(0x40 + counter));
    return (u16)(low | in((u16)(0x40 + counter)) << 8);
}

static bool out2(void) { return in(0x61) & 0x20; }

START_TEST(mode0)
{
    out(0x61, 1);
    load(2, 0, 10);
    ck_assert(!out2());
    at_tick(1);
    ck_assert_uint_eq(count_of(2), 10);
    at_tick(10);
    ck_assert_uint_eq(count_of(2), 1);
    ck_assert(!out2());
    at_tick(11);
    ck_assert_uint_eq(count_of(2), 0);
    ck_assert(out2());
    at_tick(12);
    ck_assert_uint_eq(count_of(2), 0xffff);
    ck_assert(out2());
}
END_TEST

START_TEST(mode0_gate_holds)
{
    out(0x61, 1);
    load(2, 0, 100);
    at_tick(11);
    out(0x61, 0);
    at_tick(50);
    ck_assert_uint_eq(count_of(2), 90);
    out(0x61, 1);
    at_tick(60);
    ck_assert_uint_eq(count_of(2), 80);
}
END_TEST

START_TEST(mode1_needs_trigger)
{
    load(2, 1, 5);
    at_tick(20);
    ck_assert(out2());
    out(0x61, 1);
    at_tick(21);
    ck_assert(!out2());
    at_tick(25);
    ck_assert(!out2());
    at_tick(26);
    ck_assert(out2());
}
END_TEST

START_TEST(mode2)
{
    out(0x61, 1);
    load(2, 2, 4);
    static const u16 counts[] = { 4, 3, 2, 1, 4, 3, 2, 1, 4 };
    for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
        at_tick(1 + i);
        ck_assert_uint_eq(count_of(2), counts[i]);
        ck_assert_int_eq(out2(), counts[i] != 1);
    }
    out(0x61, 0);
    ck_assert(out2());          /* gate low: output goes high at once */
}
END_TEST

START_TEST(mode3)
{
    out(0x61, 1);
    load(2, 3, 6);
    static const u16 even[] = { 6, 4, 2, 6, 4, 2, 6 };
    for (unsigned i = 0; i < ARRAY_LEN(even); i++) {
        at_tick(1 + i);
        ck_assert_uint_eq(count_of(2), even[i]);
        ck_assert_int_eq(out2(), i % 6 < 3);
    }
    load(2, 3, 5);
    static const u16 odd[] = { 4, 2, 0, 4, 2, 4 };
    for (unsigned i = 0; i < ARRAY_LEN(odd); i++) {
        at_tick(8 + i);
        ck_assert_uint_eq(count_of(2), odd[i]);
        ck_assert_int_eq(out2(), i % 5 < 3);
    }
}
END_TEST

START_TEST(mode4_strobe)
{
    out(0x61, 1);
    load(2, 4, 3);
    at_tick(3);
    ck_assert(out2());
    at_tick(4);
    ck_assert(!out2());
    at_tick(5);
    ck_assert(out2());
}
END_TEST

START_TEST(new_count_waits_for_the_period)
{
    out(0x61, 1);
    load(2, 2, 10);
    at_tick(5);
    out(0x42, 20);
    out(0x42, 0);
    out(0x43, 0xe8);            /* read back status of counter 2: null count */
    ck_assert_uint_eq(in(0x42) & 0x40, 0x40);
    at_tick(10);
    ck_assert_uint_eq(count_of(2), 1);
    at_tick(11);
    ck_assert_uint_eq(count_of(2), 20);
    out(0x43, 0xe8);
    ck_assert_uint_eq(in(0x42) & 0x40, 0);
}
END_TEST

START_TEST(bcd)
{
    out(0x61, 1);
    out(0x43, 0xb1);
    out(0x42, 0x00);
    out(0x42, 0x10);            /* 1000 */
    at_tick(2);
    ck_assert_uint_eq(count_of(2), 0x999);
}
END_TEST

START_TEST(latch_holds_and_read_back)
{
    out(0x61, 1);
    load(2, 2, 1000);
    at_tick(101);
    out(0x43, 0x80);
    at_tick(201);
    out(0x43, 0x80);            /* a second latch before reading changes nothing */
    u8 low = in(0x42);
    ck_assert_uint_eq(low | in(0x42) << 8, 900);
    out(0x43, 0xc8);            /* count and status of counter 2 */
    ck_assert_uint_eq(in(0x42), 0x80 | 0x34);
    low = in(0x42);
    ck_assert_uint_eq(low | in(0x42) << 8, 800);
}
END_TEST

START_TEST(single_byte_access)
{
    out(0x61, 1);
    out(0x43, 0x94);            /* counter 2, low byte only, mode 2 */
    out(0x42, 8);
    at_tick(3);
    ck_assert_uint_eq(in(0x42), 6);
    ck_assert_uint_eq(in(0x42), 6);
    ck_assert_uint_eq(in(0x43), 0xff);
}
END_TEST

START_TEST(irq0_periodic)
{
    load(0, 2, 1193);
    unsigned before = irq_edges[0];
    at_tick(1193 * 50 + 10);
    ck_assert_uint_eq(irq_edges[0] - before, 50);
}
END_TEST

START_TEST(irq0_one_shot)
{
    load(0, 0, 1000);
    ck_assert(!irq_level[0]);
    at_tick(999);
    ck_assert(!irq_level[0]);
    at_tick(1002);
    ck_assert(irq_level[0]);
    unsigned before = irq_edges[0];
    at_tick(200000);
    ck_assert_uint_eq(irq_edges[0], before);
}
END_TEST

START_TEST(lost_ticks_come_later)
{
    load(0, 2, 2000);
    at_tick(2001);
    unsigned before = irq_edges[0];
    instructions = ticks_to_ns(2001 + 2000 * 10, I8254_HZ);     /* the host sleeps for ten periods */
    clock_run(timeline);
    ck_assert_uint_le(irq_edges[0] - before, 2);
    at_tick(2001 + 2000 * 40);
    ck_assert_uint_eq(irq_edges[0] - before, 40);

    busy = true;                                                /* the CPU is stuck for five periods */
    before = irq_edges[0];
    at_tick(2001 + 2000 * 45);
    ck_assert_uint_eq(irq_edges[0], before);
    busy = false;
    at_tick(2001 + 2000 * 60);
    ck_assert_uint_eq(irq_edges[0] - before, 20);
    load(0, 2, 2000);                                           /* reprogramming forgives what is owed */
    ck_assert_uint_eq(pit->owed, 0);
}
END_TEST

START_TEST(hostile_rate_is_bounded)
{
    load(0, 2, 1);
    unsigned before = irq_edges[0];
    at_tick(I8254_HZ / 100);
    ck_assert_uint_le(irq_edges[0] - before, 1001);
}
END_TEST

START_TEST(refresh_toggles)
{
    unsigned changes = 0;
    u8 last = in(0x61) & 0x10;
    for (unsigned i = 0; i < 100; i++) {
        instructions += 5000;
        u8 now = in(0x61) & 0x10;
        changes += now != last;
        last = now;
    }
    ck_assert_uint_eq(changes, 33);
    out(0x61, 0xff);
    ck_assert_uint_eq(in(0x61) & 0xcf, 0x0f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("i8254");
    TCase *t = tcase_create("i8254");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_add_test(t, mode0);
    tcase_add_test(t, mode0_gate_holds);
    tcase_add_test(t, mode1_needs_trigger);
    tcase_add_test(t, mode2);
    tcase_add_test(t, mode3);
    tcase_add_test(t, mode4_strobe);
    tcase_add_test(t, new_count_waits_for_the_period);
    tcase_add_test(t, bcd);
    tcase_add_test(t, latch_holds_and_read_back);
    tcase_add_test(t, single_byte_access);
    tcase_add_test(t, irq0_periodic);
    tcase_add_test(t, irq0_one_shot);
    tcase_add_test(t, lost_ticks_come_later);
    tcase_add_test(t, hostile_rate_is_bounded);
    tcase_add_test(t, refresh_toggles);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
