/* pass_flags.c - which status flags somebody reads.
 *
 * Backward over the unit: a flag is live behind an operation if some way from there reads it before it is defined anew.
 * What ins.flive does not name the host may leave as it likes; code that keeps the guest's flags in the host's would
 * otherwise save and restore them around every address check.
 *
 * At the exits the unit's knowledge ends, and flags are nearly always dead there: the callee, the loop's head and
 * what follows a branch start with something that overwrites them. So where the target is known, its guest code is
 * decoded for a few instructions, through direct jumps and calls and both ways of one conditional branch. The unit
 * then depends on those bytes as it does on its own: they are marked as code before they are read, and their ranges
 * are recorded with the unit (pass_env.ranges), so that a write to them drops it. If there is no room for another
 * range, or the page is not the unit's own and not in the fetch TLB, all flags are live. Across pages the answer
 * holds for the page that is mapped there now; -accel jit,cross=off does without.
 *
 * Indirect exits, system instructions (which may push the flags) and, further ahead, 16-bit branches (their targets
 * wrap, depending on IP): all live.
 *
 * Undefined flags. What a guest instruction leaves undefined is dead before it and not in flive of its operations:
 * whatever the host makes of it will do. Shifts by a register (and rows with CONDFL) may write nothing at all: behind
 * them everything live stays live before them, and in flive; fuse says which flags go through them.
 *
 * Faults and interrupts store the flags in a frame. A flag that no instruction reads may be stale there, unless
 * exactflags is on: then every operation that can fault keeps and reads all flags, and so do all exits (interrupts
 * are taken there).
 *
 * flive of jcc, jz, jnz is what is live on either way; fexit is the exit alone.
 *
 * needs: fdef, fuse; guest[] and offset[] (where they are known)   sets: flive, fexit, flags_in; fuse exactly
 * breaks: nothing
 */
#include "jit/pass.h"

#include "cpu/interp.h"
#include "jit/jit_private.h"
#include "cpu/vcpu.h"

enum { LOOK_INSNS = 12, LOOK_FORKS = 1, MAX_LENGTH = 15, CHUNK_SHIFT = 6 };

/* --- guest code beyond the exits --- */

struct look {
    const struct ir_unit *u;
    struct pass_env *env;
    bool far;               /* linear is good: the address of the unit's page, where the vCPU has it mapped */
    gla linear;
    s32 page;               /* the page read last, counted from the unit's; NULL: none yet; physical address */
    const u8 *host;
    gpa pa;
    u64 marked;             /* its chunks that are marked as code */
};

static void look_begin(struct look *l, const struct ir_unit *u, struct pass_env *env)
{
    *l = (struct look){ .u = u, .env = env };
    if (!env->opt->cross || !env->c)
        return;
    gpa pa;
    gla at = mode_code_size(u->mode) == 8 ? env->c->rip : (u32)(env->c->seg[SEG_CS].base + env->c->rip);
    l->far = mmu_fetch_hit(&env->c->mmu, at, &pa) && pa == env->pa;
    l->linear = at & PAGE_MASK;
}

static bool look_page(struct look *l, s32 page)
{
    if (l->host && l->page == page)
        return true;
    l->page = page;
    l->marked = 0;
    l->host = NULL;
    if (page == 0) {
        l->pa = l->env->pa & PAGE_MASK;
        l->host = l->env->host - (l->env->pa & ~PAGE_MASK);
        return true;
    }
    gla at = l->linear + (u64)(s64)page * PAGE_SIZE;
    if (mode_code_size(l->u->mode) != 8)
        at = (u32)at;
    if (!l->far || !mmu_fetch_hit(&l->env->c->mmu, at, &l->pa))
        return false;
    l->host = mmu_fetch_host(&l->env->c->mmu, at);
    return true;
}

static void look_mark(struct look *l, unsigned offset, unsigned bytes)
{
    unsigned first = offset >> CHUNK_SHIFT, last = (offset + bytes - 1) >> CHUNK_SHIFT;
    u64 chunks = (u64)1 << first | (u64)1 << last;     /* an instruction lies in two at most */
    if ((l->marked & chunks) == chunks)
        return;
    codepages_mark(l->env->c->mmu.phys, l->pa + offset, bytes);
    l->marked |= chunks;
}

