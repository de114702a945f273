/* fpu.h - the floating-point units as their instructions see them: registers, status and control bits, exceptions, and
 * the way into SoftFloat. Private to cpu/ (fpu.c, x87_*.c, interp_x87_*.c, interp_sse_fp*.c, interp_fxsave.c).
 *
 * SDM 1 chapter 8 (x87), 10.2.3 (MXCSR), 11.5 (SSE exceptions).
 */
#ifndef SHADOW86_FPU_H
#define SHADOW86_FPU_H

#include "softfloat.h"

#include "cpu/third_party/softfloat3/platform/softfloat_x87.h"
#include "cpu/vcpu.h"

/* Exception flags: the same six bits in the x87's status and control words and in MXCSR (whose masks are 7 bits up). */
enum fp_flag {
    FP_IE = 1, FP_DE = 2, FP_ZE = 4, FP_OE = 8, FP_UE = 16, FP_PE = 32,
    FP_ALL = 63,
    FP_PRE = FP_IE | FP_DE | FP_ZE,     /* found before there is a result; unmasked, they leave everything as it was */
    X87_SF = 64,                        /* status word only: stack fault */
};
enum x87_sw { X87_ES = 0x80, X87_C0 = 0x100, X87_C1 = 0x200, X87_C2 = 0x400, X87_TOP = 0x3800, X87_C3 = 0x4000,
              X87_B = 0x8000, X87_CC = X87_C0 | X87_C1 | X87_C2 | X87_C3 };
enum x87_cw { X87_PC = 0x300, X87_RC = 0xc00, X87_CW_WRITABLE = 0x1f3f, X87_CW_FIXED = 0x40, X87_CW_INIT = 0x37f };
enum mxcsr { MXCSR_DAZ = 0x40, MXCSR_MASKS = 0x1f80, MXCSR_RC = 0x6000, MXCSR_FZ = 0x8000, MXCSR_INIT = 0x1f80,
             MXCSR_VALID = 0xffff };
enum { MXCSR_MASK_SHIFT = 7, MXCSR_RC_SHIFT = 13, X87_RC_SHIFT = 10 };

#define F80_INT ((u64)1 << 63)          /* the explicit integer bit */
#define F80_QUIET ((u64)1 << 62)
enum { F80_EXP = 0x7fff, F80_SIGN = 0x8000, F80_BIAS = 0x3fff };

static const struct f80 f80_indefinite = { 0xc000000000000000, 0xffff };     /* the QNaN that invalid operations give */

/* ------------------------------------------------------------------------------ the register stack ----- */
static inline unsigned x87_top(const struct vcpu *c) { return c->x87.sw >> 11 & 7; }
static inline unsigned x87_phys(const struct vcpu *c, unsigned i) { return (x87_top(c) + i) & 7; }
static inline bool x87_empty(const struct vcpu *c, unsigned i) { return c->x87.empty >> x87_phys(c, i) & 1; }
static inline struct f80 x87_get(const struct vcpu *c, unsigned i) { return c->x87.r[x87_phys(c, i)]; }
static inline void x87_put(struct vcpu *c, unsigned i, struct f80 v)         /* and tags it as in use */
{
    unsigned r = x87_phys(c, i);
    c->x87.r[r] = v;
    c->x87.empty &= (u8)~(1 << r);
}
static inline void x87_free(struct vcpu *c, unsigned i) { c->x87.empty |= (u8)(1 << x87_phys(c, i)); }
static inline void x87_rotate(struct vcpu *c, int by)
{
    c->x87.sw = (u16)((c->x87.sw & ~X87_TOP) | (((x87_top(c) + (unsigned)by) & 7) << 11));
}
static inline void x87_pop(struct vcpu *c)
{
    x87_free(c, 0);
    x87_rotate(c, 1);
}
static inline void x87_push(struct vcpu *c, struct f80 v)
{
    x87_rotate(c, -1);
    x87_put(c, 0, v);
}
static inline void x87_set_cc(struct vcpu *c, u16 mask, u16 bits) { c->x87.sw = (u16)((c->x87.sw & ~mask) | bits); }

