/* ps2_queue.c - bytes on their way from a PS/2 device to the controller. */
#include "devices/ps2.h"

void ps2_put(struct ps2_queue *q, u8 byte)
{
    if (q->count == PS2_QUEUE)
        return;
    q->bytes[(q->head + q->count++) % PS2_QUEUE] = byte;
    if (q->ready)
        q->ready(q->ctx);
}

bool ps2_get(struct ps2_queue *q, u8 *byte)
{
    if (!q->count)
        return false;
    *byte = q->last = q->bytes[q->head];
    q->head = (q->head + 1) % PS2_QUEUE;
    q->count--;
    return true;
}

void ps2_clear(struct ps2_queue *q)
{
    q->head = q->count = 0;
}
