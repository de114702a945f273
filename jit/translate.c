/* translate.c - one unit: where it starts, what it takes in, where it ends.
 *
 * A unit begins at a physical address and takes in guest instructions, in the order in which they stand, until
 *   - one ends it: an unconditional transfer, or one that only the interpreter can execute (`step`),
 *   - the page ends. An instruction on two pages begins a unit, which then depends on both (code_unit.crosses),
 *   - it is long enough, or too many operations have come together,
 *   - a conditional branch leads back: that is a loop's end, and what follows is probably not executed soon,
 *   - with super=off, any conditional branch.
 * In the last cases it ends with a jump to the instruction that follows. A unit that is made again as a superblock
 * (jit.super) goes on at the target of an unconditional jump that leads forward on the same page, and has short loops several
 * times.
 *
 * A unit that checks itself (selfcheck.c) ends behind an `interp`, too, and is made from a copy of the code.
 *
 * Chunks of 64 bytes are registered with codepages before they are read, as icache.c does.
 *
 * Counting (MODE_COUNT_INSNS): `count` stands where somebody can look: before a guest instruction that may leave for
 * the interpreter (those before it have run), and before an exit (it itself has run, too). The interpreter counts what
 * it executes for `step`; an `interp` is counted here, if the unit goes on behind it.
 */
#include <string.h>

#include "jit/jit_private.h"
#include "jit/translate.h"

enum { CHUNK = 64, MAX_LENGTH = 15 };
/* What one instruction may need at most. */
enum { ROOM_INS = 48, ROOM_TEMPS = 32 };

/* --- the families ------------------------------------------------------------------------------------------------- */

static tr_fn *by_row[2048];

static tr_fn *find(interp_fn *run, const struct tr_row *rows, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (rows[i].run == run)
            return rows[i].translate;
    return NULL;
}

__attribute__((constructor)) static void build_table(void)
{
    const struct { const struct tr_row *rows; unsigned count; } families[] = {
        { tr_alu_rows, tr_alu_count }, { tr_move_rows, tr_move_count }, { tr_shift_rows, tr_shift_count },
        { tr_bits_rows, tr_bits_count }, { tr_flow_rows, tr_flow_count }, { tr_stack_rows, tr_stack_count },
        { tr_string_rows, tr_string_count }, { tr_sys_rows, tr_sys_count },
    };
    assert(insn_row_count <= ARRAY_LEN(by_row));
    for (unsigned row = 0; row < insn_row_count; row++)
        for (unsigned i = 0; i < ARRAY_LEN(families) && !by_row[row]; i++)
            by_row[row] = find(insn_rows[row].run, families[i].rows, families[i].count);
}

