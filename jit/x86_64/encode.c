/* encode.c - x86-64 instruction bytes: prefixes, ModRM, SIB, displacements. SDM 2, chapter 2.
 *
 * Bytes go to the writable view of the cache. What does not fit sets e->full, and nothing more is written.
 */
#include "jit/x86_64/emit.h"

#include <string.h>

static void put(struct emit *e, const void *v, u32 bytes)
{
    if (e->end - e->at < bytes) {
        e->full = true;
        return;
    }
    memcpy(e->rw + e->at, v, bytes);
    e->at += bytes;
}

void put8(struct emit *e, u8 v) { put(e, &v, 1); }
void put_opcode(struct emit *e, u8 v)
{
    e->insns++;
    put8(e, v);
}
void put32(struct emit *e, u32 v) { put(e, &v, 4); }
void put64(struct emit *e, u64 v) { put(e, &v, 8); }

/* ModRM, SIB and displacement. imm_bytes follow: [rip + disp] counts from the end of the instruction. */
static void put_modrm(struct emit *e, unsigned reg, struct rm rm, unsigned imm_bytes)
{
    unsigned r = (reg & 7) << 3, base = rm.base & 7;
    if (!rm.mem) {
        put8(e, (u8)(0xc0 | r | (rm.reg & 7)));
        return;
    }
    if (rm.base == NO_REG && rm.index == NO_REG) {
        put8(e, (u8)(r | 5));
        put32(e, (u32)rm.disp - (e->at + 4 + imm_bytes));
        return;
    }
    bool sib = rm.index != NO_REG || base == RSP;
    unsigned mod = rm.base == NO_REG ? 0 : rm.disp == 0 && base != RBP ? 0 : rm.disp == (s8)rm.disp ? 1 : 2;
    put8(e, (u8)(mod << 6 | r | (sib ? 4 : base)));
    if (sib)
        put8(e, (u8)(rm.scale << 6 | (rm.index == NO_REG ? 4 : rm.index & 7) << 3 | (rm.base == NO_REG ? 5 : base)));
    if (mod == 1)
        put8(e, (u8)rm.disp);
    else if (mod == 2 || rm.base == NO_REG)
        put32(e, (u32)rm.disp);
}

static unsigned rex_bits(unsigned reg, struct rm rm)
{
    unsigned b = rm.mem ? rm.base != NO_REG && rm.base & 8 : rm.reg & 8;
    unsigned x = rm.mem && rm.index != NO_REG && rm.index & 8;
    return (reg & 8 ? 4 : 0) | (x ? 2 : 0) | (b ? 1 : 0);
}

/* SPL BPL SIL DIL are AH CH DH BH without a REX prefix. */
static bool needs_rex(struct enc how, unsigned reg, struct rm rm)
{
    return (how.reg8 && reg >= RSP && reg <= RDI) || (how.rm8 && !rm.mem && rm.reg >= RSP && rm.reg <= RDI);
}

void enc(struct emit *e, struct enc how, u32 opcode, unsigned reg, struct rm rm)
{
    unsigned rex = rex_bits(reg, rm) | (how.w ? 8 : 0);
    e->insns++;
    if (how.lock)
        put8(e, 0xf0);
    if (how.prefix)
        put8(e, how.prefix);
    if (rex || needs_rex(how, reg, rm))
        put8(e, (u8)(0x40 | rex));
    if (opcode > 0xffff)
        put8(e, (u8)(opcode >> 16));
    if (opcode > 0xff)
        put8(e, (u8)(opcode >> 8));
    put8(e, (u8)opcode);
    put_modrm(e, reg, rm, how.imm_bytes);
}

void enc_vex(struct emit *e, unsigned pp, unsigned map, bool w, bool l, u8 opcode, unsigned reg, unsigned vvvv, struct rm rm,
             unsigned imm_bytes)
{
    unsigned rex = rex_bits(reg, rm), low = (~vvvv & 15) << 3 | (l ? 4u : 0) | pp;
    e->insns++;
    if (map == 1 && !w && !(rex & 3)) {
        put8(e, 0xc5);
        put8(e, (u8)((rex & 4 ? 0 : 0x80) | low));
    } else {
        put8(e, 0xc4);
        put8(e, (u8)((~rex & 7) << 5 | map));
        put8(e, (u8)((w ? 0x80 : 0) | low));
    }
    put8(e, opcode);
    put_modrm(e, reg, rm, imm_bytes);
}
