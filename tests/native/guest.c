/* guest.c - the interpreter's side: a vCPU at CPL 3 with the descriptors and pages that a Linux process sees.
 *
 * Data and code are mapped where the host has them. Behind them, for the supervisor only: GDT (Linux's user and kernel
 * segments at their places), LDT (ldt_rows), TSS without I/O bitmap, IDT whose gates all have DPL 0.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cpu/interp.h"
#include "jit/jit_private.h"
#include "tests/native/native.h"

u8 *guest_data;
struct vcpu *guest_cpu;
u64 guest_translated;

enum { RAM_BYTES = 1 << 20, DATA_PA = 0x20000, CODE_PA = 0x24000, TABLES_PA = 0x28000, TABLES_PAGES = 4 };
#define TABLES_AT 0xffff900000000000
enum { GDT_AT = 0, LDT_AT = 0x1000, TSS_AT = 0x2000, IDT_AT = 0x3000 };

static struct ram *ram;
static u8 *guest_code;

static void put64(u64 pa, u64 v) { memcpy(ram->base + pa, &v, 8); }

static void map_page(u64 linear, u64 pa, u64 flags)
{
    static u64 next = 0x2000;
    u64 table = 0x1000;
    for (unsigned level = 3; level; level--) {
        const u64 entry = table + (linear >> (12 + 9 * level) & 511) * 8;
        u64 v;
        memcpy(&v, ram->base + entry, 8);
        if (!v) {
            v = next | 0x67;
            next += 0x1000;
            put64(entry, v);
        }
        table = v & ~(u64)0xfff;
    }
    put64(table + (linear >> 12 & 511) * 8, pa | flags);
}

static u64 descriptor(u32 base, u32 limit, u32 attr /* access byte, flags in 15:12 */)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attr & 0xff) << 40 | (u64)(limit >> 16 & 15) << 48 |
           (u64)(attr >> 12) << 52 | (u64)(base >> 24) << 56;
}

/* As the kernel's fill_ldt() makes them. */
static u64 ldt_descriptor(const struct ldt_row *r)
{
    u32 attr = 0x71 | (r->read_exec_only ? 0 : 2) | (u32)r->type << 2 | (r->absent ? 0 : 0x80) | (u32)r->big << 14;
    return descriptor(r->base, r->limit, attr);
}

static void make_tables(void)
{
    static const struct {
        u8 index;
        u32 attr;
    } gdt[] = {
        /* asm/segment.h of Linux, x86-64 */
        { 1, 0xc09b }, { 2, 0xa09b }, { 3, 0xc093 }, { 4, 0xc0fb }, { 5, 0xc0f3 }, { 6, 0xa0fb },
    };
    for (unsigned i = 0; i < ARRAY_LEN(gdt); i++)
        put64(TABLES_PA + GDT_AT + gdt[i].index * 8, descriptor(0, 0xfffff, gdt[i].attr));
    put64(TABLES_PA + GDT_AT + 8 * 8, descriptor(0, 0x206f, 0x8b));
    put64(TABLES_PA + GDT_AT + 10 * 8, descriptor(0, 0x37, 0x82));
    put64(TABLES_PA + TSS_AT + 96, (u64)0x68 << 48); /* the I/O bitmap would start beyond the limit */
    for (unsigned i = 0; i < LDT_COUNT; i++)
        put64(TABLES_PA + LDT_AT + i * 8, ldt_descriptor(&ldt_rows[i]));
    for (unsigned i = 0; i < 256; i++)
        put64(TABLES_PA + IDT_AT + i * 16, (u64)0x8e00 << 32 | 0x10 << 16);
}

static void map_all(void)
{
    const u64 user = 0x67, read_only = 0x65;
    for (unsigned i = 0; i < DATA_PAGES; i++)
        map_page(DATA_AT + i * PAGE_SIZE, DATA_PA + i * PAGE_SIZE, i == DATA_PAGES - 1 ? read_only : user);
    for (unsigned i = 0; i < 2; i++)
        map_page(CODE_AT - CODE_OFFSET + i * PAGE_SIZE, CODE_PA + i * PAGE_SIZE, user);
    for (unsigned i = 0; i < TABLES_PAGES; i++)
        map_page(TABLES_AT + i * PAGE_SIZE, TABLES_PA + i * PAGE_SIZE, 0x63);
}

