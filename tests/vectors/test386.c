/* test386.c - the arithmetic part (POST EE) of the test386 ROM, from the log that a real 80386 printed.
 *
 * A line is "OPCODE MNEMONIC SIZE EAX= EDX= PS= [#DE] EAX= EDX= PS=": registers and status flags before and after; flags
 * that the manual leaves undefined are cleared in PS. Which instruction stands behind an opcode is fixed: encode() makes it.
 * BCD instructions have lines of their own: "daa EAX= PS= EAX= PS=". Each line runs as a case in 32-bit flat protected
 * mode and ends in HLT; #DE leads to another HLT.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vectors/vectors.h"

enum { GDT_AT = 0x4000, IDT_AT = 0x5000, DE_HANDLER = 0x6000, CODE_AT = 0x10000 };

struct code { u8 bytes[64]; unsigned n; u16 defined; /* status flags that are compared */ };
struct line { char opcode[8], name[8], size; u32 eax, edx, ps, eax_after, edx_after, ps_after; bool divide_error, bcd; };

static void emit(struct code *c, const char *bytes, unsigned n)
{
    memcpy(c->bytes + c->n, bytes, n);
    c->n += n;
}
static void emit8(struct code *c, unsigned b) { c->bytes[c->n++] = (u8)b; }
static void emit32(struct code *c, u32 v)
{
    memcpy(c->bytes + c->n, &v, 4);
    c->n += 4;
}
static void emit_size(struct code *c, char size)    /* operand-size prefix in 32-bit code */
{
    if (size == 'W')
        emit8(c, 0x66);
}
static void emit_imm(struct code *c, char size, u32 v)
{
    unsigned n = size == 'B' ? 1 : size == 'W' ? 2 : 4;
    memcpy(c->bytes + c->n, &v, n);
    c->n += n;
}

/* ADD OR ADC SBB AND SUB XOR CMP, and TEST as number 8. */
static const char *const alu_names[] = { "ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP", "TEST" };
static const char *const shift_names[] = { "ROL", "ROR", "RCL", "RCR", "SAL", "SHR", "", "SAR" };

static int index_of(const char *name, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(name, names[i]))
            return (int)i;
    return -1;
}

/* The immediate of the ROM's rows: by operation and size. */
static u32 alu_immediate(unsigned op, char size)
{
    bool logic = op == 1 || op == 4 || op == 6 || op == 7 || op == 8;
    if (logic)
        return 0xaaaaaaaa;
    if (size == 'B')
        return 0xff;
    u32 top = size == 'W' ? 0x8000 : 0x80000000;
    return op == 0 || op == 2 ? top | 2 : top;      /* ADD, ADC : SBB, SUB */
}

static void encode_alu(struct code *c, unsigned op, unsigned opcode, char size)
{
    u32 imm = alu_immediate(op, size);
    emit_size(c, size);
    if (op == 8 && opcode >= 0xf6) {                /* TEST dl/dx/edx, imm */
        emit8(c, opcode);
        emit8(c, 0xc2);
        emit_imm(c, size, imm);
    } else if (opcode == 0x80 || opcode == 0x81) {  /* OP dl/dx/edx, imm */
        emit8(c, opcode);
        emit8(c, 0xc2 | op << 3);
        emit_imm(c, size, imm);
    } else if (opcode == 0x83) {                    /* OP ax/eax, imm8 */
        emit8(c, opcode);
        emit8(c, 0xc0 | op << 3);
        emit8(c, (imm & 0xff) == 0xaa ? 0xaa : 0xff);
    } else if (opcode == 0xa8 || opcode == 0xa9 || (opcode & 7) == 4 || ((opcode & 7) == 5 && opcode < 0x40)) {
        emit8(c, opcode);                           /* OP al/ax/eax, imm */
        if (op != 8 || opcode >= 0xa8)
            emit_imm(c, size, imm);
        else
            emit8(c, 0xd0);                         /* 84, 85: TEST al, dl */
    } else {                                        /* register or memory at [0], which holds EDX */
        emit8(c, opcode);
        emit8(c, (opcode & 7) >= 2 && op != 8 ? 0x05 : 0xd0);
        if ((opcode & 7) >= 2 && op != 8)
            emit32(c, 0);
    }
}

