/* golden.h - golden code tests: the host code of a list of guest instructions and idioms, kept as text. See README.md.
 *
 *     cases.c    reads the list (cases.txt) and checks its text against the decoder
 *     unit.c     translates a case by the real pipeline, without executing anything
 *     text.c     disassembles what came out, in a form that does not depend on addresses and layouts
 *     x86_64.c, aarch64.c    what is particular about the host's operands
 *     main.c     compares all of it with x86_64.txt or aarch64.txt; totals
 */
#ifndef SHADOW86_TESTS_GOLDEN_H
#define SHADOW86_TESTS_GOLDEN_H

#include <capstone/capstone.h>
#include <stdio.h>

#include "cpu/insn.h"
#include "cpu/types.h"

enum { MAX_CASES = 800, MAX_GUESTS = 24, MAX_BYTES = 128 };
/* Offsets in the page of a case: where its own code may end, and code that reads no flag and overwrites all (the last
 * instruction is followed by a jump there, and it is a target for others). */
enum { PAGE_ROOM = 0x400, PAGE_TARGET = 0x800 };

struct golden_case {
    char *name, *why;           /* why: of more than 4 host instructions per guest instruction; NULL */
    unsigned mode, line;        /* 8: 64-bit, CPL 3; 4: flat 32-bit, CPL 3; 2: real mode */
    u8 bytes[MAX_BYTES];
    unsigned size, guests;
    u32 at[MAX_GUESTS + 1];     /* offsets of the instructions */
    char text[MAX_GUESTS][80];
    /* what came out */
    char *golden;
    unsigned hosts, checks;     /* host instructions in line; checks: those that look up addresses of memory */
};
extern struct golden_case cases[MAX_CASES];
extern unsigned case_count;

/* False: printed why. fill: writes texts that are missing into the file. */
bool cases_read(const char *path, bool fill);

/* Translates and disassembles. False: printed why. */
bool unit_make(struct golden_case *c);

/* --- one unit's code, for text.c --- */
struct jit;
struct code_unit;
struct code_link;
struct golden_code {
    const u8 *bytes;            /* of the whole unit */
    u32 base, size, end;        /* cache offsets: of the unit, how long it is, where what is shown ends */
    const u32 *op_at;           /* where operations begin, */
    const u8 *op_guest;         /* their guest instructions, */
    const bool *op_check;       /* do they check an address? */
    unsigned ops;
    const struct jit *jit;
    const struct code_unit *unit;
};
void text_make(struct golden_case *c, const struct golden_code *code);

/* --- text.c, for the hosts --- */
/* The field of struct vcpu at that offset. */
void text_field(char *to, size_t room, u64 offset);
bool text_is_pointer(u64 v);
/* Replaces what stands in brackets. */
void text_brackets(char *text, size_t room, const char *with);
/* --- the hosts --- */
csh host_open(void);
/* Rewrites in->mnemonic and in->op_str into what is shown. first: of a unit. */
void host_text(csh h, const cs_insn *in, bool first, char *to, size_t room);
/* Where the branch leads, if it is one with a target: the text's place of it in *operand. The addresses are cache offsets. */
bool host_branch(const cs_insn *in, u64 *target);
/* How many instructions, from in[0] on, build a pointer: shown as one. 0: none. */
unsigned host_pointer(const cs_insn *in, size_t n, char *to, size_t room);

#endif
