#include <math.h>

#include "libcore/base/hash.h"
#include "libcore/model/net.h"

/* Dropout's stream differs for each tensor, step and part of a step. */
static uint64_t
stream(const struct qz_net *n, int layer, enum qz_proj p)
{
	uint64_t key[4] = { (uint64_t)layer, (uint64_t)p, n->step, n->part };

	return qz_hash64(key, sizeof key);
}

qz_act *
qz_net_row(const struct qz_net *n, const qz_act *x, int64_t t, int64_t cols)
{
	return (char *)(uintptr_t)x + (size_t)(t * cols) * n->k->act_size;
}

qz_act *
qz_net_mlp_row(const struct qz_net *n, int layer, const qz_act *x)
{
	const struct qz_policy *p = &n->shape.policy;
	bool shared = !n->shape.train || layer < p->x_only + p->no_mlp;

	return qz_net_row(n, x, shared ? 0 : n->chunk, n->c.ffn);
}

static bool
in_mlp(enum qz_proj p)
{
	return p >= QZ_PROJ_GATE;
}

struct qz_linear
qz_net_linear(const struct qz_net *n, int layer, enum qz_proj p, qz_act *y, const qz_act *dy)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	const struct qz_lora_tensor *t = qz_lora_find(&n->lora, layer, p);
	struct qz_linear l = { .w = w->w[p], .bias = w->bias[p], .y = y, .dy = dy };
	size_t size = n->k->par_size, act = n->k->act_size;

	if (n->cache[layer][p].data)
		l.w = n->cache[layer][p];
	if (!t)
		return l;
	l.first = in_mlp(p) ? n->chunk : 0;
	l.rank = t->rank;
	l.scale = t->scale;
	l.a = (char *)n->pa + t->a * act;
	l.b = (char *)n->pa + t->b * act;
	l.lds = n->layers[layer].lds[p];
	l.s = qz_net_row(n, n->layers[layer].s[p], l.first, l.lds);
	if (n->g) {
		l.da = (char *)n->g + t->a * size;
		l.db = (char *)n->g + t->b * size;
	}
	if (n->dropping && n->lora.dropout > 0) {
		l.dropout = (float)n->lora.dropout;
		l.seed = n->seed;
		l.stream = stream(n, layer, p);
	}
	return l;
}

static void
visit(struct qz_net *n, int layer, enum qz_proj first, int count, const qz_act *x, int64_t t)
{
	if (n->visit && !n->recomputing)
		n->visit(n->visit_arg, layer, first, count, x, t);
}

/* Projections first.. of a layer, all with the input x (t rows); plus: added to what they give. */
static void
linears(struct qz_net *n, int layer, enum qz_proj first, int count, qz_act *const *y,
    const qz_act *plus, const qz_act *x, int64_t t)
{
	struct qz_linear l[3];

	visit(n, layer, first, count, x, t);
	for (int i = 0; i < count; i++) {
		l[i] = qz_net_linear(n, layer, (enum qz_proj)(first + i), y[i], NULL);
		l[i].plus = plus;
	}
	n->k->linear(n->dev, l, count, x, t);
}

struct qz_attn
qz_net_attn(const struct qz_net *n, const struct qz_kept *l)
{
	const struct qz_config *c = &n->c;

	return (struct qz_attn){ .n_docs = (int)n->n_docs,
		.max_q = (int)n->max_len,
		.max_k = (int)(n->past + n->max_len),
		.q_start = n->q_start,
		.k_start = n->k_start,
		.q_host = n->starts,
		.k_host = n->starts,
		.any_order = n->shape.any_order,
		.parts = n->shape.policy.attention_parts,
		.heads = (int)c->heads,
		.kv_heads = (int)c->kv_heads,
		.head_dim = (int)c->head_dim,
		.window = c->window,
		.scale = (float)(1 / sqrt((double)c->head_dim)),
		.q = l->q,
		.k = l->k,
		.v = l->v,
		.o = l->o,
		.lse = l->lse };
}

static void
norm_heads(struct qz_net *n, int layer, qz_act *q, qz_act *k)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	struct qz_kept *l = &n->layers[layer];
	const struct qz_config *c = &n->c;

	n->k->rmsnorm(
	    n->dev, q, l->rstd_q, l->q_raw, w->q_norm, n->t * c->heads, c->head_dim, c->norm_eps);
	n->k->rmsnorm(n->dev, k, l->rstd_k, l->k_raw, w->k_norm, n->t * c->kv_heads, c->head_dim,
	    c->norm_eps);
}

