#include "libcore/model/source_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/model/source_impl.h"

/* A GGUF's tensors under Hugging Face's names, in the model's order.  llama's q and k rows lie so that
 * neighbours are the two halves of a rotated pair; they are put back, head by head: row s*half + i of a
 * head comes from its row 2i + s.  A row is whole blocks, so nothing is dequantized. */

#define FREQS "rope_freqs.weight"

struct item {
	struct qz_tensor t;
	const struct qz_gguf_tensor *at;
	const struct gguf_part *part; /* where it lies */
	uint64_t order;
	bool permuted;
};

struct gguf_source {
	struct gguf_parts files;
	struct item *items;
	size_t n_items, next;
	const struct item *now;
	uint64_t done;        /* bytes given of the current one */
	uint8_t *head, *rows; /* a head of a permuted tensor: as given, as it lies */
	uint64_t head_at;     /* which head is there, UINT64_MAX: none */
	float *freqs;         /* rope_freqs.weight, NULL: none */
	uint64_t n_freqs;
};

/* The stream's own failures name a file already. */
static int
place(const struct gguf_source *g, struct qz_err *e)
{
	for (int i = 0; i < g->files.n && g->files.parts[i].in; i++) {
		const char *name = qz_in_name(g->files.parts[i].in);

		if (!strncmp(e->msg, name, strlen(name)))
			return -1;
	}
	return qz_at(e, "%s", qz_in_name(g->files.parts[0].in));
}

static int
read_at(const struct gguf_part *p, uint64_t at, void *data, size_t n, struct qz_err *e)
{
	if (qz_in_offset(p->in) != at && qz_in_seek(p->in, at, e) < 0)
		return -1;
	return qz_in_read(p->in, data, n, e);
}

static int
add_item(struct qz_source *s, struct gguf_source *g, const struct gguf_part *part,
    const struct qz_gguf_tensor *x, struct qz_err *e)
{
	struct item *it = &g->items[g->n_items];
	char name[QZ_NAME_LEN_MAX];
	int layer, r = qz_role_of_gguf(x->name, &layer);
	uint64_t rows;

	if (!strcmp(x->name, FREQS))
		return 0;
	if (r < 0)
		return qz_fail(e, QZ_EDATA, "GGUF: tensor %s: a %s model has no such tensor",
		    x->name, s->config.family->gguf);
	qz_role_name((enum qz_role)r, layer, name, sizeof name);
	*it = (struct item){ .at = x, .part = part, .order = source_order(name) };
	it->t = (struct qz_tensor){
		.name = qz_arena_strdup(&s->arena, name), .dtype = x->dtype, .n_dims = x->n_dims
	};
	memcpy(it->t.dims, x->dims, sizeof it->t.dims);
	if (!it->t.name)
		return qz_nomem(e, strlen(name));
	it->permuted = s->config.family->gguf_permuted &&
		       (r == QZ_Q || r == QZ_K || r == QZ_Q_BIAS || r == QZ_K_BIAS);
	rows = it->t.dims[0];
	if (it->permuted && rows % (uint64_t)s->config.head_dim)
		return qz_fail(e, QZ_EDATA, "GGUF: tensor %s: %llu rows are no whole heads of %lld",
		    x->name, (unsigned long long)rows, (long long)s->config.head_dim);
	g->n_items++;
	return qz_tensor_plan(&it->t, e) < 0 ? qz_at(e, "GGUF: tensor %s", x->name) : 0;
}

