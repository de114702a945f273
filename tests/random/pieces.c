/* pieces.c - the pieces of a random program. Each starts with OUT (so a difference is found soon), a stack and a data
 * pointer that are right, and does one thing that translators get wrong.
 */
#include <stdio.h>
#include <string.h>

#include "tests/random/generate.h"

enum { COUNTERS = 0x100, SCRATCH = 0x140, TABLES_END = 0xf00, TURNS_MAX = 900 };

static void sequence(struct gen *g);

static void store_flags(struct gen *g)
{
    gen_define_flags(g, EFL_STATUS);
    OP(g, "9c");
    OP(g, "58");        /* POP rAX */
}

static unsigned some_register(void)
{
    static const u8 free[] = { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSI, GPR_RDI };
    return free[below(6)];
}

/* --- control flow ------------------------------------------------------------------------------------------------ */

static void p_straight(struct gen *g) { gen_randoms(g, 4 + below(30)); }

static unsigned choose_turns(struct gen *g)
{
    const unsigned most = TURNS_MAX / g->turns;
    unsigned n = one_in(3) ? 2 + below(4) : one_in(3) ? 300 + below(300) : 8 + below(60);
    if (n > most)
        n = most;
    return n ? n : 1;
}

static void p_loop(struct gen *g)
{
    const u32 counter = data_address(g, COUNTERS + g->depth * 8);
    const unsigned turns = choose_turns(g), before = g->turns;
    OP(g, "o32 c7 /0 %d", counter, turns);
    const u32 top = g->at;
    gen_label(g);
    g->depth++;
    g->turns *= turns;
    if (turns > 50)
        gen_randoms(g, 1 + below(10));
    else
        sequence(g);
    g->depth--;
    g->turns = before;
    OP(g, "o32 ff /1", counter);
    gen_jump_to(g, "0f 85", top);
    g->undefined = 0;
}

/* LOOP and JCXZ: the body keeps its hands off the counter. */
static void p_loop_instruction(struct gen *g)
{
    const unsigned turns = choose_turns(g);
    gen_move(g, GPR_RCX, turns);
    const u32 top = g->at;
    gen_label(g);
    for (unsigned i = 1 + below(6); i; i--) {
        static const u8 ops[] = { 0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31 };
        const unsigned reg = some_register();
        OP(g, "%b %b", ops[below(7)], 0xc0 | below(8) << 3 | (reg == GPR_RCX ? GPR_RAX : reg));
        g->undefined = 0;
    }
    OP(g, "%b %b", below(3) ? 0xe2 : 0xe0 + below(2), top - (g->at + 2));
    gen_label(g);
}

/* Short forward branches over a few instructions. */
static void p_branches(struct gen *g)
{
    for (unsigned i = 1 + below(6); i; i--) {
        char opcode[12];
        snprintf(opcode, sizeof(opcode), "0f %02x", 0x80 + below(16));
        gen_define_flags(g, EFL_STATUS);
        const u32 j = gen_jump(g, opcode);
        gen_randoms(g, 1 + below(4));
        gen_land(g, j);
    }
}

/* Switches to free space for a function; returns where to come back to. */
struct place { u32 at, end; };
static struct place function_begin(struct gen *g)
{
    const struct place back = { g->at, g->room_end };
    u32 *space = flat(g) && !one_in(4) ? &g->functions : &g->near_functions;
    if (one_in(3))          /* across a page's end */
        *space = ((*space + 0xfff) & 0xfffff000) - 1 - below(20);
    g->at = *space;
    g->room_end = space == &g->functions ? FUNCTIONS_END : FUNCTIONS;
    gen_label(g);
    return back;
}

static void function_end(struct gen *g, struct place back)
{
    if (g->room_end == FUNCTIONS_END)
        g->functions = g->at + below(40);
    else
        g->near_functions = g->at + below(40);
    g->at = back.at;
    g->room_end = back.end;
    gen_label(g);
}

