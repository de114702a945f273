/* run_vectors.c - run-vectors DIR [-accel interp|jit|check]: runs every vector file in a folder (and the folders in it).
 *
 * Prints a line per file with the cases that passed, failed and are excused, and the first failure in full. Exit status: 0 if
 * all pass, 1 if any fails, 2 for a wrong call or a folder without vectors.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/vectors/vectors.h"

static const struct format formats[] = {
    { ".MOO.gz", run_moo },
    { ".bin.gz", run_rom80186 },
    { "-EE-reference.txt.gz", run_test386 },
    { "Test16.txt.gz", run_iced }, { "Test32.txt.gz", run_iced }, { "Test64.txt.gz", run_iced },
    { "TestMisc16.txt.gz", run_iced }, { "TestMisc32.txt.gz", run_iced }, { "TestMisc64.txt.gz", run_iced },
};

static struct { unsigned files; unsigned long passed, failed, excused; } total;

/* ------------------------------------------------ exceptions.txt: [jit:]FILE NUMBER[-LAST[/BITS]]|* REASON ----- */
static struct { char file[40]; bool jit; int first, last; unsigned bits; char reason[120]; } *exceptions;
static unsigned exception_count;

static void load_exceptions(const char *path)
{
    char line[300];
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        char file[40], numbers[32], reason[120];
        if (line[0] == '#' || sscanf(line, "%39s %31s %119[^\n]", file, numbers, reason) != 3)
            continue;
        exceptions = realloc(exceptions, (exception_count + 1) * sizeof *exceptions);
        __typeof__(exceptions) x = &exceptions[exception_count++];
        x->jit = !strncmp(file, "jit:", 4);
        strcpy(x->file, file + 4 * x->jit);
        strcpy(x->reason, reason);
        x->bits = ~0u;
        x->first = 0, x->last = INT_MAX;
        int n = sscanf(numbers, "%d-%d/%x", &x->first, &x->last, &x->bits);
        if (n == 1)
            x->last = x->first;
    }
    if (f)
        fclose(f);
}

const char *excused(const char *file, int number, unsigned bits)
{
    for (unsigned i = 0; i < exception_count; i++)
        if (!strcmp(exceptions[i].file, file) && exceptions[i].first <= number && number <= exceptions[i].last &&
            !(bits & ~exceptions[i].bits) && (!exceptions[i].jit || rig_translates()))
            return exceptions[i].reason;
    return NULL;
}

static struct { const char *reason; unsigned long count; } reasons[32];

void excuse(struct tally *t, const char *reason)
{
    t->excused++;
    for (unsigned i = 0; i < ARRAY_LEN(reasons); i++) {
        if (!reasons[i].reason)
            reasons[i].reason = reason;
        if (!strcmp(reasons[i].reason, reason)) {
            reasons[i].count++;
            return;
        }
    }
}

/* ------------------------------------------------------------------ folders ----- */
static void run_file(const char *folder, const char *name)
{
    static struct tally t;
    size_t length = strlen(name);
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        size_t n = strlen(formats[i].suffix);
        if (length <= n || strcmp(name + length - n, formats[i].suffix))
            continue;
        memset(&t, 0, sizeof t);
        formats[i].run(folder, name, &t);
        printf("%-28s %6u passed %6u failed", name, t.passed, t.failed);
        if (t.excused)
            printf(" %6u excused", t.excused);
        printf("\n");
        if (t.failed)
            printf("   first failure: %s\n", t.first_failure);
        fflush(stdout);
        total.files++;
        total.passed += t.passed;
        total.failed += t.failed;
        total.excused += t.excused;
    }
}

static int no_dots(const struct dirent *d) { return d->d_name[0] != '.'; }

static void run_folder(const char *folder)
{
    struct dirent **list;
    int n = scandir(folder, &list, no_dots, alphasort);
    for (int i = 0; i < n; i++) {
        char path[1024];
        struct stat st;
        if (snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name) < (int)sizeof path && !stat(path, &st)) {
            if (S_ISDIR(st.st_mode))
                run_folder(path);
            else
                run_file(folder, list[i]->d_name);
        }
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *accel = "interp";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-accel") && i + 1 < argc)
            accel = argv[++i];
        else if (!folder && argv[i][0] != '-')
            folder = argv[i];
        else
            folder = "";
    }
    if (!folder || !*folder) {
        fprintf(stderr, "usage: run-vectors DIR [-accel interp|jit|check[,KEY=VALUE...]]\n");
        return 2;
    }
    char err[300];
    if (!rig_set_engine(accel, err, sizeof err)) {
        fprintf(stderr, "run-vectors: -accel %s: %s\n", accel, err);
        return 2;
    }
    load_exceptions(VECTORS_EXCEPTIONS);
    run_folder(folder);
    if (!total.files) {
        fprintf(stderr, "run-vectors: no vector files (*.MOO.gz, *.bin.gz, *-EE-reference.txt.gz, *Test*.txt.gz) in %s\n", folder);
        return 2;
    }
    for (unsigned i = 0; i < ARRAY_LEN(reasons) && reasons[i].reason; i++)
        printf("excused %lu: %s\n", reasons[i].count, reasons[i].reason);
    printf("%u files: %lu passed, %lu failed, %lu excused\n", total.files, total.passed, total.failed, total.excused);
    return total.failed != 0;
}
