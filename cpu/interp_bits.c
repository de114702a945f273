/* interp_bits.c - single bits, bit fields, counting, byte order, CRC32, extended-precision and exchange instructions:
 * BT BTS BTR BTC BSF BSR TZCNT LZCNT POPCNT, BMI1, BMI2 (shifts: interp_shift.c), ADX, MOVBE BSWAP, CRC32, CMPXCHG,
 * CMPXCHG8B/16B, XADD. SDM 2.
 *
 * Undefined flags are left alone by BT*, BSF and BSR, TZCNT and LZCNT, and follow the result elsewhere.
 */
#include "cpu/interp_forms.h"

static u64 swap_bytes(unsigned n, u64 v) { return __builtin_bswap64(v) >> (64 - 8 * n); }

/* --- BT, BTS, BTR, BTC ---------------------------------------------------------------------------------------- */

enum bit_op { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static u64 bit_apply(enum bit_op op, u64 v, u64 mask)
{
    switch (op) {
    case BIT_SET: return v | mask;
    case BIT_RESET: return v & ~mask;
    case BIT_COMPLEMENT: return v ^ mask;
    default: return v;
    }
}

/* Memory operand and a bit number in a register: the number is signed and reaches beyond the operand. */
static u64 bit_address(const struct vcpu *c, const struct insn *in, unsigned n, u64 number)
{
    s64 units = (s64)flags_sign_extend(n, number) >> (n == 8 ? 6 : n == 4 ? 5 : 4);
    return flags_truncate(in->addrsize, operand_ea(c, in) + (u64)units * n);
}

static bool bit_memory(struct vcpu *c, const struct insn *in, enum bit_op op, u64 number)
{
    unsigned n = in->op[0].size;
    u64 v, mask = (u64)1 << (number & (8 * n - 1));
    u64 ea = in->op[1].kind == OP_IMM ? operand_ea(c, in) : bit_address(c, in, n, number);
    if (op != BIT_TEST && !mem_probe_write(c, in->seg, ea, n))
        return false;
    if (!mem_read(c, in->seg, ea, n, &v) ||
        (op != BIT_TEST && !mem_write(c, in->seg, ea, n, bit_apply(op, v, mask))))
        return false;
    flags_set_cf(c, v & mask);
    return true;
}

static bool bit_instruction(struct vcpu *c, const struct insn *in, enum bit_op op)
{
    u64 number;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 1, &number))
        return false;
    if (in->op[0].kind == OP_MEM)
        return bit_memory(c, in, op, number);
    u64 v = gpr_read(c, in->op[0].reg, n), mask = (u64)1 << (number & (8 * n - 1));
    if (op != BIT_TEST)
        gpr_write(c, in->op[0].reg, n, bit_apply(op, v, mask));
    flags_set_cf(c, v & mask);
    return true;
}

bool in_bt(struct vcpu *c, const struct insn *in) { return bit_instruction(c, in, BIT_TEST); }
bool in_bts(struct vcpu *c, const struct insn *in) { return bit_instruction(c, in, BIT_SET); }
bool in_btr(struct vcpu *c, const struct insn *in) { return bit_instruction(c, in, BIT_RESET); }
bool in_btc(struct vcpu *c, const struct insn *in) { return bit_instruction(c, in, BIT_COMPLEMENT); }

/* --- scanning and counting ------------------------------------------------------------------------------------ */

static unsigned leading_zeros(unsigned n, u64 v) { return v ? (unsigned)__builtin_clzll(v) - (64 - 8 * n) : 8 * n; }
static unsigned trailing_zeros(unsigned n, u64 v) { return v ? (unsigned)__builtin_ctzll(v) : 8 * n; }

/* A zero source leaves the destination as it is, the upper half of a 32-bit one included. */
static bool scan(struct vcpu *c, const struct insn *in, bool reverse)
{
    u64 v;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 1, &v))
        return false;
    if (v)
        gpr_write(c, in->op[0].reg, n, reverse ? 63 - (unsigned)__builtin_clzll(v) : trailing_zeros(n, v));
    flags_put(c, EFL_ZF, v ? 0 : EFL_ZF);
    return true;
}
bool in_bsf(struct vcpu *c, const struct insn *in) { return scan(c, in, false); }
bool in_bsr(struct vcpu *c, const struct insn *in) { return scan(c, in, true); }

