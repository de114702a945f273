/* cpuid.h - CPU models and features: what CPUID answers and which instructions exist. Implemented by cpuid.c. */
#ifndef SHADOW86_CPUID_H
#define SHADOW86_CPUID_H

#include "cpu/types.h"

struct vcpu;

/* name (as -cpu spells it after + and -), CPUID leaf, sub-leaf, register (0 EAX 1 EBX 2 ECX 3 EDX), bit.
 * CPUID_BASE (no entry here) is the 8086..486 instruction set. */
#define CPUID_FEATURES(F) \
    F(FPU, "fpu", 1, 0, 3, 0) F(VME, "vme", 1, 0, 3, 1) F(DE, "de", 1, 0, 3, 2) F(PSE, "pse", 1, 0, 3, 3) \
    F(TSC, "tsc", 1, 0, 3, 4) F(MSR, "msr", 1, 0, 3, 5) F(PAE, "pae", 1, 0, 3, 6) F(MCE, "mce", 1, 0, 3, 7) \
    F(CX8, "cx8", 1, 0, 3, 8) F(APIC, "apic", 1, 0, 3, 9) F(SEP, "sep", 1, 0, 3, 11) F(MTRR, "mtrr", 1, 0, 3, 12) \
    F(PGE, "pge", 1, 0, 3, 13) F(MCA, "mca", 1, 0, 3, 14) F(CMOV, "cmov", 1, 0, 3, 15) F(PAT, "pat", 1, 0, 3, 16) \
    F(PSE36, "pse36", 1, 0, 3, 17) F(CLFSH, "clflush", 1, 0, 3, 19) F(MMX, "mmx", 1, 0, 3, 23) F(FXSR, "fxsr", 1, 0, 3, 24) \
    F(SSE, "sse", 1, 0, 3, 25) F(SSE2, "sse2", 1, 0, 3, 26) F(SS, "ss", 1, 0, 3, 27) \
    F(SSE3, "sse3", 1, 0, 2, 0) F(PCLMUL, "pclmulqdq", 1, 0, 2, 1) F(MONITOR, "monitor", 1, 0, 2, 3) \
    F(SSSE3, "ssse3", 1, 0, 2, 9) F(FMA, "fma", 1, 0, 2, 12) F(CX16, "cx16", 1, 0, 2, 13) F(PCID, "pcid", 1, 0, 2, 17) \
    F(SSE41, "sse4.1", 1, 0, 2, 19) F(SSE42, "sse4.2", 1, 0, 2, 20) F(X2APIC, "x2apic", 1, 0, 2, 21) \
    F(MOVBE, "movbe", 1, 0, 2, 22) F(POPCNT, "popcnt", 1, 0, 2, 23) F(TSCDEADLINE, "tsc-deadline", 1, 0, 2, 24) \
    F(AES, "aes", 1, 0, 2, 25) F(XSAVE, "xsave", 1, 0, 2, 26) F(AVX, "avx", 1, 0, 2, 28) F(F16C, "f16c", 1, 0, 2, 29) \
    F(RDRAND, "rdrand", 1, 0, 2, 30) F(HYPERVISOR, "hypervisor", 1, 0, 2, 31) \
    F(FSGSBASE, "fsgsbase", 7, 0, 1, 0) F(TSCADJUST, "tsc-adjust", 7, 0, 1, 1) F(BMI1, "bmi1", 7, 0, 1, 3) \
    F(AVX2, "avx2", 7, 0, 1, 5) F(SMEP, "smep", 7, 0, 1, 7) F(BMI2, "bmi2", 7, 0, 1, 8) F(ERMS, "erms", 7, 0, 1, 9) \
    F(INVPCID, "invpcid", 7, 0, 1, 10) F(RDSEED, "rdseed", 7, 0, 1, 18) F(ADX, "adx", 7, 0, 1, 19) \
    F(SMAP, "smap", 7, 0, 1, 20) F(CLFLUSHOPT, "clflushopt", 7, 0, 1, 23) F(CLWB, "clwb", 7, 0, 1, 24) \
    F(SHA, "sha-ni", 7, 0, 1, 29) F(UMIP, "umip", 7, 0, 2, 2) F(RDPID, "rdpid", 7, 0, 2, 22) \
    F(FSRM, "fsrm", 7, 0, 3, 4) F(ARCHCAP, "arch-capabilities", 7, 0, 3, 29) \
    F(BHICTRL, "bhi-ctrl", 7, 2, 3, 4) \
    F(XSAVEOPT, "xsaveopt", 13, 1, 0, 0) F(XSAVEC, "xsavec", 13, 1, 0, 1) F(XGETBV1, "xgetbv1", 13, 1, 0, 2) \
    F(XSAVES, "xsaves", 13, 1, 0, 3) \
    F(SYSCALL, "syscall", 0x80000001, 0, 3, 11) F(NX, "nx", 0x80000001, 0, 3, 20) \
    F(FXSR_OPT, "fxsr-opt", 0x80000001, 0, 3, 25) F(PDPE1GB, "pdpe1gb", 0x80000001, 0, 3, 26) \
    F(RDTSCP, "rdtscp", 0x80000001, 0, 3, 27) F(LM, "lm", 0x80000001, 0, 3, 29) \
    F(LAHF_LM, "lahf-lm", 0x80000001, 0, 2, 0) F(LZCNT, "lzcnt", 0x80000001, 0, 2, 5) \
    F(PREFETCHW, "3dnowprefetch", 0x80000001, 0, 2, 8) F(INVTSC, "invtsc", 0x80000007, 0, 3, 8)

enum cpuid_feature {
    CPUID_BASE,
#define F(id, name, leaf, sub, reg, bit) CPUID_##id,
    CPUID_FEATURES(F)
#undef F
    CPUID_FEATURE_COUNT
};
#define CPUID_FEATURE_WORDS ((CPUID_FEATURE_COUNT + 63) / 64)

struct cpu_model {
    const char *name;
    u32 family, model, stepping;
    u32 max_leaf, max_ext_leaf;
    char vendor[13], brand[49];
    u8 phys_bits, virt_bits;
    u64 features[CPUID_FEATURE_WORDS];      /* indexed by enum cpuid_feature; CPUID_BASE always set */
};

static inline bool cpu_has(const struct cpu_model *m, enum cpuid_feature f) { return m->features[f / 64] >> (f % 64) & 1; }

/* spec: "name[,+feature][,-feature][,feature=on|off]..." as -cpu takes it, NULL for the default (max). On error returns
 * false and one line in err. */
bool cpuid_model(struct cpu_model *m, const char *spec, char *err, size_t errlen);
/* CPUID for the vCPU's present state (OSXSAVE, APIC enable, XSAVE sizes included). SDM 2A, CPUID. */
void cpuid_query(const struct vcpu *c, u32 leaf, u32 subleaf, u32 out[4]);

#endif
