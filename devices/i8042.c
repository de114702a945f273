/* i8042.c - keyboard controller of the PC/AT and PS/2.
 *
 * IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller". One output buffer: the controller's own
 * answers go first, then the keyboard's bytes, then the mouse's, each only while its interface is enabled. After a
 * byte of a device has been read the next one follows 250 us later (a real one takes about a millisecond on the
 * wire), since interrupt handlers of DOS programs read port 60 twice. The input buffer is never full: commands act at
 * once.
 */
#include "devices/i8042.h"

#include <stdio.h>

#include "devices/ps2_translate.h"

enum { STATUS_OBF = 0x01, STATUS_SYSTEM = 0x04, STATUS_COMMAND = 0x08, STATUS_UNLOCKED = 0x10, STATUS_AUX = 0x20 };
enum { CB_IRQ1 = 0x01, CB_IRQ12 = 0x02, CB_SYSTEM = 0x04, CB_KEYBOARD_OFF = 0x10, CB_AUX_OFF = 0x20,
       CB_TRANSLATE = 0x40 };
enum { OUT_RESET = 0x01, OUT_A20 = 0x02, OUT_OBF = 0x10, OUT_AUX_OBF = 0x20,
       OUT_IDLE = 0xc0 /* clock and data high */ };
enum { INPUT_PORT = 0xb0 /* keyboard not locked, colour display, no manufacturing jumper */ };
enum { CMD_READ_RAM = 0x20, CMD_WRITE_RAM = 0x60, CMD_PASSWORD_TEST = 0xa4, CMD_AUX_OFF = 0xa7, CMD_AUX_ON = 0xa8,
       CMD_AUX_TEST = 0xa9, CMD_SELF_TEST = 0xaa, CMD_KEYBOARD_TEST = 0xab, CMD_KEYBOARD_OFF = 0xad,
       CMD_KEYBOARD_ON = 0xae,
       CMD_READ_INPUT = 0xc0, CMD_READ_OUTPUT = 0xd0, CMD_WRITE_OUTPUT = 0xd1, CMD_WRITE_KEYBOARD_BUFFER = 0xd2,
       CMD_WRITE_AUX_BUFFER = 0xd3, CMD_WRITE_AUX = 0xd4, CMD_A20_OFF = 0xdd, CMD_A20_ON = 0xdf, CMD_TEST_INPUTS = 0xe0,
       CMD_PULSE = 0xf0 };
enum { PASSWORD_NONE = 0xf1, SELF_TEST_OK = 0x55 };
#define BYTE_PAUSE_NS 250000u

static void drive(struct i8042 *k)
{
    bool full = k->status & STATUS_OBF, aux = k->status & STATUS_AUX;
    irq_set(k->irq1, full && !aux && (k->ram[0] & CB_IRQ1));
    irq_set(k->irq12, full && aux && (k->ram[0] & CB_IRQ12));
}

static void put(struct i8042 *k, u8 v, bool aux)
{
    k->data = v;
    k->status = (u8)((k->status & ~STATUS_AUX) | STATUS_OBF | (aux ? STATUS_AUX : 0));
}

/* Set 2 to set 1 on the fly; false: the byte is a prefix and nothing goes out yet. */
static bool translate(struct i8042 *k, u8 *v)
{
    if (!(k->ram[0] & CB_TRANSLATE))
        return true;
    if (*v == 0xf0) {
        k->break_prefix = true;
        return false;
    }
    if (*v < 0x80)
        *v = ps2_set2_to_set1[*v];
    else if (*v == 0x83)
        *v = 0x41;
    else if (*v == 0x84)
        *v = 0x54;
    else if (*v >= 0xe0)        /* E0, E1 stand before the F0 that a break code contains; answers pass unchanged */
        return true;
    if (k->break_prefix)
        *v |= 0x80;
    k->break_prefix = false;
    return true;
}

static bool take_keyboard(struct i8042 *k)
{
    u8 v;
    while (!(k->ram[0] & CB_KEYBOARD_OFF) && ps2_get(&k->keyboard.queue, &v)) {
        if (!translate(k, &v))
            continue;
        put(k, v, false);
        return k->from_device = true;
    }
    return false;
}

