/* options.c - turns argv into struct options. Each row of options.def names its handler opt_<handler>(). */
#include "frontend/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/cpu.h"
#include "cpu/log.h"

#ifndef SHADOW86_VERSION
#define SHADOW86_VERSION "0.1"
#endif

struct parse { struct options *o; const char *option; char *err; size_t errlen; };

static bool wrong(struct parse *p, const char *arg, const char *why)
{
    snprintf(p->err, p->errlen, "-%s %s: %s", p->option, arg, why);
    return false;
}

/* Runs keyvals on arg; on failure err gets the option's name in front. */
static bool keys(struct parse *p, struct keyvals *k, const char *arg, const char *implied)
{
    char why[200];
    return keyvals_parse(k, arg, implied, why, sizeof why) || wrong(p, arg, why);
}

static bool key_bool(struct parse *p, struct keyvals *k, const char *arg, const char *key, bool *value)
{
    char why[200];
    return keyvals_get_bool(k, key, value, why, sizeof why) || wrong(p, arg, why);
}

static bool keys_done(struct parse *p, struct keyvals *k)
{
    char option[32];
    snprintf(option, sizeof option, "-%s", p->option);
    return keyvals_all_used(k, option, p->err, p->errlen);
}

/* ------------------------------------------------------------------ machine ----- */
static bool opt_memory(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!keys(p, &k, arg, "size"))
        return false;
    const char *size = keyvals_get(&k, "size");
    u64 bytes;
    if (!size || !parse_size(size, 1 << 20, &bytes))
        return wrong(p, arg, "not a size (examples: 512, 512M, 2G)");
    if (bytes < 1 << 20 || bytes > 1ull << 38)
        return wrong(p, arg, "guest RAM must be between 1M and 256G");
    if (bytes & ((1 << 20) - 1))
        return wrong(p, arg, "guest RAM must be a whole number of MiB");
    p->o->pc.ram_bytes = bytes;
    return keys_done(p, &k);
}

static void print_line(const char *line, void *ctx) { puts(line); }

static bool opt_cpu(struct parse *p, const char *arg)
{
    if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
        cpu_list_models(print_line, NULL);
        p->o->done = true;
    }
    p->o->pc.cpu_model = arg;
    return true;
}

static bool opt_smp(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!keys(p, &k, arg, "cpus"))
        return false;
    const char *cpus = keyvals_get(&k, "cpus");
    u64 n;
    if (!cpus || !parse_number(cpus, 1, 255, &n))
        return wrong(p, arg, "not a number of CPUs");
    if (n != 1)
        return wrong(p, arg, "this version of shadow86 has one CPU; use -smp 1");
    static const char *const topology[] = { "cores", "threads", "sockets", "maxcpus", "dies" };
    for (unsigned i = 0; i < ARRAY_LEN(topology); i++) {
        const char *v = keyvals_get(&k, topology[i]);
        if (v && strcmp(v, "1"))
            return wrong(p, arg, "this version of shadow86 has one CPU; every count must be 1");
    }
    return keys_done(p, &k);
}

static bool opt_machine(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!keys(p, &k, arg, "type"))
        return false;
    const char *type = keyvals_get(&k, "type"), *accel = keyvals_get(&k, "accel");
    if (type && strcmp(type, "pc") && strncmp(type, "pc-i440fx", 9))
        return wrong(p, arg, "no such machine; there is 'pc' (i440FX + PIIX3)");
    if (accel)
        p->o->accel = accel;
    return keys_done(p, &k);
}

static bool opt_accel(struct parse *p, const char *arg)
{
    if (!strcmp(arg, "kvm"))
        return wrong(p, arg, "shadow86 is pure software and needs no KVM; leave the option out");
    if (!strcmp(arg, "jit") || !strcmp(arg, "check"))
        return wrong(p, arg, "the translator is not part of this version; use -accel interp");
    if (strcmp(arg, "interp") && strcmp(arg, "tcg"))
        return wrong(p, arg, "no such engine; there is 'interp'");
    p->o->accel = arg;
    return true;
}

static bool opt_icount(struct parse *p, const char *arg)
{
    struct keyvals k;
    u64 shift;
    if (!keys(p, &k, arg, "shift"))
        return false;
    const char *s = keyvals_get(&k, "shift");
    if (!s || !parse_number(s, 0, 10, &shift))
        return wrong(p, arg, "must be shift=0 to shift=10 (an instruction takes 2^shift ns)");
    p->o->pc.icount = true;
    p->o->pc.icount_shift = (unsigned)shift;
    return keys_done(p, &k);
}

