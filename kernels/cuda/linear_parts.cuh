/* linear_parts - what linear, its backward pass and head are made of: the workspace's layout, weights as activations, products
 * with an adapter's share, adapters that are computed as one. */
#ifndef QZ_CUDA_LINEAR_PARTS_CUH
#define QZ_CUDA_LINEAR_PARTS_CUH

#include "kernels/cuda/drop.cuh"

enum { DROPPED = 1024 /* tokens that are dropped into the workspace at a time */ };

ACT_BEGIN

static inline const uint16_t *
at(const void *x, int64_t i)
{
	return static_cast<const uint16_t *>(x) + i;
}

static inline uint16_t *
at(void *x, int64_t i)
{
	return static_cast<uint16_t *>(x) + i;
}

static inline bool
stored_so(const struct qz_mat *w)
{
	return w->type == ACT_TYPE && aligned(w->data, 16);
}

static inline int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Where things lie in the workspace during one call. */
struct scratch {
	uint16_t *w, *p, *p_normed, *x; /* p_normed: p times rstd */
	const struct qz_norm *norm; /* not NULL: x is what it was given */
	size_t used; /* of the workspace, before w */
};

/* Of projections that share an input, `weights` with room for the largest weight; false and a failure when there is not so
 * much. */
bool qz_cuda_lay_out(struct qz_dev *d, struct scratch *s, const struct qz_linear *l, int n_l, int64_t t, bool weights);

/* The weight as activations: decoded to s->w unless it is stored so. */
const uint16_t *qz_cuda_weight(struct qz_dev *d, const struct scratch *s, const struct qz_mat *w);

/* Factors of an adapter's share. */
struct pair {
	int64_t k; /* 0: none */
	float alpha;
	const void *a;
	int64_t lda;
	const void *b;
	int64_t ldb;
};

/* c (m, n) = a op(b) + plus, and the pair's product, b's likewise transposed; all of it activations, rows of c and plus n
 * apart. */
void qz_cuda_multiply_with(struct qz_dev *d, const struct pair *p, bool tb, int64_t m, int64_t n, int64_t k, const void *a,
    const void *b, int64_t ldb, const void *plus, void *c);
/* c (m, n) = alpha op(a) op(b) + plus; wide: c and plus are float32. */
void qz_cuda_multiply(struct qz_dev *d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const void *a,
    int64_t lda, const void *b, int64_t ldb, const void *plus, void *c, int64_t ldc, bool wide);

/* Adapters of projections that are computed as one: n of them, from l on, with the sum of their ranks. */
struct group {
	const struct qz_linear *l;
	int n;
	int64_t rank;
};

/* The group that starts at l, of at most n; rank 0: l has no adapter.  With dropout any neighbours are one. */
struct group qz_cuda_group_of(const struct qz_linear *l, int n);

/* Tokens from t0 on of t that drop_copy.cu takes at a time: all without dropout. */
static inline int64_t
piece(const struct qz_linear *l, int64_t t0, int64_t t)
{
	return l->dropout > 0 && t - t0 > DROPPED ? DROPPED : t - t0;
}

/* drop_copy.cu: tokens t0 .. t0 + t of a projection's input, with dropout a copy in the workspace, masked; and
 * dx (t tokens from t0 on) (+)= the mask times s->x. */
const uint16_t *qz_cuda_adapter_input(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x,
    int64_t t0, int64_t t);
void qz_cuda_drop_add(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, uint16_t *dx, int64_t t0,
    int64_t t, bool add);

ACT_END

#endif
