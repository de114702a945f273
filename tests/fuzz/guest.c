/* guest.c - hostile guests: a CPU mode, descriptor tables, page tables, task states and code, each mostly sensible with
 * some of it at random, so that execution gets somewhere before it meets the odd part.
 *
 * Low memory is mapped to itself by a full set of tables; then some entries are overwritten: with other RAM, the tables
 * themselves, device registers, holes, large pages, reserved bits. Everything (code, tables, stacks) lies in RAM that
 * the code can write. Machines of 1 MiB do, what lies beyond RAM is part of the fun.
 */
#include <string.h>

#include "cpu/cpuid.h"
#include "tests/fuzz/fuzz.h"

enum { GDT_AT = 0x1000, GDT_ENTRIES = 64, IDT_AT = 0x2000, TSS_AT = 0x4000, TSS_COUNT = 8, TSS_BYTES = 0x200,
       LDT_AT = 0x6000,
       GUEST_CODE = 0x8000, CODE_BYTES = 0x4000, STACK_TOP = 0x1f000, TABLES_AT = 0x40000, TABLE_PAGES = 12 };
enum mode { MODE_REAL, MODE_PROT16, MODE_PROT32, MODE_V86, MODE_COMPAT, MODE_LONG, MODE_COUNT };
enum { SEL_CODE32_0 = 0x08, SEL_DATA_0 = 0x10, SEL_CODE32_3 = 0x1b, SEL_DATA_3 = 0x23, SEL_CODE64_0 = 0x28,
       SEL_CODE64_3 = 0x33,
       SEL_CODE16_0 = 0x38, SEL_DATA16_0 = 0x40, SEL_TSS_0 = 0x48, SEL_LDT_0 = 0x50, FIRST_RANDOM = 12 };

static struct fuzz *f;
static struct vcpu *c;
static enum mode mode;

static void put(u64 at, unsigned bytes, u64 v) { fuzz_poke(f, at, &v, bytes); }
static unsigned decode_mode(void) { return mode == MODE_LONG ? 8 : mode == MODE_PROT32 || mode == MODE_COMPAT ? 4 : 2; }
static u64 code_address(void) { return one_in(16) ? fuzz_address(f) : (u64)GUEST_CODE + below(CODE_BYTES); }

/* --- descriptors ------------------------------------------------------------------------------------------------- */

static u64 segment_descriptor(u32 base, u32 limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 |
        (u64)flags << 52 | (u64)(base >> 24) << 56;
}

static u16 any_selector(void)
{
    return one_in(10) ? (u16)random_u64() : (u16)(below(GDT_ENTRIES) << 3 | (one_in(8) ? 4 : 0) |
        (one_in(2) ? 3 : below(4)));
}

static u64 gate_descriptor(unsigned type)
{
    static const u16 codes[] = { SEL_CODE32_0, SEL_CODE64_0, SEL_CODE16_0, SEL_CODE32_3 };
    const u64 offset = code_address();
    u16 sel = one_in(3) ? any_selector() : mode >= MODE_COMPAT ? SEL_CODE64_0 : codes[below(4)];
    if (type == SYS_TASK_GATE)
        sel = (u16)((FIRST_RANDOM + below(TSS_COUNT)) << 3);
    return (offset & 0xffff) | (u64)sel << 16 | (u64)(below(32) | (type | (one_in(8) ? 0 : 0x80) |
        below(4) << 5) << 8) << 32 |
        (u64)(offset >> 16 & 0xffff) << 48;
}

static u64 any_descriptor(void)
{
    static const u8 gates[] = { SYS_CALL16, SYS_CALL32, SYS_TASK_GATE, SYS_INT32 };
    if (one_in(12))
        return random_u64();
    if (one_in(3))
        return gate_descriptor(gates[below(4)]);
    if (one_in(3))      /* a system segment */
        return segment_descriptor((u32)(TSS_AT + below(TSS_COUNT) * TSS_BYTES), one_in(4) ? below(0x100) : 0x1ff,
                                  below(16) | 0x80 | below(4) << 5, 0);
    return segment_descriptor(one_in(2) ? 0 : (u32)fuzz_address(f), one_in(2) ? 0xfffff : (u32)random_integer(),
                              below(256) | 0x90, below(16));
}

