/* test_simd.c - vector instructions on any host: known answers (FIPS 197, FIPS 180-4, Intel's paper on PCLMULQDQ),
 * faults and what they leave behind, modes other than 64-bit, and the table against the functions.
 *
 * The exhaustive comparison with a real CPU is tests/native.
 */
#include "cpu/interp.h"
#include "tests/unit/vec_guest.h"

static struct guest *g;
static struct vcpu *c;

static void setup(void)
{
    g = guest_new();
    c = g->cpu;
}

static void teardown(void)
{
    guest_free(g);
}

#define EXEC(...) exec_bytes((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static bool exec_bytes(const u8 *bytes, unsigned n)
{
    return guest_exec(g, bytes, n);
}

#define OK(...) ck_assert(EXEC(__VA_ARGS__))

/* The instruction faults with this vector. */
#define FAULTS(vec, ...) \
    do { \
        ck_assert(!EXEC(__VA_ARGS__)); \
        ck_assert_uint_eq(c->exc.vector, vec); \
    } while (0)

/* Hexadecimal digits, first byte first. */
static void bytes_from_hex(u8 *to, const char *hex)
{
    for (; *hex; hex += 2) {
        unsigned v;
        ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
        *to++ = (u8)v;
    }
}

static void ck_bytes(const u8 *got, const char *hex)
{
    u8 want[64];
    bytes_from_hex(want, hex);
    for (unsigned i = 0; i < strlen(hex) / 2; i++)
        ck_assert_msg(got[i] == want[i], "byte %u is %02x, not %02x", i, got[i], want[i]);
}

static void set_hex(unsigned reg, const char *hex) { bytes_from_hex(c->vec[reg].b, hex); }

/* ----------------------------------------------------------------------------------------------- the table ----- */
START_TEST(every_row_has_a_function)
{
    char missing[4000] = "";
    for (unsigned i = 0; i < insn_row_count; i++) {
        const struct insn_row *r = &insn_rows[i];
        if (!r->run && strlen(missing) < sizeof(missing) - 40 && (i == 0 || strcmp(r->name, r[-1].name)))
            strcat(strcat(missing, " "), r->name);
    }
    ck_assert_msg(!*missing, "no function for:%s", missing);
}
END_TEST

START_TEST(every_function_has_a_row)
{
    for (unsigned n = 0; n < ARRAY_LEN(owned_names); n++) {
        bool found = false;
        for (unsigned i = 0; i < insn_row_count; i++)
            found = found || (!strcmp(insn_rows[i].name, owned_names[n]) && insn_rows[i].run);
        ck_assert_msg(found, "%s", owned_names[n]);
    }
}
END_TEST

/* -------------------------------------------------------------------------------------------- cryptography ----- */
/* xmm1 := AESKEYGENASSIST(xmm2, rcon): the immediate cannot vary at run time, so the bytes do. */
static void key_assist(u8 rcon) { OK(0x66, 0x0f, 0x3a, 0xdf, 0xca, rcon); }

START_TEST(aes_128)      /* FIPS 197 C.1 */
{
    union vec key[11], text;
    set_hex(2, "000102030405060708090a0b0c0d0e0f");
    u8 rcon = 1;
    for (unsigned i = 0; i < 11; i++) {
        key[i] = c->vec[2];
        key_assist(rcon);
        for (unsigned k = 0; k < 4; k++)
            c->vec[2].d[k] ^= k ? c->vec[2].d[k - 1] : c->vec[1].d[3];
        rcon = (u8)(rcon << 1 ^ (rcon & 0x80 ? 0x1b : 0));
    }
    ck_bytes(key[10].b, "13111d7fe3944a17f307a78b4d2b30c5");
    set_hex(0, "00112233445566778899aabbccddeeff");
    text = c->vec[0];
    c->vec[1] = key[0];
    OK(0x66, 0x0f, 0xef, 0xc1);                         /* pxor xmm0, xmm1 */
    for (unsigned i = 1; i < 11; i++) {
        c->vec[1] = key[i];
        if (i < 10)
            OK(0x66, 0x0f, 0x38, 0xdc, 0xc1);           /* aesenc */
        else
            OK(0x66, 0x0f, 0x38, 0xdd, 0xc1);           /* aesenclast */
    }
    ck_bytes(c->vec[0].b, "69c4e0d86a7b0430d8cdb78070b4c55a");
    c->vec[1] = key[10];
    OK(0x66, 0x0f, 0xef, 0xc1);
    for (unsigned i = 10; i-- > 0;) {
        c->vec[1] = key[i];
        if (i > 0) {
            OK(0x66, 0x0f, 0x38, 0xdb, 0xc9);           /* aesimc xmm1, xmm1 */
            OK(0x66, 0x0f, 0x38, 0xde, 0xc1);           /* aesdec */
        } else {
            OK(0x66, 0x0f, 0x38, 0xdf, 0xc1);           /* aesdeclast */
        }
    }
    ck_assert_mem_eq(c->vec[0].b, text.b, 16);
}
END_TEST

