/* task.c - hardware task switches: 16- and 32-bit TSSs, JMP, CALL, interrupts, IRET. SDM 3A chapter 7.
 *
 * Up to the commit point (the new TSS is known to be good, all memory that will be written is writable) a fault belongs
 * to the old task and nothing has changed. After it the switch takes place whatever happens, and what is wrong with the
 * new task's segments is reported in the new task.
 */
#include <string.h>

#include "cpu/log.h"
#include "cpu/mem.h"
#include "cpu/vcpu.h"

/* A TSS of either size, widened. Register and segment order is that of enum gpr and enum sreg. */
struct tss { u32 cr3, eip, eflags, gpr[8]; u16 seg[SEG_COUNT], ldt; bool debug_trap; };

/* Where things stand, SDM 3A figures 7-2 and 7-10. */
struct tss_layout { u8 slot, segments, min_limit, stacks, cr3, eip, eflags, gpr, seg, ldt; };
static const struct tss_layout layout16 = { 2, 4, 0x2b, 2, 0, 14, 16, 18, 34, 42 };
static const struct tss_layout layout32 = { 4, 6, 0x67, 4, 28, 32, 36, 40, 72, 96 };

static const struct tss_layout *layout_of(unsigned type) { return type & 8 ? &layout32 : &layout16; }

static u32 get(const u8 *p, unsigned bytes)
{
    u32 v = 0;
    memcpy(&v, p, bytes);
    return v;
}

static void tss_parse(struct tss *t, const u8 *image, const struct tss_layout *l)
{
    memset(t, 0, sizeof *t);
    t->cr3 = l->cr3 ? get(image + l->cr3, 4) : 0;
    t->eip = get(image + l->eip, l->slot);
    t->eflags = get(image + l->eflags, l->slot);
    for (unsigned i = 0; i < 8; i++) {
        t->gpr[i] = get(image + l->gpr + i * l->slot, l->slot);
        if (l->slot == 2)
            t->gpr[i] |= 0xffff0000;    /* as processors do; SDM leaves the upper halves undefined */
    }
    for (unsigned i = 0; i < l->segments; i++)
        t->seg[i] = (u16)get(image + l->seg + i * l->slot, 2);
    t->ldt = (u16)get(image + l->ldt, 2);
    t->debug_trap = l->slot == 4 && image[100] & 1;
}

bool tss_stack(struct vcpu *c, unsigned cpl, u16 *ss, u32 *sp)
{
    const struct tss_layout *l = layout_of(c->tr.attr & 15);
    u32 offset = l->stacks + cpl * 2 * l->slot;
    u8 image[8] = { 0 };
    if (offset + l->slot + 1 > c->tr.limit)
        return cpu_fault_code(c, EXC_TS, c->tr.sel & ~3u);
    if (!sys_read(c, c->tr.base + offset, image, l->slot + 2u))
        return false;
    *sp = get(image, l->slot);
    *ss = (u16)get(image + l->slot, 2);
    return true;
}

/* ------------------------------------------------------------------------------------------- before the commit --- */

static gla descriptor_at(const struct vcpu *c, u16 sel) { return c->gdtr.base + (sel & ~7u); }

/* The part of the old TSS that a switch writes: EIP to the last segment register, in one piece. */
static unsigned saved_start(const struct tss_layout *l) { return l->eip; }
static unsigned saved_bytes(const struct tss_layout *l) { return l->seg + l->segments * l->slot - l->eip; }

static bool check_memory(struct vcpu *c, u16 sel, gla new_base, enum task_switch why)
{
    const struct tss_layout *old = layout_of(c->tr.attr & 15);
    if (c->tr.unusable || c->tr.limit < saved_start(old) + saved_bytes(old) - 1)
        return cpu_fault_code(c, EXC_TS, sel & ~3u);
    if (!sys_probe_write(c, c->tr.base + saved_start(old), saved_bytes(old)))
        return false;
    if (why != TASK_IRET && !sys_probe_write(c, descriptor_at(c, sel), 8))
        return false;
    if ((why == TASK_JMP || why == TASK_IRET) && !sys_probe_write(c, descriptor_at(c, c->tr.sel), 8))
        return false;
    return (why != TASK_CALL && why != TASK_INT) || sys_probe_write(c, new_base, 2);
}

