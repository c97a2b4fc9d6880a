/* The table of types: names, sizes of ggml's blocks (ggml-common.h), and what does not fit. */
#include "tests/unit/tap.h"
#include "libcore/base/dtype.h"

int
main(void)
{
	static const struct {
		const char *name;
		unsigned block, bytes;
		int ggml;
	} rows[] = {
		{ "f32", 1, 4, 0 },
		{ "f16", 1, 2, 1 },
		{ "bf16", 1, 2, 30 },
		{ "f64", 1, 8, 28 },
		{ "q4_0", 32, 18, 2 },
		{ "q4_1", 32, 20, 3 },
		{ "q5_0", 32, 22, 6 },
		{ "q5_1", 32, 24, 7 },
		{ "q8_0", 32, 34, 8 },
		{ "q2_k", 256, 84, 10 },
		{ "q3_k", 256, 110, 11 },
		{ "q4_k", 256, 144, 12 },
		{ "q5_k", 256, 176, 13 },
		{ "q6_k", 256, 210, 14 },
		{ "iq4_nl", 32, 18, 20 },
		{ "iq4_xs", 256, 136, 23 },
	};
	uint64_t n;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum qz_dtype type = qz_dtype_by_name(rows[i].name);
		const struct qz_dtype_info *t = qz_dtype(type);

		ok(t && t->block == rows[i].block && t->bytes == rows[i].bytes &&
			t->ggml == rows[i].ggml && qz_dtype_by_ggml((uint32_t)rows[i].ggml) == type,
		    "%s", rows[i].name);
		if (!t)
			continue;
		ok(!qz_dtype_nbytes(type, 3 * t->block, &n) && n == 3 * t->bytes,
		    "%s: three blocks", t->name);
		ok(t->block == 1 || qz_dtype_nbytes(type, t->block + 1, &n),
		    "%s: no part of a block", t->name);
	}
	ok(!qz_dtype_nbytes(QZ_NF4, 65, &n) && n == 33, "nf4: a last nibble takes a byte");
	ok(!qz_dtype_nbytes(QZ_INT8, 65, &n) && n == 65, "int8");
	ok(qz_dtype_nbytes(QZ_F32, UINT64_MAX / 2, &n), "a size beyond 64 bits");
	ok(!qz_dtype(0) && !qz_dtype(7) && !qz_dtype(QZ_DTYPE_END) && !qz_dtype(~0u),
	    "numbers that are no type");
	ok(qz_dtype_by_name("nf5") == 0 && qz_dtype_by_st("Q4") == 0 && qz_dtype_by_ggml(999) == 0,
	    "names that are no type");
	ok(qz_dtype_by_st("BF16") == QZ_BF16, "BF16");
	return done();
}