void
qz_net_attn_part(struct qz_net *n, int layer)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	struct qz_kept *l = &n->layers[layer];
	const struct qz_config *c = &n->c;
	size_t past = (size_t)(n->past * c->kv_heads * c->head_dim) * n->k->act_size;
	qz_act *k = (char *)l->k + past, *v = (char *)l->v + past;
	bool normed = w->q_norm != NULL;
	qz_act *qkv[3] = { l->q_raw, normed ? l->k_raw : k, v };
	struct qz_attn a;

	n->k->rmsnorm(n->dev, n->xn, l->rstd1, l->x, w->attn_norm, n->t, c->hidden, c->norm_eps);
	linears(n, layer, QZ_PROJ_Q, 3, qkv, NULL, n->xn, n->t);
	if (normed)
		norm_heads(n, layer, l->q, k);
	n->k->rope(n->dev, l->q, k, n->rope, n->pos, n->t, (int)c->heads, (int)c->kv_heads,
	    (int)c->head_dim, false);
	a = qz_net_attn(n, l);
	n->k->attention(n->dev, &a);
	linears(n, layer, QZ_PROJ_O, 1, &l->x2, l->x, l->o, n->t);
}

void
qz_net_gate_up(struct qz_net *n, int layer)
{
	struct qz_kept *l = &n->layers[layer];
	int64_t hidden = n->c.hidden, t = n->chunk_n;
	qz_act *y[2] = { qz_net_mlp_row(n, layer, l->gate), qz_net_mlp_row(n, layer, l->up) };
	qz_act *xn = qz_net_row(n, n->xn, n->chunk, hidden);
	qz_par *rstd = (char *)l->rstd2 + (size_t)n->chunk * n->k->par_size;

	n->k->rmsnorm(n->dev, xn, rstd, qz_net_row(n, l->x2, n->chunk, hidden),
	    n->w->layers[layer].ffn_norm, t, hidden, n->c.norm_eps);
	linears(n, layer, QZ_PROJ_GATE, 2, y, NULL, xn, t);
}

/* down_proj of the current chunk, whose s comes with its input h. */
static void
down(struct qz_net *n, int layer, qz_act *y)
{
	struct qz_kept *k = &n->layers[layer];
	struct qz_linear l = qz_net_linear(n, layer, QZ_PROJ_DOWN, y, NULL);
	int64_t t = n->chunk_n;

	n->k->swiglu_adapted(n->dev, n->h, qz_net_mlp_row(n, layer, k->gate),
	    qz_net_mlp_row(n, layer, k->up), &l, t);
	visit(n, layer, QZ_PROJ_DOWN, 1, n->h, t);
	l.begun = true;
	l.plus = qz_net_row(n, k->x2, n->chunk, n->c.hidden);
	n->k->linear(n->dev, &l, 1, n->h, t);
}

/* x2 -> out, chunk by chunk. */
static void
mlp(struct qz_net *n, int layer, qz_act *out)
{
	int64_t step = qz_net_chunk(n, n->t);

	for (n->chunk = 0; n->chunk < n->t; n->chunk += step) {
		n->chunk_n = n->t - n->chunk < step ? n->t - n->chunk : step;
		qz_net_gate_up(n, layer);
		down(n, layer, qz_net_row(n, out, n->chunk, n->c.hidden));
	}
	n->chunk = 0;
}

/* A layer's input goes to host memory while the layer computes. */
static void
send_x(struct qz_net *n, int layer)
{
	char *to = n->host ? qz_net_host_x(n, layer) : NULL;

	if (to)
		n->k->side_copy(n->dev, 0, to, n->layers[layer].x,
		    (size_t)(n->t * n->c.hidden) * n->k->act_size);
}

/* And its attention part while the MLP does. */
static void
send_attn(struct qz_net *n, int layer)
{
	char *to = n->host ? qz_net_host_attn(n, layer) : NULL;

	if (to)
		n->k->side_copy(n->dev, 0, to, n->away_at[(layer - n->shape.policy.x_only) % 2],
		    (size_t)n->away_bytes);
}

void
qz_net_forward(struct qz_net *n)
{
	n->k->embed(n->dev, n->layers[0].x, &n->w->embed, n->ids, n->t);
	for (int i = 0; i < n->c.layers; i++) {
		qz_act *out = i + 1 < n->c.layers ? n->layers[i + 1].x : n->x_out;

		send_x(n, i);
		qz_net_attn_part(n, i);
		/* What layer i - 1 sent has left: its places are free for layer i + 1. */
		if (n->host)
			n->k->side_wait(n->dev, 0);
		send_attn(n, i);
		mlp(n, i, out);
	}
}
