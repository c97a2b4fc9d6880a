#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "libcore/shard/provenance.h"
#include "tools/common/cli.h"
#include "tools/quantize/quantize.h"

static const char *type = "nf4", *to = "shard", *output;
static int64_t block = 64;
static bool double_quant = true;
static struct qz_list skip;

static const struct qz_opt opts[] = {
	{ 't', "type", QZ_OPT_STR, &type, "TYPE",
	    "Store the seven projections of each layer as nf4, fp4, int8, bf16, f16, f32 or keep. "
	    "Embedding, head and norms "
	    "keep "
	    "theirs; with bf16, f16 or f32 embedding and head are stored in it too. Keep leaves "
	    "every "
	    "tensor as it is.",
	    0, 0, "nf4|fp4|int8|bf16|f16|f32|keep" },
	{ 0, "block", QZ_OPT_INT, &block, "N",
	    "Scale blocks of N elements of nf4 and fp4, a power of two.", 16, 4096, NULL },
	{ 0, "no-double-quant", QZ_OPT_NO, &double_quant, NULL,
	    "Keep the scales of blocks as 32-bit floats. Otherwise they are quantized to 8 bits, "
	    "in "
	    "blocks of 256.",
	    0, 0, NULL },
	{ 0, "skip", QZ_OPT_LIST, &skip, "GLOB",
	    "Leave tensors whose name matches as they are. May be given several times.", 0, 0,
	    NULL },
	{ 0, "to", QZ_OPT_STR, &to, "KIND",
	    "Write a model shard, or a folder in the 4-bit layout of bitsandbytes (bnb). A folder "
	    "needs "
	    "-o.",
	    0, 0, "shard|bnb" },
	{ 'o', "output", QZ_OPT_STR, &output, "FILE",
	    "Write to FILE, which appears complete or not at all. Standard output otherwise.", 0, 0,
	    NULL },
	QZ_OPT_SYNC,
	QZ_OPT_DEVICE,
	QZ_OPT_LAST,
};
static const struct qz_tool tool = { "qz-quantize", "quantize a model's weights", "MODEL", opts,
	"qz-quantize mistral-7b/ > base.qz" };

enum { NESTED_BLOCK = 256 };

static bool
is_4bit(enum qz_dtype t)
{
	return t == QZ_NF4 || t == QZ_FP4;
}

static int
provenance(const struct qz_source *s, const char *device, struct qz_buf *chain, struct qz_err *e)
{
	struct qz_step step = { 0 };
	struct qz_buf skipped = { 0 };
	int ret = qz_step_inherit(&step, qz_source_provenance(s), e);

	qz_step_option_str(&step, "type", type);
	if (is_4bit(qz_dtype_by_name(type))) {
		qz_step_option_num(&step, "block", (double)block);
		qz_step_option_str(&step, "double-quant", double_quant ? "yes" : "no");
	}
	for (size_t i = 0; i < skip.n; i++)
		qz_buf_fmt(&skipped, "%s%s", i ? " " : "", skip.items[i]);
	if (skip.n && !skipped.failed)
		qz_step_option_str(&step, "skip", skipped.data);
	qz_buf_free(&skipped);
	qz_step_input(&step, "model", qz_source_total(s));
	if (ret == 0)
		ret = qz_step_chain(&step, "qz-quantize", device, chain, e);
	qz_step_free(&step);
	return ret;
}

/* Weights that were quantized before lose a second time: the user should know. */
static void
warn_of_loss(const struct plan *p, const struct qz_source *s, const struct qz_tensor *in,
    const struct qz_tensor *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct qz_dtype_info *a = qz_dtype((unsigned)in[i].dtype);
		const struct qz_dtype_info *b = qz_dtype((unsigned)out[i].dtype);

		if (a->plain || b->plain || p->type == 0 ||
		    (in[i].dtype == out[i].dtype && in[i].block == out[i].block &&
			in[i].nested_block == out[i].nested_block))
			continue;
		qz_warn(
		    "%s: is quantized already (%s); quantizing it to %s again adds a second error",
		    qz_source_name(s), a->name, b->name);
		return;
	}
}

static uint64_t
total(const struct qz_tensor *t, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += t[i].nbytes;
	return sum;
}

static int
run_into(
    const struct plan *p, struct qz_dev *d, struct qz_source *s, struct sink *k, struct qz_err *e)
{
	struct qz_feed feed = qz_feed_source(s);
	struct qz_spool *spool = NULL;
	struct qz_tensor *out = NULL;
	struct report report = { 0 };
	struct qz_meter meter;
	struct qz_buf chain = { 0 };
	double start = qz_clock();
	size_t n = 0;
	const struct qz_tensor *in = qz_source_manifest(s, &n);
	int ret = 0;

	if (!in && k->needs_manifest) {
		qz_say(
		    "%s: shows its tensors only as it is read: it goes to a temporary file first",
		    qz_source_name(s));
		spool = qz_spool_new(s, e);
		if (!spool)
			return -1;
		in = qz_spool_manifest(spool, &n);
		feed = qz_feed_spool(spool);
	}
	if (in) {
		out = plan_all(p, in, n, e);
		ret = out ? 0 : -1;
		if (out)
			warn_of_loss(p, s, in, out, n);
	}
	if (ret == 0)
		ret = k->begin(k, out, in, n, e);
	if (ret == 0) {
		qz_meter_start(&meter, "quantize", total(in, in ? n : 0), NULL);
		ret = quantize_all(
		    p, d, &feed, plan_unit(p, qz_source_config(s)), k, &report, &meter, e);
		qz_meter_stop(&meter);
	}
	if (ret == 0)
		ret = provenance(s, d->k->name, &chain, e);
	if (ret == 0)
		ret = k->end(k, chain.data, e);
	if (ret == 0)
		report_print(&report, qz_source_name(s), qz_clock() - start);
	qz_buf_free(&chain);
	free(out);
	qz_spool_free(spool);
	return ret;
}

static int
run(const struct plan *p, const char *model, struct qz_err *e)
{
	struct qz_dev *d = qz_device_open(qz_device_name, (int)qz_threads, e);
	struct qz_source *s = d ? qz_source_open(model, e) : NULL;
	struct sink *k = NULL;
	int ret = -1;

	if (s && qz_source_spooled(s))
		qz_say("%s: %llu bytes of weights had to wait in a temporary file",
		    qz_source_name(s), (unsigned long long)qz_source_spooled(s));
	if (s)
		k = !strcmp(to, "bnb") ? sink_bnb(output, s, e) : sink_shard(output, s, e);
	if (k) {
		ret = run_into(p, d, s, k, e);
		k->close(k);
	}
	qz_source_close(s);
	qz_device_close(d);
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv);
	struct plan plan = { .type = qz_dtype_by_name(type),
		.block = (uint32_t)block,
		.nested_block = double_quant ? NESTED_BLOCK : 0,
		.skip = skip.items,
		.n_skip = skip.n };

	if (argc - first != 1)
		qz_usage("one model is expected");
	if (block & (block - 1))
		qz_usage("--block: %lld is no power of two", (long long)block);
	if (!strcmp(to, "bnb") && (!output || !strcmp(output, "-")))
		qz_usage("--to bnb makes a folder: -o says which");
	if (!strcmp(to, "bnb") && plan.type && !is_4bit(plan.type))
		qz_usage("--to bnb stores nf4 or fp4, not %s", type);
	plan.model = strcmp(argv[first], "-") ? argv[first] : "<stdin>";
	if (run(&plan, argv[first], &e) < 0)
		qz_die(&e);
	return QZ_OK;
}
