/* quantize8: a row is scaled by 127 / its largest magnitude and rounded, half to even.  A row of
 * zeros has codes and absmax 0. */
#include "kernels/cpu/absmax.h"

struct quantize8 {
	int8_t *codes;
	float *absmax;
	const void *x;
	enum qz_dtype x_type;
	int64_t cols;
};

/* Adding 1.5 * 2^23 leaves the integer, rounded half to even, in the low bits of the sum. */
static void
round8(int8_t *restrict y, const float *restrict x, int64_t n, float s)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = (int8_t)(int)(x[i] * s + 12582912.0f - 12582912.0f);
}

static void
quantize_row(void *arg, int row, int thread)
{
	const struct quantize8 *q = arg;
	int64_t start = row * q->cols, end = start + q->cols;
	float x[QZ_CPU_TILE], max = 0;

	(void)thread;
	for (int64_t i = start; i < end; i += QZ_CPU_TILE) {
		int64_t n = min64(QZ_CPU_TILE, end - i);
		float here;

		CPU(load)(x, q->x, q->x_type, i, n);
		here = absmax(x, n);
		max = here > max ? here : max;
	}
	q->absmax[row] = max;
	for (int64_t i = start; i < end; i += QZ_CPU_TILE) {
		int64_t n = min64(QZ_CPU_TILE, end - i);

		CPU(load)(x, q->x, q->x_type, i, n);
		round8(q->codes + i, x, n, max > 0 ? 127.0f / max : 0);
	}
}

void
CPU(quantize8)(struct qz_dev *d, int8_t *codes, float *absmax, const void *x, enum qz_dtype x_type,
    int64_t rows, int64_t cols)
{
	struct quantize8 q = { codes, absmax, x, x_type, cols };

	if (CPU(is_plain)(d, x_type, "quantize8"))
		CPU(run)(d, (int)rows, quantize_row, &q);
}