static bool functions_full(const struct gen *g)
{
    return g->functions > FUNCTIONS_END - 0x1800 || g->near_functions > FUNCTIONS - 0x1000;
}

enum leaving { RET_PLAIN, RET_POP, RET_JUMP, RET_SKIP, RET_COUNT };

/* A function of some instructions; `level` more below it. Returns its address. */
static u32 make_function(struct gen *g, unsigned level)
{
    u32 callee = 0;
    if (level)
        callee = make_function(g, level - 1);
    const struct place back = function_begin(g);
    const u32 start = g->at;
    gen_randoms(g, 1 + below(5));
    if (callee) {
        gen_jump_to(g, "e8", callee);
        gen_label(g);
        if (one_in(2))
            gen_randoms(g, below(3));
        if (one_in(3))
            gen_jump_to(g, "e8", callee);
    }
    switch (below(6)) {
    case RET_POP:           /* the return address goes by way of a register */
        OP(g, "5b");
        OP(g, "ff e3");
        break;
    case RET_JUMP:
        OP(g, "5a");
        OP(g, "52");
        OP(g, "c3");
        break;
    case RET_COUNT:
        OP(g, "c2 %w", below(4) * 8);
        break;
    default:
        OP(g, "c3");
    }
    function_end(g, back);
    return start;
}

static void p_call(struct gen *g)
{
    if (functions_full(g))
        return;
    const u32 f = make_function(g, below(4)), turns = one_in(2) ? 1 : choose_turns(g) / 4 + 1;
    const u32 counter = data_address(g, COUNTERS + 0x30);
    OP(g, "o32 c7 /0 %d", counter, turns);
    const u32 top = g->at;
    gen_label(g);
    if (one_in(2)) {
        gen_jump_to(g, "e8", f);
    } else {
        gen_move(g, GPR_RBX, f - code_base(g));
        OP(g, "ff d3");
    }
    gen_move(g, GPR_RSP, data_address(g, STACK - DATA) - 64);       /* RET n */
    OP(g, "o32 ff /1", counter);
    gen_jump_to(g, "0f 85", top);
    gen_label(g);
}

/* A stack of return addresses that nobody called for; a return into the middle of things. */
static void p_odd_returns(struct gen *g)
{
    u32 at[4];
    const unsigned n = 2 + below(3), counter = data_address(g, COUNTERS + 0x38);
    OP(g, "o32 c7 /0 %d", counter, 1 + choose_turns(g) / 8);
    const u32 top = g->at;
    gen_label(g);
    gen_move(g, GPR_RSP, data_address(g, STACK - DATA) - 64);
    for (unsigned i = 0; i < n; i++) {
        OP(g, g->bits == 2 ? "68 %w" : "68 %d", 0);
        at[i] = g->at;
    }
    OP(g, "c3");
    for (unsigned i = n; i--;) {
        if (!g->failed) {
            const u32 target = here(g);
            memcpy(g->p->mem + at[i] - rel_bytes(g), &target, rel_bytes(g));
        }
        gen_label(g);
        gen_randoms(g, 1 + below(3));
        if (i)
            OP(g, "c3");
    }
    OP(g, "o32 ff /1", counter);
    gen_jump_to(g, "0f 85", top);
    gen_label(g);
}

/* JMP through a table, the index changes from turn to turn. */
static void p_table(struct gen *g)
{
    const unsigned cases = 2u << below(3), slot = g->bits == 2 ? 2 : g->bits, counter = data_address(g, COUNTERS + 0x20);
    const u32 table = g->table;
    u32 out[8];
    if (table + cases * slot > TABLES_END)
        return;
    g->table += cases * slot;
    OP(g, "o32 c7 /0 %d", counter, 4 + choose_turns(g) / 4);
    const u32 top = g->at;
    gen_label(g);
    OP(g, "o32 8b /3", counter);                        /* MOV EBX */
    OP(g, "o32 83 e3 %b", cases - 1);
    if (g->bits == 2) {
        OP(g, "01 db");
        OP(g, "ff a7 %w", table);       /* JMP [BX + table] */
    }
    if (g->bits == 4)
        OP(g, "ff 24 9d %d", DATA + table);
    if (g->bits == 8)
        OP(g, "ff 24 dd %d", DATA + table);
    for (unsigned i = 0; i < cases; i++) {
        const u64 target = here(g);
        if (!g->failed)
            memcpy(g->p->mem + DATA + table + i * slot, &target, slot);
        gen_label(g);
        gen_randoms(g, 1 + below(3));
        out[i] = gen_jump(g, "e9");
    }
    for (unsigned i = 0; i < cases; i++)
        gen_land(g, out[i]);
    OP(g, "o32 ff /1", counter);
    gen_jump_to(g, "0f 85", top);
    gen_label(g);
}

