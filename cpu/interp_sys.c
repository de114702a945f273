/* interp_sys.c - the system instructions: segment and system registers, far transfers, ports, SYSCALL and SYSENTER, MSRs,
 * CPUID, caches, random numbers. SDM 2 per instruction; the work is in segment.c, far.c, sysreg.c, msr.c, cpuid.c.
 */
#include <sys/random.h>

#include "cpu/cpu.h"
#include "cpu/fpu.h"
#include "cpu/interp.h"
#include "cpu/mem.h"
#include "cpu/operand.h"

static bool gp0(struct vcpu *c) { return cpu_fault_code(c, EXC_GP, 0); }
static bool ud(struct vcpu *c) { return cpu_fault(c, EXC_UD); }
static unsigned iopl(const struct vcpu *c) { return c->eflags >> 12 & 3; }
static bool is_amd(const struct vcpu *c) { return c->model.vendor[0] == 'A'; }

static void set_edx_eax(struct vcpu *c, u64 v)
{
    c->rax = (u32)v;
    c->rdx = v >> 32;
}
static u64 edx_eax(const struct vcpu *c) { return (u32)c->rax | c->rdx << 32; }

/* --------------------------------------------------------------------------------------- interrupt flag and halt --- */

enum if_control { IF_REAL, IF_VIRTUAL, IF_DENIED };

/* Whether CLI and STI act on IF or on VIF. SDM 2A CLI, table "Decision Table for CLI Results". */
static enum if_control if_control(const struct vcpu *c)
{
    if (in_real_mode(c) || iopl(c) >= c->cpl)
        return IF_REAL;
    if (in_v86_mode(c) ? c->cr4 & CR4_VME : c->cpl == 3 && c->cr4 & CR4_PVI)
        return IF_VIRTUAL;
    return IF_DENIED;
}

bool in_cli(struct vcpu *c, const struct insn *in)
{
    switch (if_control(c)) {
    case IF_REAL: c->eflags &= ~(u32)EFL_IF; return true;
    case IF_VIRTUAL: c->eflags &= ~(u32)EFL_VIF; return true;
    default: return gp0(c);
    }
}

bool in_sti(struct vcpu *c, const struct insn *in)
{
    switch (if_control(c)) {
    case IF_REAL:
        if (!(c->eflags & EFL_IF))
            cpu_set_shadow(c, SHADOW_STI);
        c->eflags |= EFL_IF;
        return true;
    case IF_VIRTUAL:
        if (c->eflags & EFL_VIP)
            return gp0(c);
        c->eflags |= EFL_VIF;
        return true;
    default: return gp0(c);
    }
}

bool in_hlt(struct vcpu *c, const struct insn *in)
{
    c->halted = true;
    c->halt_masked = false;
    cpu_raise(c, PEND_TRAP);
    return true;
}

bool in_monitor(struct vcpu *c, const struct insn *in)
{
    u8 byte;
    u64 off = in->addrsize == 8 ? c->rax : in->addrsize == 4 ? (u32)c->rax : (u16)c->rax;
    if (c->cpl)
        return ud(c);
    if ((u32)c->rcx)
        return gp0(c);
    return mem_read8(c, in->seg, off, &byte);
}

/* A hint: the wait ends at the next interrupt, whether or not somebody writes to the monitored line. */
bool in_mwait(struct vcpu *c, const struct insn *in)
{
    if (c->cpl)
        return ud(c);
    if ((u32)c->rcx & ~1u)
        return gp0(c);
    c->halted = true;
    c->halt_masked = c->rcx & 1;
    cpu_raise(c, PEND_TRAP);
    return true;
}

/* ------------------------------------------------------------------------------------------- descriptor tables --- */

static bool umip_denies(struct vcpu *c) { return c->cpl > 0 && c->cr4 & CR4_UMIP; }

