/* insn.c - IR_OP_insn: guest instructions on vectors and the like. None yet: the interpreter executes them.
 */
#include "jit/aarch64/emit.h"

bool insn_can(const struct insn *in) { return false; }

void insn_emit(struct emit *e, const struct ir_ins *ins) { e->full = true; }
