/* emit_exit.c - leaving a unit: to other units (links), by calls and returns, to the interpreter; and the tails, which are
 * what is rarely executed: a few stand behind the unit, most at the other end of the segment.
 *
 * A link on the same page is one jump, patched when the target exists. A link to another page proves first that this page
 * is mapped where it was when the link was made:
 *
 *      pc + genkey == key      then pc += delta, jump
 *
 * Calls are host calls: the unit that a guest RET comes back to is entered through the landing behind the call, which
 * compares the return address that the guest popped (in R11) with its key in the same way. So the host predicts guest
 * returns as it predicts its own, and a guest that returns elsewhere only pays for a look-up.
 *
 * Polls look at vcpu.jit.poll where a loop could otherwise run for ever: on jumps and calls back on the page. While poll is set, no
 * key is right (vcpu.jit.genkey), so other links, indirect jumps and returns need none.
 */
#include "jit/jit_private.h"
#include "jit/x86_64/emit.h"

#include <string.h>

static const struct enc W = { .w = true }, D = { 0 };

/* --- jumps in host code --------------------------------------------------------------------------------------------- */

u32 emit_jump(struct emit *e)
{
    put_opcode(e, 0xe9);
    put32(e, 0);
    return e->at - 4;
}

u32 emit_jump_if(struct emit *e, unsigned cc)
{
    put8(e, 0x0f);
    put_opcode(e, (u8)(0x80 | cc));
    put32(e, 0);
    return e->at - 4;
}

void emit_fill(struct emit *e, u32 field, u32 to)
{
    u32 end = e->end, at = e->at;
    if (e->full)
        return;
    e->at = field;
    e->end = field + 4;
    put32(e, to - (field + 4));
    e->at = at;
    e->end = end;
}

void emit_jump_to(struct emit *e, u32 to) { emit_fill(e, emit_jump(e), to); }

static void call_to(struct emit *e, u32 to)
{
    put_opcode(e, 0xe8);
    put32(e, to - (e->at + 4));
}

struct tail *emit_tail(struct emit *e, enum tail_kind kind, u32 from)
{
    if (e->tails == MAX_TAILS) {
        e->full = true;
        e->tails--;
    }
    struct tail *t = &e->tail[e->tails++];
    *t = (struct tail){ .kind = kind, .flags = e->flags, .from = { from }, .offset = e->u->offset[e->ins->gi] };
    return t;
}

/* R11 = RIP, flags in memory: its code, by the table that dispatch.c fills. In line at every indirect jump, so that the
 * host predicts each by itself. */
void emit_lookup(struct emit *e)
{
    static_assert(JIT_JUMPS == 1 << 16, "index: rip % JIT_JUMPS");
    enc(e, D, 0x0fb7, RCX, rm_reg(R11));
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xc1, 4, rm_reg(RCX));               /* shl: 16 bytes each */
    put8(e, 4);
    enc(e, W, 0x8b, R10, rm_vcpu(VCPU_DISP(jit.genkey)));
    enc(e, W, 0x03, R10, rm_reg(R11));
    enc(e, W, 0x3b, R10, rm_index(RBP, RCX, 0, VCPU_DISP(jit_jump[0].key)));
    emit_fill(e, emit_jump_if(e, 5), fixed->leave_lookup);
    enc(e, D, 0xff, 4, rm_index(RBP, RCX, 0, VCPU_DISP(jit_jump[0].host)));
}

static u32 lookup(struct emit *e) { return e->j->opt.indirect ? fixed->lookup : fixed->leave_lookup; }

/* --- links ---------------------------------------------------------------------------------------------------------- */

static struct code_link *new_link(struct emit *e, enum link_kind kind, s64 target, u16 flive)
{
    return links_new(&e->links, &e->full, (struct code_link){ .from = e->out, .target = (s32)target, .kind = (u8)kind, .flive = flive });
}

