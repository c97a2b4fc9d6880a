/* The ops of bench_stream() that read or write weights: what each takes, and its call. */
#include <stdlib.h>

#include "tools/bench/stream_parts.h"

enum { BLOCK = 64, NESTED = 256 };

static int
p_copy(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, QZ_F32, H * F, 0, 1 }, { STREAM_VALUES, QZ_F32, H * F, 0, 1 });
}

static void
r_copy(struct stream *s, void **at)
{
	s->k->cast(s->d, at[0], QZ_F32, at[1], QZ_F32, H * F);
}

static int
quantize4_from(const struct stream *s, struct stream_part *p, enum qz_dtype type)
{
	PARTS({ STREAM_ZEROS, QZ_U8, H * F / 2, 0, 1 },
	    { STREAM_ZEROS, QZ_F32, H * F / BLOCK, 0, 1 }, { STREAM_VALUES, type, H * F, 0, 1 });
}

static int
p_quantize4(const struct stream *s, struct stream_part *p)
{
	return quantize4_from(s, p, QZ_F32);
}

static int
p_quantize4_16(const struct stream *s, struct stream_part *p)
{
	return quantize4_from(s, p, QZ_BF16);
}

static void
r_quantize4(struct stream *s, void **at)
{
	s->k->quantize4(s->d, QZ_NF4, at[0], at[1], at[2], QZ_F32, H * F, BLOCK);
}

static void
r_quantize4_16(struct stream *s, void **at)
{
	s->k->quantize4(s->d, QZ_NF4, at[0], at[1], at[2], QZ_BF16, H * F, BLOCK);
}

static int
p_quantize8(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_ZEROS, QZ_U8, H * F, 0, 1 }, { STREAM_ZEROS, QZ_F32, F, 0, 1 },
	    { STREAM_VALUES, QZ_BF16, H * F, 0, 1 });
}

static void
r_quantize8(struct stream *s, void **at)
{
	s->k->quantize8(s->d, at[0], at[1], at[2], QZ_BF16, F, H);
}

static int
p_ggml(const struct stream *s, struct stream_part *p)
{
	const struct qz_dtype_info *t = qz_dtype((unsigned)llabs(s->op->arg));

	PARTS({ STREAM_ZEROS, QZ_U8, H * F / t->block * t->bytes, 0, 1 },
	    { STREAM_VALUES, QZ_F32, H * F, 0, 1 }, { STREAM_VALUES, QZ_F32, H, 0, 0 });
}

static void
r_ggml(struct stream *s, void **at)
{
	enum qz_dtype type = (enum qz_dtype)llabs(s->op->arg);

	s->k->quantize_ggml(s->d, type, at[0], at[1], F, H, s->op->arg < 0 ? at[2] : NULL);
}

static int
p_cast(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_ZEROS, QZ_BF16, H * F, 0, 1 }, { STREAM_VALUES, QZ_F32, H * F, 0, 1 });
}

static void
r_cast(struct stream *s, void **at)
{
	s->k->cast(s->d, at[0], QZ_BF16, at[1], QZ_F32, H * F);
}

static int
p_finite(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, QZ_BF16, H * F, 0, 1 });
}

static void
r_finite(struct stream *s, void **at)
{
	s->k->find_nonfinite(s->d, &s->first, at[0], QZ_BF16, H * F);
}

static int
p_nest(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_ZEROS, QZ_U8, H * F / BLOCK, 0, 1 },
	    { STREAM_ZEROS, QZ_F32, H * F / BLOCK / NESTED + 1, 0, 1 },
	    { STREAM_VALUES, QZ_F32, H * F / BLOCK, 0, 1 });
}

static void
r_nest(struct stream *s, void **at)
{
	s->k->nest_absmax(s->d, at[0], at[1], at[2], 0.5f, H * F / BLOCK, NESTED);
}

