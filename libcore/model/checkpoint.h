/* checkpoint - everything that a run needs to go on, in a shard of kind "checkpoint".
 *
 * Tensors "adapter", "optimizer.m", "optimizer.v", and of an 8-bit optimizer "optimizer.m.absmax",
 * "optimizer.v.absmax": the flat buffers as they are on the device.  The head's meta: "step" (done), "device" (backend), "settings" {NAME: value, ...}: options and digests of inputs,
 * all of which must be the same when the run goes on; where the loss is scaled "scale" {"factor", "good",
 * "skipped"} (scale.h).  The place in the data and the state of all random
 * numbers follow from step and settings (train.h). */
#ifndef QZ_CHECKPOINT_H
#define QZ_CHECKPOINT_H

#include "libcore/model/train.h"

/* settings: members of a JSON object.  chain: provenance of the inputs.  Not yet committed. */
int qz_checkpoint_write(struct qz_train *t, const char *settings, const char *chain,
    struct qz_out *o, struct qz_err *e);
/* Puts t, begun with the same settings, where the checkpoint's run was.  A setting that differs is QZ_EUSAGE
 * that names it.  device: backend of the checkpoint, for the caller to compare. */
int qz_checkpoint_read(struct qz_train *t, const char *settings, const char *path, char *device,
    size_t n, struct qz_err *e);

#endif
