/* test_x87.c - x87 cases with known results: transcendental vectors, deferred exceptions, FERR#, availability, images.
 * The comparison of all x87 instructions with a real CPU is tests/native.
 */
#include "tests/unit/vec_guest.h"

#include "tests/unit/x87_vectors.h"

static struct f80 compute(enum vector_function f, struct x87_calc *k, struct f80 x, struct f80 y)
{
    struct f80 r = { 0 };
    switch (f) {
    case V_SIN: ck_assert(x87_trig(k, X87_SIN, x, &r)); break;
    case V_COS: ck_assert(x87_trig(k, X87_COS, x, &r)); break;
    case V_TAN: ck_assert(x87_trig(k, X87_TAN, x, &r)); break;
    case V_ATAN2: r = x87_atan2(k, y, x); break;
    case V_2XM1: r = x87_2xm1(k, x); break;
    case V_YLOG2X: r = x87_ylog2x(k, y, x); break;
    case V_YLOG2XP1: r = x87_ylog2xp1(k, y, x); break;
    }
    return r;
}

START_TEST(transcendental_values)
{
    static const char *const names[] = { "sin", "cos", "tan", "atan2", "2xm1", "ylog2x", "ylog2xp1" };
    struct guest *g = guest_new();
    for (unsigned i = 0; i < ARRAY_LEN(x87_vectors); i++) {
        const struct x87_vector *v = &x87_vectors[i];
        g->cpu->x87.cw = 0x37f;
        struct x87_calc k = x87_calc_begin(g->cpu);
        struct f80 r = compute(v->f, &k, v->x, v->y);
        ck_assert_msg(r.mant == v->result.mant && r.se == v->result.se,
                      "%s of %04x'%016llx, %04x'%016llx: %04x'%016llx, should be %04x'%016llx", names[v->f], v->x.se,
                      (unsigned long long)v->x.mant, v->y.se, (unsigned long long)v->y.mant, r.se,
                      (unsigned long long)r.mant, v->result.se, (unsigned long long)v->result.mant);
    }
    guest_free(g);
}
END_TEST

/* Bytes at GUEST_CODE are not fetched: the decoder gets them. */
static bool exec(struct guest *g, unsigned b0, unsigned b1)
{
    u8 bytes[2] = { (u8)b0, (u8)b1 };
    return guest_exec(g, bytes, 2);
}

/* An unmasked zero divide: nothing happens at once, the next waiting instruction gets #MF, FNSTSW and FNCLEX do not. */
START_TEST(deferred_exception)
{
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    x87_init(c);
    c->x87.cw = 0x37b;
    ck_assert(exec(g, 0xd9, 0xe8) && exec(g, 0xd9, 0xee) && exec(g, 0xde, 0xf9));   /* FLD1, FLDZ, FDIVP */
    ck_assert_uint_eq(c->x87.sw, 0xb084);       /* B, TOP 6: not popped, ES, ZE */
    ck_assert(!fpu_check_x87(c, true));
    ck_assert_uint_eq(c->exc.vector, EXC_MF);
    ck_assert(fpu_check_x87(c, false));
    ck_assert(exec(g, 0xdb, 0xe2));             /* FNCLEX */
    ck_assert_uint_eq(c->x87.sw, 0x3000);
    ck_assert(fpu_check_x87(c, true));
    guest_free(g);
}
END_TEST

static unsigned ferr_calls;
static bool ferr_level;
static void on_ferr(void *ctx, bool level)
{
    (void)ctx;
    ferr_calls++;
    ferr_level = level;
}

/* CR0.NE = 0: FERR# goes up with ES and down with FNCLEX. */
START_TEST(ferr_line)
{
    static const struct cpu_host host = { .ferr = on_ferr };
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    c->host = &host;
    c->cr0 &= ~(u64)CR0_NE;
    x87_init(c);
    ck_assert_uint_eq(ferr_calls, 0);
    c->x87.cw = 0x37b;
    ck_assert(exec(g, 0xd9, 0xe8) && exec(g, 0xd9, 0xee) && exec(g, 0xde, 0xf9));
    ck_assert(ferr_level);
    ck_assert(fpu_check_x87(c, true));          /* no #MF */
    ck_assert(exec(g, 0xdb, 0xe2));
    ck_assert(!ferr_level);
    c->host = NULL;
    guest_free(g);
}
END_TEST

/* SDM 3A table 2-2 and chapter 13: who is let through. */
START_TEST(availability)
{
    static const struct { u64 cr0; int x87, mmx, wait; } rows[] = {
        { 0,                        -1,     -1,     -1 },
        { CR0_TS,                   EXC_NM, EXC_NM, -1 },
        { CR0_EM,                   EXC_NM, EXC_UD, -1 },
        { CR0_MP | CR0_TS,          EXC_NM, EXC_NM, EXC_NM },
        { CR0_MP | CR0_EM | CR0_TS, EXC_NM, EXC_UD, EXC_NM },
    };
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    const u64 base = CR0_PE | CR0_NE;
    const u8 fwait = 0x9b;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        c->cr0 = base | rows[i].cr0;
        ck_assert_int_eq(fpu_check_x87(c, true) ? -1 : c->exc.vector, rows[i].x87);
        ck_assert_int_eq(fpu_check_mmx(c) ? -1 : c->exc.vector, rows[i].mmx);
        ck_assert_int_eq(guest_exec(g, &fwait, 1) ? -1 : c->exc.vector, rows[i].wait);
    }
    guest_free(g);
}
END_TEST

/* Real mode: the environment holds linear addresses and the opcode, SDM 1 figures 8-10 and 8-12. */
START_TEST(real_mode_environment)
{
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    struct insn in;
    const u8 fnstenv[] = { 0xd9, 0x37 };
    guest_mode(g, 4);
    memset(g->ram->base, 0, 4096);
    ck_assert_int_eq(insn_decode(&in, fnstenv, 2, 4, NULL), DECODE_OK);
    c->cr0 &= ~(u64)CR0_PE;
    c->rdi = 0x100;
    c->x87 = (struct x87){ .cw = 0x37f, .sw = 0x3800, .empty = 0xff, .fop = 0x5e8, .fcs = 0x1234, .fip = 0x5678,
                           .fds = 0xf000, .fdp = 0xff };
    ck_assert(in.run(c, &in));
    u32 env[7];
    memcpy(env, g->ram->base + 0x100, sizeof(env));
    ck_assert_uint_eq(env[0], 0xffff037f);
    ck_assert_uint_eq(env[2], 0xffffffff);
    ck_assert_uint_eq(env[3] & 0xffff, 0x79b8);     /* 12340 + 5678 = 179b8 */
    ck_assert_uint_eq(env[4], 1u << 12 | 0x5e8);
    ck_assert_uint_eq(env[5] & 0xffff, 0x00ff);
    ck_assert_uint_eq(env[6], 0xfu << 12);
    guest_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("x87");
    TCase *t = tcase_create("x87");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, transcendental_values);
    tcase_add_test(t, deferred_exception);
    tcase_add_test(t, ferr_line);
    tcase_add_test(t, availability);
    tcase_add_test(t, real_mode_environment);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
