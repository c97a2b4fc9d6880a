/* random - models and rows that no file holds: for timing, where the numbers do not matter but are not
 * zeros.  The same seed gives the same bytes. */
#ifndef QZ_RANDOM_H
#define QZ_RANDOM_H

#include "libcore/model/batch.h"
#include "libcore/model/weights.h"

/* All tensors that the config asks for: projections as NF4 with double quantization, the rest bfloat16, at
 * sizes that keep activations near 1.  nbytes, embed, when not NULL: only what they would take of the
 * device, and the embedding of that (weights.h). */
int qz_random_weights(struct qz_weights *w, struct qz_dev *dev, const struct qz_config *c,
    uint64_t seed, bool embed_host, uint64_t *nbytes, uint64_t *embed, struct qz_err *e);
/* n_rows rows of `length` tokens, each one document, every token trained. */
int qz_random_data(struct qz_data *d, int64_t n_rows, int64_t length, int64_t vocab, uint64_t seed,
    struct qz_err *e);

#endif
