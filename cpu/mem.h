/* mem.h - guest memory as instructions see it: segment + offset, at the current privilege.
 *
 * All return false with the fault noted (#GP/#SS for limits and canonical addresses, #PF from the walk, #AC where
 * alignment checks are on) and no effect at all: an access that crosses pages checks both before it changes anything.
 * Values are little-endian in the guest and on both kinds of host.
 */
#ifndef SHADOW86_MEM_H
#define SHADOW86_MEM_H

#include "cpu/vcpu.h"

/* Linear address of [seg:off], limit, type and canonical form checked for `bytes` bytes. off is already truncated to the
 * address size. Slow form; the inline ones below skip it for flat segments. */
bool mem_linear(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, enum access access, gla *out);

bool mem_read8(struct vcpu *c, enum sreg seg, u64 off, u8 *v);
bool mem_read16(struct vcpu *c, enum sreg seg, u64 off, u16 *v);
bool mem_read32(struct vcpu *c, enum sreg seg, u64 off, u32 *v);
bool mem_read64(struct vcpu *c, enum sreg seg, u64 off, u64 *v);
bool mem_write8(struct vcpu *c, enum sreg seg, u64 off, u8 v);
bool mem_write16(struct vcpu *c, enum sreg seg, u64 off, u16 v);
bool mem_write32(struct vcpu *c, enum sreg seg, u64 off, u32 v);
bool mem_write64(struct vcpu *c, enum sreg seg, u64 off, u64 v);
/* 1, 2, 4 or 8 bytes, zero-extended. */
bool mem_read(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, u64 *v);
bool mem_write(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes, u64 v);
/* Any length up to 4096 (10-byte reals, vectors, FXSAVE images...). mem_read_buf leaves buf alone if it fails. */
bool mem_read_buf(struct vcpu *c, enum sreg seg, u64 off, void *buf, unsigned bytes);
bool mem_write_buf(struct vcpu *c, enum sreg seg, u64 off, const void *buf, unsigned bytes);
/* Would a write of these bytes succeed? Notes the fault if not. */
bool mem_probe_write(struct vcpu *c, enum sreg seg, u64 off, unsigned bytes);

/* Accesses that the CPU makes for itself (descriptor tables, TSS, IDT): linear address, supervisor privilege. */
bool sys_read(struct vcpu *c, gla a, void *buf, unsigned bytes);
bool sys_write(struct vcpu *c, gla a, const void *buf, unsigned bytes);
bool sys_probe_write(struct vcpu *c, gla a, unsigned bytes);

/* Stack of the current SS:rSP; rSP changes only on success. bytes: 2, 4, 8. */
bool stack_push(struct vcpu *c, unsigned bytes, u64 v);
bool stack_pop(struct vcpu *c, unsigned bytes, u64 *v);

#endif
