/* ir_eval.c - the evaluator: executes a unit on the vCPU's state, one operation after the other. It is the meaning of
 * ir.def in C, for tests of translation, passes and backends.
 *
 * What the IR leaves undefined is made wrong on purpose, so that a test notices who relies on it: the bits of a
 * temporary above the size that was written, and status flags that are not live (flive), once they have died. Flags
 * that an operation does not list in fdef stay as they were.
 *
 * Memory is reached through host addresses as in translated code: ptr checks segment and page (mmu_host). `insn` lets
 * the interpreter's function work on the IR's operands: memory operands are turned back into guest addresses (each ptr
 * remembers its own), temporaries borrow a register from R8..R15.
 */
#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/operand.h"
#include "jit/ir.h"

/* The guest address that a ptr has translated. */
struct address { u64 off; u8 seg, size; };

struct eval {
    const struct ir_unit *u;
    struct vcpu *c;
    const struct ir_ins *ins;
    u64 rip;                            /* of an exit */
    u16 dead;                           /* flags that hold nothing any more */
    u64 temp[IR_MAX_TEMPS];
    struct address address[IR_MAX_TEMPS];
};

/* How it goes on: with the next operation, at e->rip, or at the guest instruction in the interpreter. */
enum next { NEXT, EXIT, LEAVE };
typedef enum next eval_fn(struct eval *e);

#define POISON 0xa5a5a5a5a5a5a5a5u

static u64 truncate_rip(const struct vcpu *c, u64 rip) { return in_64bit_mode(c) ? rip : (u32)rip; }
static u64 rip_of(const struct eval *e, s64 offset) { return truncate_rip(e->c, e->c->jit.pc + (u64)offset); }

static enum next exit_to(struct eval *e, u64 rip)
{
    e->rip = truncate_rip(e->c, rip);
    return EXIT;
}

/* --- operands --------------------------------------------------------------------------------------------------- */

static u8 *host_of(const struct eval *e)
{
    return (u8 *)(uintptr_t)(e->temp[e->ins->p - IR_T] + (u64)(s64)e->ins->disp);
}

static u64 read(const struct eval *e, ir_val v, unsigned size)
{
    u64 r = 0;
    if (ir_is_gpr(v))
        r = e->c->gpr[v - IR_G];
    else if (ir_is_high(v))
        r = e->c->gpr[v - IR_H] >> 8;
    else if (ir_is_temp(v))
        r = e->temp[v - IR_T];
    else if (v == IR_IMM)
        r = (u64)e->ins->imm;
    else if (v == IR_PC)
        r = e->c->jit.pc;
    else if (v == IR_MEM)
        memcpy(&r, host_of(e), size);
    return flags_truncate(size, r);
}

static void write(struct eval *e, ir_val v, unsigned size, u64 value)
{
    u64 mask = flags_truncate(size, ~(u64)0);
    if (ir_is_gpr(v))
        gpr_write(e->c, v - IR_G, size, value);
    else if (ir_is_high(v))
        gpr_write8(e->c, &(struct operand){ .kind = OP_GPRH, .reg = (u8)(v - IR_H), .size = 1 }, (u8)value);
    else if (ir_is_temp(v))
        e->temp[v - IR_T] = (value & mask) | (POISON & ~mask);
    else if (v == IR_MEM)
        memcpy(host_of(e), &value, size);
}

static u64 read_d(const struct eval *e) { return read(e, e->ins->d, e->ins->size); }
static u64 read_a(const struct eval *e) { return read(e, e->ins->a, e->ins->size); }
static enum next write_d(struct eval *e, u64 value)
{
    write(e, e->ins->d, e->ins->size, value);
    return NEXT;
}
static u64 read_g(const struct eval *e, unsigned reg) { return gpr_read(e->c, reg, e->ins->size); }

/* --- moves ------------------------------------------------------------------------------------------------------ */

static enum next ev_mov(struct eval *e) { return write_d(e, read_a(e)); }
static enum next ev_movzx(struct eval *e) { return write_d(e, read(e, e->ins->a, e->ins->size2)); }
static enum next ev_movsx(struct eval *e)
{
    return write_d(e, flags_sign_extend(e->ins->size2, read(e, e->ins->a, e->ins->size2)));
}

