/* interp_move.c - MOV and its relatives, LEA, XCHG, XLAT, CMOVcc, SETcc, LAHF, SAHF, single
 * flags, NOPs. SDM 2.
 *
 * NOPs with a ModRM byte, prefetches and ENDBR make no access at all.
 */
#include "cpu/interp_forms.h"

/* --- MOV ------------------------------------------------------------------------------------------------------ */

bool in_mov(struct vcpu *c, const struct insn *in)
{
    u64 v;
    return operand_read(c, in, 1, &v) && operand_write(c, in, 0, v);
}

#define MOV_FORM(n) \
    static bool mov_rr##n(struct vcpu *c, const struct insn *in) \
    { \
        form_set_reg(c, &in->op[0], n, form_reg(c, &in->op[1], n)); \
        return form_next(c, in); \
    } \
    static bool mov_ri##n(struct vcpu *c, const struct insn *in) \
    { \
        form_set_reg(c, &in->op[0], n, in->imm); \
        return form_next(c, in); \
    } \
    static bool mov_rm##n(struct vcpu *c, const struct insn *in) \
    { \
        u64 v; \
        if (unlikely(!form_load(c, in, n, &v))) \
            return form_general(c, in); \
        form_set_reg(c, &in->op[0], n, v); \
        return form_next(c, in); \
    } \
    static bool mov_mr##n(struct vcpu *c, const struct insn *in) \
    { \
        return form_run(c, in, form_store(c, in, n, form_reg(c, &in->op[1], n))); \
    } \
    static bool mov_mi##n(struct vcpu *c, const struct insn *in) \
    { \
        return form_run(c, in, form_store(c, in, n, in->imm)); \
    }
MOV_FORM(1)
MOV_FORM(2)
MOV_FORM(4)
MOV_FORM(8)
#undef MOV_FORM

bool in_movnti(struct vcpu *c, const struct insn *in) { return in_mov(c, in); }

interp_fn *move_choose(const struct insn *in)
{
    static interp_fn *const forms[FORM_COUNT][4] = {
        [FORM_RR] = { mov_rr1, mov_rr2, mov_rr4, mov_rr8 }, [FORM_RI] = { mov_ri1, mov_ri2, mov_ri4, mov_ri8 },
        [FORM_RM] = { mov_rm1, mov_rm2, mov_rm4, mov_rm8 }, [FORM_MR] = { mov_mr1, mov_mr2, mov_mr4, mov_mr8 },
        [FORM_MI] = { mov_mi1, mov_mi2, mov_mi4, mov_mi8 },
    };
    enum form form = form_of(in);
    int width = form_width(in->op[0].size);
    return form == FORM_COUNT || width < 0 ? in->chain : forms[form][width];
}

/* --- MOVZX MOVSX MOVSXD --------------------------------------------------------------------------------------- */

bool in_movzx(struct vcpu *c, const struct insn *in)
{
    u64 v;
    return operand_read(c, in, 1, &v) && operand_write(c, in, 0, v);
}

bool in_movsx(struct vcpu *c, const struct insn *in)
{
    u64 v;
    return operand_read(c, in, 1, &v) && operand_write(c, in, 0, flags_sign_extend(in->op[1].size, v));
}

bool in_movsxd(struct vcpu *c, const struct insn *in) { return in_movsx(c, in); }

FORM_INLINE bool extend_reg(struct vcpu *c, const struct insn *in, unsigned from, unsigned to, bool sign)
{
    u64 v = form_reg(c, &in->op[1], from);
    gpr_write(c, in->op[0].reg, to, sign ? flags_sign_extend(from, v) : flags_truncate(from, v));
    return true;
}
FORM_INLINE bool extend_mem(struct vcpu *c, const struct insn *in, unsigned from, unsigned to, bool sign)
{
    u64 v;
    if (unlikely(!form_load(c, in, from, &v)))
        return false;
    gpr_write(c, in->op[0].reg, to, sign ? flags_sign_extend(from, v) : v);
    return true;
}
#define EXTEND(name, sign, from, to) \
    static bool name##_r##from##to(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, extend_reg(c, in, from, to, sign)); } \
    static bool name##_m##from##to(struct vcpu *c, const struct insn *in) \
        { return form_run(c, in, extend_mem(c, in, from, to, sign)); }
