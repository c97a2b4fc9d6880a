/* ops - each op at a model's shapes: time, bytes or operations a second, and the share of what this
 * machine reaches: ceilings are measured first, in the same run, on random data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/rng.h"
#include "tools/bench/bench.h"
#include "tools/common/meter.h"

static const struct shape {
	const char *name;
	int64_t hidden, ffn, vocab;
	int heads, kv_heads, head_dim;
} shapes[] = {
	{ "smollm2-135m", 576, 1536, 49152, 9, 3, 64 },
	{ "mistral-7b", 4096, 14336, 32000, 32, 8, 128 },
	{ "llama3-8b", 4096, 14336, 128256, 32, 8, 128 },
};

enum { RANK = 16, BLOCK = 64, RUNS_MAX = 1000, HEAD_ROWS = 64 };

/* Everything the cases point to, in device memory. */
struct bench {
	struct qz_dev *d;
	const struct qz_backend *k;
	const struct bench_options *o;
	struct shape m;
	int64_t t;                  /* tokens */
	double copy, flops;         /* ceilings: bytes/s, FLOP/s */
	float *weight, *weight_out; /* (ffn, hidden) */
	void *dense;                /* the same shape, of activations: nothing to decode */
	uint8_t *codes, *absmax8;
	float *absmax, *nested, *maps;
	struct qz_mat nf4;
	qz_act *x, *y, *g, *u, *h; /* (t, hidden) or (t, ffn) */
	qz_act *q, *kk, *v, *att, *dq, *dk, *dv;
	qz_act *s;
	qz_par *lse, *rstd, *logits, *a, *b, *da, *db, *rope_table, *state;
	double *loss;
	uint32_t *targets;
	int32_t *starts, *positions, starts_host[2];
	void *ws;
	struct qz_adamw *adamw;
	struct qz_linear linear;
};

static void *
get(struct bench *b, size_t n, struct qz_err *e)
{
	return b->k->alloc(b->d, n ? n : 1, e);
}

