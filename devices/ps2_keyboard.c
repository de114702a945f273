/* ps2_keyboard.c - a 101/102-key PS/2 keyboard.
 *
 * IBM Personal System/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)". Keys arrive from the
 * front end as set-1 codes; set 2, which the keyboard speaks by default, follows from the 8042's translation table read
 * backwards (i8042.c's table and this one are the same fact, so it stands here once). Typematic repetition comes from
 * the host's keyboard as repeated presses.
 *
 * The fake shifts that real keyboards put around the grey cursor keys when Num Lock or Shift is on are left out: they
 * exist for software of 83-key keyboards and no system needs them.
 */
#include <string.h>

#include "devices/ps2_translate.h"

enum { CMD_LEDS = 0xed, CMD_ECHO = 0xee, CMD_SET = 0xf0, CMD_ID = 0xf2, CMD_RATE = 0xf3, CMD_ENABLE = 0xf4,
       CMD_DISABLE = 0xf5,
       CMD_DEFAULTS = 0xf6, CMD_ALL_TYPEMATIC = 0xf7, CMD_ALL_BREAK = 0xf8, CMD_ALL_MAKE = 0xf9, CMD_ALL_BOTH = 0xfa,
       CMD_KEY_TYPEMATIC = 0xfb, CMD_KEY_BREAK = 0xfc, CMD_KEY_MAKE = 0xfd, CMD_RESEND = 0xfe, CMD_RESET = 0xff };
enum { KEY_PAUSE = 0xe11d, KEY_BREAK = 0xe046, KEY_PRINT = 0xe037, KEY_SYSRQ = 0x54 };
enum { LONGEST_CODE = 8 };

/* Set 2 code -> set 1 code, as the 8042 translates bytes below 80h; 83h and 84h are the two beyond. */
const u8 ps2_set2_to_set1[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

/* Set 1 code -> set 3 code, plain keys; 0: no such key. Rows of sixteen from 00. */
static const u8 set3_plain[0x60] = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07, 0x0f, 0x17, 0x1f, 0x27,
    0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84, 0x6b, 0x73, 0x74, 0x7c, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e,
};
static const struct { u8 set1, set3; } set3_extended[] = {
    { 0x1c, 0x79 }, { 0x1d, 0x58 }, { 0x35, 0x77 }, { 0x37, 0x57 }, { 0x38, 0x39 }, { 0x46, 0x62 }, { 0x47, 0x6e },
    { 0x48, 0x63 }, { 0x49, 0x6f }, { 0x4b, 0x61 }, { 0x4d, 0x6a }, { 0x4f, 0x65 }, { 0x50, 0x60 }, { 0x51, 0x6d },
    { 0x52, 0x67 }, { 0x53, 0x64 }, { 0x5b, 0x8b }, { 0x5c, 0x8c }, { 0x5d, 0x8d },
};
/* Set 3 defaults: keys that also send break codes, keys that only make; all others repeat. */
static const u8 default_break[] = { 0x11, 0x12, 0x14, 0x19, 0x59 };
static const u8 default_make[] = {
    0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x39, 0x3f, 0x47, 0x4f, 0x56, 0x57, 0x58, 0x5e, 0x5f, 0x62, 0x65,
        0x67,
    0x69, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x79, 0x7a, 0x7d, 0x7e, 0x84,
};

static u8 set2_of(u8 set1)
{
    /* F7 and SysRq have codes beyond the table; what the table holds for them are no keys. */
    if (set1 == 0x41)
        return 0x83;
    if (set1 == KEY_SYSRQ)
        return 0x84;
    for (unsigned i = 1; i < ARRAY_LEN(ps2_set2_to_set1); i++)
        if (ps2_set2_to_set1[i] == set1)
            return (u8)i;
    return 0;
}

static u8 set3_of(u16 code)
{
    if (code == KEY_PAUSE)
        return 0x62;
    if (code >> 8 == 0xe0) {
        for (unsigned i = 0; i < ARRAY_LEN(set3_extended); i++)
            if (set3_extended[i].set1 == (u8)code)
                return set3_extended[i].set3;
        return 0;
    }
    return code < ARRAY_LEN(set3_plain) ? set3_plain[code] : 0;
}

/* ------------------------------------------------------------------------------------------------------- keys ----- */

/* A key's code in sets 1 and 2, one of the bytes that it consists of. */
static unsigned put_code(u8 *out, u8 set, bool extended, u8 set1, bool down)
{
    unsigned n = 0;
    if (extended)
        out[n++] = 0xe0;
    if (set == 1) {
        out[n++] = set1 | (down ? 0 : 0x80);
        return n;
    }
    if (!down)
        out[n++] = 0xf0;
    out[n++] = set2_of(set1);
    return n;
}

static unsigned code_pause(const struct ps2_keyboard *k, u8 *out, bool down)
{
    static const u8 pause1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const u8 pause2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    if (!down)
        return 0;               /* the make code contains the break */
    if (k->ctrl) {
        unsigned n = put_code(out, k->set, true, 0x46, true);
        return n + put_code(out + n, k->set, true, 0x46, false);
    }
    memcpy(out, k->set == 1 ? pause1 : pause2, k->set == 1 ? sizeof pause1 : sizeof pause2);
    return k->set == 1 ? sizeof pause1 : sizeof pause2;
}

static unsigned code_print(const struct ps2_keyboard *k, u8 *out, bool down)
{
    unsigned n;
    if (k->alt)
        return put_code(out, k->set, false, KEY_SYSRQ, down);
    if (down) {
        n = put_code(out, k->set, true, 0x2a, true);
        return n + put_code(out + n, k->set, true, 0x37, true);
    }
    n = put_code(out, k->set, true, 0x37, false);
    return n + put_code(out + n, k->set, true, 0x2a, false);
}

