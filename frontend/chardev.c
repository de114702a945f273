/* chardev.c - character devices: the stream between a device and a host file. See devices/chardev.h.
 *
 * Output goes to the host at once, byte by byte as the guest sends it. What the host does not take stays in a queue
 * that the main loop empties. If somebody is there who reads slowly (stdio, a file, a connected socket) the guest waits
 * for him, a fraction of a second for each write, with the machine lock released: so nothing is lost, a guest that
 * writes much goes at the reader's pace, and pause, monitor and signals still work. A pty or named pipe may have no
 * reader at all: there, the oldest queued output gives way.
 *
 * Input is read when the focused user can take it. A shared end ("mon:", -nographic) is always read, since Ctrl-A must
 * work while the guest does not listen; what it cannot take yet is kept as typed ahead.
 */
#include "devices/chardev.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/clock.h"
#include "frontend/chardev_private.h"

#define KEY_ESCAPE 0x01             /* Ctrl-A */
#define KEY_CANCEL 0x03             /* Ctrl-C: the monitor begins a new line */
#define QUEUE_PATIENT (16u << 20)   /* bytes that may wait for a slow reader */
#define QUEUE_NO_READER (64u << 10) /* ... for one who may never come */
#define WAIT_MS 100                 /* how long one write waits */
#define WAIT_CLOSE_MS 2000          /* at the end, for a peer on a socket */
#define CHUNK 256                   /* a blocking descriptor takes so much without blocking once it is writable */

static void (*quit_hook)(void);

void chardev_set_quit_hook(void (*hook)(void)) { quit_hook = hook; }
bool chardev_is_shared(const struct chardev *c) { return c->shared; }
bool chardev_is_stdio(const struct chardev *c) { return c->kind == CHARDEV_STDIO; }

/* ------------------------------------------------------------------------------------------------------ output --- */

/* Standard output is shared with other processes, so it must not be made non-blocking. */
static bool blocks(const struct chardev *c) { return c->kind == CHARDEV_STDIO || c->kind == CHARDEV_FILE; }
static bool patient(const struct chardev *c) { return c->kind != CHARDEV_PTY && c->kind != CHARDEV_PIPE; }
static size_t queue_limit(const struct chardev *c) { return patient(c) ? QUEUE_PATIENT : QUEUE_NO_READER; }

static void queue_drop(struct chardev *c, size_t n)
{
    c->queue_start += n;
    c->queue_count -= n;
    if (!c->queue_count)
        c->queue_start = 0;
}

static bool queue_grow(struct chardev *c, size_t n)
{
    if (c->queue_start) {
        memmove(c->queue, c->queue + c->queue_start, c->queue_count);
        c->queue_start = 0;
    }
    if (c->queue_count + n <= c->queue_room)
        return true;
    size_t room = (c->queue_count + n) * 2;
    u8 *bigger = realloc(c->queue, room);
    if (!bigger)
        return false;
    c->queue = bigger;
    c->queue_room = room;
    return true;
}

static void queue_put(struct chardev *c, const u8 *buf, size_t n)
{
    size_t limit = queue_limit(c);
    if (!n)
        return;
    if (c->kind != CHARDEV_MEMORY && c->queue_count + n > limit) {
        if (patient(c) || n > limit)
            return;
        queue_drop(c, c->queue_count + n - limit);
    }
    if (c->queue_start + c->queue_count + n > c->queue_room && !queue_grow(c, n))
        return;
    memcpy(c->queue + c->queue_start + c->queue_count, buf, n);
    c->queue_count += n;
}

/* The host will never take it: a closed pipe, a full disk. */
static void output_failed(struct chardev *c)
{
    queue_drop(c, c->queue_count);
    if (!c->warned && blocks(c))
        fprintf(stderr, "shadow86: %s: output is lost: %s\r\n", c->spec, strerror(errno));
    c->warned = true;
    if (errno == EPIPE && c->kind == CHARDEV_STDIO)
        c->out = -1;
}

/* Hands over what the host takes without waiting. */
static void flush(struct chardev *c)
{
    while (c->queue_count && c->out >= 0) {
        size_t n = c->queue_count;
        if (c->kind == CHARDEV_STDIO) {
            struct pollfd p = { .fd = c->out, .events = POLLOUT };
            if (poll(&p, 1, 0) <= 0)
                return;
            n = n < CHUNK ? n : CHUNK;
        }
        ssize_t done = write(c->out, c->queue + c->queue_start, n);
        if (done > 0)
            queue_drop(c, (size_t)done);
        else if (done < 0 && errno == EINTR)
            continue;
        else {
            if (done < 0 && errno != EAGAIN)
                output_failed(c);
            return;
        }
    }
}

