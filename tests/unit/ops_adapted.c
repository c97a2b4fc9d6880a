/* swiglu between projections with adapters: against float64, and the oracle against the ops one by one. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/weights.h"

/* shape: tokens, ffn, hidden, ranks of down, gate, up, flags. */
enum {
	DROPOUT = 1,
	SIDE = 2,
	ALONE = 4 /* the ops one by one */,
	LATE = 8 /* not the mask's first token */
};

/* What comes of gradients that are rounded themselves. */
static const double ROUNDED = 1.5;

static struct qz_linear
projection(struct qz_dev *d, struct out *o, const int *s, int64_t rows, int64_t cols, int rank,
    uint64_t stream)
{
	int64_t t = s[0];
	size_t act = d->k->act_size;
	struct qz_linear l = { .w = weight(d, o, QZ_NF4, rows, cols, 0.1),
		.rank = rank,
		.scale = 2,
		.dropout = s[6] & DROPOUT ? 0.3f : 0,
		.seed = 42,
		.stream = stream,
		.first = s[6] & LATE ? 6 : 0 };

	l.y = poison(o, t * rows, act);
	l.dy = reals(d, o, stream + 1, t * rows, 1);
	if (!rank)
		return l;
	l.a = reals(d, o, stream + 2, rank * cols, 0.1);
	l.b = reals(d, o, stream + 3, rows * rank, 0.1);
	l.da = pars(d, o, stream + 4, rank * cols, 1); /* gradients are added to */
	l.db = pars(d, o, stream + 5, rows * rank, 1);
	l.s = reals(d, o, stream + 6, t * rank, 1);
	return l;
}

/* A of gate over that of up, their s, da side by side. */
static void
join(struct qz_dev *d, struct out *o, const int *s, struct qz_linear l[2])
{
	int64_t ranks = l[0].rank + l[1].rank;
	size_t a = (size_t)(l[0].rank * l->w.cols);

	l[0].a = reals(d, o, 50, ranks * l->w.cols, 0.1);
	l[0].da = pars(d, o, 51, ranks * l->w.cols, 1);
	l[0].s = reals(d, o, 52, s[0] * ranks, 1);
	l[1].a = (const char *)l[0].a + a * d->k->act_size;
	l[1].da = (char *)l[0].da + a * d->k->par_size;
	l[1].s = (char *)l[0].s + (size_t)l[0].rank * d->k->act_size;
	l[0].lds = l[1].lds = ranks;
}

static void
forward(struct qz_dev *d, const int *s, struct out *o, struct qz_linear *down)
{
	int64_t t = s[0], n = t * s[1];
	size_t act = d->k->act_size;
	void *g = reals(d, o, 1, n, 1), *u = reals(d, o, 2, n, 1), *h = poison(o, n, act);
	void *was = down->s;

	if (down->rank)
		down->s = poison(o, t * down->rank, act);
	if (s[6] & ALONE) {
		d->k->swiglu(d, h, g, u, n);
	} else {
		d->k->swiglu_adapted(d, h, g, u, down, t);
		down->begun = true;
	}
	d->k->linear(d, down, 1, h, t);
	down->begun = false;
	emit(o, h, act, n);
	emit(o, down->y, act, t * down->w.rows);
	if (down->rank)
		emit(o, down->s, act, t * down->rank);
	down->s = was;
}

static void
backward(
    struct qz_dev *d, const int *s, struct out *o, struct qz_linear *down, struct qz_linear gu[2])
{
	int64_t t = s[0], n = t * s[1], hidden = s[2];
	size_t act = d->k->act_size;
	void *dh = reals(d, o, 3, n, 1), *x = reals(d, o, 4, t * hidden, 1),
	     *dx = poison(o, t * hidden, act);
	void *other = poison(o, n, act);

	d->k->linear_bwd(d, down, 1, NULL, other, t, false);
	if (s[6] & ALONE) {
		d->k->swiglu_bwd(d, (qz_act *)gu[0].dy, (qz_act *)gu[1].dy, dh, dh, n);
		if (down->rank)
			d->k->linear_da(d, down, 1, dh, t);
	} else {
		d->k->swiglu_adapted_bwd(
		    d, (qz_act *)gu[0].dy, (qz_act *)gu[1].dy, dh, down, gu, t);
		gu[0].begun = gu[1].begun = true;
	}
	d->k->linear_bwd(d, gu, 2, x, dx, t, false);
	emit(o, gu[0].dy, act, n);
	emit(o, gu[1].dy, act, n);
	emit_loose(o, dx, act, t * hidden, ROUNDED);
}

