/* merge: w += scale * (B A), the sum over the rank in index order, one rounding an operation.
 *
 * A block of ROWS x COLS sums is held in registers, so that a value of A is read once for ROWS rows. */
#include "kernels/cpu/cpu.h"

enum { ROWS = 4, COLS = 64 };

struct merge {
	float *w;
	const float *a, *b;
	float scale;
	int64_t rows, cols;
	int rank;
};

/* n_rows x n of w from its element (0, 0); constants at every call but those at the edges. */
static inline __attribute__((always_inline)) void
merge_block(const struct merge *m, float *restrict w, const float *restrict a,
    const float *restrict b, int n_rows, int n)
{
	float sum[ROWS][COLS] = { { 0 } };

	for (int r = 0; r < m->rank; r++)
		for (int i = 0; i < n_rows; i++)
			for (int j = 0; j < n; j++)
				sum[i][j] += b[i * m->rank + r] * a[r * m->cols + j];
	for (int i = 0; i < n_rows; i++)
		for (int j = 0; j < n; j++)
			w[i * m->cols + j] += m->scale * sum[i][j];
}

static void
merge_rows(void *arg, int part, int thread)
{
	const struct merge *m = arg;
	int64_t row = (int64_t)part * ROWS, j = 0;
	int n_rows = (int)min64(ROWS, m->rows - row);
	float *w = m->w + row * m->cols;
	const float *b = m->b + row * m->rank;

	(void)thread;
	for (; n_rows == ROWS && j + COLS <= m->cols; j += COLS)
		merge_block(m, w + j, m->a + j, b, ROWS, COLS);
	for (; j < m->cols; j += COLS)
		merge_block(m, w + j, m->a + j, b, n_rows, (int)min64(COLS, m->cols - j));
}

void
CPU(merge)(struct qz_dev *d, float *w, const float *a, const float *b, float scale, int64_t rows,
    int64_t cols, int rank)
{
	struct merge m = { w, a, b, scale, rows, cols, rank };

	CPU(run)(d, n_parts(rows, ROWS), merge_rows, &m);
}
