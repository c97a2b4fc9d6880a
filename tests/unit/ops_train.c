/* cross_entropy with head_bwd, sum_squares, adamw: against float64, against their formulas, gradients. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/ops.h"

/* Rows, vocabulary, spread of the logits. */
static void
cross_entropy(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->par_size;
	int64_t n = (int64_t)s[0] * s[1];
	void *x = pars(d, o, 1, n, s[2]);
	double *loss = poison(o, s[0], 8);
	uint32_t *target = keep(o, need((size_t)s[0] * 4));

	for (int i = 0; i < s[0]; i++)
		target[i] = (uint32_t)(i * 31 % s[1]);
	d->k->cross_entropy(d, loss, x, target, s[0], s[1], 0);
	emit(o, loss, 8, s[0]);
	emit(o, x, size, n); /* unchanged */
	d->k->cross_entropy(d, loss, x, target, s[0], s[1], 1.0 / 3);
	emit(o, loss, 8, s[0]);
	for (int i = 0; i < s[0]; i++) /* the gradient, as activations */
		memmove((char *)x + (size_t)(i * (int64_t)s[1]) * d->k->act_size,
		    (char *)x + (size_t)(i * (int64_t)s[1]) * size, (size_t)s[1] * d->k->act_size);
	emit_loose(o, x, d->k->act_size, n, 4e3);
}

static void
sum_squares(struct qz_dev *d, const int *s, struct out *o)
{
	double *sum = poison(o, 1, 8);

	d->k->sum_squares(d, sum, pars(d, o, 1, s[0], 3), s[0]);
	emit(o, sum, 8, 1);
}

/* Elements, steps, and with a third number clipping that bites. */
static void
adamw(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->par_size;
	void *p = pars(d, o, 1, s[0], 1), *g = pars(d, o, 2, s[0], 1), *m = pars(d, o, 3, s[0], 0);
	void *v = pars(d, o, 4, s[0], 0), *copy = poison(o, s[0], d->k->act_size);
	struct qz_adamw args = { 1e-2, 0.9, 0.999, 1e-8, 0.1, s[2] ? 0.5 : 0, 0, 0 };
	double sum;

	d->k->sum_squares(d, &sum, g, s[0]);
	for (int i = 0; i < s[1]; i++) {
		args.step = i + 1;
		d->k->adamw(d, &args, &sum, p, m, v, g, i ? copy : NULL, s[0]);
	}
	emit(o, p, size, s[0]);
	emit(o, m, size, s[0]);
	emit(o, v, size, s[0]);
	if (s[1] > 1)
		emit_loose(o, copy, d->k->act_size, s[0], 4e3); /* activations */
}

/* As adamw.  Codes go one way in float32 and the other in float64 where they are close; so p alone. */
static void
adamw8(struct qz_dev *d, const int *s, struct out *o)
{
	size_t blocks = (size_t)(s[0] + QZ_ADAMW8_BLOCK - 1) / QZ_ADAMW8_BLOCK;
	void *p = pars(d, o, 1, s[0], 1), *g = pars(d, o, 2, s[0], 1);
	uint8_t *m = keep(o, need((size_t)s[0])), *v = keep(o, need((size_t)s[0]));
	float *absmax_m = keep(o, need(blocks * 4)), *absmax_v = keep(o, need(blocks * 4));
	struct qz_adamw args = { 1e-2, 0.9, 0.999, 1e-8, 0.1, s[2] ? 0.5 : 0, 0, 0 };
	double sum;

	memset(m, 0, (size_t)s[0]);
	memset(v, 0, (size_t)s[0]);
	memset(absmax_m, 0, blocks * 4);
	memset(absmax_v, 0, blocks * 4);
	d->k->sum_squares(d, &sum, g, s[0]);
	for (int i = 0; i < s[1]; i++) {
		args.step = i + 1;
		d->k->adamw8(d, &args, &sum, p, m, v, absmax_m, absmax_v, g, NULL, s[0]);
	}
	emit(o, p, d->k->par_size, s[0]);
}

/* One element, the formula of ops.def in float64. */
static void
adamw_formula(double clip)
{
	struct qz_dev *d = open_variant("f64", 1);
	double p = 0.7, m = 0.1, v = 0.01, g = 3, sum = 9, gg = g;
	struct qz_adamw a = { 1e-3, 0.9, 0.99, 1e-8, 0.01, clip, 4, 0 };
	double wp, wm, wv;

	if (clip > 0 && clip / (sqrt(sum) + 1e-6) < 1)
		gg = g * clip / (sqrt(sum) + 1e-6);
	wm = 0.9 * m + 0.1 * gg;
	wv = 0.99 * v + 0.01 * gg * gg;
	wp = p - 1e-3 * 0.01 * p;
	wp -= 1e-3 / (1 - pow(0.9, 4)) * wm / (sqrt(wv) / sqrt(1 - pow(0.99, 4)) + 1e-8);
	d->k->adamw(d, &a, &sum, &p, &m, &v, &g, NULL, 1);
	ok(fabs(p - wp) < 1e-15 && fabs(m - wm) < 1e-15 && fabs(v - wv) < 1e-15,
	    "adamw is its formula, clip %g: %.16g, %.16g", clip, p, wp);
	qz_device_close(d);
}

