/* test_mmu_remember.c - what is remembered of translations beside the page tables, and forgotten in time: pages at the
 * access sites of translated code, fetch_epoch, tables that grow, upper levels of walks. And mmu_host.
 *
 * The tests play translated code as mmu.h describes it: a site is looked at first, then the TLB, which fills the site,
 * then mmu_host; a link holds for as long as the epoch does. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmu/mmu.h"

#define P 1u
#define RW 2u
#define US 4u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define G 0x100u
#define XD ((u64)1 << 63)

#define PG (1u << 31)
#define WP (1u << 16)
#define PSE (1u << 4)
#define PAE (1u << 5)
#define PGE (1u << 7)
#define PCIDE (1u << 17)
#define LMA (1u << 10)
#define NXE (1u << 11)

#define RAM_BYTES ((u64)64 << 20)
#define PML4 0x10000u

static char err[200];
static struct physmap *map;
static struct ram *ram;
static struct region low, dev;
static struct mmu m;

static u64 dev_read(void *ctx, u64 offset, unsigned bytes) { return offset; }
static void dev_write(void *ctx, u64 offset, unsigned bytes, u64 v) { }
static const struct mmio_ops dev_ops = { dev_read, dev_write, false };

static void setup(void)
{
    map = physmap_new();
    ram = ram_new(RAM_BYTES, err, sizeof(err));
    ck_assert_ptr_nonnull(ram);
    low = (struct region){ .name = "ram", .size = RAM_BYTES, .kind = REGION_RAM, .enabled = true, .ram = ram };
    dev = (struct region){ .name = "dev", .start = 0xfec00000, .size = 0x1000, .kind = REGION_MMIO, .enabled = true, .ops = &dev_ops };
    physmap_add(map, &low);
    physmap_add(map, &dev);
    mmu_init(&m, map, 40);
}

static void teardown(void)
{
    mmu_fini(&m);
    physmap_free(map);
    ram_free(ram);
}

static void put64(gpa a, u64 v) { memcpy(ram->base + a, &v, 8); }
static u64 get64(gpa a) { u64 v; memcpy(&v, ram->base + a, 8); return v; }
static void put32(gpa a, u32 v) { memcpy(ram->base + a, &v, 4); }
static u32 get32(gpa a) { u32 v; memcpy(&v, ram->base + a, 4); return v; }

/* ----------------------------------------------------------------------------------------- translated code ----- */

static unsigned by_site, by_table, by_granule, by_link;

static u8 *granule_hit(gla a, unsigned bytes, bool write)
{
    const struct tlb_entry *table = write ? m.large.wr : m.large.rd;
    const struct tlb_entry *e = (const struct tlb_entry *)((const u8 *)table + (a >> 17 & (write ? m.large.wr_mask : m.large.rd_mask)));
    return ((a + bytes - 1) & GRANULE_MASK) == e->tag ? (u8 *)(uintptr_t)(a + e->addend) : NULL;
}

static u8 *code_access(unsigned n, gla a, unsigned bytes, bool write, enum view view)
{
    struct mmu_site *site = &m.site[view][(write ? MMU_WRITE_SITES : 0) + n];

    if (m.view != view)
        mmu_set_view(&m, view);
    if (a - site->page <= PAGE_SIZE - bytes) {
        by_site++;
        return (u8 *)(uintptr_t)(a + site->delta);
    }
    u8 *host = granule_hit(a, bytes, write);
    by_granule += host != NULL;
    if (!host) {
        host = write ? mmu_hit_write(&m, a, bytes) : mmu_hit_read(&m, a, bytes);
        by_table += host != NULL;
    }
    if (!host)
        return mmu_host(&m, a, bytes, write ? ACCESS_WRITE : ACCESS_READ, view);
    site->page = a & PAGE_MASK;
    site->delta = (uintptr_t)host - a;
    m.site_used[view] = true;
    return host;
}
static bool site_holds(unsigned n, gla a, bool write, enum view view)
{
    return m.site[view][(write ? MMU_WRITE_SITES : 0) + n].page == (a & PAGE_MASK);
}
/* Twice: the second access fills the site from the TLB. */
static void use_site(unsigned n, gla a, bool write, enum view view)
{
    for (unsigned i = 0; i < 3 && !site_holds(n, a, write, view); i++)
        ck_assert_ptr_nonnull(code_access(n, a, 1, write, view));
    ck_assert(site_holds(n, a, write, view));
}
static void run_code(gla a, enum view view)
{
    gpa pa;
    const u8 *host;
    ck_assert(mmu_fetch(&m, a, view, &pa, &host));
}

static void map4(gla a, u64 pml4e, u64 pdpte, u64 pde, u64 pte)
{
    put64(PML4 + (a >> 39 & 511) * 8, pml4e);
    put64(0x11000 + (a >> 30 & 511) * 8, pdpte);
    put64(0x12000 + (a >> 21 & 511) * 8, pde);
    put64(0x13000 + (a >> 12 & 511) * 8, pte);
}
static void map4_page(gla a, gpa pa, u64 flags) { map4(a, 0x11000 | P | RW | US, 0x12000 | P | RW | US, 0x13000 | P | RW | US, pa | flags); }
static void mode(u64 cr3, u64 cr4) { mmu_set_paging(&m, PG | WP, cr3, PAE | cr4, LMA | NXE, true, false); }

/* ------------------------------------------------------------------------------------------------- single rules ----- */

START_TEST(test_empty_sites)
{
    int fd[2];
    u8 page[PAGE_SIZE];
    ck_assert_int_eq(pipe(fd), 0);
    for (unsigned v = 0; v < VIEW_COUNT; v++) {
        ck_assert(!m.site_used[v]);
        for (unsigned i = 0; i < MMU_SITES; i++) {
            u64 p = m.site[v][i].page;
            ck_assert(p >> 47 != 0 && p >> 47 != 0x1ffff && !(p & ~PAGE_MASK));     /* no guest can have that page */
            ck_assert_uint_eq(p, m.site[0][0].page);
            ck_assert_uint_eq(m.site[v][i].delta, m.site[0][0].delta);
        }
    }
    u8 *dummy = (u8 *)(uintptr_t)(m.site[0][0].page + m.site[0][0].delta);
    memset(dummy, 0x55, PAGE_SIZE);
    ck_assert_int_eq(write(fd[1], dummy, PAGE_SIZE), PAGE_SIZE);
    ck_assert_int_eq(read(fd[0], page, PAGE_SIZE), PAGE_SIZE);
    /* what lies around it cannot be reached */
    ck_assert(write(fd[1], dummy + PAGE_SIZE, 1) == -1 && errno == EFAULT);
    ck_assert(write(fd[1], dummy - 1, 1) == -1 && errno == EFAULT);
    close(fd[0]);
    close(fd[1]);
    struct mmu other;
    mmu_init(&other, map, 40);
    ck_assert_uint_ne(other.site[0][0].page, m.site[0][0].page);
    mmu_fini(&other);
}
END_TEST

