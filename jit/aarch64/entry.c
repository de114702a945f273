/* entry.c - the fixed code at the start of the cache: the way in, the ways out, and what units call when the fast path does
 * not do. And how the host learns of code that was written.
 *
 * It is written by the encoder like everything else, since it names fields of struct vcpu. Between units all guest state is
 * in host registers; here it is stored to and loaded from struct vcpu:
 *
 *   general registers   always; those in X19-X26 survive C
 *   flags               units have put them into vcpu.jit.flags
 *   vectors             only if jit.vec_state says that they are loaded (need); on a miss they are kept
 *
 * The stack of return addresses (jit/enter.c) is not SP: X27 points into it, 8 bytes an address. At its bottom stands the address of
 * `underflow`, which looks the popped address up.
 */
#include "cpu/fpu.h"
#include "jit/aarch64/insn.h"
#include "jit/jit_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static struct fixed_code fixed_places;
const struct fixed_code *fixed = &fixed_places;
static u32 place_enter, place_underflow;
static enum leave_reason (*enter_code)(struct vcpu *c, const void *code);
const void *underflow_code;

/* --- written code -------------------------------------------------------------------------------------------------- */

/* Emulators exist that translate code once and see it change only where it is written through the addresses that it is executed
 * at, whatever the caches are told (QEMU before 8.1). They do see that a page loses its right to be executed. */
static bool caches_lie;

static void flip_protection(const u8 *from, const u8 *to)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)from & ~(page - 1);
    const size_t bytes = ((uintptr_t)to - first + page - 1) & ~(page - 1);
    mprotect((void *)first, bytes, PROT_READ);
    mprotect((void *)first, bytes, PROT_READ | PROT_EXEC);
}

void code_changed(struct jit *j, u32 at, u32 bytes)
{
    u8 *from = j->rx + at;
    __builtin___clear_cache((char *)from, (char *)from + bytes);
    if (caches_lie)
        flip_protection(from, from + bytes);
}

/* Writes a function, calls it, writes another one, calls that. */
static bool test_caches(u8 *rw, u8 *rx)
{
    static const u32 returns = 0xd65f03c0;
    for (u32 i = 1; i <= 2; i++) {
        const u32 code[2] = { 0x52800000 | i << 5, returns };     /* mov w0, #i */
        memcpy(rw, code, sizeof code);
        __builtin___clear_cache((char *)rx, (char *)rx + sizeof code);
        if (((u32 (*)(void))(uintptr_t)rx)() != i)
            return false;
    }
    return true;
}

void entry_set_returns(void *context, u64 sp) { ((ucontext_t *)context)->uc_mcontext.regs[RETURNS] = sp; }

/* --- pieces --------------------------------------------------------------------------------------------------------- */

static void call_c(struct emit *e, const void *function)
{
    mov_imm(e, X16, (u64)(uintptr_t)function);
    put32(e, 0xd63f0000 | X16 << 5);        /* blr */
}

static void guest_pairs(struct emit *e, bool out, unsigned first, unsigned end)
{
    for (unsigned g = first; g < end; g += 2)
        pair(e, out ? STP : LDP, host_of_gpr[g], host_of_gpr[g + 1], VCPU, (s32)(VCPU_OFF(gpr[0]) + 8 * g));
}
static void guest_registers(struct emit *e, bool out) { guest_pairs(e, out, 0, 16); }
static void reload_caller_saved(struct emit *e) { guest_pairs(e, false, GPR_R8, 16); }

/* Q registers: [base + off], off a multiple of 16. X17 is used. */
static void vectors(struct emit *e, bool out)
{
    const u32 at = VCPU_OFF(vec[0]);
    static_assert(sizeof(union vec) == 32 && offsetof(struct vcpu, vec) % 16 == 0, "LDR Q scales");
    add_any(e, true, X17, VCPU, at & ~4095u);
    for (unsigned i = 0; i < 16; i++)
        put32(e, (out ? 0x3d800000 : 0x3dc00000) | ((at & 4095) / 16 + 2 * i) << 10 | X17 << 5 | i);
}

/* --- MXCSR: insn_fp.c says why FZ ----------------------------------------------------------------------------------- */

enum {
    MRS_FPSR = 0xd53b4420, MSR_FPSR = 0xd51b4420, MSR_FPCR = 0xd51b4400, FPCR_FZ = 1 << 24, FPSR_IXC = 4,
    MRS_NZCV = 0xd53b4200, MSR_NZCV = 0xd51b4200,
};

