/* ggml's block types, back to numbers.  Layouts and formulas: ggml-common.h and ggml-quants.c of
 * ggml (struct block_*, dequantize_row_*); float32, one rounding an operation, in the order written. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernels/cpu/cpu.h"
#include "kernels/ggml_search.h"
#include "libcore/base/le.h"

/* The processor's own makes a NaN quiet, which all that is computed with it is anyway; with it gcc 12 makes
 * worse loops for avx2. */
static float
f16(const uint8_t *p)
{
#ifdef __AVX512F__
	return _cvtsh_ss(le16_get(p));
#else
	return qz_f16_to_f32(le16_get(p));
#endif
}

/* d, qs[16]: low nibble element j, high nibble element j + 16. */
static void
q4_0(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 18, y += 32) {
		float d = f16(x);

		for (int j = 0; j < 16; j++) {
			y[j] = (float)((x[2 + j] & 15) - 8) * d;
			y[j + 16] = (float)((x[2 + j] >> 4) - 8) * d;
		}
	}
}

/* d, m, qs[16] */
static void
q4_1(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 20, y += 32) {
		float d = f16(x), m = f16(x + 2);

		for (int j = 0; j < 16; j++) {
			y[j] = (float)(x[4 + j] & 15) * d + m;
			y[j + 16] = (float)(x[4 + j] >> 4) * d + m;
		}
	}
}

/* d, qh: bit j is the fifth bit of element j, qs[16] */
static void
q5_0(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 22, y += 32) {
		float d = f16(x);
		uint32_t h = le32_get(x + 2);

		for (int j = 0; j < 16; j++) {
			int lo = (x[6 + j] & 15) | (int)(h >> j & 1) << 4;
			int hi = x[6 + j] >> 4 | (int)(h >> (j + 16) & 1) << 4;

			y[j] = (float)(lo - 16) * d;
			y[j + 16] = (float)(hi - 16) * d;
		}
	}
}

static void
q5_1(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 24, y += 32) {
		float d = f16(x), m = f16(x + 2);
		uint32_t h = le32_get(x + 4);

		for (int j = 0; j < 16; j++) {
			int lo = (x[8 + j] & 15) | (int)(h >> j & 1) << 4;
			int hi = x[8 + j] >> 4 | (int)(h >> (j + 16) & 1) << 4;

			y[j] = (float)lo * d + m;
			y[j + 16] = (float)hi * d + m;
		}
	}
}

static void
q8_0(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 34, y += 32) {
		float d = f16(x);

		for (int j = 0; j < 32; j++)
			y[j] = (float)(int8_t)x[2 + j] * d;
	}
}

/* scales[16]: low nibble scale, high nibble min, of 16 elements; qs[64]; d, dmin */
static void
q2_k(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 84, y += 256) {
		float d = f16(x + 80), dmin = f16(x + 82);

		for (int i = 0; i < 256; i++) {
			uint8_t s = x[i / 16];
			int q = x[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;

			y[i] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
		}
	}
}

/* hmask[32], qs[64], scales[12] of 6 bits, d */
static void
q3_k(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 110, y += 256) {
		const uint8_t *s = x + 96;
		float d = f16(x + 108), dl[16];

		for (int j = 0; j < 16; j++) {
			int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;

			dl[j] = d * (float)((low | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32);
		}
		for (int i = 0; i < 256; i++) {
			int q = x[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
			int high = x[i % 32] >> (i / 32) & 1;

			y[i] = dl[i / 16] * (float)(q - (high ? 0 : 4));
		}
	}
}

/* Scale and min of sub-block j out of the 12 bytes of Q4_K and Q5_K. */
static void
scale_min(const uint8_t *s, int j, float *scale, float *min)
{
	if (j < 4) {
		*scale = (float)(s[j] & 63);
		*min = (float)(s[j + 4] & 63);
		return;
	}
	*scale = (float)((s[j + 4] & 15) | s[j - 4] >> 6 << 4);
	*min = (float)(s[j + 4] >> 4 | s[j] >> 6 << 4);
}

/* d, dmin, scales[12], qs[128] */
static void
q4_k(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 144, y += 256) {
		float d = f16(x), dmin = f16(x + 2);

		for (int j = 0; j < 8; j++) {
			const uint8_t *q = x + 16 + j / 2 * 32;
			float scale, min;

			scale_min(x + 4, j, &scale, &min);
			scale *= d;
			min *= dmin;
			for (int i = 0; i < 32; i++)
				y[32 * j + i] = scale * (float)(q[i] >> (j % 2 * 4) & 15) - min;
		}
	}
}

