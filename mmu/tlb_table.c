/* tlb_table.c - one table of the TLB: direct-mapped by the low bits of the page number, with a size of its own. Its entries are
 * for pages of 4 KiB, or for granules of large pages.
 *
 * A table is made when the first entry is put into it. It grows when many valid entries had to go for others, that is
 * when the working set does not fit or pages far apart want the same place; it shrinks after many flushes that found it
 * nearly empty. Growing keeps all entries (two of them never meet in a larger table).
 *
 * Flushing is made to cost what is there: bitmaps of the valid entries, those that are global apart, and above them
 * one bit per word. INVLPG has to drop all pieces of a large page (SDM 3A 4.10.4.1). The pieces of a page of 2 or 4 MiB have
 * consecutive indices; for pages of 1 GiB, which may be anywhere, a list says which ones have been cut at all.
 */
#include "mmu/mmu_private.h"

#include <stdlib.h>

static struct tlb_entry no_entry[1] = { { TLB_INVALID, 0 } };   /* never written */
static u64 no_info[1];

void table_init(struct tlb_table *t, enum view view, unsigned which)
{
    memset(t, 0, sizeof(*t));
    t->entry = no_entry;
    t->info = no_info;
    t->view = (u8)view;
    t->access = (u8)(which % TLB_LARGE);
    t->shift = which < TLB_LARGE ? PAGE_SHIFT : GRANULE_SHIFT;
}

static u32 size_max(const struct tlb_table *t) { return t->shift == PAGE_SHIFT ? TLB_MAX : TLB_LARGE_MAX; }

void table_fini(struct tlb_table *t)
{
    if (t->size)
        free(t->entry);
}

/* ------------------------------------------------------------------------------------------------- bits ----- */

static inline void bits_set(struct tlb_bits *b, u32 i)
{
    b->word[i / 64] |= (u64)1 << (i % 64);
    b->sum[i / 4096] |= (u64)1 << (i / 64 % 64);
    b->count++;
}

static inline void bits_clear(struct tlb_bits *b, u32 i)
{
    u64 left = b->word[i / 64] &= ~((u64)1 << (i % 64));
    if (!left)
        b->sum[i / 4096] &= ~((u64)1 << (i / 64 % 64));
    b->count--;
}

static inline unsigned take_lowest(u64 *bits)
{
    unsigned n = (unsigned)__builtin_ctzll(*bits);
    *bits &= *bits - 1;
    return n;
}

/* ----------------------------------------------------------------------------------------------- entries ----- */

/* Bit of the region's filter. */
static u32 region_bit(gla a) { return (u32)((a >> 22) * 0x9e3779b97f4a7c15u >> 52); }

static void note_huge(struct tlb_table *t, u64 number)
{
    if (t->huge_count > TLB_HUGE)
        return;
    for (unsigned i = 0; i < t->huge_count; i++)
        if (t->huge[i] == number)
            return;
    if (t->huge_count < TLB_HUGE)
        t->huge[t->huge_count] = number;
    t->huge_count++;
}

void table_drop(struct tlb_table *t, u32 i)
{
    t->entry[i].tag = TLB_INVALID;
    bits_clear(table_bit(t->global.word, i) ? &t->global : &t->local, i);
    if (unlikely(table_bit(t->large, i))) {
        t->large[i / 64] &= ~((u64)1 << (i % 64));
        if (!--t->large_count)
            t->huge_count = 0;
    }
}

void table_put(struct tlb_table *t, u32 i, struct tlb_entry e, u64 info, bool global)
{
    bool there = !(t->entry[i].tag & TLB_INVALID);

    if (there && ((t->info[i] & INFO_SHIFT) > t->shift || table_bit(t->global.word, i) != global)) {
        table_drop(t, i);
        there = false;
    }
    t->entry[i] = e;
    t->info[i] = info;
    if (!there)
        bits_set(global ? &t->global : &t->local, i);
    if ((info & INFO_SHIFT) > t->shift) {
        t->large[i / 64] |= (u64)1 << (i % 64);
        if (!t->large_count++)
            memset(t->regions, 0, sizeof(t->regions));
        t->regions[region_bit(e.tag) / 64] |= (u64)1 << (region_bit(e.tag) % 64);
        if ((info & INFO_SHIFT) == 30)
            note_huge(t, e.tag >> 30);
    }
}

