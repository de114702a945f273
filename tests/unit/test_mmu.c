/* test_mmu.c - page walks in every mode, rights, error codes, flags, and what the TLB may and may not remember.
 * SDM 3A chapter 4. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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
#define SMEP (1u << 20)
#define SMAP (1u << 21)
#define LMA (1u << 10)
#define NXE (1u << 11)

#define RAM_BYTES ((u64)16 << 20)

static char err[200];
static struct physmap *map;
static struct ram *ram;
static struct region low, dev;
static struct mmu m;
static unsigned dev_reads, dev_writes;
static bool locked;

static u64 dev_read(void *ctx, u64 offset, unsigned bytes)
{
    ck_assert(locked);
    dev_reads++;
    return offset;
}
static void dev_write(void *ctx, u64 offset, unsigned bytes, u64 v)
{
    ck_assert(locked);
    dev_writes++;
}
static const struct mmio_ops dev_ops = { dev_read, dev_write, false };
static void lock(void *ctx)
{
    ck_assert(!locked);
    locked = true;
}
static void unlock(void *ctx) { locked = false; }

static void setup(void)
{
    map = physmap_new();
    ram = ram_new(RAM_BYTES, err, sizeof(err));
    ck_assert_ptr_nonnull(ram);
    low = (struct region){ .name = "ram", .size = RAM_BYTES, .kind = REGION_RAM, .enabled = true, .ram = ram };
    dev = (struct region){ .name = "dev", .start = 0xfec00000, .size = 0x1000, .kind = REGION_MMIO, .enabled = true, .ops = &dev_ops };
    physmap_add(map, &low);
    physmap_add(map, &dev);
    physmap_set_lock(map, lock, unlock, NULL);
    mmu_init(&m, map, 40);
    dev_reads = dev_writes = 0;
    locked = false;
}

static void teardown(void)
{
    mmu_fini(&m);
    physmap_free(map);
    ram_free(ram);
}

static void put32(gpa a, u32 v) { memcpy(ram->base + a, &v, 4); }
static void put64(gpa a, u64 v) { memcpy(ram->base + a, &v, 8); }
static u32 get32(gpa a) { u32 v; memcpy(&v, ram->base + a, 4); return v; }
static u64 get64(gpa a) { u64 v; memcpy(&v, ram->base + a, 8); return v; }

static void mode(u64 cr0, u64 cr3, u64 cr4, u64 efer) { mmu_set_paging(&m, cr0, cr3, cr4, efer, true, false); }

static bool reads(gla a, enum view view) { u8 v; return mmu_read(&m, a, &v, 1, view); }
static bool writes(gla a, enum view view) { u8 v = 0x99; return mmu_write(&m, a, &v, 1, view); }
static bool fetches(gla a, enum view view)
{
    gpa pa;
    const u8 *host;
    return mmu_fetch(&m, a, view, &pa, &host);
}
static bool access_ok(gla a, enum access access, enum view view)
{
    return access == ACCESS_READ ? reads(a, view) : access == ACCESS_WRITE ? writes(a, view) : fetches(a, view);
}
/* Physical address by all three paths (they must agree); ~0 if refused. */
static gpa where(gla a)
{
    gpa pa, debug;
    const u8 *host;
    if (!mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host))
        return ~(gpa)0;
    ck_assert(mmu_translate_debug(&m, a, &debug));
    ck_assert_uint_eq(pa, debug);
    return pa;
}

/* 4-level tables for one page: PML4 at 0x10000, PDPT 0x11000, PD 0x12000, PT 0x13000. */
#define PML4 0x10000u
static void map4(gla a, u64 pml4e, u64 pdpte, u64 pde, u64 pte)
{
    put64(PML4 + (a >> 39 & 511) * 8, pml4e);
    put64(0x11000 + (a >> 30 & 511) * 8, pdpte);
    put64(0x12000 + (a >> 21 & 511) * 8, pde);
    put64(0x13000 + (a >> 12 & 511) * 8, pte);
}
static void map4_page(gla a, gpa pa, u64 flags) { map4(a, 0x11000 | P | RW | US, 0x12000 | P | RW | US, 0x13000 | P | RW | US, pa | flags); }
static void long_mode(u64 cr0, u64 cr4, u64 efer) { mode(PG | cr0, PML4, PAE | cr4, LMA | efer); }

START_TEST(test_no_paging)
{
    u32 v;
    mode(0, 0, 0, 0);
    mmu_set_view(&m, VIEW_KERNEL);
    ck_assert(mmu_write32(&m, 0x12345, 0xcafebabe));
    ck_assert(mmu_read32(&m, 0x12345, &v) && v == 0xcafebabe);
    ck_assert_uint_eq(get32(0x12345), 0xcafebabe);
    ck_assert(mmu_hit_read(&m, 0x12345, 4) && mmu_hit_write(&m, 0x12ffc, 4));
    ck_assert(!mmu_hit_read(&m, 0x12ffd, 4));
    /* across a page, and from the top of the 32-bit space to 0 */
    ck_assert(mmu_write32(&m, 0x20ffe, 0x11223344));
    ck_assert_uint_eq(get32(0x20ffe), 0x11223344);
    put32(0, 0xaabbccdd);
    ck_assert(mmu_read32(&m, 0xfffffffe, &v));
    ck_assert_uint_eq(v, 0xccddffff);
    /* A20 */
    put32(0x5000, 1);
    put32(0x105000, 2);
    ck_assert(mmu_read32(&m, 0x105000, &v) && v == 2);
    physmap_set_a20(map, false);
    ck_assert(mmu_read32(&m, 0x105000, &v) && v == 1);
    physmap_set_a20(map, true);
    ck_assert(mmu_read32(&m, 0x105000, &v) && v == 2);
}
END_TEST