static void make_descriptors(void)
{
    const u64 fixed[] = {
        0, segment_descriptor(0, 0xfffff, 0x9b, 0xc), segment_descriptor(0, 0xfffff, 0x93, 0xc),
        segment_descriptor(0, 0xfffff, 0xfb, 0xc), segment_descriptor(0, 0xfffff, 0xf3, 0xc),
        segment_descriptor(0, 0xfffff, 0x9b, 0xa), segment_descriptor(0, 0xfffff, 0xfb, 0xa),
        segment_descriptor(0, 0xffff, 0x9b, 0), segment_descriptor(0, 0xffff, 0x93, 0),
        segment_descriptor(TSS_AT, 0x1ff, mode == MODE_PROT16 ? 0x83 : 0x8b, 0), 
        segment_descriptor(LDT_AT, 0xff, 0x82, 0), 0,
    };
    static_assert(ARRAY_LEN(fixed) == FIRST_RANDOM, "the fixed descriptors");
    for (unsigned i = 0; i < GDT_ENTRIES; i++)
        put(GDT_AT + i * 8, 8, i < FIRST_RANDOM ? fixed[i] : any_descriptor());
    for (unsigned i = 0; i < TSS_COUNT; i++)    /* task gates name these */
        put(GDT_AT + (FIRST_RANDOM + i) * 8, 8,
            segment_descriptor(TSS_AT + i * TSS_BYTES, 0x1ff, one_in(4) ? 0x81 : one_in(6) ? 0x8b : 0x89, 0));
    for (unsigned i = 0; i < 32; i++)
        put(LDT_AT + i * 8, 8, any_descriptor());
}

static void make_interrupts(void)
{
    static const u8 types[] = { SYS_INT32, SYS_TRAP32, SYS_INT16, SYS_TRAP16, SYS_TASK_GATE };
    if (mode == MODE_REAL) {
        for (unsigned i = 0; i < 256; i++)
            put(i * 4, 4, one_in(16) ? random_u64() : code_address() & 0xffff);
        return;
    }
    for (unsigned i = 0; i < 256; i++) {
        const unsigned type = mode >= MODE_COMPAT && !one_in(8) ? SYS_INT32 : one_in(3) ? types[below(5)] : SYS_INT32;
        const u64 gate = one_in(30) ? random_u64() : gate_descriptor(type);
        if (mode < MODE_COMPAT) {
            put(IDT_AT + i * 8, 8, gate);
            continue;
        }
        put(IDT_AT + i * 16, 8, one_in(3) ? gate : gate & ~((u64)0x1f << 32));     /* IST */
        put(IDT_AT + i * 16 + 8, 8, one_in(20) ? random_u64() : 0);
    }
}

/* Task states: registers at random, a stack and an instruction pointer that work most of the time. */
static void make_tasks(void)
{
    u8 tss[TSS_BYTES];
    for (unsigned i = 0; i < TSS_COUNT; i++) {
        random_fill(tss, sizeof(tss), FILL_ANY);
        for (unsigned n = 0; n < 3; n++) {
            const u32 sp[2] = { STACK_TOP - below(0x1000), SEL_DATA_0 };
            memcpy(tss + 4 + n * 8, sp, 8);
        }
        if (mode >= MODE_COMPAT)
            for (unsigned n = 0; n < 11; n++) {
                const u64 sp = one_in(16) ? random_u64() : STACK_TOP - below(0x4000);
                memcpy(tss + 4 + n * 8, &sp, 8);
            }
        const u32 cr3 = one_in(3) ? (u32)fuzz_address(f) : (u32)c->cr3, eip = (u32)code_address();
        const u32 flags = (u32)random_u64() & 0x27fd5;
        const u16 map = (u16)below(0x200);
        if (mode < MODE_COMPAT) {
            memcpy(tss + 0x1c, &cr3, 4);
            memcpy(tss + 0x20, &eip, 4);
            memcpy(tss + 0x24, &flags, 4);
        }
        for (unsigned s = 0; s < 6 && mode < MODE_COMPAT; s++) {
            const u32 sel = one_in(3) ? any_selector() : s == SEG_CS ? SEL_CODE32_0 : SEL_DATA_0;
            memcpy(tss + 0x48 + s * 4, &sel, 4);
        }
        memcpy(tss + 0x66, &map, 2);
        fuzz_poke(f, TSS_AT + i * TSS_BYTES, tss, sizeof(tss));
    }
}