struct head {
	struct qz_dev *d;
	struct qz_mat w;
	float data[7 * 5];
	double x[3 * 5], dx[3 * 5], logits[3 * 7], loss[3];
	uint32_t target[3];
};

static double
mean_loss(void *arg)
{
	struct head *h = arg;

	h->d->k->head(h->d, h->logits, h->x, &h->w, 3);
	h->d->k->cross_entropy(h->d, h->loss, h->logits, h->target, 3, 7, 0);
	return (h->loss[0] + h->loss[1] + h->loss[2]) / 3;
}

static void
loss_gradient(void)
{
	static struct head h = { .target = { 6, 0, 3 } };
	struct qz_need most = { .tokens = 3, .weight = 35, .width = 7, .head_rows = 3, .vocab = 7 };
	struct qz_err e = { 0 };
	double far;
	size_t n;
	void *ws;

	h.d = open_variant("f64", 1);
	h.w = (struct qz_mat){ .type = QZ_F32, .rows = 7, .cols = 5, .data = h.data };
	n = h.d->k->workspace(h.d, &most);
	ws = need(n);
	h.d->k->set_workspace(h.d, ws, n);
	for (int i = 0; i < 35; i++)
		h.data[i] = (float)normal(1, (uint64_t)i);
	for (int i = 0; i < 15; i++)
		h.x[i] = normal(2, (uint64_t)i);
	mean_loss(&h);
	h.d->k->cross_entropy(h.d, h.loss, h.logits, h.target, 3, 7, 1.0 / 3);
	h.d->k->head_bwd(h.d, h.dx, h.logits, &h.w, 3);
	far = gradient(mean_loss, &h, h.x, h.dx, 15);
	ok(far < 1e-6, "cross_entropy and head_bwd against differences: %.1e", far);
	h.target[1] = 7;
	h.d->k->cross_entropy(h.d, h.loss, h.logits, h.target, 3, 7, 1);
	ok(h.d->k->sync(h.d, &e) == -1 && e.code == QZ_EDATA, "a target beyond the logits: %s",
	    e.msg);
	free(ws);
	qz_device_close(h.d);
}

/* exp in float32: no value of the range that softmax and silu use is off by more than 2 ulp. */
static void
exponential(void)
{
	struct qz_dev *d = open_variant("base", 1);
	double worst = 0, loss;
	uint32_t target = 0;

	for (int i = 0; i <= 87000; i++) {
		float logits[2] = { 0, -(float)i * 1e-3f };
		double want = exp(logits[1]);

		d->k->cross_entropy(d, &loss, logits, &target, 1, 2, 1);
		worst = fmax(worst, fabs(logits[1] - want / (1 + want)) / (want / (1 + want)));
	}
	ok(worst < 2 * 1.2e-7, "softmax of two: %.1e relative", worst);
	qz_device_close(d);
}

int
main(void)
{
	static const struct op_case big[] = {
		{ "cross_entropy", cross_entropy, { 127, 32000, 10 }, 0, 1e-6 },
		{ "cross_entropy", cross_entropy, { 3, 128256, 30 }, 0, 1e-6 },
		{ "cross_entropy", cross_entropy, { 2, 151937, 5 }, 0, 1e-6 },
		{ "cross_entropy", cross_entropy, { 2, 8192, 5 }, 0, 1e-6 },
		{ "cross_entropy", cross_entropy, { 2, 16380, 5 }, 0, 1e-6 },
		{ "sum_squares", sum_squares, { (1 << 22) + 1 }, 0, 1e-14 },
		{ "adamw", adamw, { (1 << 20) + 1, 3, 1 }, 0, 1e-6 },
		{ "adamw8", adamw8, { (1 << 20) + 1, 3, 1 }, 0, 2e-4 },
	};
	static const struct op_case cases[] = {
		{ "cross_entropy", cross_entropy, { 1, 1, 1 }, 1e-6, 1e-6 },
		{ "cross_entropy", cross_entropy, { 7, 63, 3 }, 1e-6, 1e-6 },
		{ "cross_entropy", cross_entropy, { 3, 1025, 10 }, 1e-6, 1e-6 },
		{ "cross_entropy", cross_entropy, { 5, 49152, 4 }, 1e-6, 1e-6 },
		{ "sum_squares", sum_squares, { 1 }, 1e-14, 1e-14 },
		{ "sum_squares", sum_squares, { 255 }, 1e-14, 1e-14 },
		{ "sum_squares", sum_squares, { 100003 }, 1e-14, 1e-14 },
		{ "adamw", adamw, { 1, 1 }, 1e-6, 1e-6 },
		{ "adamw", adamw, { 65, 3 }, 1e-6, 1e-6 },
		{ "adamw", adamw, { 20000, 5, 1 }, 1e-6, 1e-6 },
		{ "adamw8", adamw8, { 1, 1 }, 1e-6, 1e-6 },
		{ "adamw8", adamw8, { 20000, 5, 1 }, 1e-5, 2e-4 },
	};

	compare(cases, sizeof cases / sizeof *cases);
	compare_large(big, sizeof big / sizeof *big);
	adamw_formula(0);
	adamw_formula(100);
	adamw_formula(0.5);
	loss_gradient();
	exponential();
	return done();
}
