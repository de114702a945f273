/* mem.h - guest memory as instructions see it: segment + offset, at the current privilege.
 *
 * All return false with the fault noted (#GP/#SS for limits and canonical addresses, #PF from the walk, #AC where
 * alignment checks are on) and no effect at all: an access that crosses pages checks both before it changes anything.
 * Values are little-endian in the guest and on both kinds of host.
 *
 * The inline part below finds the host address of an access that needs no check but the TLB's: flat segments, and 64-bit
 * mode, where a TLB hit also proves the address canonical. Everything else is in mem.c.
 */
#ifndef SHADOW86_MEM_H
#define SHADOW86_MEM_H

#include "cpu/vcpu.h"

/* Linear address of [seg:off], limit, type and canonical form checked for `bytes` bytes. off is already truncated to the
 * address size. Slow form; the inline ones below skip it for flat segments. */
bool mem_linear(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, enum access access, gla *out);

/* Outside 64-bit mode: may [off, off + bytes) be accessed as far as the segment is concerned? *room: how many bytes from
 * off on may. Notes no fault. */
bool mem_in_limit(const struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, bool write, u64 *room);
/* Notes the #PF of c->mmu.fault; returns false. */
bool mem_page_fault(struct vcpu *c);

/* Host address of the access if no check is needed and the page is in the TLB, else NULL. (flat_* are 0 while
 * access_checks is not.) */
static inline u8 *mem_host(struct vcpu *c, unsigned seg, u64 off, unsigned bytes, bool write)
{
    const struct segment *s = &c->seg[seg];
    if (unlikely(!(write ? s->flat_write : s->flat_read))) {
        if (c->code_size != 8 || c->access_checks)
            return NULL;
        if (seg >= SEG_FS)
            off += s->base;
    }
    return write ? mmu_hit_write(&c->mmu, off, bytes) : mmu_hit_read(&c->mmu, off, bytes);
}
static inline u8 *mem_host_read(struct vcpu *c, unsigned seg, u64 off, unsigned bytes)
{
    return mem_host(c, seg, off, bytes, false);
}
static inline u8 *mem_host_write(struct vcpu *c, unsigned seg, u64 off, unsigned bytes)
{
    return mem_host(c, seg, off, bytes, true);
}

bool mem_read_slow(struct vcpu *c, unsigned seg, u64 off, void *buf, unsigned bytes);
bool mem_write_slow(struct vcpu *c, unsigned seg, u64 off, const void *buf, unsigned bytes);

#define MEM_INT(bits) \
    static inline bool mem_read##bits(struct vcpu *c, enum sreg seg, u64 off, u##bits *v) \
    { \
        const u8 *p = mem_host_read(c, seg, off, bits / 8); \
        if (unlikely(!p)) \
            return mem_read_slow(c, seg, off, v, bits / 8); \
        memcpy(v, p, bits / 8); \
        return true; \
    } \
    static inline bool mem_write##bits(struct vcpu *c, enum sreg seg, u64 off, u##bits v) \
    { \
        u8 *p = mem_host_write(c, seg, off, bits / 8); \
        if (unlikely(!p)) \
            return mem_write_slow(c, seg, off, &v, bits / 8); \
        memcpy(p, &v, bits / 8); \
        return true; \
    }
MEM_INT(8)
MEM_INT(16)
MEM_INT(32)
MEM_INT(64)
#undef MEM_INT

/* 1, 2, 4 or 8 bytes, zero-extended. */
static inline bool mem_read(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, u64 *v)
{
    u64 t = 0;
    const u8 *p = mem_host_read(c, seg, off, bytes);
    if (unlikely(!p)) {
        if (!mem_read_slow(c, seg, off, &t, bytes))
            return false;
    } else {
        switch (bytes) {
        case 1: t = *p; break;
        case 2: memcpy(&t, p, 2); break;
        case 4: memcpy(&t, p, 4); break;
        default: memcpy(&t, p, 8); break;
        }
    }
    *v = t;
    return true;
}
static inline bool mem_write(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, u64 v)
{
    u8 *p = mem_host_write(c, seg, off, bytes);
    if (unlikely(!p))
        return mem_write_slow(c, seg, off, &v, bytes);
    switch (bytes) {
    case 1: *p = (u8)v; break;
    case 2: memcpy(p, &v, 2); break;
    case 4: memcpy(p, &v, 4); break;
    default: memcpy(p, &v, 8); break;
    }
    return true;
}
/* Any length up to 4096 (10-byte reals, vectors, FXSAVE images...). mem_read_buf leaves buf alone if it fails. */
bool mem_read_buf(struct vcpu *c, enum sreg seg, u64 off, void *buf, unsigned bytes);
bool mem_write_buf(struct vcpu *c, enum sreg seg, u64 off, const void *buf, unsigned bytes);
/* Would a write of these bytes succeed? Notes the fault if not. */
bool mem_probe_write(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes);

/* Accesses that the CPU makes for itself (descriptor tables, TSS, IDT): linear address, supervisor privilege. With CR4.SMAP they are never
 * allowed on user pages, whatever EFLAGS.AC says (SDM 3A 4.6). */
static inline enum view sys_view(const struct vcpu *c) { return c->cr4 & CR4_SMAP ? VIEW_KERNEL_SMAP : VIEW_KERNEL; }
/* Where such a read would find its bytes, if the page is in the present view's TLB and that view's rules are the same; else NULL. */
static inline const u8 *sys_host_read(const struct vcpu *c, gla a, unsigned bytes)
{
    return c->mmu.view == sys_view(c) ? mmu_hit_read(&c->mmu, a, bytes) : NULL;
}
bool sys_read(struct vcpu *c, gla a, void *buf, unsigned bytes);
bool sys_write(struct vcpu *c, gla a, const void *buf, unsigned bytes);
bool sys_probe_write(struct vcpu *c, gla a, unsigned bytes);

/* Stack of the current SS:rSP; rSP changes only on success. bytes: 2, 4, 8. */
static inline u64 stack_mask(const struct vcpu *c)
{
    return c->stack_size == 8 ? ~(u64)0 : c->stack_size == 4 ? 0xffffffff : 0xffff;
}
/* rSP = sp at the stack's width: 16 bits keep the rest, 32 bits clear the upper half. */
static inline void stack_set(struct vcpu *c, u64 sp)
{
    if (c->stack_size == 8)
        c->rsp = sp;
    else if (c->stack_size == 4)
        c->rsp = (u32)sp;
    else
        c->rsp = (c->rsp & ~(u64)0xffff) | (u16)sp;
}
static inline bool stack_push(struct vcpu *c, unsigned bytes, u64 v)
{
    u64 sp = (c->rsp - bytes) & stack_mask(c);
    if (!mem_write(c, SEG_SS, sp, bytes, v))
        return false;
    stack_set(c, sp);
    return true;
}
static inline bool stack_pop(struct vcpu *c, unsigned bytes, u64 *v)
{
    if (!mem_read(c, SEG_SS, c->rsp & stack_mask(c), bytes, v))
        return false;
    stack_set(c, c->rsp + bytes);
    return true;
}

#endif
