/* real.c - runs a real program of the distribution as a workload.
 *
 * usage: real ROOT NAME ITERATIONS. ROOT holds the packages' files and /bench/NAME, a script for its dash: "NAME setup"
 * is not timed, "NAME run" is, once per iteration. The checksum is that of the last run's standard output. /tmp is a
 * file system in memory with words in /tmp/text (4 MiB) and /tmp/part (512 KiB). Needs to be root or to be allowed a
 * user namespace.
 */
#include "bench.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

const struct workload workloads[] = { { NULL, NULL, NULL } };

static void write_file(const char *path, const char *text)
{
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text))
        bench_die(path);
    close(file);
}

/* A mount namespace of our own, and a user namespace where that takes one. */
static void leave_host(void)
{
    char map[64];
    unsigned user = getuid(), group = getgid();
    if (unshare(CLONE_NEWNS) == 0)
        return;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        bench_die("a mount namespace (needs root or user namespaces)");
    snprintf(map, sizeof map, "0 %u 1", user);
    write_file("/proc/self/uid_map", map);
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", group);
    write_file("/proc/self/gid_map", map);
}

static void enter(const char *root)
{
    leave_host();
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL); /* fails on an initramfs, where it does not matter */
    if (chdir(root) < 0 || mount("bench", "tmp", "tmpfs", 0, "size=256m") < 0)
        bench_die(root);
    if (mount("/dev", "dev", NULL, MS_BIND | MS_REC, NULL) < 0)
        bench_die("/dev");
    if (chroot(".") < 0 || chdir("/tmp") < 0)
        bench_die("chroot");
}

static void write_words(const char *path, long bytes)
{
    static const char *const words[] = { "the",      "shadow", "of",    "a",     "machine", "is",
                                         "register", "memory", "page",  "table", "and",     "interrupt",
                                         "in",       "to",     "block", "code",  "which",   "writes" };
    FILE *f = fopen(path, "w");
    if (!f)
        bench_die(path);
    while (bytes > 0) {
        u32 r = rnd();
        bytes -= r % 8 ? fprintf(f, "%s%c", words[r / 8 % 18], r % 128 < 10 ? '\n' : ' ') : fprintf(f, "%x ", r >> 12);
    }
    fclose(f);
}

static void script(const char *name, const char *what)
{
    char path[256];
    snprintf(path, sizeof path, "/bench/%s", name);
    pid_t child = fork();
    if (child == 0) {
        int out = open("/tmp/out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(out, 1);
        execle("/bin/dash", "dash", path, what, (char *)NULL,
               (char *[]){ "PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=/tmp", "OPENSSL_CONF=/dev/null", NULL });
        _exit(127);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) {
        fprintf(stderr, "%s %s: exit status %d\n", path, what,
                WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
        exit(1);
    }
}

static u64 checksum_of(const char *path)
{
    FILE *f = fopen(path, "r");
    u64 sum = 0xcbf29ce484222325ull;
    for (int c; f && (c = getc(f)) != EOF;)
        sum = mix(sum, (u64)c);
    return sum;
}

int main(int argc, char **argv)
{
    long iterations = argc == 4 ? atol(argv[3]) : 0;
    if (iterations <= 0) {
        fprintf(stderr, "usage: %s ROOT NAME ITERATIONS\n", argv[0]);
        return 2;
    }
    enter(argv[1]);
    write_words("/tmp/text", 4 << 20);
    write_words("/tmp/part", 512 << 10);
    script(argv[2], "setup");
    bench_begin(argv[2]);
    for (long n = 0; n < iterations; n++)
        script(argv[2], "run");
    bench_end(argv[2], iterations, checksum_of("/tmp/out"));
    return 0;
}
