/* vcpu.h - the state of one virtual CPU.
 *
 * Private to cpu/ and (later) jit/: other folders use cpu.h. Fields are grouped by heat; the first group is what
 * generated code will reach with short displacements.
 */
#ifndef SHADOW86_VCPU_H
#define SHADOW86_VCPU_H

#include <stdatomic.h>

#include "cpu/cpuid.h"
#include "cpu/insn.h"
#include "cpu/types.h"
#include "mmu/mmu.h"

/* EFLAGS bits, SDM 1 3.4.3. */
enum eflags {
    EFL_CF = 1 << 0, EFL_1 = 1 << 1, EFL_PF = 1 << 2, EFL_AF = 1 << 4, EFL_ZF = 1 << 6, EFL_SF = 1 << 7,
    EFL_TF = 1 << 8, EFL_IF = 1 << 9, EFL_DF = 1 << 10, EFL_OF = 1 << 11, EFL_IOPL = 3 << 12, EFL_NT = 1 << 14,
    EFL_RF = 1 << 16, EFL_VM = 1 << 17, EFL_AC = 1 << 18, EFL_VIF = 1 << 19, EFL_VIP = 1 << 20, EFL_ID = 1 << 21,
    EFL_STATUS = EFL_CF | EFL_PF | EFL_AF | EFL_ZF | EFL_SF | EFL_OF,
};

enum cr0 { CR0_PE = 1, CR0_MP = 2, CR0_EM = 4, CR0_TS = 8, CR0_ET = 16, CR0_NE = 32, CR0_WP = 1 << 16, CR0_AM = 1 << 18,
           CR0_NW = 1 << 29, CR0_CD = 1 << 30 };
#define CR0_PG (1u << 31)
enum cr4 { CR4_VME = 1, CR4_PVI = 2, CR4_TSD = 4, CR4_DE = 8, CR4_PSE = 16, CR4_PAE = 32, CR4_MCE = 64, CR4_PGE = 128,
           CR4_PCE = 256, CR4_OSFXSR = 512, CR4_OSXMMEXCPT = 1024, CR4_UMIP = 2048, CR4_FSGSBASE = 1 << 16,
           CR4_PCIDE = 1 << 17, CR4_OSXSAVE = 1 << 18, CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21 };
enum efer { EFER_SCE = 1, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NXE = 1 << 11, EFER_FFXSR = 1 << 14 };

/* Exception vectors, SDM 3A 6.3.1. */
enum exc { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP,
           EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM };

/* A segment register with its hidden part. attr is the descriptor's second dword, bits 23:8, shifted down by 8:
 * type 3:0, S 4, DPL 6:5, P 7, (limit 19:16 in 11:8: not used), AVL 12, L 13, D/B 14, G 15. */
struct segment {
    u64 base;
    u32 limit;          /* in bytes, inclusive, already scaled by G */
    u16 sel;
    u16 attr;
    u8 unusable;        /* null selector loaded: any access faults (not in 64-bit mode) */
    u8 flat_read;       /* reads (and, for CS, fetches) need no check: usable, base + limit cover all of 4 GiB with base 0 */
    u8 flat_write;      /* the same for writes */
};
enum seg_attr { SEG_A = 1, SEG_W = 2 /* data: writable; code: readable */, SEG_E = 4 /* data: down; code: conforming */,
                SEG_CODE = 8, SEG_S = 16, SEG_DPL = 0x60, SEG_P = 0x80, SEG_L = 1 << 13, SEG_D = 1 << 14, SEG_G = 1 << 15 };

struct f80 { u64 mant; u16 se; };       /* sign in bit 15 of se, explicit integer bit in mant */

struct x87 {
    struct f80 r[8];    /* physical registers R0..R7; ST(i) = r[(TOP + i) & 7]; MMi = r[i].mant */
    u16 cw, sw;         /* sw holds TOP in bits 13:11 */
    u8 empty;           /* bit i set: R[i] is tagged empty */
    u16 fop, fcs, fds;  /* last non-control instruction: 11-bit opcode, selectors */
    u64 fip, fdp;       /* its address and its operand's (offsets) */
};