/* a + (b << scale) + disp; what stands above the width does not matter */
static u64 sum(const struct eval *e)
{
    return read(e, e->ins->a, 8) + (read(e, e->ins->b, 8) << e->ins->scale) + (u64)(s64)e->ins->disp;
}
static enum next ev_lea(struct eval *e) { return write_d(e, sum(e)); }

static enum next ev_xchg(struct eval *e)
{
    u64 d = read_d(e), a = read_a(e);
    write_d(e, a);
    write(e, e->ins->a, e->ins->size, d);
    return NEXT;
}

static enum next ev_bswap(struct eval *e)
{
    return write_d(e, __builtin_bswap64(read_d(e)) >> (64 - 8 * e->ins->size));
}

static enum next ev_cmov(struct eval *e)
{
    return write_d(e, flags_condition(e->c, e->ins->cc) ? read_a(e) : read_d(e));
}
static enum next ev_setcc(struct eval *e) { return write_d(e, flags_condition(e->c, e->ins->cc)); }

static enum next ev_cdq(struct eval *e)
{
    gpr_write(e->c, GPR_RDX, e->ins->size, (u64)((s64)flags_sign_extend(e->ins->size, e->c->rax) >> 63));
    return NEXT;
}

static u8 *field_of(const struct eval *e)
{
    static const size_t offsets[IR_FIELD_COUNT] = {
#define X(name, where) offsetof(struct vcpu, where),
        IR_FIELDS(X)
#undef X
    };
    return (u8 *)e->c + offsets[e->ins->row];
}
static enum next ev_get(struct eval *e)
{
    u64 v = 0;
    memcpy(&v, field_of(e), e->ins->size);
    return write_d(e, v);
}
static enum next ev_put(struct eval *e)
{
    u64 v = read_a(e);
    memcpy(field_of(e), &v, e->ins->size);
    return NEXT;
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

/* Where the byte at an offset from the unit's page is. */
static const u8 *code_host(const struct eval *e, s64 offset)
{
    gpa pa;
    const u8 *host;
    u64 rip = rip_of(e, offset);
    gla a = in_64bit_mode(e->c) ? rip : (u32)(e->c->seg[SEG_CS].base + rip);
    return mmu_fetch(&e->c->mmu, a, e->c->mmu.view, &pa, &host) ? host : NULL;
}

static bool is_own_code(const struct eval *e, const u8 *host, unsigned bytes)
{
    const struct ir_unit *u = e->u;
    const u8 *first = code_host(e, u->offset[0]), *end = first + (u->offset[u->guests] - u->offset[0]);
    return (uintptr_t)host < (uintptr_t)end && (uintptr_t)first < (uintptr_t)(host + bytes);
}

static enum next ev_ptr(struct eval *e)
{
    const struct ir_ins *ins = e->ins;
    struct vcpu *c = e->c;
    struct address *at = &e->address[ins->d - IR_T];
    __typeof__(c->exc) exc = c->exc;
    enum access access = ins->cc == IR_READ ? ACCESS_READ : ACCESS_WRITE;
    gla a;
    *at = (struct address){ flags_truncate(ins->addrsize, sum(e)), ins->size2, ins->addrsize };
    bool ok = !c->access_checks && mem_linear(c, at->seg, at->off, ins->size, access, &a);
    c->exc = exc;
    if (!ok || (ins->bits & IR_ALIGN && a & (ins->size - 1u)))
        return LEAVE;
    u8 *host = mmu_host(&c->mmu, a, ins->size, access, c->mmu.view);
    e->temp[ins->d - IR_T] = (uintptr_t)host;
    return host && !(ins->bits & IR_APART && is_own_code(e, host, ins->size)) ? NEXT : LEAVE;
}

static enum next ev_again(struct eval *e)
{
    unsigned d = e->ins->d - IR_T, p = e->ins->p - IR_T;
    e->temp[d] = e->temp[p];
    e->address[d] = e->address[p];
    return NEXT;
}

static enum next ev_code(struct eval *e)
{
    const u8 *host = code_host(e, e->ins->disp);
    e->temp[e->ins->d - IR_T] = (uintptr_t)host;
    return host ? NEXT : LEAVE;
}
static enum next ev_same(struct eval *e)
{
    return read_d(e) == flags_truncate(e->ins->size, (u64)e->ins->imm) ? NEXT : LEAVE;
}

/* --- arithmetic ------------------------------------------------------------------------------------------------- */

static enum next ev_add(struct eval *e) { return write_d(e, flags_add(e->c, e->ins->size, read_d(e), read_a(e))); }
static enum next ev_or(struct eval *e) { return write_d(e, flags_logic(e->c, e->ins->size, read_d(e) | read_a(e))); }
static enum next ev_adc(struct eval *e) { return write_d(e, flags_adc(e->c, e->ins->size, read_d(e), read_a(e))); }
static enum next ev_sbb(struct eval *e) { return write_d(e, flags_sbb(e->c, e->ins->size, read_d(e), read_a(e))); }
static enum next ev_and(struct eval *e) { return write_d(e, flags_logic(e->c, e->ins->size, read_d(e) & read_a(e))); }
static enum next ev_sub(struct eval *e) { return write_d(e, flags_sub(e->c, e->ins->size, read_d(e), read_a(e))); }
static enum next ev_xor(struct eval *e) { return write_d(e, flags_logic(e->c, e->ins->size, read_d(e) ^ read_a(e))); }
static enum next ev_inc(struct eval *e) { return write_d(e, flags_inc(e->c, e->ins->size, read_d(e))); }
static enum next ev_dec(struct eval *e) { return write_d(e, flags_dec(e->c, e->ins->size, read_d(e))); }
static enum next ev_neg(struct eval *e) { return write_d(e, flags_sub(e->c, e->ins->size, 0, read_d(e))); }
static enum next ev_not(struct eval *e) { return write_d(e, ~read_d(e)); }

static enum next ev_cmp(struct eval *e)
{
    flags_sub(e->c, e->ins->size, read_d(e), read_a(e));
    return NEXT;
}
static enum next ev_test(struct eval *e)
{
    flags_logic(e->c, e->ins->size, read_d(e) & read_a(e));
    return NEXT;
}

/* With one register twice, the sum stays. */
static enum next ev_xadd(struct eval *e)
{
    u64 d = read_d(e), r = flags_add(e->c, e->ins->size, d, read_a(e));
    write(e, e->ins->a, e->ins->size, d);
    return write_d(e, r);
}

static enum next ev_cmpxchg(struct eval *e)
{
    u64 d = read_d(e), a = read_a(e), acc = read_g(e, GPR_RAX);
    flags_sub(e->c, e->ins->size, acc, d);
    if (acc == d)
        return write_d(e, a);
    gpr_write(e->c, GPR_RAX, e->ins->size, d);
    return NEXT;
}

static void multiply_flags(struct vcpu *c, bool overflow) { flags_put(c, IR_O | IR_C, overflow ? IR_O | IR_C : 0); }

/* rDX:rAX, or AX for bytes */
static void write_pair(struct eval *e, u64 high, u64 low)
{
    unsigned n = e->ins->size;
    if (n == 1) {
        gpr_write(e->c, GPR_RAX, 2, (low & 0xff) | (high & 0xff) << 8);
        return;
    }
    gpr_write(e->c, GPR_RAX, n, low);
    gpr_write(e->c, GPR_RDX, n, high);
}

static s128 product(struct eval *e, u64 x, u64 y)
{
    unsigned n = e->ins->size;
    s128 p = (s128)(s64)flags_sign_extend(n, x) * (s64)flags_sign_extend(n, y);
    multiply_flags(e->c, p != (s64)flags_sign_extend(n, (u64)p));
    return p;
}
static enum next ev_imul(struct eval *e) { return write_d(e, (u64)product(e, read_d(e), read_a(e))); }
static enum next ev_imul3(struct eval *e) { return write_d(e, (u64)product(e, read_a(e), (u64)e->ins->imm)); }
static enum next ev_imul1(struct eval *e)
{
    s128 p = product(e, e->c->rax, read_a(e));
    write_pair(e, (u64)(p >> (8 * e->ins->size)), (u64)p);
    return NEXT;
}
static enum next ev_mul(struct eval *e)
{
    u128 p = (u128)read_g(e, GPR_RAX) * read_a(e);
    u64 high = flags_truncate(e->ins->size, (u64)(p >> (8 * e->ins->size)));
    write_pair(e, high, (u64)p);
    multiply_flags(e->c, high != 0);
    return NEXT;
}

static u128 read_pair(const struct eval *e)
{
    unsigned n = e->ins->size;
    return n == 1 ? (u16)e->c->rax : (u128)read_g(e, GPR_RDX) << (8 * n) | read_g(e, GPR_RAX);
}
static enum next ev_div(struct eval *e)
{
    u128 a = read_pair(e);
    u64 d = read_a(e);
    if ((a >> (8 * e->ins->size)) >= d)
        return LEAVE;
    write_pair(e, (u64)(a % d), (u64)(a / d));
    return NEXT;
}
static enum next ev_idiv(struct eval *e)
{
    unsigned n = e->ins->size, unused = 128 - 16 * n;
    s128 a = (s128)(read_pair(e) << unused) >> unused;
    s64 d = (s64)flags_sign_extend(n, read_a(e));
    u128 ua = a < 0 ? -(u128)a : (u128)a, ud = d < 0 ? -(u128)d : (u128)d, most = (u128)1 << (8 * n - 1);
    bool negative = (a < 0) != (d < 0);
    if (!d || ua / ud >= most + negative)
        return LEAVE;
    u64 q = (u64)(ua / ud), r = (u64)(ua % ud);
    write_pair(e, a < 0 ? -r : r, negative ? -q : q);
    return NEXT;
}

/* --- shifts ----------------------------------------------------------------------------------------------------- */

static unsigned count_of(const struct eval *e, ir_val v) { return read(e, v, 1) & (e->ins->size == 8 ? 63 : 31); }
static bool bit_of(u64 v, unsigned n) { return v >> n & 1; }

static void shift_flags(struct eval *e, u64 r, bool cf, bool of)
{
    flags_result(e->c, e->ins->size, r);
    e->c->lazy.carry = flags_carry_word(cf, of, false);
}
static void rotate_flags(struct eval *e, bool cf, bool of)
{
    flags_put(e->c, IR_O | IR_C, (cf ? IR_C : 0) | (of ? IR_O : 0));
}

/* shl, shr, sar: what is shifted out last is CF; OF compares signs, whatever the count. */
static enum next ev_shift(struct eval *e)
{
    unsigned n = e->ins->size, top = 8 * n - 1, k = count_of(e, e->ins->a);
    u64 d = read_d(e), r;
    bool cf;
    if (!k)
        return write_d(e, d);
    if (e->ins->op == IR_OP_shl) {
        u128 wide = (u128)d << k;
        r = flags_truncate(n, (u64)wide);
        cf = wide >> (8 * n) & 1;
        shift_flags(e, r, cf, cf ^ bit_of(r, top));
        return write_d(e, r);
    }
    bool sar = e->ins->op == IR_OP_sar;
    s128 wide = sar ? (s128)(s64)flags_sign_extend(n, d) : (s128)d;
    r = flags_truncate(n, (u64)(wide >> k));
    shift_flags(e, r, wide >> (k - 1) & 1, !sar && (bit_of(r, top) ^ bit_of(r, top - 1)));
    return write_d(e, r);
}

/* rol, ror: CF is the bit that came around last, which has to be set for a full turn, too. */
static enum next ev_rotate(struct eval *e)
{
    unsigned bits = 8 * e->ins->size, k = count_of(e, e->ins->a);
    u64 d = read_d(e);
    if (!k)
        return write_d(e, d);
    bool left = e->ins->op == IR_OP_rol;
    unsigned turn = (left ? k : bits - k % bits) % bits;
    u64 r = flags_truncate(e->ins->size, (u64)(((u128)d << bits | d) >> (bits - turn)));
    if (left)
        rotate_flags(e, r & 1, (r & 1) ^ bit_of(r, bits - 1));
    else
        rotate_flags(e, bit_of(r, bits - 1), bit_of(r, bits - 1) ^ bit_of(r, bits - 2));
    return write_d(e, r);
}

/* rcl, rcr: bit by bit. */
static enum next ev_rotate_carry(struct eval *e)
{
    unsigned top = 8 * e->ins->size - 1, k = count_of(e, e->ins->a);
    u64 d = read_d(e);
    bool cf = flags_cf(e->c), left = e->ins->op == IR_OP_rcl;
    if (!k)
        return write_d(e, d);
    for (unsigned i = 0; i < k; i++) {
        bool out = left ? bit_of(d, top) : d & 1;
        d = left ? flags_truncate(e->ins->size, d << 1) | cf : d >> 1 | (u64)cf << top;
        cf = out;
    }
    rotate_flags(e, cf, left ? cf ^ bit_of(d, top) : bit_of(d, top) ^ bit_of(d, top - 1));
    return write_d(e, d);
}

/* shld: the top of dst:src, shrd: the bottom of src:dst. 16 bits and counts above 16: dst follows once more. */
static enum next ev_double_shift(struct eval *e)
{
    unsigned n = e->ins->size, bits = 8 * n, k = count_of(e, e->ins->b);
    u64 d = read_d(e), a = read_a(e), r;
    if (!k)
        return write_d(e, d);
    if (e->ins->op == IR_OP_shld) {
        u128 all = (u128)d << 64 | (u128)a << (64 - bits) | (n == 2 ? d << 32 : 0);
        r = flags_truncate(n, (u64)(all << k >> 64));
        bool cf = all << (k - 1) >> (63 + bits) & 1;
        shift_flags(e, r, cf, cf ^ bit_of(r, bits - 1));
    } else {
        u128 all = d | (u128)a << bits | (n == 2 ? d << 32 : 0);
        r = flags_truncate(n, (u64)(all >> k));
        shift_flags(e, r, all >> (k - 1) & 1, bit_of(r, bits - 1) ^ bit_of(r, bits - 2));
    }
    return write_d(e, r);
}

/* --- bits ------------------------------------------------------------------------------------------------------- */

static enum next ev_bit(struct eval *e)
{
    u64 d = read_d(e), mask = (u64)1 << (read_a(e) & (8 * e->ins->size - 1));
    flags_set_cf(e->c, d & mask);
    switch (e->ins->op) {
    case IR_OP_bts: return write_d(e, d | mask);
    case IR_OP_btr: return write_d(e, d & ~mask);
    case IR_OP_btc: return write_d(e, d ^ mask);
    default: return NEXT;
    }
}

static enum next ev_scan(struct eval *e)
{
    u64 a = read_a(e);
    flags_put(e->c, IR_Z, a ? 0 : IR_Z);
    if (a)
        write_d(e, e->ins->op == IR_OP_bsf ? (u64)__builtin_ctzll(a) : 63 - (u64)__builtin_clzll(a));
    return NEXT;
}

/* --- flags as data ---------------------------------------------------------------------------------------------- */

static enum next ev_getfl(struct eval *e) { return write_d(e, flags_status(e->c)); }
static enum next ev_putfl(struct eval *e)
{
    flags_set_status(e->c, (u32)read_a(e) & IR_FLAGS);
    return NEXT;
}
static enum next set_carry(struct eval *e, bool cf)
{
    flags_set_cf(e->c, cf);
    return NEXT;
}
static enum next ev_clc(struct eval *e) { return set_carry(e, false); }
static enum next ev_stc(struct eval *e) { return set_carry(e, true); }
static enum next ev_cmc(struct eval *e) { return set_carry(e, !flags_cf(e->c)); }

/* --- guest instructions ----------------------------------------------------------------------------------------- */

/* A copy that can run outside of a block: RIP-relative operands name GPR_RIP again. */
static struct insn alone(const struct insn *in)
{
    struct insn copy = *in;
    if (copy.base == GPR_BLOCK) {
        copy.base = GPR_RIP;
        copy.disp -= copy.end;
    }
    return copy;
}

static bool uses_register(const struct ir_ins *ins, unsigned reg)
{
    ir_val v = (ir_val)(IR_G + reg);
    return ins->d == v || ins->a == v || ins->b == v || ins->c == v;
}

/* Operand i of the interpreter's instruction = v. lent[i]: the register that stands for a temporary. */
static void set_operand(struct eval *e, struct insn *in, unsigned i, ir_val v, u8 lent[4], unsigned *next)
{
    struct operand *o = &in->op[i];
    if (ir_is_gpr(v))
        *o = (struct operand){ OP_GPR, (u8)(v - IR_G), o->size };
    else if (ir_is_high(v))
        *o = (struct operand){ OP_GPRH, (u8)(v - IR_H), o->size };
    else if (ir_is_vec(v))
        *o = (struct operand){ OP_VEC, (u8)(v - IR_V), o->size };
    else if (v >= IR_MMX && v < IR_ST)
        *o = (struct operand){ OP_MMX, (u8)(v - IR_MMX), o->size };
    else if (v >= IR_ST && v < IR_IMM)
        *o = (struct operand){ OP_ST, (u8)(v - IR_ST), o->size };
    else if (v == IR_IMM && o->reg == 0)
        in->imm = (u64)e->ins->imm;
    else if (v == IR_MEM) {
        const struct address *at = &e->address[e->ins->p - IR_T];
        o->kind = OP_MEM;
        in->seg = at->seg;
        in->addrsize = at->size;
        in->base = in->index = GPR_NONE;
        in->disp = at->off + (u64)(s64)e->ins->disp;
    } else if (ir_is_temp(v)) {
        while (uses_register(e->ins, *next))
            ++*next;
        lent[i] = (u8)(*next)++;
        *o = (struct operand){ OP_GPR, lent[i], o->size };
    }
}

static enum next ev_insn(struct eval *e)
{
    const struct ir_ins *ins = e->ins;
    struct vcpu *c = e->c;
    const struct insn *guest = e->u->guest[ins->gi];
    const ir_val v[4] = { ins->d, ins->a, ins->b, ins->c };
    u8 lent[4] = { 0 };
    u64 saved[4] = { 0 };
    unsigned next = GPR_R8;
    if (!guest || guest->row != ins->row || guest->vsib)
        return LEAVE;
    struct insn in = alone(guest);
    for (unsigned i = 0; i < 4; i++) {
        set_operand(e, &in, i, v[i], lent, &next);
        if (lent[i]) {
            saved[i] = c->gpr[lent[i]];
            c->gpr[lent[i]] = e->temp[v[i] - IR_T];
        }
    }
    c->rip = rip_of(e, e->u->offset[ins->gi] + in.len);
    bool ok = insn_rows[in.row].run(c, &in);
    for (unsigned i = 0; i < 4; i++) {
        if (!lent[i])
            continue;
        if (i == 0 && ok)
            write(e, v[0], in.op[0].size, c->gpr[lent[0]]);
        c->gpr[lent[i]] = saved[i];
    }
    return ok ? NEXT : LEAVE;
}

static bool something_to_look_at(const struct vcpu *c)
{
    u32 p = atomic_load_explicit(&c->pending, memory_order_relaxed);
    return c->eflags & EFL_IF ? p : p & ~(u32)PEND_INTR;
}

static enum next ev_interp(struct eval *e)
{
    struct vcpu *c = e->c;
    const struct insn *guest = e->u->guest[e->ins->gi];
    if (!guest)
        return LEAVE;
    struct insn in = alone(guest);
    u64 behind = rip_of(e, e->u->offset[e->ins->gi] + in.len);
    c->rip = behind;
    if (!in.run || !in.run(c, &in))
        return LEAVE;
    return c->rip != behind || something_to_look_at(c) ? exit_to(e, c->rip) : NEXT;
}

static bool usable(struct vcpu *c, s64 kind)
{
    switch (kind) {
    case IR_NEED_X87: return fpu_check_x87(c, true);
    case IR_NEED_MMX: return fpu_check_mmx(c);
    default: return fpu_check_sse(c, &(struct insn){ .vex = kind == IR_NEED_AVX });
    }
}
static enum next ev_need(struct eval *e)
{
    __typeof__(e->c->exc) exc = e->c->exc;
    bool ok = usable(e->c, e->ins->imm);
    e->c->exc = exc;
    return ok ? NEXT : LEAVE;
}

/* --- leaving ---------------------------------------------------------------------------------------------------- */

static enum next ev_guard(struct eval *e) { return read_a(e) ? LEAVE : NEXT; }
static enum next ev_jmp(struct eval *e) { return exit_to(e, rip_of(e, e->ins->imm)); }
static enum next ev_jcc(struct eval *e) { return flags_condition(e->c, e->ins->cc) ? ev_jmp(e) : NEXT; }
static enum next ev_jz(struct eval *e) { return read_a(e) ? NEXT : ev_jmp(e); }
static enum next ev_jnz(struct eval *e) { return read_a(e) ? ev_jmp(e) : NEXT; }
static enum next ev_ijmp(struct eval *e) { return exit_to(e, read_a(e)); }
static enum next ev_step(struct eval *e) { return LEAVE; }
static enum next ev_count(struct eval *e)
{
    e->c->icount += (u64)e->ins->imm;
    return NEXT;
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

#define ROW(op, fn) [IR_OP_##op] = ev_##fn,
static eval_fn *const functions[IR_OP_COUNT] = {
    ROW(mov, mov) ROW(movzx, movzx) ROW(movsx, movsx) ROW(lea, lea) ROW(xchg, xchg) ROW(bswap, bswap) ROW(cmov, cmov)
    ROW(setcc, setcc) ROW(cdq, cdq) ROW(ptr, ptr) ROW(again, again) ROW(code, code) ROW(same, same) ROW(get, get) ROW(put, put)
    ROW(add, add) ROW(or, or) ROW(adc, adc) ROW(sbb, sbb) ROW(and, and) ROW(sub, sub) ROW(xor, xor) ROW(cmp, cmp)
    ROW(test, test) ROW(inc, inc) ROW(dec, dec) ROW(neg, neg) ROW(not, not) ROW(xadd, xadd) ROW(cmpxchg, cmpxchg)
    ROW(imul, imul) ROW(imul3, imul3) ROW(mul, mul) ROW(imul1, imul1) ROW(div, div) ROW(idiv, idiv)
    ROW(shl, shift) ROW(shr, shift) ROW(sar, shift) ROW(rol, rotate) ROW(ror, rotate) ROW(rcl, rotate_carry)
    ROW(rcr, rotate_carry) ROW(shld, double_shift) ROW(shrd, double_shift)
    ROW(bt, bit) ROW(bts, bit) ROW(btr, bit) ROW(btc, bit) ROW(bsf, scan) ROW(bsr, scan)
    ROW(getfl, getfl) ROW(putfl, putfl) ROW(clc, clc) ROW(stc, stc) ROW(cmc, cmc)
    ROW(insn, insn) ROW(interp, interp) ROW(need, need) ROW(guard, guard)
    ROW(jcc, jcc) ROW(jz, jz) ROW(jnz, jnz) ROW(jmp, jmp) ROW(call, jmp) ROW(ijmp, ijmp) ROW(icall, ijmp) ROW(ret, ijmp)
    ROW(step, step) ROW(count, count)
};

/* The operation has run on the flags `before`: keeps what it does not define, makes wrong what has died with it. */
static void settle_flags(struct eval *e, u32 before, bool exit)
{
    const struct ir_ins *ins = e->ins;
    enum ir_op op = (enum ir_op)ins->op;
    bool has_exit = ir_rows[op].attr & IR_SIDE || op == IR_OP_jmp || op == IR_OP_call;
    u32 now = (before & ~(u32)ins->fdef) | (flags_status(e->c) & ins->fdef);
    u16 dead = IR_FLAGS & ~(exit && has_exit ? ins->fexit : ins->flive), alive = ins->fdef | (IR_FLAGS & ~e->dead);
    flags_set_status(e->c, now ^ (dead & alive));
    e->dead = (e->dead & ~ins->fdef) | dead;
}

static struct ir_left left(struct eval *e, u8 how, u64 rip)
{
    e->c->rip = rip;
    return (struct ir_left){ how, e->ins->gi, IR_FLAGS & ~e->dead, rip };
}

struct ir_left ir_eval(const struct ir_unit *u, struct vcpu *c)
{
    struct eval e = { .u = u, .c = c };
    for (unsigned i = 0; i < u->count; i++) {
        e.ins = &u->ins[i];
        u32 before = flags_status(c);
        enum next next = functions[e.ins->op](&e);
        if (next == LEAVE)
            return left(&e, IR_OP_step, rip_of(&e, u->offset[e.ins->gi]));
        settle_flags(&e, before, next == EXIT);
        if (next == EXIT)
            return left(&e, e.ins->op, e.rip);
    }
    return (struct ir_left){ IR_OP_step, 0, 0, c->rip };     /* a unit without an end: ir_check says so */
}
