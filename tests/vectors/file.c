/* file.c - compressed files in memory. */
#include <stdlib.h>
#include <zlib.h>

#include "tests/vectors/vectors.h"

u8 *read_gz(const char *path, size_t *size)
{
    gzFile f = gzopen(path, "rb");
    size_t room = 1 << 20, n = 0;
    u8 *buf = f ? malloc(room + 1) : NULL;
    while (buf) {
        int got = gzread(f, buf + n, (unsigned)(room - n));
        if (got < 0) {
            free(buf);
            buf = NULL;
        }
        if (got <= 0)
            break;
        n += (size_t)got;
        if (n == room)
            buf = realloc(buf, (room *= 2) + 1);
    }
    if (f)
        gzclose(f);
    if (buf)
        buf[n] = 0;
    *size = n;
    return buf;
}
