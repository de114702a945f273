/* test_i8042.c - keyboard controller, keyboard scan codes and commands, mouse packets. */
#include "device_fixture.h"
#include "devices/i8042.h"

static struct i8042 *kbc;
static bool a20;
static unsigned resets;

static void set_a20(void *ctx, int n, bool level) { a20 = level; }
static void on_reset(void *ctx) { resets++; }
static void data(u8 v) { bus_io_write(bus, 0x60, 1, v); }
static void command(u8 v) { bus_io_write(bus, 0x64, 1, v); }
static u8 status(void) { return (u8)bus_io_read(bus, 0x64, 1); }

static void setup(void)
{
    fixture_open();
    resets = 0;
    kbc = device_new(bus, &i8042_class);
    kbc->irq1 = fixture_line(1);
    kbc->irq12 = fixture_line(12);
    kbc->a20 = (struct irq){ set_a20, NULL, 0 };
    kbc->a20_state = &a20;
    kbc->reset_request = on_reset;
    ck_assert(device_init(&kbc->dev, NULL, 0));
    bus_map_io(bus, 0x60, 1, &kbc->dev, I8042_REGION_DATA);
    bus_map_io(bus, 0x64, 1, &kbc->dev, I8042_REGION_COMMAND);
    bus_reset(bus);
}

/* All bytes that come, as text; bytes of the mouse are marked with m. */
static const char *bytes(void)
{
    static char text[256];
    text[0] = 0;
    for (unsigned i = 0; i < 40; i++) {
        if (!(status() & 1)) {
            settle();
            if (!(status() & 1))
                break;
        }
        bool aux = status() & 0x20;
        sprintf(text + strlen(text), "%s%02x ", aux ? "m" : "", (u8)bus_io_read(bus, 0x60, 1));
    }
    return text;
}

START_TEST(controller_commands)
{
    command(0xaa);
    ck_assert_str_eq(bytes(), "55 ");
    ck_assert_uint_eq(status() & 4, 4);
    command(0x20);
    ck_assert_str_eq(bytes(), "74 ");
    command(0x60); data(0x47);
    command(0x20);
    ck_assert_str_eq(bytes(), "47 ");
    ck_assert(irq_edges[1] > 0);
    command(0xab);
    ck_assert_str_eq(bytes(), "00 ");
    command(0xa9);
    ck_assert_str_eq(bytes(), "00 ");
    command(0xa7);
    command(0x20);
    ck_assert_str_eq(bytes(), "67 ");
    command(0xa8);
    command(0x20);
    ck_assert_str_eq(bytes(), "47 ");
    command(0xd2); data(0x99);
    ck_assert_str_eq(bytes(), "99 ");
    command(0xd3); data(0x98);
    ck_assert_str_eq(bytes(), "m98 ");
    command(0x73); data(0x12);      /* internal RAM */
    command(0x33);
    ck_assert_str_eq(bytes(), "12 ");
}
END_TEST

START_TEST(a20_and_reset)
{
    ck_assert(a20);
    command(0xd1); data(0xdd);
    ck_assert(!a20);
    command(0xd0);
    ck_assert_str_eq(bytes(), "c1 ");
    command(0xdf);
    ck_assert(a20);
    ck_assert_uint_eq(resets, 0);
    command(0xff);
    ck_assert_uint_eq(resets, 0);
    command(0xfe);
    ck_assert_uint_eq(resets, 1);
    command(0xd1); data(0xde);
    ck_assert_uint_eq(resets, 2);
}
END_TEST

