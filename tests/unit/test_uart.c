/* test_uart.c - 16550: FIFO levels, interrupt priorities, loopback, break, time-out. */
#include "device_fixture.h"
#include "devices/uart16550.h"

static struct uart16550 *uart;
static struct chardev *line;

static void out(u16 reg, u8 v) { bus_io_write(bus, 0x3f8 + reg, 1, v); }
static u8 in(u16 reg) { return (u8)bus_io_read(bus, 0x3f8 + reg, 1); }

static void setup(void)
{
    fixture_open();
    line = chardev_memory();
    uart = device_new(bus, &uart16550_class);
    uart->irq = fixture_line(4);
    uart->line = line;
    ck_assert(device_init(&uart->dev, NULL, 0));
    bus_map_io(bus, 0x3f8, 8, &uart->dev, 0);
    bus_reset(bus);
    out(4, 0x0b);       /* DTR, RTS, OUT2 */
    in(6);
}

static void teardown(void)
{
    fixture_close();
    chardev_close(line);
}

static void send(const char *s) { chardev_inject(line, (const u8 *)s, strlen(s)); }

START_TEST(transmit)
{
    size_t n;
    out(0, 'h'); out(0, 'i');
    const u8 *p = chardev_memory_output(line, &n);
    ck_assert(n == 2 && !memcmp(p, "hi", 2));
    ck_assert_uint_eq(in(5), 0x60);
}
END_TEST

START_TEST(thre_interrupt)
{
    out(1, 0x02);                       /* empty already: at once */
    ck_assert(irq_level[4]);
    ck_assert_uint_eq(in(2), 0x02);
    ck_assert(!irq_level[4]);           /* reading IIR acknowledges it */
    ck_assert_uint_eq(in(2), 0x01);
    out(0, 'x');
    ck_assert_uint_eq(in(2), 0x02);
    out(4, 0x03);                       /* OUT2 off: gated */
    out(0, 'x');
    ck_assert(!irq_level[4]);
}
END_TEST

START_TEST(receive_without_fifo)
{
    out(1, 0x01);
    send("a");
    ck_assert(irq_level[4]);
    ck_assert_uint_eq(in(2), 0x04);
    ck_assert_uint_eq(in(5) & 1, 1);
    ck_assert_uint_eq(in(0), 'a');
    send("bc");                         /* flow control towards the host: c is not taken */
    ck_assert_uint_eq(in(0), 'b');
    ck_assert(!irq_level[4]);
    ck_assert_uint_eq(in(5) & 1, 0);
    ck_assert_uint_eq(in(0), 'b');
}
END_TEST

START_TEST(fifo_trigger_and_timeout)
{
    out(2, 0x81);                       /* trigger at 8 */
    out(1, 0x01);
    send("1234567");
    ck_assert(!irq_level[4]);
    ck_assert_uint_eq(in(2), 0xc1);
    settle();
    ck_assert(irq_level[4]);
    ck_assert_uint_eq(in(2), 0xcc);
    ck_assert_uint_eq(in(0), '1');
    ck_assert_uint_eq(in(2), 0xc1);
    send("89");
    ck_assert_uint_eq(in(2), 0xc4);
    out(2, 0x83);                       /* clears the receiver */
    ck_assert_uint_eq(in(5) & 1, 0);
    ck_assert_uint_eq(in(2), 0xc1);
}
END_TEST

START_TEST(fifo_holds_sixteen)
{
    out(2, 0x01);
    send("0123456789abcdefghij");
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(in(0), (u8)"0123456789abcdef"[i]);
    ck_assert_uint_eq(in(5), 0x60);
}
END_TEST

START_TEST(loopback)
{
    out(1, 0x0d);
    out(4, 0x1b);
    ck_assert(!irq_level[4]);           /* the pin is cut off */
    ck_assert_uint_eq(in(6) & 0xf0, 0xb0);
    out(4, 0x14);
    ck_assert_uint_eq(in(6), 0x40 | 0x0b);
    out(4, 0x10);
    ck_assert_uint_eq(in(6), 0x04);     /* trailing edge of RI */
    out(0, 0x5a);
    ck_assert_uint_eq(in(5) & 1, 1);
    ck_assert_uint_eq(in(0), 0x5a);
    out(0, 1); out(0, 2);
    ck_assert_uint_eq(in(5) & 2, 2);    /* overrun */
    ck_assert_uint_eq(in(5) & 2, 0);
    out(3, 0x40);                       /* break comes back as a zero byte */
    ck_assert_uint_eq(in(5) & 0x11, 0x11);
    size_t n;
    chardev_memory_output(line, &n);
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(interrupt_priorities)
{
    out(2, 0x01);
    out(1, 0x0f);
    out(4, 0x1a);                       /* modem inputs change */
    out(0, 'x');
    out(3, 0x40);                       /* break behind the byte */
    ck_assert_uint_eq(in(2), 0xc4);
    in(0);
    ck_assert_uint_eq(in(2), 0xc6);     /* line status: the break is at the top now */
    in(5);
    in(0);
    ck_assert_uint_eq(in(2), 0xc2);
    ck_assert_uint_eq(in(2), 0xc0);
    in(6);
    ck_assert_uint_eq(in(2), 0xc1);
}
END_TEST

START_TEST(registers)
{
    out(3, 0x83);
    out(0, 0x01);
    out(1, 0x00);
    ck_assert_uint_eq(in(0), 1);
    out(3, 0x03);
    ck_assert_uint_eq(uart->divisor, 1);
    out(1, 0xff);
    ck_assert_uint_eq(in(1), 0x0f);
    out(7, 0xa5);
    ck_assert_uint_eq(in(7), 0xa5);
    ck_assert_uint_eq(in(6), 0xb0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("uart");
    TCase *t = tcase_create("uart16550");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, transmit);
    tcase_add_test(t, thre_interrupt);
    tcase_add_test(t, receive_without_fifo);
    tcase_add_test(t, fifo_trigger_and_timeout);
    tcase_add_test(t, fifo_holds_sixteen);
    tcase_add_test(t, loopback);
    tcase_add_test(t, interrupt_priorities);
    tcase_add_test(t, registers);
    suite_add_tcase(s, t);
    return fixture_run(s);
}
