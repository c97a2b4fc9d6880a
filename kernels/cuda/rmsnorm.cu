/* rmsnorm and its backward pass.  A row is read once and stays in registers: 8 to 32 threads of a warp take a
 * short one, a block of threads a long one; rows that are not on 16 bytes, or longer still, are read twice.
 * Sums are in float32: each thread's own in the order of the row, then over the threads in halves. */
#include "kernels/cuda/vector.cuh"

ACT_BEGIN

enum { THREADS = 256, SHORT = 1024 /* columns of a row that a warp takes, when rows are read twice */ };

/* Over the EACH threads of a row, in all of them. */
template <int EACH, int BLOCK>
static __device__ inline float
row_sum(float v)
{
	__shared__ float part[BLOCK / 32];

	for (int i = EACH < 32 ? EACH / 2 : 16; i > 0; i /= 2)
		v += __shfl_xor_sync(0xffffffff, v, i);
	if (EACH <= 32)
		return v;
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = v;
	__syncthreads();
	v = part[threadIdx.x % (BLOCK / 32)];
	for (int i = BLOCK / 64; i > 0; i /= 2)
		v += __shfl_xor_sync(0xffffffff, v, i);
	return v;
}

/* EACH threads a row, VECTORS times eight columns a thread. */
template <int EACH, int VECTORS, int BLOCK>
static __global__ void __launch_bounds__(BLOCK)
norm(uint16_t *y, float *rstd, const uint16_t *x, const float *w, int64_t rows, int cols, float eps)
{
	start_early();

	int64_t row = static_cast<int64_t>(blockIdx.x) * (BLOCK / EACH) + threadIdx.x / EACH;
	int first = threadIdx.x % EACH * VECTOR;
	bool there = row < rows;
	uint4 kept[VECTORS];
	float sum = 0, r, v[VECTOR], g[VECTOR];

	x += row * cols;
	y += row * cols;
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		int i = first + k * EACH * VECTOR;

		kept[k] = there && i < cols ? *reinterpret_cast<const uint4 *>(x + i) : make_uint4(0, 0, 0, 0);
	}
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		unpack8(v, kept[k]);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			sum = fmaf(v[j], v[j], sum);
	}
	r = 1.0f / sqrtf(row_sum<EACH, BLOCK>(sum) / static_cast<float>(cols) + eps);
	if (!there)
		return;
	if (threadIdx.x % EACH == 0)
		rstd[row] = r;
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		int i = first + k * EACH * VECTOR;

		if (i >= cols)
			break;
		load8(g, w + i);
		unpack8(v, kept[k]);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			v[j] = v[j] * r * g[j];
		store8(y + i, v);
	}
}

/* With xhat = x * rstd: rstd * xhat * mean(w dy xhat) = c * x, c = rstd^3 * mean(w dy x). */
template <int EACH, int VECTORS, int BLOCK, bool ADD>
static __global__ void __launch_bounds__(BLOCK)
norm_bwd(uint16_t *dx, const uint16_t *dy, const uint16_t *x, const float *rstd, const float *w, int64_t rows,
    int cols)
{
	start_early();

	int64_t row = static_cast<int64_t>(blockIdx.x) * (BLOCK / EACH) + threadIdx.x / EACH;
	int first = threadIdx.x % EACH * VECTOR;
	bool there = row < rows;
	const uint4 none = make_uint4(0, 0, 0, 0);
	uint4 kept[VECTORS], kept_dy[VECTORS], old[VECTORS];
	float sum = 0, r = there ? rstd[row] : 0, c, v[VECTOR], g[VECTOR], u[VECTOR];

	dx += row * cols;
	dy += row * cols;
	x += row * cols;
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		int i = first + k * EACH * VECTOR;
		bool in = there && i < cols;

		kept[k] = in ? *reinterpret_cast<const uint4 *>(x + i) : none;
		kept_dy[k] = in ? *reinterpret_cast<const uint4 *>(dy + i) : none;
		old[k] = ADD && in ? *reinterpret_cast<const uint4 *>(dx + i) : none;
	}
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		int i = first + k * EACH * VECTOR;

		if (i >= cols)
			break;
		load8(g, w + i);
		unpack8(v, kept[k]);
		unpack8(u, kept_dy[k]);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			sum = fmaf(g[j] * u[j], v[j], sum);
	}
	c = row_sum<EACH, BLOCK>(sum) * r / static_cast<float>(cols) * r * r;
	if (!there)
		return;
#pragma unroll
	for (int k = 0; k < VECTORS; k++) {
		int i = first + k * EACH * VECTOR;

		if (i >= cols)
			break;
		load8(g, w + i);
		unpack8(v, kept[k]);
		unpack8(u, kept_dy[k]);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			v[j] = r * (g[j] * u[j]) - c * v[j];
		if (ADD) {
			unpack8(u, old[k]);
#pragma unroll
			for (int j = 0; j < VECTOR; j++)
				v[j] = u[j] + v[j];
		}
		store8(dx + i, v);
	}
}

static __device__ inline void
weights(float f[VECTOR], const float *w, int64_t i, int64_t n)
{
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		f[j] = i + j < n ? w[i + j] : 0;
}

