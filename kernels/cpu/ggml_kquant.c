/* The blocks of ggml's types out of what a search found: scales in few bits, codes, packing.
 * Layouts: ggml.c beside; formulas: quantize_row_*_impl of ggml-quants.c (llama.cpp b4748). */
#include <math.h>
#include <string.h>

#include "kernels/cpu/ggml_quant.h"
#include "libcore/base/le.h"

enum { SUPER = 256 };

/* ---- scales of a super-block that are not negative, in integers up to top ---- */

/* No importance: the largest is top. */
static float
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
static float
best_inverse(int n, int top, float max, const float *x, const float *w)
{
	float best = (float)top / max, error = 0;

	for (int i = 0; i < n; i++) {
		float d = x[i] - 1 / best * (float)nearest(best * x[i]);

		error += w[i] * d * d;
	}
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
static bool
move(int top, float x, float w, uint8_t *l, float *a, float *b)
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
static float
scale_by_weight(int n, int top, const float *x, const float *w, uint8_t *l)
{
	float max = 0, inverse, a = 0, b = 0;

	for (int i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	memset(l, 0, (size_t)n);
	if (max == 0)
		return 0;
	inverse = best_inverse(n, top, max, x, w);
	for (int i = 0; i < n; i++) {
		int v = nearest(inverse * x[i]);

		l[i] = (uint8_t)(v < top ? v : top);
		a += w[i] * x[i] * (float)l[i];
		b += w[i] * (float)l[i] * (float)l[i];
	}
	for (int pass = 0; pass < 5; pass++) {
		bool moved = false;

		for (int i = 0; i < n; i++)
			moved |= move(top, x[i], w[i], &l[i], &a, &b);
		if (!moved)
			break;
	}
	return b > 0 ? a / b : 0;
}

/* ---- scale and min: Q2_K, Q4_K, Q5_K ---- */

struct affine { /* a super-block */
	uint8_t scale[16], min[16];
	uint16_t d, dmin; /* float16 */
	uint8_t codes[SUPER];
};

/* n sub-blocks with scales up to top and codes up to max. */
static void
affine(struct affine *b, const float *x, const struct found *f, int at, int n, int top, int max,
    bool weighted)
{
	const float *scale = f->scale + at * n, *min = f->min + at * n, *w = f->sum + at * n;
	int len = SUPER / n;

	b->d = qz_f32_to_f16(weighted ? scale_by_weight(n, top, scale, w, b->scale)
				      : scale_by_largest(n, top, scale, b->scale));
	b->dmin = qz_f32_to_f16(weighted ? scale_by_weight(n, top, min, w, b->min)
					 : scale_by_largest(n, top, min, b->min));
	memcpy(b->codes, f->codes + at * SUPER, SUPER);
	for (int j = 0; j < n; j++, x += len) {
		float d = qz_f16_to_f32(b->d) * (float)b->scale[j];
		float m = qz_f16_to_f32(b->dmin) * (float)b->min[j];

		if (d == 0)
			continue;
		for (int i = 0; i < len; i++)
			b->codes[j * len + i] = (uint8_t)clamp(nearest((x[i] + m) / d), 0, max);
	}
}

/* Two bits a code, of each half: byte l has elements l, l + 32, l + 64, l + 96. */
static void
put_pairs(uint8_t *y, const uint8_t *q)
{
	for (int half = 0; half < 2; half++, q += 128, y += 32)
		for (int l = 0; l < 32; l++)
			y[l] = (uint8_t)((q[l] & 3) | (q[l + 32] & 3) << 2 | (q[l + 64] & 3) << 4 |
					 (q[l + 96] & 3) << 6);
}

void
CPU(finish_q2_k)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	struct affine b;

	for (int k = 0; k < n; k++, y += 84) {
		affine(&b, x + k * SUPER, f, k, 16, 15, 3, weighted);
		for (int j = 0; j < 16; j++)
			y[j] = (uint8_t)(b.scale[j] | b.min[j] << 4);
		put_pairs(y + 16, b.codes);
		le16_put(y + 80, b.d);
		le16_put(y + 82, b.dmin);
	}
}

/* Eight scales and mins of six bits in twelve bytes. */
static void
put_scale_min(uint8_t *y, const struct affine *b)
{
	for (int j = 0; j < 4; j++) {
		y[j] = (uint8_t)(b->scale[j] | b->scale[j + 4] >> 4 << 6);
		y[j + 4] = (uint8_t)(b->min[j] | b->min[j + 4] >> 4 << 6);
		y[j + 8] = (uint8_t)((b->scale[j + 4] & 15) | (b->min[j + 4] & 15) << 4);
	}
}

/* Nibbles, 64 elements in 32 bytes: low element l, high element l + 32. */
static void
put_nibbles_64(uint8_t *y, const uint8_t *q)
{
	for (int c = 0; c < 4; c++, q += 64, y += 32)
		for (int l = 0; l < 32; l++)
			y[l] = (uint8_t)((q[l] & 15) | (q[l + 32] & 15) << 4);
}

void
CPU(finish_q4_k)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	struct affine b;

	for (int k = 0; k < n; k++, y += 144) {
		affine(&b, x + k * SUPER, f, k, 8, 63, 15, weighted);
		le16_put(y, b.d);
		le16_put(y + 2, b.dmin);
		put_scale_min(y + 4, &b);
		put_nibbles_64(y + 16, b.codes);
	}
}

