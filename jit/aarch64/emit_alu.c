/* emit_alu.c - moves, arithmetic, logic, multiplication, division, bits.
 *
 * Operations of 4 and 8 bytes are mostly one instruction. Those of 1 and 2 bytes, where somebody reads their flags, are done at the
 * top of a 32-bit register, where the host's flags are the guest's; the result goes into its place by a bit-field move.
 * Those with IR_LOCK: emit_atomic.c.
 */
#include "jit/aarch64/emit.h"

static u64 mask_of(unsigned size) { return size == 8 ? ~(u64)0 : ((u64)1 << 8 * size) - 1; }

/* --- moves -------------------------------------------------------------------------------------------------------- */

static bool whole(const struct ir_ins *ins) { return (ir_is_gpr(ins->d) && ins->size >= 4) || ir_is_temp(ins->d); }

void emit_mov(struct emit *e, const struct ir_ins *ins)
{
    if (whole(ins)) {
        unsigned d = emit_out(e, ins->d, ins->size), from = emit_home(e, ins->a);
        if (ins->a == IR_IMM)
            mov_imm(e, d, (u64)ins->imm & mask_of(ins->size));
        else if (ins->a == IR_MEM)
            ldr(e, ins->size, d, emit_home(e, ins->p), (u32)ins->disp);
        else if (ir_is_high(ins->a))
            ubfx(e, d, host_of_gpr[ins->a - IR_H], 8, 8);
        else
            mov(e, ins->size != 4, d, from);
        emit_done(e, ins->d, d, ins->size);
        return;
    }
    bool zero = ins->a == IR_IMM && !((u64)ins->imm & mask_of(ins->size));
    emit_done(e, ins->d, zero ? XZR : emit_in(e, ins->a, ins->size), ins->size);
}

void emit_movzx(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = emit_home(e, ins->a), d = emit_out(e, ins->d, ins->size);
    if (ins->a == IR_MEM)
        ldr(e, ins->size2, d, emit_home(e, ins->p), (u32)ins->disp);
    else if (ir_is_high(ins->a))
        ubfx(e, d, host_of_gpr[ins->a - IR_H], 8, 8);
    else if (ins->size2 == 4)
        mov(e, false, d, home);
    else
        ubfm(e, false, d, home, 0, 8u * ins->size2 - 1);
    emit_done(e, ins->d, d, ins->size);
}

void emit_movsx(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = emit_home(e, ins->a), d = emit_out(e, ins->d, ins->size);
    if (ins->a == IR_MEM) {
        ldrs(e, ins->size2, d, emit_home(e, ins->p), (u32)ins->disp);
        if (ins->size == 4)
            mov(e, false, d, d);
    } else if (ir_is_high(ins->a))
        sbfm(e, ins->size == 8, d, host_of_gpr[ins->a - IR_H], 8, 15);
    else
        sbfm(e, ins->size == 8, d, home, 0, 8u * ins->size2 - 1);
    emit_done(e, ins->d, d, ins->size);
}

void emit_lea(struct emit *e, const struct ir_ins *ins)
{
    bool wide = ins->size == 8;
    unsigned base = NO_REG, d = emit_out(e, ins->d, ins->size);
    unsigned t = d;
    if (ins->a == IR_PC) {
        base = X16;
        load(e, 8, X16, VCPU_OFF(jit.pc));
    } else if (ins->a != IR_NONE)
        base = emit_home(e, ins->a);
    if (ins->b != IR_NONE) {
        rrr(e, ADD | BY(ins->scale), wide, t, base == NO_REG ? XZR : base, emit_home(e, ins->b));
        base = t;
    }
    if (base == NO_REG)
        mov_imm(e, t, wide ? (u64)(s64)ins->disp : (u32)ins->disp);
    else if (ins->disp)
        add_any(e, wide, t, base, ins->disp);
    else if (base != t)
        mov(e, wide, t, base);
    else if (!wide && ins->b == IR_NONE)
        mov(e, false, t, t);
    emit_done(e, ins->d, d, ins->size);
}

/* Both are read before one is written. The second one is written first: with one register twice the first one's value stays
 * (the sum of XADD). */