/* -------------------------------------------------------------------------------------------------- size ----- */

/* An empty table of that size. False: no memory. */
static bool table_new(struct tlb_table *t, u32 size)
{
    size_t bytes = size * (sizeof(struct tlb_entry) + sizeof(u64)) + 3 * (size / 64) * sizeof(u64);
    u8 *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

    if (!memory)
        return false;
    t->entry = (struct tlb_entry *)memory;
    t->info = (u64 *)(t->entry + size);
    t->local.word = t->info + size;
    t->global.word = t->local.word + size / 64;
    t->large = t->global.word + size / 64;
    memset(t->local.word, 0, 3 * (size / 64) * sizeof(u64));
    for (u32 i = 0; i < size; i++)
        t->entry[i] = no_entry[0];
    t->size = size;
    t->last = size - 1;
    return true;
}

/* Moves the entries that b names. Only in a smaller table some of them meet. */
static void move_entries(struct mmu *m, struct tlb_table *to, const struct tlb_table *from, const struct tlb_bits *b,
                         bool global)
{
    for (u32 w = 0; w < from->size / 64; w++) {
        for (u64 left = b->word[w]; left;) {
            u32 i = w * 64 + take_lowest(&left), n = table_index(to, from->entry[i].tag);
            if (to->entry[n].tag & TLB_INVALID)
                table_put(to, n, from->entry[i], from->info[i], global);
            else
                remembered_displaced(m, from, i);
        }
    }
}

static bool table_resize(struct mmu *m, struct tlb_table *t, u32 size)
{
    struct tlb_table new;

    table_init(&new, t->view, t->access + (t->shift == PAGE_SHIFT ? 0 : TLB_LARGE));
    if (!table_new(&new, size))
        return false;
    if (t->size) {
        move_entries(m, &new, t, &t->global, true);
        move_entries(m, &new, t, &t->local, false);
    }
    m->tlb->entries += size - t->size;
    table_fini(t);
    *t = new;
    tlb_refresh_tables(m);
    return true;
}

/* Tables of address spaces that are not in use become small again, those first that were used longest ago, until there may be
 * so many entries more. */
static bool make_room(struct mmu *m, u32 more)
{
    while (m->tlb->entries + more > TLB_BUDGET) {
        struct tlb_table *large = NULL;
        u64 oldest = ~(u64)0;
        for (struct tlb_set *s = m->tlb->set; s < m->tlb->set + TLB_SETS; s++) {
            if (s == m->tlb->current || s->last_use >= oldest)
                continue;
            for (unsigned k = 0; k < VIEW_COUNT * TLB_TABLES; k++) {
                struct tlb_table *t = &s->table[k / TLB_TABLES][k % TLB_TABLES];
                if (t->size > table_size_min(t))
                    large = t, oldest = s->last_use;
            }
        }
        if (!large || !table_resize(m, large, table_size_min(large)))
            return false;
    }
    return true;
}

static bool table_grow(struct mmu *m, struct tlb_table *t)
{
    t->conflicts = 0;
    return !m->tlb_fixed && make_room(m, (TLB_STEP - 1) * t->size) && table_resize(m, t, t->size * TLB_STEP);
}

u32 table_room(struct mmu *m, struct tlb_table *t, gla page)
{
    if (unlikely(!t->size) && !table_resize(m, t, table_size_min(t)))
        abort();
    u32 i = table_index(t, page);
    u64 tag = t->entry[i].tag;
    if (tag & TLB_INVALID || (tag & PAGE_MASK) == page)
        return i;
    if (++t->conflicts > t->size / 4 && t->size < size_max(t) && table_grow(m, t))
        return table_room(m, t, page);
    remembered_displaced(m, t, i);
    return i;
}

/* ---------------------------------------------------------------------------------------------- flushing ----- */

static void flush_bits(struct tlb_table *t, struct tlb_bits *b)
{
    for (u32 s = 0; s <= t->last / 4096; s++) {
        for (u64 words = b->sum[s]; words;) {
            u32 w = s * 64 + take_lowest(&words);
            u64 drop = b->word[w];
            b->word[w] = 0;
            if (t->large_count) {
                t->large_count -= (u32)__builtin_popcountll(t->large[w] & drop);
                t->large[w] &= ~drop;
            }
            while (drop)
                t->entry[w * 64 + take_lowest(&drop)].tag = TLB_INVALID;
        }
        b->sum[s] = 0;
    }
    b->count = 0;
    if (!t->large_count)
        t->huge_count = 0;
}

