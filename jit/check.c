/* check.c - -accel check: every unit beside the interpreter, stop at the first difference.
 *
 * A unit runs once from the present state, unlinked, until it leaves, every write of it being logged (mmu.watch). Then memory and
 * state are put back, and the interpreter executes instruction by instruction until it stands where the unit left, with
 * the same registers, vectors, x87, segments and memory. Execution goes on with the interpreter's state. So whatever the unit
 * leaves to the interpreter (`step`: ports, MMIO, faults) is done once; what it would do by way of IR_OP_interp is
 * refused (check_refuses, in jit_interp) if doing it twice matters, and done as a step.
 *
 * Flags are compared where somebody may read them: all where the unit's successor is unknown, those that the link promises
 * where it is known, none where the unit left in the middle (all with exactflags=on); never those that the instructions
 * since the unit's start have left undefined.
 *
 * A unit that has agreed `sample` times is compared once in so many times from then on (sample=0: always), else the interpreter
 * runs a block in its place.
 *
 * Other threads write to guest memory too (DMA), perhaps between the two runs; so a difference must show three times. Then there is
 * a report on stderr: both states, guest code, IR, host code, and a file that tests/check replays; the process exits with status 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/flags.h"
#include "cpu/log.h"
#include "cpu/mem.h"
#include "cpu/interp.h"
#include "jit/jit_private.h"

/* --- state ------------------------------------------------------------------------------------------------------- */

struct state {
    u64 gpr[16], rip, cr0, cr2, cr3, cr4, efer, kernel_gs_base, icount, dr6_pending;
    u32 eflags, status, mxcsr;
    u8 cpl, shadow, access_checks;
    bool nmi_blocked;
    struct segment seg[SEG_COUNT];
    struct x87 x87;
    union vec vec[16];
};

struct write { u8 *host; u32 bytes, at; };      /* at: in `data`, what stood there before */
struct log { struct write *write; u8 *data; size_t count, room, used, data_room; bool full; };

struct jit_check {
    struct jit *j;
    struct tlb_entry none[1];
    struct mmu_watch watch;
    struct state before, unit, interp;
    struct log unit_log, interp_log, *log;
    u8 *unit_data;              /* contents behind the unit, laid out as unit_log.data */
    u32 undefined;
    u16 guests;
    gpa pa;
    u64 checked, instructions, random;
};

static void save(const struct vcpu *c, struct state *s)
{
    memcpy(s->gpr, c->gpr, sizeof(s->gpr));
    s->rip = c->rip;
    s->cr0 = c->cr0, s->cr2 = c->cr2, s->cr3 = c->cr3, s->cr4 = c->cr4, s->efer = c->efer;
    s->kernel_gs_base = c->kernel_gs_base;
    s->icount = c->icount;
    s->dr6_pending = c->dr6_pending;
    s->eflags = c->eflags & ~(u32)EFL_STATUS;
    s->status = flags_status(c);
    s->mxcsr = c->mxcsr;
    s->cpl = c->cpl;
    s->shadow = c->shadow;
    s->nmi_blocked = c->nmi_blocked;
    memcpy(s->seg, c->seg, sizeof(s->seg));
    s->x87 = c->x87;
    memcpy(s->vec, c->vec, sizeof(s->vec));
}

static void restore(struct vcpu *c, const struct state *s)
{
    bool moved = memcmp(c->seg, s->seg, sizeof(s->seg)) || c->cpl != s->cpl || (c->eflags ^ s->eflags) & (EFL_VM | EFL_AC);
    memcpy(c->gpr, s->gpr, sizeof(s->gpr));
    c->rip = s->rip;
    c->cr2 = s->cr2;
    c->kernel_gs_base = s->kernel_gs_base;
    c->icount = s->icount;
    c->dr6_pending = s->dr6_pending;
    c->eflags = s->eflags;
    flags_set_status(c, s->status);
    c->mxcsr = s->mxcsr;
    c->cpl = s->cpl;
    c->shadow = s->shadow;
    c->nmi_blocked = s->nmi_blocked;
    c->x87 = s->x87;
    memcpy(c->vec, s->vec, sizeof(s->vec));
    if (!moved)
        return;
    memcpy(c->seg, s->seg, sizeof(s->seg));
    segment_refresh(c);
}

