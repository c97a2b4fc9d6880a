/* rmsnorm, rope, swiglu, embed, gather, scatter, add: against float64, and their gradients. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/ops.h"

static void
rmsnorm(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	int64_t n = (int64_t)s[0] * s[1];
	void *x = reals(d, o, 1, n, s[2] ? s[2] : 1), *y = poison(o, n, size),
	     *rstd = poison(o, s[0], d->k->par_size);
	void *dy = reals(d, o, 2, n, 1), *dx = poison(o, n, size), *sum = reals(d, o, 3, n, 1);
	float *w = floats(o, 4, s[1], 1);

	d->k->rmsnorm(d, y, rstd, x, w, s[0], s[1], 1e-5f);
	d->k->rmsnorm_bwd(d, dx, dy, x, rstd, w, s[0], s[1], false);
	d->k->rmsnorm_bwd(d, sum, dy, x, rstd, w, s[0], s[1], true);
	emit(o, y, size, n);
	emit(o, rstd, d->k->par_size, s[0]);
	if (s[1] == 1)
		return; /* the gradient of a row of one is eps and rounding alone */
	emit(o, dx, size, n);
	emit(o, sum, size, n);
}

/* Tokens, heads, head_dim, heads of k; the table is made like a model's. */
static void
rope(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	int64_t n = (int64_t)s[0] * s[1] * s[2], n_k = (int64_t)s[0] * s[3] * s[2];
	void *x = reals(d, o, 1, n, 1), *k = s[3] ? reals(d, o, 3, n_k, 1) : NULL,
	     *table = pars(d, o, 2, 32LL * s[2], 1);
	int32_t *at = keep(o, need((size_t)s[0] * sizeof *at));

	for (int t = 0; t < s[0]; t++)
		at[t] = t * 7 % 32;
	for (int i = 0; i < 2; i++) {
		d->k->rope(d, x, k, table, at, s[0], s[1], s[3], s[2], i > 0);
		emit(o, x, size, n);
		if (k)
			emit(o, k, size, n_k);
	}
}

static void
swiglu(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	void *g = reals(d, o, 1, s[0], s[1]), *u = reals(d, o, 2, s[0], 1),
	     *h = poison(o, s[0], size);
	void *dh = reals(d, o, 3, s[0], 1);

	d->k->swiglu(d, h, g, u, s[0]);
	emit(o, h, size, s[0]);
	d->k->swiglu_bwd(d, g, u, dh, s[2] ? dh : NULL, s[0]);
	emit(o, g, size, s[0]);
	emit(o, u, size, s[0]);
	emit(o, dh, size, s[0]);
}

/* Rows, columns, whether the table is bfloat16; what is not moved must stay. */
static void
rows(struct qz_dev *d, const int *s, struct out *o)
{
	size_t size = d->k->act_size;
	int64_t n = (int64_t)s[0] * s[1];
	struct qz_mat table = { .type = s[2] ? QZ_BF16 : QZ_F32,
		.rows = 40,
		.cols = s[1],
		.data = numbers(o, s[2] ? QZ_BF16 : QZ_F32, 1, 40LL * s[1], 1) };
	void *e = poison(o, n, size), *g = poison(o, n, size), *big = reals(d, o, 2, 2 * n, 1);
	uint32_t *ids = keep(o, need((size_t)s[0] * sizeof *ids));
	int32_t *at = keep(o, need((size_t)s[0] * sizeof *at));

	for (int i = 0; i < s[0]; i++) {
		ids[i] = (uint32_t)(i * 13 % 40);
		at[i] = 2 * s[0] - 1 - 2 * i;
	}
	d->k->embed(d, e, &table, ids, s[0]);
	d->k->gather(d, g, big, at, s[0], s[1]);
	d->k->scatter(d, big, e, at, s[0], s[1]);
	emit(o, e, size, n);
	emit(o, g, size, n);
	emit(o, big, size, 2 * n);
}

