/* interp_sse_int.c - integer arithmetic, comparison, logic and shifts on the lanes of MMX, XMM and YMM registers.
 *
 * Most instructions are a formula on one pair of elements: the lists below give name, element (a member of union vec:
 * b w d q unsigned, sb sw sd sq signed) and formula, in which a is the element of operand 1 and b that of operand 2.
 * The rest (horizontal, widening, shifts by a count) follow as functions. SDM 2, the P.. instructions.
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

/* ------------------------------------------------------------------------------------ element by element ----- */
#define LANES(name, lane, formula) \
    bool in_##name(struct vcpu *c, const struct insn *in) \
    { \
        union vec s, t, r; \
        if (!vec_sources(c, in, &s, &t)) \
            return false; \
        for (unsigned i = 0; i < in->vl / sizeof(s.lane[0]); i++) { \
            const __typeof__(s.lane[0]) a = s.lane[i], b = t.lane[i]; \
            r.lane[i] = (__typeof__(s.lane[0]))(formula); \
        } \
        return vec_write(c, in, &r); \
    }

LANES(paddb, b, a + b)
LANES(paddw, w, a + b)
LANES(paddd, d, a + b)
LANES(paddq, q, a + b)
LANES(psubb, b, a - b)
LANES(psubw, w, a - b)
LANES(psubd, d, a - b)
LANES(psubq, q, a - b)
LANES(paddsb, sb, vec_sat_s8(a + b))
LANES(paddsw, sw, vec_sat_s16(a + b))
LANES(paddusb, b, vec_sat_u8(a + b))
LANES(paddusw, w, vec_sat_u16(a + b))
LANES(psubsb, sb, vec_sat_s8(a - b))
LANES(psubsw, sw, vec_sat_s16(a - b))
LANES(psubusb, b, vec_sat_u8(a - b))
LANES(psubusw, w, vec_sat_u16(a - b))

LANES(pmullw, w, (u32)a * b)
LANES(pmulld, d, a * b)
LANES(pmulhw, sw, (a * b) >> 16)
LANES(pmulhuw, w, ((u32)a * b) >> 16)
LANES(pmulhrsw, sw, (((a * b) >> 14) + 1) >> 1)
LANES(pmuludq, q, (u64)(u32)a * (u32)b)
LANES(pmuldq, sq, (s64)(s32)a * (s32)b)

LANES(pavgb, b, (a + b + 1) >> 1)
LANES(pavgw, w, (a + b + 1) >> 1)

LANES(pcmpeqb, b, a == b ? -1 : 0)
LANES(pcmpeqw, w, a == b ? -1 : 0)
LANES(pcmpeqd, d, a == b ? -1 : 0)
LANES(pcmpeqq, q, a == b ? -1 : 0)
LANES(pcmpgtb, sb, a > b ? -1 : 0)
LANES(pcmpgtw, sw, a > b ? -1 : 0)
LANES(pcmpgtd, sd, a > b ? -1 : 0)
LANES(pcmpgtq, sq, a > b ? -1 : 0)

LANES(pmaxub, b, a > b ? a : b)
LANES(pmaxuw, w, a > b ? a : b)
LANES(pmaxud, d, a > b ? a : b)
LANES(pmaxsb, sb, a > b ? a : b)
LANES(pmaxsw, sw, a > b ? a : b)
LANES(pmaxsd, sd, a > b ? a : b)
LANES(pminub, b, a < b ? a : b)
LANES(pminuw, w, a < b ? a : b)
LANES(pminud, d, a < b ? a : b)
LANES(pminsb, sb, a < b ? a : b)
LANES(pminsw, sw, a < b ? a : b)
LANES(pminsd, sd, a < b ? a : b)

/* Negation wraps: the most negative number stays what it is. */
LANES(psignb, sb, b < 0 ? -a : b ? a : 0)
LANES(psignw, sw, b < 0 ? -a : b ? a : 0)
LANES(psignd, sd, b < 0 ? (s32)-(u32)a : b ? a : 0)

LANES(pand, q, a & b)
LANES(pandn, q, ~a & b)
LANES(por, q, a | b)
LANES(pxor, q, a ^ b)
LANES(andps, q, a & b)
LANES(andpd, q, a & b)
LANES(andnps, q, ~a & b)
LANES(andnpd, q, ~a & b)
LANES(orps, q, a | b)
LANES(orpd, q, a | b)
LANES(xorps, q, a ^ b)
LANES(xorpd, q, a ^ b)

