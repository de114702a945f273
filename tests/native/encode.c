/* encode.c - bytes of instructions. SDM 2 chapter 2.
 *
 * encode_row makes a random instance of one row of insn.def: any of the prefixes that it may have (and now and then one
 * that it may not), registers or memory in every addressing form, any immediate. encode_any does not look at the table:
 * it picks a map, an opcode, prefixes, and random bytes behind; so it finds rows that are missing or too many.
 */
#include <string.h>

#include "cpu/insn_table.h"
#include "tests/native/native.h"

static void emit(struct test_case *t, unsigned byte) { t->bytes[t->length++] = (u8)byte; }

void encode_put(struct test_case *t, unsigned at, unsigned bytes, u64 v) { memcpy(t->bytes + at, &v, bytes); }

/* What a row's operands ask of ModRM and VEX. */
struct needs {
    bool modrm, memory, reg_only, vvvv, opcode_reg;
};

static struct needs row_needs(const struct insn_encoding *e)
{
    struct needs n = { .modrm = e->ext != EXT___ };
    for (unsigned i = 0; i < 4; i++) {
        switch (insn_letters[e->op[i]].where) {
        case AT_MEM:
        case AT_VSIB:
        case AT_VSIBH:
            n.modrm = n.memory = true;
            break;
        case AT_RMREG:
        case AT_XRMREG:
        case AT_MRMREG:
        case AT_STI:
            n.modrm = n.reg_only = true;
            break;
        case AT_RM:
        case AT_RMANY:
        case AT_REG:
        case AT_SREG:
        case AT_CR:
        case AT_DR:
        case AT_MREG:
        case AT_MRM:
        case AT_XREG:
        case AT_XRM:
            n.modrm = true;
            break;
        case AT_OPC:
            n.opcode_reg = true;
            break;
        case AT_VVVV:
        case AT_XSRC:
        case AT_XDST:
            n.vvvv = true;
            break;
        default:
            break;
        }
    }
    if (e->ext >= EXT_R5 && e->ext < 0xc0)
        n.reg_only = true;
    return n;
}

/* Address-size and segment prefixes; returns the address size. */
static unsigned emit_address_prefixes(struct test_case *t)
{
    static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
    if (one_in(5))
        emit(t, segments[below(6)]);
    if (!one_in(6))
        return t->mode;
    emit(t, 0x67);
    return t->mode == 4 ? 2 : 4;
}

/* ModRM's mod and rm, SIB, displacement. */
static void emit_memory(struct test_case *t, unsigned reg, unsigned address, bool vsib)
{
    unsigned mod = below(3), rm = vsib ? 4 : below(8);
    emit(t, mod << 6 | (reg & 7) << 3 | rm);
    unsigned size = mod == 1 ? 1 : mod == 2 ? (address == 2 ? 2 : 4) : 0;
    if (address == 2) {
        if (mod == 0 && rm == 6)
            size = 2;
    } else {
        if (rm == 4) {
            const unsigned sib = below(256);
            emit(t, sib);
            rm = sib & 7;
        }
        if (mod == 0 && rm == 5)
            size = 4;
    }
    t->disp_at = t->length;
    t->disp_size = size;
    for (u64 disp = one_in(3) ? below(64) : random_integer(); size; size--, disp >>= 8)
        emit(t, disp & 0xff);
}

/* Room for the longest immediate; the decoder says how much of it belongs to the instruction. */
static void emit_immediate(struct test_case *t)
{
    u64 v = one_in(2) ? random_u64() : random_integer();
    if (one_in(4))
        v = (u64)below(70) * 0x0101010101010101;
    memcpy(t->bytes + t->length, &v, 8);
    t->length += 8;
}

/* The prefixes of VEX.pp, in legacy form: one that the row stands under. */
static unsigned choose_prefix(const struct insn_encoding *e, const struct insn_row *row)
{
    static const u8 weights[] = { 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 2, 3, 0, 1 };
    unsigned pp;
    if (e->pfx == PFX___ && !(row->attr & ATTR_STRING))
        return weights[below(16)];
    do
        pp = below(4);
    while (!(e->pfx >> pp & 1));
    return pp;
}

struct vex {
    unsigned map, pp, w, l, r, x, b, vvvv;
};

static void emit_vex(struct test_case *t, struct vex v)
{
    if (v.map == 1 && !v.w && !v.x && !v.b && one_in(2)) {
        emit(t, 0xc5);
        emit(t, (v.r ? 0 : 0x80) | (~v.vvvv & 15) << 3 | v.l << 2 | v.pp);
        return;
    }
    emit(t, 0xc4);
    emit(t, (v.r ? 0 : 0x80) | (v.x ? 0 : 0x40) | (v.b ? 0 : 0x20) | v.map);
    emit(t, v.w << 7 | (~v.vvvv & 15) << 3 | v.l << 2 | v.pp);
}

