/* test_insn_table.c - every row of cpu/insn.def against its function: are the columns true?
 *
 * flags   under random states, in_<name>() changes no flag but those in `writes` and `undef`; turning over a flag that
 *         is not in `reads` changes nothing else; and no flag stands in a column for nothing. So what a translator
 *         concludes from the columns (this flag is dead here) is right. ATTR_CONDFL rows may leave a flag as it was;
 *         no other row may. A fault changes no flag at all, and nothing else that the guest can see.
 * memory  an instruction with a memory operand needs all of its op.size bytes, needs none around them (the pages before
 *         and behind are absent), and writes none around them.
 *
 * Rows run in 64-bit, 32-bit and 16-bit protected mode, through the function that interp_prepare chooses and now and
 * then through the row's own. The instructions come from tests/native/encode.c. SHADOW86_TABLE_SEED and
 * SHADOW86_TABLE_CASES (cases per row and mode) make longer runs.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/operand.h"
#include "tests/native/native.h"

/* Linear and physical addresses: identity-mapped. The pages before and behind the stack and the data are absent. */
enum { STACK = 0x4000, STACK_END = 0x6000, DATA = 0x8000, DATA_END = 0xa000, GDT = 0x20000, GDT_END = 0x20100,
       TSS = 0x21000, TABLES = 0x80000 };
enum { FLAGS = EFL_STATUS | EFL_DF, ALL_FLAGS = 0xffff };

static struct ram *ram;
static struct physmap *phys;
static struct region region;
static struct vcpu *cpu;
static u64 seed = 1;
static unsigned cases = 40;
static unsigned complaints;

/* --- the machine around it --------------------------------------------------------------------------------------- */

static u32 port_in(void *ctx, u16 port, unsigned bytes) { return 0x12345678u + port; }
static void port_out(void *ctx, u16 port, unsigned bytes, u32 value) {}
static int interrupt_ack(void *ctx) { return -1; }
static u64 tsc(void *ctx) { return 0x123456789; }
static void nothing(void *ctx) {}
static u64 apic_read(void *ctx, u32 msr) { return 0; }
static void apic_write(void *ctx, u32 msr, u64 value) {}
static void apic_base(void *ctx, u64 base) {}
static void ferr(void *ctx, bool level) {}
static const struct cpu_host host = { port_in, port_out, interrupt_ack, tsc, nothing, nothing, apic_read, apic_write,
                                      apic_base, ferr, nothing, nothing };

static void put(gpa at, u64 v) { memcpy(ram->base + at, &v, 8); }

/* 2 MiB in one page table, which serves both PAE and 4-level paging. */
static void make_tables(void)
{
    const u64 flags = 0x67;
    put(TABLES, (TABLES + 0x1000) | flags);             /* PML4 */
    put(TABLES + 0x1000, (TABLES + 0x2000) | flags);    /* PDPT */
    put(TABLES + 0x4000, (TABLES + 0x2000) | 1);        /* PAE's PDPT */
    for (unsigned i = 1; i < 4; i++)
        put(TABLES + 0x4000 + i * 8, 0);
    put(TABLES + 0x2000, (TABLES + 0x3000) | flags);
    for (u64 a = 0; a < 0x200000; a += PAGE_SIZE) {
        const bool absent = a == STACK - PAGE_SIZE || a == STACK_END || a == DATA - PAGE_SIZE || a == DATA_END;
        put(TABLES + 0x3000 + a / PAGE_SIZE * 8, absent ? 0 : a | flags);
    }
}

static void make_gdt(void)
{
    static const u16 access[] = { 0xc09b, 0xc093, 0xc0fb, 0xc0f3, 0x008b, 0x0082, 0xc091, 0xc0f9, 0xa09b,
                                   0x009b, 0x40f7, 0x4013, 0x00ec, 0x00e5, 0x0089 };
    for (unsigned i = 0; i < (GDT_END - GDT) / 8; i++) {
        const u16 a = access[i % ARRAY_LEN(access)];
        put(GDT + i * 8, 0xffff | (u64)(a & 0xff) << 40 | (u64)(a >> 12) << 52 | (u64)0xf << 48);
    }
    put(GDT, 0);
}