static void set_system_state(struct vcpu *c)
{
    c->cpl = 3;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    c->cr3 = 0x1000;
    c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_UMIP;
    c->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    c->xcr0 = 7;
    c->gdtr.base = TABLES_AT + GDT_AT;
    c->gdtr.limit = 16 * 8 - 1;
    c->idtr.base = TABLES_AT + IDT_AT;
    c->idtr.limit = 0xfff;
    c->ldtr = (struct segment){
        .base = TABLES_AT + LDT_AT, .limit = LDT_COUNT * 8 - 1, .sel = 0x50, .attr = SEG_P | SYS_LDT
    };
    c->tr = (struct segment){ .base = TABLES_AT + TSS_AT, .limit = 0x67, .sel = 0x40, .attr = SEG_P | SYS_TSS32_BUSY };
}

const char *guest_setup(void)
{
    static char err[200];
    static struct region region;
    ram = ram_new(RAM_BYTES, err, sizeof(err));
    if (!ram)
        return err;
    struct physmap *phys = physmap_new();
    region = (struct region){ .name = "ram", .size = RAM_BYTES, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(phys, &region);
    guest_cpu = vcpu_new("max", phys, NULL, NULL, err, sizeof(err));
    if (!guest_cpu)
        return err;
    guest_data = ram->base + DATA_PA;
    guest_code = ram->base + CODE_PA + CODE_OFFSET;
    memset(guest_code - CODE_OFFSET, 0xcc, 2 * PAGE_SIZE);
    map_all();
    make_tables();
    set_system_state(guest_cpu);
    sysreg_refresh_mmu(guest_cpu);
    return NULL;
}

/* --- state ---------------------------------------------------------------------------------------------------------
 */

static struct segment segment_of(struct vcpu *c, u16 sel)
{
    static struct segment cache[2][16];
    static bool known[2][16];
    const unsigned table = sel >> 2 & 1, index = sel >> 3 & 15;
    if (!known[table][index]) {
        struct descriptor d = { 0 };
        if (descriptor_read(c, sel, 8, EXC_GP, &d))
            cache[table][index] = descriptor_segment(&d, sel);
        known[table][index] = true;
    }
    struct segment s = cache[table][index];
    s.sel = sel;
    return s;
}

u64 guest_segment_base(u16 sel) { return sel_null(sel) ? 0 : segment_of(guest_cpu, sel).base; }

static void load_segments(struct vcpu *c, const struct native_state *s)
{
    c->code_size = 8; /* descriptors are read as in 64-bit mode */
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (sel_null(s->sel[i]))
            segment_set_null(c, (enum sreg)i, s->sel[i]);
        else
            c->seg[i] = segment_of(c, s->sel[i]);
    }
    if (s->sel[SEG_CS] == SEL_CODE64) {
        c->seg[SEG_FS].base = s->fsbase;
        c->seg[SEG_GS].base = s->gsbase;
    }
    c->cpl = 3;
    segment_refresh(c);
}

static void load_fp(struct vcpu *c, const struct native_state *s)
{
    memcpy(&c->x87.cw, s->fx + FX_FCW, 2);
    memcpy(&c->x87.sw, s->fx + FX_FSW, 2);
    c->x87.empty = (u8)~s->fx[FX_FTW];
    c->x87.fop = c->x87.fcs = c->x87.fds = 0;
    c->x87.fip = c->x87.fdp = 0;
    const unsigned top = c->x87.sw >> 11 & 7;
    for (unsigned i = 0; i < 8; i++)
        memcpy(&c->x87.r[(top + i) & 7], s->fx + FX_ST + 16 * i, 10);
    memcpy(&c->mxcsr, s->fx + FX_MXCSR, 4);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(c->vec[i].b, s->fx + FX_XMM + 16 * i, 16);
        memcpy(c->vec[i].b + 16, s->ymmh[i], 16);
    }
}

static void save_fp(const struct vcpu *c, struct native_state *s)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    memcpy(s->fx + FX_FCW, &c->x87.cw, 2);
    memcpy(s->fx + FX_FSW, &c->x87.sw, 2);
    s->fx[FX_FTW] = (u8)~c->x87.empty;
    memcpy(s->fx + FX_FOP, &c->x87.fop, 2);
    memcpy(s->fx + FX_FIP, &c->x87.fip, 8);
    memcpy(s->fx + FX_FDP, &c->x87.fdp, 8);
    for (unsigned i = 0; i < 8; i++)
        memcpy(s->fx + FX_ST + 16 * i, &c->x87.r[(top + i) & 7], 10);
    memcpy(s->fx + FX_MXCSR, &c->mxcsr, 4);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(s->fx + FX_XMM + 16 * i, c->vec[i].b, 16);
        memcpy(s->ymmh[i], c->vec[i].b + 16, 16);
    }
}