static bool same_segments(const struct state *a, const struct state *b)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct segment *x = &a->seg[i], *y = &b->seg[i];
        if (x->base != y->base || x->limit != y->limit || x->sel != y->sel || x->attr != y->attr || x->unusable != y->unusable)
            return false;
    }
    return true;
}

static bool same_x87(const struct x87 *a, const struct x87 *b)
{
    for (unsigned i = 0; i < 8; i++)
        if (a->r[i].mant != b->r[i].mant || a->r[i].se != b->r[i].se)
            return false;
    return a->cw == b->cw && a->sw == b->sw && a->empty == b->empty && a->fop == b->fop && a->fip == b->fip &&
           a->fcs == b->fcs && a->fdp == b->fdp && a->fds == b->fds;
}

static bool same_state(const struct state *a, const struct state *b, u32 flags)
{
    return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip && a->eflags == b->eflags &&
           !((a->status ^ b->status) & flags) && a->mxcsr == b->mxcsr && a->cpl == b->cpl && a->cr2 == b->cr2 &&
           a->kernel_gs_base == b->kernel_gs_base && !memcmp(a->vec, b->vec, sizeof(a->vec)) && same_x87(&a->x87, &b->x87) &&
           same_segments(a, b);
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

static bool log_room(struct log *l, u32 bytes)
{
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        void *p = realloc(l->write, room * sizeof(*l->write));
        if (!p)
            return false;
        l->write = p;
        l->room = room;
    }
    if (l->used + bytes > l->data_room) {
        size_t room = (l->used + bytes) * 2 + 4096;
        void *p = realloc(l->data, room);
        if (!p)
            return false;
        l->data = p;
        l->data_room = room;
    }
    return true;
}

static void watch_write(void *ctx, gpa pa, u8 *host, unsigned bytes)
{
    struct jit_check *k = ctx;
    struct log *l = k->log;
    if (!l)
        return;
    if (!host)
        host = physmap_ptr(k->j->cpu->mmu.phys, pa, bytes, true);
    if (!host)
        return;
    if (!log_room(l, bytes)) {
        l->full = true;
        return;
    }
    l->write[l->count++] = (struct write){ host, bytes, (u32)l->used };
    memcpy(l->data + l->used, host, bytes);
    l->used += bytes;
}

static void log_clear(struct log *l)
{
    l->count = l->used = 0;
    l->full = false;
}

static void log_undo(const struct log *l)
{
    for (size_t i = l->count; i--;)
        memcpy(l->write[i].host, l->data + l->write[i].at, l->write[i].bytes);
}

/* What the unit has left in the places that it wrote to. */
static bool keep_unit_data(struct jit_check *k)
{
    const struct log *l = &k->unit_log;
    u8 *p = realloc(k->unit_data, l->used ? l->used : 1);
    if (!p)
        return false;
    k->unit_data = p;
    for (size_t i = 0; i < l->count; i++)
        memcpy(p + l->write[i].at, l->write[i].host, l->write[i].bytes);
    return true;
}

static bool unit_wrote(const struct jit_check *k, const u8 *host)
{
    for (size_t i = 0; i < k->unit_log.count; i++)
        if (host >= k->unit_log.write[i].host && host < k->unit_log.write[i].host + k->unit_log.write[i].bytes)
            return true;
    return false;
}

/* What stood at a byte before the interpreter's first write to it. */
static u8 byte_before(const struct log *l, const u8 *host)
{
    for (size_t i = 0; i < l->count; i++)
        if (host >= l->write[i].host && host < l->write[i].host + l->write[i].bytes)
            return l->data[l->write[i].at + (host - l->write[i].host)];
    return *host;
}

