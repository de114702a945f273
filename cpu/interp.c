/* interp.c - the interpreter's loop: finding code, running blocks, delivering faults, single steps.
 *
 * interp_run looks at the pending word, then runs decoded blocks (icache.c) until something is pending, a fault has
 * been delivered, or an instruction with ATTR_SYS has run: after each of these, anything may have changed. In between,
 * mode and privilege stay as they are. How a block runs is told in interp_forms.h.
 *
 * One instruction at a time (interp_one) run: what crosses a page or CS's limit, code that is not in memory (MMIO), the
 * last instructions before icount_limit, and everything while cpu_stepping.
 *
 * Checks that depend on the state at run time (CPL, mode, availability of the floating-point unit) are done by
 * functions that interp_prepare puts in front of the instruction's own.
 */
#include "cpu/cpu.h"
#include "cpu/icache.h"
#include "cpu/interp_forms.h"

/* --- choosing functions ------------------------------------------------------------------------------------------ */

static bool run_missing(struct vcpu *c, const struct insn *in) { return cpu_fault(c, EXC_UD); }

/* --- ends of chains -------------------------------------------------------------------------------------------- */

static bool stop(struct vcpu *c, const struct insn *in, bool fault)
{
    c->stop = in;
    c->stop_fault = fault;
    return false;
}

bool interp_stale(struct vcpu *c, const struct insn *in) { return stop(c, in, false); }

bool interp_block_end(struct vcpu *c, const struct insn *in)
{
    c->rip = c->block_rip + in->end;
    return true;
}

bool form_last(struct vcpu *c, const struct insn *in)
{
    c->rip = c->block_rip + in->end;
    c->icount = c->block_icount + in->nth;
    return likely(in->run(c, in)) || stop(c, in, true);
}

bool form_general(struct vcpu *c, const struct insn *in)
{
    return likely(form_last(c, in)) && form_next(c, in);
}

/* CVTPI2PS and CVTPI2PD from memory leave the x87 alone. */
static bool uses_mmx(const struct insn_row *row, const struct insn *in)
{
    return row->attr & ATTR_MMX && !(row->attr & ATTR_SSE && in->op[0].kind != OP_MMX && in->op[1].kind != OP_MMX);
}

static bool run_checked(struct vcpu *c, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    if ((in->vex || row->attr & ATTR_PROT) && !in_protected_mode(c))
        return cpu_fault(c, EXC_UD);
    if (row->attr & ATTR_PRIV && c->cpl != 0)
        return cpu_fault_code(c, EXC_GP, 0);
    if (row->attr & ATTR_X87 && !fpu_check_x87(c, !(row->attr & ATTR_NOWAIT)))
        return false;
    if (uses_mmx(row, in) && !fpu_check_mmx(c))
        return false;
    if (row->attr & ATTR_SSE && !fpu_check_sse(c, in))
        return false;
    return row->run(c, in);
}

static bool run_checked_sse(struct vcpu *c, const struct insn *in)
{
    return fpu_check_sse(c, in) && insn_rows[in->row].run(c, in);
}

static bool run_checked_x87(struct vcpu *c, const struct insn *in)
{
    return fpu_check_x87(c, true) && insn_rows[in->row].run(c, in);
}

typedef interp_fn *choose_fn(const struct insn *in);

/* Instructions that exist in forms for particular operands. */
static choose_fn *family_of(interp_fn *run)
{
    static const struct { interp_fn *general; choose_fn *choose; } families[] = {
        { in_mov, move_choose }, { in_jcc, jcc_choose }, { in_lea, lea_choose }, { in_test, alu_choose },
        { in_cmp, alu_choose }, { in_add, alu_choose }, { in_sub, alu_choose }, { in_xor, alu_choose },
        { in_and, alu_choose }, { in_or, alu_choose }, { in_adc, alu_choose }, { in_sbb, alu_choose },
        { in_push, push_choose }, { in_pop, pop_choose }, { in_call, call_choose }, { in_ret, ret_choose },
        { in_jmp, jmp_choose }, { in_movzx, extend_choose }, { in_movsx, extend_choose }, { in_movsxd, extend_choose },
        { in_inc, unary_choose }, { in_dec, unary_choose }, { in_shl, shift_choose }, { in_shr, shift_choose },
        { in_sar, shift_choose }, { in_rol, shift_choose }, { in_ror, shift_choose }, { in_cmovcc, cmov_choose },
        { in_setcc, setcc_choose }, { in_neg, unary_choose }, { in_not, unary_choose }, { in_imul, imul_choose },
        { in_xchg, xchg_choose }, { in_nop, nop_choose }, { in_endbr64, nop_choose }, { in_endbr32, nop_choose },
    };
    for (unsigned i = 0; i < ARRAY_LEN(families); i++)
        if (families[i].general == run)
            return families[i].choose;
    return NULL;
}

