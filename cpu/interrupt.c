/* interrupt.c - delivery of interrupts and exceptions, and what happens between two instructions.
 *
 * deliver() takes one event through the IVT (real mode), the IDT (protected and long mode) or the IVT of a virtual-8086
 * task (VME). It either succeeds completely or notes a fault and has changed nothing. exception_deliver() goes on from
 * there: double fault, shutdown. cpu_boundary() looks at the pending word in the order of SDM 3A table 6-2.
 *
 * c->rip is the address to return to in all cases: the interpreter has put it back for a fault, it stands behind the
 * instruction for a trap or INT n. SDM 3A chapter 6, SDM 3B 20.3 (virtual-8086 mode), SDM 2A INT.
 */
#include "cpu/cpu.h"
#include "cpu/log.h"
#include "cpu/mem.h"
#include "cpu/vcpu.h"

struct event { u8 vector; enum int_kind kind; bool has_error; u32 error; };

/* Error code that names an IDT entry. */
static u32 idt_error(const struct event *e) { return e->vector * 8u + 2; }

/* Fault-class exceptions push RF = 1, so that an instruction breakpoint does not stop the restarted instruction twice.
 * (#DB sets it itself where it has to.) SDM 3B 18.3.1.1. */
static u64 flags_image(const struct vcpu *c, const struct event *e)
{
    static const u32 not_faults = 1u << EXC_DB | 1u << EXC_NMI | 1u << EXC_BP | 1u << EXC_OF | 1u << EXC_DF | 1u << EXC_MC;
    bool fault = e->kind == INT_EXCEPTION && e->vector < 32 && !(not_faults >> e->vector & 1);
    return rflags_get(c) | (fault ? EFL_RF : 0);
}

/* ---------------------------------------------------------------------------- real mode and virtual-8086 mode --- */

static bool push_real_frame(struct vcpu *c, u64 flags, u32 vector_entry, struct frame *f)
{
    *f = (struct frame){ .ss = c->seg[SEG_SS], .sp = c->rsp, .size = 2, .stack_size = c->stack_size, .cpl = c->cpl };
    frame_push(f, flags);
    frame_push(f, c->seg[SEG_CS].sel);
    frame_push(f, c->rip);
    if (!frame_check(c, f))
        return false;
    if ((vector_entry & 0xffff) > c->seg[SEG_CS].limit)
        return cpu_fault_code(c, EXC_GP, 0);
    return true;
}

static void enter_real_handler(struct vcpu *c, const struct frame *f, u32 vector_entry)
{
    frame_write(c, f);
    stack_set(c, f->new_sp);
    segment_set_real(c, SEG_CS, (u16)(vector_entry >> 16));
    c->rip = vector_entry & 0xffff;
}

static bool deliver_real(struct vcpu *c, const struct event *e)
{
    struct frame f;
    u32 entry;
    if (e->vector * 4u + 3 > c->idtr.limit)
        return cpu_fault_code(c, EXC_GP, idt_error(e));
    if (!sys_read(c, (u32)(c->idtr.base + e->vector * 4u), &entry, 4) ||
        !push_real_frame(c, flags_image(c, e), entry, &f))
        return false;
    enter_real_handler(c, &f, entry);
    rflags_put(c, EFL_IF | EFL_TF | EFL_AC | EFL_RF, 0);
    return true;
}

/* INT n in virtual-8086 mode with CR4.VME: the bitmap in front of the I/O permission map sends it to the task's own IVT
 * if its bit is 0. SDM 3B 20.3.3, table 20-2. *redirect is set so if the fault-free answer is yes. */
static bool vme_redirected(struct vcpu *c, u8 vector, bool *redirect)
{
    u16 map;
    u8 bits;
    *redirect = false;
    if (!(c->tr.attr & 8) || c->tr.limit < 103)
        return cpu_fault_code(c, EXC_GP, 0);
    if (!sys_read(c, c->tr.base + 102, &map, 2))
        return false;
    u32 at = map - 32u + vector / 8;
    if (map < 32 || at > c->tr.limit)
        return cpu_fault_code(c, EXC_GP, 0);
    if (!sys_read(c, c->tr.base + at, &bits, 1))
        return false;
    *redirect = !(bits >> vector % 8 & 1);
    return true;
}

