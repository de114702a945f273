/* emit_exit.c - leaving a unit: to other units (links), by calls and returns, to the interpreter; and the tails, which are the
 * rarely executed code behind the unit.
 *
 * A link on the same page is one branch, patched when the target exists. A link to another page proves first that this page
 * is mapped where it was when the link was made:
 *
 *      pc + delta + genkey == key      then pc += delta, branch
 *
 * A call pushes the address of its landing on the stack of return addresses (X27) and is the host's BL, a return pops it and is the
 * host's RET: so the host predicts guest returns as it predicts its own. The landing compares the return address that the
 * guest popped (RIP_REG) with its key in the same way.
 *
 * None of this needs the host's flags: CBZ and TBZ do. Polls look at vcpu.jit.poll on jumps and calls back on the page; while it is
 * set, no key is right (vcpu.jit.genkey), so the others need none.
 *
 * A conditional branch reaches 1 MiB, or 32 KiB: in front of its stub stands a B for targets beyond (an island, target.c).
 */
#include "jit/aarch64/emit.h"
#include "jit/jit_private.h"

#include <string.h>

struct tail *emit_tail(struct emit *e, enum tail_kind kind, u32 from)
{
    if (e->tails == MAX_TAILS) {
        e->full = true;
        e->tails--;
    }
    struct tail *t = &e->tail[e->tails++];
    *t = (struct tail){ .kind = (u8)kind, .flags = e->flags, .inverted = e->inverted, .from = { from },
                        .offset = e->u->offset[e->ins->gi], .live = (emit_live_before(e) & IR_NZCV) != 0 };
    return t;
}

/* RIP_REG = RIP, flags as `flags_emit_jump` leaves them: its code, by the table that dispatch.c fills. In line at every indirect jump, so that the
 * host predicts each by itself. */
void emit_lookup(struct emit *e)
{
    static_assert(JIT_JUMPS == 1 << 16 && sizeof(struct jit_jump) == 16, "index: rip % JIT_JUMPS");
    const u32 table = VCPU_OFF(jit_jump[0]);
    static_assert(offsetof(struct vcpu, jit_jump) % 8 == 0, "LDR scales");
    put32(e, 0x8b202000 | RIP_REG << 16 | 4 << 10 | VCPU << 5 | X16);   /* add x16, vcpu, w1, uxth #4: with the bits below */
    if (table & ~4095u)
        add_imm(e, ADD, true, X16, X16, table & ~4095u);
    load(e, 8, X17, VCPU_OFF(jit.genkey));
    ldr(e, 8, LR, X16, table & 4095);
    rrr(e, ADD, true, X17, X17, RIP_REG);
    ldr(e, 8, X16, X16, (table & 4095) + 8);
    rrr(e, SUB, true, X17, X17, LR);
    u32 other = branch_zero(e, true, X17, true);
    branch_reg(e, X16);
    emit_fill(e, other, e->at);
    emit_branch_to(e, fixed->leave_lookup_host);
}

static u32 lookup(struct emit *e) { return e->j->opt.indirect ? fixed->lookup : fixed->leave_lookup_host; }
static void go_look(struct emit *e)
{
    if (e->j->opt.indirect)
        emit_lookup(e);
    else
        emit_branch_to(e, fixed->leave_lookup_host);
}

/* --- links ---------------------------------------------------------------------------------------------------------- */

static struct code_link *new_link(struct emit *e, enum link_kind kind, s64 target, u16 flive)
{
    return links_new(&e->links, &e->full, (struct code_link){ .from = e->out, .target = (s32)target, .kind = (u8)kind, .flive = flive });
}

static bool wide(struct emit *e) { return mode_code_size(e->u->mode) == 8; }

/* proof + X16, which is genkey, equals the key, or the code goes to the tail; then pc = PAGE_REG. */
static void check_key(struct emit *e, struct code_link *l, struct tail *t, unsigned proof)
{
    l->key = load_literal(e, X17);      /* its place, until the key has its own: keys */
    rrr(e, ADD, true, X16, X16, proof);
    rrr(e, SUB, true, X16, X16, X17);
    t->from[1] = branch_zero(e, true, X16, true);
    store(e, 8, PAGE_REG, VCPU_OFF(jit.pc));
}

