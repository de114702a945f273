/* insn.c - guest instructions that the host executes as they are: IR_OP_insn. SDM 2, chapter 2 and the instruction
 * reference.
 *
 * A vector, x87 or bit-manipulation instruction is written again by its own row of insn.def: the same opcode, prefix
 * column, W and L, with each operand in the field where the row has it. XMM n, YMM n, MM n and ST(i) are themselves;
 * general registers become the host registers that hold them; the memory operand becomes [p + disp]. A legacy form stays
 * legacy and a VEX form VEX, so that upper halves fare as they should.
 *
 * insn_can says which rows may go this way: the host has the feature, and its result is the interpreter's bit for bit.
 * What may not is in `left_alone`. A few rows need more than their own bytes: `special`.
 */
#include <cpuid.h>

#include "cpu/insn_table.h"
#include "cpu/interp.h"
#include "cpu/vcpu.h"
#include "jit/x86_64/emit.h"

enum { ROWS = 0
#define INSN(...) + 1
#include "cpu/insn.def"
};

/* --- what the host has --------------------------------------------------------------------------------------------- */

/* Do the host's CPU and kernel let us use YMM registers? */
static bool host_ymm(void)
{
    u32 a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

static bool host_reports(unsigned feature)
{
    static const struct { u32 leaf, sub; u8 reg, bit; } where[CPUID_FEATURE_COUNT] = {
#define F(id, name, leaf, sub, reg, bit) [CPUID_##id] = { leaf, sub, reg, bit },
        CPUID_FEATURES(F)
#undef F
    };
    u32 r[4];
    return __get_cpuid_count(where[feature].leaf, where[feature].sub, &r[0], &r[1], &r[2], &r[3]) &&
           r[where[feature].reg] >> where[feature].bit & 1;
}

bool insn_host_has(unsigned feature)
{
    static s8 known[CPUID_FEATURE_COUNT];
    const bool ymm = feature == CPUID_AVX || feature == CPUID_AVX2 || feature == CPUID_FMA || feature == CPUID_F16C;
    if (feature == CPUID_BASE || host_has_all || host_has_none)
        return feature == CPUID_BASE || host_has_all;
    if (!known[feature])
        known[feature] = host_reports(feature) && (!ymm || host_ymm()) ? 1 : -1;
    return known[feature] > 0;
}

/* FCOMI and its kin clear C1 on Intel's processors and in the interpreter; AMD's leave it as it was. */
static bool fcomi_keeps_c1(void)
{
    static s8 known;
    u16 sw;
    if (!known) {
        __asm__ volatile("fld1\n\tfchs\n\tfxam\n\tfcomi %%st, %%st\n\tfnstsw %0\n\tfstp %%st"
                         : "=a"(sw) : : "cc", "st", "st(1)");
        known = sw & 0x200 ? 1 : -1;
    }
    return known > 0;
}

/* --- which instructions -------------------------------------------------------------------------------------------- */

/* Among the rows with ATTR_SSE, ATTR_MMX, ATTR_X87:
 *   faults only for the elements that the mask selects: MASKMOV*, and gathers (emit_gather.c has the usual case of VEX forms)
 *   approximations that differ from processor to processor: RCP*, RSQRT*, the x87's transcendental instructions
 *   partial remainders, whose steps do: FPREM*
 *   images whose pointers we keep ourselves: FSTENV, FSAVE and their counterparts; FNINIT clears the pointers */
static interp_fn *const left_alone[] = {
    in_maskmovq, in_maskmovdqu, in_vmaskmovps, in_vmaskmovpd, in_vpmaskmovd, in_vpmaskmovq,
    in_rcpps, in_rcpss, in_rsqrtps, in_rsqrtss,
    in_fsin, in_fcos, in_fsincos, in_fptan, in_fpatan, in_f2xm1, in_fyl2x, in_fyl2xp1, in_fprem, in_fprem1,
    in_fldenv, in_fnstenv, in_fnsave, in_frstor, in_fninit,
};

/* Rows on general registers. */
static interp_fn *const scalar[] = {
    in_crc32, in_movbe, in_movnti, in_popcnt, in_lzcnt, in_tzcnt, in_adcx, in_adox, in_mulx, in_pdep, in_pext, in_bzhi,
    in_bextr, in_andn, in_blsr, in_blsmsk, in_blsi, in_shlx, in_sarx, in_shrx, in_rorx, in_lfence, in_mfence, in_sfence,
    in_cmpxchg8b, in_cmpxchg16b,
};

static bool is_one_of(interp_fn *run, interp_fn *const *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] == run)
            return true;
    return false;
}