static bool deliver_vme(struct vcpu *c, const struct event *e)
{
    struct frame f;
    u32 entry;
    u64 flags = rflags_get(c);
    bool virtual_if = (flags & EFL_IOPL) != EFL_IOPL;
    if (virtual_if)
        flags = (flags & ~(u64)EFL_IF) | EFL_IOPL | (flags & EFL_VIF ? EFL_IF : 0);
    if (!sys_read(c, e->vector * 4u, &entry, 4) || !push_real_frame(c, flags, entry, &f))
        return false;
    enter_real_handler(c, &f, entry);
    rflags_put(c, EFL_TF | EFL_RF | (virtual_if ? EFL_VIF : EFL_IF), 0);
    return true;
}

/* ------------------------------------------------------------------------------------- protected and long mode --- */

struct gate { u64 low, high; };
static unsigned gate_type(const struct gate *g) { return g->low >> 40 & 0x1f; }
static unsigned gate_dpl(const struct gate *g) { return g->low >> 45 & 3; }
static u16 gate_selector(const struct gate *g) { return (u16)(g->low >> 16); }
static unsigned gate_ist(const struct gate *g) { return g->low >> 32 & 7; }

static u64 gate_offset(const struct gate *g)
{
    if (!(gate_type(g) & 8))
        return g->low & 0xffff;
    return (g->low & 0xffff) | (g->low >> 32 & 0xffff0000) | g->high << 32;
}

static bool gate_read(struct vcpu *c, const struct event *e, struct gate *g)
{
    unsigned bytes = in_long_mode(c) ? 16 : 8;
    u32 offset = e->vector * bytes;
    u64 raw[2] = { 0, 0 };
    if (offset + bytes - 1 > c->idtr.limit)
        return cpu_fault_code(c, EXC_GP, idt_error(e));
    if (!sys_read(c, c->idtr.base + offset, raw, bytes))
        return false;
    *g = (struct gate){ raw[0], raw[1] & 0xffffffff };
    unsigned type = gate_type(g);
    bool valid = type == SYS_INT32 || type == SYS_TRAP32 ||
        (!in_long_mode(c) && (type == SYS_INT16 || type == SYS_TRAP16 || type == SYS_TASK_GATE));
    bool by_program = e->kind == INT_SOFTWARE || e->kind == INT_SOFT_EXC;
    if (!valid || (by_program && gate_dpl(g) < c->cpl))
        return cpu_fault_code(c, EXC_GP, idt_error(e));
    if (!(g->low >> 47 & 1))
        return cpu_fault_code(c, EXC_NP, idt_error(e));
    return true;
}

static bool deliver_task_gate(struct vcpu *c, const struct event *e, const struct gate *g)
{
    struct descriptor d;
    u16 sel = gate_selector(g);
    if (sel & 4)
        return cpu_fault_code(c, EXC_GP, sel & ~3u);
    if (!descriptor_read(c, sel, 8, EXC_GP, &d))
        return false;
    if (desc_type(&d) != SYS_TSS16 && desc_type(&d) != SYS_TSS32)
        return cpu_fault_code(c, EXC_GP, sel & ~3u);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    return task_switch(c, sel, TASK_INT, e->has_error, e->error, (u32)flags_image(c, e) & EFL_RF);
}

/* The code segment that a gate names, and the privilege that it runs at. */
static bool gate_target(struct vcpu *c, const struct gate *g, struct descriptor *d, unsigned *cpl)
{
    u16 sel = gate_selector(g);
    u32 error = sel & ~3u;
    if (sel_null(sel))
        return cpu_fault_code(c, EXC_GP, 0);
    if (!descriptor_read(c, sel, 8, EXC_GP, d))
        return false;
    unsigned type = desc_type(d);
    if ((type & (SEG_S | SEG_CODE)) != (SEG_S | SEG_CODE) || desc_dpl(d) > c->cpl)
        return cpu_fault_code(c, EXC_GP, error);
    if (!desc_present(d))
        return cpu_fault_code(c, EXC_NP, error);
    if (in_long_mode(c) && (desc_attr(d) & (SEG_L | SEG_D)) != SEG_L)
        return cpu_fault_code(c, EXC_GP, error);
    *cpl = type & SEG_E ? c->cpl : desc_dpl(d);
    if (in_v86_mode(c) && *cpl != 0)
        return cpu_fault_code(c, EXC_GP, error);
    return true;
}