/* The way that flags take to the target: in the host's with C as it is meant, or in memory. */
static void link_flags(struct emit *e, struct code_link *l)
{
    u16 live = l->flive & IR_NZCV;
    if (live & IR_C && e->flags == FLAGS_HOST && e->inverted)
        flags_save(e);
    l->flags = !l->flive ? LINK_FLAGS_DEAD : live && e->flags == FLAGS_HOST ? LINK_FLAGS_HOST : LINK_FLAGS_SAVED;
}

static struct tail *link_tail(struct emit *e, struct code_link *l)
{
    struct tail *t = emit_tail(e, TAIL_LINK, 0);
    t->link = l;
    t->flags = l->flags == LINK_FLAGS_HOST ? FLAGS_HOST : FLAGS_SAVED;
    t->inverted = false;
    t->live = l->flags == LINK_FLAGS_HOST;
    return t;
}

/* All that comes before the branch to the link's target. */
static void approach(struct emit *e, struct code_link *l, bool poll)
{
    bool far = !link_same_page(l->target);
    link_flags(e, l);
    struct tail *t = link_tail(e, l);
    if (poll && !far) {
        load(e, 4, X16, VCPU_OFF(jit.poll));
        t->from[0] = branch_zero(e, false, X16, true);
    }
    if (far) {
        static_assert(VCPU_OFF(jit.genkey) == VCPU_OFF(jit.pc) + 8, "a pair");
        pair(e, LDP, PAGE_REG, X16, VCPU, (s32)VCPU_OFF(jit.pc));
        add_any(e, wide(e), PAGE_REG, PAGE_REG, l->target & ~(s64)(PAGE_SIZE - 1));
        check_key(e, l, t, PAGE_REG);
    }
}

static void go(struct emit *e, struct code_link *l, bool poll)
{
    approach(e, l, poll);
    l->at = branch(e);
}

void emit_jmp(struct emit *e, const struct ir_ins *ins)
{
    go(e, new_link(e, LINK_JUMP, ins->imm, ins->flive), ins->bits & IR_POLL);
}

/* A condition that a branch can test. */
struct condition { enum { BY_FLAGS, BY_BIT, BY_ZERO } how; bool yes, wide; unsigned cond, reg; };

static u32 branch_on(struct emit *e, const struct condition *c, bool invert)
{
    switch (c->how) {
    case BY_FLAGS: return branch_if(e, c->cond ^ invert);
    case BY_BIT: return branch_bit(e, c->reg, 0, c->yes ^ invert);
    default: return branch_zero(e, c->wide, c->reg, !(c->yes ^ invert));
    }
}

/* Flags that live on behind the exit only need not be kept for it, and the other way around. A jump back is the usual case of a
 * loop: its poll and jump stand in line, and falling through jumps over them. */
static void side_exit(struct emit *e, const struct ir_ins *ins, const struct condition *c)
{
    struct code_link *l = new_link(e, LINK_JUMP, ins->imm, ins->fexit);
    bool poll = ins->bits & IR_POLL;
    bool convert = ins->fexit & IR_C && e->flags == FLAGS_HOST && e->inverted;
    if (poll && (link_same_page(ins->imm) || ins->bits & IR_LIKELY)) {
        u32 over = branch_on(e, c, true);
        u8 flags = e->flags;
        go(e, l, poll);
        e->flags = flags;       /* on the other way nothing was saved */
        emit_fill(e, over, e->at);
    } else if (poll || convert || !link_same_page(ins->imm)) {
        struct tail *t = emit_tail(e, TAIL_GO, branch_on(e, c, false));
        t->link = l;
        t->poll = poll;
    } else {
        link_flags(e, l);
        l->at = branch_on(e, c, false);
        link_tail(e, l);
    }
}

void emit_jcc(struct emit *e, const struct ir_ins *ins)
{
    unsigned reg;
    struct condition c = { .how = BY_FLAGS };
    c.cond = flags_condition_of(e, ins->cc, &reg);
    if (reg != NO_REG)
        c = (struct condition){ .how = BY_BIT, .reg = reg, .yes = ins->cc == CC_NP };    /* bit 0: odd */
    side_exit(e, ins, &c);
}

