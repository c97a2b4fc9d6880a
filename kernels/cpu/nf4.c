/* quantize4: NF4 and FP4 as bitsandbytes' CPU backend makes them (backends/default/ops.py,
 * quantize_4bit): whole blocks are multiplied by 1 / max(absmax, 1e-38), a short last block is
 * divided by its absmax, which is then stored as at least 1e-38; the code is the number of thresholds
 * strictly below the value, thresholds are float32 midpoints, FP4's ranks are mapped to codes.
 *
 * Its CUDA kernels differ: an all-zero block has code 0 there (0 * inf) and 7, the value 0, here;
 * float32 denormals; values on a midpoint or within an ulp of one, for they divide approximately. */
#include "kernels/cpu/cpu.h"
#include "kernels/nf4.h"

enum { BLOCK_MAX = 4096 };

struct quantize4 {
	uint8_t *codes;
	float *absmax;
	const void *x;
	enum qz_dtype x_type;
	int64_t n;
	int block, tile; /* tile: a multiple of the block, at most BLOCK_MAX */
	const float *bounds;
	const uint8_t *order;
};

/* max |x|: its order does not matter, so that lanes are free. */
static float
block_absmax(const float *restrict x, int n)
{
	float m[16] = { 0 }, max = 0;
	int i = 0;

	for (; i + 16 <= n; i += 16) {
		for (int j = 0; j < 16; j++) {
			float a = x[i + j] < 0 ? -x[i + j] : x[i + j];

			m[j] = a > m[j] ? a : m[j];
		}
	}
	for (; i < n; i++) {
		float a = x[i] < 0 ? -x[i] : x[i];

		max = a > max ? a : max;
	}
	for (int j = 0; j < 16; j++)
		max = m[j] > max ? m[j] : max;
	return max;
}

static void
ranks(uint8_t *restrict code, const float *restrict x, int n, const float bounds[15])
{
	float t[15];

	for (int k = 0; k < 15; k++)
		t[k] = bounds[k];
	for (int i = 0; i < n; i++) {
		int c = 0;

		for (int k = 0; k < 15; k++)
			c += x[i] > t[k];
		code[i] = (uint8_t)c;
	}
}

static void
scale(float *x, int n, float s)
{
	for (int i = 0; i < n; i++)
		x[i] *= s;
}

static void
divide(float *x, int n, float s)
{
	for (int i = 0; i < n; i++)
		x[i] /= s;
}

static void
pack(uint8_t *restrict packed, const uint8_t *restrict code, int n)
{
	for (int i = 0; i < n / 2; i++)
		packed[i] = (uint8_t)(code[2 * i] << 4 | code[2 * i + 1]);
}

static void
quantize_part(void *arg, int part, int thread)
{
	const struct quantize4 *q = arg;
	int64_t start = (int64_t)part * q->tile;
	int n = (int)min64(q->tile, q->n - start);
	float x[BLOCK_MAX + 1], *absmax = q->absmax + start / q->block;
	uint8_t code[BLOCK_MAX + 1];

	(void)thread;
	CPU(load)(x, q->x, q->x_type, start, n);
	for (int i = 0; i < n; i += q->block) {
		int len = n - i < q->block ? n - i : q->block;
		float max = block_absmax(x + i, len),
		      least = max < QZ_ABSMAX_MIN ? QZ_ABSMAX_MIN : max;

		*absmax++ = len < q->block ? least : max;
		if (len < q->block)
			divide(x + i, len, least);
		else
			scale(x + i, len, 1.0f / least);
	}
	if (n % 2)
		x[n++] = 0; /* the last byte's unused half is the code of 0, as bitsandbytes pads */
	ranks(code, x, n, q->bounds);
	if (q->order[0] != 0)
		for (int i = 0; i < n; i++)
			code[i] = q->order[code[i]];
	pack(q->codes + start / 2, code, n);
}

void
CPU(quantize4)(struct qz_dev *d, enum qz_dtype type, uint8_t *codes, float *absmax, const void *x,
    enum qz_dtype x_type, int64_t n, int block)
{
	struct quantize4 q = { codes, absmax, x, x_type, n, block, 0, qz_bounds4(type),
		qz_order4(type) };

	if (!q.bounds || block < 2 || block > BLOCK_MAX || block % 2) {
		CPU(fail)
		(d, QZ_EUSAGE,
		    "quantize4: type %d in blocks of %d; nf4 or fp4 in even blocks of 2 to %d",
		    type, block, BLOCK_MAX);
		return;
	}
	q.tile = BLOCK_MAX / block * block;
	if (CPU(is_plain)(d, x_type, "quantize4"))
		CPU(run)(d, n_parts(n, q.tile), quantize_part, &q);
}