START_TEST(test_mmio)
{
    u32 v;
    u64 q;
    gpa pa;
    const u8 *host;
    mode(0, 0, 0, 0);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert(mmu_read32(&m, 0xfec00010, &v) && v == 0x10);
        ck_assert_uint_eq(dev_reads, i);
    }
    ck_assert_uint_eq(mmu_walk_count(&m), 1);       /* the translation is remembered */
    ck_assert(mmu_read64(&m, 0xfec00010, &q) && q == ((u64)0x14 << 32 | 0x10));
    ck_assert(mmu_write32(&m, 0xfec00000, 1) && dev_writes == 1);
    ck_assert(mmu_write32(&m, 0xfec00ffe, 1) && dev_writes == 2);   /* a half, the rest is a hole */
    ck_assert(mmu_read32(&m, 0xfec01000, &v) && v == 0xffffffff);
    ck_assert(mmu_fetch(&m, 0xfec00004, VIEW_KERNEL, &pa, &host) && !host && pa == 0xfec00004);
    mmu_read_phys(&m, pa, &v, 4);
    ck_assert_uint_eq(v, 4);
}
END_TEST

START_TEST(test_2level)
{
    mode(PG, 0x1000, 0, 0);
    put32(0x1000 + 4 * 3, 0x2000 | P | RW | US);
    put32(0x2000 + 4 * 5, 0x7000 | P | RW | US);
    ck_assert_uint_eq(where(3 << 22 | 5 << 12 | 0x123), 0x7123);
    ck_assert_uint_eq(get32(0x100c), 0x2000 | P | RW | US | A);
    ck_assert_uint_eq(get32(0x2014), 0x7000 | P | RW | US | A);
    ck_assert(writes(3 << 22 | 5 << 12, VIEW_USER));
    ck_assert_uint_eq(get32(0x100c), 0x2000 | P | RW | US | A);
    ck_assert_uint_eq(get32(0x2014), 0x7000 | P | RW | US | A | D);
    /* without CR4.PSE bit 7 of a PDE means nothing */
    put32(0x1000 + 4 * 4, 0x2000 | P | RW | US | PS);
    ck_assert_uint_eq(where(4 << 22 | 5 << 12), 0x7000);
    /* not present at either level */
    ck_assert(!reads(0x80000000, VIEW_USER));
    ck_assert_uint_eq(m.fault.error, PF_U);
    ck_assert_uint_eq(m.fault.addr, 0x80000000);
    ck_assert(!writes(3 << 22 | 6 << 12 | 7, VIEW_KERNEL));
    ck_assert_uint_eq(m.fault.error, PF_W);
    ck_assert_uint_eq(m.fault.addr, 3 << 22 | 6 << 12 | 7);
    /* tables in a hole: all ones with PSE on is a reserved bit */
    mode(PG, 0xd0000000, PSE, 0);
    ck_assert(!reads(0, VIEW_KERNEL));
    ck_assert_uint_eq(m.fault.error, PF_P | PF_RSVD);
    mode(PG, 0xfec00000, PSE, 0);
    ck_assert(!reads(0, VIEW_KERNEL));
    ck_assert_uint_eq(dev_reads, 0);
}
END_TEST

START_TEST(test_4m)
{
    mode(PG, 0x1000, PSE, 0);
    put32(0x1000 + 4 * 3, 0x400000 | P | RW | US | PS);
    ck_assert_uint_eq(where(3 << 22 | 0x123456), 0x523456);
    ck_assert(writes(3 << 22, VIEW_KERNEL));
    ck_assert_uint_eq(get32(0x100c), 0x400000 | P | RW | US | PS | A | D);
    /* PSE-36 */
    put32(0x1000 + 4 * 4, 0x400000 | P | PS | 0x95 << 13);
    ck_assert_uint_eq(where(4 << 22 | 0x3fffff), (u64)0x95 << 32 | 0x7fffff);
    put32(0x1000 + 4 * 4, 0x400000 | P | PS | 1 << 21);
    mmu_flush_all(&m);
    ck_assert(!reads(4 << 22, VIEW_USER));
    ck_assert_uint_eq(m.fault.error, PF_P | PF_RSVD | PF_U);
    static const struct { u8 phys_bits; unsigned bit; bool ok; } row[] = {
        { 32, 13, false }, { 32, 20, false }, { 36, 16, true }, { 36, 17, false }, { 40, 20, true }, { 52, 20, true },
        { 52, 21, false }, { 32, 12, true },
    };
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        m.phys_bits = row[i].phys_bits;
        put32(0x1000 + 4 * 4, 0x400000 | P | PS | US | 1u << row[i].bit);
        mmu_flush_all(&m);
        ck_assert_int_eq(reads(4 << 22, VIEW_USER), row[i].ok);
    }
}
END_TEST

