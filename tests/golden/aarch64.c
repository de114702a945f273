/* aarch64.c - operands of the AArch64 backend's code.
 *
 * Addresses in struct vcpu that are too far for one instruction are made in steps: those registers are followed.
 */
#include "tests/golden/golden.h"

#include <stdlib.h>
#include <string.h>

#include "jit/aarch64/emit.h"

csh host_open(void)
{
    csh h;
    if (cs_open(CS_ARCH_ARM64, CS_MODE_ARM, &h) != CS_ERR_OK)
        return 0;
    cs_option(h, CS_OPT_DETAIL, CS_OPT_ON);
    cs_option(h, CS_OPT_SKIPDATA, CS_OPT_ON);       /* what it does not know has no detail: newer() */
    return h;
}

bool host_branch(const cs_insn *in, u64 *target)
{
    if (!in->detail)
        return false;
    const cs_arm64 *a = &in->detail->arm64;
    switch (in->id) {
    case ARM64_INS_ADR: case ARM64_INS_B: case ARM64_INS_BL: case ARM64_INS_CBZ: case ARM64_INS_CBNZ: case ARM64_INS_TBZ: case ARM64_INS_TBNZ: break;
    default: return false;
    }
    if (!a->op_count || a->operands[a->op_count - 1].type != ARM64_OP_IMM)
        return false;
    *target = (u64)a->operands[a->op_count - 1].imm;
    return true;
}

/* Registers that hold an address in struct vcpu: its offset. */
static struct { bool known; u64 offset; } held[32];
static int number(arm64_reg r)
{
    if (r >= ARM64_REG_X0 && r <= ARM64_REG_X28)
        return (int)(r - ARM64_REG_X0);
    return r == ARM64_REG_X29 ? 29 : r == ARM64_REG_X30 ? 30 : r >= ARM64_REG_W0 && r <= ARM64_REG_W30 ? (int)(r - ARM64_REG_W0) : 31;
}

static bool is_store(const cs_insn *in) { return !strncmp(in->mnemonic, "st", 2); }
static bool is_reg(const cs_arm64_op *o) { return o->type == ARM64_OP_REG; }

/* ADD d, n, immediate, where n is known: *offset of d. Or d, n, m. */
static bool adds_to_known(const cs_insn *in, u64 *offset, bool *by_imm)
{
    const cs_arm64 *a = &in->detail->arm64;
    if (in->id != ARM64_INS_ADD || a->op_count != 3 || !is_reg(&a->operands[1]))
        return false;
    const int n = number(a->operands[1].reg);
    *by_imm = a->operands[2].type == ARM64_OP_IMM;
    if (*by_imm && held[n].known) {
        *offset = held[n].offset + ((u64)a->operands[2].imm << (a->operands[2].shift.type ? a->operands[2].shift.value : 0));
        return true;
    }
    if (is_reg(&a->operands[2]) && number(a->operands[2].reg) == VCPU) {
        *offset = 0;
        return true;
    }
    return false;
}

/* Instructions of ARMv8.1 to v8.5 that Capstone 4 does not know. */
static void newer(const cs_insn *in, char *to, size_t room)
{
    static const struct { u32 mask, bits; const char *name; } atomic[] = {
        { 0x3fe0fc00, 0x38e00000, "ldaddal" }, { 0x3fe0fc00, 0x38e01000, "ldclral" }, { 0x3fe0fc00, 0x38e02000, "ldeoral" },
        { 0x3fe0fc00, 0x38e03000, "ldsetal" }, { 0x3fe0fc00, 0x38e08000, "swpal" }, { 0x3fe0fc00, 0x08e0fc00, "casal" },
    };
    u32 w;
    memcpy(&w, in->bytes, sizeof w);
    const unsigned s = w >> 16 & 31, n = w >> 5 & 31, t = w & 31;
    const char x = w >> 30 == 3 ? 'x' : 'w', *const size[4] = { "b", "h", "", "" };
    for (unsigned i = 0; i < ARRAY_LEN(atomic); i++) {
        char source[8];
        if ((w & atomic[i].mask) != atomic[i].bits)
            continue;
        if (s == 31)
            snprintf(source, sizeof source, "%czr", x);
        else
            snprintf(source, sizeof source, "%c%u", x, s);
        snprintf(to, room, "%s%s %s, %c%u, [x%u]", atomic[i].name, size[w >> 30], source, x, t, n);
        return;
    }
    if (w == 0xd500401f)
        snprintf(to, room, "cfinv");
    else if ((w & 0xffe07c10) == 0xba000400)
        snprintf(to, room, "rmif x%u, #%u, #%u", n, w >> 15 & 63, w & 15);
    else
        snprintf(to, room, ".word 0x%08x", w);
}

void host_text(csh h, const cs_insn *in, bool first, char *to, size_t room)
{
    if (!in->detail) {
        newer(in, to, room);
        return;
    }
    const cs_arm64 *a = &in->detail->arm64;
    char name[100], text[160];
    u64 offset = 0;
    bool by_imm = false;
    if (first)
        memset(held, 0, sizeof held);
    held[VCPU].known = held[SITES].known = true;
    held[SITES].offset = offsetof(struct vcpu, mmu.site);
    snprintf(text, sizeof text, in->op_str[0] ? "%s %s" : "%s", in->mnemonic, in->op_str);
    for (unsigned i = 0; i < a->op_count; i++) {
        const cs_arm64_op *o = &a->operands[i];
        if (o->type == ARM64_OP_MEM && held[number(o->mem.base)].known) {
            text_field(name, sizeof name, held[number(o->mem.base)].offset + (u64)(s64)o->mem.disp);
            text_brackets(text, sizeof text, name);
        }
    }
    const bool adds = adds_to_known(in, &offset, &by_imm);
    if (in->id == ARM64_INS_LDR && a->op_count == 2 && a->operands[1].type == ARM64_OP_IMM)
        snprintf(strchr(text, ',') + 1, 20, " <data>");
    if (adds && by_imm)
        snprintf(strchr(text, '#'), 20, "<part of vcpu>");
    if (a->op_count && is_reg(&a->operands[0]) && !is_store(in) && number(a->operands[0].reg) != 31) {
        held[number(a->operands[0].reg)].known = adds;
        held[number(a->operands[0].reg)].offset = offset;
    }
    snprintf(to, room, "%s", text);
}

/* MOVZ, then MOVKs. */
unsigned host_pointer(const cs_insn *in, size_t n, char *to, size_t room)
{
    if (!in->detail)
        return 0;
    const cs_arm64_op *o = in->detail->arm64.operands;
    if ((in->id != ARM64_INS_MOV && in->id != ARM64_INS_MOVZ) || o[1].type != ARM64_OP_IMM)
        return 0;
    const arm64_reg reg = o[0].reg;
    u64 v = (u64)o[1].imm << (o[1].shift.type ? o[1].shift.value : 0);
    unsigned count = 1;
    for (; count < n && in[count].id == ARM64_INS_MOVK; count++) {
        const cs_arm64_op *k = in[count].detail->arm64.operands;
        const unsigned shift = k[1].shift.type ? k[1].shift.value : 0;
        if (k[0].reg != reg)
            break;
        v = (v & ~((u64)0xffff << shift)) | (u64)k[1].imm << shift;
    }
    if (!text_is_pointer(v))
        return 0;
    snprintf(to, room, "mov x%d, <pointer>", number(reg));
    return count;
}