static void exchange(struct emit *e, const struct ir_ins *ins, unsigned d, unsigned a, unsigned sum)
{
    unsigned old = emit_scratch(e);
    mov(e, true, old, d);
    if (sum == NO_REG) {
        sum = emit_scratch(e);
        mov(e, true, sum, a);
    }
    emit_done(e, ins->a, old, ins->size);
    emit_release(e, old);
    emit_done(e, ins->d, sum, ins->size);
    emit_release(e, sum);
    emit_release(e, d);
    emit_release(e, a);
}

void emit_xchg(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_in(e, ins->d, ins->size), a = emit_in(e, ins->a, ins->size);
    exchange(e, ins, d, a, NO_REG);
}

void emit_bswap(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_in(e, ins->d, ins->size), out = emit_out(e, ins->d, ins->size);
    rr(e, ins->size == 8 ? 0x5ac00c00 : REV32, ins->size == 8, out, d);
    emit_done(e, ins->d, out, ins->size);
}

void emit_cmov(struct emit *e, const struct ir_ins *ins)
{
    unsigned reg, a = emit_in(e, ins->a, ins->size), d = emit_in(e, ins->d, ins->size);
    unsigned out = emit_out(e, ins->d, ins->size), cond = flags_condition_of(e, ins->cc, &reg);
    if (reg != NO_REG) {
        u32 over = branch_bit(e, reg, 0, ins->cc == CC_P);
        mov(e, true, X17, a);
        u32 done = branch(e);
        emit_fill(e, over, e->at);
        mov(e, true, X17, d);
        emit_fill(e, done, e->at);
        mov(e, ins->size == 8, out, X17);
    } else
        csel(e, ins->size == 8, out, a, d, cond);
    emit_done(e, ins->d, out, ins->size);
    emit_release(e, a);
    emit_release(e, d);
}

void emit_setcc(struct emit *e, const struct ir_ins *ins)
{
    unsigned reg, d = emit_out(e, ins->d, 1), cond = flags_condition_of(e, ins->cc, &reg);
    if (reg != NO_REG) {
        ubfx(e, d, reg, 0, 1);
        if (ins->cc == CC_P)
            logic_imm(e, EOR, false, d, d, 1);
    } else
        cset(e, d, cond);
    emit_done(e, ins->d, d, 1);
}

void emit_cdq(struct emit *e, const struct ir_ins *ins)
{
    unsigned rax = host_of_gpr[GPR_RAX], rdx = host_of_gpr[GPR_RDX];
    if (ins->size >= 4)
        asr(e, ins->size == 8, rdx, rax, ins->size == 8 ? 63 : 31);
    else {
        sbfm(e, false, X16, rax, 15, 15);
        bfi(e, rdx, X16, 0, 16);
    }
}

/* --- arithmetic ----------------------------------------------------------------------------------------------------- */

/* An operand: a register, or an immediate. */
struct source { unsigned reg; bool imm; s64 value; };

static struct source source_of(struct emit *e, const struct ir_ins *ins)
{
    if (ins->a == IR_IMM)
        return (struct source){ .reg = NO_REG, .imm = true, .value = ins->imm };
    return (struct source){ .reg = emit_in(e, ins->a, ins->size) };
}

static unsigned in_register(struct emit *e, const struct source *a, unsigned size, unsigned spare)
{
    if (!a->imm)
        return a->reg;
    mov_imm(e, spare, (u64)a->value & mask_of(size));
    return spare;
}

/* out = d op a of 4 or 8 bytes; op: ADD, SUB. With flags: their S forms. */
static void add_sub(struct emit *e, u32 op, bool flags, bool wide, unsigned out, unsigned d, const struct source *a)
{
    u32 s = flags ? ADDS - ADD : 0;
    static_assert(ADDS - ADD == SUBS - SUB, "the bit that sets flags");
    if (a->imm) {
        s64 v = wide ? a->value : (s32)a->value;
        /* the other operation with the negated immediate: the same sum in the adder, so the same flags */
        if (v < 0 && v > -4096 && add_imm(e, (op == ADD ? SUB : ADD) + s, wide, out, d, (u64)-v))
            return;
        if (v >= 0 && add_imm(e, op + s, wide, out, d, (u64)v))
            return;
    }
    rrr(e, op + s, wide, out, d, in_register(e, a, wide ? 8 : 4, X16));
}

