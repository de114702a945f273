/* insn_fp.c - floating-point arithmetic of SSE and AVX.
 *
 * While vectors are in the host's registers FPCR has MXCSR's rounding mode and FZ. So each instruction that the host does not do as x86
 * does leaves a bit in FPSR, and is done again by the interpreter's function (vec_check, insn_slow.c):
 *
 *   IOC   a NaN is made (x86's is negative) or a signalling one is read (whose choice among two NaNs is another), a conversion is out
 *         of range, a comparison signals. With quiet NaNs alone both choose the first operand.
 *   IDC   an operand is denormal: FZ has made it zero
 *   UFC   the result is, or is before rounding: FZ has made it zero
 *   OFC, DZC   for MXCSR's flags, which cannot be told from what FZ did before
 *
 * Otherwise the result is exact, or inexact in the same way: IXC, which goes to PE when the registers are stored (entry.c).
 */
#include "jit/aarch64/insn.h"

static void plain(const struct lane *l, unsigned d, unsigned a, unsigned b) { v3(l->e, l->row->op[0], d, a, b); }
static void unary(const struct lane *l, unsigned d, unsigned a, unsigned b) { v2(l->e, l->row->op[0], d, a); }
static void unary_b(const struct lane *l, unsigned d, unsigned a, unsigned b) { v2(l->e, l->row->op[0], d, b); }

/* The second operand where the comparison (op[0]: FCMGT) is false. */
static void minimum(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v3(l->e, l->row->op[0], d, b, a);
    v3(l->e, V_BSL, d, a, b);
}
static void maximum(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v3(l->e, l->row->op[0], d, a, b);
    v3(l->e, V_BSL, d, a, b);
}

/* op[0]: FCMEQ; FCMGE, FCMGT are the same with other bits. Those two signal on quiet NaNs, as x86's do. */
#define FCM_GE (1u << 29)
#define FCM_GT (1u << 29 | 1u << 23)
static void compare(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    const u32 eq = l->row->op[0];
    switch (l->imm & 3) {
    case 0: v3(l->e, eq, d, a, b); break;
    case 1: v3(l->e, eq | FCM_GT, d, b, a); break;
    case 2: v3(l->e, eq | FCM_GE, d, b, a); break;
    default:
        v3(l->e, eq, d, a, a);
        v3(l->e, eq, V16, b, b);
        v3(l->e, V_AND, d, d, V16);
    }
    if ((l->imm & 7) - 3u < 4)         /* UNORD, NEQ, NLT, NLE */
        v2(l->e, V_NOT, d, d);
}

/* op[0]: on the even and odd elements; op[1]: their size */
static void horizontal(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v3(l->e, TP(l->row->op[1], V_UZP1), V16, a, b);
    v3(l->e, TP(l->row->op[1], V_UZP2), V17, a, b);
    v3(l->e, l->row->op[0], d, V16, V17);
}

/* ROUND*: op[0]: FRINTN; what follows has other bits. op[1]: scalar */
static void round_to(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    static const u32 vector[4] = { 0, 1u << 12, 1u << 23, 1u << 12 | 1u << 23 };   /* N M P Z */
    static const u32 scalar[4] = { 0, 2u << 15, 1u << 15, 3u << 15 };
    const bool s = l->row->op[1];
    u32 how = (s ? scalar : vector)[l->imm & 3];
    if (l->imm & 4)
        how = s ? (l->imm & 8 ? 7u : 6u) << 15 : 1u << 29 | 1u << 12 | (l->imm & 8 ? 1u << 23 : 0);     /* I, X */
    v2(l->e, l->row->op[0] | how, d, s ? b : a);
}

/* --- conversions ---------------------------------------------------------------------------------------------------------- */

/* Doublewords from singles in the rounding mode. FRINTI does not set IXC, which must not be if the value is out of range; FRINTX is for
 * that, behind the look at FPSR. Of singles those out of range have no fraction. */
static void singles_to_dwords(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v2(l->e, 0x6e219800, V16, a);       /* FRINTX */
    v2(l->e, 0x4ea1b800, d, V16);       /* FCVTZS */
}

static void dwords_to_doubles(const struct lane *l, unsigned d, unsigned a, unsigned b)
{
    v2(l->e, 0x0f20a400, V16, a);       /* SSHLL 2d */
    v2(l->e, 0x4e61d800, d, V16);       /* SCVTF */
}

static void int_to_scalar(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned d = ins->d - IR_V, a = ins->a - IR_V, size = in->op[2].size, b = emit_in(e, ins->b, size);
    v2(e, row->op[0] | (size == 8 ? 1u << 31 : 0), V16, b);
    vmov(e, d, a);
    vins(e, row->limit & DOUBLE ? 3 : 2, d, 0, V16, 0);
    vec_clear_upper(e, in, d);
    emit_release(e, b);
}

/* op[0]: FCVTZS; op[1]: 0, or FRINTI. */
static void scalar_to_int(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = in->op[0].size, a = vec_source(e, ins->a, in->op[1].size);
    if (row->op[1])
        v2(e, row->op[1], V16, a);
    v2(e, row->op[0] | (size == 8 ? 1u << 31 : 0), X17, row->op[1] ? V16 : a);
    struct tail *t = vec_check(e);
    if (row->op[1])
        v2(e, row->op[1] & ~(1u << 15), V16, a);      /* FRINTX */
    mov(e, true, emit_home(e, ins->d), X17);
    t->back = e->at;
}

/* --- COMIS, UCOMIS ---------------------------------------------------------------------------------------------------------- */

