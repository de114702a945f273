/* interp.h - the interpreter's functions, one per mnemonic of insn.def: in_<name>. Private to cpu/ (and to jit/, which
 * calls them for what it does not translate). What they may assume and must do stands at interp_fn in insn.h. */
#ifndef SHADOW86_INTERP_H
#define SHADOW86_INTERP_H

#include "cpu/insn.h"

/* Rows that share a mnemonic declare the same function again. */
#define INSN(opcode, pfx, ext, l, w, name, ...) bool in_##name(struct vcpu *c, const struct insn *in);
#include "cpu/insn.def"

/* Chooses in->chain for these operands, and in->run where the row needs checks at run time. interp.c */
void interp_prepare(struct insn *in);
/* Must be the last one of a block. */
bool interp_ends_block(const struct insn *in);
/* Runs a prepared instruction as a block of one, through in->chain; otherwise the same as in->run. For tests. */
bool interp_run_form(struct vcpu *c, const struct insn *in);

#endif
