/* interp_fxsave.c - whole-state images: FXSAVE FXRSTOR XSAVE XSAVEOPT XSAVEC XSAVES XRSTOR XRSTORS; LDMXCSR STMXCSR.
 *
 * The components are x87 (bit 0), SSE (1) and AVX (2), all that XCR0 can hold here; IA32_XSS has none. A component that
 * is in its initial state counts as not in use (XINUSE), which is found out by looking at it. XSAVEOPT and XSAVES use
 * that, and leave out the optional optimisation for state that was not modified since the last restore.
 *
 * An image is checked as a whole before anything is written or loaded. Bytes that the manual does not assign to a
 * component stay untouched. SDM 1 10.5 (FXSAVE), 13.4 to 13.12 (XSAVE).
 */
#include "cpu/fpu.h"
#include "cpu/interp.h"
#include "cpu/operand.h"

enum component { COMP_X87 = 1, COMP_SSE = 2, COMP_AVX = 4, COMP_ALL = 7 };
enum {
    IMAGE_MXCSR = 24, IMAGE_ST = 32, IMAGE_XMM = 160, LEGACY_BYTES = 512,
    HEADER_BYTES = 64, IMAGE_AVX = LEGACY_BYTES + HEADER_BYTES, AVX_BYTES = 256, IMAGE_MAX = IMAGE_AVX + AVX_BYTES,
};
#define XCOMP_COMPACT ((u64)1 << 63)

static unsigned xmm_count(const struct vcpu *c) { return in_64bit_mode(c) ? 16 : 8; }

/* --- the parts of an image --- */

/* wide: 64-bit pointers without selectors (REX.W). */
static void put_x87(const struct vcpu *c, u8 *p, bool wide)
{
    const struct x87 *x = &c->x87;
    const u32 ip = (u32)x->fip, dp = (u32)x->fdp;
    memset(p, 0, IMAGE_MXCSR);
    memcpy(p, &x->cw, 2);
    memcpy(p + 2, &x->sw, 2);
    p[4] = x87_abridged_tags(c);
    memcpy(p + 6, &x->fop, 2);
    if (wide) {
        memcpy(p + 8, &x->fip, 8);
        memcpy(p + 16, &x->fdp, 8);
    } else {
        memcpy(p + 8, &ip, 4);
        memcpy(p + 12, &x->fcs, 2);
        memcpy(p + 16, &dp, 4);
        memcpy(p + 20, &x->fds, 2);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct f80 v = x87_get(c, i);
        u8 *st = p + IMAGE_ST + 16 * i;
        memset(st, 0, 16);
        memcpy(st, &v.mant, 8);
        memcpy(st + 8, &v.se, 2);
    }
}

static void get_x87(struct vcpu *c, const u8 *p, bool wide)
{
    struct x87 *x = &c->x87;
    memcpy(&x->cw, p, 2);
    x->cw = (x->cw & X87_CW_WRITABLE) | X87_CW_FIXED;
    memcpy(&x->sw, p + 2, 2);
    x->empty = (u8)~p[4];
    memcpy(&x->fop, p + 6, 2);
    x->fop &= 0x7ff;
    x->fip = x->fdp = 0;
    memcpy(&x->fip, p + 8, wide ? 8 : 4);
    memcpy(&x->fdp, p + 16, wide ? 8 : 4);
    x->fcs = x->fds = 0;
    if (!wide) {
        memcpy(&x->fcs, p + 12, 2);
        memcpy(&x->fds, p + 20, 2);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct f80 *r = &x->r[x87_phys(c, i)];
        memcpy(&r->mant, p + IMAGE_ST + 16 * i, 8);
        memcpy(&r->se, p + IMAGE_ST + 16 * i + 8, 2);
    }
    x87_update_summary(c);
}

static void put_mxcsr(const struct vcpu *c, u8 *p)
{
    const u32 mask = MXCSR_VALID;
    memcpy(p + IMAGE_MXCSR, &c->mxcsr, 4);
    memcpy(p + IMAGE_MXCSR + 4, &mask, 4);
}
static u32 get_mxcsr(const u8 *p)
{
    u32 v;
    memcpy(&v, p + IMAGE_MXCSR, 4);
    return v;
}

