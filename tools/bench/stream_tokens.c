/* The ops of bench_stream() that pass over activations, logits or adapters: what each takes, and its call. */
#include "tools/bench/stream_parts.h"

static int
rows_of(const struct stream *s, struct stream_part *p, int64_t rows, int64_t cols, double passes)
{
	PARTS({ STREAM_VALUES, ACT, rows * cols, 0, passes },
	    { STREAM_VALUES, ACT, rows * cols, 0, 1 }, { STREAM_VALUES, PAR, rows, 0, 1 },
	    { STREAM_VALUES, QZ_F32, cols, 0, 0 },
	    { STREAM_VALUES, ACT, rows * cols, 0, passes - 1 });
}

static int
p_rmsnorm(const struct stream *s, struct stream_part *p)
{
	return rows_of(s, p, T, H, 1);
}

static void
r_rmsnorm(struct stream *s, void **at)
{
	s->k->rmsnorm(s->d, at[0], at[2], at[1], at[3], T, H, 1e-5f);
}

static int
p_rmsnorm_head(const struct stream *s, struct stream_part *p)
{
	return rows_of(s, p, T * s->c->heads, s->c->head_dim, 1);
}

static void
r_rmsnorm_head(struct stream *s, void **at)
{
	s->k->rmsnorm(s->d, at[0], at[2], at[1], at[3], T * s->c->heads, s->c->head_dim, 1e-5f);
}

static int
p_rmsnorm_bwd(const struct stream *s, struct stream_part *p)
{
	return rows_of(s, p, T, H, 2);
}

static void
r_rmsnorm_bwd(struct stream *s, void **at)
{
	s->k->rmsnorm_bwd(s->d, at[0], at[1], at[4], at[2], at[3], T, H, true);
}

static int
p_rope(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, ACT, T * s->c->heads * s->c->head_dim, 0, 2 },
	    { STREAM_VALUES, ACT, T * s->c->kv_heads * s->c->head_dim, 0, 2 },
	    { STREAM_ANGLES, PAR, T * s->c->head_dim, 0, 1 }, { STREAM_PLACES, QZ_I32, T, 0, 1 });
}

static void
r_rope(struct stream *s, void **at)
{
	s->k->rope(s->d, at[0], at[1], at[2], at[3], T, (int)s->c->heads, (int)s->c->kv_heads,
	    (int)s->c->head_dim, false);
}

static int
three(const struct stream *s, struct stream_part *p, int64_t n, double a, double b, double c)
{
	PARTS({ STREAM_VALUES, ACT, n, 0, a }, { STREAM_VALUES, ACT, n, 0, b },
	    { STREAM_VALUES, ACT, n, 0, c });
}

static int
p_swiglu(const struct stream *s, struct stream_part *p)
{
	return three(s, p, T * F, 1, 1, 1);
}

static void
r_swiglu(struct stream *s, void **at)
{
	s->k->swiglu(s->d, at[0], at[1], at[2], T * F);
}

static int
p_swiglu_bwd(const struct stream *s, struct stream_part *p)
{
	return three(s, p, T * F, 2, 2, 1);
}

static void
r_swiglu_bwd(struct stream *s, void **at)
{
	s->k->swiglu_bwd(s->d, at[0], at[1], at[2], NULL, T * F);
}

static int
p_swiglu_bwd_h(const struct stream *s, struct stream_part *p)
{
	return three(s, p, T * F, 2, 2, 2);
}

static void
r_swiglu_bwd_h(struct stream *s, void **at)
{
	s->k->swiglu_bwd(s->d, at[0], at[1], at[2], at[2], T * F);
}

#define R ((int64_t)QZ_ADAPTED_RANK)

/* h, gate, up; s and A of down. */
static int
p_adapted(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, ACT, T * F, 0, 1 }, { STREAM_VALUES, ACT, T * F, 0, 1 },
	    { STREAM_VALUES, ACT, T * F, 0, 1 }, { STREAM_ZEROS, ACT, T * R, 0, 1 },
	    { STREAM_VALUES, ACT, F * R, 0, 1 });
}

