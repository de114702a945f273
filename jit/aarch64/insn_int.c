/* insn_int.c - logic, integer arithmetic, comparisons, shuffles, packs and shifts on vectors. SDM 2; Arm ARM C7.
 *
 * Saturating instructions set FPSR.QC; nobody reads that.
 */
#include "jit/aarch64/insn.h"

/* --- one instruction ------------------------------------------------------------------------------------------------ */

static void plain(const struct lane *l, unsigned d, unsigned a, unsigned b) { v3(l->e, l->row->op[0], d, a, b); }
static void swapped(const struct lane *l, unsigned d, unsigned a, unsigned b) { v3(l->e, l->row->op[0], d, b, a); }
static void unary(const struct lane *l, unsigned d, unsigned a, unsigned b) { v2(l->e, l->row->op[0], d, a); }
static void twice(const struct lane *l, unsigned d, unsigned a, unsigned b) { v3(l->e, l->row->op[0], d, a, a); }

/* --- arithmetic ------------------------------------------------------------------------------------------------------- */

/* op[0]: a widening multiplication; op[1]: what makes one of its two results. */
static void both_halves(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v3(l->e, l->row->op[0], V16, a, b);
    v3(l->e, l->row->op[0] | UPPER, V17, a, b);
    v3(l->e, l->row->op[1], d, V16, V17);
}

/* Even doublewords. */
static void multiply_even(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v2(l->e, T2(0, 2, 0x12) & ~UPPER, V16, a);      /* XTN */
    v2(l->e, T2(0, 2, 0x12) & ~UPPER, V17, b);
    v3(l->e, l->row->op[0], d, V16, V17);
}

/* Bits 30:15 of the product, rounded. */
static void multiply_round(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const u32 rshrn = 0x0f008c00 | (32 - 15) << 16;
    v3(l->e, TD(0, 1, 0xc), V16, a, b);
    v3(l->e, TD(0, 1, 0xc) | UPPER, V17, a, b);
    v2(l->e, rshrn, V16, V16);
    v2(l->e, rshrn | UPPER, V16, V17);
    vmov(l->e, d, V16);
}

/* Unsigned bytes of a times signed ones of b, neighbours added with saturation. */
static void multiply_bytes(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const u32 sshll = 0x0f00a400 | 8 << 16, ushll = sshll | 1u << 29;
    v2(l->e, ushll, V16, a);
    v2(l->e, sshll, V17, b);
    v3(l->e, T3(0, 1, 0x13), V16, V16, V17);
    v2(l->e, ushll | UPPER, V17, a);
    v2(l->e, sshll | UPPER, V18, b);
    v3(l->e, T3(0, 1, 0x13), V17, V17, V18);
    v3(l->e, TP(1, V_UZP1), V18, V16, V17);
    v3(l->e, TP(1, V_UZP2), V19, V16, V17);
    v3(l->e, T3(0, 1, 1), d, V18, V19);
}

static void sum_of_differences(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v3(l->e, T3(1, 0, 0xe), V16, a, b);         /* UABD */
    for (unsigned size = 0; size < 3; size++)
        v2(l->e, T2(1, size, 2), size == 2 ? d : V16, V16);     /* UADDLP */
}

/* op[0] on the even and the odd elements; op[1]: their size. */
static void horizontal(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v3(l->e, TP(l->row->op[1], V_UZP1), V16, a, b);
    v3(l->e, TP(l->row->op[1], V_UZP2), V17, a, b);
    v3(l->e, l->row->op[0], d, V16, V17);
}

/* op[0]: element size */
static void sign(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v2(l->e, T2(0, l->row->op[0], 0xa), V16, b);   /* CMLT 0 */
    v2(l->e, T2(1, l->row->op[0], 0xb), V17, a);   /* NEG */
    v3(l->e, V_BSL, V16, V17, a);
    v2(l->e, T2(0, l->row->op[0], 9), V17, b);     /* CMEQ 0 */
    v3(l->e, V_BIC, d, V16, V17);
}

/* --- packs and shuffles ------------------------------------------------------------------------------------------------ */

static void pack(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v2(l->e, l->row->op[0] & ~UPPER, V16, a);
    v2(l->e, l->row->op[0], V16, b);
    vmov(l->e, d, V16);
}