/* ---------------------------------------------------------------------------------------------------- the commit --- */

static void save_old(struct vcpu *c, enum task_switch why, u32 save_flags)
{
    const struct tss_layout *l = layout_of(c->tr.attr & 15);
    u8 image[0x68] = { 0 };
    u32 flags = (u32)rflags_get(c) | save_flags;
    if (why == TASK_IRET)
        flags &= ~(u32)EFL_NT;
    memcpy(image + l->eip, &c->rip, l->slot);
    memcpy(image + l->eflags, &flags, l->slot);
    for (unsigned i = 0; i < 8; i++)
        memcpy(image + l->gpr + i * l->slot, &c->gpr[i], l->slot);
    for (unsigned i = 0; i < l->segments; i++)
        memcpy(image + l->seg + i * l->slot, &c->seg[i].sel, 2);
    sys_write(c, c->tr.base + saved_start(l), image + saved_start(l), saved_bytes(l));
}

static void set_busy(struct vcpu *c, u16 sel, bool busy)
{
    struct descriptor d = { .at = descriptor_at(c, sel) };
    descriptor_set_type(c, &d, busy ? 2 : 0, busy ? 0 : 2);
}

static void switch_tr(struct vcpu *c, const struct descriptor *d, u16 sel, enum task_switch why, u32 save_flags)
{
    u16 old = c->tr.sel;
    if (why == TASK_JMP || why == TASK_IRET)
        set_busy(c, old, false);
    save_old(c, why, save_flags);
    c->tr = descriptor_segment(d, sel);
    c->tr.attr |= 2;
    if (why == TASK_CALL || why == TASK_INT)
        sys_write(c, c->tr.base, &old, 2);
    if (why != TASK_IRET)
        set_busy(c, sel, true);
}

/* Registers and selectors, unchecked: hidden parts are invalid until load_segments gives them. */
static void load_registers(struct vcpu *c, const struct tss *t, bool nested)
{
    c->cr0 |= CR0_TS;
    c->dr[7] &= ~(u64)0x155;        /* local breakpoints end with the task */
    c->rip = t->eip;
    for (unsigned i = 0; i < 8; i++)
        c->gpr[i] = t->gpr[i];
    for (unsigned i = 0; i < SEG_COUNT; i++)
        segment_set_null(c, i, t->seg[i]);
    c->ldtr = (struct segment){ .sel = t->ldt, .unusable = 1 };
    c->cpl = t->eflags & EFL_VM ? 3 : t->seg[SEG_CS] & 3;
    rflags_set(c, t->eflags | (nested ? EFL_NT : 0));
    segment_refresh(c);
}

/* ---------------------------------------------------------------------------------------------- in the new task --- */

static bool ts(struct vcpu *c, u16 sel) { return cpu_fault_code(c, EXC_TS, sel & ~3u); }

static bool load_ldt(struct vcpu *c, u16 sel)
{
    struct descriptor d;
    if (sel_null(sel))
        return true;
    if (sel & 4)
        return ts(c, sel);
    if (!descriptor_read(c, sel, 8, EXC_TS, &d))
        return false;
    if (desc_type(&d) != SYS_LDT || !desc_present(&d))
        return ts(c, sel);
    c->ldtr = descriptor_segment(&d, sel);
    return true;
}

static bool load_code(struct vcpu *c, u16 sel)
{
    struct descriptor d;
    if (sel_null(sel))
        return ts(c, sel);
    if (!descriptor_read(c, sel, 8, EXC_TS, &d))
        return false;
    unsigned type = desc_type(&d);
    if ((type & (SEG_S | SEG_CODE)) != (SEG_S | SEG_CODE) ||
        (type & SEG_E ? desc_dpl(&d) > c->cpl : desc_dpl(&d) != c->cpl))
        return ts(c, sel);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    if (!segment_set_accessed(c, &d))
        return false;
    segment_set_code(c, &d, sel, c->cpl);
    return true;
}