/* Seconds to add to the host's time so that the guest starts at `date` (UTC). */
static bool rtc_date(const char *date, s64 *offset)
{
    struct tm tm = { 0 };
    const char *end = strptime(date, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end || *end) {
        memset(&tm, 0, sizeof tm);
        end = strptime(date, "%Y-%m-%d", &tm);
    }
    if (!end || *end)
        return false;
    *offset = (s64)timegm(&tm) - (s64)time(NULL);
    return true;
}

static bool opt_rtc(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!keys(p, &k, arg, NULL))
        return false;
    const char *base = keyvals_get(&k, "base"), *clock = keyvals_get(&k, "clock");
    if (base && !strcmp(base, "localtime"))
        p->o->pc.rtc_localtime = true;
    else if (base && strcmp(base, "utc") && !rtc_date(base, &p->o->pc.rtc_offset))
        return wrong(p, arg, "base must be utc, localtime or a date like 2006-06-17T16:01:21");
    if (clock && strcmp(clock, "host") && strcmp(clock, "vm"))
        return wrong(p, arg, "clock must be host or vm");
    return keys_done(p, &k);
}

static bool opt_bios(struct parse *p, const char *arg) { p->o->pc.bios_file = arg; return true; }

static bool opt_dir(struct parse *p, const char *arg)
{
    if (p->o->dir_count + 1 >= OPTIONS_MAX_DIRS)
        return wrong(p, arg, "too many directories");
    p->o->dirs[p->o->dir_count++] = arg;
    return true;
}

static bool opt_name(struct parse *p, const char *arg) { p->o->name = arg; return true; }

static bool opt_vga(struct parse *p, const char *arg)
{
    if (strcmp(arg, "std") && strcmp(arg, "none"))
        return wrong(p, arg, "no such display adapter; there are std and none");
    p->o->pc.vga = arg;
    return true;
}

static bool opt_device(struct parse *p, const char *arg)
{
    struct keyvals k;
    u64 port = 0x501, size = 2;
    if (!keys(p, &k, arg, "driver"))
        return false;
    const char *driver = keyvals_get(&k, "driver"), *base = keyvals_get(&k, "iobase"), *count = keyvals_get(&k, "iosize");
    if (!driver || strcmp(driver, "isa-debug-exit"))
        return wrong(p, arg, "no such device; there is isa-debug-exit");
    if (base && !parse_number(base, 0, 0xffff, &port))
        return wrong(p, arg, "iobase must be a port number, 0 to 0xffff");
    if (count && !parse_number(count, 1, 4, &size))
        return wrong(p, arg, "iosize must be 1 to 4");
    p->o->pc.has_debug_exit = true;
    p->o->pc.debug_exit_port = (u16)port;
    p->o->pc.debug_exit_size = (u16)size;
    return keys_done(p, &k);
}

static bool opt_nodefaults(struct parse *p, const char *arg) { p->o->nodefaults = true; return true; }

/* ------------------------------------------------------------------ disks ----- */
static struct drive_option *new_drive(struct parse *p, const char *arg)
{
    if (p->o->drive_count == OPTIONS_MAX_DRIVES) {
        wrong(p, arg, "too many drives");
        return NULL;
    }
    struct drive_option *d = &p->o->drive[p->o->drive_count++];
    *d = (struct drive_option){ .interface = DRIVE_IDE, .index = -1, .block = { .sector_size = 512 } };
    return d;
}

static bool simple_drive(struct parse *p, const char *file, enum drive_if interface, int index, bool cdrom)
{
    struct drive_option *d = new_drive(p, file);
    if (!d)
        return false;
    d->interface = interface;
    d->index = index;
    d->cdrom = cdrom;
    d->block.file = file;
    d->block.readonly = cdrom;
    d->block.sector_size = cdrom ? 2048 : 512;
    return true;
}

static bool opt_hda(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 0, false); }
static bool opt_hdb(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 1, false); }
static bool opt_hdc(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 2, false); }
static bool opt_hdd(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 3, false); }
static bool opt_cdrom(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 2, true); }
static bool opt_fda(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_FLOPPY, 0, false); }
static bool opt_fdb(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_FLOPPY, 1, false); }

