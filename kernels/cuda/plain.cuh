/* plain - elements of plain types to and from float on the device, bit for bit as libcore/base/half.h:
 * round to nearest even, a NaN keeps its sign and upper bits. */
#ifndef QZ_CUDA_PLAIN_CUH
#define QZ_CUDA_PLAIN_CUH

#include "kernels/cuda/cuda.cuh"

static __device__ inline float
bf16_load(uint16_t h)
{
	return __uint_as_float(static_cast<uint32_t>(h) << 16);
}

static __device__ inline uint16_t
bf16_round(float f)
{
	uint32_t u = __float_as_uint(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return static_cast<uint16_t>((u >> 16) | 0x40);
	return static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static __device__ inline float
f16_load(uint16_t h)
{
	uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, rest = h & 0x7fff;

	if (rest >= 0x7c00)
		return __uint_as_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
	if (rest < 0x400)
		return __uint_as_float(sign | __float_as_uint(static_cast<float>(rest) * 0x1p-24f));
	return __uint_as_float(sign | ((rest << 13) + (112u << 23)));
}

static __device__ inline uint16_t
f16_round(float f)
{
	uint32_t u = __float_as_uint(f), sign = (u >> 16) & 0x8000, a = u & 0x7fffffff;

	if (a > 0x7f800000)
		return static_cast<uint16_t>(sign | 0x7e00 | ((a >> 13) & 0x3ff));
	if (a >= 0x477ff000)
		return static_cast<uint16_t>(sign | 0x7c00);
	if (a < 0x38800000)
		return static_cast<uint16_t>(
		    sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000));
	a += 0xc8000fff + ((a >> 13) & 1);
	return static_cast<uint16_t>(sign | a >> 13);
}

/* The GPU's own conversions make one NaN of all; these keep what x86-64 keeps. */
static __device__ inline float
f64_round(double d)
{
	uint64_t u = static_cast<uint64_t>(__double_as_longlong(d));

	if ((u & 0x7fffffffffffffff) <= 0x7ff0000000000000)
		return __double2float_rn(d);
	return __uint_as_float(static_cast<uint32_t>(u >> 32 & 0x80000000) | 0x7fc00000 |
	    static_cast<uint32_t>(u >> 29 & 0x7fffff));
}

static __device__ inline double
f64_load(float f)
{
	uint64_t u = __float_as_uint(f);

	if ((u & 0x7fffffff) <= 0x7f800000)
		return static_cast<double>(f);
	return __longlong_as_double(static_cast<long long>(
	    (u & 0x80000000) << 32 | 0x7ff8000000000000 | (u & 0x7fffff) << 29));
}

static __device__ inline float
plain_load(const void *x, enum qz_dtype type, int64_t i)
{
	if (type == QZ_F32)
		return static_cast<const float *>(x)[i];
	if (type == QZ_BF16)
		return bf16_load(static_cast<const uint16_t *>(x)[i]);
	if (type == QZ_F16)
		return f16_load(static_cast<const uint16_t *>(x)[i]);
	return f64_round(static_cast<const double *>(x)[i]);
}

static __device__ inline void
plain_store(void *y, enum qz_dtype type, int64_t i, float v)
{
	if (type == QZ_F32)
		static_cast<float *>(y)[i] = v;
	else if (type == QZ_BF16)
		static_cast<uint16_t *>(y)[i] = bf16_round(v);
	else if (type == QZ_F16)
		static_cast<uint16_t *>(y)[i] = f16_round(v);
	else
		static_cast<double *>(y)[i] = f64_load(v);
}

/* As x86-64 converts, which the exact ops follow: what no int holds becomes the lowest one. */
static __device__ inline int
x86_int(float f)
{
	return f >= -2147483648.0f && f < 2147483648.0f ? static_cast<int>(f) : -2147483647 - 1;
}

#endif
