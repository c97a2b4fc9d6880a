#include "tools/bench/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/rng.h"
#include "libcore/model/proj.h"
#include "tools/bench/timing.h"

enum { BLOCK = 64, SETS_MAX = 64, SOURCE = 1 << 24 };
static const double FOOTPRINT = 256
				<< 20; /* bytes of all sets, at least, when SETS_MAX are enough */

/* n whole numbers or angles, made on the host. */
static int
fill_host(struct stream *s, const struct stream_part *p, void *to, struct qz_err *e)
{
	size_t size = qz_dtype((unsigned)p->type)->bytes;
	char *host = calloc((size_t)p->n, size);

	if (!host)
		return qz_nomem(e, (size_t)p->n * size);
	for (int64_t i = 0; i < p->n; i++) {
		double angle = (double)(i / 2 % 997), v = i % 2 ? sin(angle) : cos(angle);

		if (p->fill == STREAM_ANGLES && p->type == QZ_F64)
			((double *)(void *)host)[i] = v;
		else if (p->fill == STREAM_ANGLES)
			((float *)(void *)host)[i] = (float)v;
		else
			((int32_t *)(void *)host)[i] = (int32_t)(p->fill == STREAM_PLACES
								     ? i
								     : i * 7919 % p->below);
	}
	s->k->copy_in(s->d, to, host, (size_t)p->n * size);
	free(host);
	return 0;
}

/* Random values out of the source, piece by piece; codes are those of its values. */
static int
fill(struct stream *s, const struct stream_part *p, char *to, struct qz_err *e)
{
	size_t size = qz_dtype((unsigned)p->type)->bytes;
	int64_t step = p->fill == STREAM_CODES ? SOURCE / 2 : SOURCE;

	if (p->fill >= STREAM_PLACES)
		return fill_host(s, p, to, e);
	if (p->fill == STREAM_ZEROS)
		s->k->fill(s->d, to, 0, (size_t)p->n * size);
	for (int64_t i = 0; p->fill != STREAM_ZEROS && i < p->n; i += step) {
		int64_t n = p->n - i < step ? p->n - i : step;

		if (p->fill == STREAM_CODES) /* behind the source is room for their constants */
			s->k->quantize4(s->d, QZ_NF4, (uint8_t *)to + i, s->source + SOURCE,
			    s->source, QZ_F32, 2 * n, BLOCK);
		else
			s->k->cast(s->d, to + (size_t)i * size, p->type, s->source, QZ_F32, n);
	}
	return 0;
}

/* The sets of one op's arguments. */
struct sets {
	struct stream *s;
	const struct stream_op *op;
	int n, n_parts;
	void *at[SETS_MAX][STREAM_PARTS];
};

static void
call(void *arg, int64_t i)
{
	struct sets *x = arg;

	x->op->run(x->s, x->at[i % x->n]);
}

static int
take(struct sets *x, const struct stream_part *parts, double bytes, struct qz_err *e)
{
	struct stream *s = x->s;

	x->n = bytes * 2 > FOOTPRINT ? 2 : (int)ceil(FOOTPRINT / bytes);
	x->n = x->n < SETS_MAX ? x->n : SETS_MAX;
	for (int i = 0; i < x->n; i++)
		for (int k = 0; k < x->n_parts; k++) {
			size_t size = qz_dtype((unsigned)parts[k].type)->bytes;

			x->at[i][k] = s->k->alloc(s->d, (size_t)parts[k].n * size + 1, e);
			if (!x->at[i][k] || fill(s, &parts[k], x->at[i][k], e) < 0)
				return -1;
		}
	return 0;
}

/* Seconds of a call, and its bytes. */
static int
time_op(
    struct stream *s, const struct stream_op *op, double *seconds, double *bytes, struct qz_err *e)
{
	struct stream_part parts[STREAM_PARTS];
	struct sets x = { .s = s, .op = op };
	double held = 0;
	int ret;

	s->op = op;
	x.n_parts = op->parts(s, parts);
	*bytes = 0;
	for (int k = 0; k < x.n_parts; k++) {
		double n = (double)parts[k].n * qz_dtype((unsigned)parts[k].type)->bytes;

		held += n;
		*bytes += n * parts[k].passes;
	}
	ret = take(&x, parts, held, e);
	if (ret == 0)
		ret = bench_time(s->d, s->o->seconds, call, &x, seconds, e);
	for (int i = 0; i < SETS_MAX; i++)
		for (int k = 0; k < x.n_parts; k++)
			s->k->free(s->d, x.at[i][k]);
	return ret;
}

