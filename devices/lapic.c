/* lapic.c - local APIC: priorities, local vector table, timer, inter-processor interrupts, xAPIC and x2APIC registers.
 *
 * SDM 3A chapter 11. The request, service and trigger registers are bit arrays of 256; the CPU's INTR is up while the
 * highest request beats the processor priority, or while the 8259 asks through LINT0 in ExtINT mode (virtual wire).
 * With the APIC switched off in IA32_APIC_BASE, LINT0 is the plain INTR pin.
 *
 * After power-on the boot processor's LINT0 already passes the 8259's requests on, as boards and BIOSes expect.
 * The timer counts at CPU_APIC_HZ over the divider; its value is computed from the time. A periodic timer that comes
 * late skips the periods that passed: there is one request bit anyway. Periods under 10 us are stretched to that.
 */
#include "devices/lapic.h"

#include <stdio.h>

#include "cpu/cpu.h"

enum { REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a, REG_EOI = 0x0b,
       REG_RRD = 0x0c,
       REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f, REG_ISR = 0x10, REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28,
       REG_ICR_LOW = 0x30, REG_ICR_HIGH = 0x31, REG_LVT = 0x32, REG_INITIAL = 0x38, REG_CURRENT = 0x39,
       REG_DIVIDE = 0x3e,
       REG_SELF_IPI = 0x3f };
enum { VERSION = 0x50014 /* integrated, six LVT entries */, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };
enum { BASE_BSP = 1 << 8, BASE_X2APIC = 1 << 10, BASE_ENABLE = 1 << 11 };
enum { SVR_ENABLE = 1 << 8, SVR_BITS = 0x3ff };
enum { LVT_REMOTE_IRR = 1 << 14, LVT_LEVEL = 1 << 15, LVT_MASKED = 1 << 16, TIMER_MODE_SHIFT = 17 };
enum timer_mode { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE, TIMER_RESERVED };
enum { ESR_SEND_ILLEGAL = 1 << 5, ESR_RECEIVED_ILLEGAL = 1 << 6, ESR_ILLEGAL_REGISTER = 1 << 7 };
enum { ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15, ICR_BITS = 0xccfff };
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };
#define MIN_PERIOD_NS 10000u

/* Writable bits of the LVT registers, figure 11-8. */
static const u32 lvt_mask[LAPIC_LVTS] = { 0x710ff, 0x117ff, 0x117ff, 0x1a7ff, 0x1a7ff, 0x110ff };

static bool is_on(const struct lapic *l) { return l->base & BASE_ENABLE; }
static bool is_x2apic(const struct lapic *l) { return is_on(l) && (l->base & BASE_X2APIC); }
static bool is_enabled(const struct lapic *l) { return is_on(l) && (l->svr & SVR_ENABLE); }

/* ------------------------------------------------------------------------------------------------ priorities ----- */

static void bit_set(u32 *set, u8 n) { set[n / 32] |= 1u << (n % 32); }
static void bit_clear(u32 *set, u8 n) { set[n / 32] &= ~(1u << (n % 32)); }
static bool bit_test(const u32 *set, u8 n) { return set[n / 32] >> (n % 32) & 1; }

static int bit_highest(const u32 *set)      /* -1: empty */
{
    for (int i = 7; i >= 0; i--)
        if (set[i])
            return i * 32 + 31 - __builtin_clz(set[i]);
    return -1;
}

static u32 ppr(const struct lapic *l)
{
    int isr = bit_highest(l->isr);
    u32 serving = isr < 0 ? 0 : (u32)isr & 0xf0;
    return (l->tpr & 0xf0) >= serving ? l->tpr & 0xff : serving;
}

static int deliverable(const struct lapic *l)
{
    int irr = is_enabled(l) ? bit_highest(l->irr) : -1;
    return irr >= 0 && ((u32)irr & 0xf0) > (ppr(l) & 0xf0) ? irr : -1;
}

