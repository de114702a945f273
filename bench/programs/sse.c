/* sse.c - 128-bit vectors by intrinsics: SSE and SSE2, which every x86-64 CPU has, and SSSE3, AES and PCLMULQDQ.
 *
 * The latter are compiled for their own functions only, so that the others run on a CPU without them.
 */
#include "bench.h"
#include <immintrin.h>
#include <string.h>

#define PIXELS (64 * 1024)
#define FLOATS 4096
static u8 *picture, *other, *result;
static float *x, *y;

static void prepare(void)
{
    picture = bench_memory(PIXELS * 4);
    other = bench_memory(PIXELS * 4);
    result = bench_memory(PIXELS * 4);
    x = bench_memory(FLOATS * sizeof *x);
    y = bench_memory(FLOATS * sizeof *y);
    for (u32 i = 0; i < PIXELS * 4; i++)
        picture[i] = (u8)rnd(), other[i] = (u8)rnd();
    for (u32 i = 0; i < FLOATS; i++)
        x[i] = (float)(rnd() % 1000) / 1000, y[i] = (float)(rnd() % 1000) / 500 - 1;
}

static u64 checksum(const void *data, size_t bytes)
{
    const u8 *p = data;
    u64 sum = 0, word;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        memcpy(&word, p + i, 8);
        sum = mix(sum, word);
    }
    return sum;
}

#define LOAD(p)     _mm_loadu_si128((const __m128i *)(p))
#define STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)

/* --- floating point, packed: y = a x + y; scalar product in doubles; mandelbrot, four points at once --- */
static u64 saxpy_run(long iterations)
{
    for (long n = 0; n < iterations * 500; n++) {
        __m128 a = _mm_set1_ps(n & 1 ? 0.5f : -0.5f);
        for (int i = 0; i < FLOATS; i += 8) {
            _mm_storeu_ps(y + i, _mm_add_ps(_mm_mul_ps(a, _mm_loadu_ps(x + i)), _mm_loadu_ps(y + i)));
            _mm_storeu_ps(y + i + 4, _mm_add_ps(_mm_mul_ps(a, _mm_loadu_ps(x + i + 4)), _mm_loadu_ps(y + i + 4)));
        }
    }
    return checksum(y, FLOATS * sizeof *y);
}

static u64 ddot_run(long iterations)
{
    double *w = (double *)result, out[2];
    __m128d sum = _mm_setzero_pd();
    for (int i = 0; i < FLOATS / 2; i++)
        w[i] = x[i] + y[i];
    for (long n = 0; n < iterations * 400; n++)
        for (int i = 0; i < FLOATS / 2; i += 4) {
            __m128d p = _mm_mul_pd(_mm_loadu_pd(w + i), _mm_loadu_pd(w + (i ^ 64)));
            __m128d q = _mm_mul_pd(_mm_loadu_pd(w + i + 2), _mm_cvtps_pd(_mm_loadu_ps(x + i)));
            sum = _mm_add_pd(sum, _mm_add_pd(p, _mm_max_pd(q, p)));
        }
    _mm_storeu_pd(out, sum);
    return bench_number(out[0]) ^ bench_number(out[1]);
}

static u64 mandelbrot4_run(long iterations)
{
    __m128i total = _mm_setzero_si128();
    for (long n = 0; n < iterations * 2; n++)
        for (int py = 0; py < 64; py++)
            for (int px = 0; px < 64; px += 4) {
                __m128 cx = _mm_setr_ps((float)px / 20 - 2, (float)(px + 1) / 20 - 2, (float)(px + 2) / 20 - 2,
                                        (float)(px + 3) / 20 - 2);
                __m128 cy = _mm_set1_ps((float)py / 20 - 1.5f + (float)(n & 7) / 1024), a = cx, b = cy;
                for (int i = 0; i < 128; i++) {
                    __m128 aa = _mm_mul_ps(a, a), bb = _mm_mul_ps(b, b), ab = _mm_mul_ps(a, b);
                    __m128 inside = _mm_cmplt_ps(_mm_add_ps(aa, bb), _mm_set1_ps(4));
                    if (!_mm_movemask_ps(inside))
                        break;
                    total = _mm_sub_epi32(total, _mm_castps_si128(inside));
                    a = _mm_add_ps(_mm_sub_ps(aa, bb), cx);
                    b = _mm_add_ps(_mm_add_ps(ab, ab), cy);
                }
            }
    return checksum(&total, sizeof total);
}

