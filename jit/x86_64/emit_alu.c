/* emit_alu.c - moves, arithmetic, shifts, bits: IR operations that are one host instruction, or nearly.
 *
 * What makes it more than one: a guest register that lives in the vCPU with a 32-bit result (the upper half has to be
 * cleared), two operands in memory, immediates that x86 has no form for, counts that must be in CL.
 */
#include "jit/x86_64/emit.h"

static const struct enc W = { .w = true };

static struct enc sized(unsigned size)
{
    return (struct enc){ .prefix = size == 2 ? 0x66 : 0, .w = size == 8, .reg8 = size == 1, .rm8 = size == 1 };
}
static struct enc locked(const struct ir_ins *ins)
{
    struct enc how = sized(ins->size);
    how.lock = ins->bits & IR_LOCK && ins->d == IR_MEM;
    return how;
}
static bool in_memory(struct emit *e, ir_val v) { return v != IR_IMM && emit_rm(e, v).mem; }

/* The destination as it can be operated on in place: its register, its memory, or a copy in a scratch register that finish()
 * writes back: of a guest register in the vCPU, always for 32-bit results. */
static struct rm start(struct emit *e, const struct ir_ins *ins)
{
    if (ir_is_gpr(ins->d) && in_memory(e, ins->d) && (ins->size == 4 || emit_by_register(e, ins->d)))
        return rm_reg(emit_copy(e, ins->d, 4));
    return emit_rm(e, ins->d);
}
static void finish(struct emit *e, const struct ir_ins *ins, struct rm d)
{
    if (ir_is_gpr(ins->d) && !d.mem)
        emit_defined(e, ins->d, d.reg, ins->size);
}

/* An operand that has to be in a register (or memory, if `memory`). */
static struct rm source(struct emit *e, ir_val v, unsigned size, bool memory)
{
    if (v != IR_IMM && (memory || !in_memory(e, v)))
        return emit_from(e, v);
    return rm_reg(emit_use(e, v, size));
}
static void drop(struct emit *e, struct rm r)
{
    if (!r.mem)
        emit_release(e, r.reg);
}

static void put_imm(struct emit *e, unsigned size, s64 imm)
{
    if (size == 1)
        put8(e, (u8)imm);
    else if (size == 2) {
        put8(e, (u8)imm);
        put8(e, (u8)(imm >> 8));
    } else
        put32(e, (u32)imm);
}
static unsigned imm_bytes(unsigned size) { return size > 4 ? 4 : size; }

/* --- moves -------------------------------------------------------------------------------------------------------- */

static void mov_to_memory(struct emit *e, const struct ir_ins *ins, struct rm d)
{
    struct enc how = sized(ins->size);
    if (ins->a == IR_IMM && (ins->size < 8 || ins->imm == (s32)ins->imm)) {
        how.reg8 = false;
        how.imm_bytes = (u8)imm_bytes(ins->size);
        enc(e, how, ins->size == 1 ? 0xc6 : 0xc7, 0, d);
        put_imm(e, ins->size, ins->imm);
        return;
    }
    unsigned a = emit_use(e, ins->a, ins->size);
    enc(e, how, ins->size == 1 ? 0x88 : 0x89, a, d);
    if (ins->size == 8 && ir_is_gpr(ins->d))
        emit_stored(e, ins->d, a);
    emit_release(e, a);
}

static void mov_to_register(struct emit *e, const struct ir_ins *ins, unsigned d)
{
    struct enc how = sized(ins->size);
    if (ins->a == IR_IMM && ins->size >= 4) {
        emit_mov_imm(e, d, ins->size == 8 ? (u64)ins->imm : (u32)ins->imm);
    } else if (ins->a == IR_IMM) {
        how.reg8 = false;
        enc(e, how, ins->size == 1 ? 0xc6 : 0xc7, 0, rm_reg(d));
        put_imm(e, ins->size, ins->imm);
    } else if (ir_is_temp(ins->d) && ins->size < 4 && emit_from(e, ins->a).mem) {
        enc(e, (struct enc){ 0 }, ins->size == 2 ? 0x0fb7 : 0x0fb6, d, emit_rm(e, ins->a));     /* whole register: no merge */
    } else if (ir_is_temp(ins->d) && ins->size < 4) {
        enc(e, (struct enc){ 0 }, 0x8b, d, emit_from(e, ins->a));
    } else {
        enc(e, how, ins->size == 1 ? 0x8a : 0x8b, d, emit_from(e, ins->a));
    }
}

