/* walk.c - the guest's page tables. SDM 3A chapter 4.
 *
 * A walk reads the paging structures down to the page, checks reserved bits level by level and rights at the end, and
 * then sets the accessed and dirty flags with compare-exchange on guest memory. If an entry has changed meanwhile (by
 * DMA or another CPU) the walk starts again, so flags are never set in an entry that was not used. Nothing is set for an
 * access that faults.
 *
 * PAE and 4-level paging: what the upper levels said is kept for each 2 MiB (struct walk_upper), with their accessed flags
 * set, as SDM 3A 4.10.3 allows. A load of CR3, INVLPG (of any page) and everything beyond drop all of it, a page fault what
 * belongs to its address; a walk that fails with it is done again without. Not for 32-bit paging: its walks are short,
 * and its systems are older than the first CPU that did so. Pages of 1 GiB are not kept: their walk is short too.
 *
 * Paging structures in ROM are read, their flags cannot be set; in MMIO or in holes of the map they read as all ones
 * (mostly a reserved-bit fault). Devices are never called for them.
 */
#include "mmu/mmu_private.h"

enum pte {
    PTE_P = 1, PTE_RW = 2, PTE_US = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100,
};
#define PTE_XD ((u64)1 << 63)
#define ADDR_BITS ((((u64)1 << 52) - 1) & PAGE_MASK)

/* Bits high:low set, both included. */
static inline u64 bits(unsigned high, unsigned low) { return high < low ? 0 : (~(u64)0 >> (63 - high + low)) << low; }

/* An entry that the walk used. */
struct used_entry {
    gpa pa;
    void *host;         /* NULL: cannot be written */
    u64 value;
};

struct path {
    struct used_entry entry[4]; /* those whose flags are to be looked at; the last one belongs to the page */
    unsigned count, width;      /* bytes per entry */
    u64 rights;                 /* AND of all entries: PTE_RW, PTE_US */
    u64 xd;                     /* OR of all entries: PTE_XD */
    unsigned page_shift;
    gpa page;                   /* of page_shift bits */
    u64 leaf;                   /* the entry of the page: G and D */
    u64 upper;                  /* 4 KiB pages: address of the page table, rights and XD of the levels above */
};

static u64 read_entry(struct mmu *m, struct path *path, gpa pa)
{
    const struct flatmap *map = physmap_map(m->phys);
    struct used_entry *e = &path->entry[path->count++];

    pa &= atomic_load_explicit(&m->phys->a20_mask, memory_order_relaxed);
    const struct flat *f = flat_near(map, pa, &m->tlb->table_hint);
    e->pa = pa;
    e->host = NULL;
    e->value = ~(u64)0;
    if (f && f->host && f->last - pa >= path->width - 1 && !(((uintptr_t)f->host + (pa - f->start)) & (path->width - 1))) {
        void *host = f->host + (pa - f->start);
        e->value = path->width == 8 ? __atomic_load_n((u64 *)host, __ATOMIC_ACQUIRE)
                                    : __atomic_load_n((u32 *)host, __ATOMIC_ACQUIRE);
        if (f->kind == REGION_RAM)
            e->host = host;
    } else if (path->width == 4) {
        e->value = UINT32_MAX;
    }
    return e->value;
}

/* --- the three structures. Each fills path, or returns the error code's P and RSVD bits through *error. --- */

static bool not_present(u32 *error) { *error = 0; return false; }
static bool reserved(u32 *error) { *error = PF_P | PF_RSVD; return false; }

