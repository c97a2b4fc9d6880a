/* half - float16 and bfloat16 to and from float32, round to nearest even, as IEEE 754 says.
 * NaN stays NaN (quiet), infinities stay, float16 overflow becomes infinity.  For C and for CUDA. */
#ifndef QZ_HALF_H
#define QZ_HALF_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define QZ_HALF_FN static __host__ __device__ inline
#else
#define QZ_HALF_FN static inline
#endif

QZ_HALF_FN float
qz_f32_from_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, 4);
	return f;
}

QZ_HALF_FN uint32_t
qz_f32_bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, 4);
	return u;
}

QZ_HALF_FN float
qz_bf16_to_f32(uint16_t h)
{
	return qz_f32_from_bits((uint32_t)h << 16);
}

QZ_HALF_FN uint16_t
qz_f32_to_bf16(float f)
{
	uint32_t u = qz_f32_bits(f);
	uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
	uint32_t nan = (u >> 16) | 0x40;

	return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

QZ_HALF_FN float
qz_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
	float sub = (float)rest * 0x1p-24f;          /* subnormals and zero */
	uint32_t bits = (rest << 13) + (112u << 23); /* normals */

	if (rest >= 0x7c00)
		bits = 0x7f800000 | (rest & 0x3ff) << 13;
	return qz_f32_from_bits(sign | (rest < 0x400 ? qz_f32_bits(sub) : bits));
}

QZ_HALF_FN uint16_t
qz_f32_to_f16(float f)
{
	uint32_t u = qz_f32_bits(f), sign = (u >> 16) & 0x8000, a = u & 0x7fffffff;

	if (a > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | ((a >> 13) & 0x3ff));
	if (a >= 0x477ff000) /* 65520 and above */
		return (uint16_t)(sign | 0x7c00);
	if (a <
	    0x38800000) { /* below 2^-14: adding 0.5 leaves the rounded subnormal in the low bits */
		float v = qz_f32_from_bits(a) + 0.5f;
		return (uint16_t)(sign | (qz_f32_bits(v) - 0x3f000000));
	}
	a += 0xc8000fff + ((a >> 13) & 1); /* -112 << 23, then half an ulp */
	return (uint16_t)(sign | a >> 13);
}

#endif
