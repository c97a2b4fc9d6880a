/* panel - rows of a weight on a device, as float32: loaded from a piece, changed, stored in a type.
 * On the CPU, where device memory is ordinary memory, nothing is copied that need not be. */
#ifndef QZ_PANEL_H
#define QZ_PANEL_H

#include "libcore/model/pieces.h"

struct qz_panel {
	struct qz_dev *d;
	float *x; /* (rows, cols), device memory; the panel's own */
	int64_t rows, cols;
	const float *importance; /* (cols) host memory: what qz_panel_store() weighs columns of ggml
	                          * blocks by; NULL: all alike */
	/* The rest is private. */
	bool host; /* device memory is ordinary memory */
	struct qz_panel_memory {
		void *p;
		size_t cap;
	} in, values, out, weights;
	const void *held; /* the tensor that lies in `in` on a device */
};

void qz_panel_init(struct qz_panel *p, struct qz_dev *d);
void qz_panel_free(struct qz_panel *p);
/* x becomes the rows of the piece. */
int qz_panel_load(struct qz_panel *p, const struct qz_piece *c, struct qz_err *e);
/* x as `type` into `out` (host memory, as large as qz_dtype_nbytes says): plain types rounded once, ggml
 * blocks quantized.  *bad: the first element that is NaN or infinite, in what was stored (of blocks: in
 * x), or -1.  Waits. */
int qz_panel_store(
    struct qz_panel *p, enum qz_dtype type, void *out, int64_t *bad, struct qz_err *e);
/* Both: a piece as `type`.  x may be left as it was. */
int qz_panel_convert(struct qz_panel *p, const struct qz_piece *c, enum qz_dtype type, void *out,
    int64_t *bad, struct qz_err *e);
/* Only *bad, of a piece of a plain type that stays as it is. */
int qz_panel_check(struct qz_panel *p, const struct qz_piece *c, int64_t *bad, struct qz_err *e);
/* The same of x. */
int qz_panel_finite(struct qz_panel *p, int64_t *bad, struct qz_err *e);

#endif