START_TEST(test_pae)
{
    u64 pdpte[4];
    put64(0x1020 + 8 * 1, 0x2000 | P);
    put64(0x1020 + 8 * 2, 0xdead0000);              /* not present: anything goes */
    ck_assert(mmu_load_pdptes(&m, 0x1020, pdpte));
    memcpy(m.pdpte, pdpte, sizeof(pdpte));
    mode(PG, 0x1020, PAE, 0);
    put64(0x2000 + 8 * 7, 0x3000 | P | RW | US);
    put64(0x3000 + 8 * 9, 0x8000 | P | RW | US);
    put64(0x2000 + 8 * 8, 0x600000 | P | RW | US | PS);
    gla a = 1u << 30 | 7 << 21 | 9 << 12, b = 1u << 30 | 8 << 21;
    ck_assert_uint_eq(where(a | 0xabc), 0x8abc);
    ck_assert_uint_eq(where(b | 0x12345), 0x612345);
    ck_assert_uint_eq(get64(0x1028), 0x2000 | P);   /* no A in a PDPTE */
    ck_assert(!reads(0x80000000, VIEW_KERNEL));
    ck_assert_uint_eq(m.fault.error, 0);
    /* memory's PDPTEs are looked at by MOV CR3 only */
    put64(0x1028, 0);
    mmu_flush_all(&m);
    ck_assert(reads(a, VIEW_USER));
    /* reserved: 62:52 and beyond phys_bits and XD without NXE, 20:13 of a 2M page */
    static const struct { gpa at; u64 bit; bool nxe, ok; } row[] = {
        { 0x3048, (u64)1 << 40, true, false }, { 0x3048, (u64)1 << 52, true, false }, { 0x3048, (u64)1 << 62, true, false },
        { 0x3048, XD, false, false }, { 0x3048, XD, true, true }, { 0x2038, (u64)1 << 45, true, false },
        { 0x2038, XD, false, false }, { 0x3048, (u64)1 << 9, true, true }, { 0x3048, 0, true, true },
    };
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        u64 old = get64(row[i].at);
        put64(row[i].at, old | row[i].bit);
        mode(PG, 0x1020, PAE, row[i].nxe ? NXE : 0);
        ck_assert_int_eq(reads(a, VIEW_USER), row[i].ok);
        if (!row[i].ok)
            ck_assert_uint_eq(m.fault.error, PF_P | PF_RSVD | PF_U);
        put64(row[i].at, old);
    }
    for (unsigned bit = 13; bit <= 21; bit++) {
        put64(0x2000 + 8 * 8, 0x600000 | P | RW | US | PS | (u64)1 << bit);
        mmu_flush_all(&m);
        ck_assert_int_eq(reads(b, VIEW_USER), bit == 21);
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        bool bad = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 40;
        put64(0x1020, P | (u64)1 << bit);
        ck_assert_int_eq(mmu_load_pdptes(&m, 0x1020, pdpte), !bad);
    }
    ck_assert(!mmu_load_pdptes(&m, 0xd0000000, pdpte));
}
END_TEST

START_TEST(test_4level)
{
    gla a = 0xffff812345678000u;
    u64 t = P | RW | US;
    map4_page(a, 0x9000, t);
    long_mode(0, 0, NXE);
    ck_assert_uint_eq(where(a | 0xfff), 0x9fff);
    ck_assert(get64(0x13000 + (a >> 12 & 511) * 8) == (0x9000 | t | A));
    ck_assert(get64(PML4 + (a >> 39 & 511) * 8) == (0x11000 | t | A));
    /* 2M, 1G */
    map4(a, 0x11000 | t, 0x12000 | t, 0xa00000 | t | PS, 0);
    mmu_flush_all(&m);
    ck_assert_uint_eq(where(a), 0xa00000 + (a & 0x1fffff));
    map4(a, 0x11000 | t, 0x40000000 | t | PS, 0, 0);
    mmu_flush_all(&m);
    ck_assert_uint_eq(where(a), 0x40000000 + (a & 0x3fffffff));
    m.gbpages = false;
    mmu_flush_all(&m);
    ck_assert(!reads(a, VIEW_USER));
    ck_assert_uint_eq(m.fault.error, PF_P | PF_RSVD | PF_U);
    m.gbpages = true;

    /* every bit of every level: reserved or not, with its error code */
    for (unsigned level = 1; level <= 4; level++) {
        for (unsigned page = 0; page < 2; page++) {
            if (page && (level == 1 || level == 4))
                continue;
            for (unsigned bit = 0; bit < 64; bit++) {
                u64 e[5] = { 0, 0x9000 | t, 0x13000 | t, 0x12000 | t, 0x11000 | t };
                if (page)
                    e[level] = (level == 2 ? 0xa00000 : 0x40000000) | t | PS;
                e[level] |= (u64)1 << bit;
                bool bad = bit >= 40 && bit <= 51;
                if (bit == 7 && level == 4)
                    bad = true;
                if (bit == 7 && !page && (level == 2 || level == 3))
                    bad = true;                     /* becomes a page whose address is not aligned */
                if (page && bit >= 13 && bit < (level == 2 ? 21u : 30u))
                    bad = true;
                if (bit == 63)
                    bad = true;                     /* NXE is off below */
                bool moved = bit >= 12 && bit < 40; /* goes to other tables: not of interest */
                if (moved && !bad)
                    continue;
                map4(a, e[4], e[3], e[2], e[1]);
                long_mode(0, 0, 0);
                ck_assert_msg(reads(a, VIEW_USER) == !bad, "level %u page %u bit %u", level, page, bit);
                if (bad)
                    ck_assert_uint_eq(m.fault.error, PF_P | PF_RSVD | PF_U);
            }
        }
    }
    /* a missing entry above wins over anything below; reserved bits of a missing entry do not count */
    map4(a, 0x11000 | t, 0x12000 | t, (0x13000 | t | (u64)1 << 45) & ~(u64)P, 0x9000 | t);
    mmu_flush_all(&m);
    ck_assert(!writes(a, VIEW_USER));
    ck_assert_uint_eq(m.fault.error, PF_U | PF_W);
}
END_TEST

