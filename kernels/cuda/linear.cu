/* linear: the weight is decoded to activations in the workspace, unless it is stored so, and goes to gemm.
 *
 * The adapter's product is given to gemm together with the large one: y is rounded once at its full size, and
 * before that at most while it holds the adapter's share.  Projections
 * whose A's and s's lie side by side have them computed as one matrix.  With dropout each has a mask of
 * its own, which drop.cuh draws where it reads x; drop_copy.cu is for shapes that it leaves.
 * A few tokens are multiplied straight from 4-bit codes (few.cuh).  The workspace begins with gemm's own. */
#include "kernels/cuda/adapter.cuh"
#include "kernels/cuda/adapter_da.cuh"
#include "kernels/cuda/few.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/linear_parts.cuh"
#include "kernels/cuda/swiglu_adapted.cuh"

ACT_BEGIN

enum { HEAD_GROUP = 4 << 20 /* elements of a head that are decoded at a time, at least */ };

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

/* y (t, rows) = bias + plus */
static __global__ void
put_bias(uint16_t *y, const float *bias, const uint16_t *plus, int64_t rows, int64_t n)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

	if (i < n)
		y[i] = act_round(bias[i % rows] + (plus ? act_load(plus[i]) : 0));
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
		qz_cuda_multiply(d, false, true, n, g->rank, cols, 1, qz_cuda_adapter_input(d, s, l, x, t0, n), cols, l->a, cols, nullptr,
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
	w = qz_cuda_weight(d, s, &l->w);
	if (l->bias) {
		launch_flat(d, put_bias, t * rows, 1, l->y, l->bias, plus, rows, t * rows);
		plus = l->y;
	}
	qz_cuda_part(d, "x W, s B");
	qz_cuda_multiply_with(d, &adapter, true, t, rows, cols, x, w, cols, plus, l->y);
}

void
qz_cuda_linear(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct scratch s;

	qz_cuda_op(d, "linear", t, l->w.cols, l->w.rows);
	if (t < 1 || !qz_cuda_lay_out(d, &s, l, n_l, t, true))
		return;
	for (int i = 0; i < n_l;) {
		struct group g = qz_cuda_group_of(&l[i], n_l - i);

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
	if (t > 0 && l->rank && qz_cuda_lay_out(d, &s, l, 1, t, false))
		make_all_s(d, &s, &g, x, t);
}

ACT_END
