/* qz-bench - loss and perplexity, sampled text, differences of models, importance matrices, speed of ops. */
#include <stdio.h>
#include <string.h>

#include "kernels/backend.h"
#include "tools/bench/bench.h"
#include "tools/bench/shapes.h"
#include "tools/common/cli.h"

static struct bench_options o = { .adapter_scale = 1,
	.shape = "smollm2-135m",
	.tokens = 256,
	.seconds = 0.3,
	.top_p = 1,
	.rows = 2,
	.length = "2048",
	.rank = 16,
	.steps = 20,
	.warmup = 3,
	.optim = "adamw",
	.form = "gguf",
	.seed = 42 };

static const struct qz_opt opts[] = {
	{ 0, "adapter", QZ_OPT_STR, &o.adapter, "ADAPTER",
	    "Compute with this adapter on the model: a shard or a PEFT folder. For ppl, sample and "
	    "imatrix.",
	    0, 0, NULL },
	{ 0, "scale", QZ_OPT_REAL, &o.adapter_scale, "X", "Multiply the adapter's own scale.", -1e3,
	    1e3, NULL },
	{ 'n', "tokens", QZ_OPT_INT, &o.tokens, "N",
	    "Sample at most N tokens, or time ops on N rows.", 1, 1 << 20, NULL },
	{ 't', "temperature", QZ_OPT_REAL, &o.temperature, "T",
	    "Sample at this temperature. 0 takes the likeliest token.", 0, 100, NULL },
	{ 0, "top-p", QZ_OPT_REAL, &o.top_p, "P",
	    "Sample among the likeliest tokens that together have probability P.", 0, 1, NULL },
	{ 0, "seed", QZ_OPT_INT, &o.seed, "N",
	    "Seed of what is random. The same seed gives the same text.", 0, 9e15, NULL },
	{ 0, "raw", QZ_OPT_FLAG, &o.raw, NULL,
	    "Take the prompt as it is, without the model's chat template.", 0, 0, NULL },
	{ 0, "shape", QZ_OPT_STR, &o.shape, "NAME",
	    "Time ops or training steps at the shapes of this model.", 0, 0, BENCH_SHAPES },
	{ 0, "rows", QZ_OPT_INT, &o.rows, "N", "Train on batches of N rows.", 1, 1 << 16, NULL },
	{ 0, "length", QZ_OPT_STR, &o.length, "N",
	    "Train on rows of N tokens; max: the most for which there is a plan, one step.", 0, 0,
	    NULL },
	{ 'r', "rank", QZ_OPT_INT, &o.rank, "N", "Train adapters of rank N on all projections.", 1,
	    4096, NULL },
	{ 0, "dropout", QZ_OPT_REAL, &o.dropout, "P", "Train with this dropout.", 0, 0.99, NULL },
	{ 0, "optim", QZ_OPT_STR, &o.optim, "NAME",
	    "Train with this optimizer: adamw or adamw8bit.", 0, 0, "adamw|adamw8bit" },
	{ 0, "optim-offload", QZ_OPT_FLAG, &o.optim_offload, NULL,
	    "Keep the optimizer's states in host memory, on a GPU.", 0, 0, NULL },
	{ 0, "dry-run", QZ_OPT_FLAG, &o.dry_run, NULL, "Print the plan of training and do no step.",
	    0, 0, NULL },
	{ 0, "steps", QZ_OPT_INT, &o.steps, "N", "Time N training steps.", 1, 10000, NULL },
	{ 0, "warmup", QZ_OPT_INT, &o.warmup, "N", "Do N steps before those that are timed.", 0,
	    1000, NULL },
	{ 0, "memory", QZ_OPT_SIZE, &o.memory, "SIZE",
	    "Plan training with this much memory. On a GPU that is all that its driver counts, "
	    "what it takes itself too.",
	    0, 0, NULL },
	{ 0, "any-order", QZ_OPT_FLAG, &o.any_order, NULL,
	    "Train with attention's gradients added up in any order.", 0, 0, NULL },
	{ 0, "trace", QZ_OPT_FLAG, &o.trace, NULL, "Show where the time of a training step goes.",
	    0, 0, NULL },
	{ 0, "seconds", QZ_OPT_REAL, &o.seconds, "S", "Time each op for about S seconds.", 0.001,
	    60, NULL },
	{ 0, "only", QZ_OPT_STR, &o.only, "TEXT",
	    "Time the ops that have TEXT in their names or shapes, as ops prints them.", 0, 0,
	    NULL },
	{ 'o', "output", QZ_OPT_STR, &o.output, "FILE",
	    "Write the importance matrix to FILE instead of standard output. It appears when it is "
	    "complete.",
	    0, 0, NULL },
	{ 0, "to", QZ_OPT_STR, &o.form, "FORMAT",
	    "Write the importance matrix as GGUF, or with dat in the binary form that llama.cpp "
	    "had "
	    "before.",
	    0, 0, "gguf|dat" },
	{ 0, "chunks", QZ_OPT_INT, &o.chunks, "N",
	    "Take the importance matrix from the first N rows. 0 takes all.", 0, 1e9, NULL },
	{ 0, "json", QZ_OPT_FLAG, &o.json, NULL, "Print JSON, one object a line.", 0, 0, NULL },
	QZ_OPT_DEVICE,
	QZ_OPT_LAST,
};
static const struct qz_tool tool = { "qz-bench", "measure models and ops",
	"ops | train | ppl MODEL TOKENS | sample MODEL PROMPT | diff A B | imatrix MODEL TOKENS",
	opts, "qz-bench ppl --adapter adapter.qz base.qz heldout.qz" };

static const struct {
	const char *name;
	int n_args;
	int (*run)(struct qz_dev *, const struct bench_options *, char **, struct qz_err *);
} commands[] = {
	{ "ops", 0, bench_ops },
	{ "train", 0, bench_train },
	{ "ppl", 2, bench_ppl },
	{ "sample", 2, bench_sample },
	{ "diff", 2, bench_diff },
	{ "imatrix", 2, bench_imatrix },
};

static int
run(int command, char **args, struct qz_err *e)
{
	struct qz_dev *d = qz_device_open(qz_device_name, (int)qz_threads, e);
	int ret;

	if (!d)
		return -1;
	ret = commands[command].run(d, &o, args, e);
	qz_device_close(d);
	if (ret == 0 && (fflush(stdout) == EOF || ferror(stdout)))
		return qz_fail_errno(e, "<stdout>: cannot write");
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv), command = -1, n = argc - first - 1;

	if (first == argc)
		qz_usage("what? ops, train, ppl, sample, diff or imatrix");
	for (int i = 0; i < (int)(sizeof commands / sizeof *commands); i++)
		if (!strcmp(argv[first], commands[i].name))
			command = i;
	if (command < 0)
		qz_usage("'%s' is none of ops, train, ppl, sample, diff, imatrix", argv[first]);
	if (n != commands[command].n_args)
		qz_usage("%s takes %d operands, not %d", argv[first], commands[command].n_args, n);
	if (run(command, argv + first + 1, &e) < 0)
		qz_die(&e);
	return QZ_OK;
}
