/* ram.c - guest memory: anonymous memory of the host, in large pages where the host has them.
 *
 * Large pages halve the time of what misses the host's TLB, and the first touch of memory is one fault for 512. Hosts give
 * them to anonymous memory that asks for it, to memfds hardly ever (shmem_enabled is "never" almost everywhere).
 * It is sparse: the host gives a page when the guest first touches it, so a guest may be larger than the host's memory
 * as long as it does not use it all. Video memory and ROM images are made the same way. The words for code chunks
 * (codepages.c) are as sparse: 8 bytes per page that holds code, in an anonymous mapping, and 4 per granule.
 */
#include "mmu/mmu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define RAM_MAX ((u64)1 << 46)
#define LARGE_PAGE ((u64)2 << 20)

static size_t code_words(u64 size) { return (size_t)(size >> PAGE_SHIFT) * sizeof(u64); }
static size_t code_bytes(u64 size) { return code_words(size) + (size_t)((size >> GRANULE_SHIFT) + 1) * sizeof(u32); }

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

    if (!r || !size || size % PAGE_SIZE || size > RAM_MAX || (size_t)size != size) {
        errno = r ? EINVAL : ENOMEM;
        return ram_failed(r, size, "size", err, errlen);
    }
    r->size = size;
    r->mapped = size + LARGE_PAGE;
    void *mapping = mmap(NULL, r->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return ram_failed(r, size, "mmap", err, errlen);
    r->mapping = mapping;
    r->base = r->mapping + (-(uintptr_t)mapping & (LARGE_PAGE - 1));
    if (size >= LARGE_PAGE)
        madvise(r->base, size & ~(u64)(LARGE_PAGE - 1), MADV_HUGEPAGE);     /* no harm done if the host refuses */
    void *code = mmap(NULL, code_bytes(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (code == MAP_FAILED)
        return ram_failed(r, size, "mmap", err, errlen);
    r->code = code;
    r->code_pages = (_Atomic u32 *)(void *)((u8 *)code + code_words(size));
    return r;
}

void ram_free(struct ram *r)
{
    if (!r)
        return;
    if (r->code)
        munmap((void *)r->code, code_bytes(r->size));
    if (r->mapping)
        munmap(r->mapping, r->mapped);
    free(r);
}
