/* test_decode.c - the decoder: prefixes, lengths, short and long input, rules beyond the table. (Many more encodings:
 * tests/decode against Capstone, tests/vectors/iced.c against iced's vectors.) */
#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/insn_table.h"

/* ---- small helpers ----------------------------------------------------------------------------------------------- */

static unsigned parse_hex(const char *s, u8 bytes[32])
{
    unsigned n = 0;
    memset(bytes, 0, 32);
    while (n < 32) {
        while (*s == ' ')
            s++;
        if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
            break;
        char pair[3] = { s[0], s[1], 0 };
        bytes[n++] = (u8)strtoul(pair, NULL, 16);
        s += 2;
    }
    return n;
}

static enum decode_status decode_hex(struct insn *in, const char *hex, unsigned mode)
{
    u8 bytes[32];
    unsigned n = parse_hex(hex, bytes);
    return insn_decode(in, bytes, n, mode, NULL);
}

/* ---- cases as text: bytes, mode, expected print (NULL: #UD) ------------------------------------------------------ */

static const struct text_case { unsigned mode; const char *hex, *text; } text_cases[] = {
    /* prefixes */
    { 8, "66 90", "nop" }, { 8, "41 90", "xchg eax, r8d" }, { 8, "f3 90", "pause" }, { 8, "f3 41 90", "xchg eax, r8d" },
    { 8, "48 66 05 01 00", "add ax, 1" },                       /* REX not next to the opcode is ignored */
    { 8, "66 48 05 01 00 00 00", "add rax, 1" },                /* REX.W beats 66 */
    { 8, "64 2e 8b 00", "mov eax, dword ptr fs:[rax]" },        /* CS does not cancel FS in 64-bit mode */
    { 4, "64 2e 8b 00", "mov eax, dword ptr cs:[eax]" },
    { 8, "f2 f3 0f 10 08", "movss xmm1, dword ptr [rax]" }, { 8, "f3 f2 0f 10 08", "movsd xmm1, qword ptr [rax]" },
    { 8, "66 f3 0f 10 08", "movss xmm1, dword ptr [rax]" },
    { 8, "f3 48 a5", "rep movsq qword ptr [rdi], qword ptr [rsi]" },
    { 2, "67 66 f3 a5", "rep movsd dword ptr es:[edi], dword ptr [esi]" },
    { 8, "40 88 e0", "mov al, spl" }, { 8, "88 e0", "mov al, ah" }, { 8, "44 88 e0", "mov al, r12b" },
    { 8, "66 e8 00 00 00 00", "call 6" }, { 4, "66 e8 fa ff", "call 0xfffe" }, { 2, "66 e8 00 00 00 00", "call 6" },
    { 8, "66 50", "push ax" }, { 8, "50", "push rax" }, { 8, "6a 80", "push -0x80" },
    /* LOCK */
    { 8, "f0 01 08", "lock add dword ptr [rax], ecx" }, { 8, "f0 01 c8", NULL }, { 8, "f0 03 08", NULL },
    { 8, "f0 39 08", NULL },
    { 8, "f0 0f c7 08", "lock cmpxchg8b qword ptr [rax]" },
    { 8, "f0 48 0f c7 08", "lock cmpxchg16b xmmword ptr [rax]" },
    { 8, "f0 86 08", "lock xchg byte ptr [rax], cl" }, { 8, "f0 89 08", NULL }, { 4, "f0 0f 20 c0", NULL },
    /* modes */
    { 8, "06", NULL }, { 4, "06", "push es" }, { 8, "62 00", NULL }, { 4, "62 c0", NULL },
    { 4, "62 00", "bound eax, qword ptr [eax]" },
    { 8, "63 c1", "movsxd eax, ecx" }, { 4, "63 c1", "arpl cx, ax" }, { 8, "82 c0 01", NULL },
    { 4, "82 c0 01", "add al, 1" },
    { 4, "d6", "salc" }, { 8, "d6", NULL }, { 8, "9a 00 00 00 00 00 00", NULL }, { 8, "c4 00 00 00", NULL },
    { 2, "60", "pushaw" }, { 8, "0f 01 f8", "swapgs" }, { 4, "0f 01 f8", NULL }, { 4, "f3 0f ae c0", NULL },
    /* addresses */
    { 8, "8b 05 10 00 00 00", "mov eax, dword ptr [rip + 0x10]" },
    { 8, "67 8b 05 10 00 00 00", "mov eax, dword ptr [eip + 0x10]" },
    { 8, "8b 04 25 f0 ff ff ff", "mov eax, dword ptr [0xfffffffffffffff0]" },
    { 8, "42 8b 04 25 00 00 00 00", "mov eax, dword ptr [r12]" },
    { 8, "8b 04 24", "mov eax, dword ptr [rsp]" }, { 2, "8b 42 f0", "mov ax, word ptr [bp + si - 0x10]" },
    { 8, "a1 88 77 66 55 44 33 22 11", "movabs eax, dword ptr [0x1122334455667788]" },
    /* segments, system registers */
    { 4, "8e c8", NULL }, { 4, "8e f0", NULL }, { 4, "8c c8", "mov eax, cs" }, { 4, "8c f0", NULL },
    { 8, "0f 20 c8", NULL },
    { 8, "44 0f 20 c0", "mov rax, cr8" }, { 8, "0f 20 00", "mov rax, cr0" }, { 8, "44 0f 21 c0", NULL },
    { 8, "0f 21 38", "mov rax, dr7" },
    /* VEX */
    { 8, "c5 f0 58 c2", "vaddps xmm0, xmm1, xmm2" }, { 8, "66 c5 f0 58 c2", NULL }, { 8, "48 c5 f0 58 c2", NULL },
    { 8, "f0 c5 f0 58 00", NULL }, { 8, "c5 f0 51 c2", NULL }, { 8, "c5 f8 51 c2", "vsqrtps xmm0, xmm2" },
    { 8, "c5 f0 12 c2", "vmovhlps xmm0, xmm1, xmm2" }, { 8, "c5 f4 12 c2", NULL },
    { 8, "c4 e2 7d 18 00", "vbroadcastss ymm0, dword ptr [rax]" },
    { 8, "c4 e2 fd 18 00", NULL }, { 8, "c4 e4 70 58 c2", NULL },
    { 8, "c4 e3 71 4a c2 30", "vblendvps xmm0, xmm1, xmm2, xmm3" },
    { 4, "c4 e3 71 4a c2 b0", "vblendvps xmm0, xmm1, xmm2, xmm3" },
    { 8, "c4 e2 71 90 04 10", "vpgatherdd xmm0, dword ptr [rax + xmm2], xmm1" },
    { 8, "c4 e2 71 90 04 08", NULL }, { 8, "c4 e2 79 90 04 10", NULL }, { 8, "c4 e2 71 90 00", NULL },
    { 8, "c4 e2 f3 f6 c2", "mulx rax, rcx, rdx" }, { 4, "c4 e2 f3 f6 c2", "mulx eax, ecx, edx" },
    { 8, "c4 e2 f7 f6 c2", NULL },
    /* others */
    { 8, "0f c7 f0", "rdrand eax" }, { 8, "66 0f c7 f0", "rdrand ax" }, { 8, "f3 0f c7 f8", "rdpid rax" },
    { 8, "f3 0f c7 f0", NULL },
    { 8, "0f 1e fa", "nop edx" }, { 8, "f3 0f 1e fa", "endbr64" }, { 8, "f3 0f 1e fb", "endbr32" },
    { 8, "f3 0f 1e c8", "nop eax" },
    { 8, "0f ae e8", "lfence" }, { 8, "0f ae ed", "lfence" }, { 8, "66 0f ae e8", NULL },
    { 8, "66 0f ae 38", "clflushopt byte ptr [rax]" },
    { 8, "0f ff c1", "ud0 eax, ecx" }, { 8, "0f b9 c1", "ud1 eax, ecx" }, { 8, "0f 04", NULL },
    { 8, "c7 f8 00 00 00 00", NULL },
    { 8, "d9 d1", NULL }, { 8, "d9 d0", "fnop" }, { 8, "db e5", NULL }, { 8, "df d8", "fstp st(0)" },
    { 8, "dd 28", NULL },
    { 8, "c8 34 12 05", "enter 0x1234, 5" }, { 8, "f2 48 0f 38 f1 c1", "crc32 rax, rcx" },
    { 8, "66 f2 0f 38 f1 c1", "crc32 eax, cx" },
};

