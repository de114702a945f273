/* cpuid.c - CPU models, the features that -cpu adds and takes away, and what CPUID answers. SDM 2A CPUID, APM 3 E.
 *
 * A model is a list of features by name plus family, model and leaves. Features hang together (AVX needs XSAVE, ...):
 * turning one on turns on what it needs, turning one off turns off what needs it. The feature bits of the leaves come from
 * the list in cpuid.h; here is only what depends on the CPU's present state, and the leaves that are numbers.
 */
#include "cpu/cpuid.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/vcpu.h"

struct feature_row { const char *name; u32 leaf, sub; u8 reg, bit; };
static const struct feature_row features[CPUID_FEATURE_COUNT] = {
#define F(id, name, leaf, sub, reg, bit) [CPUID_##id] = { name, leaf, sub, reg, bit },
    CPUID_FEATURES(F)
#undef F
};

/* Other spellings: QEMU's, Linux's, the manuals'. Case and - _ . make no difference anyway. */
static const struct { const char *name; u16 feature; } aliases[] = {
    { "cmpxchg8b", CPUID_CX8 }, { "cmpxchg16b", CPUID_CX16 }, { "clfsh", CPUID_CLFSH }, { "xd", CPUID_NX },
    { "i64", CPUID_LM }, { "em64t", CPUID_LM }, { "pni", CPUID_SSE3 }, { "pclmul", CPUID_PCLMUL },
    { "pclmuldq", CPUID_PCLMUL }, { "abm", CPUID_LZCNT }, { "sha", CPUID_SHA }, { "ffxsr", CPUID_FXSR_OPT },
    { "fma3", CPUID_FMA }, { "rdrnd", CPUID_RDRAND }, { "lahf", CPUID_LAHF_LM }, { "mwait", CPUID_MONITOR },
    { "prefetchw", CPUID_PREFETCHW }, { "pdpe1g", CPUID_PDPE1GB }, { "tscdeadline", CPUID_TSCDEADLINE },
};

/* The first needs the second. */
static const struct { u16 feature, needs; } dependencies[] = {
    { CPUID_MMX, CPUID_FPU }, { CPUID_FXSR, CPUID_FPU }, { CPUID_SSE, CPUID_FXSR }, { CPUID_SSE, CPUID_MMX },
    { CPUID_SSE2, CPUID_SSE }, { CPUID_SSE3, CPUID_SSE2 }, { CPUID_SSSE3, CPUID_SSE3 }, { CPUID_SSE41, CPUID_SSSE3 },
    { CPUID_SSE42, CPUID_SSE41 }, { CPUID_AES, CPUID_SSE2 }, { CPUID_PCLMUL, CPUID_SSE2 }, { CPUID_SHA, CPUID_SSSE3 },
    { CPUID_XSAVE, CPUID_SSE2 }, { CPUID_XSAVEOPT, CPUID_XSAVE }, { CPUID_XSAVEC, CPUID_XSAVE },
    { CPUID_XGETBV1, CPUID_XSAVE }, { CPUID_XSAVES, CPUID_XSAVEC }, { CPUID_AVX, CPUID_XSAVE }, { CPUID_AVX, CPUID_SSE42 },
    { CPUID_F16C, CPUID_AVX }, { CPUID_FMA, CPUID_AVX }, { CPUID_AVX2, CPUID_AVX },
    { CPUID_NX, CPUID_PAE }, { CPUID_LM, CPUID_PAE }, { CPUID_LM, CPUID_MSR }, { CPUID_LM, CPUID_CX8 },
    { CPUID_LM, CPUID_SSE2 }, { CPUID_LM, CPUID_PGE }, { CPUID_LM, CPUID_SYSCALL }, { CPUID_LM, CPUID_CMOV },
    { CPUID_LM, CPUID_PSE }, { CPUID_SYSCALL, CPUID_MSR }, { CPUID_PDPE1GB, CPUID_LM }, { CPUID_CX16, CPUID_CX8 },
    { CPUID_CX16, CPUID_LM }, { CPUID_LAHF_LM, CPUID_LM }, { CPUID_PCID, CPUID_LM }, { CPUID_FSGSBASE, CPUID_LM },
    { CPUID_FXSR_OPT, CPUID_FXSR }, { CPUID_SEP, CPUID_MSR }, { CPUID_MTRR, CPUID_MSR }, { CPUID_PAT, CPUID_MSR },
    { CPUID_MCA, CPUID_MCE }, { CPUID_MCE, CPUID_MSR }, { CPUID_APIC, CPUID_MSR }, { CPUID_X2APIC, CPUID_APIC },
    { CPUID_TSCDEADLINE, CPUID_APIC }, { CPUID_TSCDEADLINE, CPUID_TSC }, { CPUID_TSCADJUST, CPUID_TSC },
    { CPUID_RDTSCP, CPUID_TSC }, { CPUID_INVTSC, CPUID_TSC }, { CPUID_CLFLUSHOPT, CPUID_CLFSH }, { CPUID_CLWB, CPUID_CLFSH },
    { CPUID_ARCHCAP, CPUID_MSR }, { CPUID_BHICTRL, CPUID_ARCHCAP },
};