/* The same of 1 or 2 bytes with flags, at the top of W16. */
static void add_sub_top(struct emit *e, u32 op, unsigned size, unsigned d, const struct source *a)
{
    unsigned up = 32 - 8 * size;
    if (a->imm)
        mov_imm(e, X17, (u32)((u64)a->value << up));
    if (d == XZR || a->imm) {
        if (d == XZR)
            rrr(e, op + (ADDS - ADD) + BY_LSL + BY(up), false, X16, XZR, a->reg);
        else {
            lsl(e, false, X16, d, up);
            rrr(e, op + (ADDS - ADD), false, X16, X16, X17);
        }
        return;
    }
    lsl(e, false, X16, d, up);
    rrr(e, op + (ADDS - ADD) + BY(up), false, X16, X16, a->reg);
}

static void note_operands(struct emit *e, const struct ir_ins *ins, unsigned d, const struct source *a)
{
    if (!(ins->fdef & ins->flive & IR_A))
        return;
    if (!a->imm) {
        flags_adjust(e, ins, d, a->reg);
        return;
    }
    flags_adjust(e, ins, d, NO_REG);
    if (a->value & 16)          /* no other bit is looked at */
        logic_imm(e, EOR, false, e->operands, e->operands, 16);
}

/* op: ADD, SUB. store: the result goes to ins->d; else it is a comparison. */
static void arith(struct emit *e, const struct ir_ins *ins, u32 op, unsigned d, const struct source *a, bool store_it)
{
    bool flags = flags_wanted(ins), wide = ins->size == 8;
    bool result = store_it || ins->fdef & ins->flive & (IR_P | IR_A);
    unsigned out = !store_it ? (result ? LR : XZR) : emit_out(e, ins->d, ins->size);
    note_operands(e, ins, d, a);
    if (flags)
        flags_begin(e, ins);
    bool kept = flags && ins->flive & ~ins->fdef & IR_NZCV;
    if (!store_it && result && kept)
        out = emit_scratch(e);      /* LR is in use */
    if (ins->size >= 4) {
        if (flags || result)
            add_sub(e, op, flags, wide, out, d, a);
    } else if (!flags) {
        if (result)
            add_sub(e, op, false, false, out, d, a);
    } else {
        add_sub_top(e, op, ins->size, d, a);
        if (result && store_it && ir_is_gpr(ins->d)) {      /* straight into its place */
            emit_release(e, out);
            bfxil(e, host_of_gpr[ins->d - IR_G], X16, 32 - 8u * ins->size, 8u * ins->size);
            out = host_of_gpr[ins->d - IR_G];
        } else if (result)
            lsr(e, false, out, X16, 32 - 8u * ins->size);
    }
    if (flags)
        flags_end(e, ins, op == SUB);
    flags_parity(e, ins, out);
    if (store_it && !(ir_is_gpr(ins->d) && out == host_of_gpr[ins->d - IR_G]))
        emit_done(e, ins->d, out, ins->size);
    else
        emit_release(e, out);
}

static void binary(struct emit *e, const struct ir_ins *ins, u32 op, bool store_it)
{
    unsigned d = emit_in(e, ins->d, ins->size);
    struct source a = source_of(e, ins);
    arith(e, ins, op, d, &a, store_it);
    emit_release(e, d);
    if (!a.imm)
        emit_release(e, a.reg);
}
void emit_add(struct emit *e, const struct ir_ins *ins) { binary(e, ins, ADD, true); }
void emit_sub(struct emit *e, const struct ir_ins *ins) { binary(e, ins, SUB, true); }
void emit_cmp(struct emit *e, const struct ir_ins *ins) { binary(e, ins, SUB, false); }

static void by_one(struct emit *e, const struct ir_ins *ins, u32 op)
{
    unsigned d = emit_in(e, ins->d, ins->size);
    struct source one = { .reg = NO_REG, .imm = true, .value = 1 };
    arith(e, ins, op, d, &one, true);
    emit_release(e, d);
}
void emit_inc(struct emit *e, const struct ir_ins *ins) { by_one(e, ins, ADD); }
void emit_dec(struct emit *e, const struct ir_ins *ins) { by_one(e, ins, SUB); }