static void shuffle_bytes(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    vbytes(l->e, V16, 0x8f);
    v3(l->e, V_AND, V16, V16, b);
    v3(l->e, 0x4e000000, d, a, V16);            /* TBL */
}

/* Elements of 1 << size bytes: result element i is element from[i] of a (below `half`) or of b. */
static void choose(const struct lane *l, unsigned size, unsigned count, const u8 *from, unsigned half, unsigned d, unsigned a, unsigned b)
{
    vdup(l->e, size, V16, a, from[0]);
    for (unsigned i = 1; i < count; i++)
        if (i >= half || from[i] != from[0])
            vins(l->e, size, V16, i, i < half ? a : b, from[i]);
    vmov(l->e, d, V16);
}

static void shuffle_dwords(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    struct emit *e = l->e;
    const u8 imm = l->imm, from[4] = { imm & 3, imm >> 2 & 3, imm >> 4 & 3, imm >> 6 };
    switch (imm) {
    case 0x39: case 0x4e: case 0x93: vext(e, d, a, a, imm == 0x39 ? 4 : imm == 0x4e ? 8 : 12); return;
    case 0x44: case 0xee: vdup(e, 3, d, a, imm == 0xee); return;
    case 0xb1: v2(e, T2(0, 2, 0), d, a); return;                    /* REV64 */
    case 0x50: case 0xfa: v3(e, TP(2, imm == 0x50 ? V_ZIP1 : V_ZIP2), d, a, a); return;
    case 0xa0: case 0xf5: v3(e, TP(2, imm == 0xa0 ? V_TRN1 : V_TRN2), d, a, a); return;
    case 0x88: case 0xdd: v3(e, TP(2, imm == 0x88 ? V_UZP1 : V_UZP2), d, a, a); return;
    case 0xe4: vmov(e, d, a); return;
    case 0x00: case 0x55: case 0xaa: case 0xff: vdup(e, 2, d, a, imm & 3); return;
    default: choose(l, 2, 4, from, 4, d, a, a);
    }
}

/* op[0]: the first word that is moved */
static void shuffle_words(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const unsigned first = l->row->op[0];
    vmov(l->e, V16, a);
    for (unsigned i = 0; i < 4; i++)
        if ((l->imm >> 2 * i & 3u) != i)
            vins(l->e, 1, V16, first + i, a, first + (l->imm >> 2 * i & 3u));
    vmov(l->e, d, V16);
}

static void shuffle_singles(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const u8 imm = l->imm, from[4] = { imm & 3, imm >> 2 & 3, imm >> 4 & 3, imm >> 6 };
    if (a == b)
        shuffle_dwords(l, d, a, a);
    else if (imm == 0x88 || imm == 0xdd)
        v3(l->e, TP(2, imm == 0x88 ? V_UZP1 : V_UZP2), d, a, b);
    else
        choose(l, 2, 4, from, 2, d, a, b);
}

/* One bit an element: the upper half has its own. */
static void shuffle_doubles(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    switch (l->imm >> 2 * l->half & 3) {
    case 0: v3(l->e, TP(3, V_ZIP1), d, a, b); break;
    case 1: vext(l->e, d, a, b, 8); break;
    case 2:
        vmov(l->e, V16, a);
        vins(l->e, 3, V16, 1, b, 1);
        vmov(l->e, d, V16);
        break;
    default: v3(l->e, TP(3, V_ZIP2), d, a, b);
    }
}

static void align_right(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    if (l->imm < 16) {
        vext(l->e, d, b, a, l->imm);
        return;
    }
    vzero(l->e, V_ZERO);
    if (l->imm < 32)
        vext(l->e, d, a, V_ZERO, l->imm - 16u);
    else
        vmov(l->e, d, V_ZERO);
}

/* op[0]: element size; a bit of the immediate each; words have the same ones in both halves. */
static void blend(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const unsigned count = 16u >> l->row->op[0], imm = count == 8 ? l->imm : (unsigned)l->imm >> count * l->half;
    vmov(l->e, V16, a);
    for (unsigned i = 0; i < count; i++)
        if (imm >> i & 1)
            vins(l->e, l->row->op[0], V16, i, b, i);
    vmov(l->e, d, V16);
}