/* "abc", padded to one block, as 16 big-endian words. */
static void abc_block(u32 w[16])
{
    memset(w, 0, 64);
    w[0] = 0x61626380;
    w[15] = 24;
}

START_TEST(sha_1)        /* FIPS 180-4; the example "abc" */
{
    static const u32 digest[5] = { 0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d };
    union vec w[20];
    u32 block[16];
    abc_block(block);
    const union vec abcd = { .d = { 0x10325476, 0x98badcfe, 0xefcdab89, 0x67452301 } };
    union vec previous = { .d = { 0, 0, 0, 0 } };
    c->vec[1] = abcd;
    for (unsigned i = 0; i < 20; i++) {
        if (i < 4) {
            for (unsigned k = 0; k < 4; k++)
                w[i].d[k] = block[4 * i + 3 - k];
        } else {
            c->vec[3] = w[i - 4];
            c->vec[4] = w[i - 3];
            OK(0x0f, 0x38, 0xc9, 0xdc);                 /* sha1msg1 xmm3, xmm4 */
            c->vec[4] = w[i - 2];
            OK(0x66, 0x0f, 0xef, 0xdc);                 /* pxor */
            c->vec[4] = w[i - 1];
            OK(0x0f, 0x38, 0xca, 0xdc);                 /* sha1msg2 */
            w[i] = c->vec[3];
        }
        c->vec[2] = previous;
        c->vec[4] = w[i];
        if (i == 0)
            c->vec[2] = (union vec){ .d = { w[0].d[0], w[0].d[1], w[0].d[2], w[0].d[3] + 0xc3d2e1f0 } };
        else
            OK(0x0f, 0x38, 0xc8, 0xd4);                 /* sha1nexte xmm2, xmm4 */
        previous = c->vec[1];
        OK(0x0f, 0x3a, 0xcc, 0xca, (u8)(i / 5));        /* sha1rnds4 xmm1, xmm2, phase */
    }
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(c->vec[1].d[3 - i] + abcd.d[3 - i], digest[i]);
    c->vec[2] = previous;
    c->vec[4] = (union vec){ .d = { 0, 0, 0, 0xc3d2e1f0 } };
    OK(0x0f, 0x38, 0xc8, 0xd4);
    ck_assert_uint_eq(c->vec[2].d[3], digest[4]);
}
END_TEST

/* First 32 bits of the fraction of the cube root of the n-th prime (FIPS 180-4 4.2.2). */
static u32 sha256_constant(unsigned n)
{
    unsigned p = 1;
    for (unsigned left = n + 1; left;) {
        unsigned d = 2;
        p++;
        while (p % d)
            d++;
        left -= d == p;
    }
    u64 root = 0;
    for (u64 bit = (u64)1 << 35; bit; bit >>= 1) {
        u128 x = root | bit;
        if (x * x * x <= (u128)p << 96)
            root |= bit;
    }
    return (u32)root;
}

