/* test_jit_usual.c - instructions whose usual case stands in line (REP strings, gathers, masked moves), against the interpreter:
 * the same state and memory afterwards, faults and what was done before them included; and that it is the usual case that
 * did it, where it can. Also flags behind indirect jumps, which are usually not computed.
 *
 * Memory: AREA, mapped; some chunks of CODE_PAGE hold code, so that stores there are left to the interpreter; and the end of
 * RAM, behind which nothing is mapped.
 */
#include "tests/unit/cpu_machine.h"

#include "cpu/flags.h"
#include "cpu/insn_table.h"
#include "jit/jit_private.h"

enum { AREA = 0x60000, AREA_PAGES = 10, AREA_BYTES = AREA_PAGES * 4096, CODE_PAGE = AREA + 7 * 4096, END = RAM_SIZE,
       UNITS = 0x100000, UNIT = 64, UNIT_COUNT = 0x2e0000 / UNIT };

static u64 seed = 88172645463325252;
static u32 random32(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 16);
}
static u64 random64(void) { return (u64)random32() << 32 | random32(); }
static unsigned below(unsigned n) { return random32() % n; }
static bool one_in(unsigned n) { return !below(n); }

/* --- states ---------------------------------------------------------------------------------------------------------- */

struct state {
    u64 gpr[16], rip, cr2;
    u32 eflags, error;
    u8 vector;
    union vec vec[16];
    u8 area[AREA_BYTES], end[16384], stack[256];
};

static void state_load(const struct state *s)
{
    memcpy(C->gpr, s->gpr, sizeof s->gpr);
    C->rip = s->rip;
    rflags_set(C, s->eflags);
    C->cr2 = s->cr2;
    C->exc.vector = 0xff;
    memcpy(C->vec, s->vec, sizeof s->vec);
    physmap_write(m.map, AREA, s->area, sizeof s->area);
    physmap_write(m.map, END - sizeof s->end, s->end, sizeof s->end);
    physmap_write(m.map, STACK0 - sizeof s->stack, s->stack, sizeof s->stack);
}

static void state_save(struct state *s)
{
    memset(s, 0, sizeof *s);
    memcpy(s->gpr, C->gpr, sizeof s->gpr);
    s->rip = C->rip;
    s->eflags = (u32)rflags_get(C);
    s->cr2 = C->cr2;
    s->vector = C->exc.vector;
    memcpy(s->vec, C->vec, sizeof s->vec);
    physmap_read(m.map, AREA, s->area, sizeof s->area);
    physmap_read(m.map, END - sizeof s->end, s->end, sizeof s->end);
    physmap_read(m.map, STACK0 - sizeof s->stack, s->stack, sizeof s->stack);
}

static struct state start, interpreted, translated;

/* Few different bytes, in runs, so that comparisons go on for a while. */
static void random_memory(u8 *p, unsigned bytes)
{
    for (unsigned i = 0; i < bytes;) {
        const unsigned run = 1 + below(one_in(4) ? 3000 : 20);
        const u8 v = (u8)below(3);
        for (unsigned k = 0; k < run && i < bytes; k++)
            p[i++] = v;
    }
}

static void random_start(void)
{
    const bool wide = C->code_size == 8;
    for (unsigned i = 0; i < 16; i++)
        start.gpr[i] = wide ? random64() : i < 8 ? random32() : 0;
    start.gpr[GPR_RSP] = STACK0 - 64;
    start.eflags = 2 | (random32() & EFL_STATUS);
    for (unsigned i = 0; i < 64; i++)
        start.vec[i / 4].q[i % 4] = random64();
    random_memory(start.area, sizeof start.area);
    random_memory(start.end, sizeof start.end);
}

/* --- one case -------------------------------------------------------------------------------------------------------- */

static unsigned slot, cases, called;
static struct insn in;

static u64 interpreter_calls(void)
{
    const struct jit *j = jit_of(C);
    return j->interpreted[in.row];
}

