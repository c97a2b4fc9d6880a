#include "libcore/model/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/size.h"

enum { ALIGN = 256 };

/* Memory as it is handed out: with base NULL it is only counted. */
struct bump {
	char *base;
	uint64_t at;
	struct qz_plan *plan;
};

static void *
take(struct bump *b, enum qz_use use, int64_t count, size_t size)
{
	uint64_t n = qz_round_up((uint64_t)count * size, ALIGN);
	void *p = b->base ? b->base + b->at : NULL;

	b->at += n;
	b->plan->bytes[use] += n;
	return p;
}

/* Several things that are never alive together share memory: each starts where it started. */
static void *
again(struct bump *b, uint64_t *at, int64_t count, size_t size)
{
	void *p = b->base ? b->base + *at : NULL;

	*at += qz_round_up((uint64_t)count * size, ALIGN);
	return p;
}

const char *
qz_use_name(enum qz_use u)
{
	static const char *const names[QZ_USE_N] = {
		[QZ_USE_WEIGHTS] = "weights",
		[QZ_USE_ADAPTER] = "adapter",
		[QZ_USE_GRADIENTS] = "gradients",
		[QZ_USE_OPTIMIZER] = "optimizer",
		[QZ_USE_KEPT] = "activations kept",
		[QZ_USE_WORK] = "working buffers",
		[QZ_USE_LOGITS] = "logits",
		[QZ_USE_KERNELS] = "kernels' workspace",
		[QZ_USE_BATCH] = "batch and tables",
	};

	return names[u];
}

static int64_t
q_width(const struct qz_net *n)
{
	return n->c.heads * n->c.head_dim;
}

static int64_t
kv_width(const struct qz_net *n)
{
	return n->c.kv_heads * n->c.head_dim;
}

static int
rank_of(const struct qz_net *n, int layer, enum qz_proj p)
{
	const struct qz_lora_tensor *t = qz_lora_find(&n->lora, layer, p);

	return t ? t->rank : 0;
}

static void
layout_attn(struct qz_net *n, struct qz_kept *l, struct bump *b, enum qz_use use)
{
	int64_t t = n->shape.room.tokens, q = q_width(n), kv = kv_width(n);
	size_t act = n->k->act_size, par = n->k->par_size;

	l->q = take(b, use, t * q, act);
	l->k = take(b, use, n->shape.past ? 0 : t * kv, act); /* a cache is each layer's own */
	l->v = take(b, use, n->shape.past ? 0 : t * kv, act);
	l->q_raw = l->q;
	l->k_raw = l->k;
	if (n->c.family->qk_norm) {
		l->q_raw = take(b, use, t * q, act);
		l->k_raw = take(b, use, t * kv, act);
		l->rstd_q = take(b, use, t * n->c.heads, par);
		l->rstd_k = take(b, use, t * n->c.kv_heads, par);
	}
	l->o = take(b, use, t * q, act);
	l->lse = take(b, use, t * n->c.heads, par);
	l->x2 = take(b, use, t * n->c.hidden, act);
	l->rstd1 = take(b, use, t, par);
	l->rstd2 = take(b, use, t, par);
}

static void
layout_mlp(struct qz_net *n, struct qz_kept *l, struct bump *b, enum qz_use use)
{
	int64_t t = n->shape.room.tokens;

	l->gate = take(b, use, t * n->c.ffn, n->k->act_size);
	l->up = take(b, use, t * n->c.ffn, n->k->act_size);
}

/* s of the projections from..to; layers that share memory take the largest rank. */
static void
layout_s(struct qz_net *n, struct qz_kept *l, int layer, int from, int to, struct bump *b,
    enum qz_use use)
{
	for (int p = from; p <= to; p++) {
		int64_t rank = 0;

		for (int i = layer < 0 ? 0 : layer; i < (layer < 0 ? n->c.layers : layer + 1); i++)
			if (rank_of(n, i, (enum qz_proj)p) > rank)
				rank = rank_of(n, i, (enum qz_proj)p);
		l->s[p] = take(b, use, n->shape.room.tokens * rank, n->k->act_size);
	}
}

