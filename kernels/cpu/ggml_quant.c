/* quantize_ggml: rows of float32 as ggml blocks, to llama-quantize's bytes on x86-64.  A row is a part. */
#include <math.h>

#include "kernels/cpu/ggml_quant.h"
#include "kernels/ggml_blocks.h"

enum { CHUNK = 256 * MOST_SUPER, SUBS = CHUNK / 16, BLOCKS = CHUNK / 32 };

#define BRACED(...)                                                                                \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
static const struct recipe recipes[QZ_DTYPE_END] = {
#define QZ_GGML(type, plain, weighted, importance)                                                 \
	[QZ_##type] = { BRACED plain, BRACED weighted, BRACED importance },
#include "kernels/ggml_types.def"
#undef QZ_GGML
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
	enum qz_dtype type;
	const struct recipe *recipe;
	finish_blocks *finish;
	quantize_block *direct; /* where there is no search */
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

/* Of n sub-blocks those that have no weight at all. */
static void
search_again(const struct rows *r, const float *x, int n, const struct found *f)
{
	const struct search *s = &r->recipe->plain;

	for (int k = 0; k < n; k++) {
		struct found one = { f->codes + k * s->len, f->scale + k, f->min + k, f->sum + k };

		if (lacks_weight(r->type, f->scale[k]))
			CPU(search)(s, x + k * s->len, NULL, 1, &one);
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
		if (r->importance)
			search_again(r, x + c, n / s->len, &f);
		r->finish(y + c / r->block * r->bytes, x + c, &f, n / (int)r->block,
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
	struct rows r = { .type = type, .y = y, .x = x, .cols = cols, .importance = importance };

	if (t) {
		r.recipe = &recipes[type];
		r.block = t->block;
		r.bytes = t->bytes;
		r.finish = CPU(ggml_finish)(type);
		if (!importance || !r.finish)
			r.direct = CPU(ggml_direct)(type);
	}
	if (!t || (!r.direct && !r.finish) || cols % r.block) {
		CPU(fail)
		(d, QZ_EDATA, "quantize_ggml: cannot write type %s in rows of %lld",
		    t ? t->name : "?", (long long)cols);
		return;
	}
	CPU(run)(d, (int)rows, quantize_row, &r);
}
