/* test_clock.c - guest time, timer order, the machine lock; the bus's port map. */
#include <pthread.h>

#include "device_fixture.h"

static char fired[64];
static void note(void *ctx) { strcat(fired, ctx); }

START_TEST(timers_fire_in_order)
{
    struct timer t[5];
    char names[5][2] = { "a", "b", "c", "d", "e" };
    static const u64 at[5] = { 5000, 3000, 3000, 9000, 4000 };
    fired[0] = 0;
    for (unsigned i = 0; i < 5; i++) {
        timer_init(&t[i], timeline, note, names[i]);
        timer_set(&t[i], at[i]);
    }
    ck_assert_uint_eq(clock_deadline(timeline), 3000);
    instructions = 2999;
    clock_run(timeline);
    ck_assert_str_eq(fired, "");
    timer_cancel(&t[4]);
    instructions = 6000;
    clock_run(timeline);
    ck_assert_str_eq(fired, "bca");
    ck_assert(!timer_armed(&t[0]) && timer_armed(&t[3]));
    timer_set(&t[3], TIMER_NEVER);
    ck_assert_uint_eq(clock_deadline(timeline), TIMER_NEVER);
}
END_TEST

START_TEST(heap_holds_many)
{
    enum { N = 500 };
    static struct timer t[N];
    u32 seed = 1;
    for (unsigned i = 0; i < N; i++) {
        timer_init(&t[i], timeline, note, "");
        timer_set(&t[i], 2000 + (seed = seed * 1103515245 + 12345) % 100000);
    }
    for (unsigned i = 0; i < N; i += 3)
        timer_cancel(&t[i]);
    u64 last = 0;
    while (clock_deadline(timeline) != TIMER_NEVER) {
        u64 d = clock_deadline(timeline);
        ck_assert_uint_ge(d, last);
        last = instructions = d;
        clock_run(timeline);
        for (unsigned i = 0; i < N; i++)
            ck_assert(!timer_armed(&t[i]) || t[i].deadline > d);
    }
}
END_TEST

static void again(void *ctx)
{
    struct timer *t = ctx;
    strcat(fired, "x");
    timer_set(t, clock_now(timeline) + 10);
}

START_TEST(periodic_in_the_future_runs_once)
{
    struct timer t;
    fired[0] = 0;
    timer_init(&t, timeline, again, &t);
    timer_set(&t, 0);
    clock_run(timeline);
    ck_assert_str_eq(fired, "x");
    timer_cancel(&t);
}
END_TEST

static unsigned wakes;
static void count_wake(void *ctx) { wakes++; }

START_TEST(wake_only_for_earlier)
{
    struct timer a, b;
    timer_init(&a, timeline, note, "");
    timer_init(&b, timeline, note, "");
    wakes = 0;
    clock_set_wake(timeline, count_wake, NULL);
    timer_set(&a, 5000);
    timer_set(&b, 6000);
    ck_assert_uint_eq(wakes, 1);
    timer_set(&b, 4000);
    ck_assert_uint_eq(wakes, 2);
    timer_cancel(&a);
    timer_cancel(&b);
}
END_TEST

START_TEST(host_clock_pauses)
{
    struct clock *k = clock_new();
    ck_assert_uint_eq(clock_now(k), 0);
    clock_skip(k, 500);
    ck_assert_uint_eq(clock_now(k), 500);
    clock_resume(k);
    u64 a = clock_now(k), b = clock_now(k);
    ck_assert(a >= 500 && b >= a);
    clock_pause(k);
    a = clock_now(k);
    ck_assert(a >= b && clock_now(k) == a);
    clock_free(k);
}
END_TEST

START_TEST(tick_conversions)
{
    ck_assert_uint_eq(ns_to_ticks(NS_PER_SEC, 1193182), 1193182);
    ck_assert_uint_eq(ns_to_ticks(1ull << 62, 1000000000), 1ull << 62);
    for (u64 t = 0; t < 5000; t++)      /* a timer set for a tick never fires before it */
        ck_assert_uint_eq(ns_to_ticks(ticks_to_ns(t, 1193182), 1193182), t);
}
END_TEST