static void set_mode(unsigned mode, unsigned cpl)
{
    struct vcpu *c = cpu;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        c->seg[i] = (struct segment){ .limit = 0xffffffff, .sel = (u16)(0x10 | cpl) };
        c->seg[i].attr = (u16)(SEG_P | cpl << 5 | SEG_S | SEG_W | SEG_A | SEG_G | (mode == 2 ? 0 : SEG_D));
    }
    c->seg[SEG_CS].attr = (u16)(SEG_P | cpl << 5 | SEG_S | SEG_CODE | SEG_W | SEG_A | SEG_G |
                                (mode == 8 ? SEG_L : mode == 4 ? SEG_D : 0));
    c->cpl = (u8)cpl;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG | CR0_WP;
    c->cr3 = mode == 8 ? TABLES : TABLES + 0x4000;
    c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_PCE;
    c->efer = EFER_SCE | (mode == 8 ? EFER_LME | EFER_LMA : 0);
    c->xcr0 = 7;
    c->gdtr.base = GDT;
    c->gdtr.limit = GDT_END - GDT - 1;
    c->idtr.limit = 0;
    c->tr = (struct segment){ .base = TSS, .limit = 0xfff, .sel = 0x28, .attr = 0x8b };
    c->ldtr = (struct segment){ .unusable = 1 };
    memset(c->dr, 0, sizeof(c->dr));
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    c->dr6_pending = 0;
    if (mode != 8)
        ck_assert(mmu_load_pdptes(&c->mmu, c->cr3, c->mmu.pdpte));
    mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, c->efer, true, false);
    segment_refresh(c);
}

static void setup(void)
{
    char err[200] = "";
    ram = ram_new(1 << 20, err, sizeof(err));
    ck_assert_msg(ram != NULL, "%s", err);
    phys = physmap_new();
    region = (struct region){ .name = "ram", .size = ram->size, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(phys, &region);
    cpu = vcpu_new("max", phys, &host, NULL, err, sizeof(err));
    ck_assert_msg(cpu != NULL, "%s", err);
    vcpu_reset(cpu);
    make_tables();
    make_gdt();
    complaints = 0;
    if (getenv("SHADOW86_TABLE_SEED"))
        seed = strtoull(getenv("SHADOW86_TABLE_SEED"), NULL, 0);
    if (getenv("SHADOW86_TABLE_CASES"))
        cases = (unsigned)strtoul(getenv("SHADOW86_TABLE_CASES"), NULL, 0);
}

static void teardown(void)
{
    vcpu_free(cpu);
    physmap_free(phys);
    ram_free(ram);
}

/* --- cases ------------------------------------------------------------------------------------------------------- */

static bool is(const struct insn *in, const char *name) { return !strcmp(insn_rows[in->row].name, name); }

static bool among(const struct insn *in, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (is(in, names[i]))
            return true;
    return false;
}
#define AMONG(in, ...) \
    among(in, (const char *const[]){ __VA_ARGS__ }, ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })))

/* Contents of the pages that instructions can write before one runs. */
static u8 memory[GDT_END];
struct outcome { bool ok; struct vcpu cpu; u8 memory[sizeof(memory)]; };
static struct vcpu start;
static struct outcome first, second;

/* Moves the memory operand to linear address `to`, where the addressing form can be moved by its displacement. */
static void aim(struct insn *in, u64 to) { in->disp += to - operand_ea(cpu, in); }

static int memory_operand(const struct insn *in)
{
    for (int i = 0; i < 4; i++)
        if (in->op[i].kind == OP_MEM)
            return i;
    return -1;
}

static void random_registers(bool strict)
{
    struct vcpu *c = cpu;
    for (unsigned i = 0; i < 16; i++) {
        c->gpr[i] = random_integer();
        random_fill(&c->vec[i], 32, (enum fill)below(FILL_KINDS));
    }
    c->rsp = STACK + 0x800 + below(0x1000) * 1u;
    c->rbp = STACK + 0x800 + below(0x1000) * 1u;
    c->rip = 0x30000;
    for (unsigned i = 0; i < 8; i++)
        c->x87.r[i] = random_f80();
    c->x87.cw = strict || below(3) ? 0x37f : (u16)(0x340 | below(64));
    c->x87.sw = (u16)(random_u64() & 0x7f00);
    c->x87.empty = one_in(2) ? 0 : (u8)random_u64();
    c->mxcsr = strict || below(3) ? 0x1f80 : (u32)(below(64) << 7);
    c->eflags = EFL_1;
    c->pat = 0x0007040600070406;
}

