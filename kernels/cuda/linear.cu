/* linear and linear_bwd, head and head_bwd: the weight is decoded to activations in the workspace, unless it
 * is stored so, and goes to gemm.
 *
 * The adapter's products are given to gemm together with the large one: y and dx are rounded once at their full size, and
 * before that at most while they hold the adapter's share.  Projections
 * whose A's, s's and dA's lie side by side have them computed as one matrix.  With dropout each has a mask of
 * its own, which drop.cuh draws where it reads x; for shapes that it leaves, x is dropped into the workspace,
 * in pieces of DROPPED tokens.
 * A few tokens are multiplied straight from 4-bit codes (few.cuh).  The workspace begins with gemm's own. */
#include "kernels/cuda/adapter.cuh"
#include "kernels/cuda/adapter_da.cuh"
#include "kernels/cuda/drop.cuh"
#include "kernels/cuda/few.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/swiglu_adapted.cuh"

ACT_BEGIN

enum { DROPPED = 1024, HEAD_GROUP = 4 << 20 /* elements of a head that are decoded at a time, at least */ };

size_t
qz_cuda_linear_need(struct qz_dev *d, const struct qz_need *need)
{
	int64_t dropped = need->tokens < DROPPED ? need->tokens : DROPPED;
	int64_t group = need->weight < HEAD_GROUP ? need->weight : HEAD_GROUP;
	size_t layer, head;

	layer = qz_cuda_round(need->weight * 2);
	if (layer < qz_cuda_adapter_need(need)) /* these are never there together */
		layer = qz_cuda_adapter_need(need);
	if (layer < qz_cuda_drop_need(need))
		layer = qz_cuda_drop_need(need);
	if (layer < qz_cuda_swiglu_need(d, need))
		layer = qz_cuda_swiglu_need(d, need);
	if (layer < qz_cuda_adapter_da_need(d, need))
		layer = qz_cuda_adapter_da_need(d, need);
	layer += 2 * qz_cuda_round(need->tokens * need->rank_sum * 2) +
	    (need->dropout ? qz_cuda_round(dropped * need->width * 2) : 0);
	head = qz_cuda_round(need->head_rows * need->width * 4) +
	    qz_cuda_round((group > need->width ? group : need->width) * 2);
	return QZ_CUDA_GEMM_WS + (layer > head ? layer : head);
}

/* Once in the code of factors(), which has it for each element. */
static __device__ __noinline__ void
draw(uint32_t w[4], const struct mask &m, uint64_t call)
{
	philox(w, m, call);
}

/* What elements i .. i + 8 of the mask, counted row by row, are multiplied with: of one call of Philox, or one a
 * element where rows are no whole vectors. */
static __device__ inline void
factors(float f[VECTOR], const struct mask &m, int64_t cols, int64_t i)
{
	uint64_t was = ~0ull;
	uint32_t w[4];

#pragma unroll
	for (int k = 0; k < VECTOR; k++) {
		int64_t row = (i + k) / cols;
		uint64_t e = static_cast<uint64_t>(row / 2 * cols + (i + k) % cols);
		uint32_t half;

		if (e / VECTOR != was)
			draw(w, m, was = e / VECTOR);
		half = e & 4 ? e & 2 ? w[3] : w[2] : e & 2 ? w[1] : w[0];
		half = bytes_of(half, 0, e & 1 ? row & 1 ? 0x4423 : 0x4432 : row & 1 ? 0x4401 : 0x4410);
		f[k] = half >= m.below ? m.keep : 0;
	}
}

/* y = mask * x / (1 - p) for n elements, the first of which is element `first` of the mask. */
static __global__ void
drop(uint16_t *y, const uint16_t *x, struct mask m, int64_t cols, int64_t first, int64_t n, bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR], f[VECTOR];

	if (i >= n)
		return;
	load_at(v, x, i, n, vector);
	factors(f, m, cols, first + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] *= f[j];
	store_at(y, v, i, n, vector);
}

