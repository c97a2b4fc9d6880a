/* adamw8 against a plain reference of bitsandbytes' formulas, in its order: the same bits from every CPU
 * variant and from a GPU.  The reference looks at all 256 values for the nearest one. */
#define _GNU_SOURCE
#include "kernels/nf4.h"
#include "tests/unit/tap.h"
#include "tests/unit/ops.h"

static const char *const variants[] = { "base", "avx2", "avx512", "cuda" };

struct state {
	int64_t n;
	float *p, *absmax_m, *absmax_v;
	uint8_t *m, *v;
	void *copy;
};

static struct state
fresh(struct out *o, int64_t n)
{
	struct state s = { .n = n, .p = floats(o, 1, n, 0.1) };
	int64_t blocks = (n + 255) / 256;

	s.m = memset(keep(o, need((size_t)n)), 0, (size_t)n);
	s.v = memset(keep(o, need((size_t)n)), 0, (size_t)n);
	s.absmax_m = memset(keep(o, need((size_t)blocks * 4)), 0, (size_t)blocks * 4);
	s.absmax_v = memset(keep(o, need((size_t)blocks * 4)), 0, (size_t)blocks * 4);
	s.copy = poison(o, n, 4);
	return s;
}

/* Halfway, the CUDA kernels end at an even code, from where the next one up must be nearer than that,
 * the next one down too. */
static uint8_t
nearest(const float *map, float x)
{
	int best = 0;

	for (int k = 1; k < 256; k++) {
		float mid = (map[k - 1] + map[k]) * 0.5f;

		if (k % 2 ? x > mid : x >= mid)
			best = k;
	}
	return (uint8_t)best;
}

static uint8_t
with_sign(uint8_t code, float m)
{
	if (!signbit(qz_map8_signed()[code]) == !signbit(m))
		return code;
	return (uint8_t)(m > 0 ? code + 1 : code - 1);
}

/* One block: s1, s2 are m and v. */
static void
step_block(
    struct state *s, const struct qz_adamw *a, float scale, const float *g, int64_t at, int64_t n)
{
	const float *map1 = qz_map8_signed(), *map2 = qz_map8_unsigned();
	double c1 = 1 - pow(a->beta1, a->step), c2 = sqrt(1 - pow(a->beta2, a->step));
	float beta1 = (float)a->beta1, beta2 = (float)a->beta2, step = (float)(-a->lr * c2 / c1);
	float rest1 = (float)(1 - a->beta1), rest2 = (float)(1 - a->beta2),
	      eps = (float)(c2 * a->eps);
	float s1[256], s2[256], max1 = 0, max2 = 0;
	float old1 = s->absmax_m[at / 256], old2 = s->absmax_v[at / 256];

	for (int64_t j = 0; j < n; j++) {
		float gj = g[at + j] * scale;

		s1[j] = s2[j] = 0;
		if (!isfinite(gj))
			continue;
		s1[j] = map1[s->m[at + j]] * old1 * beta1 + rest1 * gj;
		s2[j] = map2[s->v[at + j]] * old2 * beta2 + rest2 * gj * gj;
		max1 = fmaxf(max1, fabsf(s1[j]));
		max2 = fmaxf(max2, s2[j]);
		s->p[at + j] += step * (s1[j] / (sqrtf(s2[j]) + eps));
		s->p[at + j] *= (float)(1 - a->lr * a->weight_decay);
	}
	s->absmax_m[at / 256] = max1;
	s->absmax_v[at / 256] = max2;
	for (int64_t j = 0; j < n; j++) {
		s->m[at + j] = with_sign(nearest(map1, s1[j] * (1 / max1)), s1[j]);
		s->v[at + j] = nearest(map2, s2[j] * (1 / max2));
	}
}

static void
reference(struct state *s, const struct qz_adamw *a, double sum, const float *g)
{
	double ratio = a->clip / (sqrt(sum) + 1e-6);
	float scale = a->clip > 0 && ratio < 1 ? (float)ratio : 1;

	for (int64_t at = 0; at < s->n; at += 256)
		step_block(s, a, scale, g, at, s->n - at < 256 ? s->n - at : 256);
}

/* Gradients of a step: channels a hundred times the others, a block of zeros, and with `bad` some that are
 * not finite. */
