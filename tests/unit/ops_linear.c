/* linear, linear_bwd, head, head_bwd: against float64, every storage type, and their gradients. */
#define _GNU_SOURCE
#include "kernels/dropout.h"
#include "tests/unit/tap.h"
#include "tests/unit/weights.h"

/* shape: tokens, cols, rows, rank, storage type, flags. */
enum {
	DROPOUT = 1,
	BIAS = 2,
	PAIR = 4,
	NO_DX = 8,
	PLUS = 16,
	SIDE = 32,
	TRIO = 64,
	LATER = 128,
	NORM = 256,
	MIXED = 512 /* the second weight is FP4 */
};

static struct qz_linear
projection(struct qz_dev *d, struct out *o, const int *s, int64_t rows, int rank, uint64_t stream)
{
	size_t size = d->k->act_size;
	struct qz_linear l = { .w = weight(d, o, (enum qz_dtype)s[4], rows, s[1], 0.1),
		.rank = rank,
		.scale = 2,
		.dropout = s[5] & DROPOUT ? 0.3f : 0,
		.seed = 42,
		.stream = stream };

	l.bias = s[5] & BIAS ? floats(o, stream + 1, rows, 1) : NULL;
	l.y = poison(o, s[0] * rows, size);
	l.dy = reals(d, o, stream + 2, s[0] * rows, 1);
	if (!rank)
		return l;
	l.a = reals(d, o, stream + 3, (int64_t)rank * s[1], 0.1);
	l.b = reals(d, o, stream + 4, rows * rank, 0.1);
	l.da = pars(d, o, stream + 5, (int64_t)rank * s[1], 1); /* gradients are added to */
	l.db = pars(d, o, stream + 6, rows * rank, 1);
	l.s = poison(o, (int64_t)s[0] * rank, size);
	if (s[5] & LATER)
		l.left = poison(o, (int64_t)qz_left_bytes(size, s[0], rank, s[1]), 1);
	return l;
}

/* The adapters of two projections lie side by side: A under A, s beside s, dA under dA. */
static void
join(struct qz_dev *d, struct out *o, const int *s, struct qz_linear *l)
{
	size_t act = d->k->act_size, par = d->k->par_size;
	int64_t ranks = l[0].rank + l[1].rank, first = (int64_t)l[0].rank * s[1];

	l[0].a = reals(d, o, 50, ranks * s[1], 0.1);
	l[0].da = pars(d, o, 51, ranks * s[1], 1);
	l[0].s = poison(o, s[0] * ranks, act);
	l[1].a = (const char *)l[0].a + (size_t)first * act;
	l[1].da = (char *)l[0].da + (size_t)first * par;
	l[1].s = (char *)l[0].s + (size_t)l[0].rank * act;
	l[0].lds = l[1].lds = ranks;
}

/* s (T, rank) without what lies between its rows. */
static void
emit_s(struct qz_dev *d, struct out *o, const struct qz_linear *l, int64_t t)
{
	size_t size = d->k->act_size, row = (size_t)(l->lds ? l->lds : l->rank) * size;
	char *s = keep(o, need((size_t)(t * l->rank) * size));

	for (int64_t i = 0; i < t; i++)
		memcpy(s + (size_t)(i * l->rank) * size, (char *)l->s + (size_t)i * row,
		    (size_t)l->rank * size);
	emit(o, s, size, t * l->rank);
}

