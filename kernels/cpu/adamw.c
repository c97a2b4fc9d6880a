/* adamw and the sum of squares that clipping needs, over one flat buffer. */
#include <string.h>

#include "kernels/cpu/lanes.h"

enum { PARTS = 256 };

struct squares {
	const real *x;
	int64_t n, per;
	double *part;
};

static void
squares_part(void *arg, int part, int thread)
{
	const struct squares *q = arg;
	int64_t i = part * q->per, end = min64(i + q->per, q->n);
	double s[16] = { 0 }, sum = 0;

	(void)thread;
	for (; i + 16 <= end; i += 16)
		for (int j = 0; j < 16; j++)
			s[j] += (double)q->x[i + j] * (double)q->x[i + j];
	for (int j = 0; i < end; i++, j++)
		s[j] += (double)q->x[i] * (double)q->x[i];
	for (int j = 0; j < 16; j++)
		sum += s[j];
	q->part[part] = sum;
}

void
CPU(sum_squares)(struct qz_dev *d, double *sum, const qz_par *x, int64_t n)
{
	double part[PARTS];
	struct squares q = { x, n, (n + PARTS - 1) / PARTS, part };

	CPU(run)(d, PARTS, squares_part, &q);
	*sum = 0;
	for (int i = 0; i < PARTS; i++)
		*sum += part[i];
}

struct adamw {
	real *p, *m, *v, *copy;
	const real *g;
	int64_t n;
	real keep, b1, c1, b2, c2, scale, rate, root, eps;
};

static void
update(const struct adamw *a, real *restrict p, real *restrict m, real *restrict v,
    const real *restrict gradient, int64_t n)
{
	struct adamw c = *a;

	for (int64_t i = 0; i < n; i++) {
		real g = gradient[i] * c.scale;

		m[i] = c.b1 * m[i] + c.c1 * g;
		v[i] = c.b2 * v[i] + c.c2 * (g * g);
		p[i] = p[i] * c.keep - c.rate * m[i] / (square_root(v[i]) / c.root + c.eps);
	}
}

static void
adamw_part(void *arg, int part, int thread)
{
	const struct adamw *a = arg;
	int64_t i = (int64_t)part * QZ_CPU_GRAIN, n = min64(QZ_CPU_GRAIN, a->n - i);

	(void)thread;
	update(a, a->p + i, a->m + i, a->v + i, a->g + i, n);
	if (a->copy)
		memcpy(a->copy + i, a->p + i, (size_t)n * sizeof *a->p);
}

double
CPU(clip)(const struct qz_adamw *args, double sum)
{
	double scale = args->scale > 0 ? args->scale : 1;
	double ratio = args->clip / (sqrt(sum) / scale + 1e-6);

	return (args->clip > 0 && ratio < 1 ? ratio : 1) / scale;
}

void
CPU(adamw)(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, qz_par *m,
    qz_par *v, const qz_par *g, qz_act *copy, int64_t n)
{
	struct adamw a = { .p = p, .m = m, .v = v, .copy = copy, .g = g, .n = n };

	a.keep = (real)(1 - args->lr * args->weight_decay);
	a.b1 = (real)args->beta1;
	a.c1 = (real)(1 - args->beta1);
	a.b2 = (real)args->beta2;
	a.c2 = (real)(1 - args->beta2);
	a.scale = (real)CPU(clip)(args, *sum);
	a.rate = (real)(args->lr / (1 - pow(args->beta1, args->step)));
	a.root = (real)sqrt(1 - pow(args->beta2, args->step));
	a.eps = (real)args->eps;
	CPU(run)(d, n_parts(n, QZ_CPU_GRAIN), adamw_part, &a);
}
