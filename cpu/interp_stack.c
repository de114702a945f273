/* interp_stack.c - PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE. SDM 2; SDM 3B 20.2.7 for virtual-8086 mode.
 *
 * rSP changes only when nothing can fault any more.
 */
#include "cpu/interp_forms.h"

/* --- PUSH, POP ------------------------------------------------------------------------------------------------- */

bool in_push(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (in->op[0].kind == OP_IMM)
        v = in->imm;
    else if (!operand_read(c, in, 0, &v))
        return false;
    return stack_push(c, in->opsize, v);
}

/* The address of a memory operand is computed with rSP already moved; POP rSP keeps what it popped. */
bool in_pop(struct vcpu *c, const struct insn *in)
{
    u64 v, old = c->rsp;
    if (!stack_pop(c, in->opsize, &v))
        return false;
    if (in->op[0].kind == OP_MEM) {
        if (!mem_write(c, in->seg, operand_ea(c, in), in->opsize, v)) {
            c->rsp = old;
            return false;
        }
        return true;
    }
    gpr_write(c, in->op[0].reg, in->opsize, v);
    return true;
}

/* Stack of 8 bytes (64-bit mode) or 4 bytes per slot. */
FORM_INLINE bool push(struct vcpu *c, unsigned n, u64 v)
{
    u64 sp = (c->rsp - n) & (n == 8 ? ~(u64)0 : stack_mask(c));
    if (unlikely(!form_store_at(c, SEG_SS, sp, n, v)))
        return false;
    if (n == 8)
        c->rsp = sp;
    else
        stack_set(c, sp);
    return true;
}
FORM_INLINE bool pop(struct vcpu *c, unsigned n, unsigned reg)
{
    u64 v;
    if (unlikely(!form_load_at(c, SEG_SS, c->rsp & (n == 8 ? ~(u64)0 : stack_mask(c)), n, &v)))
        return false;
    if (n == 8)
        c->rsp += 8;
    else
        stack_set(c, c->rsp + n);
    c->gpr[reg] = v;
    return true;
}
FORM_INLINE bool push_mem(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 v;
    return form_load(c, in, n, &v) && push(c, n, v);
}
#define STACK_FORM(n) \
    static bool push_r##n(struct vcpu *c, const struct insn *in) \
    { \
        return form_run(c, in, push(c, n, c->gpr[in->op[0].reg])); \
    } \
    static bool push_i##n(struct vcpu *c, const struct insn *in) { return form_run(c, in, push(c, n, in->imm)); } \
    static bool push_m##n(struct vcpu *c, const struct insn *in) { return form_run(c, in, push_mem(c, in, n)); } \
    static bool pop_r##n(struct vcpu *c, const struct insn *in) { return form_run(c, in, pop(c, n, in->op[0].reg)); }
STACK_FORM(4)
STACK_FORM(8)

interp_fn *push_choose(const struct insn *in)
{
    bool wide = in->opsize == 8;
    if (in->opsize == 2)
        return in->chain;
    switch (in->op[0].kind) {
    case OP_GPR: return wide ? push_r8 : push_r4;
    case OP_IMM: return wide ? push_i8 : push_i4;
    case OP_MEM: return wide ? push_m8 : push_m4;
    default: return in->chain;
    }
}
interp_fn *pop_choose(const struct insn *in)
{
    if (in->op[0].kind != OP_GPR || in->opsize == 2)
        return in->chain;
    return in->opsize == 8 ? pop_r8 : pop_r4;
}

/* --- PUSHA, POPA ------------------------------------------------------------------------------------------------- */

/* Would `count` pushes of n bytes from sp on succeed? */
static bool probe_pushes(struct vcpu *c, unsigned n, unsigned count, u64 sp)
{
    for (unsigned i = 1; i <= count; i++)
        if (!mem_probe_write(c, SEG_SS, (sp - i * n) & stack_mask(c), n))
            return false;
    return true;
}

bool in_pusha(struct vcpu *c, const struct insn *in)
{
    unsigned n = in->opsize;
    u64 sp = c->rsp;
    if (!probe_pushes(c, n, 8, sp))
        return false;
    for (unsigned reg = GPR_RAX; reg <= GPR_RDI; reg++)
        if (!mem_write(c, SEG_SS, (sp - (reg + 1) * n) & stack_mask(c), n, c->gpr[reg]))
            return false;
    stack_set(c, sp - 8 * n);
    return true;
}