static bool take_mouse(struct i8042 *k)
{
    u8 v;
    if ((k->ram[0] & CB_AUX_OFF) || !ps2_get(&k->mouse.queue, &v))
        return false;
    put(k, v, true);
    return k->from_device = true;
}

/* Fills the output buffer if it is empty. */
static void refill(struct i8042 *k)
{
    if (!(k->status & STATUS_OBF)) {
        if (k->answer_count) {
            put(k, k->answers[0], false);
            k->answer_count--;
            memmove(k->answers, k->answers + 1, k->answer_count);
        } else if (!timer_armed(&k->timer) && !take_keyboard(k)) {
            take_mouse(k);
        }
    }
    drive(k);
}

static void ready(void *ctx)
{
    refill(ctx);
}

static void answer(struct i8042 *k, u8 v)
{
    if (k->answer_count < sizeof k->answers)
        k->answers[k->answer_count++] = v;
    refill(k);
}

static u8 data_read(struct i8042 *k)
{
    if (!(k->status & STATUS_OBF))
        return k->data;
    u8 v = k->data;                     /* refill may put the next one there */
    bool device = k->from_device, aux = k->status & STATUS_AUX;
    k->status &= (u8)~(STATUS_OBF | STATUS_AUX);
    k->from_device = false;
    drive(k);
    if (device)
        timer_set(&k->timer, clock_now(k->dev.clock) + BYTE_PAUSE_NS);
    if (aux && !k->mouse.queue.count)
        ps2_mouse_drained(&k->mouse);
    refill(k);
    return v;
}

/* ------------------------------------------------------------------------------------------------ commands ----- */

static u8 output_port(const struct i8042 *k)
{
    u8 v = OUT_RESET | OUT_IDLE | (*k->a20_state ? OUT_A20 : 0);
    if (k->status & STATUS_OBF)
        v |= k->status & STATUS_AUX ? OUT_AUX_OBF : OUT_OBF;
    return v;
}

static void output_write(struct i8042 *k, u8 v)
{
    irq_set(k->a20, v & OUT_A20);
    if (!(v & OUT_RESET))
        k->reset_request(k->reset_ctx);
}

static void command_byte_write(struct i8042 *k, u8 v)
{
    k->ram[0] = v & 0x7f;
    k->status = (u8)((k->status & ~STATUS_SYSTEM) | (v & CB_SYSTEM ? STATUS_SYSTEM : 0));
    k->break_prefix = false;
    refill(k);
}

static void self_test(struct i8042 *k)
{
    k->answer_count = 0;
    k->from_device = false;
    k->status &= (u8)~(STATUS_OBF | STATUS_AUX);
    timer_cancel(&k->timer);
    command_byte_write(k, CB_SYSTEM | CB_KEYBOARD_OFF | CB_AUX_OFF | CB_TRANSLATE);
    answer(k, SELF_TEST_OK);
}

static void set_command_bits(struct i8042 *k, u8 clear, u8 set)
{
    k->ram[0] = (u8)((k->ram[0] & ~clear) | set);
    refill(k);
}

static void command_write(struct i8042 *k, u8 v)
{
    k->status |= STATUS_COMMAND;
    k->command = 0;
    if (v >= CMD_READ_RAM && v < CMD_READ_RAM + 32) {
        answer(k, k->ram[v - CMD_READ_RAM]);
        return;
    }
    if (v >= CMD_WRITE_RAM && v < CMD_WRITE_RAM + 32) {
        k->command = v;
        return;
    }
    if (v >= CMD_PULSE) {
        if (!(v & OUT_RESET))
            k->reset_request(k->reset_ctx);
        return;
    }
    switch (v) {
    case CMD_PASSWORD_TEST: answer(k, PASSWORD_NONE); break;
    case CMD_AUX_OFF: set_command_bits(k, 0, CB_AUX_OFF); break;
    case CMD_AUX_ON: set_command_bits(k, CB_AUX_OFF, 0); break;
    case CMD_AUX_TEST: case CMD_KEYBOARD_TEST: answer(k, 0x00); break;
    case CMD_SELF_TEST: self_test(k); break;
    case CMD_KEYBOARD_OFF: set_command_bits(k, 0, CB_KEYBOARD_OFF); break;
    case CMD_KEYBOARD_ON: set_command_bits(k, CB_KEYBOARD_OFF, 0); break;
    case CMD_READ_INPUT: answer(k, INPUT_PORT); break;
    case CMD_READ_OUTPUT: answer(k, output_port(k)); break;
    case CMD_WRITE_OUTPUT: case CMD_WRITE_KEYBOARD_BUFFER: case CMD_WRITE_AUX_BUFFER: case CMD_WRITE_AUX:
        k->command = v;
        break;
    case CMD_A20_OFF: irq_set(k->a20, false); break;
    case CMD_A20_ON: irq_set(k->a20, true); break;
    case CMD_TEST_INPUTS: answer(k, 0x00); break;
    }
}

