/* hpet.c - IA-PC HPET, specification 1.0a.
 *
 * The main counter is guest time in 10 ns units while it runs. A comparator's timer is armed for the moment when the
 * counter reaches it, modulo 2^64 or (32-bit mode) 2^32; a periodic one then moves on by its period, skipping those
 * that a late host has missed. Periods under 10 us are stretched to that. FSB (MSI) delivery is not offered.
 * A comparator whose match nobody would notice (no interrupt, no status bit to set) needs no timer, which would keep an
 * idle host awake; where it has moved to is worked out when it is asked for (advance).
 *
 * A timer's interrupt: I/O APIC pin of its route field (pins 16-23 are free on this board), or with legacy
 * replacement IRQ 0 for timer 0 and IRQ 8 for timer 1. Edge mode drives a low-to-high transition and stays high.
 */
#include "devices/hpet.h"

#include <stdio.h>

enum { REG_CAPABILITIES = 0x00, REG_CONFIG = 0x10, REG_STATUS = 0x20, REG_COUNTER = 0xf0, REG_TIMERS = 0x100 };
enum { CONFIG_ENABLE = 1, CONFIG_LEGACY = 2 };
enum { T_LEVEL = 1 << 1, T_ENABLE = 1 << 2, T_PERIODIC = 1 << 3, T_PERIODIC_CAP = 1 << 4, T_SIZE_CAP = 1 << 5,
       T_VALUE_SET = 1 << 6, T_32BIT = 1 << 8, T_ROUTE_SHIFT = 9, T_WRITABLE = 0x3f4e };
#define TICK_NS 10u
#define PERIOD_FS 10000000ull       /* of a tick, in femtoseconds */
#define ROUTES 0x00ff0000u          /* pins that a timer can be routed to */
#define VENDOR 0x8086ull
#define MIN_PERIOD_TICKS 1000u

static bool running(const struct hpet *h) { return h->config & CONFIG_ENABLE; }

static u64 counter(const struct hpet *h)
{
    return running(h) ? h->count + (clock_now(h->dev.clock) - h->start_ns) / TICK_NS : h->count;
}

static u64 width_mask(const struct hpet_timer *t)
{
    return t->config & T_32BIT ? 0xffffffff : ~0ull;
}

/* ---------------------------------------------------------------------------------------------- interrupts ----- */

static struct irq line_of(const struct hpet *h, const struct hpet_timer *t)
{
    unsigned n = (unsigned)(t - h->timers);
    if ((h->config & CONFIG_LEGACY) && n < 2)
        return h->legacy[n];
    return h->pin[(t->config >> T_ROUTE_SHIFT & 31) % ARRAY_LEN(h->pin)];
}

static bool routed(const struct hpet *h, const struct hpet_timer *t)
{
    if ((h->config & CONFIG_LEGACY) && t - h->timers < 2)
        return true;
    return ROUTES >> (t->config >> T_ROUTE_SHIFT & 31) & 1;
}

static void release(struct hpet *h, struct hpet_timer *t)
{
    if (t->line)
        irq_set(line_of(h, t), false);
    t->line = false;
}

static void raise(struct hpet *h, struct hpet_timer *t)
{
    if (t->config & T_LEVEL)
        h->status |= 1u << (t - h->timers);
    if (!(t->config & T_ENABLE) || !routed(h, t))
        return;
    if (!(t->config & T_LEVEL))
        irq_set(line_of(h, t), false);
    irq_set(line_of(h, t), true);
    t->line = true;
}

static bool noticed(const struct hpet *h, const struct hpet_timer *t)
{
    return t->config & T_ENABLE || (t->config & T_LEVEL && !(h->status >> (t - h->timers) & 1));
}

/* Moves a periodic comparator that has no timer past the present. */
static void advance(struct hpet *h, struct hpet_timer *t)
{
    if (!(t->config & T_PERIODIC) || !t->period || !running(h) || timer_armed(&t->timer))
        return;
    u64 gone = counter(h) - t->seen, ahead = (t->comparator - t->seen) & width_mask(t);
    if (!ahead)
        ahead = width_mask(t);
    if (gone < ahead)
        return;
    t->comparator = (t->comparator + ((gone - ahead) / t->period + 1) * t->period) & width_mask(t);
    t->seen += gone;
}

