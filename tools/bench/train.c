/* train - how long a training step takes and what memory it needs, at a model's shapes, with random weights
 * and tokens: no model is needed to repeat it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/num.h"
#include "libcore/model/plan.h"
#include "libcore/model/random.h"
#include "libcore/model/train.h"
#include "tools/bench/bench.h"
#include "tools/bench/shapes.h"
#include "tools/common/cli.h"
#include "tools/common/meter.h"

enum { ALPHA = 32, RUNS_MAX = 10000, TRACED = 400, SHOWN = 40, TRACE_STEPS = 3 };
enum { LENGTH_MAX = 1 << 24, LENGTH_TRIED = 16384 };

struct bench {
	struct qz_dev *d;
	const struct bench_options *o;
	int64_t length, steps, warmup;
	bool longest; /* the longest rows that fit, one step */
	struct qz_config c;
	struct qz_lora lora;
	struct qz_data data;
	struct qz_train_options run;
	struct qz_net_shape shape;
	struct qz_weights weights;
	struct qz_net net;
	struct qz_train train;
	struct qz_rates rates;
	struct qz_plan plan;
};

/* Rows of `length` tokens that are all trained but the first, as qz_random_data() makes them. */
static void
set_length(struct bench *b, int64_t length)
{
	int64_t rows = b->o->rows;

	b->length = length;
	b->shape.room = (struct qz_extent){ rows * length, rows, rows * (length - 1), length };
	b->shape.losses = rows * (length - 1);
	b->shape.logits_bytes = QZ_LOGITS_BYTES;
}

static int
does_not_fit(struct bench *b, const struct qz_plan_ask *ask, uint64_t more_host, struct qz_err *e)
{
	char lack[300];

	qz_plan_short_text(&b->plan, ask, more_host, lack, sizeof lack);
	return qz_fail(
	    e, QZ_EIO, "%lld x %lld tokens: %s", (long long)b->o->rows, (long long)b->length, lack);
}

/* Sets the longest length for which there is a plan.  That does not depend on rates. */
static int
find_longest(struct bench *b, const struct qz_plan_ask *asked, struct qz_err *e)
{
	struct qz_plan_ask ask = *asked;
	int64_t lo = 1, hi = LENGTH_MAX / b->o->rows;
	uint64_t more_host;
	int fits;

	ask.rates = NULL;
	while (lo < hi) {
		int64_t mid = hi - (hi - lo) / 2;

		set_length(b, mid);
		fits = qz_plan_choose(&b->plan, &b->shape, &ask, &more_host, e);
		if (fits < 0)
			return -1;
		lo = fits ? mid : lo;
		hi = fits ? hi : mid - 1;
	}
	if (lo < 2)
		return does_not_fit(b, &ask, more_host, e);
	set_length(b, lo);
	return 0;
}

static int
make_plan(struct bench *b, struct qz_err *e)
{
	struct qz_plan_ask ask = { .dev = b->d, .config = &b->c, .lora = &b->lora };
	const struct bench_options *o = b->o;
	uint64_t more_host;
	int fits;

	if (qz_random_weights(NULL, NULL, &b->c, 0, false, &ask.weights, &ask.embed, e) < 0)
		return -1;
	set_length(b, b->longest ? LENGTH_TRIED : b->length);
	if (qz_plan_ask_device(&ask, &b->rates, &b->shape, o->memory, 0, e) < 0)
		return -1;
	if (b->longest && find_longest(b, &ask, e) < 0)
		return -1;
	/* Rates are those of such a length, which the longest that are measured stand for. */
	if (b->longest && b->length < LENGTH_TRIED &&
	    qz_plan_ask_device(&ask, &b->rates, &b->shape, o->memory, 0, e) < 0)
		return -1;
	fits = qz_plan_choose(&b->plan, &b->shape, &ask, &more_host, e);
	if (fits < 0)
		return -1;
	return fits ? 0 : does_not_fit(b, &ask, more_host, e);
}

static int
set_options(struct bench *b, struct qz_err *e)
{
	const struct bench_options *o = b->o;

	b->longest = !strcmp(o->length, "max");
	b->steps = b->longest ? 1 : o->steps;
	b->warmup = b->longest ? 0 : o->warmup;
	if (!b->longest && (qz_num_int(o->length, &b->length, e) < 0 || b->length < 2 ||
			       b->length > LENGTH_MAX / o->rows))
		return qz_fail(e, QZ_EUSAGE, "--length %s: max or a number from 2 to %lld expected",
		    o->length, (long long)(LENGTH_MAX / o->rows));
	if (bench_shape(o->shape, &b->c, e) < 0 ||
	    qz_lora_uniform(&b->lora, &b->c, (int)o->rank, ALPHA, o->dropout, QZ_PROJ_ALL, e) < 0)
		return -1;
	b->run = (struct qz_train_options){ .batch = o->rows,
		.accumulate = 1,
		.steps = b->warmup + b->steps + (o->trace ? TRACE_STEPS : 0),
		.schedule = QZ_SCHEDULE_CONSTANT,
		.lr = 2e-4,
		.beta1 = 0.9,
		.beta2 = 0.999,
		.eps = 1e-8,
		.weight_decay = 0.01,
		.clip = 1,
		.seed = (uint64_t)o->seed };
	b->shape = (struct qz_net_shape){ .train = true,
		.any_order = o->any_order,
		.optim = (enum qz_optim)qz_optim_by_name(o->optim),
		.states_host = o->optim_offload };
	return 0;
}

