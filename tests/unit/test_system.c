/* test_system.c - the privileged architecture: segments, gates, faults, task switches, virtual-8086 mode, long mode,
 * debugging, control registers, MSRs. Each case sets up a machine (cpu_machine.h), runs a few instructions and looks. */
#include "tests/unit/cpu_machine.h"

static void fixture_real(void) { machine_real(); }
static void fixture_protected(void) { machine_protected(); }

/* ---------------------------------------------------------------------------------------------------- real mode --- */

START_TEST(reset_state)
{
    vcpu_reset(C);
    ck_assert_uint_eq(C->rip, 0xfff0);
    ck_assert_uint_eq(C->seg[SEG_CS].base, 0xffff0000);
    ck_assert_uint_eq(C->seg[SEG_CS].sel, 0xf000);
    ck_assert_uint_eq(C->cr0, 0x60000010);
    ck_assert_uint_eq(rflags_get(C), 2);
    ck_assert_uint_eq(C->dr[6], 0xffff0ff0);
    ck_assert_uint_eq(C->dr[7], 0x400);
    ck_assert_uint_eq(C->rdx, 0x506e3);
    ck_assert_uint_eq(C->code_size, 2);
    ck_assert_uint_eq(C->idtr.limit, 0xffff);
}
END_TEST

START_TEST(real_int_iret)
{
    CODE_BYTES(0xcd, 0x21);
    rflags_set(C, EFL_IF | EFL_CF | EFL_TF | 2);
    cpu_step(C);
    ck_assert_uint_eq(C->seg[SEG_CS].base + C->rip, HANDLER(0x21));
    ck_assert_uint_eq(C->rsp, 0xeffa);
    ck_assert_uint_eq(get(0x1effa, 2), 2);
    ck_assert_uint_eq(get(0x1effc, 2), CODE >> 4);
    ck_assert_uint_eq(get(0x1effe, 2), EFL_IF | EFL_CF | EFL_TF | 2);
    ck_assert(!(C->eflags & (EFL_IF | EFL_TF)));
    put(HANDLER(0x21), 1, 0xcf);
    cpu_step(C);                    /* no single-step trap: INT cleared TF */
    ck_assert_uint_eq(C->rip, 2);
    ck_assert_uint_eq(C->rsp, 0xf000);
    ck_assert_uint_eq(rflags_get(C), EFL_IF | EFL_CF | EFL_TF | 2);
}
END_TEST

START_TEST(real_triple_fault)
{
    C->idtr.limit = 3;              /* room for #DE only */
    CODE_BYTES(0xcd, 0x21);
    cpu_step(C);                    /* #GP, #DF, shutdown */
    ck_assert_uint_eq(m.shutdowns, 1);
    ck_assert(cpu_is_halted(C));
    cpu_request(C, CPU_RESET);
    cpu_step(C);
    ck_assert(!C->in_shutdown);
}
END_TEST

START_TEST(unreal_mode)
{
    /* protected mode gives DS a 4 GiB limit; back in real mode it stays */
    make_gdt();
    C->gdtr.base = GDT;
    C->gdtr.limit = S_GDT_END - 1;
    CODE_BYTES(0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0,      /* mov eax,cr0; or al,1; mov cr0,eax */
        0xbb, S_DATA, 0x00, 0x8e, 0xdb,                             /* mov bx,S_DATA; mov ds,bx */
        0x24, 0xfe, 0x0f, 0x22, 0xc0,                               /* and al,fe; mov cr0,eax */
        0x31, 0xdb, 0x8e, 0xdb,                                     /* xor bx,bx; mov ds,bx */
        0x66, 0xbb, 0x00, 0x00, 0x12, 0x00, 0x67, 0x8a, 0x03);      /* mov ebx,120000; mov al,[ebx] */
    put(0x120000, 1, 0x5a);
    step(11);
    ck_assert_uint_eq(C->seg[SEG_DS].limit, 0xffffffff);
    ck_assert_uint_eq(C->seg[SEG_DS].base, 0);
    ck_assert_uint_eq((u8)C->rax, 0x5a);
    ck_assert_uint_eq(C->cpl, 0);
}
END_TEST

START_TEST(real_limit)
{
    CODE_BYTES(0xa1, 0xff, 0xff);   /* mov ax,[ffff]: over the limit, #GP without an error code */
    cpu_step(C);
    ck_assert_uint_eq(C->seg[SEG_CS].base + C->rip, HANDLER(13));
    ck_assert_uint_eq(C->rsp, 0xeffa);
    ck_assert_uint_eq(get(0x1effa, 2), 0);
}
END_TEST

/* ----------------------------------------------------------------------------------------------------- segments --- */

/* mov ds/es/ss,ax with each kind of descriptor: 0 means loaded, else vector << 16 | error code. */
static const struct { u8 modrm, cpl; u16 sel; u32 fault; const char *why; } loads[] = {
    { 0xd8, 0, S_DATA, 0, "data" },
    { 0xd8, 0, 0, 0, "null in DS" },
    { 0xd8, 0, 3, 0, "null with RPL in DS" },
    { 0xd8, 0, S_CODE, 0, "readable code in DS" },
    { 0xd8, 0, S_XONLY, 13 << 16 | S_XONLY, "execute-only code" },
    { 0xd8, 0, S_ABSENT, 11 << 16 | S_ABSENT, "not present" },
    { 0xd8, 0, S_TSS, 13 << 16 | S_TSS, "a system segment" },
    { 0xd8, 0, S_GDT_END, 13 << 16 | S_GDT_END, "beyond the GDT" },
    { 0xd8, 0, S_GDT_END | 3, 13 << 16 | S_GDT_END, "the RPL is not in the error code" },
    { 0xd8, 0, 4 | 8, 13 << 16 | 12, "LDT selector without an LDT" },
    { 0xd8, 0, S_DATA | 3, 13 << 16 | S_DATA, "RPL 3, DPL 0" },
    { 0xd8, 3, S_DATA, 13 << 16 | S_DATA, "CPL 3, DPL 0" },
    { 0xd8, 3, S_CONF, 0, "conforming code for everyone" },
    { 0xd0, 0, S_DATA, 0, "SS" },
    { 0xd0, 0, 0, 13 << 16, "null in SS" },
    { 0xd0, 0, S_DATA3, 13 << 16 | S_DATA3, "SS: DPL 3 at CPL 0" },
    { 0xd0, 0, S_DATA | 1, 13 << 16 | S_DATA, "SS: RPL 1 at CPL 0" },
    { 0xd0, 0, S_RO, 13 << 16 | S_RO, "SS: read-only" },
    { 0xd0, 0, S_CODE, 13 << 16 | S_CODE, "SS: code" },
};

START_TEST(segment_loads)
{
    C->rax = loads[_i].sel;
    if (loads[_i].cpl)
        enter_user();
    RUN(0x8e, loads[_i].modrm);
    if (loads[_i].fault)
        FAULT(loads[_i].fault >> 16, loads[_i].fault & 0xffff);
    else
        ck_assert_msg(C->rip == CODE + 2, "%s: rip %llx", loads[_i].why, (unsigned long long)C->rip);
}
END_TEST

START_TEST(stack_segment_absent)
{
    set_descriptor(S_ABSENT, make_descriptor(0, 0xfffff, 0x13, 0xc));
    C->rax = S_ABSENT;
    RUN(0x8e, 0xd0);
    FAULT(12, S_ABSENT);
}
END_TEST

START_TEST(accessed_bit)
{
    C->rax = S_DATA16;
    ck_assert_uint_eq(get(GDT + S_DATA16 + 5, 1), 0x92);
    RUN(0x8e, 0xc0);
    ck_assert_uint_eq(get(GDT + S_DATA16 + 5, 1), 0x93);
    ck_assert_uint_eq(C->seg[SEG_ES].limit, 0xffff);
}
END_TEST

START_TEST(null_segment_access)
{
    C->rax = 0;
    RUN(0x8e, 0xd8);
    RUN(0xa1, 0, 0, 4, 0);
    FAULT(13, 0);
}
END_TEST