union vec {
    u8 b[32]; s8 sb[32]; u16 w[16]; s16 sw[16]; u32 d[8]; s32 sd[8]; u64 q[4]; s64 sq[4]; float f32[8]; double f64[4];
} __attribute__((aligned(32)));

/* Requests to leave the fast loop: bits of vcpu.pending. Set by any thread with atomic_fetch_or. */
enum pending {
    PEND_INTR = 1 << 0,     /* level: an interrupt controller has an interrupt to deliver; looked at if IF and no shadow */
    PEND_NMI = 1 << 1,
    PEND_INIT = 1 << 2,
    PEND_RESET = 1 << 3,
    PEND_STOP = 1 << 4,     /* return from cpu_run soon (pause, power-off, snapshot) */
    PEND_CODE = 1 << 5,     /* another thread wrote to a page that holds decoded code: drop what is stale */
    PEND_FLUSH = 1 << 6,    /* another thread changed the physical map: flush the TLB */
    PEND_TIMER = 1 << 7,    /* instruction-count clock: a deadline is reached */
    PEND_TRAP = 1 << 8,     /* own thread: a #DB trap, single-step or shadow is to be handled at this boundary */
    PEND_SIPI = 1 << 9,     /* Start-up IPI; its vector is in sipi_vector */
};

/* Lazy arithmetic flags: see flags.h for how they are kept. */
struct lazy_flags { u64 zero, sign, carry; };

/* What translated code (jit/) keeps in the vCPU beside the guest's own state; see jit/ir.h and jit/backend.h. Reached with
 * short displacements, so it stands right behind the general registers. */
enum { JIT_POINTERS = 7 /* what short displacements reach, on x86-64 */ };
struct jit_hot {
    u64 pc;                 /* RIP of byte 0 of the page on which the running unit starts */
    _Atomic u64 genkey;     /* added to pc where a link proves that its page is still mapped: dispatch.c. While poll is set, no_key: no
                               link, return or indirect jump proves anything, so none of them needs to look at poll */
    u32 flags;              /* status flags between units, in a format of the backend */
    _Atomic u32 poll;       /* not 0: leave at the next poll. Set with every bit of pending, by jit_poll */
    u8 vec_state;           /* 1: vector registers and MXCSR are in the host's registers; 2: and the upper halves */
    u8 x87_state;           /* 1: x87 registers are in the host's */
    u8 spare[2];
    u64 pointer[JIT_POINTERS];  /* that one unit of translated code keeps for itself: IR_OP_again */
    u64 flag_a, flag_b;     /* what flags may need, or some of them */
    u64 temp[4];
    u64 code_sp, host_sp;   /* stack pointers: return addresses of translated code; C */
    void *left;             /* what belongs to the reason for leaving */
    struct jit *jit;        /* NULL: none, the interpreter alone */
    u64 reload;             /* a host address that goes on from C */
    u64 address;            /* of an access that missed its site */
    u8 *stack;              /* the return-address stack that code_sp points into: its lowest byte */
    u32 host_mxcsr;
    u64 no_key;             /* the key of no generation */
    u64 host_insns;         /* count=on: host instructions executed, as the backend counts them; */
    u64 host_checks;        /* those of them that look up addresses */
    /* The last x87 instruction run by translated code, as jit_x87_saved turns it into FIP, FOP, FDP: jit/need.c */
    u64 x87_pc, x87_ea;     /* pc of its unit; offset of the last memory operand */
    u32 x87_note, x87_seg;  /* enum x87_note; the last memory operand's segment and address size */
    u8 x87_image[112];      /* for frstor, fnsave */
};

/* Where an indirect jump in translated code finds the code for a RIP: entry rip % JIT_JUMPS, valid if its key is
 * RIP + jit.genkey. host: address of the unit's `entry_jump`. */
struct jit_jump { u64 key, host; };
enum { JIT_JUMPS = 1 << 16 /* a remainder is one MOVZX */, JIT_STRADDLES = 16, JIT_STRADDLE_MAX = 128 };

