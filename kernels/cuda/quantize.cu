/* quantize4, nest_absmax, quantize8: the bytes of kernels/cpu/nf4.c, nested.c and int8.c, which say where the
 * rules come from.  A warp a block of 4-bit codes, a block of threads a block of constants or a row. */
#include "kernels/cuda/vector.cuh"

extern "C" {
#include "kernels/nf4.h"
}

enum { THREADS = 256, BLOCK_MAX = 4096, AHEAD = 2 /* vectors that a thread reads before it encodes them */ };

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

/* The codes of eight numbers; of each byte the high nibble comes first.  near: a copy of the table for each of
 * 16 lanes, so that none waits for another. */
static __device__ inline uint32_t
codes_of(const float f[VECTOR], float inverse, const struct qz_codes4 *near)
{
	uint32_t first = threadIdx.x % 16 - QZ_CODES4_FIRST * 16u, codes = 0;

#pragma unroll
	for (int j = 0; j < VECTOR; j++) {
		float v = f[j] * inverse;
		struct qz_codes4 c = near[qz_codes4_bucket(v) * 16u + first];

		codes |= (c.rank + (v > c.above)) << (8 * (j / 2) + (j % 2 ? 0 : 4));
	}
	return codes;
}

/* The same where the largest is no finite number, and a number times 1 / it none of -1..1. */
static __device__ uint32_t
codes_of_any(const float f[VECTOR], float inverse, const float *bounds)
{
	uint32_t codes = 0;

	for (int j = 0; j < VECTOR; j++) {
		uint32_t rank = 0;

		for (int i = 0; i < 15; i++)
			rank += f[j] * inverse > bounds[i];
		codes |= rank << (8 * (j / 2) + (j % 2 ? 0 : 4));
	}
	return codes;
}

/* NF4 in whole blocks of LANES times eight numbers, a thread eight of each of AHEAD blocks. */
template <typename X, int LANES>
static __global__ void __launch_bounds__(THREADS)
quantize_nf4(uint32_t *codes, float *absmax, const X *x, int64_t words, const struct qz_cuda_own *own)
{
	__shared__ struct qz_codes4 near[QZ_CODES4_BUCKETS * 16];
	int64_t step = static_cast<int64_t>(gridDim.x) * THREADS * AHEAD;
	int64_t at = static_cast<int64_t>(blockIdx.x) * THREADS * AHEAD + threadIdx.x;

	for (int i = threadIdx.x; i < QZ_CODES4_BUCKETS * 16; i += THREADS)
		near[i] = own->codes4[i / 16];
	__syncthreads();
	for (; at - threadIdx.x < words; at += step) {
		float f[AHEAD][VECTOR];

#pragma unroll
		for (int k = 0; k < AHEAD; k++)
			load8(f[k], x + (at + k * THREADS < words ? at + k * THREADS : words - 1) * VECTOR);
#pragma unroll
		for (int k = 0; k < AHEAD; k++) {
			int64_t i = at + k * THREADS;
			uint32_t bits = 0;
			float max, inverse;

#pragma unroll
			for (int j = 0; j < VECTOR; j++)
				bits = magnitude(f[k][j]) > bits ? magnitude(f[k][j]) : bits;
#pragma unroll
			for (int half = LANES / 2; half > 0; half /= 2) {
				uint32_t other = __shfl_xor_sync(0xffffffff, bits, half);

				bits = other > bits ? other : bits;
			}
			if (i >= words)
				continue;
			max = __uint_as_float(bits);
			inverse = 1.0f / (max < QZ_ABSMAX_MIN ? QZ_ABSMAX_MIN : max);
			if (threadIdx.x % LANES == 0)
				absmax[i / LANES] = max;
			codes[i] = bits < 0x7f800000 ? codes_of(f[k], inverse, near)
						     : codes_of_any(f[k], inverse, own->bounds4[0]);
		}
	}
}

template <typename X, int LANES>
static void
launch_nf4(struct qz_dev *d, uint8_t *codes, float *absmax, const void *x, int64_t n)
{
	auto kernel = quantize_nf4<X, LANES>;

	launch(d, kernel, qz_cuda_grid(d, kernel, THREADS, ceil_div(n, VECTOR * THREADS * AHEAD)), THREADS, 0,
	    static_cast<void *>(codes), absmax, x, n / VECTOR, cuda_dev(d)->own);
}

/* What the fast kernel takes of n numbers: whole blocks, and of the usual sizes. */
static int64_t
quantize_fast(struct qz_dev *d, enum qz_dtype type, uint8_t *codes, float *absmax, const void *x,
    enum qz_dtype x_type, int64_t n, int block)
{
	static const struct {
		enum qz_dtype x_type;
		int block;
		void (*run)(struct qz_dev *d, uint8_t *codes, float *absmax, const void *x, int64_t n);
	} kernels[] = {
		{ QZ_BF16, 32, launch_nf4<uint16_t, 4> },
		{ QZ_BF16, 64, launch_nf4<uint16_t, 8> },
		{ QZ_BF16, 128, launch_nf4<uint16_t, 16> },
		{ QZ_BF16, 256, launch_nf4<uint16_t, 32> },
		{ QZ_F32, 32, launch_nf4<float, 4> },
		{ QZ_F32, 64, launch_nf4<float, 8> },
		{ QZ_F32, 128, launch_nf4<float, 16> },
		{ QZ_F32, 256, launch_nf4<float, 32> },
	};

	if (type != QZ_NF4 || n < block || !aligned(x, 16) || !aligned(codes, 4))
		return 0;
	n -= n % block;
	for (const auto &k : kernels)
		if (k.x_type == x_type && k.block == block) {
			k.run(d, codes, absmax, x, n);
			return n;
		}
	return 0;
}

void
qz_cuda_quantize4(struct qz_dev *d, enum qz_dtype type, uint8_t *codes, float *absmax, const void *x,
    enum qz_dtype x_type, int64_t n, int block)
{
	unsigned blocks;
	int64_t done;

	qz_cuda_op(d, "quantize4", n, block);
	if ((type != QZ_NF4 && type != QZ_FP4) || block < 2 || block > BLOCK_MAX || block % 2) {
		qz_cuda_keep(d, QZ_EUSAGE,
		    "quantize4: type %d in blocks of %d; nf4 or fp4 in even blocks of 2 to %d", type, block,
		    BLOCK_MAX);
		return;
	}
	if (n < 1 || !qz_cuda_plain(d, x_type))
		return;
	done = quantize_fast(d, type, codes, absmax, x, x_type, n, block);
	if (done == n)
		return;
	x = static_cast<const char *>(x) + done * static_cast<int64_t>(qz_dtype(x_type)->bytes);
	blocks = static_cast<unsigned>(ceil_div(ceil_div(n - done, block), THREADS / 32));
	launch(d, quantize4, dim3(blocks), THREADS, 0, codes + done / 2, absmax + done / block, x, x_type,
	    n - done, block, cuda_dev(d)->own, type == QZ_FP4);
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
