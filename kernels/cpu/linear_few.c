/* A few tokens (decoding) are bound by reading the weight: rows are decoded and multiplied at once. */
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/linear.h"

struct few {
	const struct job *j;
	const struct qz_linear *l;
};

/* y[t][r] = what the adapter, the bias and plus give, to which the products are added. */
static void
begin_row(const struct job *j, const struct qz_linear *l, int64_t r)
{
	const real *b = l->rank ? (const real *)l->b + r * l->rank : NULL;

	for (int64_t t = 0; t < j->t; t++) {
		real sum = l->rank ? dot((const real *)l->s + t * qz_linear_lds(l), b, l->rank) *
					 l->scale
				   : 0;

		if (l->bias)
			sum += l->bias[r];
		if (l->plus)
			sum += ((const real *)l->plus)[t * l->w.rows + r];
		((real *)l->y)[t * l->w.rows + r] = sum;
	}
}

/* Rows of the weight against a few tokens, in pieces of rows that fit the scratch. */
static void
few_part(void *arg, int part, int thread)
{
	const struct few *f = arg;
	const struct job *j = f->j;
	const struct qz_linear *l = f->l;
	int64_t cols = l->w.cols, per = rows_a_part(cols), from = part * per;
	int64_t end = min64(from + per, l->w.rows), piece = min64(SPAN, cols), rows = end - from;
	real *w = scratch(j, thread);

	if (rows * cols > SPAN)
		rows = 1;
	for (int64_t r = from; r < end; r++)
		begin_row(j, l, r);
	for (int64_t i = from * cols; i < end * cols;) {
		int64_t r = i / cols, c = i % cols,
			n = rows > 1 ? rows * cols : min64(piece, cols - c);

		CPU(decode_real)(w, &l->w, i, n);
		for (int64_t k = 0; k < n; k += piece, r++)
			for (int64_t t = 0; t < j->t; t++)
				((real *)l->y)[t * l->w.rows + r] += dot(
				    j->x + t * cols + c, w + k, min64(piece, n - k));
		i += n;
	}
}

void
CPU(linear_few)(struct qz_dev *d, const struct job *j, const struct qz_linear *l)
{
	struct few f = { j, l };

	CPU(run)(d, n_parts(l->w.rows, rows_a_part(l->w.cols)), few_part, &f);
}
