/* plan - the fastest way to train that fits into the memory there is.
 *
 * Ways differ in what the backward pass finds in memory and where it lies (struct qz_policy).  On a device
 * whose rates are known the one that is predicted to take least time is chosen; without rates the one
 * that computes least again, and with what is left over the one that decodes the head least often. */
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
	uint64_t host;   /* bytes of host memory for what may lie there */
};

/* Fills what a GPU adds to a plan for batches of shape->room: rates, which it measures into *rates, what its driver
 * and libraries take, the budget: memory, or with 0 all that the device has, and free host memory.  Loading the
 * libraries is part of measuring.  loaded: bytes of weights that are on the device already.  Other devices have the
 * budget alone, and refuse shape->states_host (QZ_EUSAGE): their memory is the host's. */
int qz_plan_ask_device(struct qz_plan_ask *ask, struct qz_rates *rates,
    const struct qz_net_shape *shape, uint64_t memory, uint64_t loaded, struct qz_err *e);

/* Sets shape->policy, and plan to what it takes; without rates, when there is memory left, shape->logits_bytes too.  1: it fits; 0: none does, and plan is the smallest that host memory
 * suffices for, or where there is not enough for any, the one that takes least of it; -1: failure.  more_host, or NULL:
 * where none fits for want of host memory, the least that would do, else 0. */
int qz_plan_choose(struct qz_plan *plan, struct qz_net_shape *shape, const struct qz_plan_ask *ask,
    uint64_t *more_host, struct qz_err *e);

/* Why none fits: "training takes 9.12 GB at least, there are 8.00 GB". */
void qz_plan_short_text(const struct qz_plan *p, const struct qz_plan_ask *ask, uint64_t more_host,
    char *out, size_t n);
/* What lies in host memory: "activations 9.00 GB, embedding 262 MB, optimizer 85.2 MB". */
void qz_plan_host_text(const struct qz_plan *p, char *out, size_t n);

/* "keeps all activations", "computes gate and up of 12 of 30 layers again; the inputs of 30 layers wait in
 * host memory". */
void qz_policy_text(const struct qz_policy *p, int64_t layers, char *out, size_t n);

#endif
