/* ir_check.c - the verifier of the IR: is this unit one that every backend and the evaluator understand the same way?
 *
 * Checked: kinds of operands and sizes per operation (the table `rules`); immediates that fit; memory operands within
 * what their ptr has checked, and writable if written; temporaries defined before they are used; ptr's only as
 * addresses, and not across an interp, after which mappings may be others; flags defined before they are read;
 * operations with FAULT before their guest instruction changes anything; guest instructions in order; one END, at the
 * end.
 *
 * A temporary is defined (W) once. Operations that read and write (X) may change it further, but not one that ptr
 * defined. Flags that are not live after an operation (flive) count as undefined from there on; but a guest may read
 * what its own instruction has left undefined.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "jit/ir.h"

/* --- the rules of each operation -------------------------------------------------------------------------------- */

enum kind { G = 1 /* general register */, H = 2 /* AH.. */, T = 4 /* temporary */, I = 8 /* immediate */,
            M = 16 /* memory */, V = 32 /* vector, MMX, ST(i) */, B = 64 /* IR_PC */, N = 128 /* none */ };
enum { GT = G | T, GTM = GT | M, GHT = GT | H, REG = GHT | M /* a register or memory */, ANY = REG | I,
       INSN = ANY | V | N };
enum sizes { SIZE_NONE = 0 /* no matter */, S1 = 1, S48 = 12, S8 = 8, S248 = 14, S1248 = 15,
             SIZE_PTR, SIZE_INSN, SIZE_FIELD };
enum { LOCK = IR_LOCK, POLL = IR_POLL, LIKELY = IR_LIKELY };
/* What ins.imm is if it is no operand. */
enum imm { IMM_NONE, IMM_VALUE, IMM_OFFSET, IMM_NEED, IMM_COUNT };

