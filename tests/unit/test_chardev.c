/* test_chardev.c - character devices: memory end, pty, sockets, files, pipes, back pressure, the shared end's keys. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "frontend/chardev_host.h"
#include "frontend/mainloop.h"

static char dir[64], err[512];

/* A user that takes so many bytes and keeps them. */
struct sink { unsigned room, count, breaks; u8 got[65536]; };

static unsigned sink_room(void *ctx) { return ((struct sink *)ctx)->room; }
static void sink_break(void *ctx) { ((struct sink *)ctx)->breaks++; }
static void sink_receive(void *ctx, const u8 *buf, unsigned n)
{
    struct sink *s = ctx;
    ck_assert_uint_le(n, s->room);
    ck_assert_uint_le(s->count + n, sizeof s->got);
    memcpy(s->got + s->count, buf, n);
    s->count += n;
    s->room -= n;
}

static void attach(struct chardev *c, struct sink *s)
{
    chardev_attach(c, &(struct chardev_user){ sink_room, sink_receive, sink_break, s });
}

static void setup(void)
{
    strcpy(dir, "/tmp/shadow86-chardev-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    signal(SIGPIPE, SIG_IGN);
}

static void teardown(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *prefix, const char *name)
{
    static char text[4][200];
    static unsigned i;
    char *t = text[i++ % 4];
    snprintf(t, sizeof text[0], "%s%s/%s", prefix, dir, name);
    return t;
}

static struct chardev *open_good(const char *spec)
{
    struct chardev *c = chardev_open(spec, err, sizeof err);
    ck_assert_msg(c != NULL, "%s: %s", spec, err);
    return c;
}

/* Rounds of the main loop until the sink has so many bytes. */
static void pump(struct sink *s, unsigned count)
{
    for (unsigned i = 0; i < 1000 && s->count < count; i++)
        mainloop_poll(NS_PER_SEC / 100);
    ck_assert_uint_eq(s->count, count);
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(a.sun_path, path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void expect(int fd, const char *text)
{
    char buf[4096];
    size_t n = 0, want = strlen(text);
    while (n < want) {
        ssize_t got = read(fd, buf + n, want - n);
        ck_assert_int_gt(got, 0);
        n += (size_t)got;
    }
    ck_assert_msg(!memcmp(buf, text, want), "%.*s", (int)want, buf);
}

static void send_text(struct chardev *c, const char *text) { chardev_write(c, (const u8 *)text, strlen(text)); }

START_TEST(memory)
{
    static struct sink s = { .room = 3 };
    struct chardev *c = chardev_memory();
    size_t n;
    attach(c, &s);
    for (unsigned i = 0; i < 1000; i++)
        send_text(c, "0123456789");
    const u8 *out = chardev_memory_output(c, &n);
    ck_assert(n == 10000 && !memcmp(out + 9990, "0123456789", 10));
    chardev_inject(c, (const u8 *)"abcd", 4);
    ck_assert(s.count == 3 && !memcmp(s.got, "abc", 3));        /* as much as it takes */
    chardev_close(c);
}
END_TEST

START_TEST(wrong_places)
{
    static const char *const wrong[] = {
        "", "x", "file:", "file:/", "file:/nonexistent/x", "pipe:/dev/null", "tcp:", "tcp:x", "tcp:x:", "unix:",
        "unix:/nonexistent/x", "unix:/nonexistent/x,server=on", "tcp::1,foo=on", "stdio,foo=1", "mon:x", "mon:",
    };
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
        err[0] = 0;
        ck_assert_msg(!chardev_open(wrong[i], err, sizeof err), "%s", wrong[i]);
        ck_assert_msg(err[0] && !strchr(err, '\n'), "%s: '%s'", wrong[i], err);
    }
    char path[300];
    snprintf(path, sizeof path, "unix:%s/%0200d,server=on", dir, 1);
    ck_assert(!chardev_open(path, err, sizeof err) && strstr(err, "too long"));
}
END_TEST

START_TEST(checked_before_made)
{
    struct stat st;
    struct chardev *c = chardev_new("x", in_dir("file:", "f"), err, sizeof err);
    ck_assert_ptr_nonnull(c);
    ck_assert(stat(in_dir("", "f"), &st) != 0);
    send_text(c, "too early");
    ck_assert(chardev_creates_file(c) && chardev_connect(c, err, sizeof err));
    send_text(c, "text");
    chardev_close(c);
    ck_assert(!stat(in_dir("", "f"), &st) && st.st_size == 4);
    c = chardev_new("x", in_dir("unix:", "s,server=on"), err, sizeof err);
    ck_assert(c && stat(in_dir("", "s"), &st) != 0);
    chardev_close(c);
}
END_TEST

START_TEST(pty)
{
    static struct sink s = { .room = 100 };
    char text[200], *name;
    int saved = dup(2), ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], 2);
    struct chardev *c = open_good("pty");
    dup2(saved, 2);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    ck_assert_int_gt(n, 0);
    text[n] = 0;
    name = strstr(text, "/dev/");
    ck_assert_ptr_nonnull(name);
    name[strcspn(name, " ")] = 0;
    attach(c, &s);
    int fd = open(name, O_RDWR | O_NOCTTY);
    ck_assert_int_ge(fd, 0);
    send_text(c, "out\n");
    expect(fd, "out\n");                        /* raw: no carriage return */
    ck_assert_int_eq(write(fd, "in\r", 3), 3);
    pump(&s, 3);
    ck_assert(!memcmp(s.got, "in\r", 3));       /* no translation, no echo */
    /* Without a reader nothing waits, and the newest output is kept. */
    for (unsigned i = 0; i < 30000; i++)
        send_text(c, "0123456789");
    send_text(c, "END");
    u8 buf[4096], last[3] = { 0 };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (unsigned idle = 0; idle < 20; ) {
        n = read(fd, buf, sizeof buf);
        if (n >= 3)
            memcpy(last, buf + n - 3, 3);
        idle = n > 0 ? 0 : idle + 1;
        mainloop_poll(1000000);
    }
    ck_assert(!memcmp(last, "END", 3));
    close(fd);
    chardev_close(c);
    close(ends[0]);
    close(ends[1]);
    close(saved);
}
END_TEST

