/* test_cpuid.c - -cpu models and features, and what CPUID answers for them. */
#include "tests/unit/cpu_machine.h"

static struct cpu_model model_of(const char *spec)
{
    struct cpu_model model;
    char err[256] = "";
    ck_assert_msg(cpuid_model(&model, spec, err, sizeof err), "%s: %s", spec, err);
    return model;
}

START_TEST(models)
{
    static const struct { const char *spec; u16 has, lacks; } cases[] = {
        { "486", CPUID_FPU, CPUID_TSC }, { "pentium", CPUID_MMX, CPUID_CMOV }, { "pentium3", CPUID_SSE, CPUID_SSE2 },
        { "qemu64", CPUID_LM, CPUID_SSSE3 }, { "x86-64-v2", CPUID_SSE42, CPUID_AVX }, { "x86-64-v3", CPUID_AVX2, CPUID_SHA },
        { "max", CPUID_SHA, CPUID_BASE }, { "MAX", CPUID_AVX2, CPUID_BASE },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct cpu_model model = model_of(cases[i].spec);
        ck_assert(cpu_has(&model, cases[i].has));
        ck_assert(cpu_has(&model, CPUID_BASE));
        ck_assert(cases[i].lacks == CPUID_BASE || !cpu_has(&model, cases[i].lacks));
    }
    struct cpu_model standard = model_of(NULL);
    ck_assert_str_eq(standard.name, "max");
}
END_TEST

START_TEST(features)
{
    static const struct { const char *spec; u16 on, off; } cases[] = {
        { "max,-avx2", CPUID_AVX, CPUID_AVX2 }, { "max,-xsave", CPUID_SSE42, CPUID_AVX }, { "max,-xsave", CPUID_SSE42, CPUID_FMA },
        { "max,avx=off", CPUID_XSAVE, CPUID_AVX2 }, { "qemu64,+avx2", CPUID_XSAVE, CPUID_FMA },
        { "qemu64,+SSE4_1", CPUID_SSE41, CPUID_SSE42 }, { "qemu64,sse4.2=on", CPUID_SSE42, CPUID_AVX },
        { "qemu64,sse4-2", CPUID_SSE42, CPUID_AVX }, { "max,-cmpxchg16b", CPUID_LM, CPUID_CX16 },
        { "max,-xd", CPUID_LM, CPUID_NX }, { "max,-lm", CPUID_SSE2, CPUID_PCID }, { "max,-pclmuldq", CPUID_AES, CPUID_PCLMUL },
        { "max,-lahf_lm", CPUID_LM, CPUID_LAHF_LM }, { "486,+lm", CPUID_SSE2, CPUID_APIC }, { "max,+monitor", CPUID_MONITOR, CPUID_XSAVES },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct cpu_model model = model_of(cases[i].spec);
        ck_assert_msg(cpu_has(&model, cases[i].on), "%s", cases[i].spec);
        ck_assert_msg(!cpu_has(&model, cases[i].off), "%s", cases[i].spec);
    }
}
END_TEST

START_TEST(errors)
{
    static const struct { const char *spec, *says; } cases[] = {
        { "i9", "x86-64-v3" }, { "max,+nonsense", "nonsense" }, { "max,avx=maybe", "on|off" }, { "max,", "unknown feature" },
        { "max,+avx=on", "on|off" }, { ",", "unknown model" },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct cpu_model model;
        char err[256] = "", tiny[8];
        ck_assert_msg(!cpuid_model(&model, cases[i].spec, err, sizeof err), "%s", cases[i].spec);
        ck_assert_msg(strstr(err, cases[i].says) && !strchr(err, '\n'), "%s: %s", cases[i].spec, err);
        ck_assert(!cpuid_model(&model, cases[i].spec, tiny, sizeof tiny));
    }
}
END_TEST

static void query(u32 leaf, u32 sub, u32 out[4]) { cpuid_query(C, leaf, sub, out); }

