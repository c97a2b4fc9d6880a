/* merge: w += scale * (B A), the sum over the rank in index order, one rounding an operation. */
#include "kernels/cpu/cpu.h"

enum { COLS = 64 };

struct merge {
	float *w;
	const float *a, *b;
	float scale;
	int64_t cols;
	int rank;
};

static void
merge_cols(float *restrict w, const float *restrict a, const float *restrict b, float scale,
    int64_t cols, int rank, int n)
{
	float sum[COLS] = { 0 };

	for (int r = 0; r < rank; r++)
		for (int j = 0; j < n; j++)
			sum[j] += b[r] * a[r * cols + j];
	for (int j = 0; j < n; j++)
		w[j] += scale * sum[j];
}

static void
merge_row(void *arg, int row, int thread)
{
	const struct merge *m = arg;
	float *w = m->w + row * m->cols;
	const float *b = m->b + (int64_t)row * m->rank;
	int64_t j = 0;

	(void)thread;
	for (; j + COLS <= m->cols; j += COLS)
		merge_cols(w + j, m->a + j, b, m->scale, m->cols, m->rank, COLS);
	if (j < m->cols)
		merge_cols(w + j, m->a + j, b, m->scale, m->cols, m->rank, (int)(m->cols - j));
}

void
CPU(merge)(struct qz_dev *d, float *w, const float *a, const float *b, float scale, int64_t rows,
    int64_t cols, int rank)
{
	struct merge m = { w, a, b, scale, cols, rank };

	CPU(run)(d, (int)rows, merge_row, &m);
}
