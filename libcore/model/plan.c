#include "libcore/model/plan.h"

#include <stdio.h>

/* Dearer by one with each step: keep all, then gate and up again layer by layer, then whole layers. */
static struct qz_policy
policy_number(int64_t i, int64_t layers)
{
	if (i <= layers)
		return (struct qz_policy){ .no_mlp = i };
	return (struct qz_policy){ .x_only = i - layers, .no_mlp = 2 * layers - i };
}

int
qz_plan_choose(struct qz_plan *plan, struct qz_net_shape *shape, struct qz_dev *dev,
    const struct qz_config *c, uint64_t weights, const struct qz_lora *l, uint64_t budget,
    struct qz_err *e)
{
	int64_t lo = 0, hi = 2 * c->layers;
	struct qz_policy best;

	/* Memory falls as the number rises: the first that fits is found by halving. */
	while (lo < hi) {
		int64_t mid = lo + (hi - lo) / 2;

		shape->policy = policy_number(mid, c->layers);
		if (qz_net_plan(plan, dev, c, weights, l, shape, e) < 0)
			return -1;
		if (plan->total <= budget)
			hi = mid;
		else
			lo = mid + 1;
	}
	best = policy_number(lo, c->layers);
	shape->policy = best;
	if (qz_net_plan(plan, dev, c, weights, l, shape, e) < 0)
		return -1;
	return plan->total <= budget;
}

void
qz_policy_text(const struct qz_policy *p, int64_t layers, char *out, size_t n)
{
	if (p->x_only)
		snprintf(out, n, "computes %lld of %lld layers again", (long long)p->x_only,
		    (long long)layers);
	else if (p->no_mlp)
		snprintf(out, n, "computes gate and up of %lld of %lld layers again",
		    (long long)p->no_mlp, (long long)layers);
	else
		snprintf(out, n, "keeps all activations");
}