/* All combinations of rights at two levels, checked against a formula written down independently of walk.c. */
START_TEST(test_rights)
{
    gla a = 0x345678000;
    for (unsigned n = 0; n < 1 << 9; n++) {
        unsigned up = n & 6, leaf = n >> 2 & 6;     /* RW, US above and in the leaf */
        bool xd = n >> 5 & 1, wp = n >> 6 & 1, smep = n >> 7 & 1, nxe = n >> 8 & 1;
        if (xd && !nxe)
            continue;
        map4(a, 0x11000 | P | RW | US, 0x12000 | P | up | (xd && n & 2 ? XD : 0), 0x13000 | P | RW | US,
             0x9000 | P | leaf | (xd && !(n & 2) ? XD : 0));
        for (enum view view = 0; view < VIEW_COUNT; view++) {
            for (enum access access = 0; access < 3; access++) {
                bool user = (up & leaf & US), writable = (up & leaf & RW), ok;
                if (view == VIEW_USER)
                    ok = user && (access == ACCESS_READ || (access == ACCESS_WRITE && writable) || (access == ACCESS_FETCH && !xd));
                else if (access == ACCESS_FETCH)
                    ok = !xd && !(smep && user);
                else
                    ok = (access == ACCESS_READ || writable || !wp) && !(view == VIEW_KERNEL_SMAP && user);
                u32 error = PF_P | (view == VIEW_USER ? PF_U : 0) | (access == ACCESS_WRITE ? PF_W : 0) |
                            (access == ACCESS_FETCH && (nxe || smep) ? PF_I : 0);
                long_mode(wp ? WP : 0, smep ? SMEP : 0, nxe ? NXE : 0);
                map4(a, get64(PML4 + (a >> 39 & 511) * 8) & ~(u64)A, get64(0x11000 + (a >> 30 & 511) * 8) & ~(u64)A,
                     get64(0x12000 + (a >> 21 & 511) * 8) & ~(u64)A, get64(0x13000 + (a >> 12 & 511) * 8) & ~(u64)(A | D));
                u64 before = get64(0x13000 + (a >> 12 & 511) * 8);
                ck_assert_int_eq(mmu_probe(&m, a, 1, access, view), ok);
                ck_assert_uint_eq(get64(0x13000 + (a >> 12 & 511) * 8), before);    /* a probe leaves no trace */
                /* twice: the second comes from the TLB, and kinds of access in any order do not lend each other rights */
                for (unsigned again = 0; again < 2; again++) {
                    ck_assert_msg(access_ok(a, access, view) == ok, "n %x view %d access %d", n, view, access);
                    if (!ok)
                        ck_assert_uint_eq(m.fault.error, error);
                    for (enum access other = 0; other < 3; other++)
                        if (other != access)
                            access_ok(a, other, view);
                }
                (void)before;
            }
        }
    }
}
END_TEST

START_TEST(test_flags)
{
    gla a = 0x40001000;
    gpa leaf = 0x13000 + (a >> 12 & 511) * 8;
    map4_page(a, 0x9000, P | RW | US);
    long_mode(0, 0, 0);
    ck_assert(reads(a, VIEW_USER));
    ck_assert_uint_eq(get64(leaf) & (A | D), A);
    mmu_set_view(&m, VIEW_USER);
    ck_assert(mmu_hit_read(&m, a, 1) && !mmu_hit_write(&m, a, 1));     /* no write entry while D is clear */
    ck_assert(writes(a, VIEW_USER));
    ck_assert_uint_eq(get64(leaf) & (A | D), A | D);
    ck_assert(mmu_hit_write(&m, a, 1) != NULL);
    /* with D set a read makes both */
    mmu_flush_all(&m);
    ck_assert(reads(a, VIEW_USER) && mmu_hit_write(&m, a, 1));
    /* a refused access sets nothing */
    map4_page(a, 0x9000, P | US);
    mmu_flush_all(&m);
    ck_assert(!writes(a, VIEW_USER));
    ck_assert_uint_eq(get64(leaf) & (A | D), 0);
    /* tables in ROM: flags stay, the access works */
    struct ram *rom = ram_new(0x1000, err, sizeof(err));
    struct region r = { .name = "rom", .start = 0x13000, .size = 0x1000, .priority = 1, .kind = REGION_ROM, .enabled = true, .ram = rom };
    u64 e = 0x9000 | P | RW | US;
    memcpy(rom->base + (a >> 12 & 511) * 8, &e, 8);
    physmap_add(map, &r);
    ck_assert(writes(a, VIEW_USER));
    ck_assert_int_eq(memcmp(rom->base + (a >> 12 & 511) * 8, &e, 8), 0);
    physmap_remove(map, &r);
    ram_free(rom);
}
END_TEST

