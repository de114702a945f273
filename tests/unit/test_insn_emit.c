/* test_insn_emit.c - jit/x86_64/insn.c: the guest's instructions in the host's code.
 *
 * For every row of insn.def that insn_can takes, random encodings in 64- and 32-bit mode are decoded, emitted and decoded
 * again: row, lengths, immediates, vector, MMX and x87 registers must be what they were, general registers the host's
 * (or, for those that live in the vCPU, its memory or a scratch register with the right load and store), memory [p + disp].
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/insn_table.h"
#include "cpu/interp.h"
#include "jit/x86_64/emit.h"

enum { WANT = 24, TRIES = 3000, ADDRESS = R11 };

static u64 seed = 88172645463325252;
static u32 random32(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 16);
}
static bool coin(void) { return random32() & 1; }

/* --- encodings ------------------------------------------------------------------------------------------------------ */

static u8 random_modrm(const struct insn_encoding *e)
{
    u8 m = (u8)random32();
    if (e->ext >= 0xc0)
        return e->ext;
    if (e->ext != EXT___)
        m = (u8)((m & 0xc7) | (e->ext & 7) << 3);
    return e->ext > EXT___ ? m | 0xc0 : m;
}

static unsigned opcode_bytes(u8 *p, u32 opcode)
{
    unsigned n = 0;
    if (opcode > 0xffff)
        p[n++] = (u8)(opcode >> 16);
    if (opcode > 0xff)
        p[n++] = (u8)(opcode >> 8);
    p[n++] = (u8)opcode;
    return n;
}

static unsigned legacy_bytes(u8 *p, const struct insn_encoding *e, unsigned mode)
{
    unsigned n = 0;
    if (e->pfx == PFX_P6 || (e->pfx & PFX_P6 && coin()) || (e->pfx & (PFX_F3 | PFX_F2) && !(random32() & 7)))
        p[n++] = 0x66;
    if (e->pfx == PFX_F3 || e->pfx == PFX_F2)
        p[n++] = e->pfx == PFX_F3 ? 0xf3 : 0xf2;
    if (mode == 8 && coin())
        p[n++] = (u8)(0x40 | (random32() & 15));
    return n + opcode_bytes(p + n, e->opcode);
}

static unsigned vex_bytes(u8 *p, const struct insn_encoding *e, unsigned mode)
{
    const unsigned pp = e->pfx == PFX_P6 ? 1 : e->pfx == PFX_F3 ? 2 : e->pfx == PFX_F2 ? 3 : 0;
    const unsigned map = e->opcode > 0xffff ? e->opcode >> 8 == 0x0f3a ? 3 : 2 : 1;
    const bool no_vvvv = coin();
    p[0] = 0xc4;
    p[1] = (u8)((mode == 8 ? random32() & 0xe0 : 0xe0) | map);
    p[2] = (u8)((random32() & 0x84) | (no_vvvv ? 0x78 : random32() & 0x78) | pp);
    p[3] = (u8)e->opcode;
    return 4;
}

/* A random instruction of that row, in *in; false: none found. */
static bool random_insn(unsigned row, unsigned mode, struct insn *in)
{
    const struct insn_encoding *e = &insn_encodings[row];
    for (unsigned i = 0; i < TRIES; i++) {
        u8 bytes[16];
        const bool vex = e->vex & VEX_ONLY || (e->vex & VEX_FORM && coin());
        for (unsigned k = 0; k < sizeof bytes; k++)
            bytes[k] = (u8)random32();
        const unsigned n = vex ? vex_bytes(bytes, e, mode) : legacy_bytes(bytes, e, mode);
        bytes[n] = random_modrm(e);
        if (insn_decode(in, bytes, 15, mode, NULL) == DECODE_OK && in->row == row)
            return true;
    }
    return false;
}

/* --- emitting ------------------------------------------------------------------------------------------------------- */

static u8 cache[256];
static struct emit e;
static struct ir_unit unit;
static struct ir_ins ins;
static struct insn out[32];
static unsigned outs;

static ir_val value_of(const struct operand *o)
{
    switch (o->kind) {
    case OP_GPR: return (ir_val)(IR_G + o->reg);
    case OP_VEC: return (ir_val)(IR_V + o->reg);
    case OP_MMX: return (ir_val)(IR_MMX + o->reg);
    case OP_ST: return (ir_val)(IR_ST + o->reg);
    case OP_IMM: return IR_IMM;
    case OP_MEM: return IR_MEM;
    default: return IR_NONE;
    }
}

