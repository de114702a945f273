/* dispatch.c - running translated code: finding it, entering it, and what to do when it leaves.
 *
 * jit_run mirrors interp_run. Between units it looks at requests, at the mode and at the debugger; what runs then is a unit,
 * or, for code that is not worth one yet (option hot) or cannot have one, a decoded block or a single instruction of the
 * interpreter. Translated code goes from unit to unit by itself, through links that are made here when code first comes
 * to their stubs, through the table of indirect jumps, and through return addresses.
 *
 * Mode. Units belong to a mode word, which cannot change inside of them: what could change it is the interpreter's (`step`),
 * or makes jit_interp say so. Counting against a limit (the instruction-count clock) is a mode of its own, without links, so
 * that no unit starts which might overrun the limit.
 *
 * Generations. genkey is added to every address that a key proves. It is another random number for each combination of mode, CS
 * base and limit, and state of the fetch translations (mmu.fetch_epoch), so whatever leads from page to page stays
 * good exactly as long as the same pages are mapped there; and comes back to life when a mode returns.
 *
 * Flags are in the interpreter's lazy form outside of code and in the backend's inside: jit_enter and jit_interp convert.
 */
#include "cpu/flags.h"
#include "cpu/icache.h"
#include "cpu/interp.h"
#include "jit/jit_private.h"

/* --- mode and generation ---------------------------------------------------------------------------------------------- */

/* In 64-bit mode segments are flat whatever they hold, but for FS and GS. */
enum { FLAT_64 = 1 << SEG_ES | 1 << SEG_CS | 1 << SEG_SS | 1 << SEG_DS };

u32 jit_mode(const struct vcpu *c)
{
    return (u32)(c->code_size >> 2 | (c->stack_size >> 2) << MODE_STACK_SHIFT) | (u32)c->mmu.view << MODE_VIEW_SHIFT |
           (u32)(c->code_size == 8 ? FLAT_64 : c->flat) << MODE_FLAT_SHIFT | (c->cpl == 3 ? MODE_USER : 0) | (in_protected_mode(c) ? MODE_PROTECTED : 0);
}

static u32 counting(const struct jit *j)
{
    return j->cpu->icount_limit != UINT64_MAX ? MODE_COUNT_INSNS | MODE_LIMITED : j->opt.count ? MODE_COUNT_INSNS : 0;
}

/* Code may prove things, if nobody wants it to leave. poll is looked at afterwards: the other side writes poll first. */
static void offer_key(struct jit *j)
{
    struct vcpu *c = j->cpu;
    atomic_store(&c->jit.genkey, j->genkey);
    if (atomic_load(&c->jit.poll))
        atomic_store(&c->jit.genkey, c->jit.no_key);
}

static void use_generation(struct jit *j)
{
    u64 h = (j->epoch ^ j->cs_base >> 4 ^ (u64)j->cs_limit << 7 ^ (u64)j->mode << 13) * 0x9e3779b97f4a7c15;
    struct generation *g = &j->generation[h >> 56 & (GENERATION_SLOTS - 1)];
    if (!g->number || g->mode != j->mode || g->epoch != j->epoch || g->cs_base != j->cs_base || g->cs_limit != j->cs_limit) {
        u64 number = invalidate_next_generation(j);
        *g = (struct generation){ j->epoch, j->cs_base, j->cs_limit, j->mode, number };
    }
    j->genkey = g->number;
    offer_key(j);
}

void jit_prepare(struct jit *j)
{
    const struct vcpu *c = j->cpu;
    bool wide = c->code_size == 8;
    u32 mode = jit_mode(c) | counting(j), limit = wide ? 0xffffffff : c->seg[SEG_CS].limit;
    u64 base = wide ? 0 : c->seg[SEG_CS].base, epoch = c->mmu.fetch_epoch[c->mmu.view];
    if (likely(mode == j->mode && epoch == j->epoch && base == j->cs_base && limit == j->cs_limit))
        return;
    j->mode = mode;
    j->epoch = epoch;
    j->cs_base = base;
    j->cs_limit = limit;
    use_generation(j);
}

