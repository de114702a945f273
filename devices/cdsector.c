/* cdsector.c - the layout of a mode 1 sector. ECMA-130, clauses 14 (sector) and annexes A (ECC) and B (EDC).
 *
 *      0  sync      12   00 ff * 10 00
 *     12  header     4   minute, second, frame in BCD; mode 1
 *     16  user    2048
 *   2064  EDC        4   CRC over 0..2063
 *   2068  zero       8
 *   2076  P parity 172   over bytes 12..2075: 43 columns of 24 bytes, for even and odd bytes each
 *   2248  Q parity 104   over bytes 12..2247: 26 diagonals of 43 bytes
 */
#include <string.h>

#include "devices/cdsector.h"

void cdsector_msf(u8 msf[3], u32 lba)
{
    lba += 150;
    msf[0] = (u8)(lba / (60 * 75));
    msf[1] = (u8)(lba / 75 % 60);
    msf[2] = (u8)(lba % 75);
}

static u8 bcd(u8 v)
{
    return (u8)(v / 10 % 10 << 4 | v % 10);
}

/* Polynomial (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), least significant bit first. */
static u32 edc(const u8 *p, unsigned n)
{
    u32 crc = 0;
    while (n--) {
        crc ^= *p++;
        for (unsigned i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0xd8018001 : 0);
    }
    return crc;
}

/* Multiplication by 2 in GF(2^8) with x^8 + x^4 + x^3 + x^2 + 1. */
static u8 times2(u8 v)
{
    return (u8)(v << 1 ^ (v & 0x80 ? 0x1d : 0));
}

static u8 divide_by_3(u8 v)
{
    for (unsigned x = 0; x < 256; x++)          /* 3x = 2x + x */
        if ((times2((u8)x) ^ x) == v)
            return (u8)x;
    return 0;
}

/* `count` code words of `length` bytes, each byte `step` after the one before (modulo size); two parity bytes per word, so that
 * the sum of all bytes and the sum weighted with powers of 2 are both zero. */
static void parity(u8 *data, unsigned count, unsigned length, unsigned first_step, unsigned step, unsigned size, u8 *out)
{
    for (unsigned word = 0; word < count; word++) {
        unsigned at = (word >> 1) * first_step + (word & 1);
        u8 weighted = 0, sum = 0;
        for (unsigned i = 0; i < length; i++) {
            weighted = times2(weighted ^ data[at]);
            sum ^= data[at];
            at += step;
            if (at >= size)
                at -= size;
        }
        u8 first = divide_by_3((u8)(times2(weighted) ^ sum));
        out[word] = first;
        out[word + count] = first ^ sum;
    }
}

void cdsector_make(u8 *raw, u32 lba)
{
    u8 msf[3];
    memset(raw, 0xff, 12);
    raw[0] = raw[11] = 0;
    cdsector_msf(msf, lba);
    for (unsigned i = 0; i < 3; i++)
        raw[12 + i] = bcd(msf[i]);
    raw[15] = 1;
    u32 crc = edc(raw, 2064);
    for (unsigned i = 0; i < 4; i++)
        raw[2064 + i] = (u8)(crc >> i * 8);
    memset(raw + 2068, 0, 8);
    parity(raw + 12, 86, 24, 2, 86, 2064, raw + 2076);
    parity(raw + 12, 52, 43, 86, 88, 2236, raw + 2248);
}
