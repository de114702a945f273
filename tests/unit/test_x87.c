/* test_x87.c - x87 instructions against the host CPU (x86-64 hosts), and cases with known results (all hosts).
 *
 * Native part: every encoding D8..DF with a register operand or [RDI] that the decoder knows is run from thousands of
 * random states: operands of all kinds, rounding and precision controls, exceptions masked and unmasked, full and empty
 * stacks. Registers, tags, control and status words, memory and flags must be equal. Transcendental results may be one
 * unit in the last place away from the host's.
 *
 * Arguments: [cases per encoding [seed]].
 */
#if defined(__x86_64__)
#include "tests/unit/fp_native.h"
#else
#include "tests/unit/vec_guest.h"
#endif

#include "tests/unit/x87_vectors.h"

#if defined(__x86_64__)

static unsigned cases_per_form = 400;

/* Not compared here: images hold pointers, which the host keeps only with a pending exception (AMD). */
static const char *const skipped[] = { "fldenv", "frstor", "fnstenv", "fnsave" };
/* Results within one unit in the last place, C1 accordingly. */
static const char *const approximate[] = { "fsin", "fcos", "fsincos", "fptan", "fpatan", "f2xm1", "fyl2x", "fyl2xp1" };

static const char *const control[] = {
    "fldcw", "fnstcw", "fnstsw", "fnclex", "fninit", "fneni", "fndisi", "fnsetpm",
};

static bool listed(const char *const *list, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++) {
        if (!strcmp(list[i], name))
            return true;
    }
    return false;
}

static void random_x87(struct vcpu *c, struct guest *g)
{
    struct x87 *x = &c->x87;
    bool masked = fpn_below(3);
    x->cw = (u16)(0x40 | fpn_below(4) << 10 | (masked ? 0x3f : fpn_below(64)));
    static const u16 precision[8] = { 0x300, 0x300, 0x300, 0x300, 0x200, 0x200, 0, 0 };
    x->cw |= precision[fpn_below(8)];
    x->sw = (u16)((fpn_random() & 0x7f47) | (x->cw & 0x3f & fpn_random()));
    x->sw &= (u16)~(0x3f & ~x->cw);
    x->empty = (u8)(fpn_below(8) ? 0 : fpn_random() & fpn_random());
    if (fpn_below(4))
        x->empty |= (u8)(1 << (((x->sw >> 11) + 7) & 7));
    for (unsigned i = 0; i < 8; i++)
        x->r[i] = fpn_f80();
    for (unsigned i = 0; i < 64; i += 8) {
        u64 v = fpn_random();
        memcpy(g->data + i, &v, 8);
    }
    rflags_set(c, EFL_1 | (fpn_random() & EFL_STATUS));
}

/* The operand in memory, as the instruction reads it. */
static void random_operand(struct guest *g, const struct insn *in, bool integer)
{
    unsigned size = 0;
    for (unsigned i = 0; i < 2; i++)
        size = in->op[i].kind == OP_MEM ? in->op[i].size : size;
    if (integer) {
        s64 v = (s64)fpn_random() >> fpn_below(64);
        memcpy(g->data, &v, 8);
        return;
    }
    u32 s = fpn_f32();
    u64 d = fpn_f64();
    struct f80 x = fpn_f80();
    if (size == 4)
        memcpy(g->data, &s, 4);
    if (size == 8)
        memcpy(g->data, &d, 8);
    if (size == 10) {
        memcpy(g->data, &x.mant, 8);
        memcpy(g->data + 8, &x.se, 2);
    }
}

