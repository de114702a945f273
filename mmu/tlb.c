/* tlb.c - the software TLB of a vCPU: filling it and flushing it. SDM 3A 4.10.
 *
 * A table per view and kind of access, direct-mapped by the low bits of the page number; what the view may not do has no
 * entry, so a hit needs no further check. Up to TLB_SETS address spaces (PCIDs) are kept, each a full set of tables;
 * without PCIDs there is one. An entry maps 4 KiB, whatever the size of the guest's page.
 *
 * Entries whose tag has TLB_SLOW set remember the translation, but their data is reached through physmap: MMIO, holes,
 * ROM (writes), pages that share their 4 KiB with something else, pages with code (writes), pages of video memory
 * (writes: the log's owner clears dirty bits on another thread, and an entry that stayed would lose what is written after).
 *
 * Flushing costs what is there: each table has bitmaps of used, global and large entries, and a set of tables
 * that is empty is skipped. INVLPG has to drop all fragments of a large page (4.10.4.1); they have consecutive indices,
 * so it looks at the large entries of each table only, and at nothing where there are none.
 */
#include "mmu/mmu_private.h"

#include <stdlib.h>

static _Thread_local char thread_mark;

const void *tlb_this_thread(void) { return &thread_mark; }

/* Instruction fetches know no SMAP. */
static inline struct tlb_table *table_of(struct tlb_set *s, enum view view, enum access access)
{
    if (access == ACCESS_FETCH && view == VIEW_KERNEL_SMAP)
        view = VIEW_KERNEL;
    return &s->table[view][access];
}

struct tlb_entry *mmu_view_table(struct mmu *m, enum view view, enum access access)
{
    return table_of(m->tlb->current, view, access)->entry;
}

const u64 *mmu_view_pages(struct mmu *m, enum view view, enum access access)
{
    return table_of(m->tlb->current, view, access)->info;
}

u64 mmu_walk_count(const struct mmu *m) { return m->tlb->walks; }

/* --------------------------------------------------------------------------------------------- flushing ----- */

static void table_flush(struct tlb_table *t, bool keep_global)
{
    bool any = false;

    if (!t->any)
        return;
    for (unsigned w = 0; w < TLB_WORDS; w++) {
        u64 drop = keep_global ? t->used[w] & ~t->global[w] : t->used[w];
        t->used[w] &= ~drop;
        t->global[w] &= ~drop;
        t->large[w] &= ~drop;
        any |= t->used[w] != 0;
        for (; drop; drop &= drop - 1)
            t->entry[w * 64 + (unsigned)__builtin_ctzll(drop)].tag = TLB_INVALID;
    }
    t->any = any;
}

static void table_drop(struct tlb_table *t, unsigned i)
{
    u64 keep = ~((u64)1 << (i % 64));

    t->entry[i].tag = TLB_INVALID;
    t->used[i / 64] &= keep;
    t->global[i / 64] &= keep;
    t->large[i / 64] &= keep;
}

static inline bool table_bit(const u64 *word, unsigned i) { return word[i / 64] >> (i % 64) & 1; }

/* The entry of the page that holds a, and all pieces of a large page that holds it. */
static void table_flush_page(struct tlb_table *t, gla a, bool keep_global)
{
    unsigned i = tlb_index(a);

    if (!t->any)
        return;
    if (table_bit(t->used, i) && (t->entry[i].tag & PAGE_MASK) == (a & PAGE_MASK) &&
        !(keep_global && table_bit(t->global, i)))
        table_drop(t, i);
    for (unsigned w = 0; w < TLB_WORDS; w++) {
        for (u64 left = keep_global ? t->large[w] & ~t->global[w] : t->large[w]; left; left &= left - 1) {
            i = w * 64 + (unsigned)__builtin_ctzll(left);
            if (!((t->entry[i].tag ^ a) >> (t->info[i] & INFO_SHIFT)))
                table_drop(t, i);
        }
    }
}

static void set_flush(struct tlb_set *s, bool keep_global)
{
    for (unsigned v = 0; v < VIEW_COUNT; v++)
        for (unsigned k = 0; k < TLB_TABLES; k++)
            table_flush(&s->table[v][k], keep_global);
}

static void set_flush_page(struct tlb_set *s, gla a, bool keep_global)
{
    for (unsigned v = 0; v < VIEW_COUNT; v++)
        for (unsigned k = 0; k < TLB_TABLES; k++)
            table_flush_page(&s->table[v][k], a, keep_global);
}

void mmu_flush_all(struct mmu *m)
{
    for (unsigned i = 0; i < TLB_SETS; i++)
        set_flush(&m->tlb->set[i], false);
}

void mmu_flush_nonglobal(struct mmu *m) { set_flush(m->tlb->current, true); }

