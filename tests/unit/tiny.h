/* tiny - small random models and rows of tokens for the tests of libcore/model. */
#ifndef QZ_TINY_H
#define QZ_TINY_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "libcore/base/rng.h"
#include "libcore/model/net.h"

/* A number in -1..1 by place. */
static inline double
noise(uint64_t stream, uint64_t i)
{
	uint32_t w[4];

	qz_philox(7, stream, i, w);
	return 2 * (double)qz_unit(w[0]) - 1;
}

__attribute__((unused)) static struct qz_config
tiny_config(const char *family, bool tied)
{
	struct qz_config c = { .family = qz_family_by_type(family),
		.hidden = 16,
		.ffn = 20,
		.layers = 2,
		.heads = 4,
		.kv_heads = 2,
		.head_dim = 6,
		.vocab = 29,
		.context = 64,
		.norm_eps = 1e-5f,
		.rope_theta = 100,
		.tied = tied };

	c.qkv_bias = c.family->qkv_bias;
	return c;
}

/* float32 everywhere; norms around 1, matrices so that activations stay around 1. */
__attribute__((unused)) static int
tiny_weights(struct qz_weights *w, struct qz_dev *dev, const struct qz_config *c, struct qz_err *e)
{
	if (qz_weights_begin(w, dev, c, NULL, 0, false, e) < 0)
		return -1;
	for (int layer = 0; layer < c->layers; layer++)
		for (int r = 0; r < QZ_ROLE_END; r++) {
			struct qz_tensor t = { .dtype = QZ_F32 };
			char name[160];
			float *data;
			uint64_t n;

			if (!qz_config_has(c, (enum qz_role)r) ||
			    (layer && !qz_role((enum qz_role)r)->in_layer))
				continue;
			qz_role_name((enum qz_role)r, layer, name, sizeof name);
			t.name = name;
			qz_config_shape(c, (enum qz_role)r, t.dims, &t.n_dims);
			if (qz_tensor_plan(&t, e) < 0)
				return -1;
			n = qz_tensor_count(&t);
			data = calloc(1, t.nbytes);
			for (uint64_t i = 0; i < n; i++) {
				double v = noise((uint64_t)(layer * 100 + r), i);

				data[i] = (float)(t.n_dims == 2
						      ? v * 1.7 / sqrt((double)t.dims[1])
						      : (strstr(name, "norm") ? 1 : 0) + 0.3 * v);
			}
			if (qz_weights_tensor(w, &t, e) < 0 ||
			    qz_weights_data(w, data, t.nbytes, e) < 0 ||
			    qz_weights_tensor_end(w, (uint64_t)r + 1, e) < 0)
				return -1;
			free(data);
		}
	return qz_weights_end(w, e);
}

/* n_rows rows of the given lengths (the last 0), each one document; about half of the tokens trained.
 * split: every row of more than 4 tokens is two documents. */
__attribute__((unused)) static void
tiny_data(struct qz_data *d, const int *lengths, int64_t vocab, bool split)
{
	uint64_t n = 0, tokens = 0;
	struct qz_rows *r = &d->rows;

	*d = (struct qz_data){ 0 };
	for (; lengths[n]; n++)
		tokens += (uint64_t)lengths[n];
	r->ids = calloc(tokens, sizeof *r->ids);
	r->mask = calloc(tokens, 1);
	r->row_ends = calloc(n, sizeof *r->row_ends);
	r->doc_ends = calloc(2 * n, sizeof *r->doc_ends);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = r->n_tokens, len = (uint64_t)lengths[i];

		for (uint64_t k = 0; k < len; k++) {
			r->ids[at + k] = (uint32_t)((noise(1, at + k) + 1) / 2 *
						    (double)(vocab - 1));
			r->mask[at + k] = k == len - 1 || noise(2, at + k) > 0;
			r->n_trained += r->mask[at + k];
		}
		r->n_tokens += len;
		if (split && len > 4)
			r->doc_ends[r->n_docs++] = at + len / 2;
		r->doc_ends[r->n_docs++] = r->n_tokens;
		r->row_ends[r->n_rows++] = r->n_tokens;
	}
}

/* Every element of the adapter, B too, is noise. */
__attribute__((unused)) static void
tiny_adapter(struct qz_net *n)
{
	float *v = calloc(n->lora.n_par + 1, sizeof *v);

	for (int i = 0; i < n->lora.n; i++) {
		const struct qz_lora_tensor *t = &n->lora.t[i];

		for (int64_t k = 0; k < t->rank * t->cols; k++)
			v[t->a + (uint64_t)k] = (float)(0.5 *
							noise(1000 + (uint64_t)i, (uint64_t)k));
		for (int64_t k = 0; k < t->rank * t->rows; k++)
			v[t->b + (uint64_t)k] = (float)(0.5 *
							noise(2000 + (uint64_t)i, (uint64_t)k));
	}
	qz_net_put(n, n->p, v, n->lora.n_par);
	free(v);
}

/* Adds the rows first..last of d as one batch to the gradient (when scale is not 0); the sum of losses. */
__attribute__((unused)) static double
tiny_pass(struct qz_net *n, const struct qz_data *d, uint64_t first, uint64_t last, double scale)
{
	struct qz_batch b;
	struct qz_err e;
	double *loss, sum = 0;

	if (qz_batch_new(&b, n->shape.room, (int64_t)(last - first + 1), &e) < 0)
		return NAN;
	qz_batch_clear(&b);
	for (uint64_t r = first; r <= last; r++)
		if (!qz_batch_add(&b, d, r))
			return NAN;
	qz_net_batch(n, &b, 0);
	qz_net_forward(n);
	qz_net_loss(n, 0, scale);
	if (scale != 0)
		qz_net_backward(n);
	loss = calloc((size_t)b.n_trained, sizeof *loss);
	n->k->copy_out(n->dev, loss, n->losses, (size_t)b.n_trained * sizeof *loss);
	for (int64_t i = 0; i < b.n_trained; i++)
		sum += loss[i];
	free(loss);
	qz_batch_free(&b);
	return n->k->sync(n->dev, &e) < 0 ? NAN : sum;
}

#endif