template <int EACH>
static __global__ void
norm_twice(uint16_t *y, float *rstd, const uint16_t *x, const float *w, int64_t rows, int64_t cols, float eps,
    bool vector)
{
	start_early();

	int64_t row = static_cast<int64_t>(blockIdx.x) * (THREADS / EACH) + threadIdx.x / EACH;
	int64_t first = threadIdx.x % EACH * VECTOR;
	float sum = 0, r, v[VECTOR], g[VECTOR];

	if (row >= rows)
		return; /* whole warps, and with a block a row none */
	x += row * cols;
	y += row * cols;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			sum = fmaf(v[j], v[j], sum);
	}
	r = 1.0f / sqrtf(row_sum<EACH, THREADS>(sum) / static_cast<float>(cols) + eps);
	if (threadIdx.x % EACH == 0)
		rstd[row] = r;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
		weights(g, w, i, cols);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			v[j] = v[j] * r * g[j];
		store_at(y, v, i, cols, vector);
	}
}

template <int EACH>
static __global__ void
norm_bwd_twice(uint16_t *dx, const uint16_t *dy, const uint16_t *x, const float *rstd, const float *w,
    int64_t rows, int64_t cols, bool add, bool vector)
{
	start_early();

	int64_t row = static_cast<int64_t>(blockIdx.x) * (THREADS / EACH) + threadIdx.x / EACH;
	int64_t first = threadIdx.x % EACH * VECTOR;
	float sum = 0, r, c, v[VECTOR], g[VECTOR], u[VECTOR], old[VECTOR] = {};

	if (row >= rows)
		return;
	r = rstd[row];
	dx += row * cols;
	dy += row * cols;
	x += row * cols;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
		load_at(u, dy, i, cols, vector);
		weights(g, w, i, cols);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			sum = fmaf(g[j] * u[j], v[j], sum);
	}
	c = row_sum<EACH, THREADS>(sum) * r / static_cast<float>(cols) * r * r;
	for (int64_t i = first; i < cols; i += EACH * VECTOR) {
		load_at(v, x, i, cols, vector);
		load_at(u, dy, i, cols, vector);
		weights(g, w, i, cols);
		if (add)
			load_at(old, dx, i, cols, vector);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			v[j] = old[j] + (r * (g[j] * u[j]) - c * v[j]);
		store_at(dx, v, i, cols, vector);
	}
}

/* The kernels by width: threads a row, vectors a thread, threads a block. */
#define WIDTHS(X) \
	X(8, 1, 256) \
	X(16, 1, 256) \
	X(32, 1, 256) \
	X(32, 2, 256) \
	X(32, 3, 256) \
	X(32, 4, 256) \
	X(256, 1, 256) \
	X(256, 2, 256) \
	X(256, 3, 256) \
	X(256, 4, 256) \
	X(512, 4, 512)

struct width {
	int64_t each, vectors, block;
	decltype(&norm<8, 1, 256>) norm;
	decltype(&norm_bwd<8, 1, 256, false>) bwd, bwd_add;
};

static const struct width widths[] = {
#define X(each, vectors, block) \
	{ each, vectors, block, norm<each, vectors, block>, norm_bwd<each, vectors, block, false>, \
		norm_bwd<each, vectors, block, true> },
	WIDTHS(X)
#undef X
};

/* The first that takes rows of cols, or NULL. */
static const struct width *
width_for(int64_t cols)
{
	for (const struct width &w : widths)
		if (cols <= w.each * w.vectors * VECTOR)
			return &w;
	return nullptr;
}

static dim3
blocks_of(int64_t rows, int64_t each, int64_t block)
{
	return dim3(static_cast<unsigned>(ceil_div(rows, block / each)));
}

void
qz_cuda_rmsnorm(struct qz_dev *d, qz_act *y, qz_par *rstd, const qz_act *x, const float *w,
    int64_t rows, int64_t cols, float eps)
{
	bool vector = cols % VECTOR == 0 && aligned(x, 16) && aligned(y, 16);
	const struct width *k = vector && aligned(w, 16) ? width_for(cols) : nullptr;
	int64_t each = cols <= SHORT ? 32 : THREADS;

	qz_cuda_op(d, "rmsnorm", rows, cols);
	if (rows < 1)
		return;
	if (k)
		launch<EARLY>(d, k->norm, blocks_of(rows, k->each, k->block), static_cast<unsigned>(k->block), 0, y,
		    rstd, x, w, rows, cols, eps);
	else
		launch<EARLY>(d, cols <= SHORT ? norm_twice<32> : norm_twice<THREADS>, blocks_of(rows, each, THREADS),
		    THREADS, 0, y, rstd, x, w, rows, cols, eps, vector);
}

void
qz_cuda_rmsnorm_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dy, const qz_act *x,
    const qz_par *rstd, const float *w, int64_t rows, int64_t cols, bool add)
{
	bool vector = cols % VECTOR == 0 && aligned(x, 16) && aligned(dx, 16) && aligned(dy, 16);
	const struct width *k = vector && aligned(w, 16) ? width_for(cols) : nullptr;
	int64_t each = cols <= SHORT ? 32 : THREADS;

	qz_cuda_op(d, "rmsnorm_bwd", rows, cols);
	if (rows < 1)
		return;
	if (k)
		launch<EARLY>(d, add ? k->bwd_add : k->bwd, blocks_of(rows, k->each, k->block),
		    static_cast<unsigned>(k->block), 0, dx, dy, x, rstd, w, rows, cols);
	else
		launch<EARLY>(d, cols <= SHORT ? norm_bwd_twice<32> : norm_bwd_twice<THREADS>,
		    blocks_of(rows, each, THREADS), THREADS, 0, dx, dy, x, rstd, w, rows, cols, add, vector);
}

ACT_END
