/* main.c - the whole-machine fuzzer: builds machine after machine and mistreats them. Nothing may crash, fail an
 * assertion, read or write outside of what it owns (build with the preset asan), or fail to come back (watchdog).
 *
 *     fuzz-machine [-seconds N] [-cases N] [-seed S] [-threads] [-v]
 *
 * Everything about a case follows from its seed: after a failure, the line "case seed S" names it; -seed S -cases 1
 * runs it again (-v prints each step). The machine runs on this thread with the instruction clock.
 *
 * -threads: as in the program, the vCPU has a thread of its own and time is the host's, so nothing repeats; for a
 * build with -fsanitize=thread. (Guest memory itself is shared without locks, as between the CPU and the devices of a
 * board.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/watchdog.h"

enum { ROM_BYTES = 0x20000, DISK_BYTES = 2 << 20, CD_BYTES = 400 * 2048, FLOPPY_BYTES = 1440 << 10 };

static struct fuzz fuzz;
static char dir[] = "/tmp/shadow86-fuzz-XXXXXX";

void fuzz_doing(const char *what)
{
    watchdog_doing(what);
    if (fuzz.verbose)
        fprintf(stderr, "%s\n", what);
}

/* --- files ------------------------------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static char path[8][200];
    static unsigned next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static void make_file(const char *name, const u8 *head, unsigned head_bytes, unsigned bytes)
{
    u8 *data = malloc(bytes);
    random_seed(bytes);
    random_fill(data, bytes, FILL_ANY);
    if (head)
        memcpy(data, head, head_bytes);
    FILE *file = fopen(path_of(name), "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes) {
        perror(path_of(name));
        exit(EXIT_FAILURE);
    }
    fclose(file);
    free(data);
}

static const char *const files[] = { "rom", "vgabios-stdvga.bin", "disk", "cd", "floppy" };

static void make_files(void)
{
    if (!mkdtemp(dir)) {
        perror(dir);
        exit(EXIT_FAILURE);
    }
    make_file("rom", NULL, 0, ROM_BYTES);
    make_file("vgabios-stdvga.bin", (const u8[]){ 0x55, 0xaa, 0x40 }, 3, 0x8000);
    make_file("disk", NULL, 0, DISK_BYTES);
    make_file("cd", NULL, 0, CD_BYTES);
    make_file("floppy", NULL, 0, FLOPPY_BYTES);
}

static void remove_files(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(files); i++)
        unlink(path_of(files[i]));
    rmdir(dir);
}

/* --- one case ---------------------------------------------------------------------------------------------------- */

static struct block *image(const char *name, unsigned sector)
{
    char err[300];
    const struct block_options o = { .file = path_of(name), .snapshot = true, .sector_size = sector };
    struct block *b = block_open(&o, err, sizeof(err));
    if (!b) {
        fprintf(stderr, "%s\n", err);
        exit(EXIT_FAILURE);
    }
    return b;
}

static void stop_cpu(void *ctx) { cpu_request(fuzz.pc->cpu, CPU_STOP); }

static void new_machine(bool icount)
{
    static const char *const models[] = { "486", "pentium", "pentium3", "qemu64", "x86-64-v2", "x86-64-v3" };
    static const char *dirs[2];
    char err[300];
    dirs[0] = dir;
    struct pc_config cfg = {
        .ram_bytes = (u64)(1 + below(8)) << 20, .cpu_model = one_in(6) ? models[below(6)] : "max",
        .bios_file = path_of("rom"), .bios_dirs = dirs, .vga = one_in(10) ? "none" : "std", .has_debug_exit = true,
        .icount = icount, .icount_shift = below(8),
        .rtc_offset = -(s64)time(NULL),
    };
    if (!one_in(4))
        cfg.ide[0] = (struct pc_drive){ image("disk", 512), false, true };
    if (!one_in(4))
        cfg.ide[below(2) ? 2 : 1] = (struct pc_drive){ one_in(4) ? NULL : image("cd", 2048), true, true };
    cfg.floppy[0] = (struct pc_drive){ one_in(4) ? NULL : image("floppy", 512), false, true };
    if (!one_in(4))
        cfg.serial[0] = chardev_memory();
    fuzz.pc = pc_new(&cfg, err, sizeof(err));
    if (!fuzz.pc) {
        fprintf(stderr, "%s\n", err);
        exit(EXIT_FAILURE);
    }
    random_fill(fuzz.pc->ram->base, 0xa0000, one_in(2) ? FILL_ANY : FILL_INTEGERS);
    if (!icount)
        return;
    clock_resume(fuzz.pc->clock);
    timer_init(&fuzz.stop, fuzz.pc->clock, stop_cpu, NULL);
    cpu_request(fuzz.pc->cpu, CPU_TIMER);
}

