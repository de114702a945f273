/* ir_text.c - the IR as text: printing, and parsing what was printed (tests are written in it).
 *
 * One operation a line:
 *
 *   add.8 rax, [t1+16] lock {f OSZAPC, use C, live ZC}
 *   ptr.8 t1 = ds:[rbx+rcx*4-8] write align          movzx.8.1 rax, ah            cmov.4:ne rcx, [t0]
 *   lea.8 t2 = [pc+0x1234]                           insn.16 pshufd#310 xmm0, xmm1, 27
 *   get.8 t3 = fs_base      put.4 eflags, t4         jcc:e 0x40 poll likely       icall.8 t5 return 0x1f
 *
 * name.size, movzx and movsx with the source's size behind it, :condition; operands, `_` for one that is absent before
 * one that is not; immediate, target, offset of the return address; words for ins.bits, ptr's access (none: read) and
 * address size (none: 8). {f defined, use read, live live, exit live at the exit}: no braces stand for what ir_add
 * sets. Small numbers are decimal, large ones and offsets are hexadecimal; both are read everywhere. `;` begins a
 * comment.
 *
 * A unit is `unit mode flags FLAGS temps n`, `guest offset` before the operations of each guest instruction, and `end
 * offset`. All of these may be left out in tests; without `guest` there is one at offset 0. Guest instructions
 * themselves (unit.guest) are not in the text: they print as comments.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jit/ir.h"

/* --- names ------------------------------------------------------------------------------------------------------ */

static const char *const gpr_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
static const char *const high_names[4] = { "ah", "ch", "dh", "bh" };
static const char *const seg_names[6] = { "es", "cs", "ss", "ds", "fs", "gs" };
static const char *const cc_names[16] = { "o", "no", "b", "ae", "e", "ne", "be", "a",
                                          "s", "ns", "p", "np", "l", "ge", "le", "g" };
static const char *const access_names[3] = { "read", "write", "rw" };
static const char *const need_names[4] = { "sse", "avx", "x87", "mmx" };
static const char *const bit_names[] = { "lock", "poll", "align", "tlb", "likely", "span", "apart" };
static const char *const field_names[IR_FIELD_COUNT] = {
#define X(name, where) #name,
    IR_FIELDS(X)
#undef X
};
static const struct { char letter; u16 bit; } flag_letters[6] = {
    { 'O', IR_O }, { 'S', IR_S }, { 'Z', IR_Z }, { 'A', IR_A }, { 'P', IR_P }, { 'C', IR_C } };
/* Numbered operands; the longer prefix first. */
static const struct { const char *prefix; u16 first, count; } numbered[4] = {
    { "xmm", IR_V, 16 }, { "mm", IR_MMX, 8 }, { "st", IR_ST, 8 }, { "t", IR_T, IR_MAX_TEMPS } };

/* What stands behind the operands. */
enum extra { EXTRA_NONE, EXTRA_IMM, EXTRA_TARGET, EXTRA_NEED, EXTRA_RETURN, EXTRA_TARGET_RETURN };
static enum extra extra_of(unsigned op)
{
    switch (op) {
    case IR_OP_imul3: case IR_OP_count: return EXTRA_IMM;
    case IR_OP_jcc: case IR_OP_jz: case IR_OP_jnz: case IR_OP_jmp: return EXTRA_TARGET;
    case IR_OP_call: return EXTRA_TARGET_RETURN;
    case IR_OP_icall: return EXTRA_RETURN;
    case IR_OP_need: return EXTRA_NEED;
    default: return EXTRA_NONE;
    }
}
static bool has_size2(unsigned op) { return op == IR_OP_movzx || op == IR_OP_movsx; }
static bool has_address(unsigned op) { return op == IR_OP_lea || op == IR_OP_ptr || op == IR_OP_code; }
static bool has_field(unsigned op) { return op == IR_OP_get || op == IR_OP_put; }

/* --- printing --------------------------------------------------------------------------------------------------- */

struct out { char *buf; size_t size, n; };

static __attribute__((format(printf, 2, 3))) void put(struct out *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = o->n < o->size ? o->size - o->n : 0;
    int n = vsnprintf(room ? o->buf + o->n : NULL, room, format, args);
    va_end(args);
    o->n += n > 0 ? (size_t)n : 0;
}

