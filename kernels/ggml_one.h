/* ggml_one - the search for the scale of one sub-block: ggml_search.h says what it is. */
#ifndef QZ_GGML_ONE_H
#define QZ_GGML_ONE_H

#include "kernels/ggml_search.h"

/* What a search finds for a sub-block, beside the codes. */
struct scales {
	float scale; /* NONLINEAR and SYMMETRIC: may be negative */
	float min;   /* AFFINE: what is subtracted, not negative; else 0 */
	float sum;   /* of the weights */
};

/* nearest(), then clamp(), of what is no NaN: numbers with 2^23's exponent are whole, so that no int has to
 * become a float. */
QZ_GGML_FN float
rounded(float f, int lo, int hi)
{
	int i = (int)(qz_f32_bits(f + 12582912.0f) & 0x7fffff);

	i = clamp(i, lo + 0x400000, hi + 0x400000);
	return qz_f32_from_bits((uint32_t)i | 0x4b000000) - 12582912.0f;
}

/* ---- symmetric ---- */

QZ_GGML_FN void
symmetric_sums(
    const struct search *s, const float *x, const float *w, float inverse, float *a, float *b)
{
	*a = *b = 0;
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++) {
		float l = rounded(inverse * x[i], -s->top, s->top - 1);

		*a += w[i] * x[i] * l;
		*b += w[i] * l * l;
	}
}

/* First the extreme's own scale, then those around it. */
QZ_GGML_FN float
symmetric(const struct search *s, const float *x, const float *w, uint8_t *codes)
{
	float max = extreme_of(x, s->len), chosen, a, b, scale, best;

	if (fabsf(max) < SEARCH_TINY) {
		no_codes(codes, s->len);
		return 0;
	}
	chosen = (float)-s->top / max;
	symmetric_sums(s, x, w, chosen, &a, &b);
	scale = b != 0 ? a / b : 0;
	best = scale * a;
	QZ_GGML_LOOP
	for (int k = -9; k <= 9; k++) {
		float inverse = -((float)s->top + 0.1f * (float)k) / max;

		if (k == 0)
			continue;
		symmetric_sums(s, x, w, inverse, &a, &b);
		if (!(b > 0 && a * a > best * b))
			continue;
		chosen = inverse;
		scale = a / b;
		best = scale * a;
	}
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		codes[i] = (uint8_t)(clamp(nearest(chosen * x[i]), -s->top, s->top - 1) + s->top);
	return scale;
}

/* ---- affine ---- */

QZ_GGML_FN float
affine_error(
    const struct search *s, const float *x, const float *w, const float *l, float scale, float min)
{
	float sum = 0;

	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++) {
		float d = scale * l[i] + min - x[i];

		sum += w[i] * (s->absolute ? fabsf(d) : d * d);
	}
	return sum;
}

/* Codes under trial.  Where the range is so small that its inverse is infinite, all are 0. */
QZ_GGML_FN void
affine_codes(const struct search *s, const float *x, float inverse, float min, float *l)
{
	float by = fabsf(inverse) < INFINITY ? inverse : 0;

	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		l[i] = rounded(by * (x[i] - min), 0, s->top);
}

/* Scale and min that fit codes l best; the min is not positive.  sw, sx: sums of w, w * x.  False: none do. */
QZ_GGML_FN bool
affine_fit(const struct search *s, const float *x, const float *w, const float *l, float sw,
    float sx, float *scale, float *min)
{
	float sl = 0, sll = 0, slx = 0, d;

	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++) {
		sl += w[i] * l[i];
		sll += w[i] * l[i] * l[i];
		slx += w[i] * l[i] * x[i];
	}
	d = sw * sll - sl * sl;
	if (!(d > 0))
		return false;
	*scale = (sw * slx - sx * sl) / d;
	*min = (sll * sx - sl * slx) / d;
	if (*min > 0) {
		*min = 0;
		*scale = slx / sll;
	}
	return true;
}

/* Least and largest value, and the sum of w * x. */
QZ_GGML_FN void
affine_range(
    const struct search *s, const float *x, const float *w, float *lo, float *hi, float *sx)
{
	*lo = *hi = x[0];
	*sx = 0;
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++) {
		*lo = x[i] < *lo ? x[i] : *lo;
		*hi = x[i] > *hi ? x[i] : *hi;
		*sx += w[i] * x[i];
	}
}

/* Each candidate's codes are counted from the best min so far. */
QZ_GGML_FN float
affine(const struct search *s, const float *x, const float *w, float sw, uint8_t *codes,
    float *min_out)
{
	float lo, hi, sx, l[32], chosen, at, scale, min, error;

	affine_range(s, x, w, &lo, &hi, &sx);
	at = min = lo > 0 ? 0 : lo;
	*min_out = -min;
	if (hi <= min) {
		no_codes(codes, s->len);
		return 0;
	}
	chosen = (float)s->top / (hi - min);
	scale = 1 / chosen;
	affine_codes(s, x, chosen, min, l);
	error = affine_error(s, x, w, l, scale, min);
	QZ_GGML_LOOP
	for (int k = 0; k <= s->steps; k++) {
		float inverse = (s->first + s->step * (float)k + (float)s->top) / (hi - min);
		float try_scale, try_min, e;

		affine_codes(s, x, inverse, min, l);
		if (!affine_fit(s, x, w, l, sw, sx, &try_scale, &try_min))
			continue;
		e = affine_error(s, x, w, l, try_scale, try_min);
		if (!(e < error))
			continue;
		error = e;
		scale = try_scale;
		chosen = inverse;
		at = min;
		min = try_min;
	}
	affine_codes(s, x, chosen, at, l);
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		codes[i] = (uint8_t)l[i];
	*min_out = -min;
	return scale;
}

