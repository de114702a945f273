/* sites.c - what translated code remembers of translations beside the TLB, and when it must forget. SDM 3A 4.10.
 *
 * Sites: each load and store of translated code knows the page that it accessed last (struct mmu_site). Links: a jump
 * from one page of code to another one was made because of a translation for fetches, and stays for as long as fetch_epoch does.
 * Both act like entries of a TLB, so whatever invalidates those has to reach them. Clearing all of them each time would
 * cost more than the flush itself; searching them at every page fault, too. So:
 *
 * Whatever is remembered has an entry in some table of the TLB, or its page is in a filter: every entry that makes room for
 * another one is put there. A page fault on a page that was not there, or INVLPG of a page that nobody accessed, finds it
 * in neither and costs nothing. A filter is emptied when all that it stands for is forgotten. (Entries that are dropped by
 * a flush need no filter: the flush forgets what they stand for.)
 *
 * A flush that spares global translations, a load of CR3 mostly, touches only views in which some other translation was used:
 * user code, and a kernel while it accesses user memory.
 *
 * A site that is not valid names a page that is not canonical, chosen at random, which no access by a guest can have passed
 * its checks with; should one guess it all the same it gets a page that belongs to nobody.
 */
#include "mmu/mmu_private.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* ----------------------------------------------------------------------------------------------- filters ----- */

static unsigned filter_hash(gla a, unsigned shift)
{
    return (unsigned)((((a >> shift) << 6 | shift) * 0x9e3779b97f4a7c15u) >> 52);
}

static void filter_add(struct page_filter *f, gla a, unsigned shift)
{
    unsigned h = filter_hash(a, shift);

    f->bit[h / 64] |= (u64)1 << (h % 64);
    f->shifts |= 1u << shift;
    f->count++;
}

static void filter_clear(struct page_filter *f)
{
    if (f->count)
        memset(f, 0, sizeof(*f));
}

/* enum tlb_gone: which kinds of page that hold a may be in it. */
static unsigned filter_find(const struct page_filter *f, gla a)
{
    unsigned found = 0;

    if (!f->count)
        return 0;
    for (u32 left = f->shifts; left; left &= left - 1) {
        unsigned shift = (unsigned)__builtin_ctz(left), h = filter_hash(a, shift);
        if (f->bit[h / 64] >> (h % 64) & 1)
            found |= shift == PAGE_SHIFT ? GONE_PAGE : GONE_LARGE;
    }
    return found;
}

/* ------------------------------------------------------------------------------------------------- sites ----- */

static void clear_sites(struct mmu *m, enum view view, unsigned first)
{
    for (; first < MMU_SITES; first += SITES_AT_ONCE)
        memcpy(&m->site[view][first], m->tlb->remembered.none, sizeof(m->tlb->remembered.none));
}
static_assert(MMU_SITES % SITES_AT_ONCE == 0 && MMU_WRITE_SITES % SITES_AT_ONCE == 0, "whole pieces");

/* Are there translations of data that are not global? */
static bool has_local(struct tlb_set *s, enum view view)
{
    u32 n = 0;

    for (unsigned k = 0; k < TLB_TABLES; k++)
        n |= k == ACCESS_FETCH ? 0 : s->table[view][k].local.count;
    return n;
}

static void forget_data(struct mmu *m, enum view view)
{
    struct remembered *r = &m->tlb->remembered;

    if (m->site_used[view]) {
        clear_sites(m, view, 0);
        m->site_used[view] = false;
    }
    filter_clear(&r->data[view]);
    r->data_local[view] = has_local(m->tlb->current, view);
}

static void forget_page(struct mmu *m, enum view view, gla page)
{
    enum { STEP = 8 };      /* most of the time there is nothing: one branch for several */

    for (unsigned i = 0; i < MMU_SITES; i += STEP) {
        struct mmu_site *s = &m->site[view][i];
        bool found = false;
        for (unsigned k = 0; k < STEP; k++)
            found |= s[k].page == page;
        for (unsigned k = 0; k < STEP && unlikely(found); k++)
            if (s[k].page == page)
                s[k] = m->tlb->remembered.none[0];
    }
}

void sites_clear_writes(struct mmu *m, enum view view)
{
    if (m->site_used[view])
        clear_sites(m, view, MMU_WRITE_SITES);
}