/* RC is nearest, down, up, zero; RMode, bits 23:22: nearest, up, down, zero: its bits are the other way around. */
void entry_fp_control(struct emit *e, unsigned reg)
{
    static_assert(MXCSR_RC_SHIFT == 13, "two bits from there");
    ubfm(e, false, reg, reg, MXCSR_RC_SHIFT, MXCSR_RC_SHIFT + 1);
    rr(e, RBIT, false, reg, reg);
    lsr(e, false, reg, reg, 8);
    logic_imm(e, ORR, false, reg, reg, FPCR_FZ);
    put32(e, MSR_FPCR | reg);
    put32(e, MSR_FPSR | XZR);
}

void entry_fp_flags(struct emit *e, unsigned reg)
{
    add_any(e, true, X17, VCPU, VCPU_OFF(mxcsr));
    ldr(e, 4, reg, X17, 0);
    put32(e, MRS_FPSR | X17);
    ubfx(e, X17, X17, FPSR_IXC, 1);
    static_assert(FP_PE == 32, "shifted by 5");
    rrr(e, ORR | BY(5), false, reg, reg, X17);
}

/* Vectors and MXCSR; C has an FPCR of its own. X1, X17 are used. */
static void vector_state(struct emit *e, bool out)
{
    vectors(e, out);
    if (out) {
        entry_fp_flags(e, X1);
        add_any(e, true, X17, VCPU, VCPU_OFF(mxcsr));
        str(e, 4, X1, X17, 0);
        put32(e, MSR_FPCR | XZR);
    } else {
        add_any(e, true, X17, VCPU, VCPU_OFF(mxcsr));
        ldr(e, 4, X1, X17, 0);
        entry_fp_control(e, X1);
    }
}

static void if_vectors(struct emit *e, bool out)
{
    load(e, 1, X17, VCPU_OFF(jit.vec_state));
    u32 skip = branch_zero(e, false, X17, false);
    vector_state(e, out);
    emit_fill(e, skip, e->at);
}

/* Everything but the general registers, to memory, for good. */
static void unload_units(struct emit *e)
{
    if_vectors(e, true);
    store(e, 1, XZR, VCPU_OFF(jit.vec_state));
}

static void returns(struct emit *e, bool out)
{
    if (out)
        store(e, 8, RETURNS, VCPU_OFF(jit.code_sp));
    else
        load(e, 8, RETURNS, VCPU_OFF(jit.code_sp));
}

/* The sites of the current view. */
static void load_sites(struct emit *e)
{
    enum { VIEW_SHIFT = 16 };
    static_assert(sizeof(((struct vcpu *)0)->mmu.site[0]) == 1 << VIEW_SHIFT, "shifted");
    static_assert((int)SITES_OF_KIND <= (int)MMU_WRITE_SITES && 2 * SITES_OF_KIND * sizeof(struct mmu_site) <= 4096 * 8, "reached");
    load(e, 4, X17, VCPU_OFF(mmu.view));
    add_any(e, true, SITES, VCPU, VCPU_OFF(mmu.site[0][MMU_WRITE_SITES - SITES_OF_KIND]));
    rrr(e, ADD | BY(VIEW_SHIFT), true, SITES, SITES, X17);
}

/* --- in and out ----------------------------------------------------------------------------------------------------- */

enum { FRAME = 160 };

static void callee_saved(struct emit *e, bool out)
{
    for (unsigned i = 0; i < 6; i++)
        pair(e, out ? STP : LDP, X19 + 2 * i, X20 + 2 * i, SP, 16 * (s32)i);
    for (unsigned i = 0; i < 4; i++)        /* d8-d15 */
        pair(e, out ? 0x6d000000 : 0x6d400000, 8 + 2 * i, 9 + 2 * i, SP, 96 + 16 * (s32)i);
}

static void write_enter(struct emit *e)     /* (x0 vcpu, x1 code) */
{
    place_enter = e->at;
    add_imm(e, SUB, true, SP, SP, FRAME);
    callee_saved(e, true);
    mov(e, true, VCPU, X0);
    mov(e, true, X16, X1);
    returns(e, false);
    load_sites(e);
    guest_registers(e, false);
    branch_reg(e, X16);
}

/* The reason is in jit.temp[3]. *stored: if everything is in its place already. */
static u32 write_leave(struct emit *e, u32 *stored)
{
    u32 at = e->at;
    guest_registers(e, true);
    returns(e, true);
    unload_units(e);
    *stored = e->at;
    load(e, 8, X0, VCPU_OFF(jit.temp[3]));
    callee_saved(e, false);
    add_imm(e, ADD, true, SP, SP, FRAME);
    ret(e, LR);
    return at;
}

