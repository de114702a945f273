/* ram.c - guest memory: a memfd, mapped once here and, by windows, a second time elsewhere.
 *
 * It is sparse: the host gives a page when the guest first touches it, so a guest may be larger than the host's memory
 * as long as it does not use it all. Video memory and ROM images are made the same way. The words for code chunks
 * (codepages.c) are as sparse: 8 bytes per page that holds code, in an anonymous mapping.
 */
#include "mmu/mmu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_MAX ((u64)1 << 46)

static size_t code_bytes(u64 size) { return (size_t)(size >> PAGE_SHIFT) * sizeof(u64); }

static struct ram *ram_failed(struct ram *r, u64 size, const char *what, char *err, size_t errlen)
{
    int e = errno;

    snprintf(err, errlen, "cannot get %llu KiB of guest memory: %s: %s", (unsigned long long)(size >> 10), what,
             strerror(e));
    ram_free(r);
    return NULL;
}

struct ram *ram_new(u64 size, char *err, size_t errlen)
{
    struct ram *r = calloc(1, sizeof(*r));

    if (r)
        r->fd = -1;
    if (!r || !size || size % PAGE_SIZE || size > RAM_MAX || (size_t)size != size) {
        errno = r ? EINVAL : ENOMEM;
        return ram_failed(r, size, "size", err, errlen);
    }
    r->size = size;
    r->fd = memfd_create("shadow86-ram", MFD_CLOEXEC);
    if (r->fd < 0)
        return ram_failed(r, size, "memfd_create", err, errlen);
    if (ftruncate(r->fd, (off_t)size) < 0)
        return ram_failed(r, size, "ftruncate", err, errlen);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, r->fd, 0);
    if (base == MAP_FAILED)
        return ram_failed(r, size, "mmap", err, errlen);
    r->base = base;
    void *code = mmap(NULL, code_bytes(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (code == MAP_FAILED)
        return ram_failed(r, size, "mmap", err, errlen);
    r->code = code;
    return r;
}

void ram_free(struct ram *r)
{
    if (!r)
        return;
    if (r->code)
        munmap((void *)r->code, code_bytes(r->size));
    if (r->base)
        munmap(r->base, r->size);
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}
