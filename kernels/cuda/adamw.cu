/* adamw and the sum of squares that clipping needs, over one flat buffer. */
#include "kernels/cuda/cuda.cuh"

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

struct factors {
	float keep, b1, c1, b2, c2, scale, rate, root, eps;
};

/* As kernels/cpu/adamw.c: in float64, rounded once. */
static __device__ struct factors
make_factors(const struct qz_adamw &a, double sum)
{
	double scale = 1, ratio = a.clip / (sqrt(sum) + 1e-6);
	struct factors f;

	if (a.clip > 0 && ratio < 1)
		scale = ratio;
	f.keep = static_cast<float>(1 - a.lr * a.weight_decay);
	f.b1 = static_cast<float>(a.beta1);
	f.c1 = static_cast<float>(1 - a.beta1);
	f.b2 = static_cast<float>(a.beta2);
	f.c2 = static_cast<float>(1 - a.beta2);
	f.scale = static_cast<float>(scale);
	f.rate = static_cast<float>(a.lr / (1 - pow(a.beta1, a.step)));
	f.root = static_cast<float>(sqrt(1 - pow(a.beta2, a.step)));
	f.eps = static_cast<float>(a.eps);
	return f;
}

static __global__ void
adamw(const struct qz_adamw *args, const double *sum, float *p, float *m, float *v, const float *gradient,
    int64_t n)
{
	__shared__ struct factors shared;
	int64_t step = static_cast<int64_t>(gridDim.x) * THREADS;
	struct factors f;

	if (threadIdx.x == 0)
		shared = make_factors(*args, *sum);
	__syncthreads();
	f = shared;
	for (int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; i < n; i += step) {
		float g = gradient[i] * f.scale, mi = f.b1 * m[i] + f.c1 * g, vi = f.b2 * v[i] + f.c2 * (g * g);

		m[i] = mi;
		v[i] = vi;
		p[i] = p[i] * f.keep - f.rate * mi / (sqrtf(vi) / f.root + f.eps);
	}
}

void
qz_cuda_adamw(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, qz_par *m,
    qz_par *v, const qz_par *g, int64_t n)
{
	int64_t blocks = ceil_div(n, THREADS * 4);

	qz_cuda_op(d, "adamw", n);
	if (n > 0)
		launch(d, adamw, dim3(static_cast<unsigned>(blocks < 2048 ? blocks : 2048)), THREADS, 0, args,
		    sum, p, m, v, g, n);
}
