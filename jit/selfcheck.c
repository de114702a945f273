/* selfcheck.c - code that is overwritten again and again: units that check themselves.
 *
 * Usually memory is marked before code is made of it, and a write to it drops the code (invalidate.c). That is right for code
 * that stays, but a guest that makes code of its own pays for each store: no page with marks has a write entry in the TLB.
 * So a page is `restless` once one of its chunks has been written several times while there was code in it, or its code was
 * dropped several times because data is written beside it (codepages_slow_write). Code there is not marked. It is translated the
 * first time it is reached, as a unit that checks itself:
 *
 *   - At its entrance it compares all of the bytes that it was made from with memory (`same`), by host address, so every alias and
 *     every device is seen. If they differ, the dispatcher makes it again.
 *   - It belongs to nobody's list of pages: nothing but its own check (and its segment's end) drops it. What stands at its
 *     address may change (A20, PAM): that is a new generation, and the dispatcher compares host addresses.
 *   - Its stores leave for the interpreter if they touch its own bytes (IR_APART); so the bytes that it has not executed yet
 *     are still those that it compared. What the interpreter's functions write cannot be known: it ends behind an `interp`.
 *   - It keeps all flags at its exits: what it would see there may change without notice. Nobody else looks into restless code
 *     either, and nobody decodes blocks of it (self_wanted). An instruction that reaches into such a page is interpreted.
 *   - It is made from a copy of the bytes, and the copy is what it compares with: no write by a device comes in between.
 *
 * Constants that change: where two versions of the code differ in immediate operands only, those become operands in memory (`code`)
 * and are not compared any more.
 *
 * A unit that has been entered very often without a change is made again in the usual way, and its page is quiet from then on; if
 * that was wrong, it takes twice as long the next time.
 *
 * All of restlessness is a hint: code is right either way.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/icache.h"
#include "jit/jit_private.h"

enum { SELF_ALL = 1 /* jit_options.self */, LOOSE_CONSTANTS = 1, WINDOW = 4096 /* writes to code, on whatever pages */, PATIENCE_MAX = 10 };

/* --- which pages ---------------------------------------------------------------------------------------------------- */

static unsigned slot_of(gpa pa) { return (unsigned)(pa >> PAGE_SHIFT ^ pa >> (PAGE_SHIFT + 10)) % RESTLESS_PAGES; }

static bool is_restless(const struct jit *j, gpa pa)
{
    const struct restless_page *p = &j->restless[slot_of(pa)];
    return (p->on && p->page == (pa & PAGE_MASK)) || j->all_self;
}

bool self_wanted(const struct jit *j, gpa pa) { return unlikely(j->restless_count) && is_restless(j, pa); }

void self_new(struct jit *j)
{
    j->all_self = j->opt.self == SELF_ALL && j->backend->self_checks;
    j->restless_count = j->all_self;
}

static struct restless_page *page_for(struct jit *j, gpa pa)
{
    struct restless_page *p = &j->restless[slot_of(pa)];
    if (p->page != (pa & PAGE_MASK)) {
        j->restless_count -= p->on;
        *p = (struct restless_page){ .page = pa & PAGE_MASK };
    } else if (j->code_writes - p->since > WINDOW) {
        memset(p->hits, 0, sizeof p->hits);
        p->drops = 0;
        p->since = j->code_writes;
    }
    return p;
}

bool self_written(struct jit *j, gpa a, u64 bytes)
{
    bool enough;
    j->code_writes++;
    if (!j->opt.self || j->all_self || !j->backend->self_checks)
        return false;
    struct restless_page *p = page_for(j, a);
    if (bytes == PAGE_SIZE) {
        p->drops += p->drops < UINT8_MAX;
        enough = p->drops >= j->opt.self;
    } else {
        u8 *hits = &p->hits[(a & ~PAGE_MASK) / CODE_CHUNK];
        *hits += *hits < UINT8_MAX;
        enough = *hits >= j->opt.self;
    }
    if (!enough || p->on)
        return false;
    p->on = true;
    j->restless_count++;
    j->count.restless_pages++;
    return true;
}

