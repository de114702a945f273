/* emit_flags.c - the guest's status flags: in NZCV as long as nothing needs that for itself, P and A in memory (emit.h).
 *
 * pass_flags says which flags are needed (flive); for the others nothing is done.
 */
#include "jit/aarch64/emit.h"

bool host_has_flagm;

enum { CFINV = 0xd500401f, RMIF = 0xba000400, RMIF_V = 1, RMIF_C = 2, RMIF_Z = 4, RMIF_N = 8 };
enum { MRS_NZCV = 0xd53b4200, MSR_NZCV = 0xd51b4200, BIT_N = 31, BIT_Z = 30, BIT_C = 29, BIT_V = 28 };
#define CARRY ((u64)1 << BIT_C)

/* --- from place to place ---------------------------------------------------------------------------------------------- */

void flags_save(struct emit *e)
{
    put32(e, MRS_NZCV | X16);
    if (e->inverted)
        logic_imm(e, EOR, false, X16, X16, CARRY);
    store(e, 4, X16, VCPU_OFF(jit.flags));
    e->flags = FLAGS_BOTH;
}

void flags_clobber(struct emit *e, u16 keep)
{
    keep &= IR_NZCV;
    if (keep && e->flags == FLAGS_HOST)
        flags_save(e);
    e->flags = keep && (e->flags == FLAGS_BOTH || e->flags == FLAGS_SAVED) ? FLAGS_SAVED : FLAGS_DEAD;
}

void flags_to_host(struct emit *e)
{
    if (e->flags != FLAGS_SAVED)
        return;
    load(e, 4, X16, VCPU_OFF(jit.flags));
    put32(e, MSR_NZCV | X16);
    e->flags = FLAGS_BOTH;
    e->inverted = false;
}

void flags_carry(struct emit *e, bool inverted)
{
    flags_to_host(e);
    if (e->inverted == inverted)
        return;
    e->inverted = inverted;
    if (host_has_flagm) {
        put32(e, CFINV);
        return;
    }
    put32(e, MRS_NZCV | X16);
    logic_imm(e, EOR, false, X16, X16, CARRY);
    put32(e, MSR_NZCV | X16);
}

/* The flags of `mask` are bits of reg, rotated right by `by`: N is bit 3. */
static void rotate_into(struct emit *e, unsigned reg, unsigned by, unsigned mask) { put32(e, RMIF | by << 15 | reg << 5 | mask); }

void flags_emit_leave(struct emit *e, u16 live)
{
    if (live & IR_NZCV && e->flags == FLAGS_HOST)
        flags_save(e);
}

void flags_emit_jump(struct emit *e, u16 live)
{
    if (live & IR_C)
        flags_carry(e, false);
    else if (live & IR_NZCV)
        flags_to_host(e);
}

/* --- operations that set them ------------------------------------------------------------------------------------------- */

u16 flags_wanted(const struct ir_ins *ins) { return ins->fdef & ins->flive & IR_NZCV; }
static u16 flags_kept(const struct ir_ins *ins) { return ins->flive & ~ins->fdef & IR_NZCV; }

void flags_begin(struct emit *e, const struct ir_ins *ins)
{
    if (!flags_kept(ins))
        return;
    flags_to_host(e);
    put32(e, MRS_NZCV | LR);
}

/* The host's flags that kept names are those in LR. X16, X17 are used. */
static void merge(struct emit *e, u16 kept)
{
    static const struct { u16 flag; unsigned bit, mask; } bits[4] = {
        { IR_S, BIT_N, RMIF_N }, { IR_Z, BIT_Z, RMIF_Z }, { IR_C, BIT_C, RMIF_C }, { IR_O, BIT_V, RMIF_V } };
    unsigned mask = 0;
    if (!host_has_flagm)
        put32(e, MRS_NZCV | X16);
    for (unsigned i = 0; i < 4; i++) {
        if (!(kept & bits[i].flag))
            continue;
        mask |= bits[i].mask;
        if (host_has_flagm)
            continue;
        ubfx(e, X17, LR, bits[i].bit, 1);
        bfi(e, X16, X17, bits[i].bit, 1);
    }
    if (host_has_flagm)
        rotate_into(e, LR, BIT_V, mask);
    else
        put32(e, MSR_NZCV | X16);
}

