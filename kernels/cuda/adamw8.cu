/* adamw8: a warp a block of 256 elements, eight of them a thread; the maps lie in shared memory. */
#include "kernels/cuda/adamw.cuh"

ACT_BEGIN

enum { WARPS = 8, EACH = QZ_ADAMW8_BLOCK / 32, HALF = QZ_ADAMW8_BLOCK / 2 };

/* The largest of 32 lanes' numbers, none below 0 and no NaN. */
static __device__ inline float
warp_largest(float v)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	return __uint_as_float(__reduce_max_sync(0xffffffff, __float_as_uint(v)));
#else
	for (int i = 16; i > 0; i /= 2)
		v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, i));
	return v;
#endif
}

/* Codes i .. i + 4 of n; WHOLE: all there, on 4 bytes. */
template <bool WHOLE>
static __device__ inline uint32_t
load_codes(const uint8_t *x, int64_t i, int64_t n)
{
	if constexpr (WHOLE) {
		return *reinterpret_cast<const uint32_t *>(x + i);
	} else {
		uint32_t codes = 0;

		for (int j = 0; j < 4; j++)
			if (i + j < n)
				codes |= static_cast<uint32_t>(x[i + j]) << 8 * j;
		return codes;
	}
}

template <bool WHOLE>
static __device__ inline void
store_codes(uint8_t *y, uint32_t codes, int64_t i, int64_t n)
{
	if constexpr (WHOLE)
		*reinterpret_cast<uint32_t *>(y + i) = codes;
	else
		for (int j = 0; j < 4; j++)
			if (i + j < n)
				y[i + j] = static_cast<uint8_t>(codes >> 8 * j);
}

/* m's code has a value with m's sign, or is the next one on that side. */
static __device__ inline uint32_t
signed_code(const struct qz_codes8 &c, float m, float inverse)
{
	int code = qz_codes8_code(&c, true, m * inverse);

	if ((__float_as_uint(c.map[code]) ^ __float_as_uint(m)) >> 31)
		code += m > 0 ? 1 : -1;
	return static_cast<uint32_t>(code) & 255;
}

struct adamw8 {
	float *p, *absmax_m, *absmax_v;
	uint8_t *m, *v;
	const float *g;
	uint16_t *copy;
	int64_t n;
};

/* What a thread reads of a block: elements i .. i + 4 and i + HALF .. i + HALF + 4. */
struct mine {
	float g[EACH], p[EACH];
	uint32_t m[2], v[2];
};

template <bool WHOLE>
static __device__ inline void
load(struct mine &x, const struct adamw8 &a, int64_t i)
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		load4<WHOLE>(x.g + 4 * h, a.g, i + h * HALF, a.n);
		load4<WHOLE>(x.p + 4 * h, a.p, i + h * HALF, a.n);
		x.m[h] = load_codes<WHOLE>(a.m, i + h * HALF, a.n);
		x.v[h] = load_codes<WHOLE>(a.v, i + h * HALF, a.n);
	}
}

/* m and v after the step into m[], v[]; p moves. */
template <bool WHOLE>
static __device__ inline void
move(struct mine &x, const struct adamw8 &a, const struct adamw_factors &f, const struct qz_codes8 *codes,
    float old_m, float old_v, float m[EACH], float v[EACH], int64_t i)
{
#pragma unroll
	for (int j = 0; j < EACH; j++) {
		float s = x.g[j] * f.scale, to;
		bool moves = s - s == 0 && (WHOLE || i + j / 4 * HALF + j % 4 < a.n);

		m[j] = f.b1 * (codes[0].map[x.m[j / 4] >> 8 * (j % 4) & 255] * old_m) + f.c1 * s;
		v[j] = f.b2 * (codes[1].map[x.v[j / 4] >> 8 * (j % 4) & 255] * old_v) + f.c2 * s * s;
		m[j] = moves ? m[j] : 0;
		v[j] = moves ? v[j] : 0;
		to = (x.p[j] - f.rate8 * (m[j] / (sqrtf(v[j]) + f.eps8))) * f.keep;
		x.p[j] = moves ? to : x.p[j];
	}
}

