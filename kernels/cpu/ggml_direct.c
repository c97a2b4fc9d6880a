/* ggml blocks without a search for scales, to llama-quantize's bytes on x86-64 (ggml-quants.c,
 * quantize_row_*_ref): float32, one rounding an operation, sums in index order. */
#include <string.h>

#include "kernels/cpu/absmax.h"
#include "kernels/cpu/ggml_quant.h"
#include "libcore/base/le.h"

/* The value of largest magnitude, the first of equals, with its sign. */
static float
extreme(const float *x)
{
	float best = 0, max = 0;

	for (int j = 0; j < 32; j++) {
		float a = x[j] < 0 ? -x[j] : x[j];

		if (a > best) {
			best = a;
			max = x[j];
		}
	}
	return max;
}

static void
range(const float *x, float *lo, float *hi)
{
	*lo = *hi = x[0];
	for (int j = 1; j < 32; j++) {
		*lo = x[j] < *lo ? x[j] : *lo;
		*hi = x[j] > *hi ? x[j] : *hi;
	}
}

static int
at_most(int v, int top)
{
	return v < top ? v : top;
}

/* d = extreme / -half, codes trunc(x / d + half + 0.5), the scale unrounded while quantizing. */
static void
symmetric(uint8_t *q, float *d, const float *x, int half)
{
	float id;

	*d = extreme(x) / (float)-half;
	id = *d != 0 ? 1.0f / *d : 0;
	for (int j = 0; j < 32; j++)
		q[j] = (uint8_t)at_most((int)(x[j] * id + ((float)half + 0.5f)), 2 * half - 1);
}

static void
affine(uint8_t *q, float *d, float *min, const float *x, int top)
{
	float hi, id;

	range(x, min, &hi);
	*d = (hi - *min) / (float)top;
	id = *d != 0 ? 1.0f / *d : 0;
	for (int j = 0; j < 32; j++)
		q[j] = (uint8_t)at_most((int)((x[j] - *min) * id + 0.5f), top);
}

static void
q4_0(uint8_t *y, const float *x)
{
	uint8_t q[32];
	float d;

	symmetric(q, &d, x, 8);
	le16_put(y, qz_f32_to_f16(d));
	put_nibbles(y + 2, q);
}

static void
q4_1(uint8_t *y, const float *x)
{
	uint8_t q[32];
	float d, min;

	affine(q, &d, &min, x, 15);
	le16_put(y, qz_f32_to_f16(d));
	le16_put(y + 2, qz_f32_to_f16(min));
	put_nibbles(y + 4, q);
}

static void
q5_0(uint8_t *y, const float *x)
{
	uint8_t q[32];
	float d;

	symmetric(q, &d, x, 16);
	le16_put(y, qz_f32_to_f16(d));
	put_fifth_bits(y + 2, q);
	put_nibbles(y + 6, q);
}

static void
q5_1(uint8_t *y, const float *x)
{
	uint8_t q[32];
	float d, min;

	affine(q, &d, &min, x, 31);
	le16_put(y, qz_f32_to_f16(d));
	le16_put(y + 2, qz_f32_to_f16(min));
	put_fifth_bits(y + 4, q);
	put_nibbles(y + 8, q);
}

/* d = absmax / 127; codes rounded half away from zero: the truncated value, and one more when the
 * rest, which is exact, is a half or more. */
static void
q8_0(uint8_t *y, const float *x)
{
	float d = absmax(x, 32) / 127.0f, id;
	int8_t q[32];

	id = d != 0 ? 1.0f / d : 0;
	le16_put(y, qz_f32_to_f16(d));
	for (int j = 0; j < 32; j++) {
		float v = x[j] * id, rest;
		int t = (int)v;

		rest = v - (float)t;
		q[j] = (int8_t)(t + (rest >= 0.5f) - (rest <= -0.5f));
	}
	memcpy(y + 2, q, 32);
}

quantize_block *
CPU(ggml_direct)(enum qz_dtype type)
{
	static quantize_block *const table[QZ_DTYPE_END] = {
		[QZ_Q4_0] = q4_0,
		[QZ_Q4_1] = q4_1,
		[QZ_Q5_0] = q5_0,
		[QZ_Q5_1] = q5_1,
		[QZ_Q8_0] = q8_0,
	};

	return type < QZ_DTYPE_END ? table[type] : NULL;
}