/* A state for *in; its memory operand at `at`, string pointers and an inert stack in the data and stack pages. */
static void random_state(struct insn *in, bool strict)
{
    const struct insn_row *row = &insn_rows[in->row];
    random_registers(strict);
    if (row->attr & ATTR_STRING) {
        cpu->rsi = DATA + 0x400 + below(0x1800);
        cpu->rdi = DATA + 0x400 + below(0x1800);
        cpu->rcx = below(6);
    }
    if (AMONG(in, "jcxz", "loop", "loope", "loopne", "monitor", "xlat", "maskmovdqu", "maskmovq"))
        cpu->rcx = below(4);
    if (AMONG(in, "xlat", "monitor", "maskmovdqu", "maskmovq")) {
        cpu->rbx = cpu->rdi = DATA + 0x400 + below(0x1000);
        cpu->rax = AMONG(in, "xlat") ? below(256) : cpu->rbx;
    }
    if (AMONG(in, "lar", "lsl", "verr", "verw", "mov_sreg", "arpl", "ltr", "lldt"))
        for (unsigned i = 0; i < 16; i++)
            if (i != GPR_RSP && one_in(2))
                cpu->gpr[i] = below(GDT_END - GDT);
    if (AMONG(in, "bt", "btr", "bts", "btc") && in->op[1].kind == OP_GPR)
        cpu->gpr[in->op[1].reg] = below(0x400) - (u64)0x200;
    if (AMONG(in, "div", "idiv"))
        cpu->rdx = one_in(2) ? 0 : cpu->rdx & 0xff;
    if (AMONG(in, "cmpxchg", "cmpxchg8b", "cmpxchg16b") && one_in(2))
        memcpy(&cpu->rax, memory + DATA + 0x800, 8);
    if (AMONG(in, "rdmsr", "wrmsr", "rdpmc", "xgetbv", "xsetbv"))
        cpu->rcx = one_in(2) ? below(4) : 0x174 + below(3);
    for (unsigned i = 0; i < 2; i++)    /* equal operands now and then: ZF */
        if (in->op[i].kind == OP_GPR && one_in(8) && in->op[i].reg != GPR_RSP)
            cpu->gpr[in->op[i].reg] = 0;
}

static void random_memory(void)
{
    random_fill(memory + STACK, STACK_END - STACK, (enum fill)below(FILL_KINDS));
    random_fill(memory + DATA, DATA_END - DATA, (enum fill)below(FILL_KINDS));
    memcpy(memory + GDT, ram->base + GDT, GDT_END - GDT);
}

static void memory_out(u8 *to)
{
    memcpy(to + STACK, ram->base + STACK, STACK_END - STACK);
    memcpy(to + DATA, ram->base + DATA, DATA_END - DATA);
    memcpy(to + GDT, ram->base + GDT, GDT_END - GDT);
}

static void memory_in(const u8 *from)
{
    memcpy(ram->base + STACK, from + STACK, STACK_END - STACK);
    memcpy(ram->base + DATA, from + DATA, DATA_END - DATA);
    memcpy(ram->base + GDT, from + GDT, GDT_END - GDT);
}

/* Puts the CPU back to `start`, whose MMU and caches are not part of the state. */
static void restart(const struct insn *in)
{
    const struct mmu mmu = cpu->mmu;
    *cpu = start;
    cpu->mmu = mmu;
    if (insn_rows[in->row].attr & ATTR_SYS) {
        mmu_set_paging(&cpu->mmu, cpu->cr0, cpu->cr3, cpu->cr4, cpu->efer, true, false);
        if (!(cpu->efer & EFER_LMA))
            mmu_load_pdptes(&cpu->mmu, cpu->cr3, cpu->mmu.pdpte);
        segment_refresh(cpu);
    }
}

static void execute(struct outcome *o, interp_fn *run, const struct insn *in, u32 flags)
{
    restart(in);
    memory_in(memory);
    flags_set_status(cpu, flags);
    cpu->eflags = (cpu->eflags & ~(u32)EFL_DF) | (flags & EFL_DF);
    cpu->exc.vector = 0xff;
    o->ok = run(cpu, in);
    memcpy(&o->cpu, cpu, sizeof(*cpu));
    memory_out(o->memory);
}

static u32 flags_of_outcome(const struct outcome *o) { return (u32)rflags_get(&o->cpu); }

/* --- comparing --------------------------------------------------------------------------------------------------- */

static bool same_segment(const struct segment *a, const struct segment *b)
{
    return a->base == b->base && a->limit == b->limit && a->sel == b->sel && a->attr == b->attr &&
        a->unusable == b->unusable;
}