/* y (+)= mask * x / (1 - p) */
static __global__ void
drop_add(uint16_t *y, const uint16_t *x, struct mask m, bool add, int64_t cols, int64_t first, int64_t n,
    bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR], f[VECTOR], old[VECTOR] = {};

	if (i >= n)
		return;
	load_at(v, x, i, n, vector);
	if (add)
		load_at(old, y, i, n, vector);
	factors(f, m, cols, first + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] = old[j] + v[j] * f[j];
	store_at(y, v, i, n, vector);
}

/* y (t, rows) = bias + plus */
static __global__ void
put_bias(uint16_t *y, const float *bias, const uint16_t *plus, int64_t rows, int64_t n)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

	if (i < n)
		y[i] = act_round(bias[i % rows] + (plus ? act_load(plus[i]) : 0));
}

static const uint16_t *
at(const void *x, int64_t i)
{
	return static_cast<const uint16_t *>(x) + i;
}

static uint16_t *
at(void *x, int64_t i)
{
	return static_cast<uint16_t *>(x) + i;
}

/* Where things lie in the workspace during one call. */
struct scratch {
	uint16_t *w, *p, *p_normed, *x; /* p_normed: p times rstd */
	const struct qz_norm *norm; /* not NULL: x is what it was given */
	size_t used; /* of the workspace, before w */
};

static bool
stored_so(const struct qz_mat *w)
{
	return w->type == ACT_TYPE && aligned(w->data, 16);
}

static int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* False and a failure when there is not so much. */
static bool
lay_out(struct qz_dev *d, struct scratch *s, const struct qz_linear *l, int n_l, int64_t t, bool weights)
{
	int64_t w = 0, rank = 0, cols = 0;
	size_t used = QZ_CUDA_GEMM_WS;
	bool normed = l->norm != nullptr;

	s->norm = nullptr;

	for (int i = 0; i < n_l; i++) {
		if (!qz_cuda_can_decode(d, &l[i].w))
			return false;
		if (weights && !stored_so(&l[i].w))
			w = larger(w, l[i].w.rows * l[i].w.cols);
		rank += l[i].rank;
		if (l[i].rank && l[i].dropout > 0)
			cols = larger(cols, l[i].w.cols);
	}
	s->p = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(t * rank) * 2));
	s->p_normed = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(normed ? t * rank : 0) * 2));
	s->x = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, static_cast<size_t>((t < DROPPED ? t : DROPPED) * cols) * 2));
	s->used = used;
	s->w = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(w) * 2));
	return s->w && s->p && s->p_normed && s->x;
}

/* The weight as activations. */
static const uint16_t *
weight(struct qz_dev *d, const struct scratch *s, const struct qz_mat *w)
{
	if (stored_so(w))
		return at(w->data, 0);
	qz_cuda_part(d, "decode");
	qz_cuda_decode(d, s->w, ACT_TYPE, w, 0, w->rows * w->cols);
	return s->w;
}

static void
narrow(struct qz_dev *d, uint16_t *y, const qz_par *x, int64_t n)
{
	struct qz_mat m = {};

	m.type = QZ_F32;
	m.data = x;
	qz_cuda_decode(d, y, ACT_TYPE, &m, 0, n);
}

/* Factors of an adapter's share. */
struct pair {
	int64_t k; /* 0: none */
	float alpha;
	const void *a;
	int64_t lda;
	const void *b;
	int64_t ldb;
};

/* c (m, n) = a op(b) + plus, and the pair's product, b's likewise transposed */
static void
multiply_with(struct qz_dev *d, const struct pair *p, bool tb, int64_t m, int64_t n, int64_t k, const void *a,
    const void *b, int64_t ldb, const void *plus, void *c)
{
	struct qz_cuda_gemm g = { false, tb, false, m, n, k, 1, a, k, b, ldb, plus, c, n, p->k, p->alpha, p->a, p->lda,
		p->b, p->ldb };

	qz_cuda_gemm(d, &g);
}

