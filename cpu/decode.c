/* decode.c - bytes -> struct insn. SDM volume 2, chapter 2 (formats) and appendix A (opcode maps).
 *
 * How it works: the rows of insn.def are sorted once, before main, into `slots`, an array indexed by encoding (legacy
 * or VEX), map, opcode and prefix column. A slot is a chain of candidate rows, or, where ModRM decides, a group of 16
 * chains (memory or register form, ModRM.reg). Decoding is then: prefixes, opcode, slot, the first candidate that fits,
 * ModRM and SIB, operands by their letters, and the few rules that no row can state.
 *
 * Bytes run out or exceed 15 in one place, fetch(): it makes the failure stick and returns zeroes, so that nothing in
 * between has to look. With fewer than 15 bytes at hand it is always "short": a page fault on a later byte comes before
 * the #GP for the length. A failure to fetch comes before #UD where both are possible, as the CPU cannot know of the
 * latter before it has the bytes; an opcode that does not exist is #UD at once.
 */
#include "cpu/cpuid.h"
#include "cpu/insn_table.h"

#include <string.h>

enum { MAX_LENGTH = 15 };
enum map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A, MAP_COUNT };

/* ---- look-up tables ---------------------------------------------------------------------------------------------- */

enum { CHAIN_MAX = 16384, GROUP_MAX = 1024, IS_GROUP = 0x8000 };

static u16 slots[2][MAP_COUNT][256][4];         /* 0, a chain, or IS_GROUP | group */
static u16 groups[GROUP_MAX][16];               /* index: (register form) << 3 | ModRM.reg */
static struct { u16 row, next; } chains[CHAIN_MAX];     /* entry 0 ends a chain */
static unsigned group_count, chain_count = 1;

/* What the decoder wants to know of a row at once. */
static struct row_facts { u8 modrm, no_mem, vvvv; } facts[2048];

static bool where_is_modrm(unsigned where)
{
    switch (where) {
    case AT_RM: case AT_MEM: case AT_RMREG: case AT_RMANY: case AT_REG: case AT_VSIB: case AT_VSIBH: case AT_SREG:
    case AT_CR: case AT_DR: case AT_STI: case AT_MREG: case AT_MRM: case AT_MRMREG: case AT_XREG: case AT_XRM:
    case AT_XRMREG: case AT_XDST:
        return true;
    default:
        return false;
    }
}

static unsigned where_of(const struct insn_encoding *e, unsigned i) { return insn_letters[e->op[i]].where; }

static bool has_where(const struct insn_encoding *e, unsigned where)
{
    for (unsigned i = 0; i < 4; i++)
        if (where_of(e, i) == where)
            return true;
    return false;
}

/* Which of the 16 entries of a group the row belongs to. */
static u16 group_mask(const struct insn_encoding *e)
{
    u16 mask = 0xffff;
    if (has_where(e, AT_MEM) || has_where(e, AT_VSIB) || has_where(e, AT_VSIBH))
        mask = 0x00ff;
    if (has_where(e, AT_RMREG) || has_where(e, AT_STI) || has_where(e, AT_MRMREG) || has_where(e, AT_XRMREG) ||
        has_where(e, AT_XDST) || e->ext >= EXT_R5)
        mask = 0xff00;
    if (e->ext == EXT___)
        return mask;
    unsigned reg = e->ext >= 0xc0 ? e->ext >> 3 & 7 : e->ext & 7;
    return mask & (0x0101 << reg);
}

static unsigned row_span(const struct insn_row *row, const struct insn_encoding *e)
{
    return row->attr & ATTR_CC ? 16 : has_where(e, AT_OPC) ? 8 : 1;
}

static void chain_append(u16 *head, unsigned row)
{
    while (*head)
        head = &chains[*head].next;
    assert(chain_count < CHAIN_MAX);
    *head = (u16)chain_count;
    chains[chain_count++].row = (u16)row;
}