/* --- page tables ------------------------------------------------------------------------------------------------- */

static void identity(u64 table, unsigned entry_bytes, u64 from, u64 step, unsigned count, u64 flags)
{
    for (unsigned i = 0; i < count; i++)
        put(table + i * entry_bytes, entry_bytes, (from + i * step) | flags);
}

static void spoil_tables(void)
{
    for (unsigned i = one_in(3) ? 0 : below(24); i; i--) {
        const u64 at = TABLES_AT + below(TABLE_PAGES) * PAGE_SIZE + (one_in(2) ? below(8) * 8 : below(512) * 8);
        u64 to = one_in(4) ? TABLES_AT + below(TABLE_PAGES) * PAGE_SIZE : fuzz_address(f) & PAGE_MASK;
        if (one_in(2))
            to &= 0xffffffffff000;
        put(at, 8, one_in(8) ? random_u64() : to | (below(512) | (one_in(8) ? 0 : 7)) |
            (one_in(10) ? (u64)1 << 63 : 0));
    }
}

/* The first 2 or 4 MiB by small pages, everything up to 4 GiB by large ones. */
static void make_tables(bool pae, bool four_level)
{
    const u64 t = TABLES_AT, flags = 7, large = 0x87;
    if (!pae) {
        identity(t, 4, 0, 4 << 20, 1024, large);
        put(t, 4, (t + PAGE_SIZE) | flags);
        identity(t + PAGE_SIZE, 4, 0, PAGE_SIZE, 1024, flags);
        c->cr3 = t;
        spoil_tables();
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        identity(t + (2 + i) * PAGE_SIZE, 8, (u64)i << 30, 2 << 20, 512, large);
    put(t + 2 * PAGE_SIZE, 8, (t + 6 * PAGE_SIZE) | flags);
    identity(t + 6 * PAGE_SIZE, 8, 0, PAGE_SIZE, 512, flags);
    identity(t + PAGE_SIZE, 8, t + 2 * PAGE_SIZE, PAGE_SIZE, 4, four_level ? flags : 1);
    put(t, 8, (t + PAGE_SIZE) | flags);
    put(t + 510 * 8, 8, t | flags);         /* the tables, seen through themselves */
    put(t + 511 * 8, 8, (t + PAGE_SIZE) | flags);
    c->cr3 = four_level ? t : t + PAGE_SIZE;
    spoil_tables();
}

/* --- the CPU ----------------------------------------------------------------------------------------------------- */

static void set_segment(enum sreg s, u64 base, u32 limit, u16 sel, unsigned attr)
{
    c->seg[s] = (struct segment){ .base = base, .limit = limit, .sel = sel, .attr = (u16)attr };
}

static void set_segments(unsigned cpl)
{
    const unsigned big = mode == MODE_PROT16 ? 0 : SEG_D, dpl = cpl << 5;
    const u32 limit = mode == MODE_PROT16 ? 0xffff : 0xffffffff;
    if (mode == MODE_REAL || mode == MODE_V86) {
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            const u16 sel = s == SEG_CS || s == SEG_SS || one_in(2) ? 0 : (u16)(fuzz_address(f) >> 4);
            set_segment(s, (u64)sel << 4, 0xffff, sel, SEG_P | SEG_S | SEG_W | SEG_A |
                        (mode == MODE_V86 ? SEG_DPL : 0));
        }
        return;
    }
    for (unsigned s = 0; s < SEG_COUNT; s++)
        set_segment(s, 0, limit, mode == MODE_PROT16 ? SEL_DATA16_0 : cpl ? SEL_DATA_3 : SEL_DATA_0,
                    SEG_P | dpl | SEG_S | SEG_W | SEG_A | big | (big ? SEG_G : 0));
    c->seg[SEG_CS].attr = (u16)(SEG_P | dpl | SEG_S | SEG_CODE | SEG_W | SEG_A | (big ? SEG_G : 0) |
                           (mode == MODE_LONG ? SEG_L : big));
    c->seg[SEG_CS].sel = mode == MODE_LONG ? (cpl ? SEL_CODE64_3 : SEL_CODE64_0) : mode == MODE_PROT16 ? SEL_CODE16_0 :
        cpl ? SEL_CODE32_3 : SEL_CODE32_0;
}

