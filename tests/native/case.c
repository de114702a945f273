/* case.c - the state that an instruction starts from.
 *
 * Everything is random; then what the instruction reads is aimed: its memory operand at boundaries of pages and limits,
 * its stack and string pointers likewise, selectors at descriptors of every kind, floating-point operands near each
 * other or inside a function's domain.
 */
#include <string.h>

#include "cpu/interp.h"
#include "tests/native/native.h"

u8 case_memory[DATA_BYTES];

static bool is(const struct test_case *t, const char *name) { return !strcmp(case_name(t), name); }

static bool among(const struct test_case *t, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (is(t, names[i]))
            return true;
    return false;
}
#define AMONG(t, ...) among(t, (const char *const[]){ __VA_ARGS__ }, ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })))

/* Bytes at a linear address, as far as they lie in the data pages. */
static void poke(u64 at, const void *from, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        if (at + i - DATA_AT < DATA_BYTES)
            case_memory[at + i - DATA_AT] = ((const u8 *)from)[i];
}
static void poke_int(u64 at, unsigned bytes, u64 v) { poke(at, &v, bytes); }

/* --- registers ------------------------------------------------------------------------------------------------------
 */

static u16 pick_selector(void)
{
    static const u16 any[] = { 0,    3,    0x08, 0x10, 0x18, 0x1b, 0x23,   0x20, 0x2b, 0x28, 0x33, 0x30,
                               0x40, 0x43, 0x50, 0x60, 0x80, 0x83, 0xfff8, 0x2f, 0x37, 0x3f, 0x7c };
    if (one_in(2))
        return (u16)(LDT_SEL(below(LDT_COUNT + 1)) & ~(one_in(3) ? below(4) : 0));
    return any[below(ARRAY_LEN(any))];
}

/* For far transfers. From other modes to 64-bit code only with a flat stack (rules.c). */
static u16 pick_code_selector(const struct test_case *t)
{
    static const u16 codes[] = { SEL_CODE64, SEL_CODE32, LDT_SEL(LDT_CODE16), SEL_CODE64, SEL_CODE32 };
    const u16 sel = one_in(4) ? pick_selector() : codes[below(5)];
    return t->mode != 8 && (sel | 3) == SEL_CODE64 && t->before.sel[SEG_SS] != SEL_DATA ? SEL_CODE32 : sel;
}

static u16 pick_data_selector(void)
{
    static const u16 data[] = { SEL_DATA,
                                SEL_DATA,
                                LDT_SEL(LDT_DATA32),
                                LDT_SEL(LDT_DATA32),
                                LDT_SEL(LDT_DATA16),
                                LDT_SEL(LDT_READ_ONLY),
                                LDT_SEL(LDT_DOWN),
                                SEL_CODE32 };
    return one_in(24) ? 0 : data[below(ARRAY_LEN(data))];
}

static void random_segments(struct test_case *t)
{
    static const u16 stacks[2][5] = {
        { LDT_SEL(LDT_DATA16), LDT_SEL(LDT_DATA16), LDT_SEL(LDT_DATA16), SEL_DATA, LDT_SEL(LDT_DATA32) },
        { SEL_DATA, SEL_DATA, LDT_SEL(LDT_DATA32), LDT_SEL(LDT_DOWN), LDT_SEL(LDT_DATA16) },
    };
    static const u64 bases[] = { 0, DATA_AT, DATA_AT + 0x123, 0x7fff00000000, 0xffff900000000000 };
    struct native_state *s = &t->before;
    s->sel[SEG_CS] = t->mode == 8 ? SEL_CODE64 : t->mode == 4 ? SEL_CODE32 : LDT_SEL(LDT_CODE16);
    s->rip = t->mode == 2 ? CODE_OFFSET : CODE_AT;
    if (t->mode == 8) {
        s->sel[SEG_SS] = SEL_DATA;
        s->sel[SEG_FS] = one_in(2) ? 0 : LDT_SEL(LDT_DATA32);
        s->fsbase = bases[below(5)];
        s->gsbase = bases[below(5)];
        return;
    }
    s->sel[SEG_SS] = stacks[t->mode == 4][below(5)];
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (i != SEG_CS && i != SEG_SS)
            s->sel[i] = pick_data_selector();
}

