/* Gradients of every element of an adapter on tiny models in float64, against central differences; what
 * is computed again, packed or accumulated gives the same. */
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_dev *dev;
static const int lengths[] = { 7, 1 + 4, 9, 3, 0 };

static const struct {
	const char *name, *family;
	bool tied, split, biases;
	int64_t window;
	double dropout;
	unsigned targets;
	int64_t x_only, no_mlp;
} cases[] = {
	{ "tied head", "llama", true, false, false, 0, 0, QZ_PROJ_ALL, 0, 0 },
	{ "own head, several documents a row", "llama", false, true, false, 0, 0, QZ_PROJ_ALL, 0,
	    0 },
	{ "q, k, v biases", "qwen2", false, false, false, 0, 0, QZ_PROJ_ALL, 0, 0 },
	{ "norms of q and k", "qwen3", true, false, false, 0, 0, QZ_PROJ_ALL, 0, 0 },
	{ "all biases", "llama", false, false, true, 0, 0, QZ_PROJ_ALL, 0, 0 },
	{ "window of 3", "mistral", false, false, false, 3, 0, QZ_PROJ_ALL, 0, 0 },
	{ "dropout", "llama", false, false, false, 0, 0.3, QZ_PROJ_ALL, 0, 0 },
	{ "only q and v", "llama", false, false, false, 0, 0, 1 << QZ_PROJ_Q | 1 << QZ_PROJ_V, 0,
	    0 },
	{ "only down", "llama", false, false, false, 0, 0, 1 << QZ_PROJ_DOWN, 0, 0 },
	{ "only gate", "llama", false, false, false, 0, 0, 1 << QZ_PROJ_GATE, 0, 0 },
	{ "gate and up again", "qwen3", false, true, false, 0, 0.2, QZ_PROJ_ALL, 0, 2 },
	{ "one layer again", "qwen2", true, false, false, 4, 0, QZ_PROJ_ALL, 1, 1 },
	{ "all again", "qwen3", true, true, false, 0, 0.2, QZ_PROJ_ALL, 2, 0 },
};

struct model {
	struct qz_config c;
	struct qz_weights w;
	struct qz_lora lora;
	struct qz_data data;
	struct qz_net net;
};

static int64_t layers = 2;

static int
start(struct model *m, int i, struct qz_policy policy, uint64_t logits)
{
	struct qz_net_shape shape = { .train = true, .policy = policy, .logits_bytes = logits };
	struct qz_err e;

	m->c = tiny_config(cases[i].family, cases[i].tied);
	m->c.layers = layers;
	m->c.window = cases[i].window;
	m->c.o_bias = m->c.mlp_bias = cases[i].biases;
	m->c.qkv_bias |= cases[i].biases;
	tiny_data(&m->data, lengths, m->c.vocab, cases[i].split);
	if (qz_data_end(&m->data, m->c.vocab, &e) < 0 || tiny_weights(&m->w, dev, &m->c, &e) < 0 ||
	    qz_lora_uniform(&m->lora, &m->c, 2, 3, cases[i].dropout, cases[i].targets, &e) < 0)
		return ok(0, "%s: %s", cases[i].name, e.msg), -1;
	if (qz_data_extent(&m->data, m->data.n, 1, &shape.room, &e) < 0)
		return ok(0, "%s", e.msg), -1;
	shape.losses = shape.room.trained;
	if (qz_net_open(&m->net, &m->w, &m->lora, &shape, &e) < 0)
		return ok(0, "%s: %s", cases[i].name, e.msg), -1;
	m->net.dropping = true;
	m->net.seed = 5;
	tiny_adapter(&m->net);
	return 0;
}

static void
stop(struct model *m)
{
	qz_net_close(&m->net);
	qz_lora_free(&m->lora);
	qz_weights_free(&m->w);
	qz_data_free(&m->data);
}

/* The gradient of scale * loss over rows first..last, added up in parts of `each` rows. */
static double *
gradient(struct qz_net *n, const struct qz_data *d, uint64_t first, uint64_t last, uint64_t each)
{
	double *g = calloc(n->lora.n_par, sizeof *g);

	n->k->fill(dev, n->g, 0, n->lora.n_par * sizeof *g);
	for (uint64_t r = first; r <= last; r += each)
		tiny_pass(n, d, r, r + each - 1 < last ? r + each - 1 : last, 0.1);
	n->k->copy_out(dev, g, n->g, n->lora.n_par * sizeof *g);
	return g;
}

