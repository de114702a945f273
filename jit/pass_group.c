/* pass_group.c - one address check for several accesses off the same base.
 *
 * What costs in an access is the check (ptr), not the access. Code pushes, saves and reloads around one stack
 * pointer, and reads field after field of one structure. If the addresses of several ptr differ only by constants and
 * lie within GROUP_SPAN bytes, the first ptr can check the whole span, and the others go:
 *
 *   t0 = ptr.8 [rsp - 8]   write          t0 = ptr.16 [rsp - 16]  write
 *   mov.8 [t0] = rax                      mov.8 [t0 + 8] = rax
 *   lea.8 rsp = [rsp - 8]            ->   lea.8 rsp = [rsp - 8]
 *   t1 = ptr.8 [rsp - 8]   write
 *   mov.8 [t1] = rbx                      mov.8 [t0] = rbx
 *   lea.8 rsp = [rsp - 8]                 lea.8 rsp = [rsp - 8]
 *
 * Why that is right. ptr succeeds only if all its bytes are on one page of RAM that allows the access; within a unit
 * nothing can change that but what ends a group here (interp, system fields). If the larger span fails where the
 * first access alone would not, the unit leaves needlessly, for one guest instruction; that costs time, not
 * exactness. A member behind a side exit may not be executed: its bytes were checked for nothing.
 *
 * Reads and writes. A read may use a pointer that was checked for writing. A pointer for a read must not ask for
 * write access, since the page may be read-only for good, unless a write is certain to follow: no exit between.
 *
 * Addresses are followed as (root, displacement): each guest register and temporary starts as a root of its own,
 * moves and sums pass it on, any other write makes a new root. A register and an index with its scale are a root, too. Segments need not be equal but flat (base 0, no limit,
 * no alignment checks, no data breakpoints: all in the mode word); so an address that wraps at its width is at a
 * page's end, and the check fails. Accesses that must be aligned keep their own ptr.
 *
 * Of the groups that overlap those with most members have their pointer in a host register from guest instruction to guest
 * instruction, no more than pass_env.group_pointers at a time. Others keep it in memory, pass_env.kept_pointers at a time: each
 * member's ptr becomes `again`, which costs a load that waits for nothing.
 *
 * A group that turned out to straddle pages is not made again: pass_env.no_group.
 *
 * needs: nothing (fold makes addresses comparable)   breaks: nothing
 */
#include "jit/pass.h"

#include <string.h>

enum { GROUP_SPAN = 128, MAX_ACCESSES = 96, MAX_PAIRS = 32, NO_GROUP = 255 };

enum holder { NOT_CHOSEN, IN_REGISTER, IN_MEMORY };

struct place { u16 root; s64 disp; };

struct member {
    u16 at, last_use;       /* the ptr; the last operation that uses it */
    u8 group, next;         /* next: member of the same group, NO_GROUP: the last */
    s64 place;
};

struct group {
    u16 root, epoch, exits; /* exits: how many had been passed when it began */
    u16 first, last;        /* operations: its ptr; last use of a member */
    u8 addrsize, access, seg;   /* seg: of a write, if there is one (CS is flat for reads only) */
    u8 members, head, tail; /* accesses */
    u8 chosen;              /* enum holder */
    s64 low, high;          /* places */
};

/* Two registers and how they are added: the root of addresses with an index. */
struct pair { u16 a, b; u8 scale; u16 root; };

struct grouping {
    struct ir_unit *u;
    struct place value[IR_T + IR_MAX_TEMPS];
    u16 roots, epoch, exits;
    unsigned accesses, groups, pairs;
    struct pair pair[MAX_PAIRS];
    struct member access[MAX_ACCESSES];
    struct group group[MAX_ACCESSES];
    u16 last_use[IR_MAX_TEMPS];         /* as a pointer */
    bool other_use[IR_MAX_TEMPS];       /* the pointer itself is read */
};

/* --- where registers point --- */

static void new_root(struct grouping *g, ir_val v) { g->value[v] = (struct place){ .root = g->roots++ }; }

static void new_epoch(struct grouping *g)
{
    g->epoch++;
    for (unsigned r = 0; r < 16; r++)
        new_root(g, (ir_val)(IR_G + r));
    new_root(g, IR_PC);
    new_root(g, IR_NONE);
    g->pairs = 0;
}

