/* few: whether a few tokens are multiplied straight from codes, and by which kernel. */
#include <cstring>

#include "kernels/cuda/few_part.cuh"

ACT_BEGIN

enum { MOST = 1 << 24 }; /* rows or columns: twice as many bytes still fit an int */

static int
shift_of(uint32_t n)
{
	return n && !(n & (n - 1)) ? __builtin_ctz(n) : -1;
}

bool
qz_cuda_few_fits(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t)
{
	const struct qz_mat *w = &l->w;

	return t <= FEW_TOKENS && (w->type == QZ_NF4 || w->type == QZ_FP4) &&
	    shift_of(w->block) >= 6 && (!w->nested_block || shift_of(w->nested_block) >= 0) &&
	    w->cols % BLOCK == 0 && w->cols < MOST && w->rows < MOST && w->rows * (w->cols / BLOCK) < INT32_MAX &&
	    aligned(w->data, 16) && aligned(x, 16);
}

void
qz_cuda_few(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, int64_t t)
{
	struct few_job g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		const struct qz_mat *w = &l[i].w;

		g.l[i] = { static_cast<const uint8_t *>(w->data), w->absmax, w->nested_absmax, w->nested_map,
			w->map, l[i].bias, w->offset, l[i].scale, shift_of(w->block) - 6,
			w->nested_block ? shift_of(w->nested_block) : -1, static_cast<const uint16_t *>(l[i].plus),
			static_cast<const uint16_t *>(l[i].s), static_cast<const uint16_t *>(l[i].b),
			static_cast<uint16_t *>(l[i].y), w->rows, l[i].lds ? l[i].lds : l[i].rank, l[i].rank, 0 };
	}
	g.n = n;
	g.x = static_cast<const uint16_t *>(x);
	g.cols = l->w.cols;
	g.blocks = static_cast<int>(g.cols / BLOCK);
	g.t = static_cast<int>(t);
	qz_cuda_part(d, "x W from codes");
	if (t <= FEW_ONE)
		qz_cuda_few_one(d, &g);
#ifndef QZ_CUDA_F16
	else if (t > 8 && qz_cuda_few_90(d, &g))
		return;
#endif
	else if (t <= FEW_SOME)
		qz_cuda_few_some(d, &g);
	else
		qz_cuda_few_many(d, &g);
}

ACT_END