void emit_neg(struct emit *e, const struct ir_ins *ins)
{
    struct source a = { .reg = emit_in(e, ins->d, ins->size) };
    arith(e, ins, SUB, XZR, &a, true);
    emit_release(e, a.reg);
}

void emit_not(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_in(e, ins->d, ins->size), out = emit_out(e, ins->d, ins->size);
    rrr(e, ORN, ins->size == 8, out, XZR, d);
    emit_done(e, ins->d, out, ins->size);
    emit_release(e, d);
}

void emit_xadd(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_in(e, ins->d, ins->size), a = emit_in(e, ins->a, ins->size), sum = emit_scratch(e);
    bool flags = flags_wanted(ins);
    flags_adjust(e, ins, d, a);
    if (flags)
        flags_begin(e, ins);
    if (ins->size >= 4 || !flags)
        rrr(e, flags ? ADDS : ADD, ins->size == 8, sum, d, a);
    else {
        struct source s = { .reg = a };
        add_sub_top(e, ADD, ins->size, d, &s);
        lsr(e, false, sum, X16, 32 - 8u * ins->size);
    }
    if (flags)
        flags_end(e, ins, false);
    flags_parity(e, ins, sum);
    exchange(e, ins, d, a, sum);
}

/* With carry. 1 and 2 bytes: the sum of zero-extended operands tells CF in the bit above; OF from the signs. */
static void with_carry(struct emit *e, const struct ir_ins *ins, bool sub)
{
    unsigned d = emit_in(e, ins->d, ins->size), out, bits = 8u * ins->size;
    struct source s = source_of(e, ins);
    unsigned a = s.imm ? emit_in(e, ins->a, ins->size) : s.reg;
    bool flags = flags_wanted(ins);
    flags_adjust(e, ins, d, a);
    flags_carry(e, sub);
    if (ins->size >= 4) {
        out = emit_out(e, ins->d, ins->size);
        if (flags)
            flags_begin(e, ins);
        rrr(e, sub ? flags ? SBCS : SBC : flags ? ADCS : ADC, ins->size == 8, out, d, a);
        if (flags)
            flags_end(e, ins, sub);
        flags_parity(e, ins, out);
        emit_done(e, ins->d, out, ins->size);
    } else {
        unsigned zd = emit_scratch(e), za = emit_scratch(e), carry = emit_scratch(e);
        out = emit_scratch(e);
        ubfx(e, zd, d, 0, bits);
        ubfx(e, za, a, 0, bits);
        rrr(e, sub ? SBC : ADC, true, out, zd, za);
        ubfx(e, carry, out, bits, 1);
        /* overflow: add (d ^ r) & (a ^ r), sub (d ^ r) & (d ^ a) */
        rrr(e, EOR, true, X16, zd, out);
        rrr(e, EOR, true, X17, sub ? zd : out, za);
        rrr(e, AND, true, zd, X16, X17);
        ubfx(e, zd, zd, bits - 1, 1);
        flags_from(e, ins, out, carry, zd);
        emit_release(e, zd);
        emit_release(e, za);
        emit_release(e, carry);
        emit_done(e, ins->d, out, ins->size);
    }
    emit_release(e, d);
    emit_release(e, a);
}
void emit_adc(struct emit *e, const struct ir_ins *ins) { with_carry(e, ins, false); }
void emit_sbb(struct emit *e, const struct ir_ins *ins) { with_carry(e, ins, true); }

/* --- logic ------------------------------------------------------------------------------------------------------------ */

/* out = d op a. */
static void logic_op(struct emit *e, u32 op, bool wide, unsigned out, unsigned d, const struct source *a, unsigned size)
{
    if (a->imm && logic_imm(e, op, wide, out, d, (u64)a->value & mask_of(size)))
        return;
    if (a->imm && !a->value && op != AND && op != ANDS) {
        mov(e, wide, out, d);
        return;
    }
    rrr(e, op, wide, out, d, in_register(e, a, size, X16));
}

