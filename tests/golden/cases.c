/* cases.c - the list of cases.
 *
 *     = NAME | MODE                MODE: 64, 32, 16
 *       BYTES | TEXT               one instruction; the text is what the decoder prints, at offset 0 of its page
 *     ! WHY                        of more than 4 host instructions per guest instruction
 *     # a comment
 *
 * A line without a text gets one from --update; a text that is not what the bytes mean is an error.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/insn_table.h"
#include "tests/golden/golden.h"

struct golden_case cases[MAX_CASES];
unsigned case_count;

static const char *path;
static unsigned line_number;

static bool wrong(const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", path, line_number, what);
    return false;
}

static char *copy(const char *s, size_t n)
{
    char *to = strndup(s, n);
    while (n && to[n - 1] == ' ')
        to[--n] = 0;
    return to;
}

static bool heading(char *s)
{
    char *bar = strchr(s, '|');
    const unsigned bits = bar ? (unsigned)atoi(bar + 1) : 0;
    if (bits != 64 && bits != 32 && bits != 16)
        return wrong("= NAME | 64, 32 or 16");
    if (case_count == MAX_CASES)
        return wrong("too many cases");
    s += strspn(s, "= ");
    struct golden_case *c = &cases[case_count++];
    *c = (struct golden_case){ .name = copy(s, (size_t)(bar - s)), .mode = bits / 8, .line = line_number };
    for (unsigned i = 0; i + 1 < case_count; i++)
        if (!strcmp(cases[i].name, c->name) && cases[i].mode == c->mode)
            return wrong("that name is in use");
    return true;
}

static bool reason(char *s)
{
    s += strspn(s, "! ");
    if (!case_count)
        return wrong("no case");
    struct golden_case *c = &cases[case_count - 1];
    char *all = NULL;
    if (asprintf(&all, "%s%s%s", c->why ? c->why : "", c->why ? " " : "", s) < 0)
        return wrong("no memory");
    free(c->why);
    c->why = all;
    return true;
}

static bool instruction(char *s, char **text_at)
{
    struct golden_case *c = &cases[case_count - 1];
    struct insn in;
    u8 *bytes = c->bytes + c->size;
    unsigned n = 0;
    char *end;
    if (!case_count || c->guests == MAX_GUESTS || c->size + 16 > MAX_BYTES)
        return wrong("no case, or one that is too long");
    for (; s += strspn(s, " "), *s && *s != '|'; s = end) {
        unsigned long v = strtoul(s, &end, 16);
        if (end == s || n == 15)
            return wrong("bytes in hexadecimal, then | and the instruction");
        bytes[n++] = (u8)v;
    }
    if (insn_decode(&in, bytes, n, c->mode, NULL) != DECODE_OK || in.len != n)
        return wrong("not one instruction");
    insn_print(c->text[c->guests], sizeof c->text[0], &in, c->size);
    c->at[c->guests++] = c->size;
    c->size += n;
    c->at[c->guests] = c->size;
    *text_at = *s ? s + 1 : NULL;
    return true;
}

static bool line(char *s, FILE *filled)
{
    char *text = NULL, *bar;
    if (*s == '=')
        return heading(s);
    if (*s == '!')
        return reason(s);
    if (*s != ' ')
        return *s == '#' || !*s ? true : wrong("not a line of this list");
    if (!instruction(s, &text))
        return false;
    const struct golden_case *c = &cases[case_count - 1];
    const char *right = c->text[c->guests - 1];
    if (text)
        text += strspn(text, " ");
    if (text && *text) {
        if (!strcmp(text, right))
            return true;
        fprintf(stderr, "the bytes mean: %s\n", right);
        return wrong("another text than that of the bytes");
    }
    if (!filled)
        return wrong("no text (--update writes it)");
    if ((bar = strchr(s, '|')))
        *bar = 0;
    s += strspn(s, " ");
    size_t n = strlen(s);
    while (n && s[n - 1] == ' ')
        s[--n] = 0;
    fprintf(filled, "  %-30s | %s\n", s, right);
    return true;
}

static bool read_lines(FILE *f, FILE *filled)
{
    char s[400], was[400];
    for (line_number = 1; fgets(s, sizeof s, f); line_number++) {
        s[strcspn(s, "\n")] = 0;
        strcpy(was, s);
        const long at = filled ? ftell(filled) : 0;
        if (!line(s, filled))
            return false;
        if (filled && ftell(filled) == at)
            fprintf(filled, "%s\n", was);
    }
    return true;
}

static bool put_back(FILE *filled)
{
    FILE *f = fopen(path, "w");
    int ch;
    if (!f)
        return wrong("cannot be written");
    rewind(filled);
    while ((ch = getc(filled)) != EOF)
        putc(ch, f);
    return !fclose(f);
}

bool cases_read(const char *name, bool fill)
{
    path = name;
    FILE *f = fopen(path, "r"), *filled = fill ? tmpfile() : NULL;
    if (!f)
        return wrong("cannot be read");
    bool ok = read_lines(f, filled);
    fclose(f);
    if (filled) {
        ok = ok && put_back(filled);
        fclose(filled);
    }
    for (unsigned i = 0; ok && i < case_count; i++) {
        line_number = cases[i].line;
        if (!cases[i].guests)
            ok = wrong("a case without instructions");
    }
    return ok;
}
