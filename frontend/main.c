/* main.c - shadow86: from the command line to a running machine, and back.
 *
 * Everything is checked before anything is made: options, images, places of lines, kernel and firmware come first; then
 * sockets and terminals are opened, and files (lines, log, process number) last. What was made is taken away again if a
 * later step fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/log.h"
#include "devices/pc.h"
#include "frontend/builtin.h"
#include "frontend/chardev_host.h"
#include "frontend/fwcfg_options.h"
#include "frontend/gdbstub.h"
#include "frontend/mainloop.h"
#include "frontend/monitor.h"
#include "frontend/options.h"
#include "frontend/tty.h"
#include "jit/jit.h"

#define ERR_MAX 4608
#define MAX_LINES (PC_MAX_SERIAL + 3)

static const char *const default_dirs[] = {
    "/usr/share/seabios", "/usr/share/qemu", "/usr/local/share/qemu", "/usr/share/vgabios", "/usr/share/seavgabios",
    "/usr/local/share/seabios", NULL
};

/* What has to be taken away at the end, whatever it is. */
static struct {
    struct pc *pc;
    struct chardev *line[MAX_LINES];    /* all that were opened, those of pc too */
    unsigned line_count;
    struct chardev *monitor, *gdb;      /* not pc's; monitor may be a shared serial line */
    char *pidfile;
} run;

static void clean_up(int status)
{
    gdbstub_end(status);
    if (run.monitor && !chardev_is_shared(run.monitor))
        chardev_close(run.monitor);
    pc_free(run.pc);
    if (run.pidfile)
        unlink(run.pidfile);
}

static _Noreturn void die(const char *why)
{
    clean_up(1);
    tty_restore();
    fprintf(stderr, "shadow86: %s\n", why);
    exit(1);
}

