/* translate_sys.c - system instructions that kernels execute often: flags and IF, selectors, bases, control registers,
 * fences, counters. SDM 2; the counterpart of cpu/interp_sys.c.
 *
 * A row with ATTR_SYS ends the unit and is executed outside of it, unless it is here. Here is what changes neither mode,
 * view, paging nor shadows, in its simple case: guards in front leave every other case to the interpreter. What is rare or
 * long but just as harmless is called in the middle of the unit (TR_INTERP).
 *
 * IF. CLI needs nothing more: an interrupt that waits is taken before or after, as if it had come a little later. STI and
 * POPF are executed outside if something waits, where that and STI's shadow are looked after. If nothing does, what comes
 * later is noticed at the next poll; and behind STI the next instruction must be executed before that (`sti; hlt`), so
 * that it belongs to the same unit: nothing looks at requests between two instructions of a unit, nor when code leaves the
 * second one to the interpreter.
 */
#include "cpu/interp.h"
#include "cpu/vcpu.h"
#include "jit/translate.h"

enum { X87_SW_ES = 0x80 };

/* --- pieces ----------------------------------------------------------------------------------------------------------- */

static ir_val get(struct trans *t, enum ir_field field, unsigned size)
{
    const ir_val v = ir_temp(t->u);
    ir_add(t->u, IR_OP_get, size, v, IR_NONE)->row = (u16)field;
    return v;
}

static void put(struct trans *t, enum ir_field field, unsigned size, ir_val v)
{
    ir_add(t->u, IR_OP_put, size, IR_NONE, v)->row = (u16)field;
}

/* v = v op imm, 4 bytes, no guest flags. */
static void op_imm(struct trans *t, enum ir_op op, ir_val v, u32 imm)
{
    struct ir_ins *ins = ir_add(t->u, op, 4, v, IR_IMM);
    ins->imm = (s32)imm;
    ins->fdef = 0;
}

static void guard(struct trans *t, ir_val v, unsigned size) { ir_add(t->u, IR_OP_guard, size, IR_NONE, v); }

static bool real_mode(const struct trans *t) { return !(t->mode & (MODE_PROTECTED | MODE_USER)); }
static bool v86_mode(const struct trans *t) { return t->mode & MODE_USER && !(t->mode & MODE_PROTECTED); }

/* For what only CPL 0 may do: false if it is known to be another one; 1 and 2 are found out at run time. */
static bool guard_cpl0(struct trans *t)
{
    if (t->mode & MODE_USER)
        return false;
    if (!real_mode(t))
        guard(t, get(t, IR_FIELD_cpl, 1), 1);
    return true;
}

/* The interpreter's function knows all cases and changes nothing that the rest of the unit depends on. */
static enum tr_result tr_call(struct trans *t, const struct insn *in)
{
    t->reason = "system instruction, called";
    return TR_INTERP;
}

static enum tr_result outside(struct trans *t)
{
    t->reason = "system instruction";
    return TR_STEP;
}

/* --- flags ------------------------------------------------------------------------------------------------------------ */

static enum tr_result tr_cld(struct trans *t, const struct insn *in)
{
    if (t->df_clear)
        return TR_NEXT;
    const ir_val v = get(t, IR_FIELD_eflags, 4);
    op_imm(t, IR_OP_and, v, ~(u32)EFL_DF);
    put(t, IR_FIELD_eflags, 4, v);
    t->df_clear = true;
    return TR_NEXT;
}

static enum tr_result tr_std(struct trans *t, const struct insn *in)
{
    const ir_val v = get(t, IR_FIELD_eflags, 4);
    op_imm(t, IR_OP_or, v, EFL_DF);
    put(t, IR_FIELD_eflags, 4, v);
    t->df_clear = false;
    return TR_NEXT;
}

static enum tr_result tr_cli(struct trans *t, const struct insn *in)
{
    if (!guard_cpl0(t))
        return outside(t);
    const ir_val v = get(t, IR_FIELD_eflags, 4);
    op_imm(t, IR_OP_and, v, ~(u32)EFL_IF);
    put(t, IR_FIELD_eflags, 4, v);
    return TR_NEXT;
}

/* Nothing is to be looked at when IF is turned on. */
static void guard_nothing_waits(struct trans *t) { guard(t, get(t, IR_FIELD_pending, 4), 4); }

static enum tr_result tr_sti(struct trans *t, const struct insn *in)
{
    const unsigned first = t->u->count;
    if (!guard_cpl0(t))
        return outside(t);
    guard_nothing_waits(t);
    const ir_val v = get(t, IR_FIELD_eflags, 4);
    op_imm(t, IR_OP_or, v, EFL_IF);
    put(t, IR_FIELD_eflags, 4, v);
    t->shadow = (u16)(first + 1);
    return TR_NEXT;
}

