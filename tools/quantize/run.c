#include <stdlib.h>
#include <string.h>

#include "kernels/nf4.h"
#include "libcore/base/flow.h"
#include "libcore/base/size.h"
#include "libcore/model/panel.h"
#include "libcore/model/pieces.h"
#include "tools/quantize/quantize.h"

enum { SLOTS = 3, SPANS_MAX = QZ_SECTIONS_MAX };

/* Memory that grows, of the device or not. */
struct memory {
	void *p;
	size_t cap;
};

/* Bytes for the sink. */
struct span {
	enum qz_section_kind kind;
	const void *data;
	size_t n;
};

/* What a piece has become. */
struct result {
	struct qz_tensor t;
	struct memory data,
	    tail; /* codes or values; the sections behind them, with the last piece */
	struct span spans[SPANS_MAX];
	int n_spans;
};

struct job {
	const struct plan *plan;
	struct qz_dev *d;
	struct qz_pieces *pieces;
	struct qz_panel panel;
	struct result results[SLOTS];
	struct sink *sink;
	struct report *report;
	struct qz_meter *meter;
	struct memory in, out, scales; /* on the device, where it is not the CPU */
	struct memory absmax;          /* of the current tensor, in the order of its blocks */
	bool host;
};

static int
reserve(struct memory *m, uint64_t n, struct qz_err *e)
{
	if (n <= m->cap)
		return 0;
	free(m->p);
	m->p = n > SIZE_MAX ? NULL : malloc((size_t)n);
	m->cap = m->p ? (size_t)n : 0;
	return m->p ? 0 : qz_nomem(e, n);
}

static int
reserve_device(struct job *j, struct memory *m, uint64_t n, struct qz_err *e)
{
	if (n <= m->cap)
		return 0;
	j->d->k->free(j->d, m->p);
	m->p = j->d->k->alloc(j->d, (size_t)n, e);
	m->cap = m->p ? (size_t)n : 0;
	return m->p ? 0 : -1;
}

static void
give(struct result *r, enum qz_section_kind kind, const void *data, size_t n)
{
	r->spans[r->n_spans++] = (struct span){ kind, data, n };
}

static int
read_piece(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	struct qz_piece *p;

	(void)slot;
	return qz_pieces_next(j->pieces, &p, e);
}

/* ---- what can become of a piece ---- */

static int
nonfinite(const struct job *j, const struct qz_piece *c, int64_t at, struct qz_err *e)
{
	return qz_fail(e, QZ_EDATA,
	    "%s: tensor %s: element %llu (row %llu, column %llu) is not finite", j->plan->model,
	    c->t->name, (unsigned long long)(c->row0 * c->cols + (uint64_t)at),
	    (unsigned long long)(c->row0 + (uint64_t)at / c->cols),
	    (unsigned long long)((uint64_t)at % c->cols));
}

/* *bad: the first of n values, where the device has them, that is not finite, or -1. */
static int
look(struct job *j, const void *x, enum qz_dtype type, uint64_t n, int64_t *bad, struct qz_err *e)
{
	j->d->k->find_nonfinite(j->d, bad, x, type, (int64_t)n);
	return j->d->k->sync(j->d, e);
}

/* Sections of a tensor that stays as it is; f32 ones may not hold NaN or infinity. */
static int
keep_scaled(struct job *j, struct result *r, const struct qz_piece *c, struct qz_err *e)
{
	const struct qz_tensor *t = c->t;
	struct memory *m = &j->in;
	int64_t bad;

	for (int i = 0; c->last && i < t->n_sections; i++) {
		const struct qz_section *s = &t->sections[i];
		const void *data = (const char *)c->data + s->offset, *x = data;

		give(r, (enum qz_section_kind)s->kind, data, (size_t)s->nbytes);
		if (s->dtype != QZ_F32)
			continue;
		if (!j->host) {
			if (reserve_device(j, m, s->nbytes, e) < 0)
				return -1;
			j->d->k->copy_in(j->d, m->p, data, (size_t)s->nbytes);
			x = m->p;
		}
		if (look(j, x, QZ_F32, s->nbytes / 4, &bad, e) < 0)
			return -1;
		if (bad >= 0)
			return qz_fail(e, QZ_EDATA,
			    "%s: tensor %s: block constant %lld is not finite", j->plan->model,
			    t->name, (long long)bad);
	}
	return 0;
}