/* INVLPG: the page in the current address space, and global translations of it in all. */
void mmu_flush_page(struct mmu *m, gla a)
{
    for (unsigned i = 0; i < TLB_SETS; i++) {
        struct tlb_set *s = &m->tlb->set[i];
        if (s == m->tlb->current) {
            set_flush_page(s, a, false);
            continue;
        }
        for (unsigned v = 0; v < VIEW_COUNT; v++) {
            for (unsigned k = 0; k < TLB_TABLES; k++) {
                struct tlb_table *t = &s->table[v][k];
                if (!t->any)
                    continue;
                for (unsigned w = 0; w < TLB_WORDS; w++) {
                    for (u64 left = t->global[w]; left; left &= left - 1) {
                        unsigned e = w * 64 + (unsigned)__builtin_ctzll(left);
                        if (!((t->entry[e].tag ^ a) >> (t->info[e] & INFO_SHIFT)))
                            table_drop(t, e);
                    }
                }
            }
        }
    }
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
        if (type == INVPCID_ALL)
            set_flush(s, true);
        else if (s->pcid == pcid && type == INVPCID_SINGLE)
            set_flush(s, true);
        else if (s->pcid == pcid)
            set_flush_page(s, a, true);
    }
}

void tlb_drop_host_page(struct mmu *m, const u8 *page)
{
    for (unsigned i = 0; i < TLB_SETS; i++) {
        for (unsigned v = 0; v < VIEW_COUNT; v++) {
            struct tlb_table *t = &m->tlb->set[i].table[v][ACCESS_WRITE];
            if (!t->any)
                continue;
            for (unsigned w = 0; w < TLB_WORDS; w++) {
                for (u64 left = t->used[w]; left; left &= left - 1) {
                    unsigned e = w * 64 + (unsigned)__builtin_ctzll(left);
                    if (t->entry[e].tag + t->entry[e].addend == (uintptr_t)page)
                        table_drop(t, e);
                }
            }
        }
    }
}

void tlb_flush_if_wanted(struct mmu *m)
{
    if (unlikely(atomic_load_explicit(&m->tlb->flush_wanted, memory_order_relaxed)) &&
        atomic_exchange(&m->tlb->flush_wanted, false))
        mmu_flush_all(m);
}

/* ------------------------------------------------------------------------------- the paging mode changes ----- */

/* The set of a PCID; the one that was used longest ago makes room. */
static void use_set(struct tlb *t, u16 pcid)
{
    struct tlb_set *oldest = &t->set[0];

    for (unsigned i = 0; i < TLB_SETS; i++) {
        struct tlb_set *s = &t->set[i];
        if (s->pcid == pcid) {
            oldest = s;
            break;
        }
        if (s->last_use < oldest->last_use)
            oldest = s;
    }
    if (oldest->pcid != pcid) {
        set_flush(oldest, true);
        oldest->pcid = pcid;
    }
    oldest->last_use = ++t->uses;
    t->current = oldest;
}

/* SDM 3A 4.10.4.1. A change of CR0.WP is no invalidation, but entries were made for its old value. */
void mmu_set_paging(struct mmu *m, u64 cr0, u64 cr3, u64 cr4, u64 efer, bool cr3_written, bool keep_pcid)
{
    const u64 cr4_all = MMU_CR4_PSE | MMU_CR4_PAE | MMU_CR4_PGE | MMU_CR4_PCIDE | MMU_CR4_SMEP | MMU_CR4_SMAP;
    bool all = (m->cr0 ^ cr0) & MMU_CR0_PG || (m->cr4 ^ cr4) & cr4_all ||
               (m->efer ^ efer) & (MMU_EFER_NXE | MMU_EFER_LMA);
    bool write_protect = cr0 & ~m->cr0 & MMU_CR0_WP;
    bool pcids = cr4 & MMU_CR4_PCIDE;

    if (m->cr3 != cr3 && !cr3_written)      /* reset and the like */
        cr3_written = true, keep_pcid = false;
    m->cr0 = cr0;
    m->cr3 = cr3;
    m->cr4 = cr4;
    m->efer = efer;
    if (all)
        mmu_flush_all(m);
    use_set(m->tlb, pcids ? cr3 & 0xfff : 0);
    if (cr3_written && !(pcids && keep_pcid))
        mmu_flush_nonglobal(m);
    if (write_protect) {
        for (unsigned i = 0; i < TLB_SETS; i++) {
            table_flush(&m->tlb->set[i].table[VIEW_KERNEL][ACCESS_WRITE], false);
            table_flush(&m->tlb->set[i].table[VIEW_KERNEL_SMAP][ACCESS_WRITE], false);
        }
    }
    mmu_set_view(m, m->view);
}

void mmu_init(struct mmu *m, struct physmap *phys, unsigned phys_bits)
{
    struct tlb *t = calloc(1, sizeof(*t));

    if (!t)
        abort();
    for (unsigned i = 0; i < TLB_SETS; i++) {
        t->set[i].pcid = (u16)(0xf000 + i);     /* nobody's */
        for (unsigned v = 0; v < VIEW_COUNT; v++)
            for (unsigned k = 0; k < TLB_TABLES; k++)
                for (unsigned e = 0; e < TLB_SIZE; e++)
                    t->set[i].table[v][k].entry[e].tag = TLB_INVALID;
    }
    memset(m, 0, sizeof(*m));
    m->tlb = t;
    m->phys = phys;
    m->phys_bits = (u8)phys_bits;
    m->gbpages = true;
    t->next_mmu = phys->mmus;
    phys->mmus = m;
    use_set(t, 0);
    mmu_set_view(m, VIEW_KERNEL);
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
    free(m->tlb);
    m->tlb = NULL;
}

