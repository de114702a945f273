/* interp_x87_move.c - x87 data transfer: FLD FST FSTP FILD FIST FISTP FISTTP FBLD FBSTP FXCH FCMOVcc, constants, signs,
 * FXAM, and the stack's own FFREE FFREEP FINCSTP FDECSTP.
 *
 * Stores convert first, then write memory, then touch the x87: a page fault leaves no trace, and an unmasked exception
 * keeps both memory and stack as they were (SDM 1 8.5). SDM 1 8.3.2, 8.3.4, SDM 2A chapter 3.
 */
#include "cpu/fpu.h"
#include "cpu/interp.h"
#include "cpu/operand.h"

/* --- loads --- */

static bool push_checked(struct vcpu *c, struct f80 v)
{
    if (likely(x87_empty(c, 7))) {
        x87_set_cc(c, X87_C1, 0);
        x87_push(c, v);
    } else if (x87_stack_overflow(c)) {
        x87_push(c, f80_indefinite);
    }
    return true;
}

/* A real that was m32 or m64: denormals and SNaNs are reported here, unlike those of m80. */
static bool push_widened(struct vcpu *c, struct x87_calc *k, struct f80 v)
{
    if (unlikely(!x87_empty(c, 7)))
        return push_checked(c, v);
    if (f80_is_snan(v)) {
        k->flags |= FP_IE;
        v = f80_quiet(v);
    }
    if (k->denormal)
        k->flags |= FP_DE;
    x87_calc_commit(c, k);
    if (!(k->flags & FP_IE & ~k->cw))       /* an unmasked DE is reported, but the value is loaded */
        x87_push(c, v);
    return true;
}

static bool load_register(struct vcpu *c, unsigned i)
{
    if (likely(!x87_empty(c, i)))
        return push_checked(c, x87_get(c, i));
    if (x87_stack_underflow(c))
        x87_push(c, f80_indefinite);
    return true;
}

static bool load_m80(struct vcpu *c, const struct insn *in)
{
    u8 b[10];
    struct f80 v;
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), b, sizeof(b)))
        return false;
    memcpy(&v.mant, b, 8);
    memcpy(&v.se, b + 8, 2);
    x87_note(c, in);
    return push_checked(c, v);
}

bool in_fld(struct vcpu *c, const struct insn *in)
{
    const struct operand *o = &in->op[0];
    if (o->kind == OP_ST) {
        x87_note(c, in);
        return load_register(c, o->reg);
    }
    if (o->size == 10)
        return load_m80(c, in);
    u64 raw;
    if (!operand_read(c, in, 0, &raw))
        return false;
    x87_note(c, in);
    struct x87_calc k = x87_calc_begin(c);
    struct f80 v = o->size == 4 ? x87_from_f32(&k, (u32)raw) : x87_from_f64(&k, raw);
    return push_widened(c, &k, v);
}

bool in_fild(struct vcpu *c, const struct insn *in)
{
    u64 raw;
    if (!operand_read(c, in, 0, &raw))
        return false;
    x87_note(c, in);
    unsigned size = in->op[0].size;
    return push_checked(c, x87_from_int(size == 2 ? (s16)raw : size == 4 ? (s32)raw : (s64)raw));
}

bool in_fbld(struct vcpu *c, const struct insn *in)
{
    u8 bcd[10];
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), bcd, sizeof(bcd)))
        return false;
    x87_note(c, in);
    return push_checked(c, x87_from_bcd(bcd));
}

/* --- constants: the 64-bit significand below the exact value, and where the exact value lies --- */

enum constant { C_1, C_L2T, C_L2E, C_PI, C_LG2, C_LN2, C_Z };

static bool load_constant(struct vcpu *c, const struct insn *in, enum constant which)
{
    static const struct { u16 exp; u64 mant; bool nearest_is_up; } row[] = {
        [C_1]   = { 0x3fff, 0x8000000000000000, false },
        [C_L2T] = { 0x4000, 0xd49a784bcd1b8afe, false },
        [C_L2E] = { 0x3fff, 0xb8aa3b295c17f0bb, true },
        [C_PI]  = { 0x4000, 0xc90fdaa22168c234, true },
        [C_LG2] = { 0x3ffd, 0x9a209a84fbcff798, true },
        [C_LN2] = { 0x3ffe, 0xb17217f7d1cf79ab, true },
        [C_Z]   = { 0, 0, false },
    };
    unsigned rc = c->x87.cw >> X87_RC_SHIFT & 3;
    bool exact = which == C_1 || which == C_Z;
    bool up = !exact && (rc == 2 || (rc == 0 && row[which].nearest_is_up));
    x87_note(c, in);
    return push_checked(c, f80_make(false, row[which].exp, row[which].mant + up));
}