static void encode_inc_dec(struct code *c, unsigned opcode, bool dec, char size)
{
    if (opcode < 0x50) {            /* with the register that the opcode names in eAX's place */
        unsigned reg = opcode & 7;
        emit_size(c, size);
        emit8(c, 0x90 | reg);
        emit_size(c, size);
        emit8(c, opcode);
        emit_size(c, size);
        emit8(c, 0x90 | reg);
        return;
    }
    unsigned wide = size != 'B';
    emit_size(c, size);
    emit8(c, 0xa2 | wide);          /* mov [0], eAX */
    emit32(c, 0);
    emit_size(c, size);
    emit8(c, opcode);
    emit8(c, 0x05 | (unsigned)dec << 3);
    emit32(c, 0);
    emit_size(c, size);
    emit8(c, 0xa0 | wide);
    emit32(c, 0);
}

/* Shifts begin with STC; those by CL take the count from DL. */
static void encode_shift(struct code *c, unsigned op, unsigned opcode, char size)
{
    emit8(c, 0xf9);
    bool by_cl = opcode >= 0xd2;
    if (by_cl)
        emit(c, "\x86\xca", 2);     /* xchg dl, cl */
    emit_size(c, size);
    emit8(c, opcode);
    emit8(c, 0xc0 | op << 3);
    if (opcode < 0xd0)
        emit8(c, 7);
    if (by_cl)
        emit(c, "\x86\xca", 2);
}

static void encode_shift_double(struct code *c, unsigned opcode, char size)
{
    emit8(c, 0xf9);
    if (opcode & 1)
        emit(c, "\x88\xd1", 2);     /* mov cl, dl */
    emit_size(c, size);
    emit8(c, 0x0f);
    emit8(c, opcode);
    emit8(c, 0xd0);
    if (!(opcode & 1))
        emit8(c, size == 'W' ? 8 : 16);
}

static void encode_group3(struct code *c, unsigned reg, unsigned opcode, char size, unsigned rm)
{
    emit_size(c, size);
    emit8(c, opcode);
    emit8(c, 0xc0 | reg << 3 | rm);
}

static void encode_imul(struct code *c, unsigned opcode, char size, unsigned variant)
{
    emit_size(c, size);
    if (opcode == 0xaf) {
        emit(c, "\x0f\xaf\xc2", 3);
    } else if (opcode == 0x6b) {
        emit(c, "\x6b\xc2", 2);
        emit8(c, variant ? 0x89 : 0x77);
    } else {
        emit(c, "\x69\xc0", 2);
        emit_imm(c, size, size == 'W' ? 0x777 : 0x777777);
    }
}

