/* head and head_bwd: the output's weight is decoded, unless it is stored so, as many rows at a time as the workspace holds. */
#include "kernels/cuda/linear_parts.cuh"

ACT_BEGIN

static void
narrow(struct qz_dev *d, uint16_t *y, const qz_par *x, int64_t n)
{
	struct qz_mat m = {};

	m.type = QZ_F32;
	m.data = x;
	qz_cuda_decode(d, y, ACT_TYPE, &m, 0, n);
}

/* Rows of a head that are decoded at a time: all, or what the rest of the workspace holds. */
static int64_t
group_rows(struct qz_dev *d, const struct qz_mat *w, size_t used)
{
	size_t left = cuda_dev(d)->ws_n > used ? cuda_dev(d)->ws_n - used : 0;
	int64_t rows = static_cast<int64_t>(left / 2) / larger(w->cols, 1);

	return stored_so(w) || rows > w->rows ? w->rows : larger(rows, 1);
}

/* Rows row0 .. row0 + rows of a head as activations. */
static const uint16_t *
head_rows(struct qz_dev *d, uint16_t *room, const struct qz_mat *w, int64_t row0, int64_t rows)
{
	if (stored_so(w))
		return at(w->data, row0 * w->cols);
	qz_cuda_decode(d, room, ACT_TYPE, w, row0 * w->cols, rows * w->cols);
	return room;
}

void
qz_cuda_head(struct qz_dev *d, qz_par *logits, const qz_act *x, const struct qz_mat *w, int64_t n)
{
	size_t used = QZ_CUDA_GEMM_WS;
	int64_t step = group_rows(d, w, used);
	uint16_t *room;

	qz_cuda_op(d, "head", n, w->cols, w->rows);
	if (n < 1 || !qz_cuda_can_decode(d, w))
		return;
	room = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, stored_so(w) ? 0 : static_cast<size_t>(step * w->cols) * 2));
	for (int64_t r = 0; room && r < w->rows; r += step) {
		int64_t rows = w->rows - r < step ? w->rows - r : step;

		qz_cuda_multiply(d, false, true, n, rows, w->cols, 1, x, w->cols, head_rows(d, room, w, r, rows), w->cols,
		    nullptr, static_cast<float *>(logits) + r, w->rows, true);
	}
}

void
qz_cuda_head_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dlogits, const struct qz_mat *w, int64_t n)
{
	size_t used = QZ_CUDA_GEMM_WS;
	int64_t vocab = w->rows, cols = w->cols, step;
	uint16_t *room;
	float *sum;
	bool whole;

	qz_cuda_op(d, "head_bwd", n, w->cols, w->rows);
	if (n < 1 || !qz_cuda_can_decode(d, w))
		return;
	whole = group_rows(d, w, used) == vocab;
	sum = static_cast<float *>(qz_cuda_ws(d, &used, whole ? 0 : static_cast<size_t>(n * cols) * 4));
	step = whole ? vocab : group_rows(d, w, used);
	room = static_cast<uint16_t *>(
	    qz_cuda_ws(d, &used, stored_so(w) ? 0 : static_cast<size_t>(step * cols) * 2));
	if (!sum || !room)
		return;
	/* The groups of rows add up in float32. */
	for (int64_t r = 0; r < vocab; r += step) {
		int64_t rows = vocab - r < step ? vocab - r : step;

		qz_cuda_multiply(d, false, false, n, cols, rows, 1, at(dlogits, r), 2 * vocab,
		    head_rows(d, room, w, r, rows), cols, r > 0 ? sum : nullptr, whole ? dx : sum, cols, !whole);
	}
	if (!whole)
		narrow(d, at(dx, 0), sum, n * cols);
}

ACT_END
