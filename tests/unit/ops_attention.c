/* attention: against a plain triple loop, against float64, and its gradients. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/ops.h"

/* Lengths of the documents, 0 at the end; nk is nq + more. */
static const struct packing {
	int nq[6], more;
} packings[] = {
	{ { 1 }, 0 },
	{ { 7, 1, 63 }, 0 },
	{ { 64, 65, 255 }, 0 },
	{ { 1, 1, 1 }, 100 },
	{ { 5, 64 }, 63 },
	{ { 300, 130 }, 0 },
	{ { 3, 2 }, 0 },
	{ { 1, 63, 64, 65, 2047 }, 0 },
	{ { 127, 1 }, 1500 },
	{ { 1, 1, 1 }, 2046 },
};

struct sizes {
	int32_t q[7], k[7];
};

/* shape: packing, heads, kv_heads, head_dim, window. */
static struct qz_attn
set_up(struct qz_dev *d, const int *s, struct out *o, struct sizes *z)
{
	const struct packing *p = &packings[s[0]];
	size_t size = d->k->act_size;
	struct qz_attn a = { .q_start = z->q,
		.k_start = z->k,
		.heads = s[1],
		.kv_heads = s[2],
		.head_dim = s[3],
		.window = s[4],
		.scale = (float)(1 / sqrt(s[3])) };
	int64_t nq, nk;

	z->q[0] = z->k[0] = 0;
	for (; p->nq[a.n_docs]; a.n_docs++) {
		int i = a.n_docs, n = p->nq[i];

		z->q[i + 1] = z->q[i] + n;
		z->k[i + 1] = z->k[i] + n + p->more;
		a.max_q = n > a.max_q ? n : a.max_q;
		a.max_k = a.max_q + p->more;
	}
	nq = (int64_t)z->q[a.n_docs] * s[1] * s[3];
	nk = (int64_t)z->k[a.n_docs] * s[2] * s[3];
	a.q = reals(d, o, 1, nq, 2);
	a.k = reals(d, o, 2, nk, 1);
	a.v = reals(d, o, 3, nk, 1);
	a.d_o = reals(d, o, 4, nq, 1);
	a.o = poison(o, nq, size);
	a.lse = poison(o, (int64_t)z->q[a.n_docs] * s[1], d->k->par_size);
	a.dq = poison(o, nq, size);
	a.dk = poison(o, nk, size);
	a.dv = poison(o, nk, size);
	return a;
}

static void
attention(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	struct sizes z;
	struct qz_attn a = set_up(d, s, o, &z);
	int64_t nq = z.q[a.n_docs], nk = z.k[a.n_docs];

	d->k->attention(d, &a);
	emit(o, a.o, size, nq * s[1] * s[3]);
	emit(o, a.lse, d->k->par_size, nq * s[1]);
	if (packings[s[0]].more)
		return;
	d->k->attention_bwd(d, &a);
	emit_loose(o, a.dq, size, nq * s[1] * s[3], 2);
	emit_loose(o, a.dk, size, nk * s[2] * s[3], 2);
	emit_loose(o, a.dv, size, nk * s[2] * s[3], 2);
}

/* One query of one head, from the definition in struct qz_attn. */
static double
query(const struct qz_attn *a, int doc, int i, int head, double *o)
{
	int nq = a->q_start[doc + 1] - a->q_start[doc], nk = a->k_start[doc + 1] - a->k_start[doc];
	int kv = head / (a->heads / a->kv_heads), dim = a->head_dim;
	const double *q = (const double *)a->q +
			  ((int64_t)(a->q_start[doc] + i) * a->heads + head) * dim;
	double sum = 0;

	memset(o, 0, (size_t)dim * sizeof *o);
	for (int j = 0; j < nk; j++) {
		int64_t at = ((int64_t)(a->k_start[doc] + j) * a->kv_heads + kv) * dim;
		double score = 0, e;

		if (j > i + nk - nq || (a->window > 0 && j <= i + nk - nq - a->window))
			continue;
		for (int c = 0; c < dim; c++)
			score += q[c] * ((const double *)a->k)[at + c];
		e = exp(score * (double)a->scale);
		sum += e;
		for (int c = 0; c < dim; c++)
			o[c] += e * ((const double *)a->v)[at + c];
	}
	for (int c = 0; c < dim; c++)
		o[c] /= sum;
	return log(sum);
}

