/* chardev_open.c - the places that a character device can lead to: their specifications, checking and opening them. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
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

#include "frontend/chardev_private.h"
#include "frontend/options.h"
#include "frontend/tty.h"

static bool stdio_taken;

static bool fail(char *err, size_t errlen, const char *what, const char *name, const char *why)
{
    snprintf(err, errlen, "%s%s: %s", what, name, why);
    return false;
}

static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) ? NULL : text + n;
}

/* ---------------------------------------------------------------------------------------------------- checking --- */

/* May something be made in the directory that path is in? */
static bool check_directory(const char *path, char *err, size_t errlen)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const char *dir = dirname(copy);
    struct stat st;
    if (stat(dir, &st))
        return fail(err, errlen, path, "", "its directory does not exist");
    if (!S_ISDIR(st.st_mode))
        return fail(err, errlen, path, "", "what should be its directory is a file");
    return !access(dir, W_OK | X_OK) || fail(err, errlen, path, "", "its directory cannot be written");
}

bool chardev_check_writable(const char *path, char *err, size_t errlen)
{
    struct stat st;
    if (!*path)
        return fail(err, errlen, "", "''", "the name of the file is missing");
    if (strlen(path) >= PATH_MAX)
        return fail(err, errlen, "", path, "the path is too long");
    if (stat(path, &st))
        return errno == ENOENT ? check_directory(path, err, errlen) : fail(err, errlen, "", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail(err, errlen, "", path, "is a directory; name a file");
    return !access(path, W_OK) || fail(err, errlen, "", path, strerror(errno));
}

static bool check_unix(const struct chardev *c, char *err, size_t errlen)
{
    struct stat st;
    if (strlen(c->path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
        return fail(err, errlen, "unix:", c->path, "the path is too long (107 bytes at most)");
    if (!stat(c->path, &st) && !S_ISSOCK(st.st_mode))
        return fail(err, errlen, "unix:", c->path, "exists and is no socket");
    return !c->server || check_directory(c->path, err, errlen);
}

/* PATH.in and PATH.out if they exist, else PATH both ways, as QEMU does. */
static void pipe_names(const struct chardev *c, char *in, char *out, size_t size)
{
    snprintf(in, size, "%s.in", c->path);
    snprintf(out, size, "%s.out", c->path);
    if (access(in, F_OK) || access(out, F_OK)) {
        snprintf(in, size, "%s", c->path);
        snprintf(out, size, "%s", c->path);
    }
}

static bool check_fifo(const char *path, char *err, size_t errlen)
{
    struct stat st;
    if (stat(path, &st))
        return fail(err, errlen, "pipe:", path, "No such file or directory (make it with mkfifo)");
    if (!S_ISFIFO(st.st_mode))
        return fail(err, errlen, "pipe:", path, "is no named pipe (make one with mkfifo)");
    return !access(path, R_OK | W_OK) || fail(err, errlen, "pipe:", path, strerror(errno));
}

static bool check_pipe(const struct chardev *c, char *err, size_t errlen)
{
    char in[PATH_MAX + 8], out[PATH_MAX + 8];
    pipe_names(c, in, out, sizeof in);
    return check_fifo(in, err, errlen) && check_fifo(out, err, errlen);
}

/* ------------------------------------------------------------------------------------------- the specification --- */

static bool parse_tcp_address(struct chardev *c, const char *address, char *err, size_t errlen)
{
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1])
        return fail(err, errlen, "tcp:", address, "must be tcp:HOST:PORT");
    const char *host = address;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {       /* [::1]:PORT */
        host++;
        len -= 2;
    }
    c->host = strndup(host, len);
    c->port = strdup(colon + 1);
    return true;
}

/* "HOST:PORT,server=on,wait=off" or "PATH,server=on" behind tcp: and unix:. */
static bool parse_socket(struct chardev *c, const char *text, char *err, size_t errlen)
{
    const char *kind = c->kind == CHARDEV_TCP ? "tcp" : "unix";
    struct keyvals k;
    bool nowait = false;
    c->wait = true;
    c->no_delay = true;
    if (!keyvals_parse(&k, text, "address", err, errlen) || !keyvals_get_bool(&k, "server", &c->server, err, errlen) ||
        !keyvals_get_bool(&k, "wait", &c->wait, err, errlen) || !keyvals_get_bool(&k, "nowait", &nowait, err, errlen) ||
        !keyvals_get_bool(&k, "nodelay", &c->no_delay, err, errlen))
        return false;
    const char *address = keyvals_get(&k, "address");
    c->wait = c->wait && !nowait;
    if (!address || !*address)
        return fail(err, errlen, kind, ":", "the address is missing");
    if (!keyvals_all_used(&k, kind, err, errlen))
        return false;
    if (c->kind == CHARDEV_TCP)
        return parse_tcp_address(c, address, err, errlen);
    c->path = strdup(address);
    return check_unix(c, err, errlen);
}

static bool parse_stdio(struct chardev *c, const char *rest, char *err, size_t errlen)
{
    bool signals;
    struct keyvals k;
    if (!keyvals_parse(&k, rest, "stdio", err, errlen) || !keyvals_get(&k, "stdio") ||
        !keyvals_get_bool(&k, "signal", &signals, err, errlen) || !keyvals_all_used(&k, "stdio", err, errlen))
        return false;
    if (stdio_taken)
        return fail(err, errlen, "stdio", "", "is used twice (mon:stdio shares it between serial port and monitor)");
    stdio_taken = true;
    return true;
}

static bool parse_path(struct chardev *c, const char *path, char *err, size_t errlen)
{
    c->path = strdup(path);
    return c->kind == CHARDEV_FILE ? chardev_check_writable(path, err, errlen) : check_pipe(c, err, errlen);
}

static bool parse(struct chardev *c, const char *spec, char *err, size_t errlen)
{
    static const struct { const char *prefix; enum chardev_kind kind; } places[] = {
        { "file:", CHARDEV_FILE }, { "pipe:", CHARDEV_PIPE }, { "tcp:", CHARDEV_TCP }, { "unix:", CHARDEV_UNIX },
    };
    const char *rest = after(spec, "mon:");
    c->shared = rest != NULL;
    spec = rest ? rest : spec;
    for (unsigned i = 0; i < ARRAY_LEN(places); i++)
        if ((rest = after(spec, places[i].prefix))) {
            c->kind = places[i].kind;
            bool is_socket = c->kind == CHARDEV_TCP || c->kind == CHARDEV_UNIX;
            return is_socket ? parse_socket(c, rest, err, errlen) : parse_path(c, rest, err, errlen);
        }
    if (!strcmp(spec, "stdio") || after(spec, "stdio,")) {
        bool ok = parse_stdio(c, spec, err, errlen);
        c->kind = ok ? CHARDEV_STDIO : CHARDEV_NULL;
        return ok;
    }
    c->kind = !strcmp(spec, "pty") ? CHARDEV_PTY : CHARDEV_NULL;
    if (c->kind == CHARDEV_PTY || !strcmp(spec, "null") || !strcmp(spec, "none") || !strcmp(spec, "vc"))
        return true;
    snprintf(err, errlen, "'%s' is none of stdio, mon:stdio, file:PATH, pipe:PATH, pty, tcp:HOST:PORT, unix:PATH, "
             "null, none", spec);
    return false;
}

struct chardev *chardev_new(const char *label, const char *spec, char *err, size_t errlen)
{
    struct chardev *c = chardev_alloc(CHARDEV_NULL);
    mainloop_init();
    c->label = strdup(label ? label : "chardev");
    c->spec = strdup(spec);
    if (parse(c, spec, err, errlen))
        return c;
    chardev_close(c);
    return NULL;
}

bool chardev_creates_file(const struct chardev *c) { return c->kind == CHARDEV_FILE; }

/* ----------------------------------------------------------------------------------------------------- opening --- */

static bool connect_stdio(struct chardev *c, char *err, size_t errlen)
{
    tty_raw(!c->shared);
    chardev_set_files(c, STDIN_FILENO, STDOUT_FILENO);
    return true;
}

static bool connect_file(struct chardev *c, char *err, size_t errlen)
{
    int fd = open(c->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return fail(err, errlen, "file:", c->path, strerror(errno));
    chardev_set_files(c, -1, fd);
    return true;
}

static bool connect_pipe(struct chardev *c, char *err, size_t errlen)
{
    char in_name[PATH_MAX + 8], out_name[PATH_MAX + 8];
    pipe_names(c, in_name, out_name, sizeof in_name);
    /* both for reading and writing, so that opening does not wait and the other side may come and go */
    int in = open(in_name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int out = !strcmp(in_name, out_name) ? in : open(out_name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (in < 0 || out < 0) {
        fail(err, errlen, "pipe:", c->path, strerror(errno));
        if (in >= 0)
            close(in);
        return false;
    }
    chardev_set_files(c, in, out);
    return true;
}

static bool connect_pty(struct chardev *c, char *err, size_t errlen)
{
    int master, slave;
    char name[128];
    struct termios t;
    if (openpty(&master, &slave, NULL, NULL, NULL) || ttyname_r(slave, name, sizeof name) || tcgetattr(slave, &t))
        return fail(err, errlen, "pty", "", strerror(errno));
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    /* The slave stays open: the master sees no hang-up between two visitors. */
    fcntl(slave, F_SETFD, FD_CLOEXEC);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    fcntl(master, F_SETFL, O_NONBLOCK);
    c->slave = slave;
    chardev_set_files(c, master, master);
    fprintf(stderr, "char device redirected to %s (label %s)\n", name, c->label);
    return true;
}

/* One address of the list. */
static int tcp_try(const struct addrinfo *a, bool server)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (server)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (server ? !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 1) : !connect(fd, a->ai_addr, a->ai_addrlen))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int tcp_socket(struct chardev *c, char *err, size_t errlen)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = c->server ? AI_PASSIVE : 0 }, *list;
    char name[600];
    snprintf(name, sizeof name, "%s:%s", c->host, c->port);
    int bad = getaddrinfo(*c->host ? c->host : c->server ? NULL : "localhost", c->port, &hints, &list);
    if (bad) {
        fail(err, errlen, "tcp:", name, gai_strerror(bad));
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = tcp_try(a, c->server);
    if (fd < 0)
        fail(err, errlen, "tcp:", name, strerror(errno));
    freeaddrinfo(list);
    return fd;
}

/* A socket that a process left behind goes; one that somebody listens on stays. */
static bool unix_free_path(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool used = fd >= 0 && (!connect(fd, (const void *)a, sizeof *a) || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    if (!used)
        unlink(a->sun_path);
    errno = EADDRINUSE;
    return !used;
}

static int unix_socket(struct chardev *c, char *err, size_t errlen)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, c->path);        /* check_unix has looked at its length */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0;
    if (ok && c->server)
        ok = unix_free_path(&a) && !bind(fd, (void *)&a, sizeof a) && !listen(fd, 1);
    else if (ok)
        ok = !connect(fd, (void *)&a, sizeof a);
    if (ok) {
        if (c->server)
            c->unlink_path = realpath(c->path, NULL);       /* -daemonize changes the directory */
        return fd;
    }
    fail(err, errlen, "unix:", c->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

void chardev_accept(struct chardev *c)
{
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (c->kind == CHARDEV_TCP)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ c->no_delay }, sizeof(int));
    chardev_set_files(c, fd, fd);
}

static bool connect_socket(struct chardev *c, char *err, size_t errlen)
{
    int fd = c->kind == CHARDEV_TCP ? tcp_socket(c, err, errlen) : unix_socket(c, err, errlen);
    if (fd < 0)
        return false;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!c->server) {
        if (c->kind == CHARDEV_TCP)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ c->no_delay }, sizeof(int));
        chardev_set_files(c, fd, fd);
        return true;
    }
    c->listener = c->read_watch.fd = fd;
    if (!c->wait)
        return true;
    fprintf(stderr, "shadow86: waiting for a connection on %s\n", c->spec);
    while (c->in < 0) {
        if (!mainloop_wait_fd(fd, POLLIN, -1))
            return fail(err, errlen, c->spec, "", "ended by a signal while waiting for a connection");
        chardev_accept(c);
    }
    return true;
}

bool chardev_connect(struct chardev *c, char *err, size_t errlen)
{
    static bool (*const connect[])(struct chardev *c, char *err, size_t errlen) = {
        [CHARDEV_STDIO] = connect_stdio, [CHARDEV_FILE] = connect_file, [CHARDEV_PIPE] = connect_pipe,
        [CHARDEV_PTY] = connect_pty, [CHARDEV_TCP] = connect_socket, [CHARDEV_UNIX] = connect_socket,
    };
    if (c->kind < ARRAY_LEN(connect) && connect[c->kind] && !connect[c->kind](c, err, errlen))
        return false;
    mainloop_add(&c->read_watch);
    mainloop_add(&c->write_watch);
    return true;
}

void chardev_release(struct chardev *c)
{
    if (c->kind == CHARDEV_STDIO) {
        tty_restore();
        stdio_taken = false;
    }
    if (c->unlink_path)
        unlink(c->unlink_path);
    free(c->unlink_path);
}
