/* block.c - opening, locking and accessing disk images; the formats are in the other files of this folder.
 *
 * Locks are open-file-description locks on the whole file: a shared one for readers (read-only and snapshot=on), an exclusive
 * one for the writer. They belong to the open file, so two drives of one machine are kept apart like two machines, and
 * they vanish with the process. File systems without locks go without.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/format.h"

static const struct block_format *const formats[] = { &block_raw };

bool block_pread(int fd, u64 offset, void *buf, size_t bytes)
{
    for (u8 *p = buf; bytes; ) {
        ssize_t n = pread(fd, p, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;        /* the file became shorter under us */
        if (n <= 0)
            return false;
        p += n;
        offset += (u64)n;
        bytes -= (size_t)n;
    }
    return true;
}

bool block_pwrite(int fd, u64 offset, const void *buf, size_t bytes)
{
    for (const u8 *p = buf; bytes; ) {
        ssize_t n = pwrite(fd, p, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return false;
        p += n;
        offset += (u64)n;
        bytes -= (size_t)n;
    }
    return true;
}

/* O_NONBLOCK: a FIFO or a serial line given by mistake must not hang the start; it has no effect on what we accept. */
static int open_image(const struct block_options *o, bool writing, char *err, size_t errlen)
{
    int fd = open(o->file, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0)
        return fd;
    const char *remedy = "";
    if (errno == ENOENT)
        remedy = " (check the path; a new image: truncate -s 1G FILE)";
    else if (errno == EISDIR)
        remedy = ", not a disk image";
    else if (writing && (errno == EACCES || errno == EROFS || errno == EPERM))
        remedy = " for writing (use readonly=on, or snapshot=on to keep changes only until the end)";
    else if (errno == EACCES)
        remedy = " for reading (check the file's permissions)";
    snprintf(err, errlen, "%s: %s%s", o->file, strerror(errno), remedy);
    return -1;
}

static bool check_kind(int fd, const char *file, char *err, size_t errlen)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        snprintf(err, errlen, "%s: %s", file, strerror(errno));
        return false;
    }
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return true;
    snprintf(err, errlen, "%s is %s, not a disk image", file, S_ISDIR(st.st_mode) ? "a directory" :
        S_ISFIFO(st.st_mode) ? "a pipe" : S_ISCHR(st.st_mode) ? "a character device" : "no regular file");
    return false;
}

static bool lock_image(int fd, const char *file, bool writing, char *err, size_t errlen)
{
    struct flock l = { .l_type = writing ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
    if (fcntl(fd, F_OFD_SETLK, &l) == 0 || (errno != EAGAIN && errno != EACCES))
        return true;
    snprintf(err, errlen, "%s is in use by another drive or emulator%s", file, writing ?
        " (readonly=on or snapshot=on shares it with other readers)" : ", which writes to it");
    return false;
}

/* Images in formats that we cannot read must not be taken for raw disks: the guest would destroy them. */
static const char *foreign_format(const u8 *head, size_t n)
{
    static const struct { const char *name, *magic; unsigned len; } known[] = {
        { "qcow2", "QFI\xfb", 4 }, { "VMDK", "KDMV", 4 }, { "VHDX", "vhdxfile", 8 }, { "VHD", "conectix", 8 },
        { "QED", "QED\0", 4 }, { "gzip-compressed", "\x1f\x8b\x08", 3 }, { "xz-compressed", "\xfd" "7zXZ\0", 6 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (n >= known[i].len && !memcmp(head, known[i].magic, known[i].len))
            return known[i].name;
    return NULL;
}

static const struct block_format *choose_format(int fd, const struct block_options *o, char *err, size_t errlen)
{
    const struct block_format *best = NULL;
    unsigned best_score = 0;
    if (o->format) {
        for (unsigned i = 0; i < ARRAY_LEN(formats); i++)
            if (!strcmp(formats[i]->name, o->format))
                return formats[i];
        snprintf(err, errlen, "%s: format '%s' is not known (raw is)", o->file, o->format);
        return NULL;
    }
    u8 head[512];
    ssize_t n = pread(fd, head, sizeof head, 0);
    if (n < 0) {
        snprintf(err, errlen, "%s: %s", o->file, strerror(errno));
        return NULL;
    }
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        unsigned score = formats[i]->probe(head, (size_t)n);
        if (score > best_score) {
            best_score = score;
            best = formats[i];
        }
    }
    const char *foreign = best == &block_raw ? foreign_format(head, (size_t)n) : NULL;
    if (foreign) {
        snprintf(err, errlen, "%s is a %s image, which is not supported: convert it (qemu-img convert -O raw), or say "
            "format=raw if its bytes are the disk", o->file, foreign);
        return NULL;
    }
    return best;
}

struct block *block_open(const struct block_options *o, char *err, size_t errlen)
{
    bool writing = !o->readonly && !o->snapshot;
    int fd = open_image(o, writing, err, errlen);
    if (fd < 0)
        return NULL;
    const struct block_format *format = NULL;
    struct block *b = NULL;
    if (check_kind(fd, o->file, err, errlen) && lock_image(fd, o->file, writing, err, errlen))
        format = choose_format(fd, o, err, errlen);
    if (format && (!(b = calloc(1, sizeof *b)) || !(b->file = strdup(o->file)))) {
        snprintf(err, errlen, "%s: out of memory", o->file);
        free(b);
        b = NULL;
    }
    if (!b) {
        close(fd);
        return NULL;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    b->fd = fd;
    b->format = format;
    b->readonly = o->readonly;
    bool opened = format->open(b, o, err, errlen);
    if (opened && o->snapshot && !o->readonly) {
        b->overlay = overlay_new(b->size, err, errlen);
        if (!b->overlay && format->close)
            format->close(b);
    }
    if (!opened || (o->snapshot && !o->readonly && !b->overlay)) {
        close(fd);
        free(b->file);
        free(b);
        return NULL;
    }
    return b;
}

void block_close(struct block *b)
{
    if (!b)
        return;
    block_flush(b);
    if (b->overlay)
        overlay_free(b->overlay);
    if (b->format->close)
        b->format->close(b);
    close(b->fd);
    free(b->file);
    free(b);
}

u64 block_size(const struct block *b) { return b->size; }
bool block_readonly(const struct block *b) { return b->readonly; }
const char *block_file(const struct block *b) { return b->file; }

static bool inside(const struct block *b, u64 offset, size_t bytes)
{
    if (offset <= b->size && bytes <= b->size - offset)
        return true;
    errno = EINVAL;
    return false;
}

bool block_read(struct block *b, u64 offset, void *buf, size_t bytes)
{
    if (!inside(b, offset, bytes))
        return false;
    return b->overlay ? overlay_read(b, offset, buf, bytes) : b->format->read(b, offset, buf, bytes);
}

bool block_write(struct block *b, u64 offset, const void *buf, size_t bytes)
{
    if (!inside(b, offset, bytes))
        return false;
    if (b->readonly) {
        errno = EROFS;
        return false;
    }
    return b->overlay ? overlay_write(b, offset, buf, bytes) : b->format->write(b, offset, buf, bytes);
}

bool block_flush(struct block *b)
{
    if (b->readonly || b->overlay)      /* an overlay dies with the process: nothing to keep */
        return true;
    return b->format->flush(b);
}
