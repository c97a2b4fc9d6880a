/* search8 - the nearest of the 256 values of a dynamic map, as bitsandbytes' CUDA kernels find it
 * (csrc/kernels.cu, dQuantize and quantize_2D): seven halvings, then the nearer neighbour; which way an
 * exact midpoint goes depends on the path.  No comparison with a NaN holds: code 0. */
#ifndef QZ_CPU_SEARCH8_H
#define QZ_CPU_SEARCH8_H

#include "kernels/codes8.h"
#include "kernels/cpu/cpu.h"

static inline uint8_t
search8(const float *map, real x)
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
		return (uint8_t)(x > (map[upper] + map[pivot]) * 0.5f ? upper : pivot);
	return (uint8_t)(x < (map[lower] + map[pivot]) * 0.5f ? lower : pivot);
}

/* search8's code: in float by codes8.h, which gives the same and is faster. */
static inline uint8_t
nearest8(const struct qz_codes8 *c, bool is_signed, real x)
{
#ifdef QZ_ORACLE
	(void)is_signed;
	return search8(c->map, x);
#else
	return (uint8_t)qz_codes8_code(c, is_signed, x);
#endif
}

#endif
