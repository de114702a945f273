/* test_decode.c - the decoder: prefixes, lengths, short and long input, rules beyond the table, and iced's test vectors
 * (../shared/vectors/iced-decoder beside the source tree, or $SHADOW86_VECTORS/iced-decoder; left out if absent). */
#include <check.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- iced's vectors ---------------------------------------------------------------------------------------------- */

static FILE *open_vectors(const char *name)
{
    const char *base = getenv("SHADOW86_VECTORS");
    char command[1024];
    if (base)
        snprintf(command, sizeof(command), "%s/iced-decoder/%s.txt.gz", base, name);
    else
        snprintf(command, sizeof(command), SHADOW86_SOURCE_DIR "/../shared/vectors/iced-decoder/%s.txt.gz", name);
    if (access(command, R_OK) != 0) {
        printf("test_decode: no %s: left out\n", command);
        return NULL;
    }
    char run[1100];
    snprintf(run, sizeof(run), "gzip -dc '%s'", command);
    return popen(run, "r");
}

static unsigned vector_cases, vector_failures;

__attribute__((format(printf, 3, 4))) static void vector_fail(const char *line, const struct insn *in,
                                                              const char *format, ...)
{
    va_list ap;
    char text[128] = "", why[160];
    va_start(ap, format);
    vsnprintf(why, sizeof(why), format, ap);
    va_end(ap);
    if (in)
        insn_print(text, sizeof(text), in, 0);
    if (vector_failures++ < 60)
        printf("iced: %s\n    ours: %s: %s\n", line, text, why);
}

/* iced's mnemonic for what we decoded, in lower case. */
static void iced_mnemonic(const struct insn *in, char *out, size_t size)
{
    static const struct { const char *ours, *iced; } names[] = {
        { "lcall", "call" }, { "ljmp", "jmp" }, { "movabs", "mov" }, { "xacquire", "" }, { "feni8087_nop", "fneni" },
        { "fdisi8087_nop", "fndisi" }, { "fsetpm", "fnsetpm" }, { "pushal", "pushad" }, { "popal", "popad" },
        { "pushaw", "pusha" },
        { "popaw", "popa" }, { "wbinvd", "wbnoinvd" },       /* F3 0F 09 is WBINVD where there is no WBNOINVD */
    };
    char text[64], *p = text;
    const struct insn_row *row = &insn_rows[in->row];
    insn_print(text, sizeof(text), in, 0);
    while (!strncmp(p, "lock ", 5) || !strncmp(p, "rep ", 4) || !strncmp(p, "repe ", 5) || !strncmp(p, "repne ", 6))
        p += strcspn(p, " ") + 1;
    p[strcspn(p, " ")] = 0;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(p, names[i].ours) && (strcmp(p, "wbinvd") || in->prefix & PREFIX_F3))
            p = (char *)names[i].iced;
    if (row->attr & ATTR_SSE && !strncmp(row->name, "cmp", 3))
        snprintf(out, size, "%s%s", in->vex ? "v" : "", row->name);
    else if (!strcmp(row->name, "movd") && (in->op[0].size == 8) && (in->op[1].size == 8))
        snprintf(out, size, "%smovq", in->vex ? "v" : "");
    else if ((!strcmp(row->name, "sysret") || !strcmp(row->name, "sysexit")) && in->rex_w)
        snprintf(out, size, "%sq", row->name);
    else
        snprintf(out, size, "%s", p);
}

/* Operands as iced counts them: none that the legacy form repeats, no ST(0) beside memory, no fixed XMM0. */
static unsigned iced_operands(const struct insn *in, unsigned index[4])
{
    unsigned n = 0;
    const struct insn_encoding *e = &insn_encodings[in->row];
    for (unsigned i = 0; i < 4 && in->op[i].kind != OP_NONE; i++) {
        unsigned where = insn_letters[e->op[i]].where, first = insn_letters[e->op[0]].where;
        if (where == AT_MSRC || where == AT_XMM0 || (where == AT_XSRC && !in->vex) ||
            (where == AT_ST0 && in->modrm_mem) || (i == 1 && first == AT_XDST && !in->vex))
            continue;
        index[n++] = i;
    }
    return n;
}

