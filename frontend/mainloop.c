/* mainloop.c - poll() over everything that the host side waits for. See mainloop.h. */
#include "frontend/mainloop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_WATCHES 64

static struct watch *watches;
static int wake_fd = -1;
static volatile sig_atomic_t signal_seen;

void mainloop_init(void)
{
    if (wake_fd < 0)
        wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void mainloop_add(struct watch *w)
{
    w->next = watches;
    watches = w;
    mainloop_wake(NULL);
}

void mainloop_remove(struct watch *w)
{
    for (struct watch **p = &watches; *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            return;
        }
}

void mainloop_wake(void *unused)
{
    int saved = errno;
    u64 one = 1;
    if (wake_fd >= 0 && write(wake_fd, &one, sizeof one) < 0) {
        /* the counter is full: the loop is awake already */
    }
    errno = saved;
}

static void on_signal(int number)
{
    signal_seen = number;
    mainloop_wake(NULL);
}

void mainloop_catch_signals(void)
{
    struct sigaction sa = { .sa_handler = on_signal };
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Fills fds with what is to be waited for; who[i] is the watch of fds[i + 1]. */
static unsigned collect(struct pollfd *fds, struct watch **who)
{
    unsigned n = 0;
    fds[0] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
    for (struct watch *w = watches; w && n < MAX_WATCHES; w = w->next) {
        short events = w->fd >= 0 ? w->events(w->ctx) : 0;
        if (!events)
            continue;
        who[n] = w;
        fds[++n] = (struct pollfd){ .fd = w->fd, .events = events };
    }
    return n;
}

/* A callback may remove other watches: only those still in the list are called. */
static bool is_watched(const struct watch *w)
{
    for (const struct watch *p = watches; p; p = p->next)
        if (p == w)
            return true;
    return false;
}

static void wait_and_dispatch(u64 ns)
{
    struct pollfd fds[MAX_WATCHES + 1];
    struct watch *who[MAX_WATCHES];
    machine_lock();
    unsigned n = collect(fds, who);
    machine_unlock();
    struct timespec ts = { (time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC) };
    if (ppoll(fds, n + 1, ns == TIMER_NEVER ? NULL : &ts, NULL) <= 0)
        return;
    u64 count;
    if (fds[0].revents && read(wake_fd, &count, sizeof count) < 0) {
        /* another thread's wake-up was read already */
    }
    machine_lock();
    for (unsigned i = 0; i < n; i++)
        if (fds[i + 1].revents && is_watched(who[i]))
            who[i]->ready(who[i]->ctx, fds[i + 1].revents);
    machine_unlock();
}

int mainloop_run(struct pc *pc, bool no_shutdown)
{
    int status = 0;
    bool stopped = false;       /* by a power-off with -no-shutdown */
    pc_set_wake(pc, mainloop_wake, NULL);
    for (;;) {
        if (signal_seen)
            pc_quit(pc);
        enum pc_exit e = pc_exit_state(pc, &status);
        if (e == PC_POWEROFF && no_shutdown && !signal_seen) {
            if (!stopped)
                pc_pause(pc);
            stopped = true;
        } else if (e != PC_RUNNING)
            return status;
        u64 ns = pc_run_timers(pc);
        wait_and_dispatch(stopped ? TIMER_NEVER : ns);
    }
}
