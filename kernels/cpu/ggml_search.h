/* ggml_search - how ggml's block types choose their scales, to llama-quantize's bytes.
 *
 * A row is cut into sub-blocks of 16 or 32 elements.  Each gets a scale, for some types a min too, and
 * codes: those that make the weighted error sum w (scale * code + min - x)^2 small, out of the
 * candidates that a formula names.  The bytes depend on every rounding, so all of it is float32, one
 * rounding an operation, sums from element 0 upwards.
 *
 * CPU(search) is there twice.  The oracle has ggml_plain.c, the definition: one sub-block after another.
 * The other variants have ggml_lanes.c: several sub-blocks at a time, each in a lane of its own, so that no
 * lane's order of operations changes.  Formulas: make_q*_quants of ggml-quants.c (llama.cpp b4748). */
#ifndef QZ_CPU_GGML_SEARCH_H
#define QZ_CPU_GGML_SEARCH_H

#include "kernels/cpu/cpu.h"
#include "libcore/base/half.h"

enum search_kind {
	SYMMETRIC, /* code - top, code in 0 .. 2 top - 1; the extreme element's scale and 18 around it */
	AFFINE, /* scale * code - min, code in 0 .. top; steps + 1 scales, mins by least squares */
	ONE_BY_ONE, /* as SYMMETRIC's first candidate, then each code moves where that helps, 5 times */
	NONLINEAR, /* code is an index into qz_iq4; the extreme's scale and 15 around it */
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

/* Arrays of the caller's, for n sub-blocks. */
struct found {
	uint8_t *codes; /* (n, len) */
	float *scale;   /* (n); NONLINEAR and SYMMETRIC: may be negative */
	float *min;     /* (n), AFFINE: what is subtracted, not negative */
	float *sum;     /* (n), AFFINE, or weight BY_GIVEN: sum of the weights */
};

/* x, w (n, len); w only when the weight is BY_GIVEN. */
void CPU(search)(const struct search *s, const float *x, const float *w, int n, struct found *f);

static const int8_t qz_iq4[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69,
	89, 113 };

#define SEARCH_TINY 1e-15f /* what is smaller than this counts as zero */

/* To the nearest whole number, halves to the even one, for |f| < 2^22; what comes out beyond is the same on
 * every machine, too. */
static inline int
nearest(float f)
{
	return (int)(qz_f32_bits(f + 12582912.0f) & 0x7fffff) - 0x400000;
}

static inline int
clamp(int v, int lo, int hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* The index of the nearest entry, of the upper one halfway between two. */
static inline int
nearest_iq4(float v)
{
	int i = 0;

	for (int k = 0; k < 15; k++)
		i += v >= (float)(qz_iq4[k] + qz_iq4[k + 1]) / 2;
	return i;
}

#endif
