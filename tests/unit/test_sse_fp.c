/* test_sse_fp.c - SSE, AVX, FMA and F16C floating-point instructions against the host CPU, on x86-64 hosts with AVX.
 *
 * Every encoding of the maps 0F, 0F 38 and 0F 3A, legacy and VEX with both lengths, that the decoder takes for one of
 * the instructions below runs natively and in the interpreter from the same random state: values of all kinds, rounding
 * modes, DAZ, FZ, exceptions masked and unmasked (#XM). Registers, MXCSR, flags, MMX state and faults must be equal.
 * RCP and RSQRT, which differ between processors, must agree within their documented errors.
 *
 * Arguments: [cases per encoding [seed]].
 */
#if defined(__x86_64__)
#include "tests/unit/fp_native.h"

static const char *const owned[] = {
    "add", "sub", "mul", "div", "min", "max", "sqrt", "cmp", "round", "dp", "addsub", "hadd", "hsub", "rcp", "rsqrt",
    "comi", "ucomi", "cvt", "vcvt", "vfm", "vfnm",
};
static const char *const not_owned[] = {
    "mul", "mulx", "add", "sub", "div", "cmp", "cmps", "cmpxchg", "cmpxchg8b", "cmpxchg16b",
};

static bool is_owned(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(not_owned); i++) {
        if (!strcmp(name, not_owned[i]))
            return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(owned); i++) {
        if (!strncmp(name, owned[i], strlen(owned[i])))
            return true;
    }
    return false;
}

static unsigned cases_per_form = 150;

/* --- an encoding --- */
struct form { u8 map, op, pp; bool vex, w, l; };
static const u8 prefix_byte[4] = { 0, 0x66, 0xf3, 0xf2 };

static unsigned encode(u8 *b, struct form f, unsigned vvvv, u8 modrm, u8 imm)
{
    unsigned n = 0;
    if (f.vex) {
        b[n++] = 0xc4;
        b[n++] = (u8)(0xe0 | f.map);
        b[n++] = (u8)(f.w << 7 | (~vvvv & 15) << 3 | f.l << 2 | f.pp);
    } else {
        if (f.pp)
            b[n++] = prefix_byte[f.pp];
        if (f.w)
            b[n++] = 0x48;
        b[n++] = 0x0f;
        if (f.map > 1)
            b[n++] = f.map == 2 ? 0x38 : 0x3a;
    }
    b[n++] = f.op;
    b[n++] = modrm;
    b[n++] = imm;       /* decoded only where the instruction has one */
    return n;
}

static bool host_runs(const struct insn *in)
{
    switch (insn_rows[in->row].cpuid) {
    case CPUID_FMA: return fpn_has(FPN_FMA);
    case CPUID_F16C: return fpn_has(FPN_F16C);
    default: return true;
    }
}

/* Vector registers are free; general registers are RAX and RCX. */
static bool usable(const struct insn *in)
{
    for (unsigned i = 0; i < 4; i++) {
        if (in->op[i].kind == OP_GPR && in->op[i].reg > 1)
            return false;
        if (in->op[i].kind == OP_MEM && in->base != REG_RDI)
            return false;
    }
    return true;
}

/* --- states --- */
enum fill { FILL_F32, FILL_F64, FILL_INT, FILL_F16, FILL_KINDS };

static void random_vec(union vec *v, enum fill f)
{
    for (unsigned i = 0; i < 4; i++) {
        switch (f) {
        case FILL_F32: v->q[i] = (u64)fpn_f32() << 32 | fpn_f32(); break;
        case FILL_F64: v->q[i] = fpn_f64(); break;
        case FILL_F16: v->q[i] = (u64)fpn_f16() << 48 | (u64)fpn_f16() << 32 | (u64)fpn_f16() << 16 | fpn_f16(); break;
        default: v->sq[i] = (s64)fpn_random() >> fpn_below(64); break;
        }
    }
}

/* Some lanes near or opposite to another register's. */
static void relate(union vec *a, const union vec *b)
{
    for (unsigned i = 0; i < 8; i++) {
        if (fpn_below(4) == 0)
            a->d[i] = b->d[i] + (i & 1 ? 0 : fpn_below(3) - 1);
        if (i & 1 && fpn_below(8) == 0)
            a->d[i] ^= 0x80000000;
    }
}

