/* segment.c - segment registers: descriptors, the checks when one is loaded, the hidden part, stack frames.
 *
 * Everything that depends on the segment registers and is looked at often is kept ready by segment_refresh: the sizes
 * of code and stack, flat_read and flat_write (accesses need no limit check), what translated code may do in segments that are
 * not flat (jit_room), access_checks, the MMU's view. Whoever changes CS, SS, another segment, CPL, CR0.PE, EFER.LMA or
 * EFLAGS.VM calls it; the functions here do so themselves, for a data segment alone where that is all that has changed.
 *
 * In real mode loading a register sets selector and base only: limit and size stay what protected mode left in them
 * ("unreal mode"). SDM 3A chapters 3 and 5, SDM 3B 20.
 */
#include "cpu/mem.h"
#include "cpu/vcpu.h"

enum { ATTR_DATA_RW = SEG_P | SEG_S | SEG_W | SEG_A };

/* ------------------------------------------------------------------------------------------------ descriptors --- */

bool descriptor_read(struct vcpu *c, u16 sel, unsigned bytes, enum exc vector, struct descriptor *d)
{
    bool local = sel & 4;
    u64 base = local ? c->ldtr.base : c->gdtr.base;
    u32 limit = local ? c->ldtr.limit : c->gdtr.limit;
    u32 offset = sel & ~7u;
    u64 raw[2] = { 0, 0 };

    if ((local && c->ldtr.unusable) || offset + bytes - 1 > limit)
        return cpu_fault_code(c, vector, sel & ~3u);
    d->at = in_long_mode(c) ? base + offset : (u32)(base + offset);
    if (!sys_read(c, d->at, raw, bytes))
        return false;
    d->low = raw[0];
    d->high = raw[1];
    return true;
}

bool descriptor_set_type(struct vcpu *c, const struct descriptor *d, unsigned set, unsigned clear)
{
    u8 access;
    if (!sys_read(c, d->at + 5, &access, 1))
        return false;
    access = (u8)((access & ~clear) | set);
    return sys_write(c, d->at + 5, &access, 1);
}

bool segment_set_accessed(struct vcpu *c, struct descriptor *d)
{
    if (d->low >> 40 & SEG_A)
        return true;
    if (!descriptor_set_type(c, d, SEG_A, 0))
        return false;
    d->low |= (u64)SEG_A << 40;
    return true;
}

struct segment descriptor_segment(const struct descriptor *d, u16 sel)
{
    struct segment s = {
        .base = (d->low >> 16 & 0xffffff) | (d->low >> 32 & 0xff000000),
        .limit = (u32)((d->low & 0xffff) | (d->low >> 32 & 0xf0000)),
        .sel = sel,
        .attr = (u16)desc_attr(d),
    };
    if (s.attr & SEG_G)
        s.limit = s.limit << 12 | 0xfff;
    if (!(s.attr & SEG_S))
        s.base |= d->high << 32;        /* zero for 8-byte descriptors */
    return s;
}

/* ------------------------------------------------------------------------------------- what follows from them --- */

bool segment_in_limit(const struct segment *s, u64 off, u64 bytes)
{
    u64 last = off + bytes - 1;
    if ((s->attr & (SEG_S | SEG_CODE | SEG_E)) == (SEG_S | SEG_E))
        return off > s->limit && last >= off && last <= (s->attr & SEG_D ? 0xffffffff : 0xffff);
    return last >= off && last <= s->limit;
}

enum view cpu_view(const struct vcpu *c, unsigned cpl)
{
    if (cpl == 3)
        return VIEW_USER;
    return (c->cr4 & CR4_SMAP) && !(c->eflags & EFL_AC) ? VIEW_KERNEL_SMAP : VIEW_KERNEL;
}

static void set_flat(struct vcpu *c, unsigned i, bool read, bool write)
{
    c->seg[i].flat_read = read;
    c->seg[i].flat_write = write;
    c->flat = (u8)((c->flat & ~(1u << i)) | (unsigned)(read && (write || i == SEG_CS)) << i);
}

