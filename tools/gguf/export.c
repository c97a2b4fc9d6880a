#include "tools/gguf/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "libcore/base/num.h"
#include "libcore/base/pool.h"
#include "tools/gguf/choose.h"
#include "tools/gguf/keys.h"
#include "tools/gguf/report.h"
#include "tools/gguf/wishes.h"
#include "tools/gguf/write.h"

struct model {
	struct qz_source *source;
	struct qz_spool *spool;
	struct qz_feed feed;
	const struct qz_tensor *manifest;
	size_t n;
};

/* Only an adapter asks which tensors these are. */
static int
open_model(struct model *m, const char *path, const struct request *r, struct qz_err *e)
{
	char size[16];

	*m = (struct model){ .source = qz_source_open(path, e) };
	if (!m->source)
		return -1;
	if (!r->merges.n)
		qz_source_undigested(m->source);
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

/* What auto means here: a GPU where a CPU would still search for scales when a GPU has started and the model has
 * been read, which nothing can hide.  Rates are rounded ones (kernels/NOTES.md); bytes are the same either way. */
static const char *
auto_device(const struct plan *p, const struct qz_tensor *manifest)
{
	static const double WEIGHTS = 1.5e8, BYTES = 5e9, START = 0.7; /* a second and thread; s */
	double threads = qz_threads > 0 ? (double)qz_threads : qz_pool_cpus(), n = 0, bytes = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct planned *t = &p->tensors[i];
		bool plain = qz_dtype((unsigned)t->type)->plain || t->type == QZ_Q8_0;

		bytes += (double)manifest[i].nbytes;
		if (t->type >= QZ_Q2_K || (!plain && t->importance))
			n += (double)qz_tensor_count(&manifest[i]);
	}
	return n / (WEIGHTS * threads) > bytes / BYTES + START ? "auto" : "cpu";
}

static int
write_model(
    const struct request *r, struct model *m, struct plan *p, struct files *f, struct qz_err *e)
{
	struct qz_merge merge = { .config = p->config };
	const char *device = strcmp(qz_device_name, "auto") ? qz_device_name
							    : auto_device(p, m->manifest);
	int ret = open_merge(r, &merge, device, e);

	if (ret == 0)
		ret = write_tensors(m, p, &merge, f, e);
	close_merge(&merge);
	return ret < 0 ? -1 : report_overflow(r, p, e);
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

/* The types for a size: errors are measured on a first reading. */
static int
choose_types(const struct request *r, const struct choice *c, const char *path, struct plan *p,
    const struct qz_ggufw *keys, const struct qz_tensor *manifest, struct qz_err *e)
{
	struct qz_merge merge = { .config = p->config };
	struct model again = { 0 };
	char summary[512];
	int ret;

	ret = open_merge(r, &merge, "cpu", e);
	if (ret == 0)
		ret = open_model(&again, path, r, e);
	if (ret == 0)
		ret = choice_make(c, p, manifest, &again.feed, &merge, keys, summary, e);
	if (ret == 0)
		qz_say("%s", summary);
	qz_spool_free(again.spool);
	qz_source_close(again.source);
	close_merge(&merge);
	return ret;
}

/* Types, keys and files, from names and shapes; with --plan from a first reading, too. */
static int
plan_files(const struct request *r, struct model *m, const struct wishes *w, const char *path,
    struct plan *p, struct keys *k, struct qz_ggufw *g, struct qz_err *e)
{
	int ret;

	if (plan_make(p, k->meta.config, m->manifest, m->n, &w->plan, e) < 0)
		return -1;
	place_rope(r, p, m->source);
	k->meta.n_params = p->n_params;
	k->meta.ftype = p->ftype;
	ret = keys_put(g, k, m->source, e);
	if (ret == 0 && w->plan.chosen)
		ret = choose_types(r, &w->choice, path, p, g, m->manifest, e);
	if (ret == 0 && w->plan.chosen)
		keys_set_ftype(g, p->ftype);
	return ret;
}

static int
plan_model(const struct request *r, struct model *m, const struct wishes *w, const char *path,
    struct plan *p, struct files *f, struct qz_err *e)
{
	struct report said = { 0 };
	struct qz_ggufw g = { 0 };
	char id[256];
	struct keys k = { .meta = { .config = qz_source_config(m->source),
			      .title = r->title,
			      .differences = &said.differences,
			      .card_wrong = &said.card_wrong },
		.imatrix = w->plan.imatrix,
		.imatrix_path = r->imatrix,
		.set = r->settings.items,
		.n_set = r->settings.n };
	int ret;

	if (r->like && qz_source_sort(m->source, by_layer, e) < 0)
		return -1;
	export_name(path, id, sizeof id);
	k.meta.id = r->title ? r->title : *id ? id : NULL;
	k.meta.n_files = qz_source_files(m->source, &k.meta.files);
	ret = plan_files(r, m, w, path, p, &k, &g, e);
	if (ret < 0)
		qz_at(e, "%s", qz_source_name(m->source));
	else
		ret = files_open(
		    f, r->output, r->split_max, r->digest && !r->like, &g, p, m->manifest, e);
	qz_ggufw_free(&g);
	said.n_padding = k.n_padding;
	if (ret == 0)
		report_plan(p, &said);
	report_free(&said);
	return ret;
}

int
export_model(const char *path, const struct request *r, struct qz_err *e)
{
	struct wishes w = { 0 };
	struct files f = { 0 };
	struct plan p = { 0 };
	struct model m = { 0 };
	int ret = wishes_read(r, &w, e);

	if (ret == 0 && w.plan.chosen && !strcmp(path, "-"))
		ret = qz_fail(e, QZ_EUSAGE,
		    "the model is read twice: with --plan or --max-size it cannot be a pipe");
	if (ret == 0)
		ret = open_model(&m, path, r, e);
	if (ret == 0)
		ret = plan_model(r, &m, &w, path, &p, &f, e);
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
	wishes_free(&w);
	return ret;
}
