/* insn_move.c - moves between vectors, memory and general registers; widening moves, inserts, extracts; MXCSR.
 */
#include "jit/aarch64/insn.h"

static unsigned memory_base(struct emit *e) { return emit_home(e, e->ins->p); }
static u32 memory_off(const struct emit *e) { return (u32)e->ins->disp; }
static bool is_vec(ir_val v) { return ir_is_vec(v); }

/* All of the operand, 16 or 32 bytes. */
static void move(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const bool wide = in->vl == 32;
    const unsigned base = memory_base(e);
    const u32 off = memory_off(e);
    if (ins->d == IR_MEM) {
        vec_str(e, 16, ins->a - IR_V, base, off);
        if (wide) {
            vec_upper(e, false, V_A, ins->a - IR_V);
            vec_str(e, 16, V_A, base, off + 16);
        }
        return;
    }
    const unsigned d = ins->d - IR_V;
    if (ins->a == IR_MEM)
        vec_ldr(e, 16, d, base, off);
    else
        vmov(e, d, ins->a - IR_V);
    if (wide) {
        if (ins->a == IR_MEM)
            vec_ldr(e, 16, V_A, base, off + 16);
        else
            vec_upper(e, false, V_A, ins->a - IR_V);
        vec_upper(e, true, V_A, d);
    }
    vec_clear_upper(e, in, d);
}

/* MOVSS, MOVSD: op[0]: element size */
static void move_scalar(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = row->op[0];
    if (ins->d == IR_MEM) {
        vec_str(e, 1u << size, ins->a - IR_V, memory_base(e), memory_off(e));
        return;
    }
    const unsigned d = ins->d - IR_V;
    if (ins->a == IR_MEM) {
        vec_ldr(e, 1u << size, d, memory_base(e), memory_off(e));
    } else {
        const unsigned a = ins->a - IR_V;
        unsigned b = ins->b - IR_V;
        if (d == b && d != a) {
            vmov(e, V16, b);
            b = V16;
        }
        vmov(e, d, a);
        if (b != d)
            vins(e, size, d, 0, b, 0);
    }
    vec_clear_upper(e, in, d);
}

/* Halves: op[0]: of the destination; op[1]: of a register source or, stored, of the source. */
static void move_half(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    if (ins->d == IR_MEM) {
        unsigned from = ins->a - IR_V;
        if (row->op[0]) {
            vdup(e, 3, V16, from, 1);
            from = V16;
        }
        vec_str(e, 8, from, memory_base(e), memory_off(e));
        return;
    }
    const unsigned d = ins->d - IR_V, a = ins->a - IR_V;
    unsigned b = vec_source(e, ins->b, 8);
    if (b == d && d != a) {
        vmov(e, V16, b);
        b = V16;
    }
    vmov(e, d, a);
    vins(e, 3, d, row->op[0], b, ins->b == IR_MEM ? 0 : row->op[1]);
    vec_clear_upper(e, in, d);
}

/* MOVQ between XMM registers and memory: 8 bytes, the rest zero. */
static void move_low(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    if (ins->d == IR_MEM) {
        vec_str(e, 8, ins->a - IR_V, memory_base(e), memory_off(e));
        return;
    }
    const unsigned d = ins->d - IR_V;
    if (ins->a == IR_MEM)
        vec_ldr(e, 8, d, memory_base(e), memory_off(e));
    else
        v2(e, 0x1e604000, d, ins->a - IR_V);        /* FMOV d, d */
    vec_clear_upper(e, in, d);
}

/* MOVD: an XMM register and a general one or memory. */
static void move_gpr(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = in->op[is_vec(ins->d) ? 1 : 0].size;
    const u32 wide = size == 8 ? 1u << 31 | 1u << 22 : 0;
    if (ins->d == IR_MEM) {
        vec_str(e, size, ins->a - IR_V, memory_base(e), memory_off(e));
    } else if (!is_vec(ins->d)) {
        v2(e, 0x1e260000 | wide, emit_home(e, ins->d), ins->a - IR_V);
    } else {
        const unsigned d = ins->d - IR_V;
        if (ins->a == IR_MEM)
            vec_ldr(e, size, d, memory_base(e), memory_off(e));
        else
            v2(e, 0x1e270000 | wide, d, emit_home(e, ins->a));
        vec_clear_upper(e, in, d);
    }
}

