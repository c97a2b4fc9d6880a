/* merge - W + sum of scale B A, a piece of a tensor at a time: what qz-merge writes, and qz-gguf before it
 * quantizes.  float32: the sum over the rank in index order, then scaled, then added (ops.def, merge). */
#ifndef QZ_MERGE_H
#define QZ_MERGE_H

#include "libcore/model/adapter.h"
#include "libcore/model/panel.h"

struct qz_added { /* an adapter as it is added */
	const char *path;
	struct qz_adapter a;
	double scale;  /* the user's: times the adapter's own */
	float *values; /* a.values on the device; on the CPU the same memory */
};

struct qz_merge {
	struct qz_dev *d;
	const struct qz_config *config;
	struct qz_added *adapters;
	size_t n;
	bool any_base; /* of adapters that were trained on another */
};

/* Reads the adapter that x->path names; it fits m->config. */
int qz_merge_load(struct qz_merge *m, struct qz_added *x, struct qz_err *e);
void qz_merge_drop(struct qz_merge *m, struct qz_added *x);
/* The piece's rows with what the adapters have for its tensor, in panel->x; *changed: any of them has
 * something, else the panel is left alone.  QZ_EDATA names a tensor that an adapter was not trained on; it is
 * told with the tensor's last piece. */
int qz_merge_add(const struct qz_merge *m, struct qz_panel *panel, const struct qz_piece *c,
    bool *changed, struct qz_err *e);

#endif
