/* flags.c - RFLAGS as one word: the lazy status flags of flags.h joined with vcpu.eflags. SDM 1 3.4.3. */
#include "cpu/flags.h"

u64 rflags_get(const struct vcpu *c)
{
    return (c->eflags & ~(u32)EFL_STATUS) | EFL_1 | flags_status(c);
}

void rflags_set(struct vcpu *c, u64 value)
{
    const u32 writable = EFL_STATUS | EFL_TF | EFL_IF | EFL_DF | EFL_IOPL | EFL_NT | EFL_RF | EFL_VM | EFL_AC |
                         EFL_VIF | EFL_VIP | EFL_ID;
    u32 changed = c->eflags ^ (u32)value;
    flags_set_status(c, (u32)value);
    c->eflags = ((u32)value & writable & ~(u32)EFL_STATUS) | EFL_1;
    if (changed & EFL_AC)           /* switches alignment checks in user mode, SMAP in supervisor mode */
        sysreg_refresh_view(c);
    if (value & (EFL_TF | EFL_RF))
        cpu_raise(c, PEND_TRAP);
}
