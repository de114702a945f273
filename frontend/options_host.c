/* options_host.c - options about the host's side: lines, screen, network, running and debugging. */
#include "cpu/log.h"
#include "frontend/options_private.h"

bool opt_serial(struct parse *p, const char *arg)
{
    if (p->o->serial_count == OPTIONS_MAX_SERIAL)
        return option_wrong(p, arg, "a PC has four serial ports");
    p->o->serial[p->o->serial_count++] = arg;
    return true;
}

bool opt_monitor(struct parse *p, const char *arg) { p->o->monitor = arg; return true; }
bool opt_debugcon(struct parse *p, const char *arg) { p->o->debugcon = arg; return true; }
bool opt_nographic(struct parse *p, const char *arg) { p->o->nographic = true; return true; }
bool opt_keyboard(struct parse *p, const char *arg) { return true; }

bool opt_parallel(struct parse *p, const char *arg)
{
    return !strcmp(arg, "none") || option_wrong(p, arg, "this version has no parallel port; use none");
}

bool opt_display(struct parse *p, const char *arg)
{
    return !strcmp(arg, "none") ||
           option_wrong(p, arg, "this version has no window; use none (the monitor's screendump saves the screen)");
}

bool opt_audiodev(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!option_keys(p, &k, arg, "driver"))
        return false;
    const char *driver = keyvals_get(&k, "driver");
    keyvals_get(&k, "id");
    return driver && !strcmp(driver, "none") ? option_keys_done(p, &k)
                                             : option_wrong(p, arg, "this version has no sound card; use none");
}

bool opt_nic(struct parse *p, const char *arg)
{
    return !strcmp(arg, "none") || option_wrong(p, arg, "this version has no network card; use none");
}

/* ------------------------------------------------------------------ running ----- */
bool opt_paused(struct parse *p, const char *arg) { p->o->start_paused = true; return true; }
bool opt_no_reboot(struct parse *p, const char *arg) { p->o->pc.no_reboot = true; return true; }
bool opt_no_shutdown(struct parse *p, const char *arg) { p->o->no_shutdown = true; return true; }
bool opt_daemonize(struct parse *p, const char *arg) { p->o->daemonize = true; return true; }
bool opt_pidfile(struct parse *p, const char *arg) { p->o->pidfile = arg; return true; }
bool opt_log_file(struct parse *p, const char *arg) { p->o->log_file = arg; return true; }
bool opt_nothing(struct parse *p, const char *arg) { return true; }

/* The part "arch=" is ours, the rest is the specification of a character device. */
bool opt_gdb(struct parse *p, const char *arg)
{
    char *copy = strdup(arg), *arch = strstr(copy, ",arch=");
    p->o->gdb = copy;
    p->o->gdb_arch = NULL;
    if (!arch)
        return true;
    char *value = arch + strlen(",arch="), *end = value + strcspn(value, ",");
    p->o->gdb_arch = strndup(value, (size_t)(end - value));
    memmove(arch, end, strlen(end) + 1);
    return !strcmp(p->o->gdb_arch, "x86-64") || !strcmp(p->o->gdb_arch, "i386") ||
           option_wrong(p, arg, "arch must be x86-64 or i386");
}

bool opt_gdb_default(struct parse *p, const char *arg) { p->o->gdb = "tcp::1234"; return true; }

bool opt_log_items(struct parse *p, const char *arg)
{
    if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
        log_help();
        p->o->done = true;
        return true;
    }
    return log_parse(arg, p->err, p->errlen);
}