/* Memory as it is now is the interpreter's. */
static bool same_memory(const struct jit_check *k)
{
    const struct log *u = &k->unit_log, *n = &k->interp_log;
    for (size_t i = 0; i < u->count; i++)
        if (memcmp(u->write[i].host, k->unit_data + u->write[i].at, u->write[i].bytes))
            return false;
    for (size_t i = 0; i < n->count; i++)
        for (u32 b = 0; b < n->write[i].bytes; b++) {
            const u8 *host = n->write[i].host + b;
            if (!unit_wrote(k, host) && *host != byte_before(n, host))
                return false;
        }
    return true;
}

/* --- one instruction of the interpreter -------------------------------------------------------------------------- */

static const char *const once[] = { "rdtsc", "rdtscp", "rdpmc", "rdrand", "rdseed", "rdmsr", "wrmsr", "in", "out", "ins", "outs",
                                    "hlt", "mwait" };

bool check_refuses(const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    if (row->attr & (ATTR_STRING | ATTR_BRANCH | ATTR_PRIV) || in->modrm_mem)
        return true;
    for (unsigned i = 0; i < ARRAY_LEN(once); i++)
        if (!strcmp(once[i], row->name))
            return true;
    return false;
}

static unsigned shift_count(u64 rcx, const struct insn *in)
{
    const struct operand *o = in->op[2].kind != OP_NONE ? &in->op[2] : &in->op[1];
    const u64 count = o->kind == OP_IMM ? in->imm : rcx;
    return (unsigned)(count & (in->op[0].size == 8 ? 63 : 31));
}

/* Which flags the instruction has left undefined. rcx: before it. */
static void note_undefined(struct jit_check *k, const struct insn *in, u64 rcx)
{
    const struct insn_row *row = &insn_rows[in->row];
    u32 writes = row->writes, undef = row->undef;
    if (row->attr & ATTR_CONDFL && row->attr & ATTR_STRING) {
        if (in->rep)
            writes = 0;
    } else if (row->attr & ATTR_CONDFL) {
        const unsigned count = shift_count(rcx, in);
        if (!count)
            return;
        if (count == 1) {
            undef &= ~(u32)EFL_OF;
            writes |= EFL_OF;
        }
        if (count >= 8u * in->op[0].size && writes & EFL_ZF)
            undef |= EFL_CF;
    }
    k->undefined = (k->undefined & ~writes) | undef;
}

static bool fetch(struct vcpu *c, u64 rip, struct insn *in)
{
    u8 bytes[15];
    const gla a = c->code_size == 8 ? rip : (u32)(c->seg[SEG_CS].base + rip);
    const u64 n = cpu_memory_read(c, a, bytes, 15);
    return n && insn_decode(in, bytes, (unsigned)n, c->code_size, c->model.features) == DECODE_OK;
}

/* --- one unit ---------------------------------------------------------------------------------------------------- */

/* Flags that must be right where the unit left. */
static u32 flags_wanted(const struct jit_check *k, enum leave_reason why)
{
    const struct vcpu *c = k->j->cpu;
    const struct code_link *l = c->jit.left;
    if (k->j->opt.exactflags)
        return EFL_STATUS;
    switch (why) {
    case LEAVE_LINK: return l->flags == LINK_FLAGS_DEAD ? 0 : l->flive & EFL_STATUS;
    case LEAVE_LANDING: return EFL_STATUS;
    case LEAVE_LOOKUP: return k->unit.rip == k->before.rip ? 0 : EFL_STATUS;
    default: return 0;
    }
}

static bool agrees(struct jit_check *k, u32 flags)
{
    save(k->j->cpu, &k->interp);
    return same_state(&k->unit, &k->interp, flags & ~k->undefined) && same_memory(k);
}

/* May the interpreter go on, looking for the place where it agrees? It is past the first one where it might have. */
static bool may_go_on(struct jit_check *k)
{
    struct insn in;
    if (!fetch(k->j->cpu, k->j->cpu->rip, &in) || in.rep)
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(once); i++)
        if (!strcmp(once[i], insn_rows[in.row].name))
            return false;
    return true;
}

