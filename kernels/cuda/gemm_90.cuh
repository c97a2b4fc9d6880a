/* gemm_90 - products of two pairs of matrices in one pass, on Hopper. */
#ifndef QZ_CUDA_GEMM_90_CUH
#define QZ_CUDA_GEMM_90_CUH

#include "kernels/cuda/cuda.cuh"

/* c = plus + alpha2 a2 op(b2) + a op(b) in bfloat16; false when g is not for these kernels, or when its shape leaves much of
 * the card without work, unless any_shape. */
bool qz_cuda_gemm_90(struct qz_dev *d, const struct qz_cuda_gemm *g, bool any_shape);

#endif
