/* A training run of PyTorch and PEFT again: losses, gradients and the final adapter, on a float32 and an
 * NF4 base; and the logits of the model itself, all at once and token by token with a cache. */
#include <math.h>

#include "kernels/backend.h"
#include "libcore/base/json.h"
#include "libcore/model/train.h"
#include "tests/unit/golden.h"
#include "tests/unit/tap.h"

enum { STEPS = 20, BATCH = 4, SEQ = 128, N_IDS = 64 };

/* Bounds: gradients and their norm relative to themselves; losses, adapter, logits as they are.
 * torch's float32 logits are within 1.2e-5; scales and epsilon are float32 in the oracle too.  avx512bf16 rounds the
 * factors of products to bfloat16, cuda what lies between any two ops: a gradient's elements are further off. */
static const struct device {
	const char *name, *cpu;
	double gradient, norm, loss, adapter, logits;
} devices[] = {
	{ "cpu-f64", NULL, 1e-5, 1e-5, 1e-5, 1e-4, 1e-6 },
	{ "cpu", "base", 1e-5, 1e-5, 1e-5, 1e-4, 3e-5 },
	{ "cpu", "avx2", 1e-5, 1e-5, 1e-5, 1e-4, 3e-5 },
	{ "cpu", "avx512", 1e-5, 1e-5, 1e-5, 1e-4, 3e-5 },
	{ "cpu", "avx512bf16", 2e-2, 1e-2, 1e-2, 2e-2, 2e-1 },
	{ "cuda", NULL, 5e-2, 1e-2, 1e-2, 2e-2, 4e-1 },
};

static const struct {
	const char *name, *base;
} bases[] = {
	{ "plain", "models/stories260k" },
	{ "nf4", "golden/nf4/stories260k-bnb4" },
};

struct golden {
	struct qz_dev *dev;
	struct qz_weights w;
	struct qz_adapter init;
	struct qz_data data;
	struct qz_net net;
	struct qz_train train;
	const char *device, *base;
	const struct device *bound;
};

static struct qz_dev *
open_device(const struct device *d)
{
	struct qz_err e;

	if (d->cpu)
		setenv("QZ_CPU", d->cpu, 1);
	else
		unsetenv("QZ_CPU");
	return qz_device_open(d->name, 1, &e);
}

static int
load(struct qz_weights *w, struct qz_dev *dev, const char *folder, struct qz_err *e)
{
	char file[200], path[4096];
	struct qz_source *s;
	int ret;

	snprintf(file, sizeof file, "%s/config.json", folder);
	snprintf(path, sizeof path, "%s", shared(file) ? shared(file) : "");
	path[strlen(path) - strlen("/config.json")] = '\0';
	s = qz_source_open(path, e);
	ret = s ? qz_weights_load(w, dev, s, false, 0, NULL, NULL, e) : -1;
	qz_source_close(s);
	return ret;
}

/* Rows as the reference has them: a token is trained where its label is not -100. */
static void
read_data(struct qz_data *d)
{
	int32_t *ids = npy_i32(shared("golden/lora/ids.npy"));
	int32_t *labels = npy_i32(shared("golden/lora/labels.npy"));
	struct qz_rows *r = &d->rows;
	uint64_t n = (uint64_t)STEPS * BATCH;

	*d = (struct qz_data){ 0 };
	r->ids = malloc(n * SEQ * sizeof *r->ids);
	r->mask = malloc(n * SEQ);
	r->row_ends = malloc(n * sizeof *r->row_ends);
	r->doc_ends = malloc(n * sizeof *r->doc_ends);
	r->n_tokens = n * SEQ;
	r->n_rows = r->n_docs = n;
	for (uint64_t i = 0; i < n * SEQ; i++) {
		r->ids[i] = (uint32_t)ids[i];
		r->mask[i] = labels[i] != -100;
		r->n_trained += r->mask[i];
	}
	for (uint64_t i = 0; i < n; i++)
		r->row_ends[i] = r->doc_ends[i] = (i + 1) * SEQ;
	free(ids);
	free(labels);
}

