/* ops - each op at a model's shapes: time, bytes or operations a second, and the share of what this
 * machine reaches: ceilings are measured first, in the same run, on random data.  Here are the products;
 * what moves memory is in stream.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/rng.h"
#include "tools/bench/shapes.h"
#include "tools/bench/stream.h"
#include "tools/bench/timing.h"

enum { RANK = 16, BLOCK = 64 };

/* Everything the cases point to, in device memory. */
struct bench {
	struct qz_dev *d;
	const struct qz_backend *k;
	const struct bench_options *o;
	struct qz_config m;
	int64_t t;                  /* tokens */
	double copy, flops;         /* ceilings: bytes/s, FLOP/s */
	float *weight, *weight_out; /* (ffn, hidden) */
	void *dense;                /* the same shape, of activations: nothing to decode */
	uint8_t *codes, *absmax8;
	float *absmax, *nested, *maps;
	struct qz_mat nf4;
	qz_act *x, *y, *g, *u; /* (t, hidden) or (t, ffn) */
	qz_act *q, *kk, *v, *att, *dq, *dk, *dv, *dx;
	qz_act *a, *b, *s; /* the adapter, and (t, rank) */
	qz_par *lse, *da, *db;
	float *a32, *b32;
	void *left;  /* by linear_bwd for linear_da */
	void *table; /* (vocab, hidden) of bfloat16 */
	qz_par *logits;
	int32_t *starts, starts_host[2];
	void *ws;
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

#define T (b->t)
#define H (b->m.hidden)
#define F (b->m.ffn)
#define QD ((int64_t)b->m.heads * b->m.head_dim)
#define KD ((int64_t)b->m.kv_heads * b->m.head_dim)

static void
do_matmul(struct bench *b)
{
	struct qz_mat w = { .type = b->k->act_type, .rows = F, .cols = H, .data = b->dense };
	struct qz_linear l = { .w = w, .y = b->g };

	b->k->linear(b->d, &l, 1, b->x, T);
}

static void
do_merge(struct bench *b)
{
	b->k->merge(b->d, b->weight_out, b->a32, b->b32, 0.5f, F, H, RANK);
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
do_linear_da(struct bench *b)
{
	b->k->linear_bwd(b->d, &b->linear, 1, NULL, b->y, T, false);
	b->k->linear_da(b->d, &b->linear, 1, b->x, T);
}

/* Rows of logits that are there at a time (QZ_LOGITS_BYTES of net.h). */
static int64_t
head_rows(const struct bench *b)
{
	int64_t rows = (64 << 20) / (b->m.vocab * (int64_t)b->k->par_size);

	return rows < 1 ? 1 : rows < T ? rows : T;
}

static struct qz_mat
head_of(const struct bench *b)
{
	return (struct qz_mat){ .type = QZ_BF16, .rows = b->m.vocab, .cols = H, .data = b->table };
}

static void
do_head(struct bench *b)
{
	struct qz_mat w = head_of(b);

	b->k->head(b->d, b->logits, b->x, &w, head_rows(b));
}

static void
do_head_bwd(struct bench *b)
{
	struct qz_mat w = head_of(b);

	b->k->head_bwd(b->d, b->dx, b->logits, &w, head_rows(b));
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
		.heads = (int)b->m.heads,
		.kv_heads = (int)b->m.kv_heads,
		.head_dim = (int)b->m.head_dim,
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

struct op {
	const char *name, *shape;
	void (*run)(struct bench *);
	double (*flops)(const struct bench *);
};

static double
f_merge(const struct bench *b)
{
	return 2.0 * (double)(F * H) * RANK;
}

static double
f_linear(const struct bench *b)
{
	return 2.0 * (double)T * (double)(F * H + RANK * (F + H));
}

static double
f_linear_bwd(const struct bench *b)
{
	return 2.0 * (double)T * (double)(F * H + 2 * RANK * (F + H));
}

static double
f_attention(const struct bench *b)
{
	return 2.0 * (double)T * (double)T * (double)QD;
}

static double
f_attention_bwd(const struct bench *b)
{
	return 5.0 * (double)T * (double)T * (double)QD;
}

static double
f_head(const struct bench *b)
{
	return 2.0 * (double)head_rows(b) * (double)b->m.vocab * (double)H;
}

static const struct op product_op = { "product", "hidden to ffn", do_matmul, NULL };
static const struct op ops[] = {
	{ "merge", "ffn x hidden, rank 16", do_merge, f_merge },
	{ "linear nf4+lora", "hidden to ffn", do_linear, f_linear },
	{ "linear_bwd", "hidden to ffn", do_linear_bwd, f_linear_bwd },
	{ "linear_da", "hidden to ffn, linear_bwd too", do_linear_da, f_linear_bwd },
	{ "head", "64 MiB of logits, bf16", do_head, f_head },
	{ "head_bwd", "64 MiB of logits, bf16", do_head_bwd, f_head },
	{ "attention", "one document", do_attention, f_attention },
	{ "attention_bwd", "one document", do_attention_bwd, f_attention_bwd },
	{ "attention_bwd", "one document, any order", do_attention_any_order, f_attention_bwd },
};

static int
buffers(struct bench *b, struct qz_err *e)
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
		       (b->q = random_values(b, act, T * QD, e)) &&
		       (b->kk = random_values(b, act, T * KD, e)) &&
		       (b->v = random_values(b, act, T * KD, e)) &&
		       (b->att = random_values(b, act, T * QD, e)) &&
		       (b->dq = random_values(b, act, T * QD, e)) &&
		       (b->dk = random_values(b, act, T * KD, e)) &&
		       (b->dv = random_values(b, act, T * KD, e)) &&
		       (b->a = random_values(b, act, RANK * H, e)) &&
		       (b->b = random_values(b, act, RANK * F, e)) &&
		       (b->s = random_values(b, act, T * RANK, e)) &&
		       (b->a32 = random_values(b, QZ_F32, RANK * H, e)) &&
		       (b->b32 = random_values(b, QZ_F32, RANK * F, e)) &&
		       (b->da = random_values(b, par, RANK * H, e)) &&
		       (b->db = random_values(b, par, RANK * F, e)) &&
		       (b->lse = random_values(b, par, T * b->m.heads, e)) &&
		       (b->left = get(b, qz_left_bytes(b->k->act_size, T, RANK, H), e)) &&
		       (b->table = random_values(b, QZ_BF16, b->m.vocab * H, e)) &&
		       (b->dx = random_values(b, act, T * H, e)) &&
		       (b->logits = random_values(b, par, head_rows(b) * b->m.vocab, e)) &&
		       (b->starts = get(b, sizeof b->starts_host, e))
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
		.heads = (int)b->m.heads,
		.kv_heads = (int)b->m.kv_heads,
		.head_dim = (int)b->m.head_dim,
		.any_order = true,
		.head_rows = head_rows(b),
		.vocab = b->m.vocab };
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
	if (buffers(b, e) < 0)
		return -1;
	b->starts_host[1] = (int32_t)T;
	b->k->copy_in(b->d, b->starts, b->starts_host, sizeof b->starts_host);
	b->k->quantize4(b->d, QZ_NF4, b->codes, b->absmax, b->weight, QZ_F32, F * H, BLOCK);
	b->k->nest_absmax(b->d, b->absmax8, b->nested, b->absmax, 0.5f, F * H / BLOCK, 256);
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
		.left = b->left,
		.s = b->s,
		.dy = b->u };
	return b->k->sync(b->d, e);
}