/* AVX2: each element has its own count; counts past the width shift everything out. */
LANES(vpsllvd, d, b < 32 ? a << b : 0)
LANES(vpsllvq, q, b < 64 ? a << b : 0)
LANES(vpsrlvd, d, b < 32 ? a >> b : 0)
LANES(vpsrlvq, q, b < 64 ? a >> b : 0)
LANES(vpsravd, sd, a >> ((u32)b < 31 ? b : 31))
#undef LANES

/* One source. */
#define LANES1(name, lane, formula) \
    bool in_##name(struct vcpu *c, const struct insn *in) \
    { \
        union vec s, r; \
        if (!operand_read_vec(c, in, 1, &s)) \
            return false; \
        for (unsigned i = 0; i < in->vl / sizeof(s.lane[0]); i++) { \
            const __typeof__(s.lane[0]) a = s.lane[i]; \
            r.lane[i] = (__typeof__(s.lane[0]))(formula); \
        } \
        return vec_write(c, in, &r); \
    }
LANES1(pabsb, sb, a < 0 ? -a : a)
LANES1(pabsw, sw, a < 0 ? -a : a)
LANES1(pabsd, sd, a < 0 ? -(u32)a : (u32)a)
#undef LANES1

/* ------------------------------------------------------------------------------------ shifts by one count ----- */
/* The count is an immediate byte, or the low 64 bits of an XMM/MMX register or of a 16-byte (MMX: 8) memory operand.
 * Every value past the element's width counts as the width. */
static bool shift_operands(struct vcpu *c, const struct insn *in, unsigned width, union vec *s, unsigned *count)
{
    union vec n;
    if (!operand_read_vec(c, in, 1, s))
        return false;
    if (in->op[2].kind == OP_IMM)
        n.q[0] = vec_imm(in);
    else if (!operand_read_vec(c, in, 2, &n))
        return false;
    *count = n.q[0] < width ? (unsigned)n.q[0] : width;
    return true;
}

/* name, element, its width in bits, formula of the element a and the count n (0..width). */
#define SHIFT(name, lane, width, formula) \
    bool in_##name(struct vcpu *c, const struct insn *in) \
    { \
        union vec s, r; \
        unsigned n; \
        if (!shift_operands(c, in, width, &s, &n)) \
            return false; \
        for (unsigned i = 0; i < in->vl * 8 / width; i++) { \
            const __typeof__(s.lane[0]) a = s.lane[i]; \
            r.lane[i] = (__typeof__(s.lane[0]))(formula); \
        } \
        return vec_write(c, in, &r); \
    }
SHIFT(psllw, w, 16, (u32)a << n)
SHIFT(pslld, d, 32, (u64)a << n)
SHIFT(psllq, q, 64, n < 64 ? a << n : 0)
SHIFT(psrlw, w, 16, a >> n)
SHIFT(psrld, d, 32, (u64)a >> n)
SHIFT(psrlq, q, 64, n < 64 ? a >> n : 0)
SHIFT(psraw, sw, 16, a >> n)
SHIFT(psrad, sd, 32, (s64)a >> n)
#undef SHIFT

/* Whole lanes by bytes; counts past 15 clear them. */
static bool shift_bytes(struct vcpu *c, const struct insn *in, bool left)
{
    union vec s, r = { 0 };
    unsigned n = vec_imm(in) < 16 ? vec_imm(in) : 16;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned lane = 0; lane < in->vl; lane += 16)
        memcpy(r.b + lane + (left ? n : 0), s.b + lane + (left ? 0 : n), 16 - n);
    return vec_write(c, in, &r);
}

bool in_pslldq(struct vcpu *c, const struct insn *in) { return shift_bytes(c, in, true); }
bool in_psrldq(struct vcpu *c, const struct insn *in) { return shift_bytes(c, in, false); }

/* --------------------------------------------------------------------------- neighbours, sums of products ----- */
bool in_pmaddwd(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r;
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl / 4u; i++)     /* unsigned sum: four times 0x8000 wraps to 0x80000000 */
        r.d[i] = (u32)(s.sw[2 * i] * t.sw[2 * i]) + (u32)(s.sw[2 * i + 1] * t.sw[2 * i + 1]);
    return vec_write(c, in, &r);
}

