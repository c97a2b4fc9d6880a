/* plan - the fastest way to train that fits into the memory there is.
 *
 * Ways differ in what the backward pass finds in memory and where it lies (struct qz_policy).  On a device
 * whose rates are known the one that is predicted to take least time is chosen; without rates the one
 * that computes least again. */
#ifndef QZ_PLAN_H
#define QZ_PLAN_H

#include "libcore/model/estimate.h"

struct qz_plan_ask {
	struct qz_dev *dev;
	const struct qz_config *config;
	const struct qz_lora *lora;
	const struct qz_rates *rates; /* or NULL */
	uint64_t weights,
	    embed;       /* bytes of all of them, and of an embedding that may lie elsewhere */
	uint64_t device; /* bytes that driver and libraries take */
	uint64_t budget; /* bytes for everything */
};

/* Fills what a GPU adds to a plan for batches of shape->room: rates, which it measures into *rates, what its driver
 * and libraries take, and the budget: memory, or with 0 all that the device has.  Loading the libraries is part of
 * measuring.  loaded: bytes of weights that are on the device already.  Other devices have the budget alone. */
int qz_plan_ask_device(struct qz_plan_ask *ask, struct qz_rates *rates,
    const struct qz_net_shape *shape, uint64_t memory, uint64_t loaded, struct qz_err *e);

/* Sets shape->policy, and plan to what it takes.  1: it fits; 0: none does, and plan is the smallest; -1:
 * failure. */
int qz_plan_choose(struct qz_plan *plan, struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    struct qz_err *e);

/* "keeps all activations", "computes gate and up of 12 of 30 layers again; the inputs of 30 layers wait in
 * host memory". */
void qz_policy_text(const struct qz_policy *p, int64_t layers, char *out, size_t n);

#endif
