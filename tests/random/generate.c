/* generate.c - a random program: a walk through the CPU's modes with some pieces (pieces.c) in each; the assembler; random
 * instructions, which come from tests/native/encode.c and get their operands aimed at memory that is there.
 *
 * Registers: RSP is the stack's, RBP points into the data window; everything else is at random. Flags: what may be undefined is
 * tracked, and something that defines them is put in front of whatever would show them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/insn_table.h"
#include "tests/random/generate.h"

/* --- assembler --------------------------------------------------------------------------------------------------- */

static bool room(struct gen *g, unsigned n)
{
    if (g->at + n <= g->room_end && g->p->item_count < MAX_ITEMS)
        return true;
    g->failed = true;
    return false;
}

void gen_bytes(struct gen *g, const u8 *bytes, unsigned n)
{
    if (!room(g, n))
        return;
    memcpy(g->p->mem + g->at, bytes, n);
    g->p->item[g->p->item_count++] = (struct item){ g->at, (u8)n, (u8)g->bits };
    g->at += n;
}

static unsigned put(u8 *to, u64 v, unsigned bytes)
{
    memcpy(to, &v, bytes);
    return bytes;
}

static unsigned put_absolute(const struct gen *g, u8 *to, unsigned reg, u64 address)
{
    unsigned n = 0;
    to[n++] = (u8)(reg << 3 | (g->bits == 2 ? 6 : g->bits == 4 ? 5 : 4));
    if (g->bits == 8)
        to[n++] = 0x25;
    return n + put(to + n, address, g->bits == 2 ? 2 : 4);
}

void gen_op(struct gen *g, const char *format, const u64 *args)
{
    u8 b[40];
    unsigned n = 0;
    for (const char *s = format; *s && n < 24; ) {
        if (*s == ' ') {
            s++;
        } else if (!strncmp(s, "o32", 3) || !strncmp(s, "a32", 3)) {
            if (g->bits == 2)
                b[n++] = *s == 'o' ? 0x66 : 0x67;
            s += 3;
        } else if (!strncmp(s, "rexw", 4)) {
            if (g->bits == 8)
                b[n++] = 0x48;
            s += 4;
        } else if (*s == '/') {
            n += put_absolute(g, b + n, (unsigned)s[1] - '0', *args++);
            s += 2;
        } else if (*s == '%') {
            const char k = s[1];
            n += put(b + n, *args++, k == 'b' ? 1 : k == 'w' ? 2 : k == 'q' ? 8 : k == 'd' ? 4 : rel_bytes(g));
            s += 2;
        } else {
            const char hex[3] = { s[0], s[1], 0 };
            b[n++] = (u8)strtoul(hex, NULL, 16);
            s += 2;
        }
    }
    gen_bytes(g, b, n);
}

u32 gen_jump(struct gen *g, const char *opcode)
{
    char format[40];
    snprintf(format, sizeof(format), "%s %%z", opcode);
    OP(g, format, 0);
    return g->at;
}

void gen_land(struct gen *g, u32 jump)
{
    if (!g->failed)
        put(g->p->mem + jump - rel_bytes(g), g->at - jump, rel_bytes(g));
    gen_label(g);
}

void gen_jump_to(struct gen *g, const char *opcode, u32 target)
{
    const u32 j = gen_jump(g, opcode);
    if (!g->failed)
        put(g->p->mem + j - rel_bytes(g), target - j, rel_bytes(g));
}

void gen_label(struct gen *g) { g->undefined = EFL_STATUS; }

void gen_define_flags(struct gen *g, u32 wanted)
{
    if (!(g->undefined & wanted))
        return;
    if (one_in(2))
        OP(g, "04 %b", random_u64());       /* ADD AL, imm8 */
    else
        OP(g, "39 %b", 0xc0 | below(8) << 3 | below(8));        /* CMP */
    g->undefined = 0;
}

void gen_move(struct gen *g, unsigned reg, u64 v)
{
    if (reg < 8)
        OP(g, "o32 %b %d", 0xb8 + reg, v);
    else
        OP(g, "41 %b %d", 0xb8 + (reg & 7), v);
}

