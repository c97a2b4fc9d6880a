/* The plan of memory: what it counts is what is taken, and the policy follows the budget. */
#include "libcore/base/num.h"
#include "libcore/model/plan.h"
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_dev *dev;
static struct qz_config config;
static struct qz_lora lora;

static struct qz_net_shape
shape_of(int64_t tokens)
{
	return (struct qz_net_shape){ .room = { tokens, 4, tokens, tokens / 4 },
		.losses = tokens,
		.logits_bytes = 1 << 20,
		.train = true };
}

static struct qz_plan
choose(uint64_t budget, struct qz_policy *policy, int *fits)
{
	struct qz_net_shape shape = shape_of(256);
	struct qz_plan p;
	struct qz_err e;
	struct qz_plan_ask ask = {
		.dev = dev, .config = &config, .lora = &lora, .weights = 1000, .budget = budget
	};

	*fits = qz_plan_choose(&p, &shape, &ask, NULL, &e);
	*policy = shape.policy;
	return p;
}

static void
check_budgets(void)
{
	struct qz_policy policy;
	struct qz_plan all, least, p;
	uint64_t last = 0;
	int fits, steps = 0, falls = 1, within = 1;

	all = choose(UINT64_MAX, &policy, &fits);
	ok(fits == 1 && !policy.no_mlp && !policy.x_only, "with much memory everything is kept");
	least = choose(0, &policy, &fits);
	ok(fits == 0 && policy.x_only == config.layers, "with none the smallest plan is told");
	ok(least.total < all.total && all.bytes[QZ_USE_WEIGHTS] == 1000, "%llu is less than %llu",
	    (unsigned long long)least.total, (unsigned long long)all.total);
	for (uint64_t b = all.total; b >= least.total; b -= 4096) {
		int64_t cost;

		p = choose(b, &policy, &fits);
		cost = policy.x_only * 100 + policy.no_mlp;
		within &= fits == 1 && p.total <= b;
		falls &= (uint64_t)cost >= last;
		steps += (uint64_t)cost != last;
		last = (uint64_t)cost;
	}
	ok(within, "every plan is within its budget");
	ok(falls && steps >= 4, "less memory never computes less again; %d policies", steps);
	choose(least.total - 1, &policy, &fits);
	ok(fits == 0, "one byte less than the least does not fit");
	choose(least.total, &policy, &fits);
	ok(fits == 1, "the least does");
}

/* The rows of logits that a plan has memory for, and whether it is within the budget. */
static uint64_t
logits(uint64_t budget, bool *within)
{
	struct qz_net_shape shape = shape_of(256);
	struct qz_plan p;
	struct qz_err e;
	struct qz_plan_ask ask = {
		.dev = dev, .config = &config, .lora = &lora, .weights = 1000, .budget = budget
	};

	shape.logits_bytes = 20 * (uint64_t)config.vocab * sizeof(float);
	*within = qz_plan_choose(&p, &shape, &ask, NULL, &e) == 1 && p.total <= budget &&
		  !shape.policy.no_mlp;
	return p.bytes[QZ_USE_LOGITS] / ((uint64_t)config.vocab * sizeof(float));
}

static void
check_logits(void)
{
	struct qz_policy policy;
	bool many, few;
	int fits;
	uint64_t all = choose(UINT64_MAX, &policy, &fits).total, rows = logits(UINT64_MAX, &many);
	uint64_t less = logits(all - 200 * (uint64_t)config.vocab * sizeof(float), &few);

	ok(many && rows >= 80 && rows < 256, "memory that is left holds more logits: %llu rows",
	    (unsigned long long)rows);
	ok(few && less >= 20 && less < 40, "but not instead of what is kept: %llu rows",
	    (unsigned long long)less);
}

/* The CPU with a workspace that parts of the heads take, as on a GPU. */
static size_t
workspace(struct qz_dev *d, const struct qz_need *need)
{
	size_t scores = 2 * (size_t)(need->docs * need->max_len * need->max_len * need->heads);

	(void)d;
	return 1000 + (need->attention_parts ? scores / (size_t)need->attention_parts : 0);
}

