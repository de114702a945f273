/* emit_common.h - what backends do in the same way whatever the host is: pointers that wait in memory, links and their keys, what
 * was learned of accesses, what C functions are told. For backends only.
 */
#ifndef SHADOW86_JIT_EMIT_COMMON_H
#define SHADOW86_JIT_EMIT_COMMON_H

#include "jit/jit_private.h"

/* --- pointers that several guest instructions use and that wait in vcpu.jit.pointer for each `again` --- */
struct kept {
    u8 used;                        /* elements, a bit each */
    u16 until[IR_MAX_TEMPS];        /* of a pointer: index of its last `again`; 0: it is not kept */
    u8 in[IR_MAX_TEMPS];            /* which element it is in */
};
static_assert(JIT_POINTERS < 8, "kept.used has a bit for each, and one that stays clear");
void kept_begin(struct kept *k, const struct ir_unit *u);
static inline bool kept_wanted(const struct kept *k, ir_val pointer) { return k->until[pointer - IR_T]; }
/* The element for a pointer that has just been made. False: there is none. */
bool kept_take(struct kept *k, ir_val pointer, unsigned *element);
/* Where the operation at `index`, an `again`, finds its pointer; the last one gives the element back. */
unsigned kept_fetch(struct kept *k, const struct ir_ins *again, unsigned index);

/* --- links, while their unit is being emitted --- */
struct links {
    u16 count;
    struct code_link link[2 * IR_MAX_GUEST + 8];
};
/* A new one, never NULL; *full: there are too many. */
struct code_link *links_new(struct links *all, bool *full, struct code_link l);
static inline bool link_same_page(s64 target) { return target >= 0 && target < (s64)PAGE_SIZE; }
/* Room for them in the unit, before anything needs their addresses there. False: no memory. */
bool links_place(struct jit *j, const struct links *all, struct code_unit *out);
u64 link_address(const struct links *all, const struct code_unit *out, const struct code_link *l);
/* The words that name a key's reader and are to name the key's own place (8 bytes, 0 matches nothing), one after the other: *n
 * starts as 0. NULL: no more. */
u32 *links_next_key(struct links *all, struct code_unit *out, unsigned *n);
void links_done(const struct links *all, struct code_unit *out);

/* --- accesses --- */
/* Does it belong to looking up an address? */
static inline bool is_check(const struct ir_ins *ins) { return ins->op == IR_OP_ptr || ins->op == IR_OP_again; }
/* Where the misses of this access are counted, by enum code_found. room: how many accesses out->profile has room for. */
u32 *profile_counter(struct code_unit *out, unsigned room, s32 offset, unsigned access);
/* What was counted before the unit was made again, if it missed more than once in 32 executions; else NULL. See often_missed. */
const struct code_profile *profile_missed(const struct jit *j, s32 offset, unsigned access);

/* --- calls of C --- */
/* NULL: no memory. */
struct code_call *call_data(struct jit *j, const struct ir_unit *u, const struct ir_ins *ins, struct code_unit *out);

#endif
