/* entry.c - the fixed code at the start of the cache: the way in, the ways out, and what units call when the fast path does
 * not do.
 *
 * It is written by the encoder like everything else, since it names fields of struct vcpu. Between units all guest state is
 * in host registers; here it is stored to and loaded from struct vcpu:
 *
 *   general registers   always
 *   flags               units have put them into vcpu.jit.flags (leave_*_host: still in EFLAGS)
 *   vectors, MXCSR      only if jit.vec_state says that they are loaded (need); on a miss they are kept
 *   x87                 only if jit.x87_state says so; C code does not use the x87, so a miss leaves them alone
 *
 * Stacks. RSP of translated code is its return-address stack (jit/enter.c): a call pushes its landing there, and leaving
 * keeps it. At its bottom stands the address of `underflow`, which looks the popped address up. C runs on its own stack.
 */
#include "jit/x86_64/emit.h"

#include <cpuid.h>
#include <stdlib.h>
#include <ucontext.h>

bool host_has_bmi2, host_has_avx;

static struct fixed_code fixed_places;
const struct fixed_code *fixed = &fixed_places;
static u32 place_enter, place_underflow;
static enum leave_reason (*enter_code)(struct vcpu *c, const void *code);
const void *underflow_code;

void entry_set_returns(void *context, u64 sp) { ((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP] = (greg_t)sp; }

/* --- pieces --------------------------------------------------------------------------------------------------------- */

static const struct enc W = { .w = true }, D = { 0 };

static void load(struct emit *e, unsigned reg, s32 disp) { enc(e, W, 0x8b, reg, rm_vcpu(disp)); }
static void store(struct emit *e, unsigned reg, s32 disp) { enc(e, W, 0x89, reg, rm_vcpu(disp)); }
static void move(struct emit *e, unsigned to, unsigned from) { enc(e, W, 0x8b, to, rm_reg(from)); }
static void push(struct emit *e, unsigned reg)
{
    if (reg & 8)
        put8(e, 0x41);
    put8(e, (u8)(0x50 | (reg & 7)));
}
static void pop(struct emit *e, unsigned reg)
{
    if (reg & 8)
        put8(e, 0x41);
    put8(e, (u8)(0x58 | (reg & 7)));
}
static void call_c(struct emit *e, const void *function)
{
    emit_mov_imm(e, RAX, (u64)(uintptr_t)function);
    enc(e, D, 0xff, 2, rm_reg(RAX));
}
static void test_byte(struct emit *e, s32 disp)
{
    enc(e, (struct enc){ .imm_bytes = 1 }, 0x80, 7, rm_vcpu(disp));
    put8(e, 0);
}

static void guest_registers(struct emit *e, bool out)
{
    for (unsigned g = 0; g < 16; g++)
        if (host_of_gpr[g] != NO_REG)
            (out ? store : load)(e, host_of_gpr[g], VCPU_DISP(gpr[0]) + (s32)g * 8);
}

static const u8 caller_saved[] = { GPR_RAX, GPR_RDX, GPR_RSI, GPR_RDI, GPR_R8, GPR_R9 };
static void reload_caller_saved(struct emit *e)
{
    for (unsigned i = 0; i < sizeof caller_saved; i++)
        load(e, host_of_gpr[caller_saved[i]], VCPU_DISP(gpr[0]) + caller_saved[i] * 8);
}

static void vector_registers(struct emit *e, bool out)
{
    for (unsigned i = 0; i < 16; i++) {
        struct rm at = rm_vcpu(VCPU_DISP(vec[0]) + (s32)i * 32);
        if (host_has_avx)
            enc_vex(e, 2, 1, false, true, out ? 0x7f : 0x6f, i, 0, at, 0);      /* vmovdqu ymm */
        else
            enc(e, (struct enc){ .prefix = 0xf3 }, out ? 0x0f7f : 0x0f6f, i, at);
    }
}

static void vectors(struct emit *e, bool out)
{
    vector_registers(e, out);
    if (out) {
        enc(e, D, 0x0fae, 3, rm_vcpu(VCPU_DISP(mxcsr)));            /* stmxcsr: sticky flags */
        enc(e, D, 0x0fae, 2, rm_vcpu(VCPU_DISP(jit.host_mxcsr)));   /* ldmxcsr */
    } else {
        enc(e, D, 0x0fae, 2, rm_vcpu(VCPU_DISP(mxcsr)));
    }
}

/* Does `what` only if the state byte at disp is not 0. */
static void if_loaded(struct emit *e, s32 disp, void (*what)(struct emit *e, bool out), bool out)
{
    test_byte(e, disp);
    u32 skip = emit_jump_if(e, 4);
    what(e, out);
    emit_fill(e, skip, e->at);
}

static void x87(struct emit *e, bool out) { enc(e, D, 0xdd, out ? 6 : 4, rm_vcpu(VCPU_DISP(jit.x87_image))); }     /* fnsave, frstor */

static void clear_byte(struct emit *e, s32 disp)
{
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xc6, 0, rm_vcpu(disp));
    put8(e, 0);
}