static void
check_ways(void)
{
	struct qz_rates rates = { .product = 1e12,
		.attention = 1e9,
		.attention_bwd = { 1e8, [1] = 8e8, [2] = 7e8, [4] = 0 },
		.copy = 1e11,
		.link = 1e10,
		.launch = 1e-6 };
	struct qz_backend k = *dev->k;
	struct qz_dev fake = { &k }, *cpu = dev;
	struct qz_plan_ask ask = { .dev = &fake,
		.config = &config,
		.lora = &lora,
		.rates = &rates,
		.weights = 1 << 30, /* not in few bits */
		.budget = UINT64_MAX };
	struct qz_net_shape shape = shape_of(256);
	struct qz_plan p, last = { .seconds = 0 };
	int seen[QZ_PARTS_MAX + 1] = { 0 }, within = 1, slower = 1, fits;
	struct qz_err e;

	k.workspace = workspace;
	fits = qz_plan_choose(&p, &shape, &ask, NULL, &e);
	ok(fits == 1 && shape.policy.attention_parts == 1, "with much memory all heads at once: %d",
	    shape.policy.attention_parts);
	ok(p.bytes[QZ_USE_KERNELS] >= 2 * 4 * 64 * 64 * (uint64_t)config.heads,
	    "which the workspace has room for: %llu", (unsigned long long)p.bytes[QZ_USE_KERNELS]);
	for (ask.budget = p.total; qz_plan_choose(&p, &shape, &ask, NULL, &e) == 1;
	     ask.budget -= 4096) {
		seen[shape.policy.attention_parts]++;
		within &= p.total <= ask.budget;
		slower &= p.seconds >= last.seconds;
		last = p;
	}
	ok(within && slower, "every plan is within its budget, and less memory is never faster");
	ok(seen[0] && seen[1] && seen[2] && !seen[4],
	    "with less in two parts, then without; never in four, which the device has not");
	ask.dev = cpu;
	ask.rates = NULL;
	ask.budget = UINT64_MAX;
	ok(qz_plan_choose(&p, &shape, &ask, NULL, &e) == 1 && shape.policy.attention_parts == 0,
	    "on the CPU there are no parts");
}

static void
check_parts(void)
{
	struct qz_net_shape shape = shape_of(256);
	struct qz_weights w;
	struct qz_net n;
	struct qz_plan p;
	struct qz_err e;
	uint64_t sum = 0;
	char *end = NULL;

	if (tiny_weights(&w, dev, &config, &e) < 0 ||
	    qz_net_plan(&p, dev, &config, w.nbytes, &lora, &shape, &e) < 0 ||
	    qz_net_open(&n, &w, &lora, &shape, &e) < 0) {
		ok(0, "%s", e.msg);
		return;
	}
	for (int u = 0; u < QZ_USE_N; u++) {
		bool none = u == QZ_USE_DEVICE ||
			    u == QZ_USE_CACHE; /* of the CPU and this policy */

		sum += p.bytes[u];
		ok(p.bytes[u] == n.plan.bytes[u] && (p.bytes[u] == 0) == none,
		    "%s: %llu bytes planned, %llu taken", qz_use_name((enum qz_use)u),
		    (unsigned long long)p.bytes[u], (unsigned long long)n.plan.bytes[u]);
	}
	ok(sum == p.total, "the total is their sum");
	end = (char *)n.workspace + n.plan.bytes[QZ_USE_KERNELS];
	ok((uint64_t)(end - (char *)n.base) == p.total - w.nbytes,
	    "the last piece ends where the memory ends");
	ok(p.bytes[QZ_USE_OPTIMIZER] == 2 * p.bytes[QZ_USE_GRADIENTS], "m and v");
	shape.optim = QZ_OPTIM_ADAMW8;
	sum = (uint64_t)lora.n_par * (2 * QZ_ADAMW8_BLOCK + 8) / QZ_ADAMW8_BLOCK;
	ok(qz_net_plan(&p, dev, &config, w.nbytes, &lora, &shape, &e) == 0 &&
		p.bytes[QZ_USE_OPTIMIZER] >= sum && p.bytes[QZ_USE_OPTIMIZER] < sum + 1024,
	    "m and v as codes with block constants: %llu bytes",
	    (unsigned long long)p.bytes[QZ_USE_OPTIMIZER]);
	qz_net_close(&n);
	qz_weights_free(&w);
}

/* A device whose host memory is another one: no plan takes more of it than there is. */
static void
check_host(void)
{
	struct qz_plan_ask ask = { .dev = dev,
		.config = &config,
		.lora = &lora,
		.weights = 100000,
		.embed = 50000,
		.device = 1000,
		.host = UINT64_MAX };
	struct qz_net_shape shape = shape_of(256);
	struct qz_plan p, less;
	uint64_t more, far;
	char text[200], want[200], a[16], b[16], c[16], f[16];
	struct qz_err e;
	int within = 1, fits;

	fits = qz_plan_choose(&p, &shape, &ask, &more, &e);
	far = p.host;
	ok(fits == 0 && p.host > p.host_embed && p.host_embed == 50000 && !more,
	    "the smallest plan has %llu bytes in host memory", (unsigned long long)p.host);
	ask.budget = p.total;
	ok(qz_plan_choose(&p, &shape, &ask, &more, &e) == 1 && p.total <= ask.budget,
	    "which fits exactly");
	ask.host = far - 1;
	fits = qz_plan_choose(&less, &shape, &ask, &more, &e);
	ok(fits == 0 && more == far && less.host <= ask.host && less.total > ask.budget,
	    "with a byte less of host memory it does not: %llu", (unsigned long long)more);
	qz_plan_short_text(&less, &ask, more, text, sizeof text);
	qz_num_bytes(less.total, a);
	qz_num_bytes(ask.budget, b);
	qz_num_bytes(far, c);
	qz_num_bytes(ask.host, f);
	snprintf(want, sizeof want,
	    "training takes %s at least, there are %s, which would do with %s of host memory, of "
	    "which "
	    "%s are free",
	    a, b, c, f);
	is(text, want, "and why");
	ask.budget = less.total;
	ok(qz_plan_choose(&p, &shape, &ask, &more, &e) == 1 && p.host <= ask.host,
	    "what it says fits, fits");
	for (ask.host = far; ask.host > 100000; ask.host -= 9999)
		if (qz_plan_choose(&p, &shape, &ask, &more, &e) == 1 && p.host > ask.host)
			within = 0;
	ok(within, "no plan takes more than there is");
	ask.host = 10;
	shape.states_host = true;
	ask.budget = UINT64_MAX;
	fits = qz_plan_choose(&p, &shape, &ask, &more, &e);
	qz_plan_short_text(&p, &ask, more, text, sizeof text);
	qz_num_bytes(p.host_states, a);
	snprintf(want, sizeof want, "training takes %s of host memory at least, 10 B are free", a);
	ok(fits == 0 && p.host == p.host_states && more == p.host, "states that must lie there");
	is(text, want, "and why");
	ask.host = p.host;
	ok(qz_plan_choose(&p, &shape, &ask, &more, &e) == 1 && !p.bytes[QZ_USE_OPTIMIZER],
	    "and fit exactly");
	qz_plan_host_text(&p, text, sizeof text);
	snprintf(want, sizeof want, "optimizer %s", a);
	is(text, want, "in words");
	ok(qz_plan_ask_device(&ask, NULL, &shape, 0, 0, &e) < 0 && e.code == QZ_EUSAGE,
	    "the CPU refuses it: %s", e.msg);
}

