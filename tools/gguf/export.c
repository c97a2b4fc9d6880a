#include "tools/gguf/export.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "libcore/base/num.h"
#include "tools/gguf/choose.h"
#include "tools/gguf/keys.h"
#include "tools/gguf/write.h"

static bool
cut(char *name, const char *ending)
{
	size_t n = strlen(name), end = strlen(ending);
	bool has = n > end && !strcmp(name + n - end, ending);

	if (has)
		name[n - end] = '\0';
	return has;
}

/* "model.Q4_1" of a GGUF file is the model in a type that this file will not have. */
static void
cut_type(char *name)
{
	char *dot = strrchr(name, '.');

	if (dot && dot != name && (dot[1] == 'Q' || dot[1] == 'q') && dot[2] >= '0' &&
	    dot[2] <= '9')
		*dot = '\0';
}

void
export_name(const char *path, char *out, size_t n)
{
	static const char *const endings[] = { ".qz", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz",
		".tar.zst" };
	char *full = strcmp(path, "-") ? realpath(path, NULL) : NULL;
	const char *last = full ? strrchr(full, '/') : NULL;

	snprintf(out, n, "%s", last ? last + 1 : "");
	free(full);
	if (cut(out, ".gguf"))
		cut_type(out);
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		cut(out, endings[i]);
}

/* What a GGUF file cannot say, or says in another way. */
static void
report(const struct request *r, const struct plan *p, size_t n_padding)
{
	const struct qz_config *c = p->config;

	if (p->n_fallback)
		qz_say("%zu matrices do not fit %s: %s", p->n_fallback, r->type, p->fallback);
	if (p->n_unweighted)
		qz_say("%zu matrices are not in the importance matrix: %s is the first",
		    p->n_unweighted, p->unweighted);
	if (p->n_requant)
		qz_warn("%zu matrices are quantized a second time, on top of the errors that they "
			"have: %s is the first",
		    p->n_requant, p->requant);
	if (n_padding)
		qz_say("the embedding has %zu rows without a token: they are named [PAD...]",
		    n_padding);
	if (c->window)
		qz_say("attention reaches %lld tokens back in this model; llama.cpp's %s lets it "
		       "reach all",
		    (long long)c->window, c->family->gguf);
}

/* Values that f16 made infinite: named, and fatal when asked for. */
static int
report_overflow(const struct request *r, const struct plan *p, struct qz_err *e)
{
	uint64_t n = 0;
	size_t n_tensors = 0, first = 0;

	for (size_t i = p->n; i-- > 0;)
		if (p->tensors[i].overflow) {
			n += p->tensors[i].overflow;
			n_tensors++;
			first = i;
		}
	if (!n)
		return 0;
	if (r->strict)
		return qz_fail(e, QZ_EDATA,
		    "%llu values of %zu tensors are too large for f16, the first in %s; bf16 holds "
		    "them",
		    (unsigned long long)n, n_tensors, p->tensors[first].name);
	qz_warn("%llu values of %zu tensors are too large for f16 and became infinite, the first "
		"in %s; "
		"bf16 holds them",
	    (unsigned long long)n, n_tensors, p->tensors[first].name);
	return 0;
}

struct model {
	struct qz_source *source;
	struct qz_spool *spool;
	struct qz_feed feed;
	const struct qz_tensor *manifest;
	size_t n;
};

static int
open_model(struct model *m, const char *path, struct qz_err *e)
{
	char size[16];

	*m = (struct model){ .source = qz_source_open(path, e) };
	if (!m->source)
		return -1;
	m->manifest = qz_source_manifest(m->source, &m->n);
	m->feed = qz_feed_source(m->source);
	if (qz_source_spooled(m->source)) {
		qz_num_bytes(qz_source_spooled(m->source), size);
		qz_say("%s: %s went to a temporary file, since what explains them comes later",
		    qz_source_name(m->source), size);
	}
	if (m->manifest)
		return 0;
	qz_say("%s: shows its tensors only as it is read: it goes to a temporary file first",
	    qz_source_name(m->source));
	m->spool = qz_spool_new(m->source, e);
	if (!m->spool)
		return -1;
	qz_num_bytes(qz_spool_nbytes(m->spool), size);
	qz_say("%s: %s spooled", qz_source_name(m->source), size);
	m->manifest = qz_spool_manifest(m->spool, &m->n);
	m->feed = qz_feed_spool(m->spool);
	return 0;
}

static int
load_adapters(const struct request *r, struct qz_merge *m, struct qz_err *e)
{
	m->adapters = calloc(r->merges.n + 1, sizeof *m->adapters);
	if (!m->adapters)
		return qz_nomem(e, r->merges.n * sizeof *m->adapters);
	for (; m->n < r->merges.n; m->n++) {
		m->adapters[m->n] = (struct qz_added){ .path = r->merges.items[m->n], .scale = 1 };
		if (qz_merge_load(m, &m->adapters[m->n], e) < 0) {
			qz_merge_drop(m, &m->adapters[m->n]);
			return -1;
		}
	}
	return 0;
}

