/* test_simd_native.c - vector instructions against the host CPU, on x86-64 hosts with AVX.
 *
 * Every encoding of the maps 0F, 0F 38 and 0F 3A, legacy and VEX with either length, is tried with random operands;
 * what the decoder takes for one of our instructions is run natively and by the interpreter from the same random state,
 * and all registers, status flags, the x87/MMX state, memory and faults are compared. The first difference of each
 * instruction is printed with everything that it takes to see it again. So no second table is needed, and a row whose
 * operands are wrong shows up as well as a wrong in_<name>().
 *
 * Natively the instruction runs in an executable page between two pieces of assembly that load and store the whole
 * state at a fixed low address. A fault comes as a signal; its handler continues at the storing half, so that the state
 * at the fault is compared too. The guest's data lies at the same linear address in both worlds.
 *
 * Arguments: [cases per encoding [seed]].
 */
#if defined(__x86_64__)
#undef _GNU_SOURCE      /* or <signal.h> claims the names REG_RAX.. that insn.h gives to the guest's registers */
#define _DEFAULT_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/unit/vec_guest.h"

/* ---------------------------------------------------------------------------------------- the native side ----- */
#define STATE 0x11000000u
#define CODE 0x11010000u

struct native_state {
    u64 gpr[16];            /* 0 */
    u64 rflags;             /* 128 */
    u64 target, host_rsp;   /* 136, 144 */
    u32 host_mxcsr;         /* 152 */
    u8 pad[512 - 156];
    u8 fx[512];             /* 512: FXSAVE image */
    union vec ymm[16];      /* 1024 */
};
static_assert(offsetof(struct native_state, fx) == 512 && offsetof(struct native_state, ymm) == 1024,
              "the assembly below knows these offsets");

void simd_native_run(void);
extern char simd_native_done[];

#define YMM_ALL(op) op(0, 0x11000400) op(1, 0x11000420) op(2, 0x11000440) op(3, 0x11000460) op(4, 0x11000480) \
    op(5, 0x110004a0) op(6, 0x110004c0) op(7, 0x110004e0) op(8, 0x11000500) op(9, 0x11000520) op(10, 0x11000540) \
    op(11, 0x11000560) op(12, 0x11000580) op(13, 0x110005a0) op(14, 0x110005c0) op(15, 0x110005e0)
#define YMM_LOAD(i, at) "vmovdqu " #at ", %ymm" #i "\n"
#define YMM_SAVE(i, at) "vmovdqu %ymm" #i ", " #at "\n"
#define GPR_ALL(op) op(rax, 0x11000000) op(rcx, 0x11000008) op(rdx, 0x11000010) op(rbx, 0x11000018) \
    op(rbp, 0x11000028) op(rsi, 0x11000030) op(rdi, 0x11000038) op(r8, 0x11000040) op(r9, 0x11000048) \
    op(r10, 0x11000050) op(r11, 0x11000058) op(r12, 0x11000060) op(r13, 0x11000068) op(r14, 0x11000070) \
    op(r15, 0x11000078) op(rsp, 0x11000020)
#define GPR_LOAD(r, at) "mov " #at ", %" #r "\n"
#define GPR_SAVE(r, at) "mov %" #r ", " #at "\n"

__asm__(".text\n"
        ".globl simd_native_run\n"
        ".globl simd_native_done\n"
        "simd_native_run:\n"
        "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, 0x11000090\n"
        "stmxcsr 0x11000098\n"
        "fxrstor64 0x11000200\n"
        YMM_ALL(YMM_LOAD)
        "pushq 0x11000080\n popfq\n"
        GPR_ALL(GPR_LOAD)
        "jmp *0x11000088\n"
        "simd_native_done:\n"
        GPR_ALL(GPR_SAVE)
        "mov 0x11000090, %rsp\n"
        "pushfq\n popq 0x11000080\n"
        "cld\n"
        YMM_ALL(YMM_SAVE)
        "fxsave64 0x11000200\n"
        "fninit\n"
        "ldmxcsr 0x11000098\n"
        "vzeroupper\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
        "ret\n");

static struct native_state *const native = (void *)(uintptr_t)STATE;
static u8 *const native_code = (void *)(uintptr_t)CODE;
static u8 *const native_data = (void *)(uintptr_t)GUEST_DATA;

