/* ir.c - the IR as data: the table of operations, building units. What operations mean: ir.def. Text: ir_text.c.
 *
 * Building never fails at the call: a unit that is full says so (`full`) and takes every further operation in its
 * last place, so that callers check once, at the end.
 */
#include "jit/ir.h"

/* The columns of ir.def are C expressions over these names. */
enum {
    NONE = 0, C = IR_C, Z = IR_Z, OC = IR_O | IR_C, OSZAP = IR_FLAGS & ~IR_C, OSZAPC = IR_FLAGS,
    CC = IR_MASK_CC, FR = IR_MASK_OWN, FW = IR_MASK_OWN,
};
enum { SIDE = IR_SIDE, END = IR_END, FAULT = IR_FAULT, IMP = IR_IMPLICIT };
enum { ROLE__ = IR_ROLE_NONE, ROLE_W = IR_ROLE_W, ROLE_R = IR_ROLE_R, ROLE_X = IR_ROLE_X, ROLE_o = IR_ROLE_O };
enum { WRITES__ = 0, WRITES_W = 1, WRITES_R = 0, WRITES_X = 1, WRITES_o = 0 };
enum { READS__ = 0, READS_W = 0, READS_R = 1, READS_X = 1, READS_o = 1 };

const struct ir_row ir_rows[IR_OP_COUNT] = {
#define IR(name, d, a, b, c, fw, fr, attr) \
    [IR_OP_##name] = { #name, { ROLE_##d, ROLE_##a, ROLE_##b, ROLE_##c }, fw, fr, attr, \
                         WRITES_##d | WRITES_##a << 1 | WRITES_##b << 2 | WRITES_##c << 3, \
                         READS_##d | READS_##a << 1 | READS_##b << 2 | READS_##c << 3 },
#include "jit/ir.def"
};

const char *ir_op_name(enum ir_op op) { return op < IR_OP_COUNT ? ir_rows[op].name : "?"; }

u16 ir_cc_flags(unsigned cc)
{
    static const u16 flags[8] = { IR_O, IR_C, IR_Z, IR_C | IR_Z, IR_S, IR_P, IR_S | IR_O, IR_Z | IR_S | IR_O };
    return flags[cc >> 1 & 7];
}

void ir_begin(struct ir_unit *u, u32 mode)
{
    u->mode = mode;
    u->guests = u->count = u->temps = 0;
    u->flags_in = IR_FLAGS;
    u->full = false;
    u->offset[0] = 0;
}

void ir_guest(struct ir_unit *u, const struct insn *in, s32 start, s32 end)
{
    if (u->guests == IR_MAX_GUEST) {
        u->full = true;
        return;
    }
    u->guest[u->guests] = in;
    u->offset[u->guests++] = start;
    u->offset[u->guests] = end;
}

ir_val ir_temp(struct ir_unit *u)
{
    if (u->temps == IR_MAX_TEMPS) {
        u->full = true;
        return IR_T + IR_MAX_TEMPS - 1;
    }
    return (ir_val)(IR_T + u->temps++);
}

/* What it may read where the instance decides: the safe answer. A shift by an immediate count reads nothing. */
static u16 default_use(const struct ir_row *row, enum ir_op op, ir_val a)
{
    if (row->fr == IR_MASK_CC)
        return IR_FLAGS;
    if (row->fw == IR_MASK_OWN)
        return IR_FLAGS;
    bool by_register = (op >= IR_OP_shl && op <= IR_OP_rcr && a != IR_IMM) || op == IR_OP_shld || op == IR_OP_shrd;
    return (row->fr == IR_MASK_OWN ? 0 : row->fr) | (by_register ? row->fw : 0);
}

/* Operations whose exit has a live set of its own. */
static bool has_exit(enum ir_op op) { return ir_rows[op].attr & IR_SIDE || op == IR_OP_jmp || op == IR_OP_call; }

struct ir_ins *ir_add(struct ir_unit *u, enum ir_op op, unsigned size, ir_val d, ir_val a)
{
    const struct ir_row *row = &ir_rows[op];
    if (u->count == IR_MAX_INS)
        u->full = true;
    else
        u->count++;
    struct ir_ins *ins = &u->ins[u->count - 1];
    *ins = (struct ir_ins){ .op = (u8)op, .size = (u8)size, .d = d, .a = a, .flive = IR_FLAGS };
    ins->gi = (u8)(u->guests ? u->guests - 1 : 0);
    ins->fdef = row->fw == IR_MASK_OWN ? 0 : row->fw;
    ins->fuse = default_use(row, op, a);
    ins->fexit = has_exit(op) ? IR_FLAGS : 0;
    return ins;
}
