/* test_options.c - the command line as data: keys and values, sizes, numbers, what options set, what they complain of,
 * names of keys. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/log.h"
#include "frontend/monitor.h"
#include "frontend/options.h"

static char err[512];
static struct options o;

/* Parses a command line that is split at blanks. */
static bool parse(const char *line)
{
    static char copy[4096];
    char *argv[64] = { "shadow86" };
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    err[0] = 0;
    return options_parse(&o, argc, argv, err, sizeof err);
}

static void good(const char *line) { ck_assert_msg(parse(line), "%s: %s", line, err); }

static void bad(const char *line, const char *why)
{
    ck_assert_msg(!parse(line), "%s was accepted", line);
    ck_assert_msg(strstr(err, why) != NULL, "%s: '%s' does not say '%s'", line, err, why);
    ck_assert_msg(!strchr(err, '\n'), "%s: more than a line", line);
}

START_TEST(keyvals)
{
    struct keyvals k;
    bool v = false;
    ck_assert(keyvals_parse(&k, "first,a=1,,2,flag,a=3,empty=", "implied", err, sizeof err));
    ck_assert_str_eq(keyvals_get(&k, "implied"), "first");
    ck_assert_str_eq(keyvals_get(&k, "a"), "3");            /* the last one */
    ck_assert_str_eq(k.at[1].value, "1,2");
    ck_assert_str_eq(keyvals_get(&k, "empty"), "");
    ck_assert_ptr_null(keyvals_get(&k, "b"));
    ck_assert(!keyvals_all_used(&k, "-x", err, sizeof err));
    ck_assert_str_eq(err, "-x: unknown key 'flag' (-h shows what there is)");
    ck_assert(keyvals_get_bool(&k, "flag", &v, err, sizeof err) && v);
    ck_assert(keyvals_all_used(&k, "-x", err, sizeof err));
    ck_assert(!keyvals_get_bool(&k, "a", &v, err, sizeof err));
    ck_assert(keyvals_get_bool(&k, "absent", &v, err, sizeof err) && v);
    ck_assert(keyvals_parse(&k, "x=off", NULL, err, sizeof err));
    ck_assert(keyvals_get_bool(&k, "x", &v, err, sizeof err) && !v);
    ck_assert(keyvals_parse(&k, "", "implied", err, sizeof err) && k.count == 0);
    ck_assert(keyvals_parse(&k, "key=a=b,,", NULL, err, sizeof err));
    ck_assert_str_eq(keyvals_get(&k, "key"), "a=b,");
    char many[1000] = "";
    for (unsigned i = 0; i < KEYVALS_MAX; i++)
        strcat(many, "k,");
    ck_assert(keyvals_parse(&k, many, NULL, err, sizeof err));
    strcat(many, "one-more");
    ck_assert(!keyvals_parse(&k, many, NULL, err, sizeof err));
}
END_TEST

START_TEST(sizes)
{
    static const struct { const char *text; u64 bytes; } sizes[] = {
        { "512", 512ull << 20 }, { "512M", 512ull << 20 }, { "1.5G", 1536ull << 20 }, { "64k", 65536 },
        { "2T", 2ull << 40 }, { "100b", 100 }, { "0", 0 }, { ".5g", 512ull << 20 },
    };
    static const char *const wrong[] = { "", "x", "-1", " 1", "1x", "1MM", "1M ", "inf", "nan", "1e300", "9999999999T",
                                         "+1" };
    u64 v;
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        ck_assert_msg(parse_size(sizes[i].text, 1 << 20, &v) && v == sizes[i].bytes, "%s", sizes[i].text);
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++)
        ck_assert_msg(!parse_size(wrong[i], 1 << 20, &v), "'%s'", wrong[i]);
}
END_TEST

START_TEST(numbers)
{
    u64 v;
    ck_assert(parse_number("0x501", 0, 0xffff, &v) && v == 0x501);
    ck_assert(parse_number("7", 7, 7, &v) && v == 7);
    ck_assert(parse_number("18446744073709551615", 0, UINT64_MAX, &v) && v == UINT64_MAX);
    ck_assert(!parse_number("18446744073709551616", 0, UINT64_MAX, &v));
    ck_assert(!parse_number("8", 0, 7, &v) && !parse_number("6", 7, 9, &v));
    ck_assert(!parse_number("", 0, 9, &v) && !parse_number("-1", 0, 9, &v) && !parse_number("1 ", 0, 9, &v));
    ck_assert(!parse_number("0xg", 0, 9, &v) && !parse_number("x", 0, 9, &v));
}
END_TEST