static void zero_exit(struct emit *e, const struct ir_ins *ins, bool if_zero)
{
    unsigned a = ins->size >= 4 ? emit_in(e, ins->a, ins->size) : emit_in_zero(e, ins->a, ins->size);
    struct condition c = { .how = BY_ZERO, .yes = if_zero, .wide = ins->size == 8, .reg = a };
    side_exit(e, ins, &c);
    emit_release(e, a);
}
void emit_jz(struct emit *e, const struct ir_ins *ins) { zero_exit(e, ins, true); }
void emit_jnz(struct emit *e, const struct ir_ins *ins) { zero_exit(e, ins, false); }

/* --- calls and returns ---------------------------------------------------------------------------------------------- */

enum { ADR = 0x10000000, STR_PRE = 0xf8000c00, LDR_POST = 0xf8400400 };

static u32 push_landing(struct emit *e)
{
    u32 at = e->at;
    put32(e, ADR | X16);
    put32(e, STR_PRE | (-8u & 511) << 12 | RETURNS << 5 | X16);
    return at;
}

/* Where the callee comes back to, with the popped address in RIP_REG and the flags in the host's. pushed: where its address is. */
static void landing(struct emit *e, s64 offset, u32 pushed)
{
    struct code_link *l = new_link(e, LINK_RETURN, offset, IR_FLAGS);
    emit_fill(e, pushed, e->at);
    l->flags = LINK_FLAGS_HOST;
    e->flags = FLAGS_HOST;
    e->inverted = false;
    struct tail *t = emit_tail(e, TAIL_LANDING, 0);
    t->link = l;
    add_any(e, wide(e), PAGE_REG, RIP_REG, -(s64)(offset & (PAGE_SIZE - 1)));
    load(e, 8, X16, VCPU_OFF(jit.genkey));
    check_key(e, l, t, RIP_REG);
    l->at = branch(e);
    link_tail(e, l);
}

void emit_call(struct emit *e, const struct ir_ins *ins)
{
    struct code_link *l = new_link(e, LINK_CALL, ins->imm, ins->flive);
    bool poll = ins->imm <= e->u->offset[ins->gi];      /* forward only: no loop without a way back */
    if (!e->j->opt.returns) {
        l->kind = LINK_JUMP;
        go(e, l, poll);
        return;
    }
    u32 pushed = push_landing(e);
    approach(e, l, poll);
    l->at = branch_link(e);
    landing(e, ins->disp, pushed);
}

static void to_rip(struct emit *e, const struct ir_ins *ins)
{
    unsigned a = emit_home(e, ins->a);
    if (ins->size == 2)
        ubfm(e, false, RIP_REG, a, 0, 15);
    else
        mov(e, ins->size == 8, RIP_REG, a);
}

void emit_ijmp(struct emit *e, const struct ir_ins *ins)
{
    flags_emit_jump(e, ins->flive);
    to_rip(e, ins);
    go_look(e);
}

void emit_icall(struct emit *e, const struct ir_ins *ins)
{
    if (!e->j->opt.returns) {
        emit_ijmp(e, ins);
        return;
    }
    flags_emit_jump(e, ins->flive);
    to_rip(e, ins);
    u32 pushed = push_landing(e);
    emit_tail(e, TAIL_LOOKUP, branch_link(e));
    landing(e, ins->disp, pushed);
}

void emit_ret(struct emit *e, const struct ir_ins *ins)
{
    if (!e->j->opt.returns) {
        emit_ijmp(e, ins);
        return;
    }
    flags_emit_jump(e, ins->flive);
    to_rip(e, ins);
    put32(e, LDR_POST | 8u << 12 | RETURNS << 5 | LR);
    ret(e, LR);
}

/* --- the interpreter ------------------------------------------------------------------------------------------------ */

struct code_call *emit_call_data(struct emit *e, const struct ir_ins *ins)
{
    struct code_call *call = call_data(e->j, e->u, ins, e->out);
    e->full |= !call;
    return call;
}

/* The interpreter's function is called at once, and finds the code to go on with (jit_step_call). What is no instruction
 * is the dispatcher's. */
void emit_step(struct emit *e, const struct ir_ins *ins)
{
    const struct insn *in = e->u->guest[ins->gi];
    struct code_call *call = in && in->mode ? emit_call_data(e, ins) : NULL;
    flags_emit_leave(e, IR_NZCV);
    if (call) {
        mov_imm(e, X0, (u64)(uintptr_t)call);
        emit_branch_to(e, fixed->step);
        return;
    }
    mov_imm(e, X0, (u32)e->u->offset[ins->gi]);
    emit_branch_to(e, fixed->leave_step);
}