static u64 segment_base(const struct test_case *t, unsigned seg)
{
    if (t->mode == 8)
        return seg == SEG_FS ? t->before.fsbase : seg == SEG_GS ? t->before.gsbase : 0;
    return guest_segment_base(t->before.sel[seg]);
}

static u64 random_flags(void)
{
    u64 f = EFL_1 | EFL_IF | (random_u64() & (EFL_STATUS | EFL_DF));
    if (one_in(8))
        f |= random_u64() & (EFL_NT | EFL_ID);
    if (one_in(24))
        f |= EFL_AC;
    return f;
}

/* --- x87, MXCSR, vectors -------------------------------------------------------------------------------------------
 */

static void put_st(struct native_state *s, unsigned i, struct f80 v) { memcpy(s->fx + FX_ST + 16 * i, &v, 10); }
static struct f80 get_st(const struct native_state *s, unsigned i)
{
    struct f80 v = { 0 };
    memcpy(&v, s->fx + FX_ST + 16 * i, 10);
    return v;
}

/* busy: for x87 instructions; else nothing may be pending, most of the time. */
static void random_x87(struct native_state *s, bool busy)
{
    static const u16 precision[8] = { 0x300, 0x300, 0x300, 0x300, 0x200, 0x200, 0, 0 };
    const bool masked = !busy || below(3);
    u16 cw = (u16)(0x40 | below(4) << 10 | precision[below(8)] | (masked ? 0x3f : below(64)));
    u16 sw = (u16)(random_u64() & 0x7f7f);
    if (!one_in(busy ? 12 : 60))
        sw &= (u16) ~(0x3f & ~cw);
    sw = (u16)((sw & 0x7f7f) | (sw & ~cw & 0x3f ? 0x8080 : 0));
    u8 valid = (u8)(one_in(8) ? random_u64() | random_u64() : 0xff);
    if (!one_in(4))
        valid &= (u8) ~(1 << (((sw >> 11) + 7) & 7)); /* room for a push */
    if (one_in(30))
        valid = (u8)random_u64();
    memcpy(s->fx + FX_FCW, &cw, 2);
    memcpy(s->fx + FX_FSW, &sw, 2);
    s->fx[FX_FTW] = valid;
    for (unsigned i = 0; i < 8; i++)
        put_st(s, i, random_f80());
}

/* Operands near each other, near integers, or inside the domain of the function. */
static void shape_x87(struct test_case *t)
{
    struct native_state *s = &t->before;
    struct f80 a = get_st(s, 0), b = get_st(s, 1);
    const u16 sign = a.se & 0x8000;
    if (AMONG(t, "f2xm1", "fyl2xp1", "fyl2x", "fsin", "fcos", "fsincos", "fptan") && !one_in(8)) {
        if (is(t, "f2xm1"))
            a.se = (u16)(sign | (0x3ffe - below(one_in(2) ? 6 : 80)));
        else if (is(t, "fyl2xp1"))
            a.se = (u16)(sign | (0x3ffc - below(one_in(2) ? 6 : 80)));
        else if (is(t, "fyl2x"))
            a.se &= 0x7fff;
        else
            a.se = (u16)(sign | (0x3ffe - below(one_in(2) ? 4 : 70)));
        a.mant |= (u64)1 << 63;
    }
    if (AMONG(t, "fprem", "fprem1") && one_in(2))
        a.se = (u16)(sign | ((b.se + below(160) - 40) & 0x7fff));
    if (is(t, "fscale") && one_in(2))
        b.se = (u16)((b.se & 0x8000) | (0x3fff - 2 + below(20)));
    if (one_in(4))
        b = (struct f80){ a.mant + below(3) - 1, (u16)(a.se ^ (below(2) << 15)) };
    put_st(s, 0, a);
    put_st(s, 1, b);
}