static const struct { const char *name; u8 size; } size_names[] = {
    { "UInt8", 1 }, { "Int8", 1 }, { "UInt16", 2 }, { "Int16", 2 }, { "WordOffset", 2 }, { "Packed16_Int8", 2 },
    { "Packed16_UInt8", 2 },
    { "UInt32", 4 }, { "Int32", 4 }, { "Float32", 4 }, { "DwordOffset", 4 }, { "SegPtr16", 4 },
    { "Bound16_WordWord", 4 },
    { "Packed32_Int16", 4 }, { "Packed32_UInt16", 4 }, { "Packed32_Int8", 4 }, { "Packed32_UInt8", 4 },
    { "QwordOffset", 8 },
    { "Fword6", 6 }, { "SegPtr32", 6 }, { "UInt64", 8 }, { "Int64", 8 }, { "Float64", 8 }, { "Bound32_DwordDword", 8 },
    { "Packed64_Int8", 8 }, { "Packed64_UInt8", 8 }, { "Packed64_Int16", 8 }, { "Packed64_UInt16", 8 },
    { "Packed64_Int32", 8 },
    { "Packed64_UInt32", 8 }, { "Packed64_Float16", 8 }, { "Packed64_Float32", 8 }, { "Float80", 10 }, { "Bcd", 10 },
    { "SegPtr64", 10 },
    { "UInt128", 16 }, { "Int128", 16 }, { "UInt256", 32 },
};
static unsigned size_of_type(const char *type)
{
    for (unsigned i = 0; i < ARRAY_LEN(size_names); i++)
        if (!strcmp(type, size_names[i].name))
            return size_names[i].size;
    return !strncmp(type, "Packed128", 9) ? 16 : !strncmp(type, "Packed256", 9) ? 32 : 0;
}

static const char *const gpr64[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
                                     "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip" };
static const char *const gpr32[] = { "eax", "ecx",  "edx",  "ebx",  "esp",  "ebp",  "esi",  "edi", "r8d",
                                     "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d", "eip" };
static const char *const gpr16[] = { "ax",  "cx",  "dx",   "bx",   "sp",   "bp",   "si",   "di",
                                     "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w" };
static const char *const gpr8[] = { "al",  "cl",  "dl",   "bl",   "spl",  "bpl",  "sil",  "dil",
                                    "r8l", "r9l", "r10l", "r11l", "r12l", "r13l", "r14l", "r15l" };
static const char *const gpr8h[] = { "ah", "ch", "dh", "bh" };
static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };

static int find_name(const char *name, const char *const *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(name, list[i]))
            return (int)i;
    return -1;
}

static void register_name(const struct operand *o, char *out, size_t size)
{
    switch (o->kind) {
    case OP_GPR:
        snprintf(out, size, "%s",
                 o->size == 8   ? gpr64[o->reg]
                 : o->size == 4 ? gpr32[o->reg]
                 : o->size == 2 ? gpr16[o->reg]
                                : gpr8[o->reg]);
        break;
    case OP_GPRH: snprintf(out, size, "%s", gpr8h[o->reg]); break;
    case OP_SREG: snprintf(out, size, "%s", segs[o->reg]); break;
    case OP_CR: snprintf(out, size, "cr%u", o->reg); break;
    case OP_DR: snprintf(out, size, "dr%u", o->reg); break;
    case OP_ST: snprintf(out, size, "st%u", o->reg); break;
    case OP_MMX: snprintf(out, size, "mm%u", o->reg); break;
    case OP_VEC: snprintf(out, size, "%cmm%u", o->size == 32 ? 'y' : 'x', o->reg); break;
    default: snprintf(out, size, "?"); break;
    }
}

