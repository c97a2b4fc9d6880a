/* Rows moved about: embed, gather, scatter; and add.  A thread takes eight elements of a row. */
#include "kernels/cuda/decode.cuh"
#include "kernels/cuda/vector.cuh"

/* An id beyond the table gives zeros and a note. */
static __global__ void
embed(uint16_t *y, struct qz_mat table, const uint32_t *ids, int64_t pieces, int64_t n, int size, int bytes,
    struct qz_cuda_own *own)
{
	int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, t = at / pieces;
	int64_t c = at % pieces * VECTOR, cols = table.cols, end = c + VECTOR < cols ? c + VECTOR : cols;
	uint32_t id;

	if (at >= n)
		return;
	id = ids[t];
	if (id >= table.rows && atomicCAS(&own->note.trouble, QZ_CUDA_FINE, QZ_CUDA_BAD_ID) == QZ_CUDA_FINE) {
		own->note.value = id;
		own->note.limit = table.rows;
	}
	for (; c < end; c++)
		y[t * cols + c] =
		    id < table.rows ? bf16_round(decode_at(table, id * cols + c, size, bytes)) : 0;
}

void
qz_cuda_embed(struct qz_dev *d, qz_act *y, const struct qz_mat *table, const uint32_t *ids, int64_t t)
{
	const struct qz_dtype_info *type = qz_dtype(table->type);
	int64_t pieces = ceil_div(table->cols, VECTOR);

	qz_cuda_op(d, "embed", t, table->cols);
	if (t < 1 || !qz_cuda_can_decode(d, table))
		return;
	launch_flat(d, embed, t * pieces, 1, y, *table, ids, pieces, t * pieces,
	    static_cast<int>(type->block), static_cast<int>(type->bytes), cuda_dev(d)->own);
}

/* Row i of y and row rows[i] of x: y takes x's, or with put x takes y's. */
static __global__ void
move_rows(uint16_t *y, uint16_t *x, const int32_t *rows, int64_t pieces, int64_t n, int64_t cols, bool put,
    bool vector)
{
	int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, i = at / pieces;
	int64_t c = at % pieces * VECTOR;

	if (at >= n)
		return;
	y += i * cols;
	x += rows[i] * cols;
	if (vector) {
		if (put)
			*reinterpret_cast<uint4 *>(x + c) = *reinterpret_cast<const uint4 *>(y + c);
		else
			*reinterpret_cast<uint4 *>(y + c) = *reinterpret_cast<const uint4 *>(x + c);
		return;
	}
	for (int64_t end = c + VECTOR < cols ? c + VECTOR : cols; c < end; c++)
		if (put)
			x[c] = y[c];
		else
			y[c] = x[c];
}

static void
move(struct qz_dev *d, const void *y, const void *x, const int32_t *rows, int64_t n, int64_t cols, bool put)
{
	int64_t pieces = ceil_div(cols, VECTOR);
	bool vector = cols % VECTOR == 0 && aligned(x, 16) && aligned(y, 16);

	if (n > 0)
		launch_flat(d, move_rows, n * pieces, 1, const_cast<void *>(y), const_cast<void *>(x), rows,
		    pieces, n * pieces, cols, put, vector);
}

void
qz_cuda_gather(struct qz_dev *d, qz_act *y, const qz_act *x, const int32_t *rows, int64_t n, int64_t cols)
{
	qz_cuda_op(d, "gather", n, cols);
	move(d, y, x, rows, n, cols, false);
}

void
qz_cuda_scatter(struct qz_dev *d, qz_act *x, const qz_act *y, const int32_t *rows, int64_t n, int64_t cols)
{
	qz_cuda_op(d, "scatter", n, cols);
	move(d, y, x, rows, n, cols, true);
}

static __global__ void
add_all(uint16_t *y, const uint16_t *x, int64_t n, bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float a[VECTOR], b[VECTOR];

	if (i >= n)
		return;
	load_at(a, y, i, n, vector);
	load_at(b, x, i, n, vector);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		a[j] += b[j];
	store_at(y, a, i, n, vector);
}

void
qz_cuda_add(struct qz_dev *d, qz_act *y, const qz_act *x, int64_t n)
{
	qz_cuda_op(d, "add", n);
	if (n > 0)
		launch_flat(d, add_all, n, VECTOR, y, x, n, aligned(y, 16) && aligned(x, 16));
}
