/* ggml_quant - what the files of quantize_ggml share.
 *
 * Most types go in three steps over a stretch of a row: CPU(search) finds a scale for each sub-block, the
 * type's finish function turns those into the few bits that a block has for them, computes the codes again
 * with the scales as they will be read back, and packs. */
#ifndef QZ_CPU_GGML_QUANT_H
#define QZ_CPU_GGML_QUANT_H

#include "kernels/cpu/ggml_search.h"

/* n blocks to y from the x that f was found for.  weighted: there is an importance matrix. */
typedef void finish_blocks(uint8_t *y, const float *x, const struct found *f, int n, bool weighted);

finish_blocks CPU(finish_q4_0), CPU(finish_q4_1), CPU(finish_q5_0), CPU(finish_q5_1);
finish_blocks CPU(finish_q2_k), CPU(finish_q3_k), CPU(finish_q4_k), CPU(finish_q5_k),
    CPU(finish_q6_k);
finish_blocks CPU(finish_iq4_nl), CPU(finish_iq4_xs);

/* One block of 32 without a search. */
typedef void quantize_block(uint8_t *y, const float *x);
/* For the types that need none when all columns weigh the same; NULL for others. */
quantize_block *CPU(ggml_direct)(enum qz_dtype type);

/* Nibbles: low element j, high element j + 16. */
static inline void
put_nibbles(uint8_t *y, const uint8_t *q)
{
	for (int j = 0; j < 16; j++)
		y[j] = (uint8_t)((q[j] & 15) | q[j + 16] << 4);
}

/* The fifth bits of 32 codes. */
static inline void
put_fifth_bits(uint8_t *y, const uint8_t *q)
{
	for (int k = 0; k < 4; k++) {
		unsigned bits = 0;

		for (int j = 0; j < 8; j++)
			bits |= (unsigned)(q[8 * k + j] >> 4 & 1) << j;
		y[k] = (uint8_t)bits;
	}
}

#endif
