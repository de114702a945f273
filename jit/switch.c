/* switch.c - instructions that go from one privilege or view to another, in their usual case: SYSCALL, SYSRET, SYSENTER, SYSEXIT,
 * IRET, STAC, CLAC in 64-bit code, or in flat 32-bit code.
 *
 * A kernel executes them all the time, and what the interpreter's functions do for every mode is mostly not needed: here code
 * keeps its size, its segments are flat before and behind, nothing is single-stepped and no request waits. Each function looks
 * at that first, and answers SWITCH_NO with nothing changed if it is not so: then the interpreter's function does it
 * (cpu/interp_sys.c, cpu/far.c have the rules). Status flags are the backend's (vcpu.jit.flags), before and behind.
 *
 * Loads of DS, ES, FS, GS in any mode are here as well, for jit_interp: they stay in their unit, and neither RIP nor `next` matters.
 *
 * RF. The frame of a page fault has it set, so that IRET would execute one instruction apart. It matters to instruction breakpoints,
 * of which there is none, and to the frame of an interrupt in front of that instruction; so it is left out if code goes
 * on at once, and SWITCH_RESUME says so.
 */
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/log.h"
#include "cpu/mem.h"
#include "cpu/operand.h"
#include "jit/jit_private.h"

enum { NO_STEPS = EFL_TF | EFL_RF | EFL_VM };

/* May go on with these flags, at that privilege? */
static bool quiet(const struct vcpu *c, u32 eflags, unsigned cpl)
{
    u32 requests = atomic_load_explicit(&c->pending, memory_order_relaxed);
    return !((c->eflags | eflags) & NO_STEPS) && !requests && !(cpl == 3 && eflags & EFL_AC && c->cr0 & CR0_AM);
}

static void set_flags(struct vcpu *c, u32 eflags)
{
    c->eflags = (eflags & ~(u32)EFL_STATUS) | EFL_1;
    jit_of(c)->backend->flags_put(c, eflags);
}

static u32 get_flags(const struct vcpu *c) { return c->eflags | jit_of(c)->backend->flags_get(c); }

static void set_view(struct vcpu *c)
{
    enum view view = cpu_view(c, c->cpl);
    if (view != c->mmu.view)
        mmu_set_view(&c->mmu, view);
}

/* What segment_refresh would find, since both are flat and no access is checked: translated code does not run otherwise. */
static void refresh_pair(struct vcpu *c, unsigned cpl)
{
    const bool wide = c->code_size == 8;
    c->seg[SEG_CS].flat_read = c->seg[SEG_SS].flat_read = c->seg[SEG_SS].flat_write = 1;
    c->seg[SEG_CS].flat_write = wide;
    c->cpl = (u8)cpl;
    if (wide)
        return;
    c->flat |= 1u << SEG_CS | 1u << SEG_SS;
    c->stack_size = 4;
    c->jit_room[0][SEG_CS] = c->jit_room[0][SEG_SS] = c->jit_room[1][SEG_SS] = (u64)1 << 32;
    c->jit_room[1][SEG_CS] = 0;
}

static void set_flat(struct vcpu *c, enum sreg s, u16 sel, unsigned dpl, unsigned attr)
{
    c->seg[s] = (struct segment){ .limit = 0xffffffff, .sel = (u16)((sel & ~3u) | dpl),
                                  .attr = (u16)(SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | dpl << 5 | attr) };
}

static void set_flat_pair(struct vcpu *c, u16 cs, u16 ss, unsigned cpl)
{
    set_flat(c, SEG_CS, cs, cpl, SEG_CODE | (c->code_size == 8 ? SEG_L : SEG_D));
    set_flat(c, SEG_SS, ss, cpl, SEG_D);
    refresh_pair(c, cpl);
}