/* Unsigned bytes of operand 1 by signed bytes of operand 2. */
bool in_pmaddubsw(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r;
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl / 2u; i++)
        r.sw[i] = vec_sat_s16(s.b[2 * i] * t.sb[2 * i] + s.b[2 * i + 1] * t.sb[2 * i + 1]);
    return vec_write(c, in, &r);
}

static unsigned distance(u8 a, u8 b) { return a > b ? a - b : b - a; }

bool in_psadbw(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl; i++)
        r.q[i / 8] += distance(s.b[i], t.b[i]);
    return vec_write(c, in, &r);
}

/* Eight sums of |differences| between four bytes of operand 2 and a window that slides over operand 1. The immediate
 * has three bits per lane: bits 1:0 choose the four bytes, bit 2 the window's start. */
bool in_mpsadbw(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r;
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned lane = 0; lane < in->vl; lane += 16) {
        unsigned control = vec_imm(in) >> (lane ? 3 : 0);
        const u8 *window = s.b + lane + (control & 4), *block = t.b + lane + 4 * (control & 3);
        for (unsigned i = 0; i < 8; i++) {
            unsigned sum = 0;
            for (unsigned j = 0; j < 4; j++)
                sum += distance(window[i + j], block[j]);
            r.w[lane / 2 + i] = (u16)sum;
        }
    }
    return vec_write(c, in, &r);
}

/* Minimum of eight unsigned words and its (first) index. */
bool in_phminposuw(struct vcpu *c, const struct insn *in)
{
    union vec s, r = { 0 };
    unsigned best = 0;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned i = 1; i < 8; i++) {
        if (s.w[i] < s.w[best])
            best = i;
    }
    r.w[0] = s.w[best];
    r.w[1] = (u16)best;
    return vec_write(c, in, &r);
}

/* Pairs of neighbours within a lane: the low half of the result comes from operand 1, the high half from operand 2.
 * In the formula a is the even element, b the odd one. */
#define HORIZONTAL(name, lane, formula) \
    bool in_##name(struct vcpu *c, const struct insn *in) \
    { \
        union vec s, t, r; \
        const unsigned n = vec_lane(in) / sizeof(s.lane[0]); \
        if (!vec_sources(c, in, &s, &t)) \
            return false; \
        for (unsigned i = 0; i < in->vl / sizeof(s.lane[0]); i++) { \
            const union vec *v = i % n < n / 2 ? &s : &t; \
            const unsigned k = i / n * n + i % (n / 2) * 2; \
            const __typeof__(s.lane[0]) a = v->lane[k], b = v->lane[k + 1]; \
            r.lane[i] = (__typeof__(s.lane[0]))(formula); \
        } \
        return vec_write(c, in, &r); \
    }
HORIZONTAL(phaddw, w, a + b)
HORIZONTAL(phaddd, d, a + b)
HORIZONTAL(phaddsw, sw, vec_sat_s16(a + b))
HORIZONTAL(phsubw, w, a - b)
HORIZONTAL(phsubd, d, a - b)
HORIZONTAL(phsubsw, sw, vec_sat_s16(a - b))
#undef HORIZONTAL

/* ------------------------------------------------------------------------------------------ tests to flags ----- */
/* ZF: source AND destination is zero; CF: source AND NOT destination is zero, in the bits of mask. */
static bool test(struct vcpu *c, const struct insn *in, u64 mask)
{
    union vec s, t;
    u64 both = 0, only = 0;
    if (!operand_read_vec(c, in, 0, &s) || !operand_read_vec(c, in, 1, &t))
        return false;
    for (unsigned i = 0; i < in->vl / 8u; i++) {
        both |= t.q[i] & s.q[i] & mask;
        only |= t.q[i] & ~s.q[i] & mask;
    }
    rflags_put(c, EFL_STATUS, (both ? 0 : EFL_ZF) | (only ? 0 : EFL_CF));
    return true;
}

bool in_ptest(struct vcpu *c, const struct insn *in) { return test(c, in, ~(u64)0); }
bool in_vtestps(struct vcpu *c, const struct insn *in) { return test(c, in, 0x8000000080000000); }
bool in_vtestpd(struct vcpu *c, const struct insn *in) { return test(c, in, 0x8000000000000000); }
