/* monitor.h - the human monitor: a prompt with commands for the running machine, QEMU's names. */
#ifndef SHADOW86_MONITOR_H
#define SHADOW86_MONITOR_H

#include "devices/pc.h"

/* Before the first monitor: what 'info name' says (NULL: nothing), and whether media are changed as -snapshot says. */
void monitor_configure(const char *name, bool snapshot);
/* Attaches a prompt to the stream; several may exist. The stream and pc are kept by reference. */
void monitor_new(struct pc *pc, struct chardev *stream);
/* A prompt for a person at a terminal. */
void monitor_greet(struct chardev *stream);
/* Runs one command; its output goes to the stream. On the main loop, under the machine lock. */
void monitor_execute(struct pc *pc, const char *line, struct chardev *stream);

/* keys.c: "ctrl-alt-delete", "a", "f1", "0x1e" -> set-1 scan codes (0xe0xx for extended keys), at most max; returns
 * their number, 0 if a name is unknown (put into *bad). */
unsigned keys_parse(const char *text, u16 *codes, unsigned max, const char **bad);

#endif
