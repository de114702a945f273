/* emit_shift.c - shifts and rotations.
 *
 * The host's do not set flags: where somebody reads them, CF is taken from the operand by a bit-field move, and the rest from the
 * result. A count in a register may be 0, which leaves all flags alone: what makes them is jumped over then. So they are brought
 * where the other way leaves them first: in the host's, with C as it is.
 */
#include "jit/aarch64/emit.h"

static bool somebody_reads(const struct ir_ins *ins) { return ins->fdef & ins->flive; }
static bool wants(const struct ir_ins *ins, u16 flag) { return ins->fdef & ins->flive & flag; }

/* The count of a register, masked. */
static unsigned count_of(struct emit *e, ir_val v, unsigned size)
{
    unsigned reg = emit_in(e, v, 1), k = emit_scratch(e);       /* after reg: memory's is another one */
    ubfx(e, k, reg, 0, size == 8 ? 6 : 5);
    emit_release(e, reg);
    return k;
}

/* The way over what makes flags, if the count is 0. */
static u32 unless_zero(struct emit *e, const struct ir_ins *ins, unsigned k)
{
    if (ins->flive & IR_NZCV) {
        flags_to_host(e);
        if (e->flags == FLAGS_BOTH)
            e->flags = FLAGS_HOST;
        if (e->flags == FLAGS_HOST && ins->flive & IR_C)
            flags_carry(e, false);
    }
    return branch_zero(e, false, k, false);
}

static void both_ways(struct emit *e, const struct ir_ins *ins, u32 over)
{
    emit_fill(e, over, e->at);
    e->inverted = false;
    e->flags = ins->flive & IR_NZCV ? FLAGS_HOST : FLAGS_DEAD;
}

/* Bit n of `from` to `to`, upper bits anything. */
static void take_bit(struct emit *e, unsigned to, unsigned from, unsigned n) { ubfx(e, to, from, n, 1); }

/* --- SHL SHR SAR ------------------------------------------------------------------------------------------------------- */

/* carry = the bit that goes out last; source: zero- or sign-extended. k: register, NO_REG: imm. */
static void carry_of_shift(struct emit *e, unsigned op, unsigned carry, unsigned source, unsigned size, unsigned k, unsigned imm)
{
    unsigned bits = 8 * size;
    if (op == IR_OP_shl) {
        if (k == NO_REG) {
            if (imm <= bits)
                take_bit(e, carry, source, bits - imm);
            else
                mov_imm(e, carry, 0);
        } else if (size == 8) {
            rrr(e, SUB, true, carry, XZR, k);
            rrr(e, LSRV, true, carry, source, carry);
        } else {
            rrr(e, LSLV, true, carry, source, k);
            take_bit(e, carry, carry, bits);
        }
    } else if (k == NO_REG) {
        take_bit(e, carry, source, imm - 1);
    } else {
        add_imm(e, SUB, true, carry, k, 1);
        rrr(e, LSRV, true, carry, source, carry);
    }
}

static void shift_by(struct emit *e, unsigned op, bool wide, unsigned out, unsigned source, unsigned k, unsigned imm)
{
    if (k != NO_REG)
        rrr(e, op == IR_OP_shl ? LSLV : op == IR_OP_shr ? LSRV : ASRV, wide, out, source, k);
    else if (op == IR_OP_shl)
        lsl(e, wide, out, source, imm);
    else if (op == IR_OP_shr)
        lsr(e, wide, out, source, imm);
    else
        asr(e, wide, out, source, imm);
}

static void shift(struct emit *e, const struct ir_ins *ins)
{
    unsigned op = ins->op, size = ins->size, top = 8 * size - 1, k = NO_REG, imm = (unsigned)ins->imm;
    bool reads = somebody_reads(ins), wide = size == 8, extend = size < 4;
    if (ins->a != IR_IMM)       /* the host's shifts of 4 and 8 bytes mask it as the guest's */
        k = reads || extend ? count_of(e, ins->a, size) : emit_in(e, ins->a, 1);
    unsigned source = !extend ? emit_in(e, ins->d, size) : op == IR_OP_sar ? emit_in_sign(e, ins->d, size)
                                                                           : emit_in_zero(e, ins->d, size);
    bool need_carry = wants(ins, IR_C) || (wants(ins, IR_O) && op == IR_OP_shl);
    unsigned carry = NO_REG, overflow = NO_REG;
    unsigned out = emit_out(e, ins->d, size);
    if (need_carry) {
        carry = emit_scratch(e);
        carry_of_shift(e, op, carry, source, size, k, imm);
    }
    shift_by(e, op, wide, out, source, k, imm);
    if (reads) {
        u32 over = k != NO_REG ? unless_zero(e, ins, k) : 0;
        if (wants(ins, IR_O) && op != IR_OP_sar) {
            overflow = emit_scratch(e);
            if (op == IR_OP_shl) {
                rrr(e, EOR | BY_LSR | BY(top), true, overflow, carry, out);
            } else {
                rrr(e, EOR | BY_LSR | BY(1), true, overflow, out, out);
                take_bit(e, overflow, overflow, top - 1);
            }
        }
        flags_from(e, ins, out, carry, overflow);
        if (k != NO_REG)
            both_ways(e, ins, over);
    }
    emit_release(e, k);
    emit_release(e, source);
    emit_release(e, carry);
    emit_release(e, overflow);
    emit_done(e, ins->d, out, size);
}
void emit_shl(struct emit *e, const struct ir_ins *ins) { shift(e, ins); }
void emit_shr(struct emit *e, const struct ir_ins *ins) { shift(e, ins); }
void emit_sar(struct emit *e, const struct ir_ins *ins) { shift(e, ins); }

