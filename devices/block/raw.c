/* raw.c - images without a format: byte n of the file (or host disk) is byte n of the disk. */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/format.h"

static unsigned raw_probe(const u8 *head, size_t n)
{
    return 1;       /* anything can be a raw image, but any other format is more certain */
}

static bool raw_open(struct block *b, const struct block_options *o, char *err, size_t errlen)
{
    struct stat st;
    if (fstat(b->fd, &st) < 0) {
        snprintf(err, errlen, "%s: %s", b->file, strerror(errno));
        return false;
    }
    b->size = (u64)st.st_size;
    if (S_ISBLK(st.st_mode) && ioctl(b->fd, BLKGETSIZE64, &b->size) < 0) {
        snprintf(err, errlen, "%s: cannot get the size of this disk: %s", b->file, strerror(errno));
        return false;
    }
    unsigned sector = o->sector_size ? o->sector_size : 512;
    if (!b->size) {
        snprintf(err, errlen, "%s is empty: not a disk image (make one with: truncate -s 1G FILE)", b->file);
        return false;
    }
    if (b->size % sector) {
        snprintf(err, errlen, "%s is %llu bytes, not a multiple of %u: not a raw %s image", b->file,
            (unsigned long long)b->size, sector, sector == 2048 ? "CD" : "disk");
        return false;
    }
    return true;
}

static bool raw_read(struct block *b, u64 offset, void *buf, size_t bytes)
{
    return block_pread(b->fd, offset, buf, bytes);
}

static bool raw_write(struct block *b, u64 offset, const void *buf, size_t bytes)
{
    return block_pwrite(b->fd, offset, buf, bytes);
}

static bool raw_flush(struct block *b)
{
    return fdatasync(b->fd) == 0;
}

const struct block_format block_raw = { .name = "raw", .probe = raw_probe, .open = raw_open, .read = raw_read,
    .write = raw_write, .flush = raw_flush };