void self_settle(struct jit *j, const struct code_unit *u)
{
    struct restless_page *p = page_for(j, u->pa);
    j->restless_count -= p->on;
    p->on = false;
    memset(p->hits, 0, sizeof p->hits);
    p->drops = 0;
    p->strikes += p->strikes < PATIENCE_MAX;
    j->count.self_settled++;
}

static u64 patience(struct jit *j, gpa pa)
{
    const struct restless_page *p = &j->restless[slot_of(pa)];
    return 4 * (u64)j->opt.hotter << (p->page == (pa & PAGE_MASK) ? p->strikes : 0);
}

/* --- bytes ---------------------------------------------------------------------------------------------------------- */

static bool bit(const u64 *set, unsigned i) { return set[i / 64] >> i % 64 & 1; }
static void set_bits(u64 *set, unsigned i, unsigned n)
{
    for (; n--; i++)
        set[i / 64] |= (u64)1 << i % 64;
}

bool self_same(const struct code_unit *u, const u8 *host)
{
    const struct code_self *s = u->self;
    if (host != s->host)
        return false;
    if (likely(!memcmp(s->was, host, s->bytes)))
        return true;
    for (unsigned i = 0; i < s->bytes; i++)
        if (s->was[i] != host[i] && !bit(s->loaded, i))
            return false;
    return true;
}

bool self_quiet(const struct code_unit *u)
{
    struct code_self *s = u->self;
    if (!memcmp(s->was, s->host, s->bytes))
        return true;
    memcpy(s->was, s->host, s->bytes);      /* of the constants that it loads: there are no others */
    return false;
}

/* Length of the immediate operand that an opcode of one byte ends with, 0: none, or none that tr_operand makes. MOV and
 * arithmetic of two operands: SDM 2 appendix A. */
static unsigned opcode_immediate(u8 opcode, u8 modrm, unsigned opsize)
{
    unsigned wide = opsize == 2 ? 2 : 4;
    if (opcode < 0x40)
        return (opcode & 7) == 4 ? 1 : (opcode & 7) == 5 ? wide : 0;
    switch (opcode) {
    case 0x80: case 0x83: case 0xa8: case 0xc6: return 1;
    case 0x81: case 0xa9: case 0xc7: return wide;
    case 0xf6: return modrm & 0x30 ? 0 : 1;             /* TEST only */
    case 0xf7: return modrm & 0x30 ? 0 : wide;
    default: return (opcode & 0xf0) != 0xb0 ? 0 : opcode & 8 ? opsize : 1;
    }
}

/* The same for the instruction whose bytes stand at p. */
static unsigned immediate_bytes(const u8 *p, const struct insn *in)
{
    const u8 *end = p + in->len;
    while (p < end && (*p == 0x66 || *p == 0x67 || *p == 0xf2 || *p == 0xf3 || *p == 0xf0 || (*p & 0xe7) == 0x26 ||
                       (*p & 0xfe) == 0x64 || (in->mode == 8 && (*p & 0xf0) == 0x40)))
        p++;
    unsigned n = end - p < 2 ? 0 : opcode_immediate(p[0], p[1], in->opsize);
    return n < (unsigned)(end - p) ? n : 0;
}

static void note_immediate(struct code_self *s, unsigned at, const struct insn *in)
{
    unsigned n = in->mode ? immediate_bytes(s->was + at, in) : 0;
    set_bits(s->immediates, at + in->len - n, n);
}

unsigned self_loads(const struct jit *j, const struct insn *in, s32 offset)
{
    const struct self_making *m = &j->self;
    if (!m->on || !m->any)
        return 0;
    unsigned at = (unsigned)(offset - m->offset), n = immediate_bytes(m->bytes + at, in);
    for (unsigned i = at + in->len - n; i < at + in->len; i++)
        if (bit(m->varies, i))
            return n;
    return 0;
}

/* Do the bytes differ from what s was made of in constants only? Which: those that varied already and these. */
static bool only_constants(const struct code_self *s, const u8 *bytes, unsigned room, u64 *varies)
{
    memcpy(varies, s->loaded, sizeof s->loaded);
    for (unsigned i = 0; i < s->bytes && i < room; i++) {
        if (s->was[i] == bytes[i])
            continue;
        if (!bit(s->loaded, i) && !bit(s->immediates, i))
            return false;
        set_bits(varies, i, 1);
    }
    return true;
}