static const char *x87_difference(const struct x87 *a, const struct x87 *b)
{
    for (unsigned i = 0; i < 8; i++)
        if (a->r[i].mant != b->r[i].mant || a->r[i].se != b->r[i].se)
            return "an x87 register";
    if (a->cw != b->cw || a->sw != b->sw || a->empty != b->empty)
        return "the x87's control, status or tags";
    return a->fop != b->fop || a->fip != b->fip || a->fdp != b->fdp || a->fcs != b->fcs || a->fds != b->fds ?
        "the x87's pointers" : NULL;
}

/* What the guest can see, flags excepted. */
static const char *cpu_difference(const struct vcpu *a, const struct vcpu *b)
{
    static const struct { const char *name; size_t at, bytes; } fields[] = {
#define FIELD(f) { #f, offsetof(struct vcpu, f), sizeof(((struct vcpu *)0)->f) }
        FIELD(gpr), FIELD(cpl), FIELD(code_size), FIELD(stack_size), FIELD(shadow), FIELD(halted), FIELD(cr0),
        FIELD(cr2), FIELD(cr3), FIELD(cr4), FIELD(efer), FIELD(xcr0), FIELD(dr), FIELD(star), FIELD(lstar),
        FIELD(cstar), FIELD(fmask), FIELD(kernel_gs_base), FIELD(tsc_aux), FIELD(sysenter_cs), FIELD(sysenter_esp),
        FIELD(sysenter_eip), FIELD(pat), FIELD(misc_enable), FIELD(apic_base), FIELD(tsc_offset), FIELD(tsc_deadline),
        FIELD(mtrr_def_type), FIELD(mtrr_phys), FIELD(mtrr_fixed), FIELD(mxcsr), FIELD(vec), FIELD(gdtr.base),
        FIELD(gdtr.limit), FIELD(idtr.base), FIELD(idtr.limit),
#undef FIELD
    };
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        if (memcmp((const u8 *)a + fields[i].at, (const u8 *)b + fields[i].at, fields[i].bytes))
            return fields[i].name;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (!same_segment(&a->seg[i], &b->seg[i]))
            return "a segment register";
    if (!same_segment(&a->ldtr, &b->ldtr) || !same_segment(&a->tr, &b->tr))
        return "LDTR or TR";
    if ((a->eflags ^ b->eflags) & ~(u32)(EFL_DF | EFL_STATUS))
        return "EFLAGS";
    return x87_difference(&a->x87, &b->x87);
}

static const char *difference(const struct outcome *a, const struct outcome *b)
{
    if (a->ok != b->ok || (!a->ok && (a->cpu.exc.vector != b->cpu.exc.vector || a->cpu.exc.error != b->cpu.exc.error)))
        return "the fault";
    if (memcmp(a->memory + STACK, b->memory + STACK, STACK_END - STACK) ||
        memcmp(a->memory + DATA, b->memory + DATA, DATA_END - DATA))
        return "memory";
    return cpu_difference(&a->cpu, &b->cpu);
}

/* --- flags ------------------------------------------------------------------------------------------------------- */

/* What cases of a row have shown. */
static struct seen { u32 written, read; unsigned completed; } *seen;

/* One line for each row and kind of complaint; the test fails at its end. */
static void wrong(const struct insn *in, const char *what, u32 number, const char *detail)
{
    static const char *said[8];     /* of this row */
    static unsigned row, count;
    char text[120];
    complaints++;
    if (row != in->row)
        count = 0;
    row = in->row;
    for (unsigned i = 0; i < count; i++)
        if (said[i] == what)
            return;
    if (count < ARRAY_LEN(said))
        said[count++] = what;
    insn_print(text, sizeof(text), in, 0);
    fprintf(stderr, "row %u, %u-bit code, \"%s\" (%s): %s%s%s (%x)\n", in->row, in->mode * 8, text,
            insn_rows[in->row].name, what, detail ? ": " : "", detail ? detail : "", number);
}

