/* dequantize: every way a weight is stored, back to numbers.  The value is computed in float32 as
 * the type's definition says (struct qz_mat; ggml.c for its block types) and rounded once. */
#include <string.h>

#include "kernels/cpu/book.h"
#include "kernels/cpu/cpu.h"

bool
CPU(can_decode)(struct qz_dev *d, const struct qz_mat *w, const char *op)
{
	const struct qz_dtype_info *t = qz_dtype(w->type);

	if (t && (t->plain || (t->scaled && w->type == QZ_INT8)))
		return true;
	if (t && t->scaled && w->block > 0)
		return true;
	if (t && !t->scaled && CPU(ggml_decoder)(w->type) && w->cols % t->block == 0)
		return true;
	CPU(fail)
	(d, QZ_EDATA, "%s: cannot read type %s in rows of %lld", op, t ? t->name : "?",
	    (long long)w->cols);
	return false;
}

static float
block_constant(const struct qz_mat *w, int64_t block)
{
	if (!w->nested_block)
		return ((const float *)w->absmax)[block];
	return w->nested_map[((const uint8_t *)w->absmax)[block]] *
		   w->nested_absmax[block / w->nested_block] +
	       w->offset;
}

static void
decode4(float *y, const struct qz_mat *w, int64_t i, int64_t n)
{
	const uint8_t *codes = w->data;
	struct book book;
	int64_t end = i + n;

	book_load(&book, w->map);
	while (i < end) {
		int64_t block = i / w->block, stop = min64(end, (block + 1) * w->block), bytes;
		float c = block_constant(w, block);

		if (i % 2)
			*y++ = w->map[codes[i++ / 2] & 15] * c;
		bytes = (stop - i) / 2;
		book_values(y, codes + i / 2, bytes, &book, c);
		y += 2 * bytes;
		i += 2 * bytes;
		if (i < stop)
			*y++ = w->map[codes[i++ / 2] >> 4] * c;
	}
}

static void
decode8(float *y, const struct qz_mat *w, int64_t i, int64_t n)
{
	const int8_t *codes = w->data;
	const float *absmax = w->absmax;
	int64_t end = i + n;

	while (i < end) {
		int64_t row = i / w->cols, stop = min64(end, (row + 1) * w->cols);

		for (; i < stop; i++)
			*y++ = (float)codes[i] * absmax[row] / 127.0f;
	}
}

/* Whole blocks go straight to y, what is cut at either end through a buffer. */
static void
decode_ggml(float *y, const struct qz_mat *w, int64_t i, int64_t n)
{
	const struct qz_dtype_info *t = qz_dtype(w->type);
	decode_blocks *decode = CPU(ggml_decoder)(w->type);
	const uint8_t *data = w->data;
	int64_t end = i + n, size = t->block;
	float cut[256];

	while (i < end) {
		int64_t block = i / size, whole = (end - i) / size;

		if (i % size == 0 && whole > 0) {
			decode(y, data + block * t->bytes, whole);
			y += whole * size;
			i += whole * size;
			continue;
		}
		int64_t from = i - block * size, to = min64(size, end - block * size);

		decode(cut, data + block * t->bytes, 1);
		memcpy(y, cut + from, (size_t)(to - from) * sizeof *y);
		y += to - from;
		i += to - from;
	}
}

void
CPU(decode)(float *y, const struct qz_mat *w, int64_t i, int64_t n)
{
	const struct qz_dtype_info *t = qz_dtype(w->type);

	if (t->plain)
		CPU(load)(y, w->data, w->type, i, n);
	else if (w->type == QZ_INT8)
		decode8(y, w, i, n);
	else if (t->scaled)
		decode4(y, w, i, n);
	else
		decode_ggml(y, w, i, n);
}

void
CPU(decode_real)(real *y, const struct qz_mat *w, int64_t i, int64_t n)
{
	float tile[QZ_CPU_TILE];

	if (sizeof(real) == sizeof(float)) {
		CPU(decode)((float *)(void *)y, w, i, n);
		return;
	}
	for (int64_t end = i + n; i < end; i += QZ_CPU_TILE, y += QZ_CPU_TILE) {
		int64_t len = min64(QZ_CPU_TILE, end - i);

		CPU(decode)(tile, w, i, len);
		for (int64_t j = 0; j < len; j++)
			y[j] = tile[j];
	}
}

struct dequantize {
	void *y;
	enum qz_dtype y_type;
	const struct qz_mat *w;
	int64_t first, n; /* elements of w */
};

static void
dequantize_part(void *arg, int part, int thread)
{
	const struct dequantize *q = arg;
	int64_t i = (int64_t)part * QZ_CPU_GRAIN, end = min64(i + QZ_CPU_GRAIN, q->n);
	float tile[4 * QZ_CPU_TILE];

	(void)thread;
	if (q->y_type == QZ_F32) {
		CPU(decode)((float *)q->y + i, q->w, q->first + i, end - i);
		return;
	}
	for (; i < end; i += 4 * QZ_CPU_TILE) {
		int64_t n = min64(4 * QZ_CPU_TILE, end - i);

		CPU(decode)(tile, q->w, q->first + i, n);
		CPU(store)(q->y, q->y_type, i, tile, n);
	}
}

void
CPU(dequantize)(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w,
    int64_t row0, int64_t n_rows)
{
	struct dequantize q = { y, y_type, w, row0 * w->cols, n_rows * w->cols };

	if (CPU(is_plain)(d, y_type, "dequantize") && CPU(can_decode)(d, w, "dequantize"))
		CPU(run)(d, n_parts(q.n, QZ_CPU_GRAIN), dequantize_part, &q);
}