START_TEST(sha_256)      /* FIPS 180-4; the example "abc" */
{
    static const u32 digest[8] = {
        0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad,
    };
    const union vec abef = { .d = { 0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667 } };
    const union vec cdgh = { .d = { 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372 } };
    union vec w[16];
    u32 block[16];
    abc_block(block);
    c->vec[2] = abef;
    c->vec[1] = cdgh;
    for (unsigned i = 0; i < 16; i++) {
        if (i < 4) {
            memcpy(w[i].d, block + 4 * i, 16);
        } else {
            c->vec[3] = w[i - 4];
            c->vec[4] = w[i - 3];
            OK(0x0f, 0x38, 0xcc, 0xdc);                 /* sha256msg1 xmm3, xmm4 */
            c->vec[4] = w[i - 1];
            c->vec[5] = w[i - 2];
            OK(0x66, 0x0f, 0x3a, 0x0f, 0xe5, 4);        /* palignr xmm4, xmm5, 4 */
            OK(0x66, 0x0f, 0xfe, 0xdc);                 /* paddd xmm3, xmm4 */
            c->vec[4] = w[i - 1];
            OK(0x0f, 0x38, 0xcd, 0xdc);                 /* sha256msg2 */
            w[i] = c->vec[3];
        }
        for (unsigned k = 0; k < 4; k++)
            c->vec[0].d[k] = w[i].d[k] + sha256_constant(4 * i + k);
        OK(0x0f, 0x38, 0xcb, 0xca);                     /* sha256rnds2 xmm1, xmm2 */
        OK(0x66, 0x0f, 0x70, 0xc0, 0x0e);               /* pshufd xmm0, xmm0, 0x0e */
        OK(0x0f, 0x38, 0xcb, 0xd1);                     /* sha256rnds2 xmm2, xmm1 */
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(c->vec[2].d[3 - i] + abef.d[3 - i], digest[(i & 1) + (i & 2) * 2]);
        ck_assert_uint_eq(c->vec[1].d[3 - i] + cdgh.d[3 - i], digest[2 + (i & 1) + (i & 2) * 2]);
    }
}
END_TEST