static void wait_for_reader(struct chardev *c, int ms)
{
    bool locked = machine_locked_by_me();
    int fd = c->out;
    if (locked)
        machine_unlock();
    mainloop_wait_fd(fd, POLLOUT, ms);
    if (locked)
        machine_lock();
    flush(c);
}

void chardev_write(struct chardev *c, const u8 *buf, size_t n)
{
    if (c->kind == CHARDEV_MEMORY) {
        queue_put(c, buf, n);
        return;
    }
    if (c->out < 0)
        return;
    queue_put(c, buf, n);
    flush(c);
    if (c->queue_count && patient(c) && c->out >= 0)
        wait_for_reader(c, WAIT_MS);
    if (c->queue_count)
        mainloop_wake(NULL);        /* write_watch */
}

static short write_wanted(void *ctx)
{
    struct chardev *c = ctx;
    return c->queue_count ? POLLOUT : 0;
}

static void write_ready(void *ctx, short events) { flush(ctx); }

static void say(struct chardev *c, const char *text) { chardev_write(c, (const u8 *)text, strlen(text)); }

/* ------------------------------------------------------------------------------------------------------- input --- */

static unsigned room(const struct chardev_user *u) { return u->can_receive ? u->can_receive(u->ctx) : 0; }

static void deliver(struct chardev_user *u, const u8 *buf, unsigned n)
{
    if (n && u->receive)
        u->receive(u->ctx, buf, n);
}

/* Gives the guest what was typed ahead. */
static void deliver_typed(struct chardev *c)
{
    unsigned n;
    while (c->typed_count && (n = room(&c->user[0]))) {
        unsigned run = CHARDEV_TYPED - c->typed_start;
        run = run < c->typed_count ? run : c->typed_count;
        run = run < n ? run : n;
        deliver(&c->user[0], c->typed + c->typed_start, run);
        c->typed_start = (c->typed_start + run) % CHARDEV_TYPED;
        c->typed_count -= run;
    }
}

static void type(struct chardev *c, u8 key)
{
    if (c->focus) {
        deliver(&c->user[c->focus], &key, 1);
    } else if (c->typed_count < CHARDEV_TYPED) {
        c->typed[(c->typed_start + c->typed_count++) % CHARDEV_TYPED] = key;
        deliver_typed(c);
    }
}

static void switch_focus(struct chardev *c)
{
    if (c->users < 2)
        return;
    c->focus ^= 1;
    if (c->focus)
        deliver(&c->user[1], &(u8){ KEY_CANCEL }, 1);   /* shows its prompt */
    else
        say(c, "\r\n");
}

static void escape_command(struct chardev *c, u8 key)
{
    switch (key) {
    case 'x': case 'X':
        say(c, "shadow86: ended by Ctrl-A X\r\n");
        if (quit_hook)
            quit_hook();
        break;
    case 'c': case 'C': switch_focus(c); break;
    case 'b': case 'B':
        if (c->user[c->focus].event_break)
            c->user[c->focus].event_break(c->user[c->focus].ctx);
        break;
    case 'h': case 'H': case '?':
        say(c, "\r\nCtrl-A H  this text\r\nCtrl-A X  end shadow86\r\n"
               "Ctrl-A C  switch between serial line and monitor\r\n"
               "Ctrl-A B  send a break\r\nCtrl-A Ctrl-A  send Ctrl-A\r\n");
        break;
    case KEY_ESCAPE: case 'a': case 'A': type(c, KEY_ESCAPE); break;
    }
}

static void shared_input(struct chardev *c, const u8 *buf, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (c->escape_seen) {
            c->escape_seen = false;
            escape_command(c, buf[i]);
        } else if (buf[i] == KEY_ESCAPE)
            c->escape_seen = true;
        else
            type(c, buf[i]);
    }
}

void chardev_inject(struct chardev *c, const u8 *buf, size_t n)
{
    struct chardev_user *u = &c->user[c->focus];
    while (n) {
        unsigned take = room(u);
        if (!take)
            return;
        if (take > n)
            take = (unsigned)n;
        deliver(u, buf, take);
        buf += take;
        n -= take;
    }
}

/* From a terminal, keys that do not fit are lost so that Ctrl-A X is still seen; a file or pipe can wait. */
static unsigned input_room(struct chardev *c)
{
    if (!c->shared)
        return room(&c->user[c->focus]);
    unsigned free = CHARDEV_TYPED - c->typed_count;
    return free ? free : isatty(c->in) ? 64 : 0;
}

