/* test_insn_run.c - vector, x87 and bit instructions as translated code, against the interpreter.
 *
 * Random sequences of rows that the host may execute run from the same random state, once as a unit, once step by step;
 * registers, defined flags, vectors, MXCSR, all of the x87 with its pointers, and memory must be the same. Memory operands
 * are [rbx], [rsi], [rdi] and a displacement: mostly good addresses, and some that are not after an instruction has changed
 * the register, where the unit must leave in front of the instruction with the state that the interpreter has there.
 */
#include "tests/unit/cpu_machine.h"

#include "cpu/flags.h"
#include "cpu/fpu.h"
#include "cpu/insn_table.h"
#include "jit/jit_private.h"

enum { SLOTS = 0x100000, SLOT = 128, SLOT_COUNT = 0x2f0000 / SLOT, AREA = DATA, AREA_BYTES = 1024, AREA_MID = AREA + 512,
       TRIES = 400, LONGEST = 5 };

static u64 seed = 362436069362436069;
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

/* --- instructions ----------------------------------------------------------------------------------------------------- */

static u8 random_modrm(const struct insn_encoding *e)
{
    static const u8 bases[3] = { 3, 6, 7 };
    u8 reg = (u8)(random32() & 0x38);
    if (e->ext >= 0xc0)
        return e->ext;
    if (e->ext != EXT___)
        reg = (u8)((e->ext & 7) << 3);
    if (e->ext > EXT___ || coin())
        return (u8)(0xc0 | reg | (random32() & 7));
    return (u8)((coin() ? 0x40 : 0) | reg | bases[below(3)]);
}

static unsigned opcode_bytes(u8 *p, u32 opcode)
{
    unsigned n = 0;
    if (opcode > 0xffff)
        p[n++] = (u8)(opcode >> 16);
    if (opcode > 0xff)
        p[n++] = (u8)(opcode >> 8);
    p[n++] = (u8)opcode;
    return n;
}

static unsigned legacy_bytes(u8 *p, const struct insn_encoding *e, unsigned mode, bool memory)
{
    unsigned n = 0;
    if (memory && insn_rows[e - insn_encodings].attr & ATTR_LOCK && coin())
        p[n++] = 0xf0;
    if (e->pfx == PFX_P6 || (e->pfx & PFX_P6 && coin()) || (e->pfx & (PFX_F3 | PFX_F2) && !(random32() & 7)))
        p[n++] = 0x66;
    if (e->pfx == PFX_F3 || e->pfx == PFX_F2)
        p[n++] = e->pfx == PFX_F3 ? 0xf3 : 0xf2;
    if (mode == 8 && coin())
        p[n++] = (u8)(0x40 | (random32() & (memory ? 14 : 15)));
    return n + opcode_bytes(p + n, e->opcode);
}

static unsigned vex_bytes(u8 *p, const struct insn_encoding *e, unsigned mode, bool memory)
{
    const unsigned pp = e->pfx == PFX_P6 ? 1 : e->pfx == PFX_F3 ? 2 : e->pfx == PFX_F2 ? 3 : 0;
    const unsigned map = e->opcode > 0xffff ? e->opcode >> 8 == 0x0f3a ? 3 : 2 : 1;
    p[0] = 0xc4;
    p[1] = (u8)((mode == 8 ? (random32() & 0xe0) | (memory ? 0x20 : 0) : 0xe0) | map);
    p[2] = (u8)((random32() & 0x84) | (coin() ? 0x78 : random32() & 0x78) | pp);
    p[3] = (u8)e->opcode;
    return 4;
}

