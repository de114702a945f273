/* emit.h - the x86-64 backend: where everything is kept, and how instructions are written. Private to jit/x86_64/.
 *
 * Registers. RBP points into the vCPU (VCPU_BIAS bytes behind its start, so that short displacements reach all of its
 * hot part). RSP is the return-address stack of translated code. RCX, R10, R11 are scratch: they hold temporaries of the IR, and R11
 * the popped address at a return. The other eleven hold guest registers (host_of_gpr); the guest's R10, R11, R13,
 * R14, R15 live in the vCPU. Guest RAX RDX RBX RSI RDI R8 R9 R12 are in themselves, so that implicit operands and AH, DH, BH need
 * no moves. RCX is not: it is the one register that a branch can test without flags (JRCXZ), and shift counts are moved
 * into it.
 *
 * XMM0..15 / YMM0..15 are the guest's, once a `need` has loaded them; so is the x87.
 */
#ifndef SHADOW86_JIT_X86_64_EMIT_H
#define SHADOW86_JIT_X86_64_EMIT_H

#include "jit/backend.h"

enum host { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG = 0xff };
enum { VCPU_BIAS = 128 };
#define VCPU_DISP(member) ((s32)offsetof(struct vcpu, member) - VCPU_BIAS)

/* A ModRM operand: a register, or [base + index << scale + disp]. base NO_REG: [rip + disp], disp a cache offset. */
struct rm { bool mem; u8 reg; u8 base, index, scale; s32 disp; };
static inline struct rm rm_reg(unsigned r) { return (struct rm){ .reg = (u8)r }; }
static inline struct rm rm_mem(unsigned base, s32 disp)
{
    return (struct rm){ .mem = true, .base = (u8)base, .index = NO_REG, .disp = disp };
}
static inline struct rm rm_index(unsigned base, unsigned index, unsigned scale, s32 disp)
{
    return (struct rm){ .mem = true, .base = (u8)base, .index = (u8)index, .scale = (u8)scale, .disp = disp };
}
static inline struct rm rm_vcpu(s32 disp) { return rm_mem(RBP, disp); }     /* disp: VCPU_DISP(...) */
static inline struct rm rm_code(u32 at)     /* cache offset */
{
    return (struct rm){ .mem = true, .base = NO_REG, .index = NO_REG, .disp = (s32)at };
}

struct emit {
    struct jit *j;
    const struct ir_unit *u;
    struct code_unit *out;
    const struct ir_ins *ins;       /* being emitted */
    u8 *rw;                         /* the cache, writable, from offset 0 */
    u32 at, end;                    /* cache offset of the next byte; of the first that is not ours */
    bool full;                      /* looked at once, when the unit is done */
};

/* --- encode.c: bytes. All take care of REX and of displacement sizes. --- */
void put8(struct emit *e, u8 v);
void put32(struct emit *e, u32 v);
void put64(struct emit *e, u64 v);
/* opcode: 0xOO, 0x0fOO, 0x0f38OO, 0x0f3aOO. prefix: 0, 0x66, 0xf3, 0xf2 (mandatory, or operand size). w: REX.W. reg8, rm8: the operand is
 * a byte register (SPL.. need REX). imm_bytes: how many bytes of immediate follow (for [rip + disp]). */
struct enc { u8 prefix; bool w, reg8, rm8, lock; u8 imm_bytes; };
void enc(struct emit *e, struct enc how, u32 opcode, unsigned reg, struct rm rm);
/* VEX: pp 0..3 (none, 66, F3, F2), map 1..3 (0F, 0F38, 0F3A), l: 256 bits. vvvv: 0 where there is none. */
void enc_vex(struct emit *e, unsigned pp, unsigned map, bool w, bool l, u8 opcode, unsigned reg, unsigned vvvv, struct rm rm,
             unsigned imm_bytes);

/* --- emit.c: operands --- */
extern const u8 host_of_gpr[16];    /* enum host, NO_REG: in the vCPU */
/* Host register that holds a guest register or temporary right now, NO_REG if it is in the vCPU. */
unsigned emit_home(struct emit *e, ir_val v);
/* ModRM operand for a register, temporary, high byte (of guest RAX, RDX, RBX) or IR_MEM of e->ins. */
struct rm emit_rm(struct emit *e, ir_val v);
/* A host register that holds v's value (loaded into a free scratch register if it is not in one); release it with emit_release. */
unsigned emit_use(struct emit *e, ir_val v, unsigned size);
/* A register to put v's new value into; emit_defined stores it where v lives. */
unsigned emit_def(struct emit *e, ir_val v);
void emit_defined(struct emit *e, ir_val v, unsigned reg, unsigned size);
unsigned emit_scratch(struct emit *e);              /* a free scratch register; never fails: the unit becomes `full` */
void emit_release(struct emit *e, unsigned reg);    /* gives back what emit_use or emit_scratch took; others are ignored */

/* --- insn.c: IR_OP_insn, by the row's own encoding --- */
bool insn_can(const struct insn *in);
void insn_emit(struct emit *e, const struct ir_ins *ins);

#endif