/* --- places ------------------------------------------------------------------------------------------------------------ */

static u64 truncate_rip(const struct vcpu *c, u64 rip) { return c->code_size == 8 ? rip : (u32)rip; }
static gla linear(const struct vcpu *c, u64 rip)
{
    return c->code_size == 8 ? rip : (u32)(c->seg[SEG_CS].base + rip);
}
/* RIP of byte 0 of the page on which RIP lies. */
static u64 page_rip(const struct vcpu *c, u64 rip) { return truncate_rip(c, rip - (linear(c, rip) & ~PAGE_MASK)); }

/* --- links and jumps that wait for their targets ------------------------------------------------------------------------ */

static bool may_link(const struct jit *j, const struct code_link *l)
{
    if (!j->opt.chain || j->opt.check || j->mode & MODE_LIMITED)
        return false;
    return l->kind == LINK_RETURN ? j->opt.returns : !l->key || j->opt.cross;
}

/* The key of a link to RIP; 0: on the page. False: no link is possible. */
static bool link_key(const struct jit *j, const struct code_link *l, const struct code_unit *u, u64 *key)
{
    const struct vcpu *c = j->cpu;
    u32 offset = (u32)l->target & 4095;
    if (offset != (u->pa & ~PAGE_MASK))
        return false;
    if (l->kind == LINK_RETURN) {
        *key = c->rip + j->genkey;
        return true;
    }
    *key = l->key ? (l->key_own ? j->open.pc : page_rip(c, c->rip)) + j->genkey : 0;
    if (l->key)
        return truncate_rip(c, j->open.pc + (u64)(s64)(l->target & ~4095)) == page_rip(c, c->rip);
    return l->target == (s32)offset && (u->pa & PAGE_MASK) == (l->from->pa & PAGE_MASK) && u->part == l->from->part;
}

/* `from` has dropped flags that its target, as it is now, might read. It must not be made that way again. */
static void remake_with_flags(struct jit *j, struct code_unit *from)
{
    struct block *b = icache_find(j->cpu->icache, from->pa, j->cpu->code_size);
    if (b)
        b->flags = true;
    unit_kill(j, from);
    j->count.units_remade++;
}

static void close_link(struct jit *j, struct code_unit *u)
{
    struct code_link *l = j->open.link;
    u64 key;
    j->open.link = NULL;
    if (j->open.evictions != j->count.evictions || j->open.rip != j->cpu->rip || l->from->dead ||
        (l->from->mode & ~(u32)MODE_PLAIN) != j->mode || !may_link(j, l) || !link_key(j, l, u, &key))
        return;
    if (l->flags == LINK_FLAGS_DEAD && u->flags_in)
        remake_with_flags(j, l->from);
    else
        link_make(j, l, u, key);
}

/* The entry's place has the unit's place in its page as its low bits: where units.c looks for it. */
static void fill_jump(struct jit *j, struct code_unit *u)
{
    struct vcpu *c = j->cpu;
    u64 rip = c->rip;
    j->open.lookup = false;
    if (rip != j->open.rip || !j->opt.indirect || !j->opt.chain || j->opt.check || j->mode & MODE_LIMITED ||
        (j->cs_base & ~PAGE_MASK))
        return;
    c->jit_jump[rip % JIT_JUMPS] = (struct jit_jump){ rip + j->genkey, (u64)(uintptr_t)(j->rx + u->entry_jump) };
    u->jumps = true;
    j->count.jumps_filled++;
}

static inline struct code_unit *arrive(struct jit *j, struct code_unit *u)
{
    if (j->open.link)
        close_link(j, u);
    if (j->open.lookup)
        fill_jump(j, u);
    return u->dead ? NULL : u;
}

/* --- what runs next ------------------------------------------------------------------------------------------------------ */

/* The interpreter has executed `in`: return addresses go in pairs with calls. */
static void note_transfer(struct jit *j, const struct insn *in)
{
    interp_fn *run = insn_rows[in->row].run;
    if (run == in_ret)
        jit_returns_pop(j->cpu);
    else if (run == in_call)
        jit_returns_push(j->cpu);
}

