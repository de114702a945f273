/* bench.h - what every benchmark program shares: its table of workloads, the clock, the checksum.
 *
 * A program is started as "PROGRAM NAME ITERATIONS" and prints
 *     BENCH-BEGIN name                                     when it is prepared: the clock starts now
 *     BENCH name iterations seconds checksum cpu-seconds   when it is done
 * The same binary runs on the host and in the guests. Checksums must be the same everywhere, so a workload uses no
 * clock, no address, and no libm function that picks its code by CPU.
 */
#ifndef BENCH_H
#define BENCH_H
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

struct workload {
    const char *name;
    void (*prepare)(void);       /* not timed; NULL: nothing to prepare */
    u64 (*run)(long iterations); /* timed; returns the checksum */
};

/* Each program defines this table; name NULL ends it. */
extern const struct workload workloads[];

/* The clock of programs that have a main of their own (real.c). */
void bench_begin(const char *name);
void bench_end(const char *name, long iterations, u64 checksum);

/* Memory that is there already: every page was written. */
void *bench_memory(size_t bytes);

_Noreturn void bench_die(const char *what);

/* A random sequence, the same in every run and on 32 and 64 bits. */
extern u64 bench_seed;
static inline u32 rnd(void)
{
    bench_seed = bench_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(bench_seed >> 33);
}

/* The next checksum after taking in value. */
static inline u64 mix(u64 checksum, u64 value) { return (checksum ^ value) * 0x100000001b3ull; }

/* Keeps the compiler from knowing what memory holds, or from leaving out work whose result nobody reads. */
#define barrier() __asm__ volatile("" ::: "memory")

/* All bits of a floating-point number, for a checksum. */
u64 bench_number(long double x);
#endif
