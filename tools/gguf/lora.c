#include "tools/gguf/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcore/model/gguf_meta.h"
#include "libcore/shard/reader.h"
#include "tools/gguf/keys.h"

/* llama.cpp's converter writes a layer's tensors by Hugging Face name: mlp.*, then self_attn.*. */
static const enum qz_proj order[QZ_PROJ_N] = { QZ_PROJ_DOWN, QZ_PROJ_GATE, QZ_PROJ_UP, QZ_PROJ_K,
	QZ_PROJ_O, QZ_PROJ_Q, QZ_PROJ_V };

struct entry {
	const struct qz_lora_tensor *t;
	char a[QZ_GGUF_NAME_MAX + 8], b[QZ_GGUF_NAME_MAX + 8];
};

bool
lora_is(const char *path)
{
	char file[4096];
	struct stat st;
	struct qz_err e;
	struct qz_in *in;
	struct qz_shard_reader *r;
	const struct qz_record *rec;
	const void *magic;
	bool is;

	snprintf(file, sizeof file, "%s/adapter_config.json", path);
	if (stat(file, &st) == 0)
		return true;
	if (!strcmp(path, "-") || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	in = qz_in_open(path, &e);
	is = in && qz_in_peek(in, &magic, 8, &e) == 8 && !memcmp(magic, QZ_SHARD_MAGIC, 8);
	r = is ? qz_shard_reader_new(in, NULL, &e) : NULL;
	is = r && qz_shard_next(r, &rec, &e) > 0 && !strcmp(qz_shard_kind(r), "adapter");
	qz_shard_reader_free(r);
	qz_in_close(in);
	return is;
}

static size_t
list(const struct qz_lora *l, const struct qz_config *c, struct entry *out)
{
	char name[QZ_GGUF_NAME_MAX + 1];
	size_t n = 0;

	for (int layer = 0; layer < c->layers; layer++)
		for (int i = 0; i < QZ_PROJ_N; i++) {
			struct entry *x = &out[n];

			x->t = qz_lora_find(l, layer, order[i]);
			if (!x->t)
				continue;
			qz_role_gguf_name(qz_proj(order[i])->weight, layer, name, sizeof name);
			snprintf(x->a, sizeof x->a, "%s.lora_a", name);
			snprintf(x->b, sizeof x->b, "%s.lora_b", name);
			n++;
		}
	return n;
}

/* The alpha that gives as many tensors as possible their scale without touching B: the adapter's own, or
 * what makes the first tensor's scale (rsLoRA).  Zero would mean "no scaling" to llama.cpp. */
static double
choose_alpha(const struct qz_lora *l)
{
	double alpha = l->alpha;

	if (l->n && (l->rslora || !(alpha > 0)))
		alpha = (double)l->t[0].scale * l->t[0].rank;
	return alpha != 0 ? (double)(float)alpha : 1;
}

static int
write_b(const struct qz_adapter *a, const struct qz_config *c, const struct qz_lora_tensor *t,
    double alpha, struct qz_ggufw *g, struct qz_out *o, struct qz_err *e)
{
	float factor = (float)((double)t->scale * t->rank / alpha),
	      *row = malloc((size_t)t->rank * sizeof *row);
	bool permuted = c->family->gguf_permuted && (t->proj == QZ_PROJ_Q || t->proj == QZ_PROJ_K);
	int ret = row ? 0 : qz_nomem(e, (size_t)t->rank * sizeof *row);

	for (int64_t i = 0; i < t->rows && ret == 0; i++) {
		uint64_t from = permuted ? qz_gguf_row((uint64_t)i, (uint64_t)c->head_dim)
					 : (uint64_t)i;
		const float *b = a->values + t->b + from * (uint64_t)t->rank;

		for (int k = 0; k < t->rank; k++)
			row[k] = factor == 1 ? b[k] : factor * b[k];
		ret = qz_ggufw_write(g, o, row, (size_t)t->rank * sizeof *row, e);
	}
	free(row);
	return ret;
}

static int
describe(const struct entry *x, struct qz_ggufw *g, struct qz_err *e)
{
	const uint64_t a[2] = { (uint64_t)x->t->rank, (uint64_t)x->t->cols };
	const uint64_t b[2] = { (uint64_t)x->t->rows, (uint64_t)x->t->rank };

	return qz_ggufw_tensor(g, x->a, QZ_F32, a, 2, e) < 0
		   ? -1
		   : qz_ggufw_tensor(g, x->b, QZ_F32, b, 2, e);
}

static int
write_all(const struct qz_adapter *a, const struct qz_config *c, const struct entry *x, size_t n,
    double alpha, struct qz_ggufw *g, struct qz_out *o, struct qz_err *e)
{
	for (size_t i = 0; i < n; i++)
		if (describe(&x[i], g, e) < 0)
			return -1;
	if (qz_out_expect(o, qz_ggufw_nbytes(g), e) < 0 || qz_ggufw_begin(g, o, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct qz_lora_tensor *t = x[i].t;
		size_t size = (size_t)t->rank * (size_t)t->cols * sizeof(float);

		if (qz_ggufw_write(g, o, a->values + t->a, size, e) < 0 ||
		    write_b(a, c, t, alpha, g, o, e) < 0)
			return -1;
	}
	return qz_ggufw_end(g, e);
}

int
lora_write(const struct qz_adapter *a, const struct qz_config *c, const char *id,
    const struct request *r, struct qz_out *o, struct qz_err *e)
{
	struct entry *x = calloc((size_t)a->lora.n + 1, sizeof *x);
	double alpha = choose_alpha(&a->lora);
	struct qz_ggufw g = { 0 };
	int ret = 0;

	if (!x)
		return qz_nomem(e, (size_t)a->lora.n * sizeof *x);
	qz_gguf_meta_put_adapter(&g, c, id, r->title, (float)alpha);
	for (size_t i = 0; i < r->settings.n && ret == 0; i++)
		ret = keys_set(&g, r->settings.items[i], e);
	if (ret == 0)
		ret = write_all(a, c, x, list(&a->lora, c, x), alpha, &g, o, e);
	qz_ggufw_free(&g);
	free(x);
	return ret;
}
