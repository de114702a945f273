/* test_sys_run.c - string and system instructions as translated code, against the interpreter: random sequences out of a
 * table run from the same state, once as a unit, once step by step, in 64- and 32-bit mode, CPL 0 and 3, and real mode.
 *
 * A unit may leave early (STI with IF 0, POPF that changes more than status flags, DF set): then the interpreter's state in
 * front of that instruction counts.
 */
#include "tests/unit/cpu_machine.h"

#include "cpu/flags.h"
#include "jit/jit_private.h"

enum { SLOTS = 0x100000, SLOT = 128, SLOT_COUNT = 0x2f0000 / SLOT, AREA = DATA, AREA_BYTES = 4096, LONGEST = 7 };
enum { M64 = 1, M32 = 2, USER = 4, REAL = 8, M32S = M32 | USER, ALL = M64 | M32 | USER | REAL, KERNEL = M64 | M32 | REAL };

static u64 seed = 521288629521288629;
static u32 random32(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 16);
}
static u64 random64(void) { return (u64)random32() << 32 | random32(); }
static unsigned below(unsigned n) { return random32() % n; }
static bool coin(void) { return random32() & 1; }

/* What may change RBX, RCX, RSI or RDI puts something harmless there again. flags: undefined behind it. */
static const struct piece { u8 machines, insns; u16 flags; const char *bytes; u8 len; } pieces[] = {
#define P(machines, insns, flags, bytes) { machines, insns, flags, bytes, sizeof(bytes) - 1 }
    P(ALL, 1, 0, "\xfc"), P(ALL, 1, 0, "\xfd"),                                         /* cld, std */
    P(ALL, 1, 0, "\xa4"), P(ALL, 1, 0, "\xa5"), P(ALL, 1, 0, "\x66\xa5"), P(M64, 1, 0, "\x48\xa5"), P(ALL, 1, 0, "\x67\xa4"),
    P(ALL, 1, 0, "\xaa"), P(ALL, 1, 0, "\xab"), P(ALL, 1, 0, "\x66\xab"), P(M64, 1, 0, "\x48\xab"),
    P(ALL, 1, 0, "\xac"), P(ALL, 1, 0, "\xad"), P(ALL, 1, 0, "\x66\xad"), P(M64, 1, 0, "\x48\xad"), P(ALL, 1, 0, "\x26\xac"),
    P(ALL, 1, 0, "\xae"), P(ALL, 1, 0, "\xaf"), P(ALL, 1, 0, "\x66\xaf"), P(M64, 1, 0, "\x48\xaf"),
    P(ALL, 1, 0, "\xa6"), P(ALL, 1, 0, "\xa7"), P(ALL, 1, 0, "\x66\xa7"), P(M64, 1, 0, "\x48\xa7"),
    P(ALL, 1, 0, "\xf3\xa4"), P(ALL, 1, 0, "\xf3\xa5"), P(M64, 1, 0, "\xf3\x48\xa5"), P(ALL, 1, 0, "\xf3\xaa"),
    P(ALL, 1, 0, "\xf3\x66\xab"), P(M64, 1, 0, "\xf3\x48\xab"), P(ALL, 1, 0, "\xf2\xae"), P(ALL, 1, 0, "\xf3\xae"),
    P(ALL, 1, 0, "\xf3\xa6"), P(ALL, 1, 0, "\xf2\xa7"), P(ALL, 1, 0, "\xf3\xad"),
    P(ALL, 1, 0, "\x9c"), P(ALL, 1, 0, "\x66\x9c"), P(ALL, 1, 0, "\x9d"), P(ALL, 2, 0, "\x9c\x9d"), P(ALL, 2, 0, "\x66\x9c\x66\x9d"),
    P(ALL, 4, 0, "\x9c\x34\xc5\x34\xc5\x9d"),                                           /* pushf; xor al twice; popf */
    P(ALL, 1, 0, "\xfa"), P(ALL, 1, 0, "\xfb"),                                         /* cli, sti */
    P(M64 | M32S | REAL, 1, 0, "\x0f\xa0"), P(ALL, 1, 0, "\x0f\xa8"), P(ALL, 1, 0, "\x66\x0f\xa0"),     /* push fs, gs */
    P(M32S | REAL, 1, 0, "\x06"), P(M32S | REAL, 1, 0, "\x0e"), P(M32S | REAL, 1, 0, "\x66\x16"), P(M32S | REAL, 1, 0, "\x1e"),
    P(ALL, 1, 0, "\x8c\xd8"), P(ALL, 1, 0, "\x66\x8c\xc8"), P(ALL, 1, 0, "\x8c\xd2"), P(M64, 1, 0, "\x48\x8c\xd8"),
    P(M64 | M32S, 1, 0, "\x8c\x1f"), P(REAL, 1, 0, "\x8c\x1d"),                         /* mov [rdi], ds */
    P(M64 | M32, 2, 0, "\xb8\x10\x00\x00\x00\x8e\xc0"),                                 /* mov eax, S_DATA; mov es, eax */
    P(M64, 2, 0, "\x6a\x10\x0f\xa1"), P(M64, 3, 0, "\xb8\x10\x00\x00\x00\x8e\xe8\x90"), /* push, pop fs; mov gs; nop */
    P(M64, 1, 0, "\x0f\x01\xf8"), P(M64, 1, 0, "\xf3\x48\x0f\xae\xc0"), P(M64, 1, 0, "\xf3\x0f\xae\xca"),
    P(M64 | M32, 2, 0, "\x0f\x20\xc0\x01\xd0"), P(M64 | M32, 2, 0, "\x0f\x20\xd2\x01\xd0"),
    P(M64 | M32, 2, 0, "\x0f\x20\xd8\x01\xd0"), P(M64 | M32, 2, 0, "\x0f\x20\xe2\x01\xd0"),
    P(M64 | M32, 2, 0, "\x0f\x21\xf8\x01\xd0"),
    P(ALL, 1, 0, "\x9b"), P(M64 | M32S, 1, 0, "\x0f\xae\x3f"), P(KERNEL, 1, 0, "\x0f\x31"), /* fwait, clflush [rdi], rdtsc */
    P(M64 | M32S, 2, 0, "\x0f\xa2\xb9\x05\x00\x00\x00"),                                /* cpuid; mov ecx, 5 */
    P(M64 | M32, 3, 0, "\xb9\x80\x00\x00\xc0\x0f\x32\xb9\x07\x00\x00\x00"),             /* rdmsr of EFER */
    P(ALL, 1, 0, "\x01\xd0"), P(ALL, 1, 0, "\xf9"), P(ALL, 1, 0, "\x84\xc0"), P(ALL, 1, 0, "\x90"),
#undef P
};

