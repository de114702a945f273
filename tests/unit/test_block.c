/* test_block.c - disk images: opening and what it refuses, locks, snapshot=on, the ends of the image. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block.h"

static char dir[] = "/tmp/shadow86-test-block-XXXXXX";
static char path[sizeof dir + 32];
static char err[512];

static const char *file(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make(const char *name, size_t bytes, int fill)
{
    FILE *f = fopen(file(name), "wb");
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < bytes; i++)
        fputc(fill < 0 ? (int)(i / 512 & 0xff) : fill, f);
    fclose(f);
}

static struct block *try_open(const char *name, bool readonly, bool snapshot, unsigned sector)
{
    struct block_options o = { .file = file(name), .readonly = readonly, .snapshot = snapshot, .sector_size = sector };
    err[0] = 0;
    return block_open(&o, err, sizeof err);
}

static void setup(void)
{
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char cmd[256];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(cmd), 0);
}

START_TEST(refuses)
{
    make("odd", 1000, 0);
    make("empty", 0, 0);
    make("half-cd", 2048 + 512, 0);
    ck_assert_int_eq(mkfifo(file("fifo"), 0600), 0);
    FILE *f = fopen(file("q"), "wb");
    fwrite("QFI\xfb", 1, 4, f);
    for (int i = 4; i < 1024; i++)
        fputc(0, f);
    fclose(f);
    static const struct { const char *name; unsigned sector; bool readonly; const char *say; } cases[] = {
        { "odd", 512, false, "is 1000 bytes, not a multiple of 512: not a raw disk image" },
        { "half-cd", 2048, true, "is 2560 bytes, not a multiple of 2048" },
        { "empty", 512, false, "is empty" },
        { "missing", 512, false, "No such file or directory (check the path" },
        { ".", 512, true, "is a directory, not a disk image" },
        { ".", 512, false, "Is a directory, not a disk image" },
        { "fifo", 512, false, "is a pipe" },
        { "q", 512, false, "is a qcow2 image" },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_ptr_null(try_open(cases[i].name, cases[i].readonly, false, cases[i].sector));
        ck_assert_msg(strstr(err, cases[i].say), "%s: got '%s'", cases[i].name, err);
        ck_assert_ptr_nonnull(strstr(err, cases[i].name));
        ck_assert_ptr_null(strchr(err, '\n'));
    }
    struct block_options o = { .file = file("q"), .format = "raw", .sector_size = 512 };
    struct block *b = block_open(&o, err, sizeof err);
    ck_assert_ptr_nonnull(b);       /* the user said what it is */
    block_close(b);
    o.format = "nonsense";
    ck_assert_ptr_null(block_open(&o, err, sizeof err));
    ck_assert_ptr_nonnull(strstr(err, "format 'nonsense' is not known"));
}
END_TEST

START_TEST(permissions)
{
    make("ro", 1024, 1);
    ck_assert_int_eq(chmod(file("ro"), 0400), 0);
    if (access(file("ro"), W_OK) != 0) {        /* root may write anyway */
        ck_assert_ptr_null(try_open("ro", false, false, 512));
        ck_assert_ptr_nonnull(strstr(err, "readonly=on"));
    }
    struct block *b = try_open("ro", false, true, 512);     /* snapshot needs no write permission */
    ck_assert_ptr_nonnull(b);
    ck_assert(!block_readonly(b));
    block_close(b);
}
END_TEST

START_TEST(locks)
{
    make("d", 4096, 0);
    struct block *w = try_open("d", false, false, 512);
    ck_assert_ptr_nonnull(w);
    ck_assert_ptr_null(try_open("d", false, false, 512));
    ck_assert_ptr_nonnull(strstr(err, "in use"));
    ck_assert_ptr_null(try_open("d", true, false, 512));
    block_close(w);
    struct block *a = try_open("d", true, false, 512), *b = try_open("d", true, false, 512);
    struct block *s = try_open("d", false, true, 512);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(s);
    ck_assert_ptr_null(try_open("d", false, false, 512));
    block_close(a);
    block_close(b);
    block_close(s);
    w = try_open("d", false, false, 512);
    ck_assert_ptr_nonnull(w);
    block_close(w);
}
END_TEST

START_TEST(reads_and_writes)
{
    make("d", 16 * 512, -1);
    struct block *b = try_open("d", false, false, 512);
    u8 buf[1024], back[1024];
    ck_assert_uint_eq(block_size(b), 16 * 512);
    ck_assert_str_eq(block_file(b), file("d"));
    ck_assert(block_read(b, 15 * 512, buf, 512));
    ck_assert_uint_eq(buf[511], 15);
    ck_assert(!block_read(b, 15 * 512, buf, 513));
    ck_assert(!block_read(b, UINT64_MAX - 10, buf, 512));
    ck_assert(!block_write(b, 16 * 512, buf, 1));
    memset(buf, 0xa5, sizeof buf);
    ck_assert(block_write(b, 14 * 512, buf, 1024));
    ck_assert(block_flush(b));
    block_close(b);
    b = try_open("d", true, false, 512);
    ck_assert(block_readonly(b));
    ck_assert(block_read(b, 14 * 512, back, 1024));
    ck_assert_mem_eq(buf, back, 1024);
    ck_assert(!block_write(b, 0, buf, 512));
    ck_assert_int_eq(errno, EROFS);
    block_close(b);
}
END_TEST

/* Random writes of any length and place against a copy in memory; the file stays as it was. */
START_TEST(snapshot_random)
{
    enum { SIZE = 200 * 512 };
    static u8 model[SIZE], buf[SIZE];
    make("d", SIZE, -1);
    for (unsigned i = 0; i < SIZE; i++)
        model[i] = (u8)(i / 512);
    struct block *b = try_open("d", false, true, 512);
    ck_assert_ptr_nonnull(b);
    srand(4711);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned at = (unsigned)rand() % SIZE, n = (unsigned)rand() % 3000;
        if (rand() & 1) {
            at &= ~511u;
            n &= ~511u;
        }
        if (n > SIZE - at)
            n = SIZE - at;
        if (rand() & 1) {
            for (unsigned i = 0; i < n; i++)
                buf[i] = model[at + i] = (u8)rand();
            ck_assert(block_write(b, at, buf, n));
        } else {
            ck_assert(block_read(b, at, buf, n));
            ck_assert_mem_eq(buf, model + at, n);
        }
    }
    ck_assert(block_read(b, 0, buf, SIZE));
    ck_assert_mem_eq(buf, model, SIZE);
    ck_assert(block_flush(b));
    block_close(b);
    b = try_open("d", true, false, 512);
    ck_assert(block_read(b, 0, buf, SIZE));
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_uint_eq(buf[i], (u8)(i / 512));
    block_close(b);
}
END_TEST

START_TEST(shrunk_under_us)
{
    make("d", 4096, 7);
    struct block *b = try_open("d", false, false, 512);
    u8 buf[512];
    ck_assert_int_eq(truncate(file("d"), 1024), 0);
    ck_assert(block_read(b, 0, buf, 512));
    ck_assert(!block_read(b, 2048, buf, 512));
    ck_assert_int_eq(errno, EIO);
    block_close(b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("block");
    TCase *t = tcase_create("block");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, refuses);
    tcase_add_test(t, permissions);
    tcase_add_test(t, locks);
    tcase_add_test(t, reads_and_writes);
    tcase_add_test(t, snapshot_random);
    tcase_add_test(t, shrunk_under_us);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