static void put_xmm(const struct vcpu *c, u8 *p)
{
    for (unsigned i = 0; i < xmm_count(c); i++)
        memcpy(p + IMAGE_XMM + 16 * i, &c->vec[i], 16);
}
static void get_xmm(struct vcpu *c, const u8 *p)
{
    for (unsigned i = 0; i < xmm_count(c); i++)
        memcpy(&c->vec[i], p + IMAGE_XMM + 16 * i, 16);
}
static void put_avx(const struct vcpu *c, u8 *p)
{
    for (unsigned i = 0; i < xmm_count(c); i++)
        memcpy(p + 16 * i, &c->vec[i].q[2], 16);
}
static void get_avx(struct vcpu *c, const u8 *p)
{
    for (unsigned i = 0; i < xmm_count(c); i++)
        memcpy(&c->vec[i].q[2], p + 16 * i, 16);
}

/* #GP(0) unless the image's linear address is a multiple of `alignment`. */
static bool check_aligned(struct vcpu *c, const struct insn *in, unsigned alignment, enum access access)
{
    gla a;
    if (!mem_linear(c, in->seg, operand_ea(c, in), alignment, access, &a))
        return false;
    return a % alignment == 0 || cpu_fault_code(c, EXC_GP, 0);
}

/* --- FXSAVE, FXRSTOR --- */

static bool check_fxsave(struct vcpu *c, const struct insn *in, enum access access)
{
    if (c->cr0 & (CR0_EM | CR0_TS))
        return cpu_fault(c, EXC_NM);
    return check_aligned(c, in, 16, access);
}

/* EFER.FFXSR: FXSAVE and FXRSTOR at CPL 0 in 64-bit mode leave XMM alone (AMD APM 2, 11.4.4.2). */
static bool fast_fxsave(const struct vcpu *c) { return c->efer & EFER_FFXSR && in_64bit_mode(c) && c->cpl == 0; }

bool in_fxsave(struct vcpu *c, const struct insn *in)
{
    u8 image[LEGACY_BYTES];
    u64 ea = operand_ea(c, in);
    unsigned bytes = fast_fxsave(c) ? IMAGE_XMM : IMAGE_XMM + 16 * xmm_count(c);
    if (!check_fxsave(c, in, ACCESS_WRITE) || !mem_probe_write(c, in->seg, ea, LEGACY_BYTES))
        return false;
    put_x87(c, image, in->rex_w);
    put_mxcsr(c, image);
    put_xmm(c, image);
    return mem_write_buf(c, in->seg, ea, image, bytes);
}

bool in_fxrstor(struct vcpu *c, const struct insn *in)
{
    u8 image[LEGACY_BYTES];
    if (!check_fxsave(c, in, ACCESS_READ) || !mem_read_buf(c, in->seg, operand_ea(c, in), image, LEGACY_BYTES))
        return false;
    u32 mxcsr = get_mxcsr(image);
    if (c->cr4 & CR4_OSFXSR && mxcsr & ~(u32)MXCSR_VALID)
        return cpu_fault_code(c, EXC_GP, 0);
    get_x87(c, image, in->rex_w);
    if (c->cr4 & CR4_OSFXSR)
        c->mxcsr = mxcsr;
    if (c->cr4 & CR4_OSFXSR && !fast_fxsave(c))
        get_xmm(c, image);
    return true;
}

/* --- XSAVE --- */

static bool x87_initial(const struct vcpu *c)
{
    static const struct f80 zero;
    const struct x87 *x = &c->x87;
    for (unsigned i = 0; i < 8; i++)
        if (x->r[i].mant != zero.mant || x->r[i].se != zero.se)
            return false;
    return x->cw == X87_CW_INIT && !x->sw && x->empty == 0xff && !x->fop && !x->fip && !x->fdp && !x->fcs && !x->fds;
}

u64 fpu_xinuse(const struct vcpu *c)
{
    u64 low = 0, high = 0;
    for (unsigned i = 0; i < xmm_count(c); i++) {
        low |= c->vec[i].q[0] | c->vec[i].q[1];
        high |= c->vec[i].q[2] | c->vec[i].q[3];
    }
    return (x87_initial(c) ? 0 : COMP_X87) | (low ? COMP_SSE : 0) | (high ? COMP_AVX : 0);
}