struct code_link *emit_plain_link(struct emit *e)
{
    struct code_link *l = new_link(e, LINK_JUMP, e->u->offset[e->ins->gi], IR_FLAGS);
    l->plain = true;
    l->flags = LINK_FLAGS_SAVED;
    return l;
}

static bool wide(struct emit *e) { return mode_code_size(e->u->mode) == 8; }

/* proof + genkey equals the key, or the code goes to the tail. R10 is destroyed. */
static void check_key(struct emit *e, struct code_link *l, struct tail *t, struct rm proof)
{
    enc(e, W, 0x8b, R10, rm_vcpu(VCPU_DISP(jit.genkey)));
    enc(e, W, 0x03, R10, proof);
    enc(e, W, 0x3b, R10, rm_code(0));
    l->key = e->at - 4;     /* the place of the displacement, until the key has its own: emit_tails */
    t->from[1] = emit_jump_if(e, 5);
}

/* All that comes before the jump or call to the link's target. The flags are where e->flags says; live: somebody reads
 * them. A key is proved by nothing while poll is set. */
static void approach(struct emit *e, struct code_link *l, enum tail_kind kind, bool poll, bool live)
{
    bool far = !link_same_page(l->target);
    if ((poll || far) && live && e->flags == FLAGS_HOST)
        flags_save(e);
    l->flags = !live ? LINK_FLAGS_DEAD : e->flags == FLAGS_HOST ? LINK_FLAGS_HOST : LINK_FLAGS_SAVED;
    struct tail *t = emit_tail(e, kind, 0);
    t->link = l;
    t->flags = l->flags == LINK_FLAGS_HOST ? FLAGS_HOST : FLAGS_SAVED;
    if (poll && !far) {
        enc(e, (struct enc){ .imm_bytes = 1 }, 0x83, 7, rm_vcpu(VCPU_DISP(jit.poll)));
        put8(e, 0);
        t->from[0] = emit_jump_if(e, 5);
    }
    if (far) {
        s32 delta = (s32)(l->target & ~(s64)(PAGE_SIZE - 1));
        l->key_own = true;
        check_key(e, l, t, rm_vcpu(VCPU_DISP(jit.pc)));
        if (wide(e)) {
            enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 0, rm_vcpu(VCPU_DISP(jit.pc)));     /* add */
            put32(e, (u32)delta);
        } else {    /* 32 bits; stored as all 64 that are loaded next time */
            enc(e, W, 0x8b, RCX, rm_vcpu(VCPU_DISP(jit.pc)));
            enc(e, D, 0x8d, RCX, rm_mem(RCX, delta));
            enc(e, W, 0x89, RCX, rm_vcpu(VCPU_DISP(jit.pc)));
        }
    }
}

static void go(struct emit *e, struct code_link *l, bool poll, bool live)
{
    approach(e, l, TAIL_LINK, poll, live);
    l->at = emit_jump(e);
}

/* A conditional one: `field` is the condition's jump, taken to the link. */
static void go_if(struct emit *e, u32 field, struct code_link *l, bool poll, bool live)
{
    if (!poll && link_same_page(l->target)) {
        l->flags = !live ? LINK_FLAGS_DEAD : e->flags == FLAGS_HOST ? LINK_FLAGS_HOST : LINK_FLAGS_SAVED;
        l->at = field;
        struct tail *t = emit_tail(e, TAIL_LINK, 0);
        t->link = l;
        t->flags = l->flags == LINK_FLAGS_HOST ? FLAGS_HOST : FLAGS_SAVED;
        return;
    }
    struct tail *t = emit_tail(e, TAIL_GO, field);
    t->link = l;
    t->need = (u8)(poll | live << 1);
}

void emit_jmp(struct emit *e, const struct ir_ins *ins)
{
    go(e, new_link(e, LINK_JUMP, ins->imm, ins->flive), ins->bits & IR_POLL, ins->flive);
}

