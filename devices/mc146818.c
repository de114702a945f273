/* mc146818.c - Motorola MC146818A real-time clock as the PC/AT has it, with CMOS RAM.
 *
 * Data sheet "MC146818A", register and interrupt chapters. The clock is guest time plus an offset; the time registers
 * are computed when they are read. While register B's SET bit or a divider reset holds the clock, they live in
 * data[]. Flags of register C are brought up to date when somebody looks (`catch_up`); a timer runs only while one of
 * the three interrupts is enabled, so that an idle guest's clock costs nothing. Missed periodic interrupts are not
 * repeated: the flag is one bit.
 *
 * The century is byte 32h, counted on with the year. Daylight saving (DSE) and the square-wave pin are left out, as
 * on the PC.
 */
#include "devices/mc146818.h"

#include <stdio.h>
#include <time.h>

enum { REG_SECONDS, REG_SECONDS_ALARM, REG_MINUTES, REG_MINUTES_ALARM, REG_HOURS, REG_HOURS_ALARM, REG_WEEKDAY, REG_DAY,
       REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D, REG_CENTURY = 0x32 };
enum { A_UIP = 0x80, A_RATE = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 0x08, B_BINARY = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VRT = 0x80, DIVIDER_RESET = 0x60 };
#define SECOND ((s128)NS_PER_SEC)
#define UPDATE_NS 2228000       /* UIP: 244 us of warning and 1984 us of update */
#define BASE_HZ 32768u

static bool held(const struct mc146818 *m)      /* the clock stands */
{
    return (m->data[REG_B] & B_SET) || (m->data[REG_A] & DIVIDER_RESET) == DIVIDER_RESET;
}

static s128 shown_ns(const struct mc146818 *m)
{
    return (s128)clock_now(m->dev.clock) + m->offset_ns;
}

static s64 floor_div(s128 a, s128 b)
{
    return (s64)(a / b - (a % b < 0));
}

/* ---------------------------------------------------------------------------- register encoding and calendar ----- */

