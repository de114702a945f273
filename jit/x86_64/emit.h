/* emit.h - the x86-64 backend: where everything is kept, and how instructions are written. Private to jit/x86_64/.
 *
 * Registers. RBP points into the vCPU (VCPU_BIAS bytes behind its start, so that short displacements reach all of its
 * hot part). RSP is the return-address stack of translated code. RCX, R10, R11 are scratch: they hold temporaries of the IR, and R11
 * the popped address at a return. The other eleven hold guest registers (host_of_gpr); the guest's R10, R11, R13,
 * R14, R15 live in the vCPU. Guest RAX RDX RBX RSI RDI R8 R9 R12 are in themselves, so that implicit operands and AH, DH, BH need
 * no moves. RCX is not: it is the one register that a branch can test without flags (JRCXZ), and shift counts are moved
 * into it.
 *
 * XMM0..15 / YMM0..15 are the guest's, once a `need` has loaded them; so is the x87.
 */
#ifndef SHADOW86_JIT_X86_64_EMIT_H
#define SHADOW86_JIT_X86_64_EMIT_H

#include "jit/backend.h"
#include "jit/emit_common.h"

enum host { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG = 0xff };
enum { VCPU_BIAS = 128 };
#define VCPU_DISP(member) ((s32)offsetof(struct vcpu, member) - VCPU_BIAS)

/* A ModRM operand: a register, or [base + index << scale + disp]. base NO_REG: [rip + disp], disp a cache offset. */
struct rm { bool mem; u8 reg; u8 base, index, scale; s32 disp; };
static inline struct rm rm_reg(unsigned r) { return (struct rm){ .reg = (u8)r }; }
static inline struct rm rm_mem(unsigned base, s32 disp)
{
    return (struct rm){ .mem = true, .base = (u8)base, .index = NO_REG, .disp = disp };
}
static inline struct rm rm_index(unsigned base, unsigned index, unsigned scale, s32 disp)
{
    return (struct rm){ .mem = true, .base = (u8)base, .index = (u8)index, .scale = (u8)scale, .disp = disp };
}
static inline struct rm rm_vcpu(s32 disp) { return rm_mem(RBP, disp); }     /* disp: VCPU_DISP(...) */
static inline struct rm rm_code(u32 at)     /* cache offset */
{
    return (struct rm){ .mem = true, .base = NO_REG, .index = NO_REG, .disp = (s32)at };
}

/* Where the guest's status flags are, at the place that is being emitted. */
/* How they are saved: emit_flags.c. */
enum flag_kind { FLAG_ADD, FLAG_SUB, FLAG_CMP, FLAG_LOGIC };
enum { FLAG_FIRST = 2, FLAG_KIND_SHIFT = 3, FLAG_B = 4, FLAG_IMM_SHIFT = 8, FLAG_ZERO = 0x4600 };
enum flags_at { FLAGS_DEAD, FLAGS_HOST /* EFLAGS */, FLAGS_SAVED /* vcpu.jit.flags */, FLAGS_BOTH };

/* Code that stands behind the unit: what is rarely executed. */
enum tail_kind { TAIL_MISS, TAIL_NEED, TAIL_STEP, TAIL_LINK, TAIL_LANDING, TAIL_GO, TAIL_AGAIN, TAIL_LOOKUP, TAIL_CALL, TAIL_FLAGS };
enum miss_form { MISS_SITE, MISS_PAGE, MISS_TLB, MISS_LARGE, MISS_FORMS };    /* what the access looked at: emit_mem.c */
/* Of the sites for reads and of those for writes, the first PAGE_SITES are found by the page's address, by accesses in the page form. */
enum { PAGE_SITES = 256, PAGE_SITES_MASK = (PAGE_SITES - 1) * 16, PAGE_SITES_SHIFT = PAGE_SHIFT - 4 };
static inline s32 site_disp(unsigned view, bool write, u32 n)
{
    return VCPU_DISP(mmu.site[0][0]) + (s32)((view * MMU_SITES + (write ? MMU_WRITE_SITES : 0) + n) * sizeof(struct mmu_site));
}
/* Its fields, with reg added to its displacement. */
static inline struct rm site_page(unsigned reg, s32 disp) { return rm_index(RBP, reg, 0, disp + (s32)offsetof(struct mmu_site, page)); }
static inline struct rm site_delta(unsigned reg, s32 disp) { return rm_index(RBP, reg, 0, disp + (s32)offsetof(struct mmu_site, delta)); }
struct tail {
    u8 kind, flags;         /* enum flags_at there */
    u8 reg, form, index;    /* MISS: the pointer's register, enum miss_form; MISS_PAGE: the register that says which site */
    u32 from[2];            /* rel32 fields that lead here; 0: none */
    u32 back;               /* where it goes on */
    s32 offset;             /* guest offset of the instruction: MISS, NEED, STEP */
    struct code_access access;
    struct code_link *link; /* MISS: for what straddles two pages, or NULL */
    u8 need;
};
enum { MAX_TAILS = IR_MAX_INS };