static enum switched do_syscall(struct vcpu *c, const struct insn *in, u64 next)
{
    const u32 flags = get_flags(c), new = flags & ~(u32)c->fmask;
    const u16 cs = (u16)(c->star >> 32);
    if (!(c->efer & EFER_SCE) || !quiet(c, new, 0))
        return SWITCH_NO;
    c->rcx = next;
    c->r11 = flags;
    c->rip = c->lstar;
    set_flat_pair(c, cs, (u16)((cs & ~3u) + 8), 0);
    set_flags(c, new);
    set_view(c);
    return SWITCH_DONE;
}

static enum switched do_sysret(struct vcpu *c, const struct insn *in, u64 next)
{
    const u32 new = c->r11 & 0x3c7fd7;
    const u16 cs = (u16)(c->star >> 48);
    if (c->cpl || in->opsize != 8 || !(c->efer & EFER_SCE) || !is_canonical(c->rcx) || !quiet(c, new, 3))
        return SWITCH_NO;
    c->rip = c->rcx;
    set_flat_pair(c, (u16)(cs + 16), (u16)(cs + 8), 3);
    set_flags(c, new);
    set_view(c);
    return SWITCH_DONE;
}

/* From 32-bit code to 32-bit code. */
static bool may_sysenter(const struct vcpu *c) { return !in_long_mode(c) && in_protected_mode(c) && c->sysenter_cs & 0xfffc; }

static enum switched do_sysenter(struct vcpu *c, const struct insn *in, u64 next)
{
    const u32 new = c->eflags & ~(u32)EFL_IF;
    const u16 cs = (u16)(c->sysenter_cs & ~3u);
    if (!may_sysenter(c) || !quiet(c, new, 0))
        return SWITCH_NO;
    c->eflags = new;
    c->rsp = (u32)c->sysenter_esp;
    c->rip = (u32)c->sysenter_eip;
    set_flat_pair(c, cs, (u16)(cs + 8), 0);
    set_view(c);
    return SWITCH_DONE;
}

static enum switched do_sysexit(struct vcpu *c, const struct insn *in, u64 next)
{
    const u16 cs = (u16)(c->sysenter_cs & ~3u);
    if (c->cpl || !may_sysenter(c) || !quiet(c, c->eflags, 3))
        return SWITCH_NO;
    c->rsp = (u32)c->rcx;
    c->rip = (u32)c->rdx;
    set_flat_pair(c, (u16)(cs + 16), (u16)(cs + 24), 3);
    set_view(c);
    return SWITCH_DONE;
}

static enum switched set_ac(struct vcpu *c, u32 eflags, u64 next)
{
    if (c->cpl || !quiet(c, eflags, 0))
        return SWITCH_NO;
    c->eflags = eflags;
    c->rip = c->code_size == 8 ? next : (u32)next;
    set_view(c);
    return SWITCH_DONE;
}
static enum switched do_stac(struct vcpu *c, const struct insn *in, u64 next) { return set_ac(c, c->eflags | EFL_AC, next); }
static enum switched do_clac(struct vcpu *c, const struct insn *in, u64 next)
{
    return set_ac(c, c->eflags & ~(u32)EFL_AC, next);
}

/* --- IRET ------------------------------------------------------------------------------------------------------------- */

/* Flat descriptors, accessed, DPL 0. */
#define FLAT_CODE64 0x00af9b000000ffffull
#define FLAT_CODE32 0x00cf9b000000ffffull
#define FLAT_DATA   0x00cf93000000ffffull

struct iret_frame { u64 rip, cs, flags, rsp, ss; };
struct iret_frame32 { u32 eip, cs, eflags, esp, ss; };

/* Is that what a selector of the GDT names, with RPL and DPL `rpl`? No other way to find out but the TLB's. */
static bool names(const struct vcpu *c, u16 sel, unsigned rpl, u64 flat)
{
    const u32 offset = sel & ~7u;
    u64 low;
    if (sel & 4 || sel_null(sel) || (sel & 3u) != rpl || offset + 7 > c->gdtr.limit)
        return false;
    const u8 *p = sys_host_read(c, in_long_mode(c) ? c->gdtr.base + offset : (u32)(c->gdtr.base + offset), 8);
    if (!p)
        return false;
    memcpy(&low, p, 8);
    return low == (flat | (u64)rpl << 45);
}