static void schedule(struct hpet *h, struct hpet_timer *t)
{
    t->seen = counter(h);
    if (!running(h) || !noticed(h, t)) {
        timer_cancel(&t->timer);
        return;
    }
    u64 now = t->seen, left = (t->comparator - now) & width_mask(t);
    u64 ns = clock_now(h->dev.clock);
    if (!left)                              /* a match is the moment of becoming equal: the next one is a round away */
        left = width_mask(t);
    if (t->config & T_PERIODIC && left < MIN_PERIOD_TICKS && t->period < MIN_PERIOD_TICKS)
        left = MIN_PERIOD_TICKS;
    timer_set(&t->timer, left > (TIMER_NEVER - ns) / TICK_NS - 1 ? TIMER_NEVER : ns + left * TICK_NS);
}

static void timer_fire(void *ctx)
{
    struct hpet_timer *t = ctx;
    struct hpet *h = t->hpet;
    if ((t->config & T_PERIODIC) && t->period) {
        u64 late = (counter(h) - t->comparator) & width_mask(t);
        t->comparator = (t->comparator + (late / t->period + 1) * t->period) & width_mask(t);
    }
    raise(h, t);
    schedule(h, t);
}

/* -------------------------------------------------------------------------------------------------- registers ----- */

static void config_write(struct hpet *h, u64 v)
{
    u64 old = h->config;
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        advance(h, &h->timers[i]);
    for (unsigned i = 0; (old ^ v) & CONFIG_LEGACY && i < HPET_TIMERS; i++)
        release(h, &h->timers[i]);
    if ((v & CONFIG_ENABLE) && !running(h)) {
        h->start_ns = clock_now(h->dev.clock);
    } else if (!(v & CONFIG_ENABLE)) {
        h->count = counter(h);
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            release(h, &h->timers[i]);
    }
    h->config = v & (CONFIG_ENABLE | CONFIG_LEGACY);
    if ((old ^ v) & CONFIG_LEGACY && h->legacy_mode)
        h->legacy_mode(h->ctx, v & CONFIG_LEGACY);
    if ((old ^ v) & CONFIG_ENABLE)
        for (unsigned i = 0; i < HPET_TIMERS; i++)
            schedule(h, &h->timers[i]);
}

static void status_write(struct hpet *h, u64 v)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        if ((v & h->status) >> i & 1)
            release(h, &h->timers[i]);
    h->status &= ~v;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        if (timer_armed(&h->timers[i].timer))
            continue;               /* its match, perhaps due already, is still to come */
        advance(h, &h->timers[i]);
        schedule(h, &h->timers[i]);
    }
}

static void counter_write(struct hpet *h, u64 v)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        advance(h, &h->timers[i]);
    h->count = v;
    h->start_ns = clock_now(h->dev.clock);
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        schedule(h, &h->timers[i]);
}

static void timer_config_write(struct hpet *h, struct hpet_timer *t, u32 v)
{
    u32 old = t->config;
    advance(h, t);
    if (((old ^ v) & (T_LEVEL | T_ENABLE | 31u << T_ROUTE_SHIFT)))
        release(h, t);
    t->config = (v & T_WRITABLE) | (old & ~(u32)T_WRITABLE);
    if (t->config & T_32BIT) {
        t->comparator = (u32)t->comparator;
        t->period = (u32)t->period;
    }
    if ((t->config & T_LEVEL) && (t->config & T_ENABLE) && (h->status >> (t - h->timers) & 1))
        raise(h, t);
    schedule(h, t);
}

static void comparator_write(struct hpet *h, struct hpet_timer *t, u64 v, u64 mask)
{
    mask &= width_mask(t);
    advance(h, t);
    if (!(t->config & T_PERIODIC) || (t->config & T_VALUE_SET))
        t->comparator = (t->comparator & ~mask) | (v & mask);
    t->period = (t->period & ~mask) | (v & mask);
    t->config &= ~(u32)T_VALUE_SET;
    schedule(h, t);
}