static void feature_on(struct cpu_model *m, unsigned f)
{
    if (cpu_has(m, f))
        return;
    m->features[f / 64] |= (u64)1 << f % 64;
    for (unsigned i = 0; i < ARRAY_LEN(dependencies); i++)
        if (dependencies[i].feature == f)
            feature_on(m, dependencies[i].needs);
}

static void feature_off(struct cpu_model *m, unsigned f)
{
    if (!cpu_has(m, f))
        return;
    m->features[f / 64] &= ~((u64)1 << f % 64);
    for (unsigned i = 0; i < ARRAY_LEN(dependencies); i++)
        if (dependencies[i].needs == f)
            feature_off(m, dependencies[i].feature);
}

/* -------------------------------------------------------------------------------------------------------- models --- */

struct model_row {
    const char *name, *help, *vendor, *brand;
    const char *base;           /* a model whose features it has too */
    u32 family, model, stepping, max_leaf, max_ext_leaf;
    const char *features;
};

static const char INTEL[] = "GenuineIntel", AMD[] = "AuthenticAMD";

static const struct model_row models[] = {
    { "486", "Intel 486 with CPUID", INTEL, "", NULL, 4, 8, 0, 1, 0,
      "fpu vme pse" },
    { "pentium", "Intel Pentium MMX", INTEL, "", "486", 5, 4, 3, 1, 0,
      "de tsc msr mce cx8 apic mmx" },
    { "pentium3", "Intel Pentium III", INTEL, "", "pentium", 6, 8, 3, 2, 0,
      "pae sep mtrr pge mca cmov pat pse36 fxsr sse" },
    { "qemu64", "QEMU's 64-bit CPU, AMD", AMD, "shadow86 virtual CPU", NULL, 15, 107, 1, 0xd, 0x80000008,
      "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 sse3 cx16 "
      "hypervisor x2apic syscall nx lm lahf-lm tsc-adjust" },
    { "x86-64-v2", "x86-64 psABI level 2: to SSE4.2, POPCNT, CMPXCHG16B", INTEL, "shadow86 x86-64-v2 CPU", NULL, 6, 26, 3,
      0xb, 0x80000008,
      "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ss sse3 ssse3 cx16 "
      "sse4.1 sse4.2 popcnt x2apic tsc-deadline hypervisor tsc-adjust arch-capabilities bhi-ctrl syscall nx rdtscp lm lahf-lm invtsc" },
    { "x86-64-v3", "x86-64 psABI level 3: to AVX2, BMI, FMA, F16C", INTEL, "shadow86 x86-64-v3 CPU", "x86-64-v2", 6, 60, 4,
      0x16, 0x80000008,
      "avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave xsaveopt pcid invpcid pclmulqdq aes rdrand fsgsbase smep erms pdpe1gb "
      "3dnowprefetch" },
    { "max", "everything that shadow86 implements (default)", INTEL, "shadow86 virtual CPU", "x86-64-v3", 6, 94, 3,
      0x16, 0x80000008,
      "rdseed adx smap clflushopt clwb sha-ni umip rdpid fsrm xsavec xgetbv1" },
};

