/* x86_64.c - operands of the x86-64 backend's code.
 */
#include "tests/golden/golden.h"

#include <string.h>

#include "jit/x86_64/emit.h"

csh host_open(void)
{
    csh h;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &h) != CS_ERR_OK)
        return 0;
    cs_option(h, CS_OPT_DETAIL, CS_OPT_ON);
    return h;
}

bool host_branch(const cs_insn *in, u64 *target)
{
    const cs_x86 *x = &in->detail->x86;
    const bool call = in->id == X86_INS_CALL || in->id == X86_INS_JMP || in->id == X86_INS_JRCXZ || in->id == X86_INS_JECXZ;
    const bool jcc = in->mnemonic[0] == 'j' && x->op_count == 1;
    if (!(call || jcc) || x->op_count != 1 || x->operands[0].type != X86_OP_IMM)
        return false;
    *target = (u64)x->operands[0].imm;
    return true;
}

static void memory(csh h, const x86_op_mem *m, char *text, size_t room)
{
    char name[100];
    if (m->base == X86_REG_RIP) {
        text_brackets(text, room, "<data>");
        return;
    }
    if (m->base != X86_REG_RBP)
        return;
    text_field(name, sizeof name, (u64)(m->disp + VCPU_BIAS));
    if (m->index != X86_REG_INVALID) {
        const size_t n = strlen(name);
        snprintf(name + n, sizeof name - n, " + %s*%d", cs_reg_name(h, m->index), m->scale);
    }
    text_brackets(text, room, name);
}

void host_text(csh h, const cs_insn *in, bool first, char *to, size_t room)
{
    const cs_x86 *x = &in->detail->x86;
    snprintf(to, room, in->op_str[0] ? "%s %s" : "%s", in->mnemonic, in->op_str);
    for (unsigned i = 0; i < x->op_count; i++)
        if (x->operands[i].type == X86_OP_MEM)
            memory(h, &x->operands[i].mem, to, room);
}

unsigned host_pointer(const cs_insn *in, size_t n, char *to, size_t room)
{
    const cs_x86 *x = &in->detail->x86;
    if ((in->id != X86_INS_MOVABS && in->id != X86_INS_MOV) || x->op_count != 2 || x->operands[0].type != X86_OP_REG ||
        x->operands[1].type != X86_OP_IMM || !text_is_pointer((u64)x->operands[1].imm))
        return 0;
    snprintf(to, room, "%s", in->op_str);
    *strchr(to, ',') = 0;
    const size_t used = strlen(to);
    memmove(to + 4, to, used + 1);
    memcpy(to, "mov ", 4);
    snprintf(to + 4 + used, room - 4 - used, ", <pointer>");
    return 1;
}