static void put_hex(struct out *o, s64 v)
{
    put(o, "%s0x%llx", v < 0 ? "-" : "", (unsigned long long)(v < 0 ? -(u64)v : (u64)v));
}

static void put_number(struct out *o, s64 v)
{
    if (v > -4096 && v < 4096)
        put(o, "%d", (int)v);
    else
        put_hex(o, v);
}

/* [+-]number inside of brackets; `first`: nothing stands before it. */
static void put_disp(struct out *o, s32 disp, bool first)
{
    if (!disp && !first)
        return;
    if (disp >= 0 && !first)
        put(o, "+");
    put_number(o, disp);
}

static void put_register(struct out *o, ir_val v)
{
    if (ir_is_gpr(v))
        put(o, "%s", gpr_names[v - IR_G]);
    else if (ir_is_high(v))
        put(o, "%s", high_names[v - IR_H]);
    else if (v == IR_PC || v == IR_NONE)
        put(o, v ? "pc" : "_");
    else {
        for (unsigned i = 0; i < ARRAY_LEN(numbered); i++) {
            if (v >= numbered[i].first && v < numbered[i].first + numbered[i].count) {
                put(o, "%s%u", numbered[i].prefix, v - numbered[i].first);
                return;
            }
        }
        put(o, "?%u", v);
    }
}

static void put_operand(struct out *o, const struct ir_ins *ins, ir_val v)
{
    if (v == IR_IMM)
        put_number(o, ins->imm);
    else if (v == IR_MEM) {
        put(o, "[");
        put_register(o, ins->p);
        put_disp(o, ins->disp, false);
        put(o, "]");
    } else
        put_register(o, v);
}

static void put_address(struct out *o, const struct ir_ins *ins)
{
    put_register(o, ins->d);
    put(o, " = ");
    if (ins->op == IR_OP_ptr)
        put(o, "%s:", ins->size2 < ARRAY_LEN(seg_names) ? seg_names[ins->size2] : "?");
    put(o, "[");
    if (ins->a)
        put_register(o, ins->a);
    if (ins->b) {
        put(o, ins->a ? "+" : "");
        put_register(o, ins->b);
        put(o, "*%u", 1u << (ins->scale & 3));
    }
    put_disp(o, ins->disp, !ins->a && !ins->b);
    put(o, "]");
    if (ins->op != IR_OP_ptr)
        return;
    if (ins->cc)
        put(o, " %s", ins->cc < ARRAY_LEN(access_names) ? access_names[ins->cc] : "?");
    if (ins->addrsize != 8)
        put(o, " addr%u", ins->addrsize);
}

static void put_operands(struct out *o, const struct ir_ins *ins)
{
    const ir_val v[4] = { ins->d, ins->a, ins->b, ins->c };
    const struct ir_row *row = &ir_rows[ins->op];
    bool insn = ins->op == IR_OP_insn;
    const char *separator = "";
    unsigned last = 4;
    while (last && (insn ? !v[last - 1] : row->role[last - 1] == IR_ROLE_NONE))
        last--;
    for (unsigned i = 0; i < last; i++) {
        if (row->role[i] == IR_ROLE_NONE)
            continue;
        put(o, "%s", separator);
        put_operand(o, ins, v[i]);
        separator = ", ";
    }
    enum extra extra = extra_of(ins->op);
    if (extra == EXTRA_NONE || extra == EXTRA_RETURN)
        return;
    put(o, "%s", separator);
    if (extra == EXTRA_IMM)
        put_number(o, ins->imm);
    else if (extra == EXTRA_NEED && (u64)ins->imm < ARRAY_LEN(need_names))
        put(o, "%s", need_names[ins->imm]);
    else
        put_hex(o, ins->imm);
}

static void put_flags(struct out *o, const char **separator, const char *name, u16 flags)
{
    if (!flags)
        return;
    put(o, "%s%s ", *separator, name);
    for (unsigned i = 0; i < ARRAY_LEN(flag_letters); i++)
        if (flags & flag_letters[i].bit)
            put(o, "%c", flag_letters[i].letter);
    *separator = ", ";
}

static void put_name(struct out *o, const struct ir_ins *ins)
{
    put(o, "%s", ir_op_name(ins->op));
    if (ins->size || has_size2(ins->op))
        put(o, ".%u", ins->size);
    if (has_size2(ins->op))
        put(o, ".%u", ins->size2);
    if (ir_rows[ins->op].fr == IR_MASK_CC)
        put(o, ":%s", cc_names[ins->cc & 15]);
}

