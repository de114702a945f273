/* log.c - see log.h. */
#include "cpu/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

u32 log_mask;

static FILE *log_file;

static const struct { const char *name, *help; } items[] = {
#define LOG(id, name, help) { name, help },
#include "cpu/log.def"
#undef LOG
};

void log_print(enum log_bit item, const char *format, ...)
{
    if (!log_on(item))
        return;
    va_list args;
    va_start(args, format);
    vfprintf(log_file ? log_file : stderr, format, args);
    va_end(args);
}

static bool parse_item(const char *name, size_t len)
{
    if (len == 3 && !strncmp(name, "all", 3)) {
        log_mask = (1u << LOG_ITEM_COUNT) - 1;
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(items); i++)
        if (strlen(items[i].name) == len && !strncmp(items[i].name, name, len)) {
            log_mask |= 1u << i;
            return true;
        }
    return false;
}

bool log_parse(const char *list, char *err, size_t errlen)
{
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (!parse_item(p, len)) {
            snprintf(err, errlen, "-d: no log item '%.*s' (-d help lists them)", (int)len, p);
            return false;
        }
        p += len;
        p += *p == ',';
    }
    return true;
}

bool log_to_file(const char *file, char *err, size_t errlen)
{
    FILE *f = fopen(file, "we");
    if (!f) {
        snprintf(err, errlen, "-D %s: %s", file, strerror(errno));
        return false;
    }
    setvbuf(f, NULL, _IOLBF, 0);
    log_file = f;
    return true;
}

void log_help(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(items); i++)
        printf("%-14s %s\n", items[i].name, items[i].help);
    printf("%-14s %s\n", "all", "all of these");
}
