/* physmap.c - what stands at a guest physical address.
 *
 * Devices and the chipset add regions that overlap; the enabled one with the highest priority is seen (of equals, the
 * one added last). Each change makes a new flat map: a sorted array of stretches that is searched by bisection and never
 * modified, so that the vCPU's thread reads it without a lock while it fills its TLB. The old map is freed at once if
 * all vCPUs are on the calling thread; else it is kept until a change for which that is so (or the end): map changes by
 * other threads are rare, a map is a few kilobytes.
 *
 * No function here keeps a pointer into a map or region across a call of a device, which may change the map.
 */
#include "mmu/mmu_private.h"

#include <stdio.h>
#include <stdlib.h>

#define A20 ((u64)1 << 20)

static void *must(void *p)
{
    if (!p)
        abort();        /* a few kilobytes were refused: nothing sensible is left to do */
    return p;
}

/* ------------------------------------------------------------------------------------------ the flat map ----- */

static bool region_seen(const struct region *r) { return r->enabled && r->size; }

static gpa region_last(const struct region *r)
{
    u64 size = r->size;
    gpa last;

    if (r->kind != REGION_MMIO) {       /* never beyond the memory behind it */
        u64 behind = r->ram_offset < r->ram->size ? r->ram->size - r->ram_offset : 0;
        if (size > behind)
            size = behind;
    }
    if (!size)
        return r->start - 1;            /* empty: below its start, covers nothing */
    last = r->start + (size - 1);
    return last < r->start ? UINT64_MAX : last;
}

static bool region_covers(const struct region *r, gpa a)
{
    gpa last = region_last(r);
    return region_seen(r) && r->start <= a && (last >= a) && last >= r->start;
}

static struct region *region_on_top(const struct physmap *p, gpa a)
{
    struct region *top = NULL;

    for (unsigned i = 0; i < p->region_count; i++) {
        struct region *r = p->regions[i];
        if (region_covers(r, a) && (!top || r->priority >= top->priority))
            top = r;
    }
    return top;
}

static int compare_gpa(const void *a, const void *b)
{
    gpa x = *(const gpa *)a, y = *(const gpa *)b;
    return x < y ? -1 : x > y;
}

/* Addresses where the map may change: the starts, and what follows the ends. Returns their number, sorted. */
static unsigned map_borders(const struct physmap *p, gpa *border)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->region_count; i++) {
        const struct region *r = p->regions[i];
        if (!region_seen(r))
            continue;
        border[n++] = r->start;
        if (region_last(r) != UINT64_MAX)
            border[n++] = region_last(r) + 1;
    }
    if (n)
        qsort(border, n, sizeof(*border), compare_gpa);
    return n;
}

static struct flat flat_of(struct region *r, gpa start, gpa last)
{
    struct flat f = { .start = start, .last = last, .region = r, .kind = r->kind };

    if (r->kind != REGION_MMIO) {
        f.ram = r->ram;
        f.ram_offset = r->ram_offset + (start - r->start);
        f.host = r->ram->base + f.ram_offset;
        if (r->log_dirty && r->dirty && r->kind == REGION_RAM) {
            f.dirty = r->dirty;
            f.dirty_page = (start - r->start) >> PAGE_SHIFT;
        }
    }
    return f;
}

static struct flatmap *map_build(const struct physmap *p)
{
    gpa *border = must(malloc((2 * p->region_count + 1) * sizeof(*border)));
    unsigned n = map_borders(p, border);
    struct flatmap *m = must(malloc(sizeof(*m) + (n + 1) * sizeof(m->flat[0])));
    struct region *before = NULL;

    m->next = NULL;
    m->count = 0;
    for (unsigned i = 0; i < n; i++) {
        if (i && border[i] == border[i - 1])
            continue;
        struct region *r = region_on_top(p, border[i]);
        if (r != before && before)      /* the stretch so far ends here */
            m->flat[m->count - 1].last = border[i] - 1;
        if (r && r != before)
            m->flat[m->count++] = flat_of(r, border[i], region_last(r));
        before = r;
    }
    free(border);
    return m;
}

bool physmap_own_thread(const struct physmap *p)
{
    for (const struct mmu *m = p->mmus; m; m = m->tlb->next_mmu) {
        const void *thread = atomic_load(&m->tlb->thread);
        if (thread && thread != tlb_this_thread())
            return false;
    }
    return true;
}

/* Every MMU has run, and on this thread: nobody else can hold the old map. */
static bool no_other_reader(const struct physmap *p)
{
    for (const struct mmu *m = p->mmus; m; m = m->tlb->next_mmu)
        if (atomic_load(&m->tlb->thread) != tlb_this_thread())
            return false;
    return true;
}

static void flush_mmus(struct physmap *p)
{
    bool own = physmap_own_thread(p);

    for (struct mmu *m = p->mmus; m; m = m->tlb->next_mmu) {
        if (own)
            mmu_flush_all(m);
        else
            atomic_store(&m->tlb->flush_wanted, true);
    }
    if (!own && p->code_kick)
        p->code_kick(p->code_ctx);
}