static void interpret_block(struct jit *j, const struct block *b)
{
    u64 before = j->cpu->icount;
    if (b) {
        interp_block(j->cpu, b);
        note_transfer(j, &b->insn[b->count - 1]);
    } else {
        const struct insn *in = interp_one(j->cpu);
        if (in)
            note_transfer(j, in);
    }
    j->count.insns_interpreted += j->cpu->icount - before;
    j->count.blocks_interpreted++;
}

/* The page behind RIP's, for an instruction that ends there. False: not memory, or to be asked for by the interpreter. */
static bool next_page(struct jit *j, gpa *pa, const u8 **host)
{
    struct vcpu *c = j->cpu;
    gla next = (linear(c, c->rip) & PAGE_MASK) + PAGE_SIZE;
    if (c->code_size != 8 && next > UINT32_MAX)
        return false;
    if (c->code_size == 8 && !is_canonical(next))
        return false;
    if (c->code_size != 8 && c->rip + 14 > (c->code_size == 2 && j->cs_limit > 0xffff ? 0xffff : j->cs_limit))
        return false;       /* the longest instruction might end beyond CS's limit */
    return mmu_fetch(&c->mmu, next, c->mmu.view, pa, host) && *host;
}

/* Is the second page of u still the one that it was made from? Then its code may know. */
static bool prove(struct jit *j, struct code_unit *u)
{
    gpa pa;
    const u8 *host;
    u64 key = page_rip(j->cpu, j->cpu->rip) + PAGE_SIZE + j->genkey;
    if (!next_page(j, &pa, &host) || pa != (u->place[1].at & PAGE_MASK))
        return false;
    memcpy(j->rw + u->key, &key, sizeof key);
    return true;
}

/* Code whose first instruction lies on two pages. NULL: the interpreter has executed it. */
static struct code_unit *crossing(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    gpa *no_unit = &j->no_unit[(pa >> 12 ^ pa) % ARRAY_LEN(j->no_unit)];
    struct code_unit *u = NULL;
    if (host && part == UNIT_WHOLE && *no_unit != pa && !self_wanted(j, pa) && next_page(j, &j->next_pa, &j->next_host) &&
        !self_wanted(j, j->next_pa)) {
        if (j->cpu->mmu.fetch_epoch[j->cpu->mmu.view] != j->epoch)
            jit_prepare(j);
        u = compile_unit(j, pa, host, part);
        j->next_host = NULL;
        if (u && prove(j, u))
            return u;
        *no_unit = pa;
    }
    interpret_block(j, NULL);
    return NULL;
}

/* The same for code that is often overwritten. What follows a block without a branch is run with it. */
static struct code_unit *cold_restless(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    const struct code_self *ripe = NULL;
    const struct block *b = host ? self_block(j, pa, host, &ripe) : NULL;
    if (ripe) {
        struct code_unit *u = compile_self(j, pa, host, part, ripe);
        if (!u)
            interpret_block(j, NULL);
        return u;
    }
    for (;;) {
        u64 next = b ? j->cpu->rip + b->bytes : 0;
        interpret_block(j, b);
        if (!b || b->sys || j->cpu->rip != next || j->cpu->code_size == 2 || (pa & ~PAGE_MASK) + b->bytes >= PAGE_SIZE || cpu_requests(j->cpu))
            return NULL;
        pa += b->bytes;
        host += b->bytes;
        b = self_block(j, pa, host, &ripe);
        if (!b || ripe)
            return NULL;
    }
}

/* A unit for the code at RIP, if it is time for one; else the interpreter runs it. */
static struct code_unit *cold(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    if (self_wanted(j, pa))
        return cold_restless(j, pa, host, part);
    struct block *b = interp_decoded(j->cpu, pa, host);
    if (!b)
        return crossing(j, pa, host, part);
    if (!b->left && b->executed++ >= j->opt.hot) {
        j->keep_flags = b->flags;
        struct code_unit *u = compile_unit(j, pa, host, part);
        if (u)
            return u;
        b->left = true;
    }
    interpret_block(j, b);
    return NULL;
}

