/* qz-merge - adapters into a model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "libcore/base/num.h"
#include "libcore/shard/provenance.h"
#include "tools/common/cli.h"
#include "tools/merge/merge.h"

static const char *type = "keep";
static const char *output;
static const char *to = "shard";
static struct qz_list scales;
static bool any_base;
static uint64_t file_max = 5000000000;

static const struct qz_opt opts[] = {
	{ 't', "type", QZ_OPT_STR, &type, "TYPE",
	    "Store tensors as TYPE: bf16, f16, f32 or keep. With keep each tensor stays in the "
	    "type that it has "
	    "in the base, and what was quantized becomes bf16.",
	    0, 0, "keep|bf16|f16|f32" },
	{ 0, "scale", QZ_OPT_LIST, &scales, "X",
	    "Multiply an adapter by X. For several adapters give several numbers, in their order, "
	    "with commas or "
	    "by repeating the option; those that are missing are 1.",
	    0, 0, NULL },
	{ 0, "any-base", QZ_OPT_FLAG, &any_base, NULL,
	    "Merge into a base that the adapter was not trained on. Its shapes must fit all the "
	    "same.",
	    0, 0, NULL },
	{ 0, "to", QZ_OPT_STR, &to, "FORMAT",
	    "Write a model shard, or with hf a folder of safetensors that transformers opens.", 0,
	    0, "shard|hf" },
	{ 0, "file-size", QZ_OPT_SIZE, &file_max, "SIZE",
	    "Split a folder's weights into files of at most SIZE. A tensor is never split.", 0, 0,
	    NULL },
	{ 'o', "output", QZ_OPT_STR, &output, "OUT",
	    "Write to this file or folder instead of standard output. It appears when it is "
	    "complete.",
	    0, 0, NULL },
	QZ_OPT_SYNC,
	QZ_OPT_DEVICE,
	QZ_OPT_LAST,
};

static const struct qz_tool tool = {
	.name = "qz-merge",
	.does = "add adapters to a model",
	.operands = "BASE ADAPTER...",
	.opts = opts,
	.example = "qz-merge -o merged.qz model/ adapter.qz",
};

/* The k-th number of all --scale options, 1 when there are fewer. */
static double
scale_of(size_t k)
{
	char one[64];
	double v = 1;
	struct qz_err e;

	for (size_t i = 0; i < scales.n; i++)
		for (const char *s = scales.items[i]; s;
		     s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
			size_t n = strcspn(s, ",");

			if (k--)
				continue;
			if (n >= sizeof one)
				qz_usage("--scale: %.80s is not a number", s);
			memcpy(one, s, n);
			one[n] = '\0';
			if (qz_num_real(one, &v, &e) < 0)
				qz_usage("--scale: %s", e.msg);
			return v;
		}
	return v;
}

static size_t
count_scales(void)
{
	size_t n = 0;

	for (size_t i = 0; i < scales.n; i++) {
		n++;
		for (const char *s = scales.items[i]; *s; s++)
			n += *s == ',';
	}
	return n;
}

static int
load_adapters(struct qz_merge *m, char **paths, struct qz_err *e)
{
	for (size_t i = 0; i < m->n; i++) {
		m->adapters[i] = (struct qz_added){ .path = paths[i], .scale = scale_of(i) };
		if (qz_merge_load(m, &m->adapters[i], e) < 0)
			return -1;
	}
	return 0;
}

/* The chain of the base and of the adapters, and this step. */
static int
provenance(const struct merge *m, const struct qz_source *s, struct qz_buf *out, struct qz_err *e)
{
	struct qz_step step = { 0 };
	int ret = qz_step_inherit(&step, qz_source_provenance(s), e);
	char key[32];

	qz_step_option_str(&step, "type", type);
	qz_step_input(&step, "base", qz_source_total(s));
	for (size_t i = 0; i < m->m.n && ret == 0; i++) {
		const struct qz_added *a = &m->m.adapters[i];

		ret = a->a.provenance ? qz_step_inherit(&step, a->a.provenance, e) : 0;
		snprintf(key, sizeof key, i ? "scale%zu" : "scale", i + 1);
		qz_step_option_num(&step, key, a->scale);
		qz_step_input(&step, "adapter", a->a.digest);
	}
	if (ret == 0)
		ret = qz_step_chain(&step, "qz-merge", NULL, out, e);
	qz_step_free(&step);
	return ret;
}

/* All tensors as they will be; NULL with 0 in *n when the source does not tell. */
static struct qz_tensor *
plan_all(const struct merge *m, const struct qz_tensor *manifest, size_t n, struct qz_err *e)
{
	struct qz_tensor *out = calloc(n + 1, sizeof *out);

	if (!out)
		qz_nomem(e, n * sizeof *out);
	for (size_t i = 0; i < n && out; i++)
		if (merge_plan(m, &manifest[i], &out[i], e) < 0) {
			free(out);
			out = NULL;
		}
	return out;
}

static uint64_t
total(const struct qz_tensor *t, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += t[i].nbytes;
	return sum;
}

