#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "kernels/backend.h"
#include "libcore/base/num.h"
#include "tools/common/meter.h"
#include "tools/train/train.h"

static int
read_tokens(struct qz_data *d, char **files, int n, int64_t vocab, struct qz_err *e)
{
	for (int i = 0; i < n; i++) {
		struct qz_in *in = qz_in_open(files[i], e);
		int ret = in ? qz_data_read(d, in, e) : -1;

		qz_in_close(in);
		if (ret < 0)
			return -1;
	}
	if (qz_data_end(d, vocab, e) < 0)
		return qz_at(e, n == 1 ? "%s" : "%s and others",
		    strcmp(files[0], "-") ? files[0] : "<stdin>");
	return 0;
}

static int
check_lengths(const struct run *r)
{
	int64_t context = qz_source_config(r->source)->context;

	if (r->shape.room.max_len > context)
		qz_warn("the longest document has %lld tokens, the model's context is %lld",
		    (long long)r->shape.room.max_len, (long long)context);
	return 0;
}

/* The smallest change that would fit, or what is needed at least. */
static int
does_not_fit(struct run *r, const struct qz_plan_ask *ask, uint64_t more_host, struct qz_err *e)
{
	char with[16], lack[300];
	struct qz_train_options o = r->o;
	struct qz_net_shape shape = r->shape;
	struct qz_plan p = r->plan;

	qz_plan_short_text(&r->plan, ask, more_host, lack, sizeof lack);
	while (o.batch > 1) {
		o.accumulate *= o.batch / (o.batch / 2);
		o.batch /= 2;
		if (qz_train_shape(&o, &r->data, r->eval.n ? &r->eval : NULL, &shape, e) < 0)
			return -1;
		if (qz_plan_choose(&p, &shape, ask, NULL, e) <= 0)
			continue;
		qz_num_bytes(p.total, with);
		return qz_fail(e, QZ_EIO, "%s; --batch %lld --accumulate %lld takes %s", lack,
		    (long long)o.batch, (long long)o.accumulate, with);
	}
	if (p.total <= ask->budget)
		return qz_fail(e, QZ_EIO,
		    "%s; a row of %lld tokens alone is too much: shorter rows (qz-tokenize -l)%s "
		    "are needed",
		    lack, (long long)shape.room.tokens,
		    p.host_states ? ", or no --optim-offload," : "");
	qz_num_bytes(p.total, with);
	return qz_fail(e, QZ_EIO,
	    "%s; a row of %lld tokens alone takes %s: --memory %llu or shorter rows (qz-tokenize "
	    "-l) are needed",
	    lack, (long long)shape.room.tokens, with, (unsigned long long)p.total);
}

/* Before the weights are there, when the base tells their sizes.  embed: of them, an embedding that may lie
 * in host memory. */
static int
make_plan(struct run *r, uint64_t weights, uint64_t embed, struct qz_err *e)
{
	struct qz_plan_ask ask = { .dev = r->dev,
		.config = qz_source_config(r->source),
		.lora = &r->lora,
		.weights = weights,
		.embed = r->loaded ? 0 : embed };
	uint64_t more_host;
	int fits;

	r->shape.logits_bytes = QZ_LOGITS_BYTES;
	r->shape.any_order = train_opt.any_order;
	r->shape.optim = (enum qz_optim)qz_optim_by_name(train_opt.optim);
	r->shape.states_host = train_opt.optim_offload;
	if (qz_train_shape(&r->o, &r->data, r->eval.n ? &r->eval : NULL, &r->shape, e) < 0)
		return -1;
	if (qz_plan_ask_device(
		&ask, &r->rates, &r->shape, train_opt.memory, r->loaded ? weights : 0, e) < 0)
		return -1;
	r->budget = ask.budget;
	fits = qz_plan_choose(&r->plan, &r->shape, &ask, &more_host, e);
	if (fits < 0)
		return -1;
	return fits ? check_lengths(r) : does_not_fit(r, &ask, more_host, e);
}

static void
progress(void *arg, uint64_t n)
{
	qz_meter_add(arg, n);
}

static int
load_weights(struct run *r, uint64_t nbytes, struct qz_err *e)
{
	struct qz_meter m;
	int ret;

	qz_meter_start(&m, "load", nbytes, NULL);
	ret = qz_weights_load(&r->weights, r->dev, r->source, r->shape.policy.embed_host,
	    (int)qz_threads, progress, &m, e);
	qz_meter_stop(&m);
	r->loaded = ret == 0;
	train_mark(r, MARK_WEIGHTS);
	return ret;
}

