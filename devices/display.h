/* display.h - what a display adapter offers to those who look at the screen (monitor, tests, later windows).
 * All under the machine lock. */
#ifndef SHADOW86_DISPLAY_H
#define SHADOW86_DISPLAY_H

#include "cpu/types.h"

struct display_size { unsigned width, height; };    /* pixels */
struct display {
    void *ctx;
    /* The size of the picture that the present mode makes; {0, 0} while the screen is off. */
    struct display_size (*size)(void *ctx);
    /* Renders the screen into 0x00RRGGBB pixels, width * height of size(). */
    void (*render)(void *ctx, u32 *pixels);
    /* Text modes: the characters as UTF-8 lines ('\n' ends each, trailing blanks cut), at most size bytes; returns false (and
     * an empty string) in graphics modes. */
    bool (*text)(void *ctx, char *buf, size_t size);
};

#endif