static bool extint_waits(const struct lapic *l)
{
    u32 lvt = l->lvt[LAPIC_LVT_LINT0];
    if (!is_on(l))
        return l->lint[0];
    return l->extint || (l->lint[0] && !(lvt & LVT_MASKED) && (lvt >> 8 & 7) == LAPIC_EXTINT);
}

static void update(struct lapic *l)
{
    irq_set(l->intr, deliverable(l) >= 0 || extint_waits(l));
}

int lapic_ack(struct lapic *l)
{
    int vector = deliverable(l);
    if (vector < 0) {
        bool ext = extint_waits(l);
        l->extint = false;
        update(l);
        return ext ? LAPIC_ACK_EXTINT : LAPIC_ACK_NONE;
    }
    bit_clear(l->irr, (u8)vector);
    bit_set(l->isr, (u8)vector);
    update(l);
    return vector;
}

/* ------------------------------------------------------------------------------------------------- accepting ----- */

static void local_interrupt(struct lapic *l, unsigned n);

static void note_error(struct lapic *l, u32 bit)
{
    l->esr_pending |= bit;
    local_interrupt(l, LAPIC_LVT_ERROR);
}

static void accept_vector(struct lapic *l, u8 vector, bool level)
{
    if (!is_enabled(l))
        return;
    if (vector < 16) {
        if (!(l->esr_pending & ESR_RECEIVED_ILLEGAL))       /* also ends the recursion through a bad error vector */
            note_error(l, ESR_RECEIVED_ILLEGAL);
        return;
    }
    bit_set(l->irr, vector);
    if (level)
        bit_set(l->tmr, vector);
    else
        bit_clear(l->tmr, vector);
    update(l);
}

static void accept(struct lapic *l, enum lapic_delivery mode, u8 vector, bool level)
{
    switch (mode) {
    case LAPIC_FIXED: case LAPIC_LOWEST: accept_vector(l, vector, level); break;
    case LAPIC_NMI: l->nmi(l->ctx); break;
    case LAPIC_INIT: l->init(l->ctx); break;
    case LAPIC_SIPI: l->sipi(l->ctx, vector); break;
    case LAPIC_EXTINT:
        l->extint = true;
        update(l);
        break;
    case LAPIC_SMI: case LAPIC_REMOTE_READ: break;      /* no system management mode; reserved */
    }
}

static void local_interrupt(struct lapic *l, unsigned n)
{
    u32 lvt = l->lvt[n];
    if (!is_on(l) || (lvt & LVT_MASKED))
        return;
    enum lapic_delivery mode = n == LAPIC_LVT_TIMER || n == LAPIC_LVT_ERROR ? LAPIC_FIXED : lvt >> 8 & 7;
    bool pin = n == LAPIC_LVT_LINT0 || n == LAPIC_LVT_LINT1, level = pin && mode == LAPIC_FIXED && (lvt & LVT_LEVEL);
    if (level && (lvt & LVT_REMOTE_IRR))
        return;
    if (level)
        l->lvt[n] |= LVT_REMOTE_IRR;
    accept(l, mode, (u8)lvt, level);
    if (n == LAPIC_LVT_PERF)
        l->lvt[n] |= LVT_MASKED;
}

void lapic_lint(struct lapic *l, unsigned pin, bool level)
{
    u32 lvt = l->lvt[LAPIC_LVT_LINT0 + pin];
    bool rising = level && !l->lint[pin];
    l->lint[pin] = level;
    if (!is_on(l) && pin == 1 && rising)
        l->nmi(l->ctx);
    else if (rising && (pin == 1 || (lvt >> 8 & 7) != LAPIC_EXTINT))    /* ExtINT of LINT0 is a level: extint_waits */
        local_interrupt(l, LAPIC_LVT_LINT0 + pin);
    update(l);
}