START_TEST(expand_down)
{
    set_descriptor(S_RO, make_descriptor(0, 0x3ffff, 0x97, 0x4));       /* valid: 40000..ffffffff */
    C->rax = S_RO;
    RUN(0x8e, 0xd8);
    RUN(0xa1, 0x00, 0x00, 4, 0);
    AT(CODE + 5);
    RUN(0xa1, 0xff, 0xff, 3, 0);
    FAULT(13, 0);
}
END_TEST

START_TEST(lar_lsl_verr)
{
    C->rbx = S_CODE3;
    RUN(0x0f, 0x02, 0xc3);
    ck_assert_uint_eq(C->rax, 0xc0fb00);
    ck_assert(rflags_get(C) & EFL_ZF);
    RUN(0x0f, 0x03, 0xc3);
    ck_assert_uint_eq(C->rax, 0xffffffff);
    C->rbx = S_GDT_END;
    C->rax = 7;
    RUN(0x0f, 0x02, 0xc3);
    ck_assert(!(rflags_get(C) & EFL_ZF));
    ck_assert_uint_eq(C->rax, 7);
    C->rbx = S_GATE;
    RUN(0x0f, 0x03, 0xc3);          /* LSL of a gate: no */
    ck_assert(!(rflags_get(C) & EFL_ZF));
    C->rbx = S_XONLY;
    RUN(0x0f, 0x00, 0xe3);          /* VERR */
    ck_assert(!(rflags_get(C) & EFL_ZF));
    C->rbx = S_DATA;
    RUN(0x0f, 0x00, 0xeb);          /* VERW */
    ck_assert(rflags_get(C) & EFL_ZF);
    C->rbx = S_RO;
    RUN(0x0f, 0x00, 0xeb);
    ck_assert(!(rflags_get(C) & EFL_ZF));
}
END_TEST

START_TEST(arpl)
{
    C->rax = 0x11;
    C->rbx = 3;
    RUN(0x63, 0xd8);
    ck_assert_uint_eq(C->rax, 0x13);
    ck_assert(rflags_get(C) & EFL_ZF);
    RUN(0x63, 0xd8);
    ck_assert(!(rflags_get(C) & EFL_ZF));
}
END_TEST

START_TEST(ltr_lldt)
{
    C->rax = S_TSS2;
    RUN(0x0f, 0x00, 0xd8);
    ck_assert_uint_eq(C->tr.base, TSS2);
    ck_assert_uint_eq(get(GDT + S_TSS2 + 5, 1), 0x8b);
    RUN(0x0f, 0x00, 0xd8);          /* busy now */
    FAULT(13, S_TSS2);
    C->rax = S_LDT;
    RUN(0x0f, 0x00, 0xd0);
    ck_assert_uint_eq(C->ldtr.base, LDT);
    C->rax = S_CODE;
    RUN(0x0f, 0x00, 0xd0);
    FAULT(13, S_CODE);
    C->rax = 0;
    RUN(0x0f, 0x00, 0xd8);
    FAULT(13, 0);
}
END_TEST

/* ------------------------------------------------------------------------------------------------ far transfers --- */

START_TEST(far_jumps)
{
    static const struct { u16 sel; u32 offset, fault; } cases[] = {
        { S_CODE, 0x1234, 0 }, { S_CONF, 0x1234, 0 }, { 0, 0, 13 << 16 }, { S_DATA, 0, 13 << 16 | S_DATA },
        { S_CODE3, 0, 13 << 16 | S_CODE3 }, { S_CODE | 3, 0, 13 << 16 | S_CODE }, { S_CODE16, 0x10000, 13 << 16 },
        { S_GDT_END, 0, 13 << 16 | S_GDT_END }, { S_LDT, 0, 13 << 16 | S_LDT },
    };
    RUN(0xea, (u8)cases[_i].offset, (u8)(cases[_i].offset >> 8), (u8)(cases[_i].offset >> 16), 0, (u8)cases[_i].sel, 0);
    if (cases[_i].fault)
        FAULT(cases[_i].fault >> 16, cases[_i].fault & 0xffff);
    else
        AT(cases[_i].offset);
}
END_TEST

START_TEST(call_gate_inner)
{
    set_descriptor(S_GATE, make_gate(S_CODE, HANDLER(0x80), 0xec, 2));
    enter_user();
    put(STACK3, 4, 0x11111111);
    put(STACK3 + 4, 4, 0x22222222);
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    AT(HANDLER(0x80));
    ck_assert_uint_eq(C->cpl, 0);
    ck_assert_uint_eq(C->rsp, STACK0 - 24);
    ck_assert_uint_eq(stack32(0), CODE + 7);
    ck_assert_uint_eq(stack32(1), S_CODE3 | 3);
    ck_assert_uint_eq(stack32(2), 0x11111111);
    ck_assert_uint_eq(stack32(3), 0x22222222);
    ck_assert_uint_eq(stack32(4), STACK3);
    ck_assert_uint_eq(stack32(5), S_DATA3 | 3);
    put(HANDLER(0x80), 3, 0x0008ca);                /* retf 8 */
    C->seg[SEG_DS] = C->seg[SEG_SS];                /* a segment that CPL 3 may not keep */
    cpu_step(C);
    AT(CODE + 7);
    ck_assert_uint_eq(C->cpl, 3);
    ck_assert_uint_eq(C->rsp, STACK3 + 8);
    ck_assert_uint_eq(C->seg[SEG_DS].sel, 0);
    ck_assert(C->seg[SEG_DS].unusable);
    ck_assert_uint_eq(C->seg[SEG_ES].sel, S_DATA3 | 3);
}
END_TEST

START_TEST(call_gate_faults)
{
    enter_user();
    set_descriptor(S_GATE, make_gate(S_CODE, HANDLER(0x80), 0x8c, 0));      /* DPL 0 */
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    FAULT(13, S_GATE);
    enter_user();
    set_descriptor(S_GATE, make_gate(S_CODE, HANDLER(0x80), 0x6c, 0));      /* not present */
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    FAULT(11, S_GATE);
    enter_user();
    set_descriptor(S_GATE, make_gate(0, HANDLER(0x80), 0xec, 0));
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    FAULT(13, 0);
    enter_user();
    set_descriptor(S_GATE, make_gate(S_CODE, HANDLER(0x80), 0xec, 0));
    RUN(0xea, 0, 0, 0, 0, S_GATE | 3, 0);           /* JMP cannot change privilege */
    FAULT(13, S_CODE);
}
END_TEST

START_TEST(gate_bad_inner_stack)
{
    /* the fault is taken at CPL 3 through a conforming handler, since the inner stack cannot be used */
    set_gate(10, make_gate(S_CONF, HANDLER(10), 0x8e, 0));
    enter_user();
    put(TSS + 8, 4, 0);
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    FAULT(10, 0);
    ck_assert_uint_eq(C->cpl, 3);
    put(TSS + 8, 4, S_DATA3 | 3);
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    FAULT(10, S_DATA3);
    C->tr.limit = 8;
    RUN(0x9a, 0, 0, 0, 0, S_GATE | 3, 0);
    FAULT(10, S_TSS);
}
END_TEST

START_TEST(far_return_faults)
{
    C->rsp = STACK0 - 8;
    put(STACK0 - 8, 4, 0x1234);
    put(STACK0 - 4, 4, 0);
    RUN(0xcb);
    FAULT(13, 0);
    C->rsp = STACK0 - 8;
    put(STACK0 - 4, 4, S_DATA);
    RUN(0xcb);
    FAULT(13, S_DATA);
    C->rsp = STACK0 - 16;                           /* outer level with a null SS */
    put(STACK0 - 12, 4, S_CODE3 | 3);
    put(STACK0 - 4, 4, 3);
    RUN(0xcb);
    FAULT(13, 0);
    C->rsp = STACK0 - 16;
    put(STACK0 - 12, 4, S_CODE3 | 3);
    put(STACK0 - 4, 4, S_DATA);                     /* SS: DPL 0 */
    RUN(0xcb);
    FAULT(13, S_DATA);
}
END_TEST