/* What a translator puts in the interpreter's place. */
struct cpu_engine {
    void (*run)(struct vcpu *c);                            /* as interp_run */
    /* Memory [a, a + bytes) (physical, one page) has changed; any: decoded blocks were made from it. Returns the 64-byte chunks of
     * the page that its code still covers. */
    u64 (*code_written)(struct vcpu *c, gpa a, u64 bytes, bool any);
    void (*free)(struct vcpu *c);
};
struct vcpu {
    /* hot */
    union {
        u64 gpr[GPR_COUNT];
        struct { u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rip, zero, block_rip; };
    };
    struct jit_hot jit;
    _Atomic u32 pending;        /* enum pending */
    u32 eflags;                 /* all bits but the status flags, which flags.h computes; read with rflags_get() */
    struct lazy_flags lazy;
    u8 cpl;                     /* 0..3; 3 in virtual-8086 mode, 0 in real mode */
    u8 code_size;               /* 2, 4, 8: the current code segment's size */
    u8 stack_size;              /* 2, 4, 8: stack address size (SS.B, or 8 in 64-bit mode) */
    u8 shadow;                  /* enum shadow: what the instruction just run inhibits */
    bool halted;                /* HLT or MWAIT: waits for an interrupt */
    bool halt_masked;           /* MWAIT with ECX bit 0: an interrupt ends it even if IF is 0 */
    bool no_sleep;              /* cpu_step: come back where cpu_boundary would wait */
    bool in_shutdown;           /* triple fault: waits for RESET, INIT, NMI */
    _Atomic u32 wake_mask;      /* bits of pending that end the host's wait() */
    u8 access_checks;           /* enum access_check; while any bit is set, flat_read and flat_write of all segments are 0 */
    u8 flat;                    /* bit enum sreg: flat_read and, but for CS, flat_write */
    struct segment seg[SEG_COUNT];
    u64 icount;                 /* instructions retired and exceptions delivered since power-on */
    u64 block_icount;           /* icount at the start of the block that runs */
    const struct insn *stop;    /* where a block stopped before its end: interp.c */
    bool stop_fault;            /* because of a fault; else because the code is stale */
    u64 icount_limit;           /* PEND_TIMER is set when icount reaches it; UINT64_MAX: never */

    struct mmu mmu;             /* paging mode, TLB */
    struct jit_jump jit_jump[JIT_JUMPS];
    u8 jit_straddle[JIT_STRADDLES][JIT_STRADDLE_MAX];   /* translated code: copies of operands that lie on two pages, used in turn */
    unsigned jit_straddles;
    const struct cpu_engine *engine;    /* the translator, NULL: the interpreter alone */
    u64 jit_room[2][SEG_COUNT]; /* translated code outside 64-bit mode: bytes from offset 0 on that may be read, written
                                   in a segment that is not flat; 0: ask the interpreter. Kept by segment_refresh */

    /* system registers */
    u64 cr0, cr2, cr3, cr4, efer, xcr0;
    struct segment ldtr, tr;
    struct { u64 base; u16 limit; } gdtr, idtr;
    u64 dr[8];
    u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
    u64 sysenter_cs, sysenter_esp, sysenter_eip;
    u64 pat, misc_enable, apic_base, tsc_offset, tsc_deadline;
    u64 mtrr_def_type, mtrr_phys[16], mtrr_fixed[11], mcg_status, mc_bank[10][4];
    _Atomic u32 sipi_vector;    /* of PEND_SIPI */
    u32 apic_id;                /* initial APIC ID, for CPUID */
    bool nmi_blocked;
    bool wait_sipi;             /* after INIT, not the bootstrap processor: nothing but SIPI (and RESET) is looked at */
    u64 xss, feature_control, debugctl, spec_ctrl, hwcr, syscfg;

    /* the fault that in_*() noted; delivered by the interpreter's loop */
    struct { u8 vector; bool has_error; u32 error; } exc;
    u8 exc_ext;                 /* 1 while an event is delivered whose faults carry EXT in their error code */
    u64 dr6_pending;            /* #DB trap bits (DR6 layout) collected for the boundary after this instruction */

