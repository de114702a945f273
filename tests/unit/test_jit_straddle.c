/* test_jit_straddle.c - accesses of translated code that lie on two pages, adjacent in memory or not: what they do, and that a
 * group's check marks no page as written that is not; and windows that move over such pages.
 */
#include "tests/unit/cpu_machine.h"

#include "jit/jit_private.h"

enum { LINEAR = 0x400000, FIRST = 0x100000, ELSEWHERE = 0x120000, TABLE = TABLES + 0x2000, DIRTY = 0x40 };
#define LE32(v) (u8)(v), (u8)((v) >> 8), (u8)((v) >> 16), (u8)((v) >> 24)
#define AT_CODE(...) physmap_write(m.map, CODE, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

/* Identity below 4 MiB; two pages at LINEAR. */
static void machine_keys(u32 second, const char *keys)
{
    char err[200];
    struct jit_options o;
    machine_protected();
    for (unsigned i = 0; i < 1024; i++)
        put(TABLES + 0x1000 + i * 4, 4, i << 12 | 3);
    put(TABLES, 4, (TABLES + 0x1000) | 3);
    put(TABLES + 4, 4, TABLE | 3);
    put(TABLE, 4, FIRST | 3);
    put(TABLE + 4, 4, second | 3);
    C->cr3 = TABLES;
    C->cr0 |= CR0_PG;
    sysreg_refresh_mmu(C);
    ck_assert(jit_options_parse(&o, keys, err, sizeof err));
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
}
static void machine_with(u32 second) { machine_keys(second, "super=off,cache=4"); }

static void run(void)
{
    C->halted = false;
    C->rip = CODE;
    C->rsi = LINEAR + 4096;
    C->rcx = 1000;
    cpu_run(C);
    ck_assert(C->halted);
}

static const u32 second[] = { FIRST + 4096, ELSEWHERE };

START_TEST(stores)
{
    machine_with(second[_i]);
    /* l: mov [esi-4], ecx; add [esi], ecx; mov [esi-2], cx; dec ecx; jnz l; hlt */
    AT_CODE(0x89, 0x4e, 0xfc, 0x01, 0x0e, 0x66, 0x89, 0x4e, 0xfe, 0x49, 0x75, 0xf4, 0xf4);
    run();
    ck_assert_uint_eq(get(FIRST + 4092, 4), 1 << 16 | 1);
    ck_assert_uint_eq(get(second[_i], 4), 500500);
    ck_assert_uint_eq(get(TABLE + 4, 4) & DIRTY, DIRTY);
    ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 100);
    machine_free();
}
END_TEST

START_TEST(one_store)
{
    machine_with(second[_i]);
    /* l: add [esi-2], ecx; dec ecx; jnz l; hlt */
    AT_CODE(0x01, 0x4e, 0xfe, 0x49, 0x75, 0xfa, 0xf4);
    run();
    ck_assert_uint_eq(get(FIRST + 4094, 2) | get(second[_i], 2) << 16, 500500);
    if (_i == 0)
        ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 10);
    machine_free();
}
END_TEST

START_TEST(loads)
{
    machine_with(second[_i]);
    put(FIRST + 4092, 4, 3);
    put(second[_i], 4, 5);
    /* xor eax, eax; l: add eax, [esi-4]; add eax, [esi]; add eax, [esi-2]; dec ecx; jnz l; hlt */
    AT_CODE(0x31, 0xc0, 0x03, 0x46, 0xfc, 0x03, 0x06, 0x03, 0x46, 0xfe, 0x49, 0x75, 0xf5, 0xf4);
    run();
    ck_assert_uint_eq(C->rax, (u32)(1000 * (3 + 5 + (5 << 16))));
    ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 100);
    machine_free();
}
END_TEST

