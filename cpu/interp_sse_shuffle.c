/* interp_sse_shuffle.c - instructions that only rearrange elements: shuffles, unpacking, packing, blends, inserts,
 * extracts, widening moves.
 *
 * AVX2's forms work within each 128-bit lane, with the immediate repeated for each lane unless it has a bit per
 * element; those that cross lanes are in interp_avx.c. SDM 2.
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

/* --------------------------------------------------------------------------------- shuffles by immediate ----- */
/* Four elements starting at s[0], chosen by the immediate's four 2-bit fields. */
#define CHOOSE4(name, type) \
    static inline void name(type *r, const type *s, u8 imm) \
    { \
        for (unsigned i = 0; i < 4; i++) \
            r[i] = s[imm >> 2 * i & 3]; \
    }
CHOOSE4(choose_words, u16)
CHOOSE4(choose_dwords, u32)
#undef CHOOSE4

bool in_pshufd(struct vcpu *c, const struct insn *in)
{
    union vec s, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned i = 0; i < in->vl / 4u; i += 4)
        choose_dwords(r.d + i, s.d + i, vec_imm(in));
    return vec_write(c, in, &r);
}

/* Words first..first+3 of each lane are shuffled, the others copied. */
static bool shuffle_words(struct vcpu *c, const struct insn *in, unsigned first)
{
    union vec s, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    r = s;
    for (unsigned i = first; i < in->vl / 2u; i += 8)
        choose_words(r.w + i, s.w + i, vec_imm(in));
    return vec_write(c, in, &r);
}

bool in_pshuflw(struct vcpu *c, const struct insn *in) { return shuffle_words(c, in, 0); }
bool in_pshufhw(struct vcpu *c, const struct insn *in) { return shuffle_words(c, in, 4); }

/* Two singles from operand 1, then two from operand 2. */
bool in_shufps(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r;
    const u8 imm = vec_imm(in);
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl / 4u; i += 4) {
        r.d[i] = s.d[i + (imm & 3)];
        r.d[i + 1] = s.d[i + (imm >> 2 & 3)];
        r.d[i + 2] = t.d[i + (imm >> 4 & 3)];
        r.d[i + 3] = t.d[i + (imm >> 6)];
    }
    return vec_write(c, in, &r);
}

/* A double from operand 1, then one from operand 2: an immediate bit for each element of the result. */
bool in_shufpd(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r;
    const u8 imm = vec_imm(in);
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl / 8u; i += 2) {
        r.q[i] = s.q[i + (imm >> i & 1)];
        r.q[i + 1] = t.q[i + (imm >> (i + 1) & 1)];
    }
    return vec_write(c, in, &r);
}

/* Operand 1 above operand 2, shifted right by bytes. */
bool in_palignr(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    const unsigned lane = vec_lane(in), n = vec_imm(in);
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl; i++) {
        unsigned from = i % lane + n, base = i / lane * lane;
        if (from < 2 * lane)
            r.b[i] = from < lane ? t.b[base + from] : s.b[base + from - lane];
    }
    return vec_write(c, in, &r);
}

/* ---------------------------------------------------------------------------------- shuffles by register ----- */
bool in_pshufb(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r;
    const unsigned lane = vec_lane(in);
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl; i++)
        r.b[i] = t.b[i] & 0x80 ? 0 : s.b[i / lane * lane + (t.b[i] & (lane - 1))];
    return vec_write(c, in, &r);
}

/* --------------------------------------------------------------------------------------- unpack and pack ----- */
/* Interleaves the low (half 0) or high (half 1) halves of each lane of both sources. */
static bool unpack(struct vcpu *c, const struct insn *in, unsigned bytes, unsigned half)
{
    union vec s, t, r;
    const unsigned lane = vec_lane(in);
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned base = 0; base < in->vl; base += lane) {
        for (unsigned i = 0; i < lane / 2; i += bytes) {
            unsigned from = base + half * lane / 2 + i;
            memcpy(r.b + base + 2 * i, s.b + from, bytes);
            memcpy(r.b + base + 2 * i + bytes, t.b + from, bytes);
        }
    }
    return vec_write(c, in, &r);
}