/* ------------------------------------------------------------------------------------ interrupts and exceptions --- */

START_TEST(int_gate_privilege)
{
    enter_user();
    rflags_set(C, EFL_IF | 2);
    RUN(0xcd, 0x21);
    FAULT(13, 0x21 * 8 + 2);                        /* gate DPL 0 */
    ck_assert_uint_eq(stack32(1), CODE);
    ck_assert_uint_eq(stack32(3), EFL_RF | EFL_IF | 2);     /* a fault's image has RF */
    ck_assert_uint_eq(stack32(4), STACK3);
    enter_user();
    rflags_set(C, EFL_IF | 2);
    RUN(0xcd, 0x80);
    AT(HANDLER(0x80));
    ck_assert_uint_eq(stack32(0), CODE + 2);
    ck_assert_uint_eq(stack32(2), EFL_IF | 2);
    ck_assert(!(C->eflags & EFL_IF));
    set_gate(0x80, make_gate(S_CODE, HANDLER(0x80), 0xef, 0));      /* trap gate: IF stays */
    enter_user();
    rflags_set(C, EFL_IF | EFL_TF | EFL_NT | 2);
    RUN(0xcd, 0x80);
    AT(HANDLER(0x80));
    ck_assert_uint_eq(C->eflags & (EFL_IF | EFL_TF | EFL_NT), EFL_IF);
}
END_TEST

START_TEST(idt_faults)
{
    C->idtr.limit = 0x20 * 8 - 1;
    RUN(0xcd, 0x20);
    FAULT(13, 0x20 * 8 + 2);
    C->idtr.limit = 0x7ff;
    set_gate(0x21, make_gate(S_CODE, 0, 0x0e, 0));
    RUN(0xcd, 0x21);
    FAULT(11, 0x21 * 8 + 2);
    set_gate(0x21, make_gate(S_CODE, 0, 0x8c, 0));                  /* a call gate */
    RUN(0xcd, 0x21);
    FAULT(13, 0x21 * 8 + 2);
    set_gate(0x21, make_gate(S_DATA, 0, 0x8e, 0));
    RUN(0xcd, 0x21);
    FAULT(13, S_DATA);
    set_gate(0x21, make_gate(0, 0, 0x8e, 0));
    RUN(0xcd, 0x21);
    FAULT(13, 0);
    set_gate(0x21, make_gate(S_CODE16, 0x10000, 0x8e, 0));
    RUN(0xcd, 0x21);
    FAULT(13, 0);
}
END_TEST

START_TEST(external_sets_ext)
{
    set_gate(0x30, make_gate(S_CODE, 0, 0x0e, 0));                  /* not present */
    m.vector = 0x30;
    rflags_set(C, EFL_IF | 2);
    cpu_request(C, CPU_INTR);
    put(HANDLER(11), 1, 0x90);
    RUN(0x90);                                                      /* the boundary delivers, then HANDLER(11) runs */
    AT(HANDLER(11) + 1);
    ck_assert_uint_eq(stack32(0), 0x30 * 8 + 2 + 1);
}
END_TEST

START_TEST(error_gate_16)
{
    set_gate(0x21, make_gate(S_CODE16, 0x9000, 0x86, 0));
    C->rsp = STACK0;
    RUN(0xcd, 0x21);
    AT(0x9000);
    ck_assert_uint_eq(C->rsp, STACK0 - 6);
    ck_assert_uint_eq(C->code_size, 2);
}
END_TEST

START_TEST(double_and_triple_fault)
{
    set_gate(13, make_gate(S_CODE, 0, 0x0e, 0));                    /* #GP, then #NP: both contributory */
    RUN(0xcd, 0x21 + 0 * (set_gate(0x21, 0), 0));
    FAULT(8, 0);
    set_gate(8, 0);
    RUN(0xcd, 0x21);
    ck_assert_uint_eq(m.shutdowns, 1);
    ck_assert(C->in_shutdown);
}
END_TEST

START_TEST(benign_then_contributory)
{
    set_gate(6, make_gate(S_CODE, 0, 0x0e, 0));                     /* #UD cannot be delivered: #NP, no #DF */
    RUN(0x0f, 0x0b);
    FAULT(11, 6 * 8 + 2 + 1);
}
END_TEST

START_TEST(page_fault_double)
{
    /* identity map of 4 MiB pages; #PF on read of an absent page, then #PF while pushing: #DF */
    put(TABLES, 4, 0x83);
    sysreg_write_cr(C, 3, TABLES);
    sysreg_write_cr(C, 4, CR4_PSE);
    sysreg_write_cr(C, 0, C->cr0 | CR0_PG);
    RUN(0xa1, 0, 0, 0x40, 0);
    FAULT(14, 0);
    ck_assert_uint_eq(C->cr2, 0x400000);
    C->rsp = 0x800010;
    set_gate(8, make_gate(S_TASKGATE, 0, 0x8e, 0));
    RUN(0xa1, 0, 0, 0x40, 0);
    ck_assert_uint_eq(m.shutdowns, 1);                              /* #DF's gate names no code: shutdown */
    ck_assert_uint_eq(C->cr2, 0x80000c);
}
END_TEST

START_TEST(iret_to_user)
{
    C->rsp = STACK0 - 20;
    put(STACK0 - 20, 4, 0x1234);
    put(STACK0 - 16, 4, S_CODE3 | 3);
    put(STACK0 - 12, 4, EFL_IF | EFL_IOPL | EFL_CF);
    put(STACK0 - 8, 4, STACK3);
    put(STACK0 - 4, 4, S_DATA3 | 3);
    RUN(0xcf);
    AT(0x1234);
    ck_assert_uint_eq(C->cpl, 3);
    ck_assert_uint_eq(C->rsp, STACK3);
    ck_assert_uint_eq(rflags_get(C), EFL_IF | EFL_IOPL | EFL_CF | 2);
    ck_assert(C->seg[SEG_DS].unusable);
}
END_TEST

START_TEST(iret_keeps_iopl_at_cpl3)
{
    enter_user();
    rflags_set(C, 2);
    C->rsp = STACK3 - 12;
    put(STACK3 - 12, 4, CODE + 1);
    put(STACK3 - 8, 4, S_CODE3 | 3);
    put(STACK3 - 4, 4, EFL_IOPL | EFL_IF | EFL_VIP | EFL_ID | EFL_ZF);
    RUN(0xcf);
    AT(CODE + 1);
    ck_assert_uint_eq(rflags_get(C), EFL_ID | EFL_ZF | 2);
}
END_TEST

/* ------------------------------------------------------------------------------------------------ task switches --- */

static void make_tss32(u32 at, u32 eip, u32 flags)
{
    put(at + 32, 4, eip);
    put(at + 36, 4, flags);
    for (unsigned i = 0; i < 8; i++)
        put(at + 40 + i * 4, 4, i == GPR_RSP ? STACK0 - 0x1000 : 0xa0 + i);
    put(at + 72, 4, S_DATA);
    put(at + 76, 4, S_CODE);
    put(at + 80, 4, S_DATA);
    put(at + 84, 4, S_DATA3);
    put(at + 88, 4, 0);
    put(at + 92, 4, S_DATA);
    put(at + 96, 4, S_LDT);
}