static bool count_zeros(struct vcpu *c, const struct insn *in, unsigned (*count)(unsigned n, u64 v))
{
    u64 v;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 1, &v))
        return false;
    unsigned r = count(n, v);
    gpr_write(c, in->op[0].reg, n, r);
    flags_put(c, EFL_CF | EFL_ZF, (v ? 0 : EFL_CF) | (r ? 0 : EFL_ZF));
    return true;
}
bool in_tzcnt(struct vcpu *c, const struct insn *in) { return count_zeros(c, in, trailing_zeros); }
bool in_lzcnt(struct vcpu *c, const struct insn *in) { return count_zeros(c, in, leading_zeros); }

bool in_popcnt(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!operand_read(c, in, 1, &v))
        return false;
    gpr_write(c, in->op[0].reg, in->op[0].size, (unsigned)__builtin_popcountll(v));
    flags_set_status(c, v ? 0 : EFL_ZF);
    return true;
}

/* --- BMI1, BMI2 ----------------------------------------------------------------------------------------------- */

/* Result in operand 0; SF and ZF from it, OF and AF clear. */
static void bmi_result(struct vcpu *c, const struct insn *in, u64 r, bool cf)
{
    gpr_write(c, in->op[0].reg, in->op[0].size, r);
    flags_result(c, in->op[0].size, r);
    c->lazy.carry = flags_carry_word(cf, false, false);
}

bool in_andn(struct vcpu *c, const struct insn *in)
{
    u64 b;
    if (!operand_read(c, in, 2, &b))
        return false;
    bmi_result(c, in, ~c->gpr[in->op[1].reg] & b, false);
    return true;
}

bool in_bextr(struct vcpu *c, const struct insn *in)
{
    u64 a;
    if (!operand_read(c, in, 1, &a))
        return false;
    u64 control = c->gpr[in->op[2].reg];
    unsigned start = control & 0xff, len = control >> 8 & 0xff;
    u64 r = start > 63 ? 0 : a >> start;
    bmi_result(c, in, len > 63 ? r : r & (((u64)1 << len) - 1), false);
    return true;
}

bool in_blsi(struct vcpu *c, const struct insn *in)
{
    u64 a;
    if (!operand_read(c, in, 1, &a))
        return false;
    bmi_result(c, in, a & -a, a != 0);
    return true;
}

bool in_blsmsk(struct vcpu *c, const struct insn *in)
{
    u64 a;
    if (!operand_read(c, in, 1, &a))
        return false;
    bmi_result(c, in, a ^ (a - 1), a == 0);
    return true;
}

bool in_blsr(struct vcpu *c, const struct insn *in)
{
    u64 a;
    if (!operand_read(c, in, 1, &a))
        return false;
    bmi_result(c, in, a & (a - 1), a == 0);
    return true;
}

bool in_bzhi(struct vcpu *c, const struct insn *in)
{
    u64 a;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 1, &a))
        return false;
    unsigned index = (u8)c->gpr[in->op[2].reg];
    bool beyond = index >= 8 * n;
    bmi_result(c, in, beyond ? a : a & (((u64)1 << index) - 1), beyond);
    return true;
}

bool in_pdep(struct vcpu *c, const struct insn *in)
{
    u64 mask, r = 0, src = c->gpr[in->op[1].reg];
    if (!operand_read(c, in, 2, &mask))
        return false;
    for (; mask; mask &= mask - 1, src >>= 1)
        if (src & 1)
            r |= mask & -mask;
    gpr_write(c, in->op[0].reg, in->op[0].size, r);
    return true;
}

bool in_pext(struct vcpu *c, const struct insn *in)
{
    u64 mask, r = 0, src = c->gpr[in->op[1].reg];
    if (!operand_read(c, in, 2, &mask))
        return false;
    for (unsigned i = 0; mask; mask &= mask - 1, i++)
        if (src & mask & -mask)
            r |= (u64)1 << i;
    gpr_write(c, in->op[0].reg, in->op[0].size, r);
    return true;
}

/* operands: high half, low half, source; if both destinations are one register it gets the high half */
bool in_mulx(struct vcpu *c, const struct insn *in)
{
    u64 b;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 2, &b))
        return false;
    u128 p = (u128)gpr_read(c, GPR_RDX, n) * b;
    gpr_write(c, in->op[1].reg, n, (u64)p);
    gpr_write(c, in->op[0].reg, n, (u64)(p >> (8 * n)));
    return true;
}

/* --- ADX: one flag each ----------------------------------------------------------------------------------------- */

