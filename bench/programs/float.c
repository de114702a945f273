/* float.c - scalar floating point. Built three times: REAL double on SSE2, REAL long double and REAL double on the x87.
 *
 * Only + - * / and square root, which are exact everywhere, except in "trig" (x87 only).
 */
#include "bench.h"
#include <string.h>

typedef REAL real;
#ifndef SUFFIX
#define SUFFIX "" /* of the workloads' names */
#endif

static inline real root(real x)
{
    if (sizeof(real) == sizeof(double)) {
        double y = (double)x;
        return (real)__builtin_sqrt(y);
    }
    return (real)__builtin_sqrtl((long double)x);
}

/* --- nbody: the outer planets' way around the sun --- */
static struct body {
    real x[3], v[3], mass;
} bodies[5];

static void nbody_prepare(void)
{
    for (int i = 0; i < 5; i++) {
        for (int k = 0; k < 3; k++) {
            bodies[i].x[k] = (real)(rnd() % 20000) / 1000 - 10;
            bodies[i].v[k] = (real)(rnd() % 2000) / 1000 - 1;
        }
        bodies[i].mass = i ? (real)(rnd() % 1000) / 1000000 : 39;
    }
}

static void nbody_step(real dt)
{
    for (int i = 0; i < 5; i++)
        for (int j = i + 1; j < 5; j++) {
            real d[3], square = (real)0.01;
            for (int k = 0; k < 3; k++) {
                d[k] = bodies[i].x[k] - bodies[j].x[k];
                square += d[k] * d[k];
            }
            real size = dt / (square * root(square));
            for (int k = 0; k < 3; k++) {
                bodies[i].v[k] -= d[k] * bodies[j].mass * size;
                bodies[j].v[k] += d[k] * bodies[i].mass * size;
            }
        }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].x[k] += dt * bodies[i].v[k];
}

static u64 nbody_run(long iterations)
{
    for (long n = 0; n < iterations * 5000; n++)
        nbody_step((real)0.001);
    return bench_number(bodies[0].x[0]) ^ bench_number(bodies[3].v[2]);
}

/* --- mandelbrot: a picture of 48 x 48 --- */
static u64 mandelbrot_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++)
        for (int py = 0; py < 48; py++)
            for (int px = 0; px < 48; px++) {
                real cx = (real)px / 16 - 2, cy = (real)py / 16 - (real)1.5 + (real)(n & 7) / 1024, x = 0, y = 0;
                int i = 0;
                for (; i < 200 && x * x + y * y < 4; i++) {
                    real t = x * x - y * y + cx;
                    y = 2 * x * y + cy;
                    x = t;
                }
                sum += (u64)i;
            }
    return sum;
}

/* --- spectral: norm of an infinite matrix, cut at 100 x 100 --- */
static real cell(int i, int j) { return 1 / (real)((i + j) * (i + j + 1) / 2 + i + 1); }

static void multiply(const real *v, real *out, int transposed)
{
    for (int i = 0; i < 100; i++) {
        real sum = 0;
        for (int j = 0; j < 100; j++)
            sum += (transposed ? cell(j, i) : cell(i, j)) * v[j];
        out[i] = sum;
    }
}

static u64 spectral_run(long iterations)
{
    real u[100], v[100], t[100], uv = 0, vv = 0;
    for (int i = 0; i < 100; i++)
        u[i] = 1;
    for (long n = 0; n < iterations * 5; n++) {
        multiply(u, t, 0), multiply(t, v, 1);
        multiply(v, t, 0), multiply(t, u, 1);
        real scale = 1 / u[0];
        for (int i = 0; i < 100; i++)
            u[i] *= scale;
    }
    for (int i = 0; i < 100; i++)
        uv += u[i] * v[i], vv += v[i] * v[i];
    return bench_number(root(uv / vv));
}

/* --- fft: 1024 points forth and back; its roots of unity come from half-angle formulas --- */
#define POINTS 1024
static real re[POINTS], im[POINTS], wave_re[POINTS / 2], wave_im[POINTS / 2];

