/* compare.c - a program under two engines: the first difference, and whether the architecture explains it.
 *
 * Some instructions leave status flags undefined (insn.def, column undef). The generator hides them, but stores into code
 * and recovery from faults can show them all the same. So a difference is run once more instruction by instruction, with
 * track_flags noting when an undefined flag was first looked at: what differs from there on counts for nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/random/random.h"

/* --- undefined flags --------------------------------------------------------------------------------------------- */

u32 flags_read_by(const struct insn *in)
{
    static const u16 of_cc[] = { EFL_OF, EFL_CF, EFL_ZF, EFL_CF | EFL_ZF, EFL_SF, EFL_PF, EFL_SF | EFL_OF,
                                 EFL_SF | EFL_OF | EFL_ZF };
    const struct insn_row *row = &insn_rows[in->row];
    return row->attr & ATTR_CC ? of_cc[in->imm2 >> 1 & 7] : row->reads & EFL_STATUS;
}

static unsigned shift_count(const struct vcpu *c, const struct insn *in)
{
    const struct operand *o = in->op[2].kind != OP_NONE ? &in->op[2] : &in->op[1];
    const u64 count = o->kind == OP_IMM ? in->imm : c->rcx;
    return (unsigned)(count & (in->op[0].size == 8 ? 63 : 31));
}

static void track_conditional(struct run *r, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    u32 undef = row->undef;
    if (row->attr & ATTR_STRING) {
        const u64 mask = in->addrsize == 2 ? 0xffff : in->addrsize == 4 ? 0xffffffff : ~(u64)0;
        if (!in->rep || r->cpu->rcx & mask)
            r->undefined &= ~(u32)row->writes;
        return;
    }
    const unsigned count = shift_count(r->cpu, in);
    if (!count)
        return;
    if (count == 1)
        undef &= ~(u32)EFL_OF;
    if (count >= 8u * in->op[0].size && row->writes & EFL_ZF)
        undef |= EFL_CF;
    r->undefined = (r->undefined & ~(u32)(row->writes | (count == 1 ? EFL_OF : 0))) | undef;
}

void track_flags(struct run *r)
{
    struct vcpu *c = r->cpu;
    struct insn in;
    u8 bytes[15];
    const u64 n = cpu_memory_read(c, cpu_pc(c), bytes, 15);
    if (insn_decode(&in, bytes, (unsigned)n, c->code_size, c->model.features) != DECODE_OK)
        return;
    const struct insn_row *row = &insn_rows[in.row];
    if (flags_read_by(&in) & r->undefined && r->doubt > r->count && strcmp(row->name, "iret")) {
        r->doubt = r->count;
        r->doubt_at = cpu_pc(c);
    }
    if (row->attr & ATTR_CONDFL) {
        track_conditional(r, &in);
    } else if (!strcmp(row->name, "iret")) {
        r->undefined = r->undefined_outside;
        r->undefined_outside = 0;
    } else if (strcmp(row->name, "out")) {
        r->undefined = (r->undefined & ~(u32)row->writes) | row->undef;
    }
}

/* --- differences ------------------------------------------------------------------------------------------------- */

static const char *kind_name(const struct log_entry *e)
{
    static const char *const names[] = { "event", "syscall", "piece", "look", "request", "end", "shutdown", "port" };
    return names[e->kind];
}

static void print_entry(const char *who, const struct log_entry *e)
{
    printf("  %s: %s", who, kind_name(e));
    if (e->kind == LOG_EVENT)
        printf(" %02x error %x", e->vector, e->error);
    printf(" at %04x:%llx flags %x sp %llx cr2 %llx dr6 %llx mxcsr %llx vectors %llx x87 %llx\n   ", e->cs,
           (unsigned long long)e->rip, e->flags, (unsigned long long)e->sp, (unsigned long long)e->cr2,
           (unsigned long long)e->dr6, (unsigned long long)e->mxcsr, (unsigned long long)e->vectors, (unsigned long long)e->x87);
    for (unsigned i = 0; i < 16; i++)
        printf(" %llx", (unsigned long long)e->gpr[i]);
    printf("\n");
}