static bool matches(const struct lapic *l, const struct lapic_message *m)
{
    u32 all = is_x2apic(l) ? 0xffffffff : 0xff;
    if (m->dest == 0xffffffff || m->dest == all)
        return true;
    if (!m->logical)
        return m->dest == l->id;
    if (is_x2apic(l))
        return m->dest >> 16 == l->ldr >> 16 && (m->dest & l->ldr & 0xffff);
    u8 dest = (u8)m->dest, ldr = (u8)(l->ldr >> 24);
    if (l->dfr >> 28 == 15)
        return dest & ldr;
    return (dest >> 4 == 15 || dest >> 4 == ldr >> 4) && (dest & ldr & 15);
}

void lapic_bus_send(struct lapic_bus *b, const struct lapic_message *m)
{
    struct lapic *lowest = NULL;
    for (unsigned i = 0; i < b->count; i++) {
        struct lapic *l = b->cpu[i];
        if (!matches(l, m))
            continue;
        if (m->mode != LAPIC_LOWEST)
            accept(l, m->mode, m->vector, m->level);
        else if (is_enabled(l) && (!lowest || ppr(l) < ppr(lowest)))
            lowest = l;
    }
    if (lowest)
        accept(lowest, LAPIC_FIXED, m->vector, m->level);
}

static void send_ipi(struct lapic *l)
{
    u32 low = (u32)l->icr;
    struct lapic_message m = { .dest = is_x2apic(l) ? (u32)(l->icr >> 32) : (u32)(l->icr >> 56), .vector = (u8)low,
                               .mode = low >> 8 & 7, .logical = low & ICR_LOGICAL };
    unsigned shorthand = low >> 18 & 3;
    if (m.mode == LAPIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT))
        return;                                 /* INIT level de-assert: nothing since the Pentium 4 */
    if ((m.mode == LAPIC_FIXED || m.mode == LAPIC_LOWEST) && m.vector < 16) {
        note_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    if (shorthand == SHORTHAND_NONE) {
        lapic_bus_send(l->bus, &m);
        return;
    }
    for (unsigned i = 0; i < l->bus->count; i++) {
        bool self = l->bus->cpu[i] == l;
        if (shorthand == SHORTHAND_ALL || self == (shorthand == SHORTHAND_SELF))
            accept(l->bus->cpu[i], m.mode == LAPIC_LOWEST ? LAPIC_FIXED : m.mode, m.vector, false);
    }
}

static void eoi(struct lapic *l)
{
    int vector = bit_highest(l->isr);
    if (vector < 0)
        return;
    bit_clear(l->isr, (u8)vector);
    if (bit_test(l->tmr, (u8)vector)) {
        for (unsigned pin = 0; pin < 2; pin++) {
            u32 *lvt = &l->lvt[LAPIC_LVT_LINT0 + pin];
            if (!(*lvt & LVT_REMOTE_IRR) || (u8)*lvt != vector)
                continue;
            *lvt &= ~(u32)LVT_REMOTE_IRR;
            if (l->lint[pin])
                local_interrupt(l, LAPIC_LVT_LINT0 + pin);
        }
        if (l->bus->eoi)
            l->bus->eoi(l->bus->eoi_ctx, (u8)vector);
    }
    update(l);
}

/* ------------------------------------------------------------------------------------------------------ timer ----- */

static enum timer_mode timer_mode(const struct lapic *l)
{
    return l->lvt[LAPIC_LVT_TIMER] >> TIMER_MODE_SHIFT & 3;
}

static u64 divider(const struct lapic *l)
{
    unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);
    return code == 7 ? 1 : 2ull << code;
}

static u64 count_ns(const struct lapic *l, u64 count)
{
    return ticks_to_ns(count * divider(l), CPU_APIC_HZ);
}

static u32 current_count(const struct lapic *l)
{
    u64 ticks = ns_to_ticks(clock_now(l->dev.clock) - l->count_start, CPU_APIC_HZ) / divider(l);
    if (!l->initial_count || timer_mode(l) >= TIMER_DEADLINE)
        return 0;
    if (timer_mode(l) == TIMER_PERIODIC)
        return l->initial_count - (u32)(ticks % l->initial_count);
    return ticks >= l->initial_count ? 0 : l->initial_count - (u32)ticks;
}