/* c (m, n) = alpha op(a) op(b) + plus */
static void
multiply(struct qz_dev *d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const void *a,
    int64_t lda, const void *b, int64_t ldb, const void *plus, void *c, int64_t ldc, bool wide)
{
	struct qz_cuda_gemm g = { ta, tb, wide, m, n, k, alpha, a, lda, b, ldb, plus, c, ldc, 0, 0, nullptr, 0, nullptr, 0 };

	qz_cuda_gemm(d, &g);
}

/* Adapters of projections that are computed as one: n of them, from l on, with the sum of their ranks. */
struct group {
	const struct qz_linear *l;
	int n;
	int64_t rank;
};

static bool
side_by_side(const struct qz_linear *a, const struct qz_linear *b)
{
	int64_t n = a->rank * a->w.cols;

	return b->rank && a->dropout <= 0 && b->dropout <= 0 && qz_linear_lds(a) == qz_linear_lds(b) &&
	    at(b->a, 0) == at(a->a, n) && at(b->s, 0) == at(a->s, a->rank) &&
	    static_cast<float *>(b->da) == static_cast<float *>(a->da) + (a->da ? n : 0);
}

/* The group that starts at l, of at most n; rank 0: l has no adapter.  With dropout any neighbours are one. */
static struct group
group_of(const struct qz_linear *l, int n)
{
	struct group g = { l, 1, l->rank };

	while (l->rank && g.n < n &&
	    (l->dropout > 0 ? l[g.n].rank && l[g.n].dropout > 0 && g.n < DROP_GROUP
	                    : side_by_side(&l[g.n - 1], &l[g.n])))
		g.rank += l[g.n++].rank;
	return g;
}

/* A piece of tokens of the adapter's input: x itself, or dropped. */
static const uint16_t *
input(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x, int64_t t0,
    int64_t t)
{
	struct mask m = mask_of(l);
	int64_t first = (l->first + t0) * l->w.cols, n = t * l->w.cols;
	const uint16_t *from = at(x, t0 * l->w.cols);

	if (l->dropout <= 0)
		return from;
	launch_flat(d, drop, n, VECTOR, s->x, from, m, l->w.cols, first, n, aligned(from, 16));
	return s->x;
}

static int64_t
piece(const struct qz_linear *l, int64_t t0, int64_t t)
{
	return l->dropout > 0 && t - t0 > DROPPED ? DROPPED : t - t0;
}

/* s = drop(x) A^T of a group; with dropout, of one projection */
static void
make_s(struct qz_dev *d, const struct scratch *s, const struct group *g, const qz_act *x, int64_t t)
{
	const struct qz_linear *l = g->l;
	int64_t cols = l->w.cols;

	qz_cuda_part(d, "s");
	for (int64_t t0 = 0, n; g->rank && t0 < t; t0 += n) {
		n = piece(l, t0, t);
		multiply(d, false, true, n, g->rank, cols, 1, input(d, s, l, x, t0, n), cols, l->a, cols, nullptr,
		    at(l->s, t0 * qz_linear_lds(l)), qz_linear_lds(l), false);
	}
}

static void
make_all_s(struct qz_dev *d, const struct scratch *s, const struct group *g, const qz_act *x, int64_t t)
{
	if (!g->rank || g->l->dropout <= 0) {
		make_s(d, s, g, x, t);
		return;
	}
	if (qz_cuda_drop_fits(d, g->l, g->n) && aligned(x, 16)) {
		qz_cuda_drop_s(d, g->l, g->n, x, t, s->used);
		return;
	}
	for (int i = 0; i < g->n; i++) {
		struct group one = { &g->l[i], 1, g->l[i].rank };

		make_s(d, s, &one, x, t);
	}
}