static void free_retired(struct physmap *p)
{
    while (p->retired) {
        struct flatmap *m = p->retired;
        p->retired = m->next;
        free(m);
    }
}

void physmap_changed(struct physmap *p)
{
    struct flatmap *before = physmap_map(p), *after = map_build(p);

    atomic_store_explicit(&p->map, after, memory_order_release);
    before->next = p->retired;
    p->retired = before;
    flush_mmus(p);
    codepages_moved(p, before, after);
    if (no_other_reader(p))
        free_retired(p);
}

/* --------------------------------------------------------------------------------------------- contract ----- */

struct physmap *physmap_new(void)
{
    struct physmap *p = must(calloc(1, sizeof(*p)));

    pthread_mutex_init(&p->stale_lock, NULL);
    atomic_store(&p->a20_mask, ~(u64)0);
    atomic_store(&p->map, map_build(p));
    return p;
}

void physmap_free(struct physmap *p)
{
    if (!p)
        return;
    free_retired(p);
    free(physmap_map(p));
    free(p->regions);
    free(p->stale);
    pthread_mutex_destroy(&p->stale_lock);
    free(p);
}

void physmap_add(struct physmap *p, struct region *r)
{
    if (p->region_count == p->region_room) {
        p->region_room = p->region_room ? 2 * p->region_room : 32;
        p->regions = must(realloc(p->regions, p->region_room * sizeof(*p->regions)));
    }
    p->regions[p->region_count++] = r;
    if (region_seen(r))
        physmap_changed(p);
}

void physmap_remove(struct physmap *p, struct region *r)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < p->region_count; i++)
        if (p->regions[i] != r)
            p->regions[kept++] = p->regions[i];
    if (kept != p->region_count) {
        p->region_count = kept;
        physmap_changed(p);
    }
}

void physmap_change(struct physmap *p, struct region *r, gpa start, bool enabled)
{
    if (r->start == start && r->enabled == enabled)
        return;
    r->start = start;
    r->enabled = enabled;
    physmap_changed(p);
}

void physmap_set_a20(struct physmap *p, bool on)
{
    u64 mask = on ? ~(u64)0 : ~A20;

    if (atomic_exchange(&p->a20_mask, mask) != mask)
        flush_mmus(p);
}

bool physmap_a20(const struct physmap *p) { return atomic_load(&p->a20_mask) & A20; }

void physmap_set_lock(struct physmap *p, void (*lock)(void *ctx), void (*unlock)(void *ctx), void *ctx)
{
    p->lock = lock;
    p->unlock = unlock;
    p->lock_ctx = ctx;
}

/* --------------------------------------------------------------------------------------------- accesses ----- */

/* How many of `bytes` (not 0) from a on lie in the same stretch, or in the same hole (*f = NULL). */
static u64 span_at(const struct flatmap *m, gpa a, u64 bytes, const struct flat **f)
{
    unsigned i = flat_above(m, a);
    gpa last;

    *f = i && m->flat[i - 1].last >= a ? &m->flat[i - 1] : NULL;
    if (*f)
        last = (*f)->last;
    else
        last = i < m->count ? m->flat[i].start - 1 : UINT64_MAX;
    return bytes - 1 <= last - a ? bytes : last - a + 1;
}

/* The largest piece that a device takes: aligned to its size in the region. */
static unsigned mmio_piece(const struct mmio_ops *ops, u64 offset, u64 bytes)
{
    unsigned size = ops->wide ? 8 : 4;

    while (size > 1 && (offset % size || bytes < size))
        size /= 2;
    return size;
}

static unsigned mmio_read(const struct flat *f, gpa a, u8 *buf, u64 bytes)
{
    struct region *r = f->region;
    u64 offset = a - r->start;
    unsigned size = mmio_piece(r->ops, offset, bytes);
    u64 v = r->ops->read ? r->ops->read(r->ctx, offset, size) : ~(u64)0;

    memcpy(buf, &v, size);
    return size;
}

static unsigned mmio_write(const struct flat *f, gpa a, const u8 *buf, u64 bytes)
{
    struct region *r = f->region;
    u64 offset = a - r->start, v = 0;
    unsigned size = mmio_piece(r->ops, offset, bytes);

    memcpy(&v, buf, size);
    if (r->ops->write)
        r->ops->write(r->ctx, offset, size, v);
    return size;
}

/* Bytes beyond 2^64 do not exist. */
static u64 clip(gpa a, u64 bytes) { return bytes && bytes - 1 > UINT64_MAX - a ? UINT64_MAX - a + 1 : bytes; }

void physmap_read(struct physmap *p, gpa a, void *buf, u64 bytes)
{
    u8 *to = buf;
    u64 there = clip(a, bytes);

    memset(to + there, 0xff, bytes - there);
    while (there) {
        const struct flat *f;
        u64 n = span_at(physmap_map(p), a, there, &f);

        if (!f)
            memset(to, 0xff, n);
        else if (f->host)
            memcpy(to, f->host + (a - f->start), n);
        else
            n = mmio_read(f, a, to, n);
        a += n;
        to += n;
        there -= n;
    }
}

