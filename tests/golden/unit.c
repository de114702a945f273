/* unit.c - a case through the translator: a page of its own in a machine of its mode, made into a unit, not executed.
 *
 * On the page: the case at offset 0, behind it a jump to PAGE_TARGET, where all flags are overwritten. So flags are dead
 * behind a case unless it reads them itself. Options have their defaults; what counts entries is not shown.
 */
#include <check.h>

/* cpu_machine.h is made for suites; there is none here. */
#undef ck_assert
#undef ck_assert_msg
#define ck_assert(ok) do { if (!(ok)) abort(); } while (0)
#define ck_assert_msg(ok, ...) ck_assert(ok)
#include "tests/unit/cpu_machine.h"

#include "jit/jit_private.h"
#include "tests/golden/golden.h"

enum { FIRST = 0x100000 };
static struct machine machines[3];
static unsigned made[3];
static u32 op_at[IR_MAX_INS + 1];

static void paging(void)
{
    put(TABLES, 8, (TABLES + 0x1000) | 7);
    put(TABLES + 0x1000, 8, (TABLES + 0x2000) | 7);
    for (unsigned i = 0; i < (unsigned)RAM_SIZE >> 21; i++)
        put(TABLES + 0x2000 + 8 * i, 8, (u64)i << 21 | 0x87);
    C->cr3 = TABLES;
    C->cr4 |= CR4_PAE;
    C->cr0 |= CR0_PG | CR0_WP;
}

static void machine_of(unsigned mode)
{
    char err[200];
    struct jit_options o;
    if (mode == 2)
        machine_real();
    else
        machine_protected();
    C->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    C->cr0 &= ~(u64)(CR0_EM | CR0_TS);
    C->xcr0 = 7;
    if (mode != 2)
        enter_user();
    if (mode == 8) {
        paging();
        C->efer = EFER_LME | EFER_LMA;
        C->seg[SEG_CS].attr = (u16)((C->seg[SEG_CS].attr & ~SEG_D) | SEG_L);
        C->seg[SEG_CS].sel = S_CODE64 | 3;
    }
    sysreg_refresh_mmu(C);
    segment_refresh(C);
    ck_assert(C->code_size == mode);
    host_has_all = !host_has_none;
    ck_assert(jit_options_parse(&o, "self=0,cache=32", err, sizeof err));
    ck_assert_msg(jit_new(C, &o, err, sizeof err), "%s", err);
    jit_of(C)->op_at = op_at;
}

static void enter(unsigned mode)
{
    const unsigned i = mode / 4;
    if (!machines[i].cpu) {
        machine_of(mode);
        machines[i] = m;        /* nothing in it is called with its address */
    }
    m = machines[i];
}

static gpa next_page(unsigned mode) { return FIRST + 4096 * (gpa)made[mode / 4]++; }

static void place(const struct golden_case *c, gpa page)
{
    static const u8 xor_eax_eax[] = { 0x31, 0xc0 };
    u8 jump[5] = { 0xe9 };
    const u32 distance = PAGE_TARGET - (c->size + (c->mode == 2 ? 3 : 5));
    memcpy(jump + 1, &distance, 4);
    physmap_write(m.map, page, c->bytes, c->size);
    physmap_write(m.map, page + c->size, jump, c->mode == 2 ? 3 : 5);
    for (unsigned i = PAGE_TARGET; i < PAGE_SIZE; i += 2)
        physmap_write(m.map, page + i, xor_eax_eax, 2);
    if (c->mode == 2)
        segment_set_real(C, SEG_CS, (u16)(page >> 4));
    C->rip = c->mode == 2 ? 0 : page;
    segment_refresh(C);
}

static bool refuse(const struct golden_case *c, const char *what)
{
    fprintf(stderr, "%s (cases.txt:%u): %s\n", c->name, c->line, what);
    return false;
}

/* The jump behind the case, or the one to it with which a unit may end. */
static bool is_behind(const struct golden_case *c, const struct ir_ins *ins)
{
    return ins->gi >= c->guests || (ins->op == IR_OP_jmp && ins->imm == c->size);
}

static bool show(struct golden_case *c, const struct jit *j, const struct code_unit *u)
{
    static u8 op_guest[IR_MAX_INS];
    static bool op_check[IR_MAX_INS];
    struct golden_code code = { .bytes = j->rw, .op_at = op_at, .op_guest = op_guest, .op_check = op_check, .ops = j->ir.count, .jit = j,
                                .unit = u, .size = u->size };
    code.base = op_at[0];
    code.end = op_at[j->ir.count];
    for (unsigned i = 0; i < j->ir.count; i++) {
        op_guest[i] = (u8)j->ir.ins[i].gi;
        op_check[i] = j->ir.ins[i].op == IR_OP_ptr;
    }
    while (code.ops && is_behind(c, &j->ir.ins[code.ops - 1]))
        code.end = op_at[--code.ops];
    text_make(c, &code);
    return true;
}

bool unit_make(struct golden_case *c)
{
    gpa pa;
    const u8 *bytes;
    enter(c->mode);
    struct jit *j = jit_of(C);
    const gpa page = next_page(c->mode);
    if (page + PAGE_SIZE > RAM_SIZE)
        return refuse(c, "no memory left for so many cases");
    place(c, page);
    jit_prepare(j);
    if (!mmu_fetch(&C->mmu, page, C->mmu.view, &pa, &bytes) || pa != page)
        return refuse(c, "its page is not mapped");
    const struct code_unit *u = compile_unit(j, pa, bytes, unit_part(C, page, C->rip));
    if (!u)
        return refuse(c, "no unit was made");
    if (u->guests < c->guests)
        return refuse(c, "the unit ends before the case does");
    return show(c, j, u);
}
