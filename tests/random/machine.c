/* machine.c - a vCPU with RAM and ports that runs a program and keeps a log.
 *
 * Everything the host does follows from the guest's state at an OUT: it reads the frame that a handler found on its stack,
 * changes it, maps a page, raises an interrupt. So two engines that agree produce the same log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jit/jit.h"
#include "tests/random/random.h"

enum { BUDGET = 400000, EVENTS_MAX = 1500 };

static struct run *running;

void run_interrupt(void)
{
    if (running && running->cpu)
        cpu_request(running->cpu, CPU_STOP);
}

/* --- the log ----------------------------------------------------------------------------------------------------- */

static u64 hash(const void *data, size_t bytes)
{
    const u8 *p = data;
    u64 h = 0xcbf29ce484222325;
    while (bytes--)
        h = (h ^ *p++) * 0x100000001b3;
    return h;
}

static u64 hash_x87(const struct x87 *x)
{
    u8 image[8 * 10 + 5];
    for (unsigned i = 0; i < 8; i++) {
        memcpy(image + i * 10, &x->r[i].mant, 8);
        memcpy(image + i * 10 + 8, &x->r[i].se, 2);
    }
    memcpy(image + 80, &x->cw, 2);
    memcpy(image + 82, &x->sw, 2);
    image[84] = x->empty;
    return hash(image, sizeof(image));
}

static void stop(struct run *r)
{
    r->end = true;
    cpu_request(r->cpu, CPU_STOP);
}

static struct log_entry *note(struct run *r, enum log_kind kind)
{
    struct log_entry *e = &r->log[r->count];
    struct vcpu *c = r->cpu;
    if (r->count < LOG_MAX - 1)
        r->count++;
    else
        stop(r);
    *e = (struct log_entry){ .kind = (u8)kind, .cs = c->seg[SEG_CS].sel, .rip = c->rip, .mxcsr = c->mxcsr };
    memcpy(e->gpr, c->gpr, sizeof(e->gpr));
    if (!in_64bit_mode(c)) {
        for (unsigned i = 0; i < 8; i++)
            e->gpr[i] = (u32)e->gpr[i];
        memset(e->gpr + 8, 0, 64);      /* R8 to R15 are undefined across modes */
    }
    e->vectors = hash(c->vec, sizeof(c->vec));
    e->x87 = hash_x87(&c->x87);
    return e;
}

/* --- frames ------------------------------------------------------------------------------------------------------ */

struct frame_at { gla at; unsigned size; };        /* of slots; [0] vector [1] error [2] RIP [3] CS [4] flags [5] SP [6] SS */

static struct frame_at find_frame(const struct vcpu *c)
{
    struct frame_at f = { c->rsp, c->code_size };
    if (c->code_size != 8) {
        const u64 mask = c->stack_size == 2 ? 0xffff : 0xffffffff;
        f.at = (u32)(c->seg[SEG_SS].base + (c->rsp & mask));
    }
    return f;
}

static u64 slot(struct vcpu *c, struct frame_at f, unsigned i)
{
    u64 v = 0;
    cpu_memory_read(c, f.at + i * f.size, &v, f.size);
    return v;
}

static void set_slot(struct vcpu *c, struct frame_at f, unsigned i, u64 v)
{
    cpu_memory_write(c, f.at + i * f.size, &v, f.size);
}

/* Base and size of the code that a frame's CS names. */
static void code_of(const struct vcpu *c, u16 cs, u64 *base, unsigned *size)
{
    *base = c->code_size == 2 ? (u64)cs << 4 : (cs & ~3) == GDT_CODE16 ? PROGRAM : 0;
    *size = c->code_size == 2 || (cs & ~3) == GDT_CODE16 ? 2 : (cs & ~3) == (GDT_CODE64_3 & ~3) || cs == GDT_CODE64 ? 8 : 4;
}

static bool in_program(u64 a)
{
    a &= ALIAS - 1;
    return (a >= PROGRAM && a < FUNCTIONS_END) || (a >= MAPPED_CODE && a < MAPPED_CODE + 4096) ||
        (a >= FRAMES && a < FRAMES + 0x4000);
}

/* How long the instruction is; 0: go on elsewhere. */
static unsigned length_at(struct run *r, u64 a, unsigned mode)
{
    struct insn in;
    u8 bytes[15];
    if (!in_program(a))
        return 0;
    const u64 n = cpu_memory_read(r->cpu, a, bytes, 15);
    if (n && insn_decode(&in, bytes, (unsigned)n, mode, NULL) == DECODE_OK)
        return in.len;
    for (unsigned i = 0; i < r->program->item_count; i++)
        if (r->program->item[i].at == a)
            return r->program->item[i].len;
    return 0;
}

