/* linear_bwd and linear_da: dx, dA and dB of projections that share an input, as linear.cu computes them.  dx is rounded once at
 * its full size, and before that at most while it holds the adapters' share. */
#include "kernels/cuda/adapter.cuh"
#include "kernels/cuda/adapter_da.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/linear_parts.cuh"

ACT_BEGIN

/* p = scale dy B and db += scale dy^T s, for each of a group. */
static void
back_to_rank(struct qz_dev *d, const struct scratch *s, const struct group *g, int64_t t)
{
	uint16_t *p = s->p;

	if (qz_cuda_adapter_back(d, g->l, g->n, t, p, s->used))
		return;
	for (int i = 0; i < g->n; i++) {
		const struct qz_linear *l = &g->l[i];
		int64_t rows = l->w.rows, rank = l->rank;

		qz_cuda_part(d, "dy B");
		qz_cuda_multiply(d, false, false, t, rank, rows, l->scale, l->dy, rows, l->b, rank, nullptr, p, g->rank,
		    false);
		qz_cuda_part(d, "dB");
		qz_cuda_multiply(d, true, false, rows, rank, t, l->scale, l->dy, rows, l->s, qz_linear_lds(l), l->db, l->db, rank,
		    true);
		p += rank;
	}
}

/* y = x (t, n) times rstd of each row */
static __global__ void
times_rstd(uint16_t *y, const uint16_t *x, const float *rstd, int64_t n, int64_t all)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR];

	if (i >= all)
		return;
	load8(v, x + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] *= rstd[i / n];
	store8(y + i, v);
}

/* Can dA be made of the norm's own input x?  sum over t of p (x rstd w) is w times the sum of (p rstd) x.  float16 has
 * not the range for p rstd. */
static bool
takes_raw(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x)
{
	for (int i = 0; i < n_l;) {
		struct group g = qz_cuda_group_of(&l[i], n_l - i);

		if (g.rank && (!qz_cuda_adapter_da_fits(d, g.l, g.n, x) ||
		    (l[i].dropout > 0 && !qz_cuda_drop_fits(d, g.l, g.n))))
			return false;
		i += g.n;
	}
	return ACT_TYPE == QZ_BF16;
}

/* da += p^T drop(x) of a group; with dropout, of one projection.  p (t, ldp) holds scale dy B. */
static void
make_da(struct qz_dev *d, const struct scratch *s, const struct group *g, const uint16_t *p, int64_t ldp,
    const qz_act *x, int64_t t)
{
	const struct qz_linear *l = g->l;
	int64_t cols = l->w.cols;

	if (l->dropout <= 0 && ldp == g->rank &&
	    qz_cuda_adapter_da(d, l, g->n, x, p, s->norm ? s->norm->w : nullptr, t, s->used))
		return;
	qz_cuda_part(d, "dA");
	for (int64_t t0 = 0, n; t0 < t; t0 += n) {
		n = piece(l, t0, t);
		qz_cuda_multiply(d, true, false, g->rank, cols, n, 1, p + t0 * ldp, ldp, qz_cuda_adapter_input(d, s, l, x, t0, n), cols,
		    l->da, l->da, cols, true);
	}
}

/* dx (+)= drop'(p A), likewise. */
static void
share_dx(struct qz_dev *d, const struct scratch *s, const struct group *g, const uint16_t *p, int64_t ldp,
    qz_act *dx, int64_t t, bool add)
{
	const struct qz_linear *l = g->l;
	int64_t cols = l->w.cols;

	qz_cuda_part(d, "p A");
	if (l->dropout <= 0) {
		qz_cuda_multiply(d, false, false, t, cols, g->rank, 1, p, ldp, l->a, cols, add ? dx : nullptr, dx, cols,
		    false);
		return;
	}
	for (int64_t t0 = 0, n; t0 < t; t0 += n) {
		n = piece(l, t0, t);
		qz_cuda_multiply(d, false, false, n, cols, g->rank, 1, p + t0 * ldp, ldp, l->a, cols, nullptr, s->x, cols,
		    false);
		qz_cuda_drop_add(d, s, l, at(dx, 0), t0, n, add);
	}
}

/* Both of a group, of which p holds scale dy B; x or dx may be NULL.  bits: the group's masks, or NULL. */
static void
back_to_input(struct qz_dev *d, const struct scratch *s, const struct group *g, const uint32_t *bits,
    const qz_act *x, qz_act *dx, int64_t t, bool add)
{
	bool drop = g->l->dropout > 0, da = bits && aligned(x, 16), share = bits && aligned(dx, 16);
	const struct qz_norm *norm = s->norm;
	struct group one = *g;
	const uint16_t *p = s->p, *p_x = p; /* what dx, and what da is made of */

	if (x && norm) {
		qz_cuda_part(d, "p rstd");
		launch_flat<EARLY>(d, times_rstd, t * g->rank, VECTOR, s->p_normed, p, norm->rstd, g->rank, t * g->rank);
		p_x = s->p_normed;
	}
	if (da && x)
		qz_cuda_drop_da(d, g->l, g->n, x, p_x, bits, norm ? norm->w : nullptr, t, s->used);
	if (share && dx)
		qz_cuda_drop_dx(d, g->l, g->n, p, bits, dx, t, add);
	if (drop) /* one by one */
		one.n = 1;
	for (int i = 0; i < g->n; i += one.n, add = true) {
		one.l = &g->l[i];
		one.rank = drop ? one.l->rank : g->rank;
		if (x && !da)
			make_da(d, s, &one, p_x, g->rank, x, t);
		if (dx && !share)
			share_dx(d, s, &one, p, g->rank, dx, t, add);
		p += one.rank;
		p_x += one.rank;
	}
}