static void data_write(struct i8042 *k, u8 v)
{
    u8 c = k->command;
    k->status &= (u8)~STATUS_COMMAND;
    k->command = 0;
    switch (c) {
    case 0:
        k->ram[0] &= (u8)~CB_KEYBOARD_OFF;          /* sending to the keyboard enables its interface */
        k->break_prefix = false;
        ps2_keyboard_write(&k->keyboard, v);
        break;
    case CMD_WRITE_RAM:
        command_byte_write(k, v);
        break;
    case CMD_WRITE_OUTPUT:
        output_write(k, v);
        break;
    case CMD_WRITE_KEYBOARD_BUFFER:
    case CMD_WRITE_AUX_BUFFER:
        put(k, v, c == CMD_WRITE_AUX_BUFFER);
        break;
    case CMD_WRITE_AUX:
        k->ram[0] &= (u8)~CB_AUX_OFF;
        ps2_mouse_write(&k->mouse, v);
        break;
    default:
        k->ram[c - CMD_WRITE_RAM] = v;
    }
    refill(k);
}

/* -------------------------------------------------------------------------------------------------- device ----- */

static u32 kbc_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct i8042 *k = (struct i8042 *)d;
    return region == I8042_REGION_DATA ? data_read(k) : k->status;
}

static void kbc_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct i8042 *k = (struct i8042 *)d;
    if (region == I8042_REGION_DATA)
        data_write(k, (u8)value);
    else
        command_write(k, (u8)value);
}

static bool kbc_init(struct device *d, char *err, size_t errlen)
{
    struct i8042 *k = (struct i8042 *)d;
    timer_init(&k->timer, d->clock, ready, k);
    k->keyboard.queue.ready = k->mouse.queue.ready = ready;
    k->keyboard.queue.ctx = k->mouse.queue.ctx = k;
    return true;
}

static void kbc_reset(struct device *d)
{
    struct i8042 *k = (struct i8042 *)d;
    ps2_keyboard_reset(&k->keyboard);
    ps2_mouse_reset(&k->mouse);
    timer_cancel(&k->timer);
    k->status = STATUS_UNLOCKED;
    memset(k->ram, 0, sizeof k->ram);
    k->ram[0] = CB_IRQ1 | CB_TRANSLATE;
    k->command = k->data = k->answer_count = 0;
    k->from_device = false;
    k->break_prefix = false;
    irq_set(k->a20, true);
    drive(k);
}

static void kbc_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct i8042 *k = (struct i8042 *)d;
    char line[160];
    snprintf(line, sizeof line,
             "status %02x command byte %02x data %02x; keyboard set %u %s leds %u queue %u; mouse id %u %s "
             "rate %u queue %u", k->status, k->ram[0], k->data, k->keyboard.set, k->keyboard.scanning ? "on" : "off",
             k->keyboard.leds, k->keyboard.queue.count, k->mouse.id, k->mouse.enabled ? "on" : "off", k->mouse.rate,
             k->mouse.queue.count);
    out(line, ctx);
}

const struct device_class i8042_class = {
    .name = "i8042", .size = sizeof(struct i8042), .init = kbc_init, .reset = kbc_reset, .read = kbc_read,
    .write = kbc_write, .byte_wide = true, .print = kbc_print,
};