/* It makes data of all flags, those included that are undefined (as a fault's frame does): from there on both sides may be right. */
static bool exposes_flags(const struct insn *in)
{
    interp_fn *run = insn_rows[in->row].run;
    return run == in_pushf || run == in_lahf;
}

/* Has the instruction that stood at rip ended in a fault, which is delivered already? (16 bits of RIP tell, in every mode.) */
static bool faulted(const struct vcpu *c, const struct insn *in, u64 rip)
{
    return !(insn_rows[in->row].attr & (ATTR_BRANCH | ATTR_STRING)) && (u16)c->rip != (u16)(rip + in->len);
}

/* The interpreter, until it agrees with the unit. */
static bool interpret(struct jit_check *k, u32 flags)
{
    struct vcpu *c = k->j->cpu;
    bool passed = false, exposed = false;
    k->undefined = 0;
    for (unsigned n = 0;; n++) {
        if (c->rip == k->unit.rip) {
            if (agrees(k, flags) || (exposed && n >= 1)) {
                k->instructions += n;
                return true;
            }
            passed |= n > 0;         /* at first it stands where a loop's unit has come back to */
        }
        if (n > k->guests || (passed && !may_go_on(k))) {
            save(c, &k->interp);
            return false;
        }
        const u64 rcx = c->rcx;
        const u32 undefined = k->undefined;
        const u64 rip = c->rip;
        c->shadow = SHADOW_NONE;
        const struct insn *in = interp_one(c);
        exposed |= undefined && (!in || faulted(c, in, rip) || exposes_flags(in));
        if (!in)
            continue;
        note_undefined(k, in, rcx);
    }
}

static void report(struct jit_check *k, enum leave_reason why, u32 flags);

/* Memory and registers are the interpreter's afterwards. */
static void check_unit(struct jit_check *k, const struct code_unit *u)
{
    struct vcpu *c = k->j->cpu;
    enum leave_reason why = LEAVE_STEP;
    u32 flags = 0;
    k->guests = u->guests;
    k->pa = u->pa;
    k->checked++;
    save(c, &k->before);
    for (unsigned tries = 0; tries < 3; tries++) {
        const u64 deaths = k->j->deaths;
        log_clear(&k->unit_log);
        log_clear(&k->interp_log);
        k->log = &k->unit_log;
        why = jit_enter(k->j, u);
        k->log = NULL;
        save(c, &k->unit);
        flags = flags_wanted(k, why);
        const bool kept = keep_unit_data(k);
        log_undo(&k->unit_log);
        restore(c, &k->before);
        jit_prepare(k->j);
        if (!kept || k->unit_log.full || k->j->deaths != deaths) {
            jit_step(k->j);     /* not to be compared this time */
            return;
        }
        k->log = &k->interp_log;
        const bool good = interpret(k, flags);
        k->log = NULL;
        if (good) {
            /* What it left to the interpreter; in any case there must be progress. */
            if (!cpu_requests(c) && (why == LEAVE_STEP || k->interp.rip == k->before.rip))
                jit_step(k->j);
            return;
        }
        log_undo(&k->interp_log);
        restore(c, &k->before);
        if (u->dead)
            break;
    }
    report(k, why, flags);
}

/* --- the report -------------------------------------------------------------------------------------------------- */

static const char *const leave_names[] = { "link", "landing", "lookup", "step", "return" };

static void line64(const char *name, unsigned i, u64 before, u64 interp, u64 unit)
{
    if (interp != unit)
        fprintf(stderr, "  %s%-3u before %016llx  interpreter %016llx  unit %016llx\n", name, i, (unsigned long long)before,
                (unsigned long long)interp, (unsigned long long)unit);
}

