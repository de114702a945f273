/* test_pc.c - the whole machine with a firmware of a few bytes: power-off, resets, exit states, HLT, pause, both
 * clocks.
 *
 * Each case writes a 64 KiB ROM whose code starts at f000:0000 (the reset vector jumps there) and runs until the
 * machine's exit state says how it ended. The main loop is the one below. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "devices/pc.h"

enum { ROM = 65536, TEST_PORT = 0xf4 };

static char dir[64], rom_path[96], err[256];
static struct pc_config cfg;
static const char *const no_dirs[] = { NULL };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken;
static bool wake_seen;

static void wake(void *ctx)
{
    pthread_mutex_lock(&mutex);
    wake_seen = true;
    pthread_cond_signal(&woken);
    pthread_mutex_unlock(&mutex);
}

static void setup(void)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&woken, &a);
    strcpy(dir, "/tmp/shadow86-pc-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(rom_path, sizeof rom_path, "%s/rom", dir);
    cfg = (struct pc_config){ .ram_bytes = 4 << 20, .bios_file = rom_path, .bios_dirs = no_dirs, .vga = "none",
                              .has_debug_exit = true, .debug_exit_port = TEST_PORT, .debug_exit_size = 4,
                              .cpu_model = "qemu64" };
}

static void teardown(void)
{
    unlink(rom_path);
    rmdir(dir);
}

static void write_rom(const u8 *code, size_t n)
{
    static u8 rom[ROM];
    memset(rom, 0xf4, sizeof rom);
    memcpy(rom, code, n);
    memcpy(rom + 0xfff0, (const u8[]){ 0xea, 0x00, 0x00, 0x00, 0xf0 }, 5);
    FILE *f = fopen(rom_path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(rom, 1, ROM, f), ROM);
    fclose(f);
}

static void sleep_ns(u64 ns)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    if (ns > NS_PER_SEC)
        ns = NS_PER_SEC;
    ts.tv_nsec += (long)ns;
    ts.tv_sec += ts.tv_nsec / (long)NS_PER_SEC;
    ts.tv_nsec %= (long)NS_PER_SEC;
    pthread_mutex_lock(&mutex);
    if (!wake_seen)
        pthread_cond_timedwait(&woken, &mutex, &ts);
    wake_seen = false;
    pthread_mutex_unlock(&mutex);
}

static struct pc *start(const u8 *code, size_t n)
{
    write_rom(code, n);
    struct pc *pc = pc_new(&cfg, err, sizeof err);
    ck_assert_msg(pc != NULL, "%s", err);
    pc_set_wake(pc, wake, NULL);
    ck_assert_msg(pc_start(pc, err, sizeof err), "%s", err);
    return pc;
}

static enum pc_exit loop(struct pc *pc, int *status)
{
    enum pc_exit e;
    while ((e = pc_exit_state(pc, status)) == PC_RUNNING)
        sleep_ns(pc_run_timers(pc));
    return e;
}

static void expect(const u8 *code, size_t n, enum pc_exit want, int want_status)
{
    int status = -1;
    struct pc *pc = start(code, n);
    ck_assert_int_eq(loop(pc, &status), want);
    ck_assert_int_eq(status, want_status);
    pc_free(pc);
}
#define EXPECT(code, exit, status) expect(code, sizeof(code), exit, status)

START_TEST(debug_exit)
{
    static const u8 code[] = { 0xb0, 0x10, 0xe6, TEST_PORT, 0xf4 };         /* mov al, 16; out f4, al */
    EXPECT(code, PC_DEBUG_EXIT, 33);
}
END_TEST

/* dx = cf8; eax = 80000b00 | reg; out dx, eax; dx = cfc; eax = value; out dx, eax */
#define PCI_WRITE(reg, value) \
    0x66, 0xba, 0xf8, 0x0c, 0, 0, 0x66, 0xb8, reg, 0x0b, 0x00, 0x80, 0x66, 0xef, \
    0x66, 0xba, 0xfc, 0x0c, 0, 0, 0x66, 0xb8, (value) & 0xff, (value) >> 8, 0, 0, 0x66, 0xef

START_TEST(power_off)
{
    static const u8 code[] = { PCI_WRITE(0x40, 0x601), PCI_WRITE(0x80, 1),
                               0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4 };   /* PM1 control: SLP_EN */
    EXPECT(code, PC_POWEROFF, 0);
}
END_TEST

START_TEST(reset_ports_end_the_run)
{
    static const u8 cf9[] = { 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xeb, 0xfe };
    static const u8 kbc[] = { 0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe };
    static const u8 port92[] = { 0xb0, 0x03, 0xe6, 0x92, 0xeb, 0xfe };
    cfg.no_reboot = true;
    EXPECT(cf9, PC_RESET_EXIT, 0);
    EXPECT(kbc, PC_RESET_EXIT, 0);
    EXPECT(port92, PC_RESET_EXIT, 0);
}
END_TEST

/* Triple fault: an IDT with limit 0 and an undefined instruction. Needs an IDT register in memory: f000:0040. */
START_TEST(triple_fault)
{
    static const u8 code[0x48] = { 0x2e, 0x0f, 0x01, 0x1e, 0x40, 0x00, 0x0f, 0x0b, 0xf4 };
    cfg.no_reboot = true;
    EXPECT(code, PC_TRIPLE_FAULT, 0);
}
END_TEST