/* Displacements that keep a good address good: aligned ones, in the area. */
static bool random_insn(unsigned row, unsigned mode, struct insn *in, u8 bytes[16])
{
    const struct insn_encoding *e = &insn_encodings[row];
    for (unsigned i = 0; i < TRIES; i++) {
        const bool vex = e->vex & VEX_ONLY || (e->vex & VEX_FORM && coin());
        const u8 modrm = random_modrm(e);
        for (unsigned k = 0; k < 16; k++)
            bytes[k] = (u8)random32();
        const unsigned n = vex ? vex_bytes(bytes, e, mode, modrm < 0xc0) : legacy_bytes(bytes, e, mode, modrm < 0xc0);
        bytes[n] = modrm;
        if (modrm < 0xc0)
            bytes[n + 1] &= below(16) ? 0xe0 : 0xff;
        if (insn_decode(in, bytes, 15, mode, C->model.features) == DECODE_OK && in->row == row)
            return host_backend.can_insn(in);
    }
    return false;
}

/* --- states ----------------------------------------------------------------------------------------------------------- */

struct state {
    u64 gpr[16], rip;
    u32 status, mxcsr;
    union vec vec[16];
    struct x87 x87;
    u8 memory[AREA_BYTES];
};

static u32 random_float(void)
{
    static const u32 special[] = { 0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffbfffff, 1, 0x807fffff,
                                   0x3f800000, 0xbf800000, 0x7f7fffff, 0x4f000000, 0xcf000000, 0x00800000, 0x3effffff };
    return below(3) ? coin() ? random32() : (random32() & 0x807fffff) | (120 + below(16)) << 23 : special[below(ARRAY_LEN(special))];
}
static u64 random_double(void)
{
    static const u64 special[] = { 0, 1ull << 63, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001,
                                   1, 0x800fffffffffffff, 0x3ff0000000000000, 0x7fefffffffffffff, 0xc1e0000000000000,
                                   0x43e0000000000000, 0x0010000000000000, 0x36a0000000000000, 0x380fffffe0000000 };
    return below(3) ? coin() ? random64() : (random64() & 0x800fffffffffffff) | (u64)(1010 + below(32)) << 52
                    : special[below(ARRAY_LEN(special))];
}
static void random_bytes(void *p, unsigned n)
{
    for (unsigned i = 0; i < n; i += 8) {
        const u64 two = random_float() | (u64)random_float() << 32;
        const u64 v = below(3) ? coin() ? random_double() : two : random64();
        memcpy((u8 *)p + i, &v, 8);
    }
}
static struct f80 random_f80(void)
{
    static const u16 exps[] = { 0, 0, 0x7fff, 0x7fff, 0x3fff, 0x403e, 0x403f, 1, 0x7ffe, 0x3c00, 0x43ff, 0x3f80, 0x4080 };
    static const u64 mants[] = { 0, 1, 1ull << 63, 3ull << 62, 0x8000000000000001, UINT64_MAX, 1ull << 62 };
    const u16 sign = coin() ? 0x8000 : 0;
    const u64 mant = coin() ? random64() : mants[below(ARRAY_LEN(mants))];
    if (below(3))
        return (struct f80){ mant | (u64)1 << 63, (u16)(sign | (0x3fff - 40 + below(100))) };
    return (struct f80){ mant, (u16)(sign | (coin() ? exps[below(ARRAY_LEN(exps))] : random32() & 0x7fff)) };
}

static void random_x87(struct x87 *x)
{
    for (unsigned i = 0; i < 8; i++)
        x->r[i] = random_f80();
    x->cw = (u16)(0x7f | (random32() & 0x0f00) | (coin() ? 0x300 : 0));
    x->sw = (u16)(random32() & ~(u32)(X87_ES | X87_B));
    x->empty = coin() ? (u8)random32() : coin() ? 0xf0 : 0;
    x->fop = random32() & 0x7ff;
    x->fcs = (u16)random32();
    x->fds = (u16)random32();
    x->fip = random64();
    x->fdp = random64();
}

