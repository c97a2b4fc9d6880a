#include "libcore/model/weights.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/hash.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"

enum { ALIGN = 256, ASIDE_MIN = 1 << 18 };

/* Norms and biases. */
static bool
is_vector(const struct qz_tensor *t)
{
	return t->n_dims == 1;
}

static uint64_t
device_bytes(const struct qz_tensor *t)
{
	return qz_round_up(is_vector(t) ? t->dims[0] * sizeof(float) : t->nbytes, ALIGN);
}

uint64_t
qz_weights_size(const struct qz_tensor *manifest, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += device_bytes(&manifest[i]);
	return sum;
}

uint64_t
qz_weights_embed_size(const struct qz_config *c, const struct qz_tensor *manifest, size_t n)
{
	int layer;

	for (size_t i = 0; i < n && !c->tied; i++)
		if (qz_role_of(manifest[i].name, &layer) == QZ_EMBED)
			return device_bytes(&manifest[i]);
	return 0;
}

static int
add_block(struct qz_weights *w, uint64_t nbytes, struct qz_err *e)
{
	void **more = realloc(w->blocks, (w->n_blocks + 1) * sizeof *more);

	if (!more)
		return qz_nomem(e, (w->n_blocks + 1) * sizeof *more);
	w->blocks = more;
	more[w->n_blocks] = w->dev->k->alloc(w->dev, nbytes, e);
	if (!more[w->n_blocks])
		return qz_at(e, "weights");
	w->n_blocks++;
	w->nbytes += nbytes;
	w->room = nbytes;
	w->at = 0;
	return 0;
}

int
qz_weights_begin(struct qz_weights *w, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_tensor *manifest, size_t n, bool embed_host, struct qz_err *e)
{
	size_t layers = (size_t)c->layers;
	uint64_t away = embed_host && manifest ? qz_weights_embed_size(c, manifest, n) : 0;

	*w = (struct qz_weights){
		.dev = dev, .config = *c, .role = -1, .embed_host = embed_host && !c->tied
	};
	w->layers = calloc(layers, sizeof *w->layers);
	w->source = calloc(layers, sizeof *w->source);
	w->digests = calloc((layers + 1) * QZ_ROLE_END, sizeof *w->digests);
	if (!w->layers || !w->source || !w->digests)
		return qz_nomem(e, layers * sizeof *w->layers);
	return manifest ? add_block(w, qz_weights_size(manifest, n) - away, e) : 0;
}

static uint64_t *
digest_of(struct qz_weights *w, int role, int layer)
{
	return &w->digests[(size_t)(qz_role((enum qz_role)role)->in_layer ? layer + 1 : 0) *
			       QZ_ROLE_END +
			   (size_t)role];
}

static bool
in_host(const struct qz_weights *w)
{
	return w->embed_host && w->role == QZ_EMBED;
}

int
qz_weights_tensor(struct qz_weights *w, const struct qz_tensor *t, struct qz_err *e)
{
	uint64_t need = device_bytes(t);

	if (qz_config_check(&w->config, t, e) < 0)
		return -1;
	w->role = qz_role_of(t->name, &w->layer);
	w->t = *t;
	w->t.name = NULL;
	w->filled = 0;
	qz_buf_clear(&w->small);
	if (*digest_of(w, w->role, w->layer))
		return qz_fail(e, QZ_EDATA, "tensor %s is there twice", t->name);
	if (is_vector(t) && (!qz_dtype(t->dtype)->plain || t->dtype == QZ_F64))
		return qz_fail(e, QZ_EDATA, "tensor %s is of type %s, f32, f16 or bf16 expected",
		    t->name, qz_dtype(t->dtype)->name);
	if (in_host(w)) {
		w->host = w->dev->k->host_alloc(w->dev, need, e);
		w->place = w->host;
		return w->host ? 0 : qz_at(e, "the embedding, for host memory");
	}
	if (w->room - w->at < need && add_block(w, need, e) < 0)
		return -1;
	w->place = (char *)w->blocks[w->n_blocks - 1] + w->at;
	w->at += need;
	return 0;
}

int
qz_weights_data(struct qz_weights *w, const void *data, size_t n, struct qz_err *e)
{
	if (n > w->t.nbytes - w->filled)
		return qz_fail(e, QZ_EDATA, "more data than its shape takes");
	if (is_vector(&w->t))
		qz_buf_add(&w->small, data, n);
	else if (in_host(w))
		memcpy(w->place + w->filled, data, n);
	else
		w->dev->k->copy_in(w->dev, w->place + w->filled, data, n);
	w->filled += n;
	return 0;
}

static float
element(enum qz_dtype type, const char *data, uint64_t i)
{
	if (type == QZ_F32)
		return qz_f32_from_bits(le32_get(data + 4 * i));
	return type == QZ_F16 ? qz_f16_to_f32(le16_get(data + 2 * i))
			      : qz_bf16_to_f32(le16_get(data + 2 * i));
}

static int
put_vector(struct qz_weights *w, struct qz_err *e)
{
	uint64_t n = w->t.dims[0];
	float *v = malloc(n * sizeof *v + 1);

	if (!v || qz_buf_ok(&w->small, e) < 0) {
		free(v);
		return qz_nomem(e, n * sizeof *v);
	}
	for (uint64_t i = 0; i < n; i++)
		v[i] = element(w->t.dtype, w->small.data, i);
	w->dev->k->copy_in(w->dev, w->place, v, n * sizeof *v);
	if (w->dev->k->sync(w->dev, e) < 0) {
		free(v);
		return -1;
	}
	free(v);
	return 0;
}