/* The instruction's mask of components, limited to what XCR0 enables. */
static u64 requested(const struct vcpu *c) { return (c->rdx << 32 | (u32)c->rax) & c->xcr0; }

static bool check_xsave(struct vcpu *c, const struct insn *in, enum access access)
{
    return fpu_check_xsave(c) && check_aligned(c, in, HEADER_BYTES, access);
}

static bool write_part(struct vcpu *c, const struct insn *in, const u8 *image, unsigned from, unsigned bytes)
{
    return mem_write_buf(c, in->seg, operand_ea(c, in) + from, image + from, bytes);
}

/* Components `what`, and MXCSR, from an image in the same layout; everything has been probed. */
static bool write_components(struct vcpu *c, const struct insn *in, const u8 *image, u64 what, bool mxcsr)
{
    if (what & COMP_X87 && !(write_part(c, in, image, 0, IMAGE_MXCSR) && write_part(c, in, image, IMAGE_ST, 128)))
        return false;
    if (mxcsr && !write_part(c, in, image, IMAGE_MXCSR, 8))
        return false;
    if (what & COMP_SSE && !write_part(c, in, image, IMAGE_XMM, 16 * xmm_count(c)))
        return false;
    return !(what & COMP_AVX) || write_part(c, in, image, IMAGE_AVX, 16 * xmm_count(c));
}

static void fill_image(const struct vcpu *c, const struct insn *in, u8 image[IMAGE_MAX])
{
    memset(image, 0, IMAGE_MAX);
    put_x87(c, image, in->rex_w);
    put_mxcsr(c, image);
    put_xmm(c, image);
    put_avx(c, image + IMAGE_AVX);
}

/* XSAVE and XSAVEOPT: the standard format, always with room for all components. */
static bool save_standard(struct vcpu *c, const struct insn *in, bool skip_initial)
{
    u8 image[IMAGE_MAX];
    u64 rfbm = requested(c), inuse = fpu_xinuse(c), xstate_bv, ea = operand_ea(c, in);
    unsigned bytes = rfbm & COMP_AVX ? IMAGE_MAX : IMAGE_AVX;
    if (!check_xsave(c, in, ACCESS_WRITE) || !mem_probe_write(c, in->seg, ea, bytes) ||
        !mem_read_buf(c, in->seg, ea + LEGACY_BYTES, &xstate_bv, 8))
        return false;
    fill_image(c, in, image);
    xstate_bv = (xstate_bv & ~rfbm) | (rfbm & inuse);
    memcpy(image + LEGACY_BYTES, &xstate_bv, 8);
    return write_part(c, in, image, LEGACY_BYTES, 8) &&
           write_components(c, in, image, skip_initial ? rfbm & inuse : rfbm, rfbm & (COMP_SSE | COMP_AVX));
}

bool in_xsave(struct vcpu *c, const struct insn *in) { return save_standard(c, in, false); }
bool in_xsaveopt(struct vcpu *c, const struct insn *in) { return save_standard(c, in, true); }

/* XSAVEC and XSAVES: the compacted format. With one extended component its place is that of the standard format. */
static bool save_compacted(struct vcpu *c, const struct insn *in)
{
    u8 image[IMAGE_MAX];
    u64 rfbm = requested(c), xcomp_bv = rfbm | XCOMP_COMPACT;
    u64 saved = rfbm & (fpu_xinuse(c) | (c->mxcsr != MXCSR_INIT ? COMP_SSE : 0));
    unsigned bytes = rfbm & COMP_AVX ? IMAGE_MAX : IMAGE_AVX;
    if (!check_xsave(c, in, ACCESS_WRITE) || !mem_probe_write(c, in->seg, operand_ea(c, in), bytes))
        return false;
    fill_image(c, in, image);
    memcpy(image + LEGACY_BYTES, &saved, 8);
    memcpy(image + LEGACY_BYTES + 8, &xcomp_bv, 8);
    return write_part(c, in, image, LEGACY_BYTES, 16) && write_components(c, in, image, saved, saved & COMP_SSE);
}

