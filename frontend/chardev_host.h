/* chardev_host.h - what the front end itself needs of chardev.c beyond devices/chardev.h. */
#ifndef SHADOW86_CHARDEV_HOST_H
#define SHADOW86_CHARDEV_HOST_H

#include "devices/chardev.h"

void chardev_set_quit_hook(void (*hook)(void));     /* Ctrl-A X on a shared terminal */
bool chardev_is_shared(const struct chardev *c);    /* opened with mon: : the monitor attaches to it as well */

#endif