struct emit {
    struct jit *j;
    const struct ir_unit *u;
    struct code_unit *out;
    const struct ir_ins *ins;       /* being emitted */
    u8 *rw;                         /* the cache, writable, from offset 0 */
    u32 at, end;                    /* cache offset of the next byte; of the first that is not ours */
    u32 insns, insns_counted;      /* instructions emitted; and of those, emit_count has accounted for */
    u32 checks;                     /* instructions of checks since then */
    bool full;                      /* looked at once, when the unit is done */
    /* emit.c */
    u8 flags;                       /* enum flags_at */
    bool exact_form;                /* if they are in memory: they are written out there */
    u16 flag_def;                   /* 1 + index of the operation that made those in EFLAGS; 0: not known */
    u8 taken;                       /* scratch registers in use: bit per register of scratch_regs */
    /* Mirrors: guest registers (bit per enum gpr) that live in the vCPU, and whose whole value is in that scratch register too. */
    u16 mirrors[3];
    u16 used_at[3];                 /* index of the operation that used them last */
    u16 fresh;                      /* those that came up in this operation */
    u8 pinned;                      /* scratch registers that this operation's code reads as mirrors, or needs: not to be taken */
    u8 whole;                       /* scratch registers that hold all of what a part is changed of: emit_copy */
    u16 pointers;                   /* operations of that name: as many accesses are counted */
    u16 temps_in[3];                /* temporaries that each of them holds (two: a move takes over its source's) */
    struct rm operand[IR_MAX_TEMPS];    /* of temporaries that ptr defines: the memory they stand for */
    u8 temp_reg[IR_MAX_TEMPS];      /* host register of a temporary, NO_REG: not yet, no more */
    u16 last_use[IR_MAX_TEMPS];     /* index of the last operation that names it */
    struct kept kept;
    ir_val again_of[IR_MAX_TEMPS];  /* of pointers that `again` makes, the first one's temporary; IR_NONE: it is no other one's */
    u16 reach[IR_MAX_TEMPS];        /* last_use of the last of them all */
    u16 index;                      /* of ins */
    u16 tails, differs;
    u32 differ[SELF_BYTES];         /* rel32 fields of `same`: to the tail of them all */
    struct tail tail[MAX_TAILS];
    struct links links;
};
/* Flags live in front of e->ins, which has none of its own. (What an exit before it needs for its target is that exit's.) */
static inline u16 emit_live_before(const struct emit *e) { return e->ins->flive; }
/* Fixed code at the start of the cache: cache offsets, the same for every cache. entry.c */
struct fixed_code {
    u32 leave_link, leave_link_host, leave_landing, leave_lookup, leave_step, leave_step_host, lookup;
    u32 miss[MISS_FORMS][2][3][3];  /* by enum miss_form, is it a write?, enum view, scratch register */
    u32 need[4];                    /* by enum ir_unit_kind */
    u32 interp, interp_x87, step, flags;
};
extern const struct fixed_code *fixed;
u32 entry_init(struct jit *j, u8 *rw, u8 *rx, u32 room);
enum leave_reason entry_enter(struct vcpu *c, const void *code);
void entry_set_returns(void *context, u64 sp);
extern const void *underflow_code;
enum { SCRATCH_COUNT = 3 };
extern const u8 scratch_regs[SCRATCH_COUNT];

/* --- emit_flags.c --- */
void flags_save(struct emit *e);        /* host -> memory */
void flags_keep(struct emit *e);        /* the same, perhaps only what they can be computed from */
void flags_write_out(struct emit *e);   /* those in memory */
void flags_clobber(struct emit *e, u16 keep);   /* host flags are going to be lost; keep: those that are needed later */
void flags_to_host(struct emit *e);     /* before something reads them or keeps some of them */
void flags_emit_leave(struct emit *e, bool live);   /* they have to be in memory here if live */

struct tlb_fields { s32 table, mask; };     /* displacements from RBP */
struct tlb_fields tlb_fields(bool write, bool large);       /* emit_mem.c */
/* reg = where the address's page stands among the sites that are found by it: what site_page adds. emit_mem.c */
void emit_page_place(struct emit *e, unsigned reg, unsigned address);

/* --- emit_mem.c, emit_exit.c, emit_alu.c: one function per operation --- */
typedef void emit_fn(struct emit *e, const struct ir_ins *ins);
extern emit_fn *const emit_ops[IR_OP_COUNT];
emit_fn emit_ptr, emit_again, emit_code, emit_same, emit_get, emit_put, emit_need, emit_interp, emit_guard, emit_jcc, emit_jz, emit_jnz, emit_jmp, emit_call, emit_ijmp,
    emit_icall, emit_ret, emit_step, emit_count;
struct tail *emit_tail(struct emit *e, enum tail_kind kind, u32 from);
struct code_link *emit_plain_link(struct emit *e);      /* to a plain unit, at e->ins */
void emit_tails(struct emit *e, u32 end);       /* end: of the room, where cold ones go */
void emit_lookup(struct emit *e);       /* to the code of RIP R11, by the table */
void emit_crosses(struct emit *e);      /* at the start of a unit with code_unit.crosses */
void emit_executed(struct emit *e);     /* counts the entry, for code_unit.executed */
void emit_jump_to(struct emit *e, u32 to);              /* jmp to a cache offset */
u32 emit_jump(struct emit *e);                          /* jmp rel32 to be filled; returns where the rel32 is */
u32 emit_jump_if(struct emit *e, unsigned cc);
void emit_fill(struct emit *e, u32 field, u32 to);      /* rel32 field leads to `to` */