static unsigned connections, hang_ups;
static void count_connection(void *ctx, bool connected) { connected ? connections++ : hang_ups++; }

START_TEST(socket_server)
{
    static struct sink s = { .room = 5 };
    struct chardev *c = open_good(in_dir("unix:", "s,server=on,wait=off"));
    connections = hang_ups = 0;
    chardev_on_connection(c, count_connection, NULL);
    attach(c, &s);
    send_text(c, "nobody hears this");
    for (unsigned visit = 1; visit <= 2; visit++) {
        int fd = connect_to(in_dir("", "s"));
        while (connections < visit)
            mainloop_poll(NS_PER_SEC);
        send_text(c, "hello");
        expect(fd, "hello");
        ck_assert_int_eq(write(fd, "0123456789", 10), 10);
        s.count = 0;
        s.room = 5;
        pump(&s, 5);
        mainloop_poll(0);
        ck_assert_uint_eq(s.count, 5);              /* the rest waits until there is room */
        s.room = 100;
        chardev_accept_input(c);
        pump(&s, 10);
        ck_assert(!memcmp(s.got, "0123456789", 10));
        close(fd);
        while (hang_ups < visit)
            mainloop_poll(NS_PER_SEC);
    }
    ck_assert_int_eq(access(in_dir("", "s"), F_OK), 0);
    /* somebody listens there: a second server must not take the name away */
    ck_assert(!chardev_open(in_dir("unix:", "s,server=on,wait=off"), err, sizeof err));
    chardev_close(c);
    ck_assert_int_ne(access(in_dir("", "s"), F_OK), 0);
}
END_TEST

