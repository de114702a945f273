/* mmu_private.h - what the files of mmu/ know of each other, and nobody else.
 */
#ifndef SHADOW86_MMU_PRIVATE_H
#define SHADOW86_MMU_PRIVATE_H

#include <pthread.h>

#include "mmu/mmu.h"

/* Bits of the control registers that paging looks at (SDM 3A 2.5). mmu/ does not know cpu/vcpu.h. */
enum {
    MMU_CR0_WP = 1u << 16,
    MMU_CR4_PSE = 1u << 4, MMU_CR4_PAE = 1u << 5, MMU_CR4_PGE = 1u << 7, MMU_CR4_PCIDE = 1u << 17,
    MMU_CR4_SMEP = 1u << 20, MMU_CR4_SMAP = 1u << 21,
    MMU_EFER_LMA = 1u << 10, MMU_EFER_NXE = 1u << 11,
};
#define MMU_CR0_PG (1u << 31)

/* ---------------------------------------------------------------- physmap.c ----- */
/* One stretch of the flattened map. It repeats the region's fields, so that the vCPU's thread may read it without the
 * machine lock; `region` is only followed under the lock. */
struct flat {
    gpa start, last;        /* inclusive */
    u8 *host;               /* RAM, ROM: address of `start`; NULL: MMIO */
    struct ram *ram;
    u64 ram_offset;         /* of `start` */
    _Atomic u64 *dirty;     /* NULL: writes are not logged */
    u64 dirty_page;         /* bit number of the page at `start` in it */
    struct region *region;
    enum region_kind kind;
};

struct flatmap {
    struct flatmap *next;   /* in the list of retired maps */
    unsigned count;
    struct flat flat[];     /* by address, no overlaps */
};

struct stale { gpa page; u64 chunks; };

struct physmap {
    struct flatmap *_Atomic map;        /* never NULL; replaced as a whole */
    _Atomic u64 a20_mask;               /* applied to every address that a CPU puts out */
    struct flatmap *retired;            /* replaced while a vCPU of another thread may still look at it */
    struct region **regions;            /* in order of addition */
    unsigned region_count, region_room;
    struct mmu *mmus;                   /* linked through tlb->next_mmu */
    void (*lock)(void *ctx);
    void (*unlock)(void *ctx);
    void *lock_ctx;
    /* codepages.c */
    code_written_fn *code_written;
    code_kick_fn *code_kick;
    void *code_ctx;
    pthread_mutex_t stale_lock;
    struct stale *stale;                /* code written by other threads, not yet reported */
    size_t stale_count, stale_room;
};

static inline struct flatmap *physmap_map(const struct physmap *p)
{
    return atomic_load_explicit(&p->map, memory_order_acquire);
}

/* Index of the first stretch that starts above a. */
static inline unsigned flat_above(const struct flatmap *m, gpa a)
{
    unsigned low = 0, high = m->count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (m->flat[mid].start > a)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static inline const struct flat *flat_find(const struct flatmap *m, gpa a)
{
    unsigned i = flat_above(m, a);
    return i && m->flat[i - 1].last >= a ? &m->flat[i - 1] : NULL;
}

/* The same for the CPU (address masked by A20 already): takes the machine lock only for MMIO and holes. */
void physmap_cpu_read(struct physmap *p, gpa a, void *buf, unsigned bytes);
void physmap_cpu_write(struct physmap *p, gpa a, const void *buf, unsigned bytes);
/* Bytes [a, a+bytes) of f were written: dirty log, code. */
void physmap_note_write(struct physmap *p, const struct flat *f, gpa a, u64 bytes);
/* All registered MMUs belong to the calling thread, or have never run. */
bool physmap_own_thread(const struct physmap *p);

/* -------------------------------------------------------------- codepages.c ----- */
/* The code bits of the 64-byte chunks of [offset, offset+bytes) in one page. */
static inline u64 code_chunks(u64 offset, u64 bytes)
{
    unsigned first = (offset & 4095) >> 6, last = ((offset & 4095) + bytes - 1) >> 6;
    return (~(u64)0 >> (63 - (last - first))) << first;
}
void codepages_hit(struct physmap *p, const struct flat *f, gpa a, u64 bytes);  /* in one page of f */
void codepages_moved(struct physmap *p, const struct flatmap *before, const struct flatmap *after);

/* ------------------------------------------------------------ walk.c, tlb.c ----- */
struct walk {
    gpa pa;             /* of the byte; not masked by A20 */
    u8 page_shift;      /* 12, 21, 22, 30 */
    bool global;        /* G and CR4.PGE */
    bool writable;      /* this view may write and D is set: a write entry may be made */
};
enum walk_flags {
    WALK_PURE = 1,      /* leaves A and D alone */
    WALK_ANY = 2,       /* no check of rights */
};
/* false: *error is the page fault's error code. */
bool walk_page(struct mmu *m, gla a, enum access access, enum view view, unsigned flags, struct walk *w, u32 *error);

#define TLB_SLOW 2          /* tag bit: translation known (info), data by the slow path */
#define TLB_SETS 8          /* address spaces (PCIDs) that are kept */
#define TLB_WORDS (TLB_SIZE / 64)
#define TLB_TABLES 3        /* enum access */

/* What the slow path wants to know of an entry: the physical page and, in the low bits, these. */
enum tlb_info { INFO_SHIFT = 0x3f /* page_shift of the page it was cut from */, INFO_CODE = 0x40 /* slow because of code */ };

struct tlb_table {
    struct tlb_entry entry[TLB_SIZE];
    u64 info[TLB_SIZE];
    /* one bit per entry, so that flushing costs what is there and not what could be there */
    u64 used[TLB_WORDS], global[TLB_WORDS], large[TLB_WORDS];
    bool any;           /* some bit of used is set */
};

struct tlb_set {
    u16 pcid;
    u64 last_use;
    struct tlb_table table[VIEW_COUNT][TLB_TABLES];
};

struct tlb {
    struct tlb_set *current;
    u64 uses;                   /* counts set changes, for LRU */
    u64 walks;
    unsigned hint;              /* walk.c: the stretch of the map where page tables were found last */
    _Atomic bool flush_wanted;  /* another thread changed the map */
    const void *_Atomic thread; /* who runs this MMU; NULL: nobody yet */
    struct mmu *next_mmu;
    struct tlb_set set[TLB_SETS];
};

struct tlb_hit { gpa pa; u8 *host; /* NULL: through the physical map */ };
/* Address of one byte, from the TLB or by a walk that fills it. false: m->fault is set. */
bool tlb_translate(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h);
/* Is there an entry that allows the access? */
bool tlb_knows(struct mmu *m, gla a, enum access access, enum view view);
bool tlb_fault(struct mmu *m, gla a, u32 error);
void tlb_drop_host_page(struct mmu *m, const u8 *page);     /* write entries that lead there */
void tlb_flush_if_wanted(struct mmu *m);
const void *tlb_this_thread(void);

#endif
