/* qz-gguf - a model or an adapter as a GGUF file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "libcore/model/source.h"
#include "tools/gguf/export.h"
#include "tools/gguf/lora.h"
#include "tools/gguf/mixture.h"

static const char plain_type[] = "f16";
static struct request r = { .type = plain_type, .digest = true };

static const struct qz_opt opts[] = {
	{ 't', "type", QZ_OPT_STR, &r.type, "TYPE",
	    "Store matrices as TYPE, from the largest: f32, f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m, "
	    "q3_k_m, q2_k and those that qz-gguf(1) lists. These are q5_1, q5_0, q4_1, q4_0, "
	    "iq4_nl "
	    "and iq4_xs. K-types come in mixtures that give some matrices more bits, by "
	    "llama-quantize's rules: q2_k, q2_k_s, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s, "
	    "q5_k_m; q3_k, q4_k and q5_k are their _m. Vectors (norms, biases) are f32 "
	    "always, and so is an adapter. A matrix whose rows are no whole number of blocks takes "
	    "the type that llama-quantize gives it, and is named.",
	    0, 0, NULL },
	{ 0, "merge", QZ_OPT_LIST, &r.merges, "ADAPTER",
	    "Add this adapter to the model before it is quantized. It may be given several times. "
	    "Nothing is rounded in between, as in qz-merge -t f32 MODEL ADAPTER | qz-gguf, but no "
	    "merged model goes anywhere.",
	    0, 0, NULL },
	{ 0, "any-base", QZ_OPT_FLAG, &r.any_base, NULL,
	    "Merge into a model that the adapter was not trained on. Its shapes must fit all the "
	    "same.",
	    0, 0, NULL },
	{ 0, "plan", QZ_OPT_STR, &r.plan, "Xbpw",
	    "Choose a type for each matrix so that the model has X bits a weight, as 4.5bpw, and "
	    "the errors are least. -t is not looked at. The model is read twice; with an "
	    "importance "
	    "matrix, errors are weighed by it.",
	    0, 0, NULL },
	{ 0, "max-size", QZ_OPT_SIZE, &r.max_size, "SIZE",
	    "As --plan, so that the file has at most SIZE, as 4G.", 0, 0, NULL },
	{ 0, "types", QZ_OPT_STR, &r.types, "LIST",
	    "Let --plan and --max-size choose among these types, as q4_k,q6_k. Without it among "
	    "all.",
	    0, 0, NULL },
	{ 0, "imatrix", QZ_OPT_STR, &r.imatrix, "FILE",
	    "Keep those columns more exact that this importance matrix gives more weight. It is "
	    "one of llama-imatrix, "
	    "in "
	    "either of its formats, or of qz-bench imatrix.",
	    0, 0, NULL },
	{ 0, "tensor-type", QZ_OPT_LIST, &r.tensor_types, "PATTERN=TYPE",
	    "Store the matrices whose GGUF name has PATTERN in it as TYPE, as attn_v=q8_0. PATTERN "
	    "is a shell "
	    "pattern: attn_v or blk.[0-3].ffn_*. The last one that matches decides.",
	    0, 0, NULL },
	{ 0, "output-type", QZ_OPT_STR, &r.head_type, "TYPE",
	    "Store the output matrix as TYPE. Where it is the embedding, that.", 0, 0, NULL },
	{ 0, "token-embedding-type", QZ_OPT_STR, &r.embedding_type, "TYPE",
	    "Store the embedding as TYPE.", 0, 0, NULL },
	{ 0, "pure", QZ_OPT_FLAG, &r.pure, NULL,
	    "Give all matrices the type that -t names, without the rules of its mixture.", 0, 0,
	    NULL },
	{ 0, "like", QZ_OPT_STR, &r.like, "PROGRAM",
	    "Write what PROGRAM, which is llama-quantize, writes, to the byte. The model is a GGUF "
	    "file then.",
	    0, 0, "llama-quantize" },
	{ 0, "set", QZ_OPT_LIST, &r.settings, "KEY=VALUE",
	    "Set a key of the file, as general.author=Ada. VALUE may begin with u32:, i32:, f32:, "
	    "bool:, str:, or u8:, i8:, u16:, i16:, u64:, i64:, f64:, to say "
	    "what it is; a key that is there already keeps its type. An empty one takes the key "
	    "out.",
	    0, 0, NULL },
	{ 0, "no-digest", QZ_OPT_NO, &r.digest, NULL,
	    "Leave out the key that holds the digest of the tensors' data. A file has it, a pipe "
	    "cannot; qz-show --verify compares.",
	    0, 0, NULL },
	{ 0, "split-max-size", QZ_OPT_SIZE, &r.split_max, "SIZE",
	    "Write several files of at most SIZE, OUT-00001-of-00003.gguf and so on. Programs are "
	    "given the first.",
	    0, 0, NULL },
	{ 'o', "output", QZ_OPT_STR, &r.output, "OUT",
	    "Write to this file instead of standard output. It appears when it is complete.", 0, 0,
	    NULL },
	{ 0, "name", QZ_OPT_STR, &r.title, "NAME",
	    "Call the model NAME. Without it the name is what the model's card or its "
	    "configuration "
	    "says, or made from what the input is called.",
	    0, 0, NULL },
	{ 0, "base", QZ_OPT_STR, &r.base, "MODEL",
	    "Take the model's shape from MODEL, for an adapter. Without it the base that the "
	    "adapter names is looked for; only its configuration is read.",
	    0, 0, NULL },
	{ 0, "strict", QZ_OPT_FLAG, &r.strict, NULL,
	    "Fail when a value is too large for f16, which holds up to 65504. Without it such "
	    "values become infinite, and "
	    "their number is reported.",
	    0, 0, NULL },
	QZ_OPT_SYNC,
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

/* The base that the adapter names, as named or beside the adapter; NULL: not here.  To free. */
static char *
find_base(const struct qz_adapter *a, const char *path)
{
	const char *name = a->base ? a->base : "", *slash = strrchr(path, '/');
	char *found = NULL;
	struct stat st;

	if (r.base)
		return strdup(r.base);
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

	export_name(path, id, sizeof id);
	if (find_config(a, path, &c, e) < 0)
		return -1;
	o = qz_out_open(r.output, false, e);
	if (!o)
		return -1;
	ret = lora_write(a, &c, id, &r, o, e);
	if (ret == 0)
		ret = qz_out_commit(o, e);
	qz_out_close(o);
	return ret;
}