/* ---------------------------------------------------------------------------------- 80-bit values ----- */
static inline unsigned f80_exp(struct f80 v) { return v.se & F80_EXP; }
static inline bool f80_sign(struct f80 v) { return v.se >> 15; }
static inline struct f80 f80_make(bool sign, unsigned exp, u64 mant)
{
    return (struct f80){ mant, (u16)((sign ? F80_SIGN : 0) | exp) };
}
static inline struct f80 f80_zero(bool sign) { return f80_make(sign, 0, 0); }
static inline struct f80 f80_inf(bool sign) { return f80_make(sign, F80_EXP, F80_INT); }
static inline bool f80_is_zero(struct f80 v) { return !f80_exp(v) && !v.mant; }
static inline bool f80_is_inf(struct f80 v) { return f80_exp(v) == F80_EXP && v.mant == F80_INT; }
static inline bool f80_is_nan(struct f80 v) { return f80_exp(v) == F80_EXP && v.mant > F80_INT; }
static inline bool f80_is_snan(struct f80 v) { return f80_is_nan(v) && !(v.mant & F80_QUIET); }
/* Denormals and pseudo-denormals (SDM 1 8.2.2). */
static inline bool f80_is_denormal(struct f80 v) { return !f80_exp(v) && v.mant; }
/* Unnormals, pseudo-infinities, pseudo-NaNs: formats of the 8087 that raise #IA (SDM 1 table 8-3). */
static inline bool f80_is_unsupported(struct f80 v) { return f80_exp(v) && !(v.mant & F80_INT); }
static inline struct f80 f80_quiet(struct f80 v) { return (struct f80){ v.mant | F80_QUIET, v.se }; }
static inline struct f80 f80_negate(struct f80 v) { return (struct f80){ v.mant, v.se ^ F80_SIGN }; }
/* Finite, not zero: the significand with its top bit set, and the biased exponent that goes with it (also below 1). */
static inline u64 f80_normalize(struct f80 v, int *exp)
{
    int lead = __builtin_clzll(v.mant);
    *exp = (f80_exp(v) ? (int)f80_exp(v) : 1) - lead;
    return v.mant << lead;
}
static inline extFloat80_t f80_to_soft(struct f80 v)
{
    /* A pseudo-denormal has the value of the normal number with exponent 1; SoftFloat knows only that. */
    u16 one = !(v.se & F80_EXP) && v.mant & F80_INT;
    return (extFloat80_t){ .signif = v.mant, .signExp = (u16)(v.se | one) };
}
static inline struct f80 f80_from_soft(extFloat80_t v) { return (struct f80){ v.signif, v.signExp }; }

/* -------------------------------------------------------------------------------------- fpu.c ----- */
/* SoftFloat's exception flags as FP_IE..FP_PE (no DE: SoftFloat has none). */
unsigned fpu_soft_flags(void);
/* Rounding control (0..3, as in CW and MXCSR) as SoftFloat's rounding mode. */
uint_fast8_t fpu_soft_rounding(unsigned rc);

void x87_init(struct vcpu *c);                      /* FNINIT */
void x87_update_summary(struct vcpu *c);            /* ES and B from flags and masks; drives FERR# where CR0.NE = 0 */
u16 x87_tag_word(const struct vcpu *c);             /* the full tag word, from the registers' contents */
void x87_set_tag_word(struct vcpu *c, u16 tags);    /* only empty or not matters */
u8 x87_abridged_tags(const struct vcpu *c);         /* FXSAVE's: bit i set: R[i] is in use */

/* Notes FIP, FCS, FOP and, with a memory operand, FDP and FDS. For every instruction but the control ones. */
void x87_note(struct vcpu *c, const struct insn *in);
/* Sets exception flags (FP_*, X87_SF). True if those in `decisive` are masked: the masked response follows. */
bool x87_signal(struct vcpu *c, unsigned flags, unsigned decisive);
bool x87_stack_underflow(struct vcpu *c);           /* IE and SF, C1 = 0; true: masked, deliver the indefinite value */
bool x87_stack_overflow(struct vcpu *c);            /* IE and SF, C1 = 1 */