START_TEST(keys_set1_translated)
{
    ps2_keyboard_key(&kbc->keyboard, 0x1e, true);
    ps2_keyboard_key(&kbc->keyboard, 0x1e, false);
    ck_assert(irq_level[1]);
    ck_assert_str_eq(bytes(), "1e 9e ");
    ps2_keyboard_key(&kbc->keyboard, 0xe048, true);
    ps2_keyboard_key(&kbc->keyboard, 0xe048, false);
    ck_assert_str_eq(bytes(), "e0 48 e0 c8 ");
    ps2_keyboard_key(&kbc->keyboard, 0x41, true);       /* F7: 83h in set 2 */
    ps2_keyboard_key(&kbc->keyboard, 0x41, false);
    ck_assert_str_eq(bytes(), "41 c1 ");
    ps2_keyboard_key(&kbc->keyboard, 0xe11d, true);     /* Pause */
    ps2_keyboard_key(&kbc->keyboard, 0xe11d, false);
    ck_assert_str_eq(bytes(), "e1 1d 45 e1 9d c5 ");
    ps2_keyboard_key(&kbc->keyboard, 0xe037, true);     /* Print Screen */
    ps2_keyboard_key(&kbc->keyboard, 0xe037, false);
    ck_assert_str_eq(bytes(), "e0 2a e0 37 e0 b7 e0 aa ");
    ck_assert(!irq_level[1]);
}
END_TEST

START_TEST(every_key_translates_back)
{
    for (u16 k = 1; k < 0x59; k++) {
        char want[16];
        if (k == 0x55)
            continue;               /* no key */
        ps2_keyboard_key(&kbc->keyboard, k, true);
        ps2_keyboard_key(&kbc->keyboard, k, false);
        sprintf(want, "%02x %02x ", k, k | 0x80);
        ck_assert_str_eq(bytes(), want);
    }
}
END_TEST

START_TEST(keys_sets_2_and_3)
{
    command(0x60); data(0x01);      /* no translation */
    ps2_keyboard_key(&kbc->keyboard, 0x1e, true);
    ps2_keyboard_key(&kbc->keyboard, 0x1e, false);
    ps2_keyboard_key(&kbc->keyboard, 0xe038, false);
    ck_assert_str_eq(bytes(), "1c f0 1c e0 f0 11 ");
    data(0xf0); data(0x03);
    ck_assert_str_eq(bytes(), "fa fa ");
    ps2_keyboard_key(&kbc->keyboard, 0x1e, true);
    ps2_keyboard_key(&kbc->keyboard, 0x1e, false);
    ps2_keyboard_key(&kbc->keyboard, 0x2a, true);
    ps2_keyboard_key(&kbc->keyboard, 0x2a, false);
    ck_assert_str_eq(bytes(), "1c 12 f0 12 ");
    data(0xfc); data(0x1c); data(0xf4);
    /* the first is in the output buffer; enabling empties the queue behind it */
    ck_assert_str_eq(bytes(), "fa fa ");
    ps2_keyboard_key(&kbc->keyboard, 0x1e, false);
    ck_assert_str_eq(bytes(), "f0 1c ");
    data(0xf0); data(0x00);
    ck_assert_str_eq(bytes(), "fa fa 03 ");
}
END_TEST

START_TEST(keyboard_commands)
{
    command(0x60); data(0x01);
    data(0xff);
    ck_assert_str_eq(bytes(), "fa aa ");
    data(0xf2);
    ck_assert_str_eq(bytes(), "fa ab 83 ");
    data(0xee);
    ck_assert_str_eq(bytes(), "ee ");
    data(0xfe);
    ck_assert_str_eq(bytes(), "ee ");
    data(0xed); data(0x02);
    ck_assert_str_eq(bytes(), "fa fa ");
    ck_assert_uint_eq(kbc->keyboard.leds, 2);
    data(0xed);
    ck_assert_str_eq(bytes(), "fa ");
    data(0xf4);                     /* a command instead of the parameter */
    ck_assert_str_eq(bytes(), "fa ");
    data(0x02);
    ck_assert_str_eq(bytes(), "fe ");
    data(0xf3); data(0x00);
    ck_assert_str_eq(bytes(), "fa fa ");
    data(0xf5);
    ps2_keyboard_key(&kbc->keyboard, 0x1e, true);
    ck_assert_str_eq(bytes(), "fa ");
    data(0x01);
    ck_assert_str_eq(bytes(), "fe ");
}
END_TEST

