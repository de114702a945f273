/* options_drives.c - options about drives and what is booted. */
#include "frontend/options_private.h"

static struct drive_option *new_drive(struct parse *p, const char *arg)
{
    if (p->o->drive_count == OPTIONS_MAX_DRIVES) {
        option_wrong(p, arg, "too many drives: a PC has four IDE drives and two floppy drives");
        return NULL;
    }
    struct drive_option *d = &p->o->drive[p->o->drive_count++];
    *d = (struct drive_option){ .option = p->option, .index = -1, .block = { .sector_size = 512 } };
    return d;
}

static bool simple_drive(struct parse *p, const char *file, enum drive_if interface, int index, bool cdrom)
{
    struct drive_option *d = new_drive(p, file);
    if (!d)
        return false;
    if (!*file)
        return option_wrong(p, "''", "the name of the image is missing");
    d->interface = interface;
    d->index = index;
    d->cdrom = cdrom;
    d->block.file = file;
    d->block.readonly = cdrom;
    d->block.sector_size = cdrom ? 2048 : 512;
    return true;
}

bool opt_hda(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 0, false); }
bool opt_hdb(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 1, false); }
bool opt_hdc(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 2, false); }
bool opt_hdd(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 3, false); }
bool opt_cdrom(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_IDE, 2, true); }
bool opt_fda(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_FLOPPY, 0, false); }
bool opt_fdb(struct parse *p, const char *arg) { return simple_drive(p, arg, DRIVE_FLOPPY, 1, false); }

static bool drive_kind(struct parse *p, const char *arg, struct keyvals *k, struct drive_option *d)
{
    const char *interface = keyvals_get(k, "if"), *media = keyvals_get(k, "media");
    if (interface && !strcmp(interface, "floppy"))
        d->interface = DRIVE_FLOPPY;
    else if (interface && strcmp(interface, "ide"))
        return option_wrong(p, arg, "this version has IDE and floppy drives only (if=ide, if=floppy)");
    if (media && strcmp(media, "disk") && strcmp(media, "cdrom"))
        return option_wrong(p, arg, "media must be disk or cdrom");
    d->cdrom = media && !strcmp(media, "cdrom");
    return !d->cdrom || d->interface == DRIVE_IDE || option_wrong(p, arg, "a CD drive is an IDE drive");
}

static bool drive_place(struct parse *p, const char *arg, struct keyvals *k, struct drive_option *d)
{
    const char *index = keyvals_get(k, "index"), *bus = keyvals_get(k, "bus"), *unit = keyvals_get(k, "unit");
    u64 n = 0, m = 0, max = d->interface == DRIVE_FLOPPY ? 1 : 3;
    if (index) {
        if (!parse_number(index, 0, max, &n))
            return option_wrong(p, arg, max == 1 ? "index must be 0 or 1" : "index must be 0 to 3");
        d->index = (int)n;
    } else if (bus || unit) {
        if ((bus && !parse_number(bus, 0, max / 2, &n)) || (unit && !parse_number(unit, 0, 1, &m)))
            return option_wrong(p, arg, "no such bus and unit");
        d->index = (int)(n * 2 + m);
    }
    return true;
}

bool opt_drive(struct parse *p, const char *arg)
{
    static const char *const tuning[] = { "id", "cache", "aio", "discard", "detect-zeroes", NULL };
    struct keyvals k;
    struct drive_option *d = new_drive(p, arg);
    if (!d || !option_keys(p, &k, arg, NULL) || !drive_kind(p, arg, &k, d) || !drive_place(p, arg, &k, d))
        return false;
    d->block.file = keyvals_get(&k, "file");
    d->block.format = keyvals_get(&k, "format");
    if (d->block.format && strcmp(d->block.format, "raw"))
        return option_wrong(p, arg, "this version reads raw images only (convert with: qemu-img convert -O raw)");
    if ((!d->block.file || !*d->block.file) && !d->cdrom)
        return option_wrong(p, arg, "file= is missing");
    if (d->block.file && !*d->block.file)
        d->block.file = NULL;           /* an empty CD drive */
    d->block.readonly = d->cdrom;
    if (!option_bool(p, &k, arg, "readonly", &d->block.readonly) ||
        !option_bool(p, &k, arg, "read-only", &d->block.readonly) || !option_bool(p, &k, arg, "snapshot", &d->snapshot))
        return false;
    d->block.readonly |= d->cdrom;
    d->block.sector_size = d->cdrom ? 2048 : 512;
    option_ignore(&k, tuning);
    return option_keys_done(p, &k);
}

bool opt_snapshot(struct parse *p, const char *arg) { p->o->snapshot = true; return true; }

/* ------------------------------------------------------------------ booting ----- */
static bool boot_letters(struct parse *p, const char *arg, const char *letters, const char **order)
{
    if (!letters)
        return true;
    if (!*letters || letters[strspn(letters, "abcdn")])
        return option_wrong(p, arg, "order takes the letters a (floppy), c (disk), d (CD), n (network)");
    for (const char *l = letters; *l; l++)
        if (strchr(l + 1, *l))
            return option_wrong(p, arg, "a letter stands there twice");
    *order = letters;
    return true;
}

bool opt_boot(struct parse *p, const char *arg)
{
    struct keyvals k;
    bool strict = false;
    u64 ms;
    if (!option_keys(p, &k, arg, "order") || !boot_letters(p, arg, keyvals_get(&k, "order"), &p->o->pc.boot_order) ||
        !boot_letters(p, arg, keyvals_get(&k, "once"), &p->o->boot_once) ||
        !option_bool(p, &k, arg, "menu", &p->o->pc.boot_menu) || !option_bool(p, &k, arg, "strict", &strict))
        return false;
    const char *splash = keyvals_get(&k, "splash-time");
    if (splash) {
        if (!parse_number(splash, 0, 60000, &ms))
            return option_wrong(p, arg, "splash-time must be 0 to 60000 ms");
        p->o->pc.boot_menu_timeout_ms = (unsigned)ms;
    }
    return option_keys_done(p, &k);
}

bool opt_kernel(struct parse *p, const char *arg) { p->o->pc.kernel_file = arg; return true; }
bool opt_initrd(struct parse *p, const char *arg) { p->o->pc.initrd_file = arg; return true; }
bool opt_append(struct parse *p, const char *arg) { p->o->pc.append = arg; return true; }