/* Everything but the general registers, to memory, for good. On C's stack already. Destroys what C may destroy. */
static void unload_units(struct emit *e)
{
    if_loaded(e, VCPU_DISP(jit.vec_state), vectors, true);
    clear_byte(e, VCPU_DISP(jit.vec_state));
    test_byte(e, VCPU_DISP(jit.x87_state));
    u32 skip = emit_jump_if(e, 4);
    x87(e, true);
    enc(e, W, 0x8d, RDI, rm_mem(RBP, -VCPU_BIAS));
    call_c(e, (const void *)jit_x87_saved);
    clear_byte(e, VCPU_DISP(jit.x87_state));
    emit_fill(e, skip, e->at);
}

static void to_c_stack(struct emit *e)
{
    store(e, RSP, VCPU_DISP(jit.code_sp));
    load(e, RSP, VCPU_DISP(jit.host_sp));
}
static void to_code_stack(struct emit *e) { load(e, RSP, VCPU_DISP(jit.code_sp)); }

/* --- in and out ----------------------------------------------------------------------------------------------------- */

static const u8 callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void write_enter(struct emit *e)     /* (rdi vcpu, rsi code) */
{
    place_enter = e->at;
    for (unsigned i = 0; i < sizeof callee_saved; i++)
        push(e, callee_saved[i]);
    enc(e, W, 0x8d, RSP, rm_mem(RSP, -8));      /* calls of C find it aligned */
    enc(e, W, 0x8d, RBP, rm_mem(RDI, VCPU_BIAS));
    store(e, RSP, VCPU_DISP(jit.host_sp));
    enc(e, D, 0x0fae, 3, rm_vcpu(VCPU_DISP(jit.host_mxcsr)));
    to_code_stack(e);
    move(e, RCX, RSI);
    guest_registers(e, false);
    enc(e, D, 0xff, 4, rm_reg(RCX));            /* jmp rcx */
}

/* The reason is in jit.temp[3]. *stored: if everything is in its place already, on C's stack. */
static u32 write_leave(struct emit *e, u32 *stored)
{
    u32 at = e->at;
    guest_registers(e, true);
    to_c_stack(e);
    unload_units(e);
    *stored = e->at;
    load(e, RAX, VCPU_DISP(jit.temp[3]));
    enc(e, W, 0x8d, RSP, rm_mem(RSP, 8));
    for (unsigned i = sizeof callee_saved; i-- > 0;)
        pop(e, callee_saved[i]);
    put8(e, 0xc3);
    return at;
}

static void reason(struct emit *e, enum leave_reason r, u32 leave)
{
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0xc7, 0, rm_vcpu(VCPU_DISP(jit.temp[3])));
    put32(e, r);
    emit_jump_to(e, leave);
}