bool self_constants(const struct code_unit *u, const u8 *host)
{
    u64 varies[SELF_WORDS];
    return host == u->self->host && only_constants(u->self, host, u->self->bytes, varies);
}

/* --- making one ----------------------------------------------------------------------------------------------------- */

void self_begin(struct jit *j, gpa pa, const u8 *host, const struct code_self *before)
{
    struct self_making *m = &j->self;
    unsigned room = PAGE_SIZE - (unsigned)(pa & ~PAGE_MASK);
    *m = (struct self_making){ .on = true, .pa = pa, .host = host, .offset = (s32)(pa & ~PAGE_MASK),
                               .room = room < SELF_BYTES ? room : SELF_BYTES };
    memcpy(m->bytes, host, m->room);
    if (before && before->host == host && only_constants(before, m->bytes, m->room, m->varies))
        m->any = true;
    else
        memset(m->varies, 0, sizeof m->varies);
}

/* What stands in front of the unit, in at most one operation for each byte: `same` for every byte that it does not load. */
static unsigned checks(struct jit *j, struct ir_ins *out, const u64 *loaded, unsigned bytes)
{
    enum { REACH = 128 };
    struct ir_unit *u = &j->ir;
    struct ir_val_at { unsigned first; ir_val p; } base = { 0, IR_NONE };
    unsigned n = 0;
    for (unsigned i = 0; i < bytes;) {
        unsigned size = 8;
        while (size > bytes - i)
            size /= 2;
        for (unsigned k = 0; k < size;)
            if (bit(loaded, i + k)) {
                size /= 2;
                k = 0;
            } else
                k++;
        if (!size) {
            i++;
            continue;
        }
        if (!base.p || i + size > base.first + REACH) {
            base = (struct ir_val_at){ i, ir_temp(u) };
            out[n++] = (struct ir_ins){ .op = IR_OP_code, .size = bytes - i < REACH ? (u8)(bytes - i) : REACH, .d = base.p,
                                        .disp = u->offset[0] + (s32)i, .flive = u->flags_in };
        }
        u64 v = 0;
        memcpy(&v, j->self.bytes + i, size);
        out[n++] = (struct ir_ins){ .op = IR_OP_same, .size = (u8)size, .d = IR_MEM, .a = IR_IMM, .p = base.p,
                                    .disp = (s32)(i - base.first), .imm = (s64)v, .flive = u->flags_in };
        i += size;
    }
    return n;
}

/* Bytes that the unit loads, as far as the passes have left that. */
static void find_loaded(const struct ir_unit *u, u64 *loaded)
{
    for (unsigned i = 0; i < u->count; i++)
        if (u->ins[i].op == IR_OP_code)
            set_bits(loaded, (unsigned)(u->ins[i].disp - u->offset[0]), u->ins[i].size);
}

bool self_finish(struct jit *j)
{
    static _Thread_local struct ir_ins check[SELF_BYTES + 8];
    struct ir_unit *u = &j->ir;
    struct self_making *m = &j->self;
    unsigned bytes = (unsigned)(u->offset[u->guests] - u->offset[0]);
    memset(m->loaded, 0, sizeof m->loaded);
    find_loaded(u, m->loaded);
    for (unsigned i = 0; i < u->count; i++)
        if (u->ins[i].op == IR_OP_ptr && u->ins[i].cc != IR_READ)
            u->ins[i].bits |= IR_APART;
    unsigned n = checks(j, check, m->loaded, bytes);
    if (u->full || u->count + n > IR_MAX_INS)
        return false;
    memmove(&u->ins[n], u->ins, u->count * sizeof(u->ins[0]));
    memcpy(u->ins, check, n * sizeof(check[0]));
    u->count = (u16)(u->count + n);
    return true;
}