static void
r_adapted(struct stream *s, void **at)
{
	struct qz_linear down = { .w = { .type = ACT, .rows = H, .cols = F, .data = at[0] },
		.rank = (int)R,
		.scale = 1,
		.s = at[3],
		.a = at[4] };

	s->k->swiglu_adapted(s->d, at[0], at[1], at[2], &down, T);
}

/* gate, up, dh; p of down; s, B and p of gate and up; the gradients of all three. */
static int
p_adapted_bwd(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, ACT, T * F, 0, 2 }, { STREAM_VALUES, ACT, T * F, 0, 2 },
	    { STREAM_VALUES, ACT, T * F, 0, 1 }, { STREAM_VALUES, ACT, T * R, 0, 1 },
	    { STREAM_VALUES, ACT, 2 * T * R, 0, 1 }, { STREAM_VALUES, ACT, 2 * F * R, 0, 1 },
	    { STREAM_ZEROS, ACT, 2 * T * R, 0, 1 }, { STREAM_ZEROS, PAR, 3 * F * R, 0, 2 });
}

static void
r_adapted_bwd(struct stream *s, void **at)
{
	size_t act = s->k->act_size, par = s->k->par_size;
	struct qz_linear l[3] = { 0 };

	for (int i = 0; i < 3; i++) {
		size_t one = (size_t)(i * T * R) * act;

		l[i] = (struct qz_linear){ .w = { .type = ACT,
					       .rows = i < 2 ? F : H,
					       .cols = i < 2 ? H : F,
					       .data = at[0] },
			.rank = (int)R,
			.scale = 1,
			.dy = at[i],
			.left = i < 2 ? (char *)at[6] + one : at[3],
			.s = i < 2 ? (char *)at[4] + one : NULL,
			.b = i < 2 ? (char *)at[5] + (size_t)(i * F * R) * act : NULL,
			.da = i < 2 ? NULL : (char *)at[7] + (size_t)(2 * F * R) * par,
			.db = i < 2 ? (char *)at[7] + (size_t)(i * F * R) * par : NULL };
	}
	s->k->swiglu_adapted_bwd(s->d, at[0], at[1], at[2], &l[2], l, T);
}

static int
p_gather(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, ACT, T * H, 0, 1 }, { STREAM_VALUES, ACT, T * H, 0, 1 },
	    { STREAM_MIXED, QZ_I32, T, T, 1 });
}

static void
r_gather(struct stream *s, void **at)
{
	s->k->gather(s->d, at[0], at[1], at[2], T, H);
}

static void
r_scatter(struct stream *s, void **at)
{
	s->k->scatter(s->d, at[0], at[1], at[2], T, H);
}

static int
p_embed(const struct stream *s, struct stream_part *p)
{
	int64_t rows = V < T ? V : T;

	PARTS({ STREAM_VALUES, ACT, T * H, 0, 1 },
	    { STREAM_VALUES, QZ_BF16, rows * H, 0, (double)T / (double)rows },
	    { STREAM_MIXED, QZ_I32, T, rows, 1 });
}

static void
r_embed(struct stream *s, void **at)
{
	struct qz_mat table = { .type = QZ_BF16, .rows = V < T ? V : T, .cols = H, .data = at[1] };

	s->k->embed(s->d, at[0], &table, at[2], T);
}

/* Rows of logits that are there at a time (QZ_LOGITS_BYTES of net.h). */
static int64_t
head_rows(const struct stream *s)
{
	int64_t rows = (64 << 20) / (V * (int64_t)s->k->par_size);

	return rows < 1 ? 1 : rows < T ? rows : T;
}

static int
p_loss(const struct stream *s, struct stream_part *p)
{
	double part = (double)s->k->act_size / (double)s->k->par_size;

	PARTS({ STREAM_VALUES, PAR, head_rows(s) * V, 0, 1 + part },
	    { STREAM_ZEROS, QZ_F64, head_rows(s), 0, 1 },
	    { STREAM_MIXED, QZ_I32, head_rows(s), V, 1 });
}