/* clang-format off */
static const struct rule { u8 d, a, b, sizes, bits, imm; } rules[IR_OP_COUNT] = {
    /*                   d     a      b      sizes      bits           imm */
    [IR_OP_mov]     = { REG,  ANY,   N,     S1248,     0,             0 },
    [IR_OP_movzx]   = { GT,   REG,   N,     S248,      0,             0 },
    [IR_OP_movsx]   = { GT,   REG,   N,     S248,      0,             0 },
    [IR_OP_lea]     = { GT,   GT|B|N, GT|N, S248,      0,             0 },
    [IR_OP_xchg]    = { REG,  REG,   N,     S1248,     LOCK,          0 },
    [IR_OP_bswap]   = { GT,   N,     N,     S48,       0,             0 },
    [IR_OP_cmov]    = { GT,   GTM,   N,     S248,      0,             0 },
    [IR_OP_setcc]   = { REG,  N,     N,     S1,        0,             0 },
    [IR_OP_cdq]     = { N,    N,     N,     S248,      0,             0 },
    [IR_OP_ptr]     = { T,    GT|B|N, GT|N, SIZE_PTR,  IR_ALIGN | IR_TLB | IR_SPAN | IR_APART, 0 },
    [IR_OP_again]   = { T,    M,     N,     SIZE_PTR,  0,             0 },
    [IR_OP_code]    = { T,    N,     N,     SIZE_PTR,  0,             0 },
    [IR_OP_same]    = { M,    I,     N,     S1248,     0,             0 },
    [IR_OP_get]     = { GT,   N,     N,     SIZE_FIELD, 0,            0 },
    [IR_OP_put]     = { N,    GT|I,  N,     SIZE_FIELD, 0,            0 },
    [IR_OP_add]     = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_or]      = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_adc]     = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_sbb]     = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_and]     = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_sub]     = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_xor]     = { REG,  ANY,   N,     S1248,     LOCK,          0 },
    [IR_OP_cmp]     = { REG,  ANY,   N,     S1248,     0,             0 },
    [IR_OP_test]    = { REG,  ANY,   N,     S1248,     0,             0 },
    [IR_OP_inc]     = { REG,  N,     N,     S1248,     LOCK,          0 },
    [IR_OP_dec]     = { REG,  N,     N,     S1248,     LOCK,          0 },
    [IR_OP_neg]     = { REG,  N,     N,     S1248,     LOCK,          0 },
    [IR_OP_not]     = { REG,  N,     N,     S1248,     LOCK,          0 },
    [IR_OP_xadd]    = { REG,  GHT,   N,     S1248,     LOCK,          0 },
    [IR_OP_cmpxchg] = { REG,  GHT,   N,     S1248,     LOCK,          0 },
    [IR_OP_imul]    = { GT,   GTM,   N,     S248,      0,             0 },
    [IR_OP_imul3]   = { GT,   GTM,   N,     S248,      0,             IMM_VALUE },
    [IR_OP_mul]     = { N,    REG,   N,     S1248,     0,             0 },
    [IR_OP_imul1]   = { N,    REG,   N,     S1248,     0,             0 },
    [IR_OP_div]     = { N,    REG,   N,     S1248,     0,             0 },
    [IR_OP_idiv]    = { N,    REG,   N,     S1248,     0,             0 },
    [IR_OP_shl]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_shr]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_sar]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_rol]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_ror]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_rcl]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_rcr]     = { REG,  GHT|I, N,     S1248,     0,             0 },
    [IR_OP_shld]    = { GTM,  GT,    GHT|I, S248,      0,             0 },
    [IR_OP_shrd]    = { GTM,  GT,    GHT|I, S248,      0,             0 },
    [IR_OP_bt]      = { GTM,  GT|I,  N,     S248,      0,             0 },
    [IR_OP_bts]     = { GTM,  GT|I,  N,     S248,      LOCK,          0 },
    [IR_OP_btr]     = { GTM,  GT|I,  N,     S248,      LOCK,          0 },
    [IR_OP_btc]     = { GTM,  GT|I,  N,     S248,      LOCK,          0 },
    [IR_OP_bsf]     = { GT,   GTM,   N,     S248,      0,             0 },
    [IR_OP_bsr]     = { GT,   GTM,   N,     S248,      0,             0 },
    [IR_OP_getfl]   = { REG,  N,     N,     S1248,     0,             0 },
    [IR_OP_putfl]   = { N,    GHT,   N,     S1248,     0,             0 },
    [IR_OP_clc]     = { N,    N,     N,     SIZE_NONE, 0,             0 },
    [IR_OP_stc]     = { N,    N,     N,     SIZE_NONE, 0,             0 },
    [IR_OP_cmc]     = { N,    N,     N,     SIZE_NONE, 0,             0 },
    [IR_OP_insn]    = { INSN, INSN,  INSN,  SIZE_INSN, 0,             0 },
    [IR_OP_interp]  = { N,    N,     N,     SIZE_NONE, 0,             0 },
    [IR_OP_need]    = { N,    N,     N,     SIZE_NONE, 0,             IMM_NEED },
    [IR_OP_guard]   = { N,    GHT,   N,     S1248,     0,             0 },
    [IR_OP_jcc]     = { N,    N,     N,     SIZE_NONE, POLL | LIKELY, IMM_OFFSET },
    [IR_OP_jz]      = { N,    GHT,   N,     S1248,     POLL | LIKELY, IMM_OFFSET },
    [IR_OP_jnz]     = { N,    GHT,   N,     S1248,     POLL | LIKELY, IMM_OFFSET },
    [IR_OP_jmp]     = { N,    N,     N,     SIZE_NONE, POLL,          IMM_OFFSET },
    [IR_OP_call]    = { N,    N,     N,     SIZE_NONE, POLL,          IMM_OFFSET },
    [IR_OP_ijmp]    = { N,    GT,    N,     S248,      POLL,          0 },
    [IR_OP_icall]   = { N,    GT,    N,     S248,      POLL,          0 },
    [IR_OP_ret]     = { N,    GT,    N,     S248,      POLL,          0 },
    [IR_OP_step]    = { N,    N,     N,     SIZE_NONE, 0,             0 },
    [IR_OP_count]   = { N,    N,     N,     SIZE_NONE, 0,             IMM_COUNT },
};
/* clang-format on */