/* The field holds all but the status flags, VM and RF are 0 here, and bit 1 is always there: a sum is their union. */
static enum tr_result tr_pushf(struct trans *t, const struct insn *in)
{
    const unsigned n = in->opsize, width = mode_stack_size(t->mode);
    if (v86_mode(t)) {
        t->reason = "PUSHF in virtual-8086 mode";
        return TR_INTERP;
    }
    const ir_val p = tr_ptr(t, SEG_SS, tr_g(GPR_RSP), -(s32)n, width, n, IR_WRITE);
    const ir_val status = ir_temp(t->u), sum = ir_temp(t->u), rest = get(t, IR_FIELD_eflags, 4);
    ir_add(t->u, IR_OP_getfl, 4, status, IR_NONE);
    struct ir_ins *lea = tr_lea(t, 4, sum, status, 0);
    lea->b = rest;
    ir_val image = sum;
    if (n == 8) {
        image = ir_temp(t->u);
        ir_add(t->u, IR_OP_movzx, 8, image, sum)->size2 = 4;
    }
    tr_op(t, IR_OP_mov, n, tr_at(p), tr_val(image));
    tr_lea(t, width, tr_g(GPR_RSP), tr_g(GPR_RSP), -(s32)n);
    return TR_NEXT;
}

/* Only the status flags may change: with every other one as it is, privilege does not matter. At CPL 0 IF may, too. */
static enum tr_result tr_popf(struct trans *t, const struct insn *in)
{
    const u32 same = EFL_TF | EFL_DF | EFL_IOPL | EFL_NT | EFL_RF | EFL_VM | EFL_AC | EFL_VIF | EFL_VIP | EFL_ID;
    const unsigned n = in->opsize, width = mode_stack_size(t->mode);
    if (v86_mode(t))
        return outside(t);
    const bool inner = guard_cpl0(t);
    if (inner)
        guard_nothing_waits(t);
    const ir_val p = tr_ptr(t, SEG_SS, tr_g(GPR_RSP), 0, width, n, IR_READ), image = tr_load(t, n, tr_at(p));
    const ir_val old = get(t, IR_FIELD_eflags, 4), changed = tr_load(t, 4, tr_val(old));
    ir_add(t->u, IR_OP_xor, 4, changed, image)->fdef = 0;
    op_imm(t, IR_OP_and, changed, (n == 2 ? (u16)same : same) | (inner ? 0 : EFL_IF));
    guard(t, changed, 4);
    tr_lea(t, width, tr_g(GPR_RSP), tr_g(GPR_RSP), (s32)n);
    if (inner) {
        const ir_val flag = tr_load(t, 4, tr_val(image));
        op_imm(t, IR_OP_and, flag, EFL_IF);
        op_imm(t, IR_OP_and, old, ~(u32)EFL_IF);
        ir_add(t->u, IR_OP_or, 4, old, flag)->fdef = 0;
        put(t, IR_FIELD_eflags, 4, old);
    }
    ir_add(t->u, IR_OP_putfl, 4, IR_NONE, image);
    return TR_NEXT;
}

/* --- selectors and bases ---------------------------------------------------------------------------------------------- */

static ir_val selector(struct trans *t, unsigned seg)
{
    static const u8 fields[SEG_COUNT] = {
        [SEG_ES] = IR_FIELD_es_sel, [SEG_CS] = IR_FIELD_cs_sel, [SEG_SS] = IR_FIELD_ss_sel,
        [SEG_DS] = IR_FIELD_ds_sel, [SEG_FS] = IR_FIELD_fs_sel, [SEG_GS] = IR_FIELD_gs_sel,
    };
    return tr_load(t, 2, tr_val(get(t, fields[seg], 2)));
}

/* 32-bit pushes write 16 bits: interp_sys.c. */
static enum tr_result tr_push_sreg(struct trans *t, const struct insn *in)
{
    const unsigned n = in->opsize, bytes = n == 4 ? 2 : n, width = mode_stack_size(t->mode);
    const ir_val p = tr_ptr(t, SEG_SS, tr_g(GPR_RSP), -(s32)n, width, bytes, IR_WRITE);
    tr_op(t, IR_OP_mov, bytes, tr_at(p), tr_val(selector(t, in->op[0].reg)));
    tr_lea(t, width, tr_g(GPR_RSP), tr_g(GPR_RSP), -(s32)n);
    return TR_NEXT;
}

/* A load of SS may change the stack's width, and nothing is looked at behind it. Of the others the unit counts on nothing but whether
 * they are flat, which is in the mode word: jit_interp sees to it. */
static enum tr_result load_selector(struct trans *t, unsigned seg)
{
    if (seg == SEG_SS)
        return outside(t);
    t->reason = "segment register";
    return TR_INTERP;
}