    /* floating point and vectors */
    struct x87 x87;
    u32 mxcsr;
    union vec vec[16];

    struct cpu_model model;     /* what CPUID says and which instructions exist */
    const struct cpu_host *host;    /* ports, interrupt acknowledge, time: see cpu.h */
    void *host_ctx;
    struct icache *icache;      /* decoded blocks: icache.c */
    struct debugger *debugger;  /* an outside debugger's stops: debug.c */
    bool debugged;              /* it has some: the interpreter asks it */
    bool watching;              /* some are on data: CHECK_BREAK */
};

enum shadow { SHADOW_NONE, SHADOW_STI = 1, SHADOW_MOV_SS = 2 };
/* What mem_linear has to do besides limits and types, set by segment_refresh. Not set in the common case, so the inline
 * paths need not look: they test flat_*, which is 0 then. */
enum access_check { CHECK_ALIGN = 1 /* #AC: CPL 3, CR0.AM, EFLAGS.AC */, CHECK_BREAK = 2 /* data breakpoints in DR7 */ };

static inline bool in_real_mode(const struct vcpu *c) { return !(c->cr0 & CR0_PE); }
static inline bool in_v86_mode(const struct vcpu *c) { return c->eflags & EFL_VM; }
static inline bool in_protected_mode(const struct vcpu *c) { return (c->cr0 & CR0_PE) && !(c->eflags & EFL_VM); }
static inline bool in_long_mode(const struct vcpu *c) { return c->efer & EFER_LMA; }    /* 64-bit or compatibility */
static inline bool in_64bit_mode(const struct vcpu *c) { return c->code_size == 8; }

/* --- faults: vcpu.c. Both note the fault and return false, so that in_*() can `return cpu_fault(...)`. --- */
bool cpu_fault(struct vcpu *c, enum exc vector);                        /* no error code (#AC, #DF: 0 is added) */
bool cpu_fault_code(struct vcpu *c, enum exc vector, u32 error);        /* #GP #SS #NP #TS #PF */

/* --- RFLAGS as the guest sees it: flags.h's lazy part and eflags together. flags.c --- */
u64 rflags_get(const struct vcpu *c);
void rflags_set(struct vcpu *c, u64 value);     /* all bits, unchecked; updates pending (TF) */
static inline void rflags_put(struct vcpu *c, u32 mask, u32 bits)       /* replaces the bits in mask */
{
    rflags_set(c, (rflags_get(c) & ~(u64)mask) | (bits & mask));
}

/* --- segments: segment.c --- */
bool segment_load(struct vcpu *c, enum sreg s, u16 sel);    /* MOV/POP to a segment register other than CS, SDM 3A 5 */
/* The same for DS, ES, FS, GS, but only if there is no fault, nothing has to be written, and the segment stays flat or not flat.
 * False: nothing has changed. */
bool segment_load_usual(struct vcpu *c, enum sreg s, u16 sel);
void segment_set_real(struct vcpu *c, enum sreg s, u16 sel);/* real and virtual-8086 mode: base = sel << 4 */
void segment_refresh(struct vcpu *c);   /* recomputes flat*, jit_room, code_size, stack_size, the MMU's view after any change of
                                           CS, SS, CPL, CR0, EFER or VM */

/* A segment or system descriptor as it stands in a table, SDM 3A 3.4.5. */
struct descriptor { u64 low, high /* of a 16-byte system descriptor */; gla at; };
/* Reads the descriptor that sel names from the GDT or LDT; `vector`(sel) if it is beyond the table. bytes: 8 or 16. */
bool descriptor_read(struct vcpu *c, u16 sel, unsigned bytes, enum exc vector, struct descriptor *d);
bool descriptor_set_type(struct vcpu *c, const struct descriptor *d, unsigned set, unsigned clear); /* type bits, in memory */
struct segment descriptor_segment(const struct descriptor *d, u16 sel);
static inline unsigned desc_attr(const struct descriptor *d) { return d->low >> 40 & 0xf0ff; }
static inline unsigned desc_type(const struct descriptor *d) { return d->low >> 40 & 0x1f; }    /* S and type */
static inline unsigned desc_dpl(const struct descriptor *d) { return d->low >> 45 & 3; }
static inline bool desc_present(const struct descriptor *d) { return d->low >> 47 & 1; }
enum system_type { SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK_GATE = 5, SYS_INT16 = 6,
                   SYS_TRAP16 = 7, SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12, SYS_INT32 = 14, SYS_TRAP32 = 15 };
