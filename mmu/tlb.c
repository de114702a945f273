/* tlb.c - the software TLB of a vCPU: filling it, flushing it, changing the address space. SDM 3A 4.10.
 *
 * A table per view and kind of access (tlb_table.c); what the view may not do has no entry, so a hit needs no further
 * check. Up to TLB_SETS address spaces (PCIDs) are kept, each a full set of tables; without PCIDs there is one. An entry
 * maps 4 KiB, whatever the size of the guest's page. For data on large pages there are two more tables per view, whose
 * entries map granules of 2 MiB: those that are memory as a whole, for writes without any code. From them those
 * of 4 KiB are made without a walk, when somebody wants to have them.
 *
 * Entries whose tag has TLB_SLOW set remember the translation, but their data is reached through physmap: MMIO, holes,
 * ROM (writes), pages that share their 4 KiB with something else, pages with code (writes), pages of video memory
 * (writes: the log's owner clears dirty bits on another thread, and an entry that stayed would lose what is written after).
 *
 * Whatever is dropped here is told to sites.c, because translated code remembers translations as well.
 */
#include "mmu/mmu_private.h"

#include <stdlib.h>

static _Thread_local char thread_mark;

const void *tlb_this_thread(void) { return &thread_mark; }

u64 mmu_walk_count(const struct mmu *m) { return m->tlb->walks; }

void tlb_refresh_tables(struct mmu *m)
{
    struct tlb_set *s = m->tlb->current;

    for (enum view v = 0; v < VIEW_COUNT; v++) {
        const struct tlb_table *rd = set_table(s, v, ACCESS_READ), *wr = set_table(s, v, ACCESS_WRITE);
        const struct tlb_table *ex = set_table(s, v, ACCESS_FETCH);
        const struct tlb_table *rd2 = set_large(s, v, ACCESS_READ), *wr2 = set_large(s, v, ACCESS_WRITE);
        m->tables[v] = (struct tlb_view){
            .rd = rd->entry, .rd_mask = table_mask(rd), .wr = wr->entry, .wr_mask = table_mask(wr),
            .ex = ex->entry, .ex_mask = table_mask(ex), .ex_page = ex->info,
            .large = { .rd = rd2->entry, .rd_mask = table_mask(rd2), .wr = wr2->entry, .wr_mask = table_mask(wr2) },
        };
    }
    mmu_set_view(m, m->view);
}

/* --------------------------------------------------------------------------------------------- flushing ----- */

static void forget_upper(struct tlb *t, struct tlb_set *s) { s->upper_stamp = ++t->stamps; }

static void set_flush(struct mmu *m, struct tlb_set *s, enum tlb_which which)
{
    forget_upper(m->tlb, s);
    if (!s->filled)
        return;
    s->filled = false;
    for (unsigned v = 0; v < VIEW_COUNT; v++) {
        for (unsigned k = 0; k < TLB_TABLES; k++) {
            table_flush(m, &s->table[v][k], which);
            s->filled |= s->table[v][k].size > table_size_min(&s->table[v][k]) || !table_empty(&s->table[v][k]);
        }
    }
}

/* What of a page was dropped: enum tlb_gone per view. */
struct gone { u8 data[VIEW_COUNT], fetch[2]; };

static void set_flush_page(struct tlb_set *s, gla a, enum tlb_which which, struct gone *gone)
{
    if (!s->filled)
        return;
    for (enum view v = 0; v < VIEW_COUNT; v++) {
        for (enum access k = ACCESS_READ; k <= ACCESS_WRITE; k++)
            gone->data[v] |= (u8)(table_flush_page(set_table(s, v, k), a, which) | table_flush_page(set_large(s, v, k), a, which));
        if (v != VIEW_KERNEL_SMAP)
            gone->fetch[v] |= (u8)table_flush_page(&s->table[v][ACCESS_FETCH], a, which);
    }
}

void mmu_flush_all(struct mmu *m)
{
    for (unsigned i = 0; i < TLB_SETS; i++)
        set_flush(m, &m->tlb->set[i], TLB_ALL);
    remembered_all_gone(m);
}

void mmu_flush_nonglobal(struct mmu *m)
{
    set_flush(m, m->tlb->current, TLB_LOCAL);
    remembered_local_gone(m);
}