/* op[0]: element size; the mask is operand 3 */
static void blend_by_sign(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v2(l->e, T2(0, l->row->op[0], 0xa), V16, l->c);
    v3(l->e, V_BSL, V16, b, a);
    vmov(l->e, d, V16);
}

/* --- shifts ------------------------------------------------------------------------------------------------------------- */

enum { LEFT = 1, ARITHMETIC = 2 };     /* op[1]; op[0]: element size */

static void shift_by_imm(const struct lane *l, unsigned d, unsigned a)
{
    const unsigned bits = 8u << l->row->op[0], how = l->row->op[1];
    unsigned n = l->imm;
    if (n >= bits && how & ARITHMETIC)
        n = bits - 1;
    if (n >= bits)
        vzero(l->e, d);
    else if (!n)
        vmov(l->e, d, a);
    else if (how & LEFT)
        v2(l->e, TS(0, 0xa, bits + n), d, a);
    else
        v2(l->e, TS(how & ARITHMETIC ? 0 : 1, 0, 2 * bits - n), d, a);
}

/* The count is b's low 64 bits: at most 64, in all elements, negative to the right. */
static void shift(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const unsigned size = l->row->op[0], how = l->row->op[1];
    if (l->in->op[2].kind == OP_IMM) {
        shift_by_imm(l, d, a);
        return;
    }
    v2(l->e, 0x7ea14800, V16, b);               /* UQXTN s, d */
    put32(l->e, 0x0f000400 | 2 << 16 | 0 << 5 | V17);      /* movi v17.2s, #64 */
    v3(l->e, T3(1, 2, 0xd) & ~UPPER, V16, V16, V17);        /* UMIN */
    vdup(l->e, size == 3 ? 2 : size, V16, V16, 0);
    if (!(how & LEFT))
        v2(l->e, T2(1, size, 0xb), V16, V16);
    v3(l->e, T3(how & ARITHMETIC ? 0 : 1, size, 8), d, a, V16);
}

/* A count for each doubleword. */
static void shift_each(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const unsigned how = l->row->op[1];
    put32(l->e, 0x4f000400 | 2 << 16 | 0 << 5 | V17);
    v3(l->e, T3(1, 2, 0xd), V16, b, V17);
    if (!(how & LEFT))
        v2(l->e, T2(1, 2, 0xb), V16, V16);
    v3(l->e, T3(how & ARITHMETIC ? 0 : 1, 2, 8), d, a, V16);
}

static void shift_bytes(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const unsigned n = l->imm;
    if (!n) {
        vmov(l->e, d, a);
        return;
    }
    vzero(l->e, V_ZERO);
    if (n > 15)
        vmov(l->e, d, V_ZERO);
    else if (l->row->op[1] & LEFT)
        vext(l->e, d, V_ZERO, a, 16 - n);
    else
        vext(l->e, d, a, V_ZERO, n);
}

/* --- AES, PCLMULQDQ ------------------------------------------------------------------------------------------------------ */

/* op[0]: the host's round, whose key comes first; op[1]: mixing columns */
static void aes(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    vzero(l->e, V17);
    vmov(l->e, V16, a);
    v2(l->e, l->row->op[0], V16, V17);
    if (l->row->op[1])
        v2(l->e, l->row->op[1], V16, V16);
    v3(l->e, V_EOR, d, V16, b);
}

static void multiply_carryless(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const u32 pmull = TD(0, 3, 0xe);
    const bool high_a = l->imm & 1, high_b = l->imm & 16;
    if (high_a == high_b) {
        v3(l->e, pmull | (high_a ? UPPER : 0), d, a, b);
        return;
    }
    vdup(l->e, 3, V16, high_a ? a : b, 1);
    v3(l->e, pmull, d, V16, high_a ? b : a);
}

/* --- the table ----------------------------------------------------------------------------------------------------------- */

