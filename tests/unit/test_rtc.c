/* test_rtc.c - MC146818: time in both formats, setting, alarms, periodic interrupt, UIP, RAM. */
#include "device_fixture.h"
#include "devices/mc146818.h"

static struct mc146818 *rtc;
#define START 951782399ll       /* 2000-02-28 23:59:59, a Monday; 2000 is a leap year */

static void out(u8 reg, u8 v) { bus_io_write(bus, 0x70, 1, reg); bus_io_write(bus, 0x71, 1, v); }
static u8 in(u8 reg) { bus_io_write(bus, 0x70, 1, reg); return (u8)bus_io_read(bus, 0x71, 1); }

static void setup(void)
{
    fixture_open();
    instructions = 0;
    rtc = device_new(bus, &mc146818_class);
    rtc->irq = fixture_line(8);
    rtc->start_time = START;
    ck_assert(device_init(&rtc->dev, NULL, 0));
    bus_map_io(bus, 0x70, 2, &rtc->dev, MC146818_REGION_STANDARD);
    bus_map_io(bus, 0x72, 2, &rtc->dev, MC146818_REGION_EXTENDED);
    bus_reset(bus);
}

static void pass(u64 ns)
{
    u64 end = instructions + ns;
    while (clock_deadline(timeline) <= end) {
        instructions = clock_deadline(timeline) > instructions ? clock_deadline(timeline) : instructions;
        clock_run(timeline);
    }
    instructions = end;
}

static void expect(const char *want)
{
    char have[40];
    snprintf(have, sizeof have, "%02x%02x-%02x-%02x %02x:%02x:%02x %x", in(0x32), in(9), in(8), in(7), in(4), in(2),
             in(0), in(6));
    ck_assert_str_eq(have, want);
}

START_TEST(counts_on)
{
    expect("2000-02-28 23:59:59 2");
    pass(NS_PER_SEC);
    expect("2000-02-29 00:00:00 3");
    pass(86400 * NS_PER_SEC);
    expect("2000-03-01 00:00:00 4");
    ck_assert_uint_eq(in(13), 0x80);
}
END_TEST

START_TEST(formats)
{
    out(11, 0x06);              /* binary, 24 h */
    ck_assert_uint_eq(in(4), 23);
    ck_assert_uint_eq(in(0), 59);
    out(11, 0x00);              /* BCD, 12 h: 11 pm */
    ck_assert_uint_eq(in(4), 0x91);
    pass(NS_PER_SEC);
    ck_assert_uint_eq(in(4), 0x12);     /* midnight is 12 am */
    pass(12 * 3600 * NS_PER_SEC);
    ck_assert_uint_eq(in(4), 0x92);
}
END_TEST

START_TEST(setting)
{
    out(11, 0x82);
    out(0, 0x30); out(2, 0x15); out(4, 0x08); out(7, 0x31); out(8, 0x12); out(9, 0x99); out(0x32, 0x19); out(6, 0x06);
    pass(5 * NS_PER_SEC);
    expect("1999-12-31 08:15:30 6");    /* stands while SET is on */
    out(11, 0x02);
    pass(NS_PER_SEC);
    expect("1999-12-31 08:15:31 6");
    pass(16 * 3600 * NS_PER_SEC);
    expect("2000-01-01 00:15:31 7");
    out(2, 0x40);                       /* a register alone, while it runs */
    expect("2000-01-01 00:40:31 7");
}
END_TEST

START_TEST(update_in_progress)
{
    ck_assert_uint_eq(in(10) & 0x80, 0);
    pass(NS_PER_SEC - 2000000);
    ck_assert_uint_eq(in(10) & 0x80, 0x80);
    expect("2000-02-28 23:59:59 2");
    pass(2000000);
    ck_assert_uint_eq(in(10) & 0x80, 0);
}
END_TEST

