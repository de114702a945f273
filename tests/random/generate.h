/* generate.h - the state of the generator and its assembler: shared by generate.c and pieces.c. */
#ifndef SHADOW86_TESTS_RANDOM_GENERATE_H
#define SHADOW86_TESTS_RANDOM_GENERATE_H

#include "tests/random/random.h"

enum machine_mode { IN_REAL, IN_PROT16, IN_PROT32, IN_COMPAT, IN_LONG };
enum paging { PAGING_OFF, PAGING_32, PAGING_PAE };

struct gen {
    struct program *p;
    u32 at, room_end;           /* where the next instruction goes (linear = physical), and where it must stop */
    u32 near_functions, functions;      /* free space for functions, 16-bit code and other */
    u32 table;                  /* offset in DATA: free space for jump tables */
    enum machine_mode mode;
    enum paging paging;
    bool user;
    unsigned bits;              /* code size: 2, 4, 8 */
    unsigned depth;             /* of loops */
    unsigned turns;             /* product of the loops' counts */
    u32 undefined;              /* status flags that may be undefined here */
    bool no_undefined;          /* do not leave any behind (single-step: every boundary pushes them) */
    bool failed;                /* out of space */
};

/* Appends one instruction. format: hex bytes, and
 *   %b %w %d %q  an argument of 1 2 4 8 bytes      %z  of the operand size: 2 in 16-bit code, else 4
 *   /N           ModRM (and what follows) for the absolute address that is the next argument, N in ModRM.reg
 *   o32 a32      66 or 67 in 16-bit code           rexw  48 in 64-bit code */
void gen_op(struct gen *g, const char *format, const u64 *args);
#define OP(g, ...) OP_(g, __VA_ARGS__, 0)
#define OP_(g, format, ...) gen_op(g, format, (const u64[]){ __VA_ARGS__ })
void gen_bytes(struct gen *g, const u8 *bytes, unsigned n);

static inline u32 code_base(const struct gen *g) { return g->mode <= IN_PROT16 ? PROGRAM : 0; }
static inline u32 data_address(const struct gen *g, u32 offset) { return g->mode <= IN_PROT16 ? offset : DATA + offset; }
static inline bool flat(const struct gen *g) { return g->mode > IN_PROT16; }
static inline u32 here(const struct gen *g) { return g->at - code_base(g); }
static inline unsigned rel_bytes(const struct gen *g) { return g->bits == 2 ? 2 : 4; }

/* A jump whose target comes later: the value to give to gen_land. opcode: as OP's format, without the displacement. */
u32 gen_jump(struct gen *g, const char *opcode);
void gen_land(struct gen *g, u32 jump);
void gen_jump_to(struct gen *g, const char *opcode, u32 target);    /* target: linear */
/* Makes the status flags defined if one of these is not. */
void gen_define_flags(struct gen *g, u32 wanted);
void gen_label(struct gen *g);      /* control comes from elsewhere too */
void gen_move(struct gen *g, unsigned reg, u64 v);      /* MOV r, imm; 32 bits in all modes */
/* One random instruction with what it needs in front of it. */
void gen_random(struct gen *g);
void gen_randoms(struct gen *g, unsigned n);
void gen_piece_start(struct gen *g, const char *name);

/* pieces.c */
void gen_piece(struct gen *g);

#endif