/* d, dmin, scales[12], qh[32]: bit j is the fifth bit of sub-block j, qs[128] */
static void
q5_k(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 176, y += 256) {
		float d = f16(x), dmin = f16(x + 2);

		for (int j = 0; j < 8; j++) {
			const uint8_t *h = x + 16, *q = x + 48 + j / 2 * 32;
			float scale, min;

			scale_min(x + 4, j, &scale, &min);
			scale *= d;
			min *= dmin;
			for (int i = 0; i < 32; i++) {
				int v = (q[i] >> (j % 2 * 4) & 15) | (h[i] >> j & 1) << 4;

				y[32 * j + i] = scale * (float)v - min;
			}
		}
	}
}

/* ql[128], qh[64], scales[16] (int8), d */
static void
q6_k(float *restrict y, const uint8_t *restrict x, int64_t n)
{
	for (; n--; x += 210, y += 256) {
		float d = f16(x + 208);

		for (int i = 0; i < 256; i++) {
			int half = i / 128, l = i % 128;
			int low = x[64 * half + l % 64] >> (l / 64 * 4) & 15;
			int high = x[128 + 32 * half + l % 32] >> (l / 32 * 2) & 3;

			y[i] = d * (float)(int8_t)x[192 + i / 16] * (float)((low | high << 4) - 32);
		}
	}
}

static void
iq4_nl(float *y, const uint8_t *x, int64_t n)
{
	for (; n--; x += 18, y += 32) {
		float d = f16(x);

		for (int j = 0; j < 16; j++) {
			y[j] = d * (float)iq4(x[2 + j] & 15);
			y[j + 16] = d * (float)iq4(x[2 + j] >> 4);
		}
	}
}

/* d, scales_h (2 bits each), scales_l[4] (4 bits each), qs[128] */
static void
iq4_xs(float *y, const uint8_t *x, int64_t n)
{
	for (; n--; x += 136, y += 256) {
		float d = f16(x);
		int high = le16_get(x + 2);

		for (int k = 0; k < 8; k++) {
			int s = (x[4 + k / 2] >> (k % 2 * 4) & 15) | (high >> (2 * k) & 3) << 4;
			float dl = d * (float)(s - 32);

			for (int j = 0; j < 16; j++) {
				uint8_t q = x[8 + 16 * k + j];

				y[32 * k + j] = dl * (float)iq4(q & 15);
				y[32 * k + j + 16] = dl * (float)iq4(q >> 4);
			}
		}
	}
}

decode_blocks *
CPU(ggml_decoder)(enum qz_dtype type)
{
	static decode_blocks *const table[QZ_DTYPE_END] = {
		[QZ_Q4_0] = q4_0,
		[QZ_Q4_1] = q4_1,
		[QZ_Q5_0] = q5_0,
		[QZ_Q5_1] = q5_1,
		[QZ_Q8_0] = q8_0,
		[QZ_Q2_K] = q2_k,
		[QZ_Q3_K] = q3_k,
		[QZ_Q4_K] = q4_k,
		[QZ_Q5_K] = q5_k,
		[QZ_Q6_K] = q6_k,
		[QZ_IQ4_NL] = iq4_nl,
		[QZ_IQ4_XS] = iq4_xs,
	};

	return type < QZ_DTYPE_END ? table[type] : NULL;
}
