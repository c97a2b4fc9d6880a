#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/num.h"
#include "tools/common/meter.h"
#include "tools/train/train.h"

static void
show_memory(const struct run *r, FILE *to)
{
	char bytes[16], most[16], host[100];

	for (int u = 0; u < QZ_USE_N; u++) {
		if (!r->plan.bytes[u])
			continue;
		qz_num_bytes(r->plan.bytes[u], bytes);
		fprintf(to, "  %-20s %9s\n", qz_use_name((enum qz_use)u), bytes);
	}
	qz_num_bytes(r->plan.total, bytes);
	qz_num_bytes(r->budget, most);
	fprintf(to, "  %-20s %9s  of %s\n", "memory", bytes, most);
	if (r->plan.host) {
		qz_num_bytes(r->plan.host, bytes);
		qz_plan_host_text(&r->plan, host, sizeof host);
		fprintf(to, "  %-20s %9s  %s\n", "host memory", bytes, host);
	}
}

static void
show_data(const struct run *r, const struct qz_data *d, const char *what, FILE *to)
{
	fprintf(to, "  %-20s %9llu rows, %llu tokens, %llu trained", what, (unsigned long long)d->n,
	    (unsigned long long)d->n_tokens, (unsigned long long)d->n_trained);
	if (d->n_left_out)
		fprintf(to, "; %llu rows without a trained token are left out",
		    (unsigned long long)d->n_left_out);
	fputc('\n', to);
	(void)r;
}

void
train_show_plan(const struct run *r, FILE *to)
{
	struct qz_buf targets = { 0 };
	char policy[300], device[300];

	r->dev->k->describe(r->dev, device, sizeof device);
	qz_proj_set_put(r->lora.targets, " ", &targets);
	qz_policy_text(
	    &r->shape.policy, qz_source_config(r->source)->layers, policy, sizeof policy);
	fprintf(to, "plan on %s\n", device);
	show_memory(r, to);
	fprintf(to, "  %-20s %9s %s\n", "backward pass", "", policy);
	if (r->plan.seconds > 0)
		fprintf(to, "  %-20s %9.1f ms a batch, predicted\n", "time", 1e3 * r->plan.seconds);
	show_data(r, &r->data, "data", to);
	if (r->eval.n)
		show_data(r, &r->eval, "evaluation", to);
	fprintf(to, "  %-20s %9llu parameters, rank %d, alpha %g, on %s\n", "adapter",
	    (unsigned long long)r->lora.n_params, r->lora.rank, r->lora.alpha,
	    targets.data ? targets.data : "nothing");
	fprintf(to, "  %-20s %9lld of %s, %lld x %lld rows, at most %lld tokens a batch\n", "steps",
	    (long long)r->train.steps, qz_optim_name(r->shape.optim), (long long)r->o.accumulate,
	    (long long)r->o.batch, (long long)r->shape.room.tokens);
	qz_buf_free(&targets);
}

void
train_mark(struct run *r, const char *what)
{
	if (r->n_marks == MARKS)
		return;
	r->marks[r->n_marks].what = what;
	r->marks[r->n_marks++].at = qz_clock();
}

void
train_show_start(const struct run *r)
{
	double last = r->began;

	if (!qz_verbose)
		return;
	fprintf(stderr, "start to first step: %.3f s\n", r->marks[r->n_marks - 1].at - r->began);
	for (int i = 0; i < r->n_marks; i++) {
		double seconds = r->marks[i].at - last;

		fprintf(stderr, "  %-28s %8.3f s", r->marks[i].what, seconds);
		if (i == 0)
			fprintf(stderr, "  of which the device took %.3f", r->device_seconds);
		if (!strcmp(r->marks[i].what, MARK_WEIGHTS) && seconds > 0)
			fprintf(stderr, "  %.2f GB/s", 1e-9 * (double)r->weights.nbytes / seconds);
		fputc('\n', stderr);
		last = r->marks[i].at;
	}
}

