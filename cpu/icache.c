/* icache.c - the cache of decoded blocks.
 *
 * A block is found by its physical address and code size, so it survives changes of page tables and address spaces. Blocks
 * are laid one behind the other into an arena; when it is full, everything is dropped and decoding starts afresh.
 *
 * Writes: each 64-byte chunk of memory is registered (codepages_mark) before its bytes are read; codepages tells us
 * of every write to it. A block that overlaps dies at once: it leaves the tables, links to it do not match any more (pa
 * is BLOCK_DEAD), and its instructions are replaced by one that makes the interpreter look the address up again, so that
 * an instruction which overwrites the next one of its own block works as on hardware. The memory stays until the arena is
 * emptied, which happens only between blocks.
 *
 * codepages marks memory, not addresses, and reports a write for every address of that memory; the answer, which chunks are
 * still in use, lets it clear marks.
 *
 * Instructions that cross a page are not in blocks: their bytes are copied and looked up in a table by content.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/icache.h"
#include "cpu/interp_forms.h"

enum { HASH_SIZE = 1 << 17, PAGE_HASH_SIZE = 1 << 12, COPIES = 256 };
enum { ARENA_BYTES = 32 << 20, ARENA_SMALL = 8 << 20, BLOCK_BYTES = sizeof(struct block) + (BLOCK_INSNS + 1) * sizeof(struct insn) };
enum { CHUNK = 64, MAX_LENGTH = 15 };

struct copy { struct insn in; u8 bytes[MAX_LENGTH], length, mode; };

struct icache {
    struct block *hash[HASH_SIZE];
    struct block *pages[PAGE_HASH_SIZE];    /* by page number: blocks of all pages that share the slot */
    struct copy copies[COPIES];
    u8 *arena;
    size_t used, room;
};

/* --- instructions that are none --------------------------------------------------------------------------------- */

static bool run_ud(struct vcpu *c, const struct insn *in) { return cpu_fault(c, EXC_UD); }
static bool run_too_long(struct vcpu *c, const struct insn *in) { return cpu_fault_code(c, EXC_GP, 0); }

