/* print.c - struct insn -> text, in Intel syntax with the mnemonics and habits of Capstone 4.
 *
 * The table gives names and operands; this file knows what only readers care about: mnemonics that carry a size or a
 * condition, names that differ from the row's, operands that are usually left out, signs of immediates. Where Capstone
 * is wrong we print what the manual says (tests/decode/capstone-differences.txt).
 */
#include "cpu/insn_table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text { char *buf; size_t size, len; };

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    size_t room = t->len < t->size ? t->size - t->len : 0;
    int n = vsnprintf(room ? t->buf + t->len : NULL, room, format, ap);
    va_end(ap);
    if (n > 0)
        t->len += (size_t)n;
}

/* ---- registers and numbers --------------------------------------------------------------------------------------- */

static const char *const gpr_name[4][16] = {
    { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b",
      "r15b" },
    { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w" },
    { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d",
      "r15d" },
    { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" },
};
static const char *const high_name[4] = { "ah", "ch", "dh", "bh" };
static const char *const seg_name[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs" };
static const char *const cc_name[16] = { "o", "no", "b", "ae", "e", "ne", "be", "a",
                                         "s", "ns", "p", "np", "l", "ge", "le", "g" };

static const char *reg_name(unsigned reg, unsigned bytes)
{
    if (reg == GPR_RIP)
        return bytes == 8 ? "rip" : bytes == 4 ? "eip" : "ip";
    return gpr_name[bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0][reg & 15];
}

static void put_unsigned(struct text *t, u64 v) { put(t, v > 9 ? "0x%" PRIx64 : "%" PRIu64, v); }

static s64 sign_extend(u64 v, unsigned bytes)
{
    return bytes >= 8 ? (s64)v : (s64)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

static void put_signed(struct text *t, s64 v)
{
    if (v < 0)
        put(t, "-");
    put_unsigned(t, v < 0 ? -(u64)v : (u64)v);
}

static u64 truncate_to(u64 v, unsigned bytes) { return bytes >= 8 ? v : v & (((u64)1 << 8 * bytes) - 1); }

/* ---- mnemonic ---------------------------------------------------------------------------------------------------- */

/* What a row's name becomes; the letter says what to append. */
enum suffix {
    PLAIN,
    CONDITION,
    ELEMENT /* of a string: b w d q */,
    PUSHA /* w, l */,
    PUSHF /* "", d, q */,
    RETF /* q if 64-bit */,
    RCX /* of the address size: jcxz jecxz jrcxz */,
    AREA64 /* 64 with REX.W */,
    SIZE_Q_IF_8 /* last letter d -> q */,
};
static const struct rename { const char *name, *text; enum suffix suffix; } renames[] = {
    { "jcc", "j", CONDITION }, { "setcc", "set", CONDITION }, { "cmovcc", "cmov", CONDITION },
    { "movs", "movs", ELEMENT }, { "cmps", "cmps", ELEMENT }, { "stos", "stos", ELEMENT }, { "lods", "lods", ELEMENT },
    { "scas", "scas", ELEMENT }, { "ins", "ins", ELEMENT }, { "outs", "outs", ELEMENT },
    { "pusha", "pusha", PUSHA }, { "popa", "popa", PUSHA },
    { "pushf", "pushf", PUSHF }, { "popf", "popf", PUSHF }, { "iret", "iret", PUSHF },
    { "ret_far", "retf", RETF }, { "call_far", "lcall", PLAIN }, { "jmp_far", "ljmp", PLAIN },
    { "push_sreg", "push", PLAIN }, { "pop_sreg", "pop", PLAIN },
    { "mov_sreg", "mov", PLAIN }, { "mov_cr", "mov", PLAIN }, { "mov_dr", "mov", PLAIN },
    { "fwait", "wait", PLAIN }, { "xlat", "xlatb", PLAIN }, { "jcxz", "", RCX },
    { "fxsave", "fxsave", AREA64 }, { "fxrstor", "fxrstor", AREA64 }, { "xsave", "xsave", AREA64 },
    { "xrstor", "xrstor", AREA64 }, { "xsaveopt", "xsaveopt", AREA64 }, { "xsavec", "xsavec", AREA64 },
    { "xsaves", "xsaves", AREA64 }, { "xrstors", "xrstors", AREA64 },
    { "movd", "movd", SIZE_Q_IF_8 }, { "pextrd", "pextrd", SIZE_Q_IF_8 }, { "pinsrd", "pinsrd", SIZE_Q_IF_8 },
    { "fneni", "feni8087_nop", PLAIN }, { "fndisi", "fdisi8087_nop", PLAIN }, { "fnsetpm", "fsetpm", PLAIN },
};

static const char compare_name[32][10] = {
    "eq",     "lt",     "le",    "unord",  "neq",    "nlt",      "nle",    "ord",   "eq_uq",   "nge",     "ngt",
    "false",  "neq_oq", "ge",    "gt",     "true",   "eq_os",    "lt_oq",  "le_oq", "unord_s", "neq_us",  "nlt_uq",
    "nle_uq", "ord_s",  "eq_us", "nge_uq", "ngt_uq", "false_os", "neq_os", "ge_oq", "gt_oq",   "true_us",
};

/* CMPPS, CMPPD, CMPSS, CMPSD with a predicate that has a name of its own. */
static bool is_named_compare(const struct insn *in, const char *name)
{
    return insn_rows[in->row].attr & ATTR_SSE && !strncmp(name, "cmp", 3) && strlen(name) == 5 &&
           in->imm < (in->vex ? 32 : 8);
}

static char size_letter(unsigned bytes) { return bytes == 1 ? 'b' : bytes == 2 ? 'w' : bytes == 4 ? 'd' : 'q'; }

static void put_renamed(struct text *t, const struct insn *in, const struct rename *r)
{
    const struct operand *o = &in->op[in->op[0].kind == OP_STR ? 0 : 1];
    bool any8 = in->op[0].size == 8 || in->op[1].size == 8 || in->op[2].size == 8;
    switch (r->suffix) {
    case CONDITION: put(t, "%s%s", r->text, cc_name[in->imm2 & 15]); break;
    case ELEMENT: put(t, "%s%c", r->text, size_letter(o->size)); break;
    case PUSHA: put(t, "%s%c", r->text, in->opsize == 2 ? 'w' : 'l'); break;
    case PUSHF: put(t, "%s%s", r->text, in->opsize == 2 ? "" : in->opsize == 4 ? "d" : "q"); break;
    case RETF: put(t, "%s%s", r->text, in->opsize == 8 ? "q" : ""); break;
    case RCX: put(t, "j%sz", reg_name(GPR_RCX, in->addrsize)); break;
    case AREA64: put(t, "%s%s", r->text, in->rex_w ? "64" : ""); break;
    case SIZE_Q_IF_8:
        put(t, "%.*s%c", (int)strlen(r->text) - 1, r->text, any8 && insn_rows[in->row].attr & ATTR_SSE ? 'q' : 'd');
        break;
    default: put(t, "%s", r->text); break;
    }
}

static bool is_movabs(const struct insn *in, const char *name)
{
    const struct insn_encoding *e = &insn_encodings[in->row];
    unsigned a = insn_letters[e->op[0]].where, b = insn_letters[e->op[1]].where;
    return !strcmp(name, "mov") &&
           ((in->addrsize == 8 && (a == AT_MOFFS || b == AT_MOFFS)) || (b == AT_IMMV && in->opsize == 8));
}

static void put_mnemonic(struct text *t, const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    const struct insn_encoding *e = &insn_encodings[in->row];
    const char *name = row->name;
    if (in->vex && row->attr & ATTR_SSE && name[0] != 'v')
        put(t, "v");
    for (unsigned i = 0; i < ARRAY_LEN(renames); i++)
        if (!strcmp(name, renames[i].name)) {
            put_renamed(t, in, &renames[i]);
            return;
        }
    if (is_named_compare(in, name))
        put(t, "cmp%s%s", compare_name[in->imm], name + 3);
    else if (e->ext == 6 && !strcmp(name, "shl"))
        put(t, "sal");
    else
        put(t, "%s", is_movabs(in, name) ? "movabs" : name);
}

static void put_prefixes(struct text *t, const struct insn *in)
{
    const char *name = insn_rows[in->row].name;
    if (in->lock)
        put(t, "lock ");
    if (in->rep == REP_F2)
        put(t, "repne ");
    else if (in->rep == REP_F3)
        put(t, !strcmp(name, "cmps") || !strcmp(name, "scas") ? "repe " : "rep ");
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(name, *list))
            return true;
    return false;
}

static const char *memory_size(const struct insn *in, const struct operand *o)
{
    static const char *const sized_dword[] = { "frstor", "fnsave", NULL };
    static const char *const pointer[] = { "les",    "lds",      "lss",    "lfs",    "lgs",     "xsave",
                                           "xrstor", "xsaveopt", "xsavec", "xsaves", "xrstors", NULL };
    static const char *const unsized[] = { "call_far", "jmp_far", "sgdt", "sidt", "lgdt", "lidt", NULL };
    const char *name = insn_rows[in->row].name;
    if (is_one_of(name, unsized))
        return "";
    if (is_one_of(name, pointer) || (in->rex_w && !strncmp(name, "fx", 2)))
        return "ptr ";
    if (is_one_of(name, sized_dword))
        return "dword ptr ";
    switch (o->size) {
    case 1: return "byte ptr ";
    case 2: return "word ptr ";
    case 4: return "dword ptr ";
    case 8: return "qword ptr ";
    case 10: return !strncmp(name, "fb", 2) ? "tbyte ptr " : "xword ptr ";
    case 16: return "xmmword ptr ";
    case 32: return "ymmword ptr ";
    default: return strcmp(name, "invlpg") ? "" : "byte ptr ";
    }
}

static void put_index(struct text *t, const struct insn *in, const struct operand *o)
{
    if (in->base != GPR_NONE)
        put(t, " + ");
    if (in->vsib)
        put(t, "%cmm%u", o->reg == 32 ? 'y' : 'x', in->index);
    else
        put(t, "%s", reg_name(in->index, in->addrsize));
    if (in->scale)
        put(t, "*%u", 1u << in->scale);
}

static bool prints_segment(const struct insn *in)
{
    return in->prefix & PREFIX_SEG && (in->mode != 8 || in->seg >= SEG_FS);
}

static void put_memory(struct text *t, const struct insn *in, const struct operand *o)
{
    put(t, "%s", memory_size(in, o));
    if (prints_segment(in))
        put(t, "%s:", seg_name[in->seg]);
    put(t, "[");
    if (in->base != GPR_NONE)
        put(t, "%s", reg_name(in->base, in->addrsize));
    if (in->index != GPR_NONE)
        put_index(t, in, o);
    if (in->base == GPR_NONE && in->index == GPR_NONE) {
        put_unsigned(t, truncate_to(in->disp, in->addrsize));
    } else if (in->disp) {
        s64 disp = (s64)in->disp;
        put(t, disp < 0 ? " - " : " + ");
        put_unsigned(t, disp < 0 ? -(u64)disp : (u64)disp);
    }
    put(t, "]");
}

static void put_string(struct text *t, const struct insn *in, const struct operand *o)
{
    put(t, "%s", memory_size(in, o));
    if (o->reg == GPR_RDI && in->mode != 8)
        put(t, "es:");
    else if (o->reg == GPR_RSI && prints_segment(in))
        put(t, "%s:", seg_name[in->seg]);
    put(t, "[%s]", reg_name(o->reg, in->addrsize));
}

static void put_immediate(struct text *t, const struct insn *in, unsigned i, unsigned where)
{
    static const char *const logic[] = { "and", "or", "xor", NULL };
    const struct operand *o = &in->op[i];
    bool is_signed = where == AT_IMMS || (where == AT_IMMZ && in->opsize == 8);
    if (o->reg)
        put_unsigned(t, in->imm2);
    else if (is_signed && !is_one_of(insn_rows[in->row].name, logic))
        put_signed(t, sign_extend(in->imm, o->size));
    else
        put_unsigned(t, in->imm);
}

/* Branch targets wrap at the operand size (SDM 2, JMP). */
static void put_target(struct text *t, const struct insn *in, u64 rip)
{
    put_unsigned(t, truncate_to(rip + in->len + in->imm, in->opsize));
}

static void put_operand(struct text *t, const struct insn *in, unsigned i, unsigned where, u64 rip)
{
    const struct operand *o = &in->op[i];
    switch (o->kind) {
    case OP_GPR: put(t, "%s", reg_name(o->reg, o->size)); break;
    case OP_GPRH: put(t, "%s", high_name[o->reg & 3]); break;
    case OP_MEM: put_memory(t, in, o); break;
    case OP_STR: put_string(t, in, o); break;
    case OP_IMM: put_immediate(t, in, i, where); break;
    case OP_REL: put_target(t, in, rip); break;
    case OP_FAR: put_unsigned(t, in->imm2); put(t, ":"); put_unsigned(t, in->imm); break;
    case OP_SREG: put(t, "%s", seg_name[o->reg % SEG_COUNT]); break;
    case OP_CR: put(t, "cr%u", o->reg); break;
    case OP_DR: put(t, "dr%u", o->reg); break;
    case OP_ST: put(t, "st(%u)", o->reg); break;
    case OP_MMX: put(t, "mm%u", o->reg); break;
    case OP_VEC: put(t, "%cmm%u", o->size == 32 ? 'y' : 'x', o->reg); break;
    default: break;
    }
}

/* x87: ST(0) is written only where the two register operands could be taken for another instruction. */
static bool x87_hidden(const struct insn *in, unsigned i, unsigned where)
{
    u8 escape = insn_encodings[in->row].opcode & 0xff;
    if (where != AT_ST0)
        return false;
    if (in->modrm_mem || i == 1)
        return escape != 0xdc;
    bool conditional_move = (escape & 0xfe) == 0xda && insn_encodings[in->row].ext < 4;
    return !(conditional_move || escape == 0xdc || insn_encodings[in->row].opcode == 0xde);
}

/* Operands that the legacy form repeats, XMM0 where it is fixed, and predicates that are in the mnemonic. */
static bool is_hidden(const struct insn *in, unsigned i, unsigned where)
{
    unsigned first = insn_letters[insn_encodings[in->row].op[0]].where;
    if (where == AT_MSRC || where == AT_XMM0 || (where == AT_XSRC && !in->vex))
        return true;
    if (i == 1 && first == AT_XDST && !in->vex)
        return true;
    if (where == AT_IMM && is_named_compare(in, insn_rows[in->row].name))
        return true;
    if (where == AT_IMM && in->imm == 10 && (insn_encodings[in->row].opcode & 0xfe) == 0xd4)
        return insn_encodings[in->row].opcode < 0x100;      /* AAM, AAD in base ten */
    return in->modrm_mem ? where == AT_ST0 : x87_hidden(in, i, where);
}

char *insn_print(char *buf, size_t size, const struct insn *in, u64 rip)
{
    struct text t = { buf, size, 0 };
    const struct insn_encoding *e = &insn_encodings[in->row];
    const char *separator = " ";
    if (size)
        buf[0] = 0;
    put_prefixes(&t, in);
    put_mnemonic(&t, in);
    bool swapped = e->opcode == 0x90;          /* XCHG: the accumulator first */
    for (unsigned k = 0; k < 4 && in->op[k].kind != OP_NONE; k++) {
        unsigned i = swapped ? k ^ 1 : k, where = insn_letters[e->op[i]].where;
        if (is_hidden(in, i, where))
            continue;
        put(&t, "%s", separator);
        put_operand(&t, in, i, where, rip);
        separator = ", ";
    }
    return buf;
}
