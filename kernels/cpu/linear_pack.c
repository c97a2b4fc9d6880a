/* Weights from the decoder into panels.  Rows are decoded in pieces that stay in the first cache. */
#include "kernels/cpu/linear.h"

enum { PIECE = 256 }; /* columns: a block of every type */

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
	for (int64_t i = 0; i < n; i++)
		CPU(decode_real)(to + i * PIECE, w, (row + i) * w->cols + c, len);
	return to;
}

void
CPU(pack_forward)(const struct job *j, const struct slice *s, int index)
{
	const struct qz_linear *l = s->l;
	int64_t r0 = (int64_t)index * PANEL, n = min64(PANEL, s->rows - r0), row = s->row0 + r0, ld;
	real *y = j->panels + s->at + r0 * (j->cols + s->tail), decoded[PANEL * PIECE];

	for (int64_t c = 0; c < j->cols; c += PIECE, y += PIECE * PANEL) {
		int64_t len = min64(PIECE, j->cols - c);
		const real *x = rows_of(&l->w, row, n, c, len, decoded, &ld);

		CPU(panel_turn)(y, x, ld, n, len);
	}
	if (!s->tail)
		return;
	y = j->panels + s->at + r0 * (j->cols + s->tail) + j->cols * PANEL;
	CPU(panel_turn)(y, (const real *)l->b + row * l->rank, l->rank, n, l->rank);
	for (int64_t i = 0; i < l->rank * PANEL; i++)
		y[i] *= l->scale;
}

/* n rows of x, columns c .. c+len, into the panels from row `at` on. */
static void
place(const struct job *j, int64_t at, int64_t c, const real *x, int64_t ld, int64_t n, int64_t len)
{
	for (int64_t i = 0; i < len; i += PANEL)
		CPU(panel_copy)
	(j->panels + (c + i) * j->height + at * PANEL, x + i, ld, min64(PANEL, len - i), n);
}

void
CPU(pack_backward)(const struct job *j, const struct slice *s, int index)
{
	int64_t r0 = (int64_t)index * ROWS_PACKED, n = min64(ROWS_PACKED, s->rows - r0), ld;
	real decoded[ROWS_PACKED * PIECE];

	for (int64_t c = 0; c < j->cols; c += PIECE) {
		int64_t len = min64(PIECE, j->cols - c);
		const real *x = rows_of(&s->l->w, s->row0 + r0, n, c, len, decoded, &ld);

		place(j, s->at + r0, c, x, ld, n, len);
	}
}

void
CPU(pack_adapter)(const struct job *j, const struct slice *s)
{
	const real *a = s->l->a;
	real scaled[PIECE];

	for (int64_t r = 0; r < s->tail; r++, a += j->cols) {
		for (int64_t c = 0; c < j->cols; c += PIECE) {
			int64_t len = min64(PIECE, j->cols - c);

			for (int64_t i = 0; i < len; i++)
				scaled[i] = s->l->scale * a[c + i];
			place(j, s->at + s->rows + r, c, scaled, 0, 1, len);
		}
	}
}
