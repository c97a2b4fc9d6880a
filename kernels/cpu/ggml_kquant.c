/* The blocks of ggml's types out of what a search found. */
#include <string.h>

#include "kernels/cpu/ggml_quant.h"
#include "kernels/ggml_blocks.h"

/* type is a constant.  searched: of Q3_K with importance: the codes and the scale of each block's scales. */
static inline __attribute__((always_inline)) void
finish(enum qz_dtype type, uint8_t *y, const float *x, const struct found *f, int n, bool weighted,
    const struct found *searched)
{
	int subs = block_subs(type), len = subs == 16 ? 16 : 32;
	struct block b;

	for (int k = 0; k < n; k++, y += qz_dtype(type)->bytes) {
		uint8_t *codes = f->codes + k * subs * len;
		const float *scale = f->scale + k * subs;

		if (searched) {
			memcpy(b.scale, searched->codes + 16 * k, 16);
			scale = searched->scale + k;
		}
		for (int part = 0; part < block_parts(type); part++)
			block_scales(
			    type, weighted, part, &b, scale, f->min + k * subs, f->sum + k * subs);
		for (int j = 0; j < subs; j++, x += len)
			sub_codes(type, &b, j, x, codes + j * len);
		block_pack(type, y, &b, codes, 0, 1);
	}
}

#define FINISH(name, type)                                                                         \
	static void name(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)  \
	{                                                                                          \
		finish(type, y, x, f, n, weighted, NULL);                                          \
	}
FINISH(finish_q4_0, QZ_Q4_0)
FINISH(finish_q4_1, QZ_Q4_1)
FINISH(finish_q5_0, QZ_Q5_0)
FINISH(finish_q5_1, QZ_Q5_1)
FINISH(finish_q2_k, QZ_Q2_K)
FINISH(finish_q4_k, QZ_Q4_K)
FINISH(finish_q5_k, QZ_Q5_K)
FINISH(finish_q6_k, QZ_Q6_K)
FINISH(finish_iq4_nl, QZ_IQ4_NL)
FINISH(finish_iq4_xs, QZ_IQ4_XS)

static void
finish_q3_k(uint8_t *y, const float *x, const struct found *f, int n, bool weighted)
{
	const struct search scales = Q3_K_SCALES;
	uint8_t codes[16 * MOST_SUPER];
	float d[MOST_SUPER], unused[MOST_SUPER];
	struct found outer = { codes, d, unused, unused };

	if (weighted)
		CPU(search)(&scales, f->scale, f->sum, n, &outer);
	finish(QZ_Q3_K, y, x, f, n, weighted, weighted ? &outer : NULL);
}

finish_blocks *
CPU(ggml_finish)(enum qz_dtype type)
{
	static finish_blocks *const table[QZ_DTYPE_END] = {
		[QZ_Q4_0] = finish_q4_0,
		[QZ_Q4_1] = finish_q4_1,
		[QZ_Q5_0] = finish_q5_0,
		[QZ_Q5_1] = finish_q5_1,
		[QZ_Q2_K] = finish_q2_k,
		[QZ_Q3_K] = finish_q3_k,
		[QZ_Q4_K] = finish_q4_k,
		[QZ_Q5_K] = finish_q5_k,
		[QZ_Q6_K] = finish_q6_k,
		[QZ_IQ4_NL] = finish_iq4_nl,
		[QZ_IQ4_XS] = finish_iq4_xs,
	};

	return type < QZ_DTYPE_END ? table[type] : NULL;
}