static int
start(struct golden *g, struct qz_err *e)
{
	struct qz_train_options o = { .batch = BATCH,
		.accumulate = 1,
		.steps = STEPS,
		.schedule = QZ_SCHEDULE_CONSTANT,
		.lr = 1e-3,
		.beta1 = 0.9,
		.beta2 = 0.999,
		.eps = 1e-8,
		.weight_decay = 0.01 };
	struct qz_net_shape shape = { .logits_bytes = 200000 };
	char path[4096];

	snprintf(path, sizeof path, "%s", shared("golden/lora/init/adapter_config.json"));
	*strrchr(path, '/') = '\0';
	read_data(&g->data);
	if (load(&g->w, g->dev, g->base, e) < 0 || qz_adapter_read(&g->init, path, e) < 0 ||
	    qz_adapter_fits(&g->init, &g->w.config, e) < 0 ||
	    qz_data_end(&g->data, g->w.config.vocab, e) < 0 ||
	    qz_train_shape(&o, &g->data, NULL, &shape, e) < 0 ||
	    qz_net_open(&g->net, &g->w, &g->init.lora, &shape, e) < 0 ||
	    qz_train_begin(&g->train, &g->net, &g->data, &o, NULL, e) < 0)
		return -1;
	qz_net_put(&g->net, g->net.p, g->init.values, g->init.lora.n_par);
	/* The reference takes its rows in order. */
	g->train.epoch = 0;
	for (uint64_t i = 0; i < g->data.n; i++)
		g->train.order[i] = i;
	return 0;
}

static void
stop(struct golden *g)
{
	qz_train_end(&g->train);
	qz_net_close(&g->net);
	qz_adapter_free(&g->init);
	qz_data_free(&g->data);
	qz_weights_free(&g->w);
}

struct compare {
	const struct qz_lora *l;
	const float *mine;
	double diff, norm, worst; /* squares; largest |difference| */
	int tensors;
};

static void
compare(void *arg, const char *name, const float *x, uint64_t n)
{
	struct compare *c = arg;
	const struct qz_lora_tensor *t;
	enum qz_proj p;
	int layer;
	char half;

	if (qz_lora_name_parse(name + strlen("base_model.model."), &layer, &p, &half) < 0)
		return;
	t = qz_lora_find(c->l, layer, p);
	c->tensors += t != NULL;
	for (uint64_t i = 0; t && i < n; i++) {
		double d = (double)c->mine[(half == 'A' ? t->a : t->b) + i] - (double)x[i];

		c->diff += d * d;
		c->norm += (double)x[i] * (double)x[i];
		c->worst = fmax(c->worst, fabs(d));
	}
}

static struct compare
against(struct golden *g, const qz_par *what, const char *name, const char *tail)
{
	float *mine = malloc(g->net.lora.n_par * sizeof *mine);
	struct compare c = { .l = &g->net.lora, .mine = mine };
	char file[200];

	qz_net_get(&g->net, mine, what, g->net.lora.n_par);
	snprintf(file, sizeof file, "golden/lora/%s-%s-f64.safetensors", name, tail);
	if (each_tensor(shared(file), compare, &c) < 0)
		c.worst = NAN;
	free(mine);
	c.mine = NULL;
	return c;
}

static void
check_run(struct golden *g, const char *name, const struct qz_json *run)
{
	const struct qz_json *loss = qz_json_first(qz_json_get(run, "loss"));
	const struct qz_json *norm = qz_json_first(qz_json_get(run, "grad_norm"));
	const struct qz_json *tokens = qz_json_first(qz_json_get(run, "tokens"));
	double worst_loss = 0, worst_norm = 0;
	struct qz_report r;
	struct qz_err e;
	struct compare c;
	int same_tokens = 1;

	for (int s = 0; s < STEPS; s++) {
		double want = qz_json_number(loss, NAN), grad = qz_json_number(norm, NAN);

		if (qz_train_step(&g->train, &r, &e) < 0) {
			ok(0, "%s", e.msg);
			return;
		}
		worst_loss = fmax(worst_loss, fabs(r.loss - want));
		worst_norm = fmax(worst_norm, fabs(r.grad_norm - grad) / grad);
		same_tokens &= (double)r.trained == qz_json_number(tokens, 0);
		loss = qz_json_next(loss);
		norm = qz_json_next(norm);
		tokens = qz_json_next(tokens);
		if (s > 1)
			continue;
		c = against(g, g->net.g, name, s ? "grads-step2" : "grads-step1");
		ok(c.tensors == 70 && sqrt(c.diff / c.norm) < g->bound->gradient,
		    "%s, %s: gradient of step %d, relative norm of the difference %.1e", g->device,
		    name, s + 1, sqrt(c.diff / c.norm));
	}
	ok(worst_loss < g->bound->loss && same_tokens,
	    "%s, %s: losses of 20 steps, largest difference %.1e", g->device, name, worst_loss);
	ok(worst_norm < g->bound->norm, "%s, %s: gradient norms, largest relative difference %.1e",
	    g->device, name, worst_norm);
	c = against(g, g->net.p, name, "final");
	ok(c.tensors == 70 && c.worst < g->bound->adapter,
	    "%s, %s: final adapter, largest difference %.1e", g->device, name, c.worst);
}