/* What is kept and what goes: one row per event. User page and user code, kernel page (global or not) and kernel code. */
START_TEST(test_events)
{
    enum { NOTHING, CR3, CR3_KEEP, OTHER_PCID, INVLPG_USER, INVLPG_KERNEL, INVLPG_OTHER, ALL, WP_ON, TOGGLE_PGE, INV_ADDR, INV_ADDR_OTHER,
           INV_SINGLE, INV_SINGLE_OTHER, INV_ALL, INV_GLOBAL, MAP, MARK, FAULT, FAULT_OTHER };
    /* sites that stay, epochs that stay: bits user 1, kernel (read) 2, kernel (write) 4 */
    static const struct { int what; bool global; unsigned sites, epochs; } row[] = {
        { NOTHING, 0, 7, 3 },       { NOTHING, 1, 7, 3 },   { CR3, 0, 0, 0 },               { CR3, 1, 6, 2 },
        { CR3_KEEP, 0, 7, 3 },      { CR3_KEEP, 1, 7, 3 },  { OTHER_PCID, 0, 0, 0 },        { OTHER_PCID, 1, 6, 2 },
        { INVLPG_USER, 0, 6, 2 },   { INVLPG_USER, 1, 6, 2 }, { INVLPG_KERNEL, 0, 1, 1 },   { INVLPG_KERNEL, 1, 1, 1 },
        { INVLPG_OTHER, 0, 7, 3 },  { ALL, 0, 0, 0 },       { ALL, 1, 0, 0 },               { TOGGLE_PGE, 1, 0, 0 },
        { INV_ADDR, 0, 6, 2 },      { INV_ADDR_OTHER, 0, 7, 3 }, { INV_SINGLE, 0, 0, 0 },   { INV_SINGLE, 1, 6, 2 },
        { INV_SINGLE_OTHER, 0, 7, 3 }, { INV_ALL, 0, 0, 0 }, { INV_ALL, 1, 6, 2 },          { INV_GLOBAL, 1, 0, 0 },
        { MAP, 1, 0, 0 },           { WP_ON, 1, 3, 3 },     { MARK, 1, 3, 3 },              { FAULT, 1, 6, 2 },
        { FAULT_OTHER, 1, 7, 3 },
    };
    gla user = 0x40001000, kernel = 0xffff800000202000u;
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        u64 t = P | RW | US, cr4 = PGE | PCIDE | PAE, cr0 = PG | (row[i].what == WP_ON ? 0 : WP);
        map4(user, 0x11000 | t, 0x12000 | t, 0x13000 | t, 0x100000 | P | RW | US);
        put64(PML4 + 256 * 8, 0x21000 | t);
        put64(0x21000, 0x22000 | t);
        put64(0x22000 + 8, 0x23000 | t);
        put64(0x23000 + 2 * 8, 0x101000 | P | RW | (row[i].global ? G : 0));
        mmu_set_paging(&m, cr0, PML4 | 5, cr4, LMA | NXE, true, false);
        mmu_flush_all(&m);
        use_site(3, user, false, VIEW_USER);
        use_site(4, kernel, false, VIEW_KERNEL);
        use_site(4, kernel, true, VIEW_KERNEL);
        run_code(user, VIEW_USER);
        run_code(kernel, VIEW_KERNEL);
        u64 epoch[VIEW_COUNT];
        memcpy(epoch, m.fetch_epoch, sizeof(epoch));
        switch (row[i].what) {
        case NOTHING: break;
        case CR3: mmu_set_paging(&m, cr0, PML4 | 5, cr4, LMA | NXE, true, false); break;
        case CR3_KEEP: mmu_set_paging(&m, cr0, PML4 | 5, cr4, LMA | NXE, true, true); break;
        case OTHER_PCID: mmu_set_paging(&m, cr0, PML4 | 6, cr4, LMA | NXE, true, true); break;
        case INVLPG_USER: mmu_flush_page(&m, user | 0x123); break;
        case INVLPG_KERNEL: mmu_flush_page(&m, kernel | 0x123); break;
        case INVLPG_OTHER: mmu_flush_page(&m, user + 0x1000); break;
        case ALL: mmu_flush_all(&m); break;
        case WP_ON: mmu_set_paging(&m, cr0 | WP, PML4 | 5, cr4, LMA | NXE, false, false); break;
        case TOGGLE_PGE: mmu_set_paging(&m, cr0, PML4 | 5, cr4 & ~PGE, LMA | NXE, false, false); break;
        case INV_ADDR: mmu_invpcid(&m, INVPCID_ADDRESS, 5, user); break;
        case INV_ADDR_OTHER: mmu_invpcid(&m, INVPCID_ADDRESS, 6, user); break;
        case INV_SINGLE: mmu_invpcid(&m, INVPCID_SINGLE, 5, 0); break;
        case INV_SINGLE_OTHER: mmu_invpcid(&m, INVPCID_SINGLE, 6, 0); break;
        case INV_ALL: mmu_invpcid(&m, INVPCID_ALL, 0, 0); break;
        case INV_GLOBAL: mmu_invpcid(&m, INVPCID_ALL_GLOBAL, 0, 0); break;
        case MAP: physmap_changed(map); break;
        case MARK: codepages_mark(map, 0x101000, 1); break;
        case FAULT: put64(0x13000 + 8, 0x100000 | P | US); ck_assert(!mmu_host(&m, user, 1, ACCESS_WRITE, VIEW_USER)); break;
        case FAULT_OTHER: ck_assert(!mmu_host(&m, user + 0x1000, 1, ACCESS_WRITE, VIEW_USER)); break;
        }
        unsigned sites = site_holds(3, user, false, VIEW_USER) | site_holds(4, kernel, false, VIEW_KERNEL) << 1 |
                         site_holds(4, kernel, true, VIEW_KERNEL) << 2;
        unsigned epochs = (m.fetch_epoch[VIEW_USER] == epoch[VIEW_USER]) | (m.fetch_epoch[VIEW_KERNEL] == epoch[VIEW_KERNEL]) << 1;
        ck_assert_msg(sites == row[i].sites && epochs == row[i].epochs, "row %u: sites %u, epochs %u", i, sites, epochs);
        ck_assert_uint_eq(m.fetch_epoch[VIEW_KERNEL] - epoch[VIEW_KERNEL], m.fetch_epoch[VIEW_KERNEL_SMAP] - epoch[VIEW_KERNEL_SMAP]);
        codepages_clear(map, 0x101000);
    }
}
END_TEST

/* An epoch counts for what was fetched only, and again for entries that were left in the TLB and used after it counted. */
START_TEST(test_epoch)
{
    gla a = 0x40001000, b = 0x40002000;
    map4_page(a, 0x100000, P | RW | US);
    map4_page(b, 0x101000, P | RW | US);
    mode(PML4, PGE);
    use_site(0, a, false, VIEW_USER);
    u64 e = m.fetch_epoch[VIEW_USER];
    mmu_flush_page(&m, a);              /* data */
    mode(PML4, PGE);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e);
    run_code(a, VIEW_USER);
    run_code(b, VIEW_USER);
    mmu_flush_page(&m, a);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e + 1);
    mmu_flush_page(&m, a);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e + 1);
    mmu_flush_page(&m, b);              /* its entry has been there all the time */
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e + 2);
    run_code(b, VIEW_USER);
    run_code(a, VIEW_KERNEL);
    mmu_flush_page(&m, a);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e + 2);
    mode(PML4, PGE);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e + 3);
    mode(PML4, PGE);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e + 3);
}
END_TEST

