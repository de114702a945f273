/* jit_private.h - the translator's own state, and what its files call of each other. Private to jit/.
 *
 * The way of a piece of guest code: dispatch.c looks for a unit (units.c) at RIP; what has been interpreted often enough
 * goes through compile.c, which puts a unit into the code cache (codecache.c). invalidate.c hears of everything that makes
 * units stale.
 */
#ifndef SHADOW86_JIT_PRIVATE_H
#define SHADOW86_JIT_PRIVATE_H

#include "jit/backend.h"
#include "jit/code.h"
#include "jit/ir.h"
#include "jit/jit.h"

struct trans;

/* Counters of the statistics: COUNTER(name). */
#define JIT_COUNTERS(X) \
    X(insns_interpreted) X(units) X(units_remade) X(units_super) X(insns_translated) X(guest_bytes_translated) \
    X(host_bytes_emitted) X(host_bytes_cold) X(translate_ns) X(run_ns) X(evictions) X(invalidations) X(generations) X(leave_link) \
    X(leave_landing) X(leave_lookup) X(leave_step) X(leave_return) X(links) X(links_cut) X(jumps_filled) X(misses) X(misses_to_step) \
    X(interp_ops) X(step_calls) X(switches) X(blocks_interpreted) X(failed_emit) X(failed_translate) \
    X(restless_pages) X(loose_decoded) X(self_units) X(self_changed) X(self_settled)
struct jit_counters {
#define X(name) u64 name;
    JIT_COUNTERS(X)
#undef X
};

enum { CODE_SEGMENTS = 16, UNIT_HASH_SIZE = 1 << 19, UNIT_PAGES = 1 << 15, GENERATION_SLOTS = 256, REASONS = 48 };

/* A unit whose grouped accesses straddled pages, and at which guest instructions: jit_group_bit. By its address; dispatch.c. */
struct ungrouped { gpa pa; u64 at; };

/* A part of the code cache, and the metadata of the code in it. */
struct code_segment {
    u32 start, end, used, cold;     /* cache offsets. It is filled from both ends: what is rarely executed lies from `cold` on. Between
                                       used and cold all is free */
    struct code_unit *units;
    struct arena_piece *pieces;     /* the first one is being filled */
};

/* A number for everything that fetch translations of a mode depend on. */
struct generation { u64 epoch, cs_base; u32 cs_limit, mode; u64 number; };

/* A page whose code is often overwritten: selfcheck.c. */
enum { RESTLESS_PAGES = 1024, LOOSE_BLOCKS = 1024, CODE_CHUNK = 64 };
struct restless_page {
    gpa page;
    u64 since;                              /* jit.code_writes when it began to count */
    bool on;                                /* code there checks itself */
    u8 strikes;                             /* how often that came to an end */
    u8 drops, hits[PAGE_SIZE / CODE_CHUNK]; /* all of its code was dropped; a chunk with code was written */
};
/* The unit that is being made, if it is to check itself. Bits as in struct code_self. */
struct self_making {
    bool on, any;                           /* any: something varies */
    gpa pa;
    const u8 *host;
    s32 offset;                             /* of its first byte on the page */
    unsigned room;                          /* how many bytes are known */
    u64 varies[SELF_WORDS], loaded[SELF_WORDS];
    u8 bytes[SELF_BYTES];                   /* a copy, from which it is made */
};

/* Private bit of code_unit.mode: instructions are counted against a limit, no links. */
enum { MODE_LIMITED = 1 << MODE_BITS };

struct jit {
    struct vcpu *cpu;
    const struct backend *backend;  /* host_backend, except in tests */
    struct jit_options opt;
    struct jit_counters count;

    /* codecache.c */
    u8 *rw;                         /* the cache, writable */
    u8 *rx;                         /* the same memory, executable */
    u32 size;
    u64 large[8];                   /* bit per large page of it: tried to have it; */
    bool small_pages;               /* the host has none */
    struct code_segment segment[CODE_SEGMENTS];
    struct arena_piece *pieces;     /* that no segment has */
    unsigned filling;               /* segment */

    /* units.c */
    struct code_unit **hash;        /* by physical address and mode */
    struct code_place **pages;      /* by page: what units were made from on pages of that slot */
    u64 deaths;                     /* counts units that died */