/* Made again as a superblock, because it has been entered so often. */
static struct code_unit *remake(struct jit *j, struct code_unit *u, const u8 *host)
{
    const struct block *b = icache_find(j->cpu->icache, u->pa, j->cpu->code_size);
    gpa pa = u->pa;
    u32 part = u->part;
    unit_kill(j, u);
    j->super = true;
    j->before = u;
    j->keep_flags = b && b->flags;
    u = compile_unit(j, pa, host, part);
    j->super = false;
    j->before = NULL;
    j->count.units_remade += u != NULL;
    return u;
}

/* The link that is waiting, if it still exists. */
static const struct code_link *waiting_link(const struct jit *j)
{
    return j->open.evictions == j->count.evictions ? j->open.link : NULL;
}

/* Where it led until now: mostly to the same code, with the key of another address space or caller. */
static struct code_unit *linked(const struct jit *j)
{
    const struct code_link *l = waiting_link(j);
    return l ? l->to : NULL;
}

/* Does a superblock wait for the plain unit at RIP? */
static bool plain_wanted(const struct jit *j)
{
    const struct code_link *l = waiting_link(j);
    return l && j->open.rip == j->cpu->rip && l->plain;
}

/* That unit, or NULL: the interpreter has executed the instruction. */
static struct code_unit *plain_unit(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    struct code_unit *u = unit_find(j, pa, j->mode | MODE_PLAIN, part);
    if (!u && host && !(j->mode & MODE_LIMITED) && !self_wanted(j, pa))
        u = compile_plain(j, pa, host, part);
    if (!u)
        interpret_block(j, NULL);
    return u;
}

/* u, which checks itself and stands at RIP, is looked at before it is entered; NULL: it is not for this code. */
static struct code_unit *restless(struct jit *j, struct code_unit *u, const u8 *host)
{
    if (unlikely(!self_same(u, host))) {
        unit_kill(j, u);
        j->count.self_changed++;
        return self_constants(u, host) ? compile_self(j, u->pa, host, u->part, u->self) : NULL;
    }
    if (!u->counted || u->left)
        return u;
    if (!self_quiet(u)) {
        u->left = u->self->patience;
        return u;
    }
    self_settle(j, u);
    unit_kill(j, u);
    return NULL;
}

struct code_unit *jit_unit_here(struct jit *j)
{
    struct vcpu *c = j->cpu;
    gpa pa;
    const u8 *host;
    if (!interp_fetch(c, &pa, &host))
        return NULL;
    if (unlikely(c->mmu.fetch_epoch[c->mmu.view] != j->epoch))
        jit_prepare(j);
    u32 part = unit_part(c, linear(c, c->rip), c->rip);
    if (unlikely(c->code_size == 2 && c->rip > 0xffff)) {
        interp_one(c);
        return NULL;
    }
    if (unlikely(plain_wanted(j))) {
        struct code_unit *plain = plain_unit(j, pa, host, part);
        return plain ? arrive(j, plain) : NULL;
    }
    struct code_unit *u = linked(j);
    if (!u || !unit_is(u, pa, j->mode, part))
        u = unit_find(j, pa, j->mode, part);
    if (unlikely(u && u->crosses && !prove(j, u))) {
        unit_kill(j, u);
        u = NULL;
    }
    if (unlikely(u && u->self))
        u = restless(j, u, host);
    if (unlikely(u && u->counted && !u->left && !u->crosses))
        u = remake(j, u, host);
    if (!u)
        u = cold(j, pa, host, part);
    if (u && unlikely(j->mode & MODE_LIMITED) && c->icount + u->guests >= c->icount_limit) {
        interpret_block(j, NULL);
        return NULL;
    }
    return u ? arrive(j, u) : NULL;
}

/* --- in and out ------------------------------------------------------------------------------------------------------------ */