/* A value that must be 0. */
void emit_guard(struct emit *e, const struct ir_ins *ins)
{
    unsigned a = ins->size >= 4 ? emit_in(e, ins->a, ins->size) : emit_in_zero(e, ins->a, ins->size);
    emit_tail(e, TAIL_STEP, branch_zero(e, ins->size == 8, a, true));
    emit_release(e, a);
}

void emit_need(struct emit *e, const struct ir_ins *ins)
{
    static const u8 bit[4] = { [IR_NEED_SSE] = 0, [IR_NEED_AVX] = 1, [IR_NEED_X87] = 0, [IR_NEED_MMX] = 1 };
    bool vec = ins->imm == IR_NEED_SSE || ins->imm == IR_NEED_AVX;
    load(e, 1, X16, vec ? VCPU_OFF(jit.vec_state) : VCPU_OFF(jit.x87_state));
    struct tail *t = emit_tail(e, TAIL_NEED, branch_bit(e, X16, bit[ins->imm], false));
    t->need = (u8)ins->imm;
    t->back = e->at;
}

/* The function's flags come back in memory. */
void emit_interp(struct emit *e, const struct ir_ins *ins)
{
    struct code_call *call = emit_call_data(e, ins);
    flags_emit_leave(e, IR_NZCV);
    mov_imm(e, X0, (u64)(uintptr_t)call);
    emit_fill(e, branch_link(e), fixed->interp);
    e->flags = FLAGS_SAVED;
}

/* Flags stay as they are. */
static void add_to(struct emit *e, u32 field, u64 n)
{
    load(e, 8, X16, field);
    add_any(e, true, X16, X16, (s64)n);
    store(e, 8, X16, field);
}

/* Beside the guest's instructions those of the host since the last count: what a unit executes but for tails, fixed code and
 * what counts. */
void emit_count(struct emit *e, const struct ir_ins *ins)
{
    u32 insns = (e->at - e->counted) / 4;
    add_to(e, VCPU_OFF(icount), (u64)ins->imm);
    add_to(e, VCPU_OFF(jit.host_insns), insns);
    add_to(e, VCPU_OFF(jit.host_checks), e->checks / 4);
    e->counted = e->at;
    e->checks = 0;
}

/* Counts down; at 0 the dispatcher gets its turn and makes the unit again. */
void emit_executed(struct emit *e)
{
    mov_imm(e, X16, (u64)(uintptr_t)&e->out->left);
    ldr(e, 8, X17, X16, 0);
    add_imm(e, SUB, true, X17, X17, 1);
    str(e, 8, X17, X16, 0);
    emit_tail(e, TAIL_AGAIN, branch_zero(e, true, X17, false))->live = true;
}

/* The unit's first instruction ends on the next page: is that still the one it was made from? */
void emit_crosses(struct emit *e)
{
    load(e, 8, X16, VCPU_OFF(jit.pc));
    add_imm(e, ADD, wide(e), X16, X16, PAGE_SIZE);
    load(e, 8, X17, VCPU_OFF(jit.genkey));
    rrr(e, ADD, true, X16, X16, X17);
    e->out->key = load_literal(e, X17);     /* until it has its place: keys */
    rrr(e, SUB, true, X16, X16, X17);
    emit_tail(e, TAIL_AGAIN, branch_zero(e, true, X16, true))->live = true;
}

/* --- tails ---------------------------------------------------------------------------------------------------------- */

/* Around a call of fixed code from a tail, which destroys the host's flags. */
static bool set_aside(struct emit *e, const struct tail *t)
{
    bool flags = t->live && (t->flags == FLAGS_HOST || t->flags == FLAGS_BOTH);
    if (flags && t->flags == FLAGS_HOST)
        flags_save(e);
    return flags;
}

static void go_back(struct emit *e, const struct tail *t, bool flags)
{
    if (flags) {
        e->flags = FLAGS_SAVED;
        flags_to_host(e);
        flags_carry(e, t->inverted);
    }
    emit_branch_to(e, t->back);
}

static void tail_miss(struct emit *e, struct tail *t)
{
    bool flags = set_aside(e, t);
    mov(e, true, X16, t->address);
    emit_fill(e, branch_link(e), t->access.site ? fixed->miss : fixed->miss_tlb);
    static_assert(sizeof(struct code_access) == 32, "entry.c goes on behind it");
    u32 w[sizeof(struct code_access) / 4];
    memcpy(w, &t->access, sizeof w);
    for (unsigned i = 0; i < ARRAY_LEN(w); i++)
        put32(e, w[i]);
    mov(e, true, t->reg, X16);
    go_back(e, t, flags);
}