/* An address space that was left with entries in the TLB: what is used again of those, with no walk, is not kept when it is left. */
START_TEST(test_back_and_forth)
{
    gla user = 0x40001000, kernel = 0xffff800000202000u;
    u64 t = P | RW | US, cr4 = PGE | PCIDE | PAE;
    map4_page(user, 0x100000, t);
    put64(PML4 + 256 * 8, 0x21000 | t);
    put64(0x21000, 0x22000 | t);
    put64(0x22000 + 8, 0x23000 | t);
    put64(0x23000 + 2 * 8, 0x101000 | P | RW | G);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned pcid = 1; pcid < 3; pcid++) {
            mmu_set_paging(&m, PG | WP, PML4 | pcid, cr4, LMA | NXE, true, true);
            u64 epoch[VIEW_COUNT];
            memcpy(epoch, m.fetch_epoch, sizeof(epoch));
            if (pcid == 1) {
                u64 walks = mmu_walk_count(&m);
                use_site(0, user, false, VIEW_USER);
                run_code(user, VIEW_USER);
                ck_assert(round == 0 || mmu_walk_count(&m) == walks);
            }
            use_site(1, kernel, true, VIEW_KERNEL);
            run_code(kernel, VIEW_KERNEL);
            mmu_set_paging(&m, PG | WP, PML4 | 3, cr4, LMA | NXE, true, true);
            ck_assert(!site_holds(0, user, false, VIEW_USER) && site_holds(1, kernel, true, VIEW_KERNEL));
            ck_assert_uint_eq(m.fetch_epoch[VIEW_USER] - epoch[VIEW_USER], pcid == 1);
            ck_assert_uint_eq(m.fetch_epoch[VIEW_KERNEL] - epoch[VIEW_KERNEL], 0);
        }
    }
}
END_TEST

/* An entry that is replaced because of a write (D was clear), after the tables changed behind the TLB's back. */
START_TEST(test_replaced)
{
    gla a = 0x40001000;
    map4_page(a, 0x100000, P | RW | US);
    mode(PML4, 0);
    use_site(0, a, false, VIEW_USER);
    map4_page(a, 0x101000, P | RW | US);
    ck_assert_ptr_eq(code_access(0, a, 1, false, VIEW_USER), ram->base + 0x100000);
    ck_assert_ptr_eq(code_access(0, a, 1, true, VIEW_USER), ram->base + 0x101000);
    ck_assert_ptr_eq(code_access(0, a, 1, false, VIEW_USER), ram->base + 0x101000);
}
END_TEST