static bool load_table(struct vcpu *c, const struct insn *in, u64 *base, u16 *limit)
{
    u8 image[10] = { 0 };
    unsigned bytes = in_64bit_mode(c) ? 10 : 6;
    u64 b = 0;
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), image, bytes))
        return false;
    memcpy(&b, image + 2, bytes - 2);
    if (in_64bit_mode(c)) {
        if (!is_canonical(b))
            return gp0(c);
    } else if (in->opsize == 2) {
        b &= 0xffffff;
    }
    memcpy(limit, image, 2);
    *base = b;
    return true;
}

static bool store_table(struct vcpu *c, const struct insn *in, u64 base, u16 limit)
{
    u8 image[10];
    if (umip_denies(c))
        return gp0(c);
    memcpy(image, &limit, 2);
    memcpy(image + 2, &base, 8);
    return mem_write_buf(c, in->seg, operand_ea(c, in), image, in_64bit_mode(c) ? 10 : 6);
}

bool in_lgdt(struct vcpu *c, const struct insn *in) { return load_table(c, in, &c->gdtr.base, &c->gdtr.limit); }
bool in_lidt(struct vcpu *c, const struct insn *in) { return load_table(c, in, &c->idtr.base, &c->idtr.limit); }
bool in_sgdt(struct vcpu *c, const struct insn *in) { return store_table(c, in, c->gdtr.base, c->gdtr.limit); }
bool in_sidt(struct vcpu *c, const struct insn *in) { return store_table(c, in, c->idtr.base, c->idtr.limit); }

bool in_sldt(struct vcpu *c, const struct insn *in)
{
    return umip_denies(c) ? gp0(c) : operand_write(c, in, 0, c->ldtr.sel);
}
bool in_str(struct vcpu *c, const struct insn *in)
{
    return umip_denies(c) ? gp0(c) : operand_write(c, in, 0, c->tr.sel);
}

/* LDT and TSS descriptors have 16 bytes in long mode, the upper half with a type field of zero. */
static bool read_system(struct vcpu *c, u16 sel, struct descriptor *d)
{
    if (sel & 4)
        return cpu_fault_code(c, EXC_GP, sel & ~3u);
    return descriptor_read(c, sel, in_long_mode(c) ? 16 : 8, EXC_GP, d);
}
static bool upper_half_ok(const struct vcpu *c, const struct descriptor *d)
{
    return !(d->high >> 40 & 0x1f) && (!in_long_mode(c) || is_canonical(descriptor_segment(d, 0).base));
}

bool in_lldt(struct vcpu *c, const struct insn *in)
{
    struct descriptor d;
    u64 v;
    if (!operand_read(c, in, 0, &v))
        return false;
    u16 sel = (u16)v;
    if (sel_null(sel)) {
        c->ldtr = (struct segment){ .sel = sel, .unusable = 1 };
        return true;
    }
    if (!read_system(c, sel, &d))
        return false;
    if (desc_type(&d) != SYS_LDT || !upper_half_ok(c, &d))
        return cpu_fault_code(c, EXC_GP, sel & ~3u);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    c->ldtr = descriptor_segment(&d, sel);
    return true;
}

bool in_ltr(struct vcpu *c, const struct insn *in)
{
    struct descriptor d;
    u64 v;
    if (!operand_read(c, in, 0, &v))
        return false;
    u16 sel = (u16)v;
    if (sel_null(sel))
        return gp0(c);
    if (!read_system(c, sel, &d))
        return false;
    bool type_ok = desc_type(&d) == SYS_TSS32 || (desc_type(&d) == SYS_TSS16 && !in_long_mode(c));
    if (!type_ok || !upper_half_ok(c, &d))
        return cpu_fault_code(c, EXC_GP, sel & ~3u);
    if (!desc_present(&d))
        return cpu_fault_code(c, EXC_NP, sel & ~3u);
    if (!descriptor_set_type(c, &d, 2, 0))
        return false;
    c->tr = descriptor_segment(&d, sel);
    c->tr.attr |= 2;
    return true;
}

/* --------------------------------------------------------------------------------- LAR LSL VERR VERW ARPL: no faults --- */

