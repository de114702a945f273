/* avx2.c - 256-bit vectors by intrinsics: AVX, AVX2, FMA, and BMI2's scalar instructions. */
#include "bench.h"
#include <immintrin.h>
#include <string.h>

#define BYTES (256 * 1024)
#define SIZE  64
static u8 *picture, *other, *result;
static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];
static float *x, *y;
static u32 table[8192];

static void prepare(void)
{
    picture = bench_memory(BYTES);
    other = bench_memory(BYTES);
    result = bench_memory(BYTES);
    x = (float *)bench_memory(4096 * sizeof *x);
    y = (float *)bench_memory(4096 * sizeof *y);
    for (u32 i = 0; i < BYTES; i++)
        picture[i] = (u8)rnd(), other[i] = (u8)rnd();
    for (u32 i = 0; i < 4096; i++)
        x[i] = (float)(rnd() % 1000) / 1000, y[i] = (float)(rnd() % 1000) / 500 - 1;
    for (u32 i = 0; i < 8192; i++)
        table[i] = rnd();
    for (int i = 0; i < SIZE * SIZE; i++)
        a[i / SIZE][i % SIZE] = (double)(rnd() % 1000) / 500 - 1,
                        b[i / SIZE][i % SIZE] = (double)(rnd() % 1000) / 500 - 1;
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

#define LOAD(p)     _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)

/* --- dgemm: fused multiply-add, 4 x 8 results in registers --- */
static u64 dgemm_run(long iterations)
{
    for (long n = 0; n < iterations * 20; n++) {
        a[n % SIZE][n / SIZE % SIZE] += 1;
        for (int i = 0; i < SIZE; i += 4)
            for (int j = 0; j < SIZE; j += 8) {
                __m256d sum[4][2];
                for (int r = 0; r < 4; r++)
                    sum[r][0] = sum[r][1] = _mm256_setzero_pd();
                for (int k = 0; k < SIZE; k++) {
                    __m256d b0 = _mm256_loadu_pd(&b[k][j]), b1 = _mm256_loadu_pd(&b[k][j + 4]);
                    for (int r = 0; r < 4; r++) {
                        __m256d v = _mm256_broadcast_sd(&a[i + r][k]);
                        sum[r][0] = _mm256_fmadd_pd(v, b0, sum[r][0]);
                        sum[r][1] = _mm256_fmadd_pd(v, b1, sum[r][1]);
                    }
                }
                for (int r = 0; r < 4; r++) {
                    _mm256_storeu_pd(&c[i + r][j], sum[r][0]);
                    _mm256_storeu_pd(&c[i + r][j + 4], sum[r][1]);
                }
            }
    }
    return checksum(c, sizeof c);
}

static u64 saxpy_run(long iterations)
{
    for (long n = 0; n < iterations * 1000; n++) {
        __m256 k = _mm256_set1_ps(n & 1 ? 0.5f : -0.5f);
        for (int i = 0; i < 4096; i += 8)
            _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_mul_ps(k, _mm256_loadu_ps(x + i)), _mm256_loadu_ps(y + i)));
    }
    return checksum(y, 4096 * sizeof *y);
}

static u64 mandelbrot8_run(long iterations)
{
    __m256i total = _mm256_setzero_si256();
    const __m256 lanes = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
    for (long n = 0; n < iterations * 4; n++)
        for (int py = 0; py < 64; py++)
            for (int px = 0; px < 64; px += 8) {
                __m256 cx =
                    _mm256_sub_ps(_mm256_mul_ps(_mm256_add_ps(_mm256_set1_ps((float)px), lanes), _mm256_set1_ps(0.05f)),
                                  _mm256_set1_ps(2));
                __m256 cy = _mm256_set1_ps((float)py / 20 - 1.5f + (float)(n & 7) / 1024), p = cx, q = cy;
                for (int i = 0; i < 128; i++) {
                    __m256 pp = _mm256_mul_ps(p, p), qq = _mm256_mul_ps(q, q), pq = _mm256_mul_ps(p, q);
                    __m256 inside = _mm256_cmp_ps(_mm256_add_ps(pp, qq), _mm256_set1_ps(4), _CMP_LT_OQ);
                    if (_mm256_testz_ps(inside, inside))
                        break;
                    total = _mm256_sub_epi32(total, _mm256_castps_si256(inside));
                    p = _mm256_add_ps(_mm256_sub_ps(pp, qq), cx);
                    q = _mm256_add_ps(_mm256_add_ps(pq, pq), cy);
                }
            }
    return checksum(&total, sizeof total);
}

/* --- pixels: alpha blending in 16-bit lanes, packing; sums of absolute differences; bytes of a kind --- */
static u64 blend_run(long iterations)
{
    const __m256i zero = _mm256_setzero_si256();
    for (long n = 0; n < iterations * 15; n++) {
        __m256i alpha = _mm256_set1_epi16((short)(n * 37 & 255)),
                rest = _mm256_sub_epi16(_mm256_set1_epi16(255), alpha);
        for (int i = 0; i < BYTES; i += 32) {
            __m256i p = LOAD(picture + i), q = LOAD(other + i);
            __m256i low = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_unpacklo_epi8(p, zero), alpha),
                                           _mm256_mullo_epi16(_mm256_unpacklo_epi8(q, zero), rest));
            __m256i high = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_unpackhi_epi8(p, zero), alpha),
                                            _mm256_mullo_epi16(_mm256_unpackhi_epi8(q, zero), rest));
            STORE(result + i, _mm256_packus_epi16(_mm256_srli_epi16(low, 8), _mm256_srli_epi16(high, 8)));
        }
    }
    return checksum(result, BYTES);
}

