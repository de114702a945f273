/* memory.c - copies, string functions, string instructions, pointer chases, random accesses, linked lists.
 *
 * memcpy and memset are the C library's: it picks the variant that suits the CPU it finds, as real programs do. The
 * scalar string functions are loops over single bytes.
 */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

#define BIG (16u << 20)
static u8 *from, *to;

static void copy_prepare(void)
{
    from = bench_memory(BIG);
    to = bench_memory(BIG);
    for (u32 i = 0; i < BIG; i += 61)
        from[i] = (u8)rnd();
}

/* Copies that together make about a MiB; the sizes are around `size`, the places unaligned. */
static u64 copies(u32 size, u32 span)
{
    u64 sum = 0;
    for (u32 done = 0; done < 1u << 20;) {
        u32 bytes = size / 2 + rnd() % size, a = rnd() % span, b = rnd() % span;
        memcpy(to + b, from + a, bytes);
        barrier();
        sum += to[b + bytes / 2];
        done += bytes;
    }
    return sum;
}

#define COPY_RUN(name, size, span, times)                                                                              \
    static u64 name(long iterations)                                                                                   \
    {                                                                                                                  \
        u64 sum = 0;                                                                                                   \
        for (long n = 0; n < iterations * (times); n++)                                                                \
            sum = mix(sum, copies(size, span));                                                                        \
        return sum;                                                                                                    \
    }
COPY_RUN(copy_small_run, 32, 4096, 1)
COPY_RUN(copy_page_run, 4096, 65536, 8)
COPY_RUN(copy_large_run, 1u << 20, 14u << 20, 8)

static u64 memset_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 1000; n++) {
        u32 bytes = rnd() % 4096 + 16, at = rnd() % 65536;
        memset(to + at, (int)n & 255, bytes);
        barrier();
        sum += to[at + bytes - 1];
    }
    return sum;
}

/* --- scalar string functions; the barriers keep the compiler from calling the library instead --- */
static __attribute__((noinline)) size_t length_of(const char *s)
{
    const char *p = s;
    while (*p) {
        p++;
        barrier();
    }
    return (size_t)(p - s);
}

static __attribute__((noinline)) const u8 *find_byte(const u8 *p, u8 c, size_t n)
{
    for (; n; n--, p++)
        if (*p == c)
            return p;
    return NULL;
}

static __attribute__((noinline)) int order(const u8 *a, const u8 *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a - *b;
}

static char lines[1000][80];

static void strings_prepare(void)
{
    for (int i = 0; i < 1000; i++) {
        u32 length = rnd() % 64 + 8;
        for (u32 k = 0; k < length; k++)
            lines[i][k] = (char)(k < 12 ? 'a' + (i & 3) : 'a' + (char)(rnd() % 26));
    }
}

static u64 strings_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 4; n++)
        for (int i = 0; i < 1000; i++) {
            const u8 *z = find_byte((const u8 *)lines[i], 'z', 80);
            sum += length_of(lines[i]) + (z ? (size_t)(z - (const u8 *)lines[i]) : 0);
            sum += order((const u8 *)lines[i], (const u8 *)lines[(i + 4) % 1000]) > 0;
        }
    return sum;
}

/* --- string instructions --- */
static void rep_movsb(void *d, const void *s, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
}

static void rep_movsl(void *d, const void *s, size_t n)
{
    __asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n)::"memory");
}

static void rep_stosl(void *d, u32 value, size_t n)
{
    __asm__ volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(value) : "memory");
}

static u64 rep_movs_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 1000; n++) {
        u32 a = rnd() % 65536, b = rnd() % 65536, bytes = rnd() % (n & 3 ? 256 : 8192);
        rep_movsb(to + b, from + a, bytes);
        rep_movsl(to + b, from + a, bytes / 16);
        sum += to[b + bytes / 2];
    }
    return sum;
}

static u64 rep_stos_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 1000; n++) {
        u32 b = rnd() % 65536, words = rnd() % (n & 3 ? 64 : 2048);
        rep_stosl(to + b, (u32)n, words);
        sum += to[b + words * 2];
    }
    return sum;
}

