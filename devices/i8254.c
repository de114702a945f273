/* i8254.c - Intel 8254 programmable interval timer.
 *
 * Nothing counts: a counter is the tick at which its counting element was loaded, and its value and output at any time
 * follow from the number of ticks since (82C54 data sheet, "Mode Definitions"). Counts are kept as 1..65536 (10000 in
 * BCD), zero meaning the largest.
 *
 * Counter 0's output is IRQ 0. Only its rising edges matter to an edge-triggered interrupt controller, so there is one
 * timer, for the next of them; in modes 2 and 3 the low phase is collapsed into the edge.
 *
 * Ticks are not lost when the host is late. A tick that is due while the CPU has not taken the last one yet (the vCPU's
 * thread did not run) and periods that passed before the timer could fire are owed, up to one second's worth, and
 * delivered at twice the programmed rate at most. Reprogramming the counter forgives the debt. With the instruction
 * clock nothing is ever late (pc.c leaves `unserved` empty). Periods shorter than 10 us are delivered every 10 us.
 */
#include "devices/i8254.h"

#include <stdio.h>

enum { RW_LATCH = 0, RW_LOW = 1, RW_HIGH = 2, RW_BOTH = 3 };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
#define MIN_PERIOD_NS 10000u

static s64 ticks_now(const struct i8254 *p)
{
    return (s64)ns_to_ticks(clock_now(p->dev.clock), I8254_HZ);
}

static unsigned rw_of(const struct i8254_counter *c)
{
    return c->control >> 4 & 3;
}

static bool is_bcd(const struct i8254_counter *c)
{
    return c->control & 1;
}

static bool is_triggered(const struct i8254_counter *c)     /* modes whose gate is a trigger */
{
    return c->mode == 1 || c->mode == 5;
}

static bool is_periodic(const struct i8254_counter *c)
{
    return c->mode == 2 || c->mode == 3;
}

static u32 high_half(u32 n)     /* mode 3: ticks with OUT high */
{
    return (n + 1) / 2;
}

/* Lets a count that was written during a period take over at its end. */
static void settle(struct i8254_counter *c, s64 now)
{
    if (!c->reload_pending || now < c->reload_at)
        return;
    bool low_follows = c->mode == 3 && (u32)((c->reload_at - c->start) % c->n) == high_half(c->n);
    c->reload_pending = c->null_count = false;
    c->n = c->cr;
    c->start = c->reload_at - (low_follows ? high_half(c->n) : 0);
}

static s64 elapsed(const struct i8254_counter *c, s64 now)
{
    s64 e = c->frozen ? c->frozen_elapsed : now - c->start;
    return e < 0 ? 0 : e;
}

/* The counting element as a number; BCD conversion is the reader's. */
static u32 value_at(const struct i8254_counter *c, s64 now)
{
    s64 e = elapsed(c, now), modulus = is_bcd(c) ? 10000 : 65536;
    u32 n = c->n, p;
    if (!c->loaded)
        return c->has_cr ? c->cr : 0;
    switch (c->mode) {
    case 2:
        return n - (u32)(e % n);
    case 3:
        p = (u32)(e % n);
        if (p >= high_half(n))
            p -= high_half(n);
        return (n & ~1u) - 2 * p;
    default:
        return (u32)(((s64)n - e % modulus + modulus) % modulus);
    }
}

static bool out_at(const struct i8254_counter *c, s64 now)
{
    s64 e = elapsed(c, now);
    if (!c->loaded)
        return c->mode != 0;
    if (c->frozen && is_periodic(c))
        return true;
    switch (c->mode) {
    case 0: case 1: return e >= (s64)c->n;
    case 2: return c->n == 1 || (u32)(e % c->n) != c->n - 1;
    case 3: return (u32)(e % c->n) < high_half(c->n);
    default: return e != (s64)c->n;
    }
}

/* ---------------------------------------------------------------------------------------- counter 0: IRQ 0 ----- */

/* Tick of the first rising edge of OUT 0 after `now`, -1 if there is none to come. */
static s64 next_edge(const struct i8254_counter *c, s64 now)
{
    if (!c->loaded || c->frozen)
        return -1;
    if (is_periodic(c)) {
        s64 e = now - c->start, edge = e < 0 ? c->start + c->n : c->start + (e / c->n + 1) * c->n;
        if (!c->reload_pending || edge <= c->reload_at)
            return edge;
        return c->reload_at + c->cr / 2;       /* mode 3, the low half of the new count comes first */
    }
    s64 edge = c->start + c->n + (c->mode >= 4);
    return edge > now ? edge : -1;
}

