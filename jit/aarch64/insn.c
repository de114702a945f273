/* insn.c - IR_OP_insn: guest instructions on vectors, and some on general registers. The door: which ones, and how their operands
 * are fetched and their results stored. Tables of rows: insn_int.c, insn_fp.c, insn_move.c, insn_gpr.c.
 */
#include "jit/aarch64/insn.h"

#include <sys/auxv.h>

enum { ROWS = 0
#define INSN(...) + 1
#include "cpu/insn.def"
};

/* --- which ones ----------------------------------------------------------------------------------------------------- */

static const struct vec_row *find(const struct vec_row *rows, unsigned count, interp_fn *run)
{
    for (unsigned i = 0; i < count; i++)
        if (rows[i].run == run)
            return &rows[i];
    return NULL;
}

static const struct vec_row *search(unsigned row)
{
    const struct insn_row *r = &insn_rows[row];
    const struct vec_row *found;
    if (r->attr & (ATTR_SYS | ATTR_PRIV | ATTR_BRANCH | ATTR_GATHER | ATTR_MMX | ATTR_X87))
        return NULL;
    if (!(r->attr & ATTR_SSE))
        return find(vec_rows_gpr, vec_rows_gpr_count, r->run);
    if ((found = find(vec_rows_int, vec_rows_int_count, r->run)) || (found = find(vec_rows_fp, vec_rows_fp_count, r->run)))
        return found;
    return find(vec_rows_move, vec_rows_move_count, r->run);
}

static const struct vec_row *row_of(const struct insn *in)
{
    static const struct vec_row *known[ROWS];
    static const struct vec_row none;
    if (!known[in->row]) {
        const struct vec_row *row = search(in->row);
        known[in->row] = row ? row : &none;
    }
    return known[in->row] == &none ? NULL : known[in->row];
}

static bool host_has(unsigned limit)
{
    const unsigned long have = host_has_none ? 0 : getauxval(AT_HWCAP);
    if (host_has_all)
        return true;
    enum { CAP_AES = 1 << 3, CAP_PMULL = 1 << 4, CAP_CRC32 = 1 << 7 };
    return !(limit & NEED_AES && !(have & CAP_AES)) && !(limit & NEED_PMULL && !(have & CAP_PMULL)) &&
           !(limit & NEED_CRC32 && !(have & CAP_CRC32));
}

bool insn_can(const struct insn *in)
{
    const struct vec_row *row = row_of(in);
    if (!row || !host_has(row->limit) || (row->limit & ONLY_128 && in->vl == 32))
        return false;
    for (unsigned i = 0; i < 4; i++)
        if (in->op[i].kind == OP_GPRH)
            return false;
    if (row->limit & ROUNDS && !(in->imm & 4) && !(in->imm & 8))
        return false;                   /* its own mode, and PE: no instruction does both */
    return !(row->limit & PREDICATES && in->vex && in->imm & 0x18);
}

/* --- operands ------------------------------------------------------------------------------------------------------- */

static void access_vector(struct emit *e, u32 op, unsigned bytes, unsigned t, unsigned base, u32 off)
{
    const unsigned shift = (unsigned)__builtin_ctz(bytes);
    op |= bytes == 16 ? 1u << 23 : shift << 30;
    if (!(off & (bytes - 1)) && off >> shift < 4096) {
        put32(e, op | (off >> shift) << 10 | base << 5 | t);
    } else if (off < 256) {
        put32(e, (op & ~(1u << 24)) | off << 12 | base << 5 | t);
    } else {
        add_any(e, true, X17, base, off);
        put32(e, op | X17 << 5 | t);
    }
}
void vec_ldr(struct emit *e, unsigned bytes, unsigned t, unsigned base, u32 off) { access_vector(e, 0x3d400000, bytes, t, base, off); }
void vec_str(struct emit *e, unsigned bytes, unsigned t, unsigned base, u32 off) { access_vector(e, 0x3d000000, bytes, t, base, off); }

void vec_upper(struct emit *e, bool out, unsigned t, unsigned n)
{
    const u32 at = VCPU_OFF(vec[0]) + 32 * n + 16;
    add_any(e, true, X17, VCPU, at & ~4095u);
    access_vector(e, out ? 0x3d000000 : 0x3d400000, 16, t, X17, at & 4095);
}

void vec_clear_upper(struct emit *e, const struct insn *in, unsigned n)
{
    if (!in->vex || in->vl == 32)
        return;
    vzero(e, V_ZERO);
    vec_upper(e, true, V_ZERO, n);
}