static void load(struct vcpu *c, const struct native_state *s, bool step)
{
    memcpy(c->gpr, s->gpr, sizeof(s->gpr));
    c->cr2 = 0;
    c->shadow = SHADOW_NONE;
    c->dr6_pending = 0;
    c->exc.vector = 0xff;
    c->exc.has_error = false;
    rflags_set(c, s->rflags | (step ? EFL_TF : 0));
    load_segments(c, s);
    load_fp(c, s);
}

static void save(const struct vcpu *c, struct native_state *s)
{
    memcpy(s->gpr, c->gpr, sizeof(s->gpr));
    s->rflags = rflags_get(c);
    s->rip = in_64bit_mode(c) ? c->rip : (u32)c->rip;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->sel[i] = c->seg[i].sel;
    s->fsbase = c->seg[SEG_FS].base;
    s->gsbase = c->seg[SEG_GS].base;
    save_fp(c, s);
}

static bool interpret(struct vcpu *c, const struct test_case *t)
{
    c->rip += t->in.len;
    if (t->status == DECODE_TOO_LONG)
        return cpu_fault_code(c, EXC_GP, 0);
    if (t->status != DECODE_OK)
        return cpu_fault(c, EXC_UD);
    return interp_run_form(c, &t->in);
}

/* --- the translator ------------------------------------------------------------------------------------------------
 */

static struct jit *guest_jit;

const char *guest_translate(const char *options)
{
    static char err[200];
    struct jit_options o;
    bool good = jit_options_parse(&o, options, err, sizeof(err));
    o.check = 1; /* steps leave: INT3 is not to be executed */
    if (!good || !jit_new(guest_cpu, &o, err, sizeof(err)))
        return err;
    guest_jit = guest_cpu->jit.jit;
    return NULL;
}

/* Then there is nothing to compare, and a fault would be delivered. */
static bool calls_interpreter(const struct ir_unit *u)
{
    for (unsigned i = 0; i < u->count; i++)
        if (u->ins[i].op == IR_OP_interp && !u->ins[i].gi)
            return true;
    return false;
}

/* As a unit of its own: behind the instruction stands INT3, at which translated code leaves for the interpreter. What is
 * left to the interpreter at the start, it executes. */
static bool translate(struct vcpu *c, const struct test_case *t)
{
    const u64 rip = c->rip;
    const u8 *host;
    gpa pa;
    if (cpu_stepping(c) || c->access_checks)
        return interpret(c, t);
    invalidate_written(c, CODE_PA + CODE_OFFSET, sizeof(t->bytes), false);
    jit_prepare(guest_jit);
    gla at = c->code_size == 8 ? rip : (u32)(c->seg[SEG_CS].base + rip);
    if (!mmu_fetch(&c->mmu, at, c->mmu.view, &pa, &host))
        return interpret(c, t);
    struct code_unit *u = compile_unit(guest_jit, pa, host, unit_part(c, at, rip));
    if (!u || calls_interpreter(&guest_jit->ir))
        return interpret(c, t);
    guest_translated++;
    struct sigaction ours; /* the translator installs a handler when it is first entered; it would not survive the host's FS */
    sigaction(SIGSEGV, NULL, &ours);
    enum leave_reason why = jit_enter(guest_jit, u);
    sigaction(SIGSEGV, &ours, NULL);
    return why == LEAVE_STEP && c->rip == rip ? interpret(c, t) : c->exc.vector == 0xff;
}

void guest_run(struct native_state *s, const struct test_case *t)
{
    struct vcpu *c = guest_cpu;
    load(c, s, t->step);
    memset(guest_code, 0xcc, 16); /* readable through CS; not fetched from */
    memcpy(guest_code, t->bytes, t->length);
    const u64 rip = s->rip;
    bool ok;
    do { /* a REP string instruction may stop in between */
        c->rip = rip;
        ok = guest_jit && t->status == DECODE_OK ? translate(c, t) : interpret(c, t);
    } while (ok && c->rip == rip && !t->step && t->in.rep);
    if (!ok)
        c->rip = rip;
    s->vector = ok ? NO_FAULT : c->exc.vector;
    s->error = !ok && c->exc.has_error ? c->exc.error : 0;
    s->cr2 = c->cr2;
    save(c, s);
}
