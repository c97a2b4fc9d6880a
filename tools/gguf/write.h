/* write - the data of a planned GGUF file: read, converted and written at the same time. */
#ifndef QZ_GGUF_TOOL_WRITE_H
#define QZ_GGUF_TOOL_WRITE_H

#include "libcore/model/feed.h"
#include "libcore/model/merge.h"
#include "tools/common/meter.h"
#include "tools/gguf/files.h"

/* m: adapters that are added first; its n may be 0.  Everything after the header.  Values that f16 cannot hold are counted in the plan. */
int write_data(struct plan *p, const struct qz_feed *feed, const struct qz_merge *m,
    struct files *out, struct qz_meter *meter, struct qz_err *e);

#endif
