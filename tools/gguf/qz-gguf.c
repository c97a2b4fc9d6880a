/* qz-gguf - a model or an adapter as a GGUF file. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/backend.h"
#include "libcore/base/num.h"
#include "tools/common/cli.h"
#include "tools/gguf/keys.h"
#include "tools/gguf/lora.h"
#include "tools/gguf/write.h"

static const char *type = "f16";
static const char *output;
static const char *title;
static const char *base;
static const char *imatrix;
static const char *like;
static const char *head_type, *embedding_type;
static struct qz_list tensor_types, settings, merges;
static bool strict, pure, any_base, digest = true;
static uint64_t split_max;

static const struct qz_opt opts[] = {
	{ 't', "type", QZ_OPT_STR, &type, "TYPE",
	    "Store matrices as TYPE: f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, "
	    "q4_k, "
	    "q5_k, q6_k, iq4_nl or iq4_xs. K-types come in mixtures that give some matrices more "
	    "bits, by llama-quantize's rules: q2_k, q2_k_s, q3_k_s, q3_k_m, q3_k_l, q4_k_s, "
	    "q4_k_m, "
	    "q5_k_s, q5_k_m; q3_k, q4_k and q5_k are their _m. Vectors (norms, biases) are f32 "
	    "always, and so is an adapter. A matrix whose rows are no whole number of blocks takes "
	    "the type that llama-quantize gives it, and is named.",
	    0, 0, NULL },
	{ 0, "merge", QZ_OPT_LIST, &merges, "ADAPTER",
	    "Add this adapter to the model before it is quantized. It may be given several times. "
	    "Nothing is rounded in between, as in qz-merge -t f32 MODEL ADAPTER | qz-gguf, but no "
	    "merged model goes anywhere.",
	    0, 0, NULL },
	{ 0, "any-base", QZ_OPT_FLAG, &any_base, NULL,
	    "Merge into a model that the adapter was not trained on. Its shapes must fit all the "
	    "same.",
	    0, 0, NULL },
	{ 0, "imatrix", QZ_OPT_STR, &imatrix, "FILE",
	    "Weigh the columns of matrices by this importance matrix. It is one of llama-imatrix, "
	    "in "
	    "either of its formats, or of qz-bench imatrix.",
	    0, 0, NULL },
	{ 0, "tensor-type", QZ_OPT_LIST, &tensor_types, "PATTERN=TYPE",
	    "Store the matrices whose GGUF name has PATTERN in it as TYPE. PATTERN is a shell "
	    "pattern: attn_v or blk.[0-3].ffn_*. The last one that matches decides.",
	    0, 0, NULL },
	{ 0, "output-type", QZ_OPT_STR, &head_type, "TYPE",
	    "Store the output matrix as TYPE. Where it is the embedding, that.", 0, 0, NULL },
	{ 0, "token-embedding-type", QZ_OPT_STR, &embedding_type, "TYPE",
	    "Store the embedding as TYPE.", 0, 0, NULL },
	{ 0, "pure", QZ_OPT_FLAG, &pure, NULL,
	    "Give all matrices the type that -t names, without the rules of its mixture.", 0, 0,
	    NULL },
	{ 0, "like", QZ_OPT_STR, &like, "PROGRAM",
	    "Write what this program writes, to the byte. The model is a GGUF file then.", 0, 0,
	    "llama-quantize" },
	{ 0, "set", QZ_OPT_LIST, &settings, "KEY=VALUE",
	    "Set a key of the file. VALUE may begin with u32:, i32:, f32:, bool: or str: to say "
	    "what it is; an empty one takes the key out.",
	    0, 0, NULL },
	{ 0, "no-digest", QZ_OPT_NO, &digest, NULL,
	    "Leave out the key that holds the digest of the tensors' data. A file has it, a pipe "
	    "cannot; qz-show --verify compares.",
	    0, 0, NULL },
	{ 0, "split-max-size", QZ_OPT_SIZE, &split_max, "SIZE",
	    "Write several files of at most SIZE, OUT-00001-of-00003.gguf and so on. Programs are "
	    "given the first.",
	    0, 0, NULL },
	{ 'o', "output", QZ_OPT_STR, &output, "OUT",
	    "Write to this file instead of standard output. It appears when it is complete.", 0, 0,
	    NULL },
	{ 0, "name", QZ_OPT_STR, &title, "NAME",
	    "Call the model NAME. Without it the name is made from what the input is called.", 0, 0,
	    NULL },
	{ 0, "base", QZ_OPT_STR, &base, "MODEL",
	    "Take the model's shape from MODEL, for an adapter. Without it the base that the "
	    "adapter names is looked for; only its configuration is read.",
	    0, 0, NULL },
	{ 0, "strict", QZ_OPT_FLAG, &strict, NULL,
	    "Fail when a value is too large for f16. Without it such values become infinite, and "
	    "their number is reported.",
	    0, 0, NULL },
	QZ_OPT_DEVICE,
	QZ_OPT_LAST,
};

static const struct qz_tool tool = {
	.name = "qz-gguf",
	.does = "write a model or an adapter as GGUF",
	.operands = "[MODEL|ADAPTER]",
	.opts = opts,
	.example = "qz-gguf -t q4_k_m -o model.gguf merged.qz",
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
		qz_say("%zu matrices do not fit %s: %s", p->n_fallback, type, p->fallback);
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
load_adapters(struct qz_merge *m, struct qz_err *e)
{
	m->adapters = calloc(merges.n + 1, sizeof *m->adapters);
	if (!m->adapters)
		return qz_nomem(e, merges.n * sizeof *m->adapters);
	for (; m->n < merges.n; m->n++) {
		m->adapters[m->n] = (struct qz_added){ .path = merges.items[m->n], .scale = 1 };
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
write_model(struct model *m, struct plan *p, struct files *f, struct qz_err *e)
{
	struct qz_merge merge = { .config = p->config, .any_base = any_base };
	int ret = -1;

	merge.d = qz_device_open(qz_device_name, (int)qz_threads, e);
	if (merge.d && load_adapters(&merge, e) == 0)
		ret = write_tensors(m, p, &merge, f, e);
	for (size_t i = 0; i < merge.n; i++)
		qz_merge_drop(&merge, &merge.adapters[i]);
	free(merge.adapters);
	qz_device_close(merge.d);
	return ret < 0 ? -1 : report_overflow(p, e);
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
read_overrides(struct plan_options *o, struct qz_err *e)
{
	o->overrides = calloc(tensor_types.n + 1, sizeof *o->overrides);
	if (!o->overrides)
		return qz_nomem(e, tensor_types.n * sizeof *o->overrides);
	for (; o->n_overrides < tensor_types.n; o->n_overrides++) {
		const char *text = tensor_types.items[o->n_overrides], *is = strrchr(text, '=');

		if (!is || is == text || is - text > 200)
			qz_usage("--tensor-type %s: PATTERN=TYPE is expected", text);
		o->overrides[o->n_overrides] = (struct override){ text, (size_t)(is - text),
			type_named("tensor-type", is + 1, strlen(is + 1)), 0 };
	}
	return 0;
}

static int
read_wishes(struct wishes *w, struct qz_err *e)
{
	struct plan_options *o = &w->plan;

	o->mixture = mixture_find(type);
	o->pure = pure;
	o->like = like != NULL;
	o->merging = merges.n > 0;
	if (head_type)
		o->head = type_named("output-type", head_type, strlen(head_type));
	if (embedding_type)
		o->embedding = type_named(
		    "token-embedding-type", embedding_type, strlen(embedding_type));
	if (read_overrides(o, e) < 0)
		return -1;
	if (!imatrix)
		return 0;
	o->imatrix = &w->imatrix;
	return qz_imatrix_read(&w->imatrix, imatrix, e);
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
place_rope(struct plan *p, const struct qz_source *s)
{
	uint64_t n;

	p->rope = qz_source_rope_freqs(s, &n);
	if (p->rope)
		p->rope_factors = n == (uint64_t)p->config->head_dim / 2;
	while (like && p->rope_at < p->n &&
	       by_layer(p->tensors[p->rope_at].name, "rope_freqs.weight") < 0)
		p->rope_at++;
}

static int
plan_model(struct model *m, struct wishes *w, const char *path, struct plan *p, struct files *f,
    struct qz_err *e)
{
	struct qz_ggufw g = { 0 };
	int ret;

	const struct qz_config *c = qz_source_config(m->source);
	char id[256];
	struct keys k = { .meta = { .config = c, .title = title, .ftype = w->plan.mixture->ftype },
		.imatrix = w->plan.imatrix,
		.imatrix_path = imatrix,
		.set = settings.items,
		.n_set = settings.n };

	if (like && qz_source_sort(m->source, by_layer, e) < 0)
		return -1;
	name_of(path, id, sizeof id);
	k.meta.id = title ? title : *id ? id : NULL;
	k.meta.n_files = qz_source_files(m->source, &k.meta.files);
	if (plan_make(p, c, m->manifest, m->n, &w->plan, e) < 0)
		return -1;
	place_rope(p, m->source);
	k.meta.n_params = p->n_params;
	ret = keys_put(&g, &k, m->source, e);
	if (ret == 0)
		ret = files_open(f, output, split_max, digest && !like, &g, p, m->manifest, e);
	if (ret == 0)
		report(p, c, k.n_padding);
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

static int
run_model(const char *path, struct qz_err *e)
{
	struct wishes w = { 0 };
	struct files f = { 0 };
	struct plan p = { 0 };
	struct model m = { 0 };
	int ret = read_wishes(&w, e) < 0 ? -1 : open_model(&m, path, e);

	if (ret == 0 && plan_model(&m, &w, path, &p, &f, e) < 0)
		ret = qz_at(e, "%s", qz_source_name(m.source));
	if (ret == 0)
		ret = write_model(&m, &p, &f, e);
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
write_adapter(const char *path, const struct qz_adapter *a, struct qz_err *e)
{
	struct qz_out *o;
	struct qz_config c;
	char id[256];
	int ret;

	name_of(path, id, sizeof id);
	if (find_config(a, path, &c, e) < 0)
		return -1;
	o = qz_out_open(output, false, e);
	if (!o)
		return -1;
	ret = lora_write(a, &c, id, title, o, e);
	if (ret == 0)
		ret = qz_out_commit(o, e);
	qz_out_close(o);
	return ret;
}

static int
run_adapter(const char *path, struct qz_err *e)
{
	struct qz_adapter a = { 0 };
	int ret = qz_adapter_read(&a, path, e);

	if (ret == 0 && write_adapter(path, &a, e) < 0)
		ret = qz_at(e, "%s", path);
	if (ret == 0)
		qz_say("%d adapted matrices, rank %d", a.lora.n, a.lora.rank);
	qz_adapter_free(&a);
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv);
	const char *path;

	if (argc - first > 1)
		qz_usage("one model or adapter at a time, %s is the second", argv[first + 1]);
	if (first == argc && qz_on_terminal(0))
		qz_usage("which model?");
	if (!mixture_find(type))
		qz_usage("--type: '%s' is none of " MIXTURE_NAMES, type);
	if (split_max && (!output || !strcmp(output, "-")))
		qz_usage("--split-max-size makes several files: -o says how they begin");
	path = first < argc ? argv[first] : "-";
	if ((lora_is(path) ? run_adapter(path, &e) : run_model(path, &e)) < 0)
		qz_die(&e);
	return QZ_OK;
}
