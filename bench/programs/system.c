/* system.c - system calls, pipes, processes, page faults, signals, and code that is made while the program runs.
 *
 * Two processes that talk to each other stay on one CPU, as the guests have only one.
 */
#include "bench.h"
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* exec_run starts this program again with this argument: nothing but start and end. */
__attribute__((constructor)) static void end_at_once(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "end-at-once"))
        _exit(7);
}

/* --- system calls --- */
static u64 getpid_run(long iterations)
{
    u64 same = 0;
    long pid = syscall(SYS_getpid);
    for (long n = 0; n < iterations * 5000; n++)
        same += syscall(SYS_getpid) == pid;
    return same;
}

static u64 read_run(long iterations)
{
    u8 buffer[64];
    u64 sum = 0;
    int file = open("/dev/zero", O_RDONLY);
    if (file < 0)
        bench_die("/dev/zero");
    for (long n = 0; n < iterations * 2000; n++)
        sum += (u64)read(file, buffer, 1 + n % sizeof buffer);
    return sum;
}

static u64 files_run(long iterations)
{
    u64 sum = 0;
    struct stat s;
    for (long n = 0; n < iterations * 100; n++) {
        int file = open("/tmp/bench-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
        sum += (u64)write(file, "some text", 9);
        sum += fstat(file, &s) == 0 ? (u64)s.st_size : 99;
        close(file);
        sum += (u64)unlink("/tmp/bench-file") + (stat("/tmp/no-such-file", &s) != 0);
    }
    return sum;
}

/* --- pipe: a byte to the other process and back, as often as can be --- */
static int there[2], back[2];

static void pipe_prepare(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0 || pipe(there) < 0 || pipe(back) < 0)
        bench_die("pipe");
}

static u64 pipe_run(long iterations)
{
    u64 sum = 0;
    u8 byte = 1;
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte = (u8)(byte * 5 + 1);
            if (write(back[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    for (long n = 0; n < iterations * 250; n++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            bench_die("pipe");
        sum = mix(sum, byte);
    }
    close(there[1]);
    waitpid(child, NULL, 0);
    return sum;
}

/* --- processes --- */
static u64 fork_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 10; n++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            _exit((int)n & 63);
        waitpid(child, &status, 0);
        sum = mix(sum, (u64)WEXITSTATUS(status));
    }
    return sum;
}

static u64 start_again(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "again", "end-at-once", (char *)NULL);
        _exit(1);
    }
    waitpid(child, &status, 0);
    return (u64)WEXITSTATUS(status);
}

static u64 exec_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 3; n++)
        sum = mix(sum, start_again());
    return sum;
}

/* --- page faults: fresh anonymous memory; copies on write after a fork --- */
static u64 fault_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 4; n++) {
        size_t bytes = 128 * 4096;
        u8 *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            bench_die("mmap");
        madvise(p, bytes, MADV_NOHUGEPAGE);
        for (size_t i = 0; i < bytes; i += 4096)
            sum += p[i]++ + 1u;
        munmap(p, bytes);
    }
    return sum;
}

static u8 *shared;

static void cow_prepare(void)
{
    shared = bench_memory(128 * 4096);
    madvise(shared, 128 * 4096, MADV_NOHUGEPAGE);
}

static u64 cow_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 4; n++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            u8 all = 0;
            for (int i = 0; i < 128; i++)
                all += ++shared[i * 4096 + (n & 4095)];
            _exit(all & 127);
        }
        waitpid(child, &status, 0);
        sum = mix(sum, (u64)WEXITSTATUS(status));
    }
    return sum;
}

/* --- signals: to oneself; and for a store that the page does not allow --- */
static volatile sig_atomic_t signals;
static sigjmp_buf after;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void leave_fault(int number)
{
    (void)number;
    siglongjmp(after, 1);
}

static u64 signal_run(long iterations)
{
    signal(SIGUSR1, count_signal);
    for (long n = 0; n < iterations * 500; n++)
        raise(SIGUSR1);
    return (u64)signals;
}

static u64 segv_run(long iterations)
{
    volatile u64 caught = 0;
    volatile u8 *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    signal(SIGSEGV, leave_fault);
    for (volatile long n = 0; n < iterations * 200; n++) {
        if (sigsetjmp(after, 1)) {
            caught++;
            continue;
        }
        p[n & 4095] = 1;
    }
    return caught;
}

/* --- codegen: functions are written, run some times, overwritten; patch: a constant is changed in place --- */
static u8 *code;

static void codegen_prepare(void)
{
    code = mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        bench_die("mmap of a page for code");
    memset(code, 0xcc, 65536);
}

static u8 *put(u8 *p, u8 opcode, u32 value)
{
    *p++ = opcode;
    memcpy(p, &value, 4);
    return p + 4;
}

/* mov eax, v; then additions, exclusive ors and rotations; ret. The bytes mean the same in 32 and 64 bits. */
static void write_function(u8 *p, int length)
{
    p = put(p, 0xb8, rnd());
    for (int i = 0; i < length; i++)
        switch (rnd() % 3) {
        case 0: /* add eax, v */
            p = put(p, 0x05, rnd());
            break;
        case 1: /* xor eax, v */
            p = put(p, 0x35, rnd());
            break;
        default: /* rol eax, n */
            *p++ = 0xc1, *p++ = 0xc0, *p++ = (u8)(rnd() % 31 + 1);
        }
    *p = 0xc3;
}

typedef u32 made_function(void);

static u64 codegen_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 50; n++) {
        u8 *p = code + n % 64 * 1024;
        write_function(p, 100);
        barrier();
        for (int i = 0; i < 20; i++)
            sum = mix(sum, ((made_function *)(uintptr_t)p)());
    }
    return sum;
}

static void patch_prepare(void)
{
    codegen_prepare();
    write_function(code, 20);
}

static u64 patch_run(long iterations)
{
    u64 sum = 0;
    for (u32 n = 0; n < (u32)iterations * 500; n++) {
        memcpy(code + 1, &n, 4);
        barrier();
        for (int i = 0; i < 20; i++)
            sum = mix(sum, ((made_function *)(uintptr_t)code)());
    }
    return sum;
}

const struct workload workloads[] = {
    { "getpid", NULL, getpid_run },
    { "read", NULL, read_run },
    { "files", NULL, files_run },
    { "pipe", pipe_prepare, pipe_run },
    { "fork", NULL, fork_run },
    { "exec", NULL, exec_run },
    { "fault", NULL, fault_run },
    { "cow", cow_prepare, cow_run },
    { "signal", NULL, signal_run },
    { "segv", NULL, segv_run },
    { "codegen", codegen_prepare, codegen_run },
    { "patch", patch_prepare, patch_run },
    { NULL, NULL, NULL },
};