static int address_register(const char *name, bool vsib)
{
    int r;
    if (!*name || !strcmp(name, "none"))
        return REG_NONE;
    if (vsib && (name[0] == 'x' || name[0] == 'y'))
        return atoi(name + 3);
    if ((r = find_name(name, gpr64, 17)) >= 0 || (r = find_name(name, gpr32, 17)) >= 0 ||
        (r = find_name(name, gpr16, 8)) >= 0)
        return r;
    return -1;
}

/* The instruction's address: an option ip= of the line, or iced's default. */
static const char *vector_line;
static u64 start_ip(unsigned mode)
{
    const char *p = strstr(vector_line, " ip=");
    return p ? strtoull(p + 4, NULL, 0) : mode == 8 ? 0x7ffffffffffffff0 : mode == 4 ? 0x7ffffff0 : 0x7ff0;
}

/* iced keeps ES, CS, SS and DS overrides in 64-bit mode, where they mean nothing. */
static bool segment_fits(const struct insn *in, const char *seg)
{
    int wanted = find_name(seg, segs, 6);
    return wanted == in->seg || (in->mode == 8 && in->prefix & PREFIX_SEG && wanted < SEG_FS && in->seg < SEG_FS);
}

/* seg base index scale(1, 2, 4, 8 or as power of two) disp */
static bool memory_fits(const struct insn *in, const char *seg, const char *base, const char *index, unsigned scale,
                        u64 disp)
{
    u64 ours = in->disp, mask = in->addrsize == 8 ? ~(u64)0 : ((u64)1 << 8 * in->addrsize) - 1;
    if (in->base == REG_RIP)
        ours += start_ip(in->mode) + in->len;
    return segment_fits(in, seg) && address_register(base, false) == in->base &&
           address_register(index, in->vsib) == in->index && (in->index == REG_NONE || scale == in->scale) &&
           (ours & mask) == (disp & mask);
}

/* One iced operand, "m;ds;bx;si;1;0;0;UInt16" or "r;ecx" or ... */
static bool operand_fits(const struct insn *in, const struct operand *o, char *text)
{
    char *f[10] = { 0 }, name[16];
    unsigned n = 0;
    for (char *p; n < 10 && (p = strsep(&text, ";")) != NULL;)
        f[n++] = p;
    u64 value = n > 1 ? strtoull(f[1], NULL, 0) : 0,
        mask = o->size >= 8 || !o->size ? ~(u64)0 : ((u64)1 << 8 * o->size) - 1;
    if (!strcmp(f[0], "r")) {
        register_name(o, name, sizeof(name));
        /* LLDT, LTR, LMSW, VERR, VERW, MOVSX and others read 16 bits of a register that iced shows at full size */
        return !strcmp(name, f[1]) ||
               (o->kind == OP_GPR && o->size <= 4 && find_name(f[1], o->size == 4 ? gpr64 : gpr32, 16) == o->reg) ||
               (o->kind == OP_GPR && o->size == 2 && find_name(f[1], gpr64, 16) == o->reg);
    }
    if (!strcmp(f[0], "m")) {
        unsigned log = f[4][0] == '8' ? 3 : f[4][0] == '4' ? 2 : f[4][0] == '2' ? 1 : 0, size = size_of_type(f[7]);
        return o->kind == OP_MEM && memory_fits(in, f[1], f[2], f[3], log, strtoull(f[5], NULL, 0)) &&
               (!size || !o->size || size == o->size);
    }
    if (f[0][0] == 'i' && isdigit((unsigned char)f[0][1])) {
        if (o->kind != OP_IMM)
            return false;
        return ((o->reg ? in->imm2 : in->imm) & mask) == (value & mask);
    }
    if (!strncmp(f[0], "nb", 2))
        return o->kind == OP_REL && ((start_ip(in->mode) + in->len + in->imm) & mask) == (value & mask);
    if (!strncmp(f[0], "fb", 2))
        return o->kind == OP_FAR && in->imm2 == value && in->imm == strtoull(f[2], NULL, 0);
    if (f[0][0] == 'e' && f[0][1] == 's')
        return o->kind == OP_STR && o->reg == REG_RDI;
    if (!strcmp(f[0], "segdi") || !strcmp(f[0], "segedi") || !strcmp(f[0], "segrdi"))
        return true;        /* MASKMOVQ: no operand of ours */
    if (!strncmp(f[0], "seg", 3))
        return (o->kind == OP_STR && o->reg == REG_RSI) || o->kind == OP_MEM;
    return false;
}