/* What the ops do to rows, said with indices. */
static void
rows_exactly(void)
{
	struct qz_dev *d = open_variant("base", 2);
	float table[6] = { 1, 2, 3, 4, 5, 6 }, y[4], x[6] = { 10, 20, 30, 40, 50, 60 };
	uint32_t ids[2] = { 2, 0 };
	int32_t at[2] = { 2, 0 };
	struct qz_mat w = { .type = QZ_F32, .rows = 3, .cols = 2, .data = table };
	struct qz_err e;

	d->k->embed(d, y, &w, ids, 2);
	ok(y[0] == 5 && y[1] == 6 && y[2] == 1 && y[3] == 2, "embed takes the rows of the ids");
	d->k->gather(d, y, x, at, 2, 2);
	ok(y[0] == 50 && y[1] == 60 && y[2] == 10 && y[3] == 20, "gather takes rows");
	d->k->scatter(d, x, table, at, 2, 2);
	ok(x[4] == 1 && x[5] == 2 && x[0] == 3 && x[1] == 4 && x[2] == 30 && x[3] == 40,
	    "scatter puts rows and leaves the others");
	ids[1] = 3;
	d->k->embed(d, y, &w, ids, 2);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "an id beyond the table: %s", e.msg);
	qz_device_close(d);
}

struct norm {
	struct qz_dev *d;
	double x[15], y[15], rstd[3], c[15];
	float w[5];
};

static double
norm_loss(void *arg)
{
	struct norm *n = arg;

	n->d->k->rmsnorm(n->d, n->y, n->rstd, n->x, n->w, 3, 5, 1e-5f);
	return weighted(n->c, n->y, 15);
}

static void
norm_gradient(void)
{
	struct norm n = { .d = open_variant("f64", 1) };
	double dx[15], was[15], far;

	for (int i = 0; i < 15; i++) {
		n.x[i] = normal(1, (uint64_t)i);
		n.c[i] = normal(2, (uint64_t)i);
		n.w[i % 5] = (float)normal(3, (uint64_t)i);
		dx[i] = was[i] = normal(4, (uint64_t)i);
	}
	norm_loss(&n);
	n.d->k->rmsnorm_bwd(n.d, dx, n.c, n.x, n.rstd, n.w, 3, 5, true);
	for (int i = 0; i < 15; i++)
		dx[i] -= was[i];
	far = gradient(norm_loss, &n, n.x, dx, 15);
	ok(far < 1e-6, "rmsnorm_bwd against differences: %.1e", far);
	qz_device_close(n.d);
}

struct glu {
	struct qz_dev *d;
	double g[33], u[33], h[33], c[33];
};

static double
glu_loss(void *arg)
{
	struct glu *s = arg;

	s->d->k->swiglu(s->d, s->h, s->g, s->u, 33);
	return weighted(s->c, s->h, 33);
}

static void
glu_gradient(void)
{
	struct glu s = { .d = open_variant("f64", 1) };
	double dg[33], du[33], h[33], far;
	int same = 1;

	for (int i = 0; i < 33; i++) {
		dg[i] = s.g[i] = normal(1, (uint64_t)i) * 3;
		du[i] = s.u[i] = normal(2, (uint64_t)i);
		h[i] = s.c[i] = normal(3, (uint64_t)i);
	}
	s.d->k->swiglu_bwd(s.d, dg, du, h, h, 33);
	far = gradient(glu_loss, &s, s.g, dg, 33);
	ok(far < 1e-6, "swiglu_bwd, gate, against differences: %.1e", far);
	far = gradient(glu_loss, &s, s.u, du, 33);
	ok(far < 1e-6, "swiglu_bwd, up, against differences: %.1e", far);
	glu_loss(&s);
	for (int i = 0; i < 33; i++)
		same &= fabs(s.h[i] - h[i]) <= 1e-15 * fabs(h[i]);
	ok(same, "swiglu_bwd gives h again, in dh's memory");
	qz_device_close(s.d);
}

struct turn {
	struct qz_dev *d;
	double x[24], y[24], table[32], c[24];
	int32_t at[3];
};

static double
turn_loss(void *arg)
{
	struct turn *r = arg;

	memcpy(r->y, r->x, sizeof r->y);
	r->d->k->rope(r->d, r->y, NULL, r->table, r->at, 3, 2, 0, 4, false);
	return weighted(r->c, r->y, 24);
}

