/* ps2_translate.h - the 8042's translation table, which the keyboard reads backwards. Defined in ps2_keyboard.c. */
#ifndef SHADOW86_PS2_TRANSLATE_H
#define SHADOW86_PS2_TRANSLATE_H

#include "devices/ps2.h"

extern const u8 ps2_set2_to_set1[128];

#endif
