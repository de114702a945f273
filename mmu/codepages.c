/* codepages.c - which memory holds code that somebody decoded.
 *
 * One word per page of memory, one bit per 64 bytes (struct ram, `code`), and a number per granule of 2 MiB, how many of its
 * words are not 0, which is counted by those who find that their change was such a one. The marks belong to the memory and not to the
 * address, so that a write through another address of the same memory is noticed as well; it is reported for every
 * address at which that memory stands. A page with a mark has no write entry in any TLB: stores to it come to
 * physmap_note_write, which looks at the bits.
 *
 * The vCPU's thread is told at once. Writes by other threads (disk DMA on the main loop) are collected and the vCPU
 * is kicked. No write is missed: the decoder marks before it reads the bytes, the writer writes before it looks at the
 * marks, and both orders are sequentially consistent.
 */
#include "mmu/mmu_private.h"

#include <stdlib.h>

void codepages_set_owner(struct physmap *p, code_written_fn *written, code_kick_fn *kick, void *ctx)
{
    p->code_written = written;
    p->code_kick = kick;
    p->code_ctx = ctx;
}

static void keep_chunks(struct ram *r, u64 offset, u64 chunks)
{
    u64 before = atomic_fetch_and(&r->code[offset >> PAGE_SHIFT], chunks);

    if (before && !(before & chunks))
        atomic_fetch_sub(&r->code_pages[offset >> GRANULE_SHIFT], 1);
}

static void mark_page(struct physmap *p, const struct flat *f, gpa a, u64 bytes)
{
    u64 offset = f->ram_offset + (a - f->start);
    u64 chunks = code_chunks(offset, bytes);
    _Atomic u64 *code = &f->ram->code[offset >> PAGE_SHIFT];

    if ((atomic_load_explicit(code, memory_order_relaxed) & chunks) == chunks) {
        atomic_thread_fence(memory_order_seq_cst);
        return;
    }
    if (atomic_fetch_or(code, chunks))
        return;
    atomic_fetch_add(&f->ram->code_pages[offset >> GRANULE_SHIFT], 1);
    for (struct mmu *m = p->mmus; m; m = m->tlb->next_mmu)
        tlb_drop_host_page(m, f->ram->base + (offset & PAGE_MASK));
}

void codepages_mark(struct physmap *p, gpa a, unsigned bytes)
{
    while (bytes) {
        const struct flat *f = flat_find(physmap_map(p), a);
        u64 n = PAGE_SIZE - (a & ~PAGE_MASK);

        if (n > bytes)
            n = bytes;
        if (f && f->host) {
            if (n - 1 > f->last - a)
                n = f->last - a + 1;
            mark_page(p, f, a, n);
        }
        a += n;
        bytes -= (unsigned)n;
    }
}

void codepages_clear(struct physmap *p, gpa page)
{
    const struct flat *f = flat_find(physmap_map(p), page & PAGE_MASK);

    if (f && f->host)
        keep_chunks(f->ram, f->ram_offset + ((page & PAGE_MASK) - f->start), 0);
}

/* --------------------------------------------------------------------------- writes by other threads ----- */

static int compare_stale(const void *a, const void *b)
{
    gpa x = ((const struct stale *)a)->page, y = ((const struct stale *)b)->page;
    return x < y ? -1 : x > y;
}

/* One entry per page again. */
static void stale_merge(struct physmap *p)
{
    size_t kept = 0;

    if (p->stale_count)
        qsort(p->stale, p->stale_count, sizeof(*p->stale), compare_stale);
    for (size_t i = 0; i < p->stale_count; i++) {
        if (kept && p->stale[kept - 1].page == p->stale[i].page)
            p->stale[kept - 1].chunks |= p->stale[i].chunks;
        else
            p->stale[kept++] = p->stale[i];
    }
    p->stale_count = kept;
}

static void stale_add(struct physmap *p, gpa page, u64 chunks)
{
    pthread_mutex_lock(&p->stale_lock);
    struct stale *last = p->stale_count ? &p->stale[p->stale_count - 1] : NULL;
    if (last && last->page == page) {
        last->chunks |= chunks;
    } else {
        if (p->stale_count == p->stale_room) {
            stale_merge(p);
            if (p->stale_count * 2 >= p->stale_room) {
                p->stale_room = p->stale_room ? 2 * p->stale_room : 64;
                p->stale = realloc(p->stale, p->stale_room * sizeof(*p->stale));
                if (!p->stale)
                    abort();
            }
        }
        p->stale[p->stale_count++] = (struct stale){ page, chunks };
    }
    pthread_mutex_unlock(&p->stale_lock);
}

/* Runs of chunks as byte ranges. */
static void report_chunks(struct physmap *p, struct stale s)
{
    while (s.chunks) {
        unsigned first = (unsigned)__builtin_ctzll(s.chunks), n = 0;
        while (first + n < 64 && s.chunks >> (first + n) & 1)
            n++;
        p->code_written(p->code_ctx, s.page + first * 64, n * 64);
        s.chunks &= n == 64 ? 0 : ~((((u64)1 << n) - 1) << first);
    }
}

