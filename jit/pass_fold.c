/* pass_fold.c - constants, copies and sums go into the operations that use them.
 *
 * One walk forward keeps for each temporary what it is made of, if that is simple: an immediate, a guest register, or a
 * guest register (or the PC) plus a displacement. A use is rewritten where
 *
 *   copy        t = mov.s r        t -> r         in any operand that is only read, at a width up to s (movzx: from s)
 *   constant    t = mov.s imm      t -> imm       in `a` of moves and arithmetic; at 8 bytes what 32 bits can say
 *   sum         t = lea.s [r + n]  [t + m] -> [r + (n + m)]     in lea and ptr, addresses up to s wide
 *
 * and r still has the value that it had (each write of a guest register gives it a new version). Pass dead takes out
 * the definitions that nobody uses then. Sums in ptr also let pass group see which accesses are close to each other.
 *
 * Then what has become simpler is: lea [r] is a move, lea [n] a constant, mov.8 r, r nothing. And a temporary that is
 * only carried into a guest register (POP: loaded before RSP changes, since the load may fault) is made there at
 * once, if nothing between looks at that register or could leave the unit.
 *
 * needs: nothing   breaks: nothing (no flags are touched, no operation that can leave moves)
 */
#include "jit/pass.h"

#include <string.h>

enum kind { UNKNOWN, CONSTANT, SUM };       /* a copy is a sum with 0 */
struct value { u8 kind, size; ir_val base; u16 version; s32 disp; s64 imm; };

struct fold {
    struct ir_unit *u;
    u16 version[16];                        /* of guest registers */
    struct value value[IR_MAX_TEMPS];
    u16 defined_at[IR_MAX_TEMPS];
    u16 uses[IR_MAX_TEMPS];
};

static u16 version_of(const struct fold *f, ir_val base) { return ir_is_gpr(base) ? f->version[base - IR_G] : 0; }

/* What t is, if that still holds. */
static const struct value *value_of(const struct fold *f, ir_val t)
{
    if (!ir_is_temp(t))
        return NULL;
    const struct value *v = &f->value[t - IR_T];
    if (v->kind == UNKNOWN || (v->kind == SUM && v->version != version_of(f, v->base)))
        return NULL;
    return v;
}

static void define(struct fold *f, const struct ir_ins *ins)
{
    if (!ir_is_temp(ins->d))
        return;
    struct value *v = &f->value[ins->d - IR_T];
    *v = (struct value){ .kind = UNKNOWN, .size = ins->size };
    if (ins->op == IR_OP_mov && ins->a == IR_IMM) {
        v->kind = CONSTANT;
        v->imm = ins->imm;
    } else if ((ins->op == IR_OP_mov && ir_is_gpr(ins->a)) ||
               (ins->op == IR_OP_lea && ins->b == IR_NONE && (ir_is_gpr(ins->a) || ins->a == IR_PC))) {
        v->kind = SUM;
        v->base = ins->a;
        v->version = version_of(f, ins->a);
        v->disp = ins->op == IR_OP_lea ? ins->disp : 0;
    } else if (ins->op == IR_OP_movzx && ir_is_gpr(ins->a)) {
        v->kind = SUM;
        v->size = ins->size2;
        v->base = ins->a;
        v->version = version_of(f, ins->a);
    }
}

/* --- uses --- */

/* How many bytes of operand i the operation looks at; 0: do not touch it. */
static unsigned width_read(const struct ir_ins *ins, unsigned i)
{
    switch (ins->op) {
    case IR_OP_insn: return 0;
    case IR_OP_movzx: case IR_OP_movsx: return ins->size2;
    case IR_OP_ptr: return ins->addrsize;
    case IR_OP_shl: case IR_OP_shr: case IR_OP_sar: case IR_OP_rol: case IR_OP_ror: case IR_OP_rcl: case IR_OP_rcr:
        return 1;
    case IR_OP_shld: case IR_OP_shrd: return i == 2 ? 1 : ins->size;
    case IR_OP_put: case IR_OP_putfl: return 8;
    default: return ir_rows[ins->op].attr & IR_END ? 0 : ins->size;
    }
}

static bool takes_constant(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_OP_mov: case IR_OP_add: case IR_OP_or: case IR_OP_adc: case IR_OP_sbb: case IR_OP_and: case IR_OP_sub:
    case IR_OP_xor: case IR_OP_cmp: case IR_OP_test:
        return true;
    default:
        return false;
    }
}

static void use_constant(struct ir_ins *ins, const struct value *v)
{
    s64 imm = pass_sign_extend((u64)v->imm, ins->size);
    bool any = ins->op == IR_OP_mov && ins->d != IR_MEM;
    if (!takes_constant(ins) || (!any && !pass_fits(imm)))
        return;
    ins->a = IR_IMM;
    ins->imm = imm;
}

static void use_sum(struct ir_ins *ins, unsigned i, const struct value *v)
{
    bool address = i == 1 && (ins->op == IR_OP_lea || ins->op == IR_OP_ptr);
    s64 disp = (s64)ins->disp + v->disp;
    if (address && pass_fits(disp)) {
        ins->a = v->base;
        ins->disp = (s32)disp;
    } else if (!v->disp && ir_is_gpr(v->base)) {
        *pass_operand(ins, i) = v->base;
    }
}

