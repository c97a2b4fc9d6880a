/* cross_entropy: a block of threads a row.  A row that fits is read once and stays in registers and, above
 * 32 K logits, in shared memory; a longer one, or one that is not on 16 bytes, is read again for the gradient.  Sums: in float32 over what a
 * warp has seen, then in float64 over the warps.
 * The gradient is written over the logits in half their size: element i lies where logit i / 2 was, which
 * its row's threads must have read.  They go through the row from its start, and wait before they write. */
#include <cfloat>

#include "kernels/cuda/vector.cuh"

ACT_BEGIN

enum { THREADS = 1024, WARPS = THREADS / 32, STREAMED = 4 /* vectors a thread of a longer row, at a time */ };

static __device__ inline float
warp_max(float v)
{
	for (int i = 16; i > 0; i /= 2)
		v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, i));
	return v;
}

template <typename T>
static __device__ inline T
warp_sum(T v)
{
	for (int i = 16; i > 0; i /= 2)
		v += __shfl_xor_sync(0xffffffff, v, i);
	return v;
}

static __device__ inline float
row_max(float v)
{
	__shared__ float part[WARPS];

	v = warp_max(v);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = v;
	__syncthreads();
	return warp_max(part[threadIdx.x % 32]);
}

/* The sum over the row of the threads' sums.  All threads have read their logits when it returns. */
static __device__ inline double
row_sum(float sum)
{
	__shared__ float part[WARPS];
	__shared__ double all;

	sum = warp_sum(sum);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = sum;
	__syncthreads();
	if (threadIdx.x < 32) {
		double v = warp_sum(static_cast<double>(part[threadIdx.x]));

		if (threadIdx.x == 0)
			all = v;
	}
	__syncthreads();
	return all;
}

static __device__ inline void
put_loss(double *loss, double all, float top, float at)
{
	if (threadIdx.x == 0)
		loss[blockIdx.x] = log(all) + (static_cast<double>(top) - static_cast<double>(at));
}

/* A target beyond the vocabulary gives no loss, no gradient and a note: false. */
static __device__ inline bool
has_target(uint32_t target, int64_t vocab, struct qz_cuda_own *own)
{
	if (target < vocab)
		return true;
	if (threadIdx.x == 0 && atomicCAS(&own->note.trouble, QZ_CUDA_FINE, QZ_CUDA_BAD_TARGET) == QZ_CUDA_FINE) {
		own->note.value = target;
		own->note.limit = vocab;
	}
	return false;
}

/* Elements i .. i + 4 of n; behind the end those that add nothing. */
template <bool VECTOR4>
static __device__ inline float4
logits4(const float *x, int i, int n)
{
	if constexpr (VECTOR4)
		return i < n ? *reinterpret_cast<const float4 *>(x + i)
			     : make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
	return make_float4(i < n ? x[i] : -INFINITY, i + 1 < n ? x[i + 1] : -INFINITY,
	    i + 2 < n ? x[i + 2] : -INFINITY, i + 3 < n ? x[i + 3] : -INFINITY);
}

static __device__ inline float
max4(float4 v)
{
	return fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w));
}

static __device__ inline float4
exp4(float4 v, float top)
{
	return make_float4(expf(v.x - top), expf(v.y - top), expf(v.z - top), expf(v.w - top));
}

static __device__ inline float
sum4(float4 v)
{
	return v.x + v.y + (v.z + v.w);
}

/* Terms e of the sum to elements i .. i + 4 of the gradient. */
template <bool VECTOR4>
static __device__ inline void
gradient4(float *x, int i, int n, float4 e, float factor, int target, float scale)
{
	uint16_t *y = reinterpret_cast<uint16_t *>(x) + i;
	float g[4] = { e.x * factor, e.y * factor, e.z * factor, e.w * factor };

#pragma unroll
	for (int j = 0; j < 4; j++)
		g[j] = i + j == target ? g[j] - scale : g[j];
	if constexpr (VECTOR4) {
		if (i < n)
			*reinterpret_cast<uint2 *>(y) = make_uint2(pack2(g[0], g[1]), pack2(g[2], g[3]));
	} else {
#pragma unroll
		for (int j = 0; j < 4; j++)
			if (i + j < n)
				y[j] = act_round(g[j]);
	}
}

