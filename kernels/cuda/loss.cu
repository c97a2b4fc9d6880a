/* cross_entropy: a block of threads a row.  Each thread keeps the largest value it has seen and the sum of
 * exp(x - largest); the threads' sums add up in float64 in halves. */
#include "kernels/cuda/cuda.cuh"

enum { THREADS = 512 };

static __device__ float
row_max(float v)
{
	__shared__ float part[THREADS];

	part[threadIdx.x] = v;
	__syncthreads();
	for (unsigned half = THREADS / 2; half > 0; half /= 2) {
		if (threadIdx.x < half)
			part[threadIdx.x] = fmaxf(part[threadIdx.x], part[threadIdx.x + half]);
		__syncthreads();
	}
	return part[0];
}

static __device__ double
row_sum(double v)
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

/* A target beyond the vocabulary gives no loss, no gradient and a note. */
static __global__ void
cross_entropy(double *loss, float *logits, const uint32_t *target, int64_t vocab, double scale,
    struct qz_cuda_own *own)
{
	int64_t row = blockIdx.x;
	uint32_t t = target[row];
	float *x = logits + row * vocab, max = -INFINITY, sum = 0, top, at, c;
	double all;

	if (t >= vocab) {
		if (threadIdx.x == 0 &&
		    atomicCAS(&own->note.trouble, QZ_CUDA_FINE, QZ_CUDA_BAD_TARGET) == QZ_CUDA_FINE) {
			own->note.value = t;
			own->note.limit = vocab;
		}
		return;
	}
	at = x[t];
	for (int64_t i = threadIdx.x; i < vocab; i += THREADS) {
		float v = x[i];

		if (v == -INFINITY)
			continue;
		if (v > max) {
			sum *= expf(max - v);
			max = v;
		}
		sum += expf(v - max); /* 1 for a new largest value, NaN for NaN */
	}
	top = row_max(max);
	all = row_sum(max > -INFINITY ? static_cast<double>(sum) * exp(static_cast<double>(max - top))
				      : static_cast<double>(sum));
	if (threadIdx.x == 0)
		loss[row] = log(all) + (static_cast<double>(top) - static_cast<double>(at));
	if (scale == 0)
		return;
	c = static_cast<float>(scale / all);
	for (int64_t i = threadIdx.x; i < vocab; i += THREADS) {
		float v = expf(x[i] - top) * c;

		x[i] = i == t ? v - static_cast<float>(scale) : v;
	}
}

void
qz_cuda_cross_entropy(struct qz_dev *d, double *loss, qz_par *logits, const uint32_t *target, int64_t n,
    int64_t vocab, double scale)
{
	qz_cuda_op(d, "cross_entropy", n, vocab);
	if (n > 0)
		launch(d, cross_entropy, dim3(static_cast<unsigned>(n)), THREADS, 0, loss, logits, target,
		    vocab, scale, cuda_dev(d)->own);
}