START_TEST(test_crossing)
{
    gla a = 0x40000000;
    u8 buf[16], back[16];
    map4_page(a, 0x9000, P | RW | US);
    map4_page(a + 0x1000, 0x20000, P | US);
    long_mode(0, 0, 0);
    memset(buf, 0x42, sizeof(buf));
    ck_assert(!mmu_write(&m, a + 0xff8, buf, 16, VIEW_USER));
    ck_assert_uint_eq(m.fault.addr, a + 0x1000);
    ck_assert_uint_eq(m.fault.error, PF_P | PF_W | PF_U);
    ck_assert_uint_eq(get64(0x9ff8), 0);            /* nothing on the first page */
    ck_assert(!mmu_probe(&m, a + 0xff8, 16, ACCESS_WRITE, VIEW_USER));
    put64(0x13000 + 8, 0x20000 | P | RW | US);
    ck_assert(mmu_write(&m, a + 0xff8, buf, 16, VIEW_USER));
    ck_assert(get64(0x9ff8) == get64(0x20000) && get64(0x20000) == 0x4242424242424242);
    ck_assert(mmu_read(&m, a + 0xff8, back, 16, VIEW_USER) && !memcmp(buf, back, 16));
    memset(back, 0, sizeof(back));
    put64(0x13000, 0);
    mmu_flush_all(&m);
    ck_assert(!mmu_read(&m, a + 0xff8, back, 16, VIEW_USER));
    ck_assert_uint_eq(m.fault.addr, a + 0xff8);
    ck_assert_uint_eq(back[15], 0);
}
END_TEST

/* What flushes what. Every case: the page is cached, its entry is changed, something happens, is the new one seen? */
START_TEST(test_invalidation)
{
    enum { NOTHING, INVLPG, INVLPG_OTHER, CR3, TOGGLE_PGE, ALL, PCID_KEEP, PCID_AWAY_BACK, INV_ADDR, INV_ADDR_OTHER,
           INV_SINGLE, INV_ALL, INV_ALL_GLOBAL };
    static const struct { int what; bool global, pcid; bool seen; } row[] = {
        { NOTHING, false, false, false },     { INVLPG, false, false, true },      { INVLPG, true, false, true },
        { INVLPG_OTHER, false, false, false }, { CR3, false, false, true },        { CR3, true, false, false },
        { CR3, false, true, true },           { CR3, true, true, false },          { TOGGLE_PGE, true, false, true },
        { TOGGLE_PGE, false, false, true },          { ALL, true, true, true },           { PCID_KEEP, false, true, false },
        { PCID_AWAY_BACK, false, true, false }, { PCID_AWAY_BACK, true, true, false }, { INV_ADDR, false, true, true },
        { INV_ADDR, true, true, false },      { INV_ADDR_OTHER, false, true, false }, { INV_SINGLE, false, true, true },
        { INV_SINGLE, true, true, false },    { INV_ALL, false, true, true },      { INV_ALL, true, true, false },
        { INV_ALL_GLOBAL, true, true, true }, { INVLPG, true, true, true },
    };
    gla a = 0x40001000;
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        u64 cr4 = PAE | PGE | (row[i].pcid ? PCIDE : 0), cr0 = PG;
        u64 cr3 = PML4 | (row[i].pcid ? 5 : 0), other = PML4 | 9;
        u64 flags = P | RW | US | (row[i].global ? G : 0);
        map4_page(a, 0x9000, flags);
        mode(cr0, cr3, cr4, LMA);
        mmu_flush_all(&m);
        ck_assert_uint_eq(where(a), 0x9000);
        ck_assert(reads(a, VIEW_KERNEL));
        map4_page(a, 0xa000, flags);
        switch (row[i].what) {
        case NOTHING: break;
        case INVLPG: mmu_flush_page(&m, a | 0x123); break;
        case INVLPG_OTHER: mmu_flush_page(&m, a + 0x1000); break;
        case CR3: mode(cr0, cr3, cr4, LMA); break;
        case TOGGLE_PGE: mmu_set_paging(&m, cr0, cr3, cr4 ^ PGE, LMA, false, false); mmu_set_paging(&m, cr0, cr3, cr4, LMA, false, false); break;
        case ALL: mmu_flush_all(&m); break;
        case PCID_KEEP: mmu_set_paging(&m, cr0, cr3, cr4, LMA, true, true); break;
        case PCID_AWAY_BACK: mode(cr0, other, cr4, LMA); mmu_set_paging(&m, cr0, cr3, cr4, LMA, true, true); break;
        case INV_ADDR: mmu_invpcid(&m, INVPCID_ADDRESS, 5, a); break;
        case INV_ADDR_OTHER: mmu_invpcid(&m, INVPCID_ADDRESS, 6, a); break;
        case INV_SINGLE: mmu_invpcid(&m, INVPCID_SINGLE, 5, 0); break;
        case INV_ALL: mmu_invpcid(&m, INVPCID_ALL, 0, 0); break;
        case INV_ALL_GLOBAL: mmu_invpcid(&m, INVPCID_ALL_GLOBAL, 0, 0); break;
        }
        gpa pa;
        const u8 *host;
        ck_assert(mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host));
        ck_assert_msg(pa == (row[i].seen ? 0xa000 : 0x9000), "case %u", i);
    }
}
END_TEST

