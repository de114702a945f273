/* native.h - the differential test of the interpreter against the host CPU: what its files share.
 *
 * A case is made from (mode, row of insn.def or none, number) alone, so that three numbers reproduce it:
 *   encode.c  bytes of an instruction: of a row of insn.def, or any bytes
 *   values.c  random numbers and values of all kinds
 *   case.c    the state around it: registers, operands that lie on boundaries, stacks, selectors
 *   host.c    runs it on the host (state.h)
 *   guest.c   runs it in the interpreter
 *   rules.c   what is not compared, and why
 *   compare.c differences and how they are shown
 */
#ifndef SHADOW86_NATIVE_H
#define SHADOW86_NATIVE_H

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/vcpu.h"
#include "tests/native/state.h"

enum { ANY_ROW = 0xffff }; /* bytes at random instead of a row */

struct test_case {
    unsigned mode; /* 2, 4, 8 */
    unsigned row;  /* wanted; ANY_ROW */
    u64 number;
    u8 bytes[32];
    unsigned length;             /* bytes given; in.len if it decodes */
    unsigned disp_at, disp_size; /* the displacement's place in bytes */
    enum decode_status status;
    struct insn in;
    u64 target;  /* linear address that the memory operand was aimed at */
    u64 operand; /* linear address that it has */
    bool step;
    struct native_state before;
};

static inline const struct insn_row *case_row(const struct test_case *t) { return &insn_rows[t->in.row]; }
static inline const char *case_name(const struct test_case *t)
{
    return t->status == DECODE_OK ? case_row(t)->name : "(no instruction)";
}

/* --- values.c --- */
void random_seed(u64 seed);
u64 random_u64(void);
unsigned below(unsigned n);
static inline bool one_in(unsigned n) { return below(n) == 0; }
u64 random_integer(void); /* boundary values often */
u64 random_f64(void);
u32 random_f32(void);
struct f80 random_f80(void);
enum fill {
    FILL_F32,
    FILL_F64,
    FILL_F16,
    FILL_INTEGERS,
    FILL_EDGES,
    FILL_COUNTS,
    FILL_TEXT,
    FILL_SIGNS,
    FILL_ANY,
    FILL_KINDS
};
void random_fill(void *to, unsigned bytes, enum fill kind); /* a multiple of 8 */

/* --- encode.c --- */
bool encode_row(struct test_case *t); /* false: the row does not exist in this mode */
void encode_any(struct test_case *t);
void encode_put(struct test_case *t, unsigned at, unsigned bytes, u64 v);

/* --- case.c --- */
extern u8 case_memory[DATA_BYTES]; /* contents of the data pages before the instruction */
/* False: it makes no case that may be run (see rules.c), try the next number. */
bool case_make(struct test_case *t, const u64 *features);

/* --- guest.c --- */
extern u8 *guest_data;
extern struct vcpu *guest_cpu;
const char *guest_setup(void);
const char *guest_translate(const char *options); /* run cases by the translator; -accel's keys */
extern u64 guest_translated; /* cases that went through translated code */
void guest_run(struct native_state *s, const struct test_case *t);
u64 guest_segment_base(u16 sel);

/* --- rules.c --- */
bool rules_host_runs(unsigned row, bool vex, unsigned vl);
const char *rules_not_run(const char *name);   /* reason why a mnemonic is never run, or NULL */
bool rules_may_run(const struct test_case *t); /* this particular case */
/* Makes `host` equal to `ours` where a rule says that both may be right. Memory: the data pages' contents. */
void rules_forgive(const struct test_case *t, struct native_state *ours, struct native_state *host, u8 *our_mem,
                   u8 *host_mem);
u32 rules_defined_flags(const struct test_case *t);
void rules_list(void);

/* --- compare.c --- */
bool case_run(struct test_case *t, bool print); /* false: they differ */

#endif