START_TEST(divider_reset)
{
    out(10, 0x66);
    pass(10 * NS_PER_SEC);
    expect("2000-02-28 23:59:59 2");
    out(10, 0x26);
    pass(NS_PER_SEC / 2 - 1000);
    expect("2000-02-28 23:59:59 2");
    pass(1000);
    expect("2000-02-29 00:00:00 3");
}
END_TEST

START_TEST(flags_without_interrupts)
{
    in(12);
    pass(3 * NS_PER_SEC);
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);       /* nothing enabled: no timer */
    ck_assert_uint_eq(in(12), 0x70);            /* the alarm registers say 00:00:00 */
    ck_assert_uint_eq(in(12), 0x00);
    ck_assert(!irq_level[8]);
}
END_TEST

START_TEST(update_interrupt)
{
    out(11, 0x12);
    pass(NS_PER_SEC - 1);
    ck_assert(!irq_level[8]);
    pass(1);
    ck_assert(irq_level[8]);
    ck_assert_uint_eq(in(12) & 0x90, 0x90);
    ck_assert(!irq_level[8]);
    pass(NS_PER_SEC);
    ck_assert(irq_level[8]);
    ck_assert_uint_eq(irq_edges[8], 2);
}
END_TEST

START_TEST(alarm_interrupt)
{
    out(1, 0x05); out(3, 0x01); out(5, 0x00);
    in(12);
    out(11, 0x22);
    pass(65 * NS_PER_SEC);
    ck_assert(!irq_level[8]);
    pass(NS_PER_SEC);
    ck_assert(irq_level[8]);
    ck_assert_uint_eq(in(12) & 0xa0, 0xa0);
    out(5, 0xff); out(3, 0xff);                 /* every minute at :05 */
    pass(60 * NS_PER_SEC);
    ck_assert_uint_eq(irq_edges[8], 2);
    in(12);
    out(1, 0x99);                               /* never */
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
}
END_TEST

START_TEST(periodic_interrupt)
{
    out(11, 0x42);
    for (unsigned i = 0; i < 1024; i++) {
        pass(976563);
        in(12);
    }
    ck_assert_uint_ge(irq_edges[8], 1023);
    ck_assert_uint_le(irq_edges[8], 1025);
    out(10, 0x20);                              /* rate 0: off */
    in(12);
    unsigned before = irq_edges[8];
    pass(NS_PER_SEC);
    ck_assert_uint_eq(irq_edges[8], before);
}
END_TEST

START_TEST(ram_survives_reset)
{
    out(0x40, 0x5a);
    bus_io_write(bus, 0x72, 1, 0x40);
    bus_io_write(bus, 0x73, 1, 0xa5);
    out(11, 0x72);
    bus_reset(bus);
    ck_assert_uint_eq(in(0x40), 0x5a);
    bus_io_write(bus, 0x72, 1, 0x40);
    ck_assert_uint_eq(bus_io_read(bus, 0x73, 1), 0xa5);
    ck_assert_uint_eq(in(11), 0x02);
    ck_assert_uint_eq(bus_io_read(bus, 0x70, 1), 0xff);
}
END_TEST

START_TEST(nonsense_is_survived)
{
    for (unsigned v = 0; v < 256; v += 15) {
        for (u8 r = 0; r < 10; r++)
            out(r, (u8)(v + r));
        out(0x32, (u8)v);
        for (u8 r = 0; r < 14; r++)
            in(r);
        out(11, (u8)v);
        pass(NS_PER_SEC / 3);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rtc");
    TCase *t = tcase_create("mc146818");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_add_test(t, counts_on);
    tcase_add_test(t, formats);
    tcase_add_test(t, setting);
    tcase_add_test(t, update_in_progress);
    tcase_add_test(t, divider_reset);
    tcase_add_test(t, flags_without_interrupts);
    tcase_add_test(t, update_interrupt);
    tcase_add_test(t, alarm_interrupt);
    tcase_add_test(t, periodic_interrupt);
    tcase_add_test(t, ram_survives_reset);
    tcase_add_test(t, nonsense_is_survived);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