static void print_differences(const struct state *b, const struct state *n, const struct state *u, u32 flags)
{
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
                                         "r12", "r13", "r14", "r15" };
    for (unsigned i = 0; i < 16; i++)
        line64(names[i], 0, b->gpr[i], n->gpr[i], u->gpr[i]);
    line64("rip", 0, b->rip, n->rip, u->rip);
    line64("eflags", 0, b->eflags, n->eflags, u->eflags);
    line64("status flags", 0, b->status, n->status & flags, u->status & flags);
    line64("mxcsr", 0, b->mxcsr, n->mxcsr, u->mxcsr);
    line64("kernel_gs_base", 0, b->kernel_gs_base, n->kernel_gs_base, u->kernel_gs_base);
    line64("cr2", 0, b->cr2, n->cr2, u->cr2);
    for (unsigned i = 0; i < 16; i++)
        for (unsigned q = 0; q < 4; q++)
            line64("ymm", i * 10 + q, b->vec[i].q[q], n->vec[i].q[q], u->vec[i].q[q]);
    line64("x87 control ", 0, b->x87.cw, n->x87.cw, u->x87.cw);
    line64("x87 status ", 0, b->x87.sw, n->x87.sw, u->x87.sw);
    line64("x87 empty ", 0, b->x87.empty, n->x87.empty, u->x87.empty);
    line64("x87 fop ", 0, b->x87.fop, n->x87.fop, u->x87.fop);
    line64("x87 fip ", 0, b->x87.fip, n->x87.fip, u->x87.fip);
    line64("x87 fdp ", 0, b->x87.fdp, n->x87.fdp, u->x87.fdp);
    line64("x87 fcs, fds ", 0, (u64)b->x87.fcs << 16 | b->x87.fds, (u64)n->x87.fcs << 16 | n->x87.fds,
           (u64)u->x87.fcs << 16 | u->x87.fds);
    for (unsigned i = 0; i < 8; i++) {
        line64("x87 mantissa ", i, b->x87.r[i].mant, n->x87.r[i].mant, u->x87.r[i].mant);
        line64("x87 exponent ", i, b->x87.r[i].se, n->x87.r[i].se, u->x87.r[i].se);
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        line64("segment base ", i, b->seg[i].base, n->seg[i].base, u->seg[i].base);
        line64("selector ", i, b->seg[i].sel, n->seg[i].sel, u->seg[i].sel);
    }
}

static void print_memory(const struct jit_check *k)
{
    const struct log *logs[] = { &k->unit_log, &k->interp_log };
    for (unsigned w = 0; w < 2; w++)
        for (size_t i = 0; i < logs[w]->count && i < 40; i++) {
            const struct write *x = &logs[w]->write[i];
            fprintf(stderr, "  %s wrote %u bytes at %p, before:", w ? "interpreter" : "unit", x->bytes, (void *)x->host);
            for (u32 n = 0; n < x->bytes && n < 32; n++)
                fprintf(stderr, " %02x", logs[w]->data[x->at + n]);
            if (!w)
                fprintf(stderr, ", after:");
            for (u32 n = 0; !w && n < x->bytes && n < 32; n++)
                fprintf(stderr, " %02x", k->unit_data[x->at + n]);
            fprintf(stderr, "\n");
        }
}

/* Made once more, with everything logged: guest code, IR, host code. */
static void print_unit(struct jit_check *k)
{
    gpa pa;
    const u8 *host;
    struct vcpu *c = k->j->cpu;
    jit_prepare(k->j);
    if (!mmu_fetch(&c->mmu, cpu_pc(c), c->mmu.view, &pa, &host) || !host)
        return;
    log_mask |= LOG_IN_ASM | LOG_OP | LOG_OP_OPT | LOG_OUT_ASM;
    compile_unit(k->j, pa, host, unit_part(c, cpu_pc(c), c->rip));
    log_mask = 0;
}

/* --- the file: see tests/check/run_check.c ----------------------------------------------------------------------- */

static void put_hex(FILE *f, const char *name, const void *data, size_t bytes)
{
    const u8 *p = data;
    fprintf(f, "%s ", name);
    while (bytes--)
        fprintf(f, "%02x", *p++);
    fprintf(f, "\n");
}

