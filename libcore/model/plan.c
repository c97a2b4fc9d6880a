#include "libcore/model/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libcore/base/memory.h"
#include "libcore/base/num.h"

enum { CHUNK_MIN = 1024, CHUNKS = 10, HOST_PARTS = 4, MORE_LOGITS = 4 };
/* Host memory that no plan takes: the tool's own, a window of the base, what the driver pins. */
static const uint64_t HOST_LEFT = 256 << 20;

static uint64_t
host_free(void)
{
	uint64_t free = qz_memory_free("");

	return free > HOST_LEFT ? free - HOST_LEFT : 0;
}

int
qz_plan_ask_device(struct qz_plan_ask *ask, struct qz_rates *rates,
    const struct qz_net_shape *shape, uint64_t memory, uint64_t loaded, struct qz_err *e)
{
	const struct qz_backend *k = ask->dev->k;

	if (k->used(ask->dev)) {
		uint64_t before = k->used(ask->dev), after;

		if (qz_rates_get(rates, ask->dev, ask->config, ask->lora, &shape->room,
			shape->any_order, e) < 0)
			return -1;
		/* What libraries took when the rates were measured they will take again. */
		after = k->used(ask->dev);
		if (after < before + rates->libraries)
			after = before + rates->libraries;
		ask->rates = rates;
		ask->device = after - loaded;
		ask->host = host_free();
	} else if (shape->states_host) {
		return qz_fail(e, QZ_EUSAGE,
		    "--optim-offload is for GPUs: on %s the optimizer's states are in host memory "
		    "anyway",
		    k->name);
	}
	/* What is loaded already is no longer in what the device can give. */
	ask->budget = memory ? memory : k->memory(ask->dev) + ask->device + loaded;
	return 0;
}

/* Dearer by one with each step: keep all, then gate and up again layer by layer, then whole layers, or the
 * attention part of layers in host memory. */
static void
number(struct qz_policy *p, int64_t i, int64_t layers, bool away)
{
	int64_t more = i <= layers ? 0 : i - layers;

	p->attn_host = away ? more : 0;
	p->x_only = away ? 0 : more;
	p->no_mlp = (i <= layers ? i : layers) - p->x_only;
}

static uint64_t
weights_of(const struct qz_plan_ask *ask, const struct qz_policy *p)
{
	return ask->weights - (p->embed_host ? ask->embed : 0);
}

static int
count(struct qz_plan *plan, const struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    struct qz_err *e)
{
	if (qz_net_plan(plan, ask->dev, ask->config, weights_of(ask, &shape->policy), ask->lora,
		shape, e) < 0)
		return -1;
	plan->bytes[QZ_USE_DEVICE] = ask->device;
	plan->total += ask->device;
	plan->host_embed = shape->policy.embed_host ? ask->embed : 0;
	plan->host += plan->host_embed;
	return 0;
}

/* Are the projections in few bits? */
static bool
quantized(const struct qz_plan_ask *ask)
{
	double elements = 0;
	int64_t rows, cols;

	for (int p = 0; p < QZ_PROJ_N; p++) {
		qz_proj_shape(ask->config, (enum qz_proj)p, &rows, &cols);
		elements += (double)rows * (double)cols * (double)ask->config->layers;
	}
	return (double)ask->weights < elements * (double)ask->dev->k->act_size;
}

/* What shape's policy takes, and how long (when there are rates). */
static int
take(struct qz_plan *plan, const struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    struct qz_err *e)
{
	if (count(plan, shape, ask, e) < 0)
		return -1;
	if (!ask->rates)
		return 0;
	return qz_estimate_step(
	    &plan->seconds, ask->dev, ask->config, ask->lora, shape, ask->rates, quantized(ask), e);
}

/* The least that must be computed again for shape's other choices to fit, by halving: memory falls as the
 * number rises.  0: nothing fits. */