/* In real mode the type of a segment means nothing. */
static void refresh_room(struct vcpu *c, unsigned i)
{
    const struct segment *s = &c->seg[i];
    const bool code = s->attr & SEG_CODE, w = s->attr & SEG_W, real = !in_protected_mode(c);
    const u64 room = !s->unusable && !c->access_checks && (code || !(s->attr & SEG_E) || real) ? (u64)s->limit + 1 : 0;
    c->jit_room[0][i] = !code || w || real ? room : 0;
    c->jit_room[1][i] = (!code && w) || real ? room : 0;
}

static void refresh_segment(struct vcpu *c, unsigned i)
{
    const struct segment *s = &c->seg[i];
    const bool unchecked = !c->access_checks;
    if (in_64bit_mode(c)) {     /* mem_host adds FS' and GS' bases, which change without a refresh */
        set_flat(c, i, unchecked && i != SEG_FS && i != SEG_GS, unchecked && i != SEG_FS && i != SEG_GS);
        return;
    }
    const bool flat = unchecked && !s->unusable && s->base == 0 && s->limit == 0xffffffff &&
        (s->attr & SEG_CODE || !(s->attr & SEG_E));
    const bool code = s->attr & SEG_CODE, w = s->attr & SEG_W;
    set_flat(c, i, flat && (w || !code), flat && w && !code);
    refresh_room(c, i);
}

static void refresh_all(struct vcpu *c)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        refresh_segment(c, i);
}

static bool data_breakpoints(const struct vcpu *c)
{
    for (unsigned i = 0; i < 4; i++)
        if ((c->dr[7] >> (2 * i) & 3) && (c->dr[7] >> (16 + 4 * i) & 1))    /* RW is 01 or 11 */
            return true;
    return false;
}

static u8 access_checks(const struct vcpu *c)
{
    bool align = c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & EFL_AC);
    bool breakpoints = c->watching || (unlikely(c->dr[7] & 0xff) && data_breakpoints(c));
    return (u8)((align ? CHECK_ALIGN : 0) | (breakpoints ? CHECK_BREAK : 0));
}

static void refresh_view(struct vcpu *c)
{
    enum view view = cpu_view(c, c->cpl);
    if (view != c->mmu.view)
        mmu_set_view(&c->mmu, view);
}

void sysreg_refresh_view(struct vcpu *c)
{
    u8 checks = access_checks(c);
    if (checks != c->access_checks) {
        c->access_checks = checks;
        refresh_all(c);
    }
    refresh_view(c);
}

static void refresh_sizes(struct vcpu *c)
{
    u16 cs = c->seg[SEG_CS].attr;
    if (in_long_mode(c) && cs & SEG_L) {
        c->code_size = c->stack_size = 8;
    } else {
        c->code_size = cs & SEG_D ? 4 : 2;
        c->stack_size = c->seg[SEG_SS].attr & SEG_D ? 4 : 2;
    }
}

void segment_refresh(struct vcpu *c)
{
    refresh_sizes(c);
    c->access_checks = access_checks(c);
    refresh_all(c);
    refresh_view(c);
}

/* A segment other than CS has been loaded: neither mode nor privilege has changed. */
static void refresh_data(struct vcpu *c, enum sreg s)
{
    if (s == SEG_SS)
        refresh_sizes(c);
    refresh_segment(c, s);
}

/* ---------------------------------------------------------------------------------------------------- loading --- */

void segment_set_real(struct vcpu *c, enum sreg s, u16 sel)
{
    struct segment *seg = &c->seg[s];
    seg->sel = sel;
    seg->base = (u32)sel << 4;
    seg->unusable = 0;
    if (in_v86_mode(c)) {
        seg->limit = 0xffff;
        seg->attr = ATTR_DATA_RW | SEG_DPL;
    } else {
        seg->attr = (u16)((seg->attr & (SEG_D | SEG_G)) | ATTR_DATA_RW);
    }
    if (s == SEG_CS)
        segment_refresh(c);
    else
        refresh_data(c, s);
}

void segment_set_null(struct vcpu *c, enum sreg s, u16 sel)
{
    c->seg[s] = (struct segment){ .sel = sel, .unusable = 1 };
}

