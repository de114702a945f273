/* mmu.h - guest memory: RAM, the physical address map, the guest's page tables, the TLB, pages that hold code.
 *
 * Grouped by the file that implements each part. mmu/ knows neither struct vcpu nor devices: the CPU hands it the
 * paging mode, devices hand it functions.
 */
#ifndef SHADOW86_MMU_H
#define SHADOW86_MMU_H

#include <stdatomic.h>
#include <string.h>

#include "cpu/types.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u
#define PAGE_MASK (~(u64)4095)
/* Of a guest's large page, whatever its size, the TLB keeps pieces of this size beside those of 4 KiB. */
#define GRANULE_SHIFT 21
#define GRANULE_SIZE ((u64)1 << GRANULE_SHIFT)
#define GRANULE_MASK (~(GRANULE_SIZE - 1))

/* ------------------------------------------------------------------ ram.c: memory of the guest --------------- */
struct ram {
    u8 *base;           /* host address */
    u64 size;           /* bytes, a multiple of 4096 */
    u8 *mapping;        /* what base lies in, aligned for large pages; its bytes */
    u64 mapped;
    _Atomic u64 *code;  /* one word per page, one bit per 64-byte chunk that holds decoded code: codepages.c */
    _Atomic u32 *code_pages;    /* one number per GRANULE_SIZE: pages whose word is not 0 */
};
/* Returns NULL and one line in err if the host cannot give it. */
struct ram *ram_new(u64 size, char *err, size_t errlen);
void ram_free(struct ram *r);

/* -------------------------------------------------------- physmap.c: what stands at a guest physical address ----- */
/* Regions overlap; the one with the higher priority is seen. They may be added, moved, enabled and disabled while the
 * machine runs (PAM, SMRAM, PCI BARs), under the machine lock; every change flushes the TLBs. */
enum region_kind { REGION_RAM, REGION_ROM /* reads memory, drops writes */, REGION_MMIO };
struct mmio_ops {       /* offset from the region's start, a multiple of bytes; bytes 1, 2, 4, and 8 if wide is set.
                           physmap splits every other access into such pieces, lowest address first. */
    u64 (*read)(void *ctx, u64 offset, unsigned bytes);
    void (*write)(void *ctx, u64 offset, unsigned bytes, u64 value);
    bool wide;
};
struct region {
    const char *name;
    gpa start;
    u64 size;               /* both multiples of 4096 for RAM and ROM */
    int priority;           /* RAM 0, PCI BARs 1, low-memory overlays (VGA, PAM) 2.. */
    enum region_kind kind;
    bool enabled;
    struct ram *ram;        /* RAM, ROM: memory and the offset in it */
    u64 ram_offset;
    bool log_dirty;         /* RAM: writes set bits in dirty (VGA memory) */
    _Atomic u64 *dirty;     /* one bit per page, allocated by the owner */
    const struct mmio_ops *ops;
    void *ctx;
};
struct physmap;
struct physmap *physmap_new(void);
void physmap_free(struct physmap *p);
void physmap_add(struct physmap *p, struct region *r);      /* keeps r by reference, until physmap_remove */
void physmap_remove(struct physmap *p, struct region *r);
void physmap_change(struct physmap *p, struct region *r, gpa start, bool enabled);
void physmap_changed(struct physmap *p);    /* after editing other fields (kind, ram_offset...) of regions in the map */
void physmap_set_a20(struct physmap *p, bool on);           /* off: address bit 20 reads as 0 for CPU accesses */
bool physmap_a20(const struct physmap *p);

/* Threads: the map is changed under the machine lock; in practice by the vCPU's own thread, in the middle of a port or MMIO
 * access, and then its TLB is flushed at once. A change by another thread sets a flag in each MMU and calls the code
 * owner's kick: the vCPU flushes in codepages_drain or at its next TLB fill, whichever comes first. Code that was decoded from
 * memory which is no longer what it was at its address is reported as written. */

/* Accesses by physical address from devices (DMA) and loaders, under the machine lock, any thread, any length. Holes read as all ones and drop
 * writes. Writes tell codepages and dirty logs. */
void physmap_read(struct physmap *p, gpa a, void *buf, u64 bytes);
void physmap_write(struct physmap *p, gpa a, const void *buf, u64 bytes);
u64 physmap_read_int(struct physmap *p, gpa a, unsigned bytes);
void physmap_write_int(struct physmap *p, gpa a, unsigned bytes, u64 v);
/* Host address of [a, a+bytes) if all of it is one stretch of RAM (or ROM, if !write), else NULL. The pointer is good
 * until the map changes; who writes through it calls physmap_wrote afterwards. */
