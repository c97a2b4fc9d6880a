/* rope: rotates the pairs (i, i + head_dim/2) of every head by the angle of the token's position. */
#include "kernels/cpu/cpu.h"

struct rope {
	real *q, *k;
	const real *table;
	const int32_t *positions;
	int64_t t;
	int heads, kv_heads, head_dim;
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

/* The heads of one token. */
static void
rotate_heads(const struct rope *r, real *x, int heads, const real *cs)
{
	int half = r->head_dim / 2;

	for (int h = 0; h < heads; h++, x += r->head_dim)
		rotate(x, x + half, cs, half, r->sign);
}

static int64_t
width(const struct rope *r)
{
	return (int64_t)(r->heads + r->kv_heads) * r->head_dim;
}

static void
rope_part(void *arg, int part, int thread)
{
	const struct rope *r = arg;
	int64_t per = rows_a_part(width(r)), end = min64((part + 1) * per, r->t);

	(void)thread;
	for (int64_t t = part * per; t < end; t++) {
		const real *cs = r->table + (int64_t)r->positions[t] * r->head_dim;

		rotate_heads(r, r->q + t * r->heads * r->head_dim, r->heads, cs);
		if (r->kv_heads)
			rotate_heads(r, r->k + t * r->kv_heads * r->head_dim, r->kv_heads, cs);
	}
}

void
CPU(rope)(struct qz_dev *d, qz_act *q, qz_act *k, const qz_par *table, const int32_t *positions,
    int64_t t, int heads, int kv_heads, int head_dim, bool inverse)
{
	struct rope r = { q, k, table, positions, t, heads, kv_heads, head_dim, inverse ? -1 : 1 };

	CPU(run)(d, n_parts(t, rows_a_part(width(&r))), rope_part, &r);
}
