#include "kernels/cpu/dropout.h"

#include "kernels/dropout.h"
#include "libcore/base/rng.h"

enum { GROUPS = 32, AT_ONCE = 8 * GROUPS - 8 };

/* f[j] = what element (t, c + j) is multiplied with; n at most AT_ONCE. */
static void
factors(const struct qz_linear *l, real *restrict f, int64_t t, int64_t c, int n)
{
	uint32_t words[4 * GROUPS], below = qz_dropout_below(l->dropout);
	int64_t i = (l->first + t) / 2 * l->w.cols + c;
	int skip = (int)(i % 8), groups = (skip + n + 7) / 8;
	real keep = (real)qz_dropout_keep(l->dropout);

	for (int g = 0; g < groups; g++)
		qz_philox_rounds(
		    l->seed, l->stream, (uint64_t)(i / 8 + g), QZ_DROPOUT_ROUNDS, words + 4 * g);
	for (int g = 0; (l->first + t) % 2 && g < 4 * groups; g++)
		words[g] = (words[g] & 0x00ff00ff) << 8 | (words[g] >> 8 & 0x00ff00ff);
	for (int j = 0; j < n; j++) {
		uint32_t word = words[(skip + j) / 2] >> (skip + j) % 2 * 16;

		f[j] = (word & 0xffff) >= below ? keep : 0;
	}
}

void
CPU(drop)(const struct qz_linear *l, real *y, const real *x, int64_t t0, int64_t rows, int64_t c0,
    int64_t n)
{
	real f[AT_ONCE];

	for (int64_t t = t0; t < t0 + rows; t++, y += n) {
		const real *from = x + t * l->w.cols + c0;

		for (int64_t c = 0; c < n; c += AT_ONCE) {
			int len = (int)min64(AT_ONCE, n - c);

			factors(l, f, t, c0 + c, len);
			for (int j = 0; j < len; j++)
				y[c + j] = from[c + j] * f[j];
		}
	}
}

void
CPU(drop_add)(const struct qz_linear *l, real *y, int64_t ldy, const real *x, real scale,
    int64_t t0, int64_t rows, int64_t c0, int64_t n)
{
	real f[AT_ONCE];

	for (int64_t t = t0; t < t0 + rows; t++, y += ldy, x += n) {
		for (int64_t c = 0; c < n; c += AT_ONCE) {
			int len = (int)min64(AT_ONCE, n - c);

			factors(l, f, t, c0 + c, len);
			for (int j = 0; j < len; j++)
				y[c + j] += scale * (x[c + j] * f[j]);
		}
	}
}
