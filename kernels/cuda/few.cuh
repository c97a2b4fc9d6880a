/* few - y of up to 64 tokens straight from 4-bit codes: no weight is written as numbers, so that reading its
 * codes is what it costs. */
#ifndef QZ_CUDA_FEW_CUH
#define QZ_CUDA_FEW_CUH

#include "kernels/cuda/cuda.cuh"

/* Up to FEW_TOKENS it is expected to beat decoding the weight and a product (kernels/NOTES.md). */
enum { FEW_GROUP = 3, FEW_TOKENS = 64, FEW_ONE = 2, FEW_SOME = 16 /* few_one.cu, few_some.cu */ };

ACT_BEGIN

/* Is a projection for it: a weight of NF4 or FP4, blocks and rows of whole 64 columns? */
bool qz_cuda_few_fits(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t);
/* y = plus + bias + scale s B^T + x W^T of up to FEW_GROUP projections that fit, s being there. */
void qz_cuda_few(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, int64_t t);

ACT_END

#endif