static char canonical_char(char ch)
{
    return ch == '_' || ch == '.' ? '-' : (char)tolower((unsigned char)ch);
}

static bool same_name(const char *name, const char *text, size_t len)
{
    size_t i;
    for (i = 0; i < len && name[i]; i++)
        if (canonical_char(name[i]) != canonical_char(text[i]))
            return false;
    return i == len && !name[i];
}

static unsigned find_feature(const char *text, size_t len)
{
    for (unsigned f = CPUID_BASE + 1; f < CPUID_FEATURE_COUNT; f++)
        if (same_name(features[f].name, text, len))
            return f;
    for (unsigned i = 0; i < ARRAY_LEN(aliases); i++)
        if (same_name(aliases[i].name, text, len))
            return aliases[i].feature;
    return CPUID_BASE;
}

static const struct model_row *find_model(const char *text, size_t len)
{
    for (unsigned i = 0; i < ARRAY_LEN(models); i++)
        if (same_name(models[i].name, text, len))
            return &models[i];
    return NULL;
}

static void model_features(struct cpu_model *m, const struct model_row *row)
{
    if (row->base)
        model_features(m, find_model(row->base, strlen(row->base)));
    for (const char *p = row->features; *p;) {
        size_t len = strcspn(p, " ");
        unsigned f = find_feature(p, len);
        assert(f != CPUID_BASE);
        feature_on(m, f);
        p += len + strspn(p + len, " ");
    }
}

static void model_set(struct cpu_model *m, const struct model_row *row)
{
    memset(m, 0, sizeof *m);
    m->name = row->name;
    m->family = row->family;
    m->model = row->model;
    m->stepping = row->stepping;
    m->max_leaf = row->max_leaf;
    m->max_ext_leaf = row->max_ext_leaf;
    memcpy(m->vendor, row->vendor, sizeof m->vendor);
    strncpy(m->brand, row->brand, sizeof m->brand - 1);
    m->features[0] = 1 << CPUID_BASE;
    model_features(m, row);
}

/* A feature outside the model's leaves would be invisible: the leaves grow with it. */
static void model_finish(struct cpu_model *m)
{
    for (unsigned f = CPUID_BASE + 1; f < CPUID_FEATURE_COUNT; f++) {
        u32 *max = features[f].leaf >= 0x80000000 ? &m->max_ext_leaf : &m->max_leaf;
        if (cpu_has(m, f) && *max < features[f].leaf)
            *max = features[f].leaf;
    }
    if (cpu_has(m, CPUID_LM) && m->max_ext_leaf < 0x80000008)
        m->max_ext_leaf = 0x80000008;
    m->phys_bits = cpu_has(m, CPUID_LM) ? 40 : cpu_has(m, CPUID_PAE) || cpu_has(m, CPUID_PSE36) ? 36 : 32;
    m->virt_bits = cpu_has(m, CPUID_LM) ? 48 : 32;
}

/* ------------------------------------------------------------------------------------------------------------ -cpu --- */

static bool option_value(const char *text, size_t len, bool *on)
{
    static const struct { const char *text; bool on; } values[] = {
        { "on", true }, { "off", false }, { "yes", true }, { "no", false }, { "true", true }, { "false", false },
        { "1", true }, { "0", false },
    };
    for (unsigned i = 0; i < ARRAY_LEN(values); i++)
        if (same_name(values[i].text, text, len)) {
            *on = values[i].on;
            return true;
        }
    return false;
}

