/* test_fpu_state.c - images of x87, SSE and AVX state (FSAVE, FSTENV, FXSAVE, XSAVE and their kin) against the host.
 *
 * The stored images, the state after loading random ones and the faults of bad ones must be equal, except for the
 * instruction and data pointers (AMD keeps them only while an exception is pending) and for the MXCSR mask.
 *
 * Arguments: [cases per encoding [seed]].
 */
#if defined(__x86_64__)
#include "tests/unit/fp_native.h"

enum { PTR_NONE, PTR_FX, PTR_ENV32, PTR_ENV16 };        /* where pointers stand in the image */
static const struct row { u8 bytes[5], len, pointers; const char *needs; } rows[] = {
    { { 0x0f, 0xae, 0x07 }, 3, PTR_FX, NULL },                  /* fxsave */
    { { 0x48, 0x0f, 0xae, 0x07 }, 4, PTR_FX, NULL },            /* fxsave64 */
    { { 0x0f, 0xae, 0x0f }, 3, PTR_FX, NULL },                  /* fxrstor */
    { { 0x48, 0x0f, 0xae, 0x0f }, 4, PTR_FX, NULL },            /* fxrstor64 */
    { { 0x0f, 0xae, 0x17 }, 3, PTR_NONE, NULL },                /* ldmxcsr */
    { { 0x0f, 0xae, 0x1f }, 3, PTR_NONE, NULL },                /* stmxcsr */
    { { 0xc5, 0xf8, 0xae, 0x17 }, 4, PTR_NONE, NULL },          /* vldmxcsr */
    { { 0xc5, 0xf8, 0xae, 0x1f }, 4, PTR_NONE, NULL },          /* vstmxcsr */
    { { 0x0f, 0xae, 0x27 }, 3, PTR_FX, "xsave" },               /* xsave */
    { { 0x48, 0x0f, 0xae, 0x27 }, 4, PTR_FX, "xsave" },         /* xsave64 */
    { { 0x0f, 0xae, 0x2f }, 3, PTR_FX, "xsave" },               /* xrstor */
    { { 0x48, 0x0f, 0xae, 0x2f }, 4, PTR_FX, "xsave" },         /* xrstor64 */
    { { 0x0f, 0xae, 0x37 }, 3, PTR_FX, "xsaveopt" },            /* xsaveopt */
    { { 0x0f, 0xc7, 0x27 }, 3, PTR_FX, "xsavec" },              /* xsavec */
    { { 0xd9, 0x37 }, 2, PTR_ENV32, NULL },                     /* fnstenv */
    { { 0xd9, 0x27 }, 2, PTR_ENV32, NULL },                     /* fldenv */
    { { 0xdd, 0x37 }, 2, PTR_ENV32, NULL },                     /* fnsave */
    { { 0xdd, 0x27 }, 2, PTR_ENV32, NULL },                     /* frstor */
    { { 0x66, 0xd9, 0x37 }, 3, PTR_ENV16, NULL },
    { { 0x66, 0xd9, 0x27 }, 3, PTR_ENV16, NULL },
    { { 0x66, 0xdd, 0x37 }, 3, PTR_ENV16, NULL },
    { { 0x66, 0xdd, 0x27 }, 3, PTR_ENV16, NULL },
};

static unsigned cases_per_row = 400;

static bool host_runs(const char *feature)
{
    unsigned a, b, c, d;
    if (!feature)
        return true;
    if (!strcmp(feature, "xsave"))
        return fpn_has(FPN_OSXSAVE);
    return __get_cpuid_count(13, 1, &a, &b, &c, &d) && a >> (strcmp(feature, "xsaveopt") ? 1 : 0) & 1;
}

/* A header that is valid most of the time: standard or compacted. */
static void random_header(u8 *h)
{
    u64 xstate_bv = fpn_below(8), xcomp_bv = 0;
    memset(h, 0, 64);
    if (fpn_below(2)) {
        xcomp_bv = (u64)1 << 63 | xstate_bv | fpn_below(8);
        if (fpn_below(8) == 0)
            xcomp_bv &= ~(u64)(1 << fpn_below(3));
    }
    if (fpn_below(12) == 0)
        xstate_bv |= (u64)1 << 62;
    if (fpn_below(12) == 0)
        h[16 + fpn_below(48)] = 1;
    memcpy(h, &xstate_bv, 8);
    memcpy(h + 8, &xcomp_bv, 8);
}

static void random_state(struct vcpu *c, struct guest *g)
{
    for (unsigned i = 0; i < FPN_MEM; i += 8) {
        u64 v = fpn_random();
        memcpy(g->data + i, &v, 8);
    }
    u32 mxcsr = (u32)fpn_random() & 0xffff;
    if (fpn_below(8) == 0)
        mxcsr |= 1u << (20 + fpn_below(12));
    memcpy(g->data + 24, &mxcsr, 4);
    if (fpn_below(4) == 0)
        memcpy(g->data, &mxcsr, 4);     /* LDMXCSR */
    random_header(g->data + 512);
    for (unsigned i = 0; i < 16; i++)
        for (unsigned k = 0; k < 4; k++)
            c->vec[i].q[k] = fpn_random();      /* never in initial state: the host may not notice that */
    for (unsigned i = 0; i < 8; i++)
        c->x87.r[i] = fpn_f80();
    c->x87.cw = (u16)((fpn_random() & 0x1f00) | 0x7f);
    c->x87.sw = (u16)(fpn_random() & 0x7f7f);
    c->x87.empty = (u8)fpn_random();
    c->x87.fop = c->x87.fcs = c->x87.fds = 0;
    c->x87.fip = c->x87.fdp = 0;
    c->mxcsr = (u32)fpn_random() & 0xffff;
    c->rax = fpn_below(8);
    c->rdx = 0;
    c->rdi = GUEST_DATA;
    rflags_set(c, EFL_1);
}

