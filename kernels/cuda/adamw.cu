/* adamw over one flat buffer. */
#include "kernels/cuda/adamw.cuh"

ACT_BEGIN

enum { THREADS = 256 };

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

ACT_END
