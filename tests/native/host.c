/* host.c - runs one instruction on the host CPU from a given state, in 64-, 32- and 16-bit code, and catches what it
 * does.
 *
 * rt_sigreturn loads the state, code segment included, from a signal frame of our own making (a copy of a real one with
 * the registers replaced). The instruction ends in some signal: its fault, INT3 where nothing else is to be executed
 * (the code pages are full of them), or the fault of fetching where a branch has gone. The handler copies the frame out
 * and returns to host_enter's caller. So nothing of the state is out of reach, RSP and RIP neither, and no instruction
 * needs a way back of its own. Only what has to stop in itself (one iteration of a REP string instruction) is run with
 * TF: a #DB costs several times as much under a hypervisor.
 *
 * What the frame does not carry: segment registers but CS and SS, and NT and ID of the flags: host_entry.S.
 * The local descriptor table gives 16-bit code and segments with bases and limits.
 */
#include "tests/native/state.h"

#if defined(__x86_64__)
#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

u8 *host_data;
static u8 *const code = (void *)(uintptr_t)CODE_AT;

enum { EFLAGS_TF = 0x100, EFLAGS_NT = 0x4000, EFLAGS_ID = 0x200000 };

/* host_entry.S knows the offsets. */
struct host_live {
    u16 es, ds, fs, gs;
    u64 fsbase, gsbase, flags, set_bases, own_fsbase, own_rsp;
};
extern struct host_live host_live;
struct host_live host_live;
void host_enter(ucontext_t *frame);
void host_take_frame(void);
void host_signal_entry(int signo, siginfo_t *info, void *context);
void host_on_signal(int signo, siginfo_t *info, void *context);

static struct native_state *current; /* NULL: nothing runs */
static bool run_step;

/* The frame: its extended state stands apart, 64-byte aligned. */
static ucontext_t frame;
static u8 frame_state[4096] __attribute__((aligned(64)));

static const u8 greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

/* ------------------------------------------------------------------------------------------- the signal frame --- */

enum { XSTATE_BV = 512, YMMH = 576 }; /* SDM 1 13.4.2; CPUID.(0DH,2):EBX is checked in host_setup */

static void put_state(ucontext_t *u, const struct native_state *s)
{
    greg_t *r = u->uc_mcontext.gregs;
    u8 *fp = (u8 *)u->uc_mcontext.fpregs;
    u64 all = 7;
    for (unsigned i = 0; i < 16; i++)
        r[greg_of[i]] = (greg_t)s->gpr[i];
    r[REG_RIP] = (greg_t)s->rip;
    r[REG_EFL] = (greg_t)(s->rflags | (run_step ? EFLAGS_TF : 0));
    r[REG_CSGSFS] = (greg_t)((u64)s->sel[1] | (u64)s->sel[2] << 48);
    memcpy(fp, s->fx, 416);
    memcpy(fp + XSTATE_BV, &all, 8);
    memcpy(fp + YMMH, s->ymmh, 256);
    host_live.es = s->sel[0];
    host_live.ds = s->sel[3];
    host_live.fs = s->sel[4];
    host_live.gs = s->sel[5];
    host_live.fsbase = s->fsbase;
    host_live.gsbase = s->gsbase;
    host_live.set_bases = s->sel[1] == SEL_CODE64;
    host_live.flags = 0x202 | (s->rflags & (EFLAGS_NT | EFLAGS_ID));
}

static void get_state(const ucontext_t *u, struct native_state *s)
{
    static const u8 initial_x87[24] = { 0x7f, 0x03 };
    const greg_t *r = u->uc_mcontext.gregs;
    const u8 *fp = (const u8 *)u->uc_mcontext.fpregs;
    u64 in_use;
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = (u64)r[greg_of[i]];
    s->rip = (u64)r[REG_RIP];
    s->rflags = (u64)r[REG_EFL];
    s->sel[1] = (u16)r[REG_CSGSFS];
    s->sel[2] = (u16)((u64)r[REG_CSGSFS] >> 48);
    memcpy(s->fx, fp, 512);
    memcpy(s->ymmh, fp + YMMH, 256);
    memcpy(&in_use, fp + XSTATE_BV, 8);
    if (!(in_use & 1)) { /* in their initial state: what stands in the frame need not */
        memcpy(s->fx, initial_x87, 24);
        memset(s->fx + FX_ST, 0, 128);
    }
    if (!(in_use & 2))
        memset(s->fx + FX_XMM, 0, 256);
    if (!(in_use & 4))
        memset(s->ymmh, 0, 256);
    s->sel[0] = host_live.es;
    s->sel[3] = host_live.ds;
    s->sel[4] = host_live.fs;
    s->sel[5] = host_live.gs;
    s->fsbase = host_live.fsbase;
    s->gsbase = host_live.gsbase;
    s->vector = (int)r[REG_TRAPNO];
    s->error = (u32)r[REG_ERR];
    s->cr2 = (u64)r[REG_CR2];
    const bool end = s->vector == 1 || s->vector == 3;
    const bool branched = s->vector == 14 && s->error & 0x10; /* instruction fetch */
    if (end || branched) {
        s->rip -= s->vector == 3;
        s->vector = NO_FAULT;
    }
}

