/* vec.h - what the functions of MMX, SSE and AVX integer instructions share.
 *
 * One function serves a mnemonic in all its forms: it reads its sources from operands 1 and 2, computes in->vl bytes
 * (8: MMX, 16: XMM, 32: YMM) and hands the result to vec_write, which is the only place that commits: memory faults
 * first, then the register, then what an MMX instruction does to the x87 unit. Instructions that AVX2 widened do the
 * same thing to each 128-bit half ("lane"); an MMX register is one lane of 8 bytes. SDM 2, SDM 1 chapters 9 to 15.
 */
#ifndef SHADOW86_VEC_H
#define SHADOW86_VEC_H

#include <string.h>

#include "cpu/insn.h"
#include "cpu/operand.h"
#include "cpu/vcpu.h"

/* Bytes of a lane: shuffles, packs, horizontal operations never cross it. */
static inline unsigned vec_lane(const struct insn *in) { return in->vl == 8 ? 8 : 16; }

/* The immediate byte. */
static inline u8 vec_imm(const struct insn *in) { return (u8)in->imm; }

/* Operands 1 and 2. */
static inline bool vec_sources(struct vcpu *c, const struct insn *in, union vec *a, union vec *b)
{
    return operand_read_vec(c, in, 1, a) && operand_read_vec(c, in, 2, b);
}

/* The low 16 bytes of the register that operand i names, whatever part of it the instruction uses; the rest is zero. */
union vec vec_xmm(const struct vcpu *c, const struct insn *in, unsigned i);
/* A scalar source: a general register in full, or op.size bytes of memory. */
bool vec_read_scalar(struct vcpu *c, const struct insn *in, unsigned i, u64 *v);
/* Operand 0 := v, then the x87 state that an MMX instruction leaves. A general register gets the low 4 or 8 bytes. */
bool vec_write(struct vcpu *c, const struct insn *in, const union vec *v);
/* TOP := 0 and all tags valid if the instruction names an MMX register (SDM 1 9.5.1). Nothing may fault after it. */
void vec_mmx_commit(struct vcpu *c, const struct insn *in);
/* #GP(0) unless the memory operand, of `bytes` bytes, is aligned on that many: for what has no ATTR_ALIGN. */
bool vec_check_aligned(struct vcpu *c, const struct insn *in, unsigned bytes, enum access access);

#define VEC_SATURATE(type, wide, min, max) \
    static inline type vec_sat_##type(wide v) { return (type)(v < (min) ? (min) : v > (max) ? (max) : v); }
VEC_SATURATE(s8, s32, INT8_MIN, INT8_MAX)
VEC_SATURATE(u8, s32, 0, UINT8_MAX)
VEC_SATURATE(s16, s32, INT16_MIN, INT16_MAX)
VEC_SATURATE(u16, s32, 0, UINT16_MAX)
#undef VEC_SATURATE

#endif