/* Goes on right in front of a page's end, so that an instruction lies across it. */
static void p_page_end(struct gen *g)
{
    const u32 page = (g->at + 0x1000) & 0xfffff000, to = page - 1 - below(14);
    if (page + 0x100 > g->room_end || to < g->at + 8 || page - g->at > 0x900)
        return;
    gen_jump_to(g, "e9", to);
    g->at = to;
    gen_label(g);
    gen_randoms(g, 3 + below(4));
}

/* --- stores into code -------------------------------------------------------------------------------------------- */

/* An address that writes to code at `a` (linear, physical), perhaps through the alias. */
static u32 code_alias(const struct gen *g, u32 a) { return g->paging && one_in(3) ? a + ALIAS : a; }

/* The instruction that is changed: ADD EAX, imm32 or such; its immediate is at +1. */
static void p_own_code(struct gen *g)
{
    const bool loop = !one_in(3);
    const u32 counter = data_address(g, COUNTERS + 0x28);
    const unsigned ahead = below(4), turns = 2 + choose_turns(g) / 8;
    if (g->mode == IN_PROT16)
        return;             /* no writable segment holds the code there */
    if (loop)
        OP(g, "o32 c7 /0 %d", counter, turns);
    const u32 top = g->at;
    gen_label(g);
    /* The bytes of MOV [code + 1], CL are known, so the distance is. */
    if (loop)
        OP(g, "o32 8b /1", counter);
    OP(g, g->mode == IN_REAL ? "2e 88 /1" : "88 /1", 0);
    const u32 behind = g->at;
    gen_randoms(g, ahead);
    const u32 target = g->at;
    switch (below(3)) {
    case 0: OP(g, "o32 05 %d", random_u64()); break;
    case 1: OP(g, "b0 %b", random_u64()); break;
    default: OP(g, "o32 ba %d", random_u64()); break;
    }
    g->undefined = EFL_STATUS;
    if (!g->failed) {
        const u32 a = g->mode == IN_REAL ? target + 1 - PROGRAM : code_alias(g, target + 1);
        memcpy(g->p->mem + behind - (g->bits == 2 ? 2 : 4), &a, g->bits == 2 ? 2 : 4);
    }
    gen_randoms(g, below(3));
    if (loop) {
        OP(g, "o32 ff /1", counter);
        gen_jump_to(g, "0f 85", top);
        gen_label(g);
    }
}

