/* main.c - random-programs: random guest programs under the interpreter and under another engine.
 *
 *     random-programs [-seed N] [-n COUNT] [-time SECONDS] [-accel jit,OPTION=VALUE...|steps] [-limit SECONDS] [-keep FILE] [-v] [-log]
 *         [FILE...]
 *
 * Without FILEs: programs from seeds N, N+1, ... until COUNT are done or SECONDS are over. Seeds choose the translator's options,
 * what -accel names is added. steps: the interpreter, one instruction at a time. Each comparison is a process of its own,
 * so a crash or an endless loop is a difference like others. The first one is shrunk (instructions become NOPs, data become
 * zeros, as long as it still differs), printed and written to a file (-keep, default random-SEED.txt), which runs again when it
 * is given as FILE. -log: what each program does. -limit: CPU time for one comparison, default 6. Exit status 1: a difference.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/random/random.h"

enum { CRASHED = 100 };

static unsigned alarms;

/* CPU time: other processes of a busy host do not count. */
static void set_timer(unsigned seconds)
{
    const struct itimerval t = { .it_value.tv_sec = seconds };
    setitimer(ITIMER_PROF, &t, NULL);
}

static void on_timer(int sig)
{
    static const char text[] = "random-programs: it does not come back\n";
    if (alarms++) {
        (void)!write(2, text, sizeof(text) - 1);
        _exit(CRASHED + 1);
    }
    run_interrupt();
    set_timer(2);
}

static enum engine engine = ENGINE_JIT;
static const char *more_options = "";
static unsigned limit = 6;     /* seconds of CPU time that a comparison may take */

static int compare_in_child(const struct program *p, bool print)
{
    int status;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(EXIT_FAILURE);
    }
    if (!pid) {
        signal(SIGPROF, on_timer);
        set_timer(limit);
        const int v = (int)compare_engines(p, engine, print);
        if (print && alarms)
            printf("interrupted after %u s: it may only be slow (-limit)\n", limit);
        fflush(stdout);
        _exit(v);
    }
    while (waitpid(pid, &status, 0) < 0)
        ;
    if (WIFSIGNALED(status))
        return CRASHED;
    return WEXITSTATUS(status);
}

static bool differs(int v) { return v == DIFFERENT || v >= CRASHED; }
static int wanted;      /* while shrinking: the kind of difference */

/* --- shrinking --------------------------------------------------------------------------------------------------- */

static time_t shrink_until;

static void zero_data(const struct program *p, u8 *at, unsigned bytes)
{
    u8 *keep = malloc(bytes);
    memcpy(keep, at, bytes);
    memset(at, 0, bytes);
    if (memcmp(at, keep, bytes) && compare_in_child(p, false) != wanted)
        memcpy(at, keep, bytes);
    free(keep);
}

/* Instructions [first, first + n) become NOPs if it still differs then. */
static bool drop_items(struct program *p, unsigned first, unsigned n)
{
    u8 *keep = malloc(n * 16);
    bool changed = false;
    for (unsigned i = 0; i < n; i++) {
        const struct item *t = &p->item[first + i];
        memcpy(keep + i * 16, p->mem + t->at, t->len);
        for (unsigned k = 0; k < t->len; k++)
            changed |= p->mem[t->at + k] != 0x90;
        memset(p->mem + t->at, 0x90, t->len);
    }
    const bool good = changed && compare_in_child(p, false) == wanted;
    for (unsigned i = n; i-- && !good;)
        memcpy(p->mem + p->item[first + i].at, keep + i * 16, p->item[first + i].len);
    free(keep);
    return good;
}

static void shrink(struct program *p)
{
    const unsigned count = p->item_count;
    shrink_until = time(NULL) + 60;
    for (unsigned n = count / 2; n && time(NULL) < shrink_until; n /= 2)
        for (unsigned i = 0; i < count && time(NULL) < shrink_until; i += n)
            drop_items(p, i, n < count - i ? n : count - i);
    for (unsigned i = count; i-- && time(NULL) < shrink_until;)
        drop_items(p, i, 1);
    for (unsigned bytes = 4096; bytes >= 32; bytes /= 4)
        for (u32 at = WINDOW; at < WINDOW_END && time(NULL) < shrink_until; at += bytes)
            zero_data(p, p->mem + at, bytes);
    for (u32 at = ABSENT; at < LAZY_END; at += 4096)
        zero_data(p, p->mem + at, 4096);
}

