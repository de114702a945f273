/* native_diff.c - `native-diff`: the interpreter against the host CPU, instruction by instruction. native.h tells how.
 *
 * For every row of insn.def, in every mode, a number of cases; then as many of bytes at random, of which what we take
 * for no instruction has to be none on the host. Exit status: 0 all equal, 1 differences, 2 bad options, 77 this host
 * cannot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/insn_table.h"
#include "tests/native/native.h"

static struct options {
    unsigned modes;   /* bit set of 2, 4, 8 */
    const char *only;  /* comma-separated mnemonics or groups */
    const char *accel; /* NULL: the interpreter */
    u64 seed, cases;
    bool list, all, one;
    unsigned row;
    u64 number;
} options = { .modes = 2 | 4 | 8, .cases = 1000, .seed = 1 };

static const char usage[] =
    "native-diff: runs instructions on the host CPU and in the interpreter and compares everything.\n"
    "  -mode 64|32|16     only this code size\n"
    "  -only NAMES        only these mnemonics or groups (integer, x87, mmx, sse, avx, any), separated by commas\n"
    "  -seed N            other random cases (default 1)\n"
    "  -cases N           cases per row of insn.def and mode (default 1000); 0: until a difference or Ctrl-C\n"
    "  -case ROW:NUMBER   just this case, as printed with a difference; needs -mode\n"
    "  -all               go on after a difference: the first one of each mnemonic\n"
    "  -accel jit[,KEYS]  the translator in place of the interpreter\n"
    "  -list              what would run, and what not for which reason\n"
    "  -rules             what is not compared, and why\n"
    "  -h                 this text\n";

static void fail(const char *what, const char *arg)
{
    fprintf(stderr, "native-diff: %s%s%s (-h explains the options)\n", what, arg ? ": " : "", arg ? arg : "");
    exit(2);
}

static u64 number(const char *s, const char *option)
{
    char *end;
    const u64 v = s ? strtoull(s, &end, 0) : 0;
    if (!s || !*s || *end)
        fail("bad number for", option);
    return v;
}

static void parse_case(const char *s)
{
    unsigned long long n = 0;
    char junk;
    if (!s || sscanf(s, "%u:%llu%c", &options.row, &n, &junk) != 2 ||
        (options.row >= insn_row_count && options.row != ANY_ROW))
        fail("bad case", s);
    options.number = n;
    options.one = true;
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(o, "-list")) {
            options.list = true;
        } else if (!strcmp(o, "-all")) {
            options.all = true;
        } else if (!strcmp(o, "-rules")) {
            rules_list();
            exit(0);
        } else if (!strcmp(o, "-h")) {
            fputs(usage, stdout);
            exit(0);
        } else if (i++, !strcmp(o, "-mode")) {
            const u64 bits = number(v, o);
            if (bits != 64 && bits != 32 && bits != 16)
                fail("no such mode", v);
            options.modes = (unsigned)bits / 8;
        } else if (!strcmp(o, "-only") && v) {
            options.only = v;
        } else if (!strcmp(o, "-seed")) {
            options.seed = number(v, o);
        } else if (!strcmp(o, "-cases")) {
            options.cases = number(v, o);
        } else if (!strcmp(o, "-accel") && v) {
            if (strcmp(v, "interp") && strncmp(v, "jit", 3))
                fail("no such engine", v);
            options.accel = *v == 'j' ? v + 3 + (v[3] == ',') : NULL;
        } else if (!strcmp(o, "-case")) {
            parse_case(v);
        } else {
            fail("unknown or incomplete option", o);
        }
    }
    if (options.one && (options.modes & (options.modes - 1)))
        fail("-case needs -mode", NULL);
}

/* --- what runs ------------------------------------------------------------------------------------------------------
 */

static const char *group_of(unsigned row)
{
    if (row == ANY_ROW)
        return "any";
    const u32 attr = insn_rows[row].attr;
    return attr & ATTR_X87   ? "x87"
           : attr & ATTR_SSE ? attr & ATTR_VEXONLY ? "avx" : "sse"
           : attr & ATTR_MMX ? "mmx"
                             : "integer";
}

static bool wanted_name(const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = options.only; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (!strncmp(p, name, n) && (p[n] == ',' || !p[n]))
            return true;
    return false;
}

static bool wanted(unsigned row)
{
    return !options.only || wanted_name(group_of(row)) || (row != ANY_ROW && wanted_name(insn_rows[row].name));
}

