/* adamw8: AdamW with its states in 8 bits. */
#include <string.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/search8.h"
#include "kernels/nf4.h"

enum { BLOCK = QZ_ADAMW8_BLOCK, BLOCKS = QZ_CPU_GRAIN / BLOCK /* a part */ };

struct adamw8 {
	real *p, *copy;
	uint8_t *m, *v;
	float *absmax_m, *absmax_v;
	const real *g;
	int64_t n;
	struct qz_codes8 of_m, of_v;
	real keep, b1, c1, b2, c2, scale, rate, eps;
};

/* n values of one block as they are after the step, from codes and gradient; whether each one moves. */
static void
moments(const struct adamw8 *a, real *restrict m, real *restrict v, bool *restrict moves, int64_t i,
    int64_t n)
{
	real old_m = a->absmax_m[i / BLOCK], old_v = a->absmax_v[i / BLOCK];

	for (int64_t j = 0; j < n; j++) {
		real g = a->g[i + j] * a->scale;

		moves[j] = g - g == 0;
		m[j] = a->b1 * (a->of_m.map[a->m[i + j]] * old_m) + a->c1 * g;
		v[j] = a->b2 * (a->of_v.map[a->v[i + j]] * old_v) + a->c2 * g * g;
		m[j] = moves[j] ? m[j] : 0;
		v[j] = moves[j] ? v[j] : 0;
	}
}

static void
move(const struct adamw8 *a, real *restrict p, const real *restrict m, const real *restrict v,
    const bool *restrict moves, int64_t n)
{
	real rate = a->rate, eps = a->eps, keep = a->keep;

	for (int64_t j = 0; j < n; j++) {
		real to = (p[j] - rate * (m[j] / (square_root(v[j]) + eps))) * keep;

		p[j] = moves[j] ? to : p[j];
	}
}

static float
largest_magnitude(const real *x, int64_t n)
{
	real max = 0;

	for (int64_t j = 0; j < n; j++) {
		real magnitude = x[j] < 0 ? -x[j] : x[j];

		max = magnitude > max ? magnitude : max;
	}
	return (float)max;
}

static void
encode(const struct adamw8 *a, const real *m, const real *v, int64_t i, int64_t n)
{
	float max_m = largest_magnitude(m, n), max_v = largest_magnitude(v, n);
	real inverse_m = 1 / (real)max_m, inverse_v = 1 / (real)max_v;

	a->absmax_m[i / BLOCK] = max_m;
	a->absmax_v[i / BLOCK] = max_v;
	for (int64_t j = 0; j < n; j++) {
		uint8_t code = nearest8(&a->of_m, true, m[j] * inverse_m);

		if (!signbit(a->of_m.map[code]) != !signbit(m[j]))
			code = (uint8_t)(m[j] > 0 ? code + 1 : code - 1);
		a->m[i + j] = code;
		a->v[i + j] = nearest8(&a->of_v, false, v[j] * inverse_v);
	}
}

static void
adamw8_part(void *arg, int part, int thread)
{
	const struct adamw8 *a = arg;
	int64_t i = (int64_t)part * BLOCKS * BLOCK, end = min64(i + BLOCKS * BLOCK, a->n);
	real m[BLOCK], v[BLOCK];
	bool moves[BLOCK];

	(void)thread;
	for (; i < end; i += BLOCK) {
		int64_t n = min64(BLOCK, end - i);

		moments(a, m, v, moves, i, n);
		move(a, a->p + i, m, v, moves, n);
		encode(a, m, v, i, n);
		if (a->copy)
			memcpy(a->copy + i, a->p + i, (size_t)n * sizeof *a->p);
	}
}

void
CPU(adamw8)(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, uint8_t *m,
    uint8_t *v, float *absmax_m, float *absmax_v, const qz_par *g, qz_act *copy, int64_t n)
{
	double root = sqrt(1 - pow(args->beta2, args->step));
	struct adamw8 a = {
		.p = p,
		.copy = copy,
		.m = m,
		.v = v,
		.absmax_m = absmax_m,
		.absmax_v = absmax_v,
		.g = g,
		.n = n,
	};

	qz_codes8_fill(&a.of_m, true, qz_map8_signed());
	qz_codes8_fill(&a.of_v, false, qz_map8_unsigned());
	a.keep = (real)(1 - args->lr * args->weight_decay);
	a.b1 = (real)args->beta1;
	a.c1 = (real)(1 - args->beta1);
	a.b2 = (real)args->beta2;
	a.c2 = (real)(1 - args->beta2);
	a.scale = (real)CPU(clip)(args, *sum);
	a.rate = (real)(args->lr * root / (1 - pow(args->beta1, args->step)));
	a.eps = (real)(root * args->eps);
	CPU(run)(d, n_parts(n, BLOCKS * BLOCK), adamw8_part, &a);
}