static u64 timer_read(struct hpet_timer *t, unsigned reg)
{
    advance(t->hpet, t);
    switch (reg) {
    case 0x00: return t->config | (u64)ROUTES << 32;
    case 0x08: return t->comparator;
    default: return 0;
    }
}

static u64 register_read(struct hpet *h, u64 reg)
{
    switch (reg) {
    case REG_CAPABILITIES:
        return PERIOD_FS << 32 | VENDOR << 16 | 1u << 15 /* legacy */ | 1u << 13 /* 64 bits */ |
               (HPET_TIMERS - 1) << 8 | 1;
    case REG_CONFIG: return h->config;
    case REG_STATUS: return h->status;
    case REG_COUNTER: return counter(h);
    default:
        if (reg < REG_TIMERS || reg >= REG_TIMERS + 0x20 * HPET_TIMERS)
            return 0;
        return timer_read(&h->timers[(reg - REG_TIMERS) / 0x20], reg & 0x18);
    }
}

/* mask: the bits that are written; v is in place. */
static void register_write(struct hpet *h, u64 reg, u64 v, u64 mask)
{
    u64 merged = (register_read(h, reg) & ~mask) | (v & mask);
    switch (reg) {
    case REG_CONFIG: config_write(h, merged); return;
    case REG_STATUS: status_write(h, v & mask); return;
    case REG_COUNTER: counter_write(h, merged); return;
    }
    if (reg < REG_TIMERS || reg >= REG_TIMERS + 0x20 * HPET_TIMERS)
        return;
    struct hpet_timer *t = &h->timers[(reg - REG_TIMERS) / 0x20];
    if ((reg & 0x18) == 0x00)
        timer_config_write(h, t, (u32)merged);
    else if ((reg & 0x18) == 0x08)
        comparator_write(h, t, v, mask);
}

static u64 hpet_read(void *ctx, u64 offset, unsigned bytes)
{
    u64 v = register_read(ctx, offset & 0x3f8) >> (8 * (offset & 7));
    return bytes == 8 ? v : v & ((1ull << (8 * bytes)) - 1);
}

static void hpet_write(void *ctx, u64 offset, unsigned bytes, u64 value)
{
    u64 mask = bytes == 8 ? ~0ull : ((1ull << (8 * bytes)) - 1) << (8 * (offset & 7));
    register_write(ctx, offset & 0x3f8, value << (8 * (offset & 7)), mask);
}

static const struct mmio_ops hpet_ops = { .read = hpet_read, .write = hpet_write, .wide = true };

void hpet_set_region(struct hpet *h, struct region *r)
{
    r->ops = &hpet_ops;
    r->ctx = h;
}

/* ----------------------------------------------------------------------------------------------------- device ----- */

static bool hpet_init(struct device *d, char *err, size_t errlen)
{
    struct hpet *h = (struct hpet *)d;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->timers[i].hpet = h;
        timer_init(&h->timers[i].timer, d->clock, timer_fire, &h->timers[i]);
    }
    return true;
}

static void hpet_reset(struct device *d)
{
    struct hpet *h = (struct hpet *)d;
    config_write(h, 0);
    h->status = h->count = 0;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->timers[i].config = T_PERIODIC_CAP | T_SIZE_CAP;
        h->timers[i].comparator = ~0ull;
        h->timers[i].period = 0;
    }
}

static void hpet_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct hpet *h = (struct hpet *)d;
    char line[128];
    snprintf(line, sizeof line, "counter %llx config %llx status %llx", (unsigned long long)counter(h),
             (unsigned long long)h->config, (unsigned long long)h->status);
    out(line, ctx);
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        const struct hpet_timer *t = &h->timers[i];
        snprintf(line, sizeof line, "timer %u: config %04x comparator %llx period %llx", i, t->config,
                 (unsigned long long)t->comparator, (unsigned long long)t->period);
        out(line, ctx);
    }
}

const struct device_class hpet_class = {
    .name = "hpet", .size = sizeof(struct hpet), .init = hpet_init, .reset = hpet_reset, .print = hpet_print,
};
