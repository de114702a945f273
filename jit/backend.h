/* backend.h - what a host has to supply, and what it may rely on: the only door between the host-independent part of the
 * translator and x86_64/, aarch64/.
 *
 * A backend turns a verified ir_unit into code, and supplies the code that is entered from and leaves to C. CMake builds
 * the folder of the host; it defines `host_backend`.
 *
 * Running. enter() loads the guest's state from the vCPU into the host's registers and jumps to code; when code leaves,
 * all of it is back in struct vcpu (general registers, flags in vcpu.jit.flags, vectors and x87 if they were loaded), and
 * enter() returns why (enum leave_reason), with what belongs to it in vcpu.jit.left and vcpu.rip. The return-address
 * stack of translated code survives leaving; jit_reset_returns() empties it, which must be done whenever code goes.
 *
 * Flags between units. A unit has two entrances: `entry` expects the status flags in vcpu.jit.flags (or dead: nobody
 * reads them), `entry_host` expects them in the host's flags. A link says which it needs. `entry_jump` is for
 * indirect jumps: it sets vcpu.jit.pc from the RIP that they have (in a register of the backend's choice, flags likewise).
 */
#ifndef SHADOW86_BACKEND_H
#define SHADOW86_BACKEND_H

#include "jit/code.h"
#include "jit/ir.h"

enum leave_reason {
    LEAVE_LINK,     /* jit.left = struct code_link: RIP is vcpu.jit.pc + link->target; make the link if nothing is pending */
    LEAVE_LANDING,  /* jit.left = struct code_link of a return: RIP (set) is not what its key says */
    LEAVE_LOOKUP,   /* RIP (set): no idea where its code is */
    LEAVE_STEP,     /* RIP (set): this instruction is for the interpreter */
    LEAVE_RETURN,   /* a C function that code called wants the dispatcher to look around; RIP (set) */
};

struct backend {
    const char *name;
    /* Temporaries that pass_group may keep alive from one guest instruction to another; 0: none, no grouping. As many host
     * registers fewer are left for what single guest instructions need. */
    u8 group_pointers;
    u8 kept_pointers;       /* others that it can keep in memory at a time, for IR_OP_again; 0: it does not emit that */
    bool aligned_locks;     /* its atomic instructions want operands that are aligned to their size */
    bool self_checks;       /* it emits code, same, and IR_APART */
    bool plain_links;       /* of units with falls_back: an access with IR_SPAN that straddles two pages goes to code_link.plain */
    /* Writes the host's fixed code (entry, leaving, miss paths) at the start of the cache; returns its size in bytes, 0 if it
     * does not fit. Called once per cache. */
    u32 (*init)(struct jit *j, u8 *rw, u8 *rx, u32 room);
    /* Emits u into `room` bytes at cache offset `at`: from their start on, and what is rarely executed at their end, where the
     * backend makes that difference: so hot code of all units lies together. Fills out->entry, entry_host, entry_jump, size,
     * cold_size, links (allocated with code_alloc). False: does not fit, nothing is lost but the memory. Called with u->ins passing ir_check. */
    bool (*emit)(struct jit *j, const struct ir_unit *u, struct code_unit *out, u32 at, u32 room);
    /* Can the host execute this guest instruction as an IR_OP_insn? (All its operands, on this very CPU, bit for bit as the interpreter
     * does.) */
    bool (*can_insn)(const struct insn *in);
    enum leave_reason (*enter)(struct vcpu *c, const void *code);   /* begins with jit_code_ready */
    const void **underflow;     /* the code that an empty return-address stack returns to; known after init */
    void (*set_returns)(void *context, u64 sp);     /* the pointer into that stack in a signal's ucontext_t */
    /* Makes the jump or call at link->at lead to `to` (cache offset). */
    void (*patch)(struct jit *j, const struct code_link *link, u32 to);
    /* vcpu.jit.flags <-> EFLAGS bits */
    u32 (*flags_get)(const struct vcpu *c);
    void (*flags_put)(struct vcpu *c, u32 eflags);
};
extern const struct backend host_backend;
/* For golden code tests, set before init: code is emitted as if the host had every feature that the backend knows (it is not to be run),
 * or none. */
extern bool host_has_all, host_has_none;

/* --- before code runs: enter.c --- */
/* Makes the return-address stack if there is none. */
void jit_code_ready(struct vcpu *c);
/* Empties the stack of return addresses. */
void jit_reset_returns(struct vcpu *c);
/* The interpreter has executed a CALL or a RET: keeps the stack in step. */
void jit_returns_push(struct vcpu *c);
void jit_returns_pop(struct vcpu *c);

/* Indirect jumps: code may look into vcpu.jit_jump (cpu/vcpu.h) before it leaves with LEAVE_LOOKUP; the dispatcher fills it, where CS's base
 * is a multiple of the page size, and empties it whenever a unit dies.
 *
 * Keys of links: LINK_RETURN: RIP + genkey. Others: pc of the target's page + genkey. 0 matches nothing. */

/* --- what code calls back: dispatch.c --- */
/* A load or store that missed its site and the TLB's fast entries. Returns the host address of [a, a + bytes), good for this
 * one access, or NULL: the interpreter has to do it (fault, MMIO, two pages, code is there, mapping changed). */
u8 *jit_miss(struct vcpu *c, gla a, const struct code_access *access);
/* IR_OP_interp. True: go on with the next operation. False: leave with LEAVE_RETURN (a fault has been delivered, or something has
 * changed that translated code depends on). */
bool jit_interp(struct vcpu *c, const struct code_call *call);
/* The same for an x87 instruction. If vcpu.jit.x87_state tells that the registers were loaded, they are in vcpu.jit.x87_image, where
 * the instruction's results are afterwards if it is still set. */
bool jit_interp_x87(struct vcpu *c, const struct code_call *call);
/* Has it to do with status flags? If not and true is returned, jit_interp has left vcpu.jit.flags in whatever form it was. */
static inline bool interp_wants_flags(const struct insn *in)
{
    const struct insn_row *row = &insn_rows[in->row];
    return row->reads | row->writes | row->undef || row->attr & ATTR_CONDFL;
}
/* IR_OP_step: executes the instruction, which may change anything. Returns the host address of the code to go on with, guest
 * state in the vCPU, or NULL: leave for the reason in vcpu.jit.temp[3]. */
const void *jit_step_call(struct vcpu *c, const struct code_call *call);
/* IR_OP_need: is the unit usable, so that its registers may be loaded? x87: the image for frstor is in vcpu.jit.x87_image.
 * False: leave with LEAVE_STEP. */
bool jit_need(struct vcpu *c, unsigned kind);
/* After the registers have been stored: vcpu.jit.x87_image (fnsave) -> vcpu.x87. */
void jit_x87_saved(struct vcpu *c);
/* x87_note: the offset of an x87 instruction (21 bits, signed), then its FOP. x87_seg: X87_SEG, segment, address size. */
enum x87_note { X87_NOTE_FOP = 11, X87_NOTE_OFFSET_MAX = (1 << 20) - 1 };
#define X87_NOTE_NONE 0x80000000u
enum x87_seg { X87_SEG = 1 << 8, X87_SEG_SIZE = 4 };

#endif