/* The block constants' offset is the one thing that kernels take from the host. */
static void
make_mat(struct qz_weights *w, struct qz_mat *m)
{
	const struct qz_section *offset = qz_tensor_section(&w->t, QZ_SEC_OFFSET);
	struct qz_tensor t = w->t;
	uint8_t bytes[4];

	t.n_sections = 0;
	for (int i = 0; i < w->t.n_sections; i++)
		if (w->t.sections[i].kind != QZ_SEC_OFFSET)
			t.sections[t.n_sections++] = w->t.sections[i];
	qz_tensor_mat(&t, w->place, NULL, m);
	if (!offset)
		return;
	w->dev->k->copy_out(w->dev, bytes, w->place + offset->offset, sizeof bytes);
	m->offset = qz_f32_from_bits(le32_get(bytes));
}

/* The vector's pointer in the model, by role. */
static const float **
vector_slot(struct qz_weights *w)
{
	struct qz_layer_weights *l = &w->layers[w->layer];

	switch (w->role) {
	case QZ_NORM:
		return &w->norm;
	case QZ_ATTN_NORM:
		return &l->attn_norm;
	case QZ_FFN_NORM:
		return &l->ffn_norm;
	case QZ_Q_NORM:
		return &l->q_norm;
	case QZ_K_NORM:
		return &l->k_norm;
	}
	for (int p = 0; p < QZ_PROJ_N; p++)
		if ((int)qz_proj((enum qz_proj)p)->bias == w->role)
			return &l->bias[p];
	return NULL;
}

static struct qz_mat *
matrix_slot(struct qz_weights *w)
{
	if (w->role == QZ_EMBED)
		return &w->embed;
	if (w->role == QZ_HEAD)
		return &w->head;
	return &w->layers[w->layer].w[qz_proj_of_role(w->role)];
}

/* Codes are always finite; their scales may not be. */
static int
check_finite(struct qz_weights *w, struct qz_err *e)
{
	bool vector = is_vector(&w->t);
	int64_t first = -1;
	char name[160];

	for (int i = 0; i < w->t.n_sections && first < 0; i++) {
		const struct qz_section *s = &w->t.sections[i];
		enum qz_dtype type = vector ? QZ_F32 : (enum qz_dtype)s->dtype;
		const struct qz_dtype_info *info = qz_dtype(type);

		if (!info->plain)
			continue;
		w->dev->k->find_nonfinite(w->dev, &first, w->place + s->offset, type,
		    vector ? (int64_t)w->t.dims[0] : (int64_t)(s->nbytes / info->bytes));
	}
	if (first < 0)
		return 0;
	qz_role_name((enum qz_role)w->role, w->layer, name, sizeof name);
	return qz_fail(e, QZ_EDATA, "tensor %s: element %lld of its %s is not a finite number",
	    name, (long long)first, qz_dtype(w->t.dtype)->scaled ? "scales" : "values");
}

int
qz_weights_tensor_end(struct qz_weights *w, uint64_t source, struct qz_err *e)
{
	int p = qz_proj_of_role(w->role);

	if (w->filled != w->t.nbytes)
		return qz_fail(e, QZ_EDATA, "%llu bytes of data, its shape takes %llu",
		    (unsigned long long)w->filled, (unsigned long long)w->t.nbytes);
	if (is_vector(&w->t)) {
		if (put_vector(w, e) < 0)
			return -1;
		*vector_slot(w) = (const float *)w->place;
	} else {
		make_mat(w, matrix_slot(w));
	}
	if (p >= 0)
		w->source[w->layer][p] = source;
	*digest_of(w, w->role, w->layer) = source ? source : 1;
	return check_finite(w, e);
}

bool
qz_weights_large(const struct qz_weights *w)
{
	return !is_vector(&w->t) && w->t.nbytes >= ASIDE_MIN && !w->filled;
}

void
qz_weights_put_aside(struct qz_weights *w, struct qz_weights_aside *a)
{
	*a = (struct qz_weights_aside){ w->t, w->role, w->layer, w->place, in_host(w) };
	*digest_of(w, w->role, w->layer) = 1; /* a second one is refused */
}

int
qz_weights_take_up(
    struct qz_weights *w, const struct qz_weights_aside *a, uint64_t source, struct qz_err *e)
{
	w->t = a->t;
	w->role = a->role;
	w->layer = a->layer;
	w->place = a->to;
	w->filled = a->t.nbytes;
	return qz_weights_tensor_end(w, source, e);
}

int
qz_weights_end(struct qz_weights *w, struct qz_err *e)
{
	char name[160];

	for (int layer = 0; layer < w->config.layers; layer++)
		for (int r = 0; r < QZ_ROLE_END; r++) {
			if (!qz_config_has(&w->config, (enum qz_role)r) || *digest_of(w, r, layer))
				continue;
			qz_role_name((enum qz_role)r, layer, name, sizeof name);
			return qz_fail(e, QZ_EDATA, "tensor %s is missing", name);
		}
	if (w->config.tied)
		w->head = w->embed;
	w->identity = qz_hash64(
	    w->digests, ((size_t)w->config.layers + 1) * QZ_ROLE_END * sizeof *w->digests);
	qz_buf_free(&w->small);
	return w->dev->k->sync(w->dev, e);
}

void
qz_weights_free(struct qz_weights *w)
{
	for (size_t i = 0; i < w->n_blocks; i++)
		w->dev->k->free(w->dev, w->blocks[i]);
	if (w->dev)
		w->dev->k->host_free(w->dev, w->host);
	free(w->blocks);
	free(w->layers);
	free(w->source);
	free(w->digests);
	qz_buf_free(&w->small);
	*w = (struct qz_weights){ 0 };
}