/* Nothing sensible is at RIP: on with the next piece. */
static void recover(struct run *r, struct frame_at f)
{
    struct vcpu *c = r->cpu;
    if (r->piece + 1 >= r->program->piece_count) {
        stop(r);
        return;
    }
    const struct piece *p = &r->program->piece[++r->piece];
    const bool outer = (slot(c, f, 3) & 3) > c->cpl;
    u64 base;
    unsigned size;
    code_of(c, p->cs, &base, &size);
    set_slot(c, f, 2, p->at - base);
    set_slot(c, f, 3, p->cs);
    set_slot(c, f, 4, 0x3002);
    if (f.size == 8 || outer) {
        set_slot(c, f, 5, p->ss == GDT_DATA16 ? STACK - DATA : STACK);
        set_slot(c, f, 6, p->ss);
    }
}

static bool map_lazy(struct run *r, u64 a)
{
    const unsigned page = (unsigned)(a >> 12);
    u32 e;
    if (a < LAZY || a >= LAZY_END)
        return false;
    physmap_read(r->map, TABLE0 + page * 8, &e, 4);
    if (e & 1)
        return false;
    e |= 7;
    physmap_write(r->map, TABLE0 + page * 8, &e, 4);
    physmap_write(r->map, TABLE32 + page * 4, &e, 4);
    return true;
}

static void to_kernel(struct vcpu *c, struct frame_at f)
{
    const u16 cs = (u16)slot(c, f, 3);
    set_slot(c, f, 3, cs == GDT_CODE64_3 ? GDT_CODE64 : GDT_CODE32);
    if (f.size == 8)
        set_slot(c, f, 6, GDT_DATA);
}

static void fault(struct run *r, struct frame_at f, unsigned vector)
{
    struct vcpu *c = r->cpu;
    u64 base, rip = slot(c, f, 2);
    unsigned size, n = 0;
    if (vector == EXC_PF && !(slot(c, f, 1) & 1) && map_lazy(r, c->cr2))
        return;
    code_of(c, (u16)slot(c, f, 3), &base, &size);
    if (vector != EXC_DF)
        n = length_at(r, base + rip, size);
    if (!r->pure) {     /* what the instruction would have overwritten may be stale; now that it is skipped, it is read */
        set_slot(c, f, 4, (slot(c, f, 4) & ~(u64)EFL_STATUS) | (rip * 0x51 & EFL_STATUS));
        r->undefined_outside = 0;
    }
    if (n)
        set_slot(c, f, 2, rip + n);
    else
        recover(r, f);
}

static void event(struct run *r)
{
    struct vcpu *c = r->cpu;
    const struct frame_at f = find_frame(c);
    const unsigned vector = slot(c, f, 0) & 0xff;
    const u64 flags = slot(c, f, 4);
    struct log_entry *e = note(r, LOG_EVENT);
    gpa pa;

    e->undefined = r->undefined;
    r->undefined_outside = r->undefined;
    e->vector = (u8)vector;
    e->error = (u32)slot(c, f, 1);
    e->rip = slot(c, f, 2);
    e->cs = (u16)slot(c, f, 3);
    e->flags = (u32)flags & (r->pure ? ~0u : ~(u32)EFL_STATUS);
    e->sp = f.size == 8 ? slot(c, f, 5) : 0;
    e->cr2 = vector == EXC_PF ? c->cr2 : 0;
    e->dr6 = vector == EXC_DB ? c->dr[6] : 0;
    if (r->images < IMAGES && cpu_translate(c, f.at + 4 * f.size, &pa))
        r->image[r->images++] = pa;
    if (vector == EXC_DB && f.size > 2)
        set_slot(c, f, 4, flags | EFL_RF);
    else if (vector == VECTOR_KERNEL)
        to_kernel(c, f);
    else if (vector < 32 && vector != EXC_DB && vector != EXC_BP && vector != EXC_OF && vector != EXC_NMI)
        fault(r, f, vector);
    if (r->count > EVENTS_MAX || r->images == IMAGES)
        stop(r);
}

/* --- ports and the like ------------------------------------------------------------------------------------------ */

static void piece_starts(struct run *r)
{
    const struct vcpu *c = r->cpu;
    const u64 a = c->seg[SEG_CS].base * (c->code_size != 8) + c->rip - 2;
    for (unsigned i = 0; i < r->program->piece_count; i++)
        if (r->program->piece[i].at == a)
            r->piece = i;
}