/* Entries that had to make room are remembered as well: pages 64 MiB apart want the same place in any table. */
START_TEST(test_displaced)
{
    u64 t = P | RW | US;
    for (unsigned large = 0; large < 2; large++) {
        put64(PML4, 0x11000 | t);
        put64(0x11000, 0x12000 | t);
        for (unsigned i = 0; i < 16; i++) {
            put64(0x12000 + i * 32 * 8, large ? ((u64)i & 7) << 21 | t | PS : (0x100000 + i * 0x1000) | t);
            put64(0x100000 + i * 0x1000, (0x200000 + i * 0x1000) | t);
        }
        mode(PML4, PGE);
        mmu_flush_all(&m);
        for (unsigned i = 0; i < 16; i++) {
            use_site(i, (gla)i << 26, false, VIEW_USER);
            run_code((gla)i << 26, VIEW_USER);
        }
        for (unsigned i = 0; i < 16; i++)
            ck_assert(site_holds(i, (gla)i << 26, false, VIEW_USER));
        for (unsigned i = 0; i < 16; i++) {
            u64 e = m.fetch_epoch[VIEW_USER];
            run_code((gla)i << 26, VIEW_USER);
            run_code((gla)((i + 1) & 15) << 26, VIEW_USER);
            use_site(i, (gla)i << 26, false, VIEW_USER);
            use_site((i + 1) & 15, (gla)((i + 1) & 15) << 26, false, VIEW_USER);
            mmu_flush_page(&m, ((gla)i << 26) + (large ? 0x123456 : 0));
            ck_assert(!site_holds(i, (gla)i << 26, false, VIEW_USER));
            ck_assert_uint_gt(m.fetch_epoch[VIEW_USER], e);
        }
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------ growth ----- */

static u64 entries_now(void)
{
    u64 n = 0;
    for (unsigned v = 0; v < VIEW_COUNT; v++)
        n += (m.tables[v].rd_mask + m.tables[v].wr_mask + m.tables[v].ex_mask) / 16;
    return n;
}

static void touch(unsigned pages)
{
    u8 v;
    for (unsigned i = 0; i < pages; i++) {
        ck_assert(mmu_read(&m, (gla)i << 12, &v, 1, VIEW_USER));
        if (!mmu_hit_read(&m, (gla)i << 12, 1))
            ck_abort_msg("page %u", i);
    }
}

START_TEST(test_growth)
{
    u64 t = P | RW | US;
    put64(PML4, 0x11000 | t);
    put64(0x11000, 0x12000 | t);
    for (unsigned i = 0; i < 32; i++) {
        put64(0x12000 + i * 8, (0x100000 + i * 0x1000) | t);
        for (unsigned k = 0; k < 512; k++)
            put64(0x100000 + i * 0x1000 + k * 8, (u64)(i * 512 + k) << 12 | t);
    }
    mode(PML4, PCIDE | PGE);
    mmu_set_view(&m, VIEW_USER);
    ck_assert_uint_eq(entries_now(), 0);        /* nothing is made before it is needed */
    touch(100);
    u64 small = m.rd_mask;
    m.tlb_fixed = true;
    for (unsigned round = 0; round < 4; round++)
        touch(8000);
    ck_assert_uint_eq(m.rd_mask, small);
    m.tlb_fixed = false;
    for (unsigned round = 0; round < 4; round++)
        touch(8000);
    ck_assert_uint_gt(m.rd_mask, small);
    u64 walks = mmu_walk_count(&m);
    touch(8000);
    ck_assert_uint_lt(mmu_walk_count(&m) - walks, 100);     /* all of it is there */
    for (unsigned i = 0; i < 8000; i += 7)
        ck_assert_ptr_eq(mmu_hit_read(&m, ((gla)i << 12) + 5, 8), ram->base + ((u64)i << 12) + 5);
    /* so many address spaces that not all of them can have large tables */
    u64 sum = 0;
    for (unsigned pcid = 0; pcid < 8; pcid++) {
        mmu_set_paging(&m, PG | WP, PML4 | pcid, PAE | PCIDE | PGE, LMA | NXE, true, true);
        for (enum view v = 0; v < VIEW_COUNT - 1; v++) {
            mmu_set_view(&m, v);
            for (unsigned i = 0; i < 24000; i++) {
                gla a = (gla)(i % 8000) << 12;
                ck_assert(mmu_host(&m, a, 1, i & 1 ? ACCESS_WRITE : ACCESS_READ, v) == ram->base + a);
            }
        }
        ck_assert_uint_ge(entries_now(), 4 * 8000);     /* the one in use has room; others make it */
    }
    for (unsigned pcid = 0; pcid < 8; pcid++) {
        mmu_set_paging(&m, PG | WP, PML4 | pcid, PAE | PCIDE | PGE, LMA | NXE, true, true);
        sum += entries_now();
    }
    ck_assert_uint_lt(sum, 400 * 1024);
    /* nearly empty for a long time */
    mmu_set_view(&m, VIEW_USER);
    for (unsigned i = 0; i < 5000; i++) {
        mmu_set_paging(&m, PG | WP, PML4 | (i & 7), PAE | PCIDE | PGE, LMA | NXE, true, false);
        touch(5);
    }
    for (unsigned pcid = 0; pcid < 8; pcid++) {
        mmu_set_paging(&m, PG | WP, PML4 | pcid, PAE | PCIDE | PGE, LMA | NXE, true, true);
        ck_assert_uint_eq(m.rd_mask, small);
    }
    /* and what is global survives a change of size, or is walked again */
    for (unsigned i = 0; i < 8000; i++)
        put64(0x100000 + i * 8, (u64)i << 12 | t | G | A);
    mmu_flush_all(&m);
    mmu_set_paging(&m, PG | WP, PML4, PAE | PCIDE | PGE, LMA | NXE, true, false);
    for (unsigned round = 0; round < 3; round++)
        touch(6000);
    touch(8000);
    ck_assert_uint_gt(m.rd_mask, small);
    for (unsigned i = 0; i < 8000; i++)
        ck_assert_ptr_eq(mmu_hit_read(&m, (gla)i << 12, 1), ram->base + ((u64)i << 12));
    for (unsigned i = 0; i < 8; i++) {      /* pages that meet in a smaller table */
        use_site(i, (gla)(i * 1024 + 5) << 12, false, VIEW_USER);
        run_code((gla)(i * 1024 + 5) << 12, VIEW_USER);
    }
    for (unsigned i = 0; i < 8000; i++)
        if (i % 1024 != 5)
            mmu_flush_page(&m, (gla)i << 12);
    u64 e = m.fetch_epoch[VIEW_USER];
    for (unsigned i = 0; i < 1200; i++)
        mmu_set_paging(&m, PG | WP, PML4, PAE | PCIDE | PGE, LMA | NXE, true, false);
    ck_assert_uint_eq(m.rd_mask, small);
    ck_assert_uint_eq(m.fetch_epoch[VIEW_USER], e);
    for (unsigned i = 0; i < 8; i++) {
        gla at = (gla)(i * 1024 + 5) << 12;
        ck_assert(site_holds(i, at, false, VIEW_USER));
        mmu_flush_page(&m, at);
        ck_assert(!site_holds(i, at, false, VIEW_USER));
    }
    ck_assert_uint_gt(m.fetch_epoch[VIEW_USER], e);
}
END_TEST

/* ----------------------------------------------------------------------------------------- granules of large pages ----- */

#define GRANULE 0x200000u
/* Page tables for 32 MiB from 0 on in pages of 2 MiB: the address is the frame. */
static void large_pages(u64 flags)
{
    put64(PML4, 0x11000 | P | RW | US);
    put64(0x11000, 0x12000 | P | RW | US);
    for (unsigned i = 0; i < 16; i++)
        put64(0x12000 + i * 8, (u64)i * GRANULE | PS | flags);
    mode(PML4, PGE);
    mmu_set_view(&m, VIEW_KERNEL);
}
static bool known(gla a, bool write) { return granule_hit(a, 1, write); }
static void read_at(gla a) { u8 v; ck_assert(mmu_read(&m, a, &v, 1, VIEW_KERNEL)); }
static void write_at(gla a) { u8 v = 1; ck_assert(mmu_write(&m, a, &v, 1, VIEW_KERNEL)); }

START_TEST(test_granules)
{
    large_pages(P | RW | US);
    ck_assert(!known(0x400000, false));
    read_at(0x412345);
    ck_assert_ptr_eq(granule_hit(0x5ffff8, 8, false), ram->base + 0x5ffff8);
    ck_assert_ptr_null(granule_hit(0x5ffff9, 8, false));        /* ends in the next one */
    ck_assert_ptr_eq(granule_hit(0x500ffc, 8, false), ram->base + 0x500ffc);    /* two pages, but of one granule */
    ck_assert(!known(0x400000, true));          /* D is not set yet */
    write_at(0x4abcde);
    ck_assert_ptr_eq(granule_hit(0x400000, 8, true), ram->base + 0x400000);
    ck_assert_uint_eq(get64(0x12000 + 2 * 8) & (A | D), A | D);
    u64 walks = mmu_walk_count(&m);
    for (unsigned i = 0; i < 512; i++) {
        read_at(0x400000 + i * 0x1000);
        write_at(0x400000 + i * 0x1000);
        ck_assert_ptr_eq(mmu_hit_read(&m, 0x400000 + i * 0x1000, 1), ram->base + 0x400000 + i * 0x1000);
    }
    ck_assert_uint_eq(mmu_walk_count(&m), walks);

    /* INVLPG of any page of it, in all tables, and of what sites know */
    use_site(1, 0x433000, false, VIEW_KERNEL);
    use_site(2, 0x434000, true, VIEW_KERNEL);
    mmu_flush_page(&m, 0x5ff123);
    ck_assert(!known(0x400000, false) && !known(0x400000, true));
    ck_assert(!site_holds(1, 0x433000, false, VIEW_KERNEL) && !site_holds(2, 0x434000, true, VIEW_KERNEL));
    ck_assert_ptr_null(mmu_hit_read(&m, 0x433000, 1));
    ck_assert_ptr_null(mmu_hit_write(&m, 0x433000, 1));

    /* a page fault does the same */
    put64(0x12000 + 3 * 8, 3 * GRANULE | PS | P);
    read_at(0x600000);
    put64(0x12000 + 3 * 8, 0);
    ck_assert_ptr_nonnull(mmu_host(&m, 0x640000, 1, ACCESS_READ, VIEW_KERNEL));     /* the TLB may know it still */
    ck_assert_ptr_null(mmu_host(&m, 0x640000, 1, ACCESS_WRITE, VIEW_KERNEL));
    ck_assert(!known(0x600000, false) && !known(0x600000, true));
    ck_assert_ptr_null(mmu_host(&m, 0x640000, 1, ACCESS_READ, VIEW_KERNEL));

    /* rights */
    put64(0x12000 + 3 * 8, 3 * GRANULE | PS | P);
    read_at(0x600000);
    ck_assert(known(0x600000, false) && !known(0x600000, true));
    ck_assert_ptr_null(mmu_host(&m, 0x600000, 1, ACCESS_WRITE, VIEW_KERNEL));
    mmu_set_view(&m, VIEW_USER);
    ck_assert(!known(0x600000, false));
    ck_assert_ptr_null(mmu_host(&m, 0x600000, 1, ACCESS_READ, VIEW_USER));
    mmu_set_view(&m, VIEW_KERNEL);
    mmu_set_paging(&m, PG, PML4, PAE | PGE, LMA | NXE, false, false);       /* without WP */
    write_at(0x600000);
    ck_assert(known(0x600000, true));
    use_site(3, 0x600000, true, VIEW_KERNEL);
    mmu_set_paging(&m, PG | WP, PML4, PAE | PGE, LMA | NXE, false, false);
    ck_assert(!known(0x600000, true) && !site_holds(3, 0x600000, true, VIEW_KERNEL));
    ck_assert_ptr_null(mmu_host(&m, 0x600000, 1, ACCESS_WRITE, VIEW_KERNEL));
}
END_TEST

START_TEST(test_granules_code)
{
    large_pages(P | RW | US | A | D);
    write_at(0x400000);
    use_site(1, 0x433000, true, VIEW_KERNEL);
    use_site(2, 0x434000, true, VIEW_KERNEL);
    codepages_mark(map, 0x433040, 64);
    ck_assert(!known(0x400000, true) && known(0x400000, false));
    ck_assert(!site_holds(1, 0x433000, true, VIEW_KERNEL) && site_holds(2, 0x434000, true, VIEW_KERNEL));
    ck_assert_ptr_null(mmu_host(&m, 0x433041, 1, ACCESS_WRITE, VIEW_KERNEL));
    ck_assert_ptr_eq(mmu_host(&m, 0x435000, 1, ACCESS_WRITE, VIEW_KERNEL), ram->base + 0x435000);
    ck_assert(!known(0x400000, true));
    /* the site that was left knows its page by a granule that is there no more: INVLPG must find it all the same */
    mmu_flush_page(&m, 0x434000);
    ck_assert(!site_holds(2, 0x434000, true, VIEW_KERNEL));
    /* marks that come and go are counted */
    codepages_mark(map, 0x433040, 64);
    codepages_mark(map, 0x433080, 64);
    codepages_mark(map, 0x5ff000, 1);
    codepages_clear(map, 0x433000);
    codepages_clear(map, 0x433000);
    write_at(0x436000);
    mmu_flush_page(&m, 0x400000);
    write_at(0x436000);
    ck_assert(!known(0x400000, true));
    codepages_clear(map, 0x5ff000);
    mmu_flush_page(&m, 0x400000);
    write_at(0x436000);
    ck_assert(known(0x400000, true));
}
END_TEST

static _Atomic u64 dirty_bits[64];
START_TEST(test_granules_map)
{
    static struct region hole, log;
    u8 v;
    large_pages(P | RW | US | A | D);
    /* something else in the middle of one; not all of it memory */
    hole = (struct region){ .name = "hole", .start = 0x500000, .size = 0x1000, .priority = 1, .kind = REGION_MMIO, .enabled = true, .ops = &dev_ops };
    log = (struct region){ .name = "log", .start = 0x800000, .size = 0x400000, .priority = 1, .kind = REGION_RAM, .enabled = true,
                           .ram = ram, .ram_offset = 0x800000, .log_dirty = true, .dirty = dirty_bits };
    write_at(0x400000);
    ck_assert(known(0x400000, true));
    physmap_add(map, &hole);
    physmap_add(map, &log);
    ck_assert(!known(0x400000, true) && !known(0x400000, false));
    write_at(0x400000);
    write_at(0x501000);
    ck_assert(!known(0x400000, true) && !known(0x501000, false));
    ck_assert_ptr_null(mmu_host(&m, 0x500000, 1, ACCESS_READ, VIEW_KERNEL));
    write_at(0x800000);         /* logged: for reads only */
    read_at(0x800000);
    ck_assert(known(0x800000, false) && !known(0x800000, true));
    physmap_change(map, &hole, 0x500000, false);
    physmap_change(map, &log, 0x800000 + 0x1000, true);
    write_at(0x501000);
    ck_assert(known(0x400000, true));
    read_at(0x800000);
    ck_assert(!known(0x800000, false));
    read_at(0xa00000);          /* memory, but it does not stand at a multiple of the size: nobody counts code in there */
    write_at(0xa00000);
    ck_assert(!known(0xa00000, true));
    physmap_remove(map, &hole);
    physmap_remove(map, &log);
    /* without A20, its second half is the first one */
    physmap_set_a20(map, false);
    put64(0x12000 + 4 * 8, 4 * GRANULE | PS | P | RW | A | D);
    ck_assert(mmu_read(&m, 0x900000, &v, 1, VIEW_KERNEL));
    ck_assert_ptr_eq(mmu_hit_read(&m, 0x900000, 1), ram->base + 0x800000);
    ck_assert(!known(0x900000, false));
    physmap_set_a20(map, true);
    read_at(0x900000);
    ck_assert_ptr_eq(granule_hit(0x900000, 1, false), ram->base + 0x900000);
}
END_TEST

/* Pages of 1 GiB and of 4 MiB, of which there are several granules; the upper half of the first is beyond the memory. */
START_TEST(test_granules_huge)
{
    put64(PML4, 0x11000 | P | RW);
    put64(0x11000, 0 | PS | P | RW | G);
    mode(PML4, PGE);
    mmu_set_view(&m, VIEW_KERNEL);
    read_at(0x1e00000);
    write_at(0x400000);
    ck_assert(known(0x1e00000, false) && known(0x400000, true));
    ck_assert(mmu_probe(&m, RAM_BYTES, 1, ACCESS_READ, VIEW_KERNEL));
    ck_assert(!known(RAM_BYTES, false));
    use_site(1, 0x1e05000, false, VIEW_KERNEL);
    mode(PML4, PGE);                            /* global: stays */
    ck_assert(known(0x1e00000, false) && site_holds(1, 0x1e05000, false, VIEW_KERNEL));
    mmu_flush_page(&m, 0x3fff0000);             /* the same page */
    ck_assert(!known(0x1e00000, false) && !known(0x400000, true) && !site_holds(1, 0x1e05000, false, VIEW_KERNEL));
    put32(0x20000, 0 | PS | P | RW);
    put32(0x20004, 0x400000 | PS | P | RW);
    mmu_set_paging(&m, PG | WP, 0x20000, PSE, 0, true, false);
    write_at(0x401000);
    write_at(0x601000);
    write_at(0x001000);
    ck_assert(known(0x400000, true) && known(0x600000, true));
    mmu_flush_page(&m, 0x7ff000);
    ck_assert(!known(0x400000, true) && !known(0x600000, true) && known(0x001000, true));
    /* the page becomes a table: nothing of the old one is left after INVLPG of one of its pages */
    write_at(0x401000);
    put32(0x20004, 0x21000 | P | RW);
    put32(0x21000 + 1 * 4, 0x333000 | P | RW);
    mmu_flush_page(&m, 0x5ab000);
    ck_assert_ptr_eq(mmu_host(&m, 0x401000, 1, ACCESS_READ, VIEW_KERNEL), ram->base + 0x333000);
    ck_assert_ptr_null(mmu_host(&m, 0x402000, 1, ACCESS_READ, VIEW_KERNEL));
}
END_TEST

/* More granules than a table has room for: those that had to go are remembered by sites, and must be forgotten. */
START_TEST(test_granules_displaced)
{
    enum { N = 5000 };
    put64(PML4, 0x11000 | P | RW);
    for (unsigned i = 0; i < 10; i++)
        put64(0x11000 + i * 8, (0x100000 + i * 0x1000) | P | RW);
    for (unsigned i = 0; i < N; i++)
        put64(0x100000 + i * 8, (u64)(i % 8 + 4) * GRANULE | PS | P | RW | A | D);
    mode(PML4, PGE);
    mmu_set_view(&m, VIEW_KERNEL);
    u64 small = m.large.rd_mask;
    for (unsigned i = 0; i < 500; i++)
        use_site(i, (gla)i * 4096 * GRANULE / 8 % ((gla)N * GRANULE) + i * 0x1000, i & 1, VIEW_KERNEL);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < N; i++)
            ck_assert_ptr_eq(mmu_host(&m, (gla)i * GRANULE + 5, 1, round & 1 ? ACCESS_WRITE : ACCESS_READ, VIEW_KERNEL),
                             ram->base + (i % 8 + 4) * GRANULE + 5);
    ck_assert_uint_gt(m.large.rd_mask, small);
    use_site(7, (gla)99 * GRANULE, false, VIEW_KERNEL);
    for (unsigned i = 0; i < N; i++)
        if (i != 99)
            read_at((gla)i * GRANULE);
    ck_assert(site_holds(7, (gla)99 * GRANULE, false, VIEW_KERNEL));
    mmu_flush_page(&m, (gla)99 * GRANULE + 0x1000);
    ck_assert(!site_holds(7, (gla)99 * GRANULE, false, VIEW_KERNEL));
    for (unsigned i = 0; i < 1500; i++)         /* it shrinks again */
        mode(PML4, PGE);
    ck_assert_uint_eq(m.large.rd_mask, 255 * 16);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- mmu_host ----- */

static unsigned watched;
static void watch_write(void *ctx, gpa pa, u8 *host, unsigned bytes) { watched += bytes; }

START_TEST(test_host)
{
    gla a = 0x40001000;
    gpa leaf = 0x13000 + (a >> 12 & 511) * 8;
    map4_page(a, 0x100000, P | RW | US);
    map4_page(a + 0x1000, 0x105000, P | US);
    map4_page(a + 0x2000, 0xfec00000, P | RW | US);
    map4_page(a + 0x3000, 0xd0000000, P | RW | US);
    map4_page(a + 0x4000, 0xe0000000, P | RW | US);
    map4_page(a + 0x5000, 0xf0000000, P | RW | US);
    map4_page(a + 0x6000, 0x106000, P | RW);
    map4_page(a + 0x7000, 0x107000, P | US | XD);
    mode(PML4, 0);
    mmu_set_view(&m, VIEW_USER);
    /* flags as by a real access, and entries in the TLB */
    ck_assert_ptr_eq(mmu_host(&m, a + 5, 8, ACCESS_READ, VIEW_USER), ram->base + 0x100005);
    ck_assert_uint_eq(get64(leaf) & (A | D), A);
    ck_assert(mmu_hit_read(&m, a, 1) && !mmu_hit_write(&m, a, 1));
    ck_assert_ptr_eq(mmu_host(&m, a + 0xff8, 8, ACCESS_WRITE, VIEW_USER), ram->base + 0x100ff8);
    ck_assert_uint_eq(get64(leaf) & (A | D), A | D);
    ck_assert(mmu_hit_write(&m, a, 1) != NULL);
    ck_assert_ptr_eq(mmu_host(&m, a, 4096, ACCESS_WRITE, VIEW_USER), ram->base + 0x100000);
    /* two pages, nothing */
    ck_assert(!mmu_host(&m, a + 0xff9, 8, ACCESS_READ, VIEW_USER) && !mmu_host(&m, a, 4097, ACCESS_READ, VIEW_USER));
    ck_assert(!mmu_host(&m, a + 1, 4096, ACCESS_READ, VIEW_USER) && !mmu_host(&m, a, 0, ACCESS_READ, VIEW_USER));
    /* rights; a refused access leaves no trace */
    ck_assert(mmu_host(&m, a + 0x1000, 1, ACCESS_READ, VIEW_USER) && !mmu_host(&m, a + 0x1008, 1, ACCESS_WRITE, VIEW_USER));
    ck_assert_uint_eq(m.fault.addr, a + 0x1008);
    ck_assert_uint_eq(m.fault.error, PF_P | PF_W | PF_U);
    ck_assert_uint_eq(get64(leaf + 8) & (A | D), A);
    ck_assert(!mmu_host(&m, a + 0x6000, 1, ACCESS_READ, VIEW_USER) && mmu_host(&m, a + 0x6000, 1, ACCESS_READ, VIEW_KERNEL_SMAP));
    ck_assert(!mmu_host(&m, a, 1, ACCESS_READ, VIEW_KERNEL_SMAP) && mmu_host(&m, a, 1, ACCESS_READ, VIEW_KERNEL));
    ck_assert(!mmu_host(&m, a + 0x7000, 1, ACCESS_FETCH, VIEW_USER) && mmu_host(&m, a, 1, ACCESS_FETCH, VIEW_USER));
    /* MMIO, a hole, ROM, a dirty log */
    struct ram *rom = ram_new(0x1000, err, sizeof(err)), *vram = ram_new(0x1000, err, sizeof(err));
    _Atomic u64 dirty[1] = { 0 };
    struct region r = { .name = "rom", .start = 0xe0000000, .size = 0x1000, .kind = REGION_ROM, .enabled = true, .ram = rom };
    struct region v = { .name = "vram", .start = 0xf0000000, .size = 0x1000, .kind = REGION_RAM, .enabled = true, .ram = vram,
                        .log_dirty = true, .dirty = dirty };
    physmap_add(map, &r);
    physmap_add(map, &v);
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned i = 2; i < 4; i++)
            ck_assert(!mmu_host(&m, a + i * 0x1000, 1, ACCESS_READ, VIEW_USER) && !mmu_host(&m, a + i * 0x1000, 1, ACCESS_WRITE, VIEW_USER));
        ck_assert_ptr_eq(mmu_host(&m, a + 0x4000, 4, ACCESS_READ, VIEW_USER), rom->base);
        ck_assert(!mmu_host(&m, a + 0x4000, 4, ACCESS_WRITE, VIEW_USER));
        ck_assert_ptr_eq(mmu_host(&m, a + 0x5000, 4, ACCESS_READ, VIEW_USER), vram->base);
        ck_assert(!mmu_host(&m, a + 0x5000, 4, ACCESS_WRITE, VIEW_USER));
    }
    ck_assert_uint_eq(dirty[0], 0);
    physmap_remove(map, &v);
    physmap_remove(map, &r);
    ram_free(rom);
    ram_free(vram);
    /* code: by 64 bytes, and no entry that would let other bytes through */
    ck_assert(mmu_host(&m, a, 1, ACCESS_WRITE, VIEW_USER) && mmu_hit_write(&m, a, 1));
    codepages_mark(map, 0x100040, 64);
    for (unsigned at = 0; at < 4096 - 8; at++) {
        bool code = at + 7 >= 0x40 && at < 0x80;
        ck_assert_ptr_eq(mmu_host(&m, a + at, 8, ACCESS_WRITE, VIEW_USER), code ? NULL : ram->base + 0x100000 + at);
        ck_assert_ptr_eq(mmu_host(&m, a + at, 8, ACCESS_READ, VIEW_USER), ram->base + 0x100000 + at);
        ck_assert(!mmu_hit_write(&m, a + at, 8));
    }
    codepages_clear(map, 0x100000);
    ck_assert(mmu_host(&m, a + 0x40, 8, ACCESS_WRITE, VIEW_USER) && mmu_hit_write(&m, a, 8));
    /* who watches is told */
    struct tlb_entry none = { TLB_INVALID, 0 };
    struct mmu_watch w = { watch_write, NULL, &none };
    m.watch = &w;
    mmu_set_view(&m, VIEW_USER);
    watched = 0;
    ck_assert(!mmu_hit_write(&m, a, 8) && mmu_host(&m, a, 8, ACCESS_WRITE, VIEW_USER) && mmu_host(&m, a, 4, ACCESS_READ, VIEW_USER));
    ck_assert_uint_eq(watched, 8);
    ck_assert(!mmu_host(&m, a + 0x1008, 1, ACCESS_WRITE, VIEW_USER) && watched == 8);
    m.watch = NULL;
    mmu_set_view(&m, VIEW_USER);
    ck_assert(mmu_hit_write(&m, a, 8) != NULL);
}
END_TEST