static void
adapted(struct qz_dev *d, const int *s, struct out *o)
{
	int64_t t = s[0], ffn = s[1], hidden = s[2];
	size_t act = d->k->act_size, par = d->k->par_size;
	struct qz_linear down = projection(d, o, s, hidden, ffn, s[3], 10);
	struct qz_linear gu[2] = { projection(d, o, s, ffn, hidden, s[4], 20),
		projection(d, o, s, ffn, hidden, s[5], 30) };

	if (s[6] & SIDE)
		join(d, o, s, gu);
	if (s[3])
		down.left = poison(o, (int64_t)qz_left_bytes(act, t, s[3], ffn), 1);
	gu[0].left = poison(o, t * (s[4] + s[5]) + 1, act);
	gu[1].left = (char *)gu[0].left + (size_t)(t * s[4]) * act;
	forward(d, s, o, &down);
	backward(d, s, o, &down, gu);
	for (int i = 0; i < 3; i++) {
		const struct qz_linear *l = i < 2 ? &gu[i] : &down;

		if (!l->rank)
			continue;
		emit_loose(o, l->da, par, l->rank * l->w.cols, i < 2 ? ROUNDED : 1);
		emit_loose(o, l->db, par, l->w.rows * l->rank, i < 2 ? ROUNDED : 1);
	}
}

/* The variants and their oracle are one source: so here the oracle itself, beside the ops one by one. */
static void
one_by_one(const struct op_case *c)
{
	struct qz_dev *d = open_variant("f64", 2);
	struct op_case alone = *c;
	struct out a = { 0 }, b = { 0 };
	double far;

	alone.shape[6] |= ALONE;
	run_case(d, c, &a);
	run_case(d, &alone, &b);
	far = distance(&a, &b);
	ok(a.n > 0 && far < 1e-13,
	    "%d x %d, ranks %d %d %d, flags %d, beside the ops one by one: %.0e", c->shape[0],
	    c->shape[1], c->shape[3], c->shape[4], c->shape[5], c->shape[6], far);
	free_out(&a);
	free_out(&b);
	qz_device_close(d);
}

int
main(void)
{
	static const struct op_case big[] = {
		{ "adapted", adapted, { 1100, 2056, 64, 16, 16, 16, SIDE }, 0, 4e-3 },
		{ "adapted", adapted, { 2042, 1032, 64, 16, 16, 16, SIDE | DROPOUT }, 0, 4e-3 },
		{ "adapted", adapted, { 17, 14336, 64, 8, 16, 8, DROPOUT | LATE }, 0, 4e-3 },
	};
	static const struct op_case cases[] = {
		{ "adapted", adapted, { 1, 8, 8, 8, 8, 8, 0 }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 16, 512, 32, 16, 16, 16, 0 }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 100, 520, 72, 16, 16, 16, SIDE }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 100, 520, 72, 16, 8, 16, DROPOUT }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 67, 1096, 40, 8, 8, 16, SIDE | DROPOUT | LATE }, 2e-6,
		    4e-3 },
		{ "adapted", adapted, { 300, 264, 40, 8, 16, 8, SIDE }, 2e-6, 4e-3 },
		/* what is left to the ops one by one */
		{ "adapted", adapted, { 33, 65, 40, 5, 3, 7, 0 }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 33, 65, 40, 5, 3, 7, SIDE | DROPOUT }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 40, 128, 40, 0, 16, 16, 0 }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 40, 128, 40, 16, 0, 16, DROPOUT }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 40, 128, 40, 16, 16, 0, 0 }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 40, 128, 40, 0, 0, 0, 0 }, 2e-6, 4e-3 },
		{ "adapted", adapted, { 50, 136, 40, 32, 16, 24, DROPOUT }, 2e-6, 4e-3 },
	};

	bf16_bound = 4e-3;
	compare(cases, sizeof cases / sizeof *cases);
	compare_large(big, sizeof big / sizeof *big);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		one_by_one(&cases[i]);
	return done();
}
