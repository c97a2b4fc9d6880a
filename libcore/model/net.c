#include "libcore/model/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *
qz_use_name(enum qz_use u)
{
	static const char *const names[QZ_USE_N] = {
		[QZ_USE_DEVICE] = "driver and libraries",
		[QZ_USE_WEIGHTS] = "weights",
		[QZ_USE_CACHE] = "weights decoded",
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

static const char *const optims[QZ_OPTIM_N] = { "adamw", "adamw8bit" };

const char *
qz_optim_name(enum qz_optim o)
{
	return optims[o];
}

int
qz_optim_by_name(const char *name)
{
	for (int i = 0; i < QZ_OPTIM_N; i++)
		if (!strcmp(optims[i], name))
			return i;
	return -1;
}

/* Fills the parts of n that qz_net_layout() needs. */
static int
prepare(struct qz_net *n, struct qz_dev *dev, const struct qz_config *c, const struct qz_lora *l,
    const struct qz_net_shape *shape, struct qz_err *e)
{
	*n = (struct qz_net){ .dev = dev, .k = dev->k, .c = *c, .shape = *shape };
	n->layers = calloc((size_t)c->layers, sizeof *n->layers);
	n->cache = calloc((size_t)c->layers, sizeof *n->cache);
	if (!n->layers || !n->cache)
		return qz_nomem(e, (size_t)c->layers * sizeof *n->cache);
	return l ? qz_lora_copy(&n->lora, l, e) : 0;
}

int
qz_net_plan(struct qz_plan *p, struct qz_dev *dev, const struct qz_config *c, uint64_t weights,
    const struct qz_lora *l, const struct qz_net_shape *shape, struct qz_err *e)
{
	struct qz_net n;

	*p = (struct qz_plan){ .bytes = { [QZ_USE_WEIGHTS] = weights } };
	if (prepare(&n, dev, c, l, shape, e) < 0) {
		qz_net_close(&n);
		return -1;
	}
	qz_net_layout(&n, NULL, p);
	qz_net_close(&n);
	return 0;
}

int
qz_net_pretend(struct qz_net *n, struct qz_dev *real, struct qz_dev *dev,
    const struct qz_weights *w, const struct qz_lora *l, const struct qz_net_shape *shape,
    struct qz_err *e)
{
	if (prepare(n, real, &w->config, l, shape, e) < 0) {
		qz_net_close(n);
		return -1;
	}
	qz_net_layout(n, (void *)(uintptr_t)4096, &n->plan); /* any address but NULL */
	n->host = qz_net_host_bytes(n) ? (char *)n->x_out : NULL;
	n->dev = dev;
	n->k = dev->k;
	n->w = w;
	n->t = shape->room.tokens;
	n->n_docs = shape->room.docs;
	n->n_trained = shape->room.trained;
	n->max_len = shape->room.max_len;
	return 0;
}

/* cos and sin of a few positions, computed in float64 and rounded once. */
static void
rope_rows(
    struct qz_net *n, int64_t first, int64_t count, const double *freq, double *wide, float *narrow)
{
	int64_t half = n->c.head_dim / 2, row = 2 * half;

	for (int64_t i = 0; i < count * half; i++) {
		double angle = (double)(first + i / half) * freq[i % half];

		wide[2 * i] = cos(angle);
		wide[2 * i + 1] = sin(angle);
	}
	for (int64_t i = 0; i < count * row; i++)
		narrow[i] = (float)wide[i];
	n->k->copy_in(n->dev, (char *)n->rope + (size_t)(first * row) * n->k->par_size,
	    n->k->par_type == QZ_F64 ? (void *)wide : narrow,
	    (size_t)(count * row) * n->k->par_size);
}

static int
fill_rope(struct qz_net *n, struct qz_err *e)
{
	enum { ROWS = 1024 };
	size_t d = (size_t)n->c.head_dim, most = ROWS * d;
	double *freq = malloc(d * sizeof *freq), *wide = malloc(most * sizeof *wide);
	float *narrow = malloc(most * sizeof *narrow);
	int ret = freq && wide && narrow ? 0 : qz_nomem(e, most * sizeof *wide);

	if (ret == 0)
		qz_config_rope(&n->c, freq);
	for (int64_t at = 0; ret == 0 && at < n->positions; at += ROWS)
		rope_rows(
		    n, at, n->positions - at < ROWS ? n->positions - at : ROWS, freq, wide, narrow);
	if (ret == 0)
		ret = n->k->sync(n->dev, e);
	free(narrow);
	free(wide);
	free(freq);
	return ret;
}

/* Projections that are to be kept decoded; those of activations' type are used as they lie. */
static void
fill_cache(struct qz_net *n)
{
	for (int64_t i = n->c.layers - n->shape.policy.cached; i < n->c.layers; i++)
		for (int p = 0; p < QZ_PROJ_N; p++) {
			const struct qz_mat *w = &n->w->layers[i].w[p];

			n->k->dequantize(n->dev, (void *)(uintptr_t)n->cache[i][p].data,
			    n->k->act_type, w, 0, w->rows);
		}
}

void
qz_net_adapter_changed(struct qz_net *n)
{
	if (n->pa != n->p)
		n->k->cast(
		    n->dev, n->pa, n->k->act_type, n->p, n->k->par_type, (int64_t)n->lora.n_par);
}

void
qz_net_update(struct qz_net *n)
{
	qz_act *copy = n->pa == n->p ? NULL : n->pa;
	int64_t count = (int64_t)n->lora.n_par;

	if (n->shape.optim == QZ_OPTIM_ADAMW8)
		n->k->adamw8(n->dev, n->adamw, n->sum, n->p, n->m, n->v, n->absmax_m, n->absmax_v,
		    n->g, copy, count);
	else
		n->k->adamw(n->dev, n->adamw, n->sum, n->p, n->m, n->v, n->g, copy, count);
}

int
qz_net_open(struct qz_net *n, const struct qz_weights *w, const struct qz_lora *l,
    const struct qz_net_shape *shape, struct qz_err *e)
{
	if (prepare(n, w->dev, &w->config, l, shape, e) < 0)
		goto fail;
	n->w = w;
	n->base = n->k->alloc(n->dev, qz_net_layout(n, NULL, &n->plan), e);
	if (!n->base)
		goto fail;
	if (n->states_bytes) {
		n->states = n->k->host_alloc(n->dev, n->states_bytes, e);
		if (!n->states) {
			qz_at(e, "the optimizer's states");
			goto fail;
		}
		memset(n->states, 0, n->states_bytes);
	}
	n->plan = (struct qz_plan){ .bytes = { [QZ_USE_WEIGHTS] = w->nbytes } };
	qz_net_layout(n, n->base, &n->plan);
	n->k->set_workspace(n->dev, n->workspace, (size_t)n->plan.bytes[QZ_USE_KERNELS]);
	if (qz_net_host_bytes(n)) {
		n->host = n->k->host_alloc(n->dev, qz_net_host_bytes(n), e);
		if (!n->host) {
			qz_at(e, "activations that wait in host memory");
			goto fail;
		}
	}
	/* Adapter, its copy, gradients and states are what comes first. */
	n->k->fill(n->dev, n->base, 0,
	    (size_t)(n->plan.bytes[QZ_USE_ADAPTER] + n->plan.bytes[QZ_USE_GRADIENTS] +
		     n->plan.bytes[QZ_USE_OPTIMIZER]));
	fill_cache(n);
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
		n->k->host_free(n->dev, n->host);
		n->k->host_free(n->dev, n->states);
	}
	free(n->layers);
	free(n->cache);
	qz_lora_free(&n->lora);
	*n = (struct qz_net){ 0 };
}

static void
put(struct qz_net *n, qz_par *to, const float *from, uint64_t count)
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
qz_net_put(struct qz_net *n, qz_par *to, const float *from, uint64_t count)
{
	size_t nbytes = n->lora.n_par * n->k->par_size;

	put(n, to, from, count);
	if ((char *)to >= (char *)n->p && (char *)to < (char *)n->p + nbytes)
		qz_net_adapter_changed(n);
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
	n->starts = past ? NULL : b->doc_start;
	n->k->copy_in(n->dev, n->ids, b->ids, (size_t)n->t * sizeof *b->ids);
	n->k->copy_in(n->dev, n->pos, b->positions, (size_t)n->t * sizeof *b->positions);
	n->k->copy_in(n->dev, n->q_start, b->doc_start, starts);
	n->k->copy_in(
	    n->dev, n->k_start, past ? cache : b->doc_start, past ? sizeof cache : starts);
	n->k->copy_in(n->dev, n->trained, b->trained, (size_t)n->n_trained * sizeof *b->trained);
	n->k->copy_in(n->dev, n->targets, b->targets, (size_t)n->n_trained * sizeof *b->targets);
}
