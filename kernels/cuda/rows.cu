/* Rows moved about: embed, gather, scatter; and add.  A thread takes eight elements of a row at a time. */
#include "kernels/cuda/decode.cuh"
#include "kernels/cuda/vector.cuh"

ACT_BEGIN

enum { THREADS = 256 };

/* Threads that share a row: a power of two, so that the row of a thread is a shift. */
static int
lanes_log2(int64_t cols)
{
	int log2 = 0;

	while (log2 < 8 && static_cast<int64_t>(VECTOR) << log2 < cols)
		log2++;
	return log2;
}

static dim3
blocks_of_rows(int64_t n, int log2)
{
	return dim3(static_cast<unsigned>(ceil_div(n << log2, THREADS)));
}

/* The row of this thread and, in *c, its first column. */
static __device__ inline int64_t
my_row(int log2, int64_t *c)
{
	*c = static_cast<int64_t>(threadIdx.x & ((1 << log2) - 1)) * VECTOR;
	return (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) >> log2;
}

/* Eight elements, or at the end of a row fewer. */
static __device__ inline void
move8(uint16_t *y, const uint16_t *x, int64_t c, int64_t cols, bool vector)
{
	if (vector) {
		*reinterpret_cast<uint4 *>(y + c) = *reinterpret_cast<const uint4 *>(x + c);
		return;
	}
	for (int64_t end = c + VECTOR < cols ? c + VECTOR : cols; c < end; c++)
		y[c] = x[c];
}

/* An id beyond the table gives zeros and a note. */
static __device__ inline bool
has_id(uint32_t id, int64_t rows, struct qz_cuda_own *own)
{
	if (id < rows)
		return true;
	if (atomicCAS(&own->note.trouble, QZ_CUDA_FINE, QZ_CUDA_BAD_ID) == QZ_CUDA_FINE) {
		own->note.value = id;
		own->note.limit = rows;
	}
	return false;
}

/* plain: the table has activations, and both sides are on 16 bytes. */
static __global__ void __launch_bounds__(THREADS)
embed(uint16_t *y, struct qz_mat table, const uint32_t *ids, int64_t n, int log2, bool plain, int size, int bytes,
    struct qz_cuda_own *own)
{
	int64_t c, t = my_row(log2, &c), cols = table.cols, step = static_cast<int64_t>(VECTOR) << log2;
	const uint16_t *from = static_cast<const uint16_t *>(table.data);
	uint32_t id;
	bool there;

	if (t >= n)
		return;
	id = ids[t];
	there = has_id(id, table.rows, own);
	y += t * cols;
	for (; c < cols; c += step) {
		if (plain && there) {
			move8(y, from + id * cols, c, cols, true);
			continue;
		}
		for (int64_t k = c; k < c + VECTOR && k < cols; k++)
			y[k] = there ? act_round(decode_at(table, id * cols + k, size, bytes)) : 0;
	}
}

void
qz_cuda_embed(struct qz_dev *d, qz_act *y, const struct qz_mat *table, const uint32_t *ids, int64_t t)
{
	const struct qz_dtype_info *type = qz_dtype(table->type);
	int log2 = lanes_log2(table->cols);
	bool plain = table->type == ACT_TYPE && table->cols % VECTOR == 0 && aligned(table->data, 16) &&
	    aligned(y, 16);

	qz_cuda_op(d, "embed", t, table->cols);
	if (t < 1 || !qz_cuda_can_decode(d, table))
		return;
	launch(d, embed, blocks_of_rows(t, log2), THREADS, 0, y, *table, ids, t, log2, plain,
	    static_cast<int>(type->block), static_cast<int>(type->bytes), cuda_dev(d)->own);
}

/* Row i of y and row rows[i] of x: y takes x's, or with put x takes y's. */
static __global__ void __launch_bounds__(THREADS)
move_rows(uint16_t *y, uint16_t *x, const int32_t *rows, int64_t n, int64_t cols, int log2, bool put,
    bool vector)
{
	int64_t c, i = my_row(log2, &c);

	if (i >= n)
		return;
	y += i * cols;
	x += rows[i] * cols;
	for (; c < cols; c += static_cast<int64_t>(VECTOR) << log2)
		move8(put ? x : y, put ? y : x, c, cols, vector);
}

static void
move(struct qz_dev *d, const void *y, const void *x, const int32_t *rows, int64_t n, int64_t cols, bool put)
{
	bool vector = cols % VECTOR == 0 && aligned(x, 16) && aligned(y, 16);
	int log2 = lanes_log2(cols);

	if (n > 0)
		launch(d, move_rows, blocks_of_rows(n, log2), THREADS, 0, const_cast<void *>(y),
		    const_cast<void *>(x), rows, n, cols, log2, put, vector);
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

ACT_END