/* ------------------------------------------------------------------------------------------------- upper levels ----- */

static u8 *reads_at(gla a) { return mmu_host(&m, a, 1, ACCESS_READ, VIEW_KERNEL); }

START_TEST(test_upper)
{
    u64 t = P | RW | US;
    gla a = 0x40200000, b = a + 0x1000;
    gpa pde = 0x12000 + (a >> 21 & 511) * 8;
    /* what drops it: anything that drops a translation of this address space */
    for (unsigned how = 0; how < 7; how++) {
        map4(a, 0x11000 | t, 0x12000 | t, 0x14000 | t, 0);
        put64(0x14000, 0x100000 | t);
        put64(0x14008, 0x101000 | t);
        put64(0x15000, 0x102000 | t);
        put64(0x15008, 0x103000 | t);
        mmu_set_paging(&m, PG | WP, PML4 | 1, PAE | PCIDE | PGE, LMA | NXE, true, false);
        mmu_flush_all(&m);
        ck_assert_ptr_eq(reads_at(a), ram->base + 0x100000);
        put64(pde, 0x15000 | t);
        switch (how) {
        case 0: mmu_flush_page(&m, 0x1000); break;      /* any address: SDM 3A 4.10.4.1 */
        case 1: mmu_set_paging(&m, PG | WP, PML4 | 1, PAE | PCIDE | PGE, LMA | NXE, true, false); break;
        case 2: mmu_flush_all(&m); break;
        case 3: mmu_invpcid(&m, INVPCID_ADDRESS, 1, 0x1000); break;
        case 4: mmu_invpcid(&m, INVPCID_SINGLE, 1, 0); break;
        case 5: mmu_set_paging(&m, PG | WP, PML4 | 2, PAE | PCIDE | PGE, LMA | NXE, true, true); break;
        default: put64(0x14010, 0); ck_assert(!reads_at(a + 0x2000)); break;    /* a fault in these 2 MiB */
        }
        ck_assert_msg(reads_at(b) == ram->base + 0x103000, "how %u", how);
        ck_assert_uint_eq(get64(pde) & A, A);
    }
    /* what was not present is seen without any invalidation, at each level; so are more rights */
    gla c = 0x8000000000;
    mode(PML4, 0);
    u64 pml4e[] = { 0, 0x11000 | t };
    for (unsigned step = 0; step < 5; step++) {
        put64(PML4 + 8, pml4e[step > 0]);
        put64(0x11000, step > 1 ? 0x12000 | t : 0);
        put64(0x12000, step > 2 ? 0x13000 | t : 0);
        put64(0x13000, step > 3 ? 0x104000 | t : 0);
        ck_assert_ptr_eq(reads_at(c), step > 3 ? ram->base + 0x104000 : NULL);
    }
    put64(0x12000, 0x13000 | P);
    put64(0x13008, 0x105000 | t);
    put64(0x13010, 0x106000 | t);
    mmu_flush_all(&m);
    ck_assert(reads_at(c) && !mmu_host(&m, c, 1, ACCESS_READ, VIEW_USER) && !mmu_host(&m, c, 1, ACCESS_WRITE, VIEW_KERNEL));
    ck_assert(reads_at(c));
    put64(0x12000, 0x13000 | t);
    ck_assert(mmu_host(&m, c + 0x1000, 1, ACCESS_READ, VIEW_USER) && mmu_host(&m, c + 0x2000, 1, ACCESS_WRITE, VIEW_KERNEL));
    /* rights of the upper levels are not lost: read-only, supervisor, XD above */
    put64(0x12000, 0x13000 | P | XD);
    mmu_flush_all(&m);
    for (unsigned i = 0; i < 3; i++) {
        gla at = c + i * 0x1000;
        ck_assert(reads_at(at) && !mmu_host(&m, at, 1, ACCESS_WRITE, VIEW_KERNEL) && !mmu_host(&m, at, 1, ACCESS_READ, VIEW_USER));
        ck_assert(!mmu_host(&m, at, 1, ACCESS_FETCH, VIEW_KERNEL));
    }
    /* ...nor does a leaf's refusal stick to its neighbours */
    put64(0x12000, 0x13000 | t);
    put64(0x13000, 0x104000 | P | XD);
    mmu_flush_all(&m);
    ck_assert(reads_at(c) && mmu_host(&m, c + 0x1000, 1, ACCESS_WRITE, VIEW_USER) && mmu_host(&m, c + 0x1000, 1, ACCESS_FETCH, VIEW_USER));
    /* a page of 2 MiB: D with the first write only, its pieces from then on writable */
    put64(0x12000, 0x200000 | t | PS | G);
    mode(PML4, PGE);
    mmu_flush_all(&m);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_ptr_eq(reads_at(c + i * 0x1000), ram->base + 0x200000 + i * 0x1000);
    ck_assert_uint_eq(get64(0x12000) & (A | D), A);
    ck_assert_ptr_eq(mmu_host(&m, c + 0x1008, 8, ACCESS_WRITE, VIEW_KERNEL), ram->base + 0x201008);
    ck_assert_uint_eq(get64(0x12000) & (A | D), A | D);
    ck_assert_ptr_eq(mmu_host(&m, c + 0x9008, 8, ACCESS_WRITE, VIEW_KERNEL), ram->base + 0x209008);
    /* 32-bit paging: walked from the top each time */
    put32(0x1000, 0x2000 | P | RW);
    put32(0x2000, 0x100000 | P | RW);
    put32(0x2004, 0x101000 | P | RW);
    put32(0x3004, 0x103000 | P | RW);
    mmu_set_paging(&m, PG, 0x1000, PSE, 0, true, false);
    ck_assert_ptr_eq(reads_at(0), ram->base + 0x100000);
    put32(0x1000, 0x3000 | P | RW);
    ck_assert_ptr_eq(reads_at(0x1000), ram->base + 0x103000);
    ck_assert_uint_eq(get32(0x1000) & A, A);
}
END_TEST

