/* merge - W + sum of scale B A over a model's tensors, read, computed and written at the same time. */
#ifndef QZ_MERGE_H
#define QZ_MERGE_H

#include "libcore/model/adapter.h"
#include "libcore/model/feed.h"
#include "tools/common/meter.h"
#include "tools/merge/sink.h"

struct added { /* an adapter as it is added */
	const char *path;
	struct qz_adapter a;
	double scale;  /* the user's: times the adapter's own */
	float *values; /* a.values on the device */
};

struct merge {
	const struct qz_config *config;
	struct added *adapters;
	size_t n;
	enum qz_dtype type; /* of the result; 0: each tensor's own, bf16 for quantized ones */
	bool any_base;
	struct qz_dev *d;
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