/* 32-bit paging, SDM 3A 4.3. PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32 as far as those exist. */
static bool path_32bit(struct mmu *m, gla a, struct path *path, u32 *error)
{
    path->width = 4;
    u64 pde = read_entry(m, path, (m->cr3 & 0xfffff000) + (a >> 22 & 1023) * 4);
    if (!(pde & PTE_P))
        return not_present(error);
    path->rights = pde;
    if (pde & PTE_PS && m->cr4 & MMU_CR4_PSE) {
        unsigned width = m->phys_bits < 40 ? m->phys_bits : 40;
        if (pde & bits(21, width - 19))
            return reserved(error);
        path->page_shift = 22;
        path->leaf = pde;
        path->page = (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32;
        return true;
    }
    u64 pte = read_entry(m, path, (pde & 0xfffff000) + (a >> 12 & 1023) * 4);
    if (!(pte & PTE_P))
        return not_present(error);
    path->rights &= pte;
    path->page_shift = 12;
    path->page = pte & 0xfffff000;
    path->leaf = pte;
    return true;
}

/* PAE and 4-level paging share their entries; `level` counts from 1 (page table). path has the rights of the levels above.
 * SDM 3A 4.4, 4.5. */
static bool path_64bit(struct mmu *m, gla a, struct path *path, gpa table, unsigned level, u64 always_reserved, u32 *error)
{
    for (;; level--) {
        unsigned shift = 3 + 9 * level;
        u64 e = read_entry(m, path, table + (a >> shift & 511) * 8);
        bool may_be_page = level == 2 || (level == 3 && m->gbpages);
        bool page = level == 1 || (may_be_page && e & PTE_PS);
        u64 must_be_0 = always_reserved;

        if (!(e & PTE_P))
            return not_present(error);
        if (level > 1)
            must_be_0 |= page ? bits(shift - 1, 13) : may_be_page ? 0 : PTE_PS;
        if (e & must_be_0)
            return reserved(error);
        if (level == 1)
            path->upper = table | (path->rights & (PTE_RW | PTE_US)) | path->xd;
        path->rights &= e;
        path->xd |= e & PTE_XD;
        if (page) {
            path->page_shift = shift;
            path->page = e & ADDR_BITS & ~bits(shift - 1, 0);
            path->leaf = e;
            return true;
        }
        table = e & ADDR_BITS;
    }
}

/* In every entry of PAE and 4-level paging. */
static u64 reserved_bits(const struct mmu *m)
{
    return bits(51, m->phys_bits) | (m->efer & MMU_EFER_NXE ? 0 : PTE_XD) | (m->efer & MMU_EFER_LMA ? 0 : bits(62, 52));
}

static bool find_path(struct mmu *m, gla a, struct path *path, u32 *error)
{
    path->count = 0;
    path->xd = 0;
    path->rights = PTE_RW | PTE_US;
    if (!(m->cr4 & MMU_CR4_PAE))
        return path_32bit(m, a, path, error);

    u64 always_reserved = reserved_bits(m);
    path->width = 8;
    if (m->efer & MMU_EFER_LMA)
        return path_64bit(m, a, path, m->cr3 & ADDR_BITS, 4, always_reserved, error);
    u64 pdpte = m->pdpte[a >> 30 & 3];
    if (!(pdpte & PTE_P))
        return not_present(error);
    return path_64bit(m, a, path, pdpte & ADDR_BITS, 2, always_reserved, error);
}

/* SDM 3A 4.6.1 */
static bool allowed(const struct mmu *m, const struct path *path, enum access access, enum view view)
{
    bool user_page = path->rights & PTE_US;

    if (view == VIEW_USER && !user_page)
        return false;
    if (access == ACCESS_FETCH)
        return !path->xd && !(view != VIEW_USER && user_page && m->cr4 & MMU_CR4_SMEP);
    if (view == VIEW_KERNEL_SMAP && user_page)
        return false;
    return access == ACCESS_READ || path->rights & PTE_RW || (view != VIEW_USER && !(m->cr0 & MMU_CR0_WP));
}

static u32 error_code(const struct mmu *m, u32 error, enum access access, enum view view)
{
    if (access == ACCESS_WRITE)
        error |= PF_W;
    if (view == VIEW_USER)
        error |= PF_U;
    if (access == ACCESS_FETCH && (m->cr4 & MMU_CR4_SMEP || (m->cr4 & MMU_CR4_PAE && m->efer & MMU_EFER_NXE)))
        error |= PF_I;
    return error;
}

/* false: the entry is no longer what the walk saw. */
static bool set_flags(struct mmu *m, struct used_entry *e, unsigned width, u64 flags)
{
    u64 old = e->value, new = old | flags;

    if (new == old || !e->host)
        return true;
    if (width == 8) {
        if (!__atomic_compare_exchange_n((u64 *)e->host, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return false;
    } else {
        u32 old32 = (u32)old;
        if (!__atomic_compare_exchange_n((u32 *)e->host, &old32, (u32)new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return false;
    }
    e->value = new;
    const struct flat *f = flat_find(physmap_map(m->phys), e->pa);
    if (f && f->kind == REGION_RAM)
        physmap_note_write(m->phys, f, e->pa, width);
    return true;
}

static bool update_flags(struct mmu *m, struct path *path, enum access access)
{
    for (unsigned i = 0; i < path->count; i++) {
        bool leaf = i == path->count - 1;
        u64 flags = leaf && access == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A;
        if (unlikely((path->entry[i].value & flags) != flags) && !set_flags(m, &path->entry[i], path->width, flags))
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------- upper levels that are kept ----- */

/* false: not known, or something for a walk from the top. */
static bool find_path_below(struct mmu *m, gla a, enum access access, enum view view, struct path *path)
{
    const struct walk_upper *u = set_upper(m->tlb->current, a);
    u32 error;

    if (unlikely(u->stamp != m->tlb->current->upper_stamp || u->prefix != a >> 21))
        return false;
    path->count = 0;
    path->width = 8;
    path->rights = u->entry;
    path->xd = u->entry & PTE_XD;
    if (!(u->entry & PTE_PS))
        return path_64bit(m, a, path, u->entry & ADDR_BITS, 1, reserved_bits(m), &error) && allowed(m, path, access, view);
    path->page_shift = 21;
    path->page = u->entry & ADDR_BITS;
    path->leaf = u->entry;
    return (access != ACCESS_WRITE || u->entry & PTE_D) && allowed(m, path, access, view);
}

/* Of a page of 2 MiB: address, rights and XD of all levels; PS, G and D of its entry, flags set. */
static void keep_upper(struct mmu *m, gla a, const struct path *path)
{
    struct walk_upper *u = set_upper(m->tlb->current, a);

    if (!(m->cr4 & MMU_CR4_PAE) || path->page_shift > 21)
        return;
    u->prefix = a >> 21;
    u->stamp = m->tlb->current->upper_stamp;
    u->entry = path->page_shift == PAGE_SHIFT ? path->upper
             : path->page | (path->rights & (PTE_RW | PTE_US)) | path->xd |
               (path->entry[path->count - 1].value & (PTE_PS | PTE_G | PTE_D));
}

bool walk_page(struct mmu *m, gla a, enum access access, enum view view, unsigned flags, struct walk *w, u32 *error)
{
    struct path path;
    bool below;

    if (!(m->cr0 & MMU_CR0_PG)) {
        *w = (struct walk){ .pa = a, .page_shift = 12, .writable = true };
        return true;
    }
    do {
        u32 why;
        below = !flags && find_path_below(m, a, access, view, &path);
        if (below)
            continue;
        if (unlikely(!find_path(m, a, &path, &why))) {
            *error = error_code(m, why, access, view);
            return false;
        }
        if (unlikely(!(flags & WALK_ANY) && !allowed(m, &path, access, view))) {
            *error = error_code(m, PF_P, access, view);
            return false;
        }
    } while (!(flags & WALK_PURE) && unlikely(!update_flags(m, &path, access)));

    if (!flags && !below)
        keep_upper(m, a, &path);
    w->pa = path.page + (a & bits(path.page_shift - 1, 0));
    w->page_shift = (u8)path.page_shift;
    w->global = path.leaf & PTE_G && m->cr4 & MMU_CR4_PGE;
    /* A leaf in ROM cannot get its D flag; a write that got here was allowed all the same. */
    w->writable = (path.leaf & PTE_D || access == ACCESS_WRITE) && allowed(m, &path, ACCESS_WRITE, view);
    return true;
}

/* SDM 3A 4.4.1, table 4-8 */
bool mmu_load_pdptes(struct mmu *m, u64 cr3, u64 pdpte[4])
{
    struct path path = { .width = 8 };
    u64 must_be_0 = bits(2, 1) | bits(8, 5) | bits(63, m->phys_bits);
    u64 read[4];

    for (unsigned i = 0; i < 4; i++) {
        read[i] = read_entry(m, &path, (cr3 & 0xffffffe0) + 8 * i);
        if (read[i] & PTE_P && read[i] & must_be_0)
            return false;
    }
    memcpy(pdpte, read, sizeof(read));
    return true;
}

bool mmu_translate_debug(struct mmu *m, gla a, gpa *pa)
{
    unsigned hint = m->tlb->table_hint;
    struct walk w;
    u32 error;
    bool found = walk_page(m, a, ACCESS_READ, VIEW_KERNEL, WALK_PURE | WALK_ANY, &w, &error);

    m->tlb->table_hint = hint;
    if (found)
        *pa = w.pa & atomic_load_explicit(&m->phys->a20_mask, memory_order_relaxed);
    return found;
}
