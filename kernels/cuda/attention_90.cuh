/* attention_90 - the backward pass of attention on Hopper (attention_90.cu): in order, with a workspace that
 * grows with the tokens. */
#ifndef QZ_CUDA_ATTENTION_90_CUH
#define QZ_CUDA_ATTENTION_90_CUH

#include "kernels/cuda/cuda.cuh"

/* Bytes of workspace; 0 on a GPU that is none of these. */
size_t qz_cuda_back_90_need(struct qz_dev *d, int64_t rows, int64_t docs, int heads);
/* Are heads of so many numbers for them, on this GPU? */
bool qz_cuda_back_90_takes(struct qz_dev *d, int head_dim);
/* dq, dk, dv; false when the call is not for these kernels. */
bool qz_cuda_back_90(struct qz_dev *d, const struct qz_attn *a);

#endif
