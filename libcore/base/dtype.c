#include "libcore/base/dtype.h"

#include <stddef.h>
#include <string.h>

#include "libcore/base/size.h"

/* ggml numbers and block sizes: ggml.h, enum ggml_type, and ggml-common.h of ggml d99724f. */
static const struct qz_dtype_info table[QZ_DTYPE_END] = {
	/* name, safetensors, ggml, ftype, block, bytes, plain, scaled */
	[QZ_F32] = { "f32", "F32", 0, 0, 1, 4, true, false },
	[QZ_F16] = { "f16", "F16", 1, 1, 1, 2, true, false },
	[QZ_BF16] = { "bf16", "BF16", 30, 32, 1, 2, true, false },
	[QZ_F64] = { "f64", "F64", 28, -1, 1, 8, true, false },
	[QZ_U8] = { "u8", "U8", -1, -1, 1, 1, false, false },
	[QZ_I32] = { "i32", "I32", 26, -1, 1, 4, false, false },
	[QZ_U64] = { "u64", "U64", -1, -1, 1, 8, false, false },
	[QZ_NF4] = { "nf4", NULL, -1, -1, 2, 1, false, true },
	[QZ_FP4] = { "fp4", NULL, -1, -1, 2, 1, false, true },
	[QZ_INT8] = { "int8", NULL, -1, -1, 1, 1, false, true },
	[QZ_Q4_0] = { "q4_0", NULL, 2, 2, 32, 18, false, false },
	[QZ_Q4_1] = { "q4_1", NULL, 3, 3, 32, 20, false, false },
	[QZ_Q5_0] = { "q5_0", NULL, 6, 8, 32, 22, false, false },
	[QZ_Q5_1] = { "q5_1", NULL, 7, 9, 32, 24, false, false },
	[QZ_Q8_0] = { "q8_0", NULL, 8, 7, 32, 34, false, false },
	[QZ_Q2_K] = { "q2_k", NULL, 10, 10, 256, 84, false, false },
	[QZ_Q3_K] = { "q3_k", NULL, 11, 12, 256, 110, false, false },
	[QZ_Q4_K] = { "q4_k", NULL, 12, 15, 256, 144, false, false },
	[QZ_Q5_K] = { "q5_k", NULL, 13, 17, 256, 176, false, false },
	[QZ_Q6_K] = { "q6_k", NULL, 14, 18, 256, 210, false, false },
	[QZ_IQ4_NL] = { "iq4_nl", NULL, 20, 25, 32, 18, false, false },
	[QZ_IQ4_XS] = { "iq4_xs", NULL, 23, 30, 256, 136, false, false },
};

const struct qz_dtype_info *
qz_dtype(unsigned type)
{
	return type < QZ_DTYPE_END && table[type].name ? &table[type] : NULL;
}

enum qz_dtype
qz_dtype_by_name(const char *name)
{
	for (unsigned i = 0; i < QZ_DTYPE_END; i++)
		if (table[i].name && !strcmp(table[i].name, name))
			return (enum qz_dtype)i;
	return 0;
}

enum qz_dtype
qz_dtype_by_st(const char *name)
{
	for (unsigned i = 0; i < QZ_DTYPE_END; i++)
		if (table[i].st && !strcmp(table[i].st, name))
			return (enum qz_dtype)i;
	return 0;
}

enum qz_dtype
qz_dtype_by_ggml(uint32_t ggml)
{
	for (unsigned i = 0; i < QZ_DTYPE_END; i++)
		if (table[i].name && table[i].ggml >= 0 && (uint32_t)table[i].ggml == ggml)
			return (enum qz_dtype)i;
	return 0;
}

bool
qz_dtype_nbytes(enum qz_dtype type, uint64_t n, uint64_t *nbytes)
{
	const struct qz_dtype_info *t = qz_dtype(type);

	if (!t || (!t->scaled && n % t->block))
		return true;
	return qz_mul_over(qz_ceil_div(n, t->block), t->bytes, nbytes);
}
