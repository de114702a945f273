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
    struct slow_page { const u8 *host; u32 count, limit; } slow_page[1024];
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

/* The same, looked for first where something was found last. */
static inline const struct flat *flat_near(const struct flatmap *m, gpa a, unsigned *hint)
{
    if (likely(*hint < m->count && m->flat[*hint].start <= a && m->flat[*hint].last >= a))
        return &m->flat[*hint];
    const struct flat *f = flat_find(m, a);
    if (f)
        *hint = (unsigned)(f - m->flat);
    return f;
}

/* The same for the CPU (address masked by A20 already): takes the machine lock only for MMIO and holes. */
void physmap_cpu_read(struct physmap *p, gpa a, void *buf, unsigned bytes);
void physmap_cpu_write(struct physmap *p, gpa a, const void *buf, unsigned bytes);
/* Bytes [a, a+bytes) of f were written: dirty log, code. */
void physmap_note_write(struct physmap *p, const struct flat *f, gpa a, u64 bytes);
/* All registered MMUs belong to the calling thread, or have never run. */
bool physmap_own_thread(const struct physmap *p);

/* -------------------------------------------------------------- codepages.c ----- */
/* The vCPU has written to a page that holds code, by the slow path: after some of that, the code goes. */
void codepages_slow_write(struct physmap *p, const struct flat *f, gpa a);
void codepages_hit(struct physmap *p, const struct flat *f, gpa a, u64 bytes);  /* in one page of f */
void codepages_moved(struct physmap *p, const struct flatmap *before, const struct flatmap *after);

/* ------------------------------------------------------------------ walk.c ----- */
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

/* What the upper levels of the tables said for 2 MiB of linear addresses: the page table there, or the page itself (SDM
 * 3A 4.10.3). Valid if stamp is the set's. */
struct walk_upper {
    u64 prefix;         /* linear address >> 21 */
    u64 stamp;
    u64 entry;          /* address; RW and US of all levels, XD of any; of a page also PS, G, D */
};
enum { WALK_UPPERS = 256 };     /* a power of two */

/* ------------------------------------------------------------- tlb_table.c ----- */
#define TLB_SLOW 2              /* tag bit: translation known (info), data by the slow path */
enum {
    TLB_SETS = 8,               /* address spaces (PCIDs) that are kept */
    TLB_LARGE = 3,              /* beside enum access: granules of large pages, ACCESS_READ and ACCESS_WRITE */
    TLB_TABLES = TLB_LARGE + 2,
    TLB_MIN = 1024, TLB_MAX = 16384, TLB_STEP = 4,      /* entries of a table; how much it grows or shrinks at once */
    TLB_LARGE_MIN = 256, TLB_LARGE_MAX = 4096,
    TLB_BUDGET = 192 * 1024,    /* entries of all tables together above which none grows: 24 bytes each */
    TLB_WORDS = TLB_MAX / 64, TLB_SUMS = TLB_WORDS / 64,
    TLB_QUIET = 256,            /* flushes that found a table nearly empty before it shrinks */
    TLB_HUGE = 8,
};

/* What the slow path wants to know of an entry: the physical page and, in the low bits, these. */
enum tlb_info { INFO_SHIFT = 0x3f /* page_shift of the page it was cut from */, INFO_CODE = 0x40 /* slow because of code */ };

/* One bit per entry, and one per word of those that is not 0, so that flushing costs what is there and not what could be. */
struct tlb_bits { u64 *word; u64 sum[TLB_SUMS]; u32 count; };

struct tlb_table {
    struct tlb_entry *entry;        /* never NULL: without a table, one entry that is not valid */
    u64 *info;
    u32 last;                       /* index of the last entry */
    u32 size;                       /* entries; 0: no table yet */
    u8 view, access;                /* whose it is */
    u8 shift;                       /* an entry's size: PAGE_SHIFT or GRANULE_SHIFT */
    u8 huge_count;                  /* TLB_HUGE + 1: too many */
    u32 conflicts;                  /* valid entries that had to go for others, less what time forgives */
    u32 quiet;
    struct tlb_bits local, global;  /* valid entries: not global, global */
    u64 *large;                     /* entries that are pieces of larger pages... */
    u32 large_count;
    u64 huge[TLB_HUGE];             /* ...and the 1 GiB pages among those, addresses >> 30 */
    u64 regions[64];                /* filter: 4 MiB of address space from which there may be pieces */
};

enum tlb_which { TLB_LOCAL = 1, TLB_GLOBAL = 2, TLB_ALL = 3 };
/* What was dropped: entries of a 4 KiB page, pieces of a large one. */
enum tlb_gone { GONE_PAGE = 1, GONE_LARGE = 2 };

static inline u32 table_index(const struct tlb_table *t, gla a) { return (u32)(a >> t->shift) & t->last; }
static inline gla table_page(const struct tlb_table *t, gla a) { return a >> t->shift << t->shift; }
static inline bool table_bit(const u64 *word, u32 i) { return word[i / 64] >> (i % 64) & 1; }
static inline bool table_empty(const struct tlb_table *t) { return !(t->local.count | t->global.count); }