/* Status flags become the interpreter's, and the backend's again. */
static void flags_out(struct jit *j) { flags_set_status(j->cpu, j->backend->flags_get(j->cpu)); }
static void flags_in(struct jit *j) { j->backend->flags_put(j->cpu, flags_status(j->cpu)); }

static void left_by_link(struct jit *j)
{
    struct vcpu *c = j->cpu;
    struct code_link *l = c->jit.left;
    u64 rip = truncate_rip(c, c->jit.pc + (u64)(s64)l->target);
    c->rip = l->wraps ? (u16)rip : rip;
    j->open.link = l;
}

enum leave_reason jit_enter(struct jit *j, const struct code_unit *u)
{
    struct vcpu *c = j->cpu;
    c->jit.pc = page_rip(c, c->rip);
    if (atomic_load_explicit(&c->jit.genkey, memory_order_relaxed) != j->genkey)
        offer_key(j);
    flags_in(j);
    enum leave_reason why = j->backend->enter(c, j->rx + u->entry);
    flags_out(j);
    j->open.link = NULL;
    j->open.lookup = false;
    switch (why) {
    case LEAVE_LINK: j->count.leave_link++; left_by_link(j); break;
    case LEAVE_LANDING: j->count.leave_landing++; j->open.link = c->jit.left; break;
    case LEAVE_LOOKUP: j->count.leave_lookup++; j->open.lookup = true; break;
    case LEAVE_STEP: j->count.leave_step++; break;
    case LEAVE_RETURN: j->count.leave_return++; return why;
    }
    c->rip = truncate_rip(c, c->rip);
    j->open.rip = c->rip;
    j->open.pc = c->jit.pc;
    j->open.evictions = j->count.evictions;
    return why;
}

void jit_step(struct jit *j)
{
    const struct insn *in = interp_one(j->cpu);
    j->count.insns_interpreted++;
    if (!in)
        return;
    j->interpreted[in->row]++;
    note_transfer(j, in);
}

/* Runs code until there is something to look at. */
static void run_units(struct jit *j)
{
    struct vcpu *c = j->cpu;
    jit_prepare(j);
    struct code_unit *u = jit_unit_here(j);
    while (u) {
        enum leave_reason why = jit_enter(j, u);
        if (why == LEAVE_STEP)
            jit_step(j);
        if (why == LEAVE_STEP || why == LEAVE_RETURN || atomic_load_explicit(&c->jit.poll, memory_order_relaxed))
            return;
        u = jit_unit_here(j);
    }
}

void jit_run(struct vcpu *c)
{
    struct jit *j = jit_of(c);
    u64 start = jit_now_ns();
    for (;;) {
        /* first the signal, then what it tells of: whoever sets them does it the other way around */
        if (atomic_load_explicit(&c->jit.poll, memory_order_relaxed))
            atomic_store(&c->jit.poll, 0);
        if (unlikely(cpu_requests(c)) && !cpu_boundary(c))
            break;
        if (unlikely(c->debugged))
            interp_debugged(c);
        else if (unlikely(cpu_stepping(c)))
            interp_step(c);
        else if (unlikely(c->access_checks))
            interp_blocks(c);
        else if (unlikely(j->opt.check))
            check_here(j);
        else
            run_units(j);
    }
    j->count.run_ns += jit_now_ns() - start;
}

/* --- what code calls --------------------------------------------------------------------------------------------------------- */

/* Accesses off one base are checked together, which fails if they straddle two pages: a stack frame in the wrong place would make
 * its function leave all the time. So the unit is made again without that group, once. */
static void drop_group(struct jit *j, struct code_unit *u, s32 offset)
{
    struct ungrouped *no = &j->no_group[dispatch_slot(u->pa)];
    if (no->pa != u->pa)
        no->at = 0;
    no->pa = u->pa;
    if (no->at & jit_group_bit(offset))
        return;
    no->at |= jit_group_bit(offset);
    unit_kill(j, u);
}

/* done: by a copy, or because the pages lie behind each other in the host's memory. That is slow as well: a loop over a large array
 * would do it at every page. */
