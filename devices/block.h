/* block.h - disk images as devices see them. Formats live in devices/block/, one file each.
 *
 * Synchronous for now: a request completes before the call returns; the IDE model delays its interrupt itself.
 */
#ifndef SHADOW86_BLOCK_H
#define SHADOW86_BLOCK_H

#include "cpu/types.h"

struct block;

struct block_options {
    const char *file;
    const char *format;     /* "raw", or NULL to probe (what is not known is raw) */
    bool readonly;
    bool snapshot;          /* writes go to a temporary file that vanishes; the image is never written */
    unsigned sector_size;   /* 512, or 2048 for CDs: the image must be a multiple of it, and not empty */
};

/* NULL and one line in err (names the file and the remedy) on failure. Takes a lock on the file so that two machines do
 * not write to one image. */
struct block *block_open(const struct block_options *o, char *err, size_t errlen);
void block_close(struct block *b);          /* flushes */
u64 block_size(const struct block *b);      /* bytes */
bool block_readonly(const struct block *b);
const char *block_file(const struct block *b);
/* false: the host reported an error (errno kept); offset + bytes beyond the end is an error. Short transfers are retried. */
bool block_read(struct block *b, u64 offset, void *buf, size_t bytes);
bool block_write(struct block *b, u64 offset, const void *buf, size_t bytes);
bool block_flush(struct block *b);          /* what was written is on stable storage when this returns true */

#endif