static void set_registers(void)
{
    for (unsigned i = 0; i < 16; i++) {
        c->gpr[i] = one_in(3) ? random_integer() : one_in(3) ? code_address() : fuzz_address(f);
        if (mode != MODE_LONG)
            c->gpr[i] = (u32)c->gpr[i];
        random_fill(&c->vec[i], 32, (enum fill)below(FILL_KINDS));
    }
    c->rsp = one_in(16) ? random_integer() : STACK_TOP - 0x1000;
    c->rbp = STACK_TOP - 0x800;
    if (mode != MODE_LONG)
        c->rsp = (u32)c->rsp;
    c->rip = GUEST_CODE + below(256);
    for (unsigned i = 0; i < 8; i++)
        c->x87.r[i] = random_f80();
    c->x87.cw = one_in(4) ? (u16)(0x340 | below(64)) : 0x37f;
    c->x87.sw = (u16)(below(8) << 11);
    c->mxcsr = one_in(4) ? below(0x10000) & 0xffc0 : 0x1f80;
}

static void set_debugging(void)
{
    if (one_in(4))
        for (unsigned i = 0; i < 4; i++)
            c->dr[i] = code_address();
    c->dr[7] = 0x400 | (one_in(6) ? random_u64() & 0xffff23ff : 0);
    c->dr[6] = 0xffff0ff0;
    c->dr6_pending = 0;
}

/* Control registers, all at once: bits that the model has. */
static void set_control(bool paging, bool pae)
{
    const bool modern = cpu_has(&c->model, CPUID_XSAVE), sse = cpu_has(&c->model, CPUID_SSE);
    c->cr0 = CR0_ET | CR0_NE | (mode == MODE_REAL ? 0 : CR0_PE) | (paging ? CR0_PG : 0);
    c->cr0 |= random_u64() & (CR0_WP | CR0_AM | CR0_MP);
    if (one_in(8))
        c->cr0 |= one_in(2) ? CR0_TS : CR0_EM;
    if (one_in(8))
        c->cr0 &= ~(u64)CR0_NE;
    c->cr4 = (pae ? CR4_PAE : 0) | (paging && !pae ? CR4_PSE : 0);
    c->cr4 |= random_u64() & (CR4_DE | CR4_TSD | (cpu_has(&c->model, CPUID_VME) ? CR4_VME | CR4_PVI : 0));
    if (sse && !one_in(6))
        c->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (modern && !one_in(6))
        c->cr4 |= CR4_OSXSAVE;
    if (modern && cpu_has(&c->model, CPUID_SMAP))
        c->cr4 |= random_u64() & (CR4_PGE | CR4_PCE | CR4_UMIP | CR4_FSGSBASE | (one_in(8) ? CR4_SMEP | CR4_SMAP : 0) |
                                  (mode >= MODE_COMPAT ? CR4_PCIDE : 0));
    c->efer = mode >= MODE_COMPAT ? EFER_LME | EFER_LMA | EFER_SCE : 0;
    if (pae && cpu_has(&c->model, CPUID_NX) && one_in(2))
        c->efer |= EFER_NXE;
    c->xcr0 = modern ? (one_in(4) ? 1 : 7) : 1;
    c->star = (u64)SEL_DATA_0 << 48 | (u64)SEL_CODE64_0 << 32;
    c->lstar = code_address();
    c->cstar = code_address();
    if (!is_canonical(c->lstar) || !is_canonical(c->cstar))
        c->lstar = c->cstar = GUEST_CODE;
    c->fmask = random_u64() & 0x47700;
    c->sysenter_cs = SEL_CODE32_0;
    c->sysenter_eip = GUEST_CODE;
    c->sysenter_esp = STACK_TOP;
}