/* One item after the model's name: +feature, -feature, feature, feature=on|off. */
static bool apply_option(struct cpu_model *m, const char *text, size_t len, char *err, size_t errlen)
{
    const char *name = text, *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    bool on = true;
    if (name_len && (*name == '+' || *name == '-')) {
        on = *name == '+';
        name++;
        name_len--;
    }
    if (equals && (name != text || !option_value(equals + 1, len - (size_t)(equals + 1 - text), &on))) {
        snprintf(err, errlen, "-cpu: '%.*s' should be +feature, -feature or feature=on|off", (int)len, text);
        return false;
    }
    unsigned f = find_feature(name, name_len);
    if (f != CPUID_BASE) {
        if (on)
            feature_on(m, f);
        else
            feature_off(m, f);
        return true;
    }
    snprintf(err, errlen, "-cpu: unknown feature '%.*s' (-cpu help lists them)", (int)name_len, name);
    return false;
}

bool cpuid_model(struct cpu_model *m, const char *spec, char *err, size_t errlen)
{
    if (!spec || !*spec)
        spec = "max";
    size_t len = strcspn(spec, ",");
    const struct model_row *row = find_model(spec, len);
    if (!row) {
        int n = snprintf(err, errlen, "-cpu: unknown model '%.*s'; there are:", (int)len, spec);
        for (unsigned i = 0; i < ARRAY_LEN(models) && n >= 0 && (size_t)n < errlen; i++)
            n += snprintf(err + n, errlen - (size_t)n, " %s", models[i].name);
        return false;
    }
    model_set(m, row);
    for (const char *p = spec + len; *p;) {
        p++;                            /* the comma */
        len = strcspn(p, ",");
        if (!apply_option(m, p, len, err, errlen))
            return false;
        p += len;
    }
    model_finish(m);
    return true;
}

void cpu_list_models(void (*print)(const char *line, void *ctx), void *ctx)
{
    char line[128];
    print("Models:", ctx);
    for (unsigned i = 0; i < ARRAY_LEN(models); i++) {
        snprintf(line, sizeof line, "  %-10s %s", models[i].name, models[i].help);
        print(line, ctx);
    }
    print("Features (+name, -name, name=on|off):", ctx);
    size_t used = 0;
    for (unsigned f = CPUID_BASE + 1; f < CPUID_FEATURE_COUNT; f++) {
        if (used && used + strlen(features[f].name) + 1 > 100) {
            print(line, ctx);
            used = 0;
        }
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", used ? " " : "  ", features[f].name);
    }
    print(line, ctx);
}

/* ----------------------------------------------------------------------------------------------------------- CPUID --- */

enum { EAX, EBX, ECX, EDX };

static bool is_amd(const struct cpu_model *m) { return m->vendor[0] == 'A'; }

static u32 signature(const struct cpu_model *m)
{
    u32 family = m->family > 15 ? 15 : m->family;
    u32 ext_family = m->family > 15 ? m->family - 15 : 0;
    return m->stepping | (m->model & 15) << 4 | family << 8 | m->model >> 4 << 16 | ext_family << 20;
}

static u32 text4(const char *s)
{
    u32 v;
    memcpy(&v, s, 4);
    return v;
}

/* The bits that the feature list puts into this leaf. */
static void feature_bits(const struct cpu_model *m, u32 leaf, u32 sub, u32 out[4])
{
    for (unsigned f = CPUID_BASE + 1; f < CPUID_FEATURE_COUNT; f++)
        if (cpu_has(m, f) && features[f].leaf == leaf && features[f].sub == sub)
            out[features[f].reg] |= 1u << features[f].bit;
}

static void leaf_vendor(const struct vcpu *c, u32 sub, u32 out[4])
{
    const struct cpu_model *m = &c->model;
    bool limited = c->misc_enable & 1 << 22 && !is_amd(m);      /* IA32_MISC_ENABLE: limit CPUID maxval (Windows NT) */
    out[EAX] = limited && m->max_leaf > 2 ? 2 : m->max_leaf;
    out[EBX] = text4(m->vendor);
    out[EDX] = text4(m->vendor + 4);
    out[ECX] = text4(m->vendor + 8);
}