static void place(const u8 *load, unsigned load_len, const u8 *bytes)
{
    u8 code_bytes[UNIT] = { 0 };
    ck_assert_int_eq(insn_decode(&in, bytes, 15, C->code_size, C->model.features), DECODE_OK);
    start.rip = UNITS + UNIT * (slot++ % UNIT_COUNT);
    if (load_len)
        memcpy(code_bytes, load, load_len);
    memcpy(code_bytes + load_len, bytes, in.len);
    code_bytes[load_len + in.len] = 0xeb;       /* jmp to itself: the unit ends */
    code_bytes[load_len + in.len + 1] = 0xfe;
    physmap_write(m.map, start.rip, code_bytes, sizeof code_bytes);
}

/* The unit; it leaves by its jump, or for a fault's handler. */
static void translate(void)
{
    struct jit *j = jit_of(C);
    gpa pa;
    const u8 *bytes;
    ck_assert(mmu_fetch(&C->mmu, C->rip, C->mmu.view, &pa, &bytes));
    jit_prepare(j);
    struct code_unit *u = compile_unit(j, pa, bytes, unit_part(C, C->rip, C->rip));
    ck_assert_msg(u, "no unit");
    const u64 before = interpreter_calls();
    const enum leave_reason why = jit_enter(j, u);
    ck_assert_msg(why == LEAVE_LINK || why == LEAVE_RETURN, "left because of %d", why);
    called += interpreter_calls() > before;
}

static void compare(const char *what, unsigned n, const void *a, const void *b, size_t bytes)
{
    char text[200];
    if (!memcmp(a, b, bytes))
        return;
    insn_print(text, sizeof text, &in, 0);
    const u8 *x = a, *y = b;
    size_t i = 0;
    while (x[i] == y[i])
        i++;
    ck_assert_msg(0, "%s: %s %u, byte %zu: %02x, translated %02x (rsi %llx rdi %llx rcx %llx)", text, what, n, i, x[i], y[i],
                  (unsigned long long)start.gpr[GPR_RSI], (unsigned long long)start.gpr[GPR_RDI], (unsigned long long)start.gpr[GPR_RCX]);
}

static void run_case(unsigned count)
{
    state_load(&start);
    cpu_step(C);
    for (unsigned i = 1; i < count; i++)
        cpu_step(C);
    while (in.rep && C->rip == start.rip)
        cpu_step(C);
    state_save(&interpreted);
    state_load(&start);
    translate();
    state_save(&translated);
    cases++;
    for (unsigned i = 0; i < 16; i++)
        compare("register", i, &interpreted.gpr[i], &translated.gpr[i], 8);
    for (unsigned i = 0; i < 16; i++)
        compare("vector", i, &interpreted.vec[i], &translated.vec[i], 32);
    compare("rip", 0, &interpreted.rip, &translated.rip, 8);
    compare("cr2", 0, &interpreted.cr2, &translated.cr2, 8);
    compare("exception", 0, &interpreted.vector, &translated.vector, 1);
    compare("eflags", 0, &interpreted.eflags, &translated.eflags, 4);
    compare("memory", 0, interpreted.area, translated.area, sizeof start.area);
    compare("end of memory", 0, interpreted.end, translated.end, sizeof start.end);
    compare("stack", 0, interpreted.stack, translated.stack, sizeof start.stack);
}

/* --- machines -------------------------------------------------------------------------------------------------------- */

static void paging(bool wide)
{
    const unsigned entry = wide ? 8 : 4, shift = wide ? 21 : 22;
    const u32 directory = wide ? TABLES + 0x2000 : TABLES;
    if (wide) {
        put(TABLES, 8, (TABLES + 0x1000) | 3);
        put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 3);
    }
    for (unsigned i = 0; i < (unsigned)RAM_SIZE >> shift; i++)
        put(directory + entry * i, entry, (u64)i << shift | 0x83);
    C->cr3 = TABLES;
    C->cr4 |= wide ? CR4_PAE : CR4_PSE;
    C->cr0 |= CR0_PG | CR0_WP;
}