static int
least_again(struct qz_plan *plan, struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    bool away, struct qz_err *e)
{
	int64_t lo = 0, hi = 2 * ask->config->layers;

	while (lo < hi) {
		int64_t mid = lo + (hi - lo) / 2;

		number(&shape->policy, mid, ask->config->layers, away);
		if (count(plan, shape, ask, e) < 0)
			return -1;
		if (plan->total <= ask->budget)
			hi = mid;
		else
			lo = mid + 1;
	}
	number(&shape->policy, lo, ask->config->layers, away);
	return count(plan, shape, ask, e) < 0 ? -1 : plan->total <= ask->budget;
}

/* What is left keeps weights decoded, as many layers as fit. */
static int
fill_cache(struct qz_plan *plan, struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    struct qz_err *e)
{
	int64_t lo = 0, hi = ask->config->layers;

	while (lo < hi) {
		int64_t mid = hi - (hi - lo) / 2;

		shape->policy.cached = mid;
		if (count(plan, shape, ask, e) < 0)
			return -1;
		if (plan->total <= ask->budget)
			lo = mid;
		else
			hi = mid - 1;
	}
	shape->policy.cached = lo;
	return 0;
}

/* What is left holds more rows of logits: the head is decoded for each lot of them, forward and backward. */
static int
more_logits(struct qz_plan *plan, struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    struct qz_err *e)
{
	struct qz_net_shape more = *shape;
	struct qz_plan p;

	more.logits_bytes *= MORE_LOGITS;
	if (count(&p, &more, ask, e) < 0)
		return -1;
	if (p.total > ask->budget)
		return 0;
	*plan = p;
	*shape = more;
	return 0;
}

/* Compares ways by time where it is known; else the first that fits stays. */
struct search {
	const struct qz_plan_ask *ask;
	/* Of the best that fits; of the smallest that host memory suffices for; of those for which it does not the
	 * one with least there that fits on the device, or else the smallest. */
	struct qz_plan plan, least, far;
	struct qz_policy policy, least_policy, far_policy;
	bool found, any, any_far, far_fits;
};

/* Keeps the smallest that do not fit. */
static void
note(struct search *s, const struct qz_plan *plan, const struct qz_policy *policy, bool fits)
{
	bool better = fits ? !s->far_fits || plan->host < s->far.host
			   : !s->far_fits && plan->total < s->far.total;

	if (plan->host <= s->ask->host) {
		if (s->any && plan->total >= s->least.total)
			return;
		s->any = true;
		s->least = *plan;
		s->least_policy = *policy;
	} else if (!s->any_far || better) {
		s->any_far = true;
		s->far_fits = fits;
		s->far = *plan;
		s->far_policy = *policy;
	}
}

static int
try(struct search *s, struct qz_net_shape *shape, bool away, struct qz_err *e)
{
	struct qz_plan plan;
	int found = least_again(&plan, shape, s->ask, away, e);

	if (found < 0)
		return -1;
	note(s, &plan, &shape->policy, found);
	if (!found || plan.host > s->ask->host || (s->found && !s->ask->rates))
		return 0;
	if (s->ask->rates && quantized(s->ask) && fill_cache(&plan, shape, s->ask, e) < 0)
		return -1;
	if (take(&plan, shape, s->ask, e) < 0)
		return -1;
	if (!s->found || plan.seconds < s->plan.seconds) {
		s->plan = plan;
		s->policy = shape->policy;
	}
	s->found = true;
	return 0;
}

/* The chunks that are tried: all tokens, then half as many each time. */
static int64_t
chunk_of(int64_t tokens, int i)
{
	int64_t chunk = (tokens + (1 << i) - 1) >> i;

	return i == 0 ? 0 : (chunk + 127) / 128 * 128;
}

/* Ways of the MLP and of attention, with the embedding and the inputs where they are in `at`. */
static int
try_parts(struct search *s, struct qz_net_shape *shape, const struct qz_policy *at, bool away,
    struct qz_err *e)
{
	const struct qz_rates *r = s->ask->rates;

