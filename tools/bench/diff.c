/* diff - how far two models are apart, tensor by tensor: root mean square and largest error, cosine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/buf.h"
#include "libcore/model/source.h"
#include "tools/bench/bench.h"

enum { CHUNK = 1 << 18 }; /* elements dequantized at a time */

/* One side: its source, the current tensor, all of its data. */
struct side {
	struct qz_source *s;
	struct qz_tensor t;
	struct qz_buf data;
	struct qz_mat mat;
	float *x;
};

struct sums {
	double error, largest, aa, bb, ab;
	uint64_t n;
};

static int
next(struct side *s, struct qz_err *e)
{
	const struct qz_tensor *t;
	int got = qz_source_next(s->s, &t, e);
	void *p;

	if (got <= 0)
		return got;
	s->t = *t;
	qz_buf_clear(&s->data);
	p = qz_buf_room(&s->data, (size_t)t->nbytes);
	if (!p)
		return qz_nomem(e, t->nbytes);
	if (qz_source_read(s->s, p, (size_t)t->nbytes, e) < 0)
		return -1;
	qz_tensor_mat(&s->t, s->data.data, s->data.data, &s->mat);
	return 1;
}

static void
add_chunk(struct sums *s, const float *a, const float *b, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		double x = (double)a[i], y = (double)b[i], d = x - y;

		s->error += d * d;
		s->largest = fabs(d) > s->largest ? fabs(d) : s->largest;
		s->aa += x * x;
		s->bb += y * y;
		s->ab += x * y;
	}
	s->n += (uint64_t)n;
}

static int
compare(struct qz_dev *d, struct side *a, struct side *b, struct sums *s, struct qz_err *e)
{
	int64_t rows = a->mat.rows, step = CHUNK / (a->mat.cols ? a->mat.cols : 1);

	if (step < 1)
		step = 1;
	a->x = malloc((size_t)(step * a->mat.cols) * sizeof *a->x);
	b->x = malloc((size_t)(step * a->mat.cols) * sizeof *b->x);
	if (!a->x || !b->x)
		return qz_nomem(e, CHUNK * 4);
	for (int64_t r = 0; r < rows; r += step) {
		int64_t n = rows - r < step ? rows - r : step;

		d->k->dequantize(d, a->x, QZ_F32, &a->mat, r, n);
		d->k->dequantize(d, b->x, QZ_F32, &b->mat, r, n);
		if (d->k->sync(d, e) < 0)
			return -1;
		add_chunk(s, a->x, b->x, n * a->mat.cols);
	}
	free(a->x);
	free(b->x);
	a->x = b->x = NULL;
	return 0;
}

static int
check_pair(const struct side *a, const struct side *b, struct qz_err *e)
{
	if (strcmp(a->t.name, b->t.name))
		return qz_fail(e, QZ_EDATA, "%s has %s where %s has %s", qz_source_name(a->s),
		    a->t.name, qz_source_name(b->s), b->t.name);
	if (a->mat.rows != b->mat.rows || a->mat.cols != b->mat.cols)
		return qz_fail(e, QZ_EDATA, "%s: %lld x %lld in %s, %lld x %lld in %s", a->t.name,
		    (long long)a->mat.rows, (long long)a->mat.cols, qz_source_name(a->s),
		    (long long)b->mat.rows, (long long)b->mat.cols, qz_source_name(b->s));
	return 0;
}

static void
print(const struct bench_options *o, const char *name, const char *ta, const char *tb,
    const struct sums *s)
{
	double rmse = s->n ? sqrt(s->error / (double)s->n) : 0;
	double norm = sqrt(s->aa) * sqrt(s->bb);
	double cosine = norm > 0 ? s->ab / norm : s->aa == s->bb;

	if (o->json)
		printf("{\"tensor\":\"%s\",\"a\":\"%s\",\"b\":\"%s\",\"n\":%llu,\"rmse\":%.9g,"
		       "\"max\":%.9g,\"cosine\":%.12g}\n",
		    name, ta, tb, (unsigned long long)s->n, rmse, s->largest, cosine);
	else
		printf("%-46s %6s %6s  %11.4e  %11.4e  %.9f\n", name, ta, tb, rmse, s->largest,
		    cosine);
}

static int
diff(struct qz_dev *d, const struct bench_options *o, struct side *a, struct side *b,
    struct qz_err *e)
{
	struct sums all = { 0 };
	int got;

	if (!o->json)
		printf(
		    "%-46s %6s %6s  %11s  %11s  %s\n", "tensor", "a", "b", "rmse", "max", "cosine");
	while ((got = next(a, e)) > 0) {
		struct sums s = { 0 };

		if ((got = next(b, e)) <= 0)
			return got < 0 ? -1
				       : qz_fail(e, QZ_EDATA, "%s ends before %s",
					     qz_source_name(b->s), a->t.name);
		if (check_pair(a, b, e) < 0 || compare(d, a, b, &s, e) < 0)
			return -1;
		print(o, a->t.name, qz_dtype((unsigned)a->t.dtype)->name,
		    qz_dtype((unsigned)b->t.dtype)->name, &s);
		all.error += s.error;
		all.largest = s.largest > all.largest ? s.largest : all.largest;
		all.aa += s.aa;
		all.bb += s.bb;
		all.ab += s.ab;
		all.n += s.n;
	}
	if (got < 0)
		return -1;
	if ((got = next(b, e)) != 0)
		return got < 0 ? -1
			       : qz_fail(e, QZ_EDATA, "%s has more tensors: %s",
				     qz_source_name(b->s), b->t.name);
	print(o, "all", "", "", &all);
	return 0;
}

int
bench_diff(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct side a = { .s = qz_source_open(args[0], e) }, b = { 0 };
	int ret = -1;

	if (a.s && (b.s = qz_source_open(args[1], e)))
		ret = diff(d, o, &a, &b, e);
	qz_source_close(a.s);
	qz_source_close(b.s);
	qz_buf_free(&a.data);
	qz_buf_free(&b.data);
	free(a.x);
	free(b.x);
	return ret;
}