/* --- pixels: one picture over the other by alpha; brighter with saturation; sums of absolute differences --- */
static u64 blend_run(long iterations)
{
    const __m128i zero = _mm_setzero_si128(), half = _mm_set1_epi16(128);
    for (long n = 0; n < iterations * 8; n++) {
        __m128i alpha = _mm_set1_epi16((short)(n * 37 & 255)), rest = _mm_sub_epi16(_mm_set1_epi16(255), alpha);
        for (int i = 0; i < PIXELS * 4; i += 16) {
            __m128i p = LOAD(picture + i), q = LOAD(other + i);
            __m128i low = _mm_add_epi16(_mm_mullo_epi16(_mm_unpacklo_epi8(p, zero), alpha),
                                        _mm_mullo_epi16(_mm_unpacklo_epi8(q, zero), rest));
            __m128i high = _mm_add_epi16(_mm_mullo_epi16(_mm_unpackhi_epi8(p, zero), alpha),
                                         _mm_mullo_epi16(_mm_unpackhi_epi8(q, zero), rest));
            low = _mm_srli_epi16(_mm_add_epi16(low, half), 8);
            high = _mm_srli_epi16(_mm_add_epi16(high, half), 8);
            STORE(result + i, _mm_adds_epu8(_mm_packus_epi16(low, high), _mm_set1_epi8(3)));
        }
    }
    return checksum(result, PIXELS * 4);
}

static u64 sad_run(long iterations)
{
    u64 best = ~0ull;
    for (long n = 0; n < iterations * 800; n++) {
        __m128i sum = _mm_setzero_si128();
        const u8 *p = picture + n * 64 % (PIXELS * 2), *q = other + n * 17 % (PIXELS * 2);
        for (int row = 0; row < 64; row++, p += 512, q += 512)
            for (int i = 0; i < 64; i += 16)
                sum = _mm_add_epi64(sum, _mm_sad_epu8(LOAD(p + i), LOAD(q + i)));
        u64 s[2];
        STORE(s, sum);
        best = s[0] + s[1] < best ? s[0] + s[1] : best;
    }
    return best;
}

/* --- integer arithmetic: multiply-add, shifts, comparisons, packing; transposition of 8 x 8 words --- */
static u64 filter_run(long iterations)
{
    const __m128i taps = _mm_setr_epi16(3, -5, 17, 50, 50, 17, -5, 3), limit = _mm_set1_epi32(20000);
    __m128i sum = _mm_setzero_si128();
    for (long n = 0; n < iterations * 10; n++)
        for (int i = 0; i < PIXELS; i += 16) {
            __m128i a = _mm_madd_epi16(LOAD(picture + i), taps), b = _mm_madd_epi16(LOAD(picture + i + 2), taps);
            __m128i over = _mm_cmpgt_epi32(a, limit);
            a = _mm_or_si128(_mm_and_si128(over, limit), _mm_andnot_si128(over, a));
            __m128i packed = _mm_packs_epi32(_mm_srai_epi32(a, 7), _mm_srai_epi32(b, 7));
            sum = _mm_add_epi16(_mm_xor_si128(sum, packed), _mm_slli_epi16(_mm_min_epi16(packed, sum), 1));
        }
    return checksum(&sum, sizeof sum);
}

static u64 transpose_run(long iterations)
{
    for (long n = 0; n < iterations * 60; n++)
        for (int block = 0; block < 256; block++) {
            __m128i r[8], t[8];
            const u8 *in = picture + block * 128 + (n & 15) * 32768 % (PIXELS * 2);
            for (int i = 0; i < 8; i++)
                r[i] = LOAD(in + i * 16);
            for (int i = 0; i < 4; i++)
                t[i * 2] = _mm_unpacklo_epi16(r[i], r[i + 4]), t[i * 2 + 1] = _mm_unpackhi_epi16(r[i], r[i + 4]);
            for (int i = 0; i < 4; i++)
                r[i * 2] = _mm_unpacklo_epi16(t[i], t[i + 4]), r[i * 2 + 1] = _mm_unpackhi_epi16(t[i], t[i + 4]);
            for (int i = 0; i < 4; i++) {
                STORE(result + block * 128 + i * 32, _mm_unpacklo_epi16(r[i], r[i + 4]));
                STORE(result + block * 128 + i * 32 + 16, _mm_shuffle_epi32(_mm_unpackhi_epi16(r[i], r[i + 4]), 0xb1));
            }
        }
    return checksum(result, 256 * 128);
}

