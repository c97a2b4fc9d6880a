/* codes8 - the nearest value of a dynamic map of 256, by the rule of kernels/cpu/search8.h, in two lookups.
 *
 * The rule counts: code k gives way to k + 1 above the midpoint of their values, and for an odd k on it
 * already.  So above[k] is the midpoint, or for an odd k the float below it.  A number's upper bits choose a
 * bucket with at most one of these places in it: first[] has the code of the bucket's low end, and one
 * comparison is left.  Numbers are at most 1 in magnitude; with the unsigned map they are not negative.
 * For C and for CUDA; `is_signed` says which map, and is a constant wherever speed matters. */
#ifndef QZ_CODES8_H
#define QZ_CODES8_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define QZ_CODES8_FN static __host__ __device__ inline
#else
#define QZ_CODES8_FN static inline
#endif

enum {
	QZ_CODES8_LEAST = 0x34000000, /* buckets go from 2^-23, below the place next to 0, ... */
	QZ_CODES8_ONE = 0x3f800000,   /* ... to 1 */
	QZ_CODES8_SHIFT = 16,         /* 128 an octave; of the signed map 64, for either sign */
	QZ_CODES8_ROOM = 2960
};

struct qz_codes8 {
	float map[256], above[256];
	uint8_t first[QZ_CODES8_ROOM];
};

/* Buckets of one sign. */
QZ_CODES8_FN int
qz_codes8_buckets(bool is_signed)
{
	return ((QZ_CODES8_ONE - QZ_CODES8_LEAST) >> (QZ_CODES8_SHIFT + is_signed)) + 1;
}

QZ_CODES8_FN int
qz_codes8_bucket(bool is_signed, uint32_t bits)
{
	int shift = QZ_CODES8_SHIFT + is_signed, n = qz_codes8_buckets(is_signed);
	int b = (int)((bits & 0x7fffffff) >> shift) - (QZ_CODES8_LEAST >> shift);

	b = b < 0 ? 0 : b < n ? b : n - 1;
	return is_signed && bits >> 31 ? n + b : b;
}

/* Code 0 of a NaN. */
QZ_CODES8_FN int
qz_codes8_code(const struct qz_codes8 *c, bool is_signed, float x)
{
	uint32_t bits;
	int code;

	memcpy(&bits, &x, sizeof bits);
	code = c->first[qz_codes8_bucket(is_signed, bits)];
	code += x > c->above[code];
	return x == x ? code : 0;
}

/* map: in rising order. */
static inline void
qz_codes8_fill(struct qz_codes8 *c, bool is_signed, const float *map)
{
	int shift = QZ_CODES8_SHIFT + is_signed, n = qz_codes8_buckets(is_signed), code = 0;

	memcpy(c->map, map, sizeof c->map);
	for (int k = 0; k < 255; k++) {
		float middle = (map[k] + map[k + 1]) * 0.5f;

		c->above[k] = k % 2 ? nextafterf(middle, -INFINITY) : middle;
	}
	c->above[255] = INFINITY;
	/* Numbers rise: negative buckets from the last to the first, then the others. */
	for (int i = is_signed ? -n : 0; i < n; i++) {
		int b = i < 0 ? -1 - i : i;
		uint32_t at = (uint32_t)(b + (QZ_CODES8_LEAST >> shift)) << shift;
		uint32_t low = i < 0 ? (at + (1u << shift) - 1) | 0x80000000 : b ? at : 0;
		float x;

		memcpy(&x, &low, sizeof x);
		while (code < 255 && x > c->above[code])
			code++;
		c->first[i < 0 ? n + b : b] = (uint8_t)code;
	}
}

#endif