/* The second time through, CMOS 40h holds 55h: exit with 3. First it is set and the machine is reset by `how`. */
#define ONCE(...) { 0xb0, 0x40, 0xe6, 0x70, 0xe4, 0x71, 0x3c, 0x55, 0x75, 0x05, 0xb0, 0x01, 0xe6, TEST_PORT, 0xf4, \
                    0xb0, 0x55, 0xe6, 0x71, __VA_ARGS__, 0xeb, 0xfe }

START_TEST(resets_restart_the_cpu)
{
    static const u8 cf9[] = ONCE(0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee);
    static const u8 soft[] = ONCE(0xb0, 0xfe, 0xe6, 0x64);
    EXPECT(cf9, PC_DEBUG_EXIT, 3);
    EXPECT(soft, PC_DEBUG_EXIT, 3);
}
END_TEST

START_TEST(soft_reset_with_a20_off)
{
    static const u8 code[] = ONCE(0xb0, 0x00, 0xe6, 0x92, 0xb0, 0xfe, 0xe6, 0x64);
    EXPECT(code, PC_DEBUG_EXIT, 3);
}
END_TEST

/* Programs the PIC and the PIT at about 1 kHz, halts until 20 ticks have come. The handler is at f000:0060. */
static const u8 ticks[] = {
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70,                       /* ds = ss = 0, sp = 7000 */
    0xc7, 0x06, 0x20, 0x00, 0x60, 0x00, 0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0,     /* vector 8 = f000:0060 */
    0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6,
        0x21,
    0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40,     /* counter 0, mode 2, 1193 */
    0xb9, 0x14, 0x00, 0xfb,                                                     /* cx = 20; sti */
    0xf4, 0x83, 0xf9, 0x00, 0x75, 0xfa,                                         /* hlt; cmp cx, 0; jne */
    0xb0, 0x02, 0xe6, TEST_PORT, 0xf4,
    [0x60] = 0x49, 0xb0, 0x20, 0xe6, 0x20, 0xcf,                                /* dec cx; EOI; iret */
};

START_TEST(timer_wakes_hlt)
{
    EXPECT(ticks, PC_DEBUG_EXIT, 5);
}
END_TEST

START_TEST(instruction_clock_is_repeatable)
{
    u64 count[2];
    cfg.icount = true;
    cfg.icount_shift = 3;
    cfg.rtc_offset = 0;
    for (unsigned i = 0; i < 2; i++) {
        int status;
        struct pc *pc = start(ticks, sizeof ticks);
        ck_assert_int_eq(loop(pc, &status), PC_DEBUG_EXIT);
        pc_pause(pc);
        count[i] = cpu_icount(pc_cpu(pc));
        pc_free(pc);
    }
    ck_assert_uint_eq(count[0], count[1]);
}
END_TEST

START_TEST(pause_and_resume)
{
    static const u8 spin[] = { 0xeb, 0xfe };
    struct pc *pc = start(spin, sizeof spin);
    for (unsigned i = 0; i < 50; i++) {
        pc_pause(pc);
        ck_assert(pc_is_paused(pc));
        u64 n = cpu_icount(pc_cpu(pc));
        ck_assert_uint_eq(cpu_icount(pc_cpu(pc)), n);
        ck_assert_uint_eq(pc_run_timers(pc), TIMER_NEVER);
        pc_resume(pc);
    }
    pc_reset(pc);
    machine_lock();                 /* the monitor calls with the lock held */
    pc_pause(pc);
    ck_assert(machine_locked_by_me());
    pc_resume(pc);
    machine_unlock();
    pc_quit(pc);
    int status;
    ck_assert_int_eq(loop(pc, &status), PC_QUIT);
    pc_free(pc);
}
END_TEST

START_TEST(starts_paused)
{
    static const u8 code[] = { 0xb0, 0x00, 0xe6, TEST_PORT, 0xf4 };
    write_rom(code, sizeof code);
    struct pc *pc = pc_new(&cfg, err, sizeof err);
    ck_assert_ptr_nonnull(pc);
    pc_pause(pc);
    ck_assert(pc_start(pc, err, sizeof err));
    ck_assert(pc_is_paused(pc));
    ck_assert_uint_eq(cpu_icount(pc_cpu(pc)), 0);
    pc_resume(pc);
    int status;
    ck_assert_int_eq(loop(pc, &status), PC_DEBUG_EXIT);
    pc_free(pc);
}
END_TEST

START_TEST(bad_configurations)
{
    cfg.ram_bytes = 12345;
    ck_assert_ptr_null(pc_new(&cfg, err, sizeof err));
    ck_assert(strlen(err) > 0);
    cfg.ram_bytes = 4 << 20;
    cfg.cpu_model = "z80";
    ck_assert_ptr_null(pc_new(&cfg, err, sizeof err));
    cfg.cpu_model = NULL;
    unlink(rom_path);
    ck_assert_ptr_null(pc_new(&cfg, err, sizeof err));
    ck_assert_ptr_nonnull(strstr(err, rom_path));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pc");
    TCase *t = tcase_create("pc");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, debug_exit);
    tcase_add_test(t, power_off);
    tcase_add_test(t, reset_ports_end_the_run);
    tcase_add_test(t, triple_fault);
    tcase_add_test(t, resets_restart_the_cpu);
    tcase_add_test(t, soft_reset_with_a20_off);
    tcase_add_test(t, timer_wakes_hlt);
    tcase_add_test(t, instruction_clock_is_repeatable);
    tcase_add_test(t, pause_and_resume);
    tcase_add_test(t, starts_paused);
    tcase_add_test(t, bad_configurations);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
