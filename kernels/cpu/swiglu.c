/* swiglu and its backward pass, alone and with what adapters around it make of it. */
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/linear.h"

struct swiglu {
	real *h, *g, *u;
	const real *gate, *up, *dh;
	int64_t n;
};

static void
forward(real *restrict h, const real *restrict g, const real *restrict u, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		h[i] = g[i] / (1 + exponential(-g[i])) * u[i];
}

static void
swiglu_part(void *arg, int part, int thread)
{
	const struct swiglu *s = arg;
	int64_t i = (int64_t)part * QZ_CPU_GRAIN;

	(void)thread;
	forward(s->h + i, s->gate + i, s->up + i, min64(QZ_CPU_GRAIN, s->n - i));
}

void
CPU(swiglu)(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u, int64_t n)
{
	struct swiglu s = { .h = h, .gate = g, .up = u, .n = n };

	CPU(run)(d, n_parts(n, QZ_CPU_GRAIN), swiglu_part, &s);
}

/* h is a tile of its own here: for the caller it may be dh's memory. */
static void
backward(real *restrict g, real *restrict u, const real *restrict dh, real *restrict h, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		real sig = 1 / (1 + exponential(-g[i])), silu = g[i] * sig;

		h[i] = silu * u[i];
		g[i] = dh[i] * u[i] * sig * (1 + g[i] * (1 - sig));
		u[i] = dh[i] * silu;
	}
}

static void
swiglu_bwd_part(void *arg, int part, int thread)
{
	const struct swiglu *s = arg;
	int64_t i = (int64_t)part * QZ_CPU_GRAIN, end = min64(i + QZ_CPU_GRAIN, s->n);
	real h[QZ_CPU_TILE];

	(void)thread;
	for (; i < end; i += QZ_CPU_TILE) {
		int64_t n = min64(QZ_CPU_TILE, end - i);

		backward(s->g + i, s->u + i, s->dh + i, h, n);
		for (int64_t j = 0; s->h && j < n; j++)
			s->h[i + j] = h[j];
	}
}

void
CPU(swiglu_bwd)(struct qz_dev *d, qz_act *g, qz_act *u, const qz_act *dh, qz_act *h, int64_t n)
{
	struct swiglu s = { .h = h, .g = g, .u = u, .dh = dh, .n = n };

	CPU(run)(d, n_parts(n, QZ_CPU_GRAIN), swiglu_bwd_part, &s);
}

void
CPU(swiglu_adapted)(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u,
    const struct qz_linear *down, int64_t t)
{
	CPU(swiglu)(d, h, g, u, t * down->w.cols);
	CPU(linear_s)(d, down, h, t);
}

void
CPU(swiglu_adapted_bwd)(struct qz_dev *d, qz_act *g, qz_act *u, qz_act *dh,
    const struct qz_linear *down, const struct qz_linear *gate_up, int64_t t)
{
	CPU(swiglu_bwd)(d, g, u, dh, down->rank ? dh : NULL, t * down->w.cols);
	CPU(linear_da)(d, down, 1, dh, t);
	for (int i = 0; i < 2; i++)
		CPU(linear_p)(d, &gate_up[i], t);
}