	for (int parts = 0; parts <= QZ_PARTS_MAX; parts++)
		for (int i = 0; i < CHUNKS; i++) {
			int64_t chunk = chunk_of(shape->room.tokens, i);

			if ((i > 0 && chunk < CHUNK_MIN) ||
			    (parts > 0 && (!r || r->attention_bwd[parts] <= 0)))
				break;
			shape->policy = *at;
			shape->policy.attention_parts = parts;
			shape->policy.chunk = chunk;
			if (try(s, shape, away, e) < 0)
				return -1;
		}
	return 0;
}

int
qz_plan_choose(struct qz_plan *plan, struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    uint64_t *more_host, struct qz_err *e)
{
	struct search s = { .ask = ask };
	bool apart = ask->device > 0; /* host memory is something else than the device's */

	for (int embed = 0; embed <= (apart && ask->embed); embed++)
		for (int host = 0; host <= (apart ? HOST_PARTS : 0); host++) {
			struct qz_policy at = { .embed_host = embed,
				.x_host = ask->config->layers * host / HOST_PARTS };

			if (try_parts(&s, shape, &at, false, e) < 0)
				return -1;
			if (host == HOST_PARTS && try_parts(&s, shape, &at, true, e) < 0)
				return -1;
		}
	*plan = s.found ? s.plan : s.any ? s.least : s.far;
	shape->policy = s.found ? s.policy : s.any ? s.least_policy : s.far_policy;
	if (more_host)
		*more_host = !s.found && s.far_fits ? s.far.host : 0;
	if (s.found && !ask->rates && more_logits(plan, shape, ask, e) < 0)
		return -1;
	return s.found;
}

static void
add(char *out, size_t n, const char *fmt, ...)
{
	size_t at = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out + at, n - at, fmt, ap);
	va_end(ap);
}

void
qz_plan_short_text(
    const struct qz_plan *p, const struct qz_plan_ask *ask, uint64_t more_host, char *out, size_t n)
{
	char need[16], have[16], host[16], more[16];

	qz_num_bytes(p->total, need);
	qz_num_bytes(ask->budget, have);
	qz_num_bytes(ask->host, host);
	qz_num_bytes(more_host ? more_host : p->host, more);
	if (p->total <= ask->budget) {
		snprintf(
		    out, n, "training takes %s of host memory at least, %s are free", more, host);
		return;
	}
	snprintf(out, n, "training takes %s at least, there are %s", need, have);
	if (more_host)
		add(out, n, ", which would do with %s of host memory, of which %s are free", more,
		    host);
}

void
qz_plan_host_text(const struct qz_plan *p, char *out, size_t n)
{
	const struct {
		const char *name;
		uint64_t bytes;
	} rows[] = {
		{ "activations", p->host - p->host_embed - p->host_states },
		{ "embedding", p->host_embed },
		{ "optimizer", p->host_states },
	};
	char bytes[16];

	*out = '\0';
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!rows[i].bytes)
			continue;
		qz_num_bytes(rows[i].bytes, bytes);
		add(out, n, "%s%s %s", *out ? ", " : "", rows[i].name, bytes);
	}
}

void
qz_policy_text(const struct qz_policy *p, int64_t layers, char *out, size_t n)
{
	long long all = (long long)layers;

	*out = '\0';
	if (p->x_only)
		add(out, n, "computes %lld of %lld layers again", (long long)p->x_only, all);
	else if (p->no_mlp)
		add(out, n, "computes gate and up of %lld of %lld layers again",
		    (long long)p->no_mlp, all);
	else
		add(out, n, "keeps all activations");
	if (p->x_host)
		add(out, n, "; the inputs of %lld layers wait in host memory",
		    (long long)p->x_host);
	if (p->attn_host)
		add(out, n, "; so does attention of %lld layers", (long long)p->attn_host);
	if (p->chunk)
		add(out, n, "; MLPs take %lld tokens at a time", (long long)p->chunk);
	if (p->cached)
		add(out, n, "; weights of %lld layers stay decoded", (long long)p->cached);
	if (p->attention_parts == 1)
		add(out, n, "; attention's gradients by all heads at once");
	else if (p->attention_parts)
		add(out, n, "; attention's gradients by %d parts of the heads", p->attention_parts);
	if (p->embed_host)
		add(out, n, "; the embedding lies in host memory");
}
