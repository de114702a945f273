/* sse_math.c - the rare part of sse_math.h. */
#include "cpu/sse_math.h"

static float128_t quad(bool dbl, u64 v)
{
    return f64_to_f128(dbl ? (float64_t){ v } : f32_to_f64((float32_t){ (u32)v }));
}

/* Does the quadruple's significand of 113 bits end in `spare` zeros? */
static bool ends_in_zeros(float128_t v, unsigned spare)
{
    u128 mant = (u128)v.v[1] << 64 | v.v[0];
    return !(mant & (((u128)1 << spare) - 1));
}

void sse_recheck(struct sse *s, bool dbl, enum sse_arith op, u64 x, u64 y, u64 z)
{
    float128_t r = quad(dbl || op == SSE_NARROW, x);
    softfloat_exceptionFlags = 0;
    switch (op) {
    case SSE_ADD: r = f128_add(r, quad(dbl, y)); break;
    case SSE_SUB: r = f128_sub(r, quad(dbl, y)); break;
    case SSE_MUL: r = f128_mul(r, quad(dbl, y)); break;
    case SSE_DIV: r = f128_div(r, quad(dbl, y)); break;
    case SSE_FMA: r = f128_add(f128_mul(r, quad(dbl, y)), quad(dbl, z)); break;
    case SSE_NARROW: break;
    }
    if (softfloat_exceptionFlags || !ends_in_zeros(r, dbl ? 60 : 89))
        s->post |= FP_PE;
    softfloat_exceptionFlags = 0;
    s->recheck = false;
}
