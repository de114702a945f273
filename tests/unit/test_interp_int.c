/* test_interp_int.c - the integer part of the interpreter: flags, operands, stack, near transfers, strings, faults that
 * leave nothing behind, decoded blocks under self-modification, single-stepping, exact instruction counts.
 *
 * Machine code is written as byte strings, its assembly beside it. tests/native compares the arithmetic with the
 * host CPU; here is what that cannot reach: other modes, faults, blocks.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/flags.h"
#include "cpu/interp.h"
#include "cpu/mem.h"
#include "cpu/vcpu.h"

enum { RAM_SIZE = 4 << 20, CODE = 0x10000, DATA = 0x20000, STACK = 0x80000, EDGE = 0x3ffff000 /* the last page that is mapped */ };

static struct ram *ram, *edge;
static struct physmap *phys;
static struct vcpu *c;
static u32 port_value;
static unsigned port_count;

static u32 port_in(void *ctx, u16 port, unsigned bytes) { port_count++; return port_value++; }
static void port_out(void *ctx, u16 port, unsigned bytes, u32 v) { port_count++; port_value = v; }
static void stop(void *ctx) { cpu_request(c, CPU_STOP); }

static void guest_free(void)
{
    if (!c)
        return;
    vcpu_free(c);
    physmap_free(phys);
    ram_free(ram);
    ram_free(edge);
    c = NULL;
}

