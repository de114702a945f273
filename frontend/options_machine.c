/* options_machine.c - options about the machine: memory, CPU, engine, clock, firmware, devices. */
#include <dirent.h>
#include <errno.h>
#include <time.h>

#include "cpu/cpu.h"
#include "devices/fw_cfg.h"
#include "frontend/options_private.h"

bool opt_memory(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!option_keys(p, &k, arg, "size"))
        return false;
    const char *size = keyvals_get(&k, "size");
    u64 bytes;
    if (!size || !parse_size(size, 1 << 20, &bytes))
        return option_wrong(p, arg, "not a size (examples: 512, 512M, 2G)");
    if (bytes < OPTIONS_MIN_RAM || bytes > OPTIONS_MAX_RAM)
        return option_wrong(p, arg, "guest RAM must be between 2M, which the BIOS needs, and 256G");
    if (bytes & ((1 << 20) - 1))
        return option_wrong(p, arg, "guest RAM must be a whole number of MiB");
    p->o->pc.ram_bytes = bytes;
    return option_keys_done(p, &k);
}

static void print_line(const char *line, void *ctx) { puts(line); }

bool opt_cpu(struct parse *p, const char *arg)
{
    if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
        cpu_list_models(print_line, NULL);
        p->o->done = true;
    }
    p->o->pc.cpu_model = arg;
    return true;
}

bool opt_smp(struct parse *p, const char *arg)
{
    static const char *const topology[] = { "cores", "threads", "sockets", "maxcpus", "dies", "clusters" };
    struct keyvals k;
    if (!option_keys(p, &k, arg, "cpus"))
        return false;
    const char *cpus = keyvals_get(&k, "cpus");
    u64 n;
    if (cpus && !parse_number(cpus, 1, 4096, &n))
        return option_wrong(p, arg, "not a number of CPUs");
    for (unsigned i = 0; i < ARRAY_LEN(topology); i++) {
        const char *v = keyvals_get(&k, topology[i]);
        if (v && !parse_number(v, 1, 4096, &n))
            return option_wrong(p, arg, "not a number of CPUs");
        if ((v && n != 1) || (cpus && strtoul(cpus, NULL, 0) != 1))
            return option_wrong(p, arg, "this version of shadow86 has one CPU: use -smp 1, or leave the option out");
    }
    return option_keys_done(p, &k);
}

/* ------------------------------------------------------------------ machine and engine ----- */
static bool accel_help(struct parse *p)
{
    puts("jit      the translator ('tcg' means the best there is, this one)\n"
         "check    the translator, with the interpreter in lockstep: stops at the first difference\n"
         "interp   the reference interpreter\n"
         "Keys of -accel jit,KEY=VALUE and -jit KEY=VALUE:");
    jit_options_help(stdout);
    p->o->done = true;
    return true;
}

/* Adds "key=value" for the translator; the keys are checked when all are known. */
static bool add_jit_key(struct parse *p, const char *key, const char *value)
{
    char *keys = p->o->jit_keys;
    size_t used = strlen(keys), room = sizeof p->o->jit_keys - used;
    struct jit_options tried;
    char why[200];
    if (strchr(value, ','))
        return option_wrong(p, value, "a comma is not possible here");
    if (snprintf(keys + used, room, "%s%s=%s", used ? "," : "", key, value) >= (int)room)
        return option_wrong(p, value, "too many keys");
    return jit_options_parse(&tried, keys, why, sizeof why) || option_wrong(p, NULL, why);
}

static bool set_accel(struct parse *p, const char *arg, const char *name)
{
    if (!strcmp(name, "help"))
        return accel_help(p);
    if (!strcmp(name, "kvm") || !strcmp(name, "xen") || !strcmp(name, "hvf") || !strcmp(name, "whpx"))
        return option_wrong(p, arg, "shadow86 is pure software and uses no virtualization; leave the option out");
    if (!strcmp(name, "check")) {
        p->o->engine = ENGINE_JIT;
        return add_jit_key(p, "check", "on");
    }
    if (strcmp(name, "interp") && strcmp(name, "tcg") && strcmp(name, "jit"))
        return option_wrong(p, arg, "no such engine; there are jit, check and interp");
    p->o->engine = strcmp(name, "interp") ? ENGINE_JIT : ENGINE_INTERP;
    return true;
}

