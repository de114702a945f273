/* interp_sse_string.c - SSE4.2 text comparison: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
 *
 * One comparison in three steps, each chosen by a field of the immediate (SDM 1 12.10, SDM 2B 4.1): a matrix of element
 * comparisons is folded into IntRes1, one bit per element of the second string; the polarity turns it into IntRes2;
 * that is returned as an index in ECX or as a mask in XMM0. Operand 0 is the first string (set, ranges, needle),
 * operand 1 the second (text).
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

enum imm_field {
    IMM_WORDS = 1,              /* 16-bit elements */
    IMM_SIGNED = 2,
    IMM_AGGREGATION = 3 << 2,
    IMM_NEGATE = 1 << 4,        /* polarity: IntRes2 = ~IntRes1 ... */
    IMM_MASKED = 1 << 5,        /* ... where the second string's elements are valid */
    IMM_MOST = 1 << 6,          /* index of the most significant set bit; mask of whole elements */
};

enum aggregation { EQUAL_ANY, RANGES, EQUAL_EACH, EQUAL_ORDERED };

struct strings {
    s32 a[16], b[16];           /* elements, extended as the format says */
    unsigned len_a, len_b;      /* valid elements, at most count */
    unsigned count;             /* elements in a register: 16 or 8 */
};

/* --------------------------------------------------------------------------------------------- the strings ----- */
static void spread(s32 *to, const union vec *v, u8 imm)
{
    for (unsigned i = 0; i < (imm & IMM_WORDS ? 8 : 16); i++) {
        if (imm & IMM_WORDS)
            to[i] = imm & IMM_SIGNED ? v->sw[i] : v->w[i];
        else
            to[i] = imm & IMM_SIGNED ? v->sb[i] : v->b[i];
    }
}

/* Explicit length: the absolute value, saturated. REX.W takes all 64 bits. */
static unsigned explicit_length(const struct insn *in, u64 reg, unsigned count)
{
    u64 v = in->rex_w && in->mode == 8 ? reg : (u64)(s64)(s32)reg;
    if ((s64)v < 0)
        v = -v;
    return v < count ? (unsigned)v : count;
}

/* Implicit length: up to the first zero element. */
static unsigned implicit_length(const s32 *s, unsigned count)
{
    unsigned n = 0;
    while (n < count && s[n])
        n++;
    return n;
}

static bool read_strings(struct vcpu *c, const struct insn *in, bool explicit, struct strings *s)
{
    union vec a, b;
    const u8 imm = vec_imm(in);
    if (!operand_read_vec(c, in, 0, &a) || !operand_read_vec(c, in, 1, &b))
        return false;
    s->count = imm & IMM_WORDS ? 8 : 16;
    spread(s->a, &a, imm);
    spread(s->b, &b, imm);
    s->len_a = explicit ? explicit_length(in, c->rax, s->count) : implicit_length(s->a, s->count);
    s->len_b = explicit ? explicit_length(in, c->rdx, s->count) : implicit_length(s->b, s->count);
    return true;
}

/* ------------------------------------------------------------------------------------------- aggregations ----- */
/* Each answers: is bit j of IntRes1 set? Elements past a string's end follow SDM 1 table 12-7 (valid/invalid pairs). */
static bool equal_any(const struct strings *s, unsigned j)
{
    for (unsigned i = 0; j < s->len_b && i < s->len_a; i++) {
        if (s->a[i] == s->b[j])
            return true;
    }
    return false;
}

static bool in_ranges(const struct strings *s, unsigned j)
{
    for (unsigned i = 0; j < s->len_b && i + 1 < s->len_a; i += 2) {
        if (s->a[i] <= s->b[j] && s->b[j] <= s->a[i + 1])
            return true;
    }
    return false;
}

static bool equal_each(const struct strings *s, unsigned j)
{
    bool valid_a = j < s->len_a, valid_b = j < s->len_b;
    return valid_a && valid_b ? s->a[j] == s->b[j] : valid_a == valid_b;
}

/* Does the first string, as far as it is valid and the register reaches, stand at j in the second? */
static bool equal_ordered(const struct strings *s, unsigned j)
{
    for (unsigned i = 0; i < s->len_a && j + i < s->count; i++) {
        if (j + i >= s->len_b || s->a[i] != s->b[j + i])
            return false;
    }
    return true;
}

static bool (*const aggregations[])(const struct strings *s, unsigned j) = {
    [EQUAL_ANY] = equal_any,
    [RANGES] = in_ranges,
    [EQUAL_EACH] = equal_each,
    [EQUAL_ORDERED] = equal_ordered,
};

static u32 compare(const struct strings *s, u8 imm)
{
    u32 r = 0;
    for (unsigned j = 0; j < s->count; j++)
        r |= (u32)aggregations[(imm & IMM_AGGREGATION) >> 2](s, j) << j;
    if (imm & IMM_NEGATE)
        r ^= imm & IMM_MASKED ? (1u << s->len_b) - 1 : (1u << s->count) - 1;
    return r;
}

/* ------------------------------------------------------------------------------------------------- results ----- */
static void put_flags(struct vcpu *c, const struct strings *s, u32 result)
{
    rflags_put(c, EFL_STATUS, (result ? EFL_CF : 0) | (s->len_b < s->count ? EFL_ZF : 0) |
               (s->len_a < s->count ? EFL_SF : 0) | (result & 1 ? EFL_OF : 0));
}

static bool return_index(struct vcpu *c, const struct insn *in, bool explicit)
{
    struct strings s;
    if (!read_strings(c, in, explicit, &s))
        return false;
    const u32 result = compare(&s, vec_imm(in));
    unsigned index = s.count;
    if (result)
        index = (unsigned)(vec_imm(in) & IMM_MOST ? 31 - __builtin_clz(result) : __builtin_ctz(result));
    c->rcx = index;
    put_flags(c, &s, result);
    return true;
}

static bool return_mask(struct vcpu *c, const struct insn *in, bool explicit)
{
    struct strings s;
    union vec r = { 0 };
    if (!read_strings(c, in, explicit, &s))
        return false;
    const u32 result = compare(&s, vec_imm(in));
    if (!(vec_imm(in) & IMM_MOST))
        r.d[0] = result;
    for (unsigned i = 0; vec_imm(in) & IMM_MOST && i < s.count; i++) {
        if (result >> i & 1)
            memset(r.b + i * (16 / s.count), 0xff, 16 / s.count);
    }
    memcpy(c->vec[0].b, r.b, in->vex ? 32 : 16);    /* VEX clears the upper half of YMM0 */
    put_flags(c, &s, result);
    return true;
}

bool in_pcmpestri(struct vcpu *c, const struct insn *in) { return return_index(c, in, true); }
bool in_pcmpestrm(struct vcpu *c, const struct insn *in) { return return_mask(c, in, true); }
bool in_pcmpistri(struct vcpu *c, const struct insn *in) { return return_index(c, in, false); }
bool in_pcmpistrm(struct vcpu *c, const struct insn *in) { return return_mask(c, in, false); }