static bool gate_stack_long(struct vcpu *c, const struct gate *g, struct frame *f)
{
    f->stack_size = 8;
    f->sp = c->rsp;
    f->ss = c->seg[SEG_SS];
    if (gate_ist(g) || f->cpl < c->cpl) {
        u32 offset = gate_ist(g) ? 28 + gate_ist(g) * 8 : 4u + f->cpl * 8;
        if (offset + 7 > c->tr.limit)
            return cpu_fault_code(c, EXC_TS, c->tr.sel & ~3u);
        if (!sys_read(c, c->tr.base + offset, &f->sp, 8))
            return false;
    }
    if (f->cpl < c->cpl)
        f->ss = (struct segment){ .sel = f->cpl, .attr = (u16)(f->cpl << 5), .unusable = 1 };
    f->sp &= ~(u64)15;
    return true;
}

static bool gate_stack_legacy(struct vcpu *c, struct frame *f)
{
    struct descriptor d;
    u16 sel;
    u32 sp;
    if (f->cpl == c->cpl) {
        f->ss = c->seg[SEG_SS];
        f->stack_size = c->stack_size;
        f->sp = c->rsp;
        return true;
    }
    if (!tss_stack(c, f->cpl, &sel, &sp))
        return false;
    if (sel_null(sel))
        return cpu_fault_code(c, EXC_TS, 0);
    if (!segment_check_stack(c, sel, f->cpl, EXC_TS, &d))
        return false;
    f->ss = descriptor_segment(&d, sel);
    f->stack_size = f->ss.attr & SEG_D ? 4 : 2;
    f->sp = sp;
    f->error = sel & ~3u;
    return true;
}

static void gate_frame(struct vcpu *c, const struct event *e, struct frame *f)
{
    if (in_v86_mode(c)) {
        frame_push(f, c->seg[SEG_GS].sel);
        frame_push(f, c->seg[SEG_FS].sel);
        frame_push(f, c->seg[SEG_DS].sel);
        frame_push(f, c->seg[SEG_ES].sel);
    }
    if (f->cpl != c->cpl || in_long_mode(c)) {
        frame_push(f, c->seg[SEG_SS].sel);
        frame_push(f, c->rsp);
    }
    frame_push(f, flags_image(c, e));
    frame_push(f, c->seg[SEG_CS].sel);
    frame_push(f, c->rip);
    if (e->has_error)
        frame_push(f, e->error);
}

/* Everything has been checked. */
static void enter_gate_handler(struct vcpu *c, const struct gate *g, const struct descriptor *d, const struct frame *f)
{
    static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    frame_write(c, f);
    if (in_v86_mode(c))
        for (unsigned i = 0; i < ARRAY_LEN(data); i++)
            segment_set_null(c, data[i], 0);
    c->seg[SEG_SS] = f->ss;
    rflags_put(c, EFL_TF | EFL_VM | EFL_RF | EFL_NT | (gate_type(g) & 1 ? 0 : EFL_IF), 0);
    segment_set_code(c, d, gate_selector(g), f->cpl);
    stack_set(c, f->new_sp);
    c->rip = gate_offset(g);
}

static bool deliver_gate(struct vcpu *c, const struct event *e)
{
    struct gate g = { 0 };
    struct descriptor d;
    unsigned cpl = 0;
    if (!gate_read(c, e, &g))
        return false;
    if (gate_type(&g) == SYS_TASK_GATE)
        return deliver_task_gate(c, e, &g);
    if (!gate_target(c, &g, &d, &cpl))
        return false;
    struct frame f = { .size = in_long_mode(c) ? 8 : gate_type(&g) & 8 ? 4 : 2, .cpl = (u8)cpl };
    if (!(in_long_mode(c) ? gate_stack_long(c, &g, &f) : gate_stack_legacy(c, &f)))
        return false;
    gate_frame(c, e, &f);
    if (!frame_check(c, &f))
        return false;
    struct segment code = descriptor_segment(&d, 0);
    if (in_long_mode(c) ? !is_canonical(gate_offset(&g)) : gate_offset(&g) > code.limit)
        return cpu_fault_code(c, EXC_GP, 0);
    if (!segment_set_accessed(c, &d))
        return false;
    enter_gate_handler(c, &g, &d, &f);
    return true;
}