void
CPU(finish_q5_k)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	struct affine b;

	for (int k = 0; k < n; k++, y += 176) {
		affine(&b, x + k * SUPER, f, k, 8, 63, 31, weighted);
		le16_put(y, b.d);
		le16_put(y + 2, b.dmin);
		put_scale_min(y + 4, &b);
		memset(y + 16, 0, 32);
		for (int j = 0; j < 8; j++)
			for (int l = 0; l < 32; l++)
				y[16 + l] |= (uint8_t)(b.codes[32 * j + l] >> 4 << j);
		put_nibbles_64(y + 48, b.codes);
	}
}

/* ---- scale alone, of either sign: Q3_K, Q6_K, IQ4_XS ---- */

/* The value of largest magnitude, the first of equals, with its sign. */
static float
extreme(const float *x, int n)
{
	float max = 0;

	for (int i = 0; i < n; i++)
		max = fabsf(x[i]) > fabsf(max) ? x[i] : max;
	return max;
}

/* Codes of 16 elements, stored with +top, where the scale as read back is not zero. */
static void
symmetric_codes(uint8_t *codes, const float *x, float d, int top)
{
	if (d == 0)
		return;
	for (int i = 0; i < 16; i++)
		codes[i] = (uint8_t)(clamp(nearest(x[i] / d), -top, top - 1) + top);
}

/* Scales as 0 .. 63, 32 is zero. */
static uint16_t
q3_k_scales(const float *scale, uint8_t *l)
{
	float max = extreme(scale, 16), inverse = -32.0f / max;

	memset(l, 32, 16);
	if (max == 0)
		return 0;
	for (int j = 0; j < 16; j++)
		l[j] = (uint8_t)(clamp(nearest(inverse * scale[j]), -32, 31) + 32);
	return qz_f32_to_f16(1 / inverse);
}

static void
q3_k_put(uint8_t *y, const uint8_t *codes, const uint8_t *scales, bool zero, uint16_t d)
{
	memset(y, 0, 110);
	for (int i = 0; i < SUPER; i++)
		y[i % 32] |= (uint8_t)(codes[i] >> 2 << i / 32);
	put_pairs(y + 32, codes);
	for (int j = 0; j < 16 && !zero; j++) {
		y[96 + j % 8] |= (uint8_t)((scales[j] & 15) << j / 8 * 4);
		y[104 + j % 4] |= (uint8_t)(scales[j] >> 4 << 2 * (j / 4));
	}
	le16_put(y + 108, d);
}

/* With importance the sixteen scales are themselves searched for one. */
void
CPU(finish_q3_k)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	static const struct search scales = { SYMMETRIC, BY_GIVEN, 16, 32, 0, 0, 0, 0 };
	uint8_t l[256];
	float d[16], unused[16];
	struct found outer = { l, d, unused, unused };

	if (weighted)
		CPU(search)(&scales, f->scale, f->sum, n, &outer);
	for (int k = 0; k < n; k++, y += 110, x += SUPER) {
		uint8_t *codes = f->codes + k * SUPER, *own = l + 16 * k;
		uint16_t half = weighted ? qz_f32_to_f16(d[k])
					 : q3_k_scales(f->scale + 16 * k, own);
		bool zero = !weighted && half == 0 && extreme(f->scale + 16 * k, 16) == 0;

		for (int j = 0; j < 16; j++)
			symmetric_codes(codes + 16 * j, x + 16 * j,
			    qz_f16_to_f32(half) * (float)(own[j] - 32), 4);
		q3_k_put(y, codes, own, zero, half);
	}
}

