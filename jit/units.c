/* units.c - finding units, what leads from one to another, and taking them out of use.
 *
 * A unit is found by the physical address of its first byte, its mode word, and its part: where CS has a base or a limit
 * inside of a page, which offsets of that page lie in CS. With the same part, every jump that stays on the page and
 * in the part is right for any base and limit, so links on a page need no proof at run time (16-bit code of one segment
 * is often run under many CS bases). A link to another page has a key: code.h.
 *
 * Each range of memory that a unit was made from stands in the list of its page. Lists hang in a table by page number. A page
 * may have hundreds: nothing here walks a list to take something out of it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "jit/jit_private.h"

/* --- tables ------------------------------------------------------------------------------------------------------ */

/* Code of a page stays together in the table: what runs next is often in the same cache line. */
static unsigned hash_of(gpa pa, u32 mode)
{
    enum { WITHIN = 10 };       /* bits of the offset, a place for every four bytes */
    u64 page = ((pa >> PAGE_SHIFT) ^ (u64)mode << 40) * 0x9e3779b97f4a7c15;
    return (unsigned)(page >> 40 << WITHIN | (pa & ~PAGE_MASK) >> (PAGE_SHIFT - WITHIN)) & (UNIT_HASH_SIZE - 1);
}
static unsigned page_of(gpa pa) { return (unsigned)(pa >> PAGE_SHIFT) & (UNIT_PAGES - 1); }

bool units_new(struct jit *j)
{
    size_t bytes = UNIT_HASH_SIZE * sizeof(*j->hash);
    if ((j->hash = aligned_alloc(LARGE_PAGE, bytes))) {
        madvise(j->hash, bytes, MADV_HUGEPAGE);
        memset(j->hash, 0, bytes);
    }
    j->pages = calloc(UNIT_PAGES, sizeof(*j->pages));
    return j->hash && j->pages;
}

void units_free(struct jit *j)
{
    free(j->hash);
    free(j->pages);
}

u32 unit_part(const struct vcpu *c, gla a, u64 rip)
{
    const struct segment *cs = &c->seg[SEG_CS];
    u64 limit = cs->limit;
    if (c->code_size == 8 || (!cs->base && limit == 0xffffffff && c->code_size == 4))
        return UNIT_WHOLE;
    if (c->code_size == 2 && limit > 0xffff)
        limit = 0xffff;
    s64 pc = (s64)(rip - (a & ~PAGE_MASK));
    u32 first = pc < 0 ? (u32)-pc : 0, last = (s64)limit - pc < 4095 ? (u32)((s64)limit - pc) : 4095;
    return first | last << 12;
}

struct code_unit *unit_find(const struct jit *j, gpa pa, u32 mode, u32 part)
{
    struct code_unit *u = j->hash[hash_of(pa, mode)];
    while (u && !unit_is(u, pa, mode, part))
        u = u->next_hash;
    return u;
}

void unit_register(struct jit *j, struct code_unit *u)
{
    struct code_unit **h = &j->hash[hash_of(u->pa, u->mode)];
    u->next_hash = *h;
    *h = u;
    for (unsigned i = 0; i < u->ranges; i++) {
        struct code_place *p = &u->place[i], **list = &j->pages[page_of(p->at)];
        p->prev = list;
        if ((p->next = *list))
            p->next->prev = &p->next;
        *list = p;
    }
    struct code_segment *s = &j->segment[j->filling];
    u->next_in_segment = s->units;
    s->units = u;
}

static void remove_from_pages(struct code_unit *u)
{
    for (unsigned i = 0; i < u->ranges; i++) {
        struct code_place *p = &u->place[i];
        if ((*p->prev = p->next))
            p->next->prev = p->prev;
    }
}

static void remove_from_hash(struct jit *j, struct code_unit *u)
{
    struct code_unit **at = &j->hash[hash_of(u->pa, u->mode)];
    while (*at != u)
        at = &(*at)->next_hash;
    *at = u->next_hash;
}

static void remove_from_jumps(struct jit *j, const struct code_unit *u)
{
    struct jit_jump *table = j->cpu->jit_jump;
    for (unsigned i = u->pa & ~PAGE_MASK; u->jumps && i < JIT_JUMPS; i += PAGE_SIZE)
        if (table[i].host == (u64)(uintptr_t)(j->rx + u->entry_jump))
            table[i].key = 0;
}

void unit_kill(struct jit *j, struct code_unit *u)
{
    if (u->dead)
        return;
    remove_from_jumps(j, u);
    u->dead = true;
    j->deaths++;
    remove_from_hash(j, u);
    remove_from_pages(u);
    while (u->incoming)
        link_cut(j, u->incoming);
    for (unsigned i = 0; i < u->link_count; i++)
        if (u->links[i].to)
            link_cut(j, &u->links[i]);
}

/* --- links ------------------------------------------------------------------------------------------------------- */

static void put_key(struct jit *j, const struct code_link *l, u64 key)
{
    if (l->key)
        memcpy(j->rw + l->key, &key, sizeof key);
}

void link_make(struct jit *j, struct code_link *l, struct code_unit *u, u64 key)
{
    j->count.links++;
    if (l->to == u) {           /* under another key only */
        put_key(j, l, key);
        return;
    }
    if (l->to)
        link_cut(j, l);
    l->to = u;
    l->next_in = u->incoming;
    l->prev_in = &u->incoming;
    if (l->next_in)
        l->next_in->prev_in = &l->next_in;
    u->incoming = l;
    put_key(j, l, key);
    j->backend->patch(j, l, l->flags == LINK_FLAGS_HOST ? u->entry_host : u->entry);
}

void link_cut(struct jit *j, struct code_link *l)
{
    l->to = NULL;
    *l->prev_in = l->next_in;
    if (l->next_in)
        l->next_in->prev_in = l->prev_in;
    put_key(j, l, 0);
    j->backend->patch(j, l, l->stub);
    j->count.links_cut++;
}