static void set_tables(void)
{
    c->gdtr.base = GDT_AT;
    c->gdtr.limit = (u16)(one_in(10) ? random_u64() : GDT_ENTRIES * 8 - 1);
    c->idtr.base = mode == MODE_REAL ? 0 : IDT_AT;
    c->idtr.limit = (u16)(one_in(20) ? below(0x800) : mode == MODE_REAL ? 0x3ff : mode >= MODE_COMPAT ? 0xfff : 0x7ff);
    c->tr = (struct segment){ .base = TSS_AT, .limit = one_in(6) ? below(0x200) : 0x1ff, .sel = SEL_TSS_0,
                              .attr = 0x8b };
    if (mode == MODE_PROT16 && one_in(2))
        c->tr.attr = 0x83;
    c->ldtr = (struct segment){ .base = LDT_AT, .limit = 0xff, .sel = SEL_LDT_0, .attr = 0x82 };
    c->kernel_gs_base = fuzz_address(f);
    if (!is_canonical(c->kernel_gs_base))
        c->kernel_gs_base = 0;
}

static void set_flags(unsigned cpl)
{
    u32 flags = EFL_1 | ((u32)random_u64() & (EFL_STATUS | EFL_DF));
    if (one_in(2))
        flags |= EFL_IF;
    if (one_in(8))
        flags |= EFL_TF;
    if (one_in(2))
        flags |= EFL_IOPL;
    if (one_in(8))
        flags |= (u32)random_u64() & (EFL_NT | EFL_RF | EFL_AC | EFL_VIF | EFL_VIP);
    if (mode == MODE_V86)
        flags |= EFL_VM;
    c->cpl = (u8)cpl;
    c->eflags = 0;
    rflags_set(c, flags);
}

/* --- code -------------------------------------------------------------------------------------------------------- */

static unsigned any_row(void)
{
    for (;;) {
        const unsigned row = below(insn_row_count);
        const u32 attr = insn_rows[row].attr;
        if (attr & (ATTR_SYS | ATTR_BRANCH | ATTR_STRING | ATTR_PRIV) || one_in(4))
            return row;
    }
}

/* One instruction of the table, its displacement aimed at something; returns its length, 0 for none. */
static unsigned any_instruction(u8 *to)
{
    struct test_case t = { .mode = one_in(24) ? 2u << below(3) : decode_mode(), .row = any_row() };
    if (!encode_row(&t))
        return 0;
    if (t.disp_size >= 2 && one_in(2))
        encode_put(&t, t.disp_at, t.disp_size, one_in(2) ? fuzz_address(f) : code_address());
    struct insn in;
    if (insn_decode(&in, t.bytes, t.length < 15 ? t.length : 15, t.mode, c->model.features) != DECODE_OK)
        return 0;
    memcpy(to, t.bytes, in.len);
    return in.len;
}

/* --- idioms: what needs a value in a register to mean anything --------------------------------------------------- */

static unsigned wide(u8 *to)        /* the prefix for 32-bit operands */
{
    if (decode_mode() != 2)
        return 0;
    to[0] = 0x66;
    return 1;
}

/* mov reg, imm32 */
static unsigned load(u8 *to, unsigned reg, u32 v)
{
    unsigned n = wide(to);
    to[n] = (u8)(0xb8 + reg);
    memcpy(to + n + 1, &v, 4);
    return n + 5;
}

static unsigned copy(u8 *to, const u8 *bytes, unsigned n)
{
    memcpy(to, bytes, n);
    return n;
}

static unsigned msr_idiom(u8 *to)
{
    static const u32 msrs[] = { 0x10, 0x17, 0x1b, 0x3a, 0x3b, 0x48, 0x8b, 0xc1, 0xe7, 0xfe, 0x10a, 0x119,
                                0x174, 0x175, 0x176, 0x179, 0x17a, 0x198, 0x1a0, 0x1d9, 0x200, 0x20f, 0x250,
                                0x258, 0x268, 0x277, 0x2ff, 0x38f, 0x400, 0x6e0, 0x800, 0x802, 0x808, 0x80b,
                                0x830, 0x838, 0xda0, 0x40000000, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083,
                                0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010010,
                                 0xc0010015, 0xc001001f };
    unsigned n = load(to, GPR_RCX,
                      one_in(8) ? (u32)random_integer() : msrs[below(ARRAY_LEN(msrs))] + (one_in(4) ? below(16) : 0));
    if (one_in(2))
        n += load(to + n, GPR_RAX, one_in(2) ? (u32)fuzz_address(f) : (u32)random_integer());
    if (one_in(2))
        n += load(to + n, GPR_RDX, one_in(2) ? 0 : (u32)random_integer());
    return n + copy(to + n, one_in(2) ? (const u8[]){ 0x0f, 0x32 } : (const u8[]){ 0x0f, 0x30 }, 2);
}