static void
by_definition(const int *s)
{
	struct qz_dev *d = open_variant("f64", 2);
	struct out o = { 0 };
	struct sizes z;
	struct qz_attn a = set_up(d, s, &o, &z);
	struct qz_need most = { .max_len = a.max_k, .head_dim = s[3] };
	size_t n = d->k->workspace(d, &most);
	double want[256], worst = 0;

	d->k->set_workspace(d, keep(&o, need(n)), n);
	d->k->attention(d, &a);
	for (int doc = 0; doc < a.n_docs; doc++) {
		for (int i = 0; i < z.q[doc + 1] - z.q[doc]; i++) {
			for (int h = 0; h < a.heads; h++) {
				int64_t row = (int64_t)(z.q[doc] + i) * a.heads + h;
				double lse = query(&a, doc, i, h, want);

				worst = fmax(worst, fabs(lse - ((double *)a.lse)[row]));
				for (int c = 0; c < a.head_dim; c++)
					worst = fmax(worst,
					    fabs(want[c] - ((double *)a.o)[row * a.head_dim + c]));
			}
		}
	}
	ok(worst < 1e-12, "by definition: packing %d, %d heads, %d kv, dim %d, window %d: %.1e",
	    s[0], s[1], s[2], s[3], s[4], worst);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(d);
}

struct loss {
	struct qz_dev *d;
	struct qz_attn a;
	int64_t n;
};

static double
loss(void *arg)
{
	struct loss *l = arg;

	l->d->k->attention(l->d, &l->a);
	return weighted(l->a.d_o, l->a.o, l->n);
}

static void
attention_gradient(const int *s)
{
	struct out o = { 0 };
	struct sizes z;
	struct loss l = { .d = open_variant("f64", 2) };
	struct qz_need most = {
		.tokens = 512, .max_len = 300, .heads = s[1], .kv_heads = s[2], .head_dim = s[3]
	};
	size_t n = l.d->k->workspace(l.d, &most);
	double far[3];
	int64_t nk;

	l.a = set_up(l.d, s, &o, &z);
	l.d->k->set_workspace(l.d, keep(&o, need(n)), n);
	l.n = (int64_t)z.q[l.a.n_docs] * s[1] * s[3];
	nk = (int64_t)z.k[l.a.n_docs] * s[2] * s[3];
	loss(&l);
	l.d->k->attention_bwd(l.d, &l.a);
	far[0] = gradient(loss, &l, (double *)l.a.q, l.a.dq, l.n);
	far[1] = gradient(loss, &l, (double *)l.a.k, l.a.dk, nk);
	far[2] = gradient(loss, &l, (double *)l.a.v, l.a.dv, nk);
	ok(far[0] < 1e-6 && far[1] < 1e-6 && far[2] < 1e-6,
	    "attention_bwd: packing %d, %d heads, %d kv, dim %d, window %d: dq %.1e dk %.1e dv "
	    "%.1e",
	    s[0], s[1], s[2], s[3], s[4], far[0], far[1], far[2]);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(l.d);
}

int
main(void)
{
	static const struct op_case big[] = {
		{ "attention", attention, { 7, 4, 2, 128, 0 }, 0, 5e-3 },
		{ "attention", attention, { 7, 3, 1, 64, 0 }, 0, 5e-3 },
		{ "attention", attention, { 7, 2, 2, 96, 1000 }, 0, 5e-3 },
		{ "attention", attention, { 8, 8, 2, 128, 0 }, 0, 5e-3 },
		{ "attention", attention, { 9, 4, 4, 128, 0 }, 0, 5e-3 },
		{ "attention", attention, { 2, 2, 1, 256, 0 }, 0, 5e-3 },
	};
	static const struct op_case cases[] = {
		{ "attention", attention, { 0, 1, 1, 1, 0 }, 3e-6, 5e-3 },
		{ "attention", attention, { 1, 4, 2, 8, 0 }, 3e-6, 5e-3 },
		{ "attention", attention, { 1, 3, 1, 7, 3 }, 3e-6, 5e-3 },
		{ "attention", attention, { 2, 3, 1, 64, 0 }, 3e-6, 5e-3 },
		{ "attention", attention, { 2, 2, 2, 63, 65 }, 3e-6, 5e-3 },
		{ "attention", attention, { 3, 9, 3, 64, 0 }, 3e-6, 5e-3 },
		{ "attention", attention, { 3, 4, 1, 16, 50 }, 3e-6, 5e-3 },
		{ "attention", attention, { 4, 4, 2, 32, 0 }, 3e-6, 5e-3 },
		{ "attention", attention, { 5, 4, 4, 128, 64 }, 3e-6, 5e-3 },
		{ "attention", attention, { 5, 8, 2, 16, 2 }, 3e-6, 5e-3 },
	};
	static const int itself[MAX_SHAPE] = { 5, 8, 2, 16, 1 }; /* a window of one */
	static const int gradients[][MAX_SHAPE] = { { 6, 1, 1, 4, 0 }, { 6, 4, 2, 3, 0 },
		{ 6, 2, 1, 4, 2 }, { 1, 2, 1, 4, 0 }, { 1, 3, 3, 2, 5 } };

	compare(cases, sizeof cases / sizeof *cases);
	compare_large(big, sizeof big / sizeof *big);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		by_definition(cases[i].shape);
	by_definition(itself);
	for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++)
		attention_gradient(gradients[i]);
	return done();
}
