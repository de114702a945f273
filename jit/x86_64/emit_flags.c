/* emit_flags.c - the guest's status flags, which are the host's own, kept alive where host code needs EFLAGS for itself.
 *
 * Saved form (vcpu.jit.flags): AH as LAHF gives it (SF ZF - AF - PF - CF) in bits 15:8, OF in bit 0. LAHF and SETO
 * are many times cheaper than PUSHF. pass_flags says which flags are needed (flive); for the others nothing is done.
 *
 * Nothing is known of what follows an indirect jump or a return, so all flags are live there, but hardly ever does somebody read
 * them. What is saved for such an exit only is what the flags can be computed from: the operation in bits 7:0 (FLAG_FIRST and
 * more: kind, size, where b is), its operand b in bits 31:8 or flag_b, and in flag_a the result, or what was compared. Who
 * wants the flags themselves has them written out first (fixed->flags).
 */
#include "jit/pass.h"
#include "jit/x86_64/emit.h"

static void mov64(struct emit *e, unsigned to, unsigned from)
{
    enc(e, (struct enc){ .w = true }, 0x8b, to, rm_reg(from));
}

static struct rm saved(void) { return rm_vcpu(VCPU_DISP(jit.flags)); }

/* RAX is needed for LAHF and SAHF: set aside in a scratch register, or in memory. */
static unsigned set_rax_aside(struct emit *e)
{
    if ((e->taken | e->pinned) != (1 << SCRATCH_COUNT) - 1) {
        const unsigned reg = emit_scratch(e);
        mov64(e, reg, RAX);
        emit_release(e, reg);
        return reg;
    }
    enc(e, (struct enc){ .w = true }, 0x89, RAX, rm_vcpu(VCPU_DISP(jit.temp[0])));
    return NO_REG;
}

static void put_rax_back(struct emit *e, unsigned reg)
{
    if (reg != NO_REG)
        mov64(e, RAX, reg);
    else
        enc(e, (struct enc){ .w = true }, 0x8b, RAX, rm_vcpu(VCPU_DISP(jit.temp[0])));
}

void flags_save(struct emit *e)
{
    unsigned aside = set_rax_aside(e);
    put_opcode(e, 0x9f);                                              /* lahf */
    enc(e, (struct enc){ .rm8 = true }, 0x0f90, 0, rm_reg(RAX));    /* seto al */
    enc(e, (struct enc){ 0 }, 0x89, RAX, saved());
    put_rax_back(e, aside);
    e->flags = FLAGS_BOTH;
    e->exact_form = true;
}

/* --- instead of the flags, what they come from ---------------------------------------------------------------------- */

/* From here on, will nobody but the other side of an indirect exit, the interpreter or C look at them? */
static bool only_passed_on(const struct emit *e)
{
    for (unsigned i = e->index; i < e->u->count; i++) {
        const struct ir_ins *ins = &e->u->ins[i];
        switch (ins->op) {
        case IR_OP_ijmp: case IR_OP_icall: case IR_OP_ret: case IR_OP_step: case IR_OP_interp: return true;
        case IR_OP_jcc: case IR_OP_jz: case IR_OP_jnz: case IR_OP_jmp: case IR_OP_call:
            if (ins->fexit || ins->fuse)
                return false;
            break;
        default:
            if (ins->fuse || (ins->fdef && ins->flive & (u16)~ins->fdef))
                return false;
            if (ins->fdef)
                return true;
        }
    }
    return false;
}

static int kind_of(const struct ir_ins *def)
{
    switch (def->op) {
    case IR_OP_add: return FLAG_ADD;
    case IR_OP_sub: return FLAG_SUB;
    case IR_OP_cmp: return FLAG_CMP;
    case IR_OP_and: case IR_OP_or: case IR_OP_xor: return FLAG_LOGIC;
    case IR_OP_test: return def->d == def->a ? FLAG_LOGIC : -1;
    default: return -1;
    }
}