/* *found: the selector names a descriptor. False: a page fault. */
static bool peek(struct vcpu *c, u16 sel, struct descriptor *d, bool *found)
{
    const u32 limit = sel & 4 ? c->ldtr.limit : c->gdtr.limit;
    *found = !sel_null(sel) && (sel | 7u) <= limit && !(sel & 4 && c->ldtr.unusable);
    return !*found || descriptor_read(c, sel, 8, EXC_GP, d);
}

static bool visible(const struct vcpu *c, const struct descriptor *d, u16 sel)
{
    unsigned type = desc_type(d);
    if ((type & (SEG_S | SEG_CODE | SEG_E)) == (SEG_S | SEG_CODE | SEG_E))
        return true;
    return desc_dpl(d) >= c->cpl && desc_dpl(d) >= (sel & 3u);
}

static bool peek_operand(struct vcpu *c, const struct insn *in, unsigned i, u16 *sel, struct descriptor *d, bool *ok)
{
    u64 v;
    if (!operand_read(c, in, i, &v))
        return false;
    *sel = (u16)v;
    if (!peek(c, *sel, d, ok))
        return false;
    *ok = *ok && visible(c, d, *sel);
    return true;
}

static bool type_in(const struct vcpu *c, const struct descriptor *d, u32 legacy, u32 long_mode)
{
    return desc_type(d) & SEG_S || (in_long_mode(c) ? long_mode : legacy) >> desc_type(d) & 1;
}

enum {
    LSL_LONG = 1 << SYS_LDT | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY,
    LSL_LEGACY = LSL_LONG | 1 << SYS_TSS16 | 1 << SYS_TSS16_BUSY,
    LAR_LONG = LSL_LONG | 1 << SYS_CALL32,
    LAR_LEGACY = LSL_LEGACY | 1 << SYS_CALL16 | 1 << SYS_CALL32 | 1 << SYS_TASK_GATE,
};

bool in_lar(struct vcpu *c, const struct insn *in)
{
    struct descriptor d;
    u16 sel;
    bool ok;
    if (!peek_operand(c, in, 1, &sel, &d, &ok))
        return false;
    ok = ok && type_in(c, &d, LAR_LEGACY, LAR_LONG);
    if (ok)
        gpr_write(c, in->op[0].reg, in->op[0].size, d.low >> 32 & (in->op[0].size == 2 ? 0xff00 : 0xf0ff00));
    rflags_put(c, EFL_ZF, ok ? EFL_ZF : 0);
    return true;
}

bool in_lsl(struct vcpu *c, const struct insn *in)
{
    struct descriptor d;
    u16 sel;
    bool ok;
    if (!peek_operand(c, in, 1, &sel, &d, &ok))
        return false;
    ok = ok && type_in(c, &d, LSL_LEGACY, LSL_LONG);
    if (ok)
        gpr_write(c, in->op[0].reg, in->op[0].size, descriptor_segment(&d, sel).limit);
    rflags_put(c, EFL_ZF, ok ? EFL_ZF : 0);
    return true;
}

bool in_verr(struct vcpu *c, const struct insn *in)
{
    struct descriptor d;
    u16 sel;
    bool ok;
    if (!peek_operand(c, in, 0, &sel, &d, &ok))
        return false;
    ok = ok && desc_type(&d) & SEG_S && (!(desc_type(&d) & SEG_CODE) || desc_type(&d) & SEG_W);
    rflags_put(c, EFL_ZF, ok ? EFL_ZF : 0);
    return true;
}

bool in_verw(struct vcpu *c, const struct insn *in)
{
    struct descriptor d;
    u16 sel;
    bool ok;
    if (!peek_operand(c, in, 0, &sel, &d, &ok))
        return false;
    ok = ok && (desc_type(&d) & (SEG_S | SEG_CODE | SEG_W)) == (SEG_S | SEG_W);
    rflags_put(c, EFL_ZF, ok ? EFL_ZF : 0);
    return true;
}

