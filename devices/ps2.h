/* ps2.h - keyboard and mouse at the two PS/2 ports: what the 8042 talks to.
 *
 * A device answers and reports by putting bytes into its queue; `ready` tells the controller that there are some.
 * Devices know nothing of ports, interrupts and translation.
 */
#ifndef SHADOW86_PS2_H
#define SHADOW86_PS2_H

#include "cpu/types.h"

enum { PS2_ACK = 0xfa, PS2_RESEND = 0xfe, PS2_ERROR = 0xfc, PS2_BAT_OK = 0xaa, PS2_ECHO = 0xee };
enum { PS2_QUEUE = 64 };        /* a power of two */

/* ps2_queue.c */
struct ps2_queue {
    u8 bytes[PS2_QUEUE];
    unsigned head, count;
    u8 last;                    /* for the resend command */
    void (*ready)(void *ctx);
    void *ctx;
};
void ps2_put(struct ps2_queue *q, u8 byte);     /* lost if the queue is full */
bool ps2_get(struct ps2_queue *q, u8 *byte);
void ps2_clear(struct ps2_queue *q);
static inline unsigned ps2_room(const struct ps2_queue *q) { return PS2_QUEUE - q->count; }

/* ps2_keyboard.c */
struct ps2_keyboard {
    struct ps2_queue queue;
    bool scanning;
    u8 set;                     /* scan code set 1..3 */
    u8 leds, typematic;
    u8 command;                 /* that waits for a parameter; 0: none */
    u8 key_type[256];           /* set 3: enum ps2_key_type by its code */
    bool alt;                   /* an Alt key is down: Print Screen is SysRq */
    bool ctrl;                  /* a Ctrl key is down: Pause is Break */
};
enum ps2_key_type { PS2_KEY_TYPEMATIC = 1, PS2_KEY_BREAK = 2 };     /* 0: make only */
void ps2_keyboard_reset(struct ps2_keyboard *k);            /* power-on, without a self-test message */
void ps2_keyboard_write(struct ps2_keyboard *k, u8 v);      /* a byte from the host */
/* code as in pc_key: set 1, 0xe0xx for extended keys, 0xe11d or 0xe046 for Pause. */
void ps2_keyboard_key(struct ps2_keyboard *k, u16 code, bool down);

/* ps2_mouse.c */
struct ps2_mouse {
    struct ps2_queue queue;
    u8 id;                      /* 0 standard, 3 with wheel, 4 with wheel and five buttons */
    u8 command;
    u8 rate, resolution;        /* samples per second; code 0..3 */
    u8 last_rates[2];           /* for the IntelliMouse knock */
    bool enabled, remote, wrap, scale21;
    int dx, dy, dz;             /* collected since the last packet; y up */
    u8 buttons, sent_buttons;   /* 1 left 2 right 4 middle 8 16 */
};
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, u8 v);
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, unsigned buttons);    /* y down, z towards the user */
void ps2_mouse_drained(struct ps2_mouse *m);    /* the controller took the last byte: the next packet may be made */

#endif