static enum tr_result tr_mov_sreg(struct trans *t, const struct insn *in)
{
    if (in->op[0].kind == OP_SREG)
        return load_selector(t, in->op[0].reg);
    const struct tr_operand d = tr_operand(t, in, 0, IR_WRITE);
    tr_op(t, IR_OP_mov, d.size, d, tr_val(selector(t, in->op[1].reg)));
    return TR_NEXT;
}
static enum tr_result tr_pop_sreg(struct trans *t, const struct insn *in) { return load_selector(t, in->op[0].reg); }
static enum tr_result tr_lds(struct trans *t, const struct insn *in) { return load_selector(t, SEG_DS); }
static enum tr_result tr_les(struct trans *t, const struct insn *in) { return load_selector(t, SEG_ES); }
static enum tr_result tr_lfs(struct trans *t, const struct insn *in) { return load_selector(t, SEG_FS); }
static enum tr_result tr_lgs(struct trans *t, const struct insn *in) { return load_selector(t, SEG_GS); }

static enum tr_result tr_swapgs(struct trans *t, const struct insn *in)
{
    if (!guard_cpl0(t))
        return outside(t);
    const ir_val gs = get(t, IR_FIELD_gs_base, 8), kernel = get(t, IR_FIELD_kernel_gs_base, 8);
    put(t, IR_FIELD_gs_base, 8, kernel);
    put(t, IR_FIELD_kernel_gs_base, 8, gs);
    return TR_NEXT;
}

static enum tr_result read_base(struct trans *t, const struct insn *in, enum ir_field field)
{
    const ir_val allowed = get(t, IR_FIELD_cr4, 4);
    op_imm(t, IR_OP_and, allowed, CR4_FSGSBASE);
    op_imm(t, IR_OP_xor, allowed, CR4_FSGSBASE);
    guard(t, allowed, 4);
    ir_add(t->u, IR_OP_get, in->op[0].size, tr_g(in->op[0].reg), IR_NONE)->row = (u16)field;
    return TR_NEXT;
}
static enum tr_result tr_rdfsbase(struct trans *t, const struct insn *in) { return read_base(t, in, IR_FIELD_fs_base); }
static enum tr_result tr_rdgsbase(struct trans *t, const struct insn *in) { return read_base(t, in, IR_FIELD_gs_base); }

/* --- control registers, counters, fences -------------------------------------------------------------------------------- */

/* Reading CR0, CR2, CR3. CR4 does not exist everywhere, CR8 is the local APIC's. */
static enum tr_result tr_mov_cr(struct trans *t, const struct insn *in)
{
    static const u8 fields[4] = { [0] = IR_FIELD_cr0, [2] = IR_FIELD_cr2, [3] = IR_FIELD_cr3 };
    const unsigned cr = in->op[1].reg;
    if (in->op[0].kind == OP_CR)
        return outside(t);
    if (cr != 0 && cr != 2 && cr != 3)
        return tr_call(t, in);
    if (!guard_cpl0(t))
        return outside(t);
    ir_add(t->u, IR_OP_get, in->op[0].size, tr_g(in->op[0].reg), IR_NONE)->row = fields[cr];
    return TR_NEXT;
}

static enum tr_result tr_mov_dr(struct trans *t, const struct insn *in)
{
    return in->op[0].kind == OP_DR ? outside(t) : tr_call(t, in);
}

/* WAIT heeds less than an x87 instruction (SDM 3A table 2-2). While the x87 is in the host's registers no exception is
 * pending, nor was any when it went there: so the vCPU's copy tells. */
static enum tr_result tr_fwait(struct trans *t, const struct insn *in)
{
    const ir_val cr0 = get(t, IR_FIELD_cr0, 4), sw = tr_load(t, 2, tr_val(get(t, IR_FIELD_x87_sw, 2)));
    op_imm(t, IR_OP_and, cr0, CR0_TS);
    guard(t, cr0, 4);
    op_imm(t, IR_OP_and, sw, X87_SW_ES);
    guard(t, sw, 4);
    return TR_NEXT;
}

/* The line is looked at, as a load would; the caches are the host's. */
static enum tr_result tr_clflush(struct trans *t, const struct insn *in)
{
    tr_address(t, in, 1, IR_READ, 0);
    return TR_NEXT;
}

#define ROW(name) { in_##name, tr_##name }
#define CALL(name) { in_##name, tr_call }
const struct tr_row tr_sys_rows[] = {
    ROW(cld), ROW(std), ROW(cli), ROW(sti), ROW(pushf), ROW(popf), ROW(push_sreg), ROW(pop_sreg), ROW(mov_sreg), ROW(lds),
    ROW(les), ROW(lfs), ROW(lgs), ROW(swapgs), ROW(rdfsbase), ROW(rdgsbase), ROW(mov_cr), ROW(mov_dr), ROW(fwait),
    { in_clflush, tr_clflush }, { in_clflushopt, tr_clflush }, { in_clwb, tr_clflush },
    CALL(rdtsc), CALL(rdtscp), CALL(cpuid), CALL(rdmsr), CALL(wrmsr), CALL(clts), CALL(invlpg), CALL(wrfsbase), CALL(wrgsbase),
};
const unsigned tr_sys_count = ARRAY_LEN(tr_sys_rows);