static struct state random_state(void)
{
    struct state s;
    memset(&s, 0, sizeof s);
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = coin() ? random64() : coin() ? random32() : (u64)(s64)(s8)random32();
    s.gpr[GPR_RBX] = AREA_MID + 32 * below(8);
    s.gpr[GPR_RSI] = AREA_MID - 32 * below(8);
    s.gpr[GPR_RDI] = AREA_MID + (coin() ? 0 : below(64));
    s.status = random32() & EFL_STATUS;
    s.mxcsr = MXCSR_MASKS | (random32() & (MXCSR_RC | 0x3f)) | (below(4) ? 0 : MXCSR_DAZ) | (below(4) ? 0 : MXCSR_FZ);
    random_bytes(s.vec, sizeof s.vec);
    random_x87(&s.x87);
    random_bytes(s.memory, sizeof s.memory);
    if (coin()) {       /* for CMPXCHG8B, CMPXCHG16B */
        const u64 at = s.gpr[GPR_RBX] - AREA;
        const bool wide = coin();
        memcpy(&s.gpr[GPR_RAX], s.memory + at, wide ? 8 : 4);
        memcpy(&s.gpr[GPR_RDX], s.memory + at + (wide ? 8 : 4), wide ? 8 : 4);
    }
    if (C->code_size != 8)
        for (unsigned i = 0; i < 16; i++)
            s.gpr[i] = i < 8 ? (u32)s.gpr[i] : 0;
    return s;
}

static void state_load(const struct state *s)
{
    memcpy(C->gpr, s->gpr, sizeof s->gpr);
    C->rip = s->rip;
    flags_set_status(C, s->status);
    C->mxcsr = s->mxcsr;
    memcpy(C->vec, s->vec, sizeof s->vec);
    C->x87 = s->x87;
    physmap_write(m.map, AREA, s->memory, AREA_BYTES);
}
static struct state state_of(void)
{
    struct state s;
    memset(&s, 0, sizeof s);
    memcpy(s.gpr, C->gpr, sizeof s.gpr);
    s.rip = C->rip;
    s.status = flags_status(C);
    s.mxcsr = C->mxcsr;
    memcpy(s.vec, C->vec, sizeof s.vec);
    for (unsigned i = 0; i < 8; i++) {      /* not the padding */
        s.x87.r[i].mant = C->x87.r[i].mant;
        s.x87.r[i].se = C->x87.r[i].se;
    }
    s.x87.cw = C->x87.cw;
    s.x87.sw = C->x87.sw;
    s.x87.empty = C->x87.empty;
    s.x87.fop = C->x87.fop;
    s.x87.fcs = C->x87.fcs;
    s.x87.fds = C->x87.fds;
    s.x87.fip = C->x87.fip;
    s.x87.fdp = C->x87.fdp;
    physmap_read(m.map, AREA, s.memory, AREA_BYTES);
    return s;
}

static char text[1000];

static void compare(const char *name, unsigned i, u64 a, u64 b)
{
    const size_t n = strlen(text);
    if (a != b && n + 100 < sizeof text)
        snprintf(text + n, sizeof text - n, " %s %u: %llx, translated %llx;", name, i, (unsigned long long)a, (unsigned long long)b);
}

/* Where they differ, "": nowhere. */
static const char *difference(const struct state *a, const struct state *b, u32 undefined)
{
    const struct x87 *x = &a->x87, *y = &b->x87;
    text[0] = 0;
    for (unsigned i = 0; i < 16; i++)
        compare("gpr", i, a->gpr[i], b->gpr[i]);
    for (unsigned i = 0; i < 64; i++)
        compare("quarter of ymm", i, a->vec[i / 4].q[i % 4], b->vec[i / 4].q[i % 4]);
    for (unsigned i = 0; i < 8; i++) {
        compare("significand of R", i, x->r[i].mant, y->r[i].mant);
        compare("sign and exponent of R", i, x->r[i].se, y->r[i].se);
    }
    const struct { const char *name; u64 a, b; } rest[] = {
        { "rip", a->rip, b->rip }, { "flags", a->status & ~undefined, b->status & ~undefined }, { "mxcsr", a->mxcsr, b->mxcsr },
        { "cw", x->cw, y->cw }, { "sw", x->sw, y->sw }, { "empty", x->empty, y->empty }, { "fop", x->fop, y->fop },
        { "fip", x->fip, y->fip }, { "fdp", x->fdp, y->fdp }, { "fcs", x->fcs, y->fcs }, { "fds", x->fds, y->fds },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rest); i++)
        compare(rest[i].name, 0, rest[i].a, rest[i].b);
    for (unsigned i = 0; i < AREA_BYTES; i++)
        compare("memory", i, a->memory[i], b->memory[i]);
    return text;
}

