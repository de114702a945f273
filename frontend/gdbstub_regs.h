/* gdbstub_regs.h - which registers gdb sees, in which order, and the XML that tells it so. */
#ifndef SHADOW86_GDBSTUB_REGS_H
#define SHADOW86_GDBSTUB_REGS_H

#include "cpu/cpu.h"

enum gdb_arch { GDB_X86_64, GDB_I386 };

/* target.xml of the architecture, to be freed by the caller. */
char *gdbstub_target_xml(enum gdb_arch arch);
unsigned gdbstub_reg_count(enum gdb_arch arch);
/* Bytes of register n as gdb has it, 0: there is none. */
unsigned gdbstub_reg_get(struct vcpu *c, enum gdb_arch arch, unsigned n, u8 buf[CPU_REGISTER_MAX]);
unsigned gdbstub_reg_size(enum gdb_arch arch, unsigned n);
bool gdbstub_reg_set(struct vcpu *c, enum gdb_arch arch, unsigned n, const u8 buf[CPU_REGISTER_MAX]);

#endif
