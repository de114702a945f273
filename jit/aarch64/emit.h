/* emit.h - the AArch64 backend: where everything is kept, and how instructions are written. Private to jit/aarch64/.
 *
 * Registers. All sixteen of the guest's are in the host's:
 *
 *   X0-X7     temporaries of the IR (scratch_regs)
 *   X8-X15    the guest's R8-R15
 *   X16, X17, X30   used up within one operation; X30 (LR) also where fixed code is called
 *   X18       the platform's, never touched
 *   X19-X26   the guest's RAX RCX RDX RBX RSP RBP RSI RDI
 *   X27       the stack of return addresses (entry.c)
 *   X28       struct vcpu
 *   X29       the sites of the current view (mmu.site[view]), those that are used: SITES_OF_KIND
 *   SP        C's stack
 *
 * V0-V15 are the guest's XMM0-XMM15 once a `need` has loaded them; the upper halves of YMM stay in the vCPU. V16-V31 are used up
 * within one operation. FPCR has MXCSR's rounding mode and FZ then, and FPSR gathers inexact results only (insn_fp.c).
 *
 * Status flags. S Z C O are N Z C V of the host (FLAGS_HOST) or bits 31:28 of vcpu.jit.flags (FLAGS_SAVED). After a subtraction the
 * host's C is the inverse of CF: emit.inverted, known at translation time; saved it is always CF. P and A are never in the
 * host's flags: where somebody reads them, the operation leaves its result in the lower half of vcpu.jit.flag_a (P: parity of its
 * low byte), and the exclusive-or of its operands in the upper one (A: bit 4 of both halves' exclusive-or).
 */
#ifndef SHADOW86_JIT_AARCH64_EMIT_H
#define SHADOW86_JIT_AARCH64_EMIT_H

#include "cpu/flags.h"
#include "jit/backend.h"
#include "jit/emit_common.h"

enum host {
    X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15, X16, X17, X18, X19, X20, X21, X22, X23, X24, X25,
    X26, X27, X28, X29, LR, XZR, SP = 31, NO_REG = 0xff,
};
enum { RETURNS = X27, VCPU = X28, SITES = X29 };
enum { SITES_OF_KIND = 1024 };      /* the last ones that read and the first ones that write: 12 bits of displacement, times 8 */
/* Between units: the RIP that an indirect jump or a return goes to (flags are in the host's then, C is CF), and the page that a key has proved. */
enum { RIP_REG = X1, PAGE_REG = X0 };
#define VCPU_OFF(member) ((u32)offsetof(struct vcpu, member))

/* Conditions of B.cond, CSEL...; inverting one is ^ 1. */
enum cond { EQ, NE, CS, CC, MI, PL, VS, VC, HI, LS, GE, LT, GT, LE, AL };

enum { IR_NZCV = IR_S | IR_Z | IR_C | IR_O };
enum flags_at { FLAGS_DEAD, FLAGS_HOST, FLAGS_SAVED, FLAGS_BOTH };

/* Code that stands behind the unit: what is rarely executed. */
enum tail_kind { TAIL_MISS, TAIL_NEED, TAIL_STEP, TAIL_LINK, TAIL_LANDING, TAIL_GO, TAIL_AGAIN, TAIL_LOOKUP, TAIL_LEAVE, TAIL_INSN };
struct tail {
    u8 kind, flags, inverted;   /* flags, inverted: struct emit's there */
    u8 reg, address;        /* MISS: the registers of the pointer and of the address */
    u8 poll, live;          /* GO. MISS: live: are flags of the host's needed? */
    u8 need;                /* NEED: kind. INSN: a comparison's flags? */
    u32 from[3];            /* branches that lead here; 0: none */
    u32 back;               /* where it goes on */
    s32 offset;             /* guest offset of the instruction: NEED, STEP */
    struct code_access access;
    struct code_link *link;
    struct code_call *call; /* INSN */
};
enum { MAX_TAILS = IR_MAX_INS };

