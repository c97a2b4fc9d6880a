/* rmsnorm and its backward pass, a row at a time. */
#include "kernels/cpu/lanes.h"

struct norm {
	real *y, *rstd, *dx;
	const real *x, *dy, *kept;
	const float *w;
	int64_t rows, cols;
	real eps;
	bool add;
};

static void
scale_row(real *restrict y, const real *restrict x, const float *restrict w, real rstd, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = x[i] * rstd * w[i];
}

static void
norm_part(void *arg, int part, int thread)
{
	const struct norm *m = arg;
	int64_t per = rows_a_part(m->cols), end = min64((part + 1) * per, m->rows);

	(void)thread;
	for (int64_t t = part * per; t < end; t++) {
		const real *x = m->x + t * m->cols;
		real rstd = 1 / square_root(dot(x, x, m->cols) / (real)m->cols + m->eps);

		m->rstd[t] = rstd;
		scale_row(m->y + t * m->cols, x, m->w, rstd, m->cols);
	}
}

void
CPU(rmsnorm)(struct qz_dev *d, qz_act *y, qz_par *rstd, const qz_act *x, const float *w,
    int64_t rows, int64_t cols, float eps)
{
	struct norm m = {
		.y = y, .rstd = rstd, .x = x, .w = w, .rows = rows, .cols = cols, .eps = eps
	};

	CPU(run)(d, n_parts(rows, rows_a_part(cols)), norm_part, &m);
}

/* sum of w * dy * x */
static real
dot3(const float *restrict w, const real *restrict a, const real *restrict b, int64_t n)
{
	real s[LANES] = { 0 };
	int64_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			s[j] += w[i + j] * a[i + j] * b[i + j];
	for (int j = 0; i < n; i++, j++)
		s[j] += w[i] * a[i] * b[i];
	return fold(s);
}

static void
set_row(real *restrict dx, const real *restrict dy, const real *restrict x, const float *restrict w,
    real rstd, real c, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		dx[i] = rstd * (w[i] * dy[i]) - c * x[i];
}

static void
add_row(real *restrict dx, const real *restrict dy, const real *restrict x, const float *restrict w,
    real rstd, real c, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		dx[i] += rstd * (w[i] * dy[i]) - c * x[i];
}

/* With xhat = x * rstd: rstd * xhat * mean(w dy xhat) = c * x, c = rstd^3 * mean(w dy x). */
static void
norm_bwd_part(void *arg, int part, int thread)
{
	const struct norm *m = arg;
	int64_t per = rows_a_part(m->cols), end = min64((part + 1) * per, m->rows);

	(void)thread;
	for (int64_t t = part * per; t < end; t++) {
		const real *x = m->x + t * m->cols, *dy = m->dy + t * m->cols;
		real rstd = m->kept[t];
		real c = dot3(m->w, dy, x, m->cols) * rstd / (real)m->cols * rstd * rstd;

		(m->add ? add_row : set_row)(m->dx + t * m->cols, dy, x, m->w, rstd, c, m->cols);
	}
}

void
CPU(rmsnorm_bwd)(struct qz_dev *d, qz_act *dx, const qz_act *dy, const qz_act *x,
    const qz_par *rstd, const float *w, int64_t rows, int64_t cols, bool add)
{
	struct norm m = { .dx = dx,
		.dy = dy,
		.x = x,
		.kept = rstd,
		.w = w,
		.rows = rows,
		.cols = cols,
		.add = add };

	CPU(run)(d, n_parts(rows, rows_a_part(cols)), norm_bwd_part, &m);
}