/* --- state ------------------------------------------------------------------------------------------------------ */

enum temp_state { TEMP_UNDEFINED, TEMP_VALUE, TEMP_PTR, TEMP_STALE /* a ptr before an interp */ };
struct check {
    const struct ir_unit *u;
    const struct ir_ins *ins;       /* being checked, NULL: the unit as a whole */
    char *err;
    size_t errlen;
    u8 temp[IR_MAX_TEMPS];          /* enum temp_state */
    u16 made_by[IR_MAX_TEMPS];      /* ptr: the operation */
    u16 flags;                      /* defined at this point */
    int changed;                    /* the guest instruction that has changed something last, -1 none */
    unsigned gi;
};

static __attribute__((format(printf, 2, 3))) bool wrong(struct check *k, const char *format, ...)
{
    char what[100], text[120];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (!k->ins)
        snprintf(k->err, k->errlen, "%s", what);
    else
        snprintf(k->err, k->errlen, "operation %d, %s: %s", (int)(k->ins - k->u->ins),
                 ir_print_ins(text, sizeof text, k->ins, false), what);
    return false;
}

/* --- operands --------------------------------------------------------------------------------------------------- */

static unsigned kind_of(ir_val v)
{
    if (v == IR_NONE)
        return N;
    if (ir_is_gpr(v))
        return G;
    if (ir_is_high(v))
        return H;
    if (v < IR_IMM)
        return V;
    if (ir_is_temp(v))
        return T;
    return v == IR_IMM ? I : v == IR_MEM ? M : v == IR_PC ? B : 0;
}

static bool is_shift(unsigned op) { return op >= IR_OP_shl && op <= IR_OP_rcr; }
static bool is_double_shift(unsigned op) { return op == IR_OP_shld || op == IR_OP_shrd; }
static bool is_extension(unsigned op) { return op == IR_OP_movzx || op == IR_OP_movsx; }
/* The operand that is a shift count, if any: 1 = a, 2 = b. */
static unsigned count_slot(unsigned op) { return is_shift(op) ? 1 : is_double_shift(op) ? 2 : 4; }

/* Bytes that the operation uses of its operand in slot 0..3 (d a b c). */
static unsigned slot_size(const struct ir_ins *ins, unsigned slot)
{
    if (slot == count_slot(ins->op))
        return 1;
    return slot == 1 && is_extension(ins->op) ? ins->size2 : ins->size;
}

static ir_val slot_value(const struct ir_ins *ins, unsigned slot)
{
    return slot == 0 ? ins->d : slot == 1 ? ins->a : slot == 2 ? ins->b : ins->c;
}

static bool check_memory(struct check *k, unsigned slot)
{
    const struct ir_ins *ins = k->ins;
    unsigned role = ir_rows[ins->op].role[slot], t = (unsigned)(ins->p - IR_T);
    if (!ir_is_temp(ins->p) || t >= k->u->temps)
        return wrong(k, "a memory operand without an address");
    if (k->temp[t] == TEMP_STALE)
        return wrong(k, "the address t%u is used behind an interp", t);
    if (k->temp[t] != TEMP_PTR)
        return wrong(k, "t%u is no address: no ptr has defined it", t);
    const struct ir_ins *ptr = &k->u->ins[k->made_by[t]];
    s64 bytes = ins->op == IR_OP_insn ? 1 : slot_size(ins, slot);
    if (ins->disp < 0 || ins->disp + bytes > ptr->size)
        return wrong(k, "the access is outside of the %u bytes that t%u stands for", ptr->size, t);
    if (ins->op == IR_OP_again && (ptr->op != IR_OP_ptr || ptr->d != ins->p || ins->disp || ins->size != ptr->size))
        return wrong(k, "t%u is not all that a ptr has defined", t);
    bool writes = ins->op != IR_OP_insn && (role == IR_ROLE_W || role == IR_ROLE_X);
    if (writes && ptr->cc == IR_READ)
        return wrong(k, "t%u is for reading only", t);
    return true;
}

