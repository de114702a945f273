/* emit_mem.c - addresses: from a guest address to a host operand, with all checks.
 *
 * Site form, the usual one. Each place remembers the page that it accessed last, and how far from the guest's addresses of
 * that page the host's are (struct mmu_site):
 *
 *      lea   t, [guest address]
 *      sub   t, [site.page]            now the offset in that page
 *      cmp   t, 4096 - bytes           above: another page, or across its end
 *      ja    miss
 *      mov   t, [site.delta]
 *      ...   [t + base + displacement]
 *
 * The access does not wait for the check, nor for anything that depends on the address: it costs no latency at all, and the
 * host's branch prediction does the rest. Page form, where sites missed: one of some that all such accesses share is found by the
 * address.
 *
 *      mov   s, t
 *      shr   s, 8
 *      and   s, (sites - 1) * 16
 *      sub   t, [s + site.page]        and so on, as above
 *
 * TLB form, where addresses vary from one access to the next, and over more than those cover (IR_TLB): the TLB's entry and its
 * addend. All leave the delta in t. What the operand cannot express is added to t: a register that changes before
 * the last use, or that lives in the vCPU, the base of FS or GS. Addresses that are cut off at 32 or 16 bits are computed a
 * second time instead, to which the delta is added.
 *
 * A pointer that is kept for later (`again`) is the register of the operand, stored to vcpu.jit.pointer: mostly the delta, so
 * that a later access waits for the guest's register only, as the first one does.
 *
 * The TLB form looks at the table of granules instead of that of pages if most misses were found there.
 * Misses go to fixed code (entry.c) with what it must know behind the call: struct code_access and the way back.
 */
#include "jit/jit_private.h"
#include "jit/pass.h"
#include "jit/x86_64/emit.h"

static const struct enc W = { .w = true }, D = { 0 };

/* --- segments ------------------------------------------------------------------------------------------------------- */

static bool two_scratch_left(const struct emit *e) { return e->taken == 1 || e->taken == 2 || e->taken == 4; }

/* [address] at its width, without the segment. */
static void effective(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    unsigned base = NO_REG, index = NO_REG;
    s32 disp = ins->disp;
    if (ins->a == IR_PC) {
        enc(e, W, 0x8b, p, rm_vcpu(VCPU_DISP(jit.pc)));
        base = p;
    } else if (ins->a != IR_NONE) {
        base = emit_at(e, ins->a);
        if (base == NO_REG && two_scratch_left(e) && (disp || emit_wanted(e, ins->a)))
            base = emit_use(e, ins->a, 8);
        else if (base == NO_REG) {
            enc(e, W, 0x8b, p, emit_rm(e, ins->a));
            base = p;
        }
    }
    if (ins->b != IR_NONE)
        index = emit_use(e, ins->b, 8);
    if (base == NO_REG && index == NO_REG)
        emit_mov_imm(e, p, ins->addrsize == 8 ? (u64)(s64)disp : (u32)disp);
    else if (index == NO_REG && !disp && ins->addrsize != 2) {
        if (base != p || ins->addrsize == 4)
            enc(e, ins->addrsize == 8 ? W : D, 0x8b, p, rm_reg(base));
    } else
        enc(e, ins->addrsize == 8 ? W : D, 0x8d, p, rm_index(base, index, ins->scale, disp));
    if (ins->addrsize == 2)
        enc(e, D, 0x0fb7, p, rm_reg(p));
    if (base != p)
        emit_release(e, base);
    emit_release(e, index);
    e->pinned = 0;
}

/* Outside 64-bit mode, not flat: [p, p + size) inside the limit. */
static void limit(struct emit *e, const struct ir_ins *ins, unsigned p, struct tail *t)
{
    s32 room = VCPU_DISP(jit_room[0][0]) + (s32)((ins->cc != IR_READ) * SEG_COUNT + ins->size2) * 8;
    unsigned s = emit_scratch(e);
    enc(e, W, 0x8b, s, rm_vcpu(room));
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 5, rm_reg(s));      /* sub */
    put32(e, ins->size);
    t->from[0] = emit_jump_if(e, 2);                                            /* jb */
    enc(e, W, 0x3b, p, rm_reg(s));
    t->from[1] = emit_jump_if(e, 7);                                            /* ja */
    emit_release(e, s);
}

