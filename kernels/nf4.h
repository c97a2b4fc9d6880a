/* nf4 - the constants of 4-bit types and of the 8-bit codes of their block constants.
 * Values: bitsandbytes functional.py, get_4bit_type() and create_dynamic_map(); thresholds: the
 * float32 midpoints of neighbouring values, as its CPU backend takes them. */
#ifndef QZ_NF4_H
#define QZ_NF4_H

#include <stdint.h>

#include "libcore/base/dtype.h"

#define QZ_ABSMAX_MIN 1e-38f /* block constants below it count as this when dividing */

/* The values of the 16 codes; the 15 thresholds; the code of each rank (NF4's are sorted).
 * NULL for a type that is neither QZ_NF4 nor QZ_FP4. */
const float *qz_map4(enum qz_dtype type);
const float *qz_bounds4(enum qz_dtype type);
const uint8_t *qz_order4(enum qz_dtype type);

/* The signed and the unsigned dynamic map, 256 values in rising order. */
const float *qz_map8_signed(void);
const float *qz_map8_unsigned(void);

/* The offset of double quantization: the mean of n block constants, summed in float64 in the order
 * of the index, divided, rounded once. 0 for n = 0. */
float qz_absmax_mean(const float *absmax, int64_t n);

#endif