static u64 sad_run(long iterations)
{
    __m256i sum = _mm256_setzero_si256();
    for (long n = 0; n < iterations * 20; n++)
        for (int i = 0; i < BYTES / 2; i += 32)
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(LOAD(picture + i), LOAD(other + i + (n & 63))));
    return checksum(&sum, sizeof sum);
}

static u64 find_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 100; n++) {
        __m256i wanted = _mm256_set1_epi8((char)n);
        for (int i = 0; i < 65536; i += 32) {
            u32 found = (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(LOAD(picture + i), wanted));
            if (found)
                sum += (u32)i + (u32)__builtin_ctz(found);
        }
    }
    return sum;
}

/* --- hash: eight 32-bit hashes side by side (multiply, rotate, xor) --- */
static u64 hash8_run(long iterations)
{
    const __m256i m1 = _mm256_set1_epi32((int)0xcc9e2d51), m2 = _mm256_set1_epi32(0x1b873593);
    __m256i h = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8);
    for (long n = 0; n < iterations * 15; n++)
        for (int i = 0; i < BYTES / 4; i += 32) {
            __m256i k = _mm256_mullo_epi32(LOAD(picture + i), m1);
            k = _mm256_or_si256(_mm256_slli_epi32(k, 15), _mm256_srli_epi32(k, 17));
            h = _mm256_xor_si256(h, _mm256_mullo_epi32(k, m2));
            h = _mm256_or_si256(_mm256_slli_epi32(h, 13), _mm256_srli_epi32(h, 19));
            h = _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(h, 2), h), _mm256_set1_epi32((int)0xe6546b64));
        }
    return checksum(&h, sizeof h);
}

/* --- shuffle: PSHUFB, VPERMD, VPERM2I128, variable shifts, blends; gather: eight table look-ups at once --- */
static u64 shuffle_run(long iterations)
{
    const __m256i turn = _mm256_setr_epi32(3, 1, 4, 7, 5, 0, 2, 6),
                  counts = _mm256_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15);
    __m256i sum = _mm256_setzero_si256();
    for (long n = 0; n < iterations * 30; n++)
        for (int i = 0; i < BYTES / 4; i += 32) {
            __m256i p = _mm256_permutevar8x32_epi32(LOAD(picture + i), turn), q = LOAD(other + i);
            p = _mm256_shuffle_epi8(p, _mm256_and_si256(q, _mm256_set1_epi8(15)));
            q = _mm256_permute2x128_si256(p, q, 0x21);
            q = _mm256_blend_epi32(_mm256_sllv_epi32(q, counts), _mm256_srlv_epi32(p, counts), 0x5a);
            sum = _mm256_add_epi32(_mm256_alignr_epi8(sum, q, 4), _mm256_blendv_epi8(p, q, sum));
        }
    return checksum(&sum, sizeof sum);
}

static u64 gather_run(long iterations)
{
    __m256i at = _mm256_setr_epi32(1, 20, 300, 4000, 5000, 600, 70, 8), sum = at;
    for (long n = 0; n < iterations * 20000; n++) {
        __m256i got = _mm256_i32gather_epi32((const int *)table, at, 4);
        sum = _mm256_add_epi32(sum, got);
        at = _mm256_and_si256(_mm256_add_epi32(_mm256_xor_si256(got, sum), _mm256_srli_epi32(got, 11)),
                              _mm256_set1_epi32(8191));
    }
    return checksum(&sum, sizeof sum);
}

/* --- bmi: PDEP, PEXT, ANDN, BZHI, RORX, MULX, TZCNT, LZCNT, POPCNT --- */
static u64 bmi_run(long iterations)
{
    u32 v = 12345, sum = 0, low, high;
    for (long n = 0; n < iterations * 100000; n++) {
        v = v * 1664525 + 1013904223;
        u32 spread = _pdep_u32(v, 0x5555a5a5), close = _pext_u32(v, 0x0ff0f00f);
        sum += (~spread & close) + _bzhi_u32(v, v >> 27) + _tzcnt_u32(v | 256) + _lzcnt_u32(v | 1);
        __asm__("mulx %3, %0, %1" : "=r"(low), "=r"(high) : "d"(v), "r"(spread));
        sum ^= low + high + (u32)_mm_popcnt_u32(close ^ v);
        sum = sum >> 9 | sum << 23;
    }
    return sum;
}

const struct workload workloads[] = {
    { "dgemm", prepare, dgemm_run },
    { "saxpy", prepare, saxpy_run },
    { "mandelbrot8", NULL, mandelbrot8_run },
    { "blend", prepare, blend_run },
    { "sad", prepare, sad_run },
    { "find", prepare, find_run },
    { "hash8", prepare, hash8_run },
    { "shuffle", prepare, shuffle_run },
    { "gather", prepare, gather_run },
    { "bmi", NULL, bmi_run },
    { NULL, NULL, NULL },
};