/* --- one case --------------------------------------------------------------------------------------------------------- */

static struct insn sequence[LONGEST];
static unsigned length, slot;
static unsigned units, refused;

/* The unit at C->rip; runs it. Why it left. */
static enum leave_reason run_unit(void)
{
    struct jit *j = jit_of(C);
    gpa pa;
    const u8 *host_bytes;
    ck_assert(mmu_fetch(&C->mmu, C->rip, C->mmu.view, &pa, &host_bytes));
    jit_prepare(j);
    struct code_unit *u = compile_unit(j, pa, host_bytes, unit_part(C, C->rip, C->rip));
    ck_assert_msg(u, "no unit");
    units++;
    return jit_enter(j, u);
}

static void describe(char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = 0;
    for (unsigned i = 0; i < length && n + 100 < size; i++) {
        insn_print(buf + n, size - n, &sequence[i], 0);
        strcat(buf + n, "; ");
        n += strlen(buf + n);
    }
}

/* The interpreter, up to where the unit has left. undefined: flags that are so there. */
static u32 interpret_to(u64 rip)
{
    u32 undefined = 0;
    for (unsigned i = 0; i < length && C->rip != rip; i++) {
        const struct insn_row *row = &insn_rows[sequence[i].row];
        cpu_step(C);
        undefined = (undefined & ~(u32)row->writes) | row->undef;
    }
    return undefined;
}

static void run_case(const struct state *start)
{
    char what[1024];
    state_load(start);
    describe(what, sizeof what);
    ck_assert_msg(run_unit() == LEAVE_STEP, "%s", what);    /* else it was too much for one unit */
    const struct state translated = state_of();
    refused += translated.rip == start->rip;
    state_load(start);
    const u32 undefined = interpret_to(translated.rip);
    const struct state interpreted = state_of();
    const char *differs = difference(&interpreted, &translated, undefined);
    ck_assert_msg(!*differs, "%s%s", what, differs);
}

/* Puts the instructions and a HLT into a fresh slot. */
static u64 place_sequence(u8 bytes[][16])
{
    u8 code_bytes[SLOT] = { 0 };
    const u32 at = SLOTS + SLOT * (slot++ % SLOT_COUNT);
    unsigned n = 0;
    for (unsigned i = 0; i < length; i++) {
        memcpy(code_bytes + n, bytes[i], sequence[i].len);
        n += sequence[i].len;
    }
    code_bytes[n] = 0xf4;
    physmap_write(m.map, at, code_bytes, SLOT);
    return at;
}

/* --- machines --------------------------------------------------------------------------------------------------------- */

static void units_on(void)
{
    C->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    C->cr0 = (C->cr0 | CR0_NE | CR0_MP) & ~(u64)(CR0_EM | CR0_TS);
    C->xcr0 = 7;
}

