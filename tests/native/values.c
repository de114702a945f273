/* values.c - random numbers (SplitMix64) and values of all kinds, boundary values often. */
#include <string.h>

#include "tests/native/native.h"

static u64 state;

void random_seed(u64 seed) { state = seed; }

u64 random_u64(void)
{
    u64 z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned below(unsigned n) { return (unsigned)((random_u64() >> 32) * n >> 32); }

u64 random_integer(void)
{
    static const u64 edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                 0x7fffffffffffffff, 0x8000000000000000, ~(u64)0, ~(u64)1 };
    switch (below(6)) {
    case 0: return edges[below(ARRAY_LEN(edges))];
    case 1: return (u64)1 << below(64);
    case 2: return random_u64() >> below(64);
    case 3: return (u64)((s64)random_u64() >> below(64));
    default: return random_u64();
    }
}

/* Fractions of `bits` bits: few ones, runs of ones, halves and their neighbours, or anything. */
static u64 fraction(unsigned bits)
{
    const u64 all = ((u64)1 << bits) - 1;
    u64 v;
    switch (below(8)) {
    case 0: v = 0; break;
    case 1: v = (u64)1 << below(bits); break;
    case 2: v = all << below(bits); break;
    case 3: v = all >> below(bits); break;
    case 4: v = ((u64)1 << below(bits)) + below(3) - 1; break;
    case 5: v = random_u64() & random_u64() & random_u64(); break;
    default: v = random_u64(); break;
    }
    return v & all;
}

/* Exponents: zero, the largest, near these, and near one (the sum of two values matters most there). */
static unsigned exponent(unsigned max)
{
    const unsigned bias = max / 2, near = max < 100 ? 10 : 40, edge = max > 71 ? 70 : max - 1;
    switch (below(16)) {
    case 0: return 0;
    case 1: return max;
    case 2: return 1 + below(edge);
    case 3: return max - 1 - below(edge);
    case 4: return 1 + below(max - 1);
    case 5: return below(max + 1);
    default: return bias - near + below(2 * near);
    }
}

u32 random_f32(void) { return (u32)below(2) << 31 | exponent(255) << 23 | (u32)fraction(23); }
u64 random_f64(void) { return (u64)below(2) << 63 | (u64)exponent(2047) << 52 | fraction(52); }

static u16 random_f16(void) { return (u16)(below(2) << 15 | exponent(31) << 10 | (unsigned)fraction(10)); }

/* Unnormals, pseudo-denormals and the other odd formats included. */
struct f80 random_f80(void)
{
    const unsigned exp = exponent(0x7fff);
    u64 mant = fraction(63) | (exp || one_in(4) ? (u64)1 << 63 : 0);
    if (one_in(24))
        mant &= ~((u64)1 << 63);
    if (!exp && one_in(3))
        mant = 0;
    return (struct f80){ mant, (u16)(below(2) << 15 | exp) };
}

static u64 random_of_kind(enum fill kind)
{
    static const u64 edges[] = {
        0, ~(u64)0, 0x8000000000000000, 0x7fffffffffffffff, 0x8000000080000000, 0x7fffffff7fffffff, 0x8000800080008000,
        0x7fff7fff7fff7fff, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f, 1, 0x0000000100000001, 0x0001000100010001,
        0x00ff00ff00ff00ff, 0x3ff0000000000000,
    };
    switch (kind) {
    case FILL_F32: return (u64)random_f32() << 32 | random_f32();
    case FILL_F64: return random_f64();
    case FILL_F16: return (u64)random_f16() << 48 | (u64)random_f16() << 32 | (u64)random_f16() << 16 | random_f16();
    case FILL_INTEGERS: return random_integer();
    case FILL_EDGES: return edges[below(ARRAY_LEN(edges))];
    case FILL_COUNTS: return one_in(2) ? below(80) : (u64)below(70) << 32 | below(70);
    case FILL_TEXT: return random_u64() & 0x0303030303030303;
    case FILL_SIGNS: return random_u64() & 0x8080808080808080;
    default: return random_u64();
    }
}

void random_fill(void *to, unsigned bytes, enum fill kind)
{
    for (unsigned i = 0; i < bytes; i += 8) {
        const u64 v = random_of_kind(kind);
        memcpy((u8 *)to + i, &v, 8);
    }
}
