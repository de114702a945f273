/* compare.c - one case in both worlds, and what is shown where they differ: bytes, disassembly, both states, the
 * command that runs the case again. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/native/native.h"

static char text[32768];
static size_t used;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (used < sizeof(text) - 1)
        used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, args);
    va_end(args);
    if (used > sizeof(text) - 1)
        used = sizeof(text) - 1;
}

static void say_hex(const u8 *p, unsigned bytes)
{
    for (unsigned k = bytes; k--;)
        say("%02x%s", p[k], k % 8 || !k ? "" : "'");
}

static bool differ(const char *what, int index, const void *before, const void *host, const void *ours, unsigned bytes)
{
    char name[24];
    if (!memcmp(host, ours, bytes))
        return false;
    snprintf(name, sizeof(name), index < 0 ? "%s" : "%s%d", what, index);
    say("  %-8s before ", name);
    say_hex(before, bytes);
    say("\n           host   ");
    say_hex(host, bytes);
    say("\n           ours   ");
    say_hex(ours, bytes);
    say("\n");
    return true;
}

static bool compare_memory(const u8 *host, const u8 *ours)
{
    bool bad = false;
    if (!memcmp(host, ours, DATA_BYTES))
        return false;
    for (unsigned i = 0; i < DATA_BYTES; i += 16) {
        char name[24];
        snprintf(name, sizeof(name), "[%x]", DATA_AT + i);
        bad |= differ(name, -1, case_memory + i, host + i, ours + i, 16);
    }
    return bad;
}

static bool compare(const struct test_case *t, const struct native_state *host, const struct native_state *ours)
{
    static const char *const regs[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    static const char *const sregs[] = { "es", "cs", "ss", "ds", "fs", "gs" };
    const struct native_state *b = &t->before;
    bool bad = false;
    used = 0;
    if (host->vector != ours->vector || host->error != ours->error || host->cr2 != ours->cr2) {
        say("  fault    host   vector %d error %x cr2 %llx\n           ours   vector %d error %x cr2 %llx\n",
            host->vector, host->error, (unsigned long long)host->cr2, ours->vector, ours->error,
            (unsigned long long)ours->cr2);
        bad = true;
    }
    for (unsigned i = 0; i < 16; i++)
        bad |= differ(regs[i], -1, &b->gpr[i], &host->gpr[i], &ours->gpr[i], 8);
    bad |= differ("rip", -1, &b->rip, &host->rip, &ours->rip, 8);
    bad |= differ("rflags", -1, &b->rflags, &host->rflags, &ours->rflags, 4);
    for (unsigned i = 0; i < 6; i++)
        bad |= differ(sregs[i], -1, &b->sel[i], &host->sel[i], &ours->sel[i], 2);
    bad |= differ("fsbase", -1, &b->fsbase, &host->fsbase, &ours->fsbase, 8);
    bad |= differ("gsbase", -1, &b->gsbase, &host->gsbase, &ours->gsbase, 8);
    if (memcmp(host->fx, ours->fx, 512)) {
        bad |= differ("fcw", -1, b->fx + FX_FCW, host->fx + FX_FCW, ours->fx + FX_FCW, 2);
        bad |= differ("fsw", -1, b->fx + FX_FSW, host->fx + FX_FSW, ours->fx + FX_FSW, 2);
        bad |= differ("ftw", -1, b->fx + FX_FTW, host->fx + FX_FTW, ours->fx + FX_FTW, 1);
        bad |= differ("fop", -1, b->fx + FX_FOP, host->fx + FX_FOP, ours->fx + FX_FOP, 2);
        bad |= differ("fip", -1, b->fx + FX_FIP, host->fx + FX_FIP, ours->fx + FX_FIP, 8);
        bad |= differ("fdp", -1, b->fx + FX_FDP, host->fx + FX_FDP, ours->fx + FX_FDP, 8);
        bad |= differ("mxcsr", -1, b->fx + FX_MXCSR, host->fx + FX_MXCSR, ours->fx + FX_MXCSR, 4);
        for (int i = 0; i < 8; i++)
            bad |= differ("st", i, b->fx + FX_ST + 16 * i, host->fx + FX_ST + 16 * i, ours->fx + FX_ST + 16 * i, 10);
        for (int i = 0; i < 16; i++)
            bad |=
                differ("xmm", i, b->fx + FX_XMM + 16 * i, host->fx + FX_XMM + 16 * i, ours->fx + FX_XMM + 16 * i, 16);
    }
    for (int i = 0; i < 16; i++)
        bad |= differ("ymmh", i, b->ymmh[i], host->ymmh[i], ours->ymmh[i], 16);
    return bad | compare_memory(host_data, guest_data);
}

static void say_before(const struct test_case *t)
{
    const struct native_state *s = &t->before;
    say("  before:\n");
    for (unsigned i = 0; i < (t->mode == 8 ? 16 : 8); i++)
        say("  r%-2u %016llx%s", i, (unsigned long long)s->gpr[i], i % 4 == 3 ? "\n" : "");
    say("  rip %llx rflags %06llx es %04x cs %04x ss %04x ds %04x fs %04x gs %04x fsbase %llx gsbase %llx\n",
        (unsigned long long)s->rip, (unsigned long long)s->rflags, s->sel[0], s->sel[1], s->sel[2], s->sel[3],
        s->sel[4], s->sel[5], (unsigned long long)s->fsbase, (unsigned long long)s->gsbase);
    say("  fcw %02x%02x fsw %02x%02x ftw %02x mxcsr %02x%02x\n", s->fx[1], s->fx[0], s->fx[3], s->fx[2], s->fx[4],
        s->fx[25], s->fx[24]);
    for (unsigned i = 0; i < 4 && t->status == DECODE_OK; i++) {
        const struct operand *o = &t->in.op[i];
        if (o->kind == OP_VEC) {
            say("  ymm%-2u ", o->reg);
            say_hex(s->ymmh[o->reg], 16);
            say("'");
            say_hex(s->fx + FX_XMM + 16 * o->reg, 16);
            say("\n");
        }
        if (o->kind == OP_ST || o->kind == OP_MMX) {
            say("  st%-2u ", o->reg);
            say_hex(s->fx + FX_ST + 16 * o->reg, 10);
            say("\n");
        }
    }
    if (t->operand) {
        say("  operand at %llx", (unsigned long long)t->operand);
        if (t->operand - DATA_AT <= DATA_BYTES - 32) {
            say(": ");
            say_hex(case_memory + (t->operand - DATA_AT), 32);
        }
        say("\n");
    }
}

static void print_difference(const struct test_case *t)
{
    char dis[128] = "(no instruction)";
    if (t->status == DECODE_OK)
        insn_print(dis, sizeof(dis), &t->in, t->before.rip);
    say_before(t);
    printf("%u-bit: %s  [", t->mode * 8, dis);
    for (unsigned i = 0; i < t->length; i++)
        printf("%s%02x", i ? " " : "", t->bytes[i]);
    printf("]%s\n%s  again: native-diff -mode %u -case %u:%llu\n", t->step ? " with TF" : "", text, t->mode * 8, t->row,
           (unsigned long long)t->number);
}

bool case_run(struct test_case *t, bool print)
{
    static struct native_state host, ours;
    host = ours = t->before;
    memcpy(host_data, case_memory, DATA_BYTES);
    memcpy(guest_data, case_memory, DATA_BYTES);
    const bool exists = t->status == DECODE_OK;
    host_run(&host, t->bytes, exists ? t->in.len : 16, t->step || !exists);
    guest_run(&ours, t);
    rules_forgive(t, &ours, &host, guest_data, host_data);
    const bool bad = compare(t, &host, &ours);
    if (bad && print)
        print_difference(t);
    return !bad;
}
