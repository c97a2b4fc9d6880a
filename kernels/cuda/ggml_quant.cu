/* quantize_ggml: the bytes of kernels/cpu/ggml_quant.c; a thread a block of 32. */
#include "kernels/cuda/plain.cuh"

static __device__ void
put_f16(uint8_t *y, float v)
{
	uint16_t h = f16_round(v);

	y[0] = static_cast<uint8_t>(h);
	y[1] = static_cast<uint8_t>(h >> 8);
}

/* The value of largest magnitude, the first of equals, with its sign. */
static __device__ float
extreme(const float *x)
{
	float best = 0, max = 0;

	for (int j = 0; j < 32; j++) {
		float a = x[j] < 0 ? -x[j] : x[j];

		if (a > best) {
			best = a;
			max = x[j];
		}
	}
	return max;
}

static __device__ int
at_most(int v, int top)
{
	return v < top ? v : top;
}

/* Codes of 4 bits, low element j, high element j + 16; a fifth bit each goes before them. */
static __device__ void
put_codes(uint8_t *y, const int *q, bool fifth)
{
	uint32_t bits = 0;

	if (fifth) {
		for (int j = 0; j < 32; j++)
			bits |= static_cast<uint32_t>(q[j] >> 4 & 1) << j;
		for (int j = 0; j < 4; j++)
			*y++ = static_cast<uint8_t>(bits >> 8 * j);
	}
	for (int j = 0; j < 16; j++)
		y[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
}

/* Q4_0 and Q5_0: d = extreme / -half, codes trunc(x / d + half + 0.5). */
static __device__ void
symmetric(uint8_t *y, const float *x, int half)
{
	float d = extreme(x) / static_cast<float>(-half), id = d != 0 ? 1.0f / d : 0;
	int q[32];

	for (int j = 0; j < 32; j++)
		q[j] = at_most(x86_int(x[j] * id + (static_cast<float>(half) + 0.5f)), 2 * half - 1);
	put_f16(y, d);
	put_codes(y + 2, q, half == 16);
}

/* Q4_1 and Q5_1 */
static __device__ void
affine(uint8_t *y, const float *x, int top)
{
	float min = x[0], max = x[0], d, id;
	int q[32];

	for (int j = 1; j < 32; j++) {
		min = x[j] < min ? x[j] : min;
		max = x[j] > max ? x[j] : max;
	}
	d = (max - min) / static_cast<float>(top);
	id = d != 0 ? 1.0f / d : 0;
	for (int j = 0; j < 32; j++)
		q[j] = at_most(x86_int((x[j] - min) * id + 0.5f), top);
	put_f16(y, d);
	put_f16(y + 2, min);
	put_codes(y + 4, q, top == 31);
}

/* d = absmax / 127, codes rounded half away from zero. */
static __device__ void
q8_0(uint8_t *y, const float *x)
{
	uint32_t bits = 0;
	float d, id;

	for (int j = 0; j < 32; j++) {
		uint32_t u = __float_as_uint(x[j]) & 0x7fffffff;

		bits = u > bits ? u : bits;
	}
	d = __uint_as_float(bits) / 127.0f;
	id = d != 0 ? 1.0f / d : 0;
	put_f16(y, d);
	for (int j = 0; j < 32; j++) {
		float v = x[j] * id, rest;
		int t = x86_int(v);

		rest = v - static_cast<float>(t);
		y[2 + j] = static_cast<uint8_t>(t + (rest >= 0.5f) - (rest <= -0.5f));
	}
}

static __global__ void
quantize(uint8_t *y, const float *from, enum qz_dtype type, int bytes, int64_t blocks)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
	float x[32];

	if (i >= blocks)
		return;
	for (int j = 0; j < 32; j++)
		x[j] = from[i * 32 + j];
	y += i * bytes;
	if (type == QZ_Q4_0)
		symmetric(y, x, 8);
	else if (type == QZ_Q5_0)
		symmetric(y, x, 16);
	else if (type == QZ_Q4_1)
		affine(y, x, 15);
	else if (type == QZ_Q5_1)
		affine(y, x, 31);
	else
		q8_0(y, x);
}

void
qz_cuda_quantize_ggml(struct qz_dev *d, enum qz_dtype type, void *y, const float *x, int64_t rows,
    int64_t cols, const float *importance)
{
	const struct qz_dtype_info *t = qz_dtype(type);
	int64_t blocks = rows * (cols / 32);

	qz_cuda_op(d, "quantize_ggml", rows, cols);
	if (type < QZ_Q4_0 || type > QZ_Q8_0 || cols % 32) {
		qz_cuda_keep(d, QZ_EDATA, "quantize_ggml: cannot write type %s in rows of %lld",
		    t ? t->name : "?", static_cast<long long>(cols));
		return;
	}
	if (importance && type != QZ_Q8_0) {
		qz_cuda_keep(d, QZ_EDATA, "quantize_ggml: %s with an importance matrix is not there yet",
		    t->name);
		return;
	}
	if (blocks > 0)
		launch_flat(d, quantize, blocks, 1, y, x, type, static_cast<int>(t->bytes), blocks);
}
