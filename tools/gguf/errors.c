#include "tools/gguf/errors.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/model/pieces.h"

const enum qz_dtype error_types[ERROR_TYPES] = { QZ_Q2_K, QZ_Q3_K, QZ_IQ4_XS, QZ_Q4_K, QZ_Q5_K,
	QZ_Q6_K, QZ_IQ4_NL, QZ_Q4_0, QZ_Q4_1, QZ_Q5_0, QZ_Q5_1, QZ_Q8_0, QZ_F16 };
enum { SAMPLE = 1 << 19 };

struct job {
	const struct plan *p;
	const bool *types; /* [QZ_DTYPE_END] */
	const struct qz_merge *m;
	struct errors *errors; /* [p->n] */
	struct qz_panel panel;
	float *rows, *back; /* some rows of a piece, and what a type makes of them */
	uint8_t *blocks;
};

bool
error_fits(const bool types[QZ_DTYPE_END], int k, uint64_t cols)
{
	return types[error_types[k]] && cols % qz_dtype((unsigned)error_types[k])->block == 0;
}

static double
distance(const float *x, const float *y, const float *w, int64_t rows, int64_t cols)
{
	double sum = 0;

	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < cols; i++) {
			double d = (double)x[r * cols + i] - (y ? (double)y[r * cols + i] : 0);

			sum += (w ? (double)w[i] : 1) * d * d;
		}
	return sum;
}

static int
try_type(struct job *j, enum qz_dtype type, int64_t rows, int64_t cols, const float *w,
    double *lost, struct qz_err *e)
{
	struct qz_dev *d = j->m->d;
	struct qz_mat mat = { .type = type, .rows = rows, .cols = cols, .data = j->blocks };

	if (type == QZ_F16)
		d->k->cast(d, j->blocks, QZ_F16, j->rows, QZ_F32, rows * cols);
	else
		d->k->quantize_ggml(d, type, j->blocks, j->rows, rows, cols, w);
	d->k->dequantize(d, j->back, QZ_F32, &mat, 0, rows);
	if (d->k->sync(d, e) < 0)
		return -1;
	*lost += distance(j->rows, j->back, w, rows, cols);
	return 0;
}

/* Every so many rows of the tensor, so that about SAMPLE elements are looked at. */
static int64_t
take_rows(struct job *j, const struct qz_piece *c)
{
	uint64_t stride = c->rows * c->cols / SAMPLE + 1;
	int64_t n = 0;

	for (uint64_t r = 0; r < c->n_rows; r++)
		if ((c->row0 + r) % stride == 0) {
			memcpy(j->rows + n * (int64_t)c->cols, j->panel.x + r * c->cols,
			    (size_t)c->cols * sizeof *j->rows);
			n++;
		}
	return n;
}

/* The two halves of a layer each give their share of what reaches the head; the head's error is an error of
 * all of it. */
static double
weight_of(const struct qz_config *c, const char *name)
{
	int layer, role = qz_role_of_gguf(name, &layer);

	return role == QZ_HEAD || (role == QZ_EMBED && c->tied) ? 2 * (double)c->layers : 1;
}

static int
measure_piece(struct job *j, const struct qz_piece *c, struct qz_err *e)
{
	const struct planned *p = &j->p->tensors[c->index];
	struct errors *x = &j->errors[c->index];
	size_t n = (size_t)(c->n_rows * c->cols);
	bool changed;
	int64_t rows;
	int ret = 0;

	if (!p->open)
		return 0;
	x->weight = weight_of(j->p->config, p->name);
	if (qz_merge_add(j->m, &j->panel, c, &changed, e) < 0 ||
	    (!changed && qz_panel_load(&j->panel, c, e) < 0) || j->m->d->k->sync(j->m->d, e) < 0)
		return -1;
	free(j->rows);
	free(j->back);
	free(j->blocks);
	j->rows = malloc(n * sizeof *j->rows + 1);
	j->back = malloc(n * sizeof *j->back + 1);
	j->blocks = malloc(n * 4 + 1);
	if (!j->rows || !j->back || !j->blocks)
		return qz_nomem(e, n * sizeof *j->rows);
	rows = take_rows(j, c);
	x->all += distance(j->rows, NULL, p->importance, rows, (int64_t)c->cols);
	for (int k = 0; k < ERROR_TYPES && ret == 0 && rows > 0; k++)
		if (error_fits(j->types, k, c->cols))
			ret = try_type(j, error_types[k], rows, (int64_t)c->cols, p->importance,
			    &x->lost[k], e);
	return ret;
}

int
errors_measure(struct errors *out, const struct plan *p, const bool types[QZ_DTYPE_END],
    const struct qz_feed *feed, const struct qz_merge *m, struct qz_err *e)
{
	struct qz_pieces *pieces = qz_pieces_new(feed, 1, (uint64_t)p->config->head_dim, e);
	struct job j = { .p = p, .types = types, .m = m, .errors = out };
	int got = pieces ? 1 : -1;
	struct qz_piece *c;

	qz_panel_init(&j.panel, m->d);
	while (got > 0 && (got = qz_pieces_next(pieces, &c, e)) > 0)
		if (measure_piece(&j, c, e) < 0)
			got = -1;
	free(j.rows);
	free(j.back);
	free(j.blocks);
	qz_panel_free(&j.panel);
	qz_pieces_free(pieces);
	return got;
}

double
error_in(const struct errors *x, int k)
{
	return x->all > 0 ? x->weight * x->lost[k] / x->all : 0;
}