static bool row_can(unsigned row)
{
    const struct insn_row *r = &insn_rows[row];
    if (r->attr & (ATTR_SYS | ATTR_PRIV | ATTR_BRANCH | ATTR_GATHER) || !insn_host_has(r->cpuid))
        return false;
    if (r->attr & (ATTR_SSE | ATTR_MMX | ATTR_X87))
        return !is_one_of(r->run, left_alone, ARRAY_LEN(left_alone));
    return is_one_of(r->run, scalar, ARRAY_LEN(scalar));
}

/* CVTPI2PS and CVTPI2PD from memory: processors do not agree whether the x87 goes over to MMX. */
static bool half_mmx(const struct insn_row *r, const struct insn *in)
{
    return r->attr & ATTR_MMX && r->attr & ATTR_SSE && in->modrm_mem && in->op[0].kind != OP_MMX;
}

bool insn_can(const struct insn *in)
{
    static s8 known[ROWS];
    const struct insn_row *r = &insn_rows[in->row];
    if (!known[in->row])
        known[in->row] = row_can(in->row) ? 1 : -1;
    if (known[in->row] < 0 || half_mmx(r, in))
        return false;
    if (in->vex && r->attr & (ATTR_SSE | ATTR_MMX) && !insn_host_has(in->vl == 32 && r->attr & ATTR_Y2 ? CPUID_AVX2 : CPUID_AVX))
        return false;
    for (unsigned i = 0; i < 4; i++)
        if (in->op[i].kind == OP_GPRH)
            return false;               /* CRC32 of AH: not encodable beside REX, and nobody does it */
    return true;
}

/* --- operands ------------------------------------------------------------------------------------------------------ */

/* One instruction on its way: the fields of its encoding, and the general registers that it defines. */
struct form {
    const struct insn *in;
    const struct insn_encoding *row;
    unsigned reg, vvvv, digit;
    struct rm rm;
    bool w, operand16, has_imm;
    u8 imm;
    u8 used[4];         /* per operand: host register to release, NO_REG if none */
    bool defines[4];
};

static bool reads_destination(interp_fn *run) { return run == in_crc32 || run == in_adcx || run == in_adox; }

static bool is_defined(const struct form *f, unsigned i)
{
    return i == 0 || (i == 1 && insn_rows[f->in->row].run == in_mulx);
}

/* A scratch register that a source was loaded into: it is read before the result is written, so that will do for both. */
static unsigned take_source(struct emit *e, struct form *f, const ir_val v[4])
{
    for (unsigned i = 1; i < 4; i++) {
        const unsigned reg = f->used[i];
        if (reg != NO_REG && !f->defines[i] && reg != emit_home(e, v[i]) && emit_take(e, reg)) {
            f->used[i] = NO_REG;
            return reg;
        }
    }
    return NO_REG;
}

/* The register of the address, if nobody needs it any more and there is no other. */
static unsigned take_address(struct emit *e, const struct form *f)
{
    const ir_val p = e->ins->p;
    if ((e->taken | e->pinned) != (1 << SCRATCH_COUNT) - 1 || !ir_is_temp(p) || e->last_use[p - IR_T] != e->index)
        return NO_REG;
    const unsigned reg = emit_home(e, p);
    return reg != f->used[0] ? reg : NO_REG;
}