/* A jump back is the usual case of a loop: its poll and jump stand in line, and falling through jumps over them. */
static void side_exit(struct emit *e, const struct ir_ins *ins, unsigned cc)
{
    struct code_link *l = new_link(e, LINK_JUMP, ins->imm, ins->fexit);
    bool poll = ins->bits & IR_POLL, live = ins->fexit;
    if (!poll || !(link_same_page(ins->imm) || ins->bits & IR_LIKELY)) {
        go_if(e, emit_jump_if(e, cc), l, poll, live);
        return;
    }
    u32 over = emit_jump_if(e, cc ^ 1);
    u8 flags = e->flags;
    u16 mirrors[SCRATCH_COUNT];
    memcpy(mirrors, e->mirrors, sizeof mirrors);
    go(e, l, poll, live);
    e->flags = flags;       /* on the other way nothing was saved, nor a scratch register used */
    memcpy(e->mirrors, mirrors, sizeof mirrors);
    emit_fill(e, over, e->at);
}

void emit_jcc(struct emit *e, const struct ir_ins *ins) { side_exit(e, ins, ins->cc); }

/* A test for zero that leaves the flags alone if they are needed: JRCXZ reaches a jump over a jump. */
static void zero_exit(struct emit *e, const struct ir_ins *ins, bool if_zero)
{
    if (!ins->flive || e->flags != FLAGS_HOST) {
        flags_clobber(e, ins->flive);       /* they may be in both places */
        unsigned a = emit_use(e, ins->a, ins->size);
        enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8, .reg8 = ins->size == 1, .rm8 = ins->size == 1 },
            ins->size == 1 ? 0x84 : 0x85, a, rm_reg(a));
        emit_release(e, a);
        side_exit(e, ins, if_zero ? 4 : 5);
        return;
    }
    struct code_link *l = new_link(e, LINK_JUMP, ins->imm, ins->fexit);
    if (emit_home(e, ins->a) != RCX && e->taken & 4)
        e->full = true;
    if (emit_home(e, ins->a) != RCX || ins->size < 8) {
        struct rm a = emit_from(e, ins->a);
        if (ins->size >= 4)
            enc(e, ins->size == 8 ? W : D, 0x8b, RCX, a);
        else
            enc(e, (struct enc){ .rm8 = ins->size == 1 }, ins->size == 2 ? 0x0fb7 : 0x0fb6, RCX, a);
    }
    put_opcode(e, 0xe3);                      /* jrcxz */
    if (if_zero) {
        put8(e, 2);
        put_opcode(e, 0xeb);                  /* jmp over the jump */
        put8(e, 5);
        go_if(e, emit_jump(e), l, ins->bits & IR_POLL, ins->fexit);
    } else {
        put8(e, 5);
        go_if(e, emit_jump(e), l, ins->bits & IR_POLL, ins->fexit);
    }
}
void emit_jz(struct emit *e, const struct ir_ins *ins) { zero_exit(e, ins, true); }
void emit_jnz(struct emit *e, const struct ir_ins *ins) { zero_exit(e, ins, false); }

/* --- calls and returns ---------------------------------------------------------------------------------------------- */

/* Where the callee comes back to, with the popped address in R11 and the flags in memory. */
static void landing(struct emit *e, s64 offset)
{
    struct code_link *l = new_link(e, LINK_RETURN, offset, IR_FLAGS);
    l->flags = LINK_FLAGS_SAVED;
    struct tail *t = emit_tail(e, TAIL_LANDING, 0);
    t->link = l;
    enc(e, wide(e) ? W : D, 0x8d, RCX, rm_mem(R11, -(s32)(offset & (PAGE_SIZE - 1))));
    check_key(e, l, t, rm_reg(R11));
    enc(e, W, 0x89, RCX, rm_vcpu(VCPU_DISP(jit.pc)));
    l->at = emit_jump(e);
    struct tail *stub = emit_tail(e, TAIL_LINK, 0);
    stub->link = l;
    stub->flags = FLAGS_SAVED;
}