static u8 encode(const struct mc146818 *m, unsigned v)
{
    return (u8)(m->data[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct mc146818 *m, u8 v)
{
    return m->data[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15u);
}

static u8 encode_hour(const struct mc146818 *m, unsigned hour)
{
    if (m->data[REG_B] & B_24H)
        return encode(m, hour);
    return encode(m, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const struct mc146818 *m, u8 v)
{
    if (m->data[REG_B] & B_24H)
        return decode(m, v);
    return decode(m, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static void registers_from_time(struct mc146818 *m, s64 seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm = { 0 };
    gmtime_r(&t, &tm);
    int year = tm.tm_year + 1900;
    m->data[REG_SECONDS] = encode(m, (unsigned)tm.tm_sec);
    m->data[REG_MINUTES] = encode(m, (unsigned)tm.tm_min);
    m->data[REG_HOURS] = encode_hour(m, (unsigned)tm.tm_hour);
    m->data[REG_WEEKDAY] = encode(m, ((unsigned)tm.tm_wday + m->weekday_offset) % 7 + 1);
    m->data[REG_DAY] = encode(m, (unsigned)tm.tm_mday);
    m->data[REG_MONTH] = encode(m, (unsigned)tm.tm_mon + 1);
    m->data[REG_YEAR] = encode(m, (unsigned)(year % 100));
    m->data[REG_CENTURY] = encode(m, (unsigned)(year / 100 % 100));
}

static s64 time_from_registers(struct mc146818 *m)
{
    struct tm tm = {
        .tm_sec = (int)decode(m, m->data[REG_SECONDS]), .tm_min = (int)decode(m, m->data[REG_MINUTES]),
        .tm_hour = (int)decode_hour(m, m->data[REG_HOURS]), .tm_mday = (int)decode(m, m->data[REG_DAY]),
        .tm_mon = (int)decode(m, m->data[REG_MONTH]) - 1,
        .tm_year = (int)(decode(m, m->data[REG_CENTURY]) * 100 + decode(m, m->data[REG_YEAR])) - 1900,
    };
    s64 t = (s64)timegm(&tm);       /* puts impossible dates right; also fills tm_wday */
    m->weekday_offset = (decode(m, m->data[REG_WEEKDAY]) + 6u + 7u - (unsigned)tm.tm_wday) % 7;
    return t;
}

/* ---------------------------------------------------------------------------------------------------- events ----- */

static u64 period_ticks(const struct mc146818 *m)       /* of the periodic interrupt in 32768 Hz ticks; 0: none */
{
    unsigned rate = m->data[REG_A] & A_RATE;
    if (!rate)
        return 0;
    return 1ull << (rate <= 2 ? rate + 6 : rate - 1);
}

static bool alarm_field(u8 reg, unsigned want, unsigned now)
{
    return (reg & 0xc0) == 0xc0 || want == now;
}

/* First second after `after` (seconds of shown time) that the alarm matches; -1: none in a day. */
static s64 next_alarm(const struct mc146818 *m, s64 after)
{
    const u8 *d = m->data;
    unsigned hour = decode_hour(m, d[REG_HOURS_ALARM]), minute = decode(m, d[REG_MINUTES_ALARM]),
             second = decode(m, d[REG_SECONDS_ALARM]);
    for (s64 t = after + 1; t <= after + 86400;) {
        s64 of_day = t - floor_div(t, 86400) * 86400;
        if (!alarm_field(d[REG_HOURS_ALARM], hour, (unsigned)(of_day / 3600)))
            t += 3600 - of_day % 3600;
        else if (!alarm_field(d[REG_MINUTES_ALARM], minute, (unsigned)(of_day / 60 % 60)))
            t += 60 - of_day % 60;
        else if (!alarm_field(d[REG_SECONDS_ALARM], second, (unsigned)(of_day % 60)))
            t++;
        else
            return t;
    }
    return -1;
}

static void drive(struct mc146818 *m)
{
    bool active = m->data[REG_C] & m->data[REG_B] & (C_PF | C_AF | C_UF);
    m->data[REG_C] = (u8)((m->data[REG_C] & ~C_IRQF) | (active ? C_IRQF : 0));
    irq_set(m->irq, active);
}

/* Sets the flags for everything that happened since the last call. */
static void catch_up(struct mc146818 *m)
{
    u64 ticks = ns_to_ticks(clock_now(m->dev.clock), BASE_HZ), period = period_ticks(m);
    if (period && (m->data[REG_A] & DIVIDER_RESET) != DIVIDER_RESET && ticks / period != m->seen_ticks / period)
        m->data[REG_C] |= C_PF;
    m->seen_ticks = ticks;
    if (!held(m)) {
        s128 now = shown_ns(m);
        s64 before = floor_div(m->seen_ns, SECOND), second = floor_div(now, SECOND);
        if (second > before) {
            s64 alarm = next_alarm(m, before);
            m->data[REG_C] |= C_UF;
            if (alarm >= 0 && alarm <= second)
                m->data[REG_C] |= C_AF;
        }
        m->seen_ns = now;
    }
    drive(m);
}

static u64 guest_ns(const struct mc146818 *m, s64 shown_second)
{
    s128 t = shown_second * SECOND - m->offset_ns;
    return t < 0 ? 0 : (u64)t;
}

/* needs: flags up to date. The timer waits for the next event whose interrupt is enabled and whose flag is not set. */
static void schedule(struct mc146818 *m)
{
    u8 wanted = m->data[REG_B] & ~m->data[REG_C];
    u64 when = TIMER_NEVER;
    if ((wanted & B_PIE) && period_ticks(m) && (m->data[REG_A] & DIVIDER_RESET) != DIVIDER_RESET)
        when = ticks_to_ns((m->seen_ticks / period_ticks(m) + 1) * period_ticks(m), BASE_HZ);
    if (!held(m)) {
        s64 second = floor_div(m->seen_ns, SECOND);
        s64 alarm = wanted & B_AIE ? next_alarm(m, second) : -1;
        u64 t = TIMER_NEVER;
        if (wanted & B_UIE)
            t = guest_ns(m, second + 1);
        else if (alarm >= 0)
            t = guest_ns(m, alarm);
        when = t < when ? t : when;
    }
    timer_set(&m->timer, when);
}

static void timer_fire(void *ctx)
{
    struct mc146818 *m = ctx;
    catch_up(m);
    schedule(m);
}

/* ------------------------------------------------------------------------------------------------- registers ----- */

static bool is_time(u8 reg)
{
    return reg == REG_CENTURY || (reg <= REG_YEAR && reg != REG_SECONDS_ALARM && reg != REG_MINUTES_ALARM &&
                                  reg != REG_HOURS_ALARM);
}

/* Brings the time registers in data[] up to date. */
static void refresh(struct mc146818 *m)
{
    if (!held(m))
        registers_from_time(m, floor_div(shown_ns(m), SECOND));
}

/* The clock goes on from what the registers say; `phase` ns of the second have passed. */
static void start_clock(struct mc146818 *m, s128 phase)
{
    m->offset_ns = time_from_registers(m) * SECOND + phase - (s128)clock_now(m->dev.clock);
    m->seen_ns = shown_ns(m);
}

static s128 phase_ns(const struct mc146818 *m)
{
    s128 now = shown_ns(m);
    return now - floor_div(now, SECOND) * SECOND;
}

static void write_time(struct mc146818 *m, u8 reg, u8 v)
{
    refresh(m);
    m->data[reg] = v;
    if (!held(m))
        start_clock(m, phase_ns(m));
}

static void write_a(struct mc146818 *m, u8 v)
{
    bool was = held(m);
    refresh(m);
    m->data[REG_A] = v & 0x7f;
    if (was && !held(m))
        start_clock(m, SECOND / 2);     /* the first update follows half a second after the divider's reset */
}

static void write_b(struct mc146818 *m, u8 v)
{
    bool was = held(m);
    refresh(m);
    u8 old = m->data[REG_B];
    m->data[REG_B] = v & B_SET ? v & (u8)~B_UIE : v;
    if (was && !held(m)) {
        start_clock(m, phase_ns(m));
    } else if (!held(m) && ((old ^ v) & (B_BINARY | B_24H))) {
        refresh(m);     /* the same moment, written the other way */
    }
}

static u8 read_register(struct mc146818 *m, u8 reg)
{
    u8 v;
    if (is_time(reg))
        refresh(m);
    switch (reg) {
    case REG_A:
        return m->data[REG_A] | (!held(m) && phase_ns(m) >= SECOND - UPDATE_NS ? A_UIP : 0);
    case REG_C:
        catch_up(m);
        v = m->data[REG_C];
        m->data[REG_C] = 0;
        drive(m);
        schedule(m);
        return v;
    case REG_D:
        return D_VRT;
    default:
        return m->data[reg];
    }
}

static void write_register(struct mc146818 *m, u8 reg, u8 v)
{
    catch_up(m);
    switch (reg) {
    case REG_A: write_a(m, v); break;
    case REG_B: write_b(m, v); break;
    case REG_C: case REG_D: break;
    default:
        if (is_time(reg))
            write_time(m, reg, v);
        else
            m->data[reg] = v;
    }
    drive(m);
    schedule(m);
}

static u32 rtc_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct mc146818 *m = (struct mc146818 *)d;
    u8 index = m->index[region & 1] & 0x7f;
    if (!(reg & 1))
        return 0xff;            /* the index is write-only */
    return region == MC146818_REGION_STANDARD ? read_register(m, index) : m->data[0x80 | index];
}

static void rtc_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct mc146818 *m = (struct mc146818 *)d;
    u8 index = m->index[region & 1] & 0x7f;
    if (!(reg & 1))
        m->index[region & 1] = (u8)value;
    else if (region == MC146818_REGION_STANDARD)
        write_register(m, index, (u8)value);
    else
        m->data[0x80 | index] = (u8)value;
}

static bool rtc_init(struct device *d, char *err, size_t errlen)
{
    struct mc146818 *m = (struct mc146818 *)d;
    timer_init(&m->timer, d->clock, timer_fire, m);
    m->offset_ns = m->start_time * SECOND;
    m->seen_ns = shown_ns(m);
    m->data[REG_A] = 0x26;      /* 32768 Hz time base, 1024 Hz periodic: what BIOSes leave */
    m->data[REG_B] = B_24H;
    return true;
}

static void rtc_reset(struct device *d)     /* RESET# leaves the time and the RAM alone */
{
    struct mc146818 *m = (struct mc146818 *)d;
    m->data[REG_B] &= (u8)~(B_PIE | B_AIE | B_UIE | B_SQWE);
    m->data[REG_C] = 0;
    m->index[0] = m->index[1] = 0;
    catch_up(m);
    m->data[REG_C] = 0;
    drive(m);
    schedule(m);
}

static void rtc_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct mc146818 *m = (struct mc146818 *)d;
    char line[128];
    refresh(m);
    snprintf(line, sizeof line, "%02x%02x-%02x-%02x %02x:%02x:%02x A=%02x B=%02x C=%02x", m->data[REG_CENTURY],
             m->data[REG_YEAR], m->data[REG_MONTH], m->data[REG_DAY], m->data[REG_HOURS], m->data[REG_MINUTES],
             m->data[REG_SECONDS], m->data[REG_A], m->data[REG_B], m->data[REG_C]);
    out(line, ctx);
}

const struct device_class mc146818_class = {
    .name = "mc146818", .size = sizeof(struct mc146818), .init = rtc_init, .reset = rtc_reset, .read = rtc_read,
    .write = rtc_write, .byte_wide = true, .print = rtc_print,
};