static bool wide_code(const struct emit *e) { return mode_code_size(e->u->mode) == 8; }

static bool has_limit(const struct emit *e, const struct ir_ins *ins)
{
    return !wide_code(e) && !mode_flat_for(e->u->mode, ins->size2, ins->cc);
}

static void add_base(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    if (wide_code(e) ? ins->size2 >= SEG_FS : has_limit(e, ins))
        enc(e, wide_code(e) ? W : D, 0x03, p, rm_vcpu(VCPU_DISP(seg[0].base) + ins->size2 * (s32)sizeof(struct segment)));
}

/* --- the check ------------------------------------------------------------------------------------------------------ */

/* Sites are given out in turn, so that neighbours do not share one. */
static s32 new_site(struct emit *e, const struct ir_ins *ins)
{
    bool write = ins->cc != IR_READ;
    return site_disp(mode_view(e->u->mode), write, PAGE_SITES + e->j->sites_given[write]++ % (MMU_WRITE_SITES - PAGE_SITES));
}
static_assert(MMU_SITES == 2 * MMU_WRITE_SITES && sizeof(struct mmu_site) == 16, "as many sites for writes as for reads");

/* pointer: the way back is for a host address, not for the delta. */
static struct tail *miss(struct emit *e, const struct ir_ins *ins, unsigned p, enum miss_form form, s32 site, unsigned cc, bool pointer)
{
    struct tail *t = emit_tail(e, TAIL_MISS, emit_jump_if(e, cc));
    t->reg = (u8)p;
    t->form = (u8)form;
    if (ins->bits & IR_SPAN && e->out->falls_back)
        t->link = emit_plain_link(e);
    t->access = (struct code_access){ .bytes = ins->size, .access = ins->cc, .view = (u8)mode_view(e->u->mode),
        .align = ins->bits & IR_ALIGN ? (u8)(ins->size - 1) : 0, .offset = e->u->offset[ins->gi], .site = site, .span = (ins->bits & IR_SPAN) != 0, .pointer = pointer,
        .misses = profile_counter(e->out, e->pointers, e->u->offset[ins->gi], ins->cc), .unit = e->out };
    return t;
}

/* What was learned of the access before the unit was made again. */
static enum miss_form form_for(struct emit *e, const struct ir_ins *ins)
{
    const struct code_profile *f = profile_missed(e->j, e->u->offset[ins->gi], ins->cc);
    if (f && often_missed(e->j, f))
        return f->misses[FOUND_LARGE] > f->misses[FOUND_TLB] ? MISS_LARGE : MISS_TLB;
    if (f)
        return MISS_PAGE;
    return ins->bits & IR_TLB || !e->j->opt.sites ? MISS_TLB : MISS_SITE;
}

/* The address as the operand can express it: nothing is cut off, and nobody looks at the pointer itself. */
static bool is_sum(const struct emit *e, const struct ir_ins *ins)
{
    return wide_code(e) && ins->addrsize == 8 && !(ins->bits & IR_APART);
}

/* Address in p -> delta in p, or for addresses that are no sums the host address. `from`: where the delta is. */
static void found(struct emit *e, const struct ir_ins *ins, unsigned p, struct tail *t, struct rm from)
{
    if (is_sum(e, ins))
        enc(e, W, 0x8b, p, from);
    else {
        effective(e, ins, p);
        add_base(e, ins, p);
        enc(e, W, 0x03, p, from);
    }
    t->back = e->at;
}