static void machine_long(void)
{
    machine_protected();
    put(TABLES, 8, (TABLES + 0x1000) | 3);
    put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 3);
    for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
        put(TABLES + 0x2000 + 8 * i, 8, (u64)i << 21 | 0x83);
    units_on();
    C->cr3 = TABLES;
    C->cr4 |= CR4_PAE;
    C->efer = EFER_LME | EFER_LMA;
    C->cr0 |= CR0_PG;
    C->seg[SEG_CS].attr = (u16)((C->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
    sysreg_refresh_mmu(C);
    segment_refresh(C);
    ck_assert_int_eq(C->code_size, 8);
}

static void machine_of(unsigned mode)
{
    char err[200];
    struct jit_options o;
    if (mode == 8)
        machine_long();
    else
        machine_protected();
    units_on();
    ck_assert(jit_options_parse(&o, NULL, err, sizeof err));
    o.check = 1;        /* steps leave, units end at their exits */
    o.super = 0;
    o.exactflags = 1;       /* else flags that nobody reads may be stale where a unit leaves in its middle */
    o.cache = 32;
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
    C->seg[SEG_DS].sel |= 3;        /* FDS tells */
    slot = units = refused = 0;
}

/* --- tests ------------------------------------------------------------------------------------------------------------ */

static unsigned accepted(unsigned mode, u16 *rows)
{
    unsigned n = 0;
    u8 bytes[16];
    for (unsigned row = 0; row < insn_row_count; row++) {
        struct insn in;
        for (unsigned i = 0; i < 8; i++)
            if (random_insn(row, mode, &in, bytes)) {
                rows[n++] = (u16)row;
                break;
            }
    }
    return n;
}

static u16 rows[2048];

START_TEST(every_row)
{
    machine_of(_i);
    const unsigned count = accepted(_i, rows);
    ck_assert_uint_gt(count, 250);
    length = 1;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < 12; k++) {
            u8 bytes[1][16];
            if (!random_insn(rows[i], _i, &sequence[0], bytes[0]))
                continue;
            struct state s = random_state();
            s.rip = place_sequence(bytes);
            run_case(&s);
        }
    }
    ck_assert_uint_lt(refused, units / 20);
    machine_free();
}
END_TEST

/* Does it define a base register? */
static bool moves_base(const struct insn *in)
{
    for (unsigned i = 0; i < 2; i++)
        if (in->op[i].kind == OP_GPR && (in->op[i].reg == GPR_RBX || in->op[i].reg == GPR_RSI || in->op[i].reg == GPR_RDI))
            return true;
    return false;
}

/* Only the area is restored: nothing may be stored elsewhere. */
static bool may_stray(unsigned k)
{
    bool moved = false;
    for (unsigned i = 0; i < k; i++)
        moved |= moves_base(&sequence[i]);
    return moved && (sequence[k].op[0].kind == OP_MEM);
}

/* Does it read flags that an earlier one has left undefined? */
static bool reads_undefined(unsigned k)
{
    u32 undefined = 0;
    for (unsigned i = 0; i < k; i++) {
        const struct insn_row *row = &insn_rows[sequence[i].row];
        undefined = (undefined & ~(u32)row->writes) | row->undef;
    }
    return insn_rows[sequence[k].row].reads & undefined;
}

START_TEST(sequences)
{
    machine_of(_i);
    const unsigned count = accepted(_i, rows);
    for (unsigned i = 0; i < 6000; i++) {
        u8 bytes[LONGEST][16];
        length = 2 + below(LONGEST - 1);
        const unsigned first = below(count);    /* rows that stand together belong together */
        for (unsigned k = 0; k < length;) {
            const unsigned r = coin() ? below(count) : (first + below(40)) % count;
            k += random_insn(rows[r], _i, &sequence[k], bytes[k]) && !may_stray(k) && !reads_undefined(k);
        }
        struct state s = random_state();
        s.rip = place_sequence(bytes);
        run_case(&s);
    }
    machine_free();
}
END_TEST