/* --- random instructions ----------------------------------------------------------------------------------------- */

enum group { INTEGER, VECTOR, X87, MMX, GROUPS };
static u16 rows[GROUPS][1400];
static unsigned row_count[GROUPS];

static const char *const left_out[] = {
    /* the host's or our own business, or aimed by pieces.c */
    "rdtsc", "rdtscp", "rdpmc", "rdrand", "rdseed", "rdpid", "xlat", "monitor", "mwait", "push", "pop", "pushf", "popf",
    "pusha", "popa", "push_sreg", "enter", "leave", "lds", "les", "lss", "lfs", "lgs", "wrfsbase", "wrgsbase", "bound",
    "maskmovq", "maskmovdqu", "ud0", "ud1", "ud2", "rsm", "str", "sidt", "sgdt", "sldt", "fwait",
    /* images with pointers to the last instruction, which translated code keeps only on demand; whole states */
    "fxsave", "fnsave", "fnstenv", "xsave", "xsavec", "xsaveopt", "xsaves", "fxrstor", "frstor", "fldenv", "xrstor",
    "xrstors", "fldcw", "ldmxcsr",
    /* partial completion */
    "vgatherdpd", "vgatherdps", "vgatherqpd", "vgatherqps", "vpgatherdd", "vpgatherdq", "vpgatherqd", "vpgatherqq",
    "int", "int1", "int3", "into", "lsl", "lar", "verr", "verw", "arpl", "invlpg", "cpuid", "xgetbv",
};

static bool listed(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(left_out); i++)
        if (!strcmp(left_out[i], name))
            return true;
    return false;
}

static void choose_rows(void)
{
    if (row_count[INTEGER])
        return;
    for (unsigned i = 0; i < insn_row_count; i++) {
        const struct insn_row *row = &insn_rows[i];
        if (row->attr & (ATTR_SYS | ATTR_BRANCH | ATTR_PRIV | ATTR_STRING) || listed(row->name) || !row->run)
            continue;
        const unsigned opcode = insn_encodings[i].opcode;
        if (opcode >= 0xa0 && opcode <= 0xa3)       /* addresses that are not in ModRM */
            continue;
        const enum group k = row->attr & ATTR_X87 ? X87 : row->attr & ATTR_MMX ? MMX : row->attr & ATTR_SSE ? VECTOR : INTEGER;
        if (row_count[k] < ARRAY_LEN(rows[k]))
            rows[k][row_count[k]++] = (u16)i;
    }
}

static enum group choose_group(void)
{
    const unsigned n = below(100);
    return n < 62 ? INTEGER : n < 82 ? VECTOR : n < 96 ? X87 : MMX;
}

/* Registers that must stay as they are, and results that the manual leaves undefined. */
static bool may_use(const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    for (unsigned i = 0; i < 4; i++)
        if (in->op[i].kind == OP_GPR && (in->op[i].reg == GPR_RSP || in->op[i].reg == GPR_RBP) && (i == 0 || row->run == NULL ||
            !strcmp(row->name, "xchg") || !strcmp(row->name, "xadd") || !strcmp(row->name, "mulx") ||
            !strcmp(row->name, "cmpxchg")))
            return false;
    if ((!strcmp(row->name, "shld") || !strcmp(row->name, "shrd") || !strcmp(row->name, "bswap")) && in->opsize == 2)
        return false;
    return !(in->modrm_mem && in->vsib);
}

static bool is_bit_test(const struct insn *in)
{
    const char *n = insn_rows[in->row].name;
    return !strcmp(n, "bt") || !strcmp(n, "bts") || !strcmp(n, "btr") || !strcmp(n, "btc");
}