static int
decoded_to(const struct stream *s, struct stream_part *p, enum qz_dtype type)
{
	PARTS({ STREAM_ZEROS, type, H * F, 0, 1 }, { STREAM_CODES, QZ_U8, H * F / 2, 0, 1 },
	    { STREAM_CODES, QZ_U8, H * F / BLOCK, 0, 1 },
	    { STREAM_VALUES, QZ_F32, H * F / BLOCK / NESTED + 1, 0, 1 },
	    { STREAM_VALUES, QZ_F32, 256, 0, 0 }, { STREAM_VALUES, QZ_F32, 16, 0, 0 });
}

static int
p_dequantize(const struct stream *s, struct stream_part *p)
{
	return decoded_to(s, p, ACT);
}

static int
p_dequantize32(const struct stream *s, struct stream_part *p)
{
	return decoded_to(s, p, QZ_F32);
}

static struct qz_mat
nf4_at(void **at, int64_t rows, int64_t cols)
{
	return (struct qz_mat){ .type = QZ_NF4,
		.rows = rows,
		.cols = cols,
		.block = BLOCK,
		.nested_block = NESTED,
		.offset = 0.5f,
		.data = at[1],
		.absmax = at[2],
		.nested_absmax = at[3],
		.nested_map = at[4],
		.map = at[5] };
}

static void
decode(struct stream *s, void **at, enum qz_dtype type)
{
	struct qz_mat w = nf4_at(at, F, H);

	s->k->dequantize(s->d, at[0], type, &w, 0, F);
}

static void
r_dequantize(struct stream *s, void **at)
{
	decode(s, at, ACT);
}

static void
r_dequantize32(struct stream *s, void **at)
{
	decode(s, at, QZ_F32);
}

/* Projections of one input that are computed together: rows of each. */
struct together {
	int n;
	int64_t rows[3], cols;
};

/* Their weights of 4 bits, one behind the other, a few tokens, and room for the weights' numbers.  What counts
 * is the weights' own bytes. */
static int
few_parts(const struct stream *s, struct stream_part *p, struct together w)
{
	int64_t rows = w.rows[0] + w.rows[1] + w.rows[2], cols = w.cols;

	PARTS({ STREAM_ZEROS, ACT, s->op->arg * rows, 0, 0 },
	    { STREAM_CODES, QZ_U8, rows * cols / 2, 0, 1 },
	    { STREAM_CODES, QZ_U8, rows * cols / BLOCK, 0, 1 },
	    { STREAM_VALUES, QZ_F32, rows * cols / BLOCK / NESTED + 3, 0, 1 },
	    { STREAM_VALUES, QZ_F32, 256, 0, 0 }, { STREAM_VALUES, QZ_F32, 16, 0, 0 },
	    { STREAM_VALUES, ACT, s->op->arg * cols, 0, 0 },
	    { STREAM_ZEROS, ACT, rows * cols, 0, 0 });
}

static void *
behind(void *p, int64_t nbytes)
{
	return (char *)p + nbytes;
}

static void
few(struct stream *s, void **at, struct together w, bool decoded)
{
	int64_t size = (int64_t)s->k->act_size, rows = 0;
	struct qz_linear l[3] = { 0 };

	for (int i = 0; i < w.n; rows += w.rows[i++]) {
		int64_t n = rows * w.cols;
		void *part[] = { NULL, behind(at[1], n / 2), behind(at[2], n / BLOCK),
			behind(at[3], (n / BLOCK / NESTED + i) * 4), at[4], at[5] };

		l[i].w = nf4_at(part, w.rows[i], w.cols);
		l[i].y = behind(at[0], s->op->arg * rows * size);
		if (!decoded)
			continue;
		s->k->dequantize(s->d, behind(at[7], n * size), ACT, &l[i].w, 0, w.rows[i]);
		l[i].w = (struct qz_mat){ .type = ACT,
			.rows = w.rows[i],
			.cols = w.cols,
			.data = behind(at[7], n * size) };
	}
	s->k->linear(s->d, l, w.n, at[6], s->op->arg);
}