/* What lies around a linear address, in lines of 64 bytes. Lines may repeat. */
static void put_memory(struct vcpu *c, FILE *f, u64 a, unsigned before, unsigned behind)
{
    char name[40];
    u8 line[64];
    for (u64 at = (a - before) & ~(u64)63; at < a + behind; at += 64) {
        const u64 linear = c->code_size == 8 ? at : (u32)at;
        if (cpu_memory_read(c, linear, line, 64) != 64)
            continue;
        snprintf(name, sizeof(name), "memory %llx", (unsigned long long)linear);
        put_hex(f, name, line, 64);
    }
}

static u64 effective(const struct vcpu *c, const struct insn *in, u64 next)
{
    u64 a = in->disp + (in->base == GPR_RIP ? next : c->gpr[in->base]) + (in->vsib ? 0 : c->gpr[in->index] << in->scale);
    if (in->addrsize != 8)
        a = in->addrsize == 4 ? (u32)a : (u16)a;
    if (c->code_size == 8)
        return in->seg >= SEG_FS ? a + c->seg[in->seg].base : a;
    return (u32)(a + c->seg[in->seg].base);
}

/* Memory that the unit's instructions touch, as the interpreter meets them. */
static void put_touched(struct jit_check *k, FILE *f)
{
    struct vcpu *c = k->j->cpu;
    struct insn in;
    put_memory(c, f, cpu_pc(c), 64, 512);
    put_memory(c, f, c->code_size == 8 ? c->rsp : (u32)(c->seg[SEG_SS].base + (c->rsp & stack_mask(c))), 512, 512);
    log_clear(&k->interp_log);
    k->log = &k->interp_log;
    for (unsigned n = 0; n < k->guests && fetch(c, c->rip, &in) && !in.rep; n++) {
        put_memory(c, f, cpu_pc(c), 0, 64);
        if (in.modrm_mem)
            put_memory(c, f, effective(c, &in, c->rip + in.len), 64, 576);
        if (insn_rows[in.row].attr & ATTR_STRING) {
            put_memory(c, f, c->seg[in.seg].base + c->rsi, 64, 128);
            put_memory(c, f, c->seg[SEG_ES].base + c->rdi, 64, 128);
        }
        if (check_refuses(&in) && !in.modrm_mem && !(insn_rows[in.row].attr & ATTR_BRANCH))
            break;
        interp_one(c);
    }
    k->log = NULL;
    log_undo(&k->interp_log);
    restore(c, &k->before);
}

static void put_state(FILE *f, const struct state *s, const struct vcpu *c)
{
    static const char *const names[] = { "es", "cs", "ss", "ds", "fs", "gs" };
    put_hex(f, "gpr", s->gpr, sizeof(s->gpr));
    fprintf(f, "rip %llx\neflags %x\nmxcsr %x\ncpl %u\ncr0 %llx\ncr4 %llx\nefer %llx\nxcr0 %llx\nkernel_gs_base %llx\n",
            (unsigned long long)s->rip, s->eflags | s->status, s->mxcsr, s->cpl, (unsigned long long)s->cr0,
            (unsigned long long)s->cr4, (unsigned long long)s->efer, (unsigned long long)c->xcr0,
            (unsigned long long)s->kernel_gs_base);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        fprintf(f, "segment %s %llx %x %x %x %u\n", names[i], (unsigned long long)s->seg[i].base, s->seg[i].limit, s->seg[i].sel,
                s->seg[i].attr, s->seg[i].unusable);
    for (unsigned i = 0; i < 8; i++)
        fprintf(f, "x87 %u %x %llx\n", i, s->x87.r[i].se, (unsigned long long)s->x87.r[i].mant);
    fprintf(f, "x87 8 %x %x\nx87 9 %x 0\n", s->x87.cw, s->x87.sw, s->x87.empty);
    put_hex(f, "vec", s->vec, sizeof(s->vec));
}