static enum fill vector_kind(const struct test_case *t)
{
    const char *name = case_name(t);
    if (!strcmp(name, "vcvtph2ps"))
        return FILL_F16;
    if (!strncmp(name, "cvtsi", 5) || !strncmp(name, "cvtpi", 5) || !strncmp(name, "cvtdq", 5))
        return FILL_INTEGERS;
    return (enum fill)below(FILL_KINDS);
}

static u32 random_mxcsr(void)
{
    u32 v = (one_in(3) ? (u32)below(64) << 7 : 0x1f80) | (u32)below(4) << 13 | (random_u64() & 0x3f);
    if (one_in(3))
        v |= (u32)(random_u64() & 0x8040);
    return one_in(4) ? 0x1fa0 : v;
}

static void random_vectors(struct test_case *t, enum fill kind)
{
    struct native_state *s = &t->before;
    const u32 mxcsr = random_mxcsr();
    memcpy(s->fx + FX_MXCSR, &mxcsr, 4);
    random_fill(s->fx + FX_XMM, 256, kind);
    random_fill(s->ymmh, 256, kind);
    for (unsigned n = below(4); n; n--) { /* lanes near or opposite to another register's */
        u8 *a = s->fx + FX_XMM + 16 * below(16), *b = s->fx + FX_XMM + 16 * below(16);
        memcpy(a, b, 16);
        a[below(16)] ^= (u8)(one_in(2) ? 0x80 : 1);
    }
}

/* --- memory operands ------------------------------------------------------------------------------------------------
 */

/* A linear address for an operand of n bytes: aligned in most cases; across the ends of pages and limits. */
static u64 pick_target(unsigned n)
{
    static const u64 wild[] = {
        0,          0x7fffffffffe0, 0x800000000000, 0x8000000000000000, 0xffff7fffffffffff, 0xffffffffffffffe0,
        0xfffffff8, 0xfffc
    };
    const u64 page = DATA_AT + below(4) * PAGE_SIZE;
    switch (below(16)) {
    case 0:
        return page - below(n + 1);
    case 1:
        return page - 32 + below(40);
    case 2:
        return DATA_AT + below(DATA_BYTES + 256);
    case 3:
        return DATA_AT + below(2 * PAGE_SIZE - 1024);
    case 4:
        return DATA_AT + 0x17f6 - below(n + 2) + 1;
    case 5:
        return DATA_AT + 0x07f4 + below(3);
    case 6:
        return one_in(8) ? wild[below(ARRAY_LEN(wild))] : DATA_AT + 2 * PAGE_SIZE + below(PAGE_SIZE - n);
    default:
        return DATA_AT + below(2 * PAGE_SIZE / 64 - 16) * 64;
    }
}

static unsigned memory_size(const struct insn *in)
{
    for (unsigned i = 0; i < 4; i++)
        if (in->op[i].kind == OP_MEM)
            return in->op[i].size ? in->op[i].size : 32;
    return 8;
}

static void put_address_register(struct test_case *t, unsigned reg, u64 v, unsigned size)
{
    u64 *r = &t->before.gpr[reg];
    *r = size == 8 ? v : size == 4 ? (*r & ~(u64)0xffffffff) | (u32)v : (*r & ~(u64)0xffff) | (u16)v;
    if (t->mode != 8)
        *r = (u32)*r;
}

static bool redecode(struct test_case *t, const u64 *features)
{
    return insn_decode(&t->in, t->bytes, 15, t->mode, features) == DECODE_OK;
}