static void emit_mov(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = ir_is_temp(ins->d) ? emit_def(e, ins->d) : emit_home(e, ins->d);
    if (home != NO_REG) {
        mov_to_register(e, ins, home);
        if (ins->size == 8 && ir_is_gpr(ins->a) && ir_is_temp(ins->d))
            emit_mirrors(e, ins->a, home);
    } else if (ins->d != IR_MEM && ir_is_gpr(ins->d) && ins->size == 4) {
        unsigned s = emit_scratch(e);
        emit_load(e, s, ins->a, 4);         /* clears the upper half */
        emit_defined(e, ins->d, s, 4);
    } else if (ir_is_gpr(ins->d) && ins->size < 4 && emit_by_register(e, ins->d)) {
        unsigned s = emit_copy(e, ins->d, 8);
        mov_to_register(e, ins, s);
        emit_defined(e, ins->d, s, ins->size);
    } else {
        mov_to_memory(e, ins, emit_rm(e, ins->d));
    }
}

static void extend(struct emit *e, const struct ir_ins *ins, u32 byte_op, u32 word_op, bool sign)
{
    struct rm a = emit_from(e, ins->a);
    unsigned d = ir_is_gpr(ins->d) && emit_home(e, ins->d) == NO_REG ? emit_scratch(e) : emit_def(e, ins->d);
    struct enc how = { .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8 && sign, .rm8 = ins->size2 == 1 };
    if (ins->size2 == 4)
        enc(e, (struct enc){ .w = sign && ins->size == 8 }, sign && ins->size == 8 ? 0x63 : 0x8b, d, a);
    else
        enc(e, how, ins->size2 == 1 ? byte_op : word_op, d, a);
    emit_defined(e, ins->d, d, ins->size);
}
static void emit_movzx(struct emit *e, const struct ir_ins *ins) { extend(e, ins, 0x0fb6, 0x0fb7, false); }
static void emit_movsx(struct emit *e, const struct ir_ins *ins) { extend(e, ins, 0x0fbe, 0x0fbf, true); }

static void emit_lea(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_def(e, ins->d), base = NO_REG, index = NO_REG;
    bool partial = ins->size < 4;       /* d's own upper part stays: compute elsewhere */
    unsigned t = partial && ir_is_gpr(ins->d) && emit_home(e, ins->d) == d ? emit_scratch(e) : d;
    bool in_place = emit_at(e, ins->b) != t;        /* what has to be loaded may be loaded into the result's register */
    if (ins->a == IR_PC) {
        base = in_place ? t : emit_scratch(e);
        enc(e, W, 0x8b, base, rm_vcpu(VCPU_DISP(jit.pc)));
    } else if (ins->a != IR_NONE && emit_at(e, ins->a) == NO_REG && in_place) {
        base = t;
        emit_load(e, base, ins->a, 8);
    } else if (ins->a != IR_NONE)
        base = emit_use(e, ins->a, 8);
    if (ins->b != IR_NONE)
        index = emit_use(e, ins->b, 8);
    if (base == NO_REG && index == NO_REG)
        emit_mov_imm(e, t, ins->size == 8 ? (u64)(s64)ins->disp : (u32)ins->disp);
    else
        enc(e, (struct enc){ .w = ins->size == 8 }, 0x8d, t, rm_index(base, index, ins->scale, ins->disp));
    if (base != NO_REG && base != t)
        emit_release(e, base);
    if (index != NO_REG)
        emit_release(e, index);
    if (t != d) {
        enc(e, sized(ins->size), ins->size == 1 ? 0x8a : 0x8b, d, rm_reg(t));
        emit_release(e, t);
    }
    emit_defined(e, ins->d, d, ins->size);
}

