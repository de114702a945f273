/* test_i8259.c - the interrupt controller pair: priorities, cascade, EOI forms, modes, spurious vectors. */
#include "device_fixture.h"
#include "devices/i8259.h"

static struct i8259 *pic;

static void out(u16 port, u8 v) { bus_io_write(bus, port, 1, v); }
static u8 in(u16 port) { return (u8)bus_io_read(bus, port, 1); }

static void program(u8 icw4)
{
    out(0x20, 0x11); out(0x21, 0x08); out(0x21, 0x04); out(0x21, icw4); out(0x21, 0x00);
    out(0xa0, 0x11); out(0xa1, 0x70); out(0xa1, 0x02); out(0xa1, 0x01); out(0xa1, 0x00);
}

static void setup(void)
{
    fixture_open();
    pic = device_new(bus, &i8259_class);
    pic->intr = fixture_line(0);
    bus_map_io(bus, 0x20, 2, &pic->dev, I8259_REGION_MASTER);
    bus_map_io(bus, 0xa0, 2, &pic->dev, I8259_REGION_SLAVE);
    bus_map_io(bus, 0x4d0, 2, &pic->dev, I8259_REGION_ELCR);
    bus_reset(bus);
    program(0x01);
}

static void pulse(unsigned line) { i8259_set(pic, line, true); }

START_TEST(priority_and_nesting)
{
    pulse(3);
    pulse(1);
    ck_assert(irq_level[0]);
    ck_assert_uint_eq(i8259_ack(pic), 0x09);
    ck_assert(!irq_level[0]);           /* 3 waits for 1 */
    pulse(0);
    ck_assert(irq_level[0]);
    ck_assert_uint_eq(i8259_ack(pic), 0x08);
    out(0x20, 0x20);                    /* non-specific: 0 */
    ck_assert(!irq_level[0]);
    out(0x20, 0x61);                    /* specific: 1 */
    ck_assert_uint_eq(i8259_ack(pic), 0x0b);
}
END_TEST

START_TEST(cascade)
{
    pulse(10);
    ck_assert_uint_eq(i8259_ack(pic), 0x72);
    out(0x20, 0x0b);
    ck_assert_uint_eq(in(0x20), 0x04);
    out(0xa0, 0x0b);
    ck_assert_uint_eq(in(0xa0), 0x04);
    pulse(8);
    ck_assert(!irq_level[0]);           /* the master holds its input 2 back until it has been EOIed */
    out(0x20, 0x20);
    ck_assert_uint_eq(i8259_ack(pic), 0x70);
    out(0xa0, 0x20);
    out(0x20, 0x20);
    out(0xa0, 0x20);
    ck_assert(!irq_level[0]);
}
END_TEST

START_TEST(edge_needs_an_edge)
{
    pulse(4);
    ck_assert_uint_eq(i8259_ack(pic), 0x0c);
    out(0x20, 0x20);
    ck_assert(!irq_level[0]);
    i8259_set(pic, 4, true);
    ck_assert(!irq_level[0]);
    i8259_set(pic, 4, false);
    i8259_set(pic, 4, true);
    ck_assert(irq_level[0]);
}
END_TEST

START_TEST(level_repeats)
{
    out(0x4d1, 0xff);
    ck_assert_uint_eq(in(0x4d1), 0xde);     /* IRQ 8 and 13 cannot be level-triggered */
    pulse(11);
    ck_assert_uint_eq(i8259_ack(pic), 0x73);
    out(0xa0, 0x20);
    out(0x20, 0x20);
    ck_assert(irq_level[0]);
    i8259_set(pic, 11, false);
    ck_assert(!irq_level[0]);
}
END_TEST

START_TEST(spurious)
{
    pulse(5);
    i8259_set(pic, 5, false);
    ck_assert_uint_eq(i8259_ack(pic), 0x0f);
    out(0x20, 0x0b);
    ck_assert_uint_eq(in(0x20), 0);         /* not in service */
    out(0xa1, 0x00);
    pulse(9);
    pic->chip[1].irr = 0;                   /* the request vanishes between the two INTA cycles */
    ck_assert_uint_eq(i8259_ack(pic), 0x77);
    out(0x20, 0x0b);
    ck_assert_uint_eq(in(0x20), 4);
}
END_TEST

START_TEST(masks)
{
    out(0x21, 0x02);
    pulse(1);
    ck_assert(!irq_level[0]);
    ck_assert(!i8259_waiting(pic, 1));
    out(0x20, 0x0a);
    ck_assert_uint_eq(in(0x20), 0x02);
    ck_assert_uint_eq(in(0x21), 0x02);
    out(0x21, 0x00);
    ck_assert(irq_level[0] && i8259_waiting(pic, 1));
}
END_TEST

START_TEST(rotation)
{
    pulse(0);
    i8259_ack(pic);
    out(0x20, 0xa0);                        /* rotate on EOI: 0 is the lowest now */
    i8259_set(pic, 0, false);
    pulse(0);
    pulse(7);
    ck_assert_uint_eq(i8259_ack(pic), 0x0f);
    out(0x20, 0x20);
    out(0x20, 0xc3);                        /* set priority: 3 lowest, 4 highest */
    pulse(4);
    ck_assert_uint_eq(i8259_ack(pic), 0x0c);
}
END_TEST

START_TEST(automatic_eoi)
{
    program(0x03);
    pulse(1);
    ck_assert_uint_eq(i8259_ack(pic), 0x09);
    out(0x20, 0x0b);
    ck_assert_uint_eq(in(0x20), 0);
}
END_TEST

START_TEST(special_mask)
{
    pulse(1);
    i8259_ack(pic);
    pulse(4);
    ck_assert(!irq_level[0]);
    out(0x21, 0x02);                        /* mask 1 while it is in service, then open the lower ones */
    out(0x20, 0x68);
    ck_assert(irq_level[0]);
    ck_assert_uint_eq(i8259_ack(pic), 0x0c);
}
END_TEST

START_TEST(poll)
{
    out(0x20, 0x0c);
    ck_assert_uint_eq(in(0x20), 0);
    pulse(6);
    out(0x20, 0x0c);
    ck_assert_uint_eq(in(0x20), 0x86);
    out(0x20, 0x0b);
    ck_assert_uint_eq(in(0x20), 0x40);
}
END_TEST

START_TEST(initialisation_forgets_edges)
{
    pulse(1);
    program(0x01);
    ck_assert(!irq_level[0]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("i8259");
    TCase *t = tcase_create("i8259");
    tcase_add_checked_fixture(t, setup, fixture_close);
    tcase_add_test(t, priority_and_nesting);
    tcase_add_test(t, cascade);
    tcase_add_test(t, edge_needs_an_edge);
    tcase_add_test(t, level_repeats);
    tcase_add_test(t, spurious);
    tcase_add_test(t, masks);
    tcase_add_test(t, rotation);
    tcase_add_test(t, automatic_eoi);
    tcase_add_test(t, special_mask);
    tcase_add_test(t, poll);
    tcase_add_test(t, initialisation_forgets_edges);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