START_TEST(task_call_and_iret)
{
    make_tss32(TSS2, HANDLER(0x90), 2);
    C->rcx = 0x12345678;
    RUN(0x9a, 0, 0, 0, 0, S_TSS2, 0);
    AT(HANDLER(0x90));
    ck_assert_uint_eq(C->tr.sel, S_TSS2);
    ck_assert_uint_eq(C->rcx, 0xa1);
    ck_assert_uint_eq(C->rsp, STACK0 - 0x1000);
    ck_assert_uint_eq(C->ldtr.base, LDT);
    ck_assert(C->eflags & EFL_NT);
    ck_assert(C->cr0 & CR0_TS);
    ck_assert_uint_eq(get(TSS2, 2), S_TSS);                         /* back link */
    ck_assert_uint_eq(get(TSS + 32, 4), CODE + 7);
    ck_assert_uint_eq(get(TSS + 44, 4), 0x12345678);
    ck_assert_uint_eq(get(GDT + S_TSS + 5, 1), 0x8b);               /* both busy */
    ck_assert_uint_eq(get(GDT + S_TSS2 + 5, 1), 0x8b);
    put(HANDLER(0x90), 1, 0xcf);
    put(CODE + 7, 1, 0x90);
    put(TSS + 80, 4, S_DATA);
    cpu_step(C);
    AT(CODE + 7);
    ck_assert_uint_eq(C->tr.sel, S_TSS);
    ck_assert_uint_eq(C->rcx, 0x12345678);
    ck_assert(!(C->eflags & EFL_NT));
    ck_assert_uint_eq(get(GDT + S_TSS2 + 5, 1), 0x89);
    ck_assert(!(get(TSS2 + 36, 4) & EFL_NT));
}
END_TEST

START_TEST(task_jump)
{
    make_tss32(TSS2, HANDLER(0x90), 2);
    RUN(0xea, 0, 0, 0, 0, S_TASKGATE, 0);
    AT(HANDLER(0x90));
    ck_assert_uint_eq(get(GDT + S_TSS + 5, 1), 0x89);
    ck_assert_uint_eq(get(GDT + S_TSS2 + 5, 1), 0x8b);
    ck_assert(!(C->eflags & EFL_NT));
}
END_TEST

START_TEST(task_gate_fault_with_error)
{
    make_tss32(TSS2, HANDLER(0x90), 2);
    set_gate(13, make_gate(S_TSS2, 0, 0x85, 0));
    C->rax = S_TSS;
    RUN(0x8e, 0xd8);
    AT(HANDLER(0x90));
    ck_assert_uint_eq(C->rsp, STACK0 - 0x1004);
    ck_assert_uint_eq(stack32(0), S_TSS);
    ck_assert_uint_eq(get(TSS + 32, 4), CODE);
    ck_assert(get(TSS + 36, 4) & EFL_RF);
}
END_TEST

START_TEST(task_faults)
{
    set_descriptor(S_TSS2, make_descriptor(TSS2, 0x66, 0x89, 0));
    RUN(0xea, 0, 0, 0, 0, S_TSS2, 0);
    FAULT(10, S_TSS2);
    set_descriptor(S_TSS2, make_descriptor(TSS2, 0x67, 0x8b, 0));
    RUN(0xea, 0, 0, 0, 0, S_TSS2, 0);
    FAULT(13, S_TSS2);
    set_descriptor(S_TSS2, make_descriptor(TSS2, 0x67, 0x09, 0));
    RUN(0xea, 0, 0, 0, 0, S_TSS2, 0);
    FAULT(11, S_TSS2);
    set_descriptor(S_TSS2, make_descriptor(TSS2, 0x67, 0x89, 0));
    make_tss32(TSS2, HANDLER(0x90), 2);
    put(TSS2 + 84, 4, S_TSS);                       /* DS is no data segment: #TS in the new task */
    RUN(0xea, 0, 0, 0, 0, S_TSS2, 0);
    FAULT(10, S_TSS);
    ck_assert_uint_eq(C->tr.sel, S_TSS2);
    ck_assert_uint_eq(stack32(1), HANDLER(0x90));
}
END_TEST

START_TEST(task_16)
{
    put(TSS2 + 14, 2, 0x9000);
    put(TSS2 + 16, 2, 2);
    put(TSS2 + 26, 2, 0x7000);
    put(TSS2 + 34, 2, S_DATA16);
    put(TSS2 + 36, 2, S_CODE16);
    put(TSS2 + 38, 2, S_DATA16);
    put(TSS2 + 40, 2, S_DATA16);
    put(TSS2 + 42, 2, 0);
    RUN(0xea, 0, 0, 0, 0, S_TSS16, 0);
    AT(0x9000);
    ck_assert_uint_eq(C->code_size, 2);
    ck_assert_uint_eq((u16)C->rsp, 0x7000);
    ck_assert_uint_eq(C->seg[SEG_FS].sel, 0);
}
END_TEST

START_TEST(iret_task_bad_link)
{
    C->eflags |= EFL_NT;
    put(TSS, 2, S_DATA);
    RUN(0xcf);
    FAULT(10, S_DATA);
}
END_TEST

/* ----------------------------------------------------------------------------------------- virtual-8086 mode --- */

static void enter_v86(u32 flags)
{
    C->rsp = STACK0 - 36;
    put(STACK0 - 36, 4, 0);
    put(STACK0 - 32, 4, CODE >> 4);
    put(STACK0 - 28, 4, EFL_VM | flags | 2);
    put(STACK0 - 24, 4, 0xfff0);
    put(STACK0 - 20, 4, 0x3000);
    for (unsigned i = 0; i < 4; i++)
        put(STACK0 - 16 + i * 4, 4, 0x4000 + i);
    put(HANDLER(0xff), 1, 0xcf);
    C->rip = HANDLER(0xff);
    cpu_step(C);
    ck_assert(in_v86_mode(C));
}

START_TEST(v86_entry_exit)
{
    CODE_BYTES(0xcd, 0x21);
    enter_v86(EFL_IOPL | EFL_IF);
    ck_assert_uint_eq(C->cpl, 3);
    ck_assert_uint_eq(C->seg[SEG_CS].base, CODE);
    ck_assert_uint_eq(C->seg[SEG_GS].sel, 0x4003);
    ck_assert_uint_eq(C->seg[SEG_GS].base, 0x40030);
    ck_assert_uint_eq(C->code_size, 2);
    set_gate(0x21, make_gate(S_CODE, HANDLER(0x21), 0xee, 0));
    cpu_step(C);                                    /* IOPL 3: through the IDT */
    AT(HANDLER(0x21));
    ck_assert(!in_v86_mode(C));
    ck_assert_uint_eq(C->cpl, 0);
    ck_assert_uint_eq(C->rsp, STACK0 - 36);
    ck_assert_uint_eq(stack32(0), 2);
    ck_assert_uint_eq(stack32(1), CODE >> 4);
    ck_assert_uint_eq(stack32(2), EFL_VM | EFL_IOPL | EFL_IF | 2);
    ck_assert_uint_eq(stack32(3), 0xfff0);
    ck_assert_uint_eq(stack32(4), 0x3000);
    ck_assert_uint_eq(stack32(5), 0x4000);
    ck_assert_uint_eq(stack32(8), 0x4003);
    ck_assert(C->seg[SEG_DS].unusable && C->seg[SEG_GS].unusable);
}
END_TEST

START_TEST(v86_sensitive)
{
    static const u8 sensitive[] = { 0xfa, 0xfb, 0x9c, 0x9d, 0xcf, 0xf4 };
    CODE_BYTES(sensitive[_i], 0x90);
    enter_v86(0);
    cpu_step(C);
    FAULT(13, 0);
    ck_assert_uint_eq(stack32(1), 0);
}
END_TEST

START_TEST(v86_int_iopl0)
{
    CODE_BYTES(0xcd, 0x21);
    enter_v86(0);
    cpu_step(C);
    FAULT(13, 0);
}
END_TEST

START_TEST(vme_redirect)
{
    CODE_BYTES(0xcd, 0x21);
    put(TSS + 102, 2, 0x88);                        /* redirection bitmap at 0x68, all zero */
    put(0x21 * 4, 4, 0x12345678);
    sysreg_write_cr(C, 4, CR4_VME);
    enter_v86(EFL_VIF);
    cpu_step(C);
    ck_assert(in_v86_mode(C));
    AT(0x5678);
    ck_assert_uint_eq(C->seg[SEG_CS].sel, 0x1234);
    ck_assert_uint_eq(get(0x3ffee, 2), EFL_IOPL | EFL_IF | 2);      /* VIF seen as IF, IOPL as 3 */
    ck_assert(!(C->eflags & EFL_VIF));
    put(TSS + 0x68 + 4, 1, 2);                      /* bit 0x21 set: to the monitor */
    C->rip = 0;
    segment_set_real(C, SEG_CS, CODE >> 4);
    cpu_step(C);
    FAULT(13, 0);
}
END_TEST

