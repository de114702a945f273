/* sysreg.c - control, debug and extended control registers: checks, mode switches, and what the MMU is told.
 *
 * CR0, CR3, CR4 and EFER form one state: a write computes the new state, checks it as a whole, loads the PAE directory
 * entries if they are in use, and then commits. SDM 3A 2.5, 4.1, 4.10.4, 9.8.5, 18.2 (debug), 13.3 (XCR0).
 */
#include "cpu/cpu.h"
#include "cpu/mem.h"
#include "cpu/vcpu.h"

enum { CR0_KNOWN = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD };

static bool gp0(struct vcpu *c) { return cpu_fault_code(c, EXC_GP, 0); }

/* ------------------------------------------------------------------------------------------------------- the MMU --- */

void sysreg_refresh_mmu(struct vcpu *c)
{
    mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, c->efer, false, false);
    mmu_set_view(&c->mmu, cpu_view(c, c->cpl));
    sysreg_refresh_view(c);
}

static bool uses_pdptes(u64 cr0, u64 cr4, u64 efer)
{
    return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

struct paging_state { u64 cr0, cr3, cr4, efer; };

/* The state has been checked. False: the PAE directory entries are bad, nothing has changed. */
static bool commit(struct vcpu *c, const struct paging_state *s, bool reload_pdptes, bool cr3_written, bool keep_pcid)
{
    u64 pdpte[4];
    if (reload_pdptes && uses_pdptes(s->cr0, s->cr4, s->efer)) {
        if (!mmu_load_pdptes(&c->mmu, s->cr3, pdpte))
            return gp0(c);
        memcpy(c->mmu.pdpte, pdpte, sizeof pdpte);
    }
    c->cr0 = s->cr0;
    c->cr3 = s->cr3;
    c->cr4 = s->cr4;
    c->efer = s->efer;
    mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, c->efer, cr3_written, keep_pcid);
    segment_refresh(c);
    return true;
}

/* ------------------------------------------------------------------------------------------------------------ CR0 --- */

/* Long mode begins or ends with paging, SDM 3A 9.8.5. */
static bool switch_long_mode(struct vcpu *c, struct paging_state *s)
{
    bool on = s->cr0 & CR0_PG;
    if (on && s->efer & EFER_LME) {
        bool tss16 = !(c->tr.attr & 8);
        if (!(s->cr4 & CR4_PAE) || c->seg[SEG_CS].attr & SEG_L || tss16)
            return gp0(c);
        s->efer |= EFER_LMA;
    } else if (!on && s->efer & EFER_LMA) {
        if (in_64bit_mode(c))
            return gp0(c);
        s->efer &= ~(u64)EFER_LMA;
    }
    return true;
}

static bool write_cr0(struct vcpu *c, u64 value)
{
    struct paging_state s = { 0, c->cr3, c->cr4, c->efer };
    if (value >> 32)
        return gp0(c);
    s.cr0 = (value & (CR0_KNOWN | (u64)CR0_PG)) | CR0_ET;
    u64 changed = s.cr0 ^ c->cr0;
    if ((s.cr0 & CR0_PG && !(s.cr0 & CR0_PE)) || (s.cr0 & CR0_NW && !(s.cr0 & CR0_CD)))
        return gp0(c);
    if (!(s.cr0 & CR0_PG) && c->cr4 & CR4_PCIDE)
        return gp0(c);
    if (changed & CR0_PG && !switch_long_mode(c, &s))
        return false;
    if (!commit(c, &s, changed & (CR0_PG | CR0_CD | CR0_NW), false, false))
        return false;
    if (changed & CR0_PE)
        c->cpl = 0;
    if (changed & (CR0_PE | CR0_AM))
        segment_refresh(c);
    return true;
}

/* ----------------------------------------------------------------------------------------------------- CR3 and CR4 --- */

static bool write_cr3(struct vcpu *c, u64 value)
{
    bool keep_pcid = false;
    if (c->cr4 & CR4_PCIDE) {
        keep_pcid = value >> 63;
        value &= ~((u64)1 << 63);
    }
    if (in_long_mode(c) && value >> c->model.phys_bits)
        return gp0(c);
    struct paging_state s = { c->cr0, in_long_mode(c) ? value : (u32)value, c->cr4, c->efer };
    return commit(c, &s, true, true, keep_pcid);
}

static u64 cr4_allowed(const struct vcpu *c)
{
    static const struct { u64 bit; u16 feature; } bits[] = {
        { CR4_VME | CR4_PVI, CPUID_VME }, { CR4_TSD, CPUID_TSC }, { CR4_DE, CPUID_DE }, { CR4_PSE, CPUID_PSE },
        { CR4_PAE, CPUID_PAE }, { CR4_MCE, CPUID_MCE }, { CR4_PGE, CPUID_PGE }, { CR4_PCE, CPUID_MMX },
        { CR4_OSFXSR, CPUID_FXSR }, { CR4_OSXMMEXCPT, CPUID_SSE }, { CR4_UMIP, CPUID_UMIP },
        { CR4_FSGSBASE, CPUID_FSGSBASE }, { CR4_PCIDE, CPUID_PCID }, { CR4_OSXSAVE, CPUID_XSAVE },
        { CR4_SMEP, CPUID_SMEP }, { CR4_SMAP, CPUID_SMAP },
    };
    u64 allowed = 0;
    for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
        if (cpu_has(&c->model, bits[i].feature))
            allowed |= bits[i].bit;
    return allowed;
}