/* ---- one by one ---- */

/* The code of one element moves where that makes a^2 / b, which is what the error falls by, larger. */
QZ_GGML_FN bool
move_code(const struct search *s, float x, float w, int *l, float *a, float *b)
{
	float a1 = *a - w * x * (float)*l, b1;
	int n;

	if (!(a1 > 0))
		return false;
	b1 = *b - w * (float)*l * (float)*l;
	n = clamp(nearest(x * b1 / a1), -s->top, s->top - 1);
	if (n == *l)
		return false;
	a1 += w * x * (float)n;
	b1 += w * (float)n * (float)n;
	if (!(b1 > 0 && a1 * a1 * *b > *a * *a * b1))
		return false;
	*l = n;
	*a = a1;
	*b = b1;
	return true;
}

QZ_GGML_FN float
one_by_one(const struct search *s, const float *x, const float *w, uint8_t *codes)
{
	float max = extreme_of(x, s->len), a = 0, b = 0;
	int l[32];

	if (fabsf(max) < SEARCH_TINY) {
		no_codes(codes, s->len);
		return 0;
	}
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++) {
		l[i] = clamp(nearest((float)-s->top / max * x[i]), -s->top, s->top - 1);
		a += w[i] * x[i] * (float)l[i];
		b += w[i] * (float)l[i] * (float)l[i];
	}
	QZ_GGML_LOOP
	for (int pass = 0; pass < 5; pass++) {
		bool moved = false;

		QZ_GGML_UNROLL
		for (int i = 0; i < s->len; i++)
			moved |= move_code(s, x[i], w[i], &l[i], &a, &b);
		if (!moved)
			break;
	}
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		codes[i] = (uint8_t)(l[i] + s->top);
	return a / b;
}

/* ---- nonlinear ---- */

/* The nearest entry, the upper one halfway between two. */
QZ_GGML_FN float
entry_iq4(float v)
{
	float q = (float)iq4(0);

	QZ_GGML_UNROLL
	for (int k = 0; k < 15; k++)
		if (v >= iq4_middle(k))
			q = (float)iq4(k + 1);
	return q;
}

QZ_GGML_FN void
nonlinear_sums(
    const struct search *s, const float *x, const float *w, float inverse, float *a, float *b)
{
	*a = *b = 0;
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++) {
		float q = entry_iq4(inverse * x[i]);

		*a += w[i] * q * x[i];
		*b += w[i] * q * q;
	}
}

/* Codes are made with the scale as it will be read back, not here. */
QZ_GGML_FN float
nonlinear(const struct search *s, const float *x, const float *w, uint8_t *codes)
{
	float max = extreme_of(x, s->len), a, b, scale, best;

	no_codes(codes, s->len);
	if (fabsf(max) < SEARCH_TINY)
		return 0;
	nonlinear_sums(s, x, w, 1 / (-max / (float)iq4(0)), &a, &b);
	scale = a / b;
	best = scale * a;
	QZ_GGML_LOOP
	for (int k = -7; k <= 7; k++) {
		nonlinear_sums(s, x, w, (float)(k + iq4(0)) / max, &a, &b);
		if (!(b > 0 && a * a > best * b))
			continue;
		scale = a / b;
		best = scale * a;
	}
	return scale;
}

/* ---- a sub-block ---- */

QZ_GGML_FN void
make_weights(const struct search *s, float *w, const float *x)
{
	float sum = 0, rms;

	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		sum += x[i] * x[i];
	rms = sqrtf(sum / (float)s->len);
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		w[i] = s->weight == BY_SQUARE ? x[i] * x[i]
		       : s->weight == BY_RMS  ? rms + fabsf(x[i])
					      : fabsf(x[i]);
}

/* x (len); w (len): the weights when they are given, else room for them; codes (len). */
QZ_GGML_FN struct scales
search_one(const struct search *s, const float *x, float *w, uint8_t *codes)
{
	struct scales f = { 0, 0, 0 };

	if (s->weight != BY_GIVEN)
		make_weights(s, w, x);
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		f.sum += w[i];
	if (s->kind == SYMMETRIC)
		f.scale = symmetric(s, x, w, codes);
	else if (s->kind == AFFINE)
		f.scale = affine(s, x, w, f.sum, codes, &f.min);
	else if (s->kind == ONE_BY_ONE)
		f.scale = one_by_one(s, x, w, codes);
	else
		f.scale = nonlinear(s, x, w, codes);
	return f;
}

#endif