bool interp_ends_block(const struct insn *in)
{
    return insn_rows[in->row].attr & (ATTR_BRANCH | ATTR_SYS) || in->rep;
}

void interp_prepare(struct insn *in)
{
    in->chain = interp_ends_block(in) ? form_last : form_general;
    u32 attr = insn_rows[in->row].attr & (ATTR_PRIV | ATTR_PROT | ATTR_X87 | ATTR_MMX | ATTR_SSE | ATTR_NOWAIT);
    if (!in->run)
        in->run = run_missing;
    else if (attr == ATTR_SSE && !in->vex)
        in->run = run_checked_sse;
    else if (attr == ATTR_X87)
        in->run = run_checked_x87;
    else if (attr || in->vex)
        in->run = run_checked;
    else {
        choose_fn *choose = family_of(in->run);
        if (choose)
            in->chain = choose(in);
    }
}

bool interp_run_form(struct vcpu *c, const struct insn *in)
{
    struct insn block[2] = { *in, { .chain = interp_block_end, .end = in->len, .nth = 1 } };
    u64 rip = c->rip;
    block[0].end = in->len;
    block[0].nth = 0;
    if (in->base == GPR_RIP) {
        block[0].base = GPR_BLOCK;
        block[0].disp += in->len;
    }
    c->block_rip = rip - in->len;
    c->block_icount = c->icount;
    bool ok = block[0].chain(c, block);
    if (!ok)
        c->rip = rip;
    c->block_rip = 0;
    return ok;
}

/* --- fetching ------------------------------------------------------------------------------------------------------ */

static gla code_linear(const struct vcpu *c, u64 rip)
{
    return in_64bit_mode(c) ? rip : (u32)(c->seg[SEG_CS].base + rip);
}

/* May the byte at RIP be fetched as far as CS is concerned? RIP that ran over the end of its width wraps here. */
static bool check_rip(struct vcpu *c)
{
    if (in_64bit_mode(c))
        return is_canonical(c->rip) || cpu_fault_code(c, EXC_GP, 0);
    c->rip = (u32)c->rip;
    return c->rip <= c->seg[SEG_CS].limit || cpu_fault_code(c, EXC_GP, 0);
}

/* Copies up to `bytes` bytes of code at a, which end on its page. */
static bool fetch_bytes(struct vcpu *c, gla a, u8 *buf, unsigned bytes)
{
    gpa pa;
    const u8 *host;
    if (!mmu_fetch(&c->mmu, a, c->mmu.view, &pa, &host))
        return mem_page_fault(c);
    if (host)
        memcpy(buf, host, bytes);
    else
        mmu_read_phys(&c->mmu, pa, buf, bytes);
    return true;
}

static unsigned at_most(u64 n, unsigned max) { return n < max ? (unsigned)n : max; }

/* Decodes the instruction at RIP from a copy of its bytes. NULL: a fault was noted. The second page is touched only if
 * the instruction reaches it. */
static const struct insn *fetch_one(struct vcpu *c)
{
    u8 bytes[15];
    const struct insn *in;
    if (!check_rip(c))
        return NULL;
    gla a = code_linear(c, c->rip);
    unsigned max = in_64bit_mode(c) ? 15 : at_most((u64)c->seg[SEG_CS].limit - c->rip + 1, 15);
    unsigned first = at_most(PAGE_SIZE - (a & ~PAGE_MASK), max);
    if (!fetch_bytes(c, a, bytes, first))
        return NULL;
    enum decode_status status = icache_decode_copy(c, bytes, first, &in);
    if (status == DECODE_SHORT && first < max) {
        gla next = code_linear(c, c->rip + first);
        if (in_64bit_mode(c) && !is_canonical(next)) {
            cpu_fault_code(c, EXC_GP, 0);
            return NULL;
        }
        if (!fetch_bytes(c, next, bytes + first, max - first))
            return NULL;
        status = icache_decode_copy(c, bytes, max, &in);
    }
    if (status == DECODE_SHORT) {       /* beyond CS's limit */
        cpu_fault_code(c, EXC_GP, 0);
        return NULL;
    }
    return in;
}

/* --- running ------------------------------------------------------------------------------------------------------- */

static void fault_at(struct vcpu *c, u64 rip)
{
    c->rip = rip;
    exception_deliver(c);
}