/* mode: 2 real, 4 flat protected, 8 long mode with 1 GiB identity-mapped. */
static void guest(unsigned mode)
{
    static struct region regions[2];
    static const struct cpu_host host = { .port_in = port_in, .port_out = port_out, .wait = stop, .shutdown = stop, .timer_due = stop };
    char err[256];
    guest_free();
    phys = physmap_new();
    ram = ram_new(RAM_SIZE, err, sizeof err);
    edge = ram_new(PAGE_SIZE, err, sizeof err);
    regions[0] = (struct region){ .name = "ram", .size = RAM_SIZE, .kind = REGION_RAM, .enabled = true, .ram = ram };
    regions[1] = (struct region){ .name = "edge", .start = EDGE, .size = PAGE_SIZE, .kind = REGION_RAM, .enabled = true, .ram = edge };
    physmap_add(phys, &regions[0]);
    physmap_add(phys, &regions[1]);
    c = vcpu_new(NULL, phys, &host, NULL, err, sizeof err);
    ck_assert_msg(c != NULL, "%s", err);
    if (mode == 2) {
        segment_set_real(c, SEG_CS, CODE >> 4);
        segment_refresh(c);
        c->rsp = 0x8000;
        return;
    }
    struct cpu_flat_start s = { .eip = CODE, .esp = STACK, .cs = 8, .ds = 16 };
    cpu_start_flat(c, &s);
    if (mode != 8)
        return;
    u64 pml4 = 0x2007, pdpt = 0x87;
    memcpy(ram->base + 0x1000, &pml4, 8);
    memcpy(ram->base + 0x2000, &pdpt, 8);
    c->cr0 |= CR0_PG;
    c->cr4 |= CR4_PAE;
    c->cr3 = 0x1000;
    c->efer |= EFER_LME | EFER_LMA;
    c->seg[SEG_CS].attr = (u16)((c->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
    segment_refresh(c);
    sysreg_refresh_mmu(c);
}

static void put(u64 at, const char *bytes, unsigned n) { physmap_write(phys, at, bytes, n); }
#define PUT(at, s) put(at, s, sizeof(s) - 1)

/* Runs the one instruction; -1 or the vector of its fault. */
static int run(const char *bytes, unsigned n)
{
    struct insn in;
    u64 rip = c->rip;
    ck_assert(insn_decode(&in, (const u8 *)bytes, n, c->code_size, c->model.features) == DECODE_OK);
    ck_assert_uint_eq(in.len, n);
    interp_prepare(&in);
    c->rip = rip + n;
    if (interp_run_form(c, &in))
        return -1;
    c->rip = rip;
    return c->exc.vector;
}
#define RUN(s) run(s, sizeof(s) - 1)
#define OK(s) ck_assert_int_eq(RUN(s), -1)
#define FAULTS(s, vector) ck_assert_int_eq(RUN(s), vector)

static u64 peek(u64 at, unsigned n)
{
    u64 v = 0;
    physmap_read(phys, at, &v, n);
    return v;
}
static void poke(u64 at, u64 v, unsigned n) { physmap_write(phys, at, &v, n); }
static u32 status(void) { return (u32)rflags_get(c) & EFL_STATUS; }

/* Runs blocks until exactly n more instructions have run. */
static void run_count(u64 n)
{
    c->icount_limit = c->icount + n;
    cpu_run(c);
    ck_assert_uint_eq(c->icount, c->icount_limit);
    c->icount_limit = UINT64_MAX;
}

/* --- flags --------------------------------------------------------------------------------------------------------- */

START_TEST(flags_round_trip)
{
    guest(4);
    for (unsigned i = 0; i < 64; i++) {
        u32 f = (i & 1 ? EFL_CF : 0) | (i & 2 ? EFL_PF : 0) | (i & 4 ? EFL_AF : 0) | (i & 8 ? EFL_ZF : 0) |
                (i & 16 ? EFL_SF : 0) | (i & 32 ? EFL_OF : 0);
        rflags_set(c, f);
        ck_assert_uint_eq(rflags_get(c), f | EFL_1);
        flags_set_cf(c, !(f & EFL_CF));
        ck_assert_uint_eq(status(), f ^ EFL_CF);
    }
}
END_TEST

START_TEST(flags_conditions)
{
    static const s32 v[] = { 0, 1, -1, INT32_MIN, INT32_MAX, 2, -2, 0x1234567, INT32_MIN + 1 };
    guest(4);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        for (unsigned j = 0; j < ARRAY_LEN(v); j++) {
            s64 a = v[i], b = v[j];
            u32 r = (u32)a - (u32)b;
            bool of = a - b != (s32)(a - b);
            bool expect[16] = { of, !of, (u32)a < (u32)b, (u32)a >= (u32)b, a == b, a != b, (u32)a <= (u32)b, (u32)a > (u32)b,
                                r >> 31, !(r >> 31), !__builtin_parity(r & 255), __builtin_parity(r & 255), a < b, a >= b, a <= b, a > b };
            flags_sub(c, 4, (u64)a, (u64)b);
            for (unsigned cc = 0; cc < 16; cc++)
                ck_assert_msg(flags_condition(c, cc) == expect[cc], "%d cmp %d, condition %u", v[i], v[j], cc);
        }
    }
}
END_TEST

START_TEST(inc_keeps_carry)
{
    guest(4);
    for (unsigned cf = 0; cf < 2; cf++) {
        rflags_set(c, cf);
        c->rax = 0x7fffffff;
        OK("\x40");                                         /* inc eax */
        ck_assert_uint_eq(status(), cf | EFL_PF | EFL_AF | EFL_SF | EFL_OF);
        OK("\x48");                                         /* dec eax */
        ck_assert_uint_eq(status(), cf | EFL_PF | EFL_AF | EFL_OF);
        c->rax = 0xffffffff;
        OK("\x40");
        ck_assert_uint_eq(status(), cf | EFL_PF | EFL_AF | EFL_ZF);
    }
}
END_TEST

/* ax and flags before, instruction, ax and CF, AF after: the manual's pseudocode by hand */
static const struct { u16 ax; u32 flags; const char *code; unsigned n; u16 ax_after; u32 cf_af; } bcd[] = {
    { 0x00ae, 0, "\x27", 1, 0x0014, EFL_CF | EFL_AF },      /* daa: 79 + 35 = ae -> 114 */
    { 0x002e, EFL_CF, "\x27", 1, 0x0094, EFL_CF | EFL_AF },
    { 0x0045, 0, "\x27", 1, 0x0045, 0 },
    { 0x0018, EFL_AF, "\x2f", 1, 0x0012, EFL_AF },          /* das: 47 - 2f */
    { 0x0003, EFL_AF, "\x2f", 1, 0x00fd, EFL_CF | EFL_AF },
    { 0x000b, 0, "\x37", 1, 0x0101, EFL_CF | EFL_AF },      /* aaa */
    { 0x00ff, 0, "\x37", 1, 0x0205, EFL_CF | EFL_AF },      /* AL + 6 carries into AH */
    { 0x0203, EFL_AF, "\x3f", 1, 0x000d, EFL_CF | EFL_AF },
    { 0x0063, 0, "\xd4\x0a", 2, 0x0909, 0 },                /* aam */
    { 0x0909, 0, "\xd5\x0a", 2, 0x0063, 0 },                /* aad */
    { 0x1234, EFL_CF, "\xd6", 1, 0x12ff, EFL_CF },          /* salc */
};

START_TEST(decimal)
{
    guest(4);
    for (unsigned i = 0; i < ARRAY_LEN(bcd); i++) {
        c->rax = bcd[i].ax;
        rflags_set(c, bcd[i].flags);
        ck_assert_int_eq(run(bcd[i].code, bcd[i].n), -1);
        ck_assert_msg(c->rax == bcd[i].ax_after && (status() & (EFL_CF | EFL_AF)) == bcd[i].cf_af,
            "row %u: ax %04x flags %03x", i, (unsigned)c->rax, status());
    }
    FAULTS("\xd4\x00", EXC_DE);                             /* aam 0 */
}
END_TEST

START_TEST(divide_errors)
{
    guest(8);
    c->rdx = 0x8000000000000000, c->rax = 0, c->rbx = ~(u64)0;
    FAULTS("\x48\xf7\xfb", EXC_DE);                         /* idiv rbx: the quotient is 2^127 */
    c->rdx = ~(u64)0, c->rax = 0x8000000000000000;
    FAULTS("\x48\xf7\xfb", EXC_DE);                         /* INT64_MIN / -1 */
    ck_assert_uint_eq(c->rax, 0x8000000000000000);
    c->rbx = 1;
    OK("\x48\xf7\xfb");
    ck_assert_uint_eq(c->rax, 0x8000000000000000);
    c->rax = 0x8000, c->rdx = 0, c->rbx = 0x80;
    FAULTS("\xf6\xf3", EXC_DE);                             /* div bl: 0x8000 / 0x80 = 0x100 */
    c->rdx = 5, c->rax = 7, c->rbx = 5;
    FAULTS("\x48\xf7\xf3", EXC_DE);                         /* div rbx: high half not below the divisor */
    c->rdx = 4;
    OK("\x48\xf7\xf3");
    ck_assert_uint_eq(c->rax, (u64)((((u128)4 << 64) + 7) / 5));
}
END_TEST

/* --- stack --------------------------------------------------------------------------------------------------------- */

START_TEST(push_pop)
{
    guest(4);
    OK("\x54");                                             /* push esp: the old value */
    ck_assert_uint_eq(peek(STACK - 4, 4), STACK);
    OK("\x5c");                                             /* pop esp */
    ck_assert_uint_eq(c->rsp, STACK);
    OK("\x6a\xff");                                         /* push -1 */
    OK("\x8f\x04\x24");                                     /* pop [esp]: the address after the pop */
    ck_assert_uint_eq(peek(STACK, 4), 0xffffffff);
    OK("\x66\x6a\x80");                                     /* push word -128 */
    ck_assert_uint_eq(c->rsp, STACK - 2);
    ck_assert_uint_eq(peek(STACK - 2, 2), 0xff80);
    OK("\x66\x58");                                         /* pop ax */
    ck_assert_uint_eq(c->rax, 0xff80);
    for (unsigned i = 0; i < 8; i++)
        c->gpr[i] = i == GPR_RSP ? STACK : i + 1;
    OK("\x60");                                             /* pusha */
    ck_assert_uint_eq(c->rsp, STACK - 32);
    ck_assert_uint_eq(peek(STACK - 4, 4), 1);
    ck_assert_uint_eq(peek(STACK - 20, 4), STACK);
    poke(STACK - 20, 0x1234, 4);
    memset(c->gpr, 0, 8 * sizeof c->gpr[0]);
    c->rsp = STACK - 32;
    OK("\x61");                                             /* popa ignores ESP's slot */
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(c->gpr[i], i == GPR_RSP ? STACK : i + 1);
}
END_TEST

START_TEST(pop_fault_restores)
{
    guest(8);
    c->rsp = STACK;
    c->rbx = (u64)1 << 40;
    FAULTS("\x8f\x03", EXC_PF);                             /* pop [rbx] */
    ck_assert_uint_eq(c->rsp, STACK);
    ck_assert_uint_eq(c->cr2, (u64)1 << 40);
    c->rsp = (u64)1 << 41;
    FAULTS("\x50", EXC_PF);                                 /* push rax */
    ck_assert_uint_eq(c->rsp, (u64)1 << 41);
    ck_assert_uint_eq(c->exc.error, PF_W);
}
END_TEST

START_TEST(enter_leave)
{
    guest(4);
    c->rbp = STACK + 0x100;
    for (unsigned i = 1; i < 4; i++)
        poke(STACK + 0x100 - 4 * i, 0xaa00 + i, 4);
    OK("\xc8\x10\x00\x03");                                 /* enter 16, 3 */
    ck_assert_uint_eq(c->rbp, STACK - 4);
    ck_assert_uint_eq(c->rsp, STACK - 16 - 16);
    ck_assert_uint_eq(peek(STACK - 4, 4), STACK + 0x100);
    ck_assert_uint_eq(peek(STACK - 8, 4), 0xaa01);
    ck_assert_uint_eq(peek(STACK - 12, 4), 0xaa02);
    ck_assert_uint_eq(peek(STACK - 16, 4), STACK - 4);
    OK("\xc9");                                             /* leave */
    ck_assert_uint_eq(c->rsp, STACK);
    ck_assert_uint_eq(c->rbp, STACK + 0x100);
}
END_TEST

START_TEST(popf_privilege)
{
    guest(4);
    const u32 all = EFL_IF | EFL_IOPL | EFL_NT | EFL_AC | EFL_ID | EFL_DF | EFL_CF | EFL_RF | EFL_VM | EFL_VIF | EFL_VIP;
    poke(STACK - 4, all, 4);
    c->rsp = STACK - 4;
    OK("\x9d");                                             /* popfd at CPL 0 */
    ck_assert_uint_eq(rflags_get(c), (all & ~(EFL_RF | EFL_VM | EFL_VIF | EFL_VIP)) | EFL_1);
    rflags_set(c, 0);
    c->cpl = 3;
    poke(STACK - 4, all, 4);
    c->rsp = STACK - 4;
    OK("\x9d");                                             /* CPL 3, IOPL 0: IF and IOPL stay */
    ck_assert_uint_eq(rflags_get(c), EFL_NT | EFL_AC | EFL_ID | EFL_DF | EFL_CF | EFL_1);
    rflags_set(c, EFL_VM | EFL_IOPL * 0);
    FAULTS("\x9c", EXC_GP);                                 /* pushf in virtual-8086 mode, IOPL 0, no VME */
    c->cr4 |= CR4_VME;
    FAULTS("\x9c", EXC_GP);                                 /* 32-bit form */
    rflags_set(c, EFL_VM | EFL_VIF);
    OK("\x66\x9c");
    ck_assert_uint_eq(peek(c->rsp, 2), EFL_1 | EFL_IF | EFL_IOPL);
    poke(c->rsp, EFL_CF, 2);
    OK("\x66\x9d");
    ck_assert_uint_eq(rflags_get(c), EFL_VM | EFL_1 | EFL_CF);
    c->rsp -= 2;
    poke(c->rsp, EFL_TF, 2);
    FAULTS("\x66\x9d", EXC_GP);
}
END_TEST

/* --- near transfers ------------------------------------------------------------------------------------------------ */

START_TEST(branches)
{
    guest(4);
    OK("\xeb\xfe");                                         /* jmp $ */
    ck_assert_uint_eq(c->rip, CODE);
    OK("\x66\xe9\x10\x00");                                 /* jmp rel16: EIP becomes 16 bits */
    ck_assert_uint_eq(c->rip, (CODE + 4 + 0x10) & 0xffff);
    c->rip = CODE;
    OK("\xe8\x00\x01\x00\x00");                             /* call */
    ck_assert_uint_eq(c->rip, CODE + 0x105);
    ck_assert_uint_eq(peek(STACK - 4, 4), CODE + 5);
    OK("\xc2\x08\x00");                                     /* ret 8 */
    ck_assert_uint_eq(c->rip, CODE + 5);
    ck_assert_uint_eq(c->rsp, STACK + 8);
    c->rcx = 0x10001;
    c->rip = CODE;
    OK("\x67\xe2\x10");                                     /* loop by CX: 1 -> 0, falls through, ECX's upper half stays */
    ck_assert_uint_eq(c->rip, CODE + 3);
    ck_assert_uint_eq(c->rcx, 0x10000);
    OK("\x67\xe3\x10");                                     /* jcxz */
    ck_assert_uint_eq(c->rip, CODE + 6 + 0x10);
    c->seg[SEG_CS].limit = CODE + 0x20;
    segment_refresh(c);
    c->rip = CODE, c->rsp = STACK;
    FAULTS("\xe8\x00\x01\x00\x00", EXC_GP);                 /* call beyond the limit pushes nothing */
    ck_assert_uint_eq(c->rsp, STACK);
    c->rcx = 5;
    FAULTS("\xe2\x7f", EXC_GP);                             /* loop does not count then */
    ck_assert_uint_eq(c->rcx, 5);
}
END_TEST

START_TEST(branch_canonical)
{
    guest(8);
    c->rax = (u64)1 << 47;
    FAULTS("\xff\xe0", EXC_GP);                             /* jmp rax */
    FAULTS("\xff\xd0", EXC_GP);                             /* call rax */
    ck_assert_uint_eq(c->rsp, STACK);
    poke(STACK, (u64)1 << 47, 8);
    FAULTS("\xc3", EXC_GP);                                 /* ret */
    ck_assert_uint_eq(c->rsp, STACK);
    FAULTS("\x8b\x00", EXC_GP);                             /* mov eax, [rax] */
    FAULTS("\x36\x8b\x00", EXC_GP);                         /* SS: is ignored in 64-bit mode */
    c->rbp = c->rax;
    FAULTS("\x8b\x45\x00", EXC_SS);                         /* mov eax, [rbp] */
    ck_assert_uint_eq(c->exc.error, 0);
}
END_TEST

START_TEST(bound)
{
    guest(4);
    poke(DATA, (u32)-5, 4), poke(DATA + 4, 10, 4);
    c->rbx = DATA;
    c->rax = (u32)-5;
    OK("\x62\x03");                                         /* bound eax, [ebx] */
    c->rax = 11;
    FAULTS("\x62\x03", EXC_BR);
    c->rax = (u32)-6;
    FAULTS("\x62\x03", EXC_BR);
}
END_TEST

/* --- segments ------------------------------------------------------------------------------------------------------ */

START_TEST(real_mode_limits)
{
    guest(2);
    c->rbx = 0xffff;
    OK("\x8a\x07");                                         /* mov al, [bx] */
    FAULTS("\x8b\x07", EXC_GP);                             /* mov ax, [bx]: over the end of the segment */
    c->rbp = 0xfffe;
    FAULTS("\x66\x8b\x46\x00", EXC_SS);                     /* mov eax, [bp] */
    c->rbx = 0x10000;
    OK("\x8a\x07");                                         /* 16-bit addresses wrap */
    FAULTS("\x67\x8a\x03", EXC_GP);                         /* mov al, [ebx] does not */
    c->rsp = 0;
    OK("\x50");                                             /* push ax at SP = 0 wraps to fffe */
    ck_assert_uint_eq(c->rsp, 0xfffe);
    c->rsp = 1;
    FAULTS("\x50", EXC_SS);                                 /* its two bytes would wrap */
    ck_assert_uint_eq(c->rsp, 1);
    c->rip = 0x10;
    OK("\x2e\xc6\x06\x00\x20\x55");                         /* mov cs:[2000h], 55h: CS is writable here */
    ck_assert_uint_eq(peek(CODE + 0x2000, 1), 0x55);
}
END_TEST

START_TEST(protected_segments)
{
    guest(4);
    struct segment *ds = &c->seg[SEG_DS];
    c->rbx = 0x100;
    *ds = (struct segment){ .base = DATA, .limit = 0xff, .attr = SEG_P | SEG_S | SEG_W | SEG_E | SEG_D };
    segment_refresh(c);
    OK("\x88\x03");                                         /* expand-down: above the limit only */
    c->rbx = 0xff;
    FAULTS("\x88\x03", EXC_GP);
    c->rbx = 0xffffffff;
    OK("\x8a\x03");
    FAULTS("\x8b\x03", EXC_GP);
    ds->attr &= (u16)~SEG_D;
    segment_refresh(c);
    c->rbx = 0x10000;
    FAULTS("\x8a\x03", EXC_GP);                             /* 16-bit expand-down ends at ffff */
    *ds = (struct segment){ .base = DATA, .limit = 0xff, .attr = SEG_P | SEG_S };
    segment_refresh(c);
    c->rbx = 0xfc;
    OK("\x8b\x03");
    FAULTS("\x89\x03", EXC_GP);                             /* read-only */
    c->rbx = 0xfd;
    FAULTS("\x8b\x03", EXC_GP);
    ds->attr |= SEG_CODE;                                   /* execute-only */
    segment_refresh(c);
    c->rbx = 0;
    FAULTS("\x8b\x03", EXC_GP);
    ds->unusable = 1;
    segment_refresh(c);
    FAULTS("\x8b\x03", EXC_GP);
}
END_TEST

START_TEST(alignment_check)
{
    guest(4);
    c->cr0 |= CR0_AM;
    c->cpl = 3;
    segment_refresh(c);
    rflags_set(c, EFL_AC);
    c->rbx = DATA + 1;
    FAULTS("\x8b\x03", EXC_AC);
    FAULTS("\x89\x03", EXC_AC);
    FAULTS("\x66\x8b\x03", EXC_AC);
    OK("\x8a\x03");
    c->rbx = DATA + 4;
    OK("\x8b\x03");
    rflags_set(c, 0);
    c->rbx = DATA + 1;
    OK("\x8b\x03");
}
END_TEST

/* --- faults leave nothing behind ----------------------------------------------------------------------------------- */

START_TEST(page_crossing)
{
    guest(8);
    c->rbx = EDGE + 0xffd;
    c->rax = 0x1122334455667788;
    poke(EDGE + 0xffd, 0xccbbaa, 3);
    FAULTS("\x48\x89\x03", EXC_PF);                         /* mov [rbx], rax: three bytes would fit */
    ck_assert_uint_eq(c->cr2, EDGE + 0x1000);
    ck_assert_uint_eq(c->exc.error, PF_W);
    ck_assert_uint_eq(peek(EDGE + 0xffd, 3), 0xccbbaa);
    FAULTS("\x48\x01\x03", EXC_PF);                         /* add */
    rflags_set(c, EFL_CF);
    FAULTS("\x11\x03", EXC_PF);                             /* adc leaves the flags */
    ck_assert_uint_eq(status(), EFL_CF);
    FAULTS("\xff\x33", EXC_PF);                             /* push [rbx] */
    ck_assert_uint_eq(c->exc.error, 0);
}
END_TEST

START_TEST(write_protected)
{
    guest(8);
    u64 pdpt = 0x85;                                        /* read-only */
    poke(0x2000, pdpt, 8);
    c->cr0 |= CR0_WP;
    sysreg_refresh_mmu(c);
    mmu_flush_all(&c->mmu);
    c->rbx = DATA;
    poke(DATA, 5, 8);
    c->rax = 7;
    FAULTS("\x0f\xb1\x0b", EXC_PF);                         /* cmpxchg [rbx], ecx: writes even if it differs */
    ck_assert_uint_eq(c->rax, 7);
    ck_assert_uint_eq(c->exc.error, PF_W | PF_P);
    FAULTS("\xf0\x0f\xc1\x0b", EXC_PF);                     /* lock xadd */
    FAULTS("\x87\x0b", EXC_PF);                             /* xchg */
    FAULTS("\xd3\x23", EXC_PF);                             /* shl [rbx], cl with a count of 0 still writes */
    FAULTS("\x0f\xc7\x0b", EXC_PF);                         /* cmpxchg8b */
    ck_assert_uint_eq(c->rcx, 0);
    OK("\x39\x03");                                         /* cmp does not */
    OK("\x0f\xa3\x0b");                                     /* nor bt */
}
END_TEST

START_TEST(cmpxchg16b)
{
    guest(8);
    c->rbx = 0;
    c->rdi = DATA + 8;
    FAULTS("\x48\x0f\xc7\x0f", EXC_GP);                     /* cmpxchg16b [rdi], unaligned */
    c->rdi = DATA;
    poke(DATA, 1, 8), poke(DATA + 8, 2, 8);
    c->rax = 1, c->rdx = 2, c->rbx = 3, c->rcx = 4;
    OK("\x48\x0f\xc7\x0f");
    ck_assert(flags_zf(c));
    ck_assert_uint_eq(peek(DATA, 8), 3);
    ck_assert_uint_eq(peek(DATA + 8, 8), 4);
    OK("\x48\x0f\xc7\x0f");
    ck_assert(!flags_zf(c));
    ck_assert_uint_eq(c->rax, 3);
    ck_assert_uint_eq(c->rdx, 4);
}
END_TEST

/* --- strings ------------------------------------------------------------------------------------------------------- */

/* rep movs/stos forward and backward, over pages and themselves, against a byte-exact model. */
START_TEST(rep_movs_model)
{
    static u8 model[3 * PAGE_SIZE];
    static const char *const code[4] = { "\xf3\xa4", "\xf3\x66\xa5", "\xf3\xa5", "\xf3\x48\xa5" };
    guest(8);
    u32 seed = 1;
    for (unsigned round = 0; round < 300; round++) {
        unsigned n = 1u << round % 4, size = round % 4 == 0 ? 2 : round % 4 == 2 ? 2 : 3;
        for (unsigned i = 0; i < sizeof model; i++)
            model[i] = (u8)(seed = seed * 1664525 + 1013904223, seed >> 24);
        physmap_write(phys, DATA, model, sizeof model);
        unsigned count = (seed >> 8) % 400, from = 4000 + (seed >> 16) % 600, to = round & 16 ? from + seed % 19 - 9 : 3900 + (seed >> 4) % 700;
        bool down = round & 32;
        c->rsi = DATA + from, c->rdi = DATA + to, c->rcx = count;
        rflags_set(c, down ? EFL_DF : 0);
        ck_assert_int_eq(run(code[round % 4], size), -1);
        for (unsigned i = 0; i < count; i++) {
            u64 v;
            s64 at = (down ? -(s64)i : (s64)i) * (s64)n;
            memcpy(&v, model + from + at, n);
            memcpy(model + to + at, &v, n);
        }
        s64 moved = (down ? -(s64)count : (s64)count) * (s64)n;
        ck_assert_uint_eq(c->rsi, (u64)(DATA + from + moved));
        ck_assert_uint_eq(c->rdi, (u64)(DATA + to + moved));
        ck_assert_uint_eq(c->rcx, 0);
        ck_assert_msg(!memcmp(ram->base + DATA, model, sizeof model), "round %u: size %u count %u from %u to %u%s", round, n,
            count, from, to, down ? " down" : "");
    }
}
END_TEST

START_TEST(rep_fault_in_the_middle)
{
    guest(8);
    c->rsi = DATA, c->rdi = EDGE + 0xff0, c->rcx = 100;
    memset(ram->base + DATA, 0x5a, 200);
    FAULTS("\xf3\xa4", EXC_PF);                             /* rep movsb: 16 bytes fit */
    ck_assert_uint_eq(c->rcx, 84);
    ck_assert_uint_eq(c->rsi, DATA + 16);
    ck_assert_uint_eq(c->rdi, EDGE + 0x1000);
    ck_assert_uint_eq(c->cr2, EDGE + 0x1000);
    ck_assert_uint_eq(peek(EDGE + 0xfff, 1), 0x5a);
    c->rdi = EDGE + 0xff9, c->rcx = 3;
    FAULTS("\xf3\xab", EXC_PF);                             /* rep stosd: one fits, the second crosses */
    ck_assert_uint_eq(c->rcx, 2);
    ck_assert_uint_eq(c->rdi, EDGE + 0xffd);
    c->rcx = 0, c->rdi = (u64)1 << 45;
    OK("\xf3\xab");                                         /* no iteration, no fault */
}
END_TEST

START_TEST(rep_compare)
{
    guest(4);
    strcpy((char *)ram->base + DATA, "hello, world");
    strcpy((char *)ram->base + DATA + 100, "hello, wOrld");
    c->rsi = DATA, c->rdi = DATA + 100, c->rcx = 12;
    OK("\xf3\xa6");                                         /* repe cmpsb */
    ck_assert_uint_eq(c->rcx, 3);
    ck_assert_uint_eq(c->rsi, DATA + 9);
    ck_assert(!flags_zf(c) && !flags_cf(c));
    c->rdi = DATA, c->rcx = 0xffffffff, c->rax = 0;
    OK("\xf2\xae");                                         /* repne scasb: strlen */
    ck_assert_uint_eq(~(u32)c->rcx - 1, 12);
    rflags_set(c, EFL_SF | EFL_CF);
    c->rcx = 0;
    OK("\xf3\xa6");                                         /* no iteration: flags stay */
    ck_assert_uint_eq(status(), EFL_SF | EFL_CF);
}
END_TEST

START_TEST(string_addresses)
{
    guest(2);
    c->rsi = 0xfffe, c->rdi = 0xabc10100, c->rcx = 0x55550004;
    segment_set_real(c, SEG_DS, DATA >> 4);
    segment_set_real(c, SEG_ES, DATA >> 4);
    segment_refresh(c);
    poke(DATA + 0xfffe, 0x2211, 2), poke(DATA, 0x4433, 2);
    OK("\xf3\xa4");                                         /* SI wraps at 64 KiB; upper halves stay */
    ck_assert_uint_eq(peek(DATA + 0x100, 4), 0x44332211);
    ck_assert_uint_eq(c->rsi, 2);
    ck_assert_uint_eq(c->rdi, 0xabc10104);
    ck_assert_uint_eq(c->rcx, 0x55550000);
    c->rsi = 0xffff, c->rcx = 1;
    FAULTS("\xf3\xa5", EXC_GP);                             /* a word at ffff */
    c->rdi = 0x200, c->rcx = 3, c->rdx = 0x60;
    port_value = 0x10;
    OK("\xf3\x6c");                                         /* rep insb */
    ck_assert_uint_eq(peek(DATA + 0x200, 3), 0x121110);
    c->rsi = 0x200, c->rcx = 2;
    port_count = 0;
    OK("\xf3\x6e");                                         /* rep outsb */
    ck_assert_uint_eq(port_count, 2);
    ck_assert_uint_eq(port_value, 0x11);
}
END_TEST

/* --- blocks -------------------------------------------------------------------------------------------------------- */

START_TEST(next_instruction_overwritten)
{
    guest(4);
    PUT(CODE, "\xc6\x05\x09\x00\x01\x00\x40"                /* mov byte [CODE+9], 40h */
              "\x90\x90\x4b"                                /* nop; nop; dec ebx -> inc eax */
              "\xeb\xfe");
    c->rax = 0, c->rbx = 5;
    run_count(5);
    ck_assert_uint_eq(c->rax, 1);
    ck_assert_uint_eq(c->rbx, 5);
}
END_TEST

/* A loop whose body rewrites its own immediate each time, and one block that is linked to it. */
START_TEST(loop_modifies_itself)
{
    guest(4);
    PUT(CODE, "\xb9\x64\x00\x00\x00"                        /* mov ecx, 100 */
              "\x31\xc0"                                    /* xor eax, eax */
              "\x05\x01\x00\x00\x00"                        /* 7: add eax, imm32 */
              "\xff\x05\x08\x00\x01\x00"                    /* inc dword [CODE+8] */
              "\xe2\xf3"                                    /* loop 7 */
              "\xeb\xfe");
    run_count(2 + 300 + 1);
    ck_assert_uint_eq(c->rax, 100 * 101 / 2);
    ck_assert_uint_eq(peek(CODE + 8, 4), 101);
}
END_TEST

START_TEST(code_written_from_outside)
{
    guest(4);
    PUT(CODE, "\x40\xeb\xfd");                              /* inc eax; jmp CODE */
    c->rax = 0;
    run_count(20);
    ck_assert_uint_eq(c->rax, 10);
    PUT(CODE, "\x48");                                      /* dec eax */
    run_count(20);
    ck_assert_uint_eq(c->rax, 0);
    /* the same through another address of the memory in the guest: rep stosb over it */
    PUT(CODE + 0x100, "\xf3\xaa\xe9\xf9\xfe\xff\xff");      /* rep stosb; jmp CODE */
    c->rip = CODE + 0x100, c->rdi = CODE, c->rcx = 1, c->rax = 0x43;
    c->rbx = 0;
    run_count(2 + 20);
    ck_assert_uint_eq(c->rbx, 10);                          /* inc ebx */
}
END_TEST

START_TEST(instruction_crosses_page)
{
    guest(8);
    PUT(EDGE + 0xffe, "\x48\xb8");                          /* mov rax, imm64: the rest is not mapped */
    struct mmu_fault before = { 0 };
    c->mmu.fault = before;
    c->rip = EDGE + 0xffe;
    c->icount_limit = c->icount + 1;
    cpu_run(c);                                             /* no IDT: ends in a triple fault */
    ck_assert_uint_eq(c->cr2, EDGE + 0x1000);

    guest(8);
    PUT(CODE + 0xffd, "\x48\xb8\x88\x77\x66\x55\x44\x33\x22\x11\x48\xff\xc0\xe9\xee\xff\xff\xff");
    c->rip = CODE + 0xffd;                                  /* mov rax, 1122334455667788h; inc rax; jmp back */
    run_count(2);
    ck_assert_uint_eq(c->rax, 0x1122334455667789);
    poke(CODE + 0x1000, 0, 1);                              /* a byte of it on the second page */
    run_count(3);
    ck_assert_uint_eq(c->rax, 0x1122334455660089);
}
END_TEST

START_TEST(code_at_the_limit)
{
    guest(2);
    PUT(CODE + 0xfffd, "\x40\x40\x40");                     /* inc ax, the last three bytes of the segment */
    c->rip = 0xfffd;
    c->rax = 0;
    run_count(3);
    ck_assert_uint_eq(c->rax, 3);
    ck_assert_uint_eq(c->rip, 0x10000);                     /* beyond the limit: the next fetch is #GP through IVT entry 13 */
    poke(13 * 4, 0x00001234, 4);
    PUT(0x1234, "\xeb\xfe");
    c->icount_limit = c->icount + 1;
    cpu_run(c);
    ck_assert_uint_eq(c->rip, 0x1234);
    ck_assert_uint_eq(peek(0x8000 - 6, 2), 0);              /* IP as 16 bits */
}
END_TEST

START_TEST(exact_count)
{
    guest(4);
    memset(ram->base + CODE, 0x40, 200);                    /* inc eax ... */
    PUT(CODE + 200, "\xe9\x33\xff\xff\xff");
    for (unsigned n = 1; n < 300; n += 7) {
        c->rip = CODE;
        c->rax = 0;
        run_count(n);
        ck_assert_uint_eq(c->rax, n < 201 ? n : n - 1);
    }
}
END_TEST

START_TEST(mode_is_part_of_the_key)
{
    guest(4);
    PUT(CODE, "\xb8\x01\x00\x00\x00\xeb\xfe");              /* mov eax, 1; jmp $ -- 16-bit: mov ax, 1; add [bx+si], al; jmp $ */
    run_count(3);
    ck_assert_uint_eq(c->rax, 1);
    c->seg[SEG_CS].attr &= (u16)~SEG_D;
    c->seg[SEG_CS].base = 0;
    segment_refresh(c);
    c->rip = 0;
    c->seg[SEG_CS].base = CODE;
    segment_refresh(c);
    c->rax = 0xffff0000, c->rbx = DATA & 0xffff, c->rsi = 0x40;
    poke(c->rbx + 0x40, 0, 1);
    run_count(3);
    ck_assert_uint_eq(c->rax, 0xffff0001);
    ck_assert_uint_eq(peek(c->rbx + 0x40, 1), 1);
}
END_TEST

/* --- stepping ------------------------------------------------------------------------------------------------------ */

START_TEST(rep_steps_by_iteration)
{
    guest(2);
    poke(1 * 4, 0x00002000, 4);                             /* #DB handler: iret */
    PUT(0x2000, "\xcf");
    PUT(CODE, "\xf3\xaa\xeb\xfe");                          /* rep stosb; jmp $ */
    c->rip = 0, c->rcx = 3, c->rdi = 0x100;
    rflags_set(c, EFL_TF);
    cpu_step(c);                                            /* one iteration ... */
    ck_assert_uint_eq(c->rcx, 2);
    ck_assert_uint_eq(c->rip, 0);
    cpu_step(c);                                            /* ... its trap, and the handler's IRET */
    ck_assert_uint_eq(peek(0x8000 - 6, 2), 0);
    ck_assert_uint_eq(c->rip, 0);
    ck_assert_uint_eq(c->rcx, 2);
    ck_assert(c->dr[6] & 1 << 14);
    for (unsigned i = 0; i < 2; i++) {
        cpu_step(c);
        cpu_step(c);
    }
    ck_assert_uint_eq(c->rcx, 0);
    ck_assert_uint_eq(c->rip, 2);
}
END_TEST

/* The instruction clock goes on, and a stop is heard, in what would go on for ever. */
START_TEST(endless_repetition)
{
    guest(8);
    PUT(CODE, "\xf3\x6e\xf4");                             /* rep outsb; hlt */
    c->rsi = DATA;
    c->rcx = 1ull << 60;
    c->eflags |= EFL_DF;
    c->rip = CODE;
    c->rsi = RAM_SIZE - 1;
    c->icount_limit = c->icount + 3;
    cpu_run(c);
    ck_assert_uint_eq(c->rip, CODE);
    ck_assert_uint_lt(c->rcx, 1ull << 60);
}
END_TEST

START_TEST(endless_faults)
{
    guest(2);
    const u32 handler = CODE >> 4 << 16;
    memcpy(ram->base + 6 * 4, &handler, 4);                 /* vector 6: CODE, which is UD2 */
    PUT(CODE, "\x0f\x0b");
    c->rip = 0;
    c->icount_limit = c->icount + 50;
    cpu_run(c);
    ck_assert_uint_eq(c->rip, 0);
    ck_assert_uint_eq(c->exc.vector, EXC_UD);
}
END_TEST

START_TEST(random_bytes)
{
    u32 seed = 12345;
    for (unsigned round = 0; round < 400; round++) {
        guest(round % 3 == 0 ? 2 : round % 3 == 1 ? 4 : 8);
        for (unsigned i = 0; i < 4096; i++)
            ram->base[CODE + i] = (u8)(seed = seed * 1664525 + 1013904223, seed >> 24);
        for (unsigned i = 0; i < 16; i++)
            c->gpr[i] = i == GPR_RSP ? c->rsp : (seed = seed * 1664525 + 1013904223, DATA + (seed >> 12));
        c->icount_limit = 2000;
        for (unsigned i = 0; i < 20 && c->icount < 2000; i++)
            cpu_run(c);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interp_int");
    const struct { const char *name; const TTest *test; } cases[] = {
        { "flags", flags_round_trip }, { "flags", flags_conditions }, { "flags", inc_keeps_carry }, { "alu", decimal },
        { "alu", divide_errors }, { "stack", push_pop }, { "stack", pop_fault_restores }, { "stack", enter_leave },
        { "stack", popf_privilege }, { "flow", branches }, { "flow", branch_canonical }, { "flow", bound },
        { "memory", real_mode_limits }, { "memory", protected_segments }, { "memory", alignment_check },
        { "faults", page_crossing }, { "faults", write_protected }, { "faults", cmpxchg16b },
        { "strings", rep_movs_model }, { "strings", rep_fault_in_the_middle }, { "strings", rep_compare },
        { "strings", string_addresses }, { "blocks", next_instruction_overwritten }, { "blocks", loop_modifies_itself },
        { "blocks", code_written_from_outside }, { "blocks", instruction_crosses_page }, { "blocks", code_at_the_limit },
        { "blocks", exact_count }, { "blocks", mode_is_part_of_the_key }, { "stepping", rep_steps_by_iteration },
        { "hostile", random_bytes }, { "hostile", endless_repetition }, { "hostile", endless_faults },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        TCase *t = tcase_create(cases[i].name);
        tcase_set_timeout(t, 60);
        tcase_add_test(t, cases[i].test);
        suite_add_tcase(s, t);
    }
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
