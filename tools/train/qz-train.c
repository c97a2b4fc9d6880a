/* qz-train - trains a LoRA adapter on a frozen base. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/backend.h"
#include "tools/common/meter.h"
#include "tools/train/train.h"

struct train_options train_opt = { .targets = "all",
	.schedule = "linear",
	.optim = "adamw",
	.to = "shard",
	.rank = 16,
	.alpha = 32,
	.lr = 2e-4,
	.batch = 4,
	.accumulate = 1,
	.clip = 1,
	.weight_decay = 0.01,
	.seed = 42 };
#define OPT train_opt

static const struct qz_opt opts[] = {
	{ 'b', "base", QZ_OPT_STR, &OPT.base, "MODEL",
	    "Train on this base, which stays as it is. A model shard, a Hugging Face folder, an "
	    "archive of one or a GGUF file; weights are used in the type in which they are stored.",
	    0, 0, NULL },
	{ 'r', "rank", QZ_OPT_INT, &OPT.rank, "N",
	    "Give each adapted projection matrices of rank N.", 1, QZ_RANK_MAX, NULL },
	{ 'a', "alpha", QZ_OPT_REAL, &OPT.alpha, "X", "Scale the adapter by X / rank.", 1e-9, 1e9,
	    NULL },
	{ 0, "dropout", QZ_OPT_REAL, &OPT.dropout, "P",
	    "Drop each input element of the adapter with probability P, rounded to a 65536th.", 0,
	    0.99, NULL },
	{ 0, "targets", QZ_OPT_STR, &OPT.targets, "LIST",
	    "Adapt these projections: q, k, v, o, gate, up, down with commas, or all.", 0, 0,
	    NULL },
	{ 0, "lr", QZ_OPT_REAL, &OPT.lr, "X", "Set the highest learning rate.", 0, 1e3, NULL },
	{ 0, "schedule", QZ_OPT_STR, &OPT.schedule, "NAME",
	    "Lower the learning rate like this: linear, cosine or constant. Linear and cosine "
	    "reach 0 at the end of the run.",
	    0, 0, "linear|cosine|constant" },
	{ 0, "warmup", QZ_OPT_INT, &OPT.warmup, "N",
	    "Raise the learning rate from 0 over the first N steps.", 0, 1e9, NULL },
	{ 0, "steps", QZ_OPT_INT, &OPT.steps, "N",
	    "Train for N steps of the optimizer. Without --steps and --epochs, every row is seen "
	    "once.",
	    1, 1e9, NULL },
	{ 0, "epochs", QZ_OPT_REAL, &OPT.epochs, "X",
	    "Train until every row was seen X times. The last step takes the rows that are left.",
	    1e-9, 1e6, NULL },
	{ 0, "batch", QZ_OPT_INT, &OPT.batch, "ROWS",
	    "Compute this many rows at once, packed without padding.", 1, 1 << 20, NULL },
	{ 0, "accumulate", QZ_OPT_INT, &OPT.accumulate, "N",
	    "Add up the gradients of N batches before each step. The loss is the mean over the "
	    "trained tokens of all of them.",
	    1, 1 << 20, NULL },
	{ 0, "clip", QZ_OPT_REAL, &OPT.clip, "X",
	    "Scale the gradient down when its norm is above X. 0 leaves it as it is.", 0, 1e9,
	    NULL },
	{ 0, "weight-decay", QZ_OPT_REAL, &OPT.weight_decay, "X",
	    "Shrink the adapter by this part of the learning rate each step.", 0, 1e3, NULL },
	{ 0, "optim", QZ_OPT_STR, &OPT.optim, "NAME",
	    "Use this optimizer: adamw, with states in float32, or adamw8bit, with states in a "
	    "quarter of the memory.",
	    0, 0, "adamw|adamw8bit" },
	{ 0, "optim-offload", QZ_OPT_FLAG, &OPT.optim_offload, NULL,
	    "Keep the optimizer's states in the host's memory, which a GPU reads and writes once a "
	    "step. The adapter is the same, bit for bit. Refused where states are there anyway, "
	    "on the CPU.",
	    0, 0, NULL },
	{ 0, "seed", QZ_OPT_INT, &OPT.seed, "N",
	    "Draw the first A, the order of the rows and dropout from this number.", 0, 9e15,
	    NULL },
	{ 0, "eval", QZ_OPT_STR, &OPT.eval, "TOKENS",
	    "Measure the loss on this token shard before the first and after the last step.", 0, 0,
	    NULL },
	{ 0, "eval-every", QZ_OPT_INT, &OPT.eval_every, "N", "Measure it every N steps too.", 1,
	    1e9, NULL },
	{ 0, "save-every", QZ_OPT_INT, &OPT.save_every, "N",
	    "Save a checkpoint every N steps. Each replaces the one before.", 1, 1e9, NULL },
	{ 0, "checkpoint", QZ_OPT_STR, &OPT.checkpoint, "FILE",
	    "Save checkpoints here. Without this they go to the output's name with .ckpt, or to "
	    "qz-train.ckpt.",
	    0, 0, NULL },
	{ 0, "resume", QZ_OPT_STR, &OPT.resume, "CHECKPOINT",
	    "Go on from a checkpoint, with the same inputs and options. The adapter is then the "
	    "same, bit for bit, as that of a run without a break.",
	    0, 0, NULL },
	{ 0, "memory", QZ_OPT_SIZE, &OPT.memory, "SIZE",
	    "Plan with this much memory. The fastest way that fits is taken: what is not kept is "
	    "computed again. Without this, all that the device has may be used.",
	    0, 0, NULL },
	{ 0, "dry-run", QZ_OPT_FLAG, &OPT.dry_run, NULL, "Print the plan to stdout and exit.", 0, 0,
	    NULL },
	{ 0, "any-order", QZ_OPT_FLAG, &OPT.any_order, NULL,
	    "Let a GPU add up attention's gradients in any order. Faster there; the same run then "
	    "gives an adapter with other last bits each time.",
	    0, 0, NULL },
	{ 0, "log", QZ_OPT_STR, &OPT.log, "FILE",
	    "Write a JSON line a step. With --resume, lines are added.", 0, 0, NULL },
	{ 0, "to", QZ_OPT_STR, &OPT.to, "KIND",
	    "Write an adapter shard or a PEFT folder: shard or peft.", 0, 0, "shard|peft" },
	{ 0, "base-name", QZ_OPT_STR, &OPT.base_name, "NAME",
	    "Let the adapter call its base this. Without it, the base's file name is used.", 0, 0,
	    NULL },
	{ 'o', "output", QZ_OPT_STR, &OPT.output, "OUT",
	    "Write the adapter here instead of to stdout. It appears whole, at the end.", 0, 0,
	    NULL },
	QZ_OPT_DEVICE,
	QZ_OPT_LAST,
};

static const struct qz_tool tool = {
	"qz-train",
	"train a LoRA adapter on a frozen base",
	"-b MODEL [TOKENS...]",
	opts,
	"qz-tokenize -m base.qz data.jsonl | qz-train -b base.qz -o adapter.qz",
};

static int
evaluated(void *arg, uint64_t tokens)
{
	qz_meter_add(arg, tokens);
	return train_stop;
}

static int
evaluate(struct run *r, struct qz_err *e)
{
	struct qz_meter meter;
	double loss;
	int bad;

	if (!r->eval.n || train_stop)
		return 0;
	qz_meter_start(&meter, "evaluate", r->eval.n_tokens, "tokens");
	bad = qz_train_eval(&r->train, &r->eval, &loss, evaluated, &meter, e);
	qz_meter_stop(&meter);
	if (bad)
		return -1;
	if (train_stop)
		return 0;
	if (!isfinite(loss))
		return qz_fail(e, QZ_EDATA, "after step %lld: the evaluation's loss is not finite",
		    (long long)r->train.step);
	train_show_eval(r, loss);
	return 0;
}

static int
one_step(struct run *r, struct qz_err *e)
{
	struct qz_report report;
	double start = qz_clock();
	bool first = r->seconds == 0;

	if (qz_train_step(&r->train, &report, e) < 0)
		return -1;
	if (first) {
		train_mark(r, "first step");
		train_show_start(r);
	}
	train_show_step(r, &report, qz_clock() - start);
	if (r->train.step == r->train.steps)
		return 0;
	if (OPT.save_every && r->train.step % OPT.save_every == 0 && !train_stop &&
	    train_save(r, e) < 0)
		return -1;
	return OPT.eval_every && r->train.step % OPT.eval_every == 0 ? evaluate(r, e) : 0;
}

/* What has ended the run, and the command that goes on from its checkpoint. */
static void
tell(struct run *r, const struct qz_err *e)
{
	struct qz_buf command = { 0 };

	train_command(r, &command);
	qz_warn("%s; to go on:", e->msg);
	fprintf(stderr, "%s\n", command.data ? command.data : "");
	qz_buf_free(&command);
	r->said = true;
}