static void slot_add(u16 *slot, unsigned row, u16 mask, bool grouped)
{
    if (!grouped) {
        chain_append(slot, row);
        return;
    }
    if (!*slot) {
        assert(group_count < GROUP_MAX);
        *slot = (u16)(IS_GROUP | group_count++);
    }
    for (unsigned i = 0; i < 16; i++)
        if (mask >> i & 1)
            chain_append(&groups[*slot & ~IS_GROUP][i], row);
}

static enum map map_of(u32 opcode)
{
    return opcode >= 0x0f3a00 ? MAP_0F3A : opcode >= 0x0f3800 ? MAP_0F38 : opcode >= 0x0f00 ? MAP_0F : MAP_1;
}

/* Does ModRM choose between rows of this slot? Asked for all rows before any is entered. */
static u8 slot_grouped[2][MAP_COUNT][256][4];

static void for_slots(unsigned row, void (*visit)(unsigned row, u16 *slot, u8 *grouped))
{
    const struct insn_encoding *e = &insn_encodings[row];
    for (unsigned vex = 0; vex < 2; vex++) {
        if (vex ? !(e->vex & VEX_FORM) : (e->vex & VEX_ONLY))
            continue;
        for (unsigned i = 0; i < row_span(&insn_rows[row], e); i++)
            for (unsigned column = 0; column < 4; column++)
                if (e->pfx >> column & 1) {
                    unsigned m = map_of(e->opcode), op = (e->opcode & 0xff) + i;
                    visit(row, &slots[vex][m][op][column], &slot_grouped[vex][m][op][column]);
                }
    }
}

static void visit_mark(unsigned row, u16 *slot, u8 *grouped)
{
    *grouped |= group_mask(&insn_encodings[row]) != 0xffff;
}

static void visit_enter(unsigned row, u16 *slot, u8 *grouped)
{
    slot_add(slot, row, group_mask(&insn_encodings[row]), *grouped);
}

__attribute__((constructor)) static void build_tables(void)
{
    assert(insn_row_count <= ARRAY_LEN(facts));
    for (unsigned row = 0; row < insn_row_count; row++) {
        const struct insn_encoding *e = &insn_encodings[row];
        facts[row].modrm = e->ext != EXT___;
        for (unsigned i = 0; i < 4; i++)
            facts[row].modrm |= where_is_modrm(where_of(e, i));
        facts[row].no_mem = has_where(e, AT_RMANY);
        facts[row].vvvv = has_where(e, AT_VVVV) || has_where(e, AT_XSRC) || has_where(e, AT_XDST);
        for_slots(row, visit_mark);
    }
    for (unsigned row = 0; row < insn_row_count; row++)
        for_slots(row, visit_enter);
}

/* ---- one instruction --------------------------------------------------------------------------------------------- */

struct decoder {
    const u8 *bytes;
    unsigned avail, pos;
    enum decode_status status;
    u8 mode;
    u8 prefix;              /* enum insn_prefix */
    u8 column;              /* 0 none, 1 66, 2 F3, 3 F2 */
    u8 rep;                 /* enum rep_prefix, the last one seen */
    u8 seg;                 /* override, SEG_COUNT if none */
    bool lock;
    u8 rex;                 /* the REX byte, 0 if absent; of VEX: the same bits W R X B */
    bool vex;
    u8 vex_l, vvvv;
    bool vvvv_free;         /* VEX.vvvv is 1111 */
    u8 map, opcode;
    u8 modrm;
    u8 is4;
};

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

static u64 fetch(struct decoder *d, unsigned n)
{
    if (unlikely(d->status != DECODE_OK))
        return 0;
    if (unlikely(d->pos + n > d->avail)) {
        d->status = d->avail == MAX_LENGTH ? DECODE_TOO_LONG : DECODE_SHORT;
        return 0;
    }
    u64 v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (u64)d->bytes[d->pos + i] << 8 * i;
    d->pos += n;
    return v;
}

static u64 fetch_signed(struct decoder *d, unsigned n)
{
    u64 v = fetch(d, n);
    return n == 8 ? v : (u64)((s64)(v << (64 - 8 * n)) >> (64 - 8 * n));
}