/* Rotation by the table's angles: lengths stay, inverse undoes, and it is the gradient. */
static void
turn_gradient(void)
{
	struct turn r = { .d = open_variant("f64", 1), .at = { 0, 5, 7 } };
	double dx[24], far, off = 0;

	for (int i = 0; i < 16; i++) {
		double angle = (i / 2) * (i % 2 ? 0.01 : 1);

		r.table[2 * i] = cos(angle);
		r.table[2 * i + 1] = sin(angle);
	}
	for (int i = 0; i < 24; i++) {
		r.x[i] = normal(1, (uint64_t)i);
		dx[i] = r.c[i] = normal(2, (uint64_t)i);
	}
	r.d->k->rope(r.d, dx, NULL, r.table, r.at, 3, 2, 0, 4, true);
	far = gradient(turn_loss, &r, r.x, dx, 24);
	ok(far < 1e-6, "rope inverse against differences: %.1e", far);
	turn_loss(&r);
	r.d->k->rope(r.d, r.y, NULL, r.table, r.at, 3, 2, 0, 4, true);
	for (int i = 0; i < 24; i++)
		off = fmax(off, fabs(r.y[i] - r.x[i]));
	ok(off < 1e-14, "rope inverse undoes rope");
	memcpy(r.y, r.x, sizeof r.y);
	r.d->k->rope(r.d, r.y, NULL, r.table, r.at, 3, 2, 0, 4, false);
	ok(fabs(r.y[12] - (r.x[12] * cos(5) - r.x[14] * sin(5))) < 1e-14,
	    "rope pairs i with i + head_dim/2");
	qz_device_close(r.d);
}

int
main(void)
{
	static const struct op_case big[] = {
		{ "rmsnorm", rmsnorm, { 300, 4096 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 2047, 128 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 14336, 1 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 33, 256 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 33, 512 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 33, 576 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 33, 896 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 3584 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 5120 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 8192 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 16384 }, 0, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 20000 }, 0, 4e-3 },
		{ "rope", rope, { 2047, 32, 128, 8 }, 0, 4e-3 },
		{ "rope", rope, { 3, 40, 256, 5 }, 0, 4e-3 },
		{ "rope", rope, { 63, 1, 80 }, 0, 4e-3 },
		{ "swiglu", swiglu, { (1 << 20) + 3, 3, 1 }, 0, 4e-3 },
		{ "rows", rows, { 127, 4096 }, 0, 4e-3 },
		{ "rows", rows, { 127, 4096, 1 }, 0, 4e-3 },
		{ "rows", rows, { 33, 72, 1 }, 0, 4e-3 },
	};
	static const struct op_case cases[] = {
		{ "rmsnorm", rmsnorm, { 1, 1 }, 1e-6, 4e-3 },
		{ "rmsnorm", rmsnorm, { 7, 63 }, 1e-6, 4e-3 },
		{ "rmsnorm", rmsnorm, { 3, 64 }, 1e-6, 4e-3 },
		{ "rmsnorm", rmsnorm, { 65, 65 }, 1e-6, 4e-3 },
		{ "rmsnorm", rmsnorm, { 5, 255, 100 }, 1e-6, 4e-3 },
		{ "rmsnorm", rmsnorm, { 40, 2048 }, 1e-6, 4e-3 },
		{ "rope", rope, { 1, 1, 2 }, 1e-6, 4e-3 },
		{ "rope", rope, { 7, 3, 6, 1 }, 1e-6, 4e-3 },
		{ "rope", rope, { 65, 9, 64, 3 }, 1e-6, 4e-3 },
		{ "rope", rope, { 33, 2, 128, 2 }, 1e-6, 4e-3 },
		{ "swiglu", swiglu, { 1, 1 }, 1e-6, 4e-3 },
		{ "swiglu", swiglu, { 63, 1, 1 }, 1e-6, 4e-3 },
		{ "swiglu", swiglu, { 1025, 10 }, 1e-6, 4e-3 },
		{ "swiglu", swiglu, { 40000, 40, 1 }, 1e-6, 4e-3 },
		{ "rows", rows, { 1, 1 }, 1e-7, 4e-3 },
		{ "rows", rows, { 7, 65 }, 1e-7, 4e-3 },
		{ "rows", rows, { 255, 63 }, 1e-7, 4e-3 },
		{ "rows", rows, { 255, 64, 1 }, 1e-7, 4e-3 },
	};

	compare(cases, sizeof cases / sizeof *cases);
	compare_large(big, sizeof big / sizeof *big);
	rows_exactly();
	norm_gradient();
	glu_gradient();
	turn_gradient();
	return done();
}