static bool fits(s64 imm, unsigned size)
{
    if (size >= 8)
        return imm >= INT32_MIN && imm <= INT32_MAX;
    return imm >= -((s64)1 << (8 * size - 1)) && imm < (s64)1 << (8 * size);
}

static bool check_immediate(struct check *k, unsigned slot)
{
    const struct ir_ins *ins = k->ins;
    if (slot == count_slot(ins->op)) {
        if (ins->imm < 1 || ins->imm > (ins->size == 8 ? 63 : 31))
            return wrong(k, "an immediate shift count is masked and not 0");
        return true;
    }
    if (!((ins->op == IR_OP_mov || ins->op == IR_OP_same) && ins->size == 8) && !fits(ins->imm, slot_size(ins, slot)))
        return wrong(k, "the immediate does not fit");
    return true;
}

/* Reads are checked here, definitions when all reads are done. */
static bool check_temp(struct check *k, unsigned slot)
{
    unsigned role = ir_rows[k->ins->op].role[slot], t = (unsigned)(slot_value(k->ins, slot) - IR_T);
    if (t >= k->u->temps)
        return wrong(k, "t%u is beyond the unit's %u temporaries", t, k->u->temps);
    if (k->temp[t] >= TEMP_PTR)
        return wrong(k, role == IR_ROLE_W ? "t%u is defined a second time"
                                            : "t%u is a host address: it can only be one", t);
    if (role == IR_ROLE_W)
        return k->temp[t] == TEMP_UNDEFINED || wrong(k, "t%u is defined a second time", t);
    if (k->temp[t] == TEMP_UNDEFINED && !(k->ins->op == IR_OP_insn && slot == 0))
        return wrong(k, "t%u is not defined yet", t);
    return true;
}

static bool check_slot(struct check *k, unsigned slot, unsigned allowed)
{
    static const char names[4] = { 'd', 'a', 'b', 'c' };
    unsigned kind = kind_of(slot_value(k->ins, slot));
    if (!(kind & allowed))
        return wrong(k, "operand %c is of the wrong kind", names[slot]);
    if (kind == H && k->ins->op != IR_OP_insn && slot_size(k->ins, slot) != 1)
        return wrong(k, "operand %c is a byte register", names[slot]);
    return (kind != M || check_memory(k, slot)) && (kind != I || check_immediate(k, slot)) &&
           (kind != T || check_temp(k, slot));
}

static bool check_operands(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    const struct rule *r = &rules[ins->op];
    const u8 allowed[4] = { r->d, r->a, r->b, ins->op == IR_OP_insn ? INSN : N };
    unsigned memory = 0, immediates = 0;
    for (unsigned slot = 0; slot < 4; slot++) {
        memory += slot_value(ins, slot) == IR_MEM;
        immediates += slot_value(ins, slot) == IR_IMM;
    }
    if (memory > 1)
        return wrong(k, "two operands in memory");
    if (immediates > 1)
        return wrong(k, "two immediates");
    for (unsigned slot = 0; slot < 4; slot++)
        if (!check_slot(k, slot, allowed[slot]))
            return false;
    for (unsigned slot = 0; slot < 4; slot++) {
        unsigned role = ir_rows[ins->op].role[slot];
        ir_val v = slot_value(ins, slot);
        if (!ir_is_temp(v) || (role != IR_ROLE_W && !(ins->op == IR_OP_insn && slot == 0)))
            continue;
        bool again = ins->op == IR_OP_again;
        k->temp[v - IR_T] = again || ins->op == IR_OP_ptr || ins->op == IR_OP_code ? TEMP_PTR : TEMP_VALUE;
        k->made_by[v - IR_T] = again ? k->made_by[ins->p - IR_T] : (u16)(ins - k->u->ins);
    }
    return true;
}

/* --- sizes and the other fields --------------------------------------------------------------------------------- */

static unsigned field_size(unsigned field)
{
    static const u8 sizes[IR_FIELD_COUNT] = {
#define X(name, where) sizeof(((struct vcpu *)0)->where),
        IR_FIELDS(X)
#undef X
    };
    return sizes[field];
}

