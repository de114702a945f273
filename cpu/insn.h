/* insn.h - a decoded instruction, and the table that describes every instruction (insn.def).
 *
 * decode.c fills struct insn from bytes; print.c, the interpreter, the translator and the tests read it.
 * It holds nothing that depends on where the bytes stand (RIP-relative operands name GPR_RIP as their base), so a
 * decoded instruction can be shared by all linear addresses that map the same physical bytes.
 */
#ifndef SHADOW86_INSN_H
#define SHADOW86_INSN_H

#include "cpu/types.h"

struct vcpu;
struct insn;

/* Executes one instruction. c->rip already holds the address of the next instruction.
 * Returns false if a fault was noted in c (cpu_fault): then nothing the guest can see has changed but c->rip, which the
 * caller puts back. */
typedef bool interp_fn(struct vcpu *c, const struct insn *in);

/* General registers; also indices of vcpu.gpr. GPR_NONE reads as zero, so that effective addresses need no branch. */
enum gpr {
    GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI,
    GPR_R8, GPR_R9, GPR_R10, GPR_R11, GPR_R12, GPR_R13, GPR_R14, GPR_R15,
    GPR_RIP, GPR_NONE,
    GPR_BLOCK,      /* the interpreter's own: address of the block that runs, GPR_RIP's stand-in inside of blocks */
    GPR_COUNT
};

/* Segment registers in encoding order (SDM 2, table 3-1 "Sreg"). */
enum sreg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

enum op_kind {
    OP_NONE,
    OP_GPR,         /* reg = enum gpr; size 1 means the low byte (SPL..DIL with REX included) */
    OP_GPRH,        /* AH CH DH BH: reg = GPR_RAX..GPR_RBX, bits 15:8; size 1 */
    OP_MEM,         /* insn.seg, base, index, scale, disp, addrsize; insn.vsib: index is a vector register */
    OP_IMM,         /* insn.imm (reg = 0) or insn.imm2 (reg = 1), already sign- or zero-extended to the operand size */
    OP_REL,         /* insn.imm = displacement from the next instruction */
    OP_FAR,         /* ptr16:16/32: insn.imm = offset, insn.imm2 = selector */
    OP_SREG,        /* reg = enum sreg */
    OP_CR, OP_DR,   /* reg = 0..15 */
    OP_ST,          /* reg = i of ST(i) */
    OP_MMX,         /* reg = 0..7, size = bytes used: 4, 8 */
    OP_VEC,         /* reg = 0..15 of XMM/YMM, size = bytes used: 1, 2, 4, 8, 16, 32 */
    OP_STR,         /* string element: reg = GPR_RSI at insn.seg:rSI, or GPR_RDI at ES:rDI; size = element size */
};

struct operand {
    u8 kind;        /* enum op_kind */
    u8 reg;
    u8 size;        /* bytes the instruction uses of it; 0 where that is not one number (FXSAVE, INVLPG, LEA) */
};

enum rep_prefix { REP_NONE, REP_F3 /* REP, REPE */, REP_F2 /* REPNE */ };

/* One decoded instruction: one cache line. The string instructions and others with fixed registers (DIV's rDX:rAX, MUL,
 * CMPXCHG's accumulator, shifts by CL excepted: CL is an operand) take these from the vCPU, not from operands.
 *
 * SSE/AVX: a row serves the legacy and the VEX form. Operand 0 is the destination, operand 1 the first source, operand
 * 2 the second. In the legacy form of a destructive instruction operand 1 is the same register as operand 0 (print.c
 * leaves it out); so interpreter functions read sources from 1 and 2 in both forms. `vex` says what becomes of the
 * destination's upper bits: kept (legacy) or cleared (VEX). */
struct insn {
    interp_fn *run;     /* in_<name>, with the checks in front of it that the row asks for */
    u64 imm;
    u64 disp;           /* sign-extended; the whole 64-bit address for moffs */
    u16 row;            /* index into insn_rows */
    u16 imm2;           /* x87 instructions: FOP, the low three bits of the escape byte and the ModRM byte (SDM 1 8.1.9) */
    u8 len;             /* bytes, 1..15 */
    u8 mode;            /* 2, 4, 8: the code size (CS.D / CS.L) that it was decoded for, in bytes */
    u8 opsize;          /* 2, 4, 8: effective operand size in bytes */
    u8 addrsize;        /* 2, 4, 8: effective address size in bytes */
    u8 seg;             /* segment of the memory operand, default or override; string source segment */
    u8 base, index;     /* enum gpr, GPR_NONE where absent */
    u8 scale;           /* 0..3 */
    u8 rep;             /* enum rep_prefix; only where it is a repeat prefix (string instructions), else REP_NONE */
    u8 lock : 1, vex : 1, vsib : 1, rex_w : 1, modrm_mem : 1;
    u8 vl;              /* vector length in bytes: 8 (MMX), 16, 32; 0 if not a vector instruction */
    u8 prefix;          /* enum insn_prefix bits as they stood in the bytes (for printing and hints) */
    struct operand op[4];
    /* the interpreter's own, for an instruction in a block (icache.c) */
    u16 end;            /* where it ends, in bytes from the block's start */
    u16 nth;            /* instructions before it in the block */
    interp_fn *chain;   /* runs it and those behind it: interp_forms.h */
};
static_assert(sizeof(struct insn) == 64, "one decoded instruction, one cache line");

