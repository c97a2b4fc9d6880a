/* ggml_quant - what the files of quantize_ggml share.
 *
 * Most types go in two steps over a stretch of a row: CPU(search) finds a scale for each sub-block, the type's
 * finish function makes blocks of them (kernels/ggml_blocks.h).
 *
 * CPU(search) is there twice: the oracle's (ggml_plain.c) is the definition, kernels/ggml_one.h; the
 * other variants have ggml_lanes.c. */
#ifndef QZ_CPU_GGML_QUANT_H
#define QZ_CPU_GGML_QUANT_H

#include "kernels/cpu/cpu.h"
#include "kernels/ggml_search.h"

/* Arrays of the caller's, for n sub-blocks. */
struct found {
	uint8_t *codes;           /* (n, len) */
	float *scale, *min, *sum; /* (n): struct scales (ggml_one.h) */
};

/* x, w (n, len); w only when the weight is BY_GIVEN. */
void CPU(search)(const struct search *s, const float *x, const float *w, int n, struct found *f);

/* Blocks of 256 that are finished at a time, at most. */
enum { MOST_SUPER = 16 };
/* n blocks to y from the x that f was found for.  weighted: there is an importance matrix. */
typedef void finish_blocks(uint8_t *y, const float *x, const struct found *f, int n, bool weighted);
/* NULL where a type has none. */
finish_blocks *CPU(ggml_finish)(enum qz_dtype type);

/* One block of 32 without a search. */
typedef void quantize_block(uint8_t *y, const float *x);
/* For the types that need none when all columns weigh the same; NULL for others. */
quantize_block *CPU(ggml_direct)(enum qz_dtype type);

#endif
