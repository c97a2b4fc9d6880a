/* linear and linear_bwd, head and head_bwd: the weight is decoded to bfloat16 in the workspace, unless it
 * is stored so, and goes to gemm.
 *
 * The adapter's products come first and the large one last, on top of them: y and dx are rounded to
 * bfloat16 once at their full size, and before that only while they hold the adapter's share.  With
 * dropout the tokens go in pieces of DROPPED, so that the dropped input is no second x.
 * The workspace begins with gemm's own. */
#include "kernels/cuda/vector.cuh"


enum { DROPPED = 1024, HEAD_GROUP = 4 << 20 /* elements of a head that are decoded at a time, at least */ };

size_t
qz_cuda_linear_need(const struct qz_need *need)
{
	int64_t dropped = need->tokens < DROPPED ? need->tokens : DROPPED;
	int64_t group = need->weight < HEAD_GROUP ? need->weight : HEAD_GROUP;
	size_t layer, head;

	layer = qz_cuda_round(need->weight * 2) + 2 * qz_cuda_round(need->rank_sum * need->width * 2) +
	    qz_cuda_round(need->tokens * need->rank_sum * 2) + qz_cuda_round(dropped * need->width * 2);
	head = qz_cuda_round(need->head_rows * need->vocab * 2) +
	    qz_cuda_round(need->head_rows * need->width * 4) +
	    qz_cuda_round((group > need->width ? group : need->width) * 2);
	return QZ_CUDA_GEMM_WS + (layer > head ? layer : head);
}

/* The four words of element group i / 4, as qz_philox(). */
static __device__ inline uint4
philox(uint64_t seed, uint64_t stream, uint64_t index)
{
	uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32);
	uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
	uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);

	for (int i = 0; i < 10; i++) {
		uint32_t n0 = __umulhi(0xCD9E8D57, c2) ^ c1 ^ k0, n2 = __umulhi(0xD2511F53, c0) ^ c3 ^ k1;

		c1 = 0xCD9E8D57 * c2;
		c3 = 0xD2511F53 * c0;
		c0 = n0;
		c2 = n2;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	return make_uint4(c0, c1, c2, c3);
}

struct mask {
	uint64_t seed, stream;
	float dropout;
};

/* The factors of elements i .. i + 8, i a multiple of 8: 1 / (1 - dropout) or 0. */
static __device__ inline void
factors(float f[VECTOR], const struct mask &m, int64_t i)
{
	float keep = 1 / (1 - m.dropout);

#pragma unroll
	for (int h = 0; h < 2; h++) {
		uint4 u = philox(m.seed, m.stream, static_cast<uint64_t>(i) / 4 + h);
		uint32_t w[4] = { u.x, u.y, u.z, u.w };

#pragma unroll
		for (int j = 0; j < 4; j++)
			f[4 * h + j] = static_cast<float>(w[j] >> 8) * 0x1p-24f >= m.dropout ? keep : 0;
	}
}

/* y = mask * x / (1 - p) for n elements, the first of which is element `first` of the mask. */
static __global__ void
drop(uint16_t *y, const uint16_t *x, struct mask m, int64_t first, int64_t n, bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR], f[VECTOR];

	if (i >= n)
		return;
	load_at(v, x, i, n, vector);
	factors(f, m, first + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] *= f[j];
	store_at(y, v, i, n, vector);
}

/* y (+)= scale * mask * x / (1 - p) */
static __global__ void
drop_add(uint16_t *y, const uint16_t *x, struct mask m, float scale, bool add, int64_t first, int64_t n,
    bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR], f[VECTOR], old[VECTOR] = {};

	if (i >= n)
		return;
	load_at(v, x, i, n, vector);
	if (add)
		load_at(old, y, i, n, vector);
	factors(f, m, first + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] = old[j] + scale * (v[j] * f[j]);
	store_at(y, v, i, n, vector);
}

/* y (t, rows) = bias */
static __global__ void
put_bias(uint16_t *y, const float *bias, int64_t rows, int64_t n)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

	if (i < n)
		y[i] = bf16_round(bias[i % rows]);
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
	uint16_t *w, *a, *b, *p, *x;
};