char *ir_print_ins(char *buf, size_t size, const struct ir_ins *ins, bool with_flags)
{
    struct out o = { buf, size, 0 };
    if (size)
        *buf = 0;
    if (ins->op >= IR_OP_COUNT) {
        put(&o, "?%u", ins->op);
        return buf;
    }
    put_name(&o, ins);
    put(&o, " ");
    if (ins->op == IR_OP_insn)
        put(&o, "%s#%u ", ins->row < insn_row_count ? insn_rows[ins->row].name : "?", ins->row);
    if (has_address(ins->op))
        put_address(&o, ins);
    else if (has_field(ins->op)) {
        const char *field = ins->row < IR_FIELD_COUNT ? field_names[ins->row] : "?";
        put(&o, "%s", ins->op == IR_OP_put ? field : "");
        put(&o, "%s", ins->op == IR_OP_put ? ", " : "");
        put_operand(&o, ins, ins->op == IR_OP_put ? ins->a : ins->d);
        put(&o, "%s%s", ins->op == IR_OP_get ? " = " : "", ins->op == IR_OP_get ? field : "");
    } else
        put_operands(&o, ins);
    if (extra_of(ins->op) >= EXTRA_RETURN) {
        put(&o, " return ");
        put_hex(&o, ins->disp);
    }
    for (unsigned i = 0; i < ARRAY_LEN(bit_names); i++)
        if (ins->bits >> i & 1)
            put(&o, " %s", bit_names[i]);
    if (o.n && o.n < size && buf[o.n - 1] == ' ')
        buf[--o.n] = 0;
    if (with_flags) {
        const char *separator = "";
        put(&o, " {");
        put_flags(&o, &separator, "f", ins->fdef);
        put_flags(&o, &separator, "use", ins->fuse);
        put_flags(&o, &separator, "live", ins->flive);
        put_flags(&o, &separator, "exit", ins->fexit);
        put(&o, "}");
    }
    return buf;
}

static void print_guest(const struct ir_unit *u, unsigned gi, void (*line)(void *ctx, const char *text), void *ctx)
{
    char text[160], insn[120] = "";
    struct out o = { text, sizeof text, 0 };
    const struct insn *in = u->guest[gi];
    put(&o, "guest ");
    put_hex(&o, u->offset[gi]);
    if (in)
        put(&o, "    ; %s", insn_print(insn, sizeof insn, in, (u64)(s64)u->offset[gi]));
    line(ctx, text);
}

void ir_print(const struct ir_unit *u, void (*line)(void *ctx, const char *text), void *ctx)
{
    char text[256] = "    ";
    struct out o = { text, sizeof text, 0 };
    unsigned guests = 0;
    const char *separator = " ";
    put(&o, "unit ");
    put_hex(&o, u->mode);
    put_flags(&o, &separator, "flags", u->flags_in);
    put(&o, " temps %u", u->temps);
    line(ctx, text);
    memcpy(text, "    ", 4);
    for (unsigned i = 0; i < u->count; i++) {
        for (; guests <= u->ins[i].gi && guests < u->guests; guests++)
            print_guest(u, guests, line, ctx);
        ir_print_ins(text + 4, sizeof text - 4, &u->ins[i], true);
        line(ctx, text);
    }
    for (; guests < u->guests; guests++)
        print_guest(u, guests, line, ctx);
    o = (struct out){ text, sizeof text, 0 };
    put(&o, "end ");
    put_hex(&o, u->offset[u->guests]);
    line(ctx, text);
}

/* --- parsing ---------------------------------------------------------------------------------------------------- */

/* The first error sticks; after it the cursor stands at the end of the line and everything reads as nothing. */
struct in { const char *s; const char *error; };

static bool fail(struct in *in, const char *what)
{
    if (!in->error)
        in->error = what;
    in->s = "";
    return false;
}

static void skip(struct in *in)
{
    while (*in->s == ' ' || *in->s == '\t')
        in->s++;
}

static bool take(struct in *in, const char *text)
{
    size_t n = strlen(text);
    skip(in);
    if (strncmp(in->s, text, n))
        return false;
    in->s += n;
    return true;
}

