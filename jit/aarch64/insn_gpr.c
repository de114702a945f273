/* insn_gpr.c - IR_OP_insn on general registers: counting, BMI, CRC32, MOVBE, MOVNTI, fences. They need no `need`: V16 is nobody's.
 */
#include "jit/aarch64/insn.h"

static void finish(struct emit *e, const struct ir_ins *ins, unsigned d, unsigned a, unsigned b)
{
    emit_done(e, ins->d, d, ins->size);
    emit_release(e, a);
    if (b != NO_REG)
        emit_release(e, b);
}

/* PF, AF, SF, OF, CF are clear. */
static void popcnt(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    struct ir_ins flags = *ins;
    const unsigned a = emit_in_zero(e, ins->a, ins->size), d = emit_out(e, ins->d, ins->size);
    v2(e, ins->size == 8 ? 0x9e670000 : 0x1e270000, V16, a);
    v2(e, 0x0e205800, V16, V16);        /* CNT */
    v2(e, 0x0e31b800, V16, V16);        /* ADDV */
    v2(e, 0x1e260000, d, V16);
    flags.fdef &= (u16)~(IR_P | IR_A);
    flags_from(e, &flags, d, NO_REG, NO_REG);
    if (ins->flive & (IR_P | IR_A)) {
        mov_imm(e, X16, 1);
        flags_odd(e, X16);
    }
    finish(e, ins, d, a, NO_REG);
}

/* op[0]: trailing zeros. CF: the source is zero, the count all bits. */
static void count_zeros(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = ins->size, a = emit_in_zero(e, ins->a, size), d = emit_out(e, ins->d, size), carry = emit_scratch(e);
    const bool wide = size == 8;
    unsigned from = a;
    if (row->op[0]) {
        if (size == 2)
            logic_imm(e, ORR, false, carry, a, 0x10000);
        rr(e, RBIT, wide, carry, size == 2 ? carry : a);
        from = carry;
    } else if (size == 2) {
        lsl(e, false, carry, a, 16);
        logic_imm(e, ORR, false, carry, carry, 0x8000);
        from = carry;
    }
    rr(e, CLZ, wide, d, from);
    lsr(e, false, carry, d, (unsigned)__builtin_ctz(8 * size));
    flags_from(e, ins, d, carry, NO_REG);
    emit_release(e, carry);
    finish(e, ins, d, a, NO_REG);
}

static void andn(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned a = emit_in(e, ins->a, ins->size), b = emit_in(e, ins->b, ins->size), d = emit_out(e, ins->d, ins->size);
    rrr(e, BIC, ins->size == 8, d, b, a);
    flags_from(e, ins, d, NO_REG, NO_REG);
    emit_release(e, b);
    finish(e, ins, d, a, NO_REG);
}

/* op[0]: 0 BLSR, 1 BLSMSK, 2 BLSI. CF: the source is zero; BLSI: is not. X17 is 0 or -1. */
static void lowest(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const bool wide = ins->size == 8;
    const unsigned a = emit_in_zero(e, ins->a, ins->size), d = emit_out(e, ins->d, ins->size), carry = emit_scratch(e);
    add_imm(e, SUB, true, carry, a, 1);         /* its sign: a is zero (bit 63, if a has 32 bits) */
    if (wide) {
        rrr(e, BIC, true, carry, carry, a);     /* bit 63: zero only */
    }
    lsr(e, true, carry, carry, 63);
    if (row->op[0] == 2) {
        logic_imm(e, EOR, false, carry, carry, 1);
        rrr(e, SUB, wide, X16, XZR, a);
        rrr(e, AND, wide, d, a, X16);
    } else {
        add_imm(e, SUB, wide, X16, a, 1);
        rrr(e, row->op[0] ? EOR : AND, wide, d, a, X16);
    }
    flags_from(e, ins, d, carry, NO_REG);
    emit_release(e, carry);
    finish(e, ins, d, a, NO_REG);
}

/* op[0]: LSLV and the like */
static void shift(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned a = emit_in(e, ins->a, ins->size), b = emit_in(e, ins->b, ins->size), d = emit_out(e, ins->d, ins->size);
    rrr(e, row->op[0], ins->size == 8, d, a, b);
    emit_release(e, b);
    finish(e, ins, d, a, NO_REG);
}

static void rotate(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned a = emit_in(e, ins->a, ins->size), d = emit_out(e, ins->d, ins->size);
    ror(e, ins->size == 8, d, a, (unsigned)in->imm & (8u * ins->size - 1));
    finish(e, ins, d, a, NO_REG);
}

static void crc32(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = in->op[1].size, b = emit_in(e, ins->a, size), d = emit_home(e, ins->d);
    put32(e, 0x1ac05000 | (unsigned)__builtin_ctz(size) << 10 | (size == 8 ? 1u << 31 : 0) | b << 16 | d << 5 | d);
    emit_release(e, b);
}

static void fence(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row) {}

static void movnti(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    str(e, in->op[0].size, emit_home(e, ins->a), emit_home(e, ins->p), (u32)ins->disp);
}

static void movbe(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = in->op[0].size, a = emit_in(e, ins->a, size), d = emit_scratch(e);
    if (size == 8)
        put32(e, 0xdac00c00 | a << 5 | d);
    else
        rr(e, size == 2 ? REV16 : REV32, false, d, a);
    emit_done(e, ins->d, d, size);
    emit_release(e, d);
    emit_release(e, a);
}

/* Upper half to operand 0, lower to operand 1; RDX is a source. */
static void mulx(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const unsigned size = in->op[0].size, b = emit_in(e, ins->b, size), d = emit_home(e, ins->d), low = emit_home(e, ins->a);
    const unsigned rdx = host_of_gpr[GPR_RDX];
    if (size == 8) {
        rrr(e, MUL, true, X16, rdx, b);
        rrr(e, UMULH, true, X17, rdx, b);
        mov(e, true, low, X16);
        mov(e, true, d, X17);
    } else {
        rrr(e, UMULL, true, X16, rdx, b);
        mov(e, false, low, X16);
        lsr(e, true, d, X16, 32);
    }
    emit_release(e, b);
}

#define ROW(name, limit, fn, ...) { in_##name, VEC_WHOLE, limit, NULL, fn, { __VA_ARGS__ } }
const struct vec_row vec_rows_gpr[] = {
    ROW(popcnt, 0, popcnt, 0), ROW(tzcnt, 0, count_zeros, 1), ROW(lzcnt, 0, count_zeros, 0), ROW(andn, 0, andn, 0),
    ROW(blsr, 0, lowest, 0), ROW(blsmsk, 0, lowest, 1), ROW(blsi, 0, lowest, 2), ROW(shlx, 0, shift, LSLV), ROW(shrx, 0, shift, LSRV),
    ROW(sarx, 0, shift, ASRV), ROW(rorx, 0, rotate, 0), ROW(mulx, 0, mulx, 0), ROW(crc32, NEED_CRC32, crc32, 0),
    ROW(movbe, 0, movbe, 0), ROW(movnti, 0, movnti, 0), ROW(lfence, 0, fence, 0), ROW(sfence, 0, fence, 0), ROW(mfence, 0, fence, 0),
};
const unsigned vec_rows_gpr_count = ARRAY_LEN(vec_rows_gpr);
