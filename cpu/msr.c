/* msr.c - model-specific registers: a table of ranges, each with how it is read and written. SDM 4, APM 2 appendix A.
 *
 * The table holds what operating systems and firmware touch. A register outside it, or one whose CPUID feature the model
 * lacks, is #GP(0) as on hardware, with a line in the log (-d unimp), so that what a guest misses can be seen.
 * A plain register is a field of struct vcpu with the bits that may be written; others have functions.
 */
#include "cpu/cpu.h"
#include "cpu/log.h"
#include "cpu/vcpu.h"

struct msr;
typedef bool msr_read_fn(struct vcpu *c, const struct msr *m, u32 index, u64 *value);
typedef bool msr_write_fn(struct vcpu *c, const struct msr *m, u32 index, u64 value);

enum vendor { ANY, INTEL, AMD };
struct msr {
    u32 first, last;
    u16 feature;            /* CPUID_BASE: always there */
    u8 vendor;
    msr_read_fn *read;
    msr_write_fn *write;
    u32 field;              /* offset of a u64 in struct vcpu (an array for a range), for the plain functions */
    u64 value;              /* bits that may be written; the value of a constant */
};

static bool gp0(struct vcpu *c) { return cpu_fault_code(c, EXC_GP, 0); }
static u64 *field(struct vcpu *c, const struct msr *m, u32 index)
{
    return (u64 *)((char *)c + m->field) + (index - m->first);
}

/* ------------------------------------------------------------------------------------------------ plain registers --- */

static bool read_field(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = *field(c, m, index);
    return true;
}

static bool write_field(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    if (value & ~m->value)
        return gp0(c);
    *field(c, m, index) = value;
    return true;
}

static bool write_address(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    if (!is_canonical(value))
        return gp0(c);
    *field(c, m, index) = value;
    return true;
}

static bool read_constant(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = m->value;
    return true;
}

static bool write_ignored(struct vcpu *c, const struct msr *m, u32 index, u64 value) { return true; }
static bool write_refused(struct vcpu *c, const struct msr *m, u32 index, u64 value) { return gp0(c); }
static bool read_refused(struct vcpu *c, const struct msr *m, u32 index, u64 *value) { return gp0(c); }

/* -------------------------------------------------------------------------------------------------- time and APIC --- */

enum { MSR_TSC_DEADLINE = 0x6e0, APIC_BSP = 1 << 8, APIC_EXTD = 1 << 10, APIC_EN = 1 << 11 };

static bool read_tsc(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = cpu_tsc(c);
    return true;
}

static bool write_tsc(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    c->tsc_offset = value - c->host->tsc(c->host_ctx);
    return true;
}

/* The APIC counts in the time-stamp counter before TSC_ADJUST. 0 means disarmed in both. */
static bool read_deadline(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    u64 v = c->host->apic_read_msr(c->host_ctx, MSR_TSC_DEADLINE);
    *value = v ? v + c->tsc_offset : 0;
    return true;
}

static bool write_deadline(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    u64 v = value - c->tsc_offset;
    if (value && (value < c->tsc_offset || !v))
        v = 1;                  /* long past: fires at once */
    c->host->apic_write_msr(c->host_ctx, MSR_TSC_DEADLINE, value ? v : 0);
    return true;
}

static bool write_apic_base(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    bool x2apic = cpu_has(&c->model, CPUID_X2APIC);
    u64 allowed = (((u64)1 << c->model.phys_bits) - 1) & ~(u64)0xfff;
    unsigned was = c->apic_base & (APIC_EN | APIC_EXTD), is = value & (APIC_EN | APIC_EXTD);
    allowed |= APIC_BSP | APIC_EN | (x2apic ? APIC_EXTD : 0);
    /* SDM 3A 10.12.5: disabled -> xAPIC -> x2APIC -> disabled, no other way */
    bool bad = is == APIC_EXTD || (was == (APIC_EN | APIC_EXTD) && is == APIC_EN) || (!was && is == (APIC_EN | APIC_EXTD));
    if (value & ~allowed || bad)
        return gp0(c);
    c->apic_base = value;
    c->host->apic_set_base(c->host_ctx, value);
    return true;
}

/* x2APIC registers: which exist, and how they may be used. SDM 3A table 10-6. */
enum { X_NONE, X_READ = 1, X_WRITE = 2, X_BOTH = 3 };
static unsigned x2apic_access(u32 reg)
{
    if (reg >= 0x10 && reg <= 0x27)
        return X_READ;
    switch (reg) {
    case 0x02: case 0x03: case 0x0a: case 0x0d: case 0x39: return X_READ;
    case 0x0b: case 0x3f: return X_WRITE;
    case 0x08: case 0x0f: case 0x28: case 0x30: case 0x38: case 0x3e: return X_BOTH;
    default: return reg >= 0x32 && reg <= 0x37 ? X_BOTH : X_NONE;
    }
}