static void
r_loss(struct stream *s, void **at)
{
	s->k->cross_entropy(s->d, at[1], at[0], at[2], head_rows(s), V, 0.01);
}

static int
p_squares(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, PAR, s->adapter, 0, 1 });
}

static void
r_squares(struct stream *s, void **at)
{
	s->k->sum_squares(s->d, s->sum, at[0], s->adapter);
}

/* p, g, and p as activations. */
static int
p_adamw(const struct stream *s, struct stream_part *p)
{
	PARTS({ STREAM_VALUES, PAR, s->adapter, 0, 2 }, { STREAM_VALUES, PAR, s->adapter, 0, 1 },
	    { STREAM_ZEROS, ACT, s->adapter, 0, 1 }, { STREAM_ZEROS, PAR, s->adapter, 0, 2 },
	    { STREAM_ZEROS, PAR, s->adapter, 0, 2 });
}

static void
r_adamw(struct stream *s, void **at)
{
	s->k->adamw(s->d, s->args, s->sum, at[0], at[3], at[4], at[1], at[2], s->adapter);
}

static int
p_adamw8(const struct stream *s, struct stream_part *p)
{
	int64_t blocks = s->adapter / QZ_ADAMW8_BLOCK;

	PARTS({ STREAM_VALUES, PAR, s->adapter, 0, 2 }, { STREAM_VALUES, PAR, s->adapter, 0, 1 },
	    { STREAM_ZEROS, ACT, s->adapter, 0, 1 }, { STREAM_ZEROS, QZ_U8, s->adapter, 0, 2 },
	    { STREAM_ZEROS, QZ_U8, s->adapter, 0, 2 }, { STREAM_ZEROS, QZ_F32, blocks, 0, 2 },
	    { STREAM_ZEROS, QZ_F32, blocks, 0, 2 });
}

static void
r_adamw8(struct stream *s, void **at)
{
	s->k->adamw8(
	    s->d, s->args, s->sum, at[0], at[3], at[4], at[5], at[6], at[1], at[2], s->adapter);
}

/* What queueing a kernel costs by itself. */
static int
p_start(const struct stream *s, struct stream_part *p)
{
	return three(s, p, 16, 1, 1, 1);
}

static void
r_start(struct stream *s, void **at)
{
	s->k->swiglu(s->d, at[0], at[1], at[2], 16);
}

static const struct stream_op ops[] = {
	{ "embed", "bf16, hidden", 0, p_embed, r_embed },
	{ "rmsnorm", "hidden", 0, p_rmsnorm, r_rmsnorm },
	{ "rmsnorm", "each head", 0, p_rmsnorm_head, r_rmsnorm_head },
	{ "rmsnorm_bwd", "hidden, added", 0, p_rmsnorm_bwd, r_rmsnorm_bwd },
	{ "rope", "q and k", 0, p_rope, r_rope },
	{ "swiglu", "16 elements: a start", 0, p_start, r_start },
	{ "swiglu", "ffn", 0, p_swiglu, r_swiglu },
	{ "swiglu_bwd", "ffn", 0, p_swiglu_bwd, r_swiglu_bwd },
	{ "swiglu_bwd", "ffn, h again", 0, p_swiglu_bwd_h, r_swiglu_bwd_h },
	{ "swiglu_adapted", "ffn, s of down too", 0, p_adapted, r_adapted },
	{ "swiglu_adapted_bwd", "ffn, p, dB, dA too", 0, p_adapted_bwd, r_adapted_bwd },
	{ "gather", "hidden", 0, p_gather, r_gather },
	{ "scatter", "hidden", 0, p_gather, r_scatter },
	{ "cross_entropy", "64 MiB of logits, gradient", 0, p_loss, r_loss },
	{ "sum_squares", "adapter of rank 16", 0, p_squares, r_squares },
	{ "adamw", "adapter of rank 16", 0, p_adamw, r_adamw },
	{ "adamw8", "adapter of rank 16", 0, p_adamw8, r_adamw8 },
};
const struct stream_table bench_stream_tokens = { ops, sizeof ops / sizeof *ops };