/* The type that config.json names: that of -t, or the one that most of the base has. */
static enum qz_dtype
config_type(const struct merge *m, const struct qz_source *s)
{
	const struct qz_config *c = m->m.config;
	size_t n;
	const struct qz_tensor *t = qz_source_manifest(s, &n);
	uint64_t most = 0;
	enum qz_dtype own = c->dtype && qz_dtype((unsigned)c->dtype)->plain ? c->dtype : QZ_BF16;

	if (m->type)
		return m->type;
	for (size_t i = 0; t && i < n; i++) {
		uint64_t count = qz_tensor_count(&t[i]);

		if (!qz_dtype((unsigned)t[i].dtype)->plain)
			return QZ_BF16;
		if (count > most)
			own = t[i].dtype;
		most = count > most ? count : most;
	}
	return own;
}

static int
merge_into(struct merge *m, struct qz_source *s, struct sink *k, struct qz_err *e)
{
	struct qz_spool *spool = NULL;
	struct qz_feed feed = qz_feed_source(s);
	struct qz_tensor *planned = NULL;
	struct qz_meter meter = { 0 };
	struct qz_buf chain = { 0 };
	size_t n = 0;
	const struct qz_tensor *manifest = qz_source_manifest(s, &n);
	char size[16];
	int ret = 0;

	if (qz_source_spooled(s)) {
		qz_num_bytes(qz_source_spooled(s), size);
		qz_say("%s: %s went to a temporary file, since what explains them comes later",
		    qz_source_name(s), size);
	}
	if (!manifest && !strcmp(to, "hf")) {
		qz_say(
		    "%s: shows its tensors only as it is read: it goes to a temporary file first",
		    qz_source_name(s));
		spool = qz_spool_new(s, e);
		ret = spool ? 0 : -1;
		manifest = spool ? qz_spool_manifest(spool, &n) : NULL;
		if (spool)
			feed = qz_feed_spool(spool);
	}
	if (ret == 0 && manifest) {
		planned = plan_all(m, manifest, n, e);
		ret = planned ? 0 : -1;
	}
	if (ret == 0)
		ret = k->begin(k, planned, n, e);
	if (ret == 0) {
		qz_meter_start(&meter, "merge", total(planned, planned ? n : 0), NULL);
		ret = merge_run(m, &feed, k, &meter, e);
		qz_meter_stop(&meter);
	}
	if (ret == 0)
		ret = provenance(m, s, &chain, e);
	if (ret == 0)
		ret = k->end(k, chain.data, e);
	if (ret == 0) {
		qz_num_bytes(meter.done, size);
		qz_say("%llu of %llu tensors changed, %s", (unsigned long long)m->n_changed,
		    (unsigned long long)m->n, size);
	}
	qz_buf_free(&chain);
	free(planned);
	qz_spool_free(spool);
	return ret;
}

static int
merge_source(struct merge *m, struct qz_source *s, char **adapters, struct qz_err *e)
{
	bool hf = !strcmp(to, "hf");
	struct qz_buf config = { 0 };
	struct sink *k = NULL;
	int ret;

	m->m.config = qz_source_config(s);
	ret = load_adapters(&m->m, adapters, e);
	if (ret == 0)
		ret = config_edit(s, config_type(m, s), &config, e);
	if (ret == 0) {
		k = hf ? sink_hf(output, s, &config, file_max, e)
		       : sink_shard(output, s, &config, e);
		ret = k ? merge_into(m, s, k, e) : -1;
	}
	if (k)
		k->close(k);
	qz_buf_free(&config);
	return ret;
}

static void
drop(struct qz_merge *m)
{
	for (size_t i = 0; i < m->n && m->adapters; i++)
		qz_merge_drop(m, &m->adapters[i]);
	free(m->adapters);
	qz_device_close(m->d);
}

static int
run(const char *base, char **adapters, size_t n, struct qz_err *e)
{
	struct merge m = { .m = { .n = n, .any_base = any_base }, .type = qz_dtype_by_name(type) };
	struct qz_source *s;
	int ret = -1;

	m.m.adapters = calloc(n, sizeof *m.m.adapters);
	if (!m.m.adapters)
		return qz_nomem(e, n * sizeof *m.m.adapters);
	m.m.d = qz_device_open(qz_device_name, (int)qz_threads, e);
	s = m.m.d ? qz_source_open(base, e) : NULL;
	if (s)
		ret = merge_source(&m, s, adapters, e);
	drop(&m.m);
	qz_source_close(s);
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv), n = argc - first - 1;

	if (n < 1)
		qz_usage("a base and at least one adapter are needed");
	if (!strcmp(to, "hf") && (!output || !strcmp(output, "-")))
		qz_usage("--to hf makes a folder: -o says which");
	if (count_scales() > (size_t)n)
		qz_usage("%zu scales for %d adapters", count_scales(), n);
	for (int i = 0; i < n; i++)
		scale_of((size_t)i); /* refuses what is no number before anything is read */
	if (run(argv[first], argv + first + 1, (size_t)n, &e) < 0)
		qz_die(&e);
	return QZ_OK;
}