bool in_arpl(struct vcpu *c, const struct insn *in)
{
    u64 dst, src;
    if (!operand_rmw(c, in, 0, &dst) || !operand_read(c, in, 1, &src))
        return false;
    bool lower = (dst & 3) < (src & 3);
    if (lower && !operand_write(c, in, 0, (dst & ~(u64)3) | (src & 3)))
        return false;
    rflags_put(c, EFL_ZF, lower ? EFL_ZF : 0);
    return true;
}

/* --------------------------------------------------------------------------------------------- segment registers --- */

bool in_mov_sreg(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (in->op[0].kind != OP_SREG)
        return operand_write(c, in, 0, c->seg[in->op[1].reg].sel);
    enum sreg s = in->op[0].reg;
    if (s == SEG_CS || s >= SEG_COUNT)
        return ud(c);
    if (in->op[1].kind == OP_GPR)
        v = c->gpr[in->op[1].reg];
    else if (!operand_read(c, in, 1, &v))
        return false;
    if (!segment_load(c, s, (u16)v))
        return false;
    if (s == SEG_SS)
        cpu_set_shadow(c, SHADOW_MOV_SS);
    return true;
}

/* 32-bit pushes write only the selector's 16 bits, as processors do since the 486 (SDM 2B PUSH). */
bool in_push_sreg(struct vcpu *c, const struct insn *in)
{
    u16 sel = c->seg[in->op[0].reg].sel;
    u64 sp = (c->rsp - in->opsize) & stack_mask(c);
    if (!mem_write(c, SEG_SS, sp, in->opsize == 4 ? 2 : in->opsize, sel))
        return false;
    stack_set(c, sp);
    return true;
}

bool in_pop_sreg(struct vcpu *c, const struct insn *in)
{
    enum sreg s = in->op[0].reg;
    u64 v, rsp = c->rsp;
    if (!stack_pop(c, in->opsize, &v))
        return false;
    if (!segment_load(c, s, (u16)v)) {
        c->rsp = rsp;
        return false;
    }
    if (s == SEG_SS)
        cpu_set_shadow(c, SHADOW_MOV_SS);
    return true;
}

/* The far pointer that a memory operand holds: offset, then selector. */
static bool read_far_pointer(struct vcpu *c, const struct insn *in, u16 *sel, u64 *offset)
{
    u8 image[10];
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), image, in->opsize + 2u))
        return false;
    *offset = 0;
    memcpy(offset, image, in->opsize);
    memcpy(sel, image + in->opsize, 2);
    return true;
}

static bool load_far_pointer(struct vcpu *c, const struct insn *in, enum sreg s)
{
    u16 sel;
    u64 offset;
    if (!read_far_pointer(c, in, &sel, &offset) || !segment_load(c, s, sel))
        return false;
    gpr_write(c, in->op[0].reg, in->opsize, offset);
    return true;
}

bool in_lds(struct vcpu *c, const struct insn *in) { return load_far_pointer(c, in, SEG_DS); }
bool in_les(struct vcpu *c, const struct insn *in) { return load_far_pointer(c, in, SEG_ES); }
bool in_lss(struct vcpu *c, const struct insn *in) { return load_far_pointer(c, in, SEG_SS); }
bool in_lfs(struct vcpu *c, const struct insn *in) { return load_far_pointer(c, in, SEG_FS); }
bool in_lgs(struct vcpu *c, const struct insn *in) { return load_far_pointer(c, in, SEG_GS); }

/* ----------------------------------------------------------------------------------------------- far transfers --- */

static bool far_operand(struct vcpu *c, const struct insn *in, u16 *sel, u64 *offset)
{
    if (in->op[0].kind != OP_FAR)
        return read_far_pointer(c, in, sel, offset);
    *sel = in->imm2;
    *offset = in->opsize == 2 ? (u16)in->imm : (u32)in->imm;
    return true;
}