static void write_exits(struct emit *e, u32 leave)
{
    struct fixed_code *f = &fixed_places;
    f->leave_link_host = e->at;
    e->taken = 7;                               /* RCX is in use: RAX goes to memory meanwhile */
    flags_save(e);
    f->leave_link = e->at;
    store(e, RCX, VCPU_DISP(jit.left));
    reason(e, LEAVE_LINK, leave);

    f->leave_landing = e->at;
    store(e, RCX, VCPU_DISP(jit.left));
    store(e, R11, VCPU_DISP(rip));
    reason(e, LEAVE_LANDING, leave);

    f->leave_lookup = e->at;
    store(e, R11, VCPU_DISP(rip));
    reason(e, LEAVE_LOOKUP, leave);

    f->leave_step_host = e->at;
    flags_save(e);
    f->leave_step = e->at;
    enc(e, W, 0x63, RCX, rm_reg(RCX));          /* movsxd */
    enc(e, W, 0x03, RCX, rm_vcpu(VCPU_DISP(jit.pc)));
    store(e, RCX, VCPU_DISP(rip));
    reason(e, LEAVE_STEP, leave);
}

static void write_lookup(struct emit *e)
{
    place_underflow = e->at;
    enc(e, W, 0x8d, RSP, rm_mem(RSP, -8));      /* the bottom stays where it is */
    fixed_places.lookup = e->at;
    emit_lookup(e);
}

/* --- a site missed --------------------------------------------------------------------------------------------------- */

/* What stands behind the call: a jump to where the unit goes on, struct code_access. */
enum { AT_ACCESS = 5, AT_BYTES = AT_ACCESS + offsetof(struct code_access, bytes),
       AT_ALIGN = AT_ACCESS + offsetof(struct code_access, align), AT_OFFSET = AT_ACCESS + offsetof(struct code_access, offset),
       AT_SITE = AT_ACCESS + offsetof(struct code_access, site), AT_MISSES = AT_ACCESS + offsetof(struct code_access, misses),
       AT_POINTER = AT_ACCESS + offsetof(struct code_access, pointer) };

/* Goes over what turns a host address into a delta, or the other way around, if the access is (not) for a pointer. */
static u32 if_pointer(struct emit *e, unsigned cc)
{
    enc(e, (struct enc){ .imm_bytes = 1 }, 0x80, 7, rm_mem(RSI, AT_POINTER));
    put8(e, 0);
    return emit_jump_if(e, cc);
}

/* The C path. p: address; RSI: where the call returns to. All guest registers are in their places, RAX RDX RSI excepted, which are
 * in jit.temp[0..2]. C has no use for floating point here, so MXCSR stays the guest's. */
static void write_miss_c(struct emit *e, unsigned p)
{
    enc(e, W, 0x8d, RSP, rm_mem(RSP, 8));
    store(e, RSI, VCPU_DISP(jit.reload));
    store(e, p, VCPU_DISP(jit.address));
    load(e, RAX, VCPU_DISP(jit.temp[0]));
    load(e, RDX, VCPU_DISP(jit.temp[1]));
    load(e, RSI, VCPU_DISP(jit.temp[2]));
    guest_registers(e, true);
    for (unsigned i = 0; i < SCRATCH_COUNT; i++)
        store(e, scratch_regs[i], VCPU_DISP(jit.temp[0]) + (s32)i * 8);
    to_c_stack(e);
    if_loaded(e, VCPU_DISP(jit.vec_state), vector_registers, true);
    enc(e, W, 0x8d, RDI, rm_mem(RBP, -VCPU_BIAS));
    load(e, RSI, VCPU_DISP(jit.address));
    load(e, RDX, VCPU_DISP(jit.reload));
    enc(e, W, 0x8d, RDX, rm_mem(RDX, AT_ACCESS));
    call_c(e, (const void *)jit_miss);
    if_loaded(e, VCPU_DISP(jit.vec_state), vector_registers, false);
    to_code_stack(e);
    for (unsigned i = 0; i < SCRATCH_COUNT; i++)
        load(e, scratch_regs[i], VCPU_DISP(jit.temp[0]) + (s32)i * 8);
    enc(e, W, 0x85, RAX, rm_reg(RAX));
    u32 fault = emit_jump_if(e, 4);
    move(e, p, RAX);
    load(e, RSI, VCPU_DISP(jit.reload));
    u32 pointer = if_pointer(e, 5);
    enc(e, W, 0x2b, p, rm_vcpu(VCPU_DISP(jit.address)));
    emit_fill(e, pointer, e->at);
    enc(e, D, 0xff, 6, rm_vcpu(VCPU_DISP(jit.reload)));         /* push */
    reload_caller_saved(e);
    put8(e, 0xc3);
    emit_fill(e, fault, e->at);
    load(e, RCX, VCPU_DISP(jit.reload));
    enc(e, D, 0x8b, RCX, rm_mem(RCX, AT_OFFSET));
    reload_caller_saved(e);
    emit_jump_to(e, fixed_places.leave_step);
}