static bool extend_range(struct translate_result *r, gpa first, gpa end, unsigned gap)
{
    for (unsigned i = 0; i < r->ranges; i++) {
        struct code_range *x = &r->range[i];
        gpa x_end = x->at + x->bytes;
        if ((x->at & PAGE_MASK) != (first & PAGE_MASK) || first > x_end + gap || end + gap < x->at)
            continue;
        gpa low = first < x->at ? first : x->at, high = end > x_end ? end : x_end;
        *x = (struct code_range){ low, (u32)(high - low) };
        return true;
    }
    return false;
}

/* Two ranges with less than an instruction between them are one; when there are no more, also with more between. */
static bool add_range(struct translate_result *r, gpa first, unsigned bytes)
{
    if (extend_range(r, first, first + bytes, MAX_LENGTH))
        return true;
    if (r->ranges == CODE_RANGES)
        return extend_range(r, first, first + bytes, 256);
    r->range[r->ranges++] = (struct code_range){ first, bytes };
    return true;
}

/* The guest instruction at an offset, NULL if there is no knowing. The unit's own are decoded already. */
static const struct insn *look_insn(struct look *l, s32 offset, struct insn *buf)
{
    const struct ir_unit *u = l->u;
    for (unsigned g = 0; g < u->guests; g++)
        if (u->offset[g] == offset && u->guest[g])
            return u->guest[g]->mode ? u->guest[g] : NULL;     /* mode 0: stands for bytes that are no instruction */
    if (!l->env->host || !l->env->c || !look_page(l, offset >> PAGE_SHIFT))
        return NULL;
    unsigned at = (unsigned)offset & (PAGE_SIZE - 1), avail = PAGE_SIZE - at;
    if (avail > MAX_LENGTH)
        avail = MAX_LENGTH;
    if (l->env->j && self_wanted(l->env->j, l->pa))
        return NULL;
    look_mark(l, at, avail);
    if (insn_decode(buf, l->host + at, avail, mode_code_size(u->mode), l->env->c->model.features) != DECODE_OK)
        return NULL;
    return add_range(l->env->ranges, l->pa + at, buf->len) ? buf : NULL;
}

static bool is_shift_count(const struct insn *in, unsigned i)
{
    return in->op[i].kind == OP_IMM && in->op[i].reg == 0 && in->imm & (in->op[0].size == 8 ? 63 : 31);
}

/* It may leave all flags as they are. */
static bool may_keep_flags(const struct insn *in)
{
    u32 attr = insn_rows[in->row].attr;
    if (!(attr & ATTR_CONDFL))
        return false;
    if (attr & ATTR_STRING)
        return in->rep != REP_NONE;
    return !is_shift_count(in, 1) && !is_shift_count(in, 2);
}

/* Flags that guest code at an offset may read before it writes them. */
static u16 look_ahead(struct look *l, s32 offset, unsigned budget, unsigned forks)
{
    u16 live = 0, open = IR_FLAGS;
    while (open & ~live && budget--) {
        struct insn buf;
        const struct insn *in = look_insn(l, offset, &buf);
        if (!in)
            break;
        const struct insn_row *row = &insn_rows[in->row];
        live |= open & (row->attr & ATTR_CC ? ir_cc_flags(in->imm2) : row->reads);
        if (row->attr & ATTR_SYS)
            break;
        if (!may_keep_flags(in))
            open &= (u16)~(row->writes | row->undef);
        s64 next = (s64)offset + in->len;
        if (row->attr & ATTR_BRANCH) {
            s64 target = next + (s64)in->imm;
            if (in->op[0].kind != OP_REL || in->opsize == 2 || target != (s32)target)
                break;
            if (row->run == in_jmp || row->run == in_call) {
                next = target;
            } else {
                if (!forks)
                    break;
                live |= open & look_ahead(l, (s32)target, budget, --forks);
            }
        }
        if (next != (s32)next)
            break;
        offset = (s32)next;
    }
    return live | open;
}

/* --- the unit --- */

static bool has_target(unsigned op)
{
    return op == IR_OP_jcc || op == IR_OP_jz || op == IR_OP_jnz || op == IR_OP_jmp || op == IR_OP_call;
}