void sites_drop_host_page(struct mmu *m, const u8 *page)
{
    for (unsigned v = 0; v < VIEW_COUNT; v++)
        for (unsigned i = MMU_WRITE_SITES; m->site_used[v] && i < MMU_SITES; i++)
            if (m->site[v][i].page + m->site[v][i].delta == (uintptr_t)page)
                m->site[v][i] = m->tlb->remembered.none[0];
}

static u64 random_number(void)
{
    u64 n;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n)) {     /* an old kernel, or one that has just started */
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        n = ((uintptr_t)&n ^ (u64)now.tv_nsec << 32 ^ (u64)now.tv_sec) * 0x9e3779b97f4a7c15u;
    }
    return n;
}

void sites_init(struct mmu *m)
{
    struct remembered *r = &m->tlb->remembered;
    long host_page = sysconf(_SC_PAGESIZE);
    size_t step = host_page > (long)PAGE_SIZE ? (size_t)host_page : PAGE_SIZE;
    void *trap = mmap(NULL, 3 * step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (trap == MAP_FAILED || mprotect((u8 *)trap + step, step, PROT_READ | PROT_WRITE) < 0)
        abort();
    r->trap = trap;
    r->trap_bytes = 3 * step;
    /* bits 63 and 62 differ: not canonical, and far from any 32-bit address */
    u64 secret = (random_number() & PAGE_MASK & ~((u64)3 << 62)) | (u64)1 << 62;
    for (unsigned i = 0; i < SITES_AT_ONCE; i++)
        r->none[i] = (struct mmu_site){ secret, (uintptr_t)r->trap + step - secret };
    for (enum view v = 0; v < VIEW_COUNT; v++)
        clear_sites(m, v, 0);
}

void sites_fini(struct mmu *m)
{
    munmap(m->tlb->remembered.trap, m->tlb->remembered.trap_bytes);
}

/* ------------------------------------------------------------------------------------------------- links ----- */

static void forget_fetches(struct mmu *m, enum view view)
{
    struct remembered *r = &m->tlb->remembered;

    m->fetch_epoch[view]++;
    if (view == VIEW_KERNEL)
        m->fetch_epoch[VIEW_KERNEL_SMAP]++;
    filter_clear(&r->fetch[view]);
    r->fetch_local[view] = m->tlb->current->table[view][ACCESS_FETCH].local.count;
}

/* ---------------------------------------------------------------------------- what happens to translations ----- */

void remembered_displaced(struct mmu *m, const struct tlb_table *t, u32 i)
{
    struct remembered *r = &m->tlb->remembered;
    gla page = t->entry[i].tag & PAGE_MASK;
    unsigned shift = t->info[i] & INFO_SHIFT;

    if (t->access == ACCESS_FETCH)
        filter_add(&r->fetch[t->view], page, shift);
    else if (m->site_used[t->view])     /* else no site can know the page */
        filter_add(&r->data[t->view], page, shift);
}

void remembered_all_gone(struct mmu *m)
{
    for (enum view v = 0; v < VIEW_COUNT; v++)
        forget_data(m, v);
    forget_fetches(m, VIEW_USER);
    forget_fetches(m, VIEW_KERNEL);
}

void remembered_local_gone(struct mmu *m)
{
    struct remembered *r = &m->tlb->remembered;
    struct tlb_set *s = m->tlb->current;    /* perhaps another one than before, with entries of its own */

    for (enum view v = 0; v < VIEW_COUNT; v++) {
        if (r->data_local[v])
            forget_data(m, v);
        else
            r->data_local[v] = has_local(s, v);
    }
    for (enum view v = VIEW_USER; v <= VIEW_KERNEL; v++) {
        if (r->fetch_local[v])
            forget_fetches(m, v);
        else
            r->fetch_local[v] = s->table[v][ACCESS_FETCH].local.count;
    }
}

void remembered_page_gone(struct mmu *m, gla a, const u8 data[VIEW_COUNT], const u8 fetch[2])
{
    struct remembered *r = &m->tlb->remembered;

    for (enum view v = 0; v < VIEW_COUNT; v++) {
        if (!m->site_used[v])
            continue;
        unsigned gone = data[v] | filter_find(&r->data[v], a);
        if (gone & GONE_LARGE)
            forget_data(m, v);
        else if (gone)
            forget_page(m, v, a & PAGE_MASK);
    }
    for (enum view v = VIEW_USER; v <= VIEW_KERNEL; v++)
        if (fetch[v] | filter_find(&r->fetch[v], a))
            forget_fetches(m, v);
}
