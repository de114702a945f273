/* layout.c - what stands in RAM beside a random program: descriptor tables, page tables, handlers of exceptions and
 * interrupts for 16-, 32- and 64-bit mode. Maps are the identity, with some pages that are not (see enum in random.h).
 * SDM 3A chapters 3, 4, 6.
 */
#include <string.h>

#include "tests/random/random.h"

static u8 *ram;

static void put(u32 at, unsigned bytes, u64 v) { memcpy(ram + at, &v, bytes); }

static u64 descriptor(u32 base, u32 limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 |
        (u64)flags << 52 | (u64)(base >> 24) << 56;
}

static void make_gdt(void)
{
    const u64 table[GDT_END / 8] = {
        [1] = descriptor(0, 0xfffff, 0x9b, 0xc), descriptor(0, 0xfffff, 0x93, 0xc), descriptor(0, 0xfffff, 0xfb, 0xc),
        descriptor(0, 0xfffff, 0xf3, 0xc), descriptor(0, 0xfffff, 0xfb, 0xa), descriptor(0, 0xfffff, 0x9b, 0xa),
        descriptor(0, 0xfffff, 0x9b, 0xa), descriptor(0, 0xfffff, 0x93, 0xc), descriptor(TSS32, 0x1ff, 0x89, 0),
        descriptor(TSS64, 0x1ff, 0x89, 0), 0, descriptor(PROGRAM, 0xffff, 0x9b, 0), descriptor(DATA, 0xffff, 0x93, 0),
        descriptor(DATA, 0xffff, 0xf3, 4), descriptor(0, 0xfffff, 0xf1, 0xc),
    };
    memcpy(ram + GDT, table, sizeof(table));
    put(TSS32 + 4, 4, STACKS - 0x1000);
    put(TSS32 + 8, 4, GDT_DATA);
    put(TSS32 + 102, 2, 0x1ff);
    put(TSS64 + 4, 8, STACKS - 0x2000);
    put(TSS64 + 36, 8, STACKS - 0x3000);        /* IST 1 */
    put(TSS64 + 102, 2, 0x1ff);
}

static u64 gate(u16 sel, u32 offset, unsigned access, unsigned ist)
{
    return (offset & 0xffff) | (u64)sel << 16 | (u64)ist << 32 | (u64)access << 40 | (u64)(offset >> 16) << 48;
}

static bool has_error(unsigned v) { return v == 8 || (v >= 10 && v <= 14) || v == 17; }

/* A stub pushes an error code where the CPU has not, and the vector; behind it OUT, and IRET from what the host left. */
static void make_handlers64(void)
{
    for (unsigned v = 0; v < VECTORS; v++) {
        const u8 pad[] = { 0x6a, 0 }, code[] = { 0x68, (u8)v, 0, 0, 0, 0xe6, PORT_EVENT, 0x48, 0x8d, 0x64, 0x24, 16,
                                                 0x48, 0xcf };
        const u32 at = HANDLERS64 + v * 16, skip = has_error(v) ? 2 : 0;
        const bool open = v == 3 || v == 4 || v >= VECTOR_LOOK;
        memcpy(ram + at, pad, 2);
        memcpy(ram + at + 2, code, sizeof(code));
        put(IDT64 + v * 16, 8, gate(GDT_CODE64, at + skip, open ? 0xee : 0x8e, v == EXC_DF));
    }
    const u8 syscall[] = { 0xe6, PORT_SYSCALL, 0x48, 0x0f, 0x07 };
    memcpy(ram + HANDLERS64 + 0xf80, syscall, sizeof(syscall));
}

static void make_handlers32(void)
{
    for (unsigned v = 0; v < VECTORS; v++) {
        const u8 pad[] = { 0x6a, 0 }, code[] = { 0x68, (u8)v, 0, 0, 0, 0xe6, PORT_EVENT, 0x8d, 0x64, 0x24, 8, 0xcf };
        const u32 at = HANDLERS32 + v * 16, skip = has_error(v) ? 2 : 0;
        const bool open = v == 3 || v == 4 || v >= VECTOR_LOOK;
        memcpy(ram + at, pad, 2);
        memcpy(ram + at + 2, code, sizeof(code));
        put(IDT32 + v * 8, 8, gate(GDT_CODE32, at + skip, open ? 0xee : 0x8e, 0));
    }
}

static void make_handlers16(void)
{
    for (unsigned v = 0; v < VECTORS; v++) {
        const u8 code[] = { 0x6a, 0, 0x68, (u8)v, 0, 0xe6, PORT_EVENT, 0x83, 0xc4, 4, 0xcf };
        const u32 at = HANDLERS16 + v * 16;
        memcpy(ram + at, code, sizeof(code));
        put(v * 4, 4, (u32)(at >> 4) << 16);
    }
}

/* 4 KiB pages for the first 2 MiB and once more behind them. */
static void map_pages(u32 table, unsigned bytes, unsigned first, unsigned pages)
{
    for (unsigned i = first; i < first + pages; i++, table += bytes) {
        const u32 page = i % 512 << 12;
        u64 entry = page | 7;
        if (i < 512 && (page == ABSENT || (page >= LAZY && page < LAZY_END)))
            entry = page;
        if (i < 512 && page == READ_ONLY)
            entry = page | 5;
        if (i < 512 && page == SUPERVISOR)
            entry = page | 3;
        if (i < 512 && page == MAPPED_DATA)
            entry = FRAMES | 7;
        if (i < 512 && page == MAPPED_CODE)
            entry = (FRAMES + 0x2000) | 7;
        put(table, bytes, entry);
    }
}

static void make_tables(void)
{
    put(PML4, 8, PDPT | 7);
    put(PDPT, 8, PAGE_DIR | 7);
    put(PDPT_PAE, 8, PAGE_DIR | 1);
    put(PAGE_DIR, 8, TABLE0 | 7);
    put(PAGE_DIR + 8, 8, TABLE1 | 7);
    map_pages(TABLE0, 8, 0, 512);
    map_pages(TABLE1, 8, 512, 512);
    put(DIR32, 4, TABLE32 | 7);
    map_pages(TABLE32, 4, 0, 1024);
}

void layout_make(u8 *mem)
{
    ram = mem;
    make_gdt();
    make_handlers16();
    make_handlers32();
    make_handlers64();
    make_tables();
    /* pointers: GDT, IDT of real mode, 32-bit, 64-bit */
    static const struct { u16 limit; u32 base; } pointers[] = { { GDT_END - 1, GDT }, { 0x3ff, 0 },
                                                                { VECTORS * 8 - 1, IDT32 }, { VECTORS * 16 - 1, IDT64 } };
    for (unsigned i = 0; i < ARRAY_LEN(pointers); i++) {
        put(POINTERS + i * 16, 2, pointers[i].limit);
        put(POINTERS + i * 16 + 2, 4, pointers[i].base);
    }
}