static float *
gradients(struct out *o, int64_t n, int step, bool bad)
{
	float *g = floats(o, 10 + (uint64_t)step, n, 0.01);

	for (int64_t i = 0; i < n; i++) {
		g[i] *= i % 97 == 5 ? 100 : 1;
		if (i / 256 == 2)
			g[i] = 0;
		if (bad && i % 1001 == 7)
			g[i] = i % 2 ? NAN : INFINITY;
	}
	return g;
}

static bool
same(const struct state *a, const struct state *b)
{
	size_t n = (size_t)a->n, blocks = (n + 255) / 256;

	return !memcmp(a->p, b->p, n * 4) && !memcmp(a->m, b->m, n) && !memcmp(a->v, b->v, n) &&
	       !memcmp(a->absmax_m, b->absmax_m, blocks * 4) &&
	       !memcmp(a->absmax_v, b->absmax_v, blocks * 4);
}

static bool
same_copy(struct qz_dev *d, const struct state *s)
{
	struct out o = { 0 };
	struct qz_dev *cpu = open_variant("base", 1);
	void *want = keep(&o, need((size_t)s->n * 4));
	bool is;

	cpu->k->cast(cpu, want, d->k->act_type, s->p, QZ_F32, s->n);
	is = !memcmp(want, s->copy, (size_t)s->n * d->k->act_size);
	free(want);
	qz_device_close(cpu);
	return is;
}

static void
steps(const char *variant, int64_t n, int threads, bool bad)
{
	struct qz_dev *d = open_variant(variant, threads);
	struct out o = { 0 };
	struct state want, got;
	struct qz_adamw a = { 1e-2, 0.9, 0.999, 1e-8, 0.1, bad ? 0 : 0.5, 0, 0 };
	struct qz_err e = { 0 };
	bool equal = true, copied = true;

	if (!d) {
		skip("%s: not on this machine", variant);
		return;
	}
	want = fresh(&o, n);
	got = fresh(&o, n);
	for (int i = 0; i < 8; i++) {
		float *g = gradients(&o, n, i, bad);

		a.step = i + 1;
		d->k->adamw8(d, &a, &(double){ 4 }, got.p, got.m, got.v, got.absmax_m, got.absmax_v,
		    g, i % 2 ? got.copy : NULL, n);
		reference(&want, &a, 4, g);
		equal = equal && same(&want, &got);
		copied = copied && (i % 2 == 0 || same_copy(d, &got));
	}
	ok(d->k->sync(d, &e) == 0 && equal && copied, "%s: %lld elements%s, %d threads%s", variant,
	    (long long)n, bad ? ", some gradients not finite" : "", threads, e.msg);
	qz_device_close(d);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

/* Against the same steps with states in float32: what 8 bits change. */
static void
near_adamw(void)
{
	enum { N = 4096, STEPS = 50 };
	struct qz_dev *d = open_variant("base", 1);
	struct out o = { 0 };
	struct state s = fresh(&o, N);
	float *p = floats(&o, 1, N, 0.1), *m = floats(&o, 2, N, 0), *v = floats(&o, 3, N, 0);
	struct qz_adamw a = { 1e-3, 0.9, 0.999, 1e-8, 0.01, 0, 0, 0 };
	double off = 0, moved = 0, sum = 0;

	for (int i = 0; i < STEPS; i++) {
		float *g = keep(&o, need(N * 4));

		for (int k = 0; k < N; k++)
			g[k] = (float)(0.01 * (normal(20 + (uint64_t)i, (uint64_t)k) +
						  normal(5, (uint64_t)k)));
		a.step = i + 1;
		d->k->adamw(d, &a, &sum, p, m, v, g, NULL, N);
		d->k->adamw8(d, &a, &sum, s.p, s.m, s.v, s.absmax_m, s.absmax_v, g, NULL, N);
	}
	for (int k = 0; k < N; k++) {
		off += pow((double)s.p[k] - (double)p[k], 2);
		moved += pow((double)p[k] - drawn(1, k, 0.1), 2);
	}
	ok(sqrt(off / moved) < 0.05, "%d steps with 8 bits end %.1f %% off of those with 32", STEPS,
	    100 * sqrt(off / moved));
	qz_device_close(d);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

int
main(void)
{
	static const int64_t sizes[] = { 1, 255, 256, 257, 1003, 100000 };

	for (size_t v = 0; v < sizeof variants / sizeof *variants; v++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			steps(variants[v], sizes[i], 1 + (int)(i % 2), false);
			steps(variants[v], sizes[i], 2, true);
		}
	for (mirror_skew = 8; mirror_skew; mirror_skew = 0)
		steps("cuda", 1003, 1, false);
	near_adamw();
	return done();
}
