/* interp_avx.c - AVX and AVX2 instructions without a legacy form: broadcasts, permutations, 128-bit halves, masked
 * moves, gathers, VZEROALL, VZEROUPPER.
 *
 * Masked moves and gathers access memory element by element: an element that is masked off does not fault. Every
 * store is probed before the first is made. Gathers are the one instruction here that may fault half-way: what is done
 * stays done, and the mask register says so. SDM 1 14.2, SDM 2.
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

/* --------------------------------------------------------------------------------------------- broadcasts ----- */
/* The source's first `bytes` bytes, repeated through the register. */
static bool broadcast(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec s, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned i = 0; i < in->vl; i += bytes)
        memcpy(r.b + i, s.b, bytes);
    return vec_write(c, in, &r);
}

bool in_vpbroadcastb(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 1); }
bool in_vpbroadcastw(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 2); }
bool in_vpbroadcastd(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 4); }
bool in_vpbroadcastq(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 8); }
bool in_vbroadcastss(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 4); }
bool in_vbroadcastsd(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 8); }
bool in_vbroadcastf128(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 16); }
bool in_vbroadcasti128(struct vcpu *c, const struct insn *in) { return broadcast(c, in, 16); }

/* ----------------------------------------------------------------------------------------- 128-bit halves ----- */
static bool insert_half(struct vcpu *c, const struct insn *in)
{
    union vec r, s;
    if (!vec_sources(c, in, &r, &s))
        return false;
    memcpy(r.b + 16 * (vec_imm(in) & 1), s.b, 16);
    return vec_write(c, in, &r);
}

bool in_vinsertf128(struct vcpu *c, const struct insn *in) { return insert_half(c, in); }
bool in_vinserti128(struct vcpu *c, const struct insn *in) { return insert_half(c, in); }

static bool extract_half(struct vcpu *c, const struct insn *in)
{
    union vec s, r = { 0 };
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    memcpy(r.b, s.b + 16 * (vec_imm(in) & 1), 16);
    return vec_write(c, in, &r);
}

bool in_vextractf128(struct vcpu *c, const struct insn *in) { return extract_half(c, in); }
bool in_vextracti128(struct vcpu *c, const struct insn *in) { return extract_half(c, in); }

/* Each half of the result: bits 1:0 of its nibble choose one of the four source halves, bit 3 clears it. */
static bool permute_halves(struct vcpu *c, const struct insn *in)
{
    union vec s[2], r = { 0 };
    if (!vec_sources(c, in, &s[0], &s[1]))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        unsigned control = vec_imm(in) >> 4 * i;
        if (!(control & 8))
            memcpy(r.b + 16 * i, s[control >> 1 & 1].b + 16 * (control & 1), 16);
    }
    return vec_write(c, in, &r);
}

bool in_vperm2f128(struct vcpu *c, const struct insn *in) { return permute_halves(c, in); }
bool in_vperm2i128(struct vcpu *c, const struct insn *in) { return permute_halves(c, in); }

/* -------------------------------------------------------------------------------------------- permutations ----- */
/* Any of eight doublewords of operand 2 to any place: indices in operand 1. */
static bool permute_dwords(struct vcpu *c, const struct insn *in)
{
    union vec index, s, r;
    if (!vec_sources(c, in, &index, &s))
        return false;
    for (unsigned i = 0; i < 8; i++)
        r.d[i] = s.d[index.d[i] & 7];
    return vec_write(c, in, &r);
}

bool in_vpermd(struct vcpu *c, const struct insn *in) { return permute_dwords(c, in); }
bool in_vpermps(struct vcpu *c, const struct insn *in) { return permute_dwords(c, in); }

/* Any of four quadwords to any place: two immediate bits each. */
static bool permute_qwords(struct vcpu *c, const struct insn *in)
{
    union vec s, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned i = 0; i < 4; i++)
        r.q[i] = s.q[vec_imm(in) >> 2 * i & 3];
    return vec_write(c, in, &r);
}

bool in_vpermq(struct vcpu *c, const struct insn *in) { return permute_qwords(c, in); }
bool in_vpermpd(struct vcpu *c, const struct insn *in) { return permute_qwords(c, in); }

/* Within lanes. The control is the immediate, two bits for each of a lane's singles... */
bool in_vpermilps(struct vcpu *c, const struct insn *in)
{
    union vec s, control, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    if (in->op[2].kind != OP_IMM && !operand_read_vec(c, in, 2, &control))
        return false;
    for (unsigned i = 0; i < in->vl / 4u; i++) {
        u32 from = in->op[2].kind == OP_IMM ? (u32)vec_imm(in) >> i % 4 * 2 : control.d[i];
        r.d[i] = s.d[i / 4 * 4 + (from & 3)];
    }
    return vec_write(c, in, &r);
}

/* ... and one bit for each double; or a register: bits 1:0 of a single's element, but bit 1 of a double's. */
bool in_vpermilpd(struct vcpu *c, const struct insn *in)
{
    union vec s, control, r;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    if (in->op[2].kind != OP_IMM && !operand_read_vec(c, in, 2, &control))
        return false;
    for (unsigned i = 0; i < in->vl / 8u; i++) {
        u64 from = in->op[2].kind == OP_IMM ? (u64)vec_imm(in) >> i : control.q[i] >> 1;
        r.q[i] = s.q[i / 2 * 2 + (from & 1)];
    }
    return vec_write(c, in, &r);
}

/* ------------------------------------------------------------------------------------- elements in memory ----- */
static inline bool selected(const union vec *mask, unsigned i, unsigned bytes)
{
    return mask->b[i * bytes + bytes - 1] & 0x80;
}