/* --- elements -------------------------------------------------------------------------------------------------------------- */

static unsigned log2_of(unsigned bytes) { return (unsigned)__builtin_ctz(bytes); }

/* op[0]: element size, but for PEXTRD, PEXTRQ */
static void extract(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = row->op[0] == 2 ? log2_of(in->op[0].size) : row->op[0], i = (unsigned)in->imm & ((16u >> size) - 1);
    if (ins->d == IR_MEM) {
        vdup(e, size, V16, ins->a - IR_V, i);
        vec_str(e, 1u << size, V16, memory_base(e), memory_off(e));
    } else
        vget(e, size, emit_home(e, ins->d), ins->a - IR_V, i);
}

static void insert(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = row->op[0] == 2 ? log2_of(in->op[2].size) : row->op[0], i = (unsigned)in->imm & ((16u >> size) - 1);
    const unsigned d = ins->d - IR_V;
    if (ins->b == IR_MEM)
        vec_ldr(e, 1u << size, V_MEM, memory_base(e), memory_off(e));
    vmov(e, d, ins->a - IR_V);
    if (ins->b == IR_MEM)
        vins(e, size, d, i, V_MEM, 0);
    else
        vins_gpr(e, size, d, i, emit_home(e, ins->b));
    vec_clear_upper(e, in, d);
}

static void insert_single(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned d = ins->d - IR_V, imm = (u8)in->imm, b = vec_source(e, ins->b, 4);
    vmov(e, V16, ins->a - IR_V);
    vins(e, 2, V16, imm >> 4 & 3, b, ins->b == IR_MEM ? 0 : imm >> 6);
    if (imm & 15)
        vzero(e, V_ZERO);
    for (unsigned i = 0; i < 4; i++)
        if (imm >> i & 1)
            vins(e, 2, V16, i, V_ZERO, 0);
    vmov(e, d, V16);
    vec_clear_upper(e, in, d);
}

/* PMOVSX, PMOVZX: op[0]: from size; op[1]: to size, + 4: unsigned */
static void widen_half(struct emit *e, unsigned d, unsigned a, unsigned from, unsigned to, bool zero)
{
    for (unsigned size = from; size < to; size++, a = d)
        v2(e, 0x0f00a400 | (zero ? 1u << 29 : 0) | (8u << size) << 16, d, a);
}
static void widen(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned from = row->op[0], to = row->op[1] & 3, half = 16u >> (to - from), d = ins->d - IR_V;
    const bool zero = row->op[1] & 4;
    unsigned a = vec_source(e, ins->a, in->op[1].size);
    if (in->vl == 32) {
        vext(e, V_OUT, a, a, half);
        widen_half(e, V_OUT, V_OUT, from, to, zero);
    }
    widen_half(e, d, a, from, to, zero);
    if (in->vl == 32)
        vec_upper(e, true, V_OUT, d);
    vec_clear_upper(e, in, d);
}

/* VBROADCAST*, VPBROADCAST*: op[0]: element size */
static void broadcast(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned d = ins->d - IR_V, a = vec_source(e, ins->a, 1u << row->op[0]);
    if (row->op[0] == 4)
        vmov(e, d, a);
    else
        vdup(e, row->op[0], d, a, 0);
    if (in->vl == 32)
        vec_upper(e, true, d, d);
    vec_clear_upper(e, in, d);
}

/* VINSERTF128, VEXTRACTF128 */
static void insert_half(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned d = ins->d - IR_V, a = ins->a - IR_V, b = vec_source(e, ins->b, 16);
    if (in->imm & 1) {
        vec_upper(e, true, b, d);
        vmov(e, d, a);
        return;
    }
    if (a != d) {
        vec_upper(e, false, V_A, a);
        vec_upper(e, true, V_A, d);
    }
    vmov(e, d, b);
}
static void extract_half(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    unsigned a = ins->a - IR_V;
    if (in->imm & 1) {
        vec_upper(e, false, V_A, a);
        a = V_A;
    }
    if (ins->d == IR_MEM) {
        vec_str(e, 16, a, memory_base(e), memory_off(e));
        return;
    }
    vmov(e, ins->d - IR_V, a);
    vzero(e, V_ZERO);
    vec_upper(e, true, V_ZERO, ins->d - IR_V);
}

