/* quantize4, nest_absmax, quantize8: the bytes of kernels/cpu/nf4.c, nested.c and int8.c, which say where the
 * rules come from.  A warp a block of 4-bit codes, a block of threads a block of constants or a row. */
#include "kernels/cuda/plain.cuh"

extern "C" {
#include "kernels/nf4.h"
}

enum { THREADS = 256, BLOCK_MAX = 4096 };

/* The largest bits of 32 lanes, in all of them. */
static __device__ inline uint32_t
warp_max(uint32_t v)
{
	for (int i = 16; i > 0; i /= 2) {
		uint32_t other = __shfl_xor_sync(0xffffffff, v, i);

		v = other > v ? other : v;
	}
	return v;
}

/* Bits without the sign order like magnitudes, a NaN above all. */
static __device__ inline uint32_t
magnitude(float f)
{
	return __float_as_uint(f) & 0x7fffffff;
}

static __device__ inline int
code4(float v, const float *bounds, const uint8_t *order)
{
	int rank = 0;

	for (int i = 0; i < 15; i++)
		rank += v > bounds[i];
	return order[rank];
}

static __global__ void
quantize4(uint8_t *codes, float *absmax, const void *x, enum qz_dtype type, int64_t n, int block,
    const struct qz_cuda_own *own, int which)
{
	__shared__ float bounds[16];
	__shared__ uint8_t order[16];
	int lane = threadIdx.x % 32;
	int64_t b = static_cast<int64_t>(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32, start = b * block;
	int len = n - start < block ? static_cast<int>(n - start) : block;
	uint32_t bits = 0;
	float max, least, inverse;

	if (threadIdx.x < 16) {
		bounds[threadIdx.x] = own->bounds4[which][threadIdx.x];
		order[threadIdx.x] = own->order4[which][threadIdx.x];
	}
	__syncthreads();
	if (start >= n)
		return;
	for (int i = lane; i < len; i += 32) {
		uint32_t here = magnitude(plain_load(x, type, start + i));

		bits = here > bits ? here : bits;
	}
	max = __uint_as_float(warp_max(bits));
	least = max < QZ_ABSMAX_MIN ? QZ_ABSMAX_MIN : max;
	inverse = 1.0f / least;
	if (lane == 0)
		absmax[b] = len < block ? least : max;
	for (int i = 2 * lane; i < len; i += 64) {
		float hi = plain_load(x, type, start + i), lo = 0;

		hi = len < block ? hi / least : hi * inverse;
		if (i + 1 < len) {
			lo = plain_load(x, type, start + i + 1);
			lo = len < block ? lo / least : lo * inverse;
		}
		codes[(start + i) / 2] = static_cast<uint8_t>(
		    code4(hi, bounds, order) << 4 | code4(lo, bounds, order));
	}
}

void
qz_cuda_quantize4(struct qz_dev *d, enum qz_dtype type, uint8_t *codes, float *absmax, const void *x,
    enum qz_dtype x_type, int64_t n, int block)
{
	unsigned blocks;

	qz_cuda_op(d, "quantize4", n, block);
	if ((type != QZ_NF4 && type != QZ_FP4) || block < 2 || block > BLOCK_MAX || block % 2) {
		qz_cuda_keep(d, QZ_EUSAGE,
		    "quantize4: type %d in blocks of %d; nf4 or fp4 in even blocks of 2 to %d", type, block,
		    BLOCK_MAX);
		return;
	}
	if (n < 1 || !qz_cuda_plain(d, x_type))
		return;
	blocks = static_cast<unsigned>(ceil_div(ceil_div(n, block), THREADS / 32));
	launch(d, quantize4, dim3(blocks), THREADS, 0, codes, absmax, x, x_type, n, block, cuda_dev(d)->own,
	    type == QZ_FP4);
}

/* Seven halvings of the map, then the nearer neighbour. */
static __device__ uint8_t
search8(const float *map, float x)
{
	int pivot = 127, upper = 255, lower = 0;

	for (int step = 64; step > 0; step /= 2) {
		if (x > map[pivot]) {
			lower = pivot;
			pivot += step;
		} else {
			upper = pivot;
			pivot -= step;
		}
	}
	if (x > map[pivot])
		return static_cast<uint8_t>(x > (map[upper] + map[pivot]) * 0.5f ? upper : pivot);
	return static_cast<uint8_t>(x < (map[lower] + map[pivot]) * 0.5f ? lower : pivot);
}

/* The largest of the threads' values, which are no NaN. */
static __device__ float
block_max(float v)
{
	__shared__ float part[THREADS];

	part[threadIdx.x] = v;
	__syncthreads();
	for (unsigned half = THREADS / 2; half > 0; half /= 2) {
		if (threadIdx.x < half && part[threadIdx.x + half] > part[threadIdx.x])
			part[threadIdx.x] = part[threadIdx.x + half];
		__syncthreads();
	}
	return part[0];
}

static __global__ void
nest(uint8_t *codes, float *nested, const float *absmax, float offset, int64_t n, int block,
    const struct qz_cuda_own *own)
{
	int64_t start = static_cast<int64_t>(blockIdx.x) * block, end = start + block < n ? start + block : n;
	float max = 0, inverse;

	for (int64_t j = start + threadIdx.x; j < end; j += THREADS) {
		float v = absmax[j] - offset, a = v < 0 ? -v : v;

		max = a > max ? a : max;
	}
	max = block_max(max);
	if (threadIdx.x == 0)
		nested[blockIdx.x] = max;
	inverse = 1.0f / max;
	for (int64_t j = start + threadIdx.x; j < end; j += THREADS)
		codes[j] = search8(own->map8, (absmax[j] - offset) * inverse);
}

void
qz_cuda_nest_absmax(struct qz_dev *d, uint8_t *codes, float *nested_absmax, const float *absmax,
    float offset, int64_t n, int block)
{
	qz_cuda_op(d, "nest_absmax", n, block);
	if (block < 1) {
		qz_cuda_keep(d, QZ_EUSAGE, "nest_absmax: blocks of %d", block);
		return;
	}
	if (n > 0)
		launch(d, nest, dim3(static_cast<unsigned>(ceil_div(n, block))), THREADS, 0, codes,
		    nested_absmax, absmax, offset, n, block, cuda_dev(d)->own);
}

static __device__ uint32_t
block_max_bits(uint32_t v)
{
	__shared__ uint32_t part[THREADS / 32];

	v = warp_max(v);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = v;
	__syncthreads();
	v = part[threadIdx.x % (THREADS / 32)];
	return warp_max(v);
}

static __global__ void
quantize8(int8_t *codes, float *absmax, const void *x, enum qz_dtype type, int64_t cols)
{
	int64_t start = static_cast<int64_t>(blockIdx.x) * cols;
	uint32_t bits = 0;
	float max, scale;

	for (int64_t i = threadIdx.x; i < cols; i += THREADS) {
		uint32_t here = magnitude(plain_load(x, type, start + i));

		bits = here > bits ? here : bits;
	}
	max = __uint_as_float(block_max_bits(bits));
	scale = max > 0 ? 127.0f / max : 0;
	if (threadIdx.x == 0)
		absmax[blockIdx.x] = max;
	/* Adding 1.5 * 2^23 leaves the integer, rounded half to even, in the low bits of the sum. */
	for (int64_t i = threadIdx.x; i < cols; i += THREADS)
		codes[start + i] = static_cast<int8_t>(
		    x86_int(plain_load(x, type, start + i) * scale + 12582912.0f - 12582912.0f));
}

void
qz_cuda_quantize8(struct qz_dev *d, int8_t *codes, float *absmax, const void *x, enum qz_dtype x_type,
    int64_t rows, int64_t cols)
{
	qz_cuda_op(d, "quantize8", rows, cols);
	if (rows > 0 && qz_cuda_plain(d, x_type))
		launch(d, quantize8, dim3(static_cast<unsigned>(rows)), THREADS, 0, codes, absmax, x, x_type,
		    cols);
}
