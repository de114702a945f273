/* png.h - writes a picture as a PNG file (8-bit RGB, no alpha). */
#ifndef SHADOW86_PNG_H
#define SHADOW86_PNG_H

#include "cpu/types.h"

/* pixels: 0x00RRGGBB, row after row. The file appears complete or not at all. false: one line in err, which names the
 * file. */
bool png_write(const char *file, const u32 *pixels, unsigned width, unsigned height, char *err, size_t errlen);

#endif