static void zero_all(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned count = in->mode == 8 ? 16 : 8;
    const u32 at = VCPU_OFF(vec[0]);
    vzero(e, V_ZERO);
    add_any(e, true, X17, VCPU, at);
    for (unsigned i = 0; i < count; i++) {
        vec_str(e, 16, V_ZERO, X17, 32 * i + 16);
        if (row->op[0])
            vzero(e, i);
    }
}

/* --- masks ------------------------------------------------------------------------------------------------------------------- */

/* d = the sign bits of 16 bytes: every step brings neighbours' together. */
static void byte_signs(struct emit *e, unsigned d, unsigned v)
{
    v2(e, TS(1, 0, 16 - 7), V16, v);            /* USHR */
    v2(e, TS(1, 2, 32 - 7), V16, V16);          /* USRA */
    v2(e, TS(1, 2, 64 - 14), V16, V16);
    v2(e, TS(1, 2, 128 - 28), V16, V16);
    vget(e, 0, d, V16, 0);
    vget(e, 0, X16, V16, 8);
    rrr(e, ORR | BY(8), false, d, d, X16);
}
static void single_signs(struct emit *e, unsigned d, unsigned v)
{
    v2(e, TS(1, 0, 64 - 31), V16, v);
    v2(e, TS(1, 2, 128 - 31), V16, V16);
    vget(e, 2, d, V16, 0);
    vget(e, 2, X16, V16, 2);
    rrr(e, ORR | BY(2), false, d, d, X16);
}
static void double_signs(struct emit *e, unsigned d, unsigned v)
{
    v2(e, TS(1, 0, 128 - 63), V16, v);
    vget(e, 2, d, V16, 0);
    vget(e, 2, X16, V16, 2);
    rrr(e, ORR | BY(1), false, d, d, X16);
}

/* op[0]: element size */
static void mask(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    void (*const signs)(struct emit *, unsigned, unsigned) = row->op[0] == 0 ? byte_signs : row->op[0] == 2 ? single_signs : double_signs;
    const unsigned d = emit_home(e, ins->d), a = ins->a - IR_V;
    signs(e, d, a);
    if (in->vl != 32)
        return;
    vec_upper(e, false, V_A, a);
    signs(e, X17, V_A);
    rrr(e, ORR | BY(16u >> row->op[0]), false, d, d, X17);
}

/* PTEST: ZF: a & b is zero; CF: b & ~a is. */
static void test(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned a = ins->d - IR_V, b = vec_source(e, ins->a, 16);
    v3(e, V_AND, V16, b, a);
    v3(e, V_BIC, V17, b, a);
    v3(e, TP(3, V_ZIP2), V18, V16, V17);
    v3(e, TP(3, V_ZIP1), V16, V16, V17);
    v3(e, V_ORR, V16, V16, V18);
    v2(e, T2(0, 3, 9), V16, V16);               /* CMEQ 0: all ones where a flag is set */
    if (ins->flive & IR_NZCV) {
        vget(e, 2, X16, V16, 0);
        vget(e, 2, X17, V16, 2);
        logic_imm(e, AND, false, X16, X16, 1u << 30);
        logic_imm(e, AND, false, X17, X17, 1u << 29);
        rrr(e, ORR, false, X16, X16, X17);
        put32(e, 0xd51b4200 | X16);             /* msr nzcv */
    }
    if (ins->flive & (IR_P | IR_A)) {
        mov_imm(e, X16, 1);
        flags_odd(e, X16);
    }
    e->flags = ins->flive & IR_NZCV ? FLAGS_HOST : FLAGS_DEAD;
    e->inverted = false;
}

/* --- MXCSR ------------------------------------------------------------------------------------------------------------------- */