bool in_punpcklbw(struct vcpu *c, const struct insn *in) { return unpack(c, in, 1, 0); }
bool in_punpcklwd(struct vcpu *c, const struct insn *in) { return unpack(c, in, 2, 0); }
bool in_punpckldq(struct vcpu *c, const struct insn *in) { return unpack(c, in, 4, 0); }
bool in_punpcklqdq(struct vcpu *c, const struct insn *in) { return unpack(c, in, 8, 0); }
bool in_punpckhbw(struct vcpu *c, const struct insn *in) { return unpack(c, in, 1, 1); }
bool in_punpckhwd(struct vcpu *c, const struct insn *in) { return unpack(c, in, 2, 1); }
bool in_punpckhdq(struct vcpu *c, const struct insn *in) { return unpack(c, in, 4, 1); }
bool in_punpckhqdq(struct vcpu *c, const struct insn *in) { return unpack(c, in, 8, 1); }
bool in_unpcklps(struct vcpu *c, const struct insn *in) { return unpack(c, in, 4, 0); }
bool in_unpckhps(struct vcpu *c, const struct insn *in) { return unpack(c, in, 4, 1); }
bool in_unpcklpd(struct vcpu *c, const struct insn *in) { return unpack(c, in, 8, 0); }
bool in_unpckhpd(struct vcpu *c, const struct insn *in) { return unpack(c, in, 8, 1); }

/* Narrows with saturation: the low half of each lane from operand 1, the high half from operand 2. */
#define PACK(name, from, to, saturate) \
    bool in_##name(struct vcpu *c, const struct insn *in) \
    { \
        union vec s, t, r; \
        const unsigned n = vec_lane(in) / sizeof(s.to[0]); \
        if (!vec_sources(c, in, &s, &t)) \
            return false; \
        for (unsigned i = 0; i < in->vl / sizeof(s.to[0]); i++) { \
            const union vec *v = i % n < n / 2 ? &s : &t; \
            r.to[i] = saturate(v->from[i / n * (n / 2) + i % (n / 2)]); \
        } \
        return vec_write(c, in, &r); \
    }
PACK(packsswb, sw, sb, vec_sat_s8)
PACK(packuswb, sw, b, vec_sat_u8)
PACK(packssdw, sd, sw, vec_sat_s16)
PACK(packusdw, sd, w, vec_sat_u16)
#undef PACK

/* Widens the first vl / sizeof(wide) elements; the table's operand is as long as what is read. */
#define WIDEN(name, narrow, wide) \
    bool in_##name(struct vcpu *c, const struct insn *in) \
    { \
        union vec s, r; \
        if (!operand_read_vec(c, in, 1, &s)) \
            return false; \
        for (unsigned i = 0; i < in->vl / sizeof(r.wide[0]); i++) \
            r.wide[i] = s.narrow[i]; \
        return vec_write(c, in, &r); \
    }
WIDEN(pmovsxbw, sb, sw)
WIDEN(pmovsxbd, sb, sd)
WIDEN(pmovsxbq, sb, sq)
WIDEN(pmovsxwd, sw, sd)
WIDEN(pmovsxwq, sw, sq)
WIDEN(pmovsxdq, sd, sq)
WIDEN(pmovzxbw, b, w)
WIDEN(pmovzxbd, b, d)
WIDEN(pmovzxbq, b, q)
WIDEN(pmovzxwd, w, d)
WIDEN(pmovzxwq, w, q)
WIDEN(pmovzxdq, d, q)
#undef WIDEN