/* XCHG, XADD: the second operand is a register that changes too. */
static void exchange(struct emit *e, const struct ir_ins *ins, u32 byte_op, u32 op)
{
    struct enc how = locked(ins);
    bool swap = ins->d != IR_MEM && ins->a == IR_MEM;
    ir_val first = swap ? ins->a : ins->d, second = swap ? ins->d : ins->a;
    struct rm d = emit_rm(e, first);
    bool copy = ir_is_gpr(first) && d.mem && (ins->size == 4 || emit_by_register(e, first));
    if (copy)
        d = rm_reg(emit_copy(e, first, ins->size));
    unsigned home = emit_home(e, second), a = home != NO_REG ? home : emit_copy(e, second, ins->size);
    enc(e, how, ins->size == 1 ? byte_op : op, a, d);
    if (copy)
        emit_defined(e, first, d.reg, ins->size);
    if (first == second)        /* the first one is written last: the sum, XADD AH, AH */
        emit_release(e, home == NO_REG ? a : NO_REG);
    else if (home == NO_REG)
        emit_defined(e, second, a, ins->size);
    else if (ir_is_high(first) && second == IR_G + (first - IR_H))      /* XCHG AH, AL: the register is loaded again */
        enc(e, (struct enc){ .reg8 = true }, 0x88, a, rm_vcpu(VCPU_DISP(gpr[0]) + (first - IR_H) * 8));
}
static void emit_xchg(struct emit *e, const struct ir_ins *ins) { exchange(e, ins, 0x86, 0x87); }
static void emit_xadd(struct emit *e, const struct ir_ins *ins) { exchange(e, ins, 0x0fc0, 0x0fc1); }

static void emit_bswap(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = emit_home(e, ins->d), d = home != NO_REG ? home : emit_copy(e, ins->d, ins->size);
    if (ins->size == 8 || d & 8)
        put8(e, (u8)(0x40 | (ins->size == 8 ? 8 : 0) | (d & 8 ? 1 : 0)));
    put8(e, 0x0f);
    put_opcode(e, (u8)(0xc8 | (d & 7)));
    emit_defined(e, ins->d, d, ins->size);
}

static void emit_cmov(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = emit_home(e, ins->d), d = home != NO_REG ? home : emit_copy(e, ins->d, ins->size);
    struct rm a = source(e, ins->a, ins->size, true);
    enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8 }, 0x0f40u | ins->cc, d, a);
    if (ins->a == IR_IMM)
        drop(e, a);
    emit_defined(e, ins->d, d, ins->size);
}

static void emit_setcc(struct emit *e, const struct ir_ins *ins)
{
    struct rm d = ir_is_temp(ins->d) ? rm_reg(emit_def(e, ins->d)) : start(e, ins);
    enc(e, (struct enc){ .rm8 = true }, 0x0f90u | ins->cc, 0, d);
    finish(e, ins, d);
}

static void emit_cdq(struct emit *e, const struct ir_ins *ins)
{
    if (ins->size != 4)
        put8(e, ins->size == 8 ? 0x48 : 0x66);
    put_opcode(e, 0x99);
}

/* --- arithmetic ----------------------------------------------------------------------------------------------------- */

static void alu_imm(struct emit *e, const struct ir_ins *ins, unsigned n, struct rm d)
{
    struct enc how = locked(ins);
    bool small = ins->size > 1 && ins->imm == (s8)ins->imm;
    how.reg8 = false;
    how.imm_bytes = (u8)(small ? 1 : imm_bytes(ins->size));
    enc(e, how, ins->size == 1 ? 0x80 : small ? 0x83 : 0x81, n, d);
    put_imm(e, small ? 1 : ins->size, ins->imm);
}

static bool fits(const struct ir_ins *ins) { return ins->size < 8 || ins->imm == (s32)ins->imm; }

/* The eight of opcodes 00..3F; n is their number there. */
static void alu(struct emit *e, const struct ir_ins *ins, unsigned n, struct rm d)
{
    if (ins->a == IR_IMM && fits(ins)) {
        alu_imm(e, ins, n, d);
        return;
    }
    struct rm a = source(e, ins->a, ins->size, !d.mem);
    if (a.mem)
        enc(e, sized(ins->size), n << 3 | (ins->size == 1 ? 2 : 3), d.reg, a);
    else
        enc(e, locked(ins), n << 3 | (ins->size == 1 ? 0 : 1), a.reg, d);
    drop(e, a);
}

/* XOR, SUB of a register in the vCPU and itself. */
static bool is_zero(struct emit *e, const struct ir_ins *ins, unsigned n)
{
    return (n == 5 || n == 6) && ins->size >= 4 && ins->d == ins->a && ir_is_gpr(ins->d) && in_memory(e, ins->d);
}