/* VECTORS times 4 logits a thread in registers, and `more` times 4 in shared memory, each thread's own. */
template <int VECTORS>
static __global__ void __launch_bounds__(THREADS)
held(double *loss, float *logits, const uint32_t *target, int64_t vocab, double scale, struct qz_cuda_own *own,
    int more)
{
	extern __shared__ float4 rest[];
	float *x = logits + static_cast<int64_t>(blockIdx.x) * vocab, top = -FLT_MAX, sum = 0, at, factor;
	int n = static_cast<int>(vocab), t = static_cast<int>(target[blockIdx.x]);
	int first = 4 * threadIdx.x, behind = first + 4 * THREADS * VECTORS;
	float4 v[VECTORS], *w = rest + threadIdx.x;
	double all;

	if (!has_target(target[blockIdx.x], vocab, own))
		return;
#pragma unroll
	for (int k = 0; k < VECTORS; k++)
		v[k] = logits4<true>(x, first + 4 * THREADS * k, n);
#pragma unroll 2
	for (int k = 0; k < more; k++) {
		w[k * THREADS] = logits4<true>(x, behind + 4 * THREADS * k, n);
		top = fmaxf(top, max4(w[k * THREADS]));
	}
#pragma unroll
	for (int k = 0; k < VECTORS; k++)
		top = fmaxf(top, max4(v[k]));
	top = row_max(top);
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		v[k] = exp4(v[k], top);
		sum += sum4(v[k]);
	}
	for (int k = 0; k < more; k++) {
		w[k * THREADS] = exp4(w[k * THREADS], top);
		sum += sum4(w[k * THREADS]);
	}
	at = x[t];
	all = row_sum(sum);
	factor = static_cast<float>(scale) / static_cast<float>(all);
#pragma unroll
	for (int k = 0; k < VECTORS; k++)
		if (scale != 0)
			gradient4<true>(x, first + 4 * THREADS * k, n, v[k], factor, t,
			    static_cast<float>(scale));
	for (int k = 0; scale != 0 && k < more; k++)
		gradient4<true>(x, behind + 4 * THREADS * k, n, w[k * THREADS], factor, t,
		    static_cast<float>(scale));
	put_loss(loss, all, top, at);
}

/* Adds v to the largest value seen and the sum of exp(x - largest); a NaN stays one. */
static __device__ inline void
add4(float &max, float &sum, float4 v)
{
	float more = max4(v);

	if (more > max) {
		sum *= expf(max - more);
		max = more;
	}
	sum += sum4(exp4(v, max));
}

template <bool VECTOR4>
static __global__ void __launch_bounds__(THREADS)
streamed(double *loss, float *logits, const uint32_t *target, int64_t vocab, double scale,
    struct qz_cuda_own *own, int)
{
	float *x = logits + static_cast<int64_t>(blockIdx.x) * vocab, max = -FLT_MAX, sum = 0, top, at, factor;
	int n = static_cast<int>(vocab), t = static_cast<int>(target[blockIdx.x]), first = 4 * threadIdx.x;
	float4 v[STREAMED];
	double all;

	if (!has_target(target[blockIdx.x], vocab, own))
		return;
	for (int i = first; i < n + first; i += 4 * STREAMED * THREADS) {
#pragma unroll
		for (int k = 0; k < STREAMED; k++)
			v[k] = logits4<VECTOR4>(x, i + 4 * THREADS * k, n);
#pragma unroll
		for (int k = 0; k < STREAMED; k++)
			add4(max, sum, v[k]);
	}
	top = row_max(max);
	at = x[t];
	all = row_sum(sum * expf(max - top));
	factor = static_cast<float>(scale) / static_cast<float>(all);
	for (int i = first; scale != 0 && i < n + first; i += 4 * STREAMED * THREADS) {
#pragma unroll
		for (int k = 0; k < STREAMED; k++)
			v[k] = exp4(logits4<VECTOR4>(x, i + 4 * THREADS * k, n), top);
		__syncthreads();
#pragma unroll
		for (int k = 0; k < STREAMED; k++)
			gradient4<VECTOR4>(x, i + 4 * THREADS * k, n, v[k], factor, t,
			    static_cast<float>(scale));
	}
	put_loss(loss, all, top, at);
}

void
qz_cuda_cross_entropy(struct qz_dev *d, double *loss, qz_par *logits, const uint32_t *target, int64_t n,
    int64_t vocab, double scale)
{
	bool vector = vocab % 4 == 0 && aligned(logits, 16);
	int64_t vectors = ceil_div(vocab, 4 * THREADS), more = 0;
	int64_t room = (cuda_dev(d)->shared - 1024) / static_cast<int64_t>(THREADS * sizeof(float4));
	auto kernel = vector ? streamed<true> : streamed<false>;

	qz_cuda_op(d, "cross_entropy", n, vocab);
	if (vector && vectors <= 8)
		kernel = vectors <= 2 ? held<2> : vectors <= 4 ? held<4> : held<8>;
	else if (vector && vectors - 4 <= room) {
		kernel = held<4>;
		more = vectors - 4;
	}
	if (n > 0)
		launch_large(d, kernel, dim3(static_cast<unsigned>(n)), THREADS,
		    static_cast<size_t>(more) * THREADS * sizeof(float4), loss, logits, target, vocab, scale,
		    cuda_dev(d)->own, static_cast<int>(more));
}

ACT_END