/* Each unusable state leaves the instruction to the interpreter. */
START_TEST(unusable)
{
    static const struct { const char *bytes; unsigned len; u64 cr0_set; u64 cr4_clear; u32 mxcsr; u16 cw, sw; } cases[] = {
        { "\x0f\x58\xc1", 3, 0, 0, 0x1f00, 0x37f, 0 },              /* addps, #I unmasked */
        { "\x0f\x58\xc1", 3, CR0_TS, 0, 0x1f80, 0x37f, 0 },
        { "\x0f\x58\xc1", 3, CR0_EM, 0, 0x1f80, 0x37f, 0 },
        { "\x0f\x58\xc1", 3, 0, CR4_OSFXSR, 0x1f80, 0x37f, 0 },
        { "\xc5\xf0\x58\xc2", 4, 0, CR4_OSXSAVE, 0x1f80, 0x37f, 0 },
        { "\xd8\xc1", 2, 0, 0, 0x1f80, 0x37e, 0 },
        { "\xd8\xc1", 2, CR0_TS, 0, 0x1f80, 0x37f, 0 },
        { "\xd8\xc1", 2, 0, 0, 0x1f80, 0x37f, 0x8080 },
        { "\x0f\xfc\xc1", 3, 0, 0, 0x1f80, 0x340, 0 },              /* paddb */
    };
    machine_of(8);
    length = 1;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        u8 bytes[1][16];
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes[0], cases[i].bytes, cases[i].len);
        ck_assert_int_eq(insn_decode(&sequence[0], bytes[0], 15, 8, NULL), DECODE_OK);
        if (!host_backend.can_insn(&sequence[0]))
            continue;           /* x87 and MMX, on some hosts */
        struct state s = random_state();
        s.mxcsr = cases[i].mxcsr;
        s.x87.cw = cases[i].cw;
        s.x87.sw = cases[i].sw;
        s.rip = place_sequence(bytes);
        const u64 cr0 = C->cr0, cr4 = C->cr4;
        C->cr0 |= cases[i].cr0_set;
        C->cr4 &= ~cases[i].cr4_clear;
        const unsigned before = refused;
        run_case(&s);
        ck_assert_uint_eq(refused, before + 1);
        C->cr0 = cr0;
        C->cr4 = cr4;
    }
    machine_free();
}
END_TEST

/* LDMXCSR and FLDCW: good values are loaded, those that unmask something are left alone. */
START_TEST(control_words)
{
    static const struct { u32 mxcsr; u16 cw; unsigned sse, x87; } cases[] = {
        { 0x1f80, 0x37f, 0, 0 }, { 0xffff, 0xfff, 0, 0 }, { 0x1fa5, 0x27f, 0, 0 }, { 0x1f00, 0x37e, 1, 1 }, { 0, 0, 1, 1 },
        { 0x11f80, 0x0c7f, 1, 0 },
    };
    machine_of(8);
    length = 2;
    for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        u8 bytes[2][16] = { { 0 } };
        const bool x87 = i & 1;
        memcpy(bytes[0], x87 ? "\xd9\x2b" : "\x0f\xae\x13", 3);                     /* [rbx] */
        memcpy(bytes[1], x87 ? "\xdc\xf9\x90\x90" : "\x66\x0f\x5e\xc1", 4);         /* fdiv, divpd */
        for (unsigned k = 0; k < 2; k++)
            ck_assert_int_eq(insn_decode(&sequence[k], bytes[k], 15, 8, NULL), DECODE_OK);
        if (!host_backend.can_insn(&sequence[0]))
            continue;
        struct state s = random_state();
        if (x87)
            memcpy(s.memory + (s.gpr[GPR_RBX] - AREA), &cases[i / 2].cw, 2);
        else
            memcpy(s.memory + (s.gpr[GPR_RBX] - AREA), &cases[i / 2].mxcsr, 4);
        s.rip = place_sequence(bytes);
        const unsigned before = refused;
        run_case(&s);
        ck_assert_uint_eq(refused - before, x87 ? cases[i / 2].x87 : cases[i / 2].sse);
    }
    machine_free();
}
END_TEST

int main(void)
{
    struct insn addps;
    if (insn_decode(&addps, (const u8 *)"\x0f\x58\xc1", 3, 8, NULL) != DECODE_OK || !host_backend.can_insn(&addps)) {
        printf("skipped: this host's translator leaves vectors and the x87 to the interpreter\n");
        return 77;
    }
    Suite *s = suite_create("insn_run");
    TCase *t = tcase_create("host");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_row, 8, 9);
    tcase_add_loop_test(t, every_row, 4, 5);
    tcase_add_loop_test(t, sequences, 8, 9);
    tcase_add_loop_test(t, sequences, 4, 5);
    tcase_add_test(t, unusable);
    tcase_add_test(t, control_words);
    suite_add_tcase(s, t);
    return run_suite(s);
}