static void alu_op(struct emit *e, const struct ir_ins *ins, unsigned n)
{
    const bool zero = is_zero(e, ins, n);
    struct rm d = zero ? rm_reg(emit_scratch(e)) : start(e, ins);
    if (zero)
        enc(e, (struct enc){ 0 }, n << 3 | 1, d.reg, d);
    else
        alu(e, ins, n, d);
    finish(e, ins, d);
}
static void emit_add(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 0); }
static void emit_or(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 1); }
static void emit_adc(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 2); }
static void emit_sbb(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 3); }
static void emit_and(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 4); }
static void emit_sub(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 5); }
static void emit_xor(struct emit *e, const struct ir_ins *ins) { alu_op(e, ins, 6); }

static void emit_cmp(struct emit *e, const struct ir_ins *ins)
{
    struct rm d = source(e, ins->d, ins->size, true);
    alu(e, ins, 7, d);
}

static void emit_test(struct emit *e, const struct ir_ins *ins)
{
    struct rm d = source(e, ins->d, ins->size, true);
    struct enc how = sized(ins->size);
    if (ins->a == IR_IMM && fits(ins)) {
        how.reg8 = false;
        how.imm_bytes = (u8)imm_bytes(ins->size);
        enc(e, how, ins->size == 1 ? 0xf6 : 0xf7, 0, d);
        put_imm(e, ins->size, ins->imm);
        return;
    }
    struct rm a = source(e, ins->a, ins->size, !d.mem);
    if (a.mem)
        enc(e, how, ins->size == 1 ? 0x84 : 0x85, d.reg, a);
    else
        enc(e, how, ins->size == 1 ? 0x84 : 0x85, a.reg, d);
    drop(e, a);
}

/* Opcodes F6, F7, FE, FF with one operand. */
static void unary(struct emit *e, const struct ir_ins *ins, u32 op, unsigned n)
{
    struct rm d = start(e, ins);
    struct enc how = locked(ins);
    how.reg8 = false;
    enc(e, how, ins->size == 1 ? op - 1 : op, n, d);
    finish(e, ins, d);
}
static void emit_inc(struct emit *e, const struct ir_ins *ins) { unary(e, ins, 0xff, 0); }
static void emit_dec(struct emit *e, const struct ir_ins *ins) { unary(e, ins, 0xff, 1); }
static void emit_not(struct emit *e, const struct ir_ins *ins) { unary(e, ins, 0xf7, 2); }
static void emit_neg(struct emit *e, const struct ir_ins *ins) { unary(e, ins, 0xf7, 3); }

/* A failed comparison may leave all 64 bits of the destination alone, so the copy has them. */
static void emit_cmpxchg(struct emit *e, const struct ir_ins *ins)
{
    bool copy = ir_is_gpr(ins->d) && ins->size == 4 && in_memory(e, ins->d);
    struct rm d = copy ? rm_reg(emit_copy(e, ins->d, 8)) : emit_rm(e, ins->d);
    struct enc how = locked(ins);
    struct rm a = source(e, ins->a, ins->size, false);
    enc(e, how, ins->size == 1 ? 0x0fb0 : 0x0fb1, a.reg, d);
    drop(e, a);
    finish(e, ins, d);
    if (ins->d == IR_H)     /* AH: RAX is loaded again */
        enc(e, (struct enc){ .reg8 = true }, 0x88, RAX, rm_vcpu(VCPU_DISP(rax)));
}

static void emit_imul(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = emit_home(e, ins->d), d = home != NO_REG ? home : emit_copy(e, ins->d, ins->size);
    struct rm a = source(e, ins->a, ins->size, true);
    enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8 }, 0x0faf, d, a);
    if (ins->a == IR_IMM)
        drop(e, a);
    emit_defined(e, ins->d, d, ins->size);
}

static void emit_imul3(struct emit *e, const struct ir_ins *ins)
{
    bool small = ins->imm == (s8)ins->imm;
    unsigned d = emit_def(e, ins->d);
    struct enc how = { .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8 };
    how.imm_bytes = (u8)(small ? 1 : imm_bytes(ins->size));
    enc(e, how, small ? 0x6b : 0x69, d, emit_from(e, ins->a));
    put_imm(e, small ? 1 : ins->size, ins->imm);
    emit_defined(e, ins->d, d, ins->size);
}