/* ------------------------------------------------------------------------------------------------- random model ----- */

/* Two address spaces with PCIDs. 16 regions 64 MiB apart (pages of all of them meet in the TLB), 64 pages in each: 0..6
 * user pages of 4 KiB of their own, 7 a user page of 2 MiB; 8..14 pages that both share, 15 a shared page of 2 MiB; 16 a shared
 * page of 1 GiB. Each change of an entry is followed by an invalidation that suffices for it, chosen at random; then
 * every access must find what the tables say now, by whichever way it comes. */
enum { SPACES = 2, REGIONS = 17, SHARED = 8, LARGE_OWN = 7, LARGE_SHARED = 15, HUGE_SHARED = 16, PAGES = 64 };
#define TABLES(space) (0x20000u + (space) * 0x20000u)      /* PML4, PDPT, PD */
static unsigned seed;
static unsigned space;
static u64 cr0;
static bool marked[64];         /* code in chunk 0 of frame n */

static unsigned rnd(unsigned n) { return (unsigned)rand_r(&seed) % n; }
static gla address(unsigned region, unsigned page)
{
    gla high = region < SHARED ? 0 : 0xffff800000000000u;
    return high | (region == HUGE_SHARED ? (gla)1 << 30 : (gla)region << 26) | (gla)page << 12;
}
static unsigned owner(unsigned region, unsigned s) { return region < SHARED ? s : 0; }
static gpa table_of(unsigned region, unsigned s) { return TABLES(owner(region, s)) + 0x4000 + region * 0x1000; }
static gpa entry_at(unsigned region, unsigned page, unsigned s)
{
    gpa pd = TABLES(owner(region, s)) + (region < SHARED ? 0x2000 : 0x3000);
    if (region == HUGE_SHARED)
        return 0x80000 + 8;
    return region == LARGE_OWN || region == LARGE_SHARED ? pd + region * 32 * 8 : table_of(region, s) + page * 8;
}
static u64 random_entry(unsigned region)
{
    u64 flags = (rnd(8) ? P : 0) | (rnd(3) ? RW : 0) | (rnd(2) || region < SHARED ? US : 0) | (rnd(4) ? 0 : XD);
    if (region >= SHARED && rnd(3))
        flags |= G;
    if (region == HUGE_SHARED)
        return flags | PS;
    if (region == LARGE_OWN || region == LARGE_SHARED)
        return flags | PS | (u64)(2 + rnd(4)) << 21;    /* the first of these has the frames of the small pages */
    return flags | (0x400000 + (u64)rnd(64) * 0x1000);
}
static void build(void)
{
    u64 t = P | RW | US;
    memset(ram->base + 0x20000, 0, 0x80000);
    for (unsigned s = 0; s < SPACES; s++) {
        put64(TABLES(s), (TABLES(s) + 0x1000) | t);
        put64(TABLES(s) + 0x1000, (TABLES(s) + 0x2000) | t);
        put64(TABLES(s) + 256 * 8, 0x80000 | t);
        for (unsigned r = 0; r < REGIONS; r++) {
            if (r >= SHARED && s)
                continue;
            gpa pd = TABLES(s) + (r < SHARED ? 0x2000 : 0x3000);
            if (r != LARGE_OWN && r != LARGE_SHARED && r != HUGE_SHARED)
                put64(pd + r * 32 * 8, table_of(r, s) | t);
            for (unsigned p = 0; p < PAGES; p++)
                put64(entry_at(r, p, s), random_entry(r));
        }
    }
    put64(0x80000, (TABLES(0) + 0x3000) | t);
}
static void go(unsigned to, bool keep)
{
    space = to;
    mmu_set_paging(&m, cr0, TABLES(to) | (to + 1), PAE | PGE | PCIDE, LMA | NXE, true, keep);
}
static bool expect(gla a, unsigned region, unsigned page, enum access access, enum view view, gpa *pa)
{
    u64 e = get64(entry_at(region, page, space));
    bool user = e & US;
    gpa base = e & 0xfffffff000;

    *pa = region == HUGE_SHARED || region == LARGE_OWN || region == LARGE_SHARED ? base + ((gpa)page << 12) : base;
    *pa |= a & 4095;
    if (!(e & P) || (view == VIEW_USER && !user))
        return false;
    if (access == ACCESS_FETCH)
        return !(e & XD);
    return !(view == VIEW_KERNEL_SMAP && user) && (access == ACCESS_READ || e & RW || (view != VIEW_USER && !(cr0 & WP)));
}