void host_on_signal(int signo, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;
    if (!current) { /* our own fault, or host_setup's INT3 */
        if (frame_state[0] || signo != SIGTRAP) {
            static const char text[] = "native-diff: a fault of its own, or 20 seconds without progress\n";
            if (write(2, text, sizeof(text) - 1))
                abort();
        }
        frame = *u;
        memcpy(frame_state, u->uc_mcontext.fpregs, 512);
        u32 size; /* fx_sw_bytes.extended_size */
        memcpy(&size, frame_state + 468, 4);
        if (size > sizeof(frame_state))
            abort();
        memcpy(frame_state, u->uc_mcontext.fpregs, size);
        frame.uc_mcontext.fpregs = (void *)frame_state;
        return;
    }
    get_state(u, current);
    if (signo == SIGALRM)
        current->vector = HANGS;
    current = NULL;
    (void)info;
}

/* ---------------------------------------------------------------------------------------------------- running --- */

void host_run(struct native_state *s, const u8 *bytes, unsigned n, bool step)
{
    static unsigned dirty, runs;
    if (runs++ % 256 == 0)
        alarm(20);
    memcpy(code, bytes, n);
    if (dirty > n)
        memset(code + n, 0xcc, dirty - n);
    dirty = n;
    current = s;
    run_step = step;
    put_state(&frame, s);
    host_enter(&frame);
}

/* ---------------------------------------------------------------------------------------------------- setting up ---
 */

bool host_cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
    memset(out, 0, 16);
    return __get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]);
}

u64 host_xcr0(void)
{
    u32 a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a | (u64)d << 32;
}

static bool map_data(void)
{
    const int fd = memfd_create("native-diff", MFD_CLOEXEC);
    u8 *at = (void *)(uintptr_t)DATA_AT;
    const size_t writable = DATA_BYTES - 4096;
    if (fd < 0 || ftruncate(fd, DATA_BYTES) < 0)
        return false;
    host_data = mmap(NULL, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    bool ok =
        host_data != MAP_FAILED &&
        mmap(at, writable, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, 0) == at &&
        mmap(at + writable, 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, (off_t)writable) ==
            at + writable &&
        mmap(code - CODE_OFFSET, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == code - CODE_OFFSET;
    close(fd);
    return ok;
}

static const char *ldt_missing;

static void make_ldt(void)
{
    for (unsigned i = 0; i < LDT_COUNT; i++) {
        const struct ldt_row *r = &ldt_rows[i];
        struct user_desc d = { .entry_number = i,
                               .base_addr = r->base,
                               .limit = r->limit,
                               .seg_32bit = r->big,
                               .contents = r->type,
                               .read_exec_only = r->read_exec_only,
                               .seg_not_present = r->absent };
        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) < 0) {
            ldt_missing = "the kernel permits no such local descriptor table (modify_ldt)";
            return;
        }
    }
}

const char *host_mode_missing(unsigned mode) { return mode == 8 ? NULL : ldt_missing; }

const char *host_setup(void)
{
    static u8 stack[65536] __attribute__((aligned(64)));
    static const int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM };
    const stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };
    struct sigaction sa = { .sa_sigaction = host_signal_entry, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    u32 r[4];
    if (!__builtin_cpu_supports("avx") || !host_cpuid(13, 2, r) || r[1] != YMMH)
        return "the host has no AVX";
    if (!(getauxval(AT_HWCAP2) & 2))
        return "the host's kernel does not let programs use RDFSBASE";
    if (!map_data())
        return "the addresses that the tests use are taken";
    make_ldt();
    memset(stack, 0, sizeof(stack));
    __asm__ volatile("rdfsbase %0" : "=r"(host_live.own_fsbase));
    sigaltstack(&alternative, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &sa, NULL);
    memset(code - CODE_OFFSET, 0xcc, 8192);
    host_live.flags = 0x202;
    host_take_frame();
    return NULL;
}
#else
u8 *host_data;
const char *host_setup(void) { return "this host is not an x86-64"; }
const char *host_mode_missing(unsigned mode) { return "this host is not an x86-64"; }
void host_run(struct native_state *s, const u8 *bytes, unsigned n, bool step) {}
bool host_cpuid(u32 leaf, u32 subleaf, u32 out[4]) { return false; }
u64 host_xcr0(void) { return 0; }
#endif

const struct ldt_row ldt_rows[LDT_COUNT] = {
    [LDT_DATA32] = { DATA_AT, 0x3fff, 0, 1, 0, 0 },
    [LDT_DATA16] = { DATA_AT, 0x3fff, 0, 0, 0, 0 },
    [LDT_CODE16] = { CODE_AT - CODE_OFFSET, 0xffff, 2, 0, 0, 0 },
    [LDT_READ_ONLY] = { DATA_AT, 0x17f6, 0, 1, 1, 0 },
    [LDT_DOWN] = { DATA_AT, 0x07f4, 1, 1, 0, 0 },
    [LDT_ABSENT] = { DATA_AT, 0x3fff, 0, 1, 0, 1 },
    [LDT_EXEC_ONLY] = { 0, 0xffff, 2, 1, 1, 0 },
};