static bool
stored_so(const struct qz_mat *w)
{
	return w->type == QZ_BF16 && aligned(w->data, 16);
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
	int64_t w = 0, a = 0, b = 0, rank = 0, cols = 0;
	size_t used = QZ_CUDA_GEMM_WS;

	for (int i = 0; i < n_l; i++) {
		if (!qz_cuda_can_decode(d, &l[i].w))
			return false;
		if (weights && !stored_so(&l[i].w))
			w = larger(w, l[i].w.rows * l[i].w.cols);
		a = larger(a, l[i].rank * l[i].w.cols);
		b = larger(b, l[i].rank * l[i].w.rows);
		rank = larger(rank, l[i].rank);
		if (l[i].rank && l[i].dropout > 0)
			cols = larger(cols, l[i].w.cols);
	}
	s->w = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(w) * 2));
	s->a = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(a) * 2));
	s->b = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(b) * 2));
	s->p = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(t * rank) * 2));
	s->x = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, static_cast<size_t>((t < DROPPED ? t : DROPPED) * cols) * 2));
	return s->w && s->a && s->b && s->p && s->x;
}

/* The weight as bfloat16. */
static const uint16_t *
weight(struct qz_dev *d, const struct scratch *s, const struct qz_mat *w)
{
	if (stored_so(w))
		return at(w->data, 0);
	qz_cuda_decode(d, s->w, QZ_BF16, w, 0, w->rows * w->cols);
	return s->w;
}

static void
narrow(struct qz_dev *d, uint16_t *y, const qz_par *x, int64_t n)
{
	struct qz_mat m = {};

	m.type = QZ_F32;
	m.data = x;
	qz_cuda_decode(d, y, QZ_BF16, &m, 0, n);
}

static void
multiply(struct qz_dev *d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const void *a,
    int64_t lda, const void *b, int64_t ldb, float beta, void *c, int64_t ldc, bool wide)
{
	struct qz_cuda_gemm g = { ta, tb, wide, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc };

	qz_cuda_gemm(d, &g);
}

/* A piece of tokens of the adapter's input: x itself, or dropped. */
static const uint16_t *
input(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x, int64_t t0,
    int64_t t)
{
	struct mask m = { l->seed, l->stream, l->dropout };
	int64_t first = t0 * l->w.cols, n = t * l->w.cols;
	const uint16_t *from = at(x, first);

	if (l->dropout <= 0)
		return from;
	launch_flat(d, drop, n, VECTOR, s->x, from, m, first, n, aligned(from, 16));
	return s->x;
}

static int64_t
piece(const struct qz_linear *l, int64_t t0, int64_t t)
{
	return l->dropout > 0 && t - t0 > DROPPED ? DROPPED : t - t0;
}

/* s = drop(x) A^T; y (+)= scale s B^T */
static void
adapt(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x, int64_t t,
    bool add)
{
	int64_t rows = l->w.rows, cols = l->w.cols, rank = l->rank;

	narrow(d, s->a, l->a, rank * cols);
	narrow(d, s->b, l->b, rows * rank);
	for (int64_t t0 = 0, n; t0 < t; t0 += n) {
		n = piece(l, t0, t);
		multiply(d, false, true, n, rank, cols, 1, input(d, s, l, x, t0, n), cols, s->a, cols, 0,
		    at(l->s, t0 * rank), rank, false);
	}
	multiply(d, false, true, t, rows, rank, l->scale, l->s, rank, s->b, rank, add, l->y, rows, false);
}

void
qz_cuda_linear(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct scratch s;

	qz_cuda_op(d, "linear", t, l->w.cols, l->w.rows);
	if (t < 1 || !lay_out(d, &s, l, n_l, t, true))
		return;
	for (int i = 0; i < n_l; i++) {
		const struct qz_linear *p = &l[i];
		int64_t rows = p->w.rows, cols = p->w.cols;
		bool begun = p->bias || p->rank;

		qz_cuda_op(d, "linear", t, cols, rows);
		if (p->bias)
			launch_flat(d, put_bias, t * rows, 1, p->y, p->bias, rows, t * rows);
		if (p->rank)
			adapt(d, &s, p, x, t, p->bias != nullptr);
		multiply(d, false, true, t, rows, cols, 1, x, cols, weight(d, &s, &p->w), cols, begun, p->y,
		    rows, false);
	}
}