static int
keep(struct job *j, struct result *r, const struct qz_piece *c, struct qz_err *e)
{
	const struct qz_dtype_info *info = qz_dtype((unsigned)c->t->dtype);
	int64_t bad = -1;

	if (info->scaled)
		return keep_scaled(j, r, c, e);
	if (info->plain && qz_panel_check(&j->panel, c, &bad, e) < 0)
		return -1;
	if (bad >= 0)
		return nonfinite(j, c, bad, e);
	give(r, QZ_SEC_DATA, c->data, (size_t)c->nbytes);
	return 0;
}

static int
cast(struct job *j, struct result *r, const struct qz_piece *c, struct qz_err *e)
{
	uint64_t n = c->n_rows * c->cols * qz_dtype((unsigned)r->t.dtype)->bytes;
	int64_t bad;

	if (reserve(&r->data, n, e) < 0 ||
	    qz_panel_convert(&j->panel, c, r->t.dtype, r->data.p, &bad, e) < 0)
		return -1;
	if (bad >= 0)
		return nonfinite(j, c, bad, e);
	give(r, QZ_SEC_DATA, r->data.p, (size_t)n);
	return 0;
}

/* The piece as values of a plain type where the device can read them. */
static int
values(
    struct job *j, const struct qz_piece *c, const void **x, enum qz_dtype *type, struct qz_err *e)
{
	*x = c->data;
	*type = c->t->dtype;
	if (qz_dtype((unsigned)*type)->plain && j->host)
		return 0;
	if (qz_dtype((unsigned)*type)->plain) {
		if (reserve_device(j, &j->in, c->nbytes, e) < 0)
			return -1;
		j->d->k->copy_in(j->d, j->in.p, c->data, (size_t)c->nbytes);
		*x = j->in.p;
		return 0;
	}
	*type = QZ_F32;
	if (qz_panel_load(&j->panel, c, e) < 0)
		return -1;
	*x = j->panel.x;
	return 0;
}

static int
check(struct job *j, const struct qz_piece *c, const void *x, enum qz_dtype type, struct qz_err *e)
{
	int64_t bad;

	if (look(j, x, type, c->n_rows * c->cols, &bad, e) < 0)
		return -1;
	return bad < 0 ? 0 : nonfinite(j, c, bad, e);
}

/* Where a value is not finite its block's absmax is not: a look at 1 in 64 numbers, mostly the only one. */
static int
check_blocks(struct job *j, const struct qz_piece *c, const void *x, enum qz_dtype type,
    const float *absmax, uint64_t blocks, struct qz_err *e)
{
	int64_t bad;

	if (look(j, j->host ? absmax : j->scales.p, QZ_F32, blocks, &bad, e) < 0)
		return -1;
	return bad < 0 ? 0 : check(j, c, x, type, e);
}