/* The keys that nobody has asked for are the translator's. */
static bool jit_keys(struct parse *p, struct keyvals *k)
{
    for (unsigned i = 0; i < k->count; i++) {
        if (!k->at[i].used && !add_jit_key(p, k->at[i].key, k->at[i].value))
            return false;
        k->at[i].used = true;
    }
    return true;
}

bool opt_accel(struct parse *p, const char *arg)
{
    static const char *const tuning[] = { "thread", "tb-size", "split-wx", "one-insn-per-tb", NULL };
    struct keyvals k;
    if (!option_keys(p, &k, arg, "accel"))
        return false;
    const char *name = keyvals_get(&k, "accel");
    option_ignore(&k, tuning);
    return set_accel(p, arg, name ? name : "") && (p->o->engine != ENGINE_JIT || jit_keys(p, &k)) && option_keys_done(p, &k);
}

bool opt_jit(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!strcmp(arg, "help"))
        return accel_help(p);
    return option_keys(p, &k, arg, NULL) && jit_keys(p, &k);
}

/* accel=kvm:tcg names several, the first that is there is taken. */
static bool machine_accel(struct parse *p, const char *arg, const char *list)
{
    if (!list)
        return true;
    if (!strncmp(list, "kvm:", 4))
        list += 4;
    return set_accel(p, arg, list);
}

/* Properties that can only be off (or on) here. */
static bool machine_property(struct parse *p, struct keyvals *k, const char *arg, const char *key, bool only)
{
    bool v = only;
    return option_bool(p, k, arg, key, &v) &&
           (v == only || option_wrong(p, arg, only ? "the machine always has that in this version"
                                                   : "the machine does not have that in this version"));
}

bool opt_machine(struct parse *p, const char *arg)
{
    static const char *const tuning[] = { "dump-guest-core", "mem-merge", "graphics", "kernel-irqchip", NULL };
    struct keyvals k;
    if (!option_keys(p, &k, arg, "type"))
        return false;
    const char *type = keyvals_get(&k, "type");
    if (type && !strcmp(type, "help"))
        return option_print(p, "pc       i440FX + PIIX3 (default)");
    if (type && strcmp(type, "pc") && strncmp(type, "pc-i440fx", 9))
        return option_wrong(p, arg, "no such machine in this version; there is 'pc' (i440FX + PIIX3)");
    option_ignore(&k, tuning);
    return machine_accel(p, arg, keyvals_get(&k, "accel")) && machine_property(p, &k, arg, "usb", false) &&
           machine_property(p, &k, arg, "vmport", false) && machine_property(p, &k, arg, "hpet", true) &&
           machine_property(p, &k, arg, "acpi", true) && machine_property(p, &k, arg, "pit", true) &&
           option_keys_done(p, &k);
}

bool opt_icount(struct parse *p, const char *arg)
{
    struct keyvals k;
    u64 shift;
    bool align = false, sleep = false;
    if (!option_keys(p, &k, arg, "shift"))
        return false;
    const char *s = keyvals_get(&k, "shift");
    if (!s || !parse_number(s, 0, 10, &shift))
        return option_wrong(p, arg, "must be shift=0 to shift=10 (an instruction takes 2^shift ns)");
    if (!option_bool(p, &k, arg, "align", &align) || !option_bool(p, &k, arg, "sleep", &sleep))
        return false;
    if (align || sleep)
        return option_wrong(p, arg, "idle time is always skipped (sleep=off, align=off)");
    p->o->pc.icount = true;
    p->o->pc.icount_shift = (unsigned)shift;
    return option_keys_done(p, &k);
}

/* ------------------------------------------------------------------ clock ----- */
/* Seconds to add to the host's time so that the guest starts at `date` (UTC). */
static bool rtc_date(const char *date, s64 *offset)
{
    static const char *const formats[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d" };
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        struct tm tm = { 0 };
        const char *end = strptime(date, formats[i], &tm);
        if (end && !*end) {
            *offset = (s64)timegm(&tm) - (s64)time(NULL);
            return true;
        }
    }
    return false;
}

