/* options.h - the command line: options.def's rows, parsed into struct options. */
#ifndef SHADOW86_OPTIONS_H
#define SHADOW86_OPTIONS_H

#include "devices/pc.h"
#include "jit/jit.h"

#define OPTIONS_MAX_DRIVES 8
#define OPTIONS_MAX_SERIAL PC_MAX_SERIAL
#define OPTIONS_MAX_DIRS 16
#define OPTIONS_MAX_FW_CFG 16
#define OPTIONS_MIN_RAM (2ull << 20)        /* with less, SeaBIOS has no room to unpack itself */
#define OPTIONS_MAX_RAM (1ull << 38)

enum drive_if { DRIVE_IDE, DRIVE_FLOPPY };

struct drive_option {
    const char *option;         /* "hda": for messages */
    enum drive_if interface;
    int index;                  /* unit on its interface: IDE 0..3, floppy 0..1; -1: the next free one */
    bool cdrom;
    bool snapshot;
    struct block_options block; /* block.file NULL: no medium */
};

struct fw_cfg_option { const char *name, *file, *text; };       /* contents: of a file, or the text */

struct options {
    struct pc_config pc;                /* what maps one to one; drives and character devices are opened later */
    struct drive_option drive[OPTIONS_MAX_DRIVES];
    unsigned drive_count;
    const char *serial[OPTIONS_MAX_SERIAL];
    unsigned serial_count;              /* -serial given so many times */
    const char *monitor;                /* NULL: the default */
    const char *debugcon;
    enum engine { ENGINE_JIT, ENGINE_INTERP } engine;
    char jit_keys[1024];                /* "key=value,..." for jit_options_parse, which accepts them */
    bool snapshot;
    bool nographic;
    bool nodefaults;
    bool start_paused;
    bool no_shutdown;
    bool daemonize;
    const char *boot_once, *boot_later; /* boot order until the first reset (in pc.boot_order then), and after it */
    struct fw_cfg_option fw_cfg[OPTIONS_MAX_FW_CFG];
    unsigned fw_cfg_count;
    const char *gdb;                    /* where to listen, NULL: not */
    const char *gdb_arch;               /* "x86-64", "i386", NULL: by the guest's mode */
    const char *name, *pidfile, *log_file;
    bool done;                          /* -h, -version and the like have printed: exit with status 0 */
    const char *dirs[OPTIONS_MAX_DIRS];
    unsigned dir_count;
};

/* False and one line in err if something is wrong. Strings point into argv or are never freed. */
bool options_parse(struct options *o, int argc, char **argv, char *err, size_t errlen);

/* keyvals.c: "first,key=value,flag,..." with ",," for a comma inside a value. */
#define KEYVALS_MAX 32
struct keyvals { unsigned count; struct { char *key; char *value; bool used; } at[KEYVALS_MAX]; };
/* implied: the key of a first word without '='; other words without '=' get the value "on". */
bool keyvals_parse(struct keyvals *k, const char *text, const char *implied, char *err, size_t errlen);
const char *keyvals_get(struct keyvals *k, const char *key);        /* the last one wins; NULL if absent */
/* "on/off/yes/no/true/false" */
bool keyvals_get_bool(struct keyvals *k, const char *key, bool *value, char *err, size_t errlen);
/* False and a line that names the first key nobody asked for; option: "-drive". */
bool keyvals_all_used(const struct keyvals *k, const char *option, char *err, size_t errlen);
/* "512", "512M", "1.5G": bytes; unit multiplies a plain number. */
bool parse_size(const char *text, u64 unit, u64 *bytes);
bool parse_number(const char *text, u64 min, u64 max, u64 *value);     /* decimal, 0x.. */

#endif
