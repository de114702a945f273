/* clock.h - guest time, timers, and the machine lock.
 *
 * Guest time is nanoseconds since power-on: steady, stops while the machine is paused. Two sources: the host's monotonic
 * clock, or the number of instructions executed (-icount shift=N: 2^N ns each; idle time is skipped), which makes two
 * runs identical. Timers run under the machine lock: on the main loop's thread with the host clock, on the vCPU's
 * thread with the instruction clock.
 */
#ifndef SHADOW86_CLOCK_H
#define SHADOW86_CLOCK_H

#include "cpu/types.h"

#define NS_PER_SEC 1000000000ull
#define TIMER_NEVER UINT64_MAX

struct clock;
typedef void timer_fn(void *ctx);
struct timer { u64 deadline; timer_fn *fire; void *ctx; struct clock *clock; unsigned heap_index; };

struct clock *clock_new(void);
void clock_free(struct clock *k);
void clock_use_icount(struct clock *k, unsigned shift, u64 (*icount)(void *ctx), void *ctx);
bool clock_is_icount(const struct clock *k);
u64 clock_now(const struct clock *k);           /* ns; any thread */
void clock_pause(struct clock *k);
void clock_resume(struct clock *k);
void clock_skip(struct clock *k, u64 ns);       /* instruction clock: idle time passes at once */

void timer_init(struct timer *t, struct clock *k, timer_fn *fire, void *ctx);
void timer_set(struct timer *t, u64 deadline);  /* absolute ns; a past one fires at the next chance; TIMER_NEVER disarms */
void timer_cancel(struct timer *t);
static inline bool timer_armed(const struct timer *t) { return t->deadline != TIMER_NEVER; }
u64 clock_deadline(const struct clock *k);      /* the earliest armed timer, TIMER_NEVER if none */
void clock_run(struct clock *k);                /* fires what is due, under the machine lock */
/* Called (any thread, lock held) when the earliest deadline moves forward, to wake whoever sleeps for it. */
void clock_set_wake(struct clock *k, void (*wake)(void *ctx), void *ctx);

/* ticks of `hz` that fit into ns, without overflow; and back (rounded up) */
static inline u64 ns_to_ticks(u64 ns, u64 hz) { return (u64)((u128)ns * hz / NS_PER_SEC); }
static inline u64 ticks_to_ns(u64 ticks, u64 hz) { return (u64)(((u128)ticks * NS_PER_SEC + hz - 1) / hz); }

/* The machine lock: every device function runs under it. Fair: a CPU that polls a port cannot starve the main loop. */
void machine_lock(void);
void machine_unlock(void);
bool machine_locked_by_me(void);    /* for assertions */

#endif