START_TEST(machine)
{
    good("");
    ck_assert_uint_eq(o.pc.ram_bytes, 512ull << 20);
    ck_assert_str_eq(o.pc.vga, "std");
    good("-m 64 -cpu pentium3 -smp cpus=1,cores=1,threads=1 -M pc-i440fx-7.2 --accel tcg,thread=single -no-reboot");
    ck_assert_uint_eq(o.pc.ram_bytes, 64ull << 20);
    ck_assert_str_eq(o.pc.cpu_model, "pentium3");
    ck_assert(o.pc.no_reboot);
    good("-m size=1G -icount shift=3,sleep=off -rtc base=localtime,clock=vm -vga none -machine pc,accel=kvm:tcg");
    ck_assert(o.pc.icount && o.pc.icount_shift == 3 && o.pc.rtc_localtime);
    good("-rtc base=2006-06-17T16:01:21");
    ck_assert(o.pc.rtc_offset < 0);
    good("-device isa-debug-exit,iobase=0xf4,iosize=4");
    ck_assert(o.pc.has_debug_exit && o.pc.debug_exit_port == 0xf4 && o.pc.debug_exit_size == 4);
    good("-fw_cfg opt/a,string=b,,c -fw_cfg name=opt/d,file=e");
    ck_assert(o.fw_cfg_count == 2 && !strcmp(o.fw_cfg[0].text, "b,c") && !strcmp(o.fw_cfg[1].file, "e"));
    good("-name guest=vm,debug-threads=on");
    ck_assert_str_eq(o.name, "vm");
    bad("-machine isapc", "no such machine");
    bad("-machine pc,hpet=off", "always has that");
    bad("-accel interp,foo=1", "unknown key 'foo'");
    bad("-smp cpus=2", "one CPU");
    bad("-icount sleep=on,shift=1", "idle time");
    bad("-fw_cfg name=x,file=a,string=b", "either");
}
END_TEST

START_TEST(drives)
{
    good("a.img -cdrom b.iso -fdb c.img -snapshot");
    ck_assert(o.drive_count == 3 && o.snapshot);
    ck_assert(!strcmp(o.drive[0].block.file, "a.img") && o.drive[0].index == 0 && !o.drive[0].cdrom);
    ck_assert(o.drive[1].cdrom && o.drive[1].index == 2);
    ck_assert(o.drive[1].block.readonly && o.drive[1].block.sector_size == 2048);
    ck_assert(o.drive[2].interface == DRIVE_FLOPPY && o.drive[2].index == 1);
    good("-drive file=a,,b.img,if=ide,bus=1,unit=1,format=raw,readonly=on,snapshot=on,cache=none,id=x");
    ck_assert_str_eq(o.drive[0].block.file, "a,b.img");
    ck_assert(o.drive[0].index == 3 && o.drive[0].block.readonly && o.drive[0].snapshot);
    good("-drive media=cdrom,if=ide");
    ck_assert(o.drive[0].cdrom && !o.drive[0].block.file && o.drive[0].index == -1);
    bad("-drive file=x,bus=2", "no such bus");
    bad("-hda a -hdb a -hdc a -hdd a -fda a -fdb a -hda a -hda a -hda a", "too many drives");
}
END_TEST

START_TEST(booting)
{
    good("-boot d");
    ck_assert_str_eq(o.pc.boot_order, "d");
    good("-boot order=c,once=d,menu=on,splash-time=500,strict=on");
    ck_assert(o.pc.boot_menu && o.pc.boot_menu_timeout_ms == 500);
    ck_assert_str_eq(o.pc.boot_order, "d");
    ck_assert_str_eq(o.boot_later, "c");
    good("-kernel k -initrd i -append x");
    bad("-boot ad,menu=perhaps", "must be on or off");
    bad("-boot aa", "twice");
}
END_TEST

START_TEST(host)
{
    good("-serial null -monitor none -gdb tcp::5,arch=i386,wait=on -d int -D log -pidfile p -S -daemonize "
         "-serial none -debugcon null -nodefaults -no-shutdown -display none");
    ck_assert(o.serial_count == 2 && o.start_paused && o.daemonize && o.no_shutdown);
    ck_assert_str_eq(o.gdb, "tcp::5,wait=on");
    ck_assert_str_eq(o.gdb_arch, "i386");
    good("-s");
    ck_assert_str_eq(o.gdb, "tcp::1234");
    bad("-serial a -serial a -serial a -serial a -serial a", "four serial ports");
    bad("-nographic -daemonize", "-daemonize");
    bad("-serial", "needs an argument");
    bad("-nonsense", "unknown option -nonsense");
    bad("-enable-kvm", "pure software");
    log_mask = 0;
}
END_TEST

START_TEST(key_names)
{
    u16 codes[4];
    const char *wrong = NULL;
    ck_assert_uint_eq(keys_parse("ctrl-alt-delete", codes, 4, &wrong), 3);
    ck_assert(codes[0] == 0x1d && codes[1] == 0x38 && codes[2] == 0xe053);
    ck_assert(keys_parse("a", codes, 4, &wrong) == 1 && codes[0] == 0x1e);
    ck_assert(keys_parse("0xe05b-r", codes, 4, &wrong) == 2 && codes[0] == 0xe05b);
    ck_assert(keys_parse("shift-nosuch", codes, 4, &wrong) == 0 && !strcmp(wrong, "nosuch"));
    ck_assert_uint_eq(keys_parse("a-b-c-d-e-f", codes, 4, &wrong), 4);
    ck_assert_uint_eq(keys_parse("", codes, 4, &wrong), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("options");
    TCase *t = tcase_create("options");
    tcase_add_test(t, keyvals);
    tcase_add_test(t, sizes);
    tcase_add_test(t, numbers);
    tcase_add_test(t, machine);
    tcase_add_test(t, drives);
    tcase_add_test(t, booting);
    tcase_add_test(t, host);
    tcase_add_test(t, key_names);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
