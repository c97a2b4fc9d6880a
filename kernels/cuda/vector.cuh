/* vector - activations: one, and eight at a time, 16 bytes of memory.  Rounded by the GPU's own instruction
 * where it has one: the bits of bf16_round() and f16_round() but for NaNs, which all become one.  What float16
 * does not hold becomes infinite. */
#ifndef QZ_CUDA_VECTOR_CUH
#define QZ_CUDA_VECTOR_CUH

#include "kernels/cuda/plain.cuh"

enum { VECTOR = 8 };

static __device__ inline float
f16_widen(uint16_t h)
{
	float f;

	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

static __device__ inline uint16_t
f16_narrow(float f)
{
	uint16_t h;

	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

static __device__ inline uint32_t
f16_pack2(float lo, float hi)
{
	return f16_narrow(lo) | static_cast<uint32_t>(f16_narrow(hi)) << 16;
}

static __device__ inline uint32_t
bf16_pack2(float lo, float hi)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	uint32_t u;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(hi), "f"(lo));
	return u;
#else
	return bf16_round(lo) | static_cast<uint32_t>(bf16_round(hi)) << 16;
#endif
}

#ifdef QZ_CUDA_F16
#define act_load f16_widen
#define act_round f16_narrow
#define pack2 f16_pack2
#else
#define act_load bf16_load
#define act_round bf16_round
#define pack2 bf16_pack2
#endif

static __device__ inline void
unpack8(float f[VECTOR], uint4 u)
{
	uint32_t w[4] = { u.x, u.y, u.z, u.w };

#pragma unroll
	for (int i = 0; i < 4; i++) {
		f[2 * i] = act_load(static_cast<uint16_t>(w[i]));
		f[2 * i + 1] = act_load(static_cast<uint16_t>(w[i] >> 16));
	}
}

/* p on a multiple of 16 bytes. */
static __device__ inline void
load8(float f[VECTOR], const uint16_t *p)
{
	unpack8(f, *reinterpret_cast<const uint4 *>(p));
}

/* Eight float32 numbers, on a multiple of 16 bytes. */
static __device__ inline void
load8(float f[VECTOR], const float *x)
{
	float4 a = reinterpret_cast<const float4 *>(x)[0], b = reinterpret_cast<const float4 *>(x)[1];

	f[0] = a.x;
	f[1] = a.y;
	f[2] = a.z;
	f[3] = a.w;
	f[4] = b.x;
	f[5] = b.y;
	f[6] = b.z;
	f[7] = b.w;
}

/* a += b */
static __device__ inline void
add_to(float4 *a, float4 b)
{
	a->x += b.x;
	a->y += b.y;
	a->z += b.z;
	a->w += b.w;
}

/* Sum of n times four numbers `step` floats apart, in order; x and step on 16 bytes. */
static __device__ inline float4
sum4(const float *x, int64_t step, int n)
{
	float4 sum = make_float4(0, 0, 0, 0);

#pragma unroll 4
	for (int i = 0; i < n; i++)
		add_to(&sum, *reinterpret_cast<const float4 *>(x + i * step));
	return sum;
}

/* Four numbers times scale, p on 8 bytes. */
static __device__ inline void
store4(uint16_t *p, float4 f, float scale)
{
	*reinterpret_cast<uint2 *>(p) = make_uint2(pack2(scale * f.x, scale * f.y), pack2(scale * f.z, scale * f.w));
}

/* And added to four numbers `step` apart. */
static __device__ inline void
add4(float *y, int64_t step, float4 f, float scale)
{
	y[0] += scale * f.x;
	y[step] += scale * f.y;
	y[2 * step] += scale * f.z;
	y[3 * step] += scale * f.w;
}

static __device__ inline uint4
pack8(const float f[VECTOR])
{
	return make_uint4(pack2(f[0], f[1]), pack2(f[2], f[3]), pack2(f[4], f[5]), pack2(f[6], f[7]));
}

static __device__ inline void
store8(uint16_t *p, const float f[VECTOR])
{
	*reinterpret_cast<uint4 *>(p) = pack8(f);
}

/* Up to 8 of them, n < 8 at an end. */
static __device__ inline void
load_some(float f[VECTOR], const uint16_t *p, int n)
{
#pragma unroll
	for (int i = 0; i < VECTOR; i++)
		f[i] = i < n ? act_load(p[i]) : 0;
}

static __device__ inline void
store_some(uint16_t *p, const float f[VECTOR], int n)
{
#pragma unroll
	for (int i = 0; i < VECTOR; i++)
		if (i < n)
			p[i] = act_round(f[i]);
}

/* Elements i .. i + 8 of an array of n, vector: on 16 bytes. */
static __device__ inline void
load_at(float f[VECTOR], const uint16_t *x, int64_t i, int64_t n, bool vector)
{
	if (vector && i + VECTOR <= n)
		load8(f, x + i);
	else
		load_some(f, x + i, n - i < VECTOR ? static_cast<int>(n - i) : VECTOR);
}

static __device__ inline void
store_at(uint16_t *y, const float f[VECTOR], int64_t i, int64_t n, bool vector)
{
	if (vector && i + VECTOR <= n)
		store8(y + i, f);
	else
		store_some(y + i, f, n - i < VECTOR ? static_cast<int>(n - i) : VECTOR);
}

#endif