/* INVLPG: the page in the current address space, and global translations of it in all. */
void mmu_flush_page(struct mmu *m, gla a)
{
    struct gone gone = { 0 };

    for (unsigned i = 0; i < TLB_SETS; i++) {
        struct tlb_set *s = &m->tlb->set[i];
        forget_upper(m->tlb, s);
        set_flush_page(s, a, s == m->tlb->current ? TLB_ALL : TLB_GLOBAL, &gone);
    }
    remembered_page_gone(m, a, gone.data, gone.fetch);
}

static void flush_pcid_page(struct mmu *m, struct tlb_set *s, gla a)
{
    struct gone gone = { 0 };

    forget_upper(m->tlb, s);
    set_flush_page(s, a, TLB_LOCAL, &gone);
    if (s == m->tlb->current)   /* what was remembered of other address spaces went when they were left */
        remembered_page_gone(m, a, gone.data, gone.fetch);
}

/* INVPCID, SDM 2A. An address space that is not in a set has no entries. */
void mmu_invpcid(struct mmu *m, enum invpcid type, u16 pcid, gla a)
{
    if (type == INVPCID_ALL_GLOBAL) {
        mmu_flush_all(m);
        return;
    }
    for (unsigned i = 0; i < TLB_SETS; i++) {
        struct tlb_set *s = &m->tlb->set[i];
        if (type != INVPCID_ALL && s->pcid != pcid)
            continue;
        if (type == INVPCID_ADDRESS) {
            flush_pcid_page(m, s, a);
        } else {
            set_flush(m, s, TLB_LOCAL);
            if (s == m->tlb->current)
                remembered_local_gone(m);
        }
    }
}

void tlb_drop_host_page(struct mmu *m, const u8 *page)
{
    for (unsigned i = 0; i < TLB_SETS; i++) {
        struct tlb_set *s = &m->tlb->set[i];
        for (enum view v = 0; v < VIEW_COUNT && s->filled; v++) {
            table_drop_host_page(m, set_table(s, v, ACCESS_WRITE), page);
            table_drop_host_page(m, set_large(s, v, ACCESS_WRITE), page);
        }
    }
    sites_drop_host_page(m, page);
}

void tlb_flush_if_wanted(struct mmu *m)
{
    if (unlikely(atomic_load_explicit(&m->tlb->flush_wanted, memory_order_relaxed)) &&
        atomic_exchange(&m->tlb->flush_wanted, false))
        mmu_flush_all(m);
}

/* ------------------------------------------------------------------------------- the paging mode changes ----- */

/* The set of a PCID; the one that was used longest ago makes room. */
static struct tlb_set *find_set(struct mmu *m, u16 pcid)
{
    struct tlb *t = m->tlb;
    struct tlb_set *oldest = &t->set[0];

    for (unsigned i = 0; i < TLB_SETS; i++) {
        struct tlb_set *s = &t->set[i];
        if (s->pcid == pcid)
            return s;
        if (s->last_use < oldest->last_use)
            oldest = s;
    }
    set_flush(m, oldest, TLB_LOCAL);
    oldest->pcid = pcid;
    return oldest;
}

static void use_set(struct mmu *m, u16 pcid, bool flush)
{
    struct tlb *t = m->tlb;
    struct tlb_set *s = find_set(m, pcid);

    s->last_use = ++t->uses;
    if (flush)
        set_flush(m, s, TLB_LOCAL);
    if (s != t->current) {
        t->current = s;
        tlb_refresh_tables(m);
    } else if (!flush) {
        return;
    }
    remembered_local_gone(m);
}

/* Entries were made for the old value, though it is no invalidation. */
static void write_protect(struct mmu *m)
{
    for (enum view v = VIEW_KERNEL; v <= VIEW_KERNEL_SMAP; v++) {
        for (unsigned i = 0; i < TLB_SETS; i++) {
            table_flush(m, set_table(&m->tlb->set[i], v, ACCESS_WRITE), TLB_ALL);
            table_flush(m, set_large(&m->tlb->set[i], v, ACCESS_WRITE), TLB_ALL);
        }
        sites_clear_writes(m, v);
    }
}