static bool drive_keys(struct parse *p, const char *arg, struct keyvals *k, struct drive_option *d)
{
    const char *interface = keyvals_get(k, "if"), *index = keyvals_get(k, "index"), *media = keyvals_get(k, "media");
    const char *bus = keyvals_get(k, "bus"), *unit = keyvals_get(k, "unit");
    u64 n, m = 0;
    if (interface && !strcmp(interface, "floppy"))
        d->interface = DRIVE_FLOPPY;
    else if (interface && strcmp(interface, "ide"))
        return wrong(p, arg, "if must be ide or floppy");
    if (media && strcmp(media, "disk") && strcmp(media, "cdrom"))
        return wrong(p, arg, "media must be disk or cdrom");
    d->cdrom = media && !strcmp(media, "cdrom");
    if (d->cdrom && d->interface != DRIVE_IDE)
        return wrong(p, arg, "a CD drive is an IDE drive");
    u64 max = d->interface == DRIVE_FLOPPY ? 1 : 3;
    if (index) {
        if (!parse_number(index, 0, max, &n))
            return wrong(p, arg, max == 1 ? "index must be 0 or 1" : "index must be 0 to 3");
        d->index = (int)n;
    } else if (bus || unit) {
        n = 0;
        if ((bus && !parse_number(bus, 0, max / 2, &n)) || (unit && !parse_number(unit, 0, 1, &m)))
            return wrong(p, arg, "no such bus and unit");
        d->index = (int)(n * 2 + m);
    }
    return true;
}

static bool opt_drive(struct parse *p, const char *arg)
{
    struct keyvals k;
    struct drive_option *d = new_drive(p, arg);
    if (!d || !keys(p, &k, arg, NULL) || !drive_keys(p, arg, &k, d))
        return false;
    d->block.file = keyvals_get(&k, "file");
    d->block.format = keyvals_get(&k, "format");
    if (d->block.format && strcmp(d->block.format, "raw"))
        return wrong(p, arg, "this version reads raw images only (convert with: qemu-img convert -O raw)");
    if (!d->block.file && !d->cdrom)
        return wrong(p, arg, "file= is missing");
    bool readonly = d->cdrom;
    if (!key_bool(p, &k, arg, "readonly", &readonly) || !key_bool(p, &k, arg, "read-only", &readonly) ||
        !key_bool(p, &k, arg, "snapshot", &d->snapshot))
        return false;
    d->block.readonly = readonly || d->cdrom;
    d->block.sector_size = d->cdrom ? 2048 : 512;
    /* what QEMU tunes host caching with changes nothing that a guest sees */
    keyvals_get(&k, "id");
    keyvals_get(&k, "cache");
    keyvals_get(&k, "aio");
    return keys_done(p, &k);
}

static bool opt_snapshot(struct parse *p, const char *arg) { p->o->snapshot = true; return true; }

/* ------------------------------------------------------------------ booting ----- */
static bool opt_boot(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!keys(p, &k, arg, "order"))
        return false;
    const char *order = keyvals_get(&k, "order"), *once = keyvals_get(&k, "once");
    const char *splash = keyvals_get(&k, "splash-time");
    if (once)
        order = once;
    if (order && (!*order || order[strspn(order, "abcdn")]))
        return wrong(p, arg, "order takes the letters a (floppy), c (disk), d (CD), n (network)");
    if (order)
        p->o->pc.boot_order = order;
    u64 ms;
    if (splash) {
        if (!parse_number(splash, 0, 60000, &ms))
            return wrong(p, arg, "splash-time must be 0 to 60000 ms");
        p->o->pc.boot_menu_timeout_ms = (unsigned)ms;
    }
    bool strict;
    return key_bool(p, &k, arg, "menu", &p->o->pc.boot_menu) && key_bool(p, &k, arg, "strict", &strict) && keys_done(p, &k);
}

static bool opt_kernel(struct parse *p, const char *arg) { p->o->pc.kernel_file = arg; return true; }
static bool opt_initrd(struct parse *p, const char *arg) { p->o->pc.initrd_file = arg; return true; }
static bool opt_append(struct parse *p, const char *arg) { p->o->pc.append = arg; return true; }

/* ------------------------------------------------------------------ lines, screen, network ----- */
static bool opt_serial(struct parse *p, const char *arg)
{
    if (p->o->serial_count == OPTIONS_MAX_SERIAL)
        return wrong(p, arg, "a PC has four serial ports");
    p->o->serial[p->o->serial_count++] = arg;
    return true;
}

static bool opt_monitor(struct parse *p, const char *arg) { p->o->monitor = arg; return true; }
static bool opt_debugcon(struct parse *p, const char *arg) { p->o->debugcon = arg; return true; }
static bool opt_nographic(struct parse *p, const char *arg) { p->o->nographic = true; return true; }

