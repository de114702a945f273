/* code.h - translated code and what is known of it: units, their links, the code cache. Private to jit/.
 *
 * The cache is one memfd, mapped twice: writable at rw, executable at rx. Places are offsets from its start. It is cut into
 * segments, filled one after the other; when all are full the oldest one is emptied, with the metadata of its units,
 * which lives in an arena of that segment.
 */
#ifndef SHADOW86_CODE_H
#define SHADOW86_CODE_H

#include "cpu/vcpu.h"
#include "jit/ir.h"

struct jit;
struct code_unit;

/* A place where code goes on to another unit.
 *
 * key: cache offset of 8 bytes that must equal (pc of the page on which the target lies) + vcpu.jit.genkey for the link to
 * be taken: it proves that this page still holds what the link was made for. 0: same page as the unit, no proof needed.
 * LINK_RETURN is where a call's callee comes back to: always with a key, compared with the return address that it popped. */
enum link_kind { LINK_JUMP, LINK_CALL, LINK_RETURN };
enum link_flags { LINK_FLAGS_DEAD, LINK_FLAGS_SAVED, LINK_FLAGS_HOST };
struct code_link {
    struct code_unit *from, *to;    /* to: NULL while it leads to its stub */
    struct code_link *next_in, **prev_in;   /* others that lead to the same unit */
    u32 at;                         /* the jump or call to patch */
    u32 stub;                       /* what it leads to while there is no unit: leaves with LEAVE_LINK */
    u32 key;
    s32 target;                     /* offset as in ir.h */
    u8 kind, flags;
    u16 flive;                      /* flags that the unit was made to keep for the target */
    bool plain;                     /* to a unit of MODE_PLAIN, at the instruction whose grouped access straddles two pages */
    bool key_own;                   /* the key has pc of the unit's own page instead, from which the target's follows */
    bool wraps;                     /* compile.c: 16-bit code, RIP of the target is to be truncated to 16 bits */
};

/* A short way for an instruction that changes privilege, view or a segment register: switch.c. next: RIP behind it. */
enum switched { SWITCH_NO /* nothing was done */, SWITCH_DONE, SWITCH_RESUME /* and RF is to be set unless code goes on at once */ };
typedef enum switched switch_fn(struct vcpu *c, const struct insn *in, u64 next);

/* What code hands to jit_interp and jit_step_call. */
struct code_call { struct insn in; s32 offset; /* of the instruction */ struct code_unit *unit; switch_fn *fast; };

/* What code hands to jit_miss. */
struct code_access {
    u8 bytes, access /* enum ir_access */, view, align;
    s32 offset;                 /* of the guest instruction */
    s32 site;                   /* where its site is, for the backend; 0: none */
    u8 span;                    /* several accesses use the pointer, IR_SPAN: it must lead to memory itself */
    u8 pointer;                 /* for the backend: what is wanted */
    u8 spare[2];
    u32 *misses;                /* code_profile.misses */
    struct code_unit *unit;
} __attribute__((packed));    /* it stands among host code, at any address */

/* How often the site of an access missed, by the instruction's offset and the kind of access, and where its page was found then:
 * in the TLB, in a granule of a large page, or among the sites that are found by the address. */
enum code_found { FOUND_TLB, FOUND_LARGE, FOUND_NEAR, FOUND_COUNT };
struct code_profile { s32 offset; u8 access; u32 misses[FOUND_COUNT]; };

/* What a unit that checks itself was made from: selfcheck.c. Bits count bytes from its start. */
enum { SELF_BYTES = 512, SELF_WORDS = SELF_BYTES / 64 };
struct code_self {
    const u8 *host;             /* where it stands */
    u16 bytes;
    u64 patience;               /* entries until its page counts as quiet */
    u64 loaded[SELF_WORDS];     /* not compared: constants that its code loads */
    u64 immediates[SELF_WORDS]; /* others that it could load */
    u8 was[];
};

/* In sets of guest instructions, by their offsets: which of 64. */
static inline u64 jit_group_bit(s32 offset) { return (u64)1 << ((u32)offset * 0x9e3779b1u >> 26); }

struct code_range { gpa at; u32 bytes; };   /* on one page */
enum { CODE_RANGES = 6 };

/* Memory that a unit was made from, in the list of all such of its page: units.c. There are some 400 thousand units in a full cache:
 * what is known of each is kept small. */
struct code_place {
    gpa at;
    u16 bytes;
    u8 nth;                     /* of the unit's: place_unit */
    struct code_place *next, **prev;
};

struct code_unit {
    gpa pa;                     /* of the first guest byte */
    u32 mode;                   /* enum ir_mode */
    u32 part;                   /* of its page that lies inside of CS: units.c */
    struct code_unit *next_hash;
    u64 left;                   /* counted: entries until the unit is made again as a superblock, then code leaves with LEAVE_LOOKUP
                                   at its start */
    u32 entry, entry_host, entry_jump;  /* cache offsets, backend.h */
    u32 size;                   /* bytes of host code but for what is rarely executed: that lies */
    u32 cold, cold_size;        /* there */
    u16 flags_in;               /* flags that it reads (all: it reads some or passes some on) */
    u16 guests;                 /* guest instructions */
    u8 ranges;                  /* memory that it was made from: [0] holds pa. Others: behind a page, successors looked at */
    bool dead;
    bool counted;
    struct code_self *self;     /* it checks itself, and has no ranges; NULL: it is told of writes */
    bool crosses;               /* its first instruction ends on the next page, place[1]. Its code compares pc + PAGE_SIZE + genkey
                                   with the 8 bytes at `key`, and leaves with LEAVE_LOOKUP if they differ */
    /* finding and entering a unit looks at no more than what stands above */
    u16 link_count;
    struct code_link *links;
    struct code_link *incoming;
    struct code_unit *next_in_segment;
    bool falls_back;                /* a superblock: where grouped accesses straddle two pages, it goes on in a plain unit */
    bool jumps;                 /* it has been put into the table of indirect jumps */
    u32 key;                    /* cache offset */
    u32 agreed;                 /* check.c: how often it and the interpreter have */
    u16 straddles;                  /* grouped accesses that did not lie on one page; and that were done all the same, */
    u16 copied;
    u64 copied_since;               /* of those the first of the last few: jit_now_ns */
    struct code_profile *profile;   /* while entries are counted */
    u16 profiles;
    struct code_place place[];      /* of each range */
};

static inline struct code_unit *place_unit(struct code_place *p)
{
    return container_of(p - p->nth, struct code_unit, place);
}

/* Metadata with the life of the segment that is being filled; aligned to 16. NULL: no memory, give up this unit. */
void *code_alloc(struct jit *j, size_t bytes);

#endif
