/* scale - dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018), for devices whose
 * activations are float16.
 *
 * The gradient of the loss times a factor has the numbers that float16 would lose at its lower end; when some go
 * beyond its upper end the gradient is not finite, its step is skipped and the factor halved.  After
 * QZ_SCALE_GROW steps that were not skipped it is doubled.  It is a power of two, so that scaling rounds nothing.
 * At factor 1 scaling cannot be the reason: then, as without scaling, a gradient that is not finite ends the
 * run. */
#ifndef QZ_SCALE_H
#define QZ_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include "libcore/base/json.h"

/* The first factor gives a step of 4096 trained tokens logits' gradients up to 8; doubling is tried about as often
 * as it can cost a step without being noticed.  The largest one stays far from float32's end. */
enum { QZ_SCALE_FIRST = 1 << 15, QZ_SCALE_GROW = 2000 };
static const double QZ_SCALE_MOST = 0x1p40;

struct qz_scale {
	bool on;
	double factor;   /* 1 when off */
	int64_t good;    /* steps since it changed or one was skipped */
	int64_t skipped; /* steps of the run */
};

enum qz_scale_next { QZ_SCALE_UPDATE, QZ_SCALE_SKIP, QZ_SCALE_STOP };

void qz_scale_begin(struct qz_scale *s, bool on);
/* What to do with a step whose gradient is finite or not; the factor is then that of the next step. */
enum qz_scale_next qz_scale_step(struct qz_scale *s, bool finite);

/* As a member of a checkpoint's head, with a comma before it; nothing when there is nothing to keep. */
void qz_scale_put(const struct qz_scale *s, struct qz_buf *out);
/* From a head of which `step` steps are done.  A checkpoint without scaling leaves the factor as it is; one
 * with it gives a run without scaling its skipped steps alone. */
int qz_scale_get(struct qz_scale *s, const struct qz_json *head, int64_t step, struct qz_err *e);

#endif
