/* quantize_ggml: rows of float32 as ggml blocks, to llama-quantize's bytes on x86-64.  A row is a part. */
#include <math.h>

#include "kernels/cpu/ggml_quant.h"

enum { CHUNK = 4096, SUBS = CHUNK / 16, BLOCKS = CHUNK / 32 };

/* The weight of column c is importance[c] * sqrt(factor * mean of x^2 + x^2), the mean over span elements
 * (0: the row), or with factor 0 importance[c] alone. */
struct importance {
	float factor;
	int span;
};

struct recipe {
	struct search plain, weighted;
	struct importance importance;
	finish_blocks *finish;
};

#define FINE AFFINE, BY_GIVEN
static const struct recipe recipes[QZ_DTYPE_END] = {
	[QZ_Q4_0] = { { 0 }, { SYMMETRIC, BY_GIVEN, 32, 8, 0, 0, 0, 0 }, { 1, 0 },
	    CPU(finish_q4_0) },
	[QZ_Q5_0] = { { 0 }, { SYMMETRIC, BY_GIVEN, 32, 16, 0, 0, 0, 0 }, { 1, 0 },
	    CPU(finish_q5_0) },
	[QZ_Q4_1] = { { 0 }, { FINE, 32, 15, -0.9f, 0.05f, 36, 0 }, { 1, 0 }, CPU(finish_q4_1) },
	[QZ_Q5_1] = { { 0 }, { FINE, 32, 31, -0.9f, 0.05f, 36, 0 }, { 1, 0 }, CPU(finish_q5_1) },
	[QZ_Q2_K] = { { AFFINE, BY_MAGNITUDE, 16, 3, -0.5f, 0.1f, 15, 1 },
	    { FINE, 16, 3, -0.9f, 0.05f, 36, 0 }, { 1, 256 }, CPU(finish_q2_k) },
	[QZ_Q3_K] = { { ONE_BY_ONE, BY_SQUARE, 16, 4, 0, 0, 0, 0 },
	    { SYMMETRIC, BY_GIVEN, 16, 4, 0, 0, 0, 0 }, { 2, 256 }, CPU(finish_q3_k) },
	[QZ_Q4_K] = { { AFFINE, BY_RMS, 32, 15, -1, 0.1f, 20, 0 },
	    { FINE, 32, 15, -0.9f, 0.05f, 36, 0 }, { 2, 256 }, CPU(finish_q4_k) },
	[QZ_Q5_K] = { { AFFINE, BY_RMS, 32, 31, -0.5f, 0.1f, 15, 0 },
	    { FINE, 32, 31, -0.9f, 0.05f, 36, 0 }, { 2, 256 }, CPU(finish_q5_k) },
	[QZ_Q6_K] = { { SYMMETRIC, BY_SQUARE, 16, 32, 0, 0, 0, 0 },
	    { SYMMETRIC, BY_GIVEN, 16, 32, 0, 0, 0, 0 }, { 0, 0 }, CPU(finish_q6_k) },
	[QZ_IQ4_NL] = { { NONLINEAR, BY_SQUARE, 32, 0, 0, 0, 0, 0 },
	    { NONLINEAR, BY_GIVEN, 32, 0, 0, 0, 0, 0 }, { 2, 32 }, CPU(finish_iq4_nl) },
	[QZ_IQ4_XS] = { { NONLINEAR, BY_SQUARE, 32, 0, 0, 0, 0, 0 },
	    { NONLINEAR, BY_GIVEN, 32, 0, 0, 0, 0, 0 }, { 2, 256 }, CPU(finish_iq4_xs) },
};

/* Sums of squares of n runs of len elements, each in order; runs go side by side, so that one needn't wait
 * for the other. */
static void
sum_squares(float *sum, const float *x, int64_t len, int n)
{
	for (int j = 0; j < n; j++)
		sum[j] = 0;
	for (int64_t i = 0; i < len; i++)
		for (int j = 0; j < n; j++)
			sum[j] += x[j * len + i] * x[j * len + i];
}

struct rows {
	const struct recipe *recipe;
	quantize_block *direct;
	uint8_t *y;
	const float *x, *importance;
	int64_t cols;
	uint32_t block, bytes;
};

/* Weights of n elements from column c on; row: of the whole row's squares, where the type wants it. */
static void
weigh(const struct rows *r, float *w, const float *x, int64_t c, int n, float row)
{
	const struct importance *how = &r->recipe->importance;
	int span = how->span ? how->span : 32;
	float sum[BLOCKS];

	if (how->span)
		sum_squares(sum, x, span, n / span);
	for (int i = 0; i < n; i += span) {
		float mean = how->span ? how->factor * sum[i / span] / (float)span : row;

		for (int j = i; j < i + span; j++)
			w[j] = how->factor != 0 ? r->importance[c + j] * sqrtf(mean + x[j] * x[j])
						: r->importance[c + j];
	}
}

static void
search_row(const struct rows *r, uint8_t *y, const float *x)
{
	const struct search *s = r->importance ? &r->recipe->weighted : &r->recipe->plain;
	uint8_t codes[CHUNK];
	float scale[SUBS], min[SUBS], sum[SUBS], w[CHUNK], row = 0;
	struct found f = { codes, scale, min, sum };

	if (r->importance && !r->recipe->importance.span) {
		sum_squares(&row, x, r->cols, 1);
		row /= (float)r->cols;
	}
	for (int64_t c = 0; c < r->cols; c += CHUNK) {
		int n = (int)min64(CHUNK, r->cols - c);

		if (r->importance)
			weigh(r, w, x + c, c, n, row);
		CPU(search)(s, x + c, w, n / s->len, &f);
		r->recipe->finish(y + c / r->block * r->bytes, x + c, &f, n / (int)r->block,
		    r->importance != NULL);
	}
}

static void
quantize_row(void *arg, int row, int thread)
{
	const struct rows *r = arg;
	int64_t blocks = r->cols / r->block;
	uint8_t *y = r->y + row * blocks * r->bytes;
	const float *x = r->x + row * r->cols;

	(void)thread;
	if (!r->direct) {
		search_row(r, y, x);
		return;
	}
	for (int64_t i = 0; i < blocks; i++)
		r->direct(y + i * r->bytes, x + i * r->block);
}

void
CPU(quantize_ggml)(struct qz_dev *d, enum qz_dtype type, void *y, const float *x, int64_t rows,
    int64_t cols, const float *importance)
{
	const struct qz_dtype_info *t = qz_dtype(type);
	struct rows r = { .y = y, .x = x, .cols = cols, .importance = importance };

	if (t) {
		r.recipe = &recipes[type];
		r.block = t->block;
		r.bytes = t->bytes;
		if (!importance || !r.recipe->finish)
			r.direct = CPU(ggml_direct)(type);
	}
	if (!t || (!r.direct && !r.recipe->finish) || cols % r.block) {
		CPU(fail)
		(d, QZ_EDATA, "quantize_ggml: cannot write type %s in rows of %lld",
		    t ? t->name : "?", (long long)cols);
		return;
	}
	CPU(run)(d, (int)rows, quantize_row, &r);
}
