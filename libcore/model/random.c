#include "libcore/model/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"

enum { PIECE = 4 << 20 };

/* splitmix64 (Steele, Lea, Flood 2014): fast enough for gigabytes. */
static uint64_t
next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void
fill(char *p, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i += 8) {
		uint64_t word = next(state);

		memcpy(p + i, &word, n - i < 8 ? n - i : 8);
	}
}

/* Values of one section.  A code stands for a value in -1..1 of absmax, and absmax is near bound. */
static void
fill_section(const struct qz_tensor *t, const struct qz_section *s, char *p, size_t at, size_t n,
    uint64_t *state)
{
	float bound = t->n_dims == 2 ? 2.5f / sqrtf((float)t->dims[1]) : 0;
	size_t size = s->dtype == QZ_F32 ? 4 : 2;

	fill(p, n, state);
	if (s->dtype == QZ_U8)
		return;
	for (size_t i = 0; i < n / size; i++) {
		float v = (float)(le16_get(p + i * size) & 0x3fff) / 0x2000 - 1;

		if (s->kind == QZ_SEC_MAP || s->kind == QZ_SEC_NESTED_MAP)
			v = (float)(at / size + i) / (float)(s->nbytes / size / 2) - 1;
		else if (s->kind == QZ_SEC_NESTED_ABSMAX)
			v = bound * (0.2f + 0.05f * v);
		else if (s->kind == QZ_SEC_OFFSET)
			v = bound;
		else
			v = bound > 0 ? bound * v : 1 + 0.1f * v;
		if (size == 4)
			le32_put(p + i * 4, qz_f32_bits(v));
		else
			le16_put(p + i * 2, qz_f32_to_bf16(v));
	}
}

static int
put_tensor(
    struct qz_weights *w, const struct qz_tensor *t, char *piece, uint64_t seed, struct qz_err *e)
{
	uint64_t state = seed;

	if (qz_weights_tensor(w, t, e) < 0)
		return -1;
	for (int i = 0; i < t->n_sections; i++) {
		const struct qz_section *s = &t->sections[i];
		uint64_t end = i + 1 < t->n_sections ? t->sections[i + 1].offset : t->nbytes;

		for (uint64_t at = s->offset, n; at < end; at += n) {
			uint64_t values = s->offset + s->nbytes > at ? s->offset + s->nbytes - at
								     : 0;

			n = end - at < PIECE ? end - at : PIECE;
			memset(piece, 0, (size_t)n);
			fill_section(t, s, piece, (size_t)(at - s->offset),
			    (size_t)(values < n ? values : n), &state);
			if (qz_weights_data(w, piece, (size_t)n, e) < 0)
				return -1;
		}
	}
	return qz_weights_tensor_end(w, seed, e);
}

/* All tensors of the model; names are the caller's to free, with the array. */
static struct qz_tensor *
list(const struct qz_config *c, size_t *n, struct qz_err *e)
{
	size_t most = ((size_t)c->layers + 1) * QZ_ROLE_END;
	struct qz_tensor *all = calloc(most, sizeof *all);

	*n = 0;
	if (!all) {
		qz_nomem(e, most * sizeof *all);
		return NULL;
	}
	for (int layer = 0; layer < c->layers; layer++)
		for (int r = 0; r < QZ_ROLE_END; r++) {
			const struct qz_role_info *role = qz_role((enum qz_role)r);
			struct qz_tensor *t = &all[*n];
			char name[160];

			if (!qz_config_has(c, (enum qz_role)r) || (layer && !role->in_layer))
				continue;
			qz_role_name((enum qz_role)r, layer, name, sizeof name);
			t->name = strdup(name);
			t->dtype = role->linear ? QZ_NF4 : QZ_BF16;
			t->block = role->linear ? 64 : 0;
			t->nested_block = role->linear ? 256 : 0;
			qz_config_shape(c, (enum qz_role)r, t->dims, &t->n_dims);
			++*n;
			if (!t->name || qz_tensor_plan(t, e) < 0)
				return all;
		}
	return all;
}

int
qz_random_weights(struct qz_weights *w, struct qz_dev *dev, const struct qz_config *c,
    uint64_t seed, bool embed_host, uint64_t *nbytes, uint64_t *embed, struct qz_err *e)
{
	size_t n;
	struct qz_tensor *all = list(c, &n, e);
	char *piece = malloc(PIECE);
	int ret = all && piece ? 0 : -1;

	if (!piece)
		qz_nomem(e, PIECE);
	for (size_t i = 0; ret == 0 && i < n; i++)
		if (!all[i].name || !all[i].nbytes)
			ret = -1;
	if (ret == 0 && nbytes) {
		*nbytes = qz_weights_size(all, n);
		*embed = qz_weights_embed_size(c, all, n);
	} else if (ret == 0) {
		ret = qz_weights_begin(w, dev, c, all, n, embed_host, e);
	}
	for (size_t i = 0; ret == 0 && !nbytes && i < n; i++)
		ret = put_tensor(w, &all[i], piece, seed + i + 1, e);
	if (ret == 0 && !nbytes)
		ret = qz_weights_end(w, e);
	for (size_t i = 0; all && i < n; i++)
		free((char *)(uintptr_t)all[i].name);
	free(all);
	free(piece);
	return ret;
}

int
qz_random_data(struct qz_data *d, int64_t n_rows, int64_t length, int64_t vocab, uint64_t seed,
    struct qz_err *e)
{
	uint64_t tokens = (uint64_t)(n_rows * length), state = seed;
	struct qz_rows *r = &d->rows;

	*d = (struct qz_data){ 0 };
	r->ids = calloc(tokens + 1, sizeof *r->ids);
	r->mask = malloc(tokens + 1);
	r->row_ends = calloc((size_t)n_rows + 1, sizeof *r->row_ends);
	r->doc_ends = calloc((size_t)n_rows + 1, sizeof *r->doc_ends);
	if (!r->ids || !r->mask || !r->row_ends || !r->doc_ends)
		return qz_nomem(e, tokens * 5);
	memset(r->mask, 1, tokens);
	for (uint64_t i = 0; i < tokens; i++)
		r->ids[i] = (uint32_t)((unsigned __int128)next(&state) * (uint64_t)vocab >> 64);
	for (int64_t i = 0; i < n_rows; i++)
		r->row_ends[i] = r->doc_ends[i] = (uint64_t)((i + 1) * length);
	r->n_tokens = r->n_trained = tokens;
	r->n_rows = r->n_docs = (uint64_t)n_rows;
	return qz_data_end(d, vocab, e);
}
