/* dequantize: every way a weight is stored, back to numbers; and the decoding that other ops begin with.
 * A thread takes eight elements of the flattened matrix at a time, and several times eight of the types that
 * speed matters for. */
#include "kernels/cuda/decode.cuh"
#include "kernels/cuda/vector.cuh"

enum { THREADS = 256, AHEAD = 4 /* vectors that a thread reads before it writes them */ };

bool
qz_cuda_can_decode(struct qz_dev *d, const struct qz_mat *w)
{
	const struct qz_dtype_info *t = qz_dtype(w->type);
	bool ggml = w->type >= QZ_Q4_0 && w->type <= QZ_IQ4_XS;

	if (t && (t->plain || w->type == QZ_INT8))
		return true;
	if (t && t->scaled && w->block > 0)
		return true;
	if (t && ggml && w->cols % t->block == 0)
		return true;
	qz_cuda_keep(d, QZ_EDATA, "%s: cannot read type %s in rows of %lld", cuda_dev(d)->op,
	    t ? t->name : "?", static_cast<long long>(w->cols));
	return false;
}

/* Any type to any plain type: elements first .. first + n of w. */
static __global__ void
decode(void *y, enum qz_dtype y_type, struct qz_mat w, int64_t first, int64_t n, int size, int bytes)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	int64_t end = i + VECTOR < n ? i + VECTOR : n;

	for (; i < end; i++)
		plain_store(y, y_type, i, decode_at(w, first + i, size, bytes));
}