/* Writes other instructions of the same length over a function, between calls. */
static void p_other_code(struct gen *g)
{
    /* 4 bytes each, defined results */
    static const u8 variants[][4] = {
        { 0x01, 0xc8, 0x01, 0xc2 }, { 0x31, 0xd0, 0xf7, 0xd2 }, { 0x90, 0x90, 0x29, 0xc3 }, { 0x0f, 0xaf, 0xc3, 0x90 },
        { 0x05, 0x11, 0x22, 0xc3 }, { 0x83, 0xe8, 0x07, 0xc3 }, { 0xc3, 0x90, 0x90, 0x90 }, { 0xeb, 0x00, 0x31, 0xc0 },
        { 0x0f, 0xb6, 0xc0, 0xc3 }, { 0x89, 0xd8, 0x87, 0xd1 }, { 0xeb, 0x02, 0x0f, 0x0b }, { 0xff, 0xc0, 0x11, 0xc9 },
    };
    if (!flat(g) || functions_full(g))
        return;
    const struct place back = function_begin(g);
    const u32 f = g->at;
    for (unsigned i = 1 + below(4); i; i--)
        gen_bytes(g, variants[below(2)], 4);
    OP(g, "c3");
    function_end(g, back);
    const u32 counter = data_address(g, COUNTERS + 0x18), turns = 1 + choose_turns(g) / 16;
    OP(g, "o32 c7 /0 %d", counter, turns);
    const u32 top = g->at;
    gen_label(g);
    for (unsigned i = 2 + below(3); i; i--) {
        u32 v;
        memcpy(&v, variants[below(ARRAY_LEN(variants))], 4);
        gen_define_flags(g, EFL_STATUS);
        for (unsigned n = one_in(2) ? 1 : 1 + below(6); n; n--)
            gen_jump_to(g, "e8", f);
        gen_label(g);
        OP(g, "c7 /0 %d", code_alias(g, f), v);
        gen_define_flags(g, EFL_STATUS);
        gen_jump_to(g, "e8", f);
        gen_label(g);
    }
    OP(g, "o32 ff /1", counter);
    gen_jump_to(g, "0f 85", top);
    gen_label(g);
}

/* REP MOVSB over a function that has just run. */
static void p_copied_code(struct gen *g)
{
    if (!flat(g) || functions_full(g))
        return;
    u32 f[3];
    unsigned size = 0;
    for (unsigned i = 0; i < 3; i++) {
        const struct place back = function_begin(g);
        f[i] = g->at;
        gen_randoms(g, 1 + below(4));
        OP(g, "c3");
        const u32 n = g->at - f[i];
        if (n > size)
            size = n;
        while (g->at < f[i] + 150 && !g->failed)
            OP(g, "90");
        function_end(g, back);
    }
    for (unsigned i = 0; i < 3; i++) {
        gen_jump_to(g, "e8", f[2]);
        gen_move(g, GPR_RSI, f[below(2)]);
        gen_move(g, GPR_RDI, code_alias(g, f[2]));
        gen_move(g, GPR_RCX, size);
        OP(g, "fc");
        OP(g, "f3 a4");
    }
    gen_jump_to(g, "e8", f[2]);
    gen_label(g);
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

static void p_string(struct gen *g)
{
    static const u8 ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };
    for (unsigned i = 1 + below(4); i; i--) {
        const unsigned op = ops[below(10)];
        const bool down = one_in(4);
        const u32 span = WINDOW_END - WINDOW - 0xc00;
        const u32 from = data_address(g, WINDOW - DATA + 0x600 + below(span)),
                  to = one_in(3) ? from + below(32) - 16 : data_address(g, WINDOW - DATA + 0x600 + below(span));
        gen_move(g, GPR_RSI, one_in(2) ? from & ~7u : from);
        gen_move(g, GPR_RDI, flat(g) && one_in(25) ? READ_ONLY - 40 : one_in(2) ? to & ~7u : to);
        gen_move(g, GPR_RCX, one_in(3) ? below(8) : below(300) / (op & 1 ? 4 : 1));
        gen_define_flags(g, EFL_STATUS);        /* REP with a count of 0 leaves them */
        OP(g, down ? "fd" : "fc");
        if (one_in(5) && g->bits == 4)
            OP(g, "%b %b", below(2) ? 0xf2 : 0xf3, op);
        else if (g->bits == 8 && op & 1 && one_in(3))
            OP(g, "%b 48 %b", below(2) ? 0xf2 : 0xf3, op);
        else if (one_in(4))
            OP(g, "%b", op);
        else if (op & 1 && one_in(4))
            OP(g, "%b 66 %b", below(2) ? 0xf2 : 0xf3, op);
        else
            OP(g, "%b %b", below(2) ? 0xf2 : 0xf3, op);
        if (down)
            OP(g, "fc");
    }
}