static void reason(struct emit *e, enum leave_reason r, u32 leave)
{
    mov_imm(e, X16, r);
    store(e, 8, X16, VCPU_OFF(jit.temp[3]));
    emit_branch_to(e, leave);
}

/* Of an indirect jump or a return. */
static void save_flags(struct emit *e)
{
    put32(e, MRS_NZCV | X16);
    store(e, 4, X16, VCPU_OFF(jit.flags));
}

static void write_exits(struct emit *e, u32 leave)
{
    struct fixed_code *f = &fixed_places;
    f->leave_link = e->at;
    store(e, 8, X0, VCPU_OFF(jit.left));
    reason(e, LEAVE_LINK, leave);

    f->leave_landing = e->at;
    save_flags(e);
    store(e, 8, X0, VCPU_OFF(jit.left));
    store(e, 8, RIP_REG, VCPU_OFF(rip));
    reason(e, LEAVE_LANDING, leave);

    f->leave_lookup_host = e->at;
    save_flags(e);
    f->leave_lookup = e->at;
    store(e, 8, RIP_REG, VCPU_OFF(rip));
    reason(e, LEAVE_LOOKUP, leave);

    f->leave_step = e->at;
    load(e, 8, X16, VCPU_OFF(jit.pc));
    sbfm(e, true, X0, X0, 0, 31);
    rrr(e, ADD, true, X0, X0, X16);
    store(e, 8, X0, VCPU_OFF(rip));
    reason(e, LEAVE_STEP, leave);
}

static void write_lookup(struct emit *e)
{
    place_underflow = e->at;
    add_imm(e, SUB, true, RETURNS, RETURNS, 8);     /* the bottom stays where it is */
    fixed_places.lookup = e->at;
    emit_lookup(e);
}

/* --- a site missed --------------------------------------------------------------------------------------------------- */

/* What stands behind the call: struct code_access; then the unit goes on. */
enum { AT_BYTES = offsetof(struct code_access, bytes), AT_ACCESS = offsetof(struct code_access, access),
       AT_VIEW = offsetof(struct code_access, view), AT_ALIGN = offsetof(struct code_access, align),
       AT_OFFSET = offsetof(struct code_access, offset), AT_SITE = offsetof(struct code_access, site),
       AT_MISSES = offsetof(struct code_access, misses), AT_BACK = sizeof(struct code_access) };
enum { SAVED = 80 };    /* X0-X7, X16, LR */

static void temporaries(struct emit *e, bool out, unsigned end)
{
    for (unsigned i = 0; i < end; i += 2)
        pair(e, out ? STP : LDP, X0 + i, X1 + i, SP, 8 * (s32)i);
}

/* X16: the guest address; its host address afterwards. LR: the data. */
static void write_miss_c(struct emit *e)
{
    add_imm(e, SUB, true, SP, SP, SAVED);
    temporaries(e, true, 8);
    pair(e, STP, X16, LR, SP, 64);
    guest_registers(e, true);
    returns(e, true);
    if_vectors(e, true);
    mov(e, true, X0, VCPU);
    mov(e, true, X1, X16);
    mov(e, true, X2, LR);
    call_c(e, (const void *)jit_miss);
    returns(e, false);
    if_vectors(e, false);
    reload_caller_saved(e);
    u32 fault = branch_zero(e, true, X0, false);
    mov(e, true, X16, X0);
    temporaries(e, false, 8);
    ldr(e, 8, LR, SP, 72);
    add_imm(e, ADD, true, SP, SP, SAVED);
    add_imm(e, ADD, true, LR, LR, AT_BACK);
    branch_reg(e, LR);
    emit_fill(e, fault, e->at);
    ldr(e, 8, LR, SP, 72);
    add_imm(e, ADD, true, SP, SP, SAVED);
    ldr(e, 4, X0, LR, AT_OFFSET);
    emit_branch_to(e, fixed_places.leave_step);
}