/* A device is opened while the base's head and the tokens are read: a GPU takes a while. */
struct opening {
	pthread_t thread;
	bool started;
	struct qz_dev *dev;
	struct qz_err err;
	double seconds;
};

static void *
open_device(void *arg)
{
	struct opening *o = arg;
	double start = qz_clock();

	o->dev = qz_device_open(qz_device_name, (int)qz_threads, &o->err);
	o->seconds = qz_clock() - start;
	return NULL;
}

static int
open_inputs(struct run *r, char **files, int n, struct qz_err *e)
{
	char *eval = (char *)(uintptr_t)train_opt.eval;
	char size[16];
	int64_t vocab;

	r->source = qz_source_open(train_opt.base, e);
	if (!r->source)
		return -1;
	if (qz_source_spooled(r->source)) {
		qz_num_bytes(qz_source_spooled(r->source), size);
		qz_say("%s: %s went through a temporary file", qz_source_name(r->source), size);
	}
	vocab = qz_source_config(r->source)->vocab;
	if (read_tokens(&r->data, files, n, vocab, e) < 0)
		return -1;
	return eval ? read_tokens(&r->eval, &eval, 1, vocab, e) : 0;
}

/* What is wrong with the device is told first. */
static int
open_all(struct run *r, char **files, int n, struct qz_err *e)
{
	struct opening o = { 0 };
	int ret;

	o.started = pthread_create(&o.thread, NULL, open_device, &o) == 0;
	if (!o.started)
		open_device(&o);
	ret = open_inputs(r, files, n, e);
	if (o.started)
		pthread_join(o.thread, NULL);
	r->dev = o.dev;
	r->device_seconds = o.seconds;
	if (o.dev)
		return ret;
	*e = o.err;
	return -1;
}

int
train_prepare(struct run *r, char **files, int n, struct qz_err *e)
{
	const struct qz_config *c;
	const struct qz_tensor *manifest;
	unsigned targets;
	size_t n_tensors;
	int ret;

	if (qz_proj_set_parse(train_opt.targets, &targets, e) < 0)
		return qz_at(e, "--targets");
	if (open_all(r, files, n, e) < 0)
		return -1;
	train_mark(r, "device, base's head, tokens");
	c = qz_source_config(r->source);
	if (qz_lora_uniform(&r->lora, c, (int)train_opt.rank, train_opt.alpha, train_opt.dropout,
		targets, e) < 0)
		return -1;
	qz_train_extent(&r->o, &r->data, &r->train.steps, &r->train.rows);
	if (r->o.warmup > r->train.steps)
		return qz_fail(e, QZ_EUSAGE, "--warmup %lld is more than the run's %lld steps",
		    (long long)r->o.warmup, (long long)r->train.steps);
	manifest = qz_source_manifest(r->source, &n_tensors);
	if (!manifest && load_weights(r, 0, e) < 0)
		return -1;
	if (!manifest)
		ret = make_plan(r, r->weights.nbytes, 0, e);
	else
		ret = make_plan(r, qz_weights_size(manifest, n_tensors),
		    qz_weights_embed_size(c, manifest, n_tensors), e);
	train_mark(r, "rates and plan");
	return ret;
}

static int
resume(struct run *r, struct qz_err *e)
{
	char device[64];

	if (qz_checkpoint_read(
		&r->train, r->settings.data, train_opt.resume, device, sizeof device, e) < 0)
		return -1;
	if (strcmp(device, r->dev->k->name))
		qz_warn("the checkpoint was made on %s: on %s the rest is the same up to rounding",
		    device, r->dev->k->name);
	qz_say(
	    "goes on after step %lld of %lld", (long long)r->train.step, (long long)r->train.steps);
	return 0;
}

int
train_load(struct run *r, struct qz_err *e)
{
	if (!r->loaded && load_weights(r, r->plan.bytes[QZ_USE_WEIGHTS], e) < 0)
		return -1;
	if (qz_net_open(&r->net, &r->weights, &r->lora, &r->shape, e) < 0 ||
	    qz_train_begin(&r->train, &r->net, &r->data, &r->o, NULL, e) < 0 ||
	    train_describe(r, e) < 0)
		return -1;
	train_mark(r, "memory and adapter");
	if (qz_train_warm(&r->train, e) < 0)
		return -1;
	train_mark(r, "products timed");
	return train_opt.resume ? resume(r, e) : 0;
}
