/* test_backend.c - the host's backend against ir_eval: random units of IR operations, on random state.
 *
 * Every operation that needs no guest instruction is drawn, with all kinds of operands that ir_check allows it, all sizes,
 * memory, exits, and flags of which some, all or none live on. Both execute the unit from the same state; registers, RIP, memory,
 * icount and the flags that are defined and alive must agree. What the guest instruction leaves undefined is nobody's.
 * BACKEND_SEED, BACKEND_UNITS (environment): other units, more of them. BACKEND_CODE: a file for the code that is wrong.
 */
#include "tests/unit/cpu_machine.h"

#include "cpu/flags.h"
#include "jit/jit_private.h"

enum { MAX_OPS = 14, AREA_BYTES = 64, CODE_ROOM = 1 << 15 };

/* --- random things -------------------------------------------------------------------------------------------------- */

static u64 seed;
static u64 random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1d;
}
static unsigned below(unsigned n) { return (unsigned)((random64() >> 33) % n); }
static bool one_in(unsigned n) { return !below(n); }
static u64 random_value(void)
{
    static const u64 special[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                   0x7fffffffffffffff, 0x8000000000000000, ~(u64)0 };
    switch (below(4)) {
    case 0: return special[below(ARRAY_LEN(special))];
    case 1: return below(256);
    case 2: return (u64)(s64)(s32)random64();
    default: return random64();
    }
}

/* --- units ------------------------------------------------------------------------------------------------------------ */

static struct ir_unit unit;
static ir_val pointers[4], values[4];
static u8 value_size[IR_MAX_TEMPS];      /* bytes of a temporary that are defined */
static unsigned pointer_count, value_count;

/* What the guest instructions behind these operations leave undefined. The flags of shifts depend on the count. */
static u16 undefined_by(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_OP_and: case IR_OP_or: case IR_OP_xor: case IR_OP_test: return IR_A;
    case IR_OP_mul: case IR_OP_imul: case IR_OP_imul1: case IR_OP_imul3: return IR_S | IR_Z | IR_A | IR_P;
    case IR_OP_div: case IR_OP_idiv: return IR_FLAGS;
    case IR_OP_shl: case IR_OP_shr: case IR_OP_sar:
        return IR_A | (ins->a == IR_IMM && ins->imm == 1 ? 0 : IR_O) | (ins->a != IR_IMM || ins->imm >= 8 * ins->size ? IR_C : 0);
    case IR_OP_shld: case IR_OP_shrd:
        return IR_A | (ins->b == IR_IMM && ins->imm == 1 ? 0 : IR_O) | (ins->size == 2 ? IR_FLAGS : 0);
    case IR_OP_rol: case IR_OP_ror: case IR_OP_rcl: case IR_OP_rcr: return ins->a == IR_IMM && ins->imm == 1 ? 0 : IR_O;
    case IR_OP_bt: case IR_OP_bts: case IR_OP_btr: case IR_OP_btc: return IR_O | IR_S | IR_A | IR_P;
    case IR_OP_bsf: case IR_OP_bsr: return IR_O | IR_S | IR_A | IR_P | IR_C;
    default: return 0;
    }
}

static ir_val random_operand(bool memory, bool imm)
{
    switch (below(9)) {
    case 0: return (ir_val)(IR_H + below(4));
    case 1: case 2: if (memory && pointer_count) return IR_MEM; break;
    case 3: case 4: if (imm) return IR_IMM; break;
    case 5: case 6: if (value_count) return values[below(value_count)]; break;
    }
    switch (below(4)) {
    case 0: return (ir_val)(IR_G + below(GPR_R14));
    case 1: return (ir_val)(IR_G + GPR_R10 + below(4));     /* of which some have no host register */
    default: return (ir_val)(IR_G + below(4));
    }
}

static void begin_guest(void)
{
    static const struct insn none;
    s32 at = unit.guests * 4;
    ir_guest(&unit, &none, at, at + 4);
}

