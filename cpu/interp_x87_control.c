/* interp_x87_control.c - x87 control: control, status and tag words, environment and state images, FWAIT, and the
 * instructions of 8087 and 80287 that later FPUs take as no-operations.
 *
 * An environment has four layouts, by operand size and by protected or real (and virtual-8086) mode: the latter hold
 * linear addresses and the opcode instead of selectors. SDM 1 8.1.10, figures 8-9 to 8-12.
 */
#include "cpu/fpu.h"
#include "cpu/interp.h"
#include "cpu/operand.h"

enum { ENV16 = 14, ENV32 = 28, STACK_BYTES = 80, IMAGE_MAX = ENV32 + STACK_BYTES };

static bool protected_layout(const struct vcpu *c) { return in_protected_mode(c); }
static unsigned env_bytes(const struct insn *in) { return in->opsize == 2 ? ENV16 : ENV32; }

static void put16(u8 *p, u32 v)
{
    u16 w = (u16)v;
    memcpy(p, &w, 2);
}
static void put32(u8 *p, u32 v) { memcpy(p, &v, 4); }
static u16 get16(const u8 *p)
{
    u16 v;
    memcpy(&v, p, 2);
    return v;
}
static u32 get32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}

static void env16_pack(const struct vcpu *c, u8 *p)
{
    const struct x87 *x = &c->x87;
    put16(p, x->cw);
    put16(p + 2, x->sw);
    put16(p + 4, x87_tag_word(c));
    if (protected_layout(c)) {
        put16(p + 6, (u32)x->fip);
        put16(p + 8, x->fcs);
        put16(p + 10, (u32)x->fdp);
        put16(p + 12, x->fds);
        return;
    }
    u32 ip = (u32)x->fip + ((u32)x->fcs << 4), dp = (u32)x->fdp + ((u32)x->fds << 4);
    put16(p + 6, ip);
    put16(p + 8, (ip >> 16 & 15) << 12 | x->fop);
    put16(p + 10, dp);
    put16(p + 12, (dp >> 16 & 15) << 12);
}

/* Reserved halves read as ones. */
static void env32_pack(const struct vcpu *c, u8 *p)
{
    const struct x87 *x = &c->x87;
    const u32 ones = 0xffff0000;
    put32(p, ones | x->cw);
    put32(p + 4, ones | x->sw);
    put32(p + 8, ones | x87_tag_word(c));
    if (protected_layout(c)) {
        put32(p + 12, (u32)x->fip);
        put32(p + 16, (u32)x->fop << 16 | x->fcs);
        put32(p + 20, (u32)x->fdp);
        put32(p + 24, ones | x->fds);
        return;
    }
    u32 ip = (u32)x->fip + ((u32)x->fcs << 4), dp = (u32)x->fdp + ((u32)x->fds << 4);
    put32(p + 12, ones | (ip & 0xffff));
    put32(p + 16, (ip >> 16) << 12 | x->fop);
    put32(p + 20, ones | (dp & 0xffff));
    put32(p + 24, (dp >> 16) << 12);
}

static void env_pack(const struct vcpu *c, const struct insn *in, u8 *p)
{
    if (in->opsize == 2)
        env16_pack(c, p);
    else
        env32_pack(c, p);
}

static void unpack_pointers16(struct vcpu *c, const u8 *p)
{
    struct x87 *x = &c->x87;
    bool prot = protected_layout(c);
    x->fip = get16(p + 6) | (prot ? 0 : (u32)(get16(p + 8) >> 12) << 16);
    x->fcs = prot ? get16(p + 8) : 0;
    x->fdp = get16(p + 10) | (prot ? 0 : (u32)(get16(p + 12) >> 12) << 16);
    x->fds = prot ? get16(p + 12) : 0;
    if (!prot)
        x->fop = get16(p + 8) & 0x7ff;
}

static void unpack_pointers32(struct vcpu *c, const u8 *p)
{
    struct x87 *x = &c->x87;
    if (protected_layout(c)) {
        x->fip = get32(p + 12);
        x->fcs = get16(p + 16);
        x->fop = get16(p + 18) & 0x7ff;
        x->fdp = get32(p + 20);
        x->fds = get16(p + 24);
        return;
    }
    x->fip = get16(p + 12) | (get32(p + 16) >> 12 & 0xffff) << 16;
    x->fop = get16(p + 16) & 0x7ff;
    x->fdp = get16(p + 20) | (get32(p + 24) >> 12 & 0xffff) << 16;
    x->fcs = x->fds = 0;
}