static void logic_flags(struct emit *e, const struct ir_ins *ins, unsigned result)
{
    flags_begin(e, ins);
    if (ins->size >= 4)
        rrr(e, ANDS, ins->size == 8, XZR, result, result);
    else
        rrr(e, ADDS | BY(32 - 8 * ins->size), false, XZR, XZR, result);
    flags_end(e, ins, false);
}

static void logic(struct emit *e, const struct ir_ins *ins, u32 op)
{
    unsigned d = emit_in(e, ins->d, ins->size), out = emit_out(e, ins->d, ins->size);
    struct source a = source_of(e, ins);
    bool flags = flags_wanted(ins), wide = ins->size == 8, fused = flags && op == AND && ins->size >= 4;
    if (fused)
        flags_begin(e, ins);
    if (op == EOR && !a.imm && a.reg == d)
        mov_imm(e, out, 0);
    else
        logic_op(e, fused ? ANDS : op, wide, out, d, &a, ins->size);
    if (fused)
        flags_end(e, ins, false);
    else if (flags)
        logic_flags(e, ins, out);
    flags_parity(e, ins, out);
    emit_done(e, ins->d, out, ins->size);
    emit_release(e, d);
    if (!a.imm)
        emit_release(e, a.reg);
}
void emit_and(struct emit *e, const struct ir_ins *ins) { logic(e, ins, AND); }
void emit_or(struct emit *e, const struct ir_ins *ins) { logic(e, ins, ORR); }
void emit_xor(struct emit *e, const struct ir_ins *ins) { logic(e, ins, EOR); }

void emit_test(struct emit *e, const struct ir_ins *ins)
{
    u16 want = flags_wanted(ins);
    bool result = ins->fdef & ins->flive & (IR_P | IR_A), kept = want && ins->flive & ~ins->fdef & IR_NZCV;
    bool same = ins->d == ins->a;
    unsigned d = emit_in(e, ins->d, ins->size);
    struct source a = same ? (struct source){ .reg = d } : source_of(e, ins);
    /* without a sign to look at, bits above the size need only be 0 */
    bool plain = ins->size >= 4 || (a.imm && !(a.value >> (8 * ins->size - 1) & 1));
    if (want && plain && !result) {
        flags_begin(e, ins);
        logic_op(e, ANDS, ins->size == 8, XZR, d, &a, ins->size);
        flags_end(e, ins, false);
    } else if (want || result) {
        unsigned t = d;
        if (!same) {
            t = kept ? emit_scratch(e) : LR;
            logic_op(e, AND, ins->size == 8, t, d, &a, ins->size);
        }
        if (want)
            logic_flags(e, ins, t);
        flags_parity(e, ins, t);
        if (t != d)
            emit_release(e, t);
    }
    emit_release(e, d);
    if (!a.imm && !same)
        emit_release(e, a.reg);
}

/* A failed comparison leaves all 64 bits of the destination alone. */
void emit_cmpxchg(struct emit *e, const struct ir_ins *ins)
{
    unsigned rax = host_of_gpr[GPR_RAX], d = emit_in(e, ins->d, ins->size), a = emit_in(e, ins->a, ins->size);
    unsigned bits = 8u * ins->size, old = emit_scratch(e), t = emit_scratch(e);
    bool flags = flags_wanted(ins);
    struct source s = { .reg = old };
    mov(e, true, old, d);
    /* the difference decides, whether flags are wanted or not */
    rrr(e, SUB, ins->size == 8, t, rax, old);
    if (bits < 32)
        ubfx(e, t, t, 0, bits);
    flags_adjust(e, ins, rax, old);
    flags_parity(e, ins, t);
    if (flags) {
        flags_begin(e, ins);
        if (ins->size >= 4)
            rrr(e, SUBS, ins->size == 8, XZR, rax, old);
        else
            add_sub_top(e, SUB, ins->size, rax, &s);
        flags_end(e, ins, true);
    }
    u32 differ = branch_zero(e, ins->size == 8, t, true);
    emit_release(e, t);
    u8 taken = e->taken;
    unsigned copy = emit_scratch(e);
    mov(e, true, copy, a);
    emit_done(e, ins->d, copy, ins->size);
    e->taken = taken;
    u32 done = branch(e);
    emit_fill(e, differ, e->at);
    if (ins->size >= 4)
        mov(e, ins->size == 8, rax, old);
    else
        bfi(e, rax, old, 0, bits);
    emit_fill(e, done, e->at);
    emit_release(e, old);
    emit_release(e, d);
    emit_release(e, a);
}

