/* state.h - what a user-mode instruction can see and change, in a form that the host side and the interpreter side
 * share.
 *
 * Free of cpu/ headers but types.h, so that it stands beside <sys/ucontext.h> alone.
 */
#ifndef SHADOW86_NATIVE_STATE_H
#define SHADOW86_NATIVE_STATE_H

#include "cpu/types.h"

/* Linear addresses, the same on the host and in the guest. Pages of data: two writable ones, a read-only one, and none
 * before and behind them. */
enum {
    DATA_AT = 0x10000000,
    DATA_PAGES = 3,
    DATA_BYTES = DATA_PAGES * 4096,
    CODE_OFFSET = 0x800,
    CODE_AT = 0x11010000 + CODE_OFFSET
}; /* INT3s around */

enum { NO_FAULT = -1, HANGS = -2 };

struct native_state {
    u64 gpr[16]; /* in encoding order */
    u64 rip;     /* as the code segment counts it */
    u64 rflags;
    u64 fsbase, gsbase;                      /* 64-bit mode: set and compared; other modes: the selectors decide */
    u16 sel[6];                              /* ES CS SS DS FS GS */
    u8 fx[512] __attribute__((aligned(16))); /* FXSAVE64 image: x87, MXCSR, XMM */
    u8 ymmh[16][16];                         /* upper halves of YMM */
    int vector;                              /* the fault, NO_FAULT if the instruction completed */
    u32 error;
    u64 cr2;
};
enum {
    FX_FCW = 0,
    FX_FSW = 2,
    FX_FTW = 4,
    FX_FOP = 6,
    FX_FIP = 8,
    FX_FDP = 16,
    FX_MXCSR = 24,
    FX_ST = 32,
    FX_XMM = 160
};

/* Selectors of the local descriptor table that both sides get (modify_ldt), beside Linux's own GDT. */
enum ldt_index { LDT_DATA32, LDT_DATA16, LDT_CODE16, LDT_READ_ONLY, LDT_DOWN, LDT_ABSENT, LDT_EXEC_ONLY, LDT_COUNT };
struct ldt_row {
    u32 base, limit;
    u8 type /* 0 data, 1 expand-down, 2 code */, big, read_exec_only, absent;
};
extern const struct ldt_row ldt_rows[LDT_COUNT];
#define LDT_SEL(i) ((u16)((i) << 3 | 7))
enum { SEL_CODE32 = 0x23, SEL_DATA = 0x2b, SEL_CODE64 = 0x33 };

/* --- host.c --- */
extern u8 *host_data; /* writable view of the host's data pages */
/* NULL, or why this host cannot run the tests. */
const char *host_setup(void);
/* Can it run code of this size (2, 4, 8)? NULL or the reason. */
const char *host_mode_missing(unsigned mode);
/* Runs the instruction at CODE_AT from *s; *s becomes the state after it. step: with TF, so that a REP string
 * instruction ends after one iteration. */
void host_run(struct native_state *s, const u8 *bytes, unsigned n, bool step);
bool host_cpuid(u32 leaf, u32 subleaf, u32 out[4]);
u64 host_xcr0(void);

#endif