static int
make_source(struct stream *s, struct qz_err *e)
{
	size_t n = SOURCE * sizeof *s->source;
	float *host = malloc(n);
	uint32_t w[4];

	s->source = s->k->alloc(s->d, n + SOURCE / BLOCK * sizeof *s->source, e);
	if (!host || !s->source) {
		free(host);
		return s->source ? qz_nomem(e, n) : -1;
	}
	for (uint64_t i = 0; i < SOURCE; i++) {
		if (i % 4 == 0)
			qz_philox(42, 1, i / 4, w);
		host[i] = 2 * qz_unit(w[i % 4]) - 1;
	}
	s->k->copy_in(s->d, s->source, host, n);
	free(host);
	return s->k->sync(s->d, e);
}

static void
end(struct stream *s)
{
	s->k->free(s->d, s->source);
	s->k->free(s->d, s->args);
	s->k->free(s->d, s->sum);
}

static int
begin(struct stream *s, struct qz_dev *d, const struct bench_options *o, const struct qz_config *c,
    struct qz_err *e)
{
	struct qz_adamw args = { 1e-4, 0.9, 0.999, 1e-8, 0.01, 1, 1, 0 };
	double sum = 1;

	*s = (struct stream){ .d = d, .k = d->k, .o = o, .c = c, .t = o->tokens };
	for (int p = 0; p < QZ_PROJ_N; p++) {
		int64_t rows, cols;

		qz_proj_shape(c, (enum qz_proj)p, &rows, &cols);
		s->adapter += c->layers * STREAM_RANK * (rows + cols);
	}
	s->args = d->k->alloc(d, sizeof args, e);
	s->sum = s->args ? d->k->alloc(d, sizeof sum, e) : NULL;
	if (!s->sum || make_source(s, e) < 0) {
		end(s);
		return -1;
	}
	d->k->copy_in(d, s->args, &args, sizeof args);
	d->k->copy_in(d, s->sum, &sum, sizeof sum);
	return 0;
}

int
bench_stream_copy(struct qz_dev *d, const struct bench_options *o, const struct qz_config *c,
    double *rate, struct qz_err *e)
{
	double seconds, bytes;
	struct stream s;
	int ret;

	if (begin(&s, d, o, c, e) < 0)
		return -1;
	ret = time_op(&s, &bench_stream_copy_op, &seconds, &bytes, e);
	end(&s);
	*rate = bytes / seconds;
	return ret;
}

/* Rows of the model are whole blocks of quantize_ggml's type. */
static bool
fits(const struct stream_op *op, const struct qz_config *c)
{
	const struct qz_dtype_info *t = qz_dtype((unsigned)llabs(op->arg));

	return strncmp(op->name, "quantize_ggml", 13) || c->hidden % t->block == 0;
}

/* The i-th op of all tables; NULL behind the last. */
static const struct stream_op *
nth(int i)
{
	static const struct stream_table *const tables[] = { &bench_stream_weights,
		&bench_stream_tokens };

	for (size_t k = 0; k < sizeof tables / sizeof *tables; i -= tables[k++]->n)
		if (i < tables[k]->n)
			return &tables[k]->ops[i];
	return NULL;
}

bool
bench_stream_wanted(const struct bench_options *o)
{
	const struct stream_op *op;

	for (int i = 0; (op = nth(i)); i++)
		if (bench_wanted(o, op->name, op->shape))
			return true;
	return false;
}

int
bench_stream(struct qz_dev *d, const struct bench_options *o, const struct qz_config *c,
    double copy, struct qz_err *e)
{
	const struct stream_op *op;
	struct stream s;
	int ret = begin(&s, d, o, c, e);

	for (int i = 0; ret == 0 && (op = nth(i)); i++) {
		double seconds, bytes;
		struct bench_row row;

		if (!fits(op, c) || !bench_wanted(o, op->name, op->shape))
			continue;
		ret = time_op(&s, op, &seconds, &bytes, e);
		if (ret < 0)
			break;
		row = (struct bench_row){ op->name, op->shape, seconds, bytes / seconds, "GB/s",
			copy };
		bench_row_print(o, &row);
	}
	end(&s);
	return ret;
}