/* The instruction behind a line. variant: some opcodes come twice, with another operand. False: not known. */
static bool encode(struct code *c, const struct line *l, unsigned variant)
{
    static const struct { const char *name; u8 reg; u16 defined; } group3[] = {
        { "NOT", 2, 0x8c5 }, { "NEG", 3, 0x8d5 }, { "MUL", 4, 0x801 }, { "IMUL", 5, 0x801 }, { "DIV", 6, 0 }, { "IDIV", 7, 0 },
    };
    unsigned opcode = (unsigned)strtoul(l->opcode, NULL, 16) & 0xff;
    bool two_byte = strlen(l->opcode) == 4;
    int op;
    c->n = 0;
    c->defined = 0x8d5;
    if ((op = index_of(l->name, alu_names, ARRAY_LEN(alu_names))) >= 0) {
        c->defined = op == 1 || op == 4 || op >= 6 ? 0x8c5 : 0x8d5;
        encode_alu(c, (unsigned)op, opcode, l->size);
    } else if (*l->name && (op = index_of(l->name, shift_names, ARRAY_LEN(shift_names))) >= 0) {
        c->defined = opcode == 0xd0 || opcode == 0xd1 ? 0x8c5 : 0xc5;
        encode_shift(c, (unsigned)op, opcode, l->size);
    } else if (!strcmp(l->name, "SHLD") || !strcmp(l->name, "SHRD")) {
        c->defined = 0xc5;
        encode_shift_double(c, opcode, l->size);
    } else if (!strcmp(l->name, "INC") || !strcmp(l->name, "DEC"))
        encode_inc_dec(c, opcode, l->name[0] == 'D', l->size);
    else if (opcode == 0x98 || opcode == 0x99) {
        if (!strcmp(l->name, "CBW") || !strcmp(l->name, "CWD"))
            emit8(c, 0x66);
        emit8(c, opcode);
    } else if (!strcmp(l->name, "IMUL") && (two_byte || opcode < 0xf6)) {
        c->defined = 0x801;
        encode_imul(c, opcode, l->size, variant);
    } else {
        for (unsigned i = 0; i < ARRAY_LEN(group3); i++)
            if (!strcmp(l->name, group3[i].name)) {
                /* NOT, NEG work on eAX; the others on eDX, divisions a second time on eAX */
                unsigned rm = group3[i].reg < 4 || variant ? 0 : 2;
                c->defined = group3[i].defined;
                encode_group3(c, group3[i].reg, opcode, l->size, rm);
            }
    }
    return c->n != 0;
}

static bool encode_bcd(struct code *c, const struct line *l)
{
    static const struct { const char *name, *bytes; unsigned n; u16 defined; } rows[] = {
        { "daa", "\x27", 1, 0xd5 }, { "das", "\x2f", 1, 0xd5 }, { "aaa", "\x37", 1, 0x11 }, { "aas", "\x3f", 1, 0x11 },
        { "aam", "\xd4\x0a", 2, 0xc4 }, { "aad", "\xd5\x0a", 2, 0xc4 },
    };
    c->n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (!strcmp(l->opcode, rows[i].name)) {
            emit(c, rows[i].bytes, rows[i].n);
            c->defined = rows[i].defined;
        }
    return c->n != 0;
}

static bool same_row(const struct line *a, const struct line *b)
{
    return !strcmp(a->opcode, b->opcode) && !strcmp(a->name, b->name) && a->size == b->size && a->bcd == b->bcd;
}

/* Rows of the ROM that look alike in the log: 6B comes with two immediates one behind the other, DIV and IDIV once with
 * eDX and later with eAX. `first`..`end` is the run of equal rows that line k is in. */
static unsigned variant(const struct line *lines, unsigned first, unsigned end, unsigned k)
{
    const struct line *l = &lines[k];
    if (!strcmp(l->opcode, "6B"))
        return k - first >= (end - first) / 2;
    for (unsigned i = 0; i < first; i++)
        if (same_row(&lines[i], l))
            return 1;
    return 0;
}

static bool parse_line(const char *text, struct line *l)
{
    memset(l, 0, sizeof *l);
    if (islower((unsigned char)text[0])) {
        l->bcd = true;
        return sscanf(text, "%7s EAX=%x PS=%x EAX=%x PS=%x", l->opcode, &l->eax, &l->ps, &l->eax_after, &l->ps_after) == 5;
    }
    l->divide_error = strstr(text, "#DE");
    return sscanf(text, l->divide_error ? "%7s %7s %c EAX=%x EDX=%x PS=%x #DE EAX=%x EDX=%x PS=%x"
                                        : "%7s %7s %c EAX=%x EDX=%x PS=%x EAX=%x EDX=%x PS=%x",
                  l->opcode, l->name, &l->size, &l->eax, &l->edx, &l->ps, &l->eax_after, &l->edx_after, &l->ps_after) == 9;
}

