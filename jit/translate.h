/* translate.h - guest instructions -> IR. Private to jit/.
 *
 * translate.c decides where a unit starts and ends and calls tr_<family> for each instruction; the families are in
 * translate_*.c, the counterparts of cpu/interp_*.c. A family's function appends the operations of one instruction and
 * says how it went. What has no translation is left to the interpreter's function, under a reason that is counted.
 */
#ifndef SHADOW86_TRANSLATE_H
#define SHADOW86_TRANSLATE_H

#include "cpu/insn.h"
#include "jit/backend.h"
#include "jit/ir.h"
#include "jit/jit.h"

/* One instruction's translation. */
enum tr_result {
    TR_NEXT,        /* goes on with the following instruction */
    TR_END,         /* the unit is complete (an END operation has been appended) */
    TR_SIDE,        /* a conditional exit was appended; the following instruction is the fall-through */
    TR_INTERP,      /* no operation appended: call the interpreter's function and go on (translate.c does it) */
    TR_STEP,        /* no operation appended: the interpreter must run it outside of the unit, which ends here */
};

struct trans {
    struct ir_unit *u;
    struct jit *j;
    const struct jit_options *opt;
    u32 mode;
    unsigned code_size;     /* 2, 4, 8 */
    unsigned gi;            /* guest instruction being translated */
    s32 start, end;         /* its offset, and that of the next one */
    const char *reason;     /* why not translated; a string constant */
    /* what this unit has asserted so far */
    u8 needed;              /* bit per enum ir_unit_kind: `need` was emitted and still holds */
    bool x87_based;         /* x87_pc is this unit's (translate_insn.c) */
    u16 x87_noted;          /* 1 + index of the last operation that puts x87_note */
    u32 x87_seg;            /* what x87_seg holds, 0: not known */
    bool df_clear;          /* EFLAGS.DF is 0 (translate_string.c) */
    u16 shadow;             /* STI turned IF on, first operation + 1: the next instruction must be in this unit (translate_sys.c) */
};

typedef enum tr_result tr_fn(struct trans *t, const struct insn *in);
/* The translation of a row's instruction, NULL: none. translate.c */
tr_fn *translate_fn(const struct insn *in);

/* Families: return the function for in->run's mnemonic if it is theirs. Each file owns a table {in_x, tr_x}. */
struct tr_row { interp_fn *run; tr_fn *translate; };
extern const struct tr_row tr_alu_rows[], tr_move_rows[], tr_shift_rows[], tr_bits_rows[], tr_flow_rows[], tr_stack_rows[],
    tr_string_rows[], tr_sys_rows[];
extern const unsigned tr_alu_count, tr_move_count, tr_shift_count, tr_bits_count, tr_flow_count, tr_stack_count,
    tr_string_count, tr_sys_count;
/* Vectors, MMX, x87, BMI: every row that host_backend.can_insn accepts. translate_insn.c */
enum tr_result tr_insn(struct trans *t, const struct insn *in);
bool tr_insn_can(const struct insn *in);

/* --- operands: translate_operand.c --- */
/* The operand as an IR value: register, high byte, immediate (sets *imm), or memory (emits ptr for `access`, sets *p and *disp). */
struct tr_operand { ir_val v; ir_val p; s32 disp; s64 imm; u8 size; };
struct tr_operand tr_operand(struct trans *t, const struct insn *in, unsigned i, enum ir_access access);
/* Host address of the instruction's memory operand, `bytes` long. */
ir_val tr_address(struct trans *t, const struct insn *in, unsigned bytes, enum ir_access access, unsigned bits);
/* The effective address (offset, no segment) in a temporary, for LEA and the like. */
ir_val tr_effective(struct trans *t, const struct insn *in, unsigned size);
/* [seg: base + disp] where base is a guest register or temporary, at the unit's stack or address size. */
ir_val tr_ptr(struct trans *t, unsigned seg, ir_val base, s32 disp, unsigned addrsize, unsigned bytes, enum ir_access access);
/* Makes ins atomic; ins->p was made for it alone. */
void tr_lock(struct trans *t, struct ir_ins *ins);
/* Appends op d, a (memory, immediate in whichever of them); fdef from the row of the guest instruction (writes column). */
struct ir_ins *tr_op(struct trans *t, enum ir_op op, unsigned size, struct tr_operand d, struct tr_operand a);
static inline ir_val tr_g(unsigned gpr) { return (ir_val)(IR_G + gpr); }
/* Operands that are none of the instruction's own: a register or temporary (IR_NONE: absent), memory at p. */
static inline struct tr_operand tr_val(ir_val v) { return (struct tr_operand){ .v = v }; }
static inline struct tr_operand tr_at(ir_val p) { return (struct tr_operand){ .v = IR_MEM, .p = p }; }
static inline struct tr_operand tr_imm(s64 imm) { return (struct tr_operand){ .v = IR_IMM, .imm = imm }; }
/* lea.size d = base + disp */
struct ir_ins *tr_lea(struct trans *t, unsigned size, ir_val d, ir_val base, s32 disp);
/* A new temporary = a (memory or register), `size` bytes, zero-extended to 8. */
ir_val tr_load(struct trans *t, unsigned size, struct tr_operand a);

/* --- leaving for a place in guest code: translate_flow.c --- */
/* Ends the unit with a jump to an offset. */
void tr_goto(struct trans *t, s64 offset);

/* --- the whole pipeline for one unit: compile.c --- */
/* Makes u from the code at physical address pa (host: its bytes, readable to the end of the page) in the vCPU's present mode. False: its first
 * instruction is not for the translator (t->reason). Fills the ranges of memory that were looked at. */
struct translate_result { struct code_range range[CODE_RANGES]; unsigned ranges; const char *reason; bool crosses; };
bool translate_unit(struct jit *j, struct vcpu *c, struct ir_unit *u, gpa pa, const u8 *host, struct translate_result *r);

/* --- passes: pass.c has the list, each pass a file --- */
struct pass_env {
    struct jit *j;
    struct vcpu *c;
    gpa pa;
    const u8 *host;                 /* bytes of the unit's page, from pa on */
    struct translate_result *ranges;    /* a pass that looks at more guest code adds it here */
    const struct jit_options *opt;
    bool keep_flags;                /* as with liveness=off */
    unsigned group_pointers, kept_pointers;     /* of the backend; both 0: no groups */
    u64 no_group;                   /* guest instructions whose ptr may not be a group's first: jit_group_bit */
};
struct pass { const char *name; void (*run)(struct ir_unit *u, struct pass_env *env); };
extern const struct pass passes[];
extern const unsigned pass_count;
void passes_run(struct ir_unit *u, struct pass_env *env);

#endif
