/* mainloop.c - poll() over everything that the host side waits for. See mainloop.h.
 *
 * Two eventfds: wake_fd ends one wait, quit_fd stays readable from mainloop_quit on, so that every wait ends, on any
 * thread. Callbacks run under the machine lock; one that has to wait for the CPU's thread lets go of it for that long.
 */
#include "frontend/mainloop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_WATCHES 64

static struct watch *watches;
static int wake_fd = -1, quit_fd = -1;
static atomic_bool quitting, continued_seen;
static void (*continued_hook)(void);

void mainloop_init(void)
{
    if (wake_fd >= 0)
        return;
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    quit_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd < 0 || quit_fd < 0)
        abort();
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

static void raise_event(int fd)
{
    int saved = errno;
    u64 one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
        /* the counter is full: it is readable already */
    }
    errno = saved;
}

void mainloop_wake(void *unused) { raise_event(wake_fd); }

void mainloop_quit(void)
{
    atomic_store(&quitting, true);
    raise_event(quit_fd);
}

bool mainloop_quitting(void) { return atomic_load(&quitting); }

static void on_signal(int number) { mainloop_quit(); }

static void on_continue(int number)
{
    atomic_store(&continued_seen, true);
    mainloop_wake(NULL);
}

void mainloop_catch_signals(void (*continued)(void))
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
    struct sigaction end = { .sa_handler = on_signal }, go_on = { .sa_handler = on_continue, .sa_flags = SA_RESTART };
    struct sigaction old, ignore = { .sa_handler = SIG_IGN };
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        sigaction(ends[i], NULL, &old);
        if (old.sa_handler != SIG_IGN)      /* nohup, a shell's background job */
            sigaction(ends[i], &end, NULL);
    }
    continued_hook = continued;
    sigaction(SIGCONT, &go_on, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

bool mainloop_wait_fd(int fd, short events, int ms)
{
    struct pollfd fds[2] = { { .fd = fd, .events = events }, { .fd = quit_fd, .events = POLLIN } };
    int n;
    do
        n = poll(fds, 2, ms);
    while (n < 0 && errno == EINTR && !mainloop_quitting());
    return n > 0 && fds[0].revents;
}

/* Fills fds from index 2 on with what is to be waited for; who[i] is the watch of fds[i + 2]. */
static unsigned collect(struct pollfd *fds, struct watch **who)
{
    unsigned n = 0;
    fds[0] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = quit_fd, .events = POLLIN };
    for (struct watch *w = watches; w && n < MAX_WATCHES; w = w->next) {
        short events = w->fd >= 0 ? w->events(w->ctx) : 0;
        if (!events)
            continue;
        who[n] = w;
        fds[n++ + 2] = (struct pollfd){ .fd = w->fd, .events = events };
    }
    return n;
}

/* A callback may remove other watches: only those still in the list, on the same descriptor, are called. */
static bool is_watched(const struct watch *w, int fd)
{
    for (const struct watch *p = watches; p; p = p->next)
        if (p == w)
            return p->fd == fd;
    return false;
}

void mainloop_poll(u64 ns)
{
    struct pollfd fds[MAX_WATCHES + 2];
    struct watch *who[MAX_WATCHES];
    machine_lock();
    unsigned n = collect(fds, who);
    machine_unlock();
    struct timespec ts = { (time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC) };
    if (ppoll(fds, n + 2, ns == TIMER_NEVER ? NULL : &ts, NULL) <= 0)
        return;
    u64 count;
    if (fds[0].revents && read(wake_fd, &count, sizeof count) < 0) {
        /* another thread's wake-up was read already */
    }
    machine_lock();
    for (unsigned i = 0; i < n; i++)
        if (fds[i + 2].revents && is_watched(who[i], fds[i + 2].fd))
            who[i]->ready(who[i]->ctx, fds[i + 2].revents);
    machine_unlock();
}

int mainloop_run(struct pc *pc, bool no_shutdown)
{
    int status = 0;
    bool stopped = false;       /* by a power-off with -no-shutdown */
    pc_set_wake(pc, mainloop_wake, NULL);
    for (;;) {
        if (mainloop_quitting())
            pc_quit(pc);
        enum pc_exit e = pc_exit_state(pc, &status);
        if (e == PC_POWEROFF && no_shutdown && !mainloop_quitting()) {
            if (!stopped)
                pc_pause(pc);
            stopped = true;
        } else if (e != PC_RUNNING)
            return status;
        if (atomic_exchange(&continued_seen, false) && continued_hook)
            continued_hook();
        u64 ns = pc_run_timers(pc);
        mainloop_poll(stopped ? TIMER_NEVER : ns);
    }
}