static void wide(struct emit *e, const struct ir_ins *ins, unsigned n)
{
    struct enc how = sized(ins->size);
    how.reg8 = false;
    enc(e, how, ins->size == 1 ? 0xf6 : 0xf7, n, emit_from(e, ins->a));
}
static void emit_mul(struct emit *e, const struct ir_ins *ins) { wide(e, ins, 4); }
static void emit_imul1(struct emit *e, const struct ir_ins *ins) { wide(e, ins, 5); }

/* #DE: a quotient that does not fit. Unsigned: exactly if the upper half is not below the divisor. */
static void emit_div(struct emit *e, const struct ir_ins *ins)
{
    flags_clobber(e, ins->flive);
    if (ins->size == 1) {       /* AX / a: AH against a */
        unsigned s = emit_copy(e, IR_G + GPR_RAX, 4);
        enc(e, (struct enc){ .prefix = 0 }, 0xc1, 5, rm_reg(s));       /* shr s, 8 */
        put8(e, 8);
        enc(e, (struct enc){ 0 }, 0x0fb6, s, rm_reg(s));
        enc(e, sized(1), 0x3a, s, emit_from(e, ins->a));
        emit_release(e, s);
    } else
        enc(e, sized(ins->size), 0x3b, RDX, emit_from(e, ins->a));
    emit_tail(e, TAIL_STEP, emit_jump_if(e, 3));                        /* jae */
    wide(e, ins, 6);
}

/* Signed: certainly fits if the dividend is the sign-extended lower half and the divisor neither 0 nor -1. The rest is left
 * to the interpreter. */
static void emit_idiv(struct emit *e, const struct ir_ins *ins)
{
    unsigned size = ins->size;
    flags_clobber(e, ins->flive);
    unsigned s = emit_scratch(e);
    if (size == 1) {
        enc(e, (struct enc){ .prefix = 0x66, .rm8 = true }, 0x0fbe, s, rm_reg(RAX));
        enc(e, sized(2), 0x3b, s, rm_reg(RAX));
    } else {
        enc(e, (struct enc){ .w = size == 8 }, 0x8b, s, rm_reg(RAX));
        struct enc how = sized(size);
        how.reg8 = false;
        enc(e, how, 0xc1, 7, rm_reg(s));                                /* sar s, bits - 1 */
        put8(e, (u8)(8 * size - 1));
        enc(e, sized(size), 0x3b, s, rm_reg(RDX));
    }
    emit_tail(e, TAIL_STEP, emit_jump_if(e, 5));
    emit_load(e, s, ins->a, size);
    struct enc how = sized(size);
    how.reg8 = false;
    enc(e, how, size == 1 ? 0xfe : 0xff, 0, rm_reg(s));                 /* inc: 0 and -1 become 1 and 0 */
    enc(e, how, size == 1 ? 0x80 : 0x83, 7, rm_reg(s));
    put8(e, 1);
    emit_tail(e, TAIL_STEP, emit_jump_if(e, 6));                        /* jbe */
    emit_release(e, s);
    wide(e, ins, 7);
}

/* --- shifts --------------------------------------------------------------------------------------------------------- */

/* The count in CL. RCX may hold a temporary: then it is set aside (the result is never in RCX at that time, or d is). */
static bool count_in_cl(struct emit *e, ir_val count)
{
    bool busy = e->taken >> 2 & 1;
    static_assert(SCRATCH_COUNT == 3, "RCX is the last scratch register");
    if (emit_home(e, count) == RCX)
        return true;
    if (busy) {
        e->full = true;     /* does not happen with three scratch registers and the translator's code */
        return false;
    }
    e->taken |= 4;
    struct rm from = emit_from(e, count);
    if (from.mem)
        enc(e, (struct enc){ 0 }, 0x0fb6, RCX, from);
    else
        enc(e, (struct enc){ 0 }, 0x8b, RCX, from);
    return true;
}

