/* operand.h - reading and writing the operands of a decoded instruction. Implemented inline here and in operand.c.
 * Instructions that are hot have forms of their own for each kind of operand (interp_*.c) and do not come here.
 *
 * All functions return false with the fault noted in c. Values are zero-extended to 64 bits.
 */
#ifndef SHADOW86_OPERAND_H
#define SHADOW86_OPERAND_H

#include "cpu/mem.h"
#include "cpu/vcpu.h"

/* Offset part of the memory operand, truncated to the address size (no access, no check). */
static inline u64 operand_ea(const struct vcpu *c, const struct insn *in)
{
    u64 ea = c->gpr[in->base] + (c->gpr[in->index] << in->scale) + in->disp;
    return in->addrsize == 8 ? ea : in->addrsize == 4 ? (u32)ea : (u16)ea;
}

/* A general register at a width; gpr_write of 4 bytes clears the upper half, of 1 or 2 keeps the rest. */
static inline u64 gpr_read(const struct vcpu *c, unsigned reg, unsigned bytes)
{
    u64 v = c->gpr[reg];
    return bytes == 8 ? v : bytes == 4 ? (u32)v : bytes == 2 ? (u16)v : (u8)v;
}
static inline void gpr_write(struct vcpu *c, unsigned reg, unsigned bytes, u64 v)
{
    switch (bytes) {
    case 8: c->gpr[reg] = v; break;
    case 4: c->gpr[reg] = (u32)v; break;
    case 2: c->gpr[reg] = (c->gpr[reg] & ~(u64)0xffff) | (u16)v; break;
    default: c->gpr[reg] = (c->gpr[reg] & ~(u64)0xff) | (u8)v; break;
    }
}

/* A byte register: the low byte, or bits 15:8 for AH CH DH BH. */
static inline u8 gpr_read8(const struct vcpu *c, const struct operand *o)
{
    return (u8)(c->gpr[o->reg] >> (o->kind == OP_GPRH ? 8 : 0));
}
static inline void gpr_write8(struct vcpu *c, const struct operand *o, u8 v)
{
    unsigned shift = o->kind == OP_GPRH ? 8 : 0;
    c->gpr[o->reg] = (c->gpr[o->reg] & ~((u64)0xff << shift)) | (u64)v << shift;
}

/* Operand i: OP_GPR, OP_GPRH, OP_MEM, OP_IMM of 1..8 bytes, OP_SREG. */
bool operand_read(struct vcpu *c, const struct insn *in, unsigned i, u64 *v);
bool operand_write(struct vcpu *c, const struct insn *in, unsigned i, u64 v);
/* Reads an operand that will be written: finds write faults before anything changes. Complete with operand_write. */
bool operand_rmw(struct vcpu *c, const struct insn *in, unsigned i, u64 *v);

/* Vector and MMX operands: op.size bytes from OP_VEC, OP_MMX, OP_MEM (or OP_GPR of 4/8). The rest of *v is zero.
 * Checks 16-byte alignment (#GP) for rows with ATTR_ALIGN in the legacy form. */
bool operand_read_vec(struct vcpu *c, const struct insn *in, unsigned i, union vec *v);
/* OP_VEC destination: writes the low 16 bytes (in->vl == 32: all 32). in->vex clears bits from 8 * vl up to 255, the
 * legacy form keeps them. OP_MMX: the low 8 bytes, and sets the x87 register's exponent to all ones. OP_MEM: op.size. */
bool operand_write_vec(struct vcpu *c, const struct insn *in, unsigned i, const union vec *v);

#endif
