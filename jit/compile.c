/* compile.c - the whole way of one unit, on one screen:
 *
 *   guest bytes -> translate_unit -> struct ir_unit -> passes_run -> host_backend.emit -> code cache -> unit_register
 *
 * A unit that the backend cannot emit (it ran out of host registers) is made again from half as many instructions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/log.h"
#include "jit/jit_private.h"
#include "jit/translate.h"

enum { ROOM = 96 << 10 };       /* no unit needs more */

/* --- the log: -d in_asm, op, op_opt, out_asm ------------------------------------------------------------------------- */

struct heading { enum log_bit item; const char *text; };

static void print_line(void *ctx, const char *text) { log_print(*(enum log_bit *)ctx, "  %s\n", text); }

static void log_guest(const struct ir_unit *u, gpa pa)
{
    char text[128];
    log_print(LOG_IN_ASM, "unit at %llx, mode %x:\n", (unsigned long long)pa, u->mode);
    for (unsigned i = 0; i < u->guests; i++) {
        const struct insn *in = u->guest[i];
        log_print(LOG_IN_ASM, "  %4x  %s\n", (unsigned)u->offset[i],
                  in->mode ? insn_print(text, sizeof text, in, (u64)(s64)u->offset[i]) : "(bad)");
    }
}

static void log_ir(const struct ir_unit *u, enum log_bit item, const char *what)
{
    if (!log_on(item))
        return;
    log_print(item, "%s:\n", what);
    ir_print(u, print_line, &item);
}

static void log_bytes(const struct jit *j, const char *what, u32 at, u32 bytes)
{
    if (!bytes)
        return;
    log_print(LOG_OUT_ASM, "%s code at %p, %u bytes:", what, (const void *)(j->rx + at), bytes);
    for (u32 i = 0; i < bytes; i++)
        log_print(LOG_OUT_ASM, "%s%02x", i % 32 ? " " : "\n  ", j->rw[at + i]);
    log_print(LOG_OUT_ASM, "\n");
}

static void log_host(const struct jit *j, const struct code_unit *u, u32 at)
{
    log_bytes(j, "host", at, u->size);
    log_bytes(j, "cold", u->cold, u->cold_size);
}

/* --- one attempt ------------------------------------------------------------------------------------------------------ */

static void check_ir(const struct ir_unit *u)
{
    char err[256];
    if (ir_check(u, err, sizeof err))
        return;
    fprintf(stderr, "shadow86: bad IR: %s\n", err);
    abort();
}

/* Not with `check`, which finds units by nothing but where the vCPU stands. */
static bool falls_back(const struct jit *j) { return j->super && j->backend->plain_links && !j->opt.check; }

/* Accesses that look into the TLB take one register more: none is left for a pointer then. */
static bool looks_into_tlb(const struct jit *j)
{
    for (unsigned i = 0; j->before && i < j->before->profiles; i++)
        if (often_missed(j, &j->before->profile[i]))
            return true;
    return false;
}

static bool make_ir(struct jit *j, gpa pa, const u8 *host, struct translate_result *r)
{
    struct pass_env env = { .j = j, .c = j->cpu, .pa = pa, .host = host, .ranges = r, .opt = &j->opt,
                            .keep_flags = j->keep_flags || j->self.on,
                            .group_pointers = j->backend->group_pointers, .kept_pointers = j->backend->kept_pointers };
    if (j->no_group[dispatch_slot(pa)].pa == pa && !falls_back(j))
        env.no_group = j->no_group[dispatch_slot(pa)].at;
    if (j->mode & MODE_PLAIN)
        env.group_pointers = env.kept_pointers = 0;
    else if (env.kept_pointers && looks_into_tlb(j))
        env.group_pointers = 0;
    if (!translate_unit(j, j->cpu, &j->ir, pa, host, r)) {
        stats_reason(j, r->reason);
        return false;
    }
    if (log_on(LOG_IN_ASM))
        log_guest(&j->ir, pa);
    log_ir(&j->ir, LOG_OP, "IR");
    passes_run(&j->ir, &env);
    if (j->self.on && !self_finish(j)) {
        j->ir.full = true;
        return true;
    }
    log_ir(&j->ir, LOG_OP_OPT, "IR after the passes");
    if (j->opt.verify)
        check_ir(&j->ir);
    return true;
}