static void print_vectors(const struct run *a, const struct run *b)
{
    for (unsigned i = 0; i < 16; i++)
        if (memcmp(&a->cpu->vec[i], &b->cpu->vec[i], 32))
            for (unsigned k = 0; k < 2; k++) {
                const union vec *v = &(k ? b : a)->cpu->vec[i];
                printf("  at the end: ymm%u %016llx %016llx %016llx %016llx\n", i, (unsigned long long)v->q[3],
                       (unsigned long long)v->q[2], (unsigned long long)v->q[1], (unsigned long long)v->q[0]);
            }
}

static void print_x87(const struct run *r)
{
    const struct x87 *x = &r->cpu->x87;
    printf("  at the end: cw %04x sw %04x empty %02x", x->cw, x->sw, x->empty);
    for (unsigned i = 0; i < 8; i++)
        printf(" %04x:%016llx", x->r[i].se, (unsigned long long)x->r[i].mant);
    printf("\n");
}

static const char *piece_name(const struct run *r, unsigned entry)
{
    const char *name = "";
    for (unsigned i = 0; i <= entry && i < r->count; i++)
        for (unsigned k = 0; k < r->program->piece_count && r->log[i].kind == LOG_PIECE; k++) {
            const struct piece *p = &r->program->piece[k];
            const u32 base = p->cs == PROGRAM >> 4 || p->cs == GDT_CODE16 ? PROGRAM : 0;
            if (p->cs == r->log[i].cs && p->at + 2 - base == r->log[i].rip)
                name = p->name;
        }
    return name;
}

/* t: the run that knows what is undefined, or NULL. */
static bool same_entry(const struct run *a, const struct run *b, const struct run *t, unsigned i)
{
    if (i >= a->count || i >= b->count)
        return false;
    struct log_entry x = a->log[i], y = b->log[i];
    x.undefined = y.undefined = 0;
    if (t && i < t->count) {
        x.flags &= ~(u32)t->log[i].undefined;
        y.flags &= ~(u32)t->log[i].undefined;
    }
    return !memcmp(&x, &y, sizeof(x));
}

/* The first entry that differs; UINT32_MAX: none. */
static unsigned compare_logs(const struct run *a, const struct run *b, const struct run *t, bool print)
{
    for (unsigned i = 0; i < a->count || i < b->count; i++) {
        if (same_entry(a, b, t, i))
            continue;
        if (!print)
            return i;
        printf("log entry %u differs, in a piece \"%s\":\n", i, piece_name(a, i));
        if (i)
            print_entry("before", &a->log[i - 1]);
        if (i < a->count)
            print_entry("interp", &a->log[i]);
        if (i < b->count)
            print_entry("other ", &b->log[i]);
        return i;
    }
    return UINT32_MAX;
}

static void forget_images(const struct run *a, const struct run *b, u8 *ram)
{
    for (unsigned k = 0; k < 2; k++) {
        const struct run *r = k ? b : a;
        for (unsigned i = 0; i < r->images; i++) {
            u16 flags;
            if (r->image[i] > RAM_BYTES - 2)
                continue;
            memcpy(&flags, ram + r->image[i], 2);
            flags &= (u16)~EFL_STATUS;
            memcpy(ram + r->image[i], &flags, 2);
        }
    }
}

static bool same_memory(const struct run *a, const struct run *b, bool print)
{
    unsigned shown = 0;
    forget_images(a, b, a->ram->base);
    forget_images(a, b, b->ram->base);
    if (!memcmp(a->ram->base, b->ram->base, RAM_BYTES))
        return true;
    for (u32 i = 0; i < RAM_BYTES && print && shown < 20; i += 8) {
        u64 x, y;
        memcpy(&x, a->ram->base + i, 8);
        memcpy(&y, b->ram->base + i, 8);
        if (x != y && ++shown)
            printf("  memory at %x: interp %016llx, other %016llx\n", i, (unsigned long long)x, (unsigned long long)y);
    }
    return false;
}

