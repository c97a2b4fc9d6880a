/* vec - one register of reals, as wide as the variant's, for the few loops that the compiler does not
 * find by itself.  fma() is one rounding where the processor has it (avx2 and up), two in base and in the
 * oracle: a variant's own bits, for ops that are not exact. */
#ifndef QZ_CPU_VEC_H
#define QZ_CPU_VEC_H

#include "kernels/cpu/cpu.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#if defined QZ_ORACLE || !defined __AVX2__
#define VEC_BYTES 16
#elif !defined __AVX512F__
#define VEC_BYTES 32
#else
#define VEC_BYTES 64
#endif

enum { VL = VEC_BYTES / sizeof(real) };

typedef real vec __attribute__((vector_size(VEC_BYTES), may_alias));
typedef real loose_vec __attribute__((vector_size(VEC_BYTES), may_alias, aligned(sizeof(real))));

static inline vec
load(const real *p)
{
	return *(const loose_vec *)p;
}

static inline void
store(real *p, vec v)
{
	*(loose_vec *)p = v;
}

static inline vec
spread(real x)
{
	return x - (vec){ 0 };
}

/* a * b + c */
static inline vec
fma_vec(vec a, vec b, vec c)
{
#if VEC_BYTES == 64
	return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VEC_BYTES == 32
	return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
	return a * b + c;
#endif
}

#endif