START_TEST(test_text)
{
    const struct text_case *c = &text_cases[_i];
    struct insn in;
    char text[128];
    enum decode_status status = decode_hex(&in, c->hex, c->mode);
    if (!c->text) {
        ck_assert_msg(status == DECODE_UD, "%s in mode %u: status %d", c->hex, c->mode, status);
        return;
    }
    u8 bytes[32];
    ck_assert_msg(status == DECODE_OK, "%s in mode %u: status %d", c->hex, c->mode, status);
    ck_assert_uint_eq(in.len, parse_hex(c->hex, bytes));
    ck_assert_str_eq(insn_print(text, sizeof(text), &in, 0), c->text);
}
END_TEST

/* ---- lengths ----------------------------------------------------------------------------------------------------- */

/* Every proper prefix of an instruction is too short, whatever stands behind it; more bytes change nothing. */
START_TEST(test_short)
{
    static const char *const cases[] = { "66 48 81 84 8b 10 00 00 00 01 00 00 00",
                                         "c4 e3 71 4a 44 88 10 30",
                                         "9b",
                                         "0f 38 f1 40 10",
                                         "a1 88 77 66 55 44 33 22 11",
                                         "48 b8 01 02 03 04 05 06 07 08",
                                         "c8 34 12 05",
                                         "f3 0f 1e fa",
                                         "64 c5 f8 10 05 00 00 00 00" };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        u8 bytes[32];
        struct insn in;
        unsigned n = parse_hex(cases[i], bytes);
        for (unsigned k = 0; k < n; k++)
            ck_assert_msg(insn_decode(&in, bytes, k, 8, NULL) == DECODE_SHORT, "%s, %u bytes", cases[i], k);
        for (unsigned k = n; k < 20; k++) {
            ck_assert_msg(insn_decode(&in, bytes, k, 8, NULL) == DECODE_OK, "%s, %u bytes", cases[i], k);
            ck_assert_uint_eq(in.len, n);
        }
    }
}
END_TEST

