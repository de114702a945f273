/* test_jit_enter.c - what jit/enter.c keeps ready for code that runs: the return-address stack, where whatever code does at its very
 * end must come out right, and the limits of segments, which may change while code goes on.
 */
#include "tests/unit/cpu_machine.h"

#include "jit/jit_private.h"

enum { SELECTOR_A = S_GDT_END, SELECTOR_B = S_GDT_END + 8, ROUNDS = 300000 /* calls without a return: more than the stack holds */ };
#define LE32(v) (u8)(v), (u8)((v) >> 8), (u8)((v) >> 16), (u8)((v) >> 24)

static void machine(const char *options)
{
    char err[200];
    struct jit_options o;
    machine_protected();
    ck_assert(jit_options_parse(&o, options, err, sizeof err));
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
}

static void run_at_code(void)
{
    C->halted = false;
    C->rip = CODE;
    cpu_run(C);
    ck_assert(C->halted);
}

/* A site misses at every depth of the stack: its stub works when the stack has no room left. */
START_TEST(misses)
{
    static const char *const options[] = { "super=off,cache=4", "cache=4" };
    machine(options[_i]);
    /* l: call f... f, on the next page: add esp, 4; add eax, [esi]; xor esi, 0x1000; add edx, [esi + 0x2000]; dec ecx; jnz l; hlt */
    static const u8 f[] = { 0x83, 0xc4, 4, 0x03, 0x06, 0x81, 0xf6, LE32(0x1000), 0x03, 0x96, LE32(0x2000), 0x49,
                            0x0f, 0x85, LE32(-0x1000 - 24), 0xf4 };
    CODE_BYTES(0xe8, LE32(0x1000 - 5));
    physmap_write(m.map, CODE + 0x1000, f, sizeof f);
    put(DATA, 4, 3);
    put(DATA + 0x1000, 4, 5);
    put(DATA + 0x2000, 4, 7);
    put(DATA + 0x3000, 4, 11);
    C->rsi = DATA;
    C->rax = C->rdx = 0;
    C->rcx = ROUNDS;
    C->rsp = STACK0;
    run_at_code();
    ck_assert_uint_eq(C->rax, ROUNDS / 2 * (3 + 5));
    ck_assert_uint_eq(C->rdx, ROUNDS / 2 * (7 + 11));
    ck_assert_uint_eq(C->rsp, STACK0);
    machine_free();
}
END_TEST

/* So do the ways into C: the x87's registers are loaded, an instruction is the interpreter's. */
START_TEST(calls_of_c)
{
    machine("super=off,cache=4");
    /* l: call f... f, on the next page: add esp, 4; cpuid; fninit; fld1; fistp dword [edi]; add ebp, [edi]; dec esi; jnz l; hlt */
    static const u8 f[] = { 0x83, 0xc4, 4, 0x0f, 0xa2, 0xdb, 0xe3, 0xd9, 0xe8, 0xdb, 0x1f, 0x03, 0x2f, 0x4e,
                            0x0f, 0x85, LE32(-0x1000 - 20), 0xf4 };
    CODE_BYTES(0xe8, LE32(0x1000 - 5));
    physmap_write(m.map, CODE + 0x1000, f, sizeof f);
    C->rdi = DATA;
    C->rsi = ROUNDS;
    C->rbp = 0;
    C->rsp = STACK0;
    run_at_code();
    ck_assert_uint_eq(C->rbp, ROUNDS);
    machine_free();
}
END_TEST

/* DS is loaded without leaving translated code, and the limit that counts is the new one. */
START_TEST(limits)
{
    machine("super=off,cache=4");
    set_descriptor(SELECTOR_A, make_descriptor(DATA, 0x1fff, 0x93, 4));
    set_descriptor(SELECTOR_B, make_descriptor(DATA, 0x0fff, 0x93, 4));
    put(HANDLER(EXC_GP), 1, 0xf4);
    C->gdtr.limit = SELECTOR_B + 7;
    /* l: mov ds, ax; xchg eax, ebx; mov edx, [esi]; cmp ecx, 2; jne n; mov esi, 0x1800; n: dec ecx; jmp l */
    CODE_BYTES(0x8e, 0xd8, 0x93, 0x8b, 0x16, 0x83, 0xf9, 2, 0x75, 5, 0xbe, LE32(0x1800), 0x49, 0xeb, 0xee);
    C->rax = SELECTOR_A;
    C->rbx = SELECTOR_B;
    C->rcx = 1000;      /* the rounds with an even ECX have A, whose limit allows 0x1800; the fault is B's */
    C->rsi = 0x800;
    C->rsp = STACK0;
    run_at_code();
    ck_assert_uint_eq(C->rcx, 1);
    ck_assert_uint_eq(get((u32)C->rsp + 4, 4), CODE + 3);
    ck_assert_uint_eq(C->seg[SEG_DS].sel, SELECTOR_B);
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jit_enter");
    TCase *t = tcase_create("enter");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, misses, 0, 2);
    tcase_add_test(t, calls_of_c);
    tcase_add_test(t, limits);
    suite_add_tcase(s, t);
    return run_suite(s);
}