static void schedule(struct i8254 *p, s64 after)
{
    p->edge_tick = next_edge(&p->counter[0], after);
    if (p->edge_tick < 0) {
        timer_cancel(&p->edge);
        return;
    }
    u64 when = ticks_to_ns((u64)p->edge_tick, I8254_HZ);
    if (is_periodic(&p->counter[0]) && p->counter[0].n < ns_to_ticks(MIN_PERIOD_NS, I8254_HZ)) {
        u64 least = clock_now(p->dev.clock) + MIN_PERIOD_NS;
        when = when < least ? least : when;
    }
    timer_set(&p->edge, when);
}

static void pulse(struct i8254 *p)
{
    irq_set(p->irq0, false);
    irq_set(p->irq0, true);
}

static void arm_catch_up(struct i8254 *p)
{
    u64 half = ticks_to_ns(p->counter[0].n, I8254_HZ) / 2;
    if (p->owed && !timer_armed(&p->catch_up))
        timer_set(&p->catch_up, clock_now(p->dev.clock) + (half < MIN_PERIOD_NS ? MIN_PERIOD_NS : half));
}

static void owe(struct i8254 *p, u64 ticks)
{
    u64 most = I8254_HZ / p->counter[0].n + 1;
    p->owed = (u32)(p->owed + ticks > most ? most : p->owed + ticks);
}

static void edge_fire(void *ctx)
{
    struct i8254 *p = ctx;
    struct i8254_counter *c = &p->counter[0];
    s64 edge = p->edge_tick, now = ticks_now(p);
    bool waits = p->unserved && p->unserved(p->unserved_ctx);
    settle(c, edge);
    if (p->unserved && is_periodic(c) && c->n >= ns_to_ticks(MIN_PERIOD_NS, I8254_HZ) && !c->reload_pending)
        owe(p, (now > edge ? (u64)((now - edge) / c->n) : 0) + waits);
    if (!waits)
        pulse(p);
    settle(c, now);
    schedule(p, now > edge ? now : edge);
    arm_catch_up(p);
}

static void catch_up_fire(void *ctx)
{
    struct i8254 *p = ctx;
    if (p->owed && !(p->unserved && p->unserved(p->unserved_ctx))) {
        p->owed--;
        pulse(p);
    }
    arm_catch_up(p);
}

/* After any change of counter 0. */
static void counter0_changed(struct i8254 *p)
{
    s64 now = ticks_now(p);
    p->owed = 0;
    timer_cancel(&p->catch_up);
    irq_set(p->irq0, out_at(&p->counter[0], now));
    schedule(p, now);
}

/* ------------------------------------------------------------------------------------------------ programming ----- */

static void load(struct i8254_counter *c, s64 at)
{
    c->n = c->cr;
    c->start = at;
    c->loaded = true;
    c->null_count = c->reload_pending = false;
    c->frozen = !c->gate && !is_triggered(c);
    c->frozen_elapsed = 0;
}

static u32 count_from_register(const struct i8254_counter *c, u16 v)
{
    if (!is_bcd(c))
        return v ? v : 65536;
    u32 n = (v & 15u) + 10u * (v >> 4 & 15u) + 100u * (v >> 8 & 15u) + 1000u * (v >> 12);
    return n ? n : 10000;
}

static u16 register_from_count(const struct i8254_counter *c, u32 n)
{
    if (!is_bcd(c))
        return (u16)n;
    return (u16)(n % 10 | (n / 10 % 10) << 4 | (n / 100 % 10) << 8 | (n / 1000 % 10) << 12);
}

static void count_written(struct i8254_counter *c, u16 value, s64 now)
{
    settle(c, now);
    c->cr = count_from_register(c, value);
    c->has_cr = true;
    c->null_count = true;
    if (is_triggered(c))
        return;                                     /* waits for the gate */
    if (!is_periodic(c) || !c->loaded) {
        load(c, now + 1);
        return;
    }
    if (c->frozen)
        return;                                     /* the gate's rising edge loads it */
    s64 e = elapsed(c, now), p = e % c->n;
    s64 end = c->mode == 3 && (u32)p < high_half(c->n) ? (s64)high_half(c->n) : (s64)c->n;
    c->reload_pending = true;
    c->reload_at = now - p + end;
}

static void write_count(struct i8254 *p, unsigned n, u8 v)
{
    struct i8254_counter *c = &p->counter[n];
    s64 now = ticks_now(p);
    switch (rw_of(c)) {
    case RW_LOW:
        count_written(c, v, now);
        break;
    case RW_HIGH:
        count_written(c, (u16)(v << 8), now);
        break;
    default:
        c->write_second = !c->write_second;
        if (c->write_second) {
            c->write_low = v;
            if (c->mode == 0)                       /* the first byte of a two-byte count stops mode 0, OUT goes low */
                c->loaded = false;
        } else {
            count_written(c, (u16)(c->write_low | v << 8), now);
        }
    }
    if (n == 0)
        counter0_changed(p);
}

static void latch_count(struct i8254_counter *c, s64 now)
{
    settle(c, now);
    if (c->count_latched)
        return;
    c->count_latched = true;
    c->count_latch = register_from_count(c, value_at(c, now));
}

