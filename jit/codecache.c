/* codecache.c - the memory of translated code and of what is known about it.
 *
 * Code: one memfd, mapped twice, writable at rw and executable at rx, so no page is ever both through one mapping. Behind
 * the backend's fixed code it is cut into segments of equal size, which are filled one after the other, around and around:
 * what is in the way is always the oldest. A segment is filled from both ends: units at the front, at its back what they rarely
 * execute (struct code_unit, cold).
 *
 * Metadata (units, links, what code hands to C): an arena per segment, pieces of large pages, which other segments use when
 * it is emptied.
 *
 * Both are in large pages where the host gives them: code that is run once or twice would otherwise be mostly page faults
 * and TLB misses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jit/jit_private.h"

/* --- large pages --------------------------------------------------------------------------------------------------- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25        /* Linux 6.1 */
#endif

/* Room for `bytes` whose address is a multiple of LARGE_PAGE, to be mapped over. */
static u8 *reserve(size_t bytes)
{
    u8 *p = mmap(NULL, bytes + LARGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)p & (LARGE_PAGE - 1);
    if (before)
        munmap(p, before);
    munmap(p + before + bytes, LARGE_PAGE - before);
    return p + before;
}

/* Code is going to be written there: makes large pages of those that are not begun yet. A shared mapping does not get
 * them for the asking, only if its pages are collapsed, which needs a page that is there. Where that fails, pages are small. */
static void enlarge(struct jit *j, u32 from, u32 to)
{
    for (u32 n = from / LARGE_PAGE; n < (to + LARGE_PAGE - 1) / LARGE_PAGE && (n + 1) * LARGE_PAGE <= j->size && !j->small_pages; n++) {
        u8 *first = j->rw + n * LARGE_PAGE;
        if (j->large[n / 64] >> n % 64 & 1)
            continue;
        j->large[n / 64] |= (u64)1 << n % 64;
        *(volatile u8 *)first = *(volatile u8 *)first;      /* code may be there already, from the other end of a segment */
        j->small_pages = madvise(first, LARGE_PAGE, MADV_COLLAPSE) != 0;
        if (!j->small_pages)
            madvise(j->rx + n * LARGE_PAGE, LARGE_PAGE, MADV_COLLAPSE);
    }
}

/* --- metadata ------------------------------------------------------------------------------------------------------- */

enum { PIECE_BYTES = 128 << 10 };       /* half of one is wasted per segment; more than any unit needs */
struct arena_piece { struct arena_piece *next; size_t used; };

static void put_piece(struct arena_piece **list, struct arena_piece *k)
{
    k->next = *list;
    *list = k;
}

static struct arena_piece *take_piece(struct arena_piece **list)
{
    struct arena_piece *k = *list;
    if (k)
        *list = k->next;
    return k;
}

/* A large page in pieces, for whoever needs them. */
static void more_pieces(struct jit *j)
{
    u8 *page = aligned_alloc(LARGE_PAGE, LARGE_PAGE);
    if (!page)
        return;
    madvise(page, LARGE_PAGE, MADV_HUGEPAGE);
    for (unsigned at = LARGE_PAGE; at; at -= PIECE_BYTES)
        put_piece(&j->pieces, (struct arena_piece *)(void *)(page + at - PIECE_BYTES));
}

void *code_alloc(struct jit *j, size_t bytes)
{
    struct code_segment *s = &j->segment[j->filling];
    bytes = (bytes + 15) & ~(size_t)15;
    if (!s->pieces || PIECE_BYTES - s->pieces->used < bytes) {
        if (!j->pieces)
            more_pieces(j);
        struct arena_piece *k = take_piece(&j->pieces);
        if (!k)
            return NULL;
        k->used = sizeof(*k);
        put_piece(&s->pieces, k);
        if (PIECE_BYTES - k->used < bytes)
            return NULL;
    }
    void *p = (char *)s->pieces + s->pieces->used;
    s->pieces->used += bytes;
    return p;
}

static void drop_pieces(struct jit *j, struct code_segment *s)
{
    struct arena_piece *k;
    while ((k = take_piece(&s->pieces)))
        put_piece(&j->pieces, k);
}

/* All are free. */
static void free_pieces(struct jit *j)
{
    struct arena_piece *k, *pages = NULL;
    while ((k = take_piece(&j->pieces)))
        if (!((uintptr_t)k % LARGE_PAGE))       /* the first one of its page */
            put_piece(&pages, k);
    while ((k = take_piece(&pages)))
        free(k);
}

/* The oldest part makes room. */
static void empty_segment(struct jit *j, struct code_segment *s)
{
    bool any = s->units;
    for (struct code_unit *u = s->units; u; u = u->next_in_segment)
        unit_kill(j, u);
    s->units = NULL;
    s->used = s->start;
    s->cold = s->end;
    drop_pieces(j, s);
    if (!any)
        return;
    j->count.evictions++;
    invalidate_paths(j);
}

void codecache_room(struct jit *j, u32 bytes)
{
    struct code_segment *s = &j->segment[j->filling];
    if (s->cold - s->used < bytes) {
        j->filling = (j->filling + 1) % CODE_SEGMENTS;
        s = &j->segment[j->filling];
        for (unsigned i = 0; i < (j->opt.oldest || j->filling ? 1 : CODE_SEGMENTS); i++)
            empty_segment(j, &j->segment[j->filling + i]);
    }
    enlarge(j, s->used, s->used + bytes);
    enlarge(j, s->cold - bytes, s->cold);
}

u32 codecache_used(const struct jit *j)
{
    u32 n = j->segment[0].start;
    for (unsigned i = 0; i < CODE_SEGMENTS; i++)
        n += j->segment[i].used - j->segment[i].start + j->segment[i].end - j->segment[i].cold;
    return n;
}

static bool cut_segments(struct jit *j)
{
    enlarge(j, 0, 1);
    u32 fixed = j->backend->init(j, j->rw, j->rx, j->size / 2);
    if (!fixed)
        return false;
    fixed = (fixed + 4095) & ~4095u;
    u32 each = (j->size - fixed) / CODE_SEGMENTS & ~63u;
    for (unsigned i = 0; i < CODE_SEGMENTS; i++) {
        struct code_segment *s = &j->segment[i];
        s->start = s->used = fixed + i * each;
        s->end = s->cold = s->start + each;
    }
    return true;
}

static u8 *map(int fd, u32 size, int prot)
{
    u8 *at = reserve(size);
    void *p = at ? mmap(at, size, prot, MAP_SHARED | MAP_FIXED, fd, 0) : MAP_FAILED;
    if (p == MAP_FAILED && at)
        munmap(at, size);
    return p == MAP_FAILED ? NULL : p;
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
    j->rw = map(fd, j->size, PROT_READ | PROT_WRITE);
    j->rx = map(fd, j->size, PROT_READ | PROT_EXEC);
    int error = errno;
    close(fd);
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
        drop_pieces(j, &j->segment[i]);
    free_pieces(j);
    if (j->rw)
        munmap(j->rw, j->size);
    if (j->rx)
        munmap(j->rx, j->size);
    j->rw = j->rx = NULL;
}