/* y = plus + bias + scale s B^T + x W^T */
static void
project(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x, int64_t t)
{
	int64_t rows = l->w.rows, cols = l->w.cols;
	const struct pair adapter = { l->rank, l->scale, l->s, qz_linear_lds(l), l->b, l->rank };
	const void *plus = l->plus, *w;

	qz_cuda_op(d, "linear", t, cols, rows);
	w = weight(d, s, &l->w);
	if (l->bias) {
		launch_flat(d, put_bias, t * rows, 1, l->y, l->bias, plus, rows, t * rows);
		plus = l->y;
	}
	qz_cuda_part(d, "x W, s B");
	multiply_with(d, &adapter, true, t, rows, cols, x, w, cols, plus, l->y);
}

void
qz_cuda_linear(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct scratch s;

	qz_cuda_op(d, "linear", t, l->w.cols, l->w.rows);
	if (t < 1 || !lay_out(d, &s, l, n_l, t, true))
		return;
	for (int i = 0; i < n_l;) {
		struct group g = group_of(&l[i], n_l - i);

		if (!l[i].begun)
			make_all_s(d, &s, &g, x, t);
		i += g.n;
	}
	for (int i = 0, n; i < n_l; i += n ? n : 1) {
		for (n = 0; n < FEW_GROUP && i + n < n_l && qz_cuda_few_fits(d, &l[i + n], x, t);)
			n++;
		if (n)
			qz_cuda_few(d, &l[i], n, x, t);
		else
			project(d, &s, &l[i], x, t);
	}
}

void
qz_cuda_linear_s(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t)
{
	struct group g = { l, 1, l->rank };
	struct scratch s;

	qz_cuda_op(d, "linear", t, l->w.cols, l->w.rows);
	if (t > 0 && l->rank && lay_out(d, &s, l, 1, t, false))
		make_all_s(d, &s, &g, x, t);
}

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
		multiply(d, false, false, t, rank, rows, l->scale, l->dy, rows, l->b, rank, nullptr, p, g->rank,
		    false);
		qz_cuda_part(d, "dB");
		multiply(d, true, false, rows, rank, t, l->scale, l->dy, rows, l->s, qz_linear_lds(l), l->db, l->db, rank,
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
		struct group g = group_of(&l[i], n_l - i);

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
		multiply(d, true, false, g->rank, cols, n, 1, p + t0 * ldp, ldp, input(d, s, l, x, t0, n), cols,
		    l->da, l->da, cols, true);
	}
}