START_TEST(leaves_max)
{
    u32 r[4];
    machine_new("max");
    query(0, 0, r);
    ck_assert_uint_eq(r[0], 0x16);
    ck_assert(!memcmp(&r[1], "Genu", 4) && !memcmp(&r[3], "ineI", 4) && !memcmp(&r[2], "ntel", 4));
    query(1, 0, r);
    ck_assert_uint_eq(r[0], 0x506e3);
    ck_assert(r[3] & 1 && r[2] & 1u << 31 && !(r[2] & 1 << 27));
    C->cr4 |= CR4_OSXSAVE;
    query(1, 0, r);
    ck_assert(r[2] & 1 << 27);
    query(7, 0, r);
    ck_assert(r[1] & 1 << 5 && r[1] & 1 << 29 && r[3] & 1 << 29);
    query(7, 1, r);
    ck_assert_uint_eq(r[0] | r[1] | r[2] | r[3], 0);
    query(0xd, 0, r);
    ck_assert_uint_eq(r[0], 7);
    ck_assert_uint_eq(r[1], 576);
    ck_assert_uint_eq(r[2], 832);
    C->xcr0 = 7;
    query(0xd, 0, r);
    ck_assert_uint_eq(r[1], 832);
    query(0xd, 2, r);
    ck_assert_uint_eq(r[0], 256);
    ck_assert_uint_eq(r[1], 576);
    query(0x15, 0, r);
    ck_assert_uint_eq((u64)r[2] * r[1] / r[0], CPU_TSC_HZ);
    query(0x40000000, 0, r);
    ck_assert(!memcmp(&r[1], "shad", 4));
    query(0x40000010, 0, r);
    ck_assert_uint_eq(r[0], CPU_TSC_HZ / 1000);
    query(0x80000008, 0, r);
    ck_assert_uint_eq(r[0], 0x3028);
    query(0x80000001, 0, r);
    ck_assert(r[3] & 1 << 29 && !(r[3] & 1 << 11));         /* SYSCALL is told in 64-bit mode only */
    query(0x80000002, 0, r);
    ck_assert(!memcmp(r, "shadow86 virtual", 16));
    query(0x12345, 0, r);                                   /* Intel: the highest basic leaf */
    ck_assert_uint_eq(r[0], CPU_TSC_HZ / 1000000);
    machine_free();
}
END_TEST

START_TEST(leaves_qemu64)
{
    u32 r[4];
    machine_new("qemu64");
    query(0x80000000, 0, r);
    ck_assert_uint_eq(r[0], 0x80000008);
    ck_assert(!memcmp(&r[1], "Auth", 4));
    query(0x80000001, 0, r);
    ck_assert(r[3] & 1 << 11 && r[3] & 1);                  /* AMD repeats leaf 1's bits */
    query(0x12345, 0, r);
    ck_assert_uint_eq(r[0] | r[1] | r[2] | r[3], 0);
    machine_free();
}
END_TEST

START_TEST(state_dependent)
{
    u32 r[4];
    machine_new("max,+monitor");
    query(1, 0, r);
    ck_assert(r[3] & 1 << 9 && r[2] & 1 << 3);
    ck_assert(msr_write(C, 0x1b, 0xfee00100));              /* APIC off */
    ck_assert(msr_write(C, 0x1a0, 1 << 22));                /* limit CPUID, monitor off */
    query(1, 0, r);
    ck_assert(!(r[3] & 1 << 9) && !(r[2] & 1 << 3));
    query(0, 0, r);
    ck_assert_uint_eq(r[0], 2);
    machine_free();
}
END_TEST

/* A model without a feature does not have its registers either. */
START_TEST(registers_follow_features)
{
    u64 v;
    machine_new("pentium3");
    ck_assert(!msr_read(C, 0xc0000080, &v));
    ck_assert(!msr_write(C, 0xc0000082, 0));
    ck_assert(!sysreg_write_cr(C, 4, CR4_OSXSAVE));
    ck_assert(sysreg_write_cr(C, 4, CR4_PAE | CR4_OSFXSR));
    machine_free();
    machine_new("486");
    ck_assert(sysreg_write_cr(C, 4, CR4_PSE));
    ck_assert(!sysreg_write_cr(C, 4, CR4_PAE));
    ck_assert(!msr_read(C, 0x1b, &v));
    machine_free();
    machine_new("486,-vme,-pse");
    ck_assert(!sysreg_read_cr(C, 4, &v));
    ck_assert_uint_eq(C->exc.vector, EXC_UD);
    machine_free();
}
END_TEST

static void collect(const char *line, void *ctx) { strncat(ctx, line, 4095 - strlen(ctx)); }

START_TEST(list)
{
    char text[4096] = "";
    cpu_list_models(collect, text);
    ck_assert(strstr(text, "x86-64-v3") && strstr(text, "avx2") && strstr(text, "invtsc") && strstr(text, "fpu"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cpuid");
    TCase *t = tcase_create("cpuid");
    tcase_add_test(t, models);
    tcase_add_test(t, features);
    tcase_add_test(t, errors);
    tcase_add_test(t, leaves_max);
    tcase_add_test(t, leaves_qemu64);
    tcase_add_test(t, state_dependent);
    tcase_add_test(t, registers_follow_features);
    tcase_add_test(t, list);
    suite_add_tcase(s, t);
    return run_suite(s);
}