void segment_set_code(struct vcpu *c, const struct descriptor *d, u16 sel, unsigned cpl)
{
    c->seg[SEG_CS] = descriptor_segment(d, (u16)((sel & ~3u) | cpl));
    c->cpl = (u8)cpl;
    segment_refresh(c);
}

bool segment_check_stack(struct vcpu *c, u16 sel, unsigned cpl, enum exc vector, struct descriptor *d)
{
    u32 error = sel & ~3u;
    if (!descriptor_read(c, sel, 8, vector, d))
        return false;
    bool writable = (desc_type(d) & (SEG_S | SEG_CODE | SEG_W)) == (SEG_S | SEG_W);
    if ((sel & 3u) != cpl || desc_dpl(d) != cpl || !writable)
        return cpu_fault_code(c, vector, error);
    if (!desc_present(d))
        return cpu_fault_code(c, EXC_SS, error);
    return segment_set_accessed(c, d);
}

static bool load_stack(struct vcpu *c, u16 sel)
{
    struct descriptor d;
    if (sel_null(sel)) {
        /* SDM 3A 5.4.1.1: 64-bit mode only, not at CPL 3, and the RPL must be right */
        if (!in_64bit_mode(c) || c->cpl == 3 || (sel & 3) != c->cpl)
            return cpu_fault_code(c, EXC_GP, 0);
        segment_set_null(c, SEG_SS, sel);
        c->seg[SEG_SS].attr = (u16)(c->cpl << 5);
        return true;
    }
    if (!segment_check_stack(c, sel, c->cpl, EXC_GP, &d))
        return false;
    c->seg[SEG_SS] = descriptor_segment(&d, sel);
    return true;
}

static bool load_data(struct vcpu *c, enum sreg s, u16 sel)
{
    struct descriptor d;
    u32 error = sel & ~3u;
    if (sel_null(sel)) {
        segment_set_null(c, s, sel);
        return true;
    }
    if (!descriptor_read(c, sel, 8, EXC_GP, &d))
        return false;
    unsigned type = desc_type(&d);
    bool code = type & SEG_CODE;
    if (!(type & SEG_S) || (code && !(type & SEG_W)))
        return cpu_fault_code(c, EXC_GP, error);
    if (!(code && type & SEG_E) && (desc_dpl(&d) < (sel & 3u) || desc_dpl(&d) < c->cpl))
        return cpu_fault_code(c, EXC_GP, error);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, error);
    if (!segment_set_accessed(c, &d))
        return false;
    c->seg[s] = descriptor_segment(&d, sel);
    return true;
}

bool segment_load(struct vcpu *c, enum sreg s, u16 sel)
{
    if (!in_protected_mode(c)) {
        segment_set_real(c, s, sel);
        return true;
    }
    if (!(s == SEG_SS ? load_stack(c, sel) : load_data(c, s, sel)))
        return false;
    refresh_data(c, s);
    return true;
}

/* What load_data would make of a descriptor of the GDT that needs no write, if nothing is wrong with it. */
static bool usual_data(const struct vcpu *c, u16 sel, struct segment *s)
{
    const u32 offset = sel & ~7u;
    struct descriptor d = { 0 };
    if (sel_null(sel)) {
        *s = (struct segment){ .sel = sel, .unusable = 1 };
        return true;
    }
    if (sel & 4 || offset + 7 > c->gdtr.limit)
        return false;
    const u8 *p = sys_host_read(c, in_long_mode(c) ? c->gdtr.base + offset : (u32)(c->gdtr.base + offset), 8);
    if (!p)
        return false;
    memcpy(&d.low, p, 8);
    if ((desc_type(&d) & (SEG_S | SEG_CODE | SEG_A)) != (SEG_S | SEG_A) || !desc_present(&d) || desc_dpl(&d) < (sel & 3u) ||
        desc_dpl(&d) < c->cpl)
        return false;
    *s = descriptor_segment(&d, sel);
    return true;
}