/* --- find: bytes of a kind, as C libraries look for the end of a string --- */
static u64 find_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 30; n++) {
        __m128i wanted = _mm_set1_epi8((char)n);
        for (int i = 0; i < PIXELS; i += 16) {
            u32 found = (u32)_mm_movemask_epi8(_mm_cmpeq_epi8(LOAD(picture + i), wanted));
            if (found)
                sum += (u32)i + (u32)__builtin_ctz(found);
        }
    }
    return sum;
}

/* --- SSSE3: hexadecimal digits of bytes, by PSHUFB, PALIGNR, PMADDUBSW, PABS --- */
__attribute__((target("ssse3"))) static u64 hex_run(long iterations)
{
    const __m128i digits =
        _mm_setr_epi8('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f');
    __m128i sum = _mm_setzero_si128(), before = sum;
    for (long n = 0; n < iterations * 15; n++)
        for (int i = 0; i < PIXELS; i += 16) {
            __m128i p = LOAD(picture + i), low = _mm_and_si128(p, _mm_set1_epi8(15));
            __m128i high = _mm_and_si128(_mm_srli_epi16(p, 4), _mm_set1_epi8(15));
            low = _mm_shuffle_epi8(digits, low), high = _mm_shuffle_epi8(digits, high);
            STORE(result + i * 2, _mm_unpacklo_epi8(high, low));
            STORE(result + i * 2 + 16, _mm_unpackhi_epi8(high, low));
            sum = _mm_add_epi16(sum, _mm_maddubs_epi16(low, _mm_alignr_epi8(high, before, 5)));
            sum = _mm_abs_epi16(_mm_sub_epi16(sum, high));
            before = low;
        }
    return checksum(&sum, sizeof sum) ^ checksum(result, PIXELS * 2);
}

/* --- AES: counter mode with the AES instructions (the round keys are random numbers); CRC by PCLMULQDQ --- */
__attribute__((target("aes"))) static u64 aes_run(long iterations)
{
    __m128i keys[11], sum = _mm_setzero_si128();
    for (int i = 0; i < 11; i++)
        keys[i] = LOAD(other + i * 16);
    for (long n = 0; n < iterations * 4; n++)
        for (int i = 0; i < PIXELS; i += 32) {
            __m128i a = _mm_set_epi32((int)n, 1, 2, i), b = _mm_set_epi32((int)n, 1, 2, i + 1);
            a = _mm_xor_si128(a, keys[0]), b = _mm_xor_si128(b, keys[0]);
            for (int r = 1; r < 10; r++)
                a = _mm_aesenc_si128(a, keys[r]), b = _mm_aesenc_si128(b, keys[r]);
            a = _mm_aesenclast_si128(a, keys[10]), b = _mm_aesenclast_si128(b, keys[10]);
            STORE(result + i, _mm_xor_si128(a, LOAD(picture + i)));
            STORE(result + i + 16, _mm_xor_si128(b, LOAD(picture + i + 16)));
            sum = _mm_xor_si128(_mm_aesdec_si128(sum, a), b);
        }
    return checksum(&sum, sizeof sum) ^ checksum(result, PIXELS);
}

__attribute__((target("pclmul"))) static u64 clmul_run(long iterations)
{
    const __m128i k = _mm_set_epi32(0x1, 0x751997d0, 0x0, (int)0xccaa009e);
    __m128i a = _mm_set1_epi32(1), b = _mm_set1_epi32(2);
    for (long n = 0; n < iterations * 30; n++)
        for (int i = 0; i < PIXELS; i += 32) {
            a = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(a, k, 0x00), _mm_clmulepi64_si128(a, k, 0x11)),
                              LOAD(picture + i));
            b = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(b, k, 0x10), _mm_clmulepi64_si128(b, k, 0x01)),
                              LOAD(picture + i + 16));
        }
    a = _mm_xor_si128(a, b);
    return checksum(&a, sizeof a);
}

const struct workload workloads[] = {
    { "saxpy", prepare, saxpy_run },
    { "ddot", prepare, ddot_run },
    { "mandelbrot4", NULL, mandelbrot4_run },
    { "blend", prepare, blend_run },
    { "sad", prepare, sad_run },
    { "filter", prepare, filter_run },
    { "transpose", prepare, transpose_run },
    { "find", prepare, find_run },
    { "hex", prepare, hex_run },
    { "aes", prepare, aes_run },
    { "clmul", prepare, clmul_run },
    { NULL, NULL, NULL },
};