static void
linear(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	int n_l = s[5] & TRIO ? 3 : s[5] & PAIR ? 2 : 1;
	int64_t nx = (int64_t)s[0] * s[1];
	void *x = reals(d, o, 1, nx, 1), *dx = poison(o, nx, size), *sum = reals(d, o, 2, nx, 1);
	struct qz_linear l[3] = { projection(d, o, s, s[2], s[3], 10) };
	int second[MAX_SHAPE];
	struct qz_norm norm;

	memcpy(second, s, sizeof second);
	if (s[5] & MIXED)
		second[4] = QZ_FP4;

	if (n_l == 2)
		l[1] = projection(d, o, second, s[2] * 2 + 1, s[3] / 2, 30);
	for (int i = 1; s[5] & TRIO && i < 3; i++)
		l[i] = projection(
		    d, o, i == 1 ? second : s, s[2] + 8 * i, i == 1 ? s[3] / 2 : s[3], 10 + 20 * i);
	if (s[5] & SIDE)
		join(d, o, s, l);
	if (s[5] & PLUS)
		l[0].plus = reals(d, o, 52, s[0] * s[2], 1);
	if (s[5] & PLUS && n_l == 2)
		l[1].plus = l[1].y = reals(d, o, 53, s[0] * l[1].w.rows, 1);
	for (int i = 0; i < n_l; i++)
		l[i].first = s[5] & PLUS ? 3 * s[0] + 2 : 0;
	d->k->linear(d, l, n_l, x, s[0]);
	if (s[5] & NORM) { /* backward, x is what the norm is given */
		norm = (struct qz_norm){ floats(o, 54, s[1], 1), poison(o, s[0], d->k->par_size),
			1e-5f, poison(o, nx, size) };
		d->k->rmsnorm(d, poison(o, nx, size), norm.rstd, x, norm.w, s[0], s[1], norm.eps);
		for (int i = 0; i < n_l; i++)
			l[i].norm = &norm;
	}
	d->k->linear_bwd(d, l, n_l, x, s[5] & NO_DX ? NULL : dx, s[0], false);
	if (!(s[5] & NO_DX)) {
		emit(o, dx, size, nx);
		if (s[5] & LATER) { /* the same in two steps; dx is read no more when da is made */
			d->k->linear_bwd(d, l, n_l, NULL, sum, s[0], true);
			emit(o, sum, size, nx);
			d->k->linear_da(d, l, n_l, x, s[0]);
		} else {
			d->k->linear_bwd(d, l, n_l, x, sum, s[0], true);
			emit(o, sum, size, nx);
		}
	}
	for (int i = 0; i < n_l; i++) {
		emit(o, l[i].y, size, s[0] * l[i].w.rows);
		if (!l[i].rank)
			continue;
		emit_s(d, o, &l[i], s[0]);
		emit(o, l[i].da, d->k->par_size, (int64_t)l[i].rank * s[1]);
		emit(o, l[i].db, d->k->par_size, l[i].w.rows * l[i].rank);
	}
}

static void
head(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	struct qz_mat w = weight(d, o, (enum qz_dtype)s[4], s[2], s[1], 0.1);
	void *x = reals(d, o, 1, (int64_t)s[0] * s[1], 1),
	     *dx = poison(o, (int64_t)s[0] * s[1], size);
	void *y = poison(o, (int64_t)s[0] * s[2], d->k->par_size);

	d->k->head(d, y, x, &w, s[0]);
	d->k->head_bwd(d, dx, logit_rows(d, o, 2, s[0], s[2]), &w, s[0]);
	emit(o, y, d->k->par_size, (int64_t)s[0] * s[2]);
	emit(o, dx, size, (int64_t)s[0] * s[1]);
}

/* A small adapted pair of projections whose every input can be moved. */
struct setup {
	struct qz_dev *d;
	struct qz_linear l[2];
	int t, cols;
	double *x, *dx, *c[2];
};

static double
loss(void *arg)
{
	struct setup *s = arg;
	double sum = 0;

	s->d->k->linear(s->d, s->l, 2, s->x, s->t);
	for (int i = 0; i < 2; i++)
		sum += weighted(s->c[i], s->l[i].y, s->t * s->l[i].w.rows);
	return sum;
}