/* --- states ----------------------------------------------------------------------------------------------------------- */

struct state {
    u64 gpr[16], rip, eflags, gs, kernel_gs;
    u16 sel[SEG_COUNT], sw;
    u8 memory[AREA_BYTES];
};

static unsigned machine;

static struct state random_state(void)
{
    struct state s;
    const u64 base = machine == REAL ? 0 : AREA;
    memset(&s, 0, sizeof s);
    for (unsigned i = 0; i < (machine == M64 ? 16 : 8); i++)
        s.gpr[i] = machine == M64 ? random64() : random32();
    s.gpr[GPR_RCX] = below(24);
    s.gpr[GPR_RSI] = base + 2048 + below(64);
    s.gpr[GPR_RDI] = base + (coin() ? 1536 : 2048) + below(64);
    s.gpr[GPR_RSP] = base + 512 - 8 * below(8);
    s.eflags = EFL_1 | (random32() & EFL_STATUS) | (coin() ? EFL_IF : 0) | (below(4) ? 0 : EFL_DF) | (coin() ? EFL_ID : 0);
    s.gs = random32();
    s.kernel_gs = random32();
    s.sw = below(4) ? 0x3800 : 0x8081;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s.sel[i] = C->seg[i].sel;
    for (unsigned i = 0; i < AREA_BYTES; i++)
        s.memory[i] = (u8)(random32() >> 3 & (random32() & 2 ? 0xff : 1));
    return s;
}

static struct segment segments[SEG_COUNT];

static void state_load(const struct state *s)
{
    memcpy(C->gpr, s->gpr, sizeof s->gpr);
    memcpy(C->seg, segments, sizeof segments);
    C->rip = s->rip;
    if (machine == M64) {
        C->seg[SEG_GS].base = s->gs;
        C->kernel_gs_base = s->kernel_gs;
    }
    C->x87.sw = s->sw;
    rflags_set(C, s->eflags);
    C->shadow = SHADOW_NONE;
    physmap_write(m.map, AREA, s->memory, AREA_BYTES);
}

static struct state state_of(void)
{
    struct state s;
    memset(&s, 0, sizeof s);
    memcpy(s.gpr, C->gpr, sizeof s.gpr);
    s.rip = C->rip;
    s.eflags = rflags_get(C) & ~(u64)EFL_RF;    /* interrupted repetitions */
    s.gs = machine == M64 ? C->seg[SEG_GS].base : 0;
    s.kernel_gs = machine == M64 ? C->kernel_gs_base : 0;
    s.sw = C->x87.sw;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s.sel[i] = C->seg[i].sel;
    physmap_read(m.map, AREA, s.memory, AREA_BYTES);
    return s;
}

static char text[2000];

static void compare(const char *name, unsigned i, u64 a, u64 b)
{
    const size_t n = strlen(text);
    if (a != b && n + 100 < sizeof text)
        snprintf(text + n, sizeof text - n, " %s %u: %llx, translated %llx;", name, i, (unsigned long long)a, (unsigned long long)b);
}

static void compare_states(const struct state *a, const struct state *b, u64 undefined)
{
    for (unsigned i = 0; i < 16; i++)
        compare("gpr", i, a->gpr[i], b->gpr[i]);
    compare("rip", 0, a->rip, b->rip);
    compare("eflags", 0, a->eflags & ~undefined, b->eflags & ~undefined);
    compare("gs", 0, a->gs, b->gs);
    compare("kernel gs", 0, a->kernel_gs, b->kernel_gs);
    compare("sw", 0, a->sw, b->sw);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        compare("selector", i, a->sel[i], b->sel[i]);
    for (unsigned i = 0; i < AREA_BYTES; i++)
        compare("memory", i, a->memory[i], b->memory[i]);
}

