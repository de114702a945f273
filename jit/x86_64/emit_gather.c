/* emit_gather.c - gathers and masked moves (SDM 2: VPGATHER*, VGATHER*, VMASKMOV*, VPMASKMOV*): the usual case in line, in
 * front of the call of the interpreter's function.
 *
 * A gather: the guest addresses of two or four elements at a time are calculated in a vector, and the host's own gathers
 * look them up in the TLB: first the tags, which are compared, then the addends; then the elements, by host addresses. All under
 * the guest's mask, so elements that it leaves out are nowhere looked at. Nothing of the guest's has changed until all are
 * there; if a page is not in the TLB, or an element lies on two, the interpreter's function does the whole instruction.
 *
 * The vectors needed meanwhile are the guest's, set aside in its vCPU, where they have their places but are not looked for while
 * vec_state says that they are in the host's registers.
 *
 * A masked move is executed as it is if all of its bytes, masked off or not, lie in one page that is in the TLB.
 */
#include "jit/jit_private.h"
#include "jit/x86_64/emit.h"

#include "cpu/insn_table.h"
#include "cpu/interp.h"

enum { NP, P66, PF3 };
enum { MAP_0F = 1, MAP_0F38, MAP_0F3A };
enum { CC_NC = 3, CC_Z = 4, CC_NZ = 5 };
static const struct enc W = { .w = true }, D = { 0 };

/* --- vector instructions -------------------------------------------------------------------------------------------- */

/* d = op(a, b), integers of the opcode. */
static void vop(struct emit *e, u8 opcode, bool l, unsigned d, unsigned a, unsigned b)
{
    enc_vex(e, P66, MAP_0F, false, l, opcode, d, a, rm_reg(b), 0);
}
static void vmove(struct emit *e, bool l, unsigned d, unsigned s) { vop(e, 0x6f, l, d, 0, s); }
static void vzero(struct emit *e, unsigned d) { vop(e, 0xef, false, d, d, d); }

enum { SHIFT_RIGHT = 2, SHIFT_LEFT = 6 };
static void vshift(struct emit *e, unsigned how, bool l, unsigned d, unsigned s, unsigned bits)
{
    enc_vex(e, P66, MAP_0F, false, l, 0x73, how, d, rm_reg(s), 1);
    put8(e, (u8)bits);
}
static void vbroadcast(struct emit *e, bool l, unsigned d, s32 disp)    /* 8 bytes of the vCPU */
{
    enc_vex(e, P66, MAP_0F38, false, l, 0x59, d, 0, rm_vcpu(disp), 0);
}
static void vwiden(struct emit *e, bool l, unsigned d, unsigned s)      /* doublewords, sign-extended */
{
    enc_vex(e, P66, MAP_0F38, false, l, 0x25, d, 0, rm_reg(s), 0);
}
static void vupper(struct emit *e, unsigned d, unsigned s)
{
    enc_vex(e, P66, MAP_0F3A, false, true, 0x39, s, 0, rm_reg(d), 1);
    put8(e, 1);
}
static void vgather(struct emit *e, bool l, bool quad, unsigned d, unsigned base, unsigned index, s32 disp, unsigned mask)
{
    enc_vex(e, P66, MAP_0F38, quad, l, 0x91, d, mask, rm_index(base, index, 0, disp), 0);
}
static void aside(struct emit *e, unsigned reg, bool out)
{
    enc_vex(e, PF3, MAP_0F, false, true, out ? 0x7f : 0x6f, reg, 0, rm_vcpu(VCPU_DISP(vec[0]) + (s32)reg * 32), 0);
}

/* --- gathers -------------------------------------------------------------------------------------------------------- */

enum { T_ADDRESS, T_ENTRY, T_MASK, T_WORK, T_WIDE, T_DATA, TEMPS = T_DATA + 2 };

