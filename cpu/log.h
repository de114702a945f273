/* log.h - the -d log: items are rows of log.def, output goes to stderr or to the file of -D.
 * Any folder may log; a disabled item costs one test of a global word. */
#ifndef SHADOW86_LOG_H
#define SHADOW86_LOG_H

#include "cpu/types.h"

enum log_item {
#define LOG(id, name, help) LOG_ITEM_##id,
#include "cpu/log.def"
#undef LOG
    LOG_ITEM_COUNT
};
enum log_bit {
#define LOG(id, name, help) LOG_##id = 1 << LOG_ITEM_##id,
#include "cpu/log.def"
#undef LOG
};

extern u32 log_mask;    /* enum log_bit; written before the guest runs and by the monitor */

static inline bool log_on(enum log_bit item) { return unlikely(log_mask & item); }
/* Prints if the item is on. A line that ends without '\n' is continued by the next call. */
void log_print(enum log_bit item, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "int,exec": sets log_mask. False and one line in err for an unknown item. */
bool log_parse(const char *items, char *err, size_t errlen);
/* Further output goes to this file (truncated). */
bool log_to_file(const char *file, char *err, size_t errlen);
void log_help(void);        /* -d help: prints the items to stdout */

#endif