static void p_stack(struct gen *g)
{
    for (unsigned i = 2 + below(8); i; i--) {
        switch (below(9)) {
        case 0: OP(g, "%b", 0x50 + some_register()); break;
        case 1: OP(g, "%b", 0x58 + some_register()); break;
        case 2: OP(g, "6a %b", random_u64()); break;
        case 3: OP(g, "ff /6", data_address(g, WINDOW - DATA + below(0x1000))); break;
        case 4: OP(g, "8f /0", data_address(g, WINDOW - DATA + below(0x1000))); break;
        case 5:
            if (g->bits != 8)
                OP(g, one_in(2) ? "60" : "66 60");
            break;
        case 6:
            gen_define_flags(g, EFL_STATUS);
            OP(g, "9c");
            break;
        case 7:
            OP(g, "c8 %w %b", below(5) * 8, below(3));
            if (one_in(2))
                OP(g, "c9");
            gen_move(g, GPR_RBP, data_address(g, WINDOW - DATA + 0x1000));
            gen_move(g, GPR_RSP, data_address(g, STACK - DATA) - 256);
            break;
        default: OP(g, "66 %b", 0x50 + some_register() + 8 * below(2)); break;
        }
    }
}

/* Other translations for two pages. */
static void p_remap(struct gen *g)
{
    if (!g->paging || g->user)
        return;
    const unsigned bytes = g->paging == PAGING_32 ? 4 : 8, turns = 2 + choose_turns(g) / 16;
    const u32 table = g->paging == PAGING_32 ? TABLE32 : TABLE0, counter = data_address(g, COUNTERS + 0x10);
    const bool code = below(2), reload = below(2);
    const u32 page = code ? MAPPED_CODE : MAPPED_DATA, frames = code ? FRAMES + 0x2000 : FRAMES;
    if (code) {
        static const u8 body[2][7] = { { 0x05, 1, 0, 0, 0, 0xc3, 0x90 }, { 0x35, 0x55, 0x55, 0, 0, 0xf8, 0xc3 } };
        memcpy(g->p->mem + frames, body[0], 7);
        memcpy(g->p->mem + frames + 0x1000, body[1], 7);
    }
    OP(g, "c7 /0 %d", counter, turns);
    const u32 top = g->at;
    gen_label(g);
    OP(g, "8b /3", counter);                        /* EBX: 0 or 0x1000, turn by turn */
    OP(g, "83 e3 01");
    OP(g, "c1 e3 0c");
    OP(g, "81 cb %d", frames | 7);
    OP(g, "89 /3", table + (page >> 12) * bytes);
    if (reload) {
        OP(g, "0f 20 d8");
        OP(g, "0f 22 d8");
    } else {
        OP(g, "0f 01 /7", page);
    }
    if (code) {
        gen_jump_to(g, "e8", page);
        g->undefined = EFL_STATUS;
    } else {
        OP(g, "01 /0", page + 0x20);
        OP(g, "8b /2", page + 0x20 + below(8));
    }
    if (one_in(2))
        gen_randoms(g, 1 + below(3));
    OP(g, "ff /1", counter);
    gen_jump_to(g, "0f 85", top);
    gen_label(g);
}

/* --- exceptions and interrupts ----------------------------------------------------------------------------------- */