/* cols 64 for blocks of 32; K-types need 256. */
static void
linear_gradient(enum qz_dtype type, float dropout, int t)
{
	struct out o = { 0 };
	struct setup s = { .d = open_variant("f64", 2), .t = t, .cols = 64 };
	int shape[MAX_SHAPE] = { t, s.cols, 0, 0, type, BIAS };
	struct qz_need most = {
		.tokens = t, .weight = 64 * 64, .group = 64 * 64, .width = 64, .rank_sum = 8
	};
	size_t n = s.d->k->workspace(s.d, &most);
	double far[5];

	s.d->k->set_workspace(s.d, keep(&o, need(n)), n);
	s.x = reals(s.d, &o, 1, t * s.cols, 1);
	s.dx = poison(&o, t * s.cols, 8);
	for (int i = 0; i < 2; i++) {
		s.l[i] = projection(s.d, &o, shape, 9 + 7 * i, 3 + i, 10 + 20 * (unsigned)i);
		s.l[i].dropout = dropout;
		s.c[i] = reals(s.d, &o, 60 + (unsigned)i, t * s.l[i].w.rows, 1);
		s.l[i].dy = s.c[i];
		memset(s.l[i].da, 0, (size_t)(s.l[i].rank * s.cols) * 8);
		memset(s.l[i].db, 0, (size_t)(s.l[i].w.rows * s.l[i].rank) * 8);
	}
	loss(&s);
	s.d->k->linear_bwd(s.d, s.l, 2, s.x, s.dx, t, false);
	far[0] = gradient(loss, &s, s.x, s.dx, t * s.cols);
	for (int i = 0; i < 2; i++) {
		far[1 + i] = gradient(
		    loss, &s, (double *)s.l[i].a, s.l[i].da, s.l[i].rank * s.cols);
		far[3 + i] = gradient(
		    loss, &s, (double *)s.l[i].b, s.l[i].db, s.l[i].w.rows * s.l[i].rank);
	}
	for (int i = 0; i < 5; i++)
		if (!(far[i] < 1e-6))
			far[0] = NAN;
	ok(far[0] < 1e-6,
	    "linear_bwd, %s, dropout %g, %d tokens: dx %.1e da %.1e %.1e db %.1e %.1e",
	    qz_dtype(type)->name, (double)dropout, t, far[0], far[1], far[2], far[3], far[4]);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(s.d);
}

/* sum over i < n of a[i * lda] * b[i * ldb] */
static double
dot(const double *a, int64_t lda, const double *b, int64_t ldb, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += a[i * lda] * b[i * ldb];
	return sum;
}

/* |got - want| / |want| of an (m, n) product whose element i, j is before + scale * sum of a[i, p] b[p, j]. */
struct factors {
	int m, n, k;
	double scale;
	const double *a, *b, *before;
	int64_t a_row, a_col, b_row, b_col;
};

static double
off(const struct factors *f, const double *got)
{
	double diff = 0, all = 0;

	for (int i = 0; i < f->m; i++) {
		for (int j = 0; j < f->n; j++) {
			double want = f->scale * dot(f->a + i * f->a_row, f->a_col,
						     f->b + j * f->b_col, f->b_row, f->k);

			want += f->before ? f->before[i * f->n + j] : 0;
			diff += (got[i * f->n + j] - want) * (got[i * f->n + j] - want);
			all += want * want;
		}
	}
	return sqrt(diff / all);
}

/* The variants and their oracle are one source: a sign that is wrong in it is wrong in all of them.  So here the
 * oracle itself, one product at a time, against three loops. */
static void
products(int t, int cols, int rows, int rank)
{
	struct qz_dev *d = open_variant("f64", 2);
	struct qz_need most = { .tokens = t,
		.weight = (int64_t)rows * cols,
		.group = (int64_t)rows * cols,
		.width = rows > cols ? rows : cols,
		.rank_sum = rank };
	struct out o = { 0 };
	size_t n = d->k->workspace(d, &most);
	int shape[MAX_SHAPE] = { t, cols, 0, 0, QZ_F32, 0 };
	struct qz_linear l = projection(d, &o, shape, rows, rank, 10);
	double *x = reals(d, &o, 1, (int64_t)t * cols, 1),
	       *w = keep(&o, need((size_t)(rows * cols) * 8));
	double *da = pars(d, &o, 15, (int64_t)rank * cols, 1),
	       *db = pars(d, &o, 16, (int64_t)rows * rank, 1);
	double *dx = poison(&o, (int64_t)t * cols, 8), *sum = poison(&o, (int64_t)t * cols, 8),
	       *y = poison(&o, (int64_t)t * rows, 8);
	double *dyb = keep(&o, need((size_t)(t * rank) * 8)), far[7];
	const double *a = l.a, *b = l.b, *dy = l.dy, *s = l.s;

	d->k->set_workspace(d, keep(&o, need(n)), n);
	for (int i = 0; i < rows * cols; i++)
		w[i] = ((const float *)l.w.data)[i];
	for (int i = 0; i < t * rank; i++)
		dyb[i] = dot(dy + i / rank * rows, 1, b + i % rank, rank, rows);
	d->k->head(d, y, x, &l.w, t);
	d->k->head_bwd(d, dx, dy, &l.w, t);
	far[0] = off(&(struct factors){ t, rows, cols, 1, x, w, NULL, cols, 1, 1, cols }, y);
	far[1] = off(&(struct factors){ t, cols, rows, 1, dy, w, NULL, rows, 1, cols, 1 }, dx);
	d->k->linear(d, &l, 1, x, t);
	far[2] = off(&(struct factors){ t, rank, cols, 1, x, a, NULL, cols, 1, 1, cols }, s);
	far[3] = off(&(struct factors){ t, rows, rank, 2, s, b, y, rank, 1, 1, rank }, l.y);
	d->k->linear_bwd(d, &l, 1, x, sum, t, false);
	far[4] = off(&(struct factors){ t, cols, rank, 2, dyb, a, dx, rank, 1, cols, 1 }, sum);
	far[5] = off(&(struct factors){ rank, cols, t, 2, dyb, x, da, 1, rank, cols, 1 }, l.da);
	far[6] = off(&(struct factors){ rows, rank, t, 2, dy, s, db, 1, rows, rank, 1 }, l.db);
	for (int i = 0; i < 7; i++)
		if (!(far[i] < 1e-13))
			far[0] = NAN;
	ok(far[0] < 1e-13,
	    "%d x %d x %d, rank %d, with loops: head %.0e %.0e, s %.0e, y %.0e, dx %.0e, da %.0e, "
	    "db %.0e",
	    t, cols, rows, rank, far[0], far[1], far[2], far[3], far[4], far[5], far[6]);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(d);
}