/* The ptr that has made p, or what `again` has made p from. */
static const struct ir_ins *ptr_of(ir_val p)
{
    for (unsigned i = 0; i < unit.count; i++)
        if (unit.ins[i].op == IR_OP_ptr && unit.ins[i].d == p)
            return &unit.ins[i];
        else if (unit.ins[i].op == IR_OP_again && unit.ins[i].d == p)
            return ptr_of(unit.ins[i].p);
    return NULL;
}

/* An address in DATA: R14 and disp, or R15 * scale too. Nothing else uses them. */
static void add_pointer(void)
{
    if (pointer_count == ARRAY_LEN(pointers))
        return;
    if (pointer_count && one_in(3) && host_backend.kept_pointers) {
        const struct ir_ins *of = ptr_of(pointers[below(pointer_count)]);
        struct ir_ins *again = ir_add(&unit, IR_OP_again, of->size, ir_temp(&unit), IR_MEM);
        again->p = of->d;
        pointers[pointer_count++] = again->d;
        return;
    }
    struct ir_ins *ins = ir_add(&unit, IR_OP_ptr, 1 + below(16), ir_temp(&unit), one_in(5) ? IR_NONE : IR_G + GPR_R14);
    ins->addrsize = one_in(4) ? 4 : 8;
    ins->size2 = one_in(6) ? SEG_FS : SEG_DS;
    ins->cc = IR_RW;
    ins->disp = (ins->a ? 0 : DATA) + (s32)below(AREA_BYTES);
    if (one_in(3)) {
        ins->b = IR_G + GPR_R15;
        ins->scale = (u8)below(4);
    }
    if (one_in(4)) {
        ins->size = (u8)(1u << below(4));
        ins->bits |= IR_ALIGN;
    } else if (one_in(4))
        ins->bits |= IR_TLB;
    pointers[pointer_count++] = ins->d;
}

static const u8 plain_ops[] = {
    IR_OP_mov, IR_OP_mov, IR_OP_movzx, IR_OP_movsx, IR_OP_lea, IR_OP_xchg, IR_OP_bswap, IR_OP_cmov, IR_OP_setcc, IR_OP_cdq, IR_OP_get,
    IR_OP_put, IR_OP_add, IR_OP_or, IR_OP_adc, IR_OP_sbb, IR_OP_and, IR_OP_sub, IR_OP_xor, IR_OP_cmp, IR_OP_test, IR_OP_inc, IR_OP_dec,
    IR_OP_add, IR_OP_sub, IR_OP_cmp, IR_OP_test, IR_OP_inc, IR_OP_dec,
    IR_OP_neg, IR_OP_not, IR_OP_xadd, IR_OP_cmpxchg, IR_OP_imul, IR_OP_imul3, IR_OP_mul, IR_OP_imul1, IR_OP_div, IR_OP_idiv, IR_OP_shl,
    IR_OP_shr, IR_OP_sar, IR_OP_rol, IR_OP_ror, IR_OP_rcl, IR_OP_rcr, IR_OP_shld, IR_OP_shrd, IR_OP_bt, IR_OP_bts, IR_OP_btr,
    IR_OP_btc, IR_OP_bsf, IR_OP_bsr, IR_OP_getfl, IR_OP_putfl, IR_OP_clc, IR_OP_stc, IR_OP_cmc, IR_OP_count, IR_OP_jcc, IR_OP_jcc,
    IR_OP_jz, IR_OP_jnz, IR_OP_guard,
};
static const u8 last_ops[] = { IR_OP_jmp, IR_OP_call, IR_OP_ijmp, IR_OP_icall, IR_OP_ret, IR_OP_step };

static bool is_double(unsigned op) { return op == IR_OP_shld || op == IR_OP_shrd; }
static bool is_shift(unsigned op) { return op >= IR_OP_shl && op <= IR_OP_rcr; }

