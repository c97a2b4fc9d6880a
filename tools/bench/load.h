/* load - a model, with an adapter or without, ready to compute. */
#ifndef QZ_BENCH_LOAD_H
#define QZ_BENCH_LOAD_H

#include "libcore/model/adapter.h"
#include "libcore/model/net.h"
#include "libcore/model/source.h"

struct bench_model {
	struct qz_source *source;
	struct qz_weights weights;
	struct qz_adapter adapter;
	struct qz_net net;
};

/* Weights and adapter; scale multiplies the adapter's own. */
int bench_model_load(struct bench_model *m, struct qz_dev *d, const char *path, const char *adapter,
    double scale, struct qz_err *e);
/* The net for batches of this shape. */
int bench_model_open(struct bench_model *m, const struct qz_net_shape *shape, struct qz_err *e);
void bench_model_free(struct bench_model *m);

#endif