/* Another PCID sees its own translation, and INVLPG of a global page reaches the sets of other PCIDs. */
START_TEST(test_pcid_sets)
{
    gla a = 0x40001000;
    u64 cr4 = PAE | PGE | PCIDE;
    for (unsigned pcid = 0; pcid < 20; pcid++) {        /* more than there are sets */
        map4_page(a, 0x100000 + pcid * 0x1000, P | RW | US);
        mode(PG, PML4 | pcid, cr4, LMA);
        ck_assert_uint_eq(where(a), 0x100000 + pcid * 0x1000);
    }
    mmu_set_paging(&m, PG, PML4 | 18, cr4, LMA, true, true);
    gpa pa;
    const u8 *host;
    ck_assert(mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host) && pa == 0x112000);
    /* one that had to make room is walked again */
    mmu_set_paging(&m, PG, PML4 | 1, cr4, LMA, true, true);
    ck_assert(mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host) && pa == 0x113000);
    mmu_flush_all(&m);
    map4_page(a, 0x9000, P | RW | US | G);
    mmu_set_paging(&m, PG, PML4 | 1, cr4, LMA, true, true);
    ck_assert(mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host) && pa == 0x9000);
    mmu_set_paging(&m, PG, PML4 | 2, cr4, LMA, true, true);
    map4_page(a, 0xa000, P | RW | US | G);
    mmu_flush_page(&m, a);
    mmu_set_paging(&m, PG, PML4 | 1, cr4, LMA, true, true);
    ck_assert(mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host) && pa == 0xa000);
    /* leaving PCID mode drops all */
    map4_page(a, 0xb000, P | RW | US | G);
    mmu_set_paging(&m, PG, PML4, PAE | PGE, LMA, false, false);
    ck_assert(mmu_fetch(&m, a, VIEW_KERNEL, &pa, &host) && pa == 0xb000);
}
END_TEST

/* INVLPG of any address in a large page drops what was cut from it, and nothing else. */
START_TEST(test_large_pages)
{
    gla a = 0x40200000, small = 0x40400000;
    u64 t = P | RW | US;
    map4(a, 0x11000 | t, 0x12000 | t, 0x400000 | t | PS, 0);
    put64(0x12000 + (small >> 21 & 511) * 8, 0x13000 | t);
    put64(0x13000, 0x9000 | t);
    long_mode(0, 0, 0);
    for (unsigned i = 0; i < 512; i += 37)
        ck_assert(reads(a + i * 0x1000, VIEW_KERNEL) && writes(a + i * 0x1000, VIEW_KERNEL) && fetches(a + i * 0x1000, VIEW_KERNEL));
    ck_assert(reads(small, VIEW_KERNEL));
    put64(0x12000 + (a >> 21 & 511) * 8, 0x600000 | t | PS);
    u64 walks = mmu_walk_count(&m);
    mmu_flush_page(&m, a + 0x123456);
    mmu_set_view(&m, VIEW_KERNEL);
    for (unsigned i = 0; i < 512; i++)
        ck_assert(!mmu_hit_read(&m, a + i * 0x1000, 1) && !mmu_hit_write(&m, a + i * 0x1000, 1));
    for (unsigned i = 0; i < 512; i += 37)
        ck_assert_uint_eq(where(a + i * 0x1000), 0x600000 + i * 0x1000);
    ck_assert(mmu_hit_read(&m, small, 1) != NULL);
    ck_assert_uint_gt(mmu_walk_count(&m), walks);
    /* 4M and 1G */
    mode(PG, 0x1000, PSE, 0);
    put32(0x1000 + 4, 0x400000 | t | PS);
    ck_assert(reads(0x400000, VIEW_USER) && reads(0x7ff000, VIEW_USER));
    put32(0x1000 + 4, 0);
    mmu_flush_page(&m, 0x500000);
    ck_assert(!reads(0x400000, VIEW_USER) && !reads(0x7ff000, VIEW_USER));
    map4(a, 0x11000 | t, 0 | t | PS, 0, 0);
    long_mode(0, 0, 0);
    ck_assert(reads(0x40000000, VIEW_USER) && reads(0x40abc000, VIEW_USER));
    map4(a, 0x11000 | t, 0, 0, 0);
    mmu_flush_page(&m, 0x7fffffff);
    ck_assert(!reads(0x40000000, VIEW_USER) && !reads(0x40abc000, VIEW_USER));
}
END_TEST