/* Random values in -1..1 as plain elements of a type, copied to the device. */
static void *
random_values(struct bench *b, enum qz_dtype type, int64_t n, struct qz_err *e)
{
	size_t size = qz_dtype((unsigned)type)->bytes;
	float *host = malloc((size_t)n * sizeof *host);
	void *f32 = get(b, (size_t)n * 4, e), *p = get(b, (size_t)n * size, e);
	uint32_t w[4];

	if (!host || !f32 || !p) {
		free(host);
		return NULL;
	}
	for (int64_t i = 0; i < n; i++) {
		if (i % 4 == 0)
			qz_philox(42, (uint64_t)n, (uint64_t)i / 4, w);
		host[i] = 2 * qz_unit(w[i % 4]) - 1;
	}
	b->k->copy_in(b->d, f32, host, (size_t)n * 4);
	if (type == QZ_F32)
		b->k->copy_in(b->d, p, host, (size_t)n * 4);
	else
		b->k->cast(b->d, p, type, f32, QZ_F32, n);
	b->k->sync(b->d, e);
	b->k->free(b->d, f32);
	free(host);
	return p;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median seconds of one call. */
static double
time_op(struct bench *b, void (*op)(struct bench *), struct qz_err *e)
{
	static double runs[RUNS_MAX];
	double start, spent = 0;
	int n = 0;

	op(b); /* warm */
	b->k->sync(b->d, e);
	while (n < RUNS_MAX && (n < 3 || spent < b->o->seconds)) {
		start = qz_clock();
		op(b);
		if (b->k->sync(b->d, e) < 0)
			return -1;
		runs[n] = qz_clock() - start;
		spent += runs[n++];
	}
	qsort(runs, (size_t)n, sizeof *runs, by_value);
	return runs[n / 2];
}

#define T (b->t)
#define H (b->m.hidden)
#define F (b->m.ffn)
#define V (b->m.vocab)
#define QD ((int64_t)b->m.heads * b->m.head_dim)
#define KD ((int64_t)b->m.kv_heads * b->m.head_dim)

static void
do_copy(struct bench *b)
{
	b->k->cast(b->d, b->weight_out, QZ_F32, b->weight, QZ_F32, F * H);
}

static void
do_matmul(struct bench *b)
{
	struct qz_mat w = { .type = b->k->act_type, .rows = F, .cols = H, .data = b->dense };
	struct qz_linear l = { .w = w, .y = b->g };

	b->k->linear(b->d, &l, 1, b->x, T);
}

static void
do_quantize4(struct bench *b)
{
	b->k->quantize4(b->d, QZ_NF4, b->codes, b->absmax, b->weight, QZ_F32, F * H, BLOCK);
}

static void
do_nest(struct bench *b)
{
	b->k->nest_absmax(b->d, b->absmax8, b->nested, b->absmax, 0.5f, F * H / BLOCK, 256);
}

static void
do_dequantize(struct bench *b)
{
	b->k->dequantize(b->d, b->weight_out, QZ_F32, &b->nf4, 0, F);
}

static void
do_merge(struct bench *b)
{
	b->k->merge(b->d, b->weight_out, (float *)b->a, (float *)b->b, 0.5f, F, H, RANK);
}

static void
do_linear(struct bench *b)
{
	b->k->linear(b->d, &b->linear, 1, b->x, T);
}

static void
do_linear_bwd(struct bench *b)
{
	b->k->linear_bwd(b->d, &b->linear, 1, b->x, b->y, T, false);
}

static void
do_rmsnorm(struct bench *b)
{
	b->k->rmsnorm(b->d, b->y, b->rstd, b->x, b->weight, T, H, 1e-5f);
}

static void
do_rmsnorm_bwd(struct bench *b)
{
	b->k->rmsnorm_bwd(b->d, b->y, b->h, b->x, b->rstd, b->weight, T, H, false);
}

static void
do_rope(struct bench *b)
{
	b->k->rope(b->d, b->q, b->rope_table, b->positions, T, b->m.heads, b->m.head_dim, false);
}

static struct qz_attn
attention_of(struct bench *b)
{
	return (struct qz_attn){ .n_docs = 1,
		.max_q = (int)T,
		.max_k = (int)T,
		.q_start = b->starts,
		.k_start = b->starts,
		.q_host = b->starts_host,
		.k_host = b->starts_host,
		.heads = b->m.heads,
		.kv_heads = b->m.kv_heads,
		.head_dim = b->m.head_dim,
		.scale = 0.125f,
		.q = b->q,
		.k = b->kk,
		.v = b->v,
		.o = b->att,
		.lse = b->lse,
		.d_o = b->q,
		.dq = b->dq,
		.dk = b->dk,
		.dv = b->dv };
}

static void
do_attention(struct bench *b)
{
	struct qz_attn a = attention_of(b);

	b->k->attention(b->d, &a);
}

static void
do_attention_bwd(struct bench *b)
{
	struct qz_attn a = attention_of(b);

	b->k->attention_bwd(b->d, &a);
}

static void
do_attention_any_order(struct bench *b)
{
	struct qz_attn a = attention_of(b);

	a.any_order = true;
	b->k->attention_bwd(b->d, &a);
}

static void
do_swiglu(struct bench *b)
{
	b->k->swiglu(b->d, b->h, b->g, b->u, T * F);
}

static void
do_swiglu_bwd(struct bench *b)
{
	b->k->swiglu_bwd(b->d, b->g, b->u, b->h, b->h, T * F);
}

static void
do_cross_entropy(struct bench *b)
{
	b->k->cross_entropy(b->d, b->loss, b->logits, b->targets, HEAD_ROWS, V, 0);
}

static void
do_adamw(struct bench *b)
{
	b->k->adamw(
	    b->d, b->adamw, b->loss, b->a, b->state, b->state, b->b, NULL, (int64_t)RANK * H);
}

/* What an op costs: bytes moved, or operations, in terms of the shapes. */
struct cost {
	double bytes, flops;
};
struct op {
	const char *name, *shape;
	void (*run)(struct bench *);
	struct cost (*cost)(struct bench *);
};

static struct cost
c_quantize4(struct bench *b)
{
	return (struct cost){ (double)(F * H) * 4.5625, 0 };
}
static struct cost
c_nest(struct bench *b)
{
	return (struct cost){ (double)(F * H / BLOCK) * 5, 0 };
}
static struct cost
c_dequantize(struct bench *b)
{
	return (struct cost){ (double)(F * H) * 4.516, 0 };
}
static struct cost
c_merge(struct bench *b)
{
	return (struct cost){ 0, 2.0 * (double)(F * H) * RANK };
}
static struct cost
c_linear(struct bench *b)
{
	return (struct cost){ 0, 2.0 * (double)T * (double)(F * H + RANK * (F + H)) };
}
static struct cost
c_linear_bwd(struct bench *b)
{
	return (struct cost){ 0, 2.0 * (double)T * (double)(F * H + 4 * RANK * (F + H) / 2) };
}
static struct cost
c_rmsnorm(struct bench *b)
{
	return (struct cost){ (double)(T * H * 2) * (double)b->k->act_size, 0 };
}
static struct cost
c_rmsnorm_bwd(struct bench *b)
{
	return (struct cost){ (double)(T * H * 3) * (double)b->k->act_size, 0 };
}
static struct cost
c_rope(struct bench *b)
{
	return (struct cost){ (double)(T * QD * 2) * (double)b->k->act_size, 0 };
}
static struct cost
c_attention(struct bench *b)
{
	return (struct cost){ 0, 2.0 * (double)T * (double)T * (double)QD };
}
static struct cost
c_attention_bwd(struct bench *b)
{
	return (struct cost){ 0, 5.0 * (double)T * (double)T * (double)QD };
}
static struct cost
c_swiglu(struct bench *b)
{
	return (struct cost){ (double)(T * F * 3) * (double)b->k->act_size, 0 };
}
static struct cost
c_swiglu_bwd(struct bench *b)
{
	return (struct cost){ (double)(T * F * 6) * (double)b->k->act_size, 0 };
}
static struct cost
c_cross_entropy(struct bench *b)
{
	return (struct cost){ (double)(HEAD_ROWS * V) * (double)b->k->par_size, 0 };
}
static struct cost
c_adamw(struct bench *b)
{
	return (struct cost){ (double)(RANK * H) * 7 * (double)b->k->par_size, 0 };
}

static const struct op ops[] = {
	{ "quantize4", "ffn x hidden", do_quantize4, c_quantize4 },
	{ "nest_absmax", "ffn x hidden / 64", do_nest, c_nest },
	{ "dequantize nf4", "ffn x hidden", do_dequantize, c_dequantize },
	{ "merge", "ffn x hidden, rank 16", do_merge, c_merge },
	{ "linear nf4+lora", "hidden to ffn", do_linear, c_linear },
	{ "linear_bwd", "hidden to ffn", do_linear_bwd, c_linear_bwd },
	{ "rmsnorm", "hidden", do_rmsnorm, c_rmsnorm },
	{ "rmsnorm_bwd", "hidden", do_rmsnorm_bwd, c_rmsnorm_bwd },
	{ "rope", "heads", do_rope, c_rope },
	{ "attention", "one document", do_attention, c_attention },
	{ "attention_bwd", "one document", do_attention_bwd, c_attention_bwd },
	{ "attention_bwd", "one document, any order", do_attention_any_order, c_attention_bwd },
	{ "swiglu", "ffn", do_swiglu, c_swiglu },
	{ "swiglu_bwd", "ffn", do_swiglu_bwd, c_swiglu_bwd },
	{ "cross_entropy", "64 rows of the vocabulary", do_cross_entropy, c_cross_entropy },
	{ "adamw", "rank x hidden", do_adamw, c_adamw },
};

static int
small_tables(struct bench *b, struct qz_err *e)
{
	int32_t *positions = malloc((size_t)T * sizeof *positions);
	uint32_t targets[HEAD_ROWS];
	struct qz_adamw args = { 1e-4, 0.9, 0.999, 1e-8, 0.01, 0, 1 };
	size_t act = b->k->act_size, par = b->k->par_size;

	if (!positions)
		return qz_nomem(e, 1);
	for (int64_t i = 0; i < T; i++)
		positions[i] = (int32_t)i;
	for (int i = 0; i < HEAD_ROWS; i++)
		targets[i] = (uint32_t)(i * 7);
	b->starts = get(b, sizeof b->starts_host, e);
	b->positions = get(b, (size_t)T * 4, e);
	b->targets = get(b, sizeof targets, e);
	b->adamw = get(b, sizeof args, e);
	b->loss = get(b, HEAD_ROWS * sizeof(double), e);
	b->rstd = get(b, (size_t)T * par, e);
	b->lse = get(b, (size_t)(T * b->m.heads) * par, e);
	b->s = get(b, (size_t)T * RANK * act, e);
	if (!b->starts || !b->positions || !b->targets || !b->adamw || !b->loss || !b->rstd ||
	    !b->lse || !b->s) {
		free(positions);
		return -1;
	}
	b->starts_host[1] = (int32_t)T;
	b->k->copy_in(b->d, b->starts, b->starts_host, sizeof b->starts_host);
	b->k->copy_in(b->d, b->positions, positions, (size_t)T * 4);
	b->k->copy_in(b->d, b->targets, targets, sizeof targets);
	b->k->copy_in(b->d, b->adamw, &args, sizeof args);
	b->k->fill(b->d, b->loss, 0, HEAD_ROWS * sizeof(double));
	free(positions);
	return 0;
}

static int
big_buffers(struct bench *b, struct qz_err *e)
{
	enum qz_dtype act = b->k->act_type, par = b->k->par_type;

	return (b->weight = random_values(b, QZ_F32, F * H, e)) &&
		       (b->dense = act == QZ_F32 ? (void *)b->weight
						 : random_values(b, act, F * H, e)) &&
		       (b->weight_out = random_values(b, QZ_F32, F * H, e)) &&
		       (b->codes = get(b, (size_t)(F * H / 2), e)) &&
		       (b->absmax8 = get(b, (size_t)(F * H / BLOCK), e)) &&
		       (b->absmax = get(b, (size_t)(F * H / BLOCK) * 4, e)) &&
		       (b->nested = get(b, (size_t)(F * H / BLOCK / 256 + 1) * 4, e)) &&
		       (b->maps = random_values(b, QZ_F32, 272, e)) &&
		       (b->x = random_values(b, act, T * H, e)) &&
		       (b->y = random_values(b, act, T * F, e)) &&
		       (b->g = random_values(b, act, T * F, e)) &&
		       (b->u = random_values(b, act, T * F, e)) &&
		       (b->h = random_values(b, act, T * F, e)) &&
		       (b->q = random_values(b, act, T * QD, e)) &&
		       (b->kk = random_values(b, act, T * KD, e)) &&
		       (b->v = random_values(b, act, T * KD, e)) &&
		       (b->att = random_values(b, act, T * QD, e)) &&
		       (b->dq = random_values(b, act, T * QD, e)) &&
		       (b->dk = random_values(b, act, T * KD, e)) &&
		       (b->dv = random_values(b, act, T * KD, e)) &&
		       (b->logits = random_values(b, par, HEAD_ROWS * V, e)) &&
		       (b->a = random_values(b, par, RANK * H, e)) &&
		       (b->b = random_values(b, par, RANK * F, e)) &&
		       (b->da = random_values(b, par, RANK * H, e)) &&
		       (b->db = random_values(b, par, RANK * F, e)) &&
		       (b->state = random_values(b, par, RANK * H, e)) &&
		       (b->rope_table = random_values(b, par, T * b->m.head_dim, e))
		   ? 0
		   : -1;
}

static int
workspace(struct bench *b, struct qz_err *e)
{
	struct qz_need need = { .tokens = T,
		.weight = F * H,
		.group = F * H,
		.width = F,
		.rank_sum = RANK,
		.max_len = T,
		.heads = b->m.heads,
		.kv_heads = b->m.kv_heads,
		.head_dim = b->m.head_dim,
		.any_order = true,
		.head_rows = HEAD_ROWS,
		.vocab = V };
	size_t n = b->k->workspace(b->d, &need);

	b->ws = get(b, n, e);
	if (!b->ws)
		return -1;
	b->k->set_workspace(b->d, b->ws, n);
	return 0;
}

static int
prepare(struct bench *b, struct qz_err *e)
{
	if (big_buffers(b, e) < 0 || small_tables(b, e) < 0 || workspace(b, e) < 0)
		return -1;
	do_quantize4(b);
	do_nest(b);
	b->nf4 = (struct qz_mat){ .type = QZ_NF4,
		.rows = F,
		.cols = H,
		.block = BLOCK,
		.nested_block = 256,
		.offset = 0.5f,
		.data = b->codes,
		.absmax = b->absmax8,
		.nested_absmax = b->nested,
		.nested_map = b->maps + 16,
		.map = b->maps };
	b->linear = (struct qz_linear){ .w = b->nf4,
		.rank = RANK,
		.scale = 2,
		.a = b->a,
		.b = b->b,
		.da = b->da,
		.db = b->db,
		.y = b->g,
		.s = b->s,
		.dy = b->u };
	return b->k->sync(b->d, e);
}

static void
release(struct bench *b)
{
	void *all[] = { b->dense == (void *)b->weight ? NULL : b->dense, b->weight, b->weight_out,
		b->codes, b->absmax8, b->absmax, b->nested, b->maps, b->x, b->y, b->g, b->u, b->h,
		b->q, b->kk, b->v, b->att, b->dq, b->dk, b->dv, b->logits, b->a, b->b, b->da, b->db,
		b->state, b->rope_table, b->starts, b->positions, b->targets, b->adamw, b->loss,
		b->rstd, b->lse, b->s, b->ws };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i])
			b->k->free(b->d, all[i]);
}