static unsigned code_set3(const struct ps2_keyboard *k, u8 *out, u16 code, bool down)
{
    u8 c = set3_of(code);
    if (!c || (!down && !(k->key_type[c] & PS2_KEY_BREAK)))
        return 0;
    if (down) {
        out[0] = c;
        return 1;
    }
    out[0] = 0xf0;
    out[1] = c;
    return 2;
}

void ps2_keyboard_key(struct ps2_keyboard *k, u16 code, bool down)
{
    u8 out[LONGEST_CODE];
    unsigned n;
    u8 low = (u8)code & 0x7f;
    if (code == 0x38 || code == 0xe038)
        k->alt = down;
    if (code == 0x1d || code == 0xe01d)
        k->ctrl = down;
    if (!k->scanning || !low)
        return;
    if (k->set == 3)
        n = code_set3(k, out, code & 0xff7f, down);
    else if (code == KEY_PAUSE || code == KEY_BREAK)
        n = code_pause(k, out, down);
    else if (code == KEY_PRINT)
        n = code_print(k, out, down);
    else if (k->set == 2 && !set2_of(low))
        n = 0;
    else
        n = put_code(out, k->set, code >> 8 == 0xe0, low, down);
    if (n + 8 > ps2_room(&k->queue))        /* room is kept for answers; a whole code is dropped, never a part of one */
        return;
    for (unsigned i = 0; i < n; i++)
        ps2_put(&k->queue, out[i]);
}

/* --------------------------------------------------------------------------------------------------- commands ----- */

static void key_types_default(struct ps2_keyboard *k)
{
    memset(k->key_type, PS2_KEY_TYPEMATIC, sizeof k->key_type);
    for (unsigned i = 0; i < ARRAY_LEN(default_break); i++)
        k->key_type[default_break[i]] = PS2_KEY_BREAK;
    for (unsigned i = 0; i < ARRAY_LEN(default_make); i++)
        k->key_type[default_make[i]] = 0;
}

static void defaults(struct ps2_keyboard *k)
{
    k->typematic = 0x2b;        /* 10.9 characters a second after half a second */
    k->command = 0;
    key_types_default(k);
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    ps2_clear(&k->queue);
    defaults(k);
    k->set = 2;
    k->leds = 0;
    k->scanning = true;
    k->alt = k->ctrl = false;
}

/* Returns false if v is no valid parameter (then it is a command). */
static bool parameter(struct ps2_keyboard *k, u8 v)
{
    u8 command = k->command;
    if (command >= CMD_KEY_TYPEMATIC && command <= CMD_KEY_MAKE) {      /* a list of keys, ended by a command */
        if (v >= 0xed)
            return false;
        k->key_type[v] = command == CMD_KEY_TYPEMATIC ? PS2_KEY_TYPEMATIC : command == CMD_KEY_BREAK ? PS2_KEY_BREAK :
            0;
        ps2_put(&k->queue, PS2_ACK);
        return true;
    }
    k->command = 0;
    if (v >= 0xed)
        return false;
    switch (command) {
    case CMD_LEDS:
        k->leds = v & 7;
        break;
    case CMD_RATE:
        k->typematic = v & 0x7f;
        break;
    case CMD_SET:
        if (v > 3) {
            ps2_put(&k->queue, PS2_RESEND);
            return true;
        }
        if (v)
            k->set = v;
        break;
    }
    ps2_put(&k->queue, PS2_ACK);
    if (command == CMD_SET && v == 0)
        ps2_put(&k->queue, k->set);
    return true;
}

static void command(struct ps2_keyboard *k, u8 v)
{
    switch (v) {
    case CMD_ECHO:
        ps2_put(&k->queue, PS2_ECHO);
        return;
    case CMD_RESEND:
        ps2_put(&k->queue, k->queue.last);
        return;
    case CMD_RESET:
        ps2_keyboard_reset(k);
        ps2_put(&k->queue, PS2_ACK);
        ps2_put(&k->queue, PS2_BAT_OK);
        return;
    case CMD_LEDS: case CMD_SET: case CMD_RATE: case CMD_KEY_TYPEMATIC: case CMD_KEY_BREAK: case CMD_KEY_MAKE:
        k->command = v;
        break;
    case CMD_ENABLE:
        ps2_clear(&k->queue);
        k->scanning = true;
        break;
    case CMD_DISABLE: case CMD_DEFAULTS:
        defaults(k);
        k->scanning = v == CMD_DEFAULTS;
        break;
    case CMD_ALL_TYPEMATIC: memset(k->key_type, PS2_KEY_TYPEMATIC, sizeof k->key_type); break;
    case CMD_ALL_BREAK: memset(k->key_type, PS2_KEY_BREAK, sizeof k->key_type); break;
    case CMD_ALL_MAKE: memset(k->key_type, 0, sizeof k->key_type); break;
    case CMD_ALL_BOTH: memset(k->key_type, PS2_KEY_TYPEMATIC | PS2_KEY_BREAK, sizeof k->key_type); break;
    case CMD_ID: break;
    default:
        ps2_put(&k->queue, PS2_RESEND);
        return;
    }
    ps2_put(&k->queue, PS2_ACK);
    if (v == CMD_ID) {
        ps2_put(&k->queue, 0xab);
        ps2_put(&k->queue, 0x83);
    }
}

void ps2_keyboard_write(struct ps2_keyboard *k, u8 v)
{
    if (k->command && parameter(k, v))
        return;
    k->command = 0;
    command(k, v);
}
