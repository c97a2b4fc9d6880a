/* source_gguf - from GGUF keys to config.json; for source_gguf*.c alone. */
#ifndef QZ_SOURCE_GGUF_H
#define QZ_SOURCE_GGUF_H

#include "libcore/format/gguf_read.h"
#include "libcore/model/config.h"

/* rope_freqs: the tensor's head_dim/2 factors, or NULL when there is none. */
int source_gguf_config(struct qz_config *c, const struct qz_gguf *g, const float *rope_freqs,
    uint64_t n_freqs, struct qz_err *e);
/* The vocabulary as tokenizer.json and tokenizer_config.json: 1, or 0 when the file has none. */
int source_gguf_text(
    struct qz_gguf *g, struct qz_buf *tokenizer, struct qz_buf *config, struct qz_err *e);

#endif
