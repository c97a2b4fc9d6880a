/* lanes - sums in 32 partial sums, element i in lane i % 32, folded in halves at the end: an order that
 * depends on n alone, and that any vector width can follow.  Also exp and sqrt, in the precision of real. */
#ifndef QZ_CPU_LANES_H
#define QZ_CPU_LANES_H

#include <math.h>

#include "kernels/cpu/cpu.h"
#include "libcore/base/half.h"

enum { LANES = 32 };

/* a * b + c, rounded once where the processor has it: a variant's own bits. */
static inline real
fma_real(real a, real b, real c)
{
#if defined __FMA__ && !defined QZ_ORACLE
	return __builtin_fmaf(a, b, c);
#else
	return a * b + c;
#endif
}

static inline real
fold(real s[LANES])
{
#pragma GCC unroll 5
	for (int half = LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 16
		for (int j = 0; j < half; j++)
			s[j] += s[j + half];
	return s[0];
}

static inline real
fold_largest(real m[LANES])
{
#pragma GCC unroll 5
	for (int half = LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 16
		for (int j = 0; j < half; j++)
			m[j] = m[j + half] > m[j] ? m[j + half] : m[j];
	return m[0];
}

static inline real
dot(const real *restrict a, const real *restrict b, int64_t n)
{
	real s[LANES] = { 0 };
	int64_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			s[j] = fma_real(a[i + j], b[i + j], s[j]);
	for (int j = 0; i < n; i++, j++)
		s[j] = fma_real(a[i], b[i], s[j]);
	return fold(s);
}

static inline real
total(const real *x, int64_t n)
{
	real s[LANES] = { 0 };
	int64_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			s[j] += x[i + j];
	for (int j = 0; i < n; i++, j++)
		s[j] += x[i];
	return fold(s);
}

/* n > 0 */
static inline real
largest(const real *x, int64_t n)
{
	real m[LANES];
	int64_t i = 0;

	for (int j = 0; j < LANES; j++)
		m[j] = x[0];
	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			m[j] = x[i + j] > m[j] ? x[i + j] : m[j];
	for (int j = 0; i < n; i++, j++)
		m[j] = x[i] > m[j] ? x[i] : m[j];
	return fold_largest(m);
}

#ifdef QZ_ORACLE
static inline real
exponential(real x)
{
	return exp(x);
}

static inline real
square_root(real x)
{
	return sqrt(x);
}
#else
/* 2^n * e^r with n = round(x / ln 2), |r| <= ln 2 / 2, ln 2 in two parts; the polynomial is expf's of
 * the Cephes library.  Below -87.3 the result is 0, above 88.7 it stays at e^88.7. */
static inline real
exponential(real x)
{
	float c = x > 88.7f ? 88.7f : x < -87.3f ? -87.3f : x;
	float t = fma_real(c, 1.44269504f, 12582912.0f), n = t - 12582912.0f;
	float r = fma_real(n, 2.12194440e-4f, fma_real(n, -0.693359375f, c));
	float p = 1.9875691500e-4f;

	p = fma_real(p, r, 1.3981999507e-3f);
	p = fma_real(p, r, 8.3334519073e-3f);
	p = fma_real(p, r, 4.1665795894e-2f);
	p = fma_real(p, r, 1.6666665459e-1f);
	p = fma_real(p, r, 5.0000001201e-1f);
	p = fma_real(p, r * r, r) + 1.0f;
	p *= qz_f32_from_bits((qz_f32_bits(t) << 23) + 0x3f800000);
	return x < -87.3f ? 0 : p;
}

static inline real
square_root(real x)
{
	return sqrtf(x);
}
#endif

#endif