static void
share_mlp(struct qz_kept *l, const struct qz_kept *shared)
{
	l->gate = shared->gate;
	l->up = shared->up;
	l->s[QZ_PROJ_GATE] = shared->s[QZ_PROJ_GATE];
	l->s[QZ_PROJ_UP] = shared->s[QZ_PROJ_UP];
}

static void
layout_layers(struct qz_net *n, struct bump *b)
{
	const struct qz_policy *policy = &n->shape.policy;
	int64_t L = n->c.layers, t = n->shape.room.tokens;
	int64_t x_only = n->shape.train ? policy->x_only : L;
	struct qz_kept shared = { 0 };

	if (x_only || policy->no_mlp) {
		layout_mlp(n, &shared, b, QZ_USE_WORK);
		layout_s(n, &shared, -1, QZ_PROJ_GATE, QZ_PROJ_UP, b, QZ_USE_WORK);
	}
	if (x_only) {
		layout_attn(n, &shared, b, QZ_USE_WORK);
		layout_s(n, &shared, -1, QZ_PROJ_Q, QZ_PROJ_O, b, QZ_USE_WORK);
	}
	/* The s of down_proj is not computed again: db needs it, and it is small. */
	if (!n->shape.train)
		layout_s(n, &shared, -1, QZ_PROJ_DOWN, QZ_PROJ_DOWN, b, QZ_USE_WORK);
	n->x_out = take(b, QZ_USE_WORK, t * n->c.hidden, n->k->act_size);
	for (int i = 0; i < L; i++) {
		struct qz_kept *l = &n->layers[i];

		if (i < x_only)
			*l = shared;
		else
			layout_attn(n, l, b, QZ_USE_KEPT);
		if (n->shape.past) {
			l->k = take(b, QZ_USE_KEPT, n->shape.past * kv_width(n), n->k->act_size);
			l->v = take(b, QZ_USE_KEPT, n->shape.past * kv_width(n), n->k->act_size);
		}
		l->x = n->shape.train ? take(b, QZ_USE_KEPT, t * n->c.hidden, n->k->act_size)
				      : n->x_out;
		if (!n->shape.train)
			continue;
		layout_s(n, l, i, QZ_PROJ_DOWN, QZ_PROJ_DOWN, b, QZ_USE_KEPT);
		if (i < x_only)
			continue;
		layout_s(n, l, i, QZ_PROJ_Q, QZ_PROJ_O, b, QZ_USE_KEPT);
		if (i < x_only + policy->no_mlp) {
			share_mlp(l, &shared);
			continue;
		}
		layout_mlp(n, l, b, QZ_USE_KEPT);
		layout_s(n, l, i, QZ_PROJ_GATE, QZ_PROJ_UP, b, QZ_USE_KEPT);
	}
}

/* The MLP's h and dh are dead when attention's gradients live. */
static void
layout_work(struct qz_net *n, struct bump *b)
{
	int64_t t = n->shape.room.tokens, q = q_width(n), kv = kv_width(n);
	size_t act = n->k->act_size;
	uint64_t mlp, attn, head, most, start;

	n->xn = take(b, QZ_USE_WORK, t * n->c.hidden, act);
	n->dxn = take(b, QZ_USE_WORK, t * n->c.hidden, act);
	n->rstd = take(b, QZ_USE_WORK, t, n->k->par_size);
	if (!n->shape.train) {
		n->h = take(b, QZ_USE_WORK, t * n->c.ffn, act);
		return;
	}
	n->dx = take(b, QZ_USE_WORK, t * n->c.hidden, act);
	mlp = attn = head = start = b->at;
	n->dx_rows = again(b, &head, t * n->c.hidden, act);
	n->h = again(b, &mlp, t * n->c.ffn, act);
	n->dh = again(b, &mlp, t * n->c.ffn, act);
	n->d_o = again(b, &attn, t * q, act);
	n->dq = again(b, &attn, t * q, act);
	n->dk = again(b, &attn, t * kv, act);
	n->dv = again(b, &attn, t * kv, act);
	n->dk_raw = again(b, &attn, t * kv, act);
	most = mlp > attn ? mlp : attn;
	take(b, QZ_USE_WORK, (int64_t)((most > head ? most : head) - start), 1);
}