static bool has_place(ir_val v) { return ir_is_gpr(v) || ir_is_temp(v) || v == IR_PC; }
static bool is_place(ir_val v) { return v == IR_NONE || has_place(v); }

static u16 root_of_pair(struct grouping *g, u16 a, u16 b, u8 scale)
{
    for (unsigned i = 0; i < g->pairs; i++)
        if (g->pair[i].a == a && g->pair[i].b == b && g->pair[i].scale == scale)
            return g->pair[i].root;
    if (g->pairs < MAX_PAIRS)
        g->pair[g->pairs++] = (struct pair){ a, b, scale, g->roots };
    return g->roots++;
}

/* Where the bytes of a ptr are. */
static struct place place_of(struct grouping *g, const struct ir_ins *ins)
{
    struct place p = g->value[ins->a];
    if (ins->b != IR_NONE) {
        const struct place *index = &g->value[ins->b];
        p.root = root_of_pair(g, p.root, index->root, ins->scale);
        p.disp = (s64)((u64)p.disp + ((u64)index->disp << ins->scale));
    }
    p.disp = (s64)((u64)p.disp + (u64)(s64)ins->disp);
    return p;
}

/* What the operation makes of d as a place, if it is a move, a sum or a step. */
static bool result_place(const struct grouping *g, const struct ir_ins *ins, struct place *p)
{
    ir_val from = ins->op == IR_OP_mov || ins->op == IR_OP_lea ? ins->a : ins->d;
    if (!has_place(ins->d) || !has_place(from) || ins->size < (mode_code_size(g->u->mode) == 8 ? 8 : 4))
        return false;       /* an address may be wider */
    *p = g->value[from];
    switch (ins->op) {
    case IR_OP_mov: return true;
    case IR_OP_lea: p->disp += ins->disp; return ins->b == IR_NONE;
    case IR_OP_add: p->disp += ins->imm; return ins->a == IR_IMM && pass_fits(ins->imm);
    case IR_OP_sub: p->disp -= ins->imm; return ins->a == IR_IMM && pass_fits(ins->imm);
    case IR_OP_inc: p->disp++; return true;
    case IR_OP_dec: p->disp--; return true;
    default: return false;
    }
}

static void follow(struct grouping *g, const struct ir_ins *ins)
{
    struct place p;
    if (result_place(g, ins, &p)) {
        g->value[ins->d] = p;
        return;
    }
    for (u32 set = pass_gpr_written(ins); set; set &= set - 1)
        new_root(g, (ir_val)(IR_G + __builtin_ctz(set)));
    for (unsigned set = ins->op == IR_OP_insn ? 15 : ir_rows[ins->op].written; set; set &= set - 1) {
        ir_val v = pass_value(ins, (unsigned)__builtin_ctz(set));
        if (ir_is_temp(v))
            new_root(g, v);
    }
}

/* Something that the guest's addresses mean may change here. */
static bool ends_groups(const struct ir_ins *ins)
{
    if (ins->op == IR_OP_put)
        return ins->row != IR_FIELD_x87_sw && ins->row != IR_FIELD_x87_cw && ins->row != IR_FIELD_mxcsr;
    return ins->op == IR_OP_interp || ins->op == IR_OP_step;
}

/* --- making groups --- */

static void find_uses(struct grouping *g)
{
    memset(g->other_use, 0, g->u->temps * sizeof(g->other_use[0]));
    for (unsigned i = 0; i < g->u->count; i++) {
        const struct ir_ins *ins = &g->u->ins[i];
        for (unsigned k = 0; k < 4; k++) {
            ir_val v = pass_value(ins, k);
            if (ir_is_temp(v) && (k != 0 || ins->op != IR_OP_ptr))
                g->other_use[v - IR_T] = true;
        }
        if (ins->op == IR_OP_again)
            g->other_use[ins->p - IR_T] = true;
        if (ins->op == IR_OP_ptr)
            g->last_use[ins->d - IR_T] = (u16)i;
        if (ir_is_temp(ins->p))
            g->last_use[ins->p - IR_T] = (u16)i;
    }
}