/* The bytes of an image that are compared. */
static void blank_pointers(u8 *m, unsigned pointers)
{
    static const struct { u8 from, bytes; } span[] = { { 0, 0 }, { 6, 18 }, { 12, 16 }, { 6, 8 } };
    memset(m + span[pointers].from, 0, span[pointers].bytes);
    if (pointers == PTR_FX)
        memset(m + 28, 0, 4);       /* MXCSR mask */
}

static void compare(struct vcpu *c, struct guest *g, const struct row *row, bool ok)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    int fault = ok ? -1 : c->exc.vector;
    u8 valid = (u8)~c->x87.empty;
    char label[12];
    if (fault != fpn_fault)
        FPN_REPORT("\n  fault host %d ours %d", fpn_fault, fault);
    blank_pointers(fpn_mem, row->pointers);
    blank_pointers(g->data, row->pointers);
    for (unsigned i = 0; i < 16; i++) {
        snprintf(label, sizeof(label), "ymm%u", i);
        fpn_differ(label, &fpn.ymm[i], &c->vec[i], 32);
    }
    fpn_differ("mxcsr", fpn.fx + 24, &c->mxcsr, 4);
    fpn_differ("fcw", fpn.fx, &c->x87.cw, 2);
    fpn_differ("fsw", fpn.fx + 2, &c->x87.sw, 2);
    fpn_differ("ftw", fpn.fx + 4, &valid, 1);
    for (unsigned i = 0; i < 8; i++)
        fpn_differ("st", fpn.fx + 32 + 16 * i, &c->x87.r[(top + i) & 7], 10);
    for (unsigned i = 0; i < FPN_MEM; i += 8) {
        snprintf(label, sizeof(label), "mem+%u", i);
        fpn_differ(label, fpn_mem + i, g->data + i, 8);
    }
}

static unsigned run_row(struct guest *g, const struct row *row)
{
    struct vcpu *c = g->cpu;
    struct insn in;
    unsigned bad = 0;
    ck_assert_int_eq(insn_decode(&in, row->bytes, row->len, 8, NULL), DECODE_OK);
    for (unsigned n = 0; n < cases_per_row; n++) {
        random_state(c, g);
        fpn_load(c, g);
        u64 rax = c->rax;
        u8 header[16];
        memcpy(header, g->data + 512, 16);
        fpn_exec(row->bytes, row->len);
        fpn_reported = 0;
        c->exc.vector = 0xff;
        bool ok = in.run(c, &in);
        compare(c, g, row, ok);
        if (fpn_reported && bad++ < 2) {
            fpn_hex("header", header, 16);
            fprintf(stderr, "%s rax %llu%s\n", insn_rows[in.row].name, (unsigned long long)rax, fpn_report);
        }
    }
    if (bad)
        fprintf(stderr, "%s: %u of %u differ from the host\n", insn_rows[in.row].name, bad, cases_per_row);
    return bad;
}

START_TEST(native_images)
{
    struct guest *g = guest_new();
    unsigned bad = 0, ran = 0;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (!host_runs(rows[i].needs))
            continue;
        bad += run_row(g, &rows[i]);
        ran++;
    }
    guest_free(g);
    printf("FPU state native: %u encodings, %u cases\n", ran, ran * cases_per_row);
    ck_assert_uint_eq(bad, 0);
}
END_TEST

/* State that XRSTOR initialized is not in use: XSAVEOPT then writes the header only. */
START_TEST(initial_state)
{
    static const u8 xrstor[] = { 0x0f, 0xae, 0x2f }, xsaveopt[] = { 0x0f, 0xae, 0x37 };
    static const u8 untouched[160] = { 0 };
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    random_state(c, g);
    memset(g->data, 0, FPN_MEM);
    g->data[25] = 0x1f;
    g->data[24] = 0x80;
    c->rax = 7;
    ck_assert(guest_exec(g, xrstor, 3));
    ck_assert_uint_eq(c->x87.cw, 0x37f);
    ck_assert_uint_eq(c->x87.empty, 0xff);
    ck_assert_uint_eq(c->mxcsr, 0x1f80);
    memset(g->data, 0, FPN_MEM);
    memset(g->data + 512, 0xff, 8);
    ck_assert(guest_exec(g, xsaveopt, 3));
    u64 xstate_bv;
    memcpy(&xstate_bv, g->data + 512, 8);
    ck_assert_uint_eq(xstate_bv, ~(u64)7);
    ck_assert_mem_eq(g->data, untouched, 24);
    ck_assert_mem_eq(g->data + 32, untouched, 128);
    guest_free(g);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1)
        cases_per_row = (unsigned)strtoul(argv[1], NULL, 0);
    if (argc > 2)
        fpn_seed = strtoull(argv[2], NULL, 0) | 1;
    if (!fpn_setup()) {
        puts("skipped: needs an x86-64 host with AVX");
        return 77;
    }
    Suite *s = suite_create("fpu_state");
    TCase *t = tcase_create("native");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, native_images);
    tcase_add_test(t, initial_state);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
#else
#include <stdio.h>

int main(void)
{
    puts("skipped: this host is not an x86-64");
    return 77;
}
#endif
