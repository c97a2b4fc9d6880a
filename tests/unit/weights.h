/* weights - a random matrix in any storage type, made with the device's own exact ops. */
#ifndef QZ_TEST_WEIGHTS_H
#define QZ_TEST_WEIGHTS_H

#include "tests/unit/ops.h"
#include "kernels/nf4.h"

__attribute__((unused)) static struct qz_mat
weight(
    struct qz_dev *d, struct out *o, enum qz_dtype type, int64_t rows, int64_t cols, double scale)
{
	const struct qz_backend *k = d->k;
	const struct qz_dtype_info *t = qz_dtype(type);
	int64_t n = rows * cols, blocks = (n + 63) / 64;
	float *x = floats(o, 77, n, scale), *absmax = keep(o, need((size_t)(blocks + rows) * 4));
	uint8_t *data = keep(o, need((size_t)n * 8)), *absmax8 = keep(o, need((size_t)blocks));
	float *nested = keep(o, need((size_t)(blocks / 256 + 1) * 4));
	struct qz_mat w = { .type = type, .rows = rows, .cols = cols, .data = data };

	if (t->plain) {
		k->cast(d, data, type, x, QZ_F32, n);
	} else if (type == QZ_INT8) {
		k->quantize8(d, (int8_t *)data, absmax, x, QZ_F32, rows, cols);
		w.absmax = absmax;
	} else if (t->scaled) {
		k->quantize4(d, type, data, absmax, x, QZ_F32, n, 64);
		w.block = 64;
		w.absmax = absmax;
		w.map = qz_map4(type);
		if (type == QZ_NF4) { /* FP4 stays single, so that both ways are read */
			w.offset = qz_absmax_mean(absmax, blocks);
			k->nest_absmax(d, absmax8, nested, absmax, w.offset, blocks, 256);
			w.nested_block = 256;
			w.absmax = absmax8;
			w.nested_absmax = nested;
			w.nested_map = qz_map8_signed();
		}
	} else {
		k->quantize_ggml(d, type, data, x, rows, cols, NULL);
	}
	return w;
}

#endif