/* --- multiplication, division --------------------------------------------------------------------------------------------- */

enum { SUBS_EXT = 0x6b200000, SXTB = 4 << 13, SXTH = 5 << 13, SXTW = 6 << 13, CCMP_IMM = 0x7a400800 };

/* low, high: registers of the product; 1, 2 and 4 bytes: all of it is in low, 64 bits. */
static void multiply_flags(struct emit *e, const struct ir_ins *ins, bool is_signed, unsigned low, unsigned high)
{
    static const u32 extend[5] = { [1] = SXTB, [2] = SXTH, [4] = SXTW };
    if (!flags_wanted(ins))
        return;
    flags_begin(e, ins);
    if (ins->size == 8 && is_signed)
        rrr(e, SUBS | BY_ASR | BY(63), true, XZR, high, low);
    else if (ins->size == 8)
        rrr(e, SUBS, true, XZR, high, XZR);
    else if (is_signed)
        rrr(e, SUBS_EXT | extend[ins->size], true, XZR, low, low);
    else {
        lsr(e, true, X17, low, 8u * ins->size);
        rrr(e, SUBS, true, XZR, X17, XZR);
    }
    /* CF = OF = not equal. Equal: XZR is compared with 0: C 1, no borrow; V 0. Else C 0, V 1. */
    put32(e, CCMP_IMM | 1u << 31 | EQ << 12 | XZR << 5 | 1);
    flags_end(e, ins, true);
}

static void signed_product(struct emit *e, const struct ir_ins *ins, unsigned x, unsigned y)
{
    unsigned out = emit_scratch(e), high = emit_scratch(e);
    rrr(e, ins->size == 4 ? SMULL : MUL, true, out, x, y);
    if (ins->size == 8 && flags_wanted(ins))
        rrr(e, SMULH, true, high, x, y);
    multiply_flags(e, ins, true, out, high);
    emit_release(e, high);
    emit_done(e, ins->d, out, ins->size);
    emit_release(e, x);
    emit_release(e, y);
}

void emit_imul(struct emit *e, const struct ir_ins *ins)
{
    if (!flags_wanted(ins)) {
        unsigned d = emit_in(e, ins->d, ins->size), a = emit_in(e, ins->a, ins->size), out = emit_out(e, ins->d, ins->size);
        rrr(e, MUL, ins->size == 8, out, d, a);
        emit_done(e, ins->d, out, ins->size);
        emit_release(e, d);
        emit_release(e, a);
        return;
    }
    bool narrow = ins->size < 4;
    unsigned x = narrow ? emit_in_sign(e, ins->d, ins->size) : emit_in(e, ins->d, ins->size);
    unsigned y = narrow ? emit_in_sign(e, ins->a, ins->size) : emit_in(e, ins->a, ins->size);
    signed_product(e, ins, x, y);
}

void emit_imul3(struct emit *e, const struct ir_ins *ins)
{
    bool flags = flags_wanted(ins);
    unsigned x = flags && ins->size < 4 ? emit_in_sign(e, ins->a, ins->size) : emit_in(e, ins->a, ins->size);
    if (!flags) {
        unsigned out = emit_out(e, ins->d, ins->size);
        mov_imm(e, X16, (u64)ins->imm & mask_of(ins->size));
        rrr(e, MUL, ins->size == 8, out, x, X16);
        emit_done(e, ins->d, out, ins->size);
        emit_release(e, x);
        return;
    }
    unsigned y = emit_scratch(e);
    mov_imm(e, y, (u64)((s64)((u64)ins->imm << (64 - 8 * ins->size)) >> (64 - 8 * ins->size)));
    signed_product(e, ins, x, y);
}

