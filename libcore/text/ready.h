/* ready - a tokenizer.json's vocabulary and merges by number: model shards carry it beside the file, since it
 * loads in a third of the time.  Integers are little-endian:
 *
 *     u32 version, 1            u32 n_ids, the largest id + 1      u32 n_merges     u32 n_rest
 *     u64 n_text                u64[2] XXH3-128 of tokenizer.json, low half first
 *     u32[n_ids]                bytes of each id's text, 0: no piece of the model has this id
 *     n_text bytes              the texts, one behind the other
 *     u32[n_merges][3]          left, right, and what they become, by rank; all ones: no merge of this rank
 *     n_rest bytes              tokenizer.json again, its model without vocab and merges
 *
 * It says nothing that the file does not say; one that belongs to another file is passed over. */
#ifndef QZ_READY_H
#define QZ_READY_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

#define QZ_READY_NAME "tokenizer.ready"

/* Within the bytes it was read from. */
struct qz_ready {
	uint32_t n_ids, n_merges;
	const uint8_t *lengths, *merges;
	const char *text, *rest;
	size_t n_text, n_rest;
};

/* Appends that of a tokenizer.json: 1; 0 where its model has no merges or it does not load. */
int qz_ready_make(const char *json, size_t n, struct qz_buf *out, struct qz_err *e);
/* 1 and what is there, its sizes checked; 0: it is not of this tokenizer.json, or of a later version. */
int qz_ready_read(struct qz_ready *r, const void *data, size_t n, const char *json, size_t n_json,
    struct qz_err *e);

#endif
