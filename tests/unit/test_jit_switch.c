/* test_jit_switch.c - the short ways of jit/switch.c against the interpreter: from random states, most of them nearly usual, a
 * short way either has the same outcome in every part of the vCPU that the next instruction may depend on, or refuses with
 * nothing changed. Each must have been taken often.
 */
#include "tests/unit/cpu_machine.h"

#include "cpu/flags.h"
#include "cpu/interp.h"
#include "jit/jit_private.h"

enum { ROUNDS = 40000, FRAME = STACK0 - 64, NULL_SELECTORS = 4, CODE64 = RAM_SIZE + CODE /* where CPL 3 may fetch from */ };

static u64 seed = 88172645463325252;
static u32 random32(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 16);
}
static unsigned below(unsigned n) { return random32() % n; }
static bool one_in(unsigned n) { return !below(n); }

/* --- what is compared ------------------------------------------------------------------------------------------------ */

struct state {
    u64 gpr[16], rip, jit_room[2][SEG_COUNT];
    u32 eflags, pending;
    u8 cpl, code_size, stack_size, access_checks, flat, view, vector;
    bool nmi_blocked;
    struct segment seg[SEG_COUNT];
};

static struct state state_of(void)
{
    struct state s;
    memset(&s, 0, sizeof s);
    memcpy(s.gpr, C->gpr, sizeof s.gpr);
    s.rip = C->rip;
    s.eflags = (u32)rflags_get(C);
    s.pending = C->pending;
    s.cpl = C->cpl, s.code_size = C->code_size, s.stack_size = C->stack_size, s.access_checks = C->access_checks;
    s.view = (u8)C->mmu.view;
    s.vector = C->exc.vector;
    s.nmi_blocked = C->nmi_blocked;
    if (C->code_size != 8) {    /* elsewhere nobody looks at these */
        s.flat = C->flat;
        memcpy(s.jit_room, C->jit_room, sizeof s.jit_room);
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct segment *g = &C->seg[i];
        s.seg[i].base = g->base, s.seg[i].limit = g->limit, s.seg[i].sel = g->sel, s.seg[i].attr = g->attr;
        s.seg[i].unusable = g->unusable;
        if (!g->unusable)
            s.seg[i].flat_read = g->flat_read, s.seg[i].flat_write = g->flat_write;
    }
    return s;
}

static void state_load(const struct state *s)
{
    memcpy(C->gpr, s->gpr, sizeof s->gpr);
    C->rip = s->rip;
    C->cpl = s->cpl;
    C->nmi_blocked = s->nmi_blocked;
    C->exc.vector = s->vector;
    C->dr6_pending = 0;
    C->shadow = 0;
    C->halted = false;
    memcpy(C->seg, s->seg, sizeof s->seg);
    C->code_size = s->code_size;
    rflags_set(C, s->eflags);
    segment_refresh(C);
    C->pending = s->pending;
}

/* --- machines and states ---------------------------------------------------------------------------------------------- */