/* t0 is the memory operand's address, or the value that LDMXCSR and FLDCW load. */
static void emit_insn(const struct insn *in)
{
    interp_fn *run = insn_rows[in->row].run;
    const bool by_value = run == in_ldmxcsr || run == in_fldcw;
    memset(&e, 0, sizeof e);
    memset(e.temp_reg, NO_REG, sizeof e.temp_reg);
    e.u = &unit;
    e.rw = cache;
    e.end = sizeof cache;
    unit.guest[0] = in;
    unit.guests = 1;
    unit.temps = 1;
    ins = (struct ir_ins){ .op = IR_OP_insn, .size = in->vl ? in->vl : in->opsize, .d = by_value ? IR_T : value_of(&in->op[0]),
                           .a = value_of(&in->op[1]), .b = value_of(&in->op[2]), .c = value_of(&in->op[3]), .row = in->row,
                           .imm = (s64)in->imm, .p = in->modrm_mem ? IR_T : IR_NONE, .disp = 0x40 };
    if (in->modrm_mem) {
        e.temp_reg[0] = ADDRESS;
        e.operand[0] = rm_mem(ADDRESS, 0);
        e.taken = 2;
        e.temps_in[1] = 1;
        ck_assert_uint_eq(scratch_regs[1], ADDRESS);
    }
    e.ins = &ins;
    insn_emit(&e, &ins);
    ck_assert(!e.full);
    ck_assert_msg(e.taken == (in->modrm_mem ? 2 : 0), "%s: scratch registers %x are not given back",
                  insn_rows[in->row].name, e.taken);
    outs = 0;
    for (unsigned at = 0; at < e.at; at += out[outs++].len) {
        ck_assert_uint_lt(outs, ARRAY_LEN(out));
        ck_assert_msg(insn_decode(&out[outs], cache + at, e.at - at, 8, NULL) == DECODE_OK, "%s: cannot be decoded",
                      insn_rows[in->row].name);
    }
}

static void text_of(char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = 0;
    for (unsigned i = 0; i < outs && n + 80 < size; i++) {
        insn_print(buf + n, size - n, &out[i], 0);
        strcat(buf + n, "; ");
        n += strlen(buf + n);
    }
}

/* --- comparing ------------------------------------------------------------------------------------------------------ */

static s64 place_of(unsigned gpr) { return VCPU_DISP(gpr[0]) + (s64)gpr * 8; }

static bool is_place(const struct insn *o, const struct operand *op, unsigned gpr)
{
    return op->kind == OP_MEM && o->base == GPR_RBP && o->index == GPR_NONE && (s64)o->disp == place_of(gpr);
}

/* Is there a load (store) of that guest register to (from) this scratch register before (behind) number k? */
static bool moved(unsigned scratch, unsigned gpr, unsigned k, bool store)
{
    for (unsigned i = store ? k + 1 : 0; store ? i < outs : i < k; i++) {
        const struct operand *reg = &out[i].op[store], *mem = &out[i].op[!store];
        interp_fn *run = insn_rows[out[i].row].run;
        if ((run == in_mov || (run == in_movzx && !store)) && reg->kind == OP_GPR && reg->reg == scratch && is_place(&out[i], mem, gpr))
            return true;
    }
    return false;
}

static bool defines(const struct insn *in, unsigned i)
{
    return i == 0 || (i == 1 && insn_rows[in->row].run == in_mulx);
}
static bool reads(const struct insn *in, unsigned i)
{
    interp_fn *run = insn_rows[in->row].run;
    return !defines(in, i) || run == in_crc32 || run == in_adcx || run == in_adox;
}

/* MULX with one destination keeps the upper half, operand 0: it is the one that is stored. */
static bool gpr_same(const struct insn *in, unsigned i, unsigned k)
{
    const unsigned gpr = in->op[i].reg, home = host_of_gpr[gpr];
    const struct operand *o = &out[k].op[i];
    if (home != NO_REG)
        return o->kind == OP_GPR && o->reg == home && o->size == in->op[i].size;
    if (o->kind == OP_MEM)
        return is_place(&out[k], o, gpr) && !defines(in, i);
    if (o->kind != OP_GPR || (in->modrm_mem && o->reg == ADDRESS) || (o->reg != R10 && o->reg != R11 && o->reg != RCX))
        return false;
    return (!reads(in, i) || moved(o->reg, gpr, k, false)) && (!defines(in, i) || moved(o->reg, gpr, k, true));
}

static bool operand_same(const struct insn *in, unsigned i, unsigned k)
{
    const struct operand *a = &in->op[i], *b = &out[k].op[i];
    if (a->kind == OP_GPR && insn_rows[in->row].run != in_fnstsw)
        return gpr_same(in, i, k);
    if (a->kind != b->kind || a->size != b->size)
        return false;
    if (a->kind == OP_MEM)
        return out[k].base == ADDRESS && out[k].index == GPR_NONE && out[k].disp == 0x40 && out[k].seg >= SEG_CS;
    return a->reg == b->reg;
}