int
train_open_log(struct run *r, struct qz_err *e)
{
	if (!train_opt.log)
		return 0;
	r->log = fopen(train_opt.log, train_opt.resume ? "ae" : "we");
	if (!r->log)
		return qz_fail_errno(e, "%s", train_opt.log);
	setvbuf(r->log, NULL, _IOLBF, 0);
	if (!train_opt.resume)
		fprintf(r->log,
		    "{\"parameters\":%llu,\"rows\":%llu,\"tokens\":%llu,\"trained\":%llu,"
		    "\"memory\":%llu,\"device\":\"%s\",\"settings\":{%s}}\n",
		    (unsigned long long)r->lora.n_params, (unsigned long long)r->data.n,
		    (unsigned long long)r->data.n_tokens, (unsigned long long)r->data.n_trained,
		    (unsigned long long)r->plan.total, r->dev->k->name, r->settings.data);
	return 0;
}

void
train_show_step(struct run *r, const struct qz_report *s, double seconds)
{
	double rate = seconds > 0 ? (double)s->tokens / seconds : 0;
	int width = snprintf(NULL, 0, "%lld", (long long)r->train.steps);
	char norm[32] = "null", scale[64] = "", skipped[64] = "";

	r->seconds += seconds;
	r->tokens += s->tokens;
	if (!s->skipped)
		snprintf(norm, sizeof norm, "%.9g", s->grad_norm);
	if (r->train.scale.on)
		snprintf(scale, sizeof scale, ",\"scale\":%.0f,\"skipped\":%s", s->scale,
		    s->skipped ? "true" : "false");
	if (s->skipped)
		snprintf(skipped, sizeof skipped, "  skipped: scale %.0f was too large", s->scale);
	if (!qz_quiet)
		fprintf(stderr,
		    "step %*lld/%lld  loss %7.4f  grad %8.4f  lr %.3e  tokens/s %6.0f%s\n", width,
		    (long long)s->step, (long long)r->train.steps, s->loss, s->grad_norm, s->lr,
		    rate, skipped);
	if (r->log)
		fprintf(r->log,
		    "{\"step\":%lld,\"loss\":%.9g,\"grad_norm\":%s,\"lr\":%.9g,\"tokens\":%llu,"
		    "\"trained\":%llu,\"seconds\":%.6f,\"tokens_per_second\":%.2f%s}\n",
		    (long long)s->step, s->loss, norm, s->lr, (unsigned long long)s->tokens,
		    (unsigned long long)s->trained, seconds, rate, scale);
}

void
train_show_eval(struct run *r, double loss)
{
	int width = snprintf(NULL, 0, "%lld", (long long)r->train.steps);

	if (!qz_quiet)
		fprintf(stderr, "eval %*lld/%lld  loss %7.4f  perplexity %.4f  over %llu tokens\n",
		    width, (long long)r->train.step, (long long)r->train.steps, loss, exp(loss),
		    (unsigned long long)r->eval.n_trained);
	if (r->log)
		fprintf(r->log, "{\"step\":%lld,\"eval_loss\":%.9g,\"eval_trained\":%llu}\n",
		    (long long)r->train.step, loss, (unsigned long long)r->eval.n_trained);
}

void
train_show_end(const struct run *r)
{
	char peak[16];

	qz_num_bytes(qz_peak_memory(), peak);
	qz_say("%lld steps, %llu tokens (prompts too) in %.1f s: %.0f tokens/s; peak memory %s",
	    (long long)r->train.step, (unsigned long long)r->tokens, r->seconds,
	    r->seconds > 0 ? (double)r->tokens / r->seconds : 0, peak);
}

int
train_close_log(struct run *r, struct qz_err *e)
{
	int bad;

	if (!r->log)
		return 0;
	bad = ferror(r->log);
	bad |= fclose(r->log) == EOF;
	r->log = NULL;
	return bad ? qz_fail(e, QZ_EIO, "%s: not all of the log could be written", train_opt.log)
		   : 0;
}