static bool is_size(unsigned n) { return n == 1 || n == 2 || n == 4 || n == 8; }

static bool check_field(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    if (ins->row >= IR_FIELD_COUNT)
        return wrong(k, "there is no field %u", ins->row);
    unsigned size = field_size(ins->row);
    if (!is_size(ins->size) || (ins->op == IR_OP_put ? ins->size != size : ins->size > size))
        return wrong(k, "the field has %u bytes", size);
    return true;
}

static bool check_size(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    unsigned sizes = rules[ins->op].sizes;
    switch (sizes) {
    case SIZE_NONE: break;
    case SIZE_PTR: if (!ins->size) return wrong(k, "a ptr to nothing"); break;
    case SIZE_INSN:
        if (ins->row >= insn_row_count)
            return wrong(k, "there is no row %u", ins->row);
        if (ins->size > 32 || (!ins->size && (ins->d || ins->a || ins->b || ins->c)))
            return wrong(k, "the size is not 1..32");
        break;
    case SIZE_FIELD: return check_field(k);
    default:
        if (!is_size(ins->size) || !(sizes & ins->size))
            return wrong(k, "the size cannot be %u", ins->size);
    }
    if (is_extension(ins->op) && (!is_size(ins->size2) || ins->size2 >= ins->size))
        return wrong(k, "the source's size cannot be %u", ins->size2);
    return true;
}

static bool check_address(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    if (ins->scale > 3)
        return wrong(k, "scale is 0..3");
    if (ins->op != IR_OP_ptr)
        return true;
    if (ins->size2 >= SEG_COUNT || ins->cc > IR_RW)
        return wrong(k, "no such segment or access");
    if (ins->addrsize != 2 && ins->addrsize != 4 && ins->addrsize != 8)
        return wrong(k, "the address size is 2, 4 or 8");
    if (ins->bits & IR_ALIGN && ins->size & (ins->size - 1))
        return wrong(k, "only a power of two can be aligned to");
    return true;
}

static bool check_bits(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    if (ins->bits & ~rules[ins->op].bits)
        return wrong(k, "a word that does not belong to the operation");
    if (ins->bits & IR_LOCK && ins->d != IR_MEM && !(ins->op == IR_OP_xchg && ins->a == IR_MEM))
        return wrong(k, "lock without an operand in memory");
    return true;
}

static bool check_imm_field(struct check *k)
{
    s64 imm = k->ins->imm;
    switch (rules[k->ins->op].imm) {
    case IMM_VALUE: return fits(imm, k->ins->size) || wrong(k, "the immediate does not fit");
    case IMM_OFFSET: return (imm >= INT32_MIN && imm <= INT32_MAX) || wrong(k, "the offset does not fit in 32 bits");
    case IMM_NEED: return (imm >= IR_NEED_SSE && imm <= IR_NEED_MMX) || wrong(k, "there is no such kind of state");
    case IMM_COUNT: return (imm >= 0 && imm <= INT32_MAX) || wrong(k, "the count is out of range");
    default: return true;
    }
}

/* --- flags ------------------------------------------------------------------------------------------------------ */

/* The flags that this operation cannot do without. */
static u16 must_use(const struct ir_ins *ins)
{
    u16 fr = ir_rows[ins->op].fr;
    unsigned slot = count_slot(ins->op);
    if (fr == IR_MASK_CC)
        return ir_cc_flags(ins->cc);
    if (ins->op == IR_OP_getfl)
        return ins->size == 1 ? fr & 0xff : fr;
    if (ins->op == IR_OP_step)
        return 0;
    u16 use = fr == IR_MASK_OWN ? 0 : fr;
    /* A count of 0 leaves the flags as they were. */
    if (slot < 4 && slot_value(ins, slot) != IR_IMM)
        use |= ins->fdef & ins->flive;
    return use;
}