bool in_xsavec(struct vcpu *c, const struct insn *in) { return save_compacted(c, in); }
bool in_xsaves(struct vcpu *c, const struct insn *in) { return save_compacted(c, in); }

/* --- XRSTOR --- */

/* SDM 1 13.8.1, 13.12: what a header may hold. */
static bool header_valid(const struct vcpu *c, const u8 header[HEADER_BYTES], bool must_compact)
{
    u64 xstate_bv, xcomp_bv, rest = 0;
    memcpy(&xstate_bv, header, 8);
    memcpy(&xcomp_bv, header + 8, 8);
    if (!(xcomp_bv & XCOMP_COMPACT)) {
        memcpy(&rest, header + 16, 8);
        return !must_compact && !(xstate_bv & ~c->xcr0) && !xcomp_bv && !rest;
    }
    for (unsigned i = 16; i < HEADER_BYTES; i++)
        rest |= header[i];
    return !(xcomp_bv & ~XCOMP_COMPACT & ~c->xcr0) && !(xstate_bv & ~xcomp_bv) && !rest &&
           !(xstate_bv & XCOMP_COMPACT);
}

static void load_x87(struct vcpu *c, const u8 *image, bool present, bool wide)
{
    if (present) {
        get_x87(c, image, wide);
        return;
    }
    x87_init(c);
    memset(c->x87.r, 0, sizeof(c->x87.r));
}

static bool restore(struct vcpu *c, const struct insn *in, bool must_compact)
{
    u8 image[IMAGE_MAX] = { 0 };
    u64 rfbm = requested(c), ea = operand_ea(c, in), xstate_bv, xcomp_bv;
    if (!check_xsave(c, in, ACCESS_READ) ||
        !mem_read_buf(c, in->seg, ea + LEGACY_BYTES, image + LEGACY_BYTES, HEADER_BYTES))
        return false;
    if (!header_valid(c, image + LEGACY_BYTES, must_compact))
        return cpu_fault_code(c, EXC_GP, 0);
    memcpy(&xstate_bv, image + LEGACY_BYTES, 8);
    memcpy(&xcomp_bv, image + LEGACY_BYTES + 8, 8);
    const bool compact = xcomp_bv & XCOMP_COMPACT;
    const u64 load = rfbm & xstate_bv;
    if (!mem_read_buf(c, in->seg, ea, image, LEGACY_BYTES) ||
        (load & COMP_AVX && !mem_read_buf(c, in->seg, ea + IMAGE_AVX, image + IMAGE_AVX, AVX_BYTES)))
        return false;
    /* MXCSR goes with SSE in the compacted format; in the standard one it is loaded even if SSE is initialized */
    const bool mxcsr = compact ? load & COMP_SSE : rfbm & (COMP_SSE | COMP_AVX);
    if (mxcsr && get_mxcsr(image) & ~(u32)MXCSR_VALID)
        return cpu_fault_code(c, EXC_GP, 0);
    if (rfbm & COMP_X87)
        load_x87(c, image, load & COMP_X87, in->rex_w);
    if (mxcsr)
        c->mxcsr = get_mxcsr(image);
    else if (compact && rfbm & COMP_SSE)
        c->mxcsr = MXCSR_INIT;
    if (!(load & COMP_SSE))
        memset(image + IMAGE_XMM, 0, 256);
    if (rfbm & COMP_SSE)
        get_xmm(c, image);
    if (rfbm & COMP_AVX)
        get_avx(c, image + IMAGE_AVX);      /* zeros unless it was loaded */
    return true;
}

bool in_xrstor(struct vcpu *c, const struct insn *in) { return restore(c, in, false); }
bool in_xrstors(struct vcpu *c, const struct insn *in) { return restore(c, in, true); }

/* --- MXCSR --- */

bool in_ldmxcsr(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!operand_read(c, in, 0, &v))
        return false;
    if (v & ~(u64)MXCSR_VALID)
        return cpu_fault_code(c, EXC_GP, 0);
    c->mxcsr = (u32)v;
    return true;
}

bool in_stmxcsr(struct vcpu *c, const struct insn *in) { return operand_write(c, in, 0, c->mxcsr); }