EXTEND(zx, false, 1, 4)
EXTEND(zx, false, 2, 4)
EXTEND(sx, true, 1, 4)
EXTEND(sx, true, 2, 4)
EXTEND(sx, true, 1, 8)
EXTEND(sx, true, 2, 8)
EXTEND(sx, true, 4, 8)
#undef EXTEND

interp_fn *extend_choose(const struct insn *in)
{
    static const struct { u8 sign, from, to; interp_fn *reg, *mem; } forms[] = {
        { 0, 1, 4, zx_r14, zx_m14 }, { 0, 2, 4, zx_r24, zx_m24 },
        { 0, 1, 8, zx_r14, zx_m14 }, { 0, 2, 8, zx_r24, zx_m24 },   /* 32-bit results clear the upper half anyway */
        { 1, 1, 4, sx_r14, sx_m14 }, { 1, 2, 4, sx_r24, sx_m24 },
        { 1, 1, 8, sx_r18, sx_m18 }, { 1, 2, 8, sx_r28, sx_m28 }, { 1, 4, 8, sx_r48, sx_m48 },
    };
    bool sign = in->run != in_movzx;
    for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
        if (forms[i].sign == sign && forms[i].from == in->op[1].size && forms[i].to == in->op[0].size)
            return form_is_reg(&in->op[1]) ? forms[i].reg : in->op[1].kind == OP_MEM ? forms[i].mem : in->chain;
    }
    return in->chain;
}

/* --- LEA ------------------------------------------------------------------------------------------------------ */

bool in_lea(struct vcpu *c, const struct insn *in)
{
    gpr_write(c, in->op[0].reg, in->op[0].size, operand_ea(c, in));
    return true;
}

static bool lea_4(struct vcpu *c, const struct insn *in)
{
    c->gpr[in->op[0].reg] = (u32)(c->gpr[in->base] + (c->gpr[in->index] << in->scale) + in->disp);
    return form_next(c, in);
}
static bool lea_8(struct vcpu *c, const struct insn *in)
{
    c->gpr[in->op[0].reg] = c->gpr[in->base] + (c->gpr[in->index] << in->scale) + in->disp;
    return form_next(c, in);
}

interp_fn *lea_choose(const struct insn *in)
{
    if (in->op[0].size == 8 && in->addrsize == 8)
        return lea_8;
    if (in->op[0].size >= 4 && in->addrsize >= 4)
        return lea_4;
    return in->chain;
}

/* --- XCHG, XLAT ----------------------------------------------------------------------------------------------- */

bool in_xchg(struct vcpu *c, const struct insn *in)
{
    u64 a, b;
    if (in->op[1].kind == OP_MEM)       /* whichever operand the table calls first */
        return operand_rmw(c, in, 1, &b) && operand_read(c, in, 0, &a) && operand_write(c, in, 1, a) &&
               operand_write(c, in, 0, b);
    return operand_rmw(c, in, 0, &a) && operand_read(c, in, 1, &b) && operand_write(c, in, 0, b) &&
           operand_write(c, in, 1, a);
}

static bool xchg_rr4(struct vcpu *c, const struct insn *in)
{
    u32 a = (u32)c->gpr[in->op[0].reg], b = (u32)c->gpr[in->op[1].reg];
    c->gpr[in->op[0].reg] = b;
    c->gpr[in->op[1].reg] = a;
    return form_next(c, in);
}
static bool xchg_rr8(struct vcpu *c, const struct insn *in)
{
    u64 a = c->gpr[in->op[0].reg], b = c->gpr[in->op[1].reg];
    c->gpr[in->op[0].reg] = b;
    c->gpr[in->op[1].reg] = a;
    return form_next(c, in);
}

interp_fn *xchg_choose(const struct insn *in)
{
    if (in->op[0].kind != OP_GPR || in->op[1].kind != OP_GPR || in->op[0].size < 4)
        return in->chain;
    return in->op[0].size == 4 ? xchg_rr4 : xchg_rr8;
}

bool in_xlat(struct vcpu *c, const struct insn *in)
{
    u8 v;
    u64 ea = flags_truncate(in->addrsize, c->rbx + (u8)c->rax);
    if (!mem_read8(c, in->seg, ea, &v))
        return false;
    gpr_write(c, GPR_RAX, 1, v);
    return true;
}

/* --- CMOVcc, SETcc -------------------------------------------------------------------------------------------- */

