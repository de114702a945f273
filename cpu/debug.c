/* debug.c - what a debugger or the monitor asks of a vCPU that stands still. Changes no guest state. */
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/vcpu.h"

bool cpu_translate(struct vcpu *c, gla a, gpa *pa) { return mmu_translate_debug(&c->mmu, a, pa); }

/* Reads guest linear memory; returns how many bytes could be read. */
static unsigned read_linear(struct vcpu *c, gla a, u8 *buf, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        gpa pa;
        if (!mmu_translate_debug(&c->mmu, a + i, &pa))
            return i;
        physmap_read(c->mmu.phys, pa, buf + i, 1);
    }
    return bytes;
}

unsigned cpu_disassemble(struct vcpu *c, gla a, char *buf, size_t size)
{
    u8 bytes[15];
    struct insn in;
    unsigned got = read_linear(c, a, bytes, sizeof bytes);
    if (insn_decode(&in, bytes, got, c->code_size, NULL) != DECODE_OK) {
        snprintf(buf, size, got ? "(bad)" : "(not mapped)");
        return 1;
    }
    insn_print(buf, size, &in, a);
    return in.len;
}

gla cpu_pc(const struct vcpu *c)
{
    gla a = c->rip + (c->code_size == 8 ? 0 : c->seg[SEG_CS].base);
    return c->code_size == 8 ? a : (u32)a;
}
