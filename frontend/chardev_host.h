/* chardev_host.h - what the front end itself needs of character devices beyond devices/chardev.h. */
#ifndef SHADOW86_CHARDEV_HOST_H
#define SHADOW86_CHARDEV_HOST_H

#include "devices/chardev.h"

/* chardev_open in two steps, so that nothing is created before the whole command line has been found good: chardev_new
 * checks the specification (is the directory there? may the file be written?), chardev_connect opens it. Until then
 * output is dropped. label: "serial0", for messages; spec: as for chardev_open. */
struct chardev *chardev_new(const char *label, const char *spec, char *err, size_t errlen);
bool chardev_connect(struct chardev *c, char *err, size_t errlen);
/* Connecting leaves something behind in a file system that only unlinking takes away again. */
bool chardev_creates_file(const struct chardev *c);

/* A peer has come or gone (sockets), on the main loop under the machine lock. */
void chardev_on_connection(struct chardev *c, void (*changed)(void *ctx, bool connected), void *ctx);
void chardev_hang_up(struct chardev *c);            /* ends the present connection */

void chardev_set_quit_hook(void (*hook)(void));     /* Ctrl-A X on a shared terminal */
bool chardev_is_shared(const struct chardev *c);    /* opened with mon: : the monitor attaches to it as well */
bool chardev_is_stdio(const struct chardev *c);

/* May a file of this name be written or made? One line in err if not; nothing is touched. */
bool chardev_check_writable(const char *path, char *err, size_t errlen);

#endif