/* ins->d: a temporary that has been looked at. */
static void load_mxcsr(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned v = emit_in(e, ins->d, 4);
    add_any(e, true, X17, VCPU, VCPU_OFF(mxcsr));
    str(e, 4, v, X17, 0);
    mov(e, false, X16, v);
    entry_fp_control(e, X16);
    emit_release(e, v);
}

static void store_mxcsr(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    entry_fp_flags(e, X16);
    str(e, 4, X16, memory_base(e), memory_off(e));
}

/* --- the table ----------------------------------------------------------------------------------------------------------- */

#define ROW(name, limit, fn, ...) { in_##name, VEC_WHOLE, limit, NULL, fn, { __VA_ARGS__ } }
/* clang-format off */
const struct vec_row vec_rows_move[] = {
    ROW(movups, 0, move, 0), ROW(movupd, 0, move, 0), ROW(movaps, 0, move, 0), ROW(movapd, 0, move, 0), ROW(movdqa, 0, move, 0), ROW(movdqu, 0, move, 0),
    ROW(lddqu, 0, move, 0), ROW(movntps, 0, move, 0), ROW(movntpd, 0, move, 0), ROW(movntdq, 0, move, 0), ROW(movntdqa, 0, move, 0),
    ROW(movss, 0, move_scalar, 2), ROW(movsd, 0, move_scalar, 3), ROW(movq, 0, move_low, 0), ROW(movd, 0, move_gpr, 0),
    ROW(movlps, 0, move_half, 0, 0), ROW(movlpd, 0, move_half, 0, 0), ROW(movhps, 0, move_half, 1, 0), ROW(movhpd, 0, move_half, 1, 0),
    ROW(movhlps, 0, move_half, 0, 1), ROW(movlhps, 0, move_half, 1, 0),
    ROW(pextrb, 0, extract, 0), ROW(pextrw, 0, extract, 1), ROW(pextrd, 0, extract, 2), ROW(extractps, 0, extract, 2),
    ROW(pinsrb, 0, insert, 0), ROW(pinsrw, 0, insert, 1), ROW(pinsrd, 0, insert, 2), ROW(insertps, 0, insert_single, 0),
    ROW(pmovsxbw, 0, widen, 0, 1), ROW(pmovsxbd, 0, widen, 0, 2), ROW(pmovsxbq, 0, widen, 0, 3), ROW(pmovsxwd, 0, widen, 1, 2), ROW(pmovsxwq, 0, widen, 1, 3), ROW(pmovsxdq, 0, widen, 2, 3),
    ROW(pmovzxbw, 0, widen, 0, 5), ROW(pmovzxbd, 0, widen, 0, 6), ROW(pmovzxbq, 0, widen, 0, 7), ROW(pmovzxwd, 0, widen, 1, 6), ROW(pmovzxwq, 0, widen, 1, 7), ROW(pmovzxdq, 0, widen, 2, 7),
    ROW(vbroadcastss, 0, broadcast, 2), ROW(vbroadcastsd, 0, broadcast, 3), ROW(vbroadcastf128, 0, broadcast, 4), ROW(vbroadcasti128, 0, broadcast, 4),
    ROW(vpbroadcastb, 0, broadcast, 0), ROW(vpbroadcastw, 0, broadcast, 1), ROW(vpbroadcastd, 0, broadcast, 2), ROW(vpbroadcastq, 0, broadcast, 3),
    ROW(vinsertf128, 0, insert_half, 0), ROW(vinserti128, 0, insert_half, 0), ROW(vextractf128, 0, extract_half, 0), ROW(vextracti128, 0, extract_half, 0),
    ROW(vzeroupper, 0, zero_all, 0), ROW(vzeroall, 0, zero_all, 1),
    ROW(pmovmskb, 0, mask, 0), ROW(movmskps, 0, mask, 2), ROW(movmskpd, 0, mask, 3), ROW(ptest, ONLY_128, test, 0),
    ROW(ldmxcsr, 0, load_mxcsr, 0), ROW(stmxcsr, 0, store_mxcsr, 0),
};
/* clang-format on */
const unsigned vec_rows_move_count = ARRAY_LEN(vec_rows_move);
