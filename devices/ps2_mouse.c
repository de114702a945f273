/* ps2_mouse.c - a PS/2 mouse with IntelliMouse extensions: wheel (ID 3) and five buttons (ID 4).
 *
 * IBM PS/2 mouse technical reference; Microsoft's IntelliMouse notes (the knock of three sample rates). Movements are
 * summed up until the controller has taken the last packet, so a slow guest gets fewer, larger steps rather than a
 * queue.
 */
#include "devices/ps2.h"

enum { CMD_SCALE11 = 0xe6, CMD_SCALE21 = 0xe7, CMD_RESOLUTION = 0xe8, CMD_STATUS = 0xe9, CMD_STREAM = 0xea,
       CMD_READ = 0xeb,
       CMD_UNWRAP = 0xec, CMD_WRAP = 0xee, CMD_REMOTE = 0xf0, CMD_ID = 0xf2, CMD_RATE = 0xf3, CMD_ENABLE = 0xf4,
       CMD_DISABLE = 0xf5, CMD_DEFAULTS = 0xf6, CMD_RESEND = 0xfe, CMD_RESET = 0xff };
enum { LEFT = 1, RIGHT = 2, MIDDLE = 4 };

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* 2:1 scaling, stream mode only. */
static int scaled(const struct ps2_mouse *m, int v)
{
    static const u8 small[] = { 0, 1, 1, 3, 6, 9 };
    int size = v < 0 ? -v : v;
    if (!m->scale21 || m->remote)
        return v;
    size = size < (int)ARRAY_LEN(small) ? small[size] : 2 * size;
    return v < 0 ? -size : size;
}

static void send_packet(struct ps2_mouse *m)
{
    int take_x = clamp(m->dx, -127, 127), take_y = clamp(m->dy, -127, 127), z = clamp(m->dz, -8, 7);
    int x = clamp(scaled(m, take_x), -255, 255), y = clamp(scaled(m, take_y), -255, 255);
    m->dx -= take_x;
    m->dy -= take_y;
    m->dz -= z;
    m->sent_buttons = m->buttons;
    ps2_put(&m->queue, (u8)(8 | (m->buttons & 7) | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0)));
    ps2_put(&m->queue, (u8)x);
    ps2_put(&m->queue, (u8)y);
    if (m->id == 3)
        ps2_put(&m->queue, (u8)z);
    if (m->id == 4)
        ps2_put(&m->queue, (u8)((z & 15) | (m->buttons >> 3 & 3) << 4));
}

static void report(struct ps2_mouse *m)
{
    bool news = m->dx || m->dy || (m->dz && m->id) || m->buttons != m->sent_buttons;
    if (m->enabled && !m->remote && !m->wrap && news && !m->queue.count && !m->command)
        send_packet(m);
}

void ps2_mouse_drained(struct ps2_mouse *m)
{
    report(m);
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, unsigned buttons)
{
    m->dx = clamp(m->dx + clamp(dx, -4096, 4096), -4096, 4096);
    m->dy = clamp(m->dy - clamp(dy, -4096, 4096), -4096, 4096);
    m->dz = clamp(m->dz + clamp(dz, -128, 128), -128, 128);
    m->buttons = buttons & 31;
    report(m);
}

static void defaults(struct ps2_mouse *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->scale21 = m->remote = m->wrap = m->enabled = false;
    m->command = 0;
    m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    ps2_clear(&m->queue);
    defaults(m);
    m->id = 0;
    m->last_rates[0] = m->last_rates[1] = 0;
}

static void rate(struct ps2_mouse *m, u8 v)
{
    m->rate = v;
    if (m->last_rates[0] == 200 && v == 80 && m->last_rates[1] == 100)
        m->id = 3;
    if (m->last_rates[0] == 200 && v == 80 && m->last_rates[1] == 200)
        m->id = 4;
    m->last_rates[0] = m->last_rates[1];
    m->last_rates[1] = v;
}

static void status(struct ps2_mouse *m)
{
    u8 b = m->buttons;
    ps2_put(&m->queue, (u8)((m->remote ? 0x40 : 0) | (m->enabled ? 0x20 : 0) | (m->scale21 ? 0x10 : 0) |
                            (b & LEFT ? 4 : 0) | (b & MIDDLE ? 2 : 0) | (b & RIGHT ? 1 : 0)));
    ps2_put(&m->queue, m->resolution);
    ps2_put(&m->queue, m->rate);
}

/* After the acknowledgement. */
static void answer(struct ps2_mouse *m, u8 v)
{
    switch (v) {
    case CMD_STATUS: status(m); break;
    case CMD_READ: send_packet(m); break;
    case CMD_ID: ps2_put(&m->queue, m->id); break;
    case CMD_RESET:
        ps2_put(&m->queue, PS2_BAT_OK);
        ps2_put(&m->queue, 0);
        break;
    }
}

static bool command(struct ps2_mouse *m, u8 v)
{
    switch (v) {
    case CMD_SCALE11: m->scale21 = false; break;
    case CMD_SCALE21: m->scale21 = true; break;
    case CMD_RESOLUTION: case CMD_RATE: m->command = v; break;
    case CMD_STREAM: m->remote = false; break;
    case CMD_UNWRAP: m->wrap = false; break;
    case CMD_WRAP: m->wrap = true; break;
    case CMD_REMOTE: m->remote = true; break;
    case CMD_ENABLE: m->enabled = true; break;
    case CMD_DISABLE: m->enabled = false; break;
    case CMD_DEFAULTS: defaults(m); break;
    case CMD_RESET: ps2_mouse_reset(m); break;
    case CMD_STATUS: case CMD_READ: case CMD_ID: break;
    default: return false;
    }
    return true;
}

static bool parameter(struct ps2_mouse *m, u8 v)
{
    u8 c = m->command;
    m->command = 0;
    if (c == CMD_RATE && (v == 10 || v == 20 || v == 40 || v == 60 || v == 80 || v == 100 || v == 200))
        rate(m, v);
    else if (c == CMD_RESOLUTION && v <= 3)
        m->resolution = v;
    else
        return false;
    return true;
}

void ps2_mouse_write(struct ps2_mouse *m, u8 v)
{
    if (m->wrap && v != CMD_UNWRAP && v != CMD_RESET) {
        ps2_put(&m->queue, v);
        return;
    }
    if (!m->command && v == CMD_RESEND) {
        ps2_put(&m->queue, m->queue.last);
        return;
    }
    ps2_clear(&m->queue);       /* a command ends the packet that is being sent */
    if (m->command) {
        ps2_put(&m->queue, parameter(m, v) ? PS2_ACK : PS2_RESEND);
        return;
    }
    if (!command(m, v)) {
        ps2_put(&m->queue, PS2_ERROR);
        return;
    }
    ps2_put(&m->queue, PS2_ACK);
    answer(m, v);
}
