/* rope: rotates the pairs (i, i + head_dim/2) of every head by the angle of the token's position. */
#include "kernels/cpu/cpu.h"

struct rope {
	real *x;
	const real *table;
	const int32_t *positions;
	int64_t t;
	int heads, head_dim;
	real sign; /* -1 rotates back */
};

static void
rotate(real *restrict lo, real *restrict hi, const real *restrict cs, int half, real sign)
{
	for (int i = 0; i < half; i++) {
		real c = cs[2 * i], s = cs[2 * i + 1] * sign, a = lo[i], b = hi[i];

		lo[i] = a * c - b * s;
		hi[i] = b * c + a * s;
	}
}

static void
rope_part(void *arg, int part, int thread)
{
	const struct rope *r = arg;
	int64_t width = (int64_t)r->heads * r->head_dim, per = rows_a_part(width);
	int64_t end = min64((part + 1) * per, r->t);
	int half = r->head_dim / 2;

	(void)thread;
	for (int64_t t = part * per; t < end; t++) {
		real *x = r->x + t * width;

		for (int h = 0; h < r->heads; h++, x += r->head_dim)
			rotate(x, x + half, r->table + (int64_t)r->positions[t] * r->head_dim, half,
			    r->sign);
	}
}

void
CPU(rope)(struct qz_dev *d, qz_act *x, const qz_par *table, const int32_t *positions, int64_t t,
    int heads, int head_dim, bool inverse)
{
	struct rope r = { x, table, positions, t, heads, head_dim, inverse ? -1 : 1 };

	CPU(run)(d, n_parts(t, rows_a_part((int64_t)heads * head_dim)), rope_part, &r);
}
