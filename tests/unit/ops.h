/* ops - how the tests of single ops are run.
 *
 * A case fills its inputs from streams of normal numbers, rounded to float32 so that all variants
 * get the same ones, runs an op on poisoned outputs and hands them to emit().  compare() runs it in
 * float64 and on each CPU variant: twice and with another number of threads, which must give the same
 * bits, and within the row's bound of the float64 result: |got - ref| / |ref|, each output alone.
 * Then the same on a GPU, when there is one, with activations in bfloat16 and in float16: with inputs rounded to
 * them and the row's other bound, which float16's three bits more make an eighth.
 * gradient() compares what an op wrote with central differences of a scalar function in float64. */
#ifndef QZ_TEST_OPS_H
#define QZ_TEST_OPS_H

#include "tests/unit/device.h"
#include "libcore/base/half.h"

enum { MAX_OUTPUTS = 64, MAX_SHAPE = 8, MAX_OWNED = 96 };

struct out {
	double *v;
	int64_t n, room, start[MAX_OUTPUTS + 1];
	double loose[MAX_OUTPUTS]; /* times the bound, on a GPU */
	int outputs;
	void *owned[MAX_OWNED];
	int n_owned;
};

struct op_case {
	const char *name;
	void (*run)(struct qz_dev *d, const int *shape, struct out *o);
	int shape[MAX_SHAPE];
	double bound, gpu;
};

/* Inputs are numbers of activations' type (half: float16, else bfloat16), whatever holds them; shapes are a
 * model's. */
static bool narrow, half, large;
/* Where products take bfloat16 operands; 0: the row's own. */
static double bf16_bound;

__attribute__((unused)) static void *
keep(struct out *o, void *p)
{
	if (o->n_owned == MAX_OWNED)
		abort();
	return o->owned[o->n_owned++] = p;
}

static float
drawn(uint64_t stream, int64_t i, double scale)
{
	float v = (float)(normal(stream, (uint64_t)i) * scale);

	if (!narrow)
		return v;
	return half ? qz_f16_to_f32(qz_f32_to_f16(v)) : qz_bf16_to_f32(qz_f32_to_bf16(v));
}

/* n numbers: normal ones times scale. */
__attribute__((unused)) static void *
numbers(struct out *o, enum qz_dtype type, uint64_t stream, int64_t n, double scale)
{
	void *p = keep(o, need((size_t)n * qz_dtype(type)->bytes));

	for (int64_t i = 0; i < n; i++) {
		float v = drawn(stream, i, scale);

		if (type == QZ_F64)
			((double *)p)[i] = v;
		else if (type == QZ_F32)
			((float *)p)[i] = v;
		else
			((uint16_t *)p)[i] = type == QZ_F16 ? qz_f32_to_f16(v) : qz_f32_to_bf16(v);
	}
	return p;
}

/* Of activations, and of what is in par's type. */
__attribute__((unused)) static void *
reals(struct qz_dev *d, struct out *o, uint64_t stream, int64_t n, double scale)
{
	return numbers(o, d->k->act_type, stream, n, scale);
}

__attribute__((unused)) static void *
pars(struct qz_dev *d, struct out *o, uint64_t stream, int64_t n, double scale)
{
	return numbers(o, d->k->par_type, stream, n, scale);
}

__attribute__((unused)) static float *
floats(struct out *o, uint64_t stream, int64_t n, double scale)
{
	return numbers(o, QZ_F32, stream, n, scale);
}

/* Gradients of logits: rows of activations, each as long as one of par, NaNs behind. */
__attribute__((unused)) static void *
logit_rows(struct qz_dev *d, struct out *o, uint64_t stream, int64_t rows, int64_t cols)
{
	size_t act = d->k->act_size, par = d->k->par_size;
	char *all = keep(o, need((size_t)(rows * cols) * par));
	char *x = reals(d, o, stream, rows * cols, 1);

	memset(all, 0xff, (size_t)(rows * cols) * par);
	for (int64_t i = 0; i < rows; i++)
		memcpy(all + (size_t)(i * cols) * par, x + (size_t)(i * cols) * act,
		    (size_t)cols * act);
	return all;
}

/* n elements of NaN. */
__attribute__((unused)) static void *
poison(struct out *o, int64_t n, size_t size)
{
	return memset(keep(o, need((size_t)n * size)), 0xff, (size_t)n * size);
}