/* ------------------------------------------------------------------------------------------------ blends ----- */
/* Element i comes from operand 2 where bit i of the immediate is set. Words: the eight bits serve both lanes. */
static bool blend_imm(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec s, t;
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < in->vl / bytes; i++) {
        if (vec_imm(in) >> i % 8 & 1)
            memcpy(s.b + i * bytes, t.b + i * bytes, bytes);
    }
    return vec_write(c, in, &s);
}

bool in_pblendw(struct vcpu *c, const struct insn *in) { return blend_imm(c, in, 2); }
bool in_blendps(struct vcpu *c, const struct insn *in) { return blend_imm(c, in, 4); }
bool in_blendpd(struct vcpu *c, const struct insn *in) { return blend_imm(c, in, 8); }
bool in_vpblendd(struct vcpu *c, const struct insn *in) { return blend_imm(c, in, 4); }

/* Element i comes from operand 2 where the mask's element i has its sign bit set. */
static bool blend_mask(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec s, t, mask;
    if (!vec_sources(c, in, &s, &t) || !operand_read_vec(c, in, 3, &mask))
        return false;
    for (unsigned i = 0; i < in->vl; i += bytes) {
        if (mask.b[i + bytes - 1] & 0x80)
            memcpy(s.b + i, t.b + i, bytes);
    }
    return vec_write(c, in, &s);
}

bool in_pblendvb(struct vcpu *c, const struct insn *in) { return blend_mask(c, in, 1); }
bool in_blendvps(struct vcpu *c, const struct insn *in) { return blend_mask(c, in, 4); }
bool in_blendvpd(struct vcpu *c, const struct insn *in) { return blend_mask(c, in, 8); }

/* ----------------------------------------------------------------------------------- insert and extract ----- */
/* A general register's low part or memory replaces the element that the immediate names. */
static bool insert(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec r;
    u64 v;
    const unsigned elements = vec_lane(in) / bytes;
    if (!operand_read_vec(c, in, 1, &r) || !vec_read_scalar(c, in, 2, &v))
        return false;
    memcpy(r.b + (vec_imm(in) & (elements - 1)) * bytes, &v, bytes);
    return vec_write(c, in, &r);
}

bool in_pinsrb(struct vcpu *c, const struct insn *in) { return insert(c, in, 1); }
bool in_pinsrw(struct vcpu *c, const struct insn *in) { return insert(c, in, 2); }
bool in_pinsrd(struct vcpu *c, const struct insn *in) { return insert(c, in, in->op[2].size); }    /* PINSRQ: 8 */

/* The element that the immediate names, zero-extended into a general register or stored. */
static bool extract(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec s, r = { 0 };
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    const unsigned elements = (in->op[1].kind == OP_MMX ? 8 : 16) / bytes;
    memcpy(r.b, s.b + (vec_imm(in) & (elements - 1)) * bytes, bytes);
    return vec_write(c, in, &r);
}

bool in_pextrb(struct vcpu *c, const struct insn *in) { return extract(c, in, 1); }
bool in_pextrw(struct vcpu *c, const struct insn *in) { return extract(c, in, 2); }
bool in_pextrd(struct vcpu *c, const struct insn *in) { return extract(c, in, in->op[0].size); }   /* PEXTRQ: 8 */
bool in_extractps(struct vcpu *c, const struct insn *in) { return extract(c, in, 4); }

/* Immediate: 7:6 source element (registers only), 5:4 destination element, 3:0 elements to clear afterwards. */
bool in_insertps(struct vcpu *c, const struct insn *in)
{
    union vec r, s;
    const u8 imm = vec_imm(in);
    if (!vec_sources(c, in, &r, &s))
        return false;
    if (in->op[2].kind == OP_VEC)
        s = vec_xmm(c, in, 2);
    r.d[imm >> 4 & 3] = s.d[in->op[2].kind == OP_VEC ? imm >> 6 : 0];
    for (unsigned i = 0; i < 4; i++) {
        if (imm >> i & 1)
            r.d[i] = 0;
    }
    return vec_write(c, in, &r);
}
