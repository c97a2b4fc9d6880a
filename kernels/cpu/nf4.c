/* quantize4: NF4 and FP4 as bitsandbytes' CPU backend makes them (backends/default/ops.py,
 * quantize_4bit): whole blocks are multiplied by 1 / max(absmax, 1e-38), a short last block is
 * divided by its absmax, which is then stored as at least 1e-38; the code is the number of thresholds
 * strictly below the value, thresholds are float32 midpoints, FP4's ranks are mapped to codes.
 *
 * Its CUDA kernels differ: an all-zero block has code 0 there (0 * inf) and 7, the value 0, here;
 * float32 denormals; values on a midpoint or within an ulp of one, for they divide approximately. */
#include "kernels/cpu/absmax.h"
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

/* How many of the rising thresholds lie below x: four questions, each choosing the next threshold.
 * Every comparison fails for NaN: 0. */
static void
ranks(uint8_t *restrict code, const float *restrict x, int n, const float *t)
{
	float t0 = t[0], t1 = t[1], t2 = t[2], t3 = t[3], t4 = t[4], t5 = t[5], t6 = t[6],
	      t7 = t[7];
	float t8 = t[8], t9 = t[9], t10 = t[10], t11 = t[11], t12 = t[12], t13 = t[13], t14 = t[14];

	for (int i = 0; i < n; i++) {
		float v = x[i], a, b, c, d, e;
		int b3, b2, b1, b0;

		b3 = v > t7;
		a = b3 ? t11 : t3;
		b2 = v > a;
		a = b2 ? t5 : t1;
		b = b2 ? t13 : t9;
		e = b3 ? b : a;
		b1 = v > e;
		a = b1 ? t2 : t0;
		b = b1 ? t6 : t4;
		c = b1 ? t10 : t8;
		d = b1 ? t14 : t12;
		a = b2 ? b : a;
		c = b2 ? d : c;
		e = b3 ? c : a;
		b0 = v > e;
		code[i] = (uint8_t)(8 * b3 + 4 * b2 + 2 * b1 + b0);
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
	float x[BLOCK_MAX + 1], *out = q->absmax + start / q->block;
	uint8_t code[BLOCK_MAX + 1];

	(void)thread;
	CPU(load)(x, q->x, q->x_type, start, n);
	for (int i = 0; i < n; i += q->block) {
		int len = n - i < q->block ? n - i : q->block;
		float max = absmax(x + i, len), least = max < QZ_ABSMAX_MIN ? QZ_ABSMAX_MIN : max;

		*out++ = len < q->block ? least : max;
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