static struct { u64 epoch; gpa pa; } links[VIEW_COUNT][REGIONS][PAGES];

/* Mostly a page that is in use at present: programs have habits, else nothing would be found remembered. */
static void choose(unsigned *region, unsigned *page)
{
    static struct { unsigned region, page; } habit[8];
    unsigned n = rnd(8);

    if (!rnd(40))
        habit[n].region = rnd(REGIONS), habit[n].page = rnd(2) ? rnd(4) : rnd(PAGES);
    *region = rnd(8) ? habit[n].region : rnd(REGIONS);
    *page = rnd(8) ? habit[n].page : rnd(PAGES);
}

static void check_access(void)
{
    unsigned region, page, bytes = 1u << rnd(4);
    choose(&region, &page);
    enum access access = (enum access)rnd(3);
    enum view view = (enum view)rnd(VIEW_COUNT);
    gla a = address(region, page) + rnd(4096 - 8);
    gpa pa, code_pa;
    const u8 *code;
    bool ok = expect(a, region, page, access, view, &pa);

    if (access == ACCESS_FETCH) {
        mmu_set_view(&m, view);
        if (links[view][region][page].epoch == m.fetch_epoch[view] + 1) {
            by_link++;
            ck_assert(ok);
            ck_assert_uint_eq(links[view][region][page].pa, pa & PAGE_MASK);
        }
        bool found = mmu_fetch_hit(&m, a, &code_pa) || mmu_fetch(&m, a, view, &code_pa, &code);
        ck_assert_int_eq(found, ok);
        if (ok) {
            ck_assert_uint_eq(code_pa, pa);
            links[view][region][page].pa = pa & PAGE_MASK;
            links[view][region][page].epoch = m.fetch_epoch[view] + 1;
        }
        return;
    }
    gpa frame = (pa >> 12) - 0x400;
    if (ok && access == ACCESS_WRITE && frame < 64 && marked[frame] && (pa & 4095) < 64)
        ok = false;
    unsigned site = rnd(8) ? (region * 31 + page * 7) % MMU_WRITE_SITES : rnd(MMU_WRITE_SITES);
    u8 *host = code_access(site, a, bytes, access == ACCESS_WRITE, view);
    ck_assert_msg(host == (ok ? ram->base + pa : NULL), "region %u page %u access %d view %d", region, page, access, view);
}