/* FXSAVE and its family at an aligned address, through [ecx]. */
static unsigned image_idiom(u8 *to)
{
    unsigned n = load(to, GPR_RCX, (fuzz_ram(f) & ~63u) + (one_in(8) ? below(64) : 0));
    n += load(to + n, GPR_RAX, one_in(4) ? (u32)random_integer() : below(8));
    n += load(to + n, GPR_RDX, one_in(8) ? (u32)random_integer() : 0);
    if (decode_mode() == 2)
        to[n++] = 0x67;
    if (decode_mode() == 8 && one_in(2))
        to[n++] = 0x48;
    const u8 modrm = (u8)(below(8) << 3 | 1);
    switch (below(4)) {
    case 0: return n + copy(to + n, (const u8[]){ 0x0f, 0xc7, modrm }, 3);
    case 1: return n + copy(to + n, (const u8[]){ one_in(2) ? 0xd9 : 0xdd, modrm }, 2);
    default: return n + copy(to + n, (const u8[]){ 0x0f, 0xae, modrm }, 3);
    }
}

static unsigned control_idiom(u8 *to)
{
    static const u8 crs[] = { 0, 2, 3, 4, 8 };
    const unsigned cr = crs[below(5)];
    u32 v = (u32)random_integer();
    if (cr == 0 && !one_in(4))
        v = ((u32)c->cr0 ^ (one_in(2) ? 1u << below(6) : 0x80000000u)) | (one_in(4) ? 0x10000 : 0);
    else if (cr == 3)
        v = one_in(2) ? (u32)c->cr3 : (u32)fuzz_address(f) & ~0xfffu;
    else if (cr == 4 && !one_in(4))
        v = (u32)c->cr4 ^ 1u << below(22);
    unsigned n = load(to, GPR_RAX, v);
    if (cr == 8 && decode_mode() != 8)
        to[n++] = 0xf0;         /* MOV CR8 of AMD */
    if (cr == 8 && decode_mode() == 8)
        to[n++] = 0x44;
    const u8 opcode = one_in(5) ? 0x20 : one_in(4) ? 0x23 : 0x22;
    return n + copy(to + n, (const u8[]){ 0x0f, opcode, (u8)(0xc0 | (cr & 7) << 3) }, 3);
}

static unsigned selector_idiom(u8 *to)
{
    unsigned n = load(to, GPR_RAX, any_selector());
    switch (below(4)) {
    case 0: return n + copy(to + n, (const u8[]){ 0x0f, 0x00, (u8)(0xc0 | below(6) << 3) }, 3);
    case 1: return n + copy(to + n, (const u8[]){ 0x0f, (u8)(2 + below(2)), 0xc0 }, 3);
    default: return n + copy(to + n, (const u8[]){ 0x8e, (u8)(0xc0 | below(6) << 3) }, 2);
    }
}

/* Far transfers: direct, or through a frame on the stack (RETF, IRET). */
static unsigned far_idiom(u8 *to)
{
    const unsigned mode_bytes = decode_mode();
    const u32 offset = (u32)code_address();
    const u16 sel = any_selector();
    unsigned n = 0;
    if (mode_bytes != 8 && one_in(2)) {
        to[n++] = one_in(2) ? 0x9a : 0xea;
        memcpy(to + n, &offset, mode_bytes);
        n += mode_bytes;
        memcpy(to + n, &sel, 2);
        return n + 2;
    }
    const u32 frame[] = { SEL_DATA_0 | below(4), STACK_TOP - 0x2000, (u32)random_u64() & 0x3fffd7, sel, offset };
    const unsigned kind = below(3);     /* RETF, IRET, both with an outer stack */
    for (unsigned i = kind == 2 ? 0 : 2; i < 5; i++) {
        if (kind == 0 && i == 2)
            continue;
        n += load(to + n, GPR_RAX, frame[i]);
        n += wide(to + n);
        to[n++] = 0x50;
    }
    n += wide(to + n);
    if (mode_bytes == 8)
        to[n++] = 0x48;
    to[n++] = kind ? 0xcf : 0xcb;
    return n;
}