START_TEST(carry_less_product)   /* Gueron, Kounavis: Intel Carry-Less Multiplication Instruction */
{
    static const struct { u8 imm; u64 low, high; } rows[] = {
        { 0x00, 0x929633d5d36f0451, 0x1d4d84c85c3440c0 },
        { 0x10, 0x7fa540ac2a281315, 0x1bd17c8d556ab5a1 },
        { 0x01, 0xbabf262df4b7d5c9, 0x1a2bf6db3a30862f },
        { 0x11, 0xd66ee03e410fd4ed, 0x1d1e1f2c592e7c45 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        c->vec[0] = (union vec){ .q = { 0x63746f725d53475d, 0x7b5b546573745665 } };
        c->vec[1] = (union vec){ .q = { 0x5b477565726f6e5d, 0x4869285368617929 } };
        OK(0x66, 0x0f, 0x3a, 0x44, 0xc1, rows[i].imm);
        ck_assert_uint_eq(c->vec[0].q[0], rows[i].low);
        ck_assert_uint_eq(c->vec[0].q[1], rows[i].high);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------- strings ----- */
static void set_text(unsigned reg, const char *text)
{
    memset(c->vec[reg].b, 0, 16);
    memcpy(c->vec[reg].b, text, strlen(text) < 16 ? strlen(text) : 16);
}

/* PCMPISTRI xmm1, xmm2: first string, second string, immediate, index, flags (CF ZF SF OF). */
static const struct { const char *a, *b; u8 imm; unsigned index; u32 flags; } string_rows[] = {
    { "abc",      "xxabcxxxxxxxxxxx", 0x0c, 2,  EFL_CF | EFL_SF },                     /* needle */
    { "abc",      "xxxxxxxxxxxxxxab", 0x0c, 14, EFL_CF | EFL_SF },                     /* its beginning at the end */
    { "abc",      "xxxxab",           0x0c, 16, EFL_ZF | EFL_SF },                     /* text ends first */
    { "aeiou",    "strength of will", 0x00, 3,  EFL_CF | EFL_SF },                     /* any of a set */
    { "aeiou",    "strength of will", 0x40, 13, EFL_CF | EFL_SF },                     /* the last one */
    { "09az",     "ABC7def",          0x04, 3,  EFL_CF | EFL_SF | EFL_ZF },            /* ranges */
    { "09az",     "7bcdef",           0x34, 16, EFL_SF | EFL_ZF },                     /* first one outside: none */
    { "same",     "same",             0x18, 16, EFL_SF | EFL_ZF },                     /* first difference: none */
    { "same",     "sane",             0x18, 2,  EFL_CF | EFL_SF | EFL_ZF },
    { "",         "",                 0x08, 0,  EFL_CF | EFL_SF | EFL_ZF | EFL_OF },   /* both ended: equal */
};

START_TEST(pcmpistri_rows)
{
    set_text(1, string_rows[_i].a);
    set_text(2, string_rows[_i].b);
    c->rcx = ~(u64)0;
    OK(0x66, 0x0f, 0x3a, 0x63, 0xca, string_rows[_i].imm);
    ck_assert_uint_eq(c->rcx, string_rows[_i].index);
    ck_assert_uint_eq(rflags_get(c) & EFL_STATUS, string_rows[_i].flags);
}
END_TEST

START_TEST(explicit_lengths)
{
    set_text(1, "ab");
    set_text(2, "xxxxab");
    c->rax = 0xfffffffffffffffe;        /* -2: two elements */
    c->rdx = 0x100000005;               /* 5 without REX.W, saturated with it */
    OK(0x66, 0x0f, 0x3a, 0x61, 0xca, 0x0c);
    ck_assert_uint_eq(c->rcx, 16);
    OK(0x66, 0x48, 0x0f, 0x3a, 0x61, 0xca, 0x0c);
    ck_assert_uint_eq(c->rcx, 4);
    c->rax = 0x8000000000000000;        /* no absolute value */
    OK(0x66, 0x48, 0x0f, 0x3a, 0x61, 0xca, 0x0c);
    ck_assert(!(rflags_get(c) & EFL_SF));
}
END_TEST

/* ---------------------------------------------------------------------------------- faults, masks, gathers ----- */
#define END (GUEST_DATA + GUEST_BYTES)

START_TEST(alignment)
{
    c->rax = GUEST_DATA + 16;
    OK(0x0f, 0x28, 0x08);                               /* movaps xmm1, [rax] */
    OK(0xc5, 0xf8, 0x28, 0x08);                         /* vmovaps xmm1, [rax] */
    FAULTS(EXC_GP, 0xc5, 0xfc, 0x28, 0x08);             /* vmovaps ymm1, [rax] */
    FAULTS(EXC_GP, 0xc5, 0xfd, 0xe7, 0x08);             /* vmovntdq [rax], ymm1 */
    OK(0xc5, 0xfc, 0x10, 0x08);                         /* vmovups ymm1, [rax] */
    c->rax++;
    FAULTS(EXC_GP, 0x0f, 0x28, 0x08);
    FAULTS(EXC_GP, 0x0f, 0x29, 0x08);                   /* movaps [rax], xmm1 */
    FAULTS(EXC_GP, 0xc5, 0xf8, 0x28, 0x08);
    FAULTS(EXC_GP, 0x66, 0x0f, 0xfc, 0x08);             /* paddb xmm1, [rax] */
    FAULTS(EXC_GP, 0x0f, 0x38, 0xc9, 0x08);             /* sha1msg1 xmm1, [rax] */
    OK(0xc5, 0xf1, 0xfc, 0x08);                         /* vpaddb xmm1, xmm1, [rax] */
    OK(0x66, 0x0f, 0x3a, 0x63, 0x08, 0);                /* pcmpistri xmm1, [rax] */
}
END_TEST

START_TEST(mmx_leaves_x87_alone_if_it_faults)
{
    c->x87.sw = 0x2800;
    c->x87.empty = 0xa5;
    c->rax = END - 4;
    FAULTS(EXC_PF, 0x0f, 0xfc, 0x08);                   /* paddb mm1, [rax] */
    ck_assert_uint_eq(c->cr2, END);
    FAULTS(EXC_PF, 0x0f, 0x7f, 0x08);                   /* movq [rax], mm1 */
    ck_assert_uint_eq(c->x87.sw, 0x2800);
    ck_assert_uint_eq(c->x87.empty, 0xa5);
    OK(0x0f, 0x6e, 0x08);                               /* movd mm1, [rax] */
    ck_assert_uint_eq(c->x87.sw, 0);
    ck_assert_uint_eq(c->x87.empty, 0);
    ck_assert_uint_eq(c->x87.r[1].se, 0xffff);
    c->x87.sw = 0x2800;
    OK(0x0f, 0x77);                                     /* emms */
    ck_assert_uint_eq(c->x87.empty, 0xff);
    ck_assert_uint_eq(c->x87.sw, 0);
}
END_TEST

START_TEST(masked_moves_do_not_fault_where_the_mask_is_clear)
{
    memset(g->data, 0, GUEST_BYTES);
    c->rax = END - 16;
    c->vec[1] = (union vec){ .d = { 0x80000000, 0, 0xffffffff, 0x80000000, 0x7fffffff, 0, 0, 0 } };
    c->vec[2] = (union vec){ .d = { 11, 12, 13, 14, 15, 16, 17, 18 } };
    OK(0xc4, 0xe2, 0x75, 0x2e, 0x10);                   /* vmaskmovps [rax], ymm1, ymm2 */
    ck_bytes(g->data + GUEST_BYTES - 16, "0b000000000000000d0000000e000000");
    OK(0xc4, 0xe2, 0x75, 0x2c, 0x18);                   /* vmaskmovps ymm3, ymm1, [rax] */
    ck_bytes(c->vec[3].b, "0b000000000000000d0000000e00000000000000000000000000000000000000");
    c->vec[1].d[7] = 0x80000000;
    memset(g->data, 0, GUEST_BYTES);
    FAULTS(EXC_PF, 0xc4, 0xe2, 0x75, 0x2e, 0x10);
    ck_bytes(g->data + GUEST_BYTES - 16, "00000000000000000000000000000000");      /* nothing was stored */
    FAULTS(EXC_PF, 0xc4, 0xe2, 0x75, 0x2c, 0x18);
}
END_TEST

START_TEST(byte_masked_store)
{
    memset(g->data, 0, GUEST_BYTES);
    c->rdi = END - 4;
    c->vec[1] = (union vec){ .b = { 1, 2, 3, 4, 5 } };
    c->vec[2] = (union vec){ .b = { 0x80, 0x7f, 0xff, 0x80 } };
    OK(0x66, 0x0f, 0xf7, 0xca);                         /* maskmovdqu xmm1, xmm2 */
    ck_bytes(g->data + GUEST_BYTES - 4, "01000304");
    c->rdi -= 4;
    c->seg[SEG_FS].base = 2;
    segment_refresh(c);
    OK(0x64, 0x66, 0x0f, 0xf7, 0xca);                   /* FS: */
    ck_bytes(g->data + GUEST_BYTES - 8, "0000010003040304");
    c->seg[SEG_FS].base = 8;
    segment_refresh(c);
    FAULTS(EXC_PF, 0x64, 0x66, 0x0f, 0xf7, 0xca);
}
END_TEST

START_TEST(gather_stops_at_a_fault_and_goes_on)
{
    const union vec before = { .q = { 1, 2, 3, 4 } };
    for (unsigned i = 0; i < 16; i++)
        memcpy(g->data + 8 * i, &(u64){ 100 + i }, 8);
    c->rax = GUEST_DATA;
    c->vec[1] = before;
    c->vec[2] = (union vec){ .q = { 5, 6, GUEST_BYTES / 8, 7 } };
    c->vec[3] = (union vec){ .sq = { -1, 1, -1, -1 } };             /* the second element is not wanted */
    FAULTS(EXC_PF, 0xc4, 0xe2, 0xe5, 0x91, 0x0c, 0xd0);             /* vpgatherqq ymm1, [rax + ymm2 * 8], ymm3 */
    ck_assert_uint_eq(c->cr2, END);
    ck_assert_mem_eq(&c->vec[1], &((union vec){ .q = { 105, 2, 3, 4 } }), 32);
    ck_assert_mem_eq(&c->vec[3], &((union vec){ .sq = { 0, 0, -1, -1 } }), 32);
    c->vec[2].q[2] = 8;
    OK(0xc4, 0xe2, 0xe5, 0x91, 0x0c, 0xd0);
    ck_assert_mem_eq(&c->vec[1], &((union vec){ .q = { 105, 2, 108, 107 } }), 32);
    ck_assert_mem_eq(&c->vec[3], &((union vec){ .q = { 0 } }), 32);
    c->vec[3] = c->vec[1] = (union vec){ .sq = { -1, -1, -1, -1 } };
    OK(0xc4, 0xe2, 0x61, 0x93, 0x0c, 0xd0);                         /* vgatherqps xmm1, [rax + xmm2 * 8], xmm3 */
    ck_assert_mem_eq(&c->vec[1], &((union vec){ .d = { 105, 106 } }), 32);
    ck_assert_mem_eq(&c->vec[3], &((union vec){ .q = { 0 } }), 32);
}
END_TEST

/* vpgatherdd ymm1, [rax + ymmX], ymmY with two of the three registers equal. */
START_TEST(gather_wants_three_registers)
{
    static const u8 rows[][6] = {
        { 0xc4, 0xe2, 0x75, 0x90, 0x0c, 0x10 },     /* destination and mask */
        { 0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x08 },     /* destination and index */
        { 0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x10 },     /* mask and index */
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct insn in;
        c->rax = GUEST_DATA;
        if (insn_decode(&in, rows[i], 6, 8, NULL) == DECODE_UD)
            continue;
        ck_assert(!in.run(c, &in));
        ck_assert_uint_eq(c->exc.vector, EXC_UD);
    }
}
END_TEST

/* -------------------------------------------------------------------------------------------- upper halves ----- */
START_TEST(upper_halves)
{
    for (unsigned i = 0; i < 16; i++)
        memset(c->vec[i].b, 0x11, 32);
    OK(0x66, 0x0f, 0xfc, 0xca);                         /* paddb xmm1, xmm2: kept */
    ck_assert_uint_eq(c->vec[1].q[2], 0x1111111111111111);
    OK(0xc5, 0xf1, 0xfc, 0xca);                         /* vpaddb xmm1, xmm1, xmm2: cleared */
    ck_assert_uint_eq(c->vec[1].q[2] | c->vec[1].q[3], 0);
    OK(0xc5, 0xf8, 0x77);                               /* vzeroupper */
    ck_assert_uint_eq(c->vec[15].q[2] | c->vec[15].q[3], 0);
    ck_assert_uint_eq(c->vec[15].q[0], 0x1111111111111111);
    OK(0xc5, 0xfc, 0x77);                               /* vzeroall */
    ck_assert_uint_eq(c->vec[15].q[0], 0);
}
END_TEST

START_TEST(outside_64_bit_mode_there_are_eight_registers)
{
    guest_mode(g, 4);
    for (unsigned i = 0; i < 16; i++)
        memset(c->vec[i].b, 0x11, 32);
    OK(0xc5, 0xfc, 0x77);                               /* vzeroall */
    ck_assert_uint_eq(c->vec[7].q[0] | c->vec[7].q[3], 0);
    ck_assert_uint_eq(c->vec[8].q[0] & c->vec[15].q[3], 0x1111111111111111);
}
END_TEST

START_TEST(segment_limits)
{
    guest_mode(g, 4);
    c->rax = 0x8000;
    c->seg[SEG_DS].limit = 0x800e;
    segment_refresh(c);
    FAULTS(EXC_GP, 0xc5, 0xf8, 0x28, 0x08);             /* vmovaps xmm1, [eax]: its last byte is beyond the limit */
    c->vec[2] = (union vec){ .sd = { -1, -1, -1, 0 } };
    OK(0xc4, 0xe2, 0x69, 0x2c, 0x08);                   /* vmaskmovps xmm1, xmm2, [eax]: not wanted */
    c->rdi = 0x1234ffff;
    c->vec[1] = (union vec){ .b = { 0xab } };
    c->vec[2] = (union vec){ .b = { 0x80 } };
    c->seg[SEG_DS].limit = 0xffffffff;
    segment_refresh(c);
    OK(0x67, 0x66, 0x0f, 0xf7, 0xca);                   /* maskmovdqu with 16-bit DI */
    ck_assert_uint_eq(g->ram->base[0xffff], 0xab);
}
END_TEST

/* With the checks that the interpreter makes first. */
static bool exec_checked(const u8 *bytes, unsigned n)
{
    struct insn in;
    ck_assert_int_eq(insn_decode(&in, bytes, n, c->code_size, NULL), DECODE_OK);
    interp_prepare(&in);
    c->exc.vector = 0xff;
    return in.run(c, &in);
}

/* A pending x87 exception concerns CVTPI2PS and CVTPI2PD only if they read an MMX register. */
START_TEST(integers_in_memory_leave_the_x87_alone)
{
    const u8 from_memory[][4] = { { 0x0f, 0x2a, 0x09 }, { 0x66, 0x0f, 0x2a, 0x09 } };     /* xmm1, [rcx] */
    const u8 from_mmx[][4] = { { 0x0f, 0x2a, 0xc9 }, { 0x66, 0x0f, 0x2a, 0xc9 } };        /* xmm1, mm1 */
    c->rcx = GUEST_DATA;
    c->x87.cw = 0x37b;
    c->x87.sw = 0xb084;
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(exec_checked(from_memory[i], 3 + i));
        ck_assert_uint_eq(c->x87.sw, 0xb084);
        ck_assert(!exec_checked(from_mmx[i], 3 + i));
        ck_assert_uint_eq(c->exc.vector, EXC_MF);
    }
}
END_TEST

START_TEST(xgetbv_tells_what_is_in_use)
{
    const u8 xgetbv[] = { 0x0f, 0x01, 0xd0 };
    c->rcx = 1;
    c->mxcsr = 0x1f80;
    memset(c->vec, 0, sizeof(c->vec));
    ck_assert(exec_checked(xgetbv, 3));
    ck_assert_uint_eq(c->rax & 6, 0);
    c->vec[5].q[3] = 1;
    ck_assert(exec_checked(xgetbv, 3));
    ck_assert_uint_eq(c->rax & 6, 4);
    c->rcx = 0;
    ck_assert(exec_checked(xgetbv, 3));
    ck_assert_uint_eq(c->rax, 7);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("simd");
    TCase *table = tcase_create("table"), *t = tcase_create("execute");
    tcase_add_test(table, every_row_has_a_function);
    tcase_add_test(table, every_function_has_a_row);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, aes_128);
    tcase_add_test(t, sha_1);
    tcase_add_test(t, sha_256);
    tcase_add_test(t, carry_less_product);
    tcase_add_loop_test(t, pcmpistri_rows, 0, (int)ARRAY_LEN(string_rows));
    tcase_add_test(t, explicit_lengths);
    tcase_add_test(t, alignment);
    tcase_add_test(t, mmx_leaves_x87_alone_if_it_faults);
    tcase_add_test(t, masked_moves_do_not_fault_where_the_mask_is_clear);
    tcase_add_test(t, byte_masked_store);
    tcase_add_test(t, gather_stops_at_a_fault_and_goes_on);
    tcase_add_test(t, gather_wants_three_registers);
    tcase_add_test(t, upper_halves);
    tcase_add_test(t, outside_64_bit_mode_there_are_eight_registers);
    tcase_add_test(t, segment_limits);
    tcase_add_test(t, integers_in_memory_leave_the_x87_alone);
    tcase_add_test(t, xgetbv_tells_what_is_in_use);
    suite_add_tcase(s, table);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