/* dx (+)= drop'(p A), likewise. */
static void
share_dx(struct qz_dev *d, const struct scratch *s, const struct group *g, const uint16_t *p, int64_t ldp,
    qz_act *dx, int64_t t, bool add)
{
	const struct qz_linear *l = g->l;
	int64_t cols = l->w.cols, first = l->first * cols;

	qz_cuda_part(d, "p A");
	if (l->dropout <= 0) {
		multiply(d, false, false, t, cols, g->rank, 1, p, ldp, l->a, cols, add ? dx : nullptr, dx, cols,
		    false);
		return;
	}
	for (int64_t t0 = 0, n; t0 < t; t0 += n) {
		uint16_t *to = at(dx, t0 * cols);

		n = piece(l, t0, t);
		multiply(d, false, false, n, cols, g->rank, 1, p + t0 * ldp, ldp, l->a, cols, nullptr, s->x, cols,
		    false);
		launch_flat(d, drop_add, n * cols, VECTOR, to, s->x, mask_of(l), add, cols, first + t0 * cols,
		    n * cols, aligned(to, 16));
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
	if (t < 1 || !lay_out(d, &s, l, n, t, false))
		return;
	for (int i = 0; i < n;) {
		struct group g = group_of(&l[i], n - i);

		s.p = static_cast<uint16_t *>(l[i].left);
		if (g.rank)
			back_to_rank(d, &s, &g, t);
		i += g.n;
	}
}

bool
qz_cuda_one_p(const struct qz_linear *l, int n)
{
	return group_of(l, n).n == n;
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
	if (t < 1 || !lay_out(d, &s, l, n_l, t, dx != nullptr))
		return;
	if (x && l->norm)
		x = before_norm(d, &s, l, n_l, x, t);
	for (int i = 0; i < n_l;) {
		struct group g = group_of(&l[i], x ? n_l - i : 1);
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
		w = weight(d, &s, &l[i].w);
		qz_cuda_part(d, "dy W, p A");
		multiply_with(d, &share, false, t, cols, rows, l[i].dy, w, cols, add ? dx : nullptr, dx);
		share.k = 0;
		add = true;
	}
}

void
qz_cuda_linear_da(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct scratch s;

	qz_cuda_op(d, "linear_da", t, l->w.cols, l->w.rows);
	if (t < 1 || !lay_out(d, &s, l, n_l, t, false))
		return;
	for (int i = 0; i < n_l; i++) {
		struct group g = { &l[i], 1, l[i].rank };

		s.p = static_cast<uint16_t *>(l[i].left);
		if (l[i].rank)
			back_to_input(d, &s, &g, qz_cuda_left_bits(d, &l[i], t), x, nullptr, t, true);
	}
}

/* Rows of a head that are decoded at a time: all, or what the rest of the workspace holds. */
static int64_t
group_rows(struct qz_dev *d, const struct qz_mat *w, size_t used)
{
	size_t left = cuda_dev(d)->ws_n > used ? cuda_dev(d)->ws_n - used : 0;
	int64_t rows = static_cast<int64_t>(left / 2) / larger(w->cols, 1);

	return stored_so(w) || rows > w->rows ? w->rows : larger(rows, 1);
}

/* Rows row0 .. row0 + rows of a head as activations. */
static const uint16_t *
head_rows(struct qz_dev *d, uint16_t *room, const struct qz_mat *w, int64_t row0, int64_t rows)
{
	if (stored_so(w))
		return at(w->data, row0 * w->cols);
	qz_cuda_decode(d, room, ACT_TYPE, w, row0 * w->cols, rows * w->cols);
	return room;
}

void
qz_cuda_head(struct qz_dev *d, qz_par *logits, const qz_act *x, const struct qz_mat *w, int64_t n)
{
	size_t used = QZ_CUDA_GEMM_WS;
	int64_t step = group_rows(d, w, used);
	uint16_t *room;

	qz_cuda_op(d, "head", n, w->cols, w->rows);
	if (n < 1 || !qz_cuda_can_decode(d, w))
		return;
	room = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, stored_so(w) ? 0 : static_cast<size_t>(step * w->cols) * 2));
	for (int64_t r = 0; room && r < w->rows; r += step) {
		int64_t rows = w->rows - r < step ? w->rows - r : step;

		multiply(d, false, true, n, rows, w->cols, 1, x, w->cols, head_rows(d, room, w, r, rows), w->cols,
		    nullptr, static_cast<float *>(logits) + r, w->rows, true);
	}
}

void
qz_cuda_head_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dlogits, const struct qz_mat *w, int64_t n)
{
	size_t used = QZ_CUDA_GEMM_WS;
	int64_t vocab = w->rows, cols = w->cols, step;
	uint16_t *room;
	float *sum;
	bool whole;

	qz_cuda_op(d, "head_bwd", n, w->cols, w->rows);
	if (n < 1 || !qz_cuda_can_decode(d, w))
		return;
	whole = group_rows(d, w, used) == vocab;
	sum = static_cast<float *>(qz_cuda_ws(d, &used, whole ? 0 : static_cast<size_t>(n * cols) * 4));
	step = whole ? vocab : group_rows(d, w, used);
	room = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, stored_so(w) ? 0 : static_cast<size_t>(step * cols) * 2));
	if (!sum || !room)
		return;
	/* The groups of rows add up in float32. */
	for (int64_t r = 0; r < vocab; r += step) {
		int64_t rows = vocab - r < step ? vocab - r : step;

		multiply(d, false, false, n, cols, rows, 1, at(dlogits, r), 2 * vocab,
		    head_rows(d, room, w, r, rows), cols, r > 0 ? sum : nullptr, whole ? dx : sum, cols, !whole);
	}
	if (!whole)
		narrow(d, at(dx, 0), sum, n * cols);
}

ACT_END