/* [RDX] = the entry for the access, in one of the TLB's tables. Returns the jump to be filled for when there is none. */
static u32 write_tlb_lookup(struct emit *e, unsigned p, bool write, bool large)
{
    struct tlb_fields at = tlb_fields(write, large);
    move(e, RDX, p);
    enc(e, W, 0xc1, 5, rm_reg(RDX));                            /* shr: page number * 16 */
    put8(e, large ? GRANULE_SHIFT - 4 : PAGE_SHIFT - 4);
    enc(e, W, 0x23, RDX, rm_vcpu(at.mask));
    enc(e, W, 0x03, RDX, rm_vcpu(at.table));
    enc(e, D, 0x0fb6, RAX, rm_mem(RSI, AT_BYTES));
    enc(e, W, 0x8d, RAX, rm_index(p, RAX, 0, -1));
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 4, rm_reg(RAX));
    put32(e, large ? (u32)GRANULE_MASK : (u32)PAGE_MASK);
    enc(e, W, 0x3b, RAX, rm_mem(RDX, offsetof(struct tlb_entry, tag)));
    return emit_jump_if(e, 5);
}

/* RSI = where the call returns to. Nothing else is pushed: the return-address stack may end right here, and who runs off its end goes
 * on with an empty one (on_segv), which is right for a call but would lose what the call has pushed. */
static void miss_begins(struct emit *e)
{
    store(e, RAX, VCPU_DISP(jit.temp[0]));
    store(e, RDX, VCPU_DISP(jit.temp[1]));
    store(e, RSI, VCPU_DISP(jit.temp[2]));
    enc(e, W, 0x8b, RSI, rm_mem(RSP, 0));
}

static void miss_ends(struct emit *e)
{
    load(e, RAX, VCPU_DISP(jit.temp[0]));
    load(e, RDX, VCPU_DISP(jit.temp[1]));
    load(e, RSI, VCPU_DISP(jit.temp[2]));
    put8(e, 0xc3);
}

/* p: address, RDX: delta -> p: what is wanted */
static void delta_or_pointer(struct emit *e, unsigned p)
{
    u32 delta = if_pointer(e, 4);
    enc(e, W, 0x03, p, rm_reg(RDX));
    u32 done = emit_jump(e);
    emit_fill(e, delta, e->at);
    move(e, p, RDX);
    emit_fill(e, done, e->at);
}

/* Which of the stubs: the access's pointer is in p. */
struct miss_case { unsigned p, view; bool write; };

/* reg is lost. */
static void count_found(struct emit *e, unsigned reg, enum code_found where)
{
    enc(e, W, 0x8b, reg, rm_mem(RSI, AT_MISSES));
    enc(e, D, 0xff, 0, rm_mem(reg, (s32)where * 4));            /* inc dword */
}

