/* debugregs.c - breakpoints, single-stepping and the shadows of STI and MOV SS, SDM 3B chapter 18 (debug) and 3A 6.8.3.
 *
 * Traps (data and I/O breakpoints, BS of single-stepping, BT of task switches) collect in dr6_pending and become one #DB
 * at the next boundary that MOV SS does not hold back (interrupt.c). Instruction breakpoints and DR7.GD are faults.
 * What the interpreter has to call and when stands in vcpu.h.
 */
#include "cpu/vcpu.h"

enum dr7_rw { RW_EXEC, RW_WRITE, RW_IO, RW_ACCESS };

static bool dr7_enabled(const struct vcpu *c, unsigned i) { return c->dr[7] >> (2 * i) & 3; }
static unsigned dr7_rw(const struct vcpu *c, unsigned i) { return c->dr[7] >> (16 + 4 * i) & 3; }

static unsigned dr7_len(const struct vcpu *c, unsigned i)
{
    static const u8 len[] = { 1, 2, 8, 4 };
    return len[c->dr[7] >> (18 + 4 * i) & 3];
}

/* The B bits of all enabled breakpoints of a kind that [a, a + bytes) touches. */
static u64 matches(const struct vcpu *c, u64 a, unsigned bytes, unsigned kinds)
{
    u64 hit = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned len = dr7_rw(c, i) == RW_EXEC ? 1 : dr7_len(c, i);
        u64 start = c->dr[i] & ~(u64)(len - 1);
        if (dr7_enabled(c, i) && kinds >> dr7_rw(c, i) & 1 && a <= start + (len - 1) && start <= a + (bytes - 1))
            hit |= 1u << i;
    }
    return hit;
}

void debug_raise(struct vcpu *c, u64 dr6)
{
    c->dr6_pending |= dr6;
    cpu_raise(c, PEND_TRAP);
}

void debug_data(struct vcpu *c, gla a, unsigned bytes, bool write)
{
    if (c->watching)
        debugger_data(c, a, bytes, write);
    u64 hit = matches(c, a, bytes, 1 << RW_ACCESS | (write ? 1 << RW_WRITE : 0));
    if (hit)
        debug_raise(c, hit);
}

void debug_io(struct vcpu *c, u16 port, unsigned bytes)
{
    if (!(c->cr4 & CR4_DE) || !(c->dr[7] & 0xff))
        return;
    u64 hit = matches(c, port, bytes, 1 << RW_IO);
    if (hit)
        debug_raise(c, hit);
}

void debug_clear_step(struct vcpu *c) { c->dr6_pending &= ~(u64)DR6_BS; }

bool debug_step_begin(struct vcpu *c)
{
    bool resume = c->eflags & EFL_RF || c->shadow == SHADOW_MOV_SS;
    c->shadow = SHADOW_NONE;
    c->eflags &= ~(u32)EFL_RF;
    if (c->dr[7] & 0xff && !resume) {
        gla a = in_64bit_mode(c) ? c->rip : (u32)(c->seg[SEG_CS].base + c->rip);
        u64 hit = matches(c, a, 1, 1 << RW_EXEC);
        if (hit) {
            c->dr6_pending = 0;
            debug_note(c, hit);
            return cpu_fault(c, EXC_DB);
        }
    }
    if (c->eflags & EFL_TF)
        debug_raise(c, DR6_BS);
    return true;
}

void debug_note(struct vcpu *c, u64 dr6)
{
    c->dr[6] = (c->dr[6] & ~(u64)0xf) | dr6 | 0xffff0ff0;
    c->dr[7] &= ~(u64)DR7_GD;
}