u8 *physmap_ptr(struct physmap *p, gpa a, u64 bytes, bool write);
void physmap_wrote(struct physmap *p, gpa a, u64 bytes);
void physmap_print(struct physmap *p, void (*print)(const char *line, void *ctx), void *ctx);

/* MMIO from the CPU goes through these so that the machine lock is taken around it. Set once by the machine. */
void physmap_set_lock(struct physmap *p, void (*lock)(void *ctx), void (*unlock)(void *ctx), void *ctx);

/* --------------------------------------------- codepages.c: which pages hold decoded or translated code ----- */
/* 64-byte chunks of physical pages that hold code. A page with such a chunk never has a write entry in any TLB, so that
 * each store to it comes to the slow path, which compares chunks. */
/* Drop code in [a, a+bytes); never crosses a page. On the vCPU's own thread; the machine lock may be held, so it must not be taken.
 * Returns which 64-byte chunks of that page still hold code (bit n: chunk n). */
typedef u64 code_written_fn(void *ctx, gpa a, u64 bytes);
typedef void code_kick_fn(void *ctx);   /* another thread wrote code: make the vCPU call codepages_drain soon */
/* Bit n: the 64-byte chunk n of a page. Those that [offset, offset + bytes), in one page, touches. */
static inline u64 code_chunks(u64 offset, u64 bytes)
{
    unsigned first = (offset & 4095) >> 6, last = ((offset & 4095) + bytes - 1) >> 6;
    return (~(u64)0 >> (63 - (last - first))) << first;
}
void codepages_set_owner(struct physmap *p, code_written_fn *written, code_kick_fn *kick, void *ctx);
/* Code of [a, a+bytes) is going to be decoded: call it BEFORE the bytes are read, then a write by another thread in between
 * is not missed. Flushes write entries. */
void codepages_mark(struct physmap *p, gpa a, unsigned bytes);
void codepages_clear(struct physmap *p, gpa page);              /* no code left on this page */
void codepages_drop(struct physmap *p, gpa page);               /* on the vCPU's thread: as if all of it were written */
void codepages_drain(struct physmap *p);                        /* on the vCPU's thread: report writes by other threads */

/* ---------------------------------------------------------------------- walk.c, tlb.c, access.c: per vCPU ----- */
enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

/* Who accesses: chosen from CPL, CR4.SMAP and EFLAGS.AC. Each has TLB tables of its own. */
enum view { VIEW_USER, VIEW_KERNEL /* supervisor, user pages allowed */, VIEW_KERNEL_SMAP /* supervisor, user pages denied */, VIEW_COUNT };