static void check_same(const struct insn *in)
{
    char what[2048], was[128];
    unsigned k = 0;
    bool same;
    emit_insn(in);
    while (k < outs && out[k].row != in->row)
        k++;
    text_of(what, sizeof what);
    insn_print(was, sizeof was, in, 0);
    ck_assert_msg(k < outs, "%s -> %s", was, what);
    same = out[k].vex == in->vex && out[k].vl == in->vl && (!in->op[2].kind || out[k].imm == in->imm) &&
        (insn_encodings[in->row].w != W_WI || in->mode != 8 || !(insn_rows[in->row].attr & ATTR_SSE) || out[k].rex_w == in->rex_w);
    for (unsigned i = 0; i < 4; i++)
        same = same && operand_same(in, i, k);
    ck_assert_msg(same, "%s -> %s", was, what);
}

static bool is_special(interp_fn *run)
{
    return run == in_vzeroupper || run == in_vzeroall || run == in_ldmxcsr || run == in_fldcw || run == in_fneni ||
           run == in_cmpxchg8b || run == in_cmpxchg16b ||
           run == in_fndisi || run == in_fnsetpm;
}

START_TEST(every_row)
{
    const unsigned mode = _i;
    unsigned rows = 0, cases = 0;
    for (unsigned row = 0; row < insn_row_count; row++) {
        unsigned good = 0;
        for (unsigned i = 0; i < 4 * WANT && good < WANT; i++) {
            struct insn in;
            if (!random_insn(row, mode, &in) || !insn_can(&in))
                continue;
            if (!is_special(insn_rows[row].run))
                check_same(&in);
            good++;
        }
        rows += good > 0;
        cases += good;
    }
    ck_assert_uint_gt(rows, 300);       /* SSE2 and x87 alone are more */
    ck_assert_uint_gt(cases, 5000);
}
END_TEST

/* --- rows that are not written as they are ------------------------------------------------------------------------------ */

static struct insn decode(const char *bytes, unsigned n, unsigned mode)
{
    struct insn in;
    ck_assert_int_eq(insn_decode(&in, (const u8 *)bytes, n, mode, NULL), DECODE_OK);
    return in;
}
#define DECODE(bytes, mode) decode(bytes, sizeof(bytes) - 1, mode)

static void check_text(const struct insn *in, const char *text)
{
    char what[2048];
    emit_insn(in);
    text_of(what, sizeof what);
    ck_assert_str_eq(what, text);
}

START_TEST(zero_vectors)
{
    struct insn in = DECODE("\xc5\xf8\x77", 8);
    check_text(&in, "vzeroupper; ");
    in = DECODE("\xc5\xfc\x77", 8);
    check_text(&in, "vzeroall; ");
    in = DECODE("\xc5\xf8\x77", 4);
    check_text(&in, "vmovaps xmm0, xmm0; vmovaps xmm1, xmm1; vmovaps xmm2, xmm2; vmovaps xmm3, xmm3; "
                    "vmovaps xmm4, xmm4; vmovaps xmm5, xmm5; vmovaps xmm6, xmm6; vmovaps xmm7, xmm7; ");
    in = DECODE("\xc5\xfc\x77", 4);
    emit_insn(&in);
    ck_assert_uint_eq(outs, 8);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_str_eq(insn_rows[out[i].row].name, "xorps");
        ck_assert(out[i].vex && out[i].vl == 16);
        for (unsigned k = 0; k < 3; k++)
            ck_assert_uint_eq(out[i].op[k].reg, i);
    }
}
END_TEST

/* The value that was looked at is loaded, never memory. */
START_TEST(control_words)
{
    const struct { const char *bytes; s64 at; } rows[] = {
        { "\x0f\xae\x10", VCPU_DISP(mxcsr) }, { "\xd9\x28", VCPU_DISP(x87.cw) },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct insn in = decode(rows[i].bytes, i ? 2 : 3, 8);
        emit_insn(&in);
        ck_assert_uint_eq(outs, 2);
        ck_assert(insn_rows[out[0].row].run == in_mov && out[0].op[1].reg == ADDRESS);
        ck_assert_int_eq(out[0].op[0].size, i ? 2 : 4);
        ck_assert_uint_eq(out[1].row, in.row);
        for (unsigned k = 0; k < 2; k++) {
            ck_assert_uint_eq(out[k].base, RBP);
            ck_assert_int_eq((s64)out[k].disp, rows[i].at);
        }
    }
}
END_TEST

