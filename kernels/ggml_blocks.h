/* ggml_blocks - ggml's blocks out of what a search found, to llama-quantize's bytes: scales in few bits, codes,
 * packing.  For C and for CUDA.
 *
 * A block is made in steps, so that several threads can share one: block_scales() turns the scales of
 * its sub-blocks into the few bits that it has for them, sub_codes() makes the codes of a sub-block with its
 * scale as it will be read back, block_pack() writes the bytes.  Types without a search make everything in
 * direct_codes() but the bytes.  `type` is a constant wherever these are called.
 * Layouts: kernels/cpu/ggml.c; formulas: quantize_row_*_impl, quantize_row_*_ref of ggml-quants.c (llama.cpp
 * b4748). */
#ifndef QZ_GGML_BLOCKS_H
#define QZ_GGML_BLOCKS_H

#include "kernels/ggml_search.h"
#include "libcore/base/dtype.h"

struct block {
	uint8_t scale[16], min[16]; /* of the sub-blocks, as they are stored */
	uint16_t d, dmin;           /* float16: what they count in */
	float step;                 /* IQ4_NL, IQ4_XS: d before it was rounded */
	bool nothing;               /* Q6_K: all bytes are 0 */
};

/* Sub-blocks of a block. */
QZ_GGML_FN int
block_subs(enum qz_dtype type)
{
	if (type == QZ_Q2_K || type == QZ_Q3_K || type == QZ_Q6_K)
		return 16;
	return type == QZ_Q4_K || type == QZ_Q5_K || type == QZ_IQ4_XS ? 8 : 1;
}

/* For want of any weight the scale of a sub-block is no number.  Where it stands in the block as it is, llama-quantize
 * gives up; here the sub-block is searched once more, all columns alike. */
QZ_GGML_FN bool
lacks_weight(enum qz_dtype type, float scale)
{
	return type == QZ_IQ4_NL && !(scale == scale);
}

/* ---- scales that are not negative, in integers up to top ---- */