/* Makes everybody forget the old entry, one way or the other. */
static void invalidate(gla a, u64 old, unsigned region, unsigned s)
{
    if (!(old & P))
        return;
    switch (rnd(32)) {
    case 0: mmu_flush_all(&m); return;
    case 1: mmu_invpcid(&m, INVPCID_ALL_GLOBAL, 0, 0); return;
    case 2: physmap_changed(map); return;
    }
    if (old & G) {
        mmu_flush_page(&m, a + rnd(4096));
        return;
    }
    for (unsigned i = 0; i < SPACES; i++) {
        if (region < SHARED && i != s)
            continue;
        unsigned how = rnd(6);
        if (how == 0)
            mmu_invpcid(&m, INVPCID_ADDRESS, (u16)(i + 1), a);
        else if (how == 1)
            mmu_invpcid(&m, INVPCID_SINGLE, (u16)(i + 1), 0);
        else if (how == 2)
            mmu_invpcid(&m, INVPCID_ALL, 0, 0);
        else if (how == 3 || i != space)
            go(i, false);
        else
            mmu_flush_page(&m, a + rnd(4096));
    }
}

static void change_entry(void)
{
    unsigned region, page, s = rnd(SPACES);
    choose(&region, &page);
    gpa at = entry_at(region, page, s);
    u64 old = get64(at), new = random_entry(region);

    if (old & P && !rnd(4)) {       /* more rights need no invalidation, only a fault at most */
        put64(at, (old | P | RW | US) & ~XD);
        if (!(old & US))            /* what SMAP allowed is denied now */
            invalidate(address(region, page), old, region, s);
        return;
    }
    put64(at, new);
    invalidate(address(region, page), old, region, s);
}

START_TEST(test_random)
{
    by_site = by_table = by_granule = by_link = 0;
    seed = 777 + (unsigned)_i;
    memset(links, 0, sizeof(links));
    memset(marked, 0, sizeof(marked));
    cr0 = PG | WP;
    build();
    mmu_flush_all(&m);
    go(0, false);
    for (unsigned round = 0; round < 3000; round++) {
        for (unsigned i = rnd(240); i--;)
            check_access();
        switch (rnd(8)) {
        case 0: go(rnd(SPACES), rnd(4)); break;
        case 1: go(space, rnd(4)); break;
        case 2:
            cr0 ^= WP;
            mmu_set_paging(&m, cr0, TABLES(space) | (space + 1), PAE | PGE | PCIDE, LMA | NXE, false, false);
            break;
        case 3: {
            unsigned n = rnd(64);
            marked[n] = !marked[n];
            if (marked[n])
                codepages_mark(map, 0x400000 + n * 0x1000, 1 + rnd(64));
            else
                codepages_clear(map, 0x400000 + n * 0x1000);
            break;
        }
        default: change_entry(); break;
        }
    }
    if (getenv("MMU_PROFILE"))
        printf("%u by sites, %u by tables, %u by granules, %u by links\n", by_site, by_table, by_granule, by_link);
    ck_assert_uint_gt(by_site, 2000);
    ck_assert_uint_gt(by_table, 1000);
    ck_assert_uint_gt(by_granule, 100);
    ck_assert_uint_gt(by_link, 1000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("mmu_remember");
    TCase *t = tcase_create("mmu_remember");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_empty_sites);
    tcase_add_test(t, test_events);
    tcase_add_test(t, test_epoch);
    tcase_add_test(t, test_back_and_forth);
    tcase_add_test(t, test_replaced);
    tcase_add_test(t, test_displaced);
    tcase_add_test(t, test_growth);
    tcase_add_test(t, test_granules);
    tcase_add_test(t, test_granules_code);
    tcase_add_test(t, test_granules_map);
    tcase_add_test(t, test_granules_huge);
    tcase_add_test(t, test_granules_displaced);
    tcase_add_test(t, test_host);
    tcase_add_test(t, test_upper);
    tcase_add_loop_test(t, test_random, 0, 6);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