static bool read_x2apic(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    if (!(c->apic_base & APIC_EXTD) || !(x2apic_access(index - 0x800) & X_READ))
        return gp0(c);
    *value = c->host->apic_read_msr(c->host_ctx, index);
    return true;
}

static bool write_x2apic(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    u32 reg = index - 0x800;
    if (!(c->apic_base & APIC_EXTD) || !(x2apic_access(reg) & X_WRITE))
        return gp0(c);
    if ((value >> 32 && reg != 0x30) || ((reg == 0x0b || reg == 0x28) && value) || ((reg == 8 || reg == 0x3f) && value >> 8))
        return gp0(c);
    c->host->apic_write_msr(c->host_ctx, index, value);
    return true;
}

/* -------------------------------------------------------------------------------------- caching: PAT and the MTRRs --- */

enum { MTRR_VARIABLE = 8 };

static bool mtrr_type_ok(u64 type) { return type <= 6 && type != 2 && type != 3; }

static bool write_pat(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    for (unsigned i = 0; i < 8; i++) {
        u8 type = (u8)(value >> (8 * i));
        if (!mtrr_type_ok(type) && type != 7)
            return gp0(c);
    }
    c->pat = value;
    return true;
}

static bool write_mtrr_phys(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    u64 address = (((u64)1 << c->model.phys_bits) - 1) & ~(u64)0xfff;
    bool mask = index & 1;
    if (value & ~(address | (mask ? 0x800 : 0xff)) || (!mask && !mtrr_type_ok(value & 0xff)))
        return gp0(c);
    c->mtrr_phys[index - m->first] = value;
    return true;
}

static bool write_mtrr_default(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    if (value & ~(u64)0xcff || !mtrr_type_ok(value & 0xff))
        return gp0(c);
    c->mtrr_def_type = value;
    return true;
}

static u64 *fixed_mtrr(struct vcpu *c, u32 index)
{
    return &c->mtrr_fixed[index == 0x250 ? 0 : index <= 0x259 ? index - 0x258 + 1 : index - 0x268 + 3];
}

static bool read_mtrr_fixed(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = *fixed_mtrr(c, index);
    return true;
}

static bool write_mtrr_fixed(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    for (unsigned i = 0; i < 8; i++)
        if (!mtrr_type_ok(value >> (8 * i) & 0xff))
            return gp0(c);
    *fixed_mtrr(c, index) = value;
    return true;
}

/* ------------------------------------------------------------------------------------------------------ odd ones --- */

static bool read_efer(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = c->efer;
    return true;
}
static bool write_efer(struct vcpu *c, const struct msr *m, u32 index, u64 value) { return sysreg_write_efer(c, value); }

static bool read_segment_base(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = c->seg[index == 0xc0000100 ? SEG_FS : SEG_GS].base;
    return true;
}

static bool write_segment_base(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    if (!is_canonical(value))
        return gp0(c);
    c->seg[index == 0xc0000100 ? SEG_FS : SEG_GS].base = value;
    return true;
}

static bool write_feature_control(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    if (c->feature_control & 1 || value & ~(u64)1)      /* bit 0 locks it; there is nothing to enable */
        return gp0(c);
    c->feature_control = value;
    return true;
}

/* Machine-check banks: CTL takes anything; the others only zero (SDM 3B 15.3.2). */
static bool read_mc(struct vcpu *c, const struct msr *m, u32 index, u64 *value)
{
    *value = c->mc_bank[(index - m->first) / 4][(index - m->first) % 4];
    return true;
}

static bool write_mc(struct vcpu *c, const struct msr *m, u32 index, u64 value)
{
    unsigned reg = (index - m->first) % 4;
    if (reg != 0 && value)
        return gp0(c);
    c->mc_bank[(index - m->first) / 4][reg] = value;
    return true;
}

/* What guests need not mitigate here, SDM 2A table "IA32_ARCH_CAPABILITIES": RDCL_NO 0, IBRS_ALL 1, SKIP_L1DFL 3, SSB_NO
 * 4, MDS_NO 5, PSCHANGE_MC_NO 6, TAA_NO 8, SBDR_SSDP_NO 13, FBSDP_NO 14, PSDP_NO 15, BHI_NO 20, PBRSB_NO 24, GDS_NO 26,
 * RFDS_NO 27, ITS_NO 62. Linux believes none of it about BHI, hence CPUID's BHI_CTRL: a bit in SPEC_CTRL instead of a loop at
 * each system call. */
#define ARCH_CAPABILITIES \
    (0x17b | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 20 | 1 << 24 | 1 << 26 | 1 << 27 | (u64)1 << 62)

#define FIELD(name) offsetof(struct vcpu, name)
#define ALL (~(u64)0)

