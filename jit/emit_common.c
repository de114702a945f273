/* emit_common.c - what backends do in the same way whatever the host is.
 */
#include "jit/emit_common.h"

#include <string.h>

/* --- pointers that wait in memory ------------------------------------------------------------------------------------- */

void kept_begin(struct kept *k, const struct ir_unit *u)
{
    k->used = 0;
    memset(k->until, 0, u->temps * sizeof(k->until[0]));
    for (unsigned i = 0; i < u->count; i++)
        if (u->ins[i].op == IR_OP_again)
            k->until[u->ins[i].p - IR_T] = (u16)i;
}

bool kept_take(struct kept *k, ir_val pointer, unsigned *element)
{
    *element = (unsigned)__builtin_ctz(~(u32)k->used);
    if (*element >= JIT_POINTERS)
        return false;
    k->used |= (u8)(1 << *element);
    k->in[pointer - IR_T] = (u8)*element;
    return true;
}

unsigned kept_fetch(struct kept *k, const struct ir_ins *again, unsigned index)
{
    unsigned pointer = again->p - IR_T, element = k->in[pointer];
    if (k->until[pointer] == index)
        k->used &= (u8)~(1 << element);
    return element;
}

/* --- links ------------------------------------------------------------------------------------------------------------ */

struct code_link *links_new(struct links *all, bool *full, struct code_link l)
{
    if (all->count == ARRAY_LEN(all->link)) {
        *full = true;
        all->count--;
    }
    all->link[all->count] = l;
    return &all->link[all->count++];
}

bool links_place(struct jit *j, const struct links *all, struct code_unit *out)
{
    out->link_count = all->count;
    out->links = all->count ? code_alloc(j, all->count * sizeof(struct code_link)) : NULL;
    return !all->count || out->links;
}

u64 link_address(const struct links *all, const struct code_unit *out, const struct code_link *l)
{
    return (u64)(uintptr_t)(out->links + (l - all->link));
}

u32 *links_next_key(struct links *all, struct code_unit *out, unsigned *n)
{
    while (*n <= all->count) {
        unsigned i = (*n)++;
        u32 *key = i ? &all->link[i - 1].key : &out->key;
        if (i ? *key : out->crosses)
            return key;
    }
    return NULL;
}

void links_done(const struct links *all, struct code_unit *out)
{
    if (all->count)
        memcpy(out->links, all->link, all->count * sizeof(struct code_link));
}

/* --- accesses --------------------------------------------------------------------------------------------------------- */

u32 *profile_counter(struct code_unit *out, unsigned room, s32 offset, unsigned access)
{
    static u32 nobody[FOUND_COUNT];
    if (!out->profile || out->profiles == room)
        return nobody;
    struct code_profile *f = &out->profile[out->profiles++];
    *f = (struct code_profile){ .offset = offset, .access = (u8)access };
    return f->misses;
}

const struct code_profile *profile_missed(const struct jit *j, s32 offset, unsigned access)
{
    const struct code_unit *u = j->before;
    for (unsigned i = 0; u && i < u->profiles; i++) {
        const struct code_profile *f = &u->profile[i];
        if (f->offset == offset && f->access == access &&
            f->misses[FOUND_TLB] + f->misses[FOUND_LARGE] + f->misses[FOUND_NEAR] > j->opt.hotter / 32)
            return f;
    }
    return NULL;
}

/* --- calls of C ------------------------------------------------------------------------------------------------------- */

struct code_call *call_data(struct jit *j, const struct ir_unit *u, const struct ir_ins *ins, struct code_unit *out)
{
    struct code_call *call = code_alloc(j, sizeof *call);
    if (call)
        *call = (struct code_call){ .in = *u->guest[ins->gi], .offset = u->offset[ins->gi], .unit = out,
                                    .fast = (ins->op == IR_OP_step ? switch_find : switch_find_load)(u->guest[ins->gi]) };
    return call;
}
