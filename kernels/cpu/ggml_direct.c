/* ggml blocks without a search for scales, to llama-quantize's bytes on x86-64. */
#include "kernels/cpu/ggml_quant.h"
#include "kernels/ggml_blocks.h"

#define QUANTIZE(name, type)                                                                       \
	static void name(uint8_t *y, const float *x)                                               \
	{                                                                                          \
		struct block b;                                                                    \
		uint8_t q[32];                                                                     \
                                                                                                   \
		direct_codes(type, &b, q, x);                                                      \
		block_pack(type, y, &b, q, 0, 1);                                                  \
	}
QUANTIZE(q4_0, QZ_Q4_0)
QUANTIZE(q4_1, QZ_Q4_1)
QUANTIZE(q5_0, QZ_Q5_0)
QUANTIZE(q5_1, QZ_Q5_1)
QUANTIZE(q8_0, QZ_Q8_0)

quantize_block *
CPU(ggml_direct)(enum qz_dtype type)
{
	static quantize_block *const table[QZ_DTYPE_END] = {
		[QZ_Q4_0] = q4_0,
		[QZ_Q4_1] = q4_1,
		[QZ_Q5_0] = q5_0,
		[QZ_Q5_1] = q5_1,
		[QZ_Q8_0] = q8_0,
	};

	return type < QZ_DTYPE_END ? table[type] : NULL;
}