static unsigned result_register(struct emit *e, struct form *f, unsigned i)
{
    const struct ir_ins *ins = e->ins;
    const ir_val v[4] = { ins->d, ins->a, ins->b, ins->c };
    if (i == 1 && ins->d == ins->a)
        return f->used[0];              /* MULX with one destination: the upper half */
    unsigned reg = emit_home(e, v[i]);
    if (reg == NO_REG)
        reg = take_source(e, f, v);
    if (reg == NO_REG)
        reg = take_address(e, f);
    return reg != NO_REG ? reg : emit_def(e, v[i]);
}

/* The host register for a general register that is not read from where it lives. */
static unsigned gpr_field(struct emit *e, struct form *f, ir_val v, unsigned i)
{
    f->defines[i] = is_defined(f, i);
    if (!f->defines[i])
        f->used[i] = (u8)emit_use(e, v, f->in->op[i].size);
    else if (reads_destination(insn_rows[f->in->row].run))
        f->used[i] = (u8)(emit_home(e, v) != NO_REG ? emit_home(e, v) : emit_copy(e, v, f->in->op[i].size));
    else
        f->used[i] = (u8)result_register(e, f, i);
    return f->used[i];
}

static unsigned register_field(struct emit *e, struct form *f, ir_val v, unsigned i)
{
    switch (f->in->op[i].kind) {
    case OP_VEC: return v - IR_V;
    case OP_MMX: return v - IR_MMX;
    case OP_ST: return v - IR_ST;
    default: return gpr_field(e, f, v, i);
    }
}

static struct rm rm_field(struct emit *e, struct form *f, ir_val v, unsigned i)
{
    const unsigned kind = f->in->op[i].kind;
    if (kind == OP_MEM || (kind == OP_GPR && !is_defined(f, i)))
        return emit_from(e, v);
    return rm_reg(register_field(e, f, v, i));
}

static void place(struct emit *e, struct form *f, ir_val v, unsigned i)
{
    switch (insn_letters[f->row->op[i]].where) {
    case AT_RM: case AT_MEM: case AT_RMREG: case AT_STI:
    case AT_MRM: case AT_MRMREG: case AT_XRM: case AT_XRMREG:
        f->rm = rm_field(e, f, v, i);
        break;
    case AT_REG: case AT_MREG: case AT_XREG: f->reg = register_field(e, f, v, i); break;
    case AT_VVVV: f->vvvv = register_field(e, f, v, i); break;
    case AT_XSRC:
        if (f->in->vex)
            f->vvvv = register_field(e, f, v, i);
        break;
    case AT_XDST:
        if (f->in->vex)
            f->vvvv = register_field(e, f, v, i);
        else
            f->rm = rm_field(e, f, v, i);
        break;
    case AT_IMM: f->has_imm = true; f->imm = (u8)e->ins->imm; break;
    case AT_IS4: f->has_imm = true; f->imm = (u8)(register_field(e, f, v, i) << 4); break;
    default: break;             /* implied: ST(0), XMM0, AX; or operand 0 again */
    }
}

static bool has_word_form(const struct insn_encoding *row)
{
    for (unsigned i = 0; i < 4; i++)
        if (insn_letters[row->op[i]].size == SIZE_V)
            return true;
    return false;
}