static void fft_prepare(void)
{
    wave_re[0] = 1, wave_im[0] = 0;
    wave_re[POINTS / 4] = 0, wave_im[POINTS / 4] = 1;
    for (int step = POINTS / 4; step > 1; step /= 2) /* the middle of two neighbours, normalised */
        for (int i = step / 2; i < POINTS / 2; i += step) {
            int next = i + step / 2;
            real x = wave_re[i - step / 2] + (next == POINTS / 2 ? -1 : wave_re[next]);
            real y = wave_im[i - step / 2] + (next == POINTS / 2 ? 0 : wave_im[next]);
            real length = root(x * x + y * y);
            wave_re[i] = x / length, wave_im[i] = y / length;
        }
    for (int i = 0; i < POINTS; i++)
        re[i] = (real)(rnd() % 2000) / 1000 - 1, im[i] = 0;
}

static void fft(real sign)
{
    for (int i = 1, j = 0; i < POINTS; i++) {
        int bit = POINTS >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            real t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i], im[i] = im[j], im[j] = t;
        }
    }
    for (int size = 2; size <= POINTS; size *= 2)
        for (int base = 0; base < POINTS; base += size)
            for (int k = 0; k < size / 2; k++) {
                int a = base + k, b = a + size / 2, w = k * (POINTS / size);
                real x = re[b] * wave_re[w] - im[b] * wave_im[w] * sign,
                     y = re[b] * wave_im[w] * sign + im[b] * wave_re[w];
                re[b] = re[a] - x, im[b] = im[a] - y;
                re[a] += x, im[a] += y;
            }
}

static u64 fft_run(long iterations)
{
    for (long n = 0; n < iterations * 20; n++) {
        fft(1), fft(-1);
        for (int i = 0; i < POINTS; i++)
            re[i] /= POINTS, im[i] /= POINTS;
    }
    return bench_number(re[1]) ^ bench_number(re[1000]);
}

/* --- matmul: 64 x 64; newton: roots of a polynomial, conversions and comparisons --- */
static real a[64][64], b[64][64], c[64][64];

static void matmul_prepare(void)
{
    for (int i = 0; i < 64 * 64; i++)
        a[i / 64][i % 64] = (real)(rnd() % 1000) / 500 - 1, b[i / 64][i % 64] = (real)(rnd() % 1000) / 500 - 1;
}

static u64 matmul_run(long iterations)
{
    real sum = 0;
    for (long n = 0; n < iterations * 4; n++) {
        a[n & 63][n >> 6 & 63] += 1;
        for (int i = 0; i < 64; i++)
            for (int j = 0; j < 64; j++) {
                real s = 0;
                for (int k = 0; k < 64; k++)
                    s += a[i][k] * b[k][j];
                c[i][j] = s;
            }
        sum += c[n & 63][n >> 6 & 63];
    }
    return bench_number(sum);
}

static u64 newton_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations * 5000; n++) {
        real target = (real)(n % 1000 + 2), x = target;
        for (int i = 0; i < 40; i++) {
            real next = x - (x * x * x - target) / (3 * x * x), change = next - x;
            x = next;
            if (change < (real)1e-6 && change > (real)-1e-6)
                break;
        }
        sum += (u64)(long)(x * 1000);
    }
    return sum;
}

#ifdef X87
/* --- trig: the x87's own transcendental instructions --- */
static u64 trig_run(long iterations)
{
    long double sum = 0;
    for (long n = 0; n < iterations * 2000; n++) {
        long double x = (long double)(n % 628) / 100, s, k, t, l;
        __asm__("fsincos" : "=t"(k), "=u"(s) : "0"(x));
        __asm__("fpatan" : "=t"(t) : "0"(k + 2), "u"(s) : "st(1)");
        __asm__("fyl2x" : "=t"(l) : "0"(x + 1), "u"(1.0L) : "st(1)");
        __asm__("f2xm1" : "=t"(x) : "0"(s / 2));
        sum += k + t + l + x;
    }
    return (u64)(long long)(sum * 1000); /* makers' last bits differ */
}
#endif

const struct workload workloads[] = {
    { "nbody" SUFFIX, nbody_prepare, nbody_run },
    { "mandelbrot" SUFFIX, NULL, mandelbrot_run },
    { "spectral" SUFFIX, NULL, spectral_run },
    { "fft" SUFFIX, fft_prepare, fft_run },
    { "matmul" SUFFIX, matmul_prepare, matmul_run },
    { "newton" SUFFIX, NULL, newton_run },
#ifdef X87
    { "trig", NULL, trig_run },
#endif
    { NULL, NULL, NULL },
};
