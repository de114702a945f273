/* interp_forms.h - inline pieces from which the interpreter builds forms of hot instructions: operands of a kind and
 * width that are constants at compile time. Private to cpu/interp*.c.
 *
 * interp_prepare asks a family's *_choose function for the form that fits a decoded instruction; a choose function returns
 * in->chain, which is form_general or form_last, if there is none.
 *
 * Forms are chained: each ends with a jump to the form of the instruction behind it, the last one of a block returns. The
 * result says whether the whole block was executed; if not, c->stop is the instruction that was not.
 * A form does the common case only: operands in registers, or in memory that needs no check but the TLB's. Else it has
 * no effect and leaves the instruction to form_general, which runs in->run. So a form cannot fault, and c->rip and
 * c->icount, which nobody looks at in between, are not kept up to date by forms: the instruction's place is known from
 * block_rip and in->end.
 */
#ifndef SHADOW86_INTERP_FORMS_H
#define SHADOW86_INTERP_FORMS_H

#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/mem.h"
#include "cpu/operand.h"
#include "cpu/vcpu.h"

#define FORM_INLINE static inline __attribute__((always_inline))

/* destination and source: register, immediate, memory */
enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORM_COUNT };

/* Runs in->run, then what follows; form_last: nothing follows, the instruction sets RIP (branches, ATTR_SYS, REP). */
bool form_general(struct vcpu *c, const struct insn *in);
bool form_last(struct vcpu *c, const struct insn *in);

FORM_INLINE bool form_next(struct vcpu *c, const struct insn *in) { return in[1].chain(c, in + 1); }
/* The end of a form: `done` says whether it has executed the instruction. */
FORM_INLINE bool form_run(struct vcpu *c, const struct insn *in, bool done)
{
    return likely(done) ? form_next(c, in) : form_general(c, in);
}
FORM_INLINE bool form_run_last(struct vcpu *c, const struct insn *in, bool done)
{
    return likely(done) ? true : form_last(c, in);
}
/* The address behind the instruction. */
FORM_INLINE u64 form_rip(const struct vcpu *c, const struct insn *in) { return c->block_rip + in->end; }

FORM_INLINE bool form_is_reg(const struct operand *o) { return o->kind == OP_GPR || o->kind == OP_GPRH; }
/* FORM_COUNT if the two operands are none of these. */
static inline enum form form_of(const struct insn *in)
{
    bool dst = form_is_reg(&in->op[0]), src = form_is_reg(&in->op[1]);
    if (dst)
        return src ? FORM_RR : in->op[1].kind == OP_IMM ? FORM_RI : in->op[1].kind == OP_MEM ? FORM_RM : FORM_COUNT;
    if (in->op[0].kind == OP_MEM)
        return src ? FORM_MR : in->op[1].kind == OP_IMM ? FORM_MI : FORM_COUNT;
    return FORM_COUNT;
}
/* 0..3 for 1, 2, 4, 8 bytes; -1 for others. */
static inline int form_width(unsigned bytes) { return bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : -1; }

/* A general register; anything may stand above n bytes. */
FORM_INLINE u64 form_reg(const struct vcpu *c, const struct operand *o, unsigned n)
{
    return n == 1 ? gpr_read8(c, o) : c->gpr[o->reg];
}
FORM_INLINE void form_set_reg(struct vcpu *c, const struct operand *o, unsigned n, u64 v)
{
    if (n == 1)
        gpr_write8(c, o, (u8)v);
    else
        gpr_write(c, o->reg, n, v);
}

FORM_INLINE u64 form_ea(const struct vcpu *c, const struct insn *in)
{
    u64 ea = c->gpr[in->base] + (c->gpr[in->index] << in->scale) + in->disp;
    if (likely(in->addrsize == 8))
        return ea;
    return likely(in->addrsize == 4) ? (u32)ea : (u16)ea;
}

FORM_INLINE u64 form_get(const u8 *p, unsigned n)
{
    u64 v = 0;
    memcpy(&v, p, n);
    return v;
}

FORM_INLINE bool form_load_at(struct vcpu *c, unsigned seg, u64 ea, unsigned n, u64 *v)
{
    const u8 *p = mem_host_read(c, seg, ea, n);
    if (unlikely(!p))
        return false;
    *v = form_get(p, n);
    return true;
}
FORM_INLINE bool form_load(struct vcpu *c, const struct insn *in, unsigned n, u64 *v)
{
    return form_load_at(c, in->seg, form_ea(c, in), n, v);
}
FORM_INLINE bool form_store_at(struct vcpu *c, unsigned seg, u64 ea, unsigned n, u64 v)
{
    u8 *p = mem_host_write(c, seg, ea, n);
    if (unlikely(!p))
        return false;
    memcpy(p, &v, n);
    return true;
}
FORM_INLINE bool form_store(struct vcpu *c, const struct insn *in, unsigned n, u64 v)
{
    return form_store_at(c, in->seg, form_ea(c, in), n, v);
}

/* Read-modify-write: the host address of the operand, NULL if it has to be left to form_general. */
FORM_INLINE u8 *form_rmw(struct vcpu *c, const struct insn *in, unsigned n, u64 *v)
{
    u8 *p = mem_host_write(c, in->seg, form_ea(c, in), n);
    if (likely(p))
        *v = form_get(p, n);
    return p;
}
FORM_INLINE void form_rmw_end(u8 *p, unsigned n, u64 v) { memcpy(p, &v, n); }

/* Near branch to an offset: truncated to the operand size, checked against CS's limit or for canonical form. */
FORM_INLINE u64 branch_offset(const struct insn *in, u64 target)
{
    return in->opsize == 8 ? target : in->opsize == 4 ? (u32)target : (u16)target;
}
FORM_INLINE bool branch_fits(const struct vcpu *c, const struct insn *in, u64 target)
{
    return in->mode == 8 ? is_canonical(target) : target <= c->seg[SEG_CS].limit;
}
FORM_INLINE bool branch_ok(struct vcpu *c, const struct insn *in, u64 target)
{
    return branch_fits(c, in, target) || cpu_fault_code(c, EXC_GP, 0);
}

/* A form for these operands, or in->chain. */
interp_fn *alu_choose(const struct insn *in);
interp_fn *unary_choose(const struct insn *in);
interp_fn *imul_choose(const struct insn *in);
interp_fn *xchg_choose(const struct insn *in);
interp_fn *nop_choose(const struct insn *in);
interp_fn *move_choose(const struct insn *in);
interp_fn *extend_choose(const struct insn *in);
interp_fn *lea_choose(const struct insn *in);
interp_fn *cmov_choose(const struct insn *in);
interp_fn *setcc_choose(const struct insn *in);
interp_fn *shift_choose(const struct insn *in);
interp_fn *jcc_choose(const struct insn *in);
interp_fn *jmp_choose(const struct insn *in);
interp_fn *call_choose(const struct insn *in);
interp_fn *ret_choose(const struct insn *in);
interp_fn *push_choose(const struct insn *in);
interp_fn *pop_choose(const struct insn *in);

#endif