#define ROW(name, limit, fn, ...) { in_##name, VEC_LANES, limit, fn, NULL, { __VA_ARGS__ } }
/* clang-format off */
const struct vec_row vec_rows_int[] = {
    ROW(pand, 0, plain, V_AND), ROW(andps, 0, plain, V_AND), ROW(andpd, 0, plain, V_AND),
    ROW(por, 0, plain, V_ORR), ROW(orps, 0, plain, V_ORR), ROW(orpd, 0, plain, V_ORR),
    ROW(pxor, 0, plain, V_EOR), ROW(xorps, 0, plain, V_EOR), ROW(xorpd, 0, plain, V_EOR),
    ROW(pandn, 0, swapped, V_BIC), ROW(andnps, 0, swapped, V_BIC), ROW(andnpd, 0, swapped, V_BIC),

    ROW(paddb, 0, plain, T3(0, 0, 0x10)), ROW(paddw, 0, plain, T3(0, 1, 0x10)), ROW(paddd, 0, plain, T3(0, 2, 0x10)), ROW(paddq, 0, plain, T3(0, 3, 0x10)),
    ROW(psubb, 0, plain, T3(1, 0, 0x10)), ROW(psubw, 0, plain, T3(1, 1, 0x10)), ROW(psubd, 0, plain, T3(1, 2, 0x10)), ROW(psubq, 0, plain, T3(1, 3, 0x10)),
    ROW(paddsb, 0, plain, T3(0, 0, 1)), ROW(paddsw, 0, plain, T3(0, 1, 1)), ROW(paddusb, 0, plain, T3(1, 0, 1)), ROW(paddusw, 0, plain, T3(1, 1, 1)),
    ROW(psubsb, 0, plain, T3(0, 0, 5)), ROW(psubsw, 0, plain, T3(0, 1, 5)), ROW(psubusb, 0, plain, T3(1, 0, 5)), ROW(psubusw, 0, plain, T3(1, 1, 5)),
    ROW(pcmpeqb, 0, plain, T3(1, 0, 0x11)), ROW(pcmpeqw, 0, plain, T3(1, 1, 0x11)), ROW(pcmpeqd, 0, plain, T3(1, 2, 0x11)), ROW(pcmpeqq, 0, plain, T3(1, 3, 0x11)),
    ROW(pcmpgtb, 0, plain, T3(0, 0, 6)), ROW(pcmpgtw, 0, plain, T3(0, 1, 6)), ROW(pcmpgtd, 0, plain, T3(0, 2, 6)), ROW(pcmpgtq, 0, plain, T3(0, 3, 6)),
    ROW(pmaxsb, 0, plain, T3(0, 0, 0xc)), ROW(pmaxsw, 0, plain, T3(0, 1, 0xc)), ROW(pmaxsd, 0, plain, T3(0, 2, 0xc)),
    ROW(pmaxub, 0, plain, T3(1, 0, 0xc)), ROW(pmaxuw, 0, plain, T3(1, 1, 0xc)), ROW(pmaxud, 0, plain, T3(1, 2, 0xc)),
    ROW(pminsb, 0, plain, T3(0, 0, 0xd)), ROW(pminsw, 0, plain, T3(0, 1, 0xd)), ROW(pminsd, 0, plain, T3(0, 2, 0xd)),
    ROW(pminub, 0, plain, T3(1, 0, 0xd)), ROW(pminuw, 0, plain, T3(1, 1, 0xd)), ROW(pminud, 0, plain, T3(1, 2, 0xd)),
    ROW(pavgb, 0, plain, T3(1, 0, 2)), ROW(pavgw, 0, plain, T3(1, 1, 2)),
    ROW(pabsb, 0, unary, T2(0, 0, 0xb)), ROW(pabsw, 0, unary, T2(0, 1, 0xb)), ROW(pabsd, 0, unary, T2(0, 2, 0xb)),
    ROW(psignb, 0, sign, 0), ROW(psignw, 0, sign, 1), ROW(psignd, 0, sign, 2),
    ROW(pmullw, 0, plain, T3(0, 1, 0x13)), ROW(pmulld, 0, plain, T3(0, 2, 0x13)),
    ROW(pmulhw, 0, both_halves, TD(0, 1, 0xc), TP(1, V_UZP2)), ROW(pmulhuw, 0, both_halves, TD(1, 1, 0xc), TP(1, V_UZP2)),
    ROW(pmaddwd, 0, both_halves, TD(0, 1, 0xc), T3(0, 2, 0x17)),
    ROW(pmuludq, 0, multiply_even, TD(1, 2, 0xc)), ROW(pmuldq, 0, multiply_even, TD(0, 2, 0xc)),
    ROW(pmulhrsw, 0, multiply_round, 0), ROW(pmaddubsw, 0, multiply_bytes, 0), ROW(psadbw, 0, sum_of_differences, 0),
    ROW(phaddw, 0, plain, T3(0, 1, 0x17)), ROW(phaddd, 0, plain, T3(0, 2, 0x17)), ROW(phaddsw, 0, horizontal, T3(0, 1, 1), 1),
    ROW(phsubw, 0, horizontal, T3(1, 1, 0x10), 1), ROW(phsubd, 0, horizontal, T3(1, 2, 0x10), 2), ROW(phsubsw, 0, horizontal, T3(0, 1, 5), 1),

    ROW(punpcklbw, 0, plain, TP(0, V_ZIP1)), ROW(punpcklwd, 0, plain, TP(1, V_ZIP1)), ROW(punpckldq, 0, plain, TP(2, V_ZIP1)), ROW(punpcklqdq, 0, plain, TP(3, V_ZIP1)),
    ROW(punpckhbw, 0, plain, TP(0, V_ZIP2)), ROW(punpckhwd, 0, plain, TP(1, V_ZIP2)), ROW(punpckhdq, 0, plain, TP(2, V_ZIP2)), ROW(punpckhqdq, 0, plain, TP(3, V_ZIP2)),
    ROW(unpcklps, 0, plain, TP(2, V_ZIP1)), ROW(unpckhps, 0, plain, TP(2, V_ZIP2)), ROW(unpcklpd, 0, plain, TP(3, V_ZIP1)), ROW(unpckhpd, 0, plain, TP(3, V_ZIP2)),
    ROW(movsldup, 0, twice, TP(2, V_TRN1)), ROW(movshdup, 0, twice, TP(2, V_TRN2)), ROW(movddup, 0, twice, TP(3, V_TRN1)),
    ROW(packsswb, 0, pack, T2(0, 0, 0x14)), ROW(packssdw, 0, pack, T2(0, 1, 0x14)), ROW(packuswb, 0, pack, T2(1, 0, 0x12)), ROW(packusdw, 0, pack, T2(1, 1, 0x12)),
    ROW(pshufb, 0, shuffle_bytes, 0), ROW(pshufd, 0, shuffle_dwords, 0), ROW(pshuflw, 0, shuffle_words, 0), ROW(pshufhw, 0, shuffle_words, 4),
    ROW(shufps, 0, shuffle_singles, 0), ROW(shufpd, 0, shuffle_doubles, 0), ROW(palignr, 0, align_right, 0),
    ROW(pblendw, 0, blend, 1), ROW(blendps, 0, blend, 2), ROW(blendpd, 0, blend, 3), ROW(vpblendd, 0, blend, 2),
    ROW(pblendvb, 0, blend_by_sign, 0), ROW(blendvps, 0, blend_by_sign, 2), ROW(blendvpd, 0, blend_by_sign, 3),

    ROW(psllw, 0, shift, 1, LEFT), ROW(pslld, 0, shift, 2, LEFT), ROW(psllq, 0, shift, 3, LEFT),
    ROW(psrlw, 0, shift, 1, 0), ROW(psrld, 0, shift, 2, 0), ROW(psrlq, 0, shift, 3, 0),
    ROW(psraw, 0, shift, 1, ARITHMETIC), ROW(psrad, 0, shift, 2, ARITHMETIC),
    ROW(vpsllvd, 0, shift_each, 2, LEFT), ROW(vpsrlvd, 0, shift_each, 2, 0), ROW(vpsravd, 0, shift_each, 2, ARITHMETIC),
    ROW(pslldq, 0, shift_bytes, 0, LEFT), ROW(psrldq, 0, shift_bytes, 0, 0),

    ROW(aesenc, NEED_AES, aes, 0x4e284800, 0x4e286800), ROW(aesenclast, NEED_AES, aes, 0x4e284800, 0),
    ROW(aesdec, NEED_AES, aes, 0x4e285800, 0x4e287800), ROW(aesdeclast, NEED_AES, aes, 0x4e285800, 0),
    ROW(aesimc, NEED_AES, unary, 0x4e287800), ROW(pclmulqdq, NEED_PMULL, multiply_carryless, 0),
};
/* clang-format on */
const unsigned vec_rows_int_count = ARRAY_LEN(vec_rows_int);