/* Flags that the guest instruction leaves undefined: they hold something, whatever it is. */
static u16 undefined_by_guest(const struct check *k)
{
    const struct insn *in = k->ins->gi < k->u->guests ? k->u->guest[k->ins->gi] : NULL;
    return in ? insn_rows[in->row].undef & IR_FLAGS : 0;
}

static bool check_flags(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    u16 fw = ir_rows[ins->op].fw;
    if ((ins->fdef | ins->fuse | ins->flive | ins->fexit) & ~IR_FLAGS)
        return wrong(k, "masks hold status flags only");
    if (fw != IR_MASK_OWN && ins->fdef & ~fw)
        return wrong(k, "it defines flags that it cannot");
    if (ins->op == IR_OP_putfl && ins->size == 1 && ins->fdef & IR_O)
        return wrong(k, "OF is not in a byte");
    if (ir_rows[ins->op].fr == IR_MASK_CC && ins->cc > 15)
        return wrong(k, "there is no such condition");
    if (must_use(ins) & ~ins->fuse)
        return wrong(k, "it reads flags that it does not say");
    if (ins->fuse & ~k->flags)
        return wrong(k, "it reads flags that are not defined");
    k->flags = ((k->flags | ins->fdef) & ins->flive) | undefined_by_guest(k);
    return true;
}

/* --- order ------------------------------------------------------------------------------------------------------ */

/* Does it change what the guest can see? Temporaries are not seen; icount is nobody's. */
static bool changes(const struct ir_ins *ins)
{
    if (ins->fdef || ins->op == IR_OP_insn || ins->op == IR_OP_interp || ins->op == IR_OP_put)
        return true;
    if (ir_rows[ins->op].attr & IR_IMPLICIT)
        return true;
    for (unsigned slot = 0; slot < 4; slot++) {
        unsigned role = ir_rows[ins->op].role[slot];
        ir_val v = slot_value(ins, slot);
        if ((role == IR_ROLE_W || role == IR_ROLE_X) && v && !ir_is_temp(v))
            return true;
    }
    return false;
}

static bool check_order(struct check *k)
{
    const struct ir_ins *ins = k->ins;
    const struct ir_row *row = &ir_rows[ins->op];
    bool last = ins == &k->u->ins[k->u->count - 1];
    if (ins->gi >= k->u->guests)
        return wrong(k, "there is no guest instruction %u", ins->gi);
    if (ins->gi < k->gi)
        return wrong(k, "it goes back to guest instruction %u", ins->gi);
    k->gi = ins->gi;
    if (row->attr & IR_END && !last)
        return wrong(k, "more operations follow the end");
    if (!(row->attr & IR_END) && last)
        return wrong(k, "the unit does not end");
    if (row->attr & IR_FAULT && k->changed == ins->gi)
        return wrong(k, "it may leave after its guest instruction has changed something");
    if (changes(ins))
        k->changed = ins->gi;
    if (ins->op == IR_OP_interp)
        for (unsigned t = 0; t < k->u->temps; t++)
            if (k->temp[t] == TEMP_PTR)
                k->temp[t] = TEMP_STALE;
    return true;
}

static bool check_ins(struct check *k)
{
    if (k->ins->op >= IR_OP_COUNT)
        return wrong(k, "there is no such operation");
    return check_size(k) && check_address(k) && check_bits(k) && check_operands(k) && check_imm_field(k) &&
           check_flags(k) && check_order(k);
}

bool ir_check(const struct ir_unit *u, char *err, size_t errlen)
{
    struct check k = { .u = u, .err = err, .errlen = errlen, .flags = u->flags_in, .changed = -1 };
    if (u->full || u->count > IR_MAX_INS || u->guests > IR_MAX_GUEST || u->temps > IR_MAX_TEMPS)
        return wrong(&k, "the unit is full");
    if (!u->count)
        return wrong(&k, "the unit is empty");
    if (u->flags_in & ~IR_FLAGS)
        return wrong(&k, "masks hold status flags only");
    for (unsigned i = 0; i < u->count; i++) {
        k.ins = &u->ins[i];
        if (!check_ins(&k))
            return false;
    }
    return true;
}