static void use(struct fold *f, struct ir_ins *ins)
{
    const struct ir_row *row = &ir_rows[ins->op];
    for (unsigned set = row->read & ~row->written; set; set &= set - 1) {
        unsigned i = (unsigned)__builtin_ctz(set);
        const struct value *v = value_of(f, pass_value(ins, i));
        if (!v)
            continue;
        unsigned width = width_read(ins, i);
        if (!width || width > v->size)
            continue;
        if (v->kind == SUM)
            use_sum(ins, i, v);
        else if (i == 1)
            use_constant(ins, v);
    }
}

static void written(struct fold *f, const struct ir_ins *ins)
{
    u32 set = pass_gpr_written(ins);
    for (; set; set &= set - 1)
        f->version[__builtin_ctz(set)]++;
    const struct ir_row *row = &ir_rows[ins->op];
    for (unsigned changed = ins->op == IR_OP_insn ? 15 : row->written & row->read; changed; changed &= changed - 1) {
        ir_val v = pass_value(ins, (unsigned)__builtin_ctz(changed));
        if (ir_is_temp(v))
            f->value[v - IR_T].kind = UNKNOWN;
    }
}

static void simplify(struct ir_ins *ins)
{
    if (ins->op == IR_OP_lea && ins->b == IR_NONE && ins->size >= 2) {
        if (ins->a == IR_NONE) {
            ins->op = IR_OP_mov;
            ins->a = IR_IMM;
            ins->imm = ins->disp;
            ins->disp = 0;
        } else if (!ins->disp && ins->a != IR_PC) {
            ins->op = IR_OP_mov;
        }
    }
    if (ins->op == IR_OP_mov && ins->size == 8 && ir_is_gpr(ins->d) && ins->d == ins->a)
        pass_remove(ins);
}

/* --- temporaries that are only carried --- */

static void count_uses(struct fold *f)
{
    struct ir_unit *u = f->u;
    memset(f->uses, 0, u->temps * sizeof(f->uses[0]));
    for (unsigned i = 0; i < u->count; i++) {
        const struct ir_ins *ins = &u->ins[i];
        const struct ir_row *row = &ir_rows[ins->op];
        for (unsigned k = 0; k < 4; k++) {
            ir_val v = pass_value(ins, k);
            if (!ir_is_temp(v))
                continue;
            if (row->role[k] == IR_ROLE_W)
                f->defined_at[v - IR_T] = (u16)i;
            else
                f->uses[v - IR_T]++;
        }
        if (ir_is_temp(ins->p))
            f->uses[ins->p - IR_T]++;
    }
}

static bool makes_one_value(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_OP_mov: case IR_OP_movzx: case IR_OP_movsx: case IR_OP_lea: case IR_OP_setcc: return true;
    default: return false;
    }
}

/* What def makes, in def's width or at most what it was extended from, is what `mov` of that size carries. */
static bool same_width(const struct ir_ins *def, unsigned size)
{
    return def->size == size || (def->op == IR_OP_movzx && def->size2 == size);
}

/* `mov r, t` at i is the only use of t: t's definition may make r instead. */
static bool carried(const struct fold *f, unsigned i)
{
    const struct ir_ins *mov = &f->u->ins[i];
    if (mov->op != IR_OP_mov || !ir_is_gpr(mov->d) || !ir_is_temp(mov->a) || f->uses[mov->a - IR_T] != 1)
        return false;
    unsigned at = f->defined_at[mov->a - IR_T];
    const struct ir_ins *def = &f->u->ins[at];
    if (at >= i || def->d != mov->a || !same_width(def, mov->size) || def->gi != mov->gi || !makes_one_value(def))
        return false;
    for (unsigned k = at + 1; k < i; k++)
        if (pass_observes(&f->u->ins[k]) || pass_gpr_touched(&f->u->ins[k]) & 1u << (mov->d - IR_G))
            return false;
    return true;
}

/* def makes what the move carries. */
static void make_there(struct ir_ins *def, struct ir_ins *mov)
{
    def->d = mov->d;
    if (def->size != mov->size) {       /* an extension that nobody sees */
        def->op = IR_OP_mov;
        def->size = mov->size;
        def->size2 = 0;
    }
    mov->d = mov->a = IR_NONE;
    pass_remove(mov);
}

void pass_fold(struct ir_unit *u, struct pass_env *env)
{
    struct fold f;
    f.u = u;
    memset(f.version, 0, sizeof f.version);
    memset(f.value, 0, u->temps * sizeof(f.value[0]));
    for (unsigned i = 0; i < u->count; i++) {
        struct ir_ins *ins = &u->ins[i];
        use(&f, ins);
        written(&f, ins);
        define(&f, ins);
        simplify(ins);
    }
    pass_compact(u);
    count_uses(&f);
    for (unsigned i = 0; i < u->count; i++)
        if (carried(&f, i))
            make_there(&u->ins[f.defined_at[u->ins[i].a - IR_T]], &u->ins[i]);
    pass_compact(u);
}