static const char *option_of(const char *line, const char *name)
{
    const char *p = strstr(line, name);
    return p ? p + strlen(name) : NULL;
}

/* Is iced's mnemonic something that the table has at all? Anything else has to be #UD or a hint NOP. */
static bool known_mnemonic(const char *name)
{
    static const char *const not_here[] = { "vmovw", "reservednop", NULL };
    for (unsigned i = 0; not_here[i]; i++)
        if (!strcmp(name, not_here[i]))
            return false;
    for (unsigned i = 0; i < insn_row_count; i++)
        if (!strcmp(insn_rows[i].name, name) ||
            (name[0] == 'v' && insn_rows[i].attr & ATTR_VEX && !strcmp(insn_rows[i].name, name + 1)))
            return true;
    return false;
}

/* Encodings with a familiar mnemonic that are not in the table: by iced's code name. Reason: see the head of insn.def.
 */
static bool foreign_code(const char *code)
{
    static const char *const part[] = { "EVEX_", "XOP_", "D3NOW_", "MVEX_", "VEX_KNC", "Rmpadjust", NULL };
    for (unsigned i = 0; part[i]; i++)
        if (!strncmp(code, part[i], strlen(part[i])))
            return true;
    static const char *const wide_crypto[] = { "VEX_Vaesenc_ymm",    "VEX_Vaesenclast_ymm",
                                               "VEX_Vaesdec_ymm",    "VEX_Vaesdeclast_ymm",
                                               "VEX_Vpclmulqdq_ymm", "VEX_Vcvtneps2",
                                               "VEX_Vpdp",           "VEX_Vpmadd52",
                                               "VEX_Vgf2",           NULL };
    for (unsigned i = 0; wide_crypto[i]; i++)
        if (!strncmp(code, wide_crypto[i], strlen(wide_crypto[i])))
            return true;
    return false;
}

static void check_valid(const char *line, const struct insn *in, enum decode_status status, const char *code,
                        const char *mnemonic, unsigned expected_ops, char *rest)
{
    char name[80], *token;
    if (foreign_code(code) || !known_mnemonic(mnemonic)) {
        char printed[80] = "";
        if (status == DECODE_OK)
            iced_mnemonic(in, printed, sizeof(printed));
        if (status == DECODE_UD || !strcmp(insn_rows[in->row].name, "nop") || !strcmp(mnemonic, printed))
            return;
    }
    if (status != DECODE_OK) {
        vector_fail(line, NULL, "status %d", status);
        return;
    }
    iced_mnemonic(in, name, sizeof(name));
    if (strcmp(name, mnemonic) && strcmp(mnemonic, "reservednop")) {
        vector_fail(line, in, "mnemonic %s", name);
        return;
    }
    unsigned index[4], n = iced_operands(in, index), shift = expected_ops > n ? expected_ops - n : 0;
    while ((token = strsep(&rest, " ")) != NULL) {
        if (strncmp(token, "op", 2) || token[3] != '=' || !isdigit((unsigned char)token[2]))
            continue;
        unsigned k = (unsigned)(token[2] - '0');
        if (k < shift)
            continue;               /* iced counts ST(0) or a fixed register that we have no operand for */
        if (k - shift >= n || !operand_fits(in, &in->op[index[k - shift]], token + 4)) {
            vector_fail(line, in, "operand %u", k);
            return;
        }
    }
}