static int
by_order(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

static int
list_items(struct qz_source *s, struct gguf_source *g, struct qz_err *e)
{
	size_t most_items = 0;
	struct qz_tensor *t;
	uint64_t most = 0;
	int ret = 0;

	for (int k = 0; k < g->files.n; k++)
		most_items += g->files.parts[k].g.n_tensors;
	t = calloc(most_items + 1, sizeof *t);
	g->items = calloc(most_items + 1, sizeof *g->items);
	if (!t || !g->items)
		ret = qz_nomem(e, most_items * sizeof *t);
	for (int k = 0; k < g->files.n; k++) {
		const struct gguf_part *p = &g->files.parts[k];

		for (size_t i = 0; ret == 0 && i < p->g.n_tensors; i++)
			ret = add_item(s, g, p, &p->g.tensors[i], e);
	}
	if (ret == 0) {
		qsort(g->items, g->n_items, sizeof *g->items, by_order);
		for (size_t i = 0; i < g->n_items; i++)
			t[i] = g->items[i].t;
		ret = source_set_manifest(s, t, g->n_items, e);
	}
	free(t);
	if (ret < 0)
		return -1;
	for (size_t i = 0; i < g->n_items; i++) {
		const struct item *it = &g->items[i];
		uint64_t n = it->permuted
				 ? it->at->nbytes / (it->t.dims[0] / (uint64_t)s->config.head_dim)
				 : 0;

		most = n > most ? n : most;
	}
	g->head = malloc((size_t)most + 1);
	g->rows = malloc((size_t)most + 1);
	return g->head && g->rows ? 0 : qz_nomem(e, most);
}

/* One head of a permuted tensor into g->head, its rows in Hugging Face's order. */
static int
load_head(
    struct qz_source *s, struct gguf_source *g, uint64_t number, uint64_t nbytes, struct qz_err *e)
{
	uint64_t dim = (uint64_t)s->config.head_dim, row = nbytes / dim, half = dim / 2;

	if (read_at(
		g->now->part, g->now->at->offset + number * nbytes, g->rows, (size_t)nbytes, e) < 0)
		return -1;
	for (uint64_t i = 0; i < half; i++)
		for (uint64_t k = 0; k < 2; k++)
			memcpy(g->head + (k * half + i) * row, g->rows + (2 * i + k) * row,
			    (size_t)row);
	g->head_at = number;
	return 0;
}

static int
read_permuted(struct qz_source *s, struct gguf_source *g, uint8_t *to, size_t n, struct qz_err *e)
{
	uint64_t heads = g->now->t.dims[0] / (uint64_t)s->config.head_dim;
	uint64_t nbytes = g->now->at->nbytes / heads;

	while (n) {
		uint64_t number = g->done / nbytes, from = g->done % nbytes;
		size_t part = n < nbytes - from ? n : (size_t)(nbytes - from);

		if (number != g->head_at && load_head(s, g, number, nbytes, e) < 0)
			return -1;
		memcpy(to, g->head + from, part);
		to += part;
		n -= part;
		g->done += part;
	}
	return 0;
}

static int
next(struct qz_source *s, struct qz_tensor *t, struct qz_err *e)
{
	struct gguf_source *g = s->impl;

	(void)e;
	if (g->next == g->n_items)
		return 0;
	g->now = &g->items[g->next++];
	g->done = 0;
	g->head_at = UINT64_MAX;
	*t = g->now->t;
	return 1;
}

static int
read_data(struct qz_source *s, void *data, size_t n, struct qz_err *e)
{
	struct gguf_source *g = s->impl;
	uint64_t left = g->now->at->nbytes > g->done ? g->now->at->nbytes - g->done : 0;
	size_t part = n < left ? n : (size_t)left;

	memset((char *)data + part, 0, n - part); /* the plan's padding */
	if (g->now->permuted)
		return read_permuted(s, g, data, part, e);
	if (part && read_at(g->now->part, g->now->at->offset + g->done, data, part, e) < 0)
		return -1;
	g->done += n;
	return 0;
}

static int
finish(struct qz_source *s, uint64_t n, struct qz_err *e)
{
	(void)s, (void)n, (void)e;
	return 0;
}

static void
close_gguf(struct qz_source *s)
{
	struct gguf_source *g = s->impl;

	if (!g)
		return;
	gguf_parts_close(&g->files);
	free(g->items);
	free(g->freqs);
	free(g->head);
	free(g->rows);
	free(g);
}

/* The items in a new order, and the manifest with them. */
static int
sort_items(struct qz_source *s, int (*compare)(const char *a, const char *b), struct qz_err *e)
{
	struct gguf_source *g = s->impl;

	for (size_t i = 1; i < g->n_items; i++) { /* in order already, but for a few */
		struct item x = g->items[i];
		struct qz_tensor t = s->manifest[i];
		size_t k = i;

		for (; k > 0 && compare(g->items[k - 1].at->name, x.at->name) > 0; k--) {
			g->items[k] = g->items[k - 1];
			s->manifest[k] = s->manifest[k - 1];
		}
		g->items[k] = x;
		s->manifest[k] = t;
	}
	return g->next ? qz_fail(e, QZ_EDATA, "%s: tensors were read already", s->name) : 0;
}

static const struct source_ops ops = { "gguf", next, read_data, finish, NULL, NULL, NULL, NULL,
	close_gguf };

/* config.json as a folder would have it; parsing it again checks every number. */
static int
make_config(struct qz_source *s, struct gguf_source *g, struct qz_err *e)
{
	const struct gguf_part *part;
	const struct qz_gguf_tensor *x = gguf_parts_tensor(&g->files, FREQS, &part);
	struct qz_config c;
	struct qz_buf text = { 0 };
	int ret = 0;

	if (x && (x->dtype != QZ_F32 || x->n_dims != 1 || x->nbytes > 1 << 16))
		return qz_fail(e, QZ_EDATA, "GGUF: " FREQS " is no short vector of f32");
	if (x && !(g->freqs = malloc((size_t)x->nbytes)))
		return qz_nomem(e, x->nbytes);
	g->n_freqs = x ? x->dims[0] : 0;
	if (x)
		ret = read_at(part, x->offset, g->freqs, (size_t)x->nbytes, e);
	if (ret == 0)
		ret = source_gguf_config(&c, &g->files, g->freqs, g->n_freqs, e);
	if (ret < 0)
		return -1;
	qz_config_put(&c, &text);
	ret = qz_buf_ok(&text, e);
	if (ret == 0)
		ret = source_add_file(s, "config.json", &text, e);
	qz_buf_free(&text);
	return ret;
}

static int
make_text(struct qz_source *s, struct gguf_source *g, struct qz_err *e)
{
	struct qz_buf tokenizer = { 0 }, config = { 0 };
	int ret = source_gguf_text(&g->files.parts[0].g, &tokenizer, &config, e);

	if (ret > 0)
		ret = source_add_file(s, "tokenizer.json", &tokenizer, e);
	if (ret == 0 && config.n)
		ret = source_add_file(s, "tokenizer_config.json", &config, e);
	qz_buf_free(&tokenizer);
	qz_buf_free(&config);
	return ret;
}

int
source_open_gguf(struct qz_source *s, struct qz_in *in, struct qz_err *e)
{
	struct gguf_source *g = calloc(1, sizeof *g);

	s->ops = &ops;
	s->impl = g;
	if (!g) {
		qz_in_close(in);
		return qz_nomem(e, sizeof *g);
	}
	if (gguf_parts_open(&g->files, in, e) < 0 || make_config(s, g, e) < 0 ||
	    make_text(s, g, e) < 0 || list_items(s, g, e) < 0)
		return g->files.n ? place(g, e) : -1;
	return 0;
}

static const struct gguf_source *
of(const struct qz_source *s)
{
	return s->ops == &ops ? s->impl : NULL;
}

const struct qz_gguf *
qz_source_gguf(const struct qz_source *s)
{
	return of(s) ? &of(s)->files.parts[0].g : NULL;
}

const float *
qz_source_rope_freqs(const struct qz_source *s, uint64_t *n)
{
	*n = of(s) ? of(s)->n_freqs : 0;
	return of(s) ? of(s)->freqs : NULL;
}

int
qz_source_sort(struct qz_source *s, int (*compare)(const char *a, const char *b), struct qz_err *e)
{
	if (!of(s))
		return qz_fail(
		    e, QZ_EUSAGE, "%s: is no GGUF file, but a %s", s->name, s->ops->kind);
	return sort_items(s, compare, e);
}
