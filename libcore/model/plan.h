/* plan - the fastest way to train that fits into the memory there is. */
#ifndef QZ_PLAN_H
#define QZ_PLAN_H

#include "libcore/model/net.h"

/* Sets shape->policy to the one that computes least again and fits into `budget` bytes, and plan to what
 * it takes.  1: it fits; 0: none does, and plan is the smallest; -1: failure. */
int qz_plan_choose(struct qz_plan *plan, struct qz_net_shape *shape, struct qz_dev *dev,
    const struct qz_config *c, uint64_t weights, const struct qz_lora *l, uint64_t budget,
    struct qz_err *e);

/* "keeps all activations", "computes gate and up of 12 of 30 layers again". */
void qz_policy_text(const struct qz_policy *p, int64_t layers, char *out, size_t n);

#endif
