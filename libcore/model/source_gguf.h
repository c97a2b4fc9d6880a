/* source_gguf - a GGUF model's files, and from its keys to config.json; for source_gguf*.c alone. */
#ifndef QZ_SOURCE_GGUF_H
#define QZ_SOURCE_GGUF_H

#include "libcore/format/gguf_read.h"
#include "libcore/model/config.h"

struct gguf_part {
	struct qz_in *in;
	struct qz_gguf g;
};

struct gguf_parts { /* zeroed: none */
	struct gguf_part *parts;
	int n;
};

/* All files of the model that in is the first of; takes in, also when it fails. */
int gguf_parts_open(struct gguf_parts *p, struct qz_in *in, struct qz_err *e);
void gguf_parts_close(struct gguf_parts *p);
/* The tensor and the file that has it, or NULL. */
const struct qz_gguf_tensor *gguf_parts_tensor(
    const struct gguf_parts *p, const char *name, const struct gguf_part **part);

/* rope_freqs: the tensor's head_dim/2 factors, or NULL when there is none. */
int source_gguf_config(struct qz_config *c, const struct gguf_parts *files, const float *rope_freqs,
    uint64_t n_freqs, struct qz_err *e);
/* The vocabulary as tokenizer.json and tokenizer_config.json: 1, or 0 when the file has none. */
int source_gguf_text(
    struct qz_gguf *g, struct qz_buf *tokenizer, struct qz_buf *config, struct qz_err *e);

#endif