/* ---------------------------------------------------------------------------------------------------- delivery --- */

static void log_event(const struct vcpu *c, const struct event *e)
{
    static const char *const kinds[] = { "exception", "INT", "INT3/INTO", "INT1", "interrupt", "NMI" };
    log_print(LOG_INT, "%s %02x", kinds[e->kind], e->vector);
    if (e->has_error)
        log_print(LOG_INT, " error %04x", e->error);
    if (e->kind == INT_EXCEPTION && e->vector == EXC_PF)
        log_print(LOG_INT, " cr2 %016llx", (unsigned long long)c->cr2);
    log_print(LOG_INT, " cpl %u at %04x:%016llx ss:rsp %04x:%016llx rax %016llx\n", c->cpl, c->seg[SEG_CS].sel,
        (unsigned long long)c->rip, c->seg[SEG_SS].sel, (unsigned long long)c->rsp, (unsigned long long)c->rax);
}

static bool deliver(struct vcpu *c, const struct event *e)
{
    bool ok;
    if (log_on(LOG_INT))
        log_event(c, e);
    c->exc_ext = e->kind != INT_SOFTWARE && e->kind != INT_SOFT_EXC;
    ok = in_real_mode(c) ? deliver_real(c, e) : deliver_gate(c, e);
    c->exc_ext = 0;
    if (ok)
        c->halted = false;
    return ok;
}

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };
static enum fault_class fault_class(u8 vector)
{
    static const u32 contributory = 1u << EXC_DE | 1u << EXC_TS | 1u << EXC_NP | 1u << EXC_SS | 1u << EXC_GP;
    if (vector == EXC_PF)
        return PAGE_FAULT;
    return vector < 32 && contributory >> vector & 1 ? CONTRIBUTORY : BENIGN;
}

static void enter_shutdown(struct vcpu *c)
{
    if (log_on(LOG_INT))
        log_print(LOG_INT, "triple fault at %04x:%016llx\n", c->seg[SEG_CS].sel, (unsigned long long)c->rip);
    c->in_shutdown = true;
    cpu_raise(c, PEND_TRAP);        /* leave the loop: cpu_boundary sleeps */
    c->host->shutdown(c->host_ctx);
}

void exception_deliver(struct vcpu *c)
{
    struct event e = { c->exc.vector, INT_EXCEPTION, c->exc.has_error, c->exc.error };
    c->dr6_pending = 0;             /* traps of an instruction that did not complete come again when it does */
    if (++c->icount >= c->icount_limit)     /* a handler that faults at once must not stop the instruction clock */
        cpu_raise(c, PEND_TIMER);
    for (unsigned tries = 0; !deliver(c, &e); tries++) {
        enum fault_class first = fault_class(e.vector), second = fault_class(c->exc.vector);
        if (e.vector == EXC_DF || tries > 4) {
            enter_shutdown(c);
            return;
        }
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) || (first == PAGE_FAULT && second != BENIGN))
            e = (struct event){ EXC_DF, INT_EXCEPTION, true, 0 };
        else
            e = (struct event){ c->exc.vector, INT_EXCEPTION, c->exc.has_error, c->exc.error };
    }
}

bool interrupt_software(struct vcpu *c, u8 vector, enum int_kind kind)
{
    struct event e = { vector, kind, false, 0 };
    bool redirect = false;
    if (kind == INT_SOFTWARE && in_v86_mode(c)) {
        if (c->cr4 & CR4_VME && !vme_redirected(c, vector, &redirect))
            return false;
        if (!redirect && (c->eflags & EFL_IOPL) != EFL_IOPL)
            return cpu_fault_code(c, EXC_GP, 0);
    }
    if (!(redirect ? deliver_vme(c, &e) : deliver(c, &e)))
        return false;
    debug_clear_step(c);            /* TF was cleared on the way: no single-step trap in the handler */
    return true;
}

/* Something asynchronous: if its own delivery faults, that fault is delivered. */
static void deliver_event(struct vcpu *c, struct event e)
{
    c->halted = false;
    if (!deliver(c, &e))
        exception_deliver(c);
}

/* ------------------------------------------------------------------------------------ between two instructions --- */

static void acknowledge(struct vcpu *c, u32 bits) { atomic_fetch_and(&c->pending, ~bits); }