static void expect(struct in *in, const char *text, const char *what)
{
    if (!take(in, text))
        fail(in, what);
}

static bool is_word(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_';
}

static size_t word_length(const struct in *in)
{
    size_t n = 0;
    while (is_word(in->s[n]))
        n++;
    return n;
}

static bool take_word(struct in *in, const char *word)
{
    skip(in);
    size_t n = word_length(in);
    if (n != strlen(word) || strncmp(in->s, word, n))
        return false;
    in->s += n;
    return true;
}

/* Index in a list of words, -1: none of them stands here. */
static int take_one_of(struct in *in, const char *const *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (take_word(in, words[i]))
            return (int)i;
    return -1;
}

static unsigned expect_one_of(struct in *in, const char *const *words, unsigned count, const char *what)
{
    int i = take_one_of(in, words, count);
    if (i < 0)
        fail(in, what);
    return i < 0 ? 0 : (unsigned)i;
}

/* [-]decimal or 0x hexadecimal, 64 bits. */
static s64 number(struct in *in)
{
    bool negative = take(in, "-");
    skip(in);
    unsigned base = in->s[0] == '0' && in->s[1] == 'x' ? 16 : 10, digits = 0;
    const char *s = in->s + (base == 16 ? 2 : 0);
    u64 v = 0;
    for (;; s++, digits++) {
        unsigned d = *s >= '0' && *s <= '9' ? (unsigned)(*s - '0')
                   : *s >= 'a' && *s <= 'f' ? (unsigned)(*s - 'a' + 10) : 16;
        if (d >= base)
            break;
        if (v > (UINT64_MAX - d) / base) {
            fail(in, "number too large");
            return 0;
        }
        v = v * base + d;
    }
    if (!digits) {
        fail(in, "a number is missing");
        return 0;
    }
    in->s = s;
    return (s64)(negative ? -v : v);
}

static s64 number_between(struct in *in, s64 min, s64 max)
{
    s64 v = number(in);
    if (v < min || v > max) {
        fail(in, "number out of range");
        return 0;
    }
    return v;
}
static s32 number32(struct in *in) { return (s32)number_between(in, INT32_MIN, INT32_MAX); }

static bool take_register(struct in *in, ir_val *v)
{
    int i;
    skip(in);
    if ((i = take_one_of(in, gpr_names, 16)) >= 0)
        *v = (ir_val)(IR_G + i);
    else if ((i = take_one_of(in, high_names, 4)) >= 0)
        *v = (ir_val)(IR_H + i);
    else if (take_word(in, "pc"))
        *v = IR_PC;
    else if (take_word(in, "_"))
        *v = IR_NONE;
    else {
        for (i = 0; i < (int)ARRAY_LEN(numbered); i++) {
            size_t n = strlen(numbered[i].prefix);
            if (strncmp(in->s, numbered[i].prefix, n) || in->s[n] < '0' || in->s[n] > '9')
                continue;
            in->s += n;
            *v = (ir_val)(numbered[i].first + number_between(in, 0, numbered[i].count - 1));
            return true;
        }
        return false;
    }
    return true;
}

static ir_val expect_register(struct in *in)
{
    ir_val v = IR_NONE;
    if (!take_register(in, &v))
        fail(in, "a register is missing");
    return v;
}

/* What follows the `[` of an address: base, index * scale, displacement. */
static void parse_address(struct in *in, ir_val *base, ir_val *index, u8 *scale, s32 *disp)
{
    do {
        ir_val v;
        if (!take_register(in, &v))
            *disp = number32(in);
        else if (!take(in, "*"))
            *base = v;
        else {
            s64 factor = number(in);
            *index = v;
            *scale = factor == 1 ? 0 : factor == 2 ? 1 : factor == 4 ? 2 : 3;
            if (factor != 1 && factor != 2 && factor != 4 && factor != 8)
                fail(in, "scale is not 1, 2, 4 or 8");
        }
        skip(in);
    } while (*in->s == '-' || take(in, "+"));
    expect(in, "]", "] is missing");
}

static ir_val parse_operand(struct in *in, struct ir_ins *ins)
{
    ir_val v = IR_NONE, index = IR_NONE;
    if (take(in, "[")) {
        parse_address(in, &ins->p, &index, &ins->scale, &ins->disp);
        if (index)
            fail(in, "an operand in memory has no index");
        return IR_MEM;
    }
    if (take_register(in, &v))
        return v;
    ins->imm = number(in);
    return IR_IMM;
}