bool in_fld1(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_1); }
bool in_fldl2t(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_L2T); }
bool in_fldl2e(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_L2E); }
bool in_fldpi(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_PI); }
bool in_fldlg2(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_LG2); }
bool in_fldln2(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_LN2); }
bool in_fldz(struct vcpu *c, const struct insn *in) { return load_constant(c, in, C_Z); }

/* --- stores --- */

enum { BLOCKING = FP_IE | FP_OE | FP_UE };      /* unmasked, these keep a store to memory from happening */

static bool store_memory(struct vcpu *c, const struct insn *in, const struct x87_calc *k, const void *value, bool pop)
{
    unsigned flags = k->flags, blocked = flags & ~c->x87.cw & BLOCKING;
    if (!blocked && !mem_write_buf(c, in->seg, operand_ea(c, in), value, in->op[0].size))
        return false;
    x87_note(c, in);
    x87_set_cc(c, X87_C1, k->up && !blocked ? X87_C1 : 0);
    x87_signal(c, blocked ? flags & ~(unsigned)FP_PE : flags, 0);
    if (!blocked && pop)
        x87_pop(c);
    return true;
}

static void put_f80(u8 b[10], struct f80 v)
{
    memcpy(b, &v.mant, 8);
    memcpy(b + 8, &v.se, 2);
}

static bool store_register(struct vcpu *c, const struct insn *in, bool pop)
{
    struct f80 v = x87_get(c, 0);
    x87_note(c, in);
    if (x87_empty(c, 0)) {
        if (!x87_stack_underflow(c))
            return true;
        v = f80_indefinite;
    }
    x87_set_cc(c, X87_C1, 0);
    x87_put(c, in->op[0].reg, v);
    if (pop)
        x87_pop(c);
    return true;
}

static bool store_real(struct vcpu *c, const struct insn *in, bool pop)
{
    if (in->op[0].kind == OP_ST)
        return store_register(c, in, pop);
    struct x87_calc k = x87_calc_begin(c);
    struct f80 v = x87_get(c, 0);
    u8 b[10] = { 0 };
    if (x87_empty(c, 0)) {
        v = f80_indefinite;         /* narrows to the indefinite values of m32 and m64 */
        k.flags = FP_IE | X87_SF;
    }
    if (in->op[0].size == 10) {
        put_f80(b, v);
    } else if (in->op[0].size == 8) {
        u64 r = x87_to_f64(&k, v);
        memcpy(b, &r, 8);
    } else {
        u32 r = x87_to_f32(&k, v);
        memcpy(b, &r, 4);
    }
    return store_memory(c, in, &k, b, pop);
}

bool in_fst(struct vcpu *c, const struct insn *in) { return store_real(c, in, false); }
bool in_fstp(struct vcpu *c, const struct insn *in) { return store_real(c, in, true); }

/* D9 D8+i: FSTP without a stack underflow; an empty ST(0) is popped and goes nowhere. */
bool in_fstpnce(struct vcpu *c, const struct insn *in)
{
    x87_note(c, in);
    x87_set_cc(c, X87_C1, 0);
    if (!x87_empty(c, 0))
        x87_put(c, in->op[0].reg, x87_get(c, 0));
    x87_pop(c);
    return true;
}

static bool store_int(struct vcpu *c, const struct insn *in, bool truncate, bool pop)
{
    struct x87_calc k = x87_calc_begin(c);
    bool empty = x87_empty(c, 0);
    s64 v = x87_to_int(&k, empty ? f80_indefinite : x87_get(c, 0), in->op[0].size, truncate);
    if (empty)
        k.flags |= X87_SF;
    return store_memory(c, in, &k, &v, pop);
}

bool in_fist(struct vcpu *c, const struct insn *in) { return store_int(c, in, false, false); }
bool in_fistp(struct vcpu *c, const struct insn *in) { return store_int(c, in, false, true); }
bool in_fisttp(struct vcpu *c, const struct insn *in) { return store_int(c, in, true, true); }

bool in_fbstp(struct vcpu *c, const struct insn *in)
{
    struct x87_calc k = x87_calc_begin(c);
    bool empty = x87_empty(c, 0);
    u8 bcd[10];
    x87_to_bcd(&k, empty ? f80_indefinite : x87_get(c, 0), bcd);
    if (empty)
        k.flags |= X87_SF;
    return store_memory(c, in, &k, bcd, true);
}

/* --- between registers --- */