/* An address that does what we want, mostly: in the window; sometimes on a page that faults. */
static u32 choose_address(const struct gen *g, const struct insn *in)
{
    static const u32 bad[] = { ABSENT, READ_ONLY, SUPERVISOR, LAZY, LAZY + 0x1000, LAZY + 0x3000, MAPPED_DATA, ALIAS + WINDOW };
    const unsigned align = insn_rows[in->row].attr & (ATTR_ALIGN | ATTR_VALIGN) && !one_in(30) ? 31 : one_in(3) ? 0 : 7;
    u32 a = WINDOW + 0x80 + below(WINDOW_END - WINDOW - 0x200);
    if (one_in(12))
        a = ((a + 0xfff) & 0xfff000) - below(24);
    a &= ~align;
    if (flat(g) && one_in(60))
        a = bad[below(ARRAY_LEN(bad))] + (one_in(4) ? 0xff8 : below(0x800) * 2);
    return flat(g) ? a : a - DATA;
}

/* Gives base and index registers values and the displacement its own, so that the operand is where we want it. False: this
 * form cannot be aimed. */
static bool aim(struct gen *g, struct test_case *t)
{
    struct insn *in = &t->in;
    const u32 want = choose_address(g, in);
    const bool has_base = in->base != GPR_NONE, has_index = in->index != GPR_NONE;
    const unsigned disp_size = t->disp_size;
    u32 index_value = 0;
    s64 disp = (s64)in->disp;

    if (flat(g) && in->addrsize == 2)
        return false;
    if (in->base == in->index && has_base)
        return false;
    if (has_index && (in->index == GPR_RBP || in->index == GPR_RSP))
        return false;
    if (disp_size == 0 && (in->base == GPR_RBP || in->base == GPR_RSP || !has_base))
        return in->addrsize == 2 || has_base;
    if (has_index) {
        index_value = below(64);
        gen_move(g, in->index, index_value);
    }
    if (is_bit_test(in) && in->op[1].kind == OP_GPR) {
        const unsigned reg = in->op[1].reg;
        if (reg == in->base || reg == GPR_RSP || reg == GPR_RBP)
            return false;
        if (reg != in->index)
            gen_move(g, reg, below(2) ? below(512) : (u64)0 - below(512));
    }
    index_value <<= in->scale;
    if (in->base == GPR_RBP) {
        if (disp_size > 1)
            disp = (s64)want - data_address(g, 0x2000) - index_value;
    } else if (in->base == GPR_RSP) {
        disp = disp_size == 1 ? 0x60 + below(4) * 8 : 0x200 + below(64) * 8;      /* beyond return addresses */
    } else if (in->base == GPR_RIP) {
        disp = (s64)want - (g->at + in->len);
    } else if (has_base) {
        gen_move(g, in->base, want - (u32)disp - index_value);
    } else {
        disp = (s64)want - index_value;
    }
    encode_put(t, t->disp_at, disp_size, (u64)disp);
    return true;
}

static void note_flags(struct gen *g, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    if (!(row->attr & ATTR_CONDFL))
        g->undefined &= ~(u32)row->writes;
    g->undefined |= row->undef;
    if (row->attr & ATTR_CONDFL && in->op[0].size < 4 && row->writes & EFL_CF)
        g->undefined |= EFL_CF;     /* counts beyond the operand's size */
    if (g->no_undefined)
        gen_define_flags(g, EFL_STATUS);
}

void gen_random(struct gen *g)
{
    struct test_case t = { .mode = g->bits };
    choose_rows();
    for (unsigned tries = 0; tries < 200; tries++) {
        const enum group k = choose_group();
        const u32 item = g->p->item_count, at = g->at;
        t.row = rows[k][below(row_count[k])];
        t.length = t.disp_size = t.disp_at = 0;
        memset(t.bytes, 0x90, sizeof(t.bytes));
        if (!encode_row(&t) || insn_decode(&t.in, t.bytes, 15, g->bits, NULL) != DECODE_OK || !may_use(&t.in) ||
            listed(insn_rows[t.in.row].name) || insn_rows[t.in.row].attr & (ATTR_SYS | ATTR_BRANCH | ATTR_PRIV | ATTR_STRING))
            continue;
        gen_define_flags(g, flags_read_by(&t.in));
        if (t.in.modrm_mem && !aim(g, &t)) {
            g->p->item_count = item;
            g->at = at;
            continue;
        }
        gen_bytes(g, t.bytes, t.in.len);
        note_flags(g, &t.in);
        return;
    }
}

