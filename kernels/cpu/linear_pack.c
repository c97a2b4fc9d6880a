/* Weights from the decoder into panels.  Rows are decoded in pieces that stay in the first cache. */
#include "kernels/cpu/linear.h"

enum { PIECE = PRODUCT_PIECE }; /* columns: a block of every type */

/* Asks for n numbers from i on, for when they are wanted. */
static void
fetch(const struct qz_mat *w, int64_t i, int64_t n)
{
	const struct qz_dtype_info *t = qz_dtype(w->type);
	int64_t from = i / t->block * t->bytes, to = (i + n) / t->block * t->bytes;

	for (; from < to; from += 64)
		__builtin_prefetch((const char *)w->data + from, 0, 2);
}

/* Columns c .. c+len of n rows from `row` on, *ld apart: where they stand, or decoded to `to`. */
static const real *
rows_of(
    const struct qz_mat *w, int64_t row, int64_t n, int64_t c, int64_t len, real *to, int64_t *ld)
{
	*ld = PIECE;
	if (w->type == QZ_F32 && sizeof(real) == sizeof(float)) {
		*ld = w->cols;
		return (const real *)w->data + row * w->cols + c;
	}
	for (int64_t i = 0; i < n; i++) {
		if (row + n + i < w->rows)
			fetch(w, (row + n + i) * w->cols + c, len);
		CPU(decode_real)(to + i * PIECE, w, (row + i) * w->cols + c, len);
	}
	return to;
}

/* y (n, PIECE) = scale * x (n, len), which has rows of ldx. */
static void
scale_rows(real *y, const real *x, int64_t ldx, int64_t n, int64_t len, real scale)
{
	for (int64_t i = 0; i < n; i++)
		for (int64_t k = 0; k < len; k++)
			y[i * PIECE + k] = scale * x[i * ldx + k];
}

void
CPU(pack_forward)(const struct job *j, const struct slice *s, int index, real *y)
{
	const struct qz_linear *l = s->l;
	int64_t r0 = (int64_t)index * PANEL, n = min64(PANEL, s->rows - r0), row = s->row0 + r0, ld;
	real rows[PANEL * PIECE];

	for (int64_t c = 0; c < j->cols; c += PIECE) {
		int64_t len = min64(PIECE, j->cols - c);
		const real *x = rows_of(&l->w, row, n, c, len, rows, &ld);

		CPU(product_turn)(y, x, ld, n, len);
		y += slots(len) * PANEL;
	}
	for (int64_t c = 0; c < s->tail; c += PIECE) {
		int64_t len = min64(PIECE, s->tail - c);

		scale_rows(rows, (const real *)l->b + row * l->rank + c, l->rank, n, len, l->scale);
		CPU(product_turn)(y, rows, PIECE, n, len);
		y += slots(len) * PANEL;
	}
}

/* n rows of x, columns c .. c+len, into the panels from row `at` of slots on. */
static void
place(const struct place *to, int64_t at, int64_t c, const real *x, int64_t ldx, int64_t n,
    int64_t len)
{
	real *y = to->panels + (c - to->from) * to->height + (to->at + at) * PANEL;

	for (int64_t i = 0; i < len; i += PANEL)
		CPU(product_copy)(y + i * to->height, x + i, ldx, min64(PANEL, len - i), n);
}

void
CPU(pack_backward)(const struct slice *s, int index, const struct place *to)
{
	int64_t r0 = (int64_t)index * ROWS_PACKED, n = min64(ROWS_PACKED, s->rows - r0), ld;
	real rows[ROWS_PACKED * PIECE];

	for (int64_t c = to->from; c < to->to; c += PIECE) {
		int64_t len = min64(PIECE, to->to - c);
		const real *x = rows_of(&s->l->w, s->row0 + r0, n, c, len, rows, &ld);

		place(to, slots(r0), c, x, ld, n, len);
	}
}

void
CPU(pack_adapter)(const struct job *j, const struct slice *s, const struct place *to)
{
	const real *a = s->l->a;
	real rows[ROWS_PACKED * PIECE];

	for (int64_t r = 0; r < s->tail; r += ROWS_PACKED) {
		int64_t n = min64(ROWS_PACKED, s->tail - r);

		for (int64_t c = to->from; c < to->to; c += PIECE) {
			int64_t len = min64(PIECE, to->to - c);

			scale_rows(rows, a + r * j->cols + c, j->cols, n, len, s->l->scale);
			place(to, slots(s->rows) + slots(r), c, rows, PIECE, n, len);
		}
	}
}
