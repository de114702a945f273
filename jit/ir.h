/* ir.h - the intermediate representation: what stands between guest instructions and a host's code.
 *
 * A unit is straight-line code with one entrance and several exits, made of guest code that starts on one page. The
 * operations and their meaning are in ir.def.
 *
 * Offsets. Translated code belongs to physical memory and runs at whatever linear addresses map it, so no RIP is known
 * when it is made. At run time the vCPU keeps `pc`: the RIP of byte 0 of the page on which the unit starts, that is RIP
 * minus the low 12 bits of the linear address. Every place in guest code is an offset from there: 0..4095 on this
 * page, negative or larger elsewhere. The operand IR_PC is that base, for RIP-relative addresses and return addresses.
 *
 * Leaving for the interpreter. An operation with FAULT that cannot do its work leaves the unit with RIP at guest
 * instruction gi and the guest's state as it was before that instruction; the interpreter executes it. So all
 * operations with FAULT of a guest instruction come before its first one that changes anything the guest can see.
 *
 * Flags. They are the guest's status flags at that point. fdef: what the operation defines; flive: which of all flags
 * are read later on some path (pass_flags); an operation whose fdef does not cover flive must leave the rest alone.
 */
#ifndef SHADOW86_IR_H
#define SHADOW86_IR_H

#include "cpu/insn.h"
#include "cpu/types.h"

enum ir_op {
#define IR(name, ...) IR_OP_##name,
#include "jit/ir.def"
    IR_OP_COUNT
};

/* An operand: a guest register, a temporary, or what the operation's other fields say. */
typedef u16 ir_val;
enum ir_value {
    IR_NONE = 0,
    IR_G = 1,           /* +0..15: general registers, numbers of enum gpr */
    IR_H = 17,          /* +0..3: AH CH DH BH */
    IR_V = 21,          /* +0..15: YMM (low part: XMM) registers */
    IR_MMX = 37,        /* +0..7 */
    IR_ST = 45,         /* +0..7: ST(i) */
    IR_IMM = 53,        /* ins.imm */
    IR_MEM = 54,        /* memory at host address ins.p (a temporary defined by ptr) + ins.disp */
    IR_PC = 55,         /* base of lea and ptr only */
    IR_T = 64,          /* +n: temporary n */
};
static inline bool ir_is_gpr(ir_val v) { return v >= IR_G && v < IR_G + 16; }
static inline bool ir_is_high(ir_val v) { return v >= IR_H && v < IR_H + 4; }
static inline bool ir_is_vec(ir_val v) { return v >= IR_V && v < IR_V + 16; }
static inline bool ir_is_temp(ir_val v) { return v >= IR_T; }

/* Status flags in masks: EFLAGS bits, as in insn.def. */
enum { IR_C = 1, IR_P = 4, IR_A = 16, IR_Z = 64, IR_S = 128, IR_O = 2048, IR_FLAGS = IR_C | IR_P | IR_A | IR_Z | IR_S | IR_O };

/* Fields of the vCPU that get and put may name, with their sizes: IR_FIELD(name, expression in struct vcpu). */
#define IR_FIELDS(X) \
    X(eflags, eflags) X(es_base, seg[SEG_ES].base) X(cs_base, seg[SEG_CS].base) X(ss_base, seg[SEG_SS].base) \
    X(ds_base, seg[SEG_DS].base) X(fs_base, seg[SEG_FS].base) X(gs_base, seg[SEG_GS].base) \
    X(es_sel, seg[SEG_ES].sel) X(cs_sel, seg[SEG_CS].sel) X(ss_sel, seg[SEG_SS].sel) X(ds_sel, seg[SEG_DS].sel) \
    X(fs_sel, seg[SEG_FS].sel) X(gs_sel, seg[SEG_GS].sel) X(cr0, cr0) X(cr2, cr2) X(cr3, cr3) X(cr4, cr4) \
    X(x87_sw, x87.sw) X(x87_cw, x87.cw) X(mxcsr, mxcsr) X(cpl, cpl) X(kernel_gs_base, kernel_gs_base) \
    X(pending, pending) X(x87_pc, jit.x87_pc) X(x87_ea, jit.x87_ea) X(x87_note, jit.x87_note) X(x87_seg, jit.x87_seg)
