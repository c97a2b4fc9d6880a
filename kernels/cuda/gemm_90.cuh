/* gemm_90 - products of two pairs of matrices in one pass, on Hopper. */
#ifndef QZ_CUDA_GEMM_90_CUH
#define QZ_CUDA_GEMM_90_CUH

#include "kernels/cuda/cuda.cuh"

/* c = plus + alpha2 a2 op(b2) + a op(b) in bfloat16; false when g is not for these kernels, or when its shape leaves much of
 * the card without work, unless any_shape. */
bool qz_cuda_gemm_90(struct qz_dev *d, const struct qz_cuda_gemm *g, bool any_shape);

/* The same as two products: the narrow pair's, then the rest on top of it. */
static inline void
qz_cuda_gemm_split(const struct qz_cuda_gemm *g, struct qz_cuda_gemm *narrow, struct qz_cuda_gemm *rest)
{
	*narrow = *rest = *g;
	narrow->k = g->k2;
	narrow->alpha = g->alpha2;
	narrow->a = g->a2;
	narrow->lda = g->lda2;
	narrow->b = g->b2;
	narrow->ldb = g->ldb2;
	rest->plus = g->c;
	narrow->k2 = rest->k2 = 0;
}

#endif
