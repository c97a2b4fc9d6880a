/* codes4 - the rank of a number of -1..1 among NF4's 15 thresholds (how many are below it) in one lookup.
 * A product and a sum round the number to one of 33 buckets, each with at most one threshold in it.  For C
 * and for CUDA. */
#ifndef QZ_CODES4_H
#define QZ_CODES4_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define QZ_CODES4_FN static __host__ __device__ inline
#else
#define QZ_CODES4_FN static inline
#endif

enum { QZ_CODES4_BUCKETS = 33 };

/* The bucket's threshold, or one that nothing exceeds, and the thresholds below the bucket. */
struct qz_codes4 {
	float above;
	uint32_t rank;
};

/* Bits of a float whose low ones are the bucket: QZ_CODES4_FIRST + 0..32. */
enum { QZ_CODES4_FIRST = 0x4b400000 };

QZ_CODES4_FN uint32_t
qz_codes4_bucket(float v)
{
	float f = fmaf(v, 16.0f, 12582928.0f); /* 1.5 * 2^23 + 16 */
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	return bits;
}

/* Bucket k is what rounds to k/16 - 1; no threshold is so near to a half that rounding could matter. */
static inline void
qz_codes4_fill(struct qz_codes4 c[QZ_CODES4_BUCKETS], const float bounds[15])
{
	for (int k = 0; k < QZ_CODES4_BUCKETS; k++) {
		c[k].above = INFINITY;
		c[k].rank = 0;
		for (int i = 0; i < 15; i++) {
			int at = (int)(qz_codes4_bucket(bounds[i]) - QZ_CODES4_FIRST);

			c[k].rank += at < k;
			if (at == k)
				c[k].above = bounds[i];
		}
	}
}

#endif