void gen_randoms(struct gen *g, unsigned n)
{
    while (n--)
        gen_random(g);
}

/* --- from mode to mode ------------------------------------------------------------------------------------------- */

static void load_segments(struct gen *g, unsigned data, unsigned stack)
{
    static const u8 modrm[] = { 0xd8, 0xc0, 0xe0, 0xe8 };       /* DS ES FS GS, AX */
    OP(g, "b8 %z", stack);
    OP(g, "8e d0");
    gen_move(g, GPR_RSP, data_address(g, STACK - DATA));
    OP(g, "b8 %z", data);
    for (unsigned i = 0; i < ARRAY_LEN(modrm); i++)
        OP(g, "8e %b", modrm[i]);
}

static void set_cr0(struct gen *g, u32 set, u32 clear)
{
    OP(g, "0f 20 c0");
    OP(g, "o32 0d %d", set);
    OP(g, "o32 25 %d", ~clear);
    OP(g, "0f 22 c0");
}

static const u32 cr4_base = CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PGE;

static void set_cr4(struct gen *g, u32 v)
{
    gen_move(g, GPR_RAX, v);
    OP(g, "0f 22 e0");
}

static void set_msr(struct gen *g, u32 msr, u32 low, u32 high)
{
    gen_move(g, GPR_RCX, msr);
    gen_move(g, GPR_RAX, low);
    gen_move(g, GPR_RDX, high);
    OP(g, "0f 30");
}

static void load_task(struct gen *g, unsigned sel)
{
    OP(g, "c6 /0 %b", GDT + sel + 5, 0x89);
    OP(g, "66 b8 %w", sel);
    OP(g, "0f 00 d8");
}

static void change(struct gen *g, enum machine_mode mode, unsigned bits)
{
    g->mode = mode;
    g->bits = bits;
    gen_label(g);
}

static void real_to_32(struct gen *g)
{
    OP(g, "fa");
    OP(g, "31 c0");
    OP(g, "8e d8");
    OP(g, "66 0f 01 16 %w", POINTERS);
    OP(g, "66 0f 01 1e %w", POINTERS + 0x20);
    set_cr0(g, CR0_PE | CR0_NE | CR0_MP | CR0_WP | CR0_AM, CR0_EM | CR0_TS);
    OP(g, "66 ea %d %w", g->at + 8, GDT_CODE32);
    change(g, IN_PROT32, 4);
    load_segments(g, GDT_DATA_3, GDT_DATA);
    load_task(g, GDT_TSS32);
    set_cr4(g, cr4_base);
    gen_move(g, GPR_RCX, 0);
    gen_move(g, GPR_RDX, 0);
    gen_move(g, GPR_RAX, 7);
    OP(g, "0f 01 d1");
}

static void to_16(struct gen *g)
{
    OP(g, "ea %d %w", g->at + 7 - PROGRAM, GDT_CODE16);
    change(g, IN_PROT16, 2);
    load_segments(g, GDT_DATA16, GDT_DATA16);
}

static void from_32_to_real(struct gen *g)
{
    OP(g, "fa");
    OP(g, "0f 01 /3", POINTERS + 0x10);
    to_16(g);
    set_cr0(g, 0, CR0_PE);
    OP(g, "ea %w %w", here(g) + 5, PROGRAM >> 4);
    change(g, IN_REAL, 2);
    load_segments(g, DATA >> 4, DATA >> 4);
}

static void from_16_to_32(struct gen *g)
{
    OP(g, "66 ea %d %w", g->at + 8, GDT_CODE32);
    change(g, IN_PROT32, 4);
    load_segments(g, GDT_DATA_3, GDT_DATA);
}

static void paging_on(struct gen *g)
{
    g->paging = one_in(2) ? PAGING_32 : PAGING_PAE;
    set_cr4(g, cr4_base | (g->paging == PAGING_PAE ? CR4_PAE : CR4_PSE));
    gen_move(g, GPR_RAX, g->paging == PAGING_PAE ? PDPT_PAE : DIR32);
    OP(g, "0f 22 d8");
    set_cr0(g, CR0_PG, 0);
}