static void run_case(u64 seed)
{
    watchdog_case(seed);
    random_seed(seed * 0x2545f4914f6cdd1d);
    fuzz_doing("building the machine");
    new_machine(true);
    const unsigned kind = below(3), rounds = 1 + below(30);
    for (unsigned i = 0; i < rounds; i++) {
        if (kind != 1)
            fuzz_devices(&fuzz, below(kind == 2 ? 10 : 60));
        if (kind == 0)
            continue;
        if (!i || one_in(4)) {
            fuzz_doing("making a guest");
            fuzz_guest_setup(&fuzz);
        }
        fuzz_guest_run(&fuzz);
    }
    if (fuzz.verbose)
        fprintf(stderr, "%llu instructions and faults\n", (unsigned long long)cpu_icount(fuzz.pc->cpu));
    fuzz_doing("taking the machine apart");
    machine_lock();
    timer_cancel(&fuzz.stop);
    machine_unlock();
    pc_free(fuzz.pc);
    watchdog_rest();
}

/* The main loop's part, done by hostile hands. */
static void run_threads(u64 seed)
{
    char err[300];
    watchdog_case(seed);
    random_seed(seed * 0x2545f4914f6cdd1d);
    fuzz_doing("building the machine");
    new_machine(false);
    fuzz_guest_setup(&fuzz);
    if (!pc_start(fuzz.pc, err, sizeof(err))) {
        fprintf(stderr, "%s\n", err);
        exit(EXIT_FAILURE);
    }
    for (unsigned i = 20 + below(200); i && pc_exit_state(fuzz.pc, NULL) == PC_RUNNING; i--) {
        if (one_in(20)) {
            fuzz_doing("pausing");
            pc_pause(fuzz.pc);
            fuzz_guest_setup(&fuzz);
            pc_resume(fuzz.pc);
        }
        fuzz_devices(&fuzz, below(10));
        fuzz_disturb(&fuzz);
        pc_run_timers(fuzz.pc);
        usleep(below(2000));
    }
    fuzz_doing("taking the machine apart");
    pc_free(fuzz.pc);
    watchdog_rest();
}

int main(int argc, char **argv)
{
    u64 seed = 1, cases = 0, seconds = 20, n = 0;
    bool threads = false;
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (!strcmp(argv[i], "-v"))
            fuzz.verbose = true;
        else if (!strcmp(argv[i], "-threads"))
            threads = true;
        else if (more && !strcmp(argv[i], "-seed"))
            seed = strtoull(argv[++i], NULL, 0);
        else if (more && !strcmp(argv[i], "-cases"))
            cases = strtoull(argv[++i], NULL, 0);
        else if (more && !strcmp(argv[i], "-seconds"))
            seconds = strtoull(argv[++i], NULL, 0);
        else {
            fprintf(stderr, "usage: fuzz-machine [-seconds N] [-cases N] [-seed S] [-threads] [-v]\n");
            return EXIT_FAILURE;
        }
    }
    make_files();
    atexit(remove_files);
    watchdog_start();
    const time_t end = time(NULL) + (time_t)seconds;
    while (cases ? n < cases : time(NULL) < end)
        (threads ? run_threads : run_case)(seed + n++);
    printf("%llu cases from seed %llu on: all came through\n", (unsigned long long)n, (unsigned long long)seed);
    return EXIT_SUCCESS;
}