/* Where the way to the target ends before the call, the tail does the call, so that the stack of returns is right. */
void emit_call(struct emit *e, const struct ir_ins *ins)
{
    struct code_link *l = new_link(e, LINK_CALL, ins->imm, ins->flive);
    bool poll = ins->imm <= e->u->offset[ins->gi];      /* forward only: no loop without a way back */
    if (!e->j->opt.returns) {
        l->kind = LINK_JUMP;
        go(e, l, poll, ins->flive);
        return;
    }
    approach(e, l, TAIL_CALL, poll, ins->flive);
    struct tail *t = &e->tail[e->tails - 1];
    put_opcode(e, 0xe8);
    put32(e, 0);
    l->at = e->at - 4;
    t->back = e->at;
    landing(e, ins->disp);
}

static void to_r11(struct emit *e, const struct ir_ins *ins)
{
    unsigned home = emit_home(e, ins->a);
    if (ins->size == 2)
        enc(e, D, 0x0fb7, R11, emit_from(e, ins->a));
    else if (home != R11)
        emit_load(e, R11, ins->a, ins->size);
}

void emit_ijmp(struct emit *e, const struct ir_ins *ins)
{
    flags_emit_leave(e, ins->flive);
    to_r11(e, ins);
    if (e->j->opt.indirect)
        emit_lookup(e);
    else
        emit_jump_to(e, fixed->leave_lookup);
}

void emit_icall(struct emit *e, const struct ir_ins *ins)
{
    if (!e->j->opt.returns) {
        emit_ijmp(e, ins);
        return;
    }
    flags_emit_leave(e, ins->flive);
    to_r11(e, ins);
    put_opcode(e, 0xe8);
    put32(e, 0);
    emit_tail(e, TAIL_LOOKUP, e->at - 4);
    landing(e, ins->disp);
}

void emit_ret(struct emit *e, const struct ir_ins *ins)
{
    if (!e->j->opt.returns) {
        emit_ijmp(e, ins);
        return;
    }
    flags_emit_leave(e, ins->flive);
    to_r11(e, ins);
    put_opcode(e, 0xc3);
}

/* --- the interpreter ------------------------------------------------------------------------------------------------ */

/* The interpreter's function is called at once, and finds the code to go on with (jit_step_call). What is no instruction
 * is the dispatcher's. */
void emit_step(struct emit *e, const struct ir_ins *ins)
{
    const struct insn *in = e->u->guest[ins->gi];
    struct code_call *call = in && in->mode ? call_data(e->j, e->u, ins, e->out) : NULL;
    if (call) {
        if (e->flags == FLAGS_HOST)
            flags_keep(e);
        emit_mov_imm(e, RCX, (u64)(uintptr_t)call);
        emit_jump_to(e, fixed->step);
        return;
    }
    emit_mov_imm(e, RCX, (u32)e->u->offset[ins->gi]);
    emit_jump_to(e, e->flags == FLAGS_HOST ? fixed->leave_step_host : fixed->leave_step);
}

/* A value that must be 0. */
void emit_guard(struct emit *e, const struct ir_ins *ins)
{
    flags_clobber(e, emit_live_before(e));
    unsigned a = emit_use(e, ins->a, ins->size);
    enc(e, (struct enc){ .prefix = ins->size == 2 ? 0x66 : 0, .w = ins->size == 8, .reg8 = ins->size == 1, .rm8 = ins->size == 1 },
        ins->size == 1 ? 0x84 : 0x85, a, rm_reg(a));
    emit_release(e, a);
    emit_tail(e, TAIL_STEP, emit_jump_if(e, 5));
}

