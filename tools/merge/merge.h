/* merge - W + sum of scale B A over a model's tensors, read, computed and written at the same time. */
#ifndef QZ_MERGE_TOOL_H
#define QZ_MERGE_TOOL_H

#include "libcore/model/feed.h"
#include "libcore/model/merge.h"
#include "tools/common/meter.h"
#include "tools/merge/sink.h"

struct merge {
	struct qz_merge m;
	enum qz_dtype type;    /* of the result; 0: each tensor's own, bf16 for quantized ones */
	uint64_t n, n_changed; /* tensors that merge_run() wrote; that an adapter changed */
};

/* The type that a tensor of the base gets. */
enum qz_dtype merge_type(const struct merge *m, const struct qz_tensor *t);
/* t as it is in the result, planned. */
int merge_plan(
    const struct merge *m, const struct qz_tensor *t, struct qz_tensor *out, struct qz_err *e);
/* All tensors of feed into k, between its begin and its end.  QZ_EDATA names a tensor that an adapter was not
 * trained on, or whose sum is not finite. */
int merge_run(struct merge *m, const struct qz_feed *feed, struct sink *k, struct qz_meter *meter,
    struct qz_err *e);

#endif
