/* png.c - PNG files from zlib alone: signature, IHDR, one IDAT, IEND (PNG specification, second edition, chapter 5).
 *
 * Rows use the Sub filter: emulated screens are mostly runs of one colour, which it turns into runs of zeros.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "devices/png.h"

static void put32(u8 *p, u32 v)
{
    p[0] = (u8)(v >> 24);
    p[1] = (u8)(v >> 16);
    p[2] = (u8)(v >> 8);
    p[3] = (u8)v;
}

static bool chunk(FILE *f, const char *type, const u8 *data, u32 n)
{
    u8 word[4];
    u32 crc = (u32)crc32(0, (const Bytef *)type, 4);
    if (n)          /* crc32 of a NULL buffer would start over */
        crc = (u32)crc32(crc, data, n);
    put32(word, n);
    bool ok = fwrite(word, 4, 1, f) == 1 && fwrite(type, 4, 1, f) == 1 && fwrite(data, 1, n, f) == n;
    put32(word, crc);
    return ok && fwrite(word, 4, 1, f) == 1;
}

static void filter_row(u8 *out, const u32 *pixels, unsigned width)
{
    u32 left = 0;
    *out++ = 1;     /* Sub */
    for (unsigned x = 0; x < width; x++) {
        for (int shift = 16; shift >= 0; shift -= 8)
            *out++ = (u8)((pixels[x] >> shift) - (left >> shift));
        left = pixels[x];
    }
}

static u8 *compress_image(const u32 *pixels, unsigned width, unsigned height, uLongf *n)
{
    size_t row = 1 + (size_t)width * 3;
    u8 *raw = malloc(row * height);
    *n = compressBound((uLong)(row * height));
    u8 *out = malloc(*n);
    if (raw && out) {
        for (unsigned y = 0; y < height; y++)
            filter_row(raw + y * row, pixels + (size_t)y * width, width);
        if (compress2(out, n, raw, (uLong)(row * height), 6) == Z_OK) {
            free(raw);
            return out;
        }
    }
    free(raw);
    free(out);
    return NULL;
}

static bool write_file(FILE *f, const u8 *data, uLongf n, unsigned width, unsigned height)
{
    static const u8 signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    u8 header[13] = { [8] = 8 /* bits */, [9] = 2 /* RGB */ };
    put32(header, width);
    put32(header + 4, height);
    return fwrite(signature, sizeof signature, 1, f) == 1 && chunk(f, "IHDR", header, sizeof header) &&
        chunk(f, "IDAT", data, (u32)n) && chunk(f, "IEND", data, 0) && fflush(f) == 0;
}

bool png_write(const char *file, const u32 *pixels, unsigned width, unsigned height, char *err, size_t errlen)
{
    uLongf n = 0;
    if (!width || !height || width > 16384 || height > 16384) {
        snprintf(err, errlen, "%s: a picture of %ux%u cannot be saved", file, width, height);
        return false;
    }
    char *temporary = malloc(strlen(file) + 5);
    u8 *data = compress_image(pixels, width, height, &n);
    if (!temporary || !data) {
        snprintf(err, errlen, "%s: out of memory", file);
        free(temporary);
        free(data);
        return false;
    }
    sprintf(temporary, "%s.tmp", file);
    FILE *f = fopen(temporary, "wb");
    bool ok = f && write_file(f, data, n, width, height);
    int error = errno;
    if (f && fclose(f) != 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok && rename(temporary, file) != 0) {
        ok = false;
        error = errno;
    }
    if (!ok) {
        snprintf(err, errlen, "%s: %s", file, strerror(error));
        if (f)
            remove(temporary);
    }
    free(temporary);
    free(data);
    return ok;
}