/* A rounding of the loss (about 1e-14) over 2h is 1e-9 at most: differences say nothing about gradients
 * far below 1e-3, so the relative error is that of the larger of the two and 1e-3.  What the differences leave
 * out grows with the square of h: 1.1e-6 of a gradient at 1e-5, where h is 5e-6 a quarter of it. */
static double
difference_error(struct model *m, const double *g, uint64_t at)
{
	struct qz_net *n = &m->net;
	const double h = 5e-6;
	double *p = (double *)n->p + at, old, lo, hi, numeric;

	dev->k->copy_out(dev, &old, p, sizeof old);
	lo = old - h;
	hi = old + h;
	dev->k->copy_in(dev, p, &hi, sizeof hi);
	numeric = tiny_pass(n, &m->data, 0, m->data.n - 1, 0);
	dev->k->copy_in(dev, p, &lo, sizeof lo);
	numeric = 0.1 * (numeric - tiny_pass(n, &m->data, 0, m->data.n - 1, 0)) / (hi - lo);
	dev->k->copy_in(dev, p, &old, sizeof old);
	return fabs(numeric - g[at]) / fmax(1e-3, fmax(fabs(numeric), fabs(g[at])));
}

static void
check_differences(int i)
{
	struct model m;
	double worst = 0, largest = 0, *g;
	uint64_t checked = 0;

	if (start(&m, i, (struct qz_policy){ .x_only = cases[i].x_only, .no_mlp = cases[i].no_mlp },
		1000) < 0)
		return;
	g = gradient(&m.net, &m.data, 0, m.data.n - 1, m.data.n);
	for (int k = 0; k < m.lora.n; k++) {
		const struct qz_lora_tensor *t = &m.lora.t[k];

		for (uint64_t q = 0; q < (uint64_t)(t->rank * t->cols); q++, checked++) {
			worst = fmax(worst, difference_error(&m, g, t->a + q));
			largest = fmax(largest, fabs(g[t->a + q]));
		}
		for (uint64_t q = 0; q < (uint64_t)(t->rank * t->rows); q++, checked++) {
			worst = fmax(worst, difference_error(&m, g, t->b + q));
			largest = fmax(largest, fabs(g[t->b + q]));
		}
	}
	ok(worst < 1e-6 && largest > 1e-2 && checked == m.lora.n_params,
	    "%s: %llu elements, largest relative error %.1e, largest gradient %.2g", cases[i].name,
	    (unsigned long long)checked, worst, largest);
	free(g);
	stop(&m);
}

static double
distance(const double *a, const double *b, uint64_t n)
{
	double sum = 0, norm = 0;

	for (uint64_t i = 0; i < n; i++) {
		sum += (a[i] - b[i]) * (a[i] - b[i]);
		norm += b[i] * b[i];
	}
	return norm > 0 ? sqrt(sum / norm) : NAN;
}

/* What is computed again, or comes back from host memory, is the same to the bit. */
static const struct qz_policy two[] = { { .no_mlp = 1 }, { .no_mlp = 2 }, { .x_only = 1 },
	{ .x_only = 1, .no_mlp = 1 }, { .x_only = 2 }, { .x_host = 1 },
	{ .x_host = 2, .no_mlp = 1 }, { .x_host = 2, .x_only = 2 }, { .cached = 1 },
	{ .cached = 2, .x_only = 1 }, { .no_mlp = 2, .attn_host = 2, .x_host = 2 } };
static const struct qz_policy seven[] = { { .x_host = 7 }, { .x_host = 5, .x_only = 3 },
	{ .no_mlp = 7, .attn_host = 7, .x_host = 7 }, { .no_mlp = 6, .attn_host = 3, .x_host = 4 },
	{ .no_mlp = 4, .attn_host = 4 }, { .x_only = 2, .no_mlp = 4, .attn_host = 3, .x_host = 7 },
	{ .x_only = 2, .no_mlp = 3, .attn_host = 1 } };