static void save_reproducer(struct jit_check *k)
{
    struct vcpu *c = k->j->cpu;
    char name[300];
    snprintf(name, sizeof(name), "%s", *k->j->opt.dump ? k->j->opt.dump : "shadow86-check.txt");
    FILE *f = fopen(name, "w");
    if (!f) {
        perror(name);
        return;
    }
    fprintf(f, "model max\nguests %u\nexactflags %u\nsuper %u\n", k->guests, k->j->opt.exactflags, k->j->super);
    put_state(f, &k->before, c);
    put_touched(k, f);
    fclose(f);
    fprintf(stderr, "saved in %s: run-check %s shows it again\n", name, name);
}

static void report(struct jit_check *k, enum leave_reason why, u32 flags)
{
    struct vcpu *c = k->j->cpu;
    static char text[8192];
    fflush(stdout);
    fprintf(stderr, "shadow86: check: a unit and the interpreter differ. %llu units agreed. The unit at %04x:%llx (%llx), %u guest "
            "instructions, left by %s at %llx; the interpreter stopped at %llx. Compared flags: %x\n",
            (unsigned long long)k->checked - 1, k->before.seg[SEG_CS].sel, (unsigned long long)k->before.rip,
            (unsigned long long)k->pa, k->guests, leave_names[why], (unsigned long long)k->unit.rip,
            (unsigned long long)k->interp.rip, flags & ~k->undefined);
    print_differences(&k->before, &k->interp, &k->unit, flags & ~k->undefined);
    print_memory(k);
    save_reproducer(k);
    cpu_print_state(c, text, sizeof(text));
    fprintf(stderr, "before:\n%s", text);
    print_unit(k);
    exit(EXIT_FAILURE);
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

static struct jit_check *check_of(struct jit *j)
{
    struct jit_check *k = j->check;
    if (k)
        return k;
    k = calloc(1, sizeof(*k));
    if (!k) {
        fprintf(stderr, "shadow86: no memory for -accel check\n");
        exit(EXIT_FAILURE);
    }
    k->none[0].tag = TLB_INVALID;
    k->j = j;
    k->watch = (struct mmu_watch){ watch_write, k, k->none };
    j->check = k;
    return k;
}

void check_free(struct jit *j)
{
    struct jit_check *k = j->check;
    if (!k)
        return;
    j->cpu->mmu.watch = NULL;
    mmu_set_view(&j->cpu->mmu, j->cpu->mmu.view);
    free(k->unit_log.write);
    free(k->unit_log.data);
    free(k->interp_log.write);
    free(k->interp_log.data);
    free(k->unit_data);
    free(k);
    j->check = NULL;
}

/* Most of the time is spent in few units. Those that have agreed often are compared now and then, at random. */
static bool skips(struct jit_check *k, struct code_unit *u)
{
    const u32 n = k->j->opt.sample;
    if (!n || u->agreed++ < n)
        return false;
    k->random = k->random * 6364136223846793005 + 1442695040888963407;
    return (k->random >> 33) % n;
}

/* While nothing is compared, writes need not be slow. */
static void set_watch(struct jit_check *k, bool on)
{
    struct mmu *m = &k->j->cpu->mmu;
    if (on == (m->watch != NULL))
        return;
    m->watch = on ? &k->watch : NULL;
    mmu_set_view(m, m->view);
}

static void run_interpreter(struct vcpu *c, bool one)
{
    gpa pa;
    const u8 *host;
    if (!interp_fetch(c, &pa, &host))
        return;
    const struct block *b = one ? NULL : interp_decoded(c, pa, host);
    if (b)
        interp_block(c, b);
    else
        interp_one(c);
}

bool check_here(struct jit *j)
{
    struct jit_check *k = check_of(j);
    jit_prepare(j);
    struct code_unit *u = jit_unit_here(j);
    if (!u)
        return false;
    const bool skip = skips(k, u);
    set_watch(k, !skip);
    if (skip)
        run_interpreter(j->cpu, u->self);   /* nobody decodes blocks of code that checks itself */
    else
        check_unit(k, u);
    return true;
}