bool in_jmp_far(struct vcpu *c, const struct insn *in)
{
    u16 sel;
    u64 offset;
    return far_operand(c, in, &sel, &offset) && far_jump(c, sel, offset, in->opsize);
}

bool in_call_far(struct vcpu *c, const struct insn *in)
{
    u16 sel;
    u64 offset;
    return far_operand(c, in, &sel, &offset) && far_call(c, sel, offset, in->opsize);
}

bool in_ret_far(struct vcpu *c, const struct insn *in)
{
    return far_return(c, in->opsize, in->op[0].kind == OP_IMM ? (u16)in->imm : 0);
}

bool in_iret(struct vcpu *c, const struct insn *in) { return interrupt_return(c, in->opsize); }
bool in_rsm(struct vcpu *c, const struct insn *in) { return ud(c); }        /* never in system-management mode */

/* -------------------------------------------------------------------------------------- SYSCALL and SYSENTER --- */

/* The flat segments that these instructions load without a look at the tables. */
static void set_flat(struct vcpu *c, enum sreg s, u16 sel, unsigned dpl, unsigned attr)
{
    c->seg[s] = (struct segment){ .limit = 0xffffffff, .sel = (u16)((sel & ~3u) | dpl),
                                  .attr = (u16)(SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | dpl << 5 | attr) };
}

/* CS and SS for privilege cpl; code size 8 or 4. */
static void set_flat_pair(struct vcpu *c, u16 cs, u16 ss, unsigned cpl, unsigned code_size)
{
    set_flat(c, SEG_CS, cs, cpl, SEG_CODE | (code_size == 8 ? SEG_L : SEG_D));
    set_flat(c, SEG_SS, ss, cpl, SEG_D);
    c->cpl = (u8)cpl;
    segment_refresh(c);
}

/* Single-stepping looks at TF as it is after SYSCALL and SYSRET, so that a masked TF does not trap in the kernel. */
static void step_by_new_tf(struct vcpu *c)
{
    if (c->eflags & EFL_TF)
        debug_raise(c, DR6_BS);
    else
        debug_clear_step(c);
}

bool in_syscall(struct vcpu *c, const struct insn *in)
{
    u16 cs = (u16)(c->star >> 32);
    if (!(c->efer & EFER_SCE) || (!is_amd(c) && !in_64bit_mode(c)) || !in_protected_mode(c))
        return ud(c);
    u64 flags = rflags_get(c) & ~(u64)EFL_RF;
    if (in_long_mode(c)) {
        bool compat = !in_64bit_mode(c);
        c->rcx = c->rip;
        c->r11 = flags;
        c->rip = compat ? c->cstar : c->lstar;
        set_flat_pair(c, cs, (u16)((cs & ~3u) + 8), 0, 8);
        rflags_set(c, flags & ~c->fmask);
    } else {
        c->rcx = (u32)c->rip;
        c->rip = (u32)c->star;
        set_flat_pair(c, cs, (u16)((cs & ~3u) + 8), 0, 4);
        rflags_set(c, flags & ~(u64)(EFL_IF | EFL_VM));
    }
    step_by_new_tf(c);
    return true;
}

bool in_sysret(struct vcpu *c, const struct insn *in)
{
    u16 cs = (u16)(c->star >> 48);
    if (!(c->efer & EFER_SCE) || (!is_amd(c) && !in_64bit_mode(c)) || !in_protected_mode(c))
        return ud(c);
    bool to64 = in->opsize == 8;
    if (to64 && !is_amd(c) && !is_canonical(c->rcx))
        return gp0(c);
    if (in_long_mode(c)) {
        u64 flags = (c->r11 & 0x3c7fd7) | EFL_1;
        c->rip = to64 ? c->rcx : (u32)c->rcx;
        set_flat_pair(c, (u16)(to64 ? cs + 16 : cs), (u16)(cs + 8), 3, to64 ? 8 : 4);
        rflags_set(c, flags);
    } else {
        c->rip = (u32)c->rcx;
        set_flat_pair(c, cs, (u16)(cs + 8), 3, 4);
        rflags_put(c, EFL_IF, EFL_IF);
    }
    step_by_new_tf(c);
    return true;
}