/* SHLX and friends: no flags, any count register. For full registers, if nobody wants the flags. */
static bool shift_without_flags(struct emit *e, const struct ir_ins *ins, unsigned n)
{
    static const u8 pp[8] = { [4] = 1, [5] = 3, [7] = 2 };
    if (!host_has_bmi2 || ins->a == IR_IMM || ins->flive || ins->size < 4 || n < 4 || ins->d == IR_MEM)
        return false;
    e->pinned = 0;          /* RCX is not needed after all */
    unsigned home = emit_home(e, ins->d), d = home != NO_REG ? home : emit_scratch(e);
    unsigned count = emit_use(e, ins->a, 1);
    enc_vex(e, pp[n], 2, ins->size == 8, false, 0xf7, d, count, emit_from(e, ins->d), 0);
    emit_release(e, count);
    emit_defined(e, ins->d, d, ins->size);
    return true;
}

static void shift(struct emit *e, const struct ir_ins *ins, unsigned n)
{
    if (shift_without_flags(e, ins, n))
        return;
    struct rm d = start(e, ins);
    struct enc how = sized(ins->size);
    how.reg8 = false;
    if (ins->a == IR_IMM) {
        bool one = ins->imm == 1;
        how.imm_bytes = !one;
        enc(e, how, (one ? 0xd0 : 0xc0) | (ins->size != 1), n, d);
        if (!one)
            put8(e, (u8)ins->imm);
    } else if (count_in_cl(e, ins->a)) {
        enc(e, how, ins->size == 1 ? 0xd2 : 0xd3, n, d);
        emit_release(e, RCX);
    }
    finish(e, ins, d);
}
static void emit_rol(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 0); }
static void emit_ror(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 1); }
static void emit_rcl(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 2); }
static void emit_rcr(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 3); }
static void emit_shl(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 4); }
static void emit_shr(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 5); }
static void emit_sar(struct emit *e, const struct ir_ins *ins) { shift(e, ins, 7); }

static void double_shift(struct emit *e, const struct ir_ins *ins, u32 op)
{
    struct rm d = start(e, ins);
    struct rm a = source(e, ins->a, ins->size, false);
    struct enc how = { .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8, .imm_bytes = ins->b == IR_IMM };
    if (ins->b == IR_IMM) {
        enc(e, how, op, a.reg, d);
        put8(e, (u8)ins->imm);
    } else if (count_in_cl(e, ins->b)) {
        enc(e, how, op + 1, a.reg, d);
        emit_release(e, RCX);
    }
    drop(e, a);
    finish(e, ins, d);
}
static void emit_shld(struct emit *e, const struct ir_ins *ins) { double_shift(e, ins, 0x0fa4); }
static void emit_shrd(struct emit *e, const struct ir_ins *ins) { double_shift(e, ins, 0x0fac); }

/* --- bits ------------------------------------------------------------------------------------------------------------ */

/* With a memory operand and a register the host would go beyond the operand: the number is taken modulo the size first,
 * without touching the flags (ZF is to survive). */
static unsigned bit_number(struct emit *e, const struct ir_ins *ins)
{
    unsigned n = emit_copy(e, ins->a, ins->size), mask;
    if (!host_has_bmi2) {
        e->full = true;
        return n;
    }
    mask = emit_scratch(e);
    emit_mov_imm(e, mask, ins->size * 8u - 1);
    enc_vex(e, 2, 2, false, false, 0xf5, n, n, rm_reg(mask), 0);    /* pext n, n, mask */
    emit_release(e, mask);
    return n;
}

/* BT of a register: in a register if its size is 4, as ever, since the number may go beyond the operand. */
static struct rm bit_source(struct emit *e, const struct ir_ins *ins)
{
    const bool loads = ir_is_gpr(ins->d) && ins->size == 4;
    return loads ? rm_reg(emit_use(e, ins->d, 4)) : emit_from(e, ins->d);
}

static void bit_op(struct emit *e, const struct ir_ins *ins, unsigned n)
{
    struct rm d = n == 4 ? bit_source(e, ins) : start(e, ins);
    struct enc how = { .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8, .lock = ins->bits & IR_LOCK && ins->d == IR_MEM };
    if (ins->a == IR_IMM) {
        how.imm_bytes = 1;
        enc(e, how, 0x0fba, n, d);
        put8(e, (u8)(ins->imm & (ins->size * 8 - 1)));
    } else {
        unsigned a = d.mem ? bit_number(e, ins) : emit_use(e, ins->a, ins->size);
        enc(e, how, 0x0f83u | n << 3, a, d);
        emit_release(e, a);
    }
    if (n != 4)
        finish(e, ins, d);
    else
        drop(e, d);
}
static void emit_bt(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, 4); }
static void emit_bts(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, 5); }
static void emit_btr(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, 6); }
static void emit_btc(struct emit *e, const struct ir_ins *ins) { bit_op(e, ins, 7); }