/* The sections behind the codes of a whole 4-bit tensor, from its block constants. */
static int
put_constants(struct job *j, struct result *r, struct qz_err *e)
{
	const struct qz_section *s = qz_tensor_section(&r->t, QZ_SEC_ABSMAX), *nested;
	const float *absmax = j->absmax.p;
	uint64_t n = qz_ceil_div(qz_tensor_count(&r->t), r->t.block);
	float offset;
	char *tail;

	give(r, QZ_SEC_MAP, qz_map4(r->t.dtype), 16 * sizeof(float));
	if (!r->t.nested_block) {
		if (reserve(&r->tail, n * sizeof *absmax, e) < 0)
			return -1;
		memcpy(r->tail.p, absmax, (size_t)n * sizeof *absmax);
		give(r, QZ_SEC_ABSMAX, r->tail.p, (size_t)n * sizeof *absmax);
		return 0;
	}
	nested = qz_tensor_section(&r->t, QZ_SEC_NESTED_ABSMAX);
	if (reserve(&r->tail, nested->nbytes + 4 + s->nbytes, e) < 0)
		return -1;
	tail = r->tail.p;
	offset = qz_absmax_mean(absmax, (int64_t)n);
	memcpy(tail + nested->nbytes, &offset, 4);
	if (j->host) {
		j->d->k->nest_absmax(j->d, (uint8_t *)tail + nested->nbytes + 4, (float *)r->tail.p,
		    absmax, offset, (int64_t)n, (int)r->t.nested_block);
	} else {
		if (reserve_device(j, &j->in, n * sizeof *absmax, e) < 0 ||
		    reserve_device(j, &j->out, s->nbytes, e) < 0 ||
		    reserve_device(j, &j->scales, nested->nbytes, e) < 0)
			return -1;
		j->d->k->copy_in(j->d, j->in.p, absmax, (size_t)n * sizeof *absmax);
		j->d->k->nest_absmax(j->d, j->out.p, j->scales.p, j->in.p, offset, (int64_t)n,
		    (int)r->t.nested_block);
		j->d->k->copy_out(j->d, tail + nested->nbytes + 4, j->out.p, (size_t)s->nbytes);
		j->d->k->copy_out(j->d, tail, j->scales.p, (size_t)nested->nbytes);
	}
	give(r, QZ_SEC_ABSMAX, tail + nested->nbytes + 4, (size_t)s->nbytes);
	give(r, QZ_SEC_NESTED_ABSMAX, tail, (size_t)nested->nbytes);
	give(r, QZ_SEC_OFFSET, tail + nested->nbytes, 4);
	give(r, QZ_SEC_NESTED_MAP, qz_map8_signed(), 256 * sizeof(float));
	return j->d->k->sync(j->d, e);
}

static int
quantize4(struct job *j, struct result *r, const struct qz_piece *c, struct qz_err *e)
{
	uint64_t n = c->n_rows * c->cols, blocks = qz_ceil_div(n, r->t.block);
	uint64_t all = qz_ceil_div(c->rows * c->cols, r->t.block);
	enum qz_dtype type;
	float *absmax;
	const void *x;

	if (values(j, c, &x, &type, e) < 0 || reserve(&r->data, qz_ceil_div(n, 2), e) < 0 ||
	    (c->row0 == 0 && reserve(&j->absmax, all * sizeof *absmax, e) < 0))
		return -1;
	absmax = (float *)j->absmax.p + c->row0 * c->cols / r->t.block;
	if (j->host) {
		j->d->k->quantize4(
		    j->d, r->t.dtype, r->data.p, absmax, x, type, (int64_t)n, (int)r->t.block);
	} else {
		if (reserve_device(j, &j->out, qz_ceil_div(n, 2), e) < 0 ||
		    reserve_device(j, &j->scales, blocks * sizeof *absmax, e) < 0)
			return -1;
		j->d->k->quantize4(
		    j->d, r->t.dtype, j->out.p, j->scales.p, x, type, (int64_t)n, (int)r->t.block);
		j->d->k->copy_out(j->d, r->data.p, j->out.p, (size_t)qz_ceil_div(n, 2));
		j->d->k->copy_out(j->d, absmax, j->scales.p, (size_t)blocks * sizeof *absmax);
	}
	if (check_blocks(j, c, x, type, absmax, blocks, e) < 0)
		return -1;
	give(r, QZ_SEC_DATA, r->data.p, (size_t)qz_ceil_div(n, 2));
	return c->last ? put_constants(j, r, e) : 0;
}