/* Fields of the MMU: a table and its mask. */
struct tlb_fields tlb_fields(bool write, bool large)
{
    static const struct tlb_fields at[2][2] = {
        { { VCPU_DISP(mmu.rd), VCPU_DISP(mmu.rd_mask) }, { VCPU_DISP(mmu.large.rd), VCPU_DISP(mmu.large.rd_mask) } },
        { { VCPU_DISP(mmu.wr), VCPU_DISP(mmu.wr_mask) }, { VCPU_DISP(mmu.large.wr), VCPU_DISP(mmu.large.wr_mask) } },
    };
    return at[write][large];
}

static void check_tlb(struct emit *e, const struct ir_ins *ins, unsigned p, enum miss_form form)
{
    bool large = form == MISS_LARGE;
    struct tlb_fields at = tlb_fields(ins->cc != IR_READ, large);
    unsigned entry = emit_scratch(e), last = emit_scratch(e);
    enc(e, W, 0x8b, entry, rm_reg(p));
    enc(e, (struct enc){ .w = true, .imm_bytes = 1 }, 0xc1, 5, rm_reg(entry));      /* page number * 16 */
    put8(e, large ? GRANULE_SHIFT - 4 : PAGE_SHIFT - 4);
    enc(e, W, 0x23, entry, rm_vcpu(at.mask));
    enc(e, W, 0x03, entry, rm_vcpu(at.table));
    enc(e, W, 0x8d, last, rm_mem(p, ins->size - 1));
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 4, rm_reg(last));
    put32(e, large ? (u32)GRANULE_MASK : (u32)PAGE_MASK);
    enc(e, W, 0x3b, last, rm_mem(entry, offsetof(struct tlb_entry, tag)));
    struct tail *t = miss(e, ins, p, form, 0, 5, !is_sum(e, ins));
    emit_release(e, last);
    found(e, ins, p, t, rm_mem(entry, offsetof(struct tlb_entry, addend)));
    emit_release(e, entry);
}

/* The site's page stands at `at`. */
static struct tail *check_page(struct emit *e, const struct ir_ins *ins, unsigned p, enum miss_form form, s32 site, struct rm at)
{
    enc(e, W, 0x2b, p, at);
    if (ins->bits & IR_ALIGN) {     /* offset in the page and alignment at once */
        enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0xf7, 0, rm_reg(p));
        put32(e, ~(u32)(PAGE_SIZE - 1) | (ins->size - 1u));
    } else {
        enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 7, rm_reg(p));
        put32(e, PAGE_SIZE - ins->size);
    }
    return miss(e, ins, p, form, site, ins->bits & IR_ALIGN ? 5 : 7, !is_sum(e, ins));
}

static void check_site(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    s32 site = new_site(e, ins);
    struct tail *t = check_page(e, ins, p, MISS_SITE, site, rm_vcpu(site + (s32)offsetof(struct mmu_site, page)));
    found(e, ins, p, t, rm_vcpu(site + (s32)offsetof(struct mmu_site, delta)));
}

void emit_page_place(struct emit *e, unsigned reg, unsigned address)
{
    enc(e, D, 0x8b, reg, rm_reg(address));
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xc1, 5, rm_reg(reg));       /* shr */
    put8(e, PAGE_SITES_SHIFT);
    enc(e, (struct enc){ .imm_bytes = 4 }, 0x81, 4, rm_reg(reg));       /* and */
    put32(e, PAGE_SITES_MASK);
}

/* For which site it is; and where the address is computed a second time, for its index register meanwhile. */
static bool scratch_for_page(const struct emit *e, const struct ir_ins *ins)
{
    bool again = !is_sum(e, ins) && ins->b != IR_NONE && emit_home((struct emit *)e, ins->b) == NO_REG;
    return !again && __builtin_popcount(e->taken | e->pinned) < SCRATCH_COUNT;
}

