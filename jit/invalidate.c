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

static bool overlaps(const struct code_unit *u, gpa first, gpa last)
{
    for (unsigned i = 0; i < u->ranges; i++)
        if (u->range[i].at <= last && first < u->range[i].at + u->range[i].bytes)
            return true;
    return false;
}

/* Chunks of 64 bytes of that page that u was made from. */
static u64 chunks_on(const struct code_unit *u, gpa page)
{
    u64 chunks = 0;
    for (unsigned i = 0; i < u->ranges; i++)
        if ((u->range[i].at & PAGE_MASK) == page)
            chunks |= code_chunks(u->range[i].at, u->range[i].bytes);
    return chunks;
}

/* The list changes while units leave it: it is walked again from its start after each. */
u64 invalidate_written(struct vcpu *c, gpa a, u64 bytes)
{
    struct jit *j = jit_of(c);
    unsigned slot = (unsigned)(a >> PAGE_SHIFT) & (UNIT_PAGES - 1);
    struct code_unit *u = j->pages[slot];
    u64 left = 0;
    while (u) {
        unsigned i = 0;
        if (overlaps(u, a, a + bytes - 1)) {
            unit_kill(j, u);
            j->count.invalidations++;
            u = j->pages[slot];
            left = 0;
            continue;
        }
        left |= chunks_on(u, a & PAGE_MASK);
        while (((unsigned)(u->range[i].at >> PAGE_SHIFT) & (UNIT_PAGES - 1)) != slot)
            i++;
        u = u->next_on_page[i];
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