template <bool WHOLE>
static __device__ inline void
encode(const struct adamw8 &a, const struct qz_codes8 *codes, float inverse_m, float inverse_v,
    const float m[4], const float v[4], int64_t i)
{
	uint32_t cm = 0, cv = 0;

#pragma unroll
	for (int j = 0; j < 4; j++) {
		cm |= signed_code(codes[0], m[j], inverse_m) << 8 * j;
		cv |= static_cast<uint32_t>(qz_codes8_code(&codes[1], false, v[j] * inverse_v)) << 8 * j;
	}
	store_codes<WHOLE>(a.m, cm, i, a.n);
	store_codes<WHOLE>(a.v, cv, i, a.n);
}

static __device__ inline float
largest(const float x[EACH])
{
	float max = 0;

#pragma unroll
	for (int j = 0; j < EACH; j++)
		max = fmaxf(max, fabsf(x[j]));
	return warp_largest(max);
}

template <bool WHOLE>
static __device__ inline void
step_block(const struct adamw8 &a, const struct adamw_factors &f, const struct qz_codes8 *codes, int64_t block,
    int lane)
{
	int64_t i = block * QZ_ADAMW8_BLOCK + 4 * lane;
	float old_m = a.absmax_m[block], old_v = a.absmax_v[block], max_m, max_v;
	float m[EACH], v[EACH];
	struct mine x;

	load<WHOLE>(x, a, i);
	move<WHOLE>(x, a, f, codes, old_m, old_v, m, v, i);
#pragma unroll
	for (int h = 0; h < 2; h++) {
		store4<WHOLE>(a.p, x.p + 4 * h, i + h * HALF, a.n);
		if (a.copy)
			copy4<WHOLE>(a.copy, x.p + 4 * h, i + h * HALF, a.n);
	}
	max_m = largest(m);
	max_v = largest(v);
	if (lane == 0) {
		a.absmax_m[block] = max_m;
		a.absmax_v[block] = max_v;
	}
	encode<WHOLE>(a, codes, 1 / max_m, 1 / max_v, m, v, i);
	encode<WHOLE>(a, codes, 1 / max_m, 1 / max_v, m + 4, v + 4, i + HALF);
}

/* WHOLE: n is a multiple of a block, all on 16 bytes. */
template <bool WHOLE>
static __global__ void __launch_bounds__(32 * WARPS)
update(struct adamw8 a, const struct qz_adamw *args, const double *sum, const struct qz_cuda_own *own)
{
	__shared__ __align__(16) struct qz_codes8 codes[2];
	__shared__ struct adamw_factors f;
	int64_t blocks = (a.n + QZ_ADAMW8_BLOCK - 1) / QZ_ADAMW8_BLOCK;
	int64_t block = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / 32;

	for (unsigned i = threadIdx.x; i < sizeof codes / 16; i += 32 * WARPS)
		reinterpret_cast<uint4 *>(codes)[i] = reinterpret_cast<const uint4 *>(own->codes8)[i];
	if (threadIdx.x == 0)
		f = adamw_factors_of(*args, *sum);
	__syncthreads();
	for (; block < blocks; block += static_cast<int64_t>(gridDim.x) * WARPS)
		step_block<WHOLE>(a, f, codes, block, threadIdx.x % 32);
}

void
qz_cuda_adamw8(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, uint8_t *m,
    uint8_t *v, float *absmax_m, float *absmax_v, const qz_par *g, qz_act *copy, int64_t n)
{
	bool whole = n % QZ_ADAMW8_BLOCK == 0 && aligned(p, 16) && aligned(g, 16) && aligned(m, 4) &&
	    aligned(v, 4) && aligned(copy, 8);
	auto kernel = whole ? update<true> : update<false>;
	struct adamw8 a = {};

	qz_cuda_op(d, "adamw8", n);
	if (n < 1)
		return;
	a.p = static_cast<float *>(p);
	a.m = m;
	a.v = v;
	a.absmax_m = absmax_m;
	a.absmax_v = absmax_v;
	a.g = static_cast<const float *>(g);
	a.copy = static_cast<uint16_t *>(copy);
	a.n = n;
	launch(d, kernel, qz_cuda_grid(d, kernel, 32 * WARPS, ceil_div(n, QZ_ADAMW8_BLOCK * WARPS)), 32 * WARPS, 0,
	    a, args, sum, cuda_dev(d)->own);
}

ACT_END