void emit_need(struct emit *e, const struct ir_ins *ins)
{
    static const u8 bit[4] = { [IR_NEED_SSE] = 1, [IR_NEED_AVX] = 2, [IR_NEED_X87] = 1, [IR_NEED_MMX] = 2 };
    bool vec = ins->imm == IR_NEED_SSE || ins->imm == IR_NEED_AVX;
    flags_clobber(e, emit_live_before(e));
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xf6, 0, vec ? rm_vcpu(VCPU_DISP(jit.vec_state)) : rm_vcpu(VCPU_DISP(jit.x87_state)));
    put8(e, bit[ins->imm]);
    struct tail *t = emit_tail(e, TAIL_NEED, emit_jump_if(e, 4));
    t->need = (u8)ins->imm;
    t->back = e->at;
    emit_forget(e, RCX);
}

/* Without an operand in memory. */
static bool is_x87(const struct insn *in) { return insn_rows[in->row].attr & ATTR_X87 && !in->modrm_mem; }

/* The function's flags come back in memory. */
void emit_interp(struct emit *e, const struct ir_ins *ins)
{
    struct code_call *call = call_data(e->j, e->u, ins, e->out);
    if (!call) {
        e->full = true;
        return;
    }
    if (e->flags == FLAGS_HOST)
        flags_save(e);
    emit_forget(e, NO_REG);
    bool exact = e->exact_form;
    u32 done = string_usual(e, &call->in);
    if (!done)
        done = gather_usual(e, &call->in);
    emit_mov_imm(e, RCX, (u64)(uintptr_t)call);
    call_to(e, is_x87(&call->in) ? fixed->interp_x87 : fixed->interp);
    if (done)
        emit_fill(e, done, e->at);
    e->flags = ins->flive ? FLAGS_SAVED : FLAGS_DEAD;
    e->exact_form = exact || (!done && interp_wants_flags(&call->in));
}

/* Flags stay as they are. */
static void add_to(struct emit *e, s32 field, s32 n)
{
    unsigned s = emit_scratch(e);
    enc(e, W, 0x8b, s, rm_vcpu(field));
    enc(e, W, 0x8d, s, rm_mem(s, n));
    enc(e, W, 0x89, s, rm_vcpu(field));
    emit_release(e, s);
}

/* Beside the guest's instructions those of the host since the last count: what a unit executes but for tails, fixed code and
 * what counts. */
void emit_count(struct emit *e, const struct ir_ins *ins)
{
    u32 insns = e->insns;
    add_to(e, VCPU_DISP(icount), (s32)ins->imm);
    add_to(e, VCPU_DISP(jit.host_insns), (s32)(insns - e->insns_counted));
    add_to(e, VCPU_DISP(jit.host_checks), (s32)e->checks);
    e->checks = 0;
    e->insns_counted = e->insns;
}

/* Counts down, without flags if they are needed; at 0 the dispatcher gets its turn and makes the unit again. */
void emit_executed(struct emit *e)
{
    emit_mov_imm(e, R10, (u64)(uintptr_t)&e->out->left);
    if (e->flags != FLAGS_HOST) {
        enc(e, (struct enc){ .w = true, .imm_bytes = 1 }, 0x83, 5, rm_mem(R10, 0));     /* sub */
        put8(e, 1);
        emit_tail(e, TAIL_AGAIN, emit_jump_if(e, 4));
        return;
    }
    enc(e, W, 0x8b, RCX, rm_mem(R10, 0));
    enc(e, W, 0x8d, RCX, rm_mem(RCX, -1));
    enc(e, W, 0x89, RCX, rm_mem(R10, 0));
    put_opcode(e, 0xe3);                      /* jrcxz over the next jump */
    put8(e, 2);
    put_opcode(e, 0xeb);
    put8(e, 5);
    emit_tail(e, TAIL_AGAIN, emit_jump(e));
}

