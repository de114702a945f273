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
 * moves and sums pass it on, any other write makes a new root. Segments need not be equal but flat (base 0, no limit,
 * no alignment checks, no data breakpoints: all in the mode word); so an address that wraps at its width is at a
 * page's end, and the check fails. Accesses that must be aligned keep their own ptr.
 *
 * A grouped pointer lives from guest instruction to guest instruction and holds a host register meanwhile: no more than
 * pass_env.group_pointers at a time. Of groups that overlap those with most members win.
 *
 * needs: nothing (fold makes addresses comparable)   breaks: nothing
 */
#include "jit/pass.h"

#include <string.h>

enum { GROUP_SPAN = 128, MAX_ACCESSES = 96, NO_GROUP = 255 };

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
    bool chosen;
    s64 low, high;          /* places */
};

struct grouping {
    struct ir_unit *u;
    struct place value[IR_T + IR_MAX_TEMPS];
    u16 roots, epoch, exits;
    unsigned accesses, groups;
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
}

static bool has_place(ir_val v) { return ir_is_gpr(v) || ir_is_temp(v); }

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
        if (ins->op == IR_OP_ptr)
            g->last_use[ins->d - IR_T] = (u16)i;
        if (ir_is_temp(ins->p))
            g->last_use[ins->p - IR_T] = (u16)i;
    }
}

static bool can_group(const struct grouping *g, const struct ir_ins *ins)
{
    return ins->op == IR_OP_ptr && ins->b == IR_NONE && has_place(ins->a) && ir_is_temp(ins->d) &&
           !(ins->bits & (IR_ALIGN | IR_TLB)) && mode_flat_for(g->u->mode, ins->size2, ins->cc) &&
           ins->size <= GROUP_SPAN && !g->other_use[ins->d - IR_T];
}

static bool joins(const struct grouping *g, const struct group *x, const struct ir_ins *ins, s64 place)
{
    s64 low = place < x->low ? place : x->low, high = place + ins->size > x->high ? place + ins->size : x->high;
    if (x->root != g->value[ins->a].root || x->epoch != g->epoch || x->addrsize != ins->addrsize ||
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
    const struct place *p = &g->value[ins->a];
    g->access[a] = (struct member){ (u16)i, g->last_use[ins->d - IR_T], NO_GROUP, NO_GROUP, p->disp + ins->disp };
    for (unsigned n = g->groups; n-- > 0;)
        if (joins(g, &g->group[n], ins, g->access[a].place)) {
            join(g, n, a, ins);
            return;
        }
    g->access[a].group = (u8)g->groups;
    g->group[g->groups++] = (struct group){
        .root = p->root, .epoch = g->epoch, .exits = g->exits, .first = (u16)i, .last = g->access[a].last_use,
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

/* At most `limit` chosen groups may hold a pointer at any operation: the one that begins last among those that overlap
 * sees them all. */
static bool fits_in(const struct grouping *g, const struct group *x, unsigned limit)
{
    for (unsigned k = 0; k <= g->groups; k++) {
        const struct group *y = k < g->groups ? &g->group[k] : x;
        if ((y != x && !y->chosen) || y->first > x->last || y->last < x->first)
            continue;
        unsigned at = y->first > x->first ? y->first : x->first, live = 0;
        for (unsigned j = 0; j < g->groups; j++)
            live += g->group[j].chosen && g->group[j].first <= at && at <= g->group[j].last;
        if (live >= limit)
            return false;
    }
    return true;
}

static void choose(struct grouping *g, unsigned limit)
{
    unsigned most = 0;
    for (unsigned n = 0; n < g->groups; n++)
        if (g->group[n].members > most)
            most = g->group[n].members;
    for (; most >= 2; most--)
        for (unsigned n = 0; n < g->groups; n++)
            if (g->group[n].members == most && fits_in(g, &g->group[n], limit))
                g->group[n].chosen = true;
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

static void rewrite(struct grouping *g, const struct group *x, struct moved *moved)
{
    struct ir_ins *first = &g->u->ins[x->first];
    for (unsigned a = x->head; a != NO_GROUP; a = g->access[a].next) {
        struct ir_ins *ins = &g->u->ins[g->access[a].at];
        moved[ins->d - IR_T] = (struct moved){ first->d, (s32)(g->access[a].place - x->low) };
        if (ins != first)
            pass_remove(ins);
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
    if (!env->opt->group || !env->group_pointers || !several_accesses(u))
        return;
    g.u = u;
    find_uses(&g);
    find_groups(&g);
    choose(&g, env->group_pointers);
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
        if (!ir_is_temp(ins->p) || !moved[ins->p - IR_T].to)
            continue;
        ins->disp += moved[ins->p - IR_T].add;
        ins->p = moved[ins->p - IR_T].to;
    }
    pass_compact(u);
}
