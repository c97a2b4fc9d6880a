#include "libcore/model/estimate.h"

#include <stdlib.h>
#include <string.h>

/* Shares of the rates that ops reach which are bound by memory, and products of few columns. */
static const double STREAM = 0.85, SKINNY = 0.6, ADAPTED = 0.69;
/* A copy beside a product slows it down by this part of the copy's time (measured on an H200: 7 %). */
static const double DRAG = 0.07;
/* Share of the link that a kernel reaches which reads and writes host memory in words of a warp: 128 bytes with
 * 24 of their own. */
static const double MAPPED = 0.8;
/* Bytes of a 4-bit weight with its block constants. */
static const double PACKED = 0.516;

struct clock {
	struct qz_dev dev;
	struct qz_backend k;
	const struct qz_rates *r;
	int64_t t, max_len;
	double act, par; /* bytes */
	bool embed_host, states_host;
	double now, lane[2];
};

static struct clock *
clock_of(struct qz_dev *d)
{
	return (struct clock *)d;
}

static void
pass(struct qz_dev *d, double seconds)
{
	clock_of(d)->now += seconds > clock_of(d)->r->launch ? seconds : clock_of(d)->r->launch;
}

/* Reads and writes nbytes in all. */
static void
stream(struct qz_dev *d, double nbytes)
{
	pass(d, nbytes / (STREAM * clock_of(d)->r->copy));
}

/* A product (m, k) (k, n): its FLOPs, or its bytes where they take longer. */
static void
product(struct qz_dev *d, double m, double n, double k)
{
	const struct qz_rates *r = clock_of(d)->r;
	double flops = 2 * m * n * k / r->product;
	double bytes = clock_of(d)->act * (m * k + k * n + m * n) / (STREAM * r->copy);

	pass(d, flops > bytes ? flops : bytes);
}

/* The same with one side as narrow as a rank: a pass over its large matrix, nbytes. */
static void
skinny(struct qz_dev *d, double nbytes)
{
	pass(d, nbytes / (SKINNY * clock_of(d)->r->copy));
}

static void
decode(struct qz_dev *d, const struct qz_mat *w)
{
	if (w->type != d->k->act_type)
		stream(d, (double)w->rows * (double)w->cols * (PACKED + clock_of(d)->act));
}

/* Masks of dropout for t tokens. */
static void
drop(struct qz_dev *d, const struct qz_linear *l, double t, double seconds)
{
	if (l->rank && l->dropout > 0)
		clock_of(d)->now += seconds * t * (double)l->w.cols;
}

static void
e_linear(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t tokens)
{
	double t = (double)tokens, act = clock_of(d)->act;

	(void)x;
	if (l->rank && !l->begun)
		skinny(d, t * (double)l->w.cols * act);
	for (int i = 0; i < n_l; i++) {
		double rows = (double)l[i].w.rows, cols = (double)l[i].w.cols;

		decode(d, &l[i].w);
		if (!l[i].begun)
			drop(d, &l[i], t, clock_of(d)->r->drop);
		if (l[i].rank)
			skinny(d, (l[i].plus ? 2 : 1) * t * rows * act);
		product(d, t, rows, cols);
	}
}

static void
e_linear_bwd(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, qz_act *dx,
    int64_t tokens, bool add)
{
	double t = (double)tokens, act = clock_of(d)->act;

	(void)add;
	if (l->rank && x)
		skinny(d, t * (double)l->w.cols * act);
	if (l->rank && dx)
		skinny(d, t * (double)l->w.cols * act);
	for (int i = 0; i < n_l; i++) {
		double rows = (double)l[i].w.rows, cols = (double)l[i].w.cols;

		/* dA's share comes with linear_da() where x is not there yet; the masks are drawn here. */
		drop(d, &l[i], t, clock_of(d)->r->drop_bwd);
		if (l[i].rank && !l[i].begun)
			skinny(d, 2 * t * rows * act);
		if (!dx)
			continue;
		decode(d, &l[i].w);
		product(d, t, cols, rows);
	}
}

static void
e_linear_da(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t tokens)
{
	(void)n_l;
	(void)x;
	skinny(d, (double)tokens * (double)l->w.cols * clock_of(d)->act);
}