#define FEW_OF(name, n, a, b, c, cols)                                                             \
	static int p_##name(const struct stream *s, struct stream_part *p)                         \
	{                                                                                          \
		return few_parts(s, p, (struct together){ n, { a, b, c }, cols });                 \
	}                                                                                          \
	static void r_##name(struct stream *s, void **at)                                          \
	{                                                                                          \
		few(s, at, (struct together){ n, { a, b, c }, cols }, false);                      \
	}                                                                                          \
	static void r_##name##_decoded(struct stream *s, void **at)                                \
	{                                                                                          \
		few(s, at, (struct together){ n, { a, b, c }, cols }, true);                       \
	}
FEW_OF(qkv, 3, QD, KD, KD, H)
FEW_OF(o, 1, H, 0, 0, QD)
FEW_OF(up, 2, F, F, 0, H)
FEW_OF(down, 1, H, 0, 0, F)
/* Both ways: straight from the codes where the device has that, and the weight decoded first. */
#define FEW_ROWS(n)                                                                                \
	{ "linear nf4", "q k v, " #n " tokens", n, p_qkv, r_qkv },                                 \
	    { "decoded first", "q k v, " #n " tokens", n, p_qkv, r_qkv_decoded },                  \
	    { "linear nf4", "o, " #n " tokens", n, p_o, r_o },                                     \
	    { "decoded first", "o, " #n " tokens", n, p_o, r_o_decoded },                          \
	    { "linear nf4", "gate up, " #n " tokens", n, p_up, r_up },                             \
	    { "decoded first", "gate up, " #n " tokens", n, p_up, r_up_decoded },                  \
	    { "linear nf4", "down, " #n " tokens", n, p_down, r_down },                            \
	{                                                                                          \
		"decoded first", "down, " #n " tokens", n, p_down, r_down_decoded                  \
	}

const struct stream_op bench_stream_copy_op = { "copy", "ffn x hidden", 0, p_copy, r_copy };
#define GGML(name, type)                                                                           \
	{ "quantize_ggml " name, "ffn x hidden, f32", type, p_ggml, r_ggml },                      \
	{                                                                                          \
		"quantize_ggml " name, "the same, importance", -type, p_ggml, r_ggml               \
	}

static const struct stream_op ops[] = {
	{ "quantize4", "ffn x hidden, f32", 0, p_quantize4, r_quantize4 },
	{ "quantize4", "ffn x hidden, bf16", 0, p_quantize4_16, r_quantize4_16 },
	GGML("q4_0", QZ_Q4_0),
	GGML("q4_1", QZ_Q4_1),
	GGML("q5_0", QZ_Q5_0),
	GGML("q5_1", QZ_Q5_1),
	GGML("q8_0", QZ_Q8_0),
	GGML("q2_k", QZ_Q2_K),
	GGML("q3_k", QZ_Q3_K),
	GGML("q4_k", QZ_Q4_K),
	GGML("q5_k", QZ_Q5_K),
	GGML("q6_k", QZ_Q6_K),
	GGML("iq4_nl", QZ_IQ4_NL),
	GGML("iq4_xs", QZ_IQ4_XS),
	{ "nest_absmax", "ffn x hidden / 64", 0, p_nest, r_nest },
	{ "quantize8", "ffn x hidden, bf16", 0, p_quantize8, r_quantize8 },
	{ "cast", "ffn x hidden, f32 to bf16", 0, p_cast, r_cast },
	{ "find_nonfinite", "ffn x hidden, bf16", 0, p_finite, r_finite },
	{ "dequantize nf4", "ffn x hidden, activations", 0, p_dequantize, r_dequantize },
	{ "dequantize nf4", "ffn x hidden, f32", 0, p_dequantize32, r_dequantize32 },
	FEW_ROWS(1),
	FEW_ROWS(8),
	FEW_ROWS(16),
	FEW_ROWS(32),
	FEW_ROWS(64),
};
const struct stream_table bench_stream_weights = { ops, sizeof ops / sizeof *ops };