void table_init(struct tlb_table *t, enum view view, unsigned which);   /* enum access, + TLB_LARGE */
static inline u32 table_size_min(const struct tlb_table *t) { return t->shift == PAGE_SHIFT ? TLB_MIN : TLB_LARGE_MIN; }
static inline u64 table_mask(const struct tlb_table *t) { return (u64)t->last * sizeof(struct tlb_entry); }
void table_fini(struct tlb_table *t);
/* Where an entry for page is to be put. Makes or enlarges the table. Who is in the way has been told to sites.c. */
u32 table_room(struct mmu *m, struct tlb_table *t, gla page);
/* In place of what is there. */
void table_put(struct tlb_table *t, u32 i, struct tlb_entry e, u64 info, bool global);
void table_drop(struct tlb_table *t, u32 i);
void table_flush(struct mmu *m, struct tlb_table *t, enum tlb_which which);     /* may shrink it */
/* The page that holds a, if it is of that kind: its entry, or all pieces of a large one. Returns enum tlb_gone. */
unsigned table_flush_page(struct tlb_table *t, gla a, enum tlb_which which);
void table_drop_host_page(struct mmu *m, struct tlb_table *t, const u8 *page);

/* ----------------------------------------------------------------- sites.c ----- */
/* A set of pages that may have members too many (4096 bits). */
struct page_filter { u64 bit[64]; u32 count; u32 shifts; /* bit n: pages of 2^n bytes */ };

enum { SITES_AT_ONCE = 64 };

/* What translated code remembers beside the TLB: see sites.c. */
struct remembered {
    struct page_filter fetch[2], data[VIEW_COUNT];      /* remembered, perhaps, and without an entry in the TLB */
    bool fetch_local[2], data_local[VIEW_COUNT];        /* some of what is remembered may not be global */
    struct mmu_site none[SITES_AT_ONCE];    /* sites that are not valid */
    u8 *trap;                   /* a mapping that cannot be accessed, but for the page in its middle, to which those lead */
    size_t trap_bytes;
};

void sites_init(struct mmu *m);
void sites_fini(struct mmu *m);
void sites_clear_writes(struct mmu *m, enum view view);
void sites_drop_host_page(struct mmu *m, const u8 *page);
void remembered_all_gone(struct mmu *m);            /* every translation */
void remembered_local_gone(struct mmu *m);          /* those of the address space in use that were not global */
/* The page that holds a. data[view], fetch[view]: enum tlb_gone, what the TLB's tables had of it. */
void remembered_page_gone(struct mmu *m, gla a, const u8 data[VIEW_COUNT], const u8 fetch[2]);
void remembered_displaced(struct mmu *m, const struct tlb_table *t, u32 i);     /* this entry is about to make room */
static inline void remembered_installed(struct mmu *m, const struct tlb_table *t, bool global);

/* ------------------------------------------------------------------- tlb.c ----- */
struct tlb_set {
    u16 pcid;
    bool filled;                /* some table may have entries */
    u64 last_use;
    u64 upper_stamp;            /* walk.c */
    struct tlb_table table[VIEW_COUNT][TLB_TABLES];
    struct walk_upper upper[WALK_UPPERS];
};

struct tlb {
    struct tlb_set *current;
    u64 uses;                   /* counts set changes, for LRU */
    u64 walks;
    u64 stamps;                 /* walk.c: the last one given */
    u32 entries;                /* of all tables */
    unsigned table_hint, page_hint;     /* the stretches of the map where page tables, pages were found last */
    _Atomic bool flush_wanted;  /* another thread changed the map */
    const void *_Atomic thread; /* who runs this MMU; NULL: nobody yet */
    struct mmu *next_mmu;
    struct remembered remembered;
    struct tlb_set set[TLB_SETS];
};

/* Where something is kept for the 2 MiB at a. Mappings like to be a power of two apart. */
static inline struct walk_upper *set_upper(struct tlb_set *s, gla a)
{
    u64 n = a >> 21;
    return &s->upper[(n ^ n >> 8 ^ n >> 16) & (WALK_UPPERS - 1)];
}

/* Instruction fetches know no SMAP. */
static inline struct tlb_table *set_table(struct tlb_set *s, enum view view, enum access access)
{
    if (access == ACCESS_FETCH && view == VIEW_KERNEL_SMAP)
        view = VIEW_KERNEL;
    return &s->table[view][access];
}

static inline void remembered_installed(struct mmu *m, const struct tlb_table *t, bool global)
{
    struct remembered *r = &m->tlb->remembered;
    if (global)
        return;
    if (t->access == ACCESS_FETCH)
        r->fetch_local[t->view] = true;
    else
        r->data_local[t->view] = true;
}

/* Granules of large pages; not for ACCESS_FETCH. */
static inline struct tlb_table *set_large(struct tlb_set *s, enum view view, enum access access)
{
    return &s->table[view][TLB_LARGE + access];
}

struct tlb_hit { gpa pa; u8 *host; /* NULL: through the physical map */ };
/* Address of one byte, from the TLB or by a walk that fills it. false: m->fault is set. */
bool tlb_translate(struct mmu *m, gla a, enum access access, enum view view, struct tlb_hit *h);
/* Is there an entry that allows the access? */
bool tlb_knows(struct mmu *m, gla a, enum access access, enum view view);
bool tlb_fault(struct mmu *m, gla a, u32 error);
void tlb_drop_host_page(struct mmu *m, const u8 *page);     /* write entries that lead there */
void tlb_flush_if_wanted(struct mmu *m);
void tlb_refresh_tables(struct mmu *m);                     /* a table was replaced: mmu.tables, mmu.rd... */
const void *tlb_this_thread(void);

#endif