/* May an outer level keep the data segments? Else they go: segment_drop_inner. */
static bool keeps_segments(const struct vcpu *c, unsigned cpl)
{
    static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        const struct segment *s = &c->seg[data[i]];
        if (!s->unusable && (s->attr >> 5 & 3u) < cpl)
            return false;
    }
    return true;
}

/* As for same-level returns of 32-bit code, SS may stay what it is. */
static void load_pair(struct vcpu *c, const struct iret_frame *f, u64 flat, bool stack)
{
    const unsigned rpl = f->cs & 3;
    const struct descriptor code = { .low = flat | (u64)rpl << 45 }, data = { .low = FLAT_DATA | (u64)rpl << 45 };
    c->seg[SEG_CS] = descriptor_segment(&code, (u16)f->cs);
    if (stack && sel_null((u16)f->ss))
        c->seg[SEG_SS] = (struct segment){ .sel = (u16)f->ss, .unusable = 1 };
    else if (stack)
        c->seg[SEG_SS] = descriptor_segment(&data, (u16)f->ss);
    refresh_pair(c, rpl);
}

/* flat: what CS must be. stack: the frame has SS:rSP. */
static enum switched iret(struct vcpu *c, const struct iret_frame *f, u64 flat, bool stack)
{
    const u32 mask = EFL_STATUS | EFL_TF | EFL_DF | EFL_NT | EFL_AC | EFL_ID | EFL_IF | EFL_IOPL | EFL_VIF | EFL_VIP;
    const u16 cs = (u16)f->cs, ss = (u16)f->ss;
    const unsigned rpl = cs & 3;
    const u32 new = (c->eflags & ~mask) | ((u32)f->flags & mask);
    if ((rpl && !keeps_segments(c, rpl)) || !names(c, cs, rpl, flat) || !quiet(c, new, rpl) || c->dr[7] & 0xff)
        return SWITCH_NO;
    if (stack && (rpl || ss || c->code_size != 8) && !names(c, ss, rpl, FLAT_DATA))
        return SWITCH_NO;
    c->nmi_blocked = false;
    load_pair(c, f, flat, stack);
    c->rip = f->rip;
    c->rsp = f->rsp;
    set_flags(c, new);
    set_view(c);
    return f->flags & EFL_RF ? SWITCH_RESUME : SWITCH_DONE;
}

static enum switched do_iret(struct vcpu *c, const struct insn *in, u64 next)
{
    struct iret_frame f;
    if (c->cpl || in->opsize != 8 || c->eflags & EFL_NT || log_on(LOG_PCALL))
        return SWITCH_NO;
    const u8 *p = mmu_hit_read(&c->mmu, c->rsp, sizeof f);
    if (!p)
        return SWITCH_NO;
    memcpy(&f, p, sizeof f);
    return is_canonical(f.rip) ? iret(c, &f, FLAT_CODE64, true) : SWITCH_NO;
}

static enum switched do_iretd(struct vcpu *c, const struct insn *in, u64 next)
{
    enum { INNER = offsetof(struct iret_frame32, esp) };
    struct iret_frame32 f = { .esp = (u32)(c->rsp + INNER) };
    if (c->cpl || in->opsize != 4 || !in_protected_mode(c) || in_long_mode(c) || c->eflags & EFL_NT || c->stack_size != 4 ||
        !(c->flat >> SEG_SS & 1) || log_on(LOG_PCALL))
        return SWITCH_NO;
    const u8 *p = mmu_hit_read(&c->mmu, (u32)c->rsp, INNER);
    if (!p)
        return SWITCH_NO;
    memcpy(&f, p, INNER);
    const bool outer = f.cs & 3;
    if (f.eflags & EFL_VM || (outer && !(p = mmu_hit_read(&c->mmu, (u32)c->rsp, sizeof f))))
        return SWITCH_NO;
    if (outer)
        memcpy(&f, p, sizeof f);
    return iret(c, &(struct iret_frame){ f.eip, f.cs, f.eflags, f.esp, f.ss }, FLAT_CODE32, outer);
}