static void fill_in(struct ir_ins *ins)
{
    const struct ir_row *row = &ir_rows[ins->op];
    const bool define = row->role[0] == IR_ROLE_W && value_count < ARRAY_LEN(values) && (ins->op == IR_OP_getfl || one_in(3));
    if (row->role[0])
        ins->d = define ? (ir_val)(IR_T + unit.temps) : random_operand(true, false);
    if (row->role[1])
        ins->a = random_operand(ins->d != IR_MEM, true);
    if (row->role[2])
        ins->b = random_operand(false, is_double(ins->op) || ins->op == IR_OP_lea);
    if (ins->op == IR_OP_getfl && !define)
        ins->d = IR_NONE;       /* the translator wants it in a temporary only; ir_check refuses this */
    if (ins->op == IR_OP_lea && one_in(4))
        ins->a = IR_PC;
    ins->size2 = (u8)(1u << below(3));
    ins->scale = (u8)below(4);
    ins->cc = (u8)below(16);
    ins->imm = (s64)random_value();
    if (ins->size < 8)
        ins->imm = (s64)((u64)ins->imm << (64 - 8 * ins->size)) >> (64 - 8 * ins->size);
    else if (ins->op != IR_OP_mov || one_in(2))
        ins->imm = (s32)ins->imm;
    if (is_shift(ins->op) || is_double(ins->op))
        ins->imm = 1 + below(ins->size == 8 ? 63 : 31);
    if (row->attr & (IR_SIDE | IR_END)) {
        ins->imm = one_in(4) ? (s32)(below(0x6000) - 0x3000) : (s32)below(4096);
        ins->bits = one_in(3) ? IR_POLL : 0;
        if (row->attr & IR_SIDE && one_in(4))
            ins->bits |= IR_LIKELY;
    }
    if (ins->op == IR_OP_ijmp || ins->op == IR_OP_icall || ins->op == IR_OP_ret)
        ins->size = one_in(4) ? 2 : 8;      /* of RIP in 64-bit mode */
    if (ins->op == IR_OP_count)
        ins->imm = below(5000);
    ins->disp = (s32)random64();
    if (ins->op == IR_OP_call || ins->op == IR_OP_icall)
        ins->disp = (s32)below(4096);
    if (ins->d == IR_MEM || ins->a == IR_MEM) {
        ins->p = pointers[below(pointer_count)];
        ins->disp = (s32)below(ptr_of(ins->p)->size);
    }
    if (ins->op == IR_OP_get || ins->op == IR_OP_put) {
        static const u8 fields[] = { IR_FIELD_x87_pc, IR_FIELD_kernel_gs_base, IR_FIELD_x87_note };
        ins->row = fields[below(ARRAY_LEN(fields))];
    }
    if (row->fr == IR_MASK_CC)
        ins->fuse = ir_cc_flags(ins->cc);
    const u16 undefined = undefined_by(ins);
    ins->fdef = row->fw & IR_FLAGS & (u16)~undefined;
    if (ins->op == IR_OP_putfl && ins->size == 1)
        ins->fdef &= (u16)~IR_O;
}

/* What an operation reads of the flags, if `live` do behind it. */
static u16 reads(const struct ir_ins *ins, u16 live)
{
    const bool counted = (is_shift(ins->op) && ins->a != IR_IMM) || (is_double(ins->op) && ins->b != IR_IMM);
    u16 use = ir_rows[ins->op].fr == IR_MASK_CC ? ir_cc_flags(ins->cc) : ir_rows[ins->op].fr & IR_FLAGS;
    if (ins->op == IR_OP_getfl && ins->size == 1)
        use &= 0xff;
    return counted ? use | (ins->fdef & live) : use;
}