static void wide_product(struct emit *e, const struct ir_ins *ins, bool is_signed)
{
    unsigned rax = host_of_gpr[GPR_RAX], rdx = host_of_gpr[GPR_RDX], size = ins->size;
    unsigned x = size == 4 ? rax : is_signed ? emit_in_sign(e, IR_G + GPR_RAX, size) : emit_in_zero(e, IR_G + GPR_RAX, size);
    unsigned y = size == 4 ? emit_in(e, ins->a, size) : is_signed ? emit_in_sign(e, ins->a, size) : emit_in_zero(e, ins->a, size);
    unsigned low = emit_scratch(e), high = emit_scratch(e);
    rrr(e, size != 4 ? MUL : is_signed ? SMULL : UMULL, true, low, x, y);
    if (size == 8)
        rrr(e, is_signed ? SMULH : UMULH, true, high, x, y);
    multiply_flags(e, ins, is_signed, low, high);
    if (size == 1) {
        bfi(e, rax, low, 0, 16);
    } else if (size == 2) {
        bfi(e, rax, low, 0, 16);
        bfxil(e, rdx, low, 16, 16);
    } else if (size == 4) {
        mov(e, false, rax, low);
        lsr(e, true, rdx, low, 32);
    } else {
        mov(e, true, rax, low);
        mov(e, true, rdx, high);
    }
    emit_release(e, low);
    emit_release(e, high);
    emit_release(e, x);
    emit_release(e, y);
}
void emit_mul(struct emit *e, const struct ir_ins *ins) { wide_product(e, ins, false); }
void emit_imul1(struct emit *e, const struct ir_ins *ins) { wide_product(e, ins, true); }

static void step_if(struct emit *e, u32 from) { emit_tail(e, TAIL_STEP, from); }

/* rDX:rAX (AX) as one number of at most 64 bits. */
static unsigned dividend(struct emit *e, unsigned size)
{
    unsigned rax = host_of_gpr[GPR_RAX], rdx = host_of_gpr[GPR_RDX], n;
    if (size == 8)
        return rax;
    n = emit_scratch(e);
    ubfx(e, n, rax, 0, size == 1 ? 16 : 8 * size);
    if (size == 2 || size == 4)
        bfi(e, n, rdx, 8 * size, 8 * size);
    return n;
}

static void quotient(struct emit *e, const struct ir_ins *ins, u32 op, unsigned n, unsigned a)
{
    unsigned rax = host_of_gpr[GPR_RAX], rdx = host_of_gpr[GPR_RDX], size = ins->size;
    rrr(e, op, true, X16, n, a);
    if (size >= 4) {
        rrr(e, MSUB | n << 10, size == 8, rdx, X16, a);     /* n - q * a */
        mov(e, size == 8, rax, X16);
        emit_release(e, n);
        emit_release(e, a);
        return;
    }
    rrr(e, MSUB | n << 10, true, X17, X16, a);
    if (size == 1) {
        bfi(e, rax, X16, 0, 8);
        bfi(e, rax, X17, 8, 8);
    } else {
        bfi(e, rax, X16, 0, 16);
        bfi(e, rdx, X17, 0, 16);
    }
    emit_release(e, n);
    emit_release(e, a);
}

/* #DE: a quotient that does not fit, exactly if the upper half is not below the divisor. 16 bytes by 8: only with an upper half of
 * 0; the rest is left to the interpreter. */
void emit_div(struct emit *e, const struct ir_ins *ins)
{
    unsigned a = emit_in_zero(e, ins->a, ins->size), n = dividend(e, ins->size);
    if (ins->size == 8) {
        step_if(e, branch_zero(e, true, host_of_gpr[GPR_RDX], true));
        step_if(e, branch_zero(e, true, a, false));
    } else {
        lsr(e, true, X16, n, 8u * ins->size);
        rrr(e, SUB, true, X16, X16, a);
        step_if(e, branch_bit(e, X16, 63, false));
    }
    quotient(e, ins, UDIV, n, a);
}

/* Signed: certainly fits if the dividend is the sign-extended lower half and the divisor neither 0 nor -1. The rest is left
 * to the interpreter. */
