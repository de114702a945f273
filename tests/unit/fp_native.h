/* fp_native.h - runs one floating-point instruction on the host CPU and in the interpreter, from the same random state.
 *
 * For test_x87.c, test_sse_fp.c, test_fpu_state.c, on x86-64 hosts with AVX. The instruction stands in a writable and
 * executable page and runs between two pieces of assembly that load and store x87, vector registers, MXCSR, flags, RAX
 * and RCX (RDX is 0). Memory operands are [RDI]: a buffer on the host, GUEST_DATA in the guest. An unmasked SSE
 * exception arrives as SIGFPE; the handler continues at the storing half, so that state after a fault is compared too.
 */
#ifndef SHADOW86_FP_NATIVE_H
#define SHADOW86_FP_NATIVE_H

#undef _GNU_SOURCE      /* or <signal.h> claims the names REG_RAX.. that insn.h gives to the guest's registers */
#define _DEFAULT_SOURCE 1
#include <cpuid.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu/interp.h"
#include "tests/unit/vec_guest.h"

enum { FPN_MEM = 1024 };

struct fpn_state {
    u8 fx[512];             /* 0: FXSAVE64 image */
    union vec ymm[16];      /* 512 */
    u64 rax, rcx, rflags;   /* 1024, 1032, 1040 */
    u64 code, rsp;          /* 1048, 1056 */
    void *rdi;              /* 1064 */
    u32 host_mxcsr;         /* 1072 */
} __attribute__((aligned(64)));

extern struct fpn_state fpn;
extern u8 fpn_mem[FPN_MEM];
struct fpn_state fpn;
u8 fpn_mem[FPN_MEM] __attribute__((aligned(64)));
void fpn_run(void);
extern char fpn_done[];

#define FPN_YMM(op) op(0, 512) op(1, 544) op(2, 576) op(3, 608) op(4, 640) op(5, 672) op(6, 704) op(7, 736) op(8, 768) \
    op(9, 800) op(10, 832) op(11, 864) op(12, 896) op(13, 928) op(14, 960) op(15, 992)
#define FPN_LOAD(i, at) "vmovdqu fpn+" #at "(%rip), %ymm" #i "\n"
#define FPN_SAVE(i, at) "vmovdqu %ymm" #i ", fpn+" #at "(%rip)\n"
__asm__(".pushsection .text\n"
        ".globl fpn_run\n .globl fpn_done\n"
        "fpn_run:\n"
        "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "stmxcsr fpn+1072(%rip)\n"
        "mov %rsp, fpn+1056(%rip)\n"
        "fxrstor64 fpn(%rip)\n"
        FPN_YMM(FPN_LOAD)
        "mov fpn+1064(%rip), %rdi\n"
        "xor %edx, %edx\n"
        "pushq fpn+1040(%rip)\n popfq\n"
        "mov fpn+1024(%rip), %rax\n mov fpn+1032(%rip), %rcx\n"
        "jmp *fpn+1048(%rip)\n"
        "fpn_done:\n"
        "mov fpn+1056(%rip), %rsp\n"
        "mov %rax, fpn+1024(%rip)\n mov %rcx, fpn+1032(%rip)\n"
        "pushfq\n popq fpn+1040(%rip)\n"
        "cld\n"
        FPN_YMM(FPN_SAVE)
        "fxsave64 fpn(%rip)\n"
        "fninit\n"
        "ldmxcsr fpn+1072(%rip)\n"
        "vzeroupper\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
        "ret\n"
        ".popsection\n");

static u8 *fpn_code;
static volatile int fpn_fault;      /* vector, or -1 */

static void fpn_on_fault(int sig, siginfo_t *info, void *context)
{
    enum { HOST_RIP = 16, HOST_TRAPNO = 20 };       /* mcontext_t.gregs as <sys/ucontext.h> numbers them */
    ucontext_t *u = context;
    u64 at = (u64)u->uc_mcontext.gregs[HOST_RIP];
    if (at - (u64)(uintptr_t)fpn_code > 64)
        _exit(99);                  /* not the instruction under test */
    fpn_fault = (int)u->uc_mcontext.gregs[HOST_TRAPNO];
    u->uc_mcontext.gregs[HOST_RIP] = (greg_t)(uintptr_t)fpn_done;
}

/* A feature bit of CPUID leaf 1, ECX. */
static inline bool fpn_has(unsigned bit)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c >> bit & 1;
}
enum { FPN_FMA = 12, FPN_XSAVE = 26, FPN_OSXSAVE = 27, FPN_AVX = 28, FPN_F16C = 29 };

/* False: this host cannot run the test. */
static bool fpn_setup(void)
{
    u32 xcr0 = 0, high;
    if (fpn_has(FPN_OSXSAVE))
        __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if (!fpn_has(FPN_AVX) || (xcr0 & 6) != 6)
        return false;
    fpn_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fpn_code == MAP_FAILED)
        return false;
    static const int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };
    struct sigaction sa = { .sa_sigaction = fpn_on_fault, .sa_flags = SA_SIGINFO };
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &sa, NULL);
    return true;
}

