/* mainloop.h - the one thread that waits: host files and sockets, timers of the devices, the end of the run. */
#ifndef SHADOW86_MAINLOOP_H
#define SHADOW86_MAINLOOP_H

#include "devices/pc.h"

/* What a watched descriptor wants now and what to do when it can: under the machine lock, on the main loop's thread. */
struct watch {
    int fd;                                 /* -1: nothing to watch at present */
    short (*events)(void *ctx);             /* POLLIN | POLLOUT that are wanted now, 0: none; asked before each wait */
    void (*ready)(void *ctx, short events);
    void *ctx;
    struct watch *next;
};
void mainloop_init(void);
void mainloop_add(struct watch *w);         /* keeps w by reference */
void mainloop_remove(struct watch *w);
void mainloop_wake(void *unused);           /* any thread, also from a signal handler */
/* Waits once for what is watched, at most ns (TIMER_NEVER: no limit), and calls what is ready. */
void mainloop_poll(u64 ns);
/* Runs the machine until it ends; returns the process's exit status. no_shutdown: a power-off only stops it. */
int mainloop_run(struct pc *pc, bool no_shutdown);
/* SIGINT, SIGTERM, SIGHUP, SIGQUIT: mainloop_quit; SIGPIPE is ignored; SIGCONT calls continued() on the main loop. */
void mainloop_catch_signals(void (*continued)(void));
/* Ends the run, whatever state the machine is in, and every wait on the host side. Any thread, signal handlers. */
void mainloop_quit(void);
bool mainloop_quitting(void);
/* Waits for one descriptor, for at most ms (-1: no limit). False: time is up, or the run is to end. Any thread. */
bool mainloop_wait_fd(int fd, short events, int ms);

#endif
