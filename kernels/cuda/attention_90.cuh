/* attention_90 - the backward pass of attention on Hopper (attention_90.cu): in order, with a workspace that
 * grows with the tokens.  Each of its two kernels comes in several ways, for tests/gpu/attention to compare. */
#ifndef QZ_CUDA_ATTENTION_90_CUH
#define QZ_CUDA_ATTENTION_90_CUH

#include "kernels/cuda/cuda.cuh"

/* The name of a way in which keys (or else queries) stay, NULL behind the last. */
const char *qz_cuda_back_90_way(bool keys_stay, int i);
size_t qz_cuda_back_90_need(int64_t rows, int64_t docs, int heads);
/* dk and dv in one way and dq in another (-1: not at all); false when it is not for these kernels. */
bool qz_cuda_back_90(struct qz_dev *d, const struct qz_attn *a, int key_way, int query_way);

#endif