/* Two bases by turns, more than host registers hold: one straddles, the other does not. */
START_TEST(several_bases)
{
    machine_with(second[_i]);
    put(DATA, 4, 7);
    /* l: mov [esi-4], ecx; add [edi], ecx; add [esi], ecx; mov eax, [edi]; mov [edi+4], eax; mov [ebx-8], ecx; add [ebx-4], ecx;
     * dec ecx; jnz l; hlt */
    AT_CODE(0x89, 0x4e, 0xfc, 0x01, 0x0f, 0x01, 0x0e, 0x8b, 0x07, 0x89, 0x47, 0x04, 0x89, 0x4b, 0xf8, 0x01, 0x4b, 0xfc, 0x49, 0x75,
            0xeb, 0xf4);
    C->rdi = DATA;
    C->rbx = LINEAR + 2048;
    run();
    ck_assert_uint_eq(get(FIRST + 4092, 4), 1);
    ck_assert_uint_eq(get(second[_i], 4), 500500);
    ck_assert_uint_eq(get(DATA, 4), 500507);
    ck_assert_uint_eq(get(DATA + 4, 4), 500507);
    ck_assert_uint_eq(get(FIRST + 2040, 4), 1);
    ck_assert_uint_eq(get(FIRST + 2044, 4), 500500);
    ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 100);
    machine_free();
}
END_TEST

/* Reads off several bases, each of which straddles: what they lead to is a copy, or memory. */
START_TEST(several_loads)
{
    machine_with(second[_i]);
    put(FIRST + 4092, 4, 3);
    put(second[_i], 4, 5);
    put(second[_i] + 4, 4, 11);
    /* xor eax, eax; l: add eax, [esi-4]; add eax, [edi]; add eax, [ebx]; add eax, [esi]; add eax, [edi+8]; add eax, [ebx+4];
     * dec ecx; jnz l; hlt */
    AT_CODE(0x31, 0xc0, 0x03, 0x46, 0xfc, 0x03, 0x07, 0x03, 0x03, 0x03, 0x06, 0x03, 0x47, 0x08, 0x03, 0x43, 0x04, 0x49, 0x75, 0xee,
            0xf4);
    C->rdi = LINEAR + 4092;
    C->rbx = LINEAR + 4092;
    run();
    ck_assert_uint_eq(C->rax, 1000 * (3 + 3 + 3 + 5 + 11 + 5));
    ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 100);
    machine_free();
}
END_TEST

/* The base walks over both pages, a step inside of the unit: most of the time nothing straddles. */
START_TEST(walk)
{
    machine_with(second[_i]);
    for (unsigned i = 0; i < 1024; i++)
        put(FIRST + i * 4, 4, i), put(second[_i] + i * 4, 4, 1024 + i);
    /* xor eax, eax; l: add eax, [esi]; add [edi], eax; add eax, [esi+4]; inc dword [edi+4]; add esi, 12; add eax, [esi-4]; dec ecx;
     * jnz l; hlt */
    AT_CODE(0x31, 0xc0, 0x03, 0x06, 0x01, 0x07, 0x03, 0x46, 0x04, 0xff, 0x47, 0x04, 0x83, 0xc6, 0x0c, 0x03, 0x46, 0xfc, 0x49, 0x75,
            0xed, 0xf4);
    u32 sum = 0, stored = 0;
    for (unsigned round = 0; round < 40; round++) {
        u32 eax = 0;
        put(DATA, 4, 0), put(DATA + 4, 4, 0);
        C->halted = false;
        C->rip = CODE;
        C->rsi = LINEAR + round % 3 * 4;
        C->rdi = DATA;
        C->rcx = 600;
        cpu_run(C);
        stored = 0;
        for (unsigned i = 0; i < 600; i++) {
            u32 at = round % 3 + 3 * i;
            eax += at;
            stored += eax;
            eax += at + 1 + at + 2;
        }
        ck_assert_uint_eq(C->rax, eax);
        ck_assert_uint_eq(get(DATA, 4), stored);
        ck_assert_uint_eq(get(DATA + 4, 4), 600);
        sum += eax;
    }
    ck_assert_uint_ne(sum, 0);
    ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 100);
    ck_assert_uint_lt(jit_of(C)->count.units, 40);
    machine_free();
}
END_TEST