/* MXCSR: sets flags found in the lanes of an SSE instruction; false with #XM or #UD noted if one is unmasked. */
bool fpu_sse_signal(struct vcpu *c, unsigned pre, unsigned post);
bool fpu_pending_x87(struct vcpu *c);               /* #MF, or FERR#, if ES is set */
/* XSAVE components that are not in their initial state (XGETBV with ECX = 1): interp_fxsave.c */
u64 fpu_xinuse(const struct vcpu *c);
bool fpu_check_xsave(struct vcpu *c);               /* #UD without CR4.OSXSAVE, #NM with CR0.TS */

/* ----------------------------------------------------------------------------- x87_arith.c ----- */
/* One computation: flags come out of it. x87_calc_begin sets SoftFloat's state up from the control word. */
struct x87_calc {
    u16 cw;
    u16 flags;      /* FP_* */
    bool denormal;  /* an operand was a denormal before it was widened to 80 bits (m32, m64) */
    bool up;        /* the result was rounded up in magnitude: C1 */
};
typedef struct f80 x87_op2(struct x87_calc *k, struct f80 a, struct f80 b);
typedef struct f80 x87_op1(struct x87_calc *k, struct f80 a);
x87_op2 x87_add, x87_sub, x87_mul, x87_div, x87_scale;
x87_op1 x87_sqrt, x87_round_int;

struct x87_calc x87_calc_begin(const struct vcpu *c);
/* Adds the flags, and C1, of the SoftFloat operation just done. */
void x87_calc_collect(struct x87_calc *k);
/* Hands flags and C1 to the status word. True if the result may be stored in a register. */
bool x87_calc_commit(struct vcpu *c, const struct x87_calc *k);
/* Handles unsupported formats and NaNs; true: *r is the result. */
bool x87_special2(struct x87_calc *k, struct f80 a, struct f80 b, struct f80 *r);
bool x87_special1(struct x87_calc *k, struct f80 a, struct f80 *r);
struct f80 x87_invalid(struct x87_calc *k);         /* IE, and the indefinite value */
/* Rounds sign * sig:extra * 2^(exp - bias - 63..) to 80 bits with the control word's rounding. sig normalized. */
struct f80 x87_round(struct x87_calc *k, bool sign, int exp, u64 sig, u64 extra);

/* Condition codes C3, C2, C0 of a comparison; quiet: QNaNs do not raise IE. */
u16 x87_compare(struct x87_calc *k, struct f80 a, struct f80 b, bool quiet);
/* FPREM, FPREM1. *cc: the condition codes, or X87_NO_QUOTIENT: NaN or invalid operation, C0 and C3 stay. */
enum { X87_NO_QUOTIENT = 1 };
struct f80 x87_rem(struct x87_calc *k, struct f80 a, struct f80 b, bool nearest, u16 *cc);
struct f80 x87_extract(struct x87_calc *k, struct f80 a, struct f80 *exponent);

struct f80 x87_from_f32(struct x87_calc *k, u32 v);     /* exact; notes denormals, leaves SNaNs signaling */
struct f80 x87_from_f64(struct x87_calc *k, u64 v);
struct f80 x87_from_int(s64 v);
u32 x87_to_f32(struct x87_calc *k, struct f80 v);
u64 x87_to_f64(struct x87_calc *k, struct f80 v);
/* To a signed integer of 2, 4 or 8 bytes; out of range: IE and the integer indefinite. */
s64 x87_to_int(struct x87_calc *k, struct f80 v, unsigned bytes, bool truncate);
void x87_to_bcd(struct x87_calc *k, struct f80 v, u8 bcd[10]);
struct f80 x87_from_bcd(const u8 bcd[10]);

/* ------------------------------------------------------------------------------ x87_trig.c ----- */
x87_op1 x87_2xm1;
x87_op2 x87_atan2, x87_ylog2x, x87_ylog2xp1;    /* a = ST(1), b = ST(0) */
enum x87_trig { X87_SIN, X87_COS, X87_TAN };
/* False: |a| is 2^63 or more and finite; nothing done (C2). */
bool x87_trig(struct x87_calc *k, enum x87_trig f, struct f80 a, struct f80 *r);
bool x87_sin_cos(struct x87_calc *k, struct f80 a, struct f80 *sine, struct f80 *cosine);   /* as both, one after the other */

#endif