/* Operands near each other, near integers, or inside the domain of the function. */
static void shape_operands(struct vcpu *c, const char *name)
{
    struct x87 *x = &c->x87;
    unsigned top = x->sw >> 11 & 7;
    struct f80 *st0 = &x->r[top], *st1 = &x->r[(top + 1) & 7];
    if (listed(approximate, ARRAY_LEN(approximate), name) && fpn_below(8)) {
        if (!strcmp(name, "f2xm1"))
            st0->se = (u16)((st0->se & 0x8000) | (0x3ffe - fpn_below(fpn_below(2) ? 6 : 80)));
        else if (!strcmp(name, "fyl2xp1"))
            st0->se = (u16)((st0->se & 0x8000) | (0x3ffc - fpn_below(fpn_below(2) ? 6 : 80)));
        else if (!strcmp(name, "fyl2x"))
            st0->se &= 0x7fff;
        else if (strcmp(name, "fpatan"))
            st0->se = (u16)((st0->se & 0x8000) | (0x3ffe - fpn_below(fpn_below(2) ? 4 : 70)));
        st0->mant |= (u64)1 << 63;
    }
    if (!strncmp(name, "fprem", 5) && fpn_below(2))
        st0->se = (u16)((st0->se & 0x8000) | ((st1->se + fpn_below(160) - 40) & 0x7fff));
    if (!strcmp(name, "fscale") && fpn_below(2))
        st1->se = (u16)((st1->se & 0x8000) | (0x3fff - 2 + fpn_below(20)));
    if (fpn_below(4) == 0)
        *st1 = (struct f80){ st0->mant + fpn_below(3) - 1, (u16)(st0->se ^ (fpn_below(2) << 15)) };
}

static bool close_enough(struct f80 a, struct f80 b)
{
    u128 x = (u128)(a.se & 0x7fff) << 63 | (a.mant & ~((u64)1 << 63));
    u128 y = (u128)(b.se & 0x7fff) << 63 | (b.mant & ~((u64)1 << 63));
    return a.se >> 15 == b.se >> 15 && (x > y ? x - y : y - x) <= 1;
}

static u64 ulps_off, ulps_total, pointers_compared;

/* FOP, FIP, FDP, where both CPUs keep them: while an unmasked exception is pending. Control instructions leave them. */
static void compare_pointers(const struct vcpu *c, bool memory)
{
    u64 fip, fdp, our_fip = c->x87.fip + (u64)(uintptr_t)fpn_code;
    u64 our_fdp = c->x87.fdp - GUEST_DATA + (u64)(uintptr_t)fpn_mem;
    pointers_compared++;
    memcpy(&fip, fpn.fx + 8, 8);
    memcpy(&fdp, fpn.fx + 16, 8);
    fpn_differ("fop", fpn.fx + 6, &c->x87.fop, 2);
    fpn_differ("fip", &fip, &our_fip, 8);
    if (memory)
        fpn_differ("fdp", &fdp, &our_fdp, 8);
}

static void compare(const struct vcpu *c, const struct guest *g, const char *name, bool memory)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    const bool loose = listed(approximate, ARRAY_LEN(approximate), name);
    u32 flags = (u32)rflags_get(c) & EFL_STATUS, host_flags = (u32)fpn.rflags & EFL_STATUS;
    u16 sw = c->x87.sw, host_sw;
    u8 valid = (u8)~c->x87.empty;
    memcpy(&host_sw, fpn.fx + 2, 2);
    bool off = false;
    for (unsigned i = 0; i < 8; i++) {
        struct f80 host = { 0 }, ours = c->x87.r[(top + i) & 7];
        char label[8];
        memcpy(&host.mant, fpn.fx + 32 + 16 * i, 8);
        memcpy(&host.se, fpn.fx + 32 + 16 * i + 8, 2);
        if (host.mant == ours.mant && host.se == ours.se)
            continue;
        off = true;
        snprintf(label, sizeof(label), "st%u", i);
        if (!loose || !close_enough(host, ours))
            fpn_differ(label, fpn.fx + 32 + 16 * i, &ours, 10);
    }
    ulps_off += loose && off;
    ulps_total += loose;
    if (host_sw & 0x80 && !listed(control, ARRAY_LEN(control), name))
        compare_pointers(c, memory);
    if (strstr(name, "comi"))       /* FCOMI clears C1 (SDM 2A); AMD's CPUs leave it alone */
        host_sw &= (u16)~0x200;
    if (loose)
        host_sw = (u16)((host_sw & ~0x200) | (sw & 0x200));
    fpn_differ("fcw", fpn.fx, &c->x87.cw, 2);
    fpn_differ("fsw", &host_sw, &sw, 2);
    fpn_differ("ftw", fpn.fx + 4, &valid, 1);
    fpn_differ("flags", &host_flags, &flags, 4);
    fpn_differ("rax", &fpn.rax, &c->rax, 8);
    fpn_differ("mem", fpn_mem, g->data, 64);
}

