/* linear - the parts of linear and its backward pass that other files ask for. */
#ifndef QZ_CUDA_LINEAR_CUH
#define QZ_CUDA_LINEAR_CUH

#include "kernels/cuda/cuda.cuh"

ACT_BEGIN

/* The adapter's first product alone, for what has `begun` then: s of a projection; p of n projections to `left`, and
 * db. */
void qz_cuda_linear_s(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t);
void qz_cuda_linear_p(struct qz_dev *d, const struct qz_linear *l, int n, int64_t t);

/* Where p of the first of n projections lies in its `left`, and of the others behind it: side by side, rows of the sum
 * of the ranks, if they are computed as one; else each by itself, rows of its own rank. */
bool qz_cuda_one_p(const struct qz_linear *l, int n);

/* The masks that linear_bwd without x left of a projection, behind p, or NULL where linear_da() draws them. */
uint32_t *qz_cuda_left_bits(struct qz_dev *d, const struct qz_linear *l, int64_t t);

ACT_END

#endif