static inline bool sel_null(u16 sel) { return !(sel & ~3); }
static inline bool is_canonical(u64 a) { return (u64)((s64)(a << 16) >> 16) == a; }
bool segment_in_limit(const struct segment *s, u64 off, u64 bytes);     /* limit alone, expand-down included */
/* Checks the stack segment that a transfer to privilege cpl loads: `vector`(sel) for a bad one, #SS(sel) if not present.
 * Null selectors are the caller's business. Sets the accessed bit. */
bool segment_check_stack(struct vcpu *c, u16 sel, unsigned cpl, enum exc vector, struct descriptor *d);
bool segment_set_accessed(struct vcpu *c, struct descriptor *d);        /* in memory, if it is not set yet */
void segment_set_null(struct vcpu *c, enum sreg s, u16 sel);
void segment_drop_inner(struct vcpu *c);    /* return to an outer level: DS ES FS GS that it may not see become null */
enum view cpu_view(const struct vcpu *c, unsigned cpl);     /* as whom explicit accesses at that privilege are made */
/* Loads CS's hidden part and the CPL, after all checks (no fault left). */
void segment_set_code(struct vcpu *c, const struct descriptor *d, u16 sel, unsigned cpl);

/* A stack frame for a far call or an event, not necessarily on the current stack. values[0] is pushed first (highest
 * address). frame_check does limit, canonical and page checks at privilege cpl and finds the new stack pointer; error is #SS's
 * error code. frame_write cannot fail after it. */
struct frame { struct segment ss; u64 sp, new_sp; u8 size /* of a slot */, stack_size, cpl, count; u32 error; u64 values[40]; };
bool frame_check(struct vcpu *c, struct frame *f);
void frame_write(struct vcpu *c, const struct frame *f);
static inline void frame_push(struct frame *f, u64 v) { f->values[f->count++] = v; }

/* --- far transfers: far.c. RIP and CS (and SS:RSP, CPL) change only if everything succeeds. --- */
bool far_jump(struct vcpu *c, u16 sel, u64 offset, unsigned opsize);
bool far_call(struct vcpu *c, u16 sel, u64 offset, unsigned opsize);
bool far_return(struct vcpu *c, unsigned opsize, unsigned pop_bytes);
bool interrupt_return(struct vcpu *c, unsigned opsize);     /* IRET, IRETD, IRETQ */

/* --- interrupts and exceptions: interrupt.c --- */
enum int_kind { INT_EXCEPTION, INT_SOFTWARE /* INT n */, INT_SOFT_EXC /* INT3, INTO */, INT_PRIV /* INT1 */, INT_EXTERNAL, INT_NMI };
/* INS, OUTS, IN, OUT: #GP(0) if IOPL and the TSS's bitmap deny [port, port + bytes). interp_sys.c */
bool io_permitted(struct vcpu *c, u16 port, unsigned bytes);
u32 io_read(struct vcpu *c, u16 port, unsigned bytes);      /* to the host, I/O breakpoints noted; after io_permitted */
void io_write(struct vcpu *c, u16 port, unsigned bytes, u32 value);

bool interrupt_software(struct vcpu *c, u8 vector, enum int_kind kind);     /* from in_int*: false if it faulted */
void exception_deliver(struct vcpu *c);     /* delivers c->exc with #DF and triple-fault rules; never fails */
/* Acts on c->pending at an instruction boundary in the order of SDM 3A table 6-2. Returns false if cpu_run must return. */
bool cpu_boundary(struct vcpu *c);

