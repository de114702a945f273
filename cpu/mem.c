/* mem.c - the checked path of memory accesses: segment limits and types (SDM 3A 5.3, 5.5), canonical addresses (SDM 1
 * 3.3.7.1), alignment checks (SDM 3A 6.15 "#AC") and data breakpoints (SDM 3B 18.2).
 *
 * c->access_checks says which of the last two are on; then no access takes the inline path of mem.h.
 * In 64-bit mode only FS and GS have a base and nothing has a limit. In real mode limits are checked as in protected mode.
 */
#include "cpu/mem.h"

/* --- segments ------------------------------------------------------------------------------------------------- */

static bool segment_fault(struct vcpu *c, enum sreg seg)
{
    return cpu_fault_code(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static bool segment_type_ok(const struct vcpu *c, enum sreg seg, const struct segment *s, enum access access)
{
    if (s->unusable)
        return false;
    /* Real and virtual-8086 mode do not look at CS's type: CS: overrides may write. */
    if (seg == SEG_CS && !in_protected_mode(c))
        return true;
    if (s->attr & SEG_CODE)
        return access == ACCESS_READ && (s->attr & SEG_W);
    return access != ACCESS_WRITE || (s->attr & SEG_W);
}

static bool segment_limit_ok(const struct segment *s, u64 off, unsigned bytes)
{
    u64 last = off + bytes - 1;
    if ((s->attr & (SEG_CODE | SEG_E)) == SEG_E)
        return off > s->limit && last <= (s->attr & SEG_D ? 0xffffffff : 0xffff);
    return last <= s->limit;
}

bool mem_in_limit(const struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, bool write, u64 *room)
{
    const struct segment *s = &c->seg[seg];
    if (!segment_type_ok(c, seg, s, write ? ACCESS_WRITE : ACCESS_READ) || !segment_limit_ok(s, off, bytes))
        return false;
    u64 last = (s->attr & (SEG_CODE | SEG_E)) != SEG_E ? s->limit : s->attr & SEG_D ? 0xffffffff : 0xffff;
    *room = last - off + 1;
    return true;
}

bool mem_linear(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, enum access access, gla *out)
{
    const struct segment *s = &c->seg[seg];
    if (in_64bit_mode(c)) {
        gla a = seg >= SEG_FS ? s->base + off : off;
        if (!is_canonical(a) || !is_canonical(a + bytes - 1))
            return segment_fault(c, seg);
        *out = a;
        return true;
    }
    if (!segment_type_ok(c, seg, s, access) || !segment_limit_ok(s, off, bytes))
        return segment_fault(c, seg);
    *out = (u32)(s->base + off);
    return true;
}

/* --- alignment ------------------------------------------------------------------------------------------------ */

/* Alignment that #AC asks of an access of so many bytes. SDM 3A table 6-7. */
static unsigned required_alignment(unsigned bytes)
{
    switch (bytes) {
    case 1: return 1;
    case 2: return 2;
    case 4: case 6: return 4;
    case 8: case 10: return 8;
    case 16: return 16;
    case 32: return 32;
    default: return bytes % 4 ? 2 : 4;      /* FSAVE, FSTENV, BOUND images */
    }
}

static bool alignment_ok(const struct vcpu *c, gla a, unsigned bytes)
{
    return !(c->access_checks & CHECK_ALIGN) || !(a & (required_alignment(bytes) - 1));
}

/* --- the accesses --------------------------------------------------------------------------------------------- */

bool mem_page_fault(struct vcpu *c)
{
    c->cr2 = c->mmu.fault.addr;
    return cpu_fault_code(c, EXC_PF, c->mmu.fault.error);
}

/* Outside 64-bit mode linear addresses wrap at 4 GiB: how many bytes stand before the wrap. */
static unsigned bytes_before_wrap(const struct vcpu *c, gla a, unsigned bytes)
{
    if (in_64bit_mode(c) || a + bytes <= (u64)1 << 32)
        return bytes;
    return (unsigned)(((u64)1 << 32) - a);
}

static bool probe_linear(struct vcpu *c, gla a, unsigned bytes, enum access access)
{
    unsigned first = bytes_before_wrap(c, a, bytes);
    if (!mmu_probe(&c->mmu, a, first, access, c->mmu.view) ||
        (first < bytes && !mmu_probe(&c->mmu, 0, bytes - first, access, c->mmu.view)))
        return mem_page_fault(c);
    return true;
}

static bool read_linear(struct vcpu *c, gla a, void *buf, unsigned bytes)
{
    unsigned first = bytes_before_wrap(c, a, bytes);
    if (unlikely(first < bytes)) {
        u8 t[PAGE_SIZE];
        if (!mmu_read(&c->mmu, a, t, first, c->mmu.view) ||
            !mmu_read(&c->mmu, 0, t + first, bytes - first, c->mmu.view))
            return mem_page_fault(c);
        memcpy(buf, t, bytes);
        return true;
    }
    const u8 *p = mmu_hit_read(&c->mmu, a, bytes);
    if (p)
        memcpy(buf, p, bytes);
    else if (!mmu_read(&c->mmu, a, buf, bytes, c->mmu.view))
        return mem_page_fault(c);
    return true;
}

static bool write_linear(struct vcpu *c, gla a, const void *buf, unsigned bytes)
{
    unsigned first = bytes_before_wrap(c, a, bytes);
    if (unlikely(first < bytes)) {
        if (!probe_linear(c, a, bytes, ACCESS_WRITE))
            return false;
        if (!mmu_write(&c->mmu, a, buf, first, c->mmu.view) ||
            !mmu_write(&c->mmu, 0, (const u8 *)buf + first, bytes - first, c->mmu.view))
            return mem_page_fault(c);
        return true;
    }
    u8 *p = mmu_hit_write(&c->mmu, a, bytes);
    if (p)
        memcpy(p, buf, bytes);
    else if (!mmu_write(&c->mmu, a, buf, bytes, c->mmu.view))
        return mem_page_fault(c);
    return true;
}

/* Segment and alignment; then the linear address may be used. */
static bool check_access(struct vcpu *c, unsigned seg, u64 off, unsigned bytes, enum access access, gla *a)
{
    if (!mem_linear(c, seg, off, bytes, access, a))
        return false;
    if (unlikely(!alignment_ok(c, *a, bytes)))
        return cpu_fault_code(c, EXC_AC, 0);
    return true;
}

bool mem_read_slow(struct vcpu *c, unsigned seg, u64 off, void *buf, unsigned bytes)
{
    gla a;
    if (!check_access(c, seg, off, bytes, ACCESS_READ, &a) || !read_linear(c, a, buf, bytes))
        return false;
    if (unlikely(c->access_checks & CHECK_BREAK))
        debug_data(c, a, bytes, false);
    return true;
}

bool mem_write_slow(struct vcpu *c, unsigned seg, u64 off, const void *buf, unsigned bytes)
{
    gla a;
    if (!check_access(c, seg, off, bytes, ACCESS_WRITE, &a) || !write_linear(c, a, buf, bytes))
        return false;
    if (unlikely(c->access_checks & CHECK_BREAK))
        debug_data(c, a, bytes, true);
    return true;
}

bool mem_read_buf(struct vcpu *c, enum sreg seg, u64 off, void *buf, unsigned bytes)
{
    const u8 *p = mem_host_read(c, seg, off, bytes);
    if (unlikely(!p))
        return mem_read_slow(c, seg, off, buf, bytes);
    memcpy(buf, p, bytes);
    return true;
}

bool mem_write_buf(struct vcpu *c, enum sreg seg, u64 off, const void *buf, unsigned bytes)
{
    u8 *p = mem_host_write(c, seg, off, bytes);
    if (unlikely(!p))
        return mem_write_slow(c, seg, off, buf, bytes);
    memcpy(p, buf, bytes);
    return true;
}

bool mem_probe_write(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes)
{
    gla a;
    if (likely(mem_host_write(c, seg, off, bytes)))
        return true;
    return check_access(c, seg, off, bytes, ACCESS_WRITE, &a) && probe_linear(c, a, bytes, ACCESS_WRITE);
}

/* --- implicit supervisor accesses ----------------------------------------------------------------------------- */

bool sys_read(struct vcpu *c, gla a, void *buf, unsigned bytes)
{
    const u8 *p = sys_host_read(c, a, bytes);
    if (likely(p && bytes == 8)) {      /* a descriptor */
        memcpy(buf, p, 8);
        return true;
    }
    return mmu_read(&c->mmu, a, buf, bytes, sys_view(c)) || mem_page_fault(c);
}

bool sys_write(struct vcpu *c, gla a, const void *buf, unsigned bytes)
{
    return mmu_write(&c->mmu, a, buf, bytes, sys_view(c)) || mem_page_fault(c);
}

bool sys_probe_write(struct vcpu *c, gla a, unsigned bytes)
{
    return mmu_probe(&c->mmu, a, bytes, ACCESS_WRITE, sys_view(c)) || mem_page_fault(c);
}
