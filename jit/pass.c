/* pass.c - the passes in their order, and what they share.
 *
 *   flags    which status flags somebody reads                          pass_flags.c
 *   fold     constants, copies and sums go into the operations that use them      pass_fold.c
 *   group    one address check for several accesses off one register    pass_group.c
 *   adjust   several steps of one register (pushes) become one          pass_adjust.c
 *   dead     what nobody uses goes                                      pass_dead.c
 *
 * Each takes a unit that ir_check accepts and leaves one, and each may be left out (-accel jit,skip=NAME): a unit as
 * it was built is right already, with all flags live. The order matters for the result, not for correctness: flags
 * first, since adjust and dead ask which are live; group before adjust, since address checks between pushes keep
 * their steps apart.
 *
 * A contract line at the top of each file says what it needs beyond a good unit and what it breaks: of the things that
 * earlier passes found out, which are not true any more after it.
 *
 * With -accel jit,verify=on every unit is verified after every pass; what fails is a bug of ours and ends the program.
 */
#include "jit/pass.h"

#include "cpu/interp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct pass passes[] = {
    { "flags", pass_flags },
    { "fold", pass_fold },
    { "group", pass_group },
    { "adjust", pass_adjust },
    { "dead", pass_dead },
};
const unsigned pass_count = ARRAY_LEN(passes);

static void print_line(void *ctx, const char *text) { fprintf(ctx, "  %s\n", text); }

static void verify(const struct ir_unit *u, const char *after)
{
    char err[256];
    if (ir_check(u, err, sizeof err))
        return;
    fprintf(stderr, "shadow86: bad IR after %s: %s\n", after, err);
    ir_print(u, print_line, stderr);
    abort();
}

void passes_run(struct ir_unit *u, struct pass_env *env)
{
    if (env->opt->verify)
        verify(u, "translation");
    for (unsigned i = 0; i < pass_count; i++) {
        if (!strcmp(passes[i].name, env->opt->skip))
            continue;
        passes[i].run(u, env);
        if (env->opt->verify)
            verify(u, passes[i].name);
    }
}

/* --- shared --- */

void pass_compact(struct ir_unit *u)
{
    unsigned kept = 0;
    while (kept < u->count && !pass_removed(&u->ins[kept]))
        kept++;
    for (unsigned i = kept; i < u->count; i++)
        if (!pass_removed(&u->ins[i]))
            u->ins[kept++] = u->ins[i];
    u->count = (u16)kept;
}

enum { RAX = 1 << GPR_RAX, RCX = 1 << GPR_RCX, RDX = 1 << GPR_RDX, RDI = 1 << GPR_RDI, ALL = 0xffff };

static u32 gpr_bit(ir_val v) { return ir_is_gpr(v) ? 1u << (v - IR_G) : ir_is_high(v) ? 1u << (v - IR_H) : 0; }
static u32 gpr_bit_if(bool take, ir_val v) { return take ? gpr_bit(v) : 0; }

/* Vector, MMX and x87 instructions name their registers but for string compares (ECX; EAX and EDX), MASKMOVDQU's address, and
 * FNSTSW. Of others nothing is assumed. */
static u32 insn_implicit(const struct ir_ins *ins)
{
    const struct insn_row *row = &insn_rows[ins->row];
    interp_fn *run = row->run;
    if (row->attr & (ATTR_SYS | ATTR_BRANCH | ATTR_STRING) || !(row->attr & (ATTR_SSE | ATTR_MMX | ATTR_X87 | ATTR_VEX)))
        return ALL;
    if (!(row->attr & (ATTR_SSE | ATTR_MMX | ATTR_X87)) || run == in_fnstsw || run == in_maskmovq || run == in_maskmovdqu ||
        run == in_pcmpestrm || run == in_pcmpestri || run == in_pcmpistrm || run == in_pcmpistri)
        return RAX | RCX | RDX | RDI;
    return 0;
}

static u32 implicit(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_OP_insn: return insn_implicit(ins);
    case IR_OP_cmpxchg: return RAX;
    case IR_OP_cdq: case IR_OP_mul: case IR_OP_imul1: case IR_OP_div: case IR_OP_idiv: return RAX | RDX;
    case IR_OP_interp: case IR_OP_step: return ALL;
    default: return 0;
    }
}

u32 pass_gpr_written(const struct ir_ins *ins)
{
    const struct ir_row *row = &ir_rows[ins->op];
    unsigned written = ins->op == IR_OP_insn ? 15 : row->written;
    u32 set = row->attr & IR_IMPLICIT || ins->op == IR_OP_step ? implicit(ins) : 0;
    return set | gpr_bit_if(written & 1, ins->d) | gpr_bit_if(written & 2, ins->a) | gpr_bit_if(written & 4, ins->b) |
           gpr_bit_if(written & 8, ins->c);
}

u32 pass_gpr_touched(const struct ir_ins *ins)
{
    u32 set = ir_rows[ins->op].attr & IR_IMPLICIT || ins->op == IR_OP_step ? implicit(ins) : 0;
    return set | gpr_bit(ins->d) | gpr_bit(ins->a) | gpr_bit(ins->b) | gpr_bit(ins->c);
}