static void decode_cache(void)
{
    outs = 0;
    for (unsigned at = 0; at < e.at; at += out[outs++].len)
        ck_assert_int_eq(insn_decode(&out[outs], cache + at, e.at - at, 8, NULL), DECODE_OK);
}

/* ECX is the host's scratch register: the index goes to the guest's, and what RCX held stays. */
START_TEST(string_index)
{
    struct insn in = DECODE("\x66\x0f\x3a\x63\xc1\x0c", 8);
    check_text(&in, "pcmpistri xmm0, xmm1, 0xc; mov r14d, ecx; ");
    ck_assert_uint_eq(host_of_gpr[GPR_RCX], R14);
    in = DECODE("\x66\x0f\x3a\x63\x00\x0c", 8);
    emit_insn(&in);
    e.taken = 6;
    e.at = 0;
    insn_emit(&e, &ins);
    ck_assert_uint_eq(e.taken, 6);
    decode_cache();
    char what[512];
    text_of(what, sizeof what);
    ck_assert_str_eq(what, "mov r10, rcx; pcmpistri xmm0, xmmword ptr [r11 + 0x40], 0xc; mov r14d, ecx; mov rcx, r10; ");
}
END_TEST

START_TEST(exchange)
{
    struct insn in = DECODE("\xf0\x48\x0f\xc7\x08", 8);
    check_text(&in, "mov rcx, r14; lock cmpxchg16b xmmword ptr [r11 + 0x40]; ");
    in = DECODE("\x0f\xc7\x08", 4);
    check_text(&in, "mov rcx, r14; cmpxchg8b qword ptr [r11 + 0x40]; ");
    e.taken = 6;
    e.at = 0;
    insn_emit(&e, &ins);
    ck_assert_uint_eq(e.taken, 6);
    decode_cache();
    char what[512];
    text_of(what, sizeof what);
    ck_assert_str_eq(what, "mov r10, rcx; mov rcx, r14; cmpxchg8b qword ptr [r11 + 0x40]; mov rcx, r10; ");
    e.taken = 4;
    e.temp_reg[0] = RCX;
    e.operand[0] = rm_mem(RCX, 0);
    e.at = 0;
    insn_emit(&e, &ins);
    decode_cache();
    text_of(what, sizeof what);
    ck_assert_str_eq(what, "mov r10, rcx; mov rcx, r14; cmpxchg8b qword ptr [r10 + 0x40]; mov rcx, r10; ");
}
END_TEST

START_TEST(no_bytes)
{
    const char *const rows[] = { "\xdb\xe0", "\xdb\xe1", "\xdb\xe4" };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct insn in = decode(rows[i], 2, 4);
        ck_assert(insn_can(&in));
        check_text(&in, "");
    }
}
END_TEST

/* --- what stays with the interpreter -------------------------------------------------------------------------------------- */

START_TEST(refused)
{
    static const char *const names[] = {
        "maskmovq", "maskmovdqu", "vmaskmovps", "vpmaskmovq", "rcpps", "rcpss", "rsqrtps", "rsqrtss", "fsin", "fcos", "fsincos",
        "fptan", "fpatan", "f2xm1", "fyl2x", "fyl2xp1", "fprem", "fprem1", "fldenv", "fnstenv", "fnsave", "frstor", "fninit",
        "vpgatherdd", "vgatherqpd", "fxsave", "fxrstor", "xsave", "xrstor", "xsaveopt", "rdrand", "rdseed", "rdpid", "add", "mov",
        "cpuid", "syscall",
    };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        bool found = false;
        for (unsigned row = 0; row < insn_row_count; row++) {
            struct insn in;
            if (strcmp(insn_rows[row].name, names[i]) || !random_insn(row, 8, &in))
                continue;
            found = true;
            ck_assert_msg(!insn_can(&in), "%s", names[i]);
        }
        ck_assert_msg(found, "%s", names[i]);
    }
    struct insn in = DECODE("\x0f\x2a\x00", 8);     /* cvtpi2ps xmm0, [rax] */
    ck_assert(!insn_can(&in));
    in = DECODE("\x0f\x2a\xc0", 8);
    ck_assert(insn_can(&in));
    in = DECODE("\xf2\x0f\x38\xf0\xc4", 8);         /* crc32 eax, ah */
    ck_assert(!insn_can(&in));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("insn_emit");
    TCase *t = tcase_create("rows");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, every_row, 8, 9);
    tcase_add_loop_test(t, every_row, 4, 5);
    tcase_add_test(t, zero_vectors);
    tcase_add_test(t, control_words);
    tcase_add_test(t, string_index);
    tcase_add_test(t, exchange);
    tcase_add_test(t, no_bytes);
    tcase_add_test(t, refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