/* Is it in a host register, and still what the operation left there? */
static bool still_there(struct emit *e, ir_val v)
{
    if (!ir_is_gpr(v) || emit_at(e, v) == NO_REG)
        return false;
    for (unsigned i = e->flag_def; i < e->index; i++)
        if (pass_gpr_written(&e->u->ins[i]) >> (v - IR_G) & 1)
            return false;
    return true;
}

static void put_flags(struct emit *e, u32 v)
{
    enc(e, (struct enc){ .imm_bytes = 4 }, 0xc7, 0, saved());
    put32(e, v);
    e->flags = FLAGS_BOTH;
    e->exact_form = (v & 0xff) < FLAG_FIRST;
}

static bool save_operands(struct emit *e)
{
    const struct ir_ins *def = e->flag_def ? &e->u->ins[e->flag_def - 1] : NULL;
    int kind = def ? kind_of(def) : -1;
    if (kind < 0 || def->flive & (u16)~def->fdef || !only_passed_on(e))
        return false;
    if (def->d == def->a && (def->op == IR_OP_xor || def->op == IR_OP_sub || def->op == IR_OP_cmp) && ir_is_gpr(def->d)) {
        put_flags(e, FLAG_ZERO);
        return true;
    }
    bool imm = kind == FLAG_LOGIC || def->a == IR_IMM, small = kind == FLAG_LOGIC || (def->imm >= -(1 << 23) && def->imm < 1 << 23);
    const u8 pinned = e->pinned;
    if (!still_there(e, def->d) || (imm ? !small : def->d == def->a || !still_there(e, def->a)))
        return false;
    unsigned size = def->size == 8 ? 3 : def->size >> 1;
    u32 how = FLAG_FIRST + ((u32)kind << FLAG_KIND_SHIFT | (imm ? 0 : FLAG_B) | size);
    enc(e, (struct enc){ .w = true }, 0x89, emit_at(e, def->d), rm_vcpu(VCPU_DISP(jit.flag_a)));
    if (!imm)
        enc(e, (struct enc){ .w = true }, 0x89, emit_at(e, def->a), rm_vcpu(VCPU_DISP(jit.flag_b)));
    put_flags(e, how | (kind == FLAG_LOGIC || !imm ? 0 : (u32)def->imm << FLAG_IMM_SHIFT));
    e->pinned = pinned;
    return true;
}

void flags_keep(struct emit *e)
{
    if (!save_operands(e))
        flags_save(e);
}

void flags_write_out(struct emit *e)
{
    if (e->exact_form)
        return;
    enc(e, (struct enc){ .imm_bytes = 1 }, 0x80, 7, saved());       /* cmp byte */
    put8(e, FLAG_FIRST - 1);
    struct tail *t = emit_tail(e, TAIL_FLAGS, emit_jump_if(e, 7));
    t->back = e->at;
    e->exact_form = true;
}

/* --- where they have to be ------------------------------------------------------------------------------------------- */

void flags_clobber(struct emit *e, u16 keep)
{
    if (keep && e->flags == FLAGS_HOST)
        flags_keep(e);
    e->flags = keep && (e->flags == FLAGS_BOTH || e->flags == FLAGS_SAVED) ? FLAGS_SAVED : FLAGS_DEAD;
}

void flags_to_host(struct emit *e)
{
    if (e->flags != FLAGS_SAVED)
        return;
    flags_write_out(e);
    unsigned aside = set_rax_aside(e);
    enc(e, (struct enc){ 0 }, 0x8b, RAX, saved());
    put_opcode(e, 0x04);                                              /* add al, 127: OF if AL is 1 */
    put8(e, 127);
    put_opcode(e, 0x9e);                                              /* sahf */
    put_rax_back(e, aside);
    e->flags = FLAGS_BOTH;
}

void flags_emit_leave(struct emit *e, bool live)
{
    if (live && e->flags == FLAGS_HOST)
        flags_keep(e);
}