static void emit_opcode(struct test_case *t, u32 opcode, bool escapes)
{
    if (escapes && opcode > 0xffff)
        emit(t, opcode >> 16);
    if (escapes && opcode > 0xff)
        emit(t, opcode >> 8 & 0xff);
    emit(t, opcode & 0xff);
}

static void emit_vex_prefix(struct test_case *t, const struct insn_encoding *e, struct needs n, unsigned pp)
{
    const bool wide = t->mode == 8;
    struct vex v = { .pp = pp };
    v.map = e->opcode >> 8 == 0x0f38 ? 2 : e->opcode >> 8 == 0x0f3a ? 3 : 1;
    v.w = e->w == W_W1 || (e->w != W_W0 && one_in(3));
    v.l = !(e->vex & VEX_128) || (e->vex & (VEX_256 | VEX_IGNORE) && one_in(2));
    v.r = wide && one_in(2);
    v.x = wide && one_in(2);
    v.b = wide && one_in(2);
    v.vvvv = n.vvvv || one_in(40) ? below(wide ? 16 : 8) : 0;
    if (one_in(200))
        emit(t, 0x66); /* #UD before VEX, as are F2, F3, LOCK, REX */
    emit_vex(t, v);
}

static void emit_legacy_prefixes(struct test_case *t, const struct insn_encoding *e, const struct insn_row *row,
                                 unsigned pp)
{
    static const u8 prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
    const bool sized = e->pfx == PFX___ || e->pfx == PFX_N6;
    if (row->attr & ATTR_LOCK ? one_in(6) : one_in(100))
        emit(t, 0xf0);
    if (sized && pp != 1 && one_in(4))
        emit(t, 0x66);
    if (pp)
        emit(t, prefixes[pp]);
    if (e->w == W_O2 && t->mode != 2 && pp != 1)
        emit(t, 0x66);
    if (t->mode != 8)
        return;
    unsigned rex = one_in(3) ? 0 : 0x40 | below(16);
    if (e->w == W_W1 || e->w == W_O8)
        rex |= 0x48;
    if (e->w == W_W0 || e->w == W_O4 || e->w == W_O2)
        rex &= ~8u;
    if (row->attr & ATTR_NOREXB)
        rex &= ~1u;
    if (rex)
        emit(t, rex);
}

bool encode_row(struct test_case *t)
{
    const struct insn_encoding *e = &insn_encodings[t->row];
    const struct insn_row *row = &insn_rows[t->row];
    const struct needs n = row_needs(e);
    if (row->attr & (t->mode == 8 ? ATTR_NO64 : ATTR_ONLY64))
        return false;
    const bool vex = e->vex & VEX_FORM && (e->vex & VEX_ONLY || one_in(2));
    const unsigned pp = choose_prefix(e, row), address = emit_address_prefixes(t);
    if (vex)
        emit_vex_prefix(t, e, n, pp);
    else
        emit_legacy_prefixes(t, e, row, pp);
    emit_opcode(t, e->opcode + (row->attr & ATTR_CC ? below(16) : n.opcode_reg ? below(8) : 0), !vex);
    if (n.modrm) {
        const bool vsib = row->attr & ATTR_GATHER;
        const unsigned reg = e->ext < 8 ? e->ext : e->ext < 0xc0 && e->ext != EXT___ ? e->ext & 7 : below(8);
        if (e->ext >= 0xc0)
            emit(t, e->ext);
        else if (n.memory || (!n.reg_only && one_in(2)))
            emit_memory(t, reg, address, vsib);
        else
            emit(t, 0xc0 | reg << 3 | below(8));
    }
    emit_immediate(t);
    return true;
}

void encode_any(struct test_case *t)
{
    static const u8 legacy[] = { 0x66, 0xf2, 0xf3, 0xf0 };
    const unsigned address = emit_address_prefixes(t), map = below(7);
    for (unsigned i = one_in(60) ? 13 : 0; i; i--) /* too long */
        emit(t, 0x66);
    if (map >= 4) {
        struct vex v = {
            map - 3, below(4), below(2), below(2), below(2), below(2), below(2), one_in(2) ? below(16) : 0
        };
        if (one_in(40))
            v.map = below(32);
        if (t->mode != 8)
            v.r = v.x = 0, v.vvvv &= 7;
        emit_vex(t, v);
        emit(t, below(256));
    } else {
        static const u32 escapes[] = { 0, 0x0f00, 0x0f3800, 0x0f3a00 };
        for (unsigned i = below(3); i; i--)
            emit(t, legacy[below(4)]);
        if (t->mode == 8 && one_in(2))
            emit(t, 0x40 | below(16));
        emit_opcode(t, escapes[map] | below(256), true);
    }
    if (one_in(2))
        emit_memory(t, below(8), address, false);
    else
        emit(t, below(256));
    emit_immediate(t);
}