void codepages_drain(struct physmap *p)
{
    struct stale *list;
    size_t n;

    for (struct mmu *m = p->mmus; m; m = m->tlb->next_mmu)
        tlb_flush_if_wanted(m);
    pthread_mutex_lock(&p->stale_lock);
    stale_merge(p);
    list = p->stale;
    n = p->stale_count;
    p->stale = NULL;
    p->stale_count = p->stale_room = 0;
    pthread_mutex_unlock(&p->stale_lock);
    for (size_t i = 0; i < n && p->code_written; i++)
        report_chunks(p, list[i]);
    free(list);
}

/* Returns the chunks that still hold code, as far as is known. */
static u64 report(struct physmap *p, bool own, gpa a, u64 bytes)
{
    if (!p->code_written)
        return ~(u64)0;
    if (own)
        return p->code_written(p->code_ctx, a, bytes);
    stale_add(p, a & PAGE_MASK, code_chunks(a, bytes));
    return ~(u64)0;
}

/* ------------------------------------------------------------------------------------------ who calls ----- */

/* Reports [a, a + bytes), in one page of f, at every address at which this memory stands. Chunks of it that hold no code any
 * more lose their marks. */
static void hit(struct physmap *p, const struct flat *f, gpa a, u64 bytes, bool own)
{
    u64 offset = f->ram_offset + (a - f->start), left = 0;
    gpa seen[16];
    unsigned n = 0;
    const struct flatmap *m = physmap_map(p);

    for (unsigned i = 0; i < m->count && n < ARRAY_LEN(seen); i++) {
        const struct flat *g = &m->flat[i];
        if (g->ram == f->ram && offset >= g->ram_offset && offset - g->ram_offset <= g->last - g->start)
            seen[n++] = g->start + (offset - g->ram_offset);
    }
    if (n == ARRAY_LEN(seen))
        left = ~(u64)0;
    while (n)
        left |= report(p, own, seen[--n], bytes);
    keep_chunks(f->ram, offset, ~code_chunks(offset, bytes) | left);
}

void codepages_hit(struct physmap *p, const struct flat *f, gpa a, u64 bytes)
{
    bool own = physmap_own_thread(p);

    hit(p, f, a, bytes, own);
    if (!own && p->code_kick)
        p->code_kick(p->code_ctx);
}

/* Pages are used again for something else, and code may lie beside data for good. So what is left on a page goes after
 * a number of slow writes, which doubles each time, since it comes back if it is still executed. */
void codepages_slow_write(struct physmap *p, const struct flat *f, gpa a)
{
    enum { FIRST_LIMIT = 16, LAST_LIMIT = 1 << 20 };
    gpa page = a & PAGE_MASK;
    const u8 *host = f->host + (page - f->start);
    struct slow_page *s = &p->slow_page[((uintptr_t)host >> PAGE_SHIFT) % ARRAY_LEN(p->slow_page)];

    if (s->host != host)
        *s = (struct slow_page){ host, 0, FIRST_LIMIT };
    if (++s->count < s->limit)
        return;
    s->count = 0;
    if (s->limit < LAST_LIMIT)
        s->limit *= 2;
    hit(p, f, page, PAGE_SIZE, true);
}

void codepages_drop(struct physmap *p, gpa a)
{
    const struct flat *f = flat_find(physmap_map(p), a & PAGE_MASK);

    if (f && f->host && f->last - (a & PAGE_MASK) >= PAGE_SIZE - 1)
        hit(p, f, a & PAGE_MASK, PAGE_SIZE, true);
}

/* The map changed: code that was decoded where other memory stands now is as good as overwritten. */
void codepages_moved(struct physmap *p, const struct flatmap *before, const struct flatmap *after)
{
    bool own = physmap_own_thread(p), kick = false;

    for (unsigned i = 0; i < before->count; i++) {
        const struct flat *f = &before->flat[i];
        gpa a = f->start;
        while (f->host) {
            unsigned above = flat_above(after, a);
            const struct flat *g = above && after->flat[above - 1].last >= a ? &after->flat[above - 1] : NULL;
            gpa last = g ? g->last : above < after->count ? after->flat[above].start - 1 : UINT64_MAX;

            if (last > f->last)
                last = f->last;
            if (!g || !g->host || g->host + (a - g->start) != f->host + (a - f->start)) {
                u64 offset = f->ram_offset + (a - f->start), end = f->ram_offset + (last - f->start);
                for (u64 page = offset >> PAGE_SHIFT; page <= end >> PAGE_SHIFT; page++) {
                    if (likely(!atomic_load_explicit(&f->ram->code[page], memory_order_relaxed)))
                        continue;
                    report(p, own, f->start + (page << PAGE_SHIFT) - f->ram_offset, PAGE_SIZE);
                    kick = true;
                }
            }
            if (last == f->last)
                break;
            a = last + 1;
        }
    }
    if (kick && !own && p->code_kick)
        p->code_kick(p->code_ctx);
}