static bool can_group(const struct grouping *g, const struct ir_ins *ins)
{
    return ins->op == IR_OP_ptr && is_place(ins->a) && is_place(ins->b) && ir_is_temp(ins->d) &&
           !(ins->bits & (IR_ALIGN | IR_TLB)) && mode_flat_for(g->u->mode, ins->size2, ins->cc) &&
           ins->size <= GROUP_SPAN && !g->other_use[ins->d - IR_T];
}

static bool joins(const struct grouping *g, const struct group *x, const struct ir_ins *ins, struct place p)
{
    s64 low = p.disp < x->low ? p.disp : x->low, high = p.disp + ins->size > x->high ? p.disp + ins->size : x->high;
    if (x->root != p.root || x->epoch != g->epoch || x->addrsize != ins->addrsize ||
        high - low > GROUP_SPAN)
        return false;
    if (!pass_fits(g->u->ins[x->first].disp + (low - g->access[x->head].place)))
        return false;
    return ins->cc == IR_READ || x->access != IR_READ || x->exits == g->exits;
}

static void join(struct grouping *g, unsigned n, unsigned a, const struct ir_ins *ins)
{
    struct group *x = &g->group[n];
    struct member *m = &g->access[a];
    m->group = (u8)n;
    g->access[x->tail].next = (u8)a;
    x->tail = (u8)a;
    x->members++;
    if (m->place < x->low)
        x->low = m->place;
    if (m->place + ins->size > x->high)
        x->high = m->place + ins->size;
    if (m->last_use > x->last)
        x->last = m->last_use;
    if (x->access == IR_READ && ins->cc != IR_READ)
        x->seg = ins->size2;
    if (ins->cc != x->access)
        x->access = x->access == IR_WRITE && ins->cc == IR_READ ? IR_WRITE : IR_RW;
}

static void add_access(struct grouping *g, unsigned i)
{
    const struct ir_ins *ins = &g->u->ins[i];
    if (g->accesses == MAX_ACCESSES)
        return;
    unsigned a = g->accesses++;
    struct place p = place_of(g, ins);
    g->access[a] = (struct member){ (u16)i, g->last_use[ins->d - IR_T], NO_GROUP, NO_GROUP, p.disp };
    for (unsigned n = g->groups; n-- > 0;)
        if (joins(g, &g->group[n], ins, p)) {
            join(g, n, a, ins);
            return;
        }
    g->access[a].group = (u8)g->groups;
    g->group[g->groups++] = (struct group){
        .root = p.root, .epoch = g->epoch, .exits = g->exits, .first = (u16)i, .last = g->access[a].last_use,
        .addrsize = ins->addrsize, .access = ins->cc, .seg = ins->size2, .members = 1, .head = (u8)a, .tail = (u8)a,
        .low = g->access[a].place, .high = g->access[a].place + ins->size };
}

static void find_groups(struct grouping *g)
{
    g->roots = g->epoch = g->exits = 0;
    g->accesses = g->groups = 0;
    new_epoch(g);
    for (unsigned i = 0; i < g->u->count; i++) {
        const struct ir_ins *ins = &g->u->ins[i];
        if (can_group(g, ins))
            add_access(g, i);
        if (ends_groups(ins))
            new_epoch(g);
        else
            follow(g, ins);
        g->exits += (ir_rows[ins->op].attr & IR_SIDE) != 0;
    }
}

/* --- choosing and rewriting --- */

/* At most `limit` groups may have such a holder at any operation: the one that begins last among those that overlap sees them
 * all. */
static bool fits_in(const struct grouping *g, const struct group *x, enum holder holder, unsigned limit)
{
    for (unsigned k = 0; k <= g->groups; k++) {
        const struct group *y = k < g->groups ? &g->group[k] : x;
        if ((y != x && y->chosen != holder) || y->first > x->last || y->last < x->first)
            continue;
        unsigned at = y->first > x->first ? y->first : x->first, live = 0;
        for (unsigned j = 0; j < g->groups; j++)
            live += g->group[j].chosen == holder && g->group[j].first <= at && at <= g->group[j].last;
        if (live >= limit)
            return false;
    }
    return true;
}

