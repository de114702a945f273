/* emit_mem.c - addresses: from a guest address to a host pointer, with all checks.
 *
 * Site form, the usual one. Each place remembers the page that it accessed last (struct mmu_site):
 *
 *      ldr   x16, [sites, page]
 *      sub   x17, address, x16         the offset in that page
 *      cmp   x17, 4096 - bytes         above: another page, or across its end
 *      b.hi  miss
 *      ldr   x17, [sites, delta]
 *      add   p, address, x17           host address
 *
 * The site's words do not depend on the address, so the check is off the critical path: an access waits for one addition. Where flags are alive the comparison
 * is made without them. TLB form, where addresses vary from one access to the next (IR_TLB). Misses go to fixed code (entry.c) with
 * struct code_access behind the call.
 */
#include "jit/aarch64/emit.h"
#include "jit/jit_private.h"

static u32 seg_base(unsigned seg) { return VCPU_OFF(seg[0].base) + seg * (u32)sizeof(struct segment); }

/* [address] at its width, without the segment: in p, or in the register that it is in already. */
static unsigned effective(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    bool wide = ins->addrsize == 8;
    unsigned base = NO_REG;
    s64 disp = ins->disp;
    if (ins->a == IR_PC) {
        load(e, 8, p, VCPU_OFF(jit.pc));
        base = p;
    } else if (ins->a != IR_NONE)
        base = emit_home(e, ins->a);
    if (ins->b != IR_NONE) {
        unsigned index = emit_home(e, ins->b);
        rrr(e, ADD | BY(ins->scale), wide, p, base == NO_REG ? XZR : base, index);
        base = p;
    }
    if (base == NO_REG) {
        mov_imm(e, p, wide ? (u64)disp : (u32)disp);
        base = p;
    } else if (disp || (!wide && base != p)) {
        add_any(e, wide, p, base, disp);
        base = p;
    }
    if (ins->addrsize == 2) {
        ubfm(e, false, p, base, 0, 15);
        base = p;
    }
    return base;
}

/* Outside 64-bit mode, not flat: [p, p + size) inside the limit, then the base. */
static unsigned limit_and_base(struct emit *e, const struct ir_ins *ins, unsigned address, unsigned p)
{
    struct tail *t = emit_tail(e, TAIL_STEP, 0);
    load(e, 8, X16, VCPU_OFF(jit_room[0][0]) + ((ins->cc != IR_READ) * SEG_COUNT + ins->size2) * 8u);
    add_imm(e, SUB, true, X16, X16, ins->size);
    t->from[0] = branch_bit(e, X16, 63, true);
    rrr(e, SUB, true, X16, X16, address);
    t->from[1] = branch_bit(e, X16, 63, true);
    load(e, 4, X16, seg_base(ins->size2));
    rrr(e, ADD, false, p, address, X16);
    return p;
}

static unsigned segment(struct emit *e, const struct ir_ins *ins, unsigned address, unsigned p)
{
    u32 mode = e->u->mode;
    if (mode_code_size(mode) == 8) {
        if (ins->size2 < SEG_FS)
            return address;
        load(e, 8, X16, seg_base(ins->size2));
        rrr(e, ADD, true, p, address, X16);
        return p;
    }
    return mode_flat_for(mode, ins->size2, ins->cc) ? address : limit_and_base(e, ins, address, p);
}

/* --- the check ------------------------------------------------------------------------------------------------------ */

/* From X29 on, as far as displacements reach. Sites are given out by where the code stands, so that neighbours do not share one.
 * 0 means none. */
static u32 site_off(struct emit *e, const struct ir_ins *ins)
{
    u32 n = (e->at >> 3) % (SITES_OF_KIND - 1) + 1 + (ins->cc == IR_READ ? 0 : SITES_OF_KIND);
    return n * (u32)sizeof(struct mmu_site);
}

/* address: its register, unchanged. */
static struct tail *miss(struct emit *e, const struct ir_ins *ins, unsigned address, unsigned p, u32 site, u32 from)
{
    struct tail *t = emit_tail(e, TAIL_MISS, from);
    t->reg = (u8)p;
    t->address = (u8)address;
    t->live = (emit_live_before(e) & IR_NZCV) != 0;
    t->access = (struct code_access){ .bytes = ins->size, .access = ins->cc, .view = (u8)mode_view(e->u->mode),
        .align = ins->bits & IR_ALIGN ? (u8)(ins->size - 1) : 0, .offset = e->u->offset[ins->gi], .site = (s32)site,
        .span = (ins->bits & IR_SPAN) != 0, .misses = profile_counter(e->out, e->pointers, e->u->offset[ins->gi], ins->cc), .unit = e->out };
    return t;
}

/* No flags are used. */
static void check_tlb(struct emit *e, const struct ir_ins *ins, unsigned address, unsigned p)
{
    bool write = ins->cc != IR_READ;
    mov(e, true, p, address);
    load(e, 8, X16, write ? VCPU_OFF(mmu.wr_mask) : VCPU_OFF(mmu.rd_mask));
    rrr(e, AND | BY_LSR | BY(PAGE_SHIFT - 4), true, X16, X16, p);       /* page number * 16 */
    load(e, 8, X17, write ? VCPU_OFF(mmu.wr) : VCPU_OFF(mmu.rd));
    rrr(e, ADD, true, X16, X16, X17);
    pair(e, LDP, X16, X17, X16, 0);
    static_assert(offsetof(struct tlb_entry, tag) == 0 && offsetof(struct tlb_entry, addend) == 8, "a pair");
    add_any(e, true, LR, p, ins->size - 1);
    logic_imm(e, AND, true, LR, ins->size == 1 ? p : LR, (u64)PAGE_MASK);
    rrr(e, EOR, true, X16, X16, LR);
    struct tail *t = miss(e, ins, p, p, 0, branch_zero(e, true, X16, true));
    rrr(e, ADD, true, p, p, X17);
    t->back = e->at;
}