/* RAX: page, RDX: delta. They go into the sites that `own` and `near` ask for. */
static void write_found(struct emit *e, struct miss_case m, bool own, bool near)
{
    s32 pages = site_disp(m.view, m.write, 0);
    delta_or_pointer(e, m.p);
    store(e, RCX, VCPU_DISP(jit.temp[3]));
    /* RCX may be p: not changed from here on */
    if (near) {
        emit_page_place(e, RCX, RAX);
        enc(e, W, 0x89, RAX, site_page(RCX, pages));
        enc(e, W, 0x89, RDX, site_delta(RCX, pages));
    }
    if (own) {
        enc(e, W, 0x63, RCX, rm_mem(RSI, AT_SITE));
        enc(e, W, 0x89, RAX, site_page(RCX, 0));
        enc(e, W, 0x89, RDX, site_delta(RCX, 0));
    }
    enc(e, (struct enc){ .imm_bytes = 1 }, 0xc6, 0, rm_vcpu(VCPU_DISP(mmu.site_used[0]) + (s32)m.view));
    put8(e, 1);
    load(e, RCX, VCPU_DISP(jit.temp[3]));
    miss_ends(e);
}

/* p: address. What is at [RDX], an entry of the TLB, is memory of the host's own: not read before it is known to be the right one. */
static void write_through_tlb(struct emit *e, struct miss_case m, bool own, u32 slow)
{
    for (unsigned large = 0; large < 2; large++) {
        u32 none = write_tlb_lookup(e, m.p, m.write, large);
        count_found(e, RAX, large ? FOUND_LARGE : FOUND_TLB);
        enc(e, W, 0x8b, RDX, rm_mem(RDX, offsetof(struct tlb_entry, addend)));
        move(e, RAX, m.p);
        enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 4, rm_reg(RAX));
        put32(e, (u32)PAGE_MASK);
        write_found(e, m, own, true);
        emit_fill(e, none, large ? slow : e->at);
    }
}

static void check_alignment(struct emit *e, unsigned p, u32 slow)
{
    enc(e, D, 0x0fb6, RAX, rm_mem(RSI, AT_ALIGN));
    enc(e, W, 0x85, RAX, rm_reg(p));
    emit_fill(e, emit_jump_if(e, 5), slow);
}

/* Looks among the sites that are found by the address first: they are nearer than the TLB. */
static void write_site_miss(struct emit *e, struct miss_case m, u32 slow)
{
    s32 pages = site_disp(m.view, m.write, 0);
    miss_begins(e);
    enc(e, W, 0x63, RDX, rm_mem(RSI, AT_SITE));
    enc(e, W, 0x03, m.p, site_page(RDX, 0));                    /* offset in the page -> address */
    check_alignment(e, m.p, slow);
    emit_page_place(e, RAX, m.p);
    enc(e, D, 0x0fb6, RDX, rm_mem(RSI, AT_BYTES));
    enc(e, W, 0x03, RDX, rm_reg(m.p));
    enc(e, W, 0x2b, RDX, site_page(RAX, pages));
    enc(e, (struct enc){ .w = true, .imm_bytes = 4 }, 0x81, 7, rm_reg(RDX));
    put32(e, PAGE_SIZE);
    u32 far = emit_jump_if(e, 7);                               /* ja */
    count_found(e, RDX, FOUND_NEAR);
    enc(e, W, 0x8b, RDX, site_delta(RAX, pages));
    enc(e, W, 0x8b, RAX, site_page(RAX, pages));
    write_found(e, m, true, false);
    emit_fill(e, far, e->at);
    write_through_tlb(e, m, true, slow);
}

static void write_page_miss(struct emit *e, struct miss_case m, u32 slow)
{
    miss_begins(e);
    check_alignment(e, m.p, slow);
    write_through_tlb(e, m, false, slow);
}