static void parse_ptr(struct in *in, struct ir_ins *ins)
{
    ins->d = expect_register(in);
    expect(in, "=", "= is missing");
    if (ins->op == IR_OP_ptr) {
        ins->size2 = (u8)expect_one_of(in, seg_names, 6, "a segment is missing");
        expect(in, ":", ": is missing");
        ins->addrsize = 8;
    }
    expect(in, "[", "[ is missing");
    parse_address(in, &ins->a, &ins->b, &ins->scale, &ins->disp);
    if (ins->op != IR_OP_ptr)
        return;
    int access = take_one_of(in, access_names, 3);
    ins->cc = (u8)(access < 0 ? 0 : access);
    if (take_word(in, "addr2"))
        ins->addrsize = 2;
    else if (take_word(in, "addr4"))
        ins->addrsize = 4;
}

static void parse_extra(struct in *in, struct ir_ins *ins, bool first)
{
    enum extra extra = extra_of(ins->op);
    if (extra != EXTRA_NONE && extra != EXTRA_RETURN) {
        if (!first)
            expect(in, ",", ", is missing");
        int need = extra == EXTRA_NEED ? take_one_of(in, need_names, ARRAY_LEN(need_names)) : -1;
        ins->imm = need >= 0 ? need : number(in);
    }
    if (extra >= EXTRA_RETURN) {
        if (!take_word(in, "return"))
            fail(in, "`return` is missing");
        ins->disp = number32(in);
    }
}

static void parse_operands(struct in *in, struct ir_ins *ins)
{
    ir_val *const v[4] = { &ins->d, &ins->a, &ins->b, &ins->c };
    bool first = true;
    for (unsigned i = 0; i < 4; i++) {
        if (ir_rows[ins->op].role[i] == IR_ROLE_NONE)
            continue;
        skip(in);
        if (ins->op == IR_OP_insn && (first ? !*in->s || *in->s == '{' : *in->s != ','))
            break;
        if (!first)
            expect(in, ",", ", is missing");
        *v[i] = parse_operand(in, ins);
        first = false;
    }
    parse_extra(in, ins, first);
}

static void parse_fields(struct in *in, struct ir_ins *ins)
{
    if (ins->op == IR_OP_get) {
        ins->d = expect_register(in);
        expect(in, "=", "= is missing");
    }
    ins->row = (u16)expect_one_of(in, field_names, IR_FIELD_COUNT, "no such field");
    if (ins->op == IR_OP_put) {
        expect(in, ",", ", is missing");
        ins->a = parse_operand(in, ins);
    }
}

/* The row of `name#number`. */
static void parse_row(struct in *in, struct ir_ins *ins)
{
    skip(in);
    const char *name = in->s;
    size_t n = word_length(in);
    in->s += n;
    expect(in, "#", "# and the row's number are missing");
    s64 row = number(in);
    if (in->error)
        return;
    if (row < 0 || row >= insn_row_count || strlen(insn_rows[row].name) != n || strncmp(insn_rows[row].name, name, n))
        fail(in, "that row has another name");
    else
        ins->row = (u16)row;
}

static u16 parse_flags(struct in *in)
{
    u16 flags = 0;
    skip(in);
    for (;; in->s++) {
        unsigned i = 0;
        while (i < 6 && flag_letters[i].letter != *in->s)
            i++;
        if (i == 6)
            break;
        flags |= flag_letters[i].bit;
    }
    if (is_word(*in->s))
        fail(in, "no such flag");
    return flags;
}

static void parse_masks(struct in *in, struct ir_ins *ins)
{
    static const char *const names[4] = { "f", "use", "live", "exit" };
    u16 *const masks[4] = { &ins->fdef, &ins->fuse, &ins->flive, &ins->fexit };
    if (!take(in, "{"))
        return;
    ins->fdef = ins->fuse = ins->flive = ins->fexit = 0;
    if (take(in, "}"))
        return;
    do {
        unsigned i = expect_one_of(in, names, 4, "f, use, live or exit is missing");
        *masks[i] = parse_flags(in);
    } while (take(in, ","));
    expect(in, "}", "} is missing");
}