static void fpn_exec(const u8 *bytes, unsigned n)
{
    static const u8 jump[6] = { 0xff, 0x25 };       /* jmp *[rip+0] */
    u64 back = (u64)(uintptr_t)fpn_done;
    memcpy(fpn_code, bytes, n);
    memcpy(fpn_code + n, jump, 6);
    memcpy(fpn_code + n + 6, &back, 8);
    fpn.code = (u64)(uintptr_t)fpn_code;
    fpn.rdi = fpn_mem;
    fpn_fault = -1;
    fpn_run();
}

/* --- the guest's state to the host's, before the run --- */
static void fpn_load(const struct vcpu *c, const struct guest *g)
{
    const unsigned top = c->x87.sw >> 11 & 7;
    memset(fpn.fx, 0, sizeof(fpn.fx));
    memcpy(fpn.fx, &c->x87.cw, 2);
    memcpy(fpn.fx + 2, &c->x87.sw, 2);
    fpn.fx[4] = (u8)~c->x87.empty;
    memcpy(fpn.fx + 24, &c->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(fpn.fx + 32 + 16 * i, &c->x87.r[(top + i) & 7], 10);
    memcpy(fpn.ymm, c->vec, sizeof(fpn.ymm));
    memcpy(fpn_mem, g->data, FPN_MEM);
    fpn.rax = c->rax;
    fpn.rcx = c->rcx;
    fpn.rflags = rflags_get(c) | EFL_IF;
}

static char fpn_report[8000];
static size_t fpn_reported;
#define FPN_REPORT(...) \
    (fpn_reported += (size_t)snprintf(fpn_report + fpn_reported, sizeof(fpn_report) - fpn_reported, __VA_ARGS__))

static void fpn_hex(const char *label, const void *p, unsigned bytes)
{
    if (fpn_reported > sizeof(fpn_report) - 300)
        return;
    FPN_REPORT("\n  %s ", label);
    for (unsigned k = bytes; k--;)
        FPN_REPORT("%02x%s", ((const u8 *)p)[k], k % 8 || !k ? "" : "'");
}

static bool fpn_differ(const char *what, const void *host, const void *ours, unsigned bytes)
{
    char label[40];
    if (!memcmp(host, ours, bytes))
        return false;
    snprintf(label, sizeof(label), "%s host", what);
    fpn_hex(label, host, bytes);
    snprintf(label, sizeof(label), "%s ours", what);
    fpn_hex(label, ours, bytes);
    return true;
}

/* --- random numbers and values --- */
static u64 fpn_seed = 88172645463325252;
static u64 fpn_random(void)
{
    fpn_seed ^= fpn_seed << 13;
    fpn_seed ^= fpn_seed >> 7;
    fpn_seed ^= fpn_seed << 17;
    return fpn_seed * 0x9e3779b97f4a7c15;
}
static unsigned fpn_below(unsigned n) { return (unsigned)((fpn_random() >> 32) * n >> 32); }

/* Fractions of `bits` bits: few ones, runs of ones, halves and their neighbours, or anything. */
static u64 fpn_fraction(unsigned bits)
{
    const u64 all = bits == 64 ? ~(u64)0 : ((u64)1 << bits) - 1;
    u64 v;
    switch (fpn_below(8)) {
    case 0: v = 0; break;
    case 1: v = (u64)1 << fpn_below(bits); break;
    case 2: v = all << fpn_below(bits); break;
    case 3: v = all >> fpn_below(bits); break;
    case 4: v = ((u64)1 << fpn_below(bits)) + fpn_below(3) - 1; break;
    case 5: v = fpn_random() & fpn_random() & fpn_random(); break;
    default: v = fpn_random(); break;
    }
    return v & all;
}

static unsigned fpn_exponent(unsigned max)
{
    const unsigned bias = max / 2;
    switch (fpn_below(16)) {
    case 0: return 0;
    case 1: return max;
    case 2: return 1 + fpn_below(70 < max - 1 ? 70 : max - 1);
    case 3: return max - 1 - fpn_below(70 < max - 1 ? 70 : max - 1);
    case 4: return 1 + fpn_below(max - 1);
    case 5: return fpn_below(max + 1);
    default: return bias - 40 / (max < 100 ? 4 : 1) + fpn_below(80 / (max < 100 ? 4 : 1));
    }
}

static inline u32 fpn_f32(void)
{
    return (u32)fpn_below(2) << 31 | fpn_exponent(255) << 23 | (u32)fpn_fraction(23);
}
static inline u64 fpn_f64(void)
{
    return (u64)fpn_below(2) << 63 | (u64)fpn_exponent(2047) << 52 | fpn_fraction(52);
}
static inline u16 fpn_f16(void)
{
    return (u16)(fpn_below(2) << 15 | fpn_exponent(31) << 10 | (unsigned)fpn_fraction(10));
}
static inline struct f80 fpn_f80(void)
{
    unsigned exp = fpn_exponent(0x7fff);
    u64 mant = fpn_fraction(63) | (exp || !fpn_below(4) ? (u64)1 << 63 : 0);
    if (!fpn_below(24))
        mant &= ~((u64)1 << 63);            /* unnormals and other odd formats */
    if (!exp && !fpn_below(3))
        mant = 0;
    return (struct f80){ mant, (u16)(fpn_below(2) << 15 | exp) };
}

#endif
