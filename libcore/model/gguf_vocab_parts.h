/* gguf_vocab_parts - what gguf_vocab.c and gguf_vocab_json.c, which fill the same struct, share. */
#ifndef QZ_GGUF_VOCAB_PARTS_H
#define QZ_GGUF_VOCAB_PARTS_H

#include "libcore/model/gguf_vocab.h"

/* Room for n tokens, with scores or without. */
int qz_vocab_alloc(struct qz_gguf_vocab *v, size_t n, bool scores, struct qz_err *e);
/* Token id is this text (copied); beyond the embedding's rows is QZ_EDATA. */
int qz_vocab_set(
    struct qz_gguf_vocab *v, uint64_t id, const char *s, size_t n, int type, struct qz_err *e);
/* added_tokens of tokenizer.json; `taken`: leave alone what the vocabulary has already. */
int qz_vocab_add(struct qz_gguf_vocab *v, bool taken, struct qz_err *e);
/* Names ids that have no token: the embedding has rows for them. */
int qz_gguf_vocab_pad(struct qz_gguf_vocab *v, struct qz_err *e);

struct qz_vocab_slot {
	const char *s;
	size_t n, id;
};
int qz_vocab_by_text(const void *a, const void *b); /* compares two slots */
/* All tokens by text (free it); two of the same text are QZ_EDATA, because llama.cpp aborts on them. */
struct qz_vocab_slot *qz_vocab_sort(const struct qz_gguf_vocab *v, struct qz_err *e);

/* Everything from v->tokenizer, a parsed tokenizer.json. */
int qz_vocab_from_json(struct qz_gguf_vocab *v, const struct qz_config *c, struct qz_err *e);

#endif