static void note_straddle(struct jit *j, struct code_unit *u, s32 offset, bool done)
{
    enum { ENOUGH = 16, MANY = 64, OFTEN_NS = MANY * 10000 };
    if (u->dead)
        return;
    if (!done) {
        if (++u->straddles >= ENOUGH)
            drop_group(j, u, offset);
    } else if (u->copied++ % MANY == 0) {
        u64 now = jit_now_ns();
        if (u->copied > 1 && now - u->copied_since < OFTEN_NS)
            drop_group(j, u, offset);
        u->copied_since = now;
    }
}

/* An access that straddles two pages of memory. Those that lie behind each other in the host's memory as well are as good as one.
 * Of others, loads get a copy of the bytes, which is used before JIT_STRADDLES others are made (a guest instruction has fewer;
 * pass_group counts). Stores do without the interpreter only where both pages have been written before: none may be marked
 * as written that will not be. */
static u8 *straddling(struct vcpu *c, gla a, const struct code_access *access)
{
    unsigned first = PAGE_SIZE - (unsigned)(a & ~PAGE_MASK), rest = access->bytes - first;
    bool write = access->access != IR_READ;
    if ((c->code_size != 8 && a + access->bytes > UINT32_MAX) || (write && access->view != c->mmu.view))
        return NULL;
    u8 *low = write ? mmu_hit_write(&c->mmu, a, first) : mmu_host(&c->mmu, a, first, ACCESS_READ, access->view), *high = NULL;
    if (low)
        high = write ? mmu_hit_write(&c->mmu, a + first, rest)
                     : mmu_host(&c->mmu, a + first, rest, ACCESS_READ, access->view);
    if (high && high == low + first)
        return low;
    if (!high || write || access->span || access->bytes > sizeof c->jit_straddle[0])
        return NULL;
    u8 *copy = c->jit_straddle[c->jit_straddles++ % ARRAY_LEN(c->jit_straddle)];
    memcpy(copy, low, first);
    memcpy(copy + first, high, rest);
    return copy;
}

u8 *jit_miss(struct vcpu *c, gla a, const struct code_access *data)
{
    const struct code_access access = *data;
    struct jit *j = jit_of(c);
    j->count.misses++;
    bool ok = (c->code_size != 8 || (is_canonical(a) && is_canonical(a + access.bytes - 1))) && !(a & access.align);
    bool straddles = (a & ~PAGE_MASK) + access.bytes > PAGE_SIZE;
    access.misses[0] += !straddles;
    u8 *p = NULL;
    if (ok && straddles)
        p = straddling(c, a, &access);
    else if (ok)
        p = mmu_host(&c->mmu, a, access.bytes, access.access == IR_READ ? ACCESS_READ : ACCESS_WRITE, access.view);
    enum { LARGEST = 32 };      /* what no single access is larger than, but for a few slow instructions */
    if (straddles && (p ? access.bytes > LARGEST : access.span))
        note_straddle(j, access.unit, access.offset, p != NULL);
    if (!p || access.unit->dead || c->mmu.fetch_epoch[c->mmu.view] != j->epoch) {
        j->count.misses_to_step++;
        return NULL;
    }
    return p;
}

/* Has the interpreter's function changed something that code takes for granted? */
static bool disturbed(const struct jit *j, u64 deaths)
{
    const struct vcpu *c = j->cpu;
    return j->deaths != deaths || cpu_requests(c) || c->access_checks || c->mmu.fetch_epoch[c->mmu.view] != j->epoch ||
           jit_mode(c) != (j->mode & ~(MODE_COUNT_INSNS | MODE_LIMITED));
}

/* True: the instruction was executed and control goes to the next one. Status flags are the interpreter's, before and behind; if not
 * *out, they are the backend's, and have become the interpreter's where that is set. */
static bool run_one(struct jit *j, const struct insn *in, u64 at, bool *out)
{
    struct vcpu *c = j->cpu;
    u64 next = c->rip = at + in->len;
    if (in->run(c, in)) {
        if (c->rip == next)
            return true;
        if (j->mode & MODE_COUNT_INSNS && ++c->icount >= c->icount_limit)
            cpu_raise(c, PEND_TIMER);
    } else {
        c->rip = at;
        if (!*out)
            flags_out(j);
        *out = true;
        exception_deliver(c);
    }
    return false;
}

