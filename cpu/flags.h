/* flags.h - the status flags CF PF AF ZF SF OF: how each instruction computes them, once. SDM 1 3.4.3.1, SDM 2 per
 * instruction.
 *
 * They are kept as three words from which each flag is one or two operations, with no look at what produced them:
 *
 *   zero    ZF = (zero == 0)
 *   sign    SF = bit 63, PF = even parity of bits 7:0
 *   carry   CF = bit 63, OF = bit 63 ^ bit 62, AF = bit 3
 *
 * An arithmetic instruction stores its sign-extended result twice, and the vector of carries out of each bit position
 * moved up so that the carry out of the operand's top bit is bit 63 (the carry into it is bit 62: OF is their
 * difference). Bit 3 is kept for AF. Any combination of flags can be stored (flags_set_status).
 *
 * Undefined flags follow current processors: logic clears AF; see each function of interp_*.c for its own.
 */
#ifndef SHADOW86_FLAGS_H
#define SHADOW86_FLAGS_H

#include "cpu/vcpu.h"

/* Condition codes as encoded in Jcc, SETcc, CMOVcc; inverting one is ^ 1. SDM 1 appendix B. */
enum cc { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };
static_assert((CC_E ^ 1) == CC_NE, "inverting a condition is ^ 1");

static inline bool flags_cf(const struct vcpu *c) { return c->lazy.carry >> 63; }
static inline bool flags_of(const struct vcpu *c) { return (c->lazy.carry ^ c->lazy.carry << 1) >> 63; }
static inline bool flags_af(const struct vcpu *c) { return c->lazy.carry >> 3 & 1; }
static inline bool flags_zf(const struct vcpu *c) { return c->lazy.zero == 0; }
static inline bool flags_sf(const struct vcpu *c) { return c->lazy.sign >> 63; }
static inline bool flags_pf(const struct vcpu *c)
{
    unsigned p = (u8)c->lazy.sign;
    p ^= p >> 4;
    return 0x9669 >> (p & 15) & 1;      /* bit n: n has an even number of ones */
}

/* All six as EFLAGS bits. */
static inline u32 flags_status(const struct vcpu *c)
{
    return (flags_cf(c) ? EFL_CF : 0) | (flags_pf(c) ? EFL_PF : 0) | (flags_af(c) ? EFL_AF : 0) |
           (flags_zf(c) ? EFL_ZF : 0) | (flags_sf(c) ? EFL_SF : 0) | (flags_of(c) ? EFL_OF : 0);
}

static inline u64 flags_carry_word(bool cf, bool of, bool af)
{
    return (u64)cf << 63 | (u64)(cf ^ of) << 62 | (u64)af << 3;
}

static inline void flags_set_status(struct vcpu *c, u32 bits)
{
    c->lazy.zero = !(bits & EFL_ZF);
    c->lazy.sign = (bits & EFL_SF ? (u64)1 << 63 : 0) | (bits & EFL_PF ? 0 : 1);
    c->lazy.carry = flags_carry_word(bits & EFL_CF, bits & EFL_OF, bits & EFL_AF);
}
/* Replaces the status flags in mask. */
static inline void flags_put(struct vcpu *c, u32 mask, u32 bits)
{
    flags_set_status(c, (flags_status(c) & ~mask) | (bits & mask));
}
static inline void flags_set_cf(struct vcpu *c, bool cf)    /* the others stay */
{
    c->lazy.carry = flags_carry_word(cf, flags_of(c), flags_af(c));
}

static inline u64 flags_sign_extend(unsigned bytes, u64 v)
{
    return bytes == 8 ? v : bytes == 4 ? (u64)(s64)(s32)v : bytes == 2 ? (u64)(s64)(s16)v : (u64)(s64)(s8)v;
}
static inline u64 flags_truncate(unsigned bytes, u64 v)
{
    return bytes == 8 ? v : bytes == 4 ? (u32)v : bytes == 2 ? (u16)v : (u8)v;
}

/* ZF, SF and PF of a result; the caller stores `carry`. */
static inline void flags_result(struct vcpu *c, unsigned bytes, u64 r)
{
    c->lazy.zero = c->lazy.sign = flags_sign_extend(bytes, r);
}

static inline u64 flags_arith(struct vcpu *c, unsigned bytes, u64 r, u64 carries)
{
    flags_result(c, bytes, r);
    c->lazy.carry = bytes == 8 ? carries : carries << (64 - 8 * bytes) | (carries & 8);
    return flags_truncate(bytes, r);
}

/* The operations. Operands may have anything above `bytes`; the result is zero-extended. */
static inline u64 flags_add(struct vcpu *c, unsigned bytes, u64 a, u64 b)
{
    u64 r = a + b;
    return flags_arith(c, bytes, r, (a & b) | ((a | b) & ~r));
}
static inline u64 flags_adc(struct vcpu *c, unsigned bytes, u64 a, u64 b)
{
    u64 r = a + b + flags_cf(c);
    return flags_arith(c, bytes, r, (a & b) | ((a | b) & ~r));
}
static inline u64 flags_sub(struct vcpu *c, unsigned bytes, u64 a, u64 b)
{
    u64 r = a - b;
    return flags_arith(c, bytes, r, (~a & b) | ((~a | b) & r));
}
static inline u64 flags_sbb(struct vcpu *c, unsigned bytes, u64 a, u64 b)
{
    u64 r = a - b - flags_cf(c);
    return flags_arith(c, bytes, r, (~a & b) | ((~a | b) & r));
}
static inline u64 flags_logic(struct vcpu *c, unsigned bytes, u64 r)    /* CF = OF = AF = 0 */
{
    flags_result(c, bytes, r);
    c->lazy.carry = 0;
    return flags_truncate(bytes, r);
}
/* INC and DEC leave CF alone: bit 63 keeps it, and bit 62 is chosen to give the new OF. */
static inline u64 flags_inc_dec(struct vcpu *c, unsigned bytes, u64 r, u64 carries)
{
    u64 cf = c->lazy.carry >> 63 << 63, top = carries << (64 - 8 * bytes);
    u64 of = (top ^ top << 1) >> 63 << 62;
    flags_result(c, bytes, r);
    c->lazy.carry = (cf | (cf >> 1)) ^ of;
    c->lazy.carry |= carries & 8;
    return flags_truncate(bytes, r);
}
static inline u64 flags_inc(struct vcpu *c, unsigned bytes, u64 a)
{
    u64 r = a + 1;
    return flags_inc_dec(c, bytes, r, a & ~r);
}
static inline u64 flags_dec(struct vcpu *c, unsigned bytes, u64 a)
{
    u64 r = a - 1;
    return flags_inc_dec(c, bytes, r, ~a & r);
}

static inline bool flags_condition(const struct vcpu *c, unsigned cc)
{
    const struct lazy_flags *f = &c->lazy;
    bool r;
    switch (cc >> 1 & 7) {
    case 0: r = flags_of(c); break;
    case 1: r = flags_cf(c); break;
    case 2: r = flags_zf(c); break;
    case 3: r = (unsigned)flags_cf(c) | flags_zf(c); break;
    case 4: r = flags_sf(c); break;
    case 5: r = flags_pf(c); break;
    case 6: r = (f->sign ^ f->carry ^ f->carry << 1) >> 63; break;
    default: r = (f->sign ^ f->carry ^ f->carry << 1) >> 63 | flags_zf(c); break;
    }
    return r ^ (cc & 1);
}

#endif