static void
layout_batch(struct qz_net *n, struct bump *b)
{
	const struct qz_extent *x = &n->shape.room;

	n->ids = take(b, QZ_USE_BATCH, x->tokens, sizeof *n->ids);
	n->pos = take(b, QZ_USE_BATCH, x->tokens, sizeof *n->pos);
	n->q_start = take(b, QZ_USE_BATCH, x->docs + 1, sizeof *n->q_start);
	n->k_start = take(b, QZ_USE_BATCH, x->docs + 1, sizeof *n->k_start);
	n->trained = take(b, QZ_USE_BATCH, x->trained + 1, sizeof *n->trained);
	n->targets = take(b, QZ_USE_BATCH, x->trained + 1, sizeof *n->targets);
	n->losses = take(b, QZ_USE_BATCH, n->shape.losses + 1, sizeof *n->losses);
	n->sum = take(b, QZ_USE_BATCH, 1, sizeof *n->sum);
	n->adamw = take(b, QZ_USE_BATCH, 1, sizeof *n->adamw);
	n->rope = take(b, QZ_USE_BATCH, n->positions * n->c.head_dim, n->k->par_size);
}

/* The largest sum over a layer's groups of projections of f(layer, projection). */
static int64_t
largest_group(const struct qz_net *n, bool ranks)
{
	static const int ends[] = { QZ_PROJ_V, QZ_PROJ_O, QZ_PROJ_UP, QZ_PROJ_DOWN };
	int64_t most = 0;

	for (int layer = 0; layer < (ranks ? n->c.layers : 1); layer++)
		for (int g = 0, p = 0; g < 4; g++) {
			int64_t sum = 0, rows, cols;

			for (; p <= ends[g]; p++) {
				qz_proj_shape(&n->c, (enum qz_proj)p, &rows, &cols);
				sum += ranks ? rank_of(n, layer, (enum qz_proj)p) : rows * cols;
			}
			most = sum > most ? sum : most;
		}
	return most;
}

static struct qz_need
kernel_need(const struct qz_net *n)
{
	struct qz_need need = { .tokens = n->shape.room.tokens,
		.group = largest_group(n, false),
		.rank_sum = largest_group(n, true),
		.max_len = n->shape.past ? n->shape.past : n->shape.room.max_len,
		.heads = (int)n->c.heads,
		.kv_heads = (int)n->c.kv_heads,
		.head_dim = (int)n->c.head_dim,
		.head_rows = n->logits_rows,
		.vocab = n->c.vocab };

	for (int p = 0; p < QZ_PROJ_N; p++) {
		int64_t rows, cols;

		qz_proj_shape(&n->c, (enum qz_proj)p, &rows, &cols);
		need.weight = rows * cols > need.weight ? rows * cols : need.weight;
		need.width = rows > need.width ? rows : need.width;
		need.width = cols > need.width ? cols : need.width;
	}
	return need;
}

