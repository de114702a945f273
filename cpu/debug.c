/* debug.c - what a debugger or the monitor asks of a vCPU that stands still, and a debugger's stops.
 *
 * Stops (breakpoints, watchpoints, single steps) of a debugger outside are a list beside the guest's state. The
 * interpreter asks for them only while c->debugged is set, so they cost nothing otherwise; watchpoints ride on the
 * checks that the guest's own data breakpoints have (CHECK_BREAK), and make the interpreter go one instruction at a
 * time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/fpu.h"
#include "cpu/vcpu.h"

/* ------------------------------------------------------------------------------------------------------ memory --- */

bool cpu_translate(struct vcpu *c, gla a, gpa *pa) { return mmu_translate_debug(&c->mmu, a, pa); }

/* Physical address of a, and how many of the bytes lie on its page; 0: not mapped. */
static u64 debug_page(struct vcpu *c, gla a, u64 bytes, gpa *pa)
{
    u64 room = PAGE_SIZE - (a & ~PAGE_MASK);
    if (!mmu_translate_debug(&c->mmu, a, pa))
        return 0;
    return bytes < room ? bytes : room;
}

u64 cpu_memory_read(struct vcpu *c, gla a, void *buf, u64 bytes)
{
    u64 done = 0, n;
    gpa pa;
    for (; done < bytes && (n = debug_page(c, a + done, bytes - done, &pa)); done += n)
        physmap_read(c->mmu.phys, pa, (u8 *)buf + done, n);
    return done;
}

u64 cpu_memory_write(struct vcpu *c, gla a, const void *buf, u64 bytes)
{
    u64 done = 0, n;
    gpa pa;
    for (; done < bytes && (n = debug_page(c, a + done, bytes - done, &pa)); done += n)
        physmap_write(c->mmu.phys, pa, (const u8 *)buf + done, n);
    return done;
}

unsigned cpu_disassemble(struct vcpu *c, gla a, char *buf, size_t size)
{
    u8 bytes[15];
    struct insn in;
    unsigned got = (unsigned)cpu_memory_read(c, a, bytes, sizeof bytes);
    if (insn_decode(&in, bytes, got, c->code_size, NULL) != DECODE_OK) {
        snprintf(buf, size, got ? "(bad)" : "(not mapped)");
        return 1;
    }
    insn_print(buf, size, &in, a);
    return in.len;
}

gla cpu_pc(const struct vcpu *c)
{
    gla a = c->rip + (c->code_size == 8 ? 0 : c->seg[SEG_CS].base);
    return c->code_size == 8 ? a : (u32)a;
}

unsigned cpu_code_size(const struct vcpu *c) { return c->code_size; }
bool cpu_in_long_mode(const struct vcpu *c) { return in_long_mode(c); }
bool cpu_in_protected_mode(const struct vcpu *c) { return in_protected_mode(c); }
bool cpu_knows_long_mode(const struct vcpu *c) { return cpu_has(&c->model, CPUID_LM); }

/* --------------------------------------------------------------------------------------------------- registers --- */

enum reg_kind { REG_WORD /* at an offset in struct vcpu */, REG_PC, REG_EFLAGS, REG_SELECTOR, REG_SEG_BASE, REG_ST,
                REG_XMM, REG_TAGS };

struct reg { const char *name; u8 kind; u32 at; u8 bytes; bool writable; };
static const struct reg regs[] = {
#define WORD(name, field, writable) \
    { name, REG_WORD, offsetof(struct vcpu, field), sizeof(((struct vcpu *)0)->field), writable }
#define GPR(name) WORD(#name, name, true)
#define EIGHT(r, kind, n, bytes) \
    { r "0", kind, n, bytes, true }, { r "1", kind, n + 1, bytes, true }, { r "2", kind, n + 2, bytes, true }, \
    { r "3", kind, n + 3, bytes, true }, { r "4", kind, n + 4, bytes, true }, { r "5", kind, n + 5, bytes, true }, \
    { r "6", kind, n + 6, bytes, true }, { r "7", kind, n + 7, bytes, true }
    GPR(rax), GPR(rbx), GPR(rcx), GPR(rdx), GPR(rsi), GPR(rdi), GPR(rbp), GPR(rsp), GPR(r8), GPR(r9), GPR(r10),
    GPR(r11), GPR(r12), GPR(r13), GPR(r14), GPR(r15), GPR(rip),
    { "pc", REG_PC, 0, 8, true }, { "eflags", REG_EFLAGS, 0, 4, true },
    { "cs", REG_SELECTOR, SEG_CS, 4, false }, { "ss", REG_SELECTOR, SEG_SS, 4, false },
    { "ds", REG_SELECTOR, SEG_DS, 4, false }, { "es", REG_SELECTOR, SEG_ES, 4, false },
    { "fs", REG_SELECTOR, SEG_FS, 4, false }, { "gs", REG_SELECTOR, SEG_GS, 4, false },
    { "fs_base", REG_SEG_BASE, SEG_FS, 8, true }, { "gs_base", REG_SEG_BASE, SEG_GS, 8, true },
    WORD("k_gs_base", kernel_gs_base, true),
    WORD("cr0", cr0, false), WORD("cr2", cr2, true), WORD("cr3", cr3, false), WORD("cr4", cr4, false),
    WORD("efer", efer, false),
    WORD("fctrl", x87.cw, true), WORD("fstat", x87.sw, true), { "ftag", REG_TAGS, 0, 2, true },
    WORD("fiseg", x87.fcs, true), WORD("fioff", x87.fip, true), WORD("foseg", x87.fds, true),
    WORD("fooff", x87.fdp, true), WORD("fop", x87.fop, true), WORD("mxcsr", mxcsr, false),
    EIGHT("st", REG_ST, 0, 10), EIGHT("xmm", REG_XMM, 0, 16),
    { "xmm8", REG_XMM, 8, 16, true }, { "xmm9", REG_XMM, 9, 16, true }, { "xmm10", REG_XMM, 10, 16, true },
    { "xmm11", REG_XMM, 11, 16, true }, { "xmm12", REG_XMM, 12, 16, true }, { "xmm13", REG_XMM, 13, 16, true },
    { "xmm14", REG_XMM, 14, 16, true }, { "xmm15", REG_XMM, 15, 16, true },
#undef EIGHT
#undef GPR
#undef WORD
};