static void
check_policies(int i, int64_t n_layers, const struct qz_policy *p, size_t n)
{
	struct model m;
	double *kept, *again;

	layers = n_layers;
	if (start(&m, i, (struct qz_policy){ 0 }, 1 << 20) < 0)
		return;
	kept = gradient(&m.net, &m.data, 0, m.data.n - 1, m.data.n);
	stop(&m);
	for (size_t k = 0; k < n; k++) {
		if (start(&m, i, p[k], 1 << 20) < 0)
			return;
		again = gradient(&m.net, &m.data, 0, m.data.n - 1, m.data.n);
		ok(!memcmp(kept, again, m.lora.n_par * sizeof *kept),
		    "%s: of %d layers %d again, gate and up of %d more, %d inputs and %d "
		    "attentions "
		    "away, %d decoded: the same bits",
		    cases[i].name, (int)layers, (int)p[k].x_only, (int)p[k].no_mlp,
		    (int)p[k].x_host, (int)p[k].attn_host, (int)p[k].cached);
		free(again);
		stop(&m);
	}
	free(kept);
	layers = 2;
}

/* Chunks add to the gradient one after another. */
static void
check_chunks(int i)
{
	static const struct qz_policy policies[] = { { .chunk = 1 }, { .chunk = 7 },
		{ .chunk = 23 }, { .chunk = 5, .x_only = 1, .no_mlp = 1 }, { .chunk = 100 },
		{ .chunk = 6, .x_only = 2, .x_host = 2, .cached = 2 } };
	struct model m;
	double *whole, *parts;

	if (start(&m, i, (struct qz_policy){ 0 }, 1 << 20) < 0)
		return;
	whole = gradient(&m.net, &m.data, 0, m.data.n - 1, m.data.n);
	stop(&m);
	for (size_t k = 0; k < sizeof policies / sizeof *policies; k++) {
		if (start(&m, i, policies[k], 1 << 20) < 0)
			return;
		parts = gradient(&m.net, &m.data, 0, m.data.n - 1, m.data.n);
		ok(distance(parts, whole, m.lora.n_par) < 1e-12, "%s: chunks of %d tokens (%.1e)",
		    cases[i].name, (int)policies[k].chunk, distance(parts, whole, m.lora.n_par));
		free(parts);
		stop(&m);
	}
	free(whole);
}

static void
check_sums(int i)
{
	struct model m;
	double *whole, *parts, *one;

	if (start(&m, i, (struct qz_policy){ 0 }, 1 << 20) < 0)
		return;
	m.net.dropping = false; /* its key counts tokens within a batch */
	whole = gradient(&m.net, &m.data, 0, m.data.n - 1, m.data.n);
	parts = gradient(&m.net, &m.data, 0, m.data.n - 1, 2);
	ok(distance(parts, whole, m.lora.n_par) < 1e-12, "%s: 2 x 2 rows equal 1 x 4 (%.1e)",
	    cases[i].name, distance(parts, whole, m.lora.n_par));
	memset(parts, 0, m.lora.n_par * sizeof *parts);
	for (uint64_t r = 0; r < m.data.n; r++) {
		one = gradient(&m.net, &m.data, r, r, 1);
		for (uint64_t k = 0; k < m.lora.n_par; k++)
			parts[k] += one[k];
		free(one);
	}
	ok(distance(parts, whole, m.lora.n_par) < 1e-12,
	    "%s: a packed batch is the sum of its rows (%.1e)", cases[i].name,
	    distance(parts, whole, m.lora.n_par));
	free(whole);
	free(parts);
	stop(&m);
}

int
main(void)
{
	struct qz_err e;
	int n = sizeof cases / sizeof *cases;

	dev = qz_device_open("cpu-f64", 1, &e);
	if (!dev)
		return ok(0, "%s", e.msg), done();
	for (int i = 0; i < n; i++)
		check_differences(i);
	for (int i = 0; i < n; i++)
		check_sums(i);
	for (int i = 1; i < 7; i += 2) {
		check_policies(i, 2, two, sizeof two / sizeof *two);
		check_policies(i, 7, seven, sizeof seven / sizeof *seven);
	}
	check_policies(6, 2, two, sizeof two / sizeof *two);
	for (int i = 0; i < n; i++)
		check_chunks(i);
	qz_device_close(dev);
	return done();
}