bool in_fxch(struct vcpu *c, const struct insn *in)
{
    unsigned i = in->op[0].reg;
    struct f80 a = x87_get(c, 0), b = x87_get(c, i);
    x87_note(c, in);
    x87_set_cc(c, X87_C1, 0);
    if (x87_empty(c, 0) || x87_empty(c, i)) {
        if (!x87_stack_underflow(c))
            return true;
        a = x87_empty(c, 0) ? f80_indefinite : a;
        b = x87_empty(c, i) ? f80_indefinite : b;
    }
    x87_put(c, 0, b);
    x87_put(c, i, a);
    return true;
}

static bool move_if(struct vcpu *c, const struct insn *in, bool condition)
{
    unsigned i = in->op[1].reg;
    x87_note(c, in);
    if (x87_empty(c, 0) || x87_empty(c, i)) {
        if (x87_stack_underflow(c))
            x87_put(c, 0, f80_indefinite);
        return true;
    }
    if (condition)
        x87_put(c, 0, x87_get(c, i));
    return true;
}

bool in_fcmovb(struct vcpu *c, const struct insn *in) { return move_if(c, in, rflags_get(c) & EFL_CF); }
bool in_fcmove(struct vcpu *c, const struct insn *in) { return move_if(c, in, rflags_get(c) & EFL_ZF); }
bool in_fcmovbe(struct vcpu *c, const struct insn *in) { return move_if(c, in, rflags_get(c) & (EFL_CF | EFL_ZF)); }
bool in_fcmovu(struct vcpu *c, const struct insn *in) { return move_if(c, in, rflags_get(c) & EFL_PF); }
bool in_fcmovnb(struct vcpu *c, const struct insn *in) { return move_if(c, in, !(rflags_get(c) & EFL_CF)); }
bool in_fcmovne(struct vcpu *c, const struct insn *in) { return move_if(c, in, !(rflags_get(c) & EFL_ZF)); }
bool in_fcmovnbe(struct vcpu *c, const struct insn *in) { return move_if(c, in, !(rflags_get(c) & (EFL_CF | EFL_ZF))); }
bool in_fcmovnu(struct vcpu *c, const struct insn *in) { return move_if(c, in, !(rflags_get(c) & EFL_PF)); }

/* ST(0) with its sign cleared (keep = 7fff) or turned over. */
static bool change_sign(struct vcpu *c, const struct insn *in, u16 keep, u16 flip)
{
    struct f80 v = x87_get(c, 0);
    x87_note(c, in);
    x87_set_cc(c, X87_C1, 0);
    if (x87_empty(c, 0)) {
        if (x87_stack_underflow(c))
            x87_put(c, 0, f80_indefinite);
        return true;
    }
    x87_put(c, 0, (struct f80){ v.mant, (u16)((v.se & keep) ^ flip) });
    return true;
}

bool in_fchs(struct vcpu *c, const struct insn *in) { return change_sign(c, in, 0xffff, F80_SIGN); }
bool in_fabs(struct vcpu *c, const struct insn *in) { return change_sign(c, in, F80_EXP, 0); }

/* SDM 2A, FXAM: class in C3, C2, C0, sign in C1 (of an empty register too). */
static u16 examine(struct f80 v, bool empty)
{
    if (empty)
        return X87_C3 | X87_C0;
    if (f80_is_zero(v))
        return X87_C3;
    if (f80_is_denormal(v))
        return X87_C3 | X87_C2;
    if (f80_is_unsupported(v))
        return 0;
    if (f80_is_inf(v))
        return X87_C2 | X87_C0;
    return f80_is_nan(v) ? X87_C0 : X87_C2;
}

bool in_fxam(struct vcpu *c, const struct insn *in)
{
    struct f80 v = x87_get(c, 0);
    x87_note(c, in);
    x87_set_cc(c, X87_CC, examine(v, x87_empty(c, 0)) | (f80_sign(v) ? X87_C1 : 0));
    return true;
}

/* --- the stack itself --- */

bool in_ffree(struct vcpu *c, const struct insn *in)
{
    x87_note(c, in);
    x87_set_cc(c, X87_C1, 0);       /* the manual leaves it undefined, CPUs clear it */
    x87_free(c, in->op[0].reg);
    return true;
}

bool in_ffreep(struct vcpu *c, const struct insn *in)
{
    in_ffree(c, in);
    x87_pop(c);
    return true;
}

bool in_fincstp(struct vcpu *c, const struct insn *in)
{
    x87_note(c, in);
    x87_set_cc(c, X87_C1, 0);
    x87_rotate(c, 1);
    return true;
}

bool in_fdecstp(struct vcpu *c, const struct insn *in)
{
    x87_note(c, in);
    x87_set_cc(c, X87_C1, 0);
    x87_rotate(c, -1);
    return true;
}