/* Flag x, turned over before: does the row's claim hold? `first` is the run with `flags`, `second` the other one. */
static void check_input(const struct insn *in, u32 flags, u32 x)
{
    const struct insn_row *row = &insn_rows[in->row];
    const u32 a = flags_of_outcome(&first), b = flags_of_outcome(&second), changed = (a ^ b) & FLAGS & ~(u32)row->undef;
    const char *what = difference(&first, &second);
    const bool passed_on = (a & x) == (flags & x) && (b & x) != (a & x);
    if (row->reads & x) {
        if (what || changed & ~x || (changed & x && !passed_on))
            seen[in->row].read |= x;
        return;
    }
    if (what)
        wrong(in, "depends on a flag that is not in reads", x, what);
    if (changed & ~x)
        wrong(in, "a flag depends on one that is not in reads", x, NULL);
    if (row->writes & x && first.ok && changed & x && !(row->attr & ATTR_CONDFL && passed_on))
        wrong(in, "a flag in writes was not written", x, NULL);
}

static void check_fault(const struct insn *in, u32 flags)
{
    if ((flags_of_outcome(&first) ^ flags) & FLAGS)
        wrong(in, "a fault changed flags", flags_of_outcome(&first), NULL);
    if (insn_rows[in->row].attr & ATTR_GATHER || in->rep)
        return;                         /* may be partly done */
    first.cpu.rip = start.rip;
    if (first.cpu.exc.vector == EXC_DB)
        first.cpu.dr[6] = start.dr[6];  /* MOV DR with DR7.GD */
    if (first.cpu.exc.vector == EXC_XM || first.cpu.exc.vector == EXC_UD)
        first.cpu.mxcsr = start.mxcsr;  /* SIMD exceptions leave their flag */
    if (first.cpu.exc.vector == EXC_XM && insn_rows[in->row].attr & ATTR_MMX)
        first.cpu.x87 = start.x87;      /* is in MMX state already, as on CPUs */
    const char *what = cpu_difference(&first.cpu, &start);
    if (!what && memcmp(first.memory + STACK, memory + STACK, STACK_END - STACK))
        what = "the stack";
    if (!what && memcmp(first.memory + DATA, memory + DATA, DATA_END - DATA))
        what = "memory";
    if (what && strcmp(what, "cr2"))
        wrong(in, "a fault changed something", first.cpu.exc.vector, what);
}

static bool random_result(const struct insn *in) { return AMONG(in, "rdrand", "rdseed"); }

static void check_flags(struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    const bool checked = row->attr & (ATTR_PRIV | ATTR_PROT | ATTR_X87 | ATTR_MMX | ATTR_SSE) || in->vex;
    interp_fn *run = !checked && one_in(4) ? row->run : in->run;
    const u32 flags = (u32)random_u64() & FLAGS, may = row->writes | row->undef;
    execute(&first, run, in, flags);
    if (!first.ok) {
        check_fault(in, flags);
        return;
    }
    const u32 changed = (flags_of_outcome(&first) ^ flags) & FLAGS;
    if (changed & ~may)
        wrong(in, "writes a flag that is not listed", changed & ~may, NULL);
    seen[in->row].written |= changed | ((flags_of_outcome(&first) ^ start.eflags) & EFL_IF);
    seen[in->row].completed++;
    if (random_result(in))
        return;
    for (u32 x = 1; x <= EFL_OF; x <<= 1) {
        if (!(x & FLAGS))
            continue;
        execute(&second, run, in, flags ^ x);
        check_input(in, flags, x);
    }
}

/* Next random instance of a row; false if the row does not exist in this mode. */
static bool make_case(unsigned row, unsigned mode, struct insn *in)
{
    for (unsigned tries = 0; tries < 50; tries++) {
        struct test_case t = { .mode = mode, .row = row };
        if (!encode_row(&t))
            return false;
        if (insn_decode(in, t.bytes, t.length < 15 ? t.length : 15, mode, cpu->model.features) != DECODE_OK ||
                in->row != row)
            continue;
        interp_prepare(in);
        return true;
    }
    return false;
}

/* Everything that these read and write goes through tables of descriptors, or the flags are what they are about. */
static bool left_out(unsigned row)
{
    return insn_rows[row].writes == ALL_FLAGS || insn_rows[row].reads == ALL_FLAGS;
}

static void run_row(unsigned row, unsigned mode)
{
    for (unsigned i = 0; i < cases; i++) {
        struct insn in;
        random_seed(seed * 0x10000000000u + row * 0x100000u + mode * 0x10000u + i);
        if (!make_case(row, mode, &in))
            return;
        set_mode(mode, insn_rows[row].attr & ATTR_PRIV || one_in(3) ? 0 : 3);
        random_memory();
        random_state(&in, false);
        if (memory_operand(&in) >= 0 && !in.vsib)
            aim(&in, one_in(10) ? DATA_END - below(40) : DATA + 0x800 + below(0x80) * (one_in(4) ? 1 : 16));
        memcpy(&start, cpu, sizeof(start));
        check_flags(&in);
    }
}

