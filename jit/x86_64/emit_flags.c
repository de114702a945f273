/* emit_flags.c - the guest's status flags, which are the host's own, kept alive where host code needs EFLAGS for itself.
 *
 * Saved form (vcpu.jit.flags): AH as LAHF gives it (SF ZF - AF - PF - CF) in bits 15:8, OF in bit 0. LAHF and SETO
 * are many times cheaper than PUSHF. pass_flags says which flags are needed (flive); for the others nothing is done.
 */
#include "jit/x86_64/emit.h"

static void mov64(struct emit *e, unsigned to, unsigned from)
{
    enc(e, (struct enc){ .w = true }, 0x8b, to, rm_reg(from));
}

static struct rm saved(void) { return rm_vcpu(VCPU_DISP(jit.flags)); }

/* RAX is needed for LAHF and SAHF: set aside in a scratch register, or in memory. */
static unsigned set_rax_aside(struct emit *e)
{
    for (unsigned i = 0; i < SCRATCH_COUNT; i++) {
        if (!(e->taken >> i & 1)) {
            mov64(e, scratch_regs[i], RAX);
            return scratch_regs[i];
        }
    }
    enc(e, (struct enc){ .w = true }, 0x89, RAX, rm_vcpu(VCPU_DISP(jit.temp[0])));
    return NO_REG;
}

static void put_rax_back(struct emit *e, unsigned reg)
{
    if (reg != NO_REG)
        mov64(e, RAX, reg);
    else
        enc(e, (struct enc){ .w = true }, 0x8b, RAX, rm_vcpu(VCPU_DISP(jit.temp[0])));
}

void flags_save(struct emit *e)
{
    unsigned aside = set_rax_aside(e);
    put_opcode(e, 0x9f);                                              /* lahf */
    enc(e, (struct enc){ .rm8 = true }, 0x0f90, 0, rm_reg(RAX));    /* seto al */
    enc(e, (struct enc){ 0 }, 0x89, RAX, saved());
    put_rax_back(e, aside);
    e->flags = FLAGS_BOTH;
}

void flags_clobber(struct emit *e, u16 keep)
{
    if (keep && e->flags == FLAGS_HOST)
        flags_save(e);
    e->flags = keep && (e->flags == FLAGS_BOTH || e->flags == FLAGS_SAVED) ? FLAGS_SAVED : FLAGS_DEAD;
}

void flags_to_host(struct emit *e)
{
    if (e->flags != FLAGS_SAVED)
        return;
    unsigned aside = set_rax_aside(e);
    enc(e, (struct enc){ 0 }, 0x8b, RAX, saved());
    put_opcode(e, 0x04);                                              /* add al, 127: OF if AL is 1 */
    put8(e, 127);
    put_opcode(e, 0x9e);                                              /* sahf */
    put_rax_back(e, aside);
    e->flags = FLAGS_BOTH;
}

void flags_emit_leave(struct emit *e, bool live)
{
    if (live && e->flags == FLAGS_HOST)
        flags_save(e);
}