struct emit {
    struct jit *j;
    const struct ir_unit *u;
    struct code_unit *out;
    const struct ir_ins *ins;       /* being emitted */
    u8 *rw;                         /* the cache, writable, from offset 0 */
    u32 at, end;                    /* cache offset of the next instruction; of the first byte that is not ours */
    u32 counted;                    /* up to there host instructions have been counted */
    u32 checks;                     /* bytes of checks since then */
    bool full;                      /* looked at once, when the unit is done */
    /* emit.c */
    u8 flags;                       /* enum flags_at */
    bool inverted;                  /* FLAGS_HOST: C is not CF but its inverse */
    u16 pointers;                   /* operations ptr: as many accesses are counted */
    u8 taken;                       /* scratch registers in use, a bit each */
    u8 loaded;                      /* NO_REG, or what was in the operand in memory, which is dealt with already (emit_atomic.c) */
    u8 operands;                    /* flags_adjust's register, until flags_parity; NO_REG: none */
    u8 temp_reg[IR_MAX_TEMPS];      /* host register of a temporary, NO_REG: not yet, no more */
    u16 last_use[IR_MAX_TEMPS];     /* index of the last operation that names it */
    struct kept kept;
    u16 index;                      /* of ins */
    u16 tails, differs;
    u32 differ[SELF_BYTES];         /* branches of `same`: to the tail of them all */
    struct tail tail[MAX_TAILS];
    struct links links;
};
/* Flags live in front of e->ins, which has none of its own. */
static inline u16 emit_live_before(const struct emit *e) { return e->ins->flive; }
/* Fixed code at the start of the cache: cache offsets, the same for every cache. entry.c */
struct fixed_code { u32 leave_link, leave_landing, leave_lookup, leave_lookup_host, leave_step, lookup, miss, miss_tlb, need[4], interp, step, insn, compare; };
extern const struct fixed_code *fixed;
u32 entry_init(struct jit *j, u8 *rw, u8 *rx, u32 room);
enum leave_reason entry_enter(struct vcpu *c, const void *code);
void entry_set_returns(void *context, u64 sp);
extern const void *underflow_code;
void code_changed(struct jit *j, u32 at, u32 bytes);        /* the host has to see what was written there */
/* FPCR from MXCSR in reg, FPSR clear; reg = MXCSR with what FPSR has. X17 is used. */
void entry_fp_control(struct emit *e, unsigned reg);
void entry_fp_flags(struct emit *e, unsigned reg);
enum { SCRATCH_COUNT = 8 };