/* Why a row does not run in a mode; NULL if it does. */
static const char *row_missing(unsigned row, unsigned mode)
{
    const struct insn_row *r = &insn_rows[row];
    if (r->attr & (mode == 8 ? ATTR_NO64 : ATTR_ONLY64))
        return "not in this mode";
    if (!rules_host_runs(row, r->attr & ATTR_VEXONLY, insn_encodings[row].vex & VEX_128 ? 16 : 32))
        return "the host lacks the feature";
    return rules_not_run(r->name);
}

static void list(void)
{
    for (unsigned mode = 8; mode >= 2; mode /= 2) {
        for (unsigned row = 0; row < insn_row_count; row++) {
            const char *why = row_missing(row, mode);
            if (options.modes & mode && wanted(row))
                printf("%u-bit %-8s %6x %-16s %s\n", mode * 8, group_of(row), insn_encodings[row].opcode,
                       insn_rows[row].name, why ? why : "runs");
        }
    }
}

/* --- running --------------------------------------------------------------------------------------------------------
 */

static struct totals {
    u64 cases, rows, missing, different;
} totals;
static u8 shown[4096]; /* by row: a difference has been printed */

static unsigned first_row(unsigned row) /* the first one with the same mnemonic */
{
    for (unsigned i = 0; i < row; i++)
        if (!strcmp(insn_rows[i].name, insn_rows[row].name))
            return i;
    return row;
}

static void note_difference(const struct test_case *t)
{
    totals.different++;
    if (!options.all)
        exit(1);
    if (t->status == DECODE_OK)
        shown[first_row(t->in.row) & 4095] = 1;
}

static bool already_shown(const struct test_case *t)
{
    return t->status == DECODE_OK && options.all && totals.different && shown[first_row(t->in.row) & 4095];
}

/* Returns the number of cases that were run. */
static u64 run_row(unsigned row, unsigned mode, u64 from, u64 count)
{
    struct test_case t = { .mode = mode, .row = row };
    u64 done = 0;
    for (u64 tries = 0; done < count && tries < 20 * count; tries++) {
        t.number = from + tries;
        if (!case_make(&t, guest_cpu->model.features))
            continue;
        done++;
        if (!case_run(&t, !already_shown(&t)))
            note_difference(&t);
    }
    totals.cases += done;
    return done;
}

static void run_mode(unsigned mode, u64 from, u64 count)
{
    for (unsigned row = 0; row < insn_row_count; row++) {
        if (!wanted(row))
            continue;
        if (row_missing(row, mode))
            totals.missing +=
                !rules_not_run(insn_rows[row].name) && strcmp(row_missing(row, mode), "not in this mode") != 0;
        else if (run_row(row, mode, from, count))
            totals.rows++;
        else
            totals.missing++;
    }
    if (wanted(ANY_ROW))
        run_row(ANY_ROW, mode, from, 100 * count);
}

static void run_all(u64 from, u64 count)
{
    for (unsigned mode = 8; mode >= 2; mode /= 2) {
        if (!(options.modes & mode))
            continue;
        const char *missing = host_mode_missing(mode);
        const struct totals before = totals;
        if (missing) {
            printf("%u-bit: skipped: %s\n", mode * 8, missing);
            continue;
        }
        run_mode(mode, from, count);
        if (options.cases)
            printf("%u-bit: %llu cases of %llu rows, %llu rows not run, %llu cases differ\n", mode * 8,
                   (unsigned long long)(totals.cases - before.cases), (unsigned long long)(totals.rows - before.rows),
                   (unsigned long long)(totals.missing - before.missing),
                   (unsigned long long)(totals.different - before.different));
    }
}

/* Until a difference or Ctrl-C. */
static void run_on(u64 from)
{
    for (u64 n = 0; !totals.different || options.all; n += 2000) {
        run_all(from + n, 100);
        printf("%llu cases, %llu differ\n", (unsigned long long)totals.cases, (unsigned long long)totals.different);
    }
}

static void run_one(void)
{
    struct test_case t = { .mode = options.modes, .row = options.row, .number = options.number };
    if (!case_make(&t, guest_cpu->model.features))
        fail("this case is not run", NULL);
    totals.different += !case_run(&t, true);
    puts(totals.different ? "different" : "equal");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *why = host_setup();
    if (!why)
        why = guest_setup();
    if (!why && options.accel && (why = guest_translate(options.accel)))
        fail("-accel", why);
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    const u64 from = options.seed << 32;
    if (options.list)
        list();
    else if (options.one)
        run_one();
    else if (options.cases)
        run_all(from, options.cases);
    else
        run_on(from);
    return totals.different != 0;
}