void physmap_write(struct physmap *p, gpa a, const void *buf, u64 bytes)
{
    const u8 *from = buf;

    bytes = clip(a, bytes);
    while (bytes) {
        const struct flat *f;
        u64 n = span_at(physmap_map(p), a, bytes, &f);

        if (f && f->kind == REGION_RAM) {
            memcpy(f->host + (a - f->start), from, n);
            physmap_note_write(p, f, a, n);
        } else if (f && f->kind == REGION_MMIO) {
            n = mmio_write(f, a, from, n);
        }
        a += n;
        from += n;
        bytes -= n;
    }
}

u64 physmap_read_int(struct physmap *p, gpa a, unsigned bytes)
{
    u64 v = 0;

    physmap_read(p, a, &v, bytes <= 8 ? bytes : 8);
    return v;
}

void physmap_write_int(struct physmap *p, gpa a, unsigned bytes, u64 v) { physmap_write(p, a, &v, bytes <= 8 ? bytes : 8); }

u8 *physmap_ptr(struct physmap *p, gpa a, u64 bytes, bool write)
{
    const struct flat *f = flat_find(physmap_map(p), a);

    if (!f || !f->host || !bytes || bytes - 1 > f->last - a || (write && f->kind != REGION_RAM))
        return NULL;
    return f->host + (a - f->start);
}

void physmap_wrote(struct physmap *p, gpa a, u64 bytes)
{
    bytes = clip(a, bytes);
    while (bytes) {
        const struct flat *f;
        u64 n = span_at(physmap_map(p), a, bytes, &f);

        if (f && f->kind == REGION_RAM)
            physmap_note_write(p, f, a, n);
        a += n;
        bytes -= n;
    }
}

void physmap_note_write(struct physmap *p, const struct flat *f, gpa a, u64 bytes)
{
    struct flat s = *f;     /* reporting code may go through the map again */

    if (s.dirty) {
        u64 first = s.dirty_page + ((a - s.start) >> PAGE_SHIFT);
        u64 last = s.dirty_page + ((a - s.start + bytes - 1) >> PAGE_SHIFT);
        for (u64 page = first; page <= last; page++)
            atomic_fetch_or_explicit(&s.dirty[page / 64], (u64)1 << (page % 64), memory_order_release);
    }
    /* Between the data above and the marks below: see codepages_mark. */
    atomic_thread_fence(memory_order_seq_cst);
    while (bytes) {
        u64 offset = s.ram_offset + (a - s.start);
        u64 n = PAGE_SIZE - (offset & ~PAGE_MASK);
        if (n > bytes)
            n = bytes;
        if (unlikely(atomic_load_explicit(&s.ram->code[offset >> PAGE_SHIFT], memory_order_relaxed) &
                     code_chunks(offset, n)))
            codepages_hit(p, &s, a, n);
        a += n;
        bytes -= n;
    }
}

void physmap_cpu_read(struct physmap *p, gpa a, void *buf, unsigned bytes)
{
    const struct flat *f = flat_find(physmap_map(p), a);

    if (likely(f && f->host && bytes - 1 <= f->last - a)) {
        memcpy(buf, f->host + (a - f->start), bytes);
        return;
    }
    if (p->lock)
        p->lock(p->lock_ctx);
    physmap_read(p, a, buf, bytes);
    if (p->unlock)
        p->unlock(p->lock_ctx);
}

void physmap_cpu_write(struct physmap *p, gpa a, const void *buf, unsigned bytes)
{
    const struct flat *f = flat_find(physmap_map(p), a);

    if (likely(f && f->kind == REGION_RAM && bytes - 1 <= f->last - a)) {
        const struct flat s = *f;
        gpa page = a & PAGE_MASK;
        memcpy(f->host + (a - f->start), buf, bytes);
        physmap_note_write(p, f, a, bytes);
        if (page >= s.start && s.last - page >= PAGE_SIZE - 1 && physmap_own_thread(p) &&
            atomic_load_explicit(&s.ram->code[(s.ram_offset + (a - s.start)) >> PAGE_SHIFT], memory_order_relaxed))
            codepages_slow_write(p, &s, a);
        return;
    }
    if (p->lock)
        p->lock(p->lock_ctx);
    physmap_write(p, a, buf, bytes);
    if (p->unlock)
        p->unlock(p->lock_ctx);
}

void physmap_print(struct physmap *p, void (*print)(const char *line, void *ctx), void *ctx)
{
    static const char *const kind[] = { [REGION_RAM] = "ram", [REGION_ROM] = "rom", [REGION_MMIO] = "mmio" };
    const struct flatmap *m = physmap_map(p);
    char line[160];

    for (unsigned i = 0; i < m->count; i++) {
        const struct flat *f = &m->flat[i];
        snprintf(line, sizeof(line), "%016llx-%016llx %-4s %s", (unsigned long long)f->start,
                 (unsigned long long)f->last, kind[f->kind], f->region->name ? f->region->name : "");
        print(line, ctx);
    }
}
