/* far.c - transfers to another code segment: far JMP, CALL, RET, and IRET, with call gates and changes of privilege.
 *
 * Each function first makes all checks in the manual's order (the first that fails is the fault), including whether the
 * stack frame can be written, then changes memory and registers; no fault is left then. Task gates and TSSs go on to
 * task.c. SDM 2 CALL, JMP, RET, IRET; SDM 3A 5.8.
 */
#include "cpu/log.h"
#include "cpu/mem.h"
#include "cpu/vcpu.h"

static bool gp(struct vcpu *c, u16 sel) { return cpu_fault_code(c, EXC_GP, sel & ~3u); }

static bool is_code(const struct descriptor *d)
{
    return (desc_type(d) & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}
static bool is_conforming(const struct descriptor *d) { return desc_type(d) & SEG_E; }
static bool is_64bit_code(const struct vcpu *c, const struct descriptor *d)
{
    return in_long_mode(c) && desc_attr(d) & SEG_L;
}

/* The target offset against the code segment that is about to be loaded. */
static bool check_offset(struct vcpu *c, const struct descriptor *d, u64 offset)
{
    struct segment code = descriptor_segment(d, 0);
    if (is_64bit_code(c, d) ? is_canonical(offset) : offset <= code.limit)
        return true;
    return cpu_fault_code(c, EXC_GP, 0);
}

static bool check_present_code(struct vcpu *c, const struct descriptor *d, u16 sel)
{
    if (in_long_mode(c) && (desc_attr(d) & (SEG_L | SEG_D)) == (SEG_L | SEG_D))
        return gp(c, sel);
    if (!desc_present(d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    return true;
}

static void log_far(const struct vcpu *c, const char *what, u16 sel, u64 offset)
{
    if (log_on(LOG_PCALL))
        log_print(LOG_PCALL, "%s %04x:%llx cpl %u from %04x:%llx\n", what, sel, (unsigned long long)offset, c->cpl,
            c->seg[SEG_CS].sel, (unsigned long long)c->rip);
}

/* --------------------------------------------------------------------------------------- real and v86 mode --- */

static bool real_transfer(struct vcpu *c, u16 sel, u64 offset, unsigned opsize, bool call)
{
    struct frame f = { .ss = c->seg[SEG_SS], .sp = c->rsp, .size = (u8)opsize, .stack_size = c->stack_size,
                       .cpl = c->cpl };
    if (call) {
        frame_push(&f, c->seg[SEG_CS].sel);
        frame_push(&f, c->rip);
    }
    if (!frame_check(c, &f))
        return false;
    if (offset > c->seg[SEG_CS].limit)
        return cpu_fault_code(c, EXC_GP, 0);
    frame_write(c, &f);
    if (call)
        stack_set(c, f.new_sp);
    segment_set_real(c, SEG_CS, sel);
    c->rip = offset;
    return true;
}

/* ---------------------------------------------------------------------------------- straight to a code segment --- */

static bool direct_transfer(struct vcpu *c, struct descriptor *d, u16 sel, u64 offset, unsigned opsize, bool call)
{
    unsigned dpl = desc_dpl(d);
    if (is_conforming(d) ? dpl > c->cpl : (sel & 3u) > c->cpl || dpl != c->cpl)
        return gp(c, sel);
    if (!check_present_code(c, d, sel))
        return false;
    struct frame f = { .ss = c->seg[SEG_SS], .sp = c->rsp, .size = (u8)opsize, .stack_size = c->stack_size,
                       .cpl = c->cpl };
    if (call) {
        frame_push(&f, c->seg[SEG_CS].sel);
        frame_push(&f, c->rip);
    }
    if (!frame_check(c, &f) || !check_offset(c, d, offset) || !segment_set_accessed(c, d))
        return false;
    frame_write(c, &f);
    if (call)
        stack_set(c, f.new_sp);
    segment_set_code(c, d, sel, c->cpl);
    c->rip = offset;
    return true;
}

/* --------------------------------------------------------------------------------------------------- call gates --- */

struct call_gate { u16 sel; u64 offset; unsigned type, params; };

/* d: the gate's descriptor, its privilege already checked. In long mode it has 16 bytes. */
static bool read_call_gate(struct vcpu *c, struct descriptor *d, u16 gate_sel, struct call_gate *g)
{
    if (in_long_mode(c)) {
        if (!descriptor_read(c, gate_sel, 16, EXC_GP, d))
            return false;
        if (d->high >> 40 & 0x1f)
            return gp(c, gate_sel);
    }
    g->type = desc_type(d);
    g->sel = (u16)(d->low >> 16);
    g->offset = (d->low & 0xffff) | (g->type == SYS_CALL16 ? 0 : d->low >> 32 & 0xffff0000);
    if (in_long_mode(c))
        g->offset |= d->high << 32;
    g->params = in_long_mode(c) ? 0 : d->low >> 32 & 31;
    return true;
}

static bool read_gate_target(struct vcpu *c, const struct call_gate *g, bool call, struct descriptor *d)
{
    if (sel_null(g->sel))
        return cpu_fault_code(c, EXC_GP, 0);
    if (!descriptor_read(c, g->sel, 8, EXC_GP, d))
        return false;
    if (!is_code(d) || desc_dpl(d) > c->cpl)
        return gp(c, g->sel);
    if (!call && !is_conforming(d) && desc_dpl(d) != c->cpl)
        return gp(c, g->sel);
    if (in_long_mode(c) && (desc_attr(d) & (SEG_L | SEG_D)) != SEG_L)
        return gp(c, g->sel);
    if (!desc_present(d))
        return cpu_fault_code(c, EXC_NP, g->sel & ~3u);
    return true;
}

static unsigned gate_slot(const struct vcpu *c, const struct call_gate *g)
{
    return in_long_mode(c) ? 8 : g->type == SYS_CALL32 ? 4 : 2;
}

static bool inner_stack_long(struct vcpu *c, struct frame *f)
{
    u32 offset = 4u + f->cpl * 8;
    if (offset + 7 > c->tr.limit)
        return cpu_fault_code(c, EXC_TS, c->tr.sel & ~3u);
    f->ss = (struct segment){ .sel = f->cpl, .attr = (u16)(f->cpl << 5), .unusable = 1 };
    f->stack_size = 8;
    return sys_read(c, c->tr.base + offset, &f->sp, 8);
}

static bool inner_stack_legacy(struct vcpu *c, struct frame *f)
{
    struct descriptor d;
    u16 sel;
    u32 sp;
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

/* The caller's parameters move to the same place below the return address on the inner stack. */
static bool copy_params(struct vcpu *c, const struct call_gate *g, struct frame *f)
{
    for (unsigned i = g->params; i-- > 0;) {
        u64 v;
        if (!mem_read(c, SEG_SS, (c->rsp + i * f->size) & stack_mask(c), f->size, &v))
            return false;
        frame_push(f, v);
    }
    return true;
}

static bool call_inner(struct vcpu *c, const struct call_gate *g, struct descriptor *d)
{
    struct frame f = { .size = (u8)gate_slot(c, g), .cpl = (u8)desc_dpl(d) };
    if (!(in_long_mode(c) ? inner_stack_long(c, &f) : inner_stack_legacy(c, &f)))
        return false;
    frame_push(&f, c->seg[SEG_SS].sel);
    frame_push(&f, c->rsp);
    if (!copy_params(c, g, &f))
        return false;
    frame_push(&f, c->seg[SEG_CS].sel);
    frame_push(&f, c->rip);
    if (!frame_check(c, &f) || !check_offset(c, d, g->offset) || !segment_set_accessed(c, d))
        return false;
    frame_write(c, &f);
    c->seg[SEG_SS] = f.ss;
    segment_set_code(c, d, g->sel, f.cpl);
    stack_set(c, f.new_sp);
    c->rip = g->offset;
    return true;
}

static bool gate_transfer(struct vcpu *c, struct descriptor *d, u16 sel, bool call)
{
    struct call_gate g = { 0 };
    struct descriptor target;
    if (desc_dpl(d) < c->cpl || desc_dpl(d) < (sel & 3u))
        return gp(c, sel);
    if (!desc_present(d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    if (!read_call_gate(c, d, sel, &g) || !read_gate_target(c, &g, call, &target))
        return false;
    if (call && !is_conforming(&target) && desc_dpl(&target) < c->cpl)
        return call_inner(c, &g, &target);
    /* The gate's RPL means nothing: the check of direct_transfer is passed with RPL 0. */
    return direct_transfer(c, &target, g.sel & ~3u, g.offset, gate_slot(c, &g), call);
}

/* ------------------------------------------------------------------------------------------------ JMP and CALL --- */

static bool tss_transfer(struct vcpu *c, const struct descriptor *d, u16 sel, bool call)
{
    if (desc_dpl(d) < c->cpl || desc_dpl(d) < (sel & 3u))
        return gp(c, sel);
    if (!desc_present(d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    return task_switch(c, sel, call ? TASK_CALL : TASK_JMP, false, 0, 0);
}

static bool task_gate_transfer(struct vcpu *c, const struct descriptor *gate, u16 gate_sel, bool call)
{
    struct descriptor d;
    u16 sel = (u16)(gate->low >> 16);
    if (desc_dpl(gate) < c->cpl || desc_dpl(gate) < (gate_sel & 3u))
        return gp(c, gate_sel);
    if (!desc_present(gate))
        return cpu_fault_code(c, EXC_NP, gate_sel & ~3u);
    if (sel & 4)
        return gp(c, sel);
    if (!descriptor_read(c, sel, 8, EXC_GP, &d))
        return false;
    if (desc_type(&d) != SYS_TSS16 && desc_type(&d) != SYS_TSS32)
        return gp(c, sel);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    return task_switch(c, sel, call ? TASK_CALL : TASK_JMP, false, 0, 0);
}

static bool system_transfer(struct vcpu *c, struct descriptor *d, u16 sel, bool call)
{
    unsigned type = desc_type(d);
    if (in_long_mode(c))
        return type == SYS_CALL32 ? gate_transfer(c, d, sel, call) : gp(c, sel);
    switch (type) {
    case SYS_CALL16: case SYS_CALL32: return gate_transfer(c, d, sel, call);
    case SYS_TASK_GATE: return task_gate_transfer(c, d, sel, call);
    case SYS_TSS16: case SYS_TSS32: return sel & 4 ? gp(c, sel) : tss_transfer(c, d, sel, call);
    default: return gp(c, sel);
    }
}

static bool far_transfer(struct vcpu *c, u16 sel, u64 offset, unsigned opsize, bool call)
{
    struct descriptor d;
    log_far(c, call ? "call" : "jmp", sel, offset);
    if (!in_protected_mode(c))
        return real_transfer(c, sel, offset, opsize, call);
    if (sel_null(sel))
        return cpu_fault_code(c, EXC_GP, 0);
    if (!descriptor_read(c, sel, 8, EXC_GP, &d))
        return false;
    if (is_code(&d))
        return direct_transfer(c, &d, sel, offset, opsize, call);
    if (desc_type(&d) & SEG_S)
        return gp(c, sel);
    return system_transfer(c, &d, sel, call);
}

bool far_jump(struct vcpu *c, u16 sel, u64 offset, unsigned opsize) { return far_transfer(c, sel, offset, opsize, false); }
bool far_call(struct vcpu *c, u16 sel, u64 offset, unsigned opsize) { return far_transfer(c, sel, offset, opsize, true); }

/* ------------------------------------------------------------------------------------------------ RET and IRET --- */

/* What came off the stack and what it names. */
struct far_ret { u64 rip, rsp, flags; u16 cs, ss; bool outer, loads_ss; struct descriptor code, stack; };

/* Slot i of the current stack, rSP unchanged. */
static bool stack_peek(struct vcpu *c, unsigned i, unsigned bytes, unsigned skip, u64 *v)
{
    return mem_read(c, SEG_SS, (c->rsp + i * bytes + skip) & stack_mask(c), bytes, v);
}

static bool peek_selector(struct vcpu *c, unsigned i, unsigned bytes, unsigned skip, u16 *sel)
{
    u64 v;
    if (!stack_peek(c, i, bytes, skip, &v))
        return false;
    *sel = (u16)v;
    return true;
}

static bool check_return_code(struct vcpu *c, struct far_ret *r)
{
    struct descriptor *d = &r->code;
    unsigned rpl = r->cs & 3;
    if (sel_null(r->cs))
        return cpu_fault_code(c, EXC_GP, 0);
    if (!descriptor_read(c, r->cs, 8, EXC_GP, d))
        return false;
    if (!is_code(d) || rpl < c->cpl || (is_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl))
        return gp(c, r->cs);
    r->outer = rpl > c->cpl;
    return check_present_code(c, d, r->cs);
}

static bool check_return_stack(struct vcpu *c, struct far_ret *r)
{
    unsigned rpl = r->cs & 3;
    if (!sel_null(r->ss))
        return segment_check_stack(c, r->ss, rpl, EXC_GP, &r->stack);
    if (is_64bit_code(c, &r->code) && rpl != 3)
        return true;
    return cpu_fault_code(c, EXC_GP, 0);
}

/* CS:RIP, and SS:RSP if they were popped. No fault left. */
static void commit_return(struct vcpu *c, const struct far_ret *r)
{
    unsigned rpl = r->cs & 3;
    if (r->loads_ss) {
        if (sel_null(r->ss)) {
            segment_set_null(c, SEG_SS, r->ss);
            c->seg[SEG_SS].attr = (u16)(rpl << 5);
        } else {
            c->seg[SEG_SS] = descriptor_segment(&r->stack, r->ss);
        }
    }
    segment_set_code(c, &r->code, r->cs, rpl);
    c->rip = r->rip;
    if (r->loads_ss)
        stack_set(c, r->rsp);
    if (r->outer)
        segment_drop_inner(c);
}

static bool real_return(struct vcpu *c, unsigned opsize, unsigned pop_bytes)
{
    u64 ip;
    u16 cs;
    if (!stack_peek(c, 0, opsize, 0, &ip) || !peek_selector(c, 1, opsize, 0, &cs))
        return false;
    if (ip > c->seg[SEG_CS].limit)
        return cpu_fault_code(c, EXC_GP, 0);
    stack_set(c, c->rsp + 2 * opsize + pop_bytes);
    segment_set_real(c, SEG_CS, cs);
    c->rip = ip;
    return true;
}

bool far_return(struct vcpu *c, unsigned opsize, unsigned pop_bytes)
{
    struct far_ret r = { 0 };
    if (!in_protected_mode(c))
        return real_return(c, opsize, pop_bytes);
    if (!stack_peek(c, 0, opsize, 0, &r.rip) || !peek_selector(c, 1, opsize, 0, &r.cs))
        return false;
    log_far(c, "ret", r.cs, r.rip);
    if (!check_return_code(c, &r))
        return false;
    if (r.outer) {
        if (!stack_peek(c, 2, opsize, pop_bytes, &r.rsp) || !peek_selector(c, 3, opsize, pop_bytes, &r.ss) ||
            !check_return_stack(c, &r))
            return false;
        r.loads_ss = true;
        r.rsp += pop_bytes;
    }
    if (!check_offset(c, &r.code, r.rip) || !segment_set_accessed(c, &r.code))
        return false;
    if (!r.outer)
        stack_set(c, c->rsp + 2 * opsize + pop_bytes);
    commit_return(c, &r);
    return true;
}

/* ------------------------------------------------------------------------------------------------------- IRET --- */

enum { FLAGS_16 = EFL_STATUS | EFL_TF | EFL_DF | EFL_NT };

static u32 iret_flags_mask(const struct vcpu *c, unsigned opsize)
{
    u32 mask = FLAGS_16;
    if (opsize > 2)
        mask |= EFL_RF | EFL_AC | EFL_ID;
    if (c->cpl <= (c->eflags >> 12 & 3))
        mask |= EFL_IF;
    if (c->cpl == 0)
        mask |= EFL_IOPL | (opsize > 2 ? EFL_VIF | EFL_VIP : 0);
    return mask;
}

/* Real mode, and virtual-8086 mode at IOPL 3 or (16 bits wide) with VME. */
static bool iret_real(struct vcpu *c, unsigned opsize)
{
    u64 ip, flags;
    u16 cs;
    bool v86 = in_v86_mode(c);
    bool virtual_if = v86 && (c->eflags & EFL_IOPL) != EFL_IOPL;
    if (virtual_if && !(c->cr4 & CR4_VME && opsize == 2))
        return cpu_fault_code(c, EXC_GP, 0);
    if (!stack_peek(c, 0, opsize, 0, &ip) || !peek_selector(c, 1, opsize, 0, &cs) || !stack_peek(c, 2, opsize, 0, &flags))
        return false;
    if (ip > c->seg[SEG_CS].limit)
        return cpu_fault_code(c, EXC_GP, 0);
    u32 mask = FLAGS_16 | EFL_IF | (v86 ? 0 : EFL_IOPL) | (opsize > 2 ? EFL_RF | EFL_AC | EFL_ID : 0);
    if (virtual_if) {
        if (flags & EFL_TF || (flags & EFL_IF && c->eflags & EFL_VIP))
            return cpu_fault_code(c, EXC_GP, 0);
        mask = (mask & ~(u32)EFL_IF) | EFL_VIF;
        flags = (flags & 0xffff) | (flags & EFL_IF ? EFL_VIF : 0);
    }
    stack_set(c, c->rsp + 3 * opsize);
    segment_set_real(c, SEG_CS, cs);
    c->rip = ip;
    rflags_put(c, mask, (u32)flags);
    return true;
}

/* NT is set: back to the task whose TSS is linked. */
static bool iret_task(struct vcpu *c)
{
    struct descriptor d;
    u16 sel;
    if (in_long_mode(c))
        return cpu_fault_code(c, EXC_GP, 0);
    if (!sys_read(c, c->tr.base, &sel, 2))
        return false;
    if (sel & 4)
        return cpu_fault_code(c, EXC_TS, sel & ~3u);
    if (!descriptor_read(c, sel, 8, EXC_TS, &d))
        return false;
    if (desc_type(&d) != SYS_TSS16_BUSY && desc_type(&d) != SYS_TSS32_BUSY)
        return cpu_fault_code(c, EXC_TS, sel & ~3u);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    return task_switch(c, sel, TASK_IRET, false, 0, 0);
}

static bool iret_to_v86(struct vcpu *c, const struct far_ret *r)
{
    static const u8 order[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    u16 sel[ARRAY_LEN(order)], ss;
    u64 sp;
    if (!stack_peek(c, 3, 4, 0, &sp) || !peek_selector(c, 4, 4, 0, &ss))
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        if (!peek_selector(c, 5 + i, 4, 0, &sel[i]))
            return false;
    if (r->rip > 0xffff)
        return cpu_fault_code(c, EXC_GP, 0);
    c->cpl = 3;
    rflags_set(c, r->flags);
    segment_set_real(c, SEG_CS, r->cs);
    segment_set_real(c, SEG_SS, ss);
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        segment_set_real(c, order[i], sel[i]);
    c->rip = r->rip;
    c->rsp = (u32)sp;
    return true;
}

static bool iret_protected(struct vcpu *c, unsigned opsize)
{
    struct far_ret r = { 0 };
    if (!stack_peek(c, 0, opsize, 0, &r.rip) || !peek_selector(c, 1, opsize, 0, &r.cs) ||
        !stack_peek(c, 2, opsize, 0, &r.flags))
        return false;
    log_far(c, "iret", r.cs, r.rip);
    if (opsize == 4 && r.flags & EFL_VM && c->cpl == 0 && !in_long_mode(c))
        return iret_to_v86(c, &r);
    if (!check_return_code(c, &r))
        return false;
    r.loads_ss = r.outer || in_64bit_mode(c);
    if (r.loads_ss && (!stack_peek(c, 3, opsize, 0, &r.rsp) || !peek_selector(c, 4, opsize, 0, &r.ss) ||
                       !check_return_stack(c, &r)))
        return false;
    if (!check_offset(c, &r.code, r.rip) || !segment_set_accessed(c, &r.code))
        return false;
    u32 mask = iret_flags_mask(c, opsize);
    if (!r.loads_ss)
        stack_set(c, c->rsp + 3 * opsize);
    commit_return(c, &r);
    rflags_put(c, mask, (u32)r.flags);
    return true;
}

bool interrupt_return(struct vcpu *c, unsigned opsize)
{
    c->nmi_blocked = false;         /* even if the IRET faults: SDM 3A 6.7.1 */
    if (!in_protected_mode(c))
        return iret_real(c, opsize);
    if (c->eflags & EFL_NT)
        return iret_task(c);
    return iret_protected(c, opsize);
}
