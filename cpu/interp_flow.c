/* interp_flow.c - near transfers: JMP CALL RET Jcc LOOP JrCXZ; software interrupts, BOUND, UD0..UD2. SDM 2.
 *
 * The target is checked before anything is pushed or counted: a branch beyond CS's limit or to a non-canonical address
 * faults at the branch. Far transfers are in far.c.
 */
#include "cpu/interp_forms.h"

FORM_INLINE bool jump(struct vcpu *c, const struct insn *in, u64 target)
{
    target = branch_offset(in, target);
    if (unlikely(!branch_ok(c, in, target)))
        return false;
    c->rip = target;
    return true;
}

FORM_INLINE bool call(struct vcpu *c, const struct insn *in, u64 target)
{
    target = branch_offset(in, target);
    if (unlikely(!branch_ok(c, in, target)) || unlikely(!stack_push(c, in->opsize, c->rip)))
        return false;
    c->rip = target;
    return true;
}

FORM_INLINE bool ret(struct vcpu *c, const struct insn *in, unsigned bytes, u64 drop)
{
    u64 target;
    if (unlikely(!mem_read(c, SEG_SS, c->rsp & stack_mask(c), bytes, &target)) || unlikely(!branch_ok(c, in, target)))
        return false;
    stack_set(c, c->rsp + bytes + drop);
    c->rip = target;
    return true;
}

static bool branch_target(struct vcpu *c, const struct insn *in, u64 *target)
{
    if (in->op[0].kind == OP_REL) {
        *target = c->rip + in->imm;
        return true;
    }
    return operand_read(c, in, 0, target);
}

bool in_jmp(struct vcpu *c, const struct insn *in)
{
    u64 target;
    return branch_target(c, in, &target) && jump(c, in, target);
}

bool in_call(struct vcpu *c, const struct insn *in)
{
    u64 target;
    return branch_target(c, in, &target) && call(c, in, target);
}

bool in_ret(struct vcpu *c, const struct insn *in)
{
    return ret(c, in, in->opsize, in->op[0].kind == OP_IMM ? (u16)in->imm : 0);
}

bool in_jcc(struct vcpu *c, const struct insn *in)
{
    return !flags_condition(c, in->imm2) || jump(c, in, c->rip + in->imm);
}

/* --- forms ---------------------------------------------------------------------------------------------------- */

#define CONDITIONS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
/* The next instruction's address, or the target if `taken`. */
FORM_INLINE bool form_jump(struct vcpu *c, const struct insn *in, bool taken)
{
    u64 rip = form_rip(c, in);
    if (taken) {
        u64 target = branch_offset(in, rip + in->imm);
        if (unlikely(!branch_fits(c, in, target)))
            return false;
        rip = target;
    }
    c->rip = rip;
    return true;
}
#define JCC(cc) \
    static bool jcc_##cc(struct vcpu *c, const struct insn *in) \
    { \
        return form_run_last(c, in, form_jump(c, in, flags_condition(c, cc))); \
    }
CONDITIONS(JCC)

interp_fn *jcc_choose(const struct insn *in)
{
#define NAME(cc) jcc_##cc,
    static interp_fn *const forms[16] = { CONDITIONS(NAME) };
    return forms[in->imm2 & 15];
}

static bool jmp_rel(struct vcpu *c, const struct insn *in) { return form_run_last(c, in, form_jump(c, in, true)); }

/* 64-bit mode */
FORM_INLINE bool form_call(struct vcpu *c, const struct insn *in, u64 target)
{
    if (unlikely(!is_canonical(target)) || unlikely(!form_store_at(c, SEG_SS, c->rsp - 8, 8, form_rip(c, in))))
        return false;
    c->rsp -= 8;
    c->rip = target;
    return true;
}
static bool call_rel64(struct vcpu *c, const struct insn *in)
{
    return form_run_last(c, in, form_call(c, in, form_rip(c, in) + in->imm));
}
static bool call_r64(struct vcpu *c, const struct insn *in)
{
    return form_run_last(c, in, form_call(c, in, c->gpr[in->op[0].reg]));
}
static bool jmp_r64(struct vcpu *c, const struct insn *in)
{
    u64 target = c->gpr[in->op[0].reg];
    if (unlikely(!is_canonical(target)))
        return form_last(c, in);
    c->rip = target;
    return true;
}
FORM_INLINE bool form_ret(struct vcpu *c)
{
    u64 target;
    if (unlikely(!form_load_at(c, SEG_SS, c->rsp, 8, &target)) || unlikely(!is_canonical(target)))
        return false;
    c->rsp += 8;
    c->rip = target;
    return true;
}
static bool ret_64(struct vcpu *c, const struct insn *in) { return form_run_last(c, in, form_ret(c)); }

