/* main.c - runs one workload of a benchmark program without an operating system, so that what is counted is the workload:
 * bench/insns. Command line: NAME ITERATIONS. Prints the checksum on COM1 and switches the machine off.
 */
#include "../programs/bench.h"

u64 bench_seed = 1;

static void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static u32 inl(u16 port)
{
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

/* What the programs and the compiler call. */
void *memcpy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}
void *memset(void *to, int v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile u8 *)to)[i] = (u8)v;
    return to;
}
size_t strlen(const char *s)
{
    size_t n = 0;
    while (((const volatile char *)s)[n])
        n++;
    return n;
}

static void print(const char *s)
{
    while (*s)
        outb(0x3f8, (u8)*s++);
}

static void power_off(void)
{
    outl(0xcf8, 0x80000b40);        /* the PIIX4's power management base, SLP_TYP 0 */
    outw((u16)((inl(0xcfc) & 0xffc0) + 4), 0x2000);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return !*a && (!*b || *b == ' ');
}

static const char *word(const char *s)
{
    while (*s && *s != ' ')
        s++;
    while (*s == ' ')
        s++;
    return s;
}

void kernel_main(const char *line)
{
    while (line[0] == '/')          /* loaders put the kernel's name in front */
        line = word(line);
    for (const struct workload *w = workloads; w->name; w++) {
        const char *name = line;
        while (*name && !same(w->name, name))
            name = word(name);
        if (!*name)
            continue;
        long iterations = 0;
        for (const char *s = word(name); *s >= '0' && *s <= '9'; s++)
            iterations = iterations * 10 + (*s - '0');
        if (w->prepare)
            w->prepare();
        u64 sum = w->run(iterations);
        char hex[18] = "";
        for (unsigned i = 0; i < 16; i++)
            hex[i] = "0123456789abcdef"[sum >> (60 - 4 * i) & 15];
        hex[16] = '\n';
        print(hex);
        power_off();
    }
    print("no such workload\n");
    power_off();
}
