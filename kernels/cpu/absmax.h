/* absmax - the largest magnitude of n floats: without their sign, bits order like the values.  A NaN is
 * larger than all, so that it shows. */
#ifndef QZ_CPU_ABSMAX_H
#define QZ_CPU_ABSMAX_H

#include "kernels/cpu/cpu.h"
#include "libcore/base/half.h"

static inline float
absmax(const float *x, int64_t n)
{
	uint32_t max = 0;

	for (int64_t i = 0; i < n; i++) {
		uint32_t u = qz_f32_bits(x[i]) & 0x7fffffff;

		max = u > max ? u : max;
	}
	return qz_f32_from_bits(max);
}

#endif