struct gather {
    unsigned dst, mask, index;      /* the guest's registers */
    unsigned index_bytes, bytes;    /* of an index, of an element */
    bool l, two;                    /* four elements at a time, else two; two such groups */
    unsigned t[TEMPS], temps;
    bool narrow;                    /* 32-bit addresses */
    unsigned scale;
    u32 failed[2];
};

static bool gather_of(const struct insn *in, struct gather *g)
{
    const struct insn_encoding *row = &insn_encodings[in->row];
    *g = (struct gather){ .dst = in->op[0].reg, .mask = in->op[2].reg, .index = in->index & 15, .scale = in->scale,
                          .index_bytes = row->opcode & 1 ? 8 : 4, .bytes = row->w == W_W1 ? 8 : 4, .narrow = in->addrsize == 4 };
    g->two = g->index_bytes == 4 && g->bytes == 4 && in->vl == 32;
    g->l = in->vl == 32 || (g->index_bytes == 4 && g->bytes == 4);
    g->temps = g->two ? TEMPS : TEMPS - 1;
    for (unsigned reg = 16, n = 0; n < g->temps;)
        if (--reg != g->dst && reg != g->mask && reg != g->index)
            g->t[n++] = reg;
    return g->dst != g->mask && g->dst != g->index && g->mask != g->index;     /* else #UD */
}

/* jit.temp[0] = what is added to the indices. */
static void base_address(struct emit *e, const struct insn *in)
{
    if (in->base == GPR_NONE) {
        emit_mov_imm(e, R10, in->disp);
    } else {
        emit_load(e, R10, (ir_val)(IR_G + in->base), 8);
        if (in->disp)
            enc(e, W, 0x8d, R10, rm_mem(R10, (s32)in->disp));
    }
    if (in->seg >= SEG_FS && mode_code_size(e->u->mode) == 8)
        enc(e, W, 0x03, R10, rm_vcpu(VCPU_DISP(seg[0].base) + in->seg * (s32)sizeof(struct segment)));
    enc(e, W, 0x89, R10, rm_vcpu(VCPU_DISP(jit.temp[0])));
}

/* The group's doublewords of a register: its lower or upper half. */
static unsigned half(struct emit *e, unsigned reg, bool upper, unsigned to)
{
    if (upper)
        vupper(e, to, reg);
    return upper ? to : reg;
}

/* T_ADDRESS = guest addresses */
static void addresses(struct emit *e, const struct gather *g, bool upper)
{
    const unsigned a = g->t[T_ADDRESS];
    unsigned from = g->index;
    if (g->index_bytes == 4) {
        vwiden(e, g->l, a, half(e, g->index, upper, a));
        from = a;
    }
    if (g->scale) {
        vshift(e, SHIFT_LEFT, g->l, a, from, g->scale);
        from = a;
    }
    vbroadcast(e, g->l, g->t[T_WORK], VCPU_DISP(jit.temp[0]));
    vop(e, 0xd4, g->l, a, from, g->t[T_WORK]);                                  /* vpaddq */
    if (g->narrow) {
        vshift(e, SHIFT_LEFT, g->l, a, a, 32);
        vshift(e, SHIFT_RIGHT, g->l, a, a, 32);
    }
}

/* T_ENTRY = places in the TLB's table */
static void entries(struct emit *e, const struct gather *g)
{
    vshift(e, SHIFT_RIGHT, g->l, g->t[T_ENTRY], g->t[T_ADDRESS], PAGE_SHIFT - 4);
    vbroadcast(e, g->l, g->t[T_WORK], VCPU_DISP(mmu.rd_mask));
    vop(e, 0xdb, g->l, g->t[T_ENTRY], g->t[T_ENTRY], g->t[T_WORK]);             /* vpand */
}

