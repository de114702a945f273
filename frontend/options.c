/* options.c - turns argv into struct options: the table of options.def, -h, what does not go together. */
#include "frontend/options_private.h"

#ifndef SHADOW86_VERSION
#define SHADOW86_VERSION "0.1"
#endif

bool option_wrong(struct parse *p, const char *arg, const char *why)
{
    snprintf(p->err, p->errlen, "-%s%s%s: %s", p->option, arg ? " " : "", arg ? arg : "", why);
    return false;
}

bool option_keys(struct parse *p, struct keyvals *k, const char *arg, const char *implied)
{
    char why[200];
    return keyvals_parse(k, arg, implied, why, sizeof why) || option_wrong(p, arg, why);
}

bool option_bool(struct parse *p, struct keyvals *k, const char *arg, const char *key, bool *value)
{
    char why[200];
    return keyvals_get_bool(k, key, value, why, sizeof why) || option_wrong(p, arg, why);
}

bool option_keys_done(struct parse *p, struct keyvals *k)
{
    char option[32];
    snprintf(option, sizeof option, "-%s", p->option);
    return keyvals_all_used(k, option, p->err, p->errlen);
}

void option_ignore(struct keyvals *k, const char *const *keys)
{
    for (; *keys; keys++)
        keyvals_get(k, *keys);
}

bool option_print(struct parse *p, const char *text)
{
    puts(text);
    p->o->done = true;
    return true;
}

struct option { const char *name, *arg; bool (*parse)(struct parse *p, const char *arg); const char *help; };
static const struct option table[] = {
#define GROUP(title) { NULL, NULL, NULL, title },
#define OPT(name, arg, handler, help) { name, arg, opt_##handler, help },
#include "frontend/options.def"
#undef OPT
#undef GROUP
};

static const struct { const char *name; bool takes_arg; const char *instead; } lacking[] = {
#define LACK(name, takes_arg, instead) { name, takes_arg, instead },
#include "frontend/options_lacking.def"
#undef LACK
};

/* Help text of a row, its further lines indented like the first. */
static void print_help_text(const char *help)
{
    for (const char *end; (end = strchr(help, '\n')); help = end + 1)
        printf("        %.*s\n", (int)(end - help), help);
    printf("        %s\n", help);
}

bool opt_help(struct parse *p, const char *arg)
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
    return option_print(p,
        "\nOn a terminal with -nographic or -serial mon:stdio: Ctrl-A X ends, Ctrl-A C switches to the monitor and\n"
        "back, Ctrl-A H shows all keys.\n"
        "\nExit status: 0 when the guest powers off, or is ended by the monitor or a signal; (value << 1) | 1 from\n"
        "isa-debug-exit; 1 if something is wrong with the command line or the host.");
}

bool opt_version(struct parse *p, const char *arg) { return option_print(p, "shadow86 version " SHADOW86_VERSION); }

static const struct option *find_option(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].name && !strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

static bool not_found(struct parse *p, const char *arg, const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(lacking); i++)
        if (!strcmp(lacking[i].name, name)) {
            snprintf(p->err, p->errlen, "-%s: %s", name, lacking[i].instead);
            return false;
        }
    snprintf(p->err, p->errlen, "unknown option %s (-h lists them)", arg);
    return false;
}

static bool says(const char *where, const char *what) { return where && !strncmp(where, what, strlen(what)); }

static bool uses_stdio(const struct options *o)
{
    bool used = says(o->monitor, "stdio") || says(o->debugcon, "stdio") || says(o->gdb, "stdio");
    for (unsigned i = 0; i < o->serial_count; i++)
        used |= says(o->serial[i], "stdio") || says(o->serial[i], "mon:stdio");
    return used || o->nographic;
}

static bool check_combination(struct parse *p)
{
    const struct options *o = p->o;
    const char *why = NULL;
    if (o->pc.initrd_file && !o->pc.kernel_file)
        why = "-initrd needs -kernel";
    else if (o->pc.append && !o->pc.kernel_file)
        why = "-append needs -kernel";
    else if (o->daemonize && uses_stdio(o))
        why = "-daemonize leaves the terminal: -nographic and stdio do not go with it (use file:, unix:, tcp:)";
    if (why)
        snprintf(p->err, p->errlen, "%s", why);
    return !why;
}

static bool parse_one(struct parse *p, int argc, char **argv, int *i)
{
    const char *arg = argv[*i];
    if (arg[0] != '-' || !arg[1]) {
        p->option = "hda";
        return opt_hda(p, arg);
    }
    const char *name = arg + (arg[1] == '-' ? 2 : 1);
    const struct option *opt = find_option(name);
    if (!opt)
        return not_found(p, arg, name);
    p->option = opt->name;
    if (opt->arg && *i + 1 >= argc) {
        snprintf(p->err, p->errlen, "%s needs an argument: %s", arg, opt->arg);
        return false;
    }
    return opt->parse(p, opt->arg ? argv[++*i] : NULL);
}

bool options_parse(struct options *o, int argc, char **argv, char *err, size_t errlen)
{
    struct parse p = { o, NULL, err, errlen };
    memset(o, 0, sizeof *o);
    o->pc.ram_bytes = 512ull << 20;
    o->pc.vga = "std";
    for (int i = 1; i < argc && !o->done; i++)
        if (!parse_one(&p, argc, argv, &i))
            return false;
    if (o->boot_once) {
        o->boot_later = o->pc.boot_order;
        o->pc.boot_order = o->boot_once;
    }
    return o->done || check_combination(&p);
}