static void
layout(struct qz_net *n, struct bump *b)
{
	int64_t rows = (int64_t)(n->shape.logits_bytes / ((uint64_t)n->c.vocab * n->k->par_size));
	int64_t most = n->shape.room.trained ? n->shape.room.trained : 1;
	struct qz_need need;
	size_t workspace;

	n->logits_rows = rows < 1 ? 1 : rows > most ? most : rows;
	n->positions = n->shape.past ? n->shape.past : n->shape.room.max_len;
	n->p = take(b, QZ_USE_ADAPTER, (int64_t)n->lora.n_par, n->k->par_size);
	if (n->shape.train) {
		n->g = take(b, QZ_USE_GRADIENTS, (int64_t)n->lora.n_par, n->k->par_size);
		n->m = take(b, QZ_USE_OPTIMIZER, (int64_t)n->lora.n_par, n->k->par_size);
		n->v = take(b, QZ_USE_OPTIMIZER, (int64_t)n->lora.n_par, n->k->par_size);
	}
	layout_layers(n, b);
	layout_work(n, b);
	layout_batch(n, b);
	n->logits = take(b, QZ_USE_LOGITS, n->logits_rows * n->c.vocab, n->k->par_size);
	need = kernel_need(n);
	workspace = n->k->workspace(n->dev, &need);
	n->workspace = take(b, QZ_USE_KERNELS, (int64_t)workspace, 1);
	for (int u = 0; u < QZ_USE_N; u++)
		b->plan->total += b->plan->bytes[u];
}

/* Fills the parts of n that layout() needs. */
static int
prepare(struct qz_net *n, struct qz_dev *dev, const struct qz_config *c, const struct qz_lora *l,
    const struct qz_net_shape *shape, struct qz_err *e)
{
	*n = (struct qz_net){ .dev = dev, .k = dev->k, .c = *c, .shape = *shape };
	n->layers = calloc((size_t)c->layers, sizeof *n->layers);
	if (!n->layers)
		return qz_nomem(e, (size_t)c->layers * sizeof *n->layers);
	return l ? qz_lora_copy(&n->lora, l, e) : 0;
}

int
qz_net_plan(struct qz_plan *p, struct qz_dev *dev, const struct qz_config *c, uint64_t weights,
    const struct qz_lora *l, const struct qz_net_shape *shape, struct qz_err *e)
{
	struct bump b = { .plan = p };
	struct qz_net n;

	*p = (struct qz_plan){ .bytes = { [QZ_USE_WEIGHTS] = weights } };
	if (prepare(&n, dev, c, l, shape, e) < 0) {
		qz_net_close(&n);
		return -1;
	}
	layout(&n, &b);
	qz_net_close(&n);
	return 0;
}

/* cos and sin of a position, computed in float64 and rounded once. */
static void
rope_row(struct qz_net *n, int64_t pos, const double *freq, double *wide, float *narrow)
{
	int64_t half = n->c.head_dim / 2, row = 2 * half;

	for (int64_t i = 0; i < half; i++) {
		wide[2 * i] = cos((double)pos * freq[i]);
		wide[2 * i + 1] = sin((double)pos * freq[i]);
	}
	for (int64_t i = 0; i < row; i++)
		narrow[i] = (float)wide[i];
	n->k->copy_in(n->dev, (char *)n->rope + (size_t)(pos * row) * n->k->par_size,
	    n->k->par_type == QZ_F64 ? (void *)wide : narrow, (size_t)row * n->k->par_size);
}

static int
fill_rope(struct qz_net *n, struct qz_err *e)
{
	size_t d = (size_t)n->c.head_dim;
	double *freq = malloc(d * sizeof *freq), *wide = malloc(d * sizeof *wide);
	float *narrow = malloc(d * sizeof *narrow);
	int ret = freq && wide && narrow ? 0 : qz_nomem(e, d * sizeof *wide);

	if (ret == 0)
		qz_config_rope(&n->c, freq);
	for (int64_t pos = 0; ret == 0 && pos < n->positions; pos++)
		rope_row(n, pos, freq, wide, narrow);
	if (ret == 0)
		ret = n->k->sync(n->dev, e);
	free(narrow);
	free(wide);
	free(freq);
	return ret;
}

