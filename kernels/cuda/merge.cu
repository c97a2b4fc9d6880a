/* merge: a thread an element of w; the sum over the rank in index order, one rounding an operation. */
#include "kernels/cuda/cuda.cuh"

static __global__ void
merge(float *w, const float *a, const float *b, float scale, int64_t n, int64_t cols, int rank)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, row = i / cols;
	float sum = 0;

	if (i >= n)
		return;
	for (int r = 0; r < rank; r++)
		sum += b[row * rank + r] * a[r * cols + i % cols];
	w[i] += scale * sum;
}

void
qz_cuda_merge(struct qz_dev *d, float *w, const float *a, const float *b, float scale, int64_t rows,
    int64_t cols, int rank)
{
	qz_cuda_op(d, "merge", rows, cols, rank);
	if (rows > 0 && cols > 0)
		launch_flat(d, merge, rows * cols, 1, w, a, b, scale, rows * cols, cols, rank);
}