static void random_state(struct vcpu *c, struct guest *g, const struct insn *in)
{
    const char *name = insn_rows[in->row].name;
    enum fill f = (enum fill)fpn_below(2);
    if (!strncmp(name, "cvtsi", 5) || !strncmp(name, "cvtpi", 5) || !strncmp(name, "cvtdq", 5))
        f = FILL_INT;
    if (!strcmp(name, "vcvtph2ps"))
        f = FILL_F16;
    for (unsigned i = 0; i < 16; i++)
        random_vec(&c->vec[i], f);
    if (fpn_below(2))
        relate(&c->vec[fpn_below(8)], &c->vec[fpn_below(8)]);
    for (unsigned i = 0; i < FPN_MEM; i += 32) {
        union vec v;
        random_vec(&v, f);
        if (fpn_below(2))
            relate(&v, &c->vec[fpn_below(8)]);
        memcpy(g->data + i, v.b, 32);
    }
    c->rax = (u64)((s64)fpn_random() >> fpn_below(64));
    c->rcx = (u64)((s64)fpn_random() >> fpn_below(64));
    c->rdi = GUEST_DATA;
    c->mxcsr = (fpn_below(3) ? 0x1f80 : (u32)fpn_below(64) << 7) | (u32)fpn_below(4) << 13 | (fpn_random() & 0x3f);
    if (fpn_below(3) == 0)
        c->mxcsr |= (u32)(fpn_random() & 0x8040);
    if (fpn_below(4) == 0)
        c->mxcsr = 0x1fa0;      /* the fast way */
    c->x87.cw = 0x37f;
    c->x87.sw = (u16)(fpn_random() & 0x7f7f);
    c->x87.empty = (u8)fpn_random();
    for (unsigned i = 0; i < 8; i++)
        c->x87.r[i] = (struct f80){ fpn_random(), (u16)fpn_random() };
    rflags_set(c, EFL_1 | (fpn_random() & EFL_STATUS));
}

/* --- comparison --- */
static bool approximately(u32 a, u32 b)
{
    float x, y;
    if (a == b)
        return true;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    if (!(x - x == 0) || !(y - y == 0) || (a ^ b) >> 31)
        return false;
    double d = (double)x - y, big = x < 0 ? -x : x;
    return (d < 0 ? -d : d) <= big * (3.0 / 4096) || (big < 1.2e-38 && (y < 0 ? -y : y) < 1.2e-38);
}

static void forgive_approximation(const struct insn *in, struct vcpu *c)
{
    const char *name = insn_rows[in->row].name;
    if (strncmp(name, "rcp", 3) && strncmp(name, "rsqrt", 5))
        return;
    union vec *ours = &c->vec[in->op[0].reg], *host = &fpn.ymm[in->op[0].reg];
    for (unsigned i = 0; i < 8; i++) {
        if (approximately(host->d[i], ours->d[i]))
            ours->d[i] = host->d[i];
    }
}

static void compare(const struct insn *in, struct vcpu *c, const struct guest *g, bool ok)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    int fault = ok ? -1 : c->exc.vector;
    u32 flags = (u32)rflags_get(c) & EFL_STATUS, host_flags = (u32)fpn.rflags & EFL_STATUS;
    u8 valid = (u8)~c->x87.empty;
    char label[8];
    forgive_approximation(in, c);
    if (fault != fpn_fault)
        FPN_REPORT("\n  fault host %d ours %d", fpn_fault, fault);
    for (unsigned i = 0; i < 16; i++) {
        snprintf(label, sizeof(label), "ymm%u", i);
        fpn_differ(label, &fpn.ymm[i], &c->vec[i], 32);
    }
    fpn_differ("mxcsr", fpn.fx + 24, &c->mxcsr, 4);
    fpn_differ("flags", &host_flags, &flags, 4);
    fpn_differ("rax", &fpn.rax, &c->rax, 8);
    fpn_differ("rcx", &fpn.rcx, &c->rcx, 8);
    fpn_differ("fsw", fpn.fx + 2, &c->x87.sw, 2);
    fpn_differ("ftw", fpn.fx + 4, &valid, 1);
    for (unsigned i = 0; i < 8; i++)
        fpn_differ("st", fpn.fx + 32 + 16 * i, &c->x87.r[(top + i) & 7], 10);
    fpn_differ("mem", fpn_mem, g->data, 64);
}