/* Result of a refused access: #PF(error) with CR2 = addr. Error code bits, SDM 3A 4.7. */
struct mmu_fault { gla addr; u32 error; };
enum pf_error { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

/* A TLB entry of 16 bytes. `tag` is the page's linear address, or has low bits set (never equal to a page address) for
 * an invalid entry and for pages that always take the slow path (MMIO, code pages for writes, dirty logging). */
struct tlb_entry { u64 tag; u64 addend; /* host address = linear address + addend */ };
static_assert(sizeof(struct tlb_entry) == 16, "masks below");
#define TLB_INVALID 1

/* The tables of one view. They grow and shrink; a mask is (entries - 1) * 16, so the entry for address a is at
 * table + (a >> 8 & mask) bytes. Any function that translates may replace them: read both afresh for each look-up.
 * large: granules of large pages, for an address at table + (a >> 17 & mask); tag and addend are the granule's. What is found
 * there may be accessed up to the granule's end. */
struct tlb_view {
    struct tlb_entry *rd, *wr, *ex;
    const u64 *ex_page;                     /* beside ex: the physical page, something else in the low bits */
    u64 rd_mask, wr_mask, ex_mask;
    struct tlb_large { struct tlb_entry *rd, *wr; u64 rd_mask, wr_mask; } large;
};

/* What one place in translated code knows of the page that it accessed last: host address = linear address + delta, if
 * linear address - page is below 4096. Sites are numbered when code is made, those that read below MMU_WRITE_SITES, those
 * that write from there on (a backend may find some by the address instead); several may share a number, and each view has its own. Translated code fills them itself, from a
 * valid entry of rd or wr, or of those of large, of the current view, and sets site_used; mmu/ clears them with the translations. An entry that is not
 * valid names a page that no guest can address (not canonical, another one in each process); should one guess it, it finds a
 * page of its own there: sites.c. */
struct mmu_site { u64 page, delta; };
enum { MMU_SITES = 4096, MMU_WRITE_SITES = 2048 };

/* Somebody who is told of every write before it happens (-accel check, jit/check.c). host: NULL where it is no memory, or memory
 * that is written through the physical map (code). none: an entry that is not valid, which stands in for the TLB's write tables, so that
 * all writes come to the slow path. Set mmu.watch, then mmu_set_view. */
struct mmu_watch {
    void (*write)(void *ctx, gpa pa, u8 *host, unsigned bytes);
    void *ctx;
    struct tlb_entry *none;
};

struct mmu {
    /* tables of the current view: a copy of tables[view] */
    struct tlb_entry *rd, *wr, *ex;
    const u64 *ex_page;
    u64 rd_mask, wr_mask, ex_mask;
    struct tlb_large large;
    enum view view;
    struct mmu_fault fault;                 /* of the last function that returned false */
    struct physmap *phys;
    /* paging mode, set by mmu_set_paging */
    u64 cr0, cr3, cr4, efer;
    u64 pdpte[4];                           /* PAE: loaded with CR3, SDM 3A 4.4.1 */
    u8 phys_bits;
    bool gbpages;                           /* 1 GiB pages exist (CPUID PDPE1GB); true after mmu_init, the owner may change it */
    bool tlb_fixed, tlb_no_granules;        /* for measurements: tables stay small; large pages have no entries of their own */
    struct tlb *tlb;                        /* everything private to tlb.c */
    const struct mmu_watch *watch;          /* mostly NULL */
    struct tlb_view tables[3];              /* per view, of the address space in use */
    /* Per view: counts whenever a translation that code was fetched by, since it counted last, may have become another
     * one. Who remembers translations of code beside the TLB, for as long as this stays the same, sees nothing that the guest
     * has invalidated. */
    u64 fetch_epoch[3];
    bool site_used[3];                      /* per view: some site has been filled since they were cleared */
    struct mmu_site site[3][MMU_SITES];     /* per view */
};
static_assert(VIEW_COUNT == 3, "tables, fetch_epoch, site_used, site");

void mmu_init(struct mmu *m, struct physmap *phys, unsigned phys_bits);     /* registers with phys for flushes */
void mmu_fini(struct mmu *m);
/* The calling thread is going to use m, until another one says so. Under the machine lock: who changes the map at that time
 * knows then whose TLB it is. (A thread that fills the TLB without it takes it over as well, for tests.) */
void mmu_attach(struct mmu *m);
/* The control registers that matter to paging; flushes what SDM 3A 4.10.4 says must go on that change. cr3_written: the
 * value in cr3 was loaded by MOV CR3 / task switch (flush even if equal), bit 63 already taken off and given as
 * keep_pcid. For PAE the caller has loaded pdpte[] before (mmu_load_pdptes). */
void mmu_set_paging(struct mmu *m, u64 cr0, u64 cr3, u64 cr4, u64 efer, bool cr3_written, bool keep_pcid);
bool mmu_load_pdptes(struct mmu *m, u64 cr3, u64 pdpte[4]);     /* false: a reserved bit is set (#GP) */
static inline void mmu_set_view(struct mmu *m, enum view view);
void mmu_flush_all(struct mmu *m);                  /* global entries too */
void mmu_flush_nonglobal(struct mmu *m);            /* current PCID */
void mmu_flush_page(struct mmu *m, gla a);          /* INVLPG */
enum invpcid { INVPCID_ADDRESS, INVPCID_SINGLE, INVPCID_ALL_GLOBAL, INVPCID_ALL };
void mmu_invpcid(struct mmu *m, enum invpcid type, u16 pcid, gla a);

/* Slow path: any length up to 4096, page crossing, MMIO, faults. a is canonical or truncated already; outside of long mode an
 * access that crosses 4 GiB continues at 0. All or nothing
 * with respect to faults. view says for whom (VIEW_KERNEL for sys_read and friends). */
bool mmu_read(struct mmu *m, gla a, void *buf, unsigned bytes, enum view view);
bool mmu_write(struct mmu *m, gla a, const void *buf, unsigned bytes, enum view view);
bool mmu_probe(struct mmu *m, gla a, unsigned bytes, enum access access, enum view view);
/* Host address of [a, a + bytes) if it lies in one page of RAM (reads: or ROM) and may be accessed right now through that pointer.
 * Fills the TLB and sets flags in the page tables like a real access. NULL: it needs mmu_read or mmu_write (two pages, MMIO,
 * a dirty log, decoded code in one of the 64-byte chunks that a write touches), or it faults: nothing is delivered. Only for one
 * access: other bytes of a page that holds code have to be asked for by themselves. mmu.watch is told. */
u8 *mmu_host(struct mmu *m, gla a, unsigned bytes, enum access access, enum view view);
/* Translates for execution. *host: address of the byte at a if it is RAM or ROM, else NULL (fetch through
 * physmap_read_int). Bytes up to the end of the page may be read there. Cached (a code TLB of its own). */
bool mmu_fetch(struct mmu *m, gla a, enum view view, gpa *pa, const u8 **host);
/* What stands at a physical address that mmu_fetch gave without a host address. Takes the machine lock where needed. */
void mmu_read_phys(struct mmu *m, gpa pa, void *buf, unsigned bytes);
/* Translation without side effects (monitor, gdb): no A/D bits, no fault noted. */
bool mmu_translate_debug(struct mmu *m, gla a, gpa *pa);

/* Host address for an aligned-or-not access of `bytes` that stays inside one page, or NULL: take the slow path. One
 * compare: an access that crosses into the next page fails it too, whose entry is another one (a table has one entry only if
 * that is invalid). */
static inline u8 *tlb_hit(const struct tlb_entry *table, u64 mask, gla a, unsigned bytes)
{
    const struct tlb_entry *e = (const struct tlb_entry *)((const u8 *)table + (a >> 8 & mask));
    if (likely(((a + bytes - 1) & PAGE_MASK) == e->tag))
        return (u8 *)(uintptr_t)(a + e->addend);
    return NULL;
}
static inline u8 *mmu_hit_read(const struct mmu *m, gla a, unsigned bytes) { return tlb_hit(m->rd, m->rd_mask, a, bytes); }
static inline u8 *mmu_hit_write(const struct mmu *m, gla a, unsigned bytes) { return tlb_hit(m->wr, m->wr_mask, a, bytes); }

#define MMU_INT(bits) \
    static inline bool mmu_read##bits(struct mmu *m, gla a, u##bits *v) \
    { \
        const u8 *p = mmu_hit_read(m, a, bits / 8); \
        if (unlikely(!p)) \
            return mmu_read(m, a, v, bits / 8, m->view); \
        memcpy(v, p, bits / 8); \
        return true; \
    } \
    static inline bool mmu_write##bits(struct mmu *m, gla a, u##bits v) \
    { \
        u8 *p = mmu_hit_write(m, a, bits / 8); \
        if (unlikely(!p)) \
            return mmu_write(m, a, &v, bits / 8, m->view); \
        memcpy(p, &v, bits / 8); \
        return true; \
    }
MMU_INT(8)
MMU_INT(16)
MMU_INT(32)
MMU_INT(64)
#undef MMU_INT

/* mmu_fetch for a page in the TLB that is memory. */
static inline bool mmu_fetch_hit(const struct mmu *m, gla a, gpa *pa)
{
    u64 at = a >> 8 & m->ex_mask;
    *pa = (*(const u64 *)((const u8 *)m->ex_page + at / 2) & PAGE_MASK) | (a & ~PAGE_MASK);
    return likely(((const struct tlb_entry *)((const u8 *)m->ex + at))->tag == (a & PAGE_MASK));
}

/* Host address of the byte at a after mmu_fetch_hit has returned true for it. */
static inline const u8 *mmu_fetch_host(const struct mmu *m, gla a)
{
    return (const u8 *)(uintptr_t)(a + ((const struct tlb_entry *)((const u8 *)m->ex + (a >> 8 & m->ex_mask)))->addend);
}

static inline void mmu_set_view(struct mmu *m, enum view view)
{
    const struct tlb_view *t = &m->tables[view];
    m->view = view;
    m->rd = t->rd, m->rd_mask = t->rd_mask;
    m->wr = t->wr, m->wr_mask = t->wr_mask;
    m->ex = t->ex, m->ex_mask = t->ex_mask, m->ex_page = t->ex_page;
    m->large = t->large;
    if (unlikely(m->watch))
        m->wr = m->large.wr = m->watch->none, m->wr_mask = m->large.wr_mask = 0;
}
u64 mmu_walk_count(const struct mmu *m);    /* statistics: refills so far */

#endif