/* --- segment registers ------------------------------------------------------------------------------------------------- */

/* Memory that may be read without any effect but that, or NULL. */
static const u8 *readable(struct vcpu *c, enum sreg s, u64 off, unsigned bytes)
{
    const u64 room = c->jit_room[0][s];
    const u8 *p = mem_host_read(c, s, off, bytes);
    if (p || c->code_size == 8 || room < bytes || off > room - bytes)
        return p;
    return mmu_hit_read(&c->mmu, (u32)(c->seg[s].base + off), bytes);
}

static const u8 *operand(struct vcpu *c, const struct insn *in, unsigned bytes)
{
    return in->base == GPR_RIP ? NULL : readable(c, in->seg, operand_ea(c, in), bytes);
}

static enum switched do_mov_sreg(struct vcpu *c, const struct insn *in, u64 next)
{
    u16 sel;
    if (in->op[0].kind != OP_SREG)
        return SWITCH_NO;
    if (in->op[1].kind == OP_GPR) {
        sel = (u16)c->gpr[in->op[1].reg];
    } else {
        const u8 *p = operand(c, in, 2);
        if (!p)
            return SWITCH_NO;
        memcpy(&sel, p, 2);
    }
    return segment_load_usual(c, in->op[0].reg, sel) ? SWITCH_DONE : SWITCH_NO;
}

static enum switched do_pop_sreg(struct vcpu *c, const struct insn *in, u64 next)
{
    const u8 *p = readable(c, SEG_SS, c->rsp & stack_mask(c), in->opsize);
    u16 sel;
    if (!p)
        return SWITCH_NO;
    memcpy(&sel, p, 2);
    if (!segment_load_usual(c, in->op[0].reg, sel))
        return SWITCH_NO;
    stack_set(c, c->rsp + in->opsize);
    return SWITCH_DONE;
}

static enum switched load_far_pointer(struct vcpu *c, const struct insn *in, enum sreg s)
{
    const u8 *p = operand(c, in, in->opsize + 2u);
    u64 offset = 0;
    u16 sel;
    if (!p)
        return SWITCH_NO;
    memcpy(&offset, p, in->opsize);
    memcpy(&sel, p + in->opsize, 2);
    if (!segment_load_usual(c, s, sel))
        return SWITCH_NO;
    gpr_write(c, in->op[0].reg, in->opsize, offset);
    return SWITCH_DONE;
}
static enum switched do_lds(struct vcpu *c, const struct insn *in, u64 next) { return load_far_pointer(c, in, SEG_DS); }
static enum switched do_les(struct vcpu *c, const struct insn *in, u64 next) { return load_far_pointer(c, in, SEG_ES); }

/* modes: code sizes. */
struct short_way { interp_fn *run; switch_fn *fn; u8 modes; };

static switch_fn *find(const struct short_way *list, unsigned n, const struct insn *in)
{
    for (unsigned i = 0; i < n; i++)
        if (insn_rows[in->row].run == list[i].run && in->mode & list[i].modes)
            return list[i].fn;
    return NULL;
}

switch_fn *switch_find(const struct insn *in)
{
    static const struct short_way list[] = {
        { in_syscall, do_syscall, 8 }, { in_sysret, do_sysret, 8 }, { in_iret, do_iret, 8 }, { in_iret, do_iretd, 4 },
        { in_sysenter, do_sysenter, 4 }, { in_sysexit, do_sysexit, 4 }, { in_stac, do_stac, 8 | 4 }, { in_clac, do_clac, 8 | 4 },
    };
    return find(list, ARRAY_LEN(list), in);
}

switch_fn *switch_find_load(const struct insn *in)
{
    static const struct short_way list[] = {
        { in_mov_sreg, do_mov_sreg, 8 | 4 | 2 }, { in_pop_sreg, do_pop_sreg, 8 | 4 | 2 },
        { in_lds, do_lds, 4 | 2 }, { in_les, do_les, 4 | 2 },
    };
    return find(list, ARRAY_LEN(list), in);
}