/* The unit's first instruction ends on the next page: is that still the one it was made from? */
void emit_crosses(struct emit *e)
{
    flags_clobber(e, e->u->flags_in);
    enc(e, W, 0x8b, RCX, rm_vcpu(VCPU_DISP(jit.pc)));
    enc(e, wide(e) ? W : D, 0x8d, RCX, rm_mem(RCX, PAGE_SIZE));
    enc(e, W, 0x03, RCX, rm_vcpu(VCPU_DISP(jit.genkey)));
    enc(e, W, 0x3b, RCX, rm_code(0));
    e->out->key = e->at - 4;    /* until it has its place: keys() */
    emit_tail(e, TAIL_AGAIN, emit_jump_if(e, 5));
}

static void tail_again(struct emit *e)
{
    bool wide_rip = wide(e);
    if (e->flags == FLAGS_HOST)
        flags_save(e);
    enc(e, W, 0x8b, R11, rm_vcpu(VCPU_DISP(jit.pc)));
    enc(e, wide_rip ? W : D, 0x8d, R11, rm_mem(R11, e->u->offset[0]));
    emit_jump_to(e, fixed->leave_lookup);
}

/* --- tails ---------------------------------------------------------------------------------------------------------- */

/* The registers that hold temporaries are the unit's own: only memory is free. */
static void straddles_to(struct emit *e, const struct tail *t)
{
    enc(e, W, 0x89, t->reg, rm_vcpu(VCPU_DISP(jit.temp[0])));
    enc(e, (struct enc){ .imm_bytes = 4 }, 0x81, 4, rm_reg(t->reg));        /* and */
    put32(e, PAGE_SIZE - 1);
    enc(e, (struct enc){ .imm_bytes = 4 }, 0x81, 7, rm_reg(t->reg));        /* cmp */
    put32(e, PAGE_SIZE - t->access.bytes);
    t->link->at = emit_jump_if(e, 7);
    enc(e, W, 0x8b, t->reg, rm_vcpu(VCPU_DISP(jit.temp[0])));
    struct tail *stub = emit_tail(e, TAIL_LINK, 0);
    stub->link = t->link;
    stub->flags = FLAGS_SAVED;
}

static void tail_miss(struct emit *e, struct tail *t)
{
    unsigned n = 0;
    if (t->link)
        straddles_to(e, t);
    while (scratch_regs[n] != t->reg)
        n++;
    bool write = t->access.access != IR_READ;
    if (t->form == MISS_PAGE)   /* offset in the page -> address */
        enc(e, (struct enc){ .w = true }, 0x03, t->reg, site_page(t->index, site_disp(t->access.view, write, 0)));
    call_to(e, fixed->miss[t->form][write][t->access.view][n]);
    emit_jump_to(e, t->back);           /* where it returns to, so that the host's return predictor keeps its order */
    static_assert(sizeof(struct code_access) == 32, "entry.c reads it");
    u32 w[sizeof(struct code_access) / 4];
    memcpy(w, &t->access, sizeof w);
    for (unsigned i = 0; i < ARRAY_LEN(w); i++)
        put32(e, w[i]);
}

static void tail_need(struct emit *e, struct tail *t)
{
    call_to(e, fixed->need[t->need]);
    put32(e, (u32)t->offset);
    put32(e, t->back - (e->at + 4));
}

static void tail_link(struct emit *e, struct tail *t, u32 to)
{
    t->link->stub = e->at;
    emit_mov_imm(e, RCX, link_address(&e->links, e->out, t->link));
    emit_jump_to(e, to);
}