START_TEST(test_write_protect)
{
    gla a = 0x40001000;
    map4_page(a, 0x9000, P | US);
    long_mode(0, 0, 0);
    ck_assert(writes(a, VIEW_KERNEL));
    mmu_set_paging(&m, PG | WP, PML4, PAE, LMA, false, false);
    ck_assert(!writes(a, VIEW_KERNEL));
    mmu_set_paging(&m, PG, PML4, PAE, LMA, false, false);
    ck_assert(writes(a, VIEW_KERNEL));
    /* a fault drops the stale entry: the page was made writable without INVLPG */
    map4_page(a, 0x9000, P | US);
    mmu_flush_all(&m);
    ck_assert(reads(a, VIEW_USER) && !writes(a, VIEW_USER));
    map4_page(a, 0xa000, P | US | RW);
    ck_assert(writes(a, VIEW_USER));
    ck_assert_uint_eq(where(a), 0xa000);
}
END_TEST

static unsigned written;
static gpa written_at;
static u64 on_written(void *ctx, gpa a, u64 bytes)
{
    written++;
    written_at = a;
    return ~(u64)0;
}

START_TEST(test_code)
{
    u32 v;
    gla a = 0x40001000;
    map4_page(a, 0x9000, P | RW | US);
    long_mode(0, 0, 0);
    mmu_set_view(&m, VIEW_USER);
    codepages_set_owner(map, on_written, NULL, NULL);
    written = 0;
    ck_assert(mmu_write32(&m, a, 1) && mmu_hit_write(&m, a, 4));
    codepages_mark(map, 0x9040, 8);
    ck_assert(!mmu_hit_write(&m, a, 4) && mmu_hit_read(&m, a, 4));
    ck_assert(mmu_write32(&m, a + 0x80, 2) && written == 0);
    u64 walks = mmu_walk_count(&m);
    ck_assert(mmu_write32(&m, a + 0x44, 3) && written == 1 && written_at == 0x9044);
    ck_assert(mmu_read32(&m, a + 0x44, &v) && v == 3);
    ck_assert(!mmu_hit_write(&m, a, 4));
    ck_assert_uint_eq(mmu_walk_count(&m), walks);
    codepages_clear(map, 0x9000);
    ck_assert(mmu_write32(&m, a + 0x44, 4) && written == 1);
    ck_assert(mmu_hit_write(&m, a, 4) != NULL);             /* fast again, no walk needed */
    ck_assert_uint_eq(mmu_walk_count(&m), walks);
    ck_assert(mmu_write32(&m, a + 0x48, 5));
    ck_assert_uint_eq(get32(0x9048), 5);
    /* code in a page table: setting A and D is a write to it */
    codepages_mark(map, 0x13000, 4096);
    mmu_flush_all(&m);
    put64(0x13000 + 8, 0x9000 | P | RW | US);
    ck_assert(reads(a, VIEW_USER) && written == 2 && written_at == 0x13008);
    codepages_clear(map, 0x13000);
    /* a write across two pages with code on both */
    map4_page(a + 0x1000, 0x20000, P | RW | US);
    codepages_mark(map, 0x9fc0, 64);
    codepages_mark(map, 0x20000, 64);
    written = 0;
    ck_assert(mmu_write32(&m, a + 0xffe, 0x11223344) && written == 2);
    ck_assert_uint_eq(get32(0x20000) & 0xffff, 0x1122);
}
END_TEST

START_TEST(test_dirty_log)
{
    _Atomic u64 dirty[1] = { 0 };
    struct ram *vram = ram_new(0x10000, err, sizeof(err));
    struct region r = { .name = "vram", .start = 0xe0000000, .size = 0x10000, .kind = REGION_RAM, .enabled = true,
                        .ram = vram, .log_dirty = true, .dirty = dirty };
    physmap_add(map, &r);
    mode(0, 0, 0, 0);
    mmu_set_view(&m, VIEW_KERNEL);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(mmu_write32(&m, 0xe0003004, i));
        ck_assert_uint_eq(atomic_exchange(&dirty[0], 0), 8);     /* each time after it was cleared */
    }
    u32 v;
    ck_assert(mmu_read32(&m, 0xe0003004, &v) && v == 2);
    ck_assert(mmu_hit_read(&m, 0xe0003004, 4) != NULL);
    /* the BAR moves: the old address is a hole at once */
    physmap_change(map, &r, 0xd0000000, true);
    ck_assert(mmu_read32(&m, 0xe0003004, &v) && v == 0xffffffff);
    ck_assert(mmu_read32(&m, 0xd0003004, &v) && v == 2);
    physmap_remove(map, &r);
    ram_free(vram);
}
END_TEST

/* Random tables, random accesses, random flushes: the TLB never gives more or anything else than a walk of tables that are
 * left alone between flushes. */