static void leaf_features(const struct vcpu *c, u32 sub, u32 out[4])
{
    out[EAX] = signature(&c->model);
    out[EBX] = c->apic_id << 24 | 1 << 16 | (cpu_has(&c->model, CPUID_CLFSH) ? 8 << 8 : 0);
    if (c->cr4 & CR4_OSXSAVE)
        out[ECX] |= 1u << 27;
    if (!(c->apic_base & 1 << 11))
        out[EDX] &= ~(1u << 9);
    if (!(c->misc_enable & 1 << 18))
        out[ECX] &= ~(1u << 3);
}

/* 32 KiB of L1 for each of code and data, 2 MiB of L2: descriptors 2C, 30, 7D. */
static void leaf_cache_descriptors(const struct vcpu *c, u32 sub, u32 out[4])
{
    if (is_amd(&c->model))
        return;
    out[EAX] = 1;
    out[EDX] = 0x002c307d;
}

static void leaf_caches(const struct vcpu *c, u32 sub, u32 out[4])
{
    static const struct { u8 type, level; u32 ways, sets; } caches[] = {
        { 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 8, 4096 },
    };
    if (is_amd(&c->model) || sub >= ARRAY_LEN(caches))
        return;
    out[EAX] = caches[sub].type | caches[sub].level << 5 | 1 << 8;
    out[EBX] = 63 | (caches[sub].ways - 1) << 22;
    out[ECX] = caches[sub].sets - 1;
}

static void leaf_monitor(const struct vcpu *c, u32 sub, u32 out[4])
{
    if (!cpu_has(&c->model, CPUID_MONITOR))
        return;
    out[EAX] = out[EBX] = 64;
    out[ECX] = 3;               /* interrupts end MWAIT even if masked */
    out[EDX] = 0x10;            /* C1 */
}

static void leaf_power(const struct vcpu *c, u32 sub, u32 out[4]) { out[EAX] = 4; /* the APIC's timer always runs */ }

static void leaf_structured(const struct vcpu *c, u32 sub, u32 out[4])
{
    if (sub == 0)
        out[EAX] = cpu_has(&c->model, CPUID_BHICTRL) ? 2 : 0;       /* the last sub-leaf */
}

static void leaf_topology(const struct vcpu *c, u32 sub, u32 out[4])
{
    out[ECX] = sub & 0xff;
    out[EDX] = c->apic_id;
    if (sub < 2) {
        out[EBX] = 1;
        out[ECX] |= (sub + 1) << 8;
    }
}

static u32 xsave_size(u64 components) { return components & 4 ? 832 : 576; }

static void leaf_xsave(const struct vcpu *c, u32 sub, u32 out[4])
{
    const struct cpu_model *m = &c->model;
    u64 supported = cpu_has(m, CPUID_AVX) ? 7 : 3;
    if (!cpu_has(m, CPUID_XSAVE)) {
        memset(out, 0, 4 * sizeof out[0]);
    } else if (sub == 0) {
        out[EAX] = (u32)supported;
        out[EBX] = xsave_size(c->xcr0);
        out[ECX] = xsave_size(supported);
    } else if (sub == 1) {
        out[EBX] = cpu_has(m, CPUID_XSAVEC) ? xsave_size(c->xcr0) : 0;
    } else if (sub == 2 && supported & 4) {
        out[EAX] = 256;
        out[EBX] = 576;
    }
}

/* The crystal is the clock of the APIC's timer, which Linux takes from here. */
static void leaf_tsc(const struct vcpu *c, u32 sub, u32 out[4])
{
    static_assert(CPU_TSC_HZ % CPU_APIC_HZ == 0, "the ratio is a whole number");
    out[EAX] = 1;
    out[EBX] = CPU_TSC_HZ / CPU_APIC_HZ;
    out[ECX] = CPU_APIC_HZ;
}

static void leaf_frequency(const struct vcpu *c, u32 sub, u32 out[4])
{
    out[EAX] = out[EBX] = CPU_TSC_HZ / 1000000;
    out[ECX] = 100;
}

static void leaf_hypervisor(const struct vcpu *c, u32 sub, u32 out[4])
{
    static const char name[] = "shadow86vm  ";
    out[EAX] = 0x40000010;
    out[EBX] = text4(name);
    out[ECX] = text4(name + 4);
    out[EDX] = text4(name + 8);
}