/* strlen and memcmp as old compilers wrote them: REPNE SCASB, REPE CMPSB. */
static u64 rep_scan_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++)
        for (int i = 0; i < 1000; i++) {
            const char *p = lines[i], *a = lines[i], *b = lines[(i + 4) % 1000];
            size_t left = (size_t)-1, count = 80;
            __asm__ volatile("repne scasb" : "+D"(p), "+c"(left) : "a"(0) : "memory", "cc");
            __asm__ volatile("repe cmpsb" : "+D"(a), "+S"(b), "+c"(count)::"memory", "cc");
            sum += ~left + count;
        }
    return sum;
}

/* --- chases: one cycle through all 64-byte lines in random order; every load waits for the one before --- */
struct line {
    struct line *next;
    u32 number;
} __attribute__((aligned(64)));
static struct line *ring;

static void ring_prepare(u32 bytes)
{
    u32 n = bytes / sizeof *ring, *places = bench_memory(n * sizeof *places);
    ring = bench_memory(bytes);
    for (u32 i = 0; i < n; i++)
        places[i] = i;
    for (u32 i = n - 1; i; i--) {
        u32 other = rnd() % (i + 1), t = places[i];
        places[i] = places[other];
        places[other] = t;
    }
    for (u32 i = 0; i < n; i++)
        ring[places[i]] = (struct line){ &ring[places[(i + 1) % n]], i };
}

static void chase_l1_prepare(void) { ring_prepare(16 << 10); }
static void chase_l2_prepare(void) { ring_prepare(192 << 10); }
static void chase_far_prepare(void) { ring_prepare(64 << 20); }

static u64 chase_run(long iterations)
{
    const struct line *p = ring;
    for (long n = 0; n < iterations * 100000; n++)
        p = p->next;
    return p->number;
}

/* --- random: read, change and write words all over 32 MiB; near: the same in 32 KiB --- */
static u32 *words;

static void random_prepare(void) { words = bench_memory(32u << 20); }

static u64 random_words(long count, u32 mask)
{
    u32 x = 12345, sum = 0;
    for (long n = 0; n < count; n++) {
        x = x * 1664525 + 1013904223;
        u32 *p = &words[x >> 9 & mask];
        sum += *p;
        *p ^= x;
    }
    return sum;
}

static u64 random_run(long iterations) { return random_words(iterations * 50000, (8u << 20) - 1); }
static u64 random_near_run(long iterations) { return random_words(iterations * 500000, 8191); }

/* --- list: nodes from an own pool, inserts in order, walks, removals --- */
struct node {
    struct node *next;
    u32 key, payload[5];
};
static struct node nodes[4096];

static u64 list_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++) {
        struct node *buckets[64] = { NULL };
        for (int i = 0; i < 4096; i++) {
            struct node *new = &nodes[(i * 1237) & 4095];
            new->key = rnd();
            struct node **at = &buckets[new->key & 63];
            while (*at && (*at)->key < new->key)
                at = &(*at)->next;
            new->next = *at;
            *at = new;
        }
        for (int b = 0; b < 64; b++)
            for (struct node **at = &buckets[b]; *at;)
                if ((*at)->key & 1)
                    *at = (*at)->next;
                else
                    sum += (*at)->key, at = &(*at)->next;
    }
    return sum;
}

const struct workload workloads[] = {
    { "copy-small", copy_prepare, copy_small_run },
    { "copy-page", copy_prepare, copy_page_run },
    { "copy-large", copy_prepare, copy_large_run },
    { "memset", copy_prepare, memset_run },
    { "strings", strings_prepare, strings_run },
    { "rep-movs", copy_prepare, rep_movs_run },
    { "rep-stos", copy_prepare, rep_stos_run },
    { "rep-scan", strings_prepare, rep_scan_run },
    { "chase-l1", chase_l1_prepare, chase_run },
    { "chase-l2", chase_l2_prepare, chase_run },
    { "chase-far", chase_far_prepare, chase_run },
    { "random-near", random_prepare, random_near_run },
    { "random-far", random_prepare, random_run },
    { "list", NULL, list_run },
    { NULL, NULL, NULL },
};
