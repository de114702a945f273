/* port61.h - system control port B: the gate of PIT counter 2, the speaker, the refresh signal. */
#ifndef SHADOW86_PORT61_H
#define SHADOW86_PORT61_H

#include "devices/i8254.h"

struct port61 {
    struct device dev;
    struct i8254 *pit;      /* filled by pc.c */
    u8 latch;               /* bits 3:0 as written */
};

extern const struct device_class port61_class;

bool port61_speaker(struct port61 *p);      /* level at the loudspeaker now */

#endif
