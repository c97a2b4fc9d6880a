/* ready - the tables of a tokenizer.json or tekken.json as a BPE model uses them: model shards carry them beside the
 * file, since nothing is left to be built.  qz-shard(5), tokenizer.ready, has the layout.
 *
 * It says nothing that the file does not say; one that belongs to another file is passed over, and one whose
 * tables would lead out of them, or round in them, is refused.  What the tables answer is their writer's word, as
 * the words of the file are. */
#ifndef QZ_READY_H
#define QZ_READY_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include "libcore/base/hash.h"
#include "libcore/text/joins.h"
#include "libcore/text/merges.h"
#include "libcore/text/tokenizer.h"
#include "libcore/text/vocab.h"

#define QZ_READY_NAME "tokenizer.ready"

/* Within the bytes it was read from, which must be aligned to 8. */
struct qz_ready {
	struct qz_vocab_image vocab;
	struct qz_merges merges;
	const struct qz_joins *joins; /* or NULL, */
	const uint64_t *whole;        /* or NULL: as in struct qz_bpe */
	bool merges_bytes, cuts;      /* so too */
	const char *rest;             /* the file without vocab and merges */
	size_t n_rest;
};

/* Appends that of a file, QZ_TEXT_JSON or QZ_TEXT_TEKKEN: 1; 0 where it has no merges or does not load. */
int qz_ready_make(
    enum qz_text_file kind, const char *s, size_t n, struct qz_buf *out, struct qz_err *e);
/* 1 and what is there, checked; 0: it is not of the file of this digest, or of another version. */
int qz_ready_read(
    struct qz_ready *r, const void *data, size_t n, struct qz_digest file, struct qz_err *e);

#endif