/* --- debug registers, single step, shadows: debugregs.c, SDM 3B 17. ---
 *
 * Instructions run one at a time ("stepping") while TF, RF, a breakpoint in DR7 or a shadow (STI, MOV SS) is in force.
 * Whoever brings one of them about (rflags_set, cpu_set_shadow, sysreg_write_dr) also sets PEND_TRAP, and cpu_boundary
 * keeps PEND_TRAP set for as long as cpu_stepping() says so, so the interpreter's loop is:
 *
 *     for (;;) {
 *         if (c->pending && !cpu_boundary(c)) return;         // may change RIP, mode, everything
 *         if (cpu_stepping(c)) interp_step(c); else run a block, until pending or a branch or an ATTR_SYS row;
 *     }
 *
 * and interp_step is:
 *
 *     if (!debug_step_begin(c)) { exception_deliver(c); return; }     // #DB instruction breakpoint, fetch not yet done
 *     fetch, decode, run; on a fault: put RIP back, exception_deliver(c).
 *
 * debug_step_begin ends the shadow and RF of the instruction before, and notes BS in dr6_pending if TF is set (SYSCALL,
 * INT n and faults take it back). A block must end after every row with ATTR_SYS, since these make shadows, set
 * `halted` (with PEND_TRAP) and so on. REP string instructions: if an iteration is not the last and c->pending is set or
 * cpu_stepping, return true with RIP at the instruction itself (interp_step: one iteration), after which a pending
 * interrupt's or trap's flags image needs RF: call debug_set_resume(c).
 * Data breakpoints: mem_linear calls debug_data(c, gla, bytes, write) for a good access if access_checks & CHECK_BREAK. */
static inline bool cpu_stepping(const struct vcpu *c)
{
    return (c->eflags & (EFL_TF | EFL_RF)) || c->shadow || (c->dr[7] & 0xff);
}
/* Makes translated code leave soon. In this order: who restores genkey looks at poll afterwards (dispatch.c). */
static inline void jit_poll(struct vcpu *c)
{
    atomic_store(&c->jit.poll, 1);
    atomic_store(&c->jit.genkey, c->jit.no_key);
}
static inline void cpu_raise(struct vcpu *c, u32 bits)      /* sets bits of pending on the vCPU's own thread */
{
    atomic_fetch_or_explicit(&c->pending, bits, memory_order_relaxed);
    atomic_store_explicit(&c->jit.poll, 1, memory_order_relaxed);
    atomic_store_explicit(&c->jit.genkey, c->jit.no_key, memory_order_relaxed);
}
static inline void cpu_set_shadow(struct vcpu *c, enum shadow s)
{
    c->shadow = s;
    cpu_raise(c, PEND_TRAP);
}
bool debug_step_begin(struct vcpu *c);      /* false: #DB noted (instruction breakpoint) */
static inline void debug_set_resume(struct vcpu *c) { c->eflags |= EFL_RF; cpu_raise(c, PEND_TRAP); }
void debug_data(struct vcpu *c, gla a, unsigned bytes, bool write);
void debug_io(struct vcpu *c, u16 port, unsigned bytes);    /* I/O breakpoints (CR4.DE) */
void debug_clear_step(struct vcpu *c);      /* takes back the BS that debug_step_begin noted */
enum dr6 { DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_BT = 1 << 15 };
enum dr7 { DR7_GD = 1 << 13 };
void debug_note(struct vcpu *c, u64 dr6);   /* a #DB is being raised: sets DR6 (and only that keeps old bits), clears DR7.GD */
void debug_raise(struct vcpu *c, u64 dr6);  /* a trap (DR6 bits) for the boundary after this instruction */

/* --- stops of a debugger outside: debug.c. While c->debugged, the interpreter asks before each instruction whether it
 * is one to stop at (then it does nothing and looks at its requests), runs only blocks without one inside, and tells
 * when an instruction or block is done. --- */
bool debugger_stops_here(struct vcpu *c);
bool debugger_stops_inside(const struct vcpu *c, gla a, u64 bytes);
bool debugger_single_steps(const struct vcpu *c);
void debugger_instruction_done(struct vcpu *c);
void debugger_data(struct vcpu *c, gla a, unsigned bytes, bool write);