static bool load_stack(struct vcpu *c, u16 sel)
{
    struct descriptor d;
    if (sel_null(sel))
        return ts(c, sel);
    if (!segment_check_stack(c, sel, c->cpl, EXC_TS, &d))
        return false;
    c->seg[SEG_SS] = descriptor_segment(&d, sel);
    return true;
}

static bool load_data(struct vcpu *c, enum sreg s, u16 sel)
{
    struct descriptor d;
    if (sel_null(sel))
        return true;
    if (!descriptor_read(c, sel, 8, EXC_TS, &d))
        return false;
    unsigned type = desc_type(&d);
    bool code = type & SEG_CODE, conforming = code && type & SEG_E;
    if (!(type & SEG_S) || (code && !(type & SEG_W)))
        return ts(c, sel);
    if (!conforming && (desc_dpl(&d) < (sel & 3u) || desc_dpl(&d) < c->cpl))
        return ts(c, sel);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    if (!segment_set_accessed(c, &d))
        return false;
    c->seg[s] = descriptor_segment(&d, sel);
    return true;
}

static bool load_segments(struct vcpu *c, const struct tss *t)
{
    static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    if (!load_ldt(c, t->ldt))
        return false;
    if (in_v86_mode(c)) {
        for (unsigned i = 0; i < SEG_COUNT; i++)
            segment_set_real(c, i, t->seg[i]);
    } else {
        if (!load_code(c, t->seg[SEG_CS]) || !load_stack(c, t->seg[SEG_SS]))
            return false;
        for (unsigned i = 0; i < ARRAY_LEN(data); i++)
            if (!load_data(c, data[i], t->seg[data[i]]))
                return false;
    }
    segment_refresh(c);
    if (c->rip > c->seg[SEG_CS].limit)
        return cpu_fault_code(c, EXC_GP, 0);
    return true;
}

static bool push_error(struct vcpu *c, const struct tss_layout *l, u32 error)
{
    struct frame f = { .ss = c->seg[SEG_SS], .sp = c->rsp, .size = l->slot, .stack_size = c->stack_size, .cpl = c->cpl };
    frame_push(&f, error);
    if (!frame_check(c, &f))
        return false;
    frame_write(c, &f);
    stack_set(c, f.new_sp);
    return true;
}

/* After the commit: false for a fault that the new task has to take. */
static bool enter_new(struct vcpu *c, const struct tss *t, const struct tss_layout *l, bool has_error, u32 error)
{
    if (l->cr3 && c->cr0 & CR0_PG && !sysreg_write_cr(c, 3, t->cr3))
        return false;
    if (!load_segments(c, t))
        return false;
    return !has_error || push_error(c, l, error);
}

bool task_switch(struct vcpu *c, u16 sel, enum task_switch why, bool has_error, u32 error, u32 save_flags)
{
    struct descriptor d;
    struct tss t;
    u8 image[0x68];
    if (!descriptor_read(c, sel, 8, EXC_TS, &d))
        return false;
    const struct tss_layout *l = layout_of(desc_type(&d));
    struct segment seg = descriptor_segment(&d, sel);
    if (log_on(LOG_PCALL))
        log_print(LOG_PCALL, "task switch %04x -> %04x at %llx\n", c->tr.sel, sel, (unsigned long long)c->rip);
    if (seg.limit < l->min_limit)
        return cpu_fault_code(c, EXC_TS, sel & ~3u);
    if (!sys_read(c, seg.base, image, l->min_limit + 1u) || !check_memory(c, sel, seg.base, why))
        return false;
    bool nested = why == TASK_CALL || why == TASK_INT;
    switch_tr(c, &d, sel, why, save_flags);
    sys_read(c, seg.base, image, l->min_limit + 1u);        /* again: IRET may return to the TSS just saved */
    tss_parse(&t, image, l);
    load_registers(c, &t, nested);
    bool ok = enter_new(c, &t, l, has_error, error);
    if (t.debug_trap)
        debug_raise(c, DR6_BT);
    if (!ok) {
        c->exc_ext = 0;
        exception_deliver(c);
    }
    return true;
}