/* Indices of mcontext_t.gregs, as <sys/ucontext.h> numbers them under _GNU_SOURCE. */
enum { HOST_RIP = 16, HOST_ERR = 19, HOST_TRAPNO = 20, HOST_CR2 = 22 };

/* What a fault looked like: vector -1 if there was none. */
struct fault { int vector; u32 error; u64 cr2; };
static volatile struct fault native_fault;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if ((u64)regs[HOST_RIP] - CODE >= PAGE_SIZE) {      /* our own fault: once more, and die of it */
        signal(sig, SIG_DFL);
        return;
    }
    native_fault.vector = (int)regs[HOST_TRAPNO];
    native_fault.error = (u32)regs[HOST_ERR];
    native_fault.cr2 = (u64)regs[HOST_CR2];
    regs[HOST_RIP] = (greg_t)(uintptr_t)simd_native_done;
}

static bool map_at(u64 at, size_t bytes, int prot)
{
    void *want = (void *)(uintptr_t)at;
    return mmap(want, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == want;
}

static bool native_setup(void)
{
    static u8 stack[65536];
    const stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
    struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    if (!__builtin_cpu_supports("avx") || !map_at(STATE, sizeof(struct native_state), PROT_READ | PROT_WRITE) ||
        !map_at(CODE, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) ||
        !map_at(GUEST_DATA, GUEST_BYTES, PROT_READ | PROT_WRITE) ||
        !map_at(GUEST_DATA + GUEST_BYTES, PAGE_SIZE, PROT_NONE))
        return false;
    sigaltstack(&alt, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    sigaction(SIGILL, &sa, NULL);
    sigaction(SIGFPE, &sa, NULL);
    return true;
}

/* The instruction, then jmp *[rip] to the storing half. */
static void native_exec(const u8 *bytes, unsigned n)
{
    static const u8 jump[6] = { 0xff, 0x25 };
    const u64 done = (u64)(uintptr_t)simd_native_done;
    memcpy(native_code, bytes, n);
    memcpy(native_code + n, jump, 6);
    memcpy(native_code + n + 6, &done, 8);
    native->target = CODE;
    native_fault.vector = -1;
    simd_native_run();
}

static bool host_has(enum cpuid_feature f)
{
    static const struct { u32 leaf, sub; u8 reg, bit; } bits[] = {
#define F(id, name, leaf, sub, reg, bit) [CPUID_##id] = { leaf, sub, reg, bit },
        CPUID_FEATURES(F)
#undef F
    };
    u32 r[4] = { 0 };
    if (f == CPUID_BASE)
        return true;
    return __get_cpuid_count(bits[f].leaf, bits[f].sub, &r[0], &r[1], &r[2], &r[3]) &&
        (r[bits[f].reg] >> bits[f].bit & 1);
}

/* ----------------------------------------------------------------------------------------- random numbers ----- */
static u64 seed = 1;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1d;
}

static unsigned below(unsigned n) { return (unsigned)((rnd() >> 32) % n); }

/* Registers of one kind each: anything, boundary values, small numbers (counts, lengths, indices), text with few
 * letters and terminators, bytes with only the sign bit. */
static void random_vector(union vec *v)
{
    static const u64 edges[] = {
        0, ~(u64)0, 0x8000000000000000, 0x7fffffffffffffff, 0x8000000080000000, 0x7fffffff7fffffff, 0x8000800080008000,
        0x7fff7fff7fff7fff, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f, 1, 0x0000000100000001, 0x0001000100010001,
        0x00ff00ff00ff00ff, 0x3ff0000000000000,
    };
    const unsigned kind = below(8);
    for (unsigned i = 0; i < 4; i++) {
        switch (kind) {
        case 0: v->q[i] = edges[below(ARRAY_LEN(edges))]; break;
        case 1: v->q[i] = below(80); break;
        case 2: v->q[i] = (u64)below(70) << 32 | below(70); break;
        case 3: v->q[i] = rnd() & 0x0303030303030303; break;
        case 4: v->q[i] = rnd() & 0x8080808080808080; break;
        case 5: v->q[i] = below(2) ? rnd() : edges[below(ARRAY_LEN(edges))]; break;
        default: v->q[i] = rnd(); break;
        }
    }
}

/* ------------------------------------------------------------------------------------------- instructions ----- */
struct form { u8 pfx, map, op, vex, l, w; };    /* pfx 0..3: none 66 F3 F2; map 1..3: 0F, 0F38, 0F3A */

struct test_case {
    u8 bytes[16];
    struct insn in;
    u8 base, index, scale;      /* of the memory form */
    s8 disp;
};

/* A random instance of a form: registers, or [base + index * scale + disp8] with either address size.
 * Returns whether it decodes to one of ours. */
static bool make_case(struct test_case *t, struct form f)
{
    static const u8 prefixes[] = { 0, 0x66, 0xf3, 0xf2 }, escapes[] = { 0, 0, 0x38, 0x3a };
    u8 *p = t->bytes;
    const unsigned reg = below(16), rm = below(16), vvvv = below(2) ? below(16) : 0;
    const bool memory = below(2);
    t->base = (u8)rm;
    t->index = (u8)below(16);
    t->scale = (u8)below(4);
    t->disp = (s8)rnd();
    if (t->base == REG_RSP)
        t->base = REG_RBX;
    if (t->index == t->base)
        t->index = REG_RSP;     /* in a SIB byte: none */
    if (below(8) == 0)
        *p++ = 0x67;                /* 32-bit addresses reach the data as well */
    const unsigned b = memory ? t->base : rm, x = memory ? t->index >> 3 : 0;
    if (f.vex) {
        *p++ = 0xc4;
        *p++ = (u8)((reg & 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b & 8 ? 0 : 0x20) | f.map);
        *p++ = (u8)(f.w << 7 | (~vvvv & 15) << 3 | f.l << 2 | f.pfx);
    } else {
        if (f.pfx)
            *p++ = prefixes[f.pfx];
        *p++ = (u8)(0x40 | f.w << 3 | (reg & 8) >> 1 | x << 1 | b >> 3);
        *p++ = 0x0f;
        if (f.map > 1)
            *p++ = escapes[f.map];
    }
    *p++ = f.op;
    *p++ = (u8)((memory ? 0x44 : 0xc0 | (rm & 7)) | (reg & 7) << 3);
    if (memory) {
        *p++ = (u8)(t->scale << 6 | (t->index & 7) << 3 | (t->base & 7));
        *p++ = (u8)t->disp;
    }
    *p++ = (u8)rnd();
    return insn_decode(&t->in, t->bytes, (unsigned)(p - t->bytes), 8, NULL) == DECODE_OK &&
        owned_index(insn_rows[t->in.row].name) >= 0;
}

/* AMD processors take the SHA instructions' memory operand at any alignment; we #GP as Intel's do (SDM 2, SHA1RNDS4:
 * exceptions type 4). */
static bool host_ignores_alignment(const struct test_case *t)
{
    return insn_rows[t->in.row].cpuid == CPUID_SHA;
}

/* Offsets into the data: aligned in most cases, anywhere, or across its end. */
static u64 random_offset(void)
{
    switch (below(8)) {
    case 0: return below(GUEST_BYTES - 64);
    case 1: return PAGE_SIZE - 40 + below(64);
    case 2: return GUEST_BYTES - 40 + below(48);
    case 3: return below(GUEST_BYTES / 16 - 4) * 16;
    default: return below(GUEST_BYTES / 32 - 2) * 32;
    }
}

/* Gather indices: small ones, sometimes one that is far out; as doublewords and as quadwords. */
static void random_indices(union vec *v, const struct test_case *t)
{
    const bool qwords = below(2);
    for (unsigned i = 0; i < 8; i++) {
        s32 x = (s32)below(96) - 48;
        v->sd[i] = !qwords ? x : i & 1 ? -(v->sd[i - 1] < 0) : x;
    }
    if (below(4) == 0)
        v->sd[below(8)] = below(2) ? 0x7fffffff : (s32)(GUEST_BYTES >> t->scale);
}

static void random_state(struct vcpu *c, struct guest *g, const struct test_case *t)
{
    for (unsigned i = 0; i < 16; i++) {
        c->gpr[i] = below(3) ? rnd() : (u64)(s64)((int)below(40) - 20);
        random_vector(&c->vec[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        union vec v;
        random_vector(&v);
        c->x87.r[i] = (struct f80){ .mant = v.q[0], .se = (u16)rnd() };
    }
    c->x87.cw = 0x37f;
    c->x87.sw = (u16)(rnd() & 0x7d00);      /* TOP, condition codes; no exceptions */
    c->x87.empty = (u8)rnd();
    c->mxcsr = 0x1f80;
    for (unsigned i = 0; i < GUEST_BYTES; i += 32) {
        union vec v;
        random_vector(&v);
        memcpy(g->data + i, v.b, 32);
    }
    c->rdi = GUEST_DATA + below(GUEST_BYTES - 64);  /* MASKMOVDQU: unselected bytes may or may not fault, SDM 2 */
    if (!t->in.modrm_mem)
        return;
    u64 ea = GUEST_DATA + (random_offset() & (host_ignores_alignment(t) ? ~(u64)15 : ~(u64)0)) - (u64)(s64)t->disp;
    if (t->in.vsib) {
        random_indices(&c->vec[t->index], t);
        ea = GUEST_DATA + GUEST_BYTES / 2 - (u64)(s64)t->disp;
    } else if (t->index != REG_RSP) {
        c->gpr[t->index] = rnd() >> below(64);
        ea -= c->gpr[t->index] << t->scale;
    }
    c->gpr[t->base] = ea;
}

/* ---------------------------------------------------------------------------------------------- comparison ----- */
static void to_native(const struct vcpu *c, const struct guest *g)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    memcpy(native->gpr, c->gpr, sizeof(native->gpr));
    native->rflags = rflags_get(c) | EFL_IF;
    memset(native->fx, 0, sizeof(native->fx));
    memcpy(native->fx, &c->x87.cw, 2);
    memcpy(native->fx + 2, &c->x87.sw, 2);
    native->fx[4] = (u8)~c->x87.empty;
    memcpy(native->fx + 24, &c->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(native->fx + 32 + 16 * i, &c->x87.r[(top + i) & 7], 10);
    memcpy(native->ymm, c->vec, sizeof(native->ymm));
    memcpy(native_data, g->data, GUEST_BYTES);
}

static char report[4000];
static size_t reported;

#define REPORT(...) (reported += (size_t)snprintf(report + reported, sizeof(report) - reported, __VA_ARGS__))

static void differ(const char *what, unsigned i, const void *host, const void *ours, unsigned bytes)
{
    if (!memcmp(host, ours, bytes) || reported > sizeof(report) - 300)
        return;
    REPORT("\n  %s%u host ", what, i);
    for (unsigned k = bytes; k--;)
        REPORT("%02x%s", ((const u8 *)host)[k], k % 8 || !k ? "" : "'");
    REPORT("\n  %s%u ours ", what, i);
    for (unsigned k = bytes; k--;)
        REPORT("%02x%s", ((const u8 *)ours)[k], k % 8 || !k ? "" : "'");
}

/* Linux reports a fault above user space as a protection fault, whatever is there. */
static u32 comparable(const struct fault *f)
{
    return f->vector == EXC_PF && f->cr2 >> 47 ? f->error | PF_P : f->vector < 0 ? 0 : f->error;
}

static void compare(const struct vcpu *c, const struct guest *g, bool ok)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    const u64 flags = rflags_get(c) & EFL_STATUS, host_flags = native->rflags & EFL_STATUS;
    const struct fault host = native_fault;
    struct fault ours = { -1, 0, host.cr2 };
    if (!ok) {
        ours.vector = c->exc.vector;
        ours.error = c->exc.has_error ? c->exc.error : 0;
        ours.cr2 = c->exc.vector == EXC_PF ? c->cr2 : host.cr2;
    }
    if (ours.vector != host.vector || comparable(&ours) != comparable(&host) || ours.cr2 != host.cr2) {
        REPORT("\n  fault host %d(%x) %llx ours %d(%x) %llx", host.vector, host.error, (unsigned long long)host.cr2,
               ours.vector, ours.error, (unsigned long long)ours.cr2);
    }
    for (unsigned i = 0; i < 16; i++) {
        differ("gpr", i, &native->gpr[i], &c->gpr[i], 8);
        differ("ymm", i, &native->ymm[i], &c->vec[i], 32);
    }
    differ("flags", 0, &host_flags, &flags, 2);
    differ("fsw", 0, native->fx + 2, &c->x87.sw, 2);
    u8 valid = (u8)~c->x87.empty;
    differ("ftw", 0, native->fx + 4, &valid, 1);
    for (unsigned i = 0; i < 8; i++)
        differ("st", i, native->fx + 32 + 16 * i, &c->x87.r[(top + i) & 7], 10);
    differ("mxcsr", 0, native->fx + 24, &c->mxcsr, 4);
    for (unsigned i = 0; i < GUEST_BYTES; i += 16)
        differ("mem", i, native_data + i, g->data + i, 16);
}

/* The instruction, its bytes, what differs, and what its register operands held before. */
static void print_difference(const struct test_case *t, const struct vcpu *before)
{
    static const u8 zero[32];
    char text[100];
    REPORT("\n  before:");
    for (unsigned i = 0; i < 4; i++) {
        const struct operand *o = &t->in.op[i];
        if (o->kind == OP_VEC)
            differ("ymm", o->reg, zero, &before->vec[o->reg], 32);
        if (o->kind == OP_GPR)
            differ("gpr", o->reg, zero, &before->gpr[o->reg], 8);
    }
    insn_print(text, sizeof(text), &t->in, CODE);
    fprintf(stderr, "%s (", text);
    for (unsigned i = 0; i < t->in.len; i++)
        fprintf(stderr, "%02x", t->bytes[i]);
    fprintf(stderr, ")%s\n", report);
}

/* Runs t on a random state in both worlds. False if they differ. */
static bool run_case(struct guest *g, const struct test_case *t, bool quiet)
{
    struct vcpu *c = g->cpu;
    random_state(c, g, t);
    to_native(c, g);
    const struct vcpu before = *c;
    c->rip = CODE + t->in.len;
    c->exc.vector = 0xff;
    const bool ok = t->in.run(c, &t->in);
    native_exec(t->bytes, t->in.len);
    reported = 0;
    compare(c, g, ok);
    if (reported && !quiet)
        print_difference(t, &before);
    return !reported;
}

/* ------------------------------------------------------------------------------------------------ the suite ----- */
static unsigned cases_per_form = 60;
static unsigned exercised[ARRAY_LEN(owned_names)], different[ARRAY_LEN(owned_names)], forms_run;

static bool runnable(const struct test_case *t)
{
    const bool avx2 = t->in.vex && t->in.vl == 32 && !host_has(CPUID_AVX2);
    return host_has((enum cpuid_feature)insn_rows[t->in.row].cpuid) && !avx2;
}

static void run_form(struct guest *g, struct form f)
{
    struct test_case t;
    unsigned tries = 0, done = 0;
    while (done < cases_per_form && tries < 100 + 64 * done) {
        tries++;
        if (!make_case(&t, f) || !runnable(&t))
            continue;
        const int i = owned_index(insn_rows[t.in.row].name);
        different[i] += !run_case(g, &t, different[i] > 0);
        exercised[i]++;
        done++;
    }
    forms_run += done > 0;
}

START_TEST(native_all)
{
    struct guest *g = guest_new();
    for (unsigned map = 1; map <= 3; map++) {
        for (unsigned op = 0; op < 256; op++) {
            if (map == 1 && (op == 0x38 || op == 0x3a))     /* the other maps' escapes */
                continue;
            for (unsigned i = 0; i < 24; i++) {
                struct form f = { (u8)(i & 3), (u8)map, (u8)op, i >= 8, i >= 16, i >> 2 & 1 };
                run_form(g, f);
            }
        }
    }
    guest_free(g);
    u64 total = 0, bad = 0;
    for (unsigned i = 0; i < ARRAY_LEN(owned_names); i++) {
        total += exercised[i];
        bad += different[i];
        if (different[i])
            fprintf(stderr, "%s: %u of %u differ from the host\n", owned_names[i], different[i], exercised[i]);
    }
    printf("%u encodings, %llu cases\n", forms_run, (unsigned long long)total);
    ck_assert_uint_eq(bad, 0);
    for (unsigned row = 0; row < insn_row_count; row++) {
        int i = owned_index(insn_rows[row].name);
        if (i >= 0 && host_has((enum cpuid_feature)insn_rows[row].cpuid))
            ck_assert_msg(exercised[i] > 0, "%s was never run", owned_names[i]);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1)
        cases_per_form = (unsigned)strtoul(argv[1], NULL, 0);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 0) | 1;
    if (!native_setup()) {
        puts("skipped: needs an x86-64 host with AVX and fixed low mappings");
        return 77;
    }
    Suite *s = suite_create("simd_native");
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