/* SDM 3A 4.10.4.1 */
void mmu_set_paging(struct mmu *m, u64 cr0, u64 cr3, u64 cr4, u64 efer, bool cr3_written, bool keep_pcid)
{
    const u64 cr4_all = MMU_CR4_PSE | MMU_CR4_PAE | MMU_CR4_PGE | MMU_CR4_PCIDE | MMU_CR4_SMEP | MMU_CR4_SMAP;
    bool all = (m->cr0 ^ cr0) & MMU_CR0_PG || (m->cr4 ^ cr4) & cr4_all ||
               (m->efer ^ efer) & (MMU_EFER_NXE | MMU_EFER_LMA);
    bool protect = cr0 & ~m->cr0 & MMU_CR0_WP;
    bool pcids = cr4 & MMU_CR4_PCIDE;

    if (m->cr3 != cr3 && !cr3_written)      /* reset and the like */
        cr3_written = true, keep_pcid = false;
    m->cr0 = cr0;
    m->cr3 = cr3;
    m->cr4 = cr4;
    m->efer = efer;
    if (all)
        mmu_flush_all(m);
    use_set(m, pcids ? cr3 & 0xfff : 0, cr3_written && !(pcids && keep_pcid));
    if (protect)
        write_protect(m);
}

void mmu_init(struct mmu *m, struct physmap *phys, unsigned phys_bits)
{
    struct tlb *t = calloc(1, sizeof(*t));

    if (!t)
        abort();
    for (unsigned i = 0; i < TLB_SETS; i++) {
        t->set[i].pcid = (u16)(0xf000 + i);     /* nobody's */
        t->set[i].upper_stamp = ++t->stamps;
        for (enum view v = 0; v < VIEW_COUNT; v++)
            for (unsigned k = 0; k < TLB_TABLES; k++)
                table_init(&t->set[i].table[v][k], v, k);
    }
    memset(m, 0, sizeof(*m));
    m->tlb = t;
    m->phys = phys;
    m->phys_bits = (u8)phys_bits;
    m->gbpages = true;
    m->view = VIEW_KERNEL;
    t->next_mmu = phys->mmus;
    phys->mmus = m;
    sites_init(m);
    use_set(m, 0, true);
}

void mmu_attach(struct mmu *m) { atomic_store(&m->tlb->thread, tlb_this_thread()); }

void mmu_fini(struct mmu *m)
{
    for (struct mmu **link = &m->phys->mmus; *link; link = &(*link)->tlb->next_mmu) {
        if (*link == m) {
            *link = m->tlb->next_mmu;
            break;
        }
    }
    for (unsigned i = 0; i < TLB_SETS; i++)
        for (unsigned v = 0; v < VIEW_COUNT; v++)
            for (unsigned k = 0; k < TLB_TABLES; k++)
                table_fini(&m->tlb->set[i].table[v][k]);
    sites_fini(m);
    free(m->tlb);
    m->tlb = NULL;
}

/* ---------------------------------------------------------------------------------------------- filling ----- */

/* The entry says something else about its page now, though nobody invalidated it: rare. */
static void entry_changes(struct mmu *m, const struct tlb_table *t, gla page)
{
    struct gone gone = { 0 };

    if (t->access == ACCESS_FETCH)
        gone.fetch[t->view] = GONE_PAGE;
    else
        gone.data[t->view] = t->shift > PAGE_SHIFT ? GONE_LARGE : GONE_PAGE;
    remembered_page_gone(m, page, gone.data, gone.fetch);
}

static void install(struct mmu *m, struct tlb_table *t, gla page, u64 tag_bits, u64 addend, gpa pa, unsigned info,
                    const struct walk *w)
{
    u32 i = table_room(m, t, page);

    if (unlikely((t->entry[i].tag & ~(u64)TLB_SLOW) == page && (t->info[i] ^ pa) & PAGE_MASK))
        entry_changes(m, t, page);
    table_put(t, i, (struct tlb_entry){ page | tag_bits, addend }, pa | w->page_shift | info, w->global);
    remembered_installed(m, t, w->global);
}

/* An entry that comes along with another access must not push out what is in use: source and destination of a copy would
 * push out each other for ever. */
static bool free_for(const struct tlb_table *t, gla page)
{
    u64 tag = t->entry[table_index(t, page)].tag;
    return tag == TLB_INVALID || (tag & ~(u64)TLB_SLOW) == page;
}