static void
release(struct bench *b)
{
	void *all[] = { b->dense == (void *)b->weight ? NULL : b->dense, b->weight, b->weight_out,
		b->codes, b->absmax8, b->absmax, b->nested, b->maps, b->x, b->y, b->g, b->u, b->q,
		b->kk, b->v, b->att, b->dq, b->dk, b->dv, b->a, b->b, b->s, b->a32, b->b32, b->da,
		b->db, b->lse, b->starts, b->ws, b->table, b->dx, b->logits, b->left };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		b->k->free(b->d, all[i]);
}

struct timed {
	struct bench *b;
	const struct op *op;
};

static void
call(void *arg, int64_t i)
{
	struct timed *t = arg;

	(void)i;
	t->op->run(t->b);
}

static int
time_op(struct bench *b, const struct op *op, double *seconds, struct qz_err *e)
{
	struct timed t = { b, op };

	return bench_time(b->d, b->o->seconds, call, &t, seconds, e);
}

/* Is a product among the rows that are asked for? */
static bool
any_product(const struct bench *b)
{
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		if (bench_wanted(b->o, ops[i].name, ops[i].shape))
			return true;
	return false;
}

static int
ceilings(struct bench *b, struct qz_err *e)
{
	char about[256];
	double seconds;

	if (workspace(b, e) < 0 || bench_stream_copy(b->d, b->o, &b->m, &b->copy, e) < 0)
		return -1;
	if (any_product(b)) {
		if (prepare(b, e) < 0 || time_op(b, &product_op, &seconds, e) < 0)
			return -1;
		b->flops = 2.0 * (double)T * (double)(F * H) / seconds;
	}
	b->k->describe(b->d, about, sizeof about);
	if (b->o->json)
		return 0;
	printf("%s: %s, %lld tokens\n", about, b->o->shape, (long long)b->t);
	printf("ceilings: copy %.1f GB/s (read + write)", b->copy * 1e-9);
	if (b->flops > 0)
		printf(", product %.1f GFLOP/s", b->flops * 1e-9);
	printf("\n\n");
	printf("%-16s %-28s %11s %10s %-8s %7s\n", "op", "shape", "us", "rate", "", "ceiling");
	return 0;
}

static int
products(struct bench *b, struct qz_err *e)
{
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		struct bench_row row = { .op = ops[i].name,
			.shape = ops[i].shape,
			.unit = "GFLOP/s",
			.ceiling = b->flops };

		if (!bench_wanted(b->o, row.op, row.shape))
			continue;
		if (time_op(b, &ops[i], &row.seconds, e) < 0)
			return -1;
		row.rate = ops[i].flops(b) / row.seconds;
		bench_row_print(b->o, &row);
	}
	return 0;
}

int
bench_ops(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct bench b = { .d = d, .k = d->k, .o = o, .t = o->tokens };
	int ret = bench_shape(o->shape, &b.m, e);

	(void)args;
	if (ret == 0 && !bench_stream_wanted(o) && !any_product(&b))
		ret = qz_fail(
		    e, QZ_EUSAGE, "--only: no op has '%s' in its name and shape", o->only);
	if (ret == 0)
		ret = ceilings(&b, e);
	if (ret == 0)
		ret = bench_stream(d, o, &b.m, b.copy, e);
	if (ret == 0)
		ret = products(&b, e);
	release(&b);
	return ret;
}