static void env_unpack(struct vcpu *c, const struct insn *in, const u8 *p)
{
    unsigned step = in->opsize == 2 ? 2 : 4;
    c->x87.cw = (get16(p) & X87_CW_WRITABLE) | X87_CW_FIXED;
    c->x87.sw = get16(p + step);
    x87_set_tag_word(c, get16(p + 2 * step));
    if (in->opsize == 2)
        unpack_pointers16(c, p);
    else
        unpack_pointers32(c, p);
    x87_update_summary(c);
}

bool in_fnstenv(struct vcpu *c, const struct insn *in)
{
    u8 image[ENV32];
    env_pack(c, in, image);
    if (!mem_write_buf(c, in->seg, operand_ea(c, in), image, env_bytes(in)))
        return false;
    c->x87.cw |= FP_ALL;
    x87_update_summary(c);
    return true;
}

bool in_fldenv(struct vcpu *c, const struct insn *in)
{
    u8 image[ENV32];
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), image, env_bytes(in)))
        return false;
    env_unpack(c, in, image);
    return true;
}

bool in_fnsave(struct vcpu *c, const struct insn *in)
{
    u8 image[IMAGE_MAX];
    unsigned env = env_bytes(in);
    env_pack(c, in, image);
    for (unsigned i = 0; i < 8; i++) {
        struct f80 v = x87_get(c, i);
        memcpy(image + env + 10 * i, &v.mant, 8);
        memcpy(image + env + 10 * i + 8, &v.se, 2);
    }
    if (!mem_write_buf(c, in->seg, operand_ea(c, in), image, env + STACK_BYTES))
        return false;
    x87_init(c);
    return true;
}

bool in_frstor(struct vcpu *c, const struct insn *in)
{
    u8 image[IMAGE_MAX];
    unsigned env = env_bytes(in);
    if (!mem_read_buf(c, in->seg, operand_ea(c, in), image, env + STACK_BYTES))
        return false;
    env_unpack(c, in, image);
    for (unsigned i = 0; i < 8; i++) {
        struct f80 *r = &c->x87.r[x87_phys(c, i)];
        memcpy(&r->mant, image + env + 10 * i, 8);
        memcpy(&r->se, image + env + 10 * i + 8, 2);
    }
    return true;
}

bool in_fldcw(struct vcpu *c, const struct insn *in)
{
    u64 v;
    if (!operand_read(c, in, 0, &v))
        return false;
    c->x87.cw = ((u16)v & X87_CW_WRITABLE) | X87_CW_FIXED;
    x87_update_summary(c);
    return true;
}

bool in_fnstcw(struct vcpu *c, const struct insn *in) { return operand_write(c, in, 0, c->x87.cw); }
bool in_fnstsw(struct vcpu *c, const struct insn *in) { return operand_write(c, in, 0, c->x87.sw); }

bool in_fnclex(struct vcpu *c, const struct insn *in)
{
    c->x87.sw &= (u16)~(FP_ALL | X87_SF);
    x87_update_summary(c);
    return true;
}

bool in_fninit(struct vcpu *c, const struct insn *in)
{
    x87_init(c);
    return true;
}

/* WAIT heeds CR0.TS only together with MP, and CR0.EM not at all (SDM 3A table 2-2). */
bool in_fwait(struct vcpu *c, const struct insn *in)
{
    if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        return cpu_fault(c, EXC_NM);
    return fpu_pending_x87(c);
}

bool in_fnop(struct vcpu *c, const struct insn *in)
{
    x87_note(c, in);
    return true;
}

/* FENI, FDISI (8087), FSETPM (80287). */
bool in_fneni(struct vcpu *c, const struct insn *in) { return true; }
bool in_fndisi(struct vcpu *c, const struct insn *in) { return true; }
bool in_fnsetpm(struct vcpu *c, const struct insn *in) { return true; }