    /* dispatch.c: what is in force; kept up to date by jit_prepare */
    u32 mode;                       /* enum ir_mode and MODE_LIMITED */
    u64 epoch, cs_base;
    u32 cs_limit;
    struct generation generation[GENERATION_SLOTS];
    u64 genkey;                     /* what vcpu.jit.genkey is while nobody polls */
    u64 last_generation;            /* state of the generator of numbers */
    /* a link that waits for its target, or a jump for its entry in the table */
    struct { struct code_link *link; u64 rip, pc, evictions; bool lookup; } open;
    u64 started_ns;
    struct jit_check *check;        /* check.c */

    struct ungrouped no_group[4096];
    gpa no_unit[256];               /* instructions on two pages that cannot be units, by their address */

    /* selfcheck.c */
    struct restless_page restless[RESTLESS_PAGES];
    unsigned restless_count;        /* those that are on */
    bool all_self;                  /* all pages are */
    u64 code_writes;                /* writes to memory with code */
    struct self_making self;
    struct loose *loose[LOOSE_BLOCKS];

    /* compile.c: workspace */
    struct ir_unit ir;
    struct insn insn[IR_MAX_GUEST]; /* what ir.guest points to: translate.c */
    unsigned max_guests;            /* for translate_unit: make it no longer than that */
    gpa next_pa;                    /* for translate_unit: the page behind the unit's, and its bytes (NULL: not known) */
    const u8 *next_host;
    u32 sites_given[2];             /* for the backend: how many to reads and to writes */
    const struct code_unit *before; /* for the backend: the unit that is being made again, with its profile; NULL: none */
    bool super;                     /* for translate_unit: a superblock, follow likely branches */
    u32 *op_at;                     /* for tests: the backend notes here where the code of each operation begins, and the last one's ends */
    bool keep_flags;                /* for pass_flags: all flags live at the exits (liveness=off for this unit) */

    /* stats.c */
    u64 *interpreted;               /* by row of insn.def: left to the interpreter by code */
    struct { const char *why; u64 n; } reason[REASONS];
};

static inline struct jit *jit_of(const struct vcpu *c) { return c->jit.jit; }
u64 jit_now_ns(void);                                       /* stats.c */
/* jit_new with another backend, for tests. */
bool jit_new_with(struct vcpu *c, const struct jit_options *o, const struct backend *backend, char *err, size_t errlen);

/* --- codecache.c --- */
bool codecache_new(struct jit *j, char *err, size_t errlen);        /* writes the backend's fixed code */
void codecache_free(struct jit *j);
/* Sees to it that `bytes` are free in the segment that is being filled: at most a segment's size. May evict the oldest
 * segment, so no unit may be running. */
void codecache_room(struct jit *j, u32 bytes);
u32 codecache_used(const struct jit *j);
enum { CODE_ALIGN = 16, LARGE_PAGE = 2 << 20 };

/* --- units.c --- */
bool units_new(struct jit *j);
void units_free(struct jit *j);
/* How much of the page with linear address `a` of RIP lies inside of CS: first and last offset, packed. UNIT_WHOLE: all. */
enum { UNIT_WHOLE = 4095 << 12 };
u32 unit_part(const struct vcpu *c, gla a, u64 rip);
static inline unsigned unit_part_first(u32 part) { return part & 4095; }
static inline unsigned unit_part_last(u32 part) { return part >> 12; }
static inline bool unit_is(const struct code_unit *u, gpa pa, u32 mode, u32 part)
{
    return u->pa == pa && u->mode == mode && u->part == part;
}
struct code_unit *unit_find(const struct jit *j, gpa pa, u32 mode, u32 part);
void unit_register(struct jit *j, struct code_unit *u);
/* Takes u out of use: nothing leads to it any more. Its memory stays until its segment is emptied. */
void unit_kill(struct jit *j, struct code_unit *u);
/* Makes l lead to u; key: what proves it (0: same page). */
void link_make(struct jit *j, struct code_link *l, struct code_unit *u, u64 key);
void link_cut(struct jit *j, struct code_link *l);

/* --- invalidate.c --- */
u64 invalidate_written(struct vcpu *c, gpa a, u64 bytes, bool any);      /* cpu_engine.code_written */
/* Memory of dead units is going to be used again: no table and no return address leads there. (Until then, a return into a dead
 * unit is harmless: its landing proves nothing and goes to the dispatcher.) */
