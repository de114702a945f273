/* encode.c - A64 instruction words. Arm Architecture Reference Manual, C4 and C6.
 *
 * Words go to the writable view of the cache. What does not fit sets e->full, and nothing more is written.
 */
#include "jit/aarch64/emit.h"

#include <string.h>

static u32 sf(bool wide) { return wide ? 1u << 31 : 0; }

void put32(struct emit *e, u32 insn)
{
    if (e->end - e->at < 4) {
        e->full = true;
        return;
    }
    memcpy(e->rw + e->at, &insn, 4);
    e->at += 4;
}

void put64(struct emit *e, u64 v)
{
    put32(e, (u32)v);
    put32(e, (u32)(v >> 32));
}

void rrr(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, unsigned m) { put32(e, op | sf(wide) | m << 16 | n << 5 | d); }
void rr(struct emit *e, u32 op, bool wide, unsigned d, unsigned n) { put32(e, op | sf(wide) | n << 5 | d); }

void mov(struct emit *e, bool wide, unsigned d, unsigned n)
{
    if (d != n || !wide)
        rrr(e, ORR, wide, d, XZR, n);
}

/* --- immediates ------------------------------------------------------------------------------------------------------ */

/* Is v a mask of `size` bits, repeated: ones that stand together, rotated? Then its fields N:immr:imms. C6: DecodeBitMasks. */
static bool bit_mask(u64 v, bool wide, u32 *field)
{
    if (!wide)
        v = (v & 0xffffffff) | v << 32;
    if (!v || !~v)
        return false;
    unsigned size = 64;
    while (size > 2) {
        unsigned half = size / 2;
        u64 mask = ((u64)1 << half) - 1;
        if ((v & mask) != (v >> half & mask))
            break;
        size = half;
    }
    u64 mask = size == 64 ? ~(u64)0 : ((u64)1 << size) - 1;
    v &= mask;
    unsigned ones = (unsigned)__builtin_popcountll(v), turn;
    /* v rotated left by `turn` is `ones` ones at the bottom */
    for (turn = 0; turn < size; turn++) {
        u64 r = turn ? ((v << turn) | (v >> (size - turn))) & mask : v;
        if (r == (ones == 64 ? ~(u64)0 : ((u64)1 << ones) - 1))
            break;
    }
    if (turn == size)
        return false;
    u32 imms = ((~(size * 2 - 1)) & 0x3f) | (ones - 1);
    *field = (size == 64 ? 1u << 22 : 0) | turn << 16 | (imms & 0x3f) << 10;
    return true;
}

bool logic_imm(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, u64 v)
{
    u32 field;
    u32 base = op == AND ? 0x12000000 : op == ORR ? 0x32000000 : op == EOR ? 0x52000000 : 0x72000000;
    if (!bit_mask(v, wide, &field))
        return false;
    put32(e, base | sf(wide) | field | n << 5 | d);
    return true;
}

static unsigned pieces(u64 v)
{
    return (v & 0xffff) != 0 || !v ? 1u + ((v >> 16 & 0xffff) != 0) + ((v >> 32 & 0xffff) != 0) + (v >> 48 != 0)
                                   : ((v >> 16 & 0xffff) != 0) + ((v >> 32 & 0xffff) != 0) + (unsigned)(v >> 48 != 0);
}

void mov_imm(struct emit *e, unsigned d, u64 v)
{
    enum { MOVN = 0x12800000, MOVZ = 0x52800000, MOVK = 0x72800000 };
    bool wide = v >> 32, negative;
    u64 all = wide ? ~(u64)0 : 0xffffffff;
    unsigned words = wide ? 4 : 2, i = 0;
    negative = pieces(~v & all) < pieces(v);
    if (pieces(v) > 1 && pieces(~v & all) > 1 && d != SP && logic_imm(e, ORR, wide, d, XZR, v))
        return;
    u64 rest = negative ? ~v & all : v;
    while (i < words - 1 && !(rest >> (16 * i) & 0xffff))
        i++;
    if (!rest)
        i = 0;
    put32(e, (negative ? MOVN : MOVZ) | sf(wide) | i << 21 | (u32)(rest >> (16 * i) & 0xffff) << 5 | d);
    for (i++; i < words; i++)
        if (rest >> (16 * i) & 0xffff)
            put32(e, MOVK | sf(wide) | i << 21 | (u32)(v >> (16 * i) & 0xffff) << 5 | d);
}

bool add_imm(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, u64 v)
{
    u32 base = (op & 0x60000000) | 0x11000000;
    if (v < 4096)
        put32(e, base | sf(wide) | (u32)v << 10 | n << 5 | d);
    else if (!(v & 4095) && v >> 24 == 0)
        put32(e, base | 1u << 22 | sf(wide) | (u32)(v >> 12) << 10 | n << 5 | d);
    else
        return false;
    return true;
}

void add_any(struct emit *e, bool wide, unsigned d, unsigned n, s64 v)
{
    u64 size = v < 0 ? -(u64)v : (u64)v;
    u32 op = v < 0 ? SUB : ADD;
    if (!v && d == n && wide)
        return;
    if (add_imm(e, op, wide, d, n, size))
        return;
    if (size < 1 << 24) {
        add_imm(e, op, wide, d, n, size & ~(u64)4095);
        add_imm(e, op, wide, d, d, size & 4095);
        return;
    }
    mov_imm(e, X17, wide ? (u64)v : (u32)v);
    rrr(e, ADD, wide, d, n, X17);
}

