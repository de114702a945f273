/* keys.c - names of keys to scan codes, for the monitor's sendkey. */
#include <stdlib.h>
#include <string.h>

#include "frontend/monitor.h"

static const struct { const char *name; u16 code; } keys[] = {
#define KEY(name, code) { name, code },
#include "frontend/keys.def"
#undef KEY
};

static u16 key_code(const char *name, size_t len)
{
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
        if (strlen(keys[i].name) == len && !strncmp(keys[i].name, name, len))
            return keys[i].code;
    return len > 2 && name[0] == '0' && name[1] == 'x' ? (u16)strtoul(name, NULL, 16) : 0;
}

unsigned keys_parse(const char *text, u16 *codes, unsigned max, const char **bad)
{
    unsigned n = 0;
    for (const char *p = text; *p && n < max;) {
        size_t len = strcspn(p, "-");
        codes[n] = key_code(p, len);
        if (!codes[n]) {
            *bad = p;
            return 0;
        }
        n++;
        p += len;
        p += *p == '-';
    }
    return n;
}