bool in_sysenter(struct vcpu *c, const struct insn *in)
{
    u16 cs = (u16)(c->sysenter_cs & ~3u);
    if (in_long_mode(c) && is_amd(c))
        return ud(c);
    if (in_real_mode(c) || !cs)
        return gp0(c);
    bool wide = in_long_mode(c);
    rflags_put(c, EFL_VM | EFL_IF | EFL_RF, 0);
    c->rsp = wide ? c->sysenter_esp : (u32)c->sysenter_esp;
    c->rip = wide ? c->sysenter_eip : (u32)c->sysenter_eip;
    set_flat_pair(c, cs, (u16)(cs + 8), 0, wide ? 8 : 4);
    return true;
}

bool in_sysexit(struct vcpu *c, const struct insn *in)
{
    u16 cs = (u16)(c->sysenter_cs & ~3u);
    bool to64 = in->opsize == 8;
    if (in_long_mode(c) && is_amd(c))
        return ud(c);
    if (in_real_mode(c) || !cs)
        return gp0(c);
    if (to64 && (!is_canonical(c->rcx) || !is_canonical(c->rdx)))
        return gp0(c);
    c->rsp = to64 ? c->rcx : (u32)c->rcx;
    c->rip = to64 ? c->rdx : (u32)c->rdx;
    set_flat_pair(c, (u16)(cs + (to64 ? 32 : 16)), (u16)(cs + (to64 ? 40 : 24)), 3, to64 ? 8 : 4);
    return true;
}

/* ------------------------------------------------------------------------------------------- FS and GS bases --- */

bool in_swapgs(struct vcpu *c, const struct insn *in)
{
    u64 base = c->seg[SEG_GS].base;
    c->seg[SEG_GS].base = c->kernel_gs_base;
    c->kernel_gs_base = base;
    return true;
}

static bool read_base(struct vcpu *c, const struct insn *in, enum sreg s)
{
    if (!(c->cr4 & CR4_FSGSBASE))
        return ud(c);
    return operand_write(c, in, 0, c->seg[s].base);
}

static bool write_base(struct vcpu *c, const struct insn *in, enum sreg s)
{
    u64 v;
    if (!(c->cr4 & CR4_FSGSBASE))
        return ud(c);
    if (!operand_read(c, in, 0, &v))
        return false;
    if (!is_canonical(v))
        return gp0(c);
    c->seg[s].base = v;
    return true;
}

bool in_rdfsbase(struct vcpu *c, const struct insn *in) { return read_base(c, in, SEG_FS); }
bool in_rdgsbase(struct vcpu *c, const struct insn *in) { return read_base(c, in, SEG_GS); }
bool in_wrfsbase(struct vcpu *c, const struct insn *in) { return write_base(c, in, SEG_FS); }
bool in_wrgsbase(struct vcpu *c, const struct insn *in) { return write_base(c, in, SEG_GS); }

/* ------------------------------------------------------------------------------ control and debug registers, MSRs --- */

bool in_mov_cr(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (in->op[0].kind == OP_CR)
        return operand_read(c, in, 1, &v) && sysreg_write_cr(c, in->op[0].reg, v);
    return sysreg_read_cr(c, in->op[1].reg, &v) && operand_write(c, in, 0, v);
}

bool in_mov_dr(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (in->op[0].kind == OP_DR)
        return operand_read(c, in, 1, &v) && sysreg_write_dr(c, in->op[0].reg, v);
    return sysreg_read_dr(c, in->op[1].reg, &v) && operand_write(c, in, 0, v);
}

bool in_clts(struct vcpu *c, const struct insn *in)
{
    c->cr0 &= ~(u64)CR0_TS;         /* no business of the MMU's */
    return true;
}

