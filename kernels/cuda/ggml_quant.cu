/* quantize_ggml: the bytes of kernels/cpu/ggml_quant.c; a thread a sub-block, ggml_tile.h says how. */
#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ggml_tile.h"

#define BRACED(...) { __VA_ARGS__ }

/* Constants within a kernel.  TYPE: an int, since nvcc 13 makes a stub that does not parse of an enum. */
template <int TYPE>
static __device__ __forceinline__ struct recipe
recipe_of(void)
{
#define QZ_GGML(name, alike, given, how)                                                           \
	if (TYPE == QZ_##name)                                                                               \
		return { BRACED alike, BRACED given, BRACED how };
#include "kernels/ggml_types.def"
#undef QZ_GGML
	return {};
}

template <int TYPE, bool WEIGHTED>
static __global__ void __launch_bounds__(TILE)
quantize(const struct tile_job j)
{
	constexpr enum qz_dtype type = static_cast<enum qz_dtype>(TYPE);
	__shared__ struct tile t;
	const struct recipe r = recipe_of<TYPE>();
	const struct search s = WEIGHTED ? r.weighted : r.plain;
	int64_t tile = blockIdx.x;
	int at = static_cast<int>(threadIdx.x);

	tile_load(&s, &t, &j, tile, at);
	__syncthreads();
	if (WEIGHTED && r.importance.span) {
		tile_means(&s, &r.importance, &t, &j, tile, at);
		__syncthreads();
	}
	tile_search(type, &s, &r.importance, &t, &j, tile, at);
	__syncthreads();
	if (s.kind != DIRECT) {
		tile_scales(type, WEIGHTED, &t, &j, tile, at);
		__syncthreads();
		tile_codes(type, &s, &t, &j, tile, at);
		__syncthreads();
	}
	tile_pack(type, &s, &t, &j, tile, at);
	__syncthreads();
	tile_store(type, &t, &j, tile, at);
}

/* means[r] = mean of x^2 of row r, added up in order: a thread a row, ROWS rows a warp, whose lanes fetch
 * together what comes next. */
enum { ROWS = 8, STRETCH = 128 };

static __global__ void __launch_bounds__(32)
mean_rows(float *means, const float *x, int rows, int64_t cols)
{
	__shared__ float tile[ROWS][STRETCH + 1];
	int lane = static_cast<int>(threadIdx.x), first = static_cast<int>(blockIdx.x) * ROWS;
	int mine = rows - first < ROWS ? rows - first : ROWS;
	float next[ROWS * STRETCH / 32], sum = 0;

	x += first * cols;
	for (int64_t c = -STRETCH; c < cols; c += STRETCH) {
#pragma unroll
		for (int i = 0; i < ROWS * STRETCH / 32; i++) {
			int row = i / (STRETCH / 32);
			int64_t col = c + STRETCH + i % (STRETCH / 32) * 32 + lane;

			next[i] = row < mine && col < cols ? x[row * cols + col] : 0;
		}
		if (c >= 0 && lane < mine)
			for (int i = 0; i < STRETCH && c + i < cols; i++)
				sum += tile[lane][i] * tile[lane][i];
		__syncwarp();
#pragma unroll
		for (int i = 0; i < ROWS * STRETCH / 32; i++)
			tile[i / (STRETCH / 32)][i % (STRETCH / 32) * 32 + lane] = next[i];
		__syncwarp();
	}
	if (lane < mine)
		means[first + lane] = sum / static_cast<float>(cols);
}

template <int TYPE>
static void
queue(struct qz_dev *d, const struct tile_job &j)
{
	dim3 tiles(static_cast<unsigned>(ceil_div(j.subs, TILE)));

	if (j.importance)
		launch(d, quantize<TYPE, true>, tiles, TILE, 0, j);
	else
		launch(d, quantize<TYPE, false>, tiles, TILE, 0, j);
}

static void
queue_type(struct qz_dev *d, enum qz_dtype type, const struct tile_job &j)
{
	switch (type) {
#define QZ_GGML(name, alike, given, how)                                                           \
	case QZ_##name:                                                                                      \
		queue<QZ_##name>(d, j);                                                                      \
		break;
#include "kernels/ggml_types.def"
#undef QZ_GGML
	default:
		break;
	}
}

/* Elements of a sub-block, and whether weights need the mean of the row; 0: no type that is written. */
static int
sub_len(enum qz_dtype type, bool weighted, bool *whole_row)
{
#define QZ_GGML(name, alike, given, how)                                                              \
	if (type == QZ_##name) {                                                                             \
		const struct recipe r = { BRACED alike, BRACED given, BRACED how };                   \
                                                                                                             \
		*whole_row = weighted && r.importance.factor != 0 && !r.importance.span;                     \
		return r.plain.len;                                                                          \
	}
#include "kernels/ggml_types.def"
#undef QZ_GGML
	return 0;
}

void
qz_cuda_quantize_ggml(struct qz_dev *d, enum qz_dtype type, void *y, const float *x, int64_t rows,
    int64_t cols, const float *importance)
{
	const struct qz_dtype_info *t = qz_dtype(type);
	float *means = cuda_dev(d)->own->row_means;
	int64_t n = rows;
	bool whole_row = false;
	int len = sub_len(type, importance != nullptr, &whole_row);

	qz_cuda_op(d, "quantize_ggml", rows, cols);
	if (!len || cols % t->block) {
		qz_cuda_keep(d, QZ_EDATA, "quantize_ggml: cannot write type %s in rows of %lld",
		    t ? t->name : "?", static_cast<long long>(cols));
		return;
	}
	for (int64_t row = 0; row < rows && cols > 0; row += n) {
		struct tile_job j = { x + row * cols,
			static_cast<uint8_t *>(y) + row * (cols / t->block) * t->bytes, 0,
			static_cast<int>(cols / len), static_cast<int>(t->bytes), importance, means };

		n = rows - row;
		if (whole_row && n > QZ_CUDA_ROW_MEANS)
			n = QZ_CUDA_ROW_MEANS;
		j.subs = n * j.row_subs;
		if (whole_row)
			launch(d, mean_rows, dim3(static_cast<unsigned>(ceil_div(n, ROWS))), 32, 0, means,
			    j.x, n, cols);
		queue_type(d, type, j);
	}
}