/* --- encode.c: bytes. All take care of REX and of displacement sizes. --- */
static inline void put_bytes(struct emit *e, const void *v, u32 bytes)
{
    if (unlikely(e->end - e->at < bytes)) {
        e->full = true;
        return;
    }
    __builtin_memcpy(e->rw + e->at, v, bytes);
    e->at += bytes;
}
static inline void put8(struct emit *e, u8 v) { put_bytes(e, &v, 1); }
static inline void put32(struct emit *e, u32 v) { put_bytes(e, &v, 4); }
static inline void put64(struct emit *e, u64 v) { put_bytes(e, &v, 8); }
static inline void put_opcode(struct emit *e, u8 v)     /* the same, and counts an instruction, as enc and enc_vex do */
{
    e->insns++;
    put8(e, v);
}
/* opcode: 0xOO, 0x0fOO, 0x0f38OO, 0x0f3aOO. prefix: 0, 0x66, 0xf3, 0xf2 (mandatory, or operand size). w: REX.W. reg8, rm8: the operand is
 * a byte register (SPL.. need REX). imm_bytes: how many bytes of immediate follow (for [rip + disp]). */
struct enc { u8 prefix; bool w, reg8, rm8, lock; u8 imm_bytes; };
void enc(struct emit *e, struct enc how, u32 opcode, unsigned reg, struct rm rm);
/* VEX: pp 0..3 (none, 66, F3, F2), map 1..3 (0F, 0F38, 0F3A), l: 256 bits. vvvv: 0 where there is none. */
void enc_vex(struct emit *e, unsigned pp, unsigned map, bool w, bool l, u8 opcode, unsigned reg, unsigned vvvv, struct rm rm,
             unsigned imm_bytes);

/* --- emit.c: operands --- */
extern const u8 host_of_gpr[16];    /* enum host, NO_REG: in the vCPU */
/* Host register that holds a guest register or temporary right now, NO_REG if it is in the vCPU. */
unsigned emit_home(struct emit *e, ir_val v);
/* The same to be read only: a mirror will do. */
unsigned emit_at(struct emit *e, ir_val v);
/* ModRM operand for a register, temporary, high byte (of guest RAX, RDX, RBX) or IR_MEM of e->ins: where it lives; to be read only. */
struct rm emit_rm(struct emit *e, ir_val v);
struct rm emit_from(struct emit *e, ir_val v);
/* A host register that holds v's value, not to be changed (loaded into a free scratch register if it is not in one); release it
 * with emit_release. */
unsigned emit_use(struct emit *e, ir_val v, unsigned size);
/* A register to put v's new value into; emit_defined stores it where v lives. */
unsigned emit_def(struct emit *e, ir_val v);
void emit_defined(struct emit *e, ir_val v, unsigned reg, unsigned size);
unsigned emit_scratch(struct emit *e);              /* a free scratch register; never fails: the unit becomes `full` */
void emit_mov_imm(struct emit *e, unsigned reg, u64 v);
unsigned emit_copy(struct emit *e, ir_val v, unsigned size);    /* its value in a scratch register that may be changed */
bool emit_by_register(struct emit *e, ir_val v);    /* v is changed: by emit_copy and emit_defined, not where it lives? */
void emit_stored(struct emit *e, ir_val v, unsigned reg);       /* reg is v's whole value, and is where v lives, too */
void emit_mirrors(struct emit *e, ir_val v, unsigned reg);      /* reg is v's whole value */
bool emit_wanted(const struct emit *e, ir_val v);   /* v is looked at soon, so that it pays to have it in a register */
bool emit_take(struct emit *e, unsigned reg);       /* emit_use's register becomes that of a result */
void emit_forget(struct emit *e, unsigned reg);     /* it mirrors nothing any more; NO_REG: none does */
void emit_load(struct emit *e, unsigned reg, ir_val v, unsigned size);  /* into a given register */
bool emit_unit(struct jit *j, u8 *rw, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room);
extern bool host_has_bmi2, host_has_avx;        /* entry.c */
void emit_release(struct emit *e, unsigned reg);    /* gives back what emit_use or emit_scratch took; others are ignored */

/* --- insn.c: IR_OP_insn, by the row's own encoding --- */
bool insn_can(const struct insn *in);
void insn_emit(struct emit *e, const struct ir_ins *ins);
bool insn_host_has(unsigned feature);       /* enum cpuid_feature: this very CPU, and its kernel */

/* --- emit_string.c, emit_gather.c: what stands in front of IR_OP_interp's call and usually does all of the instruction. They
 * return the jump that is taken then, to be filled; 0: nothing stands there. Flags are in memory, before and behind. --- */
u32 string_usual(struct emit *e, const struct insn *in);
u32 gather_usual(struct emit *e, const struct insn *in);

#endif