/* A file that the guest's images are opened into must not become standard input. */
static void keep_standard_files(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* ------------------------------------------------------------------ drives ----- */
static void open_drive(struct options *o, struct drive_option *d, struct pc_drive *slots, unsigned count)
{
    char err[ERR_MAX];
    int i = d->index;
    for (unsigned n = d->cdrom && count == 4 ? 2 : 0; i < 0 && n < count; n++)
        if (!slots[n].present)
            i = (int)n;
    if (i < 0 || slots[i].present) {
        snprintf(err, sizeof err, "-%s %s: %s drive %d is there already (leave one out, or use -drive with index=)",
                 d->option, d->block.file ? d->block.file : "(empty)", count == 4 ? "IDE" : "floppy",
                 i < 0 ? (int)count - 1 : i);
        die(err);
    }
    slots[i] = (struct pc_drive){ .present = true, .cdrom = d->cdrom };
    d->block.snapshot = (d->snapshot || o->snapshot) && !d->block.readonly;
    char why[ERR_MAX - 64];
    if (!d->block.file || (slots[i].block = block_open(&d->block, why, sizeof why)))
        return;
    snprintf(err, sizeof err, "-%s %s", d->option, why);
    die(err);
}

static void open_drives(struct options *o)
{
    /* those with a place of their own first */
    for (int fixed = 1; fixed >= 0; fixed--)
        for (unsigned i = 0; i < o->drive_count; i++) {
            struct drive_option *d = &o->drive[i];
            if ((d->index >= 0) != fixed)
                continue;
            if (d->interface == DRIVE_IDE)
                open_drive(o, d, o->pc.ide, 4);
            else
                open_drive(o, d, o->pc.floppy, 2);
        }
    if (!o->nodefaults && !o->pc.ide[2].present)
        o->pc.ide[2] = (struct pc_drive){ .present = true, .cdrom = true };
}

/* ------------------------------------------------------------------ lines ----- */
static struct chardev *new_line(const char *option, const char *label, const char *spec)
{
    char err[ERR_MAX], why[ERR_MAX - 64];
    struct chardev *c = chardev_new(label, spec, why, sizeof why);
    if (!c) {
        snprintf(err, sizeof err, "-%s: %s", option, why);
        die(err);
    }
    return run.line[run.line_count++] = c;
}

static bool is_on_stdio(const char *spec)
{
    return spec && (!strncmp(spec, "stdio", 5) || !strncmp(spec, "mon:stdio", 9));
}

/* What -nographic puts on the terminal: serial port and monitor together, or one of them where the other is named. */
static void nographic_defaults(struct options *o)
{
    bool used = is_on_stdio(o->monitor) || is_on_stdio(o->debugcon) || is_on_stdio(o->gdb);
    for (unsigned i = 0; i < o->serial_count; i++)
        used |= is_on_stdio(o->serial[i]);
    if (used)
        return;
    if (!o->serial_count)
        o->serial[o->serial_count++] = o->monitor ? "stdio" : "mon:stdio";
    else if (!o->monitor)
        o->monitor = "stdio";
}

static void new_lines(struct options *o)
{
    char label[24];
    if (o->nographic)
        nographic_defaults(o);
    for (unsigned i = 0; i < o->serial_count; i++) {
        if (!strcmp(o->serial[i], "none"))
            continue;
        snprintf(label, sizeof label, "serial%u", i);
        o->pc.serial[i] = new_line("serial", label, o->serial[i]);
        if (chardev_is_shared(o->pc.serial[i]))
            run.monitor = o->pc.serial[i];
    }
    if (!o->serial_count && !o->nodefaults)
        o->pc.serial[0] = new_line("serial", "serial0", "null");
    if (o->debugcon && strcmp(o->debugcon, "none"))
        o->pc.debugcon = new_line("debugcon", "debugcon", o->debugcon);
    if (o->monitor && strcmp(o->monitor, "none"))
        run.monitor = new_line("monitor", "monitor", !strcmp(o->monitor, "mon:stdio") ? "stdio" : o->monitor);
    if (o->gdb && strcmp(o->gdb, "none"))
        run.gdb = new_line("gdb", "gdb", gdbstub_spec(o->gdb));
}

/* Files come last: a line that cannot be opened leaves none behind. */
static void connect_lines(void)
{
    char err[ERR_MAX];
    for (int files = 0; files <= 1; files++)
        for (unsigned i = 0; i < run.line_count; i++)
            if (chardev_creates_file(run.line[i]) == files && !chardev_connect(run.line[i], err, sizeof err))
                die(err);
}

/* ------------------------------------------------------------------ what to boot ----- */
static bool nothing_to_boot(const struct options *o)
{
    return !o->drive_count && !o->pc.kernel_file && !o->pc.bios_file && !o->pc.boot_menu && !o->pc.boot_order;
}

/* In the foreground it talks to the terminal, unless its lines have been led somewhere else. */
static bool use_builtin_guest(struct options *o)
{
    o->pc.kernel_image = builtin_guest;
    o->pc.kernel_image_size = builtin_guest_size;
    return !o->serial_count && !o->monitor && !o->daemonize && !o->nodefaults;
}

/* ------------------------------------------------------------------ process ----- */
/* The lock tells a second machine that the first one is alive. */
static void write_pidfile(const char *file)
{
    char err[ERR_MAX];
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
        snprintf(err, sizeof err, "-pidfile %s: in use by another process", file);
        die(err);
    }
    if (fd < 0 || ftruncate(fd, 0) || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        snprintf(err, sizeof err, "-pidfile %s: %s", file, strerror(errno));
        die(err);
    }
    run.pidfile = realpath(file, NULL);     /* -daemonize changes the directory; the descriptor stays open */
}

static void check_output_file(const char *option, const char *file)
{
    char err[ERR_MAX], why[ERR_MAX - 64];
    if (!file || chardev_check_writable(file, why, sizeof why))
        return;
    snprintf(err, sizeof err, "-%s %s", option, why);
    die(err);
}

static void check_input_file(const char *option, const char *file)
{
    char err[ERR_MAX];
    struct stat st;
    const char *why = NULL;
    if (stat(file, &st) || access(file, R_OK))
        why = strerror(errno);
    else if (S_ISDIR(st.st_mode))
        why = "is a directory";
    if (!why)
        return;
    snprintf(err, sizeof err, "-%s %s: %s", option, file, why);
    die(err);
}