static volatile bool stop;
static u64 shared, turns;

static void *poller(void *arg)      /* a vCPU that polls a port */
{
    while (!stop) {
        machine_lock();
        shared++;
        machine_unlock();
    }
    return NULL;
}

START_TEST(lock_is_fair)
{
    pthread_t t[2];
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, poller, NULL);
    for (turns = 0; turns < 2000; turns++) {    /* a plain mutex makes each of these wait for a time slice */
        machine_lock();
        u64 before = shared;
        ck_assert(machine_locked_by_me());
        ck_assert_uint_eq(shared, before);
        machine_unlock();
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    ck_assert(!machine_locked_by_me());
}
END_TEST

/* -------------------------------------------------------------------------------------------------- the bus ----- */

static char trace[256];

static u32 probe_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    snprintf(trace + strlen(trace), sizeof trace - strlen(trace), "r%u.%u.%u ", region, reg, bytes);
    return 0x11111111 * (reg + 1);
}

static void probe_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    snprintf(trace + strlen(trace), sizeof trace - strlen(trace), "w%u.%u.%u=%x ", region, reg, bytes, value);
}

static const struct device_class wide = { .name = "wide", .size = sizeof(struct device), .read = probe_read,
                                          .write = probe_write };
static const struct device_class narrow = { .name = "narrow", .size = sizeof(struct device), .read = probe_read,
                                            .write = probe_write, .byte_wide = true };

START_TEST(ports_split_and_overlap)
{
    struct device *w = device_new(bus, &wide), *n = device_new(bus, &narrow);
    bus_map_io(bus, 0x100, 8, w, 1);
    bus_map_io(bus, 0x104, 2, n, 2);
    trace[0] = 0;
    ck_assert_uint_eq(bus_io_read(bus, 0x100, 4), 0x11111111);
    ck_assert_uint_eq(bus_io_read(bus, 0x104, 2), 0x2211);
    bus_io_write(bus, 0x102, 4, 0x44332211);
    ck_assert_str_eq(trace, "r1.0.4 r2.0.1 r2.1.1 w1.2.1=11 w1.3.1=22 w2.0.1=33 w2.1.1=44 ");
    trace[0] = 0;
    bus_unmap_io(bus, 0x104, 2, n);
    bus_io_write(bus, 0x104, 2, 0xabcd);
    ck_assert_str_eq(trace, "w1.4.2=abcd ");
    ck_assert_uint_eq(bus_io_read(bus, 0x200, 4), 0xffffffff);
    ck_assert_uint_eq(bus_io_read(bus, 0x106, 4), 0xffff0000 | 0x8877);
    /* past the end: wraps to ports that nobody has */
    ck_assert_uint_eq(bus_io_read(bus, 0xffff, 4) >> 8, 0xffffff);
}
END_TEST

START_TEST(memory_ranges)
{
    struct device *n = device_new(bus, &narrow);
    bus_map_mmio(bus, 0xd0000000, 0x1000, 1, n, 7);
    trace[0] = 0;
    physmap_write_int(phys, 0xd0000010, 2, 0x3412);
    ck_assert_str_eq(trace, "w7.16.1=12 w7.17.1=34 ");
}
END_TEST

int main(void)
{
    (void)fixture_line;
    Suite *s = suite_create("clock");
    TCase *t = tcase_create("clock");
    tcase_add_checked_fixture(t, fixture_open, fixture_close);
    tcase_add_test(t, timers_fire_in_order);
    tcase_add_test(t, heap_holds_many);
    tcase_add_test(t, periodic_in_the_future_runs_once);
    tcase_add_test(t, wake_only_for_earlier);
    tcase_add_test(t, host_clock_pauses);
    tcase_add_test(t, tick_conversions);
    tcase_add_test(t, lock_is_fair);
    tcase_add_test(t, ports_split_and_overlap);
    tcase_add_test(t, memory_ranges);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