/* A zero source leaves the destination alone, on all hosts (AMD documents it, Intel does it), all 64 bits of it. */
static void bit_scan(struct emit *e, const struct ir_ins *ins, u32 op)
{
    unsigned home = emit_home(e, ins->d), d = home != NO_REG ? home : emit_copy(e, ins->d, 8);
    enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8 }, op, d, emit_from(e, ins->a));
    emit_defined(e, ins->d, d, 8);
}
static void emit_bsf(struct emit *e, const struct ir_ins *ins) { bit_scan(e, ins, 0x0fbc); }
static void emit_bsr(struct emit *e, const struct ir_ins *ins) { bit_scan(e, ins, 0x0fbd); }

/* --- flags as data ------------------------------------------------------------------------------------------------- */

static struct rm saved_byte(unsigned n) { return rm_vcpu(VCPU_DISP(jit.flags) + (s32)n); }

static void emit_getfl(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_def(e, ins->d);
    if (e->flags == FLAGS_HOST)
        flags_save(e);
    flags_write_out(e);
    e->flags = ins->flive ? FLAGS_SAVED : FLAGS_DEAD;
    enc(e, (struct enc){ 0 }, 0x0fb6, d, saved_byte(1));
    enc(e, (struct enc){ .imm_bytes = 4 }, 0x81, 4, rm_reg(d));     /* and d, SF ZF AF PF CF */
    put32(e, 0xd5);
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xf6, 0, saved_byte(0)); /* test OF's byte */
    put8(e, 1);
    u32 none = emit_jump_if(e, 4);
    enc(e, (struct enc){ .imm_bytes = 4 }, 0x81, 1, rm_reg(d));     /* or d, OF */
    put32(e, IR_O);
    emit_fill(e, none, e->at);
    emit_defined(e, ins->d, d, ins->size < 4 ? ins->size : 4);
}

static void emit_putfl(struct emit *e, const struct ir_ins *ins)
{
    if (e->flags == FLAGS_HOST && ins->fdef != IR_FLAGS)
        flags_save(e);
    if (e->flags != FLAGS_DEAD && ins->fdef != IR_FLAGS)
        flags_write_out(e);
    if (e->flags == FLAGS_DEAD && !(ins->fdef & IR_O)) {    /* what the byte holds may say that operands were saved */
        enc(e, (struct enc){ .imm_bytes = 1 }, 0xc6, 0, saved_byte(0));
        put8(e, 0);
    }
    unsigned a = emit_copy(e, ins->a, 4);
    enc(e, (struct enc){ .reg8 = true }, 0x88, a, saved_byte(1));
    if (ins->fdef & IR_O) {
        enc(e, (struct enc){ 0 }, 0xc1, 5, rm_reg(a));  /* shr a, 11 */
        put8(e, 11);
        enc(e, (struct enc){ 0 }, 0x83, 4, rm_reg(a));  /* and a, 1 */
        put8(e, 1);
        enc(e, (struct enc){ .reg8 = true }, 0x88, a, saved_byte(0));
    }
    emit_release(e, a);
    e->flags = ins->flive ? FLAGS_SAVED : FLAGS_DEAD;
}

static void emit_clc(struct emit *e, const struct ir_ins *ins) { put_opcode(e, 0xf8); }
static void emit_stc(struct emit *e, const struct ir_ins *ins) { put_opcode(e, 0xf9); }
static void emit_cmc(struct emit *e, const struct ir_ins *ins) { put_opcode(e, 0xf5); }

static void emit_insn(struct emit *e, const struct ir_ins *ins) { insn_emit(e, ins); }

emit_fn *const emit_ops[IR_OP_COUNT] = {
#define IR(name, ...) [IR_OP_##name] = emit_##name,
#include "jit/ir.def"
};
