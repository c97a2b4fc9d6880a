/* cross_entropy: a row of logits at a time, largest value first subtracted. */
#include "kernels/cpu/lanes.h"

struct loss {
	double *loss;
	real *logits;
	const uint32_t *target;
	int64_t vocab;
	double scale;
};

/* The sum of exp(x - max), in float64 over pieces of at most QZ_CPU_TILE; y, when there, gets the terms. */
static double
sum_exp(const real *x, real max, int64_t n, real *y)
{
	real tile[QZ_CPU_TILE];
	double sum = 0;

	for (int64_t i = 0; i < n; i += QZ_CPU_TILE) {
		int64_t len = min64(QZ_CPU_TILE, n - i);
		real *restrict t = y ? y + i : tile;

		for (int64_t j = 0; j < len; j++)
			t[j] = exponential(x[i + j] - max);
		sum += total(t, len);
	}
	return sum;
}

static void
loss_row(void *arg, int row, int thread)
{
	const struct loss *l = arg;
	real *x = l->logits + row * l->vocab, max = largest(x, l->vocab), at = x[l->target[row]], c;
	double sum = sum_exp(x, max, l->vocab, l->scale != 0 ? x : NULL);

	(void)thread;
	l->loss[row] = log(sum) + ((double)max - (double)at);
	if (l->scale == 0)
		return;
	c = (real)(l->scale / sum);
	for (int64_t i = 0; i < l->vocab; i++)
		x[i] *= c;
	x[l->target[row]] -= (real)l->scale;
}

void
CPU(cross_entropy)(struct qz_dev *d, double *loss, qz_par *logits, const uint32_t *target,
    int64_t n, int64_t vocab, double scale)
{
	struct loss l = { loss, logits, target, vocab, scale };

	for (int64_t i = 0; i < n; i++) {
		if (target[i] >= vocab) {
			CPU(fail)
			(d, QZ_EDATA, "cross_entropy: target %u, there are %lld logits", target[i],
			    (long long)vocab);
			return;
		}
	}
	CPU(run)(d, (int)n, loss_row, &l);
}