bool in_smsw(struct vcpu *c, const struct insn *in)
{
    return umip_denies(c) ? gp0(c) : operand_write(c, in, 0, c->cr0);
}

bool in_lmsw(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!operand_read(c, in, 0, &v))
        return false;
    return sysreg_write_cr(c, 0, (c->cr0 & ~(u64)0xe) | (v & 0xf));     /* PE can be set, not cleared */
}

bool in_rdmsr(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!msr_read(c, (u32)c->rcx, &v))
        return false;
    set_edx_eax(c, v);
    return true;
}

bool in_wrmsr(struct vcpu *c, const struct insn *in) { return msr_write(c, (u32)c->rcx, edx_eax(c)); }

bool in_xgetbv(struct vcpu *c, const struct insn *in)
{
    u32 index = (u32)c->rcx;
    if (!(c->cr4 & CR4_OSXSAVE))
        return ud(c);
    if (index > 1 || (index == 1 && !cpu_has(&c->model, CPUID_XGETBV1)))
        return gp0(c);
    set_edx_eax(c, index ? c->xcr0 & fpu_xinuse(c) : c->xcr0);
    return true;
}

bool in_xsetbv(struct vcpu *c, const struct insn *in)
{
    if (!(c->cr4 & CR4_OSXSAVE))
        return ud(c);
    return sysreg_write_xcr(c, (u32)c->rcx, edx_eax(c));
}

/* ------------------------------------------------------------------------------------- counters, identity, random --- */

static bool tsc_denied(const struct vcpu *c) { return c->cr4 & CR4_TSD && c->cpl > 0; }

bool in_rdtsc(struct vcpu *c, const struct insn *in)
{
    if (tsc_denied(c))
        return gp0(c);
    set_edx_eax(c, cpu_tsc(c));
    return true;
}

bool in_rdtscp(struct vcpu *c, const struct insn *in)
{
    if (tsc_denied(c))
        return gp0(c);
    set_edx_eax(c, cpu_tsc(c));
    c->rcx = (u32)c->tsc_aux;
    return true;
}

/* No counter exists: every index is beyond the last. */
bool in_rdpmc(struct vcpu *c, const struct insn *in) { return gp0(c); }
bool in_rdpid(struct vcpu *c, const struct insn *in) { return operand_write(c, in, 0, (u32)c->tsc_aux); }

bool in_cpuid(struct vcpu *c, const struct insn *in)
{
    u32 out[4];
    cpuid_query(c, (u32)c->rax, (u32)c->rcx, out);
    c->rax = out[0];
    c->rbx = out[1];
    c->rcx = out[2];
    c->rdx = out[3];
    return true;
}

/* The host's random numbers, fetched in bulk. */
static u64 random_u64(void)
{
    static _Thread_local u64 pool[32];
    static _Thread_local unsigned left;
    if (!left) {
        if (getrandom(pool, sizeof pool, 0) != (ssize_t)sizeof pool)
            return 0;
        left = ARRAY_LEN(pool);
    }
    u64 v = pool[--left];
    pool[left] = 0;
    return v;
}

static bool random_operand(struct vcpu *c, const struct insn *in)
{
    u64 v = random_u64();
    gpr_write(c, in->op[0].reg, in->op[0].size, v);
    rflags_put(c, EFL_STATUS, EFL_CF);
    return true;
}

bool in_rdrand(struct vcpu *c, const struct insn *in) { return random_operand(c, in); }
bool in_rdseed(struct vcpu *c, const struct insn *in) { return random_operand(c, in); }

/* ------------------------------------------------------------------------------------------------ caches and TLB --- */

bool in_invd(struct vcpu *c, const struct insn *in) { return true; }
bool in_wbinvd(struct vcpu *c, const struct insn *in) { return true; }

static bool touch_line(struct vcpu *c, const struct insn *in)
{
    u8 byte;
    return mem_read8(c, in->seg, operand_ea(c, in), &byte);
}
bool in_clflush(struct vcpu *c, const struct insn *in) { return touch_line(c, in); }
bool in_clflushopt(struct vcpu *c, const struct insn *in) { return touch_line(c, in); }
bool in_clwb(struct vcpu *c, const struct insn *in) { return touch_line(c, in); }