void flags_end(struct emit *e, const struct ir_ins *ins, bool inverted)
{
    u16 kept = flags_kept(ins);
    if (kept)
        merge(e, kept);
    if (!(kept & IR_C))
        e->inverted = inverted;
    e->flags = ins->flive & IR_NZCV ? FLAGS_HOST : FLAGS_DEAD;
}

void flags_adjust(struct emit *e, const struct ir_ins *ins, unsigned a, unsigned b)
{
    if (!(ins->fdef & ins->flive & IR_A))
        return;
    e->operands = (u8)emit_scratch(e);
    if (b != NO_REG)
        rrr(e, EOR, false, e->operands, a, b);
    else
        mov(e, false, e->operands, a);
}

void flags_parity(struct emit *e, const struct ir_ins *ins, unsigned result)
{
    static_assert(VCPU_OFF(jit.flag_a) < 256 && VCPU_OFF(jit.flag_a) % 4 == 0, "STP reaches it");
    if (e->operands != NO_REG)
        pair(e, STP32, result, e->operands, VCPU, (s32)VCPU_OFF(jit.flag_a));
    else if (ins->fdef & ins->flive & IR_P && !(ins->fdef & IR_A))  /* undefined: clear, as on the processors that we follow */
        pair(e, STP32, result, result, VCPU, (s32)VCPU_OFF(jit.flag_a));
    else if (ins->fdef & ins->flive & (IR_P | IR_A))
        store(e, 4, result, VCPU_OFF(jit.flag_a));
    emit_release(e, e->operands);
    e->operands = NO_REG;
}

void flags_odd(struct emit *e, unsigned reg) { store(e, 8, reg, VCPU_OFF(jit.flag_a)); }

void flags_from(struct emit *e, const struct ir_ins *ins, unsigned result, unsigned carry, unsigned overflow)
{
    u16 want = flags_wanted(ins), kept = flags_kept(ins);
    unsigned size = ins->size;
    flags_parity(e, ins, result);
    if (!want)
        return;
    if (!(want & (IR_S | IR_Z | IR_O)) && !kept) {      /* CF alone */
        if (carry == NO_REG)
            rrr(e, ADDS, false, XZR, XZR, XZR);
        else if (host_has_flagm)
            rotate_into(e, carry, 63, RMIF_C);
        else {
            ubfx(e, X16, carry, 0, 1);
            add_imm(e, SUBS, false, XZR, X16, 1);
        }
        e->inverted = false;
        e->flags = FLAGS_HOST;
        return;
    }
    bool extra = (want & IR_C && carry != NO_REG) || (want & IR_O && overflow != NO_REG);
    if (kept)
        flags_to_host(e);
    if (want & (IR_S | IR_Z) || !kept) {
        flags_begin(e, ins);
        if (size >= 4)
            rrr(e, ANDS, size == 8, XZR, result, result);
        else
            rrr(e, ADDS | BY(32 - 8 * size), false, XZR, XZR, result);
        flags_end(e, ins, false);
    }
    if (!extra && !(kept && want & (IR_C | IR_O) && !(want & (IR_S | IR_Z))))
        return;
    e->flags = FLAGS_HOST;
    if (host_has_flagm) {
        if (want & IR_C)
            rotate_into(e, carry == NO_REG ? XZR : carry, 63, RMIF_C);
        if (want & IR_O)
            rotate_into(e, overflow == NO_REG ? XZR : overflow, 0, RMIF_V);
        if (want & IR_C)
            e->inverted = false;
        return;
    }
    put32(e, MRS_NZCV | X16);
    if (want & IR_C) {
        bfi(e, X16, carry == NO_REG ? XZR : carry, BIT_C, 1);
        e->inverted = false;
    }
    if (want & IR_O)
        bfi(e, X16, overflow == NO_REG ? XZR : overflow, BIT_V, 1);
    put32(e, MSR_NZCV | X16);
}

/* --- operations that read them ------------------------------------------------------------------------------------------ */

/* X16 bit 0 = 1: odd parity. */
static void parity(struct emit *e)
{
    load(e, 1, X16, VCPU_OFF(jit.flag_a));
    rrr(e, EOR | BY_LSR | BY(4), false, X16, X16, X16);
    rrr(e, EOR | BY_LSR | BY(2), false, X16, X16, X16);
    rrr(e, EOR | BY_LSR | BY(1), false, X16, X16, X16);
}