struct code_self *self_data(struct jit *j)
{
    const struct ir_unit *u = &j->ir;
    unsigned bytes = (unsigned)(u->offset[u->guests] - u->offset[0]);
    struct code_self *s = code_alloc(j, sizeof(*s) + bytes);
    if (!s)
        return NULL;
    *s = (struct code_self){ .host = j->self.host, .bytes = (u16)bytes, .patience = patience(j, j->self.pa) };
    memcpy(s->loaded, j->self.loaded, sizeof s->loaded);
    memcpy(s->was, j->self.bytes, bytes);
    for (unsigned g = 0; g < u->guests; g++)
        note_immediate(s, (unsigned)(u->offset[g] - u->offset[0]), u->guest[g]);
    return s;
}

/* --- before there is a unit: loose blocks --------------------------------------------------------------------------- */

struct loose {
    struct block *block;
    struct code_self *self;     /* what it was decoded from */
    u32 runs;                   /* since then */
    u8 constants;               /* how often it differed in constants only */
};

/* In one piece: block, its instructions, self, its bytes. */
static struct loose *loose_new(void)
{
    const size_t block = sizeof(struct block) + (BLOCK_INSNS + 1) * sizeof(struct insn);
    struct loose *l = malloc(sizeof *l);
    u8 *room = aligned_alloc(64, (block + sizeof(struct code_self) + SELF_BYTES + 63) & ~(size_t)63);
    if (!l || !room) {
        free(l);
        free(room);
        return NULL;
    }
    *l = (struct loose){ .block = (struct block *)room, .self = (struct code_self *)(room + block) };
    l->block->pa = BLOCK_DEAD;
    return l;
}

void self_free(struct jit *j)
{
    for (unsigned i = 0; i < LOOSE_BLOCKS; i++) {
        if (j->loose[i])
            free(j->loose[i]->block);
        free(j->loose[i]);
    }
}

static bool loose_decode(struct jit *j, struct loose *l, gpa pa, const u8 *host)
{
    unsigned room = PAGE_SIZE - (unsigned)(pa & ~PAGE_MASK);
    u8 bytes[SELF_BYTES];
    if (room > SELF_BYTES)
        room = SELF_BYTES;
    memcpy(bytes, host, room);
    *l->self = (struct code_self){ .host = host };
    l->runs = 0;
    if (!icache_decode_loose(j->cpu, l->block, pa, bytes, room)) {
        l->block->pa = BLOCK_DEAD;
        return false;
    }
    l->self->bytes = l->block->bytes;
    memcpy(l->self->was, bytes, l->self->bytes);
    j->count.loose_decoded++;
    return true;
}

/* Do they differ in constants only? As only_constants, but usually the first instruction tells. */
static bool loose_constants(struct loose *l, const u8 *host)
{
    const u8 *was = l->self->was;
    memset(l->self->immediates, 0, sizeof l->self->immediates);
    for (unsigned i = 0, at = 0; i < l->block->count; at += l->block->insn[i++].len) {
        const struct insn *in = &l->block->insn[i];
        if (!memcmp(was + at, host + at, in->len))
            continue;
        unsigned n = in->mode ? immediate_bytes(was + at, in) : 0;
        if (memcmp(was + at, host + at, in->len - n))
            return false;
        set_bits(l->self->immediates, at + in->len - n, n);
    }
    return true;
}

const struct block *self_block(struct jit *j, gpa pa, const u8 *host, const struct code_self **ripe)
{
    struct loose **slot = &j->loose[(pa ^ pa >> 9) % LOOSE_BLOCKS], *l = *slot;
    *ripe = NULL;
    if (!l && !(l = *slot = loose_new()))
        return NULL;
    if (unlikely(l->block->pa != pa || l->block->mode != j->cpu->code_size || l->self->host != host)) {
        l->constants = 0;
        if (!loose_decode(j, l, pa, host))
            return NULL;
    } else if (memcmp(l->self->was, host, l->self->bytes)) {
        l->constants = loose_constants(l, host) ? l->constants + 1 : 0;
        if (l->constants > LOOSE_CONSTANTS)
            *ripe = l->self;
        else if (!loose_decode(j, l, pa, host))
            return NULL;
    }
    if (++l->runs > j->opt.ripe)
        *ripe = l->self;
    return l->block;
}