/* --- hardware task switch: task.c, SDM 3A 7.3 --- */
enum task_switch { TASK_JMP, TASK_CALL, TASK_IRET, TASK_INT };
/* SS and (E)SP for privilege cpl from the current 16- or 32-bit TSS; #TS. */
bool tss_stack(struct vcpu *c, unsigned cpl, u16 *ss, u32 *sp);
/* The selector's descriptor has been checked (an available TSS; for TASK_IRET a busy one). save_flags is ORed into the
 * flags image that the old task gets (RF). False: fault noted, nothing has changed. Faults in the new task's context are
 * delivered there, and the answer is true. */
bool task_switch(struct vcpu *c, u16 sel, enum task_switch why, bool has_error, u32 error, u32 save_flags);

/* --- system registers: sysreg.c, msr.c. All checks included; false if a fault was noted. --- */
bool sysreg_write_cr(struct vcpu *c, unsigned cr, u64 value);
bool sysreg_read_cr(struct vcpu *c, unsigned cr, u64 *value);
bool sysreg_write_dr(struct vcpu *c, unsigned dr, u64 value);
bool sysreg_read_dr(struct vcpu *c, unsigned dr, u64 *value);
bool sysreg_write_efer(struct vcpu *c, u64 value);
bool sysreg_write_xcr(struct vcpu *c, u32 index, u64 value);
bool msr_read(struct vcpu *c, u32 index, u64 *value);       /* SDM 4; unknown ones: logged, #GP(0) */
bool msr_write(struct vcpu *c, u32 index, u64 value);
void sysreg_refresh_mmu(struct vcpu *c);    /* hands CR0, CR3, CR4, EFER, CPL, AC to the MMU */
void sysreg_refresh_view(struct vcpu *c);   /* after a change of CPL or EFLAGS.AC alone: view and access_checks (segment_refresh
                                               calls it; rflags_set must if it changes AC) */
u64 cpu_tsc(struct vcpu *c);                /* the time-stamp counter as RDTSC sees it */

/* --- availability of the floating-point and vector units, checked before the operands: fpu.c --- */
bool fpu_check_x87(struct vcpu *c, bool waiting);   /* #NM, #UD, pending #MF */
bool fpu_check_mmx(struct vcpu *c);                 /* also: TOP = 0, all tags valid is the caller's business at commit */
bool fpu_check_sse(struct vcpu *c, const struct insn *in);

/* --- decoded blocks: icache.c (the interpreter's helper). Called by vcpu_new (after mmu_init) and vcpu_free. --- */
bool icache_new(struct vcpu *c);    /* sets c->icache and becomes owner of codepages; false: no memory */
void icache_free(struct vcpu *c);

/* --- the interpreter: interp.c --- */
void interp_run(struct vcpu *c);    /* runs until cpu_boundary says stop */
void interp_step(struct vcpu *c);   /* exactly one instruction (or one iteration of a REP string), faults delivered */
/* Requests that concern the guest now: an interrupt that IF holds back does not. */
static inline u32 cpu_requests(const struct vcpu *c)
{
    u32 p = atomic_load_explicit(&c->pending, memory_order_relaxed);
    return likely(!p) ? 0 : c->eflags & EFL_IF ? p : p & ~(u32)PEND_INTR;
}

/* --- its parts, for the translator's dispatcher. None while cpu_stepping. --- */
struct block;
/* RIP's physical address; host: the byte there, NULL if it is not memory. False: a fault was delivered. */
bool interp_fetch(struct vcpu *c, gpa *pa, const u8 **host);
struct block *interp_decoded(struct vcpu *c, gpa pa, const u8 *host);   /* NULL: no block is possible there, interp_one */
void interp_block(struct vcpu *c, const struct block *b);   /* b stands at RIP: runs it, or one instruction */
/* One instruction at RIP, whatever it is. Returns it, good until the next one is decoded; NULL: the fetch faulted. */
const struct insn *interp_one(struct vcpu *c);
void interp_blocks(struct vcpu *c);     /* runs until something is to be looked at */
void interp_debugged(struct vcpu *c);   /* the same while c->debugged */

#endif