static void timer_schedule(struct lapic *l)
{
    u64 when = TIMER_NEVER;
    u64 now = clock_now(l->dev.clock);
    if (timer_mode(l) == TIMER_DEADLINE) {
        if (l->tsc_deadline)
            when = ticks_to_ns(l->tsc_deadline, CPU_TSC_HZ);
    } else if (l->initial_count && timer_mode(l) == TIMER_PERIODIC) {
        u64 period = count_ns(l, l->initial_count);
        when = l->count_start + ((now - l->count_start) / period + 1) * period;
        if (when < now + MIN_PERIOD_NS && period < MIN_PERIOD_NS)
            when = now + MIN_PERIOD_NS;
    } else if (l->initial_count && timer_mode(l) == TIMER_ONE_SHOT) {
        when = l->count_start + count_ns(l, l->initial_count);
        if (when <= now)
            when = TIMER_NEVER;         /* it has fired, or expired while the mode was another */
    }
    timer_set(&l->timer, when);
}

static void timer_fire(void *ctx)
{
    struct lapic *l = ctx;
    if (timer_mode(l) == TIMER_DEADLINE)
        l->tsc_deadline = 0;
    local_interrupt(l, LAPIC_LVT_TIMER);
    timer_schedule(l);
}

static void timer_start(struct lapic *l, u32 count)
{
    l->initial_count = count;
    l->count_start = clock_now(l->dev.clock);
    timer_schedule(l);
}

/* The divider or mode changes while the timer counts: it goes on from the value that it has. */
static void divide_write(struct lapic *l, u32 v)
{
    u32 left = current_count(l);
    l->divide = v & 11;
    if (!l->initial_count)
        return;
    l->count_start = clock_now(l->dev.clock) - count_ns(l, l->initial_count - left);
    timer_schedule(l);
}

static void lvt_write(struct lapic *l, unsigned n, u32 v)
{
    enum timer_mode before = timer_mode(l);
    l->lvt[n] = (v & lvt_mask[n]) | (l->lvt[n] & LVT_REMOTE_IRR);
    if (!(l->svr & SVR_ENABLE))
        l->lvt[n] |= LVT_MASKED;
    if (n == LAPIC_LVT_TIMER && timer_mode(l) != before) {
        if (before == TIMER_DEADLINE || timer_mode(l) == TIMER_DEADLINE) {     /* SDM 3A 11.5.4.1: disarms */
            l->tsc_deadline = 0;
            l->initial_count = 0;
        }
        timer_schedule(l);
    }
    if (n == LAPIC_LVT_LINT0 || n == LAPIC_LVT_LINT1) {
        unsigned pin = n - LAPIC_LVT_LINT0;
        if (l->lint[pin] && (v & LVT_LEVEL) && (v >> 8 & 7) == LAPIC_FIXED)
            local_interrupt(l, n);
    }
}

static void svr_write(struct lapic *l, u32 v)
{
    l->svr = v & SVR_BITS;
    if (!(v & SVR_ENABLE))
        for (unsigned i = 0; i < LAPIC_LVTS; i++)
            l->lvt[i] |= LVT_MASKED;
}

/* -------------------------------------------------------------------------------------------------- registers ----- */

static u32 x2apic_ldr(const struct lapic *l)
{
    return l->id >> 4 << 16 | 1u << (l->id & 15);
}