static u16 target_live(struct look *l, const struct ir_ins *ins)
{
    const struct jit_options *opt = l->env->opt;
    if (!opt->liveness || l->env->keep_flags || opt->exactflags || ins->imm != (s32)ins->imm)
        return IR_FLAGS;
    return look_ahead(l, (s32)ins->imm, LOOK_INSNS, LOOK_FORKS);
}

static bool is_shift(unsigned op) { return op >= IR_OP_shl && op <= IR_OP_shrd; }
static_assert(IR_OP_shrd - IR_OP_shl == 8, "shl shr sar rol ror rcl rcr shld shrd");

static ir_val shift_count(const struct ir_ins *ins)
{
    return ins->op == IR_OP_shld || ins->op == IR_OP_shrd ? ins->b : ins->a;
}

static const struct insn *guest_of(const struct ir_unit *u, const struct ir_ins *ins)
{
    return ins->gi < u->guests ? u->guest[ins->gi] : NULL;
}

/* The operation may leave all flags as they are. */
static bool op_may_keep(const struct ir_unit *u, const struct ir_ins *ins)
{
    if (is_shift(ins->op))
        return shift_count(ins) != IR_IMM;
    const struct insn *in = guest_of(u, ins);
    return (ins->op == IR_OP_insn || ins->op == IR_OP_interp) && in && may_keep_flags(in);
}

/* Flags that its guest instruction leaves undefined. */
static u16 undefined_by(const struct ir_unit *u, const struct ir_ins *ins)
{
    const struct insn *in = guest_of(u, ins);
    if (!in || !in->mode || may_keep_flags(in))
        return 0;
    /* Shifts by an immediate 1 define OF like those whose opcode says 1. */
    bool once = is_shift(ins->op) && shift_count(ins) == IR_IMM && ins->imm == 1;
    return insn_rows[in->row].undef & (u16)~(once ? IR_O : 0);
}

/* Flags that it reads if `live` are read later. */
static u16 op_reads(const struct ir_unit *u, const struct ir_ins *ins, u16 live)
{
    if (ir_rows[ins->op].fr == IR_MASK_CC)
        return ir_cc_flags(ins->cc);
    if (!op_may_keep(u, ins))
        return ins->fuse;
    /* fuse has flags that go through it as well */
    u16 reads = is_shift(ins->op) ? (ins->op == IR_OP_rcl || ins->op == IR_OP_rcr ? IR_C : 0)
                                  : insn_rows[guest_of(u, ins)->row].reads & IR_FLAGS;
    return ins->fuse & (reads | live);
}

static u16 live_before(const struct ir_unit *u, const struct ir_ins *ins, u16 live, bool exact)
{
    if (exact && ir_rows[ins->op].attr & IR_FAULT)
        return IR_FLAGS;
    if (!op_may_keep(u, ins))
        live &= (u16)~ins->fdef;
    return live | ins->fuse;
}

void pass_flags_within(struct ir_unit *u, bool exact)
{
    u16 live = IR_FLAGS;
    int gi = -1;
    for (unsigned i = u->count; i-- > 0;) {
        struct ir_ins *ins = &u->ins[i];
        if (ins->gi != gi)      /* the last operation of a guest instruction */
            live &= (u16)~undefined_by(u, ins);
        gi = ins->gi;
        if (has_target(ins->op))
            live = ir_rows[ins->op].attr & IR_END ? ins->fexit : live | ins->fexit;
        if (exact && ir_rows[ins->op].attr & IR_FAULT)
            live = IR_FLAGS;    /* behind it, too: its check must not spoil what leaving shows */
        ins->flive = live;
        ins->fuse = op_reads(u, ins, live);
        live = live_before(u, ins, live, exact);
    }
    u->flags_in = live;
}

void pass_flags(struct ir_unit *u, struct pass_env *env)
{
    struct look l;
    look_begin(&l, u, env);
    for (unsigned i = 0; i < u->count; i++)
        if (has_target(u->ins[i].op))
            u->ins[i].fexit = target_live(&l, &u->ins[i]);
    pass_flags_within(u, env->opt->exactflags);
}