static const struct reg *find_register(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(regs); i++)
        if (!strcmp(regs[i].name, name))
            return &regs[i];
    return NULL;
}

static void put_le(u8 *to, u64 v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (u8)(v >> 8 * i);
}

static u64 get_le(const u8 *from, unsigned bytes)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)from[i] << 8 * i;
    return v;
}

/* A field of 2, 4 or 8 bytes in the host's byte order. */
static u64 word_get(const struct vcpu *c, const struct reg *r)
{
    const u8 *p = (const u8 *)c + r->at;
    u16 w;
    u32 d;
    u64 q;
    switch (r->bytes) {
    case 2: memcpy(&w, p, 2); return w;
    case 4: memcpy(&d, p, 4); return d;
    default: memcpy(&q, p, 8); return q;
    }
}

static void word_set(struct vcpu *c, const struct reg *r, u64 v)
{
    u8 *p = (u8 *)c + r->at;
    u16 w = (u16)v;
    u32 d = (u32)v;
    switch (r->bytes) {
    case 2: memcpy(p, &w, 2); break;
    case 4: memcpy(p, &d, 4); break;
    default: memcpy(p, &v, 8); break;
    }
}

static struct f80 *st_register(struct vcpu *c, unsigned i) { return &c->x87.r[((c->x87.sw >> 11) + i) & 7]; }

unsigned cpu_register_get(const struct vcpu *c, const char *name, u8 buf[CPU_REGISTER_MAX])
{
    const struct reg *r = find_register(name);
    if (!r)
        return 0;
    switch (r->kind) {
    case REG_PC: put_le(buf, cpu_pc(c), 8); break;
    case REG_EFLAGS: put_le(buf, rflags_get(c), 4); break;
    case REG_SELECTOR: put_le(buf, c->seg[r->at].sel, 4); break;
    case REG_SEG_BASE: put_le(buf, c->seg[r->at].base, 8); break;
    case REG_TAGS: put_le(buf, x87_tag_word(c), 2); break;
    case REG_XMM:
        put_le(buf, c->vec[r->at].q[0], 8);
        put_le(buf + 8, c->vec[r->at].q[1], 8);
        break;
    case REG_ST:
        put_le(buf, st_register((struct vcpu *)c, r->at)->mant, 8);
        put_le(buf + 8, st_register((struct vcpu *)c, r->at)->se, 2);
        break;
    default: put_le(buf, word_get(c, r), r->bytes); break;
    }
    return r->bytes;
}

/* VM stays: it comes with segments and a privilege level. */
static void set_eflags(struct vcpu *c, u64 v)
{
    rflags_set(c, (v & ~(u64)EFL_VM) | (c->eflags & EFL_VM) | EFL_1);
    sysreg_refresh_view(c);
}

