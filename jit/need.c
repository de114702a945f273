/* need.c - before and after floating-point state is in the host's registers.
 *
 * jit_need decides whether a unit of the guest's CPU may be used by translated code, which then runs the guest's
 * instructions as they are. So every check that the interpreter makes before such an instruction must pass once and for
 * all (CR0, CR4 and XCR0 change only outside), and no host exception may come of it: all exceptions are masked, none is
 * pending. Otherwise the instruction is the interpreter's. SDM 3A 2.5, 13.1; SDM 2A 2.4; SDM 1 8.7, 11.5.
 *
 * The x87 goes to the host's registers and comes back in the image of FRSTOR and FNSAVE, 32-bit protected-mode layout
 * (SDM 1 figure 8-9), but for the pointers to the last instruction and its operand. The host's would tell of our own code,
 * if it keeps them at all. Translated code notes instead, per x87 instruction, a constant (place in the unit's page and FOP),
 * and the operand's offset where there is one; from that and from what cannot change while the state is loaded (CS, the
 * data segments) FIP, FCS, FOP, FDP and FDS are made when it is stored.
 */
#include <string.h>

#include "cpu/fpu.h"
#include "jit/backend.h"

enum { IMAGE_CW = 0, IMAGE_SW = 4, IMAGE_TW = 8, IMAGE_POINTERS = 12, IMAGE_ST = 28, IMAGE_BYTES = 108, ST_BYTES = 10 };

static void put16(u8 *p, unsigned v)
{
    const u32 word = v | 0xffff0000;        /* reserved halves are ones */
    memcpy(p, &word, 4);
}
static u16 get16(const u8 *p)
{
    u16 v;
    memcpy(&v, p, 2);
    return v;
}

/* --- into the host's registers ------------------------------------------------------------------------------------ */

static bool sse_usable(const struct vcpu *c)
{
    return !(c->cr0 & (CR0_EM | CR0_TS)) && c->cr4 & CR4_OSFXSR && (c->mxcsr & MXCSR_MASKS) == MXCSR_MASKS;
}

/* The legacy instructions' conditions too: registers that are loaded serve both. */
static bool avx_usable(const struct vcpu *c)
{
    return sse_usable(c) && in_protected_mode(c) && c->cr4 & CR4_OSXSAVE && (c->xcr0 & 6) == 6;
}

static bool x87_usable(const struct vcpu *c)
{
    return !(c->cr0 & (CR0_EM | CR0_TS)) && !(c->x87.sw & X87_ES) && (c->x87.cw & FP_ALL) == FP_ALL;
}

/* Zero and special values need no tag of their own: FRSTOR looks at the contents. */
static unsigned tag_word(u8 empty)
{
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; i++)
        tags |= (empty >> i & 1 ? 3u : 0u) << 2 * i;
    return tags;
}

static void x87_to_image(struct vcpu *c)
{
    u8 *image = c->jit.x87_image;
    memset(image + IMAGE_POINTERS, 0, IMAGE_ST - IMAGE_POINTERS);
    put16(image + IMAGE_CW, c->x87.cw);
    put16(image + IMAGE_SW, c->x87.sw);
    put16(image + IMAGE_TW, tag_word(c->x87.empty));
    for (unsigned i = 0; i < 8; i++) {
        const struct f80 v = x87_get(c, i);
        memcpy(image + IMAGE_ST + ST_BYTES * i, &v.mant, 8);
        memcpy(image + IMAGE_ST + ST_BYTES * i + 8, &v.se, 2);
    }
    c->jit.x87_note = X87_NOTE_NONE;
    c->jit.x87_seg = 0;
}

bool jit_need(struct vcpu *c, unsigned kind)
{
    static_assert(sizeof(c->jit.x87_image) >= IMAGE_BYTES, "FNSAVE's image");
    switch (kind) {
    case IR_NEED_SSE: return sse_usable(c);
    case IR_NEED_AVX: return avx_usable(c);
    default:
        if (!x87_usable(c))
            return false;
        x87_to_image(c);
        return true;
    }
}

/* --- and back ----------------------------------------------------------------------------------------------------- */

static void fold_operand(struct vcpu *c)
{
    const u32 seg = c->jit.x87_seg, size = seg >> X87_SEG_SIZE & 15;
    if (!(seg & X87_SEG))
        return;
    c->x87.fdp = size == 8 ? c->jit.x87_ea : size == 4 ? (u32)c->jit.x87_ea : (u16)c->jit.x87_ea;
    c->x87.fds = c->seg[seg & 7].sel;
}

/* What translated code noted of the last x87 instruction. */
static void fold_notes(struct vcpu *c)
{
    const u32 note = c->jit.x87_note;
    if (note == X87_NOTE_NONE)
        return;
    const u64 ip = c->jit.x87_pc + (u64)(s64)((s32)note >> X87_NOTE_FOP);
    c->x87.fip = c->code_size == 8 ? ip : (u32)ip;
    c->x87.fop = note & ((1u << X87_NOTE_FOP) - 1);
    c->x87.fcs = c->seg[SEG_CS].sel;
    fold_operand(c);
    c->jit.x87_note = X87_NOTE_NONE;
    c->jit.x87_seg = 0;
}

void jit_x87_saved(struct vcpu *c)
{
    const u8 *image = c->jit.x87_image;
    c->x87.cw = get16(image + IMAGE_CW);
    c->x87.sw = get16(image + IMAGE_SW);
    x87_set_tag_word(c, get16(image + IMAGE_TW));
    for (unsigned i = 0; i < 8; i++) {
        struct f80 *r = &c->x87.r[x87_phys(c, i)];
        memcpy(&r->mant, image + IMAGE_ST + ST_BYTES * i, 8);
        memcpy(&r->se, image + IMAGE_ST + ST_BYTES * i + 8, 2);
    }
    fold_notes(c);
}

/* Transcendental instructions and the like stand among others that the host executes: the state goes back at once, which saves
 * the way through jit_need. */
bool jit_interp_x87(struct vcpu *c, const struct code_call *call)
{
    const u8 loaded = c->jit.x87_state;
    c->jit.x87_state = 0;
    if (loaded)
        jit_x87_saved(c);
    if (!jit_interp(c, call))
        return false;
    if (loaded && x87_usable(c)) {
        x87_to_image(c);
        c->jit.x87_state = loaded;
    }
    return true;
}
