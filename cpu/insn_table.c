/* insn_table.c - insn.def as constant tables: insn_rows for everybody, insn_encodings for the decoder and the printer.
 */
#include "cpu/insn_table.h"

#include "cpu/cpuid.h"
#include "cpu/vcpu.h"

#ifdef SHADOW86_DECODER_ALONE       /* the fuzzer: a decoder without an interpreter, all functions NULL */
#define ROW_FUNCTION __attribute__((weak))
#else
#define ROW_FUNCTION
#endif
#define INSN(opcode, pfx, ext, l, w, name, ...) \
    extern ROW_FUNCTION bool in_##name(struct vcpu *c, const struct insn *in);
#include "cpu/insn.def"

/* The columns of insn.def are C expressions over these names. */
enum {
    NONE = 0,
    C = EFL_CF,
    P = EFL_PF,
    A = EFL_AF,
    Z = EFL_ZF,
    O = EFL_OF,
    D = EFL_DF,
    IF = EFL_IF,
    ALL = 0xffff,
    AC = A | C,
    AP = A | P,
    OA = O | A,
    OAC = O | A | C,
    OC = O | C,
    ZC = Z | C,
    S = EFL_SF,
    SAP = S | A | P,
    OZC = O | Z | C,
    SZP = S | Z | P,
    SZAP = SZP | A,
    SZPC = SZP | C,
    SZAPC = SZAP | C,
    OSZP = O | SZP,
    OSZC = O | S | Z | C,
    OSAP = O | SAP,
    OSAPC = OSAP | C,
    OSZAP = O | SZAP,
    OSZPC = O | SZPC,
    OSZAPC = O | SZAPC,
};
/* EFLAGS.AC is beyond the 16 bits of a column: STAC and CLAC end a block anyway. */
enum { AC_ = 0 };

enum {
    LOCK = ATTR_LOCK, NO64 = ATTR_NO64, ONLY64 = ATTR_ONLY64, BRANCH = ATTR_BRANCH, SYS = ATTR_SYS, PRIV = ATTR_PRIV,
    PROT = ATTR_PROT, X87 = ATTR_X87, MMX = ATTR_MMX, SSE = ATTR_SSE, ALIGN = ATTR_ALIGN, STRING = ATTR_STRING,
    D64 = ATTR_D64, F64 = ATTR_F64, CC = ATTR_CC, NOWAIT = ATTR_NOWAIT, CONDFL = ATTR_CONDFL, VALIGN = ATTR_VALIGN,
    Y2 = ATTR_Y2, GATHER = ATTR_GATHER, NOREXB = ATTR_NOREXB,
};

enum {
    L___ = 0,
    L_L0 = VEX_FORM | VEX_128, L_L1 = VEX_FORM | VEX_256, L_LX = L_L0 | L_L1, L_LI = L_LX | VEX_IGNORE,
    L_V0 = L_L0 | VEX_ONLY, L_V1 = L_L1 | VEX_ONLY, L_VX = L_LX | VEX_ONLY, L_VI = L_LI | VEX_ONLY,
};
enum { __ = EXT___, R5 = EXT_R5, R6 = EXT_R6, R7 = EXT_R7 };

#define VEX_ATTR(l) (((l) & VEX_FORM ? ATTR_VEX : 0) | ((l) & VEX_ONLY ? ATTR_VEXONLY : 0))

const struct insn_row insn_rows[] = {
#define INSN(opcode, pfx, ext, l, w, name, a, b, c, d, reads, writes, undef, cpuid, attr) \
    { #name, in_##name, (attr) | VEX_ATTR(L_##l), CPUID_##cpuid, reads, writes, undef },
#include "cpu/insn.def"
};
const unsigned insn_row_count = ARRAY_LEN(insn_rows);

const struct insn_encoding insn_encodings[] = {
#define INSN(opcode, pfx, ext, l, w, name, a, b, c, d, ...) \
    { opcode, PFX_##pfx, ext, L_##l, W_##w, { LETTERS_##a, LETTERS_##b, LETTERS_##c, LETTERS_##d } },
#include "cpu/insn.def"
};

const struct insn_letters_row insn_letters[LETTERS_COUNT] = {
#define OPERAND(letters, where, size) [LETTERS_##letters] = { AT_##where, SIZE_##size },
#include "cpu/insn.def"
};