static bool opt_display(struct parse *p, const char *arg)
{
    if (strcmp(arg, "none"))
        return wrong(p, arg, "this version has no window; use -display none (the monitor's screendump shows the screen)");
    p->o->display = arg;
    return true;
}

static bool opt_nic(struct parse *p, const char *arg)
{
    return !strcmp(arg, "none") || wrong(p, arg, "this version has no network card; use none");
}

/* ------------------------------------------------------------------ running ----- */
static bool opt_paused(struct parse *p, const char *arg) { p->o->start_paused = true; return true; }
static bool opt_no_reboot(struct parse *p, const char *arg) { p->o->pc.no_reboot = true; return true; }
static bool opt_no_shutdown(struct parse *p, const char *arg) { p->o->no_shutdown = true; return true; }
static bool opt_daemonize(struct parse *p, const char *arg) { p->o->daemonize = true; return true; }
static bool opt_pidfile(struct parse *p, const char *arg) { p->o->pidfile = arg; return true; }
static bool opt_log_file(struct parse *p, const char *arg) { p->o->log_file = arg; return true; }

static bool opt_log_items(struct parse *p, const char *arg)
{
    if (!strcmp(arg, "help")) {
        log_help();
        p->o->done = true;
        return true;
    }
    p->o->log_items = arg;
    return log_parse(arg, p->err, p->errlen);
}

static bool opt_version(struct parse *p, const char *arg)
{
    puts("shadow86 version " SHADOW86_VERSION);
    p->o->done = true;
    return true;
}

static bool opt_help(struct parse *p, const char *arg);

struct option { const char *name, *arg; bool (*parse)(struct parse *p, const char *arg); const char *help; };
static const struct option table[] = {
#define GROUP(title) { NULL, NULL, NULL, title },
#define OPT(name, arg, handler, help) { name, arg, opt_##handler, help },
#include "frontend/options.def"
#undef OPT
#undef GROUP
};

/* Help text of a row, its further lines indented like the first. */
static void print_help_text(const char *help)
{
    for (const char *end; (end = strchr(help, '\n')); help = end + 1)
        printf("        %.*s\n", (int)(end - help), help);
    printf("        %s\n", help);
}

static bool opt_help(struct parse *p, const char *arg)
{
    puts("usage: shadow86 [options] [disk image]\n"
         "Boots an x86 PC. Without anything to boot it runs a small guest of its own.");
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        if (!table[i].name) {
            printf("\n%s:\n", table[i].help);
            continue;
        }
        printf("  -%s%s%s\n", table[i].name, table[i].arg ? " " : "", table[i].arg ? table[i].arg : "");
        print_help_text(table[i].help);
    }
    puts("\nOn a terminal with -nographic or -serial mon:stdio: Ctrl-A X ends, Ctrl-A C switches to the monitor and back,\n"
         "Ctrl-A H shows all keys.");
    p->o->done = true;
    return true;
}

static const struct option *find_option(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].name && !strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

static bool check_combination(struct parse *p)
{
    struct options *o = p->o;
    if (o->pc.initrd_file && !o->pc.kernel_file)
        return snprintf(p->err, p->errlen, "-initrd needs -kernel"), false;
    if (o->pc.append && !o->pc.kernel_file)
        return snprintf(p->err, p->errlen, "-append needs -kernel"), false;
    if (o->daemonize && o->nographic)
        return snprintf(p->err, p->errlen, "-daemonize and -nographic exclude each other: use -display none"), false;
    return true;
}

bool options_parse(struct options *o, int argc, char **argv, char *err, size_t errlen)
{
    struct parse p = { o, NULL, err, errlen };
    memset(o, 0, sizeof *o);
    o->pc.ram_bytes = 512ull << 20;
    o->pc.vga = "std";
    for (int i = 1; i < argc && !o->done; i++) {
        const char *arg = argv[i];
        if (arg[0] != '-' || !arg[1]) {
            p.option = "hda";
            if (!opt_hda(&p, arg))
                return false;
            continue;
        }
        const struct option *opt = find_option(arg + (arg[1] == '-' ? 2 : 1));
        if (!opt) {
            snprintf(err, errlen, "unknown option %s (-h lists them)", arg);
            return false;
        }
        p.option = opt->name;
        if (opt->arg && i + 1 >= argc) {
            snprintf(err, errlen, "%s needs an argument: %s", arg, opt->arg);
            return false;
        }
        if (!opt->parse(&p, opt->arg ? argv[++i] : NULL))
            return false;
    }
    return o->done || check_combination(&p);
}
