/* clock.c - guest time, the timers that hang on it, and the machine lock.
 *
 * Timers sit in a binary heap ordered by deadline; equal deadlines fire in the order in which they were set, so that an
 * instruction-clocked run is the same every time (`sequence` breaks ties). The heap belongs to the machine lock.
 *
 * clock_now is called without the lock by RDTSC, so the state that it reads is kept in atomics: while the clock
 * runs, guest time = host time - base; while it is paused, guest time = frozen. The clock starts paused at 0.
 *
 * The machine lock is a ticket lock on a futex. Tickets make it fair: a vCPU that polls a port takes and drops the lock
 * millions of times a second and a plain mutex would let it in again each time before the main loop wakes up.
 */
#include "devices/clock.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* More firings than this in one clock_run mean a timer that is always late; others get their turn then. */
enum { MAX_FIRINGS = 4096 };

struct heap_entry { u64 deadline, sequence; struct timer *timer; };

struct clock {
    _Atomic bool paused;
    _Atomic u64 frozen;             /* guest ns while paused */
    _Atomic u64 base;               /* host ns at guest time 0, while running */
    _Atomic u64 skipped;            /* instruction clock: idle ns that were jumped over */
    unsigned shift;
    u64 (*icount)(void *ctx);
    void *icount_ctx;

    struct heap_entry *heap;        /* [0] is the earliest */
    unsigned count, capacity;
    u64 sequence;
    void (*wake)(void *ctx);
    void *wake_ctx;
};

static u64 host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

struct clock *clock_new(void)
{
    struct clock *k = calloc(1, sizeof *k);
    if (!k)
        abort();
    atomic_store(&k->paused, true);
    return k;
}

void clock_free(struct clock *k)
{
    if (!k)
        return;
    free(k->heap);
    free(k);
}

void clock_use_icount(struct clock *k, unsigned shift, u64 (*icount)(void *ctx), void *ctx)
{
    k->shift = shift;
    k->icount_ctx = ctx;
    k->icount = icount;
}

bool clock_is_icount(const struct clock *k)
{
    return k->icount != NULL;
}

u64 clock_now(const struct clock *k)
{
    if (k->icount)
        return (k->icount(k->icount_ctx) << k->shift) + atomic_load_explicit(&k->skipped, memory_order_relaxed);
    if (atomic_load_explicit(&k->paused, memory_order_acquire))
        return atomic_load_explicit(&k->frozen, memory_order_relaxed);
    return host_ns() - atomic_load_explicit(&k->base, memory_order_relaxed);
}

void clock_pause(struct clock *k)
{
    if (k->icount || atomic_load(&k->paused))
        return;
    atomic_store(&k->frozen, clock_now(k));
    atomic_store(&k->paused, true);
}

void clock_resume(struct clock *k)
{
    if (k->icount || !atomic_load(&k->paused))
        return;
    atomic_store(&k->base, host_ns() - atomic_load(&k->frozen));
    atomic_store(&k->paused, false);
}

void clock_skip(struct clock *k, u64 ns)
{
    if (k->icount)
        atomic_fetch_add(&k->skipped, ns);
    else if (atomic_load(&k->paused))           /* tests drive a paused clock by hand */
        atomic_fetch_add(&k->frozen, ns);
}

/* ------------------------------------------------------------------------------------------------ the heap ----- */

static bool earlier(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->sequence < b->sequence;
}

static void heap_put(struct clock *k, unsigned i, struct heap_entry e)
{
    k->heap[i] = e;
    e.timer->heap_index = i;
}

static void heap_up(struct clock *k, unsigned i, struct heap_entry e)
{
    while (i > 0 && earlier(&e, &k->heap[(i - 1) / 2])) {
        heap_put(k, i, k->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(k, i, e);
}

static void heap_down(struct clock *k, unsigned i, struct heap_entry e)
{
    for (;;) {
        unsigned child = 2 * i + 1;
        if (child >= k->count)
            break;
        if (child + 1 < k->count && earlier(&k->heap[child + 1], &k->heap[child]))
            child++;
        if (!earlier(&k->heap[child], &e))
            break;
        heap_put(k, i, k->heap[child]);
        i = child;
    }
    heap_put(k, i, e);
}

static void heap_remove(struct clock *k, struct timer *t)
{
    unsigned i = t->heap_index;
    struct heap_entry last = k->heap[--k->count];
    t->deadline = TIMER_NEVER;
    if (last.timer == t)
        return;
    if (i > 0 && earlier(&last, &k->heap[(i - 1) / 2]))
        heap_up(k, i, last);
    else
        heap_down(k, i, last);
}

static void heap_add(struct clock *k, struct timer *t)
{
    if (k->count == k->capacity) {
        k->capacity = k->capacity ? 2 * k->capacity : 32;
        k->heap = realloc(k->heap, k->capacity * sizeof *k->heap);
        if (!k->heap)
            abort();
    }
    k->count++;
    heap_up(k, k->count - 1, (struct heap_entry){ t->deadline, k->sequence++, t });
}

/* -------------------------------------------------------------------------------------------------- timers ----- */

void timer_init(struct timer *t, struct clock *k, timer_fn *fire, void *ctx)
{
    *t = (struct timer){ .deadline = TIMER_NEVER, .fire = fire, .ctx = ctx, .clock = k };
}

void timer_set(struct timer *t, u64 deadline)
{
    struct clock *k = t->clock;
    if (t->deadline == deadline)
        return;
    u64 before = clock_deadline(k);
    if (timer_armed(t))
        heap_remove(k, t);
    if (deadline == TIMER_NEVER)
        return;
    t->deadline = deadline;
    heap_add(k, t);
    if (deadline < before && k->wake)
        k->wake(k->wake_ctx);
}

void timer_cancel(struct timer *t)
{
    if (timer_armed(t))
        heap_remove(t->clock, t);
}

u64 clock_deadline(const struct clock *k)
{
    return k->count ? k->heap[0].deadline : TIMER_NEVER;
}

void clock_run(struct clock *k)
{
    u64 now = clock_now(k);
    for (unsigned n = 0; n < MAX_FIRINGS && clock_deadline(k) <= now; n++) {
        struct timer *t = k->heap[0].timer;
        heap_remove(k, t);
        t->fire(t->ctx);
    }
}

void clock_set_wake(struct clock *k, void (*wake)(void *ctx), void *ctx)
{
    k->wake = wake;
    k->wake_ctx = ctx;
}

/* -------------------------------------------------------------------------------------------- machine lock ----- */

static struct {
    _Atomic u32 next;       /* the ticket that the next caller draws */
    _Atomic u32 serving;    /* the ticket that holds the lock; waiters sleep on this word */
} ticket;

static _Thread_local bool locked_by_me;

enum { SPINS = 200 };       /* a device access is shorter than a trip into the kernel */

void machine_lock(void)
{
    assert(!locked_by_me);
    u32 mine = atomic_fetch_add(&ticket.next, 1);
    for (unsigned spins = 0;; spins++) {
        u32 now = atomic_load(&ticket.serving);
        if (now == mine)
            break;
        if (spins >= SPINS)
            syscall(SYS_futex, &ticket.serving, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    }
    locked_by_me = true;
}

void machine_unlock(void)
{
    assert(locked_by_me);
    locked_by_me = false;
    u32 serving = atomic_load_explicit(&ticket.serving, memory_order_relaxed) + 1;
    atomic_store(&ticket.serving, serving);
    if (atomic_load(&ticket.next) != serving)
        syscall(SYS_futex, &ticket.serving, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

bool machine_locked_by_me(void)
{
    return locked_by_me;
}
