/* encode.c - x86-64 instruction bytes: prefixes, ModRM, SIB, displacements. SDM 2, chapter 2.
 *
 * Bytes go to the writable view of the cache. What does not fit sets e->full, and nothing more is written.
 */
#include "jit/x86_64/emit.h"

#include <string.h>

enum { LONGEST = 24 };      /* no instruction without its immediates is longer */

static bool room(struct emit *e)
{
    e->full |= e->end - e->at < LONGEST;
    return !e->full;
}

static u8 *write32(u8 *p, u32 v)
{
    memcpy(p, &v, 4);
    return p + 4;
}

/* ModRM, SIB and displacement. imm_bytes follow: [rip + disp] counts from the end of the instruction. */
static u8 *put_modrm(const struct emit *e, u8 *p, unsigned reg, struct rm rm, unsigned imm_bytes)
{
    unsigned r = (reg & 7) << 3, base = rm.base & 7;
    if (!rm.mem) {
        *p++ = (u8)(0xc0 | r | (rm.reg & 7));
        return p;
    }
    if (rm.base == NO_REG && rm.index == NO_REG) {
        *p++ = (u8)(r | 5);
        return write32(p, (u32)rm.disp - ((u32)(p - e->rw) + 4 + imm_bytes));
    }
    bool sib = rm.index != NO_REG || base == RSP;
    unsigned mod = rm.base == NO_REG ? 0 : rm.disp == 0 && base != RBP ? 0 : rm.disp == (s8)rm.disp ? 1 : 2;
    *p++ = (u8)(mod << 6 | r | (sib ? 4 : base));
    if (sib)
        *p++ = (u8)(rm.scale << 6 | (rm.index == NO_REG ? 4 : rm.index & 7) << 3 | (rm.base == NO_REG ? 5 : base));
    if (mod == 1)
        *p++ = (u8)rm.disp;
    else if (mod == 2 || rm.base == NO_REG)
        p = write32(p, (u32)rm.disp);
    return p;
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
    if (!room(e))
        return;
    u8 *p = e->rw + e->at;
    if (how.lock)
        *p++ = 0xf0;
    if (how.prefix)
        *p++ = how.prefix;
    if (rex || needs_rex(how, reg, rm))
        *p++ = (u8)(0x40 | rex);
    if (opcode > 0xffff)
        *p++ = (u8)(opcode >> 16);
    if (opcode > 0xff)
        *p++ = (u8)(opcode >> 8);
    *p++ = (u8)opcode;
    p = put_modrm(e, p, reg, rm, how.imm_bytes);
    e->at = (u32)(p - e->rw);
}

void enc_vex(struct emit *e, unsigned pp, unsigned map, bool w, bool l, u8 opcode, unsigned reg, unsigned vvvv, struct rm rm,
             unsigned imm_bytes)
{
    unsigned rex = rex_bits(reg, rm), low = (~vvvv & 15) << 3 | (l ? 4u : 0) | pp;
    e->insns++;
    if (!room(e))
        return;
    u8 *p = e->rw + e->at;
    if (map == 1 && !w && !(rex & 3)) {
        *p++ = 0xc5;
        *p++ = (u8)((rex & 4 ? 0 : 0x80) | low);
    } else {
        *p++ = 0xc4;
        *p++ = (u8)((~rex & 7) << 5 | map);
        *p++ = (u8)((w ? 0x80 : 0) | low);
    }
    *p++ = opcode;
    p = put_modrm(e, p, reg, rm, imm_bytes);
    e->at = (u32)(p - e->rw);
}