static bool has_code(const struct flat *f, gpa pa, u64 bytes)
{
    u64 offset = f->ram_offset + (pa - f->start);
    return atomic_load(&f->ram->code[offset >> PAGE_SHIFT]) & code_chunks(offset, bytes);
}

/* Nothing but memory whose writes nobody wants to know of. Granules are counted by where they lie in the memory. */
static bool granule_writable(const struct flat *f, gpa granule)
{
    u64 offset = f->ram_offset + (granule - f->start);
    return f->kind == REGION_RAM && !f->dirty && !(offset & ~GRANULE_MASK) &&
           !atomic_load(&f->ram->code_pages[offset >> GRANULE_SHIFT]);
}

/* For data at a, on the page at pa, if that is a piece of a large one. */
static void fill_granule(struct mmu *m, gla a, gpa pa, enum access access, enum view view, const struct flat *f,
                         const struct walk *w)
{
    gla page = a & GRANULE_MASK;
    gpa granule = pa & GRANULE_MASK;
    u64 addend = (uintptr_t)f->host + (granule - f->start) - page;

    if (granule < f->start || f->last - granule < GRANULE_SIZE - 1 ||
        ~atomic_load_explicit(&m->phys->a20_mask, memory_order_relaxed))
        return;
    struct tlb_table *reads = set_large(m->tlb->current, view, ACCESS_READ);
    if (access != ACCESS_WRITE || free_for(reads, page))
        install(m, reads, page, 0, addend, granule, 0, w);
    struct tlb_table *writes = set_large(m->tlb->current, view, ACCESS_WRITE);
    if (w->writable && granule_writable(f, granule) && (access == ACCESS_WRITE || free_for(writes, page)))
        install(m, writes, page, 0, addend, granule, 0, w);
}

/* A page of a granule that has an entry gets one of its own. */
static bool fill_from_granule(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h)
{
    const struct tlb_table *large = set_large(m->tlb->current, view, access);
    u32 i = table_index(large, a);
    const struct tlb_entry *e = &large->entry[i];

    if (e->tag != (a & GRANULE_MASK))
        return false;
    h->pa = (large->info[i] & PAGE_MASK) | (a & ~GRANULE_MASK);
    h->host = (u8 *)(uintptr_t)(a + e->addend);
    struct walk w = { .page_shift = large->info[i] & INFO_SHIFT, .global = table_bit(large->global.word, i) };
    install(m, set_table(m->tlb->current, view, access), a & PAGE_MASK, 0, e->addend, h->pa & PAGE_MASK, 0, &w);
    return true;
}

bool tlb_fault(struct mmu *m, gla a, u32 error)
{
    struct tlb_set *s = m->tlb->current;
    struct gone gone = { 0 };

    /* A page fault drops what the TLB knows of the address (SDM 3A 4.10.4.1), so that a retry sees the new entry. */
    set_flush_page(s, a, TLB_ALL, &gone);
    set_upper(s, a)->stamp = 0;
    remembered_page_gone(m, a, gone.data, gone.fetch);
    m->fault = (struct mmu_fault){ a, error };
    return false;
}

static bool fill(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h)
{
    struct tlb *t = m->tlb;
    struct walk w;
    u32 error;

    if (unlikely(atomic_load_explicit(&t->thread, memory_order_relaxed) != tlb_this_thread()))
        atomic_store(&t->thread, tlb_this_thread());
    tlb_flush_if_wanted(m);
    t->walks++;
    if (unlikely(!walk_page(m, a, access, view, 0, &w, &error)))
        return tlb_fault(m, a, error);

    gpa pa = (w.pa & PAGE_MASK) & atomic_load_explicit(&m->phys->a20_mask, memory_order_relaxed);
    gla page = a & PAGE_MASK;
    struct tlb_set *s = t->current;
    const struct flat *f = flat_near(physmap_map(m->phys), pa, &t->page_hint);
    u8 *host = f && f->host && f->last - pa >= PAGE_SIZE - 1 ? f->host + (pa - f->start) : NULL;
    u64 addend = (uintptr_t)host - page;

    s->filled = true;
    h->pa = pa | (a & ~PAGE_MASK);
    h->host = host ? host + (a & ~PAGE_MASK) : NULL;
    /* What may be written may be read. */
    struct tlb_table *reads = set_table(s, view, access == ACCESS_FETCH ? ACCESS_FETCH : ACCESS_READ);
    if (access != ACCESS_WRITE || free_for(reads, page))
        install(m, reads, page, host ? 0 : TLB_SLOW, addend, pa, 0, &w);
    if (w.page_shift >= GRANULE_SHIFT && host && access != ACCESS_FETCH && !m->tlb_no_granules)
        fill_granule(m, a, pa, access, view, f, &w);
    if (access == ACCESS_FETCH || !w.writable)
        return true;

    bool code = host && has_code(f, pa, PAGE_SIZE);
    bool fast = host && f->kind == REGION_RAM && !f->dirty && !code;
    struct tlb_table *writes = set_table(s, view, ACCESS_WRITE);
    if (access == ACCESS_WRITE || free_for(writes, page))
        install(m, writes, page, fast ? 0 : TLB_SLOW, fast ? addend : 0, pa,
                code && f->kind == REGION_RAM && !f->dirty ? INFO_CODE : 0, &w);
    if (access == ACCESS_WRITE && !fast)
        h->host = NULL;
    return true;
}