static int
stopped(struct run *r, struct qz_err *e)
{
	if (train_save(r, e) < 0)
		return -1;
	qz_fail(e, QZ_EIO, "stopped by signal %d after step %lld of %lld", train_stop,
	    (long long)r->train.step, (long long)r->train.steps);
	tell(r, e);
	return -1;
}

/* A device that is lost, a full disk, a loss that is not finite: the last checkpoint is still whole. */
static int
broke(struct run *r, struct qz_err *e)
{
	if (r->saved && !r->said) {
		qz_warn("%s", e->msg);
		qz_fail(e, e->code, "the checkpoint of step %lld of %lld is whole",
		    (long long)r->saved, (long long)r->train.steps);
		tell(r, e);
	}
	return -1;
}

static int
steps(struct run *r, struct qz_err *e)
{
	if (r->train.step == 0 && evaluate(r, e) < 0)
		return -1;
	if (r->eval.n)
		train_mark(r, "evaluation");
	while (r->train.step < r->train.steps && !train_stop)
		if (one_step(r, e) < 0)
			return -1;
	if (r->train.step < r->train.steps)
		return stopped(r, e);
	if (evaluate(r, e) < 0 || train_close_log(r, e) < 0)
		return -1;
	return train_write_output(r, e);
}

static int
run(struct run *r, char **files, int n, struct qz_err *e)
{
	if (!OPT.dry_run && train_open_output(r, e) < 0)
		return -1;
	if (train_prepare(r, files, n, e) < 0)
		return -1;
	if (OPT.dry_run) {
		train_show_plan(r, stdout);
		return fflush(stdout) == EOF ? qz_fail_errno(e, "<stdout>") : 0;
	}
	if (!qz_quiet)
		train_show_plan(r, stderr);
	if (train_load(r, e) < 0 || train_open_log(r, e) < 0)
		return -1;
	train_catch_signals();
	if (steps(r, e) < 0)
		return broke(r, e);
	train_show_end(r);
	return 0;
}