/* Backward; exits want `wanted`. False: something undefined is read. */
static bool set_liveness(u16 wanted)
{
    u16 live = wanted;
    for (unsigned i = unit.count; i-- > 0;) {
        struct ir_ins *ins = &unit.ins[i];
        const struct ir_row *row = &ir_rows[ins->op];
        if (row->attr & (IR_SIDE | IR_END | IR_FAULT))
            live |= wanted, ins->fexit = row->attr & IR_FAULT ? 0 : wanted;
        ins->flive = live & (u16)~undefined_by(ins);
        ins->fuse = reads(ins, ins->flive);
        live = (ins->flive & (u16)~ins->fdef) | ins->fuse;
    }
    unit.flags_in = live;
    u16 undefined = 0;
    for (unsigned i = 0; i < unit.count; i++) {
        const struct ir_ins *ins = &unit.ins[i];
        if (ins->fuse & undefined)
            return false;
        undefined = (undefined & (u16)~ins->fdef) | undefined_by(ins);
    }
    return true;
}

/* Bytes of temporaries that nothing has defined are not to be looked at. */
static bool sizes_fit(const struct ir_ins *ins)
{
    const ir_val v[3] = { ins->d, ins->a, ins->b };
    for (unsigned i = 0; i < 3; i++) {
        const bool count = (i == 1 && is_shift(ins->op)) || (i == 2 && is_double(ins->op));
        const unsigned size = count ? 1 : i == 1 && (ins->op == IR_OP_movzx || ins->op == IR_OP_movsx) ? ins->size2 : ins->size;
        const unsigned needed = ins->op == IR_OP_bsf || ins->op == IR_OP_bsr ? (i ? size : 8) : size;
        if (!ir_is_temp(v[i]) || (i == 0 && ir_rows[ins->op].role[0] == IR_ROLE_W))
            continue;
        if (value_size[v[i] - IR_T] < needed)
            return false;
        if (needed < value_size[v[i] - IR_T] && ir_rows[ins->op].role[i] == IR_ROLE_X)
            value_size[v[i] - IR_T] = (u8)needed;
    }
    return true;
}

static bool add_random(const u8 *ops, unsigned count)
{
    char err[256];
    for (unsigned tries = 0; tries < 100; tries++) {
        const u16 before = unit.count, temps = unit.temps;
        struct ir_ins *ins = ir_add(&unit, (enum ir_op)ops[below(count)], 1u << below(4), IR_NONE, IR_NONE);
        const struct ir_row *row = &ir_rows[ins->op];
        fill_in(ins);
        const bool defines = ir_is_temp(ins->d) && row->role[0] == IR_ROLE_W && ins->d == IR_T + unit.temps;
        if (defines)
            unit.temps++;
        /* an end, so that ir_check has a whole unit */
        if (!(row->attr & IR_END))
            ir_add(&unit, IR_OP_step, 0, IR_NONE, IR_NONE);
        const bool good = sizes_fit(ins) && set_liveness(IR_FLAGS) && ir_check(&unit, err, sizeof err);
        if (!(row->attr & IR_END))
            unit.count--;
        if (good) {
            if (defines) {
                values[value_count++] = unit.ins[before].d;
                value_size[unit.ins[before].d - IR_T] = unit.ins[before].size;
            }
            return true;
        }
        unit.count = before;
        unit.temps = temps;
    }
    return false;
}

static bool make_unit(void)
{
    const unsigned ops = 1 + below(MAX_OPS);
    ir_begin(&unit, jit_mode(C));
    pointer_count = value_count = 0;
    for (unsigned i = 0; i < ops; i++) {
        begin_guest();
        if (one_in(4))
            add_pointer();
        if (!add_random(plain_ops, ARRAY_LEN(plain_ops)))
            return false;
    }
    begin_guest();
    return add_random(last_ops, ARRAY_LEN(last_ops)) && set_liveness(one_in(2) ? IR_FLAGS : (u16)random64() & IR_FLAGS);
}

/* --- state -------------------------------------------------------------------------------------------------------------- */

struct state { u64 gpr[16], rip, icount, pc, gs; u32 note, flags; u8 memory[2 * PAGE_SIZE]; };