/* --- bit fields, selections ------------------------------------------------------------------------------------------- */

static void field(struct emit *e, u32 op, bool wide, unsigned d, unsigned n, unsigned r, unsigned s)
{
    put32(e, op | sf(wide) | (wide ? 1u << 22 : 0) | r << 16 | s << 10 | n << 5 | d);
}
void sbfm(struct emit *e, bool wide, unsigned d, unsigned n, unsigned r, unsigned s) { field(e, 0x13000000, wide, d, n, r, s); }
void bfm(struct emit *e, bool wide, unsigned d, unsigned n, unsigned r, unsigned s) { field(e, 0x33000000, wide, d, n, r, s); }
void ubfm(struct emit *e, bool wide, unsigned d, unsigned n, unsigned r, unsigned s) { field(e, 0x53000000, wide, d, n, r, s); }

void csel(struct emit *e, bool wide, unsigned d, unsigned n, unsigned m, unsigned cond)
{
    put32(e, 0x1a800000 | sf(wide) | m << 16 | cond << 12 | n << 5 | d);
}
void cset(struct emit *e, unsigned d, unsigned cond) { put32(e, 0x1a9f07e0 | (cond ^ 1) << 12 | d); }

/* --- memory ------------------------------------------------------------------------------------------------------------ */

static unsigned log2_of(unsigned size) { return size == 8 ? 3 : size == 4 ? 2 : size == 2 ? 1 : 0; }

/* op: of the form with an unsigned offset. spare: for a long one. */
static void access_memory(struct emit *e, u32 op, unsigned size, unsigned t, unsigned base, u32 off, unsigned spare)
{
    unsigned shift = log2_of(size);
    op |= shift << 30;
    if (!(off & (size - 1)) && off >> shift < 4096) {
        put32(e, op | (off >> shift) << 10 | base << 5 | t);
    } else if (off < 256) {
        put32(e, (op & ~(1u << 24)) | off << 12 | base << 5 | t);
    } else {
        const u32 far = off & ~4095u ? off & ~4095u : off;
        add_imm(e, ADD, true, spare, base, far);
        access_memory(e, op & 0x3fffffff, size, t, spare, off - far, spare);
    }
}

void ldr(struct emit *e, unsigned size, unsigned t, unsigned base, u32 off) { access_memory(e, 0x39400000, size, t, base, off, t); }
void str(struct emit *e, unsigned size, unsigned t, unsigned base, u32 off) { access_memory(e, 0x39000000, size, t, base, off, X17); }
void ldrs(struct emit *e, unsigned size, unsigned t, unsigned base, u32 off)
{
    access_memory(e, size == 8 ? 0x39400000 : 0x39800000, size, t, base, off, t);
}

void pair(struct emit *e, u32 op, unsigned t, unsigned t2, unsigned base, s32 off)
{
    put32(e, op | ((u32)(off / (op >> 30 ? 8 : 4)) & 127) << 15 | t2 << 10 | base << 5 | t);
}

/* --- branches ----------------------------------------------------------------------------------------------------------- */

static u32 put_at(struct emit *e, u32 insn)
{
    u32 at = e->at;
    put32(e, insn);
    return at;
}
u32 branch(struct emit *e) { return put_at(e, 0x14000000); }
u32 branch_link(struct emit *e) { return put_at(e, 0x94000000); }
u32 branch_if(struct emit *e, unsigned cond) { return put_at(e, 0x54000000 | cond); }
u32 branch_zero(struct emit *e, bool wide, unsigned reg, bool not_zero)
{
    return put_at(e, (not_zero ? 0x35000000 : 0x34000000) | sf(wide) | reg);
}
u32 branch_bit(struct emit *e, unsigned reg, unsigned bit, bool set)
{
    return put_at(e, (set ? 0x37000000 : 0x36000000) | (bit >> 5) << 31 | (bit & 31) << 19 | reg);
}
u32 load_literal(struct emit *e, unsigned t) { return put_at(e, 0x58000000 | t); }
void branch_reg(struct emit *e, unsigned reg) { put32(e, 0xd61f0000 | reg << 5); }
void ret(struct emit *e, unsigned reg) { put32(e, 0xd65f0000 | reg << 5); }

/* The field of the distance: how wide, and where in the word. */
static unsigned reach(u32 insn, unsigned *shift)
{
    if ((insn & 0x7c000000) == 0x14000000) {
        *shift = 0;
        return 26;
    }
    *shift = 5;
    return (insn & 0x7e000000) == 0x36000000 ? 14 : 19;
}

bool branch_reaches(u32 insn, u32 at, u32 to, u32 *patched)
{
    unsigned shift, width = reach(insn, &shift);
    s64 words = ((s64)to - (s64)at) / 4;
    u32 mask = (1u << width) - 1;
    if (words < -((s64)1 << (width - 1)) || words >= (s64)1 << (width - 1))
        return false;
    *patched = (insn & ~(mask << shift)) | ((u32)words & mask) << shift;
    return true;
}

void emit_fill(struct emit *e, u32 at, u32 to)
{
    u32 insn;
    if (e->full)
        return;
    memcpy(&insn, e->rw + at, 4);
    if (branch_reaches(insn, at, to, &insn))
        memcpy(e->rw + at, &insn, 4);
    else
        e->full = true;
}

void emit_branch_to(struct emit *e, u32 to) { emit_fill(e, branch(e), to); }
