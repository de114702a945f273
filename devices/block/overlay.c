/* overlay.c - snapshot=on: writes go to a temporary file, the image is only read.
 *
 * The file is sparse, has no name (so that it vanishes with the process, however that ends) and the layout of the disk; a
 * bitmap tells which 512-byte sectors live in it. The bitmap is calloc'ed: of a big disk's bitmap only the touched pages
 * cost memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/format.h"

#define SECTOR 512u

struct block_overlay { int fd; u64 *map; };

static int temporary_in(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char name[4096];        /* a file system without O_TMPFILE */
    if (snprintf(name, sizeof name, "%s/shadow86-XXXXXX", dir) >= (int)sizeof name)
        return -1;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

/* /var/tmp before /tmp: the latter is often in memory. */
struct block_overlay *overlay_new(u64 size, char *err, size_t errlen)
{
    const char *env = getenv("TMPDIR");
    const char *const dirs[] = { env && *env ? env : "/var/tmp", "/var/tmp", "/tmp" };
    int fd = -1;
    for (unsigned i = 0; i < ARRAY_LEN(dirs) && fd < 0; i++)
        fd = temporary_in(dirs[i]);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        snprintf(err, errlen, "snapshot: cannot make a temporary file of %llu bytes: %s (TMPDIR chooses the directory)",
            (unsigned long long)size, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct block_overlay *o = calloc(1, sizeof *o);
    u64 sectors = (size + SECTOR - 1) / SECTOR;
    if (o)
        o->map = calloc((size_t)((sectors + 63) / 64), sizeof *o->map);
    if (!o || !o->map) {
        snprintf(err, errlen, "snapshot: out of memory");
        free(o);
        close(fd);
        return NULL;
    }
    o->fd = fd;
    return o;
}

void overlay_free(struct block_overlay *o)
{
    close(o->fd);
    free(o->map);
    free(o);
}

static bool present(const struct block_overlay *o, u64 sector)
{
    return o->map[sector / 64] >> (sector % 64) & 1;
}

bool overlay_read(struct block *b, u64 offset, void *buf, size_t bytes)
{
    struct block_overlay *o = b->overlay;
    for (u8 *p = buf; bytes; ) {        /* runs of sectors that live in the same file */
        u64 sector = offset / SECTOR;
        bool here = present(o, sector);
        u64 run = SECTOR - offset % SECTOR;
        while (run < bytes && present(o, ++sector) == here)
            run += SECTOR;
        size_t n = run < bytes ? (size_t)run : bytes;
        if (!(here ? block_pread(o->fd, offset, p, n) : b->format->read(b, offset, p, n)))
            return false;
        p += n;
        offset += n;
        bytes -= n;
    }
    return true;
}

/* A write that covers part of a sector brings the rest over first. */
static bool fill_sector(struct block *b, u64 sector)
{
    u8 data[SECTOR];
    u64 at = sector * SECTOR, n = b->size - at < SECTOR ? b->size - at : SECTOR;
    if (present(b->overlay, sector))
        return true;
    return b->format->read(b, at, data, (size_t)n) && block_pwrite(b->overlay->fd, at, data, (size_t)n);
}

bool overlay_write(struct block *b, u64 offset, const void *buf, size_t bytes)
{
    struct block_overlay *o = b->overlay;
    if (!bytes)
        return true;
    u64 first = offset / SECTOR, last = (offset + bytes - 1) / SECTOR;
    if (offset % SECTOR && !fill_sector(b, first))
        return false;
    if ((offset + bytes) % SECTOR && offset + bytes != b->size && !fill_sector(b, last))
        return false;
    if (!block_pwrite(o->fd, offset, buf, bytes))
        return false;
    for (u64 s = first; s <= last; s++)
        o->map[s / 64] |= 1ull << (s % 64);
    return true;
}