static unsigned port_idiom(u8 *to)
{
    static const u16 ports[] = { 0x20, 0x21, 0x40, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x92, 0x1f0, 0x1f7,
                                  0x3c0, 0x3d4, 0x3f5, 0x3f8, 0x402, 0x510, 0x511, 0x514, 0x518, 0x604, 0x608,
                                  0xcf8, 0xcfc, 0xcf9, 0xc000, 0xc002, 0xc004 };
    static const u8 ops[] = { 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f };
    unsigned n = load(to, GPR_RDX, one_in(8) ? below(0x10000) : ports[below(ARRAY_LEN(ports))]);
    if (one_in(2))
        n += load(to + n, GPR_RAX, (u32)random_integer());
    if (one_in(3)) {
        n += load(to + n, GPR_RCX, below(one_in(20) ? 0x10000 : 600));
        n += load(to + n, one_in(2) ? GPR_RDI : GPR_RSI, (u32)fuzz_address(f));
        to[n++] = 0xf3;
    }
    to[n++] = ops[below(8)];
    return n;
}

static unsigned system_idiom(u8 *to)
{
    static const u8 texts[][4] = { { 0xcd, 0x80 }, { 0xfb, 0xf4 }, { 0xcc }, { 0xf1 }, { 0x0f, 0x05 },
                                   { 0x0f, 0x34 }, { 0x0f, 0x35 },
                                   { 0x0f, 0x07 }, { 0x0f, 0x01, 0xf8 }, { 0x0f, 0x01, 0xd0 }, { 0x0f, 0x01, 0xd1 },
                                   { 0x0f, 0xa2 },
                                   { 0x0f, 0x01, 0xc9 }, { 0x9d }, { 0x0f, 0x08 } };
    static const u8 lengths[] = { 2, 2, 1, 1, 2, 2, 2, 2, 3, 3, 3, 2, 3, 1, 2 };
    const unsigned i = below(ARRAY_LEN(texts));
    unsigned n = 0;
    if (one_in(2))
        n += load(to, GPR_RAX, below(32));
    if (one_in(2))
        n += load(to + n, GPR_RCX, below(16));
    n += copy(to + n, texts[i], lengths[i]);
    if (!i)
        to[n - 1] = (u8)below(256);
    return n;
}

/* Back into the code, so that it does not run out of it too soon. */
static unsigned jump_idiom(u8 *to)
{
    unsigned n = load(to, GPR_RAX, GUEST_CODE + below(CODE_BYTES));
    return n + copy(to + n, (const u8[]){ 0xff, (u8)(0xe0 - (one_in(4) ? 0x10 : 0)) }, 2);
}

enum { IDIOM_BYTES = 64 };

static unsigned any_idiom(u8 *to)
{
    static unsigned (*const idioms[])(u8 *) = { msr_idiom, image_idiom, control_idiom, selector_idiom, far_idiom,
                                                port_idiom, system_idiom,
                                                jump_idiom };
    return idioms[below(ARRAY_LEN(idioms))](to);
}

static void make_code(u64 at, unsigned bytes)
{
    u8 code[CODE_BYTES + IDIOM_BYTES];
    unsigned n = 0;
    while (n < bytes) {
        if (one_in(20))
            for (unsigned junk = 1 + below(6); junk && n < bytes; junk--)
                code[n++] = (u8)below(256);
        n += one_in(4) ? any_idiom(code + n) : any_instruction(code + n);
    }
    fuzz_poke(f, at, code, bytes);
}

