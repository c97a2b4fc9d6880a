#include <stdlib.h>

#include "libcore/model/net.h"

/* Rows of a chunk: as few chunks as fit, as equal as can be. */
static int64_t
chunk(const struct qz_net *n, int64_t total)
{
	int64_t chunks = (total + n->logits_rows - 1) / n->logits_rows;

	return (total + chunks - 1) / chunks;
}

static void *
act_row(const struct qz_net *n, qz_act *x, int64_t row)
{
	return (char *)x + (size_t)(row * n->c.hidden) * n->k->act_size;
}

/* The rows' final norm, into xn; the rows themselves into dxn. */
static void
head_rows(struct qz_net *n, const int32_t *rows, int64_t count)
{
	n->k->gather(n->dev, n->dxn, n->x_out, rows, count, n->c.hidden);
	n->k->rmsnorm(
	    n->dev, n->xn, n->rstd, n->dxn, n->w->norm, count, n->c.hidden, n->c.norm_eps);
}

void
qz_net_loss(struct qz_net *n, int64_t at, double scale)
{
	int64_t total = n->n_trained, step;

	if (scale != 0)
		n->k->fill(n->dev, n->dx, 0, (size_t)(n->t * n->c.hidden) * n->k->act_size);
	if (total == 0)
		return;
	head_rows(n, n->trained, total);
	step = chunk(n, total);
	for (int64_t i = 0; i < total; i += step) {
		int64_t m = total - i < step ? total - i : step;
		qz_act *x = act_row(n, n->xn, i);

		n->k->head(n->dev, n->logits, x, &n->w->head, m);
		n->k->cross_entropy(
		    n->dev, n->losses + at + i, n->logits, n->targets + i, m, n->c.vocab, scale);
		if (scale != 0)
			n->k->head_bwd(n->dev, x, n->logits, &n->w->head, m);
	}
	if (scale == 0)
		return;
	/* xn holds the gradient at the norm's output, dxn its input. */
	n->k->rmsnorm_bwd(
	    n->dev, n->dx_rows, n->xn, n->dxn, n->rstd, n->w->norm, total, n->c.hidden, false);
	n->k->scatter(n->dev, n->dx, n->dx_rows, n->trained, total, n->c.hidden);
}

/* par elements from the device as float64. */
static int
fetch(struct qz_net *n, double *out, const qz_par *from, int64_t count, struct qz_err *e)
{
	float *narrow;

	if (n->k->par_type == QZ_F64) {
		n->k->copy_out(n->dev, out, from, (size_t)count * sizeof *out);
		return 0;
	}
	narrow = malloc((size_t)count * sizeof *narrow);
	if (!narrow)
		return qz_nomem(e, (size_t)count * sizeof *narrow);
	n->k->copy_out(n->dev, narrow, from, (size_t)count * sizeof *narrow);
	for (int64_t i = 0; i < count; i++)
		out[i] = narrow[i];
	free(narrow);
	return 0;
}

int
qz_net_logits(struct qz_net *n, const int32_t *rows, int64_t n_rows, double *out, struct qz_err *e)
{
	for (int64_t i = 0; i < n_rows; i += n->logits_rows) {
		int64_t m = n_rows - i < n->logits_rows ? n_rows - i : n->logits_rows;

		n->k->copy_in(n->dev, n->trained, rows + i, (size_t)m * sizeof *rows);
		head_rows(n, n->trained, m);
		n->k->head(n->dev, n->logits, n->xn, &n->w->head, m);
		if (fetch(n, out + i * n->c.vocab, n->logits, m * n->c.vocab, e) < 0)
			return -1;
	}
	return n->k->sync(n->dev, e);
}
