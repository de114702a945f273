/* chardev_private.h - struct chardev, shared by chardev.c (the stream) and chardev_open.c (the places it leads to). */
#ifndef SHADOW86_CHARDEV_PRIVATE_H
#define SHADOW86_CHARDEV_PRIVATE_H

#include "frontend/chardev_host.h"
#include "frontend/mainloop.h"

enum chardev_kind { CHARDEV_NULL, CHARDEV_MEMORY, CHARDEV_STDIO, CHARDEV_FILE, CHARDEV_PIPE, CHARDEV_PTY, CHARDEV_TCP,
                    CHARDEV_UNIX };

#define CHARDEV_TYPED 4096      /* bytes typed ahead on a shared end */

struct chardev {
    enum chardev_kind kind;
    char *label, *spec;
    char *path;                     /* file:, pipe:, unix: */
    char *host, *port;              /* tcp: */
    bool server, wait, no_delay;
    bool shared;                    /* mon: : Ctrl-A is the escape key */
    char *unlink_path;              /* a socket of ours in the file system */

    int in, out, listener;          /* -1: closed */
    int slave;                      /* pty: kept open; 0: none */
    bool warned;                    /* of output that nobody takes */
    struct watch read_watch, write_watch;

    u8 *queue;                      /* output that the host has not taken yet: queue[queue_start], queue_count bytes */
    size_t queue_start, queue_count, queue_room;

    bool escape_seen;
    unsigned focus, users;          /* which user gets the keyboard */
    struct chardev_user user[2];    /* 0: the guest, 1: the monitor */
    u8 typed[CHARDEV_TYPED];        /* shared: for the guest, until it can take it */
    unsigned typed_start, typed_count;

    void (*connection)(void *ctx, bool connected);
    void *connection_ctx;
};

/* chardev.c */
struct chardev *chardev_alloc(enum chardev_kind kind);
void chardev_set_files(struct chardev *c, int in, int out);     /* a peer is there; -1, -1: gone */

/* chardev_open.c */
void chardev_accept(struct chardev *c);                         /* listener is readable */
void chardev_release(struct chardev *c);                        /* what the place itself needs at the end */

#endif