static void print_case(const struct insn *in, const u8 *bytes, const struct x87 *before, const u8 *mem)
{
    char text[80];
    unsigned top = before->sw >> 11 & 7;
    FPN_REPORT("\n  before: cw %04x sw %04x empty %02x", before->cw, before->sw, before->empty);
    for (unsigned i = 0; i < 3; i++) {
        const struct f80 *r = &before->r[(top + i) & 7];
        FPN_REPORT(" st%u %04x'%016llx", i, r->se, (unsigned long long)r->mant);
    }
    fpn_hex("mem", mem, 16);
    insn_print(text, sizeof(text), in, 0);
    fprintf(stderr, "%s (%02x %02x)%s\n", text, bytes[0], bytes[1], fpn_report);
}

static unsigned run_form(struct guest *g, const u8 bytes[2], u64 *cases)
{
    struct vcpu *c = g->cpu;
    struct insn in;
    unsigned bad = 0;
    if (insn_decode(&in, bytes, 2, 8, NULL) != DECODE_OK || in.len != 2)
        return 0;
    const char *name = insn_rows[in.row].name;
    if (listed(skipped, ARRAY_LEN(skipped), name))
        return 0;
    for (unsigned n = 0; n < cases_per_form; n++) {
        random_x87(c, g);
        shape_operands(c, name);
        random_operand(g, &in, name[1] == 'i');
        c->rdi = GUEST_DATA;
        c->rip = in.len;        /* so that FIP is 0 */
        fpn_load(c, g);
        struct x87 before = c->x87;
        u8 mem[16];
        memcpy(mem, g->data, 16);
        fpn_exec(bytes, 2);
        fpn_reported = 0;
        if (!in.run(c, &in))
            FPN_REPORT("\n  faulted: %u", c->exc.vector);
        compare(c, g, name, in.modrm_mem);
        (*cases)++;
        if (fpn_reported && bad++ < 3)
            print_case(&in, bytes, &before, mem);
    }
    if (bad)
        fprintf(stderr, "%s (%02x %02x): %u of %u differ from the host\n", name, bytes[0], bytes[1], bad,
                cases_per_form);
    return bad;
}

START_TEST(native_all)
{
    struct guest *g = guest_new();
    u64 cases = 0, bad = 0;
    unsigned forms = 0;
    for (unsigned op = 0xd8; op <= 0xdf; op++) {
        for (unsigned m = 0; m < 0x48; m++) {
            u8 bytes[2] = { (u8)op, (u8)(m < 8 ? m << 3 | 7 : 0xc0 + m - 8) };
            u64 before = cases;
            bad += run_form(g, bytes, &cases);
            forms += cases > before;
        }
    }
    printf("x87 native: %u encodings, %llu cases, transcendental results unlike the host's last bit: %llu of %llu\n",
           forms, (unsigned long long)cases, (unsigned long long)ulps_off, (unsigned long long)ulps_total);
    printf("x87 native: pointers compared in %llu cases\n", (unsigned long long)pointers_compared);
    guest_free(g);
    ck_assert_uint_eq(bad, 0);
}
END_TEST
#endif

/* --- on every host --- */

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

int main(int argc, char **argv)
{
    Suite *s = suite_create("x87");
    TCase *t = tcase_create("x87");
    tcase_set_timeout(t, 0);
#if defined(__x86_64__)
    if (argc > 1)
        cases_per_form = (unsigned)strtoul(argv[1], NULL, 0);
    if (argc > 2)
        fpn_seed = strtoull(argv[2], NULL, 0) | 1;
    if (fpn_setup())
        tcase_add_test(t, native_all);
#endif
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