/* The offset of byte `at` of the memory operand. It runs on past the end of the address size as that of an ordinary
 * wide access does, so that the segment's limit catches it. */
static inline u64 element_offset(const struct vcpu *c, const struct insn *in, unsigned at)
{
    return operand_ea(c, in) + at;
}

static bool masked_load(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec mask, r = { 0 };
    if (!operand_read_vec(c, in, 1, &mask))
        return false;
    for (unsigned i = 0; i < in->vl / bytes; i++) {
        u64 v;
        if (!selected(&mask, i, bytes))
            continue;
        if (!mem_read(c, in->seg, element_offset(c, in, i * bytes), bytes, &v))
            return false;
        memcpy(r.b + i * bytes, &v, bytes);
    }
    return vec_write(c, in, &r);
}

static bool masked_store(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec mask, s;
    if (!operand_read_vec(c, in, 1, &mask) || !operand_read_vec(c, in, 2, &s))
        return false;
    for (unsigned i = 0; i < in->vl / bytes; i++) {
        if (selected(&mask, i, bytes) && !mem_probe_write(c, in->seg, element_offset(c, in, i * bytes), bytes))
            return false;
    }
    for (unsigned i = 0; i < in->vl / bytes; i++) {
        u64 v = 0;
        memcpy(&v, s.b + i * bytes, bytes);
        if (selected(&mask, i, bytes) && !mem_write(c, in->seg, element_offset(c, in, i * bytes), bytes, v))
            return false;
    }
    return true;
}

static bool masked_move(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    return in->op[0].kind == OP_MEM ? masked_store(c, in, bytes) : masked_load(c, in, bytes);
}

bool in_vmaskmovps(struct vcpu *c, const struct insn *in) { return masked_move(c, in, 4); }
bool in_vmaskmovpd(struct vcpu *c, const struct insn *in) { return masked_move(c, in, 8); }
bool in_vpmaskmovd(struct vcpu *c, const struct insn *in) { return masked_move(c, in, 4); }
bool in_vpmaskmovq(struct vcpu *c, const struct insn *in) { return masked_move(c, in, 8); }

/* ------------------------------------------------------------------------------------------------- gathers ----- */
/* Address of element i: base + sign-extended index * scale + displacement, truncated to the address size. */
static u64 gather_offset(const struct vcpu *c, const struct insn *in, const union vec *index, unsigned index_bytes,
                         unsigned i)
{
    u64 x = index_bytes == 4 ? (u64)(s64)index->sd[i] : index->q[i];
    u64 ea = c->gpr[in->base] + (x << in->scale) + in->disp;
    return in->addrsize == 8 ? ea : in->addrsize == 4 ? (u32)ea : (u16)ea;
}

/* Operand 0: destination, 1: memory (VSIB), 2: mask. Elements are done from the lowest up, and the mask's element is
 * cleared as each is, so that the instruction can be restarted after a fault. At the end the registers' bits past the
 * elements are cleared. A fault leaves the elements from the faulting one on as they were, those of the mask included:
 * the SDM's pseudocode would first widen their sign bits, hardware (AMD family 25) does not. */
static bool gather(struct vcpu *c, const struct insn *in, unsigned index_bytes, unsigned bytes)
{
    const unsigned x = in->index & 15, count = in->vl / (index_bytes > bytes ? index_bytes : bytes);
    union vec *dst = &c->vec[in->op[0].reg], *mask = &c->vec[in->op[2].reg], *index = &c->vec[x];
    if (dst == mask || dst == index || mask == index)
        return cpu_fault(c, EXC_UD);
    for (unsigned i = 0; i < count; i++) {
        u64 v;
        if (selected(mask, i, bytes)) {
            if (!mem_read(c, in->seg, gather_offset(c, in, index, index_bytes, i), bytes, &v))
                return false;
            memcpy(dst->b + i * bytes, &v, bytes);
        }
        memset(mask->b + i * bytes, 0, bytes);
    }
    memset(mask, 0, sizeof(*mask));
    memset(dst->b + count * bytes, 0, 32 - count * bytes);
    return true;
}

bool in_vpgatherdd(struct vcpu *c, const struct insn *in) { return gather(c, in, 4, 4); }
bool in_vpgatherdq(struct vcpu *c, const struct insn *in) { return gather(c, in, 4, 8); }
bool in_vpgatherqd(struct vcpu *c, const struct insn *in) { return gather(c, in, 8, 4); }
bool in_vpgatherqq(struct vcpu *c, const struct insn *in) { return gather(c, in, 8, 8); }
bool in_vgatherdps(struct vcpu *c, const struct insn *in) { return gather(c, in, 4, 4); }
bool in_vgatherdpd(struct vcpu *c, const struct insn *in) { return gather(c, in, 4, 8); }
bool in_vgatherqps(struct vcpu *c, const struct insn *in) { return gather(c, in, 8, 4); }
bool in_vgatherqpd(struct vcpu *c, const struct insn *in) { return gather(c, in, 8, 8); }

/* ------------------------------------------------------------------------------------------------ clearing ----- */
/* Outside 64-bit mode only registers 0 to 7 exist. */
static bool clear_registers(struct vcpu *c, const struct insn *in, unsigned from)
{
    for (unsigned i = 0; i < (in->mode == 8 ? 16 : 8); i++)
        memset(c->vec[i].b + from, 0, 32 - from);
    return true;
}

bool in_vzeroall(struct vcpu *c, const struct insn *in) { return clear_registers(c, in, 0); }
bool in_vzeroupper(struct vcpu *c, const struct insn *in) { return clear_registers(c, in, 16); }