static void one_fault(struct gen *g)
{
    switch (below(13)) {
    case 0: OP(g, "0f 0b"); break;
    case 1:
        OP(g, "31 db");
        OP(g, "%b %b", 0xf6 + below(2), 0xf3 + 8 * below(2));       /* DIV, IDIV of 0 */
        gen_label(g);
        break;
    case 2:
    case 3:
        if (flat(g)) {
            gen_move(g, GPR_RBX, ABSENT + below(4096));
            OP(g, "%b 03", one_in(2) ? 0x01 : 0x8b);
        }
        break;
    case 4:
        if (flat(g)) {
            gen_move(g, GPR_RBX, one_in(2) ? READ_ONLY + below(4090) : SUPERVISOR + below(4090));
            OP(g, "%b 43 %b", one_in(2) ? 0x29 : 0x8b, below(100));
        }
        break;
    case 5:
        if (flat(g)) {
            gen_move(g, GPR_RBX, LAZY + below(8 * 4096));
            OP(g, "%b 03", one_in(2) ? 0x01 : 0x8b);
        }
        break;
    case 6: OP(g, "cc"); break;
    case 7: OP(g, "cd %b", below(4) ? VECTOR_LOOK : below(0x20)); break;
    case 8: OP(g, "f1"); break;
    case 9:
        if (g->bits != 8) {
            gen_define_flags(g, EFL_STATUS);
            OP(g, "ce");            /* INTO */
        } else {
            OP(g, "48 b8 %q", random_u64() | (u64)1 << 62);
            OP(g, "%b 00", one_in(2) ? 0x01 : 0x8b);    /* not canonical, mostly */
        }
        break;
    case 10:
        if (g->user)
            OP(g, "f4");            /* HLT: #GP */
        break;
    case 11:
        if (g->mode == IN_LONG) {
            OP(g, "0f 05");
            gen_label(g);
        }
        break;
    default:
        if (g->bits != 8)
            OP(g, "62 /0", data_address(g, WINDOW - DATA + below(0x1000)));     /* BOUND */
        else
            OP(g, "0f 28 03");      /* MOVAPS [RBX], misaligned mostly */
        break;
    }
}

static void p_fault(struct gen *g)
{
    for (unsigned i = 1 + below(4); i; i--) {
        gen_randoms(g, 1 + below(4));
        if (g->undefined && one_in(2))
            gen_define_flags(g, EFL_STATUS);
        one_fault(g);
    }
}

/* PUSHF, some bits, POPF. */
static void change_flags(struct gen *g, u32 set, u32 clear)
{
    gen_define_flags(g, EFL_STATUS);
    OP(g, g->bits == 2 ? "66 9c" : "9c");
    OP(g, "o32 58");
    if (set)
        OP(g, "o32 0d %d", set);
    if (clear)
        OP(g, "o32 25 %d", ~clear);
    OP(g, "o32 50");
    g->undefined = EFL_STATUS;      /* OR, AND: but POPF puts back what was pushed */
    OP(g, g->bits == 2 ? "66 9d" : "9d");
    g->undefined = 0;
}

static void p_single_step(struct gen *g)
{
    change_flags(g, EFL_TF, 0);
    g->no_undefined = true;
    gen_randoms(g, 2 + below(6));
    if (one_in(3))
        one_fault(g);
    gen_define_flags(g, EFL_STATUS);
    change_flags(g, 0, EFL_TF);
    g->no_undefined = false;
}

static void p_flags(struct gen *g)
{
    switch (below(4)) {
    case 0: store_flags(g); break;
    case 1: change_flags(g, random_u64() & (EFL_STATUS | EFL_ID), random_u64() & EFL_STATUS); break;
    case 2:
        gen_define_flags(g, EFL_STATUS);
        OP(g, "e6 %b", PORT_LOOK);
        break;
    default:
        gen_define_flags(g, EFL_STATUS);
        OP(g, "9f");
        OP(g, "9e");
    }
    gen_randoms(g, below(4));
}

/* Alignment checks: CR0.AM is set. */
static void p_alignment(struct gen *g)
{
    change_flags(g, EFL_AC, 0);
    gen_randoms(g, 3 + below(5));
    change_flags(g, 0, EFL_AC);
}

static void p_interrupt(struct gen *g)
{
    if (one_in(3))
        OP(g, "fb");
    else
        OP(g, "fa");
    for (unsigned i = 1 + below(3); i; i--) {
        gen_define_flags(g, EFL_STATUS);
        OP(g, "e6 %b", PORT_IRQ);
        gen_randoms(g, below(4));
        gen_define_flags(g, EFL_STATUS);
        switch (below(4)) {
        case 0: OP(g, "fb"); break;
        case 1:
            OP(g, "fb");
            OP(g, "fa");
            break;
        case 2: change_flags(g, EFL_IF, 0); break;
        default:
            OP(g, "8c d0");         /* MOV AX, SS; MOV SS, AX */
            OP(g, "fb");
            OP(g, "8e d0");
        }
        gen_define_flags(g, EFL_STATUS);
        OP(g, "%b %b", 0x01, 0xc0 | below(8) << 3 | some_register());
        gen_randoms(g, 1 + below(3));
    }
    gen_define_flags(g, EFL_STATUS);
    OP(g, "fb");
    OP(g, "90");
    if (one_in(2))
        OP(g, "fa");
}