/* Chooses registers, or the displacement, so that the operand lies at t->target. */
static bool aim(struct test_case *t, const u64 *features)
{
    struct insn *in = &t->in;
    const u64 want = t->target - segment_base(t, in->seg);
    u64 *gpr = t->before.gpr;
    if (in->base == GPR_NONE && in->index == GPR_NONE) {
        if (!t->disp_size) /* moffs: the last bytes */
            t->disp_at = in->len - in->addrsize, t->disp_size = in->addrsize;
        encode_put(t, t->disp_at, t->disp_size, want);
        return redecode(t, features);
    }
    if (in->base == GPR_RIP) {
        encode_put(t, t->disp_at, 4, t->target - (CODE_AT + in->len) - segment_base(t, in->seg));
        return redecode(t, features);
    }
    if (in->vsib) {
        put_address_register(t, in->base == GPR_NONE ? 0 : in->base, want - in->disp, in->addrsize);
        return true;
    }
    if (in->base == GPR_NONE)
        put_address_register(t, in->index, (want - in->disp) >> in->scale, in->addrsize);
    else if (in->base == in->index)
        put_address_register(t, in->base, (want - in->disp) / (1 + (1u << in->scale)), in->addrsize);
    else
        put_address_register(t, in->base,
                             want - in->disp -
                                 (gpr[in->index == GPR_NONE ? 0 : in->index] << in->scale) * (in->index != GPR_NONE),
                             in->addrsize);
    return true;
}

static u64 operand_address(const struct test_case *t)
{
    const struct insn *in = &t->in;
    u64 regs[GPR_COUNT] = { 0 };
    memcpy(regs, t->before.gpr, sizeof(t->before.gpr));
    regs[GPR_RIP] = CODE_AT + in->len;
    u64 ea = regs[in->base] + (in->vsib ? 0 : regs[in->index] << in->scale) + in->disp;
    ea = in->addrsize == 8 ? ea : in->addrsize == 4 ? (u32)ea : (u16)ea;
    ea += segment_base(t, in->seg);
    return t->mode == 8 ? ea : (u32)ea;
}

/* Small indices, sometimes one that is far out; as doublewords and as quadwords. */
static void random_indices(struct test_case *t)
{
    const bool qwords = one_in(2);
    s32 v[8];
    for (unsigned i = 0; i < 8; i++) {
        const s32 x = (s32)below(96) - 48;
        v[i] = !qwords ? x : i & 1 ? -(v[i - 1] < 0) : x;
    }
    if (one_in(4))
        v[below(8)] = one_in(2) ? 0x7fffffff : (s32)(DATA_BYTES >> t->in.scale);
    memcpy(t->before.fx + FX_XMM + 16 * (t->in.index & 15), v, 16);
    memcpy(t->before.ymmh[t->in.index & 15], v + 4, 16);
}

/* A segment with 16-bit offsets reaches the data only through a base. */
static void near_segment(struct test_case *t, unsigned seg)
{
    if (t->mode != 8 && t->in.addrsize == 2 && seg != SEG_CS && !one_in(4))
        t->before.sel[seg] = LDT_SEL(seg == SEG_SS || one_in(2) ? LDT_DATA16 : LDT_DATA32);
}

static void fill_operand(struct test_case *t, enum fill kind)
{
    const char *name = case_name(t);
    const unsigned n = memory_size(&t->in);
    u8 window[128];
    random_fill(window, sizeof(window), kind);
    if (case_row(t)->attr & ATTR_X87) {
        const struct f80 x = random_f80();
        const u64 d = random_f64(), i = (u64)((s64)random_u64() >> below(64));
        const u32 f = random_f32();
        if (name[1] == 'i')
            memcpy(window, &i, 8);
        else if (n == 4)
            memcpy(window, &f, 4);
        else if (n == 8)
            memcpy(window, &d, 8);
        else if (n == 10 && name[1] != 'b')
            memcpy(window, &x.mant, 8), memcpy(window + 8, &x.se, 2);
        else if (n == 10 && one_in(2)) /* packed BCD without bad digits */
            for (unsigned k = 0; k < 9; k++)
                window[k] = (u8)(below(10) << 4 | below(10));
    }
    poke(t->operand, window, n > 64 ? 128 : n + 32);
}

