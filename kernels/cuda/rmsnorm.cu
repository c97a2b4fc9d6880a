/* rmsnorm and its backward pass: a warp a row, or a block of threads a long one; float32 sums, each
 * thread's own in the order of the row, then in halves over the threads. */
#include "kernels/cuda/vector.cuh"

enum { THREADS = 256, SHORT = 1024 /* columns of a row that a warp takes */ };

static __device__ inline float
warp_sum(float v)
{
	for (int i = 16; i > 0; i /= 2)
		v += __shfl_xor_sync(0xffffffff, v, i);
	return v;
}

/* Over the EACH threads of a row, in all of them. */
template <int EACH>
static __device__ inline float
row_sum(float v)
{
	__shared__ float part[THREADS / 32];

	v = warp_sum(v);
	if (EACH == 32)
		return v;
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = v;
	__syncthreads();
	v = 0;
	for (int i = 0; i < THREADS / 32; i++)
		v += part[i];
	return v;
}

static __device__ inline void
weights(float f[VECTOR], const float *w, int64_t i, int64_t n)
{
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		f[j] = i + j < n ? w[i + j] : 0;
}

template <int EACH>
static __global__ void
norm(uint16_t *y, float *rstd, const uint16_t *x, const float *w, int64_t rows, int64_t cols, float eps,
    bool vector)
{
	int64_t row = static_cast<int64_t>(blockIdx.x) * (THREADS / EACH) + threadIdx.x / EACH;
	int64_t first = threadIdx.x % EACH * VECTOR;
	float sum = 0, r, v[VECTOR], g[VECTOR];

	if (row >= rows)
		return; /* whole warps, and with a block a row none */
	x += row * cols;
	y += row * cols;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			sum = fmaf(v[j], v[j], sum);
	}
	r = 1.0f / sqrtf(row_sum<EACH>(sum) / static_cast<float>(cols) + eps);
	if (threadIdx.x % EACH == 0)
		rstd[row] = r;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
		weights(g, w, i, cols);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			v[j] = v[j] * r * g[j];
		store_at(y, v, i, cols, vector);
	}
}

void
qz_cuda_rmsnorm(struct qz_dev *d, qz_act *y, qz_par *rstd, const qz_act *x, const float *w,
    int64_t rows, int64_t cols, float eps)
{
	bool vector = cols % VECTOR == 0 && aligned(x, 16) && aligned(y, 16);

	qz_cuda_op(d, "rmsnorm", rows, cols);
	if (rows < 1)
		return;
	if (cols <= SHORT)
		launch(d, norm<32>, dim3(static_cast<unsigned>(ceil_div(rows, THREADS / 32))), THREADS, 0, y,
		    rstd, x, w, rows, cols, eps, vector);
	else
		launch(d, norm<THREADS>, dim3(static_cast<unsigned>(rows)), THREADS, 0, y, rstd, x, w, rows,
		    cols, eps, vector);
}

/* With xhat = x * rstd: rstd * xhat * mean(w dy xhat) = c * x, c = rstd^3 * mean(w dy x). */
template <int EACH>
static __global__ void
norm_bwd(uint16_t *dx, const uint16_t *dy, const uint16_t *x, const float *rstd, const float *w,
    int64_t rows, int64_t cols, bool add, bool vector)
{
	int64_t row = static_cast<int64_t>(blockIdx.x) * (THREADS / EACH) + threadIdx.x / EACH;
	int64_t first = threadIdx.x % EACH * VECTOR;
	float sum = 0, r, c, v[VECTOR], g[VECTOR], u[VECTOR], old[VECTOR] = {};

	if (row >= rows)
		return;
	r = rstd[row];
	dx += row * cols;
	dy += row * cols;
	x += row * cols;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
		load_at(u, dy, i, cols, vector);
		weights(g, w, i, cols);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			sum = fmaf(g[j] * u[j], v[j], sum);
	}
	c = row_sum<EACH>(sum) * r / static_cast<float>(cols) * r * r;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
		load_at(u, dy, i, cols, vector);
		weights(g, w, i, cols);
		if (add)
			load_at(old, dx, i, cols, vector);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			v[j] = old[j] + (r * (g[j] * u[j]) - c * v[j]);
		store_at(dx, v, i, cols, vector);
	}
}

void
qz_cuda_rmsnorm_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dy, const qz_act *x,
    const qz_par *rstd, const float *w, int64_t rows, int64_t cols, bool add)
{
	bool vector = cols % VECTOR == 0 && aligned(x, 16) && aligned(dx, 16) && aligned(dy, 16);

	qz_cuda_op(d, "rmsnorm_bwd", rows, cols);
	if (rows < 1)
		return;
	if (cols <= SHORT)
		launch(d, norm_bwd<32>, dim3(static_cast<unsigned>(ceil_div(rows, THREADS / 32))), THREADS, 0,
		    dx, dy, x, rstd, w, rows, cols, add, vector);
	else
		launch(d, norm_bwd<THREADS>, dim3(static_cast<unsigned>(rows)), THREADS, 0, dx, dy, x, rstd, w,
		    rows, cols, add, vector);
}