static short read_wanted(void *ctx)
{
    struct chardev *c = ctx;
    if (c->in < 0)
        return c->listener >= 0 ? POLLIN : 0;
    if (c->shared)
        deliver_typed(c);
    return input_room(c) ? POLLIN : 0;
}

static void read_ready(void *ctx, short events)
{
    struct chardev *c = ctx;
    u8 buf[256];
    if (c->in < 0) {
        chardev_accept(c);
        return;
    }
    unsigned n = input_room(c);
    if (!n)
        return;
    ssize_t got = read(c->in, buf, n < sizeof buf ? n : sizeof buf);
    if (got > 0 && c->shared)
        shared_input(c, buf, (unsigned)got);
    else if (got > 0)
        deliver(&c->user[c->focus], buf, (unsigned)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        chardev_hang_up(c);
}

void chardev_attach(struct chardev *c, const struct chardev_user *u)
{
    if (c->users < 2)
        c->user[c->users++] = *u;
    mainloop_wake(NULL);
}

void chardev_accept_input(struct chardev *c)
{
    if (c->in >= 0)
        mainloop_wake(NULL);
}

void chardev_on_connection(struct chardev *c, void (*changed)(void *ctx, bool connected), void *ctx)
{
    c->connection = changed;
    c->connection_ctx = ctx;
}

/* ------------------------------------------------------------------------------------------------ life and end --- */

struct chardev *chardev_alloc(enum chardev_kind kind)
{
    struct chardev *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->kind = kind;
    c->in = c->out = c->listener = -1;
    c->read_watch = (struct watch){ .fd = -1, .events = read_wanted, .ready = read_ready, .ctx = c };
    c->write_watch = (struct watch){ .fd = -1, .events = write_wanted, .ready = write_ready, .ctx = c };
    return c;
}

void chardev_set_files(struct chardev *c, int in, int out)
{
    bool was = c->in >= 0;
    c->in = in;
    c->out = out;
    c->read_watch.fd = in >= 0 ? in : c->listener;
    c->write_watch.fd = out;
    c->escape_seen = false;
    if (c->connection && was != (in >= 0))
        c->connection(c->connection_ctx, in >= 0);
}

/* Standard input at its end: output goes on. A client's socket has no second life, a server waits for the next. */
void chardev_hang_up(struct chardev *c)
{
    if (c->in < 0)
        return;
    if (c->kind == CHARDEV_STDIO) {
        c->in = c->read_watch.fd = -1;
        if (c->connection)
            c->connection(c->connection_ctx, false);
        return;
    }
    flush(c);
    queue_drop(c, c->queue_count);
    close(c->in);
    if (c->out != c->in && c->out >= 0)
        close(c->out);
    chardev_set_files(c, -1, -1);
}

struct chardev *chardev_open(const char *spec, char *err, size_t errlen)
{
    struct chardev *c = chardev_new(NULL, spec, err, errlen);
    if (c && !chardev_connect(c, err, errlen)) {
        chardev_close(c);
        return NULL;
    }
    return c;
}

struct chardev *chardev_memory(void) { return chardev_alloc(CHARDEV_MEMORY); }

const u8 *chardev_memory_output(struct chardev *c, size_t *n)
{
    *n = c->queue_count;
    return c->queue;
}

/* The rest of the output: as long as it takes for a pipe's reader, a moment for a peer on a socket. */
static void drain(struct chardev *c)
{
    flush(c);
    bool blocking = blocks(c);
    for (int waited = 0; c->queue_count && c->out >= 0 && patient(c) && !mainloop_quitting(); waited += WAIT_MS) {
        if (!blocking && waited >= WAIT_CLOSE_MS)
            return;
        wait_for_reader(c, WAIT_MS);
    }
}

void chardev_close(struct chardev *c)
{
    if (!c)
        return;
    if (c->kind != CHARDEV_MEMORY)
        drain(c);
    mainloop_remove(&c->read_watch);
    mainloop_remove(&c->write_watch);
    if (c->kind != CHARDEV_STDIO) {
        if (c->in >= 0)
            close(c->in);
        if (c->out >= 0 && c->out != c->in)
            close(c->out);
    }
    if (c->listener >= 0)
        close(c->listener);
    if (c->slave > 0)
        close(c->slave);
    chardev_release(c);
    free(c->queue);
    free(c->label);
    free(c->spec);
    free(c->path);
    free(c->host);
    free(c->port);
    free(c);
}
