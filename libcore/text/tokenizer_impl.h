/* tokenizer_impl - what a tokenizer is made of, for tokenizer.c and those who make one of other files. */
#ifndef QZ_TOKENIZER_IMPL_H
#define QZ_TOKENIZER_IMPL_H

#include "libcore/base/hash.h"
#include "libcore/text/added.h"
#include "libcore/text/bpe.h"
#include "libcore/text/decode.h"
#include "libcore/text/normalize.h"
#include "libcore/text/post.h"
#include "libcore/text/split.h"
#include "libcore/text/tokenizer.h"
#include "libcore/text/unigram.h"

struct qz_tokenizer {
	struct qz_vocab vocab;
	struct qz_uclass *classes;
	struct qz_normalizer normalizer;
	struct qz_pretokenizer pretokenizer;
	struct qz_bpe bpe; /* or, where its vocab is set, */
	struct qz_unigram unigram;
	struct qz_post post;
	struct qz_decoder decoder;
	struct qz_added raw, normalized;
	int64_t bos, eos, pad, unk;
	struct qz_digest digest;      /* of its file: whose words a scratch has cached */
	const struct qz_ready *ready; /* while it is loaded, or NULL */
};

/* Fill a zeroed tokenizer from tokenizer.model and tekken.json, as if from a tokenizer.json. */
int qz_tokenizer_from_spm(struct qz_tokenizer *t, const void *data, size_t n, struct qz_err *e);
int qz_tokenizer_from_tekken(struct qz_tokenizer *t, const struct qz_json *j, struct qz_err *e);

#endif