static u64 truncate_to(u64 v, unsigned bytes) { return bytes >= 8 ? v : v & (((u64)1 << 8 * bytes) - 1); }

/* In 64-bit mode ES, CS, SS and DS are ignored altogether: they do not even cancel FS or GS (SDM 1 3.3.7.1). */
static void prefix_segment(struct decoder *d, enum sreg seg)
{
    d->prefix |= PREFIX_SEG;
    if (d->mode != 8 || seg >= SEG_FS)
        d->seg = seg;
}

/* Notes one prefix; false if the byte is none. */
static bool prefix_byte(struct decoder *d, u8 byte)
{
    switch (byte) {
    case 0x26: prefix_segment(d, SEG_ES); break;
    case 0x2e: prefix_segment(d, SEG_CS); break;
    case 0x36: prefix_segment(d, SEG_SS); break;
    case 0x3e: prefix_segment(d, SEG_DS); break;
    case 0x64: prefix_segment(d, SEG_FS); break;
    case 0x65: prefix_segment(d, SEG_GS); break;
    case 0x66: d->prefix |= PREFIX_66; break;
    case 0x67: d->prefix |= PREFIX_67; break;
    case 0xf0: d->lock = true; break;
    case 0xf2: d->prefix |= PREFIX_F2; d->rep = REP_F2; break;
    case 0xf3: d->prefix |= PREFIX_F3; d->rep = REP_F3; break;
    default:
        if (d->mode != 8 || (byte & 0xf0) != 0x40)
            return false;
        d->rex = byte;      /* counts only if the opcode follows: see read_prefixes */
        return true;
    }
    d->rex = 0;
    return true;
}

/* Prefixes; returns the first byte of the opcode. */
static u8 read_prefixes(struct decoder *d)
{
    u8 byte;
    do
        byte = (u8)fetch(d, 1);
    while (d->status == DECODE_OK && prefix_byte(d, byte));
    if (d->rex)
        d->prefix |= PREFIX_REX;
    d->column = d->rep == REP_F3 ? 2 : d->rep == REP_F2 ? 3 : d->prefix & PREFIX_66 ? 1 : 0;
    return byte;
}

/* C5 RvvvvLpp and C4 RXBmmmmm WvvvvLpp (SDM 2 2.3.5), register bits stored inverted. Outside 64-bit mode these are LDS
 * and LES unless the next byte's upper two bits are set; REX bits and vvvv[3] are then ignored. False: not a VEX
 * prefix. */
static bool read_vex(struct decoder *d, u8 byte)
{
    unsigned need = byte == 0xc4 ? 2 : 1;
    u8 next = d->pos < d->avail ? d->bytes[d->pos] : 0;
    if (d->pos >= d->avail)
        fetch(d, 1);                    /* short or too long, whatever it would be */
    if (d->status != DECODE_OK || (d->mode != 8 && next < 0xc0))
        return false;
    u16 b = (u16)fetch(d, need);
    u8 last = need == 2 ? b >> 8 : (u8)b;
    bool clash = d->rex || d->lock || d->prefix & (PREFIX_66 | PREFIX_F2 | PREFIX_F3);
    d->vex = true;
    d->rex = (~b & 0x80 ? REX_R : 0);
    d->map = MAP_0F;
    if (need == 2) {
        d->rex |= (~b & 0x40 ? REX_X : 0) | (~b & 0x20 ? REX_B : 0) | (last & 0x80 ? REX_W : 0);
        d->map = b & 0x1f;
    }
    d->vvvv = ~last >> 3 & 15;
    d->vvvv_free = d->vvvv == 0;
    d->vex_l = last >> 2 & 1;
    d->column = last & 3;
    if (d->mode != 8) {
        d->vvvv &= 7;
        d->rex &= REX_W;
    }
    d->opcode = (u8)fetch(d, 1);
    if (d->status == DECODE_OK && (clash || d->map < MAP_0F || d->map > MAP_0F3A))
        d->status = DECODE_UD;
    return true;
}