/* --- encode.c --- */
void put32(struct emit *e, u32 insn);
void put64(struct emit *e, u64 v);          /* data */
/* Three registers: op is the instruction's bits without registers and size; wide: 64 bits. Shift amounts and the like are in op. */
void rrr(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, unsigned m);
enum {
    ADD = 0x0b000000, ADDS = 0x2b000000, SUB = 0x4b000000, SUBS = 0x6b000000, AND = 0x0a000000, BIC = 0x0a200000,
    ORR = 0x2a000000, ORN = 0x2a200000, EOR = 0x4a000000, ANDS = 0x6a000000, ADC = 0x1a000000, ADCS = 0x3a000000,
    SBC = 0x5a000000, SBCS = 0x7a000000, UDIV = 0x1ac00800, SDIV = 0x1ac00c00, LSLV = 0x1ac02000, LSRV = 0x1ac02400,
    ASRV = 0x1ac02800, RORV = 0x1ac02c00, MUL = 0x1b007c00, MSUB = 0x1b008000, SMULL = 0x1b207c00, UMULL = 0x1ba07c00,
    SMULH = 0x1b407c00, UMULH = 0x1bc07c00, EXTR = 0x13800000,
    BY_LSL = 0, BY_LSR = 1 << 22, BY_ASR = 2 << 22, BY_ROR = 3 << 22,     /* of the third register, + BY(n) */
};
#define BY(n) ((u32)(n) << 10)
void rr(struct emit *e, u32 op, bool wide, unsigned d, unsigned n);
enum { RBIT = 0x5ac00000, REV16 = 0x5ac00400, REV32 = 0x5ac00800, CLZ = 0x5ac01000 };   /* REV of 64 bits: emit_bswap */
void mov(struct emit *e, bool wide, unsigned d, unsigned n);        /* nothing if d == n and wide */
void mov_imm(struct emit *e, unsigned d, u64 v);
/* op: ADD ADDS SUB SUBS. An immediate of 12 bits, or 12 shifted by 12: false if it is none. */
bool add_imm(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, u64 v);
/* d = n + v for any v; needs X17 if v is long. */
void add_any(struct emit *e, bool wide, unsigned d, unsigned n, s64 v);
/* op: AND ORR EOR ANDS. False: v cannot be encoded. */
bool logic_imm(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, u64 v);
void ubfm(struct emit *e, bool wide, unsigned d, unsigned n, unsigned r, unsigned s);
void sbfm(struct emit *e, bool wide, unsigned d, unsigned n, unsigned r, unsigned s);
void bfm(struct emit *e, bool wide, unsigned d, unsigned n, unsigned r, unsigned s);
static inline void lsl(struct emit *e, bool wide, unsigned d, unsigned n, unsigned k)
{
    unsigned bits = wide ? 64 : 32;
    ubfm(e, wide, d, n, (bits - k) % bits, bits - 1 - k);
}
static inline void lsr(struct emit *e, bool wide, unsigned d, unsigned n, unsigned k) { ubfm(e, wide, d, n, k, wide ? 63 : 31); }
static inline void asr(struct emit *e, bool wide, unsigned d, unsigned n, unsigned k) { sbfm(e, wide, d, n, k, wide ? 63 : 31); }
static inline void ror(struct emit *e, bool wide, unsigned d, unsigned n, unsigned k)
{
    rrr(e, EXTR | (wide ? 1u << 22 : 0) | BY(k), wide, d, n, n);
}
/* d = bits [low, low + width) of n; and back into those of d. */
static inline void ubfx(struct emit *e, unsigned d, unsigned n, unsigned low, unsigned width) { ubfm(e, true, d, n, low, low + width - 1); }
static inline void bfi(struct emit *e, unsigned d, unsigned n, unsigned low, unsigned width) { bfm(e, true, d, n, (64 - low) % 64, width - 1); }
static inline void bfxil(struct emit *e, unsigned d, unsigned n, unsigned low, unsigned width) { bfm(e, true, d, n, low, low + width - 1); }
void csel(struct emit *e, bool wide, unsigned d, unsigned n, unsigned m, unsigned cond);
void cset(struct emit *e, unsigned d, unsigned cond);
/* Memory: size 1 2 4 8, zero-extended. [base + off]: off is not negative, any; a long one needs X17 (a load's own register serves). */
void ldr(struct emit *e, unsigned size, unsigned t, unsigned base, u32 off);
void ldrs(struct emit *e, unsigned size, unsigned t, unsigned base, u32 off);      /* sign-extended to 64 bits */
void str(struct emit *e, unsigned size, unsigned t, unsigned base, u32 off);
static inline void load(struct emit *e, unsigned size, unsigned t, u32 off) { ldr(e, size, t, VCPU, off); }
static inline void store(struct emit *e, unsigned size, unsigned t, u32 off) { str(e, size, t, VCPU, off); }
void pair(struct emit *e, u32 op, unsigned t, unsigned t2, unsigned base, s32 off);
enum { LDP = 0xa9400000, STP = 0xa9000000, STP32 = 0x29000000, LDP_POST = 0xa8c00000, STP_PRE = 0xa9800000 };
/* Branches, to be filled: they return where they stand. */
u32 branch(struct emit *e);
u32 branch_if(struct emit *e, unsigned cond);
u32 branch_zero(struct emit *e, bool wide, unsigned reg, bool not_zero);
u32 branch_bit(struct emit *e, unsigned reg, unsigned bit, bool set);
u32 branch_link(struct emit *e);
u32 load_literal(struct emit *e, unsigned t);       /* 8 bytes, to be filled with their place */
void branch_reg(struct emit *e, unsigned reg);
void ret(struct emit *e, unsigned reg);
void emit_fill(struct emit *e, u32 at, u32 to);     /* the branch or literal load at `at` leads to `to` */
void emit_branch_to(struct emit *e, u32 to);
bool branch_reaches(u32 insn, u32 at, u32 to, u32 *patched);