static void
print(const struct bench *b, const struct op *op, struct cost c, double s)
{
	double rate = c.flops > 0 ? c.flops / s : c.bytes / s,
	       top = c.flops > 0 ? b->flops : b->copy;
	const char *unit = c.flops > 0 ? "GFLOP/s" : "GB/s";

	if (b->o->json)
		printf("{\"op\":\"%s\",\"shape\":\"%s\",\"tokens\":%lld,\"us\":%.1f,\"rate\":%.4g,"
		       "\"unit\":\"%s\",\"share\":%.3f}\n",
		    op->name, op->shape, (long long)b->t, s * 1e6, rate * 1e-9, unit, rate / top);
	else
		printf("%-16s %-26s %11.1f %10.1f %-8s %5.0f %%\n", op->name, op->shape, s * 1e6,
		    rate * 1e-9, unit, 100 * rate / top);
}

static int
measure(struct bench *b, struct qz_err *e)
{
	char about[256];
	double s = time_op(b, do_copy, e);

	b->copy = 8.0 * (double)(F * H) / s;
	s = time_op(b, do_matmul, e);
	if (s < 0)
		return -1;
	b->flops = 2.0 * (double)T * (double)(F * H) / s;
	b->k->describe(b->d, about, sizeof about);
	if (!b->o->json) {
		printf("%s, %s: %s, %lld tokens\n", b->k->name, about, b->m.name, (long long)b->t);
		printf("ceilings: copy %.1f GB/s (read + write), product %.1f GFLOP/s\n\n",
		    b->copy * 1e-9, b->flops * 1e-9);
		printf(
		    "%-16s %-26s %11s %10s %-8s %7s\n", "op", "shape", "us", "rate", "", "ceiling");
	}
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		s = time_op(b, ops[i].run, e);
		if (s < 0)
			return -1;
		print(b, &ops[i], ops[i].cost(b), s);
		fflush(stdout);
	}
	return 0;
}

int
bench_ops(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct bench b = { .d = d, .k = d->k, .o = o, .t = o->tokens };
	int ret;

	(void)args;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (!strcmp(shapes[i].name, o->shape))
			b.m = shapes[i];
	ret = prepare(&b, e);
	if (ret == 0)
		ret = measure(&b, e);
	release(&b);
	return ret;
}
