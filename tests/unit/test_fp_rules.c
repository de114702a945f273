/* test_fp_rules.c - floating-point rules that do not need a host of the same kind: which exception where, and that a
 * fault leaves the state alone. Runs on every host.
 */
#include "cpu/fpu.h"
#include "tests/unit/vec_guest.h"

#define END_OF_DATA (GUEST_DATA + GUEST_BYTES)

static bool exec(struct guest *g, const char *hex)
{
    u8 bytes[15];
    unsigned n = 0;
    for (; hex[2 * n]; n++) {
        unsigned b;
        ck_assert_int_eq(sscanf(hex + 2 * n, "%2x", &b), 1);
        bytes[n] = (u8)b;
    }
    return guest_exec(g, bytes, n);
}

static u32 f32_bits(float f)
{
    u32 v;
    memcpy(&v, &f, 4);
    return v;
}

/* mxcsr before, CR4.OSXMMEXCPT, divisor; vector or -1, mxcsr after */
static const struct {
    u32 mxcsr;
    bool osxmmexcpt;
    float divisor;
    int vector;
    u32 after;
    const char *why;
} sse_rows[] = {
    { 0x1f80, true,  0, -1,     0x1f84, "masked zero divide: the flag" },
    { 0x1d80, true,  0, EXC_XM, 0x1d84, "unmasked: #XM, the flag is set all the same" },
    { 0x1d80, false, 0, EXC_UD, 0x1d84, "unmasked without CR4.OSXMMEXCPT: #UD" },
    { 0x1d84, true,  2, -1,     0x1d84, "a flag that is set already raises nothing" },
    { 0x0f80, true,  3, EXC_XM, 0x0fa0, "unmasked inexact" },
};

START_TEST(sse_exceptions)
{
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    for (unsigned i = 0; i < ARRAY_LEN(sse_rows); i++) {
        c->cr4 = (c->cr4 & ~(u64)CR4_OSXMMEXCPT) | (sse_rows[i].osxmmexcpt ? CR4_OSXMMEXCPT : 0);
        c->mxcsr = sse_rows[i].mxcsr;
        c->vec[0].d[0] = f32_bits(1);
        c->vec[1].d[0] = f32_bits(sse_rows[i].divisor);
        bool ok = exec(g, "f30f5ec1");      /* divss xmm0, xmm1 */
        ck_assert_msg((ok ? -1 : c->exc.vector) == sse_rows[i].vector, "%s", sse_rows[i].why);
        ck_assert_msg(c->mxcsr == sse_rows[i].after, "%s: %04x", sse_rows[i].why, c->mxcsr);
        ck_assert_msg(ok || c->vec[0].d[0] == f32_bits(1), "%s: destination changed", sse_rows[i].why);
    }
    guest_free(g);
}
END_TEST

/* One lane divides by zero unmasked, another one is inexact: only what was found before the results is flagged. */
START_TEST(packed_exceptions)
{
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    for (unsigned i = 0; i < 4; i++) {
        c->vec[0].d[i] = f32_bits(1);
        c->vec[1].d[i] = f32_bits(i ? 3 : 0);
    }
    c->mxcsr = 0x1d80;
    ck_assert(!exec(g, "0f5ec1"));
    ck_assert_uint_eq(c->mxcsr, 0x1d84);
    c->mxcsr = 0x1f80;
    ck_assert(exec(g, "0f5ec1"));
    ck_assert_uint_eq(c->mxcsr, 0x1fa4);
    guest_free(g);
}
END_TEST

/* Instructions that fault on memory: nothing of the x87 may have changed. */
static const struct { const char *hex; u64 rdi; int vector; } fault_rows[] = {
    { "d907", END_OF_DATA - 2, EXC_PF },        /* fld m32 */
    { "db2f", END_OF_DATA - 9, EXC_PF },        /* fld m80 */
    { "d91f", END_OF_DATA - 2, EXC_PF },        /* fstp m32 */
    { "db3f", END_OF_DATA - 4, EXC_PF },        /* fstp m80 */
    { "df37", END_OF_DATA - 4, EXC_PF },        /* fbstp */
    { "dd1f", END_OF_DATA - 1, EXC_PF },        /* fstp m64 */
    { "d807", END_OF_DATA - 1, EXC_PF },        /* fadd m32 */
    { "dd37", END_OF_DATA - 100, EXC_PF },      /* fnsave */
    { "dd27", END_OF_DATA - 100, EXC_PF },      /* frstor */
    { "0fae07", END_OF_DATA - 256, EXC_PF },    /* fxsave */
    { "0fae0f", END_OF_DATA - 256, EXC_PF },    /* fxrstor */
    { "0fae07", GUEST_DATA + 8, EXC_GP },       /* fxsave, misaligned */
    { "0fae27", GUEST_DATA + 16, EXC_GP },      /* xsave wants 64 */
    { "0fae2f", GUEST_DATA + 32, EXC_GP },      /* xrstor */
    { "0fae27", END_OF_DATA - 576, EXC_PF },    /* xsave: AVX part on the missing page */
    { "0fae17", GUEST_DATA, EXC_GP },           /* ldmxcsr, reserved bits */
};