/* outside of it, 4 bytes per slot */
static bool call_rel32(struct vcpu *c, const struct insn *in)
{
    u64 rip = form_rip(c, in), target = (u32)(rip + in->imm), sp = (c->rsp - 4) & stack_mask(c);
    if (unlikely(!branch_fits(c, in, target)) || unlikely(!form_store_at(c, SEG_SS, sp, 4, rip)))
        return form_last(c, in);
    stack_set(c, sp);
    c->rip = target;
    return true;
}
static bool ret_32(struct vcpu *c, const struct insn *in)
{
    u64 target;
    if (unlikely(!form_load_at(c, SEG_SS, c->rsp & stack_mask(c), 4, &target)) || unlikely(!branch_fits(c, in, target)))
        return form_last(c, in);
    stack_set(c, c->rsp + 4);
    c->rip = target;
    return true;
}

interp_fn *jmp_choose(const struct insn *in)
{
    if (in->op[0].kind == OP_REL)
        return jmp_rel;
    return in->opsize == 8 && in->op[0].kind == OP_GPR ? jmp_r64 : in->chain;
}
interp_fn *call_choose(const struct insn *in)
{
    if (in->op[0].kind == OP_REL)
        return in->opsize == 8 ? call_rel64 : in->opsize == 4 ? call_rel32 : in->chain;
    return in->opsize == 8 && in->op[0].kind == OP_GPR ? call_r64 : in->chain;
}
interp_fn *ret_choose(const struct insn *in)
{
    if (in->op[0].kind != OP_NONE)
        return in->chain;
    return in->opsize == 8 ? ret_64 : in->opsize == 4 ? ret_32 : in->chain;
}

/* --- counting ------------------------------------------------------------------------------------------------- */

static bool loop(struct vcpu *c, const struct insn *in, bool condition)
{
    u64 count = flags_truncate(in->addrsize, c->rcx - 1);
    if (count && condition && !jump(c, in, c->rip + in->imm))
        return false;
    gpr_write(c, GPR_RCX, in->addrsize, count);
    return true;
}
bool in_loop(struct vcpu *c, const struct insn *in) { return loop(c, in, true); }
bool in_loope(struct vcpu *c, const struct insn *in) { return loop(c, in, flags_zf(c)); }
bool in_loopne(struct vcpu *c, const struct insn *in) { return loop(c, in, !flags_zf(c)); }

bool in_jcxz(struct vcpu *c, const struct insn *in)
{
    return flags_truncate(in->addrsize, c->rcx) || jump(c, in, c->rip + in->imm);
}

/* --- interrupts ------------------------------------------------------------------------------------------------ */

bool in_int(struct vcpu *c, const struct insn *in) { return interrupt_software(c, (u8)in->imm, INT_SOFTWARE); }
bool in_int3(struct vcpu *c, const struct insn *in) { return interrupt_software(c, EXC_BP, INT_SOFT_EXC); }
bool in_int1(struct vcpu *c, const struct insn *in) { return interrupt_software(c, EXC_DB, INT_PRIV); }
bool in_into(struct vcpu *c, const struct insn *in)
{
    return !flags_of(c) || interrupt_software(c, EXC_OF, INT_SOFT_EXC);
}

bool in_ud0(struct vcpu *c, const struct insn *in) { return cpu_fault(c, EXC_UD); }
bool in_ud1(struct vcpu *c, const struct insn *in) { return cpu_fault(c, EXC_UD); }
bool in_ud2(struct vcpu *c, const struct insn *in) { return cpu_fault(c, EXC_UD); }

bool in_bound(struct vcpu *c, const struct insn *in)
{
    u64 ea = operand_ea(c, in), low, high;
    unsigned n = in->opsize;
    if (!mem_read(c, in->seg, ea, n, &low) ||
        !mem_read(c, in->seg, flags_truncate(in->addrsize, ea + n), n, &high))
        return false;
    s64 index = (s64)flags_sign_extend(n, c->gpr[in->op[0].reg]);
    if (index < (s64)flags_sign_extend(n, low) || index > (s64)flags_sign_extend(n, high))
        return cpu_fault(c, EXC_BR);
    return true;
}