unsigned flags_condition_of(struct emit *e, unsigned cc, unsigned *reg)
{
    static const u8 plain[16] = { [CC_O] = VS, [CC_E] = EQ, [CC_S] = MI, [CC_L] = LT, [CC_LE] = LE };
    unsigned cond = plain[cc & ~1u];
    *reg = NO_REG;
    if ((cc & ~1u) == CC_P) {
        parity(e);
        *reg = X16;
        return AL;
    }
    flags_to_host(e);
    if ((cc & ~1u) == CC_B)
        cond = e->inverted ? CC : CS;
    else if ((cc & ~1u) == CC_BE) {
        flags_carry(e, true);
        cond = LS;
    }
    return cond ^ (cc & 1);
}

/* --- flags as data ------------------------------------------------------------------------------------------------------- */

/* X16 = EFLAGS bits from NZCV in memory and the words of P and A. */
void emit_getfl(struct emit *e, const struct ir_ins *ins)
{
    flags_emit_leave(e, IR_NZCV);
    unsigned s = emit_scratch(e);
    parity(e);
    put32(e, 0x52000000 | X16 << 5 | X16);              /* eor w16, w16, #1: even */
    ubfx(e, X16, X16, 0, 1);
    lsl(e, true, s, X16, 2);                            /* PF */
    load(e, 8, X16, VCPU_OFF(jit.flag_a));
    rrr(e, EOR | BY_LSR | BY(32), true, X16, X16, X16);
    ubfx(e, X16, X16, 4, 1);
    bfi(e, s, X16, 4, 1);                               /* AF */
    load(e, 4, X16, VCPU_OFF(jit.flags));
    ubfx(e, X17, X16, BIT_C, 1);
    bfi(e, s, X17, 0, 1);
    ubfx(e, X17, X16, BIT_Z, 2);                        /* Z, N: bits 6, 7 */
    bfi(e, s, X17, 6, 2);
    ubfx(e, X17, X16, BIT_V, 1);
    bfi(e, s, X17, 11, 1);
    emit_done(e, ins->d, s, ins->size);
}

void emit_putfl(struct emit *e, const struct ir_ins *ins)
{
    u16 kept = flags_kept(ins);
    unsigned a = emit_in(e, ins->a, 4);
    if (kept || e->flags == FLAGS_HOST)
        flags_emit_leave(e, kept);
    if (ins->fdef & ins->flive & (IR_P | IR_A)) {
        ubfx(e, X16, a, 2, 1);
        put32(e, 0x52000000 | X16 << 5 | X16);          /* eor w16, w16, #1: one bit set, odd */
        ubfx(e, X17, a, 4, 1);
        bfi(e, X16, X17, 36, 1);
        flags_odd(e, X16);
    }
    if (flags_wanted(ins)) {
        load(e, 4, X16, VCPU_OFF(jit.flags));
        ubfx(e, X17, a, 0, 1);
        if (ins->fdef & IR_C)
            bfi(e, X16, X17, BIT_C, 1);
        ubfx(e, X17, a, 6, 2);
        if (ins->fdef & (IR_Z | IR_S))
            bfi(e, X16, X17, BIT_Z, 2);
        ubfx(e, X17, a, 11, 1);
        if (ins->fdef & IR_O)
            bfi(e, X16, X17, BIT_V, 1);
        store(e, 4, X16, VCPU_OFF(jit.flags));
        e->flags = FLAGS_SAVED;
    }
    emit_release(e, a);
}

/* CF alone changes. value: 0, 1; 2: inverted */
static void set_carry(struct emit *e, const struct ir_ins *ins, unsigned value)
{
    if (!(ins->fdef & ins->flive & IR_C))
        return;
    flags_to_host(e);
    if (value == 2) {
        e->inverted ^= 1;
    } else if (!flags_kept(ins)) {
        rrr(e, value ? SUBS : ADDS, false, XZR, XZR, XZR);     /* no borrow: C = 1 */
        e->inverted = false;
    } else {
        put32(e, MRS_NZCV | X16);
        logic_imm(e, value ? ORR : AND, false, X16, X16, value ? CARRY : ~CARRY);
        put32(e, MSR_NZCV | X16);
        e->inverted = false;
    }
    e->flags = FLAGS_HOST;
}
void emit_clc(struct emit *e, const struct ir_ins *ins) { set_carry(e, ins, 0); }
void emit_stc(struct emit *e, const struct ir_ins *ins) { set_carry(e, ins, 1); }
void emit_cmc(struct emit *e, const struct ir_ins *ins) { set_carry(e, ins, 2); }