static void state_load(const struct state *s)
{
    memcpy(C->gpr, s->gpr, sizeof s->gpr);
    C->rip = s->rip;
    C->icount = s->icount;
    C->jit.x87_pc = s->pc;
    C->kernel_gs_base = s->gs;
    C->jit.x87_note = s->note;
    flags_set_status(C, s->flags);
    memcpy(m.ram->base + DATA, s->memory, sizeof s->memory);
}

static void state_save(struct state *s)
{
    memcpy(s->gpr, C->gpr, sizeof s->gpr);
    s->rip = C->rip;
    s->icount = C->icount;
    s->pc = C->jit.x87_pc;
    s->gs = C->kernel_gs_base;
    s->note = C->jit.x87_note;
    s->flags = flags_status(C);
    memcpy(s->memory, m.ram->base + DATA, sizeof s->memory);
}

static void state_random(struct state *s)
{
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = random_value();
    s->gpr[GPR_R14] = DATA + below(one_in(4) ? PAGE_SIZE : 256);
    s->gpr[GPR_R15] = below(32);
    if (one_in(2)) {
        s->gpr[GPR_RDX] = (u64)((s64)s->gpr[GPR_RAX] >> 63);
        s->gpr[GPR_RCX] = below(70);
    }
    s->rip = CODE;
    s->icount = below(100);
    s->pc = random_value();
    s->gs = random_value();
    s->note = (u32)random64();
    s->flags = (u32)random64() & EFL_STATUS;
    for (unsigned i = 0; i < sizeof s->memory; i += 8) {
        u64 v = random_value();
        memcpy(s->memory + i, &v, 8);
    }
}

/* --- running it ------------------------------------------------------------------------------------------------------------ */

static char text[1 << 14];
static u32 code_at, code_bytes;

static bool run_code(void)
{
    struct jit *j = jit_of(C);
    codecache_room(j, CODE_ROOM);
    struct code_segment *s = &j->segment[j->filling];
    struct code_unit *u = code_alloc(j, sizeof *u);
    const u32 at = (s->used + CODE_ALIGN - 1) & ~(u32)(CODE_ALIGN - 1);
    ck_assert_ptr_nonnull(u);
    *u = (struct code_unit){ .pa = CODE, .mode = j->mode, .guests = unit.guests, .flags_in = unit.flags_in, .part = UNIT_WHOLE };
    if (!j->backend->emit(j, &unit, u, at, s->cold - at))
        return false;
    s->used = at + u->size;
    s->cold -= u->cold_size;    /* a return address may still lead to it */
    code_at = u->entry;
    code_bytes = at + u->size - u->entry;
    C->jit.pc = CODE;
    j->backend->flags_put(C, flags_status(C));
    const enum leave_reason why = j->backend->enter(C, j->rx + u->entry);
    flags_set_status(C, j->backend->flags_get(C));
    if (why == LEAVE_LINK)
        C->rip = C->jit.pc + (u64)(s64)((struct code_link *)C->jit.left)->target;
    return true;
}

static void add_line(void *ctx, const char *line)
{
    const size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, "%s\n", line);
}

static void differs(const char *what, u64 expected, u64 is)
{
    const size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, "%s: %llx, emitted code has %llx\n", what, (unsigned long long)expected, (unsigned long long)is);
}

static bool compare(const struct state *a, const struct state *b, u32 flags)
{
    const size_t before = strlen(text);
    char name[32];
    for (unsigned i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "register %u", i);
        if (a->gpr[i] != b->gpr[i])
            differs(name, a->gpr[i], b->gpr[i]);
    }
    if (a->rip != b->rip)
        differs("rip", a->rip, b->rip);
    if ((a->flags ^ b->flags) & flags)
        differs("flags", a->flags & flags, b->flags & flags);
    if (a->icount != b->icount)
        differs("icount", a->icount, b->icount);
    if (a->pc != b->pc || a->gs != b->gs || a->note != b->note)
        differs("fields", a->pc ^ a->gs ^ a->note, b->pc ^ b->gs ^ b->note);
    for (unsigned i = 0; i < sizeof a->memory; i++) {
        snprintf(name, sizeof name, "memory %x", DATA + i);
        if (a->memory[i] != b->memory[i])
            differs(name, a->memory[i], b->memory[i]);
    }
    return strlen(text) == before;
}