static void print_case(const struct insn *in, const u8 *bytes, const struct vcpu *before, const u8 *mem)
{
    char text[100];
    insn_print(text, sizeof(text), in, 0);
    FPN_REPORT("\n  before: mxcsr %04x", before->mxcsr);
    for (unsigned i = 0; i < 4; i++) {
        if (in->op[i].kind == OP_VEC)
            fpn_hex("source", &before->vec[in->op[i].reg], 32);
        if (in->op[i].kind == OP_MEM)
            fpn_hex("mem", mem, 32);
    }
    FPN_REPORT("\n  bytes");
    for (unsigned i = 0; i < in->len; i++)
        FPN_REPORT(" %02x", bytes[i]);
    fprintf(stderr, "%s%s\n", text, fpn_report);
}

/* --- the suite --- */
static u64 total_cases, total_bad, forms;

static bool run_case(struct guest *g, const struct insn *in, const u8 *bytes, bool quiet)
{
    static struct vcpu before;
    struct vcpu *c = g->cpu;
    u8 mem[32];
    random_state(c, g, in);
    fpn_load(c, g);
    before = *c;
    memcpy(mem, g->data, 32);
    fpn_exec(bytes, in->len);
    fpn_reported = 0;
    c->exc.vector = 0xff;
    bool ok = in->run(c, in);
    compare(in, c, g, ok);
    if (fpn_reported && !quiet)
        print_case(in, bytes, &before, mem);
    return !fpn_reported;
}

static void run_form(struct guest *g, struct form f)
{
    const char *name = NULL;
    unsigned done = 0, bad = 0;
    for (unsigned tries = 0; done < cases_per_form && tries < 40 + 30 * done; tries++) {
        u8 bytes[16];
        struct insn in;
        u8 modrm = fpn_below(4) ? (u8)(0xc0 | fpn_below(64)) : (u8)(7 | fpn_below(8) << 3);
        unsigned n = encode(bytes, f, fpn_below(3) ? fpn_below(16) : 0, modrm, (u8)fpn_random());
        if (insn_decode(&in, bytes, n, 8, NULL) != DECODE_OK || in.len > n || in.len < n - 1)
            continue;
        if (!is_owned(insn_rows[in.row].name) || !host_runs(&in) || !usable(&in))
            continue;
        name = insn_rows[in.row].name;
        done++;
        bad += !run_case(g, &in, bytes, bad >= 3);
    }
    total_cases += done;
    total_bad += bad;
    forms += done > 0;
    if (bad)
        fprintf(stderr, "%s (map %u op %02x pp %u vex %d w %d l %d): %u of %u differ from the host\n", name, f.map,
                f.op, f.pp, f.vex, f.w, f.l, bad, done);
}

START_TEST(native_all)
{
    struct guest *g = guest_new();
    for (unsigned map = 1; map <= 3; map++) {
        for (unsigned op = 0; op < 256; op++) {
            if (map == 1 && (op == 0x38 || op == 0x3a))
                continue;
            for (unsigned i = 0; i < 24; i++) {
                struct form f = { (u8)map, (u8)op, (u8)(i & 3), i >= 8, i >> 2 & 1, i >= 16 };
                run_form(g, f);
            }
        }
    }
    guest_free(g);
    printf("SSE FP native: %llu encodings, %llu cases\n", (unsigned long long)forms, (unsigned long long)total_cases);
    ck_assert_uint_eq(total_bad, 0);
    ck_assert_uint_gt(forms, 300);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1)
        cases_per_form = (unsigned)strtoul(argv[1], NULL, 0);
    if (argc > 2)
        fpn_seed = strtoull(argv[2], NULL, 0) | 1;
    if (!fpn_setup()) {
        puts("skipped: needs an x86-64 host with AVX");
        return 77;
    }
    Suite *s = suite_create("sse_fp");
    TCase *t = tcase_create("native");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, native_all);
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