/* p = dy B; db += scale dy^T s; da += scale p^T drop(x); dx (+)= scale drop'(p A). */
static void
adapt_back(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x, qz_act *dx,
    int64_t t, bool add)
{
	int64_t rows = l->w.rows, cols = l->w.cols, rank = l->rank;
	struct mask m = { l->seed, l->stream, l->dropout };

	narrow(d, s->a, l->a, rank * cols);
	narrow(d, s->b, l->b, rows * rank);
	multiply(d, false, false, t, rank, rows, 1, l->dy, rows, s->b, rank, 0, s->p, rank, false);
	multiply(d, true, false, rows, rank, t, l->scale, l->dy, rows, l->s, rank, 1, l->db, rank, true);
	for (int64_t t0 = 0, n; t0 < t; t0 += n) {
		const uint16_t *p = s->p + t0 * rank;
		int64_t first = t0 * cols;

		n = piece(l, t0, t);
		multiply(d, true, false, rank, cols, n, l->scale, p, rank, input(d, s, l, x, t0, n), cols, 1,
		    l->da, cols, true);
		if (!dx)
			continue;
		if (l->dropout <= 0) {
			multiply(d, false, false, n, cols, rank, l->scale, p, rank, s->a, cols, add,
			    at(dx, first), cols, false);
			continue;
		}
		multiply(d, false, false, n, cols, rank, 1, p, rank, s->a, cols, 0, s->x, cols, false);
		launch_flat(d, drop_add, n * cols, VECTOR, at(dx, first), s->x, m, l->scale, add, first,
		    n * cols, aligned(at(dx, first), 16));
	}
}

void
qz_cuda_linear_bwd(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, qz_act *dx,
    int64_t t, bool add)
{
	struct scratch s;

	qz_cuda_op(d, "linear_bwd", t, l->w.cols, l->w.rows);
	if (t < 1 || !lay_out(d, &s, l, n_l, t, dx != nullptr))
		return;
	for (int i = 0; i < n_l; i++) {
		qz_cuda_op(d, "linear_bwd", t, l[i].w.cols, l[i].w.rows);
		if (!l[i].rank)
			continue;
		adapt_back(d, &s, &l[i], x, dx, t, add);
		add = true;
	}
	for (int i = 0; dx && i < n_l; i++) {
		int64_t rows = l[i].w.rows, cols = l[i].w.cols;

		qz_cuda_op(d, "linear_bwd", t, cols, rows);
		multiply(d, false, false, t, cols, rows, 1, l[i].dy, rows, weight(d, &s, &l[i].w), cols, add,
		    dx, cols, false);
		add = true;
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

/* Rows row0 .. row0 + rows of a head as bfloat16. */
static const uint16_t *
head_rows(struct qz_dev *d, uint16_t *room, const struct qz_mat *w, int64_t row0, int64_t rows)
{
	if (stored_so(w))
		return at(w->data, row0 * w->cols);
	qz_cuda_decode(d, room, QZ_BF16, w, row0 * w->cols, rows * w->cols);
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
		    0, static_cast<float *>(logits) + r, w->rows, true);
	}
}

void
qz_cuda_head_bwd(struct qz_dev *d, qz_act *dx, const qz_par *dlogits, const struct qz_mat *w, int64_t n)
{
	size_t used = QZ_CUDA_GEMM_WS;
	int64_t vocab = w->rows, cols = w->cols, step;
	uint16_t *dy, *room;
	float *sum;
	bool whole;

	qz_cuda_op(d, "head_bwd", n, w->cols, w->rows);
	if (n < 1 || !qz_cuda_can_decode(d, w))
		return;
	dy = static_cast<uint16_t *>(qz_cuda_ws(d, &used, static_cast<size_t>(n * vocab) * 2));
	whole = group_rows(d, w, used) == vocab;
	sum = static_cast<float *>(qz_cuda_ws(d, &used, whole ? 0 : static_cast<size_t>(n * cols) * 4));
	step = whole ? vocab : group_rows(d, w, used);
	room = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, stored_so(w) ? 0 : static_cast<size_t>(step * cols) * 2));
	if (!dy || !sum || !room)
		return;
	narrow(d, dy, dlogits, n * vocab);
	/* The groups of rows add up in float32. */
	for (int64_t r = 0; r < vocab; r += step) {
		int64_t rows = vocab - r < step ? vocab - r : step;

		multiply(d, false, false, n, cols, rows, 1, dy + r, vocab, head_rows(d, room, w, r, rows), cols,
		    r > 0, whole ? dx : sum, cols, !whole);
	}
	if (!whole)
		narrow(d, at(dx, 0), sum, n * cols);
}
