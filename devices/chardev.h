/* chardev.h - the host side of serial lines, the monitor and debug consoles: a two-way byte stream.
 *
 * Host ends (stdio, file:, pty, tcp:, null, pipe:, unix:) are implemented in frontend/chardev*.c. A device writes when it has a byte and is
 * told when bytes came in. Output never blocks the guest for long: what a slow reader does not take is dropped only for
 * ends that cannot be waited for (pty, tcp without a peer). All under the machine lock.
 */
#ifndef SHADOW86_CHARDEV_H
#define SHADOW86_CHARDEV_H

#include "cpu/types.h"

struct chardev;
struct chardev_user {
    unsigned (*can_receive)(void *ctx);                     /* bytes that receive() would take now */
    void (*receive)(void *ctx, const u8 *buf, unsigned n);
    void (*event_break)(void *ctx);                         /* may be NULL */
    void *ctx;
};
/* One line in err and NULL on a bad specification. spec as QEMU's -serial takes it: stdio, mon:stdio, null, none, pty,
 * file:PATH, pipe:PATH, tcp:HOST:PORT[,server=on][,wait=off], unix:PATH[,server=on][,wait=off], vc (as null). */
struct chardev *chardev_open(const char *spec, char *err, size_t errlen);
void chardev_close(struct chardev *c);      /* flushes */
void chardev_attach(struct chardev *c, const struct chardev_user *u);
void chardev_write(struct chardev *c, const u8 *buf, size_t n);
void chardev_accept_input(struct chardev *c);   /* the device can take bytes again */
/* For tests: an end in memory. Output is appended to a buffer; chardev_inject feeds input. */
struct chardev *chardev_memory(void);
const u8 *chardev_memory_output(struct chardev *c, size_t *n);
void chardev_inject(struct chardev *c, const u8 *buf, size_t n);

#endif