static bool same_state(const struct run *a, const struct run *b, bool print)
{
    const struct vcpu *x = a->cpu, *y = b->cpu;
    bool same = x->cr0 == y->cr0 && x->cr2 == y->cr2 && x->cr3 == y->cr3 && x->cr4 == y->cr4 && x->efer == y->efer &&
        x->rip == y->rip && !memcmp(x->dr, y->dr, sizeof(x->dr)) && x->cpl == y->cpl;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        same &= x->seg[i].sel == y->seg[i].sel && x->seg[i].base == y->seg[i].base && x->seg[i].limit == y->seg[i].limit &&
            x->seg[i].attr == y->seg[i].attr;
    if (!same && print)
        printf("  segments or control registers differ: cr2 %llx, %llx\n", (unsigned long long)x->cr2, (unsigned long long)y->cr2);
    return same;
}

/* RET, JMP and CALL to an address that is not canonical: #GP at the branch (SDM 2, and the interpreter), with translated code
 * at the target (translate_flow.c). To be taken out when that is mended. */
static bool known_difference(const struct run *a, const struct run *b, unsigned at)
{
    if (at >= a->count || at >= b->count)
        return false;
    const struct log_entry *x = &a->log[at], *y = &b->log[at];
    return x->kind == LOG_EVENT && y->kind == LOG_EVENT && x->vector == EXC_GP && y->vector == EXC_GP && y->cs == x->cs &&
        !is_canonical(y->rip) && is_canonical(x->rip);
}

/* The program runs data, its stack or the interrupt table as code. Then flags in a frame are read as something else, which
 * may be stale without exactflags. */
static bool strayed(const struct run *a, unsigned at)
{
    const struct log_entry *e = &a->log[at < a->count ? at : a->count - 1];
    const bool real = e->cs != GDT_CODE32 && e->cs != GDT_CODE32_3 && e->cs != GDT_CODE64 &&
        e->cs != GDT_CODE64_3;
    const u64 linear = e->cs == GDT_CODE16 ? PROGRAM + e->rip : real ? e->cs * 16u + e->rip : e->rip;
    return !a->pure && e->kind == LOG_EVENT && (linear < PROGRAM || linear >= FUNCTIONS_END);
}

static bool ends_well(const struct run *r) { return r->count && r->log[r->count - 1].kind == LOG_END; }

enum verdict compare_engines(const struct program *p, enum engine second, bool print)
{
    static struct run a, b, t;
    enum verdict v = SAME;
    if (!run_program(&a, p, ENGINE_INTERP) || (!a.out_of_budget && !run_program(&b, p, second)))
        exit(EXIT_FAILURE);
    if (a.out_of_budget) {
        run_free(&a);
        return NOT_COMPARED;
    }
    if (p->must_end && !ends_well(&a))
        v = NOT_COMPARED;
    if (compare_logs(&a, &b, NULL, false) != UINT32_MAX || !same_state(&a, &b, false) || !same_memory(&a, &b, false)) {
        if (!run_program(&t, p, ENGINE_STEPS))
            exit(EXIT_FAILURE);
        const unsigned at = compare_logs(&a, &b, &t, print);
        if (at != UINT32_MAX || !same_state(&a, &b, print) || !same_memory(&a, &b, print)) {
            if (v == SAME)
                v = known_difference(&a, &b, at) ? KNOWN : t.doubt <= at || strayed(&a, at) ? UNDEFINED : DIFFERENT;
            if (print) {
                print_vectors(&a, &b);
                print_x87(&a);
                print_x87(&b);
            }
            if (print && v == UNDEFINED)
                printf("  (an undefined flag was looked at at %llx, before log entry %u)\n", (unsigned long long)t.doubt_at, t.doubt);
        }
        run_free(&t);
    }
    run_free(&a);
    run_free(&b);
    return v;
}

void print_log(const struct program *p)
{
    static struct run r;
    if (!run_program(&r, p, ENGINE_INTERP))
        return;
    for (unsigned i = 0; i < r.count; i++) {
        const struct log_entry *e = &r.log[i];
        printf("%4u %s", i, kind_name(e));
        if (e->kind == LOG_EVENT)
            printf(" %02x error %x cr2 %llx dr6 %llx", e->vector, e->error, (unsigned long long)e->cr2, (unsigned long long)e->dr6);
        printf(" at %04x:%llx %s\n", e->cs, (unsigned long long)e->rip, e->kind == LOG_PIECE ? piece_name(&r, i) : "");
    }
    printf("%llu instructions, %s\n", (unsigned long long)cpu_icount(r.cpu), r.out_of_budget ? "endless" : "ended");
    run_free(&r);
}