static void choose(struct grouping *g, enum holder holder, unsigned limit, u64 no_group)
{
    unsigned most = 0;
    for (unsigned n = 0; n < g->groups && limit; n++)
        if (!g->group[n].chosen && g->group[n].members > most)
            most = g->group[n].members;
    for (; most >= 2; most--)
        for (unsigned n = 0; n < g->groups; n++) {
            struct group *x = &g->group[n];
            if (x->members == most && !x->chosen &&
                !(no_group & jit_group_bit(g->u->offset[g->u->ins[x->first].gi])) && fits_in(g, x, holder, limit))
                x->chosen = (u8)holder;
        }
}

/* The pointer that replaces each temporary, and what to add to displacements off it. */
struct moved { ir_val to; s32 add; };

/* May the pointer lead to a copy of the bytes, where they straddle two pages? Not if something is stored meanwhile, nor if so many
 * other copies are made that it is used again. */
static bool copy_will_do(const struct grouping *g, const struct group *x)
{
    unsigned pointers = 0;
    for (unsigned i = x->first; i <= x->last; i++) {
        const struct ir_ins *ins = &g->u->ins[i];
        if (pass_removed(ins))
            continue;
        const u8 *role = ir_rows[ins->op].role;
        for (unsigned k = 0; k < 4; k++)
            if (pass_value(ins, k) == IR_MEM && (role[k] == IR_ROLE_W || role[k] == IR_ROLE_X))
                return false;
        pointers += ins->op == IR_OP_ptr;
    }
    return x->access == IR_READ && pointers < JIT_STRADDLES;
}

static void reload(struct ir_ins *ins, ir_val first, u8 size)
{
    *ins = (struct ir_ins){ .op = IR_OP_again, .size = size, .gi = ins->gi, .d = ins->d, .a = IR_MEM, .p = first, .flive = ins->flive };
}

static void rewrite(struct grouping *g, const struct group *x, struct moved *moved)
{
    struct ir_ins *first = &g->u->ins[x->first];
    for (unsigned a = x->head; a != NO_GROUP; a = g->access[a].next) {
        struct ir_ins *ins = &g->u->ins[g->access[a].at];
        ir_val to = x->chosen == IN_REGISTER ? first->d : ins->d;
        moved[ins->d - IR_T] = (struct moved){ to, (s32)(g->access[a].place - x->low) };
        if (ins != first && x->chosen == IN_REGISTER)
            pass_remove(ins);
        else if (ins != first)
            reload(ins, first->d, (u8)(x->high - x->low));
    }
    first->disp += (s32)(x->low - g->access[x->head].place);
    first->size = (u8)(x->high - x->low);
    first->cc = x->access;
    first->size2 = x->seg;
    if (!copy_will_do(g, x))
        first->bits |= IR_SPAN;
}

static bool several_accesses(const struct ir_unit *u)
{
    unsigned n = 0;
    for (unsigned i = 0; i < u->count && n < 2; i++)
        n += u->ins[i].op == IR_OP_ptr;
    return n == 2;
}

void pass_group(struct ir_unit *u, struct pass_env *env)
{
    struct grouping g;
    struct moved moved[IR_MAX_TEMPS];
    bool any = false;
    if (!env->opt->group || env->group_pointers + env->kept_pointers == 0 || !several_accesses(u))
        return;
    g.u = u;
    find_uses(&g);
    find_groups(&g);
    choose(&g, IN_REGISTER, env->group_pointers, env->no_group);
    choose(&g, IN_MEMORY, env->kept_pointers, env->no_group);
    memset(moved, 0, u->temps * sizeof(moved[0]));
    for (unsigned n = 0; n < g.groups; n++)
        if (g.group[n].chosen) {
            rewrite(&g, &g.group[n], moved);
            any = true;
        }
    if (!any)
        return;
    for (unsigned i = 0; i < u->count; i++) {
        struct ir_ins *ins = &u->ins[i];
        if (!ir_is_temp(ins->p) || ins->op == IR_OP_again || !moved[ins->p - IR_T].to)
            continue;
        ins->disp += moved[ins->p - IR_T].add;
        ins->p = moved[ins->p - IR_T].to;
    }
    pass_compact(u);
}