static struct form form_of(struct emit *e, const struct ir_ins *ins, const struct insn *in)
{
    struct form f = { .in = in, .row = &insn_encodings[in->row], .used = { NO_REG, NO_REG, NO_REG, NO_REG } };
    const ir_val v[4] = { ins->d, ins->a, ins->b, ins->c };
    f.w = f.row->w == W_W1 || (f.row->w == W_WI && in->rex_w);
    f.operand16 = in->opsize == 2 && has_word_form(f.row);
    f.reg = f.row->ext & 7;
    for (unsigned pass = 0; pass < 2; pass++)       /* sources, then results */
        for (unsigned i = 0; i < 4 && f.row->op[i] != LETTERS___; i++)
            if (is_defined(&f, i) == pass)
                place(e, &f, v[i], i);
    return f;
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

static u8 opcode_map(u32 opcode) { return opcode > 0xffff ? opcode >> 8 == 0x0f3a ? 3 : 2 : opcode > 0xff ? 1 : 0; }

static void write_vex(struct emit *e, const struct form *f)
{
    const unsigned pfx = f->row->pfx, pp = pfx == PFX_P6 ? 1 : pfx == PFX_F3 ? 2 : pfx == PFX_F2 ? 3 : 0;
    enc_vex(e, pp, opcode_map(f->row->opcode), f->w, f->in->vl == 32, (u8)f->row->opcode, f->reg, f->vvvv, f->rm,
            f->has_imm);
}

static void write_legacy(struct emit *e, const struct form *f)
{
    static const u8 prefix[16] = { [PFX_P6] = 0x66, [PFX_F3] = 0xf3, [PFX_F2] = 0xf2 };
    struct enc how = { .prefix = prefix[f->row->pfx & 15], .w = f->w, .imm_bytes = f->has_imm };
    for (unsigned i = 0; i < 4; i++) {
        const struct operand *o = &f->in->op[i];
        how.rm8 |= o->kind == OP_GPR && o->size == 1;       /* CRC32 */
    }
    if (f->operand16)
        put8(e, 0x66);
    enc(e, how, f->row->opcode, f->reg, f->rm);
}

/* Opcode and a ModRM byte that belongs to it or names a register without an extension. */
static void write_pair(struct emit *e, u8 first, u8 second)
{
    put8(e, first);
    put8(e, second);
}

static void write_x87(struct emit *e, const struct form *f)
{
    const u8 ext = f->row->ext, opcode = (u8)f->row->opcode;
    if (f->in->modrm_mem)
        enc(e, (struct enc){ 0 }, opcode, ext, f->rm);
    else
        write_pair(e, opcode, ext >= 0xc0 ? ext : (u8)(0xc0 | ext << 3 | (f->rm.reg & 7)));
}

/* --- rows that need more ------------------------------------------------------------------------------------------- */

/* VZEROUPPER, VZEROALL; outside 64-bit mode they stay away from the registers that cannot be named there. */
static void zero_vectors(struct emit *e, const struct insn *in, bool all)
{
    if (in->mode == 8) {
        put8(e, 0xc5);
        write_pair(e, all ? 0xfc : 0xf8, 0x77);
        return;
    }
    for (unsigned i = 0; i < 8; i++)
        enc_vex(e, 0, 1, false, false, all ? 0x57 : 0x28, i, all ? i : 0, rm_reg(i), 0); /* XORPS or MOVAPS, 128 bits */
}

/* LDMXCSR and FLDCW load what has been looked at before: a temporary, by way of the vCPU's own copy. */
static void load_control(struct emit *e, const struct ir_ins *ins, bool x87)
{
    const unsigned reg = emit_use(e, ins->d, 4);
    const struct rm copy = rm_vcpu(x87 ? VCPU_DISP(x87.cw) : VCPU_DISP(mxcsr));
    enc(e, (struct enc){ .prefix = x87 ? 0x66 : 0 }, 0x89, reg, copy);
    if (x87)
        enc(e, (struct enc){ 0 }, 0xd9, 5, copy);
    else
        enc(e, (struct enc){ 0 }, 0x0fae, 2, copy);
    emit_release(e, reg);
}

static bool rcx_is_free(const struct emit *e)
{
    for (unsigned i = 0; i < SCRATCH_COUNT; i++)
        if (scratch_regs[i] == RCX)
            return !(e->taken >> i & 1);
    return false;
}

/* PCMPESTRI, PCMPISTRI: the index goes to ECX, which is not where the guest's RCX lives and may be in use. */
static void compare_strings(struct emit *e, const struct form *f)
{
    emit_forget(e, RCX);
    const unsigned keep = rcx_is_free(e) ? RCX : emit_scratch(e);
    if (keep != RCX)
        enc(e, (struct enc){ .w = true }, 0x8b, keep, rm_reg(RCX));
    if (f->in->vex)
        write_vex(e, f);
    else
        write_legacy(e, f);
    put8(e, f->imm);
    enc(e, (struct enc){ 0 }, 0x8b, host_of_gpr[GPR_RCX], rm_reg(RCX));
    if (keep != RCX) {
        enc(e, (struct enc){ .w = true }, 0x8b, RCX, rm_reg(keep));
        emit_release(e, keep);
    }
}

/* CMPXCHG8B, CMPXCHG16B: the new value's upper half is in the guest's RCX. */
static void compare_exchange(struct emit *e, const struct insn *in)
{
    struct rm rm = emit_rm(e, IR_MEM);
    emit_forget(e, RCX);
    const unsigned keep = rcx_is_free(e) ? NO_REG : emit_scratch(e);
    const bool wide = insn_rows[in->row].run == in_cmpxchg16b;
    if (keep != NO_REG)
        enc(e, (struct enc){ .w = true }, 0x8b, keep, rm_reg(RCX));
    if (rm.base == RCX)
        rm.base = (u8)keep;
    enc(e, (struct enc){ .w = true }, 0x8b, RCX, rm_reg(host_of_gpr[GPR_RCX]));
    enc(e, (struct enc){ .w = wide, .lock = in->lock }, 0x0fc7, 1, rm);
    if (keep != NO_REG) {
        enc(e, (struct enc){ .w = true }, 0x8b, RCX, rm_reg(keep));
        emit_release(e, keep);
    }
}

static bool is_compare_flags(interp_fn *run)
{
    return run == in_fcomi || run == in_fcomip || run == in_fucomi || run == in_fucomip;
}

static bool special(struct emit *e, const struct ir_ins *ins, const struct insn *in)
{
    interp_fn *const run = insn_rows[in->row].run;
    if (run == in_vzeroupper || run == in_vzeroall)
        zero_vectors(e, in, run == in_vzeroall);
    else if (run == in_ldmxcsr || run == in_fldcw)
        load_control(e, ins, run == in_fldcw);
    else if (run == in_cmpxchg8b || run == in_cmpxchg16b)
        compare_exchange(e, in);
    else if (run == in_emms)
        write_pair(e, 0x0f, 0x77);
    else if (run == in_lfence || run == in_mfence || run == in_sfence) {
        write_pair(e, 0x0f, 0xae);
        put8(e, (u8)(0xc0 | (insn_encodings[in->row].ext & 7) << 3));
    } else
        return run == in_fneni || run == in_fndisi || run == in_fnsetpm;    /* no effect */
    return true;
}

void insn_emit(struct emit *e, const struct ir_ins *ins)
{
    const struct insn *in = e->u->guest[ins->gi];
    interp_fn *const run = insn_rows[in->row].run;
    const ir_val v[4] = { ins->d, ins->a, ins->b, ins->c };
    if (special(e, ins, in))
        return;
    struct form f = form_of(e, ins, in);
    if (run == in_pcmpestri || run == in_pcmpistri) {
        compare_strings(e, &f);
        return;
    }
    if (insn_rows[in->row].attr & ATTR_X87)
        write_x87(e, &f);
    else if (in->vex)
        write_vex(e, &f);
    else
        write_legacy(e, &f);
    if (f.has_imm)
        put8(e, f.imm);
    if (is_compare_flags(run) && !host_has_all && fcomi_keeps_c1()) {
        write_pair(e, 0xd9, 0xf7);      /* FINCSTP clears C1 */
        write_pair(e, 0xd9, 0xf6);      /* FDECSTP */
    }
    for (unsigned i = 4; i-- > 0;) {    /* operand 0 last */
        if (f.defines[i])
            emit_defined(e, v[i], f.used[i], in->op[i].size);
        if (f.used[i] != NO_REG)
            emit_release(e, f.used[i]);
    }
}