static void paging_off(struct gen *g)
{
    set_cr0(g, 0, CR0_PG);
    set_cr4(g, cr4_base);
    g->paging = PAGING_OFF;
}

static void from_32_to_long(struct gen *g)
{
    set_cr4(g, cr4_base | CR4_PAE);
    gen_move(g, GPR_RAX, PML4);
    OP(g, "0f 22 d8");
    set_msr(g, 0xc0000080, EFER_SCE | EFER_LME, 0);
    set_msr(g, 0xc0000081, 0, GDT_SYSCALL | GDT_CODE32_3 << 16);
    set_msr(g, 0xc0000082, HANDLERS64 + 0xf80, 0);
    set_msr(g, 0xc0000084, EFL_TF | EFL_IF | EFL_DF, 0);
    OP(g, "0f 01 /3", POINTERS + 0x30);
    set_cr0(g, CR0_PG, 0);
    OP(g, "ea %d %w", g->at + 7, GDT_CODE64);
    g->paging = PAGING_PAE;
    change(g, IN_LONG, 8);
    load_segments(g, GDT_DATA_3, GDT_DATA);
    load_task(g, GDT_TSS64);
    set_msr(g, 0xc0000100, one_in(2) ? 0 : 0x100, 0);
    set_msr(g, 0xc0000101, one_in(2) ? 0 : 0x2000, 0);
}

static void long_to_compat(struct gen *g)
{
    OP(g, "6a %b", g->user ? GDT_CODE32_3 : GDT_CODE32);
    OP(g, "68 %d", g->at + 7);
    OP(g, "48 cb");
    change(g, IN_COMPAT, 4);
}

static void compat_to_long(struct gen *g)
{
    OP(g, "ea %d %w", g->at + 7, g->user ? GDT_CODE64_3 : GDT_CODE64);
    change(g, IN_LONG, 8);
}

static void long_to_32(struct gen *g)
{
    OP(g, "fa");
    long_to_compat(g);
    set_cr0(g, 0, CR0_PG);
    set_msr(g, 0xc0000080, 0, 0);
    set_cr4(g, cr4_base);
    OP(g, "0f 01 /3", POINTERS + 0x20);
    g->paging = PAGING_OFF;
    change(g, IN_PROT32, 4);
    load_segments(g, GDT_DATA_3, GDT_DATA);
    load_task(g, GDT_TSS32);
}

static void to_user(struct gen *g)
{
    const unsigned cs = g->mode == IN_LONG ? GDT_CODE64_3 : GDT_CODE32_3;
    const u64 flags = 0x3002 | (one_in(2) ? EFL_IF : 0);
    OP(g, "6a %b", GDT_DATA_3);
    OP(g, "68 %d", STACK);
    OP(g, "68 %d", flags);
    OP(g, "6a %b", cs);
    OP(g, "68 %d", g->at + 5 + (g->bits == 8 ? 2 : 1));
    OP(g, g->bits == 8 ? "48 cf" : "cf");
    g->user = true;
    gen_label(g);
}

static void to_kernel(struct gen *g)
{
    OP(g, "cd %b", VECTOR_KERNEL);
    g->user = false;
    gen_label(g);
    gen_move(g, GPR_RSP, STACK);
}

static void step_32(struct gen *g)
{
    if (g->user) {
        to_kernel(g);
        return;
    }
    if (g->paging) {
        switch (below(3)) {
        case 0: paging_off(g); break;
        default: to_user(g); break;
        }
        return;
    }
    switch (below(10)) {
    case 0: from_32_to_real(g); break;
    case 1: to_16(g); break;
    case 2: case 3: case 4: paging_on(g); break;
    case 5: to_user(g); break;
    default: from_32_to_long(g); break;
    }
}

static void step_long(struct gen *g)
{
    if (one_in(3))
        long_to_compat(g);
    else if (g->user)
        to_kernel(g);
    else if (one_in(6))
        long_to_32(g);
    else
        to_user(g);
}