static const struct msr table[] = {
    /* first     last        feature           vendor  read               write                  field / value */
    { 0x0,        0x1,        CPUID_MCE,        ANY,    read_constant,     write_ignored,         0, 0 },  /* P5_MC_ADDR, _TYPE */
    { 0x10,       0x10,       CPUID_TSC,        ANY,    read_tsc,          write_tsc,             0, 0 },
    { 0x17,       0x17,       CPUID_BASE,       INTEL,  read_constant,     write_refused,         0, 0 },  /* PLATFORM_ID */
    { 0x1b,       0x1b,       CPUID_APIC,       ANY,    read_field,        write_apic_base,       FIELD(apic_base), 0 },
    { 0x2a,       0x2a,       CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0 },  /* EBL_CR_POWERON */
    { 0x2c,       0x2c,       CPUID_BASE,       INTEL,  read_constant,     write_refused,         0, 1 << 24 },   /* EBC_FREQUENCY_ID */
    { 0x3a,       0x3a,       CPUID_SSE3,       INTEL,  read_field,        write_feature_control, FIELD(feature_control), 0 },
    { 0x3b,       0x3b,       CPUID_TSCADJUST,  ANY,    read_field,        write_field,           FIELD(tsc_offset), ALL },
    { 0x48,       0x48,       CPUID_ARCHCAP,    ANY,    read_field,        write_field,           FIELD(spec_ctrl), 0x407 },     /* IBRS STIBP SSBD, BHI_DIS_S */
    { 0x79,       0x79,       CPUID_BASE,       INTEL,  read_refused,      write_ignored,         0, 0 },  /* BIOS_UPDT_TRIG */
    { 0x8b,       0x8b,       CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, (u64)1 << 32 }, /* BIOS_SIGN_ID */
    { 0x8b,       0x8b,       CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0x1000065 },    /* PATCH_LEVEL */
    { 0xc1,       0xc2,       CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0 },  /* PMC0, 1 */
    { 0xcd,       0xcd,       CPUID_BASE,       INTEL,  read_constant,     write_refused,         0, 3 },  /* FSB_FREQ */
    { 0xce,       0xce,       CPUID_BASE,       INTEL,  read_constant,     write_refused,         0, CPU_TSC_HZ / 100000000 << 8 },
    { 0xfe,       0xfe,       CPUID_MTRR,       ANY,    read_constant,     write_refused,         0, 0x500 | MTRR_VARIABLE },
    { 0x10a,      0x10a,      CPUID_ARCHCAP,    ANY,    read_constant,     write_refused,         0, ARCH_CAPABILITIES },
    { 0x119,      0x119,      CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0 },  /* BBL_CR_CTL */
    { 0x11e,      0x11e,      CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0xbe702111 },   /* BBL_CR_CTL3 */
    { 0x174,      0x174,      CPUID_SEP,        ANY,    read_field,        write_field,           FIELD(sysenter_cs), 0xffffffff },
    { 0x175,      0x175,      CPUID_SEP,        ANY,    read_field,        write_address,         FIELD(sysenter_esp), 0 },
    { 0x176,      0x176,      CPUID_SEP,        ANY,    read_field,        write_address,         FIELD(sysenter_eip), 0 },
    { 0x179,      0x179,      CPUID_MCA,        ANY,    read_constant,     write_refused,         0, 10 },         /* MCG_CAP: banks */
    { 0x17a,      0x17a,      CPUID_MCA,        ANY,    read_field,        write_field,           FIELD(mcg_status), 7 },
    { 0x186,      0x187,      CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0 },  /* PERFEVTSEL0, 1 */
    { 0x198,      0x198,      CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 1000 | (u64)4 << 40 },  /* PERF_STATUS */
    { 0x199,      0x199,      CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0 },  /* PERF_CTL */
    { 0x19a,      0x19c,      CPUID_BASE,       INTEL,  read_constant,     write_ignored,         0, 0 },  /* clock modulation, thermal */
    { 0x1a0,      0x1a0,      CPUID_BASE,       INTEL,  read_field,        write_field,           FIELD(misc_enable), ALL },
    { 0x1d9,      0x1d9,      CPUID_BASE,       ANY,    read_field,        write_field,           FIELD(debugctl), 3 },
    { 0x1db,      0x1de,      CPUID_BASE,       ANY,    read_constant,     write_refused,         0, 0 },  /* last branch, last exception */
    { 0x200,      0x200 + 2 * MTRR_VARIABLE - 1, CPUID_MTRR, ANY, read_field, write_mtrr_phys,    FIELD(mtrr_phys), 0 },
    { 0x250,      0x250,      CPUID_MTRR,       ANY,    read_mtrr_fixed,   write_mtrr_fixed,      0, 0 },
    { 0x258,      0x259,      CPUID_MTRR,       ANY,    read_mtrr_fixed,   write_mtrr_fixed,      0, 0 },
    { 0x268,      0x26f,      CPUID_MTRR,       ANY,    read_mtrr_fixed,   write_mtrr_fixed,      0, 0 },
    { 0x277,      0x277,      CPUID_PAT,        ANY,    read_field,        write_pat,             FIELD(pat), 0 },
    { 0x2ff,      0x2ff,      CPUID_MTRR,       ANY,    read_field,        write_mtrr_default,    FIELD(mtrr_def_type), 0 },
    { 0x400,      0x427,      CPUID_MCA,        ANY,    read_mc,           write_mc,              0, 0 },
    { MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, CPUID_TSCDEADLINE, ANY, read_deadline, write_deadline,  0, 0 },
    { 0x800,      0x8ff,      CPUID_X2APIC,     ANY,    read_x2apic,       write_x2apic,          0, 0 },
    { 0xda0,      0xda0,      CPUID_XSAVES,     ANY,    read_field,        write_field,           FIELD(xss), 0 },
    { 0xc0000080, 0xc0000080, CPUID_SYSCALL,    ANY,    read_efer,         write_efer,            0, 0 },
    { 0xc0000080, 0xc0000080, CPUID_NX,         ANY,    read_efer,         write_efer,            0, 0 },
    { 0xc0000081, 0xc0000081, CPUID_SYSCALL,    ANY,    read_field,        write_field,           FIELD(star), ALL },
    { 0xc0000082, 0xc0000082, CPUID_LM,         ANY,    read_field,        write_address,         FIELD(lstar), 0 },
    { 0xc0000083, 0xc0000083, CPUID_LM,         ANY,    read_field,        write_address,         FIELD(cstar), 0 },
    { 0xc0000084, 0xc0000084, CPUID_SYSCALL,    ANY,    read_field,        write_field,           FIELD(fmask), 0xffffffff },
    { 0xc0000100, 0xc0000101, CPUID_LM,         ANY,    read_segment_base, write_segment_base,    0, 0 },
    { 0xc0000102, 0xc0000102, CPUID_LM,         ANY,    read_field,        write_address,         FIELD(kernel_gs_base), 0 },
    { 0xc0000103, 0xc0000103, CPUID_RDTSCP,     ANY,    read_field,        write_field,           FIELD(tsc_aux), 0xffffffff },
    { 0xc0000103, 0xc0000103, CPUID_RDPID,      ANY,    read_field,        write_field,           FIELD(tsc_aux), 0xffffffff },
    { 0xc0010000, 0xc0010007, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* PERF_CTL, PERF_CTR */
    { 0xc0010010, 0xc0010010, CPUID_BASE,       AMD,    read_field,        write_field,           FIELD(syscfg), ALL },
    { 0xc0010015, 0xc0010015, CPUID_BASE,       AMD,    read_field,        write_field,           FIELD(hwcr), ALL },
    { 0xc001001a, 0xc001001a, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* TOP_MEM */
    { 0xc001001d, 0xc001001d, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* TOP_MEM2 */
    { 0xc001001f, 0xc001001f, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* NB_CFG */
    { 0xc0010055, 0xc0010055, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* INT_PENDING */
    { 0xc0010112, 0xc0010113, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* SMM address, mask */
    { 0xc0010114, 0xc0010114, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0x10 },       /* VM_CR: SVMDIS */
    { 0xc0010140, 0xc0010141, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* OSVW */
    { 0xc0011022, 0xc0011022, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* DC_CFG */
    { 0xc0011023, 0xc0011023, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 0 },  /* BU_CFG */
    { 0xc0011029, 0xc0011029, CPUID_BASE,       AMD,    read_constant,     write_ignored,         0, 2 },  /* DE_CFG: LFENCE serializes */
};

static const struct msr *find(const struct vcpu *c, u32 index)
{
    unsigned vendor = c->model.vendor[0] == 'A' ? AMD : INTEL;
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        const struct msr *m = &table[i];
        if (index >= m->first && index <= m->last && cpu_has(&c->model, m->feature) &&
            (m->vendor == ANY || m->vendor == vendor))
            return m;
    }
    return NULL;
}

bool msr_read(struct vcpu *c, u32 index, u64 *value)
{
    const struct msr *m = find(c, index);
    if (m)
        return m->read(c, m, index, value);
    log_print(LOG_UNIMP, "rdmsr %08x: no such register, #GP (rip %llx)\n", index, (unsigned long long)c->rip);
    return gp0(c);
}

bool msr_write(struct vcpu *c, u32 index, u64 value)
{
    const struct msr *m = find(c, index);
    if (m)
        return m->write(c, m, index, value);
    log_print(LOG_UNIMP, "wrmsr %08x = %llx: no such register, #GP (rip %llx)\n", index, (unsigned long long)value,
        (unsigned long long)c->rip);
    return gp0(c);
}