static struct code_unit *emit(struct jit *j, gpa pa, const u8 *host, u32 part, const struct translate_result *r)
{
    codecache_room(j, ROOM < j->segment[0].end - j->segment[0].start ? ROOM : j->segment[0].end - j->segment[0].start);
    struct code_segment *s = &j->segment[j->filling];
    struct code_unit *u = code_alloc(j, sizeof(*u) + r->ranges * sizeof(u->place[0]));
    u32 at = (s->used + CODE_ALIGN - 1) & ~(u32)(CODE_ALIGN - 1);
    if (!u || at >= s->cold)
        return NULL;
    *u = (struct code_unit){ .pa = pa, .mode = j->mode, .guests = j->ir.guests, .flags_in = j->ir.flags_in, .part = part,
                             .ranges = (u8)r->ranges,
                             .crosses = r->crosses };
    for (unsigned i = 0; i < r->ranges; i++)
        u->place[i] = (struct code_place){ .at = r->range[i].at, .bytes = (u16)r->range[i].bytes, .nth = (u8)i };
    if (j->self.on) {
        u->ranges = 0;
        u->self = self_data(j);
        if (!u->self)
            return NULL;
    }
    u->left = u->self ? u->self->patience : j->opt.hotter;
    u->counted = j->opt.super && !j->super && !u->crosses && !(j->mode & MODE_PLAIN);
    u->falls_back = falls_back(j);
    if (!j->backend->emit(j, &j->ir, u, at, s->cold - at))
        return NULL;
    s->used = at + u->size;
    s->cold -= u->cold_size;
    u->cold = s->cold;
    if (log_on(LOG_OUT_ASM))
        log_host(j, u, at);
    return u;
}

/* --- what is known of the unit ---------------------------------------------------------------------------------------- */

/* A near branch with 16-bit operand size: RIP of the target wraps at 64 KiB. Links know only how far it is. */
static bool is_short_branch(const struct ir_unit *ir, unsigned g, s32 target)
{
    const struct insn *in = ir->guest[g];
    return in->mode && insn_rows[in->row].attr & ATTR_BRANCH && in->op[0].kind == OP_REL && in->opsize == 2 &&
           (u16)((u64)(s64)ir->offset[g + 1] + in->imm) == (u16)target;
}

static void find_wraps(const struct ir_unit *ir, struct code_unit *u)
{
    for (unsigned i = 0; i < u->link_count; i++)
        for (unsigned g = 0; g < ir->guests; g++)
            u->links[i].wraps |= is_short_branch(ir, g, u->links[i].target);
}

static void count_unit(struct jit *j, const struct code_unit *u)
{
    j->count.units++;
    j->count.units_super += j->super;
    j->count.self_units += j->self.on;
    j->count.insns_translated += u->guests;
    for (unsigned g = 0; g < u->guests; g++)
        j->count.guest_bytes_translated += j->ir.guest[g]->len;
    j->count.host_bytes_emitted += u->size + u->cold_size;
    j->count.host_bytes_cold += u->cold_size;
}

/* Where CS begins or ends on the page: all of the unit must be in it. */
static bool lies_inside(const struct ir_unit *ir, u32 part)
{
    for (unsigned g = 0; g < ir->guests && part != UNIT_WHOLE; g++)
        if (ir->offset[g] < (s32)unit_part_first(part) ||
            ir->offset[g] + ir->guest[g]->len - 1 > (s32)unit_part_last(part))
            return false;
    return true;
}

static struct code_unit *make(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    struct translate_result r = { 0 };
    for (j->max_guests = IR_MAX_GUEST; j->max_guests; j->max_guests /= 2) {
        if (!make_ir(j, pa, host, &r)) {
            j->count.failed_translate++;
            return NULL;
        }
        if (j->ir.full || !lies_inside(&j->ir, part))
            continue;
        struct code_unit *u = emit(j, pa, host, part, &r);
        if (u)
            return u;
        j->count.failed_emit++;
    }
    return NULL;
}

struct code_unit *compile_unit(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    if (j->opt.limit && j->count.units >= j->opt.limit)
        return NULL;
    u64 start = jit_now_ns();
    struct code_unit *u = make(j, pa, host, part);
    if (u) {
        if (mode_code_size(j->mode) == 2)
            find_wraps(&j->ir, u);
        unit_register(j, u);
        count_unit(j, u);
    }
    j->count.translate_ns += jit_now_ns() - start;
    return u;
}

struct code_unit *compile_plain(struct jit *j, gpa pa, const u8 *host, u32 part)
{
    u32 mode = j->mode;
    bool keep = j->keep_flags;
    j->mode |= MODE_PLAIN;
    j->keep_flags = true;       /* nobody would remember that its successors want some */
    struct code_unit *u = compile_unit(j, pa, host, part);
    j->mode = mode;
    j->keep_flags = keep;
    return u;
}

struct code_unit *compile_self(struct jit *j, gpa pa, const u8 *host, u32 part, const struct code_self *before)
{
    self_begin(j, pa, host, before);
    struct code_unit *u = compile_unit(j, pa, j->self.bytes, part);
    j->self.on = false;
    return u;
}
