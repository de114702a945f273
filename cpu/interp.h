/* interp.h - the interpreter's functions, one per mnemonic of insn.def: in_<name>. Private to cpu/ (and to jit/, which
 * calls them for what it does not translate). What they may assume and must do stands at interp_fn in insn.h. */
#ifndef SHADOW86_INTERP_H
#define SHADOW86_INTERP_H

#include "cpu/insn.h"

/* Rows that share a mnemonic declare the same function again. */
#define INSN(opcode, pfx, ext, l, w, name, ...) bool in_##name(struct vcpu *c, const struct insn *in);
#include "cpu/insn.def"

/* Chooses the form of in->run for these operands, and a checking one where the row needs checks at run time. interp.c */
void interp_prepare(struct insn *in);

#endif