/* --- runs -------------------------------------------------------------------------------------------------------- */

static const char *verdict_name(int v)
{
    static const char *const names[] = { "same", "different", "not compared, it does not end", "undefined flags",
                                         "known difference" };
    return v < VERDICTS ? names[v] : "failed";
}

static void print_program(const struct program *p)
{
    printf("exactflags=%s,%s\n", p->exactflags ? "on" : "off", p->options);
    for (unsigned i = 0; i < p->item_count; i++) {
        const struct item *t = &p->item[i];
        struct insn in;
        char text[160] = "(none)";
        unsigned k = 0;
        while (k < t->len && p->mem[t->at + k] == 0x90)
            k++;
        if (k == t->len)
            continue;
        if (insn_decode(&in, p->mem + t->at, t->len, t->mode, NULL) == DECODE_OK)
            insn_print(text, sizeof(text), &in, t->at);
        printf("%2u %06x  %s\n", t->mode * 8u, t->at, text);
    }
}

static void report(struct program *p, int v, const char *keep)
{
    char name[64];
    printf("DIFFERENCE%s, seed %llu\n", v >= CRASHED ? " (crash)" : "", (unsigned long long)p->seed);
    compare_in_child(p, true);
    wanted = v;
    p->must_end = true;
    if (compare_in_child(p, false) != wanted)
        p->must_end = false;
    shrink(p);
    snprintf(name, sizeof(name), "random-%llu.txt", (unsigned long long)p->seed);
    if (!keep)
        keep = name;
    printf("reduced:\n");
    compare_in_child(p, true);
    print_program(p);
    if (program_save(p, keep))
        printf("random-programs %s shows it again\n", keep);
}

static int replay(char **files, int n)
{
    int bad = 0;
    for (int i = 0; i < n; i++) {
        struct program *p = program_new();
        if (!program_load(p, files[i])) {
            bad++;
            continue;
        }
        const int v = compare_in_child(p, true);
        printf("%s: %s\n", files[i], v >= CRASHED ? "crash" : verdict_name(v));
        bad += differs(v) || v >= VERDICTS;
        program_free(p);
    }
    return bad;
}

int main(int argc, char **argv)
{
    unsigned long long seed = (unsigned long long)time(NULL) * 1000, count = 0;
    unsigned total[VERDICTS] = { 0 };
    const char *accel = "", *keep = NULL;
    int seconds = 0, i;
    bool verbose = false, log = false;

    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "-v"))
            verbose = true;
        else if (!strcmp(argv[i], "-log"))
            log = true;
        else if (i + 1 == argc)
            break;
        else if (!strcmp(argv[i], "-seed"))
            seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "-n"))
            count = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "-time"))
            seconds = atoi(argv[++i]);
        else if (!strcmp(argv[i], "-keep"))
            keep = argv[++i];
        else if (!strcmp(argv[i], "-accel"))
            accel = argv[++i];
        else if (!strcmp(argv[i], "-limit"))
            limit = (unsigned)atoi(argv[++i]);
    }
    if (!strcmp(accel, "steps"))
        engine = ENGINE_STEPS;
    else if (!strncmp(accel, "jit,", 4))
        more_options = accel + 4;
    if (i < argc)
        return replay(argv + i, argc - i) ? EXIT_FAILURE : EXIT_SUCCESS;
    const time_t end = time(NULL) + seconds;
    struct program *p = program_new();
    for (unsigned long long n = 0; (!count || n < count) && (!seconds || time(NULL) < end); n++) {
        generate(p, seed + n);
        if (*more_options)
            snprintf(p->options + strlen(p->options), sizeof(p->options) - strlen(p->options), ",%s", more_options);
        if (log) {
            print_program(p);
            print_log(p);
        }
        const int v = compare_in_child(p, false);
        if (verbose)
            printf("seed %llu: %s\n", seed + n, v >= CRASHED ? "crash" : verdict_name(v));
        if (verbose && v == UNDEFINED)
            compare_in_child(p, true);
        if (differs(v)) {
            report(p, v, keep);
            return EXIT_FAILURE;
        }
        if (v >= VERDICTS)
            return EXIT_FAILURE;
        total[v]++;
    }
    printf("%u programs agree; %u not compared (endless), %u with undefined flags, %u known differences\n", total[SAME],
           total[NOT_COMPARED], total[UNDEFINED], total[KNOWN]);
    return total[0] ? EXIT_SUCCESS : EXIT_FAILURE;
}