/* Decodes and chooses the function. Only DECODE_SHORT leaves *in undefined. */
static enum decode_status decode(struct vcpu *c, const u8 *bytes, unsigned avail, struct insn *in)
{
    if (avail > MAX_LENGTH)
        avail = MAX_LENGTH;
    enum decode_status status = insn_decode(in, bytes, avail, c->code_size, c->model.features);
    if (status == DECODE_OK) {
        interp_prepare(in);
    } else if (status != DECODE_SHORT) {
        memset(in, 0, sizeof(*in));
        in->run = status == DECODE_TOO_LONG ? run_too_long : run_ud;
        in->chain = form_last;
        in->len = (u8)avail;
    }
    return status;
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

/* Blocks of a page stay together: what is looked for next is often in the same cache line. */
static unsigned hash_of(gpa pa)
{
    enum { WITHIN = 9 };        /* bits of the offset, a place for every eight bytes */
    return (unsigned)((pa >> PAGE_SHIFT) * 0x9e3779b97f4a7c15 >> 40 << WITHIN | (pa & ~PAGE_MASK) >> (PAGE_SHIFT - WITHIN)) &
           (HASH_SIZE - 1);
}
static unsigned page_hash_of(gpa pa) { return (unsigned)(pa >> PAGE_SHIFT) & (PAGE_HASH_SIZE - 1); }

struct block *icache_find(const struct icache *ic, gpa pa, unsigned mode)
{
    struct block *b = ic->hash[hash_of(pa)];
    while (b && (b->pa != pa || b->mode != mode))
        b = b->next_hash;
    return b;
}

static void insert(struct icache *ic, struct block *b)
{
    struct block **h = &ic->hash[hash_of(b->pa)], **p = &ic->pages[page_hash_of(b->pa)];
    b->next_hash = *h;
    *h = b;
    b->next_page = *p;
    *p = b;
}

static void remove_hash(struct icache *ic, const struct block *b)
{
    struct block **h = &ic->hash[hash_of(b->pa)];
    while (*h != b)
        h = &(*h)->next_hash;
    *h = b->next_hash;
}

/* Takes b, already off its page's list, out of use; it may be running. */
static void kill(struct icache *ic, struct block *b)
{
    remove_hash(ic, b);
    b->pa = BLOCK_DEAD;
    for (unsigned i = 0; i < b->count; i++)
        b->insn[i].chain = interp_stale;
}

/* --- writes ------------------------------------------------------------------------------------------------------ */

static u64 code_written(void *ctx, gpa first, u64 bytes)
{
    struct vcpu *c = ctx;
    struct icache *ic = c->icache;
    struct block **at = &ic->pages[page_hash_of(first)], *b;
    u64 left = 0;
    bool any = false;
    while ((b = *at)) {
        bool here = (b->pa & PAGE_MASK) == (first & PAGE_MASK);
        if (here && b->pa < first + bytes && first < b->pa + b->bytes) {
            *at = b->next_page;
            kill(ic, b);
            any = true;
        } else {
            left |= here ? code_chunks(b->pa, b->bytes) : 0;
            at = &b->next_page;
        }
    }
    if (c->engine)
        left |= c->engine->code_written(c, first, bytes, any);
    return left;
}

static void code_kick(void *ctx)
{
    struct vcpu *c = ctx;
    atomic_fetch_or(&c->pending, PEND_CODE);
    jit_poll(c);
}

/* --- building ---------------------------------------------------------------------------------------------------- */

/* The marks stay: other code may be there. Writes clear them (codepages.c). */
static void drop_all(struct vcpu *c)
{
    struct icache *ic = c->icache;
    memset(ic->hash, 0, sizeof(ic->hash));
    memset(ic->pages, 0, sizeof(ic->pages));
    ic->used = 0;
}

static bool ends_block(const struct insn *in, enum decode_status status)
{
    return status != DECODE_OK || interp_ends_block(in);
}

/* Gives an instruction its place in b. RIP-relative operands count from the block's start from now on. */
static void append(struct block *b, struct insn *in)
{
    in->nth = b->count++;
    in->end = b->bytes += in->len;
    if (in->base == GPR_RIP) {
        in->base = GPR_BLOCK;
        in->disp += in->end;
    }
}

/* May it write to memory? Yes, if in doubt. (A branch and a system instruction end a block anyway.) */
static bool may_write(const struct insn *in)
{
    interp_fn *run = insn_rows[in->row].run;
    bool memory = in->op[0].kind == OP_MEM || in->op[1].kind == OP_MEM || in->lock;
    switch (in->op[0].kind) {
    case OP_GPR: return run == in_push || (memory && (run == in_xchg || run == in_xadd));
    case OP_GPRH: return memory && (run == in_xchg || run == in_xadd);
    case OP_VEC: case OP_MMX: return run == in_maskmovq || run == in_maskmovdqu;
    default: return run != in_nop;
    }
}

/* Fills b->insn; the chunks it reads are marked first, unless the block is loose. room: bytes up to the end of the page. The
 * terminator, where there is one, is not counted. */
static void decode_block(struct vcpu *c, struct block *b, const u8 *host, unsigned room, bool loose)
{
    unsigned marked = 0;
    while (b->count < BLOCK_INSNS && b->bytes < room) {
        struct insn *in = &b->insn[b->count];
        unsigned ahead = b->bytes + MAX_LENGTH, want = ahead < room ? ahead : room;
        if (marked < want && !loose) {
            unsigned end = (unsigned)(((b->pa + want + CHUNK - 1) & ~(gpa)(CHUNK - 1)) - b->pa);
            codepages_mark(c->mmu.phys, b->pa + marked, end - marked);
            marked = end;
        }
        enum decode_status status = decode(c, host + b->bytes, room - b->bytes, in);
        if (status == DECODE_SHORT)
            break;
        append(b, in);
        if (ends_block(in, status)) {
            b->sys = status != DECODE_OK || insn_rows[in->row].attr & ATTR_SYS;
            return;
        }
        if (loose && may_write(in))
            break;
    }
    struct insn *end = &b->insn[b->count];
    end->chain = interp_block_end;
    end->end = b->bytes;
    end->nth = b->count;
}

struct block *icache_build(struct vcpu *c, gpa pa, const u8 *host)
{
    struct icache *ic = c->icache;
    if (ic->used + BLOCK_BYTES > ic->room)
        drop_all(c);
    struct block *b = (struct block *)(ic->arena + ic->used);
    *b = (struct block){ .pa = pa, .mode = c->code_size };
    decode_block(c, b, host, PAGE_SIZE - (unsigned)(pa & ~PAGE_MASK), false);
    if (!b->count)
        return NULL;
    ic->used += sizeof(struct block) + (b->count + 1u) * sizeof(struct insn);
    insert(ic, b);
    return b;
}

bool icache_decode_loose(struct vcpu *c, struct block *b, gpa pa, const u8 *bytes, unsigned room)
{
    *b = (struct block){ .pa = pa, .mode = c->code_size };
    decode_block(c, b, bytes, room, true);
    return b->count;
}

enum decode_status icache_decode_copy(struct vcpu *c, const u8 *bytes, unsigned avail, const struct insn **in)
{
    u32 h = 0;
    for (unsigned i = 0; i < avail && i < 6; i++)
        h = h * 31 + bytes[i];
    struct copy *e = &c->icache->copies[h % COPIES];
    *in = &e->in;
    if (e->length && e->length <= avail && e->mode == c->code_size && !memcmp(e->bytes, bytes, e->length))
        return DECODE_OK;
    enum decode_status status = decode(c, bytes, avail, &e->in);
    e->length = status == DECODE_OK ? e->in.len : 0;
    e->mode = c->code_size;
    memcpy(e->bytes, bytes, e->length);
    return status;
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

bool icache_new(struct vcpu *c)
{
    struct icache *ic = calloc(1, sizeof(*ic));
    if (!ic)
        return false;
    ic->arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ic->arena == MAP_FAILED) {
        free(ic);
        return false;
    }
    ic->room = ARENA_BYTES;
    c->icache = ic;
    c->icount_limit = UINT64_MAX;
    codepages_set_owner(c->mmu.phys, code_written, code_kick, c);
    return true;
}

void icache_small(struct vcpu *c) { c->icache->room = ARENA_SMALL; }

void icache_free(struct vcpu *c)
{
    if (!c->icache)
        return;
    codepages_set_owner(c->mmu.phys, NULL, NULL, NULL);
    munmap(c->icache->arena, ARENA_BYTES);
    free(c->icache);
    c->icache = NULL;
}