/* x as the norm was given it is as good as what the norm made of it. */
static void
norm_given(void)
{
	enum { T = 9, C = 70, R = 4 };
	struct qz_dev *d = open_variant("f64", 2);
	struct qz_need most = {
		.tokens = T, .weight = C * C, .group = C * C, .width = C, .rank_sum = R
	};
	struct out o = { 0 };
	size_t n = d->k->workspace(d, &most), da = R * C * 8;
	int shape[MAX_SHAPE] = { T, C, 0, 0, QZ_F32, 0 };
	struct qz_linear l = projection(d, &o, shape, C, R, 10);
	double *x = reals(d, &o, 1, T * C, 1), *xn = poison(&o, T * C, 8),
	       *dx = poison(&o, T * C, 8);
	struct qz_norm norm = { floats(&o, 2, C, 1), poison(&o, T, 8), 1e-5f,
		poison(&o, T * C, 8) };
	double far = 0, *want = keep(&o, need(da)), *first = keep(&o, need(da));

	d->k->set_workspace(d, keep(&o, need(n)), n);
	memcpy(first, l.da, da);
	d->k->rmsnorm(d, xn, norm.rstd, x, norm.w, T, C, norm.eps);
	d->k->linear(d, &l, 1, xn, T);
	d->k->linear_bwd(d, &l, 1, xn, dx, T, false);
	memcpy(want, l.da, da);
	memcpy(l.da, first, da);
	l.norm = &norm;
	d->k->linear_bwd(d, &l, 1, x, dx, T, false);
	for (int i = 0; i < R * C; i++)
		far = fmax(far, fabs(((double *)l.da)[i] - want[i]));
	ok(far < 1e-13 && memcmp(want, first, da), "da of what a norm was given: %.0e", far);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(d);
}