/* "HEX, Code, Mnemonic, operands, op0=... options" */
static void check_decoder_line(char *line, unsigned mode)
{
    static const char *const other_cpus[] = { "Cyrix",
                                              "ALTINST",
                                              "MPX",
                                              "AMD",
                                              "Jmpe",
                                              "Loadall",
                                              "MovTr",
                                              "NoMPFX",
                                              "OldFpu",
                                              "Pcommit",
                                              "Umov",
                                              "Xbts",
                                              "NoPause",
                                              "Cmpxchg486A",
                                              "ForceReservedNop",
                                              "NoInvalidCheck",
                                              "Cl1invmb",
                                              "NoWbnoinvd",
                                              "NoLahfSahf64",
                                              "Udbg",
                                              NULL };
    char copy[512], *rest = copy;
    const char *option = option_of(line, "decopt=");
    for (unsigned i = 0; option && other_cpus[i]; i++)
        if (strstr(option, other_cpus[i]))
            return;
    snprintf(copy, sizeof(copy), "%s", line);
    char *hex = strsep(&rest, ","), *code = strsep(&rest, ","), *mnemonic = strsep(&rest, ","),
         *ops = strsep(&rest, ",");
    if (!ops)
        return;
    code += 1;
    mnemonic += 1;
    for (char *p = mnemonic; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    u8 bytes[32];
    struct insn in;
    unsigned n = parse_hex(hex, bytes);
    enum decode_status status = insn_decode(&in, bytes, n, mode, NULL);
    vector_cases++;
    if (strcmp(code, "INVALID")) {
        check_valid(line, &in, status, code, mnemonic, (unsigned)atoi(ops), rest);
        if (status == DECODE_OK && in.len != n)
            vector_fail(line, &in, "length %u", in.len);
    } else if (strstr(rest ? rest : "", "err=NoMoreBytes")) {
        if (status != DECODE_SHORT && status != DECODE_UD)      /* cut off behind an opcode that we lack altogether */
            vector_fail(line, &in, "status %d", status);
    } else if (status == DECODE_OK) {
        vector_fail(line, &in, "is valid");
    }
}

/* "HEX, Code, reg, segment prefix, segment, base, index, scale, disp, disp size, constant offsets" */
static void check_memory_line(char *line, unsigned mode)
{
    char copy[512], *rest = copy, *f[11];
    unsigned count = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *p; count < 11 && (p = strsep(&rest, ",")) != NULL;)
        f[count++] = p + (*p == ' ');
    if (count < 10 || foreign_code(f[1]) || strstr(line, "decopt=NoInvalidCheck"))
        return;
    u8 bytes[32];
    struct insn in;
    unsigned n = parse_hex(f[0], bytes);
    vector_cases++;
    enum decode_status status = insn_decode(&in, bytes, n, mode, NULL);
    if (status != DECODE_OK || in.len != n)
        vector_fail(line, NULL, "status %d, length %u", status, in.len);
    else if (!memory_fits(&in, f[4], f[5], f[6], (unsigned)atoi(f[7]), strtoull(f[8], NULL, 0)))
        vector_fail(line, &in, "memory operand");
}

static const struct { const char *file; unsigned mode; void (*check)(char *line, unsigned mode); } vector_files[] = {
    { "DecoderTest16", 2, check_decoder_line }, { "DecoderTest32", 4, check_decoder_line },
    { "DecoderTestMisc16", 2, check_decoder_line },
    { "DecoderTestMisc32", 4, check_decoder_line }, { "DecoderTestMisc64", 8, check_decoder_line },
    { "MemoryTest16", 2, check_memory_line },
    { "MemoryTest32", 4, check_memory_line }, { "MemoryTest64", 8, check_memory_line },
};

START_TEST(test_iced)
{
    FILE *f = open_vectors(vector_files[_i].file);
    char *line = NULL;
    size_t size = 0;
    if (!f)
        return;
    vector_cases = vector_failures = 0;
    while (getline(&line, &size, f) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        vector_line = line;
        if (line[0] && line[0] != '#')
            vector_files[_i].check(line, vector_files[_i].mode);
    }
    free(line);
    pclose(f);
    printf("iced %s: %u cases, %u failed\n", vector_files[_i].file, vector_cases, vector_failures);
    ck_assert_uint_gt(vector_cases, 0);
    ck_assert_uint_eq(vector_failures, 0);
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
    tcase_add_loop_test(t, test_iced, 0, ARRAY_LEN(vector_files));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