/* --- rotations: flags change in CF and OF only ---------------------------------------------------------------------------- */

static void rotate_flags(struct emit *e, const struct ir_ins *ins, unsigned out, bool left)
{
    unsigned top = 8u * ins->size - 1, carry = emit_scratch(e), overflow = emit_scratch(e);
    take_bit(e, carry, out, left ? 0 : top);
    rrr(e, EOR | BY_LSR | BY(left ? top : 1), true, overflow, out, out);
    take_bit(e, overflow, overflow, left ? 0 : top - 1);
    flags_from(e, ins, out, carry, overflow);
    emit_release(e, carry);
    emit_release(e, overflow);
}

static void rotate(struct emit *e, const struct ir_ins *ins, bool left)
{
    unsigned size = ins->size, bits = 8 * size, k = NO_REG, d, out;
    bool reads = somebody_reads(ins), wide = size == 8;
    if (ins->a != IR_IMM)
        k = count_of(e, ins->a, size);
    d = size < 4 ? emit_in_zero(e, ins->d, size) : emit_in(e, ins->d, size);
    out = emit_out(e, ins->d, size);
    if (size < 4) {     /* copies of it fill a word */
        mov(e, true, out, d);
        if (size == 1)
            bfi(e, out, out, 8, 8);
        bfi(e, out, out, 16, 16);
    }
    unsigned from = size < 4 ? out : d, turn = wide ? 64 : 32;
    if (k == NO_REG) {
        unsigned n = (unsigned)ins->imm % bits;
        n = left ? (turn - n) % turn : n;
        if (n)
            ror(e, wide, out, from, n);
        else
            mov(e, wide, out, from);
    } else {
        if (left) {
            rrr(e, SUB, true, X16, XZR, k);
            rrr(e, RORV, wide, out, from, X16);
        } else
            rrr(e, RORV, wide, out, from, k);
    }
    if (reads) {
        u32 over = k != NO_REG ? unless_zero(e, ins, k) : 0;
        rotate_flags(e, ins, out, left);
        if (k != NO_REG)
            both_ways(e, ins, over);
    }
    emit_release(e, k);
    emit_release(e, d);
    emit_done(e, ins->d, out, size);
}
void emit_rol(struct emit *e, const struct ir_ins *ins) { rotate(e, ins, true); }
void emit_ror(struct emit *e, const struct ir_ins *ins) { rotate(e, ins, false); }

/* Through the carry: bit by bit, in a loop. */
static void rotate_carry(struct emit *e, const struct ir_ins *ins, bool left)
{
    unsigned size = ins->size, top = 8 * size - 1, k, t = emit_scratch(e), carry = emit_scratch(e), d;
    if (ins->a != IR_IMM)
        k = count_of(e, ins->a, size);
    else {
        k = emit_scratch(e);
        mov_imm(e, k, (u64)ins->imm);
    }
    d = emit_in_zero(e, ins->d, size);
    mov(e, true, t, d);
    emit_release(e, d);
    flags_carry(e, false);
    cset(e, carry, CS);
    mov(e, true, X17, k);
    u32 none = ins->a != IR_IMM ? branch_zero(e, false, X17, false) : 0, loop = e->at;
    if (left) {
        take_bit(e, X16, t, top);
        rrr(e, ADD | BY(1), true, t, carry, t);
        if (size < 8)
            ubfx(e, t, t, 0, 8 * size);
    } else {
        take_bit(e, X16, t, 0);
        lsr(e, true, t, t, 1);
        bfi(e, t, carry, top, 1);
    }
    mov(e, true, carry, X16);
    add_imm(e, SUB, false, X17, X17, 1);
    emit_fill(e, branch_zero(e, false, X17, true), loop);
    if (none)
        emit_fill(e, none, e->at);
    if (somebody_reads(ins)) {
        u32 over = ins->a != IR_IMM ? unless_zero(e, ins, k) : 0;
        unsigned overflow = emit_scratch(e);
        /* left: CF ^ top; right: top ^ the bit below */
        rrr(e, EOR | BY_LSR | BY(left ? top : 1), true, overflow, left ? carry : t, t);
        if (!left)
            take_bit(e, overflow, overflow, top - 1);
        flags_from(e, ins, t, carry, overflow);
        emit_release(e, overflow);
        if (ins->a != IR_IMM)
            both_ways(e, ins, over);
    }
    emit_release(e, k);
    emit_release(e, carry);
    emit_done(e, ins->d, t, size);
}
void emit_rcl(struct emit *e, const struct ir_ins *ins) { rotate_carry(e, ins, true); }
void emit_rcr(struct emit *e, const struct ir_ins *ins) { rotate_carry(e, ins, false); }