static void machine_of(unsigned mode)
{
    char err[200];
    struct jit_options o;
    machine_protected();
    paging(mode == 8);
    C->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    C->cr0 &= ~(u64)(CR0_EM | CR0_TS);
    C->xcr0 = 7;
    if (mode == 8) {
        C->efer = EFER_LME | EFER_LMA;
        C->seg[SEG_CS].attr = (u16)((C->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
        C->seg[SEG_CS].sel = S_CODE64;
        for (unsigned i = 0; i < 256; i++) {
            put(IDT + i * 16, 8, make_gate(S_CODE64, HANDLER(i), 0x8e, 0));
            put(IDT + i * 16 + 8, 8, 0);
        }
        C->idtr.limit = 0xfff;
    }
    sysreg_refresh_mmu(C);
    segment_refresh(C);
    ck_assert_int_eq(C->code_size, mode);
    ck_assert(jit_options_parse(&o, NULL, err, sizeof err));
    o.super = 0;
    o.exactflags = 1;
    o.cache = 32;
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
    codepages_mark(m.map, CODE_PAGE + 128, 64);
    cases = called = slot = 0;
}

/* --- tests ----------------------------------------------------------------------------------------------------------- */

static u64 random_place(unsigned bytes, bool may_fault)
{
    if (may_fault && one_in(12))
        return END - below(6000);
    if (one_in(6))
        return CODE_PAGE + below(2000);
    if (one_in(3))
        return AREA + 4096 * (3 + below(4)) - below(2 * bytes + 64);    /* shortly before a page's end */
    return AREA + 2 * 4096 + below(3 * 4096);
}

START_TEST(strings)
{
    static const u8 ops[] = { 0xa4, 0xa6, 0xaa, 0xae };
    machine_of(_i);
    for (unsigned i = 0; i < 4000; i++) {
        u8 bytes[16] = { 0 };
        unsigned n = 0;
        const unsigned shift = below(_i == 8 ? 4 : 3), op = ops[below(4)];
        bytes[n++] = one_in(2) ? 0xf2 : 0xf3;
        if (shift == 1)
            bytes[n++] = 0x66;
        if (shift == 3)
            bytes[n++] = 0x48;
        bytes[n] = (u8)(op + (shift != 0));
        random_start();
        place(NULL, 0, bytes);
        const u64 count = one_in(20) ? 0 : 1 + below(one_in(3) ? 6000 : 200) / (1u << shift);
        start.gpr[GPR_RSI] = random_place(1u << shift, true);
        start.gpr[GPR_RDI] = one_in(3) ? start.gpr[GPR_RSI] + below(64) - 32 : random_place(1u << shift, true);
        if (_i == 4 && one_in(50))      /* the upper half is nobody's business */
            start.gpr[GPR_RSI] |= (u64)random32() << 32;
        start.gpr[GPR_RCX] = count;
        if (one_in(2))
            start.gpr[GPR_RAX] = below(3) * (u64)0x0101010101010101;
        if (_i == 4)
            start.gpr[GPR_RAX] = (u32)start.gpr[GPR_RAX];
        start.eflags |= one_in(10) ? EFL_DF : 0;
        run_case(1);
    }
#if defined(__x86_64__)        /* other backends have no usual case yet */
    ck_assert_uint_lt(called, cases / 2);
#endif
    machine_free();
}
END_TEST

/* VEX.66.0F38, ModRM with SIB. seg: FS prefix. */
static void vex_memory(u8 bytes[16], u8 opcode, bool w, bool l, unsigned reg, unsigned vvvv, unsigned base, unsigned index,
                       unsigned scale, s8 disp, bool fs)
{
    unsigned n = 0;
    if (fs)
        bytes[n++] = 0x64;
    bytes[n++] = 0xc4;
    bytes[n++] = (u8)((reg & 8 ? 0 : 0x80) | (index & 8 ? 0 : 0x40) | (base & 8 ? 0 : 0x20) | 2);
    bytes[n++] = (u8)((w ? 0x80 : 0) | (~vvvv & 15) << 3 | (l ? 4 : 0) | 1);
    bytes[n++] = opcode;
    bytes[n++] = (u8)(0x44 | (reg & 7) << 3);
    bytes[n++] = (u8)(scale << 6 | (index & 7) << 3 | (base & 7));
    bytes[n] = (u8)disp;
}

static const u8 load[4] = { 0xc5, 0xfd, 0x6f, 0xc0 };   /* vmovdqa ymm0, ymm0 */

/* Is there a usual case at all? */
#if defined(__x86_64__)
static bool host_can_avx2(void) { return __builtin_cpu_supports("avx2"); }
#else
static bool host_can_avx2(void) { return false; }
#endif

START_TEST(gathers)
{
    if (!host_can_avx2())
        return;
    machine_of(_i);
    C->seg[SEG_FS].base = _i == 8 ? 4096 : 0;
    segment_refresh(C);
    const unsigned registers = _i == 8 ? 16 : 8;
    for (unsigned i = 0; i < 4000; i++) {
        u8 bytes[16] = { 0 };
        const unsigned dst = below(registers), mask = (dst + 1 + below(registers - 2)) % registers;
        unsigned index = below(registers), base = below(registers);
        while (index == dst || index == mask)
            index = below(registers);
        while (base == GPR_RSP)
            base = below(registers);
        const bool w = one_in(2), l = one_in(2), fs = one_in(4), wide = random32() & 1;
        const unsigned scale = below(4);
        const s8 disp = (s8)random32();
        vex_memory(bytes, (u8)(0x90 + wide + 2 * below(2)), w, l, dst, mask, base, index, scale, disp, fs);
        random_start();
        start.gpr[base] = AREA + 2 * 4096 + below(4096);
        for (unsigned k = 0; k < 8; k++) {
            const s32 v = (s32)below(8192 >> scale) - (4096 >> scale), bad = one_in(40);
            if (wide && !(k & 1))
                start.vec[index].q[k / 2] = bad ? random64() : (u64)(s64)v;
            else if (!wide)
                start.vec[index].d[k] = bad ? random32() : (u32)v;
            if (one_in(3))
                start.vec[mask].d[k] |= 0x80000000;
        }
        place(load, sizeof load, bytes);
        run_case(2);
    }
#if defined(__x86_64__)        /* other backends have no usual case yet */
    ck_assert_uint_lt(called, cases / 2);
#endif
    machine_free();
}
END_TEST

START_TEST(masked_moves)
{
    static const u8 ops[] = { 0x2c, 0x2d, 0x2e, 0x2f, 0x8c, 0x8e };
    if (!host_can_avx2())
        return;
    machine_of(_i);
    C->seg[SEG_FS].base = _i == 8 ? 4096 : 0;
    segment_refresh(C);
    const unsigned registers = _i == 8 ? 16 : 8;
    for (unsigned i = 0; i < 4000; i++) {
        u8 bytes[16] = { 0 };
        const u8 op = ops[below(6)];
        unsigned base = below(registers), index = below(registers);
        while (base == GPR_RSP)
            base = below(registers);
        while (index == base)
            index = below(registers);
        const unsigned scale = below(4);
        vex_memory(bytes, op, op >= 0x80 && one_in(2), one_in(2), below(registers), below(registers), base, index, scale,
                   (s8)random32(), one_in(4));
        random_start();
        start.gpr[base] = random_place(32, true) - (one_in(2) ? 4096 : 0);
        if (index != GPR_RSP)
            start.gpr[index] = _i == 8 ? (u64)(s64)((s32)below(64) - 32) : (u32)((s32)below(64) - 32);
        place(load, sizeof load, bytes);
        run_case(2);
    }
#if defined(__x86_64__)        /* other backends have no usual case yet */
    ck_assert_uint_lt(called, cases / 2);
#endif
    machine_free();
}
END_TEST

/* --- flags behind an indirect jump: kept as what they are computed from ------------------------------------------------- */

/* An arithmetic instruction on registers other than RSP and RDI; true: a logical one, AF is undefined. */
static bool random_arithmetic(u8 *p, unsigned *len, bool wide)
{
    static const u8 regs[] = { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RBP, GPR_RSI };
    static const u8 ops[] = { 0 /* add */, 5 /* sub */, 7 /* cmp */, 1 /* or */, 4 /* and */, 6 /* xor */, 8 /* test */ };
    const unsigned op = ops[below(7)], size = below(wide ? 4 : 3), d = regs[below(size ? 6 : 4)], a = regs[below(size ? 6 : 4)];
    u8 *at = p;
    if (size == 1)
        *at++ = 0x66;
    if (size == 3)
        *at++ = 0x48;
    if (op == 8 || one_in(2)) {
        *at++ = (u8)((op == 8 ? 0x84 : op * 8) | (size != 0));
        *at++ = (u8)(0xc0 | (one_in(3) ? d : a) << 3 | d);
    } else {
        *at++ = size ? 0x83 : 0x80;
        *at++ = (u8)(0xc0 | op << 3 | d);
        *at++ = (u8)random32();
    }
    *len = (unsigned)(at - p);
    return op == 1 || op == 4 || op == 6 || op == 8;
}

static struct code_unit *unit_at_rip(void)
{
    gpa pa;
    const u8 *bytes;
    jit_prepare(jit_of(C));
    ck_assert(mmu_fetch(&C->mmu, C->rip, C->mmu.view, &pa, &bytes));
    return compile_unit(jit_of(C), pa, bytes, unit_part(C, C->rip, C->rip));
}

/* Arithmetic, a load, sometimes a change of an operand, JMP RDI; there PUSHF, POP RAX. */
START_TEST(flags_at_jumps)
{
    static const u8 load[] = { 0x8b, 0x2d }, load64[] = { 0x8b, 0x2c, 0x25 }, jump[] = { 0xff, 0xe7 };
    static const u8 target[] = { 0x9c, 0x58, 0xeb, 0xfe };
    const u32 area = AREA;
    machine_of(_i);
    for (unsigned i = 0; i < 4000; i++) {
        struct jit *j = jit_of(C);
        u8 bytes[UNIT] = { 0 };
        unsigned n = 0, steps = 3, len;
        const u32 defined = random_arithmetic(bytes, &len, _i == 8) ? (u32)~EFL_AF : ~(u32)0;
        n += len;
        const unsigned load_len = _i == 8 ? sizeof load64 : sizeof load;
        memcpy(bytes + n, _i == 8 ? load64 : load, load_len);
        memcpy(bytes + n + load_len, &area, 4);
        n += load_len + 4;
        if (one_in(4)) {        /* lea ebx, [ebx + 1] */
            memcpy(bytes + n, "\x8d\x5b\x01", 3);
            n += 3;
            steps++;
        }
        memcpy(bytes + n, jump, sizeof jump);
        memcpy(bytes + 32, target, sizeof target);
        random_start();
        for (unsigned k = 0; k < 8; k++)
            if (one_in(3))
                start.gpr[k] = k == GPR_RSP ? start.gpr[k] : (u64)below(3) << 31;
        start.rip = UNITS + UNIT * (slot++ % UNIT_COUNT);
        start.gpr[GPR_RDI] = start.rip + 32;
        physmap_write(m.map, start.rip, bytes, sizeof bytes);
        state_load(&start);
        for (unsigned k = 0; k < steps; k++)
            cpu_step(C);
        const u32 flags = (u32)rflags_get(C) & defined;
        cpu_step(C);
        cpu_step(C);
        const u64 rax = C->rax & defined;
        state_load(&start);
        struct code_unit *from = unit_at_rip();
        ck_assert(from && jit_enter(j, from) == LEAVE_LOOKUP);
        ck_assert_msg(((u32)rflags_get(C) & defined) == flags, "case %u: flags %x, should be %x (%02x %02x %02x)", i,
                      (u32)rflags_get(C) & defined, flags, bytes[0], bytes[1], bytes[2]);
        struct code_unit *to = unit_at_rip();
        C->jit_jump[C->rip % JIT_JUMPS] = (struct jit_jump){ C->rip + j->genkey, (u64)(uintptr_t)(j->rx + to->entry_jump) };
        state_load(&start);
        atomic_store(&C->jit.poll, 0);
        const enum leave_reason why = jit_enter(j, from);
        ck_assert_msg(why == LEAVE_LINK, "left because of %d", why);
        ck_assert_msg((C->rax & defined) == rax, "case %u: pushed %llx, should be %llx (%02x %02x %02x)", i,
                      (unsigned long long)C->rax, (unsigned long long)rax, bytes[0], bytes[1], bytes[2]);
    }
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jit_usual");
    TCase *t = tcase_create("usual");
    tcase_set_timeout(t, 120);
    for (int mode = 4; mode <= 8; mode += 4) {
        tcase_add_loop_test(t, strings, mode, mode + 1);
        tcase_add_loop_test(t, gathers, mode, mode + 1);
        tcase_add_loop_test(t, masked_moves, mode, mode + 1);
        tcase_add_loop_test(t, flags_at_jumps, mode, mode + 1);
    }
    suite_add_tcase(s, t);
    return run_suite(s);
}
