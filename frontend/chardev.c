/* chardev.c - the host ends of serial lines, the monitor and debug consoles. See devices/chardev.h.
 *
 * Every end is a pair of descriptors (in, out) with one watch. Sockets in server mode have a listening descriptor until
 * a peer comes. An end opened with "mon:" or by -nographic is shared: Ctrl-A is its escape key, and the first user that
 * attaches gets the serial side, the second the monitor side; Ctrl-A C moves the keyboard between them.
 */
#include "devices/chardev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "frontend/chardev_host.h"
#include "frontend/mainloop.h"
#include "frontend/options.h"

#define KEY_ESCAPE 0x01     /* Ctrl-A */

struct chardev {
    struct watch watch;             /* input, or the listening socket */
    int in, out, listener;
    bool blocking_output;           /* wait for a slow reader instead of dropping */
    bool shared, escape_seen;       /* mon: */
    unsigned focus, users;          /* which user gets the keyboard */
    struct chardev_user user[2];
    bool is_stdio, at_eof, telnet_free;
    char *unlink_path;
    u8 *memory;                     /* chardev_memory */
    size_t memory_size, memory_room;
    bool is_memory;
};

static struct termios saved_tty;
static bool tty_saved;
static bool stdio_taken;
static void (*quit_hook)(void);

void chardev_set_quit_hook(void (*hook)(void)) { quit_hook = hook; }

static void restore_tty(void)
{
    if (tty_saved)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved_tty);
}

/* Keys go to the guest one by one. With `signals` Ctrl-C still ends shadow86 (-serial stdio, as QEMU has it). */
static void raw_tty(bool signals)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_tty))
        return;
    if (!tty_saved)
        atexit(restore_tty);
    tty_saved = true;
    struct termios t = saved_tty;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | (signals ? 0 : ISIG));
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* ------------------------------------------------------------------ output ----- */
static void write_all(struct chardev *c, int fd, const u8 *buf, size_t n)
{
    while (n) {
        ssize_t done = write(fd, buf, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN && c->blocking_output) {
            struct pollfd p = { .fd = fd, .events = POLLOUT };
            poll(&p, 1, -1);
            continue;
        }
        if (done <= 0)
            return;     /* nobody reads: dropped */
        buf += done;
        n -= (size_t)done;
    }
}

void chardev_write(struct chardev *c, const u8 *buf, size_t n)
{
    if (c->is_memory) {
        if (c->memory_size + n > c->memory_room) {
            size_t room = (c->memory_size + n) * 2;
            u8 *bigger = realloc(c->memory, room);
            if (!bigger)
                return;
            c->memory = bigger;
            c->memory_room = room;
        }
        memcpy(c->memory + c->memory_size, buf, n);
        c->memory_size += n;
    } else if (c->out >= 0)
        write_all(c, c->out, buf, n);
}

static void say(struct chardev *c, const char *text) { chardev_write(c, (const u8 *)text, strlen(text)); }

/* ------------------------------------------------------------------ input ----- */
static struct chardev_user *focused(struct chardev *c) { return &c->user[c->focus]; }

static unsigned room(struct chardev *c)
{
    struct chardev_user *u = focused(c);
    return u->can_receive ? u->can_receive(u->ctx) : 0;
}

static void deliver(struct chardev *c, const u8 *buf, unsigned n)
{
    struct chardev_user *u = focused(c);
    if (n && u->receive)
        u->receive(u->ctx, buf, n);
}

static void escape_command(struct chardev *c, u8 key)
{
    struct chardev_user *u = focused(c);
    switch (key) {
    case 'x': case 'X':
        say(c, "shadow86: ended by Ctrl-A X\r\n");
        if (quit_hook)
            quit_hook();
        break;
    case 'c': case 'C':
        if (c->users > 1) {
            c->focus ^= 1;
            if (c->focus)
                chardev_write(c, (const u8 *)"\r\n(shadow86) ", 13);
        }
        break;
    case 'b': case 'B':
        if (u->event_break)
            u->event_break(u->ctx);
        break;
    case 'h': case 'H': case '?':
        say(c, "\r\nCtrl-A H  this text\r\nCtrl-A X  end shadow86\r\nCtrl-A C  switch between serial line and monitor\r\n"
               "Ctrl-A B  send a break\r\nCtrl-A Ctrl-A  send Ctrl-A\r\n");
        break;
    case KEY_ESCAPE: case 'a': case 'A':
        deliver(c, &(u8){ KEY_ESCAPE }, 1);
        break;
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
            deliver(c, &buf[i], 1);
    }
}

