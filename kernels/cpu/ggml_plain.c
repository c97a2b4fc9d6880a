/* The search for scales, the definition: one sub-block after another, as the formulas stand. */
#ifdef QZ_ORACLE
#include <math.h>

#include "kernels/cpu/ggml_search.h"

/* The value of largest magnitude, the first of equals, with its sign. */
static float
extreme(const float *x, int n)
{
	float max = 0;

	for (int i = 0; i < n; i++)
		max = fabsf(x[i]) > fabsf(max) ? x[i] : max;
	return max;
}

static void
make_weights(const struct search *s, float *w, const float *x)
{
	float sum = 0, rms;

	for (int i = 0; i < s->len; i++)
		sum += x[i] * x[i];
	rms = sqrtf(sum / (float)s->len);
	for (int i = 0; i < s->len; i++)
		w[i] = s->weight == BY_SQUARE ? x[i] * x[i]
		       : s->weight == BY_RMS  ? rms + fabsf(x[i])
					      : fabsf(x[i]);
}

/* ---- symmetric ---- */

static void
zero(uint8_t *codes, int n)
{
	for (int i = 0; i < n; i++)
		codes[i] = 0;
}

static float
symmetric(const struct search *s, const float *x, const float *w, uint8_t *codes)
{
	float max = extreme(x, s->len), scale = 0, best = 0;

	if (fabsf(max) < SEARCH_TINY) {
		zero(codes, s->len);
		return 0;
	}
	for (int k = -10; k <= 9; k++) { /* first the scale itself, then those around it */
		float inverse = k == -10 ? (float)-s->top / max
					 : -((float)s->top + 0.1f * (float)k) / max;
		float a = 0, b = 0;

		if (k == 0)
			continue;
		for (int i = 0; i < s->len; i++) {
			float l = (float)clamp(nearest(inverse * x[i]), -s->top, s->top - 1);

			a += w[i] * x[i] * l;
			b += w[i] * l * l;
		}
		if (k != -10 && !(b > 0 && a * a > best * b))
			continue;
		scale = b != 0 ? a / b : 0;
		best = scale * a;
		for (int i = 0; i < s->len; i++)
			codes[i] = (uint8_t)(clamp(nearest(inverse * x[i]), -s->top, s->top - 1) +
					     s->top);
	}
	return scale;
}

/* ---- affine ---- */

static float
affine_error(
    const struct search *s, const float *x, const float *w, const float *l, float scale, float min)
{
	float sum = 0;

	for (int i = 0; i < s->len; i++) {
		float d = scale * l[i] + min - x[i];

		sum += w[i] * (s->absolute ? fabsf(d) : d * d);
	}
	return sum;
}

static void
affine_codes(const struct search *s, const float *x, float inverse, float min, float *l)
{
	for (int i = 0; i < s->len; i++)
		l[i] = (float)clamp(nearest(inverse * (x[i] - min)), 0, s->top);
}

/* Scale and min that fit codes l best; the min is not positive.  False: none do. */
static bool
affine_fit(const struct search *s, const float *x, const float *w, const float *l, float *scale,
    float *min)
{
	float sw = 0, sx = 0, sl = 0, sll = 0, slx = 0, d;

	for (int i = 0; i < s->len; i++) {
		sw += w[i];
		sx += w[i] * x[i];
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

static float
affine(const struct search *s, const float *x, const float *w, uint8_t *codes, float *min_out)
{
	float lo = x[0], hi = x[0], l[32], inverse, scale, min, error;

	for (int i = 1; i < s->len; i++) {
		lo = x[i] < lo ? x[i] : lo;
		hi = x[i] > hi ? x[i] : hi;
	}
	min = lo > 0 ? 0 : lo;
	*min_out = -min;
	zero(codes, s->len);
	if (hi <= min)
		return 0;
	inverse = (float)s->top / (hi - min);
	scale = 1 / inverse;
	affine_codes(s, x, inverse, min, l);
	error = affine_error(s, x, w, l, scale, min);
	for (int i = 0; i < s->len; i++)
		codes[i] = (uint8_t)l[i];
	for (int k = 0; k <= s->steps; k++) {
		float try_scale, try_min, e;

		inverse = (s->first + s->step * (float)k + (float)s->top) / (hi - min);
		affine_codes(s, x, inverse, min, l);
		if (!affine_fit(s, x, w, l, &try_scale, &try_min))
			continue;
		e = affine_error(s, x, w, l, try_scale, try_min);
		if (!(e < error))
			continue;
		error = e;
		scale = try_scale;
		min = try_min;
		for (int i = 0; i < s->len; i++)
			codes[i] = (uint8_t)l[i];
	}
	*min_out = -min;
	return scale;
}

/* ---- one by one ---- */

/* The code of one element moves where that makes a^2 / b, which is what the error falls by, larger. */
static bool
move(const struct search *s, float x, float w, int *l, float *a, float *b)
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

static float
one_by_one(const struct search *s, const float *x, const float *w, uint8_t *codes)
{
	float max = extreme(x, s->len), a = 0, b = 0;
	int l[32];

	if (fabsf(max) < SEARCH_TINY) {
		zero(codes, s->len);
		return 0;
	}
	for (int i = 0; i < s->len; i++) {
		l[i] = clamp(nearest((float)-s->top / max * x[i]), -s->top, s->top - 1);
		a += w[i] * x[i] * (float)l[i];
		b += w[i] * (float)l[i] * (float)l[i];
	}
	for (int pass = 0; pass < 5; pass++) {
		bool moved = false;

		for (int i = 0; i < s->len; i++)
			moved |= move(s, x[i], w[i], &l[i], &a, &b);
		if (!moved)
			break;
	}
	for (int i = 0; i < s->len; i++)
		codes[i] = (uint8_t)(l[i] + s->top);
	return a / b;
}

/* ---- nonlinear ---- */

static float
nonlinear(const struct search *s, const float *x, const float *w, uint8_t *codes)
{
	float max = extreme(x, s->len), scale = 0, best = 0;

	zero(codes, s->len);
	if (fabsf(max) < SEARCH_TINY)
		return 0;
	for (int k = -8; k <= 7; k++) {
		float inverse = k == -8 ? 1 / (-max / (float)qz_iq4[0])
					: (float)(k + qz_iq4[0]) / max;
		float a = 0, b = 0;

		for (int i = 0; i < s->len; i++) {
			float q = (float)qz_iq4[nearest_iq4(inverse * x[i])];

			a += w[i] * q * x[i];
			b += w[i] * q * q;
		}
		if (k != -8 && !(b > 0 && a * a > best * b))
			continue;
		scale = a / b;
		best = scale * a;
	}
	return scale;
}

void
CPU(search)(const struct search *s, const float *x, const float *w, int n, struct found *f)
{
	float own[32];

	for (int j = 0; j < n; j++, x += s->len) {
		uint8_t *codes = f->codes + j * s->len;
		const float *weights = s->weight == BY_GIVEN ? w + j * s->len : own;

		if (s->weight != BY_GIVEN)
			make_weights(s, own, x);
		f->sum[j] = 0;
		for (int i = 0; i < s->len; i++)
			f->sum[j] += weights[i];
		f->min[j] = 0;
		if (s->kind == SYMMETRIC)
			f->scale[j] = symmetric(s, x, weights, codes);
		else if (s->kind == AFFINE)
			f->scale[j] = affine(s, x, weights, codes, &f->min[j]);
		else if (s->kind == ONE_BY_ONE)
			f->scale[j] = one_by_one(s, x, weights, codes);
		else
			f->scale[j] = nonlinear(s, x, weights, codes);
	}
}
#endif
