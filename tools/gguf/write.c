#include "tools/gguf/write.h"

#include <math.h>
#include <stdlib.h>

#include "libcore/base/flow.h"
#include "libcore/base/le.h"
#include "libcore/base/half.h"
#include "libcore/format/ggml_scales.h"
#include "libcore/model/gguf_meta.h"

enum { SLOTS = 3 };

struct result { /* rows of a piece in the target's type, in host memory of the device's */
	const void *rows;
	void *memory;
	size_t cap;
};

struct job {
	struct plan *plan;
	const struct qz_merge *merge;
	struct qz_pieces *pieces;
	struct qz_panel panel;
	struct result results[SLOTS];
	struct files *out;
	struct qz_meter *meter;
};

static int
read_piece(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	struct qz_piece *p;

	(void)slot;
	return qz_pieces_next(j->pieces, &p, e);
}

/* float16 holds up to 65504; what is larger has become infinite. */
static uint64_t
count_overflow(const uint16_t *y, uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < n; i++)
		count += (y[i] & 0x7c00) == 0x7c00;
	return count;
}

static int
not_finite(const struct qz_piece *c, int64_t at, struct qz_err *e)
{
	return qz_fail(e, QZ_EDATA, "tensor %s: row %llu, column %llu is not finite", c->t->name,
	    (unsigned long long)(c->row0 + (uint64_t)at / c->cols),
	    (unsigned long long)((uint64_t)at % c->cols));
}

/* Rows that are of the target's type already: only looked at.  Of blocks a scale may be no number. */
static int
keep(struct job *j, const struct qz_piece *c, struct qz_err *e)
{
	int64_t bad;

	if (qz_dtype((unsigned)c->t->dtype)->plain) {
		if (qz_panel_check(&j->panel, c, &bad, e) < 0)
			return -1;
	} else if (qz_panel_load(&j->panel, c, e) < 0 || qz_panel_finite(&j->panel, &bad, e) < 0) {
		return -1;
	}
	return bad < 0 ? 0 : not_finite(c, bad, e);
}

static int
reserve(struct qz_dev *d, struct result *r, uint64_t n, struct qz_err *e)
{
	if (n <= r->cap)
		return 0;
	d->k->host_free(d, r->memory);
	r->memory = d->k->host_alloc(d, (size_t)n, e);
	r->cap = r->memory ? (size_t)n : 0;
	return r->memory ? 0 : -1;
}

/* llama-quantize gives up there, too. */
static int
check_scales(const struct qz_piece *c, const struct planned *p, const void *rows, struct qz_err *e)
{
	const struct qz_dtype_info *t = qz_dtype((unsigned)p->type);
	uint64_t row_blocks = c->cols / t->block;
	int64_t at = qz_ggml_bad_block(p->type, rows, c->n_rows * row_blocks);
	uint64_t col = at < 0 ? 0 : (uint64_t)at % row_blocks * t->block;

	if (at < 0)
		return 0;
	return qz_fail(e, QZ_EDATA,
	    "tensor %s: row %llu, columns %llu to %llu: the scale of this block of %s is too large "
	    "for "
	    "float16; bf16 holds the values",
	    c->t->name, (unsigned long long)(c->row0 + (uint64_t)at / row_blocks),
	    (unsigned long long)col, (unsigned long long)(col + t->block - 1), t->name);
}

/* What is not of the target's type. */
static int
convert(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	const struct qz_piece *c = qz_pieces_slot(j->pieces, slot);
	struct planned *p = &j->plan->tensors[c->index];
	struct result *r = &j->results[slot];
	int64_t bad;
	bool changed;

	r->rows = c->mat.data;
	if (qz_merge_add(j->merge, &j->panel, c, &changed, e) < 0)
		return -1;
	if (!changed && c->t->dtype == p->type)
		return keep(j, c, e);
	if (reserve(j->merge->d, r, c->n_rows * p->row_nbytes, e) < 0)
		return -1;
	r->rows = r->memory;
	j->panel.importance = p->importance;
	if ((changed ? qz_panel_store(&j->panel, p->type, r->memory, &bad, e)
		     : qz_panel_convert(&j->panel, c, p->type, r->memory, &bad, e)) < 0)
		return -1;
	if (bad >= 0 && p->type == QZ_F16) { /* too large, or not finite before? */
		p->overflow += count_overflow(r->memory, c->n_rows * c->cols);
		if ((!changed && qz_panel_load(&j->panel, c, e) < 0) ||
		    qz_panel_finite(&j->panel, &bad, e) < 0)
			return -1;
	}
	return bad < 0 ? check_scales(c, p, r->memory, e) : not_finite(c, bad, e);
}

/* A vector is one row: its elements change places, not its rows. */
static int
write_permuted(struct job *j, const struct qz_piece *c, const struct planned *p, const char *rows,
    struct qz_err *e)
{
	uint64_t head = (uint64_t)j->plan->config->head_dim;
	bool vector = c->t->n_dims < 2;
	uint64_t n = vector ? c->cols : c->n_rows,
		 size = vector ? p->row_nbytes / c->cols : p->row_nbytes;

	for (uint64_t i = 0; i < n; i++)
		if (files_write(
			j->out, c->index, rows + qz_gguf_row(i, head) * size, (size_t)size, e) < 0)
			return -1;
	return 0;
}

/* What each frequency is divided by: as in the source, where that has it. */
static int
write_rope(struct job *j, struct qz_err *e)
{
	size_t n = (size_t)j->plan->config->head_dim / 2;
	float *f = malloc(n * sizeof *f);
	uint8_t le[4];
	int ret = f ? 0 : qz_nomem(e, n * sizeof *f);

	if (f && !j->plan->rope)
		qz_gguf_rope_factors(j->plan->config, f);
	for (size_t i = 0; i < n && ret == 0; i++) {
		le32_put(le, qz_f32_bits(j->plan->rope ? j->plan->rope[i] : f[i]));
		ret = files_write(j->out, j->plan->rope_at, le, sizeof le, e);
	}
	free(f);
	return ret;
}

static int
write_piece(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	const struct qz_piece *c = qz_pieces_slot(j->pieces, slot);
	const struct planned *p = &j->plan->tensors[c->index];
	const void *rows = j->results[slot].rows;
	size_t n = (size_t)(c->n_rows * p->row_nbytes);

	qz_meter_add(j->meter, n);
	if (j->plan->rope_factors && c->index == j->plan->rope_at && c->row0 == 0 &&
	    write_rope(j, e) < 0)
		return -1;
	return p->permuted ? write_permuted(j, c, p, rows, e)
			   : files_write(j->out, c->index, rows, n, e);
}

int
write_data(struct plan *p, const struct qz_feed *feed, const struct qz_merge *m, struct files *out,
    struct qz_meter *meter, struct qz_err *e)
{
	struct job j = { .plan = p, .merge = m, .out = out, .meter = meter };
	const struct qz_flow flow = { &j, SLOTS, read_piece, convert, write_piece };
	int ret = 0;

	qz_panel_init(&j.panel, m->d);
	j.pieces = qz_pieces_new(feed, SLOTS, (uint64_t)p->config->head_dim, e);
	if (j.pieces)
		qz_pieces_for(j.pieces, m->d);
	else
		ret = -1;
	if (ret == 0)
		ret = qz_flow_run(&flow, e);
	if (ret == 0)
		ret = files_end(out, e);
	for (int i = 0; i < SLOTS; i++)
		m->d->k->host_free(m->d, j.results[i].memory);
	qz_pieces_free(j.pieces);
	qz_panel_free(&j.panel);
	return ret;
}
