/* bytes.h - integers in byte strings, in a given byte order whatever the host's, and a string that grows. */
#ifndef SHADOW86_BIOS_BYTES_H
#define SHADOW86_BIOS_BYTES_H

#include <stdlib.h>
#include <string.h>

#include "cpu/types.h"

static inline void put_le(void *to, u64 v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        ((u8 *)to)[i] = (u8)(v >> 8 * i);
}

static inline u64 get_le(const void *from, unsigned bytes)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)((const u8 *)from)[i] << 8 * i;
    return v;
}

static inline void put_be(void *to, u64 v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        ((u8 *)to)[i] = (u8)(v >> 8 * (bytes - 1 - i));
}

/* data is from malloc, the owner frees it. */
struct bytes { u8 *data; size_t n, room; };

/* n bytes of zeros at the end; returns where. The address is good until the next call. */
static inline u8 *bytes_grow(struct bytes *b, size_t n)
{
    if (!b->data || b->room - b->n < n) {
        size_t room = b->room + b->room / 2 + n + 256;
        if (room < n || !(b->data = realloc(b->data, room)))
            abort();
        b->room = room;
    }
    u8 *at = b->data + b->n;
    if (n)
        memset(at, 0, n);
    b->n += n;
    return at;
}

static inline void bytes_add(struct bytes *b, const void *data, size_t n)
{
    u8 *at = bytes_grow(b, n);
    if (n)
        memcpy(at, data, n);
}
static inline void bytes_int(struct bytes *b, u64 v, unsigned bytes) { put_le(bytes_grow(b, bytes), v, bytes); }
static inline void bytes_align(struct bytes *b, size_t align) { bytes_grow(b, (align - b->n % align) % align); }

#endif
