/* zst - zstd frames: whole buffers out, streams in. */
#ifndef QZ_ZST_H
#define QZ_ZST_H

#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include <stdbool.h>
#include <stdint.h>

struct qz_zst; /* a compressor that appends to a buffer */
struct qz_zst *qz_zst_new(int level, struct qz_err *e);
int qz_zst_add(
    struct qz_zst *z, struct qz_buf *out, const void *data, size_t n, bool last, struct qz_err *e);
void qz_zst_free(struct qz_zst *z);

struct qz_unzst; /* a decompressor of one frame, window at most 128 MiB */
struct qz_unzst *qz_unzst_new(struct qz_err *e);
void qz_unzst_reset(struct qz_unzst *z);
/* Takes from in, gives to out; both counts are set to what was used.  1: the frame ended, 0: go on,
 * -1: QZ_EDATA. */
int qz_unzst_step(
    struct qz_unzst *z, const void *in, size_t *n_in, void *out, size_t *n_out, struct qz_err *e);
void qz_unzst_free(struct qz_unzst *z);

#endif