static void write_miss(struct emit *e)
{
    u32 slow[2];
    fixed_places.miss = e->at;
    add_imm(e, SUB, true, SP, SP, 32);
    temporaries(e, true, 4);
    ldr(e, 1, X0, LR, AT_ALIGN);
    rrr(e, AND, true, X0, X0, X16);
    slow[0] = branch_zero(e, true, X0, true);
    ldr(e, 1, X0, LR, AT_BYTES);
    ldr(e, 1, X1, LR, AT_ACCESS);
    rrr(e, ADD, true, X0, X0, X16);
    add_imm(e, SUB, true, X0, X0, 1);
    logic_imm(e, AND, true, X0, X0, (u64)PAGE_MASK);
    u32 writes = branch_zero(e, false, X1, true);
    static_assert(IR_READ == 0, "compared with zero");
    load(e, 8, X1, VCPU_OFF(mmu.rd_mask));
    load(e, 8, X2, VCPU_OFF(mmu.rd));
    u32 found = branch(e);
    emit_fill(e, writes, e->at);
    load(e, 8, X1, VCPU_OFF(mmu.wr_mask));
    load(e, 8, X2, VCPU_OFF(mmu.wr));
    emit_fill(e, found, e->at);
    rrr(e, AND | BY_LSR | BY(PAGE_SHIFT - 4), true, X1, X1, X16);
    rrr(e, ADD, true, X2, X2, X1);
    pair(e, LDP, X1, X2, X2, 0);
    rrr(e, SUB, true, X1, X1, X0);
    slow[1] = branch_zero(e, true, X1, true);
    rrr(e, ADD, true, X16, X16, X2);                    /* host address of the access */
    ldr(e, 8, X1, LR, AT_MISSES);
    ldr(e, 4, X3, X1, 0);
    add_imm(e, ADD, false, X3, X3, 1);
    str(e, 4, X3, X1, 0);
    ldr(e, 4, X1, LR, AT_SITE);
    rrr(e, ADD, true, X1, X1, SITES);
    pair(e, STP, X0, X2, X1, 0);
    ldr(e, 1, X1, LR, AT_VIEW);
    rrr(e, ADD, true, X1, X1, VCPU);
    mov_imm(e, X0, 1);
    str(e, 1, X0, X1, VCPU_OFF(mmu.site_used[0]));
    temporaries(e, false, 4);
    add_imm(e, ADD, true, SP, SP, 32);
    add_imm(e, ADD, true, LR, LR, AT_BACK);
    branch_reg(e, LR);
    for (unsigned i = 0; i < 2; i++)
        emit_fill(e, slow[i], e->at);
    temporaries(e, false, 4);
    add_imm(e, ADD, true, SP, SP, 32);
    fixed_places.miss_tlb = e->at;
    write_miss_c(e);
}

/* --- need, interp ---------------------------------------------------------------------------------------------------- */

/* Behind the call: offset of the guest instruction. */
static void write_need(struct emit *e, unsigned kind)
{
    bool vec = kind == IR_NEED_SSE || kind == IR_NEED_AVX;
    u8 bits = kind == IR_NEED_SSE ? 1 : 3;  /* AVX is usable only if SSE is, the x87 exactly if MMX is: need.c */
    u32 state = vec ? VCPU_OFF(jit.vec_state) : VCPU_OFF(jit.x87_state);
    fixed_places.need[kind] = e->at;
    add_imm(e, SUB, true, SP, SP, SAVED);
    temporaries(e, true, 8);
    pair(e, STP, X16, LR, SP, 64);
    guest_registers(e, true);
    returns(e, true);
    if_vectors(e, true);
    mov(e, true, X0, VCPU);
    mov_imm(e, X1, kind);
    call_c(e, (const void *)jit_need);
    ubfm(e, false, X0, X0, 0, 7);
    returns(e, false);
    if_vectors(e, false);
    reload_caller_saved(e);
    ldr(e, 8, LR, SP, 72);
    u32 fault = branch_zero(e, false, X0, false);
    if (vec)
        vector_state(e, false);
    mov_imm(e, X16, bits);
    store(e, 1, X16, state);
    temporaries(e, false, 8);
    add_imm(e, ADD, true, SP, SP, SAVED);
    add_imm(e, ADD, true, LR, LR, 4);
    branch_reg(e, LR);
    emit_fill(e, fault, e->at);
    add_imm(e, ADD, true, SP, SP, SAVED);
    ldr(e, 4, X0, LR, 0);
    emit_branch_to(e, fixed_places.leave_step);
}

/* insn_slow, insn_slow_compare (their own file). X16: struct code_call; V20, V21: the memory operand. Only what the instruction
 * defines changes, flags in the host's included. */