/* A slow entry because of code on the page: is there still any? */
static void promote(struct mmu *m, struct tlb_table *t, u32 i)
{
    gpa pa = t->info[i] & PAGE_MASK;
    const struct flat *f = flat_find(physmap_map(m->phys), pa);

    if (!f || f->kind != REGION_RAM || f->dirty || f->last - pa < PAGE_SIZE - 1 || has_code(f, pa, PAGE_SIZE))
        return;
    t->info[i] &= ~(u64)INFO_CODE;
    t->entry[i].tag &= PAGE_MASK;
    t->entry[i].addend = (uintptr_t)(f->host + (pa - f->start)) - t->entry[i].tag;
}

bool tlb_translate(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h)
{
    struct tlb_table *t = set_table(m->tlb->current, view, access);
    u32 i = table_index(t, a);
    const struct tlb_entry *e = &t->entry[i];

    if (unlikely((e->tag & ~(u64)TLB_SLOW) != (a & PAGE_MASK)))
        return (access != ACCESS_FETCH && fill_from_granule(m, a, access, view, h)) || fill(m, a, access, view, h);
    if (unlikely(t->info[i] & INFO_CODE && access == ACCESS_WRITE))
        promote(m, t, i);
    h->pa = (t->info[i] & PAGE_MASK) | (a & ~PAGE_MASK);
    h->host = e->tag & TLB_SLOW ? NULL : (u8 *)(uintptr_t)(a + e->addend);
    return true;
}

bool tlb_knows(struct mmu *m, gla a, enum access access, enum view view)
{
    const struct tlb_table *t = set_table(m->tlb->current, view, access);

    return (t->entry[table_index(t, a)].tag & ~(u64)TLB_SLOW) == (a & PAGE_MASK);
}

/* Memory on a page that has no fast entry. The vCPU's thread is the one that decodes, so no chunk that is free of code
 * now can get some before the caller's access. */
static u8 *slow_host(struct mmu *m, gpa pa, unsigned bytes, enum access access)
{
    const struct flat *f = flat_find(physmap_map(m->phys), pa);

    if (!f || !f->host || f->last - pa < bytes - 1)
        return NULL;
    if (access == ACCESS_WRITE) {
        if (f->kind != REGION_RAM || f->dirty)
            return NULL;
        if (f->last - (pa & PAGE_MASK) >= PAGE_SIZE - 1 && (pa & PAGE_MASK) >= f->start)
            codepages_slow_write(m->phys, f, pa);
        if (has_code(f, pa, bytes))
            return NULL;
    }
    return f->host + (pa - f->start);
}

u8 *mmu_host(struct mmu *m, gla a, unsigned bytes, enum access access, enum view view)
{
    struct tlb_hit h;

    if (bytes - 1 > PAGE_SIZE - 1 - (unsigned)(a & ~PAGE_MASK) || !tlb_translate(m, a, access, view, &h))
        return NULL;
    u8 *host = likely(h.host) ? h.host : slow_host(m, h.pa, bytes, access);
    if (unlikely(m->watch) && host && access == ACCESS_WRITE)
        m->watch->write(m->watch->ctx, h.pa, host, bytes);
    return host;
}
