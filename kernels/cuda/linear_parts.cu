/* What linear_parts.cuh tells of. */
#include "kernels/cuda/linear_parts.cuh"

ACT_BEGIN

bool
qz_cuda_lay_out(struct qz_dev *d, struct scratch *s, const struct qz_linear *l, int n_l, int64_t t, bool weights)
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

const uint16_t *
qz_cuda_weight(struct qz_dev *d, const struct scratch *s, const struct qz_mat *w)
{
	if (stored_so(w))
		return at(w->data, 0);
	qz_cuda_part(d, "decode");
	qz_cuda_decode(d, s->w, ACT_TYPE, w, 0, w->rows * w->cols);
	return s->w;
}

void
qz_cuda_multiply_with(struct qz_dev *d, const struct pair *p, bool tb, int64_t m, int64_t n, int64_t k, const void *a,
    const void *b, int64_t ldb, const void *plus, void *c)
{
	struct qz_cuda_gemm g = { false, tb, false, m, n, k, 1, a, k, b, ldb, plus, c, n, p->k, p->alpha, p->a, p->lda,
		p->b, p->ldb };

	qz_cuda_gemm(d, &g);
}

void
qz_cuda_multiply(struct qz_dev *d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const void *a,
    int64_t lda, const void *b, int64_t ldb, const void *plus, void *c, int64_t ldc, bool wide)
{
	struct qz_cuda_gemm g = { ta, tb, wide, m, n, k, alpha, a, lda, b, ldb, plus, c, ldc, 0, 0, nullptr, 0, nullptr, 0 };

	qz_cuda_gemm(d, &g);
}

static bool
side_by_side(const struct qz_linear *a, const struct qz_linear *b)
{
	int64_t n = a->rank * a->w.cols;

	return b->rank && a->dropout <= 0 && b->dropout <= 0 && qz_linear_lds(a) == qz_linear_lds(b) &&
	    at(b->a, 0) == at(a->a, n) && at(b->s, 0) == at(a->s, a->rank) &&
	    static_cast<float *>(b->da) == static_cast<float *>(a->da) + (a->da ? n : 0);
}

struct group
qz_cuda_group_of(const struct qz_linear *l, int n)
{
	struct group g = { l, 1, l->rank };

	while (l->rank && g.n < n &&
	    (l->dropout > 0 ? l[g.n].rank && l[g.n].dropout > 0 && g.n < DROP_GROUP
	                    : side_by_side(&l[g.n - 1], &l[g.n])))
		g.rank += l[g.n++].rank;
	return g;
}

ACT_END
