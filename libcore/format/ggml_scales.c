#include "libcore/format/ggml_scales.h"

#include "libcore/base/le.h"

/* Where a block has its float16 numbers; one that has only d has it twice. */
static const struct {
	uint8_t d, min;
} table[QZ_DTYPE_END] = {
	[QZ_Q4_0] = { 0, 0 },
	[QZ_Q4_1] = { 0, 2 },
	[QZ_Q5_0] = { 0, 0 },
	[QZ_Q5_1] = { 0, 2 },
	[QZ_Q8_0] = { 0, 0 },
	[QZ_Q2_K] = { 80, 82 },
	[QZ_Q3_K] = { 108, 108 },
	[QZ_Q4_K] = { 0, 2 },
	[QZ_Q5_K] = { 0, 2 },
	[QZ_Q6_K] = { 208, 208 },
	[QZ_IQ4_NL] = { 0, 0 },
	[QZ_IQ4_XS] = { 0, 0 },
};

static bool
is_bad(const uint8_t *half)
{
	return (le16_get(half) & 0x7c00) == 0x7c00;
}

int64_t
qz_ggml_bad_block(enum qz_dtype type, const void *blocks, uint64_t n)
{
	const struct qz_dtype_info *t = qz_dtype((unsigned)type);
	const uint8_t *y = blocks;

	if (!t || t->block == 1 || t->scaled)
		return -1;
	for (uint64_t i = 0; i < n; i++, y += t->bytes)
		if (is_bad(y + table[type].d) || is_bad(y + table[type].min))
			return (int64_t)i;
	return -1;
}
