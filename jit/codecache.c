/* codecache.c - the memory of translated code and of what is known about it.
 *
 * Code: one memfd, mapped twice, writable at rw and executable at rx, so no page is ever both through one mapping. Behind
 * the backend's fixed code it is cut into segments of equal size, which are filled one after the other, around and around:
 * what is in the way is always the oldest.
 *
 * Metadata (units, links, what code hands to C): an arena per segment, chunks of memory that go when it is emptied.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jit/jit_private.h"

enum { CHUNK_BYTES = 256 << 10 };
struct arena_chunk { struct arena_chunk *next; size_t used, size; };
static_assert(sizeof(struct arena_chunk) <= 32, "what is allocated begins at 32");

void *code_alloc(struct jit *j, size_t bytes)
{
    struct code_segment *s = &j->segment[j->filling];
    struct arena_chunk *k = s->chunks;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!k || k->size - k->used < bytes) {
        size_t size = bytes + 32 > CHUNK_BYTES ? bytes + 32 : CHUNK_BYTES;
        k = aligned_alloc(32, (size + 31) & ~(size_t)31);
        if (!k)
            return NULL;
        *k = (struct arena_chunk){ s->chunks, 32, size };
        s->chunks = k;
    }
    void *p = (char *)k + k->used;
    k->used += bytes;
    return p;
}

static void free_chunks(struct code_segment *s)
{
    while (s->chunks) {
        struct arena_chunk *next = s->chunks->next;
        free(s->chunks);
        s->chunks = next;
    }
}

/* The oldest part makes room. */
static void empty_segment(struct jit *j, struct code_segment *s)
{
    bool any = s->units;
    for (struct code_unit *u = s->units; u; u = u->next_in_segment)
        unit_kill(j, u);
    s->units = NULL;
    s->used = s->start;
    free_chunks(s);
    if (!any)
        return;
    j->count.evictions++;
    invalidate_paths(j);
}

void codecache_room(struct jit *j, u32 bytes)
{
    struct code_segment *s = &j->segment[j->filling];
    if (s->end - s->used >= bytes)
        return;
    j->filling = (j->filling + 1) % CODE_SEGMENTS;
    empty_segment(j, &j->segment[j->filling]);
}

u32 codecache_used(const struct jit *j)
{
    u32 n = j->segment[0].start;
    for (unsigned i = 0; i < CODE_SEGMENTS; i++)
        n += j->segment[i].used - j->segment[i].start;
    return n;
}

static bool cut_segments(struct jit *j)
{
    u32 fixed = j->backend->init(j, j->rw, j->rx, j->size / 2);
    if (!fixed)
        return false;
    fixed = (fixed + 4095) & ~4095u;
    u32 each = (j->size - fixed) / CODE_SEGMENTS & ~63u;
    for (unsigned i = 0; i < CODE_SEGMENTS; i++) {
        struct code_segment *s = &j->segment[i];
        s->start = s->used = fixed + i * each;
        s->end = s->start + each;
    }
    return true;
}

bool codecache_new(struct jit *j, char *err, size_t errlen)
{
    j->size = j->opt.cache << 20;
    int fd = memfd_create("shadow86-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, j->size)) {
        snprintf(err, errlen, "no memory for translated code: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    void *rw = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *rx = mmap(NULL, j->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    j->rw = rw == MAP_FAILED ? NULL : rw;
    j->rx = rx == MAP_FAILED ? NULL : rx;
    if (!j->rw || !j->rx) {
        snprintf(err, errlen, "translated code cannot be mapped for execution: %s (use -accel interp)", strerror(error));
        return false;
    }
    if (!cut_segments(j)) {
        snprintf(err, errlen, "the code cache is too small");
        return false;
    }
    return true;
}

void codecache_free(struct jit *j)
{
    for (unsigned i = 0; i < CODE_SEGMENTS; i++)
        free_chunks(&j->segment[i]);
    if (j->rw)
        munmap(j->rw, j->size);
    if (j->rx)
        munmap(j->rx, j->size);
    j->rw = j->rx = NULL;
}