bool in_popa(struct vcpu *c, const struct insn *in)
{
    unsigned n = in->opsize;
    u64 v[8];
    for (unsigned i = 0; i < 8; i++)
        if (!mem_read(c, SEG_SS, (c->rsp + i * n) & stack_mask(c), n, &v[7 - i]))
            return false;
    for (unsigned reg = GPR_RAX; reg <= GPR_RDI; reg++)
        if (reg != GPR_RSP)
            gpr_write(c, reg, n, v[reg]);
    stack_set(c, c->rsp + 8 * n);
    return true;
}

/* --- PUSHF, POPF ------------------------------------------------------------------------------------------------- */

/* Virtual-8086 mode with IOPL < 3: only the 16-bit forms with CR4.VME work, on VIF in place of IF. */
static bool v86_restricted(const struct vcpu *c)
{
    return in_v86_mode(c) && (c->eflags & EFL_IOPL) != EFL_IOPL;
}

bool in_pushf(struct vcpu *c, const struct insn *in)
{
    u64 f = rflags_get(c) & ~(u64)(EFL_VM | EFL_RF);
    if (v86_restricted(c)) {
        if (!(c->cr4 & CR4_VME) || in->opsize != 2)
            return cpu_fault_code(c, EXC_GP, 0);
        f = (f & ~(u64)EFL_IF) | EFL_IOPL | (c->eflags & EFL_VIF ? EFL_IF : 0);
    }
    return stack_push(c, in->opsize, f);
}

static bool popf_vme(struct vcpu *c)
{
    u64 f, old = c->rsp;
    if (!stack_pop(c, 2, &f))
        return false;
    if ((f & EFL_TF) || ((c->eflags & EFL_VIP) && (f & EFL_IF))) {
        c->rsp = old;
        return cpu_fault_code(c, EXC_GP, 0);
    }
    rflags_put(c, EFL_STATUS | EFL_TF | EFL_DF | EFL_NT | EFL_VIF, (u32)f | (f & EFL_IF ? EFL_VIF : 0));
    return true;
}

bool in_popf(struct vcpu *c, const struct insn *in)
{
    u64 f;
    u32 mask = EFL_STATUS | EFL_TF | EFL_DF | EFL_NT;
    if (v86_restricted(c)) {
        if (!(c->cr4 & CR4_VME) || in->opsize != 2)
            return cpu_fault_code(c, EXC_GP, 0);
        return popf_vme(c);
    }
    if (!stack_pop(c, in->opsize, &f))
        return false;
    if (in->opsize > 2)
        mask |= EFL_AC | EFL_ID | EFL_RF;       /* RF becomes 0 */
    if (c->cpl == 0)
        mask |= EFL_IOPL;
    if (c->cpl <= (c->eflags & EFL_IOPL) >> 12)
        mask |= EFL_IF;
    rflags_put(c, mask, (u32)f & ~(u32)EFL_RF);
    return true;
}

/* --- ENTER, LEAVE ------------------------------------------------------------------------------------------------ */

/* Copies the display: `level` - 1 frame pointers from below the old frame, then the new one. */
static bool enter_display(struct vcpu *c, unsigned n, unsigned level, u64 sp, u64 frame)
{
    u64 from = c->rbp, v, mask = stack_mask(c);
    if (!level)
        return true;
    for (unsigned i = 1; i < level; i++) {
        from -= n;
        sp -= n;
        if (!mem_read(c, SEG_SS, from & mask, n, &v) || !mem_write(c, SEG_SS, sp & mask, n, v))
            return false;
    }
    return mem_write(c, SEG_SS, (sp - n) & mask, n, frame);
}

bool in_enter(struct vcpu *c, const struct insn *in)
{
    unsigned n = in->opsize, level = in->imm2 & 31;
    u64 sp = c->rsp - n, mask = stack_mask(c), frame = (c->rsp & ~mask) | (sp & mask);
    u64 end = sp - level * n - (u16)in->imm;
    if (!probe_pushes(c, n, level + 1, c->rsp) || !mem_probe_write(c, SEG_SS, end & mask, n) ||
        !mem_write(c, SEG_SS, sp & mask, n, c->rbp) || !enter_display(c, n, level, sp, frame))
        return false;
    gpr_write(c, GPR_RBP, n, frame);
    stack_set(c, end);
    return true;
}

bool in_leave(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!mem_read(c, SEG_SS, c->rbp & stack_mask(c), in->opsize, &v))
        return false;
    stack_set(c, c->rbp + in->opsize);
    gpr_write(c, GPR_RBP, in->opsize, v);
    return true;
}
