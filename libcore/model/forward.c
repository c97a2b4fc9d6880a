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

struct qz_linear
qz_net_linear(const struct qz_net *n, int layer, enum qz_proj p, qz_act *y, const qz_act *dy)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	const struct qz_lora_tensor *t = qz_lora_find(&n->lora, layer, p);
	struct qz_linear l = { .w = w->w[p], .bias = w->bias[p], .y = y, .dy = dy };
	size_t size = n->k->par_size;

	if (!t)
		return l;
	l.rank = t->rank;
	l.scale = t->scale;
	l.a = (char *)n->p + t->a * size;
	l.b = (char *)n->p + t->b * size;
	l.s = n->layers[layer].s[p];
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

/* Projections first.. of a layer, all with the input x. */
static void
linears(
    struct qz_net *n, int layer, enum qz_proj first, int count, qz_act *const *y, const qz_act *x)
{
	struct qz_linear l[3];

	for (int i = 0; i < count; i++)
		l[i] = qz_net_linear(n, layer, (enum qz_proj)(first + i), y[i], NULL);
	n->k->linear(n->dev, l, count, x, n->t);
}

static void
visit(struct qz_net *n, int layer, enum qz_proj first, int count, const qz_act *x)
{
	if (n->visit && !n->recomputing)
		n->visit(n->visit_arg, layer, first, count, x, n->t);
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
	visit(n, layer, QZ_PROJ_Q, 3, n->xn);
	linears(n, layer, QZ_PROJ_Q, 3, qkv, n->xn);
	if (normed)
		norm_heads(n, layer, l->q, k);
	n->k->rope(n->dev, l->q, n->rope, n->pos, n->t, (int)c->heads, (int)c->head_dim, false);
	n->k->rope(n->dev, k, n->rope, n->pos, n->t, (int)c->kv_heads, (int)c->head_dim, false);
	a = qz_net_attn(n, l);
	n->k->attention(n->dev, &a);
	visit(n, layer, QZ_PROJ_O, 1, l->o);
	linears(n, layer, QZ_PROJ_O, 1, &l->x2, l->o);
	n->k->add(n->dev, l->x2, l->x, n->t * c->hidden);
}

void
qz_net_gate_up(struct qz_net *n, int layer)
{
	struct qz_kept *l = &n->layers[layer];
	qz_act *y[2] = { l->gate, l->up };

	n->k->rmsnorm(n->dev, n->xn, l->rstd2, l->x2, n->w->layers[layer].ffn_norm, n->t,
	    n->c.hidden, n->c.norm_eps);
	visit(n, layer, QZ_PROJ_GATE, 2, n->xn);
	linears(n, layer, QZ_PROJ_GATE, 2, y, n->xn);
}

void
qz_net_forward(struct qz_net *n)
{
	n->k->embed(n->dev, n->layers[0].x, &n->w->embed, n->ids, n->t);
	for (int i = 0; i < n->c.layers; i++) {
		struct qz_kept *l = &n->layers[i];
		qz_act *out = i + 1 < n->c.layers ? l[1].x : n->x_out;

		qz_net_attn_part(n, i);
		qz_net_gate_up(n, i);
		n->k->swiglu(n->dev, n->h, l->gate, l->up, n->t * n->c.ffn);
		visit(n, i, QZ_PROJ_DOWN, 1, n->h);
		linears(n, i, QZ_PROJ_DOWN, 1, &out, n->h);
		n->k->add(n->dev, out, l->x2, n->t * n->c.hidden);
	}
}
