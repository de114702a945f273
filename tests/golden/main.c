/* main.c - golden code tests.
 *
 *     golden-code LIST FILE             compares the code of LIST's cases with FILE
 *     golden-code --update LIST FILE    writes FILE, and texts that are missing into LIST
 *     golden-code --show NAME LIST FILE prints the cases with that in their names
 *
 * Totals go to standard output: host instructions per guest instruction, and the cases above 4.
 */
#include <stdlib.h>
#include <string.h>

#include "jit/backend.h"
#include "tests/golden/golden.h"

enum { MANY = 4 };

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    if (f && getdelim(&text, &size, 0, f) < 0)
        *text = 0;
    if (f)
        fclose(f);
    return text ? text : strdup("");
}

/* The text of a case in the file, or "" if it is not there. */
static char *part_of(const char *file, const struct golden_case *c)
{
    char heading[200];
    const int n = snprintf(heading, sizeof heading, "= %s | %u\n", c->name, c->mode * 8);
    for (const char *at = file; (at = strstr(at, heading)); at += n)
        if (at == file || at[-1] == '\n') {
            const char *end = strstr(at, "\n\n");
            return strndup(at, end ? (size_t)(end + 2 - at) : strlen(at));
        }
    return strdup("");
}

static char *all_text(void)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (unsigned i = 0; i < case_count; i++)
        fputs(cases[i].golden, f);
    fclose(f);
    return text;
}

static bool compare(const char *list, const char *path)
{
    char *file = read_file(path), *text = all_text();
    const bool same = !strcmp(file, text);
    unsigned differ = 0;
    for (unsigned i = 0; i < case_count && !same; i++) {
        char *was = part_of(file, &cases[i]);
        if (strcmp(was, cases[i].golden) && !differ++)
            printf("The first case whose code is not what %s says:\n\n--- was\n%s--- is\n%s", path, *was ? was : "(no such case)\n\n",
                   cases[i].golden);
        free(was);
    }
    if (!same)
        printf("%u cases differ (0: their order, or some are gone). If that is intended:\n    golden-code --update %s %s\n\n", differ, list,
               path);
    free(file);
    free(text);
    return same;
}

static bool update(const char *path)
{
    char *text = all_text();
    FILE *f = fopen(path, "w");
    const bool ok = f && fputs(text, f) >= 0 && !fclose(f);
    if (!ok)
        perror(path);
    free(text);
    return ok;
}

static double ratio(unsigned hosts, unsigned guests) { return (double)hosts / guests; }

static void totals(void)
{
    unsigned guests = 0, hosts = 0, checks = 0, many = 0, unexplained = 0, by_checks = 0;
    double sum = 0, sum_checks = 0;
    for (unsigned i = 0; i < case_count; i++) {
        const struct golden_case *c = &cases[i];
        guests += c->guests;
        hosts += c->hosts;
        checks += c->checks;
        sum += ratio(c->hosts - c->checks, c->guests);
        sum_checks += ratio(c->hosts, c->guests);
        by_checks += c->hosts > MANY * c->guests && c->hosts - c->checks <= MANY * c->guests;
    }
    printf("host instructions per guest instruction, more than %d without memory checks:\n", MANY);
    for (unsigned i = 0; i < case_count; i++) {
        const struct golden_case *c = &cases[i];
        if (c->hosts - c->checks <= MANY * c->guests)
            continue;
        many++;
        unexplained += !c->why;
        printf("  %5.1f  %s | %u: %s\n", ratio(c->hosts - c->checks, c->guests), c->name, c->mode * 8, c->why ? c->why : "NOT EXPLAINED");
    }
    printf("%u cases, %u guest instructions; %u cases above %d (%u not explained), %u more with memory checks\n", case_count, guests, many,
           MANY, unexplained, by_checks);
    printf("host instructions per guest instruction: %.2f without memory checks, %.2f with them (mean of cases: %.2f, %.2f)\n",
           ratio(hosts - checks, guests), ratio(hosts, guests), sum / case_count, sum_checks / case_count);
}

int main(int argc, char **argv)
{
    /* of a host without any feature that the backend could do without */
    host_has_none = argc > 1 && !strcmp(argv[1], "--baseline");
    if (host_has_none) {
        argv++;
        argc--;
    }
    const bool updating = argc > 1 && !strcmp(argv[1], "--update"), showing = argc > 2 && !strcmp(argv[1], "--show");
    const int at = updating ? 2 : showing ? 3 : 1;
    bool ok = true;
    if (argc != at + 2) {
        fprintf(stderr, "golden-code [--baseline] [--update | --show NAME] LIST FILE\n");
        return 2;
    }
    if (!cases_read(argv[at], updating))
        return 1;
    for (unsigned i = 0; i < case_count; i++)
        ok &= unit_make(&cases[i]);
    if (!ok)
        return 1;
    if (showing) {
        for (unsigned i = 0; i < case_count; i++)
            if (strstr(cases[i].name, argv[2]))
                fputs(cases[i].golden, stdout);
        return 0;
    }
    if (updating)
        ok = update(argv[at + 1]);
    else
        ok = compare(argv[at], argv[at + 1]);
    totals();
    return ok ? 0 : 1;
}