/* A loop during which a request waits for IF: translated code is asked to leave at every poll. */
static void p_waiting(struct gen *g)
{
    OP(g, "fa");
    OP(g, "e6 %b", PORT_IRQ);
    p_loop(g);
    gen_define_flags(g, EFL_STATUS);
    OP(g, "fb");
    OP(g, "90");
    OP(g, "90");
    OP(g, "fa");
}

static void set_dr(struct gen *g, unsigned dr, u32 v)
{
    gen_move(g, GPR_RAX, v);
    OP(g, "0f 23 %b", 0xc0 | dr << 3);
}

static void p_breakpoint(struct gen *g)
{
    if (g->user)
        return;
    const unsigned n = below(4);
    const bool data = below(2);
    const u32 patch = g->at + (g->bits == 2 ? 2 : 1);
    set_dr(g, n, WINDOW + below(0x2000));
    set_dr(g, 7, 0x400 | 2u << 2 * n | (data ? (below(2) ? 3u : 1u) << (16 + 4 * n) | 3u << (18 + 4 * n) : 0));
    g->no_undefined = true;
    gen_label(g);
    gen_define_flags(g, EFL_STATUS);
    gen_randoms(g, 1 + below(4));
    if (!data && !g->failed) {
        const u32 a = g->at;
        memcpy(g->p->mem + patch, &a, 4);
    }
    gen_randoms(g, 2 + below(4));
    set_dr(g, 7, 0x400);
    g->no_undefined = false;
}

/* --- state ------------------------------------------------------------------------------------------------------- */

static void p_segments(struct gen *g)
{
    static const u16 of_32[] = { GDT_DATA_3, GDT_BASED, GDT_READ_ONLY, 0, 0xffff };
    static const u8 modrm[] = { 0xc0, 0xe0, 0xe8 };         /* ES FS GS */
    const unsigned which = modrm[below(3)];
    if (g->mode == IN_REAL)
        OP(g, "b8 %w", (DATA >> 4) + below(64));
    else if (g->mode == IN_PROT16)
        OP(g, "b8 %w", GDT_DATA16);
    else
        OP(g, "b8 %z", of_32[below(5)]);
    OP(g, "8e %b", which);
    gen_randoms(g, 4 + below(6));
    if (g->bits != 8 && one_in(2))
        OP(g, "%b", 0x06 + 8 * below(4));       /* PUSH sreg */
    OP(g, "b8 %z", g->mode == IN_REAL ? DATA >> 4 : g->mode == IN_PROT16 ? GDT_DATA16 : GDT_DATA_3);
    OP(g, "8e %b", which);
}

