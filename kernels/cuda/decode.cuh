/* decode - one element of a matrix in any type that weights are stored in, as float32.  Layouts and the
 * order of operations are those of kernels/cpu/dequant.c and ggml.c, to the bit. */
#ifndef QZ_CUDA_DECODE_CUH
#define QZ_CUDA_DECODE_CUH

#include "kernels/cuda/plain.cuh"

static __device__ inline float
block_constant(const struct qz_mat &w, int64_t block)
{
	if (!w.nested_block)
		return static_cast<const float *>(w.absmax)[block];
	return w.nested_map[static_cast<const uint8_t *>(w.absmax)[block]] *
	        w.nested_absmax[block / w.nested_block] +
	    w.offset;
}

static __device__ inline float
f16_at(const uint8_t *p)
{
	return f16_load(static_cast<uint16_t>(p[0] | p[1] << 8));
}

static __device__ inline uint32_t
le32_at(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24;
}

/* The nibble of element j of 32: low ones first. */
static __device__ inline int
nibble(const uint8_t *q, int j)
{
	return j < 16 ? q[j] & 15 : q[j - 16] >> 4;
}

static __device__ inline float
q3_k(const uint8_t *x, int i)
{
	const uint8_t *s = x + 96;
	int j = i / 16, low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
	int scale = (low | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
	int q = x[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
	int high = x[i % 32] >> (i / 32) & 1;

	return f16_at(x + 108) * static_cast<float>(scale) * static_cast<float>(q - (high ? 0 : 4));
}

/* Q4_K; Q5_K when h is not NULL: its bits are the codes' fifth ones. */
static __device__ inline float
q45_k(const uint8_t *x, const uint8_t *h, const uint8_t *qs, int i)
{
	const uint8_t *s = x + 4;
	int j = i / 32, scale, min, q = qs[j / 2 * 32 + i % 32] >> (j % 2 * 4) & 15;

	if (j < 4) {
		scale = s[j] & 63;
		min = s[j + 4] & 63;
	} else {
		scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
		min = s[j + 4] >> 4 | s[j] >> 6 << 4;
	}
	if (h)
		q |= (h[i % 32] >> j & 1) << 4;
	return static_cast<float>(scale) * f16_at(x) * static_cast<float>(q) -
	    static_cast<float>(min) * f16_at(x + 2);
}

static __device__ inline float
q6_k(const uint8_t *x, int i)
{
	int half = i / 128, l = i % 128;
	int low = x[64 * half + l % 64] >> (l / 64 * 4) & 15;
	int high = x[128 + 32 * half + l % 32] >> (l / 32 * 2) & 3;

	return f16_at(x + 208) * static_cast<float>(static_cast<int8_t>(x[192 + i / 16])) *
	    static_cast<float>((low | high << 4) - 32);
}

static __device__ inline float
iq4(int q)
{
	static constexpr __device__ int8_t values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25,
		38, 53, 69, 89, 113 };

	return static_cast<float>(values[q]);
}

static __device__ inline float
iq4_xs(const uint8_t *x, int i)
{
	int k = i / 32, high = x[2] | x[3] << 8;
	int s = (x[4 + k / 2] >> (k % 2 * 4) & 15) | (high >> (2 * k) & 3) << 4;

	return f16_at(x) * static_cast<float>(s - 32) * iq4(nibble(x + 8 + 16 * k, i % 32));
}

/* Element i of a block at x. */
static __device__ inline float
ggml_at(enum qz_dtype type, const uint8_t *x, int i)
{
	int fifth;

	switch (type) {
	case QZ_Q4_0:
		return static_cast<float>(nibble(x + 2, i) - 8) * f16_at(x);
	case QZ_Q4_1:
		return static_cast<float>(nibble(x + 4, i)) * f16_at(x) + f16_at(x + 2);
	case QZ_Q5_0:
		fifth = static_cast<int>(le32_at(x + 2) >> i & 1) << 4;
		return static_cast<float>((nibble(x + 6, i) | fifth) - 16) * f16_at(x);
	case QZ_Q5_1:
		fifth = static_cast<int>(le32_at(x + 4) >> i & 1) << 4;
		return static_cast<float>(nibble(x + 8, i) | fifth) * f16_at(x) + f16_at(x + 2);
	case QZ_Q8_0:
		return static_cast<float>(static_cast<int8_t>(x[2 + i])) * f16_at(x);
	case QZ_Q2_K:
		return f16_at(x + 80) * static_cast<float>(x[i / 16] & 15) *
		        static_cast<float>(x[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) -
		    f16_at(x + 82) * static_cast<float>(x[i / 16] >> 4);
	case QZ_Q3_K:
		return q3_k(x, i);
	case QZ_Q4_K:
		return q45_k(x, nullptr, x + 16, i);
	case QZ_Q5_K:
		return q45_k(x, x + 16, x + 48, i);
	case QZ_Q6_K:
		return q6_k(x, i);
	case QZ_IQ4_NL:
		return f16_at(x) * iq4(nibble(x + 2, i));
	default: /* QZ_IQ4_XS: the host lets no other through */
		return iq4_xs(x, i);
	}
}

static __device__ inline bool
plain_type(enum qz_dtype type)
{
	return type == QZ_F32 || type == QZ_F16 || type == QZ_BF16 || type == QZ_F64;
}

/* Element i of the flattened matrix.  size, bytes: elements and bytes of a block of a ggml type. */
static __device__ inline float
decode_at(const struct qz_mat &w, int64_t i, int size, int bytes)
{
	const uint8_t *data = static_cast<const uint8_t *>(w.data);

	if (plain_type(w.type))
		return plain_load(w.data, w.type, i);
	if (w.type == QZ_NF4 || w.type == QZ_FP4)
		return w.map[i % 2 ? data[i / 2] & 15 : data[i / 2] >> 4] * block_constant(w, i / w.block);
	if (w.type == QZ_INT8)
		return static_cast<float>(static_cast<int8_t>(data[i])) *
		    static_cast<const float *>(w.absmax)[i / w.cols] / 127.0f;
	return ggml_at(w.type, data + i / size * bytes, static_cast<int>(i % size));
}

#endif