/* The source is read, and a 32-bit destination's upper half cleared, whatever the condition says. */
bool in_cmovcc(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!operand_read(c, in, 1, &v))
        return false;
    if (!flags_condition(c, in->imm2))
        v = c->gpr[in->op[0].reg];
    gpr_write(c, in->op[0].reg, in->op[0].size, v);
    return true;
}

bool in_setcc(struct vcpu *c, const struct insn *in)
{
    return operand_write(c, in, 0, flags_condition(c, in->imm2));
}

#define CONDITIONS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define COND_FORMS(cc) \
    static bool cmov4_##cc(struct vcpu *c, const struct insn *in) \
    { \
        c->gpr[in->op[0].reg] = (u32)c->gpr[in->op[flags_condition(c, cc)].reg]; \
        return form_next(c, in); \
    } \
    static bool cmov8_##cc(struct vcpu *c, const struct insn *in) \
    { \
        c->gpr[in->op[0].reg] = c->gpr[in->op[flags_condition(c, cc)].reg]; \
        return form_next(c, in); \
    } \
    static bool set_##cc(struct vcpu *c, const struct insn *in) \
    { \
        gpr_write8(c, &in->op[0], flags_condition(c, cc)); \
        return form_next(c, in); \
    }
CONDITIONS(COND_FORMS)

interp_fn *cmov_choose(const struct insn *in)
{
#define NAME4(cc) cmov4_##cc,
#define NAME8(cc) cmov8_##cc,
    static interp_fn *const four[16] = { CONDITIONS(NAME4) }, *const eight[16] = { CONDITIONS(NAME8) };
    if (in->op[1].kind != OP_GPR || in->op[0].size < 4)
        return in->chain;
    return (in->op[0].size == 4 ? four : eight)[in->imm2 & 15];
}

interp_fn *setcc_choose(const struct insn *in)
{
#define NAME(cc) set_##cc,
    static interp_fn *const forms[16] = { CONDITIONS(NAME) };
    return form_is_reg(&in->op[0]) ? forms[in->imm2 & 15] : in->chain;
}

/* --- AH and the flags ----------------------------------------------------------------------------------------- */

bool in_lahf(struct vcpu *c, const struct insn *in)
{
    u8 ah = (u8)((flags_status(c) & 0xff) | EFL_1);
    c->rax = (c->rax & ~(u64)0xff00) | (u64)ah << 8;
    return true;
}

bool in_sahf(struct vcpu *c, const struct insn *in)
{
    flags_put(c, EFL_STATUS & 0xff, (u32)(c->rax >> 8));
    return true;
}

bool in_clc(struct vcpu *c, const struct insn *in) { flags_set_cf(c, false); return true; }
bool in_stc(struct vcpu *c, const struct insn *in) { flags_set_cf(c, true); return true; }
bool in_cmc(struct vcpu *c, const struct insn *in) { flags_set_cf(c, !flags_cf(c)); return true; }
bool in_cld(struct vcpu *c, const struct insn *in) { c->eflags &= ~(u32)EFL_DF; return true; }
bool in_std(struct vcpu *c, const struct insn *in) { c->eflags |= EFL_DF; return true; }

/* --- nothing -------------------------------------------------------------------------------------------------- */

static bool nothing(struct vcpu *c, const struct insn *in) { return form_next(c, in); }

bool in_nop(struct vcpu *c, const struct insn *in) { return true; }
interp_fn *nop_choose(const struct insn *in) { return nothing; }
bool in_pause(struct vcpu *c, const struct insn *in) { return true; }
bool in_endbr32(struct vcpu *c, const struct insn *in) { return true; }
bool in_endbr64(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetch(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetchw(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetchwt1(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetchnta(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetcht0(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetcht1(struct vcpu *c, const struct insn *in) { return true; }
bool in_prefetcht2(struct vcpu *c, const struct insn *in) { return true; }

/* Loads and stores of one vCPU are in order as it is; what other threads have to see is fenced here. */
bool in_lfence(struct vcpu *c, const struct insn *in) { atomic_thread_fence(memory_order_seq_cst); return true; }
bool in_mfence(struct vcpu *c, const struct insn *in) { atomic_thread_fence(memory_order_seq_cst); return true; }
bool in_sfence(struct vcpu *c, const struct insn *in) { atomic_thread_fence(memory_order_seq_cst); return true; }
