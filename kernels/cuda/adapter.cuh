/* adapter - products of the adapters' backward pass that share a pass over dy. */
#ifndef QZ_CUDA_ADAPTER_CUH
#define QZ_CUDA_ADAPTER_CUH

#include "kernels/cuda/cuda.cuh"

ACT_BEGIN

/* p (T, sum of the ranks) = scale dy B of n projections side by side, and db += scale dy^T s of each.  The
 * workspace is free from `used` on.  false: these shapes are not for it, and nothing was done. */
bool qz_cuda_adapter_back(struct qz_dev *d, const struct qz_linear *l, int n, int64_t t, uint16_t *p,
    size_t used);
size_t qz_cuda_adapter_need(const struct qz_need *need);

ACT_END

#endif
