/* format.h - what block.c asks of an image format. One const struct block_format per file in this folder. */
#ifndef SHADOW86_BLOCK_FORMAT_H
#define SHADOW86_BLOCK_FORMAT_H

#include "devices/block.h"

struct block_overlay;

struct block {
    const struct block_format *format;
    struct block_overlay *overlay;      /* snapshot=on: where writes go */
    char *file;
    int fd;
    u64 size;
    bool readonly;                      /* as the device sees it: false with an overlay */
};

struct block_format {
    const char *name;
    unsigned (*probe)(const u8 *head, size_t n);            /* 0: not mine; higher: more certain */
    bool (*open)(struct block *b, const struct block_options *o, char *err, size_t errlen);     /* fd is open; sets size */
    void (*close)(struct block *b);                         /* what open allocated; fd is closed by block.c */
    bool (*read)(struct block *b, u64 offset, void *buf, size_t bytes);     /* inside the image */
    bool (*write)(struct block *b, u64 offset, const void *buf, size_t bytes);
    bool (*flush)(struct block *b);
};

extern const struct block_format block_raw;

/* Whole transfers: interrupted and short ones are continued. false with errno (EIO at the end of the file). */
bool block_pread(int fd, u64 offset, void *buf, size_t bytes);
bool block_pwrite(int fd, u64 offset, const void *buf, size_t bytes);

/* overlay.c */
struct block_overlay *overlay_new(u64 size, char *err, size_t errlen);
void overlay_free(struct block_overlay *o);
bool overlay_read(struct block *b, u64 offset, void *buf, size_t bytes);
bool overlay_write(struct block *b, u64 offset, const void *buf, size_t bytes);

#endif
