/* watchdog.c - see watchdog.h. A file of its own because <signal.h> claims names of cpu/insn.h (GPR_RAX...). */
#include "tests/fuzz/watchdog.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SECONDS = 30 };

static unsigned long long seed;
static const char *doing = "";

static void say_case(void)
{
    char line[200];
    int n = snprintf(line, sizeof(line), "\nfuzz-machine: case seed %llu, doing: %s\n", seed, doing);
    (void)!write(2, line, (size_t)n);
}

static void on_signal(int sig)
{
    static const char text[] = "fuzz-machine: it does not come back\n";
    say_case();
    if (sig == SIGALRM)
        (void)!write(2, text, sizeof(text) - 1);
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* The sanitizers', where the build has them. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void watchdog_start(void)
{
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_case);
    else
        signal(SIGSEGV, on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
}

void watchdog_case(unsigned long long s) { seed = s; }

void watchdog_doing(const char *what)
{
    doing = what;
    alarm(SECONDS);
}

void watchdog_rest(void) { alarm(0); }
