/* access.c - loads, stores and fetches that the inlined TLB hit did not serve: misses, accesses across pages, MMIO, pages
 * that are watched, faults.
 *
 * An access that crosses a page translates both before it touches data, so it faults without any effect on memory
 * (flags of the first page's entry may have been set, as on hardware).
 */
#include "mmu/mmu_private.h"

/* The next page's address. Outside of long mode linear addresses have 32 bits. */
static gla next_page(const struct mmu *m, gla a)
{
    gla next = (a & PAGE_MASK) + PAGE_SIZE;
    return m->efer & MMU_EFER_LMA ? next : (u32)next;
}

/* Fixed sizes become single loads and stores: a 4- or 8-byte value in RAM is never seen half written. */
static inline void copy(void *to, const void *from, unsigned bytes)
{
    switch (bytes) {
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    default: memcpy(to, from, bytes);
    }
}

static inline void read_hit(struct mmu *m, const struct tlb_hit *h, void *buf, unsigned bytes)
{
    if (likely(h->host))
        copy(buf, h->host, bytes);
    else
        physmap_cpu_read(m->phys, h->pa, buf, bytes);
}

static inline void write_hit(struct mmu *m, const struct tlb_hit *h, const void *buf, unsigned bytes)
{
    if (unlikely(m->watch))
        m->watch->write(m->watch->ctx, h->pa, h->host, bytes);
    if (likely(h->host))
        copy(h->host, buf, bytes);
    else
        physmap_cpu_write(m->phys, h->pa, buf, bytes);
}

/* Both pages; *first is how many bytes lie on the first one. */
static bool translate_both(struct mmu *m, gla a, unsigned bytes, enum access access, enum view view, struct tlb_hit h[2],
                           unsigned *first)
{
    unsigned room = PAGE_SIZE - (unsigned)(a & ~PAGE_MASK);

    *first = bytes < room ? bytes : room;
    if (!tlb_translate(m, a, access, view, &h[0]))
        return false;
    return *first == bytes || tlb_translate(m, next_page(m, a), access, view, &h[1]);
}

bool mmu_read(struct mmu *m, gla a, void *buf, unsigned bytes, enum view view)
{
    struct tlb_hit h[2];
    unsigned first;

    if (unlikely(!translate_both(m, a, bytes, ACCESS_READ, view, h, &first)))
        return false;
    read_hit(m, &h[0], buf, first);
    if (first < bytes)
        read_hit(m, &h[1], (u8 *)buf + first, bytes - first);
    return true;
}

bool mmu_write(struct mmu *m, gla a, const void *buf, unsigned bytes, enum view view)
{
    struct tlb_hit h[2];
    unsigned first;

    if (unlikely(!translate_both(m, a, bytes, ACCESS_WRITE, view, h, &first)))
        return false;
    if (first == bytes) {
        write_hit(m, &h[0], buf, bytes);
        return true;
    }
    write_hit(m, &h[0], buf, first);
    write_hit(m, &h[1], (const u8 *)buf + first, bytes - first);
    return true;
}

/* A write is probed without setting the D flag: it may never come. */
static bool probe_page(struct mmu *m, gla a, enum access access, enum view view)
{
    struct walk w;
    u32 error;

    if (tlb_knows(m, a, access, view))
        return true;
    return walk_page(m, a, access, view, WALK_PURE, &w, &error) || tlb_fault(m, a, error);
}

bool mmu_probe(struct mmu *m, gla a, unsigned bytes, enum access access, enum view view)
{
    unsigned room = PAGE_SIZE - (unsigned)(a & ~PAGE_MASK);

    return probe_page(m, a, access, view) && (bytes <= room || probe_page(m, next_page(m, a), access, view));
}

bool mmu_fetch(struct mmu *m, gla a, enum view view, gpa *pa, const u8 **host)
{
    struct tlb_hit h;

    if (unlikely(!tlb_translate(m, a, ACCESS_FETCH, view, &h)))
        return false;
    *pa = h.pa;
    *host = h.host;
    return true;
}

void mmu_read_phys(struct mmu *m, gpa pa, void *buf, unsigned bytes) { physmap_cpu_read(m->phys, pa, buf, bytes); }