/* ---------------------------------------------------------------------------------------------- filling ----- */

static void install(struct tlb_table *t, gla page, u64 tag_bits, u64 addend, gpa pa, unsigned info, const struct walk *w)
{
    unsigned i = tlb_index(page), word = i / 64;
    u64 bit = (u64)1 << (i % 64);

    t->entry[i] = (struct tlb_entry){ page | tag_bits, addend };
    t->info[i] = pa | w->page_shift | info;
    t->used[word] |= bit;
    t->global[word] = w->global ? t->global[word] | bit : t->global[word] & ~bit;
    t->large[word] = w->page_shift > PAGE_SHIFT ? t->large[word] | bit : t->large[word] & ~bit;
    t->any = true;
}

bool tlb_fault(struct mmu *m, gla a, u32 error)
{
    /* A page fault drops what the TLB knows of the address (SDM 3A 4.10.4.1), so that a retry sees the new entry. */
    set_flush_page(m->tlb->current, a, false);
    m->fault = (struct mmu_fault){ a, error };
    return false;
}

static bool fill(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h)
{
    struct walk w;
    u32 error;

    if (unlikely(atomic_load_explicit(&m->tlb->thread, memory_order_relaxed) != tlb_this_thread()))
        atomic_store(&m->tlb->thread, tlb_this_thread());
    tlb_flush_if_wanted(m);
    m->tlb->walks++;
    if (unlikely(!walk_page(m, a, access, view, 0, &w, &error)))
        return tlb_fault(m, a, error);

    gpa pa = (w.pa & PAGE_MASK) & atomic_load_explicit(&m->phys->a20_mask, memory_order_relaxed);
    gla page = a & PAGE_MASK;
    struct tlb_set *s = m->tlb->current;
    const struct flat *f = flat_find(physmap_map(m->phys), pa);
    u8 *host = f && f->host && f->last - pa >= PAGE_SIZE - 1 ? f->host + (pa - f->start) : NULL;
    u64 addend = (uintptr_t)host - page;

    h->pa = pa | (a & ~PAGE_MASK);
    h->host = host ? host + (a & ~PAGE_MASK) : NULL;
    if (access != ACCESS_WRITE)
        install(table_of(s, view, access), page, host ? 0 : TLB_SLOW, addend, pa, 0, &w);
    if (access == ACCESS_FETCH || !w.writable)
        return true;

    bool code = host && atomic_load(&f->ram->code[(f->ram_offset + (pa - f->start)) >> PAGE_SHIFT]);
    bool fast = host && f->kind == REGION_RAM && !f->dirty && !code;
    install(table_of(s, view, ACCESS_WRITE), page, fast ? 0 : TLB_SLOW, fast ? addend : 0, pa,
            code && f->kind == REGION_RAM && !f->dirty ? INFO_CODE : 0, &w);
    if (access == ACCESS_WRITE) {
        /* What may be written may be read. */
        install(table_of(s, view, ACCESS_READ), page, host ? 0 : TLB_SLOW, addend, pa, 0, &w);
        if (!fast)
            h->host = NULL;
    }
    return true;
}

/* A slow entry because of code on the page: is there still any? */
static void promote(struct mmu *m, struct tlb_table *t, unsigned i)
{
    gpa pa = t->info[i] & PAGE_MASK;
    const struct flat *f = flat_find(physmap_map(m->phys), pa);

    if (!f || f->kind != REGION_RAM || f->dirty || f->last - pa < PAGE_SIZE - 1 ||
        atomic_load(&f->ram->code[(f->ram_offset + (pa - f->start)) >> PAGE_SHIFT]))
        return;
    t->info[i] &= ~(u64)INFO_CODE;
    t->entry[i].tag &= PAGE_MASK;
    t->entry[i].addend = (uintptr_t)(f->host + (pa - f->start)) - t->entry[i].tag;
}

bool tlb_translate(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h)
{
    struct tlb_table *t = table_of(m->tlb->current, view, access);
    unsigned i = tlb_index(a);
    const struct tlb_entry *e = &t->entry[i];

    if (unlikely((e->tag & ~(u64)TLB_SLOW) != (a & PAGE_MASK)))
        return fill(m, a, access, view, h);
    if (unlikely(t->info[i] & INFO_CODE && access == ACCESS_WRITE))
        promote(m, t, i);
    h->pa = (t->info[i] & PAGE_MASK) | (a & ~PAGE_MASK);
    h->host = e->tag & TLB_SLOW ? NULL : (u8 *)(uintptr_t)(a + e->addend);
    return true;
}

bool tlb_knows(struct mmu *m, gla a, enum access access, enum view view)
{
    const struct tlb_entry *e = &table_of(m->tlb->current, view, access)->entry[tlb_index(a)];

    return (e->tag & ~(u64)TLB_SLOW) == (a & PAGE_MASK);
}
