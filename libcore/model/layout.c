#include "libcore/base/size.h"
#include "libcore/model/net.h"

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

/* The largest of any layer. */
static int64_t
most_rank(const struct qz_net *n, enum qz_proj p)
{
	int64_t most = 0;

	for (int i = 0; i < n->c.layers; i++)
		if (rank_of(n, i, p) > most)
			most = rank_of(n, i, p);
	return most;
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

/* t tokens: all of them, or those of a chunk where layers share the memory. */
static void
layout_mlp(struct qz_net *n, struct qz_kept *l, int64_t t, struct bump *b, enum qz_use use)
{
	l->gate = take(b, use, t * n->c.ffn, n->k->act_size);
	l->up = take(b, use, t * n->c.ffn, n->k->act_size);
}

/* s of the projections from..to, which have one input, side by side; layers that share memory take the
 * largest rank of each. */
static void
layout_s(struct qz_net *n, struct qz_kept *l, int layer, enum qz_proj from, enum qz_proj to,
    struct bump *b, enum qz_use use)
{
	int64_t at[QZ_PROJ_N], sum = 0;
	char *base;

	for (int p = (int)from; p <= (int)to; p++) {
		at[p] = sum;
		sum += layer < 0 ? most_rank(n, (enum qz_proj)p)
				 : rank_of(n, layer, (enum qz_proj)p);
	}
	base = take(b, use, n->shape.room.tokens * sum, n->k->act_size);
	for (int p = (int)from; p <= (int)to; p++) {
		l->s[p] = base ? base + (size_t)at[p] * n->k->act_size : NULL;
		l->lds[p] = sum;
	}
}

static void
layout_attn_s(struct qz_net *n, struct qz_kept *l, int layer, struct bump *b, enum qz_use use)
{
	layout_s(n, l, layer, QZ_PROJ_Q, QZ_PROJ_V, b, use);
	layout_s(n, l, layer, QZ_PROJ_O, QZ_PROJ_O, b, use);
}

static void
share_mlp(struct qz_kept *l, const struct qz_kept *shared)
{
	l->gate = shared->gate;
	l->up = shared->up;
	for (int p = QZ_PROJ_GATE; p <= QZ_PROJ_UP; p++) {
		l->s[p] = shared->s[p];
		l->lds[p] = shared->lds[p];
	}
}

/* The layer's input: in its own memory, or in one of two slots that host memory refills. */
static void
layout_x(struct qz_net *n, int layer, struct bump *b)
{
	struct qz_kept *l = &n->layers[layer];
	int64_t elements = n->shape.room.tokens * n->c.hidden;

	if (!n->shape.train)
		l->x = n->x_out;
	else if (layer >= n->shape.policy.x_host)
		l->x = take(b, QZ_USE_KEPT, elements, n->k->act_size);
	else
		l->x = n->slot[layer % 2];
}

/* Two places for the attention parts that wait in host memory. */
static void
layout_away(struct qz_net *n, struct bump *b)
{
	n->away_bytes = 0;
	for (int i = 0; n->shape.train && i < 2 && i < n->shape.policy.attn_host; i++) {
		uint64_t start = b->at;

		n->away_at[i] = b->base ? b->base + start : NULL;
		layout_attn(n, &n->away[i], b, QZ_USE_KEPT);
		layout_attn_s(n, &n->away[i], -1, b, QZ_USE_KEPT);
		n->away_bytes = b->at - start;
	}
}

static void
layout_layers(struct qz_net *n, struct bump *b)
{
	const struct qz_policy *policy = &n->shape.policy;
	int64_t L = n->c.layers, t = n->shape.room.tokens;
	int64_t x_only = n->shape.train ? policy->x_only : L;
	struct qz_kept shared = { 0 };

	if (x_only || policy->no_mlp) {
		layout_mlp(n, &shared, qz_net_chunk(n, t), b, QZ_USE_WORK);
		layout_s(n, &shared, -1, QZ_PROJ_GATE, QZ_PROJ_UP, b, QZ_USE_WORK);
	}
	if (x_only) {
		layout_attn(n, &shared, b, QZ_USE_WORK);
		layout_attn_s(n, &shared, -1, b, QZ_USE_WORK);
	}
	/* The s of down_proj is not computed again: db needs it, and it is small. */
	if (!n->shape.train)
		layout_s(n, &shared, -1, QZ_PROJ_DOWN, QZ_PROJ_DOWN, b, QZ_USE_WORK);
	n->x_out = take(b, QZ_USE_WORK, t * n->c.hidden, n->k->act_size);
	for (int i = 0; n->shape.train && i < 2; i++)
		n->slot[i] = policy->x_host > i
				 ? take(b, QZ_USE_KEPT, t * n->c.hidden, n->k->act_size)
				 : NULL;
	layout_away(n, b);
	for (int i = 0; i < L; i++) {
		struct qz_kept *l = &n->layers[i];
		bool away = i >= x_only && i < x_only + policy->attn_host;

		if (i < x_only)
			*l = shared;
		else if (away)
			*l = n->away[(i - x_only) % 2];
		else
			layout_attn(n, l, b, QZ_USE_KEPT);
		if (n->shape.past) {
			l->k = take(b, QZ_USE_KEPT, n->shape.past * kv_width(n), n->k->act_size);
			l->v = take(b, QZ_USE_KEPT, n->shape.past * kv_width(n), n->k->act_size);
		}
		layout_x(n, i, b);
		if (!n->shape.train)
			continue;
		layout_s(n, l, i, QZ_PROJ_DOWN, QZ_PROJ_DOWN, b, QZ_USE_KEPT);
		if (i < x_only)
			continue;
		if (!away)
			layout_attn_s(n, l, i, b, QZ_USE_KEPT);
		if (i < x_only + policy->no_mlp) {
			share_mlp(l, &shared);
			continue;
		}
		layout_mlp(n, l, t, b, QZ_USE_KEPT);
		layout_s(n, l, i, QZ_PROJ_GATE, QZ_PROJ_UP, b, QZ_USE_KEPT);
	}
}

/* Decoded weights of the last layers, as activations' type: only those that are not of that type already. */
static void
layout_cache(struct qz_net *n, struct bump *b)
{
	for (int64_t i = n->c.layers - n->shape.policy.cached; i < n->c.layers; i++)
		for (int p = 0; p < QZ_PROJ_N; p++) {
			struct qz_mat *m = &n->cache[i][p];

			*m = (struct qz_mat){ .type = n->k->act_type };
			qz_proj_shape(&n->c, (enum qz_proj)p, &m->rows, &m->cols);
			m->data = take(b, QZ_USE_CACHE, m->rows * m->cols, n->k->act_size);
		}
}

/* What the MLP's backward pass needs is dead when attention's gradients live. */
static void
layout_work(struct qz_net *n, struct bump *b)
{
	int64_t t = n->shape.room.tokens, q = q_width(n), kv = kv_width(n);
	int64_t chunk = qz_net_chunk(n, t);
	size_t act = n->k->act_size;
	uint64_t mlp, attn, head, most, start;

	n->xn = take(b, QZ_USE_WORK, t * n->c.hidden, act);
	n->dxn = take(b, QZ_USE_WORK, t * n->c.hidden, act);
	n->rstd = take(b, QZ_USE_WORK, t, n->k->par_size);
	if (!n->shape.train) {
		n->h = take(b, QZ_USE_WORK, chunk * n->c.ffn, act);
		return;
	}
	n->dx = take(b, QZ_USE_WORK, t * n->c.hidden, act);
	mlp = attn = head = start = b->at;
	n->dx_rows = again(b, &head, t * n->c.hidden, act);
	n->h = again(b, &mlp, chunk * n->c.ffn, act);
	n->dh = n->h; /* where h has been */
	n->down_left = again(b, &mlp,
	    (int64_t)qz_left_bytes(act, chunk, (int)most_rank(n, QZ_PROJ_DOWN), n->c.ffn), 1);
	n->gate_left = again(
	    b, &mlp, chunk * (most_rank(n, QZ_PROJ_GATE) + most_rank(n, QZ_PROJ_UP)), act);
	n->d_o = again(b, &attn, t * q, act);
	n->dq = again(b, &attn, t * q, act);
	n->dk = again(b, &attn, t * kv, act);
	n->dv = again(b, &attn, t * kv, act);
	n->dk_raw = again(b, &attn, n->c.family->qk_norm ? t * kv : 0, act);
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

int64_t
qz_net_chunk(const struct qz_net *n, int64_t t)
{
	int64_t chunk = n->shape.policy.chunk;

	return chunk && chunk < t ? chunk : t;
}

static uint64_t
x_bytes(const struct qz_net *n)
{
	return qz_round_up((uint64_t)(n->shape.room.tokens * n->c.hidden) * n->k->act_size, ALIGN);
}

uint64_t
qz_net_host_bytes(const struct qz_net *n)
{
	const struct qz_policy *p = &n->shape.policy;

	if (!n->shape.train)
		return 0;
	return (uint64_t)p->x_host * x_bytes(n) + (uint64_t)p->attn_host * n->away_bytes;
}

char *
qz_net_host_x(const struct qz_net *n, int layer)
{
	return layer >= 0 && layer < n->shape.policy.x_host ? n->host + (uint64_t)layer * x_bytes(n)
							    : NULL;
}

char *
qz_net_host_attn(const struct qz_net *n, int layer)
{
	const struct qz_policy *p = &n->shape.policy;

	if (layer < p->x_only || layer >= p->x_only + p->attn_host)
		return NULL;
	return n->host + (uint64_t)p->x_host * x_bytes(n) +
	       (uint64_t)(layer - p->x_only) * n->away_bytes;
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
		.dropout = n->lora.dropout > 0,
		.any_order = n->shape.any_order,
		.attention_parts = n->shape.train ? n->shape.policy.attention_parts : 0,
		.docs = n->shape.room.docs,
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

/* Gradients, m and v; the latter may lie in host memory, but for the block constants: requests of four bytes would keep
 * the link as busy as the codes do. */
static void
layout_states(struct qz_net *n, struct bump *b)
{
	struct qz_plan away = { 0 };
	struct bump host = { .base = n->states, .plan = &away };
	struct bump *s = n->shape.states_host ? &host : b;
	int64_t count = (int64_t)n->lora.n_par, blocks = count / QZ_ADAMW8_BLOCK;
	bool codes = n->shape.optim == QZ_OPTIM_ADAMW8;
	size_t size = codes ? 1 : n->k->par_size;

	n->g = take(b, QZ_USE_GRADIENTS, count, n->k->par_size);
	n->m = take(s, QZ_USE_OPTIMIZER, count, size);
	n->v = take(s, QZ_USE_OPTIMIZER, count, size);
	if (codes) {
		n->absmax_m = take(b, QZ_USE_OPTIMIZER, blocks, sizeof *n->absmax_m);
		n->absmax_v = take(b, QZ_USE_OPTIMIZER, blocks, sizeof *n->absmax_v);
	}
	n->states_bytes = host.at;
}

uint64_t
qz_net_layout(struct qz_net *n, void *base, struct qz_plan *plan)
{
	struct bump all = { .base = base, .plan = plan }, *b = &all;
	int64_t rows = (int64_t)(n->shape.logits_bytes / ((uint64_t)n->c.vocab * n->k->par_size));
	int64_t most = n->shape.room.trained ? n->shape.room.trained : 1;
	struct qz_need need;
	size_t workspace;

	n->logits_rows = rows < 1 ? 1 : rows > most ? most : rows;
	n->positions = n->shape.past ? n->shape.past : n->shape.room.max_len;
	n->p = take(b, QZ_USE_ADAPTER, (int64_t)n->lora.n_par, n->k->par_size);
	if (n->k->act_type == n->k->par_type)
		n->pa = n->p;
	else
		n->pa = take(b, QZ_USE_ADAPTER, (int64_t)n->lora.n_par, n->k->act_size);
	if (n->shape.train)
		layout_states(n, b);
	layout_layers(n, b);
	layout_cache(n, b);
	layout_work(n, b);
	layout_batch(n, b);
	n->logits = take(b, QZ_USE_LOGITS, n->logits_rows * n->c.vocab, n->k->par_size);
	need = kernel_need(n);
	workspace = n->k->workspace(n->dev, &need);
	n->workspace = take(b, QZ_USE_KERNELS, (int64_t)workspace, 1);
	for (int u = 0; u < QZ_USE_N; u++)
		b->plan->total += b->plan->bytes[u];
	b->plan->host_states = n->states_bytes;
	b->plan->host = qz_net_host_bytes(n) + n->states_bytes;
	return b->at;
}
