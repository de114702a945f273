/* insn.h - guest instructions on vectors (IR_OP_insn) as NEON code: what the files insn*.c share. Private to jit/aarch64/.
 *
 * A row of a table says how the function in_<name> of the interpreter is done in code. Most work on each 128-bit half of the
 * destination alike; a `lane` function writes one half: d from a and b, changing d only in its last instruction that reads neither (d
 * may be a or b). Scratch: V16-V19 for lane functions, the rest below for the driver.
 *
 * XMM n is V n. The upper half of YMM n stays in vcpu.vec[n].
 */
#ifndef SHADOW86_JIT_AARCH64_INSN_H
#define SHADOW86_JIT_AARCH64_INSN_H

#include "cpu/interp.h"
#include "cpu/vcpu.h"
#include "jit/aarch64/emit.h"

enum { V16 = 16, V17, V18, V19, V_MEM = 20 /* 21: its upper half */, V_A = 22, V_B, V_C = 26, V_OUT = 24 /* 25 */, V_ZERO = 28 };

struct vec_row;
struct lane {
    struct emit *e;
    const struct vec_row *row;
    const struct insn *in;
    u8 imm;
    unsigned c;         /* register of operand 3 */
    unsigned half;      /* which one is made */
};
typedef void lane_fn(const struct lane *l, unsigned d, unsigned a, unsigned b);
typedef void whole_fn(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row);

enum vec_form {
    VEC_LANES,          /* lane() for each half; sources are operands 1 and 2 (and 3) */
    VEC_FP,             /* the same, with a look at FPSR before the destination changes */
    VEC_SCALAR,         /* lane() makes the low element; the others are operand 1's. FPSR as above */
    VEC_WHOLE,          /* whole() does it all */
};
enum vec_limit {
    ONLY_128 = 1,       /* not the 256-bit form */
    NEED_AES = 2, NEED_PMULL = 4, NEED_CRC32 = 8,
    ROUNDS = 16,        /* ROUND*: some immediates */
    DOUBLE = 32,        /* VEC_SCALAR: the element is a double */
    EXACT = 64,         /* VEC_SCALAR: FPSR is of no interest */
    PREDICATES = 128,   /* CMP*: immediates up to 7 */
};
struct vec_row {
    interp_fn *run;
    u8 form, limit;
    lane_fn *lane;
    whole_fn *whole;
    u32 op[2];          /* instruction words without registers, or what the function wants */
};
extern const struct vec_row vec_rows_int[], vec_rows_fp[], vec_rows_move[], vec_rows_gpr[];
extern const unsigned vec_rows_int_count, vec_rows_fp_count, vec_rows_move_count, vec_rows_gpr_count;

/* --- words --- */
static inline void v3(struct emit *e, u32 op, unsigned d, unsigned n, unsigned m) { put32(e, op | m << 16 | n << 5 | d); }
static inline void v2(struct emit *e, u32 op, unsigned d, unsigned n) { put32(e, op | n << 5 | d); }
/* Three registers alike; three with a result of another width; two; permutations; shifts by an immediate. All of 128 bits. */
#define T3(u, size, op) (0x4e200400u | (u) << 29 | (size) << 22 | (op) << 11)
#define TD(u, size, op) (0x0e200000u | (u) << 29 | (size) << 22 | (op) << 12)        /* upper halves: | UPPER */
#define T2(u, size, op) (0x4e200800u | (u) << 29 | (size) << 22 | (op) << 12)
#define TP(size, op) (0x4e000800u | (size) << 22 | (op) << 12)
#define TS(u, op, immhb) (0x4f000400u | (u) << 29 | (u32)(immhb) << 16 | (op) << 11)
#define UPPER (1u << 30)
enum {
    V_AND = 0x4e201c00, V_BIC = 0x4e601c00, V_ORR = 0x4ea01c00, V_EOR = 0x6e201c00, V_BSL = 0x6e601c00, V_BIT = 0x6ea01c00,
    V_NOT = 0x6e205800, V_ZIP1 = 3, V_ZIP2 = 7, V_UZP1 = 1, V_UZP2 = 5, V_TRN1 = 2, V_TRN2 = 6,
};
static inline void vmov(struct emit *e, unsigned d, unsigned n)
{
    if (d != n)
        v3(e, V_ORR, d, n, n);
}
static inline void vzero(struct emit *e, unsigned d) { put32(e, 0x6f00e400 | d); }
static inline void vbytes(struct emit *e, unsigned d, u8 v) { put32(e, 0x4f00e400 | (u32)(v >> 5) << 16 | (v & 31u) << 5 | d); }
/* Elements of 1 << size bytes. */
static inline u32 element(unsigned size, unsigned i) { return ((i << 1 | 1) << size) << 16; }
static inline void vdup(struct emit *e, unsigned size, unsigned d, unsigned n, unsigned i) { v2(e, 0x4e000400 | element(size, i), d, n); }
static inline void vins(struct emit *e, unsigned size, unsigned d, unsigned i, unsigned n, unsigned k)
{
    v2(e, 0x6e000400 | element(size, i) | (k << size) << 11, d, n);
}
static inline void vins_gpr(struct emit *e, unsigned size, unsigned d, unsigned i, unsigned n) { v2(e, 0x4e001c00 | element(size, i), d, n); }
static inline void vget(struct emit *e, unsigned size, unsigned d, unsigned n, unsigned i)     /* UMOV */
{
    v2(e, (size == 3 ? 0x4e003c00 : 0x0e003c00) | element(size, i), d, n);
}
static inline void vext(struct emit *e, unsigned d, unsigned low, unsigned high, unsigned bytes) { v3(e, 0x6e000000 | bytes << 11, d, low, high); }

/* --- insn.c --- */
void vec_ldr(struct emit *e, unsigned bytes, unsigned t, unsigned base, u32 off);
void vec_str(struct emit *e, unsigned bytes, unsigned t, unsigned base, u32 off);
void vec_upper(struct emit *e, bool out, unsigned t, unsigned n);      /* upper half of YMM n */
/* After a VEX instruction of 128 bits on XMM n. */
void vec_clear_upper(struct emit *e, const struct insn *in, unsigned n);
/* The register of operand v: its own, or V_MEM with `bytes` of memory. */
unsigned vec_source(struct emit *e, ir_val v, unsigned bytes);
/* What was executed raised an exception that is not the guest's in the same way, or gave what x86 does not: to a tail, where the
 * interpreter's function does all of the instruction. */
struct tail *vec_check(struct emit *e);

/* --- insn_slow.c: what tails call --- */
void insn_slow(struct vcpu *c, const struct code_call *call, const union vec *memory);
u64 insn_slow_compare(struct vcpu *c, const struct code_call *call, const union vec *memory);

#endif