/* --- one case --------------------------------------------------------------------------------------------------------- */

static unsigned slot, whole;

static u64 linear_rip(void) { return machine == REAL ? SLOTS + C->rip : C->rip; }

static void run_unit(void)
{
    struct jit *j = jit_of(C);
    gpa pa;
    const u8 *host_bytes;
    ck_assert(mmu_fetch(&C->mmu, linear_rip(), C->mmu.view, &pa, &host_bytes));
    jit_prepare(j);
    struct code_unit *u = compile_unit(j, pa, host_bytes, unit_part(C, linear_rip(), C->rip));
    if (u)
        jit_enter(j, u);
}

static u64 place_sequence(const struct piece **p, unsigned n)
{
    u8 bytes[SLOT];
    unsigned at = 0;
    const u32 offset = SLOT * (slot++ % (machine == REAL ? 0x10000 / SLOT : SLOT_COUNT));
    memset(bytes, 0xf4, sizeof bytes);
    for (unsigned i = 0; i < n; i++) {
        memcpy(bytes + at, p[i]->bytes, p[i]->len);
        at += p[i]->len;
    }
    physmap_write(m.map, SLOTS + offset, bytes, SLOT);
    return machine == REAL ? offset : SLOTS + offset;
}

static void describe(const struct piece **p, unsigned n)
{
    text[0] = 0;
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < p[i]->len; k++)
            sprintf(text + strlen(text), "%02x", (u8)p[i]->bytes[k]);
        strcat(text, " ");
    }
    strcat(text, ":");
}

static void run_case(const struct piece **p, unsigned n)
{
    struct state s = random_state();
    u64 undefined = 0;
    unsigned steps = 0;
    s.rip = place_sequence(p, n);
    for (unsigned i = 0; i < n; i++)
        undefined |= p[i]->flags;
    state_load(&s);
    run_unit();
    const struct state translated = state_of();
    whole += get((u32)(machine == REAL ? SLOTS + translated.rip : translated.rip), 1) == 0xf4;
    state_load(&s);
    while (C->rip != translated.rip && steps++ < 400)
        cpu_step(C);
    const struct state interpreted = state_of();
    describe(p, n);
    const size_t before = strlen(text);
    compare_states(&interpreted, &translated, undefined);
    ck_assert_msg(strlen(text) == before, "%s", text);
}

/* --- machines --------------------------------------------------------------------------------------------------------- */

static void machine_long(void)
{
    put(TABLES, 8, (TABLES + 0x1000) | 3);
    put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 3);
    for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
        put(TABLES + 0x2000 + 8 * i, 8, (u64)i << 21 | 0x83);
    C->cr3 = TABLES;
    C->cr4 |= CR4_PAE | CR4_FSGSBASE;
    C->efer = EFER_LME | EFER_LMA;
    C->cr0 |= CR0_PG;
    C->seg[SEG_CS].attr = (u16)((C->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
    sysreg_refresh_mmu(C);
    segment_refresh(C);
}

static void machine_make(unsigned which)
{
    char err[200];
    struct jit_options o;
    machine = which;
    slot = whole = 0;
    if (which == REAL) {
        machine_real();
        segment_set_real(C, SEG_CS, SLOTS >> 4 & 0xffff);
        C->seg[SEG_CS].base = SLOTS;
        for (unsigned i = 0; i < SEG_COUNT; i++)
            if (i != SEG_CS)
                segment_set_real(C, i, AREA >> 4);
        segment_refresh(C);
    } else
        machine_protected();
    if (which == M64)
        machine_long();
    if (which == USER)
        enter_user();
    C->cr0 |= CR0_NE;
    C->cr2 = 0x123456789;
    memcpy(segments, C->seg, sizeof segments);
    ck_assert(jit_options_parse(&o, NULL, err, sizeof err));
    o.check = 1;        /* steps leave, units end at their exits */
    o.super = 0;
    o.exactflags = 1;
    o.cache = 16;
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
}

START_TEST(sequences)
{
    const unsigned cases = 5000;
    machine_make(1u << _i);
    for (unsigned i = 0; i < cases && slot < (machine == REAL ? 0x10000 / SLOT : SLOT_COUNT); i++) {
        const struct piece *p[LONGEST];
        unsigned n = 1 + below(LONGEST);
        for (unsigned k = 0; k < n;) {
            p[k] = &pieces[below(ARRAY_LEN(pieces))];
            k += (p[k]->machines & machine) != 0;
        }
        run_case(p, n);
    }
    ck_assert_uint_gt(whole, slot / 8);
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sys_run");
    TCase *t = tcase_create("sequences");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, sequences, 0, 4);
    suite_add_tcase(s, t);
    return run_suite(s);
}