static void leaf_hypervisor_clock(const struct vcpu *c, u32 sub, u32 out[4])
{
    out[EAX] = CPU_TSC_HZ / 1000;
    out[EBX] = CPU_APIC_HZ / 1000;
}

static void leaf_ext_max(const struct vcpu *c, u32 sub, u32 out[4])
{
    const struct cpu_model *m = &c->model;
    out[EAX] = m->max_ext_leaf;
    if (is_amd(m)) {
        out[EBX] = text4(m->vendor);
        out[EDX] = text4(m->vendor + 4);
        out[ECX] = text4(m->vendor + 8);
    }
}

static void leaf_ext_features(const struct vcpu *c, u32 sub, u32 out[4])
{
    const struct cpu_model *m = &c->model;
    if (is_amd(m)) {
        u32 basic[4] = { 0 };
        feature_bits(m, 1, 0, basic);
        out[EAX] = signature(m);
        out[EDX] |= basic[EDX] & 0x0183f3ff;    /* AMD repeats these */
    } else if (!in_64bit_mode(c)) {
        out[EDX] &= ~(1u << 11);                /* Intel: SYSCALL exists in 64-bit mode only */
    }
    if (c->misc_enable & (u64)1 << 34)
        out[EDX] &= ~(1u << 20);                /* XD disable */
}

static void leaf_brand(const struct vcpu *c, u32 leaf, u32 out[4])
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = text4(c->model.brand + (leaf - 0x80000002) * 16 + i * 4);
}

static void leaf_l2(const struct vcpu *c, u32 sub, u32 out[4]) { out[ECX] = 2048 << 16 | 6 << 12 | 64; }

static void leaf_addresses(const struct vcpu *c, u32 sub, u32 out[4])
{
    out[EAX] = c->model.phys_bits | c->model.virt_bits << 8;
}

static const struct { u32 leaf; void (*fill)(const struct vcpu *c, u32 sub, u32 out[4]); } leaves[] = {
    { 0, leaf_vendor }, { 1, leaf_features }, { 2, leaf_cache_descriptors }, { 4, leaf_caches }, { 5, leaf_monitor },
    { 6, leaf_power }, { 7, leaf_structured }, { 0xb, leaf_topology }, { 0xd, leaf_xsave }, { 0x15, leaf_tsc }, { 0x16, leaf_frequency },
    { 0x40000000, leaf_hypervisor }, { 0x40000010, leaf_hypervisor_clock },
    { 0x80000000, leaf_ext_max }, { 0x80000001, leaf_ext_features }, { 0x80000006, leaf_l2 },
    { 0x80000008, leaf_addresses },
};

/* Which leaf answers: beyond the last one Intel repeats the highest basic leaf, AMD says zero. False: zero. */
static bool existing_leaf(const struct cpu_model *m, u32 *leaf)
{
    if (*leaf >> 16 == 0x4000 && cpu_has(m, CPUID_HYPERVISOR))
        return *leaf <= 0x40000010;
    if (*leaf <= m->max_leaf || *leaf == 0x80000000 || (*leaf > 0x80000000 && *leaf <= m->max_ext_leaf))
        return true;
    *leaf = m->max_leaf;
    return !is_amd(m);
}

void cpuid_query(const struct vcpu *c, u32 leaf, u32 subleaf, u32 out[4])
{
    memset(out, 0, 4 * sizeof out[0]);
    if (!existing_leaf(&c->model, &leaf))
        return;
    bool has_subleaves = leaf == 7 || leaf == 0xd;
    feature_bits(&c->model, leaf, has_subleaves ? subleaf : 0, out);
    if (leaf >= 0x80000002 && leaf <= 0x80000004)
        leaf_brand(c, leaf, out);
    for (unsigned i = 0; i < ARRAY_LEN(leaves); i++)
        if (leaves[i].leaf == leaf)
            leaves[i].fill(c, subleaf, out);
}