static int
write_tensors(struct model *m, struct plan *p, const struct qz_merge *merge, struct files *f,
    struct qz_err *e)
{
	struct qz_meter meter;
	int ret = -1;

	qz_meter_start(&meter, "gguf", files_nbytes(f), NULL);
	if (files_begin(f, e) == 0)
		ret = write_data(p, &m->feed, merge, f, &meter, e);
	qz_meter_stop(&meter);
	return ret;
}

static int
open_merge(const struct request *r, struct qz_merge *m, const char *device, struct qz_err *e)
{
	m->any_base = r->any_base;
	m->d = qz_device_open(device, (int)qz_threads, e);
	return m->d ? load_adapters(r, m, e) : -1;
}

static void
close_merge(struct qz_merge *m)
{
	for (size_t i = 0; i < m->n; i++)
		qz_merge_drop(m, &m->adapters[i]);
	free(m->adapters);
	qz_device_close(m->d);
}

static int
write_model(
    const struct request *r, struct model *m, struct plan *p, struct files *f, struct qz_err *e)
{
	struct qz_merge merge = { .config = p->config };
	/* A GPU does not write K-quants: it is taken when asked for by name, and refuses them by name. */
	const char *device = strcmp(qz_device_name, "auto") ? qz_device_name : "cpu";
	int ret = open_merge(r, &merge, device, e);

	if (ret == 0)
		ret = write_tensors(m, p, &merge, f, e);
	close_merge(&merge);
	return ret < 0 ? -1 : report_overflow(r, p, e);
}

/* ---- what the options ask for ---- */

struct wishes {
	struct plan_options plan;
	struct qz_imatrix imatrix;
};

