/* invalidate.c - everything that makes translated code stale.
 *
 * Code is made from physical memory, so it lives until that memory is written (the vCPU's own stores, DMA through
 * codepages_drain) or something else stands at its address (A20, PAM, PCI: mmu/codepages.c reports that as written).
 * What is linear - which page follows which - is proved at run time by the keys of links, and a change of translations for
 * fetches is a new generation (dispatch.c).
 *
 * A unit may die while it runs: the interpreter's function that it called, or one instruction that it left to the
 * interpreter, has written over it. Then nothing leads to it any more, and jit_interp makes it leave; its memory stays,
 * since only the dispatcher empties segments.
 */
#include <string.h>

#include "jit/jit_private.h"

void invalidate_paths(struct jit *j)
{
    memset(j->cpu->jit_jump, 0, sizeof(j->cpu->jit_jump));
    jit_reset_returns(j->cpu);
}

/* The list changes while units leave it, by several places perhaps: it is walked again from its start after each. */
u64 invalidate_written(struct vcpu *c, gpa a, u64 bytes, bool any)
{
    struct jit *j = jit_of(c);
    struct code_place **list = &j->pages[(unsigned)(a >> PAGE_SHIFT) & (UNIT_PAGES - 1)], *p = *list;
    u64 left = 0;
    while (p) {
        if (p->at < a + bytes && a < p->at + p->bytes) {
            unit_kill(j, place_unit(p));
            j->count.invalidations++;
            any = true;
            p = *list;
            left = 0;
            continue;
        }
        if ((p->at & PAGE_MASK) == (a & PAGE_MASK))
            left |= code_chunks(p->at, p->bytes);
        p = p->next;
    }
    if (any && self_written(j, a, bytes)) {
        codepages_drop(c->mmu.phys, a);
        left = 0;
    }
    return left;
}

/* At random, so that no address that the guest computes goes with the key of another generation: keys need not be forgotten when
 * generations pass. A 64-bit generator of full period with a mixed output (Steele and others, SplitMix). */
u64 invalidate_next_generation(struct jit *j)
{
    j->count.generations++;
    u64 z = j->last_generation += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return z ? z : 1;
}