/* Eight numbers to y; NaNs as ROUND leaves them, unless there are none. */
template <uint32_t PACK(float, float), uint16_t ROUND(float)>
static __device__ inline void
put16(void *y, const float f[VECTOR], bool nans)
{
	uint32_t w[4];

	if (!nans) {
		*static_cast<uint4 *>(y) =
		    make_uint4(PACK(f[0], f[1]), PACK(f[2], f[3]), PACK(f[4], f[5]), PACK(f[6], f[7]));
		return;
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		w[i] = ROUND(f[2 * i]) | static_cast<uint32_t>(ROUND(f[2 * i + 1])) << 16;
	*static_cast<uint4 *>(y) = make_uint4(w[0], w[1], w[2], w[3]);
}

/* The same, the type of y being known: bfloat16, float16 or float32. */
static __device__ inline void
put8(uint16_t *y, const float f[VECTOR], bool nans)
{
	put16<bf16_pack2, bf16_round>(y, f, nans);
}

struct half {
	uint16_t bits;
};

static __device__ inline void
put8(struct half *y, const float f[VECTOR], bool nans)
{
	put16<f16_pack2, f16_round>(y, f, nans);
}

static __device__ inline void
put8(float *y, const float f[VECTOR], bool)
{
	reinterpret_cast<float4 *>(y)[0] = make_float4(f[0], f[1], f[2], f[3]);
	reinterpret_cast<float4 *>(y)[1] = make_float4(f[4], f[5], f[6], f[7]);
}

/* NF4 and FP4, all sizes powers of two but that of the matrix. */
struct four {
	const uint32_t *codes; /* of the first element */
	const void *absmax;
	const float *nested, *nested_map, *map;
	float offset;
	int block, nested_block; /* as shifts; nested_block -1: absmax is float32 */
	int64_t first, n;        /* of elements; multiples of eight */
};

/* The tables of a block of threads.  A value has a copy in each bank, so that no lanes wait for each other. */
struct four_tables {
	float map[16][32], nested[256];
};

static __device__ inline void
fill_tables(struct four_tables &t, const struct four &w)
{
	for (int i = threadIdx.x; i < 16 * 32; i += THREADS)
		t.map[i / 32][i % 32] = w.map[i / 32];
	for (int i = threadIdx.x; w.nested_block >= 0 && i < 256; i += THREADS)
		t.nested[i] = w.nested_map[i];
	__syncthreads();
}

static __device__ inline float
constant(const struct four &w, const struct four_tables &t, int64_t block)
{
	if (w.nested_block < 0)
		return static_cast<const float *>(w.absmax)[block];
	return t.nested[static_cast<const uint8_t *>(w.absmax)[block]] * w.nested[block >> w.nested_block] +
	    w.offset;
}

/* AHEAD times a word of codes, which is eight elements, and its block constant; neighbours take neighbouring
 * words, so that loads and stores of a warp are whole lines. */
template <typename Y>
static __global__ void __launch_bounds__(THREADS)
decode4(Y *y, struct four w)
{
	start_early();

	__shared__ struct four_tables t;
	int64_t words = w.n / VECTOR, step = static_cast<int64_t>(gridDim.x) * THREADS * AHEAD;
	int64_t at = static_cast<int64_t>(blockIdx.x) * THREADS * AHEAD + threadIdx.x;
	int lane = threadIdx.x % 32;
	float f[VECTOR];

	fill_tables(t, w);
	for (; at < words; at += step) {
		uint32_t codes[AHEAD];
		float c[AHEAD];

#pragma unroll
		for (int k = 0; k < AHEAD; k++) {
			int64_t i = at + k * THREADS < words ? at + k * THREADS : at;

			codes[k] = w.codes[i];
			c[k] = constant(w, t, (w.first + i * VECTOR) >> w.block);
		}
#pragma unroll
		for (int k = 0; k < AHEAD; k++) {
			int64_t i = at + k * THREADS;

			if (i >= words)
				break;
#pragma unroll
			for (int j = 0; j < VECTOR; j++) /* of each byte the high nibble comes first */
				f[j] = t.map[codes[k] >> (8 * (j / 2) + (j % 2 ? 0 : 4)) & 15][lane] * c[k];
			put8(y + i * VECTOR, f, c[k] - c[k] != 0);
		}
	}
}

/* Plain types, n a multiple of eight, both sides on 16 bytes. */
template <typename Y, typename X>
static __global__ void __launch_bounds__(THREADS)
convert(Y *y, const X *x, int64_t n)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * VECTOR;
	float f[VECTOR], sum = 0;

	if (i >= n)
		return;
	load8(f, x + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		sum += f[j];
	put8(y + i, f, sum != sum); /* a NaN, or two infinities */
}

/* n vectors of 16 bytes, AHEAD a thread. */
static __global__ void __launch_bounds__(THREADS)
copy(uint4 *y, const uint4 *x, int64_t n)
{
	start_early();

	int64_t at = static_cast<int64_t>(blockIdx.x) * THREADS * AHEAD + threadIdx.x;
	uint4 v[AHEAD];

#pragma unroll
	for (int k = 0; k < AHEAD; k++)
		if (at + k * THREADS < n)
			v[k] = x[at + k * THREADS];
#pragma unroll
	for (int k = 0; k < AHEAD; k++)
		if (at + k * THREADS < n)
			y[at + k * THREADS] = v[k];
}

/* The exponent of a power of two, or -1. */
static int
shift_of(uint32_t n)
{
	return n && !(n & (n - 1)) ? __builtin_ctz(n) : -1;
}

/* Vectors are whole, and blocks found by shifts. */
static bool
four_fits(const struct qz_mat *w, int64_t first)
{
	return (w->type == QZ_NF4 || w->type == QZ_FP4) && first % VECTOR == 0 && shift_of(w->block) >= 3 &&
	    aligned(w->data, 4) && (!w->nested_block || shift_of(w->nested_block) >= 0);
}

template <typename Y>
static void
decode_four(struct qz_dev *d, void *y, const struct qz_mat *w, int64_t first, int64_t n)
{
	struct four f = {};
	int64_t tiles = ceil_div(n, VECTOR * THREADS * AHEAD);

	f.codes = static_cast<const uint32_t *>(w->data) + first / VECTOR;
	f.absmax = w->absmax;
	f.nested = w->nested_absmax;
	f.nested_map = w->nested_map;
	f.map = w->map;
	f.offset = w->offset;
	f.block = shift_of(w->block);
	f.nested_block = w->nested_block ? shift_of(w->nested_block) : -1;
	f.first = first;
	f.n = n;
	launch<EARLY>(d, decode4<Y>, qz_cuda_grid(d, decode4<Y>, THREADS, tiles), THREADS, 0, y, f);
}

/* The pairs of types that matter for speed; false: not one of them. */
static bool
decode_fast(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w, int64_t first, int64_t n)
{
	bool to16 = y_type == QZ_BF16, to32 = y_type == QZ_F32, half = y_type == QZ_F16;
	const char *at = static_cast<const char *>(w->data) + first * (w->type == QZ_F32 ? 4 : 2);
	const void *x = at;

	if (n % VECTOR || !aligned(y, 16) || !(to16 || to32 || half))
		return false;
	if (four_fits(w, first)) {
		auto four = to16 ? decode_four<uint16_t> : half ? decode_four<struct half> : decode_four<float>;

		four(d, y, w, first, n);
		return true;
	}
	if (!aligned(x, 16) || (w->type != QZ_F32 && w->type != QZ_BF16))
		return false;
	if (w->type == QZ_F32 && to16)
		launch_flat<EARLY>(d, convert<uint16_t, float>, n, VECTOR, y, x, n);
	else if (w->type == QZ_BF16 && to32)
		launch_flat<EARLY>(d, convert<float, uint16_t>, n, VECTOR, y, x, n);
	else if (w->type == QZ_F32 && half)
		launch_flat<EARLY>(d, convert<struct half, float>, n, VECTOR, y, x, n);
	else if (w->type == QZ_BF16 && half)
		launch_flat<EARLY>(d, convert<struct half, uint16_t>, n, VECTOR, y, x, n);
	else if (w->type == QZ_F32)
		launch_flat<EARLY>(d, copy, n / 4, AHEAD, y, x, n / 4);
	else
		return false; /* bfloat16 to itself keeps its NaNs in the general way */
	return true;
}

void
qz_cuda_decode(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w, int64_t first,
    int64_t n)
{
	const struct qz_dtype_info *t = qz_dtype(w->type);

	if (n > 0 && !decode_fast(d, y, y_type, w, first, n))
		launch_flat<EARLY>(d, decode, n, VECTOR, y, y_type, *w, first, n, static_cast<int>(t->block),
		    static_cast<int>(t->bytes));
}

void
qz_cuda_dequantize(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w,
    int64_t row0, int64_t n_rows)
{
	qz_cuda_op(d, "dequantize", n_rows, w->cols);
	if (qz_cuda_plain(d, y_type) && qz_cuda_can_decode(d, w))
		qz_cuda_decode(d, y, y_type, w, row0 * w->cols, n_rows * w->cols);
}