/* What only a model has is not passed over in silence. */
static void
check_adapter(const char *path)
{
	const struct {
		bool given;
		const char *option;
	} only[] = { { r.type != plain_type && strcasecmp(r.type, "f32"), "type" },
		{ r.merges.n, "merge" }, { r.any_base, "any-base" }, { r.plan, "plan" },
		{ r.max_size, "max-size" }, { r.imatrix, "imatrix" },
		{ r.tensor_types.n, "tensor-type" }, { r.head_type, "output-type" },
		{ r.embedding_type, "token-embedding-type" }, { r.pure, "pure" },
		{ r.like, "like" }, { r.split_max, "split-max-size" }, { r.strict, "strict" },
		{ !r.digest, "no-digest" } };

	for (size_t i = 0; i < sizeof only / sizeof *only; i++)
		if (only[i].given)
			qz_usage("%s is an adapter, which is written in f32 as it is: --%s is for "
				 "a model",
			    path, only[i].option);
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
	bool adapter;

	if (argc - first > 1)
		qz_usage("one model or adapter at a time, %s is the second", argv[first + 1]);
	if (first == argc && qz_on_terminal(0))
		qz_usage("which model?");
	if (!mixture_find(r.type))
		qz_usage("--type: '%s' is none of " MIXTURE_NAMES, r.type);
	if (r.split_max && (!r.output || !strcmp(r.output, "-")))
		qz_usage("--split-max-size makes several files: -o says how they begin");
	if (r.plan && r.max_size)
		qz_usage("--plan and --max-size both say how large");
	if (r.types && !r.plan && !r.max_size)
		qz_usage("--types is for --plan and --max-size");
	path = first < argc ? argv[first] : "-";
	adapter = lora_is(path);
	if (adapter)
		check_adapter(path);
	else if (r.base)
		qz_usage("--base is for an adapter, and %s is none", path);
	if ((adapter ? run_adapter(path, &e) : export_model(path, &r, &e)) < 0)
		qz_die(&e);
	return QZ_OK;
}