static void check_by_address(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    s32 first = site_disp(mode_view(e->u->mode), ins->cc != IR_READ, 0);
    unsigned index = emit_scratch(e);
    emit_page_place(e, index, p);
    struct tail *t = check_page(e, ins, p, MISS_PAGE, 0, site_page(index, first));
    t->index = (u8)index;
    found(e, ins, p, t, site_delta(index, first));
    emit_release(e, index);
}

/* --- the operand ---------------------------------------------------------------------------------------------------- */

/* Is v in a register of the guest's own, which has the same value whenever the pointer that ins defines is used? */
static bool stays(struct emit *e, const struct ir_ins *ins, ir_val v)
{
    if (!ir_is_gpr(v) || host_of_gpr[v - IR_G] == NO_REG)
        return false;
    for (unsigned i = e->index + 1u; i < e->reach[ins->d - IR_T]; i++)
        if (pass_gpr_written(&e->u->ins[i]) >> (v - IR_G) & 1)
            return false;
    return true;
}

/* p += v << scale */
static void add_value(struct emit *e, unsigned p, ir_val v, unsigned scale)
{
    if (v == IR_PC)
        enc(e, W, 0x03, p, rm_vcpu(VCPU_DISP(jit.pc)));
    else if (!scale)
        enc(e, W, 0x03, p, emit_from(e, v));
    else {
        unsigned index = emit_use(e, v, 8);
        enc(e, W, 0x8d, p, rm_index(p, index, scale, 0));
        emit_release(e, index);
    }
}

/* p = delta: the rest of the address goes into the operand, or is added. */
static void operand(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    struct rm *to = &e->operand[ins->d - IR_T];
    ir_val base = ins->a, index = ins->b;
    if (index == IR_NONE || (!ins->scale && !stays(e, ins, index) && stays(e, ins, base))) {
        index = ins->a;
        base = ins->b;
    }
    if (index != IR_NONE && stays(e, ins, index)) {
        to->index = (u8)emit_home(e, index);
        to->scale = index == ins->b ? ins->scale : 0;
        index = IR_NONE;
    }
    add_base(e, ins, p);
    if (base != IR_NONE)
        add_value(e, p, base, 0);
    if (index != IR_NONE)
        add_value(e, p, index, index == ins->b ? ins->scale : 0);
    if (pass_fits((s64)ins->disp + ins->size))
        to->disp = ins->disp;
    else
        enc(e, W, 0x8d, p, rm_mem(p, ins->disp));
}

/* Not among the unit's own bytes: p - (first - size + 1), unsigned, is at least all of them and size - 1. */
static void apart(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    const struct code_self *self = e->out->self;
    unsigned s = emit_scratch(e);
    emit_mov_imm(e, s, (u64)0 - ((u64)(uintptr_t)self->host - ins->size + 1));
    enc(e, W, 0x03, s, rm_reg(p));
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 7, rm_reg(s));
    put32(e, self->bytes + ins->size - 1u);
    emit_tail(e, TAIL_STEP, emit_jump_if(e, 2));
    emit_release(e, s);
}

/* --- pointers in memory ---------------------------------------------------------------------------------------------- */

static struct rm kept_at(unsigned n) { return rm_vcpu(VCPU_DISP(jit.pointer[0]) + (s32)n * 8); }

/* What is in p is needed again when p has become free. */
static void keep(struct emit *e, const struct ir_ins *ins, unsigned p)
{
    unsigned n;
    if (kept_take(&e->kept, ins->d, &n))
        enc(e, W, 0x89, p, kept_at(n));
    else
        e->full = true;
}

void emit_again(struct emit *e, const struct ir_ins *ins)
{
    unsigned first = ins->p - IR_T, d = emit_def(e, ins->d);
    enc(e, W, 0x8b, d, kept_at(kept_fetch(&e->kept, ins, e->index)));
    e->operand[ins->d - IR_T] = e->operand[first];
    e->operand[ins->d - IR_T].base = (u8)d;
}

/* --- the unit's own code -------------------------------------------------------------------------------------------- */