START_TEST(vme_cli_sti)
{
    CODE_BYTES(0xfb, 0xfa, 0xfb);
    sysreg_write_cr(C, 4, CR4_VME);
    enter_v86(0);
    cpu_step(C);
    ck_assert(C->eflags & EFL_VIF);
    cpu_step(C);
    ck_assert(!(C->eflags & EFL_VIF));
    C->eflags |= EFL_VIP;
    cpu_step(C);
    FAULT(13, 0);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- long mode --- */

static void set_gate64(u8 vector, u64 offset, unsigned access, unsigned ist)
{
    put(IDT + vector * 16u, 8, make_gate(S_CODE64, (u32)offset, access, ist));
    put(IDT + vector * 16u + 8, 8, offset >> 32);
}

/* Identity map of the first 2 MiB, 64-bit code at CODE; the switch is made by guest code. */
static void enter_long(void)
{
    put(TABLES, 8, (TABLES + 0x1000) | 7);
    put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 7);
    put(TABLES + 0x2000, 8, 0x87);
    for (unsigned i = 0; i < 128; i++)
        set_gate64((u8)i, HANDLER(i), 0x8e, 0);
    C->rax = CR4_PAE | CR4_OSFXSR | CR4_FSGSBASE;
    C->rbx = TABLES;
    CODE_BYTES(0x0f, 0x22, 0xe0, 0x0f, 0x22, 0xdb,          /* mov cr4,eax; mov cr3,ebx */
        0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x80, 0xcc, 0x01, 0x0f, 0x30,     /* efer |= LME */
        0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0,              /* cr0 |= PG */
        0xea, 0x00, 0x00, 0x01, 0x00, S_CODE64, 0);                           /* jmp S_CODE64:CODE */
    C->rip = CODE;
    step(10);
    AT(CODE);
    ck_assert(in_long_mode(C));
    ck_assert_uint_eq(C->code_size, 8);
    put(TSS + 4, 8, STACK0 + 8);
    put(TSS + 36, 8, STACK0 - 0x2000);              /* IST1 */
    C->rsp = STACK0 - 3;
    msr_write(C, 0xc0000080, C->efer | EFER_SCE);
}

START_TEST(long_interrupt)
{
    enter_long();
    RUN(0xcd, 0x21);
    AT(HANDLER(0x21));
    ck_assert_uint_eq(C->rsp, (STACK0 - 3) / 16 * 16 - 40);
    ck_assert_uint_eq(get((u32)C->rsp, 8), CODE + 2);
    ck_assert_uint_eq(get((u32)C->rsp + 24, 8), STACK0 - 3);
    ck_assert_uint_eq(get((u32)C->rsp + 32, 8), S_DATA);
    put(HANDLER(0x21), 2, 0xcf48);                  /* iretq */
    cpu_step(C);
    AT(CODE + 2);
    ck_assert_uint_eq(C->rsp, STACK0 - 3);
    set_gate64(0x21, HANDLER(0x21), 0x8e, 1);
    RUN(0xcd, 0x21);
    ck_assert_uint_eq(C->rsp, STACK0 - 0x2000 - 40);
}
END_TEST

START_TEST(long_interrupt_bad_gates)
{
    enter_long();
    put(IDT + 0x21 * 16, 8, make_gate(S_CODE, HANDLER(0x21), 0x8e, 0));     /* not a 64-bit segment */
    RUN(0xcd, 0x21);
    AT(HANDLER(13));
    ck_assert_uint_eq(get((u32)C->rsp, 8), S_CODE);
    set_gate64(0x21, HANDLER(0x21), 0x86, 0);                               /* 16-bit gate */
    RUN(0xcd, 0x21);
    AT(HANDLER(13));
    ck_assert_uint_eq(get((u32)C->rsp, 8), 0x21 * 8 + 2);
    set_gate64(0x21, (u64)1 << 60, 0x8e, 0);                                /* not canonical */
    RUN(0xcd, 0x21);
    AT(HANDLER(13));
    ck_assert_uint_eq(get((u32)C->rsp, 8), 0);
}
END_TEST

START_TEST(long_syscall)
{
    enter_long();
    msr_write(C, 0xc0000081, (u64)(S_CODE3 - 16 + 3) << 48 | (u64)S_CODE << 32);
    msr_write(C, 0xc0000082, HANDLER(0x90));
    msr_write(C, 0xc0000084, EFL_IF | EFL_DF);
    C->eflags |= EFL_IF | EFL_DF;
    RUN(0x0f, 0x05);
    AT(HANDLER(0x90));
    ck_assert_uint_eq(C->rcx, CODE + 2);
    ck_assert_uint_eq(C->r11 & (EFL_IF | EFL_DF), EFL_IF | EFL_DF);
    ck_assert(!(C->eflags & (EFL_IF | EFL_DF)));
    ck_assert_uint_eq(C->seg[SEG_CS].sel, S_CODE);
    ck_assert_uint_eq(C->seg[SEG_SS].sel, S_DATA);
    RUN(0x48, 0x0f, 0x07);
    AT(CODE + 2);
    ck_assert_uint_eq(C->cpl, 3);
    ck_assert_uint_eq(C->code_size, 8);
    ck_assert_uint_eq(C->seg[SEG_CS].sel, S_CODE3 | 3);
    ck_assert(C->eflags & EFL_IF);
    put(TSS + 4, 8, STACK0 + 8);
    RUN(0xf4);                                      /* from CPL 3: #GP on the aligned inner stack, SS null */
    AT(HANDLER(13));
    ck_assert_uint_eq(C->rsp, STACK0 - 48);
    ck_assert_uint_eq(C->seg[SEG_SS].sel, 0);
    ck_assert_uint_eq(C->cpl, 0);
}
END_TEST

/* IRET to an outer level takes segments away, but no base that WRFSBASE or an MSR gave a null FS. */
START_TEST(long_iret_keeps_fs_base)
{
    enter_long();
    C->rax = 0;
    RUN(0x8e, 0xe0);
    msr_write(C, 0xc0000100, 0x123456);
    C->rsp = STACK0 - 40;
    put(STACK0 - 40, 8, 0x1234);
    put(STACK0 - 32, 8, S_CODE3 | 3);
    put(STACK0 - 24, 8, EFL_IF);
    put(STACK0 - 16, 8, STACK3);
    put(STACK0 - 8, 8, S_DATA3 | 3);
    set_descriptor(S_CODE3, make_descriptor(0, 0xfffff, 0xfb, 0xa));
    RUN(0x48, 0xcf);
    AT(0x1234);
    ck_assert_uint_eq(C->cpl, 3);
    ck_assert_uint_eq(C->seg[SEG_FS].base, 0x123456);
    ck_assert(C->seg[SEG_DS].unusable);
}
END_TEST

START_TEST(sysret_non_canonical)
{
    enter_long();
    C->rcx = (u64)1 << 47;
    RUN(0x48, 0x0f, 0x07);
    AT(HANDLER(13));
    ck_assert_uint_eq(C->cpl, 0);
}
END_TEST

START_TEST(swapgs_and_bases)
{
    enter_long();
    msr_write(C, 0xc0000101, 0x1111);
    msr_write(C, 0xc0000102, 0x2222);
    RUN(0x0f, 0x01, 0xf8);
    ck_assert_uint_eq(C->seg[SEG_GS].base, 0x2222);
    ck_assert_uint_eq(C->kernel_gs_base, 0x1111);
    C->rax = (u64)1 << 50;
    RUN(0xf3, 0x48, 0x0f, 0xae, 0xd8);              /* wrgsbase rax */
    AT(HANDLER(13));
}
END_TEST