/* Seconds of the estimate, with a rate that makes one thing dear. */
static double
estimate(const struct qz_rates *r, double dropout, const struct qz_net_shape *shape)
{
	struct qz_lora l = lora;
	double seconds = 0;
	struct qz_err e;

	l.dropout = dropout;
	if (qz_estimate_step(&seconds, dev, &config, &l, shape, r, true, &e) < 0)
		ok(0, "%s", e.msg);
	return seconds;
}

static bool
near(double a, double b)
{
	return a > b * (1 - 1e-9) && a < b * (1 + 1e-9);
}

static void
check_estimate(void)
{
	struct qz_rates r = { .product = 1e30,
		.attention = 1e30,
		.attention_bwd = { 1e30 },
		.copy = 1e30,
		.link = 1e6,
		.launch = 1e-30,
		.drop = 1e-3,
		.drop_bwd = 2e-3 };
	struct qz_net_shape shape = shape_of(256);
	double elements = 0, codes = 2 * (double)lora.n_par, one;
	int64_t rows, cols;

	for (int p = 0; p < QZ_PROJ_N; p++) {
		qz_proj_shape(&config, (enum qz_proj)p, &rows, &cols);
		elements += (double)(256 * cols * config.layers);
	}
	ok(estimate(&r, 0, &shape) < 1e-6, "no dropout, nothing in host memory: no time");
	one = estimate(&r, 0.1, &shape);
	ok(near(one, 3e-3 * elements), "dropout of %g elements: %g s", elements, one);
	shape.policy.x_only = config.layers;
	one = estimate(&r, 0.1, &shape);
	ok(one > 3e-3 * elements && one < 4e-3 * elements,
	    "layers that are computed again draw their masks again: %g s", one);
	r.drop = r.drop_bwd = 0;
	shape.states_host = true;
	ok(near(estimate(&r, 0, &shape), 2 * 8 / 2 * (double)lora.n_par / (0.8 * r.link)),
	    "adamw's states in host memory, both ways at once");
	shape.optim = QZ_OPTIM_ADAMW8;
	ok(near(estimate(&r, 0, &shape), codes / (0.8 * r.link)), "and adamw8bit's");
}

static const struct {
	struct qz_policy policy;
	const char *text;
} texts[] = {
	{ { 0 }, "keeps all activations" },
	{ { .no_mlp = 3 }, "computes gate and up of 3 of 8 layers again" },
	{ { .x_only = 2, .no_mlp = 6 }, "computes 2 of 8 layers again" },
	{ { .attention_parts = 1 },
	    "keeps all activations; attention's gradients by all heads at once" },
	{ { .no_mlp = 1, .attention_parts = 4 },
	    "computes gate and up of 1 of 8 layers again; attention's gradients by 4 parts of the "
	    "heads" },
};

int
main(void)
{
	struct qz_err e;

	dev = qz_device_open("cpu", 1, &e);
	config = tiny_config("qwen3", true);
	config.layers = 8;
	if (!dev || qz_lora_uniform(&lora, &config, 4, 8, 0, QZ_PROJ_ALL, &e) < 0)
		return ok(0, "%s", e.msg), done();
	check_budgets();
	check_logits();
	check_parts();
	check_ways();
	check_host();
	check_estimate();
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char got[200];

		qz_policy_text(&texts[i].policy, 8, got, sizeof got);
		is(got, texts[i].text, "a policy in words");
	}
	qz_lora_free(&lora);
	qz_device_close(dev);
	return done();
}