/* Forks into the background; the parent returns to the shell only once the child's machine is set up. */
static int daemonize_begin(void)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        die("-daemonize: no pipe");
    pid_t child = fork();
    if (child < 0)
        die("-daemonize: cannot fork");
    if (child) {
        u8 status = 1;
        close(fds[1]);
        _exit(read(fds[0], &status, 1) == 1 ? status : 1);
    }
    close(fds[0]);
    setsid();
    return fds[1];
}

static void daemonize_end(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null >= 0 && i < 3; i++)
        dup2(null, i);
    if (chdir("/") || write(fd, &(u8){ 0 }, 1) != 1) {
        /* the parent is gone: nobody waits for the answer */
    }
    close(fd);
}

/* ------------------------------------------------------------------ engine ----- */
static void start_engine(const struct options *o)
{
    struct jit_options jit;
    char err[ERR_MAX], why[ERR_MAX - 64];
    if (o->engine != ENGINE_JIT)
        return;
    if (!jit_available()) {
        fprintf(stderr, "shadow86: no translator for this host yet: the interpreter runs the guest (-accel interp)\n");
        return;
    }
    if (jit_options_parse(&jit, o->jit_keys, why, sizeof why) && jit_new(pc_cpu(run.pc), &jit, why, sizeof why))
        return;
    snprintf(err, sizeof err, "-accel jit: %s", why);
    die(err);
}

/* ------------------------------------------------------------------ together ----- */
/* Everything that can be checked without leaving a trace. */
static void build(struct options *o)
{
    static const char *dirs[OPTIONS_MAX_DIRS + ARRAY_LEN(default_dirs)];
    char err[ERR_MAX];
    memcpy(dirs, o->dirs, sizeof o->dirs);
    memcpy(dirs + o->dir_count, default_dirs, sizeof default_dirs);
    o->pc.bios_dirs = dirs;
    check_output_file("D", o->log_file);
    check_output_file("pidfile", o->pidfile);
    if (o->pc.kernel_file)
        check_input_file("kernel", o->pc.kernel_file);
    if (o->pc.initrd_file && !strpbrk(o->pc.initrd_file, " ,"))     /* else a Multiboot kernel's list */
        check_input_file("initrd", o->pc.initrd_file);
    open_drives(o);
    new_lines(o);
    u32 log = log_mask;
    log_mask = 0;               /* until -D's file is open */
    run.pc = pc_new(&o->pc, err, sizeof err);
    if (!run.pc || !fwcfg_options_apply(run.pc, o, err, sizeof err))
        die(err);
    start_engine(o);
    log_mask = log;
}

static void open_outside(struct options *o)
{
    char err[ERR_MAX];
    mainloop_catch_signals(tty_continued);
    chardev_set_quit_hook(mainloop_quit);
    monitor_configure(o->name, o->snapshot);
    if (run.monitor)
        monitor_new(run.pc, run.monitor);
    if (run.gdb)
        gdbstub_new(run.pc, run.gdb, o->gdb_arch);
    connect_lines();
    if (o->log_file && !log_to_file(o->log_file, err, sizeof err))
        die(err);
    if (o->pidfile)
        write_pidfile(o->pidfile);
    if (run.monitor && chardev_is_stdio(run.monitor) && !chardev_is_shared(run.monitor) && isatty(STDIN_FILENO))
        monitor_greet(run.monitor);
}

int main(int argc, char **argv)
{
    static struct options o;
    char err[ERR_MAX];

    keep_standard_files();
    if (!options_parse(&o, argc, argv, err, sizeof err))
        die(err);
    if (o.done)
        return fflush(stdout) ? 1 : 0;
    bool on_terminal = nothing_to_boot(&o) && use_builtin_guest(&o);
    int daemon_fd = o.daemonize ? daemonize_begin() : -1;
    mainloop_init();
    if (on_terminal)
        nographic_defaults(&o);
    build(&o);
    open_outside(&o);
    if (o.start_paused)
        pc_pause(run.pc);
    if (!pc_start(run.pc, err, sizeof err))
        die(err);
    if (daemon_fd >= 0)
        daemonize_end(daemon_fd);
    int status = mainloop_run(run.pc, o.no_shutdown);
    clean_up(status);
    return status;
}