enum ir_field {
#define X(name, where) IR_FIELD_##name,
    IR_FIELDS(X)
#undef X
    IR_FIELD_COUNT
};

enum ir_access { IR_READ, IR_WRITE, IR_RW /* probed for writing */ };
/* need: whose registers have to be in the host's. */
enum ir_unit_kind { IR_NEED_SSE, IR_NEED_AVX, IR_NEED_X87, IR_NEED_MMX };

enum ir_bits {
    IR_LOCK = 1,        /* atomic */
    IR_POLL = 2,        /* jumps: look for requests first (a way back, or an unknown one) */
    IR_ALIGN = 4,       /* ptr: the address must be a multiple of size, else the instruction is the interpreter's (#GP) */
    IR_TLB = 8,         /* ptr: addresses vary here, look up the TLB straight away */
    IR_LIKELY = 16,     /* jcc, jz, jnz: usually taken */
    IR_SPAN = 32,       /* ptr: for more than one access (pass_group), between which memory may change */
    IR_APART = 64,      /* ptr: leaves for the interpreter, too, if some of these bytes are the unit's own code */
};

struct ir_ins {
    u8 op;              /* enum ir_op */
    u8 size;            /* bytes; ptr: how many may be accessed from there on */
    u8 size2;           /* movzx, movsx: source size. ptr: enum sreg */
    u8 cc;              /* enum cc. ptr: enum ir_access */
    u8 gi;              /* which guest instruction of the unit it comes from */
    u8 scale;           /* lea, ptr: 0..3 */
    u8 bits;            /* enum ir_bits */
    u8 addrsize;        /* ptr: 2, 4, 8 */
    ir_val d, a, b, c;
    ir_val p;           /* IR_MEM: its host address */
    u16 row;            /* insn: index into insn_rows. get, put: enum ir_field */
    s32 disp;           /* IR_MEM, lea, ptr: displacement. call, icall: offset of the return address */
    u16 fdef, fuse, flive;      /* flags defined, read; live after it */
    union { u16 spare, fexit; };   /* jcc, jz, jnz, jmp, call: flags live at the target, a part of flive (pass_flags) */
    s64 imm;
};
static_assert(sizeof(struct ir_ins) == 40, "kept small: translation is on the guest's time");

enum { IR_MAX_GUEST = 64, IR_MAX_INS = 640, IR_MAX_TEMPS = 512 };

/* How code was decoded: what a unit's meaning depends on beside its bytes. One word; equal words, equal meaning. */
enum ir_mode {
    MODE_CODE = 3,              /* code size: 0, 1, 2 for 2, 4, 8 bytes */
    MODE_STACK_SHIFT = 2,       /* 2 bits: stack address size, the same way */
    MODE_VIEW_SHIFT = 4,        /* 2 bits: enum view */
    MODE_FLAT_SHIFT = 6,        /* 6 bits, enum sreg: base 0, no limit, readable and writable (CS: readable) */
    MODE_USER = 1 << 12,        /* CPL 3 */
    MODE_PROTECTED = 1 << 13,   /* not real or virtual-8086 mode */
    MODE_COUNT_INSNS = 1 << 14, /* the unit counts what it executes */
    MODE_PLAIN = 1 << 15,       /* not a state of the guest: every access has a check of its own. code_link.plain leads there */
    MODE_BITS = 16,
};
static inline unsigned mode_code_size(u32 mode) { return 2u << (mode & MODE_CODE); }
static inline unsigned mode_stack_size(u32 mode) { return 2u << (mode >> MODE_STACK_SHIFT & 3); }
static inline unsigned mode_view(u32 mode) { return mode >> MODE_VIEW_SHIFT & 3; }
static inline bool mode_flat(u32 mode, unsigned seg) { return mode >> (MODE_FLAT_SHIFT + seg) & 1; }
/* For this access (enum ir_access): outside 64-bit mode CS is never flat for writes, which protected mode denies. */
static inline bool mode_flat_for(u32 mode, unsigned seg, unsigned access)
{
    return mode_flat(mode, seg) && (seg != SEG_CS || access == IR_READ);
}