int
qz_net_open(struct qz_net *n, const struct qz_weights *w, const struct qz_lora *l,
    const struct qz_net_shape *shape, struct qz_err *e)
{
	struct bump b = { 0 };
	uint64_t mine;

	if (prepare(n, w->dev, &w->config, l, shape, e) < 0)
		goto fail;
	b.plan = &n->plan;
	n->w = w;
	n->plan.bytes[QZ_USE_WEIGHTS] = w->nbytes;
	layout(n, &b);
	mine = b.at;
	n->base = n->k->alloc(n->dev, mine, e);
	if (!n->base)
		goto fail;
	n->plan = (struct qz_plan){ .bytes = { [QZ_USE_WEIGHTS] = w->nbytes } };
	b = (struct bump){ .base = n->base, .plan = &n->plan };
	layout(n, &b);
	n->k->set_workspace(n->dev, n->workspace, (size_t)n->plan.bytes[QZ_USE_KERNELS]);
	n->k->fill(n->dev, n->p, 0, n->lora.n_par * n->k->par_size);
	if (shape->train) {
		n->k->fill(n->dev, n->g, 0, n->lora.n_par * n->k->par_size);
		n->k->fill(n->dev, n->m, 0, n->lora.n_par * n->k->par_size);
		n->k->fill(n->dev, n->v, 0, n->lora.n_par * n->k->par_size);
	}
	if (fill_rope(n, e) < 0)
		goto fail;
	return 0;
fail:
	qz_net_close(n);
	return -1;
}

void
qz_net_close(struct qz_net *n)
{
	if (n->base) {
		n->k->set_workspace(n->dev, NULL, 0);
		n->k->free(n->dev, n->base);
	}
	free(n->layers);
	qz_lora_free(&n->lora);
	*n = (struct qz_net){ 0 };
}

void
qz_net_put(struct qz_net *n, qz_par *to, const float *from, uint64_t count)
{
	enum { PIECE = 512 };
	double wide[PIECE];

	if (n->k->par_type == QZ_F32) {
		n->k->copy_in(n->dev, to, from, count * sizeof *from);
		return;
	}
	for (uint64_t at = 0; at < count; at += PIECE) {
		uint64_t m = count - at < PIECE ? count - at : PIECE;

		for (uint64_t i = 0; i < m; i++)
			wide[i] = from[at + i];
		n->k->copy_in(n->dev, (double *)to + at, wide, m * sizeof *wide);
	}
}

void
qz_net_get(struct qz_net *n, float *to, const qz_par *from, uint64_t count)
{
	enum { PIECE = 512 };
	double wide[PIECE];

	if (n->k->par_type == QZ_F32) {
		n->k->copy_out(n->dev, to, from, count * sizeof *to);
		return;
	}
	for (uint64_t at = 0; at < count; at += PIECE) {
		uint64_t m = count - at < PIECE ? count - at : PIECE;

		n->k->copy_out(n->dev, wide, (const double *)from + at, m * sizeof *wide);
		for (uint64_t i = 0; i < m; i++)
			to[at + i] = (float)wide[i];
	}
}

void
qz_net_batch(struct qz_net *n, const struct qz_batch *b, int64_t past)
{
	int32_t cache[2] = { 0, (int32_t)(past + b->n_tokens) };
	size_t starts = (size_t)(b->n_docs + 1) * sizeof *b->doc_start;

	n->t = b->n_tokens;
	n->n_docs = b->n_docs;
	n->n_trained = b->n_trained;
	n->max_len = b->max_len;
	n->past = past;
	n->k->copy_in(n->dev, n->ids, b->ids, (size_t)n->t * sizeof *b->ids);
	n->k->copy_in(n->dev, n->pos, b->positions, (size_t)n->t * sizeof *b->positions);
	n->k->copy_in(n->dev, n->q_start, b->doc_start, starts);
	n->k->copy_in(
	    n->dev, n->k_start, past ? cache : b->doc_start, past ? sizeof cache : starts);
	n->k->copy_in(n->dev, n->trained, b->trained, (size_t)n->n_trained * sizeof *b->trained);
	n->k->copy_in(n->dev, n->targets, b->targets, (size_t)n->n_trained * sizeof *b->targets);
}