static u32 reg_read(struct lapic *l, unsigned reg)
{
    switch (reg) {
    case REG_ID: return is_x2apic(l) ? l->id : l->id << 24;
    case REG_VERSION: return VERSION;
    case REG_TPR: return l->tpr;
    case REG_APR: return 0;         /* arbitration priority: not in processors with an xAPIC */
    case REG_PPR: return ppr(l);
    case REG_EOI: case REG_RRD: return 0;
    case REG_LDR: return l->ldr;
    case REG_DFR: return l->dfr;
    case REG_SVR: return l->svr;
    case REG_ISR ... REG_ISR + 7: return l->isr[reg - REG_ISR];
    case REG_TMR ... REG_TMR + 7: return l->tmr[reg - REG_TMR];
    case REG_IRR ... REG_IRR + 7: return l->irr[reg - REG_IRR];
    case REG_ESR: return l->esr;
    case REG_ICR_LOW: return (u32)l->icr;
    case REG_ICR_HIGH: return (u32)(l->icr >> 32);
    case REG_LVT ... REG_LVT + LAPIC_LVTS - 1: return l->lvt[reg - REG_LVT];
    case REG_INITIAL: return l->initial_count;
    case REG_CURRENT: return current_count(l);
    case REG_DIVIDE: return l->divide;
    default:
        note_error(l, ESR_ILLEGAL_REGISTER);
        return 0;
    }
}

static void icr_write(struct lapic *l, u64 icr)
{
    l->icr = icr;
    send_ipi(l);
}

static void reg_write(struct lapic *l, unsigned reg, u32 v)
{
    switch (reg) {
    case REG_ID:
        if (!is_x2apic(l))
            l->id = v >> 24;
        break;
    case REG_TPR: l->tpr = v & 0xff; break;
    case REG_EOI: eoi(l); return;
    case REG_LDR:
        if (!is_x2apic(l))
            l->ldr = v & 0xff000000;
        break;
    case REG_DFR:
        if (!is_x2apic(l))
            l->dfr = v | 0x0fffffff;
        break;
    case REG_SVR: svr_write(l, v); break;
    case REG_ESR:
        l->esr = l->esr_pending;
        l->esr_pending = 0;
        break;
    case REG_ICR_LOW: icr_write(l, (l->icr & ~0xffffffffull) | (v & ICR_BITS)); break;
    case REG_ICR_HIGH: l->icr = (u32)l->icr | (u64)(v & 0xff000000) << 32; break;
    case REG_LVT ... REG_LVT + LAPIC_LVTS - 1: lvt_write(l, reg - REG_LVT, v); break;
    case REG_INITIAL:
        if (timer_mode(l) != TIMER_DEADLINE)
            timer_start(l, v);
        break;
    case REG_DIVIDE: divide_write(l, v); break;
    case REG_VERSION: case REG_APR: case REG_PPR: case REG_RRD: case REG_CURRENT:
    case REG_ISR ... REG_ISR + 7: case REG_TMR ... REG_TMR + 7: case REG_IRR ... REG_IRR + 7:
        break;                      /* read only */
    default: note_error(l, ESR_ILLEGAL_REGISTER);
    }
    update(l);
}

/* Registers are 32 bits wide, 16 bytes apart; other accesses are undefined: reads see the register's bytes. */
static u32 mmio_read(struct device *d, unsigned region, u32 offset, unsigned bytes)
{
    struct lapic *l = (struct lapic *)d;
    if ((offset & 15) + bytes > 4)
        return 0;
    return reg_read(l, offset >> 4 & 0xff) >> (8 * (offset & 3));
}

static void mmio_write(struct device *d, unsigned region, u32 offset, unsigned bytes, u32 value)
{
    if (!(offset & 15) && bytes == 4)
        reg_write((struct lapic *)d, offset >> 4 & 0xff, value);
}

u64 lapic_read_msr(struct lapic *l, u32 msr)
{
    if (msr == MSR_TSC_DEADLINE)
        return timer_mode(l) == TIMER_DEADLINE ? l->tsc_deadline : 0;
    if (msr == MSR_X2APIC + REG_ICR_LOW && is_x2apic(l))
        return l->icr;
    return reg_read(l, (msr - MSR_X2APIC) & 0xff);
}

void lapic_write_msr(struct lapic *l, u32 msr, u64 value)
{
    if (msr == MSR_TSC_DEADLINE) {
        if (timer_mode(l) == TIMER_DEADLINE) {          /* ignored in the other modes */
            l->tsc_deadline = value;
            timer_schedule(l);
        }
    } else if (msr == MSR_X2APIC + REG_ICR_LOW && is_x2apic(l)) {
        icr_write(l, value & (0xffffffff00000000ull | ICR_BITS));
    } else if (msr == MSR_X2APIC + REG_SELF_IPI && is_x2apic(l)) {
        accept_vector(l, (u8)value, false);
    } else {
        reg_write(l, (msr - MSR_X2APIC) & 0xff, (u32)value);
    }
}