static enum qz_dtype
type_named(const char *option, const char *name, size_t n)
{
	char text[32];
	enum qz_dtype t;

	snprintf(text, sizeof text, "%.*s", (int)n, name);
	for (char *s = text; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	t = n < sizeof text ? qz_dtype_by_name(text) : 0;
	if (!t || !qz_dtype((unsigned)t)->name || qz_dtype((unsigned)t)->ggml < 0 || t == QZ_F64 ||
	    t == QZ_I32)
		qz_usage("--%s: '%.*s' is no type of a GGUF matrix", option, (int)n, name);
	return t;
}

static int
read_overrides(const struct request *r, struct plan_options *o, struct qz_err *e)
{
	o->overrides = calloc(r->tensor_types.n + 1, sizeof *o->overrides);
	if (!o->overrides)
		return qz_nomem(e, r->tensor_types.n * sizeof *o->overrides);
	for (; o->n_overrides < r->tensor_types.n; o->n_overrides++) {
		const char *text = r->tensor_types.items[o->n_overrides], *is = strrchr(text, '=');

		if (!is || is == text || is - text > 200)
			qz_usage("--tensor-type %s: PATTERN=TYPE is expected", text);
		o->overrides[o->n_overrides] = (struct override){ text, (size_t)(is - text),
			type_named("tensor-type", is + 1, strlen(is + 1)), 0 };
	}
	return 0;
}

static int
read_wishes(const struct request *r, struct wishes *w, struct qz_err *e)
{
	struct plan_options *o = &w->plan;

	o->mixture = mixture_find(r->type);
	o->pure = r->pure;
	o->like = r->like != NULL;
	o->merging = r->merges.n > 0;
	o->chosen = r->plan || r->max_size;
	if (r->head_type)
		o->head = type_named("output-type", r->head_type, strlen(r->head_type));
	if (r->embedding_type)
		o->embedding = type_named(
		    "token-embedding-type", r->embedding_type, strlen(r->embedding_type));
	if (read_overrides(r, o, e) < 0)
		return -1;
	if (!r->imatrix)
		return 0;
	o->imatrix = &w->imatrix;
	return qz_imatrix_read(&w->imatrix, r->imatrix, e);
}

static void
drop_wishes(struct wishes *w)
{
	free(w->plan.overrides);
	qz_imatrix_free(&w->imatrix);
}

/* The order of llama-quantize: by layer, those of none first; then by name. */
static int
by_layer(const char *a, const char *b)
{
	int x = -1, y = -1;

	sscanf(a, "blk.%d.", &x);
	sscanf(b, "blk.%d.", &y);
	return x != y ? (x > y) - (x < y) : strcmp(a, b);
}

/* rope_freqs.weight stands first, or where its name does. */
static void
place_rope(const struct request *r, struct plan *p, const struct qz_source *s)
{
	uint64_t n;

	p->rope = qz_source_rope_freqs(s, &n);
	if (p->rope)
		p->rope_factors = n == (uint64_t)p->config->head_dim / 2;
	while (r->like && p->rope_at < p->n &&
	       by_layer(p->tensors[p->rope_at].name, "rope_freqs.weight") < 0)
		p->rope_at++;
}

/* What llama.cpp does otherwise, a line each. */
static void
report_differences(const struct qz_buf *b)
{
	for (const char *s = b->data; s && *s; s += strcspn(s, "\n") + 1)
		qz_say("llama.cpp's tokenizer: %.*s", (int)strcspn(s, "\n"), s);
}

/* The types for a size: errors are measured on a first reading. */
static int
choose_types(const struct request *r, const char *path, struct plan *p, const struct qz_ggufw *keys,
    const struct qz_tensor *manifest, struct qz_err *e)
{
	struct qz_merge merge = { .config = p->config };
	struct choice c = { .max_size = r->max_size };
	struct model again = { 0 };
	char summary[512];
	int ret;

	if (choice_parse(&c, r->plan, r->types, e) < 0)
		return -1;
	if (!strcmp(path, "-"))
		return qz_fail(e, QZ_EUSAGE, "the model is read twice: it cannot be a pipe");
	ret = open_merge(r, &merge, "cpu", e);
	if (ret == 0)
		ret = open_model(&again, path, e);
	if (ret == 0)
		ret = choice_make(&c, p, manifest, &again.feed, &merge, keys, summary, e);
	if (ret == 0)
		qz_say("%s", summary);
	qz_spool_free(again.spool);
	qz_source_close(again.source);
	close_merge(&merge);
	return ret;
}

static int
plan_model(const struct request *r, struct model *m, struct wishes *w, const char *path,
    struct plan *p, struct files *f, struct qz_err *e)
{
	const struct qz_config *c = qz_source_config(m->source);
	struct qz_ggufw g = { 0 };
	struct qz_buf differences = { 0 }, card_wrong = { 0 };
	char id[256];
	struct keys k = { .meta = { .config = c,
			      .title = r->title,
			      .differences = &differences,
			      .card_wrong = &card_wrong },
		.imatrix = w->plan.imatrix,
		.imatrix_path = r->imatrix,
		.set = r->settings.items,
		.n_set = r->settings.n };
	int ret;

	if (r->like && qz_source_sort(m->source, by_layer, e) < 0)
		return -1;
	export_name(path, id, sizeof id);
	k.meta.id = *id ? id : r->title;
	k.meta.n_files = qz_source_files(m->source, &k.meta.files);
	if (plan_make(p, c, m->manifest, m->n, &w->plan, e) < 0)
		return -1;
	place_rope(r, p, m->source);
	k.meta.n_params = p->n_params;
	k.meta.ftype = p->ftype;
	ret = keys_put(&g, &k, m->source, e);
	if (ret == 0 && w->plan.chosen)
		ret = choose_types(r, path, p, &g, m->manifest, e);
	if (ret == 0 && w->plan.chosen)
		keys_set_ftype(&g, p->ftype);
	if (ret == 0)
		ret = files_open(
		    f, r->output, r->split_max, r->digest && !r->like, &g, p, m->manifest, e);
	if (ret == 0)
		report(r, p, k.n_padding);
	if (ret == 0)
		report_differences(&differences);
	if (ret == 0 && card_wrong.n)
		qz_warn(
		    "README.md: %s: what the card says of the model is left out", card_wrong.data);
	qz_buf_free(&differences);
	qz_buf_free(&card_wrong);
	qz_ggufw_free(&g);
	return ret;
}

static void
report_size(const struct plan *p, const struct files *f)
{
	char size[16];

	qz_num_bytes(files_nbytes(f), size);
	if (f->n > 1)
		qz_say("%zu tensors, %s in %zu files", p->n + p->rope_factors, size, f->n);
	else
		qz_say("%zu tensors, %s", p->n + p->rope_factors, size);
}

int
export_model(const char *path, const struct request *r, struct qz_err *e)
{
	struct wishes w = { 0 };
	struct files f = { 0 };
	struct plan p = { 0 };
	struct model m = { 0 };
	int ret = read_wishes(r, &w, e) < 0 ? -1 : open_model(&m, path, e);

	if (ret == 0 && plan_model(r, &m, &w, path, &p, &f, e) < 0)
		ret = qz_at(e, "%s", qz_source_name(m.source));
	if (ret == 0)
		ret = write_model(r, &m, &p, &f, e);
	if (ret == 0)
		ret = files_commit(&f, e);
	if (ret == 0)
		report_size(&p, &f);
	files_close(&f);
	plan_free(&p);
	qz_spool_free(m.spool);
	qz_source_close(m.source);
	drop_wishes(&w);
	return ret;
}