static void
check_training(struct golden *g, int base, const struct qz_json *metrics)
{
	char run[40];
	struct qz_err e;

	g->base = bases[base].base;
	snprintf(run, sizeof run, "%s.f64", bases[base].name);
	if (start(g, &e) < 0)
		ok(0, "%s, %s: %s", g->device, bases[base].name, e.msg);
	else
		check_run(g, bases[base].name, qz_json_get(metrics, run));
	stop(g);
}

static double
largest_difference(const double *a, const char *want, uint64_t n)
{
	double worst = 0;

	for (uint64_t i = 0; i < n; i++) {
		double v;

		memcpy(&v, want + 8 * i, sizeof v);
		worst = fmax(worst, fabs(a[i] - v));
	}
	return worst;
}

/* at[0], at[1], ...: how many tokens each pass adds to the cache; the last 0. */
static void
check_logits(struct golden *g, const int *passes, const char *how)
{
	struct qz_net_shape shape = { .room = { N_IDS, 1, N_IDS, N_IDS },
		.past = passes[1] ? N_IDS : 0,
		.logits_bytes = 30000 };
	size_t n;
	char *ids = file_bytes(shared("golden/stories260k/ids.i32"), &n);
	char *want = file_bytes(shared("golden/stories260k/logits.f64"), &n);
	double *got = calloc(N_IDS * 512, sizeof *got);
	int32_t rows[N_IDS], past = 0;
	struct qz_batch b;
	struct qz_err e;
	int ret;

	if (!ids || !want) {
		skip("golden/stories260k is not there");
		free(ids);
		free(want);
		free(got);
		return;
	}
	g->base = bases[0].base;
	ret = load(&g->w, g->dev, g->base, &e);
	if (ret == 0)
		ret = qz_batch_new(&b, shape.room, 1, &e);
	if (ret == 0)
		ret = qz_net_open(&g->net, &g->w, NULL, &shape, &e);
	for (; ret == 0 && *passes; past += *passes++) {
		for (int i = 0; i < *passes; i++)
			rows[i] = i;
		qz_batch_plain(&b, (const uint32_t *)(const void *)(ids + 4 * past), *passes, past);
		qz_net_batch(&g->net, &b, past);
		qz_net_forward(&g->net);
		ret = qz_net_logits(&g->net, rows, *passes, got + past * 512, &e);
	}
	if (ret < 0)
		ok(0, "%s: %s", g->device, e.msg);
	else
		ok(largest_difference(got, want, N_IDS * 512) < g->bound->logits,
		    "%s: logits of 64 tokens, %s, largest difference %.1e", g->device, how,
		    largest_difference(got, want, N_IDS * 512));
	qz_batch_free(&b);
	qz_net_close(&g->net);
	qz_weights_free(&g->w);
	free(got);
	free(ids);
	free(want);
}

int
main(void)
{
	static const int once[] = { 64, 0 }, parts[] = { 40, 1, 9, 1, 1, 12, 0 };
	struct qz_json *metrics;
	struct qz_err e;
	size_t n;
	char *text = file_bytes(shared("golden/lora/metrics.json"), &n);

	if (!text) {
		skip("golden/lora is not there");
		return done();
	}
	metrics = qz_json_parse(text, n, &e);
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
		struct golden g = { .dev = open_device(&devices[i]),
			.device = devices[i].cpu ? devices[i].cpu : devices[i].name,
			.bound = &devices[i] };

		if (!g.dev) {
			skip("this machine has no %s", g.device);
			continue;
		}
		for (int base = 0; base < 2; base++)
			check_training(&g, base, metrics);
		check_logits(&g, once, "at once");
		check_logits(&g, parts, "with a cache");
		qz_device_close(g.dev);
	}
	qz_json_free(metrics);
	free(text);
	return done();
}