/* Causal: half of the scores.  Two products forward, five backward. */
static double
scores(struct qz_dev *d, const struct qz_attn *a)
{
	double t = (double)clock_of(d)->t;

	return t * (double)a->max_q * (double)(a->heads * a->head_dim);
}

static void
e_attention(struct qz_dev *d, const struct qz_attn *a)
{
	pass(d, 2 * scores(d, a) / clock_of(d)->r->attention);
}

static void
e_attention_bwd(struct qz_dev *d, const struct qz_attn *a)
{
	pass(d, 5 * scores(d, a) / clock_of(d)->r->attention_bwd[a->parts]);
}

static void
e_embed(struct qz_dev *d, qz_act *y, const struct qz_mat *table, const uint32_t *ids, int64_t t)
{
	double nbytes = (double)(t * table->cols) * clock_of(d)->act;

	(void)y;
	(void)ids;
	if (clock_of(d)->embed_host)
		pass(d, nbytes / (MAPPED * clock_of(d)->r->link));
	else
		stream(d, 2 * nbytes);
}

static void
e_rmsnorm(struct qz_dev *d, qz_act *y, qz_par *rstd, const qz_act *x, const float *w, int64_t rows,
    int64_t cols, float eps)
{
	(void)y;
	(void)rstd;
	(void)x;
	(void)w;
	(void)eps;
	stream(d, 2 * (double)(rows * cols) * clock_of(d)->act);
}

static void
e_rmsnorm_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dy, const qz_act *x, const qz_par *rstd,
    const float *w, int64_t rows, int64_t cols, bool add)
{
	(void)dx;
	(void)dy;
	(void)x;
	(void)rstd;
	(void)w;
	stream(d, (add ? 4 : 3) * (double)(rows * cols) * clock_of(d)->act);
}

static void
e_rope(struct qz_dev *d, qz_act *q, qz_act *k, const qz_par *table, const int32_t *positions,
    int64_t t, int heads, int kv_heads, int head_dim, bool inverse)
{
	(void)q;
	(void)k;
	(void)table;
	(void)positions;
	(void)inverse;
	stream(d, 2 * (double)(t * (heads + kv_heads) * head_dim) * clock_of(d)->act);
}

static void
e_swiglu(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u, int64_t n)
{
	(void)h;
	(void)g;
	(void)u;
	stream(d, 3 * (double)n * clock_of(d)->act);
}

static void
e_swiglu_bwd(struct qz_dev *d, qz_act *g, qz_act *u, const qz_act *dh, qz_act *h, int64_t n)
{
	(void)g;
	(void)u;
	(void)dh;
	stream(d, (h ? 6 : 5) * (double)n * clock_of(d)->act);
}

/* The adapters' products take part in the pass, or are passes of their own where a rank is too large. */
static void
e_swiglu_adapted(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u,
    const struct qz_linear *down, int64_t t)
{
	e_swiglu(d, h, g, u, t * down->w.cols);
	drop(d, down, (double)t, clock_of(d)->r->drop);
	if (down->rank > QZ_ADAPTED_RANK)
		skinny(d, (double)(t * down->w.cols) * clock_of(d)->act);
}

static void
e_swiglu_adapted_bwd(struct qz_dev *d, qz_act *g, qz_act *u, qz_act *dh,
    const struct qz_linear *down, const struct qz_linear *gate_up, int64_t t)
{
	bool together = true;

	for (int i = 0; i < 3; i++) {
		int rank = i < 2 ? gate_up[i].rank : down->rank;

		together = together && rank && rank <= QZ_ADAPTED_RANK;
	}
	if (together) {
		pass(d, 5 * (double)(t * down->w.cols) * clock_of(d)->act /
			    (ADAPTED * clock_of(d)->r->copy));
		return;
	}
	e_swiglu_bwd(d, g, u, dh, down->rank ? dh : NULL, t * down->w.cols);
	for (int i = 0; i < 2; i++)
		if (gate_up[i].rank)
			skinny(d, (double)(t * down->w.cols) * clock_of(d)->act);
	if (down->rank)
		e_linear_da(d, down, 1, dh, t);
}