static void port_out(void *ctx, u16 port, unsigned bytes, u32 value)
{
    struct run *r = ctx;
    switch (port) {
    case PORT_EVENT: event(r); break;
    case PORT_SYSCALL: note(r, LOG_CALL); break;
    case PORT_PIECE:
        note(r, LOG_PIECE);
        piece_starts(r);
        break;
    case PORT_LOOK: note(r, LOG_LOOK)->flags = (u32)rflags_get(r->cpu); break;
    case PORT_IRQ:
        note(r, LOG_REQUEST);
        cpu_request(r->cpu, CPU_INTR);
        break;
    case PORT_END:
        note(r, LOG_END)->flags = (u32)rflags_get(r->cpu) & ~(u32)EFL_STATUS;
        stop(r);
        break;
    default: note(r, LOG_PORT)->error = value;
    }
}

static u32 port_in(void *ctx, u16 port, unsigned bytes)
{
    struct run *r = ctx;
    note(r, LOG_PORT)->error = port;
    return (port * 0x01010101u ^ r->count) & (0xffffffff >> (32 - 8 * bytes));
}

static int interrupt_ack(void *ctx)
{
    struct run *r = ctx;
    cpu_clear_request(r->cpu, CPU_INTR);
    return VECTOR_IRQ + (int)(r->requests++ & 7);
}

static u64 tsc(void *ctx) { return 1000; }

static void shutdown(void *ctx)
{
    struct run *r = ctx;
    if (!r->end)
        note(r, LOG_SHUTDOWN);
    stop(r);
}

static void timer_due(void *ctx)
{
    struct run *r = ctx;
    r->out_of_budget = true;
    stop(r);
}

static const struct cpu_host host = { .port_in = port_in, .port_out = port_out, .interrupt_ack = interrupt_ack, .tsc = tsc,
                                      .wait = shutdown, .timer_due = timer_due, .shutdown = shutdown };

/* --- a run ------------------------------------------------------------------------------------------------------- */

static bool machine_new(struct run *r, const struct program *p)
{
    char err[300] = "";
    r->program = p;
    r->pure = p->exactflags;
    r->doubt = UINT32_MAX;
    r->log = calloc(LOG_MAX, sizeof(*r->log));
    r->ram = ram_new(RAM_BYTES, err, sizeof(err));
    if (!r->ram || !r->log) {
        fprintf(stderr, "random-programs: %s\n", err);
        return false;
    }
    r->map = physmap_new();
    r->region = (struct region){ .name = "ram", .size = RAM_BYTES, .kind = REGION_RAM, .enabled = true, .ram = r->ram };
    physmap_add(r->map, &r->region);
    physmap_write(r->map, 0, p->mem, RAM_BYTES);
    r->cpu = vcpu_new("max", r->map, &host, r, err, sizeof(err));
    if (!r->cpu) {
        fprintf(stderr, "random-programs: %s\n", err);
        return false;
    }
    vcpu_reset(r->cpu);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        segment_set_real(r->cpu, (enum sreg)i, i == SEG_CS ? PROGRAM >> 4 : DATA >> 4);
    r->cpu->rip = 0;
    r->cpu->rsp = STACK - DATA;
    return true;
}

static bool give_translator(struct run *r)
{
    struct jit_options o;
    char err[300] = "", text[240];
    snprintf(text, sizeof(text), "%s%sexactflags=%s", r->program->options, *r->program->options ? "," : "",
             r->program->exactflags ? "on" : "off");
    if (jit_options_parse(&o, text, err, sizeof(err)) && jit_new(r->cpu, &o, err, sizeof(err)))
        return true;
    fprintf(stderr, "random-programs: %s\n", err);
    return false;
}

static bool in_handler(const struct vcpu *c)
{
    const gla a = cpu_pc(c);
    return a >= HANDLERS64 && a < HANDLERS16 + 0x1000;
}

bool run_program(struct run *r, const struct program *p, enum engine engine)
{
    memset(r, 0, sizeof(*r));
    if (!machine_new(r, p) || (engine == ENGINE_JIT && !give_translator(r)))
        return false;
    running = r;
    if (engine == ENGINE_JIT) {
        jit_run(r->cpu);
    } else if (engine == ENGINE_INTERP) {
        cpu_set_icount_limit(r->cpu, BUDGET);
        interp_run(r->cpu);
    } else {
        for (; !r->end && r->steps < BUDGET; r->steps++) {
            const u32 before = r->undefined;
            const bool inside = in_handler(r->cpu);
            track_flags(r);
            cpu_step(r->cpu);
            if (!inside && in_handler(r->cpu))      /* it faulted, or something came first */
                r->undefined = before;
        }
        r->out_of_budget = !r->end;
    }
    running = NULL;
    return true;
}

void run_free(struct run *r)
{
    if (r->cpu) {
        if (r->cpu->jit.jit)
            jit_free(r->cpu);
        vcpu_free(r->cpu);
    }
    if (r->map)
        physmap_free(r->map);
    if (r->ram)
        ram_free(r->ram);
    free(r->log);
}
