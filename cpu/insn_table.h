/* insn_table.h - the encoding columns of insn.def, for decode.c, print.c and the tests. Everybody else needs insn.h
 * only. */
#ifndef SHADOW86_INSN_TABLE_H
#define SHADOW86_INSN_TABLE_H

#include "cpu/insn.h"

/* Operand letters: LETTERS_Ev and so on. */
enum insn_letters {
#define OPERAND(letters, where, size) LETTERS_##letters,
#include "cpu/insn.def"
    LETTERS_COUNT
};

/* Where an operand is encoded; legend in insn.def. */
enum operand_where {
    AT_NONE,
    AT_RM,
    AT_MEM,
    AT_RMREG,
    AT_RMANY,
    AT_REG,
    AT_OPC,
    AT_VVVV,
    AT_VSIB,
    AT_VSIBH,
    AT_MOFFS,
    AT_STRSI,
    AT_STRDI,
    AT_RAX,
    AT_RCX,
    AT_RDX,
    AT_IMM,
    AT_IMMS,
    AT_IMM16,
    AT_IMMZ,
    AT_IMMV,
    AT_ONE,
    AT_IMM2,
    AT_REL8,
    AT_RELZ,
    AT_FAR,
    AT_SEG0,
    AT_SEG1,
    AT_SEG2,
    AT_SEG3,
    AT_SEG4,
    AT_SEG5,
    AT_SREG,
    AT_CR,
    AT_DR,
    AT_ST0,
    AT_STI,
    AT_MREG,
    AT_MRM,
    AT_MRMREG,
    AT_MSRC,
    AT_XREG,
    AT_XRM,
    AT_XRMREG,
    AT_XSRC,
    AT_XDST,
    AT_IS4,
    AT_XMM0,
};

enum operand_size {
    SIZE_N, SIZE_B, SIZE_W, SIZE_D, SIZE_Q, SIZE_T, SIZE_O, SIZE_QQ, SIZE_V, SIZE_Z, SIZE_Y, SIZE_X, SIZE_XH, SIZE_XQ,
    SIZE_XE, SIZE_XD, SIZE_P, SIZE_A, SIZE_S, SIZE_M, SIZE_VW, SIZE_DB, SIZE_DW, SIZE_OD,
    SIZE_COUNT
};

struct insn_letters_row { u8 where, size; };
extern const struct insn_letters_row insn_letters[LETTERS_COUNT];

/* Column pfx: the prefix columns (bit n: VEX.pp = n, or none, 66, F3, F2) in which the row stands. */
enum row_prefix { PFX_NP = 1, PFX_P6 = 2, PFX_F3 = 4, PFX_F2 = 8, PFX_N6 = 3, PFX___ = 15 };
/* Column ext, beside 0..7 and 0xc0..0xff. */
enum row_ext { EXT___ = 8, EXT_R5 = 0x15, EXT_R6 = 0x16, EXT_R7 = 0x17 };
/* Column L: bits. */
enum row_vex { VEX_FORM = 1, VEX_ONLY = 2, VEX_128 = 4, VEX_256 = 8, VEX_IGNORE = 16 };
enum row_w { W_WI, W_W0, W_W1, W_O2, W_O4, W_O8 };

struct insn_encoding {
    u32 opcode;
    u8 pfx, ext, vex, w;
    u8 op[4];               /* enum insn_letters */
};
extern const struct insn_encoding insn_encodings[];

#endif
