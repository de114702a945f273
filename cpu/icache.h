/* icache.h - decoded blocks: private to interp.c, icache.c and the translator's dispatcher. */
#ifndef SHADOW86_ICACHE_H
#define SHADOW86_ICACHE_H

#include "cpu/insn.h"
#include "cpu/vcpu.h"

enum { BLOCK_INSNS = 32 };      /* at most; about the longest straight run of code that occurs often */

/* Straight-line code inside one physical page, decoded for one code size. */
struct block {
    gpa pa;                     /* of the first byte; BLOCK_DEAD once its bytes have been written */
    struct block *link[2];      /* where control went last: [0] behind the block, [1] elsewhere. Compare pa before use */
    struct block *next_hash, *next_page;
    u16 bytes, count;           /* of instructions; behind those there may be a terminator */
    u8 mode;                    /* 2, 4, 8 */
    bool sys;                   /* its last instruction may change anything (ATTR_SYS) */
    u32 executed;               /* the translator's: how often the interpreter has run it */
    bool left;                  /* the translator's: it could not translate it */
    bool flags;                 /* the translator's: a unit made of it must keep all flags */
    struct insn insn[] __attribute__((aligned(64)));
} __attribute__((aligned(64)));
#define BLOCK_DEAD (~(gpa)0)

/* The block at this physical address, NULL if none is decoded. */
struct block *icache_find(const struct icache *ic, gpa pa, unsigned mode);
/* Decodes one; host: its bytes, readable up to the end of the page. NULL if the first instruction does not end on the
 * page. May drop all other blocks. */
struct block *icache_build(struct vcpu *c, gpa pa, const u8 *host);
/* From now on there is room for a part of the guest's code only: what is executed often is going to be translated. */
void icache_small(struct vcpu *c);
/* A block that nobody drops: whoever owns it compares its bytes before each run. So it ends behind the first instruction that may
 * write to memory. b has room for BLOCK_INSNS + 1 instructions; bytes: a copy, `room` of them. False: there is none. */
bool icache_decode_loose(struct vcpu *c, struct block *b, gpa pa, const u8 *bytes, unsigned room);
/* The chain of every instruction of a dead block: stops there. interp.c */
bool interp_stale(struct vcpu *c, const struct insn *in);
/* The chain behind the last instruction of a block that ends without a branch. interp.c */
bool interp_block_end(struct vcpu *c, const struct insn *in);

/* Decodes a single instruction from a copy of its bytes; DECODE_SHORT if they do not suffice. The result is good until the
 * next call. Its `run` raises #UD or #GP itself where the bytes are none. */
enum decode_status icache_decode_copy(struct vcpu *c, const u8 *bytes, unsigned avail, const struct insn **in);

#endif
