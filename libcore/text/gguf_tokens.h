/* gguf_tokens - a GGUF file's vocabulary as the tokenizer.json and tokenizer_config.json that mean the
 * same, so that whatever reads tokenizers sees Hugging Face files only.
 *
 * A "gpt2" vocabulary names its way of cutting text ("pre"); a "llama" one (SentencePiece BPE) has scores
 * instead of merges: the merges are all pairs of pieces that make a piece, best score first. */
#ifndef QZ_GGUF_TOKENS_H
#define QZ_GGUF_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

enum { QZ_GGUF_TEMPLATES_MAX = 63 };

/* The tokenizer.ggml.* keys, parsed.  Borrowed. */
struct qz_gguf_tokens {
	const char *model, *pre; /* pre: NULL when absent */
	uint64_t n;
	const char *const *tokens; /* (n) */
	const size_t *lens;        /* (n) */
	const float *scores;       /* (n) or NULL */
	const int32_t *types;      /* (n) or NULL: all normal */
	uint64_t n_merges;
	const char *const *merges;              /* (n_merges) "left right", NUL-terminated */
	int64_t bos, eos, unk, pad;             /* ids; -1 absent */
	int add_bos, add_eos, add_space_prefix; /* 0, 1; -1 absent */
	const char *chat_template;              /* or NULL */
	struct qz_gguf_template {
		const char *name, *text;
	} templates[QZ_GGUF_TEMPLATES_MAX]; /* others, by name */
	int n_templates;
};

/* Appends both files' text.  A model or pre that is not known is an error that names it. */
int qz_gguf_tokens_to_json(const struct qz_gguf_tokens *v, struct qz_buf *tokenizer_json,
    struct qz_buf *tokenizer_config, struct qz_err *e);

#endif