/* T_WORK = a field of the entries that the mask selects. R10: the table. */
static void field(struct emit *e, const struct gather *g, unsigned mask, s32 disp)
{
    vmove(e, g->l, g->t[T_MASK], mask);
    vzero(e, g->t[T_WORK]);
    vgather(e, g->l, true, g->t[T_WORK], R10, g->t[T_ENTRY], disp, g->t[T_MASK]);
}

/* Does the page of each selected element's last byte have that entry? Else CF is 0. */
static void compare(struct emit *e, const struct gather *g, unsigned mask)
{
    const unsigned last = g->t[T_MASK], tag = g->t[T_WORK];
    vop(e, 0x76, g->l, last, last, last);                                       /* vpcmpeqd: all ones */
    vshift(e, SHIFT_RIGHT, g->l, last, last, g->bytes == 8 ? 61 : 62);          /* bytes - 1 */
    vop(e, 0xd4, g->l, last, last, g->t[T_ADDRESS]);
    vshift(e, SHIFT_RIGHT, g->l, last, last, PAGE_SHIFT);
    vshift(e, SHIFT_LEFT, g->l, last, last, PAGE_SHIFT);
    enc_vex(e, P66, MAP_0F38, false, g->l, 0x29, tag, tag, rm_reg(last), 0);    /* vpcmpeqq */
    enc_vex(e, P66, MAP_0F38, false, g->l, 0x0f, tag, 0, rm_reg(mask), 0);      /* vtestpd */
}

static void group(struct emit *e, struct gather *g, bool upper)
{
    const unsigned data = g->t[T_DATA + upper], words = g->bytes == 4;
    unsigned wide = g->mask;
    if (words) {
        wide = g->t[T_WIDE];
        vwiden(e, g->l, wide, half(e, g->mask, upper, wide));
    }
    addresses(e, g, upper);
    entries(e, g);
    field(e, g, wide, offsetof(struct tlb_entry, tag));
    compare(e, g, wide);
    g->failed[upper] = emit_jump_if(e, CC_NC);
    field(e, g, wide, offsetof(struct tlb_entry, addend));
    vop(e, 0xd4, g->l, g->t[T_ADDRESS], g->t[T_ADDRESS], g->t[T_WORK]);
    vmove(e, g->l, data, half(e, g->dst, upper, data));
    vmove(e, g->l, g->t[T_MASK], half(e, g->mask, upper, g->t[T_MASK]));
    vgather(e, g->l, !words, data, NO_REG, g->t[T_ADDRESS], 0, g->t[T_MASK]);
}

/* Bits past the elements are cleared, the mask too. */
static void commit(struct emit *e, const struct gather *g)
{
    if (g->two) {
        enc_vex(e, P66, MAP_0F3A, false, true, 0x38, g->dst, g->t[T_DATA], rm_reg(g->t[T_DATA + 1]), 1);   /* vinserti128 */
        put8(e, 1);
    } else {
        vmove(e, g->bytes == 8 && g->l, g->dst, g->t[T_DATA]);
    }
    vzero(e, g->mask);
}

static u32 gather(struct emit *e, const struct insn *in, u32 *slow)
{
    struct gather g;
    if (!gather_of(in, &g))
        return 0;
    base_address(e, in);
    enc(e, W, 0x8b, R10, rm_vcpu(VCPU_DISP(mmu.rd)));
    for (unsigned i = 0; i < g.temps; i++)
        aside(e, g.t[i], true);
    group(e, &g, false);
    if (g.two)
        group(e, &g, true);
    commit(e, &g);
    for (unsigned i = 0; i <= g.two; i++)
        emit_fill(e, g.failed[i], e->at);
    for (unsigned i = 0; i < g.temps; i++)      /* CF stays: all was found */
        aside(e, g.t[i], false);
    *slow = emit_jump_if(e, CC_NC);
    return emit_jump(e);
}

/* --- masked moves --------------------------------------------------------------------------------------------------- */

static bool is_masked_move(interp_fn *run)
{
    return run == in_vmaskmovps || run == in_vmaskmovpd || run == in_vpmaskmovd || run == in_vpmaskmovq;
}