START_TEST(queue_overflow_keeps_codes_whole)
{
    for (unsigned i = 0; i < 500; i++) {
        ps2_keyboard_key(&kbc->keyboard, 0xe048, true);
        ps2_keyboard_key(&kbc->keyboard, 0xe048, false);
    }
    data(0xee);
    const char *t = bytes();
    ck_assert_int_eq(strncmp(t, "e0 48 e0 c8 ", 12), 0);
    for (unsigned i = 0; i < 1000; i++)
        data(0xf2);
}
END_TEST

START_TEST(mouse_packets)
{
    command(0xd4); data(0xff);
    ck_assert_str_eq(bytes(), "mfa maa m00 ");
    command(0xd4); data(0xf4);
    ck_assert_str_eq(bytes(), "mfa ");
    ps2_mouse_move(&kbc->mouse, 3, 2, 0, 1);
    ck_assert_str_eq(bytes(), "m29 m03 mfe ");
    ck_assert(irq_edges[12] == 0);
    command(0x60); data(0x43);
    ps2_mouse_move(&kbc->mouse, -300, 0, 0, 0);         /* more than a packet holds */
    ck_assert_str_eq(bytes(), "m18 m81 m00 m18 m81 m00 m18 md2 m00 ");
    ck_assert(irq_edges[12] > 0);
    command(0xd4); data(0xe9);
    ck_assert_str_eq(bytes(), "mfa m20 m02 m64 ");
    command(0xd4); data(0xe1);
    ck_assert_str_eq(bytes(), "mfc ");
}
END_TEST

START_TEST(mouse_wheel)
{
    static const u8 knock[] = { 0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2 };
    for (unsigned i = 0; i < sizeof knock; i++) {
        command(0xd4); data(knock[i]);
    }
    ck_assert_str_eq(bytes(), "mfa mfa m03 ");      /* each command ends the answer to the one before */
    command(0xd4); data(0xf4);
    bytes();
    ps2_mouse_move(&kbc->mouse, 0, 0, -1, 4);
    ck_assert_str_eq(bytes(), "m0c m00 m00 mff ");
    static const u8 knock5[] = { 0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2 };
    for (unsigned i = 0; i < sizeof knock5; i++) {
        command(0xd4); data(knock5[i]);
    }
    ck_assert_str_eq(bytes(), "mfa mfa m04 ");
    ps2_mouse_move(&kbc->mouse, 0, 0, 1, 8 | 16);
    ck_assert_str_eq(bytes(), "m08 m00 m00 m31 ");
    command(0xd4); data(0xf0);                          /* remote mode: only when asked */
    bytes();
    ps2_mouse_move(&kbc->mouse, 1, 0, 0, 0);
    ck_assert_str_eq(bytes(), "");
    command(0xd4); data(0xeb);
    ck_assert_str_eq(bytes(), "mfa m08 m01 m00 m00 ");
    command(0xd4); data(0xee);                          /* wrap */
    ck_assert_str_eq(bytes(), "mfa ");
    command(0xd4); data(0x55);
    ck_assert_str_eq(bytes(), "m55 ");
    command(0xd4); data(0xec);
    ck_assert_str_eq(bytes(), "mfa ");
}
END_TEST

START_TEST(interfaces_can_be_disabled)
{
    command(0xad);
    ps2_keyboard_key(&kbc->keyboard, 0x1e, true);
    ck_assert_str_eq(bytes(), "");
    command(0xae);
    ck_assert_str_eq(bytes(), "1e ");
    ck_assert_uint_eq(bus_io_read(bus, 0x60, 1), 0x1e);     /* the last byte stays readable */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("i8042");
    TCase *t = tcase_create("i8042");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_add_test(t, controller_commands);
    tcase_add_test(t, a20_and_reset);
    tcase_add_test(t, keys_set1_translated);
    tcase_add_test(t, every_key_translates_back);
    tcase_add_test(t, keys_sets_2_and_3);
    tcase_add_test(t, keyboard_commands);
    tcase_add_test(t, queue_overflow_keeps_codes_whole);
    tcase_add_test(t, mouse_packets);
    tcase_add_test(t, mouse_wheel);
    tcase_add_test(t, interfaces_can_be_disabled);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