bool segment_load_usual(struct vcpu *c, enum sreg s, u16 sel)
{
    const struct segment before = c->seg[s];
    const u8 flat = c->flat;
    struct segment new = before;
    if (s == SEG_SS || s == SEG_CS || (in_protected_mode(c) && !usual_data(c, sel, &new)))
        return false;
    if (in_protected_mode(c)) {
        c->seg[s] = new;
        refresh_segment(c, s);
    } else {
        segment_set_real(c, s, sel);
    }
    if (likely(c->flat == flat))
        return true;
    c->seg[s] = before;
    refresh_segment(c, s);
    return false;
}

void segment_drop_inner(struct vcpu *c)
{
    static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        struct segment *s = &c->seg[data[i]];
        bool conforming = (s->attr & (SEG_CODE | SEG_E)) == (SEG_CODE | SEG_E);
        /* a null FS or GS keeps its 64-bit base */
        if (!s->unusable && !conforming && (s->attr >> 5 & 3u) < c->cpl) {
            segment_set_null(c, data[i], 0);
            refresh_segment(c, data[i]);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ stack frames --- */

static u64 size_mask(unsigned stack_size)
{
    return stack_size == 8 ? ~(u64)0 : stack_size == 4 ? 0xffffffff : 0xffff;
}

static gla frame_linear(const struct frame *f, u64 off)
{
    return f->stack_size == 8 ? off : (u32)(f->ss.base + off);
}

/* One stretch that does not wrap around the stack pointer's size. */
static bool frame_check_part(struct vcpu *c, const struct frame *f, u64 off, unsigned bytes)
{
    bool ok = f->stack_size == 8 ? is_canonical(off) && is_canonical(off + bytes - 1)
                                 : !f->ss.unusable && segment_in_limit(&f->ss, off, bytes);
    if (!ok)
        return cpu_fault_code(c, EXC_SS, f->error);
    if (f->cpl == 3 && c->access_checks & CHECK_ALIGN && frame_linear(f, off) & (f->size - 1u))
        return cpu_fault(c, EXC_AC);
    if (mmu_probe(&c->mmu, frame_linear(f, off), bytes, ACCESS_WRITE, cpu_view(c, f->cpl)))
        return true;
    return mem_page_fault(c);
}

/* All slots in one piece: neither around the end of the stack segment nor over a page's end. */
static bool frame_in_one_page(const struct frame *f)
{
    u64 total = (u64)f->size * f->count;
    return f->new_sp + total - 1 <= size_mask(f->stack_size) && f->new_sp + total - 1 >= f->new_sp &&
        (frame_linear(f, f->new_sp) & (PAGE_SIZE - 1)) + total <= PAGE_SIZE;
}

bool frame_check(struct vcpu *c, struct frame *f)
{
    u64 mask = size_mask(f->stack_size);
    f->new_sp = (f->sp - (u64)f->size * f->count) & mask;
    if (!f->count)
        return true;
    if (frame_in_one_page(f) && frame_check_part(c, f, f->new_sp, f->size * f->count))
        return true;
    for (unsigned i = 1; i <= f->count; i++)        /* in the order of the pushes, so that the first bad one reports */
        if (!frame_check_part(c, f, (f->sp - (u64)f->size * i) & mask, f->size))
            return false;
    return true;
}

static void frame_store(struct vcpu *c, const struct frame *f, u64 off, const void *bytes, unsigned len)
{
    gla a = frame_linear(f, off);
    mmu_write(&c->mmu, a, bytes, len, cpu_view(c, f->cpl));
    if (c->access_checks & CHECK_BREAK)
        debug_data(c, a, len, true);
}

void frame_write(struct vcpu *c, const struct frame *f)
{
    u64 mask = size_mask(f->stack_size);
    u8 bytes[8 * ARRAY_LEN(f->values)];
    if (f->count && frame_in_one_page(f)) {
        for (unsigned i = 0; i < f->count; i++)
            memcpy(&bytes[(f->count - 1 - i) * f->size], &f->values[i], f->size);
        frame_store(c, f, f->new_sp, bytes, f->size * f->count);
        return;
    }
    for (unsigned i = 0; i < f->count; i++)
        frame_store(c, f, (f->sp - (u64)f->size * (i + 1)) & mask, &f->values[i], f->size);
}
