/* rmsnorm and its backward pass: a block of threads a row, float32 sums, in halves over the block. */
#include "kernels/cuda/plain.cuh"

enum { THREADS = 256 };

static __device__ float
block_sum(float v)
{
	__shared__ float part[THREADS];

	part[threadIdx.x] = v;
	__syncthreads();
	for (int half = THREADS / 2; half > 0; half /= 2) {
		if (threadIdx.x < static_cast<unsigned>(half))
			part[threadIdx.x] += part[threadIdx.x + half];
		__syncthreads();
	}
	return part[0];
}

static __global__ void
norm(uint16_t *y, float *rstd, const uint16_t *x, const float *w, int64_t cols, float eps)
{
	int64_t row = blockIdx.x;
	float sum = 0, r;

	x += row * cols;
	y += row * cols;
	for (int64_t i = threadIdx.x; i < cols; i += THREADS)
		sum += bf16_load(x[i]) * bf16_load(x[i]);
	r = 1.0f / sqrtf(block_sum(sum) / static_cast<float>(cols) + eps);
	if (threadIdx.x == 0)
		rstd[row] = r;
	for (int64_t i = threadIdx.x; i < cols; i += THREADS)
		y[i] = bf16_round(bf16_load(x[i]) * r * w[i]);
}

void
qz_cuda_rmsnorm(struct qz_dev *d, qz_act *y, qz_par *rstd, const qz_act *x, const float *w,
    int64_t rows, int64_t cols, float eps)
{
	cudaStream_t s = qz_cuda_stream(d);

	if (rows < 1)
		return;
	norm<<<static_cast<unsigned>(rows), THREADS, 0, s>>>(static_cast<uint16_t *>(y),
	    static_cast<float *>(rstd), static_cast<const uint16_t *>(x), w, cols, eps);
	qz_cuda_launched(d, "rmsnorm");
}

static __global__ void
norm_bwd(uint16_t *dx, const uint16_t *dy, const uint16_t *x, const float *rstd, const float *w,
    int64_t cols, bool add)
{
	int64_t row = blockIdx.x;
	float sum = 0, r = rstd[row], c;

	dx += row * cols;
	dy += row * cols;
	x += row * cols;
	for (int64_t i = threadIdx.x; i < cols; i += THREADS)
		sum += w[i] * bf16_load(dy[i]) * bf16_load(x[i]);
	c = block_sum(sum) * r / static_cast<float>(cols) * r * r;
	for (int64_t i = threadIdx.x; i < cols; i += THREADS) {
		float v = r * (w[i] * bf16_load(dy[i])) - c * bf16_load(x[i]);

		dx[i] = bf16_round(add ? bf16_load(dx[i]) + v : v);
	}
}

void
qz_cuda_rmsnorm_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dy, const qz_act *x,
    const qz_par *rstd, const float *w, int64_t rows, int64_t cols, bool add)
{
	cudaStream_t s = qz_cuda_stream(d);

	if (rows < 1)
		return;
	norm_bwd<<<static_cast<unsigned>(rows), THREADS, 0, s>>>(static_cast<uint16_t *>(dx),
	    static_cast<const uint16_t *>(dy), static_cast<const uint16_t *>(x),
	    static_cast<const float *>(rstd), w, cols, add);
	qz_cuda_launched(d, "rmsnorm_bwd");
}