/* Code for the present RIP and mode, if it is in the table or easily found. */
static const void *code_here(struct jit *j)
{
    struct vcpu *c = j->cpu;
    const struct jit_jump *e = &c->jit_jump[c->rip % JIT_JUMPS];
    if (e->key != c->rip + j->genkey)
        return NULL;
    return (const void *)(uintptr_t)e->host;
}

/* The usual case of a change of privilege. False: the interpreter's function has to do it. */
static inline bool switched(struct jit *j, const struct code_call *call, const void **code)
{
    struct vcpu *c = j->cpu;
    enum switched how = call->fast(c, &call->in, c->jit.pc + (u64)(s64)(call->offset + call->in.len));
    if (unlikely(how == SWITCH_NO))
        return false;
    j->count.switches++;
    if (unlikely(j->mode & MODE_COUNT_INSNS) && ++c->icount >= c->icount_limit)
        cpu_raise(c, PEND_TIMER);
    jit_prepare(j);
    *code = code_here(j);
    c->jit.temp[3] = LEAVE_LOOKUP;
    if (unlikely(!*code && how == SWITCH_RESUME)) {
        debug_set_resume(c);
        c->jit.temp[3] = LEAVE_RETURN;
    }
    return true;
}

const void *jit_step_call(struct vcpu *c, const struct code_call *call)
{
    struct jit *j = jit_of(c);
    struct insn *in = (struct insn *)&call->in;
    if (unlikely(j->opt.check)) {       /* nothing that the interpreter does is to be done twice */
        c->rip = truncate_rip(c, c->jit.pc + (u64)(s64)call->offset);
        c->jit.temp[3] = LEAVE_STEP;
        return NULL;
    }
    const void *code = NULL;
    if (call->fast && switched(j, call, &code))
        return code;
    if (unlikely(!in->chain))
        interp_prepare(in);
    j->count.step_calls++;
    j->count.insns_interpreted++;
    j->interpreted[in->row]++;
    bool out = true;
    flags_out(j);
    if (run_one(j, in, truncate_rip(c, c->jit.pc + (u64)(s64)call->offset), &out) && j->mode & MODE_COUNT_INSNS &&
        ++c->icount >= c->icount_limit)
        cpu_raise(c, PEND_TIMER);
    c->jit.temp[3] = LEAVE_RETURN;
    /* IF may have been set: an interrupt that waited while it was not has raised no poll since */
    if (!cpu_requests(c) && !cpu_stepping(c) && !c->access_checks && !c->debugged) {
        jit_prepare(j);
        c->jit.temp[3] = LEAVE_LOOKUP;
        code = code_here(j);
    }
    flags_in(j);
    return code;
}

bool jit_interp(struct vcpu *c, const struct code_call *call)
{
    struct jit *j = jit_of(c);
    struct insn *in = (struct insn *)&call->in;
    u64 deaths = j->deaths;
    if (unlikely(j->opt.check) && check_refuses(in)) {
        c->rip = truncate_rip(c, c->jit.pc + (u64)(s64)call->offset);
        return false;
    }
    j->count.interp_ops++;
    if (call->fast && call->fast(c, in, 0) == SWITCH_DONE)
        return true;
    if (unlikely(!in->chain))
        interp_prepare(in);
    j->count.insns_interpreted++;
    j->interpreted[in->row]++;
    bool out = interp_wants_flags(in);
    if (out)
        flags_out(j);
    bool go_on = run_one(j, in, truncate_rip(c, c->jit.pc + (u64)(s64)call->offset), &out);
    if (go_on && disturbed(j, deaths)) {
        go_on = false;
        if (j->mode & MODE_COUNT_INSNS && ++c->icount >= c->icount_limit)
            cpu_raise(c, PEND_TIMER);
    }
    if (out)
        flags_in(j);
    return go_on;
}