void chardev_inject(struct chardev *c, const u8 *buf, size_t n)
{
    while (n) {
        unsigned take = room(c);
        if (!take)
            return;
        if (take > n)
            take = (unsigned)n;
        deliver(c, buf, take);
        buf += take;
        n -= take;
    }
}

static void hang_up(struct chardev *c)
{
    if (c->listener >= 0) {     /* wait for the next peer */
        close(c->in);
        c->in = c->out = -1;
        c->watch.fd = c->listener;
    } else {
        c->at_eof = true;
        c->watch.fd = -1;
    }
}

static void accept_peer(struct chardev *c)
{
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    c->in = c->out = c->watch.fd = fd;
}

static short wanted(void *ctx)
{
    struct chardev *c = ctx;
    if (c->in < 0)
        return c->listener >= 0 ? POLLIN : 0;
    /* a shared end is always read: its escape keys must work when the guest does not read */
    return c->shared || room(c) ? POLLIN : 0;
}

static void ready(void *ctx, short events)
{
    struct chardev *c = ctx;
    if (c->in < 0) {
        accept_peer(c);
        return;
    }
    u8 buf[256];
    unsigned n = c->shared ? 64 : room(c);
    if (!n)
        return;
    ssize_t got = read(c->in, buf, n < sizeof buf ? n : sizeof buf);
    if (got > 0) {
        if (c->shared)
            shared_input(c, buf, (unsigned)got);
        else
            deliver(c, buf, (unsigned)got);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR && errno != EIO))
        hang_up(c);
    else if (errno == EIO)      /* a pty without a peer: look again later, not at once */
        usleep(1000);
}

void chardev_attach(struct chardev *c, const struct chardev_user *u)
{
    if (c->users < 2)
        c->user[c->users++] = *u;
    mainloop_wake(NULL);
}

void chardev_accept_input(struct chardev *c) { mainloop_wake(NULL); }

bool chardev_is_shared(const struct chardev *c) { return c->shared; }

/* ------------------------------------------------------------------ opening ----- */
static struct chardev *new_end(int in, int out)
{
    struct chardev *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->in = in;
    c->out = out;
    c->listener = -1;
    c->watch = (struct watch){ .fd = in, .events = wanted, .ready = ready, .ctx = c };
    return c;
}

static struct chardev *open_stdio(bool shared, char *err, size_t errlen)
{
    if (stdio_taken) {
        snprintf(err, errlen, "stdio is used twice (use mon:stdio to share it between a serial port and the monitor)");
        return NULL;
    }
    stdio_taken = true;
    raw_tty(!shared);
    struct chardev *c = new_end(STDIN_FILENO, STDOUT_FILENO);
    c->is_stdio = c->blocking_output = true;
    c->shared = shared;
    return c;
}

static struct chardev *open_file(const char *path, char *err, size_t errlen)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        snprintf(err, errlen, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct chardev *c = new_end(-1, fd);
    c->blocking_output = true;
    return c;
}

/* PATH.in and PATH.out if they exist, else PATH both ways, as QEMU does. */
static struct chardev *open_pipe(const char *path, char *err, size_t errlen)
{
    char in_name[4096], out_name[4096];
    snprintf(in_name, sizeof in_name, "%s.in", path);
    snprintf(out_name, sizeof out_name, "%s.out", path);
    int in = open(in_name, O_RDWR | O_CLOEXEC | O_NONBLOCK), out = open(out_name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (in < 0 || out < 0) {
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        in = out = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    }
    if (in < 0) {
        snprintf(err, errlen, "%s: %s (make it with mkfifo)", path, strerror(errno));
        return NULL;
    }
    return new_end(in, out);
}

static struct chardev *open_pty(char *err, size_t errlen)
{
    int master, slave;
    char name[128];
    if (openpty(&master, &slave, NULL, NULL, NULL) || ttyname_r(slave, name, sizeof name)) {
        snprintf(err, errlen, "pty: %s", strerror(errno));
        return NULL;
    }
    struct termios t;
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    /* The slave stays open, so that the master does not see a hang-up between two visitors. */
    fcntl(slave, F_SETFD, FD_CLOEXEC);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    fcntl(master, F_SETFL, O_NONBLOCK);
    fprintf(stderr, "char device redirected to %s\n", name);
    return new_end(master, master);
}

static struct chardev *socket_end(int fd, bool server, bool wait)
{
    struct chardev *c;
    if (!server) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        return new_end(fd, fd);
    }
    c = new_end(-1, -1);
    c->listener = c->watch.fd = fd;
    if (wait)
        accept_peer(c);     /* blocks: the listener is still blocking */
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return c;
}