static void tail_need(struct emit *e, struct tail *t)
{
    bool flags = set_aside(e, t);
    emit_fill(e, branch_link(e), fixed->need[t->need]);
    put32(e, (u32)t->offset);
    go_back(e, t, flags);
}

static void leave_with(struct emit *e, const struct tail *t, u64 what, u32 to)
{
    set_aside(e, t);
    mov_imm(e, X0, what);
    emit_branch_to(e, to);
}

static bool is_conditional(const struct emit *e, u32 at)
{
    u32 insn;
    memcpy(&insn, e->rw + at, 4);
    return (insn & 0x7c000000) != 0x14000000;
}

static void tail_link(struct emit *e, struct tail *t)
{
    struct code_link *l = t->link;
    if (l->at && is_conditional(e, l->at))
        emit_fill(e, branch(e), e->at);     /* the island */
    l->stub = e->at;
    leave_with(e, t, link_address(&e->links, e->out, l), fixed->leave_link);
    if (l->at)
        emit_fill(e, l->at, l->stub);
    for (unsigned i = 0; i < ARRAY_LEN(t->from); i++)
        if (t->from[i])
            emit_fill(e, t->from[i], l->stub);
}

/* The right place in another page, or at another time: the key may be put right; else the return is irregular. */
static void tail_landing(struct emit *e, struct tail *t)
{
    ubfx(e, X16, PAGE_REG, 0, PAGE_SHIFT);
    u32 right = branch_zero(e, true, X16, false);
    emit_branch_to(e, lookup(e));
    emit_fill(e, right, e->at);
    mov_imm(e, X0, link_address(&e->links, e->out, t->link));
    emit_branch_to(e, fixed->leave_landing);
}

static void tail_again(struct emit *e, struct tail *t)
{
    set_aside(e, t);
    load(e, 8, RIP_REG, VCPU_OFF(jit.pc));
    add_any(e, wide(e), RIP_REG, RIP_REG, e->u->offset[0]);
    emit_branch_to(e, fixed->leave_lookup);
}

/* Where units that check themselves find that they are not what they were: the first tail of this kind is theirs. */
static void fill_differ(struct emit *e, u32 at)
{
    for (unsigned i = 1; i < e->differs; i++)
        emit_fill(e, e->differ[i], at);
    e->differs = 0;
}

static void one_tail(struct emit *e, struct tail *t)
{
    u32 at = e->at;
    e->flags = t->flags;
    e->inverted = t->inverted;
    switch (t->kind) {
    case TAIL_MISS: tail_miss(e, t); break;
    case TAIL_NEED: tail_need(e, t); break;
    case TAIL_STEP: leave_with(e, t, (u32)t->offset, fixed->leave_step); break;
    case TAIL_LINK: tail_link(e, t); return;
    case TAIL_LANDING: tail_landing(e, t); break;
    case TAIL_LOOKUP: go_look(e); break;
    case TAIL_AGAIN:
        tail_again(e, t);
        fill_differ(e, at);
        break;
    case TAIL_LEAVE: emit_branch_to(e, fixed->leave_lookup); break;
    case TAIL_GO: go(e, t->link, t->poll); break;
    case TAIL_INSN: insn_tail(e, t); break;
    }
    for (unsigned i = 0; i < ARRAY_LEN(t->from); i++)
        if (t->from[i])
            emit_fill(e, t->from[i], at);
}

static void keys(struct emit *e)
{
    if (e->at & 7)
        put32(e, 0);
    unsigned n = 0;
    for (u32 *key; (key = links_next_key(&e->links, e->out, &n)) != NULL;) {
        emit_fill(e, *key, e->at);
        *key = e->at;
        put64(e, 0);
    }
}

void emit_tails(struct emit *e)
{
    if (!links_place(e->j, &e->links, e->out)) {
        e->full = true;
        return;
    }
    for (unsigned i = 0; i < e->tails && !e->full; i++)     /* TAIL_GO adds some */
        one_tail(e, &e->tail[i]);
    keys(e);
    links_done(&e->links, e->out);
}