static bool place_memory(struct test_case *t, const u64 *features, enum fill kind)
{
    struct insn *in = &t->in;
    bool memory = in->modrm_mem;
    for (unsigned i = 0; i < 4; i++)
        memory |= in->op[i].kind == OP_MEM;
    if (!memory)
        return true;
    near_segment(t, in->seg);
    t->target = pick_target(memory_size(in));
    if (segment_base(t, in->seg) >> 40 && t->target - DATA_AT > DATA_BYTES)
        t->target = DATA_AT + below(0x1f00);
    if (in->vsib) {
        random_indices(t);
        t->target = DATA_AT + DATA_BYTES / 2 + below(64);
        if (segment_base(t, in->seg) >> 40)
            return false;
    }
    if (!aim(t, features))
        return false;
    t->operand = operand_address(t);
    fill_operand(t, kind);
    return true;
}

/* --- instructions that need more ------------------------------------------------------------------------------------
 */

static unsigned stack_size(const struct test_case *t)
{
    const u16 ss = t->before.sel[SEG_SS];
    return t->mode == 8 ? 8 : ss == LDT_SEL(LDT_DATA16) ? 2 : 4;
}

static u64 random_code_offset(const struct test_case *t)
{
    if (one_in(4))
        return t->before.rip + below(200) - 100;
    return t->mode == 8 && one_in(2) ? random_u64() >> (17 + below(40)) : random_u64() >> (32 + below(32));
}

/* A stack pointer in the data, with return addresses, selectors and flags above it. */
static void place_stack(struct test_case *t)
{
    const unsigned size = stack_size(t), slot = t->in.opsize;
    const u64 base = t->mode == 8 ? 0 : guest_segment_base(t->before.sel[SEG_SS]);
    const u64 top = one_in(6) ? pick_target(8) : DATA_AT + 0x900 + below(0x400) * 4;
    put_address_register(t, GPR_RSP, top - base, size);
    for (unsigned i = 0; i < 12; i++) {
        u64 v = random_integer();
        if (i == 0 && !AMONG(t, "pop", "popf", "popa", "leave", "pop_sreg"))
            v = random_code_offset(t);
        if (i == 0 && is(t, "pop_sreg"))
            v = pick_selector();
        if (i == 0 && is(t, "popf"))
            v = random_u64() & ~(u64)EFL_TF;
        poke_int(top + i * slot, slot, v);
    }
    if (AMONG(t, "ret_far", "iret")) {
        poke_int(top + slot, slot, pick_code_selector(t));
        if (is(t, "iret")) {
            poke_int(top + 2 * slot, slot, random_u64() & ~(u64)EFL_TF);
            poke_int(top + 3 * slot, slot, DATA_AT + below(4096));
            poke_int(top + 4 * slot, slot, one_in(4) ? pick_selector() : SEL_DATA);
        }
    }
    if (AMONG(t, "enter", "leave"))
        put_address_register(t, GPR_RBP, (one_in(6) ? pick_target(8) : DATA_AT + 0x900 + below(0x400) * 4) - base,
                             size);
}

static void place_strings(struct test_case *t)
{
    const struct insn *in = &t->in;
    u64 *gpr = t->before.gpr;
    near_segment(t, in->seg);
    near_segment(t, SEG_ES);
    const u64 count = one_in(4) ? below(600) : below(40);
    const u64 from = one_in(4) ? pick_target(8) : DATA_AT + 0x800 + below(0x1000);
    u64 to = one_in(4) ? pick_target(8) : one_in(2) ? from + below(41) - 20 : DATA_AT + 0x800 + below(0x1000);
    put_address_register(t, GPR_RSI, from - segment_base(t, in->seg), in->addrsize);
    put_address_register(t, GPR_RDI, to - segment_base(t, SEG_ES), in->addrsize);
    put_address_register(t, GPR_RCX, count, in->addrsize);
    if (one_in(2)) { /* runs of equal elements */
        u8 run[256];
        memset(run, (int)gpr[GPR_RAX] & 0xff, sizeof(run));
        poke(from - 128, run, sizeof(run));
        poke(to - 128, run, sizeof(run));
    }
    t->step = in->rep && one_in(16);
}

