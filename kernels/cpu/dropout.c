#include "kernels/cpu/dropout.h"

#include "libcore/base/rng.h"

enum { GROUPS = 64 }; /* of four words */

static void
draw(uint32_t *restrict words, uint64_t seed, uint64_t stream, uint64_t first, int n)
{
	for (int i = 0; i < n; i++)
		qz_philox(seed, stream, first + (uint64_t)i, words + 4 * i);
}

/* f[j] = 1 / (1 - p) for a kept element i + j, else 0; n at most 4 * GROUPS - 3. */
static void
factors(const struct qz_linear *l, real *restrict f, int64_t i, int n)
{
	uint32_t words[4 * GROUPS];
	int skip = (int)(i % 4);
	real keep = 1 / (1 - (real)l->dropout);

	draw(words, l->seed, l->stream, (uint64_t)i / 4, (skip + n + 3) / 4);
	for (int j = 0; j < n; j++)
		f[j] = qz_unit(words[skip + j]) >= l->dropout ? keep : 0;
}

void
CPU(drop)(const struct qz_linear *l, real *y, const real *x, int64_t t0, int64_t rows, int64_t c0,
    int64_t n)
{
	enum { AT_ONCE = 4 * GROUPS - 4 };
	real f[AT_ONCE];

	for (int64_t t = t0; t < t0 + rows; t++, y += n) {
		const real *from = x + t * l->w.cols + c0;

		for (int64_t c = 0; c < n; c += AT_ONCE) {
			int len = (int)min64(AT_ONCE, n - c);

			factors(l, f, (l->first + t) * l->w.cols + c0 + c, len);
			for (int j = 0; j < len; j++)
				y[c + j] = from[c + j] * f[j];
		}
	}
}

void
CPU(drop_add)(const struct qz_linear *l, real *y, int64_t ldy, const real *x, real scale,
    int64_t t0, int64_t rows, int64_t c0, int64_t n)
{
	enum { AT_ONCE = 4 * GROUPS - 4 };
	real f[AT_ONCE];

	for (int64_t t = t0; t < t0 + rows; t++, y += ldy, x += n) {
		for (int64_t c = 0; c < n; c += AT_ONCE) {
			int len = (int)min64(AT_ONCE, n - c);

			factors(l, f, (l->first + t) * l->w.cols + c0 + c, len);
			for (int j = 0; j < len; j++)
				y[c + j] += scale * (x[c + j] * f[j]);
		}
	}
}