static void *slow_reader(void *arg)
{
    static u8 all[1 << 20];
    int fd = *(int *)arg;
    size_t n = 0;
    usleep(200000);
    for (ssize_t got; (got = read(fd, all + n, sizeof all - n)) > 0; n += (size_t)got)
        if (n % 65536 < 4096)
            usleep(1000);
    for (size_t i = 0; i < n; i++)
        if (all[i] != (u8)(i % 251))
            return (void *)-1;
    return (void *)n;
}

START_TEST(slow_peer_loses_nothing)
{
    struct chardev *c = open_good(in_dir("unix:", "s,server=on,wait=off"));
    int fd = connect_to(in_dir("", "s"));
    pthread_t reader;
    void *n;
    u8 part[8192];
    mainloop_poll(NS_PER_SEC);
    pthread_create(&reader, NULL, slow_reader, &fd);
    for (unsigned i = 0; i < (1 << 20) / sizeof part; i++) {
        for (unsigned k = 0; k < sizeof part; k++)
            part[k] = (u8)((i * sizeof part + k) % 251);
        chardev_write(c, part, sizeof part);
    }
    chardev_close(c);
    pthread_join(reader, &n);
    ck_assert_uint_eq((size_t)n, 1 << 20);
    close(fd);
}
END_TEST

START_TEST(named_pipe)
{
    static struct sink s = { .room = 100 };
    ck_assert_int_eq(mkfifo(in_dir("", "p.in"), 0600) | mkfifo(in_dir("", "p.out"), 0600), 0);
    struct chardev *c = open_good(in_dir("pipe:", "p"));
    attach(c, &s);
    send_text(c, "before anybody reads");
    int out = open(in_dir("", "p.out"), O_RDONLY), in = open(in_dir("", "p.in"), O_WRONLY);
    expect(out, "before anybody reads");
    ck_assert_int_eq(write(in, "x", 1), 1);
    pump(&s, 1);
    close(in);                                  /* writers come and go */
    in = open(in_dir("", "p.in"), O_WRONLY);
    ck_assert_int_eq(write(in, "y", 1), 1);
    pump(&s, 2);
    close(in);
    close(out);
    chardev_close(c);
}
END_TEST

static unsigned quits;
static void count_quit(void) { quits++; }

START_TEST(shared_keys)
{
    static struct sink guest = { .room = 4 }, monitor = { .room = 1000 };
    struct chardev *c = open_good(in_dir("mon:unix:", "s,server=on,wait=off"));
    int fd = connect_to(in_dir("", "s"));
    quits = 0;
    chardev_set_quit_hook(count_quit);
    ck_assert(chardev_is_shared(c));
    attach(c, &guest);
    attach(c, &monitor);
    mainloop_poll(NS_PER_SEC);
    ck_assert_int_eq(write(fd, "0123456789\1\1\1b", 14), 14);
    pump(&guest, 4);
    while (!guest.breaks)
        mainloop_poll(NS_PER_SEC / 100);
    guest.room = 100;                           /* what it could not take was kept, in order */
    chardev_accept_input(c);
    pump(&guest, 11);
    ck_assert(!memcmp(guest.got, "0123456789\1", 11));
    ck_assert_int_eq(write(fd, "\1cmon\1cguest\1x", 14), 14);
    pump(&guest, 16);
    ck_assert(!memcmp(guest.got + 11, "guest", 5));
    ck_assert(monitor.count == 4 && !memcmp(monitor.got, "\3mon", 4));
    while (!quits)
        mainloop_poll(NS_PER_SEC / 100);
    close(fd);
    chardev_close(c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("chardev");
    TCase *t = tcase_create("chardev");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, memory);
    tcase_add_test(t, wrong_places);
    tcase_add_test(t, checked_before_made);
    tcase_add_test(t, pty);
    tcase_add_test(t, socket_server);
    tcase_add_test(t, slow_peer_loses_nothing);
    tcase_add_test(t, named_pipe);
    tcase_add_test(t, shared_keys);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