const struct insn *interp_one(struct vcpu *c)
{
    const struct insn *in = fetch_one(c);
    if (!in) {
        exception_deliver(c);
        return NULL;
    }
    u64 rip = c->rip;
    c->rip = rip + in->len;     /* RIP-relative operands still name GPR_RIP: it is in no block */
    if (!in->run(c, in))
        fault_at(c, rip);
    else if (++c->icount >= c->icount_limit)
        cpu_raise(c, PEND_TIMER);
    return in;
}

void interp_step(struct vcpu *c)
{
    if (!debug_step_begin(c))
        exception_deliver(c);
    else
        interp_one(c);
}

/* A block stopped early: at a fault, which is delivered (the result is false then), or because its code was written. */
static __attribute__((noinline)) bool block_stopped(struct vcpu *c)
{
    const struct insn *in = c->stop;
    c->icount = c->block_icount + in->nth;
    c->rip = c->block_rip + in->end - in->len;
    if (c->stop_fault)
        exception_deliver(c);
    return !c->stop_fault;
}

static inline bool run_block(struct vcpu *c, const struct block *b)
{
    c->block_rip = c->rip;
    c->block_icount = c->icount;
    if (unlikely(!b->insn->chain(c, b->insn)))
        return block_stopped(c);
    c->icount = c->block_icount + b->count;
    return true;
}

bool interp_fetch(struct vcpu *c, gpa *pa, const u8 **host)
{
    if (unlikely(!check_rip(c))) {
        exception_deliver(c);
        return false;
    }
    if (likely(mmu_fetch(&c->mmu, code_linear(c, c->rip), c->mmu.view, pa, host)))
        return true;
    mem_page_fault(c);
    exception_deliver(c);
    return false;
}

struct block *interp_decoded(struct vcpu *c, gpa pa, const u8 *host)
{
    struct block *b = icache_find(c->icache, pa, c->code_size);
    return b || !host ? b : icache_build(c, pa, host);
}

/* The block at RIP; NULL if something else was done in its place (one instruction, a fault). */
static struct block *enter(struct vcpu *c)
{
    gpa pa;
    const u8 *host;
    if (!interp_fetch(c, &pa, &host))
        return NULL;
    struct block *b = interp_decoded(c, pa, host);
    if (!b)
        interp_one(c);
    return b;
}

/* The block that follows b. A fetch that hits the TLB cannot fault; who came last after b is found in a link of b. */
static inline struct block *follow(struct vcpu *c, struct block *b)
{
    gpa pa;
    if (unlikely(!mmu_fetch_hit(&c->mmu, code_linear(c, c->rip), &pa)))
        return enter(c);
    struct block *n = b->link[0];
    if (n && n->pa == pa)
        return n;
    n = b->link[1];
    if (n && n->pa == pa)
        return n;
    n = icache_find(c->icache, pa, c->code_size);
    if (unlikely(!n))
        return enter(c);
    b->link[pa != b->pa + b->bytes] = n;
    return n;
}

static u64 code_limit(const struct vcpu *c) { return in_64bit_mode(c) ? UINT64_MAX : c->seg[SEG_CS].limit; }

/* Does b end behind CS's limit, or may it reach icount_limit? */
static inline bool too_long(const struct vcpu *c, const struct block *b, u64 limit)
{
    return unlikely(c->rip + b->bytes - 1 > limit) || unlikely(c->icount + b->count >= c->icount_limit);
}

void interp_block(struct vcpu *c, const struct block *b)
{
    if (too_long(c, b, code_limit(c)))
        interp_one(c);
    else
        run_block(c, b);
}

/* Mode and CS are as they were until something makes it return. */
void interp_blocks(struct vcpu *c)
{
    struct block *b = enter(c);
    u64 limit = code_limit(c);
    while (b) {
        if (too_long(c, b, limit)) {
            interp_one(c);
            return;
        }
        bool sys = b->sys;
        if (!run_block(c, b) || sys || unlikely(cpu_requests(c)))
            return;
        b = follow(c, b);
    }
}

/* With a debugger's stops: one block without any inside, or one instruction. */
void interp_debugged(struct vcpu *c)
{
    struct block *b;
    if (debugger_stops_here(c))
        return;
    if (cpu_stepping(c) || debugger_single_steps(c))
        interp_step(c);
    else if ((b = enter(c))) {
        if (too_long(c, b, code_limit(c)) || debugger_stops_inside(c, cpu_pc(c) + 1, b->bytes - 1))
            interp_one(c);
        else
            run_block(c, b);
    }
    debugger_instruction_done(c);
}

void interp_run(struct vcpu *c)
{
    for (;;) {
        if (unlikely(cpu_requests(c)) && !cpu_boundary(c))
            return;
        if (unlikely(c->debugged))
            interp_debugged(c);
        else if (unlikely(cpu_stepping(c)))
            interp_step(c);
        else
            interp_blocks(c);
    }
}