START_TEST(test_random)
{
    unsigned seed = 12345, faults = 0;
    u64 t = P | RW | US;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 512; i++) {
            unsigned r = (unsigned)rand_r(&seed);
            put64(0x13000 + i * 8, (u64)(0x100 + i) << 12 | (r & (P | RW | US)) | (r >> 8 & 1 ? G : 0) | (r >> 9 & 1 ? XD : 0) | P * (r >> 10 & 1));
        }
        map4(0, 0x11000 | t, 0x12000 | t, 0x13000 | t, get64(0x13000));
        put64(0x12000 + 8, 0x13000 | t);        /* the same again 2 MiB higher: collides in the TLB with nothing */
        long_mode(rand_r(&seed) & 1 ? WP : 0, PGE, NXE);
        mmu_flush_all(&m);
        for (unsigned n = 0; n < 500; n++) {
            unsigned page = (unsigned)rand_r(&seed) % 1024;
            enum access access = (enum access)(rand_r(&seed) % 3);
            enum view view = (enum view)(rand_r(&seed) % VIEW_COUNT);
            u64 e = get64(0x13000 + (page & 511) * 8);
            bool user = e & US, ok = e & P;
            if (view == VIEW_USER)
                ok = ok && user && (access != ACCESS_WRITE || e & RW);
            else if (access != ACCESS_FETCH)
                ok = ok && !(view == VIEW_KERNEL_SMAP && user) && (access != ACCESS_WRITE || e & RW || !(m.cr0 & WP));
            if (access == ACCESS_FETCH && e & XD)
                ok = false;
            ck_assert_int_eq(access_ok((gla)page << 12, access, view), ok);
            faults += !ok;
            if (ok) {
                ck_assert_uint_eq(get64(0x13000 + (page & 511) * 8) & (access == ACCESS_WRITE ? D : A), access == ACCESS_WRITE ? D : A);
                mmu_set_view(&m, view);
                u8 *host = access == ACCESS_WRITE ? mmu_hit_write(&m, (gla)page << 12, 1) : mmu_hit_read(&m, (gla)page << 12, 1);
                if (access != ACCESS_FETCH)
                    ck_assert_ptr_eq(host, ram->base + ((0x100 + (page & 511)) << 12));
            }
            if (rand_r(&seed) % 50 == 0)
                mmu_flush_page(&m, (gla)(rand_r(&seed) % 1024) << 12);
        }
    }
    ck_assert_uint_gt(faults, 1000);
}
END_TEST

/* Not a check: prints what things cost (MMU_PROFILE=1). */
static struct timespec started;
static void begin(void) { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &started); }
static void end(const char *what, unsigned n)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    printf("%-40s %7.1f ns\n", what, ((double)(now.tv_sec - started.tv_sec) * 1e9 + (double)(now.tv_nsec - started.tv_nsec)) / n);
}

START_TEST(test_profile)
{
    if (!getenv("MMU_PROFILE"))
        return;
    /* 16 regions 64 MiB apart, whose pages meet in a table of any size: every access is a refill */
    u64 t = P | RW | US | A | D;
    map4(0, 0x11000 | t, 0x12000 | t, 0x13000 | t, 0);
    for (unsigned i = 0; i < 16; i++) {
        put64(0x12000 + i * 32 * 8, (0x20000 + i * 0x1000) | t);
        put64(0x12000 + (i * 32 + 1) * 8, (u64)(i & 7) << 21 | t | PS);
        for (unsigned k = 0; k < 512; k++)
            put64(0x20000 + i * 0x1000 + k * 8, (u64)(i * 512 + k) % 4096 << 12 | t);
    }
    long_mode(0, 0, 0);
    enum { N = 1 << 20 };
    for (unsigned large = 0; large < 2; large++) {
        for (unsigned warm = 0; warm < 2; warm++) {
            begin();
            for (unsigned n = 0; n < N; n++)
                reads(((gla)(n & 15) << 26) + (large << 21) + ((gla)(n >> 4 & 511) << 12), VIEW_KERNEL);
            if (warm)
                end(large ? "refill, page of 2 MiB" : "refill, page of 4 KiB", N);
        }
    }
    begin();
    for (unsigned n = 0; n < N; n++)
        mode(PG, PML4, PAE, LMA);
    end("MOV CR3, TLB empty", N);
    begin();
    for (unsigned n = 0; n < N; n++) {
        for (unsigned k = 0; k < 8; k++)
            reads((gla)(n & 7) << 21 | (gla)k << 12, VIEW_USER);
        mode(PG, PML4, PAE, LMA);
    }
    end("MOV CR3 and 8 refills, 1 page table", N);
    begin();
    for (unsigned n = 0; n < N; n++) {
        reads((gla)(n & 1023) << 12 & 0x1ff000, VIEW_KERNEL);
        mmu_flush_page(&m, (gla)(n & 1023) << 12 & 0x1ff000);
    }
    end("INVLPG and a refill", N);
    begin();
    for (unsigned n = 0; n < N; n++)
        writes(0x300000000, VIEW_USER);
    end("page fault", N);
    begin();
    for (unsigned n = 0; n < N; n++)
        reads(0x1ffe + ((gla)(n & 7) << 13), VIEW_KERNEL);
    end("mmu_read, hit", N);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("mmu");
    TCase *t = tcase_create("mmu");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_no_paging);
    tcase_add_test(t, test_mmio);
    tcase_add_test(t, test_2level);
    tcase_add_test(t, test_4m);
    tcase_add_test(t, test_pae);
    tcase_add_test(t, test_4level);
    tcase_add_test(t, test_rights);
    tcase_add_test(t, test_flags);
    tcase_add_test(t, test_crossing);
    tcase_add_test(t, test_invalidation);
    tcase_add_test(t, test_pcid_sets);
    tcase_add_test(t, test_large_pages);
    tcase_add_test(t, test_write_protect);
    tcase_add_test(t, test_code);
    tcase_add_test(t, test_dirty_log);
    tcase_add_test(t, test_random);
    tcase_add_test(t, test_profile);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
