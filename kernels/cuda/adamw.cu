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

/* The order depends on n alone: as many parts on every GPU. */
static __global__ void
squares(double *part, const float *x, int64_t n)
{
	int64_t step = static_cast<int64_t>(QZ_CUDA_PARTIALS) * THREADS;
	double sum = 0;

	for (int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; i < n; i += step)
		sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
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
	launch(d, squares, dim3(QZ_CUDA_PARTIALS), THREADS, 0, part, x, n);
	launch(d, add_parts, dim3(1), THREADS, 0, sum, part);
}

static __global__ void __launch_bounds__(THREADS)
adamw(const struct qz_adamw *args, const double *sum, float *p, float *m, float *v, const float *gradient,
    uint16_t *copy, int64_t n, bool vector)
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

		load4(G, gradient, i, n, vector);
		load4(M, m, i, n, vector);
		load4(V, v, i, n, vector);
		load4(P, p, i, n, vector);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			float g = G[j] * f.scale;

			M[j] = f.b1 * M[j] + f.c1 * g;
			V[j] = f.b2 * V[j] + f.c2 * (g * g);
			P[j] = P[j] * f.keep - f.rate * M[j] / (sqrtf(V[j]) / f.root + f.eps);
		}
		store4(m, M, i, n, vector);
		store4(v, V, i, n, vector);
		store4(p, P, i, n, vector);
		if (copy)
			copy4(copy, P, i, n, vector);
	}
}

void
qz_cuda_adamw(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, qz_par *m,
    qz_par *v, const qz_par *g, qz_act *copy, int64_t n)
{
	bool vector = aligned(p, 16) && aligned(m, 16) && aligned(v, 16) && aligned(g, 16) && aligned(copy, 8);

	qz_cuda_op(d, "adamw", n);
	if (n > 0)
		launch(d, adamw, dim3(qz_cuda_grid(d, ceil_div(n, THREADS * 4), 8)), THREADS, 0, args, sum, p, m,
		    v, g, copy, n, vector);
}