void emit_idiv(struct emit *e, const struct ir_ins *ins)
{
    unsigned a = emit_in_sign(e, ins->a, ins->size), n = dividend(e, ins->size), bits = 8u * ins->size;
    if (ins->size == 8)
        rrr(e, EOR | BY_ASR | BY(63), true, X16, host_of_gpr[GPR_RDX], n);
    else {
        if (ins->size < 4)
            sbfm(e, true, n, n, 0, 2 * bits - 1);
        sbfm(e, true, X16, n, 0, bits - 1);
        rrr(e, EOR, true, X16, X16, n);
    }
    step_if(e, branch_zero(e, true, X16, true));
    add_imm(e, ADD, true, X16, a, 1);
    lsr(e, true, X16, X16, 1);
    step_if(e, branch_zero(e, true, X16, false));       /* 0 and -1 */
    quotient(e, ins, SDIV, n, a);
}

/* --- bits ------------------------------------------------------------------------------------------------------------ */

static void bit_op(struct emit *e, const struct ir_ins *ins, u32 op)
{
    unsigned d = emit_in(e, ins->d, ins->size), bits = 8u * ins->size, bit = emit_scratch(e), out, n = 0;
    bool imm = ins->a == IR_IMM, wide = ins->size == 8, flags = flags_wanted(ins);
    unsigned number = NO_REG;
    if (imm) {
        n = (unsigned)ins->imm & (bits - 1);
        if (flags)
            ubfx(e, bit, d, n, 1);
    } else {
        number = emit_in(e, ins->a, ins->size);
        if (ins->size == 2) {
            unsigned copy = emit_scratch(e);
            ubfx(e, copy, number, 0, 4);
            emit_release(e, number);
            number = copy;
        }
        if (flags)
            rrr(e, LSRV, wide, bit, d, number);
    }
    if (op) {
        out = emit_out(e, ins->d, ins->size);
        u64 mask = (u64)1 << n;
        if (imm)
            logic_imm(e, op == BIC ? AND : op, wide, out, d, op == BIC ? ~mask : mask);
        else {
            mov_imm(e, X16, 1);
            rrr(e, LSLV, wide, X16, X16, number);
            rrr(e, op, wide, out, d, X16);
        }
        if (flags)
            flags_from(e, ins, out, bit, NO_REG);
        emit_done(e, ins->d, out, ins->size);
    } else if (flags)
        flags_from(e, ins, d, bit, NO_REG);
    emit_release(e, bit);
    emit_release(e, d);
    if (!imm)
        emit_release(e, number);
}
void emit_bt(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, 0); }
void emit_bts(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, ORR); }
void emit_btr(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, BIC); }
void emit_btc(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, EOR); }

/* A zero source leaves the destination alone, all 64 bits of it. */
static void bit_scan(struct emit *e, const struct ir_ins *ins, bool forward)
{
    bool wide = ins->size == 8;
    unsigned a = ins->size >= 4 ? emit_in(e, ins->a, ins->size) : emit_in_zero(e, ins->a, ins->size);
    unsigned d = emit_in(e, ins->d, 8), t = emit_scratch(e);
    if (forward)
        rr(e, RBIT, wide, t, a);
    rr(e, CLZ, wide, t, forward ? t : a);
    if (!forward)
        logic_imm(e, EOR, wide, t, t, wide ? 63 : 31);
    if (flags_wanted(ins))
        flags_from(e, &(struct ir_ins){ .size = wide ? 8 : 4, .fdef = ins->fdef, .flive = ins->flive }, a, NO_REG, NO_REG);
    u32 over = branch_zero(e, wide, a, false);
    if (ir_is_temp(ins->d) || ins->size >= 4)
        mov(e, true, d, t);
    else
        bfi(e, d, t, 0, 8u * ins->size);
    emit_fill(e, over, e->at);
    emit_release(e, t);
    emit_release(e, a);
}
void emit_bsf(struct emit *e, const struct ir_ins *ins) { bit_scan(e, ins, true); }
void emit_bsr(struct emit *e, const struct ir_ins *ins) { bit_scan(e, ins, false); }

void emit_insn(struct emit *e, const struct ir_ins *ins) { insn_emit(e, ins); }
