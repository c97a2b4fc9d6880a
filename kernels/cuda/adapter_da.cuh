/* adapter_da - dA of projections of one input, in one pass over it. */
#ifndef QZ_CUDA_ADAPTER_DA_CUH
#define QZ_CUDA_ADAPTER_DA_CUH

#include "kernels/cuda/cuda.cuh"

ACT_BEGIN

/* da += p^T x of each of n projections, p (t, sum of the ranks) being that of all; w not NULL: times w[col] afterwards.
 * The workspace is free from `used` on.  false: these shapes are not for it, and nothing was done. */
bool qz_cuda_adapter_da(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, const uint16_t *p,
    const float *w, int64_t t, size_t used);
/* Would it take them, with p on 16 bytes? */
bool qz_cuda_adapter_da_fits(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x);
/* What it needs at most. */
size_t qz_cuda_adapter_da_need(struct qz_dev *d, const struct qz_need *need);

ACT_END

#endif