static int
quantize8(struct job *j, struct result *r, const struct qz_piece *c, struct qz_err *e)
{
	uint64_t n = c->n_rows * c->cols;
	enum qz_dtype type;
	float *absmax;
	const void *x;

	if (values(j, c, &x, &type, e) < 0 || check(j, c, x, type, e) < 0 ||
	    reserve(&r->data, n, e) < 0 ||
	    (c->row0 == 0 && reserve(&j->absmax, c->rows * sizeof *absmax, e) < 0))
		return -1;
	absmax = (float *)j->absmax.p + c->row0;
	if (j->host) {
		j->d->k->quantize8(
		    j->d, r->data.p, absmax, x, type, (int64_t)c->n_rows, (int64_t)c->cols);
	} else {
		if (reserve_device(j, &j->out, n, e) < 0 ||
		    reserve_device(j, &j->scales, c->n_rows * sizeof *absmax, e) < 0)
			return -1;
		j->d->k->quantize8(
		    j->d, j->out.p, j->scales.p, x, type, (int64_t)c->n_rows, (int64_t)c->cols);
		j->d->k->copy_out(j->d, r->data.p, j->out.p, (size_t)n);
		j->d->k->copy_out(j->d, absmax, j->scales.p, (size_t)c->n_rows * sizeof *absmax);
	}
	if (j->d->k->sync(j->d, e) < 0)
		return -1;
	give(r, QZ_SEC_DATA, r->data.p, (size_t)n);
	if (!c->last)
		return 0;
	if (reserve(&r->tail, c->rows * sizeof *absmax, e) < 0)
		return -1;
	memcpy(r->tail.p, j->absmax.p, (size_t)c->rows * sizeof *absmax);
	give(r, QZ_SEC_ABSMAX, r->tail.p, (size_t)c->rows * sizeof *absmax);
	return 0;
}

static bool
stays(const struct qz_tensor *in, const struct qz_tensor *out)
{
	return in->dtype == out->dtype && in->block == out->block &&
	       in->nested_block == out->nested_block;
}

static int
compute(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	const struct qz_piece *c = qz_pieces_slot(j->pieces, slot);
	struct result *r = &j->results[slot];

	r->n_spans = 0;
	if (plan_tensor(j->plan, c->t, &r->t, e) < 0)
		return -1;
	if (stays(c->t, &r->t))
		return keep(j, r, c, e);
	if (qz_dtype((unsigned)r->t.dtype)->plain)
		return cast(j, r, c, e);
	return r->t.dtype == QZ_INT8 ? quantize8(j, r, c, e) : quantize4(j, r, c, e);
}

static int
write_piece(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	const struct qz_piece *c = qz_pieces_slot(j->pieces, slot);
	const struct result *r = &j->results[slot];

	qz_meter_add(j->meter, c->nbytes);
	if (c->row0 == 0) {
		report_add(j->report, c->t, &r->t);
		if (j->sink->first(j->sink, &r->t, e) < 0)
			return -1;
	}
	for (int i = 0; i < r->n_spans; i++)
		if (j->sink->put(j->sink, r->spans[i].kind, r->spans[i].data, r->spans[i].n, e) < 0)
			return -1;
	return c->last ? j->sink->last(j->sink, c->digest, e) : 0;
}

int
quantize_all(const struct plan *p, struct qz_dev *d, const struct qz_feed *feed, uint64_t unit,
    struct sink *k, struct report *r, struct qz_meter *meter, struct qz_err *e)
{
	struct job j = { .plan = p,
		.d = d,
		.sink = k,
		.report = r,
		.meter = meter,
		.host = !strncmp(d->k->name, "cpu", 3) };
	const struct qz_flow flow = { &j, SLOTS, read_piece, compute, write_piece };
	int ret;

	qz_panel_init(&j.panel, d);
	j.pieces = qz_pieces_new(feed, SLOTS, unit, e);
	ret = j.pieces ? qz_flow_run(&flow, e) : -1;
	for (int i = 0; i < SLOTS; i++) {
		free(j.results[i].data.p);
		free(j.results[i].tail.p);
	}
	free(j.absmax.p);
	d->k->free(d, j.in.p);
	d->k->free(d, j.out.p);
	d->k->free(d, j.scales.p);
	qz_pieces_free(j.pieces);
	qz_panel_free(&j.panel);
	return ret;
}
