/* qz-gguf - a model or an adapter as a GGUF file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/backend.h"
#include "libcore/base/num.h"
#include "libcore/model/gguf_meta.h"
#include "tools/common/cli.h"
#include "tools/gguf/lora.h"
#include "tools/gguf/write.h"

static const char *type = "f16";
static const char *output;
static const char *title;
static const char *base;
static bool strict;

static const struct qz_opt opts[] = {
	{ 't', "type", QZ_OPT_STR, &type, "TYPE",
	    "Store matrices as TYPE: f32, f16, bf16 or q8_0. Vectors (norms, biases) are f32 "
	    "always, and so "
	    "is an adapter. A matrix whose rows are no whole number of blocks takes the type that "
	    "llama.cpp "
	    "gives it, and is named.",
	    0, 0, "f32|f16|bf16|q8_0" },
	{ 'o', "output", QZ_OPT_STR, &output, "OUT",
	    "Write to this file instead of standard output. It appears when it is complete.", 0, 0,
	    NULL },
	{ 0, "name", QZ_OPT_STR, &title, "NAME",
	    "Call the model NAME. Without it the name is made from what the input is called.", 0, 0,
	    NULL },
	{ 0, "base", QZ_OPT_STR, &base, "MODEL",
	    "Take the model's shape from MODEL, for an adapter. Without it the base that the "
	    "adapter names is "
	    "looked for; only its configuration is read.",
	    0, 0, NULL },
	{ 0, "strict", QZ_OPT_FLAG, &strict, NULL,
	    "Fail when a value is too large for f16. Without it such values become infinite, and "
	    "their number "
	    "is reported.",
	    0, 0, NULL },
	QZ_OPT_DEVICE,
	QZ_OPT_LAST,
};

static const struct qz_tool tool = {
	.name = "qz-gguf",
	.does = "write a model or an adapter as GGUF",
	.operands = "[MODEL|ADAPTER]",
	.opts = opts,
	.example = "qz-gguf -t q8_0 -o model.gguf merged.qz",
};

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

/* What a path calls the model: its last part, without the ending of a file.  "" for standard input. */
static void
name_of(const char *path, char *out, size_t n)
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
report(const struct plan *p, const struct qz_config *c, size_t n_padding)
{
	if (p->n_fallback)
		qz_say("%zu matrices are not %s: %s", p->n_fallback, type, p->fallback);
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
report_overflow(const struct plan *p, struct qz_err *e)
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
	if (strict)
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
write_model(struct model *m, struct plan *p, struct qz_ggufw *g, struct qz_out *o, struct qz_err *e)
{
	struct qz_dev *d = qz_device_open(qz_device_name, (int)qz_threads, e);
	struct qz_meter meter;
	int ret = -1;

	if (!d)
		return -1;
	qz_meter_start(&meter, "gguf", g->data, NULL);
	if (qz_out_expect(o, qz_ggufw_nbytes(g), e) == 0 && qz_ggufw_begin(g, o, e) == 0)
		ret = write_data(p, &m->feed, d, g, o, &meter, e);
	qz_meter_stop(&meter);
	qz_device_close(d);
	return ret < 0 ? -1 : report_overflow(p, e);
}

static int
run_model(const char *path, struct qz_out *o, struct qz_err *e)
{
	const struct target *target = target_find(type);
	struct qz_ggufw g = { 0 };
	struct plan p = { 0 };
	struct model m;
	char id[256], size[16];
	size_t n_padding;
	int ret = open_model(&m, path, e);

	if (ret == 0) {
		const struct qz_config *c = qz_source_config(m.source);
		struct qz_gguf_meta meta = {
			.config = c, .id = id, .title = title, .ftype = target->ftype
		};

		name_of(path, id, sizeof id);
		meta.id = title ? title : *id ? id : NULL;
		meta.n_files = qz_source_files(m.source, &meta.files);
		ret = plan_make(&p, c, m.manifest, m.n, target, e);
		meta.n_params = p.n_params;
		if (ret == 0)
			ret = qz_gguf_meta_put(&g, &meta, &n_padding, e);
		if (ret == 0)
			ret = plan_put(&p, m.manifest, &g, e);
		if (ret < 0)
			qz_at(e, "%s", qz_source_name(m.source));
		else
			report(&p, c, n_padding);
		ret = ret < 0 ? -1 : write_model(&m, &p, &g, o, e);
	}
	if (ret == 0) {
		qz_num_bytes(qz_ggufw_nbytes(&g), size);
		qz_say("%llu tensors, %s", (unsigned long long)g.n_tensors, size);
	}
	plan_free(&p);
	qz_ggufw_free(&g);
	qz_spool_free(m.spool);
	qz_source_close(m.source);
	return ret;
}

/* The base that the adapter names, as named or beside the adapter; NULL: not here.  To free. */
static char *
find_base(const struct qz_adapter *a, const char *path)
{
	const char *name = a->base ? a->base : "", *slash = strrchr(path, '/');
	char *found = NULL;
	struct stat st;

	if (base)
		return strdup(base);
	if (*name && stat(name, &st) == 0)
		return strdup(name);
	if (*name && *name != '/' && slash &&
	    asprintf(&found, "%.*s/%s", (int)(slash - path), path, name) < 0)
		return NULL;
	if (found && stat(found, &st) == 0)
		return found;
	free(found);
	return NULL;
}

/* The shape of the model that an adapter is for. */
static int
find_config(const struct qz_adapter *a, const char *path, struct qz_config *c, struct qz_err *e)
{
	char *at = find_base(a, path);
	struct qz_source *s;

	if (!at)
		return qz_fail(e, QZ_EUSAGE,
		    "its base %s is not here: --base MODEL says which model it is for",
		    a->base && *a->base ? a->base : "has no name and");
	s = qz_source_open(at, e);
	free(at);
	if (!s)
		return -1;
	*c = *qz_source_config(s);
	qz_source_close(s);
	return qz_adapter_fits(a, c, e);
}

static int
run_adapter(const char *path, struct qz_out *o, struct qz_err *e)
{
	struct qz_adapter a = { 0 };
	struct qz_config c;
	char id[256];

	name_of(path, id, sizeof id);
	if (qz_adapter_read(&a, path, e) < 0)
		return -1;
	if (find_config(&a, path, &c, e) < 0 || lora_write(&a, &c, id, title, o, e) < 0) {
		qz_adapter_free(&a);
		return qz_at(e, "%s", path);
	}
	qz_say("%d adapted matrices, rank %d", a.lora.n, a.lora.rank);
	qz_adapter_free(&a);
	return 0;
}

static int
run(const char *path, struct qz_err *e)
{
	struct qz_out *o = qz_out_open(output, false, e);
	int ret;

	if (!o)
		return -1;
	ret = lora_is(path) ? run_adapter(path, o, e) : run_model(path, o, e);
	if (ret == 0)
		ret = qz_out_commit(o, e);
	qz_out_close(o);
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv);

	if (argc - first > 1)
		qz_usage("one model or adapter at a time, %s is the second", argv[first + 1]);
	if (first == argc && qz_on_terminal(0))
		qz_usage("which model?");
	if (run(first < argc ? argv[first] : "-", &e) < 0)
		qz_die(&e);
	return QZ_OK;
}