static void read_opcode(struct decoder *d)
{
    u8 byte = read_prefixes(d);
    if (unlikely((byte & 0xfe) == 0xc4) && read_vex(d, byte))
        return;
    d->map = MAP_1;
    if (byte == 0x0f) {
        d->map = MAP_0F;
        byte = (u8)fetch(d, 1);
        if (byte == 0x38 || byte == 0x3a) {
            d->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
            byte = (u8)fetch(d, 1);
        }
    }
    d->opcode = byte;
}

static bool feature(const u64 *features, unsigned f) { return !features || features[f / 64] >> (f % 64) & 1; }

static bool row_features(const struct decoder *d, const struct insn_row *row, const u64 *features)
{
    if (likely(!features))
        return true;
    if (!feature(features, row->cpuid))
        return false;
    return !d->vex || row->attr & ATTR_VEXONLY ? !(row->attr & ATTR_Y2) || !d->vex_l || feature(features, CPUID_AVX2)
         : feature(features, row->attr & ATTR_Y2 && d->vex_l ? CPUID_AVX2 : CPUID_AVX);
}

static u8 operand_size(const struct decoder *d, u32 attr)
{
    bool p66 = d->prefix & PREFIX_66, w = d->rex & REX_W;
    if (d->vex)
        return w && d->mode == 8 ? 8 : 4;
    if (d->mode != 8)
        return p66 ? 6 - d->mode : d->mode;
    if (attr & ATTR_F64 || w)
        return 8;
    return p66 ? 2 : attr & ATTR_D64 ? 8 : 4;
}

static bool row_w_fits(const struct decoder *d, const struct insn_encoding *e, u32 attr)
{
    if (e->w >= W_O2)
        return operand_size(d, attr) == 2 << (e->w - W_O2);
    if (!d->vex && e->vex & VEX_FORM)
        return true;                    /* W of the VEX form only */
    return !(d->rex & REX_W) == (e->w == W_W0);
}

static bool row_fits(const struct decoder *d, unsigned row)
{
    const struct insn_encoding *e = &insn_encodings[row];
    u32 attr = insn_rows[row].attr;
    if (attr & (d->mode == 8 ? ATTR_NO64 : ATTR_ONLY64))
        return false;
    if (e->ext >= 0xc0 && d->modrm != e->ext)
        return false;
    if (attr & ATTR_NOREXB && d->rex & REX_B)
        return false;
    if (d->vex && !(e->vex & (d->vex_l ? VEX_256 : VEX_128)))
        return false;
    return e->w == W_WI || row_w_fits(d, e, attr);
}

/* The row of the instruction, or -1. Reads ModRM where there is one. */
static int find_row(struct decoder *d, const u64 *features)
{
    unsigned slot = slots[d->vex][d->map][d->opcode][d->column];
    bool have_modrm = false;
    if (slot & IS_GROUP) {
        d->modrm = (u8)fetch(d, 1);
        have_modrm = true;
        slot = groups[slot & ~IS_GROUP][(d->modrm >= 0xc0 ? 8 : 0) | (d->modrm >> 3 & 7)];
    }
    for (; slot; slot = chains[slot].next) {
        unsigned row = chains[slot].row;
        if (row_fits(d, row) && row_features(d, &insn_rows[row], features)) {
            if (facts[row].modrm && !have_modrm)
                d->modrm = (u8)fetch(d, 1);
            return (int)row;
        }
    }
    return -1;
}

/* ---- memory operand ---------------------------------------------------------------------------------------------- */

static void address_16(struct decoder *d, struct insn *in)
{
    static const u8 base[8] = { GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP, GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX };
    static const u8 index[8] = { GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI, GPR_NONE, GPR_NONE, GPR_NONE, GPR_NONE };
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;
    in->base = base[rm];
    in->index = index[rm];
    if (mod == 0 && rm == 6) {
        in->base = GPR_NONE;
        mod = 2;
    }
    if (mod)
        in->disp = fetch_signed(d, mod);
}