unsigned vec_source(struct emit *e, ir_val v, unsigned bytes)
{
    if (v != IR_MEM)
        return v - IR_V;
    vec_ldr(e, bytes > 16 ? 16 : bytes, V_MEM, emit_home(e, e->ins->p), (u32)e->ins->disp);
    return V_MEM;
}

static unsigned lane_source(struct emit *e, const struct insn *in, ir_val v, unsigned i, unsigned half)
{
    static const u8 upper[4] = { 0, V_A, V_B, V_C };
    const struct operand *o = &in->op[i];
    if (o->kind != OP_VEC && o->kind != OP_MEM)
        return 0;
    if (!half || o->size < 32)
        return half && o->kind == OP_MEM ? V_MEM : vec_source(e, v, o->size);
    if (o->kind == OP_MEM) {
        vec_ldr(e, 16, V_MEM + 1, emit_home(e, e->ins->p), (u32)e->ins->disp + 16);
        return V_MEM + 1;
    }
    vec_upper(e, false, upper[i], o->reg);
    return upper[i];
}

/* --- floating-point exceptions ---------------------------------------------------------------------------------------- */

/* FPSR's bits in every byte: IDC, and IOC to UFC. What else is there is clear, but for QC, which costs a needless way to the tail. */
enum { LOOK_AT = 0x8f8f8f8f };

struct tail *vec_check(struct emit *e)
{
    put32(e, 0xd53b4420 | X16);         /* mrs x16, fpsr */
    logic_imm(e, AND, false, X16, X16, LOOK_AT);
    struct tail *t = emit_tail(e, TAIL_INSN, branch_zero(e, false, X16, true));
    t->call = emit_call_data(e, e->ins);
    return t;
}

void insn_tail(struct emit *e, struct tail *t)
{
    mov_imm(e, X16, (u64)(uintptr_t)t->call);
    emit_fill(e, branch_link(e), t->need ? fixed->compare : fixed->insn);
    emit_branch_to(e, t->back);
}

/* --- the forms -------------------------------------------------------------------------------------------------------- */

static void emit_lanes(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    struct lane l = { e, row, in, (u8)in->imm, 0, 0 };
    const unsigned halves = in->vl == 32 ? 2 : 1, d = ins->d - IR_V;
    /* The low half is read again (a count for both), or may be needed in a tail. */
    const bool late = row->form == VEC_FP || (halves == 2 && in->op[2].kind == OP_VEC && in->op[2].size < 32);
    for (unsigned half = 0; half < halves; half++) {
        const unsigned a = lane_source(e, in, ins->a, 1, half), b = lane_source(e, in, ins->b, 2, half);
        l.half = half;
        l.c = lane_source(e, in, ins->c, 3, half);
        row->lane(&l, half || late ? V_OUT + half : d, a, b);
        if (half && !late)
            vec_upper(e, true, V_OUT + 1, d);
    }
    struct tail *t = NULL;
    if (late) {
        t = row->form != VEC_FP || row->limit & EXACT ? NULL : vec_check(e);
        vmov(e, d, V_OUT);
        if (halves == 2)
            vec_upper(e, true, V_OUT + 1, d);
    }
    vec_clear_upper(e, in, d);
    if (t)
        t->back = e->at;
}

static void emit_scalar(struct emit *e, const struct ir_ins *ins, const struct insn *in, const struct vec_row *row)
{
    const struct lane l = { e, row, in, (u8)in->imm, 0, 0 };
    const unsigned d = ins->d - IR_V, a = ins->a - IR_V, b = vec_source(e, ins->b, in->op[2].size);
    row->lane(&l, V_OUT, a, b);
    struct tail *t = row->limit & EXACT ? NULL : vec_check(e);
    vmov(e, d, a);
    vins(e, row->limit & DOUBLE ? 3 : 2, d, 0, V_OUT, 0);
    vec_clear_upper(e, in, d);
    if (t)
        t->back = e->at;
}

void insn_emit(struct emit *e, const struct ir_ins *ins)
{
    const struct insn *in = e->u->guest[ins->gi];
    const struct vec_row *row = row_of(in);
    if (row->form == VEC_WHOLE)
        row->whole(e, ins, in, row);
    else if (row->form == VEC_SCALAR)
        emit_scalar(e, ins, in, row);
    else
        emit_lanes(e, ins, in, row);
}
