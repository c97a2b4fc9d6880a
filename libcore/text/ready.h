/* ready - the vocabulary and merges of a tokenizer.json or tekken.json by number: model shards carry it beside
 * the file, since it loads in a third of the time.  Integers are little-endian:
 *
 *     u32 version, 1            u32 n_ids, the largest id + 1      u32 n_merges     u32 n_rest
 *     u64 n_text                u64[2] XXH3-128 of the file, low half first
 *     u32[n_ids]                bytes of each id's text, 0: no piece of the model has this id
 *     n_text bytes              the texts, one behind the other
 *     u32[n_merges][4]          rank, left, right, and what they become; in this order
 *     n_rest bytes              the file again, without vocab and merges
 *
 * It says nothing that the file does not say; one that belongs to another file is passed over. */
#ifndef QZ_READY_H
#define QZ_READY_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include "libcore/text/tokenizer.h"
#include "libcore/text/vocab.h"

#define QZ_READY_NAME "tokenizer.ready"

/* Within the bytes it was read from. */
struct qz_ready {
	uint32_t n_ids, n_merges;
	const uint8_t *lengths, *merges;
	const char *text, *rest;
	size_t n_text, n_rest;
};

/* Appends that of a file, QZ_TEXT_JSON or QZ_TEXT_TEKKEN: 1; 0 where it has no merges or does not load. */
int qz_ready_make(
    enum qz_text_file kind, const char *s, size_t n, struct qz_buf *out, struct qz_err *e);
/* 1 and what is there, its sizes checked; 0: it is not of the file of this digest, or of a later version. */
int qz_ready_read(
    struct qz_ready *r, const void *data, size_t n, struct qz_digest file, struct qz_err *e);
/* Puts its pieces into v. */
int qz_ready_vocab(struct qz_vocab *v, const struct qz_ready *r, struct qz_err *e);
/* One of its merges. */
struct qz_ready_merge {
	uint32_t rank, left, right, both;
};
struct qz_ready_merge qz_ready_merge(const struct qz_ready *r, uint32_t i);

#endif