static int tcp_socket(const char *host, const char *port, bool server, char *err, size_t errlen)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = server ? AI_PASSIVE : 0 }, *list;
    int bad = getaddrinfo(*host ? host : server ? NULL : "localhost", port, &hints, &list);
    if (bad) {
        snprintf(err, errlen, "tcp:%s:%s: %s", host, port, gai_strerror(bad));
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        if (server)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
        bool ok = server ? !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 1) : !connect(fd, a->ai_addr, a->ai_addrlen);
        if (!ok) {
            snprintf(err, errlen, "tcp:%s:%s: %s", host, port, strerror(errno));
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int unix_socket(const char *path, bool server, char *err, size_t errlen)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof a.sun_path) {
        snprintf(err, errlen, "unix:%s: the path is too long", path);
        return -1;
    }
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;
    if (server && !stat(path, &st) && S_ISSOCK(st.st_mode))
        unlink(path);
    if (fd < 0 || (server ? bind(fd, (void *)&a, sizeof a) || listen(fd, 1) : connect(fd, (void *)&a, sizeof a))) {
        snprintf(err, errlen, "unix:%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* "HOST:PORT,server=on,wait=off" or "PATH,server=on" behind tcp: and unix:. */
static struct chardev *open_socket(const char *text, bool tcp, char *err, size_t errlen)
{
    struct keyvals k;
    bool server = false, wait = true, nowait = false, nodelay = false;
    if (!keyvals_parse(&k, text, "address", err, errlen) || !keyvals_get_bool(&k, "server", &server, err, errlen) ||
        !keyvals_get_bool(&k, "wait", &wait, err, errlen) || !keyvals_get_bool(&k, "nowait", &nowait, err, errlen) ||
        !keyvals_get_bool(&k, "nodelay", &nodelay, err, errlen))
        return NULL;
    const char *address = keyvals_get(&k, "address");
    if (!address || !keyvals_all_used(&k, tcp ? "tcp" : "unix", err, errlen)) {
        if (!address)
            snprintf(err, errlen, "%s: the address is missing", tcp ? "tcp" : "unix");
        return NULL;
    }
    int fd;
    if (tcp) {
        char *host = strdup(address), *colon = strrchr(host, ':');
        if (!colon) {
            snprintf(err, errlen, "tcp:%s: must be HOST:PORT", address);
            free(host);
            return NULL;
        }
        *colon = 0;
        fd = tcp_socket(host, colon + 1, server, err, errlen);
        free(host);
    } else
        fd = unix_socket(address, server, err, errlen);
    if (fd < 0)
        return NULL;
    struct chardev *c = socket_end(fd, server, server && wait && !nowait);
    if (!tcp && server)
        c->unlink_path = strdup(address);
    return c;
}

static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) ? NULL : text + n;
}

static struct chardev *open_spec(const char *spec, char *err, size_t errlen)
{
    const char *rest;
    if (!strcmp(spec, "stdio") || !strcmp(spec, "mon:stdio"))
        return open_stdio(spec[0] == 'm', err, errlen);
    if (!strcmp(spec, "null") || !strcmp(spec, "none") || !strcmp(spec, "vc"))
        return new_end(-1, -1);
    if (!strcmp(spec, "pty"))
        return open_pty(err, errlen);
    if ((rest = after(spec, "file:")))
        return open_file(rest, err, errlen);
    if ((rest = after(spec, "pipe:")))
        return open_pipe(rest, err, errlen);
    if ((rest = after(spec, "tcp:")))
        return open_socket(rest, true, err, errlen);
    if ((rest = after(spec, "unix:")))
        return open_socket(rest, false, err, errlen);
    snprintf(err, errlen, "'%s' is none of stdio, mon:stdio, file:, pipe:, pty, tcp:, unix:, null, none", spec);
    return NULL;
}

struct chardev *chardev_open(const char *spec, char *err, size_t errlen)
{
    mainloop_init();
    struct chardev *c = open_spec(spec, err, errlen);
    if (c && (c->in >= 0 || c->listener >= 0))
        mainloop_add(&c->watch);
    return c;
}

struct chardev *chardev_memory(void)
{
    struct chardev *c = new_end(-1, -1);
    c->is_memory = true;
    return c;
}

const u8 *chardev_memory_output(struct chardev *c, size_t *n)
{
    *n = c->memory_size;
    return c->memory;
}

void chardev_close(struct chardev *c)
{
    if (!c)
        return;
    mainloop_remove(&c->watch);
    if (c->is_stdio) {
        restore_tty();
        stdio_taken = false;
    } else {
        if (c->in >= 0)
            close(c->in);
        if (c->out >= 0 && c->out != c->in)
            close(c->out);
        if (c->listener >= 0)
            close(c->listener);
    }
    if (c->unlink_path)
        unlink(c->unlink_path);
    free(c->unlink_path);
    free(c->memory);
    free(c);
}