/* ----------------------------------------------------------------------------------------------------- states ----- */

static void registers_reset(struct lapic *l)    /* table 11-1: after RESET# and INIT# */
{
    l->tpr = l->ldr = l->esr = l->esr_pending = 0;
    l->dfr = 0xffffffff;
    l->svr = 0xff;
    l->icr = 0;
    for (unsigned i = 0; i < LAPIC_LVTS; i++)
        l->lvt[i] = LVT_MASKED;
    if (l->bsp)
        l->lvt[LAPIC_LVT_LINT0] = LAPIC_EXTINT << 8;
    memset(l->irr, 0, sizeof l->irr);
    memset(l->isr, 0, sizeof l->isr);
    memset(l->tmr, 0, sizeof l->tmr);
    l->extint = false;
    l->divide = l->initial_count = 0;
    l->tsc_deadline = 0;
    timer_cancel(&l->timer);
}

void lapic_init_reset(struct lapic *l)
{
    registers_reset(l);
    if (is_x2apic(l))
        l->ldr = x2apic_ldr(l);
    update(l);
}

void lapic_set_base(struct lapic *l, u64 base)
{
    bool was_x2apic = is_x2apic(l);
    if (!(base & BASE_ENABLE) && is_on(l))
        registers_reset(l);                 /* 11.4.3: off means the state of power-on */
    l->base = base;
    if (is_x2apic(l) && !was_x2apic) {
        l->id = l->initial_id;
        l->ldr = x2apic_ldr(l);
        l->icr = (u32)l->icr;               /* 11.12.1 */
    }
    if (l->mmio) {
        gpa start = base & 0xffffffffff000ull;
        bool shown = is_on(l) && !is_x2apic(l);
        if (l->mmio->start != start || l->mmio->enabled != shown)
            physmap_change(bus_physmap(l->dev.bus), l->mmio, start, shown);
    }
    update(l);
}

static bool lapic_init(struct device *d, char *err, size_t errlen)
{
    struct lapic *l = (struct lapic *)d;
    timer_init(&l->timer, d->clock, timer_fire, l);
    assert(l->bus->count < LAPIC_MAX_CPUS);
    l->bus->cpu[l->bus->count++] = l;
    return true;
}

static void lapic_reset(struct device *d)
{
    struct lapic *l = (struct lapic *)d;
    l->id = l->initial_id;
    registers_reset(l);
    lapic_set_base(l, LAPIC_BASE | BASE_ENABLE | (l->bsp ? BASE_BSP : 0));
}

static void lapic_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct lapic *l = (struct lapic *)d;
    char line[128];
    snprintf(line, sizeof line, "id %u base %llx tpr %02x ppr %02x svr %03x ldr %08x dfr %08x esr %02x", l->id,
             (unsigned long long)l->base, l->tpr, ppr(l), l->svr, l->ldr, l->dfr, l->esr);
    out(line, ctx);
    snprintf(line, sizeof line, "lvt timer %05x thermal %05x perf %05x lint0 %05x lint1 %05x error %05x", l->lvt[0],
             l->lvt[1],
             l->lvt[2], l->lvt[3], l->lvt[4], l->lvt[5]);
    out(line, ctx);
    snprintf(line, sizeof line, "highest irr %d isr %d; timer initial %u current %u divide by %llu",
             bit_highest(l->irr),
             bit_highest(l->isr), l->initial_count, current_count(l), (unsigned long long)divider(l));
    out(line, ctx);
}

const struct device_class lapic_class = {
    .name = "lapic", .size = sizeof(struct lapic), .init = lapic_init, .reset = lapic_reset, .read = mmio_read,
    .write = mmio_write, .print = lapic_print,
};