START_TEST(long_mode_rules)
{
    enter_long();
    C->rax = C->cr0 & ~(u64)CR0_PG;
    RUN(0x0f, 0x22, 0xc0);                          /* paging off in 64-bit mode */
    AT(HANDLER(13));
    C->rax = C->cr4 & ~(u64)CR4_PAE;
    RUN(0x0f, 0x22, 0xe0);
    AT(HANDLER(13));
    C->rcx = 0xc0000080;
    C->rax = EFER_SCE;
    C->rdx = 0;
    RUN(0x0f, 0x30);                                /* LME off with paging on */
    AT(HANDLER(13));
    C->rax = 0x10;
    RUN(0x0f, 0x22, 0xe0 | 0);                      /* CR4 without PAE again */
    AT(HANDLER(13));
    C->rax = 16;
    RUN(0x44, 0x0f, 0x22, 0xc0);                    /* CR8 */
    AT(HANDLER(13));
    RUN(0xea, 0, 0, 0, 0, 0, 0);                    /* direct far JMP: #UD */
    AT(HANDLER(6));
}
END_TEST

START_TEST(non_canonical_access)
{
    enter_long();
    C->rax = (u64)1 << 47;
    RUN(0x8a, 0x00);
    AT(HANDLER(13));
    C->rsp = ((u64)1 << 47) + 16;
    set_gate64(12, HANDLER(12), 0x8e, 1);
    set_gate64(8, HANDLER(8), 0x8e, 1);
    RUN(0x58);
    AT(HANDLER(12));
}
END_TEST