void table_flush(struct mmu *m, struct tlb_table *t, enum tlb_which which)
{
    u32 used = t->local.count + t->global.count;

    if (!used && t->size <= table_size_min(t))
        return;
    if (which & TLB_LOCAL && t->local.count)
        flush_bits(t, &t->local);
    if (which & TLB_GLOBAL && t->global.count)
        flush_bits(t, &t->global);
    t->conflicts -= (t->conflicts + 7) / 8;
    t->quiet = used < t->size / 8 ? t->quiet + 1 : 0;
    if (unlikely(t->size > table_size_min(t) && t->quiet > TLB_QUIET))
        table_resize(m, t, t->size / TLB_STEP);
}

static u64 chosen(const struct tlb_table *t, u32 w, enum tlb_which which)
{
    return (which & TLB_LOCAL ? t->local.word[w] : 0) | (which & TLB_GLOBAL ? t->global.word[w] : 0);
}

static unsigned flush_large(struct tlb_table *t, gla a, enum tlb_which which, u32 word, u32 words)
{
    unsigned gone = 0;

    for (; words--; word++) {
        for (u64 left = t->large[word] & chosen(t, word, which); left;) {
            u32 i = word * 64 + take_lowest(&left);
            if (!((t->entry[i].tag ^ a) >> (t->info[i] & INFO_SHIFT))) {
                table_drop(t, i);
                gone = GONE_LARGE;
            }
        }
    }
    return gone;
}

static bool knows_huge(const struct tlb_table *t, u64 number)
{
    for (unsigned i = 0; i < t->huge_count && i < TLB_HUGE; i++)
        if (t->huge[i] == number)
            return true;
    return t->huge_count > TLB_HUGE;
}

unsigned table_flush_page(struct tlb_table *t, gla a, enum tlb_which which)
{
    unsigned gone = 0;

    if (!(which & TLB_LOCAL && t->local.count) && !(which & TLB_GLOBAL && t->global.count))
        return 0;
    u32 i = table_index(t, a);
    if (!(t->entry[i].tag & TLB_INVALID) && (t->entry[i].tag & PAGE_MASK) == table_page(t, a) &&
        chosen(t, i / 64, which) >> (i % 64) & 1) {
        gone = t->shift > PAGE_SHIFT || table_bit(t->large, i) ? GONE_LARGE : GONE_PAGE;
        table_drop(t, i);
    }
    if (!t->large_count)
        return gone;
    if (unlikely(t->shift > PAGE_SHIFT || knows_huge(t, a >> 30)))
        return gone | flush_large(t, a, which, 0, t->size / 64);
    if (!table_bit(t->regions, region_bit(a)))
        return gone;
    return gone | flush_large(t, a, which, table_index(t, a >> 22 << 22) / 64, 1024 / 64);
}
static_assert(TLB_MIN >= 1024, "the pieces of a page of 4 MiB follow each other in every table");

/* Of a granule only this page is to go: what is remembered of its others stays, and so the filter must know them. */
static void drop_host_page(struct mmu *m, struct tlb_table *t, const struct tlb_bits *b, const u8 *page)
{
    u64 host = (uintptr_t)page;

    for (u32 s = 0; s <= t->last / 4096; s++) {
        for (u64 words = b->sum[s]; words;) {
            u32 w = s * 64 + take_lowest(&words);
            for (u64 left = b->word[w]; left;) {
                u32 i = w * 64 + take_lowest(&left);
                if ((host - (t->entry[i].tag + t->entry[i].addend)) >> t->shift)
                    continue;
                if (t->shift > PAGE_SHIFT)
                    remembered_displaced(m, t, i);
                table_drop(t, i);
            }
        }
    }
}

void table_drop_host_page(struct mmu *m, struct tlb_table *t, const u8 *page)
{
    if (t->local.count)
        drop_host_page(m, t, &t->local, page);
    if (t->global.count)
        drop_host_page(m, t, &t->global, page);
}