/* A unit while it is being made. */
struct ir_unit {
    u32 mode;                   /* enum ir_mode */
    u16 guests;                 /* guest instructions */
    u16 count;                  /* operations */
    u16 temps;                  /* temporaries used */
    u16 flags_in;               /* flags that it reads before it writes them (pass_flags) */
    bool full;                  /* something did not fit: throw it away, make a smaller one */
    const struct insn *guest[IR_MAX_GUEST];
    s32 offset[IR_MAX_GUEST + 1];   /* of each guest instruction, and of the end of the last one */
    struct ir_ins ins[IR_MAX_INS];
};

/* --- ir.c: building. Every function appends one operation and returns it (a scratch one if the unit is full), so that the
 * caller can set what is unusual: ir_add(u, IR_OP_add, 4, d, a)->fdef = ... ; default fdef and fuse are the row's. Where the row
 * says CC, FW or FR they are the safe ones: fdef none, fuse all (a shift by an immediate in `a`: none). flive, fexit
 * and ir_begin's flags_in: all; pass_flags narrows them. gi: the guest instruction added last. --- */
void ir_begin(struct ir_unit *u, u32 mode);
void ir_guest(struct ir_unit *u, const struct insn *in, s32 start, s32 end);    /* the next guest instruction, and its offsets */
ir_val ir_temp(struct ir_unit *u);
struct ir_ins *ir_add(struct ir_unit *u, enum ir_op op, unsigned size, ir_val d, ir_val a);
const char *ir_op_name(enum ir_op op);
enum ir_role { IR_ROLE_NONE, IR_ROLE_W, IR_ROLE_R, IR_ROLE_X, IR_ROLE_O };
/* written, read: bit per operand (d 1, a 2, b 4, c 8). */
struct ir_row { const char *name; u8 role[4]; u16 fw, fr; u8 attr, written, read; };
enum ir_attr { IR_SIDE = 1, IR_END = 2, IR_FAULT = 4, IR_IMPLICIT = 8 };
extern const struct ir_row ir_rows[IR_OP_COUNT];
/* In fw and fr, beside sets of flags. */
enum ir_mask { IR_MASK_CC = 0x4000 /* those of the condition */, IR_MASK_OWN = 0x8000 /* the instance's own masks say */ };
u16 ir_cc_flags(unsigned cc);       /* what condition cc reads */
static inline struct ir_ins *ir_set_cc(struct ir_ins *ins, unsigned cc)     /* the condition, and fuse */
{
    ins->cc = (u8)cc;
    ins->fuse = ir_cc_flags(cc);
    return ins;
}

/* --- ir_text.c: text. One operation a line, `name.size operands {flags}`; ir_parse reads what ir_print writes. --- */
/* At most `size` bytes with the NUL; returns buf. with_flags: fdef, fuse and flive too. */
char *ir_print_ins(char *buf, size_t size, const struct ir_ins *ins, bool with_flags);
void ir_print(const struct ir_unit *u, void (*line)(void *ctx, const char *text), void *ctx);
/* false: one line in err names the line and what is wrong. */
bool ir_parse(struct ir_unit *u, const char *text, char *err, size_t errlen);

/* --- ir_check.c: types and sizes, definitions before uses, flags, order of FAULT operations, one END at the end. --- */
bool ir_check(const struct ir_unit *u, char *err, size_t errlen);

/* --- ir_eval.c: executes a unit on the vCPU's state, slowly: the meaning of the IR, for tests of passes and backends. --- */
struct vcpu;
struct ir_left {
    u8 how;             /* enum ir_op of the exit that was taken, IR_OP_step for FAULT; interp: something is to be looked at */
    u8 gi;
    u16 flags;          /* status flags that are the guest's; the others were not live and have been made wrong on purpose */
    u64 rip;            /* also in the vCPU */
};
struct ir_left ir_eval(const struct ir_unit *u, struct vcpu *c);

#endif