/* The access has looked for a granule itself. */
static void write_large_miss(struct emit *e, struct miss_case m, u32 slow)
{
    miss_begins(e);
    emit_fill(e, write_tlb_lookup(e, m.p, m.write, false), slow);
    enc(e, W, 0x8b, RDX, rm_mem(RDX, offsetof(struct tlb_entry, addend)));
    delta_or_pointer(e, m.p);
    miss_ends(e);
}

static void write_tlb_miss(struct emit *e, struct miss_case m, u32 slow)
{
    miss_begins(e);
    emit_jump_to(e, slow);
}

static void write_miss(struct emit *e, unsigned n)
{
    static void (*const write_form[MISS_FORMS])(struct emit *e, struct miss_case m, u32 slow) = {
        [MISS_SITE] = write_site_miss, [MISS_PAGE] = write_page_miss, [MISS_TLB] = write_tlb_miss, [MISS_LARGE] = write_large_miss,
    };
    u32 slow = e->at;
    write_miss_c(e, scratch_regs[n]);
    for (unsigned form = 0; form < MISS_FORMS; form++)
        for (unsigned write = 0; write < 2; write++)
            for (unsigned view = 0; view < VIEW_COUNT; view++) {
                fixed_places.miss[form][write][view][n] = e->at;
                write_form[form](e, (struct miss_case){ scratch_regs[n], view, write }, slow);
            }
}

/* --- need, interp ---------------------------------------------------------------------------------------------------- */

/* Behind the call: offset of the guest instruction, way back. No temporaries are alive; RCX is lost. */
static void write_need(struct emit *e, unsigned kind)
{
    bool vec = kind == IR_NEED_SSE || kind == IR_NEED_AVX;
    u8 bits = kind == IR_NEED_SSE ? 1 : 3;  /* AVX is usable only if SSE is, the x87 exactly if MMX is: need.c */
    s32 state = vec ? VCPU_DISP(jit.vec_state) : VCPU_DISP(jit.x87_state);
    fixed_places.need[kind] = e->at;
    pop(e, RCX);
    store(e, RCX, VCPU_DISP(jit.reload));
    for (unsigned i = 0; i < SCRATCH_COUNT; i++)
        store(e, scratch_regs[i], VCPU_DISP(jit.temp[0]) + (s32)i * 8);
    guest_registers(e, true);
    to_c_stack(e);
    if_loaded(e, VCPU_DISP(jit.vec_state), vectors, true);  /* C sees MXCSR and may use them; the x87 it leaves alone */
    if (vec)
        clear_byte(e, VCPU_DISP(jit.vec_state));
    enc(e, W, 0x8d, RDI, rm_mem(RBP, -VCPU_BIAS));
    emit_mov_imm(e, RSI, kind);
    call_c(e, (const void *)jit_need);
    if (!vec)
        if_loaded(e, VCPU_DISP(jit.vec_state), vectors, false);
    to_code_stack(e);
    enc(e, D, 0x0fb6, RAX, rm_reg(RAX));
    enc(e, D, 0x85, RAX, rm_reg(RAX));
    u32 fault = emit_jump_if(e, 4);
    if (vec)
        vectors(e, false);
    else
        x87(e, false);
    enc(e, (struct enc){ .imm_bytes = 1 }, 0x80, 1, rm_vcpu(state));    /* or byte */
    put8(e, bits);
    load(e, RCX, VCPU_DISP(jit.reload));
    enc(e, W, 0x63, RAX, rm_mem(RCX, 4));
    enc(e, W, 0x8d, RCX, rm_index(RCX, RAX, 0, 8));
    store(e, RCX, VCPU_DISP(jit.reload));
    for (unsigned i = 0; i < SCRATCH_COUNT; i++)
        load(e, scratch_regs[i], VCPU_DISP(jit.temp[0]) + (s32)i * 8);
    reload_caller_saved(e);
    enc(e, D, 0xff, 4, rm_vcpu(VCPU_DISP(jit.reload)));
    emit_fill(e, fault, e->at);
    load(e, RCX, VCPU_DISP(jit.reload));
    enc(e, D, 0x8b, RCX, rm_mem(RCX, 0));
    reload_caller_saved(e);
    emit_jump_to(e, fixed_places.leave_step);
}