static bool write_cr4(struct vcpu *c, u64 value)
{
    u64 changed = value ^ c->cr4;
    if (value & ~cr4_allowed(c))
        return gp0(c);
    if (in_long_mode(c) && !(value & CR4_PAE))
        return gp0(c);
    if (changed & value & CR4_PCIDE && (!in_long_mode(c) || c->cr3 & 0xfff))
        return gp0(c);
    struct paging_state s = { c->cr0, c->cr3, value, c->efer };
    return commit(c, &s, changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP), false, false);
}

/* ------------------------------------------------------------------------------------------------------ all of them --- */

bool sysreg_write_cr(struct vcpu *c, unsigned cr, u64 value)
{
    switch (cr) {
    case 0: return write_cr0(c, value);
    case 2: c->cr2 = value; return true;
    case 3: return write_cr3(c, value);
    case 4: return cr4_allowed(c) ? write_cr4(c, value) : cpu_fault(c, EXC_UD);     /* none at all: an old 486 */
    case 8:
        if (value >> 4)
            return gp0(c);
        c->host->apic_write_msr(c->host_ctx, 0x808, value << 4);
        return true;
    default: return cpu_fault(c, EXC_UD);
    }
}

bool sysreg_read_cr(struct vcpu *c, unsigned cr, u64 *value)
{
    switch (cr) {
    case 0: *value = c->cr0; return true;
    case 2: *value = c->cr2; return true;
    case 3: *value = c->cr3; return true;
    case 4: *value = c->cr4; return cr4_allowed(c) || cpu_fault(c, EXC_UD);
    case 8: *value = c->host->apic_read_msr(c->host_ctx, 0x808) >> 4 & 15; return true;
    default: return cpu_fault(c, EXC_UD);
    }
}

bool sysreg_write_efer(struct vcpu *c, u64 value)
{
    const struct cpu_model *m = &c->model;
    u64 allowed = (cpu_has(m, CPUID_SYSCALL) ? EFER_SCE : 0) | (cpu_has(m, CPUID_LM) ? EFER_LME | EFER_LMA : 0) |
        (cpu_has(m, CPUID_NX) ? EFER_NXE : 0) | (cpu_has(m, CPUID_FXSR_OPT) ? EFER_FFXSR : 0);
    if (value & ~allowed)
        return gp0(c);
    if ((value ^ c->efer) & EFER_LME && c->cr0 & CR0_PG)
        return gp0(c);
    struct paging_state s = { c->cr0, c->cr3, c->cr4, (value & ~(u64)EFER_LMA) | (c->efer & EFER_LMA) };
    return commit(c, &s, false, false, false);
}

/* ------------------------------------------------------------------------------------------------- debug registers --- */

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them #UD. */
static bool check_dr(struct vcpu *c, unsigned *dr)
{
    if (*dr > 7)
        return cpu_fault(c, EXC_UD);
    if (*dr == 4 || *dr == 5) {
        if (c->cr4 & CR4_DE)
            return cpu_fault(c, EXC_UD);
        *dr += 2;
    }
    if (c->dr[7] & DR7_GD) {
        c->dr6_pending = 0;
        debug_note(c, DR6_BD);
        c->eflags |= EFL_RF;            /* a fault: its flags image has RF */
        return cpu_fault(c, EXC_DB);
    }
    return true;
}

bool sysreg_read_dr(struct vcpu *c, unsigned dr, u64 *value)
{
    if (!check_dr(c, &dr))
        return false;
    *value = c->dr[dr];
    return true;
}

bool sysreg_write_dr(struct vcpu *c, unsigned dr, u64 value)
{
    if (!check_dr(c, &dr))
        return false;
    if (dr >= 6 && value >> 32)
        return gp0(c);
    switch (dr) {
    case 6: c->dr[6] = (value & 0xe00f) | 0xffff0ff0; break;
    case 7:
        c->dr[7] = (value & 0xffff23ff) | 0x400;
        if (c->dr[7] & 0xff)
            cpu_raise(c, PEND_TRAP);
        sysreg_refresh_view(c);
        break;
    default: c->dr[dr] = value; break;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------------ XCR0 --- */

bool sysreg_write_xcr(struct vcpu *c, u32 index, u64 value)
{
    u64 allowed = 3 | (cpu_has(&c->model, CPUID_AVX) ? 4 : 0);
    if (index != 0 || value & ~allowed || !(value & 1) || (value & 6) == 4)
        return gp0(c);
    c->xcr0 = value;
    return true;
}