/* Columns that name a flag for nothing make the translator compute what nobody needs. */
static void check_seen(unsigned row)
{
    const struct insn_row *r = &insn_rows[row];
    const struct seen *s = &seen[row];
    const struct insn in = { .row = (u16)row };
    if (!s->completed || left_out(row) || random_result(&in) || cases < 40)
        return;
    const u32 writes = r->writes & ~s->written & (FLAGS | EFL_IF), reads = r->reads & ~s->read & FLAGS;
    if (AMONG(&in, "cli", "sti"))
        return;                         /* IF is what it was in half of the cases, and IOPL may forbid it */
    if (writes)
        wrong(&in, "never writes these flags", writes, NULL);
    if (reads)
        wrong(&in, "never reads these flags", reads, NULL);
}

START_TEST(flags_of_rows)
{
    seen = calloc(insn_row_count, sizeof(*seen));
    for (unsigned row = 0; row < insn_row_count; row++) {
        for (unsigned mode = 2; mode <= 8 && !left_out(row); mode *= 2)
            run_row(row, mode);
        check_seen(row);
    }
    free(seen);
    ck_assert_uint_eq(complaints, 0);
}
END_TEST

/* --- memory operands --------------------------------------------------------------------------------------------- */

/* Instructions whose operand is an address, or of which they need only what a mask or a bit offset says. */
static bool partial(const struct insn *in)
{
    static const char *const names[] = {
        "lea", "nop", "bt", "btc", "btr", "bts", "vmaskmovps", "vmaskmovpd", "vpmaskmovd", "vpmaskmovq", "pop",
        "xbegin",
    };
    return in->vsib || !strncmp(insn_rows[in->row].name, "prefetch", 8) || among(in, names, ARRAY_LEN(names));
}

static bool written_outside(const struct insn *in, u64 at, unsigned size)
{
    for (u64 a = DATA; a < DATA_END; a++)
        if (first.memory[a] != memory[a] && a - at >= size)
            return true;
    return false;
}

static bool page_fault_at(u64 page)
{
    return !first.ok && first.cpu.exc.vector == EXC_PF && (first.cpu.cr2 & PAGE_MASK) == page;
}

/* The operand at `at`: a fault at one of the absent pages exactly if it reaches into it. */
static void check_place(struct insn *in, u64 at, unsigned size)
{
    const bool reaches = at < DATA || at + size > DATA_END;
    random_memory();
    random_state(in, true);
    cpu->x87.empty = one_in(2) ? 0 : 0xff;
    aim(in, at);
    if (operand_ea(cpu, in) != at)
        return;
    memcpy(&start, cpu, sizeof(start));
    execute(&first, in->run, in, EFL_CF);
    if (reaches && first.ok)
        wrong(in, "does not need all bytes of its operand", size, NULL);
    if (!reaches && (page_fault_at(DATA - PAGE_SIZE) || page_fault_at(DATA_END)))
        wrong(in, "needs bytes beyond its operand", size, NULL);
    if (written_outside(in, at, size))
        wrong(in, "writes outside its operand", size, NULL);
}

START_TEST(operands_in_memory)
{
    for (unsigned row = 0; row < insn_row_count; row++) {
        for (unsigned mode = 2; mode <= 8; mode *= 2) {
            struct insn in;
            for (unsigned i = 0; i < cases / 2; i++) {
                random_seed(seed * 0x10000000000u + row * 0x100000u + mode * 0x10000u + 0x8000 + i);
                if (insn_rows[row].attr & ATTR_STRING || !make_case(row, mode, &in))
                    break;
                int op = memory_operand(&in);
                unsigned size = op < 0 ? 0 : in.op[op].size;
                if (!size || partial(&in))
                    continue;
                set_mode(mode, insn_rows[row].attr & ATTR_PRIV ? 0 : 3);
                check_place(&in, DATA, size);
                check_place(&in, DATA - 1, size);
                check_place(&in, DATA_END - size, size);
                check_place(&in, DATA_END - size + 1, size);
            }
        }
    }
    ck_assert_uint_eq(complaints, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("insn_table");
    TCase *t = tcase_create("rows");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 0);
    tcase_add_test(t, flags_of_rows);
    tcase_add_test(t, operands_in_memory);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