/* function(vcpu, RCX = struct code_call), with all guest state in the vCPU; its result is in RAX. */
static void call_with_state(struct emit *e, const void *function)
{
    store(e, RCX, VCPU_DISP(jit.left));
    guest_registers(e, true);
    to_c_stack(e);
    unload_units(e);
    enc(e, W, 0x8d, RDI, rm_mem(RBP, -VCPU_BIAS));
    load(e, RSI, VCPU_DISP(jit.left));
    call_c(e, function);
}

/* vcpu.jit.flags: from what flags can be computed from to the flags themselves. Changes nothing but EFLAGS. */
static void write_flags(struct emit *e)
{
    static const u8 used[] = { RAX, RCX, RDX };
    u32 done[16];
    unsigned n = 0;
    fixed_places.flags = e->at;
    for (unsigned i = 0; i < ARRAY_LEN(used); i++)
        store(e, used[i], VCPU_DISP(jit.temp[1]) + (s32)i * 8);
    enc(e, W, 0x63, RDX, rm_vcpu(VCPU_DISP(jit.flags)));        /* movsxd */
    enc(e, D, 0x0fb6, RCX, rm_reg(RDX));
    enc(e, D, 0x8d, RCX, rm_mem(RCX, -FLAG_FIRST));
    enc(e, (struct enc){ .w = true, .imm_bytes = 1 }, 0xc1, 7, rm_reg(RDX));    /* sar */
    put8(e, FLAG_IMM_SHIFT);
    load(e, RAX, VCPU_DISP(jit.flag_a));
    enc(e, (struct enc){ .imm_bytes = 4 }, 0xf7, 0, rm_reg(RCX));               /* test */
    put32(e, FLAG_B);
    u32 small = emit_jump_if(e, 4);
    load(e, RDX, VCPU_DISP(jit.flag_b));
    emit_fill(e, small, e->at);
    enc(e, (struct enc){ .imm_bytes = 4 }, 0x81, 4, rm_reg(RCX));               /* and */
    put32(e, ~(u32)FLAG_B);
    for (u32 kind = FLAG_ADD; kind <= FLAG_LOGIC; kind++) {
        for (u32 size = 0; size < 4; size++) {
            const struct enc at = { .w = size == 3, .prefix = size == 1 ? 0x66 : 0, .reg8 = !size, .rm8 = !size };
            enc(e, (struct enc){ .imm_bytes = 1 }, 0x83, 7, rm_reg(RCX));       /* cmp */
            put8(e, (u8)(kind << FLAG_KIND_SHIFT | size));
            u32 next = emit_jump_if(e, 5);
            if (kind == FLAG_ADD)
                enc(e, W, 0x2b, RAX, rm_reg(RDX));
            else if (kind == FLAG_SUB)
                enc(e, W, 0x03, RAX, rm_reg(RDX));
            if (kind == FLAG_LOGIC)
                enc(e, at, size ? 0x85 : 0x84, RAX, rm_reg(RAX));
            else
                enc(e, at, (kind == FLAG_ADD ? 0x02u : 0x3au) | (size != 0), RAX, rm_reg(RDX));
            done[n++] = emit_jump(e);
            emit_fill(e, next, e->at);
        }
    }
    for (unsigned i = 0; i < n; i++)
        emit_fill(e, done[i], e->at);
    put_opcode(e, 0x9f);                                                        /* lahf */
    enc(e, (struct enc){ .rm8 = true }, 0x0f90, 0, rm_reg(RAX));                /* seto al */
    enc(e, D, 0x89, RAX, rm_vcpu(VCPU_DISP(jit.flags)));
    for (unsigned i = 0; i < ARRAY_LEN(used); i++)
        load(e, used[i], VCPU_DISP(jit.temp[1]) + (s32)i * 8);
    put8(e, 0xc3);
}