/* The second page holds code: writes to it are never cached, and those next to the code are done all the same. */
START_TEST(beside_code)
{
    machine_with(second[_i]);
    /* l: add [edi], ecx; add [esi-4], ecx; add [edi+4], ecx; add [esi-8], ecx; add [edi+8], ecx; dec ecx; jnz l; hlt */
    AT_CODE(0x01, 0x0f, 0x01, 0x4e, 0xfc, 0x01, 0x4f, 0x04, 0x01, 0x4e, 0xf8, 0x01, 0x4f, 0x08, 0x49, 0x75, 0xef, 0xf4);
    C->rdi = CODE + 0x800;
    run();
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(get(CODE + 0x800 + i * 4, 4), 500500);
    ck_assert_uint_eq(get(FIRST + 4092, 4), 500500);
    ck_assert_uint_eq(get(FIRST + 4088, 4), 500500);
    ck_assert_uint_eq(get(CODE + 0x80c, 4), 0);
    machine_free();
}
END_TEST

/* The second store is never executed. */
START_TEST(not_written)
{
    machine_with(second[_i]);
    /* l: mov [esi-4], ecx; test ecx, ecx; jnz n; mov [esi], ecx; n: dec ecx; jnz l; hlt */
    AT_CODE(0x89, 0x4e, 0xfc, 0x85, 0xc9, 0x75, 0x02, 0x89, 0x0e, 0x49, 0x75, 0xf4, 0xf4);
    run();
    ck_assert_uint_eq(get(FIRST + 4092, 4), 1);
    ck_assert_uint_eq(get(TABLE + 4, 4) & DIRTY, 0);
    machine_free();
}
END_TEST

/* A loop whose superblock has it several times, in a window that moves over both pages; with and without links. */
START_TEST(window)
{
    static u8 bytes[2 * PAGE_SIZE];
    machine_keys(second[_i & 1], _i & 2 ? "hot=3,hotter=20,cache=4,chain=off" : "hot=3,hotter=20,cache=4");
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (u8)(i * 7 ^ i >> 5);
        put(i < PAGE_SIZE ? FIRST + i : second[_i & 1] + i - PAGE_SIZE, 1, bytes[i]);
    }
    /* l: add eax, [esi]; mov [esi+4], eax; add esi, 8; dec ecx; jnz l; hlt */
    AT_CODE(0x03, 0x06, 0x89, 0x46, 0x04, 0x83, 0xc6, 0x08, 0x49, 0x75, 0xf5, 0xf4);
    u32 sum = C->rax = 0, word;
    C->halted = false;
    C->rip = CODE;
    C->rsi = LINEAR + 3;
    C->rcx = 1001;
    cpu_run(C);
    ck_assert(C->halted);
    for (unsigned i = 3; i < 3 + 1001 * 8; i += 8) {
        memcpy(&word, bytes + i, 4);
        sum += word;
        memcpy(bytes + i + 4, &sum, 4);
    }
    ck_assert_uint_eq(C->rax, sum);
    for (unsigned i = 0; i < sizeof bytes; i++)
        ck_assert_uint_eq(get(i < PAGE_SIZE ? FIRST + i : second[_i & 1] + i - PAGE_SIZE, 1), bytes[i]);
    ck_assert_uint_ge(jit_of(C)->count.units_super, 1);
    if (jit_of(C)->backend->plain_links)
        ck_assert_uint_lt(jit_of(C)->count.misses_to_step, 4);
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jit_straddle");
    TCase *t = tcase_create("straddle");
    tcase_add_loop_test(t, stores, 0, 2);
    tcase_add_loop_test(t, one_store, 0, 2);
    tcase_add_loop_test(t, loads, 0, 2);
    tcase_add_loop_test(t, several_bases, 0, 2);
    tcase_add_loop_test(t, several_loads, 0, 2);
    tcase_add_loop_test(t, walk, 0, 2);
    tcase_add_loop_test(t, beside_code, 0, 2);
    tcase_add_loop_test(t, not_written, 0, 2);
    tcase_add_loop_test(t, window, 0, 4);
    suite_add_tcase(s, t);
    return run_suite(s);
}