/* A group's masks in the workspace, which is used on; NULL: its shapes are for copies. */
static const uint32_t *
draw_masks(struct qz_dev *d, struct scratch *s, const struct group *g, int64_t t)
{
	int64_t words = drop_words(t, g->l->w.cols);
	uint32_t *bits;

	if (g->l->dropout <= 0 || !qz_cuda_drop_fits(d, g->l, g->n))
		return nullptr;
	bits = static_cast<uint32_t *>(qz_cuda_ws(d, &s->used, static_cast<size_t>(g->n * words) * 4));
	if (bits)
		qz_cuda_drop_bits(d, g->l, g->n, bits, t);
	return bits;
}

static void
back(struct qz_dev *d, struct scratch s, const struct group *g, const qz_act *x, qz_act *dx, int64_t t,
    bool add)
{
	const uint32_t *bits;

	if (g->l->begun)
		s.p = static_cast<uint16_t *>(g->l->left);
	else
		back_to_rank(d, &s, g, t);
	bits = draw_masks(d, &s, g, t);
	back_to_input(d, &s, g, bits, x, dx, t, add);
}

void
qz_cuda_linear_p(struct qz_dev *d, const struct qz_linear *l, int n, int64_t t)
{
	struct scratch s;

	qz_cuda_op(d, "linear_bwd", t, l->w.cols, l->w.rows);
	if (t < 1 || !qz_cuda_lay_out(d, &s, l, n, t, false))
		return;
	for (int i = 0; i < n;) {
		struct group g = qz_cuda_group_of(&l[i], n - i);

		s.p = static_cast<uint16_t *>(l[i].left);
		if (g.rank)
			back_to_rank(d, &s, &g, t);
		i += g.n;
	}
}

bool
qz_cuda_one_p(const struct qz_linear *l, int n)
{
	return qz_cuda_group_of(l, n).n == n;
}

uint32_t *
qz_cuda_left_bits(struct qz_dev *d, const struct qz_linear *l, int64_t t)
{
	size_t p = qz_left_bytes(2, t, l->rank, 0);

	if (l->dropout <= 0 || !aligned(l->left, 16) || !qz_cuda_drop_fits(d, l, 1))
		return nullptr;
	return reinterpret_cast<uint32_t *>(static_cast<char *>(l->left) + p);
}

static void
back_later(struct qz_dev *d, struct scratch s, const struct qz_linear *l, qz_act *dx, int64_t t, bool add)
{
	struct group g = { l, 1, l->rank };
	uint32_t *bits = qz_cuda_left_bits(d, l, t);

	s.p = static_cast<uint16_t *>(l->left);
	back_to_rank(d, &s, &g, t);
	if (bits)
		qz_cuda_drop_bits(d, l, 1, bits, t);
	back_to_input(d, &s, &g, bits, nullptr, dx, t, add);
}

/* The input, or with s->norm what the norm was given, where dA can be made of that. */
static const qz_act *
before_norm(struct qz_dev *d, struct scratch *s, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	const struct qz_norm *norm = l->norm;

	if (takes_raw(d, l, n_l, x)) {
		s->norm = norm;
		return x;
	}
	ACT_OP(rmsnorm)(d, norm->room, norm->rstd, x, norm->w, t, l->w.cols, norm->eps);
	qz_cuda_op(d, "linear_bwd", t, l->w.cols, l->w.rows);
	return norm->room;
}

void
qz_cuda_linear_bwd(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, qz_act *dx,
    int64_t t, bool add)
{
	struct scratch s;
	struct pair share = {};

	qz_cuda_op(d, "linear_bwd", t, l->w.cols, l->w.rows);
	if (t < 1 || !qz_cuda_lay_out(d, &s, l, n_l, t, dx != nullptr))
		return;
	if (x && l->norm)
		x = before_norm(d, &s, l, n_l, x, t);
	for (int i = 0; i < n_l;) {
		struct group g = qz_cuda_group_of(&l[i], x ? n_l - i : 1);
		bool last = (i += g.n) == n_l, later = g.rank && last && g.l->dropout <= 0;

		if (!g.rank)
			continue;
		if (later)
			share = { g.rank, 1, x && !g.l->begun ? s.p : g.l->left, g.rank, g.l->a, g.l->w.cols };
		if (x)
			back(d, s, &g, x, later ? nullptr : dx, t, add);
		else
			back_later(d, s, g.l, later ? nullptr : dx, t, add);
		add = add || !later;
	}
	for (int i = 0; dx && i < n_l; i++) {
		int64_t rows = l[i].w.rows, cols = l[i].w.cols;
		const void *w;

		qz_cuda_op(d, "linear_bwd", t, cols, rows);
		w = qz_cuda_weight(d, &s, &l[i].w);
		qz_cuda_part(d, "dy W, p A");
		qz_cuda_multiply_with(d, &share, false, t, cols, rows, l[i].dy, w, cols, add ? dx : nullptr, dx);
		share.k = 0;
		add = true;
	}
}

void
qz_cuda_linear_da(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct scratch s;

	qz_cuda_op(d, "linear_da", t, l->w.cols, l->w.rows);
	if (t < 1 || !qz_cuda_lay_out(d, &s, l, n_l, t, false))
		return;
	for (int i = 0; i < n_l; i++) {
		struct group g = { &l[i], 1, l[i].rank };

		s.p = static_cast<uint16_t *>(l[i].left);
		if (l[i].rank)
			back_to_input(d, &s, &g, qz_cuda_left_bits(d, &l[i], t), x, nullptr, t, true);
	}
}

ACT_END
