/* iced.c - the decoder against the test vectors of the iced disassembler: validity, mnemonic, operands, addresses.
 *
 * DecoderTest*.txt.gz: "HEX, Code, Mnemonic, operands, op0=... options"; MemoryTest*.txt.gz: "HEX, Code, reg, segment
 * prefix, segment, base, index, scale, disp, ...". Lines for CPUs that we do not model are left out (other_cpus, foreign_code).
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/insn_table.h"
#include "tests/vectors/vectors.h"

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

static struct tally *tally;
static bool line_failed, line_counts;     /* of the line at hand */

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
    line_failed = true;
    if (!tally->failed && !*tally->first_failure)
        snprintf(tally->first_failure, sizeof(tally->first_failure), "%s\n   ours: %s: %s", line, text, why);
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
        return GPR_NONE;
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
    if (in->base == GPR_RIP)
        ours += start_ip(in->mode) + in->len;
    return segment_fits(in, seg) && address_register(base, false) == in->base &&
           address_register(index, in->vsib) == in->index && (in->index == GPR_NONE || scale == in->scale) &&
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
        return o->kind == OP_STR && o->reg == GPR_RDI;
    if (!strcmp(f[0], "segdi") || !strcmp(f[0], "segedi") || !strcmp(f[0], "segrdi"))
        return true;        /* MASKMOVQ: no operand of ours */
    if (!strncmp(f[0], "seg", 3))
        return (o->kind == OP_STR && o->reg == GPR_RSI) || o->kind == OP_MEM;
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
    line_counts = true;
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
    line_counts = true;
    enum decode_status status = insn_decode(&in, bytes, n, mode, NULL);
    if (status != DECODE_OK || in.len != n)
        vector_fail(line, NULL, "status %d, length %u", status, in.len);
    else if (!memory_fits(&in, f[4], f[5], f[6], (unsigned)atoi(f[7]), strtoull(f[8], NULL, 0)))
        vector_fail(line, &in, "memory operand");
}

static const struct { const char *file; unsigned mode; void (*check)(char *line, unsigned mode); } vector_files[] = {
    { "DecoderTest16.txt.gz", 2, check_decoder_line }, { "DecoderTest32.txt.gz", 4, check_decoder_line },
    { "DecoderTestMisc16.txt.gz", 2, check_decoder_line },
    { "DecoderTestMisc32.txt.gz", 4, check_decoder_line }, { "DecoderTestMisc64.txt.gz", 8, check_decoder_line },
    { "MemoryTest16.txt.gz", 2, check_memory_line },
    { "MemoryTest32.txt.gz", 4, check_memory_line }, { "MemoryTest64.txt.gz", 8, check_memory_line },
};

void run_iced(const char *folder, const char *name, struct tally *t)
{
    char path[1100];
    size_t size;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    char *text = (char *)read_gz(path, &size);
    tally = t;
    for (unsigned i = 0; text && i < ARRAY_LEN(vector_files); i++) {
        if (strcmp(vector_files[i].file, name))
            continue;
        for (char *save, *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
            line_failed = line_counts = false;
            vector_line = line;
            if (line[0] != '#')
                vector_files[i].check(line, vector_files[i].mode);
            t->failed += line_failed;
            t->passed += line_counts && !line_failed;
        }
    }
    if (!text)
        t->failed++;
    free(text);
}
