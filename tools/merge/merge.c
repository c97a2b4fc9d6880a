#include "tools/merge/merge.h"

#include <inttypes.h>
#include <stdlib.h>

#include "libcore/base/flow.h"

enum { SLOTS = 3 };

struct result {
	struct qz_tensor t;
	const void *rows;
	size_t n;
	void *memory;
	size_t cap;
	bool changed; /* by an adapter */
};

struct job {
	struct merge *m;
	struct qz_pieces *pieces;
	struct qz_panel panel;
	struct result results[SLOTS];
	struct sink *sink;
	struct qz_meter *meter;
};

enum qz_dtype
merge_type(const struct merge *m, const struct qz_tensor *t)
{
	if (m->type)
		return m->type;
	return qz_dtype((unsigned)t->dtype)->plain ? t->dtype : QZ_BF16;
}

int
merge_plan(
    const struct merge *m, const struct qz_tensor *t, struct qz_tensor *out, struct qz_err *e)
{
	*out = *t;
	out->dtype = merge_type(m, t);
	out->block = out->nested_block = 0;
	return qz_tensor_plan(out, e) < 0 ? qz_at(e, "tensor %s", t->name) : 0;
}

static int
read_piece(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	struct qz_piece *p;

	(void)slot;
	return qz_pieces_next(j->pieces, &p, e);
}

static int
reserve(struct result *r, size_t n, struct qz_err *e)
{
	if (n <= r->cap)
		return 0;
	free(r->memory);
	r->memory = malloc(n);
	r->cap = r->memory ? n : 0;
	return r->memory ? 0 : qz_nomem(e, n);
}

static int
compute(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	const struct qz_piece *c = qz_pieces_slot(j->pieces, slot);
	struct result *r = &j->results[slot];
	enum qz_dtype type = merge_type(j->m, c->t);
	int64_t bad;

	r->n = (size_t)(c->n_rows * c->cols) * qz_dtype((unsigned)type)->bytes;
	r->rows = c->mat.data;
	if (merge_plan(j->m, c->t, &r->t, e) < 0 ||
	    qz_merge_add(&j->m->m, &j->panel, c, &r->changed, e) < 0)
		return -1;
	if (!r->changed && type == c->t->dtype) {
		if (qz_panel_check(&j->panel, c, &bad, e) < 0)
			return -1;
	} else {
		if (reserve(r, r->n, e) < 0 ||
		    (r->changed ? qz_panel_store(&j->panel, type, r->memory, &bad, e)
				: qz_panel_convert(&j->panel, c, type, r->memory, &bad, e)) < 0)
			return -1;
		r->rows = r->memory;
	}
	if (bad < 0)
		return 0;
	return qz_fail(e, QZ_EDATA,
	    "tensor %s: row %" PRIu64 ", column %" PRIu64 " is not finite in %s", c->t->name,
	    c->row0 + (uint64_t)bad / c->cols, (uint64_t)bad % c->cols,
	    qz_dtype((unsigned)type)->name);
}

static int
write_piece(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	const struct qz_piece *c = qz_pieces_slot(j->pieces, slot);
	const struct result *r = &j->results[slot];

	qz_meter_add(j->meter, r->n);
	if (c->row0 == 0 && j->sink->first(j->sink, &r->t, e) < 0)
		return -1;
	if (j->sink->rows(j->sink, r->rows, r->n, e) < 0)
		return -1;
	if (!c->last)
		return 0;
	j->m->n++;
	j->m->n_changed += r->changed;
	return j->sink->last(j->sink, e);
}

int
merge_run(struct merge *m, const struct qz_feed *feed, struct sink *k, struct qz_meter *meter,
    struct qz_err *e)
{
	struct job j = { .m = m, .sink = k, .meter = meter };
	const struct qz_flow flow = { &j, SLOTS, read_piece, compute, write_piece };
	int ret;

	qz_panel_init(&j.panel, m->m.d);
	j.pieces = qz_pieces_new(feed, SLOTS, 1, e);
	ret = j.pieces ? qz_flow_run(&flow, e) : -1;
	for (int i = 0; i < SLOTS; i++)
		free(j.results[i].memory);
	qz_pieces_free(j.pieces);
	qz_panel_free(&j.panel);
	return ret;
}
