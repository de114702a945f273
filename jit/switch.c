/* switch.c - instructions that go from one privilege or view to another, in their usual case: SYSCALL, SYSRET, IRET, STAC, CLAC
 * in 64-bit code.
 *
 * A kernel executes them all the time, and what the interpreter's functions do for every mode is mostly not needed: here code
 * stays 64-bit, segments stay flat, nothing is single-stepped and no request waits. Each function looks at that first, and
 * answers SWITCH_NO with nothing changed if it is not so: then the interpreter's function does it (cpu/interp_sys.c, cpu/far.c
 * have the rules). Status flags are the backend's (vcpu.jit.flags), before and behind.
 *
 * RF. The frame of a page fault has it set, so that IRET would execute one instruction apart. It matters to instruction breakpoints,
 * of which there is none, and to the frame of an interrupt in front of that instruction; so it is left out if code goes
 * on at once, and SWITCH_RESUME says so.
 */
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/log.h"
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

static void set_flat(struct vcpu *c, enum sreg s, u16 sel, unsigned dpl, unsigned attr)
{
    c->seg[s] = (struct segment){ .limit = 0xffffffff, .sel = (u16)((sel & ~3u) | dpl), .flat_read = 1, .flat_write = 1,
                                  .attr = (u16)(SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | dpl << 5 | attr) };
}

static void set_flat_pair(struct vcpu *c, u16 cs, u16 ss, unsigned cpl)
{
    set_flat(c, SEG_CS, cs, cpl, SEG_CODE | SEG_L);
    set_flat(c, SEG_SS, ss, cpl, SEG_D);
    c->cpl = (u8)cpl;
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

static enum switched set_ac(struct vcpu *c, u32 eflags, u64 next)
{
    if (c->cpl || !quiet(c, eflags, 0))
        return SWITCH_NO;
    c->eflags = eflags;
    c->rip = next;
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
#define FLAT_CODE 0x00af9b000000ffffull
#define FLAT_DATA 0x00cf93000000ffffull

/* Is that what a selector of the GDT names, with RPL and DPL `rpl`? No other way to find out but the TLB's. */
static bool names(const struct vcpu *c, u16 sel, unsigned rpl, u64 flat)
{
    const u32 offset = sel & ~7u;
    u64 low;
    if (sel & 4 || sel_null(sel) || (sel & 3u) != rpl || offset + 7 > c->gdtr.limit)
        return false;
    const u8 *p = mmu_hit_read(&c->mmu, c->gdtr.base + offset, 8);
    if (!p)
        return false;
    memcpy(&low, p, 8);
    return low == (flat | (u64)rpl << 45);
}

/* Data segments that an outer level may not see would have to go: segment_drop_inner. */
static bool keeps_segments(const struct vcpu *c)
{
    return c->seg[SEG_DS].unusable && c->seg[SEG_ES].unusable && c->seg[SEG_FS].unusable && c->seg[SEG_GS].unusable;
}

static void load_pair(struct vcpu *c, u16 cs, u16 ss, unsigned rpl)
{
    const struct descriptor code = { .low = FLAT_CODE | (u64)rpl << 45 }, data = { .low = FLAT_DATA | (u64)rpl << 45 };
    c->seg[SEG_CS] = descriptor_segment(&code, cs);
    if (sel_null(ss))
        c->seg[SEG_SS] = (struct segment){ .sel = ss, .unusable = 1 };
    else
        c->seg[SEG_SS] = descriptor_segment(&data, ss);
    c->seg[SEG_CS].flat_read = c->seg[SEG_CS].flat_write = c->seg[SEG_SS].flat_read = c->seg[SEG_SS].flat_write = 1;
    c->cpl = (u8)rpl;
}

static enum switched do_iret(struct vcpu *c, const struct insn *in, u64 next)
{
    const u32 mask = EFL_STATUS | EFL_TF | EFL_DF | EFL_NT | EFL_AC | EFL_ID | EFL_IF | EFL_IOPL | EFL_VIF | EFL_VIP;
    struct { u64 rip, cs, flags, rsp, ss; } f;
    if (c->cpl || in->opsize != 8 || c->eflags & EFL_NT || log_on(LOG_PCALL))
        return SWITCH_NO;
    const u8 *p = mmu_hit_read(&c->mmu, c->rsp, sizeof f);
    if (!p)
        return SWITCH_NO;
    memcpy(&f, p, sizeof f);
    const u16 cs = (u16)f.cs, ss = (u16)f.ss;
    const unsigned rpl = cs & 3;
    const bool resume = f.flags & EFL_RF;
    const u32 new = (c->eflags & ~mask) | ((u32)f.flags & mask);
    if ((rpl && !keeps_segments(c)) || !names(c, cs, rpl, FLAT_CODE) || !is_canonical(f.rip) ||
        !(rpl ? names(c, ss, rpl, FLAT_DATA) : !ss || names(c, ss, rpl, FLAT_DATA)) || !quiet(c, new, rpl) || c->dr[7] & 0xff)
        return SWITCH_NO;
    c->nmi_blocked = false;
    load_pair(c, cs, ss, rpl);
    c->rip = f.rip;
    c->rsp = f.rsp;
    set_flags(c, new);
    set_view(c);
    return resume ? SWITCH_RESUME : SWITCH_DONE;
}

switch_fn *switch_find(const struct insn *in)
{
    static const struct { interp_fn *run; switch_fn *fn; } list[] = {
        { in_syscall, do_syscall }, { in_sysret, do_sysret }, { in_iret, do_iret }, { in_stac, do_stac }, { in_clac, do_clac },
    };
    for (unsigned i = 0; i < ARRAY_LEN(list) && in->mode == 8; i++)
        if (insn_rows[in->row].run == list[i].run)
            return list[i].fn;
    return NULL;
}