/* Flags that no operation up to the one that left has defined since they were undefined. */
static u16 undefined_at(const struct ir_left *left)
{
    u16 undefined = 0;
    for (unsigned i = 0; i < unit.count && unit.ins[i].gi <= left->gi; i++)
        undefined = (undefined & (u16)~unit.ins[i].fdef) | undefined_by(&unit.ins[i]);
    return undefined;
}

static struct state start, evaluated, emitted;
static unsigned refused, left_early;

static void run_case(void)
{
    state_random(&start);
    state_load(&start);
    C->jit.pc = CODE;
    const struct ir_left left = ir_eval(&unit, C);
    state_save(&evaluated);
    state_load(&start);
    if (!run_code()) {
        refused++;
        return;
    }
    state_save(&emitted);
    text[0] = 0;
    /* One may leave for the interpreter where the other one goes on: divisions, operands on two pages. */
    if (emitted.rip != evaluated.rip && ((emitted.rip >= CODE && emitted.rip < CODE + 4u * unit.guests) ||
                                         (left.how == IR_OP_step && left.gi + 1u < unit.guests))) {
        left_early++;
        return;
    }
    if (!compare(&evaluated, &emitted, left.flags & (u16)~undefined_at(&left))) {
        static struct state keep[2];
        keep[0] = start;
        static char report[sizeof text];
        memcpy(report, text, sizeof text);
        text[0] = 0;
        ir_print(&unit, add_line, NULL);
        for (unsigned i = 0; i < 16; i++)
            differs("start", i, keep[0].gpr[i]);
        if (getenv("BACKEND_CODE")) {
            FILE *f = fopen(getenv("BACKEND_CODE"), "w");
            fwrite(jit_of(C)->rx + code_at, 1, code_bytes, f);
            fclose(f);
        }
        ck_abort_msg("left by %s of guest instruction %u\n%sflags at first %x\n%s", ir_op_name(left.how), left.gi, report, start.flags, text);
    }
}

static void machine_long(void)
{
    put(TABLES, 8, (TABLES + 0x1000) | 3);
    put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 3);
    for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
        put(TABLES + 0x2000 + 8 * i, 8, (u64)i << 21 | 0xe3);
    C->cr3 = TABLES;
    C->cr4 |= CR4_PAE;
    C->efer = EFER_LME | EFER_LMA;
    C->cr0 |= CR0_PG;
    C->seg[SEG_CS].attr = (u16)((C->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
    C->seg[SEG_FS].base = 0x20;
    sysreg_refresh_mmu(C);
    segment_refresh(C);
}

START_TEST(random_units)
{
    const char *s = getenv("BACKEND_SEED"), *count = getenv("BACKEND_UNITS");
    const unsigned units = count ? (unsigned)atoi(count) : 1000;
    char err[200];
    struct jit_options o;
    seed = (s ? strtoull(s, NULL, 0) : 1) * 0x9e3779b97f4a7c15 + (unsigned)_i;
    machine_protected();
    machine_long();
    ck_assert(jit_options_parse(&o, NULL, err, sizeof err));
    o.cache = 16;
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
    jit_prepare(jit_of(C));
    unsigned made = 0;
    for (unsigned i = 0; i < units; i++) {
        if (!make_unit())
            continue;
        made++;
        run_case();
    }
    ck_assert_uint_gt(made, units / 2);
    ck_assert_uint_lt(refused, made / 4);
    ck_assert_uint_lt(left_early, made / 4);
    machine_free();
}
END_TEST

int main(void)
{
    if (!jit_available()) {
        printf("skipped: there is no backend for this host\n");
        return 77;
    }
    Suite *s = suite_create("backend");
    TCase *t = tcase_create("units");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, random_units, 0, 4);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
