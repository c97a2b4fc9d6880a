/* The plan of memory: what it counts is what is taken, and the policy follows the budget. */
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

	*fits = qz_plan_choose(&p, &shape, &ask, &e);
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

static const struct {
	struct qz_policy policy;
	const char *text;
} texts[] = {
	{ { 0 }, "keeps all activations" },
	{ { .no_mlp = 3 }, "computes gate and up of 3 of 8 layers again" },
	{ { .x_only = 2, .no_mlp = 6 }, "computes 2 of 8 layers again" },
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
	check_parts();
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char got[200];

		qz_policy_text(&texts[i].policy, 8, got, sizeof got);
		is(got, texts[i].text, "a policy in words");
	}
	qz_lora_free(&lora);
	qz_device_close(dev);
	return done();
}
