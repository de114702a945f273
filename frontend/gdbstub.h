/* gdbstub.h - gdb's remote protocol: -gdb, -s, the monitor's gdbserver. */
#ifndef SHADOW86_GDBSTUB_H
#define SHADOW86_GDBSTUB_H

#include "devices/pc.h"

/* Serves one gdb at a time on the stream, which it owns from now on (chardev_connect is the caller's business). arch:
 * "x86-64", "i386", or NULL to choose by the guest's mode whenever gdb connects. There is one stub in a process. */
void gdbstub_new(struct pc *pc, struct chardev *stream, const char *arch);
/* "tcp::1234" -> what chardev_new takes: a server that does not wait. The result is malloc'ed. */
char *gdbstub_spec(const char *where);
/* The run is over: tells gdb the exit status, closes the stream. Before pc_free. */
void gdbstub_end(int status);

#endif