static void
e_gather(struct qz_dev *d, qz_act *y, const qz_act *x, const int32_t *rows, int64_t n, int64_t cols)
{
	(void)y;
	(void)x;
	(void)rows;
	stream(d, 2 * (double)(n * cols) * clock_of(d)->act);
}

static void
e_scatter(
    struct qz_dev *d, qz_act *x, const qz_act *y, const int32_t *rows, int64_t n, int64_t cols)
{
	e_gather(d, x, y, rows, n, cols);
}

static void
e_head(struct qz_dev *d, qz_par *logits, const qz_act *x, const struct qz_mat *w, int64_t n)
{
	(void)logits;
	(void)x;
	decode(d, w);
	product(d, (double)n, (double)w->rows, (double)w->cols);
}

static void
e_head_bwd(struct qz_dev *d, qz_act *dx, const qz_act *dlogits, const struct qz_mat *w, int64_t n)
{
	(void)dx;
	(void)dlogits;
	decode(d, w);
	product(d, (double)n, (double)w->cols, (double)w->rows);
}

static void
e_cross_entropy(struct qz_dev *d, double *loss, qz_par *logits, const uint32_t *target, int64_t n,
    int64_t vocab, double scale)
{
	(void)loss;
	(void)logits;
	(void)target;
	stream(d, (scale != 0 ? 2 : 1) * (double)(n * vocab) * clock_of(d)->par);
}

static void
e_sum_squares(struct qz_dev *d, double *sum, const qz_par *x, int64_t n)
{
	(void)sum;
	(void)x;
	stream(d, (double)n * clock_of(d)->par);
}

/* p and g, the copy of p, block constants, and states that may lie in host memory: bytes that are read and written. */
static void
optimizer(struct qz_dev *d, int64_t n, const qz_act *copy, double states, double constants)
{
	struct clock *c = clock_of(d);
	double nbytes = (double)n * (3 * c->par + (copy ? c->act : 0)) + 2 * constants;
	double here = (nbytes + (c->states_host ? 0 : 2 * states)) / (STREAM * c->r->copy);
	double away = c->states_host ? states / (MAPPED * c->r->link) : 0; /* both ways at once */

	pass(d, here > away ? here : away);
}

static void
e_adamw(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, qz_par *m,
    qz_par *v, const qz_par *g, qz_act *copy, int64_t n)
{
	(void)args;
	(void)sum;
	(void)p;
	(void)m;
	(void)v;
	(void)g;
	optimizer(d, n, copy, 2 * (double)n * clock_of(d)->par, 0);
}

static void
e_adamw8(struct qz_dev *d, const struct qz_adamw *args, const double *sum, qz_par *p, uint8_t *m,
    uint8_t *v, float *absmax_m, float *absmax_v, const qz_par *g, qz_act *copy, int64_t n)
{
	(void)args;
	(void)sum;
	(void)p;
	(void)m;
	(void)v;
	(void)absmax_m;
	(void)absmax_v;
	(void)g;
	optimizer(d, n, copy, 2 * (double)n, 8.0 * (double)n / QZ_ADAMW8_BLOCK);
}

static void
e_cast(
    struct qz_dev *d, void *y, enum qz_dtype y_type, const void *x, enum qz_dtype x_type, int64_t n)
{
	(void)y;
	(void)x;
	stream(d, (double)n * (double)(qz_dtype(y_type)->bytes + qz_dtype(x_type)->bytes));
}

static void
e_fill(struct qz_dev *d, void *p, int byte, size_t n)
{
	(void)p;
	(void)byte;
	stream(d, (double)n);
}

static void
e_copy(struct qz_dev *d, void *to, const void *from, size_t n)
{
	(void)to;
	(void)from;
	pass(d, (double)n / clock_of(d)->r->link);
}

/* A lane goes on beside the ops, from where they are now. */
static void
e_side_copy(struct qz_dev *d, int lane, void *to, const void *from, size_t n)
{
	struct clock *c = clock_of(d);
	double seconds = (double)n / c->r->link;

	(void)to;
	(void)from;
	c->lane[lane] = (c->lane[lane] > c->now ? c->lane[lane] : c->now) + seconds;
	c->now += DRAG * seconds;
}