bool opt_rtc(struct parse *p, const char *arg)
{
    static const char *const tuning[] = { "driftfix", NULL };
    struct keyvals k;
    if (!option_keys(p, &k, arg, NULL))
        return false;
    const char *base = keyvals_get(&k, "base"), *clock = keyvals_get(&k, "clock");
    p->o->pc.rtc_localtime = base && !strcmp(base, "localtime");
    if (base && !p->o->pc.rtc_localtime && strcmp(base, "utc") && !rtc_date(base, &p->o->pc.rtc_offset))
        return option_wrong(p, arg, "base must be utc, localtime or a date like 2006-06-17T16:01:21");
    if (clock && strcmp(clock, "host") && strcmp(clock, "vm") && strcmp(clock, "rt"))
        return option_wrong(p, arg, "clock must be host or vm");
    option_ignore(&k, tuning);
    return option_keys_done(p, &k);
}

/* ------------------------------------------------------------------ firmware ----- */
bool opt_bios(struct parse *p, const char *arg) { p->o->pc.bios_file = arg; return true; }

bool opt_dir(struct parse *p, const char *arg)
{
    DIR *dir = opendir(arg);
    if (!dir)
        return option_wrong(p, arg, strerror(errno));
    closedir(dir);
    if (p->o->dir_count + 1 >= OPTIONS_MAX_DIRS)
        return option_wrong(p, arg, "too many directories");
    p->o->dirs[p->o->dir_count++] = arg;
    return true;
}

bool opt_fw_cfg(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!option_keys(p, &k, arg, "name"))
        return false;
    const char *name = keyvals_get(&k, "name"), *file = keyvals_get(&k, "file"), *text = keyvals_get(&k, "string");
    if (!name || !*name || !file == !text)
        return option_wrong(p, arg, "must be name=NAME with either file=FILE or string=TEXT");
    if (strlen(name) > FW_CFG_MAX_NAME)
        return option_wrong(p, arg, "the name is longer than 55 characters");
    if (p->o->fw_cfg_count == OPTIONS_MAX_FW_CFG)
        return option_wrong(p, arg, "too many of these");
    p->o->fw_cfg[p->o->fw_cfg_count++] = (struct fw_cfg_option){ name, file, text };
    return option_keys_done(p, &k);
}

/* ------------------------------------------------------------------ the rest ----- */
bool opt_name(struct parse *p, const char *arg)
{
    static const char *const tuning[] = { "process", "debug-threads", NULL };
    struct keyvals k;
    if (!option_keys(p, &k, arg, "guest"))
        return false;
    p->o->name = keyvals_get(&k, "guest");
    option_ignore(&k, tuning);
    return option_keys_done(p, &k);
}

bool opt_vga(struct parse *p, const char *arg)
{
    if (!strcmp(arg, "help"))
        return option_print(p, "std      standard VGA with Bochs VBE (default)\nnone     no display adapter");
    if (strcmp(arg, "std") && strcmp(arg, "none"))
        return option_wrong(p, arg, "no such display adapter in this version; there are std and none");
    p->o->pc.vga = arg;
    return true;
}

bool opt_device(struct parse *p, const char *arg)
{
    struct keyvals k;
    if (!option_keys(p, &k, arg, "driver"))
        return false;
    const char *driver = keyvals_get(&k, "driver"), *base = keyvals_get(&k, "iobase");
    const char *length = keyvals_get(&k, "iosize");
    if (driver && !strcmp(driver, "help"))
        return option_print(p, "isa-debug-exit   iobase=0x501,iosize=2: ends the run with status (value << 1) | 1");
    if (!driver || strcmp(driver, "isa-debug-exit"))
        return option_wrong(p, arg, "no such device in this version; there is isa-debug-exit (drives: -drive)");
    u64 port = 0x501, size = 2;
    if (base && !parse_number(base, 1, 0xfffc, &port))
        return option_wrong(p, arg, "iobase must be a port (0x501)");
    if (length && !parse_number(length, 1, 4, &size))
        return option_wrong(p, arg, "iosize must be 1 to 4");
    p->o->pc.has_debug_exit = true;
    p->o->pc.debug_exit_port = (u16)port;
    p->o->pc.debug_exit_size = (u16)size;
    keyvals_get(&k, "id");
    return option_keys_done(p, &k);
}

bool opt_nodefaults(struct parse *p, const char *arg) { p->o->nodefaults = true; return true; }