void fuzz_guest_setup(struct fuzz *g)
{
    f = g;
    c = g->pc->cpu;
    const bool lm = cpu_has(&c->model, CPUID_LM);
    machine_lock();
    if (one_in(2))
        physmap_set_a20(g->pc->phys, true);
    machine_unlock();
    mode = (enum mode)below(lm ? MODE_COUNT : MODE_COMPAT);
    vcpu_reset(c);
    const bool pae = mode >= MODE_COMPAT || (cpu_has(&c->model, CPUID_PAE) && one_in(2));
    const bool paging = mode >= MODE_COMPAT || (mode != MODE_REAL && cpu_has(&c->model, CPUID_PSE) && one_in(2));
    const unsigned cpl = mode == MODE_V86 ? 3 : mode == MODE_REAL || mode == MODE_PROT16 || !one_in(3) ? 0 : 3;
    machine_lock();
    make_tables(pae, mode >= MODE_COMPAT);
    make_descriptors();
    make_interrupts();
    make_tasks();
    make_code(GUEST_CODE, CODE_BYTES);
    machine_unlock();
    if (paging && pae && mode < MODE_COMPAT && !mmu_load_pdptes(&c->mmu, c->cr3, c->mmu.pdpte))
        memset(c->mmu.pdpte, 0, sizeof(c->mmu.pdpte));
    set_control(paging, pae);
    set_tables();
    set_segments(cpl);
    set_registers();
    set_debugging();
    set_flags(cpl);
    mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, c->efer, true, false);
    segment_refresh(c);
    cpu_request(c, CPU_TIMER);
}

/* --- running ----------------------------------------------------------------------------------------------------- */

/* What the machine does to a CPU from other threads as well. */
void fuzz_disturb(struct fuzz *g)
{
    u8 bytes[64];
    f = g;
    machine_lock();
    switch (below(7)) {
    case 0: cpu_request(g->pc->cpu, CPU_NMI); break;
    case 1: pc_intr(g->pc, 0, true); break;
    case 2: i8259_set(g->pc->pic, below(16), below(2)); break;
    case 3: physmap_set_a20(g->pc->phys, below(2)); break;
    case 4:
        random_fill(bytes, sizeof(bytes), FILL_ANY);
        fuzz_poke(g, code_address(), bytes, 1 + below(sizeof(bytes)));
        break;
    case 5: spoil_tables(); break;
    default:
        if (one_in(20))
            cpu_request(g->pc->cpu, CPU_INIT);
        else if (one_in(20))
            cpu_sipi(g->pc->cpu, (u8)below(256));
        break;
    }
    machine_unlock();
}

static void new_code(void)
{
    machine_lock();
    make_code(GUEST_CODE + below(CODE_BYTES - 64), 64);
    machine_unlock();
}

static void look(void)
{
    char text[600];
    gpa pa;
    cpu_print_state(c, text, one_in(2) ? below(sizeof(text)) + 1 : sizeof(text));
    cpu_translate(c, fuzz_address(f), &pa);
    cpu_disassemble(c, one_in(2) ? cpu_pc(c) : fuzz_address(f), text, 1 + below(100));
}

static void run(u64 instructions)
{
    if (one_in(2))      /* where the code stands, if it is there in this mode */
        c->rip = GUEST_CODE + below(CODE_BYTES);
    machine_lock();
    timer_set(&f->stop, clock_now(f->pc->clock) + (instructions << f->pc->cfg.icount_shift));
    machine_unlock();
    cpu_request(c, CPU_TIMER);
    cpu_run(c);
}

static void reset_if_wanted(void)
{
    if (!f->pc->reset_pending)
        return;
    f->pc->reset_pending = false;
    machine_lock();
    bus_reset(f->pc->bus);
    machine_unlock();
    vcpu_reset(c);
    cpu_request(c, CPU_TIMER);
}

void fuzz_guest_run(struct fuzz *g)
{
    f = g;
    c = g->pc->cpu;
    for (unsigned i = 1 + below(6); i; i--) {
        if (one_in(5)) {
            fuzz_doing("single steps");
            for (unsigned n = below(100); n; n--)
                cpu_step(c);
        } else {
            fuzz_doing("running");
            run(1 + below(2000));
        }
        reset_if_wanted();
        fuzz_doing("disturbing");
        fuzz_disturb(f);
        if (one_in(4))
            new_code();
        if (one_in(10))
            look();
    }
}