/* The floating-point units: control words, and units that are switched off. */
static void p_units(struct gen *g)
{
    static const u32 mxcsrs[] = { 0x1f80, 0x9fc0, 0x3f80, 0x5f80, 0x7f80, 0x1f00, 0x1d80, 0x1f80 };
    static const u16 words[] = { 0x37f, 0x27f, 0x7f, 0xf7f, 0x37e, 0x37b, 0x300, 0x33f };
    const u32 at = data_address(g, SCRATCH);
    switch (below(5)) {
    case 0:
        OP(g, "o32 c7 /0 %d", at, mxcsrs[below(8)]);
        OP(g, "0f ae /2", at);
        gen_randoms(g, 4 + below(8));
        OP(g, "o32 c7 /0 %d", at, 0x1f80);
        OP(g, "0f ae /2", at);
        break;
    case 1:
        OP(g, "db e3");
        OP(g, g->bits == 2 ? "c7 /0 %w" : "66 c7 /0 %w", at, words[below(8)]);
        OP(g, "d9 /5", at);
        gen_randoms(g, 6 + below(12));
        OP(g, "db e3");
        break;
    case 2:
        if (g->user || g->mode == IN_REAL)
            break;
        OP(g, "0f 20 c0");
        OP(g, "o32 0d %d", CR0_TS | (one_in(4) ? CR0_EM : 0));
        OP(g, "0f 22 c0");
        gen_label(g);
        gen_randoms(g, 4 + below(8));
        OP(g, "0f 20 c0");
        OP(g, "o32 25 %d", ~(u32)CR0_EM);
        OP(g, "0f 22 c0");
        OP(g, "0f 06");
        gen_label(g);
        break;
    case 3:         /* x87 loads, arithmetic, stores */
        OP(g, "db e3");
        for (unsigned i = 4 + below(12); i; i--) {
            static const u8 ops[] = { 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xda };
            const u32 a = data_address(g, WINDOW - DATA + below(0x2f00));
            char format[8];
            const unsigned op = ops[below(7)];
            unsigned reg = below(8);
            if ((op == 0xd9 || op == 0xdd) && reg >= 4)
                reg = below(4);
            snprintf(format, sizeof(format), "%%b /%u", reg);
            OP(g, format, op, a);
            if (one_in(3))
                OP(g, "%b %b", 0xd8 + 2 * below(4), 0xc0 + below(64));
            gen_label(g);
        }
        break;
    default:
        OP(g, "0f 77");
        gen_randoms(g, 4);
        OP(g, "db e3");
    }
}

/* --- choosing ---------------------------------------------------------------------------------------------------- */

static const struct { const char *name; void (*make)(struct gen *g); u8 weight; bool once; } pieces[] = {
    { "straight", p_straight, 10, false },      { "loop", p_loop, 20, false },
    { "loop instruction", p_loop_instruction, 4, false }, { "branches", p_branches, 8, false },
    { "call", p_call, 10, true },               { "odd returns", p_odd_returns, 5, false },
    { "table", p_table, 5, true },              { "page end", p_page_end, 5, false },
    { "own code", p_own_code, 9, true },        { "other code", p_other_code, 6, true },
    { "copied code", p_copied_code, 3, true },  { "string", p_string, 7, false },
    { "stack", p_stack, 6, false },             { "remap", p_remap, 8, true },
    { "fault", p_fault, 9, false },             { "single step", p_single_step, 3, false },
    { "flags", p_flags, 5, false },             { "alignment", p_alignment, 2, false },
    { "interrupt", p_interrupt, 5, false },     { "waiting", p_waiting, 2, true },
    { "breakpoint", p_breakpoint, 3, false },   { "segments", p_segments, 4, false },
    { "units", p_units, 6, false },
};

/* once: it uses a counter of its own, so it stands in no loop of its kind; it may still stand in other loops. */
static void any_piece(struct gen *g)
{
    static bool busy[ARRAY_LEN(pieces)];
    unsigned total = 0, n, i;
    for (i = 0; i < ARRAY_LEN(pieces); i++)
        total += pieces[i].weight;
    do {
        n = below(total);
        for (i = 0; n >= pieces[i].weight; i++)
            n -= pieces[i].weight;
    } while (busy[i] || (g->depth > 2 && pieces[i].make == p_loop));
    gen_piece_start(g, pieces[i].name);
    if (one_in(8))
        OP(g, "db e3");
    gen_label(g);
    busy[i] = pieces[i].once;
    pieces[i].make(g);
    busy[i] = false;
}

static void sequence(struct gen *g)
{
    if (g->turns > 200 || g->at > g->room_end - 0x1000) {
        gen_randoms(g, 1 + below(6));
        return;
    }
    for (unsigned i = 1 + below(3); i; i--)
        any_piece(g);
}

void gen_piece(struct gen *g) { any_piece(g); }