static void long_mode(void)
{
    put(TABLES, 8, (TABLES + 0x1000) | 7);
    put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 7);
    for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
        put(TABLES + 0x2000 + 8 * i, 8, (u64)i << 21 | 0x83);
    put(TABLES + 0x2000 + 8 * (RAM_SIZE >> 21), 8, 0x87);
    C->cr3 = TABLES;
    C->cr4 |= CR4_PAE;
    C->efer = EFER_LME | EFER_LMA | EFER_SCE;
    C->cr0 |= CR0_PG;
    C->seg[SEG_CS].attr = (u16)((C->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
}

static void translator(void)
{
    char err[200];
    struct jit_options o;
    ck_assert(jit_options_parse(&o, NULL, err, sizeof err));
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
}

static void machine(bool wide)
{
    machine_protected();
    C->gdtr.limit = S_GDT_END + 15;
    set_descriptor(S_GDT_END, make_descriptor(0, 0xfffff, 0x9b, wide ? 0xa : 0xc));
    set_descriptor(S_GDT_END + 8, make_descriptor(0, 0xfffff, 0xfb, wide ? 0xa : 0xc));
    if (wide)
        long_mode();
    C->star = (u64)(S_CODE - 16 + 0x10) << 48 | (u64)S_CODE << 32;
    C->lstar = 0x1234;
    C->cr4 |= CR4_SMAP;
    sysreg_refresh_mmu(C);
    segment_refresh(C);
    translator();
}

static u16 random_code(void)
{
    static const u16 some[] = { S_GDT_END, (S_GDT_END + 8) | 3, S_CODE, S_CODE3 | 3, S_CODE3, S_CONF, S_CONF | 3, S_ABSENT, S_CODE64, S_CODE16,
                                S_DATA, 0, 3, S_CODE | 4, 0x1000 };
    return some[one_in(3) ? below(ARRAY_LEN(some)) : below(2)];
}

static u16 random_stack(u16 cs)
{
    static const u16 some[] = { S_DATA, S_DATA3 | 3, S_DATA3, S_DATA16, S_RO, 0, 1, 3, S_DATA | 4 };
    return one_in(4) ? some[below(ARRAY_LEN(some))] : cs & 3 ? S_DATA3 | 3 : one_in(3) ? 0 : S_DATA;
}

static u32 random_flags(void)
{
    u32 f = 2 | (random32() & (EFL_STATUS | EFL_IF | EFL_DF | EFL_ID | EFL_IOPL));
    if (one_in(3))
        f ^= EFL_AC;
    if (one_in(4))
        f ^= EFL_RF;
    if (one_in(8))
        f ^= 1u << below(22);
    return f;
}

static struct segment random_data(void)
{
    const u8 access = one_in(4) ? 0x93 : 0xf3;
    const struct descriptor d = { .low = make_descriptor(one_in(2) ? 0 : 0x1000, one_in(2) ? 0xfffff : 0x345, access, 0xc) };
    if (one_in(3))
        return (struct segment){ .sel = (u16)below(NULL_SELECTORS), .unusable = 1 };
    return descriptor_segment(&d, access == 0x93 ? S_DATA : S_DATA3 | 3);
}

static void random_frame(unsigned size)
{
    const u16 cs = random_code();
    const u64 f[] = { one_in(8) ? (u64)random32() << 32 : random32(), cs, random_flags(), STACK3 - below(64), random_stack(cs) };
    for (unsigned i = 0; i < ARRAY_LEN(f); i++)
        put(FRAME + i * size, size, f[i]);
}

static void random_state(bool wide)
{
    static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    const bool user = one_in(2);
    struct state s = { .rip = wide ? CODE64 : CODE, .code_size = wide ? 8 : 4 };
    C->cpl = user ? 3 : 0;
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = wide ? (u64)(s64)(s32)random32() : i < 8 ? random32() : 0;
    s.gpr[GPR_RSP] = FRAME;
    s.eflags = random_flags() & ~(u32)(EFL_RF | EFL_VM | EFL_TF);
    s.cpl = user ? 3 : 0;
    s.nmi_blocked = one_in(4);
    s.pending = one_in(16) ? PEND_INTR : 0;
    s.vector = 0xff;
    memcpy(s.seg, C->seg, sizeof s.seg);
    const struct descriptor cs = { .low = make_descriptor(0, 0xfffff, user ? 0xfb : 0x9b, wide ? 0xa : 0xc) };
    const struct descriptor ss = { .low = make_descriptor(0, 0xfffff, user ? 0xf3 : 0x93, 0xc) };
    s.seg[SEG_CS] = descriptor_segment(&cs, user ? S_CODE3 | 3 : S_CODE);
    s.seg[SEG_SS] = descriptor_segment(&ss, user ? S_DATA3 | 3 : S_DATA);
    if (one_in(8))
        s.seg[SEG_SS].limit = 0xfffff, s.seg[SEG_SS].attr &= (u16)~SEG_G;
    for (unsigned i = 0; i < ARRAY_LEN(data); i++)
        s.seg[data[i]] = random_data();
    C->cr0 = one_in(4) ? C->cr0 | CR0_AM : C->cr0 & ~(u64)CR0_AM;
    C->sysenter_cs = one_in(8) ? below(8) : S_CODE;
    C->sysenter_eip = wide ? 0xffffffff80001000 : random32();
    C->sysenter_esp = random32();
    C->fmask = random32() | EFL_TF | EFL_NT;
    state_load(&s);
    random_frame(wide ? 8 : 4);
}

/* --- one instruction -------------------------------------------------------------------------------------------------- */

static void compare(const struct state *before, struct state *fast, enum switched how, const char *name)
{
    state_load(before);
    cpu_step(C);
    struct state slow = state_of();
    if (how == SWITCH_RESUME) {     /* RF is left out */
        ck_assert(slow.eflags & EFL_RF);
        slow.eflags &= ~(u32)EFL_RF;
        slow.pending &= ~(u32)PEND_TRAP;
    }
    ck_assert_msg(!memcmp(fast, &slow, sizeof slow), "%s: rip %llx %llx eflags %x %x cpl %u %u flat %x %x view %u %u vector %x %x pending %x %x", name,
        (unsigned long long)fast->rip, (unsigned long long)slow.rip, fast->eflags, slow.eflags, fast->cpl, slow.cpl, fast->flat, slow.flat,
        fast->view, slow.view, fast->vector, slow.vector, fast->pending, slow.pending);
}

/* Was the short way taken? stays: it is one that does not set RIP. */
static bool run_case(const u8 *bytes, const char *name, bool stays)
{
    const struct backend *backend = jit_of(C)->backend;
    struct insn in;
    CODE_BYTES(bytes[0], bytes[1], bytes[2]);
    ck_assert_int_eq(insn_decode(&in, bytes, 15, C->code_size, C->model.features), DECODE_OK);
    if (C->access_checks || cpu_stepping(C))
        return false;           /* translated code does not run then */
    const gla touched[] = { FRAME, GDT, (u32)(C->seg[SEG_SS].base + FRAME), (u32)(C->seg[SEG_DS].base + C->rbx) };
    for (unsigned i = 0; i < ARRAY_LEN(touched); i++) {     /* what an earlier instruction has touched is in the TLB */
        u64 v;
        mmu_read(&C->mmu, touched[i], &v, 8, C->mmu.view);
    }
    const struct state before = state_of();
    switch_fn *fn = stays ? switch_find_load(&in) : switch_find(&in);
    ck_assert(fn);
    backend->flags_put(C, flags_status(C));
    const enum switched how = fn(C, &in, C->rip + in.len);
    flags_set_status(C, backend->flags_get(C));
    struct state after = state_of();
    if (how != SWITCH_NO && stays)
        after.rip += in.len;
    if (how == SWITCH_NO)
        ck_assert_msg(!memcmp(&before, &after, sizeof after), "%s refuses, but changes something", name);
    else
        compare(&before, &after, how, name);
    return how != SWITCH_NO;
}

static const struct { const char *name; u8 bytes[15]; bool narrow, wide; } list[] = {
    { "syscall", { 0x0f, 0x05 }, false, true }, { "sysretq", { 0x48, 0x0f, 0x07 }, false, true },
    { "sysenter", { 0x0f, 0x34 }, true, false }, { "sysexit", { 0x0f, 0x35 }, true, false },
    { "iretd", { 0xcf }, true, false }, { "iretq", { 0x48, 0xcf }, false, true },
    { "stac", { 0x0f, 0x01, 0xcb }, true, true }, { "clac", { 0x0f, 0x01, 0xca }, true, true },
};

START_TEST(short_ways)
{
    const bool wide = _i;
    unsigned taken[ARRAY_LEN(list)] = { 0 }, tried[ARRAY_LEN(list)] = { 0 };
    machine(wide);
    for (unsigned n = 0; n < ROUNDS; n++) {
        const unsigned k = below(ARRAY_LEN(list));
        if (!(wide ? list[k].wide : list[k].narrow))
            continue;
        random_state(wide);
        tried[k]++;
        taken[k] += run_case(list[k].bytes, list[k].name, false);
    }
    for (unsigned k = 0; k < ARRAY_LEN(list); k++)
        ck_assert_msg(taken[k] >= tried[k] / 20, "%s: %u of %u", list[k].name, taken[k], tried[k]);
    machine_free();
}
END_TEST

/* --- loads of segment registers ---------------------------------------------------------------------------------------- */

static u16 random_selector(void)
{
    static const u16 some[] = { S_DATA, S_DATA3, S_DATA3 | 3, S_RO, S_RO | 1, S_CODE, S_CODE3 | 3, S_CONF, S_XONLY, S_ABSENT, S_DATA16, S_TSS, 0, 3,
                                S_DATA | 4, 0x1000 };
    return some[below(ARRAY_LEN(some))];
}

static void random_load(void)
{
    const u16 sel = C->cr0 & CR0_PE ? random_selector() : (u16)(one_in(3) ? 0 : random32());
    C->rax = sel;
    C->rbx = one_in(8) ? 0x1ffe + below(4) : 0x800;
    C->rsp = FRAME;
    put((u32)(C->seg[SEG_SS].base + FRAME), 4, sel);
    for (unsigned i = 0; i < 2; i++)        /* a selector, or behind an offset */
        put((u32)(C->seg[SEG_DS].base + C->rbx) + 2 * i, 4, sel | (u32)sel << 16);
}

/* Bases of 64 KiB and less, limits of real mode, a few others. */
static void random_real(void)
{
    struct state s = state_of();
    for (unsigned i = 0; i < 8; i++)
        s.gpr[i] = random32();
    s.eflags = 2 | (random32() & EFL_STATUS);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (i != SEG_CS) {
            const u16 sel = (u16)(one_in(4) ? 0 : below(0x1000));
            s.seg[i] = (struct segment){ .base = sel * 16u, .limit = one_in(4) ? 0xffffffff : one_in(4) ? 0xfff : 0xffff, .sel = sel,
                                         .attr = SEG_P | SEG_S | SEG_W | SEG_A };
        }
    s.rip = 0;
    s.vector = 0xff;
    state_load(&s);
}

static const struct { const char *name; u8 bytes[15]; bool real, narrow, wide; } loads[] = {
    { "mov ds, ax", { 0x8e, 0xd8 }, true, true, true }, { "mov es, ax", { 0x8e, 0xc0 }, true, true, true },
    { "mov fs, [ebx]", { 0x8e, 0x23 }, false, true, true }, { "mov fs, [bx]", { 0x8e, 0x27 }, true, false, false },
    { "mov ss, ax", { 0x8e, 0xd0 }, true, true, true }, { "pop ds", { 0x1f }, true, true, false },
    { "pop gs", { 0x0f, 0xa9 }, true, true, true }, { "pop ss", { 0x17 }, true, true, false },
    { "les eax, [ebx]", { 0xc4, 0x03 }, false, true, false }, { "lds cx, [bx]", { 0xc5, 0x0f }, true, false, false },
};

START_TEST(segment_loads)
{
    const bool wide = _i == 1, real = _i == 2;
    unsigned taken = 0, tried = 0;
    if (real) {
        machine_real();
        translator();
    } else
        machine(wide);
    for (unsigned n = 0; n < ROUNDS; n++) {
        const unsigned k = below(ARRAY_LEN(loads));
        if (!(real ? loads[k].real : wide ? loads[k].wide : loads[k].narrow))
            continue;
        if (real)
            random_real();
        else
            random_state(wide);
        random_load();
        C->pending = 0;
        const bool ss = strstr(loads[k].name, " ss");
        const bool done = run_case(loads[k].bytes, loads[k].name, true);
        ck_assert(!done || !ss);
        tried += !ss;
        taken += done;
    }
    ck_assert_msg(taken >= tried / 10, "%u of %u", taken, tried);
    machine_free();
}
END_TEST

/* 16-bit code has none; nor has SYSENTER in 64-bit code, which goes to another stack width when it comes from compatibility mode. */
START_TEST(none)
{
    static const u8 sysenter[15] = { 0x0f, 0x34 }, iret[15] = { 0xcf };
    struct insn in;
    machine(true);
    ck_assert_int_eq(insn_decode(&in, sysenter, 15, 8, C->model.features), DECODE_OK);
    ck_assert(!switch_find(&in));
    ck_assert_int_eq(insn_decode(&in, iret, 15, 2, C->model.features), DECODE_OK);
    ck_assert(!switch_find(&in));
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jit_switch");
    TCase *t = tcase_create("switch");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, short_ways, 0, 2);
    tcase_add_loop_test(t, segment_loads, 0, 3);
    tcase_add_test(t, none);
    suite_add_tcase(s, t);
    return run_suite(s);
}