/* Where units that check themselves find that they are not what they were: the first tail is theirs. */
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
    switch (t->kind) {
    case TAIL_MISS: tail_miss(e, t); break;
    case TAIL_NEED: tail_need(e, t); break;
    case TAIL_STEP:
        emit_mov_imm(e, RCX, (u32)t->offset);
        emit_jump_to(e, t->flags == FLAGS_HOST ? fixed->leave_step_host : fixed->leave_step);
        break;
    case TAIL_LINK:
        tail_link(e, t, t->flags == FLAGS_HOST ? fixed->leave_link_host : fixed->leave_link);
        if (t->link->at)
            emit_fill(e, t->link->at, at);
        break;
    case TAIL_LANDING:
        /* the right place in another page, or at another time: the key may be put right; else the return is irregular */
        enc(e, (struct enc){ .imm_bytes = 4 }, 0xf7, 0, rm_reg(RCX));
        put32(e, PAGE_SIZE - 1);
        emit_fill(e, emit_jump_if(e, 5), lookup(e));
        emit_mov_imm(e, RCX, link_address(&e->links, e->out, t->link));
        emit_jump_to(e, fixed->leave_landing);
        break;
    case TAIL_CALL:
        call_to(e, at + 10);
        emit_jump_to(e, t->back);
        tail_link(e, t, t->flags == FLAGS_HOST ? fixed->leave_link_host : fixed->leave_link);
        emit_fill(e, t->link->at, t->link->stub);
        break;
    case TAIL_FLAGS:
        call_to(e, fixed->flags);
        emit_jump_to(e, t->back);
        break;
    case TAIL_LOOKUP:
        if (e->j->opt.indirect)
            emit_lookup(e);
        else
            emit_jump_to(e, fixed->leave_lookup);
        break;
    case TAIL_AGAIN:
        tail_again(e);
        fill_differ(e, at);
        break;
    case TAIL_GO: go(e, t->link, t->need & 1, t->need & 2); break;
    }
    for (unsigned i = 0; i < 2; i++)
        if (t->from[i])
            emit_fill(e, t->from[i], at);
}

static void keys(struct emit *e)
{
    while (e->at & 7 && !e->full)
        put8(e, 0xcc);
    unsigned n = 0;
    for (u32 *key; (key = links_next_key(&e->links, e->out, &n)) != NULL;) {
        emit_fill(e, *key, e->at);
        *key = e->at;
        put64(e, 0);
    }
}

/* Tails that are executed often stand behind the unit, all others far away: bytes they need at most, 0 for the former. Misses are
 * rare for most accesses. */
static const u8 cold_bytes[] = { [TAIL_MISS] = 42, [TAIL_NEED] = 13, [TAIL_STEP] = 15, [TAIL_LINK] = 15, [TAIL_LANDING] = 27, [TAIL_AGAIN] = 64,
                                 [TAIL_CALL] = 25, [TAIL_FLAGS] = 0 };

/* straddles_to, and the tail of its link; the sum in tail_miss */
enum { STRADDLES_BYTES = 34 + 15, PAGE_MISS_BYTES = 8 };

static u32 cold_size(const struct tail *t)
{
    bool miss = t->kind == TAIL_MISS;
    return cold_bytes[t->kind] + (miss && t->link ? STRADDLES_BYTES : 0) + (miss && t->form == MISS_PAGE ? PAGE_MISS_BYTES : 0);
}

static void hot_tails(struct emit *e)
{
    for (unsigned i = 0; i < e->tails && !e->full; i++)     /* TAIL_GO adds some */
        if (!cold_bytes[e->tail[i].kind])
            one_tail(e, &e->tail[i]);
    keys(e);
}

static void cold_tails(struct emit *e, u32 end)
{
    u32 bytes = 0;
    for (unsigned i = 0; i < e->tails; i++)
        bytes += cold_size(&e->tail[i]);
    if (e->full || end - e->at < bytes) {
        e->full = true;
        return;
    }
    u32 at = e->at;
    e->at = end - bytes;
    for (unsigned i = 0; i < e->tails && !e->full; i++)
        if (cold_bytes[e->tail[i].kind])
            one_tail(e, &e->tail[i]);
    e->at = at;
    e->out->cold_size = bytes;
}

void emit_tails(struct emit *e, u32 end)
{
    if (!links_place(e->j, &e->links, e->out)) {
        e->full = true;
        return;
    }
    hot_tails(e);
    cold_tails(e, end);
    links_done(&e->links, e->out);
}