START_TEST(test_too_long)
{
    u8 bytes[20];
    struct insn in;
    memset(bytes, 0x26, sizeof(bytes));
    memcpy(bytes + 13, "\x01\xce", 2);
    ck_assert_int_eq(insn_decode(&in, bytes, 20, 8, NULL), DECODE_OK);
    ck_assert_uint_eq(in.len, 15);
    ck_assert_int_eq(insn_decode(&in, bytes, 14, 8, NULL), DECODE_SHORT);
    memset(bytes, 0x26, sizeof(bytes));
    memcpy(bytes + 14, "\x01\xce", 2);
    ck_assert_int_eq(insn_decode(&in, bytes, 20, 8, NULL), DECODE_TOO_LONG);
    ck_assert_int_eq(insn_decode(&in, bytes, 15, 4, NULL), DECODE_TOO_LONG);
    ck_assert_int_eq(insn_decode(&in, bytes, 14, 4, NULL), DECODE_SHORT);
    memset(bytes, 0x66, sizeof(bytes));
    ck_assert_int_eq(insn_decode(&in, bytes, 20, 2, NULL), DECODE_TOO_LONG);
    ck_assert_int_eq(insn_decode(&in, bytes, 15, 2, NULL), DECODE_TOO_LONG);
    ck_assert_int_eq(insn_decode(&in, bytes, 14, 2, NULL), DECODE_SHORT);
    ck_assert_int_eq(insn_decode(&in, bytes, 0, 2, NULL), DECODE_SHORT);
}
END_TEST

/* Bytes behind `avail` are never read: each string stands at the end of its own allocation (ASan sees an overrun). */
START_TEST(test_no_overrun)
{
    unsigned seed = 1;
    for (unsigned i = 0; i < 60000; i++) {
        unsigned n = 1 + (unsigned)rand_r(&seed) % 16;
        u8 *bytes = malloc(n);
        struct insn in;
        char text[128];
        for (unsigned k = 0; k < n; k++)
            bytes[k] = k == 0 && i % 3 ? 0x0f : (u8)rand_r(&seed);
        if (insn_decode(&in, bytes, n, 2u << i % 3, NULL) == DECODE_OK) {
            ck_assert_uint_le(in.len, n);
            ck_assert_uint_lt(in.row, insn_row_count);
            insn_print(text, sizeof(text), &in, 0);
            insn_print(text, (size_t)rand_r(&seed) % 20, &in, 0);
        }
        free(bytes);
    }
}
END_TEST

/* Fields that no text shows. */
START_TEST(test_fields)
{
    struct insn in;
    ck_assert_int_eq(decode_hex(&in, "d9 e8", 4), DECODE_OK);
    ck_assert_uint_eq(in.imm2, 0x1e8);              /* FOP: low bits of the escape byte, ModRM */
    ck_assert_int_eq(decode_hex(&in, "0f 9d c0", 8), DECODE_OK);
    ck_assert_uint_eq(in.imm2, 13);                 /* condition */
    ck_assert_int_eq(decode_hex(&in, "83 c0 ff", 4), DECODE_OK);
    ck_assert_uint_eq(in.imm, 0xffffffff);          /* sign-extended to the operand size, zeroes above */
    ck_assert_int_eq(decode_hex(&in, "0f 58 c8", 4), DECODE_OK);
    ck_assert_uint_eq(in.op[1].reg, 1);             /* the legacy form repeats the destination */
    ck_assert_uint_eq(in.op[2].reg, 0);
    ck_assert_int_eq(decode_hex(&in, "66 0f 73 d1 04", 4), DECODE_OK);
    ck_assert_uint_eq(in.op[1].reg, 1);
    ck_assert_int_eq(decode_hex(&in, "f3 a4", 2), DECODE_OK);
    ck_assert_uint_eq(in.rep, REP_F3);
    ck_assert_int_eq(decode_hex(&in, "f3 0f 10 08", 4), DECODE_OK);
    ck_assert_uint_eq(in.rep, REP_NONE);
    ck_assert_int_eq(decode_hex(&in, "8b 45 00", 4), DECODE_OK);
    ck_assert_uint_eq(in.seg, SEG_SS);
    ck_assert_int_eq(decode_hex(&in, "41 8b 45 00", 8), DECODE_OK);
    ck_assert_uint_eq(in.seg, SEG_DS);              /* R13 is no stack register */
    ck_assert_int_eq(decode_hex(&in, "0f 01 10", 8), DECODE_OK);
    ck_assert_uint_eq(in.op[0].size, 10);
    ck_assert_int_eq(decode_hex(&in, "c5 fc 58 00", 8), DECODE_OK);
    ck_assert_uint_eq(in.vl, 32);
    ck_assert_uint_eq(in.op[2].size, 32);
    ck_assert_int_eq(decode_hex(&in, "c5 fe 58 00", 8), DECODE_OK);      /* scalar: VEX.L is ignored */
    ck_assert_uint_eq(in.vl, 16);
    ck_assert_uint_eq(in.op[2].size, 4);
}
END_TEST

