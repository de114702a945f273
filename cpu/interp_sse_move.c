/* interp_sse_move.c - moves between vector registers, memory and general registers; sign masks; byte-masked stores.
 *
 * The non-temporal forms are ordinary stores and loads. What sets the aligned moves apart is their row's ATTR_ALIGN and
 * ATTR_VALIGN, which the operand functions look at. SDM 2, MOV...
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

/* ------------------------------------------------------------------------------------------- whole operands ----- */
static bool move(struct vcpu *c, const struct insn *in)
{
    union vec v;
    return operand_read_vec(c, in, 1, &v) && vec_write(c, in, &v);
}

bool in_movaps(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movapd(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movdqa(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movntps(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movntpd(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movntdq(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movntdqa(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movups(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movupd(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movdqu(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_lddqu(struct vcpu *c, const struct insn *in) { return move(c, in); }

/* MOVD, MOVQ: a vector or MMX destination is zero-extended, a general register or memory gets 4 or 8 bytes. */
bool in_movd(struct vcpu *c, const struct insn *in) { return move(c, in); }
bool in_movq(struct vcpu *c, const struct insn *in) { return move(c, in); }

/* -------------------------------------------------------------------------------------------- scalar, halves ----- */
/* MOVSS, MOVSD: a load clears the rest of the register, a store writes the low element, the register form puts the low
 * element of the last operand into a copy of operand 1. */
static bool move_scalar(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec r, low;
    if (in->op[2].kind == OP_NONE)
        return move(c, in);
    if (!operand_read_vec(c, in, 2, &low))
        return false;
    r = vec_xmm(c, in, 1);
    memcpy(r.b, low.b, bytes);
    return vec_write(c, in, &r);
}

bool in_movss(struct vcpu *c, const struct insn *in) { return move_scalar(c, in, 4); }
bool in_movsd(struct vcpu *c, const struct insn *in) { return move_scalar(c, in, 8); }

/* MOVLPS and relatives: half `from` of the last operand goes to half `to` of the result, the other half comes from
 * operand 1. A memory operand has only a low half. */
static bool move_half(struct vcpu *c, const struct insn *in, unsigned to, unsigned from)
{
    union vec r, s;
    if (in->op[2].kind != OP_MEM)
        s = vec_xmm(c, in, 2);
    else if (!operand_read_vec(c, in, 2, &s))
        return false;
    r = vec_xmm(c, in, 1);
    r.q[to] = s.q[from];
    return vec_write(c, in, &r);
}

/* The store of half `from`. */
static bool store_half(struct vcpu *c, const struct insn *in, unsigned from)
{
    union vec v = vec_xmm(c, in, 1);
    v.q[0] = v.q[from];
    return vec_write(c, in, &v);
}

static bool move_low(struct vcpu *c, const struct insn *in)
{
    return in->op[0].kind == OP_MEM ? store_half(c, in, 0) : move_half(c, in, 0, 0);
}

static bool move_high(struct vcpu *c, const struct insn *in)
{
    return in->op[0].kind == OP_MEM ? store_half(c, in, 1) : move_half(c, in, 1, 0);
}

bool in_movlps(struct vcpu *c, const struct insn *in) { return move_low(c, in); }
bool in_movlpd(struct vcpu *c, const struct insn *in) { return move_low(c, in); }
bool in_movhps(struct vcpu *c, const struct insn *in) { return move_high(c, in); }
bool in_movhpd(struct vcpu *c, const struct insn *in) { return move_high(c, in); }
bool in_movlhps(struct vcpu *c, const struct insn *in) { return move_half(c, in, 1, 0); }
bool in_movhlps(struct vcpu *c, const struct insn *in) { return move_half(c, in, 0, 1); }

bool in_movddup(struct vcpu *c, const struct insn *in)
{
    union vec v;
    if (!operand_read_vec(c, in, 1, &v))
        return false;
    for (unsigned i = 0; i < in->vl / 8u; i += 2)
        v.q[i + 1] = v.q[i];
    return vec_write(c, in, &v);
}

/* Each pair of singles becomes two copies of its odd (1) or even (0) one. */
static bool duplicate_single(struct vcpu *c, const struct insn *in, unsigned odd)
{
    union vec v;
    if (!operand_read_vec(c, in, 1, &v))
        return false;
    for (unsigned i = 0; i < in->vl / 4u; i += 2)
        v.d[i] = v.d[i + 1] = v.d[i + odd];
    return vec_write(c, in, &v);
}

bool in_movshdup(struct vcpu *c, const struct insn *in) { return duplicate_single(c, in, 1); }
bool in_movsldup(struct vcpu *c, const struct insn *in) { return duplicate_single(c, in, 0); }

/* ------------------------------------------------------------------------------- sign bits of all elements ----- */
static bool sign_mask(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    union vec v, r = { 0 };
    if (!operand_read_vec(c, in, 1, &v))
        return false;
    for (unsigned i = 0; i < in->vl / bytes; i++)
        r.d[0] |= (u32)(v.b[i * bytes + bytes - 1] >> 7) << i;
    return vec_write(c, in, &r);
}

bool in_pmovmskb(struct vcpu *c, const struct insn *in) { return sign_mask(c, in, 1); }
bool in_movmskps(struct vcpu *c, const struct insn *in) { return sign_mask(c, in, 4); }
bool in_movmskpd(struct vcpu *c, const struct insn *in) { return sign_mask(c, in, 8); }

/* ------------------------------------------------------------------------------------- byte-masked stores ----- */
/* The bytes of operand 0 whose mask byte (operand 1) has bit 7 set go to [rDI]. Bytes that are not selected are not
 * touched and cannot fault; which of the others would fault is found before the first is written. */
static bool store_masked_bytes(struct vcpu *c, const struct insn *in)
{
    union vec data, mask;
    const u64 rdi = gpr_read(c, GPR_RDI, in->addrsize);
    if (!operand_read_vec(c, in, 0, &data) || !operand_read_vec(c, in, 1, &mask))
        return false;
    for (unsigned i = 0; i < in->vl; i++) {
        if ((mask.b[i] & 0x80) && !mem_probe_write(c, in->seg, rdi + i, 1))
            return false;
    }
    for (unsigned i = 0; i < in->vl; i++) {
        if ((mask.b[i] & 0x80) && !mem_write8(c, in->seg, rdi + i, data.b[i]))
            return false;
    }
    vec_mmx_commit(c, in);
    return true;
}

bool in_maskmovq(struct vcpu *c, const struct insn *in) { return store_masked_bytes(c, in); }
bool in_maskmovdqu(struct vcpu *c, const struct insn *in) { return store_masked_bytes(c, in); }
