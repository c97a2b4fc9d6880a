/* The search for scales, fast: as many sub-blocks at a time as a vector has lanes, one in each.  What a lane does
 * is what ggml_plain.c does, operation by operation; where that branches, lanes compute both ways and
 * choose. */
#ifndef QZ_ORACLE
#include <math.h>
#include <string.h>

#include "kernels/cpu/ggml_quant.h"

/* One register: gcc keeps the parts of wider vectors in memory. */
#ifdef __AVX512F__
#define LANES 16
#elif defined __AVX2__
#define LANES 8
#else
#define LANES 4
#endif
enum { LEN_MAX = 32 };

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));

/* Element i of all sub-blocks is x[i]. */
struct tile {
	vf x[LEN_MAX], w[LEN_MAX];
	vf wx[LEN_MAX]; /* w * x */
	vf l[LEN_MAX];  /* codes under trial */
	vf sum, scale, min;
};

#define INLINE static inline __attribute__((always_inline))

INLINE vf
all(float f)
{
	return (vf){ 0 } + f;
}

INLINE vf
magnitude(vf a)
{
	return (vf)((vi)a & 0x7fffffff);
}

INLINE vf
choose(vi mask, vf yes, vf no)
{
	return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* Written as loops over arrays: the compilers know these as one instruction. */
INLINE vi
clamped(vi v, int lo, int hi)
{
	int32_t a[LANES];

	memcpy(a, &v, sizeof v);
	for (int i = 0; i < LANES; i++)
		a[i] = a[i] > lo ? a[i] : lo;
	for (int i = 0; i < LANES; i++)
		a[i] = a[i] < hi ? a[i] : hi;
	memcpy(&v, a, sizeof v);
	return v;
}

INLINE vf
roots(vf v)
{
	float a[LANES];

	memcpy(a, &v, sizeof v);
	for (int i = 0; i < LANES; i++)
		a[i] = sqrtf(a[i]);
	memcpy(&v, a, sizeof v);
	return v;
}

INLINE bool
any(vi mask)
{
	int32_t a[LANES], got = 0;

	memcpy(a, &mask, sizeof mask);
	for (int i = 0; i < LANES; i++)
		got |= a[i];
	return got;
}

/* nearest(), then clamp(). */
INLINE vf
rounded(vf f, int lo, int hi)
{
	vi i = ((vi)(f + 12582912.0f) & 0x7fffff) - 0x400000;

	return __builtin_convertvector(clamped(i, lo, hi), vf);
}

/* The value of largest magnitude, the first of equals, with its sign. */
INLINE vf
extreme(const struct tile *t, int len)
{
	vf big = all(0), max = all(0);

	for (int i = 0; i < len; i++) {
		vf a = magnitude(t->x[i]);
		vi larger = a > big;

		big = choose(larger, a, big);
		max = choose(larger, t->x[i], max);
	}
	return max;
}

INLINE void
make_products(struct tile *t, int len)
{
	for (int i = 0; i < len; i++)
		t->wx[i] = t->w[i] * t->x[i];
}

/* ---- symmetric ---- */

INLINE void
symmetric_sums(const struct tile *t, int len, int top, vf inverse, vf *a, vf *b)
{
	*a = *b = all(0);
	for (int i = 0; i < len; i++) {
		vf l = rounded(inverse * t->x[i], -top, top - 1);

		*a += t->wx[i] * l;
		*b += t->w[i] * l * l;
	}
}

INLINE void
symmetric(struct tile *t, int len, int top)
{
	vf max = extreme(t, len), chosen = all((float)-top) / max, a, b, best;
	vi tiny = magnitude(max) < SEARCH_TINY;

	make_products(t, len);
	symmetric_sums(t, len, top, chosen, &a, &b);
	t->scale = choose(b != 0, a / b, all(0));
	best = t->scale * a;
	for (int k = -9; k <= 9; k++) {
		vf inverse = all(-((float)top + 0.1f * (float)k)) / max, scale;
		vi better;

		if (k == 0)
			continue;
		symmetric_sums(t, len, top, inverse, &a, &b);
		better = (b > 0) & (a * a > best * b);
		scale = a / b;
		t->scale = choose(better, scale, t->scale);
		best = choose(better, scale * a, best);
		chosen = choose(better, inverse, chosen);
	}
	t->scale = choose(tiny, all(0), t->scale);
	for (int i = 0; i < len; i++)
		t->l[i] = choose(
		    tiny, all(0), rounded(chosen * t->x[i], -top, top - 1) + (float)top);
}

/* ---- affine ---- */

INLINE vf
affine_error(const struct tile *t, int len, bool absolute, vf scale, vf min)
{
	vf sum = all(0);

	for (int i = 0; i < len; i++) {
		vf d = scale * t->l[i] + min - t->x[i];

		sum += t->w[i] * (absolute ? magnitude(d) : d * d);
	}
	return sum;
}

INLINE void
affine_codes(struct tile *t, int len, int top, vf inverse, vf min)
{
	for (int i = 0; i < len; i++)
		t->l[i] = rounded(inverse * (t->x[i] - min), 0, top);
}

/* Codes, and the scale and min that fit them best; where none do `fits` is false. */
INLINE vi
affine_fit(struct tile *t, int len, int top, vf inverse, vf at, vf sx, vf *scale, vf *min)
{
	vf sl = all(0), sll = all(0), slx = all(0), d;
	vi positive;

	for (int i = 0; i < len; i++) {
		vf l = rounded(inverse * (t->x[i] - at), 0, top), wl = t->w[i] * l;

		sl += wl;
		sll += wl * l;
		slx += wl * t->x[i];
		t->l[i] = l;
	}
	d = t->sum * sll - sl * sl;
	*scale = (t->sum * slx - sx * sl) / d;
	*min = (sll * sx - sl * slx) / d;
	positive = *min > 0;
	*scale = choose(positive, slx / sll, *scale);
	*min = choose(positive, all(0), *min);
	return d > 0;
}

INLINE void
affine(struct tile *t, const struct search *s, int len, bool absolute)
{
	vf lo = t->x[0], hi = t->x[0], sx = t->w[0] * t->x[0];
	vf min, first, chosen, at, error;
	vi flat;

	for (int i = 1; i < len; i++) {
		lo = choose(t->x[i] < lo, t->x[i], lo);
		hi = choose(t->x[i] > hi, t->x[i], hi);
		sx += t->w[i] * t->x[i];
	}
	first = min = at = choose(lo > 0, all(0), lo);
	flat = hi <= min;
	chosen = all((float)s->top) / (hi - min);
	t->scale = 1 / chosen;
	affine_codes(t, len, s->top, chosen, min);
	error = affine_error(t, len, absolute, t->scale, min);
	for (int k = 0; k <= s->steps; k++) {
		vf inverse = all(s->first + s->step * (float)k + (float)s->top) / (hi - min);
		vf scale, try_min, e;
		vi better = affine_fit(t, len, s->top, inverse, min, sx, &scale, &try_min);

		e = affine_error(t, len, absolute, scale, try_min);
		better &= e < error;
		error = choose(better, e, error);
		t->scale = choose(better, scale, t->scale);
		chosen = choose(better, inverse, chosen);
		at = choose(better, min, at);
		min = choose(better, try_min, min);
	}
	affine_codes(t, len, s->top, chosen, at);
	for (int i = 0; i < len; i++)
		t->l[i] = choose(flat, all(0), t->l[i]);
	t->scale = choose(flat, all(0), t->scale);
	t->min = -choose(flat, first, min);
}

/* ---- one by one ---- */

/* Element i; where the code moved. */
INLINE vi
move(struct tile *t, int i, int top, vf *a, vf *b)
{
	vf w = t->w[i], x = t->x[i], l = t->l[i], a1 = *a - t->wx[i] * l, b1 = *b - w * l * l;
	vf n = rounded(x * b1 / a1, -top, top - 1);
	vi moved = (a1 > 0) & (n != l);

	a1 += t->wx[i] * n;
	b1 += w * n * n;
	moved &= (b1 > 0) & (a1 * a1 * *b > *a * *a * b1);
	t->l[i] = choose(moved, n, l);
	*a = choose(moved, a1, *a);
	*b = choose(moved, b1, *b);
	return moved;
}

/* A lane in which nothing moved in a pass stays as it is in the next. */
INLINE void
one_by_one(struct tile *t, int len, int top)
{
	vf max = extreme(t, len), inverse = all((float)-top) / max, a = all(0), b = all(0);
	vi tiny = magnitude(max) < SEARCH_TINY;

	make_products(t, len);
	for (int i = 0; i < len; i++) {
		vf l = t->l[i] = rounded(inverse * t->x[i], -top, top - 1);

		a += t->wx[i] * l;
		b += t->w[i] * l * l;
	}
	for (int pass = 0; pass < 5; pass++) {
		vi moved = { 0 };

		for (int i = 0; i < len; i++)
			moved |= move(t, i, top, &a, &b);
		if (!any(moved & ~tiny))
			break;
	}
	t->scale = choose(tiny, all(0), a / b);
	for (int i = 0; i < len; i++)
		t->l[i] = choose(tiny, all(0), t->l[i] + (float)top);
}

/* ---- nonlinear ---- */

/* The nearest entry of the table. */
INLINE vf
entry(vf v)
{
	vi q = (vi){ 0 } + iq4(0);

	for (int k = 0; k < 15; k++)
		q += (v >= iq4_middle(k)) & (iq4(k + 1) - iq4(k));
	return __builtin_convertvector(q, vf);
}

INLINE void
nonlinear_sums(const struct tile *t, int len, vf inverse, vf *a, vf *b)
{
	*a = *b = all(0);
	for (int i = 0; i < len; i++) {
		vf q = entry(inverse * t->x[i]), wq = t->w[i] * q;

		*a += wq * t->x[i];
		*b += wq * q;
	}
}

INLINE void
nonlinear(struct tile *t, int len)
{
	vf max = extreme(t, len), a, b, best;
	vi tiny = magnitude(max) < SEARCH_TINY;

	nonlinear_sums(t, len, 1 / (-max / (float)iq4(0)), &a, &b);
	t->scale = a / b;
	best = t->scale * a;
	for (int k = -7; k <= 7; k++) {
		vf scale;
		vi better;

		nonlinear_sums(t, len, all((float)(k + iq4(0))) / max, &a, &b);
		scale = a / b;
		better = (b > 0) & (a * a > best * b);
		t->scale = choose(better, scale, t->scale);
		best = choose(better, scale * a, best);
	}
	t->scale = choose(tiny, all(0), t->scale);
	for (int i = 0; i < len; i++)
		t->l[i] = all(0);
}

/* ---- tiles ---- */

/* Lanes beyond n repeat the last sub-block. */
INLINE void
load(vf *t, const float *x, int n, int len)
{
	float *to = (float *)t;

	for (int j = 0; j < LANES; j++) {
		const float *from = x + (j < n ? j : n - 1) * len;

		for (int i = 0; i < len; i++)
			to[i * LANES + j] = from[i];
	}
}

INLINE void
make_weights(struct tile *t, enum search_weight weight, int len)
{
	vf sum = all(0);

	for (int i = 0; i < len; i++)
		t->w[i] = weight == BY_SQUARE ? t->x[i] * t->x[i] : magnitude(t->x[i]);
	if (weight != BY_RMS)
		return;
	for (int i = 0; i < len; i++)
		sum += t->x[i] * t->x[i];
	sum = roots(sum / (float)len);
	for (int i = 0; i < len; i++)
		t->w[i] = sum + t->w[i];
}

INLINE void
store(const struct tile *t, int n, int len, int at, struct found *f)
{
	const float *l = (const float *)t->l;
	uint8_t *codes = f->codes + at * len;
	float values[3][LANES];

	memcpy(values[0], &t->scale, sizeof t->scale);
	memcpy(values[1], &t->min, sizeof t->min);
	memcpy(values[2], &t->sum, sizeof t->sum);
	for (int j = 0; j < n; j++) {
		f->scale[at + j] = values[0][j];
		f->min[at + j] = values[1][j];
		f->sum[at + j] = values[2][j];
		for (int i = 0; i < len; i++)
			codes[j * len + i] = (uint8_t)l[i * LANES + j];
	}
}

/* len is a constant wherever this is called, so that all loops unroll as they should. */
INLINE void
search_tile(const struct search *s, struct tile *t, int len)
{
	t->sum = t->min = all(0);
	if (s->weight != BY_GIVEN)
		make_weights(t, s->weight, len);
	for (int i = 0; i < len; i++)
		t->sum += t->w[i];
	if (s->kind == SYMMETRIC)
		symmetric(t, len, s->top);
	else if (s->kind == AFFINE && s->absolute)
		affine(t, s, len, true);
	else if (s->kind == AFFINE)
		affine(t, s, len, false);
	else if (s->kind == ONE_BY_ONE)
		one_by_one(t, len, s->top);
	else
		nonlinear(t, len);
}

void
CPU(search)(const struct search *s, const float *x, const float *w, int n, struct found *f)
{
	struct tile t;

	for (int at = 0; at < n; at += LANES) {
		int len = s->len, m = n - at < LANES ? n - at : LANES;

		load(t.x, x + at * len, m, len);
		if (s->weight == BY_GIVEN)
			load(t.w, w + at * len, m, len);
		if (len == 16)
			search_tile(s, &t, 16);
		else
			search_tile(s, &t, 32);
		store(&t, m, len, at, f);
	}
}
#endif