static void next_mode(struct gen *g)
{
    switch (g->mode) {
    case IN_REAL: real_to_32(g); break;
    case IN_PROT16: from_16_to_32(g); break;
    case IN_PROT32: step_32(g); break;
    case IN_LONG: step_long(g); break;
    case IN_COMPAT:
        if (one_in(2))
            compat_to_long(g);
        else if (g->user)
            to_kernel(g);
        else
            to_user(g);
        break;
    }
}

/* --- the program ------------------------------------------------------------------------------------------------- */

void gen_piece_start(struct gen *g, const char *name)
{
    static const u16 cs[] = { PROGRAM >> 4, GDT_CODE16, GDT_CODE32, GDT_CODE32, GDT_CODE64 };
    u16 sel = cs[g->mode];
    if (g->user)
        sel = g->mode == IN_LONG ? GDT_CODE64_3 : GDT_CODE32_3;
    if (g->p->piece_count < MAX_PIECES)
        g->p->piece[g->p->piece_count++] =
            (struct piece){ g->at, sel, g->mode == IN_REAL ? DATA >> 4 : g->mode == IN_PROT16 ? GDT_DATA16 :
                            g->user ? GDT_DATA_3 : GDT_DATA, name };
    OP(g, "e6 %b", PORT_PIECE);
    gen_move(g, GPR_RSP, data_address(g, STACK - DATA) - below(16) * 8);
    gen_move(g, GPR_RBP, data_address(g, WINDOW - DATA + 0x1000));
}

static void make_data(u8 *mem)
{
    for (u32 a = WINDOW; a < WINDOW_END; a += 128)
        random_fill(mem + a, 128, (enum fill)below(FILL_KINDS));
    for (u32 a = ABSENT; a < LAZY_END; a += 4096)
        random_fill(mem + a, 256, FILL_ANY);
}

static void choose_options(struct program *p)
{
    static const char *const switches[] = { "chain=off", "cross=off", "returns=off", "indirect=off", "liveness=off", "sites=off",
                                            "group=off", "super=off", "vec=off", "x87=off" };
    static const u8 self[] = { 0, 1, 1, 2, 2, 3 };      /* 1: all code checks itself */
    snprintf(p->options, sizeof(p->options), "hot=%u,hotter=%u,cache=8,self=%u,ripe=%u", 1 + below(3), 4 + below(60),
             self[below(ARRAY_LEN(self))], one_in(2) ? 0 : below(16));
    for (unsigned i = one_in(3) ? 1 + below(2) : 0; i; i--)
        snprintf(p->options + strlen(p->options), sizeof(p->options) - strlen(p->options), ",%s",
                 switches[below(ARRAY_LEN(switches))]);
    p->exactflags = below(2);
}

void generate(struct program *p, u64 seed)
{
    struct gen g = { .p = p, .at = PROGRAM, .room_end = PROGRAM_END, .near_functions = NEAR_FUNCTIONS, .functions = FUNCTIONS,
                     .table = 0x200, .mode = IN_REAL, .bits = 2, .turns = 1, .undefined = EFL_STATUS };
    random_seed(seed);
    random_seed(random_u64());      /* neighbours would be parts of one sequence */
    memset(p->mem, 0, RAM_BYTES);
    p->seed = seed;
    p->item_count = p->piece_count = 0;
    choose_options(p);
    layout_make(p->mem);
    make_data(p->mem);
    gen_piece_start(&g, "start");
    OP(&g, "db e3");            /* FNINIT: after reset no exception is masked */
    unsigned stations = 2 + below(7);
    for (unsigned s = 0; s < stations && g.at < PROGRAM_END - 0x3000; s++) {
        for (unsigned i = below(s < 2 ? 2 : 6); i && g.at < PROGRAM_END - 0x2800; i--) {
            g.turns = 1;
            gen_piece(&g);
        }
        next_mode(&g);
        gen_piece_start(&g, "station");
    }
    for (unsigned i = 1 + below(8); i && g.at < PROGRAM_END - 0x2800; i--) {
        g.turns = 1;
        gen_piece(&g);
    }
    OP(&g, "e6 %b", PORT_END);
}
