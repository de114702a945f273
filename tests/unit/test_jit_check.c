/* test_jit_check.c - what -accel check does when a unit and the interpreter differ: a backend that takes every ADD for a SUB is
 * found, with a report and a reproducer, which run-check replays (with the right backend: no difference).
 */
#include "tests/unit/cpu_machine.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jit/jit_private.h"

static const char *program;     /* argv[0]; run-check stands beside it */
static char dump[] = "/tmp/shadow86-check-XXXXXX", said[] = "/tmp/shadow86-said-XXXXXX";

static bool wrong_emit(struct jit *j, const struct ir_unit *ir, struct code_unit *u, u32 at, u32 room)
{
    for (unsigned i = 0; i < j->ir.count; i++)
        if (j->ir.ins[i].op == IR_OP_add)
            j->ir.ins[i].op = IR_OP_sub;
    return host_backend.emit(j, ir, u, at, room);
}

/* mov ecx, 20; loop: add [DATA], ecx; dec ecx; jnz loop; hlt */
static void run(const char *keys, bool wrong)
{
    static const u8 code[] = { 0xb9, 20, 0, 0, 0, 0x01, 0x0d, 0, 0, 4, 0, 0x49, 0x75, 0xf7, 0xf4 };
    struct backend backend = host_backend;
    struct jit_options o;
    char err[200];
    machine_protected();
    physmap_write(m.map, CODE, code, sizeof(code));
    ck_assert_msg(jit_options_parse(&o, keys, err, sizeof(err)), "%s", err);
    if (wrong)
        backend.emit = wrong_emit;
    ck_assert_msg(jit_new_with(C, &o, &backend, err, sizeof(err)), "%s", err);
    C->rip = CODE;
    cpu_run(C);
    ck_assert(C->halted);
    ck_assert_uint_eq(get(DATA, 4), 210);
    machine_free();
}

/* Its exit status; what it says on stdout and stderr goes into a file. */
static int in_child(const char *keys, bool wrong, const char *replay)
{
    int status;
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        if (!freopen(said, "w", stdout) || dup2(fileno(stdout), 2) < 0)
            _exit(99);
        if (replay)
            execl(replay, replay, dump, (char *)NULL);
        else
            run(keys, wrong);
        _exit(replay ? 98 : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool file_has(const char *name, const char *words)
{
    static char text[1 << 20];
    FILE *f = fopen(name, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    return strstr(text, words);
}

START_TEST(found_saved_replayed)
{
    char keys[300], replay[4096];
    int length = (int)(strrchr(program, '/') ? strrchr(program, '/') - program : 0);
    close(mkstemp(dump));
    close(mkstemp(said));
    snprintf(keys, sizeof(keys), "check=on,hot=0,sample=0,dump=%s", dump);
    snprintf(replay, sizeof(replay), "%.*s/run-check", length, program);
    run(keys, false);
    ck_assert_int_eq(in_child(keys, true, NULL), 1);
    ck_assert(file_has(said, "a unit and the interpreter differ") && file_has(said, "run-check") && file_has(said, "add"));
    ck_assert(file_has(dump, "\nrip 10000\n") && file_has(dump, "memory 40000 "));
    int replayed = in_child(keys, false, replay);
    ck_assert(replayed == 0 || replayed == 98 /* built for another machine */);
    ck_assert(replayed || (file_has(said, "no difference") && !file_has(said, "no unit is made")));
    remove(dump);
    remove(said);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *s = suite_create("jit_check");
    TCase *t = tcase_create("check");

    program = argv[0];
    if (!jit_available())
        return 77;
    tcase_set_timeout(t, 60);
    tcase_add_test(t, found_saved_replayed);
    suite_add_tcase(s, t);
    return run_suite(s);
}
