/* rng - Philox4x32, a counter-based generator: the number at (seed, stream, index) is a pure
 * function of the three, so that order and thread count cannot matter.  Ten rounds, the authors' default; seven are the
 * fewest that pass all tests of BigCrush (their table 2).
 * Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. */
#ifndef QZ_RNG_H
#define QZ_RNG_H

#include <stdint.h>

/* Four 32-bit words for the 128-bit counter (stream, index) under the key seed, after so many rounds. */
static inline void
qz_philox_rounds(uint64_t seed, uint64_t stream, uint64_t index, int rounds, uint32_t out[4])
{
	uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
	uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

	for (int i = 0; i < rounds; i++) {
		uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;
		uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;

		c0 = n0;
		c1 = (uint32_t)p1;
		c2 = n2;
		c3 = (uint32_t)p0;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

static inline void
qz_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
	qz_philox_rounds(seed, stream, index, 10, out);
}

/* A float in [0, 1) with 24 random bits. */
static inline float
qz_unit(uint32_t word)
{
	return (float)(word >> 8) * 0x1p-24f;
}

#endif