static void latch_status(struct i8254_counter *c, s64 now)
{
    settle(c, now);
    if (c->status_latched)
        return;
    bool null = c->null_count || (c->loaded && now < c->start);
    c->status_latched = true;
    c->status_latch = (u8)(c->control | (out_at(c, now) ? STATUS_OUT : 0) | (null ? STATUS_NULL : 0));
}

static void write_control(struct i8254 *p, u8 v)
{
    s64 now = ticks_now(p);
    if (v >> 6 == 3) {                              /* read-back: bit 5 = 0 latches counts, bit 4 = 0 status */
        for (unsigned i = 0; i < 3; i++) {
            if (!(v >> (i + 1) & 1))
                continue;
            if (!(v & 0x20))
                latch_count(&p->counter[i], now);
            if (!(v & 0x10))
                latch_status(&p->counter[i], now);
        }
        return;
    }
    struct i8254_counter *c = &p->counter[v >> 6];
    if ((v >> 4 & 3) == RW_LATCH) {
        latch_count(c, now);
        return;
    }
    bool gate = c->gate;
    *c = (struct i8254_counter){ .control = v & 0x3f, .mode = v >> 1 & 7, .gate = gate, .n = 65536, .cr = 65536,
                                 .null_count = true };
    if (c->mode > 5)
        c->mode -= 4;                               /* bit 2 is a don't-care in modes 2 and 3 */
    if (v >> 6 == 0)
        counter0_changed(p);
}

static u8 read_count(struct i8254 *p, struct i8254_counter *c)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->status_latch;
    }
    s64 now = ticks_now(p);
    settle(c, now);
    u16 v = c->count_latched ? c->count_latch : register_from_count(c, value_at(c, now));
    switch (rw_of(c)) {
    case RW_LOW:
        c->count_latched = false;
        return (u8)v;
    case RW_HIGH:
        c->count_latched = false;
        return (u8)(v >> 8);
    default:
        c->read_second = !c->read_second;
        if (c->read_second)
            return (u8)v;
        c->count_latched = false;
        return (u8)(v >> 8);
    }
}

void i8254_gate2(struct i8254 *p, bool level)
{
    struct i8254_counter *c = &p->counter[2];
    s64 now = ticks_now(p);
    settle(c, now);
    if (c->gate == level)
        return;
    c->gate = level;
    if (is_triggered(c)) {
        if (level && c->has_cr)
            load(c, now + 1);
    } else if (!c->loaded) {
        return;
    } else if (!level) {
        c->frozen_elapsed = elapsed(c, now);
        c->frozen = true;
        c->reload_pending = false;
    } else if (is_periodic(c)) {
        load(c, now + 1);
    } else {
        c->start = now - c->frozen_elapsed;
        c->frozen = false;
    }
}

bool i8254_out(struct i8254 *p, unsigned counter)
{
    s64 now = ticks_now(p);
    settle(&p->counter[counter], now);
    return out_at(&p->counter[counter], now);
}

/* ---------------------------------------------------------------------------------------------------- device ----- */

static u32 pit_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct i8254 *p = (struct i8254 *)d;
    return reg < 3 ? read_count(p, &p->counter[reg]) : 0xff;    /* the control word cannot be read */
}

static void pit_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct i8254 *p = (struct i8254 *)d;
    if (reg < 3)
        write_count(p, reg, (u8)value);
    else
        write_control(p, (u8)value);
}

static bool pit_init(struct device *d, char *err, size_t errlen)
{
    struct i8254 *p = (struct i8254 *)d;
    timer_init(&p->edge, d->clock, edge_fire, p);
    timer_init(&p->catch_up, d->clock, catch_up_fire, p);
    return true;
}

static void pit_reset(struct device *d)
{
    struct i8254 *p = (struct i8254 *)d;
    for (unsigned i = 0; i < 3; i++)    /* undefined after power-on; like this nothing happens until it is programmed */
        p->counter[i] = (struct i8254_counter){ .control = RW_BOTH << 4, .gate = i != 2, .n = 65536, .cr = 65536,
                                                .null_count = true };
    counter0_changed(p);
}

static void pit_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct i8254 *p = (struct i8254 *)d;
    char line[128];
    s64 now = ticks_now(p);
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_counter *c = &p->counter[i];
        settle(c, now);
        snprintf(line, sizeof line, "counter %u: mode %u%s count %u value %u out %d gate %d", i, c->mode,
                 is_bcd(c) ? " bcd" : "", c->n, value_at(c, now), out_at(c, now), c->gate);
        out(line, ctx);
    }
}

const struct device_class i8254_class = {
    .name = "i8254", .size = sizeof(struct i8254), .init = pit_init, .reset = pit_reset, .read = pit_read,
    .write = pit_write, .byte_wide = true, .print = pit_print,
};