static void
close_run(struct run *r)
{
	struct qz_err ignored;

	train_close_log(r, &ignored);
	qz_train_end(&r->train);
	qz_net_close(&r->net);
	qz_weights_free(&r->weights);
	qz_lora_free(&r->lora);
	qz_data_free(&r->data);
	qz_data_free(&r->eval);
	qz_source_close(r->source);
	qz_device_close(r->dev);
	qz_buf_free(&r->settings);
	qz_buf_free(&r->chain);
	qz_out_close(r->out);
	qz_outdir_close(r->folder);
}

static void
check_options(char **files, int n)
{
	int inputs = !strcmp(OPT.base ? OPT.base : "", "-") + (OPT.eval && !strcmp(OPT.eval, "-"));

	for (int i = 0; i < n; i++)
		inputs += !strcmp(files[i], "-");
	if (!OPT.base)
		qz_usage("which base? -b MODEL is needed");
	if (inputs > 1)
		qz_usage("only one input can come from stdin");
	if (OPT.steps && OPT.epochs > 0)
		qz_usage("--steps and --epochs both say how long to train: give one");
	if (OPT.eval_every && !OPT.eval)
		qz_usage("--eval-every needs --eval TOKENS");
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first, ret;
	char *standard_input[] = { "-" };
	struct run r = { .argc = argc, .began = qz_clock() };
	char *words[argc + 1];
	char **files;

	memcpy(words, argv, sizeof words);
	r.argv = words; /* getopt reorders argv */
	first = qz_cli(&tool, argc, argv);
	files = first < argc ? argv + first : standard_input;
	check_options(files, first < argc ? argc - first : 1);
	if (first == argc && qz_on_terminal(0))
		qz_usage("which tokens?");
	r.o = (struct qz_train_options){ .batch = OPT.batch,
		.accumulate = OPT.accumulate,
		.steps = OPT.steps,
		.epochs = OPT.epochs > 0 ? OPT.epochs : 1,
		.warmup = OPT.warmup,
		.schedule = (enum qz_schedule)qz_schedule_by_name(OPT.schedule),
		.lr = OPT.lr,
		.beta1 = 0.9,
		.beta2 = 0.999,
		.eps = 1e-8,
		.weight_decay = OPT.weight_decay,
		.clip = OPT.clip,
		.seed = (uint64_t)OPT.seed };
	ret = run(&r, files, first < argc ? argc - first : 1, &e);
	close_run(&r);
	if (ret == 0)
		return QZ_OK;
	if (r.said)
		return e.code;
	qz_die(&e);
}