/* 32- and 64-bit forms with SIB; mod 00 with base 101 is a 32-bit displacement alone, relative to RIP without SIB in
 * 64-bit mode (SDM 2 2.2.1.6). */
static void address_32(struct decoder *d, struct insn *in)
{
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;
    bool sib = rm == 4;
    if (sib) {
        u8 b = (u8)fetch(d, 1);
        unsigned index = (b >> 3 & 7) | (d->rex & REX_X ? 8 : 0);
        in->scale = b >> 6;
        in->index = index == 4 && !in->vsib ? GPR_NONE : index;
        if (in->index == GPR_NONE)
            in->scale = 0;
        rm = b & 7;
    }
    in->base = rm | (d->rex & REX_B ? 8 : 0);
    if (mod == 0 && rm == 5) {
        in->base = !sib && d->mode == 8 ? GPR_RIP : GPR_NONE;
        mod = 2;
    }
    if (mod)
        in->disp = fetch_signed(d, mod == 1 ? 1 : 4);
}

static void read_address(struct decoder *d, struct insn *in)
{
    in->modrm_mem = 1;
    if (in->addrsize == 2)
        address_16(d, in);
    else
        address_32(d, in);
    if (d->seg == SEG_COUNT && (in->base == GPR_RSP || in->base == GPR_RBP))
        in->seg = SEG_SS;
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

/* Size in bytes; memory: the operand is a memory operand (for the letters with two sizes). */
static unsigned operand_bytes(const struct insn *in, enum operand_size size, bool memory)
{
    unsigned v = in->opsize, x = in->vl;
    switch (size) {
    case SIZE_B: return 1;
    case SIZE_W: return 2;
    case SIZE_D: return 4;
    case SIZE_Q: return 8;
    case SIZE_T: return 10;
    case SIZE_O: return 16;
    case SIZE_QQ: return 32;
    case SIZE_V: return v;
    case SIZE_Z: return v == 8 ? 4 : v;
    case SIZE_Y: return v == 8 ? 8 : 4;
    case SIZE_X: return x;
    case SIZE_XH: return x / 2;
    case SIZE_XQ: return x / 4;
    case SIZE_XE: return x / 8;
    case SIZE_XD: return x == 16 ? 8 : x;
    case SIZE_P: return v + 2;
    case SIZE_A: return v * 2;
    case SIZE_S: return in->mode == 8 ? 10 : 6;
    case SIZE_M: return in->mode == 8 ? 8 : 4;
    case SIZE_VW: return memory ? 2 : v;
    case SIZE_DB: return memory ? 1 : 4;
    case SIZE_DW: return memory ? 2 : 4;
    case SIZE_OD: return memory ? 4 : 16;
    default: return 0;
    }
}

static void set_gpr(const struct decoder *d, struct operand *o, unsigned reg)
{
    bool high = o->size == 1 && reg >= 4 && reg < 8 && !(d->prefix & PREFIX_REX);
    o->kind = high ? OP_GPRH : OP_GPR;
    o->reg = high ? reg - 4 : reg;
}

static void set_reg(struct operand *o, enum op_kind kind, unsigned reg)
{
    o->kind = kind;
    o->reg = reg;
}

static void set_imm(struct insn *in, struct operand *o, u64 v)
{
    o->kind = OP_IMM;
    in->imm = truncate_to(v, o->size);
}

static void read_operand(struct decoder *d, struct insn *in, unsigned i, const struct insn_letters_row *t)
{
    struct operand *o = &in->op[i];
    unsigned reg = (d->modrm >> 3 & 7) | (d->rex & REX_R ? 8 : 0);
    unsigned rm = (d->modrm & 7) | (d->rex & REX_B ? 8 : 0);
    o->size = operand_bytes(in, t->size, in->modrm_mem);
    switch (t->where) {
    case AT_RM: case AT_MRM: case AT_XRM:
        if (in->modrm_mem)
            o->kind = OP_MEM;
        else if (t->where == AT_RM)
            set_gpr(d, o, rm);
        else
            set_reg(o, t->where == AT_MRM ? OP_MMX : OP_VEC, t->where == AT_MRM ? rm & 7 : rm);
        break;
    case AT_MEM: o->kind = OP_MEM; break;
    case AT_VSIB: o->kind = OP_MEM; o->reg = in->vl; break;
    case AT_VSIBH: o->kind = OP_MEM; o->reg = in->vl == 32 ? 16 : in->vl; break;
    case AT_RMREG: case AT_RMANY: set_gpr(d, o, rm); break;
    case AT_REG: set_gpr(d, o, reg); break;
    case AT_OPC: set_gpr(d, o, (d->opcode & 7) | (d->rex & REX_B ? 8 : 0)); break;
    case AT_VVVV: set_reg(o, OP_GPR, d->vvvv); break;
    case AT_MOFFS: o->kind = OP_MEM; in->disp = fetch(d, in->addrsize); break;
    case AT_STRSI: set_reg(o, OP_STR, GPR_RSI); break;
    case AT_STRDI: set_reg(o, OP_STR, GPR_RDI); break;
    case AT_RAX: set_reg(o, OP_GPR, GPR_RAX); break;
    case AT_RCX: set_reg(o, OP_GPR, GPR_RCX); break;
    case AT_RDX: set_reg(o, OP_GPR, GPR_RDX); break;
    case AT_IMM: set_imm(in, o, fetch(d, 1)); break;
    case AT_IMMS: set_imm(in, o, fetch_signed(d, 1)); break;
    case AT_IMM16: set_imm(in, o, fetch(d, 2)); break;
    case AT_IMMZ: set_imm(in, o, fetch_signed(d, in->opsize == 2 ? 2 : 4)); break;
    case AT_IMMV: set_imm(in, o, fetch(d, in->opsize)); break;
    case AT_ONE: set_imm(in, o, 1); break;
    case AT_IMM2: set_reg(o, OP_IMM, 1); in->imm2 = (u16)fetch(d, 1); break;
    case AT_REL8: o->kind = OP_REL; in->imm = fetch_signed(d, 1); break;
    case AT_RELZ: o->kind = OP_REL; in->imm = fetch_signed(d, in->opsize == 2 ? 2 : 4); break;
    case AT_FAR: o->kind = OP_FAR; in->imm = fetch(d, in->opsize); in->imm2 = (u16)fetch(d, 2); break;
    case AT_SEG0: case AT_SEG1: case AT_SEG2: case AT_SEG3: case AT_SEG4: case AT_SEG5:
        set_reg(o, OP_SREG, t->where - AT_SEG0);
        break;
    case AT_SREG: set_reg(o, OP_SREG, reg & 7); break;
    case AT_CR: set_reg(o, OP_CR, reg); break;
    case AT_DR: set_reg(o, OP_DR, reg); break;
    case AT_ST0: set_reg(o, OP_ST, 0); break;
    case AT_STI: set_reg(o, OP_ST, rm & 7); break;
    case AT_MREG: set_reg(o, OP_MMX, reg & 7); break;
    case AT_MRMREG: set_reg(o, OP_MMX, rm & 7); break;
    case AT_MSRC: set_reg(o, OP_MMX, in->op[0].reg); break;
    case AT_XREG: set_reg(o, OP_VEC, reg); break;
    case AT_XRMREG: set_reg(o, OP_VEC, rm); break;
    case AT_XSRC: set_reg(o, OP_VEC, d->vex ? d->vvvv : in->op[0].reg); break;
    case AT_XDST: set_reg(o, OP_VEC, d->vex ? d->vvvv : rm); break;
    case AT_IS4: set_reg(o, OP_VEC, (unsigned)fetch(d, 1) >> 4 & (d->mode == 8 ? 15 : 7)); break;
    case AT_XMM0: set_reg(o, OP_VEC, 0); break;
    default: break;
    }
}

static u8 vector_length(const struct decoder *d, u32 attr, const struct insn_encoding *e)
{
    if (!(attr & ATTR_SSE))
        return attr & ATTR_MMX ? 8 : 0;
    return d->vex && d->vex_l && !(e->vex & VEX_IGNORE) ? 32 : 16;
}

/* ---- rules beyond the table -------------------------------------------------------------------------------------- */

/* Gathers are #UD if two of destination, mask and index are the same register, with 16-bit addressing or without SIB.
 */
static bool gather_valid(const struct decoder *d, const struct insn *in)
{
    return in->op[0].reg != in->op[2].reg && in->op[0].reg != in->index && in->op[2].reg != in->index &&
           in->addrsize != 2 && (d->modrm & 7) == 4;
}

static bool operands_valid(const struct insn *in)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct operand *o = &in->op[i];
        if (o->kind == OP_SREG && (o->reg >= SEG_COUNT || (i == 0 && o->reg == SEG_CS && in->op[1].kind != OP_NONE)))
            return false;               /* MOV to CS; PUSH CS has one operand */
        if (o->kind == OP_CR && !(0x11d >> o->reg & 1))
            return false;               /* CR0, 2, 3, 4, 8 */
        if (o->kind == OP_DR && o->reg > 7)
            return false;
    }
    return true;
}