void emit_code(struct emit *e, const struct ir_ins *ins)
{
    unsigned p = emit_def(e, ins->d);
    e->operand[ins->d - IR_T] = rm_mem(p, 0);
    emit_mov_imm(e, p, (u64)(uintptr_t)(e->out->self->host + (ins->disp - e->u->offset[0])));
}

/* All of them lead to one tail. */
void emit_same(struct emit *e, const struct ir_ins *ins)
{
    struct rm at = emit_rm(e, ins->d);
    flags_clobber(e, emit_live_before(e));
    if (ins->size == 8) {
        unsigned s = emit_use(e, IR_IMM, 8);
        enc(e, W, 0x3b, s, at);
        emit_release(e, s);
    } else {
        enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .imm_bytes = ins->size }, ins->size == 1 ? 0x80 : 0x81, 7, at);
        for (unsigned i = 0; i < ins->size; i++)
            put8(e, (u8)((u64)ins->imm >> 8 * i));
    }
    u32 field = emit_jump_if(e, 5);
    if (!e->differs)
        emit_tail(e, TAIL_AGAIN, field);
    else if (e->differs < ARRAY_LEN(e->differ))
        e->differ[e->differs] = field;
    e->differs++;
}

void emit_ptr(struct emit *e, const struct ir_ins *ins)
{
    /* the address may need a flag-free start: LEA and MOV only, then everything is clobbered */
    flags_clobber(e, emit_live_before(e));
    unsigned p = emit_def(e, ins->d);
    e->operand[ins->d - IR_T] = rm_mem(p, 0);
    effective(e, ins, p);
    if (has_limit(e, ins))
        limit(e, ins, p, emit_tail(e, TAIL_STEP, 0));
    add_base(e, ins, p);
    enum miss_form form = form_for(e, ins);
    if (form >= MISS_TLB && !(ins->bits & IR_ALIGN) && two_scratch_left(e))
        check_tlb(e, ins, p, form);
    else if (form != MISS_SITE && scratch_for_page(e, ins))
        check_by_address(e, ins, p);
    else
        check_site(e, ins, p);
    if (is_sum(e, ins))
        operand(e, ins, p);
    if (ins->bits & IR_APART)
        apart(e, ins, p);
    if (kept_wanted(&e->kept, ins->d))
        keep(e, ins, p);
}

/* --- fields of the vCPU -------------------------------------------------------------------------------------------- */

static const s32 field_disp[IR_FIELD_COUNT] = {
#define X(name, where) [IR_FIELD_##name] = VCPU_DISP(where),
    IR_FIELDS(X)
#undef X
};

void emit_get(struct emit *e, const struct ir_ins *ins)
{
    unsigned d = emit_def(e, ins->d);
    struct rm from = rm_vcpu(field_disp[ins->row]);
    if (ins->size >= 4)
        enc(e, (struct enc){ .w = ins->size == 8 }, 0x8b, d, from);
    else if (ir_is_temp(ins->d) || emit_home(e, ins->d) != d)
        enc(e, D, ins->size == 2 ? 0x0fb7 : 0x0fb6, d, from);
    else    /* into the low part of a guest register */
        enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .reg8 = ins->size == 1 }, ins->size == 2 ? 0x8b : 0x8a, d, from);
    emit_defined(e, ins->d, d, ins->size);
}

void emit_put(struct emit *e, const struct ir_ins *ins)
{
    struct rm to = rm_vcpu(field_disp[ins->row]);
    if (ins->a == IR_IMM && ins->size >= 4) {
        enc(e, (struct enc){ .w = ins->size == 8, .imm_bytes = 4 }, 0xc7, 0, to);
        put32(e, (u32)ins->imm);
        return;
    }
    unsigned a = emit_use(e, ins->a, ins->size);
    enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8, .reg8 = ins->size == 1 },
        ins->size == 1 ? 0x88 : 0x89, a, to);
    emit_release(e, a);
}