/* ---- features ---------------------------------------------------------------------------------------------------- */

static const struct feature_case { enum cpuid_feature missing; const char *hex, *text; } feature_cases[] = {
    { CPUID_LZCNT, "f3 0f bd c1", "bsr eax, ecx" }, { CPUID_BMI1, "f3 0f bc c1", "bsf eax, ecx" },
    { CPUID_POPCNT, "f3 0f b8 c1", NULL },
    { CPUID_MOVBE, "0f 38 f0 00", NULL }, { CPUID_SSE42, "f2 0f 38 f0 c1", NULL }, { CPUID_AVX, "c5 f0 58 c2", NULL },
    { CPUID_AVX2, "c5 f4 58 c2", "vaddps ymm0, ymm1, ymm2" }, { CPUID_AVX2, "c5 f5 fc c2", NULL },
    { CPUID_AVX2, "c5 f1 fc c2", "vpaddb xmm0, xmm1, xmm2" }, { CPUID_AES, "c4 e2 71 dc c2", NULL },
    { CPUID_FMA, "c4 e2 71 98 c2", NULL },
    { CPUID_BMI2, "c4 e2 f3 f6 c2", NULL }, { CPUID_CMOV, "0f 40 c1", NULL },
    { CPUID_SSE, "0f 18 08", "nop dword ptr [rax]" },
    { CPUID_LAHF_LM, "9f", NULL }, { CPUID_AVX2, "c4 e2 7d 18 c0", NULL },
    { CPUID_AVX2, "c4 e2 7d 18 00", "vbroadcastss ymm0, dword ptr [rax]" },
    { CPUID_SSE2, "f3 90", "pause" }, { CPUID_SSE2, "0f d4 c1", NULL }, { CPUID_CX16, "48 0f c7 08", NULL },
    { CPUID_RDPID, "f3 0f c7 f8", NULL },
};

START_TEST(test_features)
{
    const struct feature_case *c = &feature_cases[_i];
    u64 features[CPUID_FEATURE_WORDS];
    u8 bytes[32];
    char text[128];
    struct insn in;
    memset(features, 0xff, sizeof(features));
    features[c->missing / 64] &= ~((u64)1 << c->missing % 64);
    unsigned n = parse_hex(c->hex, bytes);
    enum decode_status status = insn_decode(&in, bytes, n, 8, features);
    ck_assert_msg(status == (c->text ? DECODE_OK : DECODE_UD), "%s: status %d", c->hex, status);
    if (c->text)
        ck_assert_str_eq(insn_print(text, sizeof(text), &in, 0), c->text);
}
END_TEST

/* ---- the table itself -------------------------------------------------------------------------------------------- */

START_TEST(test_table)
{
    for (unsigned i = 0; i < insn_row_count; i++) {
        const struct insn_row *r = &insn_rows[i];
        ck_assert_msg(!(r->writes & r->undef), "%s: a flag is both written and undefined", r->name);
        ck_assert_msg(r->cpuid < CPUID_FEATURE_COUNT, "%s", r->name);
        ck_assert_msg(!(r->attr & ATTR_NO64 && r->attr & ATTR_ONLY64), "%s", r->name);
        ck_assert_msg(!(r->attr & ATTR_LOCK) || !(r->attr & ATTR_VEX), "%s", r->name);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("decode");
    TCase *t = tcase_create("decode");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, test_text, 0, ARRAY_LEN(text_cases));
    tcase_add_loop_test(t, test_features, 0, ARRAY_LEN(feature_cases));
    tcase_add_test(t, test_fields);
    tcase_add_test(t, test_short);
    tcase_add_test(t, test_too_long);
    tcase_add_test(t, test_no_overrun);
    tcase_add_test(t, test_table);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