static bool add_with(struct vcpu *c, const struct insn *in, u32 flag)
{
    u64 b;
    unsigned n = in->op[0].size;
    if (!operand_read(c, in, 1, &b))
        return false;
    u128 sum = (u128)gpr_read(c, in->op[0].reg, n) + b + (flag == EFL_CF ? flags_cf(c) : flags_of(c));
    gpr_write(c, in->op[0].reg, n, (u64)sum);
    flags_put(c, flag, sum >> (8 * n) & 1 ? flag : 0);
    return true;
}
bool in_adcx(struct vcpu *c, const struct insn *in) { return add_with(c, in, EFL_CF); }
bool in_adox(struct vcpu *c, const struct insn *in) { return add_with(c, in, EFL_OF); }

/* --- byte order ----------------------------------------------------------------------------------------------- */

bool in_movbe(struct vcpu *c, const struct insn *in)
{
    u64 v;
    return operand_read(c, in, 1, &v) && operand_write(c, in, 0, swap_bytes(in->op[0].size, v));
}

/* 16 bits: undefined; processors store zero. */
bool in_bswap(struct vcpu *c, const struct insn *in)
{
    unsigned n = in->op[0].size, reg = in->op[0].reg;
    gpr_write(c, reg, n, n == 2 ? 0 : swap_bytes(n, gpr_read(c, reg, n)));
    return true;
}

/* --- CRC32C: polynomial 0x11EDC6F41, bit-reflected --------------------------------------------------------------- */

bool in_crc32(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!operand_read(c, in, 1, &v))
        return false;
    u32 crc = (u32)c->gpr[in->op[0].reg];
    for (unsigned byte = 0; byte < in->op[1].size; byte++) {
        crc ^= (u8)(v >> (8 * byte));
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    gpr_write(c, in->op[0].reg, in->op[0].size, crc);
    return true;
}

/* --- exchanges ------------------------------------------------------------------------------------------------ */

/* A memory destination is written in any case. Registers that keep their value keep their upper half too, the
 * destination if the comparison fails, the accumulator if it does not. */
bool in_cmpxchg(struct vcpu *c, const struct insn *in)
{
    u64 old, src;
    unsigned n = in->op[0].size;
    if (!operand_rmw(c, in, 0, &old) || !operand_read(c, in, 1, &src))
        return false;
    u64 acc = gpr_read(c, GPR_RAX, n);
    if ((acc == old || in->op[0].kind == OP_MEM) && !operand_write(c, in, 0, acc == old ? src : old))
        return false;
    if (acc != old)
        gpr_write(c, GPR_RAX, n, old);
    flags_sub(c, n, acc, old);
    return true;
}

bool in_cmpxchg8b(struct vcpu *c, const struct insn *in)
{
    u64 old, ea = operand_ea(c, in), expected = (c->rdx & 0xffffffff) << 32 | (u32)c->rax;
    if (!mem_probe_write(c, in->seg, ea, 8) || !mem_read64(c, in->seg, ea, &old))
        return false;
    bool equal = old == expected;
    if (!mem_write64(c, in->seg, ea, equal ? c->rcx << 32 | (u32)c->rbx : old))
        return false;
    if (!equal) {
        c->rax = (u32)old;
        c->rdx = old >> 32;
    }
    flags_put(c, EFL_ZF, equal ? EFL_ZF : 0);
    return true;
}

bool in_cmpxchg16b(struct vcpu *c, const struct insn *in)
{
    u64 old[2], ea = operand_ea(c, in);
    gla a = in->seg >= SEG_FS ? c->seg[in->seg].base + ea : ea;
    if (a & 15)
        return cpu_fault_code(c, EXC_GP, 0);
    if (!mem_probe_write(c, in->seg, ea, 16) || !mem_read_buf(c, in->seg, ea, old, 16))
        return false;
    bool equal = old[0] == c->rax && old[1] == c->rdx;
    u64 new[2] = { equal ? c->rbx : old[0], equal ? c->rcx : old[1] };
    if (!mem_write_buf(c, in->seg, ea, new, 16))
        return false;
    if (!equal) {
        c->rax = old[0];
        c->rdx = old[1];
    }
    flags_put(c, EFL_ZF, equal ? EFL_ZF : 0);
    return true;
}

/* Both operands may be one register: the sum stays. */
bool in_xadd(struct vcpu *c, const struct insn *in)
{
    u64 a, b;
    unsigned n = in->op[0].size;
    if (!operand_rmw(c, in, 0, &a) || !operand_read(c, in, 1, &b))
        return false;
    u64 sum = flags_truncate(n, a + b);
    if (in->op[0].kind == OP_MEM && !operand_write(c, in, 0, sum))
        return false;
    operand_write(c, in, 1, a);
    if (in->op[0].kind != OP_MEM)
        operand_write(c, in, 0, sum);
    flags_add(c, n, a, b);
    return true;
}