void
CPU(finish_q6_k)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)weighted;
	for (int k = 0; k < n; k++, y += 210, x += SUPER) {
		const float *scale = f->scale + 16 * k;
		float max = extreme(scale, 16), inverse = -128.0f / max;
		uint8_t *q = f->codes + k * SUPER;
		uint16_t d = qz_f32_to_f16(1 / inverse);

		memset(y, 0, 210);
		if (fabsf(max) < SEARCH_TINY)
			continue;
		le16_put(y + 208, d);
		for (int j = 0; j < 16; j++) {
			int8_t s = (int8_t)clamp(nearest(inverse * scale[j]), -128, 127);

			y[192 + j] = (uint8_t)s;
			symmetric_codes(q + 16 * j, x + 16 * j, qz_f16_to_f32(d) * (float)s, 32);
		}
		for (int half = 0; half < 2; half++, q += 128)
			for (int l = 0; l < 32; l++) {
				y[64 * half + l] = (uint8_t)((q[l] & 15) | (q[l + 64] & 15) << 4);
				y[64 * half + l + 32] = (uint8_t)((q[l + 32] & 15) |
								  (q[l + 96] & 15) << 4);
				y[128 + 32 * half + l] = (uint8_t)(q[l] >> 4 | q[l + 32] >> 4 << 2 |
								   q[l + 64] >> 4 << 4 |
								   q[l + 96] >> 4 << 6);
			}
	}
}

static void
nonlinear_codes(uint8_t *y, const float *x, float d)
{
	float inverse = d != 0 ? 1 / d : 0;
	uint8_t q[32];

	for (int i = 0; i < 32; i++)
		q[i] = (uint8_t)nearest_iq4(inverse * x[i]);
	put_nibbles(y, q);
}

void
CPU(finish_iq4_xs)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)weighted;
	for (int k = 0; k < n; k++, y += 136, x += SUPER) {
		const float *scale = f->scale + 8 * k;
		float d = -extreme(scale, 8) / 32, inverse = d != 0 ? 1 / d : 0;
		unsigned high = 0;

		memset(y, 0, 8);
		le16_put(y, qz_f32_to_f16(d));
		for (int j = 0; j < 8; j++) {
			int l = clamp(nearest(inverse * scale[j]), -32, 31);

			nonlinear_codes(y + 8 + 16 * j, x + 32 * j, d * (float)l);
			y[4 + j / 2] |= (uint8_t)(((l + 32) & 15) << j % 2 * 4);
			high |= (unsigned)(l + 32) >> 4 << 2 * j;
		}
		le16_put(y + 2, (uint16_t)high);
	}
}

void
CPU(finish_iq4_nl)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)weighted;
	for (int k = 0; k < n; k++, y += 18, x += 32) {
		le16_put(y, qz_f32_to_f16(f->scale[k]));
		nonlinear_codes(y + 2, x, f->scale[k]);
	}
}

/* ---- blocks of 32 with importance: codes as found ---- */

void
CPU(finish_q4_0)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)x, (void)weighted;
	for (int k = 0; k < n; k++, y += 18) {
		le16_put(y, qz_f32_to_f16(f->scale[k]));
		put_nibbles(y + 2, f->codes + 32 * k);
	}
}

void
CPU(finish_q4_1)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)x, (void)weighted;
	for (int k = 0; k < n; k++, y += 20) {
		le16_put(y, qz_f32_to_f16(f->scale[k]));
		le16_put(y + 2, qz_f32_to_f16(-f->min[k]));
		put_nibbles(y + 4, f->codes + 32 * k);
	}
}

void
CPU(finish_q5_0)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)x, (void)weighted;
	for (int k = 0; k < n; k++, y += 22) {
		le16_put(y, qz_f32_to_f16(f->scale[k]));
		put_fifth_bits(y + 2, f->codes + 32 * k);
		put_nibbles(y + 6, f->codes + 32 * k);
	}
}

void
CPU(finish_q5_1)(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	(void)x, (void)weighted;
	for (int k = 0; k < n; k++, y += 24) {
		le16_put(y, qz_f32_to_f16(f->scale[k]));
		le16_put(y + 2, qz_f32_to_f16(-f->min[k]));
		put_fifth_bits(y + 4, f->codes + 32 * k);
		put_nibbles(y + 8, f->codes + 32 * k);
	}
}