static void
e_side_wait(struct qz_dev *d, int lane)
{
	struct clock *c = clock_of(d);

	if (c->lane[lane] > c->now)
		c->now = c->lane[lane];
}

/* The ops that a step is made of; the others stay NULL. */
static void
begin(struct clock *c, struct qz_dev *dev, const struct qz_rates *r)
{
	*c = (struct clock){ .k = *dev->k,
		.r = r,
		.act = (double)dev->k->act_size,
		.par = (double)dev->k->par_size };
	c->dev.k = &c->k;
#define QZ_OP(name, args) c->k.name = NULL;
#include "kernels/ops.def"
#undef QZ_OP
	c->k.embed = e_embed;
	c->k.rmsnorm = e_rmsnorm;
	c->k.rmsnorm_bwd = e_rmsnorm_bwd;
	c->k.rope = e_rope;
	c->k.linear = e_linear;
	c->k.linear_bwd = e_linear_bwd;
	c->k.linear_da = e_linear_da;
	c->k.attention = e_attention;
	c->k.attention_bwd = e_attention_bwd;
	c->k.swiglu = e_swiglu;
	c->k.swiglu_bwd = e_swiglu_bwd;
	c->k.swiglu_adapted = e_swiglu_adapted;
	c->k.swiglu_adapted_bwd = e_swiglu_adapted_bwd;
	c->k.gather = e_gather;
	c->k.scatter = e_scatter;
	c->k.head = e_head;
	c->k.head_bwd = e_head_bwd;
	c->k.cross_entropy = e_cross_entropy;
	c->k.sum_squares = e_sum_squares;
	c->k.adamw = e_adamw;
	c->k.adamw8 = e_adamw8;
	c->k.cast = e_cast;
	c->k.fill = e_fill;
	c->k.copy_in = e_copy;
	c->k.side_copy = e_side_copy;
	c->k.side_wait = e_side_wait;
}

/* Shapes of the weights, as the net asks for them. */
static int
shapes_of(struct qz_weights *w, const struct qz_config *c, enum qz_dtype proj, enum qz_dtype rest,
    struct qz_err *e)
{
	static const float one = 1;

	*w = (struct qz_weights){ .config = *c, .norm = &one };
	w->layers = calloc((size_t)c->layers, sizeof *w->layers);
	if (!w->layers)
		return qz_nomem(e, (size_t)c->layers * sizeof *w->layers);
	w->embed = w->head = (struct qz_mat){ .type = rest, .rows = c->vocab, .cols = c->hidden };
	for (int64_t i = 0; i < c->layers; i++) {
		struct qz_layer_weights *l = &w->layers[i];

		l->attn_norm = l->ffn_norm = &one;
		l->q_norm = l->k_norm = c->family->qk_norm ? &one : NULL;
		for (int p = 0; p < QZ_PROJ_N; p++) {
			l->w[p].type = proj;
			qz_proj_shape(c, (enum qz_proj)p, &l->w[p].rows, &l->w[p].cols);
		}
	}
	return 0;
}

int
qz_estimate_step(double *seconds, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_lora *l, const struct qz_net_shape *shape, const struct qz_rates *r,
    bool quantized, struct qz_err *e)
{
	enum qz_dtype act = dev->k->act_type;
	struct clock clock;
	struct qz_weights w;
	struct qz_net n;
	int ret;

	begin(&clock, dev, r);
	clock.t = shape->room.tokens;
	clock.embed_host = shape->policy.embed_host;
	clock.states_host = shape->states_host;
	ret = shapes_of(&w, c, quantized ? QZ_NF4 : act, act, e);
	if (ret == 0)
		ret = qz_net_pretend(&n, dev, &clock.dev, &w, l, shape, e);
	if (ret == 0) {
		n.dropping = true;
		n.k->fill(n.dev, n.g, 0, n.lora.n_par * n.k->par_size);
		qz_net_forward(&n);
		qz_net_loss(&n, 0, 1);
		qz_net_backward(&n);
		n.k->sum_squares(n.dev, n.sum, n.g, (int64_t)n.lora.n_par);
		qz_net_update(&n);
		qz_net_close(&n);
	}
	*seconds = clock.now;
	free(w.layers);
	return ret;
}
