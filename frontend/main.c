/* main.c - shadow86: from the command line to a running machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/log.h"
#include "devices/pc.h"
#include "frontend/builtin.h"
#include "frontend/chardev_host.h"
#include "frontend/mainloop.h"
#include "frontend/monitor.h"
#include "frontend/options.h"

#define ERR_MAX 512

static const char *const default_dirs[] = {
    "/usr/share/seabios", "/usr/share/qemu", "/usr/local/share/qemu", "/usr/share/vgabios", "/usr/local/share/seabios", NULL
};

static struct pc *running;

static void quit_from_terminal(void)
{
    if (running)
        pc_quit(running);
}

static _Noreturn void die(const char *why)
{
    fprintf(stderr, "shadow86: %s\n", why);
    exit(1);
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
        snprintf(err, sizeof err, "%s: %s unit %d is taken already (give another index=)", d->block.file ? d->block.file : "drive",
                 count == 4 ? "IDE" : "floppy", i < 0 ? (int)count - 1 : i);
        die(err);
    }
    slots[i] = (struct pc_drive){ .present = true, .cdrom = d->cdrom };
    d->block.snapshot = (d->snapshot || o->snapshot) && !d->block.readonly;
    if (d->block.file && !(slots[i].block = block_open(&d->block, err, sizeof err)))
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
static struct chardev *open_line(const char *option, const char *spec)
{
    char err[ERR_MAX], why[ERR_MAX - 64];
    struct chardev *c = chardev_open(spec, why, sizeof why);
    if (!c) {
        snprintf(err, sizeof err, "-%s: %s", option, why);
        die(err);
    }
    return c;
}

/* Opens serial ports, debug console and monitor; returns the monitor's stream or NULL. */
static struct chardev *open_lines(struct options *o)
{
    if (o->nographic && !o->serial_count && !(o->monitor && !strcmp(o->monitor, "stdio")))
        o->serial[o->serial_count++] = o->monitor ? "stdio" : "mon:stdio";
    struct chardev *monitor = NULL;
    for (unsigned i = 0; i < o->serial_count; i++) {
        if (!strcmp(o->serial[i], "none"))
            continue;
        o->pc.serial[i] = open_line("serial", o->serial[i]);
        if (chardev_is_shared(o->pc.serial[i]))
            monitor = o->pc.serial[i];
    }
    if (!o->serial_count && !o->nodefaults)
        o->pc.serial[0] = open_line("serial", "null");
    if (o->debugcon)
        o->pc.debugcon = open_line("debugcon", o->debugcon);
    if (o->monitor && strcmp(o->monitor, "none"))
        monitor = open_line("monitor", o->monitor);
    return monitor;
}

/* ------------------------------------------------------------------ what to boot ----- */
static bool nothing_to_boot(const struct options *o)
{
    return !o->drive_count && !o->pc.kernel_file && !o->pc.bios_file && !o->pc.boot_menu;
}

static void use_builtin_guest(struct options *o)
{
    o->pc.kernel_image = builtin_guest;
    o->pc.kernel_image_size = builtin_guest_size;
    if (!o->serial_count && !o->monitor)
        o->nographic = true;
}

static void write_pidfile(const char *file)
{
    char err[ERR_MAX];
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        snprintf(err, sizeof err, "-pidfile %s: %s", file, strerror(errno));
        die(err);
    }
    close(fd);
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
        exit(read(fds[0], &status, 1) == 1 ? status : 1);
    }
    close(fds[0]);
    setsid();
    return fds[1];
}

static void daemonize_end(int fd)
{
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; null >= 0 && i < 3; i++)
        dup2(null, i);
    if (chdir("/") || write(fd, &(u8){ 0 }, 1) != 1) {
        /* the parent is gone: nobody waits for the answer */
    }
    close(fd);
}

int main(int argc, char **argv)
{
    static struct options o;
    static const char *dirs[OPTIONS_MAX_DIRS + ARRAY_LEN(default_dirs)];
    char err[ERR_MAX];

    if (!options_parse(&o, argc, argv, err, sizeof err))
        die(err);
    if (o.done)
        return 0;
    if (o.log_file && !log_to_file(o.log_file, err, sizeof err))
        die(err);
    memcpy(dirs, o.dirs, sizeof o.dirs);
    memcpy(dirs + o.dir_count, default_dirs, sizeof default_dirs);
    o.pc.bios_dirs = dirs;
    if (nothing_to_boot(&o))
        use_builtin_guest(&o);

    int daemon_fd = o.daemonize ? daemonize_begin() : -1;
    mainloop_init();
    open_drives(&o);
    struct chardev *monitor = open_lines(&o);
    chardev_set_quit_hook(quit_from_terminal);
    struct pc *pc = pc_new(&o.pc, err, sizeof err);
    if (!pc)
        die(err);
    running = pc;
    if (monitor)
        monitor_new(pc, monitor);
    if (o.pidfile)
        write_pidfile(o.pidfile);
    mainloop_catch_signals();
    if (o.start_paused)
        pc_pause(pc);
    if (!pc_start(pc, err, sizeof err))
        die(err);
    if (daemon_fd >= 0)
        daemonize_end(daemon_fd);
    int status = mainloop_run(pc, o.no_shutdown);
    running = NULL;
    pc_free(pc);
    if (o.pidfile)
        unlink(o.pidfile);
    return status;
}
