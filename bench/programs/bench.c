/* bench.c - main of the benchmark programs, and the clock (see bench.h). */
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

u64 bench_seed = 1;
static struct timespec started;
static double cpu_started;

/* User and system time of this process and of its children that have ended. */
static double cpu_seconds(void)
{
    double sum = 0;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        struct rusage u;
        getrusage(who, &u);
        sum +=
            (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    }
    return sum;
}

void bench_die(const char *what)
{
    perror(what);
    exit(1);
}

void *bench_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        bench_die("mmap");
    memset(p, 1, bytes);
    return p;
}

u64 bench_number(long double x)
{
    union {
        long double x;
        struct {
            u64 mantissa;
            u16 exponent;
        };
    } bits = { .x = x };
    return mix(bits.mantissa, bits.exponent);
}

void bench_begin(const char *name)
{
    printf("BENCH-BEGIN %s\n", name);
    fflush(stdout);
    tcdrain(1); /* the characters are out before the clock starts; on a pipe there is nothing to wait for */
    cpu_started = cpu_seconds();
    clock_gettime(CLOCK_MONOTONIC, &started);
}

void bench_end(const char *name, long iterations, u64 checksum)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - started.tv_sec) + 1e-9 * (double)(now.tv_nsec - started.tv_nsec);
    printf("BENCH %s %ld %.6f %016llx %.6f\n", name, iterations, seconds, (unsigned long long)checksum,
           cpu_seconds() - cpu_started);
    fflush(stdout);
}

__attribute__((weak)) int main(int argc, char **argv)
{
    long iterations = argc == 3 ? atol(argv[2]) : 0;
    if (iterations <= 0) {
        fprintf(stderr, "usage: %s NAME ITERATIONS\n", argv[0]);
        return 2;
    }
    for (const struct workload *w = workloads; w->name; w++)
        if (!strcmp(w->name, argv[1])) {
            if (w->prepare)
                w->prepare();
            bench_begin(w->name);
            u64 checksum = w->run(iterations);
            bench_end(w->name, iterations, checksum);
            return 0;
        }
    fprintf(stderr, "%s: no workload %s\n", argv[0], argv[1]);
    return 2;
}