START_TEST(leave_long_mode)
{
    enter_long();
    put(DATA, 4, CODE + 0x100);
    put(DATA + 4, 2, S_CODE);
    C->rbx = DATA;
    RUN(0xff, 0x2b);                                /* jmp far [rbx]: compatibility mode */
    AT(CODE + 0x100);
    ck_assert_uint_eq(C->code_size, 4);
    put(CODE + 0x100, 3, 0xc0220f);
    C->rax = C->cr0 & ~(u64)CR0_PG;
    cpu_step(C);
    AT(CODE + 0x103);
    ck_assert(!in_long_mode(C));
    ck_assert(C->efer & EFER_LME);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- debugging --- */

START_TEST(single_step)
{
    rflags_set(C, EFL_TF | 2);
    CODE_BYTES(0x90, 0x90);
    C->rip = CODE;
    cpu_step(C);
    AT(CODE + 1);
    put(HANDLER(1), 1, 0x90);
    cpu_step(C);
    AT(HANDLER(1) + 1);
    ck_assert_uint_eq(stack32(0), CODE + 1);
    ck_assert_uint_eq(stack32(2), EFL_TF | 2);
    ck_assert_uint_eq(C->dr[6], 0xffff4ff0);
    ck_assert(!(C->eflags & EFL_TF));
}
END_TEST

START_TEST(code_breakpoint)
{
    CODE_BYTES(0x90, 0x90, 0x90);
    C->dr[0] = CODE + 1;
    ck_assert(sysreg_write_dr(C, 7, 0x402));
    C->rip = CODE;
    cpu_step(C);
    AT(CODE + 1);
    cpu_step(C);
    AT(HANDLER(1));
    ck_assert_uint_eq(stack32(0), CODE + 1);
    ck_assert_uint_eq(C->dr[6] & 0xf, 1);
    put(HANDLER(1), 1, 0xcf);
    put((u32)C->rsp + 8, 4, EFL_RF | 2);            /* resume over it */
    cpu_step(C);
    AT(CODE + 1);
    cpu_step(C);
    AT(CODE + 2);
    ck_assert(!(C->eflags & EFL_RF));
}
END_TEST

START_TEST(data_breakpoint)
{
    CODE_BYTES(0xa2, 0x02, 0, 4, 0, 0x90);          /* mov [40002],al */
    C->dr[1] = DATA;
    ck_assert(sysreg_write_dr(C, 7, 0x400 | 0x08 | 0xd0 << 16));    /* DR1: write, 4 bytes */
    put(HANDLER(1), 1, 0x90);
    C->rip = CODE;
    step(2);
    AT(HANDLER(1) + 1);
    ck_assert_uint_eq(stack32(0), CODE + 5);
    ck_assert_uint_eq(C->dr[6] & 0xf, 2);
    RUN(0xa0, 0x02, 0, 4, 0);                       /* a read does not count */
    cpu_step(C);
    AT(CODE + 6);
}
END_TEST

START_TEST(general_detect)
{
    C->dr[7] |= DR7_GD;
    RUN(0x0f, 0x23, 0xc0);
    AT(HANDLER(1));
    ck_assert(C->dr[6] & DR6_BD);
    ck_assert(!(C->dr[7] & DR7_GD));
    RUN(0x0f, 0x23, 0xc0);
    AT(CODE + 3);
}
END_TEST

START_TEST(dr4_alias)
{
    C->rax = 0x401;
    RUN(0x0f, 0x23, 0xe8);                          /* mov dr5,eax */
    ck_assert_uint_eq(C->dr[7], 0x401);
    C->dr[7] = 0x400;
    sysreg_write_cr(C, 4, CR4_DE);
    RUN(0x0f, 0x23, 0xe8);
    AT(HANDLER(6));
}
END_TEST

START_TEST(mov_ss_shadow)
{
    C->rax = S_DATA;
    m.vector = 0x40;
    rflags_set(C, EFL_IF | EFL_TF | 2);
    CODE_BYTES(0x8e, 0xd0, 0x90, 0x90);
    C->rip = CODE;
    cpu_step(C);
    cpu_request(C, CPU_INTR);
    cpu_step(C);                                    /* neither trap nor interrupt after MOV SS */
    AT(CODE + 3);
    put(HANDLER(1), 1, 0x90);
    cpu_step(C);                                    /* the trap comes first; its gate clears IF */
    AT(HANDLER(1) + 1);
    ck_assert_uint_eq(stack32(0), CODE + 3);
}
END_TEST

START_TEST(sti_shadow)
{
    m.vector = 0x40;
    cpu_request(C, CPU_INTR);
    CODE_BYTES(0xfb, 0x90, 0x90);
    put(HANDLER(0x40), 1, 0x90);
    C->rip = CODE;
    step(2);
    AT(CODE + 2);
    cpu_step(C);
    AT(HANDLER(0x40) + 1);
    ck_assert_uint_eq(stack32(0), CODE + 2);
}
END_TEST

START_TEST(int1_and_int3)
{
    enter_user();
    RUN(0xf1);                                      /* no DPL check */
    AT(HANDLER(1));
    ck_assert_uint_eq(stack32(0), CODE + 1);
    enter_user();
    RUN(0xcc);
    AT(HANDLER(3));
    set_gate(3, make_gate(S_CODE, HANDLER(3), 0x8e, 0));
    enter_user();
    RUN(0xcc);
    FAULT(13, 3 * 8 + 2);
}
END_TEST

/* --------------------------------------------------------------------------------------------------- boundaries --- */

START_TEST(halt_and_wake)
{
    CODE_BYTES(0xf4, 0x90);
    rflags_set(C, EFL_IF | 2);
    C->rip = CODE;
    cpu_run(C);                                     /* the host's wait asks to stop */
    ck_assert_uint_eq(m.waits, 1);
    ck_assert(C->halted);
    AT(CODE + 1);
    m.vector = 0x40;
    cpu_request(C, CPU_INTR);
    put(HANDLER(0x40), 1, 0xf4);
    cpu_run(C);
    AT(HANDLER(0x40) + 1);
    ck_assert_uint_eq(stack32(0), CODE + 1);
}
END_TEST

START_TEST(halt_with_if_clear)
{
    CODE_BYTES(0xf4, 0x90);
    C->rip = CODE;
    cpu_request(C, CPU_INTR);
    cpu_run(C);
    ck_assert(C->halted);
    ck_assert_uint_eq(m.waits, 1);
    atomic_store(&C->wake_mask, PEND_NMI);
    ck_assert(!cpu_has_request(C));                 /* an interrupt that IF holds back does not end the wait */
    cpu_request(C, CPU_NMI);
    ck_assert(cpu_has_request(C));
    put(HANDLER(2), 1, 0xf4);
    cpu_run(C);
    AT(HANDLER(2) + 1);
}
END_TEST

START_TEST(nmi_blocking)
{
    put(HANDLER(2), 3, 0xcf9090);                   /* nop; nop; iret */
    RUN(0x90);
    cpu_request(C, CPU_NMI);
    cpu_step(C);
    AT(HANDLER(2) + 1);
    cpu_request(C, CPU_NMI);
    cpu_step(C);
    AT(HANDLER(2) + 2);                             /* held back */
    cpu_step(C);
    AT(CODE + 1);
    cpu_step(C);
    AT(HANDLER(2) + 1);
}
END_TEST

START_TEST(interrupt_goes_away)
{
    rflags_set(C, EFL_IF | 2);
    cpu_request(C, CPU_INTR);                       /* the controller then answers -1 */
    RUN(0x90);
    AT(CODE + 1);
}
END_TEST

START_TEST(init_signal)
{
    C->mxcsr = 0x1fa0;
    C->rax = 5;
    vcpu_init_signal(C);
    ck_assert_uint_eq(C->mxcsr, 0x1fa0);
    ck_assert_uint_eq(C->rax, 0);
    ck_assert_uint_eq(C->rip, 0xfff0);
    ck_assert_uint_eq(C->seg[SEG_CS].base, 0xffff0000);
    ck_assert(in_real_mode(C));
}
END_TEST

START_TEST(sipi)
{
    C->apic_base &= ~(u64)(1 << 8);                 /* an application processor */
    cpu_request(C, CPU_INIT);
    cpu_run(C);
    ck_assert(C->wait_sipi);
    cpu_sipi(C, 0x10);
    put(CODE, 1, 0xf4);
    cpu_run(C);
    ck_assert_uint_eq(C->seg[SEG_CS].base, CODE);
    ck_assert_uint_eq(C->rip, 1);
}
END_TEST

/* ------------------------------------------------------------------------------------------- system registers --- */

START_TEST(cr0_rules)
{
    static const u32 bad[] = { CR0_PG, CR0_PE | CR0_NW };
    C->rax = bad[_i];
    RUN(0x0f, 0x22, 0xc0);
    FAULT(13, 0);
}
END_TEST

START_TEST(cr4_rules)
{
    C->rax = CR4_PCIDE;                             /* only in long mode */
    RUN(0x0f, 0x22, 0xe0);
    FAULT(13, 0);
    C->rax = 1 << 13;                               /* VMXE */
    RUN(0x0f, 0x22, 0xe0);
    FAULT(13, 0);
    RUN(0x0f, 0x22, 0xe8);                          /* CR5 */
    AT(HANDLER(6));
}
END_TEST

START_TEST(pae_bad_pdpte)
{
    put(TABLES, 8, 0x6000 | 3);                     /* bit 1 is reserved */
    sysreg_write_cr(C, 4, CR4_PAE);
    sysreg_write_cr(C, 3, TABLES);
    C->rax = C->cr0 | CR0_PG;
    RUN(0x0f, 0x22, 0xc0);
    FAULT(13, 0);
    ck_assert(!(C->cr0 & CR0_PG));
}
END_TEST

START_TEST(lmsw_cannot_clear_pe)
{
    C->rax = 8;
    RUN(0x0f, 0x01, 0xf0);
    ck_assert_uint_eq(C->cr0 & 0xf, CR0_PE | CR0_TS);
    RUN(0x0f, 0x06);
    ck_assert_uint_eq(C->cr0 & 0xf, CR0_PE);
}
END_TEST

START_TEST(privileged_at_cpl3)
{
    static const u8 insns[][3] = { { 0xf4 }, { 0x0f, 0x30 }, { 0x0f, 0x32 }, { 0x0f, 0x22, 0xc0 }, { 0x0f, 0x06 },
                                   { 0x0f, 0x09 }, { 0x0f, 0x23, 0xc0 }, { 0xfa }, { 0xfb }, { 0xec }, { 0xee } };
    put(TSS + 0x68, 2, 0xffff);                     /* no ports */
    enter_user();
    code(insns[_i], 3);
    C->rip = CODE;
    cpu_step(C);
    FAULT(13, 0);
}
END_TEST

START_TEST(umip)
{
    enter_user();
    RUN(0x0f, 0x01, 0xe0);                          /* smsw eax */
    AT(CODE + 3);
    C->cr4 |= CR4_UMIP;
    RUN(0x0f, 0x01, 0xe0);
    FAULT(13, 0);
}
END_TEST

START_TEST(tsd)
{
    m.tsc = 0x123456789;
    enter_user();
    RUN(0x0f, 0x31);
    ck_assert_uint_eq(C->rax, 0x23456789);
    ck_assert_uint_eq(C->rdx, 1);
    C->cr4 |= CR4_TSD;
    RUN(0x0f, 0x31);
    FAULT(13, 0);
}
END_TEST

START_TEST(io_bitmap)
{
    put(TSS + 0x68 + 0x60 / 8, 2, 0x0002);          /* 61h denied */
    enter_user();
    m.port_value = 0x42;
    C->rdx = 0x60;
    RUN(0xec);
    ck_assert_uint_eq((u8)C->rax, 0x42);
    RUN(0x66, 0xed);
    FAULT(13, 0);
    enter_user();
    C->rdx = 0xffff;                                /* the last byte pair lies beyond the limit */
    C->tr.limit = 0x68 + 0x1fff;
    RUN(0xec);
    FAULT(13, 0);
    enter_user();
    C->eflags |= EFL_IOPL;
    RUN(0xec);
    AT(CODE + 1);
}
END_TEST

START_TEST(sysenter_sysexit)
{
    RUN(0x0f, 0x34);                                /* no SYSENTER_CS */
    FAULT(13, 0);
    msr_write(C, 0x174, S_CODE);
    msr_write(C, 0x175, STACK0);
    msr_write(C, 0x176, HANDLER(0x90));
    enter_user();
    C->eflags |= EFL_IF;
    RUN(0x0f, 0x34);
    AT(HANDLER(0x90));
    ck_assert_uint_eq(C->cpl, 0);
    ck_assert_uint_eq(C->rsp, STACK0);
    ck_assert_uint_eq(C->seg[SEG_SS].sel, S_DATA);
    ck_assert(!(C->eflags & EFL_IF));
    C->rcx = STACK3;
    C->rdx = 0x1234;
    RUN(0x0f, 0x35);
    AT(0x1234);
    ck_assert_uint_eq(C->cpl, 3);
    ck_assert_uint_eq(C->seg[SEG_CS].sel, S_CODE3 | 3);
    ck_assert_uint_eq(C->rsp, STACK3);
}
END_TEST

/* --------------------------------------------------------------------------------------------------------- MSRs --- */

START_TEST(msr_checks)
{
    static const struct { u32 index; u64 value; bool ok; } writes[] = {
        { 0x12345, 0, false }, { 0x277, 0x0007040600070406, true }, { 0x277, 2, false }, { 0x277, 0x0800, false },
        { 0x2ff, 0xc06, true }, { 0x2ff, 0x1000, false }, { 0x2ff, 2, false }, { 0x200, 0xff000006, true },
        { 0x200, 0xff000002, false }, { 0x201, 0xff000800, true }, { 0x201, (u64)1 << 40, false }, { 0x210, 0, false },
        { 0x250, 0x0606060606060606, true }, { 0x250, 2, false }, { 0xfe, 0, false },
        { 0xc0000082, (u64)1 << 47, false }, { 0xc0000082, ~(u64)0, true }, { 0xc0000080, 1 << 12, false },
        { 0xc0000080, EFER_NXE, true }, { 0x1b, 0xfee00900, true }, { 0x1b, 0xfee00400, false },
        { 0x1b, 0xfee00d00, true }, { 0x174, (u64)1 << 32, false }, { 0x10, 5, true }, { 0x48, 1, true }, { 0x48, 8, false },
        { 0x830, 0, false /* xAPIC mode */ }, { 0x10a, 0, false }, { 0x401, 1, false }, { 0x400, ~(u64)0, true },
    };
    for (unsigned i = 0; i < ARRAY_LEN(writes); i++)
        ck_assert_msg(msr_write(C, writes[i].index, writes[i].value) == writes[i].ok || writes[i].index == 0x830,
            "write of %llx to %x", (unsigned long long)writes[i].value, writes[i].index);
}
END_TEST

START_TEST(msr_roundtrip)
{
    static const u32 registers[] = { 0x174, 0x175, 0x176, 0x200, 0x20e, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x17a,
                                     0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103 };
    u64 v;
    for (unsigned i = 0; i < ARRAY_LEN(registers); i++) {
        ck_assert_msg(msr_write(C, registers[i], 5), "%x", registers[i]);
        ck_assert(msr_read(C, registers[i], &v));
        ck_assert_uint_eq(v, 5);
    }
}
END_TEST

START_TEST(tsc_adjust)
{
    u64 v;
    m.tsc = 1000;
    msr_write(C, 0x3b, 500);
    msr_read(C, 0x10, &v);
    ck_assert_uint_eq(v, 1500);
    msr_write(C, 0x10, 100);
    msr_read(C, 0x3b, &v);
    ck_assert_uint_eq(v, (u64)-900);
}
END_TEST

START_TEST(wrmsr_unknown)
{
    C->rcx = 0x12345;
    RUN(0x0f, 0x30);
    FAULT(13, 0);
    RUN(0x0f, 0x32);
    FAULT(13, 0);
}
END_TEST

START_TEST(xcr0)
{
    ck_assert(!sysreg_write_xcr(C, 0, 5));
    ck_assert(!sysreg_write_xcr(C, 0, 6));
    ck_assert(!sysreg_write_xcr(C, 0, 8 | 1));
    ck_assert(!sysreg_write_xcr(C, 1, 1));
    ck_assert(sysreg_write_xcr(C, 0, 7));
    C->rcx = 0;
    RUN(0x0f, 0x01, 0xd0);
    AT(HANDLER(6));                                 /* CR4.OSXSAVE is off */
    C->cr4 |= CR4_OSXSAVE;
    RUN(0x0f, 0x01, 0xd0);
    ck_assert_uint_eq(C->rax, 7);
}
END_TEST

START_TEST(alignment_check)
{
    enter_user();
    C->cr0 |= CR0_AM;
    rflags_set(C, EFL_AC | 2);
    sysreg_refresh_view(C);
    RUN(0xa1, 0x01, 0, 4, 0);
    FAULT(17, 0);
}
END_TEST

START_TEST(print_state_fits)
{
    char text[8192], small[40];
    cpu_print_state(C, text, sizeof text);
    ck_assert(strstr(text, "protected, 32-bit"));
    cpu_print_state(C, small, sizeof small);
    ck_assert_uint_eq(strlen(small), sizeof small - 1);
}
END_TEST

static TCase *group(Suite *s, const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_add_checked_fixture(t, setup, machine_free);
    suite_add_tcase(s, t);
    return t;
}

int main(void)
{
    Suite *s = suite_create("system");
    TCase *t = group(s, "real", fixture_real);
    tcase_add_test(t, reset_state);
    tcase_add_test(t, real_int_iret);
    tcase_add_test(t, real_triple_fault);
    tcase_add_test(t, unreal_mode);
    tcase_add_test(t, real_limit);
    t = group(s, "segments", fixture_protected);
    tcase_add_loop_test(t, segment_loads, 0, (int)ARRAY_LEN(loads));
    tcase_add_test(t, stack_segment_absent);
    tcase_add_test(t, accessed_bit);
    tcase_add_test(t, null_segment_access);
    tcase_add_test(t, expand_down);
    tcase_add_test(t, lar_lsl_verr);
    tcase_add_test(t, arpl);
    tcase_add_test(t, ltr_lldt);
    t = group(s, "far", fixture_protected);
    tcase_add_loop_test(t, far_jumps, 0, 9);
    tcase_add_test(t, call_gate_inner);
    tcase_add_test(t, call_gate_faults);
    tcase_add_test(t, gate_bad_inner_stack);
    tcase_add_test(t, far_return_faults);
    t = group(s, "interrupts", fixture_protected);
    tcase_add_test(t, int_gate_privilege);
    tcase_add_test(t, idt_faults);
    tcase_add_test(t, external_sets_ext);
    tcase_add_test(t, error_gate_16);
    tcase_add_test(t, double_and_triple_fault);
    tcase_add_test(t, benign_then_contributory);
    tcase_add_test(t, page_fault_double);
    tcase_add_test(t, iret_to_user);
    tcase_add_test(t, iret_keeps_iopl_at_cpl3);
    t = group(s, "tasks", fixture_protected);
    tcase_add_test(t, task_call_and_iret);
    tcase_add_test(t, task_jump);
    tcase_add_test(t, task_gate_fault_with_error);
    tcase_add_test(t, task_faults);
    tcase_add_test(t, task_16);
    tcase_add_test(t, iret_task_bad_link);
    t = group(s, "v86", fixture_protected);
    tcase_add_test(t, v86_entry_exit);
    tcase_add_loop_test(t, v86_sensitive, 0, 6);
    tcase_add_test(t, v86_int_iopl0);
    tcase_add_test(t, vme_redirect);
    tcase_add_test(t, vme_cli_sti);
    t = group(s, "long", fixture_protected);
    tcase_add_test(t, long_interrupt);
    tcase_add_test(t, long_interrupt_bad_gates);
    tcase_add_test(t, long_syscall);
    tcase_add_test(t, long_iret_keeps_fs_base);
    tcase_add_test(t, sysret_non_canonical);
    tcase_add_test(t, swapgs_and_bases);
    tcase_add_test(t, long_mode_rules);
    tcase_add_test(t, non_canonical_access);
    tcase_add_test(t, leave_long_mode);
    t = group(s, "debug", fixture_protected);
    tcase_add_test(t, single_step);
    tcase_add_test(t, code_breakpoint);
    tcase_add_test(t, data_breakpoint);
    tcase_add_test(t, general_detect);
    tcase_add_test(t, dr4_alias);
    tcase_add_test(t, mov_ss_shadow);
    tcase_add_test(t, sti_shadow);
    tcase_add_test(t, int1_and_int3);
    t = group(s, "boundaries", fixture_protected);
    tcase_add_test(t, halt_and_wake);
    tcase_add_test(t, halt_with_if_clear);
    tcase_add_test(t, nmi_blocking);
    tcase_add_test(t, interrupt_goes_away);
    tcase_add_test(t, init_signal);
    tcase_add_test(t, sipi);
    t = group(s, "registers", fixture_protected);
    tcase_add_loop_test(t, cr0_rules, 0, 2);
    tcase_add_test(t, cr4_rules);
    tcase_add_test(t, pae_bad_pdpte);
    tcase_add_test(t, lmsw_cannot_clear_pe);
    tcase_add_loop_test(t, privileged_at_cpl3, 0, 11);
    tcase_add_test(t, umip);
    tcase_add_test(t, tsd);
    tcase_add_test(t, io_bitmap);
    tcase_add_test(t, sysenter_sysexit);
    tcase_add_test(t, msr_checks);
    tcase_add_test(t, msr_roundtrip);
    tcase_add_test(t, tsc_adjust);
    tcase_add_test(t, wrmsr_unknown);
    tcase_add_test(t, xcr0);
    tcase_add_test(t, alignment_check);
    tcase_add_test(t, print_state_fits);
    return run_suite(s);
}