bool cpu_register_set(struct vcpu *c, const char *name, const u8 buf[CPU_REGISTER_MAX])
{
    const struct reg *r = find_register(name);
    if (!r || !r->writable)
        return false;
    u64 v = get_le(buf, r->bytes < 8 ? r->bytes : 8);
    switch (r->kind) {
    case REG_PC: c->rip = c->code_size == 8 ? v : (u32)(v - c->seg[SEG_CS].base); break;
    case REG_EFLAGS: set_eflags(c, v); break;
    case REG_SEG_BASE:
        c->seg[r->at].base = v;
        segment_refresh(c);
        break;
    case REG_TAGS: x87_set_tag_word(c, (u16)v); break;
    case REG_XMM:
        c->vec[r->at].q[0] = v;
        c->vec[r->at].q[1] = get_le(buf + 8, 8);
        break;
    case REG_ST: *st_register(c, r->at) = (struct f80){ v, (u16)get_le(buf + 8, 2) }; break;
    default: word_set(c, r, v); break;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------- a debugger's stops --- */

#define MAX_STOPS 256

struct stop { enum cpu_stop kind; gla at; u64 bytes; };

struct debugger {
    struct stop stop[MAX_STOPS];
    unsigned count;
    bool step;                  /* after the next instruction */
    bool passing;               /* the instruction that was stopped at last runs now */
    gla passing_at;
    struct cpu_stopped why;
    void (*stopped)(void *ctx);
    void *ctx;
};

/* The flags that the rest of cpu/ looks at. */
static void debugger_refresh(struct vcpu *c)
{
    struct debugger *d = c->debugger;
    c->watching = false;
    for (unsigned i = 0; d && i < d->count; i++)
        c->watching |= d->stop[i].kind != CPU_STOP_EXEC;
    c->debugged = d && (d->count || d->step);
    sysreg_refresh_view(c);     /* access_checks */
}

void cpu_debugger_attach(struct vcpu *c, void (*stopped)(void *ctx), void *ctx)
{
    cpu_debugger_detach(c);
    c->debugger = calloc(1, sizeof *c->debugger);
    if (!c->debugger)
        abort();
    c->debugger->stopped = stopped;
    c->debugger->ctx = ctx;
}

void cpu_debugger_detach(struct vcpu *c)
{
    free(c->debugger);
    c->debugger = NULL;
    debugger_refresh(c);
}

bool cpu_debugger_add(struct vcpu *c, enum cpu_stop kind, gla a, u64 bytes)
{
    struct debugger *d = c->debugger;
    if (!d || d->count == MAX_STOPS)
        return false;
    d->stop[d->count++] = (struct stop){ kind, a, bytes ? bytes : 1 };
    debugger_refresh(c);
    return true;
}

bool cpu_debugger_remove(struct vcpu *c, enum cpu_stop kind, gla a, u64 bytes)
{
    struct debugger *d = c->debugger;
    for (unsigned i = 0; d && i < d->count; i++) {
        struct stop *s = &d->stop[i];
        if (s->kind != kind || s->at != a || s->bytes != (bytes ? bytes : 1))
            continue;
        *s = d->stop[--d->count];
        debugger_refresh(c);
        return true;
    }
    return false;
}

void cpu_debugger_step(struct vcpu *c)
{
    if (c->debugger)
        c->debugger->step = true;
    debugger_refresh(c);
}

/* The request comes back, out of date or not: acknowledging one that has gone away is harmless. */
void cpu_step_quietly(struct vcpu *c)
{
    u32 intr = atomic_fetch_and(&c->pending, ~(u32)PEND_INTR) & PEND_INTR;
    if (c->debugger)
        c->debugger->passing = false;
    cpu_step(c);
    cpu_raise(c, intr);
}

struct cpu_stopped cpu_debugger_why(struct vcpu *c)
{
    struct cpu_stopped why = { CPU_STOP_NONE, 0 };
    if (c->debugger) {
        why = c->debugger->why;
        c->debugger->why.why = CPU_STOP_NONE;
    }
    return why;
}

static void debugger_stop(struct vcpu *c, enum cpu_stop why, gla at)
{
    struct debugger *d = c->debugger;
    d->why = (struct cpu_stopped){ why, at };
    d->passing = true;
    d->passing_at = cpu_pc(c);
    d->stopped(d->ctx);
}

bool debugger_stops_inside(const struct vcpu *c, gla a, u64 bytes)
{
    const struct debugger *d = c->debugger;
    for (unsigned i = 0; i < d->count; i++)
        if (d->stop[i].kind == CPU_STOP_EXEC && d->stop[i].at - a < bytes)
            return true;
    return false;
}

bool debugger_stops_here(struct vcpu *c)
{
    struct debugger *d = c->debugger;
    gla a = cpu_pc(c);
    bool passing = d->passing && d->passing_at == a;
    d->passing = false;
    if (passing || !debugger_stops_inside(c, a, 1))
        return false;
    debugger_stop(c, CPU_STOP_EXEC, a);
    return true;
}

bool debugger_single_steps(const struct vcpu *c) { return c->debugger->step || c->watching; }

void debugger_data(struct vcpu *c, gla a, unsigned bytes, bool write)
{
    struct debugger *d = c->debugger;
    for (unsigned i = 0; i < d->count; i++) {
        const struct stop *s = &d->stop[i];
        bool kind = s->kind == CPU_STOP_ACCESS || s->kind == (write ? CPU_STOP_WRITE : CPU_STOP_READ);
        if (kind && a < s->at + s->bytes && s->at < a + bytes && d->why.why == CPU_STOP_NONE)
            d->why = (struct cpu_stopped){ s->kind, s->at };
    }
}

void debugger_instruction_done(struct vcpu *c)
{
    struct debugger *d = c->debugger;
    if (d->why.why == CPU_STOP_NONE && !d->step)
        return;
    struct cpu_stopped why = d->why.why == CPU_STOP_NONE ? (struct cpu_stopped){ CPU_STOP_STEP, cpu_pc(c) } : d->why;
    d->step = false;
    debugger_refresh(c);
    debugger_stop(c, why.why, why.at);
}