static bool valid(const struct decoder *d, const struct insn *in, u32 attr)
{
    if (d->lock && !(attr & ATTR_LOCK && in->modrm_mem && in->op[0].kind == OP_MEM))
        return false;
    if (d->vex && !d->vvvv_free && !facts[in->row].vvvv)
        return false;
    if (attr & ATTR_GATHER && !gather_valid(d, in))
        return false;
    return operands_valid(in);
}

/* The string instructions' prefix; everywhere else F2 and F3 are part of the opcode or nothing. */
static void set_prefixes(const struct decoder *d, struct insn *in, u32 attr)
{
    in->rep = attr & ATTR_STRING ? d->rep : REP_NONE;
    in->lock = d->lock;
    in->vex = d->vex;
    in->rex_w = d->mode == 8 && d->rex & REX_W;
    in->prefix = d->prefix;
    in->seg = d->seg == SEG_COUNT ? SEG_DS : d->seg;
}

static void fill(struct decoder *d, struct insn *in, unsigned row)
{
    const struct insn_encoding *e = &insn_encodings[row];
    u32 attr = insn_rows[row].attr;
    in->run = insn_rows[row].run;
    in->row = (u16)row;
    set_prefixes(d, in, attr);
    in->opsize = operand_size(d, attr);
    in->addrsize = !(d->prefix & PREFIX_67) ? d->mode : d->mode == 8 ? 4 : 6 - d->mode;
    in->vl = vector_length(d, attr, e);
    in->base = in->index = GPR_NONE;
    in->vsib = !!(attr & ATTR_GATHER);
    if (attr & ATTR_CC)
        in->imm2 = d->opcode & 15;
    if (attr & ATTR_X87)
        in->imm2 = (u16)((d->opcode & 7) << 8 | d->modrm);
    if (facts[row].modrm && d->modrm < 0xc0 && !facts[row].no_mem)
        read_address(d, in);
    for (unsigned i = 0; i < 4 && e->op[i] != LETTERS___; i++)
        read_operand(d, in, i, &insn_letters[e->op[i]]);
}

enum decode_status insn_decode(struct insn *in, const u8 *bytes, unsigned avail, unsigned mode, const u64 *features)
{
    struct decoder d = {
        .bytes = bytes, .avail = avail < MAX_LENGTH ? avail : MAX_LENGTH, .mode = (u8)mode, .seg = SEG_COUNT
    };
    memset(in, 0, sizeof(*in));
    in->mode = (u8)mode;
    read_opcode(&d);
    if (likely(d.status == DECODE_OK)) {
        int row = find_row(&d, features);
        if (row < 0 && d.status == DECODE_OK)
            d.status = DECODE_UD;
        if (likely(d.status == DECODE_OK))
            fill(&d, in, (unsigned)row);
        if (d.status == DECODE_OK && !valid(&d, in, insn_rows[row].attr))
            d.status = DECODE_UD;
    }
    in->len = (u8)d.pos;
    return d.status;
}