__attribute__((unused)) static double
value(const void *p, size_t size, int64_t i)
{
	uint16_t bits;

	if (size == 2) {
		bits = ((const uint16_t *)p)[i];
		return half ? qz_f16_to_f32(bits) : qz_bf16_to_f32(bits);
	}
	return size == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* An output whose GPU bound is `loose` times the row's. */
__attribute__((unused)) static void
emit_loose(struct out *o, const void *p, size_t size, int64_t n, double loose)
{
	if (o->outputs == MAX_OUTPUTS)
		abort();
	if (o->n + n > o->room) {
		o->room = 2 * (o->n + n);
		o->v = realloc(o->v, (size_t)o->room * sizeof *o->v);
		if (!o->v)
			abort();
	}
	o->loose[o->outputs] = loose;
	for (int64_t i = 0; i < n; i++)
		o->v[o->n++] = value(p, size, i);
	o->start[++o->outputs] = o->n;
}

__attribute__((unused)) static void
emit(struct out *o, const void *p, size_t size, int64_t n)
{
	emit_loose(o, p, size, n, 1);
}

static void
run_case(struct qz_dev *d, const struct op_case *c, struct out *o)
{
	struct qz_need most = { .tokens = 4096,
		.weight = 1 << 26,
		.group = 1 << 26,
		.width = 16384,
		.rank_sum = 64,
		.dropout = true,
		.max_len = 4096,
		.heads = 8,
		.kv_heads = 8,
		.head_dim = 256,
		.head_rows = 512,
		.vocab = 131072 };
	struct qz_need small = { .tokens = 512,
		.weight = 1 << 18,
		.group = 1 << 18,
		.width = 2048,
		.rank_sum = 64,
		.dropout = true,
		.max_len = 512,
		.heads = 8,
		.kv_heads = 8,
		.head_dim = 128,
		.head_rows = 512,
		.vocab = 9000 };
	size_t n = d->k->workspace(d, large ? &most : &small);
	struct qz_err e = { 0 };
	void *ws = d->k->alloc(d, n, &e);

	o->n = o->outputs = o->n_owned = 0;
	d->k->fill(d, ws, 0xff, n);
	d->k->set_workspace(d, ws, n);
	c->run(d, c->shape, o);
	if (d->k->sync(d, &e) < 0) {
		printf("# %s: %s\n", c->name, e.msg);
		o->n = 0;
	}
	for (int i = 0; i < o->n_owned; i++)
		free(o->owned[i]);
	d->k->set_workspace(d, NULL, 0);
	d->k->free(d, ws);
}

/* |a - ref| / |ref| of output k. */
static double
far_off(const struct out *a, const struct out *ref, int k)
{
	double diff = 0, size = 0;

	for (int64_t i = ref->start[k]; i < ref->start[k + 1]; i++) {
		diff += (a->v[i] - ref->v[i]) * (a->v[i] - ref->v[i]);
		size += ref->v[i] * ref->v[i];
	}
	return diff > 0 || isnan(diff) ? sqrt(diff / size) : 0;
}

/* The largest relative error among the outputs; NaN when one is NaN. */
static double
distance(const struct out *a, const struct out *ref)
{
	double worst = a->n == ref->n ? 0 : NAN;

	for (int k = 0; k < ref->outputs && a->n == ref->n; k++) {
		double diff = far_off(a, ref, k);

		worst = diff > worst || isnan(diff) ? diff : worst;
	}
	return worst;
}

/* The same in parts of each output's bound.  Bounds speak of the mean over many roundings, of which a
 * single one may be three times as large; those of 1e-3 and more speak of roundings to activations. */
static double
distance_gpu(const struct out *a, const struct out *ref, double bound)
{
	double worst = a->n == ref->n ? 0 : NAN;

	for (int k = 0; k < ref->outputs && a->n == ref->n; k++) {
		bool few = ref->start[k + 1] - ref->start[k] < 64;
		double most = bound * ref->loose[k], part;

		most *= half && most >= 1e-3 ? 1 / 8.0 : 1;
		part = far_off(a, ref, k) / (most * (few ? 3 : 1));

		worst = part > worst || isnan(part) ? part : worst;
	}
	return worst;
}

static void
free_out(struct out *o)
{
	free(o->v);
	*o = (struct out){ 0 };
}

/* Each case on the GPU: with pointers on 16 bytes, and on 8. */
static void
compare_one_gpu(const char *name, const struct op_case *cases, size_t n)
{
	static struct out ref, a, b;
	struct qz_err e = { 0 };
	struct qz_dev *oracle, *gpu = mirror_open(name, &e);

	if (!gpu) {
		skip("%s: %s", name, e.msg);
		return;
	}
	oracle = open_variant("f64", 0);
	narrow = true;
	half = gpu->k->act_type == QZ_F16;
	for (size_t i = 0; i < 2 * n; i++) {
		const struct op_case *c = &cases[i / 2];
		const int *s = c->shape;
		double far;
		int same;

		mirror_skew = i % 2 * 8;
		run_case(oracle, c, &ref);
		run_case(gpu, c, &a);
		run_case(gpu, c, &b);
		same = a.n == b.n && !memcmp(a.v, b.v, (size_t)a.n * sizeof *a.v);
		far = distance_gpu(&a, &ref, c->gpu);
		ok(same && a.n > 0 && far <= 1,
		    "%s: %s %d %d %d %d %d %d, on %d bytes: %.2f of %.0e%s", name, c->name, s[0],
		    s[1], s[2], s[3], s[4], s[5], i % 2 ? 8 : 16, far, c->gpu,
		    same ? "" : ", bits differ");
	}
	narrow = half = false;
	mirror_skew = 0;
	qz_device_close(gpu);
	qz_device_close(oracle);
	free_out(&ref);
	free_out(&a);
	free_out(&b);
}

static void
compare_gpu(const struct op_case *cases, size_t n)
{
	compare_one_gpu("cuda", cases, n);
	compare_one_gpu("cuda-fp16", cases, n);
}

/* Shapes that are too large for every machine: only where there is a GPU. */
__attribute__((unused)) static void
compare_large(const struct op_case *cases, size_t n)
{
	large = true;
	compare_gpu(cases, n);
	large = false;
}

__attribute__((unused)) static void
compare(const struct op_case *cases, size_t n)
{
	static const char *const variants[] = { "base", "avx2", "avx512", "avx512bf16" };
	static struct out ref, a, b;
	struct qz_dev *oracle = open_variant("f64", 1);

	for (int v = 0; v < 4; v++) {
		struct qz_dev *one = open_variant(variants[v], 1),
			      *two = open_variant(variants[v], 2);

		if (!one || !two) {
			skip("%s: not on this processor", variants[v]);
			continue;
		}
		for (size_t i = 0; i < n; i++) {
			const int *s = cases[i].shape;
			double far, bound = v == 3 && bf16_bound > 0 ? bf16_bound : cases[i].bound;
			int same;

			run_case(oracle, &cases[i], &ref);
			run_case(one, &cases[i], &a);
			run_case(one, &cases[i], &b);
			same = a.n == b.n && !memcmp(a.v, b.v, (size_t)a.n * sizeof *a.v);
			run_case(two, &cases[i], &b);
			same = same && a.n == b.n && !memcmp(a.v, b.v, (size_t)a.n * sizeof *a.v);
			far = distance(&a, &ref);
			ok(same && a.n > 0 && far <= bound,
			    "%s: %s %d %d %d %d %d %d: %.1e of %.0e%s", variants[v], cases[i].name,
			    s[0], s[1], s[2], s[3], s[4], s[5], far, bound,
			    same ? "" : ", bits differ");
		}
		qz_device_close(one);
		qz_device_close(two);
	}
	qz_device_close(oracle);
	free_out(&ref);
	free_out(&a);
	free_out(&b);
	compare_gpu(cases, n);
}

/* |analytic - numeric| / |numeric| for the n elements of x, f(arg) being the function of them. */
__attribute__((unused)) static double
gradient(double (*f)(void *arg), void *arg, double *x, const double *analytic, int64_t n)
{
	double diff = 0, size = 0;

	for (int64_t i = 0; i < n; i++) {
		double was = x[i], h = 1e-5, up, down, numeric;

		x[i] = was + h;
		up = f(arg);
		x[i] = was - h;
		down = f(arg);
		x[i] = was;
		numeric = (up - down) / (2 * h);
		diff += (analytic[i] - numeric) * (analytic[i] - numeric);
		size += numeric * numeric;
	}
	return sqrt(diff / size);
}

/* sum of c * y: a scalar function of y whose gradient is c. */
__attribute__((unused)) static double
weighted(const double *c, const double *y, int64_t n)
{
	double sum = 0;

	for (int64_t i = 0; i < n; i++)
		sum += c[i] * y[i];
	return sum;
}

#endif