/* Is the check made with host flags? */
static bool compares(struct emit *e, const struct ir_ins *ins)
{
    bool keep = emit_live_before(e) & IR_NZCV && flags_in_host(e) && e->flags != FLAGS_BOTH;
    return ins->size > 1 && !(ins->bits & IR_ALIGN) && !keep;
}

/* The branch to the miss: the offset p is not below 4096, or [p, p + size) ends behind that, or p is not aligned. X16 is lost. */
static u32 out_of_page(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    if (compares(e, ins)) {
        add_imm(e, SUBS, true, XZR, p, PAGE_SIZE - ins->size);
        return branch_if(e, HI);
    }
    if (ins->size == 1) {
        lsr(e, true, X16, p, PAGE_SHIFT);
    } else if (ins->bits & IR_ALIGN) {
        unsigned k = (unsigned)__builtin_ctz(ins->size);
        ror(e, true, X16, p, k);
        lsr(e, true, X16, X16, PAGE_SHIFT - k);
    } else {
        add_imm(e, ADD, true, X16, p, ins->size - 1u);
        rrr(e, ORR, true, X16, X16, p);
        lsr(e, true, X16, X16, PAGE_SHIFT);
    }
    return branch_zero(e, true, X16, true);
}

static void check_site(struct emit *e, const struct ir_ins *ins, unsigned address, unsigned p)
{
    u32 site = site_off(e, ins);
    if (compares(e, ins))
        flags_clobber(e, emit_live_before(e));      /* X17 is not kept by that */
    ldr(e, 8, X16, SITES, site + (u32)offsetof(struct mmu_site, page));
    rrr(e, SUB, true, X17, address, X16);
    struct tail *t = miss(e, ins, address, p, site, out_of_page(e, ins, X17));
    ldr(e, 8, X17, SITES, site + (u32)offsetof(struct mmu_site, delta));
    rrr(e, ADD, true, p, address, X17);
    t->back = e->at;
}

/* Leaves if [p, p + size) touches the unit's own code: the distance from its first byte or what comes before is small. */
static void check_apart(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    const struct code_self *self = e->out->self;
    mov_imm(e, X16, (u64)(uintptr_t)self->host - (ins->size - 1u));
    rrr(e, SUB, true, X16, p, X16);
    mov_imm(e, X17, self->bytes + ins->size - 1u);
    lsr(e, true, LR, X16, 32);
    u32 apart = branch_zero(e, true, LR, true);
    rrr(e, SUB, true, X16, X16, X17);
    emit_tail(e, TAIL_STEP, branch_bit(e, X16, 63, true));
    emit_fill(e, apart, e->at);
}

static u32 kept_at(unsigned n) { return VCPU_OFF(jit.pointer[0]) + n * 8; }

/* The pointer is needed again when p has become free. */
static void keep(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    unsigned n;
    if (kept_take(&e->kept, ins->d, &n))
        store(e, 8, p, kept_at(n));
    else
        e->full = true;
}

void emit_ptr(struct emit *e, const struct ir_ins *ins)
{
    unsigned p = emit_scratch(e);
    e->temp_reg[ins->d - IR_T] = (u8)p;
    unsigned address = segment(e, ins, effective(e, ins, p), p);
    const struct code_profile *f = profile_missed(e->j, e->u->offset[ins->gi], ins->cc);
    if (!(ins->bits & IR_ALIGN) && (ins->bits & IR_TLB || !e->j->opt.sites || (f && often_missed(e->j, f))))
        check_tlb(e, ins, address, p);
    else
        check_site(e, ins, address, p);
    if (ins->bits & IR_APART)
        check_apart(e, ins, p);
    if (kept_wanted(&e->kept, ins->d))
        keep(e, ins, p);
}

void emit_again(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_scratch(e);
    e->temp_reg[ins->d - IR_T] = (u8)d;
    load(e, 8, d, kept_at(kept_fetch(&e->kept, ins, e->index)));
}

/* --- units that check themselves ------------------------------------------------------------------------------------ */

void emit_code(struct emit *e, const struct ir_ins *ins)
{
    unsigned p = emit_scratch(e);
    e->temp_reg[ins->d - IR_T] = (u8)p;
    mov_imm(e, p, (u64)(uintptr_t)(e->out->self->host + (ins->disp - e->u->offset[0])));
}

/* All of them lead to one tail. */
void emit_same(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_in(e, ins->d, ins->size), a = emit_in(e, ins->a, ins->size);
    rrr(e, SUB, true, X16, d, a);
    u32 from = branch_zero(e, true, X16, true);
    emit_release(e, d);
    emit_release(e, a);
    if (!e->differs)
        emit_tail(e, TAIL_AGAIN, from)->live = true;
    else if (e->differs < ARRAY_LEN(e->differ))
        e->differ[e->differs] = from;
    e->differs++;
}

/* --- fields of the vCPU -------------------------------------------------------------------------------------------- */

static const u32 field_off[IR_FIELD_COUNT] = {
#define X(name, where) [IR_FIELD_##name] = VCPU_OFF(where),
    IR_FIELDS(X)
#undef X
};

void emit_get(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_out(e, ins->d, ins->size);
    load(e, ins->size, d, field_off[ins->row]);
    emit_done(e, ins->d, d, ins->size);
}

void emit_put(struct emit *e, const struct ir_ins *ins)
{
    bool zero = ins->a == IR_IMM && !ins->imm;
    unsigned a = zero ? XZR : emit_in(e, ins->a, ins->size);
    store(e, ins->size, a, field_off[ins->row]);
    if (!zero)
        emit_release(e, a);
}