void invalidate_paths(struct jit *j);
/* A new number for fetch translations, not 0. */
u64 invalidate_next_generation(struct jit *j);

/* --- selfcheck.c --- */
/* The decoded block at pa, which is right for what stands there now: for one run. NULL: there is none. *ripe: it is time for a unit;
 * what the block was made from. */
struct block;
const struct block *self_block(struct jit *j, gpa pa, const u8 *host, const struct code_self **ripe);
void self_new(struct jit *j);
void self_free(struct jit *j);
/* Is code there to check itself? Then nobody else decodes it. */
bool self_wanted(const struct jit *j, gpa pa);
/* Memory was written that code was made from, or (all of a page) its code was dropped. True: from now on the page is restless. */
bool self_written(struct jit *j, gpa a, u64 bytes);
/* u checks itself: would it go on if it were entered now? host: what stands at its address. */
bool self_same(const struct code_unit *u, const u8 *host);
/* Does it differ in constants only, so that a unit that loads them will do? */
bool self_constants(const struct code_unit *u, const u8 *host);
/* u has run out of patience: has nothing at all changed, so that self_settle can make its page an ordinary one? */
bool self_quiet(const struct code_unit *u);
void self_settle(struct jit *j, const struct code_unit *u);
/* compile.c, in this order: the copy of the bytes that the next unit is made from (before: the unit that was there, or NULL); the
 * checks go into j->ir behind the passes (false: too long); what to keep with the unit. */
void self_begin(struct jit *j, gpa pa, const u8 *host, const struct code_self *before);
bool self_finish(struct jit *j);
struct code_self *self_data(struct jit *j);
/* The length of the instruction's immediate operand, which ends it, if it is to be loaded from memory; else 0. */
unsigned self_loads(const struct jit *j, const struct insn *in, s32 offset);

/* --- compile.c --- */
/* Makes a unit of the code at pa (host: that byte) for the present mode. NULL: it is the interpreter's. No unit may be running. */
struct code_unit *compile_unit(struct jit *j, gpa pa, const u8 *host, u32 part);
/* The same, with MODE_PLAIN. */
struct code_unit *compile_plain(struct jit *j, gpa pa, const u8 *host, u32 part);
/* The same, but the unit checks itself. before: what stood there, or NULL. */
struct code_unit *compile_self(struct jit *j, gpa pa, const u8 *host, u32 part, const struct code_self *before);

/* --- dispatch.c --- */
/* Brings j->mode, j->genkey and vcpu.jit.genkey up to date. */
void jit_prepare(struct jit *j);
u32 jit_mode(const struct vcpu *c);         /* the mode word of the present state, enum ir_mode without MODE_COUNT_INSNS */
/* The unit at RIP, made if it is time for that; else something was done by the interpreter, or a fault delivered: NULL. */
struct code_unit *jit_unit_here(struct jit *j);
/* Runs u until code leaves; flags in lazy form before and behind it, RIP set. */
enum leave_reason jit_enter(struct jit *j, const struct code_unit *u);
static inline unsigned dispatch_slot(gpa pa) { return (unsigned)(pa ^ pa >> 12) % 4096; }
/* The interpreter executes the instruction at RIP because code left it to it. */
void jit_step(struct jit *j);

/* --- switch.c --- */
switch_fn *switch_find(const struct insn *in);  /* NULL: none */
switch_fn *switch_find_load(const struct insn *in);     /* the same for those that stay in their unit */

/* --- check.c --- */
bool check_here(struct jit *j);             /* one unit, at RIP; false: the interpreter has done something else */
/* Must code leave this instruction to a step, because it would be done twice? */
bool check_refuses(const struct insn *in);
void check_free(struct jit *j);

/* Did the site of this access miss in more than one of eight executions, before the unit was made again? (Not counted: what would have
 * been found by the address.) */
static inline bool often_missed(const struct jit *j, const struct code_profile *f)
{
    return f->misses[FOUND_TLB] + f->misses[FOUND_LARGE] > j->opt.hotter / 8;
}

/* --- stats.c --- */
void stats_reason(struct jit *j, const char *why);      /* an instruction was not translated */
void stats_write(struct jit *j);                        /* the file of the option stats */

#endif
