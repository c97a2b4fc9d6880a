/* adamw and the sum of squares that clipping needs, over one flat buffer. */
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

template <bool WHOLE>
static __global__ void __launch_bounds__(THREADS, 4)
adamw(const struct qz_adamw *args, const double *sum, float *p, float *m, float *v, const float *gradient,
    uint16_t *copy, int64_t n)
{
	__shared__ struct adamw_factors shared;
	int64_t step = static_cast<int64_t>(gridDim.x) * THREADS * 4;
	int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * 4;
	struct adamw_factors f;

	if (threadIdx.x == 0)
		shared = adamw_factors_of(*args, *sum);
	__syncthreads();
	f = shared;
	for (; i < n; i += step) {
		float P[4], M[4], V[4], G[4];

		load4<WHOLE>(G, gradient, i, n);
		load4<WHOLE>(M, m, i, n);
		load4<WHOLE>(V, v, i, n);
		load4<WHOLE>(P, p, i, n);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			float g = G[j] * f.scale;

			M[j] = f.b1 * M[j] + f.c1 * g;
			V[j] = f.b2 * V[j] + f.c2 * (g * g);
			P[j] = P[j] * f.keep - f.rate * M[j] / (sqrtf(V[j]) / f.root + f.eps);
		}
		store4<WHOLE>(m, M, i, n);
		store4<WHOLE>(v, V, i, n);
		store4<WHOLE>(p, P, i, n);
		if (copy)
			copy4<WHOLE>(copy, P, i, n);
	}
}

void
qz_cuda_adamw(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, qz_par *m,
    qz_par *v, const qz_par *g, qz_act *copy, int64_t n)
{
	bool whole = n % 4 == 0 && aligned(p, 16) && aligned(m, 16) && aligned(v, 16) && aligned(g, 16) &&
	    aligned(copy, 8);
	auto kernel = whole ? adamw<true> : adamw<false>;

	qz_cuda_op(d, "adamw", n);
	if (n > 0)
		launch(d, kernel, qz_cuda_grid(d, kernel, THREADS, ceil_div(n, THREADS * 4)), THREADS, 0, args, sum,
		    p, m, v, g, copy, n);
}
