/* file.c - programs as text: what differs from the fixed layout (layout.c), instructions one per line with their meaning as a
 * comment.
 *
 *     seed N
 *     exactflags on|off
 *     options -accel's
 *     piece ADDRESS CS SS NAME
 *     code BITS ADDRESS HEX       # an instruction
 *     nops BITS ADDRESS COUNT     # one that shrinking took out
 *     data ADDRESS HEX
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/random/random.h"

struct program *program_new(void)
{
    struct program *p = calloc(1, sizeof(*p));
    if (p)
        p->mem = calloc(1, RAM_BYTES);
    if (!p || !p->mem) {
        fprintf(stderr, "random-programs: no memory\n");
        exit(EXIT_FAILURE);
    }
    return p;
}

void program_free(struct program *p)
{
    free(p->mem);
    free(p);
}

static bool is_nops(const u8 *b, unsigned n)
{
    while (n && b[n - 1] == 0x90)
        n--;
    return !n;
}

static void save_code(const struct program *p, FILE *f, u8 *rest)
{
    for (unsigned i = 0; i < p->item_count; i++) {
        const struct item *t = &p->item[i];
        const u8 *b = p->mem + t->at;
        struct insn in;
        char text[160] = "(none)";
        memset(rest + t->at, 0, t->len);
        if (is_nops(b, t->len)) {
            unsigned n = t->len;
            for (; i + 1 < p->item_count && p->item[i + 1].at == t->at + n && p->item[i + 1].mode == t->mode &&
                   is_nops(b + n, p->item[i + 1].len); i++) {
                n += p->item[i + 1].len;
            }
            memset(rest + t->at, 0, n);
            fprintf(f, "nops %u %x %u\n", t->mode * 8u, t->at, n);
            continue;
        }
        fprintf(f, "code %u %x ", t->mode * 8u, t->at);
        for (unsigned k = 0; k < t->len; k++)
            fprintf(f, "%02x", b[k]);
        if (insn_decode(&in, b, t->len, t->mode, NULL) == DECODE_OK)
            insn_print(text, sizeof(text), &in, t->at);
        fprintf(f, "%*s# %s\n", 2 + 2 * (t->len < 10 ? 10 - t->len : 0), "", text);
    }
}

static void save_data(FILE *f, const u8 *rest, const u8 *layout)
{
    for (u32 a = 0; a < RAM_BYTES; a += 32) {
        if (!memcmp(rest + a, layout + a, 32))
            continue;
        fprintf(f, "data %x ", a);
        for (unsigned k = 0; k < 32; k++)
            fprintf(f, "%02x", rest[a + k]);
        fprintf(f, "\n");
    }
}

bool program_save(const struct program *p, const char *name)
{
    FILE *f = fopen(name, "w");
    u8 *rest = malloc(RAM_BYTES), *layout = calloc(1, RAM_BYTES);
    if (!f || !rest || !layout) {
        perror(name);
        return false;
    }
    memcpy(rest, p->mem, RAM_BYTES);
    layout_make(layout);
    fprintf(f, "seed %llu\nexactflags %s\noptions %s\n", (unsigned long long)p->seed, p->exactflags ? "on" : "off", p->options);
    for (unsigned i = 0; i < p->piece_count; i++)
        fprintf(f, "piece %x %x %x %s\n", p->piece[i].at, p->piece[i].cs, p->piece[i].ss, p->piece[i].name);
    save_code(p, f, rest);
    save_data(f, rest, layout);
    free(rest);
    free(layout);
    return !fclose(f);
}

static unsigned parse_hex(u8 *to, const char *s, unsigned room)
{
    unsigned n = 0, v;
    while (n < room && sscanf(s, "%2x", &v) == 1 && s[1] > ' ') {
        to[n++] = (u8)v;
        s += 2;
    }
    return n;
}

static bool parse_line(struct program *p, const char *line)
{
    unsigned bits, at, n, cs, ss;
    char hex[80], name[40];
    unsigned long long seed;
    if (*line == '#' || *line == '\n')
        return true;
    if (sscanf(line, "seed %llu", &seed) == 1)
        p->seed = seed;
    else if (sscanf(line, "exactflags %39s", name) == 1)
        p->exactflags = !strcmp(name, "on");
    else if (!strncmp(line, "options", 7))
        sscanf(line, "options %199s", p->options);
    else if (sscanf(line, "piece %x %x %x %39[^\n]", &at, &cs, &ss, name) == 4 && p->piece_count < MAX_PIECES)
        p->piece[p->piece_count++] = (struct piece){ at, (u16)cs, (u16)ss, strdup(name) };
    else if (sscanf(line, "code %u %x %79s", &bits, &at, hex) == 3 && p->item_count < MAX_ITEMS && at < RAM_BYTES - 40)
        p->item[p->item_count++] = (struct item){ at, (u8)parse_hex(p->mem + at, hex, 15), (u8)(bits / 8) };
    else if (sscanf(line, "nops %u %x %u", &bits, &at, &n) == 3 && at < RAM_BYTES && n < RAM_BYTES - at)
        memset(p->mem + at, 0x90, n);
    else if (sscanf(line, "data %x %79s", &at, hex) == 2 && at < RAM_BYTES - 40)
        parse_hex(p->mem + at, hex, 32);
    else
        return false;
    return true;
}

/* "data" lines hold zeros where "code" stands, so code comes last. */
bool program_load(struct program *p, const char *name)
{
    char line[400];
    FILE *f = fopen(name, "r");
    if (!f) {
        perror(name);
        return false;
    }
    memset(p->mem, 0, RAM_BYTES);
    layout_make(p->mem);
    for (unsigned pass = 0; pass < 2; pass++) {
        rewind(f);
        for (unsigned n = 1; fgets(line, sizeof(line), f); n++) {
            if (!strncmp(line, "data", 4) == !!pass)
                continue;
            if (!parse_line(p, line)) {
                fprintf(stderr, "%s:%u: not understood\n", name, n);
                fclose(f);
                return false;
            }
        }
    }
    fclose(f);
    return true;
}
