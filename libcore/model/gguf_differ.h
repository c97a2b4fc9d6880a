/* gguf_differ - where llama.cpp splits text in another way than the model's own tokenizer, told from the
 * vocabulary and tokenizer.json alone: only what this model can meet is said. */
#ifndef QZ_GGUF_DIFFER_H
#define QZ_GGUF_DIFFER_H

#include "libcore/model/gguf_vocab.h"

/* A line for each difference, into out; nothing when there is no tokenizer.json to compare with. */
void qz_gguf_differ(const struct qz_gguf_vocab *v, struct qz_buf *out);

#endif
