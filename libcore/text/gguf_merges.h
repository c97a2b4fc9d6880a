/* gguf_merges - the merges that a SentencePiece vocabulary's scores stand for. */
#ifndef QZ_GGUF_MERGES_H
#define QZ_GGUF_MERGES_H

#include "libcore/text/gguf_tokens.h"

struct qz_merge { /* of tokens, by id: left and right are parts of whole */
	uint32_t left, right, whole;
	uint32_t left_n, right_n; /* characters */
};

/* All pairs of tokens whose texts make a token's, in the order of transformers' converter: score of the
 * whole falling, then characters of the left part falling, of the right part falling, then id of the whole.
 * *merges is malloc'ed. */
int qz_gguf_merges(
    const struct qz_gguf_tokens *v, struct qz_merge **merges, size_t *n, struct qz_err *e);

#endif