enum insn_prefix { PREFIX_66 = 1, PREFIX_67 = 2, PREFIX_F3 = 4, PREFIX_F2 = 8, PREFIX_SEG = 16, PREFIX_REX = 32 };

/* Attributes of a row (column attr of insn.def). The decoder's helper may add more. */
enum insn_attr {
    ATTR_LOCK = 1 << 0,     /* LOCK is allowed with a memory destination */
    ATTR_NO64 = 1 << 1,     /* #UD in 64-bit mode */
    ATTR_ONLY64 = 1 << 2,   /* #UD outside 64-bit mode */
    ATTR_BRANCH = 1 << 3,   /* may set RIP to something else than the next instruction: ends a block */
    ATTR_SYS = 1 << 4,      /* may change mode, paging, segments, IF or shadows: ends a block */
    ATTR_PRIV = 1 << 5,     /* #GP(0) unless CPL is 0 */
    ATTR_PROT = 1 << 6,     /* #UD in real and virtual-8086 mode */
    ATTR_VEX = 1 << 7,      /* has a VEX form */
    ATTR_VEXONLY = 1 << 8,  /* has no legacy form */
    ATTR_X87 = 1 << 9,      /* needs CR0.EM = CR0.TS = 0, reports pending x87 exceptions */
    ATTR_MMX = 1 << 10,
    ATTR_SSE = 1 << 11,     /* needs CR4.OSFXSR, CR0.EM = 0, CR0.TS = 0 (VEX: CR4.OSXSAVE and XCR0 instead) */
    ATTR_ALIGN = 1 << 12,   /* legacy-form 16-byte memory operand must be aligned, else #GP(0) */
    ATTR_STRING = 1 << 13,
    ATTR_D64 = 1 << 14,     /* 64-bit mode: operand size 8, or 2 with 66 */
    ATTR_F64 = 1 << 15,     /* 64-bit mode: operand size 8, 66 is ignored */
    ATTR_CC = 1 << 16,      /* condition in the opcode's low 4 bits: insn.imm2 */
    ATTR_NOWAIT = 1 << 17,  /* x87 control instruction that leaves pending exceptions alone */
    ATTR_CONDFL = 1 << 18,  /* may leave all flags as they are (shift count 0, REP with rCX 0) */
    ATTR_VALIGN = 1 << 19,  /* memory operand of the VEX form must be aligned to its size, else #GP(0) */
    ATTR_Y2 = 1 << 20,      /* the 256-bit form needs AVX2 */
    ATTR_GATHER = 1 << 21,
    ATTR_NOREXB = 1 << 22,  /* not with REX.B (NOP and PAUSE, which are XCHG r8, rAX then) */
};

/* A row of insn.def. Flag sets are EFLAGS bits (flags.h). */
struct insn_row {
    const char *name;       /* the manual's mnemonic in lower case, without VEX's "v" */
    interp_fn *run;         /* in_<name> */
    u32 attr;               /* enum insn_attr */
    u16 cpuid;              /* enum cpuid_feature: missing feature means #UD */
    u16 reads, writes, undef;
};
extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;

enum decode_status {
    DECODE_OK,
    DECODE_UD,          /* no such instruction: #UD; in->len is what was looked at */
    DECODE_TOO_LONG,    /* more than 15 bytes: #GP(0) */
    DECODE_SHORT,       /* the bytes end before the instruction does; fetch more and call again */
};

/* Decodes one instruction. bytes: `avail` bytes (at most 15 are looked at). mode: 2, 4, 8 (16-, 32-, 64-bit code).
 * features: the guest's CPUID features, a bit set indexed by enum cpuid_feature (u64[CPUID_FEATURE_WORDS]), or NULL for
 * all. Fills *in, `run` included, unless the result is not DECODE_OK. SDM 2, chapter 2 and appendix A. */
enum decode_status insn_decode(struct insn *in, const u8 *bytes, unsigned avail, unsigned mode, const u64 *features);

/* Prints one instruction in Intel syntax as Capstone does, at most `size` bytes with the terminating NUL. rip is its own
 * address (branch targets are printed absolute). Returns buf. */
char *insn_print(char *buf, size_t size, const struct insn *in, u64 rip);

#endif
