/* keyvals.c - "key=value,key=value" as QEMU writes it, sizes and numbers. */
#include "frontend/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies up to the next single comma, folding ",," into ','. Returns what follows the comma or NULL at the end. */
static const char *take_word(const char *p, char **word)
{
    char *w = malloc(strlen(p) + 1), *out = w;
    if (!w)
        abort();
    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',')
                break;
            p++;
        }
        *out++ = *p;
    }
    *out = 0;
    *word = w;
    return *p ? p + 1 : NULL;
}

bool keyvals_parse(struct keyvals *k, const char *text, const char *implied, char *err, size_t errlen)
{
    k->count = 0;
    for (bool first = true; text && *text; first = false) {
        char *word;
        text = take_word(text, &word);
        if (k->count == KEYVALS_MAX) {
            snprintf(err, errlen, "too many keys at '%s'", word);
            return false;
        }
        char *eq = strchr(word, '=');
        if (eq)
            *eq = 0;
        bool is_implied = !eq && first && implied;
        k->at[k->count].key = is_implied ? (char *)implied : word;
        k->at[k->count].value = eq ? eq + 1 : is_implied ? word : "on";
        k->at[k->count].used = false;
        k->count++;
    }
    return true;
}

const char *keyvals_get(struct keyvals *k, const char *key)
{
    const char *value = NULL;
    for (unsigned i = 0; i < k->count; i++)
        if (!strcmp(k->at[i].key, key)) {
            k->at[i].used = true;
            value = k->at[i].value;
        }
    return value;
}

bool keyvals_get_bool(struct keyvals *k, const char *key, bool *value, char *err, size_t errlen)
{
    static const char *const on[] = { "on", "yes", "true", "y" }, *const off[] = { "off", "no", "false", "n" };
    const char *s = keyvals_get(k, key);
    if (!s)
        return true;
    for (unsigned i = 0; i < ARRAY_LEN(on); i++) {
        if (!strcmp(s, on[i]) || !strcmp(s, off[i])) {
            *value = !strcmp(s, on[i]);
            return true;
        }
    }
    snprintf(err, errlen, "%s=%s: must be on or off", key, s);
    return false;
}

bool keyvals_all_used(const struct keyvals *k, const char *option, char *err, size_t errlen)
{
    for (unsigned i = 0; i < k->count; i++)
        if (!k->at[i].used) {
            snprintf(err, errlen, "%s: unknown key '%s' (-h shows what there is)", option, k->at[i].key);
            return false;
        }
    return true;
}

bool parse_size(const char *text, u64 unit, u64 *bytes)
{
    char *end;
    if ((*text < '0' || *text > '9') && *text != '.')      /* no signs, blanks, "inf" */
        return false;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !(v >= 0))
        return false;
    switch (*end) {
    case 'k': case 'K': unit = 1ull << 10; end++; break;
    case 'm': case 'M': unit = 1ull << 20; end++; break;
    case 'g': case 'G': unit = 1ull << 30; end++; break;
    case 't': case 'T': unit = 1ull << 40; end++; break;
    case 'b': case 'B': unit = 1; end++; break;
    }
    if (*end || v * (double)unit >= 0x1p62)
        return false;
    *bytes = (u64)(v * (double)unit);
    return true;
}

bool parse_number(const char *text, u64 min, u64 max, u64 *value)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long v = strtoull(text, &end, 0);
    if (errno || *end || v < min || v > max)
        return false;
    *value = v;
    return true;
}
