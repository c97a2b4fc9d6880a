/* ggml_search - how ggml's block types choose their scales, to llama-quantize's bytes.  For C and for CUDA.
 *
 * A row is cut into sub-blocks of 16 or 32 elements.  Each gets a scale, for some types a min too, and
 * codes: those that make the weighted error sum w (scale * code + min - x)^2 small, out of the
 * candidates that a formula names.  The bytes depend on every rounding, so all of it is float32, one
 * rounding an operation, sums from element 0 upwards.
 *
 * ggml_one.h is the definition, one sub-block after another.  The CPU's oracle runs it as it stands, and so does
 * a GPU, a thread a sub-block: there loops are unrolled and arrays lie in registers, since len is a
 * constant.  The CPU's other variants have kernels/cpu/ggml_lanes.c: several sub-blocks at a time, each in a
 * lane of its own, so that no lane's order of operations changes.  Here is what they share.
 * Formulas: make_q*_quants of ggml-quants.c (llama.cpp b4748). */
#ifndef QZ_GGML_SEARCH_H
#define QZ_GGML_SEARCH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcore/base/half.h"

#ifdef __CUDACC__
#define QZ_GGML_FN static __device__ __forceinline__
#define QZ_GGML_UNROLL _Pragma("unroll")
#define QZ_GGML_LOOP _Pragma("unroll 1") /* what is inside is long */
#else
#define QZ_GGML_FN static inline __attribute__((always_inline))
#define QZ_GGML_UNROLL
#define QZ_GGML_LOOP
#endif

enum search_kind {
	DIRECT, /* none: ggml_blocks.h has a formula */
	SYMMETRIC, /* code - top, code in 0 .. 2 top - 1; the extreme element's scale and 18 around it */
	AFFINE, /* scale * code - min, code in 0 .. top; steps + 1 scales, mins by least squares */
	ONE_BY_ONE, /* as SYMMETRIC's first candidate, then each code moves where that helps, 5 times */
	NONLINEAR, /* code is an index into iq4(); the extreme's scale and 15 around it */
};

/* Weights of the error. */
enum search_weight {
	BY_SQUARE,    /* x^2 */
	BY_MAGNITUDE, /* |x| */
	BY_RMS,       /* sqrt(mean of x^2) + |x| */
	BY_GIVEN,     /* what the caller gives */
};

struct search {
	enum search_kind kind;
	enum search_weight weight;
	int len; /* elements of a sub-block, 16 or 32 */
	int top;
	/* AFFINE: candidates (first + step * k + top) / range for k = 0 .. steps; the error is absolute
	 * instead of squared */
	float first, step;
	int steps;
	bool absolute;
};

/* With an importance matrix the weight of column c is importance[c] * sqrt(factor * mean of x^2 + x^2), the
 * mean over span elements (0: the row), or with factor 0 importance[c] alone. */
struct importance {
	float factor;
	int span;
};

/* How a type is written: a row of ggml_types.def. */
struct recipe {
	struct search plain, weighted;
	struct importance importance;
};

#define SEARCH_TINY 1e-15f /* what is smaller than this counts as zero */

QZ_GGML_FN int
iq4(int i)
{
	static const int8_t values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38,
		53, 69, 89, 113 };

	return values[i];
}

/* Halfway between entries k and k + 1. */
QZ_GGML_FN float
iq4_middle(int k)
{
	return (float)(iq4(k) + iq4(k + 1)) / 2;
}

/* The index of the nearest entry, of the upper one halfway between two. */
QZ_GGML_FN int
nearest_iq4(float v)
{
	int i = 0;

	QZ_GGML_UNROLL
	for (int k = 0; k < 15; k++)
		i += v >= iq4_middle(k);
	return i;
}

QZ_GGML_FN int
clamp(int v, int lo, int hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* To the nearest whole number, halves to the even one, for |f| < 2^22; what comes out beyond is the same on
 * every machine, too: 0 of a NaN. */
QZ_GGML_FN int
nearest(float f)
{
	int i = (int)(qz_f32_bits(f + 12582912.0f) & 0x7fffff) - 0x400000;

	return i & -(int)(f == f);
}

/* The value of largest magnitude, the first of equals, with its sign. */
QZ_GGML_FN float
extreme_of(const float *x, int n)
{
	float big = 0, max = 0;

	QZ_GGML_UNROLL
	for (int i = 0; i < n; i++) {
		float a = fabsf(x[i]);

		max = a > big ? x[i] : max;
		big = a > big ? a : big;
	}
	return max;
}

QZ_GGML_FN void
no_codes(uint8_t *codes, int n)
{
	QZ_GGML_UNROLL
	for (int i = 0; i < n; i++)
		codes[i] = 0;
}

#endif
