#include "libcore/model/net.h"

/* The backward pass of projections with one input, whose gradients are dy[..]: into dx when wanted. */
static void
linears(struct qz_net *n, int layer, enum qz_proj first, int count, qz_act *const *dy,
    const qz_act *x, qz_act *dx)
{
	struct qz_linear l[3];

	for (int i = 0; i < count; i++)
		l[i] = qz_net_linear(n, layer, (enum qz_proj)(first + i), NULL, dy[i]);
	n->k->linear_bwd(n->dev, l, count, x, dx, n->t, false);
}

static bool
adapted(const struct qz_net *n, int layer, int first, int last)
{
	for (int p = first; p <= last; p++)
		if (qz_lora_find(&n->lora, layer, (enum qz_proj)p))
			return true;
	return false;
}

/* xn = the normed input again: cheaper than keeping it. */
static void
norm(struct qz_net *n, const qz_act *x, qz_par *rstd, const float *w)
{
	n->k->rmsnorm(n->dev, n->xn, rstd, x, w, n->t, n->c.hidden, n->c.norm_eps);
}

static void
add_norm_bwd(struct qz_net *n, const qz_act *x, const qz_par *rstd, const float *w)
{
	n->k->rmsnorm_bwd(n->dev, n->dx, n->dxn, x, rstd, w, n->t, n->c.hidden, true);
}

/* dx: gradient at the layer's output, becomes that at x2. */
static void
mlp(struct qz_net *n, int layer, bool below)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	struct qz_kept *l = &n->layers[layer];
	qz_act *dgu[2] = { l->gate, l->up };

	n->k->swiglu(n->dev, n->h, l->gate, l->up, n->t * n->c.ffn);
	linears(n, layer, QZ_PROJ_DOWN, 1, &n->dx, n->h, n->dh);
	n->k->swiglu_bwd(n->dev, l->gate, l->up, n->dh, NULL, n->t * n->c.ffn);
	norm(n, l->x2, l->rstd2, w->ffn_norm);
	linears(n, layer, QZ_PROJ_GATE, 2, dgu, n->xn, below ? n->dxn : NULL);
	if (below)
		add_norm_bwd(n, l->x2, l->rstd2, w->ffn_norm);
}

/* The gradients before the norm of each head; where d_o was, and dk_raw. */
static void
heads_bwd(struct qz_net *n, int layer, qz_act **dq, qz_act **dk)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	struct qz_kept *l = &n->layers[layer];
	const struct qz_config *c = &n->c;

	n->k->rmsnorm_bwd(n->dev, n->d_o, n->dq, l->q_raw, l->rstd_q, w->q_norm, n->t * c->heads,
	    c->head_dim, false);
	n->k->rmsnorm_bwd(n->dev, n->dk_raw, n->dk, l->k_raw, l->rstd_k, w->k_norm,
	    n->t * c->kv_heads, c->head_dim, false);
	*dq = n->d_o;
	*dk = n->dk_raw;
}

/* dx: gradient at x2, becomes that at x when there is something below. */
static void
attn(struct qz_net *n, int layer, bool below)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	struct qz_kept *l = &n->layers[layer];
	const struct qz_config *c = &n->c;
	struct qz_attn a = qz_net_attn(n, l);
	qz_act *dqkv[3] = { n->dq, n->dk, n->dv };

	linears(n, layer, QZ_PROJ_O, 1, &n->dx, l->o, n->d_o);
	a.d_o = n->d_o;
	a.dq = n->dq;
	a.dk = n->dk;
	a.dv = n->dv;
	n->k->attention_bwd(n->dev, &a);
	n->k->rope(n->dev, n->dq, n->rope, n->pos, n->t, (int)c->heads, (int)c->head_dim, true);
	n->k->rope(n->dev, n->dk, n->rope, n->pos, n->t, (int)c->kv_heads, (int)c->head_dim, true);
	if (w->q_norm)
		heads_bwd(n, layer, &dqkv[0], &dqkv[1]);
	norm(n, l->x, l->rstd1, w->attn_norm);
	linears(n, layer, QZ_PROJ_Q, 3, dqkv, n->xn, below ? n->dxn : NULL);
	if (below)
		add_norm_bwd(n, l->x, l->rstd1, w->attn_norm);
}

/* What the policy did not keep. */
static void
recompute(struct qz_net *n, int layer)
{
	const struct qz_policy *p = &n->shape.policy;

	n->recomputing = true;
	if (layer < p->x_only)
		qz_net_attn_part(n, layer);
	if (layer < p->x_only + p->no_mlp)
		qz_net_gate_up(n, layer);
	n->recomputing = false;
}

void
qz_net_backward(struct qz_net *n)
{
	for (int i = (int)n->c.layers - 1; i >= 0; i--) {
		/* The embedding is frozen: nothing below layer 0's first adapted projections. */
		bool attn_wanted = i > 0 || adapted(n, 0, QZ_PROJ_Q, QZ_PROJ_O);

		recompute(n, i);
		mlp(n, i, attn_wanted);
		if (attn_wanted)
			attn(n, i, i > 0);
	}
}