/* No importance: the largest is top. */
QZ_GGML_FN float
scale_by_largest(int n, int top, const float *x, uint8_t *l)
{
	float max = 0, inverse;

	for (int i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	inverse = max > 0 ? (float)top / max : 0;
	for (int i = 0; i < n; i++)
		l[i] = (uint8_t)clamp(nearest(inverse * x[i]), 0, top);
	return max / (float)top;
}

/* The inverse scale, of nine around top / max, with the smallest weighted error. */
QZ_GGML_FN float
best_inverse(int n, int top, float max, const float *x, const float *w)
{
	float best = (float)top / max, error = 0;

	for (int i = 0; i < n; i++) {
		float d = x[i] - 1 / best * (float)nearest(best * x[i]);

		error += w[i] * d * d;
	}
	QZ_GGML_LOOP
	for (int k = -4; k <= 4; k++) {
		float inverse = (0.1f * (float)k + (float)top) / max, scale = 1 / inverse, e = 0;

		if (k == 0)
			continue;
		for (int i = 0; i < n; i++) {
			int l = nearest(inverse * x[i]);
			float d = x[i] - scale * (float)(l < top ? l : top);

			e += w[i] * d * d;
		}
		if (e < error) {
			error = e;
			best = inverse;
		}
	}
	return best;
}

/* One integer moves where that makes a^2 / b larger. */
QZ_GGML_FN bool
move_scale(int top, float x, float w, uint8_t *l, float *a, float *b)
{
	float a1 = *a - w * x * (float)*l, b1 = *b - w * (float)*l * (float)*l;
	int n;

	if (!(a1 > 0 && b1 > 0))
		return false;
	n = nearest(x * b1 / a1);
	n = n < top ? n : top;
	if (n == *l)
		return false;
	a1 += w * x * (float)n;
	b1 += w * (float)n * (float)n;
	if (!(a1 * a1 * *b > *a * *a * b1))
		return false;
	*l = (uint8_t)n;
	*a = a1;
	*b = b1;
	return true;
}

/* With importance w: the weighted error is made small. */
QZ_GGML_FN float
scale_by_weight(int n, int top, const float *x, const float *w, uint8_t *l)
{
	float max = 0, inverse, a = 0, b = 0;

	for (int i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	no_codes(l, n);
	if (max == 0)
		return 0;
	inverse = best_inverse(n, top, max, x, w);
	for (int i = 0; i < n; i++) {
		int v = nearest(inverse * x[i]);

		l[i] = (uint8_t)(v < top ? v : top);
		a += w[i] * x[i] * (float)l[i];
		b += w[i] * (float)l[i] * (float)l[i];
	}
	QZ_GGML_LOOP
	for (int pass = 0; pass < 5; pass++) {
		bool moved = false;

		for (int i = 0; i < n; i++)
			moved |= move_scale(top, x[i], w[i], &l[i], &a, &b);
		if (!moved)
			break;
	}
	return b > 0 ? a / b : 0;
}

/* ---- scales of either sign ---- */

/* As 0 .. 63, 32 is zero; but where all are zero they are stored as 0. */
QZ_GGML_FN uint16_t
q3_k_scales(const float *scale, uint8_t *l)
{
	float max = extreme_of(scale, 16), inverse = -32.0f / max;

	for (int j = 0; j < 16; j++)
		l[j] = max == 0 ? 0 : (uint8_t)(clamp(nearest(inverse * scale[j]), -32, 31) + 32);
	return max == 0 ? 0 : qz_f32_to_f16(1 / inverse);
}

/* As int8.  A block that has next to nothing is zeros. */
QZ_GGML_FN void
q6_k_scales(const float *scale, struct block *b)
{
	float max = extreme_of(scale, 16), inverse = -128.0f / max;

	b->nothing = fabsf(max) < SEARCH_TINY;
	b->d = b->nothing ? 0 : qz_f32_to_f16(1 / inverse);
	for (int j = 0; j < 16; j++)
		b->scale[j] = b->nothing ? 0
					 : (uint8_t)clamp(nearest(inverse * scale[j]), -128, 127);
}

/* As 0 .. 63, 32 is zero; *d: what they count in. */
QZ_GGML_FN void
iq4_xs_scales(const float *scale, uint8_t *l, float *d)
{
	float inverse;

	*d = -extreme_of(scale, 8) / 32;
	inverse = *d != 0 ? 1 / *d : 0;
	for (int j = 0; j < 8; j++)
		l[j] = (uint8_t)(clamp(nearest(inverse * scale[j]), -32, 31) + 32);
}

/* ---- a block ---- */

/* A NaN, out of sums that overflowed, becomes x86-64's own. */
QZ_GGML_FN uint16_t
half_of(float f)
{
	return f == f ? qz_f32_to_f16(f) : 0xfe00;
}

/* With importance Q3_K's sixteen scales are themselves searched for one, by the sums of their weights. */
#define Q3_K_SCALES                                                                                \
	{                                                                                          \
		SYMMETRIC, BY_GIVEN, 16, 32, 0, 0, 0, false                                        \
	}

/* How many parts block_scales() has. */
QZ_GGML_FN int
block_parts(enum qz_dtype type)
{
	return type == QZ_Q2_K || type == QZ_Q4_K || type == QZ_Q5_K ? 2 : 1;
}

/* Part 0 of b, or part 1, from what was found for its sub-blocks.  Where Q3_K's scales are searched, whoever
 * calls does it: scale is then the one that was found, and b->scale has its codes. */
QZ_GGML_FN void
block_scales(enum qz_dtype type, bool weighted, int part, struct block *b, const float *scale,
    const float *min, const float *sum)
{
	int n = block_subs(type), top = type == QZ_Q2_K ? 15 : 63;
	const float *x = part ? min : scale;
	uint8_t *l = part ? b->min : b->scale;
	float d;

	if (block_parts(type) == 2) {
		d = weighted ? scale_by_weight(n, top, x, sum, l) : scale_by_largest(n, top, x, l);
		*(part ? &b->dmin : &b->d) = half_of(d);
	} else if (type == QZ_Q3_K) {
		b->d = weighted ? half_of(*scale) : q3_k_scales(scale, l);
	} else if (type == QZ_Q6_K) {
		q6_k_scales(scale, b);
	} else if (type == QZ_IQ4_XS) {
		iq4_xs_scales(scale, l, &b->step);
		b->d = half_of(b->step);
	} else {
		b->step = *scale;
		b->d = half_of(*scale);
		b->dmin = qz_f32_to_f16(-*min);
	}
}

/* Codes of 16 elements, stored with +top, where the scale as read back is not zero. */
QZ_GGML_FN void
symmetric_codes(uint8_t *__restrict__ codes, const float *__restrict__ x, float d, int top)
{
	if (d == 0)
		return;
	QZ_GGML_UNROLL
	for (int i = 0; i < 16; i++)
		codes[i] = (uint8_t)(clamp(nearest(x[i] / d), -top, top - 1) + top);
}

QZ_GGML_FN void
affine_again(
    uint8_t *__restrict__ codes, const float *__restrict__ x, int len, float d, float m, int top)
{
	if (d == 0)
		return;
	QZ_GGML_UNROLL
	for (int i = 0; i < len; i++)
		codes[i] = (uint8_t)clamp(nearest((x[i] + m) / d), 0, top);
}

QZ_GGML_FN void
nonlinear_codes(uint8_t *__restrict__ codes, const float *__restrict__ x, float d)
{
	float inverse = d != 0 ? 1 / d : 0;

	QZ_GGML_UNROLL
	for (int i = 0; i < 32; i++)
		codes[i] = (uint8_t)nearest_iq4(inverse * x[i]);
}

/* The codes of sub-block j, whose elements are x; they stay as the search left them where that is what is
 * stored, and where the scale came out as zero. */
QZ_GGML_FN void
sub_codes(enum qz_dtype type, const struct block *b, int j, const float *x, uint8_t *codes)
{
	float d = qz_f16_to_f32(b->d), min = qz_f16_to_f32(b->dmin) * (float)b->min[j];

	if (type == QZ_Q2_K)
		affine_again(codes, x, 16, d * (float)b->scale[j], min, 3);
	else if (type == QZ_Q4_K || type == QZ_Q5_K)
		affine_again(codes, x, 32, d * (float)b->scale[j], min, type == QZ_Q4_K ? 15 : 31);
	else if (type == QZ_Q3_K)
		symmetric_codes(codes, x, d * (float)(b->scale[j] - 32), 4);
	else if (type == QZ_Q6_K && b->nothing)
		no_codes(codes, 16);
	else if (type == QZ_Q6_K)
		symmetric_codes(codes, x, d * (float)(int8_t)b->scale[j], 32);
	else if (type == QZ_IQ4_XS)
		nonlinear_codes(codes, x, b->step * (float)(b->scale[j] - 32));
	else if (type == QZ_IQ4_NL)
		nonlinear_codes(codes, x, b->step);
}

/* ---- without a search, 32 elements: codes and b->d, b->dmin ---- */

/* Towards zero, as x86-64 converts: what no int holds becomes the lowest one. */
QZ_GGML_FN int
whole(float f)
{
#ifdef __CUDACC__
	return f >= -2147483648.0f && f < 2147483648.0f ? (int)f : -2147483647 - 1;
#else
	return (int)f;
#endif
}

QZ_GGML_FN int
at_most(int v, int top)
{
	return v < top ? v : top;
}

/* d = extreme / -half, codes trunc(x / d + half + 0.5), the scale unrounded while quantizing. */
QZ_GGML_FN void
direct_symmetric(struct block *b, uint8_t *q, const float *x, int half)
{
	float d = extreme_of(x, 32) / (float)-half, id = d != 0 ? 1.0f / d : 0;

	b->d = qz_f32_to_f16(d);
	QZ_GGML_UNROLL
	for (int j = 0; j < 32; j++)
		q[j] = (uint8_t)at_most(whole(x[j] * id + ((float)half + 0.5f)), 2 * half - 1);
}

QZ_GGML_FN void
direct_affine(struct block *b, uint8_t *q, const float *x, int top)
{
	float lo = x[0], hi = x[0], d, id;

	QZ_GGML_UNROLL
	for (int j = 1; j < 32; j++) {
		lo = x[j] < lo ? x[j] : lo;
		hi = x[j] > hi ? x[j] : hi;
	}
	d = (hi - lo) / (float)top;
	id = d != 0 ? 1.0f / d : 0;
	b->d = qz_f32_to_f16(d);
	b->dmin = qz_f32_to_f16(lo);
	QZ_GGML_UNROLL
	for (int j = 0; j < 32; j++)
		q[j] = (uint8_t)at_most(whole((x[j] - lo) * id + 0.5f), top);
}

/* d = largest magnitude / 127; codes rounded half away from zero: the truncated value, and one more when
 * the rest, which is exact, is a half or more.  Where 1 / d is infinite they are 0.  Magnitudes are compared as
 * bits, a NaN is the largest. */
QZ_GGML_FN void
direct_q8_0(struct block *b, uint8_t *q, const float *x)
{
	uint32_t max = 0;
	float d, id;

	QZ_GGML_UNROLL
	for (int j = 0; j < 32; j++) {
		uint32_t u = qz_f32_bits(x[j]) & 0x7fffffff;

		max = u > max ? u : max;
	}
	d = qz_f32_from_bits(max) / 127.0f;
	id = d != 0 && 1.0f / d < INFINITY ? 1.0f / d : 0;
	b->d = qz_f32_to_f16(d);
	QZ_GGML_UNROLL
	for (int j = 0; j < 32; j++) {
		float v = x[j] * id, rest;
		int t = whole(v);

		rest = v - (float)t;
		q[j] = (uint8_t)(t + (rest >= 0.5f) - (rest <= -0.5f));
	}
}

QZ_GGML_FN void
direct_codes(enum qz_dtype type, struct block *b, uint8_t *q, const float *x)
{
	if (type == QZ_Q8_0)
		direct_q8_0(b, q, x);
	else if (type == QZ_Q4_0 || type == QZ_Q5_0)
		direct_symmetric(b, q, x, type == QZ_Q4_0 ? 8 : 16);
	else
		direct_affine(b, q, x, type == QZ_Q4_1 ? 15 : 31);
}

/* ---- bytes; thread `lane` of `lanes` writes every lanes-th one of each part ---- */

QZ_GGML_FN void
put_half(uint8_t *y, uint16_t h, int lane)
{
	if (lane)
		return;
	y[0] = (uint8_t)h;
	y[1] = (uint8_t)(h >> 8);
}

/* Nibbles of `half` pairs: low element j, high element j + half. */
QZ_GGML_FN void
put_nibbles(uint8_t *y, const uint8_t *q, int half, int lane, int lanes)
{
	for (int j = lane; j < half; j += lanes)
		y[j] = (uint8_t)((q[j] & 15) | (q[j + half] & 15) << 4);
}

/* One bit of 32 codes. */
QZ_GGML_FN void
put_bits(uint8_t *y, const uint8_t *q, int bit, int lane, int lanes)
{
	for (int k = lane; k < 4; k += lanes) {
		unsigned bits = 0;

		for (int j = 0; j < 8; j++)
			bits |= (unsigned)(q[8 * k + j] >> bit & 1) << j;
		y[k] = (uint8_t)bits;
	}
}

/* One bit of 256 codes: bit j of byte l is element 32 j + l's. */
QZ_GGML_FN void
put_planes(uint8_t *y, const uint8_t *q, int bit, int lane, int lanes)
{
	for (int l = lane; l < 32; l += lanes) {
		unsigned bits = 0;

		for (int j = 0; j < 8; j++)
			bits |= (unsigned)(q[32 * j + l] >> bit & 1) << j;
		y[l] = (uint8_t)bits;
	}
}

/* Two bits a code, from bit `shift` on, of each half: byte l has elements l, l + 32, l + 64, l + 96. */
QZ_GGML_FN void
put_pairs(uint8_t *y, const uint8_t *q, int shift, int lane, int lanes)
{
	for (int half = 0; half < 2; half++, q += 128, y += 32)
		for (int l = lane; l < 32; l += lanes)
			y[l] = (uint8_t)((q[l] >> shift & 3) | (q[l + 32] >> shift & 3) << 2 |
					 (q[l + 64] >> shift & 3) << 4 |
					 (q[l + 96] >> shift & 3) << 6);
}

/* Eight scales and mins of six bits in twelve bytes. */
QZ_GGML_FN void
put_scale_min(uint8_t *y, const struct block *b, int lane, int lanes)
{
	for (int j = lane; j < 4; j += lanes) {
		y[j] = (uint8_t)(b->scale[j] | b->scale[j + 4] >> 4 << 6);
		y[j + 4] = (uint8_t)(b->min[j] | b->min[j + 4] >> 4 << 6);
		y[j + 8] = (uint8_t)((b->scale[j + 4] & 15) | (b->min[j + 4] & 15) << 4);
	}
}

QZ_GGML_FN void
pack_q2_k(uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	for (int j = lane; j < 16; j += lanes)
		y[j] = (uint8_t)(b->scale[j] | b->min[j] << 4);
	put_pairs(y + 16, q, 0, lane, lanes);
	put_half(y + 80, b->d, lane);
	put_half(y + 82, b->dmin, lane);
}

QZ_GGML_FN void
pack_q3_k(uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	const uint8_t *s = b->scale;

	put_planes(y, q, 2, lane, lanes);
	put_pairs(y + 32, q, 0, lane, lanes);
	for (int j = lane; j < 8; j += lanes)
		y[96 + j] = (uint8_t)((s[j] & 15) | (s[j + 8] & 15) << 4);
	for (int j = lane; j < 4; j += lanes)
		y[104 + j] = (uint8_t)(s[j] >> 4 | s[j + 4] >> 4 << 2 | s[j + 8] >> 4 << 4 |
				       s[j + 12] >> 4 << 6);
	put_half(y + 108, b->d, lane);
}

QZ_GGML_FN void
pack_q45_k(
    enum qz_dtype type, uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	put_half(y, b->d, lane);
	put_half(y + 2, b->dmin, lane);
	put_scale_min(y + 4, b, lane, lanes);
	y += 16;
	if (type == QZ_Q5_K) {
		put_planes(y, q, 4, lane, lanes);
		y += 32;
	}
	for (int c = 0; c < 4; c++)
		put_nibbles(y + 32 * c, q + 64 * c, 32, lane, lanes);
}

QZ_GGML_FN void
pack_q6_k(uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	for (int half = 0; half < 2; half++)
		put_nibbles(y + 64 * half, q + 128 * half, 64, lane, lanes);
	put_pairs(y + 128, q, 4, lane, lanes);
	for (int j = lane; j < 16; j += lanes)
		y[192 + j] = b->scale[j];
	put_half(y + 208, b->d, lane);
}

QZ_GGML_FN void
pack_iq4_xs(uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	const uint8_t *s = b->scale;
	unsigned high = 0;

	put_half(y, b->d, lane);
	for (int j = 0; j < 8; j++)
		high |= (unsigned)s[j] >> 4 << 2 * j;
	put_half(y + 2, (uint16_t)high, lane);
	for (int j = lane; j < 4; j += lanes)
		y[4 + j] = (uint8_t)((s[2 * j] & 15) | (s[2 * j + 1] & 15) << 4);
	for (int j = 0; j < 8; j++)
		put_nibbles(y + 8 + 16 * j, q + 32 * j, 16, lane, lanes);
}

/* d, for _1 types the min, the fifth bits of Q5 types, nibbles. */
QZ_GGML_FN void
pack_32(
    enum qz_dtype type, uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	put_half(y, b->d, lane);
	y += 2;
	if (type == QZ_Q4_1 || type == QZ_Q5_1) {
		put_half(y, b->dmin, lane);
		y += 2;
	}
	if (type == QZ_Q5_0 || type == QZ_Q5_1) {
		put_bits(y, q, 4, lane, lanes);
		y += 4;
	}
	put_nibbles(y, q, 16, lane, lanes);
}

QZ_GGML_FN void
pack_q8_0(uint8_t *y, const struct block *b, const uint8_t *q, int lane, int lanes)
{
	put_half(y, b->d, lane);
	for (int j = lane; j < 32; j += lanes)
		y[2 + j] = q[j];
}

QZ_GGML_FN void
block_pack(enum qz_dtype type, uint8_t *y, const struct block *b, const uint8_t *codes, int lane,
    int lanes)
{
	if (type == QZ_Q2_K)
		pack_q2_k(y, b, codes, lane, lanes);
	else if (type == QZ_Q3_K)
		pack_q3_k(y, b, codes, lane, lanes);
	else if (type == QZ_Q4_K || type == QZ_Q5_K)
		pack_q45_k(type, y, b, codes, lane, lanes);
	else if (type == QZ_Q6_K)
		pack_q6_k(y, b, codes, lane, lanes);
	else if (type == QZ_IQ4_XS)
		pack_iq4_xs(y, b, codes, lane, lanes);
	else if (type == QZ_Q8_0)
		pack_q8_0(y, b, codes, lane, lanes);
	else
		pack_32(type, y, b, codes, lane, lanes);
}

#endif