START_TEST(faults_change_nothing)
{
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    memset(g->data, 0xa5, GUEST_BYTES);
    for (unsigned i = 0; i < ARRAY_LEN(fault_rows); i++) {
        x87_init(c);
        ck_assert(exec(g, "d9eb") && exec(g, "d9ed"));      /* fldpi, fldln2 */
        c->x87.fip = 0x1234;
        c->rdi = fault_rows[i].rdi;
        c->rax = 7;
        c->rdx = 0;
        const struct x87 before = c->x87;
        u8 memory[64];
        memcpy(memory, g->data + GUEST_BYTES - 64, 64);
        ck_assert_msg(!exec(g, fault_rows[i].hex), "%s", fault_rows[i].hex);
        ck_assert_msg(c->exc.vector == fault_rows[i].vector, "%s: %u", fault_rows[i].hex, c->exc.vector);
        ck_assert_msg(!memcmp(&before, &c->x87, sizeof(before)), "%s changed the x87", fault_rows[i].hex);
        ck_assert_mem_eq(memory, g->data + GUEST_BYTES - 64, 64);
    }
    guest_free(g);
}
END_TEST

/* SSE needs OSFXSR and no EM, VEX needs OSXSAVE and XCR0; both look at TS last. */
static const struct { u64 cr0, cr4, xcr0; int sse, avx; } available_rows[] = {
    { 0,               CR4_OSFXSR | CR4_OSXSAVE, 7, -1,     -1 },
    { 0,               CR4_OSXSAVE,              7, EXC_UD, -1 },
    { 0,               CR4_OSFXSR,               7, -1,     EXC_UD },
    { 0,               CR4_OSFXSR | CR4_OSXSAVE, 3, -1,     EXC_UD },
    { CR0_EM,          CR4_OSFXSR | CR4_OSXSAVE, 7, EXC_UD, -1 },
    { CR0_TS,          CR4_OSFXSR | CR4_OSXSAVE, 7, EXC_NM, EXC_NM },
    { CR0_TS | CR0_EM, CR4_OSFXSR,               7, EXC_UD, EXC_UD },
};

START_TEST(sse_available)
{
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    struct insn sse = { .vex = 0 }, avx = { .vex = 1 };
    for (unsigned i = 0; i < ARRAY_LEN(available_rows); i++) {
        c->cr0 = CR0_PE | available_rows[i].cr0;
        c->cr4 = available_rows[i].cr4;
        c->xcr0 = available_rows[i].xcr0;
        ck_assert_int_eq(fpu_check_sse(c, &sse) ? -1 : c->exc.vector, available_rows[i].sse);
        ck_assert_int_eq(fpu_check_sse(c, &avx) ? -1 : c->exc.vector, available_rows[i].avx);
    }
    guest_free(g);
}
END_TEST

/* RCPPS, RSQRTPS: relative error at most 1.5 * 2^-12 (SDM 2B), and what they make of special values. */
START_TEST(approximations)
{
    static const u32 special[][3] = {       /* operand, reciprocal, reciprocal root */
        { 0x00000000, 0x7f800000, 0x7f800000 }, { 0x80000000, 0xff800000, 0xff800000 },
        { 0x00000001, 0x7f800000, 0x7f800000 }, { 0x80700000, 0xff800000, 0xff800000 },
        { 0x7f800000, 0x00000000, 0x00000000 }, { 0xff800000, 0x80000000, 0xffc00000 },
        { 0x7f812345, 0x7fc12345, 0x7fc12345 }, { 0x7f7fffff, 0x00000000, 0x1f800000 },
    };
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    c->mxcsr = 0;
    for (u32 v = 0x00800000; v < 0x7e000000; v += 65437) {
        float x, r, s;
        c->vec[1].d[0] = v;
        ck_assert(exec(g, "f30f53c1") && exec(g, "f30f52d1"));      /* rcpss xmm0, xmm1; rsqrtss xmm2, xmm1 */
        memcpy(&x, &v, 4);
        memcpy(&r, &c->vec[0].d[0], 4);
        memcpy(&s, &c->vec[2].d[0], 4);
        double e = (double)r * x - 1, f = (double)s * s * x - 1;    /* f is twice the relative error */
        ck_assert_msg(e < 1.5 / 4096 && e > -1.5 / 4096, "rcp of %08x: error %g", v, e);
        ck_assert_msg(f < 3.0 / 4096 && f > -3.0 / 4096, "rsqrt of %08x: error %g", v, f);
    }
    for (unsigned i = 0; i < ARRAY_LEN(special); i++) {
        c->vec[1].d[0] = special[i][0];
        ck_assert(exec(g, "f30f53c1") && exec(g, "f30f52d1"));
        ck_assert_uint_eq(c->vec[0].d[0], special[i][1]);
        if (special[i][0] != 0x7f7fffff)        /* an approximation like any other */
            ck_assert_uint_eq(c->vec[2].d[0], special[i][2]);
    }
    ck_assert_uint_eq(c->mxcsr, 0);
    guest_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fp_rules");
    TCase *t = tcase_create("rules");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, sse_exceptions);
    tcase_add_test(t, packed_exceptions);
    tcase_add_test(t, faults_change_nothing);
    tcase_add_test(t, sse_available);
    tcase_add_test(t, approximations);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