/* RCX = struct code_call; flags in memory, before and after. */
static void after_interp(struct emit *e, u32 leave)
{
    to_code_stack(e);
    enc(e, D, 0x0fb6, RCX, rm_reg(RAX));
    guest_registers(e, false);
    put8(e, 0xe3);                              /* jrcxz */
    put8(e, 1);
    put8(e, 0xc3);
    pop(e, RCX);
    reason(e, LEAVE_RETURN, leave);
}

static void write_interp(struct emit *e, u32 leave)
{
    fixed_places.interp = e->at;
    call_with_state(e, (const void *)jit_interp);
    after_interp(e, leave);
    fixed_places.interp_x87 = e->at;
    store(e, RCX, VCPU_DISP(jit.left));
    guest_registers(e, true);
    to_c_stack(e);
    if_loaded(e, VCPU_DISP(jit.vec_state), vectors, true);
    clear_byte(e, VCPU_DISP(jit.vec_state));
    if_loaded(e, VCPU_DISP(jit.x87_state), x87, true);
    enc(e, W, 0x8d, RDI, rm_mem(RBP, -VCPU_BIAS));
    load(e, RSI, VCPU_DISP(jit.left));
    call_c(e, (const void *)jit_interp_x87);
    if_loaded(e, VCPU_DISP(jit.x87_state), x87, false);
    after_interp(e, leave);
}

/* RCX = struct code_call; flags in memory. Goes on where jit_step_call says. */
static void write_step(struct emit *e, u32 leave_stored)
{
    fixed_places.step = e->at;
    call_with_state(e, (const void *)jit_step_call);
    enc(e, W, 0x85, RAX, rm_reg(RAX));
    emit_fill(e, emit_jump_if(e, 4), leave_stored);
    to_code_stack(e);
    move(e, RCX, RAX);
    load(e, R11, VCPU_DISP(rip));
    guest_registers(e, false);
    enc(e, D, 0xff, 4, rm_reg(RCX));            /* jmp rcx */
}

/* --- the backend's functions ------------------------------------------------------------------------------------------ */

static void look_at_host(void)
{
    u32 a, b, c = 0, d, xcr0 = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) && c & bit_OSXSAVE)
        __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(d) : "c"(0));
    host_has_avx = host_has_all || (!host_has_none && (xcr0 & 6) == 6 && c & bit_AVX);
    host_has_bmi2 = host_has_all || (!host_has_none && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_BMI2);
}

u32 entry_init(struct jit *j, u8 *rw, u8 *rx, u32 room)
{
    static struct ir_unit none;
    static struct ir_ins nothing;
    struct emit *e = calloc(1, sizeof *e);
    if (!e)
        return 0;
    look_at_host();
    e->j = j;
    e->u = &none;
    e->ins = &nothing;
    e->rw = rw;
    e->end = room;
    write_enter(e);
    u32 stored, leave = write_leave(e, &stored);
    write_exits(e, leave);
    write_lookup(e);
    for (unsigned n = 0; n < SCRATCH_COUNT; n++)
        write_miss(e, n);
    for (unsigned kind = 0; kind < 4; kind++)
        write_need(e, kind);
    write_flags(e);
    write_interp(e, leave);
    write_step(e, stored);
    u32 size = e->full ? 0 : e->at;
    free(e);
    enter_code = (enum leave_reason (*)(struct vcpu *, const void *))(uintptr_t)(rx + place_enter);
    underflow_code = rx + place_underflow;
    return size;
}

enum leave_reason entry_enter(struct vcpu *c, const void *code)
{
    jit_code_ready(c);
    return enter_code(c, code);
}