/* R10 = linear address of the memory operand, R11 = its entry in the TLB's table, RCX = the page of its last byte */
static void look_up(struct emit *e, const struct insn *in, unsigned bytes, bool write)
{
    const bool narrow = in->addrsize == 4, indexed = in->index != GPR_NONE;
    if (in->base == GPR_NONE)
        emit_mov_imm(e, R10, 0);
    else
        emit_load(e, R10, (ir_val)(IR_G + in->base), 8);
    if (indexed)
        emit_load(e, R11, (ir_val)(IR_G + in->index), 8);
    enc(e, narrow ? D : W, 0x8d, R10, rm_index(R10, indexed ? R11 : NO_REG, in->scale, (s32)in->disp));
    if (in->seg >= SEG_FS && !narrow)
        enc(e, W, 0x03, R10, rm_vcpu(VCPU_DISP(seg[0].base) + in->seg * (s32)sizeof(struct segment)));
    enc(e, W, 0x8b, R11, rm_reg(R10));
    enc(e, (struct enc){ .w = true, .imm_bytes = 1 }, 0xc1, 5, rm_reg(R11));    /* shr: page number * 16 */
    put8(e, PAGE_SHIFT - 4);
    enc(e, W, 0x23, R11, rm_vcpu(write ? VCPU_DISP(mmu.wr_mask) : VCPU_DISP(mmu.rd_mask)));
    enc(e, W, 0x03, R11, rm_vcpu(write ? VCPU_DISP(mmu.wr) : VCPU_DISP(mmu.rd)));
    enc(e, W, 0x8d, RCX, rm_mem(R10, (s32)bytes - 1));
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 4, rm_reg(RCX));
    put32(e, (u32)PAGE_MASK);
}

static u32 masked_move(struct emit *e, const struct insn *in, u32 *slow)
{
    const struct insn_encoding *row = &insn_encodings[in->row];
    const bool store = in->op[0].kind == OP_MEM;
    if (in->base == GPR_RIP)
        return 0;
    look_up(e, in, in->vl, store);
    enc(e, W, 0x3b, RCX, rm_mem(R11, offsetof(struct tlb_entry, tag)));
    *slow = emit_jump_if(e, CC_NZ);
    enc(e, W, 0x03, R10, rm_mem(R11, offsetof(struct tlb_entry, addend)));
    enc_vex(e, P66, MAP_0F38, row->w == W_W1, in->vl == 32, (u8)row->opcode, in->op[store ? 2 : 0].reg, in->op[1].reg,
            rm_mem(R10, 0), 0);
    return emit_jump(e);
}

/* --- both ----------------------------------------------------------------------------------------------------------- */

static bool addresses_are_usual(const struct emit *e, const struct insn *in)
{
    const u32 mode = e->u->mode;
    if (mode_code_size(mode) == 8)
        return in->addrsize == 8;
    return in->addrsize == 4 && mode_flat_for(mode, in->seg, in->op[0].kind == OP_MEM ? IR_WRITE : IR_READ);
}

/* As string_usual: the jump that is taken when all is done, 0 if there is no usual case. */
u32 gather_usual(struct emit *e, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    const bool gathers = row->attr & ATTR_GATHER;
    u32 slow = 0, done;
    if (!(gathers || is_masked_move(row->run)) || !e->j->opt.vec || !insn_host_has(row->cpuid) || !addresses_are_usual(e, in))
        return 0;
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xf6, 0, rm_vcpu(VCPU_DISP(jit.vec_state)));    /* test */
    put8(e, 2);
    const u32 unloaded = emit_jump_if(e, CC_Z);
    done = gathers ? gather(e, in, &slow) : masked_move(e, in, &slow);
    emit_fill(e, unloaded, e->at);
    if (slow)
        emit_fill(e, slow, e->at);
    return done;
}