/* FXRSTOR, XRSTOR and their kin: an image that is valid most of the time. */
static void place_image(struct test_case *t)
{
    static const u8 zero[64];
    const u64 at = t->operand;
    u64 in_use = below(8), compacted = 0;
    u8 image[832];
    random_fill(image, sizeof(image), FILL_ANY);
    poke(at, image, sizeof(image));
    poke_int(at + FX_MXCSR, 4, (random_u64() & 0xffff) | (one_in(8) ? 1u << (18 + below(14)) : 0));
    if (is(t, "ldmxcsr"))
        poke_int(at, 4, (random_u64() & 0xffff) | (one_in(8) ? 1u << (18 + below(14)) : 0));
    for (unsigned i = 0; i < 8; i++) {
        const struct f80 v = random_f80();
        poke(at + FX_ST + 16 * i, &v.mant, 8);
        poke(at + FX_ST + 16 * i + 8, &v.se, 2);
    }
    if (one_in(2)) {
        compacted = (u64)1 << 63 | in_use | below(8);
        if (one_in(8))
            compacted &= ~(u64)(1 << below(3));
    }
    if (one_in(12))
        in_use |= (u64)1 << 62;
    poke(at + 512, zero, 64);
    poke_int(at + 512, 8, in_use);
    poke_int(at + 520, 8, compacted);
    if (one_in(12))
        poke_int(at + 528 + below(48), 1, 1);
    t->before.gpr[GPR_RAX] = below(8);
    t->before.gpr[GPR_RDX] = 0;
}

static void place_integer(struct test_case *t)
{
    struct native_state *s = &t->before;
    const struct insn *in = &t->in;
    if (AMONG(t, "bt", "bts", "btr", "btc") && in->modrm_mem && in->op[1].kind == OP_GPR && in->op[1].reg != in->base &&
        in->op[1].reg != in->index)
        s->gpr[in->op[1].reg] = (u64)(s64)(s16)random_u64() & (t->mode == 8 ? ~(u64)0 : 0xffffffff);
    if (AMONG(t, "div", "idiv") && one_in(2))
        s->gpr[GPR_RDX] = one_in(2) ? 0 : (u64)((s64)s->gpr[GPR_RAX] >> 63);
    if (is(t, "xlat"))
        put_address_register(t, GPR_RBX, pick_target(1) - segment_base(t, in->seg), in->addrsize);
    if (AMONG(t, "maskmovq", "maskmovdqu")) /* unselected bytes may fault or not (SDM 2B): inside the data */
        put_address_register(t, GPR_RDI, DATA_AT + below(0x1fc0) - segment_base(t, in->seg), in->addrsize);
    if (is(t, "cmpxchg") && one_in(2)) {
        if (in->modrm_mem)
            poke_int(t->operand, 8, s->gpr[GPR_RAX]);
        else
            s->gpr[GPR_RAX] = s->gpr[in->op[0].reg & 15];
    }
    if (AMONG(t, "cmpxchg8b", "cmpxchg16b") && one_in(2)) {
        const unsigned half = is(t, "cmpxchg8b") ? 4 : 8;
        poke_int(t->operand, half, s->gpr[GPR_RAX]);
        poke_int(t->operand + half, half, s->gpr[GPR_RDX]);
    }
    if (is(t, "into"))
        s->rflags &= ~(u64)EFL_OF;
    if (AMONG(t, "lar", "lsl", "verr", "verw", "mov_sreg", "arpl")) {
        const unsigned from = is(t, "verr") || is(t, "verw") ? 0 : 1;
        if (in->op[from].kind == OP_GPR)
            s->gpr[in->op[from].reg] = pick_selector() | (random_u64() << 16 & (t->mode == 8 ? ~(u64)0 : 0xffffffff));
        else if (in->modrm_mem)
            poke_int(t->operand, 2, pick_selector());
    }
    if (AMONG(t, "lds", "les", "lss", "lfs", "lgs"))
        poke_int(t->operand + in->opsize, 2, pick_selector());
    if (AMONG(t, "call_far", "jmp_far") && in->modrm_mem) {
        poke_int(t->operand, in->opsize, random_code_offset(t));
        poke_int(t->operand + in->opsize, 2, pick_code_selector(t));
    } else if (AMONG(t, "call_far", "jmp_far")) {
        encode_put(t, in->len - 2u, 2, pick_code_selector(t));
        encode_put(t, in->len - 2u - in->opsize, in->opsize > 4 ? 4 : in->opsize, random_code_offset(t));
    }
    if (AMONG(t, "jmp", "call") && in->op[0].kind == OP_GPR)
        s->gpr[in->op[0].reg] = random_code_offset(t) & (t->mode == 8 ? ~(u64)0 : 0xffffffff);
    if (AMONG(t, "jmp", "call") && in->modrm_mem)
        poke_int(t->operand, 8, random_code_offset(t));
}

