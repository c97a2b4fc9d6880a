/* dequantize: every way a weight is stored, back to numbers; and the decoding that other ops begin with.
 * A thread takes eight elements of the flattened matrix. */
#include "kernels/cuda/decode.cuh"
#include "kernels/cuda/vector.cuh"

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

/* Any type to any plain type: elements first .. first + n of w go to y[0] .. y[n]. */
static __global__ void
decode(void *y, enum qz_dtype y_type, struct qz_mat w, int64_t first, int64_t n, int size, int bytes)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	int64_t end = i + VECTOR < n ? i + VECTOR : n;

	for (; i < end; i++)
		plain_store(y, y_type, i, decode_at(w, first + i, size, bytes));
}

/* Eight numbers to y, whose type is known; NaNs as bf16_round() leaves them. */
static __device__ inline void
put8(uint16_t *y, const float f[VECTOR])
{
	uint32_t w[4];
	float sum = 0;

#pragma unroll
	for (int i = 0; i < VECTOR; i++)
		sum += f[i];
	if (sum == sum) { /* no NaN, and no two infinities */
		store8(y, f);
		return;
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		w[i] = bf16_round(f[2 * i]) | static_cast<uint32_t>(bf16_round(f[2 * i + 1])) << 16;
	*reinterpret_cast<uint4 *>(y) = make_uint4(w[0], w[1], w[2], w[3]);
}

static __device__ inline void
put8(float *y, const float f[VECTOR])
{
	reinterpret_cast<float4 *>(y)[0] = make_float4(f[0], f[1], f[2], f[3]);
	reinterpret_cast<float4 *>(y)[1] = make_float4(f[4], f[5], f[6], f[7]);
}

static __device__ inline void
get8(float f[VECTOR], const uint16_t *x)
{
	load8(f, x);
}

static __device__ inline void
get8(float f[VECTOR], const float *x)
{
	float4 a = reinterpret_cast<const float4 *>(x)[0], b = reinterpret_cast<const float4 *>(x)[1];

	f[0] = a.x;
	f[1] = a.y;
	f[2] = a.z;
	f[3] = a.w;
	f[4] = b.x;
	f[5] = b.y;
	f[6] = b.z;
	f[7] = b.w;
}

/* NF4 and FP4 whose first element begins a word of codes, blocks a multiple of eight, n too: four bytes
 * of codes and one block constant a thread. */
template <typename Y>
static __global__ void
decode4(Y *y, struct qz_mat w, int64_t first, int64_t n)
{
	__shared__ float map[16];
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	uint32_t codes;
	float f[VECTOR], c;

	if (threadIdx.x < 16)
		map[threadIdx.x] = w.map[threadIdx.x];
	__syncthreads();
	if (i >= n)
		return;
	codes = static_cast<const uint32_t *>(w.data)[(first + i) / VECTOR];
	c = block_constant(w, (first + i) / w.block);
#pragma unroll
	for (int j = 0; j < VECTOR; j++) /* of each byte the high nibble comes first */
		f[j] = map[codes >> (8 * (j / 2) + (j % 2 ? 0 : 4)) & 15] * c;
	put8(y + i, f);
}

/* Plain types, n a multiple of eight, both sides on 16 bytes. */
template <typename Y, typename X>
static __global__ void
convert(Y *y, const X *x, int64_t n)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float f[VECTOR];

	if (i >= n)
		return;
	get8(f, x + i);
	put8(y + i, f);
}

/* The pairs of types that matter for speed; false: not one of them. */
static bool
decode_fast(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w, int64_t first,
    int64_t n)
{
	bool four = w->type == QZ_NF4 || w->type == QZ_FP4, to16 = y_type == QZ_BF16, to32 = y_type == QZ_F32;
	const char *x = static_cast<const char *>(w->data) + first * (w->type == QZ_F32 ? 4 : 2);

	if (n % VECTOR || !aligned(y, 16) || !(to16 || to32))
		return false;
	if (four && first % VECTOR == 0 && w->block % VECTOR == 0 && aligned(w->data, 4)) {
		if (to16)
			launch_flat(d, decode4<uint16_t>, n, VECTOR, y, *w, first, n);
		else
			launch_flat(d, decode4<float>, n, VECTOR, y, *w, first, n);
		return true;
	}
	if (!aligned(x, 16) || (w->type != QZ_F32 && w->type != QZ_BF16))
		return false;
	if (w->type == QZ_F32 && to16)
		launch_flat(d, convert<uint16_t, float>, n, VECTOR, y, static_cast<const void *>(x), n);
	else if (w->type == QZ_F32)
		launch_flat(d, convert<float, float>, n, VECTOR, y, static_cast<const void *>(x), n);
	else if (to32)
		launch_flat(d, convert<float, uint16_t>, n, VECTOR, y, static_cast<const void *>(x), n);
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
		launch_flat(d, decode, n, VECTOR, y, y_type, *w, first, n, static_cast<int>(t->block),
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