static int find_op(const char *name, size_t n)
{
    for (unsigned op = 0; op < IR_OP_COUNT; op++)
        if (strlen(ir_rows[op].name) == n && !strncmp(ir_rows[op].name, name, n))
            return (int)op;
    return -1;
}

static void parse_name(struct in *in, struct ir_ins *ins)
{
    if (*in->s == '.') {
        in->s++;
        ins->size = (u8)number_between(in, 0, 255);
    }
    if (has_size2(ins->op)) {
        expect(in, ".", "the source's size is missing");
        ins->size2 = (u8)number_between(in, 0, 255);
    }
    if (ir_rows[ins->op].fr == IR_MASK_CC) {
        expect(in, ":", "a condition is missing");
        ir_set_cc(ins, expect_one_of(in, cc_names, 16, "no such condition"));
    }
}

/* Defaults, as ir_add sets them, need the operands: the operation is parsed first, added then. */
static void parse_ins(struct in *in, struct ir_unit *u)
{
    struct ir_ins ins = { 0 };
    size_t n = word_length(in);
    int op = find_op(in->s, n), bit;
    if (op < 0) {
        fail(in, "no such operation");
        return;
    }
    in->s += n;
    ins.op = (u8)op;
    parse_name(in, &ins);
    if (op == IR_OP_insn)
        parse_row(in, &ins);
    if (has_address((unsigned)op))
        parse_ptr(in, &ins);
    else if (has_field((unsigned)op))
        parse_fields(in, &ins);
    else
        parse_operands(in, &ins);
    while ((bit = take_one_of(in, bit_names, ARRAY_LEN(bit_names))) >= 0)
        ins.bits |= (u8)(1 << bit);
    const struct ir_ins *row = ir_add(u, (enum ir_op)op, ins.size, ins.d, ins.a);
    ins.gi = row->gi;
    ins.fdef = row->fdef;
    ins.flive = row->flive;
    ins.fexit = row->fexit;
    if (ir_rows[op].fr != IR_MASK_CC)
        ins.fuse = row->fuse;
    parse_masks(in, &ins);
    u->ins[u->count - 1] = ins;
    if (u->full)
        fail(in, "too many operations");
}

static void see_temp(struct ir_unit *u, ir_val v)
{
    if (ir_is_temp(v) && v - IR_T >= u->temps)
        u->temps = (u16)(v - IR_T + 1);
}

static void parse_line(struct in *in, struct ir_unit *u)
{
    skip(in);
    if (!*in->s)
        return;
    if (take_word(in, "unit")) {
        u->mode = (u32)number_between(in, 0, UINT32_MAX);
        u->flags_in = take_word(in, "flags") ? parse_flags(in) : 0;
        if (take_word(in, "temps"))
            u->temps = (u16)number_between(in, 0, IR_MAX_TEMPS);
    } else if (take_word(in, "guest")) {
        s32 at = number32(in);
        ir_guest(u, NULL, at, at);
        if (u->full)
            fail(in, "too many guest instructions");
    } else if (take_word(in, "end")) {
        u->offset[u->guests] = number32(in);
    } else {
        if (!u->guests)
            ir_guest(u, NULL, 0, 0);
        parse_ins(in, u);
    }
    skip(in);
    if (*in->s)
        fail(in, "something is left over at the end of the line");
}

bool ir_parse(struct ir_unit *u, const char *text, char *err, size_t errlen)
{
    char line[256];
    ir_begin(u, 0);
    for (unsigned nr = 1; *text; nr++) {
        size_t n = strcspn(text, "\n"), used = strcspn(text, ";\n");
        struct in in = { line, NULL };
        if (used >= sizeof line)
            fail(&in, "line too long");
        else {
            memcpy(line, text, used);
            while (used && (line[used - 1] == ' ' || line[used - 1] == '\t' || line[used - 1] == '\r'))
                used--;
            line[used] = 0;
            parse_line(&in, u);
        }
        if (in.error) {
            snprintf(err, errlen, "line %u: %s", nr, in.error);
            return false;
        }
        text += n + (text[n] == '\n');
    }
    for (unsigned i = 0; i < u->count; i++) {
        const struct ir_ins *ins = &u->ins[i];
        const ir_val v[5] = { ins->d, ins->a, ins->b, ins->c, ins->p };
        for (unsigned k = 0; k < ARRAY_LEN(v); k++)
            see_temp(u, v[k]);
    }
    return true;
}