/* --- double shifts -------------------------------------------------------------------------------------------------------- */

/* 16 bits: all = d:a:d, 48 bits, shifted as one. carry: NO_REG, not wanted. */
static void double_word(struct emit *e, const struct ir_ins *ins, unsigned out, unsigned d, unsigned a, unsigned k, unsigned carry)
{
    bool left = ins->op == IR_OP_shld;
    unsigned all = emit_scratch(e);
    ubfx(e, all, d, 0, 16);
    bfi(e, all, a, 16, 16);
    bfi(e, all, d, 32, 16);
    if (left) {
        rrr(e, LSLV, true, all, all, k);
        if (carry != NO_REG)
            take_bit(e, carry, all, 48);
        lsr(e, true, out, all, 32);
    } else {
        if (carry != NO_REG) {
            add_imm(e, SUB, true, carry, k, 1);
            rrr(e, LSRV, true, carry, all, carry);
        }
        rrr(e, LSRV, true, out, all, k);
    }
    emit_release(e, all);
}

/* 32 and 64 bits. A count of 0 shifts nothing of a in: it goes by one first, then by what is missing. */
static void double_long(struct emit *e, const struct ir_ins *ins, unsigned out, unsigned d, unsigned a, unsigned k, unsigned carry)
{
    bool left = ins->op == IR_OP_shld, wide = ins->size == 8;
    if (carry != NO_REG) {
        if (left)
            rrr(e, SUB, true, carry, XZR, k);
        else
            add_imm(e, SUB, true, carry, k, 1);
        rrr(e, LSRV, wide, carry, d, carry);
    }
    rrr(e, ORN, true, X16, XZR, k);
    if (left) {
        lsr(e, wide, X17, a, 1);
        rrr(e, LSRV, wide, X17, X17, X16);
        rrr(e, LSLV, wide, X16, d, k);
    } else {
        lsl(e, wide, X17, a, 1);
        rrr(e, LSLV, wide, X17, X17, X16);
        rrr(e, LSRV, wide, X16, d, k);
    }
    rrr(e, ORR, wide, out, X16, X17);
}

static void double_shift(struct emit *e, const struct ir_ins *ins)
{
    unsigned size = ins->size, top = 8 * size - 1, k, out, carry = NO_REG;
    bool reads = somebody_reads(ins), left = ins->op == IR_OP_shld, imm = ins->b == IR_IMM;
    unsigned d = emit_in(e, ins->d, size), a = emit_in(e, ins->a, size);
    if (imm && !reads && size >= 4) {
        out = emit_out(e, ins->d, size);
        u32 n = left ? 8 * size - (unsigned)ins->imm : (unsigned)ins->imm;
        rrr(e, EXTR | (size == 8 ? 1u << 22 : 0) | BY(n), size == 8, out, left ? d : a, left ? a : d);
        emit_release(e, d);
        emit_release(e, a);
        emit_done(e, ins->d, out, size);
        return;
    }
    if (imm) {
        k = emit_scratch(e);
        mov_imm(e, k, (u64)ins->imm);
    } else
        k = count_of(e, ins->b, size);
    if (wants(ins, IR_C | IR_O))
        carry = emit_scratch(e);
    out = emit_scratch(e);
    (size == 2 ? double_word : double_long)(e, ins, out, d, a, k, carry);
    if (reads) {
        u32 over = imm ? 0 : unless_zero(e, ins, k);
        unsigned overflow = NO_REG;
        if (wants(ins, IR_O)) {
            overflow = emit_scratch(e);
            rrr(e, EOR | BY_LSR | BY(left ? top : 1), true, overflow, left ? carry : out, out);
            if (!left)
                take_bit(e, overflow, overflow, top - 1);
        }
        flags_from(e, ins, out, carry, overflow);
        emit_release(e, overflow);
        if (!imm)
            both_ways(e, ins, over);
    }
    emit_release(e, k);
    emit_release(e, carry);
    emit_release(e, d);
    emit_release(e, a);
    emit_done(e, ins->d, out, size);
}
void emit_shld(struct emit *e, const struct ir_ins *ins) { double_shift(e, ins); }
void emit_shrd(struct emit *e, const struct ir_ins *ins) { double_shift(e, ins); }