static int
load(struct bench *b, struct qz_err *e)
{
	if (qz_random_data(&b->data, b->o->rows, b->length, b->c.vocab, (uint64_t)b->o->seed, e) <
	    0)
		return -1;
	if (qz_random_weights(&b->weights, b->d, &b->c, (uint64_t)b->o->seed,
		b->shape.policy.embed_host, NULL, NULL, e) < 0)
		return -1;
	if (qz_net_open(&b->net, &b->weights, &b->lora, &b->shape, e) < 0)
		return -1;
	if (qz_train_begin(&b->train, &b->net, &b->data, &b->run, NULL, e) < 0)
		return -1;
	return b->longest ? 0 : qz_train_warm(&b->train, e);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* FLOPs of the products and of attention that no way of computing a step can leave out. */
static double
least_flops(const struct bench *b)
{
	const struct qz_config *c = &b->c;
	double t = (double)(b->o->rows * b->length), linear = 0, attention;

	for (int p = 0; p < QZ_PROJ_N; p++) {
		int64_t rows, cols;

		qz_proj_shape(c, (enum qz_proj)p, &rows, &cols);
		linear += 2 * (double)rows * (double)cols;
	}
	/* Causal: half of the scores.  Forward has 2 products of that size, backward 5. */
	attention = 7 * (double)(c->heads * c->head_dim) * (double)b->length;
	return t * (2 * (double)c->layers * linear + (double)c->layers * attention +
		       4 * (double)c->vocab * (double)c->hidden);
}

static void
show_plan(const struct bench *b)
{
	char bytes[16], policy[300], about[300], host[100];

	b->d->k->describe(b->d, about, sizeof about);
	printf("%s\n%s, %lld x %lld tokens%s, rank %lld, dropout %g, %s\n", about, b->o->shape,
	    (long long)b->o->rows, (long long)b->length, b->longest ? " (no more fit)" : "",
	    (long long)b->o->rank, b->o->dropout, b->o->optim);
	for (int u = 0; u < QZ_USE_N; u++) {
		if (!b->plan.bytes[u])
			continue;
		qz_num_bytes(b->plan.bytes[u], bytes);
		printf("  %-20s %9s\n", qz_use_name((enum qz_use)u), bytes);
	}
	qz_num_bytes(b->plan.total, bytes);
	qz_policy_text(&b->shape.policy, b->c.layers, policy, sizeof policy);
	printf("  %-20s %9s\n", "memory", bytes);
	if (b->plan.host) {
		qz_num_bytes(b->plan.host, bytes);
		qz_plan_host_text(&b->plan, host, sizeof host);
		printf("  %-20s %9s  %s\n", "host memory", bytes, host);
	}
	printf("  backward pass: %s\n", policy);
	if (b->plan.seconds > 0)
		printf("  predicted %.1f ms, from product %.0f and attention %.0f, %.0f TFLOP/s, "
		       "copy %.2f "
		       "TB/s, link %.1f GB/s, launch %.1f us\n",
		    1e3 * b->plan.seconds, 1e-12 * b->rates.product, 1e-12 * b->rates.attention,
		    1e-12 * b->rates.attention_bwd[b->shape.policy.attention_parts],
		    1e-12 * b->rates.copy, 1e-9 * b->rates.link, 1e6 * b->rates.launch);
}

static void
show_plan_json(const struct bench *b)
{
	printf("{\"shape\":\"%s\",\"rows\":%lld,\"length\":%lld,\"planned\":%llu,\"host\":%llu,"
	       "\"predicted_ms\":%.3f}\n",
	    b->o->shape, (long long)b->o->rows, (long long)b->length,
	    (unsigned long long)b->plan.total, (unsigned long long)b->plan.host,
	    1e3 * b->plan.seconds);
}

/* One object a part: what tests/bench/step-picture.sh draws. */
static void
show_trace_json(const struct qz_trace *rows, size_t n, int64_t steps)
{
	for (size_t i = 0; i < n; i++)
		printf("{\"part\":\"%s\",\"calls\":%.1f,\"ms\":%.4f}\n", rows[i].what,
		    (double)rows[i].calls / (double)steps, 1e3 * rows[i].seconds / (double)steps);
}

static void
show_trace(struct bench *b, int64_t steps)
{
	static struct qz_trace rows[TRACED];
	size_t n = b->d->k->trace_read(b->d, rows, TRACED);
	double sum = 0;

	n = n < TRACED ? n : TRACED;
	if (b->o->json) {
		show_trace_json(rows, n, steps);
		return;
	}
	for (size_t i = 0; i < n; i++)
		sum += rows[i].seconds;
	printf("\n%-48s %8s %9s %6s\n", "part of a step", "calls", "ms", "share");
	for (size_t i = 0; i < n && i < SHOWN; i++)
		printf("%-48s %8.1f %9.3f %5.1f%%\n", rows[i].what,
		    (double)rows[i].calls / (double)steps, 1e3 * rows[i].seconds / (double)steps,
		    100 * rows[i].seconds / sum);
	printf("%-48s %8s %9.3f\n", "all of it", "", 1e3 * sum / (double)steps);
}

/* One step more for each part, with events between the ops. */
static int
trace(struct bench *b, struct qz_err *e)
{
	struct qz_report r;

	if (!b->d->k->trace) {
		qz_say("%s does not time its ops", b->d->k->name);
		return 0;
	}
	b->d->k->trace(b->d, true);
	for (int i = 0; i < TRACE_STEPS; i++)
		if (qz_train_step(&b->train, &r, e) < 0)
			return -1;
	show_trace(b, TRACE_STEPS);
	b->d->k->trace(b->d, false);
	return 0;
}

static void
show(const struct bench *b, const struct qz_report *r, double seconds, double low, double high)
{
	double tokens = (double)(b->o->rows * b->length), flops = least_flops(b);
	uint64_t used = b->d->k->used(b->d), memory = used ? used : qz_peak_memory();
	char norm[32] = "null";

	if (!r->skipped)
		snprintf(norm, sizeof norm, "%.6g", r->grad_norm);
	if (b->o->json) {
		printf("{\"shape\":\"%s\",\"rows\":%lld,\"length\":%lld,\"ms\":%.3f,\"low\":%.3f,"
		       "\"high\":%.3f,\"tokens_per_second\":%.1f,\"memory\":%llu,\"planned\":%llu,"
		       "\"predicted_ms\":%.3f,\"queued_ms\":%.3f,\"tflops\":%.1f,\"loss\":%.6f,"
		       "\"grad_norm\":%s,"
		       "\"scale\":%.0f,\"skipped\":%lld}\n",
		    b->o->shape, (long long)b->o->rows, (long long)b->length, 1e3 * seconds,
		    1e3 * low, 1e3 * high, tokens / seconds, (unsigned long long)memory,
		    (unsigned long long)b->plan.total, 1e3 * b->plan.seconds, 1e3 * r->queued,
		    1e-12 * flops / seconds, r->loss, norm, b->train.scale.factor,
		    (long long)b->train.scale.skipped);
		return;
	}
	printf("step %.2f ms (%.2f to %.2f), %.0f tokens/s, %.1f TFLOP/s of what no way can leave "
	       "out\n",
	    1e3 * seconds, 1e3 * low, 1e3 * high, tokens / seconds, 1e-12 * flops / seconds);
	printf("memory %.3f GiB (%s), planned %.3f GiB; loss %.4f, gradient norm %.4g\n",
	    (double)memory / (1 << 30), used ? "as the driver counts" : "peak of the process",
	    (double)b->plan.total / (1 << 30), r->loss, r->grad_norm);
	if (used)
		printf("the host had queued the last step after %.2f ms\n", 1e3 * r->queued);
	if (b->train.scale.on)
		printf("loss scale %.0f, %lld steps skipped\n", b->train.scale.factor,
		    (long long)b->train.scale.skipped);
}

static int
measure(struct bench *b, struct qz_err *e)
{
	int64_t steps = b->steps < RUNS_MAX ? b->steps : RUNS_MAX;
	double *runs = calloc((size_t)steps, sizeof *runs), start;
	struct qz_report r = { 0 };
	int ret = runs ? 0 : qz_nomem(e, (size_t)steps * sizeof *runs);

	for (int64_t i = 0; ret == 0 && i < b->warmup; i++)
		ret = qz_train_step(&b->train, &r, e);
	for (int64_t i = 0; ret == 0 && i < steps; i++) {
		start = qz_clock();
		ret = qz_train_step(&b->train, &r, e);
		runs[i] = qz_clock() - start;
	}
	if (ret == 0) {
		qsort(runs, (size_t)steps, sizeof *runs, by_value);
		show(b, &r, runs[steps / 2], runs[0], runs[steps - 1]);
	}
	free(runs);
	return ret;
}

/* The steps, after the plan has been shown. */
static int
steps(struct bench *b, struct qz_err *e)
{
	fflush(stdout);
	if (load(b, e) < 0 || measure(b, e) < 0)
		return -1;
	return b->o->trace ? trace(b, e) : 0;
}

int
bench_train(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct bench b = { .d = d, .o = o };
	int ret;

	(void)args;
	ret = set_options(&b, e);
	if (ret == 0)
		ret = make_plan(&b, e);
	if (ret == 0 && o->dry_run && o->json)
		show_plan_json(&b);
	if (ret == 0 && !o->json)
		show_plan(&b);
	if (ret == 0 && !o->dry_run)
		ret = steps(&b, e);
	qz_train_end(&b.train);
	qz_net_close(&b.net);
	qz_weights_free(&b.weights);
	qz_lora_free(&b.lora);
	qz_data_free(&b.data);
	return ret;
}