/* The mask is the rule of struct qz_linear, element by element, and the share that is kept is right. */
static void
mask(void)
{
	enum { T = 5, C = 1027 };
	struct qz_dev *d = open_variant("f64", 2);
	struct qz_need most = { .tokens = T, .weight = C, .group = C, .width = C, .rank_sum = C };
	struct out o = { 0 };
	size_t n = d->k->workspace(d, &most);
	double *one = keep(&o, need(C * C * 8)), *x = reals(d, &o, 1, T * C, 1),
	       *s = poison(&o, T * C, 8);
	int shape[MAX_SHAPE] = { T, C, 0, 0, QZ_F32, 0 }, right = 0, kept = 0;
	struct qz_linear l = projection(d, &o, shape, 1, 0, 10);

	d->k->set_workspace(d, keep(&o, need(n)), n);
	memset(one, 0, C * C * 8);
	for (int i = 0; i < C; i++)
		one[i * C + i] = 1; /* A = 1: s is drop(x) itself */
	l.rank = C;
	l.dropout = 0.25f;
	l.stream = 7;
	l.a = one;
	l.b = reals(d, &o, 2, C, 1);
	l.s = s;
	d->k->linear(d, &l, 1, x, T);
	for (uint64_t i = 0; i < T * C; i++) {
		uint64_t at = i / C / 2 * C + i % C;
		uint32_t w[4], draw;
		double want;

		qz_philox_rounds(42, 7, at / 8, QZ_DROPOUT_ROUNDS, w);
		draw = w[at % 8 / 2] >> at % 2 * 16 & 0xffff;
		draw = i / C % 2 ? (draw & 0xff) << 8 | draw >> 8 : draw;
		want = draw >= 0x4000 ? x[i] / 0.75 : 0;
		right += fabs(s[i] - want) <= 1e-15 * fabs(want);
		kept += want != 0;
	}
	ok(right == T * C, "dropout keeps what its rule says: %d of %d", right, T * C);
	ok(kept > 0.73 * T * C && kept < 0.77 * T * C, "about three quarters of it: %d", kept);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(d);
}

static void
refusals(void)
{
	struct qz_dev *d = open_variant("base", 1);
	float x[64] = { 0 }, w[64] = { 0 }, y[64];
	struct qz_linear l = { .w = { .type = QZ_F32, .rows = 1, .cols = 64, .data = w }, .y = y };
	struct qz_err e = { 0 };

	d->k->linear(d, &l, 1, x, 1);
	ok(d->k->sync(d, &e) == -1 && strstr(e.msg, "workspace"), "no workspace: %s", e.msg);
	l.w.type = QZ_U64;
	d->k->linear(d, &l, 1, x, 1);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "no weight type: %s", e.msg);
	l.w.type = QZ_Q8_0;
	l.w.cols = 63;
	d->k->linear(d, &l, 1, x, 1);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "rows that are no whole blocks: %s",
	    e.msg);
	qz_device_close(d);
}