static void set_up(struct rig *r)
{
    static const u64 gdt[3] = { 0, 0x00cf9a000000ffff, 0x00cf92000000ffff };
    u64 gate = (DE_HANDLER & 0xffff) | 0x08u << 16 | (u64)0x8e00 << 32;
    vcpu_reset(r->cpu);
    rig_write(r, GDT_AT, gdt, sizeof gdt);
    rig_write(r, IDT_AT, &gate, sizeof gate);
    rig_write(r, DE_HANDLER, "\xf4", 1);
}

static bool run_line(struct rig *r, const struct line *l, struct code *c, char *why, size_t size)
{
    struct cpu_flat_start start = { .eip = CODE_AT, .eax = l->eax, .edx = l->edx, .esp = 0x8000, .cs = 8, .ds = 16,
                                    .gdt_base = GDT_AT, .gdt_limit = 23 };
    emit8(c, 0xf4);
    rig_write(r, CODE_AT, c->bytes, c->n);
    rig_write(r, 0, &l->edx, 4);
    cpu_start_flat(r->cpu, &start);
    r->cpu->idtr.base = IDT_AT;
    r->cpu->idtr.limit = 7;
    r->cpu->halted = false;
    rflags_set(r->cpu, l->ps | EFL_1);
    if (!rig_run_to_halt(r, 20))
        return snprintf(why, size, "no HLT"), false;
    bool divided = r->cpu->rip == DE_HANDLER + 1;
    u32 eax = (u32)r->cpu->rax, edx = (u32)r->cpu->rdx, ps = (u32)rflags_get(r->cpu) & c->defined;
    if (divided)
        ps = l->ps_after & c->defined;      /* flags of a fault are those before it */
    if (divided == l->divide_error && eax == l->eax_after && (l->bcd || edx == l->edx_after) && ps == (l->ps_after & c->defined))
        return true;
    snprintf(why, size, "got EAX=%08X EDX=%08X PS=%04X%s (flags compared %04X)", eax, edx, ps, divided ? " #DE" : "", c->defined);
    return false;
}

void run_test386(const char *folder, const char *name, struct tally *t)
{
    char path[1100], why[200];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = (char *)read_gz(path, &size);
    struct line *lines = calloc(size / 20 + 1, sizeof *lines);
    unsigned n = 0;
    struct rig *r = rig_new("486");
    set_up(r);
    for (char *save, *s = strtok_r(text, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
        if (!parse_line(s, &lines[n++])) {
            t->failed++;
            snprintf(t->first_failure, sizeof t->first_failure, "line %u is not understood: %s", n, s);
        }
    for (unsigned i = 0, end; i < n; i = end) {
        for (end = i; end < n && same_row(&lines[i], &lines[end]); end++)
            ;
        unsigned which = 0;
        for (unsigned k = i; k < end; k++) {
            struct line *l = &lines[k];
            struct code c = { 0 };
            if (k == i || !strcmp(l->opcode, "6B"))
                which = variant(lines, i, end, k);
            bool known = l->bcd ? encode_bcd(&c, l) : encode(&c, l, which);
            if (!known)
                snprintf(why, sizeof why, "instruction not known");
            if (known && run_line(r, l, &c, why, sizeof why))
                t->passed++;
            else if (excused(name, (int)k + 1, 0))
                excuse(t, excused(name, (int)k + 1, 0));
            else if (!t->failed++)
                snprintf(t->first_failure, sizeof t->first_failure,
                         "line %u: %s %s %c EAX=%08X EDX=%08X PS=%04X%s must give EAX=%08X EDX=%08X PS=%04X; %s", k + 1, l->opcode, l->name,
                         l->size ? l->size : ' ', l->eax, l->edx, l->ps, l->divide_error ? " #DE" : "", l->eax_after, l->edx_after,
                         l->ps_after, why);
        }
    }
    rig_free(r);
    free(lines);
    free(text);
}
