#include "libcore/model/net.h"

/* The normed input is not kept. */
static struct qz_norm
norm_of(const struct qz_net *n, const float *w, qz_par *rstd, qz_act *room)
{
	return (struct qz_norm){ .w = w, .rstd = rstd, .eps = n->c.norm_eps, .room = room };
}

/* The backward pass of projections with one input, x or what the norm makes of x, whose gradients are dy[..]: into dx
 * when wanted. */
static void
linears(struct qz_net *n, int layer, enum qz_proj first, int count, qz_act *const *dy,
    const qz_act *x, const struct qz_norm *norm, qz_act *dx)
{
	struct qz_linear l[3];

	for (int i = 0; i < count; i++) {
		l[i] = qz_net_linear(n, layer, (enum qz_proj)(first + i), NULL, dy[i]);
		l[i].norm = norm;
	}
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

/* The gradients of the current chunk: dx at the layer's output, which becomes that at x2. */
static void
mlp_chunk(struct qz_net *n, int layer, bool below)
{
	const struct qz_layer_weights *w = &n->w->layers[layer];
	struct qz_kept *l = &n->layers[layer];
	int64_t hidden = n->c.hidden, t = n->chunk_n, at = n->chunk;
	qz_act *dgu[2] = { qz_net_mlp_row(n, layer, l->gate), qz_net_mlp_row(n, layer, l->up) };
	qz_act *dx = qz_net_row(n, n->dx, at, hidden), *dxn = qz_net_row(n, n->dxn, at, hidden);
	qz_act *x2 = qz_net_row(n, l->x2, at, hidden);
	qz_par *rstd = (char *)l->rstd2 + (size_t)at * n->k->par_size;
	struct qz_norm norm = norm_of(n, w->ffn_norm, rstd, qz_net_row(n, n->xn, at, hidden));
	struct qz_linear down, gate_up[2];

	/* down_proj's input h is not kept: it is there for a moment on the way to the gradients of gate and up. */
	down = qz_net_linear(n, layer, QZ_PROJ_DOWN, NULL, dx);
	down.left = n->down_left;
	n->k->linear_bwd(n->dev, &down, 1, NULL, n->dh, t, false);
	for (int i = 0; i < 2; i++)
		gate_up[i] = qz_net_linear(
		    n, layer, (enum qz_proj)(QZ_PROJ_GATE + i), NULL, dgu[i]);
	gate_up[0].left = n->gate_left;
	gate_up[1].left = (char *)n->gate_left + (size_t)(t * gate_up[0].rank) * n->k->act_size;
	n->k->swiglu_adapted_bwd(n->dev, dgu[0], dgu[1], n->dh, &down, gate_up, t);
	gate_up[0].begun = gate_up[1].begun = true;
	gate_up[0].norm = gate_up[1].norm = &norm;
	n->k->linear_bwd(n->dev, gate_up, 2, x2, below ? dxn : NULL, t, false);
	if (below)
		n->k->rmsnorm_bwd(n->dev, dx, dxn, x2, rstd, w->ffn_norm, t, hidden, true);
}

static void
mlp(struct qz_net *n, int layer, bool below)
{
	const struct qz_policy *p = &n->shape.policy;
	int64_t step = qz_net_chunk(n, n->t);

	for (n->chunk = 0; n->chunk < n->t; n->chunk += step) {
		n->chunk_n = n->t - n->chunk < step ? n->t - n->chunk : step;
		n->recomputing = true;
		if (layer < p->x_only + p->no_mlp)
			qz_net_gate_up(n, layer);
		n->recomputing = false;
		mlp_chunk(n, layer, below);
	}
	n->chunk = 0;
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
	struct qz_norm norm = norm_of(n, w->attn_norm, l->rstd1, n->xn);

	linears(n, layer, QZ_PROJ_O, 1, &n->dx, l->o, NULL, n->d_o);
	a.d_o = n->d_o;
	a.dq = n->dq;
	a.dk = n->dk;
	a.dv = n->dv;
	n->k->attention_bwd(n->dev, &a);
	n->k->rope(n->dev, n->dq, n->dk, n->rope, n->pos, n->t, (int)c->heads, (int)c->kv_heads,
	    (int)c->head_dim, true);
	if (w->q_norm)
		heads_bwd(n, layer, &dqkv[0], &dqkv[1]);
	linears(n, layer, QZ_PROJ_Q, 3, dqkv, l->x, &norm, below ? n->dxn : NULL);
	if (below)
		n->k->rmsnorm_bwd(
		    n->dev, n->dx, n->dxn, l->x, l->rstd1, w->attn_norm, n->t, c->hidden, true);
}

/* What the layer below left in host memory comes back while this one computes, to where that of the layer
 * above was.  The last two of each kind are still on the device. */
static void
fetch_below(struct qz_net *n, int layer)
{
	const struct qz_policy *p = &n->shape.policy;
	int below = layer - 1;
	char *x = qz_net_host_x(n, below), *attn = qz_net_host_attn(n, below);

	if (x && below < p->x_host - 2)
		n->k->side_copy(n->dev, 1, n->layers[below].x, x,
		    (size_t)(n->t * n->c.hidden) * n->k->act_size);
	if (attn && below < p->x_only + p->attn_host - 2)
		n->k->side_copy(
		    n->dev, 1, n->away_at[(below - p->x_only) % 2], attn, (size_t)n->away_bytes);
}

void
qz_net_backward(struct qz_net *n)
{
	if (n->host)
		n->k->side_wait(n->dev, 0);
	for (int i = (int)n->c.layers - 1; i >= 0; i--) {
		/* The embedding is frozen: nothing below layer 0's first adapted projections. */
		bool attn_wanted = i > 0 || adapted(n, 0, QZ_PROJ_Q, QZ_PROJ_O);

		if (n->host) {
			n->k->side_wait(n->dev, 1);
			fetch_below(n, i);
		}
		n->recomputing = true;
		if (i < n->shape.policy.x_only)
			qz_net_attn_part(n, i);
		n->recomputing = false;
		mlp(n, i, attn_wanted);
		if (attn_wanted)
			attn(n, i, i > 0);
	}
}