int
main(void)
{
	static const struct op_case big[] = {
		{ "linear", linear, { 2047, 512, 520, 16, QZ_NF4, PAIR | DROPOUT }, 0, 4e-3 },
		{ "linear", linear, { 127, 2048, 2048, 16, QZ_NF4, 0 }, 0, 4e-3 },
		{ "linear", linear, { 1, 2048, 7168, 64, QZ_NF4, 0 }, 0, 4e-3 },
		{ "linear", linear, { 1100, 520, 776, 32, QZ_NF4, DROPOUT | BIAS }, 0, 4e-3 },
		{ "linear", linear, { 1100, 2048, 128, 16, QZ_NF4, TRIO | DROPOUT }, 0, 4e-3 },
		{ "linear", linear, { 1100, 2048, 128, 16, QZ_NF4, LATER | DROPOUT }, 0, 4e-3 },
		{ "linear", linear, { 1, 7168, 520, 16, QZ_NF4, TRIO }, 0, 4e-3 },
		{ "linear", linear, { 2, 14336, 48, 16, QZ_NF4, PAIR | PLUS }, 0, 4e-3 },
		{ "linear", linear, { 2, 64, 140000, 0, QZ_NF4, 0 }, 0, 4e-3 },
		{ "linear", linear, { 16, 7168, 264, 16, QZ_NF4, PAIR }, 0, 4e-3 },
		/* Rows for all multiprocessors of a Hopper; 9 to 64 tokens. */
		{ "linear", linear, { 9, 320, 15000, 8, QZ_NF4, PAIR | PLUS | MIXED }, 0, 4e-3 },
		{ "linear", linear, { 32, 64, 30001, 0, QZ_FP4, BIAS }, 0, 4e-3 },
		{ "linear", linear, { 64, 576, 9000, 16, QZ_NF4, TRIO }, 0, 4e-3 },
		{ "linear", linear, { 64, 3648, 320, 16, QZ_NF4, PLUS }, 0, 4e-3 },
		{ "linear", linear, { 65, 512, 512, 16, QZ_BF16, PAIR }, 0, 4e-3 },
		{ "linear", linear, { 300, 512, 1024, 16, QZ_NF4, PAIR | SIDE | PLUS }, 0, 4e-3 },
		{ "linear", linear, { 1000, 4096, 128, 16, QZ_NF4, TRIO | NORM }, 0, 4e-3 },
		{ "linear", linear, { 1000, 4096, 128, 16, QZ_NF4, TRIO | NORM | DROPOUT }, 0,
		    4e-3 },
		{ "linear", linear, { 900, 1000, 512, 32, QZ_NF4, PAIR | SIDE | NORM }, 0, 4e-3 },
		{ "linear", linear, { 2100, 64, 1000, 24, QZ_NF4, PAIR | SIDE }, 0, 4e-3 },
		{ "linear", linear, { 100, 64, 1032, 48, QZ_NF4, PAIR | SIDE }, 0, 4e-3 },
		/* Enough tiles for a Hopper's own products: forward, then backward. */
		{ "linear", linear, { 2048, 72, 2048, 16, QZ_NF4, PLUS }, 0, 4e-3 },
		{ "linear", linear, { 2040, 2048, 72, 24, QZ_NF4, PAIR | SIDE }, 0, 4e-3 },
		{ "head", head, { 65, 512, 32000, 0, QZ_BF16, 0 }, 0, 4e-3 },
		{ "head", head, { 64, 64, 128256, 0, QZ_NF4, 0 }, 0, 4e-3 },
	};
	static const struct op_case cases[] = {
		{ "linear", linear, { 1, 1, 1, 1, QZ_F32, BIAS }, 2e-6, 4e-3 },
		{ "linear", linear, { 1, 64, 255, 4, QZ_NF4, 0 }, 2e-6, 4e-3 },
		{ "linear", linear, { 1, 576, 192, 16, QZ_NF4, DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 7, 63, 65, 3, QZ_NF4, BIAS | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 8, 65, 7, 0, QZ_BF16, PAIR }, 2e-6, 4e-3 },
		{ "linear", linear, { 9, 65, 7, 0, QZ_BF16, PAIR }, 2e-6, 4e-3 },
		{ "linear", linear, { 63, 128, 65, 8, QZ_NF4, PAIR }, 2e-6, 4e-3 },
		{ "linear", linear, { 64, 255, 64, 5, QZ_FP4, PAIR | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 65, 63, 255, 16, QZ_INT8, BIAS }, 2e-6, 4e-3 },
		{ "linear", linear, { 255, 64, 63, 1, QZ_F16, NO_DX }, 2e-6, 4e-3 },
		{ "linear", linear, { 300, 200, 255, 16, QZ_NF4, PAIR | DROPOUT | BIAS }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 257, 224, 193, 16, QZ_Q8_0, 0 }, 2e-6, 4e-3 },
		{ "linear", linear, { 33, 64, 40, 4, QZ_Q4_0, PAIR }, 2e-6, 4e-3 },
		{ "linear", linear, { 33, 64, 40, 4, QZ_Q5_1, PAIR }, 2e-6, 4e-3 },
		{ "linear", linear, { 33, 64, 40, 4, QZ_F32, PAIR | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 65, 64, 40, 6, QZ_NF4, PAIR | SIDE }, 2e-6, 4e-3 },
		{ "linear", linear, { 5, 64, 40, 6, QZ_NF4, PAIR | SIDE | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 70, 64, 33, 6, QZ_NF4, PAIR | SIDE | PLUS | DROPOUT }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 70, 65, 33, 0, QZ_BF16, PLUS | BIAS }, 2e-6, 4e-3 },
		{ "linear", linear, { 3, 65, 33, 4, QZ_F32, PLUS | BIAS | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 90, 136, 40, 16, QZ_NF4, PAIR | SIDE | PLUS | DROPOUT }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 131, 200, 40, 24, QZ_NF4, PAIR | SIDE | PLUS | DROPOUT },
		    2e-6, 4e-3 },
		{ "linear", linear, { 70, 328, 40, 48, QZ_NF4, PAIR | SIDE | PLUS | DROPOUT }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 77, 200, 72, 16, QZ_NF4, LATER | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 77, 200, 72, 16, QZ_NF4, PAIR | LATER | SIDE }, 2e-6, 4e-3 },
		{ "linear", linear, { 40, 65, 33, 5, QZ_NF4, PAIR | LATER | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 3, 300, 264, 64, QZ_BF16, TRIO | LATER | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 77, 328, 72, 16, QZ_NF4, TRIO | DROPOUT | PLUS }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 130, 1096, 64, 16, QZ_NF4, TRIO | DROPOUT | BIAS }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 200, 200, 64, 8, QZ_F32, TRIO | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 300, 264, 96, 32, QZ_BF16, PAIR | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 100, 136, 64, 64, QZ_NF4, PLUS | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 150, 72, 64, 24, QZ_NF4, NO_DX | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 77, 200, 72, 16, QZ_NF4, NORM }, 2e-6, 4e-3 },
		{ "linear", linear, { 77, 200, 72, 5, QZ_NF4, PAIR | NORM | DROPOUT }, 2e-6, 4e-3 },
		{ "linear", linear, { 130, 264, 72, 16, QZ_NF4, TRIO | NORM | DROPOUT }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 130, 264, 40, 48, QZ_BF16, PAIR | SIDE | NORM }, 2e-6, 4e-3 },
		{ "linear", linear, { 40, 65, 33, 0, QZ_BF16, NORM }, 2e-6, 4e-3 },
		{ "linear", linear, { 1, 64, 40, 4, QZ_NF4, BIAS | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 2, 4160, 72, 16, QZ_NF4, TRIO | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 2, 192, 640, 8, QZ_FP4, PAIR | BIAS }, 2e-6, 4e-3 },
		{ "linear", linear, { 1, 320, 3000, 8, QZ_NF4, TRIO | MIXED }, 2e-6, 4e-3 },
		{ "linear", linear, { 4, 320, 300, 8, QZ_NF4, PAIR | MIXED }, 2e-6, 4e-3 },
		{ "linear", linear, { 33, 320, 300, 8, QZ_NF4, TRIO | MIXED }, 2e-6, 4e-3 },
		{ "linear", linear, { 5, 320, 100, 16, QZ_NF4, TRIO }, 2e-6, 4e-3 },
		{ "linear", linear, { 8, 1088, 33, 0, QZ_NF4, PAIR | BIAS }, 2e-6, 4e-3 },
		{ "linear", linear, { 13, 576, 192, 16, QZ_FP4, SIDE | PAIR | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 32, 1536, 65, 8, QZ_NF4, DROPOUT | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 61, 704, 96, 6, QZ_NF4, TRIO | BIAS }, 2e-6, 4e-3 },
		{ "linear", linear, { 2, 50000, 3, 1, QZ_BF16, 0 }, 2e-6,
		    4e-3 }, /* a row in pieces */
		/* columns enough for each of two threads to have its own */
		{ "linear", linear, { 140, 500, 530, 16, QZ_NF4, PAIR | DROPOUT | BIAS }, 2e-6,
		    4e-3 },
		{ "linear", linear, { 130, 544, 200, 8, QZ_Q8_0, TRIO | PLUS }, 2e-6, 4e-3 },
		{ "linear", linear, { 20, 512, 2400, 6, QZ_Q4_K, PAIR }, 2e-6, 4e-3 },
		{ "linear", linear, { 20, 490, 2400, 6, QZ_F16, PAIR }, 2e-6, 4e-3 },
		{ "head", head, { 1, 64, 255, 0, QZ_BF16, 0 }, 2e-6, 4e-3 },
		{ "head", head, { 65, 63, 257, 0, QZ_F32, 0 }, 2e-6, 4e-3 },
		{ "head", head, { 300, 64, 300, 0, QZ_NF4, 0 }, 2e-6, 4e-3 },
		{ "head", head, { 17, 500, 9000, 0, QZ_NF4, 0 }, 2e-6,
		    4e-3 }, /* more than one group of rows */
	};
	static const enum qz_dtype types[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_NF4, QZ_FP4, QZ_INT8,
		QZ_Q8_0, QZ_Q4_1 };

	bf16_bound = 4e-3;
	compare(cases, sizeof cases / sizeof *cases);
	compare_large(big, sizeof big / sizeof *big);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		linear_gradient(types[i], 0, 11);
	linear_gradient(QZ_NF4, 0.3f, 11);
	linear_gradient(QZ_F32, 0.5f, 3);
	products(1, 5, 3, 2);
	products(70, 130, 65, 9);
	products(9, 1600, 70, 16);
	norm_given();
	mask();
	refusals();
	return done();
}