/* --- emit_flags.c --- */
void flags_save(struct emit *e);        /* host -> memory */
void flags_clobber(struct emit *e, u16 keep);   /* host flags are going to be lost; keep: those that are needed later */
void flags_to_host(struct emit *e);
void flags_carry(struct emit *e, bool inverted);        /* C is to have that sense */
void flags_emit_leave(struct emit *e, u16 live);   /* they have to be in memory here if live; */
void flags_emit_jump(struct emit *e, u16 live);    /* in the host's, C as it is: between units where nothing is known of the other */
static inline bool flags_in_host(const struct emit *e) { return e->flags == FLAGS_HOST || e->flags == FLAGS_BOTH; }
/* Around what changes the host's flags for the guest: keeps those that live on (in LR meanwhile). */
u16 flags_wanted(const struct ir_ins *ins);     /* defined, and read by somebody: those in the host's */
void flags_begin(struct emit *e, const struct ir_ins *ins);
void flags_end(struct emit *e, const struct ir_ins *ins, bool inverted);
/* P and A: the operands before the operation (b NO_REG: 0), the result, low byte good, behind it. */
void flags_adjust(struct emit *e, const struct ir_ins *ins, unsigned a, unsigned b);
void flags_parity(struct emit *e, const struct ir_ins *ins, unsigned result);
/* The same for an operation that computes them otherwise: X16 = 0 and PF's inverse. */
void flags_odd(struct emit *e, unsigned reg);
extern bool host_has_flagm;         /* CFINV, RMIF */
/* Flags of a result of ins->size in `result` (upper bits anything), with CF and OF in bit 0 of registers (NO_REG: 0). Uses X16, X17. */
void flags_from(struct emit *e, const struct ir_ins *ins, unsigned result, unsigned carry, unsigned overflow);
/* The host's condition for cc, after moving the flags where they have to be. For CC_P a register is looked at: *reg, bit 0 set:
 * odd parity; returns AL. */
unsigned flags_condition_of(struct emit *e, unsigned cc, unsigned *reg);

/* --- emit_atomic.c --- */
extern bool host_has_lse;
void emit_atomic(struct emit *e, const struct ir_ins *ins);     /* with IR_LOCK, d in memory */

/* --- emit_mem.c, emit_exit.c, emit_alu.c, emit_shift.c: one function per operation --- */
typedef void emit_fn(struct emit *e, const struct ir_ins *ins);
extern emit_fn *const emit_ops[IR_OP_COUNT];
#define IR(name, ...) emit_fn emit_##name;
#include "jit/ir.def"
struct tail *emit_tail(struct emit *e, enum tail_kind kind, u32 from);
void emit_tails(struct emit *e);
struct code_call *emit_call_data(struct emit *e, const struct ir_ins *ins);     /* what C functions are told */
void emit_lookup(struct emit *e);       /* to the code of RIP_REG, by the table */
void emit_crosses(struct emit *e);      /* at the start of a unit with code_unit.crosses */
void emit_executed(struct emit *e);     /* counts the entry, for code_unit.executed */

/* --- emit.c: operands --- */
extern const u8 host_of_gpr[16];
/* Host register that holds a guest register or temporary right now, else NO_REG. */
unsigned emit_home(struct emit *e, ir_val v);
unsigned emit_scratch(struct emit *e);              /* a free scratch register; never fails: the unit becomes `full` */
void emit_release(struct emit *e, unsigned reg);    /* gives back what these functions took; others are ignored */
/* A register with v in its low `size` bytes, anything above; the same zero- or sign-extended to 64 bits. Not to be changed
 * (but what is not v's home may be). */
unsigned emit_in(struct emit *e, ir_val v, unsigned size);
unsigned emit_in_zero(struct emit *e, ir_val v, unsigned size);
unsigned emit_in_sign(struct emit *e, ir_val v, unsigned size);
/* A register to make v's new value in (its home if all of it is going to be written), and its way from there to where v lives; emit_done
 * releases. */
unsigned emit_out(struct emit *e, ir_val v, unsigned size);
void emit_done(struct emit *e, ir_val v, unsigned reg, unsigned size);
bool emit_unit(struct jit *j, u8 *rw, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room);

/* --- insn.c: IR_OP_insn --- */
bool insn_can(const struct insn *in);
void insn_emit(struct emit *e, const struct ir_ins *ins);
void insn_tail(struct emit *e, struct tail *t);

#endif