/* After FCMP less is N, equal ZC, greater C, unordered CV. C is the inverse of CF but if unordered; FCCMP leaves Z alone then, and
 * else does the same comparison again. N is wrong if less, which matters if somebody reads SF. */
static void compare_flags(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const u16 live = ins->flive;
    const unsigned a = ins->d - IR_V, b = vec_source(e, ins->a, in->op[1].size);
    const u32 type = row->limit & DOUBLE ? 1u << 22 : 0;
    put32(e, (row->op[0] | type) | b << 16 | a << 5);
    struct tail *t = vec_check(e);
    t->need = 1;
    if (live & (IR_P | IR_A)) {
        cset(e, X16, VC);
        flags_odd(e, X16);
    }
    if (live & IR_NZCV)
        put32(e, 0x1e200400 | type | b << 16 | VC << 12 | a << 5 | 4);
    if (live & IR_S) {
        put32(e, 0xd53b4200 | X16);
        logic_imm(e, AND, false, X16, X16, 0x7fffffff);
        put32(e, 0xd51b4200 | X16);
    }
    t->back = e->at;
    e->flags = live & IR_NZCV ? FLAGS_HOST : FLAGS_DEAD;
    e->inverted = true;
}

/* --- the table ----------------------------------------------------------------------------------------------------------- */

#define PACKED(name, fn, ...) { in_##name, VEC_FP, 0, fn, NULL, { __VA_ARGS__ } }
#define HALF(name, fn, ...) { in_##name, VEC_FP, ONLY_128, fn, NULL, { __VA_ARGS__ } }
#define SCALAR(name, limit, fn, ...) { in_##name, VEC_SCALAR, limit, fn, NULL, { __VA_ARGS__ } }
#define WHOLE(name, limit, fn, ...) { in_##name, VEC_WHOLE, limit, NULL, fn, { __VA_ARGS__ } }
/* Packed singles, doubles, scalar single, double. */
#define FOUR(name, fn, single, scalar) \
    PACKED(name##ps, fn, single), PACKED(name##pd, fn, (single) | 1u << 22), SCALAR(name##ss, 0, fn, scalar), \
    SCALAR(name##sd, DOUBLE, fn, (scalar) | 1u << 22)
#define FOUR_CMP(ps, pd, ss, sd) \
    { in_##ps, VEC_FP, PREDICATES, compare, NULL, { 0x4e20e400 } }, { in_##pd, VEC_FP, PREDICATES, compare, NULL, { 0x4e60e400 } }, \
    SCALAR(ss, PREDICATES, compare, 0x5e20e400), SCALAR(sd, PREDICATES | DOUBLE, compare, 0x5e60e400)
/* clang-format off */
const struct vec_row vec_rows_fp[] = {
    FOUR(add, plain, 0x4e20d400, 0x1e202800), FOUR(sub, plain, 0x4ea0d400, 0x1e203800), FOUR(mul, plain, 0x6e20dc00, 0x1e200800),
    FOUR(div, plain, 0x6e20fc00, 0x1e201800), FOUR(min, minimum, 0x6ea0e400, 0x7ea0e400), FOUR(max, maximum, 0x6ea0e400, 0x7ea0e400),
    PACKED(sqrtps, unary, 0x6ea1f800), PACKED(sqrtpd, unary, 0x6ee1f800), SCALAR(sqrtss, 0, unary_b, 0x1e21c000), SCALAR(sqrtsd, DOUBLE, unary_b, 0x1e61c000),
    FOUR_CMP(cmpps, cmppd, cmpss, cmpsd),
    PACKED(haddps, horizontal, 0x4e20d400, 2), PACKED(haddpd, horizontal, 0x4e60d400, 3), PACKED(hsubps, horizontal, 0x4ea0d400, 2), PACKED(hsubpd, horizontal, 0x4ee0d400, 3),
    { in_roundps, VEC_FP, ROUNDS, round_to, NULL, { 0x4e218800 } }, { in_roundpd, VEC_FP, ROUNDS, round_to, NULL, { 0x4e618800 } },
    SCALAR(roundss, ROUNDS, round_to, 0x1e244000, 1), SCALAR(roundsd, ROUNDS | DOUBLE, round_to, 0x1e644000, 1),

    SCALAR(cvtss2sd, DOUBLE, unary_b, 0x1e22c000), SCALAR(cvtsd2ss, 0, unary_b, 0x1e624000),
    HALF(cvtps2pd, unary, 0x0e617800), HALF(cvtpd2ps, unary, 0x0e616800), HALF(cvtdq2pd, dwords_to_doubles, 0),
    PACKED(cvtdq2ps, unary, 0x4e21d800), PACKED(cvttps2dq, unary, 0x4ea1b800), PACKED(cvtps2dq, singles_to_dwords, 0),
    WHOLE(cvtsi2ss, 0, int_to_scalar, 0x1e220000), WHOLE(cvtsi2sd, DOUBLE, int_to_scalar, 0x1e620000),
    WHOLE(cvttss2si, 0, scalar_to_int, 0x1e380000), WHOLE(cvttsd2si, 0, scalar_to_int, 0x1e780000),
    WHOLE(cvtss2si, 0, scalar_to_int, 0x1e380000, 0x1e27c000), WHOLE(cvtsd2si, 0, scalar_to_int, 0x1e780000, 0x1e67c000),
    WHOLE(ucomiss, 0, compare_flags, 0x1e202000), WHOLE(comiss, 0, compare_flags, 0x1e202010),
    WHOLE(ucomisd, DOUBLE, compare_flags, 0x1e202000), WHOLE(comisd, DOUBLE, compare_flags, 0x1e202010),
};
/* clang-format on */
const unsigned vec_rows_fp_count = ARRAY_LEN(vec_rows_fp);