/* Sleeps until one of these bits is set or the machine wants the thread. */
static void sleep_until(struct vcpu *c, u32 bits)
{
    static const u32 always = PEND_RESET | PEND_STOP | PEND_CODE | PEND_FLUSH | PEND_TIMER;
    if (c->no_sleep) {
        cpu_raise(c, PEND_STOP);
        return;
    }
    atomic_store(&c->wake_mask, bits | always);
    c->host->wait(c->host_ctx);
    atomic_store(&c->wake_mask, ~0u);
}

/* What is not the guest's business, reset included. Returns true if it did something. */
static bool boundary_host(struct vcpu *c, u32 p)
{
    if (p & PEND_RESET) {
        acknowledge(c, PEND_RESET | PEND_INIT | PEND_SIPI | PEND_NMI);
        vcpu_reset(c);
        return true;
    }
    u32 todo = p & (PEND_FLUSH | PEND_CODE | PEND_TIMER);
    acknowledge(c, todo);
    if (todo & PEND_FLUSH)
        mmu_flush_all(&c->mmu);
    if (todo & PEND_CODE)
        codepages_drain(c->mmu.phys);
    if (todo & PEND_TIMER)
        c->host->timer_due(c->host_ctx);
    return todo;
}

static void start_at_sipi(struct vcpu *c)
{
    u8 vector = (u8)c->sipi_vector;
    c->wait_sipi = false;
    segment_set_real(c, SEG_CS, (u16)(vector << 8));
    c->rip = 0;
}

/* INIT, SIPI, and the states in which a CPU does nothing else. Returns true if it did something. */
static bool boundary_signals(struct vcpu *c, u32 p)
{
    if (p & PEND_INIT) {
        acknowledge(c, PEND_INIT | PEND_SIPI);
        vcpu_init_signal(c);
        return true;
    }
    if (p & PEND_SIPI) {
        acknowledge(c, PEND_SIPI);
        if (c->wait_sipi)
            start_at_sipi(c);
        return true;
    }
    if (c->wait_sipi) {
        sleep_until(c, PEND_INIT | PEND_SIPI);
        return true;
    }
    if (c->in_shutdown) {
        if (p & PEND_NMI && !c->nmi_blocked)
            c->in_shutdown = false;
        else
            sleep_until(c, PEND_INIT | (c->nmi_blocked ? 0 : PEND_NMI));
        return true;
    }
    return false;
}

/* Traps of the instruction before, NMI, interrupts. Returns true if it delivered one. */
static bool boundary_events(struct vcpu *c, u32 p)
{
    if (c->dr6_pending && c->shadow != SHADOW_MOV_SS) {
        debug_note(c, c->dr6_pending);
        c->dr6_pending = 0;
        deliver_event(c, (struct event){ EXC_DB, INT_EXCEPTION, false, 0 });
        return true;
    }
    if (p & PEND_NMI && !c->nmi_blocked && c->shadow != SHADOW_MOV_SS) {
        acknowledge(c, PEND_NMI);
        c->nmi_blocked = true;
        deliver_event(c, (struct event){ EXC_NMI, INT_NMI, false, 0 });
        return true;
    }
    if (p & PEND_INTR && c->eflags & EFL_IF && !c->shadow) {
        int vector = c->host->interrupt_ack(c->host_ctx);
        if (vector < 0)
            return false;
        deliver_event(c, (struct event){ (u8)vector, INT_EXTERNAL, false, 0 });
        return true;
    }
    return false;
}

bool cpu_boundary(struct vcpu *c)
{
    for (;;) {
        u32 p = atomic_load(&c->pending);
        if (p & PEND_STOP) {
            acknowledge(c, PEND_STOP);
            return false;
        }
        if (boundary_host(c, p) || boundary_signals(c, p) || boundary_events(c, p))
            continue;
        if (c->halt_masked && p & PEND_INTR)
            c->halted = false;
        if (!c->halted)
            break;
        bool interrupts = c->eflags & EFL_IF || c->halt_masked;
        sleep_until(c, (c->nmi_blocked ? 0 : PEND_NMI) | PEND_INIT | (interrupts ? PEND_INTR : 0));
    }
    if (!cpu_stepping(c) && !c->dr6_pending)
        acknowledge(c, PEND_TRAP);
    return true;
}
