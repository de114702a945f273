/* options.c - the keys of -accel jit: JIT_OPTIONS in jit.h, and those that name files or passes. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "jit/jit.h"

static const struct number { const char *name, *help; size_t at; u32 value; } numbers[] = {
#define X(name, value, text) { #name, text, offsetof(struct jit_options, name), value },
    JIT_OPTIONS(X)
#undef X
};
#define TEXT(name, help) { #name, help, offsetof(struct jit_options, name), sizeof(((struct jit_options *)0)->name) }
static const struct text { const char *name, *help; size_t at, room; } texts[] = {
    TEXT(stats, "FILE: write counters there at the end"),
    TEXT(skip, "PASS: leave out a pass"),
    TEXT(dump, "FILE: where check saves what it found"),
};

enum { CACHE_MIN = 4, CACHE_MAX = 1024 };      /* MiB; offsets in the cache are 31 bits */

static bool is_switch(const struct number *n) { return !strncmp(n->help, "on|off", 6); }
static u32 *number_in(struct jit_options *o, const struct number *n) { return (u32 *)((char *)o + n->at); }

static bool parse_number(const struct number *n, const char *value, u32 *out)
{
    static const char *const on[] = { "on", "yes", "true" }, *const off[] = { "off", "no", "false" };
    char *end;
    for (unsigned i = 0; is_switch(n) && i < ARRAY_LEN(on); i++) {
        if (!strcmp(value, on[i]) || !strcmp(value, off[i])) {
            *out = !strcmp(value, on[i]);
            return true;
        }
    }
    if (is_switch(n) || *value < '0' || *value > '9')
        return false;
    unsigned long v = strtoul(value, &end, 0);
    *out = (u32)v;
    return !*end && v <= 0xffffffff;
}

static bool set(struct jit_options *o, const char *key, const char *value, char *err, size_t errlen)
{
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct number *n = &numbers[i];
        if (strcmp(key, n->name))
            continue;
        if (!parse_number(n, value, number_in(o, n))) {
            snprintf(err, errlen, "%s=%s: must be %s", key, value, is_switch(n) ? "on or off" : "a number");
            return false;
        }
        if (n->at == offsetof(struct jit_options, cache) && (o->cache < CACHE_MIN || o->cache > CACHE_MAX)) {
            snprintf(err, errlen, "cache=%s: must be between %d and %d (MiB)", value, CACHE_MIN, CACHE_MAX);
            return false;
        }
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        if (strcmp(key, texts[i].name))
            continue;
        if (strlen(value) >= texts[i].room) {
            snprintf(err, errlen, "%s=%s: too long", key, value);
            return false;
        }
        strcpy((char *)o + texts[i].at, value);
        return true;
    }
    snprintf(err, errlen, "unknown key '%s' (-accel help lists them)", key);
    return false;
}

bool jit_options_parse(struct jit_options *o, const char *text, char *err, size_t errlen)
{
    memset(o, 0, sizeof(*o));
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++)
        *number_in(o, &numbers[i]) = numbers[i].value;
    while (text && *text) {
        char word[320];
        size_t n = strcspn(text, ",");
        if (n >= sizeof word) {
            snprintf(err, errlen, "'%.20s...': too long", text);
            return false;
        }
        memcpy(word, text, n);
        word[n] = 0;
        text += n + (text[n] == ',');
        char *eq = strchr(word, '=');
        if (eq)
            *eq = 0;
        if (n && !set(o, word, eq ? eq + 1 : "on", err, errlen))
            return false;
    }
    return true;
}

void jit_options_help(FILE *to)
{
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct number *n = &numbers[i];
        char value[16];
        if (is_switch(n))
            strcpy(value, n->value ? "on" : "off");
        else
            snprintf(value, sizeof value, "%u", n->value);
        fprintf(to, "  %-11s %s (%s)\n", n->name, n->help, value);
    }
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++)
        fprintf(to, "  %-11s %s\n", texts[i].name, texts[i].help);
}
