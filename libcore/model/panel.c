#include "libcore/model/panel.h"

void
qz_panel_init(struct qz_panel *p, struct qz_dev *d)
{
	*p = (struct qz_panel){ .d = d, .host = qz_on_host(d) };
}

void
qz_panel_free(struct qz_panel *p)
{
	if (!p->d)
		return;
	p->d->k->free(p->d, p->in.p);
	p->d->k->free(p->d, p->values.p);
	p->d->k->free(p->d, p->out.p);
	p->d->k->free(p->d, p->weights.p);
	*p = (struct qz_panel){ 0 };
}

static int
reserve(struct qz_panel *p, struct qz_panel_memory *m, uint64_t n, struct qz_err *e)
{
	void *q;

	if (n <= m->cap && m->p)
		return 0;
	q = n > SIZE_MAX ? NULL : p->d->k->alloc(p->d, (size_t)n, e);
	if (!q)
		return n > SIZE_MAX ? qz_nomem(e, n) : -1;
	p->d->k->free(p->d, m->p);
	m->p = q;
	m->cap = (size_t)n;
	return 0;
}

/* The matrix with what it points to on the device. */
static int
place(struct qz_panel *p, const struct qz_piece *c, struct qz_mat *m, struct qz_err *e)
{
	bool whole = qz_dtype((unsigned)c->t->dtype)->scaled;

	*m = c->mat;
	if (p->host)
		return 0;
	if (!whole || p->held != c->t || c->row0 == 0) {
		if (reserve(p, &p->in, c->nbytes, e) < 0)
			return -1;
		p->d->k->copy_in(p->d, p->in.p, c->data, (size_t)c->nbytes);
		p->held = whole ? c->t : NULL;
	}
	if (whole)
		qz_tensor_mat(c->t, p->in.p, c->data, m);
	else
		m->data = p->in.p;
	return 0;
}

int
qz_panel_load(struct qz_panel *p, const struct qz_piece *c, struct qz_err *e)
{
	uint64_t n = c->n_rows * c->cols;
	struct qz_mat m;

	if (reserve(p, &p->values, n * sizeof *p->x, e) < 0 || place(p, c, &m, e) < 0)
		return -1;
	p->x = p->values.p;
	p->rows = (int64_t)c->n_rows;
	p->cols = (int64_t)c->cols;
	if (qz_dtype((unsigned)m.type)->plain)
		p->d->k->cast(p->d, p->x, QZ_F32, m.data, m.type, (int64_t)n);
	else
		p->d->k->dequantize(p->d, p->x, QZ_F32, &m, c->mat_row, p->rows);
	return p->d->k->sync(p->d, e);
}

static int
find(struct qz_panel *p, const void *x, enum qz_dtype type, int64_t n, int64_t *bad,
    struct qz_err *e)
{
	p->d->k->find_nonfinite(p->d, bad, x, type, n);
	return p->d->k->sync(p->d, e);
}

int
qz_panel_finite(struct qz_panel *p, int64_t *bad, struct qz_err *e)
{
	return find(p, p->x, QZ_F32, p->rows * p->cols, bad, e);
}

int
qz_panel_check(struct qz_panel *p, const struct qz_piece *c, int64_t *bad, struct qz_err *e)
{
	struct qz_mat m;

	if (place(p, c, &m, e) < 0)
		return -1;
	return find(p, m.data, m.type, (int64_t)(c->n_rows * c->cols), bad, e);
}

/* The importance on the device: *w, NULL when there is none. */
static int
place_importance(struct qz_panel *p, const float **w, struct qz_err *e)
{
	size_t n = (size_t)p->cols * sizeof **w;

	*w = p->importance;
	if (p->host || !p->importance)
		return 0;
	if (reserve(p, &p->weights, n, e) < 0)
		return -1;
	p->d->k->copy_in(p->d, p->weights.p, p->importance, n);
	*w = p->weights.p;
	return 0;
}

int
qz_panel_store(struct qz_panel *p, enum qz_dtype type, void *out, int64_t *bad, struct qz_err *e)
{
	uint64_t n = (uint64_t)p->rows * (uint64_t)p->cols, nbytes;
	bool plain = qz_dtype((unsigned)type)->plain;
	const float *importance;
	void *to = out;

	if (place_importance(p, &importance, e) < 0)
		return -1;
	if (qz_dtype_nbytes(type, n, &nbytes))
		return qz_fail(e, QZ_EDATA, "%llu elements do not fit type %s",
		    (unsigned long long)n, qz_dtype((unsigned)type)->name);
	if (!p->host) {
		if (reserve(p, &p->out, nbytes, e) < 0)
			return -1;
		to = p->out.p;
	}
	if (plain)
		p->d->k->cast(p->d, to, type, p->x, QZ_F32, (int64_t)n);
	else
		p->d->k->quantize_ggml(p->d, type, to, p->x, p->rows, p->cols, importance);
	if (!p->host)
		p->d->k->copy_out(p->d, out, to, (size_t)nbytes);
	return plain ? find(p, to, type, (int64_t)n, bad, e) : qz_panel_finite(p, bad, e);
}

/* Between plain types nothing is kept as float32 but a tile of the op's. */
static int
cast(struct qz_panel *p, const struct qz_piece *c, enum qz_dtype type, void *out, int64_t *bad,
    struct qz_err *e)
{
	uint64_t n = c->n_rows * c->cols, nbytes;
	struct qz_mat m;
	void *to = out;

	if (qz_dtype_nbytes(type, n, &nbytes))
		return qz_fail(e, QZ_EDATA, "%llu elements do not fit type %s",
		    (unsigned long long)n, qz_dtype((unsigned)type)->name);
	if (place(p, c, &m, e) < 0 || (!p->host && reserve(p, &p->out, nbytes, e) < 0))
		return -1;
	if (!p->host)
		to = p->out.p;
	p->d->k->cast(p->d, to, type, m.data, m.type, (int64_t)n);
	if (!p->host)
		p->d->k->copy_out(p->d, out, to, (size_t)nbytes);
	return find(p, to, type, (int64_t)n, bad, e);
}

int
qz_panel_convert(struct qz_panel *p, const struct qz_piece *c, enum qz_dtype type, void *out,
    int64_t *bad, struct qz_err *e)
{
	if (qz_dtype((unsigned)c->t->dtype)->plain && qz_dtype((unsigned)type)->plain)
		return cast(p, c, type, out, bad, e);
	return qz_panel_load(p, c, e) < 0 ? -1 : qz_panel_store(p, type, out, bad, e);
}