static const char *const stack_users[] = { "push",     "pop",       "pushf",    "popf",  "pusha",
                                           "popa",     "push_sreg", "pop_sreg", "call",  "ret",
                                           "call_far", "ret_far",   "iret",     "enter", "leave" };
static const char *const images[] = { "fxsave",  "fxrstor", "xsave",  "xrstor",  "xsaveopt", "xsavec",
                                      "ldmxcsr", "fldenv",  "frstor", "fnstenv", "fnsave" };

/* --- the whole -------------------------------------------------------------------------------------------------------
 */

static void random_base_memory(void)
{
    static bool done;
    static u8 base[DATA_BYTES];
    if (!done) {
        const u64 keep = random_u64();
        random_seed(1);
        for (unsigned i = 0; i < DATA_BYTES; i += 64)
            random_fill(base + i, 64, (enum fill)below(FILL_KINDS));
        random_seed(keep);
        done = true;
    }
    memcpy(case_memory, base, DATA_BYTES);
}

static void random_state(struct test_case *t, enum fill kind)
{
    struct native_state *s = &t->before;
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = t->mode == 8 ? random_integer() : (u32)random_integer();
    if (t->mode != 8)
        memset(s->gpr + 8, 0, 64);
    s->rflags = random_flags();
    random_segments(t);
    random_x87(s, t->status == DECODE_OK && case_row(t)->attr & (ATTR_X87 | ATTR_MMX));
    random_vectors(t, kind);
}

bool case_make(struct test_case *t, const u64 *features)
{
    static const u64 mixer = 0x9e3779b97f4a7c15;
    random_base_memory();
    random_seed((t->number * mixer ^ (u64)t->row << 40 ^ (u64)t->mode << 60) * mixer);
    t->length = t->disp_size = t->disp_at = 0;
    t->target = t->operand = 0;
    t->step = false;
    memset(&t->in, 0, sizeof(t->in));
    memset(t->bytes, 0x90, sizeof(t->bytes));
    if (t->row == ANY_ROW)
        encode_any(t);
    else if (!encode_row(t))
        return false;
    t->status = insn_decode(&t->in, t->bytes, 15, t->mode, features);
    const bool ok = t->status == DECODE_OK;
    const enum fill kind = ok ? vector_kind(t) : FILL_ANY;
    random_state(t, kind);
    if (ok) {
        if (among(t, stack_users, ARRAY_LEN(stack_users)))
            place_stack(t);
        if (!place_memory(t, features, kind))
            return false;
        if (case_row(t)->attr & ATTR_STRING)
            place_strings(t);
        if (case_row(t)->attr & ATTR_X87)
            shape_x87(t);
        if (among(t, images, ARRAY_LEN(images)))
            place_image(t);
        place_integer(t);
        if (!redecode(t, features))
            return false;
        if (t->in.modrm_mem)
            t->operand = operand_address(t);
        t->step |= (case_row(t)->attr & ATTR_BRANCH) != 0; /* wherever it goes, no further */
        t->length = t->in.len;
        interp_prepare(&t->in);
    } else {
        t->length = 15;
    }
    return rules_may_run(t);
}