static void write_insn_slow(struct emit *e, const void *function, bool flags)
{
    enum { FRAME_SLOW = 128, AT_NZCV = 80, AT_MEMORY = 96 };
    add_imm(e, SUB, true, SP, SP, FRAME_SLOW);
    temporaries(e, true, 8);
    pair(e, STP, X16, LR, SP, 64);
    put32(e, MRS_NZCV | X17);
    str(e, 8, X17, SP, AT_NZCV);
    for (unsigned i = 0; i < 2; i++)
        put32(e, 0x3d800000 | (AT_MEMORY / 16 + i) << 10 | SP << 5 | (20 + i));
    guest_registers(e, true);
    returns(e, true);
    vector_state(e, true);
    mov(e, true, X0, VCPU);
    mov(e, true, X1, X16);
    add_imm(e, ADD, true, X2, SP, AT_MEMORY);
    call_c(e, function);
    if (flags)
        str(e, 8, X0, SP, AT_NZCV);
    returns(e, false);
    guest_registers(e, false);
    vector_state(e, false);
    ldr(e, 8, X17, SP, AT_NZCV);
    put32(e, MSR_NZCV | X17);
    temporaries(e, false, 8);
    ldr(e, 8, LR, SP, 72);
    add_imm(e, ADD, true, SP, SP, FRAME_SLOW);
    ret(e, LR);
}

/* function(vcpu, X0 = struct code_call), with all guest state in the vCPU; its result is in X0. */
static void call_with_state(struct emit *e, const void *function)
{
    guest_registers(e, true);
    returns(e, true);
    unload_units(e);
    mov(e, true, X1, X0);
    mov(e, true, X0, VCPU);
    call_c(e, function);
}

/* X0 = struct code_call; flags in memory, before and after. */
static void write_interp(struct emit *e, u32 leave)
{
    fixed_places.interp = e->at;
    put32(e, 0xf81f0c00 | SP << 5 | LR);        /* str x30, [sp, #-16]! */
    call_with_state(e, (const void *)jit_interp);
    put32(e, 0xf8410400 | SP << 5 | LR);        /* ldr x30, [sp], #16 */
    ubfm(e, false, X0, X0, 0, 7);
    returns(e, false);
    guest_registers(e, false);
    u32 out = branch_zero(e, false, X0, false);
    ret(e, LR);
    emit_fill(e, out, e->at);
    reason(e, LEAVE_RETURN, leave);
}

/* X0 = struct code_call; flags in memory. Goes on where jit_step_call says, perhaps in another view. */
static void write_step(struct emit *e, u32 leave_stored)
{
    fixed_places.step = e->at;
    call_with_state(e, (const void *)jit_step_call);
    u32 out = branch_zero(e, true, X0, false);
    returns(e, false);
    load_sites(e);
    mov(e, true, X16, X0);
    guest_registers(e, false);
    load(e, 8, RIP_REG, VCPU_OFF(rip));
    load(e, 4, X17, VCPU_OFF(jit.flags));       /* as an indirect jump */
    put32(e, MSR_NZCV | X17);
    branch_reg(e, X16);
    emit_fill(e, out, e->at);
    emit_branch_to(e, leave_stored);
}

/* --- the backend's functions ------------------------------------------------------------------------------------------ */

u32 entry_init(struct jit *j, u8 *rw, u8 *rx, u32 room)
{
    static struct ir_unit none;
    static struct ir_ins nothing;
    struct emit *e = calloc(1, sizeof *e);
    if (!e)
        return 0;
    enum { CAP_ATOMICS = 1 << 8, CAP_FLAGM = 1 << 27 };
    const unsigned long have = host_has_none ? 0 : host_has_all ? ~0ul : getauxval(AT_HWCAP);
    host_has_flagm = have & CAP_FLAGM;
    host_has_lse = have & CAP_ATOMICS;
    caches_lie = !test_caches(rw, rx);
    e->j = j;
    e->u = &none;
    e->ins = &nothing;
    e->rw = rw;
    e->end = room;
    write_enter(e);
    u32 stored, leave = write_leave(e, &stored);
    write_exits(e, leave);
    write_lookup(e);
    write_miss(e);
    for (unsigned kind = 0; kind < 4; kind++)
        write_need(e, kind);
    write_interp(e, leave);
    fixed_places.insn = e->at;
    write_insn_slow(e, (const void *)insn_slow, false);
    fixed_places.compare = e->at;
    write_insn_slow(e, (const void *)insn_slow_compare, true);
    write_step(e, stored);
    u32 size = e->full ? 0 : e->at;
    free(e);
    enter_code = (enum leave_reason (*)(struct vcpu *, const void *))(uintptr_t)(rx + place_enter);
    underflow_code = rx + place_underflow;
    code_changed(j, 0, size);
    return size;
}

enum leave_reason entry_enter(struct vcpu *c, const void *code)
{
    jit_code_ready(c);
    return enter_code(c, code);
}