tr_fn *translate_fn(const struct insn *in)
{
    tr_fn *fn = by_row[in->row];
    return fn ? fn : tr_insn_can(in) ? tr_insn : NULL;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

/* The code of the unit's page. Positions count from the unit's first byte and only grow. */
struct source {
    struct vcpu *c;
    gpa pa;
    const u8 *host;
    unsigned pos, room;     /* room: position of the page's end */
    unsigned marked;        /* registered up to there */
    bool unmarked;          /* not at all: the unit checks itself */
    gpa next_pa;            /* the page behind, */
    const u8 *next_host;    /* its bytes; NULL: not known */
};

static void mark_ahead(struct source *s)
{
    unsigned ahead = s->pos + MAX_LENGTH, want = ahead < s->room ? ahead : s->room;
    if (s->marked < s->pos)
        s->marked = s->pos;
    if (s->marked >= want || s->unmarked)
        return;
    unsigned end = (unsigned)(((s->pa + want + CHUNK - 1) & ~(gpa)(CHUNK - 1)) - s->pa);
    codepages_mark(s->c->mmu.phys, s->pa + s->marked, end - s->marked);
    s->marked = end;
}

/* What is no instruction: mode 0 says so (pass_flags.c). */
static enum decode_status decode(struct source *s, struct insn *in, unsigned mode)
{
    mark_ahead(s);
    enum decode_status status = insn_decode(in, s->host + s->pos, s->room - s->pos, mode, s->c->model.features);
    if (status == DECODE_UD || status == DECODE_TOO_LONG) {
        u8 len = in->len;
        memset(in, 0, sizeof(*in));
        in->len = len ? len : 1;
    }
    return status;
}

/* An instruction that ends on the next page. */
static enum decode_status decode_crossing(struct source *s, struct insn *in, unsigned mode)
{
    u8 bytes[2 * MAX_LENGTH];
    unsigned here = s->room - s->pos;
    if (!s->next_host || here >= MAX_LENGTH || s->unmarked)
        return DECODE_SHORT;
    codepages_mark(s->c->mmu.phys, s->next_pa, CHUNK);
    memcpy(bytes, s->host + s->pos, here);
    memcpy(bytes + here, s->next_host, MAX_LENGTH);
    return insn_decode(in, bytes, here + MAX_LENGTH, mode, s->c->model.features);
}

/* --- one instruction ---------------------------------------------------------------------------------------------- */

struct maker {
    struct trans t;
    struct source s;
    struct translate_result *r;
    unsigned uncounted;     /* instructions that have run since the last `count` */
};

enum outcome { GO_ON, COMPLETE /* an END operation is there */, STOP /* a jump to the next instruction is missing */ };

static enum tr_result not_for_us(struct trans *t, const char *reason)
{
    t->reason = reason;
    return TR_STEP;
}

static enum tr_result translate(struct trans *t, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    if (!in->mode)
        return not_for_us(t, "no such instruction");
    if (row->attr & ATTR_PRIV && t->mode & MODE_USER)
        return not_for_us(t, "privileged instruction in user mode");
    if ((row->attr & ATTR_PROT || in->vex) && !(t->mode & MODE_PROTECTED))
        return not_for_us(t, "not in real mode");
    tr_fn *fn = translate_fn(in);
    t->reason = row->name;
    if (fn)
        return fn(t, in);
    return row->attr & (ATTR_SYS | ATTR_BRANCH) ? TR_STEP : TR_INTERP;
}

/* Where it depends on a count which flags are defined or stay as they are, all of them count as written and as read. */
static void add_interp(struct trans *t, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    u16 maybe = row->attr & ATTR_CONDFL ? row->writes | row->undef : 0;
    struct ir_ins *ins = ir_add(t->u, IR_OP_interp, 0, IR_NONE, IR_NONE);
    ins->fdef = (row->writes | maybe) & IR_FLAGS;
    ins->fuse = (row->reads | maybe) & IR_FLAGS;
    t->needed = 0;
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static void insert_count(struct ir_unit *u, unsigned at, unsigned n, unsigned gi)
{
    if (!n)
        return;
    ir_add(u, IR_OP_count, 8, IR_NONE, IR_NONE)->imm = n;
    struct ir_ins count = u->ins[u->count - 1];
    count.gi = (u8)gi;
    memmove(&u->ins[at + 1], &u->ins[at], (u->count - 1u - at) * sizeof(struct ir_ins));
    u->ins[at] = count;
}

/* The operations from `first` on are the instruction's. */
static void count_insn(struct maker *m, unsigned first)
{
    struct ir_unit *u = m->t.u;
    bool may_leave = false;
    unsigned exit = u->count;
    for (unsigned i = u->count; i-- > first;) {
        const struct ir_ins *ins = &u->ins[i];
        may_leave |= ir_rows[ins->op].attr & IR_FAULT || ins->op == IR_OP_step;
        if (ir_rows[ins->op].attr & (IR_SIDE | IR_END) && ins->op != IR_OP_step)
            exit = i;
    }
    bool leaves = exit < u->count;
    if (leaves)
        insert_count(u, exit, may_leave ? 1 : m->uncounted + 1, m->t.gi);
    if (may_leave)
        insert_count(u, first, m->uncounted, m->t.gi);
    m->uncounted = leaves ? 0 : may_leave ? 1 : m->uncounted + 1;
}

/* --- going on ----------------------------------------------------------------------------------------------------- */

static unsigned max_guests(const struct jit *j)
{
    return j->max_guests && j->max_guests < IR_MAX_GUEST ? j->max_guests : IR_MAX_GUEST;
}

static bool leads_back(const struct trans *t, unsigned first)
{
    for (unsigned i = first; i < t->u->count; i++)
        if (ir_rows[t->u->ins[i].op].attr & IR_SIDE && t->u->ins[i].imm <= t->start)
            return true;
    return false;
}

static void add_range(struct translate_result *r, gpa at, unsigned bytes)
{
    struct code_range *last = r->ranges ? &r->range[r->ranges - 1] : NULL;
    for (unsigned i = 0; i < r->ranges; i++)        /* a loop's next copy */
        if (at >= r->range[i].at && at + bytes <= r->range[i].at + r->range[i].bytes)
            return;
    if (last && at >= last->at && at <= last->at + last->bytes)
        last->bytes = (u32)(at + bytes - last->at);
    else
        r->range[r->ranges++] = (struct code_range){ at, bytes };
}

/* A superblock goes on behind a jump that leads forward on the page: the jump is left out. Half of the ranges are for
 * those who look further ahead. */
static bool follow(struct maker *m)
{
    struct ir_unit *u = m->t.u;
    struct ir_ins *last = &u->ins[u->count - 1];
    s64 to = last->imm - (s64)(m->s.pa & ~PAGE_MASK);
    if (!m->t.j->super || last->op != IR_OP_jmp || to < m->t.end - (s64)(m->s.pa & ~PAGE_MASK) || to >= m->s.room ||
        m->r->ranges > CODE_RANGES / 2)
        return false;
    u->count--;
    m->s.pos = (unsigned)to;
    return true;
}

/* --- loops --------------------------------------------------------------------------------------------------------- */

enum { MAX_COPIES = 4, MAX_LOOP = 24 /* guest instructions */ };

/* Has the unit room for another copy of the instructions from the one at `offset` on? Found: how many those are. */
static bool copy_fits(const struct maker *m, s64 offset)
{
    const struct ir_unit *u = m->t.u;
    unsigned copies = 0, start = 0, limit = max_guests(m->t.j);
    for (unsigned g = 0; g < u->guests; g++)
        if (u->offset[g] == offset) {
            start = g;
            copies++;
        }
    unsigned guests = u->guests - start, first = 0;
    if (!copies || copies >= MAX_COPIES || guests > MAX_LOOP || u->guests + guests > limit)
        return false;
    while (u->ins[first].gi < start)
        first++;
    unsigned ops = u->count - first, pointers = 0;
    for (unsigned i = first; i < u->count; i++)
        pointers += u->ins[i].op == IR_OP_ptr;
    return pointers && u->count + ops + guests + ROOM_INS < IR_MAX_INS &&
           u->temps / copies + u->temps + ROOM_TEMPS < IR_MAX_TEMPS;
}

/* A superblock has a short loop's body several times, so that one check may do for several iterations: the branch back becomes an
 * exit on the opposite condition. */
static bool repeat(struct maker *m, unsigned first)
{
    struct ir_unit *u = m->t.u;
    struct ir_ins *last = &u->ins[u->count - 1];
    if (!m->t.j->super || m->t.j->self.on || m->t.code_size == 2 || u->full || last->imm > m->t.start ||
        !(ir_rows[last->op].attr & IR_SIDE))
        return false;
    for (unsigned i = first; i + 1u < u->count; i++)
        if (ir_rows[u->ins[i].op].attr & IR_SIDE)
            return false;
    if (!copy_fits(m, last->imm))
        return false;
    m->s.pos = (unsigned)(last->imm - (s64)(m->s.pa & ~PAGE_MASK));
    if (last->op == IR_OP_jcc)
        ir_set_cc(last, last->cc ^ 1u);
    else
        last->op = last->op == IR_OP_jz ? IR_OP_jnz : IR_OP_jz;
    last->imm = m->t.end;
    last->bits &= (u8)~(IR_POLL | IR_LIKELY);
    return true;
}

static enum outcome finish(struct maker *m, const struct insn *in, enum tr_result result, unsigned first)
{
    struct trans *t = &m->t;
    switch (result) {
    case TR_INTERP:
        stats_reason(t->j, t->reason);
        t->u->count = (u16)first;
        add_interp(t, in);
        return t->j->self.on ? STOP : GO_ON;
    case TR_STEP:
        stats_reason(t->j, t->reason);
        t->u->count = (u16)first;
        ir_add(t->u, IR_OP_step, 0, IR_NONE, IR_NONE);
        return COMPLETE;
    case TR_SIDE: return !t->opt->super || (leads_back(t, first) && !t->u->full && !repeat(m, first)) ? STOP : GO_ON;
    case TR_END: return COMPLETE;
    default: return GO_ON;
    }
}

/* Takes in the instruction at s.pos. */
static enum outcome append(struct maker *m)
{
    struct trans *t = &m->t;
    struct ir_unit *u = t->u;
    unsigned first = u->count, guests = u->guests;
    if (guests == max_guests(t->j) || m->s.pos >= m->s.room || u->count > IR_MAX_INS - ROOM_INS ||
        u->temps > IR_MAX_TEMPS - ROOM_TEMPS)
        return STOP;
    struct insn *in = &t->j->insn[guests];
    t->start = (s32)(m->s.pa & ~PAGE_MASK) + (s32)m->s.pos;
    t->end = t->start;
    t->reason = "instruction on two pages";
    bool crosses = decode(&m->s, in, t->code_size) == DECODE_SHORT;
    if (crosses && (guests || decode_crossing(&m->s, in, t->code_size) != DECODE_OK))
        return STOP;
    t->end += in->len;
    t->gi = guests;
    ir_guest(u, in, t->start, t->end);
    const unsigned shadow = t->shadow;
    t->shadow = 0;
    enum tr_result result = translate(t, in);
    if (result == TR_STEP && !guests && !in->mode)
        return STOP;
    const unsigned pos = m->s.pos;
    m->s.pos += in->len;
    enum outcome outcome = finish(m, in, result, first);
    if (u->full) {      /* it was more than ROOM_INS: the unit ends before it */
        u->full = false;
        m->s.pos = pos;
        t->shadow = (u16)shadow;
        u->count = (u16)first;
        u->guests = (u16)guests;
        t->reason = "too many operations";
        return STOP;
    }
    add_range(m->r, m->s.pa + pos, crosses ? m->s.room - pos : in->len);
    if (crosses) {
        m->r->crosses = true;
        m->r->range[m->r->ranges++] = (struct code_range){ m->s.next_pa, m->s.pos - m->s.room };
    }
    if (outcome == COMPLETE && result == TR_END && follow(m))
        outcome = GO_ON;
    if (t->mode & MODE_COUNT_INSNS)
        count_insn(m, first);
    return outcome;
}

/* An STI is the last instruction, so what follows it would be somewhere else. The count before it is that of others. */
static enum outcome leave_to_step(struct maker *m)
{
    struct ir_unit *u = m->t.u;
    u->count = (u16)(m->t.shadow - 1);
    if (u->ins[u->count].op == IR_OP_count)
        u->count++;
    ir_add(u, IR_OP_step, 0, IR_NONE, IR_NONE);
    return COMPLETE;
}

bool translate_unit(struct jit *j, struct vcpu *c, struct ir_unit *u, gpa pa, const u8 *host,
                    struct translate_result *r)
{
    u32 mode = j->mode & ((1u << MODE_BITS) - 1);
    struct maker m = {
        .t = { .u = u, .j = j, .opt = &j->opt, .mode = mode, .code_size = mode_code_size(mode) },
        .s = { .c = c, .pa = pa, .host = host, .room = PAGE_SIZE - (unsigned)(pa & ~PAGE_MASK), .next_pa = j->next_pa,
               .next_host = j->next_host },
        .r = r,
    };
    if (j->self.on) {
        m.s.unmarked = true;
        m.s.room = j->self.room;
    }
    enum outcome outcome;
    r->ranges = 0;
    r->crosses = false;
    ir_begin(u, mode);
    do
        outcome = append(&m);
    while (outcome == GO_ON);
    r->reason = m.t.reason;
    if (!r->ranges)
        return false;
    if (outcome == STOP && m.t.shadow)
        outcome = leave_to_step(&m);
    if (outcome == STOP) {
        if (mode & MODE_COUNT_INSNS)
            insert_count(u, u->count, m.uncounted, u->guests - 1u);
        m.t.start = u->offset[u->guests - 1];
        tr_goto(&m.t, (s64)(pa & ~PAGE_MASK) + m.s.pos);
    }
    return !u->full;
}
