/* The sum of squares that clipping needs, over one flat buffer. */
#include "kernels/cuda/adamw.cuh"

enum { THREADS = 256 };

/* In all threads the sum of theirs, in halves. */
static __device__ double
block_sum(double v)
{
	__shared__ double part[THREADS];

	part[threadIdx.x] = v;
	__syncthreads();
	for (unsigned half = THREADS / 2; half > 0; half /= 2) {
		if (threadIdx.x < half)
			part[threadIdx.x] += part[threadIdx.x + half];
		__syncthreads();
	}
	return part[0];
}

enum { AHEAD = 4 /* vectors that a thread reads before it adds them */ };

/* The order depends on n alone: as many parts on every GPU, and the same elements on 16 bytes and not. */
template <bool WHOLE>
static __global__ void __launch_bounds__(THREADS, 4)
squares(double *part, const float *x, int64_t n)
{
	int64_t step = static_cast<int64_t>(QZ_CUDA_PARTIALS) * THREADS * 4;
	int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * 4;
	double sum = 0;

	for (; i < n; i += AHEAD * step) {
		float v[AHEAD][4];

#pragma unroll
		for (int k = 0; k < AHEAD; k++)
			load4<WHOLE>(v[k], x, i + k * step, n);
#pragma unroll
		for (int k = 0; k < 4 * AHEAD; k++)
			sum += static_cast<double>(v[k / 4][k % 4]) * static_cast<double>(v[k / 4][k % 4]);
	}
	sum = block_sum(sum);
	if (threadIdx.x == 0)
		part[blockIdx.x] = sum;
}

static __global__ void
add_parts(double *sum, const double *part)
{
	double all = 0;

	for (int i = threadIdx.x; i < QZ_CUDA_PARTIALS; i += THREADS)
		all += part[i];
	all = block_sum(all);
	if (threadIdx.x == 0)
		*sum = all;
}

void
qz_cuda_sum_squares(struct qz_dev *d, double *sum, const qz_par *x, int64_t n)
{
	double *part = cuda_dev(d)->own->partial; /* an address on the device */

	qz_cuda_op(d, "sum_squares", n);
	launch(d, n % 4 == 0 && aligned(x, 16) ? squares<true> : squares<false>, dim3(QZ_CUDA_PARTIALS), THREADS, 0,
	    part, x, n);
	launch(d, add_parts, dim3(1), THREADS, 0, sum, part);
}