bool in_invlpg(struct vcpu *c, const struct insn *in)
{
    u64 off = operand_ea(c, in);
    gla a;
    if (in_64bit_mode(c))
        a = in->seg >= SEG_FS ? c->seg[in->seg].base + off : off;
    else
        a = (u32)(c->seg[in->seg].base + off);
    if (is_canonical(a))
        mmu_flush_page(&c->mmu, a);
    return true;
}

bool in_invpcid(struct vcpu *c, const struct insn *in)
{
    u64 type = gpr_read(c, in->op[0].reg, in->op[0].size), desc[2];
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), desc, 16))
        return false;
    bool uses_pcid = type <= INVPCID_SINGLE;
    if (type > INVPCID_ALL || desc[0] >> 12 || (uses_pcid && desc[0] && !(c->cr4 & CR4_PCIDE)) ||
        (type == INVPCID_ADDRESS && !is_canonical(desc[1])))
        return gp0(c);
    static const enum invpcid types[] = { INVPCID_ADDRESS, INVPCID_SINGLE, INVPCID_ALL_GLOBAL, INVPCID_ALL };
    mmu_invpcid(&c->mmu, types[type], (u16)desc[0], desc[1]);
    return true;
}

static bool set_ac(struct vcpu *c, bool on)
{
    if (c->cpl)
        return ud(c);
    c->eflags = on ? c->eflags | EFL_AC : c->eflags & ~(u32)EFL_AC;
    sysreg_refresh_view(c);
    return true;
}
bool in_stac(struct vcpu *c, const struct insn *in) { return set_ac(c, true); }
bool in_clac(struct vcpu *c, const struct insn *in) { return set_ac(c, false); }

/* -------------------------------------------------------------------------------------------------------- ports --- */

bool io_permitted(struct vcpu *c, u16 port, unsigned bytes)
{
    u16 map, bits;
    if (in_real_mode(c) || (!in_v86_mode(c) && c->cpl <= iopl(c)))
        return true;
    if (!(c->tr.attr & 8) || c->tr.unusable || c->tr.limit < 103)
        return gp0(c);
    if (!sys_read(c, c->tr.base + 102, &map, 2))
        return false;
    u32 at = map + port / 8u;           /* two bytes are always read: the map ends with one of all ones */
    if (at + 1 > c->tr.limit)
        return gp0(c);
    if (!sys_read(c, c->tr.base + at, &bits, 2))
        return false;
    return !(bits >> port % 8 & ((1u << bytes) - 1)) || gp0(c);
}

u32 io_read(struct vcpu *c, u16 port, unsigned bytes)
{
    u32 v = c->host->port_in(c->host_ctx, port, bytes);
    debug_io(c, port, bytes);
    return v;
}

void io_write(struct vcpu *c, u16 port, unsigned bytes, u32 value)
{
    c->host->port_out(c->host_ctx, port, bytes, value);
    debug_io(c, port, bytes);
}

static u16 port_of(const struct vcpu *c, const struct insn *in, unsigned i)
{
    return in->op[i].kind == OP_IMM ? (u8)in->imm : (u16)c->rdx;
}

bool in_in(struct vcpu *c, const struct insn *in)
{
    u16 port = port_of(c, in, 1);
    unsigned bytes = in->op[0].size;
    if (!io_permitted(c, port, bytes))
        return false;
    gpr_write(c, GPR_RAX, bytes, io_read(c, port, bytes));
    return true;
}

bool in_out(struct vcpu *c, const struct insn *in)
{
    u16 port = port_of(c, in, 0);
    unsigned bytes = in->op[1].size;
    if (!io_permitted(c, port, bytes))
        return false;
    io_write(c, port, bytes, (u32)gpr_read(c, GPR_RAX, bytes));
    return true;
}
