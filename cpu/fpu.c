/* fpu.c - availability of x87, MMX, SSE and AVX; exception flags and their delivery; tags.
 *
 * An unmasked x87 exception sets ES and waits there for the next waiting instruction (fpu_check_x87). Where CR0.NE is 0
 * the x87 reports it by FERR# instead, which a PC wires to IRQ 13; we raise the line together with ES, so that the
 * interrupt comes before the next instruction, as a CPU that stops at the next waiting instruction would have it, and
 * let later waiting instructions run (as with IGNNE# active, which the PC asserts once the handler writes port F0h).
 * SDM 1 8.6, 8.7; SDM 3A 2.5, 13.1; SDM 2A 2.4 (exception conditions of SSE and VEX instructions).
 */
#include "cpu/fpu.h"

#include "cpu/cpu.h"
#include "cpu/operand.h"

/* --- availability --- */

bool fpu_pending_x87(struct vcpu *c)
{
    if (likely(!(c->x87.sw & X87_ES)))
        return true;
    if (c->cr0 & CR0_NE)
        return cpu_fault(c, EXC_MF);
    if (c->host && c->host->ferr)
        c->host->ferr(c->host_ctx, true);
    return true;
}

bool fpu_check_x87(struct vcpu *c, bool waiting)
{
    if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
        return cpu_fault(c, EXC_NM);
    return !waiting || fpu_pending_x87(c);
}

bool fpu_check_mmx(struct vcpu *c)
{
    if (unlikely(c->cr0 & CR0_EM))
        return cpu_fault(c, EXC_UD);
    if (unlikely(c->cr0 & CR0_TS))
        return cpu_fault(c, EXC_NM);
    return fpu_pending_x87(c);
}

bool fpu_check_sse(struct vcpu *c, const struct insn *in)
{
    if (in->vex) {
        if (unlikely(!in_protected_mode(c) || !(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & 6) != 6))
            return cpu_fault(c, EXC_UD);
    } else if (unlikely((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR))) {
        return cpu_fault(c, EXC_UD);
    }
    if (unlikely(c->cr0 & CR0_TS))
        return cpu_fault(c, EXC_NM);
    return true;
}

bool fpu_check_xsave(struct vcpu *c)
{
    if (!(c->cr4 & CR4_OSXSAVE))
        return cpu_fault(c, EXC_UD);
    if (c->cr0 & CR0_TS)
        return cpu_fault(c, EXC_NM);
    return true;
}

/* --- SoftFloat --- */

unsigned fpu_soft_flags(void)
{
    unsigned f = softfloat_exceptionFlags;
    return (f & softfloat_flag_invalid ? FP_IE : 0) | (f & softfloat_flag_infinite ? FP_ZE : 0) |
           (f & softfloat_flag_overflow ? FP_OE : 0) | (f & softfloat_flag_underflow ? FP_UE : 0) |
           (f & softfloat_flag_inexact ? FP_PE : 0);
}

uint_fast8_t fpu_soft_rounding(unsigned rc)
{
    static const u8 mode[4] = { softfloat_round_near_even, softfloat_round_min, softfloat_round_max,
                                softfloat_round_minMag };
    return mode[rc & 3];
}

/* --- x87 state --- */

void x87_update_summary(struct vcpu *c)
{
    struct x87 *x = &c->x87;
    bool was = x->sw & X87_ES, now = x->sw & ~x->cw & FP_ALL;
    x->sw = (u16)((x->sw & ~(X87_ES | X87_B)) | (now ? X87_ES | X87_B : 0));
    if (unlikely(was != now) && !(c->cr0 & CR0_NE) && c->host && c->host->ferr)
        c->host->ferr(c->host_ctx, now);
}

void x87_init(struct vcpu *c)
{
    struct x87 *x = &c->x87;
    x->cw = X87_CW_INIT;
    x->sw &= X87_ES | X87_B;    /* the summary goes below, with FERR# */
    x->empty = 0xff;
    x->fop = x->fcs = x->fds = 0;
    x->fip = x->fdp = 0;
    x87_update_summary(c);
}

/* SDM 1 8.1.7: 0 valid, 1 zero, 2 special, 3 empty. */
static unsigned full_tag(struct f80 v)
{
    if (f80_is_zero(v))
        return 1;
    return !f80_exp(v) || f80_exp(v) == F80_EXP || !(v.mant & F80_INT) ? 2 : 0;
}

u16 x87_tag_word(const struct vcpu *c)
{
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; i++)
        tags |= (c->x87.empty >> i & 1 ? 3 : full_tag(c->x87.r[i])) << (2 * i);
    return (u16)tags;
}

void x87_set_tag_word(struct vcpu *c, u16 tags)
{
    c->x87.empty = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((tags >> (2 * i) & 3) == 3)
            c->x87.empty |= (u8)(1 << i);
}

u8 x87_abridged_tags(const struct vcpu *c)
{
    return (u8)~c->x87.empty;
}

void x87_note(struct vcpu *c, const struct insn *in)
{
    struct x87 *x = &c->x87;
    x->fip = c->rip - in->len;
    x->fcs = c->seg[SEG_CS].sel;
    x->fop = in->imm2 & 0x7ff;
    if (in->modrm_mem) {
        x->fdp = operand_ea(c, in);
        x->fds = c->seg[in->seg].sel;
    }
}

bool x87_signal(struct vcpu *c, unsigned flags, unsigned decisive)
{
    unsigned unmasked = flags & ~c->x87.cw & FP_ALL;
    c->x87.sw |= (u16)flags;
    if (unlikely(unmasked))
        x87_update_summary(c);
    return !(unmasked & decisive);
}

bool x87_stack_underflow(struct vcpu *c)
{
    x87_set_cc(c, X87_C1, 0);
    return x87_signal(c, FP_IE | X87_SF, FP_IE);
}

bool x87_stack_overflow(struct vcpu *c)
{
    x87_set_cc(c, X87_C1, X87_C1);
    return x87_signal(c, FP_IE | X87_SF, FP_IE);
}

/* --- SSE --- */

/* If one lane has an unmasked exception that is found before the result, no lane computes one: only flags of that kind
 * are set (SDM 1 11.5.3). */
bool fpu_sse_signal(struct vcpu *c, unsigned pre, unsigned post)
{
    unsigned masks = c->mxcsr >> MXCSR_MASK_SHIFT;
    unsigned flags = pre & ~masks & FP_PRE ? pre : pre | post;
    c->mxcsr |= flags & FP_ALL;
    if (likely(!(flags & ~masks & FP_ALL)))
        return true;
    return cpu_fault(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}
